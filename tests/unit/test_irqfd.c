// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/irqfd.h"

#include <errno.h>
#include <pthread.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/irq_check.h"

static struct irqfd make(struct rig *r)
{
	struct irqfd f;

	ck_assert_int_eq(irqfd_init(&f, r->space), 0);
	return f;
}

static struct msi_route *live_route(struct rig *r, uint32_t data)
{
	struct msi_route *route;

	ck_assert_int_eq(msi_route_new(r->space, RIG_DEVID, "x", &route), 0);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, data), 0);
	ck_assert_int_eq(gsi_commit(r->space), 0);
	return route;
}

START_TEST(test_irqfd_attached_signal_injects)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);

	ck_assert_int_eq(irqfd_attach(&f, 5), 0);
	ck_assert_int_eq(irqfd_attach(&f, 5), 0);
	ck_assert_uint_eq(fake_kvm_count(r.hyp, FAKE_IRQFD_ATTACH), 1);
	irqfd_raise(&f);
	ck_assert_uint_eq(fake_kvm_pump(r.hyp), 1);
	irqfd_raise(&f);
	irqfd_raise(&f);
	ck_assert_uint_eq(fake_kvm_pump(r.hyp), 1);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 5), 2);
	irq_check(&r);
	irqfd_fini(&f);
	ck_assert_int_eq(f.fd, -1);
	rig_free(&r);
}
END_TEST

/* Whoever was lent it has cleared O_NONBLOCK, and took the signal. */
START_TEST(test_irqfd_that_waits_holds_nobody_up)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);

	ck_assert_int_eq(fcntl(f.fd, F_SETFL, O_RDWR), 0);
	ck_assert(!irqfd_take(&f));
	irqfd_raise(&f);
	ck_assert(irqfd_take(&f));
	ck_assert(!irqfd_take(&f));
	irqfd_fini(&f);
	rig_free(&r);
}
END_TEST

START_TEST(test_irqfd_detached_signal_waits)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);

	ck_assert(!irqfd_pending(&f));
	ck_assert(!irqfd_take(&f));
	irqfd_raise(&f);
	ck_assert_uint_eq(fake_kvm_pump(r.hyp), 0);
	ck_assert(irqfd_pending(&f));
	ck_assert(irqfd_pending(&f));
	ck_assert(irqfd_take(&f));
	ck_assert(!irqfd_take(&f));
	ck_assert(!irqfd_pending(&f));
	irqfd_detach(&f);
	ck_assert_uint_eq(fake_kvm_count(r.hyp, FAKE_IRQFD_DETACH), 0);
	irqfd_fini(&f);
	rig_free(&r);
}
END_TEST

/* Many signals before an attach are one interrupt */
START_TEST(test_irqfd_attach_with_count_injects_once)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);
	unsigned i;

	for (i = 0; i < 5; i++)
		irqfd_raise(&f);
	ck_assert_int_eq(irqfd_attach(&f, 7), 0);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 7), 1);
	ck_assert_uint_eq(fake_kvm_pump(r.hyp), 0);
	irqfd_detach(&f);
	ck_assert(!irqfd_pending(&f));
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 7), 1);
	/* With a signal on top of the count: one more. */
	irqfd_raise(&f);
	ck_assert_int_eq(irqfd_attach(&f, 7), 0);
	irqfd_raise(&f);
	irqfd_detach(&f);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 7), 3);
	ck_assert(!irqfd_pending(&f));
	irqfd_fini(&f);
	rig_free(&r);
}
END_TEST

START_TEST(test_irqfd_moves)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);
	uint32_t gsi = 0;

	ck_assert_int_eq(irqfd_attach(&f, 1), 0);
	irqfd_raise(&f);
	ck_assert_int_eq(irqfd_attach(&f, 2), 0);
	ck_assert(fake_kvm_attached(r.hyp, f.fd, &gsi));
	ck_assert_uint_eq(gsi, 2);
	irqfd_raise(&f);
	fake_kvm_pump(r.hyp);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 1), 1);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 2), 1);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 1);
	irqfd_fini(&f);
	rig_free(&r);
}
END_TEST

