// SPDX-License-Identifier: BSD-3-Clause
/*
 * Signals from two threads without end, while the guest masks, unmasks and rewrites the vectors
 * they go to, at one time and each alone. One thread floods its source. The other sends one signal at a time and waits until
 * it was injected, so that each single one is accounted for: none may be lost, whatever happens to
 * its vector meanwhile. And none may be injected once the call that masks has returned.
 *
 * STORM in the environment is the number of masks; 'make unit-storm' sets the full one, a million, and ten
 * thousand new messages between them.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/unit/msix_driver.h"
#include "vmm/base/clock.h"

#define MASKS 10000
#define RETARGETS 10000
#define MASKS_A_RETARGET 99 /* no multiple of the ways to mask, nor of the vectors */
#define LOST_NS (20 * NS_PER_SEC) /* that long nobody waits for an interrupt that comes */

/* Vector n sends event n or n + EVENTS; source n is its own. */
#define FLOODED 0
#define COUNTED 1
#define EVENTS 2

struct storm {
	struct rig r;
	struct msix *m;
	pthread_t flood, count;
	atomic_bool stop;
	atomic_uint flooded, counted;
	atomic_bool lost;
};

static uint64_t arrived(struct storm *s, unsigned vector)
{
	return fake_kvm_msis(s->r.hyp, RIG_DEVID, vector) + fake_kvm_msis(s->r.hyp, RIG_DEVID, vector + EVENTS);
}

static void *flood(void *arg)
{
	struct storm *s = arg;

	while (!atomic_load(&s->stop)) {
		msix_raise(s->m, FLOODED);
		atomic_fetch_add(&s->flooded, 1);
	}
	return NULL;
}

static bool arrives(struct storm *s, uint64_t before)
{
	const uint64_t end = clock_now_ns() + LOST_NS;

	while (arrived(s, COUNTED) == before) {
		if (clock_now_ns() > end)
			return false;
		sched_yield();
	}
	return true;
}

static void *count(void *arg)
{
	struct storm *s = arg;

	while (!atomic_load(&s->stop) && !atomic_load(&s->lost)) {
		uint64_t before = arrived(s, COUNTED);

		msix_raise(s->m, COUNTED);
		if (!arrives(s, before))
			atomic_store(&s->lost, true);
		atomic_fetch_add(&s->counted, 1);
	}
	return NULL;
}

static void storm_begin(struct storm *s)
{
	memset(s, 0, sizeof(*s));
	s->r = rig_new();
	s->m = msix_ready(&s->r);
	fake_kvm_start_thread(s->r.hyp);
	ck_assert_int_eq(pthread_create(&s->flood, NULL, flood, s), 0);
	ck_assert_int_eq(pthread_create(&s->count, NULL, count, s), 0);
}

static void storm_end(struct storm *s)
{
	uint64_t flooded;

	atomic_store(&s->stop, true);
	pthread_join(s->flood, NULL);
	pthread_join(s->count, NULL);
	fake_kvm_stop_thread(s->r.hyp);
	ck_assert_msg(!atomic_load(&s->lost), "signal %u was lost", atomic_load(&s->counted));
	ck_assert_uint_gt(atomic_load(&s->flooded), 0);
	/* Signals may melt into one; none comes from nowhere, and the last is as good as the first. */
	ck_assert_uint_eq(arrived(s, COUNTED), atomic_load(&s->counted));
	fake_kvm_pump(s->r.hyp);
	flooded = arrived(s, FLOODED);
	ck_assert_uint_le(flooded, atomic_load(&s->flooded));
	msix_raise(s->m, FLOODED);
	fake_kvm_pump(s->r.hyp);
	ck_assert_uint_eq(arrived(s, FLOODED), flooded + 1);
	ck_assert_uint_eq(fake_kvm_lost(s->r.hyp), 0);
	msix_free(s->m);
	rig_free(&s->r);
}

