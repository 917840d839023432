/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lines - the facts, one by one, with what they mean
 *
 * What:   turns struct doctor_facts into a list that both reports print: for people a label
 *         and a text, for machines a section, a key and a value. Here stands what is good,
 *         what is missing, and what to do about it.
 * Not:    the plan (why.h), the holes (holes.h), how it is printed (report.h).
 * Trust:  facts are the host's.
 * Thread: pure.
 */
#ifndef VMM_DOCTOR_LINES_H
#define VMM_DOCTOR_LINES_H

#include "vmm/doctor/facts.h"

enum line_mark {
	MARK_PLAIN,  /* neither good nor bad */
	MARK_GOOD,
	MARK_LACK,   /* something is missed; guests run */
	MARK_BAD,    /* no guest runs */
};

/* What machines get. */
enum line_type { LINE_NULL, LINE_BOOL, LINE_NUMBER, LINE_TEXT };

struct line {
	const char *section, *key; /* stable */
	const char *label;         /* NULL: for machines only */
	enum line_mark mark;
	enum line_type type;
	bool yes;
	uint64_t number;
	char text[256];            /* for people; LINE_TEXT: for machines too */
	char remedy[160];          /* "" where there is nothing to do */
};

#define LINES_MAX 64

/* Returns how many of @lines (LINES_MAX) were filled. The keys are the same on every host; values may be null. */
unsigned doctor_lines(const struct doctor_facts *f, struct line *lines);

#endif
