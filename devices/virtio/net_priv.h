/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_priv - what the files of the network device share
 *
 * What:   the device, the three ways to move its packets (net_vhost.c, net_user.c, net_stream.c), and the limits of the latter
 *         two (net_limit.c).
 * Not:    for anyone but devices/virtio/net*.c.
 * Trust:  what came from a ring is checked by vq.h before it is kept here; the rest is ours.
 * Thread: as vdev.h.
 *
 * Words: a pair (receive queue 2i, transmit queue 2i + 1) is ready when the driver set both
 * queues up, and on while packets flow: pair 0 from DRIVER_OK, the others from
 * VQ_PAIRS_SET. Switching one off and on again keeps its place in the rings.
 */
#ifndef DEVICES_VIRTIO_NET_PRIV_H
#define DEVICES_VIRTIO_NET_PRIV_H

#include <assert.h>

#include "devices/vhost/vhost.h"
#include "devices/virtio/net.h"
#include "vmm/base/bucket.h"

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
	/* The same: what a limit has kept from passing may. */
	void (*resume)(struct net_pair *p, bool transmit);
};

extern const struct net_path net_path_vhost, net_path_user, net_path_stream;

/* For a path that serves the rings itself: starts those of all ready pairs. vq_start()'s errors. */
int net_start_rings(struct net *n);

/* ---- net_limit.c ---- */

enum { NET_RX, NET_TX }; /* to the guest, from it */

/* One way: what passes, and what may. */
struct net_limit {
	struct net *net;
	uint64_t passed, passed_bytes, dropped; /* frames, bytes without our headers, frames; not with vhost */
	struct bucket frames, bytes;
	struct loop_timer again;     /* where one of these has a limit... */
	bool waiting;                /* ...it is set, and nothing passes until then */
	unsigned first;              /* whose turn it is then */
};

/* May a frame pass? Where it may not, the pairs are resumed when it may. */
bool net_may_pass(struct net_limit *l);
/* One has, of @len bytes, without our headers. */
void net_passed(struct net_limit *l, uint32_t len);
/* Before the loop's seal. loop_timer_init()'s errors. */
int net_limits_init(struct net *n, const struct net_cfg *cfg);
/* Nobody waits any more. What has passed is still to be paid for. */
void net_limits_reset(struct net *n);
void net_limits_fini(struct net *n);

/* ---- net_user.c, here for its tests ---- */

#define NET_TX_DEPTH 8
#define NET_RX_MAX_CHAINS NET_QUEUE_SIZE
/* Room for a chain of any length behind what filling stops at, and for the spare byte. */
#define NET_RX_MAX_IOV (2 * NET_QUEUE_SIZE)
#define NET_TX_COPY 30 /* bytes: packet header, Ethernet header, one VLAN tag */

struct net_rx_chain {
	uint16_t head;
	uint16_t parts;
	uint32_t len;   /* bytes */
};

struct net_rx {
	struct loop_io io;
	struct loop_poll poll;      /* where readv does not wait by itself */
	struct net_pair *pair;
	bool waiting;               /* for the poll */
	bool held;                  /* a readv that ends is not followed by another */
	bool dead;                  /* the tap failed */
	unsigned nr_chains, nr_iov; /* the stash */
	uint64_t room;              /* bytes in it */
	struct net_rx_chain chains[NET_RX_MAX_CHAINS];
	struct iovec iov[NET_RX_MAX_IOV + 1];
	uint8_t spare;
};

struct net_tx_slot {
	struct loop_io io;
	struct net_pair *pair;
	bool busy;
	uint16_t head;
	uint32_t len;               /* bytes on their way */
	uint8_t copy[NET_TX_COPY];
	struct iovec iov[1 + NET_QUEUE_SIZE];
};

struct net_user {
	struct net_rx rx;
	struct net_tx_slot tx[NET_TX_DEPTH];
	unsigned tx_depth;          /* slots in use */
	unsigned tx_busy;
	unsigned tx_unflushed;      /* pushed and not yet shown to the driver */
	bool stopping;
};

/* ---- net_stream.c, likewise ---- */

#define NET_STREAM_LEN 4           /* bytes before each frame: its length, big-endian */
#define NET_STREAM_FRAME_MAX 65550 /* bytes: 65,535 of IP, Ethernet, and one more, as passt has it */
#define NET_STREAM_BUFFER (128 * KIB)

static_assert(NET_STREAM_LEN + NET_STREAM_FRAME_MAX < NET_STREAM_BUFFER, "the largest frame fits");

struct net_stream {
	struct net *net;
	const char *peer;           /* what is at the other end: "passt" */
	int fd;                     /* owned */
	struct loop_io rx_io, tx_io;
	struct iovec rx_iov, tx_iov;
	bool down;                  /* for good */
	bool closing;
	bool stalled;               /* the frame at the front waits for buffers */
	bool rx_unflushed, tx_unflushed; /* pushed and not yet shown to the driver */
	size_t rx_at, rx_len;       /* bytes of rx_buf: passed on, and read */
	size_t tx_at, tx_len;       /* bytes of tx_buf: written, and to be written */
	uint16_t heads[NET_QUEUE_SIZE]; /* of the chains that a frame takes */
	uint32_t lens[NET_QUEUE_SIZE];  /* bytes in them */
	unsigned nr_first;
	struct iovec first[NET_QUEUE_SIZE], more[NET_QUEUE_SIZE]; /* parts of the first of them, and of another */
	uint8_t rx_buf[NET_STREAM_BUFFER], tx_buf[NET_STREAM_BUFFER];
};

struct net {
	struct vdev v;
	const struct net_path *path;
	struct tap *tap;             /* owned; NULL with */
	struct net_stream *stream;   /* owned */
	bool link_down;              /* for the driver; under the vdev's lock */
	unsigned pairs;              /* at most, of tap and rings */
	unsigned pairs_on;
	int ctrl;                    /* index of the control queue, -1: none negotiated */
	uint8_t mac[6];
	uint16_t mtu;
	bool have_vdev;
	struct bucket changes;       /* of the interface, for which the host has one lock */
	struct loop_timer again;     /* several pairs: a command waits for its turn */
	struct net_limit limit[2];   /* by NET_RX and NET_TX; not with vhost */
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
