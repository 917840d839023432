/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake loop - loop.h without a ring: the test decides what happens, and when
 *
 * What:   polls are recorded and fired by hand, or by a look at the real descriptors; transfers
 *         are recorded and completed by hand, with any result and in any order; timers expire
 *         by hand; loop_call() is a plain call.
 * Thread: one.
 */
#ifndef TESTS_FAKE_LOOP_H
#define TESTS_FAKE_LOOP_H

#include "vmm/core/loop.h"

/* ---- polls ---- */

/* The events that are wanted, 0 where it is not armed. */
uint32_t fake_loop_armed(const struct loop_poll *p);
/* Reports @events. False, and no callback, where it is not armed. Errors without a wanted event disarm, as in the real one. */
bool fake_loop_fire(struct loop_poll *p, uint32_t events);
/* Fires every armed poll on @fd; returns how many. */
unsigned fake_loop_fire_fd(struct loop *l, int fd, uint32_t events);
/* Asks the real descriptors once, without waiting, and fires what is ready, then what was asked for later; returns how many. */
unsigned fake_loop_turn(struct loop *l);

/* ---- transfers ---- */

enum fake_io_op {
	FAKE_IO_NONE, FAKE_IO_READV, FAKE_IO_WRITEV, FAKE_IO_SYNC, FAKE_IO_ALLOCATE,
	FAKE_IO_ACCEPT, FAKE_IO_RECVMSG, FAKE_IO_AWAIT, FAKE_IO_SHUTDOWN, FAKE_IO_CLOSE, FAKE_IO_SENDMSG,
};

/* Where a transfer under way goes: byte @off (UINT64_MAX: the file's position), @len bytes and @mode of an allocation, RWF_*. */
struct fake_io_place {
	uint64_t off, len;
	int mode, flags; /* flags: MSG_*, SHUT_* too */
};

struct fake_io_place fake_loop_place(const struct loop_io *io);
/* The @n-th of those that are under way, by their age as sources; NULL: there are fewer. */
struct loop_io *fake_loop_busy(struct loop *l, unsigned n);
enum fake_io_op fake_loop_io(const struct loop_io *io, const struct iovec **ret_iov, unsigned *ret_n);
/* What a late transfer is aimed at; -1: nothing. */
int fake_loop_aim(const struct loop_io *io);
/* The message of a recvmsg under way; NULL: there is none. */
struct msghdr *fake_loop_msg(const struct loop_io *io);
/*
 * Messages really go to their socket, at once and without waiting; fake_loop_turn() completes them. From now on they do not
 * go, and complete with @error; 0: they go again.
 */
void fake_loop_refuse_messages(struct loop *l, int error);
/*
 * From now on reads, writes and closes are done on their real descriptors as well: each turn those that do not wait. A close that is
 * cancelled closes.
 */
void fake_loop_serve(struct loop *l);
/* done(@res). Nothing is copied. False where nothing is under way. */
bool fake_loop_complete(struct loop_io *io, int res);
/* Completes a readv with @len bytes of @data: what fits is copied into the iovecs, the result is what was copied. */
bool fake_loop_complete_read(struct loop_io *io, const void *data, size_t len);
/* Copies what a writev under way would write into @buf (at most @cap) and returns its whole length; completes nothing. */
size_t fake_loop_peek_write(const struct loop_io *io, void *buf, size_t cap);
/* The next cancel or try of @io ends with @res (a transfer that was just done) rather than -ECANCELED. */
void fake_loop_cancel_result(struct loop_io *io, int res);

/* ---- timers ---- */

/* Nanoseconds it was last set to, 0 where it is stopped. */
uint64_t fake_loop_timer(const struct loop_timer *t);
bool fake_loop_expire(struct loop_timer *t);
/* All that are set; returns how many. */
unsigned fake_loop_expire_all(struct loop *l);
/* What the one that is set soonest was set to; 0: none is. */
uint64_t fake_loop_next_timer(const struct loop *l);

/* ---- the loop itself ---- */

/* The @n-th source from now on (0: the next) cannot be set up: @error. */
void fake_loop_fail_init(struct loop *l, unsigned n, int error);
unsigned fake_loop_calls(const struct loop *l); /* loop_call()s so far */
unsigned fake_loop_sources(const struct loop *l);
bool fake_loop_stopped(const struct loop *l);
/* loop_call() is -ECANCELED from now on. */
void fake_loop_end(struct loop *l);
/* What loop_is_here() says; true at first. loop_call() stays a plain call. */
void fake_loop_set_here(struct loop *l, bool here);

#endif
