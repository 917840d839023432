/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq: rings as no driver makes them (virtio 1.2 s2.7). Chains are rows of chain_rows, places of rings rows of place_rows,
 * what needs more than one step is a function. Each is tried on the entropy device, whose buffers are written, and on
 * the console's and the network card's transmit queues, whose are read.
 *
 * With vhost the kernel decides what it makes of a net's ring: only that all goes on afterwards is asked then.
 */
#include "hostile.h"

enum reaction { USED, BREAKS, SURVIVES };
enum { RNG = 1, CON = 2, NET = 4, ALL = 7 };

/* Addresses by name: small numbers. */
enum {
	A_BUF = 1, A_BUF2, A_TABLE, A_DESC, A_AVAIL, A_USED, A_RAM_LAST, A_RAM_OVER, A_RAM_END, A_RAM_BEFORE, A_REGS,
	A_UART, A_GICD, A_ITS, A_ECAM, A_HOLE, A_NAMES,
};

#define N DESC_NEXT
#define D 0x8000       /* as the device's buffers are */
#define X 0x4000       /* the other direction */
#define I DESC_INDIRECT

struct line {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct chain_row {
	struct row row;
	unsigned on;
	enum reaction reaction;
	uint16_t head;
	struct line d[4];  /* descriptors from 0 on */
	struct line t[4];  /* the table's */
	uint64_t features;
};

static const struct chain_row chain_rows[] = {
	{ { "desc-good", OFTEN }, ALL, USED, 0, { { A_BUF, 64, D } } },
	{ { "desc-loop", OFTEN }, ALL, BREAKS, 0, { { A_BUF, 16, D | N, 1 }, { A_BUF, 16, D | N, 0 } } },
	{ { "desc-loop-self", 0 }, ALL, BREAKS, 0, { { A_BUF, 16, D | N, 0 } } },
	{ { "desc-loop-late", 0 }, ALL, BREAKS, 0,
	  { { A_BUF, 16, D | N, 1 }, { A_BUF, 16, D | N, 2 }, { A_BUF, 16, D | N, 3 }, { A_BUF, 16, D | N, 1 } } },
	{ { "desc-next-size", OFTEN }, ALL, BREAKS, 0, { { A_BUF, 16, D | N, VQ_MAX } } },
	{ { "desc-next-max", 0 }, ALL, BREAKS, 0, { { A_BUF, 16, D | N, 0xffff } } },
	{ { "desc-next-sign", 0 }, ALL, BREAKS, 0, { { A_BUF, 16, D | N, 0x8000 } } },
	{ { "head-size", OFTEN }, ALL, BREAKS, VQ_MAX, { { A_BUF, 16, D } } },
	{ { "head-max", 0 }, ALL, BREAKS, 0xffff, { { A_BUF, 16, D } } },
	{ { "head-sign", 0 }, ALL, BREAKS, 0x8000, { { A_BUF, 16, D } } },
	{ { "addr-0", 0 }, ALL, BREAKS, 0, { { 0, 64, D } } },
	{ { "addr-hole", OFTEN }, ALL, BREAKS, 0, { { A_HOLE, 64, D } } },
	{ { "addr-max", 0 }, ALL, BREAKS, 0, { { ~0ull, 64, D } } },
	{ { "addr-wraps", OFTEN }, ALL, BREAKS, 0, { { ~0ull - 63, 128, D } } },
	{ { "addr-wraps-to-0", 0 }, ALL, BREAKS, 0, { { ~0ull - 63, 64, D } } },
	{ { "addr-sign", 0 }, ALL, BREAKS, 0, { { 1ull << 63, 64, D } } },
	{ { "addr-above-40-bits", 0 }, ALL, BREAKS, 0, { { 1ull << 40, 64, D } } },
	{ { "addr-ram-last", 0 }, ALL, USED, 0, { { A_RAM_LAST, 64, D } } },
	{ { "addr-over-ram-end", OFTEN }, ALL, BREAKS, 0, { { A_RAM_OVER, 64, D } } },
	{ { "addr-ram-end", 0 }, ALL, BREAKS, 0, { { A_RAM_END, 64, D } } },
	{ { "addr-before-ram", 0 }, ALL, BREAKS, 0, { { A_RAM_BEFORE, 64, D } } },
	{ { "addr-own-registers", OFTEN }, ALL, BREAKS, 0, { { A_REGS, 64, D } } },
	{ { "addr-uart", 0 }, ALL, BREAKS, 0, { { A_UART, 64, D } } },
	{ { "addr-gicd", 0 }, ALL, BREAKS, 0, { { A_GICD, 64, D } } },
	{ { "addr-its", ON_ITS }, ALL, BREAKS, 0, { { A_ITS, 64, D } } },
	{ { "addr-ecam", ON_PCI }, ALL, BREAKS, 0, { { A_ECAM, 64, D } } },
	{ { "addr-own-desc", 0 }, ALL, SURVIVES, 0, { { A_DESC, 64, D } } },
	{ { "addr-own-avail", 0 }, ALL, SURVIVES, 0, { { A_AVAIL, 64, D } } },
	{ { "addr-own-used", OFTEN }, ALL, SURVIVES, 0, { { A_USED, 64, D } } },
	{ { "addr-odd", 0 }, ALL, USED, 0, { { A_BUF, 7, D | N, 1 }, { A_BUF2, 3, D } } },
	{ { "len-0", OFTEN }, ALL, BREAKS, 0, { { A_BUF, 0, D } } },
	{ { "len-0-second", 0 }, ALL, BREAKS, 0, { { A_BUF, 16, D | N, 1 }, { A_BUF, 0, D } } },
	{ { "len-0-middle", 0 }, ALL, BREAKS, 0, { { A_BUF, 16, D | N, 1 }, { A_BUF, 0, D | N, 2 }, { A_BUF, 16, D } } },
	{ { "len-0-nowhere", 0 }, ALL, BREAKS, 0, { { A_HOLE, 0, D } } },
	{ { "len-1", 0 }, ALL, USED, 0, { { A_BUF, 1, D } } },
	{ { "len-max", OFTEN }, ALL, BREAKS, 0, { { A_BUF, ~0u, D } } },
	{ { "len-sign", 0 }, ALL, BREAKS, 0, { { A_BUF, 1u << 31, D } } },
	{ { "len-total-overflows", OFTEN }, ALL, BREAKS, 0, { { A_BUF, ~0u - 16, D | N, 1 }, { A_BUF, 64, D } } },
	{ { "order-both", 0 }, ALL, USED, 0, { { A_BUF, 64, N, 1 }, { A_BUF2, 64, DESC_WRITE } } },
	{ { "order-reversed", OFTEN }, ALL, BREAKS, 0, { { A_BUF, 64, DESC_WRITE | N, 1 }, { A_BUF2, 64, 0 } } },
	{ { "order-mixed", 0 }, ALL, BREAKS, 0,
	  { { A_BUF, 64, N, 1 }, { A_BUF, 64, DESC_WRITE | N, 2 }, { A_BUF2, 64, 0 } } },
	{ { "direction-other", 0 }, ALL, USED, 0, { { A_BUF, 64, X } } },
	{ { "flags-unknown", 0 }, ALL, SURVIVES, 0, { { A_BUF, 64, D | 0x0ff8 } } },
	{ { "overlapping", 0 }, ALL, USED, 0, { { A_BUF, 64, D | N, 1 }, { A_BUF, 64, D | N, 2 }, { A_BUF, 64, D } } },
	{ { "indirect-good", 0 }, ALL, USED, 0, { { A_TABLE, 16, I } }, { { A_BUF, 64, D } }, RING_INDIRECT },
	{ { "indirect-not-taken", OFTEN }, RNG | CON, BREAKS, 0, { { A_TABLE, 16, I } }, { { A_BUF, 64, D } } },
	{ { "indirect-nested", OFTEN }, ALL, BREAKS, 0, { { A_TABLE, 32, I } }, { { A_TABLE, 16, I } }, RING_INDIRECT },
	{ { "indirect-nested-second", 0 }, ALL, BREAKS, 0,
	  { { A_TABLE, 32, I } }, { { A_BUF, 8, D | N, 1 }, { A_TABLE, 16, I } }, RING_INDIRECT },
	{ { "indirect-and-next", 0 }, ALL, BREAKS, 0,
	  { { A_TABLE, 16, I | N, 1 }, { A_BUF, 8, D } }, { { A_BUF, 8, D } }, RING_INDIRECT },
	{ { "indirect-loop", OFTEN }, ALL, BREAKS, 0, { { A_TABLE, 16, I } }, { { A_BUF, 8, D | N, 0 } }, RING_INDIRECT },
	{ { "indirect-next-over", 0 }, ALL, BREAKS, 0, { { A_TABLE, 16, I } }, { { A_BUF, 8, D | N, 1 } }, RING_INDIRECT },
	{ { "indirect-len-0", 0 }, ALL, BREAKS, 0, { { A_TABLE, 0, I } }, { { A_BUF, 8, D } }, RING_INDIRECT },
	{ { "indirect-len-odd", 0 }, ALL, BREAKS, 0, { { A_TABLE, 17, I } }, { { A_BUF, 8, D } }, RING_INDIRECT },
	{ { "indirect-len-short", 0 }, ALL, BREAKS, 0, { { A_TABLE, 15, I } }, { { A_BUF, 8, D } }, RING_INDIRECT },
	{ { "indirect-len-max", OFTEN }, ALL, BREAKS, 0, { { A_TABLE, 0xfffffff0, I } }, { { A_BUF, 8, D } }, RING_INDIRECT },
	{ { "indirect-hole", 0 }, ALL, BREAKS, 0, { { A_HOLE, 16, I } }, { { 0 } }, RING_INDIRECT },
	{ { "indirect-wraps", 0 }, ALL, BREAKS, 0, { { ~0ull - 15, 32, I } }, { { 0 } }, RING_INDIRECT },
	{ { "indirect-over-ram-end", 0 }, ALL, BREAKS, 0, { { A_RAM_OVER, 64, I } }, { { 0 } }, RING_INDIRECT },
	{ { "indirect-own-desc", 0 }, ALL, BREAKS, 0, { { A_DESC, 16, I } }, { { 0 } }, RING_INDIRECT },
	{ { "indirect-registers", 0 }, ALL, BREAKS, 0, { { A_REGS, 16, I } }, { { 0 } }, RING_INDIRECT },
	{ { "indirect-entry-hole", 0 }, ALL, BREAKS, 0, { { A_TABLE, 16, I } }, { { A_HOLE, 8, D } }, RING_INDIRECT },
	{ { "indirect-entry-len-0", 0 }, ALL, BREAKS, 0, { { A_TABLE, 16, I } }, { { A_BUF, 0, D } }, RING_INDIRECT },
	{ { "indirect-writable", 0 }, ALL, SURVIVES, 0, { { A_TABLE, 16, I | DESC_WRITE } }, { { A_BUF, 8, D } }, RING_INDIRECT },
	{ { "indirect-unaligned", 0 }, ALL, SURVIVES, 0, { { A_BUF2, 16, I } }, { { A_BUF, 8, D } }, RING_INDIRECT },
};

static uint64_t resolve(struct vdev *d, const struct vq *vq, uint64_t a)
{
	switch (a) {
	case A_BUF: return (uint64_t)buf;
	case A_BUF2: return (uint64_t)buf2 + 1;
	case A_TABLE: return (uint64_t)table;
	case A_DESC: return (uint64_t)vq->desc;
	case A_AVAIL: return (uint64_t)vq->avail;
	case A_USED: return (uint64_t)vq->used;
	case A_RAM_LAST: return ram_end - 64;
	case A_RAM_OVER: return ram_end - 32;
	case A_RAM_END: return ram_end;
	case A_RAM_BEFORE: return ram_start - 32;
	case A_REGS: return d->regs & ~UINT64_C(15);
	case A_UART: return uart_regs();
	case A_GICD: return gic.dist;
	case A_ITS: return gic.its;
	case A_ECAM: return d->pci ? d->pci->cfg : 0;
	case A_HOLE: return 0x10000000000;
	default: return a;
	}
}

static struct vq_desc made(struct vdev *d, const struct vq *vq, const struct line *l)
{
	uint16_t flags = l->flags & 0xfff;

