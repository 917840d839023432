// SPDX-License-Identifier: BSD-3-Clause
/* The ioctls of vhost.c: their order, what they carry, what the guest cannot make them carry. */
#include "devices/vhost/vhost.h"

#include <check.h>
#include <sys/eventfd.h>

#include "tests/fake/vhost.h"

#define RAM 0x40000000ull
#define HIGH 0x80000000ull
#define SIZE 0x10000ull

struct rig {
	struct gmem *mem;
	struct vh_dev vh;
	int kick, call;
	struct vh_ring ring;
};

static struct rig rig_new(void)
{
	struct rig r = { .kick = eventfd(0, EFD_CLOEXEC), .call = eventfd(0, EFD_CLOEXEC) };

	fake_vhost_reset();
	fake_tap_make(1);
	ck_assert_int_eq(gmem_new(&r.mem), 0);
	ck_assert_int_eq(gmem_add(r.mem, RAM, SIZE, false), 0);
	ck_assert_int_eq(gmem_add(r.mem, HIGH, SIZE, false), 0);
	ck_assert_int_eq(vh_init(&r.vh, fake_vhost_fd(), 2), 0);
	r.ring = (struct vh_ring){ .size = 256, .desc = RAM, .avail = RAM + 0x1000, .used = HIGH + 0x2000 };
	return r;
}

static void rig_free(struct rig *r)
{
	vh_fini(&r->vh);
	gmem_free(r->mem);
	close(r->kick);
	close(r->call);
	ck_assert_msg(!fv.complaint, "%s", fv.complaint);
}

static int start(struct rig *r, unsigned ring)
{
	return vh_ring_start(&r->vh, ring, r->mem, &r->ring, r->kick, r->call);
}

START_TEST(test_vhost_open_errors)
{
	int fd = -7;

	ck_assert_int_eq(vh_open("/nowhere/vhost-net", &fd), -ENOENT);
	ck_assert_int_eq(fd, -7);
	ck_assert_int_eq(vh_open("/dev/null", &fd), 0);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}
END_TEST

START_TEST(test_vhost_init_owns_and_masks_features)
{
	struct rig r = rig_new();
	struct fake_vhost_dev *d = fake_vhost_dev(r.vh.fd);

	ck_assert(d->owned);
	ck_assert_uint_eq(r.vh.features, BIT64(15) | BIT64(28) | BIT64(29) | BIT64(32));
	ck_assert(!vh_take_error(&r.vh));
	eventfd_write(r.vh.err_fd, 1);
	ck_assert(vh_take_error(&r.vh));
	ck_assert(!vh_take_error(&r.vh));
	rig_free(&r);
	vh_fini(&r.vh);
}
END_TEST

START_TEST(test_vhost_init_failure_closes)
{
	static const unsigned long reqs[] = { VHOST_SET_OWNER, VHOST_GET_FEATURES };
	struct vh_dev d;

	for (unsigned i = 0; i < ARRAY_LEN(reqs); i++) {
		int fd;

		fake_vhost_reset();
		fd = fake_vhost_fd();
		fake_vhost_fail(reqs[i], EBUSY, 0);
		ck_assert_int_eq(vh_init(&d, fd, 2), -EBUSY);
		ck_assert_int_eq(d.fd, -1);
		ck_assert_int_eq(d.err_fd, -1);
		ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
	}
	fake_vhost_reset();
	fv.features &= ~BIT64(32);
	ck_assert_int_eq(vh_init(&d, fake_vhost_fd(), 2), -ENOTSUP);
	fake_vhost_reset(); /* its number may come again */
	ck_assert_int_eq(vh_init(&d, eventfd(0, 0), 2), -ENOTTY);
}
END_TEST

START_TEST(test_vhost_set_features_never_passes_what_is_ours)
{
	struct rig r = rig_new();

	ck_assert_int_eq(vh_set_features(&r.vh, ~0ull), 0);
	ck_assert_uint_eq(fake_vhost_dev(r.vh.fd)->acked, BIT64(15) | BIT64(28) | BIT64(29) | BIT64(32));
	ck_assert_int_eq(vh_set_features(&r.vh, BIT64(32) | BIT64(27) | BIT64(0)), 0);
	ck_assert_uint_eq(fake_vhost_dev(r.vh.fd)->acked, BIT64(32));
	rig_free(&r);
}
END_TEST

