// SPDX-License-Identifier: BSD-3-Clause
/*
 * The invariants V1 to V11 (irq_check.h), each with a story of its own that can break it, and
 * a guest that writes anything, against a model. For each there is a mutant in tests/mutants
 * that its test must find.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "devices/virtio/virtio_mmio.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "tests/unit/msix_driver.h"

/*
 * The kernel takes a signal the moment it is written. So does this test's write(2), while a
 * VM is set here.
 */
static struct hyp *prompt;

ssize_t write(int fd, const void *buf, size_t n)
{
	struct hyp *h = prompt;
	ssize_t r = syscall(SYS_write, fd, buf, n);

	if (h) {
		prompt = NULL;
		fake_kvm_pump(h);
		prompt = h;
	}
	return r;
}

START_TEST(test_v1_every_table_has_every_spi)
{
	struct rig r = rig_new();
	struct msix *a = msix_make(&r, 3, 3), *b = msix_make(&r, 17, 17);

	check_v1(&r);
	linux_probe(a, 3);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 3);
	check_v1(&r);
	linux_probe(b, 17);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 20);
	check_v1(&r);
	msix_free(a);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 17);
	check_v1(&r);
	msix_free(b);
	rig_free(&r);
}
END_TEST

START_TEST(test_v2_devid_flag_and_devid)
{
	const bool needed = _i;
	struct rig r = { .hyp = fake_kvm_new(), .fds = open_fds() };
	struct gsi_cfg cfg = { .nr_spis = FAKE_NR_SPIS, .max_routes = 4096, .model = MSI_ITS,
			       .doorbell = FAKE_ITS_BASE, .doorbell_size = FAKE_ITS_SIZE, .need_devid = needed };
	struct hyp_route route;
	struct msix *m;
	unsigned v;

	fake_kvm_init(r.hyp, FAKE_NR_SPIS);
	ck_assert_int_eq(gsi_space_new(&cfg, r.hyp, &r.space), 0);
	gsi_space_start(r.space);
	m = msix_make(&r, 5, 5);
	linux_probe(m, 5);
	for (v = 0; v < 5; v++) {
		route = fake_kvm_route(r.hyp, FAKE_NR_SPIS + v);
		ck_assert_uint_eq(route.kind, HYP_ROUTE_MSI);
		ck_assert_msg(route.valid_devid == needed, "V2: flag");
		ck_assert_msg(route.devid == RIG_DEVID, "V2: device id");
	}
	msix_free(m);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	gsi_space_free(r.space);
	hyp_free(r.hyp);
}
END_TEST

START_TEST(test_v3_no_irqfd_without_route)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	struct msi_route *other, *never;
	struct irqfd f;
	unsigned i;

	ck_assert_int_eq(irqfd_init(&f, r.space), 0);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "never", &never), 0);
	ck_assert_int_eq(irqfd_attach(&f, msi_route_gsi(never)), -EINVAL);
	check_v3(&r);
	for (i = 0; i < 50; i++) {
		/* The guest takes a message away under the irqfd's feet, and others commit meanwhile. */
		msix_table_write(m, (i & 1) * 16, 4, 0);
		ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "other", &other), 0);
		ck_assert_int_eq(msi_route_stage(other, FAKE_TRANSLATER, i), 0);
		ck_assert_int_eq(gsi_commit(r.space), 0);
		check_v3(&r);
		settle(m);
		check_v3(&r);
		msix_table_write(m, (i & 1) * 16, 4, FAKE_TRANSLATER);
		settle(m);
		check_v3(&r);
		msi_route_free(other);
	}
	/* The space's own promise, for whoever forgets to detach first. */
	ck_assert_int_eq(msi_route_stage(never, FAKE_TRANSLATER, 1), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_int_eq(irqfd_attach(&f, msi_route_gsi(never)), 0);
	ck_assert_int_eq(msi_route_stage(never, 0, 0), -EINVAL);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "other", &other), 0);
	ck_assert_int_eq(msi_route_stage(other, FAKE_TRANSLATER, 1), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	check_v3(&r);
	irqfd_fini(&f);
	msi_route_free(never);
	msi_route_free(other);
	msix_free(m);
	rig_free(&r);
}
END_TEST

