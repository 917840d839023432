// SPDX-License-Identifier: BSD-3-Clause
/* Devices by vhost-user whose back end ends, and another one that comes, or does not, or is none (tests/fake/vuser.h). */
#include <linux/virtio_ring.h>

#include "devices/virtio/vuser_priv.h"
#include "tests/unit/vuser_path.h"

static void rig_init_with_path(struct rig *r, enum vuser_kind kind, bool inflight)
{
	rig_begin_with_path(r, kind);
	if (inflight)
		r->b.protocol |= BIT64(VU_PROTOCOL_INFLIGHT_SHMFD);
	rig_finish(r, kind);
}

static void check_told_once(struct rig *r)
{
	ck_assert(has_to_be_reset(r));
	ck_assert_uint_eq(r->config_irqs, 1);
	r->config_irqs = 0;
}

static void check_works_after_reset(struct rig *r)
{
	ck_assert_int_eq(reset(r), 0);
	ck_assert_uint_eq(vdev_status(r->v), 0);
	ck_assert_int_eq(start(r, 2), 0);
	check_running(r, 2);
	ck_assert(goes_on(r));
}

/* ---- where it can go on ---- */

START_TEST(test_vuser_idle_disk_goes_on)
{
	struct rig r;

	rig_init_with_path(&r, VUSER_BLK, false);
	ck_assert_int_eq(start(&r, 2), 0);
	requests(&r, 0, 5, 5);
	requests(&r, 1, 0xffff, 0xffff);
	ends(&r);
	ck_assert(goes_on(&r));
	requests(&r, 0, 9, 5); /* the guest does not know, and goes on */
	comes_back(&r);
	check_goes_on(&r, 2, (const uint16_t[]){ 5, 0xffff });
	ck_assert_uint_eq(fake_loop_turn(r.loop), 0);
	ck_assert_int_eq(reset(&r), 0);
	check_silent(&r);
	rig_fini(&r);
}
END_TEST

/* Which requests are open stands in memory that the next one gets. */
START_TEST(test_vuser_busy_disk_goes_on_by_its_memory_of_what_is_in_flight)
{
	const struct vu_inflight *f;
	struct rig r;
	ino_t file;

	rig_init_with_path(&r, VUSER_BLK, true);
	ck_assert(r.b.said_protocol & BIT64(VU_PROTOCOL_INFLIGHT_SHMFD));
	ck_assert_int_eq(start(&r, 2), 0);
	f = &r.b.inflight;
	ck_assert(f->queues == 2 && f->queue_size == 16 && f->size == FAKE_INFLIGHT_SIZE && f->offset == 0x1000 && !f->padding);
	file = r.b.inflight_file;
	ck_assert_uint_ne(file, 0);
	for (unsigned i = 0; i < 5; i++) {
		requests(&r, 0, (uint16_t)(7 + i), (uint16_t)(2 + i));
		ends(&r);
		requests(&r, 0, 12, (uint16_t)(3 + i)); /* one more was answered as it died */
		comes_back(&r);
		check_goes_on(&r, 2, (const uint16_t[]){ (uint16_t)(3 + i), 0 });
		ck_assert_uint_eq(r.b.inflight_file, file);
		ck_assert(f->queues == 2 && f->queue_size == 16);
	}
	/* another life has another one */
	check_works_after_reset(&r);
	ck_assert(r.b.inflight_file && r.b.inflight_file != file);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_driver_starts_while_nobody_is_there)
{
	struct rig r;

	for (int kind = VUSER_BLK; kind <= VUSER_FS; kind++) {
		rig_init_with_path(&r, kind, kind == VUSER_BLK);
		ends(&r);
		ck_assert_uint_eq(vdev_status(r.v), 0);
		ck_assert_int_eq(begin_start(&r, 2), 0); /* it does not wait */
		ck_assert(r.v->active && goes_on(&r));
		requests(&r, 0, 3, 0);
		ck_assert_uint_eq(fake_loop_expire_all(r.loop), 1);
		ck_assert(broker_answers(&r, -ECONNREFUSED));
		fake_loop_turn(r.loop);
		comes_back(&r);
		check_goes_on(&r, 2, (const uint16_t[]){ 0, 0 });
		rig_fini(&r);
	}
}
END_TEST

