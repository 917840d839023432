// SPDX-License-Identifier: BSD-3-Clause
/*
 * A start and a stop are rows of messages, each of which the back end answers (devices/vhost/user_run.c). activate() begins
 * the start and says LOOP_AGAIN until it is over; settle() does the same with the stop. In between nothing of a request
 * passes this process. Where the back end ends, another one at its path takes over (devices/vhost/user_link.c), if it is this device:
 * it has the features and queues that the guest was offered, and the same configuration, byte by byte.
 */
#include "devices/virtio/vuser.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>

#include "devices/virtio/vuser_priv.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/obj.h"

#define FS_QUEUES 2 /* one for what must not wait, one for requests */

/* What of a block device's features needs nothing of us. CONFIG_WCE would be a write to the configuration. */
#define BLK_FEATURES                                                                                          \
	(BIT64(VIRTIO_BLK_F_SIZE_MAX) | BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_RO) | BIT64(VIRTIO_BLK_F_BLK_SIZE) | \
	 BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_TOPOLOGY) | BIT64(VIRTIO_BLK_F_DISCARD) | BIT64(VIRTIO_BLK_F_WRITE_ZEROES))
#define OPTIONAL (BIT64(VIRTIO_RING_F_INDIRECT_DESC) | BIT64(VIRTIO_RING_F_EVENT_IDX))

/* Up to what the features above need: later fields are not in every back end's. */
#define BLK_CONFIG (offsetof(struct virtio_blk_config, unused1) + sizeof(((struct virtio_blk_config *)0)->unused1))

_Static_assert(VUSER_TAG_MAX == sizeof(((struct virtio_fs_config *)0)->tag), "a file system's name");
_Static_assert(BLK_CONFIG <= VU_CONFIG_MAX, "fits a message");

static int begin(struct vuser *s)
{
	struct vu_ring rings[VU_MAX_RINGS];
	struct vdev *v = &s->v;
	unsigned n = 0;

	for (unsigned q = 0; q < s->lent; q++) {
		const struct vq_regs *regs = &v->queues[q].regs;
		int call_fd, r;

		if (!regs->ready)
			continue;
		r = v->irq->call_fd(v->irq_ctx, q, &call_fd);
		if (r)
			return r;
		v->vhost_queues |= BIT64(q);
		rings[n++] = (struct vu_ring){
			.index = q, .kick_fd = vdev_kick_fd(v, q), .call_fd = call_fd,
			.at = { .size = regs->size, .desc = regs->desc, .avail = regs->avail, .used = regs->used }, .idle = q >= s->on,
		};
	}
	return vu_start(&s->vu, v->acked, rings, n);
}

int vuser_activate(struct vdev *v)
{
	struct vuser *s = to_vuser(v);

	if (!v->begun) {
		int r = begin(s);

		if (r)
			return r;
		v->begun = true;
	}
	return vu_result(&s->vu);
}

bool vuser_settle(struct vdev *v)
{
	return vu_settle(&to_vuser(v)->vu);
}

void vuser_reset(struct vdev *v)
{
	vu_let_go(&to_vuser(v)->vu);
}

void vuser_dump(struct vdev *v, FILE *out)
{
	const struct vu_dev *d = &to_vuser(v)->vu;

	fprintf(out, "%s: back end %s, came back %u times\n", v->name,
		d->link == VU_UP ? "connected" : d->link == VU_AWAY ? "away" : "gone", d->returns);
}

void vuser_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	memcpy(buf, (const char *)&to_vuser(v)->config + off, len);
}

void vuser_free(struct vdev *v)
{
	struct vuser *s = to_vuser(v);

	vu_fini(&s->vu);
	vuser_net_fini(s);
	if (s->has_vdev)
		vdev_fini(v);
	obj_free(s);
}

static void fs_queue_name(unsigned q, unsigned nr_queues, char *buf, size_t cap)
{
	(void)nr_queues;
	snprintf(buf, cap, "%s", q ? "requests" : "urgent");
}

static const struct vdev_ops blk_ops = {
	.kind = "vhost-user-blk",
	.lends_kicks = true,
	.activate = vuser_activate,
	.settle = vuser_settle,
	.reset = vuser_reset,
	.config_read = vuser_config_read,
	.dump = vuser_dump,
	.free = vuser_free,
};

static const struct vdev_ops fs_ops = {
	.kind = "vhost-user-fs",
	.lends_kicks = true,
	.queue_name = fs_queue_name,
	.activate = vuser_activate,
	.settle = vuser_settle,
	.reset = vuser_reset,
	.config_read = vuser_config_read,
	.dump = vuser_dump,
	.free = vuser_free,
};

/* As many as the back end has, where it can tell them apart. */
static unsigned blk_queues(const struct vu_said *said)
{
	const struct virtio_blk_config *c = (const void *)said->config;
	unsigned has = le16toh(c->num_queues);

	if (!(said->features & BIT64(VIRTIO_BLK_F_MQ)) || !said->max_queues || !has)
		return 1;
	return has < said->max_queues ? has : said->max_queues;
}

/* The configuration as the guest finds it. */
static void blk_config(const struct vu_said *said, unsigned queues, struct virtio_blk_config *ret_c)
{
	memset(ret_c, 0, sizeof(*ret_c));
	memcpy(ret_c, said->config, BLK_CONFIG);
	ret_c->num_queues = htole16((uint16_t)queues);
}

