// SPDX-License-Identifier: BSD-3-Clause
/*
 * Who connects to a listening socket, one at a time.
 *
 * A client's descriptor comes while the guest runs, so all that is done with it goes by the loop's ring. It is
 *
 *   there    read from, and written what is in the ring;
 *   hung     it reads no more. Its output is as if nobody were there, but what it sent before it went is read to the end, since
 *            a guest may take that as late as it likes. Who comes now ends that;
 *   ended    being closed. The next one is taken when that is done.
 *
 * The next one is accepted where nobody is there, or who is there has hung up; others wait in the listener's queue, which the
 * kernel bounds.
 *
 * While the guest leaves input lying nothing is read, and a look at the socket tells whether its client is still there. One that
 * has ended its own way and still reads is not told from there on, but by a timer's look.
 *
 * With nobody there writers move the ring's tail (stream.c), so `absent` is set when no write is under way, and cleared before
 * the first.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/core/stream_priv.h"

static bool passes(int res)
{
	return res == -EINTR || res == -EAGAIN;
}

void client_accept(struct stream *s)
{
	struct stream_client *c = &s->client;

	if (c->accept.busy || c->deaf || c->ending || c->next >= 0 || (c->fd >= 0 && !c->hung))
		return;
	loop_accept(&c->accept);
}

static void end_client(struct stream *s)
{
	struct stream_client *c = &s->client;

	loop_io_aim(&c->end, c->fd);
	c->fd = -1;
	loop_io_cancel(&c->in);
	loop_close(&c->end);
}

/* It reads no more. What it did not read the next one will. */
static void hang_up(struct stream *s)
{
	struct stream_client *c = &s->client;

	if (!c->hung) {
		c->hung = true;
		loop_io_cancel(&c->out);
		stream_set_absent(s, true);
	}
	if (c->in_ended)
		end_client(s);
	else
		client_accept(s);
	stream_tell_room(s);
}

/* ---- input --------------------------------------------------------------------------------- */

void client_read(struct stream *s)
{
	struct stream_client *c = &s->client;
	bool waits = c->in_ended || s->in_off < s->in_len;

	if (c->fd < 0 || (c->in.busy && c->waits == waits))
		return;
	/* what it waits for may have happened, which ends it */
	loop_io_cancel(&c->in);
	if (c->fd < 0 || (waits && c->hung))
		return;
	c->waits = waits;
	c->in_iov = (struct iovec){ .iov_base = s->input, .iov_len = sizeof(s->input) };
	loop_io_aim(&c->in, c->fd);
	if (waits)
		loop_await_end(&c->in);
	else
		loop_readv(&c->in, &c->in_iov, 1);
}

static void waited(struct stream *s, int res)
{
	if (res == -ECANCELED)
		return;
	if ((res < 0 && !passes(res)) || (res > 0 && res & (POLLHUP | POLLERR)))
		hang_up(s);
	else
		loop_timer_set(&s->look, LOOK_NS);
}

static void in_done(void *ctx, int res)
{
	struct stream *s = ctx;
	struct stream_client *c = &s->client;

	if (c->fd < 0)
		return; /* ended meanwhile */
	if (c->waits) {
		waited(s, res);
	} else if (res > 0) {
		s->in_off = 0;
		s->in_len = (size_t)res;
		stream_offer(s);
	} else if (passes(res)) {
		client_read(s);
	} else {
		c->in_ended = true;
		if (res || c->hung)
			hang_up(s);
		else
			client_read(s);
	}
}

/* ---- output -------------------------------------------------------------------------------- */

void client_write(struct stream *s)
{
	struct stream_client *c = &s->client;
	const uint8_t *p;
	size_t n;

	if (c->fd < 0 || c->hung || c->out.busy)
		return;
	n = stream_peek(s, &p);
	if (!n)
		return;
	c->out_iov = (struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	loop_io_aim(&c->out, c->fd);
	loop_writev(&c->out, &c->out_iov, 1);
}

static void out_done(void *ctx, int res)
{
	struct stream *s = ctx;
	struct stream_client *c = &s->client;
	bool gone = res <= 0 && !passes(res) && res != -ECANCELED;

	if (res > 0)
		stream_consume(s, c->out_iov.iov_base, (size_t)res);
	if (c->ending)
		c->hung |= gone;
	if (c->ending || c->hung)
		return;
	if (gone) {
		hang_up(s);
		return;
	}
	client_write(s);
	stream_tell_room(s);
}

void client_flush(struct stream *s, uint64_t deadline_ns)
{
	struct stream_client *c = &s->client;
	struct pollfd pfd = { .fd = c->fd, .events = POLLOUT };
	const uint8_t *p;
	size_t left, n;

	c->ending = true;
	loop_io_cancel(&c->out);
	while (c->fd >= 0 && !c->hung && (left = stream_peek(s, &p))) {
		client_write(s);
		loop_io_try(&c->out);
		n = stream_peek(s, &p);
		if (n == left && !c->hung && poll(&pfd, 1, stream_ms_until(deadline_ns)) <= 0 && stream_ms_until(deadline_ns) == 0)
			return;
	}
	/* what nobody came for counts as shown */
	while (!(c->fd >= 0 && !c->hung) && (n = stream_peek(s, &p)))
		stream_consume(s, p, n);
}

/* ---- who comes and goes -------------------------------------------------------------------- */

static void welcome(struct stream *s, int fd)
{
	struct stream_client *c = &s->client;

	c->fd = fd;
	c->in_ended = c->hung = false;
	stream_set_absent(s, false);
	client_read(s);
	client_write(s);
}

static void accept_done(void *ctx, int res)
{
	struct stream *s = ctx;
	struct stream_client *c = &s->client;

	if (res == -ECANCELED)
		return;
	if (c->ending) {
		c->next = res < 0 ? -1 : res;
	} else if (res == -EINVAL) {
		c->deaf = true;
		log_warn("console: its socket listens no more; nobody else can connect");
	} else if (res < 0) {
		loop_timer_set(&s->look, LOOK_NS); /* want of descriptors or memory passes */
	} else if (c->fd >= 0 || c->end.busy) {
		c->next = res;
		if (c->fd >= 0)
			end_client(s);
	} else {
		welcome(s, res);
	}
}

static void end_done(void *ctx, int res)
{
	struct stream *s = ctx;
	int next = s->client.next;

	(void)res; /* close(2) has closed in any case */
	if (s->client.ending)
		return;
	s->client.next = -1;
	if (next >= 0)
		welcome(s, next);
	else
		client_accept(s);
}

/* ---- life ---------------------------------------------------------------------------------- */

int client_init(struct stream *s, int fd)
{
	struct stream_client *c = &s->client;
	int r = loop_io_init(s->loop, &c->accept, fd, accept_done, s);

	if (!r)
		r = loop_io_init_late(s->loop, &c->in, in_done, s);
	if (!r)
		r = loop_io_init_late(s->loop, &c->out, out_done, s);
	return r ? r : loop_io_init_late(s->loop, &c->end, end_done, s);
}

/* With the loop stopped: who is there is closed by hand. */
void client_fini(struct stream *s)
{
	struct stream_client *c = &s->client;
	int fd = c->fd;

	c->ending = true;
	c->fd = -1;
	loop_io_cancel(&c->accept);
	loop_io_cancel(&c->in);
	loop_io_cancel(&c->out);
	loop_io_try(&c->end);
	close_fd(&fd);
	close_fd(&c->next);
}
