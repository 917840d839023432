// SPDX-License-Identifier: BSD-3-Clause
/* Network cards by vhost-user: their configuration, their link, their control queue (tests/fake/vuser.h). */
#include <linux/virtio_ring.h>

#include "devices/virtio/vuser_priv.h"
#include "tests/unit/vuser_path.h"

#define F(name) BIT64(VIRTIO_NET_F_##name)
#define CTRL 4 /* the control queue, of two pairs */
#define BUFFERS (RAM + 0x20000)

static void rig_init_card(struct rig *r, unsigned pairs, bool path)
{
	if (path)
		rig_begin_with_path(r, VUSER_NET);
	else
		rig_begin(r, VUSER_NET);
	r->cfg.queues = pairs;
	rig_finish(r, VUSER_NET);
}

static bool link_up(struct rig *r)
{
	return vdev_config_read(r->v, offsetof(struct virtio_net_config, status), 2) & VIRTIO_NET_S_LINK_UP;
}

static void check_goes_down_and_up(struct rig *r)
{
	ck_assert(link_up(r));
	ends(r);
	ck_assert(!link_up(r) && !has_to_be_reset(r));
	comes_back(r);
	ck_assert(link_up(r) && !has_to_be_reset(r));
}

/* So many rings are enabled, from the first on, of so many that run. */
static void check_enabled(struct rig *r, unsigned enabled, unsigned running)
{
	for (unsigned q = 0; q < FAKE_RINGS; q++) {
		ck_assert_msg(r->b.ring[q].enabled == (q < enabled), "ring %u", q);
		ck_assert((r->b.ring[q].kick >= 0) == (q < running));
	}
}

/* ---- what it is ---- */

START_TEST(test_vuser_card_is_ours_and_the_back_ends)
{
	struct rig r;

	rig_init_card(&r, 1, false);
	ck_assert_uint_eq(r.v->type, 1);
	ck_assert_uint_eq(r.v->nr_queues, 2);
	ck_assert_uint_eq(r.v->config_len, 12);
	ck_assert_uint_eq(r.v->offered, NET_FEATURES | F(MAC) | F(STATUS) | BIT64(32) | BIT64(29) | BIT64(28));
	ck_assert_uint_eq(r.b.said_protocol, BIT64(VU_PROTOCOL_MQ) | BIT64(VU_PROTOCOL_REPLY_ACK));
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 6), 0x030201005452);
	ck_assert_uint_eq(vdev_config_read(r.v, 6, 2), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(vdev_config_read(r.v, 8, 2), 1);
	ck_assert_uint_eq(vdev_config_read(r.v, 10, 2), 0);
	ck_assert_int_eq(start(&r, 2), 0);
	check_running(&r, 2);
	ck_assert_uint_eq(r.b.mtu, 0);
	ck_assert_int_eq(reset(&r), 0);
	check_silent(&r);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_of_a_back_end_that_has_nothing)
{
	struct rig r;

	rig_begin(&r, VUSER_NET);
	r.b.features = BIT64(32) | BIT64(30);
	r.b.protocol = 0;
	r.cfg.mtu = 1400;
	fake_back_prepay(&r.b, 0);
	ck_assert_msg(!rig_new(&r), "%s", r.err.text);
	fake_back_turn(&r.b);
	vdev_set_irq(r.v, &irq_ops, &r);
	ck_assert_uint_eq(r.v->offered, F(MAC) | F(STATUS) | F(MTU) | BIT64(32));
	ck_assert_int_eq(start(&r, 2), 0);
	check_running(&r, 2);
	ck_assert_uint_eq(r.b.acked, BIT64(32) | BIT64(30));
	rig_fini(&r);
}
END_TEST

/* _i: the driver wants to know it, or not; the back end refuses it. */
START_TEST(test_vuser_card_tells_its_mtu)
{
	struct rig r;

	rig_begin(&r, VUSER_NET);
	r.cfg.mtu = 1400;
	r.b.refuse = _i == 2 ? VU_NET_SET_MTU : 0;
	rig_finish(&r, VUSER_NET);
	ck_assert(r.v->offered & F(MTU));
	ck_assert_uint_eq(vdev_config_read(r.v, 10, 2), 1400);
	if (_i == 1)
		r.v->offered &= ~F(MTU); /* all that is offered is acknowledged here */
	ck_assert_int_eq(start(&r, 2), _i == 2 ? -EIO : 0);
	ck_assert_uint_eq(r.b.mtu, _i == 1 ? 0 : 1400);
	ck_assert(has_to_be_reset(&r) == (_i == 2));
	rig_fini(&r);
}
END_TEST

