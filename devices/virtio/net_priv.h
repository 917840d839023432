/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_priv - what the files of the network device share
 *
 * What:   the device, and the two ways to move its packets: net_vhost.c and net_user.c.
 * Not:    for anyone but devices/virtio/net*.c.
 * Thread: as vdev.h.
 *
 * Words: a pair (receive queue 2i, transmit queue 2i + 1) is ready when the driver set both
 * queues up, and on while packets flow: pair 0 from DRIVER_OK, the others from
 * VQ_PAIRS_SET. Switching one off and on again keeps its place in the rings.
 */
#ifndef DEVICES_VIRTIO_NET_PRIV_H
#define DEVICES_VIRTIO_NET_PRIV_H

#include "devices/vhost/vhost.h"
#include "devices/virtio/net.h"

#define NET_QUEUE_SIZE 256 /* entries, also the most parts that a chain may have */
#define NET_HDR_SIZE 12    /* struct virtio_net_hdr_v1, bytes */
/* The largest packet either way (s5.1.6.3.1): 65,535 bytes of IP, Ethernet, header. */
#define NET_MAX_PACKET 65562

struct net;
struct net_user;

struct net_pair {
	struct net *net;
	unsigned index;
	bool ready;
	bool on;
	struct vh_dev vh;            /* net_vhost.c */
	struct loop_poll err_poll;
	struct net_user *user;       /* net_user.c; owned */
};

/* A way to move packets. All on the loop, but init and fini. */
struct net_path {
	/* Set-up, before the loop's seal; -errno and a sentence. fini also after a failed init. */
	int (*init)(struct net *n, const struct net_cfg *cfg, struct err *err);
	void (*fini)(struct net *n);
	/* DRIVER_OK: sets up the rings of all ready pairs. On failure stop follows. */
	int (*start)(struct net *n);
	/* Reset: all pairs off and forgotten. No guest memory is touched after return. */
	void (*stop)(struct net *n);
	int (*pair_on)(struct net_pair *p);
	void (*pair_off)(struct net_pair *p);
	/* NULL where the kernel takes the kicks */
	void (*kick)(struct net_pair *p, bool transmit);
};

extern const struct net_path net_path_vhost, net_path_user;

struct net {
	struct vdev v;
	const struct net_path *path;
	struct tap *tap;             /* owned */
	unsigned pairs;              /* at most, of tap and rings */
	unsigned pairs_on;
	int ctrl;                    /* index of the control queue, -1: none negotiated */
	uint8_t mac[6];
	uint16_t mtu;
	bool have_vdev;
	uint64_t rx_dropped, tx_dropped; /* packets, net_user.c only */
	struct net_pair pair[NET_MAX_PAIRS];
};

static inline unsigned net_rxq(const struct net_pair *p)
{
	return 2 * p->index;
}

static inline unsigned net_txq(const struct net_pair *p)
{
	return 2 * p->index + 1;
}

#endif
