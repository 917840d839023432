// SPDX-License-Identifier: BSD-3-Clause
#include "devices/gpio/pl061.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#define BASE UINT64_C(0x9020000)
#define DATA(mask) ((uint64_t)(mask) << 2)
#define DIR 0x400
#define IS 0x404
#define IBE 0x408
#define IEV 0x40c
#define IE 0x410
#define RIS 0x414
#define MIS 0x418
#define IC 0x41c
#define AFSEL 0x420

static struct bus *bus;
static struct pl061 *gpio;
static struct line wire;

/* Instead of vmm/core/line.c: the wire. */
void line_set(struct line *l, bool level)
{
	l->level = level;
}

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
	wire.level = false;
	ck_assert_int_eq(bus_new(&bus), 0);
	ck_assert_int_eq(pl061_new(bus, BASE, &wire, &gpio), 0);
}

static void teardown(void)
{
	pl061_free(gpio);
	bus_free(bus);
}

START_TEST(test_pl061_resets_to_zero_and_has_its_ids)
{
	static const uint8_t ids[] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	for (uint64_t off = 0; off < 0xfe0; off += 4)
		ck_assert_uint_eq(rd(off), 0);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(rd(0xfe0 + 4 * i), ids[i]);
}
END_TEST

START_TEST(test_pl061_data_is_what_the_address_masks)
{
	wr(DIR, 0xff);
	wr(DATA(0xff), 0xa5);
	ck_assert_uint_eq(rd(DATA(0xff)), 0xa5);
	ck_assert_uint_eq(rd(DATA(0x0f)), 0x05);
	wr(DATA(0x0f), 0xfa);
	ck_assert_uint_eq(rd(DATA(0xff)), 0xaa);
	wr(DATA(0), 0xff);
	ck_assert_uint_eq(rd(DATA(0xff)), 0xaa);
}
END_TEST

START_TEST(test_pl061_data_of_inputs_is_what_drives_them)
{
	wr(DATA(0xff), 0xff);
	ck_assert_uint_eq(rd(DATA(0xff)), 0);
	pl061_set_input(gpio, 3, true);
	ck_assert_uint_eq(rd(DATA(0xff)), 8);
	ck_assert_uint_eq(rd(DATA(0xf7)), 0);
	wr(DIR, 8);
	wr(DATA(8), 0);
	ck_assert_uint_eq(rd(DATA(0xff)), 0);
	wr(DIR, 1); /* what was written while it was an input */
	ck_assert_uint_eq(rd(DATA(0xff)), 9);
}
END_TEST

/* As Linux' driver has it for a key. */
START_TEST(test_pl061_both_edges_latch_until_cleared)
{
	wr(IBE, 1);
	wr(IE, 1);
	pl061_set_input(gpio, 0, true);
	ck_assert(wire.level);
	ck_assert_uint_eq(rd(RIS), 1);
	ck_assert_uint_eq(rd(MIS), 1);
	pl061_set_input(gpio, 0, true); /* no edge */
	wr(IC, 1);
	ck_assert(!wire.level);
	ck_assert_uint_eq(rd(RIS), 0);
	pl061_set_input(gpio, 0, true);
	ck_assert(!wire.level);
	pl061_set_input(gpio, 0, false);
	ck_assert(wire.level);
	wr(IC, 0xfe);
	ck_assert(wire.level);
	wr(IC, 0xff);
	ck_assert(!wire.level);
}
END_TEST

START_TEST(test_pl061_one_edge_is_the_one_of_iev)
{
	wr(IE, 0xff);
	wr(IEV, 4);
	pl061_set_input(gpio, 2, true);
	ck_assert_uint_eq(rd(RIS), 4);
	wr(IC, 4);
	pl061_set_input(gpio, 2, false);
	ck_assert_uint_eq(rd(RIS), 0);
	pl061_set_input(gpio, 5, true);
	ck_assert_uint_eq(rd(RIS), 0);
	pl061_set_input(gpio, 5, false);
	ck_assert_uint_eq(rd(RIS), 0x20);
	ck_assert(wire.level);
}
END_TEST

