// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fake/irq.h"

#include <stdlib.h>

#include "tests/fake/kvm.h"

struct gsi_space *fake_gsi_space(struct hyp *h)
{
	const struct gsi_cfg cfg = {
		.nr_spis = FAKE_NR_SPIS,
		.max_routes = hyp_max_routes(h),
		.model = MSI_ITS,
		.doorbell = FAKE_ITS_BASE,
		.doorbell_size = FAKE_ITS_SIZE,
		.need_devid = hyp_needs_devid(h),
	};
	struct gsi_space *s;

	fake_kvm_init(h, FAKE_NR_SPIS);
	if (gsi_space_new(&cfg, h, &s))
		abort();
	gsi_space_start(s);
	return s;
}
