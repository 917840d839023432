// SPDX-License-Identifier: BSD-3-Clause
#include "devices/virtio/rng.h"
#include "vmm/base/obj.h"
#include "vmm/base/rights.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>

#define QUEUE_SIZE 64   /* entries, also the most parts that a request may have */
#define MAX_REQUEST 256 /* bytes; getrandom(2) gives so many at once, whatever signals come */

static int rng_activate(struct vdev *v)
{
	if (!v->queues[0].regs.ready)
		return 0;
	return vq_start(&v->queues[0].ring, v->mem, &v->queues[0].regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
			vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
}

/* Nothing is ever under way: vdev stops the ring. */
static void rng_reset(struct vdev *v)
{
	(void)v;
}

/* By way of a buffer: a request in 256 parts costs one system call, not 256. */
static int serve(const struct vq_chain *c, uint32_t *ret_len)
{
	uint32_t want = c->len_in < MAX_REQUEST ? c->len_in : MAX_REQUEST, done = 0;
	uint8_t buf[MAX_REQUEST];

	/* The host's pool is filled (rng.h), so this does not fail; the loop must not wait if it ever did. */
	if (want && getrandom(buf, want, GRND_NONBLOCK) != (ssize_t)want)
		return -EIO;
	for (unsigned i = c->n_out; done < want; i++) {
		uint32_t len = want - done;

		if (c->iov[i].iov_len < len)
			len = (uint32_t)c->iov[i].iov_len;
		memcpy(c->iov[i].iov_base, buf + done, len);
		done += len;
	}
	explicit_bzero(buf, sizeof(buf));
	*ret_len = want;
	return 0;
}

static void rng_kick(struct vdev *v, unsigned q)
{
	struct vq *ring = &v->queues[q].ring;
	struct iovec iov[QUEUE_SIZE];
	struct vq_chain c = { .iov = iov, .cap = QUEUE_SIZE };
	unsigned left = ring->size;
	bool dry = false;
	uint32_t len;
	int r = 0;

	if (ring->broken)
		return;
	for (; left && !dry && (r = vq_pop(ring, &c)) > 0; left--) {
		dry = serve(&c, &len);
		if (dry)
			vq_unpop(ring, 1); /* unanswered: a buffer that comes back has random bytes in it (s5.4.6.2) */
		else
			vq_push(ring, c.head, len);
	}
	vdev_queue_flush(v, q);
	if (r < 0)
		vdev_fault(v, (int)q, "broken request queue");
	else if (dry)
		vdev_fault(v, (int)q, "the host gives no random bytes"); /* said to the guest: nothing would wake us */
	else if (vq_enable_kick(ring))
		vdev_notify(v, q); /* more came in: in the loop's next round, after the others */
}

static void rng_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	(void)v;
	(void)off;
	memset(buf, 0, len); /* there is none (s5.4.4), so this is never called */
}

static void rng_free(struct vdev *v)
{
	vdev_fini(v);
	obj_free(v);
}

static const struct vdev_ops rng_ops = {
	.kind = "rng",
	.activate = rng_activate,
	.reset = rng_reset,
	.kick = rng_kick,
	.config_read = rng_config_read,
	.free = rng_free,
};

int rng_new(const char *name, struct loop *loop, struct gmem *mem, struct vdev **ret_v)
{
	const struct vdev_cfg cfg = {
		.ops = &rng_ops,
		.name = name,
		.type = VIRTIO_ID_RNG,
		.nr_queues = 1,
		.queue_size = QUEUE_SIZE,
		.loop = loop,
		.mem = mem,
	};
	struct vdev *v = obj_new(sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	r = vdev_init(v, &cfg);
	if (r) {
		obj_free(v);
		return r;
	}
	*ret_v = v;
	return 0;
}

const struct right rng_rights[] = {
	{ RIGHT_LOOP, SYS_getrandom, RIGHT_FREE, 0, 0, "the guest's entropy" },
	{ 0 },
};
