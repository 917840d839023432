/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uds - a listening Unix socket with a name, and the broker that looks after it
 *
 * What:   --vsock CID,uds=PATH and --console socket=PATH: takes the name, which a socket that nobody listens on gives way to and
 *         nothing else does, and starts the process that removes it in the end, and that for the former connects to PATH_PORT.
 * Not:    what comes by it (devices/virtio/vsock_uds.h, vmm/core/stream.h).
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
	int broker_fd;  /* for broker_init(), whose path 0 is PATH_PORT; else to be kept open as long as the name; likewise */
};

struct uds_cfg {
	const char *id, *key; /* for messages: "vsock0", "uds" */
	const char *path;
	bool with_ports;      /* the broker connects to PATH_PORT */
};

/* The longest path, in bytes: one that has a port behind it has to fit into an address, too. */
#define UDS_PATH_MAX 96
#define UDS_PLAIN_MAX 107

/*
 * Errors, with a sentence: -ENAMETOOLONG; -EADDRINUSE: somebody listens there; -EEXIST: it is no socket; those of open(2), bind(2)
 * and broker_child_start().
 */
int uds_open(const struct uds_cfg *cfg, struct uds *ret_u, struct err *err);
/* What is still @u's own. With the broker's end the name goes. Idempotent. */
void uds_close(struct uds *u);

#endif
