/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blk_priv - what the files of the block device share
 *
 * What:   the device, and a request from the chain to its status (blk_req.c, pure but for guest memory).
 * Not:    for anyone but devices/virtio/blk*.c and their tests.
 * Trust:  what is kept of a request was copied once and checked.
 * Thread: the loop's.
 * Source: virtio 1.2 s5.2.6.
 */
#ifndef DEVICES_VIRTIO_BLK_PRIV_H
#define DEVICES_VIRTIO_BLK_PRIV_H

#include "devices/virtio/blk.h"
#include "vmm/base/bucket.h"

/* Of one operation in the ring, since what is in the host's cache is copied within the call that submits it. */
#define BLK_OP_MAX (1 * MIB)
#define BLK_QUEUE_SIZE 128 /* entries, also the most parts that a chain may have */

struct blk_queue;

struct blk_req {
	struct loop_io io;
	struct blk_queue *queue;
	struct blk_req *next;    /* where it is free */
	uint16_t head;
	bool unmap;              /* write zeroes: a hole will do */
	bool by_hand;            /* write zeroes: they are written */
	bool sync;               /* done but for being on the medium */
	bool bounced;            /* its parts are not aligned as the disk wants: by way of the disk's own buffer */
	uint8_t again;           /* times that the host wanted to be asked again */
	uint32_t type;           /* VIRTIO_BLK_T_* */
	uint32_t len_in;         /* bytes of the chain that the device may write, the status included */
	uint64_t off;            /* bytes: where the rest of it begins */
	uint64_t left;           /* bytes: the rest */
	uint8_t *status;         /* in guest memory */
	struct iovec *iov;       /* the rest's parts... */
	unsigned n;              /* ...so many */
	unsigned cut_at;         /* the part that an operation takes only the beginning of... */
	size_t cut;              /* ...without so many bytes */
	struct iovec *parts;     /* BLK_QUEUE_SIZE */
};

struct blk_queue {
	struct blk *blk;
	struct blk_req *reqs;    /* BLK_QUEUE_SIZE; NULL: there is no such queue */
	struct iovec (*parts)[BLK_QUEUE_SIZE]; /* theirs */
	struct blk_req *free;
};

struct blk {
	struct vdev v;
	bool has_vdev;
	struct disk disk;
	bool discard;
	bool through;            /* the driver knows no flush: writes go through */
	bool settling;           /* a reset waits: nothing begins, nothing is told */
	unsigned under_way;      /* operations in the ring */
	struct blk_req *slow;    /* the one among them that takes turns, as each would keep a worker: a flush, on a range, bounced... */
	struct blk_req *slow_first, **slow_end; /* ...and those behind it */
	uint32_t to_show;        /* queues with something to show, a bit each */
	struct loop_later show;
	struct loop_timer again; /* with limits... */
	bool waiting;            /* ...it is set, and nothing begins until then */
	unsigned turn;           /* the queue that begins after it */
	struct bucket iops, bps;
	struct loop_io file;     /* stands for the file; makes no transfer */
	uint8_t *bounce;         /* BLK_OP_MAX bytes of the slow request's; where the disk wants memory aligned */
	struct iovec bounce_iov;
	uint64_t requests, errors; /* ended; those of them that failed, by the guest's fault or the host's */
	uint64_t bytes_read, bytes_written;
	struct log_limit log;
	struct blk_queue queue[BLK_MAX_QUEUES];
};

struct blk_limits {
	uint64_t sectors;        /* the disk's */
	bool ro, discard;
	uint32_t max_range;      /* sectors of one discard or write-zeroes */
};

/*
 * Cuts header and status off the chain in @req->parts, which is @c, and fills the request in. False: there is no room
 * for the one or the other, which is a broken driver (s5.2.6.1).
 */
bool blk_req_parse(struct blk_req *req, const struct vq_chain *c);
/* VIRTIO_BLK_S_* where it ends at once, or -1: it may begin. Discard and write-zeroes: copies and checks the range. */
int blk_req_check(struct blk_req *req, const struct blk_limits *l);
/* @done bytes, at least 1 and at most what is left, are through. True: some are left. */
bool blk_req_advance(struct blk_req *req, uint32_t done);
/* At most BLK_OP_MAX bytes from @req->iov on: so many parts, of which the last may be cut. blk_req_advance() undoes that. */
unsigned blk_req_window(struct blk_req *req);
/* Are all parts' addresses multiples of @align, and their lengths of @block, too? Powers of two. */
bool blk_req_is_aligned(const struct blk_req *req, uint32_t align, uint32_t block);
/* Copies the next @len bytes, at most what is left, of its parts to @buf, or, of a read, from it. blk_req_advance() passes them. */
void blk_req_copy(struct blk_req *req, uint8_t *buf, size_t len);
/* Makes @req->iov zeros, as many as are left and fit into an operation. */
void blk_req_zeros(struct blk_req *req);
/* Get-id: @id and zeros. The status. */
uint8_t blk_req_put_id(struct blk_req *req, const char *id);
/* Ended with @status: bytes that were written in a row from the chain's first writable one on (s2.7.8.2). */
uint32_t blk_req_written(const struct blk_req *req, uint8_t status);
/* "read", for lines of the log. */
const char *blk_req_name(const struct blk_req *req);

#endif
