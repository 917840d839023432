/* SPDX-License-Identifier: BSD-3-Clause */
/* vq: the split ring against a driver that may write anything. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include "devices/virtio/vq.h"
#include "tests/fake/driver.h"

#define LOW 0x40000000  /* two regions with a hole between them */
#define LOW_SIZE 0x10000
#define HIGH 0x40020000
#define HIGH_SIZE 0x10000
#define BUF (LOW + 0x8000)

#define SIZE 8
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define IND VRING_DESC_F_INDIRECT

static struct gmem *mem;
static struct fake_ring ring;
static struct vq vq;
static struct iovec iov[64];
static struct vq_chain chain;

static void start(uint16_t size, bool event_idx, bool indirect)
{
	struct vq_regs regs;

	fake_ring_init(&ring, mem, LOW, size);
	regs = fake_ring_regs(&ring);
	vq_stop(&vq);
	ck_assert_int_eq(vq_start(&vq, mem, &regs, event_idx, indirect), 0);
	chain = (struct vq_chain){ .iov = iov, .cap = ARRAY_LEN(iov) };
}

static void setup(void)
{
	ck_assert_int_eq(gmem_new(&mem), 0);
	ck_assert_int_eq(gmem_add(mem, LOW, LOW_SIZE, false), 0);
	ck_assert_int_eq(gmem_add(mem, HIGH, HIGH_SIZE, false), 0);
	start(SIZE, false, false);
}

static void teardown(void)
{
	vq_stop(&vq);
	gmem_free(mem);
}

/* The ring broke, stays broken, and a new start heals it. */
static void assert_broken(void)
{
	uint16_t used = fake_ring_used_idx(&ring);

	ck_assert_int_eq(vq_pop(&vq, &chain), -EPROTO);
	ck_assert_int_eq(vq_pop(&vq, &chain), -EPROTO);
	ck_assert(vq.broken);
	vq_push(&vq, 0, 0);
	vq_publish(&vq);
	ck_assert(!vq_wants_irq(&vq));
	ck_assert(!vq_enable_kick(&vq));
	vq_disable_kick(&vq);
	ck_assert_uint_eq(fake_ring_used_idx(&ring), used);

	start(SIZE, false, false);
	fake_ring_add(&ring, &(struct fake_part){ BUF, 16, true }, 1);
	ck_assert_int_eq(vq_pop(&vq, &chain), 1);
}

static void pop_one(void)
{
	ck_assert_int_eq(vq_pop(&vq, &chain), 1);
}

static void push_one(uint16_t head, uint32_t len)
{
	vq_push(&vq, head, len);
	vq_publish(&vq);
}

/* ---- start -------------------------------------------------------------------------------- */

START_TEST(test_vq_start_bad_size_refused)
{
	static const uint16_t bad[] = { 0, 3, 7, 12, 16, 0x8000, 0xffff }; /* max is 8 */
	struct vq_regs r = fake_ring_regs(&ring);

	vq_stop(&vq);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		r.size = bad[i];
		ck_assert_int_eq(vq_start(&vq, mem, &r, false, false), -EINVAL);
		ck_assert(!vq.started);
	}
	r.max = 0xffff;
	r.size = 2 * VQ_MAX_SIZE;
	ck_assert_int_eq(vq_start(&vq, mem, &r, false, false), -EINVAL);
}
END_TEST

START_TEST(test_vq_start_misaligned_refused)
{
	struct vq_regs r = fake_ring_regs(&ring), m;

	vq_stop(&vq);
	for (unsigned i = 1; i < 16; i++) {
		m = r;
		m.desc += i;
		ck_assert_int_eq(vq_start(&vq, mem, &m, false, false), -EINVAL);
	}
	m = r;
	m.avail += 1;
	ck_assert_int_eq(vq_start(&vq, mem, &m, false, false), -EINVAL);
	m = r;
	m.used += 2;
	ck_assert_int_eq(vq_start(&vq, mem, &m, false, false), -EINVAL);
}
END_TEST

