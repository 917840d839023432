// SPDX-License-Identifier: BSD-3-Clause
#include "devices/pci/msix.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/fake/sparse.h"
#include "tests/unit/msix_driver.h"

static void end(struct rig *r, struct msix *m)
{
	irq_check(r);
	msix_free(m);
	rig_free(r);
}

/* Registers */

START_TEST(test_msix_reset_state)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 3, 3);
	unsigned v;

	for (v = 0; v < 3; v++) {
		ck_assert_uint_eq(msix_table_read(m, v * 16, 8), 0);
		ck_assert_uint_eq(msix_table_read(m, v * 16 + 8, 8), BIT64(32));
		ck_assert_uint_eq(msix_vector(m, v), MSIX_NO_VECTOR);
	}
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 0);
	ck_assert(!msix_stale(m));
	ck_assert_int_eq(msix_sync(m), 0);
	ck_assert_uint_eq(rig_tables(&r), 0);
	end(&r, m);
	msix_free(NULL);
}
END_TEST

START_TEST(test_msix_table_access_sizes)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 2, 1);
	uint64_t off;
	unsigned len;

	msix_table_write(m, 16, 8, 0x1122334455667788);
	ck_assert_uint_eq(msix_table_read(m, 16, 4), 0x55667788);
	ck_assert_uint_eq(msix_table_read(m, 20, 4), 0x11223344);
	msix_table_write(m, 20, 4, 0xaabbccdd);
	ck_assert_uint_eq(msix_table_read(m, 16, 8), 0xaabbccdd55667788);
	/* Only the mask bit of Vector Control exists. */
	msix_table_write(m, 28, 4, 0xfffffffe);
	ck_assert_uint_eq(msix_table_read(m, 28, 4), 0);
	msix_table_write(m, 24, 8, 0xffffffff12345678);
	ck_assert_uint_eq(msix_table_read(m, 24, 8), 0x0000000112345678);

	for (off = 0; off < 48; off++)
		for (len = 0; len <= 16; len++) {
			if ((len == 4 || len == 8) && off % len == 0 && off + len <= 32)
				continue;
			ck_assert_uint_eq(msix_table_read(m, off, len), width_mask(len));
			msix_table_write(m, off, len, UINT64_MAX);
		}
	ck_assert_uint_eq(msix_table_read(m, UINT64_MAX - 3, 4), UINT32_MAX);
	ck_assert_uint_eq(msix_table_read(m, UINT64_MAX - 7, 8), UINT64_MAX);
	msix_table_write(m, UINT64_MAX - 7, 8, 0);
	ck_assert_uint_eq(msix_table_read(m, 0, 8), 0);
	ck_assert_uint_eq(msix_table_read(m, 8, 8), BIT64(32));
	ck_assert_uint_eq(msix_table_read(m, 16, 8), 0xaabbccdd55667788);
	ck_assert_uint_eq(msix_table_read(m, 24, 8), 0x0000000112345678);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_pba_access_sizes)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 70, 70);
	unsigned i;

	msix_ctrl_write(m, CTRL_ENABLE);
	for (i = 0; i < 70; i++)
		set_vector(m, i, (uint16_t)i);
	msix_raise(m, 0);
	msix_raise(m, 31);
	msix_raise(m, 32);
	msix_raise(m, 63);
	msix_raise(m, 69);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), BIT64(63) | BIT64(32) | BIT64(31) | 1);
	ck_assert_uint_eq(msix_pba_read(m, 0, 4), BIT64(31) | 1);
	ck_assert_uint_eq(msix_pba_read(m, 4, 4), BIT64(31) | 1);
	ck_assert_uint_eq(msix_pba_read(m, 8, 8), BIT64(5));
	ck_assert_uint_eq(msix_pba_read(m, 12, 4), 0);
	ck_assert_uint_eq(msix_pba_read(m, 16, 8), UINT64_MAX);
	ck_assert_uint_eq(msix_pba_read(m, 0, 2), 0xffff);
	ck_assert_uint_eq(msix_pba_read(m, 4, 8), UINT64_MAX);
	ck_assert_uint_eq(msix_pba_read(m, UINT64_MAX - 7, 8), UINT64_MAX);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_bind_unknown_vector_is_none)
{
	static const uint16_t bad[] = { 2, 3, 0x7ff, 0xfffe, 0xffff };
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	unsigned i;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_uint_eq(msix_bind(m, 0, bad[i]), MSIX_NO_VECTOR);
		ck_assert_uint_eq(msix_vector(m, 0), MSIX_NO_VECTOR);
		settle(m);
		ck_assert(!fake_kvm_attached(r.hyp, msix_fd(m, 0), NULL));
	}
	end(&r, m);
}
END_TEST

