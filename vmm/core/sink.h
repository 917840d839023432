/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sink - where a console device's bytes go
 *
 * What:   what a console device calls, of whatever kind it is (UART, virtio-console).
 * Not:    who is behind it (vmm/app/console_mux.h); the way back, which each device has itself.
 * Trust:  the bytes are the guest's.
 * Thread: said at each function. Called without the device's lock.
 */
#ifndef VMM_CORE_SINK_H
#define VMM_CORE_SINK_H

#include <stddef.h>

struct console_sink {
	/* Takes as many of @len bytes as it has room for, and returns that. Loop or vCPU thread. */
	size_t (*write)(void *ctx, const void *buf, size_t len);
	/* The device has room for input again. Any thread. */
	void (*input_room)(void *ctx);
	/* The driver let go of a device that it used (reset, unbind, a new kernel). Loop. May be NULL. */
	void (*closed)(void *ctx);
	void *ctx;
};

#endif
