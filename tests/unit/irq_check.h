/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * irq_check - a VM with a GSI space for a test, and the invariants of the interrupt code
 *
 * What:   V1 to V4 and V7 can be asked after any step of any test, by irq_check(); the others
 *         need a story, and are the tests in test_irq_invariants.c.
 *
 *   V1  the kernel's table has every SPI, one GSI a pin, one entry a GSI, nothing else unknown
 *   V2  an MSI entry carries the device id flag iff the ITS wants it, and the device's own id
 *   V3  no irqfd is attached to a GSI without a route, none twice; each attach has one detach
 *   V4  no table before start, and none without a change
 *   V5  a vector that may not deliver injects nothing once the masking call has returned
 *   V6  signals sent while masked: exactly one injection after the unmask, pending bit 0 then
 *   V7  all freed: the allocator is full, the table holds SPIs only, no descriptor leaks
 *   V8  whatever the guest writes: no assertion, no call with an argument out of range
 *   V9  a commit that failed leaves the kernel's table as the shadow says
 *   V10 the interrupt status says why before the interrupt is injected
 *   V11 after a device reset nothing that was signalled before is seen
 */
#ifndef TESTS_UNIT_IRQ_CHECK_H
#define TESTS_UNIT_IRQ_CHECK_H

#include <check.h>
#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "devices/pci/msix.h"
#include "tests/fake/irq.h"
#include "tests/fake/kvm.h"
#include "tests/fake/loop.h"
#include "vmm/core/irq_check.h"

#define RIG_DEVID 8

struct rig {
	struct hyp *hyp;
	struct gsi_space *space;
	struct loop *loop; /* where it signals messages; else NULL */
	struct irq_check *check; /* NULL: none looks on */
	unsigned fds; /* open before the test */
};

static inline unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* A process that is short of descriptors. */
struct famine {
	struct rlimit old;
	int taken[64];
	unsigned n;
};

/* From now on only @spare more descriptors can be opened. */
static inline void famine_begin(struct famine *f, unsigned spare)
{
	struct rlimit lim;
	int fd;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &f->old), 0);
	lim = f->old;
	lim.rlim_cur = ARRAY_LEN(f->taken);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	for (f->n = 0; (fd = dup(0)) >= 0; f->n++)
		f->taken[f->n] = fd;
	while (spare--)
		close(f->taken[--f->n]);
}

static inline void famine_end(struct famine *f)
{
	while (f->n)
		close(f->taken[--f->n]);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &f->old), 0);
}

static inline void rig_ignore(void *ctx, const char *sentence)
{
	(void)ctx, (void)sentence; /* asked for at the end */
}

/* vmm/core/irq_check.h looks on from here. */
static inline void rig_look_on(struct rig *r, void (*broken)(void *, const char *))
{
	uint32_t id;

	ck_assert_int_eq(irq_check_new(r->space, broken, NULL, &r->check), 0);
	for (id = RIG_DEVID; id < RIG_DEVID + 8; id++)
		irq_check_devid(r->check, id);
}

/* For what goes behind the back of the code that is watched. */
static inline void rig_look_away(struct rig *r)
{
	irq_check_free(r->check);
	r->check = NULL;
}

/* With RIG_UNCHECKED in the environment nobody looks on: then a test has to find things itself. */
static inline struct rig rig_of(enum msi_model model, enum gsi_mode mode)
{
	struct rig r = { .fds = open_fds() };

	r.hyp = fake_kvm_new();
	r.space = fake_gsi_space_of(r.hyp, model, mode);
	if (gsi_msi_way(r.space) == MSI_BY_SIGNAL)
		ck_assert_int_eq(loop_new(&r.loop), 0);
	if (!getenv("RIG_UNCHECKED"))
		rig_look_on(&r, rig_ignore);
	return r;
}

static inline struct rig rig_new(void)
{
	return rig_of(MSI_ITS, GSI_AUTO);
}

/* Everything that was signalled arrives, whichever way. */
static inline void rig_deliver(struct rig *r)
{
	fake_kvm_pump(r->hyp);
	if (r->loop)
		fake_loop_turn(r->loop);
}

