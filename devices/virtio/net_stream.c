// SPDX-License-Identifier: BSD-3-Clause
/*
 * Packets of the network device by way of a stream socket, to a process that is a network to them (passt):
 * each frame has its length before it, 4 bytes, big-endian.
 *
 * A stream that lost its place cannot find it again, so no frame is ever left half read or half written, whatever the
 * driver does meanwhile. Hence both ways go through a buffer of ours, and a reset has nothing to wait for: the
 * guest's memory is not part of any transfer. The socket copies in any case; this is one copy more.
 *
 * Receive. A read is always under way, as long as there is room. Whole frames are copied into the driver's
 * buffers, as many as each takes (one chain, where the driver did not take MRG_RXBUF). Where it has left too
 * few, the frame stays, and the reading stops when the buffer is full: the peer then drops, or waits. While no
 * driver is there frames are dropped, as by a wire without a card.
 *
 * Transmit. Frames are copied behind one another as long as the largest would fit, and written in one go. The
 * rest of a short write follows before anything else.
 *
 * The peer is trusted no more than a wire. A length that no frame has, a closed socket or an error ends the link: the driver
 * is told (VIRTIO_NET_S_LINK_UP), what it sends is dropped, and one line says so. A link that is down stays down.
 *
 * Bounds: a callback takes at most a buffer's worth of frames, or a ring's worth of chains; what is left of these waits for
 * the loop's next round, by a kick to ourselves. What a limit (net_limit.c) keeps from passing stays in the buffer, or in the ring.
 */
#include <assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/net_priv.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/compat.h"
#include "vmm/base/log.h"

static_assert(NET_STREAM_FRAME_MAX + NET_HDR_SIZE <= NET_MAX_PACKET, "packets");

static struct vq *rx_ring(const struct net_stream *s)
{
	return &s->net->v.queues[net_rxq(&s->net->pair[0])].ring;
}

static struct vq *tx_ring(const struct net_stream *s)
{
	return &s->net->v.queues[net_txq(&s->net->pair[0])].ring;
}

/* Once; what is under way ends by itself. */
static void link_down(struct net_stream *s, const char *why)
{
	struct vdev *v = &s->net->v;

	if (s->down)
		return;
	s->down = true;
	log_warn("%s: %s %s; the link is down", v->name, s->peer, why);
	pthread_mutex_lock(&v->lock);
	s->net->link_down = true;
	pthread_mutex_unlock(&v->lock);
	vdev_config_changed(v);
	vdev_notify(v, net_txq(&s->net->pair[0])); /* what waits for a write that may never end is dropped */
}

/* A transfer ended with @res: 0 or a negative errno. */
static void lost(struct net_stream *s, int res)
{
	char why[80];

	snprintf(why, sizeof(why), "is gone (%s)", res ? strerror(-res) : "it closed the connection");
	link_down(s, why);
}

/* ---- receive ------------------------------------------------------------------------------ */

/* Copies @len bytes at @from to the place @off bytes into the parts; what does not fit is left out. */
static void scatter(const struct iovec *iov, unsigned n, size_t off, const void *from, size_t len)
{
	const char *p = from;

	for (unsigned i = 0; i < n && len; i++) {
		size_t room = iov[i].iov_len > off ? iov[i].iov_len - off : 0;
		size_t part = room < len ? room : len;

		if (part)
			memcpy((char *)iov[i].iov_base + off, p, part);
		off -= room ? off : iov[i].iov_len;
		p += part;
		len -= part;
	}
}

/* The length of the frame at the front, 0: it is not all there. */
static uint32_t next_frame(struct net_stream *s)
{
	const uint8_t *p = s->rx_buf + s->rx_at;
	size_t have = s->rx_len - s->rx_at;
	char why[60];
	uint32_t len;

	if (have < NET_STREAM_LEN)
		return 0;
	len = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	if (len < ETH_HLEN || len > NET_STREAM_FRAME_MAX) {
		snprintf(why, sizeof(why), "sends what are no frames (a length of %u)", len);
		link_down(s, why);
		return 0;
	}
	return len <= have - NET_STREAM_LEN ? len : 0;
}