	if (l->flags & D)
		flags |= request_flags(d);
	if (l->flags & X)
		flags |= request_flags(d) ^ DESC_WRITE;
	return (struct vq_desc){ resolve(d, vq, l->addr), l->len, flags, l->next };
}

/* One head that is not looked at. */
static void offer(struct vq *vq, uint16_t head)
{
	vq->avail->ring[vq->next % vq->size] = head;
	DMB();
	vq->avail->idx = ++vq->next;
	vq_kick(vq);
}

static void react(struct vdev *d, enum reaction r)
{
	const char *name = d == rng ? "rng" : d == con ? "console" : "net";

	if (d == net && vhost)
		r = SURVIVES;
	if (r == USED)
		want(uses(request_queue(d)), "%s: not used", name);
	else if (r == BREAKS)
		want(breaks(d), "%s: no NEEDS_RESET", name);
	else
		wait_us(2000);
	if (!want(heals(d), "%s: a reset does not heal", name))
		return;
}

static void run_chain_on(struct vdev *d, const struct chain_row *r)
{
	struct vq *vq = request_queue(d);

	if (!begin(d, r->features))
		return;
	memset(buf, 'v', 256);
	for (unsigned i = 0; i < ARRAY_LEN(r->d); i++)
		vq->desc[i] = made(d, vq, &r->d[i]);
	for (unsigned i = 0; i < ARRAY_LEN(r->t); i++) {
		table[i] = made(d, vq, &r->t[i]);
		memcpy(buf2 + 1 + 16 * i, &table[i], 16);
	}
	offer(vq, r->head);
	react(d, r->reaction);
}

/* Each device that @on names. */
static void each(unsigned on, void (*fn)(struct vdev *d, const void *arg), const void *arg)
{
	if (on & RNG)
		fn(rng, arg);
	if (on & CON)
		fn(con, arg);
	if (on & NET && net)
		fn(net, arg);
}

static void chain_on(struct vdev *d, const void *arg)
{
	run_chain_on(d, arg);
}

static void run_chain(const void *row)
{
	each(((const struct chain_row *)row)->on, chain_on, row);
}

/* Where rings lie, and how long they are said to be */

#define KEEP 0xfffe /* the address or size that is right */

struct place_row {
	struct row row;
	enum reaction reaction;
	uint64_t desc, avail, used;
	unsigned size;
};

static const struct place_row place_rows[] = {
	{ { "ring-good", 0 }, USED, KEEP, KEEP, KEEP, KEEP },
	{ { "ring-desc-0", 0 }, BREAKS, 0, KEEP, KEEP, KEEP },
	{ { "ring-avail-0", 0 }, BREAKS, KEEP, 0, KEEP, KEEP },
	{ { "ring-used-0", 0 }, BREAKS, KEEP, KEEP, 0, KEEP },
	{ { "ring-desc-hole", OFTEN }, BREAKS, A_HOLE, KEEP, KEEP, KEEP },
	{ { "ring-avail-hole", 0 }, BREAKS, KEEP, A_HOLE, KEEP, KEEP },
	{ { "ring-used-hole", OFTEN }, BREAKS, KEEP, KEEP, A_HOLE, KEEP },
	{ { "ring-desc-over-ram", OFTEN }, BREAKS, A_RAM_OVER, KEEP, KEEP, KEEP },
	{ { "ring-avail-over-ram", 0 }, BREAKS, KEEP, A_RAM_OVER, KEEP, KEEP },
	{ { "ring-used-over-ram", 0 }, BREAKS, KEEP, KEEP, A_RAM_OVER, KEEP },
	{ { "ring-desc-ram-end", 0 }, BREAKS, A_RAM_END, KEEP, KEEP, KEEP },
	{ { "ring-desc-before-ram", 0 }, BREAKS, A_RAM_BEFORE, KEEP, KEEP, KEEP },
	{ { "ring-used-before-ram", 0 }, BREAKS, KEEP, KEEP, A_RAM_BEFORE, KEEP },
	{ { "ring-desc-wraps", OFTEN }, BREAKS, ~0ull << 4, KEEP, KEEP, KEEP },
	{ { "ring-avail-wraps", 0 }, BREAKS, KEEP, ~1ull, KEEP, KEEP },
	{ { "ring-used-wraps", 0 }, BREAKS, KEEP, KEEP, ~3ull, KEEP },
	{ { "ring-desc-registers", 0 }, BREAKS, A_REGS, KEEP, KEEP, KEEP },
	{ { "ring-used-registers", OFTEN }, BREAKS, KEEP, KEEP, A_REGS, KEEP },
	{ { "ring-used-gicd", 0 }, BREAKS, KEEP, KEEP, A_GICD, KEEP },
	{ { "ring-desc-misaligned", OFTEN }, BREAKS, A_BUF2, KEEP, KEEP, KEEP },
	{ { "ring-avail-misaligned", 0 }, BREAKS, KEEP, A_BUF2, KEEP, KEEP },
	{ { "ring-used-misaligned", 0 }, BREAKS, KEEP, KEEP, A_BUF2, KEEP },
	{ { "ring-all-at-once", OFTEN }, SURVIVES, A_BUF, A_BUF, A_BUF, KEEP },
	{ { "ring-used-on-avail", 0 }, SURVIVES, KEEP, KEEP, A_AVAIL, KEEP },
	{ { "ring-used-on-desc", 0 }, SURVIVES, KEEP, KEEP, A_DESC, KEEP },
	{ { "ring-size-0", OFTEN }, SURVIVES, KEEP, KEEP, KEEP, 0 },
	{ { "ring-size-1", 0 }, USED, KEEP, KEEP, KEEP, 1 },
	{ { "ring-size-3", 0 }, SURVIVES, KEEP, KEEP, KEEP, 3 },
	{ { "ring-size-over", 0 }, SURVIVES, KEEP, KEEP, KEEP, 512 },
	{ { "ring-size-32768", OFTEN }, SURVIVES, KEEP, KEEP, KEEP, 32768 },
	{ { "ring-size-65535", 0 }, SURVIVES, KEEP, KEEP, KEEP, 65535 },
};

/* As vdev_start() does it, with the places of the row for the request queue. */
static void place_on(struct vdev *d, const void *arg)
{
	const struct place_row *r = arg;
	struct vq *vq = request_queue(d), asked;

	if (!want(vdev_reset(d), "no reset"))
		return;
	vdev_set_status(d, ACKNOWLEDGE | DRIVER);
	vdev_set_features(d, VERSION_1);
	vdev_set_status(d, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	for (unsigned q = 0; q < queues_of(d); q++) {
		vq_make(d, q, vdev_queue_max(d, q));
		d->vq[q].vector = NO_VECTOR;
		asked = d->vq[q];
		if (&d->vq[q] == vq) {
			asked.desc = r->desc == KEEP ? asked.desc : (void *)resolve(d, vq, r->desc);
			asked.avail = r->avail == KEEP ? asked.avail : (void *)resolve(d, vq, r->avail);
			asked.used = r->used == KEEP ? asked.used : (void *)resolve(d, vq, r->used);
			asked.size = r->size == KEEP ? asked.size : r->size;
		}
		vdev_queue_enable(d, &asked);
		d->vq[q].notify = asked.notify;
	}
	vdev_set_status(d, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	vq->size = r->size == 1 ? 1 : vq->size;
	vq_post(vq, 0, buf, 64, request_flags(d));
	vq_kick(vq);
	react(d, r->reaction);
}

static void run_place(const void *row)
{
	each(ALL, place_on, row);
}

/* More than one step */

static void index_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	if (!begin(d, 0))
		return;
	vq->desc[0] = (struct vq_desc){ (uint64_t)buf, 64, request_flags(d), 0 };
	vq->avail->idx = *(const uint16_t *)arg;
	vq_kick(vq);
	react(d, BREAKS);
}

static void index_over(void)
{
	static const uint16_t jump = VQ_MAX + 1;

	each(ALL, index_on, &jump);
}

static void index_max(void)
{
	static const uint16_t jump = 0xffff;

	each(ALL, index_on, &jump);
}

static void index_half(void)
{
	static const uint16_t jump = 0x8000;

	each(ALL, index_on, &jump);
}

static void back_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	if (!begin(d, 0) || !want(trip(d), "no round trip"))
		return;
	vq->avail->idx = (uint16_t)(vq->next - 1);
	vq_kick(vq);
	react(d, BREAKS);
}

static void index_back(void)
{
	each(ALL, back_on, NULL);
}

static void full_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	if (!begin(d, 0))
		return;
	for (unsigned i = 0; i < vq->size; i++)
		vq_post(vq, i, buf, 64, request_flags(d));
	vq_kick(vq);
	react(d, USED);
}

