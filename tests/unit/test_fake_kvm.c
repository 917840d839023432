// SPDX-License-Identifier: BSD-3-Clause
/*
 * The fake KVM itself: each of the kernel's bad manners that the other tests stand on.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/irq_check.h"

static const struct hyp_route spi0 = { .gsi = 0, .kind = HYP_ROUTE_SPI, .pin = 0 };
static const struct hyp_route msi40 = { .gsi = 40, .kind = HYP_ROUTE_MSI, .valid_devid = true,
					.addr = FAKE_TRANSLATER, .data = 3, .devid = RIG_DEVID };

static int new_eventfd(unsigned count)
{
	int fd = eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

START_TEST(test_fake_init_overwrites_table)
{
	struct hyp *h = fake_kvm_new();

	ck_assert_int_eq(hyp_set_routes(h, &msi40, 1), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(h), 1);
	ck_assert_str_eq(fake_kvm_complaint(h), "a routing table before INIT");
	fake_kvm_init(h, 32);
	ck_assert_uint_eq(fake_kvm_nr_routes(h), 32);
	ck_assert_uint_eq(fake_kvm_route(h, 40).kind, HYP_ROUTE_NONE);
	ck_assert_uint_eq(fake_kvm_route(h, 31).pin, 31);
	hyp_free(h);
}
END_TEST

START_TEST(test_fake_table_all_or_nothing)
{
	static struct hyp_route full[FAKE_KVM_MAX_GSI + 1];
	struct hyp_route two[2] = { spi0, msi40 };
	struct hyp *h = fake_kvm_new();
	unsigned i;

	fake_kvm_init(h, 32);
	for (i = 0; i < ARRAY_LEN(full); i++)
		full[i] = (struct hyp_route){ .gsi = i, .kind = HYP_ROUTE_MSI };
	ck_assert_int_eq(hyp_set_routes(h, full, FAKE_KVM_MAX_GSI), 0);
	ck_assert_int_eq(hyp_set_routes(h, full, FAKE_KVM_MAX_GSI + 1), -EINVAL);
	ck_assert_uint_eq(fake_kvm_nr_routes(h), FAKE_KVM_MAX_GSI);
	ck_assert_int_eq(hyp_set_routes(h, two, 2), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(h), 2);
	ck_assert_uint_eq(fake_kvm_route(h, 4095).kind, HYP_ROUTE_NONE);
	two[0].gsi = 40;
	ck_assert_int_eq(hyp_set_routes(h, two, 2), -EINVAL);
	two[0].gsi = 1;
	two[0].pin = FAKE_KVM_MAX_PIN;
	ck_assert_int_eq(hyp_set_routes(h, two, 2), -EINVAL);
	two[0].kind = 3;
	ck_assert_int_eq(hyp_set_routes(h, two, 2), -EINVAL);
	ck_assert_uint_eq(fake_kvm_route(h, 0).kind, HYP_ROUTE_SPI);
	ck_assert_uint_eq(fake_kvm_route(h, 40).data, 3);
	two[0].kind = HYP_ROUTE_NONE;
	ck_assert_int_eq(hyp_set_routes(h, two, 2), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(h), 1);
	ck_assert_int_eq(hyp_set_routes(h, NULL, 0), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(h), 0);
	ck_assert_ptr_null(fake_kvm_complaint(h));
	hyp_free(h);
}
END_TEST

START_TEST(test_fake_routes_to_nowhere_lose)
{
	struct hyp_route r[] = { { .gsi = 0, .kind = HYP_ROUTE_SPI, .pin = 987 }, msi40, msi40, msi40 };
	struct hyp *h = fake_kvm_new();
	unsigned i;
	int fd[4];

	r[1].valid_devid = false;
	r[2].gsi = 41;
	r[2].addr = 0x40000000;
	r[3].gsi = 42;
	fake_kvm_init(h, 32);
	ck_assert_int_eq(hyp_set_routes(h, r, 4), 0);
	for (i = 0; i < 4; i++) {
		fd[i] = new_eventfd(0);
		ck_assert_int_eq(hyp_irqfd_attach(h, fd[i], r[i].gsi, -1), 0);
		signal_fd(fd[i]);
	}
	fake_kvm_pump(h);
	ck_assert_uint_eq(fake_kvm_lost(h), 3);
	ck_assert_uint_eq(fake_kvm_msis(h, RIG_DEVID, 3), 1);
	ck_assert_ptr_null(fake_kvm_complaint(h));
	/* Without an ITS: accepted, and lost. */
	fake_kvm_set_its(h, false);
	signal_fd(fd[3]);
	fake_kvm_pump(h);
	ck_assert_uint_eq(fake_kvm_lost(h), 4);
	hyp_free(h);
	for (i = 0; i < 4; i++)
		close(fd[i]);
}
END_TEST

