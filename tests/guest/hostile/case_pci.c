/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci: configuration space, capabilities, the PCI_CFG window, BARs (PCI 3.0 s6, virtio 1.2 s4.1). The device is the entropy
 * device's function. What a case has moved heal_all() puts back.
 */
#include "hostile.h"

#define WINDOW_BAR 4
#define WINDOW_OFFSET 8
#define WINDOW_LENGTH 12
#define WINDOW_DATA 16

static unsigned window_cap(const struct pci_dev *p)
{
	for (unsigned c = pci_cap(p, PCI_CAP_VENDOR, 0); c; c = pci_cap(p, PCI_CAP_VENDOR, c))
		if (rd8(p->cfg + c + 3) == CAP_PCI_CFG)
			return c;
	return 0;
}

/* Where BARs are moved: not one of these places may be taken from who has it. */
enum place { AT_RAM, AT_RAM_END, AT_GICD, AT_ITS, AT_UART, AT_ECAM, AT_OTHER_BAR, AT_OTHER_DEVICE, AT_0, AT_TOP, AT_WINDOW_END };

struct move_row {
	struct row row;
	enum place place;
};

static const struct move_row move_rows[] = {
	{ { "bar-onto-ram", ON_PCI | OFTEN }, AT_RAM },
	{ { "bar-onto-ram-end", ON_PCI }, AT_RAM_END },
	{ { "bar-onto-gicd", ON_PCI | OFTEN }, AT_GICD },
	{ { "bar-onto-its", ON_PCI | ON_ITS }, AT_ITS },
	{ { "bar-onto-uart", ON_PCI | OFTEN }, AT_UART },
	{ { "bar-onto-ecam", ON_PCI }, AT_ECAM },
	{ { "bar-onto-own-bar", ON_PCI | OFTEN }, AT_OTHER_BAR },
	{ { "bar-onto-other-device", ON_PCI | OFTEN }, AT_OTHER_DEVICE },
	{ { "bar-to-0", ON_PCI }, AT_0 },
	{ { "bar-to-top", ON_PCI }, AT_TOP },
	{ { "bar-over-window-end", ON_PCI }, AT_WINDOW_END },
};

static uint64_t place_of(enum place p)
{
	switch (p) {
	case AT_RAM: return (uint64_t)buf;
	case AT_RAM_END: return ram_end - 0x1000;
	case AT_GICD: return gic.dist;
	case AT_ITS: return gic.its;
	case AT_UART: return uart_regs();
	case AT_ECAM: return rng->pci->cfg & ~UINT64_C(0xffff);
	case AT_OTHER_BAR: return rng->pci->bar[1].addr;
	case AT_OTHER_DEVICE: return con->pci->bar[0].addr;
	case AT_0: return 0;
	case AT_TOP: return 0xffff8000;
	case AT_WINDOW_END: return pci_window + pci_window_size - 0x4000;
	}
	return 0;
}

/* What was there answers as before, and the device works where it was. */
static void run_move(const void *row)
{
	const struct move_row *r = row;
	struct pci_dev *p = rng->pci;
	uint64_t home = p->bar[0].addr, to = place_of(r->place);
	uint32_t typer = rd32(gic.dist + 4);

	memset(buf, 0x5a, 64);
	pci_bar_move(p, 0, to);
	want(buf[0] == 0x5a && buf[63] == 0x5a, "the memory there changed");
	want(rd32(gic.dist + 4) == typer, "the GIC is gone");
	want(vdev_features(con), "another device is gone");
	pci_decode(p, false);
	pci_decode(p, true);
	pci_bar_move(p, 0, home);
	want(vdev_features(rng), "the device does not come back");
}

static void bar_ones(void)
{
	struct pci_dev *p = rng->pci;

	for (unsigned n = 0; n < 6; n++) {
		wr32(p->cfg + PCI_BAR0 + 4 * n, ~0u);
		rd32(p->cfg + PCI_BAR0 + 4 * n);
	}
	rd32(p->bar[0].addr);
}

/* Sizing while it decodes, as careless firmware does. */
static void bar_sized_running(void)
{
	struct pci_dev *p = rng->pci;

	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 20; i++) {
		pci_bar_write(p, 0, ~UINT64_C(0));
		want(pci_bar_read(p, 0) << 32 >> 32, "no size");
		pci_bar_write(p, 0, p->bar[0].addr);
	}
	want(trip(rng), "no round trip");
}

static void bar_storm(void)
{
	struct pci_dev *p = rng->pci;

	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 100; i++)
		pci_bar_write(p, noise() & 1, pci_window + (noise() & 0x3fff8000));
}

static void bar_race_mover(void *arg)
{
	struct pci_dev *p = rng->pci;

	(void)arg;
	while (!stop_helpers)
		pci_bar_write(p, 0, pci_window + (noise() & 0xff8000));
}

