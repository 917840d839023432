// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/arm64/fdt.h"
#include "arch/arm64/image.h"
#include "arch/arm64/layout.h"
#include "devices/pci/host.h"

static uint8_t blob[BOOT_DTB_MAX];
static size_t blob_len;
static uint64_t mpidr[512];
static struct fdt_vmmio vmmio[64];
static char long_cmdline[2048];
static uint8_t seed[64];

static struct fdt_desc desc(unsigned cpus, unsigned nr_vmmio, bool its, bool pci)
{
	struct fdt_desc d = {
		.cmdline = "console=hvc0", .ram = LAYOUT_RAM, .ram_size = 256 * MIB - 64 * KIB,
		.mpidr = mpidr, .nr_cpus = cpus, .has_its = its, .gicd = LAYOUT_GICD, .gicr = LAYOUT_GICR,
		.its = LAYOUT_ITS, .has_pci = pci, .ecam = LAYOUT_ECAM, .pci_mem = LAYOUT_PCI_MEM,
		.pci_mem_size = LAYOUT_PCI_MEM_SIZE, .vmmio = vmmio, .nr_vmmio = nr_vmmio,
		.msi_devid_base = pci_msi_devid(0),
	};

	/* As KVM numbers them: 16 CPUs to a cluster. */
	for (unsigned i = 0; i < 512; i++)
		mpidr[i] = (i & 15) | (uint64_t)(i >> 4 & 255) << 8;
	for (unsigned i = 0; i < 64; i++)
		vmmio[i] = (struct fdt_vmmio){ .gpa = LAYOUT_VMMIO + i * LAYOUT_VMMIO_STEP,
					       .spi = LAYOUT_SPI_VMMIO + i };
	return d;
}

static struct fdt_desc v2_desc(unsigned cpus)
{
	struct fdt_desc d = desc(cpus, 2, false, true);

	d.gicv2 = true;
	d.gicc = LAYOUT_GICC;
	d.v2m = LAYOUT_V2M;
	d.v2m_spi = LAYOUT_SPI_V2M;
	d.v2m_count = 64;
	return d;
}

static void build(const struct fdt_desc *d)
{
	ck_assert_int_eq(fdt_build(d, blob, sizeof(blob), &blob_len), 0);
	ck_assert_int_eq(fdt_check_full(blob, blob_len), 0);
}

static int node(const char *path)
{
	return fdt_path_offset(blob, path);
}

static int need(const char *path)
{
	int off = node(path);

	ck_assert_msg(off >= 0, "no node %s", path);
	return off;
}

/* Cell @i of a property that has exactly @n. */
static uint32_t cell(int off, const char *name, int n, int i)
{
	int len;
	const fdt32_t *p = fdt_getprop(blob, off, name, &len);

	ck_assert_msg(p, "no property %s", name);
	ck_assert_int_eq(len, n * 4);
	return fdt32_to_cpu(p[i]);
}

static uint64_t cell2(int off, const char *name, int n, int i)
{
	return (uint64_t)cell(off, name, n, i) << 32 | cell(off, name, n, i + 1);
}

static bool has_flag(int off, const char *name)
{
	return fdt_getprop(blob, off, name, NULL);
}

static void check_reference(int off, const char *name, int n, int i)
{
	ck_assert_int_ge(fdt_node_offset_by_phandle(blob, cell(off, name, n, i)), 0);
}

/* dtc's own checks, where there is a dtc. */
static void check_with_dtc(void)
{
	char path[] = "/tmp/microvm-fdt-XXXXXX", cmd[128], line[256] = "";
	int fd = mkstemp(path);
	FILE *p;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, blob, blob_len), (ssize_t)blob_len);
	close(fd);
	snprintf(cmd, sizeof(cmd), "dtc -I dtb -O dts -o /dev/null %s 2>&1", path);
	p = popen(cmd, "r");
	ck_assert_ptr_nonnull(p);
	if (!fgets(line, sizeof(line), p))
		line[0] = 0;
	ck_assert_int_eq(pclose(p), 0);
	unlink(path);
	ck_assert_msg(!line[0], "dtc: %s", line);
}