/* _i: too few pairs; no feature for several; no way to say how many. */
START_TEST(test_vuser_card_with_more_pairs_than_the_back_end_has)
{
	struct rig r;

	rig_begin(&r, VUSER_NET);
	r.cfg.queues = _i ? 2 : 3;
	set_up_back_end(&r);
	if (_i == 1)
		r.b.features &= ~F(MQ);
	if (_i == 2)
		r.b.protocol &= ~BIT64(VU_PROTOCOL_MQ);
	fake_back_prepay(&r.b, 0);
	ck_assert_int_eq(rig_new(&r), -ENOTSUP);
	ck_assert_str_eq(r.err.text, _i ? "vhost-user0: the back end has 1 of the 2 pairs of queues that are asked for (queues=)"
					: "vhost-user0: the back end has 2 of the 3 pairs of queues that are asked for (queues=)");
	r.v = NULL;
	r.b.complaint = NULL;
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_without_room_in_the_loop_gives_all_back)
{
	struct rig r;

	for (unsigned n = 0; n < 9; n++) {
		rig_begin(&r, VUSER_NET);
		r.cfg.queues = 2;
		set_up_back_end(&r);
		fake_back_prepay(&r.b, 0);
		fake_loop_fail_init(r.loop, n, -ENOSPC);
		ck_assert_int_eq(rig_new(&r), -ENOSPC);
		ck_assert_int_eq(fcntl(r.fd, F_GETFD), -1);
		r.v = NULL;
		rig_fini(&r);
	}
}
END_TEST

/* ---- its link ---- */

/* Packets may be lost: whatever was under way, the rings go on where the used index stands. */
START_TEST(test_vuser_card_goes_on_with_its_link_down_meanwhile)
{
	static const uint16_t bases[] = { 2, 0xfffe };
	struct rig r;

	rig_init_card(&r, 1, true);
	ck_assert_uint_eq(r.b.said_protocol, BIT64(VU_PROTOCOL_MQ) | BIT64(VU_PROTOCOL_REPLY_ACK) | BIT64(VU_PROTOCOL_RARP));
	ck_assert_int_eq(start(&r, 2), 0);
	ck_assert_uint_eq(r.b.rarps, 0); /* the guest has just begun */
	for (unsigned turn = 0; turn < 3; turn++) {
		uint32_t generation = vdev_config_gen(r.v);

		requests(&r, 0, 12, 2);
		requests(&r, 1, 3, 0xfffe);
		ends(&r);
		ck_assert(!link_up(&r) && !has_to_be_reset(&r));
		ck_assert_uint_eq(r.config_irqs, 1);
		ck_assert_uint_eq(vdev_config_gen(r.v), generation + 1);
		comes_back(&r);
		ck_assert(link_up(&r));
		ck_assert_uint_eq(r.config_irqs, 2);
		ck_assert_uint_eq(r.b.rarps, 1);
		ck_assert_mem_eq(r.b.rarp, r.cfg.mac, 6);
		r.config_irqs = 0;
		check_goes_on(&r, 2, bases);
	}
	ck_assert_int_eq(reset(&r), 0);
	check_silent(&r);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_that_cannot_be_announced_goes_on)
{
	struct rig r;
	int fd;

	rig_init_card(&r, 1, true);
	ck_assert_int_eq(start(&r, 2), 0);
	ends(&r);
	new_back_end(&r, &fd);
	r.b.refuse = VU_SEND_RARP;
	connects(&r, fd);
	turns(&r, 60);
	ck_assert(link_up(&r) && !has_to_be_reset(&r));
	ck_assert_uint_eq(r.b.rarps, 1);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_starts_while_nobody_is_there)
{
	struct rig r;

	rig_init_card(&r, 1, true);
	ends(&r);
	ck_assert(!link_up(&r));
	ck_assert_uint_eq(r.config_irqs, 0); /* nobody to tell */
	ck_assert_int_eq(begin_start(&r, 2), 0);
	ck_assert(!link_up(&r) && !has_to_be_reset(&r));
	comes_back(&r);
	ck_assert(link_up(&r));
	ck_assert_uint_eq(r.config_irqs, 1);
	check_running(&r, 2);
	ck_assert_int_eq(reset(&r), 0);
	/* and with no driver */
	check_goes_down_and_up(&r);
	check_silent(&r);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_without_a_path_is_dead_with_its_link_down)
{
	struct rig r;

	rig_init_card(&r, 1, false);
	ck_assert_int_eq(start(&r, 2), 0);
	fake_back_hang_up(&r.b);
	fake_loop_turn(r.loop);
	ck_assert(!link_up(&r) && has_to_be_reset(&r));
	ck_assert_uint_eq(fake_loop_turn(r.loop), 0);
	ck_assert_int_eq(reset(&r), 0);
	ck_assert_int_eq(start(&r, 2), -ENOTCONN);
	ck_assert(!link_up(&r) && has_to_be_reset(&r));
	rig_fini(&r);
}
END_TEST

