/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gic: what KVM's interrupt controller is told (GICv3 IHI 0069): ITS commands that name nothing, tables outside memory, queues that
 * wrap wrongly, LPIs switched off under traffic. Each case ends with everything set up anew, and an interrupt.
 */
#include "gic_regs.h"
#include "hostile.h"

#define HOLE UINT64_C(0x10000000000)

struct command_row {
	struct row row;
	uint64_t d[4];
};

#define DEV(n) ((uint64_t)(n) << 32)
#define NO_DEV DEV(0xfffe)
#define LPI(n) ((uint64_t)(n) << 32)
#define V GITS_VALID
#define MAX48 0xffffffffff00

static const struct command_row command_rows[] = {
	{ { "mapd-device-max", ON_ITS | OFTEN }, { CMD_MAPD | DEV(0xffffffff), 4, V | MAX48 } },
	{ { "mapd-device-over", ON_ITS }, { CMD_MAPD | DEV(0x10000), 4, V } },
	{ { "mapd-size-max", ON_ITS | OFTEN }, { CMD_MAPD | NO_DEV, 31, V } },
	{ { "mapd-itt-hole", ON_ITS | OFTEN }, { CMD_MAPD | NO_DEV, 4, V | HOLE } },
	{ { "mapd-itt-max", ON_ITS }, { CMD_MAPD | NO_DEV, 15, V | MAX48 } },
	{ { "mapd-unmap-nothing", ON_ITS }, { CMD_MAPD | NO_DEV, 0, 0 } },
	{ { "mapc-collection-max", ON_ITS | OFTEN }, { CMD_MAPC, 0, V | 0xffff } },
	{ { "mapc-cpu-max", ON_ITS }, { CMD_MAPC, 0, V | 0x7ffffffff0000 | 9 } },
	{ { "mapc-unmap-used", ON_ITS | OFTEN }, { CMD_MAPC, 0, 0 } },
	{ { "mapti-no-device", ON_ITS | OFTEN }, { CMD_MAPTI | NO_DEV, 1 | LPI(8200), 0 } },
	{ { "mapti-event-max", ON_ITS }, { CMD_MAPTI, 0xffffffff | LPI(8200), 0 } },
	{ { "mapti-lpi-0", ON_ITS }, { CMD_MAPTI, 1 | LPI(0), 0 } },
	{ { "mapti-lpi-8191", ON_ITS }, { CMD_MAPTI, 1 | LPI(8191), 0 } },
	{ { "mapti-lpi-max", ON_ITS | OFTEN }, { CMD_MAPTI, 1 | LPI(0xffffffff), 0 } },
	{ { "mapti-no-collection", ON_ITS }, { CMD_MAPTI, 1 | LPI(8200), 0xffff } },
	{ { "mapi-event-low", ON_ITS }, { CMD_MAPI, 1, 0 } },
	{ { "mapi-no-device", ON_ITS }, { CMD_MAPI | NO_DEV, 8200, 0 } },
	{ { "movi-no-device", ON_ITS | OFTEN }, { CMD_MOVI | NO_DEV, 1, 1 } },
	{ { "movi-no-event", ON_ITS }, { CMD_MOVI, 30, 0 } },
	{ { "movi-no-collection", ON_ITS }, { CMD_MOVI, 0, 0xffff } },
	{ { "movall-nowhere", ON_ITS | OFTEN }, { CMD_MOVALL, 0, 0x7ffffffff0000, 0x7ffffffff0000 } },
	{ { "movall-to-itself", ON_ITS }, { CMD_MOVALL, 0, 0, 0 } },
	{ { "inv-no-device", ON_ITS }, { CMD_INV | NO_DEV, 1 } },
	{ { "inv-no-event", ON_ITS | OFTEN }, { CMD_INV, 31 } },
	{ { "invall-no-collection", ON_ITS }, { CMD_INVALL, 0, 0xffff } },
	{ { "discard-no-device", ON_ITS | OFTEN }, { CMD_DISCARD | NO_DEV, 1 } },
	{ { "discard-no-event", ON_ITS }, { CMD_DISCARD, 30 } },
	{ { "int-no-device", ON_ITS }, { CMD_INT | NO_DEV, 1 } },
	{ { "int-no-event", ON_ITS }, { CMD_INT, 0xffffffff } },
	{ { "clear-no-event", ON_ITS }, { CMD_CLEAR, 0xffffffff } },
	{ { "sync-nowhere", ON_ITS }, { CMD_SYNC, 0, 0x7ffffffff0000 } },
	{ { "command-0", ON_ITS | OFTEN }, { 0 } },
	{ { "command-ff", ON_ITS }, { 0xff, ~0ull, ~0ull, ~0ull } },
	{ { "command-ones", ON_ITS }, { ~0ull, ~0ull, ~0ull, ~0ull } },
	{ { "vmapp", ON_ITS }, { 0x29, DEV(1), V, V } },
	{ { "vmapti", ON_ITS }, { 0x2a, DEV(1), 1, 1 } },
	{ { "vinvall", ON_ITS }, { 0x2d, DEV(1), 0, 0 } },
};

