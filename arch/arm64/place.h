/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * place - where kernel, device tree and initrd go in memory
 *
 * What:   a pure function. The kernel at its offset from the bottom of memory, the device tree
 *         behind it, the initrd behind that: close together, so that they share huge pages.
 * Not:    reading and writing (image.h).
 * Trust:  sizes and offset come from a file: all sums are checked.
 * Thread: pure.
 * Source: Linux Documentation/arch/arm64/booting.rst: the kernel at text_offset from a 2 MiB
 *         boundary; the device tree 8-byte aligned, not across a 2 MiB boundary; the initrd in
 *         one 1 GiB-aligned window of up to 32 GiB together with the kernel.
 */
#ifndef ARCH_ARM64_PLACE_H
#define ARCH_ARM64_PLACE_H

#include "arch/arm64/image.h"

struct place_need {
	gpa_t ram;
	uint64_t ram_size;    /* bytes; ram + ram_size does not wrap */
	uint64_t text_offset; /* these three may be hostile */
	uint64_t kernel_size; /* bytes in memory, at least 1 */
	uint64_t initrd_size; /* 0: none */
};

/* -EFBIG: the kernel does not fit; -E2BIG: the kernel does, but not device tree and initrd with it. */
int place_all(const struct place_need *n, struct boot_layout *ret_l);

#endif