/* The last one has not ended, and goes on. */
START_TEST(test_vuser_card_of_two_back_ends_needs_a_reset)
{
	struct rig r;

	rig_init_card(&r, 1, true);
	ck_assert_int_eq(start(&r, 2), 0);
	requests(&r, 0, 7, 5);
	ends(&r);
	requests(&r, 0, 7, 6);
	comes_back(&r);
	ck_assert(has_to_be_reset(&r) && link_up(&r) && !r.b.nr_regions);
	ck_assert_int_eq(reset(&r), 0);
	ck_assert_int_eq(start(&r, 2), 0);
	check_running(&r, 2);
	rig_fini(&r);
}
END_TEST

static void make_another(struct rig *r, int how)
{
	switch (how) {
	case 0: r->b.features &= ~F(MRG_RXBUF); break;
	case 1: r->b.features &= ~BIT64(VIRTIO_RING_F_EVENT_IDX); break;
	case 2: r->b.features &= ~F(MQ); break;
	case 3: r->b.queues = 1; break;
	case 4: r->b.protocol &= ~BIT64(VU_PROTOCOL_MQ); break;
	case 5: r->b.queues = 0; break;
	}
}

/* It is not taken, and the link stays down. */
START_TEST(test_vuser_another_card_is_not_taken)
{
	uint64_t protocol;
	struct rig r;
	int fd;

	rig_init_card(&r, 2, true);
	ck_assert_int_eq(start(&r, 4), 0);
	ends(&r);
	protocol = r.b.protocol;
	new_back_end(&r, &fd);
	make_another(&r, _i);
	connects(&r, fd);
	turns(&r, 60);
	ck_assert(!link_up(&r) && !has_to_be_reset(&r) && !r.b.nr_regions);
	r.b.protocol = protocol;
	r.b.complaint = NULL;
	comes_back(&r);
	ck_assert(link_up(&r));
	check_enabled(&r, 2, 4);
	rig_fini(&r);
}
END_TEST

/* What is ours alone, and what is of use only, it need not have. */
START_TEST(test_vuser_card_whose_next_back_end_has_less_of_what_is_ours)
{
	struct rig r;
	int fd;

	rig_begin_with_path(&r, VUSER_NET);
	r.cfg.queues = 2;
	r.cfg.mtu = 1400;
	r.b.features |= F(MAC) | F(STATUS) | F(CTRL_VQ);
	rig_finish(&r, VUSER_NET);
	ck_assert_int_eq(start(&r, 4), 0);
	ck_assert_uint_eq(r.b.mtu, 1400);
	ends(&r);
	new_back_end(&r, &fd);
	r.b.features &= ~F(MTU);
	r.b.protocol &= ~(BIT64(VU_PROTOCOL_RARP) | BIT64(VU_PROTOCOL_NET_MTU));
	connects(&r, fd);
	turns(&r, 80);
	ck_assert(link_up(&r) && !r.b.rarps && !r.b.mtu);
	ck_assert(!(r.b.acked & (F(MAC) | F(STATUS) | F(CTRL_VQ) | F(MTU))));
	check_enabled(&r, 2, 4);
	rig_fini(&r);
}
END_TEST

/* ---- its control queue ---- */

/* Puts a command there, and kicks; its answer comes at the @n-th place. */
static void put_command(struct rig *r, unsigned n, const void *command, unsigned len)
{
	const struct fake_part parts[] = { { BUFFERS + 16 * n, len, false }, { BUFFERS + 0x1000 + n, 1, true } };
	uint8_t none = 0xee;

	ck_assert_int_eq(gmem_write(r->mem, parts[0].addr, command, len), 0);
	ck_assert_int_eq(gmem_write(r->mem, parts[1].addr, &none, 1), 0);
	fake_ring_add(&r->ring[CTRL], parts, 2);
}