START_TEST(test_fdt_dtc_has_no_complaint)
{
	static const struct { unsigned cpus, vmmio; bool its, pci; } t[] = {
		{ 1, 0, false, false }, { 1, 2, true, true }, { 4, 3, false, false }, { 64, 64, true, true },
		{ 512, 1, true, false },
	};

	if (system("command -v dtc >/dev/null 2>&1")) {
		printf("SKIP test_fdt_dtc_has_no_complaint: no dtc here\n");
		return;
	}
	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		struct fdt_desc d = desc(t[i].cpus, t[i].vmmio, t[i].its, t[i].pci);

		d.pmu = i & 1;
		d.rng_seed = seed;
		d.rng_seed_len = sizeof(seed);
		d.kaslr_seed = 42;
		d.initrd = LAYOUT_RAM + 64 * MIB;
		d.initrd_size = i * 1000;
		build(&d);
		check_with_dtc();
	}
	for (unsigned i = 1; i <= 8; i += 7) {
		struct fdt_desc d = v2_desc(i);

		d.pmu = true;
		build(&d);
		check_with_dtc();
		d.gicv2 = false;
		build(&d);
		check_with_dtc();
	}
}
END_TEST

START_TEST(test_fdt_chosen_says_what_was_asked)
{
	struct fdt_desc d = desc(1, 0, true, false);
	int off, len, uart;

	memset(seed, 0xa5, sizeof(seed));
	d.initrd = LAYOUT_RAM + 32 * MIB;
	d.initrd_size = 12345;
	d.rng_seed = seed;
	d.rng_seed_len = sizeof(seed);
	d.kaslr_seed = UINT64_C(0x1122334455667788);
	build(&d);
	off = need("/chosen");
	ck_assert_str_eq(fdt_getprop(blob, off, "bootargs", NULL), "console=hvc0");
	ck_assert_uint_eq(cell2(off, "linux,initrd-start", 2, 0), d.initrd);
	ck_assert_uint_eq(cell2(off, "linux,initrd-end", 2, 0), d.initrd + 12345);
	ck_assert_uint_eq(cell2(off, "kaslr-seed", 2, 0), d.kaslr_seed);
	ck_assert_mem_eq(fdt_getprop(blob, off, "rng-seed", &len), seed, sizeof(seed));
	ck_assert_int_eq(len, sizeof(seed));
	uart = node(fdt_get_alias(blob, fdt_getprop(blob, off, "stdout-path", NULL)));
	ck_assert_uint_eq(cell2(uart, "reg", 4, 0), LAYOUT_UART);
}
END_TEST

START_TEST(test_fdt_chosen_leaves_out_what_is_not_there)
{
	struct fdt_desc d = desc(1, 0, false, false);
	int off;

	d.cmdline = NULL;
	build(&d);
	off = need("/chosen");
	ck_assert_str_eq(fdt_getprop(blob, off, "bootargs", NULL), "");
	ck_assert(!has_flag(off, "linux,initrd-start") && !has_flag(off, "rng-seed") && !has_flag(off, "kaslr-seed"));
	ck_assert_int_lt(node("/pmu"), 0);
	ck_assert_int_lt(fdt_node_offset_by_compatible(blob, -1, "pci-host-ecam-generic"), 0);
	ck_assert_int_lt(fdt_node_offset_by_compatible(blob, -1, "virtio,mmio"), 0);
	ck_assert_int_lt(fdt_node_offset_by_compatible(blob, -1, "arm,gic-v3-its"), 0);
}
END_TEST

START_TEST(test_fdt_memory_is_what_the_guest_may_use)
{
	struct fdt_desc d = desc(1, 0, false, false);
	int off;

	d.ram_size = UINT64_C(0x123450000);
	build(&d);
	off = need("/memory@80000000");
	ck_assert_uint_eq(cell2(off, "reg", 4, 0), LAYOUT_RAM);
	ck_assert_uint_eq(cell2(off, "reg", 4, 2), d.ram_size);
}
END_TEST

START_TEST(test_fdt_64_cpus_each_have_their_mpidr)
{
	struct fdt_desc d = desc(64, 0, true, false);
	int cpus, off, n = 0;

	build(&d);
	cpus = need("/cpus");
	ck_assert_uint_eq(cell(cpus, "#address-cells", 1, 0), 1);
	fdt_for_each_subnode(off, blob, cpus) {
		ck_assert_uint_eq(cell(off, "reg", 1, 0), mpidr[n]);
		ck_assert_str_eq(fdt_getprop(blob, off, "enable-method", NULL), "psci");
		n++;
	}
	ck_assert_int_eq(n, 64);
	ck_assert_uint_eq(cell2(need("/interrupt-controller@30000000"), "reg", 8, 6), 64 * LAYOUT_GICR_STEP);
}
END_TEST

