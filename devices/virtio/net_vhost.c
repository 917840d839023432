// SPDX-License-Identifier: BSD-3-Clause
/*
 * Packets of the network device moved by the kernel: one vhost-net descriptor a queue pair.
 *
 * start sets up both rings of every ready pair; pair_on gives them the tap as back end, and
 * only then do they run. pair_off takes the back end away, which drains the kernel's worker,
 * and leaves the rings' indices where they are, in the kernel. stop does the same and unbinds
 * the eventfds: CALL first, after which no signal comes. The descriptor and its owner live on
 * for the driver's next attempt.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "devices/virtio/net_priv.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/log.h"

static void ring_error(void *ctx, uint32_t events)
{
	struct net_pair *p = ctx;

	(void)events;
	if (vh_take_error(&p->vh))
		vdev_fault(&p->net->v, -1, "vhost found a ring broken");
}

static int init_pair(struct net_pair *p, int fd, struct err *err)
{
	struct net *n = p->net;
	int r = vh_init(&p->vh, fd, 2);

	if (r)
		return err_set(err, r, "%s: vhost-net: %s", n->v.name, strerror(-r));
	r = loop_poll_init(n->v.loop, &p->err_poll, p->vh.err_fd, ring_error, p);
	if (r)
		return err_set(err, r, "%s: event loop: %s", n->v.name, strerror(-r));
	p->err_poll.drains = true;
	return 0;
}

static int vhost_init(struct net *n, const struct net_cfg *cfg, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; !r && i < n->pairs; i++)
		r = init_pair(&n->pair[i], cfg->vhost_fds[i], err);
	return r;
}

static void vhost_fini(struct net *n)
{
	for (unsigned i = 0; i < n->pairs; i++) {
		loop_poll_fini(&n->pair[i].err_poll);
		vh_fini(&n->pair[i].vh);
	}
}

static int start_ring(struct net_pair *p, unsigned ring)
{
	struct vdev *v = &p->net->v;
	unsigned q = net_rxq(p) + ring;
	const struct vq_regs *regs = &v->queues[q].regs;
	/* no larger than what we offered: vdev_queue_set_size() */
	const struct vh_ring vr = { .size = regs->size, .desc = regs->desc, .avail = regs->avail, .used = regs->used };
	int call_fd;
	int r = v->irq->call_fd(v->irq_ctx, q, &call_fd);

	if (r)
		return r;
	v->vhost_queues |= BIT64(q);
	return vh_ring_start(&p->vh, ring, v->mem, &vr, vdev_kick_fd(v, q), call_fd);
}

static int start_pair(struct net_pair *p)
{
	int r = vh_set_features(&p->vh, p->net->v.acked);

	if (!r)
		r = vh_set_mem(&p->vh, p->net->v.mem);
	for (unsigned ring = 0; !r && ring < 2; ring++)
		r = start_ring(p, ring);
	return r;
}

static int vhost_start(struct net *n)
{
	int r = 0;

	for (unsigned i = 0; !r && i < n->pairs; i++) {
		if (!n->pair[i].ready)
			continue;
		r = start_pair(&n->pair[i]);
		if (!r)
			loop_poll_arm(&n->pair[i].err_poll, POLLIN);
	}
	return r;
}

static int vhost_pair_on(struct net_pair *p)
{
	struct net *n = p->net;
	int r = vh_net_set_backend(&p->vh, n->tap->fds[p->index]);

	if (r)
		return r;
	p->on = true;
	/* Kicks that came before the back end are lost. */
	vdev_notify(&n->v, net_rxq(p));
	vdev_notify(&n->v, net_txq(p));
	return 0;
}

static void vhost_pair_off(struct net_pair *p)
{
	p->on = false;
	/*
	 * The kernel refuses only where ring or memory table are no longer accessible, which
	 * cannot be; but a ring that ran on would write to memory that the guest uses anew.
	 */
	if (vh_net_set_backend(&p->vh, -1)) {
		log_error("%s: vhost-net: the back end cannot be taken away; queue pair %u is closed for good",
			  p->net->v.name, p->index);
		close_fd(&p->vh.fd);
	}
}

static void vhost_stop(struct net *n)
{
	for (unsigned i = 0; i < n->pairs; i++) {
		struct net_pair *p = &n->pair[i];

		if (!p->ready)
			continue;
		if (p->on)
			vhost_pair_off(p);
		vh_ring_stop(&p->vh, 0);
		vh_ring_stop(&p->vh, 1);
		loop_poll_disarm(&p->err_poll);
		vh_take_error(&p->vh);
	}
}

const struct net_path net_path_vhost = {
	.init = vhost_init,
	.fini = vhost_fini,
	.start = vhost_start,
	.stop = vhost_stop,
	.pair_on = vhost_pair_on,
	.pair_off = vhost_pair_off,
};
