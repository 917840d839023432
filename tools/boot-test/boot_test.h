/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * boot_test - what the files of this program share
 *
 * Thread: one.
 */
#ifndef TOOLS_BOOT_TEST_H
#define TOOLS_BOOT_TEST_H

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define TAIL_LINES 40   /* kept of the console */
#define LINE_MAX_LEN 512 /* bytes looked at in one line; the rest of it is cut */

enum verdict { V_PASS, V_FAIL, V_TIMEOUT, V_SKIP };

struct options {
	uint64_t timeout_ns;
	const char *expect, *fail_on; /* extended regular expressions; expect may be NULL */
	regex_t expect_re, fail_re;
	bool until_exit;  /* wait for the guest's own end also after --expect was seen */
	bool verbose;     /* pass the console through */
	unsigned repeat;
	const char *junit, *name;
	char **argv;      /* the monitor and its options, NULL-terminated */
};

/* The console as far as it is remembered. */
struct console {
	char line[LINE_MAX_LEN + 1]; /* the current one, NUL-terminated */
	size_t len;
	char tail[TAIL_LINES][LINE_MAX_LEN + 1];
	unsigned lines;   /* seen in all */
};

struct outcome {
	enum verdict verdict;
	uint64_t boot_ns; /* from start to what was expected, else to the end */
	char why[LINE_MAX_LEN + 64];
};

/* run.c: from here on a signal that ends this program ends the monitor that it has started, too. */
void run_cancellable(void);
/* run.c: one boot. Always fills @ret_o and @ret_c. */
void run_once(const struct options *o, struct outcome *ret_o, struct console *ret_c);

/* console.c. Feeds bytes; calls @line for each complete line and for the unfinished one at the end, until it says false. */
void console_feed(struct console *c, const char *buf, size_t len,
		  bool (*line)(void *ctx, const char *text), void *ctx);
void console_print_tail(const struct console *c, FILE *out);

/* hung.c: what @pid, which was too slow, is doing; its log gets what it has to say. */
void hung_report(pid_t pid);

/* report.c */
void report_outcome(const struct options *o, unsigned i, const struct outcome *r, const struct console *c);
void report_times(uint64_t *boot_ns, unsigned n);
int report_junit(const struct options *o, const struct outcome *r, unsigned n);

#endif
