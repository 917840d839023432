/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Written front to back with libfdt's sequential calls. Each of them, once one has failed,
 * leaves the blob in an error state that fdt_finish() reports; so the calls are made without
 * looking, and the first error is kept by struct out.
 *
 * Phandles are constants: the tree is small, and every one that is used is defined in the same
 * configuration (a test walks the result for dangling ones).
 *
 * What saves the guest time: arm,primecell-periphid spares it the eight identification reads
 * of each PrimeCell, each of which would be an exit.
 */
#include <errno.h>
#include <libfdt.h>
#include <string.h>

#include "arch/arm64/fdt.h"
#include "arch/arm64/layout.h"
#include "vmm/core/kvm.h"

enum { PHANDLE_GIC = 1, PHANDLE_MSI = 2, PHANDLE_CLOCK = 3, PHANDLE_GPIO = 4 };

/* arm,gic-v3.yaml: the three cells of an interrupt. */
enum { GIC_SPI = 0, GIC_PPI = 1 };
enum { EDGE_RISING = 1, LEVEL_HIGH = 4 };
/* arm,gic.yaml: a GICv2's PPIs say which CPUs have them, in bits 15 to 8 of the third cell. */
#define PPI_CPUS_SHIFT 8

/* pci.txt of IEEE 1275: space codes of 32-bit and 64-bit, non-prefetchable memory. */
#define PCI_SPACE_MEM32 0x02000000u
#define PCI_SPACE_MEM64 0x03000000u

#define UART_PATH "/serial@9000000" /* LAYOUT_UART; a test looks it up */
#define PL011_PERIPHID 0x00341011u
#define PL031_PERIPHID 0x00041031u
#define PL061_PERIPHID 0x00041061u
#define SP805_PERIPHID 0x00141805u

#define GPIO_ACTIVE_HIGH 0 /* gpio.txt: the second cell of a pin */
#define KEY_POWER 116      /* the key code of gpio-keys.yaml, as the guest's kernel numbers them */

struct out {
	void *fdt;
	int rc; /* the first libfdt error, or 0 */
};

static void note(struct out *o, int rc)
{
	if (!o->rc)
		o->rc = rc;
}

static void begin(struct out *o, const char *name)
{
	note(o, fdt_begin_node(o->fdt, name));
}

static void begin_at(struct out *o, const char *name, gpa_t addr)
{
	char buf[64], *p = buf + sizeof(buf) - 1;
	size_t len = strlen(name);

	/* By hand: at a dozen nodes a tree, printf would be a fifth of the work. */
	*p = '\0';
	do {
		*--p = "0123456789abcdef"[addr & 15];
		addr >>= 4;
	} while (addr);
	*--p = '@';
	p -= len;
	memcpy(p, name, len);
	begin(o, p);
}

static void end(struct out *o)
{
	note(o, fdt_end_node(o->fdt));
}

static void flag(struct out *o, const char *name)
{
	note(o, fdt_property(o->fdt, name, NULL, 0));
}

static void str(struct out *o, const char *name, const char *val)
{
	note(o, fdt_property_string(o->fdt, name, val));
}

static void u32(struct out *o, const char *name, uint32_t val)
{
	note(o, fdt_property_u32(o->fdt, name, val));
}

static void u64(struct out *o, const char *name, uint64_t val)
{
	note(o, fdt_property_u64(o->fdt, name, val));
}

static void bytes(struct out *o, const char *name, const void *val, size_t len)
{
	note(o, fdt_property(o->fdt, name, val, (int)len));
}

/* @n cells, at most 16. */
static void cells(struct out *o, const char *name, const uint32_t *val, unsigned n)
{
	fdt32_t be[16];

	for (unsigned i = 0; i < n; i++)
		be[i] = cpu_to_fdt32(val[i]);
	bytes(o, name, be, n * sizeof(be[0]));
}

