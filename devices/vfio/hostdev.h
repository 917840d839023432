/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hostdev - the seam between this program and one VFIO device of the host
 *
 * What:   one function an ioctl or transfer, with plain arguments, on a device's descriptor.
 * Not:    how one comes by the descriptor (container.h); what the guest sees (pass.h).
 * Trust:  what the kernel reports of regions is checked against itself; what the device holds in
 *         its registers is the device's, and is never believed here.
 * Thread: any, as the kernel serialises.
 * Source: Linux include/uapi/linux/vfio.h, Documentation/driver-api/vfio.rst.
 *
 * Tests link tests/fake/hostdev.c instead.
 */
#ifndef DEVICES_VFIO_HOSTDEV_H
#define DEVICES_VFIO_HOSTDEV_H

#include "devices/vfio/slices.h"

#include "vmm/base/rights.h"

#define HOSTDEV_MAX_AREAS 8
#define HOSTDEV_MAX_VECTORS 256 /* in one hostdev_set_irqs() */

/* Regions and interrupts of a PCI device, numbered as in vfio.h. */
enum { HOSTDEV_BAR0 = 0, HOSTDEV_CONFIG = 7 };
enum hostdev_irq { HOSTDEV_INTX, HOSTDEV_MSI, HOSTDEV_MSIX, HOSTDEV_ERROR, HOSTDEV_REQUEST };

struct hostdev_region {
	uint64_t size;                          /* bytes; 0: no such region */
	uint64_t offset;                        /* in the descriptor's file */
	bool readable, writable;
	struct slice areas[HOSTDEV_MAX_AREAS];  /* what may be mapped, as the kernel says it */
	unsigned nr_areas;
};

/* 0 and whether the device can be reset by itself; -EINVAL: not a PCI device; the kernel's errors. */
int hostdev_info(int fd, bool *ret_resets);
/* A region that does not exist has size 0. -EINVAL: the kernel's description contradicts itself; -ENOMEM. */
int hostdev_region(int fd, unsigned index, struct hostdev_region *ret_r);
/* Interrupts of kind @irq, 0 where there is none. */
unsigned hostdev_nr_irqs(int fd, enum hostdev_irq irq);

/*
 * Has the kernel signal @fds, eventfds, one an interrupt from the first on; all @n at once, in place
 * of what was there. @n 0: none any more. The eventfds stay the caller's. -ENOSPC: the host has
 * not so many vectors to give; -EBUSY: the line is shared and the device cannot be silenced;
 * -EINVAL: another kind is in use.
 */
int hostdev_set_irqs(int fd, enum hostdev_irq irq, const int *fds, unsigned n);
/*
 * INTx: a signal on eventfd @unmask, which stays the caller's, lets the line interrupt again, until
 * hostdev_set_irqs() with none. -EINVAL: before hostdev_set_irqs(); -EBUSY: there is one already; -ENOMEM.
 */
int hostdev_set_unmask(int fd, int unmask);

/* @len bytes at @off of region @r. -EIO: the device or the kernel does not answer there, or not all of it. */
int hostdev_read(int fd, const struct hostdev_region *r, uint64_t off, void *buf, size_t len);
int hostdev_write(int fd, const struct hostdev_region *r, uint64_t off, const void *buf, size_t len);
/*
 * Maps [@s.off, @s.off + @s.size) of @r. For KVM only: an access of our own may end in SIGBUS. NULL
 * where that cannot be had.
 */
void *hostdev_map(int fd, const struct hostdev_region *r, struct slice s);
void hostdev_unmap(void *p, struct slice s);

/* For a device that hostdev_info() says can be reset. -EAGAIN: busy elsewhere in the kernel; -EINVAL: it cannot be. */
int hostdev_reset(int fd);

/* For the filters of system calls. */
extern const struct right hostdev_rights[];

#endif
