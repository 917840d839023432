/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpu: instructions on registers of devices whose exits say too little for KVM (KVM api.rst, KVM_EXIT_ARM_NISV), code and page tables that
 * lie in registers, firmware calls (PSCI DEN0022, SMCCC DEN0028), CPUs that come and go.
 */
#include "hostile.h"

/* An instruction with x0 the address; x1 to x5 and v0 to v3 are its to use. */
struct insn_row {
	struct row row;
	void (*fn)(uint64_t at);
};

#define CLOBBERS "x1", "x2", "x3", "x4", "x5", "memory"
#define INSN(name, text)									\
	static void name(uint64_t at)								\
	{											\
		register uint64_t x0 __asm__("x0") = at;					\
												\
		__asm__ volatile(".arch armv8.2-a+simd\n\t" text : "+r"(x0) :: CLOBBERS);	\
	}

INSN(ldp_w, "ldp w1, w2, [x0]")
INSN(stp_w, "stp wzr, wzr, [x0]")
INSN(ldp_x, "ldp x1, x2, [x0]")
INSN(stp_x, "stp xzr, xzr, [x0]")
INSN(ldpsw, "ldpsw x1, x2, [x0]")
INSN(ldnp, "ldnp x1, x2, [x0]")
INSN(ldr_pre, "ldr w1, [x0, #4]!")
INSN(ldr_post, "ldr w1, [x0], #4")
INSN(str_pre, "str wzr, [x0, #4]!")
INSN(str_post, "str wzr, [x0], #4")
INSN(ldrb_post, "ldrb w1, [x0], #1")
INSN(ldr_b, "ldr b0, [x0]")
INSN(ldr_d, "ldr d0, [x0]")
INSN(ldr_q, "ldr q0, [x0]")
INSN(str_q, "str q0, [x0]")
INSN(ldp_q, "ldp q0, q1, [x0]")
INSN(stp_q, "stp q0, q1, [x0]")
INSN(ld1, "ld1 {v0.16b, v1.16b}, [x0]")
INSN(st1, "st1 {v0.16b, v1.16b}, [x0]")
INSN(ld4, "ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x0]")
INSN(ldxr, "ldxr w1, [x0]")
INSN(stxr, "ldxr w1, [x0]\n\tstxr w2, w1, [x0]")
INSN(ldaxr, "ldaxr w1, [x0]\n\tstlxr w2, w1, [x0]")
INSN(ldxp, "ldxp x1, x2, [x0]\n\tstxp w3, x1, x2, [x0]")
INSN(ldar, "ldar w1, [x0]")
INSN(stlr, "stlr wzr, [x0]")
INSN(swp, "swp w1, w2, [x0]")
INSN(ldadd, "ldadd w1, w2, [x0]")
INSN(cas, "cas w1, w2, [x0]")
INSN(casp, "casp x2, x3, x4, x5, [x0]")
INSN(dc_zva, "dc zva, x0")
INSN(dc_ivac, "dc ivac, x0")
INSN(dc_cvac, "dc cvac, x0")
INSN(dc_civac, "dc civac, x0")
INSN(ic_ivau, "ic ivau, x0")
INSN(prfm, "prfm pldl1keep, [x0]\n\tprfm pstl1keep, [x0]")
INSN(ldtr, "ldtr w1, [x0]")
INSN(at_walk, "at s1e1r, x0\n\tat s1e1w, x0")

