/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fdt - the flattened device tree that tells the guest what it has
 *
 * What:   one pure function from a description to a blob. The only user of libfdt.
 * Not:    where things are (layout.h, vmm/machine/plan.h).
 * Trust:  the description is ours (a plan); the command line is the user's.
 * Thread: pure.
 * Source: Devicetree Specification 0.4; Linux Documentation/devicetree/bindings:
 *         arm/cpus.yaml, interrupt-controller/arm,gic-v3.yaml and arm,gic.yaml, pci/host-generic-pci.yaml,
 *         virtio/mmio.yaml, serial/pl011.yaml, rtc/arm,pl031.yaml, gpio/pl061-gpio.yaml, watchdog/arm,sp805.yaml, input/gpio-keys.yaml,
 *         misc/pvpanic-mmio.txt, arm/psci.yaml, timer.
 */
#ifndef ARCH_ARM64_FDT_H
#define ARCH_ARM64_FDT_H

#include "vmm/base/types.h"

struct fdt_vmmio {
	gpa_t gpa;
	uint32_t spi;
};

struct fdt_intx {
	uint16_t rid;  /* function on bus 0 whose pin A it is */
	uint32_t spi;  /* level */
};

struct fdt_desc {
	const char *cmdline;
	gpa_t initrd; uint64_t initrd_size; /* size 0: none */
	gpa_t ram; uint64_t ram_size;
	const uint64_t *mpidr; unsigned nr_cpus;
	bool pmu;
	bool watchdog;
	bool gicv2;                         /* else GICv3 */
	bool has_its;                       /* GICv3 only */
	gpa_t gicd, gicr, its;
	gpa_t gicc;                         /* GICv2: the CPU interface, instead of gicr */
	gpa_t v2m; uint32_t v2m_spi, v2m_count; /* count 0: no frame */
	bool has_pci;                       /* a host bridge; MSIs by the ITS or the frame where there is one */
	uint32_t msi_devid_base;            /* device id of function 0 (pci_msi_devid(0)) for msi-map */
	gpa_t ecam, pci_mem; uint64_t pci_mem_size;
	gpa_t pci_mem64; uint64_t pci_mem64_size; /* size 0: none */
	const struct fdt_intx *intx; unsigned nr_intx;
	const struct fdt_vmmio *vmmio; unsigned nr_vmmio;
	const uint8_t *rng_seed; size_t rng_seed_len; /* NULL: none */
	uint64_t kaslr_seed;                          /* 0: none */
};

/*
 * Writes the blob, *@ret_len bytes, into @buf, all @cap bytes of which are cleared first.
 * -ENOSPC: too small, and another try with more room is fine; -EINVAL: no CPU, no RAM, more CPUs than a GICv2 has.
 */
int fdt_build(const struct fdt_desc *d, void *buf, size_t cap, size_t *ret_len);

#endif
