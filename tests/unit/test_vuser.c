// SPDX-License-Identifier: BSD-3-Clause
/* Devices by vhost-user before a back end that keeps the rules, and one that does not (tests/fake/vuser.h). */
#include "devices/virtio/vuser.h"

#include <linux/virtio_config.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/unit/vuser_rig.h"

START_TEST(test_vuser_blk_is_what_the_back_end_has)
{
	struct rig r;

	rig_init(&r, VUSER_BLK);
	ck_assert(r.b.owned);
	ck_assert_uint_eq(r.b.said_protocol, BIT64(VU_PROTOCOL_MQ) | BIT64(VU_PROTOCOL_REPLY_ACK) | BIT64(VU_PROTOCOL_CONFIG));
	ck_assert_uint_eq(r.v->type, 2);
	ck_assert_uint_eq(r.v->nr_queues, 2);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 8), 1234);
	ck_assert_uint_eq(vdev_config_read(r.v, offsetof(struct virtio_blk_config, num_queues), 2), 2);
	ck_assert_uint_eq(r.v->offered, BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_MQ) | BIT64(32) | BIT64(29) | BIT64(28));
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_features_that_the_back_end_lacks_are_not_offered)
{
	struct rig r;

	rig_begin(&r, VUSER_FS);
	r.b.features = BIT64(32) | BIT64(30) | BIT64(5);
	r.b.protocol = 0;
	fake_back_prepay(&r.b, 0);
	ck_assert_msg(!rig_new(&r), "%s", r.err.text);
	ck_assert_uint_eq(r.v->offered, BIT64(32));
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_fs_has_its_tag)
{
	char tag[VUSER_TAG_MAX];
	struct rig r;

	rig_init(&r, VUSER_FS);
	ck_assert_uint_eq(r.v->type, 26);
	ck_assert_uint_eq(r.v->nr_queues, 2);
	for (unsigned i = 0; i < sizeof(tag); i++)
		tag[i] = (char)vdev_config_read(r.v, i, 1);
	ck_assert_mem_eq(tag, "folder\0\0\0", 9);
	ck_assert_uint_eq(vdev_config_read(r.v, 36, 4), 1);
	rig_fini(&r);
}
END_TEST

/* _i: with REPLY_ACK, and without. */
START_TEST(test_vuser_rings_start_and_stop)
{
	struct rig r;

	rig_begin(&r, VUSER_FS);
	r.b.protocol = _i ? 0 : BIT64(VU_PROTOCOL_REPLY_ACK);
	fake_back_prepay(&r.b, 0);
	ck_assert_msg(!rig_new(&r), "%s", r.err.text);
	fake_back_turn(&r.b);
	vdev_set_irq(r.v, &irq_ops, &r);
	for (unsigned life = 0; life < 3; life++) {
		ck_assert_int_eq(start(&r, 2), 0);
		ck_assert(r.v->active);
		ck_assert_uint_eq(r.b.acked, r.v->acked | BIT64(VU_F_PROTOCOL_FEATURES));
		check_running(&r, 2);
		ck_assert_int_eq(reset(&r), 0);
		ck_assert_uint_eq(vdev_status(r.v), 0);
		check_silent(&r);
	}
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_ring_that_is_not_ready_is_not_started)
{
	struct rig r;

	rig_init(&r, VUSER_BLK);
	ck_assert_int_eq(start(&r, 1), 0);
	check_running(&r, 1);
	ck_assert_int_eq(r.b.ring[1].kick, -1);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_bad_ring_is_not_shown_to_the_back_end)
{
	struct rig r;
	unsigned before;

	rig_init(&r, VUSER_BLK);
	fake_ring_init(&r.ring[0], r.mem, RAM, 16);
	r.ring[0].used = RAM + RAM_SIZE - 4;
	fake_ring_give(&r.ring[0], r.v, 0);
	before = r.b.messages;
	ck_assert_int_eq(fake_vdev_start(r.v, r.v->offered), -EFAULT);
	fake_back_turn(&r.b);
	ck_assert_uint_eq(r.b.messages, before);
	ck_assert(has_to_be_reset(&r));
	ck_assert_int_eq(reset(&r), 0);
	ck_assert_int_eq(start(&r, 2), 0);
	rig_fini(&r);
}
END_TEST

