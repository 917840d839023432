/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vdev - a virtio device: the status machine, features and queues, whatever the transport
 *
 * What:   what virtio_mmio.c and virtio_pci.c share, and what each device (net, console,
 *         rng, ...) implements.
 * Not:    how registers look (the transports), interrupts (struct vdev_irq, given by them).
 * Trust:  all register values are the guest's. Features outside the offer are refused;
 *         queue registers are frozen from DRIVER_OK to reset; a fault in a queue sets
 *         NEEDS_RESET and the VM runs on.
 * Thread: register functions on any vCPU thread, each takes the lock; activate, reset and
 *         kick on the loop. A register function never calls the loop: it returns what there
 *         is to do, and the transport hands vdev_act() to the loop with no lock held.
 * Source: virtio 1.2 s2.1 (status), s2.2 (features), s3.1 (initialisation).
 */
#ifndef DEVICES_VIRTIO_VDEV_H
#define DEVICES_VIRTIO_VDEV_H

#include <pthread.h>
#include <stdio.h>

#include "devices/virtio/vq.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

#define VDEV_MAX_QUEUES 33 /* 16 receive and transmit pairs and a control queue */

struct vdev;

/* What a device has of its transport: two ways to tell the driver something, and what goes with them. */
struct vdev_irq {
	void (*queue)(void *t, unsigned q);  /* used buffers in queue @q. Any thread. */
	void (*config)(void *t);             /* the configuration changed; also NEEDS_RESET. Any thread. */
	/*
	 * Loop, may be NULL. The device itself changed its configuration or status: for a transport
	 * that keeps a copy. Before the driver is told, if it is.
	 */
	void (*changed)(void *t);
	/*
	 * An eventfd that a back end may signal for used buffers in queue @q, borrowed, good until
	 * the reset after this activation. Loop.
	 */
	int (*call_fd)(void *t, unsigned q, int *ret_fd);
	/*
	 * Loop, within a reset, may be NULL. The device signals no more: doorbells go away, and
	 * whatever it signalled before is forgotten, so that nothing of this life shows in the
	 * next. The driver still reads the old status.
	 */
	void (*reset)(void *t);
};

/* What a device has counted since its start. */
#define VDEV_MAX_COUNTS 6
struct vdev_count {
	const char *name; /* "bytes_read": a key of the result */
	uint64_t n;
};

struct vdev_ops {
	const char *kind; /* "net" */
	/*
	 * Another process serves the queues. It shares the eventfds' flags and counters, so a write may wait: the loop makes none. A
	 * vCPU that makes one waits outside all locks, until it is called out, and is its guest's affair.
	 */
	bool lends_kicks;
	/* "rx0": what dumps call queue @q. Pure; may be NULL: then "q0", "q1", ... */
	void (*queue_name)(unsigned q, unsigned nr_queues, char *buf, size_t cap);
	/*
	 * Loop. DRIVER_OK was set; queues with regs.ready are checked and started (vq_start). <0: NEEDS_RESET.
	 * LOOP_AGAIN: it is too early, and the driver waits in its write. Nothing was done, or `begun` is set: then a
	 * reset that comes in between settles and resets the device as if it were active.
	 */
	int (*activate)(struct vdev *v);
	/*
	 * Loop, may be NULL: all is done at once. Begins nothing new from now on. True: nothing is under way any more.
	 * Else what is under way ends by itself; the reset waits for it, and asks again.
	 */
	bool (*settle)(struct vdev *v);
	/*
	 * Loop. Stops everything: no access to guest memory, no interrupt after return. Also called
	 * where activate failed (at once) and then not again at the driver's reset.
	 */
	void (*reset)(struct vdev *v);
	/*
	 * Loop. The driver kicked queue @q, or may have: once after activate() for each ready queue,
	 * since kicks before DRIVER_OK are lost. Only for queues that vhost_queues leaves to us.
	 */
	void (*kick)(struct vdev *v, unsigned q);
	/* vCPU or loop, under the lock. [@off, @off + @len) lies inside config_len. NULL write: read-only. */
	void (*config_read)(struct vdev *v, unsigned off, void *buf, unsigned len);
	void (*config_write)(struct vdev *v, unsigned off, const void *buf, unsigned len);
	/* Loop or, at the end, nobody else; may be NULL. For dumps and the result: fills in @c and returns how many. */
	unsigned (*counts)(const struct vdev *v, struct vdev_count c[VDEV_MAX_COUNTS]);
	/* Loop, may be NULL. For dumps: lines of its own, beside what it counts. */
	void (*dump)(struct vdev *v, FILE *out);
	/* The last call: releases the device. */
	void (*free)(struct vdev *v);
};