/* However often, nothing of ours is left. */
START_TEST(test_vuser_back_ends_come_and_go)
{
	struct rig r;
	int before = -1, after;

	rig_init_with_path(&r, VUSER_BLK, true);
	for (unsigned i = 0; i < 60; i++) {
		ck_assert_int_eq(start(&r, 1 + i % 2), 0);
		requests(&r, 0, 4, 2);
		ends(&r);
		comes_back(&r);
		ck_assert(goes_on(&r));
		ck_assert_int_eq(reset(&r), 0);
		turns(&r, 2);
		after = dup(0);
		close(after);
		if (i == 5)
			before = after;
	}
	ck_assert_int_eq(before, after);
	rig_fini(&r);
}
END_TEST

/* ---- where it cannot ---- */

/* _i: a busy disk without such memory, also where its size or its file is missing; a file system at rest, and a busy one. */
START_TEST(test_vuser_device_that_cannot_go_on_needs_a_reset)
{
	struct rig r;

	rig_begin_with_path(&r, _i < 3 ? VUSER_BLK : VUSER_FS);
	r.b.protocol |= _i ? BIT64(VU_PROTOCOL_INFLIGHT_SHMFD) : 0;
	r.b.inflight_how = _i == 1 ? FAKE_INFLIGHT_NO_SIZE : _i == 2 ? FAKE_INFLIGHT_NO_FILE : FAKE_INFLIGHT_WELL;
	rig_finish(&r, r.cfg.kind);
	ck_assert_int_eq(start(&r, 2), 0);
	ck_assert_uint_eq(r.b.inflight_file, 0);
	requests(&r, 1, 7, _i == 3 ? 7 : 6);
	ends(&r);
	check_told_once(&r);
	ck_assert_uint_eq(vdev_state(r.v).faults, 0);
	comes_back(&r);
	ck_assert(r.b.owned && !r.b.nr_regions); /* greeted, and nothing runs */
	ck_assert_uint_eq(r.config_irqs, 0);
	check_works_after_reset(&r);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_reset_before_another_one_comes)
{
	struct rig r;

	rig_init_with_path(&r, VUSER_FS, false);
	ck_assert_int_eq(start(&r, 2), 0);
	ends(&r);
	check_told_once(&r);
	ck_assert_int_eq(reset(&r), 0);
	ck_assert_int_eq(begin_start(&r, 2), 0);
	ck_assert(goes_on(&r));
	comes_back(&r);
	check_goes_on(&r, 2, (const uint16_t[]){ 0, 0 });
	rig_fini(&r);
}
END_TEST

/* The next one keeps no such memory, or the last one had not ended and went on. */
START_TEST(test_vuser_next_one_that_cannot_take_over_needs_a_reset)
{
	struct rig r;

	rig_init_with_path(&r, VUSER_BLK, true);
	ck_assert_int_eq(start(&r, 2), 0);
	requests(&r, 0, 7, 6);
	ends(&r);
	ck_assert(goes_on(&r));
	r.b.protocol &= ~BIT64(VU_PROTOCOL_INFLIGHT_SHMFD);
	comes_back(&r);
	check_told_once(&r);
	ck_assert_uint_eq(r.b.nr_regions, 0);
	check_works_after_reset(&r);
	ck_assert_uint_eq(r.b.inflight_file, 0);
	rig_fini(&r);

	rig_init_with_path(&r, VUSER_BLK, false);
	ck_assert_int_eq(start(&r, 2), 0);
	requests(&r, 0, 7, 7);
	ends(&r);
	ck_assert(goes_on(&r));
	requests(&r, 0, 9, 8);
	comes_back(&r);
	check_told_once(&r);
	check_works_after_reset(&r);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_next_one_that_refuses_needs_a_reset)
{
	static const unsigned requests_of[] = {
		VU_SET_FEATURES, VU_SET_MEM_TABLE, VU_SET_INFLIGHT_FD, VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ADDR, VU_SET_VRING_CALL,
		VU_SET_VRING_KICK, VU_SET_VRING_ENABLE,
	};
	struct rig r;
	int fd;

	for (unsigned i = 0; i < ARRAY_LEN(requests_of); i++) {
		rig_init_with_path(&r, VUSER_BLK, true);
		ck_assert_int_eq(start(&r, 2), 0);
		ends(&r);
		new_back_end(&r, &fd);
		r.b.refuse = requests_of[i];
		connects(&r, fd);
		turns(&r, 60);
		check_told_once(&r);
		for (unsigned q = 0; q < 2; q++)
			ck_assert(r.b.ring[q].kick < 0 && !r.b.ring[q].enabled);
		r.b.refuse = 0;
		fake_back_close_fd(&r.b.ring[0].call);
		check_works_after_reset(&r);
		rig_fini(&r);
	}
}
END_TEST

