// SPDX-License-Identifier: BSD-3-Clause
/*
 * vq: the split ring against a driver that writes anything anywhere.
 *
 * Covers: vq_start() to vq_stop(), with and without indirect tables and the event index, over three
 *         regions of memory, two of them adjacent and one near the end of the address space.
 * Oracle: a model in vq_model.h, which works on a copy of the guest's memory: the same chains in
 *         the same order, the same interrupts, and at the end the same memory, byte by byte: nothing
 *         but the used ring is written. Time: libFuzzer's limit; the model bounds the steps.
 */
#include "tests/fuzz/vq_model.h"

#include <errno.h>

#define RAM 0x40000000
#define TOP UINT64_C(0xffffffffffff0000)
#define NR_REGIONS 3

static const struct { gpa_t gpa; uint64_t size; } layout[NR_REGIONS] = {
	{ RAM, 0x4000 }, { RAM + 0x4000, 0x1000 }, { TOP, 0x1000 },
};

static struct gmem *mem;
static char *real[NR_REGIONS];
static char copy[NR_REGIONS][0x4000]; /* what the model believes the memory to be */
static struct vq q;
static struct vq_model m;
static uint16_t popped[VQ_MAX_SIZE]; /* heads that are out, in order */
static uint16_t in_order[1u << 16];    /* heads by the index they were popped at */
static unsigned nr_popped;

static int region_of(gpa_t gpa, uint64_t len)
{
	for (int i = 0; i < NR_REGIONS; i++)
		if (gpa >= layout[i].gpa && gpa - layout[i].gpa < layout[i].size &&
		    len <= layout[i].size - (gpa - layout[i].gpa))
			return i;
	return -1;
}

static bool is_ram(gpa_t gpa, uint64_t len)
{
	return region_of(gpa, len) >= 0;
}

static char *hva(gpa_t gpa)
{
	int i = region_of(gpa, 1);

	return real[i] + (gpa - layout[i].gpa);
}

static char *in_copy(gpa_t gpa)
{
	int i = region_of(gpa, 1);

	return copy[i] + (gpa - layout[i].gpa);
}

static void read_copy(gpa_t gpa, void *buf, size_t len)
{
	memcpy(buf, in_copy(gpa), len);
}

/* By the driver: both memories. */
static void store(gpa_t gpa, const void *buf, size_t len)
{
	if (!is_ram(gpa, len))
		return;
	memcpy(hva(gpa), buf, len);
	memcpy(in_copy(gpa), buf, len);
}

static void store16(gpa_t gpa, uint16_t v)
{
	store(gpa, &v, sizeof(v));
}

static gpa_t any_gpa(struct fuzz_in *in)
{
	switch (fuzz_below(in, 8)) {
	case 0: return TOP + (fuzz_u16(in) & 0x1fff);
	case 1: return RAM + 0x4ff0 + fuzz_below(in, 32);
	case 2: return fuzz_u64(in);
	default: return RAM + fuzz_u16(in) % 0x5000;
	}
}

static void start(struct fuzz_in *in)
{
	uint8_t flags = fuzz_u8(in);
	struct vq_regs r = { .max = 64, .size = (uint16_t)(1u << (flags & 7)), .desc = RAM, .avail = RAM + 0x800,
			     .used = RAM + 0xc00 };

	if (flags & 8) {
		r.size = fuzz_u16(in);
		r.desc = any_gpa(in);
		r.avail = any_gpa(in);
		r.used = any_gpa(in);
	}
	m = (struct vq_model){ .read = read_copy, .is_ram = is_ram, .size = r.size, .event_idx = flags & 16,
			       .indirect = flags & 32, .desc = r.desc, .avail = r.avail, .used = r.used };
	nr_popped = 0;
	must((vq_start(&q, mem, &r, m.event_idx, m.indirect) == 0) == model_startable(&m, r.max));
}

static void pop(struct fuzz_in *in)
{
	struct iovec iov[VQ_MAX_SIZE];
	struct vq_chain c = { .iov = iov, .cap = 1 + fuzz_below(in, 80) };
	int want = model_pop(&m, c.cap), got = vq_pop(&q, &c);

	must(got == (want < 0 ? -EPROTO : want));
	must(q.broken == m.broken);
	if (got <= 0)
		return;
	model_compare(&m, &c, hva);
	popped[nr_popped++] = c.head;
	in_order[(uint16_t)(m.next_avail - 1)] = c.head;
}

