/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * signals - what the process is sent, handled on the event loop
 *
 * What:   SIGTERM, SIGINT press its power button; SIGHUP, SIGQUIT end the VM; SIGUSR1 asks for a dump; SIGWINCH says
 *         that the terminal's size changed; SIGTSTP and SIGCONT stop and go on. SIGPIPE is kept
 *         off for good.
 * Not:    SIGSEGV and the like (terminal.h).
 * Trust:  whoever may signal the process may end it.
 * Thread: set-up and the loop's.
 * Source: signalfd(2).
 */
#ifndef VMM_APP_SIGNALS_H
#define VMM_APP_SIGNALS_H

#include <sys/types.h>

#include "vmm/base/rights.h"
#include "vmm/core/loop.h"

/* All run on the loop. */
struct signals_ops {
	void (*press)(void *ctx, int signo); /* SIGTERM, SIGINT */
	void (*end)(void *ctx, int signo);   /* SIGHUP, SIGQUIT */
	void (*dump)(void *ctx);   /* SIGUSR1 */
	void (*resize)(void *ctx); /* SIGWINCH */
	void (*stop)(void *ctx);   /* SIGTSTP; the process stops when this returns */
	void (*cont)(void *ctx);   /* SIGCONT, also after a SIGTSTP */
};

struct signals {
	const struct signals_ops *ops; /* borrowed */
	void *ctx;
	int fd;
	struct loop_poll poll;
	pid_t pid;
	uint64_t ignored; /* by our parent's wish: a bit a signal */
};

/* Before the first thread: what is blocked now is blocked in all, and waits for signals_open(). */
void signals_block(void);
/* Before the loop's seal. -EMFILE, -ENOMEM, and the errors of loop_poll_init(). @s lives as long as the loop. */
int signals_open(struct signals *s, struct loop *l, const struct signals_ops *ops, void *ctx);

/* For the filters of system calls. */
extern const struct right signals_rights[];

#endif
