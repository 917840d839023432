// SPDX-License-Identifier: BSD-3-Clause
/*
 * The rules of irq_rules.h, each with what holds and with seeded breakage; then the check as it
 * runs, on calls that go behind the interrupt code's back.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "tests/unit/msix_driver.h"
#include "vmm/base/obj.h"
#include "vmm/core/gsi_internal.h"
#include "vmm/core/irq_rules.h"
#include "vmm/core/line.h"

#define SPIS 8
#define ROUTES 16

static const struct gsi_cfg its = {
	.nr_spis = SPIS, .max_routes = ROUTES, .model = MSI_ITS, .doorbell = FAKE_ITS_BASE,
	.doorbell_size = FAKE_ITS_SIZE, .need_devid = true,
};
static const struct gsi_cfg v2m = {
	.nr_spis = SPIS, .max_routes = ROUTES, .model = MSI_V2M, .doorbell = 0x8020000,
	.doorbell_size = V2M_FRAME_SIZE, .v2m_spi = 4, .v2m_count = 4,
};

static struct irq_record rec;
static struct err why;

static void setup(void)
{
	ck_assert_int_eq(irq_record_new(&its, &rec), 0);
	rec.devids[rec.nr_devids++] = RIG_DEVID;
}

static void teardown(void)
{
	irq_record_free(&rec);
	irq_record_free(&rec);
}

/* Every SPI, and two messages. */
static unsigned good_table(struct hyp_route *t)
{
	unsigned n;

	for (n = 0; n < SPIS; n++)
		t[n] = (struct hyp_route){ .gsi = n, .kind = HYP_ROUTE_SPI, .pin = n };
	for (; n < SPIS + 2; n++)
		t[n] = (struct hyp_route){ .gsi = n, .kind = HYP_ROUTE_MSI, .addr = FAKE_TRANSLATER, .data = n,
					   .devid = RIG_DEVID, .valid_devid = true };
	return n;
}

static void expect(int ret, const char *rule)
{
	if (!rule) {
		ck_assert_msg(!ret, "%s", why.text);
		return;
	}
	ck_assert_int_eq(ret, -EPROTO);
	ck_assert_msg(!strncmp(why.text, rule, strlen(rule)) && why.text[strlen(rule)] == ':', "not %s: %s", rule,
		      why.text);
}

START_TEST(test_irq_rules_v1_tables)
{
	struct hyp_route t[ROUTES + 2];
	unsigned n = good_table(t);

	expect(irq_v1_table(&rec, t, n, &why), NULL);
	t[1].kind = HYP_ROUTE_NONE; /* not there */
	expect(irq_v1_table(&rec, t, n, &why), "V1");
	good_table(t);
	t[1].pin = 2;
	expect(irq_v1_table(&rec, t, n, &why), "V1");
	good_table(t);
	t[9].gsi = 8;
	expect(irq_v1_table(&rec, t, n, &why), "V1");
	good_table(t);
	t[9].gsi = ROUTES;
	expect(irq_v1_table(&rec, t, n, &why), "V1");
	good_table(t);
	t[3].kind = HYP_ROUTE_MSI;
	expect(irq_v1_table(&rec, t, n, &why), "V1");
	good_table(t);
	t[n] = (struct hyp_route){ .gsi = 12, .kind = HYP_ROUTE_SPI, .pin = 12 };
	expect(irq_v1_table(&rec, t, n + 1, &why), "V1");
	expect(irq_v1_table(&rec, t, 0, &why), "V1");
}
END_TEST

