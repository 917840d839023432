/* SPDX-License-Identifier: BSD-3-Clause */
/* The host bridge and its functions. */
#include "pci.h"

#include "dt.h"

#define SPACE_MEM32 0x02000000u
#define SPACE_MASK 0x03000000u
#define RANGE_CELLS 7 /* 3 of the bus, 2 of ours, 2 of size */

struct pci_dev pci_devs[PCI_MAX_FUNCTIONS];
unsigned pci_count;
uint64_t pci_window, pci_window_size;

static uint64_t next_free;

/* Binding pci-msi: rows of first requester, controller, first device id, number. */
static uint32_t devid_of(int host, uint16_t rid)
{
	unsigned len = 0;

	dt_prop(host, "msi-map", &len);
	for (unsigned i = 0; i + 4 <= len / 4; i += 4) {
		uint32_t first = dt_cell(host, "msi-map", i, 0), n = dt_cell(host, "msi-map", i + 3, 0);

		if (rid >= first && rid - first < n)
			return dt_cell(host, "msi-map", i + 2, 0) + rid - first;
	}
	return rid;
}

unsigned pci_cap(const struct pci_dev *d, uint8_t id, unsigned after)
{
	unsigned at = rd8(d->cfg + (after ? after + 1 : 0x34)) & 0xfc;

	for (unsigned i = 0; at && i < 48; i++, at = rd8(d->cfg + at + 1) & 0xfc)
		if (rd8(d->cfg + at) == id)
			return at;
	return 0;
}

void pci_bar_write(struct pci_dev *d, unsigned n, uint64_t addr)
{
	wr32(d->cfg + PCI_BAR0 + 4 * n, (uint32_t)addr);
	if (d->bar[n].wide)
		wr32(d->cfg + PCI_BAR0 + 4 * n + 4, (uint32_t)(addr >> 32));
}

uint64_t pci_bar_read(const struct pci_dev *d, unsigned n)
{
	uint64_t v = rd32(d->cfg + PCI_BAR0 + 4 * n) & ~15u;

	return d->bar[n].wide ? v | (uint64_t)rd32(d->cfg + PCI_BAR0 + 4 * n + 4) << 32 : v;
}

void pci_decode(struct pci_dev *d, bool on)
{
	uint16_t command = rd16(d->cfg + PCI_COMMAND);

	wr16(d->cfg + PCI_COMMAND, (uint16_t)(on ? command | PCI_COMMAND_MEM : command & ~PCI_COMMAND_MEM));
}

static void update_msix(struct pci_dev *d)
{
	uint32_t table, pba;

	d->msix_cap = pci_cap(d, PCI_CAP_MSIX, 0);
	if (!d->msix_cap)
		return;
	d->nr_vectors = (rd16(d->cfg + d->msix_cap + 2) & 0x7ff) + 1;
	table = rd32(d->cfg + d->msix_cap + 4);
	pba = rd32(d->cfg + d->msix_cap + 8);
	d->msix_table = d->bar[table & 7].addr + (table & ~7u);
	d->msix_pba = d->bar[pba & 7].addr + (pba & ~7u);
}

void pci_bar_move(struct pci_dev *d, unsigned n, uint64_t addr)
{
	pci_decode(d, false);
	pci_bar_write(d, n, addr);
	pci_decode(d, true);
	d->bar[n].addr = addr;
	update_msix(d);
}

uint64_t pci_window_take(uint64_t size)
{
	uint64_t at = (next_free + size - 1) & ~(size - 1);

	if (!size || at + size > pci_window + pci_window_size)
		return 0;
	next_free = at + size;
	return at;
}

/* PCI 3.0 s6.2.5.1: ones are written, the bits that stay zero are the size. Memory only. */
static void place_bars(struct pci_dev *d)
{
	for (unsigned n = 0; n < 6; n++) {
		struct pci_bar *b = &d->bar[n];
		uint32_t low = rd32(d->cfg + PCI_BAR0 + 4 * n);
		uint64_t ones;

		if (low & 1)
			continue;
		b->wide = (low & 6) == 4 && n < 5;
		pci_bar_write(d, n, ~UINT64_C(0));
		ones = pci_bar_read(d, n) | (b->wide ? 0 : ~UINT64_C(0) << 32);
		if ((uint32_t)ones)
			b->size = ~ones + 1;
		b->addr = pci_window_take(b->size);
		pci_bar_write(d, n, b->addr);
		n += b->wide;
	}
}

static void add_function(int host, uint64_t cfg, uint16_t rid)
{
	struct pci_dev *d = &pci_devs[pci_count];

	if (rd16(cfg + PCI_VENDOR_ID) == 0xffff || pci_count == PCI_MAX_FUNCTIONS)
		return;
	pci_count++;
	d->rid = rid;
	d->cfg = cfg;
	d->vendor = rd16(cfg);
	d->device = rd16(cfg + 2);
	d->devid = devid_of(host, rid);
	wr16(cfg + PCI_COMMAND, 0);
	place_bars(d);
	wr16(cfg + PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	update_msix(d);
}

static bool find_window(int host)
{
	unsigned len = 0;

	dt_prop(host, "ranges", &len);
	for (unsigned i = 0; i + RANGE_CELLS <= len / 4; i += RANGE_CELLS) {
		if ((dt_cell(host, "ranges", i, 0) & SPACE_MASK) != SPACE_MEM32)
			continue;
		pci_window = dt_cells(host, "ranges", i + 3, 2);
		pci_window_size = dt_cells(host, "ranges", i + 5, 2);
		return true;
	}
	return false;
}

bool pci_init(void)
{
	int host = dt_compatible("pci-host-ecam-generic", -1);
	uint64_t ecam = dt_reg(host, 0, NULL);

	if (host < 0 || !find_window(host))
		return false;
	next_free = pci_window;
	for (unsigned slot = 0; slot < 32; slot++) {
		uint64_t cfg = ecam + (slot << 15);
		unsigned functions = rd16(cfg) != 0xffff && rd8(cfg + 0x0e) & 0x80 ? 8 : 1;

		for (unsigned f = 0; f < functions; f++)
			add_function(host, cfg + (f << 12), (uint16_t)(slot << 3 | f));
	}
	return true;
}

void msix_control(struct pci_dev *d, unsigned bits)
{
	wr16(d->cfg + d->msix_cap + 2, (uint16_t)bits);
}

void msix_write(struct pci_dev *d, unsigned vector, const struct msi *m)
{
	wr32(d->msix_table + 16 * vector, (uint32_t)m->addr);
	wr32(d->msix_table + 16 * vector + 4, (uint32_t)(m->addr >> 32));
	wr32(d->msix_table + 16 * vector + 8, m->data);
}

void msix_mask(struct pci_dev *d, unsigned vector, bool masked)
{
	wr32(d->msix_table + 16 * vector + 12, masked);
}

bool msix_pending(const struct pci_dev *d, unsigned vector)
{
	return rd32(d->msix_pba + vector / 32 * 4) >> vector % 32 & 1;
}
