/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sysdev - what sysfs says of a PCI device of the host
 *
 * What:   is it there, which driver has it, which IOMMU group it is in, who else is.
 * Not:    opening or binding anything.
 * Trust:  sysfs is the kernel's; text in it is cut and checked for form.
 * Thread: set-up.
 * Source: Linux Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups.
 */
#ifndef DEVICES_VFIO_SYSDEV_H
#define DEVICES_VFIO_SYSDEV_H

#include <stddef.h>

#include "vmm/base/types.h"

struct sysdev {
	char driver[40]; /* "" where none has it */
	int group;       /* IOMMU group; -1: none */
	uint64_t mem64;  /* bytes of its 64-bit memory BARs, together */
};

/* @sys: "/sys"; @address: as pciaddr_parse() gives it. -ENODEV: no such device. */
int sysdev_lookup(const char *sys, const char *address, struct sysdev *ret_d);
/* Has this host an IOMMU at all? */
bool sysdev_any_iommu(const char *sys);
/* Is @driver one that hands its devices to VFIO? */
bool sysdev_is_vfio(const char *driver);
/*
 * The devices of IOMMU group @group whose drivers keep it from being handed out, as
 * "0000:00:02.0 (virtio-pci), ..."; cut where @cap bytes are too few. "" where there is none.
 */
void sysdev_blockers(const char *sys, int group, char *buf, size_t cap);

#endif
