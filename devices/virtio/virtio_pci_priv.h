/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_pci_priv - what virtio_pci.c and virtio_pci_common.c share
 *
 * What:   the transport's state, and the functions that cross between the two files.
 * Not:    for anyone else.
 * Trust:  offsets, widths and values are the guest's; a selector may name what does not exist.
 * Thread: vCPU threads, but what is written on the loop, as marked.
 * Source: virtio 1.2 s4.1.4.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_PCI_PRIV_H
#define DEVICES_VIRTIO_VIRTIO_PCI_PRIV_H

#include <stdatomic.h>

#include "devices/pci/dev.h"
#include "devices/pci/msix.h"
#include "devices/virtio/virtio_pci.h"
#include "vmm/core/doorbell.h"
#include "vmm/core/view.h"

/* The common structure up to queue_device, in bytes: what follows belongs to features not offered. */
#define VPCI_COMMON_LEN 56

/* Aligned, for its pages. */
struct virtio_pci {
	struct pci_dev dev;
	uint8_t regs[VIEW_SIZE] __attribute__((aligned(VIEW_SIZE))); /* BAR 0's first page, as the guest reads it */
	pthread_mutex_t regs_lock;     /* its writers'; taken first */
	struct view view;              /* of regs, on the loop */
	_Atomic gpa_t view_at;         /* where it is meant to be; 0: nowhere. Written on the loop. */
	atomic_bool looked_at;         /* the guest has read from that page */
	atomic_bool trapped;           /* its reads are exits from now on */
	struct vdev *vdev;
	struct msix *msix;
	bool checked;                  /* irq_check_on(): a write that changes nothing is looked at all the same */
	atomic_bool windowed;          /* the PCI_CFG window was written to */
	unsigned msix_cap, window_cap; /* offsets in configuration space */
	pthread_mutex_t lock;          /* msix */
	_Atomic uint32_t device_sel, driver_sel;
	_Atomic uint16_t queue_sel;
	_Atomic uint8_t isr;
	_Atomic gpa_t bells_at; /* where the doorbells are meant to be; 0: nowhere. Written on the loop. */
	atomic_bool running;    /* the device was started; written on the loop */
	struct doorbell bells[VDEV_MAX_QUEUES];
};

/* vCPU thread, no lock held: calls the loop if something is to be done there. */
void vpci_settle(struct virtio_pci *t, enum vdev_todo todo);

/* Copies the common structure's registers to @dst, which lies in a view: VPCI_COMMON_LEN bytes. No lock held. */
void vpci_common_show(struct virtio_pci *t, uint8_t *dst);
/* The common configuration structure (s4.1.4.3); any offset and width. vCPU thread, no lock held. */
uint64_t vpci_common_read(struct virtio_pci *t, uint64_t off, unsigned len);
void vpci_common_write(struct virtio_pci *t, uint64_t off, unsigned len, uint64_t val);

#endif
