/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_mmio - virtio over MMIO, version 2
 *
 * What:   the register block at one address with one edge SPI.
 * Not:    legacy (version 1), shared memory regions; what a register means to the device (vdev.h).
 * Trust:  every access is the guest's.
 * Thread: accesses on vCPU threads.
 * Source: virtio 1.2 s4.2.
 *
 * InterruptStatus and vhost: the kernel signals used buffers without knowing of the
 * register. VMMIO_HOP: the loop polls the back end's eventfd, sets the bit, then raises the
 * SPI. VMMIO_DIRECT: the eventfd is an irqfd on the SPI, and a read of the register reports
 * "used buffer" whenever the device runs and some queue is driven that way.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_MMIO_H
#define DEVICES_VIRTIO_VIRTIO_MMIO_H

#include "devices/virtio/vdev.h"

struct bus;
struct gsi_space;
struct hyp;
struct virtio_mmio;

#define VIRTIO_MMIO_SIZE 0x200 /* bytes of the window; config space starts at 0x100 */

enum vmmio_irq { VMMIO_HOP, VMMIO_DIRECT };

struct virtio_mmio_cfg {
	struct vdev *vdev;       /* borrowed */
	struct bus *bus;
	struct hyp *hyp;
	struct gsi_space *space;
	gpa_t gpa;
	uint32_t spi;
	enum vmmio_irq irq;
};

/* Before the loop's seal; all of @cfg is borrowed. -ENOMEM, -EMFILE, or the errors of bus_add() and loop_poll_init(). */
int virtio_mmio_new(const struct virtio_mmio_cfg *cfg, struct virtio_mmio **ret_t);
void virtio_mmio_free(struct virtio_mmio *t); /* before its vdev and the loop; resets the device; NULL is fine */

#endif
