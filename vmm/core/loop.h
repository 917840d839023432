/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop - the event loop, on one io_uring
 *
 * What:   readiness (multishot poll), asynchronous read and write, timers, and calls that
 *         other threads hand over.
 * Not:    blocking work. What runs here returns at once; control calls to KVM and vhost are
 *         the one named exception.
 * Trust:  completions carry our own pointers; nothing here is guest-controlled but the
 *         buffers that a device passes.
 * Thread: everything on the loop's thread, but loop_call(), loop_stop() and what says so.
 * Life:   loop_new(); sources are set up (their descriptors go into the ring's table of
 *         registered files); loop_seal() forbids all but a few opcodes and any further
 *         registration; loop_run(). After the seal nothing allocates.
 * Source: io_uring_register(2) (restrictions, files), io_uring_enter(2).
 */
#ifndef VMM_CORE_LOOP_H
#define VMM_CORE_LOOP_H

#include <sys/uio.h>

#include "vmm/base/types.h"

struct loop;

/* -EPERM, -ENOSYS: io_uring is denied or absent; -ENOMEM, -EMFILE. */
int loop_new(struct loop **ret_l);
void loop_free(struct loop *l);
/* Once, after all _init calls and before the guest runs. */
int loop_seal(struct loop *l);
/* Runs callbacks on the calling thread until loop_stop(); 0, or the errno that ended it. */
int loop_run(struct loop *l);
/* Any thread. Waiting and later loop_call()s return -ECANCELED once the loop has ended. */
void loop_stop(struct loop *l);

/* Readiness of a descriptor, level-like: the callback runs again as long as it is ready. */
struct loop_poll {
	struct loop *loop;
	void (*ready)(void *ctx, uint32_t events);
	void *ctx;
	int fd;
	int slot;       /* in the registered table */
	uint32_t events;
	uint32_t gen;   /* tells stale completions from live ones */
	bool armed;
	bool in_flight;
};

/* Before the seal. @fd is borrowed and must outlive the loop. Not armed yet. -ENOSPC: table full. */
int loop_poll_init(struct loop *l, struct loop_poll *p, int fd,
		   void (*ready)(void *ctx, uint32_t events), void *ctx);
/* @events: POLLIN, POLLOUT. Arming what is armed changes the events. */
void loop_poll_arm(struct loop_poll *p, uint32_t events);
/* No callback after return. */
void loop_poll_disarm(struct loop_poll *p);

/* One asynchronous transfer at a time per loop_io. */
struct loop_io {
	struct loop *loop;
	void (*done)(void *ctx, int res); /* bytes or negative errno; -ECANCELED after a cancel */
	void *ctx;
	int slot;
	bool busy;
};

/* Before the seal; @fd borrowed. */
int loop_io_init(struct loop *l, struct loop_io *io, int fd,
		 void (*done)(void *ctx, int res), void *ctx);
/* @iov and the memory behind it stay valid until done() ran. -EBUSY: one is under way. */
int loop_readv(struct loop_io *io, const struct iovec *iov, unsigned n);
int loop_writev(struct loop_io *io, const struct iovec *iov, unsigned n);
/*
 * Cancels and waits for the completion (which is at once for pollable files); done() has run
 * with the result when this returns, and the buffers are free again. Loop thread.
 */
void loop_io_cancel(struct loop_io *io);

/* A timer on CLOCK_MONOTONIC. */
struct loop_timer {
	struct loop_poll poll;
	void (*fired)(void *ctx);
	void *ctx;
	int fd;
};
int loop_timer_init(struct loop *l, struct loop_timer *t, void (*fired)(void *ctx), void *ctx);
void loop_timer_set(struct loop_timer *t, uint64_t delay_ns); /* 0 stops it */
void loop_timer_fini(struct loop_timer *t);

/*
 * Runs @fn(@ctx) on the loop's thread and returns its result; the caller sleeps meanwhile
 * and must hold no lock that the loop takes. On the loop's thread itself, and before
 * loop_run(), it is a plain call. -ECANCELED: the loop has ended and @fn did not run.
 */
int loop_call(struct loop *l, int (*fn)(void *ctx), void *ctx);

#endif
