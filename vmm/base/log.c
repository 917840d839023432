// SPDX-License-Identifier: BSD-3-Clause
/*
 * A line is put together on the stack and leaves by one write(2), so lines of different
 * threads do not mix and nothing is locked or allocated. The settings are plain variables:
 * log_init() runs before there is a second thread.
 *
 * Nobody may stop the program by not reading its log, least of all a guest that fills the pipe
 * which stdout and stderr often share. A line is written only where it is taken at once, as poll(2)
 * says; others wait a moment for that, but only the first in a row, and are lost then.
 */
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/rights.h"
#include "vmm/base/text.h"

#define LINE_MAX_BYTES 1000
#define LIMIT_LINES 10
#define LIMIT_WINDOW_NS UINT64_C(5000000000)
#define LIMIT_DOUBLED 10 /* 85 minutes */
#define PATIENCE_MS 500 /* with a reader that is slow */

static int log_fd = STDERR_FILENO;
static enum log_level log_max = LOG_WARN;
static enum log_format log_form = LOG_TEXT;
static bool reader_stuck; /* the log's */

void log_init(int fd, enum log_level level, enum log_format format)
{
	log_fd = fd;
	fd_note_also(fd, FD_LOG);
	log_max = level;
	log_form = format;
}

static bool is_enabled(enum log_level level)
{
	return level <= log_max;
}

static bool fd_has_room(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int r;

	if (fd == log_fd && __atomic_load_n(&reader_stuck, __ATOMIC_RELAXED))
		wait_ms = 0;
	do {
		r = poll(&p, 1, wait_ms);
	} while (r < 0 && errno == EINTR);
	if (fd == log_fd)
		__atomic_store_n(&reader_stuck, !r, __ATOMIC_RELAXED);
	return r; /* an error is the write's to find */
}

static bool has_room(int wait_ms)
{
	return fd_has_room(log_fd, wait_ms);
}

/* False: nobody reads. */
static bool put_line(const char *line, size_t len, int wait_ms)
{
	ssize_t n;

	if (!has_room(wait_ms))
		return false;
	do {
		n = write(log_fd, line, len);
	} while (n < 0 && errno == EINTR && has_room(0)); /* the room may be another's by now: who stops us must not wait for it */
	return true;
}

/* Cuts at @cap bytes, never inside a character. */
static size_t fit(const char *text, size_t cap)
{
	size_t len = strlen(text);

	if (len <= cap)
		return len;
	len = cap;
	while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	return len;
}

static bool text_line(const char *text, int wait_ms)
{
	char line[LINE_MAX_BYTES + 1];
	int head = snprintf(line, sizeof(line), "microvm: ");
	size_t len = fit(text, LINE_MAX_BYTES - 1 - (size_t)head);

	memcpy(line + head, text, len);
	line[(size_t)head + len] = '\n';
	return put_line(line, (size_t)head + len + 1, wait_ms);
}

static bool json_line(enum log_level level, const char *text, int wait_ms)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	static const char tail[] = "\"}\n";
	char line[LINE_MAX_BYTES];
	struct timespec now;
	size_t at, n, len = strlen(text);

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	at = (size_t)snprintf(line, sizeof(line), "{\"time\":%lld.%06ld,\"level\":\"%s\",\"message\":\"",
			      (long long)now.tv_sec, now.tv_nsec / 1000, names[level]);
	for (size_t i = 0; i < len; i += n) {
		bool escape = text[i] == '"' || text[i] == '\\';

		n = text_char(text + i, len - i);
		if (!n || at + n + escape + sizeof(tail) - 1 > sizeof(line))
			break;
		if (escape)
			line[at++] = '\\';
		memcpy(line + at, text + i, n);
		at += n;
	}
	memcpy(line + at, tail, sizeof(tail) - 1);
	return put_line(line, at + sizeof(tail) - 1, wait_ms);
}

