/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * console - virtio-console, one port (hvc0)
 *
 * What:   the receive and transmit queues of port 0, the window size.
 * Not:    more ports (VIRTIO_CONSOLE_F_MULTIPORT), emergency write; where the bytes go (the sink).
 * Trust:  rings and output are the guest's. A slow consumer leaves chains in the ring.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.3.
 */
#ifndef DEVICES_VIRTIO_CONSOLE_H
#define DEVICES_VIRTIO_CONSOLE_H

#include "devices/virtio/vdev.h"
#include "vmm/core/sink.h"

struct console_cfg {
	const char *name;
	struct loop *loop;
	struct gmem *mem;
	const struct console_sink *sink; /* borrowed */
};

/* Before the loop's seal. -ENOMEM, or vdev_init()'s errors. On success @ret_v is freed by vdev_free(). */
int console_new(const struct console_cfg *cfg, struct vdev **ret_v);
/* Loop. Input for the guest; returns how much it took (0 where the driver has no buffers). */
size_t console_input(struct vdev *v, const uint8_t *buf, size_t len);
/* Loop. The sink has room again after a short write. */
void console_output_room(struct vdev *v);
/* Loop. Terminal size in characters; config interrupt if VIRTIO_CONSOLE_F_SIZE was taken. */
void console_resize(struct vdev *v, uint16_t cols, uint16_t rows);

#endif
