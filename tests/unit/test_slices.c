// SPDX-License-Identifier: BSD-3-Clause
/* slices: what of a BAR may be mapped. */
#include <check.h>
#include <stdlib.h>

#include "devices/vfio/slices.h"
#include "vmm/base/checked.h"

#define K4 4096u
#define K64 65536u

static struct slice out[8];

static unsigned cut(struct slice area, struct slice hole, uint64_t size, uint64_t page)
{
	return slices_cut(&area, 1, &hole, 1, size, page, out, 8);
}

static void is(unsigned i, uint64_t off, uint64_t size)
{
	ck_assert_uint_eq(out[i].off, off);
	ck_assert_uint_eq(out[i].size, size);
}

START_TEST(test_slices_without_holes_whole_pages)
{
	struct slice all = { 0, 0x10000 };

	ck_assert_uint_eq(slices_cut(&all, 1, NULL, 0, 0x10000, K4, out, 8), 1);
	is(0, 0, 0x10000);
	/* ends in a page, begins in one */
	ck_assert_uint_eq(cut((struct slice){ 0x800, 0x3000 }, (struct slice){ 0, 0 }, 0x10000, K4), 1);
	is(0, 0x1000, 0x2000);
	/* smaller than a page; nothing at all */
	ck_assert_uint_eq(cut((struct slice){ 0, 0x800 }, (struct slice){ 0, 0 }, 0x800, K4), 0);
	ck_assert_uint_eq(cut((struct slice){ 0, 0x4000 }, (struct slice){ 0, 0 }, 0x4000, K64), 0);
	ck_assert_uint_eq(slices_cut(NULL, 0, NULL, 0, 0x10000, K4, out, 8), 0);
}
END_TEST

START_TEST(test_slices_hole_takes_its_pages)
{
	static const struct { struct slice hole; unsigned n; struct slice first, second; } t[] = {
		{ { 0, 16 }, 1, { 0x1000, 0xf000 }, { 0, 0 } },
		{ { 0xfff0, 16 }, 1, { 0, 0xf000 }, { 0, 0 } },
		{ { 0x2000, 0x1000 }, 2, { 0, 0x2000 }, { 0x3000, 0xd000 } },
		{ { 0x2ff0, 0x20 }, 2, { 0, 0x2000 }, { 0x4000, 0xc000 } },
		{ { 0, 0x10000 }, 0, { 0, 0 }, { 0, 0 } },
		{ { 0x8000, UINT64_MAX }, 1, { 0, 0x8000 }, { 0, 0 } }, /* nonsense behind it is cut off */
		{ { 0x20000, 16 }, 1, { 0, 0x10000 }, { 0, 0 } },
		{ { UINT64_MAX - 4, 16 }, 1, { 0, 0x10000 }, { 0, 0 } },
	};

	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		ck_assert_uint_eq(cut((struct slice){ 0, 0x10000 }, t[i].hole, 0x10000, K4), t[i].n);
		if (t[i].n > 0)
			is(0, t[i].first.off, t[i].first.size);
		if (t[i].n > 1)
			is(1, t[i].second.off, t[i].second.size);
	}
}
END_TEST

/* On a host with pages of 64 KiB the table's neighbours are trapped, too. */
START_TEST(test_slices_large_pages_lose_more)
{
	ck_assert_uint_eq(cut((struct slice){ 0, 0x40000 }, (struct slice){ 0x11000, 16 }, 0x40000, K64), 2);
	is(0, 0, 0x10000);
	is(1, 0x20000, 0x20000);
	ck_assert_uint_eq(cut((struct slice){ 0, 0x8000 }, (struct slice){ 0x1000, 16 }, 0x8000, K64), 0);
}
END_TEST

START_TEST(test_slices_two_holes_and_sparse_areas)
{
	const struct slice areas[] = { { 0, 0x4000 }, { 0x8000, 0x8000 } };
	const struct slice holes[] = { { 0xa000, 0x100 }, { 0x9800, 0x800 }, { 0x1000, 8 } };

	ck_assert_uint_eq(slices_cut(areas, 2, holes, 3, 0x10000, K4, out, 8), 4);
	is(0, 0, 0x1000);
	is(1, 0x2000, 0x2000);
	is(2, 0x8000, 0x1000);
	is(3, 0xb000, 0x5000);
	/* no room for more */
	ck_assert_uint_eq(slices_cut(areas, 2, holes, 3, 0x10000, K4, out, 2), 2);
	ck_assert_uint_eq(slices_cut(areas, 2, holes, 3, 0x10000, K4, out, 0), 0);
}
END_TEST

START_TEST(test_slices_areas_outside_the_region_are_nothing)
{
	static const struct slice bad[] = {
		{ 0x8000, 0x10000 }, { 0x10000, 0x1000 }, { UINT64_MAX - 0x1000, 0x2000 }, { 0, UINT64_MAX },
	};

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_uint_eq(cut(bad[i], (struct slice){ 0, 0 }, 0x10000, K4), 0);
}
END_TEST

/* Any area, any holes: what comes out is pages, in order, inside the area, and touches no hole. */
START_TEST(test_slices_random)
{
	srandom(7);
	for (unsigned n = 0; n < 20000; n++) {
		struct slice area = { (uint64_t)random() % 0x20000, (uint64_t)random() % 0x20000 }, holes[2];
		unsigned got;
		uint64_t end = 0;

		for (unsigned i = 0; i < 2; i++)
			holes[i] = (struct slice){ (uint64_t)random() % 0x22000, (uint64_t)random() % 0x3000 };
		got = slices_cut(&area, 1, holes, 2, 0x20000, K4, out, 8);
		for (unsigned i = 0; i < got; i++) {
			ck_assert(out[i].size && is_aligned(out[i].off | out[i].size, K4) && out[i].off >= end);
			ck_assert(range_within(out[i].off, out[i].size, area.off, area.size));
			ck_assert(range_fits(out[i].off, out[i].size, 0x20000));
			for (unsigned k = 0; k < 2; k++)
				ck_assert(!ranges_overlap(out[i].off, out[i].size, holes[k].off, holes[k].size));
			end = out[i].off + out[i].size;
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("slices");
	TCase *t = tcase_create("slices");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_slices_without_holes_whole_pages);
	tcase_add_test(t, test_slices_hole_takes_its_pages);
	tcase_add_test(t, test_slices_large_pages_lose_more);
	tcase_add_test(t, test_slices_two_holes_and_sparse_areas);
	tcase_add_test(t, test_slices_areas_outside_the_region_are_nothing);
	tcase_add_test(t, test_slices_random);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
