// SPDX-License-Identifier: BSD-3-Clause
/* The balloon: which memory goes, that nothing else does, how much at a time, and what the driver is told. */
/* its timer is nobody else's to see */
#include "devices/virtio/balloon.c"

#include <check.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "vmm/base/clock.h"

#define RAM 0x40000000ull
#define RAM_SIZE (64 * MIB)
#define LISTS (RAM + 0x10000)  /* up to RAM + MIB: what the tests write there */
#define FREE (RAM + 2 * MIB)   /* from here on nothing is in use */
#define FIRST_PFN (FREE >> 12)
#define PAGES(n) ((n) * BALLOON_PAGE)

enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_3, Q_4 };

struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct fake_ring rings[QUEUES];
	unsigned irqs[QUEUES], config_irqs;
};

static void queue_irq(void *t, unsigned q)
{
	ck_assert_uint_lt(q, QUEUES);
	((struct rig *)t)->irqs[q]++;
}

static void config_irq(void *t)
{
	((struct rig *)t)->config_irqs++;
}

static const struct vdev_irq irq_ops = { .queue = queue_irq, .config = config_irq };

/* With the queues of bits @which, and what @features has of the offer. */
static void start(struct rig *r, unsigned which, uint64_t features)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		if (!(which & BIT32(q)))
			continue;
		fake_ring_init(&r->rings[q], r->mem, RAM + 0x2000 * q, 128);
		fake_ring_give(&r->rings[q], r->v, q);
	}
	ck_assert_int_eq(fake_vdev_start(r->v, r->v->offered & features), 0);
}

static void make(struct rig *r, struct balloon_cfg cfg)
{
	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(loop_new(&r->loop), 0);
	ck_assert_int_eq(gmem_new(&r->mem), 0);
	ck_assert_int_eq(gmem_add(r->mem, RAM, RAM_SIZE, false), 0);
	cfg.name = "balloon0";
	cfg.loop = r->loop;
	cfg.mem = r->mem;
	ck_assert_int_eq(balloon_new(&cfg, &r->v), 0);
	vdev_set_irq(r->v, &irq_ops, r);
}

static void rig_init(struct rig *r)
{
	make(r, (struct balloon_cfg){ .size = 16 * MIB, .oom = true, .reporting = true });
	start(r, BIT32(Q_INFLATE) | BIT32(Q_DEFLATE) | BIT32(Q_4), UINT64_MAX);
	memset(gmem_ptr(r->mem, FREE, RAM_SIZE - 2 * MIB), 1, RAM_SIZE - 2 * MIB);
}

static void rig_fini(struct rig *r)
{
	vdev_free(r->v);
	loop_free(r->loop);
	gmem_free(r->mem);
}

static void kick(struct rig *r, unsigned q)
{
	vdev_notify(r->v, q);
	fake_loop_turn(r->loop);
}

static bool has_used(struct rig *r, unsigned q)
{
	uint32_t id, len;
	bool used = fake_ring_used(&r->rings[q], &id, &len);

	if (used)
		ck_assert_uint_eq(len, 0);
	return used;
}

static bool is_gone(struct rig *r, gpa_t gpa)
{
	const char *p = gmem_ptr(r->mem, gpa, BALLOON_PAGE);

	ck_assert(p[0] == p[BALLOON_PAGE - 1]);
	return !p[0];
}

