// SPDX-License-Identifier: BSD-3-Clause
/*
 * loop: lifetimes on the real ring: transfers, polls and timers that are started, called off and freed
 *       in any order, from within callbacks.
 *
 * Covers: vmm/core/loop.c and loop_timer.c on sockets whose other ends the input moves.
 * Oracle: each transfer ends exactly once, in its own callback, with a result that it can have; after a
 *         cancel it has ended; no byte of a stream is lost, doubled or out of order, whatever was
 *         called off; a poll that was disarmed is not heard of again, nor its owner touched, whose
 *         memory is given back at once; a loop that was stopped ends.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/loop.h"

#define PAIRS 2
#define POLLS 4
#define MAX_STEPS 120

/* One direction of a stream of counting bytes. */
struct stream {
	uint8_t put, got; /* each byte is its number */
};

struct transfer {
	struct loop_io io;
	struct stream *stream;
	bool reads, ended;
	uint8_t *buf; /* on the heap as long as it is under way */
	struct iovec iov[2];
	size_t len;
};

struct watch {
	struct loop_poll *poll; /* NULL: gone */
	bool armed;
};

static struct loop *loop;
static struct fuzz_in *input;
static unsigned steps;
static int ours[PAIRS], theirs[PAIRS];
static struct stream in_stream[PAIRS], out_stream[PAIRS];
static struct transfer reads[PAIRS], writes[PAIRS];
static struct watch watches[POLLS];
static struct loop_timer timer;
static bool timer_set;
static struct loop_poll driver;
static int driver_fd;

static void check_bytes(struct stream *s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		must(p[i] == (uint8_t)(s->got + i));
	s->got = (uint8_t)(s->got + n);
}

static void done(void *ctx, int res)
{
	struct transfer *t = ctx;

	must(t->buf && !t->ended && !t->io.busy);
	t->ended = true;
	must(res <= (int)t->len && (res >= 0 || res == -ECANCELED || res == -EAGAIN || res == -EINTR));
	/* of a write, what was not taken is not in the stream */
	if (!t->reads)
		t->stream->put = (uint8_t)(t->stream->put - (uint8_t)(t->len - (size_t)(res < 0 ? 0 : res)));
	else if (res > 0)
		check_bytes(t->stream, t->buf, (size_t)res);
	free(t->buf);
	t->buf = NULL;
}

static void start(struct transfer *t, struct fuzz_in *in)
{
	unsigned n = 1 + (fuzz_u8(in) & 1);
	int r;

	if (t->buf) {
		must(t->io.busy && loop_readv(&t->io, t->iov, 1) == -EBUSY);
		return;
	}
	t->len = 2 + fuzz_u8(in) % 64;
	t->buf = malloc(t->len);
	must(t->buf);
	for (size_t i = 0; i < t->len; i++) {
		t->buf[i] = t->reads ? 0 : t->stream->put;
		if (!t->reads)
			t->stream->put = (uint8_t)(t->stream->put + 1);
	}
	t->iov[0] = (struct iovec){ t->buf, n == 1 ? t->len : t->len / 2 };
	t->iov[1] = (struct iovec){ t->buf + t->len / 2, t->len - t->len / 2 };
	t->ended = false;
	r = t->reads ? loop_readv(&t->io, t->iov, n) : loop_writev(&t->io, t->iov, n);
	must(r == 0);
}

static void cancel(struct transfer *t)
{
	loop_io_cancel(&t->io);
	must(!t->buf && !t->io.busy);
}

static void heard(void *ctx, uint32_t events)
{
	struct watch *w = ctx;

	must(w->poll && w->armed && events);
	if (fuzz_u8(input) & 1) {
		loop_poll_disarm(w->poll);
		w->armed = false;
	}
}

static void fired(void *ctx)
{
	must(ctx == &timer && timer_set);
	timer_set = false;
}

