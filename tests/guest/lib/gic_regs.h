/* SPDX-License-Identifier: BSD-3-Clause */
/* The GIC's registers, by the names of the architecture (IHI 0069, IHI 0048). */
#ifndef TESTS_GUEST_LIB_GIC_REGS_H
#define TESTS_GUEST_LIB_GIC_REGS_H

#include "bare.h"

#define GICD_CTLR 0x000
#define GICD_CTLR_GRP0 BIT(0)
#define GICD_CTLR_GRP1 BIT(1)
#define GICD_CTLR_ARE BIT(4)
#define GICD_CTLR_RWP 0x80000000u
#define GICD_TYPER 0x004
#define GICD_IGROUPR 0x080
#define GICD_ISENABLER 0x100
#define GICD_ICENABLER 0x180
#define GICD_ISPENDR 0x200
#define GICD_ICPENDR 0x280
#define GICD_ISACTIVER 0x300
#define GICD_ICACTIVER 0x380
#define GICD_IPRIORITYR 0x400
#define GICD_ITARGETSR 0x800
#define GICD_ICFGR 0xc00
#define GICD_SGIR 0xf00
#define GICD_IROUTER 0x6000

#define GICR_CTLR 0x000
#define GICR_CTLR_ENABLE_LPIS 1u
#define GICR_TYPER 0x008
#define GICR_TYPER_PLPIS BIT(0)
#define GICR_TYPER_VLPIS BIT(1)
#define GICR_TYPER_LAST BIT(4)
#define GICR_WAKER 0x014
#define GICR_WAKER_SLEEP 2u
#define GICR_WAKER_ASLEEP 4u
#define GICR_PROPBASER 0x070
#define GICR_PENDBASER 0x078
#define GICR_PENDBASER_PTZ BIT(62)
#define GICR_SGI 0x10000 /* the frame of SGIs and PPIs, with the distributor's offsets */

#define GICC_CTLR 0x000
#define GICC_PMR 0x004
#define GICC_IAR 0x00c
#define GICC_EOIR 0x010

#define GITS_CTLR 0x000
#define GITS_TYPER 0x008
#define GITS_CBASER 0x080
#define GITS_CWRITER 0x088
#define GITS_CREADR 0x090
#define GITS_BASER 0x100
#define GITS_TRANSLATER 0x10040
#define GITS_VALID BIT(63) /* of CBASER, BASER, MAPD and MAPC */

/* ITS commands */
enum {
	CMD_MOVI = 0x01, CMD_INT = 0x03, CMD_CLEAR = 0x04, CMD_SYNC = 0x05, CMD_MAPD = 0x08, CMD_MAPC = 0x09,
	CMD_MAPTI = 0x0a, CMD_MAPI = 0x0b, CMD_INV = 0x0c, CMD_INVALL = 0x0d, CMD_MOVALL = 0x0e, CMD_DISCARD = 0x0f,
};

/* Inner shareable, write-back, in CBASER, BASER and PROPBASER alike in bits 11:10 */
#define GIC_TABLE_CACHED (BIT(10) | UINT64_C(7) << 7)

#define LPI_PRIORITY 0xa2 /* bit 1 reads as one */
#define LPI_ENABLED 1

#define V2M_TYPER 0x008
#define V2M_SETSPI 0x040

#endif