static bool needs_reset(struct rig *r)
{
	return vdev_status(r->v) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* @n page numbers from @first on, by @step, at @at. */
static void put_list(struct rig *r, gpa_t at, uint64_t first, unsigned n, int step)
{
	uint32_t *list = gmem_ptr(r->mem, at, n * 4);

	for (unsigned i = 0; i < n; i++)
		list[i] = (uint32_t)(first + (uint64_t)((int64_t)i * step));
}

static void give(struct rig *r, unsigned q, gpa_t at, uint32_t len, bool write)
{
	const struct fake_part part = { at, len, write };

	fake_ring_add(&r->rings[q], &part, 1);
}

START_TEST(test_balloon_new_identity_and_failure)
{
	struct balloon_cfg cfg = { .name = "b", .size = 5000 };
	struct rig r;
	struct vdev *v;

	rig_init(&r);
	ck_assert_uint_eq(r.v->type, VIRTIO_ID_BALLOON);
	ck_assert_uint_eq(r.v->nr_queues, QUEUES);
	ck_assert_uint_eq(r.v->config_len, 8);
	ck_assert(r.v->offered & BIT64(VIRTIO_BALLOON_F_DEFLATE_ON_OOM));
	ck_assert(r.v->offered & BIT64(VIRTIO_BALLOON_F_REPORTING));
	ck_assert(!(r.v->offered & BIT64(VIRTIO_BALLOON_F_STATS_VQ)));
	ck_assert(fd_kinds(vdev_kick_fd(r.v, 0)) == (FD_EVENT | FD_BALLOON));
	cfg.loop = r.loop;
	cfg.mem = r.mem;
	ck_assert_int_eq(balloon_new(&cfg, &v), -EINVAL);
	cfg.size = 16384 * GIB;
	ck_assert_int_eq(balloon_new(&cfg, &v), -EINVAL);
	cfg.size = 0;
	cfg.stats_ns = NS_PER_SEC;
	for (unsigned n = 0; n < 6; n++) { /* five queues and a timer */
		fake_loop_fail_init(r.loop, n, -ENOSPC);
		ck_assert_int_eq(balloon_new(&cfg, &v), -ENOSPC);
	}
	rig_fini(&r);
	make(&r, (struct balloon_cfg){ .size = 0 });
	ck_assert(!(r.v->offered & (BIT64(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) | BIT64(VIRTIO_BALLOON_F_REPORTING))));
	rig_fini(&r);
}
END_TEST

START_TEST(test_balloon_config_target_is_ours_actual_the_drivers)
{
	struct rig r;

	rig_init(&r);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 4), 16 * MIB / BALLOON_PAGE);
	vdev_config_write(r.v, 0, 4, 7);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 4), 16 * MIB / BALLOON_PAGE);
	vdev_config_write(r.v, 4, 4, 0x01020304);
	vdev_config_write(r.v, 5, 1, 0xaa);
	ck_assert_uint_eq(vdev_config_read(r.v, 4, 4), 0x0102aa04);
	ck_assert_uint_eq(vdev_config_read(r.v, 6, 2), 0x0102);
	vdev_config_write(r.v, 2, 4, UINT32_MAX);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 8), 16 * MIB / BALLOON_PAGE | (uint64_t)0x0102ffff << 32);
	vdev_config_write(r.v, 6, 4, 0); /* beyond the end */
	ck_assert_uint_eq(vdev_config_read(r.v, 4, 4), 0x0102ffff);
	ck_assert_uint_eq(vdev_config_read(r.v, 8, 4), 0);
	ck_assert_uint_eq(balloon_counts(r.v).actual, 0x0102ffff * BALLOON_PAGE);
	ck_assert_uint_eq(balloon_counts(r.v).target, 16 * MIB);
	fake_vdev_reset(r.v);
	ck_assert_uint_eq(vdev_config_read(r.v, 4, 4), 0);
	rig_fini(&r);
}
END_TEST

/* Upwards, downwards, and with gaps. */
START_TEST(test_balloon_inflated_pages_are_gone)
{
	static const int steps[] = { 1, -1, 2 };
	uint64_t first = FIRST_PFN + 300;
	int step = steps[_i];
	struct rig r;

	rig_init(&r);
	put_list(&r, LISTS, first, 256, step);
	give(&r, Q_INFLATE, LISTS, 1024, false);
	kick(&r, Q_INFLATE);
	ck_assert(has_used(&r, Q_INFLATE));
	ck_assert_uint_eq(r.irqs[Q_INFLATE], 1);
	for (uint64_t pfn = FIRST_PFN; pfn < FIRST_PFN + 1000; pfn++) {
		int64_t k = (int64_t)(pfn - first) * (step < 0 ? -1 : 1);

		ck_assert_int_eq(is_gone(&r, pfn << 12), k >= 0 && k < (step == 2 ? 512 : 256) && !(step == 2 && k % 2));
	}
	ck_assert_uint_eq(balloon_counts(r.v).inflated, PAGES(256));
	ck_assert_uint_eq(balloon_counts(r.v).given_back, PAGES(256));
	ck_assert_uint_eq(balloon_counts(r.v).failed, 0);
	/* what is taken out needs nothing: it is there when it is touched */
	give(&r, Q_DEFLATE, LISTS, 1024, false);
	kick(&r, Q_DEFLATE);
	ck_assert(has_used(&r, Q_DEFLATE));
	ck_assert_uint_eq(balloon_counts(r.v).deflated, PAGES(256));
	rig_fini(&r);
}
END_TEST

