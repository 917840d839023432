// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/panic_text.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/loop.h"
#include "vmm/machine/machine.h"

static struct loop *loop;
static struct panic_text *p;
static struct machine_console con;
static unsigned finds, rooms, closes;
static char last[PANIC_TEXT_LINE + 1];
static size_t hvc_takes;
static char shown[2048];
static size_t nr_shown;

static void found(void *ctx, const char *line)
{
	ck_assert_ptr_eq(ctx, &finds);
	finds++;
	snprintf(last, sizeof(last), "%s", line);
}

static size_t show(void *ctx, const void *buf, size_t len)
{
	size_t n = ctx == &hvc_takes && len > hvc_takes ? hvc_takes : len;

	if (n <= sizeof(shown) - nr_shown) {
		memcpy(shown + nr_shown, buf, n);
		nr_shown += n;
	}
	return n;
}

static void room(void *ctx)
{
	(void)ctx;
	rooms++;
}

static void closed(void *ctx)
{
	(void)ctx;
	closes++;
}

static void start(const char *re)
{
	finds = rooms = closes = 0;
	nr_shown = 0;
	hvc_takes = SIZE_MAX;
	con = (struct machine_console){
		.uart = { .write = show, .input_room = room, .ctx = &con },
		.hvc = { .write = show, .input_room = room, .closed = closed, .ctx = &hvc_takes },
	};
	ck_assert_int_eq(panic_text_check(re, NULL), 0);
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(panic_text_new(re, loop, found, &finds, &p), 0);
	panic_text_watch(p, &con);
}

static void end(void)
{
	panic_text_free(p);
	loop_free(loop);
}

static size_t hvc(const char *text, size_t len)
{
	return con.hvc.write(con.hvc.ctx, text, len);
}

static void hvc_text(const char *text)
{
	ck_assert_uint_eq(hvc(text, strlen(text)), strlen(text));
}

/* As the PL011 does: a byte at a time. */
static void uart_text(const char *text)
{
	for (; *text; text++)
		ck_assert_uint_eq(con.uart.write(con.uart.ctx, text, 1), 1);
}

START_TEST(test_panic_text_lines_of_both_are_matched)
{
	start("^Kernel (panic|Oops)");
	hvc_text("a line\nKernel pan");
	ck_assert_uint_eq(finds, 0);
	hvc_text("ic - not syncing\r\nmore");
	ck_assert_uint_eq(finds, 1);
	ck_assert_str_eq(last, "Kernel panic - not syncing");
	uart_text("no\nKernel Oops\n");
	ck_assert_uint_eq(finds, 1); /* it is the loop's to look at */
	fake_loop_turn(loop);
	ck_assert_uint_eq(finds, 2);
	ck_assert_str_eq(last, "Kernel Oops");
	ck_assert_mem_eq(shown, "a line\nKernel panic - not syncing\r\nmoreno\nKernel Oops\n", nr_shown);
	end();
}
END_TEST

START_TEST(test_panic_text_only_what_was_taken_is_looked_at)
{
	start("abc");
	hvc_takes = 2;
	ck_assert_uint_eq(hvc("abc\n", 4), 2);
	ck_assert_uint_eq(hvc("c\n", 2), 2);
	ck_assert_uint_eq(finds, 1);
	end();
}
END_TEST

START_TEST(test_panic_text_half_lines_and_closed_ones_are_none)
{
	start("abc");
	hvc_text("abc");
	uart_text("abc");
	fake_loop_turn(loop);
	con.hvc.closed(con.hvc.ctx);
	ck_assert_uint_eq(closes, 1);
	hvc_text("\n");
	ck_assert_uint_eq(finds, 0);
	con.hvc.input_room(con.hvc.ctx);
	con.uart.input_room(con.uart.ctx);
	ck_assert_uint_eq(rooms, 2);
	end();
}
END_TEST

START_TEST(test_panic_text_long_lines_are_cut)
{
	char line[2 * PANIC_TEXT_LINE];

	memset(line, 'x', sizeof(line));
	memcpy(line + sizeof(line) - 5, "abc\n", 4);
	line[sizeof(line) - 1] = '\0';
	start("abc");
	hvc_text(line);
	ck_assert_uint_eq(finds, 0);
	ck_assert_uint_gt(panic_text_passed(p), 0);
	hvc_text("abc\n");
	ck_assert_uint_eq(finds, 1);
	end();
}
END_TEST

START_TEST(test_panic_text_nul_hides_nothing)
{
	start("abc$");
	ck_assert_uint_eq(hvc("x\0abc\n", 6), 6);
	ck_assert_uint_eq(finds, 1);
	end();
}
END_TEST

START_TEST(test_panic_text_queue_that_is_full_passes_lines_by)
{
	static const char line[] = "abc: 0123456789\n"; /* 16 bytes, in the queue too */

	start("abc");
	for (int i = 0; i < 1000; i++)
		uart_text(line);
	fake_loop_turn(loop);
	ck_assert_uint_eq(finds, 8192 / 16);
	ck_assert_uint_eq(panic_text_passed(p), 15 * (1000 - 8192 / 16));
	uart_text(line);
	fake_loop_turn(loop);
	ck_assert_uint_eq(finds, 8192 / 16 + 1);
	end();
}
END_TEST

