// SPDX-License-Identifier: BSD-3-Clause
/*
 * container - theory of operation
 *
 * An IOMMU group is what the hardware can keep apart. It is handed out whole: VFIO calls it viable
 * when no other driver has any of its devices. A group that is not is the user's to change, so
 * the sentences name the devices that are in the way, and the commands.
 *
 * The order is the kernel's: container, group, SET_CONTAINER, then SET_IOMMU once a first group is
 * there; later groups join the same address space. Memory is mapped when the guest's RAM exists,
 * before the first device is opened, so that no device ever sees half of it.
 *
 * Mapping pins: each page is there from then on, and counts against RLIMIT_MEMLOCK for whoever has
 * no CAP_IPC_LOCK. The SMMU driver keeps a window for the doorbell of the host's own MSIs
 * (0x08000000 to 0x080fffff) and refuses mappings there; what it can translate is asked first, so
 * that the sentence can say which address it was.
 */
#include "devices/vfio/container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/core/gmem.h"

#define SYS "/sys"
#define MAX_RANGES 64

struct group {
	int nr, fd;
};

struct container {
	int fd;
	struct group groups[CONTAINER_MAX_GROUPS];
	unsigned nr_groups;
	bool mapped;
};

/* Admission */

static int refuse_driver(const char *id, const char *a, const struct sysdev *d, struct err *err)
{
	if (*d->driver)
		return err_set(err, -ENODEV,
			       "%s: %s belongs to the driver %s, not to vfio-pci (as root: cd /sys/bus/pci; echo vfio-pci "
			       ">devices/%s/driver_override; echo %s >devices/%s/driver/unbind; echo %s >drivers_probe)",
			       id, a, d->driver, a, a, a, a);
	return err_set(err, -ENODEV,
		       "%s: %s is not bound to vfio-pci (as root: modprobe vfio-pci; cd /sys/bus/pci; echo vfio-pci "
		       ">devices/%s/driver_override; echo %s >drivers_probe)", id, a, a, a);
}

static int look_up(const char *id, const char *address, struct sysdev *ret_d, struct err *err)
{
	if (sysdev_lookup(SYS, address, ret_d))
		return err_set(err, -ENODEV, "%s: this host has no PCI device %s (lspci -D lists them)", id, address);
	/* A device that no driver has taken up yet has no group, whatever stands before it. */
	if (ret_d->group < 0 && (*ret_d->driver || !sysdev_any_iommu(SYS)))
		return err_set(err, -ENODEV, "%s: %s is behind no IOMMU, and without one it cannot be given away (no "
			       "iommu_group in /sys/bus/pci/devices/%s; is the SMMU on in the firmware?)", id, address,
			       address);
	return sysdev_is_vfio(ret_d->driver) ? 0 : refuse_driver(id, address, ret_d, err);
}

static int container_new(const char *id, struct container **ret_c, struct err *err)
{
	struct container *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return err_set(err, -ENOMEM, "%s: out of memory", id);
	c->fd = fd_note(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), FD_VFIO_CONTAINER);
	if (c->fd < 0)
		r = err_set(err, -errno, "%s: open '/dev/vfio/vfio': %s%s", id, strerror(errno),
			    errno == EACCES ? " (run as root, or ask for access to it)" :
			    errno == EMFILE ? " (more are allowed by: ulimit -n)" : " (modprobe vfio-pci)");
	else if (ioctl(c->fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
		 ioctl(c->fd, VFIO_CHECK_EXTENSION, (long)VFIO_TYPE1v2_IOMMU) <= 0)
		r = err_set(err, -EOPNOTSUPP, "%s: this kernel's VFIO has no type 1 IOMMU (modprobe vfio_iommu_type1)", id);
	if (r) {
		container_free(c);
		return r;
	}
	*ret_c = c;
	return 0;
}

static int open_group(const char *id, int nr, int *ret_fd, struct err *err)
{
	char path[40];
	int r;

	snprintf(path, sizeof(path), "/dev/vfio/%d", nr);
	*ret_fd = fd_note(open(path, O_RDWR | O_CLOEXEC), FD_VFIO_GROUP);
	if (*ret_fd >= 0)
		return 0;
	r = -errno;
	if (r == -EBUSY)
		return err_set(err, r, "%s: IOMMU group %d is in use already, by another VM for instance", id, nr);
	if (r == -EACCES || r == -EPERM)
		return err_set(err, r, "%s: open '%s': %s (run as root, or as root: chown $USER %s)", id, path,
			       strerror(-r), path);
	return err_set(err, r, "%s: open '%s': %s", id, path, strerror(-r));
}