START_TEST(test_msix_no_such_source_asserts)
{
	struct rig r = rig_new();

	msix_raise(msix_ready(&r), 2);
}
END_TEST

START_TEST(test_msix_new_without_descriptors_emfile)
{
	struct rig r = rig_new();
	const struct msix_cfg cfg = { .space = r.space, .name = "net0", .nvec = 3, .nsources = 3 };
	struct famine famine;
	struct msix *m = NULL;

	famine_begin(&famine, 2);
	ck_assert_int_eq(msix_new(&cfg, &m), -EMFILE);
	famine_end(&famine);
	ck_assert_ptr_null(m);
	rig_free(&r);
}
END_TEST

/* Delivery */

START_TEST(test_msix_unmasked_signal_is_delivered)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	const uint64_t one = 1;

	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 0), 1);
	ck_assert_int_eq(write(msix_fd(m, 1), &one, sizeof(one)), sizeof(one));
	ck_assert_uint_eq(events(&r, 1), 1);
	ck_assert_uint_eq(events(&r, 0), 1);
	ck_assert_uint_eq(fake_kvm_route(r.hyp, FAKE_NR_SPIS).devid, RIG_DEVID);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 0);
	end(&r, m);
}
END_TEST

/* By the entry's mask, the function's, or both, undone in either order */
START_TEST(test_msix_masked_signal_is_pending_then_delivered_once)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	const bool entry = _i & 1, function = _i & 2, bus = _i & 4, entry_first = _i & 8;
	const uint64_t tables = rig_tables(&r);
	unsigned i;

	if (entry)
		set_mask(m, 1, true);
	if (function)
		set_ctrl(m, CTRL_ENABLE | CTRL_MASKALL);
	if (bus) {
		msix_set_bus_master(m, false);
		settle(m);
	}
	for (i = 0; i < 3; i++)
		msix_raise(m, 1);
	ck_assert_uint_eq(events(&r, 1), 0);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 2);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 2);
	if (entry && entry_first)
		set_mask(m, 1, false);
	if (function) {
		ck_assert_uint_eq(events(&r, 1), 0);
		set_ctrl(m, CTRL_ENABLE);
	}
	if (bus) {
		ck_assert_uint_eq(events(&r, 1), 0);
		msix_set_bus_master(m, true);
		settle(m);
	}
	if (entry && !entry_first) {
		ck_assert_uint_eq(events(&r, 1), 0);
		set_mask(m, 1, false);
	}
	ck_assert_uint_eq(events(&r, 1), 1);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 0);
	ck_assert_uint_eq(rig_tables(&r), tables);
	msix_raise(m, 1);
	ck_assert_uint_eq(events(&r, 1), 2);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_disabled_signal_goes_nowhere)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);

	/* Pending by a mask, then disabled. */
	set_mask(m, 0, true);
	msix_raise(m, 0);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 1);
	set_ctrl(m, 0);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 0);
	msix_raise(m, 0);
	msix_raise(m, 1);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 0);
	set_mask(m, 0, false);
	set_ctrl(m, CTRL_ENABLE);
	ck_assert_uint_eq(events(&r, 0), 0);
	ck_assert_uint_eq(events(&r, 1), 0);
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 0), 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_shared_vector)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 2, 5);
	unsigned i;

	set_ctrl(m, CTRL_ENABLE);
	set_message(m, 1, FAKE_TRANSLATER, 9);
	for (i = 0; i < 5; i++)
		set_vector(m, i, 1);
	set_mask(m, 1, false);
	ck_assert_uint_eq(rig_stats(&r).msi_routes, 1);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 5);
	for (i = 0; i < 5; i++) {
		msix_raise(m, i);
		ck_assert_uint_eq(events(&r, 9), i + 1);
	}
	set_mask(m, 1, true);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 0);
	msix_raise(m, 0);
	msix_raise(m, 4);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 2);
	/* One of those that wait goes away, and takes its signal along. */
	ck_assert_uint_eq(msix_bind(m, 4, MSIX_NO_VECTOR), MSIX_NO_VECTOR);
	ck_assert_uint_eq(events(&r, 9), 5);
	set_mask(m, 1, false);
	ck_assert_uint_eq(events(&r, 9), 6);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 4);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_bind_before_and_after_unmask)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 2, 2);

	set_ctrl(m, CTRL_ENABLE);
	set_message(m, 0, FAKE_TRANSLATER, 0);
	set_message(m, 1, FAKE_TRANSLATER, 1);
	set_mask(m, 0, false);
	/* Nobody to deliver for: no table yet, and no call to the loop. */
	ck_assert_uint_eq(rig_tables(&r), 0);
	set_vector(m, 0, 0);
	ck_assert_uint_eq(rig_tables(&r), 1);
	set_vector(m, 1, 1);
	msix_raise(m, 1);
	ck_assert_uint_eq(events(&r, 1), 0);
	set_mask(m, 1, false);
	ck_assert_uint_eq(events(&r, 1), 1);
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 0), 1);
	ck_assert_uint_eq(rig_tables(&r), 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_signal_follows_to_another_vector)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);

	set_vector(m, 1, MSIX_NO_VECTOR);
	set_mask(m, 0, true);
	msix_raise(m, 0);
	set_vector(m, 0, 1);
	ck_assert_uint_eq(events(&r, 1), 1);
	ck_assert_uint_eq(events(&r, 0), 0);
	/* And while attached: moved without a word from the table. */
	set_mask(m, 0, false);
	set_vector(m, 0, 0);
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 0), 1);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_unbound_signal_dropped)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);

	set_vector(m, 0, MSIX_NO_VECTOR);
	msix_raise(m, 0);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 0);
	set_vector(m, 0, 0);
	ck_assert_uint_eq(events(&r, 0), 0);
	/* To none and back before anybody looked: as if nothing had happened. */
	ck_assert_uint_eq(msix_bind(m, 0, MSIX_NO_VECTOR), MSIX_NO_VECTOR);
	ck_assert(msix_stale(m));
	ck_assert_uint_eq(msix_bind(m, 0, 0), 0);
	ck_assert(!msix_stale(m));
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 0), 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_message_rewritten_while_unmasked)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);

	msix_table_write(m, 8, 4, 77);
	ck_assert(msix_stale(m));
	settle(m);
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 77), 1);
	ck_assert_uint_eq(events(&r, 0), 0);
	/* Undeliverable: the signal waits. */
	msix_table_write(m, 0, 4, 0);
	settle(m);
	ck_assert(!fake_kvm_attached(r.hyp, msix_fd(m, 0), NULL));
	msix_raise(m, 0);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 1);
	msix_table_write(m, 0, 4, FAKE_TRANSLATER);
	settle(m);
	ck_assert_uint_eq(events(&r, 77), 2);
	/* The other vector went on all the time. */
	msix_raise(m, 1);
	ck_assert_uint_eq(events(&r, 1), 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_eight_byte_write_takes_data_before_mask)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 1, 1);

	set_ctrl(m, CTRL_ENABLE);
	set_vector(m, 0, 0);
	msix_table_write(m, 0, 8, FAKE_TRANSLATER);
	msix_table_write(m, 8, 8, 55);
	settle(m);
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 55), 1);
	ck_assert_uint_eq(rig_tables(&r), 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_unbind_all_keeps_table)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);

	set_mask(m, 1, true);
	msix_raise(m, 1);
	msix_unbind_all(m);
	settle(m);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 0);
	ck_assert_uint_eq(msix_vector(m, 0), MSIX_NO_VECTOR);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 0);
	ck_assert_uint_eq(msix_table_read(m, 0, 8), FAKE_TRANSLATER);
	ck_assert_uint_eq(msix_table_read(m, 8, 8), 0);
	set_vector(m, 0, 0);
	set_vector(m, 1, 1);
	set_mask(m, 1, false);
	ck_assert_uint_eq(events(&r, 1), 0);
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 0), 1);
	ck_assert_uint_eq(rig_tables(&r), 1);
	end(&r, m);
}
END_TEST

