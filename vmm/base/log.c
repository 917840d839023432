// SPDX-License-Identifier: BSD-3-Clause
/*
 * A line is put together on the stack and leaves by one write(2), so lines of different
 * threads do not mix and nothing is locked or allocated. The settings are plain variables:
 * log_init() runs before there is a second thread.
 */
#include "vmm/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/text.h"

#define LINE_MAX_BYTES 1000
#define LIMIT_LINES 10
#define LIMIT_WINDOW_NS UINT64_C(5000000000)

static int log_fd = STDERR_FILENO;
static enum log_level log_max = LOG_WARN;
static enum log_format log_form = LOG_TEXT;

void log_init(int fd, enum log_level level, enum log_format format)
{
	log_fd = fd;
	log_max = level;
	log_form = format;
}

static bool is_enabled(enum log_level level)
{
	return level <= log_max;
}

static void put_line(const char *line, size_t len)
{
	ssize_t n;

	do {
		n = write(log_fd, line, len);
	} while (n < 0 && errno == EINTR);
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

static void text_line(const char *text)
{
	char line[LINE_MAX_BYTES + 1];
	int head = snprintf(line, sizeof(line), "microvm: ");
	size_t len = fit(text, LINE_MAX_BYTES - 1 - (size_t)head);

	memcpy(line + head, text, len);
	line[(size_t)head + len] = '\n';
	put_line(line, (size_t)head + len + 1);
}

static void json_line(enum log_level level, const char *text)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	static const char tail[] = "\"}\n";
	char line[LINE_MAX_BYTES];
	struct timespec now;
	size_t at, n, len = strlen(text);

	clock_gettime(CLOCK_REALTIME, &now);
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
	put_line(line, at + sizeof(tail) - 1);
}

__attribute__((format(printf, 2, 0)))
static void emit(enum log_level level, const char *fmt, va_list ap)
{
	char text[LINE_MAX_BYTES + 1];
	int saved = errno;

	vsnprintf(text, sizeof(text), fmt, ap);
	text_clean(text);
	if (log_form == LOG_JSON)
		json_line(level, text);
	else
		text_line(text);
	errno = saved;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!is_enabled(level))
		return;
	va_start(ap, fmt);
	emit(level, fmt, ap);
	va_end(ap);
}

void log_always(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_INFO, fmt, ap);
	va_end(ap);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
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
	if (dropped)
		log_line(LOG_WARN, "%u more lines like the next were left out", dropped);
}

bool log_limit_ok(struct log_limit *l)
{
	uint64_t now = now_ns();
	uint64_t window = __atomic_load_n(&l->window_ns, __ATOMIC_RELAXED);

	if (!window || now - window >= LIMIT_WINDOW_NS)
		open_window(l, window, now);
	if (__atomic_load_n(&l->used, __ATOMIC_RELAXED) < LIMIT_LINES) {
		__atomic_fetch_add(&l->used, 1, __ATOMIC_RELAXED);
		return true;
	}
	__atomic_fetch_add(&l->dropped, 1, __ATOMIC_RELAXED);
	return false;
}
