// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/keys.h"

#define CTRL_A 1

const char keys_help[] =
	"\r\nCtrl-A h        this list\r\n"
	"Ctrl-A x        end the VM\r\n"
	"Ctrl-A Ctrl-A   send a Ctrl-A to the guest\r\n";

static enum key_event after_escape(uint8_t c, uint8_t *out, size_t *n)
{
	switch (c) {
	case 'x':
	case 'X':
		return KEY_END;
	case 'h':
	case 'H':
	case '?':
		return KEY_HELP;
	case CTRL_A:
		out[(*n)++] = CTRL_A;
		return KEY_NONE;
	default:
		return KEY_NONE;
	}
}

enum key_event keys_scan(struct keys *k, const uint8_t *in, size_t len, size_t *ret_used, uint8_t *out,
			 size_t *ret_out)
{
	enum key_event event = KEY_NONE;
	size_t i = 0, n = 0;

	while (i < len && event == KEY_NONE) {
		uint8_t c = in[i++];

		if (k->escaped) {
			k->escaped = false;
			event = after_escape(c, out, &n);
		} else if (c == CTRL_A) {
			k->escaped = true;
		} else {
			out[n++] = c;
		}
	}
	*ret_used = i;
	*ret_out = n;
	return event;
}
