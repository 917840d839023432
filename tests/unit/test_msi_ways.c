// SPDX-License-Identifier: BSD-3-Clause
/*
 * The ways of a message (gsi.h): by a route, by the SPI that it names, by KVM_SIGNAL_MSI; and
 * the modes of the table that lead to them. What holds on all of them, whatever a guest does,
 * is asked by V8 in test_irq_invariants.c.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/msix_driver.h"
#include "vmm/core/line.h"

static const struct {
	enum msi_model model;
	enum gsi_mode mode;
	enum msi_way way;
} ways[] = {
	{ MSI_ITS, GSI_AUTO, MSI_BY_ROUTE },   { MSI_ITS, GSI_EXPLICIT, MSI_BY_ROUTE },
	{ MSI_ITS, GSI_FLAT, MSI_BY_SIGNAL },  { MSI_V2M, GSI_AUTO, MSI_BY_SPI },
	{ MSI_V2M, GSI_EXPLICIT, MSI_BY_SPI }, { MSI_V2M, GSI_FLAT, MSI_BY_SPI },
};
#define NR_WAYS ((int)ARRAY_LEN(ways))

/* A rig of @i, its first message, and how often message @n arrived. */
static struct rig rig_way(int i)
{
	return rig_of(ways[i].model, ways[i].mode);
}

static uint64_t addr_of(int i)
{
	return ways[i].model == MSI_V2M ? FAKE_SETSPI : FAKE_TRANSLATER;
}

static uint32_t data_of(int i)
{
	return ways[i].model == MSI_V2M ? FAKE_V2M_INTID : 0;
}

static uint64_t arrived(struct rig *r, int i, unsigned n)
{
	rig_deliver(r);
	return ways[i].model == MSI_V2M ? fake_kvm_spis(r->hyp, FAKE_V2M_SPI + n) :
					  fake_kvm_msis(r->hyp, RIG_DEVID, n);
}

static void check_tables(const struct rig *r, int i, unsigned routed)
{
	static const unsigned first[] = { [GSI_AUTO] = 0, [GSI_EXPLICIT] = 1, [GSI_FLAT] = 0 };

	if (ways[i].way != MSI_BY_ROUTE)
		routed = 0;
	ck_assert_uint_eq(rig_tables(r), first[ways[i].mode] + routed);
}

START_TEST(test_msi_way_follows_model_and_mode)
{
	struct rig r = rig_way(_i);

	ck_assert_int_eq(gsi_msi_way(r.space), ways[_i].way);
	check_tables(&r, _i, 0);
	irq_check(&r);
	rig_free(&r);
}
END_TEST

START_TEST(test_msi_way_none_without_a_model)
{
	for (int mode = GSI_AUTO; mode <= GSI_FLAT; mode++) {
		struct rig r = rig_of(MSI_NONE, (enum gsi_mode)mode);

		ck_assert_int_eq(gsi_msi_way(r.space), MSI_BY_NOTHING);
		ck_assert_uint_eq(rig_tables(&r), mode == GSI_EXPLICIT);
		rig_free(&r);
	}
}
END_TEST

START_TEST(test_msi_frame_outside_the_spis_refused)
{
	struct gsi_cfg cfg = { .nr_spis = 64, .max_routes = 4096, .model = MSI_V2M, .doorbell = FAKE_V2M_BASE,
			       .doorbell_size = V2M_FRAME_SIZE, .v2m_spi = 32, .v2m_count = 33 };
	struct hyp *h = fake_kvm_new();
	struct gsi_space *s;

	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), -EINVAL);
	cfg.v2m_spi = UINT32_MAX;
	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), -EINVAL);
	cfg.v2m_spi = 32;
	cfg.v2m_count = 0;
	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), -EINVAL);
	cfg.v2m_count = 32;
	cfg.doorbell_size = FAKE_ITS_SIZE;
	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), -EINVAL);
	hyp_free(h);
}
END_TEST

