/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock_uds - virtio socket device (device id 19) by Unix sockets of the host's, without a part in the kernel
 *
 * What:   streams between the guest and programs of the host's, by the convention that Firecracker began. Who connects to our
 *         socket and writes "CONNECT PORT\n" gets "OK PORT\n", with a number that stands for it, when the guest has accepted;
 *         where the guest connects to the host (CID 2), somebody listens at PATH_PORT. Credit both ways, half of a connection
 *         closed at a time. What a guest sent before it closed goes on to its reader as long as that takes some of it every
 *         10 seconds, and for 5 minutes at most.
 * Not:    seqpackets; other CIDs; the names of sockets (vmm/machine/uds.h).
 * Trust:  packets are the guest's: each header is fetched once, checked, and the copy is used. A connection is one of a fixed
 *         number with two fixed buffers; who sends more than its credit is cut off. Clients are any program that may open the
 *         socket: one that does not finish its line, or writes another, is cut off in time.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.10; Firecracker docs/vsock.md (the lines).
 */
#ifndef DEVICES_VIRTIO_VSOCK_UDS_H
#define DEVICES_VIRTIO_VSOCK_UDS_H

#include "devices/virtio/vdev.h"
#include "vmm/base/err.h"

#define VSOCK_UDS_MAX_CONNS 1024 /* connections, at most */
/* Bytes of a connection's two buffers together. They are taken as far as they are used, and not given back. */
#define VSOCK_UDS_BUFFERS (128 * KIB)
/* Descriptors that may be open beside a connection's each: one client more than there is room for, and one on its way. */
#define VSOCK_UDS_MORE_FDS 2

struct vsock_uds_cfg {
	const char *name;
	struct loop *loop;
	struct gmem *mem;
	uint32_t cid;       /* the guest's */
	unsigned max_conns; /* 1 to VSOCK_UDS_MAX_CONNS */
	int listen_fd;      /* blocking; taken over, also on failure */
	int broker_fd;      /* broker_init()'s; likewise */
};

/* Before the loop's seal. Errors, with a sentence: -ENOMEM, vdev_init()'s, loop_io_init()'s. */
int vsock_uds_new(const struct vsock_uds_cfg *cfg, struct vdev **ret_v, struct err *err);

#endif
