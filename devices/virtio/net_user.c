// SPDX-License-Identifier: BSD-3-Clause
/*
 * Packets of the network device moved by our event loop: readv and writev between tap and the
 * guest's buffers, through io_uring. The tap's descriptors are O_NONBLOCK, which io_uring takes
 * as "may be tried at once": it tries, and waits for readiness itself where there is nothing.
 *
 * Receive. Chains are taken from the ring into a stash that is long enough for the largest
 * packet (one chain, where the driver did not take MRG_RXBUF), and one readv over all of them
 * is always under way. A packet uses up the first chains of the stash; the rest stays for
 * the next. A spare byte behind the stash tells a packet that was cut from one that just fit;
 * the former is dropped. Kicks are wanted only while the stash is short: then the readv is
 * called off and started again over more chains. Without any chain there is no readv, and
 * what the tap's queue cannot hold the host drops.
 *
 * Transmit. A frame's packet header and Ethernet header are copied, checked and sent from the
 * copy, the rest goes out of the guest's buffers. Up to NET_TX_DEPTH frames are under way;
 * the kernel tries them in order at submission, and a tap does not block, so they stay in order.
 *
 * The packet header reaches the host's segmentation code, hence: nothing that the driver did not
 * acknowledge, no flag that is not the driver's to set, and segmentation only for the protocol
 * that the frame says it is. What does not pass is dropped, counted, and given back.
 *
 * Bounds: a callback takes at most one ring's worth of chains; what is left waits for the
 * loop's next round, by a kick to ourselves. With limits (net_limit.c) no readv begins and no chain is
 * taken to be sent before what has passed is paid for; more waits in the tap's queue, whose end the host drops.
 */
#include <assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/net_priv.h"
#include "vmm/base/compat.h"
#include "vmm/base/log.h"

#define NET_TX_DEPTH_MANY 2 /* where many pairs share the work, and the loop's table of descriptors */
#define MANY_PAIRS 4

#define VLAN_LEN 4

static_assert(NET_TX_COPY == NET_HDR_SIZE + ETH_HLEN + VLAN_LEN, "what is copied of a frame");

static struct vq *ring_of(struct net_pair *p, unsigned q)
{
	return &p->net->v.queues[q].ring;
}

/* ---- receive ------------------------------------------------------------------------------ */

static bool rx_enough(const struct net_rx *rx)
{
	if (rx->nr_chains && !vdev_has(&rx->pair->net->v, VIRTIO_NET_F_MRG_RXBUF))
		return true;
	return rx->room >= NET_MAX_PACKET || rx->nr_chains == NET_RX_MAX_CHAINS ||
	       rx->nr_iov > NET_RX_MAX_IOV - NET_QUEUE_SIZE;
}

/* Takes chains until there are enough or no more; false: the ring is broken. */
static bool rx_fill(struct net_rx *rx)
{
	struct vdev *v = &rx->pair->net->v;
	unsigned q = net_rxq(rx->pair);

	while (!rx_enough(rx)) {
		struct vq_chain c = { .iov = &rx->iov[rx->nr_iov], .cap = NET_QUEUE_SIZE };
		int r = vq_pop(ring_of(rx->pair, q), &c);

		if (!r)
			return true;
		if (r < 0 || c.n_out || c.len_in < NET_HDR_SIZE) {
			/* s5.1.6.3.1: all of it writable, and room for the header in the first. */
			vdev_fault(v, (int)q, r < 0 ? "broken receive queue" : "bad receive buffer");
			return false;
		}
		rx->chains[rx->nr_chains++] = (struct net_rx_chain){
			.head = c.head, .parts = (uint16_t)c.n_in, .len = c.len_in };
		rx->nr_iov += c.n_in;
		rx->room += c.len_in;
	}
	return true;
}

/* Fills the stash, and asks for kicks if it stays short; false: broken. */
static bool rx_prepare(struct net_rx *rx)
{
	struct vq *ring = ring_of(rx->pair, net_rxq(rx->pair));

	if (!rx_fill(rx))
		return false;
	if (rx_enough(rx)) {
		vq_disable_kick(ring);
		return true;
	}
	if (!vq_enable_kick(ring))
		return true;
	/* Some came in meanwhile, and a kick for what follows may be lost: look again later. */
	if (!rx_fill(rx))
		return false;
	if (!rx_enough(rx) && vq_enable_kick(ring))
		vdev_notify(&rx->pair->net->v, net_rxq(rx->pair));
	return true;
}

