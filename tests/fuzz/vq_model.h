/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq_model - a split virtqueue written down a second time, from the specification
 *
 * What:   what vq.h should make of what it reads, part by part. How guest memory is read is the
 *         harness's: from a copy of it, or from a record of what the code under test has seen.
 * Source: virtio 1.2 s2.7.
 */
#ifndef TESTS_FUZZ_VQ_MODEL_H
#define TESTS_FUZZ_VQ_MODEL_H

#include <linux/virtio_ring.h>

#include "devices/virtio/vq.h"
#include "tests/fuzz/fuzz.h"

struct model_part {
	gpa_t gpa;
	uint32_t len;
	bool in;
};

struct vq_model {
	void (*read)(gpa_t gpa, void *buf, size_t len);
	bool (*is_ram)(gpa_t gpa, uint64_t len);
	uint16_t size;
	bool event_idx, indirect, broken;
	gpa_t desc, avail, used;
	uint16_t next_avail, next_used, told;
	bool taken[VQ_MAX_SIZE];
	/* the chain of the last pop */
	uint16_t head;
	struct model_part parts[VQ_MAX_SIZE];
	unsigned n, cap;
};

/* What vq_start() should say: 0, or that it refuses. */
static inline bool model_startable(const struct vq_model *m, uint16_t max)
{
	const uint64_t n = m->size;

	return n && !(n & (n - 1)) && n <= max && !(m->desc % 16) && !(m->avail % 2) && !(m->used % 4) &&
	       m->is_ram(m->desc, 16 * n) && m->is_ram(m->avail, 6 + 2 * n) && m->is_ram(m->used, 6 + 8 * n);
}

static inline bool model_add(struct vq_model *m, const struct vring_desc *d)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	uint64_t sum = d->len;

	for (unsigned i = 0; i < m->n; i++)
		sum += m->parts[i].len;
	if (m->n == m->cap || !d->len || sum > UINT32_MAX || !m->is_ram(d->addr, d->len) ||
	    (m->n && m->parts[m->n - 1].in && !in))
		return false;
	m->parts[m->n++] = (struct model_part){ .gpa = d->addr, .len = d->len, .in = in };
	return true;
}

static inline bool model_walk(struct vq_model *m, gpa_t table, uint32_t n, uint32_t i, bool direct)
{
	struct vring_desc d;

	for (uint32_t left = n; left && i < n; left--, i = d.next) {
		m->read(table + 16 * (gpa_t)i, &d, sizeof(d));
		if (d.flags & VRING_DESC_F_INDIRECT)
			return direct && m->indirect && !(d.flags & VRING_DESC_F_NEXT) && d.len && !(d.len % 16) &&
			       d.len / 16 <= VQ_MAX_SIZE && m->is_ram(d.addr, d.len) &&
			       model_walk(m, d.addr, d.len / 16, 0, false);
		if (!model_add(m, &d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
	}
	return false;
}

static inline uint16_t model_read16(const struct vq_model *m, gpa_t gpa)
{
	uint16_t v;

	m->read(gpa, &v, sizeof(v));
	return v;
}

/* As vq_pop(): 1, 0, or less where the ring is broken. */
static inline int model_pop(struct vq_model *m, unsigned cap)
{
	uint16_t ahead;

	if (m->broken)
		return -1;
	ahead = (uint16_t)(model_read16(m, m->avail + 2) - m->next_avail);
	if (!ahead)
		return 0;
	m->broken = true; /* unless the end is reached */
	if (ahead > m->size || (uint16_t)(m->next_avail - m->next_used) >= m->size)
		return -1;
	m->head = model_read16(m, m->avail + 4 + 2 * (gpa_t)(m->next_avail % m->size));
	m->n = 0;
	m->cap = cap;
	if (m->head >= m->size || m->taken[m->head] || !model_walk(m, m->desc, m->size, m->head, true))
		return -1;
	m->broken = false;
	m->taken[m->head] = true;
	m->next_avail++;
	return 1;
}

/* Is one of the used elements since the last question the one that the driver waits for? */
static inline bool model_wants_irq(struct vq_model *m)
{
	uint16_t old = m->told;

	if (m->broken || old == m->next_used)
		return false;
	m->told = m->next_used;
	if (!m->event_idx)
		return !(model_read16(m, m->avail) & VRING_AVAIL_F_NO_INTERRUPT);
	return (uint16_t)(model_read16(m, m->avail + 4 + 2 * (gpa_t)m->size) - old) < (uint16_t)(m->next_used - old);
}

/* Is chain @c the model's? @hva: where a guest's address is. */
static inline void model_compare(const struct vq_model *m, const struct vq_chain *c, char *(*hva)(gpa_t gpa))
{
	uint32_t len[2] = { 0, 0 };

	must(c->head == m->head && c->n_out + c->n_in == m->n);
	for (unsigned i = 0; i < m->n; i++) {
		must((i >= c->n_out) == m->parts[i].in);
		must(c->iov[i].iov_base == hva(m->parts[i].gpa) && c->iov[i].iov_len == m->parts[i].len);
		len[m->parts[i].in] += m->parts[i].len;
	}
	must(c->len_out == len[0] && c->len_in == len[1]);
}

#endif