START_TEST(test_fdt_cpu_with_aff3_takes_two_cells)
{
	struct fdt_desc d = desc(2, 0, true, false);

	mpidr[1] = UINT64_C(0x100000001);
	build(&d);
	ck_assert_uint_eq(cell(need("/cpus"), "#address-cells", 1, 0), 2);
	ck_assert_uint_eq(cell2(need("/cpus/cpu@0"), "reg", 2, 0), 0);
	ck_assert_uint_eq(cell2(need("/cpus/cpu@100000001"), "reg", 2, 0), mpidr[1]);
}
END_TEST

START_TEST(test_fdt_interrupt_numbers_are_the_layouts)
{
	struct fdt_desc d = desc(1, 0, true, false);
	static const uint32_t ppis[] = { 13, 14, 11, 10 };
	int timer, off;

	d.pmu = true;
	build(&d);
	timer = need("/timer");
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(cell(timer, "interrupts", 12, 3 * i), 1);
		ck_assert_uint_eq(cell(timer, "interrupts", 12, 3 * i + 1), ppis[i]);
		ck_assert_uint_eq(cell(timer, "interrupts", 12, 3 * i + 2), 4);
	}
	ck_assert(has_flag(timer, "always-on"));
	ck_assert_uint_eq(cell(need("/pmu"), "interrupts", 3, 1), LAYOUT_PPI_PMU);
	off = fdt_node_offset_by_compatible(blob, -1, "arm,pl011");
	ck_assert_uint_eq(cell(off, "interrupts", 3, 0), 0);
	ck_assert_uint_eq(cell(off, "interrupts", 3, 1), LAYOUT_SPI_UART);
	ck_assert_uint_eq(cell(off, "interrupts", 3, 2), 4);
	off = fdt_node_offset_by_compatible(blob, -1, "arm,pl031");
	ck_assert_uint_eq(cell(off, "interrupts", 3, 1), LAYOUT_SPI_RTC);
	off = fdt_node_offset_by_compatible(blob, -1, "arm,pl061");
	ck_assert_uint_eq(cell(off, "interrupts", 3, 1), LAYOUT_SPI_GPIO);
	ck_assert_uint_eq(cell(off, "interrupts", 3, 2), 4);
}
END_TEST

START_TEST(test_fdt_power_button_is_the_one_pin_that_is_wired)
{
	struct fdt_desc d = desc(1, 0, true, false);
	int gpio, key;

	build(&d);
	gpio = fdt_node_offset_by_compatible(blob, -1, "arm,pl061");
	ck_assert_uint_eq(cell2(gpio, "reg", 4, 0), LAYOUT_GPIO);
	key = fdt_first_subnode(blob, fdt_node_offset_by_compatible(blob, -1, "gpio-keys"));
	ck_assert_uint_eq(cell(key, "linux,code", 1, 0), 116); /* KEY_POWER */
	ck_assert_uint_eq(cell(key, "gpios", 3, 0), fdt_get_phandle(blob, gpio));
	ck_assert_uint_eq(cell(key, "gpios", 3, 1), LAYOUT_GPIO_POWER);
	ck_assert_uint_eq(cell(key, "gpios", 3, 2), 0);
	ck_assert_uint_eq(cell(gpio, "gpio-reserved-ranges", 2, 0) + cell(gpio, "gpio-reserved-ranges", 2, 1), 8);
	ck_assert_uint_eq(cell(gpio, "gpio-reserved-ranges", 2, 0), LAYOUT_GPIO_POWER + 1);
}
END_TEST

START_TEST(test_fdt_pvpanic_is_two_bytes)
{
	struct fdt_desc d = desc(1, 0, true, false);
	int off;

	build(&d);
	off = fdt_node_offset_by_compatible(blob, -1, "qemu,pvpanic-mmio");
	ck_assert_uint_eq(cell2(off, "reg", 4, 0), LAYOUT_PVPANIC);
	ck_assert_uint_eq(cell2(off, "reg", 4, 2), 2);
}
END_TEST

START_TEST(test_fdt_watchdog_is_there_where_it_is_wanted)
{
	struct fdt_desc d = desc(1, 0, true, false);
	int off;

	build(&d);
	ck_assert_int_lt(fdt_node_offset_by_compatible(blob, -1, "arm,sp805"), 0);
	d.watchdog = true;
	build(&d);
	off = fdt_node_offset_by_compatible(blob, -1, "arm,sp805");
	ck_assert_uint_eq(cell2(off, "reg", 4, 0), LAYOUT_WATCHDOG);
	ck_assert_uint_eq(cell(off, "interrupts", 3, 1), LAYOUT_SPI_WATCHDOG);
	check_reference(off, "clocks", 2, 0);
	check_reference(off, "clocks", 2, 1);
	if (!system("command -v dtc >/dev/null 2>&1"))
		check_with_dtc();
}
END_TEST

