/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_rig - a network device on a fake loop, with a fake kernel behind ioctl(2) and a fake driver
 *
 * Thread: the test's. Included once in a program (see tests/fake/vhost.h).
 */
#ifndef TESTS_UNIT_NET_RIG_H
#define TESTS_UNIT_NET_RIG_H

#include <check.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "devices/virtio/net_priv.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "tests/fake/vhost.h"

#define RAM 0x40000000ull
#define RAM_SIZE 0x200000ull
#define BUFFERS (RAM + 0x100000) /* free for packets */
#define F(name) BIT64(VIRTIO_NET_F_##name)

struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct net *n;
	unsigned pairs;
	struct fake_ring ring[VDEV_MAX_QUEUES];
	int call[VDEV_MAX_QUEUES];
	unsigned irqs[VDEV_MAX_QUEUES];
	unsigned config_irqs;
	int call_error;              /* what call_fd says */
	struct bucket limit;         /* as net_new() made it */
};

static void rig_irq(void *t, unsigned q)
{
	((struct rig *)t)->irqs[q]++;
}

static void rig_config_irq(void *t)
{
	((struct rig *)t)->config_irqs++;
}

static int rig_call_fd(void *t, unsigned q, int *ret_fd)
{
	struct rig *r = t;

	if (r->call_error)
		return r->call_error;
	*ret_fd = r->call[q];
	return 0;
}

static const struct vdev_irq rig_irq_ops = {
	.queue = rig_irq,
	.config = rig_config_irq,
	.call_fd = rig_call_fd,
};

__attribute__((unused)) static struct net_cfg rig_cfg(struct rig *r, bool vhost)
{
	struct net_cfg cfg = { .name = "net0", .loop = r->loop, .mem = r->mem, .mac = { 2, 3, 4, 5, 6, 7 } };
	struct err e;

	ck_assert_msg(!tap_from_fds(fv.tap_fd, r->pairs, &cfg.tap, &e), "%s", e.text);
	for (unsigned i = 0; i < NET_MAX_PAIRS; i++)
		cfg.vhost_fds[i] = vhost && i < r->pairs ? fake_vhost_fd() : -1;
	return cfg;
}

/* Everything but the device. */
static void rig_init_bare(struct rig *r, unsigned pairs)
{
	gpa_t at = RAM;

	memset(r, 0, sizeof(*r));
	fake_vhost_reset();
	fake_tap_make(pairs);
	r->pairs = pairs;
	ck_assert_int_eq(loop_new(&r->loop), 0);
	ck_assert_int_eq(gmem_new(&r->mem), 0);
	ck_assert_int_eq(gmem_add(r->mem, RAM, RAM_SIZE, false), 0);
	for (unsigned q = 0; q < 2 * pairs + 1; q++) {
		at = fake_ring_init(&r->ring[q], r->mem, at, NET_QUEUE_SIZE);
		r->call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
}

static void rig_make(struct rig *r, const struct net_cfg *cfg)
{
	struct err e;

	ck_assert_msg(!net_new(cfg, &r->v, &e), "%s", e.text);
	ck_assert_int_eq(loop_seal(r->loop), 0);
	r->n = container_of(r->v, struct net, v);
	r->limit = r->n->changes;
	r->n->changes.per_second = 0; /* rig_limit() for those that it is about */
	vdev_set_irq(r->v, &rig_irq_ops, r);
}

__attribute__((unused)) static void rig_init(struct rig *r, unsigned pairs, bool vhost)
{
	struct net_cfg cfg;

	rig_init_bare(r, pairs);
	cfg = rig_cfg(r, vhost);
	rig_make(r, &cfg);
}

/* By our loop, with limits. */
__attribute__((unused)) static void rig_init_limited(struct rig *r, unsigned pairs, uint64_t iops, uint64_t bps)
{
	struct net_cfg cfg;

	rig_init_bare(r, pairs);
	cfg = rig_cfg(r, false);
	cfg.iops = iops;
	cfg.bps = bps;
	rig_make(r, &cfg);
}

/* On a stream socket, whose other end is *@ret_peer, the caller's; no tap. Limits: 0 for none. */
__attribute__((unused)) static void rig_init_stream_limited(struct rig *r, int *ret_peer, uint64_t iops, uint64_t bps)
{
	struct net_cfg cfg = { .name = "net0", .peer = "peer", .mac = { 2, 3, 4, 5, 6, 7 }, .iops = iops, .bps = bps };
	int s[2];

	rig_init_bare(r, 1);
	close(fv.tap_fd[0]);
	cfg.loop = r->loop;
	cfg.mem = r->mem;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	cfg.stream_fd = s[0];
	*ret_peer = s[1];
	for (unsigned i = 0; i < NET_MAX_PAIRS; i++)
		cfg.vhost_fds[i] = -1;
	rig_make(r, &cfg);
}

__attribute__((unused)) static void rig_init_stream(struct rig *r, int *ret_peer)
{
	rig_init_stream_limited(r, ret_peer, 0, 0);
}

/* Changes of the interface take their time again. */
__attribute__((unused)) static void rig_limit(struct rig *r)
{
	r->n->changes = r->limit;
}

static void rig_fini(struct rig *r)
{
	vdev_free(r->v);
	loop_free(r->loop);
	gmem_free(r->mem);
	for (unsigned q = 0; q < 2 * r->pairs + 1; q++)
		close(r->call[q]);
	for (unsigned i = 0; i < r->pairs; i++)
		close(fv.peer_fd[i]);
	ck_assert_msg(!fv.complaint, "%s", fv.complaint);
}

/* Fresh rings in the first @queues queues, then DRIVER_OK. */
static inline int rig_start(struct rig *r, uint64_t features, unsigned queues)
{
	for (unsigned q = 0; q < queues; q++) {
		fake_ring_init(&r->ring[q], r->mem, r->ring[q].desc, NET_QUEUE_SIZE);
		fake_ring_give(&r->ring[q], r->v, q);
	}
	return fake_vdev_start(r->v, features);
}

static inline bool rig_needs_reset(struct rig *r)
{
	return vdev_status(r->v) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static inline void rig_kick(struct rig *r, unsigned q)
{
	vdev_notify(r->v, q);
	fake_loop_turn(r->loop);
}

static inline int rig_run_suite(Suite *s)
{
	SRunner *run = srunner_create(s);
	int failed;

	srunner_run_all(run, CK_ENV);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed ? 1 : 0;
}

#endif