/* How a guest masks; every one of them now and then. */
static void mask(struct storm *s, unsigned turn, bool masked)
{
	switch (turn % 8) {
	case 0:
		set_ctrl(s->m, CTRL_ENABLE | (masked ? CTRL_MASKALL : 0));
		break;
	case 1:
		msix_set_bus_master(s->m, !masked);
		settle(s->m);
		break;
	default:
		set_mask(s->m, turn & 1, masked);
		break;
	}
}

/* The guest writes the vector's other message. @nth such write: vectors take turns. */
static void retarget(struct storm *s, unsigned nth)
{
	const unsigned vector = nth & 1;

	msix_table_write(s->m, vector * 16 + 8, 4, vector + (nth >> 1 & 1 ? 0 : EVENTS));
	settle(s->m);
}

static unsigned masks_wanted(void)
{
	const char *n = getenv("STORM");

	return n ? (unsigned)strtoul(n, NULL, 10) : MASKS;
}

START_TEST(test_irq_storm_masks)
{
	const unsigned turns = masks_wanted();
	unsigned turn, retargets = 0;
	struct storm s;

	storm_begin(&s);
	for (turn = 0; turn < turns; turn++) {
		const bool other_message = turn % MASKS_A_RETARGET == 0, while_masked = retargets >> 2 & 1;
		const unsigned vector = turn & 1;
		uint64_t before;

		if (other_message && !while_masked)
			retarget(&s, retargets);
		mask(&s, turn, true);
		before = arrived(&s, vector);
		if (other_message && while_masked)
			retarget(&s, retargets);
		retargets += other_message;
		msix_pba_read(s.m, 0, 8);
		if (turn % 64 == 0)
			sched_yield();
		ck_assert_msg(arrived(&s, vector) == before, "an interrupt after mask %u", turn);
		mask(&s, turn, false);
	}
	/* A table for each new message, and none for a mask. */
	ck_assert_uint_eq(rig_tables(&s.r), 1 + retargets);
	ck_assert_uint_ge(retargets, turns / 100);
	storm_end(&s);
}
END_TEST

/* The guest writes other messages into vectors that are in use. */
START_TEST(test_irq_storm_messages)
{
	struct storm s;
	unsigned turn;

	storm_begin(&s);
	for (turn = 0; turn < RETARGETS; turn++)
		retarget(&s, turn);
	ck_assert_uint_eq(rig_tables(&s.r), 1 + RETARGETS);
	storm_end(&s);
}
END_TEST

/* The same without a detach: the route changes under the attached irqfd. */
START_TEST(test_irq_storm_routes)
{
	struct storm s;
	struct msi_route *route;
	struct irqfd f;
	uint64_t before, sent = 0;
	unsigned turn;

	storm_begin(&s);
	ck_assert_int_eq(msi_route_new(s.r.space, RIG_DEVID + 1, "third", &route), 0);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 0), 0);
	ck_assert_int_eq(gsi_commit(s.r.space), 0);
	ck_assert_int_eq(irqfd_init(&f, s.r.space), 0);
	ck_assert_int_eq(irqfd_attach(&f, msi_route_gsi(route)), 0);
	for (turn = 1; turn <= RETARGETS; turn++) {
		irqfd_raise(&f);
		sent++;
		ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, turn & 1), 0);
		ck_assert_int_eq(gsi_commit(s.r.space), 0);
		/* Before a table is taken the last signal has gone by the old one. */
		before = fake_kvm_msis(s.r.hyp, RIG_DEVID + 1, 0) + fake_kvm_msis(s.r.hyp, RIG_DEVID + 1, 1);
		ck_assert_msg(before == sent, "of %u signals %u arrived", (unsigned)sent, (unsigned)before);
	}
	irqfd_fini(&f);
	msi_route_free(route);
	storm_end(&s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("irq_storm");
	TCase *t = tcase_create("irq_storm");

	tcase_set_timeout(t, 3600);
	tcase_add_test(t, test_irq_storm_masks);
	tcase_add_test(t, test_irq_storm_messages);
	tcase_add_test(t, test_irq_storm_routes);
	suite_add_tcase(s, t);
	return run_suite(s);
}