static void *print_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++)
		uart_text("abc\n");
	return NULL;
}

/* A vCPU prints while the loop looks. */
START_TEST(test_panic_text_each_line_is_found_or_counted)
{
	pthread_t cpu;

	start("abc");
	ck_assert_int_eq(pthread_create(&cpu, NULL, print_many, NULL), 0);
	for (int i = 0; i < 100; i++)
		fake_loop_turn(loop);
	pthread_join(cpu, NULL);
	fake_loop_turn(loop);
	ck_assert_uint_eq(finds + panic_text_passed(p) / 3, 2000);
	end();
}
END_TEST

START_TEST(test_panic_text_a_flood_is_not_looked_at)
{
	char line[PANIC_TEXT_LINE + 1];

	memset(line, 'a', sizeof(line));
	memcpy(line + sizeof(line) - 5, "abc\n", 5);
	start("abc");
	for (unsigned i = 0; i < 8 * PANIC_TEXT_RATE / sizeof(line); i++)
		hvc_text(line);
	/* each line is charged somewhat more than its bytes */
	ck_assert_uint_ge(finds, PANIC_TEXT_RATE / (2 * sizeof(line)));
	ck_assert_uint_gt(panic_text_passed(p), 0);
	end();
}
END_TEST

/* What was printed with the last instruction counts, whether it is a whole line or not. */
START_TEST(test_panic_text_the_last_lines_are_looked_at)
{
	start("abc");
	uart_text("an abc\n");
	panic_text_drain(p);
	ck_assert_uint_eq(finds, 1);
	ck_assert_str_eq(last, "an abc");
	uart_text("abc, and no end");
	hvc_text("nor abc");
	panic_text_drain(p);
	ck_assert_uint_eq(finds, 3);
	panic_text_drain(p);
	ck_assert_uint_eq(finds, 3);
	end();
}
END_TEST

/* To begin with a line costs, too: short ones do not come cheaper than long ones. */
START_TEST(test_panic_text_short_lines_are_limited)
{
	start("^a$");
	for (unsigned i = 0; i < PANIC_TEXT_RATE / 32; i++)
		hvc_text("a\n\n\n");
	ck_assert_uint_gt(finds, PANIC_TEXT_RATE / 256);
	ck_assert_uint_lt(finds, PANIC_TEXT_RATE / 64);
	ck_assert_uint_gt(panic_text_passed(p), 0);
	end();
}
END_TEST

START_TEST(test_panic_text_bad_expressions_are_refused)
{
	static const struct { const char *re, *part; } bad[] = {
		{ "", "is empty" }, { "(", "--panic-text: '(': " }, { "a*", "matches every line" }, { "[a", "--panic-text: '[a': " },
		{ "x{200}{200}", "longer than 1024" }, { "(a{1,99}b){,99}{99}", "longer than 1024" },
		{ "a{99999999999999999999}", "longer than 1024" },
	};
	char longest[PANIC_TEXT_SIZE + 2];
	struct err err;

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_int_eq(panic_text_check(bad[i].re, &err), -EINVAL);
		ck_assert_msg(strstr(err.text, bad[i].part), "'%s' lacks '%s'", err.text, bad[i].part);
	}
	memset(longest, 'a', sizeof(longest));
	longest[PANIC_TEXT_SIZE + 1] = '\0';
	ck_assert_int_eq(panic_text_check(longest, &err), -EINVAL);
	longest[PANIC_TEXT_SIZE] = '\0';
	ck_assert_int_eq(panic_text_check(longest, &err), 0);
	ck_assert_int_eq(panic_text_check("[0-9]{4,8}-x{2,}", &err), 0);
	ck_assert_int_eq(panic_text_check("a{", NULL), panic_text_check("b{", NULL));
}
END_TEST

START_TEST(test_panic_text_no_descriptor_is_an_error)
{
	struct panic_text *q = NULL;

	start("abc");
	panic_text_free(NULL);
	fake_loop_fail_init(loop, 0, -ENOSPC);
	ck_assert_int_eq(panic_text_new("abc", loop, found, NULL, &q), -ENOSPC);
	ck_assert_ptr_null(q);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("panic_text");
	TCase *tc = tcase_create("panic_text");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_panic_text_lines_of_both_are_matched);
	tcase_add_test(tc, test_panic_text_only_what_was_taken_is_looked_at);
	tcase_add_test(tc, test_panic_text_half_lines_and_closed_ones_are_none);
	tcase_add_test(tc, test_panic_text_long_lines_are_cut);
	tcase_add_test(tc, test_panic_text_nul_hides_nothing);
	tcase_add_test(tc, test_panic_text_queue_that_is_full_passes_lines_by);
	tcase_add_test(tc, test_panic_text_each_line_is_found_or_counted);
	tcase_add_test(tc, test_panic_text_a_flood_is_not_looked_at);
	tcase_add_test(tc, test_panic_text_the_last_lines_are_looked_at);
	tcase_add_test(tc, test_panic_text_short_lines_are_limited);
	tcase_add_test(tc, test_panic_text_bad_expressions_are_refused);
	tcase_add_test(tc, test_panic_text_no_descriptor_is_an_error);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
