/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * values - numbers, sizes, durations and names as users write them
 *
 * What:   strict parsers: the whole text must be the value, and an error names what is allowed.
 * Not:    which option takes what (options.h, devopts.h).
 * Trust:  text from the command line or a configuration file; any bytes.
 * Thread: pure.
 *
 * Each returns 0, or -EINVAL with a sentence in @err that begins with @what ("--cpus"); the
 * result is written on success only.
 */
#ifndef VMM_APP_VALUES_H
#define VMM_APP_VALUES_H

#include "vmm/base/err.h"
#include "vmm/base/types.h"

/* A name and what it stands for; a table of them ends with a NULL name. */
struct choice {
	const char *name;
	int value;
};

/* Decimal, @min to @max. */
int value_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret_n,
		 struct err *err);
/* Bytes: a bare number is MiB; K, M, G, T (either case) are powers of 1024. Not 0. */
int value_size(const char *what, const char *text, uint64_t *ret_bytes, struct err *err);
/* The same, but a bare number is bytes. */
int value_bytes(const char *what, const char *text, uint64_t *ret_bytes, struct err *err);
/* Nanoseconds: a bare number is seconds; ms, s, m, h. Not 0. */
int value_duration(const char *what, const char *text, uint64_t *ret_ns, struct err *err);
int value_duration_or_0(const char *what, const char *text, uint64_t *ret_ns, struct err *err); /* 0 too */
/* Six pairs of hexadecimal digits by colons; a unicast address (IEEE 802 s8.2), not zero. */
int value_mac(const char *what, const char *text, uint8_t ret_mac[6], struct err *err);
/* One of the names in @choices. */
int value_choice(const char *what, const char *text, const struct choice *choices, int *ret_value,
		 struct err *err);

#endif