START_TEST(test_irq_rules_v2_messages)
{
	struct hyp_route t[ROUTES];
	unsigned n = good_table(t);

	expect(irq_v2_table(&rec, t, n, &why), NULL);
	t[8].valid_devid = false;
	expect(irq_v2_table(&rec, t, n, &why), "V2");
	good_table(t);
	t[9].devid = RIG_DEVID + 1;
	expect(irq_v2_table(&rec, t, n, &why), "V2");
	rec.nr_devids = 0; /* nobody said which there are */
	expect(irq_v2_table(&rec, t, n, &why), NULL);
	good_table(t);
	t[9].addr = FAKE_ITS_BASE;
	expect(irq_v2_table(&rec, t, n, &why), "V2");
	good_table(t);
	t[9].data = 0x10000;
	expect(irq_v2_table(&rec, t, n, &why), "V2");
	good_table(t);
	t[9].devid = 0x10000;
	expect(irq_v2_table(&rec, t, n, &why), "V2");
	good_table(t);
	rec.cfg = v2m;
	expect(irq_v2_table(&rec, t, n, &why), "V2");
	expect(irq_v2_table(&rec, t, SPIS, &why), NULL);
}
END_TEST

START_TEST(test_irq_rules_v3_attachments)
{
	struct hyp_route t[ROUTES];
	unsigned n = good_table(t);

	expect(irq_v3_attach(&rec, 20, 3, 0, &why), NULL);
	expect(irq_v3_attach(&rec, 20, 3, -EBUSY, &why), "V3");
	expect(irq_v3_attach(&rec, 20, 3, -EBADF, &why), "V3");
	expect(irq_v3_attach(&rec, 20, 3, -ENOMEM, &why), NULL);
	expect(irq_v3_attach(&rec, 20, 9, 0, &why), "V3");
	irq_record_table(&rec, t, n);
	expect(irq_v3_attach(&rec, 20, 9, 0, &why), NULL);
	ck_assert_int_eq(irq_record_attach(&rec, 20, 9), 0);
	expect(irq_v3_attach(&rec, 20, 8, 0, &why), "V3");
	expect(irq_v3_attach(&rec, 21, 9, 0, &why), NULL);
	expect(irq_v3_detach(&rec, 20, 9, 0, &why), NULL);
	expect(irq_v3_detach(&rec, 20, 8, 0, &why), "V3");
	expect(irq_v3_detach(&rec, 21, 9, 0, &why), "V3");
	expect(irq_v3_detach(&rec, 20, 9, -EBADF, &why), "V3");
	expect(irq_v3_table(&rec, &why), NULL);
	irq_record_table(&rec, t, n - 1);
	expect(irq_v3_table(&rec, &why), "V3");
	irq_record_detach(&rec, 20, 9);
	ck_assert_ptr_null(irq_record_find(&rec, 20));
	expect(irq_v3_table(&rec, &why), NULL);
}
END_TEST

START_TEST(test_irq_rules_v4_needless_tables)
{
	struct hyp_route t[ROUTES];
	unsigned n = good_table(t);

	expect(irq_v4_table(&rec, true, t, n, &why), NULL);
	expect(irq_v4_table(&rec, false, t, n, &why), "V4");
	/* The first may be what the kernel has: then it is the program's own. */
	expect(irq_v4_table(&rec, true, t, SPIS, &why), NULL);
	irq_record_table(&rec, t, n);
	expect(irq_v4_table(&rec, true, t, n, &why), "V4");
	expect(irq_v4_table(&rec, true, t, n - 1, &why), NULL);
	t[8].data++;
	expect(irq_v4_table(&rec, true, t, n, &why), NULL);
	rec.cfg.mode = GSI_FLAT;
	expect(irq_v4_table(&rec, true, t, n, &why), "V4");
}
END_TEST

/* A source that may deliver, by GSI 9. */
static struct irq_source good_source(void)
{
	return (struct irq_source){
		.device = "net0", .name = "rx0", .fd = 20, .bound = true, .enabled = true, .bus_master = true,
		.addr = FAKE_TRANSLATER, .data = 9, .devid = RIG_DEVID,
	};
}

/* What takes the right to deliver away. */
static void spoil(struct irq_source *src, int how)
{
	switch (how) {
	case 0:
		src->bound = false;
		break;
	case 1:
		src->enabled = false;
		break;
	case 2:
		src->function_masked = true;
		break;
	case 3:
		src->entry_masked = true;
		break;
	case 4:
		src->bus_master = false;
		break;
	case 5:
		src->addr += 4;
		break;
	default:
		src->data = 0x10000;
		break;
	}
}

