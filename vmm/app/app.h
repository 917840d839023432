/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * app - what the files of the program itself share: one process, one VM
 *
 * What:   the program's state, and the steps of main.c that are long enough for a file of their own.
 * Not:    any of the modules beside it, which know nothing of this.
 * Thread: the loop's, the process's first.
 */
#ifndef VMM_APP_APP_H
#define VMM_APP_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/app/console_mux.h"
#include "vmm/app/first_output.h"
#include "vmm/app/keeper.h"
#include "vmm/app/options.h"
#include "vmm/app/outfile.h"
#include "vmm/app/pty.h"
#include "vmm/app/signals.h"
#include "vmm/base/err.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/uds.h"

struct panic_text;

struct app {
	struct loop *loop;
	struct machine *machine;
	struct console_mux *mux;
	struct panic_text *panic_text; /* NULL: not asked for */
	struct machine_result *ended;  /* of a machine that has stopped; NULL: it runs */
	struct first_output first_output;
	struct signals signals;
	struct outfile result, console, dtb;
	bool has_result;
	struct keeper keeper;
	bool has_terminal; /* standard input is one, and ours to read */
	int terminal; /* -1: none */
	struct pty pty; /* --console pty */
	struct uds socket; /* --console socket=PATH */
	int log_fd;
	uint64_t begin_ns;
	struct options options;
};

/* Files that we made, as the keeper numbers them. */
enum { KEEP_CONSOLE = 1, KEEP_DTB = 2 };

/* hooks.c: what the loop tells us; the context is the struct app. */
extern const struct signals_ops app_signals_ops;
extern const struct console_mux_ops app_mux_ops;
/* --panic-text has found one. */
void app_panic_line(void *ctx, const char *line);
/* The guest's console is as large as the terminal is now. */
void app_resize(struct app *a);

/* start.c */
/* The log as the options want it. Negative errno with the error: the file cannot be opened. */
int app_start_log(struct app *a, struct err *err);
/*
 * All that can fail before the guest runs, in the order that main.c tells: the VM is there, its threads
 * wait. 0; else the exit status, with the error. What was made is the caller's in either case.
 */
int app_start(struct app *a, struct err *err);
/* The last of the start, unless for --dry-run: what fails here fails before the guest's first instruction. As above. */
int app_shut(struct app *a, struct err *err);
#endif
