// SPDX-License-Identifier: BSD-3-Clause
/*
 * Output. Four states:
 *
 *   UART    what the UART prints is shown, and kept for comparison.
 *   REPLAY  from hvc0's first byte. Its lines are compared with what the UART showed, as long
 *           as they repeat it (replay.h): a repeated line is left out, another is shown. A
 *           line is held only while it begins like one that was shown, and then for at most
 *           two ticks, so a prompt appears at once.
 *   HVC     hvc0 goes straight through.
 *   back to UART when the driver lets go of hvc0: another kernel may start now.
 *
 * In REPLAY and HVC the UART is not shown: the kernel prints the same on both.
 *
 * Input goes to hvc0 once it spoke, before that to the UART; where the UART never took a byte
 * (nobody opened it), hvc0 is tried.
 *
 * A user's keys are all read, because Ctrl-A x must work while the guest is deaf; what the
 * guest does not take is kept in typed[], and what does not fit there is dropped.
 *
 * From a pipe or file, what is not taken stays in the stream. A script's input is there before
 * the guest is, and Linux' driver takes it and throws it away as long as nobody has hvc0 open,
 * which it does not tell. So the first of it waits behind a gate until somebody seems to
 * listen: the console shows a line without an end (a prompt), or nothing new for a while.
 *
 * Locking: m->lock protects the output state and is held while the stream is written to; the
 * stream's own lock is inside it. Nothing is called with it held but the stream.
 */
#include "vmm/app/console_mux.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "vmm/app/keys.h"
#include "vmm/app/replay.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"

#define TICK_NS UINT64_C(40000000)
#define TYPED_MAX 4096
/* The gate opens after so many ticks without new output: */
#define PROMPT_TICKS 2   /* in the middle of a line */
#define QUIET_TICKS 125  /* otherwise: 5 s */
#define SILENT_TICKS 250 /* nothing was ever shown: 10 s */

enum source { SHOW_UART, SHOW_REPLAY, SHOW_HVC };

struct console_mux {
	const struct console_mux_ops *ops;
	void *ctx;
	struct stream *stream; /* NULL until opened */

	pthread_mutex_t lock;
	enum source source;
	bool mid_line;         /* the last byte shown was not a newline */
	bool passing;          /* REPLAY: the rest of this line is shown as it comes */
	bool break_line;       /* the next byte shown starts a line of its own */
	size_t pend_off, pend_len;
	char pend[REPLAY_HELD + 2]; /* put off until there is room: a held line, a line break */
	bool timer_set;
	unsigned long line_nr; /* REPLAY: counts hvc0's lines, from 1... */
	unsigned long held_nr; /* ...and the one that was held at the last tick */
	unsigned long shown;   /* bytes; for the gate */
	struct loop_timer tick;

	/* input; loop only, but for the atomics */
	bool with_keys;
	bool gate_shut, gate_waits; /* ...and somebody stands before it */
	unsigned long gate_shown; /* m->shown at the last tick... */
	unsigned gate_ticks;      /* ...and for how many it has been that */
	bool uart_took;        /* the UART has taken input */
	atomic_bool hvc_spoke; /* hvc0 is where input goes */
	atomic_bool stalled;   /* input waits for room */
	struct keys keys;
	int wake_fd;           /* with keys: rings on room */
	struct loop_poll wake;
	size_t typed_len;

	/* last, because little of them is used */
	struct replay replay;
	uint8_t typed[TYPED_MAX];
};

/* All zero, so that it takes no room in the file. */
static struct console_mux the_mux;

struct console_mux *console_mux_get(void)
{
	pthread_mutex_init(&the_mux.lock, NULL);
	the_mux.wake_fd = -1;
	return &the_mux;
}

/* Output. All *_locked functions: m->lock is held. */

/* What was put off comes first. False: there is no room for it yet, and the stream will tell. */
static bool drain_locked(struct console_mux *m)
{
	size_t left = m->pend_len - m->pend_off, n;

	if (!left)
		return true;
	n = stream_write(m->stream, m->pend + m->pend_off, left);
	m->pend_off += n;
	return n == left;
}

