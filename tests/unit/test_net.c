// SPDX-License-Identifier: BSD-3-Clause
/* The network device apart from its packets: offer, configuration, offloads, pairs, vhost. */
#include "tests/unit/net_rig.h"

#include <linux/virtio_ids.h>

#define TAP_BITS                                                                            \
	(F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_UFO) | \
	 F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN) | F(GUEST_UFO))
#define USO_BITS (F(HOST_USO) | F(GUEST_USO4) | F(GUEST_USO6))
#define RING_BITS                                                                        \
	(BIT64(VIRTIO_RING_F_INDIRECT_DESC) | BIT64(VIRTIO_RING_F_EVENT_IDX) |           \
	 BIT64(VIRTIO_F_VERSION_1))
#define ONE_PAIR (F(MAC) | F(STATUS) | F(MRG_RXBUF) | TAP_BITS | USO_BITS | RING_BITS)

static bool kicked(struct rig *r, unsigned q)
{
	uint64_t n;

	return read(vdev_kick_fd(r->v, q), &n, sizeof(n)) == (ssize_t)sizeof(n);
}

static struct fake_vhost_dev *vhost_of(struct rig *r, unsigned pair)
{
	return fake_vhost_dev(r->n->pair[pair].vh.fd);
}

/* ---- offer and configuration ---- */

START_TEST(test_net_offer_one_pair)
{
	struct rig r;

	rig_init(&r, 1, _i);
	ck_assert_uint_eq(r.v->type, VIRTIO_ID_NET);
	ck_assert_uint_eq(r.v->nr_queues, 2);
	ck_assert_uint_eq(r.v->offered, ONE_PAIR);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_offer_many_pairs_has_control)
{
	struct rig r;

	rig_init(&r, 4, _i);
	ck_assert_uint_eq(r.v->nr_queues, 9);
	ck_assert_uint_eq(r.v->offered, ONE_PAIR | F(MQ) | F(CTRL_VQ));
	ck_assert_uint_eq(vdev_config_read(r.v, 8, 2), 4);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_offer_masked_by_vhost)
{
	struct net_cfg cfg;
	struct rig r;

	rig_init_bare(&r, 1);
	fv.features = BIT64(VIRTIO_F_VERSION_1) | BIT64(27) | BIT64(VIRTIO_RING_F_INDIRECT_DESC);
	cfg = rig_cfg(&r, true);
	ck_assert_int_eq(net_new(&cfg, &r.v, NULL), 0);
	ck_assert_uint_eq(r.v->offered, ONE_PAIR & ~(F(MRG_RXBUF) | BIT64(VIRTIO_RING_F_EVENT_IDX)));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_offer_without_uso_on_old_kernel)
{
	struct net_cfg cfg;
	struct rig r;

	rig_init_bare(&r, 1);
	fv.knows_uso = false;
	cfg = rig_cfg(&r, false);
	ck_assert_int_eq(net_new(&cfg, &r.v, NULL), 0);
	ck_assert_uint_eq(r.v->offered, ONE_PAIR & ~USO_BITS);
	ck_assert_uint_eq(fv.offloads, 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_config_space)
{
	struct net_cfg cfg;
	struct rig r;

	rig_init_bare(&r, 1);
	cfg = rig_cfg(&r, false);
	cfg.mtu = 1400;
	ck_assert_int_eq(net_new(&cfg, &r.v, NULL), 0);
	ck_assert(r.v->offered & F(MTU));
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 6), 0x070605040302);
	ck_assert_uint_eq(vdev_config_read(r.v, 6, 2), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(vdev_config_read(r.v, 8, 2), 1);
	ck_assert_uint_eq(vdev_config_read(r.v, 10, 2), 1400);
	ck_assert_uint_eq(vdev_config_read(r.v, 11, 1), 5);
	ck_assert_uint_eq(vdev_config_read(r.v, 12, 4), 0);
	vdev_config_write(r.v, 0, 4, 0);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 6), 0x070605040302);
	rig_fini(&r);
}
END_TEST

/* ---- construction ---- */