/* reg of @n (address, size) pairs of two cells each, at most 2 pairs. */
static void reg(struct out *o, const uint64_t *pairs, unsigned n)
{
	fdt64_t be[4];

	for (unsigned i = 0; i < 2 * n; i++)
		be[i] = cpu_to_fdt64(pairs[i]);
	bytes(o, "reg", be, 2 * n * sizeof(be[0]));
}

static void reg1(struct out *o, gpa_t addr, uint64_t size)
{
	reg(o, (const uint64_t[]){ addr, size }, 1);
}

/* The third cell of a level PPI that every CPU has. */
static uint32_t ppi_level(const struct fdt_desc *d)
{
	return LEVEL_HIGH | (d->gicv2 ? (BIT64(d->nr_cpus) - 1) << PPI_CPUS_SHIFT : 0);
}

static void interrupt(struct out *o, uint32_t kind, uint32_t nr, uint32_t trigger)
{
	cells(o, "interrupts", (const uint32_t[]){ kind, nr, trigger }, 3);
}

static void chosen(struct out *o, const struct fdt_desc *d)
{
	begin(o, "chosen");
	str(o, "bootargs", d->cmdline ? d->cmdline : "");
	str(o, "stdout-path", "serial0");
	if (d->initrd_size) {
		u64(o, "linux,initrd-start", d->initrd);
		u64(o, "linux,initrd-end", d->initrd + d->initrd_size);
	}
	if (d->rng_seed && d->rng_seed_len)
		bytes(o, "rng-seed", d->rng_seed, d->rng_seed_len);
	if (d->kaslr_seed)
		u64(o, "kaslr-seed", d->kaslr_seed);
	end(o);
	begin(o, "aliases");
	str(o, "serial0", UART_PATH);
	end(o);
}

static void memory(struct out *o, const struct fdt_desc *d)
{
	begin_at(o, "memory", d->ram);
	str(o, "device_type", "memory");
	reg1(o, d->ram, d->ram_size);
	end(o);
}

/* One address cell, or two where a CPU has Aff3 (arm/cpus.yaml). */
static void cpus(struct out *o, const struct fdt_desc *d)
{
	unsigned ncells = 1;

	for (unsigned i = 0; i < d->nr_cpus; i++)
		if (d->mpidr[i] >> 32)
			ncells = 2;
	begin(o, "cpus");
	u32(o, "#address-cells", ncells);
	u32(o, "#size-cells", 0);
	for (unsigned i = 0; i < d->nr_cpus; i++) {
		begin_at(o, "cpu", d->mpidr[i]);
		str(o, "device_type", "cpu");
		str(o, "compatible", "arm,armv8");
		str(o, "enable-method", "psci");
		if (ncells == 2)
			u64(o, "reg", d->mpidr[i]);
		else
			u32(o, "reg", (uint32_t)d->mpidr[i]);
		end(o);
	}
	end(o);
}

static void psci(struct out *o)
{
	static const char compat[] = "arm,psci-1.0\0arm,psci-0.2";

	begin(o, "psci");
	bytes(o, "compatible", compat, sizeof(compat));
	str(o, "method", "hvc");
	end(o);
}

static void timer(struct out *o, const struct fdt_desc *d)
{
	const uint32_t level = ppi_level(d);
	const uint32_t irqs[] = {
		GIC_PPI, LAYOUT_PPI_TIMER_SECURE, level, GIC_PPI, LAYOUT_PPI_TIMER_PHYS, level,
		GIC_PPI, LAYOUT_PPI_TIMER_VIRT, level,   GIC_PPI, LAYOUT_PPI_TIMER_HYP, level,
	};

	begin(o, "timer");
	str(o, "compatible", "arm,armv8-timer");
	cells(o, "interrupts", irqs, ARRAY_LEN(irqs));
	flag(o, "always-on");
	end(o);
}

static void pmu(struct out *o, const struct fdt_desc *d)
{
	begin(o, "pmu");
	str(o, "compatible", "arm,armv8-pmuv3");
	interrupt(o, GIC_PPI, LAYOUT_PPI_PMU, ppi_level(d));
	end(o);
}

