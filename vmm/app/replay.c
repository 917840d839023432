// SPDX-License-Identifier: BSD-3-Clause
/*
 * The repetition is a subsequence of what was shown, in its order: lines that programs wrote to
 * the UART do not come again, and a line is missing where something was printed into it. So a
 * cursor runs through the kept text and passes over lines. A line that is found nowhere after
 * the cursor is a miss; several in a row say that this is no repetition (any more).
 *
 * Work is bounded: a line costs at most one pass over the text, one that is found moves the
 * cursor as far as it looked, and those that are not are counted: in a row, and in all, since a
 * guest may put a line that is known between them.
 */
#include "vmm/app/replay.h"

#include <string.h>

#define MAX_MISSES 8
#define MAX_ALL_MISSES 200
#define NONE SIZE_MAX

/* The older half of the text goes, at a line's end. */
static void make_room(struct replay *r)
{
	char *keep = memchr(r->text + REPLAY_TEXT / 2, '\n', r->len > REPLAY_TEXT / 2 ? r->len - REPLAY_TEXT / 2 : 0);
	size_t from = keep ? (size_t)(keep - r->text) + 1 : r->len;

	memmove(r->text, r->text + from, r->len + r->partial - from);
	r->len -= from;
}

void replay_shown(struct replay *r, char c)
{
	if (c == '\n') {
		while (r->partial && r->text[r->len + r->partial - 1] == '\r')
			r->partial--;
		if (r->partial && !r->skip) {
			r->text[r->len + r->partial] = '\n';
			r->len += r->partial + 1;
		}
		r->partial = 0;
		r->skip = false;
		return;
	}
	if (r->skip)
		return;
	if (r->partial == REPLAY_HELD - 2) {
		r->partial = 0;
		r->skip = true;
		return;
	}
	if (r->len + r->partial + 2 > REPLAY_TEXT)
		make_room(r);
	r->text[r->len + r->partial++] = c;
}

bool replay_start(struct replay *r)
{
	r->cursor = 0;
	r->match = 0;
	r->held_len = 0;
	r->misses = 0;
	r->all_misses = 0;
	return r->len != 0;
}

void replay_clear(struct replay *r)
{
	r->len = r->partial = r->cursor = r->held_len = 0;
	r->skip = false;
}

static size_t line_len(const struct replay *r, size_t at)
{
	const char *end = memchr(r->text + at, '\n', r->len - at);

	return end ? (size_t)(end - r->text) - at : r->len - at;
}

/* The first line from @at on that begins with the first @n held bytes; @whole: and ends there. */
static size_t find(const struct replay *r, size_t at, size_t n, bool whole)
{
	while (at < r->len) {
		size_t len = line_len(r, at);

		if (len >= n && (!whole || len == n) && !memcmp(r->text + at, r->held, n))
			return at;
		at += len + 1;
	}
	return NONE;
}

static enum replay_verdict end_of_line(struct replay *r, size_t n)
{
	size_t at = n ? find(r, r->match, n, true) : NONE;

	if (at == NONE)
		return REPLAY_NEW;
	r->cursor = at + n + 1;
	r->match = r->cursor;
	r->held_len = 0;
	r->misses = 0;
	return REPLAY_KNOWN;
}

enum replay_verdict replay_feed(struct replay *r, char c)
{
	size_t n = r->held_len;
	bool cr = n && r->held[n - 1] == '\r';

	r->held[r->held_len++] = c;
	if (c == '\n')
		return end_of_line(r, n - cr);
	if (cr || r->held_len == REPLAY_HELD)
		return REPLAY_NEW;
	if (c == '\r')
		return REPLAY_MAYBE;
	if (!n)
		r->match = r->cursor;
	/* the newline after the candidate differs from c, so this stays inside the line */
	if (r->match < r->len && r->text[r->match + n] == c)
		return REPLAY_MAYBE;
	r->match = find(r, r->match, n + 1, false);
	return r->match == NONE ? REPLAY_NEW : REPLAY_MAYBE;
}

void replay_release(struct replay *r)
{
	/* an empty line says nothing either way */
	if (r->held[0] != '\r' && r->held[0] != '\n') {
		r->misses++;
		r->all_misses++;
	}
	r->held_len = 0;
	r->match = r->cursor;
}

bool replay_is_over(const struct replay *r)
{
	return r->cursor >= r->len || r->misses >= MAX_MISSES || r->all_misses >= MAX_ALL_MISSES;
}
