/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report - what was found out, printed
 *
 * What:   the same facts for people (sections, aligned, remedies at the end) and for machines
 *         (one JSON object on one line, the same keys on every host).
 * Not:    finding out (host.h, kvm.h), judging (lines.h, why.h, holes.h).
 * Trust:  strings of the host and the user are cleaned.
 * Thread: pure but for the stream.
 * Source: RFC 8259.
 */
#ifndef VMM_DOCTOR_REPORT_H
#define VMM_DOCTOR_REPORT_H

#include <stdio.h>

#include "vmm/doctor/facts.h"

void report_text(const struct doctor_facts *f, FILE *out);
/* One line without its newline, the caller's to free; NULL: out of memory. */
char *report_json(const struct doctor_facts *f);

#endif