START_TEST(test_fake_unrouted_signal_consumed)
{
	struct hyp *h = fake_kvm_new();
	int fd = new_eventfd(0);
	uint64_t n;

	fake_kvm_init(h, 32);
	ck_assert_int_eq(hyp_irqfd_attach(h, fd, 100, -1), 0);
	ck_assert_str_eq(fake_kvm_complaint(h), "an irqfd on a GSI without a route");
	signal_fd(fd);
	ck_assert_uint_eq(fake_kvm_pump(h), 1);
	ck_assert_uint_eq(fake_kvm_lost(h), 1);
	ck_assert_int_eq(read(fd, &n, sizeof(n)), -1);
	ck_assert_int_eq(hyp_irqfd_detach(h, fd, 100), 0);
	hyp_free(h);
	close(fd);
}
END_TEST

START_TEST(test_fake_irqfd_errors)
{
	struct hyp *h = fake_kvm_new();
	int fd = new_eventfd(0), other = dup(fd), null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(hyp_irqfd_attach(h, fd, 1, -1), -EAGAIN);
	fake_kvm_init(h, 32);
	ck_assert_int_eq(hyp_irqfd_attach(h, 1000, 1, -1), -EBADF);
	ck_assert_int_eq(hyp_irqfd_attach(h, null, 1, -1), -EINVAL);
	ck_assert_int_eq(hyp_irqfd_attach(h, fd, 1, null), -EINVAL);
	ck_assert_int_eq(hyp_irqfd_attach(h, fd, 1, -1), 0);
	ck_assert_int_eq(hyp_irqfd_attach(h, fd, 2, -1), -EBUSY);
	ck_assert_int_eq(hyp_irqfd_attach(h, other, 2, -1), -EBUSY);
	ck_assert_ptr_null(fake_kvm_complaint(h));
	ck_assert_int_eq(hyp_irqfd_detach(h, fd, 2), 0);
	ck_assert_str_eq(fake_kvm_complaint(h), "a detach that matches nothing");
	ck_assert_uint_eq(fake_kvm_nr_irqfds(h), 1);
	ck_assert_int_eq(hyp_irqfd_detach(h, 1000, 2), -EBADF);
	hyp_free(h);
	close(fd);
	close(other);
	close(null);
}
END_TEST

START_TEST(test_fake_detach_zeroes_what_attach_found)
{
	struct hyp *h = fake_kvm_new();
	int fd = new_eventfd(5);
	uint64_t n;

	fake_kvm_init(h, 32);
	ck_assert_int_eq(hyp_irqfd_attach(h, fd, 1, -1), 0);
	ck_assert_uint_eq(fake_kvm_spis(h, 1), 1);
	ck_assert_uint_eq(fake_kvm_pump(h), 0);
	ck_assert_int_eq(hyp_irqfd_detach(h, fd, 1), 0);
	ck_assert_int_eq(read(fd, &n, sizeof(n)), -1);
	ck_assert_uint_eq(fake_kvm_spis(h, 1), 1);
	/* Raised, and nobody lowers it. */
	ck_assert(fake_kvm_spi_level(h, 1));
	hyp_free(h);
	close(fd);
}
END_TEST

