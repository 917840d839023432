/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci/host - a generic ECAM host bridge with one bus
 *
 * What:   the configuration window (device << 15 | function << 12 | register), and the
 *         memory windows in which BARs may lie.
 * Not:    bridges and further buses, I/O space; interrupts (msix.h).
 * Trust:  every access is the guest's.
 * Thread: as dev.h; functions are added before the guest runs.
 * Source: PCI Express Base 5.0 s7.2.2 (ECAM); DT binding host-generic-pci.yaml.
 */
#ifndef DEVICES_PCI_HOST_H
#define DEVICES_PCI_HOST_H

#include "devices/pci/dev.h"

struct pci_host_cfg {
	gpa_t ecam;        /* PCI_ECAM_SIZE bytes */
	gpa_t mem_base;    /* window for BARs; bus address = GPA */
	uint64_t mem_size; /* bytes */
	gpa_t mem64_base;  /* another, above 4 GiB, for 64-bit BARs */
	uint64_t mem64_size; /* bytes; 0: none */
};

#define PCI_ECAM_SIZE (1 * MIB)
#define PCI_MAX_FUNCTIONS 256

/* @bus: borrowed. -ENOMEM, or bus_add()'s errors. */
int pci_host_new(struct bus *bus, const struct pci_host_cfg *cfg, struct pci_host **ret_h);
void pci_host_free(struct pci_host *h); /* after its functions; NULL is fine */
/* @rid below 256 (bus 0). Sets the multi-function bit of function 0 where needed. -EEXIST, -EINVAL. */
int pci_host_add(struct pci_host *h, struct pci_dev *d, uint16_t rid);

/*
 * dev.c's side, under the function's lock. Maps @bar at [gpa, gpa + size): -EINVAL outside the
 * windows, -EEXIST on another BAR, -ENOSPC where the bus is full; then it stays unmapped.
 */
int pci_host_map_bar(struct pci_host *h, struct pci_bar *bar, gpa_t gpa);
void pci_host_unmap_bar(struct pci_host *h, struct pci_bar *bar);
/* Where the guest finds the configuration space of function @rid. */
gpa_t pci_host_cfg_gpa(const struct pci_host *h, uint16_t rid);
/* dev.c's side, no lock held: a BAR of @d went away, others may want its place. */
void pci_host_bar_left(struct pci_host *h, struct pci_dev *d);
/* pci_dev_fini()'s: forgets @d. */
void pci_host_del(struct pci_host *h, struct pci_dev *d);

/*
 * The device id that the interrupt translation service sees for function @rid. The one place
 * that knows it: the device tree's msi-map and the routes both ask here.
 */
static inline uint32_t pci_msi_devid(uint16_t rid)
{
	return rid;
}

#endif
