// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fake/sparse.h"
#include "vmm/core/gsi.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "tests/unit/irq_check.h"
#include "vmm/core/irqfd.h"

static struct msi_route *new_route(struct rig *r, uint32_t devid)
{
	struct msi_route *route = NULL;

	ck_assert_int_eq(msi_route_new(r->space, devid, "net0 rx0", &route), 0);
	return route;
}

static struct msi_route *live_route(struct rig *r, uint32_t data)
{
	struct msi_route *route = new_route(r, RIG_DEVID);

	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, data), 0);
	ck_assert_int_eq(gsi_commit(r->space), 0);
	ck_assert(msi_route_live(route));
	return route;
}

static void check_route(struct rig *r, const struct msi_route *route, uint32_t data)
{
	const struct hyp_route have = fake_kvm_route(r->hyp, msi_route_gsi(route));

	ck_assert_uint_eq(have.kind, HYP_ROUTE_MSI);
	ck_assert_uint_eq(have.data, data);
	ck_assert_uint_eq(have.addr, FAKE_TRANSLATER);
}

/* Construction */

START_TEST(test_gsi_new_bad_configuration_refused)
{
	struct gsi_cfg cfg = { .nr_spis = 65, .max_routes = 64, .model = MSI_NONE };
	struct hyp *h = fake_kvm_new();
	struct gsi_space *s = NULL;

	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), -EINVAL);
	cfg.nr_spis = 64;
	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), 0);
	gsi_space_free(s);
	cfg.model = MSI_ITS;
	cfg.doorbell_size = 0x10000;
	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), -EINVAL);
	gsi_space_free(NULL);
	hyp_free(h);
}
END_TEST

START_TEST(test_gsi_no_msi_no_table)
{
	struct rig r = rig_new();

	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(rig_tables(&r), 0);
	ck_assert_uint_eq(rig_stats(&r).skipped_commits, 1);
	rig_free(&r);
}
END_TEST

START_TEST(test_gsi_model_none_has_no_routes)
{
	const struct gsi_cfg cfg = { .nr_spis = 32, .max_routes = 4096, .model = MSI_NONE };
	struct hyp *h = fake_kvm_new();
	struct msi_route *route;
	struct gsi_space *s;

	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), 0);
	ck_assert_int_eq(msi_route_new(s, 0, "x", &route), -EOPNOTSUPP);
	ck_assert(!gsi_msi_deliverable(s, 0, FAKE_TRANSLATER, 0));
	ck_assert_ptr_eq(gsi_hyp(s), h);
	gsi_space_free(s);
	hyp_free(h);
}
END_TEST

/* Before the interrupt controller's INIT */
START_TEST(test_gsi_before_start_again)
{
	const struct gsi_cfg cfg = { .nr_spis = 32, .max_routes = 4096, .model = MSI_ITS,
				     .doorbell = FAKE_ITS_BASE, .doorbell_size = FAKE_ITS_SIZE };
	struct hyp *h = fake_kvm_new();
	struct msi_route *route;
	struct gsi_space *s;

	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), 0);
	ck_assert_int_eq(gsi_commit(s), 0);
	ck_assert_int_eq(msi_route_new(s, 0, "x", &route), 0);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 1), 0);
	ck_assert_int_eq(gsi_commit(s), -EAGAIN);
	ck_assert_int_eq(gsi_hold(s, 0), -EAGAIN);
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_SET_ROUTES), 0);
	fake_kvm_init(h, 32);
	gsi_space_start(s);
	ck_assert_int_eq(gsi_commit(s), 0);
	ck_assert(msi_route_live(route));
	ck_assert_uint_eq(fake_kvm_nr_routes(h), 33);
	/* The ITS did not ask for device ids. */
	ck_assert(!fake_kvm_route(h, 32).valid_devid);
	gsi_space_free(s);
	hyp_free(h);
}
END_TEST

/* The allocator */

/* All that are left, and how many. */
static unsigned take_all(struct rig *r, struct msi_route *routes[static FAKE_KVM_MAX_GSI])
{
	unsigned n = 0;

	while (!msi_route_new(r->space, RIG_DEVID, "x", &routes[n]))
		n++;
	return n;
}

static unsigned count_free(struct rig *r)
{
	static struct msi_route *routes[FAKE_KVM_MAX_GSI];
	const unsigned n = take_all(r, routes);

	for (unsigned i = 0; i < n; i++)
		msi_route_free(routes[i]);
	return n;
}

