// SPDX-License-Identifier: BSD-3-Clause
/*
 * kvm_exit: whatever the kernel may put into struct kvm_run.
 *
 * Covers: arch/arm64/exit.c: any reason, length, event and errno.
 * Oracle: there is an action for each, and the one that the table here says; an MMIO access has a width
 *         that the bus knows, and of a write no more bytes than that; only the guest's own PSCI calls
 *         end the VM without a sentence; a sentence is one line, and ends inside its buffer.
 */
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <linux/kvm.h>

#include "arch/arm64/exit.h"

static enum vcpu_exit_kind event_kind(uint32_t type)
{
	switch (type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN: return VCPU_POWEROFF;
	case KVM_SYSTEM_EVENT_RESET: return VCPU_RESET;
	case KVM_SYSTEM_EVENT_CRASH: return VCPU_CRASH;
	case KVM_SYSTEM_EVENT_WAKEUP: return VCPU_AGAIN;
	default: return VCPU_FAILED;
	}
}

static enum vcpu_exit_kind kind_of(const struct kvm_run *run)
{
	uint32_t len = run->mmio.len;

	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		if (!len || len > 8 || len & (len - 1))
			return VCPU_FAILED;
		return run->mmio.is_write ? VCPU_MMIO_WRITE : VCPU_MMIO_READ;
	case KVM_EXIT_SYSTEM_EVENT: return event_kind(run->system_event.type);
	case KVM_EXIT_INTR: case KVM_EXIT_IRQ_WINDOW_OPEN: return VCPU_AGAIN;
	case KVM_EXIT_SHUTDOWN: return VCPU_CRASH;
	case KVM_EXIT_ARM_NISV: return VCPU_NO_SYNDROME;
	default: return VCPU_FAILED;
	}
}

static void check_text(const struct vcpu_exit *x)
{
	size_t len = strnlen(x->text, sizeof(x->text));

	must(len && len < sizeof(x->text));
	for (size_t i = 0; i < len; i++)
		must(isprint((unsigned char)x->text[i]));
}

static void check_exit(const struct kvm_run *run)
{
	struct vcpu_exit x;
	uint64_t val = 0;

	memset(&x, 0xff, sizeof(x));
	exit_decode(run, &x);
	must(x.kind == kind_of(run));
	if (x.kind == VCPU_FAILED)
		check_text(&x);
	if (x.kind == VCPU_NO_SYNDROME)
		must(x.gpa == run->arm_nisv.fault_ipa);
	if (x.kind != VCPU_MMIO_READ && x.kind != VCPU_MMIO_WRITE)
		return;
	if (x.kind == VCPU_MMIO_WRITE)
		memcpy(&val, run->mmio.data, run->mmio.len);
	must(x.gpa == run->mmio.phys_addr && x.len == run->mmio.len && x.val == val && !(x.val & ~width_mask(x.len)));
}

static void check_errno(const struct kvm_run *run, int errnum)
{
	struct vcpu_exit x;

	memset(&x, 0xff, sizeof(x));
	exit_decode_errno(run, errnum, &x);
	must(x.kind == (errnum == EINTR || errnum == EAGAIN ? VCPU_AGAIN : VCPU_FAILED));
	if (x.kind == VCPU_FAILED)
		check_text(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	static struct kvm_run run;

	memset(&run, 0, sizeof(run));
	do {
		uint8_t how = fuzz_u8(&in);

		run.exit_reason = how & 1 ? fuzz_u32(&in) : fuzz_u8(&in) & 63;
		if (how & 2)
			run.exit_reason = KVM_EXIT_MMIO;
		fuzz_take(&in, run.padding, 32);
		if (how & 4)
			run.mmio.len = fuzz_below(&in, 10);
		check_exit(&run);
		check_errno(&run, how & 8 ? fuzz_u16(&in) : fuzz_u8(&in) % 134);
	} while (fuzz_more(&in));
	return 0;
}
