// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fake/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FAKE_SOURCES 4096

struct source {
	struct loop_poll *poll;
	uint32_t want;
	enum fake_io_op op;
	const struct iovec *iov;
	unsigned n;
	struct loop_io *io;
	int sent;
	struct fake_io_place place;
	struct loop_later *later;
	bool asked;
	int fd; /* of messages, and what late ones are aimed at */
	struct msghdr *msg;
	bool has_cancel_res;
	int cancel_res;
	uint64_t delay_ns;
	struct loop_timer *timer;
};

struct loop {
	struct source sources[FAKE_SOURCES];
	unsigned nr;
	unsigned calls, files;
	bool sealed, stopped, ended, away, serves;
	int fail_in; /* -1: never */
	int fail_error;
	int message_error;
};

int loop_new(struct loop **ret_l)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->fail_in = -1;
	*ret_l = l;
	return 0;
}

void loop_free(struct loop *l)
{
	free(l);
}

int loop_seal(struct loop *l)
{
	l->sealed = true;
	return 0;
}

/* Turns until it is stopped; a second without news ends it with -ETIMEDOUT. */
int loop_run(struct loop *l)
{
	for (unsigned idle = 0; !l->stopped; idle++) {
		if (idle == 1000)
			return -ETIMEDOUT;
		if (fake_loop_turn(l))
			idle = 0;
		else
			poll(NULL, 0, 1);
	}
	l->ended = true;
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
}

static int new_source(struct loop *l)
{
	if (l->sealed)
		return -EBUSY;
	if (l->fail_in >= 0 && l->fail_in-- == 0)
		return l->fail_error;
	if (l->nr == FAKE_SOURCES)
		return -ENOSPC;
	return (int)l->nr++;
}

/* ---- polls ---- */

int loop_poll_init(struct loop *l, struct loop_poll *p, int fd,
		   void (*ready)(void *ctx, uint32_t events), void *ctx)
{
	int slot = new_source(l);

	if (slot < 0)
		return slot;
	l->sources[slot].poll = p;
	*p = (struct loop_poll){ .loop = l, .ready = ready, .ctx = ctx, .fd = fd, .slot = slot };
	return 0;
}

void loop_poll_arm(struct loop_poll *p, uint32_t events)
{
	p->loop->sources[p->slot].want = events;
}

void loop_poll_disarm(struct loop_poll *p)
{
	if (p->loop)
		p->loop->sources[p->slot].want = 0;
}

void loop_poll_fini(struct loop_poll *p)
{
	loop_poll_disarm(p);
	p->loop = NULL;
}

uint32_t fake_loop_armed(const struct loop_poll *p)
{
	return p->loop ? p->loop->sources[p->slot].want : 0;
}

bool fake_loop_fire(struct loop_poll *p, uint32_t events)
{
	uint32_t want = fake_loop_armed(p);

	if (!want)
		return false;
	if (!(events & want))
		loop_poll_disarm(p);
	p->ready(p->ctx, events);
	return true;
}

unsigned fake_loop_fire_fd(struct loop *l, int fd, uint32_t events)
{
	unsigned fired = 0;

	for (unsigned i = 0; i < l->nr; i++) {
		if (l->sources[i].want && l->sources[i].poll->fd == fd)
			fired += fake_loop_fire(l->sources[i].poll, events);
	}
	return fired;
}

void fake_loop_serve(struct loop *l)
{
	l->serves = true;
}

/* A transfer on its real descriptor, if that does not wait. */
static bool serve(const struct source *s)
{
	bool writes = s->op == FAKE_IO_WRITEV;
	struct pollfd p = { .fd = s->fd, .events = writes ? POLLOUT : POLLIN };
	ssize_t n;

	if (s->op == FAKE_IO_CLOSE)
		return fake_loop_complete(s->io, close(s->fd) ? -errno : 0);
	if ((!writes && s->op != FAKE_IO_READV && s->op != FAKE_IO_RECVMSG) || poll(&p, 1, 0) < 1)
		return false;
	n = writes ? writev(s->fd, s->iov, (int)s->n) : s->op == FAKE_IO_READV ? readv(s->fd, s->iov, (int)s->n) :
	    recvmsg(s->fd, s->msg, s->place.flags);
	return fake_loop_complete(s->io, n < 0 ? -errno : (int)n);
}

