/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sp805 - Arm watchdog
 *
 * What:   a counter that the guest has to start anew; the first time that it reaches zero it raises the interrupt,
 *         the second time it says that the guest hangs. Lock and identification.
 * Not:    what then happens to the VM; the registers of the integration test.
 * Trust:  every access is the guest's. A period below a millisecond is one.
 * Thread: accesses on vCPU threads; the end of a period on the loop.
 * Source: ARM DDI 0270 (SP805 TRM), s3.
 */
#ifndef DEVICES_WATCHDOG_SP805_H
#define DEVICES_WATCHDOG_SP805_H

#include "vmm/core/bus.h"
#include "vmm/core/line.h"
#include "vmm/core/loop.h"

struct sp805;

#define SP805_SIZE 0x1000 /* bytes */
#define SP805_HZ 24000000u /* of its counter; the device tree says the same */

struct sp805_cfg {
	struct bus *bus;
	struct loop *loop;
	gpa_t gpa;
	struct line *line;
	void (*bites)(void *ctx); /* on the loop, with no lock held: the second end of a period */
	void *ctx;
};

/* All borrowed. Before the loop's seal. -ENOMEM, bus_add()'s and loop_timer_init()'s errors. */
int sp805_new(const struct sp805_cfg *cfg, struct sp805 **ret_w);
void sp805_free(struct sp805 *w); /* NULL is fine; its bus range goes too */

#endif
