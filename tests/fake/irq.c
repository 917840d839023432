// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fake/irq.h"

#include <stdlib.h>

#include "tests/fake/kvm.h"

struct gsi_space *fake_gsi_space_of(struct hyp *h, enum msi_model model, enum gsi_mode mode)
{
	const bool v2m = model == MSI_V2M;
	struct gsi_cfg cfg = {
		.nr_spis = FAKE_NR_SPIS,
		.max_routes = hyp_max_routes(h),
		.model = model,
		.mode = mode,
		.doorbell = v2m ? FAKE_V2M_BASE : FAKE_ITS_BASE,
		.doorbell_size = v2m ? V2M_FRAME_SIZE : FAKE_ITS_SIZE,
		.v2m_spi = FAKE_V2M_SPI,
		.v2m_count = FAKE_V2M_COUNT,
	};
	struct gsi_space *s;

	fake_kvm_set_its(h, model == MSI_ITS);
	cfg.need_devid = hyp_needs_devid(h);
	fake_kvm_init(h, FAKE_NR_SPIS);
	if (gsi_space_new(&cfg, h, &s) || gsi_space_start(s))
		abort();
	return s;
}

struct gsi_space *fake_gsi_space(struct hyp *h)
{
	return fake_gsi_space_of(h, MSI_ITS, GSI_AUTO);
}
