/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blk - virtio block device (device id 2) on the event loop's io_uring
 *
 * What:   read, write, flush, discard, write zeroes and get-id, as many at a time as the rings hold; limits of
 *         requests and bytes a second.
 * Not:    opening the file and what it may be (disk.h). A cache: that is the host's.
 * Trust:  headers are copied once and checked; sectors are held against the disk's size in all, so nothing is
 *         written beyond its end. A request that fails has its status, and none but that one.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.2.
 *
 * What survives. A write that was completed is in the host's page cache, and so survives the end of this process,
 * whatever ended it; after a completed flush it is on the medium (fdatasync(2)). A driver that does not know flush
 * gets each write completed on the medium (RWF_DSYNC). With `direct` a write has passed the page cache, and is on the
 * medium after a flush all the same.
 */
#ifndef DEVICES_VIRTIO_BLK_H
#define DEVICES_VIRTIO_BLK_H

#include "devices/virtio/disk.h"
#include "devices/virtio/vdev.h"

#define BLK_MAX_QUEUES 8
#define BLK_ID_SIZE 20 /* bytes, of get-id */

struct blk_cfg {
	const char *name;     /* also what get-id says */
	struct loop *loop;
	struct gmem *mem;
	struct disk disk;     /* taken over, also on failure */
	unsigned queues;      /* 1 to BLK_MAX_QUEUES */
	bool discard;         /* what the guest does not need goes back to the host */
	uint64_t iops, bps;   /* requests and bytes a second; 0: no limit */
};

/* Before the loop's seal; the errors of vdev_init() and loop_io_init(). vdev_free() frees it and closes the disk. */
int blk_new(const struct blk_cfg *cfg, struct vdev **ret_v);

#endif