/* Tables: how many */

START_TEST(test_msix_linux_probe_one_table)
{
	static const unsigned sizes[] = { 1, 3, 17, 64, 256 };
	const unsigned n = sizes[_i];
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, n, n);
	unsigned v;

	linux_probe(m, n);
	ck_assert_uint_eq(rig_tables(&r), 1);
	ck_assert_uint_eq(rig_stats(&r).msi_routes, n);
	ck_assert_uint_eq(rig_stats(&r).irqfds, n);
	for (v = 0; v < n; v++) {
		msix_raise(m, v);
		ck_assert_uint_eq(events(&r, (v + 1) % n), 1);
	}
	end(&r, m);
}
END_TEST

START_TEST(test_msix_mask_storm_no_table)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	unsigned i;

	for (i = 0; i < 20000 / SPARSE; i++) {
		set_mask(m, i & 1, true);
		set_ctrl(m, CTRL_ENABLE | (i & 2 ? CTRL_MASKALL : 0));
		set_mask(m, i & 1, false);
		set_ctrl(m, CTRL_ENABLE);
	}
	ck_assert_uint_eq(rig_tables(&r), 1);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 2);
	end(&r, m);
}
END_TEST

/* A thousand unbinds and binds: the same GSIs, irqfds and descriptors, the table at its size. */
START_TEST(test_msix_linux_rebind_constant)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 3, 3);
	unsigned i, fds, v;

	linux_probe(m, 3);
	fds = open_fds();
	for (i = 0; i < 1000; i++) {
		linux_unbind(m, 3);
		ck_assert_uint_eq(rig_stats(&r).irqfds, 0);
		for (v = 0; v < 3; v++)
			msix_raise(m, v);
		linux_probe(m, 3);
		ck_assert_uint_eq(rig_stats(&r).irqfds, 3);
		ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 3);
	}
	ck_assert_uint_eq(rig_tables(&r), 1);
	ck_assert_uint_eq(open_fds(), fds);
	ck_assert_uint_eq(fake_kvm_injected(r.hyp), 0);
	msix_raise(m, 0);
	ck_assert_uint_eq(events(&r, 1), 1);
	end(&r, m);
}
END_TEST