static void rx_run(struct net_rx *rx)
{
	int r;

	if (rx->held || rx->dead || rx->waiting || rx->io.busy ||
	    ring_of(rx->pair, net_rxq(rx->pair))->broken || !rx_prepare(rx) || !rx->nr_chains ||
	    !net_may_pass(&rx->pair->net->limit[NET_RX]))
		return;
	rx->iov[rx->nr_iov] = (struct iovec){ .iov_base = &rx->spare, .iov_len = 1 };
	r = loop_readv(&rx->io, rx->iov, rx->nr_iov + 1);
	if (r) {
		rx->dead = true;
		log_guest("%s: cannot read from %s: %s", rx->pair->net->v.name, rx->pair->net->tap->name,
			  strerror(-r));
	}
}

/* Calls the readv off; the stash stays. */
static void rx_hold(struct net_rx *rx)
{
	rx->held = true;
	rx->waiting = false;
	loop_poll_disarm(&rx->poll);
	loop_io_cancel(&rx->io);
}

static void rx_kick(struct net_rx *rx)
{
	if (!rx->pair->on || rx_enough(rx))
		return;
	rx_hold(rx);
	rx->held = false;
	rx_run(rx);
}

/* Writes num_buffers (s5.1.6.4), which may be split over parts in any way. */
static void rx_set_num_buffers(const struct net_rx *rx, uint16_t n)
{
	uint8_t bytes[2] = { (uint8_t)n, (uint8_t)(n >> 8) };
	size_t at = offsetof(struct virtio_net_hdr_v1, num_buffers), done = 0;

	for (unsigned i = 0; done < sizeof(bytes) && i < rx->nr_iov; i++) {
		for (; done < sizeof(bytes) && at < rx->iov[i].iov_len; at++)
			((uint8_t *)rx->iov[i].iov_base)[at] = bytes[done++];
		at -= rx->iov[i].iov_len < at ? rx->iov[i].iov_len : at;
	}
}

/* Gives the first chains to the driver, filled with a packet of @len bytes <= room. */
static void rx_deliver(struct net_rx *rx, uint32_t len)
{
	struct net_pair *p = rx->pair;
	unsigned n = 0, parts = 0;
	uint64_t sum = 0; /* as room: the parts of two chains may overlap and together exceed 32 bits */

	while (sum < len) {
		sum += rx->chains[n].len;
		parts += rx->chains[n++].parts;
	}
	rx_set_num_buffers(rx, (uint16_t)n);
	net_passed(&p->net->limit[NET_RX], len - NET_HDR_SIZE);
	for (unsigned i = 0; i < n; i++) {
		uint32_t part = rx->chains[i].len < len ? rx->chains[i].len : len;

		vq_push(ring_of(p, net_rxq(p)), rx->chains[i].head, part);
		len -= part;
	}
	rx->nr_chains -= n;
	rx->nr_iov -= parts;
	rx->room -= sum;
	memmove(rx->chains, rx->chains + n, rx->nr_chains * sizeof(*rx->chains));
	memmove(rx->iov, rx->iov + parts, rx->nr_iov * sizeof(*rx->iov));
	vdev_queue_flush(&p->net->v, net_rxq(p));
}

static void rx_failed(struct net_rx *rx, int res)
{
	if (res == -ECANCELED || res == -EINTR)
		return;
	if (res == -EAGAIN) {
		rx->waiting = true;
		loop_poll_arm(&rx->poll, POLLIN);
		return;
	}
	rx->dead = true;
	log_guest("%s: read from %s: %s; no packets until the guest resets the device",
		  rx->pair->net->v.name, rx->pair->net->tap->name, res ? strerror(-res) : "end of file");
}

static void rx_done(void *ctx, int res)
{
	struct net_rx *rx = ctx;

	if (rx->pair->user->stopping)
		return;
	if (res <= 0)
		rx_failed(rx, res);
	else if (res < NET_HDR_SIZE || (unsigned)res > rx->room || res > NET_MAX_PACKET)
		rx->pair->net->limit[NET_RX].dropped++;
	else
		rx_deliver(rx, (uint32_t)res);
	rx_run(rx);
}

static void rx_ready(void *ctx, uint32_t events)
{
	struct net_rx *rx = ctx;

	(void)events;
	rx->waiting = false;
	loop_poll_disarm(&rx->poll);
	rx_run(rx);
}

/* ---- transmit ----------------------------------------------------------------------------- */

static unsigned load16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* EtherType of the frame in @copy, behind one VLAN tag; 0 where it is not in there. */
static unsigned frame_protocol(const uint8_t *copy, size_t len)
{
	const uint8_t *type = copy + NET_HDR_SIZE + 2 * ETH_ALEN;
	unsigned proto = load16(type);

	if (proto != ETH_P_8021Q && proto != ETH_P_8021AD)
		return proto;
	return len < NET_TX_COPY ? 0 : load16(type + VLAN_LEN);
}