START_TEST(test_pl061_level_follows_the_pin_and_is_not_cleared)
{
	wr(IEV, 1);
	wr(IE, 1);
	wr(IS, 1);
	ck_assert(!wire.level);
	pl061_set_input(gpio, 0, true);
	ck_assert(wire.level);
	wr(IC, 1);
	ck_assert(wire.level);
	wr(IEV, 0); /* low, now */
	ck_assert(!wire.level);
	pl061_set_input(gpio, 0, false);
	ck_assert(wire.level);
	wr(IS, 0); /* no edge was seen meanwhile */
	ck_assert(!wire.level);
}
END_TEST

START_TEST(test_pl061_mask_keeps_the_wire_low)
{
	wr(IEV, 1);
	pl061_set_input(gpio, 0, true);
	ck_assert(!wire.level);
	ck_assert_uint_eq(rd(RIS), 1);
	ck_assert_uint_eq(rd(MIS), 0);
	wr(IE, 1);
	ck_assert(wire.level);
	wr(IE, 0);
	ck_assert(!wire.level);
}
END_TEST

START_TEST(test_pl061_outputs_sense_nothing)
{
	wr(DIR, 0xff);
	wr(IEV, 0xff);
	wr(IE, 0xff);
	pl061_set_input(gpio, 0, true);
	ck_assert_uint_eq(rd(RIS), 0);
	wr(IS, 0xff);
	ck_assert_uint_eq(rd(RIS), 0);
	wr(DIR, 0);
	ck_assert_uint_eq(rd(RIS), 1);
}
END_TEST

START_TEST(test_pl061_narrow_accesses_take_the_bytes_they_name)
{
	static const uint64_t kept[] = { DIR, IS, IBE, IEV, IE, AFSEL };

	for (unsigned i = 0; i < ARRAY_LEN(kept); i++) {
		bus_write(bus, BASE + kept[i], 1, 0x5a);
		ck_assert_uint_eq(bus_read(bus, BASE + kept[i], 8), 0x5a);
		ck_assert_uint_eq(bus_read(bus, BASE + kept[i] + 1, 1), 0);
		bus_write(bus, BASE + kept[i] + 1, 1, 0xff);
		bus_write(bus, BASE + kept[i] + 2, 2, 0xffff);
		ck_assert_uint_eq(rd(kept[i]), 0x5a);
		wr(kept[i], 0xffffff0f);
		ck_assert_uint_eq(rd(kept[i]), 0x0f);
	}
}
END_TEST

START_TEST(test_pl061_random_accesses_stay_inside)
{
	srand(61);
	for (int i = 0; i < 20000; i++) {
		uint64_t off = (uint64_t)(rand() % (rand() % 4 ? 0x424 : PL061_SIZE));
		unsigned len = 1u << rand() % 4;

		if (rand() % 2)
			bus_write(bus, BASE + off, len, (uint64_t)rand() << 20 ^ (uint64_t)rand());
		else
			(void)bus_read(bus, BASE + off, len);
		if (i % 3 == 0)
			pl061_set_input(gpio, (unsigned)rand() % PL061_PINS, rand() % 2);
		ck_assert(wire.level == !!rd(MIS));
		ck_assert_uint_eq(rd(RIS) & rd(IE), rd(MIS));
	}
}
END_TEST

START_TEST(test_pl061_no_place_is_an_error)
{
	struct pl061 *second = NULL;

	ck_assert_int_eq(pl061_new(bus, BASE, &wire, &second), -EEXIST);
	ck_assert_ptr_null(second);
	pl061_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pl061");
	TCase *tc = tcase_create("pl061");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_pl061_resets_to_zero_and_has_its_ids);
	tcase_add_test(tc, test_pl061_data_is_what_the_address_masks);
	tcase_add_test(tc, test_pl061_data_of_inputs_is_what_drives_them);
	tcase_add_test(tc, test_pl061_both_edges_latch_until_cleared);
	tcase_add_test(tc, test_pl061_one_edge_is_the_one_of_iev);
	tcase_add_test(tc, test_pl061_level_follows_the_pin_and_is_not_cleared);
	tcase_add_test(tc, test_pl061_mask_keeps_the_wire_low);
	tcase_add_test(tc, test_pl061_outputs_sense_nothing);
	tcase_add_test(tc, test_pl061_narrow_accesses_take_the_bytes_they_name);
	tcase_add_test(tc, test_pl061_random_accesses_stay_inside);
	tcase_add_test(tc, test_pl061_no_place_is_an_error);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