/* While it is unbound another device has a reason to commit: the rebind takes one table again, not three. */
START_TEST(test_msix_rebind_after_entries_left)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 3, 3);
	struct msi_route *other;
	unsigned i;

	linux_probe(m, 3);
	linux_unbind(m, 3);
	/* Zeroed messages are noticed with the next sync of their own device. */
	set_ctrl(m, CTRL_ENABLE);
	set_message(m, 2, FAKE_TRANSLATER, 2);
	set_mask(m, 2, false);
	set_vector(m, 1, 2);
	ck_assert_uint_eq(rig_tables(&r), 1);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(msi_route_new(r.space, RIG_DEVID + 1, "o", &other), 0);
		ck_assert_int_eq(msi_route_stage(other, FAKE_TRANSLATER, i), 0);
		ck_assert_int_eq(gsi_commit(r.space), 0);
		msi_route_free(other);
	}
	ck_assert_int_eq(gsi_commit(r.space), 0);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 1);
	ck_assert_uint_eq(rig_tables(&r), 4);
	linux_unbind(m, 3);
	linux_probe(m, 3);
	ck_assert_uint_eq(rig_tables(&r), 5);
	ck_assert_uint_eq(fake_kvm_nr_routes(r.hyp), FAKE_NR_SPIS + 3);
	end(&r, m);
}
END_TEST

/* Failures */