static void its(struct out *o, const struct fdt_desc *d)
{
	begin_at(o, "msi-controller", d->its);
	str(o, "compatible", "arm,gic-v3-its");
	u32(o, "phandle", PHANDLE_MSI);
	flag(o, "msi-controller");
	u32(o, "#msi-cells", 1);
	reg1(o, d->its, LAYOUT_ITS_SIZE);
	end(o);
}

/* What MSI_TYPER says is said here too, which spares the guest an exit. The SPIs are told as INTIDs. */
static void v2m(struct out *o, const struct fdt_desc *d)
{
	begin_at(o, "v2m", d->v2m);
	str(o, "compatible", "arm,gic-v2m-frame");
	u32(o, "phandle", PHANDLE_MSI);
	flag(o, "msi-controller");
	reg1(o, d->v2m, 4 * KIB);
	u32(o, "arm,msi-base-spi", d->v2m_spi + FIRST_SPI);
	u32(o, "arm,msi-num-spis", d->v2m_count);
	end(o);
}

static void gic(struct out *o, const struct fdt_desc *d)
{
	const uint64_t v3[] = { d->gicd, LAYOUT_GICD_SIZE, d->gicr, d->nr_cpus * LAYOUT_GICR_STEP };
	const uint64_t v2[] = { d->gicd, LAYOUT_GICD_V2_SIZE, d->gicc, LAYOUT_GICC_SIZE };

	begin_at(o, "interrupt-controller", d->gicd);
	str(o, "compatible", d->gicv2 ? "arm,gic-400" : "arm,gic-v3");
	u32(o, "phandle", PHANDLE_GIC);
	flag(o, "interrupt-controller");
	u32(o, "#interrupt-cells", 3);
	u32(o, "#address-cells", 2);
	u32(o, "#size-cells", 2);
	flag(o, "ranges");
	reg(o, d->gicv2 ? v2 : v3, 2);
	interrupt(o, GIC_PPI, LAYOUT_PPI_GIC, ppi_level(d));
	if (d->has_its)
		its(o, d);
	if (d->v2m_count)
		v2m(o, d);
	end(o);
}

static void apb_clock(struct out *o)
{
	begin(o, "clock-24000000");
	str(o, "compatible", "fixed-clock");
	u32(o, "phandle", PHANDLE_CLOCK);
	u32(o, "#clock-cells", 0);
	u32(o, "clock-frequency", LAYOUT_CLOCK_HZ);
	str(o, "clock-output-names", "clk24mhz");
	end(o);
}

static void uart(struct out *o)
{
	static const char compat[] = "arm,pl011\0arm,primecell";
	static const char names[] = "uartclk\0apb_pclk";

	begin_at(o, "serial", LAYOUT_UART);
	bytes(o, "compatible", compat, sizeof(compat));
	u32(o, "arm,primecell-periphid", PL011_PERIPHID);
	reg1(o, LAYOUT_UART, 4 * KIB);
	interrupt(o, GIC_SPI, LAYOUT_SPI_UART, LEVEL_HIGH);
	cells(o, "clocks", (const uint32_t[]){ PHANDLE_CLOCK, PHANDLE_CLOCK }, 2);
	bytes(o, "clock-names", names, sizeof(names));
	end(o);
}

static void rtc(struct out *o)
{
	static const char compat[] = "arm,pl031\0arm,primecell";

	begin_at(o, "rtc", LAYOUT_RTC);
	bytes(o, "compatible", compat, sizeof(compat));
	u32(o, "arm,primecell-periphid", PL031_PERIPHID);
	reg1(o, LAYOUT_RTC, 4 * KIB);
	interrupt(o, GIC_SPI, LAYOUT_SPI_RTC, LEVEL_HIGH);
	u32(o, "clocks", PHANDLE_CLOCK);
	str(o, "clock-names", "apb_pclk");
	end(o);
}