static int check_viable(const char *id, int fd, int nr, struct err *err)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char others[300];

	if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return err_set(err, -errno, "%s: IOMMU group %d: %s", id, nr, strerror(errno));
	if (status.flags & VFIO_GROUP_FLAGS_VIABLE)
		return 0;
	sysdev_blockers(SYS, nr, others, sizeof(others));
	return err_set(err, -EPERM, "%s: IOMMU group %d goes as a whole or not at all, and the host still uses %s (bind "
		       "them to vfio-pci, too, or unbind them)", id, nr, *others ? others : "a device of it");
}

static int join(struct container *c, const char *id, int fd, int nr, struct err *err)
{
	int r;

	if (ioctl(fd, VFIO_GROUP_SET_CONTAINER, &c->fd) < 0)
		return err_set(err, -errno, "%s: IOMMU group %d: VFIO_GROUP_SET_CONTAINER: %s", id, nr, strerror(errno));
	if (c->nr_groups || !ioctl(c->fd, VFIO_SET_IOMMU, (long)VFIO_TYPE1v2_IOMMU))
		return 0;
	r = -errno;
	return err_set(err, r, "%s: IOMMU group %d: VFIO_SET_IOMMU: %s%s", id, nr, strerror(-r),
		       r == -EPERM ? " (this host cannot keep the device's interrupts apart; who trusts the guest sets "
		       "vfio_iommu_type1.allow_unsafe_interrupts=1)" : "");
}

static int add_group(struct container *c, const char *id, int nr, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	for (unsigned i = 0; i < c->nr_groups; i++)
		if (c->groups[i].nr == nr)
			return 0;
	if (c->nr_groups == CONTAINER_MAX_GROUPS)
		return err_set(err, -E2BIG, "%s: more than %d IOMMU groups", id, CONTAINER_MAX_GROUPS);
	r = open_group(id, nr, &fd, err);
	if (!r)
		r = check_viable(id, fd, nr, err);
	if (!r)
		r = join(c, id, fd, nr, err);
	if (r)
		return r;
	c->groups[c->nr_groups++] = (struct group){ .nr = nr, .fd = steal_fd(&fd) };
	return 0;
}

int container_admit(struct container **c, const char *id, const char *address, struct sysdev *ret_d,
		    struct err *err)
{
	int r = look_up(id, address, ret_d, err);

	if (!r && !*c)
		r = container_new(id, c, err);
	return r ? r : add_group(*c, id, ret_d->group, err);
}

void container_free(struct container *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->nr_groups; i++)
		close_fd(&c->groups[i].fd);
	close_fd(&c->fd);
	free(c);
}

unsigned container_nr_groups(const struct container *c)
{
	return c->nr_groups;
}

int container_group_fd(const struct container *c, unsigned i)
{
	return c->groups[i].fd;
}

int container_open_device(const struct container *c, const char *id, const char *address, int *ret_fd,
			  struct err *err)
{
	int r = -ENODEV;

	/* By name, and of the groups that are ours: who moved the device meanwhile gets an error, not another device. */
	for (unsigned i = 0; i < c->nr_groups && r == -ENODEV; i++) {
		*ret_fd = fd_note(ioctl(c->groups[i].fd, VFIO_GROUP_GET_DEVICE_FD, address), FD_VFIO_DEVICE);
		if (*ret_fd >= 0)
			return 0;
		r = -errno;
	}
	return err_set(err, r, "%s: opening %s: %s%s", id, address, strerror(-r),
		       r == -EMFILE ? " (more are allowed by: ulimit -n)" : "");
}

/* Memory */

bool iova_usable(const struct iova_range *ranges, unsigned n, uint64_t start, uint64_t size, uint64_t *ret_bad)
{
	uint64_t last = start + (size - 1);

	*ret_bad = start;
	for (unsigned i = 0; i < n; i++) {
		if (start < ranges[i].start || start > ranges[i].end)
			continue;
		if (last <= ranges[i].end)
			return true;
		*ret_bad = ranges[i].end + 1;
	}
	return false;
}