START_TEST(test_vhost_set_mem_every_region)
{
	struct rig r = rig_new();
	struct fake_vhost_dev *d = fake_vhost_dev(r.vh.fd);

	for (unsigned i = 2; i < GMEM_MAX_REGIONS; i++)
		ck_assert_int_eq(gmem_add(r.mem, HIGH + i * 0x100000, SIZE, false), 0);
	ck_assert_int_eq(vh_set_mem(&r.vh, r.mem), 0);
	ck_assert_uint_eq(d->nregions, GMEM_MAX_REGIONS);
	for (unsigned i = 0; i < d->nregions; i++) {
		ck_assert_uint_eq(d->regions[i].guest_phys_addr, gmem_region(r.mem, i)->gpa);
		ck_assert_uint_eq(d->regions[i].memory_size, SIZE);
		ck_assert_uint_eq(d->regions[i].userspace_addr, (uintptr_t)gmem_region(r.mem, i)->hva);
		ck_assert_uint_eq(d->regions[i].flags_padding, 0);
	}
	rig_free(&r);
}
END_TEST

START_TEST(test_vhost_ring_start_in_order)
{
	static const unsigned long order[] = { VHOST_SET_VRING_NUM,  VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
					       VHOST_SET_VRING_ERR,  VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK };
	struct rig r = rig_new();
	struct fake_vhost_ring *ring = &fake_vhost_dev(r.vh.fd)->ring[1];
	unsigned from = fv.nr_log;

	ck_assert_int_eq(start(&r, 1), 0);
	ck_assert_uint_eq(fv.nr_log - from, ARRAY_LEN(order));
	for (unsigned i = 0; i < ARRAY_LEN(order); i++)
		ck_assert_uint_eq(fv.log[from + i], order[i]);
	ck_assert_uint_eq(ring->num, 256);
	ck_assert_uint_eq(ring->base, 0);
	ck_assert_uint_eq(ring->addr.desc_user_addr, (uintptr_t)gmem_ptr(r.mem, RAM, 1));
	ck_assert_uint_eq(ring->addr.avail_user_addr, (uintptr_t)gmem_ptr(r.mem, RAM + 0x1000, 1));
	ck_assert_uint_eq(ring->addr.used_user_addr, (uintptr_t)gmem_ptr(r.mem, HIGH + 0x2000, 1));
	ck_assert_int_eq(ring->kick, r.kick);
	ck_assert_int_eq(ring->call, r.call);
	ck_assert_int_eq(ring->err, r.vh.err_fd);
	rig_free(&r);
}
END_TEST

static void ring_refused(struct rig *r, struct vh_ring ring, int code)
{
	unsigned from = fv.nr_log;

	ck_assert_int_eq(vh_ring_start(&r->vh, 0, r->mem, &ring, r->kick, r->call), code);
	ck_assert_uint_eq(fv.nr_log, from);
}

/* The kernel must not even be asked. */
START_TEST(test_vhost_ring_start_guest_nonsense_refused)
{
	struct rig r = rig_new();
	const struct vh_ring ok = r.ring;
	struct vh_ring bad;

#define WITH(field, value, code) (bad = ok, bad.field = (value), ring_refused(&r, bad, code))
	WITH(size, 0, -EINVAL);
	WITH(size, 3, -EINVAL);
	WITH(desc, RAM + 8, -EINVAL);
	WITH(avail, RAM + 1, -EINVAL);
	WITH(used, RAM + 2, -EINVAL);
	WITH(desc, 0, -EFAULT);
	WITH(desc, RAM + SIZE - 16 * 255, -EFAULT);
	WITH(avail, RAM + SIZE - 6 - 2 * 255, -EFAULT);
	WITH(used, HIGH + SIZE - 8 * 256, -EFAULT);
	WITH(used, ~0ull - 3, -EFAULT);
#undef WITH
	rig_free(&r);
}
END_TEST