/* s2.7.4: how a list is cut into parts has no meaning. */
START_TEST(test_balloon_list_in_odd_parts)
{
	const struct fake_part parts[] = { { LISTS, 3, false }, { LISTS + 3, 6, false }, { LISTS + 9, 9, false }, { LISTS + 0x100, 8, true } };
	struct rig r;

	rig_init(&r);
	put_list(&r, LISTS, FIRST_PFN, 5, 1);
	fake_ring_add(&r.rings[Q_INFLATE], parts, 4);
	kick(&r, Q_INFLATE);
	ck_assert(has_used(&r, Q_INFLATE) && !needs_reset(&r));
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(is_gone(&r, FREE + PAGES(i)), i < 4); /* of the fifth there are two bytes */
	rig_fini(&r);
}
END_TEST

/* Above 32 bits as below: a number is of pages. */
START_TEST(test_balloon_page_that_is_no_memory_breaks_the_queue)
{
	static const uint32_t bad[] = { 0, UINT32_MAX, (RAM >> 12) - 1, (RAM + RAM_SIZE) >> 12, 0x100000 + (RAM >> 12) };
	struct rig r;

	rig_init(&r);
	put_list(&r, LISTS, FIRST_PFN, 3, 1);
	put_list(&r, LISTS + 4, bad[_i], 1, 1);
	give(&r, Q_INFLATE, LISTS, 12, false);
	kick(&r, Q_INFLATE);
	ck_assert(needs_reset(&r) && !has_used(&r, Q_INFLATE));
	ck_assert_uint_eq(r.config_irqs, 1);
	ck_assert(!is_gone(&r, FREE + PAGES(2)));
	kick(&r, Q_INFLATE);
	ck_assert_uint_eq(r.v->faults, 1);
	fake_vdev_reset(r.v);
	start(&r, BIT32(Q_INFLATE), UINT64_MAX);
	put_list(&r, LISTS, FIRST_PFN + 2, 1, 1);
	give(&r, Q_INFLATE, LISTS, 4, false);
	kick(&r, Q_INFLATE);
	ck_assert(has_used(&r, Q_INFLATE) && !needs_reset(&r) && is_gone(&r, FREE + PAGES(2)));
	rig_fini(&r);
}
END_TEST

/* A list of 200,000 pages in one chain: in each round a share, and other queues in between. */
START_TEST(test_balloon_endless_list_is_done_by_shares)
{
	struct fake_part parts[12];
	unsigned rounds = 0;
	uint64_t last = 0;
	struct rig r;

	rig_init(&r);
	put_list(&r, LISTS, FIRST_PFN, 0x4000, 0);
	for (unsigned i = 0; i < 0x4000; i += 2)
		put_list(&r, LISTS + 4 * i, FIRST_PFN + 2 * (i % 64), 1, 1);
	for (unsigned i = 0; i < 12; i++)
		parts[i] = (struct fake_part){ LISTS, 0x10000, false };
	fake_ring_add(&r.rings[Q_INFLATE], parts, 12);
	vdev_notify(r.v, Q_INFLATE);
	while (!has_used(&r, Q_INFLATE)) {
		uint64_t done;

		give(&r, Q_4, FREE + 8 * MIB, 4096, true);
		vdev_notify(r.v, Q_4);
		fake_loop_turn(r.loop);
		ck_assert(has_used(&r, Q_4));
		done = balloon_counts(r.v).inflated;
		ck_assert(done > last && done - last <= PAGES(4096));
		last = done;
		ck_assert_uint_lt(++rounds, 10000);
	}
	ck_assert_uint_eq(last, PAGES(0x30000));
	ck_assert_uint_gt(rounds, 48);
	rig_fini(&r);
}
END_TEST

