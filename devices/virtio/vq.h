/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq - a split virtqueue seen from the device
 *
 * What:   registers as the driver set them, and, once started, the ring itself: pop chains,
 *         push used elements, suppress notifications (event index), indirect tables.
 * Not:    packed rings. Transports and what is in the buffers.
 * Trust:  everything in the ring is the guest's and changes under us: each field is read
 *         once. Any violation marks the queue broken; it then yields nothing until reset.
 * Thread: registers under the vdev lock; a started queue belongs to the loop alone.
 * Source: virtio 1.2 s2.6, s2.7.
 */
#ifndef DEVICES_VIRTIO_VQ_H
#define DEVICES_VIRTIO_VQ_H

#include <sys/uio.h>

#include "vmm/core/gmem.h"

#define VQ_MAX_SIZE 1024 /* the largest queue size any of our devices offers */

/* What the driver wrote into the transport's registers. */
struct vq_regs {
	uint16_t size;     /* entries; power of two, <= max */
	uint16_t max;
	bool ready;
	gpa_t desc, avail, used;
};

struct vq {
	const struct gmem *mem;
	uint16_t size;
	uint16_t next_avail;   /* index of the next chain to take */
	uint16_t next_used;
	uint16_t signalled_used; /* next_used when we last asked whether to interrupt */
	bool event_idx;
	bool indirect;
	bool started;
	bool broken;
	gpa_t desc_gpa, avail_gpa, used_gpa;
	void *desc;            /* HVAs, valid while started */
	void *avail;
	void *used;
	uint64_t taken[VQ_MAX_SIZE / 64]; /* bit h: chain h was popped and not pushed yet */
	uint16_t order[VQ_MAX_SIZE];      /* heads in the order of popping, by next_avail; for vq_unpop() */
};

/* A chain taken from the ring: device-readable parts first, then device-writable ones. */
struct vq_chain {
	uint16_t head;
	struct iovec *iov;     /* the caller's array */
	unsigned cap;          /* its length */
	unsigned n_out, n_in;  /* iov[0..n_out) readable, iov[n_out..n_out+n_in) writable */
	uint32_t len_out, len_in; /* bytes */
};

/*
 * Checks size, alignment and that each of the three areas lies in one region, and starts at
 * index 0. -EINVAL: size or alignment (s2.7: 16, 2, 4); -EFAULT: not in guest RAM.
 */
int vq_start(struct vq *q, const struct gmem *mem, const struct vq_regs *r, bool event_idx, bool indirect);
void vq_stop(struct vq *q);

/*
 * 1 and the next chain; 0: none, or not started; -EPROTO: the ring is broken (bad index, a head
 * that is in use, loop, bad address, zero or overflowing length, more parts than @c->cap,
 * readable after writable), now and until reset. At most @size chains are out at a time.
 */
int vq_pop(struct vq *q, struct vq_chain *c);
/* Gives back the last @n popped chains, none of them pushed, as if never taken (receive without a packet). */
void vq_unpop(struct vq *q, unsigned n);
/*
 * Puts a used element for a popped chain; @len: bytes written into the writable part, never
 * more. Nothing happens where the ring is stopped or broken. Not yet visible...
 */
void vq_push(struct vq *q, uint16_t head, uint32_t len);
/* ...until this publishes all that was pushed (release). */
void vq_publish(struct vq *q);
/* After vq_publish(): does the driver want an interrupt for what it published? (s2.7.7, s2.7.10) */
bool vq_wants_irq(struct vq *q);
/* Ask for, or spare us, kicks. vq_enable_kick() returns true if chains came in meanwhile. */
bool vq_enable_kick(struct vq *q);
void vq_disable_kick(struct vq *q);

#endif