START_TEST(test_irq_rules_v5_what_may_not_deliver)
{
	struct hyp_route t[ROUTES];
	unsigned n = good_table(t);
	struct irq_source src = good_source();

	irq_record_table(&rec, t, n);
	spoil(&src, _i);
	ck_assert(!irq_may_deliver(&rec.cfg, &src));
	expect(irq_v5_source(&rec, &src, &why), NULL);
	src.hopping = true;
	expect(irq_v5_source(&rec, &src, &why), "V5");
	src.hopping = false;
	ck_assert_int_eq(irq_record_attach(&rec, 20, 9), 0);
	expect(irq_v5_source(&rec, &src, &why), "V5");
	src = good_source();
	ck_assert(irq_may_deliver(&rec.cfg, &src));
	expect(irq_v5_source(&rec, &src, &why), NULL);
}
END_TEST

START_TEST(test_irq_rules_v5_hop_of_another_message)
{
	struct irq_source src = good_source();

	src.hopping = true;
	expect(irq_v5_source(&rec, &src, &why), NULL);
	src.strays = true;
	expect(irq_v5_source(&rec, &src, &why), "V5");
}
END_TEST

START_TEST(test_irq_rules_v5_another_message)
{
	struct hyp_route t[ROUTES];
	unsigned n = good_table(t);
	struct irq_source src = good_source();

	irq_record_table(&rec, t, n);
	ck_assert_int_eq(irq_record_attach(&rec, 20, 8), 0);
	expect(irq_v5_source(&rec, &src, &why), "V5");
	src.data = 8;
	expect(irq_v5_source(&rec, &src, &why), NULL);
	src.devid++;
	expect(irq_v5_source(&rec, &src, &why), "V5");
	/* GICv2m: the message names the SPI. */
	rec.cfg = v2m;
	irq_record_detach(&rec, 20, 8);
	ck_assert_int_eq(irq_record_attach(&rec, 20, 5), 0);
	src.addr = v2m.doorbell + V2M_MSI_SETSPI_NS;
	src.data = 32 + 5;
	expect(irq_v5_source(&rec, &src, &why), NULL);
	src.data = 32 + 6;
	expect(irq_v5_source(&rec, &src, &why), "V5");
	src.data = 32 + 3; /* another device's line */
	expect(irq_v5_source(&rec, &src, &why), "V5");
}
END_TEST

START_TEST(test_irq_rules_v6_what_may_deliver)
{
	struct hyp_route t[ROUTES];
	unsigned n = good_table(t);
	struct irq_source src = good_source();

	irq_record_table(&rec, t, n);
	expect(irq_v6_source(&rec, &src, &why), "V6");
	ck_assert_int_eq(irq_record_attach(&rec, 20, 9), 0);
	expect(irq_v6_source(&rec, &src, &why), NULL);
	src.pending = true;
	expect(irq_v6_source(&rec, &src, &why), "V6");
	src.entry_masked = true;
	expect(irq_v6_source(&rec, &src, &why), NULL);
}
END_TEST

START_TEST(test_irq_rules_v8_arguments)
{
	expect(irq_v8_table(&rec, ROUTES, &why), NULL);
	expect(irq_v8_table(&rec, ROUTES + 1, &why), "V8");
	expect(irq_v8_irqfd(&rec, 0, ROUTES - 1, &why), NULL);
	expect(irq_v8_irqfd(&rec, -1, 0, &why), "V8");
	expect(irq_v8_irqfd(&rec, 0, ROUTES, &why), "V8");
	expect(irq_v8_line(&rec, SPIS - 1, &why), NULL);
	expect(irq_v8_line(&rec, SPIS, &why), "V8");
}
END_TEST

