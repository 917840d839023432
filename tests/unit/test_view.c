/* SPDX-License-Identifier: BSD-3-Clause */
/* view: where a page stands before the guest, and stores into it. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/kvm.h"
#include "vmm/core/kvm.h"
#include "vmm/core/view.h"

#define AT UINT64_C(0x3f000000)
#define SLOT 5

static uint8_t page[VIEW_SIZE] __attribute__((aligned(VIEW_SIZE)));
static struct hyp *hyp;
static struct view view;

static void setup(void)
{
	memset(page, 0, sizeof(page));
	hyp = fake_kvm_new();
	view_init(&view, hyp, SLOT, page);
}

static void teardown(void)
{
	view_detach(&view);
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), 0);
	hyp_free(hyp);
}

static bool seen(gpa_t gpa, uint64_t *ret_val)
{
	return fake_kvm_guest_read(hyp, gpa, 4, ret_val);
}

START_TEST(test_view_attach_move_detach)
{
	uint64_t val;

	ck_assert(!seen(AT, &val));
	ck_assert_int_eq(view_attach(&view, AT), 0);
	ck_assert_int_eq(view_attach(&view, AT), 0);
	ck_assert(seen(AT, &val));
	ck_assert(seen(AT + VIEW_SIZE - 4, &val));
	ck_assert(!seen(AT + VIEW_SIZE, &val));
	ck_assert_int_eq(view_attach(&view, AT + 0x100000), 0);
	ck_assert(!seen(AT, &val));
	ck_assert(seen(AT + 0x100000, &val));
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), 1);
	view_detach(&view);
	view_detach(&view);
	ck_assert(!seen(AT + 0x100000, &val));
}
END_TEST

START_TEST(test_view_refused_is_detached)
{
	struct view none = { 0 };
	uint64_t val;

	fake_kvm_fail(hyp, FAKE_SET_MEMORY, 1, -ENOMEM);
	ck_assert_int_eq(view_attach(&view, AT), -ENOMEM);
	ck_assert(!seen(AT, &val));
	ck_assert_int_eq(view_attach(&view, AT), 0);
	ck_assert_int_eq(view_attach(&view, AT + 1), -EINVAL);
	ck_assert(!seen(AT, &val));
	ck_assert_int_eq(view_attach(&none, AT), -ENOTSUP);
	view_detach(&none);
}
END_TEST

/* Every offset within two words, every length: what is stored is there, and nothing beside it. */
START_TEST(test_view_store)
{
	uint8_t want[16], src[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	for (unsigned off = 0; off < 8; off++) {
		for (unsigned len = 0; len <= 8; len++) {
			memset(page, 0xee, sizeof(want));
			memset(want, 0xee, sizeof(want));
			memcpy(want + off, src, len);
			view_store(page + off, src, len);
			ck_assert_mem_eq(page, want, sizeof(want));
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("view");
	TCase *t = tcase_create("view");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	/* elsewhere all registers are read by exits */
	if (sysconf(_SC_PAGESIZE) == VIEW_SIZE) {
		tcase_add_test(t, test_view_attach_move_detach);
		tcase_add_test(t, test_view_refused_is_detached);
	}
	tcase_add_test(t, test_view_store);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