static void put_pairs(struct rig *r, unsigned n, uint16_t pairs)
{
	const uint8_t command[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (uint8_t)pairs, (uint8_t)(pairs >> 8) };

	put_command(r, n, command, sizeof(command));
}

static uint8_t answer_of(struct rig *r, unsigned n)
{
	uint8_t ack;

	ck_assert_int_eq(gmem_read(r->mem, BUFFERS + 0x1000 + n, &ack, 1), 0);
	return ack;
}

static void kick(struct rig *r)
{
	vdev_notify(r->v, CTRL);
	fake_loop_turn(r->loop);
}

/* A whole command, to the answer. */
static uint8_t set_pairs(struct rig *r, uint16_t pairs)
{
	uint16_t used = fake_ring_used_idx(&r->ring[CTRL]);

	put_pairs(r, 0, pairs);
	kick(r);
	fake_loop_expire_all(r->loop); /* the pause after the last one */
	turns(r, 20);
	ck_assert_uint_eq(fake_ring_used_idx(&r->ring[CTRL]), (uint16_t)(used + 1));
	return answer_of(r, 0);
}

/* Each switch is messages for the back end: a guest makes so many a second and no more, however often it kicks. */
START_TEST(test_vuser_card_kicks_make_no_pause_shorter)
{
	struct rig r;

	rig_init_card(&r, 2, false);
	ck_assert_int_eq(start(&r, 5), 0);
	ck_assert_int_eq(set_pairs(&r, 2), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 3; i++) {
		put_pairs(&r, 0, 1 + i % 2);
		for (unsigned k = 0; k < 20; k++) {
			kick(&r);
			turns(&r, 3);
		}
		ck_assert_uint_eq(fake_ring_used_idx(&r.ring[CTRL]), 1 + i);
		fake_loop_expire_all(r.loop);
		turns(&r, 20);
		ck_assert_uint_eq(fake_ring_used_idx(&r.ring[CTRL]), 2 + i);
	}
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_switches_pairs)
{
	struct rig r;

	rig_init_card(&r, 2, _i);
	ck_assert_uint_eq(r.v->nr_queues, 5);
	ck_assert((r.v->offered & (F(MQ) | F(CTRL_VQ))) == (F(MQ) | F(CTRL_VQ)));
	ck_assert_uint_eq(vdev_config_read(r.v, 8, 2), 2);
	for (unsigned life = 0; life < 3; life++) {
		ck_assert_int_eq(start(&r, 5), 0);
		check_enabled(&r, 2, 4);
		ck_assert_int_eq(set_pairs(&r, 2), VIRTIO_NET_OK);
		check_enabled(&r, 4, 4);
		ck_assert_int_eq(set_pairs(&r, 1), VIRTIO_NET_OK);
		check_enabled(&r, 2, 4);
		ck_assert_int_eq(set_pairs(&r, 2), VIRTIO_NET_OK);
		ck_assert_uint_gt(r.control_irqs, 0);
		ck_assert_int_eq(reset(&r), 0);
		check_silent(&r);
	}
	rig_fini(&r);
}
END_TEST