/* A reset while the start is under way: both end, and nothing runs. */
START_TEST(test_vuser_reset_in_the_middle_of_a_start)
{
	struct rig r;

	for (unsigned steps = 0; steps < 16; steps++) {
		rig_init(&r, VUSER_BLK);
		ck_assert_int_eq(begin_start(&r, 2), LOOP_AGAIN);
		for (unsigned i = 0; i < steps; i++) {
			fake_loop_turn(r.loop);
			fake_back_turn(&r.b);
			if (vdev_act(r.v, VDEV_ACTIVATE) != LOOP_AGAIN)
				break;
		}
		ck_assert_int_eq(reset(&r), 0);
		ck_assert_int_eq(vdev_act(r.v, VDEV_ACTIVATE), 0); /* who had waited */
		ck_assert(!r.v->active && !r.v->begun);
		check_silent(&r);
		ck_assert_int_eq(start(&r, 2), 0);
		check_running(&r, 2);
		rig_fini(&r);
	}
}
END_TEST

/* It shares them with us, and may have made them wait; it has emptied some, and filled others. */
START_TEST(test_vuser_eventfds_that_wait_hold_nobody_up)
{
	const uint64_t full = UINT64_MAX - 1;
	int kept = -1;
	struct rig r;

	rig_init(&r, VUSER_BLK);
	for (unsigned life = 0; life < 3; life++) {
		ck_assert_int_eq(start(&r, 2), 0);
		ck_assert_int_eq(fcntl(vdev_kick_fd(r.v, 0), F_GETFL) & O_NONBLOCK, 0);
		fd_drain(r.b.ring[0].kick);
		fd_drain(r.b.ring[1].kick);
		if (life == 1) /* and one is still full at the next start */
			kept = dup(r.b.ring[1].kick);
		ck_assert_int_eq(reset(&r), 0);
		if (life == 1)
			ck_assert_int_eq(write(kept, &full, sizeof(full)), sizeof(full));
	}
	close(kept);
	rig_fini(&r);
}
END_TEST

static const unsigned start_requests[] = {
	VU_SET_FEATURES, VU_SET_MEM_TABLE, VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ADDR, VU_SET_VRING_CALL,
	VU_SET_VRING_KICK, VU_SET_VRING_ENABLE,
};

START_TEST(test_vuser_refusal_stops_what_had_begun_and_heals)
{
	struct rig r;

	rig_init(&r, VUSER_BLK);
	r.b.refuse = start_requests[_i];
	ck_assert_int_eq(start(&r, 2), -EIO);
	ck_assert(has_to_be_reset(&r));
	for (unsigned q = 0; q < 2; q++)
		ck_assert(r.b.ring[q].kick < 0 && !r.b.ring[q].enabled);
	fake_back_close_fd(&r.b.ring[0].call); /* a ring without kick does not run, whatever else it has */
	r.b.refuse = 0;
	ck_assert_int_eq(reset(&r), 0);
	ck_assert_int_eq(start(&r, 2), 0);
	check_running(&r, 2);
	rig_fini(&r);
}
END_TEST

static void check_dead(struct rig *r)
{
	ck_assert(has_to_be_reset(r));
	ck_assert_uint_eq(r->config_irqs, 1);
	ck_assert_uint_eq(fake_loop_turn(r->loop), 0); /* nothing spins */
	ck_assert_int_eq(reset(r), 0);
	ck_assert_int_eq(start(r, 2), -ENOTCONN);
	ck_assert(has_to_be_reset(r));
	ck_assert_int_eq(reset(r), 0);
}

START_TEST(test_vuser_back_end_that_ends_needs_reset)
{
	struct rig r;

	rig_init(&r, VUSER_BLK);
	ck_assert_int_eq(start(&r, 2), 0);
	fake_back_hang_up(&r.b);
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(vdev_state(r.v).faults, 0);
	check_dead(&r);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_back_end_that_ends_before_a_driver_comes)
{
	struct rig r;

	rig_init(&r, VUSER_BLK);
	fake_back_hang_up(&r.b);
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(vdev_status(r.v), 0);
	ck_assert_int_eq(start(&r, 2), -ENOTCONN);
	ck_assert(has_to_be_reset(&r));
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_back_end_that_ends_within_a_start)
{
	struct rig r;

	for (unsigned steps = 0; steps < 14; steps++) {
		rig_init(&r, VUSER_BLK);
		ck_assert_int_eq(begin_start(&r, 2), LOOP_AGAIN);
		for (unsigned i = 0; i < steps; i++) {
			fake_loop_turn(r.loop);
			fake_back_turn(&r.b);
		}
		fake_back_hang_up(&r.b);
		ck_assert_int_eq(act(&r, VDEV_ACTIVATE, LOOP_AGAIN), -ENOTCONN);
		check_dead(&r);
		rig_fini(&r);
	}
}
END_TEST

