// SPDX-License-Identifier: BSD-3-Clause
/*
 * fdt: device trees of machines of any shape.
 *
 * Covers: arch/arm64/fdt.c: any number of CPUs, devices and pins, both GICs, any command line and seeds,
 *         buffers of any size.
 * Oracle: libfdt's full check of the result; what the guest will look for says what was described
 *         (memory, initrd, command line, CPUs, devices); each phandle that is used is defined; too small
 *         a buffer is -ENOSPC, and nothing behind its end is written; the same description gives the
 *         same bytes; nothing but the documented is refused.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>

#include "arch/arm64/fdt.h"
#include "arch/arm64/image.h"
#include "arch/arm64/layout.h"

#define MAX_DEVS 64

static char cmdline[2048];
static uint64_t mpidr[LAYOUT_MAX_CPUS];
static struct fdt_vmmio vmmio[MAX_DEVS];
static struct fdt_intx intx[MAX_DEVS];
static uint8_t seed[64];
static uint8_t blob[BOOT_DTB_MAX];

static struct fdt_desc make(struct fuzz_in *in)
{
	uint32_t flags = fuzz_u32(in);
	struct fdt_desc d = {
		.cmdline = cmdline, .ram = fuzz_u64(in), .ram_size = fuzz_u64(in), .mpidr = mpidr, .vmmio = vmmio, .intx = intx,
		.nr_cpus = flags & 1 ? fuzz_u16(in) % (LAYOUT_MAX_CPUS + 1) : fuzz_below(in, 9),
		.pmu = flags & 2, .gicv2 = flags & 4, .has_its = flags & 8 && !(flags & 4), .has_pci = flags & 16,
		.gicd = fuzz_u64(in), .gicr = fuzz_u64(in), .its = fuzz_u64(in), .gicc = fuzz_u64(in), .v2m = fuzz_u64(in),
		.nr_vmmio = fuzz_below(in, MAX_DEVS + 1), .nr_intx = fuzz_below(in, MAX_DEVS + 1),
	};

	if (flags & 32 && !d.has_its) {
		d.v2m_spi = fuzz_u16(in);
		d.v2m_count = fuzz_u8(in);
	}
	if (flags & 64) {
		d.initrd = fuzz_u64(in) >> 1;
		d.initrd_size = fuzz_u64(in) >> 1;
	}
	if (flags & 128)
		d.kaslr_seed = fuzz_u64(in);
	if (flags & 256) {
		d.rng_seed = seed;
		d.rng_seed_len = fuzz_below(in, sizeof(seed) + 1);
	}
	d.ecam = fuzz_u64(in);
	d.pci_mem = fuzz_u32(in);
	d.pci_mem_size = fuzz_u32(in);
	d.pci_mem64 = fuzz_u64(in);
	d.pci_mem64_size = flags & 512 ? fuzz_u64(in) : 0;
	for (unsigned i = 0; i < d.nr_cpus; i++)
		mpidr[i] = flags & 1024 ? fuzz_u64(in) & 0xff00ffffff : i;
	for (unsigned i = 0; i < d.nr_vmmio; i++)
		vmmio[i] = (struct fdt_vmmio){ .gpa = LAYOUT_VMMIO + LAYOUT_VMMIO_STEP * i, .spi = fuzz_u8(in) };
	for (unsigned i = 0; i < d.nr_intx; i++)
		intx[i] = (struct fdt_intx){ .rid = fuzz_u8(in), .spi = fuzz_u8(in) };
	memset(cmdline, 0, sizeof(cmdline));
	fuzz_take(in, cmdline, in->left < sizeof(cmdline) - 1 ? in->left : sizeof(cmdline) - 1);
	return d;
}

/* Property @name of @path, which has to be @len bytes; the tree goes on to be looked at. */
static const void *prop(const char *path, const char *name, int len)
{
	int got, off = fdt_path_offset(blob, path);
	const void *p;

	must(off >= 0);
	p = fdt_getprop(blob, off, name, &got);
	must(p && got == len);
	return p;
}

static uint64_t cells(const void *p)
{
	return fdt64_ld(p);
}

static unsigned count(const char *compatible)
{
	unsigned n = 0;

	for (int off = fdt_node_offset_by_compatible(blob, -1, compatible); off >= 0;
	     off = fdt_node_offset_by_compatible(blob, off, compatible))
		n++;
	return n;
}

static void check_references(void)
{
	static const char *const names[] = { "interrupt-parent", "msi-parent", "clocks" };

	for (int off = fdt_next_node(blob, -1, NULL); off >= 0; off = fdt_next_node(blob, off, NULL))
		for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
			int len;
			const fdt32_t *p = fdt_getprop(blob, off, names[i], &len);

			if (p)
				must(len >= 4 && fdt_node_offset_by_phandle(blob, fdt32_ld(p)) >= 0);
		}
}

static void check_tree(const struct fdt_desc *d, size_t len)
{
	int chosen, off, cpus = 0;
	char path[40];
	const uint8_t *p;

	must(fdt_check_full(blob, len) == 0 && fdt_totalsize(blob) == len);
	snprintf(path, sizeof(path), "/memory@%llx", (unsigned long long)d->ram);
	p = prop(path, "reg", 16);
	must(cells(p) == d->ram && cells(p + 8) == d->ram_size);
	p = prop("/chosen", "bootargs", (int)strlen(cmdline) + 1);
	must(!strcmp((const char *)p, cmdline));
	chosen = fdt_path_offset(blob, "/chosen");
	must(!!fdt_getprop(blob, chosen, "linux,initrd-start", NULL) == !!d->initrd_size);
	if (d->initrd_size) {
		must(cells(prop("/chosen", "linux,initrd-start", 8)) == d->initrd);
		must(cells(prop("/chosen", "linux,initrd-end", 8)) == d->initrd + d->initrd_size);
	}
	fdt_for_each_subnode(off, blob, fdt_path_offset(blob, "/cpus"))
		cpus++;
	must((unsigned)cpus == d->nr_cpus && count("virtio,mmio") == d->nr_vmmio);
	must(count("pci-host-ecam-generic") == d->has_pci && count("arm,gic-v3-its") == d->has_its);
	must(count("arm,gic-v2m-frame") == !!d->v2m_count);
	check_references();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	struct fdt_desc d = make(&in);
	bool sound = d.nr_cpus && d.ram_size && !(d.gicv2 && d.nr_cpus > LAYOUT_MAX_CPUS_V2);
	size_t len = 0, again = 0, cap;
	uint8_t *tight;
	int r = fdt_build(&d, blob, sizeof(blob), &len);

	must(r == (sound ? 0 : -EINVAL));
	if (r)
		return 0;
	check_tree(&d, len);
	/* On the heap, where a byte too many is seen. */
	cap = size % 2 ? len : len * (size % 256) / 256;
	tight = malloc(cap + !cap);
	must(tight);
	r = fdt_build(&d, tight, cap, &again);
	must(r == 0 ? again == len && !memcmp(tight, blob, len) : r == -ENOSPC);
	free(tight);
	return 0;
}
