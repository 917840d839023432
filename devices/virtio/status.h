/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * status - a virtio-console whose one port, "microvm.status", takes the guest's own exit status
 *
 * What:   the control queues of VIRTIO_CONSOLE_F_MULTIPORT as far as one named port needs them, and lines
 *         that the guest writes to it: with a number, or with the word STATUS_INIT.
 * Not:    a console: nothing is shown, and nothing ever comes in. What the number is used for.
 * Trust:  rings, messages and lines are the guest's. Of a chain the first STATUS_CHAIN_BYTES bytes are
 *         looked at; what is no number from 0 to STATUS_MAX is counted, and logged at a limited rate.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.3, s5.3.6.2 (control messages).
 */
#ifndef DEVICES_VIRTIO_STATUS_H
#define DEVICES_VIRTIO_STATUS_H

#include "devices/virtio/vdev.h"

#define STATUS_PORT "microvm.status"
#define STATUS_INIT "init"    /* "my init is at work" */
#define STATUS_MAX 120        /* above it are the monitor's own */
#define STATUS_CHAIN_BYTES 64

struct status_cfg {
	const char *name;
	struct loop *loop;
	struct gmem *mem;
	void (*set)(void *ctx, unsigned status); /* on the loop, as often as the guest likes; the last one counts */
	void (*init)(void *ctx);                 /* likewise */
	void *ctx;
};

/* Before the loop's seal. -ENOMEM, or vdev_init()'s errors. On success @ret_v is freed by vdev_free(). */
int status_new(const struct status_cfg *cfg, struct vdev **ret_v);
/* At the end, with the loop and all vCPUs stopped: a status that was written and not looked at yet. */
void status_drain(struct vdev *v);

#endif
