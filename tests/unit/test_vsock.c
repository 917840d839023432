// SPDX-License-Identifier: BSD-3-Clause
/* The socket device on a fake vhost-vsock: what the kernel is asked, in which order, and what is left after a reset. */
#include "devices/virtio/vsock.h"

#include <check.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "devices/vhost/vhost.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "tests/fake/vhost.h"

#define RAM 0x40000000ull
#define RAM_SIZE 0x40000ull
#define QUEUES 3

struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	int fd;
	struct fake_ring ring[QUEUES];
	int call[QUEUES];
	unsigned config_irqs;
	int call_error;
};

static void queue_irq(void *t, unsigned q)
{
	(void)t, (void)q;
	ck_abort_msg("the kernel interrupts, not this process");
}

static void config_irq(void *t)
{
	((struct rig *)t)->config_irqs++;
}

static int call_fd(void *t, unsigned q, int *ret_fd)
{
	struct rig *r = t;

	*ret_fd = r->call[q];
	return r->call_error;
}

static const struct vdev_irq irq_ops = { .queue = queue_irq, .config = config_irq, .call_fd = call_fd };

static void rig_init(struct rig *r)
{
	struct vsock_cfg cfg = { .name = "vsock0", .cid = 42 };
	struct err e;

	memset(r, 0, sizeof(*r));
	fake_vhost_reset();
	fv.features |= BIT64(VIRTIO_VSOCK_F_SEQPACKET);
	ck_assert_int_eq(loop_new(&r->loop), 0);
	ck_assert_int_eq(gmem_new(&r->mem), 0);
	ck_assert_int_eq(gmem_add(r->mem, RAM, RAM_SIZE, false), 0);
	for (unsigned q = 0; q < QUEUES; q++)
		r->call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cfg.loop = r->loop;
	cfg.mem = r->mem;
	cfg.vhost_fd = r->fd = fake_vhost_fd();
	ck_assert_int_eq(vh_vsock_set_cid(r->fd, 42), 0);
	ck_assert_msg(!vsock_new(&cfg, &r->v, &e), "%s", e.text);
	vdev_set_irq(r->v, &irq_ops, r);
}

static int start(struct rig *r, unsigned queues)
{
	gpa_t at = RAM;

	for (unsigned q = 0; q < queues; q++) {
		at = fake_ring_init(&r->ring[q], r->mem, at, 128);
		fake_ring_give(&r->ring[q], r->v, q);
	}
	return fake_vdev_start(r->v, r->v->offered);
}

static void rig_fini(struct rig *r)
{
	ck_assert_ptr_null(fv.complaint);
	vdev_free(r->v);
	loop_free(r->loop);
	gmem_free(r->mem);
	for (unsigned q = 0; q < QUEUES; q++)
		close(r->call[q]);
}

static void check_running(struct rig *r, bool on)
{
	const struct fake_vhost_dev *d = fake_vhost_dev(r->fd);

	for (unsigned q = 0; q < 2; q++) {
		ck_assert_int_eq(d->ring[q].backend, on ? 0 : -1);
		ck_assert_int_eq(d->ring[q].call, on ? r->call[q] : -1);
		ck_assert_int_eq(d->ring[q].kick, on ? vdev_kick_fd(r->v, q) : -1);
	}
}

static bool kicked(struct rig *r, unsigned q)
{
	uint64_t n;

	return read(vdev_kick_fd(r->v, q), &n, sizeof(n)) == sizeof(n);
}

START_TEST(test_vsock_config_is_the_cid)
{
	struct rig r;

	rig_init(&r);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 8), 42);
	ck_assert_uint_eq(r.v->type, 19);
	ck_assert_uint_eq(r.v->nr_queues, 3);
	ck_assert(r.v->offered & BIT64(VIRTIO_VSOCK_F_SEQPACKET));
	rig_fini(&r);
}
END_TEST

START_TEST(test_vsock_runs_in_the_kernel_and_ends)
{
	struct rig r;

	rig_init(&r);
	for (unsigned life = 0; life < 3; life++) {
		ck_assert_int_eq(start(&r, QUEUES), 0);
		check_running(&r, true);
		/* buffers that were there before are looked at */
		ck_assert(kicked(&r, 0) && kicked(&r, 1));
		fake_vdev_reset(r.v);
		check_running(&r, false);
	}
	rig_fini(&r);
}
END_TEST

/* The event queue's buffers stay the driver's; its kick is nothing to the loop. */
START_TEST(test_vsock_event_queue_is_left_alone)
{
	const struct fake_part part = { RAM + 0x20000, 64, true };
	struct rig r;

	rig_init(&r);
	ck_assert_int_eq(start(&r, QUEUES), 0);
	fake_ring_add(&r.ring[2], &part, 1);
	vdev_notify(r.v, 2);
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[2]), 0);
	ck_assert(!(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET));
	rig_fini(&r);
}
END_TEST

START_TEST(test_vsock_half_set_up_needs_reset_and_heals)
{
	struct rig r;

	rig_init(&r);
	ck_assert_int_lt(start(&r, 1), 0);
	ck_assert(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	check_running(&r, false);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(start(&r, QUEUES), 0);
	check_running(&r, true);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vsock_refusals_of_the_kernel_need_reset)
{
	static const unsigned long refused[] = {
		VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
		VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK, VHOST_VSOCK_SET_RUNNING,
	};
	struct rig r;

	rig_init(&r);
	fake_vhost_fail(refused[_i], ENOMEM, 0);
	ck_assert_int_eq(start(&r, QUEUES), -ENOMEM);
	ck_assert(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fake_vhost_fail(0, 0, 0);
	fake_vdev_reset(r.v);
	check_running(&r, false);
	ck_assert_int_eq(start(&r, QUEUES), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vsock_broken_ring_is_told)
{
	struct rig r;
	uint64_t one = 1;

	rig_init(&r);
	ck_assert_int_eq(start(&r, QUEUES), 0);
	ck_assert_int_eq(write(fake_vhost_dev(r.fd)->ring[0].err, &one, sizeof(one)), sizeof(one));
	fake_loop_turn(r.loop);
	ck_assert(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(r.config_irqs, 1);
	rig_fini(&r);
}
END_TEST

START_TEST(test_vsock_cids)
{
	int a, b;

	fake_vhost_reset();
	a = fake_vhost_fd();
	b = fake_vhost_fd();
	ck_assert_int_eq(vh_vsock_set_cid(a, 2), -EINVAL);
	ck_assert_int_eq(vh_vsock_set_cid(a, VSOCK_CID_MIN), 0);
	ck_assert_int_eq(vh_vsock_set_cid(b, VSOCK_CID_MIN), -EADDRINUSE);
	ck_assert_int_eq(vh_vsock_set_cid(b, VSOCK_CID_MAX), 0);
	close(a);
	close(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vsock");
	TCase *t = tcase_create("vsock");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_vsock_config_is_the_cid);
	tcase_add_test(t, test_vsock_runs_in_the_kernel_and_ends);
	tcase_add_test(t, test_vsock_event_queue_is_left_alone);
	tcase_add_test(t, test_vsock_half_set_up_needs_reset_and_heals);
	tcase_add_loop_test(t, test_vsock_refusals_of_the_kernel_need_reset, 0, 9);
	tcase_add_test(t, test_vsock_broken_ring_is_told);
	tcase_add_test(t, test_vsock_cids);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
