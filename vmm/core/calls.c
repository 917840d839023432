// SPDX-License-Identifier: BSD-3-Clause
/*
 * A node belongs to its caller, then, once added, to the serving thread, and from `done` on to
 * the caller again, who may return at once: its memory is another's by then. So the successor is
 * read before, and the wake-up after it uses the address alone; one that hits a stranger's word
 * is spurious, which futex users bear anyway.
 */
#include "vmm/core/calls.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void calls_init(struct calls *q)
{
	pthread_mutex_init(&q->lock, NULL);
	q->first = NULL;
	q->end = &q->first;
	q->ended = false;
}

void calls_fini(struct calls *q)
{
	pthread_mutex_destroy(&q->lock);
}

int calls_add(struct calls *q, struct call *c)
{
	int r = -ECANCELED;

	pthread_mutex_lock(&q->lock);
	if (!q->ended) {
		r = !q->first;
		*q->end = c;
		q->end = &c->next;
	}
	pthread_mutex_unlock(&q->lock);
	return r;
}

int calls_wait(struct call *c)
{
	while (!atomic_load_explicit(&c->done, memory_order_acquire))
		syscall(SYS_futex, &c->done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return c->result;
}

static void finish(struct call *c, int result)
{
	c->result = result;
	atomic_store_explicit(&c->done, 1, memory_order_release);
	syscall(SYS_futex, &c->done, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static struct call *take_all(struct calls *q, bool end)
{
	struct call *first;

	pthread_mutex_lock(&q->lock);
	first = q->first;
	q->first = NULL;
	q->end = &q->first;
	q->ended |= end;
	pthread_mutex_unlock(&q->lock);
	return first;
}

void calls_run(struct calls *q)
{
	struct call *c, *next;

	for (c = take_all(q, false); c; c = next) {
		next = c->next;
		finish(c, c->fn(c->ctx));
	}
}

void calls_end(struct calls *q)
{
	struct call *c, *next;

	for (c = take_all(q, true); c; c = next) {
		next = c->next;
		finish(c, -ECANCELED);
	}
}