static void push(struct fuzz_in *in)
{
	struct vring_used_elem e = { .len = fuzz_u32(in) };
	unsigned i;

	if (!nr_popped)
		return;
	i = fuzz_below(in, nr_popped);
	e.id = popped[i];
	memmove(popped + i, popped + i + 1, (--nr_popped - i) * sizeof(*popped));
	vq_push(&q, (uint16_t)e.id, e.len);
	if (m.broken)
		return;
	memcpy(in_copy(m.used + 4 + 8 * (gpa_t)(m.next_used % m.size)), &e, sizeof(e));
	m.next_used++;
	m.taken[e.id] = false;
}

/* Only what a device may: the last chain of the ring's order, where that was not pushed. */
static void unpop(void)
{
	if (!nr_popped || m.broken || popped[nr_popped - 1] != in_order[(uint16_t)(m.next_avail - 1)])
		return;
	vq_unpop(&q, 1);
	m.next_avail--;
	m.taken[popped[--nr_popped]] = false;
}

static void publish(void)
{
	vq_publish(&q);
	if (!m.broken)
		memcpy(in_copy(m.used + 2), &m.next_used, sizeof(m.next_used));
}

static void kicks(bool on)
{
	uint16_t flags = on ? 0 : VRING_USED_F_NO_NOTIFY;
	bool more;

	if (!on)
		vq_disable_kick(&q);
	else
		more = vq_enable_kick(&q);
	if (m.broken)
		return;
	if (!m.event_idx)
		memcpy(in_copy(m.used), &flags, sizeof(flags));
	else if (on)
		memcpy(in_copy(m.used + 4 + 8 * (gpa_t)m.size), &m.next_avail, sizeof(m.next_avail));
	if (on)
		must(more == (model_read16(&m, m.avail + 2) != m.next_avail));
}

static void describe(struct fuzz_in *in)
{
	uint8_t where = fuzz_u8(in);
	struct vring_desc d = { .addr = any_gpa(in), .len = fuzz_u16(in), .flags = fuzz_below(in, 8) };

	d.next = fuzz_u8(in) & (where & 1 ? 0xff : m.size - 1);
	if (d.flags & VRING_DESC_F_INDIRECT && !(where & 2))
		d.len = d.len % 16 * 16;
	if (where & 4)
		d.len = fuzz_u32(in);
	store((where & 8 ? any_gpa(in) & ~UINT64_C(15) : m.desc) + 16 * (gpa_t)(where >> 4), &d, sizeof(d));
}

static void offer(struct fuzz_in *in)
{
	uint16_t idx = model_read16(&m, m.avail + 2);

	store16(m.avail + 4 + 2 * (gpa_t)(idx & (m.size - 1)), fuzz_u8(in));
	store16(m.avail + 2, (uint16_t)(idx + 1));
}

static void step(struct fuzz_in *in)
{
	uint16_t v;

	switch (fuzz_below(in, 12)) {
	case 0: case 1: describe(in); break;
	case 2: offer(in); break;
	case 3: pop(in); break;
	case 4: push(in); break;
	case 5: publish(); break;
	case 6: must(vq_wants_irq(&q) == model_wants_irq(&m)); break;
	case 7: kicks(fuzz_u8(in) & 1); break;
	case 8: unpop(); break;
	case 9: store16(m.avail + 2, fuzz_u16(in)); break;
	case 10: store16(m.avail + 4 + 2 * (gpa_t)m.size, fuzz_u16(in)); break;
	case 11:
		v = fuzz_u16(in);
		store(any_gpa(in), &v, sizeof(v));
		break;
	}
}

static void set_up(void)
{
	must(gmem_new(&mem) == 0);
	for (int i = 0; i < NR_REGIONS; i++) {
		must(gmem_add(mem, layout[i].gpa, layout[i].size, false) == 0);
		real[i] = gmem_region(mem, (unsigned)i)->hva;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	if (!mem)
		set_up();
	for (int i = 0; i < NR_REGIONS; i++) {
		memset(real[i], 0, layout[i].size);
		memset(copy[i], 0, layout[i].size);
	}
	memset(&q, 0, sizeof(q));
	start(&in);
	while (q.started && fuzz_more(&in))
		step(&in);
	for (int i = 0; i < NR_REGIONS; i++)
		must(!memcmp(real[i], copy[i], layout[i].size));
	vq_stop(&q);
	return 0;
}
