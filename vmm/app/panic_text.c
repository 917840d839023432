// SPDX-License-Identifier: BSD-3-Clause
/*
 * hvc0 is written on the loop, so its lines are held against the expression at once. The UART is written by
 * vCPUs, which may take no memory, as regexec(3) does, and must not wait: their lines are queued, and an
 * eventfd calls the loop. What the queue has no room for is passed over.
 *
 * What a hostile guest can cost. The program's C library is musl, whose matcher steps through all states of the
 * expression at once and never goes back (its extended expressions have no back references): a line costs what setting
 * up the matcher does, for which MATCH_BYTES are charged, and its bytes times the expression's size. Both are bounded; so are
 * the bytes in a second. With an expression of 40 characters, all that PANIC_TEXT_RATE lets through is about ten million steps
 * a second. Who writes an expression whose repeated parts may be empty, (a?){300}, pays for each of its pairs of states.
 */
#include "vmm/app/panic_text.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/bucket.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/obj.h"
#include "vmm/core/loop.h"
#include "vmm/machine/machine.h"

#define QUEUE_BYTES (8 * KIB)
#define MATCH_BYTES 128 /* what it costs to begin with a line, counted as bytes of one */

/* A line as far as it has come. */
struct line_so_far {
	size_t len;
	char text[PANIC_TEXT_LINE + 1];
};

struct panic_text {
	regex_t re;
	void (*found)(void *ctx, const char *line);
	void *ctx;
	struct console_sink uart_sink, hvc_sink; /* the ones behind */
	struct bucket bucket;    /* loop */
	_Atomic uint64_t passed;

	struct line_so_far hvc;  /* loop */
	char matched[QUEUE_BYTES]; /* loop: what is being looked at */

	pthread_mutex_t lock;    /* of the next three */
	struct line_so_far uart;
	size_t queued;
	char queue[QUEUE_BYTES]; /* lines of the UART's, each ended by a NUL */

	int wake_fd;             /* rings when the queue is no longer empty */
	struct loop_poll wake;
};

/* Every repetition counts as often as it may, and as if it stood inside of all others. */
static size_t size_of(const char *re)
{
	size_t size = strlen(re);

	for (const char *p = strchr(re, '{'); p && size <= PANIC_TEXT_SIZE; p = strchr(p + 1, '{')) {
		unsigned long most = strtoul(p + 1, (char **)&p, 10);

		if (*p == ',' && p[1] >= '0' && p[1] <= '9')
			most = strtoul(p + 1, (char **)&p, 10);
		p--;
		if (most > 1)
			size = most > PANIC_TEXT_SIZE ? SIZE_MAX : size * most;
	}
	return size;
}

static int compile(const char *text, regex_t *re, struct err *err)
{
	char why[100];
	int r;

	if (!*text)
		return err_set(err, -EINVAL, "--panic-text: the expression is empty");
	if (size_of(text) > PANIC_TEXT_SIZE)
		return err_set(err, -EINVAL, "--panic-text: longer than %d characters, with its repetitions written out", PANIC_TEXT_SIZE);
	r = regcomp(re, text, REG_EXTENDED | REG_NOSUB);
	if (!r)
		return 0;
	regerror(r, re, why, sizeof(why));
	return err_set(err, -EINVAL, "--panic-text: '%s': %s", text, why);
}

int panic_text_check(const char *text, struct err *err)
{
	regex_t re;
	int r = compile(text, &re, err);

	if (r)
		return r;
	if (!regexec(&re, "", 0, NULL, 0))
		r = err_set(err, -EINVAL, "--panic-text: '%s' matches every line", text);
	regfree(&re);
	return r;
}

/* Loop. Nothing in a line is no crash: an expression that matches it is refused. */
static void look_at(struct panic_text *p, const char *line, size_t len)
{
	int r;

	if (!len)
		return;
	if (bucket_take(&p->bucket, len + MATCH_BYTES, clock_now_ns())) {
		atomic_fetch_add_explicit(&p->passed, len, memory_order_relaxed);
		return;
	}
	r = regexec(&p->re, line, 0, NULL, 0);
	if (!r)
		p->found(p->ctx, line);
	else if (r != REG_NOMATCH) /* no memory for it */
		atomic_fetch_add_explicit(&p->passed, len, memory_order_relaxed);
}

/*
 * Takes bytes of @buf up to the end of a line, which may be memory that changes. Returns how many; *@ret_ended:
 * the line is complete, and a string without its end.
 */
static size_t gather(struct panic_text *p, struct line_so_far *l, const char *buf, size_t len, bool *ret_ended)
{
	size_t n = 0;

	*ret_ended = false;
	while (n < len && !*ret_ended) {
		char c = buf[n++];

		if (c == '\n')
			*ret_ended = true;
		else if (l->len < PANIC_TEXT_LINE)
			l->text[l->len++] = c ? c : ' ';
		else
			atomic_fetch_add_explicit(&p->passed, 1, memory_order_relaxed);
	}
	if (*ret_ended && l->len && l->text[l->len - 1] == '\r')
		l->len--;
	l->text[l->len] = '\0';
	return n;
}

