/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * exit - what a return from KVM_RUN means
 *
 * What:   one function from struct kvm_run to an action, for every exit reason there is.
 * Not:    the ioctl (vcpu.h); who answers MMIO (vmm/machine/cpus.c).
 * Trust:  struct kvm_run is written by the kernel on behalf of the guest: reasons and lengths
 *         are checked; an unknown reason ends the VM with a sentence, never the process.
 * Thread: pure; the vCPU's own thread, as the run mapping is its own.
 * Source: KVM api.rst 5 (the kvm_run structure).
 */
#ifndef ARCH_ARM64_EXIT_H
#define ARCH_ARM64_EXIT_H

#include "vmm/base/types.h"

struct kvm_run;

enum vcpu_exit_kind {
	VCPU_AGAIN,        /* nothing to do: interrupted */
	VCPU_MMIO_READ,    /* answer with vcpu_mmio_done() */
	VCPU_MMIO_WRITE,
	VCPU_POWEROFF,     /* PSCI SYSTEM_OFF */
	VCPU_RESET,        /* PSCI SYSTEM_RESET or RESET2 */
	VCPU_CRASH,        /* KVM_SYSTEM_EVENT_CRASH */
	VCPU_NO_SYNDROME,  /* an access that KVM cannot decode: vcpu_run() answers it itself */
	VCPU_FAILED,       /* KVM cannot go on: text says why */
};

struct vcpu_exit {
	enum vcpu_exit_kind kind;
	gpa_t gpa;
	unsigned len;      /* 1, 2, 4 or 8 */
	uint64_t val;      /* writes */
	char text[160];    /* VCPU_FAILED; else undefined */
};

/* After a KVM_RUN that returned 0. */
void exit_decode(const struct kvm_run *run, struct vcpu_exit *ret_x);
/* After a KVM_RUN that returned -1 with @errnum (positive). */
void exit_decode_errno(const struct kvm_run *run, int errnum, struct vcpu_exit *ret_x);

#endif