START_TEST(test_gsi_exhaustion_enospc_and_lowest_first)
{
	static struct msi_route *routes[FAKE_KVM_MAX_GSI];
	const unsigned n = FAKE_KVM_MAX_GSI - FAKE_NR_SPIS;
	struct rig r = rig_new();
	struct msi_route *more = NULL;
	unsigned i;

	for (i = 0; i < n; i++) {
		routes[i] = new_route(&r, RIG_DEVID);
		ck_assert_uint_eq(msi_route_gsi(routes[i]), FAKE_NR_SPIS + i);
	}
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &more), -ENOSPC);
	ck_assert_ptr_null(more);
	msi_route_free(routes[100]);
	msi_route_free(routes[7]);
	routes[7] = new_route(&r, RIG_DEVID);
	ck_assert_uint_eq(msi_route_gsi(routes[7]), FAKE_NR_SPIS + 7);
	routes[100] = new_route(&r, RIG_DEVID);
	ck_assert_uint_eq(msi_route_gsi(routes[100]), FAKE_NR_SPIS + 100);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &more), -ENOSPC);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(msi_route_stage(routes[i], FAKE_TRANSLATER, i), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_KVM_MAX_GSI);
	irq_check(&r);
	for (i = 0; i < n; i++)
		msi_route_free(routes[i]);
	rig_free(&r);
}
END_TEST

/* Who comes too late is refused, again and again; who was there before notices nothing. */
START_TEST(test_gsi_full_table_refuses_one_and_serves_the_rest)
{
	static struct msi_route *routes[FAKE_KVM_MAX_GSI];
	struct msi_route *more = NULL;
	struct rig r = rig_new();
	unsigned i, n = take_all(&r, routes);
	struct irqfd f;

	ck_assert_uint_eq(FAKE_NR_SPIS + n, FAKE_KVM_MAX_GSI);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(msi_route_stage(routes[i], FAKE_TRANSLATER, i), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_int_eq(irqfd_init(&f, r.space), 0);
	for (i = 0; i < n; i += n / 8) {
		const uint64_t before = fake_kvm_injected(r.hyp);

		ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &more), -ENOSPC);
		ck_assert_int_eq(gsi_commit(r.space), 0);
		ck_assert_int_eq(irqfd_attach(&f, msi_route_gsi(routes[i])), 0);
		irqfd_raise(&f);
		fake_kvm_pump(r.hyp);
		ck_assert_uint_eq(fake_kvm_injected(r.hyp), before + 1);
	}
	/* A refusal stages nothing, so none of them was a reason for a table. */
	ck_assert_uint_eq(rig_tables(&r), 1);
	/* What is there can be changed, and what is freed serves the next. */
	ck_assert_int_eq(msi_route_stage(routes[1], FAKE_TRANSLATER, 0xffff), 0);
	msi_route_free(routes[0]);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	check_route(&r, routes[1], 0xffff);
	routes[0] = new_route(&r, RIG_DEVID);
	ck_assert_uint_eq(msi_route_gsi(routes[0]), FAKE_NR_SPIS);
	irqfd_fini(&f);
	for (i = 0; i < n; i++)
		msi_route_free(routes[i]);
	rig_free(&r);
}
END_TEST

START_TEST(test_gsi_free_with_irqfd_asserts)
{
	struct rig r = rig_new();
	struct msi_route *route = live_route(&r, 1);

	ck_assert_int_eq(gsi_hold(r.space, msi_route_gsi(route)), 0);
	msi_route_free(route);
}
END_TEST

START_TEST(test_gsi_freed_not_reused_before_commit)
{
	struct rig r = rig_new();
	struct msi_route *a = live_route(&r, 1), *b, *c;

	msi_route_free(a);
	msi_route_free(NULL);
	b = new_route(&r, RIG_DEVID);
	ck_assert_uint_eq(msi_route_gsi(b), FAKE_NR_SPIS + 1);
	/* A commit that fails changes nothing about that. */
	fake_kvm_fail(r.hyp, FAKE_SET_ROUTES, 1, -ENOMEM);
	ck_assert_int_eq(gsi_commit(r.space), -ENOMEM);
	c = new_route(&r, RIG_DEVID);
	ck_assert_uint_eq(msi_route_gsi(c), FAKE_NR_SPIS + 2);
	msi_route_free(c);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS);
	c = new_route(&r, RIG_DEVID);
	ck_assert_uint_eq(msi_route_gsi(c), FAKE_NR_SPIS);
	msi_route_free(b);
	msi_route_free(c);
	rig_free(&r);
}
END_TEST