/* In the middle of a list. */
START_TEST(test_balloon_reset_forgets_a_list)
{
	struct fake_part parts[64];
	struct rig r;

	rig_init(&r);
	put_list(&r, LISTS, FIRST_PFN, 0x4000, 0);
	for (unsigned i = 0; i < 64; i++)
		parts[i] = (struct fake_part){ LISTS, 0x10000, false };
	fake_ring_add(&r.rings[Q_INFLATE], parts, 64);
	kick(&r, Q_INFLATE);
	ck_assert(!has_used(&r, Q_INFLATE));
	fake_vdev_reset(r.v);
	start(&r, BIT32(Q_INFLATE), UINT64_MAX);
	fake_loop_turn(r.loop);
	put_list(&r, LISTS, FIRST_PFN + 5, 1, 1);
	give(&r, Q_INFLATE, LISTS, 4, false);
	kick(&r, Q_INFLATE);
	ck_assert(has_used(&r, Q_INFLATE) && is_gone(&r, FREE + PAGES(5)));
	ck_assert(!has_used(&r, Q_INFLATE));
	rig_fini(&r);
}
END_TEST

/* As the driver has its queues: number 4, or without the numbers that nobody uses. */
START_TEST(test_balloon_reported_pages_are_gone)
{
	const bool stats = _i & 1;
	const unsigned q = _i & 2 ? Q_4 : stats ? Q_3 : Q_STATS;
	const struct fake_part parts[] = {
		{ FREE + 4 * MIB, 100, false }, { FREE + MIB, 3 * MIB, true }, { FREE + 8 * MIB + 10, 8192, true }, { FREE + 20 * MIB, 5, true },
	};
	struct rig r;

	make(&r, (struct balloon_cfg){ .reporting = true, .stats_ns = stats ? NS_PER_SEC : 0 });
	start(&r, BIT32(Q_INFLATE) | BIT32(Q_DEFLATE) | BIT32(q) | (stats ? BIT32(Q_STATS) : 0), UINT64_MAX);
	memset(gmem_ptr(r.mem, FREE, RAM_SIZE - 2 * MIB), 1, RAM_SIZE - 2 * MIB);
	fake_ring_add(&r.rings[q], parts, 4);
	kick(&r, q);
	ck_assert(has_used(&r, q));
	for (gpa_t at = 0; at < 24 * MIB; at += BALLOON_PAGE) {
		bool gone = (at >= MIB && at < 4 * MIB) || at == 8 * MIB + 4096;

		ck_assert_int_eq(is_gone(&r, FREE + at), gone);
	}
	ck_assert_uint_eq(balloon_counts(r.v).reported, 3 * MIB + 8192 + 5);
	ck_assert_uint_eq(balloon_counts(r.v).given_back, 3 * MIB + 4096);
	rig_fini(&r);
}
END_TEST

START_TEST(test_balloon_long_report_is_done_by_shares)
{
	struct fake_part parts[32];
	unsigned rounds = 0;
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 32; i++)
		parts[i] = (struct fake_part){ FREE, (uint32_t)(RAM_SIZE - 2 * MIB), true };
	fake_ring_add(&r.rings[Q_4], parts, 32);
	vdev_notify(r.v, Q_4);
	for (uint64_t last = 0, done; !has_used(&r, Q_4); last = done, rounds++) {
		fake_loop_turn(r.loop);
		done = balloon_counts(r.v).reported;
		ck_assert(done > last && done - last <= 36 * MIB);
	}
	ck_assert_uint_ge(rounds, 32 * 62 / 36);
	ck_assert(is_gone(&r, FREE) && is_gone(&r, RAM + RAM_SIZE - BALLOON_PAGE));
	rig_fini(&r);
}
END_TEST

START_TEST(test_balloon_report_beyond_memory_breaks_the_queue)
{
	struct rig r;

	rig_init(&r);
	give(&r, Q_4, RAM + RAM_SIZE - 4096, 8192, true);
	kick(&r, Q_4);
	ck_assert(needs_reset(&r) && !has_used(&r, Q_4));
	ck_assert(!is_gone(&r, RAM + RAM_SIZE - 4096));
	rig_fini(&r);
}
END_TEST