START_TEST(test_vhost_ring_start_kernel_refusal_reported)
{
	static const unsigned long reqs[] = { VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
					      VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK };
	struct rig r = rig_new();

	fake_vhost_fail(reqs[_i], EPERM, 0);
	ck_assert_int_eq(start(&r, 0), -EPERM);
	rig_free(&r);
}
END_TEST

static void start_both(struct rig *r)
{
	ck_assert_int_eq(vh_set_mem(&r->vh, r->mem), 0);
	ck_assert_int_eq(start(r, 0), 0);
	ck_assert_int_eq(start(r, 1), 0);
}

START_TEST(test_vhost_backend_set_and_taken)
{
	struct rig r = rig_new();
	struct fake_vhost_dev *d = fake_vhost_dev(r.vh.fd);

	start_both(&r);
	ck_assert_int_eq(vh_net_set_backend(&r.vh, fv.tap_fd[0]), 0);
	ck_assert_int_eq(d->ring[0].backend, fv.tap_fd[0]);
	ck_assert_int_eq(d->ring[1].backend, fv.tap_fd[0]);
	ck_assert_int_eq(vh_net_set_backend(&r.vh, -1), 0);
	vh_ring_stop(&r.vh, 0);
	vh_ring_stop(&r.vh, 1);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(d->ring[i].backend, -1);
		ck_assert_int_eq(d->ring[i].call, -1);
		ck_assert_int_eq(d->ring[i].kick, -1);
	}
	start_both(&r);
	ck_assert_int_eq(vh_net_set_backend(&r.vh, fv.tap_fd[0]), 0);
	ck_assert_int_eq(vh_net_set_backend(&r.vh, -1), 0);
	ck_assert_uint_eq(fake_vhost_count(VHOST_RESET_OWNER), 0);
	rig_free(&r);
}
END_TEST

START_TEST(test_vhost_backend_half_set_is_taken_back)
{
	struct rig r = rig_new();
	struct fake_vhost_dev *d = fake_vhost_dev(r.vh.fd);

	start_both(&r);
	fake_vhost_fail(VHOST_NET_SET_BACKEND, ENOMEM, 1);
	ck_assert_int_eq(vh_net_set_backend(&r.vh, fv.tap_fd[0]), -ENOMEM);
	ck_assert_int_eq(d->ring[0].backend, -1);
	ck_assert_int_eq(d->ring[1].backend, -1);
	ck_assert_int_eq(vh_net_set_backend(&r.vh, r.kick), -ENOTSOCK);
	rig_free(&r);
}
END_TEST

START_TEST(test_vhost_backend_taking_goes_on_after_failure)
{
	struct rig r = rig_new();
	struct fake_vhost_dev *d = fake_vhost_dev(r.vh.fd);

	start_both(&r);
	ck_assert_int_eq(vh_net_set_backend(&r.vh, fv.tap_fd[0]), 0);
	fake_vhost_fail(VHOST_NET_SET_BACKEND, EFAULT, 0);
	ck_assert_int_eq(vh_net_set_backend(&r.vh, -1), -EFAULT);
	ck_assert_int_eq(d->ring[1].backend, -1);
	rig_free(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vhost");
	TCase *t = tcase_create("vhost");
	SRunner *run;
	int failed;

	tcase_add_test(t, test_vhost_open_errors);
	tcase_add_test(t, test_vhost_init_owns_and_masks_features);
	tcase_add_test(t, test_vhost_init_failure_closes);
	tcase_add_test(t, test_vhost_set_features_never_passes_what_is_ours);
	tcase_add_test(t, test_vhost_set_mem_every_region);
	tcase_add_test(t, test_vhost_ring_start_in_order);
	tcase_add_test(t, test_vhost_ring_start_guest_nonsense_refused);
	tcase_add_loop_test(t, test_vhost_ring_start_kernel_refusal_reported, 0, 6);
	tcase_add_test(t, test_vhost_backend_set_and_taken);
	tcase_add_test(t, test_vhost_backend_half_set_is_taken_back);
	tcase_add_test(t, test_vhost_backend_taking_goes_on_after_failure);
	suite_add_tcase(s, t);
	run = srunner_create(s);
	srunner_run_all(run, CK_ENV);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed ? 1 : 0;
}
