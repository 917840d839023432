// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/kvm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"
#include "vmm/base/obj.h"
#include "vmm/base/rights.h"

/* api.rst 4.1: type 0 means 40 bits, and is all there is without KVM_CAP_ARM_VM_IPA_SIZE. */
#define DEFAULT_IPA_BITS 40

static_assert(sizeof(struct kvm_irq_routing) == HYP_TABLE_SIZE, "what hyp_table_bytes() counts");
static_assert(sizeof(struct kvm_irq_routing_entry) == HYP_ROUTE_SIZE, "what hyp_table_bytes() counts");

struct hyp {
	int kvm_fd;
	int vm_fd;
	int vfio_fd; /* KVM_DEV_TYPE_VFIO, once a group has joined */
	unsigned max_routes;
	struct kvm_irq_routing *routes; /* room for max_routes, as handed to the kernel; under the gsi space's lock */
	const struct hyp_watch *watch; /* NULL: nobody looks on */
	void *watch_ctx;
};

static int check_ext(int fd, long cap)
{
	int r = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return r > 0 ? r : 0;
}

static const char *open_remedy(int code)
{
	switch (code) {
	case -EACCES:
	case -EPERM:
		return " (run as root, or join the group that owns it, often 'kvm')";
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
		return " (this machine offers no KVM: is virtualisation on, and the kvm module there?)";
	default:
		return "";
	}
}

int hyp_open_dev(int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0) {
		int r = -errno;

		return err_set(err, r, "/dev/kvm: %s%s", strerror(-r), open_remedy(r));
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0L);
	if (version < 0)
		return err_set(err, -errno, "/dev/kvm: KVM_GET_API_VERSION: %s", strerror(errno));
	if (version != KVM_API_VERSION)
		return err_set(err, -ENODEV, "/dev/kvm: API version %d, not %d", version,
			       KVM_API_VERSION);
	*ret_fd = fd_note(steal_fd(&fd), FD_KVM);
	return 0;
}

unsigned hyp_max_ipa_bits(int kvm_fd)
{
	int bits = check_ext(kvm_fd, KVM_CAP_ARM_VM_IPA_SIZE);

	return bits ? (unsigned)bits : DEFAULT_IPA_BITS;
}

int hyp_max_vcpus(int kvm_fd)
{
	int n = ioctl(kvm_fd, KVM_CHECK_EXTENSION, (long)KVM_CAP_MAX_VCPUS);

	if (n < 0)
		return -errno;
	/* api.rst 4.4: without it, what NR_VCPUS recommends, and without that 4 */
	if (!n)
		n = check_ext(kvm_fd, KVM_CAP_NR_VCPUS);
	return n ? n : 4;
}

