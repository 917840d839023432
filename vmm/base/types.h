/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * types - the few types and helpers that every module uses
 *
 * What:   gpa_t, powers of two, alignment, array length.
 * Not:    arithmetic on untrusted values (see checked.h).
 * Thread: pure.
 */
#ifndef VMM_BASE_TYPES_H
#define VMM_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A guest physical address ("IPA" in Arm's terms), in bytes. Never a pointer. */
typedef uint64_t gpa_t;

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT32(n) (UINT32_C(1) << (n))
#define BIT64(n) (UINT64_C(1) << (n))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* @align: a power of two. The caller knows that the sum does not wrap. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline bool is_aligned(uint64_t v, uint64_t align)
{
	return !(v & (align - 1));
}

/* The low @len bytes set (@len 1 to 8); 0 for a @len of 0. */
static inline uint64_t width_mask(unsigned len)
{
	return len >= 8 ? UINT64_MAX : (UINT64_C(1) << (len * 8)) - 1;
}

#endif