static const struct insn_row insn_rows[] = {
	{ { "ldp-w", 0 }, ldp_w }, { { "stp-w", 0 }, stp_w }, { { "ldp-x", OFTEN }, ldp_x }, { { "stp-x", OFTEN }, stp_x },
	{ { "ldpsw", 0 }, ldpsw }, { { "ldnp", 0 }, ldnp }, { { "ldr-pre", 0 }, ldr_pre }, { { "ldr-post", OFTEN }, ldr_post },
	{ { "str-pre", 0 }, str_pre }, { { "str-post", OFTEN }, str_post }, { { "ldrb-post", 0 }, ldrb_post },
	{ { "ldr-b", 0 }, ldr_b }, { { "ldr-d", 0 }, ldr_d }, { { "ldr-q", OFTEN }, ldr_q }, { { "str-q", 0 }, str_q },
	{ { "ldp-q", 0 }, ldp_q }, { { "stp-q", 0 }, stp_q }, { { "ld1", 0 }, ld1 }, { { "st1", 0 }, st1 }, { { "ld4", 0 }, ld4 },
	{ { "ldxr", OFTEN }, ldxr }, { { "stxr", OFTEN }, stxr }, { { "ldaxr", 0 }, ldaxr }, { { "ldxp", 0 }, ldxp },
	{ { "ldar", 0 }, ldar }, { { "stlr", 0 }, stlr }, { { "swp", OFTEN }, swp }, { { "ldadd", 0 }, ldadd }, { { "cas", 0 }, cas },
	{ { "casp", 0 }, casp }, { { "dc-zva", OFTEN }, dc_zva }, { { "dc-ivac", 0 }, dc_ivac }, { { "dc-cvac", 0 }, dc_cvac },
	{ { "dc-civac", 0 }, dc_civac }, { { "ic-ivau", 0 }, ic_ivau }, { { "prfm", 0 }, prfm }, { { "ldtr", 0 }, ldtr },
	{ { "at-walk", 0 }, at_walk },
};

/* Registers of each kind of owner: the monitor's, with and without a view in front of them, KVM's, nobody's. */
static unsigned targets(uint64_t *at)
{
	unsigned n = 0;

	at[n++] = rng->regs;
	at[n++] = con->config;
	at[n++] = uart_regs() + 0x40;
	at[n++] = gic.dist + 0x400;
	at[n++] = 0x1000;
	if (gic.its)
		at[n++] = gic.its + 0x40;
	if (rng->pci) {
		at[n++] = rng->pci->cfg;
		at[n++] = rng->pci->msix_table;
		at[n++] = rng->notify;
	}
	return n;
}

/* CPACR_EL1.FPEN: the rest of the payload does without. */
static void fp_on(void)
{
	SYSREG_WRITE("cpacr_el1", 3ul << 20);
	ISB();
}

/* By the mapping as a device and as memory. */
static void run_insn(const void *row)
{
	const struct insn_row *r = row;
	uint64_t at[16];
	unsigned n = targets(at);

	fp_on();
	for (unsigned i = 0; i < n; i++) {
		uint64_t alias = as_memory(at[i]);

		rd32(at[i] & ~3ull); /* where there is a view, it is there now */
		catch_start();
		r->fn(at[i]);
		r->fn(alias);
		r->fn(alias + 2);
		catch_stop();
	}
}

/* Code and page tables where there is no memory */

static void jump(uint64_t at)
{
	uint64_t to = as_memory(at);

	catch_start();
	__asm__ volatile("blr %0" :: "r"(to) : "x30", "memory");
	want(catch_stop()->count, "code at %lx was run", (unsigned long)at);
}

static void code_in_registers(void)
{
	jump(gic.dist);
	if (gic.its)
		jump(gic.its);
	if (!rng->pci)
		jump(rng->regs);
	else
		jump(rng->pci->msix_table);
}

static void code_in_holes(void)
{
	jump(0x1000);
	jump(pci_window ? pci_window + pci_window_size - 0x1000 : 0x2000);
	jump(0x10000000);
}

static void walk(uint64_t through)
{
	uint64_t at = walk_through(through & ~UINT64_C(0xfff));

	catch_start();
	rd32(at);
	wr32(at + 0x1000, 0);
	want(catch_stop()->count, "tables at %lx serve", (unsigned long)through);
	walk_through(0);
}

static void tables_in_registers(void)
{
	walk(gic.dist);
	walk(uart_regs() + 0x1000);
	if (!rng->pci)
		walk(rng->regs);
}