static int create_vm(int kvm_fd, unsigned ipa_bits, struct err *err)
{
	int max = check_ext(kvm_fd, KVM_CAP_ARM_VM_IPA_SIZE);
	unsigned long type = 0;
	int fd;

	if (ipa_bits > (max ? (unsigned)max : DEFAULT_IPA_BITS))
		return err_set(err, -EINVAL, "KVM: guest addresses of %u bits are needed, this host can do %d",
			       ipa_bits, max ? max : DEFAULT_IPA_BITS);
	if (max)
		type = KVM_VM_TYPE_ARM_IPA_SIZE(ipa_bits);
	do {
		fd = ioctl(kvm_fd, KVM_CREATE_VM, type);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_set(err, -errno, "KVM: creating the VM: %s", strerror(errno));
	return fd;
}

int hyp_new(int kvm_fd, unsigned ipa_bits, struct hyp **ret_h, struct err *err)
{
	struct hyp *h = obj_new(sizeof(*h));
	int r;

	if (!h) {
		close_fd(&kvm_fd);
		return err_set(err, -ENOMEM, "KVM: out of memory");
	}
	h->kvm_fd = kvm_fd;
	h->vfio_fd = -1;
	h->vm_fd = r = fd_note(create_vm(kvm_fd, ipa_bits, err), FD_VM);
	if (r < 0)
		goto fail;
	r = ioctl(h->vm_fd, KVM_CHECK_EXTENSION, (long)KVM_CAP_IRQ_ROUTING);
	if (r <= 0) {
		r = r < 0 ? -errno : -EOPNOTSUPP;
		err_set(err, r, "KVM: KVM_CAP_IRQ_ROUTING: %s", strerror(-r));
		goto fail;
	}
	h->max_routes = (unsigned)r;
	h->routes = obj_new(sizeof(*h->routes) + h->max_routes * sizeof(h->routes->entries[0]));
	if (!h->routes) {
		r = err_set(err, -ENOMEM, "KVM: out of memory");
		goto fail;
	}
	*ret_h = h;
	return 0;
fail:
	hyp_free(h);
	return r;
}

void hyp_free(struct hyp *h)
{
	if (!h)
		return;
	close_fd(&h->vfio_fd);
	close_fd(&h->vm_fd);
	close_fd(&h->kvm_fd);
	obj_free(h->routes);
	obj_free(h);
}

void hyp_settle(struct hyp *h)
{
	close_fd(&h->kvm_fd);
}

int hyp_kvm_fd(const struct hyp *h)
{
	return h->kvm_fd;
}

int hyp_vm_fd(const struct hyp *h)
{
	return h->vm_fd;
}

int hyp_check(const struct hyp *h, long cap)
{
	return check_ext(h->vm_fd, cap);
}

unsigned hyp_max_routes(const struct hyp *h)
{
	return h->max_routes;
}

bool hyp_needs_devid(const struct hyp *h)
{
	return check_ext(h->vm_fd, KVM_CAP_MSI_DEVID) > 0;
}

static int vm_ioctl(const struct hyp *h, unsigned long request, void *arg)
{
	int r = ioctl(h->vm_fd, request, arg);

	return r < 0 ? -errno : r;
}

int hyp_set_memory(struct hyp *h, uint32_t slot, gpa_t gpa, uint64_t size, void *hva, bool readonly)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return vm_ioctl(h, KVM_SET_USER_MEMORY_REGION, &region);
}

static void fill_route(const struct hyp_route *r, struct kvm_irq_routing_entry *e)
{
	*e = (struct kvm_irq_routing_entry){ .gsi = r->gsi };
	if (r->kind == HYP_ROUTE_SPI) {
		e->type = KVM_IRQ_ROUTING_IRQCHIP;
		e->u.irqchip.irqchip = 0;
		e->u.irqchip.pin = r->pin;
		return;
	}
	e->type = KVM_IRQ_ROUTING_MSI;
	e->flags = r->valid_devid ? KVM_MSI_VALID_DEVID : 0;
	e->u.msi.address_lo = (uint32_t)r->addr;
	e->u.msi.address_hi = (uint32_t)(r->addr >> 32);
	e->u.msi.data = r->data;
	e->u.msi.devid = r->valid_devid ? r->devid : 0;
}

int hyp_set_routes(struct hyp *h, const struct hyp_route *routes, unsigned n)
{
	unsigned nr = 0;
	int r;

	for (unsigned i = 0; i < n; i++) {
		if (routes[i].kind == HYP_ROUTE_NONE)
			continue;
		if (nr == h->max_routes)
			return -EINVAL;
		fill_route(&routes[i], &h->routes->entries[nr++]);
	}
	h->routes->nr = nr;
	h->routes->flags = 0;
	r = vm_ioctl(h, KVM_SET_GSI_ROUTING, h->routes);
	if (h->watch)
		h->watch->set_routes(h->watch_ctx, routes, n, r);
	return r;
}

int hyp_irqfd_attach(struct hyp *h, int fd, uint32_t gsi, int resample_fd)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = gsi };
	int r;

	if (resample_fd >= 0) {
		irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
		irqfd.resamplefd = (uint32_t)resample_fd;
	}
	r = vm_ioctl(h, KVM_IRQFD, &irqfd);
	if (h->watch)
		h->watch->irqfd_attach(h->watch_ctx, fd, gsi, resample_fd, r);
	return r;
}

