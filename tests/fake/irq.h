/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake/irq - a GSI space on the fake KVM, ready to use
 *
 * What:   for tests of what stands above vmm/core/gsi.h, which need interrupts and do not
 *         want to know how they are set up.
 */
#ifndef TESTS_FAKE_IRQ_H
#define TESTS_FAKE_IRQ_H

#include "vmm/core/gsi.h"

#define FAKE_NR_SPIS 64

/* The v2m frame of a space without an ITS. */
#define FAKE_V2M_BASE 0x9080000
#define FAKE_V2M_SPI 32
#define FAKE_V2M_COUNT 16
#define FAKE_SETSPI (FAKE_V2M_BASE + V2M_MSI_SETSPI_NS)
#define FAKE_V2M_INTID (32 + FAKE_V2M_SPI)

/* On a VM of fake_kvm_new(): INIT, FAKE_NR_SPIS SPIs, an ITS, started. Aborts where memory is short. */
struct gsi_space *fake_gsi_space(struct hyp *h);
/* The same with this to take messages. */
struct gsi_space *fake_gsi_space_of(struct hyp *h, enum msi_model model, enum gsi_mode mode);

#endif
