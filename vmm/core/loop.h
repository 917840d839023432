/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop - the event loop, on one io_uring
 *
 * What:   readiness (poll), asynchronous transfers, timers, what is done once at a round's end,
 *         and calls that other threads hand over.
 * Not:    blocking work. What runs here returns at once; control calls to KVM and vhost are
 *         the one named exception.
 * Trust:  completions name a slot and a generation of ours; nothing here is guest-controlled
 *         but the buffers that a device passes.
 * Thread: everything on the loop's thread (the one that sealed it), but loop_call(),
 *         loop_stop() and what says so.
 * Life:   loop_new(); sources are set up; loop_seal() makes the ring, with their descriptors as
 *         its registered files, and forbids all but a few opcodes and any further registration;
 *         loop_run(). After the seal nothing allocates. A source may be armed,
 *         and a transfer started, before the seal or loop_run(): it begins then.
 * Source: io_uring_register(2) (restrictions, files), io_uring_enter(2).
 *
 * A callback may arm, disarm, start and cancel anything, its own source included, and may free
 * its own source after disarming it.
 */
#ifndef VMM_CORE_LOOP_H
#define VMM_CORE_LOOP_H

#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "vmm/base/rights.h"
#include "vmm/base/types.h"

/*
 * Descriptors of a loop. The largest machine we mean to carry: eight network devices of 16
 * queue pairs have 8 * (33 kicks + 16 taps, polled and read and written) = 648, and the rest is
 * small. A table of integers, touched as far as it is used.
 */
#define LOOP_MAX_FDS 1024
/* And of its sources: a disk has one for each request that may be under way. */
#define LOOP_MAX_SOURCES 16384
/* Threads of the kernel's that serve transfers which would wait, for each disk. They count as this process's. */
#define LOOP_WORKERS_PER_DISK 4
/* The same for each file of loop_file_init(): one for it, and one that the kernel counts apart. */
#define LOOP_WORKERS_PER_FILE 2
/* The same for late descriptors, whose loop_shutdown() and loop_close() are never done at once; those of loop_may_stick() come to it. */
#define LOOP_WORKERS_LATE 2
#define LOOP_WORKERS_STUCK 2

struct loop;
struct msghdr;

/* -ENOMEM, -EMFILE. */
int loop_new(struct loop **ret_l);
/*
 * After loop_run() returned or without it. Sources may be gone already, if they were disarmed
 * and their transfers ended. Threads in loop_call() get -ECANCELED. NULL is fine.
 */
void loop_free(struct loop *l);
/*
 * Makes the ring. Once, after all _init calls and before the guest runs, on the thread that will
 * call loop_run(). -EPERM, -ENOSYS: io_uring is denied or absent; -EBADF: a descriptor was closed
 * meanwhile; -EINVAL: a kernel too old for restrictions; -ENOMEM, -EMFILE.
 */
int loop_seal(struct loop *l);
/*
 * Runs callbacks on the calling thread until loop_stop(), also an earlier one. 0, or the errno
 * that ended it. Once.
 */
int loop_run(struct loop *l);
/* Any thread, signal handlers too. Waiting and later loop_call()s return -ECANCELED once the loop has ended. */
void loop_stop(struct loop *l);

/*
 * Readiness of a descriptor, level-like: the callback runs again as long as it is ready.
 * @events are those of poll(2); POLLERR, POLLHUP and POLLNVAL come unasked. When nothing but
 * those is left (a hang-up with no data), the callback is told once and the poll is disarmed,
 * so a dead descriptor does not spin.
 */
struct loop_poll {
	struct loop *loop;
	void (*ready)(void *ctx, uint32_t events);
	void *ctx;
	int fd;
	int slot;       /* in the registered table */
	/*
	 * Set after loop_poll_init() by an owner whose callback empties the descriptor each time
	 * by one read (eventfd, timerfd, signalfd): one multishot poll then serves for good, and
	 * each new signal is reported. Otherwise a poll is put in again after each callback.
	 */
	bool drains;
};

