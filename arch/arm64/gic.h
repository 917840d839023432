/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gic - the in-kernel interrupt controller: GICv3 with or without an ITS, or GICv2
 *
 * What:   what the host offers, and creation in the one order that works: all vCPUs first,
 *         then the distributor with its addresses and NR_IRQS, the ITS with its address and
 *         INIT, then CTRL_INIT, which installs the default GSI table.
 * Not:    who uses which interrupt (vmm/core/gsi.h); the v2m frame, which is no device of KVM's
 *         (v2m.h).
 * Trust:  addresses are the plan's; the guest never gets here.
 * Thread: set-up.
 * Source: KVM devices/arm-vgic-v3.rst, devices/arm-vgic-its.rst, devices/arm-vgic.rst.
 */
#ifndef ARCH_ARM64_GIC_H
#define ARCH_ARM64_GIC_H

#include "vmm/base/err.h"
#include "vmm/base/types.h"

struct hyp;

struct gic_caps {
	bool v3, its;
	bool v2; /* asked only where there is no v3 */
};

/*
 * KVM_CREATE_DEVICE with the TEST flag: creates nothing. A GICv2 is asked for only where there is no GICv3: a start can do without.
 * An error: that of a question which KVM answered neither way.
 */
int gic_probe(const struct hyp *h, struct gic_caps *ret_caps);
/* Can guests have a GICv2? Some GICv3 hosts have what it takes. */
bool gic_offers_v2(const struct hyp *h);

#define GIC_MIN_IRQS 64
#define GIC_MAX_IRQS 992 /* the largest that KVM takes: 1024 would reach the special INTIDs */

struct gic_cfg {
	bool v2;
	gpa_t gicd, gicr, its;   /* 64 KiB aligned */
	gpa_t gicc;              /* GICv2: the CPU interface, 64 KiB aligned; then no gicr and its */
	unsigned nr_cpus;        /* vCPUs that exist already; at most 8 for a GICv2 */
	unsigned nr_irqs;        /* INTIDs up to the last SPI: GIC_MIN_IRQS to GIC_MAX_IRQS in steps of 32 */
	bool has_its;
	unsigned ipa_bits;       /* of the VM */
};

struct gic {
	int gic_fd, its_fd;      /* device descriptors, never 0; -1 where absent */
};

/*
 * Creates and initialises all of it; -EINVAL, with a sentence, for addresses that KVM would
 * accept here and die of at the first KVM_RUN (overlap, beyond @ipa_bits). No vCPU can be
 * created after it. The descriptors are the caller's, until gic_fini().
 */
int gic_new(const struct hyp *h, const struct gic_cfg *cfg, struct gic *ret_g, struct err *err);
/* After a successful gic_new() or on a zeroed struct: closes what is open. */
void gic_fini(struct gic *g);

#endif