static void index_full(void)
{
	each(ALL, full_on, NULL);
}

/* The same head again before it is used: with rings served at once it may have been. */
static void twice_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	if (!begin(d, 0))
		return;
	vq->desc[3] = (struct vq_desc){ (uint64_t)buf, 64, request_flags(d), 0 };
	for (unsigned i = 0; i < vq->size; i++)
		vq->avail->ring[i] = 3;
	DMB();
	vq->avail->idx = vq->next = (uint16_t)vq->size;
	vq_kick(vq);
	react(d, SURVIVES);
}

static void head_twice(void)
{
	each(ALL, twice_on, NULL);
}

static void wrap_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	if (!begin(d, 0))
		return;
	for (unsigned n = 0; n < 65536 / vq->size + 2; n++) {
		for (unsigned i = 0; i < vq->size; i++)
			vq_post(vq, i, buf, 1, request_flags(d));
		vq_kick(vq);
		if (!want(uses(vq), "round %u: not used", n))
			return;
	}
	react(d, USED);
}

/* 16 bits of index, once around. */
static void index_wraps(void)
{
	each(RNG, wrap_on, NULL);
}

static void long_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	if (!begin(d, RING_INDIRECT))
		return;
	for (unsigned i = 0; i < 300; i++)
		table[i] = (struct vq_desc){ (uint64_t)buf, 8, (uint16_t)(request_flags(d) | N), (uint16_t)(i + 1) };
	table[299].flags &= ~N;
	vq->desc[0] = (struct vq_desc){ (uint64_t)table, 300 * 16, I, 0 };
	offer(vq, 0);
	react(d, BREAKS);
}