/* All as it was; on PCI an interrupt of a device's shows it. */
static void restored(void)
{
	irqs_off();
	irq_restore();
	irqs_on();
	if (!rng->pci || !begin(rng, 0))
		return;
	want(trip(rng) && vq_wait(&rng->vq[0], 3000), "no interrupt afterwards");
}

static void run_command(const void *row)
{
	const struct command_row *r = row;

	want(its_command(r->d[0], r->d[1], r->d[2], r->d[3]), "the ITS stands still");
	want(its_command(CMD_SYNC, 0, its_rdbase(0), 0), "the ITS stands still afterwards");
	restored();
}

/* Registers of the ITS and the redistributor, while it is on or off. */
struct reg_row {
	struct row row;
	uint32_t reg;        /* its's, or gicr's with bit 31 */
	uint64_t val;
	bool off;            /* the ITS, or LPIs, are off meanwhile */
};

#define GICR 0x80000000u

static const struct reg_row reg_rows[] = {
	{ { "cwriter-over", ON_ITS | OFTEN }, GITS_CWRITER, 0xfffe0 },
	{ { "cwriter-odd", ON_ITS }, GITS_CWRITER, 0x11 },
	{ { "cwriter-max", ON_ITS | OFTEN }, GITS_CWRITER, ~0ull },
	{ { "creadr-write", ON_ITS }, GITS_CREADR, 0xff0 },
	{ { "cbaser-on", ON_ITS }, GITS_CBASER, V | HOLE },
	{ { "cbaser-hole", ON_ITS | OFTEN }, GITS_CBASER, V | HOLE | 0xff, true },
	{ { "cbaser-registers", ON_ITS }, GITS_CBASER, V | 0x30000000, true },
	{ { "cbaser-invalid", ON_ITS }, GITS_CBASER, 0, true },
	{ { "cbaser-ones", ON_ITS }, GITS_CBASER, ~0ull, true },
	{ { "baser0-hole", ON_ITS | OFTEN }, GITS_BASER, V | HOLE | 0xff, true },
	{ { "baser0-indirect-hole", ON_ITS }, GITS_BASER, V | BIT(62) | HOLE | 0xff, true },
	{ { "baser0-ones", ON_ITS }, GITS_BASER, ~0ull, true },
	{ { "baser0-invalid", ON_ITS }, GITS_BASER, 0, true },
	{ { "baser1-hole", ON_ITS }, GITS_BASER + 8, V | HOLE, true },
	{ { "baser7-ones", ON_ITS }, GITS_BASER + 56, ~0ull, true },
	{ { "baser0-on", ON_ITS }, GITS_BASER, ~0ull },
	{ { "ctlr-ones", ON_ITS }, GITS_CTLR, 0xffffffff },
	{ { "propbaser-hole", ON_ITS | OFTEN }, GICR | GICR_PROPBASER, HOLE | 15, true },
	{ { "propbaser-ones", ON_ITS }, GICR | GICR_PROPBASER, ~0ull, true },
	{ { "propbaser-bits-0", ON_ITS }, GICR | GICR_PROPBASER, 0, true },
	{ { "pendbaser-hole", ON_ITS | OFTEN }, GICR | GICR_PENDBASER, HOLE, true },
	{ { "pendbaser-ones", ON_ITS }, GICR | GICR_PENDBASER, ~0ull, true },
	{ { "propbaser-on", ON_ITS }, GICR | GICR_PROPBASER, ~0ull },
	{ { "pendbaser-on", ON_ITS }, GICR | GICR_PENDBASER, ~0ull },
};

