// SPDX-License-Identifier: BSD-3-Clause
/*
 * routes - the GSI space on the kernel's own table, filled to its last entry
 *
 * usage: routes [CYCLES]
 *
 * There is no guest: its.c maps an LPI for each message beforehand, and says which are pending. CYCLES (10,000) vectors
 * come and go. Then every entry that KVM offers is there to be taken and committed; one more is refused; those that were
 * there deliver, also after the kernel has refused tables that are wrong. Then all is freed, and nothing is used up.
 *
 * Ends with 0; 1 and what failed; 77 and why it cannot be tried here.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch/arm64/layout.h"
#include "tests/vm/its.h"
#include "vmm/base/clock.h"
#include "vmm/core/gsi.h"
#include "vmm/core/irq_check.h"
#include "vmm/core/irqfd.h"

#define MOST 4096 /* what KVM offers today; a kernel with more is no failure of ours, but wants a look at this */
#define NR_SPIS (ITS_NR_IRQS - 32)
#define STRIDE 509 /* of the messages that are tried: to look at one, KVM saves them all */
#define ARRIVES_NS (60 * NS_PER_SEC) /* the kernel may inject from a work queue */

struct test {
	struct its_vm vm;
	struct gsi_space *space;
	struct irq_check *check;
	struct irqfd irqfd; /* goes from one GSI to the other */
	struct msi_route *routes[MOST];
	unsigned n; /* routes that are taken */
};

static void rule_broken(void *ctx, const char *sentence)
{
	(void)ctx;
	fail("%s", sentence);
}

static void set_up(struct test *t)
{
	struct gsi_cfg cfg = {
		.nr_spis = NR_SPIS, .model = MSI_ITS, .doorbell = LAYOUT_ITS, .doorbell_size = LAYOUT_ITS_SIZE,
	};

	its_vm_new(&t->vm);
	cfg.max_routes = hyp_max_routes(t->vm.hyp);
	cfg.need_devid = hyp_needs_devid(t->vm.hyp);
	if (cfg.max_routes != MOST)
		fail("KVM offers %u routes, not %u", cfg.max_routes, MOST);
	its_map_events(&t->vm, MOST - NR_SPIS);
	if (gsi_space_new(&cfg, t->vm.hyp, &t->space) || irq_check_new(t->space, rule_broken, NULL, &t->check) ||
	    gsi_space_start(t->space) || irqfd_init(&t->irqfd, t->space))
		fail("no GSI space");
	irq_check_devid(t->check, ITS_DEVID);
}

static struct gsi_stats stats(struct test *t)
{
	struct gsi_stats st;

	gsi_get_stats(t->space, &st);
	return st;
}

static void commit(struct test *t, const char *what)
{
	int r = gsi_commit(t->space);

	if (r)
		fail("%s: commit: %s", what, strerror(-r));
}

static void stage(struct msi_route *r, unsigned event)
{
	if (msi_route_stage(r, ITS_TRANSLATER, event))
		fail("event %u is not deliverable", event);
}

/* The allocator */

static void take_all(struct test *t)
{
	int r = 0;

	while (t->n < MOST && !(r = msi_route_new(t->space, ITS_DEVID, "vector", &t->routes[t->n])))
		t->n++;
	if (r != -ENOSPC || t->n != MOST - NR_SPIS)
		fail("%u vectors, then %s", t->n, r ? strerror(-r) : "no end");
}

static void free_all(struct test *t)
{
	while (t->n)
		msi_route_free(t->routes[--t->n]);
}

static void expect_refusal(struct test *t)
{
	struct msi_route *more;
	int r = msi_route_new(t->space, ITS_DEVID, "one more", &more);

	if (r != -ENOSPC)
		fail("one more vector: %s, not -ENOSPC", r ? strerror(-r) : "was to be had");
}

/* Every entry can be taken, and the kernel's table has none but SPIs. */
static void expect_nothing_used_up(struct test *t)
{
	commit(t, "all freed");
	if (stats(t).msi_routes || stats(t).irqfds)
		fail("%u routes and %u irqfds are left", stats(t).msi_routes, stats(t).irqfds);
	take_all(t);
	free_all(t);
}

/* Delivery */

static void expect_arrival(struct test *t, bool (*pending)(struct its_vm *, unsigned), unsigned which, uint32_t gsi,
			   const char *when)
{
	const uint64_t end = clock_now_ns() + ARRIVES_NS;
	int r;

	if (pending(&t->vm, which))
		fail("%s: GSI %u: pending already", when, gsi);
	r = irqfd_attach(&t->irqfd, gsi);
	if (r)
		fail("%s: GSI %u: attach: %s", when, gsi, strerror(-r));
	irqfd_raise(&t->irqfd);
	while (!pending(&t->vm, which))
		if (clock_now_ns() > end)
			fail("%s: GSI %u: no interrupt", when, gsi);
}

