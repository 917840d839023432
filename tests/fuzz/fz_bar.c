// SPDX-License-Identifier: BSD-3-Clause
/*
 * bar: functions whose BARs a guest moves about, over one another and out of the windows.
 *
 * Covers: pci/dev.c and pci/host.c: sizing, moves, decoding on and off, 64-bit BARs, those that were
 *         refused and are tried again, ECAM accesses of any offset and width.
 * Oracle: after each write: no two mapped BARs overlap, each lies in a window and where its register
 *         says, none without COMMAND.MEM; each that is decoded and not mapped has a reason (outside, or
 *         in another's way); an access to a mapped address reaches its BAR and no other, at the right
 *         offset; read-only bits stay; sizing tells the size.
 */
#include "tests/fuzz/fuzz.h"

#include <linux/pci_regs.h>

#include "devices/pci/host.h"

#define ECAM 0x3f000000
#define WIN 0x10000000u
#define WIN_SIZE 0x10000u
#define WIN64 UINT64_C(0x200000000)
#define WIN64_SIZE UINT64_C(0x10000)
#define FUNCTIONS 3

struct range {
	struct pci_dev *dev;
	unsigned bar;
};

static const struct layout {
	uint16_t rid;
	struct { uint64_t size; bool wide; } bar[PCI_NUM_BARS];
} layouts[FUNCTIONS] = {
	{ 1 << 3, { { 0x1000, false }, { 0x10, false }, { 0x4000, true } } },
	{ 2 << 3, { { 0x8000, false }, { 0x1000, false }, { 0 }, { 0 }, { 0x1000, true } } },
	{ 2 << 3 | 1, { { 0x10000, true }, { 0 }, { 0x100, false } } },
};

static struct bus *bus;
static struct pci_host *host;
static struct pci_dev fns[FUNCTIONS];
static struct range ids[FUNCTIONS][PCI_NUM_BARS];
static struct pci_dev *hit;
static unsigned hit_bar;
static uint64_t hit_off;

static uint64_t bar_read(void *ctx, uint64_t off, unsigned len)
{
	const struct range *r = ctx;

	hit = r->dev;
	hit_bar = r->bar;
	hit_off = off;
	must(off + len <= r->dev->bars[r->bar].size);
	return 0x5a & width_mask(len);
}

static void bar_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	(void)val;
	(void)bar_read(ctx, off, len);
}

static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };

static void add_bars(unsigned f)
{
	for (unsigned b = 0; b < PCI_NUM_BARS; b++) {
		uint64_t size = layouts[f].bar[b].size;

		ids[f][b] = (struct range){ .dev = &fns[f], .bar = b };
		if (size && layouts[f].bar[b].wide)
			pci_dev_set_bar64(&fns[f], b, size, &bar_ops, &ids[f][b]);
		else if (size)
			pci_dev_set_bar(&fns[f], b, size, &bar_ops, &ids[f][b]);
	}
}

static void set_up(void)
{
	const struct pci_host_cfg cfg = { .ecam = ECAM, .mem_base = WIN, .mem_size = WIN_SIZE,
					  .mem64_base = WIN64, .mem64_size = WIN64_SIZE };

	must(bus_new(&bus) == 0 && pci_host_new(bus, &cfg, &host) == 0);
	for (unsigned f = 0; f < FUNCTIONS; f++) {
		const struct pci_ids id = { .vendor = 0x1af4, .device = (uint16_t)(0x1000 + f) };

		pci_dev_init(&fns[f], &id, NULL);
		add_bars(f);
		must(pci_host_add(host, &fns[f], layouts[f].rid) == 0);
	}
}

static void tear_down(void)
{
	for (unsigned f = 0; f < FUNCTIONS; f++)
		pci_dev_fini(&fns[f]);
	pci_host_free(host);
	bus_free(bus);
}

static uint64_t cfg_read(unsigned f, unsigned off, unsigned len)
{
	return bus_read(bus, ECAM + ((gpa_t)layouts[f].rid << 12) + off, len);
}

static void cfg_write(unsigned f, unsigned off, unsigned len, uint64_t val)
{
	bus_write(bus, ECAM + ((gpa_t)layouts[f].rid << 12) + off, len, val);
}