static void new_refused(struct rig *r, struct net_cfg *cfg, int code, const char *text)
{
	struct vdev *v = (void *)1;
	struct err e = { "" };

	ck_assert_int_eq(net_new(cfg, &v, &e), code);
	ck_assert_ptr_eq(v, (void *)1);
	ck_assert_msg(strstr(e.text, text), "'%s' lacks '%s'", e.text, text);
	for (unsigned i = 0; i < r->pairs; i++) {
		ck_assert_int_lt(fcntl(fv.tap_fd[i], F_GETFD), 0);
		if (fv.dev[i].fd >= 0)
			ck_assert_int_lt(fcntl(fv.dev[i].fd, F_GETFD), 0);
	}
	r->v = NULL;
}

START_TEST(test_net_new_bad_mtu_refused)
{
	struct net_cfg cfg;
	struct rig r;

	rig_init_bare(&r, 2);
	cfg = rig_cfg(&r, true);
	cfg.mtu = 67;
	new_refused(&r, &cfg, -EINVAL, "net0: mtu=67");
	rig_fini(&r);
}
END_TEST

/* Header sizes of a tap that was taken in part are as they were. */
START_TEST(test_net_tap_refused_late_has_its_header_size_again)
{
	struct tap *t = NULL;
	struct err e = { "" };
	struct rig r;

	rig_init_bare(&r, 2);
	fv.hdr_size = 10;
	fake_vhost_fail(TUNSETVNETHDRSZ, EIO, 1);
	ck_assert_int_eq(tap_from_fds(fv.tap_fd, 2, &t, &e), -EIO);
	ck_assert_ptr_null(t);
	ck_assert_int_eq(fv.hdr_size, 10);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_new_vhost_failure_closes_all)
{
	struct net_cfg cfg;
	struct rig r;

	rig_init_bare(&r, 3);
	cfg = rig_cfg(&r, true);
	fake_vhost_fail(VHOST_SET_OWNER, ENOMEM, (unsigned)_i);
	new_refused(&r, &cfg, -ENOMEM, "net0: vhost-net: ");
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_new_loop_full_closes_all)
{
	for (unsigned k = 0; k < 100; k++) {
		struct net_cfg cfg;
		struct rig r;

		rig_init_bare(&r, 2);
		cfg = rig_cfg(&r, _i);
		fake_loop_fail_init(r.loop, k, -ENOSPC);
		if (!net_new(&cfg, &r.v, NULL)) {
			ck_assert_uint_ge(k, 5);
			rig_fini(&r);
			return;
		}
		rig_fini(&r);
		rig_init_bare(&r, 2);
		cfg = rig_cfg(&r, _i);
		fake_loop_fail_init(r.loop, k, -ENOSPC);
		new_refused(&r, &cfg, -ENOSPC, "net0: ");
		rig_fini(&r);
	}
	ck_abort_msg("never enough");
}
END_TEST

/* ---- offloads ---- */

START_TEST(test_net_offloads_from_acknowledged_features)
{
	static const struct {
		uint64_t acked;
		unsigned tun_f;
	} cases[] = {
		{ 0, 0 },
		{ F(CSUM) | F(HOST_TSO4) | F(HOST_UFO), 0 },
		{ F(GUEST_CSUM), TUN_F_CSUM },
		{ F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_UFO), 0 },
		{ F(GUEST_CSUM) | F(GUEST_TSO4), TUN_F_CSUM | TUN_F_TSO4 },
		{ F(GUEST_CSUM) | F(GUEST_TSO6) | F(GUEST_ECN), TUN_F_CSUM | TUN_F_TSO6 | TUN_F_TSO_ECN },
		{ F(GUEST_CSUM) | F(GUEST_ECN), TUN_F_CSUM },
		{ F(GUEST_CSUM) | F(GUEST_UFO) | F(GUEST_ECN), TUN_F_CSUM | TUN_F_UFO },
		{ F(GUEST_CSUM) | F(GUEST_USO4), TUN_F_CSUM },
		{ F(GUEST_CSUM) | F(GUEST_USO6), TUN_F_CSUM },
		{ F(GUEST_CSUM) | F(GUEST_USO4) | F(GUEST_USO6), TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6 },
		{ ~0ull, 0x7f },
	};
	struct rig r;

	rig_init(&r, 1, false);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_int_eq(rig_start(&r, cases[i].acked & r.v->offered, 2), 0);
		ck_assert_msg(fv.offloads == cases[i].tun_f, "case %u: %x", i, fv.offloads);
		fake_vdev_reset(r.v);
		ck_assert_uint_eq(fv.offloads, 0);
	}
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	rig_fini(&r);
	ck_assert_uint_eq(fv.offloads, 0);
}
END_TEST