/* Each area at the last place where it fits, and one step behind; in the hole; wrapping. */
START_TEST(test_vq_start_area_on_edge_of_ram)
{
	struct vq_regs r = fake_ring_regs(&ring), m;
	gpa_t end = LOW + LOW_SIZE;
	struct { gpa_t *area; gpa_t size, align; } a[] = {
		{ &m.desc, 16 * SIZE, 16 }, { &m.avail, 6 + 2 * SIZE, 2 }, { &m.used, 6 + 8 * SIZE, 4 },
	};
	gpa_t bad[] = { end, HIGH - 16, 0, HIGH + HIGH_SIZE, UINT64_MAX - 15, 1ULL << 63 };

	for (unsigned i = 0; i < ARRAY_LEN(a); i++) {
		m = r;
		*a[i].area = align_down(end - a[i].size, a[i].align);
		vq_stop(&vq);
		ck_assert_int_eq(vq_start(&vq, mem, &m, false, false), 0);
		vq_stop(&vq);
		*a[i].area += a[i].align;
		ck_assert_int_eq(vq_start(&vq, mem, &m, false, false), -EFAULT);
		for (unsigned j = 0; j < ARRAY_LEN(bad); j++) {
			*a[i].area = bad[j];
			ck_assert_int_eq(vq_start(&vq, mem, &m, false, false), -EFAULT);
		}
	}
}
END_TEST

START_TEST(test_vq_not_started_gives_nothing)
{
	fake_ring_add(&ring, &(struct fake_part){ BUF, 16, true }, 1);
	vq_stop(&vq);
	ck_assert_int_eq(vq_pop(&vq, &chain), 0);
	vq_push(&vq, 0, 0);
	vq_publish(&vq);
	vq_unpop(&vq, 1);
	ck_assert(!vq_wants_irq(&vq));
	ck_assert(!vq_enable_kick(&vq));
	vq_disable_kick(&vq);
	ck_assert_uint_eq(fake_ring_used_idx(&ring), 0);
}
END_TEST

/* ---- the ordinary ------------------------------------------------------------------------- */

START_TEST(test_vq_chain_comes_out_as_put_in)
{
	struct fake_part p[] = { { BUF, 10, false }, { HIGH, 20, false }, { BUF + 100, 30, true }, { HIGH + 99, 1, true } };
	uint32_t id, len;
	uint16_t head = fake_ring_add(&ring, p, 4);

	pop_one();
	ck_assert_uint_eq(chain.head, head);
	ck_assert_uint_eq(chain.n_out, 2);
	ck_assert_uint_eq(chain.n_in, 2);
	ck_assert_uint_eq(chain.len_out, 30);
	ck_assert_uint_eq(chain.len_in, 31);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_ptr_eq(iov[i].iov_base, gmem_ptr(mem, p[i].addr, p[i].len));
		ck_assert_uint_eq(iov[i].iov_len, p[i].len);
	}
	ck_assert_int_eq(vq_pop(&vq, &chain), 0);

	vq_push(&vq, head, 31);
	ck_assert(!fake_ring_used(&ring, &id, &len)); /* not before it is published */
	vq_publish(&vq);
	ck_assert(fake_ring_used(&ring, &id, &len));
	ck_assert_uint_eq(id, head);
	ck_assert_uint_eq(len, 31);
	ck_assert(!fake_ring_used(&ring, &id, &len));
}
END_TEST

START_TEST(test_vq_buffer_up_to_end_of_region_taken)
{
	fake_ring_add(&ring, &(struct fake_part){ LOW + LOW_SIZE - 1, 1, true }, 1);
	fake_ring_add(&ring, &(struct fake_part){ HIGH, HIGH_SIZE, true }, 1);
	pop_one();
	pop_one();
}
END_TEST

/* 200,000 chains through 8 places: all indices wrap three times. */
START_TEST(test_vq_indices_wrap)
{
	uint32_t id, len;

	for (unsigned i = 0; i < 140000; i++) {
		uint16_t head = fake_ring_add(&ring, &(struct fake_part){ BUF, 1 + i % 99, i & 1 }, 1);

		pop_one();
		ck_assert_uint_eq(chain.len_in + chain.len_out, 1 + i % 99);
		push_one(chain.head, i);
		ck_assert(fake_ring_used(&ring, &id, &len));
		ck_assert(id == head && len == i);
	}
}
END_TEST

