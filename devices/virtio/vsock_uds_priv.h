/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock_uds_priv - what the files of the socket device share
 *
 * What:   a connection, and the functions between its two ends: vsock_uds.c is the guest's side (rings and packets), vsock_conn.c
 *         the host's (descriptors, lines, bytes).
 * Not:    for others, but for tests.
 * Trust:  as vsock_uds.h.
 * Thread: the loop's.
 * Source: virtio 1.2 s5.10.6.
 */
#ifndef DEVICES_VIRTIO_VSOCK_UDS_PRIV_H
#define DEVICES_VIRTIO_VSOCK_UDS_PRIV_H

#include <linux/virtio_vsock.h>

#include "devices/virtio/vsock_uds.h"
#include "vmm/core/broker.h"

#define UDS_QUEUE_SIZE 128
#define UDS_HOST_CID 2
#define UDS_BUFFER (64 * KIB)                /* of each way */
#define UDS_CREDIT (UDS_BUFFER - 256)        /* what the guest may send beyond what went on; our own line fits behind it */
#define UDS_LINE_MAX 32                      /* "CONNECT 4294967295\n" has 19 bytes */
#define UDS_TICK_NS NS_PER_SEC
#define UDS_PATIENCE 6                       /* ticks for a client's line, and then for the guest's answer: 5 s at least */
#define UDS_LINGER 11                        /* for a reader to take some of what a guest that has closed left: 10 s at least */
#define UDS_LINGER_MOST 300                  /* for all of that */
#define UDS_STRAYS 64                        /* answers to packets of no connection that may wait */
#define UDS_FIRST_PORT 0x40000000u           /* numbers that stand for clients: from here to twice as much */
#define UDS_NONE UINT16_MAX

enum uds_state {
	UDS_FREE,
	UDS_LINE,    /* a client that has not said what it wants */
	UDS_ASKED,   /* a client: the guest has not answered yet */
	UDS_ASKING,  /* the guest's: the broker has not answered yet */
	UDS_OPEN,
	UDS_LINGER_ON, /* no longer the guest's; what it sent goes on to the host */
	UDS_CLOSING, /* until all that is under way has ended, and the guest knows */
};

/* Packets without data that a connection owes the guest. */
enum {
	UDS_SEND_REQUEST = 1 << 0, UDS_SEND_RESPONSE = 1 << 1, UDS_SEND_CREDIT = 1 << 2, UDS_SEND_CREDIT_REQUEST = 1 << 3,
	UDS_SEND_RST = 1 << 4,
};

struct uds_conn {
	struct vsock_uds *d;
	uint8_t state;           /* enum uds_state */
	uint8_t owed;            /* UDS_SEND_* */
	bool known;              /* in the table of ports */
	bool waits;              /* in the line for the receive queue */
	uint16_t next_known, next_waiting;
	uint8_t ticks;           /* left; 0: no limit */
	uint16_t linger_left;    /* of UDS_LINGER_MOST, where what is left has ticks */
	int fd;                  /* -1: none */
	uint32_t host_port, guest_port;
	struct loop_io rx, tx, end; /* from the host, to it; shutdown(2) and close(2) */
	struct broker_ask ask;

	/* to the guest */
	uint32_t rx_at, rx_len;  /* what is in rx_buf and not delivered */
	bool is_client;          /* it came by accept() */
	bool host_ended;         /* it sends no more... */
	bool told_end;           /* ...and the guest knows */
	bool asked_credit;       /* and had no answer yet */
	uint32_t sent;           /* bytes, modulo 2^32, as the next three are */
	uint32_t guest_alloc, guest_fwd;
	/* from the guest */
	uint32_t got, fwd;
	uint32_t told_fwd;
	uint8_t guest_shut;      /* VIRTIO_VSOCK_SHUTDOWN_*, all that came */
	uint8_t host_shut;       /* the same: what the host's end was told */
	uint32_t tx_at, tx_len;  /* a ring: where the next byte to be written is, and how many there are */
	uint32_t line_left;      /* of them, ours: they are first */

