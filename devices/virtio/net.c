// SPDX-License-Identifier: BSD-3-Clause
/*
 * The network device apart from how packets move: features, configuration space, the control
 * queue and the life of the queue pairs.
 *
 * What the tap may hand us (checksums to fill in, segments to cut) is what the driver
 * acknowledged, so the tap's offloads are set at DRIVER_OK and taken away at reset. Of a tap
 * with several queues only as many are attached as pairs are on: the kernel spreads flows
 * over all attached ones, and nobody would read the others.
 *
 * Either takes the lock that all interfaces of the host share, and is told to whoever listens there.
 * A guest that asks for them without end waits for its turn: a command in its ring, a driver that
 * sets DRIVER_OK in that write.
 */
#include "devices/virtio/net.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>

#include "devices/virtio/net_ctrl.h"
#include "devices/virtio/net_priv.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/compat.h"
#include "vmm/base/log.h"

/* Of struct virtio_net_config (s5.1.4) we have mac, status, max_virtqueue_pairs and mtu. */
#define CONFIG_LEN 12

#define MIN_MTU 68 /* bytes, RFC 791 */

/* Changes of the interface, in the long run and at once: a driver that is bound anew makes two, 16 pairs 15. */
#define CHANGES_PER_SECOND 40
#define CHANGES_AT_ONCE 64

static_assert(NET_HDR_SIZE == TAP_HDR_SIZE, "the tap's header is the driver's");
static_assert(NET_MAX_PAIRS == TAP_MAX_QUEUES && 2 * NET_MAX_PAIRS + 1 <= VDEV_MAX_QUEUES, "pairs");
static_assert(offsetof(struct virtio_net_config, mtu) == 10, "s5.1.4");

static struct net *to_net(struct vdev *v)
{
	return container_of(v, struct net, v);
}

/* ---- features ----------------------------------------------------------------------------- */

#define F(name) BIT64(VIRTIO_NET_F_##name)

#define FEATURES_TAP                                                                      \
	(F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_UFO) | \
	 F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN) | F(GUEST_UFO))
#define FEATURES_USO (F(HOST_USO) | F(GUEST_USO4) | F(GUEST_USO6))
/* Those that whoever serves the rings must know. */
#define FEATURES_RING \
	(F(MRG_RXBUF) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) | BIT64(VIRTIO_RING_F_EVENT_IDX))

static uint64_t device_features(const struct net *n)
{
	uint64_t f = F(MAC) | F(STATUS) | F(MRG_RXBUF);

	if (n->tap)
		f |= FEATURES_TAP;
	if (n->tap && n->tap->can_offload & TUN_F_USO4)
		f |= FEATURES_USO;
	if (n->mtu)
		f |= F(MTU);
	if (n->pairs > 1)
		f |= F(CTRL_VQ) | F(MQ);
	return f;
}

static void mask_by_vhost(struct net *n)
{
	for (unsigned i = 0; i < n->pairs; i++)
		n->v.offered &= n->pair[i].vh.features | ~FEATURES_RING;
}

/*
 * TUN_F_* for what the driver acknowledged. The kernel refuses segmentation without checksums,
 * ECN without TCP segmentation, and one half of USO; a driver that acknowledged such a part
 * alone gets none of it (s5.1.3.1).
 */