START_TEST(test_explicit_first_table_at_start_or_an_error)
{
	const struct gsi_cfg cfg = { .nr_spis = 32, .max_routes = 4096, .model = MSI_NONE, .mode = GSI_EXPLICIT };
	struct hyp *h = fake_kvm_new();
	struct gsi_space *s;

	ck_assert_int_eq(gsi_space_new(&cfg, h, &s), 0);
	ck_assert_int_eq(gsi_commit(s), -EAGAIN);
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_SET_ROUTES), 0);
	fake_kvm_init(h, 32);
	fake_kvm_fail(h, FAKE_SET_ROUTES, 1, -ENOMEM);
	ck_assert_int_eq(gsi_space_start(s), -ENOMEM);
	/* A commit retries, and then there is no reason any more. */
	ck_assert_int_eq(gsi_commit(s), 0);
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_SET_ROUTES), 2);
	ck_assert_int_eq(gsi_commit(s), 0);
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_SET_ROUTES), 2);
	ck_assert_uint_eq(fake_kvm_nr_routes(h), 32);
	ck_assert_ptr_null(fake_kvm_complaint(h));
	gsi_space_free(s);
	hyp_free(h);
}
END_TEST

START_TEST(test_msi_probe_delivers_and_costs_what_it_must)
{
	struct rig r = rig_way(_i);
	struct msix *m = msix_make(&r, 3, 3);

	linux_probe_at(m, 3, addr_of(_i), data_of(_i));
	check_tables(&r, _i, 1);
	for (unsigned n = 1; n < 4; n++) {
		msix_raise(m, 0);
		ck_assert_uint_eq(arrived(&r, _i, 1), n);
		msix_raise(m, 1);
		ck_assert_uint_eq(arrived(&r, _i, 2), n);
		msix_raise(m, 2);
		ck_assert_uint_eq(arrived(&r, _i, 0), n);
		irq_check(&r);
	}
	ck_assert_uint_eq(fake_kvm_injected(r.hyp), 9);
	ck_assert_uint_eq(fake_kvm_count(r.hyp, FAKE_SIGNAL_MSI), ways[_i].way == MSI_BY_SIGNAL ? 9 : 0);
	for (unsigned n = 0; n < 100; n++) {
		set_mask(m, n % 3, true);
		set_mask(m, n % 3, false);
	}
	linux_unbind(m, 3);
	ck_assert_uint_eq(rig_stats(&r).irqfds + rig_stats(&r).hops, 0);
	linux_probe_at(m, 3, addr_of(_i), data_of(_i));
	check_tables(&r, _i, 1);
	ck_assert_uint_eq(fake_kvm_injected(r.hyp), 9);
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* In front of the mask, and behind it: nothing after the masking call, exactly one after the unmask. */
START_TEST(test_msi_masked_waits_and_arrives_once)
{
	struct rig r = rig_way(_i);
	struct msix *m = msix_make(&r, 3, 3);
	uint64_t before;

	linux_probe_at(m, 3, addr_of(_i), data_of(_i));
	for (unsigned turn = 0; turn < 20; turn++) {
		before = arrived(&r, _i, 1);
		if (turn & 1)
			msix_raise(m, 0);
		set_mask(m, 1, true);
		before += (turn & 1) && ways[_i].way != MSI_BY_SIGNAL;
		ck_assert_uint_eq(arrived(&r, _i, 1), before);
		for (unsigned n = 0; n < turn % 3; n++)
			msix_raise(m, 0);
		ck_assert_uint_eq(arrived(&r, _i, 1), before);
		set_mask(m, 1, false);
		/* The loop had not taken the one in front of the mask: it waits with the others. */
		before += turn % 3 || ((turn & 1) && ways[_i].way == MSI_BY_SIGNAL);
		ck_assert_uint_eq(arrived(&r, _i, 1), before);
		irq_check(&r);
	}
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* A guest that writes another message into an unmasked vector: nothing goes to the old one any more. */
START_TEST(test_msi_reprogrammed_vector_moves)
{
	struct rig r = rig_way(_i);
	struct msix *m = msix_make(&r, 1, 1);
	uint32_t gsi = 0;

	linux_probe_at(m, 1, addr_of(_i), data_of(_i));
	for (unsigned n = 1; n < 12; n++) {
		msix_raise(m, 0);
		ck_assert_uint_eq(arrived(&r, _i, n - 1), 1);
		msix_table_write(m, 8, 4, data_of(_i) + n);
		ck_assert(msix_stale(m));
		ck_assert_int_eq(msix_sync(m), 0);
		if (ways[_i].way == MSI_BY_SPI) {
			ck_assert(fake_kvm_attached(r.hyp, msix_fd(m, 0), &gsi));
			ck_assert_uint_eq(gsi, FAKE_V2M_SPI + n);
		}
		irq_check(&r);
	}
	check_tables(&r, _i, 12);
	ck_assert_uint_eq(fake_kvm_injected(r.hyp), 11);
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* Messages that are no interrupt, or another device's: nothing is attached, and the signal waits. */
START_TEST(test_v2m_message_outside_the_frame_goes_nowhere)
{
	static const struct { uint64_t addr; uint32_t data; } bad[] = {
		{ FAKE_SETSPI, FAKE_V2M_INTID - 1 }, { FAKE_SETSPI, FAKE_V2M_INTID + FAKE_V2M_COUNT },
		{ FAKE_SETSPI, 0 }, { FAKE_SETSPI, 31 }, { FAKE_SETSPI, 32 }, { FAKE_SETSPI, FAKE_V2M_SPI },
		{ FAKE_SETSPI, 8192 }, { FAKE_SETSPI, UINT32_MAX }, { FAKE_SETSPI, FAKE_V2M_INTID + 0x10000 },
		{ FAKE_SETSPI, FAKE_V2M_INTID | 0x80000000 },
		{ FAKE_SETSPI + 4, FAKE_V2M_INTID }, { FAKE_SETSPI - 0x40, FAKE_V2M_INTID },
		{ FAKE_SETSPI + 0x100000000, FAKE_V2M_INTID }, { FAKE_TRANSLATER, FAKE_V2M_INTID },
		{ 0, FAKE_V2M_INTID }, { UINT64_MAX, FAKE_V2M_INTID },
	};
	struct rig r = rig_of(MSI_V2M, GSI_AUTO);
	struct msix *m = msix_make(&r, 1, 1);

	linux_probe_at(m, 1, FAKE_SETSPI, FAKE_V2M_INTID);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert(!gsi_msi_deliverable(r.space, RIG_DEVID, bad[i].addr, bad[i].data));
		set_message(m, 0, bad[i].addr, bad[i].data);
		ck_assert(!fake_kvm_attached(r.hyp, msix_fd(m, 0), NULL));
		msix_raise(m, 0);
		rig_deliver(&r);
		ck_assert_uint_eq(fake_kvm_injected(r.hyp), i);
		ck_assert_uint_eq(msix_pba_read(m, 0, 8), 1);
		set_message(m, 0, FAKE_SETSPI, FAKE_V2M_INTID);
		rig_deliver(&r);
		ck_assert_uint_eq(fake_kvm_injected(r.hyp), i + 1);
		irq_check(&r);
	}
	ck_assert_uint_eq(fake_kvm_spis(r.hyp, FAKE_V2M_SPI), ARRAY_LEN(bad));
	msix_free(m);
	rig_free(&r);
}
END_TEST

START_TEST(test_v2m_two_vectors_one_spi)
{
	struct rig r = rig_of(MSI_V2M, GSI_AUTO);
	struct msix *m = msix_make(&r, 2, 2);

	linux_probe_at(m, 2, FAKE_SETSPI, FAKE_V2M_INTID);
	set_message(m, 1, FAKE_SETSPI, FAKE_V2M_INTID);
	msix_raise(m, 0);
	ck_assert_uint_eq(arrived(&r, 3, 0), 1);
	msix_raise(m, 1);
	ck_assert_uint_eq(arrived(&r, 3, 0), 2);
	/* One goes, the other stays. */
	set_mask(m, 1, true);
	msix_raise(m, 0);
	msix_raise(m, 1);
	ck_assert_uint_eq(arrived(&r, 3, 0), 3);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 1);
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* Wherever there are messages, every SPI stays the GSI that it was, before and after the first table. */
START_TEST(test_msi_spi_irqfds_and_lines_across_the_first_table)
{
	struct rig r = rig_way(_i);
	struct msix *m = msix_make(&r, 3, 3);
	struct line level;
	struct irqfd edge;
	unsigned n = 0;

	line_init(&level, r.space, 1, "level");
	ck_assert_int_eq(irqfd_init(&edge, r.space), 0);
	ck_assert_int_eq(irqfd_attach(&edge, 5), 0);
	fake_kvm_start_thread(r.hyp);
	for (unsigned turn = 0; turn < 10; turn++) {
		irqfd_raise(&edge);
		linux_probe_at(m, 3, addr_of(_i), data_of(_i) + turn);
		line_set(&level, true);
		ck_assert(fake_kvm_spi_level(r.hyp, 1));
		linux_unbind(m, 3);
		line_set(&level, false);
		ck_assert(!fake_kvm_spi_level(r.hyp, 1));
		fake_kvm_pump(r.hyp);
		ck_assert_uint_eq(fake_kvm_spis(r.hyp, 5), ++n);
		irq_check(&r);
	}
	fake_kvm_stop_thread(r.hyp);
	irqfd_fini(&edge);
	msix_free(m);
	rig_free(&r);
}
END_TEST

START_TEST(test_signal_carries_message_and_device)
{
	struct rig r = rig_of(MSI_ITS, GSI_FLAT);
	struct msix *m = msix_make(&r, 3, 3);
	struct fake_call call;

	linux_probe(m, 3);
	fake_kvm_forget_calls(r.hyp);
	msix_raise(m, 1);
	rig_deliver(&r);
	ck_assert_uint_eq(fake_kvm_calls(r.hyp), 1);
	call = fake_kvm_call(r.hyp, 0);
	ck_assert_int_eq(call.op, FAKE_SIGNAL_MSI);
	ck_assert_int_eq(call.result, 1);
	ck_assert_uint_eq(call.value, FAKE_TRANSLATER);
	ck_assert_uint_eq(call.n, 2);
	ck_assert_uint_eq(fake_kvm_msis(r.hyp, RIG_DEVID, 2), 1);
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* What guests are told by these two calls needs no table: here it is empty. */
START_TEST(test_signal_and_lines_know_no_table)
{
	struct hyp *h = fake_kvm_new();

	fake_kvm_init(h, FAKE_NR_SPIS);
	ck_assert_int_eq(hyp_set_routes(h, NULL, 0), 0);
	ck_assert_int_eq(hyp_signal_msi(h, FAKE_TRANSLATER, 3, true, RIG_DEVID), 1);
	ck_assert_uint_eq(fake_kvm_msis(h, RIG_DEVID, 3), 1);
	ck_assert_int_eq(hyp_signal_msi(h, FAKE_TRANSLATER, 3, false, 0), -EINVAL);
	ck_assert_int_eq(hyp_signal_msi(h, FAKE_ITS_BASE - 4, 3, true, RIG_DEVID), -EINVAL);
	ck_assert_int_eq(hyp_irq_line(h, 7, true), 0);
	ck_assert(fake_kvm_spi_level(h, 7));
	fake_kvm_set_its(h, false);
	ck_assert_int_eq(hyp_signal_msi(h, FAKE_TRANSLATER, 3, true, RIG_DEVID), -ENODEV);
	hyp_free(h);
}
END_TEST

/* Counts of several signals are one interrupt, as with KVM's irqfds. */
START_TEST(test_signal_burst_is_one_interrupt)
{
	struct rig r = rig_of(MSI_ITS, GSI_FLAT);
	struct msix *m = msix_make(&r, 3, 3);

	linux_probe(m, 3);
	for (unsigned i = 0; i < 5; i++)
		msix_raise(m, 0);
	ck_assert_uint_eq(fake_loop_turn(r.loop), 1);
	ck_assert_uint_eq(fake_loop_turn(r.loop), 0);
	ck_assert_uint_eq(fake_kvm_injected(r.hyp), 1);
	msix_free(m);
	rig_free(&r);
}
END_TEST

/* The ITS is off, or the guest has not mapped the event: lost, counted, and no loop. */
START_TEST(test_signal_failed_is_counted_and_over)
{
	struct rig r = rig_of(MSI_ITS, GSI_FLAT);
	struct msix *m = msix_make(&r, 3, 3);

	linux_probe(m, 3);
	fake_kvm_fail(r.hyp, FAKE_SIGNAL_MSI, 1, -EBUSY);
	msix_raise(m, 0);
	ck_assert_uint_eq(fake_loop_turn(r.loop), 1);
	ck_assert_uint_eq(fake_loop_turn(r.loop), 0);
	ck_assert_uint_eq(rig_stats(&r).signals, 1);
	ck_assert_uint_eq(rig_stats(&r).failed_signals, 1);
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 1), 1);
	ck_assert_uint_eq(rig_stats(&r).signals, 2);
	ck_assert_uint_eq(rig_stats(&r).failed_signals, 1);
	msix_free(m);
	rig_free(&r);
}
END_TEST

START_TEST(test_signal_without_a_place_in_the_loop_refused)
{
	struct rig r = rig_of(MSI_ITS, GSI_FLAT);
	const struct msix_cfg cfg = { .space = r.space, .loop = r.loop, .name = "net0", .nvec = 3, .nsources = 3,
				      .devid = RIG_DEVID };
	struct msix *m = NULL;

	for (unsigned i = 0; i < 3; i++) {
		fake_loop_fail_init(r.loop, i, -ENOSPC);
		ck_assert_int_eq(msix_new(&cfg, &m), -ENOSPC);
		ck_assert_ptr_null(m);
	}
	rig_free(&r);
}
END_TEST

START_TEST(test_msi_holds_are_kept_apart)
{
	struct rig r = rig_way(_i);
	struct msi_route *route;
	struct irqfd f;

	ck_assert_int_eq(irqfd_init_msi(&f, r.space, r.loop), 0);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &route), 0);
	ck_assert_int_eq(irqfd_attach_msi(&f, route), -EINVAL);
	ck_assert_int_eq(msi_route_stage(route, addr_of(_i), data_of(_i)), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert(msi_route_live(route));
	ck_assert(!irqfd_at_msi(&f, route));
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(irqfd_attach_msi(&f, route), 0);
	ck_assert(irqfd_at_msi(&f, route));
	ck_assert_uint_eq(rig_stats(&r).hops, ways[_i].way == MSI_BY_SIGNAL);
	ck_assert_uint_eq(rig_stats(&r).irqfds, ways[_i].way != MSI_BY_SIGNAL);
	/* No GSI of its own, none to hold. */
	if (ways[_i].way != MSI_BY_ROUTE)
		ck_assert_int_eq(gsi_hold(r.space, FAKE_NR_SPIS), -EINVAL);
	if (ways[_i].way != MSI_BY_SIGNAL)
		ck_assert_int_eq(msi_route_hold(route), -EINVAL);
	irqfd_detach(&f);
	irqfd_detach(&f);
	ck_assert(!irqfd_at_msi(&f, route));
	ck_assert_uint_eq(rig_stats(&r).hops + rig_stats(&r).irqfds, 0);
	irqfd_raise(&f);
	rig_deliver(&r);
	ck_assert_uint_eq(fake_kvm_injected(r.hyp), 0);
	ck_assert(irqfd_take(&f));
	irqfd_fini(&f);
	msi_route_free(route);
	rig_free(&r);
}
END_TEST

