/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * width: each window by accesses of 1, 2, 4 and 8 bytes, at each alignment, and over its end. A row is a window; all of its accesses
 * are one case. They go through a mapping as memory, since a device's mapping would not let unaligned ones out of the CPU. An access
 * may be answered by an exception; the window's owner must work afterwards.
 */
#include "dt.h"
#include "hostile.h"

enum window {
	W_REGS, W_CONFIG, W_BEHIND, W_CONSOLE, W_UART, W_RTC, W_GPIO, W_ECAM, W_ECAM_HOLE, W_ISR, W_NOTIFY, W_TABLE, W_PBA, W_CAPS,
	W_GICD, W_GICR, W_SGI, W_ITS, W_TRANSLATER, W_HOLE, W_PCI_HOLE,
};

struct window_row {
	struct row row;
	enum window window;
	uint32_t size;       /* whose end is straddled */
	bool writes;
};

#define READS_AND_WRITES(name, needs, window, size) \
	{ { name "-reads", needs }, window, size, false }, { { name "-writes", needs }, window, size, true }

static const struct window_row window_rows[] = {
	READS_AND_WRITES("registers", OFTEN, W_REGS, 0x38),
	READS_AND_WRITES("mmio-registers", ON_MMIO, W_REGS, 0x100),
	READS_AND_WRITES("config", 0, W_CONFIG, 16),
	READS_AND_WRITES("behind", ON_MMIO, W_BEHIND, 0x1000),
	READS_AND_WRITES("console", 0, W_CONSOLE, 0x38),
	READS_AND_WRITES("uart", OFTEN, W_UART, 0x1000),
	READS_AND_WRITES("rtc", 0, W_RTC, 0x1000),
	READS_AND_WRITES("gpio", 0, W_GPIO, 0x1000),
	READS_AND_WRITES("ecam", ON_PCI | OFTEN, W_ECAM, 0x1000),
	READS_AND_WRITES("ecam-hole", ON_PCI, W_ECAM_HOLE, 0x1000),
	READS_AND_WRITES("caps", ON_PCI, W_CAPS, 0xc0),
	READS_AND_WRITES("isr", ON_PCI, W_ISR, 0x1000),
	READS_AND_WRITES("notify", ON_PCI | OFTEN, W_NOTIFY, 0x2000),
	READS_AND_WRITES("table", ON_PCI | OFTEN, W_TABLE, 0x8000),
	READS_AND_WRITES("pba", ON_PCI, W_PBA, 0x8000),
	READS_AND_WRITES("gicd", OFTEN, W_GICD, 0x10000),
	READS_AND_WRITES("gicr", 0, W_GICR, 0x10000),
	READS_AND_WRITES("gicr-sgi", 0, W_SGI, 0x10000),
	READS_AND_WRITES("its", ON_ITS | OFTEN, W_ITS, 0x10000),
	READS_AND_WRITES("its-translater", ON_ITS, W_TRANSLATER, 0x10000),
	READS_AND_WRITES("hole", OFTEN, W_HOLE, 0x1000),
	READS_AND_WRITES("pci-hole", ON_PCI, W_PCI_HOLE, 0x1000),
};

static uint64_t base_of(enum window w)
{
	switch (w) {
	case W_REGS: return rng->regs;
	case W_CONFIG: return (net ? net : con)->config;
	case W_BEHIND: return rng->regs;
	case W_CONSOLE: return con->regs;
	case W_UART: return uart_regs();
	case W_RTC: return dt_reg(dt_compatible("arm,pl031", -1), 0, NULL);
	case W_GPIO: return dt_reg(dt_compatible("arm,pl061", -1), 0, NULL);
	case W_ECAM: return rng->pci->cfg;
	case W_ECAM_HOLE: return (rng->pci->cfg & ~UINT64_C(0xfffff)) + 0xff000;
	case W_CAPS: return rng->pci->cfg + 0x40;
	case W_ISR: return rng->isr;
	case W_NOTIFY: return rng->notify;
	case W_TABLE: return rng->pci->msix_table;
	case W_PBA: return rng->pci->msix_pba;
	case W_GICD: return gic.dist;
	case W_GICR: return gicv3_redist(0);
	case W_SGI: return gicv3_redist(0) + 0x10000;
	case W_ITS: return gic.its;
	case W_TRANSLATER: return gic.its + 0x10000;
	case W_HOLE: return 0x1000;
	case W_PCI_HOLE: return pci_window + pci_window_size - 0x1000;
	}
	return 0;
}

static void touch(uint64_t at, unsigned width, bool writes)
{
	static const uint64_t values[] = { 0, ~0ull };

	if (writes)
		any_write(at, width, values[noise() & 1]);
	else
		any_read(at, width);
}

static void sweep(const struct window_row *r)
{
	uint64_t at = as_memory(base_of(r->window));
	unsigned step = r->size <= 0x100 ? 1 : r->size / 64 + 1;

	for (unsigned width = 1; width <= 8; width *= 2) {
		for (unsigned off = 0; off < r->size; off += step)
			touch(at + off, width, r->writes);
		for (unsigned off = 0; off < r->size; off += 16 * step)
			touch(at + (off & ~7u), width, r->writes);
		for (unsigned over = 1; over < 9; over++)
			touch(at + r->size - over, width, r->writes);
	}
}

static bool is_gic(enum window w)
{
	return w >= W_GICD && w <= W_TRANSLATER;
}

static void run_window(const void *row)
{
	const struct window_row *r = row;

	if (is_gic(r->window) && gic.version != 3)
		return;
	begin(rng, 0);
	begin(con, 0);
	if (net)
		begin(net, 0);
	irqs_off();
	catch_start();
	sweep(r);
	catch_stop();
	if (r->window == W_UART && r->writes)
		hear_again();
	if (is_gic(r->window) && r->writes)
		irq_restore();
	irqs_on();
}

const struct family width_tables[] = { FAMILY(window_rows, run_window), { 0 } };
