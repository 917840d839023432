/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pass_irq - the interrupts of a device that is handed on: INTx, MSI, MSI-X
 *
 * What:   which kind the guest has chosen, the eventfds that the kernel signals, and their way on:
 *         messages by an msix object (a plain MSI capability is one, too, with our entries), the line
 *         by an SPI that is lowered at the guest's end of interrupt.
 * Not:    registers (pass.c), configuration space (pcicfg.h).
 * Trust:  enables, masks, addresses and data are the guest's.
 * Thread: the caller holds the device's lock; pass_irq_sync() on the loop.
 * Source: PCI Local Bus 3.0 s6.8; Linux include/uapi/linux/vfio.h (VFIO_DEVICE_SET_IRQS).
 */
#ifndef DEVICES_VFIO_PASS_IRQ_H
#define DEVICES_VFIO_PASS_IRQ_H

#include "devices/pci/msix.h"
#include "devices/vfio/hostdev.h"
#include "devices/vfio/pcicfg.h"
#include "vmm/core/line.h"

struct loop;

enum pass_kind { PASS_NONE, PASS_INTX, PASS_MSI, PASS_MSIX };

struct pass_irq {
	int fd;               /* the device's; borrowed */
	const char *name;
	struct msix *msix, *msi; /* NULL: it has none */
	struct resample_line line;
	bool has_line;
	unsigned msix_vectors, msi_vectors; /* as the guest sees them */

	/* what the guest's registers ask for */
	bool msix_on, msi_on;
	unsigned msi_count;

	/* what the host's device does */
	enum pass_kind kind;
	unsigned count;
	enum pass_kind failed; /* could not be had; PASS_NONE: nothing failed */
	unsigned failed_count;
};

struct pass_irq_cfg {
	int fd;
	const char *name;            /* borrowed */
	struct gsi_space *space;
	struct loop *loop;           /* before its seal */
	const struct pcicfg *pcicfg;
	uint32_t devid;              /* pci_msi_devid() */
	uint32_t spi;                /* of the line; not used where the device has no pin */
};

/* As after a reset; the host's device is asked for nothing yet. msix_new()'s and resample_line_init()'s errors. */
int pass_irq_init(struct pass_irq *q, const struct pass_irq_cfg *cfg);
/* Silences the host's device, gives everything back. A zeroed @q is fine. */
void pass_irq_fini(struct pass_irq *q);

/* The registers, after each change of them. */
void pass_irq_msix_control(struct pass_irq *q, uint16_t control);
void pass_irq_msi(struct pass_irq *q, struct msi_state s);
void pass_irq_bus_master(struct pass_irq *q, bool on);
/* A reset of the function: nothing enabled, every vector masked and without a message. */
void pass_irq_reset(struct pass_irq *q);
/* Pending bits of the MSI capability. */
uint32_t pass_irq_msi_pending(const struct pass_irq *q);

/* Would pass_irq_sync() have work? */
bool pass_irq_stale(const struct pass_irq *q);
/*
 * Loop: makes KVM and the host's device agree with the registers. A kind that the host cannot give is
 * said once and not tried again until the guest chooses anew; hostdev_set_irqs()'s and msix_sync()'s errors.
 */
int pass_irq_sync(struct pass_irq *q);

#endif
