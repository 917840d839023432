/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * caps - what KVM on this host can give a guest, found out on a VM that is thrown away
 *
 * What:   interrupt controllers, features of CPUs, page sizes, limits. Makes a vCPU and, where
 *         there is one, an ITS in the VM it is handed; neither ever runs.
 * Not:    a decision (vmm/machine/plan.h); anything that needs memory of a guest.
 * Trust:  the host's.
 * Thread: set-up.
 * Source: KVM api.rst 4.4 (KVM_CHECK_EXTENSION), 4.79 (KVM_CREATE_DEVICE); KVM_CAP_MSI_DEVID
 *         is 0 until the VM has an ITS.
 */
#ifndef ARCH_ARM64_CAPS_H
#define ARCH_ARM64_CAPS_H

#include "vmm/base/types.h"

struct hyp;

struct caps {
	bool gicv2, gicv3, its;
	bool msi_devid;           /* asked with an ITS; false without one */
	bool irqfd, resample, ioeventfd, signal_msi;
	unsigned max_gsis;        /* KVM_CAP_IRQ_ROUTING */
	bool sve, pmu, pauth, steal_time, aarch32;
	bool nested;              /* a guest may be a hypervisor itself (KVM_CAP_ARM_EL2) */
	bool nisv;                /* accesses that KVM cannot decode are reported */
	unsigned pages;           /* IMAGE_PAGES_* (image.h); 0: not known */
};

/* @h: a VM without vCPUs and devices, of no use for anything else after this. */
void caps_probe(const struct hyp *h, struct caps *ret_c);

#endif
