/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * balloon: pages that are not the guest's to give, or that it uses all the same, lists without end, statistics and reports that no
 * driver makes (virtio 1.2 s5.5.6). What is not named must stay as it was; what is given may read as zeros.
 */
#include "hostile.h"

#define F_STATS BIT(1)
#define F_REPORTING BIT(5)
enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_3, Q_REPORT };
#define PAGE 4096u
#define LARGE (24u << 20) /* RAM's end: not where our own text lies */
#define MARK 0x6b

enum reaction { USED, BREAKS, SURVIVES };

static uint32_t pfn_of(const volatile void *at)
{
	return (uint32_t)((uint64_t)at >> 12);
}

static uint8_t *far_page(unsigned n)
{
	return (uint8_t *)(ram_end - LARGE) + n * PAGE;
}

static bool runs(void)
{
	return begin(balloon, F_STATS | F_REPORTING | RING_INDIRECT);
}

static void give(unsigned q, const volatile void *at, uint32_t len, bool writable)
{
	vq_part(&balloon->vq[q], 0, at, len, writable);
	vq_chain(&balloon->vq[q], 0, 1);
}

static void react(unsigned q, enum reaction r)
{
	if (r == SURVIVES)
		wait_us(5000);
	else if (r == BREAKS)
		want(breaks(balloon), "no NEEDS_RESET");
	else if (want(uses(&balloon->vq[q]), "not used"))
		want(!(vdev_status(balloon) & NEEDS_RESET), "NEEDS_RESET");
}

static bool all_are(const uint8_t *at, unsigned len, uint8_t byte)
{
	for (unsigned i = 0; i < len; i++)
		if (at[i] != byte)
			return want(false, "byte %u of %lx is %x, not %x", i, (unsigned long)at, at[i], byte);
	return true;
}

/* Numbers by name: what they count from. */
enum from { ZERO, RAM_START, RAM_END };

struct pfn_row {
	struct row row;
	enum from from;
	int64_t add;
	enum reaction reaction;
};

static const struct pfn_row pfn_rows[] = {
	{ { "pfn-0", ON_BALLOON | OFTEN }, ZERO, 0, BREAKS },
	{ { "pfn-max", ON_BALLOON | OFTEN }, ZERO, 0xffffffff, BREAKS },
	{ { "pfn-sign", ON_BALLOON }, ZERO, 0x80000000, BREAKS },
	{ { "pfn-before-ram", ON_BALLOON }, RAM_START, -1, BREAKS },
	{ { "pfn-behind-ram", ON_BALLOON | OFTEN }, RAM_END, 0, BREAKS },
	{ { "pfn-behind-ram-1", ON_BALLOON }, RAM_END, 1, BREAKS },
	{ { "pfn-4-gib-above-ram", ON_BALLOON | OFTEN }, RAM_START, 1 << 20, BREAKS },
	{ { "pfn-32-bits-of-ram", ON_BALLOON }, RAM_START, 0xf0000000, BREAKS },
	{ { "pfn-last-of-ram", ON_BALLOON }, RAM_END, -1, USED },
};

/* Behind one that is right. */
static void run_pfn(const void *row)
{
	const struct pfn_row *r = row;
	uint64_t from = r->from == RAM_START ? ram_start : r->from == RAM_END ? ram_end : 0;
	uint32_t list[2] = { pfn_of(spare_page), (uint32_t)((int64_t)(from >> 12) + r->add) };

	if (!runs())
		return;
	memset(far_page(0), MARK, 65536);
	memcpy(buf, list, sizeof(list));
	give(Q_INFLATE, buf, sizeof(list), false);
	react(Q_INFLATE, r->reaction);
	all_are(far_page(0), 65536, MARK);
	/* to take them out needs nothing of anybody */
	if (!runs())
		return;
	give(Q_DEFLATE, buf, sizeof(list), false);
	react(Q_DEFLATE, USED);
}

/* A list of the spare page, of a length that may be no whole number of them. */
struct list_row {
	struct row row;
	unsigned q;
	uint32_t len;
	bool writable;
	enum reaction reaction;
};

