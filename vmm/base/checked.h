/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checked - range checks on values that a guest or a file controls
 *
 * What:   sums and containment that cannot wrap.
 * Not:    alignment and powers of two (types.h).
 * Trust:  every argument may be hostile.
 * Thread: pure.
 */
#ifndef VMM_BASE_CHECKED_H
#define VMM_BASE_CHECKED_H

#include "vmm/base/types.h"

/* True if [@off, @off + @len) lies within [0, @size); an empty range may sit at the end. */
static inline bool range_fits(uint64_t off, uint64_t len, uint64_t size)
{
	return len <= size && off <= size - len;
}

/* True if [@start, @start + @len) lies within [@base, @base + @size). */
static inline bool range_within(uint64_t start, uint64_t len, uint64_t base, uint64_t size)
{
	return start >= base && range_fits(start - base, len, size);
}

/* True if the two ranges share a byte. Neither sum may exceed 2^64 - 1: callers pass planned windows. */
static inline bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return alen && blen && (a < b ? b - a < alen : a - b < blen);
}

#endif
