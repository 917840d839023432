/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * v2m - a GICv2m frame: the register that turns messages into SPIs
 *
 * What:   one page of registers that tells the guest which SPIs messages may use. Devices of
 *         ours do not write to it: their messages go by gsi.h (MSI_BY_SPI). A guest's CPU may,
 *         and gets the SPI that it names.
 * Not:    who sends which message (devices/pci/msix.h).
 * Trust:  every access is the guest's.
 * Thread: accesses on vCPU threads; nothing changes after v2m_add().
 * Source: Arm Server Base System Architecture (DEN0029), appendix on the GICv2m MSI frame; DT
 *         binding arm,gic.yaml (v2m frames).
 */
#ifndef ARCH_ARM64_V2M_H
#define ARCH_ARM64_V2M_H

#include "vmm/base/types.h"

struct bus;
struct hyp;

struct v2m {
	struct hyp *hyp;
	uint32_t spi, count; /* of the frame: SPI numbers, INTID - 32 */
};

/* Puts the frame @f, filled by the caller and borrowed, at @gpa. bus_add()'s errors. */
int v2m_add(struct v2m *f, struct bus *bus, gpa_t gpa);

#endif