enum delivery { DELIVERED, NO_ROOM, NEVER };

/* One chain more for a frame; its parts are at @iov. 1; 0: there is none; -errno: the ring is broken. */
static int take_chain(struct net_stream *s, struct iovec *iov, struct vq_chain *ret_c)
{
	struct net *n = s->net;
	unsigned q = net_rxq(&n->pair[0]);
	int r;

	*ret_c = (struct vq_chain){ .iov = iov, .cap = NET_QUEUE_SIZE };
	r = vq_pop(rx_ring(s), ret_c);
	if (r < 0 || (r && (ret_c->n_out || ret_c->len_in < NET_HDR_SIZE))) {
		/* s5.1.6.3.1: all of it writable, and room for the header in the first. */
		vdev_fault(&n->v, (int)q, r < 0 ? "broken receive queue" : "bad receive buffer");
		return -EPROTO;
	}
	return r;
}

/*
 * As take_chain(); where there is none, a kick is asked for behind the chains that are taken, before they go back: what lies
 * in the ring already is no news.
 */
static int take_chain_or_arm(struct net_stream *s, struct iovec *iov, struct vq_chain *ret_c)
{
	int r = take_chain(s, iov, ret_c);

	if (r || !vq_enable_kick(rx_ring(s)))
		return r;
	/* one came in meanwhile, and no kick for it may */
	r = take_chain(s, iov, ret_c);
	if (!r)
		vdev_notify(&s->net->v, net_rxq(&s->net->pair[0]));
	return r;
}

/* The frame is in the first @n chains of the stash, all of it. */
static void push_chains(struct net_stream *s, unsigned n)
{
	const struct virtio_net_hdr_v1 h = { .num_buffers = (uint16_t)n };

	scatter(s->first, s->nr_first, 0, &h, sizeof(h));
	for (unsigned i = 0; i < n; i++)
		vq_push(rx_ring(s), s->heads[i], s->lens[i]);
	s->rx_unflushed = true;
}

/* One frame into as many chains as it takes, or none. */
static enum delivery deliver(struct net_stream *s, const uint8_t *frame, uint32_t len)
{
	bool merges = vdev_has(&s->net->v, VIRTIO_NET_F_MRG_RXBUF);
	uint32_t total = NET_HDR_SIZE + len, done = 0;
	unsigned n = 0;

	while (done < total) {
		uint32_t skip = n ? 0 : NET_HDR_SIZE;
		struct vq_chain c;
		int r;

		/* longer than all that there may be */
		if (n == (merges ? rx_ring(s)->size : 1)) {
			vq_unpop(rx_ring(s), n);
			return NEVER;
		}
		r = take_chain_or_arm(s, n ? s->more : s->first, &c);
		if (r < 0)
			return NEVER;
		if (!r) {
			vq_unpop(rx_ring(s), n);
			return NO_ROOM;
		}
		if (!n)
			s->nr_first = c.n_in;
		s->heads[n] = c.head;
		s->lens[n] = c.len_in < total - done ? c.len_in : total - done;
		scatter(c.iov, c.n_in, skip, frame + (done ? done - NET_HDR_SIZE : 0), s->lens[n] - skip);
		done += s->lens[n++];
	}
	push_chains(s, n);
	return DELIVERED;
}

/* False: the frame has to wait for buffers, and a kick is asked for. */
static bool pass_on(struct net_stream *s, const uint8_t *frame, uint32_t len)
{
	enum delivery d = NEVER;
	bool was_stalled = s->stalled;

	if (s->net->pair[0].on && !rx_ring(s)->broken)
		d = deliver(s, frame, len);
	s->stalled = d == NO_ROOM;
	if (s->stalled)
		return false;
	if (was_stalled)
		vq_disable_kick(rx_ring(s));
	if (d == DELIVERED)
		net_passed(&s->net->limit[NET_RX], len);
	s->net->limit[NET_RX].dropped += d == NEVER;
	return true;
}

