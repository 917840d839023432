/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * one_timer - what a device with a wire and one timer asks of vmm/core/line.c and loop.c
 *
 * What:   for the one test that includes it: the wire is its level, the timer is what it was set to last, and fires by
 *         one_timer_fire(). loop_call() is a plain call.
 * Thread: one.
 */
#ifndef TESTS_FAKE_ONE_TIMER_H
#define TESTS_FAKE_ONE_TIMER_H

#include <assert.h>
#include <stdint.h>

#include "vmm/core/line.h"
#include "vmm/core/loop.h"

static struct {
	struct loop_timer *t; /* NULL: there is none */
	uint64_t delay_ns;    /* as it was set last; 0: it is not set */
	unsigned sets;
	int init_result; /* of the next loop_timer_init() */
} one_timer;

int loop_timer_init(struct loop *l, struct loop_timer *t, void (*fired_fn)(void *ctx), void *ctx)
{
	(void)l;
	t->fired = fired_fn;
	t->ctx = ctx;
	one_timer.t = t;
	return one_timer.init_result;
}

void loop_timer_set(struct loop_timer *t, uint64_t delay_ns)
{
	assert(t == one_timer.t);
	one_timer.delay_ns = delay_ns;
	one_timer.sets++;
}

void loop_timer_fini(struct loop_timer *t)
{
	assert(!one_timer.t || t == one_timer.t); /* one that was never made is fine */
	one_timer.t = NULL;
}

int loop_call(struct loop *l, int (*fn)(void *ctx), void *ctx)
{
	(void)l;
	return fn(ctx);
}

void line_set(struct line *l, bool level)
{
	l->level = level;
}

static void __attribute__((unused)) one_timer_fire(void)
{
	one_timer.delay_ns = 0;
	one_timer.t->fired(one_timer.t->ctx);
}

/* Of the @left_ns that pass by the clock @clock_ns, those until the timer fires, or all. Did it fire? */
static bool __attribute__((unused)) one_timer_pass(uint64_t *clock_ns, uint64_t *left_ns)
{
	bool fires = one_timer.delay_ns && one_timer.delay_ns <= *left_ns;
	uint64_t ns = fires ? one_timer.delay_ns : *left_ns;

	*clock_ns += ns;
	*left_ns -= ns;
	if (fires)
		one_timer_fire();
	else if (one_timer.delay_ns)
		one_timer.delay_ns -= ns;
	return fires;
}

/* As before a test. */
static void __attribute__((unused)) one_timer_reset(void)
{
	one_timer.delay_ns = one_timer.sets = 0;
	one_timer.init_result = 0;
}

#endif
