// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "devices/rtc/pl031.h"
#include "tests/fake/one_timer.h"
#include "vmm/base/clock.h"

#define BASE UINT64_C(0x9010000)
#define DR 0x00
#define MR 0x04
#define LR 0x08
#define CR 0x0c
#define IMSC 0x10
#define RIS 0x14
#define MIS 0x18
#define ICR 0x1c

static struct bus *bus;
static struct pl031 *rtc;
static struct line wire;

static uint32_t rd(uint64_t off)
{
	return (uint32_t)bus_read(bus, BASE + off, 4);
}

static void wr(uint64_t off, uint32_t val)
{
	bus_write(bus, BASE + off, 4, val);
}

static void setup(void)
{
	one_timer_reset();
	wire.level = false;
	ck_assert_int_eq(bus_new(&bus), 0);
	ck_assert_int_eq(pl031_new(bus, NULL, BASE, &wire, &rtc), 0);
}

static void teardown(void)
{
	pl031_free(rtc);
	ck_assert_ptr_null(one_timer.t);
	bus_free(bus);
}

START_TEST(test_pl031_ids_are_right)
{
	static const uint8_t ids[] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(rd(0xfe0 + 4 * i), ids[i]);
	ck_assert_uint_eq(rd(CR), 1);
	wr(CR, 0);
	ck_assert_uint_eq(rd(CR), 1);
}
END_TEST

START_TEST(test_pl031_counter_is_the_hosts_clock)
{
	uint32_t before = (uint32_t)time(NULL), now = rd(DR);

	ck_assert_uint_le(now - before, 2);
}
END_TEST

START_TEST(test_pl031_load_sets_the_counter)
{
	wr(LR, 1000);
	ck_assert_uint_eq(rd(LR), 1000);
	ck_assert_uint_le(rd(DR) - 1000, 2);
	wr(LR, UINT32_MAX);
	ck_assert_uint_le(rd(DR) - UINT32_MAX, 2);
	ck_assert_uint_eq(one_timer.sets, 0);
}
END_TEST

START_TEST(test_pl031_match_now_raises_at_once)
{
	wr(LR, 5000);
	wr(IMSC, 1);
	wr(MR, rd(DR));
	/* a second may have passed in between: then the alarm is almost 2^32 s away */
	ck_assert(wire.level || one_timer.delay_ns > NS_PER_SEC * 1000);
	if (!wire.level)
		return;
	ck_assert_uint_eq(rd(RIS), 1);
	ck_assert_uint_eq(rd(MIS), 1);
	wr(ICR, 1);
	ck_assert(!wire.level);
	ck_assert_uint_eq(rd(RIS), 0);
}
END_TEST

START_TEST(test_pl031_match_later_sets_the_timer)
{
	wr(LR, 5000);
	wr(MR, 5100);
	ck_assert_uint_gt(one_timer.delay_ns, 97 * NS_PER_SEC);
	ck_assert_uint_le(one_timer.delay_ns, 100 * NS_PER_SEC);
	ck_assert_uint_eq(rd(MR), 5100);
	ck_assert_uint_eq(rd(RIS), 0);
}
END_TEST

START_TEST(test_pl031_timer_too_early_is_set_again)
{
	wr(LR, 5000);
	wr(MR, 5100);
	one_timer_fire();
	ck_assert_uint_eq(rd(RIS), 0);
	ck_assert_uint_gt(one_timer.delay_ns, 97 * NS_PER_SEC);
}
END_TEST

START_TEST(test_pl031_timer_late_raises_once)
{
	wr(IMSC, 1);
	wr(LR, 5000);
	wr(MR, 5001);
	if (one_timer.delay_ns) {
		struct timespec wait = { 1, 50000000 };

		ck_assert_uint_le(one_timer.delay_ns, NS_PER_SEC);
		nanosleep(&wait, NULL);
		one_timer_fire();
	}
	ck_assert(wire.level);
	ck_assert_uint_eq(one_timer.delay_ns, 0);
	wr(ICR, 1);
	one_timer_fire();
	ck_assert(!wire.level);
}
END_TEST

START_TEST(test_pl031_load_moves_a_set_alarm)
{
	wr(LR, 5000);
	wr(MR, 9000);
	wr(LR, 8990);
	ck_assert_uint_gt(one_timer.delay_ns, 7 * NS_PER_SEC);
	ck_assert_uint_le(one_timer.delay_ns, 10 * NS_PER_SEC);
}
END_TEST

START_TEST(test_pl031_mask_keeps_the_wire_low)
{
	wr(LR, 5000);
	wr(MR, 5000);
	if (!rd(RIS))
		return; /* the second passed in between */
	ck_assert(!wire.level);
	ck_assert_uint_eq(rd(MIS), 0);
	wr(IMSC, 0xfe);
	ck_assert(!wire.level);
	wr(IMSC, 0xff);
	ck_assert(wire.level);
	ck_assert_uint_eq(rd(IMSC), 1);
}
END_TEST

START_TEST(test_pl031_random_accesses_stay_inside)
{
	srand(9);
	for (int i = 0; i < 20000; i++) {
		uint64_t off = (uint64_t)(rand() % (rand() % 4 ? 0x24 : PL031_SIZE));
		unsigned len = 1u << rand() % 4;

		if (rand() % 2)
			bus_write(bus, BASE + off, len, (uint64_t)rand() << 20 ^ (uint64_t)rand());
		else
			(void)bus_read(bus, BASE + off, len);
		if (i % 3 == 0)
			one_timer_fire();
		ck_assert(wire.level == !!rd(MIS));
	}
}
END_TEST

START_TEST(test_pl031_no_timer_or_place_is_an_error)
{
	struct pl031 *second = NULL;
	struct loop_timer *mine = one_timer.t;

	ck_assert_int_eq(pl031_new(bus, NULL, BASE, &wire, &second), -EEXIST);
	one_timer.init_result = -ENOSPC;
	ck_assert_int_eq(pl031_new(bus, NULL, BASE + 0x1000, &wire, &second), -ENOSPC);
	ck_assert_ptr_null(second);
	one_timer.t = mine;
	pl031_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pl031");
	TCase *tc = tcase_create("pl031");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_pl031_ids_are_right);
	tcase_add_test(tc, test_pl031_counter_is_the_hosts_clock);
	tcase_add_test(tc, test_pl031_load_sets_the_counter);
	tcase_add_test(tc, test_pl031_match_now_raises_at_once);
	tcase_add_test(tc, test_pl031_match_later_sets_the_timer);
	tcase_add_test(tc, test_pl031_timer_too_early_is_set_again);
	tcase_add_test(tc, test_pl031_timer_late_raises_once);
	tcase_add_test(tc, test_pl031_load_moves_a_set_alarm);
	tcase_add_test(tc, test_pl031_mask_keeps_the_wire_low);
	tcase_add_test(tc, test_pl031_random_accesses_stay_inside);
	tcase_add_test(tc, test_pl031_no_timer_or_place_is_an_error);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
