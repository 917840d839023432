// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/report.h"

#include <string.h>

#include "vmm/base/text.h"
#include "vmm/doctor/lines.h"
#include "vmm/doctor/trouble.h"
#include "vmm/doctor/why.h"

#define LABEL_WIDTH 26

static const char *const titles[][2] = {
	{ "host", "This host" }, { "kvm", "KVM" }, { "net", "Network" }, { "vfio", "Passthrough" },
	{ "io_uring", "Event loop" }, { "memory", "Huge pages" },
};

static const char *title(const char *section)
{
	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		if (!strcmp(titles[i][0], section))
			return titles[i][1];
	return section;
}

static char mark_char(enum line_mark mark)
{
	return mark == MARK_BAD ? '!' : mark == MARK_LACK ? '-' : ' ';
}

static void print_lines(const struct line *lines, unsigned n, FILE *out)
{
	const char *section = "";

	for (unsigned i = 0; i < n; i++) {
		char text[sizeof(lines[i].text)];

		if (strcmp(section, lines[i].section))
			fprintf(out, "%s%s\n", *section ? "\n" : "", title(lines[i].section));
		section = lines[i].section;
		if (!lines[i].label)
			continue;
		memcpy(text, lines[i].text, sizeof(text));
		text_clean(text);
		fprintf(out, "%c %-*s %s\n", mark_char(lines[i].mark), LABEL_WIDTH, lines[i].label, text);
	}
}

static const char *mover(const char *backend)
{
	if (!backend)
		return "";
	if (!strcmp(backend, "passt"))
		return "packets by passt: ";
	if (!strcmp(backend, "vhost-user"))
		return "served by another process: ";
	return strcmp(backend, "vhost") ? "packets by this process: " : "packets by vhost-net: ";
}

static void print_device(const struct doctor_facts *f, unsigned i, FILE *out)
{
	const struct plan_dev *p = &f->plan.devs[i];
	enum trouble trouble;
	struct why t, b;
	char text[TROUBLE_TEXT];

	why_transport(f, i, &t);
	fprintf(out, "  %-*s %s: %s\n", LABEL_WIDTH, p->cfg->id, t.what, t.reason);
	if (why_backend(f, i, &b))
		fprintf(out, "%c %-*s %s%s\n", b.what ? ' ' : '!', LABEL_WIDTH, "", mover(b.what), b.reason);
	trouble = trouble_of(f, i, text);
	if (trouble) {
		text_clean(text);
		fprintf(out, "%c %-*s %s\n", trouble == TROUBLE_FATAL ? '!' : '-', LABEL_WIDTH, "", text);
	}
}

static void print_plan(const struct doctor_facts *f, FILE *out)
{
	struct why w;

	fputs("\nWhat these options get\n", out);
	if (f->kvm_error) {
		fputs("! nothing, without KVM\n", out);
		return;
	}
	if (f->plan_error) {
		fprintf(out, "! refused: %s\n", f->plan_text.text);
		return;
	}
	why_irqchip(f, &w);
	fprintf(out, "  %-*s %s: %s\n", LABEL_WIDTH, "interrupts", plan_irqchip_name(&f->plan), w.reason);
	for (unsigned i = 0; i < f->plan.nr_devs; i++)
		print_device(f, i, out);
}

/* Those that are open and in reach, one by one; the rest as numbers. */
static void print_holes(const struct doctor_facts *f, FILE *out)
{
	struct kernel_version v = f->host.version;
	unsigned closed = 0, unknown = 0, away = 0;
	size_t n;
	const struct hole *h = holes_table(&n);

	fputs("\nKnown holes of kernels, in what a guest speaks to\n", out);
	for (size_t i = 0; i < n; i++) {
		enum hole_state state = hole_judge(&h[i], v, f->host.version_known);
		const struct kernel_version *fix = hole_fix_for(&h[i], v);

		closed += state == HOLE_FIXED || state == HOLE_NEVER;
		unknown += state == HOLE_UNKNOWN;
		away += state == HOLE_OPEN && !why_in_reach(f, h[i].area);
		if (state != HOLE_OPEN || !fix || !why_in_reach(f, h[i].area))
			continue;
		fprintf(out, "- %-14s %-11s %s\n  %-*s fixed in %u.%u.%u%s; does without: %s\n", h[i].cve,
			hole_area_name(h[i].area), h[i].what, LABEL_WIDTH, "", fix->major, fix->minor, fix->patch,
			fix->major == v.major && fix->minor == v.minor ? "" : ", not known to be fixed in this branch",
			hole_area_without(h[i].area));
	}
	if (unknown)
		fprintf(out, "  %u: this kernel's version does not tell; ask its distribution\n", unknown);
	else
		fprintf(out, "  %u of %zu are not in this kernel, by its version\n", closed, n);
	if (away)
		fprintf(out, "  %u are in it, but this host lacks that part\n", away);
}

static void print_remedies(const struct line *lines, unsigned n, FILE *out)
{
	bool any = false;

	for (unsigned i = 0; i < n; i++) {
		if (!lines[i].remedy[0] || lines[i].mark < MARK_LACK || !lines[i].label)
			continue;
		if (!any)
			fputs("\nWhat would help\n", out);
		any = true;
		fprintf(out, "%c %-*s %s\n", mark_char(lines[i].mark), LABEL_WIDTH, lines[i].label, lines[i].remedy);
	}
}

static void print_verdict(const struct doctor_facts *f, FILE *out)
{
	switch (doctor_verdict(f)) {
	case DOCTOR_GOOD:
		fputs("\nA guest can run here with these options.\n", out);
		break;
	case DOCTOR_REFUSED:
		fputs("\nGuests can run here, but not with these options.\n", out);
		break;
	case DOCTOR_NO_GUEST:
		fprintf(out, "\nNo guest can run here%s%s.\n", f->least_error ? ": " : "",
			f->least_error ? f->least_text.text : "");
		break;
	}
}

void report_text(const struct doctor_facts *f, FILE *out)
{
	struct line lines[LINES_MAX];
	unsigned n = doctor_lines(f, lines);

	print_lines(lines, n, out);
	print_holes(f, out);
	print_plan(f, out);
	print_remedies(lines, n, out);
	print_verdict(f, out);
}
