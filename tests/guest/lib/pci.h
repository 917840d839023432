/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci - bus 0 of the generic ECAM host that the tree names: functions, their BARs, MSI-X
 */
#ifndef TESTS_GUEST_LIB_PCI_H
#define TESTS_GUEST_LIB_PCI_H

#include "irq.h"

#define PCI_MAX_FUNCTIONS 40 /* that this library looks after */
#define PCI_VENDOR_ID 0x00
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEM 2u
#define PCI_COMMAND_MASTER 4u
#define PCI_BAR0 0x10
#define PCI_CAP_MSIX 0x11
#define PCI_CAP_VENDOR 0x09
#define MSIX_ENABLE 0x8000u
#define MSIX_MASKALL 0x4000u

struct pci_bar {
	uint64_t addr, size; /* size 0: no BAR, or the upper half of the one before */
	bool wide;           /* 64 bits */
};

struct pci_dev {
	uint16_t rid, vendor, device;
	uint64_t cfg;        /* its configuration space */
	uint32_t devid;      /* for messages */
	struct pci_bar bar[6];
	unsigned msix_cap, nr_vectors; /* 0: no MSI-X */
	uint64_t msix_table, msix_pba;
};

extern struct pci_dev pci_devs[PCI_MAX_FUNCTIONS];
extern unsigned pci_count;
extern uint64_t pci_window, pci_window_size; /* for 32-bit BARs */

/* Finds functions, sizes and places all BARs, turns decoding and bus mastering on. False: no host bridge. */
bool pci_init(void);
/* The next capability of kind @id behind @after (0: the first); 0: no more. */
unsigned pci_cap(const struct pci_dev *d, uint8_t id, unsigned after);
/* A free, aligned place in the window; 0: none left. Never given back. */
uint64_t pci_window_take(uint64_t size);
/* Writes BAR @n while decoding is off, and updates @d. */
void pci_bar_move(struct pci_dev *d, unsigned n, uint64_t addr);
/* The raw register or registers, as they are. */
void pci_bar_write(struct pci_dev *d, unsigned n, uint64_t addr);
uint64_t pci_bar_read(const struct pci_dev *d, unsigned n);
void pci_decode(struct pci_dev *d, bool on);

/* Message Control's two bits. */
void msix_control(struct pci_dev *d, unsigned bits);
void msix_write(struct pci_dev *d, unsigned vector, const struct msi *m); /* address and data */
void msix_mask(struct pci_dev *d, unsigned vector, bool masked);
bool msix_pending(const struct pci_dev *d, unsigned vector);

#endif