static const struct list_row list_rows[] = {
	{ { "list-1", ON_BALLOON }, Q_INFLATE, 1, false, USED },
	{ { "list-3", ON_BALLOON | OFTEN }, Q_INFLATE, 3, false, USED },
	{ { "list-5", ON_BALLOON }, Q_INFLATE, 5, false, USED },
	{ { "list-4095", ON_BALLOON }, Q_INFLATE, 4095, false, USED },
	{ { "list-64k-of-one-page", ON_BALLOON | OFTEN }, Q_INFLATE, BUF_SIZE, false, USED },
	{ { "list-writable", ON_BALLOON }, Q_INFLATE, 64, true, USED },
	{ { "deflate-1", ON_BALLOON }, Q_DEFLATE, 1, false, USED },
	{ { "deflate-64k", ON_BALLOON }, Q_DEFLATE, BUF_SIZE, false, USED },
	{ { "deflate-writable", ON_BALLOON }, Q_DEFLATE, 64, true, USED },
	{ { "queue-without-a-feature", ON_BALLOON }, Q_3, 64, false, SURVIVES },
	{ { "report-readable", ON_BALLOON | OFTEN }, Q_REPORT, BUF_SIZE, false, USED },
};

static void run_list(const void *row)
{
	const struct list_row *r = row;

	if (!runs())
		return;
	for (unsigned i = 0; i < BUF_SIZE / 4; i++)
		((uint32_t *)buf)[i] = pfn_of(spare_page);
	give(r->q, buf, r->len, r->writable);
	react(r->q, r->reaction);
	for (unsigned i = 0; i < BUF_SIZE / 4; i++)
		if (!want(((uint32_t *)buf)[i] == pfn_of(spare_page), "the list has gone at %u", i))
			return;
}

/* Reports name memory itself. */
struct report_row {
	struct row row;
	enum from from;
	int64_t add;
	uint32_t len;
	enum reaction reaction;
};

static const struct report_row report_rows[] = {
	{ { "report-page", ON_BALLOON }, RAM_END, -(int64_t)LARGE, PAGE, USED },
	{ { "report-over-ram-end", ON_BALLOON | OFTEN }, RAM_END, -(int64_t)PAGE, 2 * PAGE, BREAKS },
	{ { "report-one-byte-over", ON_BALLOON }, RAM_END, -(int64_t)PAGE, PAGE + 1, BREAKS },
	{ { "report-behind-ram", ON_BALLOON | OFTEN }, RAM_END, 0, PAGE, BREAKS },
	{ { "report-before-ram", ON_BALLOON }, RAM_START, -(int64_t)PAGE, PAGE, BREAKS },
	{ { "report-over-ram-start", ON_BALLOON }, RAM_START, -(int64_t)PAGE, 2 * PAGE, BREAKS },
	{ { "report-0", ON_BALLOON }, ZERO, 0, PAGE, BREAKS },
	{ { "report-wraps", ON_BALLOON | OFTEN }, ZERO, -(int64_t)PAGE, 2 * PAGE, BREAKS },
	{ { "report-4-gib", ON_BALLOON }, RAM_START, 0, ~0u, BREAKS },
	{ { "report-far", ON_BALLOON }, ZERO, INT64_C(1) << 40, PAGE, BREAKS },
	{ { "report-byte", ON_BALLOON }, RAM_END, -(int64_t)LARGE, 1, USED },
	{ { "report-odd", ON_BALLOON | OFTEN }, RAM_END, -(int64_t)LARGE + 1, 2 * PAGE - 2, USED },
};

/* What lies in a page that is not all of it reported stays; and what lies about it. */
static void run_report(const void *row)
{
	const struct report_row *r = row;
	uint64_t at = (r->from == RAM_START ? ram_start : r->from == RAM_END ? ram_end : 0) + (uint64_t)r->add;
	uint8_t *near = far_page(0) - 65536;

	if (!runs())
		return;
	memset(near, MARK, 3 * 65536);
	give(Q_REPORT, (void *)at, r->len, true);
	react(Q_REPORT, r->reaction);
	all_are(near, 65536, MARK);
	all_are(near + 2 * 65536, 65536, MARK);
	if (r->reaction == BREAKS || r->len < PAGE || r->add & (PAGE - 1))
		all_are(far_page(0), PAGE, MARK);
}

