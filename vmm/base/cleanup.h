/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cleanup - locals that own something give it back on every way out
 *
 * What:   __cleanup__ attributes for fds and heap memory, and the steal_ helpers
 *         that hand ownership on.
 * Not:    reference counts.
 * Thread: pure.
 */
#ifndef VMM_BASE_CLEANUP_H
#define VMM_BASE_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/fdbook.h"

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		fd_forget(*fd);
		close(*fd);
		errno = saved;
	}
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

#define _cleanup_close_ __attribute__((__cleanup__(cleanup_close)))
#define _cleanup_free_ __attribute__((__cleanup__(cleanup_free)))

/* Takes the descriptor out of *@fd: the caller owns it now and *@fd is -1. */
static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Closes *@fd if it is open, and makes it -1. */
static inline void close_fd(int *fd)
{
	cleanup_close(fd);
	*fd = -1;
}

#define steal_ptr(p)                      \
	({                                \
		__typeof__(p) _taken = (p); \
		(p) = NULL;               \
		_taken;                   \
	})

#endif