START_TEST(test_fdt_virtio_mmio_is_edge_and_coherent)
{
	struct fdt_desc d = desc(1, 64, false, false);
	int n = 0;

	build(&d);
	for (int off = fdt_node_offset_by_compatible(blob, -1, "virtio,mmio"); off >= 0;
	     off = fdt_node_offset_by_compatible(blob, off, "virtio,mmio"), n++) {
		ck_assert_uint_eq(cell2(off, "reg", 4, 0), vmmio[n].gpa);
		ck_assert_uint_eq(cell(off, "interrupts", 3, 0), 0);
		ck_assert_uint_eq(cell(off, "interrupts", 3, 1), vmmio[n].spi);
		ck_assert_uint_eq(cell(off, "interrupts", 3, 2), 1);
		ck_assert(has_flag(off, "dma-coherent"));
	}
	ck_assert_int_eq(n, 64);
}
END_TEST

START_TEST(test_fdt_pci_maps_msis_to_device_ids)
{
	struct fdt_desc d = desc(1, 0, true, true);
	int off, its;

	build(&d);
	off = fdt_node_offset_by_compatible(blob, -1, "pci-host-ecam-generic");
	its = fdt_node_offset_by_compatible(blob, -1, "arm,gic-v3-its");
	ck_assert_uint_eq(cell2(off, "reg", 4, 0), LAYOUT_ECAM);
	ck_assert_uint_eq(cell2(off, "reg", 4, 2), PCI_ECAM_SIZE);
	ck_assert_uint_eq(cell(off, "ranges", 7, 0), 0x02000000);
	ck_assert_uint_eq(cell2(off, "ranges", 7, 1), LAYOUT_PCI_MEM);
	ck_assert_uint_eq(cell2(off, "ranges", 7, 3), LAYOUT_PCI_MEM);
	ck_assert_uint_eq(cell2(off, "ranges", 7, 5), LAYOUT_PCI_MEM_SIZE);
	ck_assert_uint_eq(cell(off, "msi-map", 4, 1), fdt_get_phandle(blob, its));
	for (uint32_t rid = 0; rid < 256; rid++) {
		ck_assert_uint_lt(rid - cell(off, "msi-map", 4, 0), cell(off, "msi-map", 4, 3));
		ck_assert_uint_eq(rid - cell(off, "msi-map", 4, 0) + cell(off, "msi-map", 4, 2),
				  pci_msi_devid((uint16_t)rid));
	}
	ck_assert_uint_eq(cell(its, "#msi-cells", 1, 0), 1);
	ck_assert(has_flag(off, "dma-coherent") && !has_flag(off, "interrupt-map"));
}
END_TEST

/* Both kinds of GIC: Linux looks for frames below a GICv3 too, where that has no ITS. */
START_TEST(test_fdt_v2m_frame_takes_the_messages)
{
	struct fdt_desc d = v2_desc(1);
	int off, frame;

	d.gicv2 = _i;
	build(&d);
	frame = fdt_node_offset_by_compatible(blob, -1, "arm,gic-v2m-frame");
	ck_assert_int_eq(fdt_parent_offset(blob, frame),
			 fdt_node_offset_by_compatible(blob, -1, _i ? "arm,gic-400" : "arm,gic-v3"));
	ck_assert(has_flag(frame, "msi-controller"));
	ck_assert_uint_eq(cell2(frame, "reg", 4, 0), LAYOUT_V2M);
	ck_assert_uint_eq(cell2(frame, "reg", 4, 2), 4 * KIB);
	/* INTIDs. */
	ck_assert_uint_eq(cell(frame, "arm,msi-base-spi", 1, 0), LAYOUT_SPI_V2M + 32);
	ck_assert_uint_eq(cell(frame, "arm,msi-num-spis", 1, 0), 64);
	off = fdt_node_offset_by_compatible(blob, -1, "pci-host-ecam-generic");
	ck_assert_uint_eq(cell(off, "msi-map", 4, 1), fdt_get_phandle(blob, frame));
	d.v2m_count = 0;
	build(&d);
	ck_assert_int_lt(fdt_node_offset_by_compatible(blob, -1, "arm,gic-v2m-frame"), 0);
	ck_assert(!has_flag(fdt_node_offset_by_compatible(blob, -1, "pci-host-ecam-generic"), "msi-map"));
}
END_TEST