/* s5.1.6.5.6.1: when the command is answered nothing comes by the other pairs any more. */
START_TEST(test_vuser_card_answers_when_the_back_end_has)
{
	struct rig r;

	rig_init_card(&r, 2, false);
	ck_assert_int_eq(start(&r, 5), 0);
	put_pairs(&r, 0, 2);
	put_pairs(&r, 1, 1);
	kick(&r);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[CTRL]), 0);
	for (unsigned i = 0; i < 20 && !fake_ring_used_idx(&r.ring[CTRL]); i++) {
		ck_assert(answer_of(&r, 0) == 0xee && answer_of(&r, 1) == 0xee);
		kick(&r); /* changes nothing */
		fake_back_turn(&r.b);
	}
	ck_assert_int_eq(answer_of(&r, 0), VIRTIO_NET_OK);
	check_enabled(&r, 4, 4);
	ck_assert_uint_eq(answer_of(&r, 1), 0xee);
	fake_loop_expire_all(r.loop); /* the next one's turn */
	turns(&r, 20);
	ck_assert_int_eq(answer_of(&r, 1), VIRTIO_NET_OK);
	check_enabled(&r, 2, 4);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_answers_nonsense)
{
	static const struct {
		uint8_t bytes[6];
		unsigned len;
	} bad[] = {
		{ { VIRTIO_NET_CTRL_MQ, 0, 0, 0 }, 4 }, { { VIRTIO_NET_CTRL_MQ, 0, 3, 0 }, 4 }, { { VIRTIO_NET_CTRL_MQ, 0, 0xff, 0xff }, 4 },
		{ { VIRTIO_NET_CTRL_MQ, 1, 1, 0 }, 4 }, { { VIRTIO_NET_CTRL_MAC, 0, 1, 0 }, 4 }, { { VIRTIO_NET_CTRL_MQ, 0, 1 }, 3 },
		{ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 6 },
	};
	unsigned n = 0, messages;
	struct rig r;

	rig_init_card(&r, 2, false);
	ck_assert_int_eq(start(&r, 5), 0);
	messages = r.b.messages;
	for (n = 0; n < ARRAY_LEN(bad); n++)
		put_command(&r, n, bad[n].bytes, bad[n].len);
	kick(&r);
	turns(&r, 3);
	for (n = 0; n < ARRAY_LEN(bad); n++)
		ck_assert_int_eq(answer_of(&r, n), VIRTIO_NET_ERR);
	ck_assert_uint_eq(r.b.messages, messages);
	check_enabled(&r, 2, 4);
	rig_fini(&r);
}
END_TEST

/* A pair whose queues are not ready cannot be switched on. */
START_TEST(test_vuser_card_without_its_second_pair)
{
	gpa_t at = RAM;
	struct rig r;

	rig_init_card(&r, 2, false);
	for (unsigned q = 0; q < 5; q++) {
		at = fake_ring_init(&r.ring[q], r.mem, at, 16);
		if (q != 3)
			fake_ring_give(&r.ring[q], r.v, q);
	}
	ck_assert_int_eq(act(&r, VDEV_ACTIVATE, fake_vdev_start(r.v, r.v->offered)), 0);
	ck_assert_int_eq(set_pairs(&r, 2), VIRTIO_NET_ERR);
	ck_assert_int_eq(set_pairs(&r, 1), VIRTIO_NET_OK);
	check_enabled(&r, 2, 3);
	rig_fini(&r);
}
END_TEST

/* More in the ring than one turn takes; some with no place for an answer. */
START_TEST(test_vuser_card_takes_commands_in_turns)
{
	const uint8_t command[4] = { VIRTIO_NET_CTRL_MQ, 1, 1, 0 };
	const struct fake_part only_out = { BUFFERS, 4, false };
	unsigned rounds = 0;
	gpa_t at;
	struct rig r;

	rig_init_card(&r, 2, false);
	at = RAM;
	for (unsigned q = 0; q < 5; q++) {
		at = fake_ring_init(&r.ring[q], r.mem, at, q == CTRL ? 128 : 16);
		fake_ring_give(&r.ring[q], r.v, q);
	}
	ck_assert_int_eq(act(&r, VDEV_ACTIVATE, fake_vdev_start(r.v, r.v->offered)), 0);
	for (unsigned n = 0; n < 60; n++) {
		if (n % 4)
			put_command(&r, n, command, 4);
		else
			fake_ring_add(&r.ring[CTRL], &only_out, 1);
	}
	kick(&r);
	ck_assert_uint_lt(fake_ring_used_idx(&r.ring[CTRL]), 60);
	for (; fake_ring_used_idx(&r.ring[CTRL]) < 60 && rounds < 20; rounds++)
		fake_loop_expire_all(r.loop);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[CTRL]), 60);
	ck_assert_uint_ge(rounds, 2);
	ck_assert_uint_eq(fake_loop_expire_all(r.loop), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_switch_that_is_refused_needs_a_reset)
{
	struct rig r;

	rig_init_card(&r, 2, false);
	ck_assert_int_eq(start(&r, 5), 0);
	r.b.refuse = VU_SET_VRING_ENABLE;
	ck_assert_int_eq(set_pairs(&r, 2), VIRTIO_NET_ERR);
	ck_assert(has_to_be_reset(&r));
	for (unsigned q = 0; q < FAKE_RINGS; q++)
		ck_assert(r.b.ring[q].kick < 0);
	r.b.refuse = 0;
	ck_assert_int_eq(reset(&r), 0);
	ck_assert_int_eq(start(&r, 5), 0);
	ck_assert_int_eq(set_pairs(&r, 2), VIRTIO_NET_OK);
	rig_fini(&r);
}
END_TEST

