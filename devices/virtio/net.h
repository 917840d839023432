/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net - virtio-net on a tap, its rings in the kernel (vhost-net) or on our loop, or on a stream socket
 *
 * What:   features, configuration space (MAC, status, queue pairs, MTU), the control queue
 *         (queue pairs), offloads of the tap set from what the driver acknowledged, limits.
 * Not:    opening anything: it is given tap and vhost descriptors, or a socket.
 * Trust:  the driver's features and control commands, and every ring, are the guest's; with
 *         vhost the kernel parses the rings.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.1; Linux drivers/vhost/net.c, drivers/net/tun.c.
 */
#ifndef DEVICES_VIRTIO_NET_H
#define DEVICES_VIRTIO_NET_H

#include "devices/vhost/tap.h"
#include "devices/virtio/vdev.h"

#define NET_MAX_PAIRS 16

struct net_cfg {
	const char *name;         /* "net0" */
	struct loop *loop;
	struct gmem *mem;
	struct tap *tap;          /* opened, one descriptor a queue pair; taken over, also on failure. NULL: a stream instead */
	int stream_fd;            /* without a tap: a connected stream socket, blocking; taken over, also on failure */
	const char *peer;         /* of the stream, for messages: "passt" */
	int vhost_fds[NET_MAX_PAIRS]; /* /dev/vhost-net, one a pair, owner not yet set; taken over; all -1: our loop */
	uint8_t mac[6];
	uint16_t mtu;             /* bytes; 0: not offered */
	uint64_t iops, bps;       /* frames, and their bytes, a second, each way; 0: no limit; not with vhost */
};

/* -errno and a sentence in @err. On success @ret_v is freed by vdev_free(). */
int net_new(const struct net_cfg *cfg, struct vdev **ret_v, struct err *err);

#endif