/* Longer than any queue. */
static void chain_too_long(void)
{
	each(ALL, long_on, NULL);
}

static void whole_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	if (!begin(d, 0))
		return;
	for (unsigned i = 0; i < vq->size; i++)
		vq->desc[i] = (struct vq_desc){ (uint64_t)buf, 8, (uint16_t)(request_flags(d) | (i + 1 < vq->size ? N : 0)),
						(uint16_t)(i + 1) };
	offer(vq, 0);
	react(d, USED);
}

static void chain_whole(void)
{
	each(ALL, whole_on, NULL);
}

/* Overlapping buffers that add up to much: nothing may be allocated for them. */
static void amplified_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);
	uint32_t len = 16 << 20;

	(void)arg;
	if (!begin(d, RING_INDIRECT))
		return;
	for (unsigned i = 0; i < 60; i++)
		table[i] = (struct vq_desc){ ram_end - len, len, (uint16_t)(request_flags(d) | N), (uint16_t)(i + 1) };
	table[59].flags &= ~N;
	vq->desc[0] = (struct vq_desc){ (uint64_t)table, 60 * 16, I, 0 };
	offer(vq, 0);
	react(d, SURVIVES);
}

static void amplified(void)
{
	each(RNG | NET, amplified_on, NULL);
}

static const uint16_t events[] = { 0, 1, 0x7fff, 0x8000, 0xffff, VQ_MAX };