/* Failing tables, seen from the device */
START_TEST(test_msix_failed_commit_is_masked_and_heals)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);

	msix_table_write(m, 8, 4, 99);
	fake_kvm_fail(r.hyp, FAKE_SET_ROUTES, 1, -ENOMEM);
	ck_assert_int_eq(msix_sync(m), -ENOMEM);
	ck_assert(msix_stale(m));
	irq_check(&r);
	msix_raise(m, 0);
	msix_raise(m, 1);
	ck_assert_uint_eq(events(&r, 0), 0);
	ck_assert_uint_eq(events(&r, 1), 1);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 1);
	ck_assert_int_eq(msix_sync(m), 0);
	ck_assert(!msix_stale(m));
	ck_assert_uint_eq(events(&r, 99), 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_failed_attach_is_masked_and_heals)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);

	set_ctrl(m, CTRL_ENABLE | CTRL_MASKALL);
	msix_raise(m, 0);
	msix_ctrl_write(m, CTRL_ENABLE);
	fake_kvm_fail(r.hyp, FAKE_IRQFD_ATTACH, 1, -ENOMEM);
	ck_assert_int_eq(msix_sync(m), -ENOMEM);
	ck_assert(msix_stale(m));
	/* The other one is not held up. */
	ck_assert_uint_eq(rig_stats(&r).irqfds, 1);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 1);
	ck_assert_int_eq(msix_sync(m), 0);
	ck_assert_uint_eq(events(&r, 0), 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_out_of_gsis)
{
	struct rig r = rig_new();
	struct msi_route *hog[FAKE_KVM_MAX_GSI];
	struct msix *m = msix_make(&r, 3, 3);
	unsigned n, i;

	for (n = 0; !msi_route_new(r.space, RIG_DEVID, "hog", &hog[n]); n++)
		;
	msi_route_free(hog[--n]);
	set_ctrl(m, CTRL_ENABLE);
	for (i = 0; i < 3; i++) {
		msix_table_write(m, i * 16, 8, FAKE_TRANSLATER);
		msix_table_write(m, i * 16 + 8, 8, i);
		msix_bind(m, i, (uint16_t)i);
		msix_raise(m, i);
	}
	ck_assert_int_eq(msix_sync(m), -ENOSPC);
	ck_assert_uint_eq(rig_stats(&r).irqfds, 1);
	ck_assert_uint_eq(events(&r, 0), 1);
	ck_assert_uint_eq(events(&r, 1), 0);
	ck_assert_uint_eq(msix_pba_read(m, 0, 8), 6);
	while (n)
		msi_route_free(hog[--n]);
	ck_assert_int_eq(msix_sync(m), 0);
	ck_assert_uint_eq(events(&r, 2), 1);
	end(&r, m);
}
END_TEST

START_TEST(test_msix_before_start_and_without_its)
{
	struct gsi_cfg cfg = { .nr_spis = 32, .max_routes = 4096, .model = MSI_ITS,
			       .doorbell = FAKE_ITS_BASE, .doorbell_size = FAKE_ITS_SIZE };
	struct rig r = { .hyp = fake_kvm_new() };
	struct msix *m;
	unsigned i;

	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(gsi_space_new(&cfg, r.hyp, &r.space), 0);
		m = msix_make(&r, 1, 1);
		msix_ctrl_write(m, CTRL_ENABLE);
		msix_table_write(m, 0, 8, FAKE_TRANSLATER);
		msix_table_write(m, 8, 8, 1);
		msix_bind(m, 0, 0);
		ck_assert(msix_stale(m) == (cfg.model == MSI_ITS));
		ck_assert_int_eq(msix_sync(m), cfg.model == MSI_ITS ? -EAGAIN : 0);
		ck_assert_uint_eq(fake_kvm_calls(r.hyp), 0);
		msix_free(m);
		gsi_space_free(r.space);
		cfg.model = MSI_NONE;
	}
	hyp_free(r.hyp);
}
END_TEST

/* The dump */

static char *dump_of(struct rig *r)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	gsi_dump(r->space, f);
	fclose(f);
	return text;
}

/* The line of @source is @name, its eventfd, @way. */
static void expect_way(struct rig *r, struct msix *m, unsigned source, const char *name, const char *way)
{
	char *text = dump_of(r), want[200];

	snprintf(want, sizeof(want), "%s -> eventfd %d -> %s\n", name, msix_fd(m, source), way);
	ck_assert_msg(strstr(text, want) != NULL, "no '%s' in:\n%s", want, text);
	free(text);
}