START_TEST(test_fdt_gicv2_interface_and_cpu_masks)
{
	struct fdt_desc d = v2_desc(3);
	int off;

	d.pmu = true;
	build(&d);
	off = fdt_node_offset_by_compatible(blob, -1, "arm,gic-400");
	ck_assert_uint_eq(cell2(off, "reg", 8, 0), LAYOUT_GICD);
	ck_assert_uint_eq(cell2(off, "reg", 8, 2), LAYOUT_GICD_V2_SIZE);
	ck_assert_uint_eq(cell2(off, "reg", 8, 4), LAYOUT_GICC);
	ck_assert_uint_eq(cell2(off, "reg", 8, 6), LAYOUT_GICC_SIZE);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(cell(need("/timer"), "interrupts", 12, i * 3 + 2), 0x704);
	ck_assert_uint_eq(cell(need("/pmu"), "interrupts", 3, 2), 0x704);
	ck_assert_uint_eq(cell(fdt_node_offset_by_compatible(blob, -1, "virtio,mmio"), "interrupts", 3, 2), 1);
	d.nr_cpus = 9;
	ck_assert_int_eq(fdt_build(&d, blob, sizeof(blob), &blob_len), -EINVAL);
}
END_TEST

START_TEST(test_fdt_no_reference_dangles)
{
	for (unsigned i = 0; i < 8; i++) {
		struct fdt_desc d = desc(1 + i, i, i & 1, i & 2);
		int pci;

		d.pmu = i & 4;
		build(&d);
		check_reference(0, "interrupt-parent", 1, 0);
		check_reference(fdt_node_offset_by_compatible(blob, -1, "arm,pl011"), "clocks", 2, 0);
		check_reference(fdt_node_offset_by_compatible(blob, -1, "arm,pl011"), "clocks", 2, 1);
		check_reference(fdt_node_offset_by_compatible(blob, -1, "arm,pl031"), "clocks", 1, 0);
		check_reference(fdt_node_offset_by_compatible(blob, -1, "arm,pl061"), "clocks", 1, 0);
		pci = fdt_node_offset_by_compatible(blob, -1, "pci-host-ecam-generic");
		ck_assert_int_eq(pci >= 0, !!(i & 2));
		if (pci >= 0 && (i & 1))
			check_reference(pci, "msi-map", 4, 1);
		else if (pci >= 0)
			ck_assert(!has_flag(pci, "msi-map"));
	}
}
END_TEST

START_TEST(test_fdt_largest_machine_fits_its_room)
{
	struct fdt_desc d = desc(512, 64, true, true);

	memset(long_cmdline, 'a', sizeof(long_cmdline) - 1);
	d.cmdline = long_cmdline;
	d.pmu = true;
	d.initrd_size = 1;
	d.rng_seed = seed;
	d.rng_seed_len = sizeof(seed);
	d.kaslr_seed = 1;
	build(&d);
	ck_assert_uint_lt(blob_len, BOOT_DTB_MAX / 4 * 3);
}
END_TEST

START_TEST(test_fdt_room_too_small_is_enospc)
{
	struct fdt_desc d = desc(3, 3, true, true);
	size_t full, len;
	uint8_t *buf;

	build(&d);
	full = blob_len;
	for (size_t cap = 0; cap < full; cap += 37) {
		buf = malloc(cap + 1);
		len = 4711;
		ck_assert_int_eq(fdt_build(&d, buf, cap, &len), -ENOSPC);
		ck_assert_uint_eq(len, 4711);
		free(buf);
	}
}
END_TEST

START_TEST(test_fdt_same_description_same_bytes)
{
	struct fdt_desc d = desc(5, 4, true, true);
	static uint8_t first[BOOT_DTB_MAX];
	size_t len;

	build(&d);
	memcpy(first, blob, blob_len);
	len = blob_len;
	memset(blob, 0xee, sizeof(blob));
	build(&d);
	ck_assert_uint_eq(blob_len, len);
	ck_assert_mem_eq(blob, first, len);
}
END_TEST

