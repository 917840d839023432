/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay - recognises lines that were shown before
 *
 * What:   Linux prints its whole log again on a console that registers late. The lines that
 *         the UART showed are kept here; what hvc0 prints is compared with them, in their order.
 * Not:    when to show what (console_mux.h).
 * Trust:  both texts are the guest's. A fixed buffer: the older half goes when it is full.
 * Thread: under its owner's lock.
 */
#ifndef VMM_APP_REPLAY_H
#define VMM_APP_REPLAY_H

#include "vmm/base/types.h"

#define REPLAY_TEXT (128 * 1024) /* bytes; the log buffer of a usual kernel */
#define REPLAY_HELD 1100         /* bytes of one line; a log line of Linux is at most 1,024 */

struct replay {
	size_t len;        /* of complete lines */
	size_t partial;    /* bytes after them of a line that has not ended */
	bool skip;         /* the present line is longer than a log line: not kept */

	size_t cursor;     /* lines before it were repeated already */
	size_t match;      /* a line at or after the cursor that begins with held */
	char held[REPLAY_HELD]; /* the line that may be a repetition, so far; CR included */
	size_t held_len;
	unsigned misses;   /* lines in a row that were none... */
	unsigned all_misses; /* ...and in all */

	/* lines that were shown, each ended by a newline, CR left out; untouched pages cost nothing */
	char text[REPLAY_TEXT];
};

/* A byte was shown. */
void replay_shown(struct replay *r, char c);
/* Comparing begins: the cursor goes to the oldest line. True if there is anything to compare with. */
bool replay_start(struct replay *r);
/* Forgets everything. */
void replay_clear(struct replay *r);

enum replay_verdict {
	REPLAY_MAYBE,  /* held: so far a line that was shown begins like this */
	REPLAY_KNOWN,  /* the line ended, was shown before, and is dropped from held */
	REPLAY_NEW,    /* held, this byte included, is new: the owner shows it and calls replay_release() */
};

/* The next byte. Not after REPLAY_NEW without replay_release(), nor after the end of that line was seen. */
enum replay_verdict replay_feed(struct replay *r, char c);
/* What was held has been shown, as a line that is new; counts a miss. */
void replay_release(struct replay *r);
/* All lines were repeated, or what comes is no repetition, or costs too much: comparing may stop. */
bool replay_is_over(const struct replay *r);

#endif
