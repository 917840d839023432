// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * Each source has a slot; its index is also the index of its descriptor in the ring's table of
 * registered files. A slot holds what its owner wants (poll for these events, this transfer)
 * and what the kernel has. The functions of loop.h change only what is wanted and put the slot
 * on the dirty list; sync(), just before each io_uring_enter(2), makes the two agree. So a
 * change that is taken back in the same round costs nothing, nothing is submitted from odd
 * places, and a full submission queue only means that the rest of the list waits for the next
 * call. Before the seal the dirty list collects what the first enter submits.
 *
 * A request's user_data is the slot's generation and index. The generation moves on whenever a
 * request ends or is given up, so the completion of a request that was given up finds another
 * generation and is dropped. It never reaches the owner, who may be freed by then, nor the
 * slot's next request. user_data 0 marks the completions of cancel requests, which tell nothing.
 *
 * Completions are first taken in (reap: into the slot, slot on the ready list) and then
 * dispatched. loop_io_cancel() takes in until its own completion is there, and dispatches that
 * one alone: no other callback runs inside a callback, and nothing is lost, as a slot has room
 * for all that can come in for it (one transfer, or a union of poll events).
 *
 * Polls are one-shot and put in again after the callback, which the kernel answers at once if
 * the descriptor is still ready: level semantics, for the price of a submission in an enter
 * that is made anyway. Where the owner drains the descriptor a multishot poll stays in; it ends
 * only when the kernel says so (no IORING_CQE_F_MORE: queue overflow), and is put in again.
 *
 * Calls from other threads wait in a list (calls.h); its turning non-empty is signalled by an
 * eventfd, a source like the others, which loop_stop() signals too.
 */
#include "vmm/core/loop.h"

#include <errno.h>
#include <liburing.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/obj.h"
#include "vmm/base/rights.h"
#include "vmm/core/calls.h"

/* A round submits in steps of this. Completions that find no room wait in the kernel. */
#define SQ_ENTRIES 64
#define CQ_ENTRIES 512
#define AGAIN_NS 5000000 /* how often a call that has to wait is asked again, at least */

enum slot_kind { SLOT_POLL, SLOT_READV, SLOT_WRITEV };
enum { LIST_READY, LIST_DIRTY, NR_LISTS };

struct slot {
	void *owner;             /* struct loop_poll or loop_io; good while something is wanted */
	const struct iovec *iov; /* transfer */
	uint32_t gen;
	uint32_t cancel_gen;
	uint32_t want;           /* poll: events, 0 for none; transfer: number of iovecs, 0 for none */
	uint32_t events;         /* poll: taken in, not yet dispatched */
	int32_t res;             /* transfer: its result, where `done` */
	int fd;                  /* for the seal; -1: a hole in the table */
	uint16_t next[NR_LISTS];
	bool listed[NR_LISTS];
	uint8_t kind;            /* enum slot_kind */
	bool in_kernel;          /* a request of this generation is submitted */
	bool cancel;             /* the request of cancel_gen must be cancelled */
	bool done;               /* transfer: completed, not yet dispatched */
};

struct list {
	uint16_t first, last;
	bool used;
};

struct loop {
	struct io_uring ring;    /* from the seal on */
	bool has_ring;
	atomic_bool sealed;
	atomic_bool stopping;
	pthread_t thread;        /* set before `sealed` */

	struct calls calls;
	int wake_fd;
	struct loop_poll wake;

	unsigned nr;
	struct list lists[NR_LISTS];
	struct slot slots[LOOP_MAX_FDS]; /* from nr on not initialised */
};

/* ---- lists of slots ------------------------------------------------------------------------ */

