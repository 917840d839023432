/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * calls - functions that threads hand to one other thread, and wait for
 *
 * What:   the list behind loop_call(): nodes on the callers' stacks, a lock held for list
 *         operations alone, a futex in each node to sleep on.
 * Not:    waking the thread that serves (loop.c).
 * Trust:  functions and contexts are ours; a context that points to guest values says so.
 * Thread: add and wait any; run and end on the serving thread.
 * Source: futex(2).
 */
#ifndef VMM_CORE_CALLS_H
#define VMM_CORE_CALLS_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "vmm/base/types.h"

/* What a function returns that has to be asked again: its caller sleeps on. No result of a function is the same. */
#define CALL_AGAIN INT_MIN

struct call {
	int (*fn)(void *ctx);
	void *ctx;
	int result;
	struct call *next;
	atomic_uint done;
};

struct calls {
	pthread_mutex_t lock;
	struct call *first, **end;
	bool ended;
	struct call *again;      /* the serving thread's: asked at each run */
};

void calls_init(struct calls *q);
void calls_fini(struct calls *q);

/* 1: the list was empty, so the serving thread must be woken; 0; -ECANCELED: ended. */
int calls_add(struct calls *q, struct call *c);
/* Sleeps until @c, which was added, has run or was cancelled; its result, or -ECANCELED. */
int calls_wait(struct call *c);

/* Runs what is in the list, in order; before that, what wanted to be asked again. */
void calls_run(struct calls *q);
/* Is there something that wants to be asked again? */
bool calls_wait_for_us(const struct calls *q);
/* Cancels what is in the list and refuses all that follows. */
void calls_end(struct calls *q);

#endif
