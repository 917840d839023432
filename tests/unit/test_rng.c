// SPDX-License-Identifier: BSD-3-Clause
/* The entropy device: how much it gives, to whom, and that it ends. */
#include "devices/virtio/rng.h"

#include <check.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fake/driver.h"
#include "tests/fake/loop.h"

#define RAM 0x40000000ull
#define RAM_SIZE 0x20000ull
#define BUFFERS (RAM + 0x8000)

static bool no_bytes;

/* libc's, but for a host that has none. */
ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
	if (no_bytes) {
		errno = EAGAIN;
		return -1;
	}
	return syscall(SYS_getrandom, buf, len, flags);
}

struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct fake_ring ring;
	unsigned irqs, config_irqs;
};

static void queue_irq(void *t, unsigned q)
{
	ck_assert_uint_eq(q, 0);
	((struct rig *)t)->irqs++;
}

static void config_irq(void *t)
{
	((struct rig *)t)->config_irqs++;
}

static const struct vdev_irq irq_ops = { .queue = queue_irq, .config = config_irq };

static void start(struct rig *r)
{
	fake_ring_init(&r->ring, r->mem, RAM, 64);
	fake_ring_give(&r->ring, r->v, 0);
	ck_assert_int_eq(fake_vdev_start(r->v, r->v->offered), 0);
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(loop_new(&r->loop), 0);
	ck_assert_int_eq(gmem_new(&r->mem), 0);
	ck_assert_int_eq(gmem_add(r->mem, RAM, RAM_SIZE, false), 0);
	ck_assert_int_eq(rng_new("rng0", r->loop, r->mem, &r->v), 0);
	vdev_set_irq(r->v, &irq_ops, r);
	start(r);
}

static void rig_fini(struct rig *r)
{
	vdev_free(r->v);
	loop_free(r->loop);
	gmem_free(r->mem);
}

static void kick(struct rig *r)
{
	vdev_notify(r->v, 0);
	fake_loop_turn(r->loop);
}

static void check_used(struct rig *r, uint32_t want_id, uint32_t want_len)
{
	uint32_t id, len;

	ck_assert(fake_ring_used(&r->ring, &id, &len));
	ck_assert_uint_eq(id, want_id);
	ck_assert_uint_eq(len, want_len);
}

/* Bytes that are not zero in [@at, @at + @len). */
static unsigned nonzero(struct rig *r, gpa_t at, unsigned len)
{
	const uint8_t *p = gmem_ptr(r->mem, at, len);
	unsigned n = 0;

	for (unsigned i = 0; i < len; i++)
		n += p[i] != 0;
	return n;
}

START_TEST(test_rng_new_identity_and_failure)
{
	struct loop *l;
	struct vdev *v;
	struct rig r;

	rig_init(&r);
	ck_assert_uint_eq(r.v->type, VIRTIO_ID_RNG);
	ck_assert_uint_eq(r.v->nr_queues, 1);
	ck_assert_uint_eq(r.v->config_len, 0);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 4), 0);
	ck_assert_int_eq(loop_new(&l), 0);
	fake_loop_fail_init(l, 0, -ENOSPC);
	ck_assert_int_eq(rng_new("rng1", l, r.mem, &v), -ENOSPC);
	loop_free(l);
	rig_fini(&r);
}
END_TEST

START_TEST(test_rng_request_filled)
{
	const struct fake_part part = { BUFFERS, 64, true };
	struct rig r;

	rig_init(&r);
	fake_ring_add(&r.ring, &part, 1);
	kick(&r);
	check_used(&r, 0, 64);
	ck_assert_uint_ge(nonzero(&r, BUFFERS, 64), 32);
	ck_assert_uint_eq(nonzero(&r, BUFFERS + 64, 64), 0);
	ck_assert_uint_eq(r.irqs, 1);
	rig_fini(&r);
}
END_TEST