/* With a path the next one is told; without one the card is dead. */
START_TEST(test_vuser_card_whose_back_end_ends_in_a_switch)
{
	struct rig r;

	for (unsigned steps = 0; steps < 6; steps++) {
		rig_init_card(&r, 2, _i);
		ck_assert_int_eq(start(&r, 5), 0);
		put_pairs(&r, 0, 2);
		kick(&r);
		for (unsigned i = 0; i < steps; i++) {
			fake_back_turn(&r.b);
			fake_loop_turn(r.loop);
		}
		ends(&r);
		ck_assert_uint_eq(fake_ring_used_idx(&r.ring[CTRL]), 1);
		ck_assert(!link_up(&r) && has_to_be_reset(&r) == !_i);
		if (_i) {
			ck_assert_int_eq(answer_of(&r, 0), VIRTIO_NET_OK);
			comes_back(&r);
			turns(&r, 20);
			check_enabled(&r, 4, 4);
			/* and while nobody is there */
			ends(&r);
			put_pairs(&r, 0, 1);
			kick(&r);
			ck_assert_int_eq(answer_of(&r, 0), VIRTIO_NET_OK);
			comes_back(&r);
			turns(&r, 20);
			check_enabled(&r, 2, 4);
		}
		rig_fini(&r);
	}
}
END_TEST

/* The command comes at any step of another one's start, which may be past the rings that it is about. */
START_TEST(test_vuser_card_switches_while_another_one_comes)
{
	struct rig r;
	int fd;

	for (unsigned steps = 0; steps < 50; steps++) {
		rig_init_card(&r, 2, true);
		ck_assert_int_eq(start(&r, 5), 0);
		ends(&r);
		new_back_end(&r, &fd);
		connects(&r, fd);
		turns(&r, steps);
		put_pairs(&r, 0, 2);
		kick(&r);
		turns(&r, 80);
		fake_loop_expire_all(r.loop);
		turns(&r, 80);
		ck_assert_int_eq(answer_of(&r, 0), VIRTIO_NET_OK);
		check_enabled(&r, 4, 4);
		ck_assert(link_up(&r));
		rig_fini(&r);
	}
}
END_TEST

START_TEST(test_vuser_card_reset_in_a_switch)
{
	struct rig r;

	for (unsigned steps = 0; steps < 6; steps++) {
		rig_init_card(&r, 2, _i);
		ck_assert_int_eq(start(&r, 5), 0);
		put_pairs(&r, 0, 2);
		kick(&r);
		for (unsigned i = 0; i < steps; i++) {
			fake_back_turn(&r.b);
			fake_loop_turn(r.loop);
		}
		ck_assert_int_eq(reset(&r), 0);
		ck_assert_uint_eq(vdev_status(r.v), 0);
		check_silent(&r);
		ck_assert_uint_le(fake_loop_expire_all(r.loop), 1);
		ck_assert_int_eq(start(&r, 5), 0);
		check_enabled(&r, 2, 4);
		ck_assert_int_eq(set_pairs(&r, 2), VIRTIO_NET_OK);
		rig_fini(&r);
	}
}
END_TEST