/* Puts @len bytes off, after the line break that may be due. Only when nothing is put off. */
static void put_off_locked(struct console_mux *m, const char *text, size_t len)
{
	m->pend_off = m->pend_len = 0;
	if (m->break_line && m->mid_line) {
		memcpy(m->pend, "\r\n", 2);
		m->pend_len = 2;
	}
	m->break_line = false;
	memcpy(m->pend + m->pend_len, text, len);
	m->pend_len += len;
	if (len)
		m->mid_line = text[len - 1] != '\n';
	m->shown += len;
}

/* As much as there is room for; returns that. */
static size_t show_locked(struct console_mux *m, const char *buf, size_t len)
{
	size_t n;

	if (!len || !drain_locked(m))
		return 0;
	if (m->break_line) {
		put_off_locked(m, "", 0);
		if (!drain_locked(m))
			return 0;
	}
	n = stream_write(m->stream, buf, len);
	if (n)
		m->mid_line = buf[n - 1] != '\n';
	m->shown += n;
	return n;
}

static size_t uart_write(void *ctx, const void *buf, size_t len)
{
	struct console_mux *m = ctx;
	const char *text = buf;

	pthread_mutex_lock(&m->lock);
	if (m->stream && m->source == SHOW_UART) {
		size_t shown = show_locked(m, text, len);

		for (size_t i = 0; i < shown; i++)
			replay_shown(&m->replay, text[i]);
	}
	pthread_mutex_unlock(&m->lock);
	return len; /* there is no waiting in a UART: the rest is lost */
}

/* Shows the held line as new, now or as soon as there is room. Only when nothing is put off. */
static void release_locked(struct console_mux *m, bool ended)
{
	struct replay *r = &m->replay;

	put_off_locked(m, r->held, r->held_len);
	m->passing = !ended;
	replay_release(r);
	drain_locked(m);
}

static void arm_locked(struct console_mux *m)
{
	if (m->timer_set)
		return;
	m->timer_set = true;
	loop_timer_set(&m->tick, TICK_NS);
}

/* The rest of a line that is being shown; returns how much of it. */
static size_t pass_locked(struct console_mux *m, const char *text, size_t len)
{
	const char *end = memchr(text, '\n', len);
	size_t part = end ? (size_t)(end - text) + 1 : len;
	size_t n = show_locked(m, text, part);

	if (end && n == part) {
		m->passing = false;
		m->line_nr++;
	}
	return n;
}

static size_t compare_locked(struct console_mux *m, const char *text, size_t len)
{
	struct replay *r = &m->replay;
	size_t i = 0;

	while (i < len && !replay_is_over(r)) {
		char c;

		if (!drain_locked(m))
			return i;
		if (m->passing) {
			size_t n = pass_locked(m, text + i, len - i);

			if (!n)
				return i;
			i += n;
			continue;
		}
		c = text[i++]; /* once: it is in the guest's memory */
		switch (replay_feed(r, c)) {
		case REPLAY_MAYBE:
			break;
		case REPLAY_KNOWN:
			m->line_nr++;
			break;
		case REPLAY_NEW:
			release_locked(m, c == '\n');
			m->line_nr += c == '\n';
			break;
		}
	}
	if (replay_is_over(r)) {
		m->source = SHOW_HVC;
		return i + show_locked(m, text + i, len - i);
	}
	if (r->held_len)
		arm_locked(m);
	return i;
}

/* A line that was held at the last tick already is shown. */
static void tick_held_locked(struct console_mux *m)
{
	if (m->source != SHOW_REPLAY || !m->replay.held_len)
		return;
	if (m->held_nr == m->line_nr && drain_locked(m)) {
		release_locked(m, false);
		return;
	}
	m->held_nr = m->line_nr;
	arm_locked(m);
}

/* True: the gate opens. */
static bool tick_gate_locked(struct console_mux *m)
{
	unsigned enough = m->mid_line ? PROMPT_TICKS : m->shown ? QUIET_TICKS : SILENT_TICKS;

	if (!m->gate_waits)
		return false;
	m->gate_ticks = m->shown == m->gate_shown ? m->gate_ticks + 1 : 0;
	m->gate_shown = m->shown;
	m->gate_shut = m->gate_waits = m->gate_ticks < enough;
	if (m->gate_shut)
		arm_locked(m);
	return !m->gate_shut;
}