START_TEST(test_irq_rules_v3_v7_v9_shadow)
{
	struct rig r = rig_new();
	struct msi_route *a, *b;
	struct hyp_route t[FAKE_NR_SPIS + 2];
	struct irq_record mine;
	unsigned n;

	rig_look_away(&r);
	ck_assert_int_eq(irq_record_new(&r.space->cfg, &mine), 0);
	expect(irq_v9_shadow(&mine, r.space, &why), NULL);
	expect(irq_v7_end(&mine, r.space, &why), NULL);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "net0 rx0", &a), 0);
	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "net0 tx0", &b), 0);
	expect(irq_v7_end(&mine, r.space, &why), "V7");
	ck_assert_int_eq(msi_route_stage(a, FAKE_TRANSLATER, 1), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	/* KVM has it, the record does not yet */
	expect(irq_v9_shadow(&mine, r.space, &why), "V9");
	for (n = 0; n < FAKE_NR_SPIS + 1; n++)
		t[n] = fake_kvm_route(r.hyp, n);
	irq_record_table(&mine, t, n);
	expect(irq_v9_shadow(&mine, r.space, &why), NULL);
	t[FAKE_NR_SPIS].data = 2;
	irq_record_table(&mine, t, n);
	expect(irq_v9_shadow(&mine, r.space, &why), "V9");
	t[FAKE_NR_SPIS].data = 1;
	t[n] = t[FAKE_NR_SPIS];
	t[n].gsi = FAKE_NR_SPIS + 1; /* b was never committed */
	irq_record_table(&mine, t, n + 1);
	expect(irq_v9_shadow(&mine, r.space, &why), "V9");
	t[n].gsi = FAKE_NR_SPIS + 2; /* nobody's */
	irq_record_table(&mine, t, n + 1);
	expect(irq_v9_shadow(&mine, r.space, &why), "V9");
	irq_record_table(&mine, t, n);

	expect(irq_v3_shadow(&mine, r.space, &why), NULL);
	ck_assert_int_eq(gsi_hold(r.space, msi_route_gsi(a)), 0);
	expect(irq_v3_shadow(&mine, r.space, &why), "V3");
	ck_assert_int_eq(irq_record_attach(&mine, 20, 3), 0); /* as many, elsewhere */
	expect(irq_v3_shadow(&mine, r.space, &why), "V3");
	mine.fds[0].gsi = msi_route_gsi(a);
	expect(irq_v3_shadow(&mine, r.space, &why), NULL);
	gsi_release(r.space, msi_route_gsi(a));

	msi_route_free(a);
	msi_route_free(b);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	expect(irq_v7_end(&mine, r.space, &why), "V7"); /* an irqfd */
	mine.nr_fds = 0;
	expect(irq_v7_end(&mine, r.space, &why), "V7"); /* a route */
	irq_record_table(&mine, t, FAKE_NR_SPIS);
	expect(irq_v7_end(&mine, r.space, &why), NULL);
	irq_record_free(&mine);
	rig_free(&r);
}
END_TEST

START_TEST(test_irq_rules_v10_v11)
{
	expect(irq_v10_pulse(1, 1, 3, &why), NULL);
	expect(irq_v10_pulse(5, 1, 3, &why), NULL);
	expect(irq_v10_pulse(0, 1, 3, &why), "V10");
	expect(irq_v10_direct("net0", 20, true, &why), NULL);
	expect(irq_v10_direct("net0", 20, false, &why), "V10");
	expect(irq_v11_silent(&rec, "net0", 20, false, &why), NULL);
	expect(irq_v11_silent(&rec, "net0", 20, true, &why), "V11");
	ck_assert_int_eq(irq_record_attach(&rec, 20, 3), 0);
	expect(irq_v11_silent(&rec, "net0", 20, false, &why), "V11");
	expect(irq_v11_status("net0", 0, &why), NULL);
	expect(irq_v11_status("net0", 1, &why), "V11");
}
END_TEST

/* The check as it runs */

static char said[256];
static unsigned times;

static void hear(void *ctx, const char *sentence)
{
	(void)ctx;
	snprintf(said, sizeof(said), "%s", sentence);
	times++;
}

