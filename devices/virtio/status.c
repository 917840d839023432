// SPDX-License-Identifier: BSD-3-Clause
/*
 * Messages to the driver are no queue: which of them are due is a bit each, and the port is said to be there, named and
 * open however often the driver asks. They go out when there is a buffer for them, in the order of the bits.
 *
 * The port's own receive queue is never used. A line may come in pieces, in any number of chains; it
 * begins anew when somebody opens the port, and so is not spoilt by one who ended in the middle of a line.
 *
 * A guest powers off as soon as it has written its status, and the machine stops, or Linux resets the device, before
 * the loop has seen the kick: what is in the ring then is looked at all the same.
 *
 * A turn ends after TURN_CHAINS and kicks itself again, so that a guest that never stops does not
 * keep the loop to itself.
 */
#include "devices/virtio/status.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "vmm/base/obj.h"

#define QUEUE_SIZE 16
#define CHAIN_PARTS 16 /* parts of one chain; a longer one is a fault */
#define TURN_CHAINS 64

enum { RX, TX, CONTROL_RX, CONTROL_TX, NR_QUEUES }; /* s5.3.2 */

#define DUE_ADD  BIT32(0)
#define DUE_NAME BIT32(1)
#define DUE_OPEN BIT32(2)

struct status {
	struct vdev vdev;
	void (*set)(void *ctx, unsigned status);
	void (*init)(void *ctx);
	void *ctx;
	uint32_t due;       /* messages to the driver */
	/* the line so far */
	unsigned number, digits;
	unsigned letters;   /* of STATUS_INIT */
	bool spoilt;        /* it is neither */
};

static struct status *of(struct vdev *v)
{
	return container_of(v, struct status, vdev);
}

static bool is_live(const struct vdev *v, unsigned q)
{
	return v->active && v->queues[q].ring.started && !v->queues[q].ring.broken;
}

/* Messages to the driver */

/* The next message, with the name behind it where it is that one. Returns its length. */
static size_t next_message(const struct status *s, uint8_t buf[sizeof(struct virtio_console_control) + sizeof(STATUS_PORT)])
{
	struct virtio_console_control m = { .id = htole32(0), .value = htole16(1) };
	size_t name = 0;

	if (s->due & DUE_ADD)
		m.event = htole16(VIRTIO_CONSOLE_PORT_ADD);
	else if (s->due & DUE_NAME)
		m.event = htole16(VIRTIO_CONSOLE_PORT_NAME), name = sizeof(STATUS_PORT) - 1;
	else
		m.event = htole16(VIRTIO_CONSOLE_PORT_OPEN);
	memcpy(buf, &m, sizeof(m));
	memcpy(buf + sizeof(m), STATUS_PORT, name);
	return sizeof(m) + name;
}

static int answer(const struct status *s, const struct vq_chain *c, uint32_t *ret_len)
{
	uint8_t buf[sizeof(struct virtio_console_control) + sizeof(STATUS_PORT)];
	size_t len = next_message(s, buf), done = 0;

	if (c->len_in < len)
		return -EPROTO;
	for (unsigned i = c->n_out; done < len; i++) {
		size_t n = c->iov[i].iov_len < len - done ? c->iov[i].iov_len : len - done;

		memcpy(c->iov[i].iov_base, buf + done, n);
		done += n;
	}
	*ret_len = (uint32_t)len;
	return 0;
}

static void send_due(struct status *s)
{
	struct vq *ring = &s->vdev.queues[CONTROL_RX].ring;
	struct iovec iov[CHAIN_PARTS];
	int r = 0;

	if (!s->due || !is_live(&s->vdev, CONTROL_RX))
		return;
	while (s->due) {
		struct vq_chain c = { .iov = iov, .cap = CHAIN_PARTS };
		uint32_t len = 0;

		r = vq_pop(ring, &c);
		if (!r && vq_enable_kick(ring))
			r = vq_pop(ring, &c);
		if (r > 0)
			r = answer(s, &c, &len) ? -EPROTO : 1;
		if (r <= 0)
			break;
		vq_push(ring, c.head, len);
		s->due &= s->due - 1;
	}
	if (!s->due)
		vq_disable_kick(ring);
	vdev_queue_flush(&s->vdev, CONTROL_RX);
	if (r < 0)
		vdev_fault(&s->vdev, CONTROL_RX, "bad buffer for control messages");
}

/* What the guest says */

static void begin_line(struct status *s)
{
	s->number = s->digits = s->letters = 0;
	s->spoilt = false;
}

static void end_line(struct status *s)
{
	bool is_init = s->letters == strlen(STATUS_INIT);

	if (s->digits && !s->letters && !s->spoilt)
		s->set(s->ctx, s->number);
	else if (is_init && !s->digits && !s->spoilt)
		s->init(s->ctx);
	else if (s->digits || s->letters || s->spoilt)
		log_limited(&s->vdev.log, "%s: the guest wrote what is no status from 0 to %d", s->vdev.name, STATUS_MAX);
	begin_line(s);
}

static void take_byte(struct status *s, uint8_t c)
{
	if (c == '\n') {
		end_line(s);
	} else if (c >= '0' && c <= '9' && s->digits < 3) {
		s->digits++;
		s->number = s->number * 10 + (c - '0');
		s->spoilt |= s->number > STATUS_MAX;
	} else if (s->letters < strlen(STATUS_INIT) && c == STATUS_INIT[s->letters]) {
		s->letters++;
	} else if (c != '\r') {
		s->spoilt = true;
	}
}

