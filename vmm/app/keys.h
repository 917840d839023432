/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keys - Ctrl-A and what follows it, found in what the user types
 *
 * What:   Ctrl-A x ends the VM, Ctrl-A h lists the keys, Ctrl-A Ctrl-A is a Ctrl-A for the
 *         guest; any other key after Ctrl-A is dropped.
 * Not:    where the bytes come from and what an event leads to (console_mux.h).
 * Trust:  the user's bytes.
 * Thread: one at a time.
 */
#ifndef VMM_APP_KEYS_H
#define VMM_APP_KEYS_H

#include "vmm/base/types.h"

enum key_event { KEY_NONE, KEY_END, KEY_HELP };

struct keys {
	bool escaped; /* the last byte was a Ctrl-A */
};

/*
 * Reads @len bytes up to the first event; writes those for the guest to @out (room for @len),
 * *@ret_out of them, and how many were read to *@ret_used.
 */
enum key_event keys_scan(struct keys *k, const uint8_t *in, size_t len, size_t *ret_used, uint8_t *out,
			 size_t *ret_out);

/* The list of keys, with CR LF. */
extern const char keys_help[];

#endif