/*
 * Before the seal. @fd is borrowed and stays open until the seal; later it may be closed after
 * a disarm, but the ring keeps the file until loop_free(). Not armed yet. -ENOSPC: table full;
 * -EBUSY: sealed.
 */
int loop_poll_init(struct loop *l, struct loop_poll *p, int fd,
		   void (*ready)(void *ctx, uint32_t events), void *ctx);
/* @events: POLLIN, POLLOUT; 0 disarms. Arming what is armed changes the events. */
void loop_poll_arm(struct loop_poll *p, uint32_t events);
/* No callback after return. Idempotent; a zeroed @p is fine. */
void loop_poll_disarm(struct loop_poll *p);

/*
 * Disarms and forgets. Needed only before the seal, where @fd is closed before that; the slot
 * is not handed out again. A zeroed @p is fine.
 */
void loop_poll_fini(struct loop_poll *p);

/* One asynchronous transfer at a time per loop_io. */
struct loop_io {
	struct loop *loop;
	void (*done)(void *ctx, int res); /* bytes or negative errno; -ECANCELED after a cancel */
	void *ctx;
	int slot;
	bool busy;
};

/* Before the seal; @fd borrowed, as for loop_poll_init(), with its errors. */
int loop_io_init(struct loop *l, struct loop_io *io, int fd,
		 void (*done)(void *ctx, int res), void *ctx);
/* Another one on the file of @like, which is a disk's then. -ENOSPC, -EBUSY, -ENOMEM. */
int loop_io_init_like(const struct loop_io *like, struct loop_io *io,
		      void (*done)(void *ctx, int res), void *ctx);
/* For a regular file that is no disk: loop_io_init(), with its errors. What would wait there, the kernel's workers wait for. */
int loop_file_init(struct loop *l, struct loop_io *io, int fd, void (*done)(void *ctx, int res), void *ctx);
/* How many of those there are so far. */
unsigned loop_file_count(const struct loop *l);
/*
 * Before the seal. A transfer of @io, and of those made like it from here on, is made by a thread of the kernel's, and not tried by
 * the loop's first: for files that let who asks wait, whatever they are asked for.
 */
void loop_io_elsewhere(struct loop_io *io);
/*
 * At the file's position, as readv(2) and writev(2). @iov and the memory behind it stay valid
 * until done() ran. Never calls done() itself. -EBUSY: one is under way.
 */
int loop_readv(struct loop_io *io, const struct iovec *iov, unsigned n);
int loop_writev(struct loop_io *io, const struct iovec *iov, unsigned n);
/* The same at byte @off of a file that has places. @flags: RWF_DSYNC or 0. */
int loop_preadv(struct loop_io *io, const struct iovec *iov, unsigned n, uint64_t off);
int loop_pwritev(struct loop_io *io, const struct iovec *iov, unsigned n, uint64_t off, int flags);
/* fdatasync(2), and fallocate(2) of bytes [@off, @off + @len): 0 or a negative errno for done(). -EBUSY. */
int loop_fdatasync(struct loop_io *io);
int loop_fallocate(struct loop_io *io, int mode, uint64_t off, uint64_t len);
/*
 * For a socket to which messages go: loop_io_init(), with its errors. loop_sendmsg() is sendmsg(2), without a signal; @m and
 * all behind it stay valid until done() ran, and so do descriptors in it. On a socket that blocks it waits for room. -EBUSY.
 */
int loop_msg_init(struct loop *l, struct loop_io *io, int fd, void (*done)(void *ctx, int res), void *ctx);
int loop_sendmsg(struct loop_io *io, const struct msghdr *m);
/*
 * Cancels and waits for the completion (which is at once for pollable files, and as late as the disk wills for
 * others); done() has run
 * with the result when this returns, and the buffers are free again; no other callback runs
 * meanwhile. Not busy: nothing happens. Loop thread, also after loop_run().
 */