struct vdev_queue {
	struct vq_regs regs;
	struct vq ring;          /* user-space queues only, while active */
	int kick_fd;             /* eventfd, the vdev's; the transport's doorbell signals it */
	struct loop_poll kick_poll;
	struct vdev *vdev;
};

struct vdev {
	const struct vdev_ops *ops;
	char name[16];           /* "net0", or what id= said */
	uint16_t type;           /* virtio device id (1 net, 3 console, 4 rng) */
	unsigned nr_queues;
	unsigned config_len;     /* bytes */
	bool back_end;           /* one outside this process may ask for call eventfds */
	uint64_t offered;        /* features, VERSION_1 among them */
	struct loop *loop;
	struct gmem *mem;
	const struct vdev_irq *irq;
	void *irq_ctx;

	pthread_mutex_t lock;
	/* guest-visible state */
	uint8_t status;
	uint64_t acked;
	uint32_t config_gen;
	bool resetting;          /* 0 was written and the loop has not done it yet */
	bool active;             /* activate() succeeded and no reset since; written on the loop */
	bool begun;              /* activate() sets it where it said LOOP_AGAIN and is under way; the loop's */
	uint64_t vhost_queues;   /* activate() sets bit q: kicks of queue q go to the kernel, not to us */
	struct vdev_queue *queues; /* nr_queues */

	uint64_t faults;         /* guest faults since start */
	uint64_t ready_ns;       /* CLOCK_MONOTONIC of the first DRIVER_OK; 0: there was none. The loop's. */
	struct log_limit log;    /* of lines about them: one device's do not hide another's */
};

struct vdev_cfg {
	const struct vdev_ops *ops;
	const char *name;
	uint16_t type;
	unsigned nr_queues;
	uint16_t queue_size;     /* max, power of two */
	unsigned config_len;
	bool back_end;           /* activate() may call vdev_irq.call_fd */
	uint64_t offered;        /* device bits; the vdev adds VERSION_1, INDIRECT_DESC, EVENT_IDX itself, */
	uint64_t lacks;          /* but for those of the latter two that a back end does not know */
	struct loop *loop;
	struct gmem *mem;
};

/*
 * For devices; before the loop's seal. @v: zeroed memory. Makes the kick eventfds and polls;
 * -EINVAL (too many queues, queue size), -EMFILE, -ENOMEM, -ENOSPC. vdev_fini() undoes it.
 */
int vdev_init(struct vdev *v, const struct vdev_cfg *cfg);
void vdev_fini(struct vdev *v);
/*
 * For the machine, when the vCPUs and the loop have stopped and before loop_free(). Resets the
 * device if it is active, then ops->free. NULL is fine.
 */
void vdev_free(struct vdev *v);

/* For transports. NULL: no interrupts (any more). */
void vdev_set_irq(struct vdev *v, const struct vdev_irq *irq, void *ctx);

enum vdev_todo { VDEV_NOTHING, VDEV_ACTIVATE, VDEV_RESET, VDEV_STOP };

uint8_t vdev_status(struct vdev *v);

/* For dumps: what belongs together, from any thread. */
struct vdev_state {
	uint8_t status;
	uint64_t acked;
	uint64_t faults;
};

struct vdev_state vdev_state(struct vdev *v);
/*
 * Writes device_status. Bits may be added in the order of s3.1.1, or all cleared by 0; a write
 * that would clear some is ignored, and so are bits out of order. FEATURES_OK stays off where
 * the features are not acceptable; after FAILED or NEEDS_RESET only a reset helps.
 */
