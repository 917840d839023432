// SPDX-License-Identifier: BSD-3-Clause
/* sysdev and container: what a sysfs says, and where memory may lie. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/vfio/container.h"

static char sys[64];

static void put(const char *path, const char *text)
{
	char full[300];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", sys, path);
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void dir(const char *path)
{
	char cmd[400];

	snprintf(cmd, sizeof(cmd), "mkdir -p %s/%s", sys, path);
	ck_assert_int_eq(system(cmd), 0);
}

static void link_to(const char *path, const char *target)
{
	char full[300];

	snprintf(full, sizeof(full), "%s/%s", sys, path);
	ck_assert_int_eq(symlink(target, full), 0);
}

static void unlink_from(const char *path)
{
	char full[300];

	snprintf(full, sizeof(full), "%s/%s", sys, path);
	ck_assert_int_eq(unlink(full), 0);
}

static void setup(void)
{
	strcpy(sys, "/tmp/microvm-sysdev-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(sys));
	dir("bus/pci/devices/0000:00:01.0");
	dir("bus/pci/devices/0000:00:02.0");
	dir("bus/pci/devices/0000:00:03.0");
	dir("kernel/iommu_groups/17/devices");
}

static void teardown(void)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", sys);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(test_sysdev_lookup)
{
	struct sysdev d;

	ck_assert_int_eq(sysdev_lookup(sys, "0000:00:09.0", &d), -ENODEV);
	ck_assert_int_eq(sysdev_lookup(sys, "0000:00:01.0", &d), 0);
	ck_assert_str_eq(d.driver, "");
	ck_assert_int_eq(d.group, -1);
	ck_assert_uint_eq(d.mem64, 0);
	link_to("bus/pci/devices/0000:00:01.0/driver", "../../../bus/pci/drivers/nvme");
	link_to("bus/pci/devices/0000:00:01.0/iommu_group", "../../../kernel/iommu_groups/17");
	put("bus/pci/devices/0000:00:01.0/resource",
	    "0x0000008000000000 0x0000008000003fff 0x0000000000140204\n" /* 64-bit memory, 16 KiB */
	    "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
	    "0x0000000010000000 0x0000000010000fff 0x0000000000040200\n" /* of 32 bits */
	    "0x0000000000001000 0x000000000000107f 0x0000000000040101\n" /* ports */
	    "0x0000009000000000 0x00000093ffffffff 0x000000000014220c\n" /* 16 GiB, prefetchable */
	    "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
	    "0x0000a00000000000 0x0000a00000ffffff 0x0000000000140204\n"); /* the ROM's place and on: no BAR */
	ck_assert_int_eq(sysdev_lookup(sys, "0000:00:01.0", &d), 0);
	ck_assert_str_eq(d.driver, "nvme");
	ck_assert_int_eq(d.group, 17);
	ck_assert_uint_eq(d.mem64, 16 * KIB + 16 * GIB);
	put("bus/pci/devices/0000:00:02.0/resource", "garbage");
	link_to("bus/pci/devices/0000:00:02.0/iommu_group", "nonsense");
	ck_assert_int_eq(sysdev_lookup(sys, "0000:00:02.0", &d), 0);
	ck_assert_int_eq(d.group, -1);
	ck_assert_uint_eq(d.mem64, 0);
}
END_TEST

/* Its number would be that of another group. */
START_TEST(test_sysdev_group_that_is_no_number)
{
	static const char *const links[] = { "groups/17x", "groups/4294967313", "groups/-17", "groups/" };
	struct sysdev d;

	for (unsigned i = 0; i < ARRAY_LEN(links); i++) {
		link_to("bus/pci/devices/0000:00:01.0/iommu_group", links[i]);
		ck_assert_int_eq(sysdev_lookup(sys, "0000:00:01.0", &d), 0);
		ck_assert_msg(d.group == -1, "%s: %d", links[i], d.group);
		unlink_from("bus/pci/devices/0000:00:01.0/iommu_group");
	}
	link_to("bus/pci/devices/0000:00:01.0/iommu_group", "groups/2147483647");
	ck_assert_int_eq(sysdev_lookup(sys, "0000:00:01.0", &d), 0);
	ck_assert_int_eq(d.group, 2147483647);
}
END_TEST

