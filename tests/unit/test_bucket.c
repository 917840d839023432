// SPDX-License-Identifier: BSD-3-Clause
/* How often something may be done: at once, in the long run, and with amounts that mean harm. */
#include "vmm/base/bucket.h"

#include <check.h>
#include <stdlib.h>

#include "vmm/base/clock.h"

#define T0 (1000 * NS_PER_SEC)

START_TEST(test_bucket_gives_its_burst_and_then_its_rate)
{
	struct bucket b;
	uint64_t now = T0, taken = 0;

	bucket_init(&b, 10, 8);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(bucket_take(&b, 1, now), 0);
	ck_assert_uint_eq(bucket_take(&b, 1, now), NS_PER_SEC / 10);
	ck_assert_uint_eq(bucket_take(&b, 1, now + NS_PER_SEC / 10 - 1), 1);
	ck_assert_uint_eq(bucket_take(&b, 1, now + NS_PER_SEC / 10), 0);
	/* whoever waits as long as told gets what was promised, and no more */
	for (now += NS_PER_SEC; now < T0 + 101 * NS_PER_SEC;) {
		uint64_t wait = bucket_take(&b, 1, now);

		taken += !wait;
		now += wait;
	}
	ck_assert_uint_ge(taken, 1000);
	ck_assert_uint_le(taken, 1010);
}
END_TEST

START_TEST(test_bucket_is_full_again_after_a_rest)
{
	struct bucket b;

	bucket_init(&b, 100, 5);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(bucket_take(&b, 1, T0), 0);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(bucket_take(&b, 1, T0 + 3600 * NS_PER_SEC), 0);
	ck_assert_uint_gt(bucket_take(&b, 1, T0 + 3600 * NS_PER_SEC), 0);
}
END_TEST

START_TEST(test_bucket_takes_more_than_it_holds_when_full)
{
	struct bucket b;

	bucket_init(&b, 1000, 10);
	ck_assert_uint_eq(bucket_take(&b, 5000, T0), 0);
	ck_assert_uint_eq(bucket_take(&b, 5000, T0), 5 * NS_PER_SEC);
	ck_assert_uint_gt(bucket_take(&b, 1, T0 + 4 * NS_PER_SEC), 0);
	ck_assert_uint_eq(bucket_take(&b, 5000, T0 + 5 * NS_PER_SEC), 0);
}
END_TEST

START_TEST(test_bucket_without_a_rate_has_no_limit)
{
	struct bucket b;

	bucket_init(&b, 0, 1);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_uint_eq(bucket_take(&b, UINT64_MAX, T0), 0);
}
END_TEST

START_TEST(test_bucket_amounts_do_not_overflow)
{
	struct bucket b;

	bucket_init(&b, 1, UINT64_MAX);
	for (unsigned i = 0; i < 100; i++)
		bucket_take(&b, UINT64_MAX, T0 + i);
	ck_assert_uint_gt(bucket_take(&b, UINT64_MAX, T0), 0);
	ck_assert_uint_le(bucket_take(&b, 1, T0), 3600 * NS_PER_SEC);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bucket");
	TCase *t = tcase_create("bucket");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_bucket_gives_its_burst_and_then_its_rate);
	tcase_add_test(t, test_bucket_is_full_again_after_a_rest);
	tcase_add_test(t, test_bucket_takes_more_than_it_holds_when_full);
	tcase_add_test(t, test_bucket_without_a_rate_has_no_limit);
	tcase_add_test(t, test_bucket_amounts_do_not_overflow);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