START_TEST(test_msix_ways_in_dump)
{
	struct rig r = rig_new();
	struct msix *m = msix_make(&r, 3, 5);
	unsigned i;

	msix_name_source(m, 0, "rx0");
	msix_name_source(m, 1, "tx0");
	msix_name_source(m, 3, "a name of twenty bytes");
	set_ctrl(m, CTRL_ENABLE);
	set_message(m, 0, FAKE_TRANSLATER, 0);
	set_message(m, 1, FAKE_TRANSLATER, 1);
	set_message(m, 2, FAKE_TRANSLATER, 2);
	for (i = 0; i < 3; i++)
		set_vector(m, i, 0);
	set_vector(m, 3, 1);
	set_mask(m, 0, false);
	for (i = 0; i < 4210; i++)
		msix_raise(m, 0);
	msix_raise(m, 1);
	msix_raise(m, 3);
	expect_way(&r, m, 0, "net0 rx0", "GSI 64 -> MSI 0x08090040 data 0 devid 0x8 -> ITS, unmasked, 4,210 signals");
	expect_way(&r, m, 1, "net0 tx0", "GSI 64 -> MSI 0x08090040 data 0 devid 0x8 -> ITS, unmasked, 1 signal");
	expect_way(&r, m, 2, "net0 source 2", "GSI 64 -> MSI 0x08090040 data 0 devid 0x8 -> ITS, unmasked, 0 signals");
	expect_way(&r, m, 3, "net0 a name of twent",
		   "GSI 65 -> MSI 0x08090040 data 1 devid 0x8 -> ITS, masked, 1 signal, one waits");
	expect_way(&r, m, 4, "net0 source 4", "no vector, 0 signals");
	/* What the kernel is handed it signals past us. */
	ck_assert_int_eq(msix_lend(m, 2), msix_fd(m, 2));
	expect_way(&r, m, 2, "net0 source 2", "GSI 64 -> MSI 0x08090040 data 0 devid 0x8 -> ITS, unmasked, signals from the kernel");
	msix_raise(m, 2);
	expect_way(&r, m, 2, "net0 source 2",
		   "GSI 64 -> MSI 0x08090040 data 0 devid 0x8 -> ITS, unmasked, 1 signal of ours, others from the kernel");
	end(&r, m);
}
END_TEST

START_TEST(test_msix_counters_in_dump)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	char *text;

	/* The first unmask brings nothing back. */
	ck_assert_uint_eq(rig_stats(&r).unmasks, 0);
	set_mask(m, 0, true);
	set_mask(m, 0, false);
	ck_assert_uint_eq(rig_stats(&r).masks, 1);
	ck_assert_uint_eq(rig_stats(&r).unmasks, 1);
	ck_assert_uint_eq(rig_stats(&r).replays, 0);
	set_ctrl(m, CTRL_ENABLE | CTRL_MASKALL);
	msix_raise(m, 0);
	msix_raise(m, 0);
	set_ctrl(m, CTRL_ENABLE);
	ck_assert_uint_eq(rig_stats(&r).masks, 3);
	ck_assert_uint_eq(rig_stats(&r).unmasks, 3);
	ck_assert_uint_eq(rig_stats(&r).replays, 1);
	/* A kernel's signal is found where it waits. */
	msix_lend(m, 1);
	set_mask(m, 1, true);
	irqfd_raise(&(struct irqfd){ .fd = msix_fd(m, 1) });
	set_mask(m, 1, false);
	ck_assert_uint_eq(rig_stats(&r).replays, 2);
	/* Another message is no mask, nor is an end. */
	set_message(m, 1, FAKE_TRANSLATER, 9);
	msix_unbind_all(m);
	settle(m);
	set_vector(m, 0, 0);
	text = dump_of(&r);
	ck_assert_ptr_nonnull(strstr(text, "\nmasks 4, unmasks 4, replays 2\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nns a commit: last "));
	free(text);
	end(&r, m);
}
END_TEST

/* A device signals while the guest masks and unmasks */

#define RACE_TURNS 20000

