// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/bus.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BASE UINT64_C(0x9000000)

/* A device that notes what it was asked. */
struct dev {
	uint64_t off, val;
	unsigned len, reads, writes;
	uint64_t answer;
};

static uint64_t dev_read(void *ctx, uint64_t off, unsigned len)
{
	struct dev *d = ctx;

	d->off = off;
	d->len = len;
	d->reads++;
	return d->answer;
}

static void dev_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct dev *d = ctx;

	d->off = off;
	d->len = len;
	d->val = val;
	d->writes++;
}

static const struct bus_ops dev_ops = { .read = dev_read, .write = dev_write };

static struct bus *new_bus(void)
{
	struct bus *b;

	ck_assert_int_eq(bus_new(&b), 0);
	return b;
}

START_TEST(test_bus_access_reaches_device_with_offset)
{
	struct dev d = { .answer = UINT64_C(0x1122334455667788) };
	struct bus *b = new_bus();

	ck_assert_int_eq(bus_add(b, BASE, 0x1000, &dev_ops, &d), 0);
	ck_assert_uint_eq(bus_read(b, BASE + 0x18, 2), 0x7788);
	ck_assert_uint_eq(d.off, 0x18);
	ck_assert_uint_eq(d.len, 2);
	ck_assert_uint_eq(bus_read(b, BASE, 8), d.answer);
	bus_write(b, BASE + 0xffc, 4, UINT64_C(0xdeadbeefcafef00d));
	ck_assert_uint_eq(d.off, 0xffc);
	ck_assert_uint_eq(d.val, 0xcafef00d);
	bus_free(b);
}
END_TEST

START_TEST(test_bus_unowned_reads_ones)
{
	struct bus *b = new_bus();

	ck_assert_uint_eq(bus_read(b, BASE, 1), 0xff);
	ck_assert_uint_eq(bus_read(b, BASE, 2), 0xffff);
	ck_assert_uint_eq(bus_read(b, BASE, 4), 0xffffffff);
	ck_assert_uint_eq(bus_read(b, UINT64_MAX, 8), UINT64_MAX);
	bus_write(b, 0, 8, 1);
	bus_free(b);
}
END_TEST

START_TEST(test_bus_straddling_access_reaches_nobody)
{
	struct dev d = { 0 }, e = { 0 };
	struct bus *b = new_bus();

	ck_assert_int_eq(bus_add(b, BASE, 0x1000, &dev_ops, &d), 0);
	ck_assert_int_eq(bus_add(b, BASE + 0x1000, 0x1000, &dev_ops, &e), 0);
	ck_assert_uint_eq(bus_read(b, BASE + 0xffe, 4), 0xffffffff);
	bus_write(b, BASE - 1, 2, 0);
	bus_write(b, BASE + 0x1ffd, 8, 0);
	ck_assert_uint_eq(d.reads + d.writes + e.reads + e.writes, 0);
	bus_free(b);
}
END_TEST

START_TEST(test_bus_odd_lengths_reach_nobody)
{
	static const unsigned lens[] = { 0, 3, 5, 6, 7, 9, 16, ~0u };
	struct dev d = { .answer = 1 };
	struct bus *b = new_bus();

	ck_assert_int_eq(bus_add(b, BASE, 0x1000, &dev_ops, &d), 0);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		ck_assert_uint_eq(bus_read(b, BASE, lens[i]), width_mask(lens[i]));
		bus_write(b, BASE, lens[i], 1);
	}
	ck_assert_uint_eq(d.reads + d.writes, 0);
	bus_free(b);
}
END_TEST

START_TEST(test_bus_address_wrap_reaches_nobody)
{
	struct dev d = { 0 };
	struct bus *b = new_bus();

	ck_assert_int_eq(bus_add(b, 0, 0x1000, &dev_ops, &d), 0);
	ck_assert_int_eq(bus_add(b, UINT64_MAX - 0xfff, 0xfff, &dev_ops, &d), 0);
	bus_write(b, UINT64_MAX, 8, 0);
	bus_write(b, UINT64_MAX - 3, 8, 0);
	ck_assert_uint_eq(d.writes, 0);
	bus_free(b);
}
END_TEST

START_TEST(test_bus_add_bad_range_refused)
{
	struct dev d = { 0 };
	struct bus *b = new_bus();

	ck_assert_int_eq(bus_add(b, BASE, 0, &dev_ops, &d), -EINVAL);
	ck_assert_int_eq(bus_add(b, UINT64_MAX, 2, &dev_ops, &d), -EINVAL);
	ck_assert_int_eq(bus_add(b, 1, UINT64_MAX, &dev_ops, &d), -EINVAL);
	bus_free(b);
}
END_TEST

START_TEST(test_bus_add_overlap_eexist)
{
	struct dev d = { 0 };
	struct bus *b = new_bus();

	ck_assert_int_eq(bus_add(b, BASE, 0x1000, &dev_ops, &d), 0);
	ck_assert_int_eq(bus_add(b, BASE, 0x1000, &dev_ops, &d), -EEXIST);
	ck_assert_int_eq(bus_add(b, BASE - 1, 2, &dev_ops, &d), -EEXIST);
	ck_assert_int_eq(bus_add(b, BASE + 0xfff, 2, &dev_ops, &d), -EEXIST);
	ck_assert_int_eq(bus_add(b, BASE + 4, 4, &dev_ops, &d), -EEXIST);
	ck_assert_int_eq(bus_add(b, 0, UINT64_C(1) << 40, &dev_ops, &d), -EEXIST);
	ck_assert_int_eq(bus_add(b, BASE - 0x10, 0x10, &dev_ops, &d), 0);
	ck_assert_int_eq(bus_add(b, BASE + 0x1000, 1, &dev_ops, &d), 0);
	bus_free(b);
}
END_TEST

