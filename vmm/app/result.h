/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * result - how it ended: the exit status, and one JSON object where --result asked for it
 *
 * What:   statuses as in microvm(1), EXIT STATUS; the object as there, RESULT.
 * Not:    writing it (outfile.h).
 * Trust:  the console's tail is the guest's: what is no UTF-8 or a control character is escaped.
 * Thread: the end of main(), with everything else stopped.
 * Source: RFC 8259.
 */
#ifndef VMM_APP_RESULT_H
#define VMM_APP_RESULT_H

#include "vmm/machine/machine.h"

enum exit_status {
	EXIT_MONITOR_FAILED = 121,
	EXIT_RESET = 122,
	EXIT_PANIC = 123,
	EXIT_TIMEOUT = 124,
	EXIT_NO_START = 125,
	EXIT_NO_KVM = 126,
	EXIT_SIGNAL = 128, /* plus the signal's number */
};

/* Everything that can be told; what is not known is NULL or 0. */
struct result {
	const struct machine_result *run; /* NULL: it never ran */
	const char *reason;               /* where @run is NULL: "no-start", "no-kvm", "dry-run" */
	const char *error;                /* the line on stderr, or NULL */
	int status;
	uint64_t begin_ns;                /* CLOCK_MONOTONIC at the start of main() */
	uint64_t first_output_ns;         /* the same clock when the guest first said something; 0: never */
	const char *tail; size_t tail_len; /* the console's last bytes, any bytes */
};

/* Ctrl-A x counts as SIGINT. */
int result_status(const struct machine_result *r);
const char *result_reason(enum stop_reason reason);
/* Instead of a result, where a call was denied: written to @fd. @text needs no escapes. Async-signal-safe. */
void result_put_denied(int fd, const char *text);
/* One line with its newline, the caller's to free; NULL: out of memory. */
char *result_json(const struct result *r);

#endif
