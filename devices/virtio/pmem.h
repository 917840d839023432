/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmem - virtio persistent memory: an image that the guest reads where the host's page cache has it
 *
 * What:   opens an image read-only, maps it for a memory slot that no guest can write, and serves the
 *         one request that there is, to flush.
 * Not:    the slot and its address (vmm/machine); memory that can be written, and kept.
 * Trust:  the path is the user's; who may change the file changes what the guest reads, and who cuts it off ends the VM,
 *         so disks of ours are kept from it. What is in it is the guest's, and never looked at. The guest's requests are
 *         its own, of any shape.
 * Thread: pmem_open(), pmem_map(), pmem_close(): set-up; the device as vdev.h.
 * Source: virtio 1.2 s5.19; KVM api.rst 4.35 (KVM_MEM_READONLY); mmap(2).
 */
#ifndef DEVICES_VIRTIO_PMEM_H
#define DEVICES_VIRTIO_PMEM_H

#include "devices/virtio/disk.h"
#include "devices/virtio/vdev.h"

#define PMEM_ALIGN (2 * MIB) /* of its address and size in the guest: what Linux maps memory by */

struct pmem_image {
	struct disk file;
	uint64_t size;      /* bytes in the guest: the file's, up to PMEM_ALIGN; zeros behind its end */
	void *hva;          /* of pmem_map() */
	void *base; size_t total; /* the mapping around it */
};

/*
 * As disk_open(), of @path or, where it is NULL, of @fd, read-only, and its errors; -EFBIG: more than can be mapped;
 * -EBADF: @fd is open for writing. Nothing is mapped yet.
 */
int pmem_open(const char *name, const char *path, int fd, struct pmem_image *ret_i, struct err *err);
/* Maps it for @gpa: equal modulo a block of PMEM_ALIGN, for tables of large blocks. mmap(2)'s errors. Once. */
int pmem_map(struct pmem_image *i, gpa_t gpa);
/* A zeroed one whose file.fd is -1 is fine. */
void pmem_close(struct pmem_image *i);

struct pmem_cfg {
	const char *name;   /* "pmem0" */
	struct loop *loop;  /* borrowed, as is @mem */
	struct gmem *mem;
	gpa_t start;        /* where the guest finds it */
	uint64_t size;      /* bytes */
};

/* Before the loop's seal. -ENOMEM, or vdev_init()'s errors. On success @ret_v is freed by vdev_free(). */
int pmem_new(const struct pmem_cfg *cfg, struct vdev **ret_v);

#endif