static void put_on(struct loop *l, unsigned which, unsigned i)
{
	struct list *list = &l->lists[which];
	struct slot *s = &l->slots[i];

	if (s->listed[which])
		return;
	s->listed[which] = true;
	if (list->used)
		l->slots[list->last].next[which] = (uint16_t)i;
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
		list->first = l->slots[i].next[which];
	l->slots[i].listed[which] = false;
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

/* Registered files only, for the cancel too, which names none: the ring's restriction asks for the flag everywhere. */
static void finish_sqe(struct io_uring_sqe *sqe, uint64_t tag)
{
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data64(sqe, tag);
}

static void submit_cancel(struct loop *l, unsigned i, uint32_t gen)
{
	struct io_uring_sqe *sqe = new_sqe(l);

	io_uring_prep_cancel64(sqe, tag_of(i, gen), 0);
	sqe->fd = (int)i;
	finish_sqe(sqe, 0);
}

static void submit_request(struct loop *l, unsigned i)
{
	struct io_uring_sqe *sqe = new_sqe(l);
	struct slot *s = &l->slots[i];
	struct loop_poll *p = s->owner;

	switch (s->kind) {
	case SLOT_POLL:
		io_uring_prep_poll_add(sqe, (int)i, s->want);
		if (p->drains)
			sqe->len = IORING_POLL_ADD_MULTI;
		break;
	case SLOT_READV:
		io_uring_prep_readv(sqe, (int)i, s->iov, s->want, (uint64_t)-1);
		break;
	case SLOT_WRITEV:
		io_uring_prep_writev(sqe, (int)i, s->iov, s->want, (uint64_t)-1);
		break;
	}
	finish_sqe(sqe, tag_of(i, s->gen));
	s->in_kernel = true;
}

/* Turns what is wanted into submissions, as far as the queue has room. True if some had to wait. */
static bool sync_requests(struct loop *l)
{
	struct slot *s;
	unsigned i;

	while (io_uring_sq_space_left(&l->ring) >= 2) {
		if (!take_off(l, LIST_DIRTY, &i))
			return false;
		s = &l->slots[i];
		if (s->cancel)
			submit_cancel(l, i, s->cancel_gen);
		s->cancel = false;
		if (s->want && !s->in_kernel && !s->done)
			submit_request(l, i);
	}
	return l->lists[LIST_DIRTY].used;
}

/* The request in the kernel is given up: its completion will be dropped. */
static void give_up(struct loop *l, unsigned i)
{
	struct slot *s = &l->slots[i];

	if (!s->in_kernel)
		return;
	s->cancel = true;
	s->cancel_gen = s->gen++;
	s->in_kernel = false;
	put_on(l, LIST_DIRTY, i);
}

/* ---- completions --------------------------------------------------------------------------- */

static void take_in_poll(struct loop *l, unsigned i, int res, bool more)
{
	struct slot *s = &l->slots[i];

	if (!more) {
		s->gen++;
		s->in_kernel = false;
		put_on(l, LIST_DIRTY, i);
	}
	/* The kernel ended it by itself, without news: it is put in again. */
	if (res == -ECANCELED || res == 0)
		return;
	s->events |= res > 0 ? (uint32_t)res : POLLNVAL;
	put_on(l, LIST_READY, i);
}

static void take_in_io(struct loop *l, unsigned i, int res)
{
	struct slot *s = &l->slots[i];

	s->gen++;
	s->in_kernel = false;
	s->done = true;
	s->res = res;
	put_on(l, LIST_READY, i);
}

static void take_in(struct loop *l, const struct io_uring_cqe *cqe)
{
	unsigned i = (uint32_t)cqe->user_data - 1;
	uint32_t gen = (uint32_t)(cqe->user_data >> 32);

	if (!cqe->user_data || i >= l->nr || !l->slots[i].in_kernel || l->slots[i].gen != gen)
		return;
	if (l->slots[i].kind == SLOT_POLL)
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

/* As long as a call wants to be asked again. */
static int submit_and_wait_a_little(struct loop *l)
{
	struct __kernel_timespec ts = { .tv_nsec = AGAIN_NS };
	struct io_uring_cqe *cqe;

	if (l->ring.features & IORING_FEAT_EXT_ARG)
		return io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &ts, NULL);
	pause_briefly(); /* before Linux 5.11 */
	return io_uring_submit(&l->ring);
}

/* Submits what is prepared, waits for @wait completions, takes in what there is. */
static int enter(struct loop *l, unsigned wait)
{
	int r = wait && calls_wait_for_us(&l->calls) ? submit_and_wait_a_little(l) : io_uring_submit_and_wait(&l->ring, wait);
	unsigned n = reap(l);

	if (r >= 0 || r == -EINTR || r == -ETIME)
		return 0;
	if (r != -EAGAIN && r != -EBUSY && r != -ENOMEM)
		return r;
	if (!n)
		pause_briefly();
	return 0;
}

static void dispatch_poll(struct loop *l, unsigned i)
{
	struct slot *s = &l->slots[i];
	struct loop_poll *p = s->owner;
	uint32_t events = s->events;

	s->events = 0;
	if (!s->want || !events)
		return;
	/* Nothing but errors: it would report them for ever. */
	if (!(events & s->want)) {
		s->want = 0;
		give_up(l, i);
	}
	p->ready(p->ctx, events);
}

static void dispatch_io(struct loop *l, unsigned i)
{
	struct slot *s = &l->slots[i];
	struct loop_io *io = s->owner;

	if (!s->done)
		return;
	s->done = false;
	s->want = 0;
	io->busy = false;
	io->done(io->ctx, s->res);
}

/* New entries come only from a callback that cancels a transfer, so this ends. */
static void dispatch(struct loop *l)
{
	unsigned i;

	while (take_off(l, LIST_READY, &i)) {
		if (l->slots[i].kind == SLOT_POLL)
			dispatch_poll(l, i);
		else
			dispatch_io(l, i);
	}
}

/* ---- sources ------------------------------------------------------------------------------- */

static int new_slot(struct loop *l, int fd, enum slot_kind kind, void *owner)
{
	unsigned i = l->nr;

	if (atomic_load_explicit(&l->sealed, memory_order_relaxed))
		return -EBUSY;
	if (i == LOOP_MAX_FDS)
		return -ENOSPC;
	l->slots[i] = (struct slot){ .fd = fd, .kind = (uint8_t)kind, .owner = owner };
	l->nr++;
	return (int)i;
}

int loop_poll_init(struct loop *l, struct loop_poll *p, int fd,
		   void (*ready)(void *ctx, uint32_t events), void *ctx)
{
	int i = new_slot(l, fd, SLOT_POLL, p);

	if (i < 0)
		return i;
	*p = (struct loop_poll){ .loop = l, .ready = ready, .ctx = ctx, .fd = fd, .slot = i };
	return 0;
}

void loop_poll_arm(struct loop_poll *p, uint32_t events)
{
	struct loop *l = p->loop;
	unsigned i = (unsigned)p->slot;

	if (l->slots[i].want == events)
		return;
	loop_poll_disarm(p);
	if (!events)
		return;
	l->slots[i].want = events;
	put_on(l, LIST_DIRTY, i);
}

void loop_poll_disarm(struct loop_poll *p)
{
	struct loop *l = p->loop;
	struct slot *s;

	if (!l)
		return;
	s = &l->slots[p->slot];
	s->want = 0;
	s->events = 0;
	give_up(l, (unsigned)p->slot);
}

void loop_poll_fini(struct loop_poll *p)
{
	if (!p->loop)
		return;
	loop_poll_disarm(p);
	/* a hole in the table, in case the seal is still to come */
	p->loop->slots[p->slot].fd = -1;
	p->loop = NULL;
}

int loop_io_init(struct loop *l, struct loop_io *io, int fd,
		 void (*done)(void *ctx, int res), void *ctx)
{
	int i = new_slot(l, fd, SLOT_READV, io);

	if (i < 0)
		return i;
	*io = (struct loop_io){ .loop = l, .done = done, .ctx = ctx, .slot = i };
	return 0;
}

static int start_io(struct loop_io *io, enum slot_kind kind, const struct iovec *iov, unsigned n)
{
	struct slot *s = &io->loop->slots[io->slot];

	if (io->busy)
		return -EBUSY;
	if (!n)
		return -EINVAL;
	io->busy = true;
	s->kind = (uint8_t)kind;
	s->iov = iov;
	s->want = n;
	put_on(io->loop, LIST_DIRTY, (unsigned)io->slot);
	return 0;
}

int loop_readv(struct loop_io *io, const struct iovec *iov, unsigned n)
{
	return start_io(io, SLOT_READV, iov, n);
}

int loop_writev(struct loop_io *io, const struct iovec *iov, unsigned n)
{
	return start_io(io, SLOT_WRITEV, iov, n);
}

void loop_io_cancel(struct loop_io *io)
{
	struct loop *l = io->loop;
	unsigned i = (unsigned)io->slot;
	bool asked = false;
	struct slot *s;

	if (!io->busy)
		return;
	s = &l->slots[i];
	while (s->in_kernel) {
		if (!asked && io_uring_sq_space_left(&l->ring)) {
			submit_cancel(l, i, s->gen);
			asked = true;
		}
		/* the cancel itself completes as well, so there is something to wait for */
		if (enter(l, asked) < 0)
			break;
	}
	/* A ring that failed for good moves no more bytes. */
	if (!s->done) {
		s->done = true;
		s->res = -ECANCELED;
		s->gen += s->in_kernel;
		s->in_kernel = false;
	}
	dispatch_io(l, i);
}

_Static_assert(CALL_AGAIN == LOOP_AGAIN, "one word for the same");

/* ---- calls from other threads -------------------------------------------------------------- */

static void wake_up(struct loop *l)
{
	const uint64_t one = 1;
	/* Fails only where the counter is full, and then it is signalled already. */
	ssize_t n = write(l->wake_fd, &one, sizeof(one));

	(void)n;
}

static void woken(void *ctx, uint32_t events)
{
	struct loop *l = ctx;
	uint64_t signals;

	(void)events;
	/* Read first: a call that comes after calls_run() took the list signals again. */
	if (read(l->wake_fd, &signals, sizeof(signals)) == sizeof(signals))
		calls_run(&l->calls);
}

bool loop_is_here(const struct loop *l)
{
	return !atomic_load_explicit(&l->sealed, memory_order_acquire) ||
	       pthread_equal(l->thread, pthread_self());
}

int loop_call(struct loop *l, int (*fn)(void *ctx), void *ctx)
{
	struct call c = { .fn = fn, .ctx = ctx };
	int r;

	if (loop_is_here(l))
		return fn(ctx);
	r = calls_add(&l->calls, &c);
	if (r < 0)
		return r;
	if (r)
		wake_up(l);
	return calls_wait(&c);
}

/* ---- life ---------------------------------------------------------------------------------- */

static int init_ring(struct loop *l)
{
	const unsigned base = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
	/* One thread submits, and completions are worked off when it asks for them: no interruptions. Linux 6.1. */
	const unsigned calm = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN |
			      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	struct io_uring_params p = { .flags = base | calm, .cq_entries = CQ_ENTRIES };
	int r = io_uring_queue_init_params(SQ_ENTRIES, &l->ring, &p);

	if (r == -EINVAL) {
		p = (struct io_uring_params){ .flags = base, .cq_entries = CQ_ENTRIES };
		r = io_uring_queue_init_params(SQ_ENTRIES, &l->ring, &p);
	}
	if (r < 0)
		return r;
	l->has_ring = true;
	fd_note(l->ring.ring_fd, FD_RING);
	return 0;
}

static int init_wake(struct loop *l)
{
	int r;

	l->wake_fd = fd_event();
	if (l->wake_fd < 0)
		return l->wake_fd;
	r = loop_poll_init(l, &l->wake, l->wake_fd, woken, l);
	if (r < 0)
		return r;
	l->wake.drains = true;
	loop_poll_arm(&l->wake, POLLIN);
	return 0;
}

int loop_new(struct loop **ret_l)
{
	/* The table is most of it: it is written as far as it is used. */
	struct loop *l = obj_new(sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	calls_init(&l->calls);
	r = init_wake(l);
	if (r < 0) {
		loop_free(l);
		return r;
	}
	*ret_l = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	calls_end(&l->calls);
	if (l->has_ring) {
		fd_forget(l->ring.ring_fd);
		io_uring_queue_exit(&l->ring);
	}
	close_fd(&l->wake_fd);
	calls_fini(&l->calls);
	obj_free(l);
}

/* By hand, because liburing 2.3 keeps its functions for these two opcodes out of its shared library. */
static int ring_register(struct loop *l, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, l->ring.ring_fd, op, arg, n) < 0 ? -errno : 0;
}

static int restrict_ring(struct loop *l)
{
	static const uint8_t ops[] = {
		IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_READV, IORING_OP_WRITEV,
	};
	/* No register opcode is named, so none is left once the ring is enabled. */
	struct io_uring_restriction res[ARRAY_LEN(ops) + 1] = {
		[ARRAY_LEN(ops)] = {
			.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
			.sqe_flags = IOSQE_FIXED_FILE,
		},
	};

	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		res[i].opcode = IORING_RESTRICTION_SQE_OP;
		res[i].sqe_op = ops[i];
	}
	return ring_register(l, IORING_REGISTER_RESTRICTIONS, res, ARRAY_LEN(res));
}

