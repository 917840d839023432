/* SPDX-License-Identifier: BSD-3-Clause */
/* start: each device but the console starts, does one thing and is reset; what fails is tried once more, after a reset. */
#include "cases.h"
#include "virtio.h"

#define SECTOR 512
#define QUIET_PORT 9 /* where nobody listens */

static uint8_t rx[2048], tx[NET_HEADER + NET_FRAME], bytes[16];
static uint8_t page[65536] __attribute__((aligned(65536))); /* one of the host's, whatever its size */

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

/* The first sector (s5.2.6): header, data, status. */
static bool read_sector(struct vdev *d)
{
	static uint8_t header[16], data[SECTOR], status;
	struct vq *vq = &d->vq[0];

	status = 0xff;
	vq->desc[1] = (struct vq_desc){ (uint64_t)data, SECTOR, DESC_NEXT | DESC_WRITE, 2 };
	vq->desc[2] = (struct vq_desc){ (uint64_t)&status, 1, DESC_WRITE, 0 };
	vq->desc[0] = (struct vq_desc){ (uint64_t)header, sizeof(header), DESC_NEXT, 1 };
	vq->avail->ring[vq->next % vq->size] = 0;
	DMB();
	vq->avail->idx = ++vq->next;
	vq_kick(vq);
	return vq_wait(vq, 2000) && !status;
}

/* Nobody answers there, which is an answer (s5.10.6). */
static bool knock(struct vdev *d)
{
	const uint32_t cid = rd32(d->config);
	const uint32_t words[11] = { cid, 0, 2, 0, 1024, QUIET_PORT, 0, 1 | 1 << 16, 0, 65536, 0 };

	vq_post(&d->vq[0], 0, rx, sizeof(rx), true);
	vq_kick(&d->vq[0]);
	memcpy(tx, words, sizeof(words));
	vq_post(&d->vq[1], 0, tx, sizeof(words), false);
	vq_kick(&d->vq[1]);
	return vq_wait(&d->vq[1], 2000) && vq_wait(&d->vq[0], 2000);
}

/* A page goes, and is taken back (s5.5.6). */
static bool inflate(struct vdev *d)
{
	static uint32_t pfn;

	pfn = (uint32_t)((uint64_t)page >> 12);
	for (unsigned q = 0; q < 2; q++) {
		vq_post(&d->vq[q], 0, &pfn, sizeof(pfn), false);
		vq_kick(&d->vq[q]);
		if (!vq_wait(&d->vq[q], 2000))
			return false;
	}
	return true;
}

static const struct {
	uint32_t id;
	unsigned queues;
	uint64_t features;
	bool (*try)(struct vdev *d);
} kinds[] = {
	{ VIRTIO_NET, 2, BIT(5), ask }, { VIRTIO_RNG, 1, 0, draw }, { VIRTIO_BLK, 1, 0, read_sector }, { VIRTIO_VSOCK, 3, 0, knock },
	{ VIRTIO_BALLOON, 2, 0, inflate },
};

static bool works(struct vdev *d)
{
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].id == d->id)
			return vdev_reset(d) && vdev_start(d, VERSION_1 | kinds[i].features, kinds[i].queues) && kinds[i].try(d);
	return false;
}

/* The host looks for this line: what had to be tried again, a line of the monitor's has to name. */
static bool works_again(struct vdev *d, unsigned i)
{
	note("again: device %u on %s", i, vdev_bus_name(d));
	return works(d);
}

void case_start(void)
{
	for (unsigned i = 0; i < vdev_count; i++) {
		struct vdev *d = &vdevs[i];

		if (d->id == VIRTIO_CONSOLE)
			continue;
		check((works(d) || works_again(d, i)) && vdev_reset(d), "device %u on %s: works, and is reset", d->id, vdev_bus_name(d));
	}
}
