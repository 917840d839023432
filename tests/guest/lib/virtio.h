/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio - drivers' common part: devices of both transports, split rings, interrupts (virtio 1.2)
 *
 * The layers are open on purpose: a case may use vdev_start() and vq_post(), or write rings and registers itself.
 */
#ifndef TESTS_GUEST_LIB_VIRTIO_H
#define TESTS_GUEST_LIB_VIRTIO_H

#include "pci.h"

enum { VIRTIO_NET = 1, VIRTIO_BLK = 2, VIRTIO_CONSOLE = 3, VIRTIO_RNG = 4, VIRTIO_BALLOON = 5, VIRTIO_VSOCK = 19 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64, FAILED = 128 };
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
#define AVAIL_NO_INTERRUPT 1
#define VERSION_1 BIT(32)
#define NO_VECTOR 0xffff

#define VQ_MAX 64        /* entries: rings are made no longer than this */
#define VDEV_MAX_VQS 8
#define VDEV_MAX_VECTORS 8
#define VDEV_MAX 64

struct vq_desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct vq_avail { uint16_t flags, idx, ring[]; };
struct vq_used_elem { uint32_t id, len; };
struct vq_used { uint16_t flags, idx; struct vq_used_elem ring[]; };

struct vq {
	struct vdev *dev;
	unsigned index, size;
	volatile struct vq_desc *desc;
	volatile struct vq_avail *avail;
	volatile struct vq_used *used;
	uint64_t notify;         /* pci: where to write the index */
	uint16_t vector;         /* pci: set before vdev_start() */
	uint16_t next;           /* what avail.idx becomes with the next buffer */
	volatile uint16_t seen;  /* used.idx when the last interrupt came */
	volatile uint32_t irqs;
};

struct vdev_vector {
	struct vdev *dev;
	unsigned nr;
	struct msi msi;          /* intid 0: not connected */
	volatile uint32_t irqs;
};

struct vdev {
	uint32_t id;             /* virtio device type */
	struct pci_dev *pci;     /* NULL: mmio */
	uint64_t regs;           /* mmio: all; pci: the common structure */
	uint64_t notify, isr, config;
	uint32_t notify_multiplier;
	unsigned intid;          /* mmio */
	bool edge;
	struct vq vq[VDEV_MAX_VQS];
	unsigned nr_vqs;
	uint16_t config_vector;
	struct vdev_vector vector[VDEV_MAX_VECTORS];
	volatile uint32_t irqs;  /* mmio: of the one line; all: of any vector */
	volatile uint32_t config_irqs;
};

enum vdev_bus { BUS_ANY, BUS_MMIO, BUS_PCI };

extern struct vdev vdevs[VDEV_MAX];
extern unsigned vdev_count;

/* After irq_init() and pci_init(). */
void vdev_scan(void);
struct vdev *vdev_find(uint32_t id, enum vdev_bus bus, unsigned nth);
const char *vdev_bus_name(const struct vdev *d);

/* Registers, by either transport. */
unsigned vdev_status(const struct vdev *d);
void vdev_set_status(struct vdev *d, unsigned status);
uint64_t vdev_features(struct vdev *d);
void vdev_set_features(struct vdev *d, uint64_t features);
unsigned vdev_queue_max(struct vdev *d, unsigned q);
/* Size, addresses and vector of a made ring, and enables it. False: the device does not take the vector. */
bool vdev_queue_enable(struct vdev *d, struct vq *vq);
uint8_t vdev_config8(const struct vdev *d, unsigned off);

/* Status 0 and the wait for it; queue n has vector n afterwards, or the last there is; configuration changes none. */
bool vdev_reset(struct vdev *d);
/*
 * From after a reset to DRIVER_OK: those of @features that are offered, rings for @queues queues, vectors as they are
 * set, unmasked. False: the device refused something; what, is said as a note.
 */
bool vdev_start(struct vdev *d, uint64_t features, unsigned queues);
/* The handler of a device on mmio: reads and acknowledges its status, looks at the queues. */
void vdev_line_interrupt(void *dev);
/* Messages for vector @v: allocated, written, unmasked. False: there are none. */
bool vdev_connect(struct vdev *d, unsigned v);

void vq_make(struct vdev *d, unsigned q, unsigned size);
/* One buffer in descriptor @slot, in the avail ring; no kick. */
void vq_post(struct vq *vq, unsigned slot, const void *buf, uint32_t len, bool device_writes);
void vq_kick(struct vq *vq);
/* What a handler does: counts, and notes how far the device has got. */
void vq_look(struct vq *vq);
/* Until an interrupt found all buffers used. Polling: until they are used. */
bool vq_wait(struct vq *vq, unsigned ms);
bool vq_wait_used(struct vq *vq, unsigned ms);

/* The network: frames behind a header of NET_HEADER bytes. */
#define NET_HEADER 12
#define NET_FRAME 60
enum { NET_RX = 0, NET_TX = 1 };
/* Fills NET_HEADER + NET_FRAME bytes: an ARP request for the address of option host=, from the one behind it. */
void net_arp(struct vdev *d, uint8_t *packet);

#endif