/* What is left moves to the front. */
static void rx_read(struct net_stream *s)
{
	if (s->down || s->rx_io.busy)
		return;
	if (s->rx_at)
		memmove(s->rx_buf, s->rx_buf + s->rx_at, s->rx_len - s->rx_at);
	s->rx_len -= s->rx_at;
	s->rx_at = 0;
	if (s->rx_len == sizeof(s->rx_buf))
		return;
	s->rx_iov = (struct iovec){ .iov_base = s->rx_buf + s->rx_len, .iov_len = sizeof(s->rx_buf) - s->rx_len };
	if (loop_readv(&s->rx_io, &s->rx_iov, 1))
		link_down(s, "cannot be read from");
}

/* What is dropped need not wait. */
static bool may_deliver(struct net_stream *s)
{
	return !s->net->pair[0].on || rx_ring(s)->broken || net_may_pass(&s->net->limit[NET_RX]);
}

static void rx_run(struct net_stream *s)
{
	uint32_t len;

	while ((len = next_frame(s)) && may_deliver(s) && pass_on(s, s->rx_buf + s->rx_at + NET_STREAM_LEN, len))
		s->rx_at += NET_STREAM_LEN + len;
	if (s->rx_unflushed)
		vdev_queue_flush(&s->net->v, net_rxq(&s->net->pair[0]));
	s->rx_unflushed = false;
	rx_read(s);
}

static void rx_done(void *ctx, int res)
{
	struct net_stream *s = ctx;

	if (s->closing)
		return;
	if (res > 0)
		s->rx_len += (size_t)res;
	else if (res != -EINTR && res != -ECANCELED)
		lost(s, res);
	rx_run(s);
}

/* ---- transmit ----------------------------------------------------------------------------- */

/* Copies what follows the first @skip bytes of the readable parts. */
static void gather(const struct vq_chain *c, size_t skip, uint8_t *to)
{
	for (unsigned i = 0; i < c->n_out; i++) {
		size_t off = skip < c->iov[i].iov_len ? skip : c->iov[i].iov_len;

		memcpy(to, (const char *)c->iov[i].iov_base + off, c->iov[i].iov_len - off);
		to += c->iov[i].iov_len - off;
		skip -= off;
	}
}

