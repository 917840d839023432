/* SPDX-License-Identifier: BSD-3-Clause */
/* pci/host: who answers an ECAM address; places in the window. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include <linux/pci_regs.h>

#include "devices/pci/host.h"

#define ECAM 0x3f000000
#define WIN 0x10000000
#define WIN_SIZE 0x10000

static struct bus *bus;
static struct pci_host *host;
static struct pci_dev fns[4];

static const struct bus_ops bar_ops;

static void setup(void)
{
	struct pci_host_cfg cfg = { .ecam = ECAM, .mem_base = WIN, .mem_size = WIN_SIZE };

	ck_assert_int_eq(bus_new(&bus), 0);
	ck_assert_int_eq(pci_host_new(bus, &cfg, &host), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct pci_ids ids = { .vendor = 0x1af4, .device = (uint16_t)(0x1000 + i) };

		pci_dev_init(&fns[i], &ids, NULL);
	}
}

static void teardown(void)
{
	for (unsigned i = 0; i < 4; i++)
		pci_dev_fini(&fns[i]);
	pci_host_free(host);
	bus_free(bus);
	pci_host_free(NULL);
}

static uint64_t rd(unsigned slot, unsigned fn, unsigned off, unsigned len)
{
	return bus_read(bus, ECAM + (slot << 15 | fn << 12 | off), len);
}

START_TEST(test_pci_host_absent_functions_all_ones)
{
	ck_assert_int_eq(pci_host_add(host, &fns[0], 1 << 3), 0);
	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned fn = 0; fn < 8; fn++) {
			uint32_t want = slot == 1 && fn == 0 ? 0x10001af4 : UINT32_MAX;

			ck_assert_uint_eq(rd(slot, fn, 0, 4), want);
			ck_assert_uint_eq(rd(slot, fn, 0, 2), want & 0xffff);
			bus_write(bus, ECAM + (slot << 15 | fn << 12 | PCI_COMMAND), 2, 0xffff);
		}
	ck_assert_uint_eq(bus_read(bus, ECAM + PCI_ECAM_SIZE - 4, 4), UINT32_MAX);
	ck_assert_uint_eq(bus_read(bus, ECAM + PCI_ECAM_SIZE, 4), UINT32_MAX);
}
END_TEST

START_TEST(test_pci_host_odd_accesses_all_ones)
{
	ck_assert_int_eq(pci_host_add(host, &fns[0], 0), 0);
	ck_assert_uint_eq(rd(0, 0, 0, 8), UINT64_MAX);
	ck_assert_uint_eq(rd(0, 0, 1, 2), 0xffff);
	ck_assert_uint_eq(rd(0, 0, 2, 4), UINT32_MAX);
	ck_assert_uint_eq(rd(0, 0, 0xffe, 4), UINT32_MAX); /* into the next function */
	bus_write(bus, ECAM + PCI_COMMAND, 8, UINT64_MAX);
	bus_write(bus, ECAM + PCI_COMMAND + 1, 2, 0xffff);
	ck_assert_uint_eq(rd(0, 0, PCI_COMMAND, 2), 0);
	ck_assert_uint_eq(rd(0, 0, 0x100, 4), 0); /* no extended capabilities */
	ck_assert_uint_eq(rd(0, 0, 0xffc, 4), 0);
}
END_TEST

START_TEST(test_pci_host_multifunction_bit)
{
	ck_assert_int_eq(pci_host_add(host, &fns[1], 5 << 3 | 2), 0);
	ck_assert_int_eq(pci_host_add(host, &fns[0], 5 << 3), 0);
	ck_assert_uint_eq(rd(5, 0, PCI_HEADER_TYPE, 1), 0x80);
	ck_assert_int_eq(pci_host_add(host, &fns[2], 6 << 3), 0);
	ck_assert_uint_eq(rd(6, 0, PCI_HEADER_TYPE, 1), 0);
	ck_assert_int_eq(pci_host_add(host, &fns[3], 6 << 3 | 7), 0);
	ck_assert_uint_eq(rd(6, 0, PCI_HEADER_TYPE, 1), 0x80);
}
END_TEST

