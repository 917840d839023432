// SPDX-License-Identifier: BSD-3-Clause
/*
 * A start and a stop are rows of messages, each of which the back end answers (devices/vhost/user_run.c). activate() begins
 * the start and says LOOP_AGAIN until it is over; settle() does the same with the stop. In between nothing of a request
 * passes this process.
 */
#include "devices/virtio/vuser.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "devices/vhost/user.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/obj.h"

#define QUEUE_SIZE 256
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

struct vuser {
	struct vdev v;
	bool has_vdev;
	struct vu_dev vu;
	union {
		struct virtio_blk_config blk;
		struct virtio_fs_config fs;
	} config;
};

static struct vuser *to_vuser(struct vdev *v)
{
	return container_of(v, struct vuser, v);
}

static int begin(struct vuser *s)
{
	struct vu_ring rings[VU_MAX_RINGS];
	struct vdev *v = &s->v;
	unsigned n = 0;

	for (unsigned q = 0; q < v->nr_queues; q++) {
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
			.at = { .size = regs->size, .desc = regs->desc, .avail = regs->avail, .used = regs->used },
		};
	}
	return vu_start(&s->vu, v->acked, rings, n);
}

static int vuser_activate(struct vdev *v)
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

static bool vuser_settle(struct vdev *v)
{
	return vu_settle(&to_vuser(v)->vu);
}

static void vuser_reset(struct vdev *v)
{
	vu_let_go(&to_vuser(v)->vu);
}

/* Once. A start that is under way fails by itself, and the driver is told of that then. */
static void lost(void *ctx, const char *why)
{
	struct vuser *s = ctx;

	log_warn("%s: its back end by vhost-user %s; the device is dead, and the guest runs on", s->v.name, why);
	if (!s->v.begun)
		vdev_lost(&s->v);
}

static void vuser_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	memcpy(buf, (const char *)&to_vuser(v)->config + off, len);
}

static void vuser_free(struct vdev *v)
{
	struct vuser *s = to_vuser(v);

	vu_fini(&s->vu);
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
	.free = vuser_free,
};

/* As many queues as the back end has, where it can tell them apart, and as many as we want. */
static int learn_blk(struct vuser *s, const struct vuser_cfg *cfg, struct vdev_cfg *vc, struct err *err)
{
	struct virtio_blk_config *c = &s->config.blk;
	unsigned has = 1;
	int r = vu_get_config(&s->vu, c, BLK_CONFIG, err);

	if (r)
		return r;
	if (s->vu.features & BIT64(VIRTIO_BLK_F_MQ) && s->vu.max_queues)
		has = le16toh(c->num_queues) < s->vu.max_queues ? le16toh(c->num_queues) : s->vu.max_queues;
	vc->nr_queues = has > cfg->queues ? cfg->queues : has ? has : 1;
	c->num_queues = htole16((uint16_t)vc->nr_queues);
	vc->offered = s->vu.features & BLK_FEATURES;
	if (vc->nr_queues > 1)
		vc->offered |= BIT64(VIRTIO_BLK_F_MQ);
	return 0;
}

static int learn_fs(struct vuser *s, const struct vuser_cfg *cfg, struct vdev_cfg *vc, struct err *err)
{
	struct virtio_fs_config *c = &s->config.fs;

	if (s->vu.max_queues && s->vu.max_queues < FS_QUEUES)
		return err_set(err, -ENOTSUP, "%s: the back end has one queue, and a file system needs two (is it of this kind?)", cfg->name);
	memcpy(c->tag, cfg->tag, strnlen(cfg->tag, sizeof(c->tag)));
	c->num_request_queues = htole32(FS_QUEUES - 1);
	vc->nr_queues = FS_QUEUES;
	return 0;
}

static const struct {
	const struct vdev_ops *ops;
	uint16_t type;
	unsigned config_len;
	uint64_t need; /* of the protocol */
	int (*learn)(struct vuser *s, const struct vuser_cfg *cfg, struct vdev_cfg *vc, struct err *err);
} kinds[] = {
	[VUSER_BLK] = { &blk_ops, VIRTIO_ID_BLOCK, BLK_CONFIG, BIT64(VU_PROTOCOL_CONFIG), learn_blk },
	[VUSER_FS] = { &fs_ops, VIRTIO_ID_FS, sizeof(struct virtio_fs_config), 0, learn_fs },
};

static int init(struct vuser *s, const struct vuser_cfg *cfg, struct err *err)
{
	struct vdev_cfg vc = {
		.ops = kinds[cfg->kind].ops,
		.name = cfg->name,
		.type = kinds[cfg->kind].type,
		.queue_size = QUEUE_SIZE,
		.config_len = kinds[cfg->kind].config_len,
		.back_end = true,
		.loop = cfg->loop,
		.mem = cfg->mem,
	};
	int r = vu_greet(&s->vu, cfg->name, cfg->fd, kinds[cfg->kind].need, err);

	if (!r)
		r = kinds[cfg->kind].learn(s, cfg, &vc, err);
	if (r)
		return r;
	vc.lacks = OPTIONAL & ~s->vu.features;
	r = vdev_init(&s->v, &vc);
	s->has_vdev = !r;
	if (!r)
		r = vu_attach(&s->vu, cfg->loop, cfg->mem, lost, s);
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
