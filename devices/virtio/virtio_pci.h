/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_pci - virtio over PCI, 1.x only ("modern"), with MSI-X
 *
 * What:   BAR 0 with common and device structure on its first page, which is read without exits
 *         where the host has 4 KiB pages, ISR and notify structures on pages of their own; BAR 1
 *         with the MSI-X table and pending bits; the PCI_CFG window. One vector a queue and
 *         one for the configuration. Vector sources: queue q is source q, config is source nr_queues.
 * Not:    INTx, legacy registers.
 * Trust:  every access is the guest's.
 * Thread: accesses on vCPU threads; they change bits under the device lock, then hand one
 *         "sync" to the loop, which makes KVM, the doorbells and the device agree.
 * Source: virtio 1.2 s4.1; PCI Local Bus 3.0.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_PCI_H
#define DEVICES_VIRTIO_VIRTIO_PCI_H

#include "devices/virtio/vdev.h"

struct gsi_space;
struct hyp;
struct pci_host;
struct virtio_pci;

struct virtio_pci_cfg {
	struct vdev *vdev;       /* borrowed */
	struct pci_host *host;
	struct hyp *hyp;
	struct gsi_space *space;
	uint16_t rid;
	uint32_t slot;           /* the first of VIRTIO_PCI_SLOTS memory slots; 0: none, reads are exits */
};

#define VIRTIO_PCI_SLOTS 2

/* Before the loop's seal; all of @cfg is borrowed. -ENOMEM, or the errors of msix_new(), pci_dev_add_cap(), pci_host_add(). */
int virtio_pci_new(const struct virtio_pci_cfg *cfg, struct virtio_pci **ret_t);
void virtio_pci_free(struct virtio_pci *t); /* before its vdev and the loop; resets the device; NULL is fine */

#endif
