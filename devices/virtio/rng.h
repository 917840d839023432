/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rng - virtio entropy device, from getrandom(2)
 *
 * Trust:  the guest chooses how much it asks for; one request yields at most 256 bytes, and
 *         one kick serves at most one ring's worth.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.4.
 */
#ifndef DEVICES_VIRTIO_RNG_H
#define DEVICES_VIRTIO_RNG_H

#include "devices/virtio/vdev.h"

int rng_new(const char *name, struct loop *loop, struct gmem *mem, struct vdev **ret_v);

#endif