	uint8_t *rx_buf, *tx_buf; /* UDS_BUFFER each */
	struct iovec rx_iov, tx_iov[2];
};

/* RST for a packet that no connection has: what is in it. */
struct uds_stray {
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct uds_counts {
	uint64_t from_host, from_guest; /* connections that came about */
	uint64_t cut;                   /* clients: garbage, too slow, or the guest did not answer; readers too slow for what was left */
	uint64_t refused;               /* the guest's: nobody at the path, no room */
	uint64_t foreign;               /* packets with another's CID */
	uint64_t strays;                /* packets of no connection, or out of turn */
	uint64_t overdrawn;             /* connections that went beyond their credit */
};

struct vsock_uds {
	struct vdev v;
	bool has_vdev;
	bool on;                 /* a driver is there, and its rings run */
	bool ending;             /* the device goes away */
	uint32_t cid;
	struct broker broker;
	int listen_fd;
	struct loop_io accept_io;
	bool deaf;               /* accept(2) fails for good */
	bool accept_later;       /* at the next tick */
	struct loop_timer timer;
	bool ticking;
	struct loop_later later;
	uint32_t next_port;

	unsigned max, nr, in_use; /* connections: allowed, made (one more, for a client that is on its way), not free */
	unsigned clients;         /* of those in use, the ones that came by accept(): a quarter of `max` is the guest's alone */
	struct uds_conn *conns;
	uint16_t *buckets; unsigned nr_buckets; /* by ports; a power of two */
	uint8_t *buffers; size_t buffers_size;
	uint16_t first_waiting, last_waiting;

	struct uds_stray strays[UDS_STRAYS];
	unsigned first_stray, nr_strays;
	bool tx_held;            /* the transmit queue, until there is room for them */
	bool rx_dry;             /* the receive queue has no buffer, and a kick is asked for */
	struct uds_counts counts;
	struct log_limit log;
	struct iovec iov[UDS_QUEUE_SIZE];
};

/* ---- vsock_uds.c ---- */

/* @c has something for the guest, or may have: it gets its turn at the receive queue. */
void uds_ready(struct uds_conn *c);

/* ---- vsock_conn.c ---- */

/* Into and out of the table of ports. */
void uds_know(struct uds_conn *c);
void uds_forget(struct uds_conn *c);
struct uds_conn *uds_find(struct vsock_uds *d, uint32_t host_port, uint32_t guest_port);
/* Sources and buffers. Before the loop's seal. loop_io_init()'s errors, -ENOMEM. */
int uds_conns_init(struct vsock_uds *d, struct loop *l);
/* Ends all that is under way, with the loop not running any more. */
void uds_conns_fini(struct vsock_uds *d);
/* A free one, in @state; NULL: there is none, or as many as may be are in use. */
struct uds_conn *uds_take(struct vsock_uds *d, enum uds_state state);
/* Takes the next client, if there is room for one. */
void uds_accept(struct vsock_uds *d);
/* Begins reading, as there is room and the guest has not said that it takes no more. */
void uds_read(struct uds_conn *c);
/* The guest has accepted a client. */
void uds_accepted(struct uds_conn *c);
/* The guest wants to be connected to c->host_port. */
void uds_connect(struct uds_conn *c);
/* @n bytes of the guest's, within its credit, from the parts of a chain behind the first @skip. */
void uds_put(struct uds_conn *c, const struct vq_chain *chain, size_t skip, uint32_t n);
/* What the guest's half-closes want done, as far as it may be done now. */
void uds_shut(struct uds_conn *c);
/* The guest's RST. */
void uds_cut(struct uds_conn *c);
/* Ends it; @rst: the guest is to be told. */
void uds_end(struct uds_conn *c, bool rst);
/* A connection that is closing may be over. */
void uds_settle(struct uds_conn *c);
void uds_set_ticks(struct uds_conn *c, unsigned ticks);

static inline uint16_t uds_index(const struct uds_conn *c)
{
	return (uint16_t)(c - c->d->conns);
}

#endif
