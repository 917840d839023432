/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exceptions: an interrupt goes to irq_dispatch(), with interrupts off until it returns; a synchronous one is
 * caught where a case said so; all others are bugs of the payload, and end it.
 */
#include "cpu.h"
#include "dt.h"
#include "irq.h"

#define BLOCK_MEMORY 0x701 /* as in start.S */
#define GIB_SHIFT 30
#define EC_INSTRUCTION_ABORT 0x20 /* from the same level: with bit 0 */

struct cpu {
	uint64_t mpidr;
	void (*fn)(void *arg);
	void *arg;
	volatile bool up;
	bool catching;
	struct caught caught;
};

extern uint64_t page_table[512];
extern void secondary_start(void);
extern long smccc(bool smc, uint64_t fn, uint64_t a, uint64_t b, uint64_t c);
void trap(unsigned kind, struct trap_frame *f);
void cpu_main(unsigned cpu);

static struct cpu cpus[MAX_CPUS];
static unsigned nr_cpus;
static bool use_smc;

unsigned cpu_count(void)
{
	return nr_cpus;
}

unsigned this_cpu(void)
{
	return (unsigned)SYSREG_READ("tpidr_el1");
}

uint64_t cpu_mpidr(unsigned cpu)
{
	return cpus[cpu].mpidr;
}

static void forget_translations(void)
{
	DSB();
	__asm__ volatile("tlbi vmalle1is" ::: "memory");
	DSB();
	ISB();
}

/* From device to memory, each GiB that has RAM in it. Nothing was read there yet but by device accesses. */
static void memory_init(void)
{
	uint64_t size, start;

	for (int node = dt_typed("memory", -1); node >= 0; node = dt_typed("memory", node)) {
		start = dt_reg(node, 0, &size);
		for (uint64_t g = start >> GIB_SHIFT; size && g <= (start + size - 1) >> GIB_SHIFT && g < 512; g++)
			page_table[g] = g << GIB_SHIFT | BLOCK_MEMORY;
	}
	forget_translations();
}

#define ALIAS 256   /* GiB: the upper half shows the lower one as memory */
#define WALKED 255

uint64_t as_memory(uint64_t at)
{
	uint64_t g = at >> GIB_SHIFT;

	page_table[ALIAS + g] = g << GIB_SHIFT | BLOCK_MEMORY;
	forget_translations();
	return at + ((uint64_t)ALIAS << GIB_SHIFT);
}

uint64_t walk_through(uint64_t table)
{
	page_table[WALKED] = table ? table | 3 : 0;
	forget_translations();
	return (uint64_t)WALKED << GIB_SHIFT;
}

void cpu_init(void)
{
	const char *method = dt_prop(dt_compatible("arm,psci-0.2", -1), "method", NULL);
	uint64_t own = SYSREG_READ("mpidr_el1") & 0xff00ffffff;

	use_smc = method && streq(method, "smc");
	memory_init();
	for (int node = dt_typed("cpu", -1); node >= 0 && nr_cpus < MAX_CPUS; node = dt_typed("cpu", node))
		cpus[nr_cpus++].mpidr = dt_reg(node, 0, NULL);
	if (!nr_cpus || cpus[0].mpidr != own)
		fatal("this is CPU %lx, and the first of the tree is %lx", own, cpus[0].mpidr);
	cpus[0].up = true;
}

long psci(uint32_t fn, uint64_t a, uint64_t b, uint64_t c)
{
	return smccc(use_smc, fn, a, b, c);
}

void psci_off(void)
{
	psci(PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;)
		sleep_once();
}

/* Called by start.S on a new CPU. */
void cpu_main(unsigned cpu)
{
	struct cpu *c = &cpus[cpu];

	irq_init_cpu();
	c->up = true;
	irqs_on();
	c->fn(c->arg);
	for (;;)
		sleep_once();
}

bool cpu_start(unsigned cpu, void (*fn)(void *arg), void *arg)
{
	struct cpu *c = &cpus[cpu];
	uint64_t end;

	c->fn = fn;
	c->arg = arg;
	c->up = false;
	c->catching = false;
	DSB();
	if (psci(PSCI_CPU_ON, c->mpidr, (uint64_t)secondary_start, cpu))
		return false;
	end = deadline_ms(2000);
	while (!c->up && !passed(end))
		;
	return c->up;
}

void cpu_off(void)
{
	irqs_off();
	for (;;)
		psci(PSCI_CPU_OFF, 0, 0, 0);
}

bool cpu_is_off(unsigned cpu)
{
	return psci(PSCI_AFFINITY_INFO, cpus[cpu].mpidr, 0, 0) == 1;
}

/* Traps */

enum { KIND_SYNC = 4, KIND_IRQ = 5 }; /* of the current level, with its own stack */

static void fatal_exception(unsigned kind, const struct trap_frame *f)
{
	say("registers: CPU %u, sp %lx", this_cpu(), (unsigned long)(f + 1));
	for (unsigned i = 0; i < ARRAY_LEN(f->x); i++)
		say("%sx%u %lx", i % 8 ? ", " : "\nregisters: ", i, (unsigned long)f->x[i]);
	say("\n");
	fatal("exception %u: ESR %lx, FAR %lx, PC %lx", kind, (unsigned long)SYSREG_READ("esr_el1"),
	      (unsigned long)SYSREG_READ("far_el1"), (unsigned long)f->pc);
}

void trap(unsigned kind, struct trap_frame *f)
{
	struct cpu *c = &cpus[this_cpu()];

	if (kind == KIND_IRQ) {
		irq_dispatch();
		return;
	}
	if (kind != KIND_SYNC || !c->catching)
		fatal_exception(kind, f);
	c->caught.count++;
	c->caught.esr = SYSREG_READ("esr_el1");
	c->caught.far = SYSREG_READ("far_el1");
	c->caught.pc = f->pc;
	/* An instruction that could not be fetched was called: back to the caller. */
	f->pc = (c->caught.esr >> 26 & 0x3e) == EC_INSTRUCTION_ABORT ? f->x[30] : f->pc + 4;
}

void catch_start(void)
{
	struct cpu *c = &cpus[this_cpu()];

	memset(&c->caught, 0, sizeof(c->caught));
	c->catching = true;
}

const struct caught *catch_stop(void)
{
	struct cpu *c = &cpus[this_cpu()];

	DSB();
	c->catching = false;
	return &c->caught;
}

/* The virtual timer is the third interrupt of arm,armv8-timer. */
bool timer_init(void (*fn)(void *arg), void *arg)
{
	struct dt_irq irq;

	if (!dt_interrupt(dt_compatible("arm,armv8-timer", -1), 2, &irq))
		return false;
	timer_set(0);
	irq_connect(irq.intid, fn, arg);
	irq_enable(irq.intid, irq.edge, this_cpu());
	return true;
}

void timer_set(unsigned us)
{
	SYSREG_WRITE("cntv_tval_el0", SYSREG_READ("cntfrq_el0") / 1000 * us / 1000);
	SYSREG_WRITE("cntv_ctl_el0", us ? 1 : 0);
	ISB();
}
