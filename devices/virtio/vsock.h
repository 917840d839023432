/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock - virtio socket device (device id 19) on the kernel's vhost-vsock
 *
 * What:   the guest's sockets to the host: queues for both ways in the kernel, their interrupts by irqfd; the event
 *         queue, on which nothing is ever said.
 * Not:    who listens on the host: any program with AF_VSOCK, by the guest's CID.
 * Trust:  as vdev.h. Packets, credit and the sender's CID are the kernel's to check.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.10; Linux drivers/vhost/vsock.c.
 */
#ifndef DEVICES_VIRTIO_VSOCK_H
#define DEVICES_VIRTIO_VSOCK_H

#include "devices/virtio/vdev.h"
#include "vmm/base/err.h"

/* 0 to 2 are nobody's, the hypervisor's and the host's; the last one stands for any. */
#define VSOCK_CID_MIN 3
#define VSOCK_CID_MAX 0xfffffffeu

struct vsock_cfg {
	const char *name;
	struct loop *loop;
	struct gmem *mem;
	int vhost_fd;   /* of vsock_open(); taken over, also on failure */
	uint32_t cid;
};

/*
 * Opens /dev/vhost-vsock and takes @cid, which is then this process's until it is closed. Errors, with a sentence: -EADDRINUSE;
 * those of open(2).
 */
int vsock_open(const char *name, uint32_t cid, int *ret_fd, struct err *err);
/* Before the loop's seal. Errors, with a sentence: those of vh_init() and vdev_init(). */
int vsock_new(const struct vsock_cfg *cfg, struct vdev **ret_v, struct err *err);

#endif
