/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pl031 - Arm PrimeCell real time clock
 *
 * What:   seconds since 1970 from the host's CLOCK_REALTIME plus what the guest set; match
 *         register with its interrupt (a loop timer).
 * Not:    setting the host's clock: what the guest sets is an offset of its own.
 * Trust:  every access is the guest's.
 * Thread: accesses on vCPU threads; the alarm on the loop.
 * Source: ARM DDI 0224 (PL031 TRM).
 */
#ifndef DEVICES_RTC_PL031_H
#define DEVICES_RTC_PL031_H

#include "vmm/core/bus.h"
#include "vmm/core/line.h"
#include "vmm/core/loop.h"

struct pl031;

#define PL031_SIZE 0x1000 /* bytes */

/* @line borrowed. Before the loop's seal. -ENOMEM, bus_add()'s and loop_timer_init()'s errors. */
int pl031_new(struct bus *bus, struct loop *loop, gpa_t gpa, struct line *line, struct pl031 **ret_r);
void pl031_free(struct pl031 *r); /* NULL is fine; its bus range goes too */

#endif