/* The first @cap bytes of what the guest wrote, fetched once. Returns how many there are. */
static size_t copy_out(const struct vq_chain *c, uint8_t *buf, size_t cap)
{
	size_t done = 0;

	for (unsigned i = 0; i < c->n_out && done < cap; i++) {
		size_t n = c->iov[i].iov_len < cap - done ? c->iov[i].iov_len : cap - done;

		memcpy(buf + done, c->iov[i].iov_base, n);
		done += n;
	}
	return done;
}

static void take_line(struct status *s, const struct vq_chain *c)
{
	uint8_t buf[STATUS_CHAIN_BYTES];
	size_t len = copy_out(c, buf, sizeof(buf));

	if (!vdev_has(&s->vdev, VIRTIO_CONSOLE_F_MULTIPORT))
		return; /* to this driver it is a console */
	for (size_t i = 0; i < len; i++)
		take_byte(s, buf[i]);
}

static void take_message(struct status *s, const struct vq_chain *c)
{
	struct virtio_console_control m;

	if (copy_out(c, (uint8_t *)&m, sizeof(m)) < sizeof(m))
		return;
	switch (le16toh(m.event)) {
	case VIRTIO_CONSOLE_DEVICE_READY:
		if (le16toh(m.value))
			s->due |= DUE_ADD;
		break;
	case VIRTIO_CONSOLE_PORT_READY:
		if (!le32toh(m.id) && le16toh(m.value))
			s->due |= DUE_NAME | DUE_OPEN;
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		if (!le32toh(m.id))
			begin_line(s);
		break;
	default: /* nothing else is about us */
		break;
	}
}

/* One turn on what the guest writes to the port or to us. */
static void take_all(struct status *s, unsigned q)
{
	struct vq *ring = &s->vdev.queues[q].ring;
	struct iovec iov[CHAIN_PARTS];
	int r = 1;

	for (unsigned chains = 0; chains < TURN_CHAINS && r > 0; chains++) {
		struct vq_chain c = { .iov = iov, .cap = CHAIN_PARTS };

		r = vq_pop(ring, &c);
		if (r <= 0)
			break;
		if (q == TX)
			take_line(s, &c);
		else
			take_message(s, &c);
		vq_push(ring, c.head, 0);
	}
	vdev_queue_flush(&s->vdev, q);
	if (r < 0)
		vdev_fault(&s->vdev, (int)q, "bad chain");
	else if (r > 0 || vq_enable_kick(ring))
		vdev_notify(&s->vdev, q);
}

/* The last look, without an answer to the driver. */
static void drain(struct status *s)
{
	struct vq *ring = &s->vdev.queues[TX].ring;
	struct iovec iov[CHAIN_PARTS];

	if (!ring->started || ring->broken)
		return;
	for (unsigned chains = 0; chains < ring->size; chains++) {
		struct vq_chain c = { .iov = iov, .cap = CHAIN_PARTS };

		if (vq_pop(ring, &c) <= 0)
			break;
		take_line(s, &c);
		vq_push(ring, c.head, 0);
	}
}

void status_drain(struct vdev *v)
{
	drain(of(v));
}

/* The vdev's calls */

static int status_activate(struct vdev *v)
{
	bool multiport = vdev_has(v, VIRTIO_CONSOLE_F_MULTIPORT);
	int ret = 0;

	for (unsigned q = 0; q < NR_QUEUES && !ret; q++) {
		struct vdev_queue *queue = &v->queues[q];

		if (queue->regs.ready && (multiport || q < CONTROL_RX))
			ret = vq_start(&queue->ring, v->mem, &queue->regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
				       vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
	}
	return ret;
}

static void status_reset(struct vdev *v)
{
	struct status *s = of(v);

	drain(s);
	for (unsigned q = 0; q < NR_QUEUES; q++)
		vq_stop(&v->queues[q].ring);
	s->due = 0;
	begin_line(s);
}

static void status_kick(struct vdev *v, unsigned q)
{
	struct status *s = of(v);

	if (!is_live(v, q))
		return;
	if (q == RX)
		vq_disable_kick(&v->queues[RX].ring);
	else if (q != CONTROL_RX)
		take_all(s, q);
	if (q >= CONTROL_RX)
		send_due(s);
}

static void status_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	const struct virtio_console_config config = { .max_nr_ports = htole32(1) };

	(void)v;
	memcpy(buf, (const char *)&config + off, len);
}

static void status_free(struct vdev *v)
{
	vdev_fini(v);
	obj_free(of(v));
}

static const struct vdev_ops ops = {
	.kind = "status",
	.activate = status_activate,
	.reset = status_reset,
	.kick = status_kick,
	.config_read = status_config_read,
	.free = status_free,
};

int status_new(const struct status_cfg *cfg, struct vdev **ret_v)
{
	struct vdev_cfg vc = {
		.ops = &ops, .name = cfg->name, .type = VIRTIO_ID_CONSOLE,
		.nr_queues = NR_QUEUES, .queue_size = QUEUE_SIZE,
		.config_len = sizeof(struct virtio_console_config), .offered = BIT64(VIRTIO_CONSOLE_F_MULTIPORT),
		.loop = cfg->loop, .mem = cfg->mem,
	};
	struct status *s = obj_new(sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	s->set = cfg->set;
	s->init = cfg->init;
	s->ctx = cfg->ctx;
	ret = vdev_init(&s->vdev, &vc);
	if (ret) {
		obj_free(s);
		return ret;
	}
	*ret_v = &s->vdev;
	return 0;
}