void loop_io_cancel(struct loop_io *io);
/* What is under way is submitted, and cancelled if it does not end at once: done() has run when this returns. As above. */
void loop_io_try(struct loop_io *io);
/*
 * What is under way is submitted, and waited for until @deadline_ns of clock_now_ns(), some milliseconds more or less: done() has
 * run, or @io is still busy. As above, but that nothing is cancelled.
 */
void loop_io_wait(struct loop_io *io, uint64_t deadline_ns);

/*
 * A transfer on a descriptor that comes only when the guest runs, a connection's. A loop that has one of these takes requests on
 * any descriptor of the process, not on registered ones alone, and four operations more: those below. loop_io_init()'s errors.
 */
int loop_io_init_late(struct loop *l, struct loop_io *io, void (*done)(void *ctx, int res), void *ctx);
/* The same for one that sends messages (loop_sendmsg()). */
int loop_msg_init_late(struct loop *l, struct loop_io *io, void (*done)(void *ctx, int res), void *ctx);
/* Before the seal: one more has late descriptors of somebody's choice, of which one close may never end. It has a worker more for it. */
void loop_may_stick(struct loop *l);
/* @fd, borrowed, is what the following transfers are on. Not while one is under way. */
void loop_io_aim(struct loop_io *io, int fd);
/*
 * On a listening socket, and on a Unix socket over which descriptors come; neither may be O_NONBLOCK. done() is told a
 * connection's new descriptor (O_CLOEXEC), or how many bytes came, as recvmsg(2); @msg and what it points at stay valid until then.
 * Only where there is a late one. -EBUSY.
 */
int loop_accept(struct loop_io *io);
int loop_recvmsg(struct loop_io *io, struct msghdr *msg, int flags);
/*
 * A late one's, a socket: done() is told what poll(2) says of its other end when that ends: POLLHUP, of both ways; POLLRDHUP alone,
 * of the one to here; POLLERR. -EBUSY.
 */
int loop_await_end(struct loop_io *io);
/*
 * A late one's: shutdown(2) (@how: SHUT_*), and close(2), after which it is aimed at nothing. Both are made by threads of the
 * kernel's, and may take as long as the descriptor's maker likes. -EBUSY.
 */
int loop_shutdown(struct loop_io *io, int how);
int loop_close(struct loop_io *io);

/* A timer on CLOCK_MONOTONIC. */
struct loop_timer {
	struct loop_poll poll;
	void (*fired)(void *ctx);
	void *ctx;
	int fd;
};
/* Before the seal. -EMFILE, -ENOMEM, and the errors of loop_poll_init(). */
int loop_timer_init(struct loop *l, struct loop_timer *t, void (*fired)(void *ctx), void *ctx);
/* Fires once, @delay_ns from now; replaces what was set. 0 stops it: no callback after return. */
void loop_timer_set(struct loop_timer *t, uint64_t delay_ns);
/* Before loop_free(). A zeroed @t is fine. */
void loop_timer_fini(struct loop_timer *t);

/* Something to be done once in a round, when all that the round brought has been dispatched. */
struct loop_later {
	struct loop *loop;
	void (*run)(void *ctx);
	void *ctx;
	int slot;
};
/* Before the seal. -ENOSPC, -EBUSY, -ENOMEM. */
int loop_later_init(struct loop *l, struct loop_later *later, void (*run)(void *ctx), void *ctx);
/* In a callback of the loop's: run() follows in this round, once, however often this is asked. */
void loop_later_ask(struct loop_later *later);

/*
 * Runs @fn(@ctx) on the loop's thread and returns its result; the caller sleeps meanwhile
 * and must hold no lock that the loop takes. LOOP_AGAIN: @fn has to wait for something; it is asked
 * again after each round, and every few milliseconds, and its caller sleeps on. On the loop's thread
 * itself, and before the seal, it is a plain call. -ECANCELED: the loop has ended and @fn was not done.
 */
#define LOOP_AGAIN INT_MIN
int loop_call(struct loop *l, int (*fn)(void *ctx), void *ctx);
/* Any thread: would loop_call() be a plain call here? */
bool loop_is_here(const struct loop *l);

/* For the filters of system calls. */
extern const struct right loop_rights[];

#endif