static void event_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
		if (!begin(d, RING_EVENT_IDX))
			return;
		vq->avail->ring[vq->size] = events[i];
		vq->avail->flags = 0xffff;
		vq->used->flags = 0xffff;
		for (unsigned k = 0; k < 3; k++) {
			vq_post(vq, k, buf, 64, request_flags(d));
			vq_kick(vq);
			want(uses(vq), "event index %x: not used", events[i]);
		}
	}
	react(d, USED);
}

static void event_garbage(void)
{
	each(ALL, event_on, NULL);
}

/* The device's own ring, rewritten below it. */
static void used_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	if (!begin(d, 0))
		return;
	vq->used->idx = 0x1234;
	memset((void *)vq->used->ring, 0xff, 64);
	vq_post(vq, 0, buf, 64, request_flags(d));
	vq_kick(vq);
	react(d, USED);
}

static void used_rewritten(void)
{
	each(ALL, used_on, NULL);
}

static void many_posted_on(struct vdev *d, const void *arg)
{
	struct vq *vq = request_queue(d);

	(void)arg;
	if (!begin(d, 0))
		return;
	for (unsigned i = 0; i < 2000; i++) {
		vq_post(vq, i % vq->size, buf, 64, request_flags(d));
		if (i % vq->size == 0)
			vq_kick(vq);
	}
	react(d, SURVIVES);
}

