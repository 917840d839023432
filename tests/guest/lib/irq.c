/* SPDX-License-Identifier: BSD-3-Clause */
/* What the GICs have in common, handlers, and messages. */
#include "irq.h"

#include "cpu.h"
#include "dt.h"
#include "gic_regs.h"

#define ICC_IAR1 "S3_0_C12_C12_0"
#define ICC_EOIR1 "S3_0_C12_C12_1"
#define ICC_SGI1R "S3_0_C12_C11_5"

#define NR_WIRED 1020

struct handler {
	void (*fn)(void *arg);
	void *arg;
	uint32_t devid; /* of an LPI: which event of which device it is */
	uint16_t event;
	bool on, edge; /* as irq_enable() was told */
};

struct gic gic;
static struct handler wired[NR_WIRED], lpis[NR_LPIS];
static volatile unsigned strays;

static struct handler *handler_of(unsigned intid)
{
	if (intid < NR_WIRED)
		return &wired[intid];
	return intid >= LPI_BASE && intid < LPI_BASE + NR_LPIS ? &lpis[intid - LPI_BASE] : NULL;
}

/* Binding arm,gic-v2m-frame: the two properties override the register. */
static bool v2m_init(int gic_node)
{
	int node = dt_compatible("arm,gic-v2m-frame", gic_node);
	uint32_t typer;

	if (node < 0)
		return false;
	gic.v2m = dt_reg(node, 0, NULL);
	typer = rd32(gic.v2m + V2M_TYPER);
	gic.v2m_first = dt_cell(node, "arm,msi-base-spi", 0, typer >> 16 & 0x3ff);
	gic.v2m_count = dt_cell(node, "arm,msi-num-spis", 0, typer & 0x3ff);
	return true;
}

void irq_init(void)
{
	static const char *const v2[] = { "arm,cortex-a15-gic", "arm,gic-400", "arm,cortex-a7-gic" };
	int node = dt_compatible("arm,gic-v3", -1);

	if (node >= 0)
		gicv3_init(node);
	for (unsigned i = 0; i < ARRAY_LEN(v2) && node < 0; i++) {
		node = dt_compatible(v2[i], -1);
		if (node >= 0)
			gicv2_init(node);
	}
	if (node < 0)
		fatal("the tree has no GIC");
	irq_init_cpu();
	if (gic.version == 3 && its_init(node))
		gic.msi = MSI_ITS;
	else if (v2m_init(node))
		gic.msi = MSI_V2M;
	if (gic.msi == MSI_ITS)
		its_map_cpu(0);
}

void irq_init_cpu(void)
{
	if (gic.version == 3)
		gicv3_init_cpu();
	else
		gicv2_init_cpu();
	if (gic.msi == MSI_ITS && this_cpu())
		its_map_cpu(this_cpu());
}

static unsigned acknowledge(uint32_t *ret_iar)
{
	*ret_iar = gic.version == 3 ? (uint32_t)SYSREG_READ(ICC_IAR1) : rd32(gic.cpu + GICC_IAR);
	return *ret_iar & (gic.version == 3 ? 0xffffff : 0x3ff);
}

static void end_of_interrupt(uint32_t iar)
{
	DSB();
	if (gic.version == 3) {
		SYSREG_WRITE(ICC_EOIR1, iar);
		ISB();
	} else {
		wr32(gic.cpu + GICC_EOIR, iar);
	}
}

void irq_dispatch(void)
{
	unsigned intid;
	uint32_t iar;

	for (intid = acknowledge(&iar); intid < 1020 || intid >= LPI_BASE; intid = acknowledge(&iar)) {
		struct handler *h = handler_of(intid);

		if (h && h->fn)
			h->fn(h->arg);
		else
			strays++;
		end_of_interrupt(iar);
	}
}

unsigned irq_strays(void)
{
	return strays;
}

void irq_connect(unsigned intid, void (*fn)(void *arg), void *arg)
{
	struct handler *h = handler_of(intid);

	h->arg = arg;
	h->fn = fn;
	DSB();
}

/* The registers of @intid: SGIs and PPIs of a GICv3 are in the redistributor. */
static uint64_t bank(unsigned intid)
{
	return gic.version == 3 && intid < 32 ? gicv3_redist(this_cpu()) + GICR_SGI : gic.dist;
}

void irq_enable(unsigned intid, bool edge, unsigned cpu)
{
	uint64_t regs = bank(intid), cfg = regs + GICD_ICFGR + intid / 16 * 4;
	uint32_t bit = 2u << intid % 16 * 2;
	struct handler *h = handler_of(intid);

	h->on = true;
	h->edge = edge;
	if (intid >= 16)
		wr32(cfg, edge ? rd32(cfg) | bit : rd32(cfg) & ~bit);
	wr8(regs + GICD_IPRIORITYR + intid, 0xa0);
	if (intid >= 32)
		irq_move(intid, cpu);
	wr32(regs + GICD_ISENABLER + intid / 32 * 4, 1u << intid % 32);
}

