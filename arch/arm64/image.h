/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image - the arm64 Linux Image and its place in memory
 *
 * What:   header checks, unpacking (unpack.h), naming of what is not bootable, placement of kernel, initrd
 *         and device tree without overlap.
 * Not:    the device tree itself (fdt.h); the entry state (vcpu.h).
 * Trust:  every byte of the files may be hostile: sizes are checked in subtract form, unpacking
 *         is bounded by guest memory, a file that shrinks under us is a short read, not SIGBUS.
 * Thread: set-up.
 * Source: Linux Documentation/arch/arm64/booting.rst; Documentation/driver-api/early-userspace/
 *         buffer-format.rst (archives begin at a multiple of 4 bytes, zeroes between them).
 */
#ifndef ARCH_ARM64_IMAGE_H
#define ARCH_ARM64_IMAGE_H

#include "vmm/base/err.h"
#include "vmm/core/gmem.h"

/* The translation granules of a kernel or of a CPU, as a mask. */
#define IMAGE_PAGES_4K  1u
#define IMAGE_PAGES_16K 2u
#define IMAGE_PAGES_64K 4u
#define IMAGE_PAGES_ALL 7u

#define BOOT_MAX_INITRDS 8

struct boot_file {
	const char *name; /* for messages */
	int fd;           /* regular file, open for reading; borrowed */
};

struct boot_files {
	struct boot_file kernel;
	struct boot_file initrds[BOOT_MAX_INITRDS]; /* one behind the other in memory, each from a multiple of 4 bytes on */
	unsigned nr_initrds;
};

/* Enough for 512 CPUs and 64 devices (checked by a test of fdt.c). */
#define BOOT_DTB_MAX (128 * KIB)

struct boot_layout {
	gpa_t entry;                        /* where CPU 0 starts */
	gpa_t kernel; uint64_t kernel_size; /* what the kernel claims (image_size), bytes */
	gpa_t initrd; uint64_t initrd_size;
	gpa_t dtb; uint64_t dtb_max;        /* room for the device tree: BOOT_DTB_MAX bytes that no 2 MiB boundary cuts */
};

/* Opens @path for reading: "PATH: cause" for what is missing, a directory, a FIFO, unreadable, empty. @what: "kernel", "initrd". */
int image_open(const char *what, const char *path, int *ret_fd, struct err *err);
/*
 * Loads kernel and initrds into @mem's first region, of which the guest may use the first
 * @ram_size bytes, and decides the places. @page_sizes: what the CPU can do (IMAGE_PAGES_*).
 * -ENOEXEC: not an arm64 Image (says what it is: "an x86 kernel (bzImage)"), truncated, wrong
 * endianness, page size that the CPU lacks; -EFBIG: does not fit into memory; -EIO and others:
 * reading. Whatever the error, no byte outside the region was written.
 */
int boot_load(const struct boot_files *f, struct gmem *mem, uint64_t ram_size, unsigned page_sizes,
	      struct boot_layout *ret_l, struct err *err);

#endif