/* Requests without looking at what was used. */
static void without_reaping(void)
{
	each(ALL, many_posted_on, NULL);
}

/* A helper rewrites what the device reads: each fetched once, or else ASan's cousin on the host finds it. */
static struct vq *raced;

static void race_desc(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		raced->desc[0].len = 64;
		raced->desc[0].addr = (uint64_t)buf;
		raced->desc[0].len = 0xffffffff;
		raced->desc[0].addr = ~UINT64_C(63);
		raced->desc[0].next = (uint16_t)noise();
		raced->desc[0].flags ^= DESC_NEXT;
	}
}

static void race_avail(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		raced->avail->ring[raced->next % raced->size] = (uint16_t)noise();
		raced->avail->idx = (uint16_t)(raced->next + (noise() & 3));
		raced->avail->idx = raced->next;
	}
}

static void race_table(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		raced->desc[0].len = 16;
		table[0].addr = (uint64_t)buf;
		table[0].len = 8;
		table[0].flags = DESC_NEXT;
		table[0].addr = ~UINT64_C(0);
		table[0].flags = DESC_INDIRECT;
		raced->desc[0].len = 0xfffffff0;
	}
}

static void race_on(struct vdev *d, void (*racer)(void *arg))
{
	raced = request_queue(d);
	for (unsigned i = 0; i < 20; i++) {
		if (!begin(d, RING_INDIRECT))
			return;
		raced->desc[0] = (struct vq_desc){ (uint64_t)buf, 64, request_flags(d), 0 };
		if (racer == race_table)
			raced->desc[0] = (struct vq_desc){ (uint64_t)table, 16, I, 0 };
		if (!helper_start(1, racer, NULL))
			return;
		for (unsigned k = 0; k < 20; k++)
			offer(raced, 0);
		if (!helper_join(1))
			return;
	}
	react(d, SURVIVES);
}