START_TEST(test_v4_no_table_without_change)
{
	const struct gsi_cfg cfg = { .nr_spis = 32, .max_routes = 4096, .model = MSI_ITS,
				     .doorbell = FAKE_ITS_BASE, .doorbell_size = FAKE_ITS_SIZE };
	struct rig r = { .hyp = fake_kvm_new() };
	struct msi_route *route;
	struct msix *m;
	unsigned i;

	/* Before start: none at all. */
	ck_assert_int_eq(gsi_space_new(&cfg, r.hyp, &r.space), 0);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &route), 0);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 1), 0);
	ck_assert_int_eq(gsi_commit(r.space), -EAGAIN);
	ck_assert_msg(rig_tables(&r) == 0, "V4: a table before start");
	gsi_space_free(r.space);
	hyp_free(r.hyp);

	r = rig_new();
	m = msix_make(&r, 3, 3);
	linux_probe(m, 3);
	ck_assert_msg(rig_tables(&r) == 1, "V4: more than one table for a probe");
	for (i = 0; i < 1000; i++) {
		set_mask(m, i % 3, true);
		set_mask(m, i % 3, false);
		ck_assert_int_eq(gsi_commit(r.space), 0);
	}
	ck_assert_msg(rig_tables(&r) == 1, "V4: tables for masks");
	check_v4(&r);
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* Each way to mask, from a state in which the signal would be delivered. */
static void mask_by(struct msix *m, unsigned how, bool masked)
{
	switch (how) {
	case 0:
		set_mask(m, 0, masked);
		break;
	case 1:
		set_ctrl(m, CTRL_ENABLE | (masked ? CTRL_MASKALL : 0));
		break;
	case 2:
		msix_set_bus_master(m, !masked);
		settle(m);
		break;
	case 3:
		msix_table_write(m, 0, 4, masked ? 0 : FAKE_TRANSLATER);
		settle(m);
		break;
	default:
		set_ctrl(m, masked ? 0 : CTRL_ENABLE);
		break;
	}
}

START_TEST(test_v5_masked_injects_nothing)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	unsigned turn, i;
	uint64_t before;

	for (turn = 0; turn < 20; turn++) {
		msix_raise(m, 0); /* in flight */
		mask_by(m, (unsigned)_i, true);
		before = fake_kvm_injected(r.hyp);
		for (i = 0; i < 5; i++) {
			msix_raise(m, 0);
			fake_kvm_pump(r.hyp);
			ck_assert_msg(fake_kvm_injected(r.hyp) == before, "V5: injected while masked");
		}
		mask_by(m, (unsigned)_i, false);
		fake_kvm_pump(r.hyp);
		check_v3(&r);
	}
	msix_free(m);
	rig_free(&r);
}
END_TEST

START_TEST(test_v6_exactly_one_after_unmask)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	unsigned turn, i;
	uint64_t before;

	for (turn = 0; turn < 40; turn++) {
		mask_by(m, (unsigned)_i, true);
		fake_kvm_pump(r.hyp);
		before = fake_kvm_injected(r.hyp);
		for (i = 0; i < turn % 4; i++)
			msix_raise(m, 0);
		ck_assert_msg(msix_pba_read(m, 0, 8) == (turn % 4 ? 1 : 0), "V6: pending bit");
		mask_by(m, (unsigned)_i, false);
		ck_assert_msg(msix_pba_read(m, 0, 8) == 0, "V6: pending bit after unmask");
		fake_kvm_pump(r.hyp);
		ck_assert_msg(fake_kvm_injected(r.hyp) - before == (turn % 4 ? 1 : 0), "V6: not exactly one");
	}
	msix_free(m);
	rig_free(&r);
}
END_TEST

START_TEST(test_v7_all_freed)
{
	struct rig r = rig_new();
	struct msix *m[8];
	struct msi_route *route;
	unsigned i, round;

	for (round = 0; round < 20; round++) {
		for (i = 0; i < 8; i++) {
			m[i] = msix_make(&r, i + 1, i + 1);
			linux_probe(m[i], i + 1);
		}
		ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 36);
		for (i = 0; i < 8; i++)
			msix_free(m[i]);
		ck_assert_int_eq(gsi_commit(r.space), 0);
		ck_assert_msg(fake_kvm_nr_routes(r.hyp) == FAKE_NR_SPIS, "V7: routes are left");
		ck_assert_msg(fake_kvm_nr_irqfds(r.hyp) == 0, "V7: irqfds are left");
		/* The next GSI is the first again. */
		ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &route), 0);
		ck_assert_msg(msi_route_gsi(route) == FAKE_NR_SPIS, "V7: GSIs are left");
		msi_route_free(route);
	}
	rig_free(&r);
}
END_TEST

/* V8: a guest that writes anything, and a model of what should come of it. */

#define VECS 5
#define SRCS 6
#define EVENTS 16

struct model_source {
	uint16_t vector;
	bool attached, pending;
	uint64_t addr;   /* of the message it is attached with */
	uint32_t event;
	uint16_t at;     /* the vector it is attached by */
};

struct model {
	enum msi_way way;
	uint32_t words[VECS * 4];
	bool enable, maskall, bus_master;
	struct { bool valid; uint64_t addr; uint32_t data; } live[VECS];
	struct model_source s[SRCS];
	uint64_t tables, injected, events[EVENTS];
};