static void tables_in_holes(void)
{
	walk(0x1000);
	walk(UINT64_C(1) << 38);
	walk(UINT64_C(1) << 47);
}

/* A read-only view is memory to the walker: what it finds is not a table that leads anywhere, or the guest's own affair. */
static void tables_in_views(void)
{
	uint64_t at = walk_through(rng->pci->cfg & ~UINT64_C(0xfff));

	catch_start();
	rd32(at);
	wr32(at + 0x1000, 0);
	rd32(at + 0x200000);
	catch_stop();
	walk_through(0);
}

static void holes(void)
{
	static const uint64_t at[] = { 0, 0x08000000, 0x09020000, 0x0a100000, 0x10000000, 0x20000000, 0x30050000, 0x3fff0000 };

	catch_start();
	for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
		want(rd32(at[i]) == 0 || rd32(at[i]) == ~0u || catch_stop()->count, "something answers at %lx", (unsigned long)at[i]);
		catch_start();
		wr64(at[i], ~0ull);
	}
	for (unsigned g = 0; g < 255; g += 3) {
		uint64_t a = ((uint64_t)g << 30) + 0x3ffff000;

		if (a + 0x1000 > ram_start && a < ram_end)
			continue;
		rd8(a);
		wr8(a, 1);
	}
	catch_stop();
}

/* Firmware */

struct call_row {
	struct row row;
	uint32_t fn;
	uint64_t a, b, c;
	long ret;
	bool any;            /* what it returns is not asked for */
};

#define NOT_SUPPORTED -1
#define INVALID_PARAMETERS -2
#define ALREADY_ON -4

static const struct call_row call_rows[] = {
	{ { "psci-on-self", OFTEN }, PSCI_CPU_ON, 0, 0, 0, ALREADY_ON },
	{ { "psci-on-nobody", OFTEN }, PSCI_CPU_ON, 0xff00ffffff, 0, 0, INVALID_PARAMETERS },
	{ { "psci-on-high-bits", 0 }, PSCI_CPU_ON, ~0ull, ~0ull, ~0ull, INVALID_PARAMETERS },
	{ { "psci-on-32-nobody", 0 }, 0x84000003, 0x00ffffff, 0, 0, INVALID_PARAMETERS },
	{ { "psci-affinity-nobody", 0 }, PSCI_AFFINITY_INFO, 0xff00ffffff, 0, 0, INVALID_PARAMETERS },
	{ { "psci-affinity-level", 0 }, PSCI_AFFINITY_INFO, 0, 99, 0, INVALID_PARAMETERS },
	{ { "psci-migrate", 0 }, 0x84000005, ~0u, 0, 0, NOT_SUPPORTED },
	{ { "psci-features-garbage", 0 }, 0x8400000a, ~0u, 0, 0, NOT_SUPPORTED },
	{ { "psci-suspend-system", 0 }, 0xc400000e, ~0ull, ~0ull, 0, NOT_SUPPORTED },
	{ { "psci-reset2-garbage", OFTEN }, 0xc4000012, 0x7fffffff, ~0ull, 0, INVALID_PARAMETERS },
	{ { "psci-unknown", 0 }, 0x8400ffff, ~0ull, ~0ull, ~0ull, NOT_SUPPORTED },
	{ { "smccc-unknown", OFTEN }, 0xffffffff, ~0ull, ~0ull, ~0ull, NOT_SUPPORTED },
	{ { "smccc-version", 0 }, 0x80000000, 0, 0, 0, 0, true },
	{ { "smccc-features-garbage", 0 }, 0x80000001, ~0ull, 0, 0, NOT_SUPPORTED },
	{ { "smccc-pv-time", 0 }, 0xc5000021, ~0ull, 0, 0, 0, true },
	{ { "smccc-trng-huge", 0 }, 0xc4000053, ~0ull, 0, 0, 0, true },
	{ { "smccc-trng-0", 0 }, 0xc4000053, 0, 0, 0, 0, true },
	{ { "smccc-vendor-ptp", 0 }, 0x86000001, ~0ull, 0, 0, 0, true },
};

