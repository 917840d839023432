/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * clock - the one clock that this program measures by
 *
 * What:   a monotonic time in nanoseconds.
 * Not:    dates: only the RTC asks for those.
 * Thread: any.
 * Source: clock_gettime(2).
 */
#ifndef VMM_BASE_CLOCK_H
#define VMM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_SEC UINT64_C(1000000000)

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

#endif