/* ---- vhost ---- */

START_TEST(test_net_vhost_start_and_reset)
{
	struct fake_vhost_dev *d;
	struct rig r;

	rig_init(&r, 1, true);
	d = vhost_of(&r, 0);
	for (unsigned life = 0; life < 3; life++) {
		ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
		ck_assert_uint_eq(d->acked, F(MRG_RXBUF) | RING_BITS);
		ck_assert_uint_eq(d->nregions, 1);
		ck_assert_uint_eq(r.v->vhost_queues, 3);
		for (unsigned q = 0; q < 2; q++) {
			ck_assert_int_eq(d->ring[q].backend, r.n->tap->fds[0]);
			ck_assert_uint_eq(d->ring[q].base, 0);
			ck_assert_int_eq(d->ring[q].call, r.call[q]);
			ck_assert_int_eq(d->ring[q].kick, vdev_kick_fd(r.v, q));
			/* What was kicked before the back end would be lost. */
			ck_assert(kicked(&r, q));
			ck_assert_uint_eq(fake_loop_armed(&r.v->queues[q].kick_poll), 0);
		}
		fake_vdev_reset(r.v);
		for (unsigned q = 0; q < 2; q++) {
			ck_assert_int_eq(d->ring[q].backend, -1);
			ck_assert_int_eq(d->ring[q].call, -1);
			ck_assert_int_eq(d->ring[q].kick, -1);
			ck_assert(!kicked(&r, q));
		}
		ck_assert_uint_eq(r.v->vhost_queues, 0);
	}
	ck_assert_uint_eq(fake_vhost_count(VHOST_SET_OWNER), 1);
	ck_assert_uint_eq(fake_vhost_count(VHOST_RESET_OWNER), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_vhost_every_refusal_needs_reset_and_heals)
{
	static const unsigned long reqs[] = { VHOST_SET_FEATURES,   VHOST_SET_MEM_TABLE,  VHOST_SET_VRING_NUM,
					      VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_ERR,
					      VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND };
	struct fake_vhost_dev *d;
	struct rig r;

	rig_init(&r, 1, true);
	d = vhost_of(&r, 0);
	for (unsigned k = 0; k < 2; k++) {
		fake_vhost_fail(reqs[_i], ENOMEM, k);
		if (reqs[_i] == VHOST_SET_FEATURES || reqs[_i] == VHOST_SET_MEM_TABLE)
			fv.fail_after = 0;
		ck_assert_int_eq(rig_start(&r, r.v->offered, 2), -ENOMEM);
		ck_assert(rig_needs_reset(&r));
		ck_assert_int_eq(d->ring[0].backend, -1);
		ck_assert_int_eq(d->ring[1].backend, -1);
		ck_assert_int_eq(d->ring[0].call, -1);
		ck_assert_uint_eq(fv.offloads, 0);
		fv.fail_errno = 0;
		fake_vdev_reset(r.v);
		ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
		ck_assert_int_eq(d->ring[1].backend, r.n->tap->fds[0]);
		fake_vdev_reset(r.v);
	}
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_vhost_no_call_fd_needs_reset)
{
	struct rig r;

	rig_init(&r, 1, true);
	r.call_error = -ENOSPC;
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), -ENOSPC);
	ck_assert(rig_needs_reset(&r));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_vhost_ring_outside_memory_needs_reset)
{
	struct rig r;

	rig_init(&r, 1, true);
	r.ring[1].used = RAM + RAM_SIZE - 64;
	fake_ring_give(&r.ring[0], r.v, 0);
	fake_ring_give(&r.ring[1], r.v, 1);
	ck_assert_int_eq(fake_vdev_start(r.v, r.v->offered), -EFAULT);
	ck_assert(rig_needs_reset(&r));
	ck_assert_uint_eq(fake_vhost_count(VHOST_NET_SET_BACKEND), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_vhost_error_needs_reset)
{
	struct rig r;

	rig_init(&r, 1, true);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	eventfd_write(r.n->pair[0].vh.err_fd, 1);
	fake_loop_turn(r.loop);
	ck_assert(rig_needs_reset(&r));
	ck_assert_uint_eq(r.config_irqs, 1);
	ck_assert_uint_eq(fake_loop_turn(r.loop), 0);
	/* One that comes with the reset does not reach the next life. */
	eventfd_write(r.n->pair[0].vh.err_fd, 1);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	fake_loop_turn(r.loop);
	ck_assert(!rig_needs_reset(&r));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_vhost_backend_that_stays_is_closed)
{
	struct rig r;
	int fd;

	rig_init(&r, 1, true);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	fd = r.n->pair[0].vh.fd;
	fake_vhost_fail(VHOST_NET_SET_BACKEND, EFAULT, 0);
	fake_vdev_reset(r.v);
	ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
	ck_assert_uint_eq(vdev_status(r.v), 0);
	ck_assert_int_lt(rig_start(&r, r.v->offered, 2), 0);
	ck_assert(rig_needs_reset(&r));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_no_queue_ready_starts_idle)
{
	struct rig r;

	rig_init(&r, 2, _i);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 1), 0);
	ck_assert(!r.n->pair[0].on);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 0), 0);
	rig_fini(&r);
}
END_TEST