START_TEST(test_irqfd_two_on_one_gsi_and_one_on_two)
{
	struct rig r = rig_new();
	struct irqfd a = make(&r), b = make(&r);
	struct irqfd again = a;

	rig_look_away(&r); /* "again" is not to be attached, and is tried */
	ck_assert_int_eq(irqfd_attach(&a, 3), 0);
	ck_assert_int_eq(irqfd_attach(&b, 3), 0);
	irqfd_raise(&a);
	irqfd_raise(&b);
	ck_assert_uint_eq(fake_kvm_pump(r.hyp), 2);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 3), 2);
	/* The same eventfd under another descriptor. */
	again.attached = false;
	again.fd = dup(a.fd);
	ck_assert_int_eq(irqfd_attach(&again, 4), -EBUSY);
	ck_assert(!again.attached);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 2);
	irqfd_fini(&again);
	irq_check(&r);
	irqfd_fini(&a);
	irqfd_fini(&b);
	rig_free(&r);
}
END_TEST

/* The kernel would take any of them */
START_TEST(test_irqfd_dead_gsi_refused)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);
	struct msi_route *route;

	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &route), 0);
	ck_assert_int_eq(irqfd_attach(&f, msi_route_gsi(route)), -EINVAL);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 1), 0);
	ck_assert_int_eq(irqfd_attach(&f, msi_route_gsi(route)), -EINVAL);
	ck_assert_int_eq(irqfd_attach(&f, 0xffffffea), -EINVAL);
	ck_assert_uint_eq(fake_kvm_count(r.hyp, FAKE_IRQFD_ATTACH), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_int_eq(irqfd_attach(&f, msi_route_gsi(route)), 0);
	irqfd_raise(&f);
	fake_kvm_pump(r.hyp);
	ck_assert_uint_eq(fake_kvm_msis(r.hyp, RIG_DEVID, 1), 1);
	irqfd_fini(&f);
	msi_route_free(route);
	rig_free(&r);
}
END_TEST

START_TEST(test_irqfd_before_start_again)
{
	const struct gsi_cfg cfg = { .nr_spis = 32, .max_routes = 4096, .model = MSI_NONE };
	struct hyp *h = fake_kvm_new();
	struct gsi_space *s;
	struct irqfd f;

	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), 0);
	ck_assert_int_eq(irqfd_init(&f, s), 0);
	ck_assert_int_eq(irqfd_attach(&f, 1), -EAGAIN);
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_IRQFD_ATTACH), 0);
	irqfd_fini(&f);
	gsi_space_free(s);
	hyp_free(h);
}
END_TEST

START_TEST(test_irqfd_failed_attach_holds_nothing)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);

	fake_kvm_fail(r.hyp, FAKE_IRQFD_ATTACH, 2, -ENOMEM);
	ck_assert_int_eq(irqfd_attach(&f, 1), 0);
	ck_assert_int_eq(irqfd_attach(&f, 2), -ENOMEM);
	ck_assert(!f.attached);
	irq_check(&r);
	irqfd_raise(&f);
	ck_assert_int_eq(irqfd_attach(&f, 2), 0);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 2), 1);
	irqfd_fini(&f);
	rig_free(&r);
}
END_TEST

START_TEST(test_irqfd_init_without_descriptors_emfile)
{
	struct famine famine;
	struct irqfd f;

	famine_begin(&famine, 0);
	ck_assert_int_eq(irqfd_init(&f, NULL), -EMFILE);
	famine_end(&famine);
}
END_TEST

START_TEST(test_irqfd_raise_when_full_returns)
{
	const uint64_t most = UINT64_MAX - 1;
	struct rig r = rig_new();
	struct irqfd f = make(&r);

	ck_assert_int_eq(write(f.fd, &most, sizeof(most)), sizeof(most));
	irqfd_raise(&f);
	ck_assert(irqfd_take(&f));
	irqfd_fini(&f);
	rig_free(&r);
}
END_TEST

START_TEST(test_irqfd_take_while_attached_asserts)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);

	ck_assert_int_eq(irqfd_attach(&f, 1), 0);
	irqfd_take(&f);
}
END_TEST

START_TEST(test_irqfd_pending_while_attached_asserts)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);

	ck_assert_int_eq(irqfd_attach(&f, 1), 0);
	irqfd_pending(&f);
}
END_TEST