/* The packet's header, which may be in several parts. Nothing was offered that it could ask for. */
static bool header_ok(const struct vq_chain *c)
{
	struct virtio_net_hdr_v1 h;
	size_t done = 0;

	for (unsigned i = 0; i < c->n_out && done < sizeof(h); i++) {
		size_t part = c->iov[i].iov_len < sizeof(h) - done ? c->iov[i].iov_len : sizeof(h) - done;

		memcpy((char *)&h + done, c->iov[i].iov_base, part);
		done += part;
	}
	return done == sizeof(h) && !(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && h.gso_type == VIRTIO_NET_HDR_GSO_NONE;
}

/* Behind what is to be written already; there is room for it. */
static bool tx_append(struct net_stream *s, const struct vq_chain *c)
{
	uint8_t *to = s->tx_buf + s->tx_len;
	uint32_t len;

	if (s->down || c->len_out < NET_HDR_SIZE + ETH_HLEN || c->len_out > NET_HDR_SIZE + NET_STREAM_FRAME_MAX || !header_ok(c))
		return false;
	len = c->len_out - NET_HDR_SIZE;
	to[0] = (uint8_t)(len >> 24);
	to[1] = (uint8_t)(len >> 16);
	to[2] = (uint8_t)(len >> 8);
	to[3] = (uint8_t)len;
	gather(c, NET_HDR_SIZE, to + NET_STREAM_LEN);
	s->tx_len += NET_STREAM_LEN + len;
	net_passed(&s->net->limit[NET_TX], len);
	return true;
}

static void tx_write(struct net_stream *s)
{
	if (s->down || s->tx_io.busy || s->tx_at == s->tx_len)
		return;
	s->tx_iov = (struct iovec){ .iov_base = s->tx_buf + s->tx_at, .iov_len = s->tx_len - s->tx_at };
	if (loop_writev(&s->tx_io, &s->tx_iov, 1))
		link_down(s, "cannot be written to");
}

/* One step; false: nothing to do now. */
static bool tx_one(struct net_stream *s, struct vq *ring)
{
	struct vq_chain c = { .iov = s->more, .cap = NET_QUEUE_SIZE };
	int r;

	if (!s->down && (sizeof(s->tx_buf) - s->tx_len < NET_STREAM_LEN + NET_STREAM_FRAME_MAX ||
			 !net_may_pass(&s->net->limit[NET_TX])))
		return false; /* until the write is done, or it may */
	r = vq_pop(ring, &c);
	if (!r)
		return vq_enable_kick(ring);
	if (r < 0) {
		vdev_fault(&s->net->v, (int)net_txq(&s->net->pair[0]), "broken transmit queue");
		return false;
	}
	if (!tx_append(s, &c))
		s->net->limit[NET_TX].dropped++;
	vq_push(ring, c.head, 0);
	s->tx_unflushed = true;
	return true;
}

static void tx_run(struct net_stream *s)
{
	struct vq *ring = tx_ring(s);
	unsigned left = ring->size;

	if (s->net->pair[0].on && !ring->broken) {
		vq_disable_kick(ring);
		while (left && tx_one(s, ring))
			left--;
		if (!left)
			vdev_notify(&s->net->v, net_txq(&s->net->pair[0]));
		if (s->tx_unflushed)
			vdev_queue_flush(&s->net->v, net_txq(&s->net->pair[0]));
		s->tx_unflushed = false;
	}
	tx_write(s);
}

static void tx_done(void *ctx, int res)
{
	struct net_stream *s = ctx;

	if (s->closing)
		return;
	if (res > 0)
		s->tx_at += (size_t)res;
	else if (res != -EINTR && res != -ECANCELED)
		lost(s, res);
	if (s->tx_at == s->tx_len)
		s->tx_at = s->tx_len = 0;
	tx_run(s);
}

/* ---- life --------------------------------------------------------------------------------- */

/* The first read: a peer that ends is noticed whether there is a driver or not. */
static int stream_init(struct net *n, const struct net_cfg *cfg, struct err *err)
{
	struct net_stream *s = n->stream;
	int r;

	s->peer = cfg->peer;
	r = loop_io_init(n->v.loop, &s->rx_io, s->fd, rx_done, s);
	if (!r)
		r = loop_io_init(n->v.loop, &s->tx_io, s->fd, tx_done, s);
	if (r)
		return err_set(err, r, "%s: event loop: %s", n->v.name, strerror(-r));
	rx_read(s);
	return 0;
}

static void stream_fini(struct net *n)
{
	struct net_stream *s = n->stream;

	if (!s)
		return;
	s->closing = true;
	loop_io_cancel(&s->rx_io);
	loop_io_cancel(&s->tx_io);
	close_fd(&s->fd);
	free(s);
}

/* What was to be written is on the wire already; what waited for buffers is dropped. */
static void stream_stop(struct net *n)
{
	struct net_stream *s = n->stream;

	n->pair[0].on = false;
	s->rx_unflushed = s->tx_unflushed = false;
	rx_run(s);
}

static int stream_pair_on(struct net_pair *p)
{
	p->on = true;
	vq_disable_kick(rx_ring(p->net->stream));
	rx_run(p->net->stream);
	return 0;
}

static void stream_pair_off(struct net_pair *p)
{
	p->on = false;
}

static void stream_kick(struct net_pair *p, bool transmit)
{
	struct net_stream *s = p->net->stream;

	if (transmit) {
		tx_run(s);
	} else if (s->stalled) {
		vq_disable_kick(rx_ring(s));
		rx_run(s);
	}
}

static void stream_resume(struct net_pair *p, bool transmit)
{
	if (transmit)
		tx_run(p->net->stream);
	else
		rx_run(p->net->stream);
}

const struct net_path net_path_stream = {
	.init = stream_init,
	.fini = stream_fini,
	.start = net_start_rings,
	.stop = stream_stop,
	.pair_on = stream_pair_on,
	.pair_off = stream_pair_off,
	.kick = stream_kick,
	.resume = stream_resume,
};
