/* SPDX-License-Identifier: BSD-3-Clause */
/* start: each device but the console starts, does one thing and is reset; what fails is tried once more, after a reset. */
#include "cases.h"
#include "virtio.h"

static uint8_t rx[2048], tx[NET_HEADER + NET_FRAME], bytes[16];

/* A frame out, and its answer in. */
static bool ask(struct vdev *d)
{
	vq_post(&d->vq[NET_RX], 0, rx, sizeof(rx), true);
	vq_kick(&d->vq[NET_RX]);
	net_arp(d, tx);
	vq_post(&d->vq[NET_TX], 0, tx, sizeof(tx), false);
	vq_kick(&d->vq[NET_TX]);
	return vq_wait(&d->vq[NET_TX], 2000) && vq_wait(&d->vq[NET_RX], 2000);
}

static bool draw(struct vdev *d)
{
	vq_post(&d->vq[0], 0, bytes, sizeof(bytes), true);
	vq_kick(&d->vq[0]);
	return vq_wait(&d->vq[0], 2000);
}

static bool works(struct vdev *d)
{
	bool net = d->id == VIRTIO_NET;

	return vdev_reset(d) && vdev_start(d, VERSION_1 | (net ? BIT(5) : 0), net ? 2 : 1) && (net ? ask(d) : draw(d));
}

void case_start(void)
{
	for (unsigned i = 0; i < vdev_count; i++) {
		struct vdev *d = &vdevs[i];

		if (d->id == VIRTIO_CONSOLE)
			continue;
		check((works(d) || works(d)) && vdev_reset(d), "device %u on %s: works, and is reset", d->id, vdev_bus_name(d));
	}
}