/* The answer to a question for statistics, or what is none. */
struct stats_row {
	struct row row;
	uint32_t len;
	bool writable;
	uint8_t fill;
};

static const struct stats_row stats_rows[] = {
	{ { "stats-good", ON_BALLOON }, 100, false, 0 },
	{ { "stats-1", ON_BALLOON }, 1, false, 0xff },
	{ { "stats-9", ON_BALLOON | OFTEN }, 9, false, 0 },
	{ { "stats-64k", ON_BALLOON | OFTEN }, BUF_SIZE, false, 0 },
	{ { "stats-tags-unknown", ON_BALLOON | OFTEN }, 640, false, 0xff },
	{ { "stats-tags-10", ON_BALLOON }, 640, false, 10 },
	{ { "stats-writable", ON_BALLOON }, 640, true, 0 },
};

/* Two at a time are against s5.5.6.3.1; the one is kept until there is a question, or a reset. */
static void run_stats(const void *row)
{
	const struct stats_row *r = row;

	if (!runs())
		return;
	memset(buf, r->fill, BUF_SIZE);
	give(Q_STATS, buf, r->len, r->writable);
	react(Q_STATS, SURVIVES);
	want(!(vdev_status(balloon) & NEEDS_RESET), "NEEDS_RESET");
	vq_part(&balloon->vq[Q_STATS], 1, buf, r->len, r->writable);
	vq_chain(&balloon->vq[Q_STATS], 1, 1);
	want(breaks(balloon), "no NEEDS_RESET");
}

/* The question comes, each time, to who answers it at once. */
static void stats_asked(void)
{
	struct vq *vq = &balloon->vq[Q_STATS];

	if (!runs())
		return;
	for (unsigned i = 0; i < 3; i++) {
		memset(buf, 0, 100);
		buf[0] = (uint8_t)i;
		give(Q_STATS, buf, 10, false);
		if (!want(uses(vq), "no question after %u answers", i))
			return;
	}
}

static void stats_while_reset(void)
{
	for (unsigned i = 0; i < 30; i++) {
		if (!runs())
			return;
		give(Q_STATS, buf, 100, false);
		wait_us(i % 4 * 1000);
		want(vdev_reset(balloon), "no reset");
	}
	look_idle();
}

/* Pages that are in use: of the device's own ring, of the list itself, and the buffers' canaries' neighbours. */
static void own_rings(void)
{
	struct vq *vq = &balloon->vq[Q_INFLATE];
	volatile void *const rings[] = { vq->desc, vq->avail, vq->used };

	for (unsigned i = 0; i < ARRAY_LEN(rings); i++) {
		uint32_t pfn = pfn_of(rings[i]);

		if (!runs())
			return;
		memcpy(buf, &pfn, sizeof(pfn));
		give(Q_INFLATE, buf, sizeof(pfn), false);
		wait_us(3000);
		for (unsigned k = 0; k < 4; k++)
			give(Q_INFLATE, buf, sizeof(pfn), false);
		want(heals(balloon), "a reset does not heal");
		if (!runs())
			return;
		give(Q_REPORT, (void *)((uint64_t)rings[i] & ~(uint64_t)(PAGE - 1)), PAGE, true);
		wait_us(3000);
		want(heals(balloon), "a reset does not heal");
	}
}

/* A list that names the pages it lies in: what is read of it later is zeros, which are no page. */
static void own_list(void)
{
	uint32_t *list = (uint32_t *)far_page(0);

	if (!runs())
		return;
	for (unsigned i = 0; i < 16 * 1024; i++)
		list[i] = pfn_of(far_page(15 - i % 16));
	give(Q_INFLATE, list, 65536, false);
	react(Q_INFLATE, SURVIVES);
}

/* More than it was asked for, each page so often. */
static void more_than_asked(void)
{
	uint32_t *list = (uint32_t *)buf;

	if (!runs())
		return;
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < 5000; i++)
			list[i] = pfn_of(far_page(i));
		give(Q_INFLATE, list, 5000 * 4, false);
		react(Q_INFLATE, USED);
	}
	wr32(balloon->config + 4, ~0u);
}