static uint64_t model_addr(const struct model *md, unsigned v)
{
	return md->words[v * 4] | (uint64_t)md->words[v * 4 + 1] << 32;
}

/* What the guest's message number is: an event, or one of the frame's SPIs. */
static uint32_t model_event(const struct model *md, unsigned v)
{
	return md->words[v * 4 + 2] - (md->way == MSI_BY_SPI ? FAKE_V2M_INTID : 0);
}

static bool model_valid(const struct model *md, unsigned v)
{
	if (md->way == MSI_BY_SPI)
		return model_addr(md, v) == FAKE_SETSPI && model_event(md, v) < FAKE_V2M_COUNT;
	return model_addr(md, v) == FAKE_TRANSLATER && md->words[v * 4 + 2] < 0x10000;
}

static bool model_wanted(const struct model *md, const struct model_source *s)
{
	return s->vector != MSIX_NO_VECTOR && md->enable && !md->maskall && md->bus_master &&
	       !(md->words[s->vector * 4 + 3] & 1) && model_valid(md, s->vector);
}

static bool model_right(const struct model *md, const struct model_source *s)
{
	/* Two vectors may name one SPI. */
	return model_wanted(md, s) && (s->at == s->vector || md->way == MSI_BY_SPI) &&
	       s->addr == model_addr(md, s->vector) && s->event == model_event(md, s->vector);
}

static bool model_live(const struct model *md, unsigned v)
{
	return md->live[v].valid && md->live[v].addr == model_addr(md, v) &&
	       md->live[v].data == md->words[v * 4 + 2];
}

static bool model_stale(const struct model *md)
{
	unsigned i;

	for (i = 0; i < SRCS; i++)
		if (md->s[i].attached ? !model_right(md, &md->s[i]) : model_wanted(md, &md->s[i]))
			return true;
	return false;
}

static void model_inject(struct model *md, uint32_t event)
{
	md->injected++;
	md->events[event]++;
}

/* Is there a message that only a new table makes live? */
static bool model_needs_table(const struct model *md)
{
	unsigned v;

	for (v = 0; v < VECS; v++)
		if (model_valid(md, v) && !model_live(md, v))
			return true;
	return false;
}

static void model_commit(struct model *md, bool fail)
{
	unsigned v;

	if (md->way == MSI_BY_ROUTE && !model_needs_table(md))
		return;
	md->tables += md->way == MSI_BY_ROUTE;
	for (v = 0; v < VECS && !fail; v++) {
		md->live[v].valid = model_valid(md, v);
		md->live[v].addr = model_addr(md, v);
		md->live[v].data = md->words[v * 4 + 2];
	}
}

/* @fail_attach: the first attach fails. Returns whether there was one. */
static bool model_attach(struct model *md, bool fail_attach)
{
	bool failed = false;
	unsigned i;

	for (i = 0; i < SRCS; i++) {
		struct model_source *s = &md->s[i];

		if (s->attached || !model_wanted(md, s) || !model_live(md, s->vector))
			continue;
		if (fail_attach && !failed) {
			failed = true;
			continue;
		}
		s->attached = true;
		s->at = s->vector;
		s->addr = model_addr(md, s->vector);
		s->event = model_event(md, s->vector);
		if (s->pending)
			model_inject(md, s->event);
		s->pending = false;
	}
	return failed;
}

static void model_detach(struct model *md)
{
	unsigned i;

	for (i = 0; i < SRCS; i++)
		if (md->s[i].attached && !model_right(md, &md->s[i]))
			md->s[i].attached = false;
}

static void model_drop(struct model *md)
{
	unsigned i;

	for (i = 0; i < SRCS; i++)
		md->s[i].pending = false;
}

static uint64_t model_pba(const struct model *md)
{
	uint64_t bits = 0;
	unsigned i;

	for (i = 0; i < SRCS && md->enable; i++)
		if (md->s[i].vector != MSIX_NO_VECTOR && !md->s[i].attached && md->s[i].pending)
			bits |= BIT64(md->s[i].vector);
	return bits;
}

struct fuzz {
	struct rig rig;
	struct msix *m;
	struct model md;
	uint64_t seed;
};

static uint32_t pick(struct fuzz *f, uint32_t n)
{
	return rnd(&f->seed) % n;
}

/* Mostly what makes sense in that word, now and then anything. */
static uint64_t pick_word(struct fuzz *f, unsigned word)
{
	const bool spi = f->md.way == MSI_BY_SPI;

	if (!pick(f, 12))
		return rnd(&f->seed) << 1 | rnd(&f->seed);
	switch (word) {
	case 0:
		return pick(f, 6) ? (spi ? FAKE_SETSPI : FAKE_TRANSLATER) : 0;
	case 1:
		return 0;
	case 2:
		return spi ? FAKE_V2M_INTID - 1 + pick(f, EVENTS + 2) : pick(f, EVENTS);
	default:
		return pick(f, 2);
	}
}

