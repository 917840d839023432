/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * msix: the table, its masks and messages, and the vectors of queues (PCI 3.0 s6.8.2, virtio 1.2 s4.1.4.3). The device is the
 * entropy device; with the messages of a row one request is done, whose interrupt may go nowhere.
 */
#include "hostile.h"

struct message_row {
	struct row row;
	uint64_t addr;      /* 0 to 9: a place by name */
	uint32_t data;
};

enum { M_ITS, M_RAM, M_GICD, M_UART, M_OWN_TABLE, M_ITS_ODD, M_ITS_NEXT };

static const struct message_row message_rows[] = {
	{ { "data-max", ON_PCI | OFTEN }, M_ITS, ~0u },
	{ { "data-unmapped", ON_PCI }, M_ITS, 31 },
	{ { "data-65536", ON_PCI }, M_ITS, 65536 },
	{ { "addr-ram", ON_PCI | OFTEN }, M_RAM, 0 },
	{ { "addr-gicd", ON_PCI | OFTEN }, M_GICD, 40 },
	{ { "addr-uart", ON_PCI }, M_UART, 'x' },
	{ { "addr-own-table", ON_PCI }, M_OWN_TABLE, 0 },
	{ { "addr-odd", ON_PCI }, M_ITS_ODD, 0 },
	{ { "addr-next-to-its", ON_PCI }, M_ITS_NEXT, 0 },
	{ { "addr-max", ON_PCI }, ~0ull, ~0u },
	{ { "addr-high", ON_PCI }, 1ull << 40, 0 },
	{ { "addr-hole", ON_PCI }, 0x10000, 0 },
};

static struct msi message_of(const struct message_row *r)
{
	uint64_t its = rng->vector[0].msi.addr;
	const uint64_t places[] = { its, (uint64_t)buf, gic.dist + 0x40, uart_regs(), rng->pci->msix_table, its + 1, its + 4 };

	return (struct msi){ .addr = r->addr < ARRAY_LEN(places) ? places[r->addr] : r->addr, .data = r->data };
}

static void run_message(const void *row)
{
	struct msi m;

	if (!begin(rng, 0))
		return;
	m = message_of(row);
	buf[0] = 0;
	msix_write(rng->pci, rng->vq[0].vector, &m);
	want(trip(rng), "no round trip");
	msix_mask(rng->pci, rng->vq[0].vector, true);
	want(trip(rng), "no round trip, masked");
	msix_mask(rng->pci, rng->vq[0].vector, false);
	want(trip(rng), "no round trip, unmasked");
}

/* Values of the vector registers, of a queue and of configuration changes: there are two vectors. */
struct vector_row {
	struct row row;
	uint16_t vector;
	uint16_t reads;
};

static const struct vector_row vector_rows[] = {
	{ { "vector-last", ON_PCI }, 1, 1 },
	{ { "vector-over", ON_PCI | OFTEN }, 2, NO_VECTOR },
	{ { "vector-2047", ON_PCI }, 2047, NO_VECTOR },
	{ { "vector-2048", ON_PCI }, 2048, NO_VECTOR },
	{ { "vector-sign", ON_PCI | OFTEN }, 0x8000, NO_VECTOR },
	{ { "vector-max", ON_PCI }, 0xfffe, NO_VECTOR },
	{ { "vector-none", ON_PCI }, NO_VECTOR, NO_VECTOR },
};

static void run_vector(const void *row)
{
	const struct vector_row *r = row;

	if (!begin(rng, 0))
		return;
	wr16(rng->regs + PCI_QUEUE_SEL, 0);
	wr16(rng->regs + PCI_QUEUE_VECTOR, r->vector);
	want(rd16(rng->regs + PCI_QUEUE_VECTOR) == r->reads, "vector reads %x", rd16(rng->regs + PCI_QUEUE_VECTOR));
	wr16(rng->regs + PCI_CONFIG_VECTOR, r->vector);
	want(rd16(rng->regs + PCI_CONFIG_VECTOR) == r->reads, "config vector reads %x", rd16(rng->regs + PCI_CONFIG_VECTOR));
	want(trip(rng), "no round trip");
	rng->vq[0].avail->idx = 0x8000; /* for the other vector */
	vq_kick(&rng->vq[0]);
	want(breaks(rng), "no NEEDS_RESET");
}

static void table_beyond(void)
{
	for (uint64_t at = rng->pci->msix_table + 16 * rng->pci->nr_vectors; at < rng->pci->msix_table + 0x10000; at += 0x3f0) {
		wr32(at, ~0u);
		wr64(at & ~7ull, ~0ull);
		rd32(at);
	}
}

static void pba_writes(void)
{
	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 64; i += 4) {
		wr32(rng->pci->msix_pba + i, ~0u);
		wr32(rng->pci->msix_pba + i, 0);
	}
	want(!msix_pending(rng->pci, 0), "a pending bit was written");
	want(trip(rng), "no round trip");
}