/* No answer, and no silence: the guest is told, and its driver's reset heals it. */
START_TEST(test_rng_host_without_bytes_is_told_and_reset_heals)
{
	const struct fake_part part = { BUFFERS, 64, true };
	uint32_t id, len;
	struct rig r;

	rig_init(&r);
	no_bytes = true;
	fake_ring_add(&r.ring, &part, 1);
	kick(&r);
	no_bytes = false;
	ck_assert(!fake_ring_used(&r.ring, &id, &len));
	ck_assert_uint_eq(nonzero(&r, BUFFERS, 64), 0);
	ck_assert(r.v->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(r.config_irqs, 1);
	kick(&r);
	ck_assert(!fake_ring_used(&r.ring, &id, &len));
	fake_vdev_reset(r.v);
	start(&r);
	fake_ring_add(&r.ring, &part, 1);
	kick(&r);
	check_used(&r, 0, 64);
	rig_fini(&r);
}
END_TEST

START_TEST(test_rng_long_request_bounded)
{
	const struct fake_part parts[] = { { BUFFERS, 100, true }, { BUFFERS + 0x1000, 0x10000, true } };
	struct rig r;

	rig_init(&r);
	fake_ring_add(&r.ring, parts, 2);
	kick(&r);
	check_used(&r, 0, 256);
	ck_assert_uint_eq(nonzero(&r, BUFFERS + 100, 0x1000 - 100), 0);
	ck_assert_uint_ge(nonzero(&r, BUFFERS + 0x1000, 156), 78);
	ck_assert_uint_eq(nonzero(&r, BUFFERS + 0x1000 + 156, 0x1000), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_rng_many_small_parts_and_readable_ones)
{
	struct fake_part parts[40];
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 40; i++)
		parts[i] = (struct fake_part){ BUFFERS + 2 * i, 1, i >= 4 };
	fake_ring_add(&r.ring, parts, 40);
	kick(&r);
	check_used(&r, 0, 36);
	ck_assert_uint_eq(nonzero(&r, BUFFERS, 8), 0);
	for (unsigned i = 0; i < 40; i++)
		ck_assert_uint_eq(nonzero(&r, BUFFERS + 2 * i + 1, 1), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_rng_nothing_writable_given_back)
{
	const struct fake_part part = { BUFFERS, 64, false };
	struct rig r;

	rig_init(&r);
	fake_ring_add(&r.ring, &part, 1);
	kick(&r);
	check_used(&r, 0, 0);
	ck_assert_uint_eq(nonzero(&r, BUFFERS, 64), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_rng_full_ring_in_one_kick)
{
	const struct fake_part part = { BUFFERS, 1000, true };
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < 64; i++)
		fake_ring_add(&r.ring, &part, 1);
	kick(&r);
	for (unsigned i = 0; i < 64; i++)
		check_used(&r, i, 256);
	ck_assert_uint_eq(r.irqs, 1);
	ck_assert_uint_eq(fake_loop_turn(r.loop), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_rng_broken_ring_needs_reset_and_heals)
{
	const struct fake_part bad = { RAM + RAM_SIZE - 10, 64, true }, good = { BUFFERS, 64, true };
	struct rig r;

	rig_init(&r);
	fake_ring_add(&r.ring, &bad, 1);
	kick(&r);
	ck_assert(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(r.config_irqs, 1);
	kick(&r);
	ck_assert_uint_eq(r.v->faults, 1);
	fake_vdev_reset(r.v);
	start(&r);
	fake_ring_add(&r.ring, &good, 1);
	kick(&r);
	check_used(&r, 0, 64);
	rig_fini(&r);
}
END_TEST

START_TEST(test_rng_queue_not_ready_starts_idle)
{
	struct rig r;

	rig_init(&r);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(fake_vdev_start(r.v, r.v->offered), 0);
	kick(&r);
	ck_assert(!(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET));
	rig_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rng");
	TCase *t = tcase_create("rng");
	SRunner *run;
	int failed;

	tcase_add_test(t, test_rng_new_identity_and_failure);
	tcase_add_test(t, test_rng_request_filled);
	tcase_add_test(t, test_rng_host_without_bytes_is_told_and_reset_heals);
	tcase_add_test(t, test_rng_long_request_bounded);
	tcase_add_test(t, test_rng_many_small_parts_and_readable_ones);
	tcase_add_test(t, test_rng_nothing_writable_given_back);
	tcase_add_test(t, test_rng_full_ring_in_one_kick);
	tcase_add_test(t, test_rng_broken_ring_needs_reset_and_heals);
	tcase_add_test(t, test_rng_queue_not_ready_starts_idle);
	suite_add_tcase(s, t);
	run = srunner_create(s);
	srunner_run_all(run, CK_ENV);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed ? 1 : 0;
}
