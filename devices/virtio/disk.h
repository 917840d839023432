/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk - the file or block device of the host's that is a guest's disk
 *
 * What:   opens it, checks that it can be one, locks it against a second writer, and says its size
 *         and alignment.
 * Not:    what the guest asks of it (blk.h).
 * Trust:  the path is the user's. What is in the file is the guest's, and never looked at.
 * Thread: set-up.
 * Source: open(2) (O_DIRECT), fcntl(2) (open file description locks), statx(2), ioctl_list(2) (BLK*).
 */
#ifndef DEVICES_VIRTIO_DISK_H
#define DEVICES_VIRTIO_DISK_H

#include "vmm/base/err.h"
#include "vmm/base/types.h"

#define DISK_ALIGN_MAX 4096 /* bytes; memory that is aligned so does for any disk that is taken */
#define DISK_SECTOR 512 /* bytes; what virtio counts in, whatever the disk has (virtio 1.2 s5.2.4) */

struct disk_cfg {
	const char *name; /* "disk0", for messages */
	const char *path; /* or NULL and */
	int fd;           /* an inherited descriptor, taken over also on failure, but not where the book of descriptors has it */
	bool ro;
	bool direct;      /* past the host's page cache */
};

struct disk {
	int fd;              /* owned */
	bool ro;
	uint64_t dev, ino;   /* which one it is */
	uint64_t sectors;    /* of DISK_SECTOR bytes, at least 1 */
	uint32_t block;      /* bytes: requests must be aligned to and a multiple of it; at least DISK_SECTOR */
	uint32_t align;      /* bytes: with O_DIRECT memory must be aligned to it, and parts a multiple of it; else 1 */
	bool waits;          /* its file system may let who asks wait, whatever is asked for */
	uint32_t best;       /* bytes: what the host writes without reading first; a multiple of block */
};

/*
 * A writable one is locked for this process alone, a read-only one against writers: whoever else keeps to that is
 * refused, or refuses us. QEMU does, but for one: it does not keep our read-only ones from what it writes. Errors, with a sentence: those of open(2); -EISDIR, -EINVAL: it is
 * neither file nor block device, empty, no multiple of sectors, or cannot do @direct, or @fd appends; -EBADF: @fd is
 * not open for what is needed; -EBUSY: locked.
 */
int disk_open(const struct disk_cfg *cfg, struct disk *ret_d, struct err *err);
/* Are they one and the same, and one of them writable? Descriptors of one opening share a lock. */
bool disk_same(const struct disk *a, const struct disk *b);
/* A zeroed @d whose fd is -1 is fine. */
void disk_close(struct disk *d);

#endif
