// SPDX-License-Identifier: BSD-3-Clause
/*
 * floor - the system calls that any monitor must make to run a guest on this machine, and
 * nothing else: the figure that the others are measured against.
 *
 * usage: floor [--sandbox FILTERS] IMAGE [TAP]
 *
 * One vCPU, 128 MiB, GICv3 with ITS; with TAP also the tap and vhost-net, opened and owned,
 * no more. With --sandbox also the calls by which the monitor as root makes namespaces, mounts, Landlock's
 * rules and filters, before the VM exists and, the filters, before it runs. FILTERS has the monitor's own
 * (tests/audit), whose answers are all turned into "allow": there is one thread here. The guest is a null guest (tests/guest/null.S): its first act is PSCI SYSTEM_OFF.
 * No checks beyond success: this is a yardstick, not a program for users.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM_BASE 0x80000000ull
#define RAM_SIZE (128ull << 20)
#define TEXT_OFFSET 0
#define FILTERS 2

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

static void leave_namespaces(void)
{
	must(unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS), "unshare");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount /");
	must(mount("empty", "/dev", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		   "mode=0555,nr_blocks=1,nr_inodes=2"), "mount /dev");
	must(chdir("/dev"), "chdir");
	must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount2");
	must(chdir("/"), "chdir");
	must(unshare(CLONE_NEWUSER), "unshare");
}

static void deny_files(void)
{
	uint64_t rights = (1 << 14) - 1;
	int fd;

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl");
	must((int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION), "Landlock");
	fd = must((int)syscall(SYS_landlock_create_ruleset, &rights, sizeof(rights), 0), "landlock_create_ruleset");
	must((int)syscall(SYS_landlock_restrict_self, fd, 0), "landlock_restrict_self");
	close(fd);
}

static struct { unsigned len; struct sock_filter prog[BPF_MAXINSNS]; } filters[FILTERS];

static void read_filters(const char *path)
{
	int fd = must(open(path, O_RDONLY | O_CLOEXEC), path);

	for (unsigned k = 0; k < FILTERS; k++) {
		unsigned *len = &filters[k].len;

		if (read(fd, len, sizeof(*len)) != sizeof(*len) || *len > BPF_MAXINSNS ||
		    read(fd, filters[k].prog, *len * sizeof(filters[k].prog[0])) != (ssize_t)(*len * sizeof(filters[k].prog[0])))
			must(-1, path);
		for (unsigned i = 0; i < *len; i++)
			if (filters[k].prog[i].code == (BPF_RET | BPF_K))
				filters[k].prog[i].k = SECCOMP_RET_ALLOW;
	}
	close(fd);
}

static void arm_filters(void)
{
	for (unsigned k = 0; k < FILTERS; k++) {
		struct sock_fprog p = { .len = (unsigned short)filters[k].len, .filter = filters[k].prog };

		must((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p), "seccomp");
	}
}

static int open_tap(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int hdr = 12, tap;

	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	tap = must(open("/dev/net/tun", O_RDWR | O_CLOEXEC), "/dev/net/tun");
	must(ioctl(tap, TUNSETIFF, &ifr), "TUNSETIFF");
	must(ioctl(tap, TUNSETVNETHDRSZ, &hdr), "TUNSETVNETHDRSZ");
	return must(open("/dev/vhost-net", O_RDWR | O_CLOEXEC), "/dev/vhost-net");
}

static void load_image(int fd, char *ram)
{
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
	int kvm, vm, vcpu, run_size, image, vhost = -1;
	bool sandbox = argc > 1 && !strcmp(argv[1], "--sandbox");
	char *ram;

	argc -= 2 * sandbox;
	argv += 2 * sandbox;
	if (argc < 2)
		return 2;
	if (sandbox)
		read_filters(argv[0]);
	image = must(open(argv[1], O_RDONLY | O_CLOEXEC), argv[1]);
	if (argc > 2)
		vhost = open_tap(argv[2]);
	kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	if (sandbox) {
		leave_namespaces();
		deny_files();
	}
	vm = must(ioctl(kvm, KVM_CREATE_VM, 32ul), "KVM_CREATE_VM");
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	slot.userspace_addr = (uint64_t)(uintptr_t)ram;
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	load_image(image, ram);
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0ul), "KVM_CREATE_VCPU");
	run_size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	must(ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	must(ioctl(vcpu, KVM_ARM_VCPU_INIT, &init), "KVM_ARM_VCPU_INIT");
	make_gic(vm);
	pc.addr = (uint64_t)(uintptr_t)&entry;
	must(ioctl(vcpu, KVM_SET_ONE_REG, &pc), "KVM_SET_ONE_REG");
	if (vhost >= 0)
		must(ioctl(vhost, VHOST_SET_OWNER), "VHOST_SET_OWNER");
	if (sandbox) {
		arm_filters();
	}
	must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	return run->exit_reason == KVM_EXIT_SYSTEM_EVENT ? 0 : 3;
}
