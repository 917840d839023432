// SPDX-License-Identifier: BSD-3-Clause
/*
 * How many frames and bytes a card may pass a second, each way for itself and all pairs together.
 *
 * What has passed is charged, and nothing more passes until it is paid for: so nobody has to know how long the next frame
 * is, and none is taken out of a ring, or read from the host, only to wait. Where it is not paid for, a timer says when; until
 * then all pairs stand still that way, whatever kicks there are. The debt outlives a reset.
 */
#include "devices/virtio/net_priv.h"
#include "vmm/base/clock.h"

static bool is_limited(const struct net_limit *l)
{
	return l->frames.per_second || l->bytes.per_second;
}

bool net_may_pass(struct net_limit *l)
{
	uint64_t now, frames, bytes;

	if (!is_limited(l))
		return true;
	if (l->waiting)
		return false;
	now = clock_now_ns();
	frames = bucket_take(&l->frames, 0, now);
	bytes = bucket_take(&l->bytes, 0, now);
	if (!frames && !bytes)
		return true;
	l->waiting = true;
	loop_timer_set(&l->again, frames > bytes ? frames : bytes);
	return false;
}

void net_passed(struct net_limit *l, uint32_t len)
{
	uint64_t now;

	l->passed++;
	l->passed_bytes += len;
	if (!is_limited(l))
		return;
	now = clock_now_ns();
	bucket_charge(&l->frames, 1, now);
	bucket_charge(&l->bytes, len, now);
}

/* The first pair is another one each time, or it alone might have it all. */
static void pass_again(void *ctx)
{
	struct net_limit *l = ctx;
	struct net *n = l->net;
	unsigned first = l->first++;

	l->waiting = false;
	for (unsigned i = 0; i < n->pairs && !l->waiting; i++) {
		struct net_pair *p = &n->pair[(first + i) % n->pairs];

		if (p->ready)
			n->path->resume(p, l == &n->limit[NET_TX]);
	}
}

int net_limits_init(struct net *n, const struct net_cfg *cfg)
{
	int r = 0;

	for (unsigned way = NET_RX; way <= NET_TX && !r; way++) {
		struct net_limit *l = &n->limit[way];

		l->net = n;
		bucket_init(&l->frames, cfg->iops, cfg->iops / 10 + 1);
		bucket_init(&l->bytes, cfg->bps, cfg->bps / 10 + 1);
		if (is_limited(l))
			r = loop_timer_init(n->v.loop, &l->again, pass_again, l);
	}
	return r;
}

void net_limits_reset(struct net *n)
{
	for (unsigned way = NET_RX; way <= NET_TX; way++) {
		n->limit[way].waiting = false;
		if (is_limited(&n->limit[way]))
			loop_timer_set(&n->limit[way].again, 0);
	}
}

void net_limits_fini(struct net *n)
{
	for (unsigned way = NET_RX; way <= NET_TX; way++)
		loop_timer_fini(&n->limit[way].again);
}