START_TEST(test_gsi_cycles_constant_size)
{
	struct rig r = rig_new();
	unsigned i;

	for (i = 0; i < 10000; i++) {
		struct msi_route *route = live_route(&r, i & 0xff);

		ck_assert_uint_lt(msi_route_gsi(route), FAKE_NR_SPIS + 2);
		ck_assert_uint_le(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 1);
		msi_route_free(route);
	}
	ck_assert_uint_eq(rig_stats(&r).commits, 10000);
	rig_free(&r);
}
END_TEST

#define WALK (1000000 / SPARSE)
#define WALK_SLOTS 64
#define WALK_BATCH 1024 /* steps between commits */

/* Takes or frees one; false: it was not as it should be. */
static bool walk_step(struct rig *r, struct msi_route **slot, uint32_t data, unsigned *freed)
{
	if (*slot) {
		msi_route_free(*slot);
		*slot = NULL;
		(*freed)++;
		return true;
	}
	/* What is taken and what waits for a commit, and no more: numbers do not creep upwards. */
	return !msi_route_new(r->space, RIG_DEVID, "x", slot) &&
	       !msi_route_stage(*slot, FAKE_TRANSLATER, data & 0xffff) &&
	       msi_route_gsi(*slot) <= FAKE_NR_SPIS + WALK_SLOTS + WALK_BATCH;
}

/* Vectors come and go, a million of each, in any order; one was there before and stays. */
START_TEST(test_gsi_million_cycles_leave_all_as_it_was)
{
	struct msi_route *slots[WALK_SLOTS] = { NULL };
	struct rig r = rig_new();
	struct msi_route *stays = live_route(&r, 1);
	const unsigned level = count_free(&r);
	unsigned freed = 0, step = 0, i;
	uint64_t seed = 1;
	bool fine = true;

	while (fine && freed < WALK) {
		fine = walk_step(&r, &slots[rnd(&seed) % WALK_SLOTS], step, &freed);
		if (++step % WALK_BATCH == 0)
			fine = fine && !gsi_commit(r.space);
	}
	ck_assert_msg(fine, "step %u", step);
	irq_check(&r);
	for (i = 0; i < WALK_SLOTS; i++)
		msi_route_free(slots[i]);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 1);
	check_route(&r, stays, 1);
	ck_assert_uint_eq(count_free(&r), level);
	msi_route_free(stays);
	rig_free(&r);
}
END_TEST

/* Staging and commits */

START_TEST(test_gsi_same_message_no_commit)
{
	struct rig r = rig_new();
	struct msi_route *route = live_route(&r, 1);
	unsigned i;

	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 1), 0);
		ck_assert_int_eq(gsi_commit(r.space), 0);
	}
	/* There and back again. */
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 2), 0);
	ck_assert(!msi_route_live(route));
	ck_assert_int_eq(msi_route_stage(route, 0, 0), -EINVAL);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 1), 0);
	ck_assert(msi_route_live(route));
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(rig_tables(&r), 1);
	ck_assert_uint_eq(rig_stats(&r).skipped_commits, 1001);
	msi_route_free(route);
	rig_free(&r);
}
END_TEST