static void run_call(const void *row)
{
	const struct call_row *r = row;
	uint64_t a = r->a;
	long ret;

	if (streq(r->row.name, "psci-on-self"))
		a = cpu_mpidr(0);
	ret = (int)psci(r->fn, a, r->b, r->c);
	want(r->any || ret == r->ret, "returned %ld", ret);
}

/* Not those that end the VM, or put this CPU to sleep: CPU_SUSPEND, CPU_OFF, SYSTEM_OFF, _RESET, _SUSPEND, _RESET2. */
static bool harmless(uint32_t fn)
{
	static const uint8_t not_these[] = { 1, 2, 3, 8, 9, 0x0c, 0x0d, 0x0e, 0x12 };

	for (unsigned i = 0; i < ARRAY_LEN(not_these); i++)
		if ((fn & 0x3fffffff) == (0x04000000u | not_these[i]))
			return false;
	return true;
}

static void every_call(void)
{
	for (unsigned owner = 0; owner < 64; owner += owner < 8 ? 1 : 7)
		for (unsigned fn = 0; fn < 0x60; fn++)
			for (unsigned wide = 0; wide < 2; wide++) {
				uint32_t id = 0x80000000u | wide << 30 | owner << 24 | fn;

				if (harmless(id))
					psci(id, noise(), noise(), noise());
			}
}

static void yielding_calls(void)
{
	for (unsigned i = 0; i < 200; i++)
		psci(noise() & 0x3f000fff, noise(), noise(), noise());
}

/* Undefined and trapped instructions. */
static void odd_instructions(void)
{
	catch_start();
	__asm__ volatile("smc #0x1234" ::: "x0", "x1", "x2", "x3", "memory");
	__asm__ volatile("brk #0x77");
	__asm__ volatile(".inst 0");
	__asm__ volatile("mrs x1, s3_4_c1_c1_0" ::: "x1"); /* HCR_EL2 */
	__asm__ volatile("msr s3_4_c1_c1_0, xzr");
	__asm__ volatile("mrs x1, s3_6_c1_c1_0" ::: "x1"); /* SCR_EL3 */
	__asm__ volatile("mrs x1, s3_0_c15_c2_0" ::: "x1"); /* implementation defined */
	__asm__ volatile("msr s3_0_c15_c2_0, xzr");
	__asm__ volatile("mrs x1, s3_3_c9_c12_0" ::: "x1"); /* PMCR_EL0 */
	__asm__ volatile("msr s3_3_c9_c12_0, %0" :: "r"(0));
	__asm__ volatile("mrs x1, s2_0_c0_c2_2" ::: "x1"); /* MDSCR_EL1 */
	__asm__ volatile("dc cisw, xzr");
	__asm__ volatile("dc csw, xzr");
	catch_stop();
}

