/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * first_output - when the guest first said something, for --result
 *
 * What:   looks on at UART and hvc0 until the first byte of either.
 * Not:    what it was.
 * Trust:  none is needed: that there was a byte is all that counts.
 * Thread: set-up; output of a device where it comes from; the time is the loop's, since a vCPU may not ask the
 *         clock where that takes a system call.
 * Source: ours.
 */
#ifndef VMM_APP_FIRST_OUTPUT_H
#define VMM_APP_FIRST_OUTPUT_H

#include <stdatomic.h>
#include <stdint.h>

#include "vmm/core/sink.h"

struct loop;
struct machine_console;

struct first_output {
	struct loop *loop;
	struct console_sink uart, hvc; /* the ones behind */
	atomic_bool seen;
	uint64_t ns;                   /* CLOCK_MONOTONIC; 0: nothing yet */
};

/* Puts itself before the sinks of @con. @f: zeroed, the caller's; lives as long as the machine does. */
void first_output_watch(struct first_output *f, struct loop *l, struct machine_console *con);

#endif