static const char *dumped(const struct rig *r)
{
	static char text[4096];
	FILE *out = fmemopen(text, sizeof(text), "w");

	ck_assert_ptr_nonnull(out);
	gsi_dump(r->space, out);
	fclose(out);
	return text;
}

START_TEST(test_msi_dump_tells_the_way)
{
	static const char *const part[] = {
		[MSI_BY_ROUTE] = "-> ITS", [MSI_BY_SPI] = "GSI 32 -> SPI 32", [MSI_BY_SIGNAL] = "KVM_SIGNAL_MSI",
	};
	struct rig r = rig_way(_i);
	struct msix *m = msix_make(&r, 3, 3);

	linux_probe_at(m, 3, addr_of(_i), data_of(_i));
	ck_assert_msg(strstr(dumped(&r), part[ways[_i].way]), "no '%s' in:\n%s", part[ways[_i].way], dumped(&r));
	msix_free(m);
	rig_free(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("msi_ways");
	TCase *t = tcase_create("msi_ways");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_msi_way_follows_model_and_mode, 0, NR_WAYS);
	tcase_add_test(t, test_msi_way_none_without_a_model);
	tcase_add_test(t, test_msi_frame_outside_the_spis_refused);
	tcase_add_test(t, test_explicit_first_table_at_start_or_an_error);
	tcase_add_loop_test(t, test_msi_probe_delivers_and_costs_what_it_must, 0, NR_WAYS);
	tcase_add_loop_test(t, test_msi_masked_waits_and_arrives_once, 0, NR_WAYS);
	tcase_add_loop_test(t, test_msi_reprogrammed_vector_moves, 0, NR_WAYS);
	tcase_add_test(t, test_v2m_message_outside_the_frame_goes_nowhere);
	tcase_add_test(t, test_v2m_two_vectors_one_spi);
	tcase_add_loop_test(t, test_msi_spi_irqfds_and_lines_across_the_first_table, 0, NR_WAYS);
	tcase_add_test(t, test_signal_carries_message_and_device);
	tcase_add_test(t, test_signal_and_lines_know_no_table);
	tcase_add_test(t, test_signal_burst_is_one_interrupt);
	tcase_add_test(t, test_signal_failed_is_counted_and_over);
	tcase_add_test(t, test_signal_without_a_place_in_the_loop_refused);
	tcase_add_loop_test(t, test_msi_holds_are_kept_apart, 0, NR_WAYS);
	tcase_add_loop_test(t, test_msi_dump_tells_the_way, 0, NR_WAYS);
	suite_add_tcase(s, t);
	return run_suite(s);
}