/* ID and other system registers: all encodings of op0 3, op1 0, CRn 0 and 12. */
static void every_id_register(void)
{
	catch_start();
#define READ4(op1, crn, crm) \
	__asm__ volatile("mrs x1, s3_" #op1 "_c" #crn "_c" #crm "_0\n\tmrs x1, s3_" #op1 "_c" #crn "_c" #crm "_1\n\t" \
			 "mrs x1, s3_" #op1 "_c" #crn "_c" #crm "_2\n\tmrs x1, s3_" #op1 "_c" #crn "_c" #crm "_7" ::: "x1")
	READ4(0, 0, 0); READ4(0, 0, 1); READ4(0, 0, 2); READ4(0, 0, 3); READ4(0, 0, 4); READ4(0, 0, 5); READ4(0, 0, 6); READ4(0, 0, 7);
	READ4(0, 1, 0); READ4(0, 1, 1); READ4(0, 1, 2); READ4(0, 5, 3); READ4(0, 9, 14); READ4(0, 10, 4); READ4(0, 12, 8); READ4(0, 12, 9);
	READ4(1, 0, 0); READ4(2, 0, 0); READ4(3, 0, 0); READ4(3, 9, 12); READ4(3, 9, 13); READ4(3, 9, 14); READ4(3, 14, 0); READ4(3, 14, 2);
#undef READ4
	catch_stop();
}

/* CPUs */

static volatile unsigned visits;

static void visit(void *arg)
{
	(void)arg;
	__atomic_fetch_add(&visits, 1, __ATOMIC_RELAXED);
}

static void on_and_off(void)
{
	visits = 0;
	for (unsigned i = 0; i < 30; i++)
		if (!helper_start(1 + i % 2, visit, NULL) || !helper_join(1 + i % 2))
			return;
	want(visits == 30, "%u visits", visits);
}

static void on_storm(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		psci(PSCI_CPU_ON, cpu_mpidr(noise() % 3), 0x1000, 0);
}

/* CPU_ON of CPUs that are on, from two of them; CPU 2 was not, and runs wild afterwards. */
static void on_race(void)
{
	if (!helper_start(1, on_storm, NULL))
		return;
	for (unsigned i = 0; i < 500; i++)
		want((int)psci(PSCI_CPU_ON, cpu_mpidr(i & 1), 0x1000, 0) == ALREADY_ON, "CPU %u was not on", i & 1);
	psci_off();
}

static void affinity_storm(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		psci(PSCI_AFFINITY_INFO, cpu_mpidr(noise() % 3), 0, 0);
}

static void affinity_race(void)
{
	if (!helper_start(1, affinity_storm, NULL))
		return;
	for (unsigned i = 0; i < 20; i++)
		if (!helper_start(2, visit, NULL))
			break;
		else
			while (!cpu_is_off(2))
				;
	helper_join(1);
}

#define TIMER 27 /* the virtual timer's PPI */

/* Interrupts are off, and wake all the same. */
static void waiter(void *arg)
{
	irqs_off();
	irq_enable(TIMER, false, this_cpu());
	while (!stop_helpers) {
		if (arg)
			__asm__ volatile("sev; wfe; sevl; wfe; yield" ::: "memory");
		else
			__asm__ volatile("msr cntv_tval_el0, xzr; msr cntv_ctl_el0, %0; isb; wfi" :: "r"(1ul) : "memory");
	}
	SYSREG_WRITE("cntv_ctl_el0", 0);
	irq_disable(TIMER);
}

static void wfe_storm(void)
{
	if (!helper_start(1, waiter, (void *)1) || !helper_start(2, waiter, (void *)1))
		return;
	for (unsigned i = 0; i < 20; i++)
		want(heals(rng), "the rng is wedged meanwhile");
	helper_join(1);
	helper_join(2);
}

static void wfi_storm(void)
{
	if (!helper_start(1, waiter, NULL))
		return;
	for (unsigned i = 0; i < 20; i++)
		want(heals(rng), "the rng is wedged meanwhile");
	helper_join(1);
}

/* Registers without syndrome from all CPUs at once. */
static void nisv_storm(void *arg)
{
	(void)arg;
	catch_start();
	for (unsigned i = 0; i < 300 && !stop_helpers; i++) {
		ldp_x(gic.dist + 0x400);
		stp_x(0x1000);
		ldr_post(0x2000);
	}
	catch_stop();
}

static void nisv_from_all(void)
{
	if (!helper_start(1, nisv_storm, NULL) || !helper_start(2, nisv_storm, NULL))
		return;
	stop_helpers = false;
	nisv_storm(NULL);
	helper_join(1);
	helper_join(2);
}

/* The VM's end */

static void off_helper(void *arg)
{
	psci(arg ? PSCI_SYSTEM_RESET : PSCI_SYSTEM_OFF, 0, 0, 0);
}

static void touch_until_the_end(void)
{
	for (;;)
		rd32(0x1000);
}

static void reset_from_helper(void)
{
	helper_start(1, off_helper, (void *)1);
	touch_until_the_end();
}

static void off_from_helper(void)
{
	helper_start(1, off_helper, NULL);
	touch_until_the_end();
}

static volatile bool go;

static void off_at_once(void *arg)
{
	while (!go)
		;
	off_helper(arg);
}

static void off_from_all(void)
{
	helper_start(1, off_at_once, NULL);
	helper_start(2, off_at_once, NULL);
	go = true;
	off_helper(NULL);
	touch_until_the_end();
}

static void reset_from_two(void)
{
	helper_start(1, off_at_once, (void *)1);
	go = true;
	off_helper((void *)1);
	touch_until_the_end();
}

/* A CPU that starts where there is nothing takes exceptions without end. */
static void on_nowhere(void)
{
	psci(PSCI_CPU_ON, cpu_mpidr(1), 0x1000, 0);
	psci(PSCI_CPU_ON, cpu_mpidr(2), ~UINT64_C(7), 0);
	for (unsigned i = 0; i < 10; i++)
		want(heals(rng), "the rng is wedged meanwhile");
	psci_off();
}

static void lost(void *arg)
{
	SYSREG_WRITE("ttbr0_el1", arg);
	ISB();
	__asm__ volatile("tlbi vmalle1; dsb sy; isb" ::: "memory");
	rd32(0x1000);
}

static void page_table_in_registers(void)
{
	helper_start(1, lost, (void *)gic.dist);
	helper_start(2, lost, (void *)0x1000);
	for (unsigned i = 0; i < 10; i++)
		want(heals(rng), "the rng is wedged meanwhile");
	psci_off();
}

static void off_under_load(void)
{
	begin(con, 0);
	for (unsigned i = 0; i < 8; i++)
		vq_post(&con->vq[CON_TX], i, (void *)(ram_end - (8 << 20)), 4 << 20, false);
	vq_kick(&con->vq[CON_TX]);
	psci_off();
}

static const struct fn_row fn_rows[] = {
	{ { "code-in-registers", OFTEN }, code_in_registers },
	{ { "code-in-holes", 0 }, code_in_holes },
	{ { "tables-in-registers", OFTEN }, tables_in_registers },
	{ { "tables-in-holes", 0 }, tables_in_holes },
	{ { "tables-in-views", ON_PCI | OFTEN }, tables_in_views },
	{ { "holes", OFTEN }, holes },
	{ { "every-call", 0 }, every_call },
	{ { "yielding-calls", 0 }, yielding_calls },
	{ { "odd-instructions", OFTEN }, odd_instructions },
	{ { "every-id-register", 0 }, every_id_register },
	{ { "on-and-off", ON_CPUS | OFTEN }, on_and_off },
	{ { "affinity-race", ON_CPUS }, affinity_race },
	{ { "wfe-storm", ON_CPUS }, wfe_storm },
	{ { "wfi-storm", ON_CPUS | OFTEN }, wfi_storm },
	{ { "nisv-from-all", ON_CPUS | OFTEN }, nisv_from_all },
	{ { "reset-from-helper", ON_CPUS | ENDS_RESET | OFTEN }, reset_from_helper },
	{ { "off-from-helper", ON_CPUS | ENDS_OFF }, off_from_helper },
	{ { "off-from-all", ON_CPUS | ENDS_OFF | OFTEN }, off_from_all },
	{ { "reset-from-two", ON_CPUS | ENDS_RESET }, reset_from_two },
	{ { "on-nowhere", ON_CPUS | ENDS_OFF | OFTEN }, on_nowhere },
	{ { "on-race", ON_CPUS | ENDS_OFF }, on_race },
	{ { "page-table-in-registers", ON_CPUS | ENDS_OFF }, page_table_in_registers },
	{ { "off-under-load", ENDS_OFF }, off_under_load },
};

const struct family cpu_tables[] = {
	FAMILY(insn_rows, run_insn), FAMILY(call_rows, run_call), FAMILY(fn_rows, run_fn), { 0 },
};
