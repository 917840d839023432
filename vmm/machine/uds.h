/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uds - a listening Unix socket with a name, and the broker for the names beside it
 *
 * What:   --vsock CID,uds=PATH: takes the name, which a socket that nobody listens on gives way to and nothing else does, and
 *         starts the process that connects to PATH_PORT and removes the name in the end.
 * Not:    what comes by it (devices/virtio/vsock_uds.h).
 * Trust:  the path is the user's. What else stands there is left as it is.
 * Thread: set-up, before the sandbox and before there is a second thread.
 * Source: unix(7).
 */
#ifndef VMM_MACHINE_UDS_H
#define VMM_MACHINE_UDS_H

#include "vmm/base/err.h"
#include "vmm/base/types.h"

struct uds {
	int listen_fd;  /* noted; -1: none */
	int broker_fd;  /* for broker_init(), whose path 0 is PATH_PORT; likewise */
};

/* The longest path, in bytes: with a port behind it it has to fit into an address. */
#define UDS_PATH_MAX 96

/*
 * @id, for messages: "vsock0". Errors, with a sentence: -EADDRINUSE: somebody listens there; -EEXIST: it is no socket; those of
 * open(2), bind(2) and broker_child_start().
 */
int uds_open(const char *id, const char *path, struct uds *ret_u, struct err *err);
/* What is still @u's own. With the broker's end the name goes. Idempotent. */
void uds_close(struct uds *u);

#endif