/* Of a mute one the time ends, without a driver that asks. */
START_TEST(test_vuser_card_switch_without_an_answer_ends)
{
	struct rig r;

	rig_init_card(&r, 2, _i);
	ck_assert_int_eq(start(&r, 5), 0);
	r.b.mute = VU_SET_VRING_ENABLE;
	put_pairs(&r, 0, 2);
	kick(&r);
	turns(&r, 10);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[CTRL]), 0);
	ck_assert_uint_eq(fake_loop_expire_all(r.loop), 1);
	ck_assert(link_up(&r));
	container_of(r.v, struct vuser, v)->vu.deadline_ns = 1;
	ck_assert_uint_eq(fake_loop_expire_all(r.loop), 1);
	ck_assert(!link_up(&r) && has_to_be_reset(&r)); /* given up, it may touch its rings still */
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[CTRL]), 1);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_card_broken_control_queue_needs_a_reset)
{
	struct rig r;

	rig_init_card(&r, 2, false);
	ck_assert_int_eq(start(&r, 5), 0);
	fake_ring_set_avail_idx(&r.ring[CTRL], 17);
	kick(&r);
	ck_assert(has_to_be_reset(&r));
	ck_assert_uint_eq(vdev_state(r.v).faults, 1);
	kick(&r);
	ck_assert_int_eq(reset(&r), 0);
	ck_assert_int_eq(start(&r, 5), 0);
	ck_assert_int_eq(set_pairs(&r, 2), VIRTIO_NET_OK);
	ck_assert_int_eq(reset(&r), 0);
	/* and one that is nowhere */
	fake_ring_init(&r.ring[CTRL], r.mem, RAM, 16);
	r.ring[CTRL].avail = RAM - 4;
	fake_ring_give(&r.ring[CTRL], r.v, CTRL);
	ck_assert_int_eq(fake_vdev_start(r.v, r.v->offered), -EFAULT);
	ck_assert(has_to_be_reset(&r));
	rig_fini(&r);
}
END_TEST

/* Drivers that want less: one pair, and nothing else is lent. _i: with CTRL_VQ all the same, without. */
START_TEST(test_vuser_card_whose_driver_knows_one_pair)
{
	struct rig r;
	int ready;

	rig_init_card(&r, 2, false);
	r.v->offered &= ~(F(MQ) | (_i ? F(CTRL_VQ) : 0));
	ck_assert_int_eq(begin_start(&r, 3), LOOP_AGAIN);
	ck_assert_int_eq(act(&r, VDEV_ACTIVATE, LOOP_AGAIN), 0);
	check_enabled(&r, 2, 2);
	vdev_notify(r.v, 2);
	vdev_notify(r.v, CTRL);
	ready = (int)fake_loop_turn(r.loop);
	ck_assert_int_le(ready, 2);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[2]), 0);
	ck_assert_int_eq(reset(&r), 0);
	check_silent(&r);
	rig_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vuser_net");
	TCase *t = tcase_create("vuser_net");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_vuser_card_is_ours_and_the_back_ends);
	tcase_add_test(t, test_vuser_card_of_a_back_end_that_has_nothing);
	tcase_add_loop_test(t, test_vuser_card_tells_its_mtu, 0, 3);
	tcase_add_loop_test(t, test_vuser_card_with_more_pairs_than_the_back_end_has, 0, 3);
	tcase_add_test(t, test_vuser_card_without_room_in_the_loop_gives_all_back);
	tcase_add_test(t, test_vuser_card_goes_on_with_its_link_down_meanwhile);
	tcase_add_test(t, test_vuser_card_starts_while_nobody_is_there);
	tcase_add_test(t, test_vuser_card_without_a_path_is_dead_with_its_link_down);
	tcase_add_test(t, test_vuser_card_of_two_back_ends_needs_a_reset);
	tcase_add_loop_test(t, test_vuser_another_card_is_not_taken, 0, 6);
	tcase_add_test(t, test_vuser_card_whose_next_back_end_has_less_of_what_is_ours);
	tcase_add_test(t, test_vuser_card_that_cannot_be_announced_goes_on);
	tcase_add_test(t, test_vuser_card_kicks_make_no_pause_shorter);
	tcase_add_loop_test(t, test_vuser_card_switches_pairs, 0, 2);
	tcase_add_test(t, test_vuser_card_answers_when_the_back_end_has);
	tcase_add_test(t, test_vuser_card_answers_nonsense);
	tcase_add_test(t, test_vuser_card_without_its_second_pair);
	tcase_add_test(t, test_vuser_card_takes_commands_in_turns);
	tcase_add_test(t, test_vuser_card_switch_that_is_refused_needs_a_reset);
	tcase_add_loop_test(t, test_vuser_card_whose_back_end_ends_in_a_switch, 0, 2);
	tcase_add_test(t, test_vuser_card_switches_while_another_one_comes);
	tcase_add_loop_test(t, test_vuser_card_reset_in_a_switch, 0, 2);
	tcase_add_loop_test(t, test_vuser_card_switch_without_an_answer_ends, 0, 2);
	tcase_add_test(t, test_vuser_card_broken_control_queue_needs_a_reset);
	tcase_add_loop_test(t, test_vuser_card_whose_driver_knows_one_pair, 0, 2);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
