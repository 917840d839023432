// SPDX-License-Identifier: BSD-3-Clause
/* The ring's side of the event loop: requests, completions, and their callbacks. loop.c tells how. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/loop_priv.h"

/* ---- lists of slots ------------------------------------------------------------------------ */

void lring_put_on(struct loop *l, unsigned which, unsigned i)
{
	struct list *list = &l->lists[which];
	struct slot *s = slot(l, i);

	if (s->listed[which])
		return;
	s->listed[which] = true;
	if (list->used)
		slot(l, list->last)->next[which] = (uint16_t)i;
	else
		list->first = (uint16_t)i;
	list->last = (uint16_t)i;
	list->used = true;
}

static bool take_off(struct loop *l, unsigned which, unsigned *ret_i)
{
	struct list *list = &l->lists[which];
	unsigned i = list->first;

	if (!list->used)
		return false;
	if (list->first == list->last)
		list->used = false;
	else
		list->first = slot(l, i)->next[which];
	slot(l, i)->listed[which] = false;
	*ret_i = i;
	return true;
}

/* ---- requests ------------------------------------------------------------------------------ */

static uint64_t tag_of(unsigned i, uint32_t gen)
{
	return (uint64_t)gen << 32 | (i + 1);
}

/* The caller has seen to room in the queue. */
static struct io_uring_sqe *new_sqe(struct loop *l)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);

	if (!sqe)
		abort(); /* our own miscount */
	return sqe;
}

/*
 * Registered files, for the cancel too, which names none: where nothing is late the ring's restriction asks for the flag
 * everywhere.
 */
void lring_finish_sqe(struct io_uring_sqe *sqe, uint64_t tag)
{
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data64(sqe, tag);
}

void lring_submit_cancel(struct loop *l, unsigned i, uint32_t gen)
{
	struct io_uring_sqe *sqe = new_sqe(l);

	io_uring_prep_cancel64(sqe, tag_of(i, gen), 0);
	sqe->fd = slot(l, i)->file;
	lring_finish_sqe(sqe, 0);
}

static void prep_poll(struct io_uring_sqe *sqe, const struct slot *s)
{
	const struct loop_poll *p = s->owner;

	io_uring_prep_poll_add(sqe, s->file, s->want);
	if (p->drains)
		sqe->len = IORING_POLL_ADD_MULTI;
}

static void prep_io(struct io_uring_sqe *sqe, const struct slot *s)
{
	int file = s->file == NO_FILE ? s->fd : s->file;

	switch (s->op) {
	case IORING_OP_READV:
		io_uring_prep_readv2(sqe, file, s->iov, s->want, s->off, s->flags);
		break;
	case IORING_OP_WRITEV:
		io_uring_prep_writev2(sqe, file, s->iov, s->want, s->off, s->flags);
		break;
	case IORING_OP_ACCEPT:
		io_uring_prep_accept(sqe, file, NULL, NULL, s->flags);
		break;
	case IORING_OP_RECVMSG:
		io_uring_prep_recvmsg(sqe, file, s->msg, (unsigned)s->flags);
		break;
	case IORING_OP_POLL_ADD:
		io_uring_prep_poll_add(sqe, file, 0); /* what is told unasked */
		break;
	case IORING_OP_SHUTDOWN:
		io_uring_prep_shutdown(sqe, file, s->flags);
		break;
	case IORING_OP_CLOSE:
		io_uring_prep_close(sqe, file);
		break;
	case IORING_OP_SENDMSG:
		io_uring_prep_sendmsg(sqe, file, s->out, MSG_NOSIGNAL);
		break;
	case IORING_OP_FSYNC:
		io_uring_prep_fsync(sqe, s->file, IORING_FSYNC_DATASYNC);
		break;
	case IORING_OP_FALLOCATE:
		io_uring_prep_fallocate(sqe, s->file, s->flags, (off_t)s->off, (off_t)s->len);
		break;
	}
}

/* A close may wait for a socket's other end, which only the kernel's threads may do. */
static unsigned sqe_flags(const struct slot *s)
{
	bool elsewhere = s->kind == SLOT_IO && (s->elsewhere || s->op == IORING_OP_CLOSE);

	return (s->file == NO_FILE ? 0 : IOSQE_FIXED_FILE) | (elsewhere ? IOSQE_ASYNC : 0);
}

static void submit_request(struct loop *l, unsigned i)
{
	struct io_uring_sqe *sqe = new_sqe(l);
	struct slot *s = slot(l, i);

	if (s->kind == SLOT_POLL)
		prep_poll(sqe, s);
	else
		prep_io(sqe, s);
	lring_finish_sqe(sqe, tag_of(i, s->gen));
	io_uring_sqe_set_flags(sqe, sqe_flags(s));
	s->in_kernel = true;
}

/* Turns what is wanted into submissions, as far as the queue has room. True if some had to wait. */
bool lring_sync(struct loop *l)
{
	struct slot *s;
	unsigned i;

	while (io_uring_sq_space_left(&l->ring) >= 2) {
		if (!take_off(l, LIST_DIRTY, &i))
			return false;
		s = slot(l, i);
		if (s->cancel)
			lring_submit_cancel(l, i, s->cancel_gen);
		s->cancel = false;
		if (s->want && !s->in_kernel && !s->done)
			submit_request(l, i);
	}
	return l->lists[LIST_DIRTY].used;
}

