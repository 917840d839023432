/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vuser_rig - a device by vhost-user between a driver, a back end (tests/fake/vuser.h) and a broker, all of them the test
 *
 * Thread: the test's.
 */
#ifndef TESTS_UNIT_VUSER_RIG_H
#define TESTS_UNIT_VUSER_RIG_H

#include <check.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "devices/vhost/user.h"
#include "devices/virtio/vuser.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "tests/fake/vuser.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"

#define RAM 0x40000000ull
#define RAM_SIZE 0x40000ull
#define BLK_CONFIG 60
#define MAX_QUEUES 5 /* two pairs of a card's, and its control queue */
#define PATH 3 /* its number */

struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct fake_back b;
	int fd;
	struct vuser_cfg cfg;
	struct fake_ring ring[MAX_QUEUES];
	int call[MAX_QUEUES];
	unsigned config_irqs;
	unsigned control_irqs; /* of a card's control queue */
	struct err err;
	/* with a path: who connects */
	struct broker broker;
	int broker_fd;       /* the broker's own end */
	bool has_broker;
	unsigned asked;      /* for a connection, so often */
};

static inline void queue_irq(void *t, unsigned q)
{
	struct rig *r = t;

	ck_assert_msg(r->cfg.kind == VUSER_NET && q == MAX_QUEUES - 1, "the back end interrupts, not this process");
	r->control_irqs++;
}

static inline void config_irq(void *t)
{
	((struct rig *)t)->config_irqs++;
}

static inline int call_fd(void *t, unsigned q, int *ret_fd)
{
	*ret_fd = ((struct rig *)t)->call[q];
	return 0;
}

static const struct vdev_irq irq_ops = { .queue = queue_irq, .config = config_irq, .call_fd = call_fd };

/* Up to the device, whose back end may still be changed. */
static inline void rig_begin(struct rig *r, enum vuser_kind kind)
{
	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(loop_new(&r->loop), 0);
	ck_assert_int_eq(gmem_new(&r->mem), 0);
	ck_assert_int_eq(gmem_add(r->mem, RAM, RAM_SIZE, true), 0);
	for (unsigned q = 0; q < MAX_QUEUES; q++)
		r->call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake_back_init(&r->b, &r->fd);
	r->cfg = (struct vuser_cfg){
		.name = "vhost-user0", .kind = kind, .loop = r->loop, .mem = r->mem, .fd = r->fd, .tag = "folder",
		.queues = kind == VUSER_NET ? 1 : 4, .mac = (const uint8_t *)"\x52\x54\x00\x01\x02\x03",
	};
	fake_loop_serve(r->loop);
}

/* The same with a path, to which a broker connects: the test. */
static inline void rig_begin_with_path(struct rig *r, enum vuser_kind kind)
{
	int s[2];

	rig_begin(r, kind);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	ck_assert_int_eq(broker_init(&r->broker, r->loop, s[0], "vhost-user"), 0);
	r->broker_fd = s[1];
	r->has_broker = true;
	r->cfg.broker = &r->broker;
	r->cfg.path = PATH;
}

static inline int rig_new(struct rig *r)
{
	return vuser_new(&r->cfg, &r->v, &r->err);
}

/* More than a card's front end knows, too. */
#define NET_FEATURES                                                                                                \
	(BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_GUEST_TSO4))
#define NET_MORE                                                                                                    \
	(BIT64(VIRTIO_NET_F_MQ) | BIT64(VIRTIO_NET_F_MTU) | BIT64(VIRTIO_NET_F_CTRL_RX) | BIT64(VIRTIO_NET_F_GUEST_ANNOUNCE) | \
	 BIT64(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT64(VIRTIO_NET_F_RSS) | BIT64(34) | BIT64(33))

static inline void set_up_card(struct rig *r)
{
	r->b.pairs = true;
	r->b.features |= NET_FEATURES | NET_MORE;
	r->b.protocol |= BIT64(VU_PROTOCOL_RARP) | BIT64(VU_PROTOCOL_NET_MTU);
}

/* What a back end of ours is, the first and the next ones. */
static inline void set_up_back_end(struct rig *r)
{
	if (r->cfg.kind == VUSER_NET) {
		set_up_card(r);
		return;
	}
	r->b.features |= BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_CONFIG_WCE) | BIT64(VIRTIO_BLK_F_MQ) | BIT64(34) | BIT64(33);
	((struct virtio_blk_config *)r->b.config)->capacity = 1234;
	((struct virtio_blk_config *)r->b.config)->num_queues = 16;
}

