/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rng - virtio entropy device, from getrandom(2)
 *
 * What:   one queue; each buffer is filled as far as a request goes.
 * Not:    a generator of our own; waiting for the host's. Its pool is filled when a guest runs,
 *         because the device tree's seed was waited for, and a pool once filled stays so.
 * Trust:  the guest chooses how much it asks for; one request yields at most 256 bytes, and
 *         one kick serves at most one ring's worth.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.4.
 */
#ifndef DEVICES_VIRTIO_RNG_H
#define DEVICES_VIRTIO_RNG_H

#include "devices/virtio/vdev.h"

#include "vmm/base/rights.h"

/* Before the loop's seal; all borrowed. -ENOMEM, or vdev_init()'s errors. On success @ret_v is freed by vdev_free(). */
int rng_new(const char *name, struct loop *loop, struct gmem *mem, struct vdev **ret_v);

/* For the filters of system calls. */
extern const struct right rng_rights[];

#endif