static void stat_at(struct rig *r, gpa_t at, unsigned i, uint16_t tag, uint64_t val)
{
	const struct virtio_balloon_stat st = { .tag = tag, .val = val };

	ck_assert_int_eq(gmem_write(r->mem, at + i * sizeof(st), &st, sizeof(st)), 0);
}

START_TEST(test_balloon_statistics_are_asked_for_again_and_again)
{
	struct balloon_counts c;
	struct rig r;

	make(&r, (struct balloon_cfg){ .stats_ns = 5 * NS_PER_SEC });
	ck_assert(r.v->offered & BIT64(VIRTIO_BALLOON_F_STATS_VQ));
	start(&r, 7, BIT64(VIRTIO_BALLOON_F_STATS_VQ)); /* no event index: each one interrupts */
	ck_assert_uint_eq(fake_loop_timer(&balloon_of(r.v)->timer), 0);
	stat_at(&r, LISTS, 0, VIRTIO_BALLOON_S_MEMTOT, 1234);
	stat_at(&r, LISTS, 1, 999, 5);
	stat_at(&r, LISTS, 2, VIRTIO_BALLOON_S_MEMFREE, 77);
	give(&r, Q_STATS, LISTS, 35, false);
	kick(&r, Q_STATS);
	ck_assert(!has_used(&r, Q_STATS)); /* it is kept until there is a question */
	c = balloon_counts(r.v);
	ck_assert_uint_eq(c.has, BIT32(VIRTIO_BALLOON_S_MEMTOT) | BIT32(VIRTIO_BALLOON_S_MEMFREE));
	ck_assert(c.stats[VIRTIO_BALLOON_S_MEMTOT] == 1234 && c.stats[VIRTIO_BALLOON_S_MEMFREE] == 77);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(fake_loop_timer(&balloon_of(r.v)->timer), 5 * NS_PER_SEC);
		ck_assert(fake_loop_expire(&balloon_of(r.v)->timer));
		ck_assert(has_used(&r, Q_STATS));
		ck_assert_uint_eq(r.irqs[Q_STATS], i + 1);
		stat_at(&r, LISTS, 0, VIRTIO_BALLOON_S_MEMTOT, i);
		give(&r, Q_STATS, LISTS, 10, false);
		kick(&r, Q_STATS);
		ck_assert_uint_eq(balloon_counts(r.v).stats[VIRTIO_BALLOON_S_MEMTOT], i);
	}
	ck_assert_uint_eq(balloon_counts(r.v).stats_read, 4);
	ck_assert_uint_eq(balloon_counts(r.v).has, BIT32(VIRTIO_BALLOON_S_MEMTOT));
	fake_vdev_reset(r.v);
	ck_assert_uint_eq(fake_loop_timer(&balloon_of(r.v)->timer), 0);
	rig_fini(&r);
}
END_TEST

/* The first 64 of any number are looked at; two buffers at a time are against s5.5.6.3.1. */
START_TEST(test_balloon_statistics_without_end_are_cut_and_a_second_buffer_refused)
{
	struct fake_part parts[60];
	struct rig r;

	make(&r, (struct balloon_cfg){ .stats_ns = NS_PER_SEC });
	start(&r, 7, UINT64_MAX);
	for (unsigned i = 0; i < 100; i++)
		stat_at(&r, LISTS, i, i < 64 ? VIRTIO_BALLOON_S_AVAIL : VIRTIO_BALLOON_S_CACHES, i);
	for (unsigned i = 0; i < 60; i++)
		parts[i] = (struct fake_part){ LISTS, (uint32_t)(RAM_SIZE - 0x10000), false };
	fake_ring_add(&r.rings[Q_STATS], parts, 60);
	kick(&r, Q_STATS);
	ck_assert(!needs_reset(&r));
	ck_assert_uint_eq(balloon_counts(r.v).has, BIT32(VIRTIO_BALLOON_S_AVAIL));
	ck_assert_uint_eq(balloon_counts(r.v).stats[VIRTIO_BALLOON_S_AVAIL], 63);
	give(&r, Q_STATS, LISTS, 10, false);
	kick(&r, Q_STATS);
	ck_assert(needs_reset(&r));
	ck_assert(fake_loop_expire(&balloon_of(r.v)->timer));
	ck_assert(!has_used(&r, Q_STATS));
	rig_fini(&r);
}
END_TEST