/* ---- others at the path ---- */

static void make_another(struct rig *r, int how)
{
	switch (how) {
	case 0: r->b.features &= ~BIT64(VIRTIO_BLK_F_FLUSH); break;
	case 1: r->b.features &= ~BIT64(VIRTIO_RING_F_EVENT_IDX); break;
	case 2: r->b.features &= ~BIT64(32); break;
	case 3: r->b.features &= ~BIT64(VU_F_PROTOCOL_FEATURES); break;
	case 4: r->b.protocol &= ~BIT64(VU_PROTOCOL_CONFIG); break;
	case 5: r->b.queues = 1; break;
	case 6: r->b.queues = 0; break;
	case 7: ((struct virtio_blk_config *)r->b.config)->capacity++; break;
	case 8: ((struct virtio_blk_config *)r->b.config)->num_queues = 1; break;
	case 9: r->b.refuse = VU_GET_CONFIG; break;
	case 10: fake_back_send(&r->b, "HTTP/1.1 400 Bad Request\r\n", 26); break;
	case 11: fake_back_hang_up(&r->b); break;
	}
}

#define OTHERS 12

/* It is not taken, is not told of any memory, and the device waits on for the right one. */
START_TEST(test_vuser_another_device_is_not_taken)
{
	struct rig r;
	int fd;

	rig_init_with_path(&r, VUSER_BLK, true);
	ck_assert_int_eq(start(&r, 2), 0);
	requests(&r, 0, 7, 6);
	ends(&r);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t protocol = r.b.protocol;

		new_back_end(&r, &fd);
		make_another(&r, _i);
		connects(&r, fd);
		turns(&r, 60);
		ck_assert(goes_on(&r) && !r.b.nr_regions);
		ck_assert(r.b.fd < 0 || recv(r.b.fd, &fd, 1, MSG_DONTWAIT) == 0); /* we have hung up */
		r.b.protocol = protocol;
		r.b.complaint = NULL;
	}
	comes_back(&r);
	check_goes_on(&r, 2, (const uint16_t[]){ 6, 0 });
	rig_fini(&r);
}
END_TEST

/* It may be the last one, whose listener goes a moment after its connection: that is said the second time. */
START_TEST(test_vuser_one_that_hangs_up_once_is_nothing)
{
	struct vu_dev *d;
	struct rig r;
	int fd;

	rig_init_with_path(&r, VUSER_BLK, false);
	d = &to_vuser(r.v)->vu;
	ends(&r);
	for (unsigned i = 0; i < 4; i++) {
		new_back_end(&r, &fd);
		fake_back_hang_up(&r.b);
		connects(&r, fd);
		turns(&r, 10);
		ck_assert_int_eq(d->link, VU_AWAY);
		ck_assert_int_eq(d->told, i ? -ECONNRESET : 0);
	}
	comes_back(&r);
	ck_assert(d->link == VU_UP && !d->told && !d->was_reset);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_is_looked_for_less_often)
{
	uint64_t delay = VU_RETRY_NS;
	struct rig r;

	rig_init_with_path(&r, VUSER_BLK, false);
	ends(&r);
	for (unsigned i = 0; i < 10; i++) {
		ck_assert_uint_eq(fake_loop_next_timer(r.loop), delay);
		delay = delay * 2 < VU_RETRY_MOST_NS ? delay * 2 : VU_RETRY_MOST_NS;
		ck_assert_uint_eq(fake_loop_expire_all(r.loop), 1);
		ck_assert(broker_answers(&r, i & 1 ? -ECONNREFUSED : -ENOENT));
		fake_loop_turn(r.loop);
	}
	ck_assert_uint_eq(r.asked, 10);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vuser_without_the_broker_is_dead)
{
	struct rig r;

	rig_init_with_path(&r, VUSER_BLK, true);
	ck_assert_int_eq(start(&r, 2), 0);
	close_fd(&r.broker_fd);
	turns(&r, 2);
	ck_assert(goes_on(&r));
	check_running(&r, 2);
	ends(&r);
	ck_assert(goes_on(&r));
	ck_assert_uint_eq(fake_loop_expire_all(r.loop), 1);
	check_told_once(&r);
	ck_assert_uint_eq(fake_loop_expire_all(r.loop), 0);
	ck_assert_int_eq(reset(&r), 0);
	ck_assert_int_eq(start(&r, 2), -ENOTCONN);
	rig_fini(&r);
}
END_TEST