/* Eight devices of sixteen vectors at once */
START_TEST(test_gsi_batch_one_commit)
{
	struct rig r = rig_new();
	struct msi_route *routes[8][16];
	unsigned d, v;

	for (d = 0; d < 8; d++)
		for (v = 0; v < 16; v++) {
			routes[d][v] = new_route(&r, RIG_DEVID + d);
			ck_assert_int_eq(msi_route_stage(routes[d][v], FAKE_TRANSLATER, v), 0);
		}
	ck_assert_uint_eq(rig_tables(&r), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(rig_tables(&r), 1);
	irq_check(&r);
	for (d = 0; d < 8; d++)
		for (v = 0; v < 16; v++) {
			ck_assert(msi_route_live(routes[d][v]));
			ck_assert_uint_eq(fake_kvm_route(r.hyp, msi_route_gsi(routes[d][v])).devid, RIG_DEVID + d);
			msi_route_free(routes[d][v]);
		}
	rig_free(&r);
}
END_TEST

START_TEST(test_gsi_undeliverable_message_not_staged)
{
	static const struct { uint64_t addr; uint32_t data; } bad[] = {
		{ 0, 0 },
		{ FAKE_TRANSLATER, 0x10000 },
		{ FAKE_TRANSLATER, UINT32_MAX },
		{ FAKE_TRANSLATER - 4, 1 },
		{ FAKE_TRANSLATER + 1, 1 },
		{ FAKE_ITS_BASE, 1 },
		{ FAKE_ITS_BASE + FAKE_ITS_SIZE, 1 },
		{ FAKE_TRANSLATER | BIT64(32), 1 },
		{ UINT64_MAX, 1 },
		{ 0x40000000, 1 },
	};
	struct rig r = rig_new();
	struct msi_route *route = new_route(&r, RIG_DEVID);
	struct msi_route *far;
	unsigned i;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_int_eq(msi_route_stage(route, bad[i].addr, bad[i].data), -EINVAL);
		ck_assert_int_eq(gsi_commit(r.space), 0);
		ck_assert(!msi_route_live(route));
		ck_assert_int_eq(gsi_hold(r.space, msi_route_gsi(route)), -EINVAL);
	}
	ck_assert_int_eq(msi_route_new(r.space, 0x10000, "far", &far), 0);
	ck_assert_int_eq(msi_route_stage(far, FAKE_TRANSLATER, 1), -EINVAL);
	ck_assert_uint_eq(rig_tables(&r), 0);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 0xffff), 0);
	msi_route_free(route);
	msi_route_free(far);
	rig_free(&r);
}
END_TEST

/* A message that was zeroed is no reason for a table, but leaves with the next one; the same again needs a new one. */
START_TEST(test_gsi_zeroed_message_leaves_with_next_commit)
{
	struct rig r = rig_new();
	struct msi_route *a = live_route(&r, 1), *b;

	ck_assert_int_eq(msi_route_stage(a, 0, 0), -EINVAL);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(rig_tables(&r), 1);
	check_route(&r, a, 1);
	ck_assert(!msi_route_live(a));
	b = live_route(&r, 2);
	ck_assert_uint_eq(rig_tables(&r), 2);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 1);
	ck_assert_int_eq(msi_route_stage(a, FAKE_TRANSLATER, 1), 0);
	ck_assert(!msi_route_live(a));
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(rig_tables(&r), 3);
	check_route(&r, a, 1);
	irq_check(&r);
	msi_route_free(a);
	msi_route_free(b);
	rig_free(&r);
}
END_TEST

START_TEST(test_gsi_held_entry_stays)
{
	struct rig r = rig_new();
	struct msi_route *a = live_route(&r, 1), *b;

	rig_look_away(&r); /* held, and nothing attached */
	ck_assert_int_eq(gsi_hold(r.space, msi_route_gsi(a)), 0);
	ck_assert_int_eq(msi_route_stage(a, 0, 0), -EINVAL);
	b = live_route(&r, 2);
	check_route(&r, a, 1);
	ck_assert_uint_eq(rig_stats(&r).msi_routes, 2);
	gsi_release(r.space, msi_route_gsi(a));
	/* While held, a retarget is a commit like any other. */
	ck_assert_int_eq(gsi_hold(r.space, msi_route_gsi(b)), 0);
	ck_assert_int_eq(msi_route_stage(b, FAKE_TRANSLATER, 3), 0);
	ck_assert_int_eq(gsi_hold(r.space, msi_route_gsi(b)), -EINVAL);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	check_route(&r, b, 3);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 1);
	gsi_release(r.space, msi_route_gsi(b));
	msi_route_free(a);
	msi_route_free(b);
	rig_free(&r);
}
END_TEST