static void run_reg(const void *row)
{
	const struct reg_row *r = row;
	bool redist = r->reg & GICR;
	uint64_t base = redist ? gicv3_redist(0) : gic.its;
	uint32_t ctlr = rd32(base);

	if (r->off)
		wr32(base, ctlr & ~1u);
	wr64(base + (r->reg & ~GICR), r->val);
	if (r->off)
		wr32(base, ctlr | 1);
	wr64(gic.its + GITS_CWRITER, 0x40);
	wr64(gic.its + GITS_CWRITER, 0x20);
	its_command(CMD_MAPD | NO_DEV, 4, V | (uint64_t)buf, 0);
	if (rng->pci && begin(rng, 0))
		trip(rng);
	restored();
}

static void spis_at_once(void)
{
	irqs_off();
	for (unsigned i = 32; i < gic.nr_intids; i += 32) {
		wr32(gic.dist + GICD_ISENABLER + i / 8, ~0u);
		wr32(gic.dist + GICD_ISPENDR + i / 8, ~0u);
		wr32(gic.dist + GICD_ISACTIVER + i / 8, ~0u);
	}
	restored();
}

static void routers(void)
{
	for (unsigned i = 32; i < 1020; i += 7)
		wr64(gic.dist + GICD_IROUTER + 8 * i, (uint64_t)noise() << 32 | noise());
	restored();
}

static void dist_random(void)
{
	irqs_off();
	for (unsigned i = 0; i < 1000; i++)
		wr32(gic.dist + (noise() & 0xfffc), noise());
	restored();
}

static void redist_random(void)
{
	irqs_off();
	for (unsigned i = 0; i < 1000; i++)
		wr32(gicv3_redist(0) + (noise() & 0x1fffc), noise());
	restored();
}

static void its_random(void)
{
	irqs_off();
	for (unsigned i = 0; i < 1000; i++)
		wr32(gic.its + (noise() & 0x1fffc), noise());
	restored();
}

static void commands_random(void)
{
	for (unsigned i = 0; i < 300; i++)
		its_command(noise() % 0x30 | DEV(noise() & 0x1f), noise() | LPI(8192 + (noise() & 0xff)),
			    (uint64_t)(noise() & 1) << 63 | (noise() & 0x70003), noise());
	restored();
}

static void nothing(void *arg)
{
	(void)arg;
}

static void sgi_storm(void)
{
	irq_connect(9, nothing, NULL);
	for (unsigned i = 0; i < 2000; i++)
		sgi_send(9, 0);
	for (unsigned i = 0; i < 200; i++)
		SYSREG_WRITE("S3_0_C12_C11_5", (uint64_t)noise() << 32 | (noise() & ~0x0f000000u) | 9u << 24);
	restored();
}

/* System registers of the CPU interface, with no sense. */
static void icc_random(void)
{
	irqs_off();
	catch_start();
	for (unsigned i = 0; i < 100; i++) {
		SYSREG_WRITE("S3_0_C12_C12_1", noise());      /* EOIR1 */
		SYSREG_WRITE("S3_0_C12_C8_1", noise());       /* EOIR0 */
		SYSREG_WRITE("S3_0_C12_C11_1", noise());      /* DIR */
		SYSREG_WRITE("S3_0_C12_C12_3", noise() & 7);  /* BPR1 */
		SYSREG_WRITE("S3_0_C12_C8_4", noise());       /* AP0R0 */
		SYSREG_WRITE("S3_0_C12_C9_0", noise());       /* AP1R0 */
		SYSREG_WRITE("S3_0_C12_C12_4", noise() & 3);  /* CTLR */
		SYSREG_READ("S3_0_C12_C12_0");                /* IAR1 */
		SYSREG_READ("S3_0_C12_C8_0");                 /* IAR0 */
	}
	SYSREG_WRITE("S3_0_C12_C12_4", 0);
	SYSREG_WRITE("S3_0_C12_C9_0", 0);
	SYSREG_WRITE("S3_0_C12_C8_4", 0);
	SYSREG_WRITE("S3_0_C12_C12_3", 0);
	catch_stop();
	restored();
}

