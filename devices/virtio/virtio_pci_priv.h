/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_pci_priv - what virtio_pci.c and virtio_pci_common.c share; nobody else includes it
 */
#ifndef DEVICES_VIRTIO_VIRTIO_PCI_PRIV_H
#define DEVICES_VIRTIO_VIRTIO_PCI_PRIV_H

#include <stdatomic.h>

#include "devices/pci/dev.h"
#include "devices/pci/msix.h"
#include "devices/virtio/virtio_pci.h"
#include "vmm/core/doorbell.h"

/* The common structure up to queue_device, in bytes: what follows belongs to features not offered. */
#define VPCI_COMMON_LEN 56

struct virtio_pci {
	struct pci_dev dev;
	struct vdev *vdev;
	struct msix *msix;
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

/* The common configuration structure (s4.1.4.3); any offset and width. vCPU thread, no lock held. */
uint64_t vpci_common_read(struct virtio_pci *t, uint64_t off, unsigned len);
void vpci_common_write(struct virtio_pci *t, uint64_t off, unsigned len, uint64_t val);

#endif
