// SPDX-License-Identifier: BSD-3-Clause
/* What the user, and a CI's XML reader, get to see. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/boot-test/boot_test.h"

static const char *const verdicts[] = {
	[V_PASS] = "pass", [V_FAIL] = "fail", [V_TIMEOUT] = "timeout", [V_SKIP] = "skip",
};

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

void report_outcome(const struct options *o, unsigned i, const struct outcome *r, const struct console *c)
{
	printf("boot-test: %s %u/%u: %s after %.0f ms: %s\n", o->name, i + 1, o->repeat,
	       verdicts[r->verdict], ms(r->boot_ns), r->why);
	if (r->verdict == V_FAIL || r->verdict == V_TIMEOUT) {
		printf("boot-test: the end of the console:\n");
		console_print_tail(c, stdout);
	}
	fflush(stdout);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The nearest-rank percentile of @n sorted values. */
static uint64_t percentile(const uint64_t *v, unsigned n, unsigned p)
{
	return v[(n * p + 99) / 100 - 1];
}

void report_times(uint64_t *boot_ns, unsigned n)
{
	if (!n)
		return;
	qsort(boot_ns, n, sizeof(*boot_ns), compare);
	printf("boot-test: %u boots, p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", n,
	       ms(percentile(boot_ns, n, 50)), ms(percentile(boot_ns, n, 99)), ms(boot_ns[n - 1]));
}

/* XML 1.0 knows no control characters but these three; bytes above 0x7e may be no UTF-8. */
static void print_xml(FILE *f, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '&')
			fputs("&amp;", f);
		else if (c == '<')
			fputs("&lt;", f);
		else if (c == '>')
			fputs("&gt;", f);
		else if (c == '"')
			fputs("&quot;", f);
		else
			fputc(c < 0x20 || c > 0x7e ? '?' : c, f);
	}
}

static void print_case(FILE *f, const struct options *o, unsigned i, const struct outcome *r)
{
	fputs("  <testcase classname=\"boot\" name=\"", f);
	print_xml(f, o->name);
	fprintf(f, " %u\" time=\"%.3f\">", i + 1, ms(r->boot_ns) / 1e3);
	if (r->verdict == V_SKIP)
		fputs("<skipped/>", f);
	if (r->verdict == V_FAIL || r->verdict == V_TIMEOUT) {
		fprintf(f, "<failure type=\"%s\" message=\"", verdicts[r->verdict]);
		print_xml(f, r->why);
		fputs("\"/>", f);
	}
	fputs("</testcase>\n", f);
}

int report_junit(const struct options *o, const struct outcome *r, unsigned n)
{
	unsigned failures = 0, skipped = 0;
	FILE *f = fopen(o->junit, "we");

	if (!f)
		return -errno;
	for (unsigned i = 0; i < n; i++) {
		failures += r[i].verdict == V_FAIL || r[i].verdict == V_TIMEOUT;
		skipped += r[i].verdict == V_SKIP;
	}
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"", f);
	print_xml(f, o->name);
	fprintf(f, "\" tests=\"%u\" failures=\"%u\" skipped=\"%u\">\n", n, failures, skipped);
	for (unsigned i = 0; i < n; i++)
		print_case(f, o, i, &r[i]);
	fputs("</testsuite>\n", f);
	return fclose(f) ? -errno : 0;
}
