/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bucket - how often something may be done
 *
 * What:   a token bucket: so many at once, so many a second in the long run. What is larger than
 *         the bucket is let through when it is full, and paid for afterwards.
 * Not:    waiting; the caller has a timer.
 * Trust:  amounts may be a guest's: nothing overflows.
 * Thread: the owner's.
 * Source: our choice; the same rule as ATM's generic cell rate algorithm (ITU-T I.371).
 */
#ifndef VMM_BASE_BUCKET_H
#define VMM_BASE_BUCKET_H

#include "vmm/base/types.h"

struct bucket {
	uint64_t per_second; /* tokens; 0: no limit */
	uint64_t burst_ns;   /* what a full bucket holds, in time */
	uint64_t paid_ns;    /* CLOCK_MONOTONIC: up to then the past is paid for */
};

/* @burst: tokens at once, at least 1. Full at first. */
void bucket_init(struct bucket *b, uint64_t per_second, uint64_t burst);
/* Takes @n at the time @now_ns. 0, or the nanoseconds until it is worth asking again, and nothing is taken. */
uint64_t bucket_take(struct bucket *b, uint64_t n, uint64_t now_ns);
/* Takes @n, there or not: what is missing is paid for before the next. bucket_take() of 0 asks whether all is paid. */
void bucket_charge(struct bucket *b, uint64_t n, uint64_t now_ns);

#endif
