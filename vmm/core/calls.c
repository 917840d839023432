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
	q->again = NULL;
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

/* Those that are not finished keep their order, at *@end and on. Returns the end of what is left. */
static struct call **run_all(struct call *first, struct call **end)
{
	struct call *c, *next;
	int r;

	for (c = first; c; c = next) {
		next = c->next;
		r = c->fn(c->ctx);
		if (r != CALL_AGAIN) {
			finish(c, r);
			continue;
		}
		c->next = NULL;
		*end = c;
		end = &c->next;
	}
	return end;
}

void calls_run(struct calls *q)
{
	struct call *again = q->again, **end;

	q->again = NULL;
	end = run_all(again, &q->again);
	run_all(take_all(q, false), end);
}

bool calls_wait_for_us(const struct calls *q)
{
	return q->again;
}

static void cancel_all(struct call *first)
{
	struct call *c, *next;

	for (c = first; c; c = next) {
		next = c->next;
		finish(c, -ECANCELED);
	}
}

void calls_end(struct calls *q)
{
	cancel_all(q->again);
	q->again = NULL;
	cancel_all(take_all(q, true));
}
