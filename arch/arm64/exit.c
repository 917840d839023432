/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A table of names, one entry a reason, and a switch for the few that an arm64 host can give.
 * All others are of other architectures or of features that this program never switches on:
 * they end the VM with their name. Only the guest's own PSCI calls end it without an error.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arch/arm64/exit.h"

/* Newer than the oldest headers that this builds with. */
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif
#ifndef EHWPOISON
#define EHWPOISON 133
#endif

static const char *const reason_names[] = {
	[KVM_EXIT_UNKNOWN] = "unknown hardware reason",
	[KVM_EXIT_EXCEPTION] = "exception",
	[KVM_EXIT_IO] = "port I/O",
	[KVM_EXIT_HYPERCALL] = "hypercall",
	[KVM_EXIT_DEBUG] = "debug",
	[KVM_EXIT_HLT] = "halt",
	[KVM_EXIT_MMIO] = "MMIO",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "interrupt window",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_FAIL_ENTRY] = "entry failed",
	[KVM_EXIT_INTR] = "interrupted",
	[KVM_EXIT_SET_TPR] = "set TPR",
	[KVM_EXIT_TPR_ACCESS] = "TPR access",
	[KVM_EXIT_S390_SIEIC] = "s390 SIEIC",
	[KVM_EXIT_S390_RESET] = "s390 reset",
	[KVM_EXIT_DCR] = "DCR",
	[KVM_EXIT_NMI] = "NMI",
	[KVM_EXIT_INTERNAL_ERROR] = "internal error",
	[KVM_EXIT_OSI] = "OSI",
	[KVM_EXIT_PAPR_HCALL] = "PAPR hypercall",
	[KVM_EXIT_S390_UCONTROL] = "s390 ucontrol",
	[KVM_EXIT_WATCHDOG] = "watchdog",
	[KVM_EXIT_S390_TSCH] = "s390 TSCH",
	[KVM_EXIT_EPR] = "EPR",
	[KVM_EXIT_SYSTEM_EVENT] = "system event",
	[KVM_EXIT_S390_STSI] = "s390 STSI",
	[KVM_EXIT_IOAPIC_EOI] = "IOAPIC EOI",
	[KVM_EXIT_HYPERV] = "Hyper-V",
	[KVM_EXIT_ARM_NISV] = "access without syndrome",
	[KVM_EXIT_X86_RDMSR] = "x86 RDMSR",
	[KVM_EXIT_X86_WRMSR] = "x86 WRMSR",
	[KVM_EXIT_DIRTY_RING_FULL] = "dirty ring full",
	[KVM_EXIT_AP_RESET_HOLD] = "AP reset hold",
	[KVM_EXIT_X86_BUS_LOCK] = "x86 bus lock",
	[KVM_EXIT_XEN] = "Xen",
	[KVM_EXIT_RISCV_SBI] = "RISC-V SBI",
	[KVM_EXIT_RISCV_CSR] = "RISC-V CSR",
	[KVM_EXIT_NOTIFY] = "notify",
	[KVM_EXIT_MEMORY_FAULT] = "memory fault",
};

static void fail(struct vcpu_exit *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct vcpu_exit *x, const char *fmt, ...)
{
	va_list ap;

	x->kind = VCPU_FAILED;
	va_start(ap, fmt);
	vsnprintf(x->text, sizeof(x->text), fmt, ap);
	va_end(ap);
}

static void decode_mmio(const struct kvm_run *run, struct vcpu_exit *x)
{
	uint32_t len = run->mmio.len;

	if (len != 1 && len != 2 && len != 4 && len != 8) {
		fail(x, "KVM reported an MMIO access of %u bytes", len);
		return;
	}
	x->gpa = run->mmio.phys_addr;
	x->len = len;
	x->val = 0;
	x->kind = VCPU_MMIO_READ;
	if (run->mmio.is_write) {
		x->kind = VCPU_MMIO_WRITE;
		memcpy(&x->val, run->mmio.data, len);
	}
}

/* WAKEUP and SUSPEND come only where the VMM asked for them; this one does not. */
static void decode_system_event(const struct kvm_run *run, struct vcpu_exit *x)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		x->kind = VCPU_POWEROFF;
		return;
	case KVM_SYSTEM_EVENT_RESET:
		x->kind = VCPU_RESET;
		return;
	case KVM_SYSTEM_EVENT_CRASH:
		x->kind = VCPU_CRASH;
		return;
	case KVM_SYSTEM_EVENT_WAKEUP:
		x->kind = VCPU_AGAIN;
		return;
	default:
		fail(x, "KVM reported the system event %u, which was not asked for",
		     run->system_event.type);
	}
}

static void decode_other(const struct kvm_run *run, struct vcpu_exit *x)
{
	uint32_t reason = run->exit_reason;

	if (reason < sizeof(reason_names) / sizeof(reason_names[0]) && reason_names[reason])
		fail(x, "KVM stopped the CPU with exit reason %u (%s)", reason, reason_names[reason]);
	else
		fail(x, "KVM stopped the CPU with exit reason %u, which is unknown", reason);
}

void exit_decode(const struct kvm_run *run, struct vcpu_exit *ret_x)
{
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		decode_mmio(run, ret_x);
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		decode_system_event(run, ret_x);
		return;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		ret_x->kind = VCPU_AGAIN;
		return;
	case KVM_EXIT_SHUTDOWN:
		ret_x->kind = VCPU_CRASH;
		return;
	case KVM_EXIT_ARM_NISV:
		ret_x->kind = VCPU_NO_SYNDROME;
		ret_x->gpa = run->arm_nisv.fault_ipa;
		return;
	case KVM_EXIT_FAIL_ENTRY:
		fail(ret_x, "KVM could not enter the guest on host CPU %u: reason 0x%llx%s", run->fail_entry.cpu,
		     (unsigned long long)run->fail_entry.hardware_entry_failure_reason,
		     run->fail_entry.hardware_entry_failure_reason == 1 ?
			     " (this host CPU lacks what the others have)" : "");
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		fail(ret_x, "KVM internal error %u", run->internal.suberror);
		return;
	case KVM_EXIT_UNKNOWN:
		fail(ret_x, "KVM stopped the CPU for the unknown hardware reason 0x%llx",
		     (unsigned long long)run->hw.hardware_exit_reason);
		return;
	default:
		decode_other(run, ret_x);
	}
}

void exit_decode_errno(const struct kvm_run *run, int errnum, struct vcpu_exit *ret_x)
{
	switch (errnum) {
	case EINTR:
	case EAGAIN:
		ret_x->kind = VCPU_AGAIN;
		return;
	case ENOSYS:
		fail(ret_x, "KVM_RUN: the guest touched an address outside its memory in a way that KVM cannot decode");
		return;
	case EHWPOISON:
		fail(ret_x, "KVM_RUN: a page of the guest's memory is broken (hardware error)");
		return;
	case EFAULT:
		fail(ret_x, "KVM_RUN: the host could not provide a page of the guest's memory, or carry out its access to a device's%s",
		     run->exit_reason == KVM_EXIT_MEMORY_FAULT ? " (memory fault)" : "");
		return;
	default:
		fail(ret_x, "KVM_RUN: %s", strerror(errnum));
	}
}