START_TEST(test_bus_full_enospc_and_all_reachable)
{
	static struct dev d[4096];
	struct bus *b = new_bus();
	unsigned n = 0;
	int r;

	/* from both ends to the middle, so that insertion moves */
	for (;; n++) {
		r = bus_add(b, BASE + (n & 1 ? 8192 - n : n) * 16, 16, &dev_ops, &d[n]);
		if (r || n + 1 == ARRAY_LEN(d))
			break;
	}
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_ge(n, 128);
	for (unsigned i = 0; i < n; i++) {
		bus_write(b, BASE + (i & 1 ? 8192 - i : i) * 16 + 4, 4, i);
		ck_assert_uint_eq(d[i].writes, 1);
		ck_assert_uint_eq(d[i].val, i);
	}
	bus_free(b);
}
END_TEST

START_TEST(test_bus_del_only_exact_owner)
{
	struct dev d = { 0 }, e = { 0 };
	struct bus *b = new_bus();

	ck_assert_int_eq(bus_del(b, BASE, &d), -ENOENT);
	ck_assert_int_eq(bus_add(b, BASE, 0x1000, &dev_ops, &d), 0);
	ck_assert_int_eq(bus_del(b, BASE, &e), -ENOENT);
	ck_assert_int_eq(bus_del(b, BASE + 1, &d), -ENOENT);
	ck_assert_int_eq(bus_del(b, BASE, &d), 0);
	ck_assert_int_eq(bus_del(b, BASE, &d), -ENOENT);
	ck_assert_uint_eq(bus_read(b, BASE, 4), 0xffffffff);
	ck_assert_int_eq(bus_add(b, BASE + 8, 8, &dev_ops, &e), 0);
	bus_free(b);
}
END_TEST

/* A BAR's own register write moves the BAR. */
struct mover {
	struct bus *bus;
	gpa_t at;
	struct dev *dev;
};

static void mover_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct mover *m = ctx;

	(void)off;
	(void)len;
	ck_assert_int_eq(bus_del(m->bus, m->at, m->dev), 0);
	ck_assert_int_eq(bus_add(m->bus, val, 0x100, &dev_ops, m->dev), 0);
	m->at = val;
}

START_TEST(test_bus_handler_may_change_ranges)
{
	static const struct bus_ops ops = { .read = dev_read, .write = mover_write };
	struct dev d = { .answer = 7 };
	struct mover m = { .bus = new_bus(), .at = 0x1000, .dev = &d };

	ck_assert_int_eq(bus_add(m.bus, m.at, 0x100, &dev_ops, &d), 0);
	ck_assert_int_eq(bus_add(m.bus, BASE, 4, &ops, &m), 0);
	bus_write(m.bus, BASE, 4, 0x2000);
	ck_assert_uint_eq(bus_read(m.bus, 0x1000, 1), 0xff);
	ck_assert_uint_eq(bus_read(m.bus, 0x2000, 1), 7);
	bus_free(m.bus);
}
END_TEST

static atomic_bool racing;
static atomic_uint hits;

static uint64_t hit_read(void *ctx, uint64_t off, unsigned len)
{
	(void)off;
	(void)len;
	atomic_fetch_add(&hits, 1);
	return *(const uint64_t *)ctx;
}

static void *reader(void *arg)
{
	while (atomic_load(&racing)) {
		uint64_t v = bus_read(arg, BASE, 8);

		/* the device's answer or nobody's, never a mixture */
		if (v != 0x55 && v != UINT64_MAX)
			return arg;
	}
	return NULL;
}

START_TEST(test_bus_readers_while_range_comes_and_goes)
{
	static const struct bus_ops ops = { .read = hit_read, .write = dev_write };
	static uint64_t answer = 0x55;
	struct bus *b = new_bus();
	pthread_t t[3];

	atomic_store(&racing, true);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, reader, b), 0);
	for (unsigned i = 0; i < 3000; i++) {
		ck_assert_int_eq(bus_add(b, BASE, 8, &ops, &answer), 0);
		ck_assert_uint_eq(bus_read(b, BASE, 8), 0x55);
		ck_assert_int_eq(bus_del(b, BASE, &answer), 0);
	}
	atomic_store(&racing, false);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		void *bad;

		pthread_join(t[i], &bad);
		ck_assert_ptr_null(bad);
	}
	ck_assert_uint_ge(atomic_load(&hits), 3000);
	bus_free(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bus");
	TCase *t = tcase_create("bus");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_bus_access_reaches_device_with_offset);
	tcase_add_test(t, test_bus_unowned_reads_ones);
	tcase_add_test(t, test_bus_straddling_access_reaches_nobody);
	tcase_add_test(t, test_bus_odd_lengths_reach_nobody);
	tcase_add_test(t, test_bus_address_wrap_reaches_nobody);
	tcase_add_test(t, test_bus_add_bad_range_refused);
	tcase_add_test(t, test_bus_add_overlap_eexist);
	tcase_add_test(t, test_bus_full_enospc_and_all_reachable);
	tcase_add_test(t, test_bus_del_only_exact_owner);
	tcase_add_test(t, test_bus_handler_may_change_ranges);
	tcase_add_test(t, test_bus_readers_while_range_comes_and_goes);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
