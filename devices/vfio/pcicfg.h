/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcicfg - the configuration space that the guest sees of a device of the host
 *
 * What:   from 256 bytes as the device has them: what of them the guest reads and writes in the
 *         device, bit by bit, and what is ours (identity, COMMAND, BARs, ROM, interrupts, the chain of
 *         capabilities). MSI, MSI-X, PCI Express and vendor capabilities are shown, others are not.
 * Not:    BARs, whose sizes are not in these bytes; what follows from a write (pass.c).
 * Trust:  the bytes are the device's: each pointer, length and size is checked, loops end.
 * Thread: set-up; const after.
 * Source: PCI Local Bus 3.0 s6.1, s6.7, s6.8; PCI Express Base 5.0 s7.5.
 */
#ifndef DEVICES_VFIO_PCICFG_H
#define DEVICES_VFIO_PCICFG_H

#include "devices/pci/dev.h"
#include "devices/vfio/slices.h"
#include "vmm/base/err.h"

struct pcicfg {
	uint8_t live[PCI_CFG_SIZE];  /* bits that are the device's: read there, written there */
	bool intx;                   /* it has a pin */
	unsigned msix_cap;           /* offsets of capabilities; 0: not there */
	unsigned msi_cap;
	unsigned exp_cap;
	unsigned msix_vectors;       /* as the device has them, 1 to 2048 */
	unsigned msi_vectors;        /* 1 to 32 */
	unsigned msi_len;            /* bytes of that capability */
	bool msi_wide, msi_masks;    /* 64-bit address; per-vector mask */
	unsigned table_bar, pba_bar; /* 0 to 5 */
	struct slice table, pba;     /* bytes in those BARs; may be outside of them */
};

/*
 * Fills *@c and @d's configuration space, but not the BARs. pci_dev_init() is done here, with @ops.
 * @msi: show MSI and MSI-X at all; @max_vectors: of MSI-X, more are not shown. -EINVAL: not an endpoint
 * (a bridge, for instance), or no device that answers.
 */
int pcicfg_init(struct pcicfg *c, const uint8_t raw[PCI_CFG_SIZE], bool msi, unsigned max_vectors,
		struct pci_dev *d, const struct pci_dev_ops *ops, struct err *err);

/* The messages of the MSI capability as it stands in @cfg, which is PCI_CFG_SIZE bytes. */
struct msi_state {
	bool enabled;
	unsigned count;   /* vectors in use, a power of two up to msi_vectors */
	uint64_t address;
	uint16_t data;    /* of vector 0; the low bits of the others' count up */
	uint32_t masks;   /* a bit a vector */
};
struct msi_state pcicfg_msi(const struct pcicfg *c, const uint8_t *cfg);
/* Where the Pending bits of the MSI capability stand; 0: there are none. */
unsigned pcicfg_msi_pending(const struct pcicfg *c);

#endif
