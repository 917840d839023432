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

/* On a VM of fake_kvm_new(): INIT, FAKE_NR_SPIS SPIs, an ITS, started. Aborts where memory is short. */
struct gsi_space *fake_gsi_space(struct hyp *h);

#endif
