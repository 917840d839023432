// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/checked.h"

#include <check.h>
#include <stdlib.h>

START_TEST(test_checked_fits_edges)
{
	ck_assert(range_fits(0, 0, 0));
	ck_assert(range_fits(0, 10, 10));
	ck_assert(range_fits(10, 0, 10));
	ck_assert(!range_fits(11, 0, 10));
	ck_assert(!range_fits(1, 10, 10));
	ck_assert(!range_fits(0, 11, 10));
	ck_assert(range_fits(9, 1, 10));
}
END_TEST

START_TEST(test_checked_fits_does_not_wrap)
{
	ck_assert(!range_fits(UINT64_MAX, 2, 10));
	ck_assert(!range_fits(2, UINT64_MAX, 10));
	ck_assert(!range_fits(UINT64_MAX, UINT64_MAX, UINT64_MAX));
	ck_assert(range_fits(0, UINT64_MAX, UINT64_MAX));
	ck_assert(range_fits(UINT64_MAX, 0, UINT64_MAX));
}
END_TEST

START_TEST(test_checked_within_edges)
{
	ck_assert(range_within(0x1000, 0x1000, 0x1000, 0x1000));
	ck_assert(!range_within(0xfff, 1, 0x1000, 0x1000));
	ck_assert(range_within(0x1fff, 1, 0x1000, 0x1000));
	ck_assert(!range_within(0x1fff, 2, 0x1000, 0x1000));
	ck_assert(!range_within(0x2000, 1, 0x1000, 0x1000));
	ck_assert(!range_within(0x1000, UINT64_MAX, 0x1000, 0x1000));
	ck_assert(!range_within(UINT64_MAX, 1, 0, UINT64_MAX));
}
END_TEST

START_TEST(test_checked_overlap_edges)
{
	ck_assert(ranges_overlap(0, 10, 9, 1));
	ck_assert(!ranges_overlap(0, 10, 10, 1));
	ck_assert(ranges_overlap(9, 1, 0, 10));
	ck_assert(!ranges_overlap(10, 1, 0, 10));
	ck_assert(ranges_overlap(3, 2, 0, 10));
	ck_assert(!ranges_overlap(3, 0, 0, 10));
	ck_assert(!ranges_overlap(0, 10, 3, 0));
	ck_assert(ranges_overlap(5, 1, 5, 1));
}
END_TEST

/* Against the plain definition, on all small ranges. */
START_TEST(test_checked_small_ranges_match_definition)
{
	for (unsigned a = 0; a < 7; a++)
		for (unsigned n = 0; n < 7; n++)
			for (unsigned b = 0; b < 7; b++)
				for (unsigned m = 0; m < 7; m++) {
					bool meet = false;

					for (unsigned i = a; i < a + n; i++)
						meet |= i >= b && i < b + m;
					ck_assert_int_eq(ranges_overlap(a, n, b, m), meet);
					ck_assert_int_eq(range_within(a, n, b, m),
							 a >= b && a + n <= b + m);
				}
}
END_TEST

START_TEST(test_types_width_mask)
{
	ck_assert_uint_eq(width_mask(0), 0);
	ck_assert_uint_eq(width_mask(1), 0xff);
	ck_assert_uint_eq(width_mask(4), 0xffffffff);
	ck_assert_uint_eq(width_mask(8), UINT64_MAX);
	ck_assert_uint_eq(width_mask(9), UINT64_MAX);
}
END_TEST

START_TEST(test_types_alignment)
{
	ck_assert_uint_eq(align_up(0x1001, 0x1000), 0x2000);
	ck_assert_uint_eq(align_up(0x1000, 0x1000), 0x1000);
	ck_assert_uint_eq(align_down(0x1fff, 0x1000), 0x1000);
	ck_assert(is_aligned(0, 8) && is_aligned(16, 8) && !is_aligned(12, 8));
	ck_assert(is_pow2(1) && is_pow2(BIT64(63)) && !is_pow2(0) && !is_pow2(6));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("checked");
	TCase *t = tcase_create("checked");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, test_checked_fits_edges);
	tcase_add_test(t, test_checked_fits_does_not_wrap);
	tcase_add_test(t, test_checked_within_edges);
	tcase_add_test(t, test_checked_overlap_edges);
	tcase_add_test(t, test_checked_small_ranges_match_definition);
	tcase_add_test(t, test_types_width_mask);
	tcase_add_test(t, test_types_alignment);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