START_TEST(test_vq_size_one_works)
{
	uint32_t id, len;

	start(1, true, false);
	for (unsigned i = 0; i < 70000; i++) {
		fake_ring_add(&ring, &(struct fake_part){ BUF, 4, true }, 1);
		pop_one();
		push_one(0, 4);
		ck_assert(fake_ring_used(&ring, &id, &len));
	}
}
END_TEST

START_TEST(test_vq_full_ring_taken_and_given_back_out_of_order)
{
	uint16_t heads[SIZE];
	uint32_t id, len;

	for (unsigned i = 0; i < SIZE; i++)
		fake_ring_add(&ring, &(struct fake_part){ BUF + 16 * i, 16, true }, 1);
	for (unsigned i = 0; i < SIZE; i++) {
		pop_one();
		heads[i] = chain.head;
	}
	for (unsigned i = SIZE; i-- > 0;)
		vq_push(&vq, heads[i], i);
	vq_publish(&vq);
	for (unsigned i = SIZE; i-- > 0;) {
		ck_assert(fake_ring_used(&ring, &id, &len));
		ck_assert(id == heads[i] && len == i);
	}
}
END_TEST

START_TEST(test_vq_unpop_gives_the_same_again)
{
	uint16_t a = fake_ring_add(&ring, &(struct fake_part){ BUF, 1, true }, 1);
	uint16_t b = fake_ring_add(&ring, &(struct fake_part){ BUF, 2, true }, 1);
	uint16_t c = fake_ring_add(&ring, &(struct fake_part){ BUF, 3, true }, 1);

	pop_one();
	pop_one();
	pop_one();
	vq_push(&vq, a, 1); /* the older one may be done already */
	vq_unpop(&vq, 2);
	pop_one();
	ck_assert_uint_eq(chain.head, b);
	pop_one();
	ck_assert_uint_eq(chain.head, c);
	ck_assert_uint_eq(chain.len_in, 3);
	vq_unpop(&vq, 1);
	vq_unpop(&vq, 1);
	vq_unpop(&vq, 0);
	pop_one();
	ck_assert_uint_eq(chain.head, b);
}
END_TEST

/* What is given back is remembered here: the guest cannot exchange it for another head. */
START_TEST(test_vq_unpop_after_guest_changed_ring)
{
	uint16_t a = fake_ring_add(&ring, &(struct fake_part){ BUF, 1, true }, 1);

	fake_ring_desc(&ring, 5, BUF, 5, WRITE, 0);
	pop_one();
	ring.avail_idx--;
	fake_ring_put(&ring, 5);
	vq_unpop(&vq, 1);
	pop_one();
	ck_assert_uint_eq(chain.head, 5);
	fake_ring_put(&ring, a); /* head a is free again and may come */
	fake_ring_show(&ring);
	pop_one();
	ck_assert_uint_eq(chain.head, a);
}
END_TEST

/* ---- hostile chains ----------------------------------------------------------------------- */

START_TEST(test_vq_head_outside_table_breaks)
{
	static const uint16_t bad[] = { SIZE, SIZE + 1, 0x7fff, 0x8000, 0xffff };

	fake_ring_put(&ring, bad[_i]);
	fake_ring_show(&ring);
	assert_broken();
}
END_TEST

START_TEST(test_vq_next_outside_table_breaks)
{
	static const uint16_t bad[] = { SIZE, 0x8000, 0xffff };

	fake_ring_desc(&ring, 0, BUF, 4, NEXT, bad[_i]);
	fake_ring_put(&ring, 0);
	fake_ring_show(&ring);
	assert_broken();
}
END_TEST

/* A loop of any length, entered anywhere. */
START_TEST(test_vq_chain_loop_breaks)
{
	for (uint16_t i = 0; i < SIZE; i++)
		fake_ring_desc(&ring, i, BUF, 4, NEXT, i == SIZE - 1 ? (uint16_t)_i : (uint16_t)(i + 1));
	fake_ring_put(&ring, 0);
	fake_ring_show(&ring);
	assert_broken();
}
END_TEST

