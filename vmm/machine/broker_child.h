/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * broker_child - the process that connects to paths for a monitor that can reach none
 *
 * What:   forks it with the folders that it may look into, and the names in them; it answers the questions of
 *         vmm/core/broker.h, one after the other, and waits for nobody. At its end, which is the monitor's, however that comes, it
 *         takes a listening socket's name out of its folder.
 * Not:    asking (vmm/core/broker.h).
 * Trust:  the monitor no more than a guest: it can ask for a path by its index and a port by its number, nothing else. The
 *         process has no descriptor but its folders, the socket, and the listener that it ends; where it can have that, a root of
 *         its own, no network, no right of root's but to pass over modes; no further process; a filter of system calls.
 * Thread: set-up, before there is a second thread, before the sandbox, which takes paths away, and before the VM, as KVM and a
 *         fork do not go together.
 * Life:   it ends when its socket is closed, or when the process that made it ends. Its own end is told by that socket too.
 * Source: unix(7), prctl(2) (PR_SET_PDEATHSIG), seccomp(2), chroot(2).
 */
#ifndef VMM_MACHINE_BROKER_CHILD_H
#define VMM_MACHINE_BROKER_CHILD_H

#include <linux/filter.h>
#include <sys/stat.h>

#include "vmm/base/err.h"
#include "vmm/base/types.h"

#define BROKER_MAX_PATHS 64
/* What a name may grow by: "_4294967295". */
#define BROKER_PORT_ROOM 11

struct broker_path {
	int dir_fd;        /* the folder (O_PATH); borrowed for the call */
	const char *name;  /* in it; with the port's room less than 108 bytes */
	bool takes_fds;    /* who listens there may hand over descriptors */
	bool with_port;    /* NAME_PORT rather than NAME */
};

struct broker_child_cfg {
	const char *id;    /* for messages: "vsock0" */
	struct broker_path paths[BROKER_MAX_PATHS]; unsigned nr_paths; /* at least one */
	/* A listening socket whose name, paths[0]'s, ends with the process; -1: none. Borrowed. And what was at the name when it was made. */
	int listen_fd;
	dev_t dev; ino_t ino;
	bool only_name;    /* that is all that it is for: there is one path, and it connects to nothing */
};

/*
 * @ret_fd: our end of the socket, for broker_init(), noted. Waits until the process has given up its rights; what of these it
 * could not give up is logged in a line. Errors, with a sentence: those of socketpair(2), fork(2), recv(2); -ENAMETOOLONG;
 * -ECHILD: it could not have what it has to have, and the sentence says why.
 */
int broker_child_start(const struct broker_child_cfg *cfg, int *ret_fd, struct err *err);

/* A system call that the process may make. */
struct broker_right {
	int call;
	int arg;           /* the argument, 0 to 5, that is held against @value; -1: none is */
	uint32_t value;
	char why[44];      /* "": the list ends */
};

/* For the audit: all of them, and the filter that is made of them; its length in instructions. */
extern const struct broker_right broker_rights[];
#define BROKER_FILTER_MAX 80
unsigned broker_child_filter(struct sock_filter prog[BROKER_FILTER_MAX]);

#endif