/* ---- in between ---- */

/* It dies again, and again, at any step: nothing is lost by that. _i: without and with memory of what is in flight. */
START_TEST(test_vuser_dies_at_any_step)
{
	struct rig r;
	int fd;

	rig_init_with_path(&r, VUSER_BLK, _i);
	ck_assert_int_eq(start(&r, 2), 0);
	requests(&r, 0, 6, 6);
	requests(&r, 1, 7, _i ? 6 : 7);
	ends(&r);
	for (unsigned steps = 0; steps < 40; steps++) {
		new_back_end(&r, &fd);
		connects(&r, fd);
		turns(&r, steps);
		ck_assert(goes_on(&r));
		ends(&r);
		ck_assert(goes_on(&r));
	}
	comes_back(&r);
	check_goes_on(&r, 2, (const uint16_t[]){ 6, _i ? 6 : 7 });
	rig_fini(&r);
}
END_TEST

/* The driver's first start, and it dies in it: with nothing in hand the driver need not know. */
START_TEST(test_vuser_dies_within_a_start)
{
	struct rig r;

	for (unsigned steps = 0; steps < 16; steps++) {
		rig_init_with_path(&r, VUSER_BLK, false);
		ck_assert_int_eq(begin_start(&r, 2), LOOP_AGAIN);
		turns(&r, steps);
		fake_back_hang_up(&r.b);
		ck_assert_int_eq(act(&r, VDEV_ACTIVATE, LOOP_AGAIN), 0);
		turns(&r, 2);
		ck_assert(goes_on(&r));
		comes_back(&r);
		check_goes_on(&r, 2, (const uint16_t[]){ 0, 0 });
		rig_fini(&r);

		rig_init_with_path(&r, VUSER_FS, false);
		ck_assert_int_eq(begin_start(&r, 2), LOOP_AGAIN);
		turns(&r, steps);
		fake_back_hang_up(&r.b);
		if (act(&r, VDEV_ACTIVATE, LOOP_AGAIN) == -ENOTCONN)
			check_told_once(&r);
		turns(&r, 2);
		if (has_to_be_reset(&r))
			ck_assert_int_eq(reset(&r), 0);
		r.config_irqs = 0;
		comes_back(&r);
		if (!vdev_status(r.v))
			ck_assert_int_eq(start(&r, 2), 0);
		turns(&r, 40);
		check_running(&r, 2);
		rig_fini(&r);
	}
}
END_TEST

/* The next one has no such memory: it is not told of the last one's, and nobody believes that it was kept. */
START_TEST(test_vuser_dies_within_a_start_before_one_that_keeps_nothing)
{
	struct rig r;
	int fd;

	for (unsigned steps = 0; steps < 16; steps++) {
		rig_init_with_path(&r, VUSER_BLK, true);
		ck_assert_int_eq(begin_start(&r, 2), LOOP_AGAIN);
		turns(&r, steps);
		fake_back_hang_up(&r.b);
		ck_assert_int_eq(act(&r, VDEV_ACTIVATE, LOOP_AGAIN), 0);
		turns(&r, 2);
		new_back_end(&r, &fd);
		r.b.protocol &= ~BIT64(VU_PROTOCOL_INFLIGHT_SHMFD);
		connects(&r, fd);
		turns(&r, 60);
		if (goes_on(&r)) {
			ck_assert_uint_eq(r.b.inflight_file, 0);
			requests(&r, 0, 7, 6);
			ends(&r);
		}
		check_told_once(&r);
		rig_fini(&r);
	}
}
END_TEST

