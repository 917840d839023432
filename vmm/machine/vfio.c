// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices of the host's. Their groups are brought into the VM's container before the VM exists, so
 * that what the user got wrong is found then; a device itself is opened when KVM knows its group and
 * all of the guest's memory is mapped for it.
 */
#include <errno.h>
#include <string.h>

#include "devices/vfio/container.h"
#include "devices/vfio/pass.h"
#include "vmm/core/kvm.h"
#include "vmm/machine/internal.h"

int vfio_open(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	struct sysdev d;
	int r = container_admit(&m->container, c->id, c->vfio.host, &d, err);

	if (!r)
		m->pci_mem64 += d.mem64;
	return r;
}

static void lost(void *ctx, const char *text)
{
	machine_stop(ctx, STOP_FAILED, 0, text);
}

static int join_groups(struct machine *m, const char *id, struct err *err)
{
	for (unsigned i = 0; i < container_nr_groups(m->container); i++) {
		int r = hyp_join_vfio(m->hyp, container_group_fd(m->container, i));

		if (r && r != -ENODEV)
			return err_set(err, r, "%s: KVM does not take its IOMMU group: %s", id, strerror(-r));
	}
	return 0;
}

int vfio_make(struct machine *m, unsigned i, struct err *err)
{
	const struct plan_dev *p = &m->plan.devs[i];
	struct pass_cfg cfg = {
		.name = p->cfg->id, .loop = m->loop, .hyp = m->hyp, .space = m->space, .host = m->pci,
		.rid = p->rid, .msi = m->plan.its || m->plan.v2m, .spi = p->spi, .slot = SLOT_VFIO + i * PASS_SLOTS,
		.lost = lost, .ctx = m,
	};
	int r = join_groups(m, cfg.name, err);

	if (!r)
		r = container_map(m->container, m->mem, err);
	if (!r)
		r = container_open_device(m->container, cfg.name, p->cfg->vfio.host, &cfg.fd, err);
	return r ? r : pass_new(&cfg, &m->devs[i].pass, err);
}