/* Loop. */
static size_t hvc_write(void *ctx, const void *buf, size_t len)
{
	struct panic_text *p = ctx;
	size_t taken = p->hvc_sink.write(p->hvc_sink.ctx, buf, len);

	for (size_t done = 0; done < taken;) {
		bool ended;

		done += gather(p, &p->hvc, (const char *)buf + done, taken - done, &ended);
		if (!ended)
			break;
		look_at(p, p->hvc.text, p->hvc.len);
		p->hvc.len = 0;
	}
	return taken;
}

/* The UART's line is complete. True: the loop has to be called. */
static bool queue_locked(struct panic_text *p)
{
	size_t size = p->uart.len + 1;
	bool first = !p->queued;

	p->uart.len = 0;
	if (size > QUEUE_BYTES - p->queued) {
		atomic_fetch_add_explicit(&p->passed, size - 1, memory_order_relaxed);
		return false;
	}
	memcpy(p->queue + p->queued, p->uart.text, size);
	p->queued += size;
	return first;
}

/* vCPUs. */
static size_t uart_write(void *ctx, const void *buf, size_t len)
{
	static const uint64_t one = 1;
	struct panic_text *p = ctx;
	bool ring = false;

	pthread_mutex_lock(&p->lock);
	for (size_t done = 0; done < len;) {
		bool ended;

		done += gather(p, &p->uart, (const char *)buf + done, len - done, &ended);
		if (ended)
			ring |= queue_locked(p);
	}
	pthread_mutex_unlock(&p->lock);
	if (ring && write(p->wake_fd, &one, sizeof(one)) < 0)
		atomic_fetch_add_explicit(&p->passed, 1, memory_order_relaxed); /* full: it rings already */
	return p->uart_sink.write(p->uart_sink.ctx, buf, len);
}

/* Loop: the UART's lines that are complete. */
static void look_at_queue(struct panic_text *p)
{
	size_t len, at = 0;

	pthread_mutex_lock(&p->lock);
	len = p->queued;
	memcpy(p->matched, p->queue, len);
	p->queued = 0;
	pthread_mutex_unlock(&p->lock);
	while (at < len) {
		size_t n = strlen(p->matched + at);

		look_at(p, p->matched + at, n);
		at += n + 1;
	}
}

/* Loop. */
static void woken(void *ctx, uint32_t events)
{
	struct panic_text *p = ctx;

	(void)events;
	if (fd_drain(p->wake_fd))
		look_at_queue(p);
}

void panic_text_drain(struct panic_text *p)
{
	look_at_queue(p);
	look_at(p, p->uart.text, p->uart.len);
	look_at(p, p->hvc.text, p->hvc.len);
	p->uart.len = p->hvc.len = 0;
}

int panic_text_new(const char *re, struct loop *l, void (*found)(void *ctx, const char *line), void *ctx,
		   struct panic_text **ret_p)
{
	struct panic_text *p = obj_new(sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->found = found;
	p->ctx = ctx;
	pthread_mutex_init(&p->lock, NULL);
	bucket_init(&p->bucket, PANIC_TEXT_RATE, PANIC_TEXT_RATE);
	p->wake_fd = fd_event();
	r = p->wake_fd < 0 ? p->wake_fd : 0;
	if (!r && compile(re, &p->re, NULL))
		r = -ENOMEM;
	if (!r)
		r = loop_poll_init(l, &p->wake, p->wake_fd, woken, p);
	if (r) {
		panic_text_free(p);
		return r;
	}
	p->wake.drains = true;
	loop_poll_arm(&p->wake, POLLIN);
	*ret_p = p;
	return 0;
}

void panic_text_free(struct panic_text *p)
{
	if (!p)
		return;
	loop_poll_fini(&p->wake);
	close_fd(&p->wake_fd);
	regfree(&p->re);
	pthread_mutex_destroy(&p->lock);
	obj_free(p);
}

static void uart_room(void *ctx)
{
	struct panic_text *p = ctx;

	p->uart_sink.input_room(p->uart_sink.ctx);
}

static void hvc_room(void *ctx)
{
	struct panic_text *p = ctx;

	p->hvc_sink.input_room(p->hvc_sink.ctx);
}

/* Another kernel may start now: its lines are its own. Loop. */
static void hvc_closed(void *ctx)
{
	struct panic_text *p = ctx;

	p->hvc.len = 0;
	if (p->hvc_sink.closed)
		p->hvc_sink.closed(p->hvc_sink.ctx);
}

void panic_text_watch(struct panic_text *p, struct machine_console *con)
{
	p->uart_sink = con->uart;
	p->hvc_sink = con->hvc;
	con->uart = (struct console_sink){ .write = uart_write, .input_room = uart_room, .ctx = p };
	con->hvc = (struct console_sink){ .write = hvc_write, .input_room = hvc_room, .closed = hvc_closed, .ctx = p };
}

uint64_t panic_text_passed(const struct panic_text *p)
{
	return atomic_load_explicit(&p->passed, memory_order_relaxed);
}
