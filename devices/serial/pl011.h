/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pl011 - Arm PrimeCell UART
 *
 * What:   the register block that Linux' amba-pl011 and early consoles use: data, flags,
 *         interrupt mask and status, identification. 32-byte receive FIFO. No baud rate.
 * Trust:  every access is the guest's. Output that finds no room is dropped and counted.
 * Thread: accesses on vCPU threads; pl011_input() on the loop.
 * Source: ARM DDI 0183 (PL011 TRM).
 */
#ifndef DEVICES_SERIAL_PL011_H
#define DEVICES_SERIAL_PL011_H

#include "devices/virtio/console.h"
#include "vmm/core/bus.h"
#include "vmm/core/line.h"

struct pl011;

#define PL011_SIZE 0x1000 /* bytes */

/* @line, @sink borrowed. */
int pl011_new(struct bus *bus, gpa_t gpa, struct line *line, const struct console_sink *sink, struct pl011 **ret_u);
void pl011_free(struct pl011 *u);
size_t pl011_input(struct pl011 *u, const uint8_t *buf, size_t len);

#endif
