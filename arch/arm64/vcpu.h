/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vcpu - one virtual CPU: features, registers at start, KVM_RUN and what its exits mean
 *
 * What:   creation with PSCI 0.2+, and SVE, pointer authentication and PMU where the host has
 *         them; steal time; running; decoding of every exit reason.
 * Not:    threads, and who answers MMIO (vmm/machine/cpus.c).
 * Trust:  struct kvm_run is written by the kernel on behalf of the guest: lengths and
 *         reasons are checked; an unknown reason ends the VM with a sentence.
 * Thread: set-up; then vcpu_run() and vcpu_*_done() on the vCPU's own thread only.
 * Source: KVM api.rst 4.10 (KVM_RUN), 5; KVM_ARM_VCPU_INIT; arm PSCI DEN0022.
 */
#ifndef ARCH_ARM64_VCPU_H
#define ARCH_ARM64_VCPU_H

#include <signal.h>

#include "vmm/base/err.h"
#include "vmm/base/types.h"

struct hyp;
struct kvm_run;

/* What all vCPUs of this VM have; asked once. */
struct vcpu_features {
	uint32_t target;      /* KVM_ARM_PREFERRED_TARGET */
	uint32_t bits;        /* KVM_ARM_VCPU_* as a mask, without POWER_OFF */
	bool sve, pauth, pmu, steal_time;
};

struct vcpu {
	int fd;
	unsigned index;
	uint64_t mpidr;       /* affinity bits, as the device tree's cpu reg wants them */
	struct kvm_run *run;
	size_t run_size;
	uint64_t exits;       /* returns of KVM_RUN */
};

int vcpu_probe_features(const struct hyp *h, struct vcpu_features *ret_f, struct err *err);
/* Creates, INITs (@index > 0: powered off until PSCI CPU_ON), finalises SVE, reads MPIDR. */
int vcpu_new(const struct hyp *h, unsigned index, const struct vcpu_features *f, struct vcpu *ret_c, struct err *err);
void vcpu_fini(struct vcpu *c);
/* After the interrupt controller's INIT: PMU interrupt and INIT; steal time's address (@steal_gpa, 64 bytes, 0: none). */
int vcpu_late_init(struct vcpu *c, const struct vcpu_features *f, gpa_t steal_gpa, struct err *err);
/* Entry state of arm64 booting.rst: PC = @entry, X0 = @dtb. CPU 0 only. */
int vcpu_set_entry(struct vcpu *c, gpa_t entry, gpa_t dtb, struct err *err);

enum vcpu_exit_kind {
	VCPU_AGAIN,        /* nothing to do: interrupted */
	VCPU_MMIO_READ,    /* answer with vcpu_mmio_done() */
	VCPU_MMIO_WRITE,
	VCPU_POWEROFF,     /* PSCI SYSTEM_OFF */
	VCPU_RESET,        /* PSCI SYSTEM_RESET or RESET2 */
	VCPU_CRASH,        /* KVM_SYSTEM_EVENT_CRASH */
	VCPU_FAILED,       /* KVM cannot go on: text says why */
};

struct vcpu_exit {
	enum vcpu_exit_kind kind;
	gpa_t gpa;
	unsigned len;      /* 1, 2, 4 or 8 */
	uint64_t val;      /* writes */
	char text[160];    /* VCPU_FAILED */
};

/*
 * One KVM_RUN. An MMIO access that KVM cannot decode gets an external abort here and comes
 * back as VCPU_AGAIN. Never blocks longer than the guest runs; vcpu_kick() ends it.
 */
void vcpu_run(struct vcpu *c, struct vcpu_exit *ret_x);
void vcpu_mmio_done(struct vcpu *c, uint64_t val);
/* Any thread, signal handler too: the next or current vcpu_run() returns VCPU_AGAIN. (immediate_exit; the caller also sends the signal.) */
void vcpu_kick(struct vcpu *c);

#endif
