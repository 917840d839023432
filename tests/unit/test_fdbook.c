// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"

START_TEST(test_fdbook_keeps_what_a_descriptor_is)
{
	ck_assert_int_eq(fd_note(100, FD_EVENT), 100);
	ck_assert_uint_eq(fd_kinds(100), FD_EVENT);
	fd_note_also(100, FD_LOG);
	ck_assert_uint_eq(fd_kinds(100), FD_EVENT | FD_LOG);
	fd_note(100, FD_TAP);
	ck_assert_uint_eq(fd_kinds(100), FD_TAP);
	ck_assert_int_ge(fd_end(), 101);
	fd_forget(100);
	ck_assert_uint_eq(fd_kinds(100), 0);
}
END_TEST

START_TEST(test_fdbook_takes_failed_opens_and_numbers_past_its_end)
{
	ck_assert_int_eq(fd_note(-1, FD_EVENT), -1);
	ck_assert_int_eq(fd_note(FDBOOK_MAX, FD_EVENT), FDBOOK_MAX);
	ck_assert_uint_eq(fd_kinds(-1), 0);
	ck_assert_uint_eq(fd_kinds(FDBOOK_MAX), 0);
	fd_forget(-1);
	fd_forget(FDBOOK_MAX);
	ck_assert_int_eq(fd_end(), 0);
}
END_TEST

START_TEST(test_fdbook_runs_are_whole_and_in_order)
{
	int first, last;

	for (int fd = 50; fd < 60; fd++)
		fd_note(fd, fd == 55 ? FD_TIMER : FD_EVENT);
	ck_assert(fd_run(0, FD_EVENT, &first, &last));
	ck_assert(first == 50 && last == 54);
	ck_assert(fd_run(55, FD_EVENT, &first, &last));
	ck_assert(first == 56 && last == 59);
	ck_assert(!fd_run(60, FD_EVENT, &first, &last));
	ck_assert(fd_run(52, FD_EVENT | FD_TIMER, &first, &last));
	ck_assert(first == 52 && last == 59);
	ck_assert(!fd_run(0, FD_VM, &first, &last));
}
END_TEST

START_TEST(test_fdbook_closing_strikes_out)
{
	int fd = fd_event(), number = fd;

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(fd_kinds(fd), FD_EVENT);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close_fd(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_uint_eq(fd_kinds(number), 0);
}
END_TEST

START_TEST(test_fdbook_names_each_kind)
{
	ck_assert_str_eq(fd_kind_name(FD_LOG), "log");
	ck_assert_str_eq(fd_kind_name(FD_VCPU), "vCPU");
	ck_assert_str_eq(fd_kind_name(FD_KEEPER), "keeper");
	ck_assert_str_eq(fd_kind_name(0), "none");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fdbook");
	TCase *t = tcase_create("fdbook");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, test_fdbook_keeps_what_a_descriptor_is);
	tcase_add_test(t, test_fdbook_takes_failed_opens_and_numbers_past_its_end);
	tcase_add_test(t, test_fdbook_runs_are_whole_and_in_order);
	tcase_add_test(t, test_fdbook_closing_strikes_out);
	tcase_add_test(t, test_fdbook_names_each_kind);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
