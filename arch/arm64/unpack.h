/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unpack - a compressed part of a file, read as what it holds
 *
 * What:   gzip (zlib's inflate) and zstd, a piece at a time, out of a range of a file.
 * Not:    what the bytes mean (header.h), or where they go (image.h).
 * Trust:  every byte of the range may be hostile. No more is written than there is room for, no more
 *         read than the range has; a window of zstd's is at most 128 MiB, of which only what was
 *         unpacked so far is touched. What follows the end of the first stream is not looked at.
 * Thread: set-up.
 * Source: RFC 1952 (gzip), RFC 8878 (zstd).
 */
#ifndef ARCH_ARM64_UNPACK_H
#define ARCH_ARM64_UNPACK_H

#include "vmm/base/types.h"

enum packing { PACKED_NOT, PACKED_GZIP, PACKED_ZSTD };

struct unpack;

/* "gzip", "zstd"; not for PACKED_NOT. */
const char *unpack_name(enum packing how);
/* Bytes [@off, @off + @len) of @fd, which is borrowed, packed as @how says (not PACKED_NOT). -ENOMEM. */
int unpack_new(enum packing how, int fd, uint64_t off, uint64_t len, struct unpack **ret_u);
/* NULL is fine. */
void unpack_free(struct unpack *u);
/*
 * The next bytes of what was packed: @len, less only where it ends. -ENODATA: the range ends too soon; -EBADMSG: corrupt;
 * -E2BIG: zstd that wants a larger window; -ENOMEM; pread(2)'s errors.
 */
int unpack_read(struct unpack *u, uint8_t *out, uint64_t len, uint64_t *ret_len);

/* As much of [@off, @off + @len) of @fd as there is: less only at the end of the file. pread(2)'s errors. */
int unpack_read_plain(int fd, void *buf, uint64_t len, uint64_t off, uint64_t *ret_len);

#endif
