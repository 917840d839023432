// SPDX-License-Identifier: BSD-3-Clause
/*
 * The socket device's guest side: rings, packets, who gets which.
 *
 * Transmit. Each packet is taken whole: its data goes into its connection's buffer, where the credit that the guest was
 * told has room for it, so nothing is ever left in the ring for want of a reader on the host.
 *
 * Receive. Nothing waits as a packet. What a connection has for the guest (an answer, bytes, an end, credit) is a state of its own,
 * and the connection stands in a line once; whoever is first makes a packet of what is due when there is a buffer, and goes to the
 * end of the line if there is more. So no answer is lost while the ring has no buffers, and none takes memory. Packets of no
 * connection are answered (RST) out of a small list; while that is full the transmit queue is not looked at: who sends more without
 * taking the answers holds up itself.
 *
 * RST is never answered, so two who know nothing of one another fall silent.
 *
 * The event queue's buffers are left where they are: it tells a driver of a migration, which there is none of.
 *
 * Bounds: a call takes at most a ring's worth of chains, or makes as many; what is left waits for the loop's next round.
 */
#include "devices/virtio/vsock_uds.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>

#include "devices/virtio/vsock_uds_priv.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/obj.h"

enum { RXQ, TXQ, EVENTQ, QUEUES };

#define HDR_SIZE sizeof(struct virtio_vsock_hdr)

static_assert(sizeof(struct virtio_vsock_hdr) == 44, "s5.10.6");
static_assert(VSOCK_UDS_BUFFERS == 2 * UDS_BUFFER, "one each way");
static_assert(VSOCK_UDS_MAX_CONNS + 1 < UDS_NONE, "indices");

static struct vsock_uds *to_uds(struct vdev *v)
{
	return container_of(v, struct vsock_uds, v);
}

/* ---- receive -------------------------------------------------------------------------------- */

static uint32_t credit_of(const struct uds_conn *c)
{
	uint32_t under_way = c->sent - c->guest_fwd;

	return under_way < c->guest_alloc ? c->guest_alloc - under_way : 0;
}

