/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * panic_text - --panic-text: a line of the guest's console that means a crash
 *
 * What:   looks on at what UART and hvc0 print and holds each of their lines against a regular expression.
 * Not:    what is shown (console_mux.h), of which nothing changes.
 * Trust:  the text is the guest's; the expression the user's. What a line costs is bounded by its
 *         length (PANIC_TEXT_LINE) and the expression's size (PANIC_TEXT_SIZE), and all lines
 *         together by bytes a second (PANIC_TEXT_RATE): what is beyond is not looked at, and counted.
 * Thread: set-up; output of a device where it comes from; matches on the loop.
 * Source: POSIX.1-2017 base definitions s9.4 (extended regular expressions), regcomp(3).
 */
#ifndef VMM_APP_PANIC_TEXT_H
#define VMM_APP_PANIC_TEXT_H

#include "vmm/base/err.h"
#include "vmm/base/types.h"

struct loop;
struct machine_console;
struct panic_text;

#define PANIC_TEXT_LINE 512            /* bytes of a line; what follows of it is not looked at */
#define PANIC_TEXT_SIZE 1024           /* characters of an expression, each repeated part written out */
#define PANIC_TEXT_RATE (256 * KIB)    /* bytes a second, and at once */

/* Is @re one that we match? For the option: -EINVAL with a sentence. */
int panic_text_check(const char *re, struct err *err);
/*
 * Before the loop's seal. @found: on the loop, at each line that matches, which is a string. Borrows all but @re.
 * -EMFILE, -ENOMEM, loop_poll_init()'s errors; @re was checked.
 */
int panic_text_new(const char *re, struct loop *l, void (*found)(void *ctx, const char *line), void *ctx,
		   struct panic_text **ret_p);
void panic_text_free(struct panic_text *p); /* before loop_free(); NULL is fine */
/* Puts itself before the sinks of @con. */
void panic_text_watch(struct panic_text *p, struct machine_console *con);
/* At the end, with the loop and all vCPUs stopped: lines that were not looked at yet, and what has no end yet. */
void panic_text_drain(struct panic_text *p);
/* Bytes that were not looked at. */
uint64_t panic_text_passed(const struct panic_text *p);

#endif
