/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pvpanic - the guest's kernel says that it panicked
 *
 * What:   one byte: a read tells which events may be reported, a write reports them. A crash kernel that
 *         was loaded instead, and will do what a panic asks for, is counted.
 * Not:    what a panic means for the VM; the event "shut down", which power-off tells better.
 * Trust:  every access is the guest's. It may report as often as it likes.
 * Thread: accesses on vCPU threads.
 * Source: QEMU docs/specs/pvpanic.rst; Linux Documentation/devicetree/bindings/misc/pvpanic-mmio.txt.
 */
#ifndef DEVICES_PANIC_PVPANIC_H
#define DEVICES_PANIC_PVPANIC_H

#include "vmm/core/bus.h"

struct pvpanic;

#define PVPANIC_SIZE 0x2 /* bytes, as the binding says */

/* @panicked: called on a vCPU thread at each report, with no lock held; short. -ENOMEM, or bus_add()'s errors. */
int pvpanic_new(struct bus *bus, gpa_t gpa, void (*panicked)(void *ctx), void *ctx, struct pvpanic **ret_p);
void pvpanic_free(struct pvpanic *p); /* NULL is fine; its bus range goes too */
/* How often a panic was left to a crash kernel. Any thread. */
uint64_t pvpanic_crash_loads(const struct pvpanic *p);

#endif
