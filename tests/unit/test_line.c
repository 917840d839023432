// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/line.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/irq_check.h"

START_TEST(test_line_follows_level_on_change_only)
{
	struct rig r = rig_new();
	struct line l;
	unsigned i;

	line_init(&l, r.space, 3, "uart");
	line_set(&l, false);
	ck_assert_uint_eq(fake_kvm_count(r.hyp, FAKE_IRQ_LINE), 0);
	for (i = 0; i < 10; i++) {
		line_set(&l, true);
		line_set(&l, true);
		ck_assert(fake_kvm_spi_level(r.hyp, 3));
		line_set(&l, false);
		line_set(&l, false);
		ck_assert(!fake_kvm_spi_level(r.hyp, 3));
	}
	ck_assert_uint_eq(fake_kvm_count(r.hyp, FAKE_IRQ_LINE), 20);
	rig_free(&r);
}
END_TEST

/* Lines do not go by the routing table. */
START_TEST(test_line_works_whatever_the_table)
{
	struct rig r = rig_new();
	struct line l;

	rig_look_away(&r);
	line_init(&l, r.space, 3, "uart");
	ck_assert_int_eq(hyp_set_routes(r.hyp, NULL, 0), 0);
	line_set(&l, true);
	ck_assert(fake_kvm_spi_level(r.hyp, 3));
	gsi_space_free(r.space);
	hyp_free(r.hyp);
}
END_TEST

struct toggler {
	struct line *l;
	bool level;
};

static void *toggle(void *arg)
{
	struct toggler *t = arg;
	unsigned i;

	for (i = 0; i < 2000; i++)
		line_set(t->l, (i & 1) == t->level);
	return NULL;
}

START_TEST(test_line_threads_wire_ends_as_wished)
{
	struct rig r = rig_new();
	struct toggler t[2];
	pthread_t thread[2];
	struct line l;
	unsigned i, round;

	line_init(&l, r.space, 3, "uart");
	for (round = 0; round < 5; round++) {
		for (i = 0; i < 2; i++) {
			t[i] = (struct toggler){ &l, i };
			ck_assert_int_eq(pthread_create(&thread[i], NULL, toggle, &t[i]), 0);
		}
		for (i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		ck_assert(fake_kvm_spi_level(r.hyp, 3) == atomic_load(&l.level));
	}
	rig_free(&r);
}
END_TEST

/* By KVM_IRQ_LINE, whatever the table says, and down again for a guest that took it for a level. */
START_TEST(test_edge_line_pulses)
{
	struct rig r = rig_new();
	struct edge_line l;

	edge_line_init(&l, r.space, 8, "net0");
	ck_assert_uint_eq(edge_line_gsi(&l), 8);
	edge_line_open(&l);
	edge_line_pulse(&l);
	edge_line_pulse(&l);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 8), 2);
	ck_assert(!fake_kvm_spi_level(r.hyp, 8));
	ck_assert_uint_eq(rig_tables(&r), 0);
	ck_assert_uint_eq(fake_kvm_count(r.hyp, FAKE_IRQFD_ATTACH), 0);
	irq_check(&r);
	rig_free(&r);
}
END_TEST

START_TEST(test_edge_line_shut_is_silent)
{
	struct rig r = rig_new();
	struct edge_line l;

	edge_line_init(&l, r.space, 8, "net0");
	edge_line_pulse(&l);
	edge_line_open(&l);
	edge_line_shut(&l);
	edge_line_pulse(&l);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 8), 0);
	edge_line_open(&l);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 8), 0);
	rig_free(&r);
}
END_TEST

START_TEST(test_edge_line_back_end_joins)
{
	struct rig r = rig_new();
	struct edge_line l;
	struct irqfd back_end;

	edge_line_init(&l, r.space, 8, "net0");
	ck_assert_int_eq(irqfd_init(&back_end, r.space), 0);
	edge_line_open(&l);
	ck_assert_int_eq(irqfd_attach(&back_end, edge_line_gsi(&l)), 0);
	irqfd_raise(&back_end);
	edge_line_pulse(&l);
	ck_assert_uint_eq(fake_kvm_pump(r.hyp), 1);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 8), 2);
	irqfd_fini(&back_end);
	rig_free(&r);
}
END_TEST