static unsigned tun_offloads(const struct net *n)
{
	const struct vdev *v = &n->v;
	unsigned tun_f = TUN_F_CSUM;

	if (!n->tap || !vdev_has(v, VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	if (vdev_has(v, VIRTIO_NET_F_GUEST_TSO4))
		tun_f |= TUN_F_TSO4;
	if (vdev_has(v, VIRTIO_NET_F_GUEST_TSO6))
		tun_f |= TUN_F_TSO6;
	if (tun_f != TUN_F_CSUM && vdev_has(v, VIRTIO_NET_F_GUEST_ECN))
		tun_f |= TUN_F_TSO_ECN;
	if (vdev_has(v, VIRTIO_NET_F_GUEST_UFO))
		tun_f |= TUN_F_UFO;
	if (vdev_has(v, VIRTIO_NET_F_GUEST_USO4) && vdev_has(v, VIRTIO_NET_F_GUEST_USO6))
		tun_f |= TUN_F_USO4 | TUN_F_USO6;
	return tun_f & n->tap->can_offload;
}

static int set_offloads(struct net *n, unsigned tun_f)
{
	return n->tap ? tap_set_offload(n->tap, tun_f) : 0;
}

/* Changes of the interface that a start with @offloads makes; that of the reset to come is paid for there. */
static unsigned changes_of_start(const struct net *n, unsigned offloads)
{
	return n->tap ? (n->tap->offloads != offloads) + (offloads != 0) + n->tap->enabled - 1 : 0;
}

/* Whether @changes of the interface are due: 0, or the nanoseconds until they are. */
static uint64_t changes_due_in(struct net *n, unsigned changes)
{
	return changes ? bucket_take(&n->changes, changes, clock_now_ns()) : 0;
}

/* ---- queue pairs -------------------------------------------------------------------------- */

/* Pairs that are not ready stay off; they come to no harm. */
static int set_pairs(struct net *n, unsigned want)
{
	int r = 0;

	for (unsigned i = want; i < n->pairs; i++)
		if (n->pair[i].on)
			n->path->pair_off(&n->pair[i]);
	if (n->tap)
		r = tap_enable_queues(n->tap, want);
	for (unsigned i = 0; !r && i < want; i++)
		if (n->pair[i].ready && !n->pair[i].on)
			r = n->path->pair_on(&n->pair[i]);
	if (!r)
		n->pairs_on = want;
	return r;
}

/* s5.1.2: without MQ there is one pair, and the control queue comes right after the pairs. */
static int lay_out_queues(struct net *n)
{
	struct vdev *v = &n->v;
	unsigned pairs = vdev_has(v, VIRTIO_NET_F_MQ) ? n->pairs : 1;
	unsigned ctrl = 2 * pairs;

	for (unsigned i = 0; i < pairs; i++)
		n->pair[i].ready = v->queues[2 * i].regs.ready && v->queues[2 * i + 1].regs.ready;
	if (!vdev_has(v, VIRTIO_NET_F_CTRL_VQ) || ctrl >= v->nr_queues || !v->queues[ctrl].regs.ready)
		return 0;
	n->ctrl = (int)ctrl;
	return vq_start(&v->queues[ctrl].ring, v->mem, &v->queues[ctrl].regs,
			vdev_has(v, VIRTIO_RING_F_EVENT_IDX), vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
}

int net_start_rings(struct net *n)
{
	struct vdev *v = &n->v;
	bool event_idx = vdev_has(v, VIRTIO_RING_F_EVENT_IDX);
	bool indirect = vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC);

	for (unsigned q = 0; q < 2 * n->pairs; q++) {
		int r = n->pair[q / 2].ready ? vq_start(&v->queues[q].ring, v->mem, &v->queues[q].regs,
							event_idx, indirect) : 0;

		if (r)
			return r;
	}
	return 0;
}

static int net_activate(struct vdev *v)
{
	struct net *n = to_net(v);
	unsigned offloads = tun_offloads(n);
	int r;

	if (changes_due_in(n, changes_of_start(n, offloads)))
		return LOOP_AGAIN;
	r = lay_out_queues(n);
	if (!r)
		r = set_offloads(n, offloads);
	if (!r)
		r = n->path->start(n);
	return r ? r : set_pairs(n, 1);
}

static void net_reset(struct vdev *v)
{
	struct net *n = to_net(v);

	n->path->stop(n);
	for (unsigned i = 0; i < n->pairs; i++)
		n->pair[i].ready = n->pair[i].on = false;
	n->ctrl = -1;
	n->pairs_on = 0;
	if (n->again.poll.loop)
		loop_timer_set(&n->again, 0);
	net_limits_reset(n);
	/* Refused only where the interface is gone. */
	set_offloads(n, 0);
}

/* ---- control queue ------------------------------------------------------------------------ */

/* All of it or, where the kernel refuses, as it was. */
static bool switch_pairs(struct net *n, unsigned want)
{
	unsigned old = n->pairs_on;

	if (!set_pairs(n, want))
		return true;
	if (set_pairs(n, old))
		vdev_fault(&n->v, -1, "the host cannot switch queue pairs");
	return false;
}

static uint64_t switch_due_in(struct net *n, unsigned want)
{
	unsigned on = n->tap->enabled;

	return want ? changes_due_in(n, want > on ? want - on : on - want) : 0;
}

/*
 * Commands of one turn. Each may be dozens of calls that wait for the kernel's grace periods; a
 * ring full of them in a row would be seconds without signals and without the other devices.
 */
#define CONTROL_TURN 1

static void control(struct net *n)
{
	struct vdev *v = &n->v;
	unsigned q = (unsigned)n->ctrl;
	struct vq *ring = &v->queues[q].ring;
	struct iovec iov[NET_QUEUE_SIZE];
	struct vq_chain c = { .iov = iov, .cap = ARRAY_LEN(iov) };
	unsigned left = CONTROL_TURN;
	uint64_t wait = 0;
	int r = 0;

	for (; left && (r = vq_pop(ring, &c)) > 0; left--) {
		unsigned want = net_ctrl_pairs(v, &c, n->pairs);
		uint8_t *ack = net_ctrl_ack(&c);
		bool done;

		wait = switch_due_in(n, want);
		if (wait) {
			vq_unpop(ring, 1);
			break;
		}
		done = want && switch_pairs(n, want);
		if (ack)
			*ack = done ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
		vq_push(ring, c.head, ack ? sizeof(*ack) : 0);
	}
	vdev_queue_flush(v, q);
	if (r < 0)
		vdev_fault(v, (int)q, "broken control queue");
	else if (wait)
		loop_timer_set(&n->again, wait);
	else if (vq_enable_kick(ring))
		vdev_notify(v, q); /* more came in: in the loop's next round, after the others */
}

static void control_again(void *ctx)
{
	struct net *n = ctx;

	if (n->v.active && n->ctrl >= 0 && !n->v.queues[n->ctrl].ring.broken)
		control(n);
}

static void net_kick(struct vdev *v, unsigned q)
{
	struct net *n = to_net(v);

	if (v->queues[q].ring.broken)
		return;
	if ((int)q == n->ctrl)
		control(n);
	else if (n->path->kick && q / 2 < n->pairs && n->pair[q / 2].ready)
		n->path->kick(&n->pair[q / 2], q % 2);
}

/* ---- the rest ----------------------------------------------------------------------------- */

static void net_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	const struct net *n = to_net(v);
	struct virtio_net_config c = {
		.status = n->link_down ? 0 : VIRTIO_NET_S_LINK_UP,
		.max_virtqueue_pairs = (uint16_t)n->pairs,
		.mtu = n->mtu,
	};

	memcpy(c.mac, n->mac, sizeof(c.mac));
	memcpy(buf, (const char *)&c + off, len);
}

static unsigned net_counts(const struct vdev *v, struct vdev_count c[VDEV_MAX_COUNTS])
{
	const struct net *n = container_of(v, const struct net, v);
	const struct net_limit *rx = &n->limit[NET_RX], *tx = &n->limit[NET_TX];

	if (n->path == &net_path_vhost)
		return 0; /* the kernel counts, for the tap */
	c[0] = (struct vdev_count){ "rx_packets", rx->passed };
	c[1] = (struct vdev_count){ "rx_bytes", rx->passed_bytes };
	c[2] = (struct vdev_count){ "rx_dropped", rx->dropped };
	c[3] = (struct vdev_count){ "tx_packets", tx->passed };
	c[4] = (struct vdev_count){ "tx_bytes", tx->passed_bytes };
	c[5] = (struct vdev_count){ "tx_dropped", tx->dropped };
	return 6;
}

static void net_free(struct vdev *v)
{
	struct net *n = to_net(v);

	/* vhost before the tap it works on; guest memory is the caller's and goes later still. */
	n->path->fini(n);
	loop_timer_fini(&n->again);
	net_limits_fini(n);
	if (n->have_vdev)
		vdev_fini(&n->v);
	tap_close(n->tap);
	free(n);
}

static const struct vdev_ops net_ops = {
	.kind = "net",
	.queue_name = net_queue_name,
	.activate = net_activate,
	.reset = net_reset,
	.kick = net_kick,
	.config_read = net_config_read,
	.counts = net_counts,
	.free = net_free,
};

static int init(struct net *n, const struct net_cfg *cfg, struct err *err)
{
	struct vdev_cfg vc = {
		.ops = &net_ops,
		.name = cfg->name,
		.type = VIRTIO_ID_NET,
		.nr_queues = 2 * n->pairs + (n->pairs > 1),
		.queue_size = NET_QUEUE_SIZE,
		.config_len = CONFIG_LEN,
		.back_end = n->path == &net_path_vhost,
		.offered = device_features(n),
		.loop = cfg->loop,
		.mem = cfg->mem,
	};
	int r;

	if (n->mtu && n->mtu < MIN_MTU)
		return err_set(err, -EINVAL, "%s: mtu=%u: at least %u", cfg->name, n->mtu, MIN_MTU);
	r = vdev_init(&n->v, &vc);
	if (r)
		return err_set(err, r, "%s: %s", cfg->name, strerror(-r));
	n->have_vdev = true;
	bucket_init(&n->changes, CHANGES_PER_SECOND, CHANGES_AT_ONCE);
	r = n->pairs > 1 ? loop_timer_init(cfg->loop, &n->again, control_again, n) : 0;
	if (!r)
		r = net_limits_init(n, cfg);
	if (r)
		return err_set(err, r, "%s: %s", cfg->name, strerror(-r));
	return n->path->init(n, cfg, err);
}

/* What is taken over is closed where there is no device that could own it. */
static void drop_cfg(const struct net_cfg *cfg)
{
	for (unsigned i = 0; i < NET_MAX_PAIRS; i++)
		if (cfg->vhost_fds[i] >= 0)
			close(cfg->vhost_fds[i]);
	tap_close(cfg->tap);
	if (!cfg->tap)
		close_fd(&(int){ cfg->stream_fd });
}

/* The descriptors find their owner first, so that net_free() closes what a failure leaves. */
static int take_over(struct net *n, const struct net_cfg *cfg)
{
	n->tap = cfg->tap;
	n->pairs = cfg->tap ? cfg->tap->nr_fds : 1;
	for (unsigned i = 0; i < n->pairs; i++) {
		n->pair[i].net = n;
		n->pair[i].index = i;
		n->pair[i].vh = (struct vh_dev){ .fd = cfg->vhost_fds[i], .err_fd = -1 };
	}
	if (n->tap)
		return 0;
	n->stream = calloc(1, sizeof(*n->stream));
	if (!n->stream)
		return -ENOMEM;
	n->stream->net = n;
	n->stream->fd = cfg->stream_fd;
	return 0;
}

int net_new(const struct net_cfg *cfg, struct vdev **ret_v, struct err *err)
{
	struct net *n = calloc(1, sizeof(*n));
	int r;

	if (!n || take_over(n, cfg)) {
		drop_cfg(cfg);
		free(n);
		return err_set(err, -ENOMEM, "%s: %s", cfg->name, strerror(ENOMEM));
	}
	n->ctrl = -1;
	n->mtu = cfg->mtu;
	memcpy(n->mac, cfg->mac, sizeof(n->mac));
	n->path = n->stream ? &net_path_stream : cfg->vhost_fds[0] >= 0 ? &net_path_vhost : &net_path_user;
	r = init(n, cfg, err);
	if (r) {
		net_free(&n->v);
		return r;
	}
	if (n->path == &net_path_vhost)
		mask_by_vhost(n);
	*ret_v = &n->v;
	return 0;
}