static inline struct gsi_stats rig_stats(const struct rig *r)
{
	struct gsi_stats st;

	gsi_get_stats(r->space, &st);
	return st;
}

static inline uint64_t rig_tables(const struct rig *r)
{
	return fake_kvm_count(r->hyp, FAKE_SET_ROUTES);
}

static inline void check_v1(const struct rig *r)
{
	const struct gsi_stats st = rig_stats(r);
	uint32_t gsi;

	for (gsi = 0; gsi < FAKE_NR_SPIS; gsi++) {
		const struct hyp_route route = fake_kvm_route(r->hyp, gsi);

		ck_assert_msg(route.kind == HYP_ROUTE_SPI && route.pin == gsi, "V1: SPI %u is not GSI %u", gsi, gsi);
	}
	if (!st.commits)
		return;
	ck_assert_msg(fake_kvm_nr_routes(r->hyp) == st.spi_routes + st.msi_routes, "V1: size of the table");
	ck_assert_msg(st.spi_routes == FAKE_NR_SPIS, "V1: number of SPIs");
}

static inline void check_v2(const struct rig *r)
{
	unsigned left = fake_kvm_nr_routes(r->hyp) - FAKE_NR_SPIS;
	uint32_t gsi;

	for (gsi = FAKE_NR_SPIS; left && gsi < FAKE_KVM_MAX_GSI; gsi++) {
		const struct hyp_route route = fake_kvm_route(r->hyp, gsi);

		if (route.kind == HYP_ROUTE_NONE)
			continue;
		ck_assert_msg(route.kind == HYP_ROUTE_MSI, "V2: an SPI at GSI %u", gsi);
		ck_assert_msg(route.valid_devid == hyp_needs_devid(r->hyp), "V2: flag at GSI %u", gsi);
		ck_assert_msg(route.devid >= RIG_DEVID && route.devid < RIG_DEVID + 8, "V2: id at GSI %u", gsi);
		ck_assert_msg(route.addr == FAKE_TRANSLATER && route.data <= 0xffff, "V2: message at GSI %u", gsi);
		left--;
	}
	ck_assert_uint_eq(left, 0);
}

static inline void check_v3(const struct rig *r)
{
	const char *complaint = fake_kvm_complaint(r->hyp);

	ck_assert_msg(!complaint, "V3: %s", complaint);
	ck_assert_msg(fake_kvm_nr_irqfds(r->hyp) == rig_stats(r).irqfds, "V3: number of irqfds");
}

static inline void check_v4(const struct rig *r)
{
	const struct gsi_stats st = rig_stats(r);

	ck_assert_msg(rig_tables(r) == st.commits + st.failed_commits, "V4: tables that nobody counted");
}

static inline void irq_check(const struct rig *r)
{
	check_v1(r);
	check_v2(r);
	check_v3(r);
	check_v4(r);
	if (r->check)
		ck_assert_msg(!irq_check_verdict(r->check), "%s", irq_check_verdict(r->check));
}

/* V7; the test has freed all that it made. */
static inline void rig_free(struct rig *r)
{
	irq_check(r);
	ck_assert_int_eq(gsi_commit(r->space), 0);
	ck_assert_msg(fake_kvm_nr_routes(r->hyp) == FAKE_NR_SPIS, "V7: routes are left");
	ck_assert_msg(fake_kvm_nr_irqfds(r->hyp) == 0, "V7: irqfds are left");
	ck_assert_msg(fake_kvm_lost(r->hyp) == 0, "interrupts were lost");
	if (r->check) {
		irq_check_end(r->space);
		ck_assert_msg(!irq_check_verdict(r->check), "%s", irq_check_verdict(r->check));
		irq_check_free(r->check);
	}
	gsi_space_free(r->space);
	loop_free(r->loop);
	hyp_free(r->hyp);
	ck_assert_msg(open_fds() == r->fds, "V7: descriptors leaked");
}

/* A deterministic generator, so that a failure can be repeated. */
static inline uint32_t rnd(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static inline int run_suite(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