static void fuzz_table_write(struct fuzz *f)
{
	const unsigned len = (unsigned[]){ 1, 2, 4, 4, 4, 4, 8, 8, 3 }[pick(f, 9)];
	uint64_t off = pick(f, VECS * 16 + 16), val;

	if (pick(f, 8))
		off &= ~(uint64_t)(len == 8 ? 7 : 3);
	val = pick_word(f, off / 4 % 4) & UINT32_MAX;
	val |= pick_word(f, off / 4 % 4 + 1) << 32;
	msix_table_write(f->m, off, len, val);
	if ((len != 4 && len != 8) || off % len || off + len > VECS * 16)
		return;
	f->md.words[off / 4] = (uint32_t)val;
	if (len == 8)
		f->md.words[off / 4 + 1] = (uint32_t)(val >> 32);
	/* Vectors whose event is not counted one by one would need a longer list. */
	if (f->md.way != MSI_BY_SPI && f->md.words[off / 16 * 4 + 2] >= EVENTS && f->md.words[off / 16 * 4 + 2] < 0x10000) {
		msix_table_write(f->m, off / 16 * 16 + 8, 4, 1);
		f->md.words[off / 16 * 4 + 2] = 1;
	}
}

static void fuzz_ctrl(struct fuzz *f)
{
	uint16_t ctrl = (uint16_t)rnd(&f->seed);

	if (pick(f, 3))
		ctrl |= CTRL_ENABLE;
	msix_ctrl_write(f->m, ctrl);
	if (!f->md.enable && (ctrl & CTRL_ENABLE))
		model_drop(&f->md);
	f->md.enable = ctrl & CTRL_ENABLE;
	f->md.maskall = ctrl & CTRL_MASKALL;
}

static void fuzz_bind(struct fuzz *f)
{
	const unsigned i = pick(f, SRCS);
	uint16_t vector = (uint16_t)(pick(f, 8) ? pick(f, VECS + 1) : rnd(&f->seed));

	if (f->md.s[i].vector == MSIX_NO_VECTOR)
		f->md.s[i].pending = false;
	f->md.s[i].vector = vector < VECS ? vector : MSIX_NO_VECTOR;
	ck_assert_uint_eq(msix_bind(f->m, i, vector), f->md.s[i].vector);
}

static void fuzz_raise(struct fuzz *f)
{
	const unsigned i = pick(f, SRCS);

	msix_raise(f->m, i);
	rig_deliver(&f->rig);
	if (f->md.s[i].attached)
		model_inject(&f->md, f->md.s[i].event);
	else
		f->md.s[i].pending = true;
}

static void fuzz_reset(struct fuzz *f)
{
	unsigned i;

	msix_unbind_all(f->m);
	for (i = 0; i < SRCS; i++)
		f->md.s[i].vector = MSIX_NO_VECTOR;
	model_drop(&f->md);
}

static void fuzz_sync(struct fuzz *f)
{
	bool fail_table = !pick(f, 6), fail_attach = !pick(f, 10);
	int want = 0;

	ck_assert(msix_stale(f->m) == model_stale(&f->md));
	model_detach(&f->md);
	if (model_stale(&f->md)) {
		fail_table &= f->md.way == MSI_BY_ROUTE && model_needs_table(&f->md);
		if (fail_table) {
			fake_kvm_fail(f->rig.hyp, FAKE_SET_ROUTES, 1, -ENOMEM);
			want = -ENOMEM;
		}
		model_commit(&f->md, fail_table);
		fail_attach &= !fail_table && f->md.way != MSI_BY_SIGNAL;
		if (fail_attach && model_attach(&f->md, true)) {
			fake_kvm_fail(f->rig.hyp, FAKE_IRQFD_ATTACH, 1, -EINVAL);
			want = -EINVAL;
		} else {
			model_attach(&f->md, false);
		}
	}
	ck_assert_int_eq(msix_sync(f->m), want);
	rig_deliver(&f->rig);
	ck_assert(msix_stale(f->m) == model_stale(&f->md));
	ck_assert(want || !msix_stale(f->m));
}

static void fuzz_step(struct fuzz *f)
{
	switch (pick(f, 16)) {
	case 0:
		fuzz_ctrl(f);
		break;
	case 1:
	case 2:
		fuzz_bind(f);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		fuzz_raise(f);
		break;
	case 7:
		f->md.bus_master = pick(f, 4);
		msix_set_bus_master(f->m, f->md.bus_master);
		break;
	case 8:
		if (!pick(f, 8))
			fuzz_reset(f);
		break;
	case 9:
	case 10:
		ck_assert_uint_eq(msix_pba_read(f->m, 0, 8), model_pba(&f->md));
		msix_pba_read(f->m, pick(f, 32), pick(f, 9));
		msix_table_read(f->m, pick(f, 128), pick(f, 9));
		break;
	default:
		fuzz_table_write(f);
		break;
	}
	if (pick(f, 3))
		fuzz_sync(f);
}