/* Whoever looks at what the first one left ends: at some time it is not handed on any more. */
START_TEST(test_vuser_memory_that_kills_is_forgotten)
{
	unsigned tries = 0;
	struct rig r;
	int fd;

	rig_init_with_path(&r, VUSER_BLK, true);
	ck_assert_int_eq(start(&r, 2), 0);
	requests(&r, 0, 7, 6);
	ends(&r);
	while (goes_on(&r)) {
		ck_assert_uint_lt(++tries, 100);
		new_back_end(&r, &fd);
		connects(&r, fd);
		for (unsigned i = 0; i < 60 && !r.b.inflight_file; i++)
			turns(&r, 1);
		ck_assert_uint_ne(r.b.inflight_file, 0);
		ends(&r);
	}
	check_told_once(&r);
	ck_assert_uint_gt(tries, 10);
	comes_back(&r);
	check_works_after_reset(&r);
	rig_fini(&r);
}
END_TEST

/* Given up, it runs still, and may do to its rings what it likes: nobody takes its place there. _i: as it runs, as it starts. */
START_TEST(test_vuser_given_up_needs_a_reset)
{
	struct rig r;
	int fd;

	rig_init_with_path(&r, VUSER_BLK, true);
	ck_assert_int_eq(start(&r, 2), 0);
	requests(&r, 0, 7, 6);
	if (_i) {
		ends(&r);
		new_back_end(&r, &fd);
		connects(&r, fd);
		for (unsigned i = 0; i < 60 && r.b.ring[0].kick < 0; i++)
			turns(&r, 1);
		ck_assert_int_ge(r.b.ring[0].kick, 0);
	}
	ck_assert(goes_on(&r));
	fake_back_answer_u64(&r.b, VU_SET_OWNER, 0);
	turns(&r, 3);
	check_told_once(&r);
	comes_back(&r);
	check_works_after_reset(&r);
	rig_fini(&r);
}
END_TEST

/* What is asked of cards is asked of nothing else. */
START_TEST(test_vuser_disk_is_announced_to_no_network)
{
	struct rig r;

	rig_begin_with_path(&r, VUSER_BLK);
	r.b.protocol |= BIT64(VU_PROTOCOL_RARP) | BIT64(VU_PROTOCOL_NET_MTU);
	rig_finish(&r, VUSER_BLK);
	ck_assert(!(r.b.said_protocol & (BIT64(VU_PROTOCOL_RARP) | BIT64(VU_PROTOCOL_NET_MTU))));
	ck_assert_int_eq(start(&r, 2), 0);
	ends(&r);
	comes_back(&r);
	ck_assert_uint_eq(r.b.rarps, 0);
	rig_fini(&r);
}
END_TEST

/* It says no, and ends before that start is taken back: the driver's start has failed all the same. */
START_TEST(test_vuser_refuses_and_ends)
{
	struct rig r;

	for (unsigned steps = 0; steps < 30; steps++) {
		rig_init_with_path(&r, VUSER_BLK, true);
		r.b.refuse = VU_SET_VRING_ENABLE;
		ck_assert_int_eq(begin_start(&r, 2), LOOP_AGAIN);
		for (unsigned i = 0; i < 60 && !r.b.ring[0].enabled; i++)
			turns(&r, 1);
		turns(&r, steps);
		fake_back_hang_up(&r.b);
		ck_assert_int_lt(act(&r, VDEV_ACTIVATE, LOOP_AGAIN), 0);
		ck_assert(has_to_be_reset(&r));
		rig_fini(&r);
	}
}
END_TEST

/* A reset at any step of another one's coming: nothing runs, and the next start is one from nothing. */
START_TEST(test_vuser_reset_at_any_step)
{
	struct rig r;
	int fd;

	for (unsigned steps = 0; steps < 40; steps++) {
		rig_init_with_path(&r, VUSER_BLK, true);
		ck_assert_int_eq(start(&r, 2), 0);
		requests(&r, 0, 7, 6);
		ends(&r);
		if (steps) {
			new_back_end(&r, &fd);
			connects(&r, fd);
			turns(&r, steps - 1);
		}
		ck_assert_int_eq(reset(&r), 0);
		ck_assert_uint_eq(vdev_status(r.v), 0);
		turns(&r, 40);
		if (steps)
			check_silent(&r);
		ck_assert_int_eq(start(&r, 2), 0);
		if (!steps)
			comes_back(&r);
		turns(&r, 40);
		check_running(&r, 2);
		ck_assert(goes_on(&r));
		rig_fini(&r);
	}
}
END_TEST

