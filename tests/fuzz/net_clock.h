/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_clock - a card's limits by a clock of the fuzzer's
 *
 * What:   net_limit.c once more, whose time passes when the story says so; a limit out of the input, one way; what it allows.
 * Thread: one. Included once in a program, behind net_rig.h.
 */
#ifndef TESTS_FUZZ_NET_CLOCK_H
#define TESTS_FUZZ_NET_CLOCK_H

#include <time.h>

static uint64_t now_ns, begin_ns;

static int fake_time(clockid_t id, struct timespec *ts)
{
	must(id == CLOCK_MONOTONIC);
	*ts = (struct timespec){ .tv_sec = (time_t)(now_ns / 1000000000), .tv_nsec = (long)(now_ns % 1000000000) };
	return 0;
}

#define clock_gettime fake_time
#include "devices/virtio/net_limit.c"
#undef clock_gettime

static struct net_limit *limit;
static uint64_t limit_frames, limit_bytes; /* that have passed */

/*
 * Of a card that was made with limits: one, of way @way, or none. A quarter of all inputs have some, by their first byte, which
 * means something else as well.
 */
static void limit_init(struct net *n, unsigned way, const uint8_t *data, size_t size)
{
	uint8_t how = size ? data[0] >> 4 : 0;
	struct net_limit *l = &n->limit[way], *other = &n->limit[!way];

	limit = l;
	other->frames.per_second = other->bytes.per_second = 0;
	now_ns = begin_ns = 1000000000;
	limit_frames = limit_bytes = 0;
	bucket_init(&l->frames, how >= 12 && how & 1 ? 20 : 0, 20 / 10 + 1);
	bucket_init(&l->bytes, how >= 12 && how & 2 ? 4000 : 0, 4000 / 10 + 1);
}

static bool limit_is_on(void)
{
	return limit->frames.per_second || limit->bytes.per_second;
}

static void limit_passed(uint32_t len)
{
	limit_frames++;
	limit_bytes += len;
}

/* One frame of at most @most bytes may be what made it wait. */
static void limit_look(unsigned frames_more, uint32_t most)
{
	uint64_t ms = (now_ns - begin_ns) / 1000000;

	must(!limit_is_on() || limit->waiting == (fake_loop_timer(&limit->again) != 0));
	must(!limit->waiting || limit_is_on());
	must(!limit->frames.per_second || limit_frames <= 3 + frames_more + 20 * ms / 1000);
	must(!limit->bytes.per_second || limit_bytes <= 401 + frames_more * most + 4 * ms);
}

/* Time passes, and the timer fires, too early as well: then it is set anew. */
static void limit_time(uint64_t ms)
{
	now_ns += ms * 1000000;
	fake_loop_expire(&limit->again);
}

#endif
