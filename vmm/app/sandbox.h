/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sandbox - what the process gives up before the guest's first instruction, filters of system calls aside
 *
 * What:   strangers' descriptors, namespaces, the root directory, the user, the file system, capabilities,
 *         limits: a function each in sandbox.c, which says why it stands where it does.
 * Not:    filters of system calls (seccomp.h).
 * Trust:  the caller is trusted; what runs later may be anybody.
 * Thread: the process's only one.
 * Source: namespaces(7), pivot_root(2), landlock(7), capabilities(7), setrlimit(2), cgroups(7).
 */
#ifndef VMM_APP_SANDBOX_H
#define VMM_APP_SANDBOX_H

#include "vmm/base/err.h"
#include "vmm/base/types.h"

struct sandbox_cfg {
	const char *cgroup;     /* folder of a cgroup v2 to join; NULL: none */
	int64_t uid, gid;       /* -1: not given */
	uint64_t memory;        /* bytes of guest memory and of large buffers, for the cgroup's limit */
	unsigned cpus;          /* threads, for the same */
	unsigned disks;         /* each with workers of the kernel's */
	unsigned files;         /* likewise: the console's */
	unsigned back_ends;     /* likewise: by vhost-user; to which descriptors are lent */
	unsigned conns;         /* descriptors that come while the guest runs: connections */
	bool pins_memory;       /* guest memory is pinned for a device of the host's */
};

/*
 * Every path is open by now, every descriptor in the book; no VM, no ring, no thread yet. As root the process ends
 * as another user (--uid, --gid, else one that nobody has), otherwise it gives up what it can. Errors, with a sentence: -EMFILE, -ENFILE, -ENOMEM; -E2BIG, a descriptor past the
 * book; and those of what was asked for by name, the cgroup and the user. Afterwards no path leads anywhere.
 */
int sandbox_enter(const struct sandbox_cfg *cfg, struct err *err);
/* What that could not have, for a line of the log; "": it has all. */
const char *sandbox_missing(void);
/*
 * With all threads there: no further descriptor but for connections, no process or thread but those that io_uring makes for disks,
 * the console's file and connections.
 */
void sandbox_shut(const struct sandbox_cfg *cfg);

#endif
