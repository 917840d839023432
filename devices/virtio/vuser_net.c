// SPDX-License-Identifier: BSD-3-Clause
/*
 * A network card by vhost-user. The configuration is ours, as a back end for cards need not have one: its link is down while there is
 * no back end. So is the control queue, which such back ends do not serve: the one command in it, how many pairs of queues are used,
 * becomes a row of SET_VRING_ENABLE, and is answered when the back end has answered those. Meanwhile no other command is taken.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "devices/virtio/net_ctrl.h"
#include "devices/virtio/vuser_priv.h"
#include "vmm/base/compat.h"

#define F(name) BIT64(VIRTIO_NET_F_##name)

/* What a back end may have, and needs nothing of us: buffers, checksums and segments. */
#define FEATURES                                                                                                    \
	(F(MRG_RXBUF) | F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_UFO) | F(HOST_USO) | \
	 F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN) | F(GUEST_UFO) | F(GUEST_USO4) | F(GUEST_USO6))
/* What is ours alone. */
#define OURS (F(MAC) | F(STATUS) | F(MTU) | F(CTRL_VQ))

/* Commands of one turn that want nothing of the back end. */
#define CONTROL_TURN 16
#define CONTROL_AGAIN_NS (NS_PER_SEC / 40) /* each switch is some messages for the back end */

_Static_assert(VUSER_NET_CONFIG == 12, "s5.1.4");
_Static_assert(2 * VUSER_MAX_PAIRS <= VU_MAX_RINGS, "a ring for each");

/* ---- link ---------------------------------------------------------------------------------- */

void vuser_net_there(struct vuser *s, bool yes)
{
	uint16_t status = htole16(yes ? VIRTIO_NET_S_LINK_UP : 0);
	bool news;

	pthread_mutex_lock(&s->v.lock);
	news = s->config.net.status != status;
	s->config.net.status = status;
	pthread_mutex_unlock(&s->v.lock);
	if (news)
		vdev_config_changed(&s->v);
}

/* ---- control queue ------------------------------------------------------------------------- */

static void answer(struct vuser *s, uint16_t head, uint8_t *ack, bool done)
{
	unsigned q = (unsigned)s->control.queue;

	if (ack)
		*ack = done ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	vq_push(&s->v.queues[q].ring, head, ack ? sizeof(*ack) : 0);
	vdev_queue_flush(&s->v, q);
}

static void carry_out(struct vuser *s, const struct vq_chain *c)
{
	unsigned pairs = net_ctrl_pairs(&s->v, c, s->pairs);
	uint8_t *ack = net_ctrl_ack(c);

	if (!vu_may_switch(&s->vu))
		pairs = 0;
	if (pairs && !vu_switch(&s->vu, 2 * pairs)) {
		s->control.busy = true;
		s->control.head = c->head;
		s->control.ack = ack;
		return;
	}
	answer(s, c->head, ack, pairs);
}

static void pause_control(struct vuser *s)
{
	s->control.pauses = true;
	loop_timer_set(&s->control.again, CONTROL_AGAIN_NS);
}

/* Takes commands up to one that the back end has to carry out. */
static void control(struct vuser *s)
{
	unsigned q = (unsigned)s->control.queue;
	struct vq *ring = &s->v.queues[q].ring;
	struct iovec iov[VUSER_QUEUE_SIZE];
	struct vq_chain c = { .iov = iov, .cap = ARRAY_LEN(iov) };
	unsigned left = CONTROL_TURN;
	int r = 0;

	while (left && !s->control.busy && (r = vq_pop(ring, &c)) > 0) {
		carry_out(s, &c);
		left--;
	}
	if (r < 0)
		vdev_fault(&s->v, (int)q, "broken control queue");
	else if (!s->control.busy && vq_enable_kick(ring))
		pause_control(s);
}

static bool may_take_commands(const struct vuser *s)
{
	return s->v.active && s->control.queue >= 0 && !s->control.busy && !s->v.queues[s->control.queue].ring.broken;
}

static void again(void *ctx)
{
	struct vuser *s = ctx;

	s->control.pauses = false;
	if (may_take_commands(s))
		control(s);
}

