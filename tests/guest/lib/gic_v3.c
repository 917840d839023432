/* SPDX-License-Identifier: BSD-3-Clause */
/* GICv3: distributor, redistributors with their LPI tables, CPU interface by system registers. */
#include "cpu.h"
#include "dt.h"
#include "gic_regs.h"
#include "irq.h"

#define ICC_IGRPEN1 "S3_0_C12_C12_7"
#define ICC_PMR "S3_0_C4_C6_0"
#define ICC_SRE "S3_0_C12_C12_5"

#define LPI_ID_BITS 14 /* up to 16383 */

uint8_t *lpi_config;

static uint64_t redists[MAX_CPUS], pendings[MAX_CPUS];

uint64_t gicv3_redist(unsigned cpu)
{
	return redists[cpu];
}

/* The frame of CPU @cpu in one region: each says whose it is, and whether it is the last. */
static uint64_t find_in_region(uint64_t at, uint64_t size, unsigned cpu)
{
	uint64_t mpidr = cpu_mpidr(cpu), end = at + size, typer;

	do {
		typer = rd64(at + GICR_TYPER);
		if (typer >> 32 == ((mpidr & 0xffffff) | (mpidr >> 32 << 24)))
			return at;
		at += typer & GICR_TYPER_VLPIS ? 0x40000 : 0x20000;
	} while (!(typer & GICR_TYPER_LAST) && at < end);
	return 0;
}

static void find_redist(unsigned cpu)
{
	uint64_t size, at;
	unsigned regions = dt_cell(gic.node, "#redistributor-regions", 0, 1);

	for (unsigned i = 0; i < regions && !redists[cpu]; i++) {
		at = dt_reg(gic.node, 1 + i, &size);
		redists[cpu] = find_in_region(at, size, cpu);
	}
}

static void wait_clear(uint64_t reg, uint32_t bits)
{
	uint64_t end = deadline_ms(1000);

	while (rd32(reg) & bits)
		if (passed(end))
			fatal("GIC register %lx keeps bits %x", reg, bits);
}

bool gicv3_init(int node)
{
	gic.node = node;
	gic.version = 3;
	gic.dist = dt_reg(node, 0, NULL);
	gic.nr_intids = ((rd32(gic.dist + GICD_TYPER) & 31) + 1) * 32;
	wr32(gic.dist + GICD_CTLR, 0);
	wait_clear(gic.dist + GICD_CTLR, GICD_CTLR_RWP);
	for (unsigned i = 32; i < gic.nr_intids; i += 32) {
		wr32(gic.dist + GICD_IGROUPR + i / 8, ~0u);
		wr32(gic.dist + GICD_ICENABLER + i / 8, ~0u);
		wr32(gic.dist + GICD_ICPENDR + i / 8, ~0u);
		wr32(gic.dist + GICD_ICACTIVER + i / 8, ~0u);
	}
	wr32(gic.dist + GICD_CTLR, GICD_CTLR_ARE | GICD_CTLR_GRP1);
	wait_clear(gic.dist + GICD_CTLR, GICD_CTLR_RWP);
	return true;
}

/* The LPI tables must stand before EnableLPIs does. */
static void init_lpis(uint64_t redist)
{
	uint64_t *pending = &pendings[this_cpu()];

	if (!(rd64(redist + GICR_TYPER) & GICR_TYPER_PLPIS))
		return;
	if (!lpi_config) {
		lpi_config = bare_alloc(BIT(LPI_ID_BITS) - LPI_BASE, 4096);
		memset(lpi_config, LPI_PRIORITY, BIT(LPI_ID_BITS) - LPI_BASE);
	}
	if (!*pending)
		*pending = (uint64_t)bare_alloc(BIT(LPI_ID_BITS) / 8, 65536);
	wr64(redist + GICR_PROPBASER, (uint64_t)lpi_config | GIC_TABLE_CACHED | (LPI_ID_BITS - 1));
	wr64(redist + GICR_PENDBASER, *pending | GIC_TABLE_CACHED | GICR_PENDBASER_PTZ);
	wr32(redist + GICR_CTLR, rd32(redist + GICR_CTLR) | GICR_CTLR_ENABLE_LPIS);
}

void gicv3_init_cpu(void)
{
	uint64_t redist, sgi;

	find_redist(this_cpu());
	redist = redists[this_cpu()];
	if (!redist)
		fatal("no redistributor for CPU %u", this_cpu());
	wr32(redist + GICR_WAKER, rd32(redist + GICR_WAKER) & ~GICR_WAKER_SLEEP);
	wait_clear(redist + GICR_WAKER, GICR_WAKER_ASLEEP);
	sgi = redist + GICR_SGI;
	wr32(sgi + GICD_ICENABLER, ~0u);
	wr32(sgi + GICD_ICPENDR, ~0u);
	wr32(sgi + GICD_ICACTIVER, ~0u);
	wr32(sgi + GICD_IGROUPR, ~0u);
	wr32(sgi + GICD_ISENABLER, 0xffff); /* the SGIs */
	for (unsigned i = 0; i < 32; i += 4)
		wr32(sgi + GICD_IPRIORITYR + i, 0xa0a0a0a0);
	init_lpis(redist);
	SYSREG_WRITE(ICC_SRE, SYSREG_READ(ICC_SRE) | 1);
	ISB();
	SYSREG_WRITE(ICC_PMR, 0xff);
	SYSREG_WRITE(ICC_IGRPEN1, 1);
	ISB();
}