static inline void rig_finish(struct rig *r, enum vuser_kind kind)
{
	set_up_back_end(r);
	fake_back_prepay(&r->b, kind == VUSER_BLK ? BLK_CONFIG : 0);
	ck_assert_msg(!rig_new(r), "%s", r->err.text);
	fake_back_turn(&r->b);
	vdev_set_irq(r->v, &irq_ops, r);
}

static inline void rig_init(struct rig *r, enum vuser_kind kind)
{
	rig_begin(r, kind);
	rig_finish(r, kind);
}

static inline void rig_fini(struct rig *r)
{
	ck_assert_msg(!r->b.complaint, "%s", r->b.complaint);
	if (r->v)
		vdev_free(r->v);
	fake_back_fini(&r->b);
	if (r->has_broker) {
		broker_fini(&r->broker);
		close_fd(&r->broker_fd);
	}
	loop_free(r->loop);
	gmem_free(r->mem);
	for (unsigned q = 0; q < MAX_QUEUES; q++)
		close(r->call[q]);
}

/* Both sides go on, until what the driver waits for is done or nothing moves any more. */
static inline int act(struct rig *r, enum vdev_todo todo, int result)
{
	for (unsigned n = 0; result == LOOP_AGAIN && n < 100; n++) {
		fake_loop_turn(r->loop);
		fake_back_turn(&r->b);
		result = vdev_act(r->v, todo);
	}
	return result;
}

static inline int begin_start(struct rig *r, unsigned queues)
{
	gpa_t at = RAM;

	for (unsigned q = 0; q < queues; q++) {
		at = fake_ring_init(&r->ring[q], r->mem, at, 16);
		fake_ring_give(&r->ring[q], r->v, q);
	}
	return fake_vdev_start(r->v, r->v->offered);
}

static inline int start(struct rig *r, unsigned queues)
{
	return act(r, VDEV_ACTIVATE, begin_start(r, queues));
}

static inline int reset(struct rig *r)
{
	ck_assert_int_eq(vdev_set_status(r->v, 0), VDEV_RESET);
	return act(r, VDEV_RESET, LOOP_AGAIN);
}

static inline bool has_to_be_reset(struct rig *r)
{
	return vdev_status(r->v) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static inline bool same_file(int a, int b)
{
	uint64_t n = 3, got = 0;

	/* a count that goes in at one end comes out at the other */
	return write(a, &n, sizeof(n)) == sizeof(n) && read(b, &got, sizeof(got)) == sizeof(got) && got >= 3;
}

static inline void check_running(struct rig *r, unsigned queues)
{
	ck_assert_uint_eq(r->b.nr_regions, 1);
	ck_assert_uint_eq(r->b.regions[0].gpa, RAM);
	ck_assert_uint_eq(r->b.regions[0].user, RAM);
	ck_assert_uint_eq(r->b.regions[0].size, RAM_SIZE);
	ck_assert_int_eq(r->b.region_size[0], RAM_SIZE);
	ck_assert_int_eq(r->b.seals & (F_SEAL_SHRINK | F_SEAL_GROW), F_SEAL_SHRINK | F_SEAL_GROW);
	for (unsigned q = 0; q < queues; q++) {
		const struct fake_back_ring *b = &r->b.ring[q];

		ck_assert(b->enabled && b->num == 16 && b->base == 0);
		ck_assert(b->addr.desc == r->ring[q].desc && b->addr.avail == r->ring[q].avail && b->addr.used == r->ring[q].used);
		ck_assert(same_file(b->call, r->call[q]) && same_file(vdev_kick_fd(r->v, q), b->kick));
	}
}

static inline void check_silent(struct rig *r)
{
	for (unsigned q = 0; q < FAKE_RINGS; q++)
		ck_assert(r->b.ring[q].kick < 0 && r->b.ring[q].call < 0 && !r->b.ring[q].enabled);
}

#endif