START_TEST(test_fake_complaints)
{
	const struct hyp_route twice[] = { spi0, { .gsi = 1, .kind = HYP_ROUTE_SPI, .pin = 0 } };
	struct hyp *h = fake_kvm_new();
	int fd = new_eventfd(0);

	fake_kvm_init(h, 32);
	ck_assert_int_eq(hyp_set_routes(h, twice, 2), 0);
	ck_assert_str_eq(fake_kvm_complaint(h), "two GSIs for one SPI");
	hyp_free(h);

	h = fake_kvm_new();
	fake_kvm_init(h, 32);
	ck_assert_int_eq(hyp_irqfd_attach(h, fd, 1, -1), 0);
	ck_assert_int_eq(hyp_set_routes(h, &spi0, 1), 0);
	ck_assert_str_eq(fake_kvm_complaint(h), "a route was taken from an attached irqfd");
	hyp_free(h);

	h = fake_kvm_new();
	fake_kvm_init(h, 32);
	ck_assert_int_eq(hyp_irqfd_attach(h, fd, 1, -1), 0);
	close(fd);
	ck_assert_str_eq(fake_kvm_complaint(h), "an eventfd was closed while attached");
	hyp_free(h);
}
END_TEST

START_TEST(test_fake_fails_on_demand_and_logs)
{
	struct hyp *h = fake_kvm_new();
	struct fake_call call;

	fake_kvm_init(h, 32);
	fake_kvm_fail(h, FAKE_IRQ_LINE, 2, -ENOMEM);
	fake_kvm_fail(h, FAKE_IRQ_LINE, 3, -EIO);
	ck_assert_int_eq(hyp_irq_line(h, 1, true), 0);
	ck_assert_int_eq(hyp_irq_line(h, 1, false), -ENOMEM);
	ck_assert(fake_kvm_spi_level(h, 1));
	ck_assert_int_eq(hyp_irq_line(h, 1, false), -EIO);
	ck_assert_int_eq(hyp_irq_line(h, 1, false), 0);
	ck_assert_int_eq(hyp_irq_line(h, 32, false), -EINVAL);
	ck_assert_uint_eq(fake_kvm_calls(h), 6);
	call = fake_kvm_call(h, 2);
	ck_assert_int_eq(call.op, FAKE_IRQ_LINE);
	ck_assert_int_eq(call.result, -ENOMEM);
	ck_assert_uint_eq(call.n, 1);
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_IRQ_LINE), 5);
	fake_kvm_forget_calls(h);
	ck_assert_uint_eq(fake_kvm_calls(h), 0);
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_IRQ_LINE), 0);
	hyp_free(h);
	h = fake_kvm_new();
	ck_assert_int_eq(hyp_irq_line(h, 1, true), -EBUSY);
	hyp_free(h);
}
END_TEST

START_TEST(test_fake_ioeventfds)
{
	struct hyp *h = fake_kvm_new();
	int a = new_eventfd(0), b = new_eventfd(0);
	uint64_t n;

	ck_assert_int_eq(hyp_ioeventfd_attach(h, a, 0x1000, 2, -1), 0);
	ck_assert_int_eq(hyp_ioeventfd_attach(h, b, 0x1000, 2, 7), -EEXIST);
	ck_assert_int_eq(hyp_ioeventfd_attach(h, b, 0x1000, 4, 7), 0);
	ck_assert_int_eq(hyp_ioeventfd_attach(h, b, 0x1000, 4, 8), 0);
	ck_assert_int_eq(hyp_ioeventfd_attach(h, b, 0x1000, 4, 8), -EEXIST);
	ck_assert_int_eq(hyp_ioeventfd_attach(h, b, 0x1000, 3, 8), -EINVAL);
	ck_assert_int_eq(hyp_ioeventfd_attach(h, 1000, 0x2000, 4, 8), -EBADF);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(h), 3);
	ck_assert(fake_kvm_guest_write(h, 0x1000, 2, 99));
	ck_assert_int_eq(read(a, &n, sizeof(n)), sizeof(n));
	ck_assert(fake_kvm_guest_write(h, 0x1000, 4, 7));
	ck_assert_int_eq(read(b, &n, sizeof(n)), sizeof(n));
	ck_assert(!fake_kvm_guest_write(h, 0x1000, 4, 9));
	ck_assert(!fake_kvm_guest_write(h, 0x1000, 8, 7));
	ck_assert_int_eq(hyp_ioeventfd_detach(h, a, 0x1000, 2, 7), -ENOENT);
	ck_assert_int_eq(hyp_ioeventfd_detach(h, a, 0x1000, 2, -1), 0);
	ck_assert(!fake_kvm_guest_write(h, 0x1000, 2, 99));
	hyp_free(h);
	close(a);
	close(b);
}
END_TEST