/*
 * Where the host has to cut a packet itself it does so within our writev: not into tens of thousands. The least
 * that Linux' TCP puts into a segment is 36 bytes; of UDP the kernel takes 128 segments.
 */
static bool segments_ok(const struct virtio_net_hdr_v1 *h, uint32_t frame)
{
	unsigned most = h->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 ? 128 : 2048;

	return h->gso_size && frame / h->gso_size <= most;
}

static bool gso_ok(const struct vdev *v, const struct virtio_net_hdr_v1 *h, unsigned proto)
{
	bool ecn = h->gso_type & VIRTIO_NET_HDR_GSO_ECN;
	bool ip4 = proto == ETH_P_IP, ip6 = proto == ETH_P_IPV6;

	/* s5.1.6.2.1: segments need their checksums filled in. */
	if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || (ecn && !vdev_has(v, VIRTIO_NET_F_HOST_ECN)))
		return false;
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return ip4 && vdev_has(v, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return ip6 && vdev_has(v, VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP:
		return (ip4 || ip6) && !ecn && vdev_has(v, VIRTIO_NET_F_HOST_UFO);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return (ip4 || ip6) && !ecn && vdev_has(v, VIRTIO_NET_F_HOST_USO);
	default:
		return false;
	}
}

/* Checks the headers of a packet of @len bytes, of which @copied are in @copy, and cleans the first. */
static bool tx_headers_ok(const struct vdev *v, uint8_t *copy, size_t copied, uint32_t len)
{
	struct virtio_net_hdr_v1 h;
	uint32_t frame = len - NET_HDR_SIZE;
	bool ok = true;

	memcpy(&h, copy, sizeof(h));
	h.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h.num_buffers = 0;
	if (h.flags)
		ok = vdev_has(v, VIRTIO_NET_F_CSUM) &&
		     (uint32_t)h.csum_start + h.csum_offset + 2 <= frame;
	else
		h.csum_start = h.csum_offset = 0;
	if (h.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		ok = ok && h.hdr_len <= frame && segments_ok(&h, frame) && gso_ok(v, &h, frame_protocol(copy, copied));
	else
		h.hdr_len = h.gso_size = 0;
	memcpy(copy, &h, sizeof(h));
	return ok;
}

/*
 * Turns the chain whose parts begin at iov[1] into what is to be written: the checked copy,
 * then what follows it in the guest's buffers. False: not a packet that may be sent.
 */
static bool tx_prepare(struct net_tx_slot *s, const struct vq_chain *c, struct iovec **ret_iov, unsigned *ret_n)
{
	size_t copied = 0;
	unsigned i = 0;

	if (c->len_out < NET_HDR_SIZE + ETH_HLEN || c->len_out > NET_MAX_PACKET)
		return false;
	while (i < c->n_out && copied < NET_TX_COPY) {
		struct iovec *part = &c->iov[i];
		size_t len = part->iov_len < NET_TX_COPY - copied ? part->iov_len : NET_TX_COPY - copied;

		memcpy(s->copy + copied, part->iov_base, len);
		copied += len;
		part->iov_base = (char *)part->iov_base + len;
		part->iov_len -= len;
		i += !part->iov_len;
	}
	if (!tx_headers_ok(&s->pair->net->v, s->copy, copied, c->len_out))
		return false;
	s->len = c->len_out;
	s->iov[i] = (struct iovec){ .iov_base = s->copy, .iov_len = copied };
	*ret_iov = &s->iov[i];
	*ret_n = 1 + c->n_out - i;
	return true;
}

static struct net_tx_slot *tx_free_slot(struct net_user *u)
{
	for (unsigned i = 0; i < u->tx_depth; i++)
		if (!u->tx[i].busy)
			return &u->tx[i];
	return NULL;
}

static void tx_complete(struct net_pair *p, uint16_t head, bool sent)
{
	vq_push(ring_of(p, net_txq(p)), head, 0);
	p->user->tx_unflushed++;
	if (!sent)
		p->net->limit[NET_TX].dropped++;
}

static void tx_send(struct net_pair *p, struct net_tx_slot *s, const struct vq_chain *c)
{
	struct iovec *iov;
	unsigned n;

	s->head = c->head;
	if (!tx_prepare(s, c, &iov, &n) || loop_writev(&s->io, iov, n)) {
		tx_complete(p, c->head, false);
		return;
	}
	s->busy = true;
	p->user->tx_busy++;
	net_passed(&p->net->limit[NET_TX], s->len - NET_HDR_SIZE);
}

/* Shows the driver what is done, in batches as long as more is to come for sure. */
static void tx_flush(struct net_pair *p)
{
	struct net_user *u = p->user;

	if (!u->tx_unflushed || (u->tx_busy && u->tx_unflushed < u->tx_depth))
		return;
	u->tx_unflushed = 0;
	vdev_queue_flush(&p->net->v, net_txq(p));
}

/* One step; false: nothing to do now. */
static bool tx_one(struct net_pair *p, struct vq *ring)
{
	struct net_tx_slot *s = tx_free_slot(p->user);
	struct vq_chain c;
	int r;

	if (!s || !net_may_pass(&p->net->limit[NET_TX]))
		return false;
	c = (struct vq_chain){ .iov = s->iov + 1, .cap = NET_QUEUE_SIZE };
	r = vq_pop(ring, &c);
	if (r > 0)
		tx_send(p, s, &c);
	else if (r < 0)
		vdev_fault(&p->net->v, (int)net_txq(p), "broken transmit queue");
	else
		return vq_enable_kick(ring);
	return r > 0;
}

static void tx_run(struct net_pair *p)
{
	struct vq *ring = ring_of(p, net_txq(p));
	unsigned left = ring->size;

	if (ring->broken)
		return; /* frames under way ended */
	vq_disable_kick(ring);
	while (left && tx_one(p, ring))
		left--;
	if (!left)
		vdev_notify(&p->net->v, net_txq(p));
	tx_flush(p);
}

static void tx_done(void *ctx, int res)
{
	struct net_tx_slot *s = ctx;
	struct net_pair *p = s->pair;

	s->busy = false;
	p->user->tx_busy--;
	if (p->user->stopping)
		return;
	tx_complete(p, s->head, res == (int)s->len);
	tx_run(p);
}

/* ---- life --------------------------------------------------------------------------------- */

static int init_pair(struct net_pair *p)
{
	struct loop *l = p->net->v.loop;
	int fd = p->net->tap->fds[p->index];
	struct net_user *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	p->user = u;
	u->tx_depth = p->net->pairs > MANY_PAIRS ? NET_TX_DEPTH_MANY : NET_TX_DEPTH;
	u->rx.pair = p;
	r = loop_io_init(l, &u->rx.io, fd, rx_done, &u->rx);
	if (!r)
		r = loop_poll_init(l, &u->rx.poll, fd, rx_ready, &u->rx);
	for (unsigned i = 0; !r && i < u->tx_depth; i++) {
		u->tx[i].pair = p;
		r = loop_io_init(l, &u->tx[i].io, fd, tx_done, &u->tx[i]);
	}
	return r;
}

static int user_init(struct net *n, const struct net_cfg *cfg, struct err *err)
{
	(void)cfg;
	for (unsigned i = 0; i < n->pairs; i++) {
		int r = init_pair(&n->pair[i]);

		if (r)
			return err_set(err, r, "%s: event loop: %s", n->v.name, strerror(-r));
	}
	return 0;
}

static void user_fini(struct net *n)
{
	for (unsigned i = 0; i < n->pairs; i++) {
		if (n->pair[i].user)
			loop_poll_fini(&n->pair[i].user->rx.poll);
		free(n->pair[i].user);
	}
}

static int user_pair_on(struct net_pair *p)
{
	p->on = true;
	p->user->rx.held = false;
	p->user->rx.dead = false;
	rx_run(&p->user->rx);
	return 0;
}

/* Frames under way complete; of what the driver sends while the pair is off the tap refuses each. */
static void user_pair_off(struct net_pair *p)
{
	p->on = false;
	rx_hold(&p->user->rx);
}

static void stop_pair(struct net_pair *p)
{
	struct net_user *u = p->user;
	struct net_rx *rx = &u->rx;

	u->stopping = true;
	rx_hold(rx);
	for (unsigned i = 0; i < u->tx_depth; i++)
		if (u->tx[i].busy)
			loop_io_cancel(&u->tx[i].io);
	rx->nr_chains = rx->nr_iov = 0;
	rx->room = 0;
	u->tx_unflushed = 0;
	u->stopping = false;
}

static void user_stop(struct net *n)
{
	for (unsigned i = 0; i < n->pairs; i++)
		if (n->pair[i].ready)
			stop_pair(&n->pair[i]);
}

static void user_kick(struct net_pair *p, bool transmit)
{
	if (transmit)
		tx_run(p);
	else
		rx_kick(&p->user->rx);
}

static void user_resume(struct net_pair *p, bool transmit)
{
	if (transmit)
		tx_run(p);
	else
		rx_run(&p->user->rx);
}

const struct net_path net_path_user = {
	.init = user_init,
	.fini = user_fini,
	.start = net_start_rings,
	.stop = user_stop,
	.pair_on = user_pair_on,
	.pair_off = user_pair_off,
	.kick = user_kick,
	.resume = user_resume,
};
