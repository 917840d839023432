/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost - the kernel's vhost devices: the only file that knows <linux/vhost.h>'s ioctls
 *
 * What:   owner, features, memory table, rings, back end, error eventfd.
 * Trust:  ring addresses come from the guest; they are checked here (inside one region,
 *         aligned, size a power of two) before the kernel sees them.
 * Thread: set-up and the loop.
 * Source: Linux drivers/vhost/vhost.c, net.c, vsock.c.
 *
 * Names: the prefix is vh_; vhost_ belongs to the kernel's headers.
 */
#ifndef DEVICES_VHOST_VHOST_H
#define DEVICES_VHOST_VHOST_H

#include "devices/virtio/vq.h"
#include "vmm/base/err.h"
#include "vmm/core/gmem.h"

#define VH_MAX_RINGS 2 /* a vhost-net or vhost-vsock descriptor drives two */

struct vh_dev {
	int fd;              /* owned */
	unsigned nr_rings;
	uint64_t features;   /* what the kernel offers */
	int err_fd[VH_MAX_RINGS]; /* eventfds: the kernel found a ring broken */
};

/* Opens @path ("/dev/vhost-net"). -ENOENT, -EACCES, -ENODEV. */
int vh_open(const char *path, int *ret_fd);
/* Takes @fd over (also on failure); SET_OWNER, GET_FEATURES, error eventfds. */
int vh_init(struct vh_dev *d, int fd, unsigned nr_rings);
void vh_fini(struct vh_dev *d);
int vh_set_features(struct vh_dev *d, uint64_t features);
/* Hands every region of @mem to the kernel (SET_MEM_TABLE). -E2BIG. */
int vh_set_mem(struct vh_dev *d, const struct gmem *mem);
/*
 * NUM, BASE 0, ADDR, ERR, CALL, KICK in this order. -EINVAL, -EFAULT: the guest's
 * addresses are bad; others: the kernel refused.
 */
int vh_ring_start(struct vh_dev *d, unsigned ring, const struct gmem *mem, const struct vq_regs *regs,
		  int kick_fd, int call_fd);
/* CALL -1: after return no signal comes. Then KICK -1. */
void vh_ring_stop(struct vh_dev *d, unsigned ring);
/* vhost-net: SET_BACKEND of both rings to @tap_fd, -1 takes it away (and drains). */
int vh_net_set_backend(struct vh_dev *d, int tap_fd);

#endif