static void each_race(void (*racer)(void *arg))
{
	race_on(rng, racer);
	race_on(con, racer);
	if (net)
		race_on(net, racer);
}

static void toctou_desc(void)
{
	each_race(race_desc);
}

static void toctou_avail(void)
{
	each_race(race_avail);
}

static void toctou_table(void)
{
	each_race(race_table);
}

static const struct fn_row fn_rows[] = {
	{ { "index-over", OFTEN }, index_over },
	{ { "index-max", 0 }, index_max },
	{ { "index-half", 0 }, index_half },
	{ { "index-back", OFTEN }, index_back },
	{ { "index-full", 0 }, index_full },
	{ { "index-wraps", 0 }, index_wraps },
	{ { "head-twice", OFTEN }, head_twice },
	{ { "chain-too-long", 0 }, chain_too_long },
	{ { "chain-whole", 0 }, chain_whole },
	{ { "amplified", OFTEN }, amplified },
	{ { "event-garbage", 0 }, event_garbage },
	{ { "used-rewritten", OFTEN }, used_rewritten },
	{ { "without-reaping", 0 }, without_reaping },
	{ { "toctou-desc", OFTEN | ON_CPUS }, toctou_desc },
	{ { "toctou-avail", ON_CPUS }, toctou_avail },
	{ { "toctou-table", ON_CPUS }, toctou_table },
};

const struct family vq_tables[] = {
	FAMILY(chain_rows, run_chain), FAMILY(place_rows, run_place), FAMILY(fn_rows, run_fn), { 0 },
};