/* The nth table fails, whichever it is; the kernel keeps the last good one, and a retry heals. */
START_TEST(test_gsi_failed_commit_keeps_old_table)
{
	static const int errors[] = { -ENOMEM, -EINVAL };
	const int err = errors[_i % 2];
	const unsigned nth = (unsigned)_i / 2 + 1;
	struct rig r = rig_new();
	struct msi_route *routes[8];
	uint64_t bytes = 0;
	unsigned i, j;

	fake_kvm_fail(r.hyp, FAKE_SET_ROUTES, nth, err);
	for (i = 0; i < 8; i++) {
		routes[i] = new_route(&r, RIG_DEVID);
		ck_assert_int_eq(msi_route_stage(routes[i], FAKE_TRANSLATER, i), 0);
		if (i + 1 == nth) {
			ck_assert_int_eq(gsi_commit(r.space), err);
			ck_assert(!msi_route_live(routes[i]));
			ck_assert_int_eq(gsi_hold(r.space, msi_route_gsi(routes[i])), -EINVAL);
			ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + i);
			for (j = 0; j < i; j++)
				check_route(&r, routes[j], j);
			irq_check(&r);
		}
		ck_assert_int_eq(gsi_commit(r.space), 0);
		ck_assert(msi_route_live(routes[i]));
		irq_check(&r);
	}
	ck_assert_uint_eq(rig_stats(&r).failed_commits, 1);
	ck_assert_uint_eq(rig_stats(&r).commits, 8);
	for (i = 0; i < 8; i++)
		bytes += hyp_table_bytes(FAKE_NR_SPIS + i + 1) * (i + 1 == nth ? 2 : 1);
	ck_assert_uint_eq(rig_stats(&r).table_bytes, bytes);
	for (i = 0; i < 8; i++)
		msi_route_free(routes[i]);
	rig_free(&r);
}
END_TEST

/* Holds */

START_TEST(test_gsi_hold_spi_and_unknown)
{
	struct rig r = rig_new();

	ck_assert_int_eq(gsi_hold(r.space, 0), 0);
	ck_assert_int_eq(gsi_hold(r.space, FAKE_NR_SPIS - 1), 0);
	ck_assert_int_eq(gsi_hold(r.space, FAKE_NR_SPIS), -EINVAL);
	ck_assert_int_eq(gsi_hold(r.space, 4095), -EINVAL);
	ck_assert_int_eq(gsi_hold(r.space, UINT32_MAX), -EINVAL);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 2);
	gsi_release(r.space, 0);
	gsi_release(r.space, FAKE_NR_SPIS - 1);
	rig_free(&r);
}
END_TEST

START_TEST(test_gsi_release_without_hold_asserts)
{
	struct rig r = rig_new();

	gsi_release(r.space, 3);
}
END_TEST

START_TEST(test_gsi_space_free_with_irqfd_asserts)
{
	struct rig r = rig_new();

	ck_assert_int_eq(gsi_hold(r.space, 3), 0);
	gsi_space_free(r.space);
}
END_TEST

/* The dump */

/* Up to the times, which are never the same. */
static void check_dump(struct rig *r, const char *want)
{
	char *text = NULL, *end;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	gsi_dump(r->space, f);
	fclose(f);
	end = strstr(text, "ns a commit: last ");
	ck_assert_ptr_nonnull(end);
	*end++ = '\0';
	ck_assert_str_eq(text, want);
	ck_assert_ptr_nonnull(strstr(end, ", most "));
	ck_assert_ptr_nonnull(strstr(end, "\nmasks 0, unmasks 0, replays 0\n"));
	free(text);
}

