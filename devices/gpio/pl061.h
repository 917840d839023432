/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pl061 - Arm PrimeCell general purpose input and output
 *
 * What:   eight pins: data behind its address mask, direction, interrupts by edge or level,
 *         identification. What goes into a pin, the machine says.
 * Not:    what comes out: nothing is wired to it, nor does it come back in. The mode of AFSEL
 *         (hardware drives the pin), the registers of the integration test.
 * Trust:  every access is the guest's.
 * Thread: accesses on vCPU threads; pl061_set_input() any.
 * Source: ARM DDI 0190 (PL061 TRM), s3.
 */
#ifndef DEVICES_GPIO_PL061_H
#define DEVICES_GPIO_PL061_H

#include "vmm/core/bus.h"
#include "vmm/core/line.h"

struct pl061;

#define PL061_SIZE 0x1000 /* bytes */
#define PL061_PINS 8

/* @line borrowed. -ENOMEM, or bus_add()'s errors. All pins are low at first. */
int pl061_new(struct bus *bus, gpa_t gpa, struct line *line, struct pl061 **ret_g);
void pl061_free(struct pl061 *g); /* NULL is fine; its bus range goes too */
/* What drives pin @pin, below PL061_PINS, from outside. */
void pl061_set_input(struct pl061 *g, unsigned pin, bool level);

#endif