static void watch(struct fuzz_in *in, struct watch *w)
{
	uint8_t how = fuzz_u8(in);

	if (!w->poll)
		return;
	if (how & 1) {
		loop_poll_arm(w->poll, how & 2 ? POLLIN : POLLIN | POLLOUT);
		w->armed = true;
		return;
	}
	loop_poll_disarm(w->poll);
	w->armed = false;
	if (how & 4) {
		free(w->poll);
		w->poll = NULL;
	}
}

/* The other ends. */
static void peer(struct fuzz_in *in, unsigned p)
{
	uint8_t buf[64], how = fuzz_u8(in);
	size_t len = 1 + (how >> 1) % sizeof(buf);
	ssize_t n;

	if (how & 1) {
		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)(in_stream[p].put + i);
		n = send(theirs[p], buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		in_stream[p].put = (uint8_t)(in_stream[p].put + (n > 0 ? n : 0));
	} else {
		n = recv(theirs[p], buf, len, MSG_DONTWAIT);
		if (n > 0)
			check_bytes(&out_stream[p], buf, (size_t)n);
	}
}

static void step(struct fuzz_in *in)
{
	unsigned p = fuzz_below(in, PAIRS);

	switch (fuzz_below(in, 9)) {
	case 0: case 1: start(&reads[p], in); break;
	case 2: start(&writes[p], in); break;
	case 3: cancel(&reads[p]); break;
	case 4: cancel(&writes[p]); break;
	case 5: case 6: peer(in, p); break;
	case 7: watch(in, &watches[fuzz_below(in, POLLS)]); break;
	case 8:
		timer_set = fuzz_u8(in) & 1;
		loop_timer_set(&timer, timer_set);
		break;
	}
}

/* Always ready: a few steps of the input each round. */
static void drive(void *ctx, uint32_t events)
{
	unsigned n = 1 + fuzz_below(input, 4);

	(void)ctx, (void)events;
	while (n-- && fuzz_more(input) && steps++ < MAX_STEPS)
		step(input);
	if (!fuzz_more(input) || steps >= MAX_STEPS)
		loop_stop(loop);
}

static void make_transfer(struct transfer *t, unsigned p, bool is_read)
{
	*t = (struct transfer){ .stream = is_read ? &in_stream[p] : &out_stream[p], .reads = is_read };
	must(loop_io_init(loop, &t->io, ours[p], done, t) == 0);
}

static void set_up(void)
{
	must(loop_new(&loop) == 0);
	for (unsigned p = 0; p < PAIRS; p++) {
		int s[2];

		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s) == 0);
		ours[p] = s[0];
		theirs[p] = s[1];
		in_stream[p] = out_stream[p] = (struct stream){ 0 };
		make_transfer(&reads[p], p, true);
		make_transfer(&writes[p], p, false);
	}
	for (unsigned i = 0; i < POLLS; i++) {
		watches[i] = (struct watch){ .poll = malloc(sizeof(struct loop_poll)) };
		must(watches[i].poll && loop_poll_init(loop, watches[i].poll, ours[i % PAIRS], heard, &watches[i]) == 0);
	}
	must(loop_timer_init(loop, &timer, fired, &timer) == 0);
	timer_set = false;
	driver_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	must(loop_poll_init(loop, &driver, driver_fd, drive, NULL) == 0);
	loop_poll_arm(&driver, POLLIN);
	steps = 0;
}

static void tear_down(void)
{
	for (unsigned p = 0; p < PAIRS; p++) {
		cancel(&reads[p]);
		cancel(&writes[p]);
	}
	for (unsigned i = 0; i < POLLS; i++)
		if (watches[i].poll) {
			loop_poll_disarm(watches[i].poll);
			free(watches[i].poll);
		}
	loop_timer_fini(&timer);
	loop_free(loop);
	close(driver_fd);
	for (unsigned p = 0; p < PAIRS; p++) {
		close(ours[p]);
		close(theirs[p]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	input = &in;
	set_up();
	must(loop_seal(loop) == 0 && loop_run(loop) == 0);
	tear_down();
	return 0;
}
