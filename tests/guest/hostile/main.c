/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of a boot: devices found, each tried once, "ready". Then case after case that the words of the command line choose:
 *
 *   case=PATTERN[,PATTERN...]  with * in them; none: all
 *   from=N                     the N-th case that fits is the first: after one that ended the VM
 *   often=1                    of those only such as are OFTEN; devices that a case has not begun have to come back
 *                              behind each LOOK_AT_ALLth only
 *   alone=1                    also such as end the VM; without it they are named, "alone NAME STATUS"
 *   host=ADDR, vhost=1         of the network
 *   resets=N                   how often state-resets-* does it
 *
 * Lines begin with "@ ": "case N NAME", then "ok", "skip NAME" or "FAIL NAME: why", then "ready". After ready the CPU sleeps
 * until a byte comes in by the UART. "idle", amid a case, is the same; then it looks at nothing but whether the monitor is.
 */
#include "dt.h"
#include "hostile.h"

#define LOOK_AT_ALL 8

static const struct { const char *name; const struct family *tables; } families[] = {
	{ "vq", vq_tables }, { "mmio", mmio_tables }, { "pci", pci_tables }, { "msix", msix_tables },
	{ "state", state_tables }, { "net", net_tables }, { "console", console_tables }, { "blk", blk_tables },
	{ "vsock", vsock_tables }, { "balloon", balloon_tables }, { "width", width_tables }, { "cpu", cpu_tables }, { "gic", gic_tables }, { "flood", flood_tables },
};

static char patterns[128];
static unsigned from;
static bool often, alone;
static char why[200];
static unsigned why_len;
static char full_name[64];

/* The text of the first want() that failed. */
static void keep(const char *text, unsigned len)
{
	for (unsigned i = 0; i < len && text[i] != '\n' && why_len < sizeof(why) - 1; i++)
		why[why_len++] = text[i];
	why[why_len] = '\0';
}

bool want(bool good, const char *fmt, ...)
{
	__builtin_va_list ap;

	if (good || why_len)
		return good;
	say_to(keep);
	__builtin_va_start(ap, fmt);
	say_list(fmt, ap);
	__builtin_va_end(ap);
	say("\n");
	say_to(NULL);
	return false;
}

void run_fn(const void *row)
{
	((const struct fn_row *)row)->fn();
}

/* Up to the pattern's end or its comma. */
static bool fits(const char *p, const char *name)
{
	if (*p == '*')
		return fits(p + 1, name) || (*name && fits(p, name + 1));
	if (!*p || *p == ',')
		return !*name;
	return *p == *name && fits(p + 1, name + 1);
}

static bool chosen(const char *name)
{
	const char *p = patterns;

	while (*p) {
		if (fits(p, name))
			return true;
		while (*p && *p != ',')
			p++;
		p += *p == ',';
	}
	return !patterns[0];
}

static bool possible(unsigned needs)
{
	return !((needs & ON_MMIO && rng->pci) || (needs & ON_PCI && !rng->pci) || (needs & ON_NET && !net) ||
		 (needs & ON_ITS && gic.msi != MSI_ITS) || (needs & ON_CPUS && cpu_count() < 3) ||
		 (needs & (ON_USER | ON_UDS) && vhost) || (needs & ON_BLK && !blk) ||
		 (needs & (ON_VSOCK | ON_UDS) && !vsock) || (needs & ON_BALLOON && !balloon) || (needs & ON_CTRL && !(net && vdev_features(net) & BIT(17))));
}

/* The harness's turn. */
static volatile bool told;

static void uart_interrupt(void *arg)
{
	uint64_t uart = uart_regs();

	(void)arg;
	while (!(rd32(uart + 0x18) & BIT(4))) {
		rd32(uart);
		told = true;
	}
	wr32(uart + 0x44, 0x50);
}

static void hear(void)
{
	struct dt_irq irq;

	if (!dt_interrupt(dt_compatible("arm,pl011", -1), 0, &irq))
		fatal("the UART has no interrupt");
	irq_connect(irq.intid, uart_interrupt, NULL);
	irq_enable(irq.intid, irq.edge, 0);
	hear_again();
}

void hear_again(void)
{
	uint64_t uart = uart_regs();

	wr32(uart + 0x2c, 0x70); /* LCR_H: 8 bits, FIFOs */
	wr32(uart + 0x30, 0x301); /* CR: enabled, both ways */
	wr32(uart + 0x38, 0x50); /* IMSC: receive, receive timeout */
}

static void tell(const char *word)
{
	told = false;
	say("@ %s\n> ", word);
	irqs_off();
	while (!told) {
		sleep_once();
		irqs_on();
		ISB();
		irqs_off();
	}
	irqs_on();
}

static void ready(void)
{
	tell("ready");
}

void look_idle(void)
{
	tell("idle");
}

static void close_case(void)
{
	const char *wedged = heal_all();

	want(!wedged, "afterwards %s", wedged ? wedged : "");
	if (why_len)
		say("\n@ FAIL %s: %s\n", full_name, why);
	else
		say("\n@ ok %s\n", full_name);
}

static void name_it(const char *family, const char *name)
{
	unsigned n = 0;

	for (; *family; family++)
		full_name[n++] = *family;
	full_name[n++] = '-';
	while (*name && n < sizeof(full_name) - 1)
		full_name[n++] = *name++;
	full_name[n] = '\0';
}

static void one(unsigned n, const struct family *f, const struct row *r)
{
	if (r->needs & (ENDS_OFF | ENDS_RESET) && !alone) {
		say("@ alone %s %u\n", full_name, r->needs & ENDS_OFF ? 0 : 122);
		return;
	}
	if (!possible(r->needs)) {
		say("@ skip %s\n", full_name);
		return;
	}
	say("@ case %u %s\n", n, full_name);
	why_len = 0;
	if (!often || n % LOOK_AT_ALL == 0)
		soil();
	begun = false;
	f->run(r);
	if (!begun)
		soil();
	close_case();
	ready();
}

static void options(void)
{
	const char *s = option("case");

	for (unsigned i = 0; s && s[i]; i++)
		patterns[i] = s[i];
	from = (unsigned)option_number("from", 0);
	often = option_number("often", 0);
	alone = option_number("alone", 0);
	vhost = option_number("vhost", 0);
}

void bare_main(const void *tree)
{
	unsigned n = 0;
	const char *wedged;

	bare_init(tree);
	options();
	hear();
	heal_init();
	wedged = heal_all();
	if (wedged)
		fatal("before the first case %s", wedged);
	ready();
	for (unsigned i = 0; i < ARRAY_LEN(families); i++) {
		for (const struct family *f = families[i].tables; f->rows; f++) {
			for (unsigned k = 0; k < f->nr; k++) {
				const struct row *r = (const void *)((const char *)f->rows + k * f->size);

				name_it(families[i].name, r->name);
				if (chosen(full_name) && (!often || r->needs & OFTEN) && n++ >= from)
					one(n - 1, f, r);
			}
		}
	}
	say("@ end\n");
	psci_off();
}