enum vdev_todo vdev_set_status(struct vdev *v, uint8_t status);
/*
 * Loop (through loop_call): does what vdev_set_status() or vdev_queue_set_ready() asked for.
 * RESET: ops->reset, the transport's reset, then status reads 0. STOP: the same of one with
 * DRIVER_OK, but the status stays, with NEEDS_RESET, and no queue is ready; 1: that was done, and the
 * transport, when it can signal again, tells the driver (s2.1.2). ACTIVATE: ops->activate, kicks; what came in
 * between (a reset, another activation) makes it do nothing. Errors are ops->activate's, and
 * the driver sees NEEDS_RESET. LOOP_AGAIN: not yet, for loop_call().
 */
int vdev_act(struct vdev *v, enum vdev_todo todo);
/* Set-up and end, when nobody can wait: VDEV_RESET, which itself waits for what is under way. */
void vdev_reset_now(struct vdev *v);
uint32_t vdev_features(struct vdev *v, uint32_t sel);                /* offered, 32 bits a selector; 0 beyond 1 */
uint32_t vdev_acked(struct vdev *v, uint32_t sel);
void vdev_ack_features(struct vdev *v, uint32_t sel, uint32_t bits); /* ignored after FEATURES_OK */
/* Copies the registers of queue @q; false, and all zero, if there is no such queue. */
bool vdev_queue(struct vdev *v, unsigned q, struct vq_regs *ret_regs);
/* Ignored from DRIVER_OK to reset, for a queue that is ready or does not exist, and for a size of no use (s2.7). */
void vdev_queue_set_size(struct vdev *v, unsigned q, uint16_t size);
enum vdev_area { VDEV_DESC, VDEV_AVAIL, VDEV_USED };
void vdev_queue_set_addr(struct vdev *v, unsigned q, enum vdev_area area, bool high, uint32_t bits);
/*
 * True is ignored from DRIVER_OK to reset. False then stops the queue (s4.2.2.2), and all the device with it: drivers do so
 * where they take leave of it, and a reset, for which NEEDS_RESET asks, follows.
 */
enum vdev_todo vdev_queue_set_ready(struct vdev *v, unsigned q, bool ready);
/* The eventfd of queue @q, which must exist; borrowed, good until vdev_fini(). */
int vdev_kick_fd(const struct vdev *v, unsigned q);
/* For dumps; @cap bytes at @buf, NUL-terminated. */
void vdev_queue_name(const struct vdev *v, unsigned q, char *buf, size_t cap);
/* As the op; 0 of a device without it. */
unsigned vdev_counts(const struct vdev *v, struct vdev_count c[VDEV_MAX_COUNTS]);
/* A kick that came as an exit rather than through the doorbell. Any thread; an unknown queue is ignored. */
void vdev_notify(struct vdev *v, unsigned q);
/* Any offset and length; beyond config_len reads as 0, writes vanish. Values little-endian. */
uint64_t vdev_config_read(struct vdev *v, uint64_t off, unsigned len);
void vdev_config_write(struct vdev *v, uint64_t off, unsigned len, uint64_t val);
/* Counts vdev_config_changed(): another one means that what was read before may be torn (s2.5.1). Any thread. */
uint32_t vdev_config_gen(struct vdev *v);

/* For devices. */
bool vdev_has(const struct vdev *v, unsigned feature_bit); /* acked */
/* Publishes what was pushed to queue @q and interrupts if the driver wants it. Loop. */
void vdev_queue_flush(struct vdev *v, unsigned q);
/* A guest fault in queue @q (or -1): queue broken, NEEDS_RESET, config interrupt, count, limited log. Loop. */
void vdev_fault(struct vdev *v, int q, const char *why);
/*
 * The back end has ended, and the device with it, by no fault of the guest's: NEEDS_RESET, and a config interrupt where a
 * driver runs. The caller logs. Loop.
 */
void vdev_lost(struct vdev *v);
/*
 * Config space changed (its fields are written under v->lock, which is not held here): bumps
 * the generation, interrupts if DRIVER_OK. Loop.
 */
void vdev_config_changed(struct vdev *v);

#endif