void vuser_net_switched(struct vuser *s, bool done)
{
	if (!s->control.busy)
		return;
	s->control.busy = false;
	answer(s, s->control.head, s->control.ack, done);
	pause_control(s);
}

static void net_kick(struct vdev *v, unsigned q)
{
	struct vuser *s = to_vuser(v);

	if ((int)q == s->control.queue && !s->control.pauses && may_take_commands(s))
		control(s);
}

/* ---- life ---------------------------------------------------------------------------------- */

/*
 * s5.1.2: without MQ there is one pair. With it the control queue comes behind all pairs; a driver that wants one without MQ has no
 * command for it, and gets none. Up to the first command one pair is used (s5.1.5).
 */
static int lay_out_queues(struct vuser *s)
{
	struct vdev *v = &s->v;
	unsigned ctrl = 2 * s->pairs;

	s->lent = vdev_has(v, VIRTIO_NET_F_MQ) ? 2 * s->pairs : 2;
	s->on = 2;
	if (!vdev_has(v, VIRTIO_NET_F_MQ) || !vdev_has(v, VIRTIO_NET_F_CTRL_VQ) || !v->queues[ctrl].regs.ready)
		return 0;
	s->control.queue = (int)ctrl;
	return vq_start(&v->queues[ctrl].ring, v->mem, &v->queues[ctrl].regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
			vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
}

static int net_activate(struct vdev *v)
{
	int r = v->begun ? 0 : lay_out_queues(to_vuser(v));

	return r ? r : vuser_activate(v);
}

static void net_reset(struct vdev *v)
{
	struct vuser *s = to_vuser(v);

	vuser_reset(v);
	s->control.queue = -1;
	s->control.busy = s->control.pauses = false;
	if (s->pairs > 1)
		loop_timer_set(&s->control.again, 0);
}

static const struct vdev_ops net_ops = {
	.kind = "vhost-user-net",
	.lends_kicks = true,
	.queue_name = net_queue_name,
	.activate = net_activate,
	.settle = vuser_settle,
	.reset = net_reset,
	.kick = net_kick,
	.config_read = vuser_config_read,
	.dump = vuser_dump,
	.free = vuser_free,
};

/* Pairs that a back end has (a card's queues are counted by pairs, as QEMU does). */
static unsigned pairs_of(const struct vu_said *said)
{
	return said->features & F(MQ) && said->max_queues ? said->max_queues : 1;
}

static int learn_net(struct vuser *s, const struct vuser_cfg *cfg, struct vdev_cfg *vc, struct err *err)
{
	struct virtio_net_config *c = &s->config.net;

	if (pairs_of(&s->vu.said) < cfg->queues)
		return err_set(err, -ENOTSUP, "%s: the back end has %u of the %u pairs of queues that are asked for (queues=)", cfg->name,
			       pairs_of(&s->vu.said), cfg->queues);
	s->pairs = cfg->queues;
	s->control.queue = -1;
	memcpy(c->mac, cfg->mac, sizeof(c->mac));
	c->status = htole16(VIRTIO_NET_S_LINK_UP);
	c->max_virtqueue_pairs = htole16((uint16_t)s->pairs);
	c->mtu = htole16(cfg->mtu);
	vc->nr_queues = 2 * s->pairs + (s->pairs > 1);
	vc->offered = (s->vu.said.features & FEATURES) | F(MAC) | F(STATUS);
	if (cfg->mtu)
		vc->offered |= F(MTU);
	if (s->pairs > 1)
		vc->offered |= F(MQ) | F(CTRL_VQ);
	return 0;
}

static const char *net_lacks(const struct vuser *s)
{
	return pairs_of(&s->vu.said) < s->pairs ? "it has fewer queues" : NULL;
}

int vuser_net_init(struct vuser *s, struct loop *loop)
{
	return s->pairs > 1 ? loop_timer_init(loop, &s->control.again, again, s) : 0;
}

void vuser_net_fini(struct vuser *s)
{
	loop_timer_fini(&s->control.again);
}

const struct vuser_type vuser_net_type = {
	.ops = &net_ops, .id = VIRTIO_ID_NET, .config_len = VUSER_NET_CONFIG, .ours = OURS, .loss = VU_LOSES_PACKETS,
	.learn = learn_net, .lacks = net_lacks,
};
