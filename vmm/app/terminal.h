/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * terminal - the user's terminal in raw mode, and as it was on every way out
 *
 * What:   one terminal (there is one process-wide), set raw so that each key reaches the guest,
 *         given back at the end, at a stop, and by a fatal signal.
 * Not:    what is read from it (keys.h) and shown on it (console_mux.h).
 * Trust:  the terminal is the user's, and may be taken away at any time.
 * Thread: the loop's, the process's first; terminal_restore() also in its signal handlers.
 * Source: termios(3), signal-safety(7).
 */
#ifndef VMM_APP_TERMINAL_H
#define VMM_APP_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/rights.h"

/* Is @fd a terminal? Then the book of descriptors says so from now on. */
bool terminal_is(int fd);
/* Is @fd a terminal that we may change now: none of another session's, and not in the background? */
bool terminal_usable(int fd);
/*
 * Remembers the modes of @fd, which stays open until the end, and sets it raw, output included
 * (the guest sends CR LF itself). From here on a fatal signal restores it first and then does
 * what it always did. Negative errno: nothing changed.
 */
int terminal_raw(int fd);
/* As it was before terminal_raw(). Idempotent; keeps errno; async-signal-safe. */
void terminal_restore(void);
/* Raw again after terminal_restore(), if it ever was and we are in the foreground. */
void terminal_resume(void);
/* Of a terminal that terminal_is() or terminal_usable() has seen. False: none, or it does not know. In characters. */
bool terminal_size(int fd, uint16_t *ret_cols, uint16_t *ret_rows);

/* For the filters of system calls. */
extern const struct right terminal_rights[];

#endif