/* The pins that are wired to nothing are reserved: Linux asks for the direction of all others, an exit each. */
static void gpio(struct out *o)
{
	static const char compat[] = "arm,pl061\0arm,primecell";

	begin_at(o, "gpio", LAYOUT_GPIO);
	bytes(o, "compatible", compat, sizeof(compat));
	u32(o, "arm,primecell-periphid", PL061_PERIPHID);
	reg1(o, LAYOUT_GPIO, 4 * KIB);
	u32(o, "phandle", PHANDLE_GPIO);
	flag(o, "gpio-controller");
	u32(o, "#gpio-cells", 2);
	cells(o, "gpio-reserved-ranges", (const uint32_t[]){ LAYOUT_GPIO_POWER + 1, 7 - LAYOUT_GPIO_POWER }, 2);
	flag(o, "interrupt-controller");
	u32(o, "#interrupt-cells", 2);
	u32(o, "#address-cells", 0);
	interrupt(o, GIC_SPI, LAYOUT_SPI_GPIO, LEVEL_HIGH);
	u32(o, "clocks", PHANDLE_CLOCK);
	str(o, "clock-names", "apb_pclk");
	end(o);
}

static void power_button(struct out *o)
{
	begin(o, "gpio-keys");
	str(o, "compatible", "gpio-keys");
	begin(o, "power-button");
	str(o, "label", "power");
	u32(o, "linux,code", KEY_POWER);
	cells(o, "gpios", (const uint32_t[]){ PHANDLE_GPIO, LAYOUT_GPIO_POWER, GPIO_ACTIVE_HIGH }, 3);
	end(o);
	end(o);
}

static void pvpanic(struct out *o)
{
	begin_at(o, "pvpanic", LAYOUT_PVPANIC);
	str(o, "compatible", "qemu,pvpanic-mmio");
	reg1(o, LAYOUT_PVPANIC, LAYOUT_PVPANIC_SIZE);
	end(o);
}

static void watchdog(struct out *o)
{
	static const char compat[] = "arm,sp805\0arm,primecell";
	static const char names[] = "wdog_clk\0apb_pclk";

	begin_at(o, "watchdog", LAYOUT_WATCHDOG);
	bytes(o, "compatible", compat, sizeof(compat));
	u32(o, "arm,primecell-periphid", SP805_PERIPHID);
	reg1(o, LAYOUT_WATCHDOG, 4 * KIB);
	interrupt(o, GIC_SPI, LAYOUT_SPI_WATCHDOG, LEVEL_HIGH);
	cells(o, "clocks", (const uint32_t[]){ PHANDLE_CLOCK, PHANDLE_CLOCK }, 2);
	bytes(o, "clock-names", names, sizeof(names));
	end(o);
}

static void vmmio(struct out *o, const struct fdt_vmmio *v)
{
	begin_at(o, "virtio", v->gpa);
	str(o, "compatible", "virtio,mmio");
	reg1(o, v->gpa, LAYOUT_VMMIO_SIZE);
	interrupt(o, GIC_SPI, v->spi, EDGE_RISING);
	flag(o, "dma-coherent");
	end(o);
}

/*
 * A row a function: child address (bus, device and function, 3 cells), pin, parent, its address (2
 * cells, as the GIC has children), its interrupt. The functions are no parts of one card, so each has
 * a line of its own, and the mask takes the function in.
 */
static void intx_map(struct out *o, const struct fdt_desc *d)
{
	fdt32_t row[10], *map;

	note(o, fdt_property_placeholder(o->fdt, "interrupt-map", (int)(d->nr_intx * sizeof(row)), (void **)&map));
	for (unsigned i = 0; i < d->nr_intx && !o->rc; i++) {
		const uint32_t cell[10] = { (uint32_t)d->intx[i].rid << 8, 0, 0, 1, PHANDLE_GIC, 0, 0,
					    GIC_SPI, d->intx[i].spi, LEVEL_HIGH };

		for (unsigned k = 0; k < 10; k++)
			row[k] = cpu_to_fdt32(cell[k]);
		memcpy(map + 10 * i, row, sizeof(row));
	}
	cells(o, "interrupt-map-mask", (const uint32_t[]){ 0xff00, 0, 0, 7 }, 4);
	u32(o, "#interrupt-cells", 1);
}