/* SPI @first and every STRIDE-th message from @first on; each can be tried once, as nobody takes it. */
static void expect_delivery(struct test *t, unsigned first, const char *when)
{
	unsigned i;

	its_make_edge(&t->vm, first);
	expect_arrival(t, its_spi_pending, first, first, when);
	for (i = first; i < t->n; i += STRIDE)
		expect_arrival(t, its_event_pending, i, msi_route_gsi(t->routes[i]), when);
	irqfd_detach(&t->irqfd);
}

/* Refusals of the kernel's own, past our seam: it would not let such tables through. */

static struct kvm_irq_routing *spi_table(unsigned nr)
{
	struct kvm_irq_routing *table = calloc(1, sizeof(*table) + nr * sizeof(table->entries[0]));

	if (!table)
		fail("out of memory");
	table->nr = nr;
	for (unsigned i = 0; i < nr; i++) {
		table->entries[i].gsi = i;
		table->entries[i].type = KVM_IRQ_ROUTING_IRQCHIP;
		table->entries[i].u.irqchip.pin = i % NR_SPIS;
	}
	return table;
}

static void expect_einval(struct test *t, struct kvm_irq_routing *table, const char *what)
{
	if (!ioctl(hyp_vm_fd(t->vm.hyp), KVM_SET_GSI_ROUTING, table))
		fail("the kernel takes %s", what);
	if (errno != EINVAL)
		fail("%s: %s, not EINVAL", what, strerror(errno));
	free(table);
}

static void try_wrong_tables(struct test *t)
{
	struct kvm_irq_routing *table = spi_table(NR_SPIS);

	table->entries[NR_SPIS - 1].gsi = 0;
	expect_einval(t, table, "two entries of one GSI and pin type");
	table = spi_table(1);
	table->entries[0].gsi = MOST;
	expect_einval(t, table, "a GSI beyond the last");
	expect_einval(t, spi_table(MOST + 1), "an entry more than there are GSIs");
}

/* Steps */

/* One at a time, a table each. */
static void come_and_go(struct test *t, unsigned cycles)
{
	struct msi_route *r;

	for (unsigned i = 0; i < cycles; i++) {
		/* Of two GSIs: one that is freed is not handed out before the kernel's table is without it. */
		if (msi_route_new(t->space, ITS_DEVID, "cycle", &r) || msi_route_gsi(r) > NR_SPIS + 1)
			fail("cycle %u: GSIs are used up", i);
		stage(r, i % (MOST - NR_SPIS));
		commit(t, "cycle");
		if (stats(t).msi_routes != 1)
			fail("cycle %u: %u routes", i, stats(t).msi_routes);
		msi_route_free(r);
	}
	commit(t, "the last of the cycles");
	if (stats(t).msi_routes)
		fail("%u routes are left", stats(t).msi_routes);
	printf("figure: %u vectors came and went in %llu tables\n", cycles, (unsigned long long)stats(t).commits);
}

static void fill(struct test *t)
{
	const uint64_t before = stats(t).commits;

	take_all(t);
	for (unsigned i = 0; i < t->n; i++)
		stage(t->routes[i], i);
	commit(t, "the full table");
	if (stats(t).commits != before + 1 || stats(t).msi_routes != t->n)
		fail("%llu commits, %u routes", (unsigned long long)(stats(t).commits - before), stats(t).msi_routes);
	printf("figure: a table of %u entries: %llu us\n", MOST, (unsigned long long)stats(t).last_commit_ns / 1000);
	for (unsigned i = 0; i < 1000; i++)
		expect_refusal(t);
	commit(t, "after refusals");
	if (stats(t).commits != before + 1)
		fail("a refused vector was a reason for a table");
}

/* What one frees serves the next: here the last entry of all. */
static void hand_one_over(struct test *t)
{
	const unsigned i = t->n - 1;
	const uint32_t gsi = msi_route_gsi(t->routes[i]);

	msi_route_free(t->routes[i]);
	expect_refusal(t); /* it is still in the kernel's table */
	commit(t, "one freed");
	if (msi_route_new(t->space, ITS_DEVID, "next", &t->routes[i]) || msi_route_gsi(t->routes[i]) != gsi)
		fail("GSI %u was not handed out again", gsi);
	stage(t->routes[i], i);
	commit(t, "one taken");
	expect_arrival(t, its_event_pending, i, gsi, "handed over");
	irqfd_detach(&t->irqfd);
}

static void tear_down(struct test *t)
{
	irqfd_fini(&t->irqfd);
	irq_check_end(t->space);
	irq_check_free(t->check);
	gsi_space_free(t->space);
	its_vm_free(&t->vm);
}

int main(int argc, char **argv)
{
	static struct test t;

	set_up(&t);
	come_and_go(&t, argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000);
	fill(&t);
	expect_delivery(&t, 0, "full");
	try_wrong_tables(&t);
	expect_delivery(&t, 1, "after wrong tables");
	hand_one_over(&t);
	expect_delivery(&t, 2, "after a hand-over");
	free_all(&t);
	expect_nothing_used_up(&t);
	tear_down(&t);
	return 0;
}
