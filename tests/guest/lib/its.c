/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ITS: its tables, its queue of commands. A device gets a table of ITS_EVENTS events when its first event is
 * mapped; CPU n is collection n. Commands are given by one CPU at a time, which is a case's own affair.
 */
#include "cpu.h"
#include "dt.h"
#include "gic_regs.h"
#include "irq.h"

#define QUEUE_BYTES 4096
#define MAX_DEVICES 64
#define VALID GITS_VALID
#define DEVICE_BITS 16

static uint64_t *queue;
static unsigned next_command; /* offset in bytes */
static struct { uint32_t devid; void *itt; } mapped[MAX_DEVICES];
static unsigned nr_mapped;
static struct { uint64_t at, bytes; } tables[8];

bool its_command(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t *cmd = queue + next_command / 8, end = deadline_ms(1000);

	cmd[0] = a;
	cmd[1] = b;
	cmd[2] = c;
	cmd[3] = d;
	next_command = (next_command + 32) % QUEUE_BYTES;
	wr64(gic.its + GITS_CWRITER, next_command);
	while (rd64(gic.its + GITS_CREADR) != next_command)
		if (passed(end))
			return false;
	return true;
}

static void must(bool good, const char *what)
{
	if (!good)
		fatal("the ITS does not take %s", what);
}

/* The size is the number of event bits less one. */
static void must_map(uint32_t devid, const void *itt)
{
	must(its_command(CMD_MAPD | (uint64_t)devid << 32, 4, VALID | (uint64_t)itt, 0), "MAPD");
}

/* Zeroed, and the same each time. */
static uint64_t table_for(unsigned i, uint64_t bytes)
{
	if (!tables[i].at) {
		tables[i].at = (uint64_t)bare_alloc(bytes, 65536);
		tables[i].bytes = bytes;
	}
	memset((void *)tables[i].at, 0, tables[i].bytes);
	return tables[i].at;
}

/* The tables that GITS_BASERn asks for: type 1 devices, 4 collections; flat, of pages of 4 KiB where it can. */
static void init_tables(void)
{
	for (unsigned i = 0; i < 8; i++) {
		uint64_t reg = gic.its + GITS_BASER + 8 * i, v = rd64(reg), type = v >> 56 & 7;
		uint64_t entry = (v >> 48 & 31) + 1, bytes = type == 1 ? entry << DEVICE_BITS : entry * MAX_CPUS;

		if (!type)
			continue;
		bytes = (bytes + 65535) & ~UINT64_C(65535);
		wr64(reg, VALID | table_for(i, bytes) | GIC_TABLE_CACHED | (bytes / 4096 - 1));
		if ((rd64(reg) >> 8 & 3) == 2) /* it insists on pages of 64 KiB */
			wr64(reg, (rd64(reg) & ~UINT64_C(0xff)) | (bytes / 65536 - 1));
	}
}

void its_enable(void)
{
	wr32(gic.its + GITS_CTLR, 0);
	init_tables();
	next_command = 0;
	wr64(gic.its + GITS_CBASER, VALID | (uint64_t)queue | GIC_TABLE_CACHED);
	wr64(gic.its + GITS_CWRITER, 0);
	wr32(gic.its + GITS_CTLR, 1);
	for (unsigned i = 0; i < nr_mapped; i++)
		must_map(mapped[i].devid, mapped[i].itt);
}

bool its_init(int gic_node)
{
	int node = dt_compatible("arm,gic-v3-its", gic_node);

	if (node < 0)
		return false;
	gic.its = dt_reg(node, 0, NULL);
	queue = bare_alloc(QUEUE_BYTES, 65536);
	its_enable();
	return true;
}

/* How a command names a redistributor: by number, or by address where GITS_TYPER.PTA is set. */
uint64_t its_rdbase(unsigned cpu)
{
	uint64_t redist = gicv3_redist(cpu);

	return rd64(gic.its + GITS_TYPER) & BIT(19) ? redist : (rd64(redist + GICR_TYPER) >> 8 & 0xffff) << 16;
}

bool its_map_cpu(unsigned cpu)
{
	return its_command(CMD_MAPC, 0, VALID | its_rdbase(cpu) | cpu, 0) && its_command(CMD_SYNC, 0, its_rdbase(cpu), 0);
}

static void map_device(uint32_t devid)
{
	uint64_t entry = (rd64(gic.its + GITS_TYPER) >> 4 & 15) + 1;

	for (unsigned i = 0; i < nr_mapped; i++)
		if (mapped[i].devid == devid)
			return;
	if (nr_mapped == MAX_DEVICES)
		fatal("too many devices with messages");
	mapped[nr_mapped].devid = devid;
	mapped[nr_mapped].itt = bare_alloc(entry * ITS_EVENTS, 256);
	must_map(devid, mapped[nr_mapped++].itt);
}

_Static_assert(ITS_EVENTS == 32, "five bits of events");

static void event_command(unsigned cmd, uint32_t devid, uint64_t b, uint64_t c, const char *what)
{
	must(its_command(cmd | (uint64_t)devid << 32, b, c, 0), what);
}

static void sync(unsigned cpu)
{
	must(its_command(CMD_SYNC, 0, its_rdbase(cpu), 0), "SYNC");
}

void its_map_event(uint32_t devid, uint32_t event, unsigned lpi, unsigned cpu)
{
	map_device(devid);
	event_command(CMD_MAPTI, devid, event | (uint64_t)lpi << 32, cpu, "MAPTI");
	its_inv(devid, event);
	sync(cpu);
}

void its_move_event(uint32_t devid, uint32_t event, unsigned cpu)
{
	event_command(CMD_MOVI, devid, event, cpu, "MOVI");
	sync(cpu);
}

void its_discard_event(uint32_t devid, uint32_t event)
{
	event_command(CMD_DISCARD, devid, event, 0, "DISCARD");
	sync(0);
}

void its_inv(uint32_t devid, uint32_t event)
{
	event_command(CMD_INV, devid, event, 0, "INV");
}

void its_int(uint32_t devid, uint32_t event)
{
	event_command(CMD_INT, devid, event, 0, "INT");
}