START_TEST(test_vuser_unasked_word_ends_the_connection)
{
	struct rig r;

	rig_init(&r, VUSER_BLK);
	ck_assert_int_eq(start(&r, 2), 0);
	fake_back_answer_u64(&r.b, VU_GET_FEATURES, 0);
	fake_loop_turn(r.loop);
	check_dead(&r);
	rig_fini(&r);
}
END_TEST

/* The kernel has no room for the descriptors of a message for a while. */
START_TEST(test_vuser_message_that_cannot_be_sent_is_sent_later)
{
	struct rig r;

	rig_init(&r, VUSER_BLK);
	fake_loop_refuse_messages(r.loop, -ETOOMANYREFS);
	ck_assert_int_eq(start(&r, 2), LOOP_AGAIN);
	fake_loop_refuse_messages(r.loop, 0);
	ck_assert_int_eq(act(&r, VDEV_ACTIVATE, LOOP_AGAIN), 0);
	check_running(&r, 2);
	fake_loop_refuse_messages(r.loop, -EPIPE);
	ck_assert_int_eq(reset(&r), 0);
	fake_loop_refuse_messages(r.loop, 0);
	ck_assert_int_eq(start(&r, 2), -ENOTCONN);
	rig_fini(&r);
}
END_TEST

/* ---- the engine alone ---- */

static unsigned lost_calls;

static void lost(void *ctx)
{
	(void)ctx;
	lost_calls++;
}

static const char *lacks_nothing(void *ctx)
{
	(void)ctx;
	return NULL;
}

static const struct vu_ops engine_ops = { .lacks = lacks_nothing, .needs_reset = lost };

static void turns(struct rig *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fake_loop_turn(r->loop);
		fake_back_turn(&r->b);
	}
}

static void engine_finish(struct rig *r, struct vu_dev *d, struct vu_ring *ring)
{
	const struct vu_cfg cfg = { .name = "x", .fd = r->fd, .ops = &engine_ops, .broker = r->cfg.broker };

	fake_back_prepay(&r->b, 0);
	memset(d, 0, sizeof(*d));
	ck_assert_msg(!vu_greet(d, &cfg, &r->err), "%s", r->err.text);
	fake_back_turn(&r->b);
	ck_assert_int_eq(vu_attach(d, r->loop, r->mem), 0);
	fake_ring_init(&r->ring[0], r->mem, RAM, 16);
	*ring = (struct vu_ring){
		.at = { .size = 16, .desc = r->ring[0].desc, .avail = r->ring[0].avail, .used = r->ring[0].used },
		.kick_fd = r->call[1], .call_fd = r->call[0],
	};
	lost_calls = 0;
}

static void engine_init(struct rig *r, struct vu_dev *d, struct vu_ring *ring)
{
	rig_begin(r, VUSER_FS);
	engine_finish(r, d, ring);
}

START_TEST(test_vu_back_end_that_is_mute_is_given_up)
{
	struct vu_ring ring;
	struct vu_dev d;
	struct rig r;

	engine_init(&r, &d, &ring);
	r.b.mute = VU_SET_VRING_KICK;
	ck_assert_int_eq(vu_start(&d, ~0ull, &ring, 1), 0);
	turns(&r, 40);
	ck_assert_int_eq(vu_result(&d), LOOP_AGAIN);
	ck_assert(d.deadline_ns > clock_now_ns());
	ck_assert(d.deadline_ns <= clock_now_ns() + VU_START_PATIENCE_NS);
	d.deadline_ns = 1;
	ck_assert_int_eq(vu_result(&d), -ETIMEDOUT);
	ck_assert(vu_settle(&d));
	ck_assert_int_eq(vu_start(&d, ~0ull, &ring, 1), -ENOTCONN);
	ck_assert_uint_eq(lost_calls, 0);
	vu_fini(&d);
	rig_fini(&r);
}
END_TEST

