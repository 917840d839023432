// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * Each source has a slot, and each descriptor an index in the ring's table of registered files,
 * which sources may share. A slot holds what its owner wants (poll for these events, this transfer)
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
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/obj.h"
#include "vmm/base/rights.h"
#include "vmm/core/loop_priv.h"

/* ---- sources ------------------------------------------------------------------------------- */

/* An index in the table of files; -EBUSY, -ENOSPC. */
static int new_file(struct loop *l, int fd)
{
	if (atomic_load_explicit(&l->sealed, memory_order_relaxed))
		return -EBUSY;
	if (l->nr_files == LOOP_MAX_FDS)
		return -ENOSPC;
	l->files[l->nr_files] = fd;
	return (int)l->nr_files++;
}

static int new_slot(struct loop *l, int file, enum slot_kind kind, void *owner)
{
	unsigned i = l->nr;

	if (file < 0)
		return file;
	if (atomic_load_explicit(&l->sealed, memory_order_relaxed))
		return -EBUSY;
	if (i == LOOP_MAX_SOURCES)
		return -ENOSPC;
	if (!l->chunks[i / CHUNK])
		l->chunks[i / CHUNK] = obj_new(CHUNK * sizeof(struct slot));
	if (!l->chunks[i / CHUNK])
		return -ENOMEM;
	*slot(l, i) = (struct slot){ .file = (uint16_t)file, .kind = (uint8_t)kind, .owner = owner };
	l->nr++;
	return (int)i;
}

int loop_poll_init(struct loop *l, struct loop_poll *p, int fd,
		   void (*ready)(void *ctx, uint32_t events), void *ctx)
{
	int i = new_slot(l, new_file(l, fd), SLOT_POLL, p);

	if (i < 0)
		return i;
	*p = (struct loop_poll){ .loop = l, .ready = ready, .ctx = ctx, .fd = fd, .slot = i };
	return 0;
}

void loop_poll_arm(struct loop_poll *p, uint32_t events)
{
	struct loop *l = p->loop;
	unsigned i = (unsigned)p->slot;

	if (slot(l, i)->want == events)
		return;
	loop_poll_disarm(p);
	if (!events)
		return;
	slot(l, i)->want = events;
	lring_put_on(l, LIST_DIRTY, i);
}

void loop_poll_disarm(struct loop_poll *p)
{
	struct loop *l = p->loop;
	struct slot *s;

	if (!l)
		return;
	s = slot(l, (unsigned)p->slot);
	s->want = 0;
	s->events = 0;
	lring_give_up(l, (unsigned)p->slot);
}

void loop_poll_fini(struct loop_poll *p)
{
	if (!p->loop)
		return;
	loop_poll_disarm(p);
	/* a hole in the table, in case the seal is still to come */
	p->loop->files[slot(p->loop, (unsigned)p->slot)->file] = -1;
	p->loop = NULL;
}

static int init_io(struct loop *l, struct loop_io *io, int file, void (*done)(void *ctx, int res), void *ctx)
{
	int i = new_slot(l, file, SLOT_IO, io);

	if (i < 0)
		return i;
	*io = (struct loop_io){ .loop = l, .done = done, .ctx = ctx, .slot = i };
	return 0;
}

int loop_io_init(struct loop *l, struct loop_io *io, int fd,
		 void (*done)(void *ctx, int res), void *ctx)
{
	return init_io(l, io, new_file(l, fd), done, ctx);
}

int loop_io_init_like(const struct loop_io *like, struct loop_io *io,
		      void (*done)(void *ctx, int res), void *ctx)
{
	struct loop *l = like->loop;
	struct slot *s = slot(l, (unsigned)like->slot);
	int r;

	l->nr_disks += !s->of_disk; /* what shares a file has places in it */
	s->of_disk = true;
	r = init_io(l, io, s->file, done, ctx);
	if (!r)
		slot(l, (unsigned)io->slot)->elsewhere = s->elsewhere;
	return r;
}

void loop_io_elsewhere(struct loop_io *io)
{
	slot(io->loop, (unsigned)io->slot)->elsewhere = true;
	io->loop->elsewhere = true;
}

int loop_file_init(struct loop *l, struct loop_io *io, int fd, void (*done)(void *ctx, int res), void *ctx)
{
	int r = loop_io_init(l, io, fd, done, ctx);

	l->nr_regular += !r;
	return r;
}

unsigned loop_file_count(const struct loop *l)
{
	return l->nr_regular;
}

int loop_io_init_late(struct loop *l, struct loop_io *io, void (*done)(void *ctx, int res), void *ctx)
{
	int r = init_io(l, io, NO_FILE, done, ctx);

	if (r)
		return r;
	slot(l, (unsigned)io->slot)->fd = -1;
	l->takes_late = true;
	return 0;
}

