/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * header - the first bytes of a kernel file: an arm64 Image, or what else it is
 *
 * What:   the fields that loading depends on, checked, or a name for what the file is.
 * Not:    loading (image.h).
 * Trust:  every byte may be hostile; nothing is read beyond the length given.
 * Thread: pure.
 * Source: Linux Documentation/arch/arm64/booting.rst; Microsoft PE/COFF s2 (headers), s3
 *         (section table); drivers/firmware/efi/libstub/zboot-header.S.
 */
#ifndef ARCH_ARM64_HEADER_H
#define ARCH_ARM64_HEADER_H

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
/* True for the magic of gzip. */
bool header_is_gzip(const uint8_t *buf, size_t len);

#endif