/* Those of the capability at @off, which need not be aligned: before Linux 6.6 it stands behind one of 12 bytes. */
static unsigned copy_ranges(const char *info, uint32_t len, uint32_t off, struct iova_range *ranges)
{
	struct vfio_iommu_type1_info_cap_iova_range cap;
	struct vfio_iova_range r;
	unsigned n = 0;

	memcpy(&cap, info + off, sizeof(cap));
	for (off += sizeof(cap); n < cap.nr_iovas && n < MAX_RANGES && range_fits(off, sizeof(r), len); off += sizeof(r)) {
		memcpy(&r, info + off, sizeof(r));
		ranges[n++] = (struct iova_range){ r.start, r.end };
	}
	return n;
}

/* The ranges out of @info's capability; 0: the kernel does not say. */
static unsigned read_ranges(const struct vfio_iommu_type1_info *info, uint32_t len, struct iova_range *ranges)
{
	uint32_t off = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0;
	struct vfio_info_cap_header h;

	while (off && range_fits(off, sizeof(h), len)) {
		memcpy(&h, (const char *)info + off, sizeof(h));
		if (h.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE &&
		    range_fits(off, sizeof(struct vfio_iommu_type1_info_cap_iova_range), len))
			return copy_ranges((const char *)info, len, off, ranges);
		if (h.next <= off)
			break;
		off = h.next;
	}
	return 0;
}

static unsigned get_ranges(const struct container *c, struct iova_range *ranges)
{
	struct vfio_iommu_type1_info head = { .argsz = sizeof(head) };
	_cleanup_free_ struct vfio_iommu_type1_info *info = NULL;
	uint32_t len;

	if (ioctl(c->fd, VFIO_IOMMU_GET_INFO, &head) < 0 || head.argsz < sizeof(head) || head.argsz > 64 * KIB)
		return 0;
	len = head.argsz;
	info = calloc(1, len);
	if (!info)
		return 0;
	info->argsz = len;
	if (ioctl(c->fd, VFIO_IOMMU_GET_INFO, info) < 0 || info->argsz > len)
		return 0;
	return read_ranges(info, len, ranges);
}

static int explain_map(int r, const struct gmem_region *ram, struct err *err)
{
	struct rlimit lim = { 0 };

	getrlimit(RLIMIT_MEMLOCK, &lim);
	if (r == -ENOMEM && lim.rlim_cur != RLIM_INFINITY && lim.rlim_cur < ram->size)
		return err_set(err, r,
			       "vfio: the guest's memory of %llu MiB must be locked for DMA, and RLIMIT_MEMLOCK is %llu KiB "
			       "(ulimit -l %llu, or run as root)",
			       (unsigned long long)(ram->size / MIB), (unsigned long long)lim.rlim_cur / KIB,
			       (unsigned long long)(ram->size / KIB));
	return err_set(err, r, "vfio: mapping %llu MiB of guest memory at %#llx for DMA: %s",
		       (unsigned long long)(ram->size / MIB), (unsigned long long)ram->gpa, strerror(-r));
}

static int map_region(const struct container *c, const struct gmem_region *ram, struct err *err)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)ram->hva, .iova = ram->gpa, .size = ram->size,
	};

	return ioctl(c->fd, VFIO_IOMMU_MAP_DMA, &map) < 0 ? explain_map(-errno, ram, err) : 0;
}

int container_map(struct container *c, const struct gmem *mem, struct err *err)
{
	struct iova_range ranges[MAX_RANGES];
	unsigned n = c->mapped ? 0 : get_ranges(c, ranges);
	uint64_t bad;
	int r = 0;

	for (unsigned i = 0; i < gmem_nr_regions(mem) && !c->mapped && !r; i++) {
		const struct gmem_region *ram = gmem_region(mem, i);

		if (n && !iova_usable(ranges, n, ram->gpa, ram->size, &bad))
			r = err_set(err, -ERANGE, "vfio: the IOMMU keeps the address %#llx for itself (the doorbell of MSIs, for "
				    "instance), and guest memory lies there", (unsigned long long)bad);
		else
			r = map_region(c, ram, err);
	}
	c->mapped = c->mapped || !r;
	return r;
}
