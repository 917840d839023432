/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpu - CPUs and their traps: PSCI, secondaries, the generic timer, exceptions that a case expects
 */
#ifndef TESTS_GUEST_LIB_CPU_H
#define TESTS_GUEST_LIB_CPU_H

#include "bare.h"

#define MAX_CPUS 64 /* stacks in image.ld */

enum { PSCI_CPU_OFF = 0x84000002, PSCI_SYSTEM_OFF = 0x84000008, PSCI_SYSTEM_RESET = 0x84000009 };
#define PSCI_VERSION 0x84000000
#define PSCI_CPU_ON 0xc4000003
#define PSCI_AFFINITY_INFO 0xc4000004

struct trap_frame {
	uint64_t x[31], pc, pstate, spare;
};

/* What the last caught exception was. */
struct caught {
	unsigned count;
	uint64_t esr, far, pc;
};

/* From the device tree: CPUs, how PSCI is called, all RAM mapped as memory. The first CPU's. */
void cpu_init(void);
unsigned cpu_count(void);
unsigned this_cpu(void);
uint64_t cpu_mpidr(unsigned cpu);

/* Any call, by the conduit that the tree names. */
long psci(uint32_t fn, uint64_t a, uint64_t b, uint64_t c);
void psci_off(void) __attribute__((noreturn));
/* @fn(@arg) on @cpu, with interrupts enabled; then that CPU sleeps. False: PSCI refused, or it did not come within 2 s. */
bool cpu_start(unsigned cpu, void (*fn)(void *arg), void *arg);
/* The calling CPU, off: it may be started again. Another: is it? */
void cpu_off(void) __attribute__((noreturn));
bool cpu_is_off(unsigned cpu);

static inline void irqs_on(void)
{
	__asm__ volatile("msr daifclr, #2" ::: "memory");
}

static inline void irqs_off(void)
{
	__asm__ volatile("msr daifset, #2" ::: "memory");
}

/* Waits for an interrupt, which is taken here where interrupts are on. */
static inline void sleep_once(void)
{
	__asm__ volatile("dsb sy; wfi" ::: "memory");
}

/* Another address for @at, which is a device's: mapped as memory, so unaligned accesses and code go through to it. */
uint64_t as_memory(uint64_t at);
/* The next level of the walk for 1 GiB at the returned address lies at @table, which may be anywhere; 0 undoes it. */
uint64_t walk_through(uint64_t table);

/*
 * From catch_start() to catch_stop(), a synchronous exception of this CPU is counted, and goes on behind the
 * instruction that made it, or behind the call of what cannot be executed. Outside, it is fatal.
 */
void catch_start(void);
const struct caught *catch_stop(void);

/* The virtual timer: connects @fn to its PPI on this CPU. timer_set() arms it once; 0 us: off. */
bool timer_init(void (*fn)(void *arg), void *arg);
void timer_set(unsigned us);

#endif
