// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arm64/exit.h"

static struct kvm_run run;
static struct vcpu_exit x;

static void decode(uint32_t reason)
{
	memset(&x, 0, sizeof(x));
	run.exit_reason = reason;
	exit_decode(&run, &x);
}

START_TEST(test_exit_mmio_good_length_decoded)
{
	static const unsigned lens[] = { 1, 2, 4, 8 };

	memset(run.mmio.data, 0xff, sizeof(run.mmio.data));
	run.mmio.phys_addr = 0x9000018;
	for (unsigned i = 0; i < 4; i++) {
		run.mmio.len = lens[i];
		run.mmio.is_write = 1;
		decode(KVM_EXIT_MMIO);
		ck_assert_int_eq(x.kind, VCPU_MMIO_WRITE);
		ck_assert_uint_eq(x.gpa, 0x9000018);
		ck_assert_uint_eq(x.len, lens[i]);
		ck_assert_uint_eq(x.val, width_mask(lens[i]));
		run.mmio.is_write = 0;
		decode(KVM_EXIT_MMIO);
		ck_assert_int_eq(x.kind, VCPU_MMIO_READ);
		ck_assert_uint_eq(x.val, 0);
	}
}
END_TEST

START_TEST(test_exit_mmio_bad_length_fails)
{
	static const uint32_t lens[] = { 0, 3, 5, 7, 9, 16, 0x80000000, UINT32_MAX };

	run.mmio.is_write = 1;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		run.mmio.len = lens[i];
		decode(KVM_EXIT_MMIO);
		ck_assert_int_eq(x.kind, VCPU_FAILED);
		ck_assert_ptr_nonnull(strstr(x.text, "MMIO"));
	}
}
END_TEST

START_TEST(test_exit_system_event_ends_the_vm)
{
	static const struct { uint32_t type; enum vcpu_exit_kind kind; } t[] = {
		{ KVM_SYSTEM_EVENT_SHUTDOWN, VCPU_POWEROFF }, { KVM_SYSTEM_EVENT_RESET, VCPU_RESET },
		{ KVM_SYSTEM_EVENT_CRASH, VCPU_CRASH }, { KVM_SYSTEM_EVENT_WAKEUP, VCPU_AGAIN },
		{ KVM_SYSTEM_EVENT_SUSPEND, VCPU_FAILED }, { KVM_SYSTEM_EVENT_SEV_TERM, VCPU_FAILED },
		{ 0, VCPU_FAILED }, { 12345, VCPU_FAILED },
	};

	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		run.system_event.type = t[i].type;
		decode(KVM_EXIT_SYSTEM_EVENT);
		ck_assert_int_eq(x.kind, t[i].kind);
	}
}
END_TEST

START_TEST(test_exit_no_syndrome_left_to_the_vcpu)
{
	run.arm_nisv.fault_ipa = 0xdead000;
	decode(KVM_EXIT_ARM_NISV);
	ck_assert_int_eq(x.kind, VCPU_NO_SYNDROME);
	ck_assert_uint_eq(x.gpa, 0xdead000);
}
END_TEST

START_TEST(test_exit_any_reason_has_an_action)
{
	for (uint32_t reason = 0; reason < 70; reason++) {
		memset(&run, 0, sizeof(run));
		decode(reason);
		if (reason == KVM_EXIT_MMIO || reason == KVM_EXIT_ARM_NISV || reason == KVM_EXIT_INTR ||
		    reason == KVM_EXIT_IRQ_WINDOW_OPEN || reason == KVM_EXIT_SHUTDOWN)
			continue;
		ck_assert_msg(x.kind == VCPU_FAILED, "reason %u", reason);
		ck_assert_ptr_nonnull(strstr(x.text, "KVM"));
	}
	decode(KVM_EXIT_INTR);
	ck_assert_int_eq(x.kind, VCPU_AGAIN);
	decode(KVM_EXIT_SHUTDOWN);
	ck_assert_int_eq(x.kind, VCPU_CRASH);
	decode(UINT32_MAX);
	ck_assert_int_eq(x.kind, VCPU_FAILED);
	ck_assert_ptr_nonnull(strstr(x.text, "unknown"));
}
END_TEST

START_TEST(test_exit_details_reach_the_text)
{
	memset(&run, 0, sizeof(run));
	run.internal.suberror = 77;
	decode(KVM_EXIT_INTERNAL_ERROR);
	ck_assert_ptr_nonnull(strstr(x.text, "77"));
	run.fail_entry.hardware_entry_failure_reason = 1;
	run.fail_entry.cpu = 3;
	decode(KVM_EXIT_FAIL_ENTRY);
	ck_assert_ptr_nonnull(strstr(x.text, "host CPU 3"));
	decode(39);
	ck_assert_ptr_nonnull(strstr(x.text, "memory fault"));
}
END_TEST

START_TEST(test_exit_errno_interrupted_goes_on_others_fail)
{
	static const int bad[] = { ENOSYS, EFAULT, EHWPOISON, EINVAL, EPERM, ENOEXEC, EIO };

	exit_decode_errno(&run, EINTR, &x);
	ck_assert_int_eq(x.kind, VCPU_AGAIN);
	x.kind = VCPU_FAILED;
	exit_decode_errno(&run, EAGAIN, &x);
	ck_assert_int_eq(x.kind, VCPU_AGAIN);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		memset(&x, 0, sizeof(x));
		exit_decode_errno(&run, bad[i], &x);
		ck_assert_int_eq(x.kind, VCPU_FAILED);
		ck_assert_ptr_eq(strstr(x.text, "KVM_RUN: "), x.text);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("exit");
	TCase *tc = tcase_create("exit");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_exit_mmio_good_length_decoded);
	tcase_add_test(tc, test_exit_mmio_bad_length_fails);
	tcase_add_test(tc, test_exit_system_event_ends_the_vm);
	tcase_add_test(tc, test_exit_no_syndrome_left_to_the_vcpu);
	tcase_add_test(tc, test_exit_any_reason_has_an_action);
	tcase_add_test(tc, test_exit_details_reach_the_text);
	tcase_add_test(tc, test_exit_errno_interrupted_goes_on_others_fail);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