static int learn_blk(struct vuser *s, const struct vuser_cfg *cfg, struct vdev_cfg *vc, struct err *err)
{
	unsigned has = blk_queues(&s->vu.said);

	(void)err;
	vc->nr_queues = has > cfg->queues ? cfg->queues : has;
	blk_config(&s->vu.said, vc->nr_queues, &s->config.blk);
	vc->offered = s->vu.said.features & BLK_FEATURES;
	if (vc->nr_queues > 1)
		vc->offered |= BIT64(VIRTIO_BLK_F_MQ);
	return 0;
}

static const char *blk_lacks(const struct vuser *s)
{
	struct virtio_blk_config c;

	if (blk_queues(&s->vu.said) < s->v.nr_queues)
		return "it has fewer queues";
	blk_config(&s->vu.said, s->v.nr_queues, &c);
	return memcmp(&c, &s->config.blk, sizeof(c)) ? "its disk has another size, or other properties" : NULL;
}

static int learn_fs(struct vuser *s, const struct vuser_cfg *cfg, struct vdev_cfg *vc, struct err *err)
{
	struct virtio_fs_config *c = &s->config.fs;

	if (s->vu.said.max_queues && s->vu.said.max_queues < FS_QUEUES)
		return err_set(err, -ENOTSUP, "%s: the back end has one queue, and a file system needs two (is it of this kind?)", cfg->name);
	memcpy(c->tag, cfg->tag, strnlen(cfg->tag, sizeof(c->tag)));
	c->num_request_queues = htole32(FS_QUEUES - 1);
	vc->nr_queues = FS_QUEUES;
	return 0;
}

static const char *fs_lacks(const struct vuser *s)
{
	return s->vu.said.max_queues && s->vu.said.max_queues < FS_QUEUES ? "it has fewer queues" : NULL;
}

static const struct vuser_type blk_type = {
	.ops = &blk_ops, .id = VIRTIO_ID_BLOCK, .config_len = BLK_CONFIG, .asks_config = true, .need = BIT64(VU_PROTOCOL_CONFIG),
	.loss = VU_LOSES_REQUESTS, .learn = learn_blk, .lacks = blk_lacks,
};

static const struct vuser_type fs_type = {
	.ops = &fs_ops, .id = VIRTIO_ID_FS, .config_len = sizeof(struct virtio_fs_config),
	.loss = VU_LOSES_STATE, /* a back end knows which files the guest has open */
	.learn = learn_fs, .lacks = fs_lacks,
};

static const struct vuser_type *const types[] = {
	[VUSER_BLK] = &blk_type, [VUSER_FS] = &fs_type, [VUSER_NET] = &vuser_net_type,
};

/* Another back end: is it what the guest was shown? */
static const char *lacks(void *ctx)
{
	const struct vuser *s = ctx;

	if (s->v.offered & ~s->type->ours & ~s->vu.said.features)
		return "it has fewer features";
	return s->type->lacks(s);
}

static void needs_reset(void *ctx)
{
	vdev_lost(&((struct vuser *)ctx)->v);
}

static void there(void *ctx, bool yes)
{
	struct vuser *s = ctx;

	if (s->type == &vuser_net_type)
		vuser_net_there(s, yes);
}

static void switched(void *ctx, bool done)
{
	vuser_net_switched(ctx, done); /* nobody else switches */
}

static const struct vu_ops vu_ops = { .lacks = lacks, .needs_reset = needs_reset, .there = there, .switched = switched };

static int init(struct vuser *s, const struct vuser_cfg *cfg, struct err *err)
{
	const struct vuser_type *type = types[cfg->kind];
	struct vdev_cfg vc = {
		.ops = type->ops,
		.name = cfg->name,
		.type = type->id,
		.queue_size = VUSER_QUEUE_SIZE,
		.config_len = type->config_len,
		.back_end = true,
		.loop = cfg->loop,
		.mem = cfg->mem,
	};
	const struct vu_cfg uc = {
		.name = cfg->name, .fd = cfg->fd, .need = type->need, .config_len = type->asks_config ? type->config_len : 0,
		.broker = cfg->broker, .path = cfg->path, .loss = type->loss,
		.mtu = cfg->kind == VUSER_NET ? cfg->mtu : 0, .mac = cfg->kind == VUSER_NET ? cfg->mac : NULL, .ops = &vu_ops, .ctx = s,
	};
	int r = vu_greet(&s->vu, &uc, err);

	s->type = type;
	if (!r)
		r = type->learn(s, cfg, &vc, err);
	if (r)
		return r;
	s->lent = s->on = vc.nr_queues;
	vc.lacks = OPTIONAL & ~s->vu.said.features;
	r = vdev_init(&s->v, &vc);
	s->has_vdev = !r;
	if (!r)
		r = vuser_net_init(s, cfg->loop);
	if (!r)
		r = vu_attach(&s->vu, cfg->loop, cfg->mem);
	return r ? err_set(err, r, "%s: %s", cfg->name, strerror(-r)) : 0;
}

int vuser_new(const struct vuser_cfg *cfg, struct vdev **ret_v, struct err *err)
{
	struct vuser *s = obj_new(sizeof(*s));
	int fd = cfg->fd, r;

	if (!s) {
		close_fd(&fd);
		return err_set(err, -ENOMEM, "%s: %s", cfg->name, strerror(ENOMEM));
	}
	r = init(s, cfg, err);
	if (r) {
		vuser_free(&s->v);
		return r;
	}
	*ret_v = &s->v;
	return 0;
}