static struct rig watched(void)
{
	struct rig r = { .hyp = fake_kvm_new(), .fds = open_fds() };

	r.space = fake_gsi_space(r.hyp);
	rig_look_on(&r, hear);
	times = 0;
	said[0] = '\0';
	return r;
}

/* @sentence, once, and it stays the verdict. */
static void heard(struct rig *r, const char *sentence)
{
	ck_assert_str_eq(said, sentence);
	ck_assert_uint_eq(times, 1);
	ck_assert_str_eq(irq_check_verdict(r->check), sentence);
	irq_check_end(r->space);
	ck_assert_uint_eq(times, 1);
	irq_check_free(r->check);
	hyp_free(r->hyp);
	obj_free(r->space); /* as it is: gsi_space_free() would not like what is in it */
}

START_TEST(test_irq_check_silent_on_a_sound_life)
{
	struct rig r = watched();
	struct msix *m = msix_make(&r, 5, 5);
	unsigned i;

	ck_assert(irq_check_on(r.space));
	for (i = 0; i < 20; i++) {
		linux_probe(m, 5);
		set_mask(m, 1, true);
		msix_raise(m, 0);
		set_mask(m, 1, false);
		linux_unbind(m, 5);
		msix_check_reset(m);
	}
	msix_free(m);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	irq_check_end(r.space);
	ck_assert_msg(!times, "%s", said);
	ck_assert_ptr_null(irq_check_verdict(r.check));
	irq_check_free(r.check);
	ck_assert(!irq_check_on(r.space));
	gsi_space_free(r.space);
	hyp_free(r.hyp);
	irq_check_free(NULL);
}
END_TEST

START_TEST(test_irq_check_sees_a_foreign_table)
{
	const struct hyp_route one = { .gsi = 0, .kind = HYP_ROUTE_SPI };
	struct rig r = watched();

	ck_assert_int_eq(hyp_set_routes(r.hyp, &one, 1), 0);
	heard(&r, "V1: a table with 1 of 64 SPIs");
}
END_TEST

START_TEST(test_irq_check_sees_foreign_irqfds)
{
	struct rig r = watched();
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char want[128];

	if (_i == 0) {
		ck_assert_int_eq(hyp_irqfd_attach(r.hyp, fd, 70, -1), 0);
		snprintf(want, sizeof(want), "V3: eventfd %d is attached to GSI 70, which has no route", fd);
	} else if (_i == 1) {
		ck_assert_int_eq(hyp_irqfd_attach(r.hyp, fd, 7, -1), 0);
		ck_assert_uint_eq(times, 0);
		ck_assert_int_eq(gsi_commit(r.space), 0);
		snprintf(want, sizeof(want), "V3: 0 irqfds are counted, and KVM has 1");
	} else if (_i == 2) {
		ck_assert_int_eq(hyp_irqfd_detach(r.hyp, fd, 7), 0);
		snprintf(want, sizeof(want), "V3: eventfd %d is detached from GSI 7, and was attached nowhere", fd);
	} else {
		ck_assert_int_eq(hyp_irq_line(r.hyp, FAKE_NR_SPIS, true), -EINVAL);
		snprintf(want, sizeof(want), "V8: the line of SPI 64 of 64");
	}
	heard(&r, want);
	close(fd);
}
END_TEST

START_TEST(test_irq_check_sees_an_eventfd_closed)
{
	struct rig r = watched();
	struct irqfd f;
	char want[128];

	ck_assert_int_eq(irqfd_init(&f, r.space), 0);
	ck_assert_int_eq(irqfd_attach(&f, 7), 0);
	close(f.fd);
	irq_check_state(r.space);
	snprintf(want, sizeof(want), "V3: eventfd %d was closed while attached to GSI 7", f.fd);
	heard(&r, want);
}
END_TEST

START_TEST(test_irq_check_sees_a_message_to_nobody)
{
	struct rig r = watched();

	ck_assert_int_lt(hyp_signal_msi(r.hyp, 0x1000, 1, true, RIG_DEVID), 0);
	heard(&r, "V2: message 0x1000 data 1 devid 0x8 reaches nobody");
}
END_TEST

