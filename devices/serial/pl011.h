/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pl011 - Arm PrimeCell UART
 *
 * What:   the register block that Linux' amba-pl011 and early consoles use: data, flags,
 *         interrupt mask and status, identification. 32-byte receive FIFO. No baud rate.
 *         On hosts with 4 KiB pages its reads are no exits as long as there is no input.
 * Not:    DMA, modem lines; where the bytes go (vmm/core/sink.h).
 * Trust:  every access is the guest's. Output that finds no room is dropped and counted.
 * Thread: accesses on vCPU threads; pl011_input() on the loop.
 * Source: ARM DDI 0183 (PL011 TRM).
 */
#ifndef DEVICES_SERIAL_PL011_H
#define DEVICES_SERIAL_PL011_H

#include "vmm/core/bus.h"
#include "vmm/core/line.h"
#include "vmm/core/sink.h"

struct pl011;

#define PL011_SIZE 0x1000 /* bytes */

/* @line, @sink borrowed. -ENOMEM, or bus_add()'s errors. */
int pl011_new(struct bus *bus, gpa_t gpa, struct line *line, const struct console_sink *sink, struct pl011 **ret_u);
/*
 * Lets the guest read the registers through memory slot @slot of @hyp, from its first read to the
 * first byte of input. Before the guest runs; all borrowed; without it reads are exits. -ENOMEM.
 */
int pl011_set_view(struct pl011 *u, struct loop *loop, struct hyp *hyp, uint32_t slot);
void pl011_free(struct pl011 *u); /* NULL is fine; its bus range goes too */
/*
 * Loop. Input for the guest: returns how many bytes the FIFO took, 0 where the guest has not
 * switched the receiver on. After a short return the sink's input_room() is called once, when
 * the guest has emptied the FIFO or switched the receiver on.
 */
size_t pl011_input(struct pl011 *u, const uint8_t *buf, size_t len);
/* Bytes of output that the sink had no room for. Any thread. */
uint64_t pl011_dropped(const struct pl011 *u);

#endif
