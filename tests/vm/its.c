// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a guest's driver writes to a GICv3 with an ITS, written by KVM_SET_DEVICE_ATTR as a restored VM has it. KVM
 * takes commands that way too. An LPI's pending bit has no register: KVM saves it to the table in guest memory.
 */
#include "tests/vm/its.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "arch/arm64/layout.h"
#include "vmm/base/checked.h"

#define IPA_BITS 36

/* Memory, from LAYOUT_RAM: LPI configuration and pending tables, the ITS's tables and commands. */
#define PROPERTIES 0x00000
#define PENDING    0x10000
#define DEVICES    0x20000
#define COLLECTION 0x30000
#define ENTRIES    0x40000 /* only written when an ITS is saved */
#define COMMANDS   0x80000
#define COMMANDS_SIZE 0x40000
#define RAM_SIZE   0x100000

#define GICD_ISPENDR 0x200
#define GICD_ICFGR 0xc00
#define GICR_CTLR 0x0
#define GICR_PROPBASER 0x70
#define GICR_PENDBASER 0x78
#define GITS_CTLR 0x0
#define GITS_CBASER 0x80
#define GITS_CWRITER 0x88
#define GITS_BASER0 0x100 /* devices */
#define GITS_BASER1 0x108 /* collections */
#define VALID BIT64(63)
#define ID_BITS 16
#define FIRST_LPI 8192
#define FIRST_SPI 32

#define CMD_MAPD 0x08
#define CMD_MAPC 0x09
#define CMD_MAPTI 0x0a

void fail(const char *fmt, ...)
{
	va_list args;

	fputs("failed: ", stdout);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	exit(1);
}

static void skip(const char *why)
{
	puts(why);
	exit(77);
}

static void set_attr(int fd, uint32_t group, uint64_t attr, void *data)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)data };

	if (ioctl(fd, KVM_SET_DEVICE_ATTR, &a))
		fail("device attribute %u/0x%llx: %s", group, (unsigned long long)attr, strerror(errno));
}

static void set_redist(struct its_vm *vm, unsigned off, uint32_t val)
{
	set_attr(vm->gic.gic_fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, vm->cpu.mpidr << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT | off,
		 &val);
}

static void set_its(struct its_vm *vm, unsigned off, uint64_t val)
{
	set_attr(vm->gic.its_fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, off, &val);
}

static uint32_t get_dist(struct its_vm *vm, unsigned off)
{
	uint32_t val = 0;
	struct kvm_device_attr a = {
		.group = KVM_DEV_ARM_VGIC_GRP_DIST_REGS, .attr = off, .addr = (uintptr_t)&val,
	};

	if (ioctl(vm->gic.gic_fd, KVM_GET_DEVICE_ATTR, &a))
		fail("distributor register 0x%x: %s", off, strerror(errno));
	return val;
}

/* The VM */

static void make_memory(struct its_vm *vm)
{
	int r;

	vm->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->ram == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	r = hyp_set_memory(vm->hyp, 0, LAYOUT_RAM, RAM_SIZE, vm->ram, false);
	if (r)
		fail("memory: %s", strerror(-r));
}

void its_vm_new(struct its_vm *vm)
{
	const struct gic_cfg cfg = {
		.gicd = LAYOUT_GICD, .gicr = LAYOUT_GICR, .its = LAYOUT_ITS, .nr_cpus = 1,
		.nr_irqs = ITS_NR_IRQS, .has_its = true, .ipa_bits = IPA_BITS,
	};
	struct vcpu_features features;
	struct gic_caps caps;
	struct err err;
	int fd;

	memset(vm, 0, sizeof(*vm));
	if (hyp_open_dev(&fd, &err) || hyp_new(fd, IPA_BITS, &vm->hyp, &err))
		skip(err.text);
	gic_probe(vm->hyp, &caps);
	if (!caps.its)
		skip("this host's KVM has no ITS");
	make_memory(vm);
	if (vcpu_probe_features(vm->hyp, &features, &err) || vcpu_new(vm->hyp, 0, &features, &vm->cpu, &err) ||
	    gic_new(vm->hyp, &cfg, &vm->gic, &err))
		fail("%s", err.text);
}

void its_vm_free(struct its_vm *vm)
{
	gic_fini(&vm->gic);
	vcpu_fini(&vm->cpu);
	hyp_free(vm->hyp);
	munmap(vm->ram, RAM_SIZE);
}

/* LPIs */

static void command(struct its_vm *vm, unsigned *off, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t words[4] = { a, b, c, 0 };

	if (*off + sizeof(words) >= COMMANDS_SIZE)
		fail("too many commands");
	memcpy(vm->ram + COMMANDS + *off, words, sizeof(words));
	*off += sizeof(words);
}

static void enable(struct its_vm *vm)
{
	/* 64 bits as two times 32: the redistributor's registers are handed over that way. */
	set_redist(vm, GICR_PROPBASER, (uint32_t)(LAYOUT_RAM + PROPERTIES) | (ID_BITS - 1));
	set_redist(vm, GICR_PROPBASER + 4, (LAYOUT_RAM + PROPERTIES) >> 32);
	set_redist(vm, GICR_PENDBASER, (uint32_t)(LAYOUT_RAM + PENDING));
	set_redist(vm, GICR_PENDBASER + 4, (LAYOUT_RAM + PENDING) >> 32);
	set_redist(vm, GICR_CTLR, 1);
	/* Sizes are pages less one: of 64 KiB for tables, of 4 KiB for commands. */
	set_its(vm, GITS_BASER0, VALID | (LAYOUT_RAM + DEVICES));
	set_its(vm, GITS_BASER1, VALID | (LAYOUT_RAM + COLLECTION));
	set_its(vm, GITS_CBASER, VALID | (LAYOUT_RAM + COMMANDS) | (COMMANDS_SIZE / (4 * KIB) - 1));
	set_its(vm, GITS_CTLR, 1);
}

void its_map_events(struct its_vm *vm, unsigned n)
{
	const uint64_t device = (uint64_t)ITS_DEVID << 32;
	unsigned off = 0;

	enable(vm);
	command(vm, &off, CMD_MAPD | device, ID_BITS - 1, VALID | (LAYOUT_RAM + ENTRIES));
	command(vm, &off, CMD_MAPC, 0, VALID); /* collection 0 is CPU 0 */
	for (unsigned i = 0; i < n; i++)
		command(vm, &off, CMD_MAPTI | device, (uint64_t)(FIRST_LPI + i) << 32 | i, 0);
	set_its(vm, GITS_CWRITER, off);
}

bool its_event_pending(struct its_vm *vm, unsigned event)
{
	const unsigned lpi = FIRST_LPI + event;

	set_attr(vm->gic.gic_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, NULL);
	return vm->ram[PENDING + lpi / 8] >> lpi % 8 & 1;
}

/* SPIs */

void its_make_edge(struct its_vm *vm, unsigned spi)
{
	const unsigned intid = FIRST_SPI + spi, off = GICD_ICFGR + intid / 16 * 4;
	uint32_t val = get_dist(vm, off) | BIT32(intid % 16 * 2 + 1);

	set_attr(vm->gic.gic_fd, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, off, &val);
}

bool its_spi_pending(struct its_vm *vm, unsigned spi)
{
	const unsigned intid = FIRST_SPI + spi;

	return get_dist(vm, GICD_ISPENDR + intid / 32 * 4) >> intid % 32 & 1;
}