START_TEST(test_fake_vm_and_memory)
{
	struct err err;
	struct hyp *h;
	int fd;

	fake_kvm_host(-ENOENT, 36, 4);
	ck_assert_int_eq(hyp_open_dev(&fd, &err), -ENOENT);
	fake_kvm_host(0, 36, 4);
	ck_assert_int_eq(hyp_open_dev(&fd, &err), 0);
	ck_assert_uint_eq(hyp_max_ipa_bits(fd), 36);
	ck_assert_int_eq(hyp_max_vcpus(fd), 4);
	ck_assert_int_eq(hyp_new(fd, 40, &h, &err), -EINVAL);
	ck_assert_int_eq(hyp_open_dev(&fd, &err), 0);
	ck_assert_int_eq(hyp_new(fd, 36, &h, &err), 0);
	ck_assert_int_eq(hyp_kvm_fd(h), fd);
	ck_assert_int_eq(hyp_vm_fd(h), -1);
	ck_assert_int_eq(hyp_check(h, 5), 0);
	fake_kvm_set_cap(h, 5, 2);
	fake_kvm_set_cap(h, 5, 3);
	ck_assert_int_eq(hyp_check(h, 5), 3);
	fake_kvm_set_max_routes(h, 100);
	ck_assert_uint_eq(hyp_max_routes(h), 100);
	ck_assert_int_eq(hyp_set_memory(h, 0, 0x40000000, 0x1000, &err, false), 0);
	ck_assert_int_eq(hyp_set_memory(h, 1, 0x40000000, 0x1000, &err, false), -EEXIST);
	ck_assert_int_eq(hyp_set_memory(h, 1, 0x40000800, 0x1000, &err, false), -EINVAL);
	ck_assert_int_eq(hyp_set_memory(h, 1, 0x40001000, 0x1000, &err, true), 0);
	ck_assert_uint_eq(fake_kvm_nr_slots(h), 2);
	ck_assert_int_eq(hyp_set_memory(h, 0, 0x40000000, 0, NULL, false), 0);
	ck_assert_int_eq(hyp_set_memory(h, 0, 0x40000000, 0, NULL, false), -EINVAL);
	ck_assert_uint_eq(fake_kvm_nr_slots(h), 1);
	hyp_free(h);
	hyp_free(NULL);
}
END_TEST

START_TEST(test_fake_log_keeps_the_newest)
{
	struct hyp *h = fake_kvm_new();
	unsigned i, n;

	fake_kvm_init(h, 32);
	for (i = 0; i < 70000; i++)
		hyp_irq_line(h, i % 32, true);
	n = fake_kvm_calls(h);
	ck_assert_uint_eq(n, 65536);
	ck_assert_uint_eq(fake_kvm_call(h, n - 1).n, 69999 % 32);
	ck_assert_uint_eq(fake_kvm_call(h, 0).n, (70000 - 65536) % 32);
	hyp_free(h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fake_kvm");
	TCase *t = tcase_create("fake_kvm");

	tcase_add_test(t, test_fake_init_overwrites_table);
	tcase_add_test(t, test_fake_table_all_or_nothing);
	tcase_add_test(t, test_fake_routes_to_nowhere_lose);
	tcase_add_test(t, test_fake_unrouted_signal_consumed);
	tcase_add_test(t, test_fake_irqfd_errors);
	tcase_add_test(t, test_fake_detach_zeroes_what_attach_found);
	tcase_add_test(t, test_fake_complaints);
	tcase_add_test(t, test_fake_fails_on_demand_and_logs);
	tcase_add_test(t, test_fake_ioeventfds);
	tcase_add_test(t, test_fake_vm_and_memory);
	tcase_add_test(t, test_fake_log_keeps_the_newest);
	suite_add_tcase(s, t);
	return run_suite(s);
}