/* The broker's answer finds the device's start refused, which is no end of it. */
START_TEST(test_vuser_bad_rings_while_it_comes_back)
{
	struct rig r;
	int fd;

	rig_init_with_path(&r, VUSER_BLK, false);
	ends(&r);
	new_back_end(&r, &fd);
	connects(&r, fd);
	turns(&r, 2);
	fake_ring_init(&r.ring[0], r.mem, RAM, 16);
	r.ring[0].used = RAM + RAM_SIZE - 4;
	fake_ring_give(&r.ring[0], r.v, 0);
	ck_assert_int_eq(fake_vdev_start(r.v, r.v->offered), -EFAULT);
	turns(&r, 40);
	check_told_once(&r);
	check_works_after_reset(&r);
	rig_fini(&r);
}
END_TEST

/* Its eventfds may wait: then a signal does, and nobody else. */
START_TEST(test_vuser_signals_that_cannot_be_given_hold_nobody_up)
{
	const uint64_t full = UINT64_MAX - 1;
	struct rig r;

	rig_init_with_path(&r, VUSER_BLK, false);
	ck_assert_int_eq(start(&r, 2), 0);
	ck_assert_int_eq(fcntl(r.call[0], F_GETFL) & O_NONBLOCK, 0); /* by the back end */
	ck_assert_int_eq(write(r.call[0], &full, sizeof(full)), sizeof(full));
	ends(&r);
	comes_back(&r);
	ck_assert(goes_on(&r) && r.b.ring[1].enabled);
	ck_assert_int_eq(reset(&r), 0);
	check_silent(&r);
	ck_assert_int_eq(start(&r, 2), 0);
	fd_drain(r.call[0]);
	check_running(&r, 2);
	rig_fini(&r);
}
END_TEST

/* The timer sees to what no driver waits for. */
START_TEST(test_vuser_question_that_was_not_sent_is_sent_by_the_timer)
{
	struct rig r;
	int fd;

	rig_init_with_path(&r, VUSER_BLK, false);
	ck_assert_int_eq(start(&r, 2), 0);
	ends(&r);
	new_back_end(&r, &fd);
	connects(&r, fd);
	fake_loop_refuse_messages(r.loop, -ETOOMANYREFS);
	turns(&r, 10);
	fake_loop_refuse_messages(r.loop, 0);
	turns(&r, 10);
	ck_assert(!r.b.owned);
	ck_assert_uint_eq(fake_loop_expire_all(r.loop), 1);
	turns(&r, 60);
	check_goes_on(&r, 2, (const uint16_t[]){ 0, 0 });
	rig_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vuser_link");
	TCase *t = tcase_create("vuser_link");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_vuser_idle_disk_goes_on);
	tcase_add_test(t, test_vuser_busy_disk_goes_on_by_its_memory_of_what_is_in_flight);
	tcase_add_test(t, test_vuser_driver_starts_while_nobody_is_there);
	tcase_add_test(t, test_vuser_back_ends_come_and_go);
	tcase_add_loop_test(t, test_vuser_device_that_cannot_go_on_needs_a_reset, 0, 5);
	tcase_add_test(t, test_vuser_reset_before_another_one_comes);
	tcase_add_test(t, test_vuser_next_one_that_cannot_take_over_needs_a_reset);
	tcase_add_test(t, test_vuser_next_one_that_refuses_needs_a_reset);
	tcase_add_loop_test(t, test_vuser_another_device_is_not_taken, 0, OTHERS);
	tcase_add_test(t, test_vuser_one_that_hangs_up_once_is_nothing);
	tcase_add_test(t, test_vuser_is_looked_for_less_often);
	tcase_add_test(t, test_vuser_without_the_broker_is_dead);
	tcase_add_loop_test(t, test_vuser_dies_at_any_step, 0, 2);
	tcase_add_test(t, test_vuser_dies_within_a_start);
	tcase_add_test(t, test_vuser_dies_within_a_start_before_one_that_keeps_nothing);
	tcase_add_test(t, test_vuser_memory_that_kills_is_forgotten);
	tcase_add_loop_test(t, test_vuser_given_up_needs_a_reset, 0, 2);
	tcase_add_test(t, test_vuser_disk_is_announced_to_no_network);
	tcase_add_test(t, test_vuser_refuses_and_ends);
	tcase_add_test(t, test_vuser_reset_at_any_step);
	tcase_add_test(t, test_vuser_bad_rings_while_it_comes_back);
	tcase_add_test(t, test_vuser_signals_that_cannot_be_given_hold_nobody_up);
	tcase_add_test(t, test_vuser_question_that_was_not_sent_is_sent_by_the_timer);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