unsigned fake_loop_turn(struct loop *l)
{
	unsigned fired = 0;

	for (unsigned i = 0; i < l->nr; i++) {
		struct source *s = &l->sources[i];
		struct pollfd pfd = { .fd = -1 };

		if (!s->want)
			continue;
		pfd.fd = s->poll->fd;
		pfd.events = (short)s->want;
		if (poll(&pfd, 1, 0) > 0)
			fired += fake_loop_fire(s->poll, (uint32_t)pfd.revents);
	}
	for (unsigned i = 0; i < l->nr; i++)
		if (l->sources[i].op == FAKE_IO_SENDMSG)
			fired += fake_loop_complete(l->sources[i].io, l->sources[i].sent);
	for (unsigned i = 0; l->serves && i < l->nr; i++)
		fired += serve(&l->sources[i]);
	for (unsigned i = 0; i < l->nr; i++) {
		struct source *s = &l->sources[i];

		if (!s->asked)
			continue;
		s->asked = false;
		s->later->run(s->later->ctx);
		fired++;
	}
	return fired;
}

int loop_later_init(struct loop *l, struct loop_later *later, void (*run)(void *ctx), void *ctx)
{
	int slot = new_source(l);

	if (slot < 0)
		return slot;
	l->sources[slot].later = later;
	*later = (struct loop_later){ .loop = l, .run = run, .ctx = ctx, .slot = slot };
	return 0;
}

void loop_later_ask(struct loop_later *later)
{
	later->loop->sources[later->slot].asked = true;
}

/* ---- transfers ---- */

int loop_io_init(struct loop *l, struct loop_io *io, int fd,
		 void (*done)(void *ctx, int res), void *ctx)
{
	int slot = new_source(l);

	if (slot < 0)
		return slot;
	*io = (struct loop_io){ .loop = l, .done = done, .ctx = ctx, .slot = slot };
	l->sources[slot].io = io;
	l->sources[slot].fd = fd;
	return 0;
}

int loop_io_init_like(const struct loop_io *like, struct loop_io *io, void (*done)(void *ctx, int res), void *ctx)
{
	return loop_io_init(like->loop, io, -1, done, ctx);
}

void loop_io_elsewhere(struct loop_io *io)
{
	(void)io;
}

void loop_may_stick(struct loop *l)
{
	(void)l;
}

static int start(struct loop_io *io, enum fake_io_op op, const struct iovec *iov, unsigned n)
{
	struct source *s = &io->loop->sources[io->slot];

	if (io->busy)
		return -EBUSY;
	if (!n)
		return -EINVAL;
	io->busy = true;
	s->op = op;
	s->iov = iov;
	s->n = n;
	s->place = (struct fake_io_place){ .off = UINT64_MAX };
	return 0;
}

int loop_readv(struct loop_io *io, const struct iovec *iov, unsigned n)
{
	return start(io, FAKE_IO_READV, iov, n);
}

int loop_writev(struct loop_io *io, const struct iovec *iov, unsigned n)
{
	return start(io, FAKE_IO_WRITEV, iov, n);
}

static int start_at(struct loop_io *io, enum fake_io_op op, const struct iovec *iov, unsigned n, struct fake_io_place place)
{
	int r = start(io, op, iov, n);

	if (!r)
		io->loop->sources[io->slot].place = place;
	return r;
}

int loop_preadv(struct loop_io *io, const struct iovec *iov, unsigned n, uint64_t off)
{
	return start_at(io, FAKE_IO_READV, iov, n, (struct fake_io_place){ .off = off });
}

int loop_pwritev(struct loop_io *io, const struct iovec *iov, unsigned n, uint64_t off, int flags)
{
	return start_at(io, FAKE_IO_WRITEV, iov, n, (struct fake_io_place){ .off = off, .flags = flags });
}

int loop_fdatasync(struct loop_io *io)
{
	return start_at(io, FAKE_IO_SYNC, NULL, 1, (struct fake_io_place){ 0 });
}

int loop_fallocate(struct loop_io *io, int mode, uint64_t off, uint64_t len)
{
	return start_at(io, FAKE_IO_ALLOCATE, NULL, 1, (struct fake_io_place){ .off = off, .len = len, .mode = mode });
}

int loop_file_init(struct loop *l, struct loop_io *io, int fd, void (*done)(void *ctx, int res), void *ctx)
{
	int r = loop_io_init(l, io, fd, done, ctx);

	l->files += !r;
	return r;
}