/* KVM gets the second eventfd; what was signalled while detached is forgotten. */
START_TEST(test_resample_line_attaches_with_its_eoi)
{
	struct rig r = rig_new();
	struct resample_line l;
	struct fake_call c;

	ck_assert_int_eq(resample_line_init(&l, r.space, 9, "vfio0"), 0);
	fake_kvm_forget_calls(r.hyp);
	ck_assert_int_eq(resample_line_attach(&l), 0);
	c = fake_kvm_call(r.hyp, 0);
	ck_assert_int_eq(c.op, FAKE_IRQFD_ATTACH);
	ck_assert_int_eq(c.fd, l.irqfd.fd);
	ck_assert_uint_eq(c.n, 9);
	ck_assert_int_eq(c.match, l.eoi_fd);
	irqfd_raise(&l.irqfd);
	fake_kvm_pump(r.hyp);
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, 9), 1);
	resample_line_detach(&l);
	irqfd_raise(&l.irqfd);
	resample_line_detach(&l);
	ck_assert(!irqfd_pending(&l.irqfd));
	resample_line_fini(&l);
	ck_assert_int_eq(l.eoi_fd, -1);
	rig_free(&r);
}
END_TEST

START_TEST(test_resample_line_errors)
{
	struct rig r = rig_new();
	struct resample_line l;
	struct famine famine;

	for (unsigned left = 0; left < 2; left++) {
		famine_begin(&famine, left);
		ck_assert_int_eq(resample_line_init(&l, r.space, 1, "x"), -EMFILE);
		famine_end(&famine);
	}
	rig_free(&r);
}
END_TEST

START_TEST(test_line_names_in_dump)
{
	struct rig r = rig_new();
	struct resample_line q;
	struct edge_line e;
	struct line l;
	char *text = NULL, want[160];
	size_t len = 0;
	unsigned i;
	FILE *f;

	line_init(&l, r.space, 1, "rtc");
	edge_line_init(&e, r.space, 2, "console0");
	edge_line_open(&e);
	ck_assert_int_eq(resample_line_init(&q, r.space, 4, "vfio0 intx"), 0);
	for (i = 0; i < 2001; i++)
		line_set(&l, !(i & 1));
	for (i = 0; i < 3; i++)
		edge_line_pulse(&e);
	irqfd_raise(&q.irqfd);
	f = open_memstream(&text, &len);
	gsi_dump(r.space, f);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "rtc -> KVM_IRQ_LINE -> SPI 1 (INTID 33), level, high, raised 1,001 times\n"));
	ck_assert_ptr_nonnull(strstr(text, "console0 -> KVM_IRQ_LINE -> SPI 2 (INTID 34), edge, 3 signals\n"));
	snprintf(want, sizeof(want), "vfio0 intx -> eventfd %d -> GSI 4 -> SPI 4 (INTID 36), level until its EOI, detached, 1 signal of ours, "
		 "others from the kernel, one waits\n", q.irqfd.fd);
	ck_assert_ptr_nonnull(strstr(text, want));
	free(text);
	resample_line_fini(&q);
	rig_free(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("line");
	TCase *t = tcase_create("line");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_line_follows_level_on_change_only);
	tcase_add_test(t, test_line_works_whatever_the_table);
	tcase_add_test(t, test_line_threads_wire_ends_as_wished);
	tcase_add_test(t, test_edge_line_pulses);
	tcase_add_test(t, test_edge_line_shut_is_silent);
	tcase_add_test(t, test_edge_line_back_end_joins);
	tcase_add_test(t, test_resample_line_attaches_with_its_eoi);
	tcase_add_test(t, test_resample_line_errors);
	tcase_add_test(t, test_line_names_in_dump);
	suite_add_tcase(s, t);
	return run_suite(s);
}