START_TEST(test_vq_chain_as_long_as_ring_taken)
{
	struct fake_part p[SIZE];

	for (unsigned i = 0; i < SIZE; i++)
		p[i] = (struct fake_part){ BUF, 4, i > 3 };
	fake_ring_add(&ring, p, SIZE);
	pop_one();
	ck_assert_uint_eq(chain.n_out + chain.n_in, SIZE);
}
END_TEST

START_TEST(test_vq_more_parts_than_cap_breaks)
{
	struct fake_part p[] = { { BUF, 4, false }, { BUF, 4, false }, { BUF, 4, true } };

	chain.cap = 3;
	fake_ring_add(&ring, p, 3);
	pop_one();
	push_one(chain.head, 0);
	chain.cap = 2;
	fake_ring_add(&ring, p, 3);
	assert_broken();
}
END_TEST

/* Length zero at each place of a chain. */
START_TEST(test_vq_zero_length_breaks)
{
	struct fake_part p[4] = { { BUF, 4, false }, { BUF, 4, false }, { BUF, 4, true }, { BUF, 4, true } };

	p[_i].len = 0;
	fake_ring_add(&ring, p, 4);
	assert_broken();
}
END_TEST

START_TEST(test_vq_bad_buffer_breaks)
{
	static const struct fake_part bad[] = {
		{ LOW, UINT32_MAX, true },                /* longer than all RAM */
		{ LOW, 0x80000000, true },
		{ LOW + LOW_SIZE, 1, true },              /* the hole */
		{ LOW + LOW_SIZE - 1, 2, true },          /* one byte into it */
		{ LOW, HIGH + HIGH_SIZE - LOW, true },    /* across it */
		{ HIGH - 1, 2, false },
		{ HIGH + HIGH_SIZE, 1, false },           /* behind RAM */
		{ 0, 4096, false },
		{ 0x09000000, 4, true },                  /* a device */
		{ UINT64_MAX, 1, true },                  /* the sum wraps */
		{ UINT64_MAX - 3, 8, true },
		{ 0x8000000040000000, 16, true },
	};

	fake_ring_add(&ring, &bad[_i], 1);
	assert_broken();
}
END_TEST

START_TEST(test_vq_readable_after_writable_breaks)
{
	struct fake_part p[] = { { BUF, 4, false }, { BUF, 4, true }, { BUF, 4, false } };

	fake_ring_add(&ring, p, 3);
	assert_broken();
}
END_TEST

START_TEST(test_vq_avail_jump_breaks)
{
	static const uint16_t jump[] = { SIZE + 1, SIZE + 2, 0x7fff, 0x8000, 0xffff };

	fake_ring_desc(&ring, 0, BUF, 4, 0, 0);
	fake_ring_set_avail_idx(&ring, jump[_i]);
	assert_broken();
}
END_TEST

START_TEST(test_vq_avail_back_breaks)
{
	fake_ring_add(&ring, &(struct fake_part){ BUF, 4, true }, 1);
	pop_one();
	push_one(chain.head, 4);
	fake_ring_set_avail_idx(&ring, 0);
	ck_assert(vq_enable_kick(&vq)); /* which asks for a pop */
	assert_broken();
}
END_TEST

START_TEST(test_vq_head_twice_breaks)
{
	uint16_t a = fake_ring_add(&ring, &(struct fake_part){ BUF, 4, true }, 1);

	pop_one();
	fake_ring_put(&ring, a);
	fake_ring_show(&ring);
	assert_broken();
}
END_TEST

START_TEST(test_vq_head_again_after_use_taken)
{
	uint16_t a = fake_ring_add(&ring, &(struct fake_part){ BUF, 4, true }, 1);

	pop_one();
	push_one(a, 4);
	fake_ring_put(&ring, a);
	fake_ring_show(&ring);
	pop_one();
}
END_TEST