/* ---- pairs and the control queue ---- */

#define CMD BUFFERS
#define ACK (BUFFERS + 64)

static int command(struct rig *r, unsigned q, const void *cmd, unsigned len)
{
	const struct fake_part parts[] = { { CMD, 2, false }, { CMD + 2, len - 2, false }, { ACK, 1, true } };
	uint8_t ack = 0xaa;
	uint32_t id, used;

	ck_assert_int_eq(gmem_write(r->mem, CMD, cmd, len), 0);
	ck_assert_int_eq(gmem_write(r->mem, ACK, &ack, 1), 0);
	fake_ring_add(&r->ring[q], parts, 3);
	rig_kick(r, q);
	if (!fake_ring_used(&r->ring[q], &id, &used))
		return -1;
	ck_assert_uint_eq(used, 1);
	ck_assert_int_eq(gmem_read(r->mem, ACK, &ack, 1), 0);
	return ack;
}

static int set_pairs(struct rig *r, unsigned q, uint16_t pairs)
{
	const uint8_t cmd[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (uint8_t)pairs,
				(uint8_t)(pairs >> 8) };

	return command(r, q, cmd, sizeof(cmd));
}

static void check_pairs(struct rig *r, unsigned on, bool vhost)
{
	for (unsigned i = 0; i < r->pairs; i++) {
		ck_assert_int_eq(fv.attached[i], i < on);
		ck_assert_int_eq(r->n->pair[i].on, i < on);
		for (unsigned k = 0; vhost && k < 2; k++)
			ck_assert_int_eq(vhost_of(r, i)->ring[k].backend, i < on ? r->n->tap->fds[i] : -1);
	}
}

