/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pciaddr - addresses of PCI devices, as people write them
 *
 * What:   the form of sysfs and of lspci -D.
 * Not:    whether there is such a device.
 * Trust:  any text.
 * Thread: pure.
 * Source: Linux Documentation/PCI/sysfs-pci.rst.
 */
#ifndef VMM_BASE_PCIADDR_H
#define VMM_BASE_PCIADDR_H

#define PCIADDR_SIZE 20 /* "0000:00:00.0", or a longer domain, and a NUL */

/* "SSSS:BB:DD.F", or "BB:DD.F" in domain 0: the form that sysfs uses; -EINVAL. */
int pciaddr_parse(const char *text, char ret_address[PCIADDR_SIZE]);

#endif
