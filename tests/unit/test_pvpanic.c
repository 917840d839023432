// SPDX-License-Identifier: BSD-3-Clause
#include "devices/panic/pvpanic.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#define BASE UINT64_C(0x9030000)

static struct bus *bus;
static struct pvpanic *dev;
static unsigned panics;

static void panicked(void *ctx)
{
	ck_assert_ptr_eq(ctx, &panics);
	panics++;
}

static void setup(void)
{
	panics = 0;
	ck_assert_int_eq(bus_new(&bus), 0);
	ck_assert_int_eq(pvpanic_new(bus, BASE, panicked, &panics, &dev), 0);
}

static void teardown(void)
{
	pvpanic_free(dev);
	bus_free(bus);
}

START_TEST(test_pvpanic_offers_both_events)
{
	ck_assert_uint_eq(bus_read(bus, BASE, 1), 3);
	ck_assert_uint_eq(bus_read(bus, BASE, 2), 3);
	ck_assert_uint_eq(bus_read(bus, BASE + 1, 1), 0);
}
END_TEST

START_TEST(test_pvpanic_panic_is_told)
{
	bus_write(bus, BASE, 1, 1);
	ck_assert_uint_eq(panics, 1);
	ck_assert_uint_eq(pvpanic_crash_loads(dev), 0);
	bus_write(bus, BASE, 2, 0xff01);
	ck_assert_uint_eq(panics, 2);
}
END_TEST

START_TEST(test_pvpanic_crash_kernel_is_counted)
{
	bus_write(bus, BASE, 1, 2);
	bus_write(bus, BASE, 1, 2);
	ck_assert_uint_eq(panics, 0);
	ck_assert_uint_eq(pvpanic_crash_loads(dev), 2);
	bus_write(bus, BASE, 1, 3);
	ck_assert_uint_eq(panics, 1);
	ck_assert_uint_eq(pvpanic_crash_loads(dev), 3);
}
END_TEST

START_TEST(test_pvpanic_other_events_and_places_are_nothing)
{
	bus_write(bus, BASE, 1, 0xfc);
	bus_write(bus, BASE + 1, 1, 0xff);
	for (unsigned len = 2; len <= 8; len *= 2)
		bus_write(bus, BASE + 1, len, UINT64_MAX); /* over the end */
	bus_write(bus, BASE, 4, 1);
	ck_assert_uint_eq(panics, 0);
	ck_assert_uint_eq(pvpanic_crash_loads(dev), 0);
}
END_TEST

START_TEST(test_pvpanic_no_place_is_an_error)
{
	struct pvpanic *second = NULL;

	ck_assert_int_eq(pvpanic_new(bus, BASE + 1, panicked, NULL, &second), -EEXIST);
	ck_assert_ptr_null(second);
	pvpanic_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pvpanic");
	TCase *tc = tcase_create("pvpanic");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_pvpanic_offers_both_events);
	tcase_add_test(tc, test_pvpanic_panic_is_told);
	tcase_add_test(tc, test_pvpanic_crash_kernel_is_counted);
	tcase_add_test(tc, test_pvpanic_other_events_and_places_are_nothing);
	tcase_add_test(tc, test_pvpanic_no_place_is_an_error);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