void loop_may_stick(struct loop *l)
{
	l->nr_stick++;
}

void loop_io_aim(struct loop_io *io, int fd)
{
	slot(io->loop, (unsigned)io->slot)->fd = fd;
}

int loop_msg_init(struct loop *l, struct loop_io *io, int fd, void (*done)(void *ctx, int res), void *ctx)
{
	int r = loop_io_init(l, io, fd, done, ctx);

	if (!r)
		l->sends = true;
	return r;
}

int loop_msg_init_late(struct loop *l, struct loop_io *io, void (*done)(void *ctx, int res), void *ctx)
{
	int r = loop_io_init_late(l, io, done, ctx);

	if (!r)
		l->sends = true;
	return r;
}

/* Starts what @want describes: op, iov, want, off, len, flags. */
static int start_io(struct loop_io *io, const struct slot *want)
{
	struct slot *s = slot(io->loop, (unsigned)io->slot);

	if (io->busy)
		return -EBUSY;
	if (!want->want)
		return -EINVAL;
	io->busy = true;
	s->op = want->op;
	s->iov = want->iov;
	s->off = want->off;
	s->len = want->len;
	s->flags = want->flags;
	s->want = want->want;
	lring_put_on(io->loop, LIST_DIRTY, (unsigned)io->slot);
	return 0;
}

int loop_preadv(struct loop_io *io, const struct iovec *iov, unsigned n, uint64_t off)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_READV, .iov = iov, .want = n, .off = off });
}

int loop_pwritev(struct loop_io *io, const struct iovec *iov, unsigned n, uint64_t off, int flags)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_WRITEV, .iov = iov, .want = n, .off = off, .flags = flags });
}

int loop_readv(struct loop_io *io, const struct iovec *iov, unsigned n)
{
	return loop_preadv(io, iov, n, HERE);
}

int loop_writev(struct loop_io *io, const struct iovec *iov, unsigned n)
{
	return loop_pwritev(io, iov, n, HERE, 0);
}

int loop_sendmsg(struct loop_io *io, const struct msghdr *m)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_SENDMSG, .out = m, .want = 1 });
}

int loop_fdatasync(struct loop_io *io)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_FSYNC, .want = 1 });
}

int loop_fallocate(struct loop_io *io, int mode, uint64_t off, uint64_t len)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_FALLOCATE, .want = 1, .flags = mode, .off = off, .len = len });
}

int loop_accept(struct loop_io *io)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_ACCEPT, .want = 1, .flags = SOCK_CLOEXEC });
}

int loop_recvmsg(struct loop_io *io, struct msghdr *msg, int flags)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_RECVMSG, .want = 1, .msg = msg, .flags = flags });
}

int loop_await_end(struct loop_io *io)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_POLL_ADD, .want = 1 });
}

int loop_shutdown(struct loop_io *io, int how)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_SHUTDOWN, .want = 1, .flags = how });
}

int loop_close(struct loop_io *io)
{
	return start_io(io, &(struct slot){ .op = IORING_OP_CLOSE, .want = 1 });
}

void loop_io_cancel(struct loop_io *io)
{
	struct loop *l = io->loop;
	unsigned i = (unsigned)io->slot;
	bool asked = false;
	struct slot *s;

	if (!io->busy)
		return;
	s = slot(l, i);
	while (s->in_kernel) {
		if (!asked && io_uring_sq_space_left(&l->ring)) {
			lring_submit_cancel(l, i, s->gen);
			asked = true;
		}
		/* the cancel itself completes as well, so there is something to wait for */
		if (lring_enter(l, asked) < 0)
			break;
	}
	/* A ring that failed for good moves no more bytes. */
	if (!s->done) {
		s->done = true;
		s->res = -ECANCELED;
		s->gen += s->in_kernel;
		s->in_kernel = false;
	}
	lring_dispatch_io(l, i);
}

void loop_io_try(struct loop_io *io)
{
	const struct slot *s;

	if (!io->busy)
		return;
	s = slot(io->loop, (unsigned)io->slot);
	/* as often as it takes until its turn comes in the submission queue */
	while (io->busy && !s->in_kernel && !s->done) {
		lring_sync(io->loop);
		if (lring_enter(io->loop, 0) < 0)
			break;
	}
	loop_io_cancel(io);
}

void loop_io_wait(struct loop_io *io, uint64_t deadline_ns)
{
	struct loop *l = io->loop;
	unsigned i = (unsigned)io->slot;

	while (io->busy && !slot(l, i)->done && clock_now_ns() < deadline_ns) {
		/* no more than it takes until its turn comes: others' polls would be put in again and again */
		if (!slot(l, i)->in_kernel)
			lring_sync(l);
		if (lring_enter_a_little(l) < 0)
			loop_io_cancel(io);
	}
	lring_dispatch_io(l, i);
}