/* One of them, in no order that makes a run of it. */
static void one_page_a_hundred_times(void)
{
	uint32_t *list = (uint32_t *)buf;

	if (!runs())
		return;
	for (unsigned i = 0; i < 200; i++)
		list[i] = pfn_of(i & 1 ? spare_page : far_page(i));
	give(Q_INFLATE, list, 800, false);
	react(Q_INFLATE, USED);
}

static void list_by_the_byte(void)
{
	struct vq *vq = &balloon->vq[Q_INFLATE];

	if (!runs())
		return;
	for (unsigned i = 0; i < 16; i++)
		((uint32_t *)buf)[i] = pfn_of(spare_page);
	for (unsigned i = 0; i < 61; i++)
		vq_part(vq, i, buf + i, 1, false);
	vq_chain(vq, 0, 61);
	react(Q_INFLATE, USED);
}

/* A million pages in one chain, and all of RAM's end so often in one report: in between the console has its turn. */
static void endless_on(unsigned q, uint32_t len, uint8_t *at)
{
	struct vq *vq = &balloon->vq[q];

	for (unsigned i = 0; i < 60; i++)
		vq_part(vq, i, at, len, q == Q_REPORT);
	vq_chain(vq, 0, 60);
}

static void endless_list(void)
{
	for (unsigned i = 0; i < BUF_SIZE / 4; i++)
		((uint32_t *)buf)[i] = pfn_of(i & 1 ? spare_page : far_page(i & 63));
	if (!runs())
		return;
	endless_on(Q_INFLATE, BUF_SIZE, buf);
	buf2[0] = '\n';
	begin(con, 0);
	vq_post(&con->vq[CON_TX], 0, buf2, 1, false);
	vq_kick(&con->vq[CON_TX]);
	want(uses(&con->vq[CON_TX]), "the console has no turn");
}

static void endless_report(void)
{
	if (!runs())
		return;
	endless_on(Q_REPORT, LARGE / 2, far_page(0));
	buf2[0] = '\n';
	begin(con, 0);
	vq_post(&con->vq[CON_TX], 0, buf2, 1, false);
	vq_kick(&con->vq[CON_TX]);
	want(uses(&con->vq[CON_TX]), "the console has no turn");
}

/* What is left of a list is forgotten: the pages that it names are the driver's again. */
static void reset_in_flight(void)
{
	uint32_t *list = (uint32_t *)buf, pfn = pfn_of(spare_page);

	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < BUF_SIZE / 4; i++)
			list[i] = pfn_of(far_page(i & 63));
		if (!runs())
			return;
		endless_on(Q_INFLATE, BUF_SIZE, buf);
		wait_us(500 * round);
		if (!want(vdev_reset(balloon), "no reset") || !runs())
			return;
		memset(far_page(0), MARK, 64 * PAGE);
		memcpy(buf2, &pfn, sizeof(pfn));
		give(Q_INFLATE, buf2, sizeof(pfn), false);
		react(Q_INFLATE, USED);
		wait_us(3000);
		if (!all_are(far_page(0), 64 * PAGE, MARK))
			return;
	}
}

static void reset_reports(void)
{
	for (unsigned round = 0; round < 5; round++) {
		if (!runs())
			return;
		endless_on(Q_REPORT, LARGE / 2, far_page(0));
		wait_us(500 * round);
		if (!want(vdev_reset(balloon), "no reset") || !runs())
			return;
		memset(far_page(0), MARK, 64 * PAGE);
		give(Q_REPORT, far_page(1000), PAGE, true);
		react(Q_REPORT, USED);
		if (!all_are(far_page(0), 64 * PAGE, MARK))
			return;
	}
}

/* Each number is fetched once: the page that is checked is the one that goes. */
static void list_racer(void *arg)
{
	volatile uint32_t *list = arg;

	while (!stop_helpers) {
		list[noise() % 64] = pfn_of(spare_page);
		list[noise() % 64] = noise() | 0x80000000; /* none of RAM's */
		list[noise() % 64] = pfn_of(far_page(2000));
	}
}

