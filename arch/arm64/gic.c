/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One order works, and KVM tells of a wrong one late or not at all:
 *
 *   all vCPUs      creation is refused after CTRL_INIT
 *   distributor    created, its address, the redistributors' address, NR_IRQS
 *   ITS            created before CTRL_INIT and before any redistributor register is touched:
 *                  a distributor that has run without an ITS says that there are no LPIs
 *   CTRL_INIT      fixes the number of SPIs and installs the default GSI table; a table set
 *                  before it would be lost silently, which is why routes come later (gsi.h)
 *
 * A GICv2 has no redistributors and no ITS, and KVM would do its INIT by itself at the first
 * KVM_RUN: it is asked for all the same, since a table that was set before it is lost.
 *
 * Addresses are checked here first: an overlap is found by KVM at the first KVM_RUN only, and
 * kills the VM with an errno that names nothing.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch/arm64/gic.h"
#include "arch/arm64/layout.h"
#include "vmm/base/checked.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/core/kvm.h"

static int create_device(const struct hyp *h, uint32_t type, uint32_t flags, int *ret_fd)
{
	struct kvm_create_device cd = { .type = type, .flags = flags };

	if (ioctl(hyp_vm_fd(h), KVM_CREATE_DEVICE, &cd))
		return -errno;
	*ret_fd = (int)cd.fd;
	return 0;
}

/* -ENODEV is the answer no; anything else is none. */
static bool offers(const struct hyp *h, uint32_t type, int *error)
{
	int unused, r = create_device(h, type, KVM_CREATE_DEVICE_TEST, &unused);

	if (r && r != -ENODEV)
		*error = r;
	return !r;
}

int gic_probe(const struct hyp *h, struct gic_caps *ret_caps)
{
	int error = 0;

	ret_caps->v3 = offers(h, KVM_DEV_TYPE_ARM_VGIC_V3, &error);
	ret_caps->its = ret_caps->v3 && offers(h, KVM_DEV_TYPE_ARM_VGIC_ITS, &error);
	ret_caps->v2 = !ret_caps->v3 && offers(h, KVM_DEV_TYPE_ARM_VGIC_V2, &error);
	return error;
}

bool gic_offers_v2(const struct hyp *h)
{
	int error;

	return offers(h, KVM_DEV_TYPE_ARM_VGIC_V2, &error);
}

struct window {
	const char *name;
	gpa_t gpa;
	uint64_t size;
};

static int check_window(const struct window *w, unsigned ipa_bits, struct err *err)
{
	if (!is_aligned(w->gpa, 64 * KIB))
		return err_set(err, -EINVAL, "gic: %s at 0x%llx is not 64 KiB aligned", w->name,
			       (unsigned long long)w->gpa);
	if (!range_fits(w->gpa, w->size, BIT64(ipa_bits)))
		return err_set(err, -EINVAL, "gic: %s at 0x%llx is beyond the VM's %u address bits", w->name,
			       (unsigned long long)w->gpa, ipa_bits);
	return 0;
}

static int check_cfg(const struct gic_cfg *cfg, struct err *err)
{
	const struct window w[] = {
		{ "the distributor", cfg->gicd, cfg->v2 ? LAYOUT_GICD_V2_SIZE : LAYOUT_GICD_SIZE },
		cfg->v2 ? (struct window){ "the CPU interface", cfg->gicc, LAYOUT_GICC_SIZE } :
			  (struct window){ "the redistributors", cfg->gicr, cfg->nr_cpus * LAYOUT_GICR_STEP },
		{ "the ITS", cfg->its, LAYOUT_ITS_SIZE },
	};
	unsigned n = cfg->has_its ? 3 : 2;

	if (cfg->v2 && cfg->has_its)
		return err_set(err, -EINVAL, "gic: a GICv2 has no ITS");
	if (!cfg->nr_cpus || cfg->nr_cpus > (cfg->v2 ? LAYOUT_MAX_CPUS_V2 : LAYOUT_MAX_CPUS))
		return err_set(err, -EINVAL, "gic: %u CPUs", cfg->nr_cpus);
	if (cfg->nr_irqs < GIC_MIN_IRQS || cfg->nr_irqs > GIC_MAX_IRQS || cfg->nr_irqs % 32)
		return err_set(err, -EINVAL, "gic: %u interrupts (%d to %d, in steps of 32)", cfg->nr_irqs,
			       GIC_MIN_IRQS, GIC_MAX_IRQS);
	for (unsigned i = 0; i < n; i++) {
		int rc = check_window(&w[i], cfg->ipa_bits, err);

		if (rc)
			return rc;
		for (unsigned j = 0; j < i; j++)
			if (ranges_overlap(w[i].gpa, w[i].size, w[j].gpa, w[j].size))
				return err_set(err, -EINVAL, "gic: %s and %s overlap", w[j].name, w[i].name);
	}
	return 0;
}

