/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * its - a VM whose interrupt controller is set up and asked from outside, without a guest
 *
 * What:   one CPU that never runs, memory for tables, GICv3 and ITS by their device attributes;
 *         which interrupts are pending, as KVM would save them.
 * Not:    routes and irqfds: those are what is tested with it.
 * Trust:  everything is the test's own. What fails ends the program with a sentence.
 * Thread: one.
 * Source: Linux virt/kvm/devices/arm-vgic-v3.rst, arm-vgic-its.rst; GICv3 architecture, ITS commands.
 */
#ifndef TESTS_VM_ITS_H
#define TESTS_VM_ITS_H

#include "arch/arm64/gic.h"
#include "arch/arm64/vcpu.h"
#include "vmm/core/kvm.h"

#define ITS_DEVID 8
#define ITS_NR_IRQS 64 /* 32 SPIs */
#define ITS_TRANSLATER (LAYOUT_ITS + 0x10040)

struct its_vm {
	struct hyp *hyp;
	struct vcpu cpu;
	struct gic gic;
	uint8_t *ram;
};

/* Prints "failed: " and the sentence; ends the program with 1. */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Ends the program with 77 and the reason where there is no KVM, or no ITS. */
void its_vm_new(struct its_vm *vm);
void its_vm_free(struct its_vm *vm);
/* Device ITS_DEVID's events 0 to @n - 1 become LPIs of their own. Once. */
void its_map_events(struct its_vm *vm, unsigned n);
/* Is the LPI of @event pending? */
bool its_event_pending(struct its_vm *vm, unsigned event);
void its_make_edge(struct its_vm *vm, unsigned spi);
bool its_spi_pending(struct its_vm *vm, unsigned spi);

#endif
