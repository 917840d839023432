/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz - what all harnesses share: the input as a stream of small decisions, and must()
 *
 * What:   fuzz_u8() and its like take the next bytes of the input and give zeros behind its end,
 *         so that every input is a whole story; must() ends the process where an oracle is hurt.
 * Not:    the oracles themselves: they are each harness's, and are written at its top.
 * Trust:  none: the input is the fuzzer's.
 * Thread: one.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <string.h>

#include "vmm/base/types.h"

/* For the long loops of an oracle: nothing that the fuzzer should look at, or spend its time on. */
#define UNTRACED __attribute__((noinline, no_sanitize("coverage")))

struct fuzz_in {
	const uint8_t *p;
	size_t left;
};

/* libFuzzer's; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

_Noreturn void fuzz_fail(const char *file, int line, const char *what);

/* As assert(), but always there; the sentence is the condition. */
#define must(cond) ((cond) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #cond))

static inline bool fuzz_more(const struct fuzz_in *in)
{
	return in->left != 0;
}

/* The next @len bytes; zeros behind the end. */
static inline void fuzz_take(struct fuzz_in *in, void *buf, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(buf, 0, len);
	if (n)
		memcpy(buf, in->p, n);
	in->p += n;
	in->left -= n;
}

static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
	uint8_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint32_t fuzz_u32(struct fuzz_in *in)
{
	uint32_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint64_t fuzz_u64(struct fuzz_in *in)
{
	uint64_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

/* 0 to @n - 1, from one byte; @n up to 256. */
static inline unsigned fuzz_below(struct fuzz_in *in, unsigned n)
{
	return fuzz_u8(in) % n;
}

/* 1, 2, 4 or 8; now and then what no access has. */
static inline unsigned fuzz_width(struct fuzz_in *in)
{
	static const uint8_t widths[] = { 4, 4, 4, 4, 1, 1, 2, 2, 2, 8, 8, 4, 4, 3, 0, 16 };

	return widths[fuzz_below(in, sizeof(widths))];
}

/* One of the four widths that reach a device. */
static inline unsigned fuzz_good_width(struct fuzz_in *in)
{
	return 1u << fuzz_below(in, 4);
}

#endif