/* A driver that goes on without looking at the used ring gets no more out than the ring holds. */
START_TEST(test_vq_submit_without_reaping_bounded)
{
	int r, n = 0;

	for (unsigned i = 0; i < 3 * SIZE; i++) {
		fake_ring_add(&ring, &(struct fake_part){ BUF, 4, true }, 1);
		r = vq_pop(&vq, &chain);
		if (r == 1)
			n++;
		else
			ck_assert_int_eq(r, -EPROTO);
	}
	ck_assert_int_eq(n, SIZE);
	assert_broken();
}
END_TEST

START_TEST(test_vq_overlapping_parts_bounded_by_cap)
{
	struct fake_part p[SIZE];

	for (unsigned i = 0; i < SIZE; i++)
		p[i] = (struct fake_part){ HIGH, HIGH_SIZE, true };
	fake_ring_add(&ring, p, SIZE);
	pop_one(); /* legal, and no more than SIZE times RAM */
	ck_assert_uint_eq(chain.len_in, SIZE * HIGH_SIZE);
}
END_TEST

/* ---- indirect ----------------------------------------------------------------------------- */

#define TABLE (LOW + 0x4000)

static void put_indirect(gpa_t table, uint32_t len, uint16_t flags)
{
	fake_ring_desc(&ring, 0, table, len, IND | flags, 1);
	fake_ring_put(&ring, 0);
	fake_ring_show(&ring);
}

START_TEST(test_vq_indirect_taken)
{
	start(SIZE, false, true);
	fake_table_desc(mem, TABLE, 0, BUF, 10, NEXT, 2);
	fake_table_desc(mem, TABLE, 2, BUF, 20, NEXT | WRITE, 1);
	fake_table_desc(mem, TABLE, 1, BUF, 30, WRITE, 0);
	put_indirect(TABLE, 48, WRITE); /* the flag means nothing here (s2.7.5.3.2) */
	pop_one();
	ck_assert(chain.n_out == 1 && chain.len_out == 10);
	ck_assert(chain.n_in == 2 && chain.len_in == 50);
}
END_TEST

START_TEST(test_vq_indirect_table_longer_than_ring_taken)
{
	start(SIZE, false, true);
	for (uint16_t i = 0; i < 32; i++)
		fake_table_desc(mem, TABLE + 1, i, BUF, 1, i < 31 ? NEXT : 0, i + 1);
	put_indirect(TABLE + 1, 32 * 16, 0); /* no alignment is asked of tables */
	pop_one();
	ck_assert_uint_eq(chain.n_out, 32);
}
END_TEST

START_TEST(test_vq_indirect_behind_direct_taken)
{
	start(SIZE, false, true);
	fake_ring_desc(&ring, 0, BUF, 5, NEXT, 1);
	fake_ring_desc(&ring, 1, TABLE, 16, IND, 0);
	fake_table_desc(mem, TABLE, 0, BUF, 7, WRITE, 0);
	fake_ring_put(&ring, 0);
	fake_ring_show(&ring);
	pop_one();
	ck_assert(chain.len_out == 5 && chain.len_in == 7);
}
END_TEST

START_TEST(test_vq_indirect_not_negotiated_breaks)
{
	fake_table_desc(mem, TABLE, 0, BUF, 4, 0, 0);
	put_indirect(TABLE, 16, 0);
	assert_broken();
}
END_TEST

START_TEST(test_vq_indirect_with_next_breaks)
{
	start(SIZE, false, true);
	fake_table_desc(mem, TABLE, 0, BUF, 4, 0, 0);
	fake_ring_desc(&ring, 1, BUF, 4, 0, 0);
	put_indirect(TABLE, 16, NEXT);
	assert_broken();
}
END_TEST

START_TEST(test_vq_indirect_nested_breaks)
{
	start(SIZE, false, true);
	fake_table_desc(mem, TABLE, 0, TABLE, 16, IND, 0);
	put_indirect(TABLE, 16, 0);
	assert_broken();
}
END_TEST