static void desc_racer(void *arg)
{
	volatile struct vq_desc *d = arg;

	while (!stop_helpers) {
		d->len = 256;
		d->addr = (uint64_t)far_page(3000);
		d->len = ~0u;
		d->addr = ram_end - PAGE;
		d->flags ^= DESC_WRITE;
	}
}

static void race(unsigned q, void (*racer)(void *arg), volatile void *at)
{
	memset(far_page(0), MARK, 16 * PAGE);
	for (unsigned i = 0; i < 10; i++) {
		for (unsigned k = 0; k < 64; k++)
			((uint32_t *)buf)[k] = pfn_of(spare_page);
		if (!runs() || !helper_start(1, racer, (void *)at))
			return;
		for (unsigned k = 0; k < 10; k++) {
			give(q, q == Q_REPORT ? far_page(3000) : buf, 256, q == Q_REPORT);
			wait_us(50);
		}
		if (!helper_join(1))
			return;
	}
	all_are(far_page(0), 16 * PAGE, MARK);
}

static void toctou_desc(void)
{
	race(Q_REPORT, desc_racer, balloon->vq[Q_REPORT].desc);
}

static void toctou_list(void)
{
	race(Q_INFLATE, list_racer, buf);
}

/* Given away and written again by another CPU: each time it comes back. */
static void toucher(void *arg)
{
	while (!stop_helpers)
		for (unsigned i = 0; i < 16; i++)
			((volatile uint8_t *)arg)[i * PAGE] = (uint8_t)i;
}

static void touched_meanwhile(void)
{
	if (!runs())
		return;
	for (unsigned i = 0; i < 16; i++)
		((uint32_t *)buf)[i] = pfn_of(far_page(i));
	if (!helper_start(1, toucher, far_page(0)))
		return;
	for (unsigned i = 0; i < 20; i++) {
		give(Q_INFLATE, buf, 64, false);
		if (!want(uses(&balloon->vq[Q_INFLATE]), "not used after %u", i))
			break;
	}
	helper_join(1);
}

/* What the host wants is not the driver's to write (s5.5.4). */
static void config_write(void)
{
	uint32_t target = rd32(balloon->config);

	for (unsigned i = 0; i < 64; i += 4)
		wr32(balloon->config + i, ~0u);
	for (unsigned i = 0; i < 16; i++)
		wr8(balloon->config + i, 0x55);
	want(rd32(balloon->config) == target, "the target is %x", rd32(balloon->config));
}

static void kicks(void)
{
	if (!runs())
		return;
	for (unsigned i = 0; i < 500; i++)
		vq_kick(&balloon->vq[i % 5]);
}

static const struct fn_row fn_rows[] = {
	{ { "stats-asked", ON_BALLOON }, stats_asked },
	{ { "stats-while-reset", ON_BALLOON | OFTEN }, stats_while_reset },
	{ { "own-rings", ON_BALLOON | OFTEN }, own_rings },
	{ { "own-list", ON_BALLOON | OFTEN }, own_list },
	{ { "more-than-asked", ON_BALLOON }, more_than_asked },
	{ { "one-page-a-hundred-times", ON_BALLOON | OFTEN }, one_page_a_hundred_times },
	{ { "list-by-the-byte", ON_BALLOON }, list_by_the_byte },
	{ { "endless-list", ON_BALLOON | OFTEN }, endless_list },
	{ { "endless-report", ON_BALLOON }, endless_report },
	{ { "reset-in-flight", ON_BALLOON | OFTEN }, reset_in_flight },
	{ { "reset-reports", ON_BALLOON }, reset_reports },
	{ { "toctou-list", ON_BALLOON | ON_CPUS }, toctou_list },
	{ { "toctou-desc", ON_BALLOON | ON_CPUS | OFTEN }, toctou_desc },
	{ { "touched-meanwhile", ON_BALLOON | ON_CPUS }, touched_meanwhile },
	{ { "config-write", ON_BALLOON }, config_write },
	{ { "kicks", ON_BALLOON }, kicks },
};

const struct family balloon_tables[] = {
	FAMILY(pfn_rows, run_pfn), FAMILY(list_rows, run_list), FAMILY(report_rows, run_report), FAMILY(stats_rows, run_stats),
	FAMILY(fn_rows, run_fn), { 0 },
};