/* Queues of features that were not taken, and kicks of queues that were never made. */
START_TEST(test_balloon_queues_without_a_meaning_are_left_alone)
{
	struct rig r;

	make(&r, (struct balloon_cfg){ .reporting = true, .stats_ns = NS_PER_SEC });
	start(&r, 0x1f, BIT64(VIRTIO_F_VERSION_1));
	memset(gmem_ptr(r.mem, FREE, MIB), 1, MIB);
	for (unsigned q = Q_STATS; q < QUEUES; q++) {
		give(&r, q, FREE, MIB, q != Q_STATS);
		kick(&r, q);
		ck_assert(!has_used(&r, q));
	}
	ck_assert(!is_gone(&r, FREE) && !needs_reset(&r));
	ck_assert_uint_eq(balloon_counts(r.v).stats_read, 0);
	fake_vdev_reset(r.v);
	start(&r, 0, UINT64_MAX);
	for (unsigned q = 0; q < QUEUES + 1; q++)
		kick(&r, q);
	ck_assert(!needs_reset(&r));
	rig_fini(&r);
}
END_TEST

START_TEST(test_balloon_dump_names_counts_and_statistics)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct rig r;

	make(&r, (struct balloon_cfg){ .size = 8 * MIB, .stats_ns = NS_PER_SEC });
	start(&r, 7, UINT64_MAX);
	stat_at(&r, LISTS, 0, VIRTIO_BALLOON_S_MEMFREE, 4096);
	give(&r, Q_STATS, LISTS, 10, false);
	kick(&r, Q_STATS);
	put_list(&r, LISTS, FIRST_PFN, 3, 1);
	give(&r, Q_INFLATE, LISTS, 12, false);
	kick(&r, Q_INFLATE);
	vdev_config_write(r.v, 4, 4, 3);
	r.v->ops->dump(r.v, f);
	fclose(f);
	ck_assert_str_eq(text, "balloon0: target 8192 KiB, in it 12 KiB; inflated 12 KiB, deflated 0 KiB, reported 0 KiB, given back 12 KiB, "
			       "failed 0 KiB\nballoon0: statistics, answer 1: free_memory 4096\n");
	free(text);
	ck_assert_ptr_null(balloon_stat_name(BALLOON_STATS));
	rig_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("balloon");
	TCase *t = tcase_create("balloon");
	SRunner *run;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_balloon_new_identity_and_failure);
	tcase_add_test(t, test_balloon_config_target_is_ours_actual_the_drivers);
	tcase_add_loop_test(t, test_balloon_inflated_pages_are_gone, 0, 3);
	tcase_add_test(t, test_balloon_list_in_odd_parts);
	tcase_add_loop_test(t, test_balloon_page_that_is_no_memory_breaks_the_queue, 0, 5);
	tcase_add_test(t, test_balloon_endless_list_is_done_by_shares);
	tcase_add_test(t, test_balloon_reset_forgets_a_list);
	tcase_add_loop_test(t, test_balloon_reported_pages_are_gone, 0, 4);
	tcase_add_test(t, test_balloon_long_report_is_done_by_shares);
	tcase_add_test(t, test_balloon_report_beyond_memory_breaks_the_queue);
	tcase_add_test(t, test_balloon_statistics_are_asked_for_again_and_again);
	tcase_add_test(t, test_balloon_statistics_without_end_are_cut_and_a_second_buffer_refused);
	tcase_add_test(t, test_balloon_queues_without_a_meaning_are_left_alone);
	tcase_add_test(t, test_balloon_dump_names_counts_and_statistics);
	suite_add_tcase(s, t);
	run = srunner_create(s);
	srunner_run_all(run, CK_ENV);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed ? 1 : 0;
}