__attribute__((format(printf, 3, 0)))
static bool emit(enum log_level level, int wait_ms, const char *fmt, va_list ap)
{
	char text[LINE_MAX_BYTES + 1];
	int saved = errno;
	bool done;

	vsnprintf(text, sizeof(text), fmt, ap);
	text_clean(text);
	done = log_form == LOG_JSON ? json_line(level, text, wait_ms) : text_line(text, wait_ms);
	errno = saved;
	return done;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!is_enabled(level))
		return;
	va_start(ap, fmt);
	(void)emit(level, PATIENCE_MS, fmt, ap);
	va_end(ap);
}

void log_always(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)emit(LOG_INFO, PATIENCE_MS, fmt, ap);
	va_end(ap);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

/* True if the line is gone. */
__attribute__((format(printf, 1, 2)))
static bool warn_at_once(const char *fmt, ...)
{
	va_list ap;
	bool done;

	if (!is_enabled(LOG_WARN))
		return true;
	va_start(ap, fmt);
	done = emit(LOG_WARN, 0, fmt, ap);
	va_end(ap);
	return done;
}

static uint64_t window_of(const struct log_limit *l)
{
	return LIMIT_WINDOW_NS << __atomic_load_n(&l->doubled, __ATOMIC_RELAXED);
}

/* One thread opens the next window; the others go on in it. */
static void open_window(struct log_limit *l, uint64_t seen, uint64_t now)
{
	uint32_t dropped;

	if (!__atomic_compare_exchange_n(&l->window_ns, &seen, now, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&l->used, 0, __ATOMIC_RELAXED);
	dropped = __atomic_exchange_n(&l->dropped, 0, __ATOMIC_RELAXED);
	if (now - seen >= 2 * window_of(l))
		__atomic_store_n(&l->doubled, 0, __ATOMIC_RELAXED); /* a quiet one between */
	else if (dropped && l->doubled < LIMIT_DOUBLED)
		__atomic_fetch_add(&l->doubled, 1, __ATOMIC_RELAXED);
	if (dropped && !warn_at_once("%u more lines like the next were left out", dropped))
		__atomic_fetch_add(&l->dropped, dropped, __ATOMIC_RELAXED);
}

bool log_limit_ok(struct log_limit *l)
{
	uint64_t now = now_ns();
	uint64_t window = __atomic_load_n(&l->window_ns, __ATOMIC_RELAXED);

	if (!window || now - window >= window_of(l))
		open_window(l, window, now);
	if (__atomic_load_n(&l->used, __ATOMIC_RELAXED) < LIMIT_LINES) {
		__atomic_fetch_add(&l->used, 1, __ATOMIC_RELAXED);
		return true;
	}
	__atomic_fetch_add(&l->dropped, 1, __ATOMIC_RELAXED);
	return false;
}

void log_limited(struct log_limit *l, const char *fmt, ...)
{
	va_list ap;

	if (!log_limit_ok(l) || !is_enabled(LOG_WARN))
		return;
	va_start(ap, fmt);
	if (!emit(LOG_WARN, 0, fmt, ap))
		__atomic_fetch_add(&l->dropped, 1, __ATOMIC_RELAXED);
	va_end(ap);
}

void log_put(int fd, const char *const parts[])
{
	char line[PIPE_BUF]; /* less is written whole or not at all */
	size_t len = 0;

	for (; *parts; parts++)
		for (const char *p = *parts; *p && len < sizeof(line); p++)
			line[len++] = *p;
	if (fd_has_room(fd, PATIENCE_MS) && write(fd, line, len) < 0)
		return; /* nobody is looking */
}

/* Without a time, which takes stdio to write. */
void log_last(const char *text)
{
	const char *const plain[] = { "microvm: ", text, "\n", NULL };
	const char *const json[] = { "{\"level\":\"error\",\"message\":\"", text, "\"}\n", NULL };

	log_put(log_fd, log_form == LOG_JSON ? json : plain);
}

void log_stderr(const char *text)
{
	const char *const parts[] = { "microvm: ", text, "\n", NULL };

	log_put(STDERR_FILENO, parts);
}

const struct right log_rights[] = {
	{ RIGHT_ALL, SYS_write, RIGHT_FD, FD_LOG, 0, "a line of the log" },
	{ RIGHT_ALL, SYS_ppoll, RIGHT_FREE, 0, 0, "is the log read? is an interrupt pending?" },
	{ 0 },
};
