/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * console_mux - the UART and hvc0 as one readable stream
 *
 * What:   shows the UART until hvc0 speaks, then hvc0, without what Linux repeats there of its
 *         log; hands input to the one that is in use; finds Ctrl-A keys where a user types.
 * Not:    terminal modes (terminal.h); moving the bytes (vmm/core/stream.h).
 * Trust:  output is the guest's, any bytes at any time; input is the user's. Memory is bounded:
 *         output that finds no room stays in hvc0's ring or, from the UART, is dropped.
 * Thread: the sinks on any thread; the rest on the loop, or with it stopped.
 */
#ifndef VMM_APP_CONSOLE_MUX_H
#define VMM_APP_CONSOLE_MUX_H

#include "vmm/core/loop.h"
#include "vmm/core/stream.h"
#include "vmm/machine/machine.h"

struct console_mux;

/* What the mux asks of its owner. All run on the loop. */
struct console_mux_ops {
	size_t (*hvc_input)(void *ctx, const uint8_t *buf, size_t len);  /* returns how much was taken */
	size_t (*uart_input)(void *ctx, const uint8_t *buf, size_t len); /* the same */
	void (*hvc_room)(void *ctx); /* hvc0 may write again */
	void (*end)(void *ctx);      /* Ctrl-A x */
	void (*help)(void *ctx);     /* Ctrl-A h */
};

/* There is one, in static memory, whose pages cost nothing until they are used. Not while it is open. */
struct console_mux *console_mux_get(void);
/* The sinks of the machine's console devices; usable at once, dropping output until console_mux_open(). */
void console_mux_sinks(struct console_mux *m, struct machine_console *ret_con);

/*
 * Before the loop's seal and the guest's first instruction. @cfg: where it goes, borrowed for the call, its descriptors until
 * console_mux_close(). @keys: a user types at its in_fd, so Ctrl-A keys count, and always, even while the guest
 * takes no input; 4 KiB are kept for it. Without @keys, input waits until the console shows a
 * prompt or is quiet. -ENOMEM, -EMFILE, -ENOSPC.
 */
int console_mux_open(struct console_mux *m, struct loop *l, const struct stream_cfg *cfg, bool keys,
		     const struct console_mux_ops *ops, void *ctx);
/* With the guest stopped: shows what was held back, writes out for at most @timeout_ns, logs how much nobody took. */
void console_mux_flush(struct console_mux *m, uint64_t timeout_ns);
/* The last bytes shown, at most @cap; returns how many. */
size_t console_mux_tail(struct console_mux *m, char *buf, size_t cap);
/* Its one timer. For tests. */
struct loop_timer *console_mux_tick(struct console_mux *m);
/* Gives back what console_mux_open() made, and forgets everything. After loop_run(), before loop_free(). */
void console_mux_close(struct console_mux *m);

#endif
