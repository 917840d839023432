/* SPDX-License-Identifier: BSD-3-Clause */
/* GICv2: distributor, CPU interface. All interrupts stay in group 0, which is how they leave reset. */
#include "cpu.h"
#include "dt.h"
#include "gic_regs.h"
#include "irq.h"

bool gicv2_init(int node)
{
	gic.node = node;
	gic.version = 2;
	gic.dist = dt_reg(node, 0, NULL);
	gic.cpu = dt_reg(node, 1, NULL);
	gic.nr_intids = ((rd32(gic.dist + GICD_TYPER) & 31) + 1) * 32;
	for (unsigned i = 32; i < gic.nr_intids; i += 32)
		wr32(gic.dist + GICD_ICENABLER + i / 8, ~0u);
	wr32(gic.dist + GICD_CTLR, GICD_CTLR_GRP0);
	return true;
}

void gicv2_init_cpu(void)
{
	wr32(gic.dist + GICD_ISENABLER, 0xffff);
	for (unsigned i = 0; i < 32; i += 4)
		wr32(gic.dist + GICD_IPRIORITYR + i, 0xa0a0a0a0);
	wr32(gic.cpu + GICC_PMR, 0xff);
	wr32(gic.cpu + GICC_CTLR, 1);
}
