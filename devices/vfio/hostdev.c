// SPDX-License-Identifier: BSD-3-Clause
#include "devices/vfio/hostdev.h"

#include <assert.h>
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "vmm/base/checked.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/rights.h"

#define MAX_INFO (64 * KIB) /* of one region's description, capabilities included */

static_assert((int)HOSTDEV_CONFIG == VFIO_PCI_CONFIG_REGION_INDEX, "vfio.h's numbers");
static_assert((int)HOSTDEV_INTX == VFIO_PCI_INTX_IRQ_INDEX && (int)HOSTDEV_MSIX == VFIO_PCI_MSIX_IRQ_INDEX &&
	      (int)HOSTDEV_REQUEST == VFIO_PCI_REQ_IRQ_INDEX, "vfio.h's numbers");

int hostdev_info(int fd, bool *ret_resets)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	if (ioctl(fd, VFIO_DEVICE_GET_INFO, &info) < 0)
		return -errno;
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) || info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
		return -EINVAL;
	*ret_resets = info.flags & VFIO_DEVICE_FLAGS_RESET;
	return 0;
}

/* Where the capability of @id, with at least @size bytes, stands behind @info, aligned or not; 0: nowhere. */
static uint32_t find_cap(const struct vfio_region_info *info, uint32_t len, uint16_t id, size_t size)
{
	uint32_t off = info->flags & VFIO_REGION_INFO_FLAG_CAPS ? info->cap_offset : 0;
	struct vfio_info_cap_header h;

	/* Offsets only grow, so the walk ends. */
	while (off && range_fits(off, sizeof(h), len)) {
		memcpy(&h, (const char *)info + off, sizeof(h));
		if (h.id == id && range_fits(off, size, len))
			return off;
		if (h.next <= off)
			break;
		off = h.next;
	}
	return 0;
}

static void take_areas(const struct vfio_region_info *info, uint32_t len, struct hostdev_region *r)
{
	struct vfio_region_info_cap_sparse_mmap s;
	struct vfio_region_sparse_mmap_area a;
	uint32_t off;

	if (!(info->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return;
	off = find_cap(info, len, VFIO_REGION_INFO_CAP_SPARSE_MMAP, sizeof(s));
	if (!off) {
		r->areas[r->nr_areas++] = (struct slice){ 0, r->size };
		return;
	}
	memcpy(&s, (const char *)info + off, sizeof(s));
	off += sizeof(s);
	while (r->nr_areas < s.nr_areas && r->nr_areas < HOSTDEV_MAX_AREAS && range_fits(off, sizeof(a), len)) {
		memcpy(&a, (const char *)info + off, sizeof(a));
		r->areas[r->nr_areas++] = (struct slice){ a.offset, a.size };
		off += sizeof(a);
	}
}

int hostdev_region(int fd, unsigned index, struct hostdev_region *ret_r)
{
	struct vfio_region_info head = { .argsz = sizeof(head), .index = index };
	_cleanup_free_ struct vfio_region_info *info = NULL;
	struct hostdev_region r = { 0 };
	uint32_t len;

	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &head) < 0)
		return -errno;
	len = head.argsz;
	if (len < sizeof(head) || len > MAX_INFO)
		return -EINVAL;
	info = calloc(1, len);
	if (!info)
		return -ENOMEM;
	info->argsz = len;
	info->index = index;
	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, info) < 0)
		return -errno;
	if (info->argsz > len || !range_fits(info->offset, info->size, INT64_MAX))
		return -EINVAL;
	r.size = info->size;
	r.offset = info->offset;
	r.readable = info->flags & VFIO_REGION_INFO_FLAG_READ;
	r.writable = info->flags & VFIO_REGION_INFO_FLAG_WRITE;
	take_areas(info, len, &r);
	*ret_r = r;
	return 0;
}

unsigned hostdev_nr_irqs(int fd, enum hostdev_irq irq)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = irq };

	if (ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0 || !(info.flags & VFIO_IRQ_INFO_EVENTFD))
		return 0;
	return info.count;
}

static int set_irqs(int fd, uint32_t flags, enum hostdev_irq irq, const int *fds, unsigned n)
{
	union {
		struct vfio_irq_set head;
		char room[sizeof(struct vfio_irq_set) + HOSTDEV_MAX_VECTORS * sizeof(int32_t)];
	} set = {
		.head = { .flags = flags, .index = irq, .start = 0, .count = n },
	};
	int r;

	assert(n <= HOSTDEV_MAX_VECTORS);
	set.head.argsz = (uint32_t)(sizeof(set.head) + n * sizeof(int32_t));
	for (unsigned i = 0; i < n; i++)
		memcpy(set.head.data + i * sizeof(int32_t), &fds[i], sizeof(int32_t));
	r = ioctl(fd, VFIO_DEVICE_SET_IRQS, &set);
	/* A positive answer: so many vectors could be had, and none was taken. */
	return r < 0 ? -errno : r > 0 ? -ENOSPC : 0;
}

int hostdev_set_irqs(int fd, enum hostdev_irq irq, const int *fds, unsigned n)
{
	uint32_t data = n ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE;

	return set_irqs(fd, data | VFIO_IRQ_SET_ACTION_TRIGGER, irq, fds, n);
}

int hostdev_set_unmask(int fd, int unmask)
{
	return set_irqs(fd, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, HOSTDEV_INTX, &unmask, 1);
}

int hostdev_read(int fd, const struct hostdev_region *r, uint64_t off, void *buf, size_t len)
{
	if (!range_fits(off, len, r->size))
		return -EIO;
	return pread(fd, buf, len, (off_t)(r->offset + off)) == (ssize_t)len ? 0 : -EIO;
}

int hostdev_write(int fd, const struct hostdev_region *r, uint64_t off, const void *buf, size_t len)
{
	if (!range_fits(off, len, r->size))
		return -EIO;
	return pwrite(fd, buf, len, (off_t)(r->offset + off)) == (ssize_t)len ? 0 : -EIO;
}

void *hostdev_map(int fd, const struct hostdev_region *r, struct slice s)
{
	void *p = mmap(NULL, s.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(r->offset + s.off));

	return p == MAP_FAILED ? NULL : p;
}

void hostdev_unmap(void *p, struct slice s)
{
	munmap(p, s.size);
}

int hostdev_reset(int fd)
{
	return ioctl(fd, VFIO_DEVICE_RESET) < 0 ? -errno : 0;
}

const struct right hostdev_rights[] = {
	{ RIGHT_ALL, SYS_pread64, RIGHT_FD, FD_VFIO_DEVICE, 0, "configuration space, and what of BARs is not mapped" },
	{ RIGHT_ALL, SYS_pwrite64, RIGHT_FD, FD_VFIO_DEVICE, 0, "the same" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VFIO_DEVICE, VFIO_DEVICE_SET_IRQS, "the guest chooses its kind of interrupts" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VFIO_DEVICE, VFIO_DEVICE_RESET, "at the end, and where the guest asks" },
	{ 0 },
};
