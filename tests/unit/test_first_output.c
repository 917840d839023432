// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/first_output.h"

#include <check.h>
#include <string.h>

#include "tests/fake/loop.h"
#include "vmm/machine/machine.h"

static struct loop *loop;
static struct first_output f;
static struct machine_console con;
static unsigned writes, rooms, closes;

static size_t show(void *ctx, const void *buf, size_t len)
{
	(void)ctx, (void)buf;
	writes++;
	return len / 2;
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

static void start(void)
{
	f = (struct first_output){ 0 };
	con = (struct machine_console){
		.uart = { .write = show, .input_room = room }, .hvc = { .write = show, .input_room = room, .closed = closed },
	};
	ck_assert_int_eq(loop_new(&loop), 0);
	first_output_watch(&f, loop, &con);
}

START_TEST(test_first_output_of_either_console_is_the_one)
{
	struct console_sink *sink = _i ? &con.uart : &con.hvc;
	uint64_t first;

	start();
	ck_assert_uint_eq(sink->write(sink->ctx, "", 0), 0);
	ck_assert_uint_eq(f.ns, 0);
	ck_assert_uint_eq(sink->write(sink->ctx, "abcd", 4), 2);
	ck_assert_uint_gt(f.ns, 0);
	ck_assert_uint_eq(fake_loop_calls(loop), 1);
	first = f.ns;
	con.uart.write(con.uart.ctx, "ab", 2);
	con.hvc.write(con.hvc.ctx, "ab", 2);
	ck_assert_uint_eq(f.ns, first);
	ck_assert_uint_eq(fake_loop_calls(loop), 1);
	ck_assert_uint_eq(writes, 4);
	loop_free(loop);
}
END_TEST

START_TEST(test_first_output_hands_on_all_else)
{
	start();
	con.uart.input_room(con.uart.ctx);
	con.hvc.input_room(con.hvc.ctx);
	con.hvc.closed(con.hvc.ctx);
	ck_assert_uint_eq(rooms, 2);
	ck_assert_uint_eq(closes, 1);
	ck_assert_uint_eq(f.ns, 0);
	loop_free(loop);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("first_output");
	TCase *tc = tcase_create("first_output");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, test_first_output_of_either_console_is_the_one, 0, 2);
	tcase_add_test(tc, test_first_output_hands_on_all_else);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