int hyp_irqfd_detach(struct hyp *h, int fd, uint32_t gsi)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)fd, .gsi = gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN,
	};
	int r = vm_ioctl(h, KVM_IRQFD, &irqfd);

	if (h->watch)
		h->watch->irqfd_detach(h->watch_ctx, fd, gsi, r);
	return r;
}

static int ioeventfd(struct hyp *h, int fd, gpa_t gpa, unsigned len, int64_t match, uint32_t flags)
{
	struct kvm_ioeventfd io = {
		.datamatch = match >= 0 ? (uint64_t)match : 0,
		.addr = gpa,
		.len = len,
		.fd = fd,
		.flags = flags | (match >= 0 ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
	};

	return vm_ioctl(h, KVM_IOEVENTFD, &io);
}

int hyp_ioeventfd_attach(struct hyp *h, int fd, gpa_t gpa, unsigned len, int64_t match)
{
	return ioeventfd(h, fd, gpa, len, match, 0);
}

int hyp_ioeventfd_detach(struct hyp *h, int fd, gpa_t gpa, unsigned len, int64_t match)
{
	return ioeventfd(h, fd, gpa, len, match, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

int hyp_signal_msi(struct hyp *h, uint64_t addr, uint32_t data, bool valid_devid, uint32_t devid)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32),
		.data = data,
		.flags = valid_devid ? KVM_MSI_VALID_DEVID : 0,
		.devid = valid_devid ? devid : 0,
	};
	const struct hyp_route told = {
		.kind = HYP_ROUTE_MSI, .addr = addr, .data = data, .valid_devid = valid_devid, .devid = devid,
	};
	int r = vm_ioctl(h, KVM_SIGNAL_MSI, &msi);

	if (h->watch)
		h->watch->signal_msi(h->watch_ctx, &told, r);
	return r;
}

int hyp_irq_line(struct hyp *h, uint32_t spi, bool level)
{
	struct kvm_irq_level line = {
		.irq = (uint32_t)KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT |
		       (spi + FIRST_SPI),
		.level = level,
	};
	int r = vm_ioctl(h, KVM_IRQ_LINE, &line);

	/* nobody can give it again: at least the guest does not wait in vain without a word */
	if (r)
		log_guest("INTID %u: its line could not be %s: %s", spi + FIRST_SPI, level ? "raised" : "lowered", strerror(-r));
	if (h->watch)
		h->watch->irq_line(h->watch_ctx, spi, level, r);
	return r;
}

void hyp_set_watch(struct hyp *h, const struct hyp_watch *watch, void *ctx)
{
	h->watch = watch;
	h->watch_ctx = ctx;
}

int hyp_join_vfio(struct hyp *h, int group_fd)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_VFIO };
	int32_t fd = group_fd;
	struct kvm_device_attr attr = {
		.group = KVM_DEV_VFIO_GROUP, .attr = KVM_DEV_VFIO_GROUP_ADD, .addr = (uintptr_t)&fd,
	};

	if (h->vfio_fd < 0) {
		int r = vm_ioctl(h, KVM_CREATE_DEVICE, &create);

		if (r < 0)
			return r;
		h->vfio_fd = fd_note((int)create.fd, FD_KVM_DEVICE);
	}
	return ioctl(h->vfio_fd, KVM_SET_DEVICE_ATTR, &attr) < 0 && errno != EEXIST ? -errno : 0;
}

const struct right hyp_rights[] = {
	{ RIGHT_ALL, SYS_ioctl, RIGHT_FD_REQUEST, FD_VM, KVM_IRQ_LINE, "lines of emulated devices" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VM, KVM_SET_GSI_ROUTING, "a vector gets its message" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VM, KVM_IRQFD, "a vector is unmasked or masked" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VM, KVM_IOEVENTFD, "a doorbell moves with its BAR" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VM, KVM_SIGNAL_MSI, "a message of an emulated device" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VM, KVM_SET_USER_MEMORY_REGION, "a page of registers that is read without an exit; BARs" },
	{ 0 },
};