START_TEST(test_net_pairs_set_and_kept_apart)
{
	struct rig r;

	rig_init(&r, 4, _i);
	for (unsigned life = 0; life < 2; life++) {
		ck_assert_int_eq(rig_start(&r, r.v->offered, 9), 0);
		check_pairs(&r, 1, _i);
		/* What vdev signalled at DRIVER_OK came before these had a back end. */
		for (unsigned q = 0; _i && q < 8; q++)
			ck_assert(kicked(&r, q));
		ck_assert_int_eq(set_pairs(&r, 8, 4), VIRTIO_NET_OK);
		check_pairs(&r, 4, _i);
		for (unsigned q = 2; _i && q < 8; q++)
			ck_assert(kicked(&r, q));
		ck_assert_int_eq(set_pairs(&r, 8, 2), VIRTIO_NET_OK);
		check_pairs(&r, 2, _i);
		ck_assert_int_eq(set_pairs(&r, 8, 2), VIRTIO_NET_OK);
		ck_assert_int_eq(set_pairs(&r, 8, 3), VIRTIO_NET_OK);
		check_pairs(&r, 3, _i);
		/* Back on again: the kernel kept its place in the ring. */
		if (_i) {
			ck_assert_uint_eq(vhost_of(&r, 2)->ring[0].backends, 2 * (life + 1));
			ck_assert_uint_eq(fake_vhost_count(VHOST_SET_VRING_BASE), 8 * (life + 1));
			ck_assert(kicked(&r, 4) && kicked(&r, 5));
		}
		fake_vdev_reset(r.v);
		for (unsigned i = 0; i < 4; i++)
			ck_assert(!r.n->pair[i].on);
	}
	rig_fini(&r);
}
END_TEST

/* Each command may keep the kernel, and so the loop, for a while: the others get their turn in between. */
START_TEST(test_net_commands_take_turns)
{
	const uint8_t cmd[2][4] = { { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1, 0 },
				    { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 0 } };
	struct rig r;

	rig_init(&r, 2, _i);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 5), 0);
	fake_loop_turn(r.loop);
	ck_assert_int_eq(gmem_write(r.mem, CMD, cmd, sizeof(cmd)), 0);
	for (unsigned i = 0; i < 40; i++) {
		const struct fake_part parts[] = { { CMD + 4 * (i % 2), 4, false }, { ACK, 1, true } };

		fake_ring_add(&r.ring[4], parts, 2);
	}
	rig_kick(&r, 4);
	for (unsigned i = 0; i < 40; i++) {
		ck_assert_uint_eq(fake_ring_used_idx(&r.ring[4]), i + 1);
		check_pairs(&r, i % 2 + 1, _i);
		fake_loop_turn(r.loop);
	}
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[4]), 40);
	rig_fini(&r);
}
END_TEST

/* The host's interfaces share a lock: a guest that switches without end waits, in its ring, and gets there. */
START_TEST(test_net_commands_without_end_wait)
{
	const uint8_t cmd[2][4] = { { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1, 0 },
				    { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 0 } };
	struct rig r;
	unsigned done;

	rig_init(&r, 2, true);
	rig_limit(&r);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 5), 0);
	ck_assert_int_eq(gmem_write(r.mem, CMD, cmd, sizeof(cmd)), 0);
	for (unsigned i = 0; i < 80; i++) {
		const struct fake_part parts[] = { { CMD + 4 * ((i + 1) % 2), 4, false }, { ACK, 1, true } };

		fake_ring_add(&r.ring[4], parts, 2);
	}
	for (unsigned i = 0; i < 200; i++) {
		rig_kick(&r, 4);
		fake_loop_turn(r.loop);
	}
	done = fake_ring_used_idx(&r.ring[4]);
	ck_assert_uint_ge(done, 50);
	ck_assert_uint_lt(done, 80);
	ck_assert_uint_gt(fake_loop_timer(&r.n->again), 0);
	ck_assert_uint_le(fake_loop_timer(&r.n->again), UINT64_C(1000000000) / 40);
	/* told again when it is time: the rest, each in its turn */
	for (unsigned i = 0; i < 400 && fake_ring_used_idx(&r.ring[4]) < 80; i++) {
		usleep(5000);
		fake_loop_expire(&r.n->again);
		fake_loop_turn(r.loop);
	}
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[4]), 80);
	check_pairs(&r, 1, true);
	rig_fini(&r);
}
END_TEST