/* Others of this user may have too many descriptors on their way: that start fails, and the next one need not. */
START_TEST(test_vu_start_without_room_for_descriptors_keeps_the_connection)
{
	struct vu_ring ring;
	struct vu_dev d;
	struct rig r;

	engine_init(&r, &d, &ring);
	fake_loop_refuse_messages(r.loop, -ETOOMANYREFS);
	ck_assert_int_eq(vu_start(&d, ~0ull, &ring, 1), 0);
	turns(&r, 40);
	ck_assert_int_eq(vu_result(&d), LOOP_AGAIN);
	turns(&r, 1);
	d.deadline_ns = 1;
	ck_assert_int_eq(vu_result(&d), -ETOOMANYREFS);
	ck_assert(vu_settle(&d) && d.link == VU_UP);
	fake_loop_refuse_messages(r.loop, 0);
	ck_assert_int_eq(vu_start(&d, ~0ull, &ring, 1), 0);
	turns(&r, 40);
	ck_assert_int_eq(vu_result(&d), 0);
	ck_assert_uint_eq(lost_calls, 0);
	vu_fini(&d);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vu_stop_without_an_answer_ends)
{
	struct vu_ring ring;
	struct vu_dev d;
	struct rig r;

	engine_init(&r, &d, &ring);
	ck_assert_int_eq(vu_start(&d, ~0ull, &ring, 1), 0);
	turns(&r, 40);
	ck_assert_int_eq(vu_result(&d), 0);
	r.b.mute = VU_GET_VRING_BASE;
	ck_assert(!vu_settle(&d));
	turns(&r, 10);
	ck_assert(!vu_settle(&d));
	d.deadline_ns = 1;
	ck_assert(vu_settle(&d));
	ck_assert(d.link == VU_OVER);
	vu_fini(&d);
	rig_fini(&r);
}
END_TEST

/* Answers that are none, to the first question of a start: each ends the connection, and is told once. */
START_TEST(test_vu_wrong_answers_end_the_connection)
{
	static const struct vu_msg wrong[] = {
		{ .request = VU_SET_VRING_NUM, .flags = VU_VERSION | VU_REPLY, .size = 8 },
		{ .request = VU_SET_FEATURES, .flags = VU_VERSION, .size = 8 },
		{ .request = VU_SET_FEATURES, .flags = 2 | VU_REPLY, .size = 8 },
		{ .request = VU_SET_FEATURES, .flags = VU_VERSION | VU_REPLY, .size = 0 },
		{ .request = VU_SET_FEATURES, .flags = VU_VERSION | VU_REPLY, .size = 9 },
		{ .request = VU_SET_FEATURES, .flags = VU_VERSION | VU_REPLY, .size = UINT32_MAX },
	};
	struct vu_ring ring;
	struct vu_dev d;
	struct rig r;

	engine_init(&r, &d, &ring);
	ck_assert_int_eq(vu_start(&d, ~0ull, &ring, 1), 0);
	r.b.mute = VU_SET_FEATURES;
	turns(&r, 3);
	fake_back_send(&r.b, &wrong[_i], VU_HEAD_SIZE + 8);
	turns(&r, 3);
	ck_assert_int_eq(vu_result(&d), -ENOTCONN);
	ck_assert_uint_eq(lost_calls, 0); /* the start's result tells the driver */
	ck_assert_uint_eq(r.b.nr_regions, 0);
	vu_fini(&d);
	rig_fini(&r);
}
END_TEST

/* Byte by byte is slow, and right; descriptors that come along vanish. */
START_TEST(test_vu_answer_in_pieces_with_a_descriptor)
{
	const struct vu_msg m = { .request = VU_SET_FEATURES, .flags = VU_VERSION | VU_REPLY, .size = 8 };
	char room[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { .iov_len = 1 };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct vu_ring ring;
	struct vu_dev d;
	struct rig r;
	int before, after;

	engine_init(&r, &d, &ring);
	r.b.mute = VU_SET_FEATURES;
	ck_assert_int_eq(vu_start(&d, ~0ull, &ring, 1), 0);
	turns(&r, 3);
	before = dup(0);
	close(before);
	*CMSG_FIRSTHDR(&h) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), &r.call[2], sizeof(int));
	for (unsigned i = 0; i < VU_HEAD_SIZE + 8; i++) {
		ck_assert_int_eq(vu_result(&d), LOOP_AGAIN);
		iov.iov_base = (char *)(uintptr_t)&m + i;
		ck_assert_int_eq(sendmsg(r.b.fd, &h, 0), 1);
		fake_loop_turn(r.loop);
	}
	after = dup(0);
	close(after);
	ck_assert_int_eq(before, after);
	turns(&r, 40);
	ck_assert_int_eq(vu_result(&d), 0);
	ck_assert_uint_eq(lost_calls, 0);
	vu_fini(&d);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vu_memory_must_be_shared)
{
	struct vu_ring ring;
	struct vu_dev d;
	struct rig r;

	rig_begin(&r, VUSER_FS);
	ck_assert_int_eq(gmem_add(r.mem, RAM + 2 * RAM_SIZE, 0x10000, false), 0);
	fake_back_prepay(&r.b, 0);
	memset(&d, 0, sizeof(d));
	memset(&ring, 0, sizeof(ring));
	ck_assert_int_eq(vu_greet(&d, &(struct vu_cfg){ .name = "x", .fd = r.fd, .ops = &engine_ops }, &r.err), 0);
	ck_assert_int_eq(vu_attach(&d, r.loop, r.mem), -EINVAL);
	vu_fini(&d);
	rig_fini(&r);
}
END_TEST