START_TEST(test_irq_check_sees_a_shadow_that_lies)
{
	struct rig r = watched();
	struct msi_route *route;

	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "x", &route), 0);
	ck_assert_int_eq(msi_route_stage(route, FAKE_TRANSLATER, 1), 0);
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(times, 0);
	route->live.data = 2;
	irq_check_state(r.space);
	heard(&r, "V9: GSI 64 carries data 1 devid 0x8, and the shadow says data 2 devid 0x8");
}
END_TEST

START_TEST(test_irq_check_sees_a_line_without_reason)
{
	struct rig r = watched();
	struct edge_line l;

	edge_line_init(&l, r.space, 9, "test0");
	l.has_status = true;
	edge_line_open(&l);
	edge_line_reason(&l);
	edge_line_pulse(&l);
	ck_assert_uint_eq(times, 0);
	edge_line_pulse(&l);
	heard(&r, "V10: SPI 9 is raised before the status register says why");
}
END_TEST

START_TEST(test_irq_check_sees_what_survives_a_reset)
{
	struct rig r = watched();
	struct msix *m = msix_ready(&r);
	char want[128];

	ck_assert_uint_eq(times, 0);
	if (_i == 0) {
		msix_check_reset(m); /* it was none */
		snprintf(want, sizeof(want), "V11: net0 was reset, and its eventfd %d is attached to GSI 64", msix_fd(m, 0));
	} else if (_i == 1) {
		msix_unbind_all(m);
		settle(m);
		msix_raise(m, 1);
		msix_check_reset(m);
		snprintf(want, sizeof(want), "V11: net0 was reset, and its eventfd %d still holds a signal", msix_fd(m, 1));
	} else {
		irq_check_status(r.space, "net0", 3);
		snprintf(want, sizeof(want), "V11: net0 was reset, and its status register says 0x3");
	}
	msix_free(m);
	heard(&r, want);
}
END_TEST

START_TEST(test_irq_check_sees_what_is_left)
{
	struct rig r = watched();
	struct msi_route *route;

	ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID, "net0 rx0", &route), 0);
	irq_check_end(r.space);
	heard(&r, "V7: GSI 64 (net0 rx0) was not freed");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("irq_check");
	TCase *t = tcase_create("rules");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_irq_rules_v1_tables);
	tcase_add_test(t, test_irq_rules_v2_messages);
	tcase_add_test(t, test_irq_rules_v3_attachments);
	tcase_add_test(t, test_irq_rules_v4_needless_tables);
	tcase_add_loop_test(t, test_irq_rules_v5_what_may_not_deliver, 0, 7);
	tcase_add_test(t, test_irq_rules_v5_hop_of_another_message);
	tcase_add_test(t, test_irq_rules_v5_another_message);
	tcase_add_test(t, test_irq_rules_v6_what_may_deliver);
	tcase_add_test(t, test_irq_rules_v8_arguments);
	tcase_add_test(t, test_irq_rules_v3_v7_v9_shadow);
	tcase_add_test(t, test_irq_rules_v10_v11);
	suite_add_tcase(s, t);
	t = tcase_create("check");
	tcase_add_test(t, test_irq_check_silent_on_a_sound_life);
	tcase_add_test(t, test_irq_check_sees_a_foreign_table);
	tcase_add_loop_test(t, test_irq_check_sees_foreign_irqfds, 0, 4);
	tcase_add_test(t, test_irq_check_sees_an_eventfd_closed);
	tcase_add_test(t, test_irq_check_sees_a_message_to_nobody);
	tcase_add_test(t, test_irq_check_sees_a_shadow_that_lies);
	tcase_add_test(t, test_irq_check_sees_a_line_without_reason);
	tcase_add_loop_test(t, test_irq_check_sees_what_survives_a_reset, 0, 3);
	tcase_add_test(t, test_irq_check_sees_what_is_left);
	suite_add_tcase(s, t);
	return run_suite(s);
}
