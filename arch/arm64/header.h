/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * header - the first bytes of a kernel file: an arm64 Image, or what else it is
 *
 * What:   the fields that loading depends on, checked, how the file is packed, or a name for what it is.
 * Not:    unpacking (unpack.h), loading (image.h).
 * Trust:  every byte may be hostile; nothing is read beyond the length given.
 * Thread: pure.
 * Source: Linux Documentation/arch/arm64/booting.rst; Microsoft PE/COFF s2 (headers), s3
 *         (section table); drivers/firmware/efi/libstub/zboot-header.S.
 */
#ifndef ARCH_ARM64_HEADER_H
#define ARCH_ARM64_HEADER_H

#include "arch/arm64/unpack.h"
#include "vmm/base/err.h"
#include "vmm/base/types.h"

/* What is looked at: the Image header, and the PE section table where there is one. */
#define HEADER_PEEK 4096
#define HEADER_MIN 64

struct image_header {
	uint64_t text_offset; /* bytes from a 2 MiB boundary */
	uint64_t image_size;  /* bytes in memory, BSS included; 0: kernels before 3.17 do not say */
	uint64_t file_size;   /* bytes that the file must have at least; 0: not known */
	bool big_endian;
	unsigned pages;       /* one of IMAGE_PAGES_*, or 0: not said */
};

/* -ENOEXEC: no arm64 Image in the first @len bytes. */
int header_parse(const uint8_t *buf, size_t len, struct image_header *ret_h);
/* What the bytes are instead, to follow "FILE is ": one line, at most @cap bytes with its NUL. */
void header_describe(const uint8_t *buf, size_t len, char *ret_text, size_t cap);

struct image_packing {
	enum packing how;
	uint64_t off, len; /* bytes of the file that are packed; may be past its end */
	bool zboot;        /* within a kernel for EFI that unpacks itself */
};

/* How the kernel in a file of @size bytes is packed, by its first @len bytes. PACKED_NOT: not, or in no way that we know. */
struct image_packing header_packing(const uint8_t *buf, size_t len, uint64_t size);

#endif