/* ---- the greeting ---- */

static void fails(struct rig *r, int error, const char *text)
{
	shutdown(r->b.fd, SHUT_WR);
	ck_assert_int_eq(rig_new(r), error);
	ck_assert_msg(strstr(r->err.text, text) && !strncmp(r->err.text, "vhost-user0: ", 13), "%s", r->err.text);
	r->v = NULL;
	r->b.complaint = NULL;
	rig_fini(r);
}

START_TEST(test_vuser_greetings_that_fail)
{
	struct rig r;

	rig_begin(&r, VUSER_BLK);
	fails(&r, -ECONNRESET, "has closed the connection");
	rig_begin(&r, VUSER_BLK);
	fake_back_send(&r.b, "SSH-2.0-OpenSSH_9.2p1\r\n", 23);
	fails(&r, -EPROTO, "is not vhost-user's");
	rig_begin(&r, VUSER_BLK);
	r.b.features = BIT64(30);
	fake_back_prepay(&r.b, 0);
	fails(&r, -ENOTSUP, "virtio 1");
	rig_begin(&r, VUSER_BLK);
	r.b.protocol = BIT64(VU_PROTOCOL_MQ);
	fake_back_prepay(&r.b, 0);
	fails(&r, -ENOTSUP, "configuration space");
	rig_begin(&r, VUSER_FS);
	r.b.features = BIT64(32);
	fake_back_prepay(&r.b, 0);
	fails(&r, -ENOTSUP, "lacks what is needed");
	rig_begin(&r, VUSER_FS);
	r.b.queues = 1;
	fake_back_prepay(&r.b, 0);
	fails(&r, -ENOTSUP, "one queue");
	rig_begin(&r, VUSER_FS);
	r.b.queues = 0;
	fake_back_prepay(&r.b, 0);
	fails(&r, -EPROTO, "is not vhost-user's");
	rig_begin(&r, VUSER_BLK);
	fake_back_prepay(&r.b, 0);
	fake_back_answer_config(&r.b, 0);
	fails(&r, -EREMOTEIO, "no configuration of 60 bytes");
	rig_begin(&r, VUSER_BLK);
	fake_back_prepay(&r.b, BLK_CONFIG - 1);
	fails(&r, -EPROTO, "is not vhost-user's");
}
END_TEST

START_TEST(test_vuser_without_room_in_the_loop_gives_all_back)
{
	struct rig r;

	for (unsigned n = 0; n < 4; n++) {
		rig_begin(&r, VUSER_FS);
		fake_back_prepay(&r.b, 0);
		fake_loop_fail_init(r.loop, n, -ENOSPC);
		ck_assert_int_eq(rig_new(&r), -ENOSPC);
		ck_assert_int_eq(fcntl(r.fd, F_GETFD), -1);
		r.v = NULL;
		rig_fini(&r);
	}
}
END_TEST

/* ---- sockets ---- */