START_TEST(test_sysdev_blockers_are_those_with_drivers)
{
	static const char *const drivers[] = { "nvme", "vfio-pci", "pcieport" };
	char buf[200], path[200];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "kernel/iommu_groups/17/devices/0000:00:0%u.0", i + 1);
		dir(path);
		strcat(path, "/driver");
		link_to(path, drivers[i]);
	}
	dir("kernel/iommu_groups/17/devices/0000:00:04.0");
	sysdev_blockers(sys, 17, buf, sizeof(buf));
	ck_assert_str_eq(buf, "0000:00:01.0 (nvme)");
	sysdev_blockers(sys, 18, buf, sizeof(buf));
	ck_assert_str_eq(buf, "");
	sysdev_blockers(sys, 17, buf, 6);
	ck_assert_str_eq(buf, "0000:");
	ck_assert(sysdev_is_vfio("vfio-pci") && sysdev_is_vfio("mlx5_vfio_pci") && !sysdev_is_vfio("nvme"));
}
END_TEST

START_TEST(test_sysdev_any_iommu)
{
	ck_assert(!sysdev_any_iommu(sys));
	dir("class/iommu");
	ck_assert(!sysdev_any_iommu(sys));
	dir("class/iommu/smmu3.0x09050000");
	ck_assert(sysdev_any_iommu(sys));
}
END_TEST

/* What an SMMUv3 says: all but the window of the doorbell. */
START_TEST(test_container_memory_keeps_clear_of_the_doorbell)
{
	static const struct iova_range smmu[] = { { 0, 0x07ffffff }, { 0x08100000, 0xffffffffffff } };
	uint64_t bad = 0;

	ck_assert(iova_usable(smmu, 2, 0x80000000, 4 * GIB, &bad));
	ck_assert(iova_usable(smmu, 2, 0, 0x08000000, &bad));
	ck_assert(iova_usable(smmu, 2, 0x08100000, MIB, &bad));
	ck_assert(!iova_usable(smmu, 2, 0x07f00000, 2 * MIB, &bad));
	ck_assert_uint_eq(bad, 0x08000000);
	ck_assert(!iova_usable(smmu, 2, 0x08000000, 4096, &bad));
	ck_assert_uint_eq(bad, 0x08000000);
	ck_assert(!iova_usable(smmu, 2, 0x080ff000, 8192, &bad));
	ck_assert_uint_eq(bad, 0x080ff000);
	ck_assert(!iova_usable(smmu, 2, 0xfffffffff000, 8192, &bad));
	ck_assert_uint_eq(bad, 0x1000000000000);
	ck_assert(!iova_usable(smmu, 0, 0x80000000, 4096, &bad));
}
END_TEST

START_TEST(test_container_refuses_what_is_not_there)
{
	struct container *c = NULL;
	struct err err = { "" };
	struct sysdev d;

	ck_assert_int_eq(container_admit(&c, "vfio0", "ffff:ff:1f.7", &d, &err), -ENODEV);
	ck_assert_ptr_nonnull(strstr(err.text, "vfio0: this host has no PCI device ffff:ff:1f.7"));
	ck_assert_ptr_null(c);
	container_free(c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sysdev");
	TCase *t = tcase_create("sysdev");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_sysdev_lookup);
	tcase_add_test(t, test_sysdev_group_that_is_no_number);
	tcase_add_test(t, test_sysdev_blockers_are_those_with_drivers);
	tcase_add_test(t, test_sysdev_any_iommu);
	tcase_add_test(t, test_container_memory_keeps_clear_of_the_doorbell);
	tcase_add_test(t, test_container_refuses_what_is_not_there);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