static bool has_data(const struct uds_conn *c)
{
	return c->state == UDS_OPEN && c->rx_at < c->rx_len && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

static bool has_end(const struct uds_conn *c)
{
	return c->state == UDS_OPEN && c->host_ended && !c->told_end && !has_data(c);
}

static bool has_something(const struct uds_conn *c)
{
	return c->owed || (has_data(c) && (credit_of(c) || !c->asked_credit)) || has_end(c);
}

void uds_ready(struct uds_conn *c)
{
	struct vsock_uds *d = c->d;

	if (c->waits || !d->on || !has_something(c))
		return;
	c->waits = true;
	c->next_waiting = UDS_NONE;
	if (d->first_waiting == UDS_NONE)
		d->first_waiting = uds_index(c);
	else
		d->conns[d->last_waiting].next_waiting = uds_index(c);
	d->last_waiting = uds_index(c);
	loop_later_ask(&d->later);
}

static struct uds_conn *take_waiting(struct vsock_uds *d)
{
	struct uds_conn *c = &d->conns[d->first_waiting];

	d->first_waiting = c->next_waiting;
	c->waits = false;
	return c;
}

/* A buffer to receive; its parts are in d->iov. 1; 0: there is none; -errno: the ring is broken. */
static int take_buffer(struct vsock_uds *d, struct vq_chain *ret_c)
{
	int r;

	*ret_c = (struct vq_chain){ .iov = d->iov, .cap = UDS_QUEUE_SIZE };
	r = vq_pop(&d->v.queues[RXQ].ring, ret_c);
	if (r < 0 || (r && (ret_c->n_out || ret_c->len_in <= HDR_SIZE))) {
		vdev_fault(&d->v, RXQ, r < 0 ? "broken receive queue" : "bad receive buffer");
		return -EPROTO;
	}
	return r;
}

/* As take_buffer(); where there is none a kick is asked for. */
static int take_buffer_or_arm(struct vsock_uds *d, struct vq_chain *ret_c)
{
	int r = take_buffer(d, ret_c);

	if (r || !vq_enable_kick(&d->v.queues[RXQ].ring))
		return r;
	r = take_buffer(d, ret_c);
	if (!r)
		vdev_notify(&d->v, RXQ);
	return r;
}

/* Copies @len bytes at @from to the place @off bytes into the parts. */
static void scatter(const struct vq_chain *c, size_t off, const void *from, size_t len)
{
	const char *p = from;

	for (unsigned i = 0; i < c->n_in && len; i++) {
		size_t room = c->iov[i].iov_len > off ? c->iov[i].iov_len - off : 0;
		size_t part = room < len ? room : len;

		if (part)
			memcpy((char *)c->iov[i].iov_base + off, p, part);
		off -= room ? off : c->iov[i].iov_len;
		p += part;
		len -= part;
	}
}

static void put_packet(struct vsock_uds *d, const struct vq_chain *c, struct virtio_vsock_hdr *h, const void *data, uint32_t len)
{
	h->src_cid = htole64(UDS_HOST_CID);
	h->dst_cid = htole64(d->cid);
	h->len = htole32(len);
	scatter(c, 0, h, HDR_SIZE);
	scatter(c, HDR_SIZE, data, len);
	vq_push(&d->v.queues[RXQ].ring, c->head, (uint32_t)HDR_SIZE + len);
}

static void put_stray(struct vsock_uds *d, const struct vq_chain *chain)
{
	const struct uds_stray *s = &d->strays[d->first_stray];
	struct virtio_vsock_hdr h = {
		.src_port = htole32(s->host_port), .dst_port = htole32(s->guest_port), .type = htole16(s->type),
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};

	d->first_stray = (d->first_stray + 1) % UDS_STRAYS;
	d->nr_strays--;
	put_packet(d, chain, &h, NULL, 0);
}

/* Which packet is due next. Answers first, then bytes, then the end. */
static uint16_t next_op(struct uds_conn *c)
{
	static const struct { uint8_t owed; uint16_t op; } ops[] = {
		{ UDS_SEND_RST, VIRTIO_VSOCK_OP_RST },
		{ UDS_SEND_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
		{ UDS_SEND_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
		{ UDS_SEND_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
		{ UDS_SEND_CREDIT_REQUEST, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
	};

	if (has_data(c) && !credit_of(c) && !c->asked_credit) {
		c->asked_credit = true;
		c->owed |= UDS_SEND_CREDIT_REQUEST;
	}
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		if (!(c->owed & ops[i].owed))
			continue;
		c->owed &= (uint8_t)~ops[i].owed;
		return ops[i].op;
	}
	if (has_end(c)) {
		c->told_end = true;
		return VIRTIO_VSOCK_OP_SHUTDOWN;
	}
	return VIRTIO_VSOCK_OP_RW;
}

/* @room: bytes of data that the buffer has room for. */
static uint32_t data_of(const struct uds_conn *c, uint32_t room)
{
	uint32_t len = c->rx_len - c->rx_at, credit = credit_of(c);

	len = len < credit ? len : credit;
	return len < room ? len : room;
}

static void put_next(struct uds_conn *c, const struct vq_chain *chain)
{
	uint16_t op = next_op(c);
	uint32_t len = op == VIRTIO_VSOCK_OP_RW ? data_of(c, chain->len_in - (uint32_t)HDR_SIZE) : 0;
	struct virtio_vsock_hdr h = {
		.src_port = htole32(c->host_port), .dst_port = htole32(c->guest_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM), .op = htole16(op),
		.flags = htole32(op == VIRTIO_VSOCK_OP_SHUTDOWN ? VIRTIO_VSOCK_SHUTDOWN_SEND : 0),
		.buf_alloc = htole32(UDS_CREDIT), .fwd_cnt = htole32(c->fwd),
	};

	c->told_fwd = c->fwd;
	c->owed &= (uint8_t)~UDS_SEND_CREDIT; /* it is in each packet */
	put_packet(c->d, chain, &h, c->rx_buf + c->rx_at, len);
	c->sent += len;
	c->rx_at += len;
	if (c->state == UDS_CLOSING)
		uds_settle(c);
	else if (len && c->rx_at == c->rx_len)
		uds_read(c);
}

/* Packets out of what is due, as long as there are buffers. */
static void rx_run(struct vsock_uds *d)
{
	struct vq *ring = &d->v.queues[RXQ].ring;
	unsigned left = ring->size;
	struct vq_chain chain;

	if (!d->on || ring->broken)
		return;
	vq_disable_kick(ring);
	d->rx_dry = false;
	for (; left && (d->nr_strays || d->first_waiting != UDS_NONE); left--) {
		struct uds_conn *c;
		int r;

		if (!d->nr_strays && !has_something(&d->conns[d->first_waiting])) {
			take_waiting(d);
			continue;
		}
		r = take_buffer_or_arm(d, &chain);
		d->rx_dry = r == 0;
		if (r <= 0)
			break;
		if (d->nr_strays) {
			put_stray(d, &chain);
			continue;
		}
		c = take_waiting(d);
		put_next(c, &chain);
		uds_ready(c);
	}
	vdev_queue_flush(&d->v, RXQ);
	if (!left && (d->nr_strays || d->first_waiting != UDS_NONE))
		vdev_notify(&d->v, RXQ);
	if (d->tx_held && d->nr_strays < UDS_STRAYS) {
		d->tx_held = false;
		vdev_notify(&d->v, TXQ);
	}
}

static void run_later(void *ctx)
{
	struct vsock_uds *d = ctx;

	if (!d->rx_dry)
		rx_run(d);
}

/* ---- transmit ------------------------------------------------------------------------------- */

/* A packet, its header out of the guest's reach. */
struct packet {
	const struct vq_chain *chain;
	uint32_t host_port, guest_port, len, flags;
	uint16_t type, op;
	uint32_t alloc, fwd;
};

static void answer_stray(struct vsock_uds *d, const struct packet *p)
{
	d->counts.strays++;
	if (p->op == VIRTIO_VSOCK_OP_RST)
		return;
	d->strays[(d->first_stray + d->nr_strays++) % UDS_STRAYS] = (struct uds_stray){
		.host_port = p->host_port, .guest_port = p->guest_port, .type = p->type,
	};
	loop_later_ask(&d->later);
}

static void take_request(struct vsock_uds *d, const struct packet *p)
{
	struct uds_conn *c = uds_take(d, UDS_ASKING);

	if (!c) {
		d->counts.refused++;
		answer_stray(d, p);
		return;
	}
	c->host_port = p->host_port;
	c->guest_port = p->guest_port;
	c->guest_alloc = p->alloc;
	c->guest_fwd = p->fwd;
	uds_know(c);
	uds_connect(c);
}

static void take_data(struct uds_conn *c, const struct packet *p)
{
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) {
		c->d->counts.strays++;
		uds_end(c, true);
	} else if (p->len > UDS_CREDIT - (c->got - c->fwd)) {
		c->d->counts.overdrawn++;
		uds_end(c, true);
	} else {
		uds_put(c, p->chain, HDR_SIZE, p->len);
	}
}

static void take_open(struct uds_conn *c, const struct packet *p)
{
	switch (p->op) {
	case VIRTIO_VSOCK_OP_RW:
		take_data(c, p);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->owed |= UDS_SEND_CREDIT;
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		c->guest_shut |= p->flags & (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
		uds_shut(c);
		break;
	default:
		c->d->counts.strays++;
		uds_end(c, true);
	}
}

static void take_known(struct uds_conn *c, const struct packet *p)
{
	if (c->state == UDS_CLOSING) {
		/* its end has been said, or will be: a new one by the same numbers comes too early */
		if (p->op == VIRTIO_VSOCK_OP_RST)
			c->owed = 0;
		else if (p->op == VIRTIO_VSOCK_OP_REQUEST)
			answer_stray(c->d, p);
		uds_settle(c);
		return;
	}
	c->guest_alloc = p->alloc;
	c->guest_fwd = p->fwd;
	if (credit_of(c))
		c->asked_credit = false;
	if (p->op == VIRTIO_VSOCK_OP_RST) {
		uds_cut(c);
	} else if (c->state == UDS_OPEN) {
		take_open(c, p);
	} else if (c->state == UDS_ASKED && p->op == VIRTIO_VSOCK_OP_RESPONSE) {
		uds_accepted(c);
	} else {
		c->d->counts.strays++;
		uds_end(c, true);
	}
	uds_ready(c);
}

static void take_packet(struct vsock_uds *d, const struct vq_chain *chain, const struct virtio_vsock_hdr *h)
{
	const struct packet p = {
		.chain = chain, .host_port = le32toh(h->dst_port), .guest_port = le32toh(h->src_port), .len = le32toh(h->len),
		.flags = le32toh(h->flags), .type = le16toh(h->type), .op = le16toh(h->op),
		.alloc = le32toh(h->buf_alloc), .fwd = le32toh(h->fwd_cnt),
	};
	struct uds_conn *c;

	if (le64toh(h->src_cid) != d->cid || le64toh(h->dst_cid) != UDS_HOST_CID) {
		d->counts.foreign++;
		return;
	}
	c = p.type == VIRTIO_VSOCK_TYPE_STREAM ? uds_find(d, p.host_port, p.guest_port) : NULL;
	if (c)
		take_known(c, &p);
	else if (p.type == VIRTIO_VSOCK_TYPE_STREAM && p.op == VIRTIO_VSOCK_OP_REQUEST)
		take_request(d, &p);
	else
		answer_stray(d, &p);
}

/* The header, out of the first parts. False: they are too few, or what it says of its data is not there. */
static bool fetch_header(const struct vq_chain *c, struct virtio_vsock_hdr *ret_h)
{
	size_t done = 0;

	for (unsigned i = 0; i < c->n_out && done < HDR_SIZE; i++) {
		size_t part = c->iov[i].iov_len < HDR_SIZE - done ? c->iov[i].iov_len : HDR_SIZE - done;

		memcpy((char *)ret_h + done, c->iov[i].iov_base, part);
		done += part;
	}
	return done == HDR_SIZE && le32toh(ret_h->len) <= c->len_out - HDR_SIZE;
}

/* One packet; false: none now. */
static bool tx_one(struct vsock_uds *d)
{
	struct vq *ring = &d->v.queues[TXQ].ring;
	struct vq_chain c = { .iov = d->iov, .cap = UDS_QUEUE_SIZE };
	struct virtio_vsock_hdr h;
	int r;

	d->tx_held = d->nr_strays == UDS_STRAYS;
	if (d->tx_held)
		return false;
	r = vq_pop(ring, &c);
	if (!r)
		return vq_enable_kick(ring);
	if (r < 0 || !fetch_header(&c, &h)) {
		vdev_fault(&d->v, TXQ, r < 0 ? "broken transmit queue" : "a packet shorter than it says");
		return false;
	}
	take_packet(d, &c, &h);
	vq_push(ring, c.head, 0);
	return true;
}

static void tx_run(struct vsock_uds *d)
{
	struct vq *ring = &d->v.queues[TXQ].ring;
	unsigned left = ring->size;

	if (!d->on || ring->broken)
		return;
	vq_disable_kick(ring);
	while (left && tx_one(d))
		left--;
	if (!left)
		vdev_notify(&d->v, TXQ);
	vdev_queue_flush(&d->v, TXQ);
}

/* ---- the device ----------------------------------------------------------------------------- */

static int uds_activate(struct vdev *v)
{
	struct vsock_uds *d = to_uds(v);
	int r = 0;

	if (!v->queues[RXQ].regs.ready || !v->queues[TXQ].regs.ready)
		return -EINVAL;
	for (unsigned q = RXQ; q <= TXQ && !r; q++)
		r = vq_start(&v->queues[q].ring, v->mem, &v->queues[q].regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
			     vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
	if (r)
		return r;
	d->on = true;
	return 0;
}

/* Connections end with the driver that they were known to; their host ends are closed by the ring, without the guest. */
static void uds_reset(struct vdev *v)
{
	struct vsock_uds *d = to_uds(v);

	d->on = d->tx_held = d->rx_dry = false;
	d->nr_strays = 0;
	d->first_waiting = UDS_NONE;
	for (unsigned i = 0; i < d->nr; i++) {
		struct uds_conn *c = &d->conns[i];

		c->waits = false;
		if (c->state == UDS_LINE)
			continue; /* a client that may wait for the next driver */
		uds_end(c, false);
		c->owed = 0;
		uds_forget(c);
		uds_settle(c);
	}
}

static void uds_kick(struct vdev *v, unsigned q)
{
	struct vsock_uds *d = to_uds(v);

	if (q == RXQ)
		rx_run(d);
	else if (q == TXQ)
		tx_run(d);
}

static void uds_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	const struct virtio_vsock_config c = { .guest_cid = htole64(to_uds(v)->cid) };

	memcpy(buf, (const char *)&c + off, len);
}

static void uds_queue_name(unsigned q, unsigned nr_queues, char *buf, size_t cap)
{
	static const char *const names[] = { "rx", "tx", "event" };

	(void)nr_queues;
	snprintf(buf, cap, "%s", names[q]);
}

static unsigned uds_counted(const struct vdev *v, struct vdev_count c[VDEV_MAX_COUNTS])
{
	const struct uds_counts *n = &container_of(v, const struct vsock_uds, v)->counts;

	c[0] = (struct vdev_count){ "from_host", n->from_host };
	c[1] = (struct vdev_count){ "from_guest", n->from_guest };
	c[2] = (struct vdev_count){ "cut", n->cut };
	c[3] = (struct vdev_count){ "refused", n->refused };
	c[4] = (struct vdev_count){ "overdrawn", n->overdrawn };
	c[5] = (struct vdev_count){ "strays", n->strays };
	return 6;
}

static void uds_dump(struct vdev *v, FILE *out)
{
	const struct vsock_uds *d = container_of(v, const struct vsock_uds, v);

	fprintf(out, "%s: connections %u of %u; packets with another's CID %llu%s\n", v->name, d->in_use, d->max,
		(unsigned long long)d->counts.foreign, d->broker.gone ? "; its broker is gone" : "");
}

static void uds_free(struct vdev *v)
{
	struct vsock_uds *d = to_uds(v);

	broker_fini(&d->broker);
	uds_conns_fini(d);
	close_fd(&d->listen_fd);
	if (d->has_vdev)
		vdev_fini(v);
	obj_free(d);
}

static const struct vdev_ops uds_ops = {
	.kind = "vsock",
	.queue_name = uds_queue_name,
	.activate = uds_activate,
	.reset = uds_reset,
	.kick = uds_kick,
	.config_read = uds_config_read,
	.counts = uds_counted,
	.dump = uds_dump,
	.free = uds_free,
};

static int init(struct vsock_uds *d, const struct vsock_uds_cfg *cfg, int *broker_fd)
{
	const struct vdev_cfg vc = {
		.ops = &uds_ops, .name = cfg->name, .type = VIRTIO_ID_VSOCK, .nr_queues = QUEUES, .queue_size = UDS_QUEUE_SIZE,
		.config_len = sizeof(struct virtio_vsock_config), .loop = cfg->loop, .mem = cfg->mem,
	};
	int r = vdev_init(&d->v, &vc);

	if (r)
		return r;
	d->has_vdev = true;
	r = uds_conns_init(d, cfg->loop);
	if (!r)
		r = loop_later_init(cfg->loop, &d->later, run_later, d);
	if (!r)
		r = broker_init(&d->broker, cfg->loop, steal_fd(broker_fd), d->v.name);
	if (!r)
		uds_accept(d);
	return r;
}

int vsock_uds_new(const struct vsock_uds_cfg *cfg, struct vdev **ret_v, struct err *err)
{
	_cleanup_close_ int listen_fd = cfg->listen_fd, broker_fd = cfg->broker_fd;
	struct vsock_uds *d = obj_new(sizeof(*d));
	int r;

	if (!d)
		return err_set(err, -ENOMEM, "%s: %s", cfg->name, strerror(ENOMEM));
	d->cid = cfg->cid;
	d->max = cfg->max_conns;
	d->listen_fd = steal_fd(&listen_fd);
	d->first_waiting = UDS_NONE;
	r = init(d, cfg, &broker_fd);
	if (r) {
		uds_free(&d->v);
		return err_set(err, r, "%s: %s", cfg->name, strerror(-r));
	}
	*ret_v = &d->v;
	return 0;
}
