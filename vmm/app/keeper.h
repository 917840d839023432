/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keeper - a child that takes back the files which a failing start has made
 *
 * What:   forked before the sandbox, from which no path leads to those files any more. It waits to be told
 *         that the VM runs, and ends; if it hears nothing and we are gone, it removes them.
 * Not:    there where no file was made.
 * Trust:  knows only paths of ours; hears one byte.
 * Thread: the process's only one.
 */
#ifndef VMM_APP_KEEPER_H
#define VMM_APP_KEEPER_H

#include "vmm/base/err.h"
#include "vmm/base/types.h"

struct keeper {
	int pid; /* 0: there is none */
	int fd;
};

/* Of the @n files at @paths, at most 8, which stay valid; NULL ones are passed over. -EAGAIN, -ENOMEM, -EMFILE. */
int keeper_new(struct keeper *k, const char *const paths[], unsigned n);
/*
 * Waits until it is gone, which is at once. @keep: a bit for each file that stays. Nothing happens where there is none.
 * Where it cannot be told, no file stays, and the error says so.
 */
int keeper_end(struct keeper *k, unsigned keep, struct err *err);

#endif
