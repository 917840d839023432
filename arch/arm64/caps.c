// SPDX-License-Identifier: BSD-3-Clause
#include "arch/arm64/caps.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "arch/arm64/gic.h"
#include "arch/arm64/vcpu.h"
#include "vmm/core/kvm.h"

#ifndef KVM_CAP_ARM_EL2
#define KVM_CAP_ARM_EL2 240 /* Linux 6.16 */
#endif

static bool has(const struct hyp *h, long cap)
{
	return hyp_check(h, cap) > 0;
}

static bool make_device(const struct hyp *h, uint32_t type, int *ret_fd)
{
	struct kvm_create_device cd = { .type = type };

	if (ioctl(hyp_vm_fd(h), KVM_CREATE_DEVICE, &cd))
		return false;
	*ret_fd = (int)cd.fd;
	return true;
}

/* What the program would ask for, and whether it gets it. */
static void probe_cpu(const struct hyp *h, struct caps *c)
{
	struct vcpu_features f;
	struct vcpu cpu;

	if (vcpu_probe_features(h, &f, NULL))
		return;
	c->sve = f.sve;
	c->pmu = f.pmu;
	c->pauth = f.pauth;
	c->steal_time = vcpu_offers_steal_time(h);
	if (vcpu_new(h, 0, &f, &cpu, NULL))
		return;
	c->pages = vcpu_page_sizes(&cpu);
	vcpu_fini(&cpu);
}

static bool needs_devid(const struct hyp *h)
{
	int gic, its;
	bool needs;

	if (!make_device(h, KVM_DEV_TYPE_ARM_VGIC_V3, &gic))
		return false;
	needs = make_device(h, KVM_DEV_TYPE_ARM_VGIC_ITS, &its);
	if (needs) {
		needs = hyp_needs_devid(h);
		close(its);
	}
	close(gic);
	return needs;
}

void caps_probe(const struct hyp *h, struct caps *ret_c)
{
	struct caps c = {
		.gicv2 = gic_offers_v2(h),
		.irqfd = has(h, KVM_CAP_IRQFD),
		.resample = has(h, KVM_CAP_IRQFD_RESAMPLE),
		.ioeventfd = has(h, KVM_CAP_IOEVENTFD),
		.signal_msi = has(h, KVM_CAP_SIGNAL_MSI),
		.max_gsis = hyp_max_routes(h),
		.aarch32 = has(h, KVM_CAP_ARM_EL1_32BIT),
		.nested = has(h, KVM_CAP_ARM_EL2),
		.nisv = has(h, KVM_CAP_ARM_NISV_TO_USER),
	};
	struct gic_caps gic;

	(void)gic_probe(h, &gic); /* machine_host_facts() has asked, and told */
	c.gicv3 = gic.v3;
	c.its = gic.its;
	probe_cpu(h, &c);
	c.msi_devid = c.its && needs_devid(h);
	*ret_c = c;
}
