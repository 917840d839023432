/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost - the kernel's vhost devices: the only file that knows <linux/vhost.h>'s ioctls
 *
 * What:   owner, features, memory table, rings, back end, error eventfd.
 * Not:    what the queues are for, and how large they may be; when to start and stop
 *         (devices/virtio/net_vhost.c).
 * Trust:  ring addresses come from the guest; they are checked here (inside one region,
 *         aligned, size a power of two) before the kernel sees them.
 * Thread: set-up and the loop.
 * Source: Linux drivers/vhost/vhost.c, net.c, vsock.c.
 *
 * Names: the prefix is vh_; vhost_ belongs to the kernel's headers.
 */
#ifndef DEVICES_VHOST_VHOST_H
#define DEVICES_VHOST_VHOST_H

#include "vmm/base/err.h"
#include "vmm/base/rights.h"
#include "vmm/core/gmem.h"

#define VH_MAX_RINGS 2 /* a vhost-net or vhost-vsock descriptor drives two */

struct vh_dev {
	int fd;              /* owned; -1: none */
	unsigned nr_rings;
	uint64_t features;   /* what the kernel offers and we know how to use */
	int err_fd;          /* owned eventfd, O_NONBLOCK: the kernel found a ring broken */
};

/* A split ring as the driver described it. */
struct vh_ring {
	uint16_t size; /* entries */
	gpa_t desc, avail, used;
};

/*
 * Is that a ring that may be handed to somebody else? -EINVAL: size or alignment; -EFAULT: an area is not inside one
 * region of @mem. virtio 1.2 s2.7.
 */
int vh_ring_check(const struct gmem *mem, const struct vh_ring *r);
/* Opens @path ("/dev/vhost-net"). -ENOENT, -EACCES, -ENODEV and whatever else open(2) says. */
int vh_open(const char *path, int *ret_fd);
/*
 * Takes @fd over (also on failure); SET_OWNER, GET_FEATURES, error eventfd. @nr_rings: 1 to
 * VH_MAX_RINGS. -EBUSY: has an owner; -ENOTTY: not vhost; -ENOTSUP: no VERSION_1; -EMFILE,
 * -ENOMEM. On failure @d is as vh_fini() leaves it.
 */
int vh_init(struct vh_dev *d, int fd, unsigned nr_rings);
/* Closes, which stops every ring. Before guest memory goes. Again is fine. */
void vh_fini(struct vh_dev *d);
/* @features: any; only what d->features holds is passed on. Before the back end. */
int vh_set_features(struct vh_dev *d, uint64_t features);
/* Hands every region of @mem to the kernel (SET_MEM_TABLE). -E2BIG. */
int vh_set_mem(struct vh_dev *d, const struct gmem *mem);
/*
 * NUM, BASE 0, ADDR, ERR, CALL, KICK in this order; the descriptors stay the caller's.
 * A kick that came before the back end is lost: write to @kick_fd after setting it.
 * -EINVAL: size or alignment; -EFAULT: not in guest memory (the guest's mistakes, found
 * before the kernel is asked); others: the kernel refused. virtio 1.2 s2.7.
 */
int vh_ring_start(struct vh_dev *d, unsigned ring, const struct gmem *mem, const struct vh_ring *regs,
		  int kick_fd, int call_fd);
/* CALL -1: after return no signal comes. Then KICK -1. For started rings without back end. */
void vh_ring_stop(struct vh_dev *d, unsigned ring);
/*
 * vhost-net: SET_BACKEND of both rings to @tap_fd, -1 takes it away (and drains). On failure
 * neither has one, unless taking it away is what failed.
 */
int vh_net_set_backend(struct vh_dev *d, int tap_fd);
/* vhost-vsock: @cid is the guest's, until @fd is closed. -EADDRINUSE, -EINVAL. Needs no owner. */
int vh_vsock_set_cid(int fd, uint32_t cid);
/* vhost-vsock: both rings run, or no longer do after return. */
int vh_vsock_set_running(struct vh_dev *d, bool on);
/* Empties the error eventfd; true if it had been signalled. */
bool vh_take_error(struct vh_dev *d);

/* For the filters of system calls. */
extern const struct right vh_rights[];

#endif