static void ticked(void *ctx)
{
	struct console_mux *m = ctx;
	bool opens;

	pthread_mutex_lock(&m->lock);
	m->timer_set = false;
	tick_held_locked(m);
	opens = tick_gate_locked(m);
	pthread_mutex_unlock(&m->lock);
	if (opens)
		stream_resume_input(m->stream);
}

static void wake_input(struct console_mux *m);

/* hvc0's first byte. */
static void take_over_locked(struct console_mux *m)
{
	m->source = replay_start(&m->replay) ? SHOW_REPLAY : SHOW_HVC;
	m->passing = false;
	m->line_nr = 1;
	m->held_nr = 0;
	m->break_line = true;
	atomic_store(&m->hvc_spoke, true);
}

static size_t hvc_write(void *ctx, const void *buf, size_t len)
{
	struct console_mux *m = ctx;
	bool first = false;
	size_t n = len;

	pthread_mutex_lock(&m->lock);
	if (m->stream && len) {
		first = m->source == SHOW_UART;
		if (first)
			take_over_locked(m);
		n = m->source == SHOW_REPLAY ? compare_locked(m, buf, len) : show_locked(m, buf, len);
	}
	pthread_mutex_unlock(&m->lock);
	if (first)
		wake_input(m);
	return n;
}

/* At the end of hvc0; without room, what was held is lost. */
static void show_held_locked(struct console_mux *m)
{
	if (m->source == SHOW_REPLAY && m->replay.held_len && drain_locked(m))
		release_locked(m, false);
}

static void hvc_closed(void *ctx)
{
	struct console_mux *m = ctx;

	pthread_mutex_lock(&m->lock);
	if (m->stream && m->source != SHOW_UART) {
		show_held_locked(m);
		replay_clear(&m->replay);
		m->source = SHOW_UART;
		m->break_line = true;
		atomic_store(&m->hvc_spoke, false);
		m->uart_took = false;
	}
	pthread_mutex_unlock(&m->lock);
}

static void output_room(void *ctx)
{
	struct console_mux *m = ctx;
	bool drained;

	pthread_mutex_lock(&m->lock);
	drained = drain_locked(m);
	pthread_mutex_unlock(&m->lock);
	if (drained)
		m->ops->hvc_room(m->ctx);
}

/* Input */

static size_t give(struct console_mux *m, const uint8_t *buf, size_t len)
{
	size_t n;

	if (!len)
		return 0;
	atomic_store(&m->stalled, true); /* before asking: room may appear right after the answer */
	if (atomic_load(&m->hvc_spoke)) {
		n = m->ops->hvc_input(m->ctx, buf, len);
	} else {
		n = m->ops->uart_input(m->ctx, buf, len);
		if (n)
			m->uart_took = true;
		else if (!m->uart_took)
			n = m->ops->hvc_input(m->ctx, buf, len);
	}
	if (n == len)
		atomic_store(&m->stalled, false);
	return n;
}

static void give_typed(struct console_mux *m)
{
	size_t n = give(m, m->typed, m->typed_len);

	m->typed_len -= n;
	memmove(m->typed, m->typed + n, m->typed_len);
}

/* All of it is read, for the keys' sake. */
static size_t receive_keys(void *ctx, const uint8_t *buf, size_t len)
{
	struct console_mux *m = ctx;
	uint8_t plain[256];
	size_t done = 0;

	while (done < len) {
		size_t chunk = len - done < sizeof(plain) ? len - done : sizeof(plain), used, n, room;
		enum key_event event = keys_scan(&m->keys, buf + done, chunk, &used, plain, &n);

		done += used;
		room = TYPED_MAX - m->typed_len;
		n = n < room ? n : room;
		memcpy(m->typed + m->typed_len, plain, n);
		m->typed_len += n;
		if (event == KEY_END)
			m->ops->end(m->ctx);
		else if (event == KEY_HELP)
			m->ops->help(m->ctx);
	}
	give_typed(m);
	return len;
}