/* The request in the kernel is given up: its completion will be dropped. */
void lring_give_up(struct loop *l, unsigned i)
{
	struct slot *s = slot(l, i);

	if (!s->in_kernel)
		return;
	s->cancel = true;
	s->cancel_gen = s->gen++;
	s->in_kernel = false;
	lring_put_on(l, LIST_DIRTY, i);
}

/* ---- completions --------------------------------------------------------------------------- */

/* In a row, of one poll, after which its descriptor counts as invalid */
#define MAX_POLL_ERRORS 64

static void take_in_poll(struct loop *l, unsigned i, int res, bool more)
{
	struct slot *s = slot(l, i);

	if (!more) {
		s->gen++;
		s->in_kernel = false;
		lring_put_on(l, LIST_DIRTY, i);
	}
	/* The kernel ended it by itself, without news: it is put in again. */
	if (res == -ECANCELED || res == 0)
		return;
	/* Nor is an error any: newer kernels end a terminal's poll with EINVAL when its modes change. */
	if (res < 0 && res != -EBADF && s->errors < MAX_POLL_ERRORS) {
		s->errors++;
		return;
	}
	s->errors = 0;
	s->events |= res > 0 ? (uint32_t)res : POLLNVAL;
	lring_put_on(l, LIST_READY, i);
}

static void take_in_io(struct loop *l, unsigned i, int res)
{
	struct slot *s = slot(l, i);

	s->gen++;
	s->in_kernel = false;
	s->done = true;
	s->res = res;
	lring_put_on(l, LIST_READY, i);
}

static void take_in(struct loop *l, const struct io_uring_cqe *cqe)
{
	unsigned i = (uint32_t)cqe->user_data - 1;
	uint32_t gen = (uint32_t)(cqe->user_data >> 32);

	if (!cqe->user_data || i >= l->nr || !slot(l, i)->in_kernel || slot(l, i)->gen != gen)
		return;
	if (slot(l, i)->kind == SLOT_POLL)
		take_in_poll(l, i, cqe->res, cqe->flags & IORING_CQE_F_MORE);
	else
		take_in_io(l, i, cqe->res);
}

static unsigned reap(struct loop *l)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&l->ring, head, cqe) {
		take_in(l, cqe);
		n++;
	}
	io_uring_cq_advance(&l->ring, n);
	return n;
}

/* For errors that pass by themselves (no memory for a request): a millisecond without CPU. */
static void pause_briefly(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	atomic_uint never = 0;

	syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, &ms, NULL, 0);
}

/* As long as AGAIN_NS. */
static int submit_and_wait_a_little(struct loop *l)
{
	struct __kernel_timespec ts = { .tv_nsec = AGAIN_NS };
	struct io_uring_cqe *cqe;

	return io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &ts, NULL);
}

/* Takes in what there is, after an enter that ended with @r. */
static int take_in_all(struct loop *l, int r)
{
	unsigned n = reap(l);

	if (r >= 0 || r == -EINTR || r == -ETIME)
		return 0;
	if (r != -EAGAIN && r != -EBUSY && r != -ENOMEM)
		return r;
	if (!n)
		pause_briefly();
	return 0;
}

/* Submits what is prepared, waits for @wait completions, takes in what there is. */
int lring_enter(struct loop *l, unsigned wait)
{
	if (wait && calls_wait_for_us(&l->calls))
		return lring_enter_a_little(l);
	return take_in_all(l, wait ? io_uring_submit_and_wait(&l->ring, wait) : io_uring_submit_and_get_events(&l->ring));
}

int lring_enter_a_little(struct loop *l)
{
	return take_in_all(l, submit_and_wait_a_little(l));
}

static void dispatch_poll(struct loop *l, unsigned i)
{
	struct slot *s = slot(l, i);
	struct loop_poll *p = s->owner;
	uint32_t events = s->events;

	s->events = 0;
	if (!s->want || !events)
		return;
	/* Nothing but errors: it would report them for ever. */
	if (!(events & s->want)) {
		s->want = 0;
		lring_give_up(l, i);
	}
	p->ready(p->ctx, events);
}

void lring_dispatch_io(struct loop *l, unsigned i)
{
	struct slot *s = slot(l, i);
	struct loop_io *io = s->owner;

	if (!s->done)
		return;
	s->done = false;
	s->want = 0;
	io->busy = false;
	io->done(io->ctx, s->res);
}

static void dispatch_later(struct loop *l, unsigned i)
{
	struct loop_later *later = slot(l, i)->owner;

	later->run(later->ctx);
}

/*
 * New entries come only from a callback that cancels a transfer, and from loop_later_ask(), behind all that the
 * round brought; so this ends.
 */
void lring_dispatch(struct loop *l)
{
	unsigned i;

	while (take_off(l, LIST_READY, &i)) {
		switch (slot(l, i)->kind) {
		case SLOT_POLL:
			dispatch_poll(l, i);
			break;
		case SLOT_IO:
			lring_dispatch_io(l, i);
			break;
		case SLOT_LATER:
			dispatch_later(l, i);
			break;
		}
	}
}