static int set_attr(int fd, const char *what, uint32_t group, uint64_t attr, void *data, struct err *err)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)data };

	if (ioctl(fd, KVM_SET_DEVICE_ATTR, &a))
		return err_set(err, -errno, "gic: setting %s: %s", what, strerror(errno));
	return 0;
}

static int set_up_gic(int fd, const struct gic_cfg *cfg, struct err *err)
{
	uint64_t gicd = cfg->gicd, cpus = cfg->v2 ? cfg->gicc : cfg->gicr;
	uint32_t nr_irqs = cfg->nr_irqs;
	int rc;

	rc = set_attr(fd, "the distributor's address", KVM_DEV_ARM_VGIC_GRP_ADDR,
		      cfg->v2 ? KVM_VGIC_V2_ADDR_TYPE_DIST : KVM_VGIC_V3_ADDR_TYPE_DIST, &gicd, err);
	if (rc)
		return rc;
	rc = set_attr(fd, cfg->v2 ? "the CPU interface's address" : "the redistributors' address",
		      KVM_DEV_ARM_VGIC_GRP_ADDR,
		      cfg->v2 ? KVM_VGIC_V2_ADDR_TYPE_CPU : KVM_VGIC_V3_ADDR_TYPE_REDIST, &cpus, err);
	if (rc)
		return rc;
	return set_attr(fd, "the number of interrupts", KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &nr_irqs, err);
}

static int set_up_its(int fd, const struct gic_cfg *cfg, struct err *err)
{
	uint64_t its = cfg->its;
	int rc;

	rc = set_attr(fd, "the ITS's address", KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, &its, err);
	if (rc)
		return rc;
	return set_attr(fd, "up the ITS", KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL, err);
}

int gic_new(const struct hyp *h, const struct gic_cfg *cfg, struct gic *ret_g, struct err *err)
{
	_cleanup_close_ int gic_fd = -1;
	_cleanup_close_ int its_fd = -1;
	int rc;

	rc = check_cfg(cfg, err);
	if (rc)
		return rc;
	rc = create_device(h, cfg->v2 ? KVM_DEV_TYPE_ARM_VGIC_V2 : KVM_DEV_TYPE_ARM_VGIC_V3, 0, &gic_fd);
	if (rc)
		return err_set(err, rc, "gic: creating the %s: %s", cfg->v2 ? "GICv2" : "GICv3", strerror(-rc));
	rc = set_up_gic(gic_fd, cfg, err);
	if (rc)
		return rc;
	if (cfg->has_its) {
		rc = create_device(h, KVM_DEV_TYPE_ARM_VGIC_ITS, 0, &its_fd);
		if (rc)
			return err_set(err, rc, "gic: creating the ITS: %s", strerror(-rc));
		rc = set_up_its(its_fd, cfg, err);
		if (rc)
			return rc;
	}
	rc = set_attr(gic_fd, cfg->v2 ? "up the GICv2" : "up the GICv3", KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL, err);
	if (rc)
		return rc;
	ret_g->gic_fd = fd_note(steal_fd(&gic_fd), FD_KVM_DEVICE);
	ret_g->its_fd = fd_note(steal_fd(&its_fd), FD_KVM_DEVICE);
	return 0;
}

void gic_fini(struct gic *g)
{
	if (g->its_fd > 0)
		close_fd(&g->its_fd);
	if (g->gic_fd > 0)
		close_fd(&g->gic_fd);
}
