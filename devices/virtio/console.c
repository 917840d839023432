// SPDX-License-Identifier: BSD-3-Clause
/*
 * One port, so no control queues. Both queues belong to the loop.
 *
 * Transmit: a chain is written to the sink from the guest's memory, without a copy of ours. If
 * the sink takes only a part, the chain is held with how far it got, nothing more is taken from
 * the ring, and console_output_room() goes on from there: a slow consumer stops the guest's
 * console, and nothing piles up here. A turn ends after TURN_CHAINS or TURN_BYTES, if need be
 * inside a chain (of up to 4 GiB), and kicks itself again, so that a guest that never stops
 * printing does not keep the loop to itself.
 *
 * Receive: input is copied into the buffers that the driver left. Without buffers nothing is
 * taken, and kicks are asked for; the first one tells the sink that there is room.
 */
#include "devices/virtio/console.h"
#include "vmm/base/obj.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

/* Linux fills the whole receive queue with pages, and its writes wait for each chain. */
#define QUEUE_SIZE 16
#define CHAIN_PARTS 64       /* parts of one chain; a longer one is a fault */
#define TURN_CHAINS 64
#define TURN_BYTES (256 * KIB)

enum { RX, TX, NR_QUEUES };  /* s5.3.2: receiveq and transmitq of port 0 */

struct console {
	struct vdev vdev;
	struct console_sink sink;
	struct virtio_console_config config; /* s5.3.4, little-endian; under vdev.lock */

	/* transmit: the chain under way */
	struct vq_chain out;
	struct iovec out_iov[CHAIN_PARTS];
	bool out_held;
	unsigned out_part;       /* iov that is next... */
	size_t out_off;          /* ...and how much of it is written */

	bool want_input_room;    /* console_input() took less than it was given */
};

static struct console *of(struct vdev *v)
{
	return container_of(v, struct console, vdev);
}

/* A queue that may be looked at: the driver started it, and nothing was wrong with it so far. */
static bool is_live(const struct vdev *v, unsigned q)
{
	return v->active && v->queues[q].ring.started && !v->queues[q].ring.broken;
}

/* Transmit */

/* Writes on in the held chain, at most *@left bytes, which are counted down. True: the sink took all it was given. */
static bool write_held(struct console *c, size_t *left)
{
	while (c->out_part < c->out.n_out && *left) {
		const struct iovec *part = &c->out_iov[c->out_part];
		size_t want = part->iov_len - c->out_off, n;

		if (want > *left)
			want = *left;
		n = c->sink.write(c->sink.ctx, (const char *)part->iov_base + c->out_off, want);
		*left -= n;
		c->out_off += n;
		if (n < want)
			return false;
		if (c->out_off == part->iov_len) {
			c->out_part++;
			c->out_off = 0;
		}
	}
	return true;
}

/* 1: the next chain is held; 0: none is left; -EPROTO. */
static int take_chain(struct console *c)
{
	int ret;

	c->out = (struct vq_chain){ .iov = c->out_iov, .cap = CHAIN_PARTS };
	ret = vq_pop(&c->vdev.queues[TX].ring, &c->out);
	if (ret > 0) {
		c->out_held = true;
		c->out_part = 0;
		c->out_off = 0;
	}
	return ret;
}

/* One turn: until the ring is empty, the sink is full, or it is somebody else's turn. */
static void transmit(struct console *c)
{
	struct vq *ring = &c->vdev.queues[TX].ring;
	size_t left = TURN_BYTES;
	int ret = 0;

	for (unsigned chains = 0; chains < TURN_CHAINS && left; chains++) {
		if (!c->out_held) {
			ret = take_chain(c);
			if (!ret && vq_enable_kick(ring))
				ret = take_chain(c);
			if (ret <= 0)
				break;
			vq_disable_kick(ring);
		}
		if (!write_held(c, &left)) {
			vdev_queue_flush(&c->vdev, TX);
			return; /* console_output_room() */
		}
		ret = 1;
		if (c->out_part < c->out.n_out)
			break;
		vq_push(ring, c->out.head, 0);
		c->out_held = false;
	}
	vdev_queue_flush(&c->vdev, TX);
	if (ret < 0)
		vdev_fault(&c->vdev, TX, "bad chain");
	else if (ret > 0)
		vdev_notify(&c->vdev, TX);
}

void console_output_room(struct vdev *v)
{
	struct console *c = of(v);

	if (is_live(v, TX))
		transmit(c);
}

/* Receive */

