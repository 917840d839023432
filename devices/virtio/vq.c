/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq - the device's side of a split virtqueue
 *
 * Theory of operation. The driver owns the descriptor table and the available ring, we own
 * the used ring; all three are guest memory that any vCPU may rewrite at any moment. Hence:
 *
 * - A field is fetched once into a local (guest_copy(), or an atomic load), checked there and
 *   used from there. Nothing that was read before is believed when it is needed again: the
 *   heads that are out are remembered in @taken and @order, not looked up in the ring.
 * - Addresses become pointers in gmem only, each part wholly inside one region.
 * - Work per chain is bounded twice: a chain visits at most @size descriptors of the table
 *   plus those of one indirect table, and each of them takes one of the caller's cap parts.
 * - The first violation sets @broken. From then on the queue gives nothing and writes nothing.
 *
 * A descriptor of length zero breaks the ring. The specification gives it no meaning, no
 * driver makes one, and refusing it makes every visited descriptor consume a part.
 *
 * Ordering. avail->idx is loaded with acquire; it pairs with the driver's store-release after
 * it filled the ring. used->idx is stored with release; it pairs with the driver's load of it.
 * "Publish, then look whether an interrupt is wanted" and "ask for kicks, then look for
 * chains" are each a store followed by a load of what the other side stores and loads in the
 * opposite order, and need a full barrier between.
 */
#include "devices/virtio/vq.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <linux/virtio_ring.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian and so are we");
static_assert(sizeof(struct vring_desc) == 16, "s2.7.5");
static_assert(sizeof(struct vring_used_elem) == 8, "s2.7.8");

/* Fetches once: after the fence the compiler may not go back to @src for the same bytes. */
static void guest_copy(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	atomic_signal_fence(memory_order_seq_cst);
}

static uint16_t load16(const void *p)
{
	return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
}

static void store16(void *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, v, __ATOMIC_RELAXED);
}

static struct vring_avail *avail_of(const struct vq *q)
{
	return q->avail;
}

static struct vring_used *used_of(const struct vq *q)
{
	return q->used;
}

/* The word behind the available ring: the driver's used_event. */
static uint16_t *used_event(const struct vq *q)
{
	return &avail_of(q)->ring[q->size];
}

/* The word behind the used ring: our avail_event. */
static void *avail_event(const struct vq *q)
{
	return &used_of(q)->ring[q->size];
}

static bool head_taken(const struct vq *q, uint16_t head)
{
	return q->taken[head / 64] & BIT64(head % 64);
}

static int vq_break(struct vq *q)
{
	q->broken = true;
	return -EPROTO;
}

int vq_start(struct vq *q, const struct gmem *mem, const struct vq_regs *r, bool event_idx, bool indirect)
{
	uint16_t size = r->size;
	void *desc, *avail, *used;

	if (!is_pow2(size) || size > r->max || size > VQ_MAX_SIZE)
		return -EINVAL;
	if (!is_aligned(r->desc, 16) || !is_aligned(r->avail, 2) || !is_aligned(r->used, 4))
		return -EINVAL;

	/* Sizes of s2.7, the event words counted whether or not they are negotiated. */
	desc = gmem_ptr(mem, r->desc, 16 * (uint64_t)size);
	avail = gmem_ptr(mem, r->avail, 6 + 2 * (uint64_t)size);
	used = gmem_ptr(mem, r->used, 6 + 8 * (uint64_t)size);
	if (!desc || !avail || !used)
		return -EFAULT;

	q->mem = mem;
	q->size = size;
	q->next_avail = 0;
	q->next_used = 0;
	q->signalled_used = 0;
	q->event_idx = event_idx;
	q->indirect = indirect;
	q->broken = false;
	q->desc_gpa = r->desc;
	q->avail_gpa = r->avail;
	q->used_gpa = r->used;
	q->desc = desc;
	q->avail = avail;
	q->used = used;
	memset(q->taken, 0, sizeof(q->taken));
	q->started = true;
	return 0;
}

void vq_stop(struct vq *q)
{
	q->started = false;
	q->broken = false;
	q->desc = NULL;
	q->avail = NULL;
	q->used = NULL;
}

static bool vq_live(const struct vq *q)
{
	return q->started && !q->broken;
}

/* How far the driver is ahead of us; a hostile one may claim more than @size. */
static uint16_t vq_ahead(const struct vq *q)
{
	/* Acquire: what the ring and the descriptors say was written before idx. */
	uint16_t idx = __atomic_load_n(&avail_of(q)->idx, __ATOMIC_ACQUIRE);

	return (uint16_t)(idx - q->next_avail);
}

/* One fetched descriptor of a table of @n entries at @table; false where @i is outside. */
static bool fetch_desc(const void *table, uint32_t n, uint32_t i, struct vring_desc *ret_desc)
{
	if (i >= n)
		return false;
	guest_copy(ret_desc, (const char *)table + (size_t)i * sizeof(*ret_desc), sizeof(*ret_desc));
	return true;
}