static size_t receive_plain(void *ctx, const uint8_t *buf, size_t len)
{
	struct console_mux *m = ctx;

	if (!m->gate_shut)
		return give(m, buf, len);
	pthread_mutex_lock(&m->lock);
	m->gate_waits = true;
	arm_locked(m);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static void woken(void *ctx, uint32_t events)
{
	struct console_mux *m = ctx;

	(void)events;
	if (fd_drain(m->wake_fd))
		give_typed(m);
}

static void wake_input(struct console_mux *m)
{
	static const uint64_t one = 1;

	if (!atomic_exchange(&m->stalled, false))
		return;
	if (!m->with_keys)
		stream_resume_input(m->stream);
	else if (write(m->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is at its limit: it rings already */
}

static void input_room(void *ctx)
{
	struct console_mux *m = ctx;

	if (m->stream)
		wake_input(m);
}

/* Life */

void console_mux_sinks(struct console_mux *m, struct machine_console *ret_con)
{
	*ret_con = (struct machine_console){
		.uart = { .write = uart_write, .input_room = input_room, .ctx = m },
		.hvc = { .write = hvc_write, .input_room = input_room, .closed = hvc_closed, .ctx = m },
	};
}

static int open_wake(struct console_mux *m, struct loop *l)
{
	int ret;

	m->wake_fd = fd_event();
	if (m->wake_fd < 0)
		return m->wake_fd;
	ret = loop_poll_init(l, &m->wake, m->wake_fd, woken, m);
	if (ret)
		return ret;
	m->wake.drains = true;
	loop_poll_arm(&m->wake, POLLIN);
	return 0;
}

int console_mux_open(struct console_mux *m, struct loop *l, const struct stream_cfg *cfg, bool keys,
		     const struct console_mux_ops *ops, void *ctx)
{
	int ret = loop_timer_init(l, &m->tick, ticked, m);

	m->ops = ops;
	m->ctx = ctx;
	m->with_keys = keys;
	m->gate_shut = !keys && cfg->in_fd >= 0;
	m->gate_waits = false;
	if (!ret && keys)
		ret = open_wake(m, l);
	if (!ret)
		ret = stream_new(l, cfg, &m->stream);
	if (ret) {
		console_mux_close(m);
		return ret;
	}
	stream_on_room(m->stream, output_room, m);
	stream_on_input(m->stream, keys ? receive_keys : receive_plain, m);
	return 0;
}

void console_mux_flush(struct console_mux *m, uint64_t timeout_ns)
{
	uint64_t begin = clock_now_ns(), spent, lost;

	if (!m->stream)
		return;
	stream_flush(m->stream, timeout_ns);
	pthread_mutex_lock(&m->lock);
	show_held_locked(m);
	drain_locked(m);
	pthread_mutex_unlock(&m->lock);
	spent = clock_now_ns() - begin;
	stream_flush(m->stream, spent < timeout_ns ? timeout_ns - spent : 0);
	lost = stream_dropped(m->stream);
	if (lost)
		log_info("console: nobody took %llu bytes of output", (unsigned long long)lost);
}

size_t console_mux_tail(struct console_mux *m, char *buf, size_t cap)
{
	return m->stream ? stream_tail(m->stream, buf, cap) : 0;
}

struct loop_timer *console_mux_tick(struct console_mux *m)
{
	return &m->tick;
}

void console_mux_close(struct console_mux *m)
{
	stream_free(m->stream);
	loop_timer_fini(&m->tick);
	if (m->wake_fd >= 0)
		loop_poll_disarm(&m->wake);
	close_fd(&m->wake_fd);
	replay_clear(&m->replay);
	m->stream = NULL;
	m->source = SHOW_UART;
	m->mid_line = m->passing = m->break_line = m->timer_set = m->uart_took = false;
	m->tick = (struct loop_timer){ 0 };
	m->keys = (struct keys){ 0 };
	m->typed_len = 0;
	m->shown = m->gate_shown = 0;
	m->gate_ticks = 0;
	m->pend_off = m->pend_len = 0;
	atomic_store(&m->hvc_spoke, false);
	atomic_store(&m->stalled, false);
}