START_TEST(test_vq_indirect_bad_table_breaks)
{
	static const struct { gpa_t at; uint32_t len; } bad[] = {
		{ TABLE, 0 }, { TABLE, 15 }, { TABLE, 17 }, { TABLE, 31 }, { TABLE, UINT32_MAX },
		{ TABLE, 0xfffffff0 }, { LOW, 16 * (VQ_MAX_SIZE + 1) }, { LOW + LOW_SIZE - 8, 16 },
		{ LOW + LOW_SIZE, 16 }, { UINT64_MAX - 7, 16 }, { 0, 16 },
	};

	start(SIZE, false, true);
	fake_table_desc(mem, TABLE, 0, BUF, 4, 0, 0);
	put_indirect(bad[_i].at, bad[_i].len, 0);
	assert_broken();
}
END_TEST

START_TEST(test_vq_indirect_loop_breaks)
{
	start(SIZE, false, true);
	fake_table_desc(mem, TABLE, 0, BUF, 4, NEXT, 1);
	fake_table_desc(mem, TABLE, 1, BUF, 4, NEXT, 0);
	put_indirect(TABLE, 32, 0);
	assert_broken();
}
END_TEST

START_TEST(test_vq_indirect_next_outside_table_breaks)
{
	start(SIZE, false, true);
	fake_table_desc(mem, TABLE, 0, BUF, 4, NEXT, 2);
	fake_table_desc(mem, TABLE, 2, BUF, 4, 0, 0);
	put_indirect(TABLE, 32, 0);
	assert_broken();
}
END_TEST

START_TEST(test_vq_indirect_zero_length_breaks)
{
	start(SIZE, false, true);
	fake_table_desc(mem, TABLE, 0, BUF, 0, 0, 0);
	put_indirect(TABLE, 16, 0);
	assert_broken();
}
END_TEST

START_TEST(test_vq_indirect_more_than_cap_breaks)
{
	start(SIZE, false, true);
	chain.cap = 3;
	for (uint16_t i = 0; i < 4; i++)
		fake_table_desc(mem, TABLE, i, BUF, 1, i < 3 ? NEXT : 0, i + 1);
	put_indirect(TABLE, 64, 0);
	assert_broken();
}
END_TEST

/* 4 GiB in one chain needs much RAM described often: one region of 64 MiB, 64 times. */
START_TEST(test_vq_total_length_overflow_breaks)
{
	const uint32_t part = 64 * MIB;
	unsigned n = (unsigned)_i;

	ck_assert_int_eq(gmem_add(mem, 4 * GIB, part, false), 0);
	start(SIZE, false, true);
	for (uint16_t i = 0; i < 64; i++)
		fake_table_desc(mem, TABLE, i, 4 * GIB, i < 63 ? part : part - n, (i < 63 ? NEXT : 0) | (i > 31 ? WRITE : 0),
				i + 1);
	put_indirect(TABLE, 64 * 16, 0);
	if (n) { /* one byte less than 2^32 */
		pop_one();
		ck_assert_uint_eq((uint64_t)chain.len_out + chain.len_in, UINT32_MAX);
	} else {
		assert_broken();
	}
}
END_TEST

/* ---- suppression -------------------------------------------------------------------------- */

static void complete_one(void)
{
	fake_ring_add(&ring, &(struct fake_part){ BUF, 4, true }, 1);
	pop_one();
	push_one(chain.head, 4);
}

START_TEST(test_vq_irq_wanted_unless_flag)
{
	ck_assert(!vq_wants_irq(&vq)); /* nothing published */
	complete_one();
	ck_assert(vq_wants_irq(&vq));
	ck_assert(!vq_wants_irq(&vq)); /* told already */
	fake_ring_set_flags(&ring, VRING_AVAIL_F_NO_INTERRUPT);
	complete_one();
	ck_assert(!vq_wants_irq(&vq));
	fake_ring_set_flags(&ring, 0);
	complete_one();
	ck_assert(vq_wants_irq(&vq));
}
END_TEST

/* The interrupt comes exactly when used->idx passes used_event, at each place of the 16-bit circle. */
START_TEST(test_vq_event_index_wraps)
{
	start(SIZE, true, false);
	for (uint32_t i = 0; i < 140000; i++) {
		uint16_t now = (uint16_t)i;

		fake_ring_set_used_event(&ring, i % 3 ? (uint16_t)(now + 5) : now);
		complete_one();
		ck_assert_int_eq(vq_wants_irq(&vq), i % 3 == 0);
	}
}
END_TEST

