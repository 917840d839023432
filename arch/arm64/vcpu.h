/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vcpu - one virtual CPU: features, registers at start, KVM_RUN and what its exits mean
 *
 * What:   creation with PSCI 0.2+, and SVE, pointer authentication and PMU where the host has
 *         them; steal time; running.
 * Not:    threads, and who answers MMIO (vmm/machine/cpus.c); what an exit means (exit.h).
 * Trust:  struct kvm_run is written by the kernel on behalf of the guest: lengths and
 *         reasons are checked; an unknown reason ends the VM with a sentence.
 * Thread: set-up; then vcpu_run() and vcpu_*_done() on the vCPU's own thread only.
 * Source: KVM api.rst 4.10 (KVM_RUN), 5; KVM_ARM_VCPU_INIT; arm PSCI DEN0022.
 */
#ifndef ARCH_ARM64_VCPU_H
#define ARCH_ARM64_VCPU_H

#include <stdatomic.h>

#include "arch/arm64/exit.h"
#include "vmm/base/err.h"
#include "vmm/base/rights.h"
#include "vmm/base/types.h"

struct hyp;
struct kvm_run;

/* What all vCPUs of this VM have; asked once. */
struct vcpu_features {
	uint32_t target;      /* KVM_ARM_PREFERRED_TARGET */
	uint32_t bits;        /* KVM_ARM_VCPU_* as a mask, without POWER_OFF */
	bool sve, pauth, pmu;
	size_t run_size;      /* bytes of a vCPU's run mapping */
};

struct vcpu {
	int fd;
	unsigned index;
	uint64_t mpidr;       /* affinity bits, as the device tree's cpu reg wants them */
	struct kvm_run *run;
	size_t run_size;
	bool has_device_memory; /* there are devices of the host's: EFAULT is an access that they cannot take */
	atomic_ullong exits;  /* returns of KVM_RUN; others may look */
};

/* True if the host counts stolen time for guests (KVM_CAP_STEAL_TIME). */
bool vcpu_offers_steal_time(const struct hyp *h);
/*
 * Asks the VM what its vCPUs can have, and has accesses that KVM cannot decode reported
 * instead of failing KVM_RUN. Before the first vcpu_new(). All vCPUs get the same features:
 * KVM does not insist on that on every kernel, and a guest would not survive it.
 */
int vcpu_probe_features(const struct hyp *h, struct vcpu_features *ret_f, struct err *err);
/*
 * Creates, INITs (@index > 0: powered off until PSCI CPU_ON), finalises SVE, reads MPIDR.
 * What KVM said as negative errno, with a sentence; so for the other two that set up.
 */
int vcpu_new(const struct hyp *h, unsigned index, const struct vcpu_features *f, struct vcpu *ret_c, struct err *err);
/* A zeroed struct is fine. */
void vcpu_fini(struct vcpu *c);
/*
 * After the interrupt controller's INIT: PMU interrupt and INIT; steal time's address
 * (@steal_gpa: VCPU_STEAL_SIZE bytes of guest memory, aligned to as much; 0: none).
 */
#define VCPU_STEAL_SIZE 64
int vcpu_late_init(struct vcpu *c, const struct vcpu_features *f, gpa_t steal_gpa, struct err *err);
/* Entry state of arm64 booting.rst: PC = @entry, X0 = @dtb. CPU 0 only. */
int vcpu_set_entry(struct vcpu *c, gpa_t entry, gpa_t dtb, struct err *err);

/* The page sizes that a guest can use here, as a mask of IMAGE_PAGES_* (image.h); after vcpu_new(). */
unsigned vcpu_page_sizes(const struct vcpu *c);

/*
 * One KVM_RUN. An MMIO access that KVM cannot decode gets an external abort here and comes
 * back as VCPU_AGAIN. Never blocks longer than the guest runs; vcpu_kick() ends it.
 */
void vcpu_run(struct vcpu *c, struct vcpu_exit *ret_x);
/* After VCPU_MMIO_READ, before the next vcpu_run(): the value read, little-endian in its low bytes. */
void vcpu_mmio_done(struct vcpu *c, uint64_t val);
/* Any thread, signal handler too: the next or current vcpu_run() returns VCPU_AGAIN. (immediate_exit; the caller also sends the signal.) */
void vcpu_kick(struct vcpu *c);

/* For the filters of system calls. */
extern const struct right vcpu_rights[];

#endif
