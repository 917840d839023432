/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * layout - the guest physical address map and the interrupt numbers, in one place
 *
 * What:   constants; vmm/machine/plan.c hands them out. Nothing else names an address.
 * Not:    which device is where: that follows from the configuration.
 * Source: our choice. Kept free: 0x08000000-0x080fffff, where the host's IOMMU maps the
 *         MSI doorbell for assigned devices.
 *
 *   0x0900_0000  PL011, PL031, PL061, pvpanic, SP805 (64 KiB apart, so that a 64K host page holds one device)
 *   0x0a00_0000  virtio-mmio, 4 KiB apart
 *   0x3000_0000  GIC: distributor, GICv2's CPU interface, ITS, v2m frame (64 KiB apart);
 *                redistributors from 0x3100_0000
 *   0x3f00_0000  PCI configuration (ECAM), one bus
 *   0x4000_0000  PCI memory window, 1 GiB
 *   0x8000_0000  RAM
 *   behind RAM, at 4 GiB or above: PCI memory window for 64-bit BARs of the host's devices, if there are any
 */
#ifndef ARCH_ARM64_LAYOUT_H
#define ARCH_ARM64_LAYOUT_H

#include "vmm/base/types.h"

#define LAYOUT_UART       UINT64_C(0x09000000)
#define LAYOUT_RTC        UINT64_C(0x09010000)
#define LAYOUT_GPIO       UINT64_C(0x09020000)
#define LAYOUT_PVPANIC    UINT64_C(0x09030000)
#define LAYOUT_PVPANIC_SIZE UINT64_C(0x2) /* PVPANIC_SIZE */
#define LAYOUT_WATCHDOG   UINT64_C(0x09040000)
#define LAYOUT_VMMIO      UINT64_C(0x0a000000)
#define LAYOUT_VMMIO_STEP UINT64_C(0x1000)
#define LAYOUT_VMMIO_SIZE UINT64_C(0x200)  /* VIRTIO_MMIO_SIZE */
#define LAYOUT_GICD       UINT64_C(0x30000000)
#define LAYOUT_GICD_SIZE  UINT64_C(0x10000)
#define LAYOUT_GICD_V2_SIZE UINT64_C(0x1000)
#define LAYOUT_GICC       UINT64_C(0x30010000) /* GICv2 alone */
#define LAYOUT_GICC_SIZE  UINT64_C(0x2000)
#define LAYOUT_ITS        UINT64_C(0x30020000)
#define LAYOUT_ITS_SIZE   UINT64_C(0x20000)
#define LAYOUT_V2M        UINT64_C(0x30040000) /* V2M_FRAME_SIZE (gsi.h) */
#define LAYOUT_GICR       UINT64_C(0x31000000)
#define LAYOUT_GICR_STEP  UINT64_C(0x20000) /* a CPU */
#define LAYOUT_ECAM       UINT64_C(0x3f000000)
#define LAYOUT_ECAM_SIZE  UINT64_C(0x100000)
#define LAYOUT_PCI_MEM      UINT64_C(0x40000000)
#define LAYOUT_PCI_MEM_SIZE UINT64_C(0x40000000)
#define LAYOUT_RAM        UINT64_C(0x80000000)
#define LAYOUT_PCI_MEM64_MIN UINT64_C(0x100000000)

#define LAYOUT_MAX_CPUS   512 /* what the redistributor window holds below the ECAM: checked in plan.c */
#define LAYOUT_MAX_CPUS_V2 8  /* a GICv2 knows no more: a byte of targets for each interrupt */

/* SPI numbers (INTID - 32). */
#define LAYOUT_SPI_UART   0
#define LAYOUT_SPI_RTC    1
#define LAYOUT_SPI_GPIO   2
#define LAYOUT_SPI_WATCHDOG 3
#define LAYOUT_SPI_VMMIO  16 /* the first virtio-mmio device; one each, as for the pins of the host's devices */
#define LAYOUT_SPI_V2M    96 /* the first of a v2m frame's; behind all others */

/* The clock of all that has one: PL011, PL061, SP805. Hz. */
#define LAYOUT_CLOCK_HZ   24000000u

/* The pin of the PL061 that is the power button. */
#define LAYOUT_GPIO_POWER 0

/* PPI numbers (INTID - 16), as the arm,armv8-timer binding wants them. */
#define LAYOUT_PPI_TIMER_SECURE 13
#define LAYOUT_PPI_TIMER_PHYS   14
#define LAYOUT_PPI_TIMER_VIRT   11
#define LAYOUT_PPI_TIMER_HYP    10
#define LAYOUT_PPI_PMU          7
#define LAYOUT_PPI_GIC          9

#endif
