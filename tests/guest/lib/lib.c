/* SPDX-License-Identifier: BSD-3-Clause */
/* What the compiler calls, text to the UART, results, memory, the command line, time. */
#include <stdarg.h>

#include "bare.h"
#include "cpu.h"
#include "dt.h"
#include "irq.h"
#include "virtio.h"

#define UARTDR 0x00
#define UARTFR 0x18
#define UARTFR_TXFF BIT(5)

extern char heap_start[], heap_end[];

static uint64_t uart;

void *memset(void *to, int value, size_t n)
{
	uint64_t word = (uint8_t)value * UINT64_C(0x0101010101010101);
	volatile uint8_t *p = to;

	for (; !((uint64_t)p & 7) && n >= 8; p += 8, n -= 8)
		*(volatile uint64_t *)p = word;
	while (n--)
		*p++ = (uint8_t)value;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	volatile uint8_t *p = to;
	const uint8_t *q = from;

	while (n--)
		*p++ = *q++;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool streq(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

void bare_init(const void *tree)
{
	if (!dt_init(tree))
		psci_off();
	uart_init();
	cpu_init();
	irq_init();
	irqs_on();
	pci_init();
	vdev_scan();
}

/* Text */

void uart_init(void)
{
	uart = dt_reg(dt_compatible("arm,pl011", -1), 0, NULL);
}

uint64_t uart_regs(void)
{
	return uart;
}

static void (*line_sink)(const char *line, unsigned len);
static char line[256];
static unsigned line_len;

void say_to(void (*sink)(const char *text, unsigned len))
{
	line_sink = sink;
	line_len = 0;
}

static void put_sink(char c)
{
	line[line_len++] = c;
	if (c == '\n' || line_len == sizeof(line)) {
		line_sink(line, line_len);
		line_len = 0;
	}
}

static void put(char c)
{
	if (line_sink)
		put_sink(c);
	if (line_sink || !uart)
		return;
	while (rd32(uart + UARTFR) & UARTFR_TXFF)
		;
	wr32(uart + UARTDR, (uint8_t)c);
}

static void put_number(uint64_t v, unsigned base, unsigned width, bool zeros)
{
	char buf[24];
	unsigned n = 0;

	do {
		buf[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	for (; width > n; width--)
		put(zeros ? '0' : ' ');
	while (n)
		put(buf[--n]);
}

static void put_signed(int64_t v, unsigned width, bool zeros)
{
	if (v < 0)
		put('-');
	put_number(v < 0 ? -(uint64_t)v : (uint64_t)v, 10, width, zeros);
}

/* One conversion, from behind its %; returns its last character. */
static const char *convert(const char *f, va_list *ap)
{
	bool zeros = *f == '0', is_long = false;
	unsigned width = 0;

	for (; *f >= '0' && *f <= '9'; f++)
		width = width * 10 + (unsigned)(*f - '0');
	for (; *f == 'l'; f++)
		is_long = true;
	switch (*f) {
	case 's':
		for (const char *s = va_arg(*ap, const char *); *s; s++)
			put(*s);
		break;
	case 'd':
		put_signed(is_long ? va_arg(*ap, long) : va_arg(*ap, int), width, zeros);
		break;
	case 'u':
		put_number(is_long ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned), 10, width, zeros);
		break;
	case 'x':
		put_number(is_long ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned), 16, width, zeros);
		break;
	default:
		put(*f);
		break;
	}
	return f;
}

static void vsay(const char *f, va_list *ap)
{
	for (; *f; f++) {
		if (*f == '%')
			f = convert(f + 1, ap);
		else
			put(*f);
	}
}

/* The arguments of a variadic function, and AFTER. */
#define SAY_ARGS(fmt, after)			\
	do {					\
		va_list ap_;			\
						\
		va_start(ap_, fmt);		\
		vsay(fmt, &ap_);		\
		va_end(ap_);			\
		say(after);			\
	} while (0)

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, &ap);
	va_end(ap);
}

void say_list(const char *fmt, va_list ap)
{
	va_list copy;

	va_copy(copy, ap);
	vsay(fmt, &copy);
	va_end(copy);
}

/* Results */

static unsigned results, bad_results;

bool check(bool good, const char *fmt, ...)
{
	results++;
	bad_results += !good;
	say("%sok %u - ", good ? "" : "not ", results);
	SAY_ARGS(fmt, "\n");
	return good;
}

void skip_check(const char *why, const char *fmt, ...)
{
	results++;
	say("ok %u - ", results);
	SAY_ARGS(fmt, " # SKIP ");
	say("%s\n", why);
}

void note(const char *fmt, ...)
{
	say("# ");
	SAY_ARGS(fmt, "\n");
}

void finish(void)
{
	if (irq_strays())
		check(false, "%u interrupts that nobody asked for", irq_strays());
	say("1..%u\n%s\n", results, bad_results || !results ? "bare: failed" : "bare: passed");
	psci_off();
}

void fatal(const char *fmt, ...)
{
	say("fatal: ");
	SAY_ARGS(fmt, "\n");
	psci_off();
}

/* Memory */

static char *heap_next;

void *bare_alloc(size_t size, size_t align)
{
	uint64_t at = ((uint64_t)(heap_next ? heap_next : heap_start) + align - 1) & ~(uint64_t)(align - 1);

	if (at > (uint64_t)heap_end || size > (uint64_t)heap_end - at)
		fatal("no memory for %lu bytes", (unsigned long)size);
	heap_next = (char *)at + size;
	for (uint64_t *p = (uint64_t *)at; (char *)p < heap_next; p++)
		*p = 0;
	heap_next = (char *)(((uint64_t)heap_next + 7) & ~UINT64_C(7));
	return (void *)at;
}

/* The command line */

const char *option(const char *key)
{
	static char value[128];
	const char *s = dt_prop(dt_path("/chosen"), "bootargs", NULL);
	size_t n = strlen(key), i;

	for (; s && *s; s++) {
		if (!memcmp(s, key, n) && s[n] == '=') {
			for (i = 0; i < sizeof(value) - 1 && s[n + 1 + i] && s[n + 1 + i] != ' '; i++)
				value[i] = s[n + 1 + i];
			value[i] = '\0';
			return value;
		}
		while (*s && *s != ' ')
			s++;
		if (!*s)
			break;
	}
	return NULL;
}

unsigned long option_number(const char *key, unsigned long otherwise)
{
	const char *s = option(key);
	unsigned long n = 0;

	if (!s)
		return otherwise;
	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (unsigned long)(*s - '0');
	return n;
}

/* Time */

uint64_t ticks(void)
{
	ISB();
	return SYSREG_READ("cntvct_el0");
}

uint64_t ticks_to_ns(uint64_t t)
{
	uint64_t hz = SYSREG_READ("cntfrq_el0");

	return t / hz * 1000000000u + t % hz * 1000000000u / hz;
}

uint64_t median_ns(uint64_t *spans, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint64_t v = spans[i];
		unsigned j = i;

		for (; j && spans[j - 1] > v; j--)
			spans[j] = spans[j - 1];
		spans[j] = v;
	}
	return ticks_to_ns(spans[n / 2]);
}

uint64_t deadline_ms(unsigned ms)
{
	return ticks() + SYSREG_READ("cntfrq_el0") / 1000 * ms;
}

bool passed(uint64_t deadline)
{
	__asm__ volatile("yield");
	return (int64_t)(ticks() - deadline) >= 0;
}

void wait_us(unsigned us)
{
	uint64_t end = ticks() + SYSREG_READ("cntfrq_el0") / 1000 * us / 1000;

	while (!passed(end))
		;
}
