/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vuser_priv - what the files of devices by vhost-user share
 *
 * What:   the device, what one type of it has of its own, and the life that all types have (vuser.c); cards (vuser_net.c).
 * Not:    for anyone but devices/virtio/vuser*.c.
 * Trust:  as vuser.h.
 * Thread: as vdev.h.
 */
#ifndef DEVICES_VIRTIO_VUSER_PRIV_H
#define DEVICES_VIRTIO_VUSER_PRIV_H

#include <linux/virtio_blk.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_net.h>
#include <stddef.h>

#include "devices/vhost/user.h"
#include "devices/virtio/vuser.h"

/* Of a card's configuration (virtio 1.2 s5.1.4) there are mac, status, max_virtqueue_pairs and mtu. */
#define VUSER_NET_CONFIG (offsetof(struct virtio_net_config, mtu) + sizeof(((struct virtio_net_config *)0)->mtu))

#define VUSER_QUEUE_SIZE 256

struct vuser;

struct vuser_type {
	const struct vdev_ops *ops;
	uint16_t id;             /* virtio's, of the device */
	unsigned config_len;     /* bytes */
	bool asks_config;        /* the back end for it */
	uint64_t need;           /* of the protocol */
	uint64_t ours;           /* features that the back end need not have */
	enum vu_loss loss;
	/* What the back end has said, and the user: makes of it the configuration, and the rest of @vc. */
	int (*learn)(struct vuser *s, const struct vuser_cfg *cfg, struct vdev_cfg *vc, struct err *err);
	/* Another one has said what it is: as struct vu_ops. */
	const char *(*lacks)(const struct vuser *s);
};

/* A card's control queue, which is never the back end's: commands one at a time, since each is questions to the back end. */
struct vuser_control {
	int queue;               /* its index in this life; -1: none */
	bool pauses;             /* the timer brings the next ones, however the driver kicks */
	bool busy;               /* the back end has not done the last one yet, which is */
	uint16_t head;
	uint8_t *ack;            /* where its answer goes, in the guest's memory; NULL: nowhere */
	struct loop_timer again; /* with several pairs */
};

struct vuser {
	struct vdev v;
	bool has_vdev;
	const struct vuser_type *type;
	struct vu_dev vu;
	unsigned lent;           /* so many queues, from the first on, are the back end's in this life */
	unsigned on;             /* and so many of them are enabled at its start */
	union {
		struct virtio_blk_config blk;
		struct virtio_fs_config fs;
		struct virtio_net_config net; /* status: under the vdev's lock */
	} config;
	unsigned pairs;          /* a card's, at most */
	struct vuser_control control;
};

static inline struct vuser *to_vuser(struct vdev *v)
{
	return container_of(v, struct vuser, v);
}

/* For struct vdev_ops. activate() and reset() of a type that has more to do end with these. */
int vuser_activate(struct vdev *v);
bool vuser_settle(struct vdev *v);
void vuser_reset(struct vdev *v);
void vuser_config_read(struct vdev *v, unsigned off, void *buf, unsigned len);
void vuser_dump(struct vdev *v, FILE *out);
void vuser_free(struct vdev *v);

/* ---- vuser_net.c ---- */

extern const struct vuser_type vuser_net_type;

/* As struct vu_ops; for cards alone. */
void vuser_net_there(struct vuser *s, bool yes);
void vuser_net_switched(struct vuser *s, bool done);
/* Before the loop's seal, after vdev_init(). loop_timer_init()'s errors. */
int vuser_net_init(struct vuser *s, struct loop *loop);
void vuser_net_fini(struct vuser *s);

#endif