START_TEST(test_fdt_senseless_description_refused)
{
	struct fdt_desc d = desc(0, 0, true, true);
	size_t len;

	ck_assert_int_eq(fdt_build(&d, blob, sizeof(blob), &len), -EINVAL);
	d.nr_cpus = 1;
	d.ram_size = 0;
	ck_assert_int_eq(fdt_build(&d, blob, sizeof(blob), &len), -EINVAL);
	d.ram_size = MIB;
	ck_assert_int_eq(fdt_build(&d, blob, SIZE_MAX, &len), -EINVAL);
}
END_TEST

/* Devices of the host's: a window for their 64-bit BARs, and a level line for each. */
START_TEST(test_fdt_pci_of_the_hosts_devices)
{
	static const struct fdt_intx intx[] = { { 1 << 3, 18 }, { 3 << 3 | 1, 21 } };
	struct fdt_desc d = desc(1, 2, true, true);
	int off, gic;

	d.intx = intx;
	d.nr_intx = 2;
	d.pci_mem64 = 1ull << 40;
	d.pci_mem64_size = 1ull << 35;
	build(&d);
	off = fdt_node_offset_by_compatible(blob, -1, "pci-host-ecam-generic");
	ck_assert_uint_eq(cell(off, "ranges", 14, 7), 0x03000000);
	ck_assert_uint_eq(cell2(off, "ranges", 14, 8), 1ull << 40);
	ck_assert_uint_eq(cell2(off, "ranges", 14, 10), 1ull << 40);
	ck_assert_uint_eq(cell2(off, "ranges", 14, 12), 1ull << 35);
	ck_assert_uint_eq(cell(off, "#interrupt-cells", 1, 0), 1);
	ck_assert_uint_eq(cell(off, "interrupt-map-mask", 4, 0), 0xff00);
	ck_assert_uint_eq(cell(off, "interrupt-map-mask", 4, 3), 7);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(cell(off, "interrupt-map", 20, 10 * i), (uint32_t)intx[i].rid << 8);
		ck_assert_uint_eq(cell(off, "interrupt-map", 20, 10 * i + 3), 1);
		check_reference(off, "interrupt-map", 20, 10 * i + 4);
		ck_assert_uint_eq(cell(off, "interrupt-map", 20, 10 * i + 7), 0);
		ck_assert_uint_eq(cell(off, "interrupt-map", 20, 10 * i + 8), intx[i].spi);
		ck_assert_uint_eq(cell(off, "interrupt-map", 20, 10 * i + 9), 4);
	}
	/* A row is as long as it is because of this. */
	gic = fdt_node_offset_by_compatible(blob, -1, "arm,gic-v3");
	ck_assert_uint_eq(cell(gic, "#address-cells", 1, 0), 2);
	ck_assert_uint_eq(cell(gic, "#interrupt-cells", 1, 0), 3);
	if (!system("command -v dtc >/dev/null 2>&1"))
		check_with_dtc();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fdt");
	TCase *tc = tcase_create("fdt");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_fdt_dtc_has_no_complaint);
	tcase_add_test(tc, test_fdt_chosen_says_what_was_asked);
	tcase_add_test(tc, test_fdt_chosen_leaves_out_what_is_not_there);
	tcase_add_test(tc, test_fdt_memory_is_what_the_guest_may_use);
	tcase_add_test(tc, test_fdt_64_cpus_each_have_their_mpidr);
	tcase_add_test(tc, test_fdt_cpu_with_aff3_takes_two_cells);
	tcase_add_test(tc, test_fdt_interrupt_numbers_are_the_layouts);
	tcase_add_test(tc, test_fdt_power_button_is_the_one_pin_that_is_wired);
	tcase_add_test(tc, test_fdt_pvpanic_is_two_bytes);
	tcase_add_test(tc, test_fdt_watchdog_is_there_where_it_is_wanted);
	tcase_add_test(tc, test_fdt_virtio_mmio_is_edge_and_coherent);
	tcase_add_test(tc, test_fdt_pci_maps_msis_to_device_ids);
	tcase_add_test(tc, test_fdt_pci_of_the_hosts_devices);
	tcase_add_loop_test(tc, test_fdt_v2m_frame_takes_the_messages, 0, 2);
	tcase_add_test(tc, test_fdt_gicv2_interface_and_cpu_masks);
	tcase_add_test(tc, test_fdt_no_reference_dangles);
	tcase_add_test(tc, test_fdt_largest_machine_fits_its_room);
	tcase_add_test(tc, test_fdt_room_too_small_is_enospc);
	tcase_add_test(tc, test_fdt_same_description_same_bytes);
	tcase_add_test(tc, test_fdt_senseless_description_refused);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
