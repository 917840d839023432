/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * user_priv - what the files of vhost-user's front end share
 *
 * What:   the greeting as a row of questions (user.c), the way of a question (user_run.c), the connection's end (user_link.c).
 * Not:    for anyone but devices/vhost/user*.c.
 * Trust:  as user.h.
 * Thread: set-up for the greeting; else the loop.
 * Source: QEMU docs/interop/vhost-user.rst.
 */
#ifndef DEVICES_VHOST_USER_PRIV_H
#define DEVICES_VHOST_USER_PRIV_H

#include "devices/vhost/user.h"

/* Makes d->tx_mh of the question in d->out, and room for its answer. */
void vu_prepare(struct vu_dev *d);
/* The greeting's question of d->step, or of the next step that makes sense: 1; 0: there are no more; -ENOTSUP: of no use to us. */
int vu_greet_fill(struct vu_dev *d);
/* Takes the answer to it. -EPROTO: no good. */
int vu_greet_hear(struct vu_dev *d);

/* The bin is empty. */
void vu_go_on(struct vu_dev *d);
/* Sets out on a row of questions. */
void vu_begin(struct vu_dev *d, enum vu_phase phase);
/* Reads what comes next: an answer, or the end. */
void vu_listen(struct vu_dev *d);
/* The transfers' done(). */
void vu_sent(void *ctx, int res);
void vu_received(void *ctx, int res);
/* A switch, if there was one, is over. */
void vu_end_switch(struct vu_dev *d, bool done);
/* Late, or to be done again: what is under way. */
void vu_look_after(struct vu_dev *d);

/* The timer's. */
void vu_tick(void *ctx);
/* Before the seal; loop_io_init_late()'s errors. */
int vu_link_init(struct vu_dev *d, struct loop *loop);
void vu_link_fini(struct vu_dev *d);
/* The connection is over, by @r: -ECONNRESET, -EPROTO, -ETIMEDOUT, whatever sendmsg(2) says. Never where it was over before. */
void vu_drop(struct vu_dev *d, int r);
/* A back end that greets is none for us. @why: a sentence's end, static; @r tells one reason from another. */
void vu_turn_away(struct vu_dev *d, int r, const char *why);
/* It has greeted well. */
void vu_welcome(struct vu_dev *d);
/* Another back end has begun to serve the rings: both sides look at them again. */
void vu_poke(struct vu_dev *d);
void vu_stop_poking(struct vu_dev *d);
/* @fd, ours, is closed soon. -1 is fine. */
void vu_throw_away(struct vu_dev *d, int fd);
/* To the device, as struct vu_ops has it. */
void vu_say_there(struct vu_dev *d, bool yes);
/* What was kept of requests in flight is of no use any more. */
void vu_forget_inflight(struct vu_dev *d);

#endif