/* The same by resets: offloads are set at DRIVER_OK and taken away again. */
START_TEST(test_net_activations_without_end_wait)
{
	struct rig r;
	unsigned waits = 0;

	rig_init(&r, 1, _i);
	rig_limit(&r);
	for (unsigned i = 0; i < 200; i++) {
		waits += rig_start(&r, F(GUEST_CSUM), 2) == LOOP_AGAIN;
		ck_assert(r.v->active || !fv.offloads);
		fake_vdev_reset(r.v);
	}
	ck_assert_uint_ge(waits, 100);
	ck_assert_uint_le(fv.nr_offload_calls, 100);
	/* a driver that wants none changes nothing */
	for (unsigned i = 0; i < 200; i++) {
		ck_assert_int_eq(rig_start(&r, 0, 2), 0);
		fake_vdev_reset(r.v);
	}
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_pairs_out_of_range_refused)
{
	static const uint16_t bad[] = { 0, 5, 0x8000, 0xffff };
	struct rig r;

	rig_init(&r, 4, true);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 9), 0);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(set_pairs(&r, 8, bad[i]), VIRTIO_NET_ERR);
	check_pairs(&r, 1, true);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_pairs_not_ready_refused)
{
	struct rig r;

	rig_init(&r, 4, _i);
	for (unsigned q = 0; q < 9; q++)
		if (q != 5)
			fake_ring_give(&r.ring[q], r.v, q);
	ck_assert_int_eq(fake_vdev_start(r.v, r.v->offered), 0);
	ck_assert_int_eq(set_pairs(&r, 8, 3), VIRTIO_NET_ERR);
	ck_assert_int_eq(set_pairs(&r, 8, 2), VIRTIO_NET_OK);
	check_pairs(&r, 2, _i);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_pairs_kernel_refusal_reported)
{
	struct rig r;

	rig_init(&r, 4, true);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 9), 0);
	fake_vhost_fail(VHOST_NET_SET_BACKEND, ENOMEM, 3);
	ck_assert_int_eq(set_pairs(&r, 8, 4), VIRTIO_NET_ERR);
	check_pairs(&r, 1, true);
	fake_vhost_fail(TUNSETQUEUE, EPERM, 1);
	ck_assert_int_eq(set_pairs(&r, 8, 4), VIRTIO_NET_ERR);
	check_pairs(&r, 1, true);
	ck_assert_int_eq(set_pairs(&r, 8, 4), VIRTIO_NET_OK);
	fake_vhost_fail(TUNSETQUEUE, EPERM, 1);
	ck_assert_int_eq(set_pairs(&r, 8, 1), VIRTIO_NET_ERR);
	check_pairs(&r, 4, true);
	ck_assert(!rig_needs_reset(&r));
	rig_fini(&r);
}
END_TEST