void irq_disable(unsigned intid)
{
	handler_of(intid)->on = false;
	wr32(bank(intid) + GICD_ICENABLER + intid / 32 * 4, 1u << intid % 32);
}

void irq_move(unsigned intid, unsigned cpu)
{
	struct handler *h = handler_of(intid);

	if (intid >= LPI_BASE)
		its_move_event(h->devid, h->event, cpu);
	else if (gic.version == 3)
		wr64(gic.dist + GICD_IROUTER + 8 * intid, cpu_mpidr(cpu));
	else
		wr8(gic.dist + GICD_ITARGETSR + intid, (uint8_t)(1u << cpu));
}

void sgi_send(unsigned intid, unsigned cpu)
{
	uint64_t m = cpu_mpidr(cpu);

	DSB();
	if (gic.version == 3) {
		SYSREG_WRITE(ICC_SGI1R, (m >> 32 & 0xff) << 48 | (m >> 16 & 0xff) << 32 | (m >> 8 & 0xff) << 16 |
			     (uint64_t)intid << 24 | BIT(m & 15) | (m >> 4 & 15) << 44);
		ISB();
	} else {
		wr32(gic.dist + GICD_SGIR, 1u << (16 + cpu) | intid);
	}
}

/* Messages */

static bool event_used(uint32_t devid, uint32_t event)
{
	for (unsigned i = 0; i < NR_LPIS; i++)
		if (lpis[i].fn && lpis[i].devid == devid && lpis[i].event == event)
			return true;
	return false;
}

static bool its_alloc(uint32_t devid, struct msi *m)
{
	unsigned i = 0;

	while (i < NR_LPIS && lpis[i].fn)
		i++;
	for (m->data = 0; m->data < ITS_EVENTS && event_used(devid, m->data); m->data++)
		;
	if (i == NR_LPIS || m->data == ITS_EVENTS)
		return false;
	m->intid = LPI_BASE + i;
	m->addr = gic.its + GITS_TRANSLATER;
	lpis[i].devid = devid;
	lpis[i].event = (uint16_t)m->data;
	return true;
}

static bool v2m_alloc(struct msi *m)
{
	m->addr = gic.v2m + V2M_SETSPI;
	for (m->intid = gic.v2m_first; m->intid < gic.v2m_first + gic.v2m_count; m->intid++) {
		m->data = m->intid;
		if (!wired[m->intid].fn)
			return true;
	}
	return false;
}

bool msi_alloc(uint32_t devid, void (*fn)(void *arg), void *arg, struct msi *ret_msi)
{
	struct msi m = { .devid = devid };

	if (gic.msi == MSI_NONE || !(gic.msi == MSI_ITS ? its_alloc(devid, &m) : v2m_alloc(&m)))
		return false;
	irq_connect(m.intid, fn, arg);
	if (gic.msi == MSI_ITS) {
		lpi_config[m.intid - LPI_BASE] = LPI_PRIORITY | LPI_ENABLED;
		its_map_event(devid, m.data, m.intid, 0);
	} else {
		irq_enable(m.intid, true, 0);
	}
	*ret_msi = m;
	return true;
}

void msi_free(const struct msi *m)
{
	if (gic.msi == MSI_ITS) {
		its_discard_event(m->devid, m->data);
		lpi_config[m->intid - LPI_BASE] = LPI_PRIORITY;
	} else {
		irq_disable(m->intid);
	}
	irq_connect(m->intid, NULL, NULL);
}

void msi_remap(void)
{
	if (gic.msi != MSI_ITS)
		return;
	its_enable();
	its_map_cpu(0);
	for (unsigned i = 0; i < NR_LPIS; i++) {
		if (!lpis[i].fn)
			continue;
		lpi_config[i] = LPI_PRIORITY | LPI_ENABLED;
		its_map_event(lpis[i].devid, lpis[i].event, LPI_BASE + i, 0);
	}
}

void irq_restore(void)
{
	uint64_t ctlr = gicv3_redist(this_cpu()) + GICR_CTLR;

	wr32(ctlr, rd32(ctlr) & ~GICR_CTLR_ENABLE_LPIS);
	gicv3_init(gic.node);
	irq_init_cpu();
	for (unsigned i = 16; i < NR_WIRED; i++)
		if (wired[i].on)
			irq_enable(i, wired[i].edge, 0);
	msi_remap();
}