static void fuzz_check(struct fuzz *f)
{
	unsigned i;

	for (i = 0; i < SRCS; i++) {
		if (f->md.way != MSI_BY_SIGNAL)
			ck_assert(fake_kvm_attached(f->rig.hyp, msix_fd(f->m, i), NULL) == f->md.s[i].attached);
		ck_assert_uint_eq(msix_vector(f->m, i), f->md.s[i].vector);
	}
	for (i = 0; i < EVENTS; i++)
		ck_assert_uint_eq(f->md.way == MSI_BY_SPI ? fake_kvm_spis(f->rig.hyp, FAKE_V2M_SPI + i) :
				  fake_kvm_msis(f->rig.hyp, RIG_DEVID, i), f->md.events[i]);
	for (i = 0; i < VECS * 4; i++)
		ck_assert_uint_eq(msix_table_read(f->m, i * 4, 4), i % 4 == 3 ? f->md.words[i] & 1 : f->md.words[i]);
	ck_assert_uint_eq(fake_kvm_injected(f->rig.hyp), f->md.injected);
	ck_assert_uint_eq(rig_tables(&f->rig), f->md.tables);
	irq_check(&f->rig);
}

/* Each way that messages go, with different seeds. */
START_TEST(test_v8_any_guest_writes)
{
	struct fuzz f = { .seed = 1000 + (uint64_t)_i };
	unsigned i, step;

	f.rig = _i % 4 < 2 ? rig_new() : _i % 4 == 2 ? rig_of(MSI_V2M, GSI_AUTO) : rig_of(MSI_ITS, GSI_FLAT);
	f.md.way = gsi_msi_way(f.rig.space);
	f.m = msix_make(&f.rig, VECS, SRCS);
	f.md.bus_master = true;
	for (i = 0; i < VECS; i++)
		f.md.words[i * 4 + 3] = 1;
	for (i = 0; i < SRCS; i++)
		f.md.s[i].vector = MSIX_NO_VECTOR;
	for (step = 0; step < 1500; step++) {
		fuzz_step(&f);
		fuzz_check(&f);
	}
	/* Not a guest that never got anywhere. */
	ck_assert_uint_gt(f.md.injected, 5);
	ck_assert(f.md.way != MSI_BY_ROUTE || f.md.tables > 5);
	msix_free(f.m);
	rig_free(&f.rig);
}
END_TEST

static bool same_route(const struct hyp_route *a, const struct hyp_route *b)
{
	return a->kind == b->kind && a->gsi == b->gsi && a->pin == b->pin && a->addr == b->addr &&
	       a->data == b->data && a->devid == b->devid && a->valid_devid == b->valid_devid;
}

START_TEST(test_v9_failed_commit_keeps_kernel_and_shadow_equal)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 3, 3);
	struct hyp_route before[FAKE_NR_SPIS + 8], now;
	struct gsi_stats st;
	unsigned i, turn;

	linux_probe(m, 3);
	for (turn = 0; turn < 20; turn++) {
		for (i = 0; i < ARRAY_LEN(before); i++)
			before[i] = fake_kvm_route(r.hyp, i);
		st = rig_stats(&r);
		msix_table_write(m, turn % 3 * 16 + 8, 4, 100 + turn);
		fake_kvm_fail(r.hyp, FAKE_SET_ROUTES, 1, turn & 1 ? -EINVAL : -ENOMEM);
		ck_assert_int_lt(msix_sync(m), 0);
		for (i = 0; i < ARRAY_LEN(before); i++) {
			now = fake_kvm_route(r.hyp, i);
			ck_assert_msg(same_route(&now, &before[i]), "V9: the kernel's table");
		}
		ck_assert_msg(rig_stats(&r).msi_routes == st.msi_routes, "V9: the shadow's size");
		ck_assert_msg(rig_stats(&r).commits == st.commits, "V9: counted as done");
		/* What failed is not taken as live: nothing is attached to it, and the retry commits. */
		ck_assert_msg(rig_stats(&r).irqfds == 2, "V9: attached to a route that is not there");
		ck_assert_msg(msix_stale(m), "V9: given up");
		irq_check(&r);
		ck_assert_int_eq(msix_sync(m), 0);
		ck_assert_msg(rig_stats(&r).commits == st.commits + 1, "V9: not retried");
		ck_assert_uint_eq(rig_stats(&r).irqfds, 3);
	}
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* V10 and V11 on virtio-mmio, where a status register tells the driver why it was interrupted */

#define MMIO_GPA 0xa000000
#define MMIO_SPI 8