/* s5.1.2: without MQ there is one pair and the control queue is queue 2. */
START_TEST(test_net_without_mq_one_pair_control_at_two)
{
	struct rig r;

	rig_init(&r, 4, _i);
	ck_assert_int_eq(rig_start(&r, r.v->offered & ~F(MQ), 3), 0);
	check_pairs(&r, 1, _i);
	ck_assert_int_eq(r.n->ctrl, 2);
	ck_assert_int_eq(set_pairs(&r, 2, 1), VIRTIO_NET_ERR);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered & ~(F(MQ) | F(CTRL_VQ)), 9), 0);
	check_pairs(&r, 1, _i);
	ck_assert_int_eq(r.n->ctrl, -1);
	for (unsigned q = 0; q < 9; q++)
		rig_kick(&r, q);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_control_nonsense_answered)
{
	static const struct {
		uint8_t bytes[6];
		unsigned len;
	} bad[] = {
		{ { VIRTIO_NET_CTRL_MQ, 1, 1, 0 }, 4 },
		{ { VIRTIO_NET_CTRL_MAC, 0, 1, 0 }, 4 },
		{ { VIRTIO_NET_CTRL_RX, 0, 1 }, 3 },
		{ { VIRTIO_NET_CTRL_MQ, 0, 1 }, 3 },
		{ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 6 },
	};
	struct rig r;

	rig_init(&r, 2, false);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 5), 0);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(command(&r, 4, bad[i].bytes, bad[i].len), VIRTIO_NET_ERR);
	ck_assert_uint_ge(r.irqs[4], 1);
	ck_assert(!rig_needs_reset(&r));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_control_without_ack_or_command_used)
{
	const struct fake_part only_out = { CMD, 4, false }, only_in = { ACK, 1, true };
	uint32_t id, len;
	struct rig r;

	rig_init(&r, 2, false);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 5), 0);
	fake_ring_add(&r.ring[4], &only_out, 1);
	fake_ring_add(&r.ring[4], &only_in, 1);
	rig_kick(&r, 4);
	ck_assert(fake_ring_used(&r.ring[4], &id, &len));
	ck_assert_uint_eq(len, 0);
	fake_loop_turn(r.loop);
	ck_assert(fake_ring_used(&r.ring[4], &id, &len));
	ck_assert_uint_eq(len, 1);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_control_broken_ring_needs_reset)
{
	struct rig r;

	rig_init(&r, 2, false);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 5), 0);
	fake_ring_set_avail_idx(&r.ring[4], NET_QUEUE_SIZE + 1);
	rig_kick(&r, 4);
	ck_assert(rig_needs_reset(&r));
	rig_kick(&r, 4);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 5), 0);
	ck_assert_int_eq(set_pairs(&r, 4, 2), VIRTIO_NET_OK);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_control_bad_address_needs_reset)
{
	struct rig r;

	rig_init(&r, 2, _i);
	r.ring[4].avail = 0x1000;
	for (unsigned q = 0; q < 5; q++)
		fake_ring_give(&r.ring[q], r.v, q);
	ck_assert_int_eq(fake_vdev_start(r.v, r.v->offered), -EFAULT);
	ck_assert(rig_needs_reset(&r));
	rig_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net");
	TCase *t = tcase_create("net");

	tcase_add_loop_test(t, test_net_offer_one_pair, 0, 2);
	tcase_add_loop_test(t, test_net_offer_many_pairs_has_control, 0, 2);
	tcase_add_test(t, test_net_offer_masked_by_vhost);
	tcase_add_test(t, test_net_offer_without_uso_on_old_kernel);
	tcase_add_test(t, test_net_config_space);
	tcase_add_test(t, test_net_new_bad_mtu_refused);
	tcase_add_test(t, test_net_tap_refused_late_has_its_header_size_again);
	tcase_add_loop_test(t, test_net_new_vhost_failure_closes_all, 0, 3);
	tcase_add_loop_test(t, test_net_new_loop_full_closes_all, 0, 2);
	tcase_add_test(t, test_net_offloads_from_acknowledged_features);
	tcase_add_test(t, test_net_vhost_start_and_reset);
	tcase_add_loop_test(t, test_net_vhost_every_refusal_needs_reset_and_heals, 0, 9);
	tcase_add_test(t, test_net_vhost_no_call_fd_needs_reset);
	tcase_add_test(t, test_net_vhost_ring_outside_memory_needs_reset);
	tcase_add_test(t, test_net_vhost_error_needs_reset);
	tcase_add_test(t, test_net_vhost_backend_that_stays_is_closed);
	tcase_add_loop_test(t, test_net_no_queue_ready_starts_idle, 0, 2);
	tcase_add_loop_test(t, test_net_pairs_set_and_kept_apart, 0, 2);
	tcase_add_test(t, test_net_commands_without_end_wait);
	tcase_add_loop_test(t, test_net_activations_without_end_wait, 0, 2);
	tcase_add_loop_test(t, test_net_commands_take_turns, 0, 2);
	tcase_add_test(t, test_net_pairs_out_of_range_refused);
	tcase_add_loop_test(t, test_net_pairs_not_ready_refused, 0, 2);
	tcase_add_test(t, test_net_pairs_kernel_refusal_reported);
	tcase_add_loop_test(t, test_net_without_mq_one_pair_control_at_two, 0, 2);
	tcase_add_loop_test(t, test_net_control_nonsense_answered, 0, 1);
	tcase_add_test(t, test_net_control_without_ack_or_command_used);
	tcase_add_test(t, test_net_control_broken_ring_needs_reset);
	tcase_add_loop_test(t, test_net_control_bad_address_needs_reset, 0, 2);
	suite_add_tcase(s, t);
	return rig_run_suite(s);
}