START_TEST(test_gsi_dump_reads)
{
	struct rig r = rig_new();
	struct msi_route *a, *b, *c;

	gsi_label_spi(r.space, 1, "rtc");
	gsi_label_spi(r.space, FAKE_NR_SPIS, "nobody");
	a = live_route(&r, 1);
	b = live_route(&r, 2);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID + 1, "a name that is longer than thirty-one bytes", &c), 0);
	ck_assert_int_eq(gsi_hold(r.space, msi_route_gsi(a)), 0);
	ck_assert_int_eq(gsi_hold(r.space, 2), 0);
	ck_assert_int_eq(gsi_hold(r.space, 2), 0);
	check_dump(&r,
		   "rtc -> GSI 1 -> SPI 1 (INTID 33)\n"
		   "unnamed -> GSI 2 -> SPI 2 (INTID 34), 2 irqfds\n"
		   "net0 rx0, no source -> GSI 64 -> MSI 0x08090040 data 1 devid 0x8 -> ITS, 1 irqfd\n"
		   "net0 rx0, no source -> GSI 65 -> MSI 0x08090040 data 2 devid 0x8 -> ITS\n"
		   "a name that is longer than thir, no source -> GSI 66 -> no message, devid 0x9\n"
		   "commits 2, skipped 0, failed 0, irqfds 3, spi routes 64, msi routes 2, table bytes 6,304\n");
	gsi_release(r.space, msi_route_gsi(a));
	gsi_release(r.space, 2);
	gsi_release(r.space, 2);
	msi_route_free(a);
	ck_assert_int_eq(msi_route_stage(b, 0, 0), -EINVAL);
	ck_assert_int_eq(msi_route_stage(c, FAKE_TRANSLATER, 7), 0);
	check_dump(&r,
		   "rtc -> GSI 1 -> SPI 1 (INTID 33)\n"
		   "net0 rx0, no source -> GSI 64 -> MSI 0x08090040 data 1 devid 0x8 -> ITS, freed, leaves at the next commit\n"
		   "net0 rx0, no source -> GSI 65 -> MSI 0x08090040 data 2 devid 0x8 -> ITS, leaves at the next commit\n"
		   "a name that is longer than thir, no source -> GSI 66 -> MSI 0x08090040 data 7 devid 0x9 -> ITS, staged\n"
		   "commits 2, skipped 0, failed 0, irqfds 0, spi routes 64, msi routes 2, table bytes 6,304\n");
	ck_assert_int_eq(gsi_commit(r.space), 0);
	msi_route_free(b);
	check_dump(&r,
		   "rtc -> GSI 1 -> SPI 1 (INTID 33)\n"
		   "a name that is longer than thir, no source -> GSI 66 -> MSI 0x08090040 data 7 devid 0x9 -> ITS\n"
		   "commits 3, skipped 0, failed 0, irqfds 0, spi routes 64, msi routes 1, table bytes 9,432\n");
	msi_route_free(c);
	rig_free(&r);
}
END_TEST

/* Threads */

struct stager {
	struct rig *rig;
	uint32_t devid;
};

static void *stage_much(void *arg)
{
	struct stager *st = arg;
	struct msi_route *route;
	unsigned i;

	for (i = 0; i < 300; i++) {
		if (msi_route_new(st->rig->space, st->devid, "x", &route))
			abort();
		bool valid = !msi_route_stage(route, FAKE_TRANSLATER, i);

		if (valid && i % 3)
			msi_route_stage(route, 0, 0);
		msi_route_live(route);
		msi_route_free(route);
	}
	return NULL;
}

START_TEST(test_gsi_staging_threads_and_commits)
{
	struct rig r = rig_new();
	struct stager st[2] = { { &r, RIG_DEVID }, { &r, RIG_DEVID + 1 } };
	pthread_t t[2];
	unsigned i;

	for (i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, stage_much, &st[i]), 0);
	for (i = 0; i < 300; i++)
		ck_assert_int_eq(gsi_commit(r.space), 0);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	rig_free(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gsi");
	TCase *t = tcase_create("gsi");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_gsi_new_bad_configuration_refused);
	tcase_add_test(t, test_gsi_no_msi_no_table);
	tcase_add_test(t, test_gsi_model_none_has_no_routes);
	tcase_add_test(t, test_gsi_before_start_again);
	tcase_add_test(t, test_gsi_exhaustion_enospc_and_lowest_first);
	tcase_add_test(t, test_gsi_full_table_refuses_one_and_serves_the_rest);
	tcase_add_test_raise_signal(t, test_gsi_free_with_irqfd_asserts, SIGABRT);
	tcase_add_test(t, test_gsi_freed_not_reused_before_commit);
	tcase_add_test(t, test_gsi_cycles_constant_size);
	tcase_add_test(t, test_gsi_million_cycles_leave_all_as_it_was);
	tcase_add_test(t, test_gsi_same_message_no_commit);
	tcase_add_test(t, test_gsi_batch_one_commit);
	tcase_add_test(t, test_gsi_undeliverable_message_not_staged);
	tcase_add_test(t, test_gsi_zeroed_message_leaves_with_next_commit);
	tcase_add_test(t, test_gsi_held_entry_stays);
	tcase_add_loop_test(t, test_gsi_failed_commit_keeps_old_table, 0, 16);
	tcase_add_test(t, test_gsi_hold_spi_and_unknown);
	tcase_add_test_raise_signal(t, test_gsi_release_without_hold_asserts, SIGABRT);
	tcase_add_test_raise_signal(t, test_gsi_space_free_with_irqfd_asserts, SIGABRT);
	tcase_add_test(t, test_gsi_dump_reads);
	tcase_add_test(t, test_gsi_staging_threads_and_commits);
	suite_add_tcase(s, t);
	return run_suite(s);
}