struct mmio_rig {
	struct rig rig;
	struct bus *bus;
	struct loop *loop;
	struct gmem *mem;
	struct vdev vdev;
	struct virtio_mmio *t;
	struct fake_guest guest;
	int call_fd;
	uint32_t want;     /* InterruptStatus must have these bits at an injection */
	unsigned injected, missing;
};

static int mmio_activate(struct vdev *v)
{
	struct mmio_rig *mr = container_of(v, struct mmio_rig, vdev);

	v->vhost_queues = 1;
	return v->irq->call_fd(v->irq_ctx, 0, &mr->call_fd);
}

static void mmio_nothing(struct vdev *v)
{
	(void)v;
}

static const struct vdev_ops mmio_vdev_ops = { .kind = "test", .activate = mmio_activate,
					       .reset = mmio_nothing, .free = mmio_nothing };

/* The guest's handler, at the moment of the interrupt. */
static void mmio_handler(void *ctx)
{
	struct mmio_rig *mr = ctx;
	const uint32_t bits = (uint32_t)bus_read(mr->bus, MMIO_GPA + VIRTIO_MMIO_INTERRUPT_STATUS, 4);

	mr->injected++;
	mr->missing += (bits & mr->want) != mr->want;
}

static void mmio_rig_new(struct mmio_rig *mr, enum vmmio_irq irq)
{
	const struct vdev_cfg vc = { .ops = &mmio_vdev_ops, .name = "test0", .type = 4, .nr_queues = 1,
				     .queue_size = 16, .back_end = true };
	struct virtio_mmio_cfg tc = { .vdev = &mr->vdev, .gpa = MMIO_GPA, .spi = MMIO_SPI, .irq = irq };
	struct vdev_cfg cfg = vc;

	memset(mr, 0, sizeof(*mr));
	mr->rig = rig_new();
	ck_assert_int_eq(bus_new(&mr->bus), 0);
	ck_assert_int_eq(loop_new(&mr->loop), 0);
	ck_assert_int_eq(gmem_new(&mr->mem), 0);
	cfg.loop = mr->loop;
	cfg.mem = mr->mem;
	ck_assert_int_eq(vdev_init(&mr->vdev, &cfg), 0);
	tc.bus = mr->bus;
	tc.hyp = mr->rig.hyp;
	tc.space = mr->rig.space;
	ck_assert_int_eq(virtio_mmio_new(&tc, &mr->t), 0);
	fake_guest_mmio(&mr->guest, mr->bus, mr->rig.hyp, MMIO_GPA);
	fake_kvm_on_inject(mr->rig.hyp, mmio_handler, mr);
	prompt = mr->rig.hyp;
}

static void mmio_start(struct mmio_rig *mr)
{
	ck_assert(fake_guest_negotiate(&mr->guest, BIT64(VIRTIO_F_VERSION_1)));
	fake_guest_set_status(&mr->guest, 15);
	ck_assert_uint_eq(fake_guest_status(&mr->guest), 15);
}

static void mmio_rig_free(struct mmio_rig *mr)
{
	prompt = NULL;
	virtio_mmio_free(mr->t);
	vdev_fini(&mr->vdev);
	gmem_free(mr->mem);
	loop_free(mr->loop);
	bus_free(mr->bus);
	rig_free(&mr->rig);
}

static void mmio_ack(struct mmio_rig *mr)
{
	fake_guest_ack_isr(&mr->guest, 3);
	mr->want = 0;
}

/* What vhost does: it signals an eventfd and knows of no register. */
static void mmio_used(struct mmio_rig *mr)
{
	const uint64_t one = 1;

	mr->want |= VIRTIO_MMIO_INT_VRING;
	ck_assert_int_eq(write(mr->call_fd, &one, sizeof(one)), sizeof(one));
	fake_loop_turn(mr->loop);
}

START_TEST(test_v10_status_says_why_before_the_interrupt)
{
	struct mmio_rig mr;
	unsigned i;

	mmio_rig_new(&mr, _i ? VMMIO_DIRECT : VMMIO_HOP);
	mmio_start(&mr);
	for (i = 0; i < 10; i++) {
		mmio_used(&mr);
		mmio_ack(&mr);
		mr.want = VIRTIO_MMIO_INT_CONFIG;
		vdev_config_changed(&mr.vdev);
		/* Both at once: neither hides the other. */
		mmio_used(&mr);
		mmio_ack(&mr);
	}
	ck_assert_uint_eq(mr.injected, 30);
	ck_assert_msg(!mr.missing, "V10: %u interrupts without a reason", mr.missing);
	mmio_rig_free(&mr);
}
END_TEST

