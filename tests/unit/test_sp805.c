// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static uint64_t host_ns; /* CLOCK_MONOTONIC */

/* The device is built here once more, on a clock that goes as the tests say. The coarse one lags by up to 4 ms. */
static int test_clock(clockid_t id, struct timespec *ts)
{
	uint64_t ns = id == CLOCK_MONOTONIC_COARSE ? host_ns / 4000000 * 4000000 : host_ns;

	*ts = (struct timespec){ .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
	return 0;
}

#define clock_gettime test_clock
#include "devices/watchdog/sp805.c"
#undef clock_gettime
#include "tests/fake/one_timer.h"

#define BASE UINT64_C(0x9040000)
#define SECOND SP805_HZ
#define MS UINT64_C(1000000)

static struct bus *bus;
static struct sp805 *dog;
static struct line wire;
static unsigned bites;

static void bite(void *ctx)
{
	ck_assert_ptr_eq(ctx, &bites);
	bites++;
}

static uint32_t rd(uint64_t off)
{
	return (uint32_t)bus_read(bus, BASE + off, 4);
}

static void wr(uint64_t off, uint32_t val)
{
	bus_write(bus, BASE + off, 4, val);
}

/* Time passes, and the timer fires when it is due. */
static void pass(uint64_t ns)
{
	while (ns)
		one_timer_pass(&host_ns, &ns);
}

static void setup(void)
{
	struct sp805_cfg c = { .gpa = BASE, .line = &wire, .bites = bite, .ctx = &bites };

	host_ns = 1000 * NS_PER_SEC;
	one_timer_reset();
	bites = 0;
	wire.level = false;
	ck_assert_int_eq(bus_new(&bus), 0);
	c.bus = bus;
	ck_assert_int_eq(sp805_new(&c, &dog), 0);
}

static void teardown(void)
{
	sp805_free(dog);
	ck_assert_ptr_null(one_timer.t);
	bus_free(bus);
}

START_TEST(test_sp805_resets_to_off_and_has_its_ids)
{
	static const uint8_t id[] = { 0x05, 0x18, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(rd(0xfe0 + 4 * i), id[i]);
	ck_assert_uint_eq(rd(WDOGLOAD), UINT32_MAX);
	ck_assert_uint_eq(rd(WDOGVALUE), UINT32_MAX);
	ck_assert_uint_eq(rd(WDOGCONTROL) | rd(WDOGRIS) | rd(WDOGMIS) | rd(WDOGLOCK), 0);
	pass(1000 * NS_PER_SEC);
	ck_assert_uint_eq(rd(WDOGVALUE), UINT32_MAX);
	ck_assert_uint_eq(one_timer.sets, 0);
}
END_TEST

START_TEST(test_sp805_first_end_interrupts_second_bites)
{
	wr(WDOGLOAD, 5 * SECOND);
	wr(WDOGCONTROL, 3);
	pass(5 * NS_PER_SEC - 10 * MS);
	ck_assert(!wire.level);
	pass(10 * MS);
	ck_assert(wire.level);
	ck_assert_uint_eq(rd(WDOGRIS), 1);
	ck_assert_uint_eq(rd(WDOGMIS), 1);
	pass(5 * NS_PER_SEC - 10 * MS);
	ck_assert_uint_eq(bites, 0);
	pass(10 * MS);
	ck_assert_uint_eq(bites, 1);
	pass(100 * NS_PER_SEC);
	ck_assert_uint_eq(bites, 1);
}
END_TEST

/* This process was stopped for a minute: the guest could not answer an interrupt that it had not got yet. */
START_TEST(test_sp805_late_interrupt_leaves_a_period_to_answer)
{
	wr(WDOGLOAD, 5 * SECOND);
	wr(WDOGCONTROL, 3);
	host_ns += 60 * NS_PER_SEC;
	one_timer_fire();
	ck_assert(wire.level);
	pass(5 * NS_PER_SEC - 10 * MS);
	ck_assert_uint_eq(bites, 0);
	wr(WDOGINTCLR, 1);
	pass(5 * NS_PER_SEC - 10 * MS);
	ck_assert_uint_eq(bites, 0);
	pass(6 * NS_PER_SEC);
	ck_assert_uint_eq(bites, 1);
}
END_TEST

START_TEST(test_sp805_a_guest_that_lives_costs_no_timer)
{
	wr(WDOGLOAD, 5 * SECOND);
	wr(WDOGCONTROL, 3);
	ck_assert_uint_eq(one_timer.sets, 1);
	for (int i = 0; i < 100; i++) {
		pass(NS_PER_SEC / 10);
		wr(WDOGINTCLR, 1);
	}
	ck_assert_uint_le(one_timer.sets, 4);
	ck_assert_uint_eq(rd(WDOGRIS), 0);
	pass(5 * NS_PER_SEC - 10 * MS);
	ck_assert_uint_eq(rd(WDOGRIS), 0);
	pass(10 * MS);
	ck_assert_uint_eq(rd(WDOGRIS), 1);
	wr(WDOGINTCLR, 0);
	ck_assert(!wire.level);
	pass(9 * NS_PER_SEC);
	ck_assert_uint_eq(bites, 0);
}
END_TEST

START_TEST(test_sp805_without_resen_it_does_not_bite)
{
	wr(WDOGLOAD, SECOND);
	wr(WDOGCONTROL, INTEN);
	pass(10 * NS_PER_SEC + NS_PER_SEC / 2);
	ck_assert_uint_eq(rd(WDOGRIS), 1);
	ck_assert_uint_eq(one_timer.delay_ns, 0);
	ck_assert_uint_lt(rd(WDOGVALUE), SECOND / 2 + SECOND / 50);
	ck_assert_uint_gt(rd(WDOGVALUE), SECOND / 2 - SECOND / 50);
	wr(WDOGCONTROL, INTEN | RESEN); /* the counter went round ten times: the next end is half a second away */
	pass(NS_PER_SEC / 2 - 10 * MS);
	ck_assert_uint_eq(bites, 0);
	pass(10 * MS);
	ck_assert_uint_eq(bites, 1);
}
END_TEST

START_TEST(test_sp805_off_holds_the_counter_and_on_loads_it)
{
	wr(WDOGLOAD, 10 * SECOND);
	wr(WDOGCONTROL, 3);
	pass(4 * NS_PER_SEC);
	wr(WDOGCONTROL, 0);
	ck_assert_uint_lt(rd(WDOGVALUE), 6 * SECOND + SECOND / 50);
	ck_assert_uint_gt(rd(WDOGVALUE), 6 * SECOND - SECOND / 50);
	pass(100 * NS_PER_SEC);
	ck_assert_uint_gt(rd(WDOGVALUE), 6 * SECOND - SECOND / 50);
	ck_assert_uint_eq(rd(WDOGRIS), 0);
	wr(WDOGCONTROL, 3);
	pass(9 * NS_PER_SEC);
	ck_assert_uint_eq(rd(WDOGRIS), 0);
	pass(NS_PER_SEC);
	ck_assert_uint_eq(rd(WDOGRIS), 1);
	wr(WDOGCONTROL, RESEN); /* the interrupt is masked, not gone */
	ck_assert(!wire.level);
	ck_assert_uint_eq(rd(WDOGRIS), 1);
	ck_assert_uint_eq(rd(WDOGMIS), 0);
}
END_TEST

START_TEST(test_sp805_a_shorter_period_moves_the_timer)
{
	wr(WDOGLOAD, 100 * SECOND);
	wr(WDOGCONTROL, 3);
	wr(WDOGLOAD, SECOND);
	ck_assert_uint_eq(one_timer.sets, 2);
	pass(NS_PER_SEC);
	ck_assert_uint_eq(rd(WDOGRIS), 1);
}
END_TEST

START_TEST(test_sp805_lock_keeps_all_but_itself)
{
	wr(WDOGLOAD, SECOND);
	wr(WDOGLOCK, 1);
	ck_assert_uint_eq(rd(WDOGLOCK), 1);
	wr(WDOGLOAD, 7);
	wr(WDOGCONTROL, 3);
	ck_assert_uint_eq(rd(WDOGLOAD), SECOND);
	ck_assert_uint_eq(rd(WDOGCONTROL), 0);
	wr(WDOGLOCK, UNLOCK);
	ck_assert_uint_eq(rd(WDOGLOCK), 0);
	wr(WDOGCONTROL, 3);
	wr(WDOGLOCK, 0);
	pass(NS_PER_SEC);
	wr(WDOGINTCLR, 1);
	ck_assert_uint_eq(rd(WDOGRIS), 1);
	pass(NS_PER_SEC);
	ck_assert_uint_eq(bites, 1);
}
END_TEST

START_TEST(test_sp805_tiny_periods_do_not_keep_the_loop)
{
	wr(WDOGLOAD, 0);
	wr(WDOGCONTROL, INTEN);
	for (int i = 0; i < 1000; i++) {
		pass(MS / 10);
		wr(WDOGINTCLR, 1);
	}
	ck_assert_uint_le(one_timer.sets, 1100);
	pass(10 * NS_PER_SEC);
	ck_assert_uint_eq(one_timer.delay_ns, 0);
	ck_assert_uint_eq(rd(WDOGVALUE), 0);
}
END_TEST

START_TEST(test_sp805_random_accesses_stay_inside)
{
	srand(805);
	for (int i = 0; i < 20000; i++) {
		uint64_t off = (uint64_t)(rand() % (rand() % 4 ? 0x18 : SP805_SIZE));
		unsigned len = 1u << rand() % 4;

		if (rand() % 2)
			bus_write(bus, BASE + off, len, (uint64_t)rand() << 20 ^ (uint64_t)rand());
		else
			(void)bus_read(bus, BASE + off, len);
		if (i % 3 == 0)
			pass((uint64_t)(rand() % 10) * NS_PER_SEC / 7);
		ck_assert(wire.level == !!rd(WDOGMIS));
		ck_assert_uint_le(rd(WDOGVALUE), rd(WDOGCONTROL) & INTEN ? rd(WDOGLOAD) : UINT32_MAX);
	}
}
END_TEST

START_TEST(test_sp805_no_timer_or_place_is_an_error)
{
	struct sp805_cfg c = { .bus = bus, .gpa = BASE, .line = &wire };
	struct loop_timer *mine = one_timer.t;
	struct sp805 *second = NULL;

	ck_assert_int_eq(sp805_new(&c, &second), -EEXIST);
	one_timer.init_result = -ENOSPC;
	c.gpa += SP805_SIZE;
	ck_assert_int_eq(sp805_new(&c, &second), -ENOSPC);
	ck_assert_ptr_null(second);
	one_timer.t = mine;
	sp805_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sp805");
	TCase *tc = tcase_create("sp805");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_sp805_resets_to_off_and_has_its_ids);
	tcase_add_test(tc, test_sp805_first_end_interrupts_second_bites);
	tcase_add_test(tc, test_sp805_late_interrupt_leaves_a_period_to_answer);
	tcase_add_test(tc, test_sp805_a_guest_that_lives_costs_no_timer);
	tcase_add_test(tc, test_sp805_without_resen_it_does_not_bite);
	tcase_add_test(tc, test_sp805_off_holds_the_counter_and_on_loads_it);
	tcase_add_test(tc, test_sp805_a_shorter_period_moves_the_timer);
	tcase_add_test(tc, test_sp805_lock_keeps_all_but_itself);
	tcase_add_test(tc, test_sp805_tiny_periods_do_not_keep_the_loop);
	tcase_add_test(tc, test_sp805_random_accesses_stay_inside);
	tcase_add_test(tc, test_sp805_no_timer_or_place_is_an_error);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