/* Adds the buffer of @d to the chain. */
static bool add_part(const struct vq *q, struct vq_chain *c, const struct vring_desc *d)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	unsigned n = c->n_out + c->n_in;
	uint32_t total;
	void *p;

	if (n >= c->cap || (!in && c->n_in))
		return false;
	/* s2.7.5.2: a chain is at most 2^32 - 1 bytes in all. */
	if (__builtin_add_overflow(c->len_out + c->len_in, d->len, &total))
		return false;
	p = gmem_ptr(q->mem, d->addr, d->len); /* NULL for length zero, too */
	if (!d->len || !p)
		return false;

	c->iov[n] = (struct iovec){ .iov_base = p, .iov_len = d->len };
	if (in) {
		c->n_in++;
		c->len_in += d->len;
	} else {
		c->n_out++;
		c->len_out += d->len;
	}
	return true;
}

/* Follows the chain through one table of @n descriptors from @i; at most @n steps. */
static bool walk_table(const struct vq *q, struct vq_chain *c, const void *table, uint32_t n, uint32_t i,
		       struct vring_desc *ret_indirect)
{
	struct vring_desc d;
	uint32_t steps;

	for (steps = 0; steps < n; steps++) {
		if (!fetch_desc(table, n, i, &d))
			return false;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!ret_indirect || (d.flags & VRING_DESC_F_NEXT))
				return false;
			*ret_indirect = d;
			return true;
		}
		if (!add_part(q, c, &d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		i = d.next;
	}
	return false; /* a loop */
}

/* s2.7.5.3: an indirect descriptor ends the chain; its table may not refer to another one. */
static bool walk_chain(const struct vq *q, struct vq_chain *c)
{
	struct vring_desc ind = { 0 };
	const void *table;
	uint32_t n;

	if (!walk_table(q, c, q->desc, q->size, c->head, q->indirect ? &ind : NULL))
		return false;
	if (!(ind.flags & VRING_DESC_F_INDIRECT))
		return true;

	n = ind.len / sizeof(struct vring_desc);
	if (!n || ind.len % sizeof(struct vring_desc) || n > VQ_MAX_SIZE)
		return false;
	table = gmem_ptr(q->mem, ind.addr, ind.len);
	return table && walk_table(q, c, table, n, 0, NULL);
}

int vq_pop(struct vq *q, struct vq_chain *c)
{
	uint16_t ahead, out, head;

	if (!q->started)
		return 0;
	if (q->broken)
		return -EPROTO;
	ahead = vq_ahead(q);
	if (!ahead)
		return 0;
	out = (uint16_t)(q->next_avail - q->next_used);
	if (ahead > q->size || out >= q->size)
		return vq_break(q);
	head = load16(&avail_of(q)->ring[q->next_avail & (q->size - 1)]);
	if (head >= q->size || head_taken(q, head))
		return vq_break(q);

	c->head = head;
	c->n_out = 0;
	c->n_in = 0;
	c->len_out = 0;
	c->len_in = 0;
	if (!walk_chain(q, c))
		return vq_break(q);

	q->taken[head / 64] |= BIT64(head % 64);
	q->order[q->next_avail & (q->size - 1)] = head;
	q->next_avail++;
	return 1;
}

void vq_unpop(struct vq *q, unsigned n)
{
	if (!q->started)
		return;
	for (; n; n--) {
		uint16_t head;

		q->next_avail--;
		head = q->order[q->next_avail & (q->size - 1)];
		assert(head_taken(q, head));
		q->taken[head / 64] &= ~BIT64(head % 64);
	}
}

void vq_push(struct vq *q, uint16_t head, uint32_t len)
{
	struct vring_used_elem e = { .id = head, .len = len };

	if (!vq_live(q))
		return;
	assert(head < q->size && head_taken(q, head));
	q->taken[head / 64] &= ~BIT64(head % 64);
	memcpy(&used_of(q)->ring[q->next_used & (q->size - 1)], &e, sizeof(e));
	q->next_used++;
}

void vq_publish(struct vq *q)
{
	if (vq_live(q)) /* release: elements before the index that shows them */
		__atomic_store_n(&used_of(q)->idx, q->next_used, __ATOMIC_RELEASE);
}

bool vq_wants_irq(struct vq *q)
{
	uint16_t old = q->signalled_used;

	if (!vq_live(q) || old == q->next_used)
		return false;
	/* The driver stores used_event or flags, then loads used->idx; we did the opposite. */
	atomic_thread_fence(memory_order_seq_cst);
	q->signalled_used = q->next_used;
	if (q->event_idx)
		return vring_need_event(load16(used_event(q)), q->next_used, old);
	return !(load16(&avail_of(q)->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

bool vq_enable_kick(struct vq *q)
{
	if (!vq_live(q))
		return false;
	if (q->event_idx)
		store16(avail_event(q), q->next_avail);
	else
		store16(&used_of(q)->flags, 0);
	/* The driver stores avail->idx, then loads what we just stored. */
	atomic_thread_fence(memory_order_seq_cst);
	return vq_ahead(q) != 0;
}

void vq_disable_kick(struct vq *q)
{
	/* With the event index there is nothing to say: an old avail_event stays behind. */
	if (vq_live(q) && !q->event_idx)
		store16(&used_of(q)->flags, VRING_USED_F_NO_NOTIFY);
}