static void bar_race(void)
{
	struct pci_dev *p = con->pci;

	if (!begin(rng, 0) || !helper_start(1, bar_race_mover, NULL))
		return;
	for (unsigned i = 0; i < 100; i++)
		pci_bar_write(p, 0, pci_window + (noise() & 0xff8000));
	helper_join(1);
}

static void command_race_mover(void *arg)
{
	struct pci_dev *p = rng->pci;

	(void)arg;
	while (!stop_helpers)
		wr16(p->cfg + PCI_COMMAND, (uint16_t)(noise() & 7));
}

/* Decoding goes off and on while another CPU is at the registers. */
static void decode_race(void)
{
	if (!begin(rng, 0) || !helper_start(1, command_race_mover, NULL))
		return;
	for (unsigned i = 0; i < 200; i++) {
		rd32(rng->regs);
		wr32(rng->regs, noise());
		wr16(rng->vq[0].notify, 0);
	}
	helper_join(1);
}

static void bus_master_off(void)
{
	struct pci_dev *p = rng->pci;

	if (!begin(rng, 0))
		return;
	wr16(p->cfg + PCI_COMMAND, PCI_COMMAND_MEM);
	vq_post(&rng->vq[0], 0, buf, 64, true);
	vq_kick(&rng->vq[0]);
	wait_us(2000);
	wr16(p->cfg + PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
}

static void decode_off(void)
{
	struct pci_dev *p = rng->pci;

	if (!begin(rng, 0))
		return;
	wr16(p->cfg + PCI_COMMAND, 0);
	for (unsigned off = 0; off < 0x40; off += 4) {
		want(rd32(rng->regs + off) == ~0u, "offset %x still answers", off);
		wr32(rng->regs + off, ~0u);
	}
}

/* What the standard header has to keep: ids, class, header type, capabilities pointer. */
static void read_only(void)
{
	static const uint8_t kept[] = { 0x00, 0x08, 0x2c, 0x34 };
	uint64_t cfg = rng->pci->cfg;

	for (unsigned i = 0; i < ARRAY_LEN(kept); i++) {
		uint32_t was = rd32(cfg + kept[i]);

		wr32(cfg + kept[i], ~was);
		wr8(cfg + kept[i], (uint8_t)~was);
		want(rd32(cfg + kept[i]) == was, "register %x changed", kept[i]);
	}
}

static void all_ones(void)
{
	for (unsigned off = 0; off < 0x1000; off += 4)
		wr32(rng->pci->cfg + off, ~0u);
}

static void all_zeros(void)
{
	for (unsigned off = 0; off < 0x1000; off += 4)
		wr32(rng->pci->cfg + off, 0);
}

static void random_writes(void)
{
	for (unsigned i = 0; i < 500; i++)
		wr32(rng->pci->cfg + (noise() & 0x1fc), noise());
}

/* s6.1: no function, all ones. */
static void ecam_holes(void)
{
	uint64_t ecam = pci_devs[0].cfg & ~UINT64_C(0xfffff);

	for (unsigned rid = 0; rid < 256; rid += 5) {
		uint64_t cfg = ecam + ((uint64_t)rid << 12);
		bool taken = false;

		for (unsigned i = 0; i < pci_count; i++)
			taken |= pci_devs[i].rid == rid;
		if (taken)
			continue;
		want(rd32(cfg) == ~0u && rd16(cfg + 2) == 0xffff && rd8(cfg + 0xfff) == 0xff, "function %x answers", rid);
		wr32(cfg + 4, 7);
		wr32(cfg + 0x10, 0x80000000);
	}
}

/* The window of s4.1.4.9: where it points, by how much. */
struct window_row {
	struct row row;
	uint8_t bar;
	uint32_t offset, length;
};

static const struct window_row window_rows[] = {
	{ { "window-bar-5", ON_PCI }, 5, 0, 4 },
	{ { "window-bar-6", ON_PCI | OFTEN }, 6, 0, 4 },
	{ { "window-bar-255", ON_PCI }, 255, 0, 4 },
	{ { "window-offset-end", ON_PCI | OFTEN }, 0, 0x8000, 4 },
	{ { "window-offset-over", ON_PCI }, 0, 0x7ffe, 4 },
	{ { "window-offset-max", ON_PCI | OFTEN }, 0, ~0u, 4 },
	{ { "window-offset-wraps", ON_PCI }, 0, 0xfffffffc, 4 },
	{ { "window-length-0", ON_PCI }, 0, 0, 0 },
	{ { "window-length-3", ON_PCI }, 0, 0, 3 },
	{ { "window-length-8", ON_PCI | OFTEN }, 0, 0, 8 },
	{ { "window-length-max", ON_PCI }, 0, 0, ~0u },
	{ { "window-unaligned", ON_PCI }, 0, 2, 4 },
	{ { "window-table", ON_PCI }, 1, 0, 4 },
	{ { "window-behind-table", ON_PCI }, 1, 0x7ff0, 4 },
	{ { "window-notify", ON_PCI }, 0, 0x6000, 2 },
	{ { "window-status", ON_PCI | OFTEN }, 0, PCI_STATUS, 1 },
};

static void point(const struct window_row *r)
{
	uint64_t cap = rng->pci->cfg + window_cap(rng->pci);

	wr8(cap + WINDOW_BAR, r->bar);
	wr32(cap + WINDOW_OFFSET, r->offset);
	wr32(cap + WINDOW_LENGTH, r->length);
}

static void use_window(const struct window_row *r)
{
	uint64_t data = rng->pci->cfg + window_cap(rng->pci) + WINDOW_DATA;

	point(r);
	for (unsigned i = 0; i < 4; i++) {
		rd32(data);
		wr32(data, i % 2 ? 0 : ~0u);
		rd8(data + i);
		wr8(data + i, 0);
		wr16(data + (i & 2), 0xffff);
	}
}

static void run_window(const void *row)
{
	if (!want(window_cap(rng->pci), "no window"))
		return;
	use_window(row);
	pci_decode(rng->pci, false);
	use_window(row);
}

/* By the window, its own BAR's device is reset while it runs. */
static void window_resets(void)
{
	const struct window_row r = { .offset = PCI_STATUS, .length = 1 };

	if (!begin(rng, 0))
		return;
	point(&r);
	wr8(rng->pci->cfg + window_cap(rng->pci) + WINDOW_DATA, 0);
	want(!vdev_status(rng), "the status is %x", vdev_status(rng));
}

static void queue_out(void)
{
	static const uint16_t sel[] = { 1, 2, 64, 0x7fff, 0x8000, 0xffff };

	for (unsigned i = 0; i < ARRAY_LEN(sel); i++) {
		wr16(rng->regs + PCI_QUEUE_SEL, sel[i]);
		want(rd16(rng->regs + PCI_QUEUE_SIZE) == 0, "queue %x has a size", sel[i]);
		for (unsigned off = PCI_QUEUE_SIZE; off < 0x38; off += 2) {
			wr16(rng->regs + off, 0);
			wr16(rng->regs + off, 1);
			rd16(rng->regs + off);
		}
	}
}

static void common_random(void)
{
	for (unsigned i = 0; i < 500; i++) {
		uint64_t at = rng->regs + (noise() & 0x3f);

		any_write(at, 1, noise());
		any_write(at & ~1ull, 2, noise());
		any_write(at & ~3ull, 4, noise());
		any_read(at & ~3ull, 4);
	}
}

static void bar0_random(void)
{
	for (unsigned i = 0; i < 1000; i++)
		wr32(rng->pci->bar[0].addr + (noise() & 0x7ffc), noise());
}

static void queue_size_running(void)
{
	if (!begin(rng, 0))
		return;
	for (unsigned n = 0; n < 16; n++) {
		wr16(rng->regs + PCI_QUEUE_SEL, 0);
		wr16(rng->regs + PCI_QUEUE_SIZE, (uint16_t)(1u << n));
		wr32(rng->regs + PCI_QUEUE_DESC, ~0u);
		wr16(rng->regs + PCI_QUEUE_ENABLE, 0);
	}
	want(trip(rng), "no round trip");
}

static const struct fn_row fn_rows[] = {
	{ { "bar-ones", ON_PCI }, bar_ones },
	{ { "bar-sized-running", ON_PCI | OFTEN }, bar_sized_running },
	{ { "bar-storm", ON_PCI }, bar_storm },
	{ { "bar-race", ON_PCI | ON_CPUS | OFTEN }, bar_race },
	{ { "decode-race", ON_PCI | ON_CPUS }, decode_race },
	{ { "bus-master-off", ON_PCI | OFTEN }, bus_master_off },
	{ { "decode-off", ON_PCI }, decode_off },
	{ { "read-only", ON_PCI | OFTEN }, read_only },
	{ { "all-ones", ON_PCI }, all_ones },
	{ { "all-zeros", ON_PCI }, all_zeros },
	{ { "random", ON_PCI }, random_writes },
	{ { "ecam-holes", ON_PCI | OFTEN }, ecam_holes },
	{ { "window-resets", ON_PCI }, window_resets },
	{ { "queue-out", ON_PCI | OFTEN }, queue_out },
	{ { "queue-size-running", ON_PCI | OFTEN }, queue_size_running },
	{ { "common-random", ON_PCI }, common_random },
	{ { "bar0-random", ON_PCI }, bar0_random },
};

const struct family pci_tables[] = {
	FAMILY(move_rows, run_move), FAMILY(window_rows, run_window), FAMILY(fn_rows, run_fn), { 0 },
};
