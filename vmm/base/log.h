/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log - lines for the operator, on stderr or in a file
 *
 * What:   levelled, one write(2) a line, text or JSON; a rate limit for whatever a guest
 *         can cause.
 * Not:    the guest's console (vmm/core/stream.h).
 * Trust:  arguments may hold guest bytes: control characters are replaced.
 * Thread: any thread after log_init(); not for signal handlers.
 */
#ifndef VMM_BASE_LOG_H
#define VMM_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/rights.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* @fd stays the caller's and is written to until the process ends. Default: stderr, LOG_WARN, LOG_TEXT. */
void log_init(int fd, enum log_level level, enum log_format format);

/*
 * Writes "microvm: " and the formatted sentence; a line is at most 1,000 bytes, the rest is cut.
 * Lost where the reader of the log takes nothing for half a second, or has not since.
 */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An answer to somebody who asked (a dump): marked as info and written whatever the level is. */
void log_always(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/*
 * At most 10 lines in 5 seconds from one call site; says how many were left out. Where they always are too many, the
 * seconds double, up to more than an hour: what a guest causes without end does not fill a disk.
 */
struct log_limit {
	uint64_t window_ns; /* CLOCK_MONOTONIC start of the current window */
	uint32_t doubled;   /* so often */
	uint32_t used;
	uint32_t dropped;
};

/* True if the caller may log now. Thread: any; races lose at most an exact count. */
bool log_limit_ok(struct log_limit *l);

/* A warning, if the limit allows it and the reader takes it at once; counted as left out else. */
void log_limited(struct log_limit *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* For what a guest can cause: a static limit at each call site, and no waiting. */
#define log_guest(...)                               \
	do {                                         \
		static struct log_limit _limit;      \
		log_limited(&_limit, __VA_ARGS__);   \
	} while (0)

/* The @parts (the last one NULL), together, on @fd, if it takes them soon. Async-signal-safe. */
void log_put(int fd, const char *const parts[]);
/* @text, plain, as the log's last line. Async-signal-safe. */
void log_last(const char *text);
/* "microvm: @text" on standard error, wherever the log goes. Async-signal-safe. */
void log_stderr(const char *text);

/* For the filters of system calls. */
extern const struct right log_rights[];

#endif
