/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pass - a PCI device of the host as a function of the guest's bus
 *
 * What:   its configuration space as pcicfg.h shows it, its BARs mapped where the guest puts them
 *         (or reached by us where they cannot be), its interrupts, a reset before and after.
 * Not:    how the device is found and opened, DMA (container.h).
 * Trust:  register accesses are the guest's; what the device answers is the device's. Both stay
 *         inside the regions that the kernel gave us.
 * Thread: register accesses on vCPU threads, with pread(2) and pwrite(2) of the device's descriptor
 *         there; memory slots and interrupts on the loop.
 * Source: Linux Documentation/driver-api/vfio.rst; PCI Local Bus 3.0 s6.
 */
#ifndef DEVICES_VFIO_PASS_H
#define DEVICES_VFIO_PASS_H

#include <stdio.h>

#include "devices/pci/host.h"
#include "vmm/base/err.h"

struct gsi_space;
struct hyp;
struct pass;

#define PASS_BAR_SLICES 4 /* mapped pieces of a BAR; what is more is reached by us */
#define PASS_SLOTS (PCI_NUM_BARS * PASS_BAR_SLICES)

struct pass_cfg {
	int fd;               /* container_open_device()'s; taken in any case */
	const char *name;     /* "vfio0"; borrowed */
	struct loop *loop;    /* before its seal */
	struct hyp *hyp;
	struct gsi_space *space;
	struct pci_host *host;
	uint16_t rid;
	bool msi;             /* the VM can deliver messages */
	uint32_t spi;         /* for its line */
	uint32_t slot;        /* the first of PASS_SLOTS memory slots */
	/* Loop: the host wants the device back, or it broke down: @text says so. The VM should end. */
	void (*lost)(void *ctx, const char *text);
	void *ctx;
};

/*
 * Resets the device, looks at it, and puts it on the bus. -EINVAL, -EIO: it is no endpoint, or does not
 * answer; -EOPNOTSUPP: no interrupt of it can reach the guest; -ENOMEM, -EMFILE; the kernel's errors.
 */
int pass_new(const struct pass_cfg *cfg, struct pass **ret_p, struct err *err);
/* With no vCPU running: silences it, resets it, closes it. NULL is fine. */
void pass_free(struct pass *p);
/* A line for SIGUSR1: kind of interrupts, what of its BARs is mapped. */
void pass_dump(struct pass *p, FILE *out);

#endif