/* Where the registers say that the BAR is. */
static gpa_t wanted_at(unsigned f, unsigned b)
{
	unsigned off = PCI_BASE_ADDRESS_0 + 4 * b;
	gpa_t at = cfg_read(f, off, 4) & ~UINT64_C(15);

	return layouts[f].bar[b].wide ? at | cfg_read(f, off + 4, 4) << 32 : at;
}

static bool in_window(gpa_t at, uint64_t size)
{
	return (at >= WIN && at - WIN < WIN_SIZE && size <= WIN_SIZE - (at - WIN)) ||
	       (at >= WIN64 && at - WIN64 < WIN64_SIZE && size <= WIN64_SIZE - (at - WIN64));
}

/* How many mapped BARs share a byte with [@at, @at + @size). */
static UNTRACED unsigned in_the_way(gpa_t at, uint64_t size)
{
	unsigned n = 0;

	for (unsigned f = 0; f < FUNCTIONS; f++)
		for (unsigned b = 0; b < PCI_NUM_BARS; b++) {
			const struct pci_bar *o = &fns[f].bars[b];

			n += o->mapped && at < o->gpa + o->size && o->gpa < at + size;
		}
	return n;
}

static void look_up(unsigned f, unsigned b, gpa_t at)
{
	hit = NULL;
	(void)bus_read(bus, at, 1);
	must(hit == &fns[f] && hit_bar == b && hit_off == at - fns[f].bars[b].gpa);
}

static UNTRACED void check_bar(unsigned f, unsigned b)
{
	const struct pci_bar *bar = &fns[f].bars[b];
	uint64_t size = layouts[f].bar[b].size;
	gpa_t at = wanted_at(f, b);
	bool decode = cfg_read(f, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY;

	must(bar->size == size && !(size && at % size));
	if (!bar->mapped) {
		must(!size || !decode || !in_window(at, size) || in_the_way(at, size));
		return;
	}
	must(size && decode && bar->gpa == at && in_window(at, size) && in_the_way(at, size) == 1);
	look_up(f, b, at);
	look_up(f, b, at + size - 1);
}

static void check(void)
{
	for (unsigned f = 0; f < FUNCTIONS; f++) {
		must(cfg_read(f, 0, 4) == (0x1af4 | (0x1000 + f) << 16));
		for (unsigned b = 0; b < PCI_NUM_BARS; b++)
			check_bar(f, b);
	}
}

/* As the guest's PCI code: all ones, look, write back. */
static void size_bar(unsigned f, unsigned b)
{
	unsigned off = PCI_BASE_ADDRESS_0 + 4 * b;
	uint64_t old = cfg_read(f, off, 4), got;

	cfg_write(f, off, 4, UINT32_MAX);
	got = cfg_read(f, off, 4);
	cfg_write(f, off, 4, old);
	if (layouts[f].bar[b].size)
		must((uint32_t)~(got & ~UINT64_C(15)) + UINT64_C(1) == layouts[f].bar[b].size);
}

static void place_bar(struct fuzz_in *in, unsigned f)
{
	unsigned b = fuzz_below(in, PCI_NUM_BARS);
	gpa_t at = (fuzz_u8(in) & 1 ? WIN64 : WIN) + (gpa_t)fuzz_u8(in) * 0x200;

	cfg_write(f, PCI_BASE_ADDRESS_0 + 4 * b, 4, at);
	if (layouts[f].bar[b].wide)
		cfg_write(f, PCI_BASE_ADDRESS_0 + 4 * b + 4, 4, at >> 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	set_up();
	while (fuzz_more(&in)) {
		unsigned f = fuzz_below(&in, FUNCTIONS), off;

		switch (fuzz_below(&in, 6)) {
		case 0: cfg_write(f, PCI_COMMAND, 2, fuzz_u8(&in)); break;
		case 1: case 2: place_bar(&in, f); break;
		case 3: size_bar(f, fuzz_below(&in, PCI_NUM_BARS)); break;
		case 4:
			off = fuzz_u16(&in) & 0xfff;
			cfg_write(f, off, fuzz_good_width(&in), fuzz_u64(&in));
			break;
		case 5: bus_write(bus, ECAM + (fuzz_u32(&in) & 0xfffff), fuzz_good_width(&in), fuzz_u32(&in)); break;
		}
		check();
	}
	tear_down();
	return 0;
}