/* Somebody else changes the ITS while messages come in. */

static void remapper(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		its_command(CMD_DISCARD | DEV(rng->pci->devid), 0, 0, 0);
		its_command(CMD_MAPTI | DEV(rng->pci->devid), LPI(8300), 0, 0);
		its_command(CMD_INV | DEV(rng->pci->devid), 0, 0, 0);
	}
}

static void mover(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		its_command(CMD_MOVI | DEV(rng->pci->devid), 0, 0, 0);
		its_command(CMD_MOVALL, 0, its_rdbase(0), its_rdbase(0));
		its_command(CMD_INVALL, 0, 0, 0);
	}
}

static void unmapper(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		its_command(CMD_MAPD | DEV(rng->pci->devid), 0, 0, 0);
		its_command(CMD_MAPD | DEV(rng->pci->devid), 4, V | (uint64_t)buf2, 0);
	}
}

static void its_toggler(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		wr32(gic.its + GITS_CTLR, 0);
		wr32(gic.its + GITS_CTLR, 1);
	}
}

static void lpi_toggler(void *arg)
{
	uint64_t ctlr = gicv3_redist(0) + GICR_CTLR;

	(void)arg;
	while (!stop_helpers) {
		wr32(ctlr, 0);
		wr32(ctlr, 1);
	}
}

static void translater(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		wr32(gic.its + GITS_TRANSLATER, noise() & 7);
}

static void race(void (*racer)(void *arg), void (*another)(void *arg))
{
	if (!begin(rng, 0) || !helper_start(1, racer, NULL))
		return;
	if (another && !helper_start(2, another, NULL))
		return;
	for (unsigned i = 0; i < 60; i++)
		want(trip(rng), "no round trip");
	helper_join(1);
	if (another)
		helper_join(2);
	restored();
}

static void remap_race(void)
{
	race(remapper, NULL);
}

static void move_race(void)
{
	race(mover, NULL);
}

static void unmap_race(void)
{
	race(unmapper, NULL);
}

static void ctlr_race(void)
{
	race(its_toggler, lpi_toggler);
}

static void lpi_race(void)
{
	race(remapper, lpi_toggler);
}

static void translater_race(void)
{
	race(translater, its_toggler);
}

static void lpis_off_and_on(void)
{
	uint64_t ctlr = gicv3_redist(0) + GICR_CTLR;

	for (unsigned i = 0; i < 200; i++)
		wr32(ctlr, i & 1);
	restored();
}

static const struct fn_row fn_rows[] = {
	{ { "spis-at-once", ON_ITS | OFTEN }, spis_at_once },
	{ { "routers", ON_ITS }, routers },
	{ { "dist-random", ON_ITS | OFTEN }, dist_random },
	{ { "redist-random", ON_ITS }, redist_random },
	{ { "its-random", ON_ITS }, its_random },
	{ { "commands-random", ON_ITS | OFTEN }, commands_random },
	{ { "sgi-storm", ON_ITS }, sgi_storm },
	{ { "icc-random", ON_ITS }, icc_random },
	{ { "lpis-off-and-on", ON_ITS }, lpis_off_and_on },
	{ { "remap-race", ON_ITS | ON_PCI | ON_CPUS | OFTEN }, remap_race },
	{ { "move-race", ON_ITS | ON_PCI | ON_CPUS }, move_race },
	{ { "unmap-race", ON_ITS | ON_PCI | ON_CPUS }, unmap_race },
	{ { "ctlr-race", ON_ITS | ON_PCI | ON_CPUS | OFTEN }, ctlr_race },
	{ { "lpi-race", ON_ITS | ON_PCI | ON_CPUS }, lpi_race },
	{ { "translater-race", ON_ITS | ON_PCI | ON_CPUS }, translater_race },
};

const struct family gic_tables[] = {
	FAMILY(command_rows, run_command), FAMILY(reg_rows, run_reg), FAMILY(fn_rows, run_fn), { 0 },
};