START_TEST(test_pci_host_add_twice_refused)
{
	ck_assert_int_eq(pci_host_add(host, &fns[0], 255), 0);
	ck_assert_int_eq(pci_host_add(host, &fns[1], 255), -EEXIST);
	ck_assert_int_eq(pci_host_add(host, &fns[1], 256), -EINVAL);
	ck_assert_int_eq(pci_host_add(host, &fns[1], 0xffff), -EINVAL);
	ck_assert_uint_eq(rd(31, 7, 0, 2), 0x1af4);
}
END_TEST

START_TEST(test_pci_host_places)
{
	struct pci_bar a = { .size = 0x1000, .ops = &bar_ops, .ctx = &a }, b = { .size = 0x4000, .ops = &bar_ops, .ctx = &b };

	ck_assert_int_eq(pci_host_map_bar(host, &a, WIN - 0x1000), -EINVAL);
	ck_assert_int_eq(pci_host_map_bar(host, &a, WIN + WIN_SIZE), -EINVAL);
	ck_assert_int_eq(pci_host_map_bar(host, &b, WIN + WIN_SIZE - 0x1000), -EINVAL);
	ck_assert_int_eq(pci_host_map_bar(host, &b, UINT64_MAX - 0xfff), -EINVAL);
	ck_assert(!a.mapped && !b.mapped);
	ck_assert_int_eq(pci_host_map_bar(host, &a, WIN + 0x3000), 0);
	ck_assert_int_eq(pci_host_map_bar(host, &b, WIN), -EEXIST);
	ck_assert_int_eq(pci_host_map_bar(host, &b, WIN + 0x3000), -EEXIST);
	ck_assert_int_eq(pci_host_map_bar(host, &b, WIN + 0x4000), 0);
	pci_host_unmap_bar(host, &a);
	pci_host_unmap_bar(host, &a);
	pci_host_unmap_bar(host, &b);
	ck_assert(!a.mapped && !b.mapped);
	ck_assert_int_eq(pci_host_map_bar(host, &b, WIN), 0);
	pci_host_unmap_bar(host, &b);
}
END_TEST

/* Something else of the machine stands in the window: the bus refuses, the BAR stays nowhere. */
START_TEST(test_pci_host_bus_taken)
{
	struct pci_bar a = { .size = 0x1000, .ops = &bar_ops, .ctx = &a };
	int x;

	ck_assert_int_eq(bus_add(bus, WIN + 0x800, 0x10, &bar_ops, &x), 0);
	ck_assert_int_eq(pci_host_map_bar(host, &a, WIN), -EEXIST);
	ck_assert(!a.mapped);
	ck_assert_int_eq(bus_del(bus, WIN + 0x800, &x), 0);
	ck_assert_int_eq(pci_host_map_bar(host, &a, WIN), 0);
	pci_host_unmap_bar(host, &a);
}
END_TEST

START_TEST(test_pci_host_new_on_taken_place)
{
	struct pci_host_cfg cfg = { .ecam = ECAM + 0x1000, .mem_base = WIN, .mem_size = WIN_SIZE };
	struct pci_host *h = NULL;

	ck_assert_int_eq(pci_host_new(bus, &cfg, &h), -EEXIST);
	ck_assert_ptr_null(h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci_host");
	TCase *t = tcase_create("pci_host");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_pci_host_absent_functions_all_ones);
	tcase_add_test(t, test_pci_host_odd_accesses_all_ones);
	tcase_add_test(t, test_pci_host_multifunction_bit);
	tcase_add_test(t, test_pci_host_add_twice_refused);
	tcase_add_test(t, test_pci_host_places);
	tcase_add_test(t, test_pci_host_bus_taken);
	tcase_add_test(t, test_pci_host_new_on_taken_place);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
