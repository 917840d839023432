// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/obj.h"

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096

static _Alignas(PAGE) uint8_t arena[8 * PAGE];

static bool in_arena(const void *p)
{
	return (uintptr_t)p - (uintptr_t)arena < sizeof(arena);
}

START_TEST(test_obj_without_arena_is_heap)
{
	static const uint8_t zero[100];
	uint8_t *p = obj_new(sizeof(zero));

	ck_assert_ptr_nonnull(p);
	ck_assert_mem_eq(p, zero, sizeof(zero));
	obj_free(p);
	obj_free(NULL);
}
END_TEST

START_TEST(test_obj_arena_then_heap)
{
	char *a, *b, *c;

	obj_arena(arena, sizeof(arena));
	a = obj_new(1);
	b = obj_new(100);
	ck_assert(in_arena(a) && in_arena(b) && !((uintptr_t)b % 16) && b >= a + 1 && b < a + PAGE);
	memset(b, 1, 100);
	c = obj_new(sizeof(arena)); /* no room */
	ck_assert(!in_arena(c) && !c[0] && !c[sizeof(arena) - 1]);
	obj_free(c);
	obj_free(b);
	obj_free(a);
	ck_assert(in_arena(obj_new(112)));
}
END_TEST

START_TEST(test_obj_table_lies_apart_and_begins_a_page)
{
	uint8_t *small, *table, *next, *full;

	obj_arena(arena, sizeof(arena));
	small = obj_new(16);
	table = obj_new(3 * PAGE + 1);
	next = obj_new(16);
	ck_assert(in_arena(table) && !((uintptr_t)table % PAGE) && next == small + 16);
	memset(table, 1, 3 * PAGE + 1);
	ck_assert(!next[0] && !small[0]);
	/* what is left: three pages and the rest of the first */
	full = obj_new(3 * PAGE);
	ck_assert(in_arena(full) && full + 3 * PAGE <= table);
	ck_assert(in_arena(obj_new(PAGE - 32)));
	full = obj_new(16);
	ck_assert(!in_arena(full));
	obj_free(full);
	obj_free(table);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("obj");
	TCase *t = tcase_create("obj");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_obj_without_arena_is_heap);
	tcase_add_test(t, test_obj_arena_then_heap);
	tcase_add_test(t, test_obj_table_lies_apart_and_begins_a_page);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