static void table_ones(void)
{
	if (!begin(rng, 0))
		return;
	for (unsigned off = 0; off < 16 * rng->pci->nr_vectors; off += 4)
		wr32(rng->pci->msix_table + off, ~0u);
	want(trip(rng), "no round trip");
	want(rd32(rng->pci->msix_table + 12) == 1, "reserved bits of Vector Control stay");
}

static void table_random(void)
{
	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 300; i++)
		wr32(rng->pci->msix_table + (noise() & 0x1c), noise());
}

static void mask_storm(void)
{
	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 300; i++) {
		msix_mask(rng->pci, rng->vq[0].vector, i & 1);
		if (i % 10 == 0)
			want(trip(rng), "no round trip");
	}
}

static void enable_storm(void)
{
	static const unsigned bits[] = { 0, MSIX_ENABLE, MSIX_MASKALL, MSIX_ENABLE | MSIX_MASKALL, 0xffff };

	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 200; i++) {
		msix_control(rng->pci, bits[noise() % ARRAY_LEN(bits)]);
		if (i % 10 == 0)
			want(trip(rng), "no round trip");
	}
}

static void masker(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		msix_mask(rng->pci, 0, noise() & 1);
}

static void controller(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		msix_control(rng->pci, MSIX_ENABLE | (noise() & MSIX_MASKALL));
}

static void rewriter(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		wr32(rng->pci->msix_table + 8, noise() & 3);
}

static void race(void (*racer)(void *arg))
{
	if (!begin(rng, 0) || !helper_start(1, racer, NULL))
		return;
	for (unsigned i = 0; i < 60; i++)
		want(trip(rng), "no round trip");
	helper_join(1);
}

static void mask_race(void)
{
	race(masker);
}

static void control_race(void)
{
	race(controller);
}

static void message_race(void)
{
	race(rewriter);
}

/* Both at once, and a reset in the middle. */
static void reset_race(void)
{
	if (!begin(rng, 0) || !helper_start(1, masker, NULL))
		return;
	if (helper_start(2, controller, NULL)) {
		for (unsigned i = 0; i < 20; i++)
			if (!begin(rng, 0) || !want(trip(rng), "no round trip"))
				break;
		helper_join(2);
	}
	stop_helpers = true;
	helper_join(1);
}

static void vector_storm(void)
{
	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 200; i++) {
		wr16(rng->regs + PCI_QUEUE_SEL, 0);
		wr16(rng->regs + PCI_QUEUE_VECTOR, (uint16_t)(noise() % 3));
		if (i % 10 == 0)
			want(trip(rng), "no round trip");
	}
}

/* Each message is another: a route is not to be made for each. */
static void message_storm(void)
{
	struct msi m = rng->vector[0].msi;

	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 100; i++) {
		m.data = i;
		msix_write(rng->pci, 0, &m);
	}
	want(trip(rng), "no round trip");
}

static void cap_is_read_only(void)
{
	uint64_t cap = rng->pci->cfg + rng->pci->msix_cap;
	uint32_t table_reg = rd32(cap + 4), pba_reg = rd32(cap + 8);

	wr32(cap + 4, ~0u);
	wr32(cap + 8, ~0u);
	wr16(cap + 2, 0xffff);
	want(rd32(cap + 4) == table_reg && rd32(cap + 8) == pba_reg, "table or PBA moved");
	want((rd16(cap + 2) & 0x7ff) + 1u == rng->pci->nr_vectors, "the table grew");
}

static const struct fn_row fn_rows[] = {
	{ { "table-beyond", ON_PCI | OFTEN }, table_beyond },
	{ { "pba-writes", ON_PCI | OFTEN }, pba_writes },
	{ { "table-ones", ON_PCI }, table_ones },
	{ { "table-random", ON_PCI }, table_random },
	{ { "mask-storm", ON_PCI }, mask_storm },
	{ { "enable-storm", ON_PCI | OFTEN }, enable_storm },
	{ { "mask-race", ON_PCI | ON_CPUS | OFTEN }, mask_race },
	{ { "control-race", ON_PCI | ON_CPUS }, control_race },
	{ { "message-race", ON_PCI | ON_CPUS }, message_race },
	{ { "reset-race", ON_PCI | ON_CPUS }, reset_race },
	{ { "vector-storm", ON_PCI }, vector_storm },
	{ { "message-storm", ON_PCI }, message_storm },
	{ { "cap-is-read-only", ON_PCI | OFTEN }, cap_is_read_only },
};

const struct family msix_tables[] = {
	FAMILY(message_rows, run_message), FAMILY(vector_rows, run_vector), FAMILY(fn_rows, run_fn), { 0 },
};