static size_t fill_chain(const struct vq_chain *chain, const uint8_t *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = chain->n_out; i < chain->n_out + chain->n_in && done < len; i++) {
		size_t n = chain->iov[i].iov_len < len - done ? chain->iov[i].iov_len : len - done;

		memcpy(chain->iov[i].iov_base, buf + done, n);
		done += n;
	}
	return done;
}

/* 1 and a chain, 0 after asking for kicks, -EPROTO. */
static int pop_receive(struct vq *ring, struct vq_chain *chain)
{
	int ret = vq_pop(ring, chain);

	if (!ret && vq_enable_kick(ring)) {
		ret = vq_pop(ring, chain);
		if (ret > 0)
			vq_disable_kick(ring);
	}
	return ret;
}

size_t console_input(struct vdev *v, const uint8_t *buf, size_t len)
{
	struct vq *ring = &v->queues[RX].ring;
	struct console *c = of(v);
	struct iovec iov[CHAIN_PARTS];
	size_t done = 0;
	int ret = 1;

	c->want_input_room = len != 0; /* also where there is no driver yet: activate() tells */
	if (!is_live(v, RX))
		return 0;
	/* a chain without room is given back; a ring's worth of those is all that a turn looks at */
	for (unsigned chains = 0; chains <= VQ_MAX_SIZE && done < len; chains++) {
		struct vq_chain chain = { .iov = iov, .cap = CHAIN_PARTS };
		size_t n;

		ret = pop_receive(ring, &chain);
		if (ret <= 0)
			break;
		n = fill_chain(&chain, buf + done, len - done);
		vq_push(ring, chain.head, (uint32_t)n);
		done += n;
	}
	c->want_input_room = done < len;
	vdev_queue_flush(v, RX);
	if (ret < 0)
		vdev_fault(v, RX, "bad chain");
	return done;
}

static void tell_input_room(struct console *c)
{
	if (!c->want_input_room)
		return;
	c->want_input_room = false;
	c->sink.input_room(c->sink.ctx);
}

void console_resize(struct vdev *v, uint16_t cols, uint16_t rows)
{
	struct console *c = of(v);
	bool changed;

	pthread_mutex_lock(&v->lock);
	changed = le16toh(c->config.cols) != cols || le16toh(c->config.rows) != rows;
	c->config.cols = htole16(cols);
	c->config.rows = htole16(rows);
	pthread_mutex_unlock(&v->lock);
	if (changed)
		vdev_config_changed(v);
}

/* The vdev's calls */

static int start_queue(struct vdev *v, unsigned q)
{
	struct vdev_queue *queue = &v->queues[q];
	int ret;

	if (!queue->regs.ready)
		return 0;
	ret = vq_start(&queue->ring, v->mem, &queue->regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
		       vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
	if (!ret && q == RX)
		vq_disable_kick(&queue->ring);
	return ret;
}

static int console_activate(struct vdev *v)
{
	int ret = start_queue(v, RX);

	return ret ? ret : start_queue(v, TX);
}

static void console_reset(struct vdev *v)
{
	struct console *c = of(v);

	for (unsigned q = 0; q < NR_QUEUES; q++)
		vq_stop(&v->queues[q].ring);
	c->out_held = false;
	if (c->sink.closed)
		c->sink.closed(c->sink.ctx);
}

static void console_kick(struct vdev *v, unsigned q)
{
	struct console *c = of(v);

	if (!is_live(v, q))
		return;
	if (q == RX) {
		vq_disable_kick(&v->queues[RX].ring);
		tell_input_room(c);
	} else {
		transmit(c);
	}
}

static void console_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	memcpy(buf, (const char *)&of(v)->config + off, len);
}

static void console_free(struct vdev *v)
{
	vdev_fini(v);
	obj_free(of(v));
}

static const struct vdev_ops ops = {
	.kind = "console",
	.activate = console_activate,
	.reset = console_reset,
	.kick = console_kick,
	.config_read = console_config_read,
	.free = console_free,
};

int console_new(const struct console_cfg *cfg, struct vdev **ret_v)
{
	struct vdev_cfg vc = {
		.ops = &ops, .name = cfg->name, .type = VIRTIO_ID_CONSOLE,
		.nr_queues = NR_QUEUES, .queue_size = QUEUE_SIZE,
		.config_len = sizeof(struct virtio_console_config), .offered = BIT64(VIRTIO_CONSOLE_F_SIZE),
		.loop = cfg->loop, .mem = cfg->mem,
	};
	struct console *c = obj_new(sizeof(*c));
	int ret;

	if (!c)
		return -ENOMEM;
	c->sink = *cfg->sink;
	ret = vdev_init(&c->vdev, &vc);
	if (ret) {
		obj_free(c);
		return ret;
	}
	*ret_v = &c->vdev;
	return 0;
}
