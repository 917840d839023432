// SPDX-License-Identifier: BSD-3-Clause
/*
 * floor - the system calls that any monitor must make to run a guest on this machine, and
 * nothing else: the figure that the others are measured against.
 *
 * usage: floor IMAGE [TAP]
 *
 * One vCPU, 128 MiB, GICv3 with ITS; with TAP also the tap and vhost-net, opened and owned,
 * no more. The guest is a null guest (tests/guest/null.S): its first act is PSCI SYSTEM_OFF.
 * No checks beyond success: this is a yardstick, not a program for users.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM_BASE 0x80000000ull
#define RAM_SIZE (128ull << 20)
#define TEXT_OFFSET 0

static int must(int r, const char *what)
{
	if (r < 0) {
		perror(what);
		exit(1);
	}
	return r;
}

static void set_attr(int fd, uint32_t group, uint64_t attr, void *addr)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uint64_t)(uintptr_t)addr };

	must(ioctl(fd, KVM_SET_DEVICE_ATTR, &a), "KVM_SET_DEVICE_ATTR");
}

static int create_device(int vm, uint32_t type)
{
	struct kvm_create_device d = { .type = type };

	must(ioctl(vm, KVM_CREATE_DEVICE, &d), "KVM_CREATE_DEVICE");
	return (int)d.fd;
}

static void make_gic(int vm)
{
	uint64_t dist = 0x30000000, redist = 0x31000000, its_addr = 0x30020000;
	uint32_t nr_irqs = 64;
	int gic = create_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3), its;

	set_attr(gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &dist);
	set_attr(gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, &redist);
	set_attr(gic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &nr_irqs);
	its = create_device(vm, KVM_DEV_TYPE_ARM_VGIC_ITS);
	set_attr(its, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, &its_addr);
	set_attr(its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
	set_attr(gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
}

static void own_tap(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int hdr = 12, tap, vhost;

	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	tap = must(open("/dev/net/tun", O_RDWR | O_CLOEXEC), "/dev/net/tun");
	must(ioctl(tap, TUNSETIFF, &ifr), "TUNSETIFF");
	must(ioctl(tap, TUNSETVNETHDRSZ, &hdr), "TUNSETVNETHDRSZ");
	vhost = must(open("/dev/vhost-net", O_RDWR | O_CLOEXEC), "/dev/vhost-net");
	must(ioctl(vhost, VHOST_SET_OWNER), "VHOST_SET_OWNER");
}

static void load_image(const char *path, char *ram)
{
	int fd = must(open(path, O_RDONLY | O_CLOEXEC), path);
	struct stat st;

	must(fstat(fd, &st), "fstat");
	if (read(fd, ram + TEXT_OFFSET, (size_t)st.st_size) != st.st_size)
		must(-1, "read");
	close(fd);
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = RAM_BASE, .memory_size = RAM_SIZE };
	struct kvm_one_reg pc = { .id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
				       KVM_REG_ARM_CORE_REG(regs.pc) };
	uint64_t entry = RAM_BASE + TEXT_OFFSET;
	struct kvm_vcpu_init init;
	struct kvm_run *run;
	int kvm, vm, vcpu, run_size;
	char *ram;

	if (argc < 2)
		return 2;
	kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = must(ioctl(kvm, KVM_CREATE_VM, 32ul), "KVM_CREATE_VM");
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	slot.userspace_addr = (uint64_t)(uintptr_t)ram;
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	load_image(argv[1], ram);
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0ul), "KVM_CREATE_VCPU");
	run_size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	must(ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	must(ioctl(vcpu, KVM_ARM_VCPU_INIT, &init), "KVM_ARM_VCPU_INIT");
	make_gic(vm);
	pc.addr = (uint64_t)(uintptr_t)&entry;
	must(ioctl(vcpu, KVM_SET_ONE_REG, &pc), "KVM_SET_ONE_REG");
	if (argc > 2)
		own_tap(argv[2]);
	must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	return run->exit_reason == KVM_EXIT_SYSTEM_EVENT ? 0 : 3;
}