/*
 * Without dma-coherent Linux does cache maintenance by virtual address and, on hosts without
 * FWB, corrupts rings. Our own functions have MSI-X and no pin: an interrupt-map is there for
 * devices of the host's alone. msi-map is there where something takes messages, for the 256
 * functions of bus 0; a v2m frame does not look at who sends one.
 */
static void pci(struct out *o, const struct fdt_desc *d)
{
	const uint32_t ranges[] = {
		PCI_SPACE_MEM32, (uint32_t)(d->pci_mem >> 32), (uint32_t)d->pci_mem,
		(uint32_t)(d->pci_mem >> 32), (uint32_t)d->pci_mem,
		(uint32_t)(d->pci_mem_size >> 32), (uint32_t)d->pci_mem_size,

		PCI_SPACE_MEM64, (uint32_t)(d->pci_mem64 >> 32), (uint32_t)d->pci_mem64,
		(uint32_t)(d->pci_mem64 >> 32), (uint32_t)d->pci_mem64,
		(uint32_t)(d->pci_mem64_size >> 32), (uint32_t)d->pci_mem64_size,
	};

	begin_at(o, "pcie", d->ecam);
	str(o, "compatible", "pci-host-ecam-generic");
	str(o, "device_type", "pci");
	u32(o, "#address-cells", 3);
	u32(o, "#size-cells", 2);
	reg1(o, d->ecam, LAYOUT_ECAM_SIZE);
	cells(o, "bus-range", (const uint32_t[]){ 0, 0 }, 2);
	u32(o, "linux,pci-domain", 0);
	cells(o, "ranges", ranges, d->pci_mem64_size ? 14 : 7);
	flag(o, "dma-coherent");
	if (d->nr_intx)
		intx_map(o, d);
	if (d->has_its || d->v2m_count)
		cells(o, "msi-map", (const uint32_t[]){ 0, PHANDLE_MSI, d->msi_devid_base, 0x100 }, 4);
	end(o);
}

static void root(struct out *o, const struct fdt_desc *d)
{
	begin(o, "");
	u32(o, "#address-cells", 2);
	u32(o, "#size-cells", 2);
	u32(o, "interrupt-parent", PHANDLE_GIC);
	str(o, "compatible", "linux,dummy-virt");
	str(o, "model", "microvm");
	chosen(o, d);
	memory(o, d);
	cpus(o, d);
	psci(o);
	timer(o, d);
	if (d->pmu)
		pmu(o, d);
	gic(o, d);
	apb_clock(o);
	uart(o);
	rtc(o);
	gpio(o);
	power_button(o);
	pvpanic(o);
	if (d->watchdog)
		watchdog(o);
	for (unsigned i = 0; i < d->nr_vmmio; i++)
		vmmio(o, &d->vmmio[i]);
	if (d->has_pci)
		pci(o, d);
	end(o);
}

int fdt_build(const struct fdt_desc *d, void *buf, size_t cap, size_t *ret_len)
{
	struct out o = { .fdt = buf };

	if (!d->nr_cpus || !d->ram_size || cap > INT32_MAX || (d->gicv2 && d->nr_cpus > LAYOUT_MAX_CPUS_V2))
		return -EINVAL;
	/* A tree is built once, at every start: looking for equal names would cost more than their bytes. */
	note(&o, fdt_create_with_flags(buf, (int)cap, FDT_CREATE_FLAG_NO_NAME_DEDUP));
	note(&o, fdt_finish_reservemap(buf));
	root(&o, d);
	note(&o, fdt_finish(buf));
	if (o.rc)
		return o.rc == -FDT_ERR_NOSPACE ? -ENOSPC : -EINVAL;
	*ret_len = fdt_totalsize(buf);
	return 0;
}
