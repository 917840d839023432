/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * container - the VM's IOMMU address space: which groups are in it, and what memory they reach
 *
 * What:   /dev/vfio/vfio with a type 1 IOMMU, the groups of the devices that are handed out, and
 *         the guest's RAM mapped for them at IOVA = GPA. Nothing else is mapped: no BAR, no
 *         memory of ours.
 * Not:    iommufd; what a device then does (hostdev.h, pass.h).
 * Trust:  addresses of devices are the user's; sysfs and the kernel's answers are believed for what
 *         goes into messages, and checked where they decide.
 * Thread: set-up.
 * Source: Linux Documentation/driver-api/vfio.rst, include/uapi/linux/vfio.h.
 */
#ifndef DEVICES_VFIO_CONTAINER_H
#define DEVICES_VFIO_CONTAINER_H

#include "devices/vfio/sysdev.h"
#include "vmm/base/err.h"

#define CONTAINER_MAX_GROUPS 64

struct container;
struct gmem;

/*
 * Brings the group of the device at @address, a form of pciaddr_parse(), into *@c, which is made
 * where it is NULL. The device itself is not opened yet. @id begins the sentences. -ENODEV: no such
 * device, no IOMMU for it, or it is not VFIO's; -EPERM: the group is not viable; -EACCES, -EBUSY
 * (another process has the group), -ENOENT (no VFIO in this kernel), -EOPNOTSUPP.
 */
int container_admit(struct container **c, const char *id, const char *address, struct sysdev *ret_d,
		    struct err *err);
void container_free(struct container *c); /* after its devices; NULL is fine */

/* The descriptors of its groups, for KVM; borrowed. @i below container_nr_groups(). */
unsigned container_nr_groups(const struct container *c);
int container_group_fd(const struct container *c, unsigned i);

/* The descriptor of an admitted device, which is the caller's. The kernel's errors. */
int container_open_device(const struct container *c, const char *id, const char *address, int *ret_fd,
			  struct err *err);
/*
 * Maps all of @mem, once; pins it. -ENOMEM: RLIMIT_MEMLOCK, or memory itself, is too little; -ERANGE:
 * RAM lies where the IOMMU keeps addresses for itself (the doorbell of MSIs).
 */
int container_map(struct container *c, const struct gmem *mem, struct err *err);

/* Addresses that the IOMMU translates: both ends are inside. */
struct iova_range {
	uint64_t start, end;
};

/*
 * Does [@start, @start + @size) lie inside one of @n ranges, which are in order and apart? Else
 * *@ret_bad is its first address that does not. Pure.
 */
bool iova_usable(const struct iova_range *ranges, unsigned n, uint64_t start, uint64_t size, uint64_t *ret_bad);

#endif