unsigned loop_file_count(const struct loop *l)
{
	return l->files;
}

int loop_io_init_late(struct loop *l, struct loop_io *io, void (*done)(void *ctx, int res), void *ctx)
{
	return loop_io_init(l, io, -1, done, ctx);
}

int loop_msg_init_late(struct loop *l, struct loop_io *io, void (*done)(void *ctx, int res), void *ctx)
{
	return loop_io_init(l, io, -1, done, ctx);
}

void loop_io_aim(struct loop_io *io, int fd)
{
	io->loop->sources[io->slot].fd = fd;
}

int loop_accept(struct loop_io *io)
{
	return start_at(io, FAKE_IO_ACCEPT, NULL, 1, (struct fake_io_place){ 0 });
}

int loop_recvmsg(struct loop_io *io, struct msghdr *msg, int flags)
{
	int r = start_at(io, FAKE_IO_RECVMSG, NULL, 1, (struct fake_io_place){ .flags = flags });

	if (!r)
		io->loop->sources[io->slot].msg = msg;
	return r;
}

int loop_await_end(struct loop_io *io)
{
	return start_at(io, FAKE_IO_AWAIT, NULL, 1, (struct fake_io_place){ 0 });
}

int loop_shutdown(struct loop_io *io, int how)
{
	return start_at(io, FAKE_IO_SHUTDOWN, NULL, 1, (struct fake_io_place){ .flags = how });
}

int loop_close(struct loop_io *io)
{
	return start_at(io, FAKE_IO_CLOSE, NULL, 1, (struct fake_io_place){ 0 });
}

int fake_loop_aim(const struct loop_io *io)
{
	return io->loop->sources[io->slot].fd;
}

struct msghdr *fake_loop_msg(const struct loop_io *io)
{
	const struct source *s = &io->loop->sources[io->slot];

	return io->busy && s->op == FAKE_IO_RECVMSG ? s->msg : NULL;
}

int loop_msg_init(struct loop *l, struct loop_io *io, int fd, void (*done)(void *ctx, int res), void *ctx)
{
	return loop_io_init(l, io, fd, done, ctx);
}