int loop_later_init(struct loop *l, struct loop_later *later, void (*run)(void *ctx), void *ctx)
{
	int i = new_slot(l, NO_FILE, SLOT_LATER, later);

	if (i < 0)
		return i;
	*later = (struct loop_later){ .loop = l, .run = run, .ctx = ctx, .slot = i };
	return 0;
}

void loop_later_ask(struct loop_later *later)
{
	lring_put_on(later->loop, LIST_READY, (unsigned)later->slot);
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

	(void)events;
	/* Read first: a call that comes after calls_run() took the list signals again. */
	if (fd_drain(l->wake_fd))
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
	/* the sign of Linux 5.13, from which on a poll may be for more than once */
	return p.features & IORING_FEAT_RSRC_TAGS ? 0 : -EINVAL;
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
	l->chunks[0] = l->first_chunk;
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
	for (unsigned i = 1; i < ARRAY_LEN(l->chunks); i++)
		obj_free(l->chunks[i]);
	obj_free(l);
}

/* By hand, because liburing 2.3 keeps its functions for these two opcodes out of its shared library. */
static int ring_register(struct loop *l, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, l->ring.ring_fd, op, arg, n) < 0 ? -errno : 0;
}

static int restrict_ring(struct loop *l)
{
	const struct { uint8_t op; bool wanted; } ops[] = {
		{ IORING_OP_POLL_ADD, true }, { IORING_OP_ASYNC_CANCEL, true }, { IORING_OP_READV, true }, { IORING_OP_WRITEV, true },
		{ IORING_OP_FSYNC, l->nr_disks }, { IORING_OP_FALLOCATE, l->nr_disks }, { IORING_OP_SENDMSG, l->sends },
		{ IORING_OP_ACCEPT, l->takes_late }, { IORING_OP_RECVMSG, l->takes_late }, { IORING_OP_SHUTDOWN, l->takes_late },
		{ IORING_OP_CLOSE, l->takes_late },
	};
	/* No register opcode is named, so none is left once the ring is enabled: what comes late cannot be registered. */
	struct io_uring_restriction res[ARRAY_LEN(ops) + 2] = {
		[0] = {
			.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
			.sqe_flags = IOSQE_FIXED_FILE | (l->elsewhere || l->takes_late ? IOSQE_ASYNC : 0),
		},
		[1] = {
			.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
			.sqe_flags = l->takes_late ? 0 : IOSQE_FIXED_FILE,
		},
	};
	unsigned n = 2;

	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		if (!ops[i].wanted)
			continue;
		res[n].opcode = IORING_RESTRICTION_SQE_OP;
		res[n++].sqe_op = ops[i].op;
	}
	return ring_register(l, IORING_REGISTER_RESTRICTIONS, res, n);
}

/* What a disk or a file cannot do at once, the kernel does on threads of its own, which are ours by number: a few. */
static int limit_workers(struct loop *l)
{
	unsigned half = (l->nr_disks * LOOP_WORKERS_PER_DISK + l->nr_regular * LOOP_WORKERS_PER_FILE +
			 (l->takes_late ? LOOP_WORKERS_LATE : 0) + l->nr_stick * LOOP_WORKERS_STUCK) / 2;
	unsigned limits[2] = { half, half }; /* for files, and for all else */
	int r;

	if (!half)
		return 0;
	r = ring_register(l, IORING_REGISTER_IOWQ_MAX_WORKERS, limits, ARRAY_LEN(limits));
	return r == -EINVAL ? 0 : r; /* Linux 5.15; before, as many as the kernel wants */
}

int loop_seal(struct loop *l)
{
	int r;

	r = init_ring(l);
	if (r < 0)
		return r;
	r = io_uring_register_files(&l->ring, l->files, l->nr_files);
	if (r < 0)
		return r;
	r = limit_workers(l);
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
	lring_finish_sqe(sqe, 0);
	io_uring_submit_and_wait(&l->ring, 1);
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (!atomic_load_explicit(&l->stopping, memory_order_relaxed)) {
		bool more = lring_sync(l);

		r = lring_enter(l, !more);
		if (r)
			break;
		lring_dispatch(l);
		if (calls_wait_for_us(&l->calls)) {
			calls_run(&l->calls);
			lring_dispatch(l);
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
	{ RIGHT_ALL, SYS_preadv2, RIGHT_FD, FD_EVENT, 0, "what was signalled; a masked signal that is void" },
	{ RIGHT_LOOP, SYS_preadv2, RIGHT_FD, FD_TIMER, 0, "a timer that has expired" },
	{ RIGHT_LOOP, SYS_timerfd_settime, RIGHT_FD, FD_TIMER, 0, "timers" },
	{ 0 },
};
