// SPDX-License-Identifier: BSD-3-Clause
/* The guest's console as lines: escape sequences and carriage returns are left out. */
#include <string.h>

#include "tools/boot-test/boot_test.h"

static void finish_line(struct console *c)
{
	memcpy(c->tail[c->lines % TAIL_LINES], c->line, c->len + 1);
	c->lines++;
	c->len = 0;
	c->line[0] = '\0';
}

static void add_byte(struct console *c, char ch)
{
	if (c->len == LINE_MAX_LEN || ch == '\r' || ch == '\0')
		return;
	c->line[c->len++] = ch == '\033' || (unsigned char)ch >= 0x20 || ch == '\t' ? ch : '?';
	c->line[c->len] = '\0';
}

void console_feed(struct console *c, const char *buf, size_t len,
		  bool (*line)(void *ctx, const char *text), void *ctx)
{
	bool go_on = true;

	for (size_t i = 0; i < len; i++) {
		if (buf[i] != '\n') {
			add_byte(c, buf[i]);
			continue;
		}
		go_on = go_on && line(ctx, c->line);
		finish_line(c);
	}
	/* A prompt has no newline. */
	if (go_on && c->len)
		line(ctx, c->line);
}

void console_print_tail(const struct console *c, FILE *out)
{
	unsigned first = c->lines > TAIL_LINES ? c->lines - TAIL_LINES : 0;

	for (unsigned i = first; i < c->lines; i++)
		fprintf(out, "  | %s\n", c->tail[i % TAIL_LINES]);
	if (c->len)
		fprintf(out, "  | %s\n", c->line);
}