START_TEST(test_v11_reset_ends_a_life_mmio)
{
	struct mmio_rig mr;
	const uint64_t one = 1;
	unsigned before;
	int dead;

	mmio_rig_new(&mr, _i ? VMMIO_DIRECT : VMMIO_HOP);
	mmio_start(&mr);
	mmio_used(&mr);
	vdev_config_changed(&mr.vdev);
	dead = mr.call_fd;
	/* On its way, and the loop has not looked yet. */
	ck_assert_int_eq(write(dead, &one, sizeof(one)), sizeof(one));
	fake_guest_set_status(&mr.guest, 0);
	ck_assert_uint_eq(fake_guest_status(&mr.guest), 0);
	before = mr.injected;
	fake_loop_turn(mr.loop);
	ck_assert_msg(!fake_guest_isr(&mr.guest), "V11: InterruptStatus of the last life");
	mmio_start(&mr);
	fake_loop_turn(mr.loop);
	fake_kvm_pump(mr.rig.hyp);
	ck_assert_msg(mr.injected == before, "V11: an interrupt of the last life");
	ck_assert_msg(!(fake_guest_isr(&mr.guest) & VIRTIO_MMIO_INT_CONFIG), "V11: InterruptStatus of the last life");
	mmio_used(&mr);
	ck_assert_uint_eq(mr.injected, before + 1);
	mmio_rig_free(&mr);
}
END_TEST

START_TEST(test_v11_reset_ends_a_life_msix)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	unsigned turn;

	for (turn = 0; turn < 10; turn++) {
		/* One is pending by a mask, one in flight, and both are signalled late as well. */
		set_mask(m, 0, true);
		msix_raise(m, 0);
		msix_raise(m, 1);
		fake_kvm_pump(r.hyp);
		ck_assert_uint_eq(fake_kvm_injected(r.hyp), turn * 3 + 1);
		msix_unbind_all(m);
		settle(m);
		msix_raise(m, 0);
		msix_raise(m, 1);
		ck_assert_msg(msix_pba_read(m, 0, 8) == 0, "V11: pending bit");
		set_vector(m, 0, 0);
		set_vector(m, 1, 1);
		ck_assert_msg(msix_pba_read(m, 0, 8) == 0, "V11: pending bit");
		set_mask(m, 0, false);
		fake_kvm_pump(r.hyp);
		ck_assert_msg(fake_kvm_injected(r.hyp) == turn * 3 + 1, "V11: an interrupt of the last life");
		msix_raise(m, 0);
		msix_raise(m, 1);
		ck_assert_uint_eq(fake_kvm_pump(r.hyp), 2);
	}
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* Whatever is broken in the code above, somebody who looks on while it works has to say so. */

static void says(void *ctx, const char *sentence)
{
	(void)ctx;
	ck_abort_msg("%s", sentence);
}

static struct rig watched_rig(void)
{
	struct rig r = { .hyp = fake_kvm_new(), .fds = open_fds() };

	r.space = fake_gsi_space(r.hyp);
	rig_look_on(&r, says);
	return r;
}

/* A space that is not started, or one whose ITS wants no device ids. */
static void watched_first_commit(bool start, bool need_devid)
{
	const struct gsi_cfg cfg = { .nr_spis = 32, .max_routes = 4096, .model = MSI_ITS,
				     .doorbell = FAKE_ITS_BASE, .doorbell_size = FAKE_ITS_SIZE, .need_devid = need_devid };
	struct rig r = { .hyp = fake_kvm_new() };
	struct msi_route *route;

	fake_kvm_init(r.hyp, 32);
	ck_assert_int_eq(gsi_space_new(&cfg, r.hyp, &r.space), 0);
	rig_look_on(&r, says);
	if (start)
		ck_assert_int_eq(gsi_space_start(r.space), 0);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &route), 0);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 1), 0);
	gsi_commit(r.space);
	irq_check_free(r.check);
	gsi_space_free(r.space);
	hyp_free(r.hyp);
}

/* Writes without asserts of their own: here somebody else has to notice. */
static void watched_sync(struct msix *m)
{
	(void)msix_sync(m);
	(void)msix_sync(m);
}

static void watched_masks(struct msix *m)
{
	for (unsigned how = 0; how < 4; how++) {
		switch (how) {
		case 0:
			msix_table_write(m, 12, 4, 1);
			break;
		case 1:
			msix_ctrl_write(m, CTRL_ENABLE | CTRL_MASKALL);
			break;
		case 2:
			msix_set_bus_master(m, false);
			break;
		default:
			msix_ctrl_write(m, 0);
			break;
		}
		watched_sync(m);
		msix_table_write(m, 12, 4, 0);
		msix_ctrl_write(m, CTRL_ENABLE);
		msix_set_bus_master(m, true);
		watched_sync(m);
	}
}

