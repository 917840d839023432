// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>

#include "tests/fake/loop.h"
#include "vmm/machine/internal.h"

static struct machine m = { .stop_lock = PTHREAD_MUTEX_INITIALIZER };

static void setup(void)
{
	m.stopped = false;
	m.result = (struct machine_result){ 0 };
	ck_assert_int_eq(loop_new(&m.loop), 0);
}

static void teardown(void)
{
	loop_free(m.loop);
}

START_TEST(test_stop_first_call_decides)
{
	machine_stop(&m, STOP_SIGNAL, 15, NULL);
	ck_assert(fake_loop_stopped(m.loop));
	machine_stop(&m, STOP_RESET, 0, NULL);
	machine_stop(&m, STOP_FAILED, 0, "too late");
	ck_assert_int_eq(m.result.reason, STOP_SIGNAL);
	ck_assert_int_eq(m.result.signo, 15);
	ck_assert_str_eq(m.result.text, "");
}
END_TEST

START_TEST(test_stop_keeps_what_failed)
{
	machine_stop(&m, STOP_FAILED, 0, "KVM_RUN: Bad address");
	ck_assert_int_eq(m.result.reason, STOP_FAILED);
	ck_assert_str_eq(m.result.text, "KVM_RUN: Bad address");
}
END_TEST

/* The loop finds the line when the guest, which is another thread, has asked for its end. */
START_TEST(test_stop_hears_of_a_crash_behind_its_reset)
{
	static const enum stop_reason of_the_guest[] = { STOP_POWEROFF, STOP_RESET, STOP_WATCHDOG, STOP_TIMEOUT };

	machine_stop(&m, of_the_guest[_i], 0, NULL);
	machine_stop(&m, STOP_PANIC, 0, "Kernel panic");
	ck_assert_int_eq(m.result.reason, STOP_PANIC);
	ck_assert_str_eq(m.result.text, "Kernel panic");
	machine_stop(&m, STOP_PANIC, 0, "another");
	ck_assert_str_eq(m.result.text, "Kernel panic");
}
END_TEST

/* Who was told to end, or could not go on, did not end by the guest's crash. */
START_TEST(test_stop_by_others_is_no_crash)
{
	static const enum stop_reason of_others[] = { STOP_SIGNAL, STOP_USER, STOP_GRACE, STOP_FAILED };

	machine_stop(&m, of_others[_i], 0, "why");
	machine_stop(&m, STOP_PANIC, 0, "Kernel panic");
	ck_assert_int_eq(m.result.reason, of_others[_i]);
	ck_assert_str_eq(m.result.text, "why");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stop");
	TCase *tc = tcase_create("stop");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_stop_first_call_decides);
	tcase_add_test(tc, test_stop_keeps_what_failed);
	tcase_add_loop_test(tc, test_stop_hears_of_a_crash_behind_its_reset, 0, 4);
	tcase_add_loop_test(tc, test_stop_by_others_is_no_crash, 0, 4);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