/* Storms */

struct storm {
	const struct irqfd *f;
	atomic_bool stop;
	pthread_t thread;
};

static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	struct irqfd f = { .fd = s->f->fd };

	while (!atomic_load(&s->stop))
		irqfd_raise(&f);
	return NULL;
}

static void storm_start(struct storm *s, const struct irqfd *f)
{
	s->f = f;
	atomic_init(&s->stop, false);
	ck_assert_int_eq(pthread_create(&s->thread, NULL, storm_thread, s), 0);
}

static void storm_stop(struct storm *s)
{
	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
}

/* The route of a live vector goes to and fro; each signal yields one or the other, none is lost */
START_TEST(test_irqfd_retarget_under_storm_loses_nothing)
{
	struct rig r = rig_new();
	struct msi_route *route = live_route(&r, 1);
	struct irqfd f = make(&r);
	struct storm storm;
	uint64_t before;
	unsigned i;

	ck_assert_int_eq(irqfd_attach(&f, msi_route_gsi(route)), 0);
	fake_kvm_start_thread(r.hyp);
	storm_start(&storm, &f);
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, i & 1), 0);
		ck_assert_int_eq(gsi_commit(r.space), 0);
	}
	storm_stop(&storm);
	fake_kvm_stop_thread(r.hyp);
	fake_kvm_pump(r.hyp);
	before = fake_kvm_msis(r.hyp, RIG_DEVID, 1);
	irqfd_raise(&f);
	fake_kvm_pump(r.hyp);
	ck_assert_uint_eq(fake_kvm_msis(r.hyp, RIG_DEVID, 1), before + 1);
	ck_assert_uint_eq(fake_kvm_injected(r.hyp), fake_kvm_msis(r.hyp, RIG_DEVID, 0) + before + 1);
	irqfd_fini(&f);
	msi_route_free(route);
	rig_free(&r);
}
END_TEST

/* No interrupt follows the return of a detach, and the last signal is never lost */
START_TEST(test_irqfd_detach_under_storm_is_final)
{
	struct rig r = rig_new();
	struct irqfd f = make(&r);
	struct storm storm;
	uint64_t injected;
	unsigned i;

	fake_kvm_start_thread(r.hyp);
	storm_start(&storm, &f);
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(irqfd_attach(&f, 9), 0);
		irqfd_detach(&f);
		injected = fake_kvm_spis(r.hyp, 9);
		if (i % 16 == 0)
			usleep(100);
		ck_assert_uint_eq(fake_kvm_spis(r.hyp, 9), injected);
	}
	storm_stop(&storm);
	irqfd_raise(&f);
	ck_assert(irqfd_pending(&f));
	injected = fake_kvm_spis(r.hyp, 9);
	ck_assert_int_eq(irqfd_attach(&f, 9), 0);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 9), injected + 1);
	fake_kvm_stop_thread(r.hyp);
	irqfd_fini(&f);
	rig_free(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("irqfd");
	TCase *t = tcase_create("irqfd");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_irqfd_attached_signal_injects);
	tcase_add_test(t, test_irqfd_detached_signal_waits);
	tcase_add_test(t, test_irqfd_that_waits_holds_nobody_up);
	tcase_add_test(t, test_irqfd_attach_with_count_injects_once);
	tcase_add_test(t, test_irqfd_moves);
	tcase_add_test(t, test_irqfd_two_on_one_gsi_and_one_on_two);
	tcase_add_test(t, test_irqfd_dead_gsi_refused);
	tcase_add_test(t, test_irqfd_before_start_again);
	tcase_add_test(t, test_irqfd_failed_attach_holds_nothing);
	tcase_add_test(t, test_irqfd_init_without_descriptors_emfile);
	tcase_add_test(t, test_irqfd_raise_when_full_returns);
	tcase_add_test_raise_signal(t, test_irqfd_take_while_attached_asserts, SIGABRT);
	tcase_add_test_raise_signal(t, test_irqfd_pending_while_attached_asserts, SIGABRT);
	tcase_add_test(t, test_irqfd_retarget_under_storm_loses_nothing);
	tcase_add_test(t, test_irqfd_detach_under_storm_is_final);
	suite_add_tcase(s, t);
	return run_suite(s);
}