START_TEST(test_vq_event_index_batch_crosses)
{
	start(SIZE, true, false);
	fake_ring_set_used_event(&ring, 2); /* wants to hear of the third */
	complete_one();
	complete_one();
	ck_assert(!vq_wants_irq(&vq));
	complete_one();
	complete_one();
	ck_assert(vq_wants_irq(&vq));
	complete_one();
	ck_assert(!vq_wants_irq(&vq));
}
END_TEST

/* With the event index the flags say nothing (s2.7.7). */
START_TEST(test_vq_event_index_ignores_flags)
{
	start(SIZE, true, false);
	fake_ring_set_flags(&ring, VRING_AVAIL_F_NO_INTERRUPT);
	complete_one();
	ck_assert(vq_wants_irq(&vq));
	vq_disable_kick(&vq);
	ck_assert_uint_eq(fake_ring_used_flags(&ring), 0);
}
END_TEST

START_TEST(test_vq_kick_flag)
{
	vq_disable_kick(&vq);
	ck_assert_uint_eq(fake_ring_used_flags(&ring), VRING_USED_F_NO_NOTIFY);
	ck_assert(!vq_enable_kick(&vq));
	ck_assert_uint_eq(fake_ring_used_flags(&ring), 0);
	vq_disable_kick(&vq);
	fake_ring_add(&ring, &(struct fake_part){ BUF, 4, true }, 1);
	ck_assert(vq_enable_kick(&vq)); /* it came in meanwhile, without a kick */
}
END_TEST

START_TEST(test_vq_kick_event)
{
	start(SIZE, true, false);
	for (unsigned i = 0; i < 70000; i++) {
		ck_assert(!vq_enable_kick(&vq));
		ck_assert_uint_eq(fake_ring_avail_event(&ring), (uint16_t)i);
		fake_ring_add(&ring, &(struct fake_part){ BUF, 4, true }, 1);
		ck_assert(vq_enable_kick(&vq));
		pop_one();
		push_one(chain.head, 0);
	}
}
END_TEST

/* Random rings: whatever comes out lies in RAM, and the work ends. */
START_TEST(test_vq_random_rings_stay_inside)
{
	struct iovec *low = &(struct iovec){ gmem_ptr(mem, LOW, LOW_SIZE), LOW_SIZE };
	struct iovec *high = &(struct iovec){ gmem_ptr(mem, HIGH, HIGH_SIZE), HIGH_SIZE };
	uint64_t taken = 0;

	srand((unsigned)_i);
	for (unsigned round = 0; round < 20000; round++) {
		start(SIZE, rand() & 1, rand() & 1);
		for (uint16_t i = 0; i < SIZE; i++)
			fake_ring_desc(&ring, i, (rand() & 7 ? LOW : HIGH) + (gpa_t)(rand() % 0x12000),
				       (uint32_t)(rand() % (rand() & 3 ? 64 : 0x10000)) & (rand() & 7 ? ~0u : ~15u),
				       (uint16_t)(rand() & (rand() & 3 ? NEXT : 7)), (uint16_t)(rand() % (SIZE + 1)));
		for (unsigned i = 0; i < SIZE; i++)
			fake_ring_put(&ring, (uint16_t)(rand() % (SIZE + (rand() % 8 == 0))));
		fake_ring_show(&ring);
		while (vq_pop(&vq, &chain) == 1) {
			taken++;
			for (unsigned i = 0; i < chain.n_in + chain.n_out; i++) {
				char *p = iov[i].iov_base;
				bool l = p >= (char *)low->iov_base && p + iov[i].iov_len <= (char *)low->iov_base + LOW_SIZE;
				bool h = p >= (char *)high->iov_base && p + iov[i].iov_len <= (char *)high->iov_base + HIGH_SIZE;

				ck_assert(l || h);
			}
			if (rand() & 1)
				push_one(chain.head, 0);
		}
	}
	ck_assert_uint_gt(taken, 1000);
}
END_TEST