int loop_sendmsg(struct loop_io *io, const struct msghdr *m)
{
	struct source *s = &io->loop->sources[io->slot];
	int r = start_at(io, FAKE_IO_SENDMSG, NULL, 1, (struct fake_io_place){ 0 });

	if (r)
		return r;
	s->sent = io->loop->message_error;
	if (!s->sent)
		s->sent = (int)sendmsg(s->fd, m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (s->sent < 0 && !io->loop->message_error)
		s->sent = -errno;
	return 0;
}

void fake_loop_refuse_messages(struct loop *l, int error)
{
	l->message_error = error;
}

struct fake_io_place fake_loop_place(const struct loop_io *io)
{
	return io->loop->sources[io->slot].place;
}

struct loop_io *fake_loop_busy(struct loop *l, unsigned n)
{
	for (unsigned i = 0; i < l->nr; i++)
		if (l->sources[i].op != FAKE_IO_NONE && !n--)
			return l->sources[i].io;
	return NULL;
}

void loop_io_cancel(struct loop_io *io)
{
	struct source *s;

	if (!io->busy)
		return;
	s = &io->loop->sources[io->slot];
	if (io->loop->serves && s->op == FAKE_IO_CLOSE)
		close(s->fd);
	fake_loop_complete(io, s->has_cancel_res ? s->cancel_res : -ECANCELED);
	s->has_cancel_res = false;
}

void loop_io_try(struct loop_io *io)
{
	loop_io_cancel(io);
}

/* Where transfers are done on their descriptors this is one turn of it; else nothing ends by itself. */
void loop_io_wait(struct loop_io *io, uint64_t deadline_ns)
{
	(void)deadline_ns;
	if (io->busy && io->loop->serves)
		serve(&io->loop->sources[io->slot]);
}

void fake_loop_cancel_result(struct loop_io *io, int res)
{
	io->loop->sources[io->slot].has_cancel_res = true;
	io->loop->sources[io->slot].cancel_res = res;
}

enum fake_io_op fake_loop_io(const struct loop_io *io, const struct iovec **ret_iov, unsigned *ret_n)
{
	const struct source *s = &io->loop->sources[io->slot];

	if (!io->busy)
		return FAKE_IO_NONE;
	if (ret_iov)
		*ret_iov = s->iov;
	if (ret_n)
		*ret_n = s->n;
	return s->op;
}

bool fake_loop_complete(struct loop_io *io, int res)
{
	if (!io->busy)
		return false;
	io->busy = false;
	io->loop->sources[io->slot].op = FAKE_IO_NONE;
	io->done(io->ctx, res);
	return true;
}

/* Copies between @buf and the iovecs; returns how much was copied. */
static size_t copy(const struct source *s, char *buf, size_t len, bool into_iov)
{
	size_t done = 0;

	for (unsigned i = 0; i < s->n && done < len; i++) {
		size_t n = s->iov[i].iov_len < len - done ? s->iov[i].iov_len : len - done;

		if (into_iov)
			memcpy(s->iov[i].iov_base, buf + done, n);
		else
			memcpy(buf + done, s->iov[i].iov_base, n);
		done += n;
	}
	return done;
}

bool fake_loop_complete_read(struct loop_io *io, const void *data, size_t len)
{
	struct source *s = &io->loop->sources[io->slot];

	if (!io->busy || s->op != FAKE_IO_READV)
		return false;
	return fake_loop_complete(io, (int)copy(s, (char *)(uintptr_t)data, len, true));
}

size_t fake_loop_peek_write(const struct loop_io *io, void *buf, size_t cap)
{
	const struct source *s = &io->loop->sources[io->slot];
	size_t total = 0;

	if (!io->busy || s->op != FAKE_IO_WRITEV)
		return 0;
	for (unsigned i = 0; i < s->n; i++)
		total += s->iov[i].iov_len;
	copy(s, buf, cap, false);
	return total;
}

/* ---- timers ---- */

int loop_timer_init(struct loop *l, struct loop_timer *t, void (*fired)(void *ctx), void *ctx)
{
	int r = loop_poll_init(l, &t->poll, -1, NULL, NULL);

	if (r < 0)
		return r;
	t->fired = fired;
	t->ctx = ctx;
	t->fd = -1;
	l->sources[t->poll.slot].timer = t;
	return 0;
}

void loop_timer_set(struct loop_timer *t, uint64_t delay_ns)
{
	t->poll.loop->sources[t->poll.slot].delay_ns = delay_ns;
}

void loop_timer_fini(struct loop_timer *t)
{
	if (!t->poll.loop)
		return;
	loop_timer_set(t, 0);
	loop_poll_fini(&t->poll);
}

uint64_t fake_loop_timer(const struct loop_timer *t)
{
	return t->poll.loop ? t->poll.loop->sources[t->poll.slot].delay_ns : 0;
}

bool fake_loop_expire(struct loop_timer *t)
{
	if (!fake_loop_timer(t))
		return false;
	loop_timer_set(t, 0);
	t->fired(t->ctx);
	return true;
}

unsigned fake_loop_expire_all(struct loop *l)
{
	unsigned fired = 0;

	for (unsigned i = 0; i < l->nr; i++)
		if (l->sources[i].timer && l->sources[i].timer->poll.loop)
			fired += fake_loop_expire(l->sources[i].timer);
	return fired;
}

uint64_t fake_loop_next_timer(const struct loop *l)
{
	uint64_t next = 0;

	for (unsigned i = 0; i < l->nr; i++)
		if (l->sources[i].delay_ns && (!next || l->sources[i].delay_ns < next))
			next = l->sources[i].delay_ns;
	return next;
}

/* ---- the loop itself ---- */

int loop_call(struct loop *l, int (*fn)(void *ctx), void *ctx)
{
	if (l->ended)
		return -ECANCELED;
	l->calls++;
	return fn(ctx);
}

bool loop_is_here(const struct loop *l)
{
	return !l->away;
}

void fake_loop_fail_init(struct loop *l, unsigned n, int error)
{
	l->fail_in = (int)n;
	l->fail_error = error;
}

unsigned fake_loop_calls(const struct loop *l)
{
	return l->calls;
}

unsigned fake_loop_sources(const struct loop *l)
{
	return l->nr;
}

bool fake_loop_stopped(const struct loop *l)
{
	return l->stopped;
}

void fake_loop_end(struct loop *l)
{
	l->ended = true;
}

void fake_loop_set_here(struct loop *l, bool here)
{
	l->away = !here;
}