struct race {
	struct msix *m;
	atomic_bool stop;
	atomic_uint raised;
};

static void *race_thread(void *arg)
{
	struct race *race = arg;

	while (!atomic_load(&race->stop)) {
		msix_raise(race->m, 0);
		atomic_fetch_add(&race->raised, 1);
	}
	return NULL;
}

START_TEST(test_msix_race_of_signals_and_masks)
{
	struct rig r = rig_new();
	struct msix *m = msix_ready(&r);
	struct race race = { .m = m };
	pthread_t thread;
	uint64_t before;
	unsigned i;

	fake_kvm_start_thread(r.hyp);
	ck_assert_int_eq(pthread_create(&thread, NULL, race_thread, &race), 0);
	for (i = 0; i < RACE_TURNS / 20; i++) {
		set_mask(m, 0, true);
		before = fake_kvm_injected(r.hyp);
		msix_pba_read(m, 0, 8);
		/* V5, whatever the thread does meanwhile */
		ck_assert_uint_eq(fake_kvm_injected(r.hyp), before);
		set_mask(m, 0, false);
	}
	/* V6: with a signal for certain, and nobody else to give one */
	atomic_store(&race.stop, true);
	pthread_join(thread, NULL);
	for (i = 0; i < RACE_TURNS / 20; i++) {
		set_mask(m, 0, true);
		before = fake_kvm_msis(r.hyp, RIG_DEVID, 0);
		msix_raise(m, 0);
		ck_assert_uint_eq(msix_pba_read(m, 0, 8), 1);
		set_mask(m, 0, false);
		ck_assert_uint_eq(events(&r, 0), before + 1);
		ck_assert_uint_eq(msix_pba_read(m, 0, 8), 0);
	}
	fake_kvm_stop_thread(r.hyp);
	ck_assert_uint_gt(atomic_load(&race.raised), 0);
	ck_assert_uint_eq(rig_tables(&r), 1);
	end(&r, m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("msix");
	TCase *t = tcase_create("msix");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_msix_reset_state);
	tcase_add_test(t, test_msix_table_access_sizes);
	tcase_add_test(t, test_msix_pba_access_sizes);
	tcase_add_test(t, test_msix_bind_unknown_vector_is_none);
	tcase_add_test_raise_signal(t, test_msix_no_such_source_asserts, SIGABRT);
	tcase_add_test(t, test_msix_new_without_descriptors_emfile);
	tcase_add_test(t, test_msix_unmasked_signal_is_delivered);
	tcase_add_loop_test(t, test_msix_masked_signal_is_pending_then_delivered_once, 1, 8);
	tcase_add_loop_test(t, test_msix_masked_signal_is_pending_then_delivered_once, 9, 16);
	tcase_add_test(t, test_msix_disabled_signal_goes_nowhere);
	tcase_add_test(t, test_msix_shared_vector);
	tcase_add_test(t, test_msix_bind_before_and_after_unmask);
	tcase_add_test(t, test_msix_signal_follows_to_another_vector);
	tcase_add_test(t, test_msix_unbound_signal_dropped);
	tcase_add_test(t, test_msix_message_rewritten_while_unmasked);
	tcase_add_test(t, test_msix_eight_byte_write_takes_data_before_mask);
	tcase_add_test(t, test_msix_unbind_all_keeps_table);
	tcase_add_loop_test(t, test_msix_linux_probe_one_table, 0, 5);
	tcase_add_test(t, test_msix_mask_storm_no_table);
	tcase_add_test(t, test_msix_linux_rebind_constant);
	tcase_add_test(t, test_msix_rebind_after_entries_left);
	tcase_add_test(t, test_msix_failed_commit_is_masked_and_heals);
	tcase_add_test(t, test_msix_failed_attach_is_masked_and_heals);
	tcase_add_test(t, test_msix_out_of_gsis);
	tcase_add_test(t, test_msix_before_start_and_without_its);
	tcase_add_test(t, test_msix_ways_in_dump);
	tcase_add_test(t, test_msix_counters_in_dump);
	tcase_add_test(t, test_msix_race_of_signals_and_masks);
	suite_add_tcase(s, t);
	return run_suite(s);
}