static void add_hostile(TCase *t)
{
	tcase_add_loop_test(t, test_vq_head_outside_table_breaks, 0, 5);
	tcase_add_loop_test(t, test_vq_next_outside_table_breaks, 0, 3);
	tcase_add_loop_test(t, test_vq_chain_loop_breaks, 0, SIZE);
	tcase_add_test(t, test_vq_chain_as_long_as_ring_taken);
	tcase_add_test(t, test_vq_more_parts_than_cap_breaks);
	tcase_add_loop_test(t, test_vq_zero_length_breaks, 0, 4);
	tcase_add_loop_test(t, test_vq_bad_buffer_breaks, 0, 12);
	tcase_add_test(t, test_vq_readable_after_writable_breaks);
	tcase_add_loop_test(t, test_vq_avail_jump_breaks, 0, 5);
	tcase_add_test(t, test_vq_avail_back_breaks);
	tcase_add_test(t, test_vq_head_twice_breaks);
	tcase_add_test(t, test_vq_head_again_after_use_taken);
	tcase_add_test(t, test_vq_submit_without_reaping_bounded);
	tcase_add_test(t, test_vq_overlapping_parts_bounded_by_cap);
	tcase_add_loop_test(t, test_vq_random_rings_stay_inside, 1, 4);
}

static void add_indirect(TCase *t)
{
	tcase_add_test(t, test_vq_indirect_taken);
	tcase_add_test(t, test_vq_indirect_table_longer_than_ring_taken);
	tcase_add_test(t, test_vq_indirect_behind_direct_taken);
	tcase_add_test(t, test_vq_indirect_not_negotiated_breaks);
	tcase_add_test(t, test_vq_indirect_with_next_breaks);
	tcase_add_test(t, test_vq_indirect_nested_breaks);
	tcase_add_loop_test(t, test_vq_indirect_bad_table_breaks, 0, 11);
	tcase_add_test(t, test_vq_indirect_loop_breaks);
	tcase_add_test(t, test_vq_indirect_next_outside_table_breaks);
	tcase_add_test(t, test_vq_indirect_zero_length_breaks);
	tcase_add_test(t, test_vq_indirect_more_than_cap_breaks);
	tcase_add_loop_test(t, test_vq_total_length_overflow_breaks, 0, 2);
}

static void add_ordinary(TCase *t)
{
	tcase_add_test(t, test_vq_start_bad_size_refused);
	tcase_add_test(t, test_vq_start_misaligned_refused);
	tcase_add_test(t, test_vq_start_area_on_edge_of_ram);
	tcase_add_test(t, test_vq_not_started_gives_nothing);
	tcase_add_test(t, test_vq_chain_comes_out_as_put_in);
	tcase_add_test(t, test_vq_buffer_up_to_end_of_region_taken);
	tcase_add_test(t, test_vq_indices_wrap);
	tcase_add_test(t, test_vq_size_one_works);
	tcase_add_test(t, test_vq_full_ring_taken_and_given_back_out_of_order);
	tcase_add_test(t, test_vq_unpop_gives_the_same_again);
	tcase_add_test(t, test_vq_unpop_after_guest_changed_ring);
	tcase_add_test(t, test_vq_irq_wanted_unless_flag);
	tcase_add_test(t, test_vq_event_index_wraps);
	tcase_add_test(t, test_vq_event_index_batch_crosses);
	tcase_add_test(t, test_vq_event_index_ignores_flags);
	tcase_add_test(t, test_vq_kick_flag);
	tcase_add_test(t, test_vq_kick_event);
}

int main(void)
{
	void (*const groups[])(TCase *) = { add_ordinary, add_hostile, add_indirect };
	Suite *s = suite_create("vq");
	SRunner *sr;
	int failed;

	for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
		TCase *t = tcase_create("vq");

		tcase_add_checked_fixture(t, setup, teardown);
		tcase_set_timeout(t, 60);
		groups[i](t);
		suite_add_tcase(s, t);
	}
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