int loop_seal(struct loop *l)
{
	int fds[LOOP_MAX_FDS], r;

	r = init_ring(l);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < l->nr; i++)
		fds[i] = l->slots[i].fd;
	r = io_uring_register_files(&l->ring, fds, l->nr);
	if (r < 0)
		return r;
	r = restrict_ring(l);
	if (r < 0)
		return r;
	r = ring_register(l, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (r < 0)
		return r;
	l->thread = pthread_self();
	atomic_store_explicit(&l->sealed, true, memory_order_release);
	return 0;
}

/*
 * What is left in the ring at the end of the process is cancelled by a worker of the kernel's, which looks
 * twenty times a second: until then the registered files, a tap's too, would stay open. Linux 5.19; else nothing.
 */
static void cancel_all(struct loop *l)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);

	if (!sqe)
		return;
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY);
	finish_sqe(sqe, 0);
	io_uring_submit_and_wait(&l->ring, 1);
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (!atomic_load_explicit(&l->stopping, memory_order_relaxed)) {
		bool more = sync_requests(l);

		r = enter(l, !more);
		if (r)
			break;
		dispatch(l);
		if (calls_wait_for_us(&l->calls)) {
			calls_run(&l->calls);
			dispatch(l);
		}
	}
	cancel_all(l);
	calls_end(&l->calls);
	return r;
}

void loop_stop(struct loop *l)
{
	atomic_store_explicit(&l->stopping, true, memory_order_relaxed);
	wake_up(l);
}

const struct right loop_rights[] = {
	{ RIGHT_LOOP, SYS_io_uring_enter, RIGHT_FD, FD_RING, 0, "waiting for what happens next, and transfers" },
	{ RIGHT_ALL, SYS_write, RIGHT_FD, FD_EVENT, 0, "a call for the loop, a kick, an interrupt" },
	{ RIGHT_ALL, SYS_read, RIGHT_FD, FD_EVENT, 0, "what was signalled; a masked signal that is void" },
	{ RIGHT_LOOP, SYS_read, RIGHT_FD, FD_TIMER, 0, "a timer that has expired" },
	{ RIGHT_LOOP, SYS_timerfd_settime, RIGHT_FD, FD_TIMER, 0, "timers" },
	{ 0 },
};
