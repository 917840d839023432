// SPDX-License-Identifier: BSD-3-Clause
/*
 * panic_text: what two consoles print, in pieces of any size, and who looks for a line in it.
 *
 * Covers: app/panic_text.c: lines of any length, with any bytes, half ones, hvc0 closed in the middle of one, a
 *         sink that takes less, the queue between vCPUs and loop.
 * Oracle: the lines as a second reader splits them; each that holds "ab", b's and "c" at its end is told, once, in its
 *         order, by hvc0 at once and by the UART when the loop comes to it; what is shown is what was written.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "tests/fake/loop.h"
#include "vmm/app/panic_text.h"
#include "vmm/machine/machine.h"

struct reader {
	size_t len;
	char text[PANIC_TEXT_LINE];
};
static struct reader uart, hvc;
static struct machine_console con;
static unsigned told, want_told, want_queued;
static size_t queued;      /* bytes that wait for the loop */
static size_t takes;       /* of hvc0's next write */

static void found(void *ctx, const char *line)
{
	must(!ctx && strlen(line) <= PANIC_TEXT_LINE);
	told++;
}

static size_t show(void *ctx, const void *buf, size_t len)
{
	(void)buf;
	return ctx && takes < len ? takes : len;
}

static void no_room(void *ctx)
{
	(void)ctx;
}

/* "abb*c" at the end. */
static bool matches(const struct reader *r)
{
	size_t n = r->len;

	if (n && r->text[n - 1] == '\r')
		n--;
	if (n < 3 || r->text[n - 1] != 'c' || r->text[n - 2] != 'b')
		return false;
	for (n -= 2; n && r->text[n - 1] == 'b'; n--)
		continue;
	return n && r->text[n - 1] == 'a';
}

/* True: @c ended a line, of *@ret_len bytes. */
static bool read_byte(struct reader *r, char c, bool *ret_matches, size_t *ret_len)
{
	if (c != '\n') {
		if (r->len < PANIC_TEXT_LINE)
			r->text[r->len++] = c;
		return false;
	}
	*ret_matches = matches(r);
	*ret_len = r->len - (r->len && r->text[r->len - 1] == '\r');
	r->len = 0;
	return true;
}

static void print_hvc(const char *text, size_t len)
{
	size_t n = con.hvc.write(con.hvc.ctx, text, len), line;
	bool match;

	must(n == (takes < len ? takes : len));
	for (size_t i = 0; i < n; i++)
		if (read_byte(&hvc, text[i], &match, &line))
			want_told += match;
}

static void print_uart(const char *text, size_t len)
{
	bool match;
	size_t line;

	must(con.uart.write(con.uart.ctx, text, len) == len);
	for (size_t i = 0; i < len; i++) {
		if (!read_byte(&uart, text[i], &match, &line) || queued + line + 1 > 8192)
			continue;
		queued += line + 1;
		want_queued += match;
	}
}

static void turn(struct loop *l)
{
	fake_loop_turn(l);
	want_told += want_queued;
	want_queued = 0;
	queued = 0;
}

static size_t text_of(struct fuzz_in *in, char *text)
{
	static const char letters[] = "ab\nc\r\0bc";
	size_t n = fuzz_u8(in);

	for (size_t i = 0; i < n; i++) {
		unsigned c = fuzz_u8(in);

		text[i] = c < 240 ? letters[c % 8] : (char)c;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	struct panic_text *p;
	struct loop *l;
	char text[600];

	told = want_told = want_queued = 0;
	queued = uart.len = hvc.len = 0;
	con = (struct machine_console){
		.uart = { .write = show, .input_room = no_room }, .hvc = { .write = show, .input_room = no_room, .ctx = &con },
	};
	must(loop_new(&l) == 0 && panic_text_new("abb*c$", l, found, NULL, &p) == 0);
	panic_text_watch(p, &con);
	while (fuzz_more(&in)) {
		takes = SIZE_MAX;
		switch (fuzz_below(&in, 7)) {
		case 0: print_hvc(text, text_of(&in, text)); break;
		case 1: print_uart(text, text_of(&in, text)); break;
		case 2: turn(l); break;
		case 3: takes = fuzz_u8(&in); print_hvc(text, text_of(&in, text)); break;
		case 4: memset(text, 'x', 500); print_hvc(text, 500); break;
		case 5: memset(text, 'b', 500); print_uart(text, 500); break;
		case 6: con.hvc.closed(con.hvc.ctx); hvc.len = 0; break;
		}
		must(told == want_told);
	}
	panic_text_free(p);
	loop_free(l);
	return 0;
}