/* Other messages, none, and a commit that fails in between. */
static void watched_messages(struct rig *r, struct msix *m)
{
	struct msi_route *other, *never;
	struct irqfd f;

	ck_assert_int_eq(irqfd_init(&f, r->space), 0);
	ck_assert_int_eq(msi_route_new(r->space, RIG_DEVID, "never", &never), 0);
	(void)irqfd_attach(&f, msi_route_gsi(never));
	for (unsigned i = 0; i < 6; i++) {
		msix_table_write(m, 0, 4, i & 1 ? 0 : FAKE_TRANSLATER);
		msix_table_write(m, 8, 4, 100 + i);
		msix_table_write(m, 24, 4, i == 4 ? 0x10001 : 1);
		ck_assert_int_eq(msi_route_new(r->space, RIG_DEVID, "other", &other), 0);
		(void)msi_route_stage(other, FAKE_TRANSLATER, 200 + i);
		gsi_commit(r->space);
		gsi_commit(r->space);
		if (i == 2)
			fake_kvm_fail(r->hyp, FAKE_SET_ROUTES, 1, -ENOMEM);
		watched_sync(m);
		msi_route_free(other);
		gsi_commit(r->space);
	}
	/* Who forgets to detach. */
	(void)msi_route_stage(never, FAKE_TRANSLATER, 1);
	gsi_commit(r->space);
	(void)irqfd_attach(&f, msi_route_gsi(never));
	(void)msi_route_stage(never, 0, 0);
	ck_assert_int_eq(msi_route_new(r->space, RIG_DEVID, "other", &other), 0);
	(void)msi_route_stage(other, FAKE_TRANSLATER, 1);
	gsi_commit(r->space);
	irqfd_fini(&f);
	msi_route_free(never);
	msi_route_free(other);
}

START_TEST(test_check_sees_what_is_broken_msix)
{
	struct rig r = watched_rig();
	struct msix *m = msix_ready(&r);

	watched_first_commit(false, true);
	watched_first_commit(true, false);
	watched_masks(m);
	watched_messages(&r, m);
	msix_unbind_all(m);
	watched_sync(m);
	msix_check_reset(m);
	msix_free(m);
	gsi_commit(r.space);
	irq_check_end(r.space);
	irq_check_free(r.check);
	gsi_space_free(r.space);
	hyp_free(r.hyp);
}
END_TEST

START_TEST(test_check_sees_what_is_broken_mmio)
{
	const uint64_t one = 1;
	struct mmio_rig mr;

	mmio_rig_new(&mr, _i ? VMMIO_DIRECT : VMMIO_HOP);
	prompt = NULL;
	rig_look_away(&mr.rig);
	rig_look_on(&mr.rig, says);
	for (unsigned i = 0; i < 3; i++) {
		mmio_start(&mr);
		mmio_used(&mr);
		vdev_config_changed(&mr.vdev);
		ck_assert_int_eq(write(mr.call_fd, &one, sizeof(one)), sizeof(one));
		fake_guest_set_status(&mr.guest, 0);
		fake_loop_turn(mr.loop);
	}
	mmio_rig_free(&mr);
}
END_TEST

/* A case each, so that one of them can be run alone (CK_RUN_CASE=V5). */
static TCase *add_case(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return t;
}

int main(void)
{
	Suite *s = suite_create("irq_invariants");
	TCase *v11, *check;

	tcase_add_test(add_case(s, "V1"), test_v1_every_table_has_every_spi);
	tcase_add_loop_test(add_case(s, "V2"), test_v2_devid_flag_and_devid, 0, 2);
	tcase_add_test(add_case(s, "V3"), test_v3_no_irqfd_without_route);
	tcase_add_test(add_case(s, "V4"), test_v4_no_table_without_change);
	tcase_add_loop_test(add_case(s, "V5"), test_v5_masked_injects_nothing, 0, 5);
	/* Not by ENABLE: what is signalled while it is clear goes nowhere. */
	tcase_add_loop_test(add_case(s, "V6"), test_v6_exactly_one_after_unmask, 0, 4);
	tcase_add_test(add_case(s, "V7"), test_v7_all_freed);
	tcase_add_loop_test(add_case(s, "V8"), test_v8_any_guest_writes, 0, 16);
	tcase_add_test(add_case(s, "V9"), test_v9_failed_commit_keeps_kernel_and_shadow_equal);
	tcase_add_loop_test(add_case(s, "V10"), test_v10_status_says_why_before_the_interrupt, 0, 2);
	v11 = add_case(s, "V11");
	tcase_add_loop_test(v11, test_v11_reset_ends_a_life_mmio, 0, 2);
	tcase_add_test(v11, test_v11_reset_ends_a_life_msix);
	check = add_case(s, "CHECK");
	tcase_add_test(check, test_check_sees_what_is_broken_msix);
	tcase_add_loop_test(check, test_check_sees_what_is_broken_mmio, 0, 2);
	return run_suite(s);
}
