/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outfile - a file that we were asked to write, opened early and written late
 *
 * What:   opening tells at once whether it can be written, and changes nothing of a file that is
 *         there; its content is replaced only when there is something to put into it.
 * Not:    files that are appended to (the log).
 * Trust:  the path is the user's, and may be a device, a pipe or a link.
 * Thread: one at a time.
 */
#ifndef VMM_APP_OUTFILE_H
#define VMM_APP_OUTFILE_H

#include "vmm/base/err.h"
#include "vmm/base/rights.h"
#include "vmm/base/types.h"

struct outfile {
	const char *path; /* borrowed */
	int fd;
	bool created;     /* by us, so ours to remove */
	bool kept;        /* by a keeper (keeper.h), who removes it */
	bool regular;
};

/* @what: "--result", for messages. Negative errno with a sentence; a FIFO that nobody reads is -ENXIO. */
int outfile_open(struct outfile *f, const char *what, const char *path, struct err *err);
/* Cuts a regular file to nothing; nothing happens to others. Negative errno. */
int outfile_clear(struct outfile *f);
/* After outfile_clear(): its whole content is now the @len bytes at @buf (on a pipe or terminal: they are written). Negative errno. */
int outfile_put(struct outfile *f, const void *buf, size_t len);
/* Closes; removes the file if outfile_open() made it. */
void outfile_abandon(struct outfile *f);

/* For the filters of system calls. */
extern const struct right outfile_rights[];

#endif