static void listen_at(const char *path, int type, int *ret_fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	*ret_fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(*ret_fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (type == SOCK_STREAM)
		ck_assert_int_eq(listen(*ret_fd, 0), 0);
}

START_TEST(test_vu_connect_names_what_is_wrong)
{
	char dir[] = "/tmp/test-vuser-XXXXXX", path[64], dgram[64], lengthy[200];
	int server, other, fd, more;
	struct err e;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(dgram, sizeof(dgram), "%s/d", dir);
	memset(lengthy, 'x', sizeof(lengthy));
	lengthy[sizeof(lengthy) - 1] = '\0';
	ck_assert_int_eq(vu_connect("fs0", path, false, &fd, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "start the back end first"));
	ck_assert_int_eq(vu_connect("fs0", dir, false, &fd, &e), -ENOTSOCK);
	ck_assert_int_eq(vu_connect("fs0", lengthy, false, &fd, &e), -ENAMETOOLONG);
	listen_at(dgram, SOCK_DGRAM, &other);
	ck_assert_int_eq(vu_connect("fs0", dgram, false, &fd, &e), -EPROTOTYPE);
	listen_at(path, SOCK_STREAM, &server);
	ck_assert_int_eq(vu_connect("fs0", path, false, &fd, &e), 0);
	ck_assert_uint_eq(fd_kinds(fd), FD_BACKEND);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	/* nobody accepts, and no more may wait */
	ck_assert_int_eq(vu_connect("fs0", path, false, &more, &e), -EAGAIN);
	ck_assert_ptr_nonnull(strstr(e.text, "busy"));
	close_fd(&fd);
	close(server);
	ck_assert_int_eq(vu_connect("fs0", path, false, &fd, &e), -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(e.text, "nobody listens any more"));
	close(other);
	unlink(path);
	unlink(dgram);
	rmdir(dir);
}
END_TEST

START_TEST(test_vu_adopt_takes_connected_stream_sockets_only)
{
	int s[2], d[2], lone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), tcp = eventfd(0, 0);
	struct err e;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, d), 0);
	ck_assert_int_eq(vu_adopt("fs0", 999, &e), -ENOTSOCK);
	ck_assert_int_eq(vu_adopt("fs0", tcp, &e), -ENOTSOCK);
	ck_assert_int_eq(vu_adopt("fs0", lone, &e), -ENOTCONN);
	ck_assert_int_eq(vu_adopt("fs0", d[0], &e), -EPROTOTYPE);
	ck_assert_int_eq(vu_adopt("fs0", s[0], &e), 0);
	ck_assert_int_eq(fcntl(s[0], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(s[0], F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(vu_adopt("fs1", s[0], &e), -EBUSY);
	fd_forget(s[0]);
	for (unsigned i = 0; i < 2; i++) {
		close(s[i]);
		close(d[i]);
	}
	close(lone);
	close(tcp);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vuser");
	TCase *t = tcase_create("vuser");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_vuser_blk_is_what_the_back_end_has);
	tcase_add_test(t, test_vuser_features_that_the_back_end_lacks_are_not_offered);
	tcase_add_test(t, test_vuser_fs_has_its_tag);
	tcase_add_loop_test(t, test_vuser_rings_start_and_stop, 0, 2);
	tcase_add_test(t, test_vuser_ring_that_is_not_ready_is_not_started);
	tcase_add_test(t, test_vuser_bad_ring_is_not_shown_to_the_back_end);
	tcase_add_test(t, test_vuser_reset_in_the_middle_of_a_start);
	tcase_add_loop_test(t, test_vuser_refusal_stops_what_had_begun_and_heals, 0, ARRAY_LEN(start_requests));
	tcase_add_test(t, test_vuser_back_end_that_ends_needs_reset);
	tcase_add_test(t, test_vuser_back_end_that_ends_before_a_driver_comes);
	tcase_add_test(t, test_vuser_back_end_that_ends_within_a_start);
	tcase_add_test(t, test_vuser_unasked_word_ends_the_connection);
	tcase_add_test(t, test_vuser_message_that_cannot_be_sent_is_sent_later);
	tcase_add_test(t, test_vu_back_end_that_is_mute_is_given_up);
	tcase_add_test(t, test_vu_stop_without_an_answer_ends);
	tcase_add_loop_test(t, test_vu_wrong_answers_end_the_connection, 0, 6);
	tcase_add_test(t, test_vu_answer_in_pieces_with_a_descriptor);
	tcase_add_test(t, test_vu_memory_must_be_shared);
	tcase_add_test(t, test_vuser_eventfds_that_wait_hold_nobody_up);
	tcase_add_test(t, test_vu_start_without_room_for_descriptors_keeps_the_connection);
	tcase_add_test(t, test_vuser_greetings_that_fail);
	tcase_add_test(t, test_vuser_without_room_in_the_loop_gives_all_back);
	tcase_add_test(t, test_vu_connect_names_what_is_wrong);
	tcase_add_test(t, test_vu_adopt_takes_connected_stream_sockets_only);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
