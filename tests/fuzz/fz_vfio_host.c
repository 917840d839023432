// SPDX-License-Identifier: BSD-3-Clause
/*
 * vfio_host: what a host says of its devices until one of them is open, and of that one's regions.
 *
 * Covers: vfio/sysdev.c on a /sys that the input makes up; container.c and hostdev.c on a VFIO of which any
 *         request may fail, any answer be longer than it was, and any chain of capabilities lead anywhere.
 *         They are built here once more, with that host instead of the C library's calls.
 * Oracle: what is admitted is what may be, and each refusal has its errno and sentence; requests come in the
 *         kernel's order and at most once where it takes them once; DMA reaches the guest's RAM, at its
 *         addresses, and nothing else; a region's areas are those that the kernel named; no transfer or
 *         mapping leaves its region; in the end no descriptor is left.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/vfio/container.h"
#include "devices/vfio/hostdev.h"
#include "tests/unit/irq_check.h"
#include "vmm/base/cleanup.h"
#include "vmm/core/gmem.h"

#define NR_DEVS 3
#define NR_FILES 16
#define PCI_DIR "/sys/bus/pci/devices/"
#define GROUPS_DIR "/sys/kernel/iommu_groups/"
#define ADDRESS "0000:00:0%u.0" /* the number is the device's index */
#define RAM 0x80000000u
#define RAM_SIZE 0x10000u
#define MORE 0xc0000000u /* as much again */
#define PAGE 4096u

/* ---- a /sys ---- */

static struct made_dev {
	bool there;
	char driver[64], group[64]; /* what the links point to; "" where there is none */
	int nr;                     /* the group that this is; -1: none */
	char resource[512];         /* the file; "" where there is none */
	uint64_t mem64;             /* what is in it, at least */
	bool garbled;               /* there may be more */
} devs[NR_DEVS];
static bool has_iommu;

/* A directory that is being read. */
static struct {
	unsigned group, at;
	bool iommu;
	struct dirent entry;
} listing;

static const char *tail_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The device whose address stands at @text, and what follows it in *@ret_rest. */
static struct made_dev *dev_named(const char *text, const char **ret_rest)
{
	for (unsigned i = 0; i < NR_DEVS; i++) {
		char address[16];
		int n = snprintf(address, sizeof(address), ADDRESS, i);

		if (devs[i].there && !strncmp(text, address, (size_t)n)) {
			*ret_rest = text + n;
			return &devs[i];
		}
	}
	return NULL;
}

static struct made_dev *dev_at(const char *path, const char **ret_rest)
{
	unsigned group;
	int n = 0;

	if (!strncmp(path, PCI_DIR, sizeof(PCI_DIR) - 1))
		return dev_named(path + sizeof(PCI_DIR) - 1, ret_rest);
	return sscanf(path, GROUPS_DIR "%u/devices/%n", &group, &n) == 1 && n ? dev_named(path + n, ret_rest) : NULL;
}

static int host_stat(const char *path, struct stat *st)
{
	const char *rest;

	(void)st;
	return dev_at(path, &rest) && !*rest ? 0 : -1;
}

static ssize_t host_readlink(const char *path, char *buf, size_t cap)
{
	const char *rest, *target = "";
	const struct made_dev *d = dev_at(path, &rest);
	size_t len;

	if (d && !strcmp(rest, "/driver"))
		target = d->driver;
	if (d && !strcmp(rest, "/iommu_group"))
		target = d->group;
	len = strlen(target);
	must(len < cap);
	memcpy(buf, target, len);
	return *target ? (ssize_t)len : -1;
}

static FILE *host_fopen(const char *path, const char *mode)
{
	const char *rest;
	struct made_dev *d = dev_at(path, &rest);

	must(!strcmp(mode, "re"));
	return d && !strcmp(rest, "/resource") && *d->resource ? fmemopen(d->resource, strlen(d->resource), "r") : NULL;
}

static DIR *host_opendir(const char *path)
{
	int n = 0;

	memset(&listing, 0, sizeof(listing));
	listing.iommu = !strcmp(path, "/sys/class/iommu");
	if (!listing.iommu && (sscanf(path, GROUPS_DIR "%u/devices%n", &listing.group, &n) != 1 || !n || path[n]))
		return NULL;
	return (DIR *)&listing;
}

static struct dirent *host_readdir(DIR *d)
{
	unsigned i;

	must(d == (DIR *)&listing);
	snprintf(listing.entry.d_name, sizeof(listing.entry.d_name), "%s", listing.at ? ".." : ".");
	if (listing.at++ < 2)
		return &listing.entry;
	i = listing.at - 3;
	if (listing.iommu) {
		snprintf(listing.entry.d_name, sizeof(listing.entry.d_name), "smmu3.%u", i);
		return has_iommu && !i ? &listing.entry : NULL;
	}
	while (i < NR_DEVS && !(devs[i].there && devs[i].nr == (int)listing.group))
		i++;
	listing.at = i + 3;
	snprintf(listing.entry.d_name, sizeof(listing.entry.d_name), ADDRESS, i);
	return i < NR_DEVS ? &listing.entry : NULL;
}

static int host_closedir(DIR *d)
{
	must(d == (DIR *)&listing);
	return 0;
}

/* ---- VFIO ---- */

enum file_kind { CONTAINER, GROUP, DEVICE };

static struct file {
	int fd;
	enum file_kind kind;
	int group;
	bool joined;
} files[NR_FILES];
static unsigned nr_files;

/* The bytes behind one of the two requests that answer with a chain. */
struct answer {
	union {
		struct vfio_iommu_type1_info iommu;
		struct vfio_region_info region;
		uint8_t bytes[400];
	};
	uint32_t len, later; /* what the kernel says that it is: at first, and from then on */
	unsigned asked;
};

static struct {
	int open_errno, group_errno; /* of /dev/vfio/vfio, of a group's file */
	long api;
	bool has_type1;
	unsigned knows_better;       /* group by bit: the kernel says the opposite of what /sys shows */
	unsigned long fail_req;      /* fails, once, after so many */
	unsigned fail_after;
	int fail_errno;
	bool failed;                 /* it did */
	bool iommu_set;
	unsigned nr_maps;
	struct gmem *mem;
	rlim_t memlock;
	struct answer iommu, region;
	bool is_pci, resets, signals, short_io;
	unsigned nr_regions, nr_irqs;
	unsigned few;                /* vectors that it can give, where not all */
	const int *fds;              /* of the vfio_irq_set that has to come */
	unsigned nr_fds;
	uint32_t action;
	const struct hostdev_region *reached; /* where transfers may go */
} host;

static void note_file(int fd, enum file_kind kind, int group)
{
	for (unsigned i = 0; i < nr_files; i++)
		if (files[i].fd == fd) /* an earlier one of that number was closed */
			files[i--] = files[--nr_files];
	must(nr_files < NR_FILES);
	files[nr_files++] = (struct file){ fd, kind, group, false };
}

static struct file *file_of(int fd)
{
	for (unsigned i = 0; i < nr_files; i++)
		if (files[i].fd == fd && fcntl(fd, F_GETFD) >= 0)
			return &files[i];
	return NULL;
}

static struct file *group_file(int group)
{
	for (unsigned i = 0; i < nr_files; i++)
		if (files[i].kind == GROUP && files[i].group == group && fcntl(files[i].fd, F_GETFD) >= 0)
			return &files[i];
	return NULL;
}

static void driver_of(const struct made_dev *d, char name[40])
{
	snprintf(name, 40, "%s", tail_of(d->driver));
}

/* Does it keep its group from being given away? */
static bool is_in_the_way(const struct made_dev *d)
{
	char name[40];

	driver_of(d, name);
	return *name && !strstr(name, "vfio") && strcmp(name, "pci-stub") && strcmp(name, "pcieport");
}

static bool is_viable(int group)
{
	bool viable = true;

	for (unsigned i = 0; i < NR_DEVS; i++)
		viable &= !(devs[i].there && devs[i].nr == group && is_in_the_way(&devs[i]));
	return viable != (group < 32 && host.knows_better & BIT32(group));
}

static int fails(int error)
{
	errno = error;
	return -1;
}

static int host_open(const char *path, int flags)
{
	int group = -1, error = host.open_errno, fd;

	must(flags == (O_RDWR | O_CLOEXEC));
	if (strcmp(path, "/dev/vfio/vfio")) {
		must(sscanf(path, "/dev/vfio/%d", &group) == 1 && group >= 0);
		must(!group_file(group)); /* a second time is EBUSY for ever */
		error = host.group_errno;
	}
	if (error)
		return fails(error);
	fd = eventfd(0, EFD_CLOEXEC);
	must(fd >= 0);
	note_file(fd, group < 0 ? CONTAINER : GROUP, group);
	return fd;
}

/* As the kernel: all of it, or as much as there is room for; and how long it is. */
static int give(struct answer *a, void *arg, uint32_t least)
{
	uint32_t room, len = a->asked++ ? a->later : a->len;

	memcpy(&room, arg, sizeof(room));
	must(room >= least);
	memcpy(arg, a->bytes, room < sizeof(a->bytes) ? room : sizeof(a->bytes));
	memcpy(arg, &len, sizeof(len));
	return 0;
}

static int container_request(unsigned long req, void *arg)
{
	const struct vfio_iommu_type1_dma_map *map = arg;
	const struct gmem_region *ram;

	switch (req) {
	case VFIO_SET_IOMMU:
		must((long)arg == VFIO_TYPE1v2_IOMMU && !host.iommu_set);
		for (unsigned i = 0; i < nr_files; i++)
			host.iommu_set |= files[i].joined && file_of(files[i].fd);
		must(host.iommu_set);
		return 0;
	case VFIO_IOMMU_GET_INFO:
		return give(&host.iommu, arg, sizeof(struct vfio_iommu_type1_info));
	case VFIO_IOMMU_MAP_DMA:
		must(host.iommu_set && host.nr_maps < gmem_nr_regions(host.mem));
		ram = gmem_region(host.mem, host.nr_maps++);
		must(map->argsz == sizeof(*map) && map->flags == (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
		must(map->iova == ram->gpa && map->vaddr == (uintptr_t)ram->hva && map->size == ram->size);
		return 0;
	}
	must(false);
}

static int group_request(struct file *f, unsigned long req, void *arg)
{
	struct vfio_group_status *status = arg;
	const struct made_dev *d;
	const struct file *c;
	const char *rest;
	int fd;

	switch (req) {
	case VFIO_GROUP_GET_STATUS:
		must(status->argsz == sizeof(*status));
		status->flags = is_viable(f->group) ? VFIO_GROUP_FLAGS_VIABLE : 0;
		return 0;
	case VFIO_GROUP_SET_CONTAINER:
		c = file_of(*(const int *)arg);
		must(c && c->kind == CONTAINER && !f->joined && is_viable(f->group));
		f->joined = true;
		return 0;
	case VFIO_GROUP_GET_DEVICE_FD:
		d = dev_named(arg, &rest);
		must(f->joined && host.iommu_set);
		if (!d || *rest || d->nr != f->group)
			return fails(ENODEV);
		fd = eventfd(0, EFD_CLOEXEC);
		must(fd >= 0);
		note_file(fd, DEVICE, f->group);
		return fd;
	}
	must(false);
}

static int set_irqs_request(const struct vfio_irq_set *s)
{
	must(s->argsz == sizeof(*s) + 4 * host.nr_fds && s->start == 0 && s->count == host.nr_fds);
	must(s->flags == (host.action | (host.nr_fds ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE)));
	must(!host.nr_fds || !memcmp(s->data, host.fds, 4 * host.nr_fds));
	return host.nr_fds > host.few ? (int)host.few : 0;
}

static int device_request(unsigned long req, void *arg)
{
	struct vfio_device_info *info = arg;
	struct vfio_irq_info *irq = arg;

	switch (req) {
	case VFIO_DEVICE_GET_INFO:
		must(info->argsz == sizeof(*info));
		info->flags = (host.is_pci ? VFIO_DEVICE_FLAGS_PCI : 0) | (host.resets ? VFIO_DEVICE_FLAGS_RESET : 0);
		info->num_regions = host.nr_regions;
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO:
		return give(&host.region, arg, sizeof(struct vfio_region_info));
	case VFIO_DEVICE_GET_IRQ_INFO:
		must(irq->argsz == sizeof(*irq) && irq->index <= VFIO_PCI_REQ_IRQ_INDEX);
		irq->flags = host.signals ? VFIO_IRQ_INFO_EVENTFD : 0;
		irq->count = host.nr_irqs;
		return 0;
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs_request(arg);
	case VFIO_DEVICE_RESET:
		return 0;
	}
	must(false);
}

static int host_ioctl(int fd, unsigned long req, ...)
{
	struct file *f = file_of(fd);
	va_list ap;
	void *arg;

	va_start(ap, req);
	arg = req == VFIO_GET_API_VERSION || req == VFIO_DEVICE_RESET ? NULL : va_arg(ap, void *);
	va_end(ap);
	must(f);
	if (req == host.fail_req && !host.failed && !host.fail_after--) {
		host.failed = true;
		return fails(host.fail_errno);
	}
	if (req == VFIO_GET_API_VERSION)
		return (int)host.api;
	if (req == VFIO_CHECK_EXTENSION)
		return host.has_type1 && (long)arg == VFIO_TYPE1v2_IOMMU;
	return f->kind == CONTAINER ? container_request(req, arg) :
	       f->kind == GROUP	    ? group_request(f, req, arg) : device_request(req, arg);
}

static int host_getrlimit(int what, struct rlimit *lim)
{
	must(what == RLIMIT_MEMLOCK);
	lim->rlim_cur = host.memlock;
	return 0;
}

static bool in_reach(off_t off, size_t len)
{
	const struct hostdev_region *r = host.reached;

	return off >= 0 && (uint64_t)off >= r->offset && len <= r->size && (uint64_t)off - r->offset <= r->size - len;
}

static ssize_t host_pread(int fd, void *buf, size_t len, off_t off)
{
	must(file_of(fd)->kind == DEVICE && in_reach(off, len));
	memset(buf, 0x5a, len);
	return (ssize_t)len - host.short_io;
}

static ssize_t host_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	must(buf && file_of(fd)->kind == DEVICE && in_reach(off, len));
	return (ssize_t)len - host.short_io;
}

static void *host_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	must(!at && prot == (PROT_READ | PROT_WRITE) && flags == MAP_SHARED && file_of(fd)->kind == DEVICE);
	must(len && len % PAGE == 0 && in_reach(off, len) && ((uint64_t)off - host.reached->offset) % PAGE == 0);
	return host.short_io ? MAP_FAILED : &host;
}

static int host_munmap(void *p, size_t len)
{
	must(p == &host && len);
	return 0;
}

/* After their own headers. */
#define stat(path, st) host_stat(path, st)
#define readlink host_readlink
#define fopen host_fopen
#define opendir host_opendir
#define readdir host_readdir
#define closedir host_closedir
#define open host_open
#define ioctl host_ioctl
#define getrlimit host_getrlimit
#define pread host_pread
#define pwrite host_pwrite
#define mmap host_mmap
#define munmap host_munmap
#include "devices/vfio/sysdev.c"
#include "devices/vfio/container.c"
#include "devices/vfio/hostdev.c"
#undef stat
#undef open
#undef mmap

/* ---- making one up ---- */

/* The text of a link: some that there are, or anything. */
static void make_link(struct fuzz_in *in, char text[64], const char *const *usual, unsigned n)
{
	uint8_t how = fuzz_u8(in);

	memset(text, 0, 64);
	if (how < 0xf0)
		strcpy(text, usual[how % n]);
	else
		fuzz_take(in, text, 4 * (how & 15u));
}

/* What a link to a group says, by its last part. */
static int group_nr(const char *target)
{
	const char *text = tail_of(target);
	uint64_t nr = 0;

	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9')
			return -1;
		nr = nr > INT_MAX ? nr : nr * 10 + (uint64_t)(*c - '0');
	}
	return *text && nr <= INT_MAX ? (int)nr : -1;
}

static void make_resource(struct fuzz_in *in, struct made_dev *d)
{
	uint8_t how = fuzz_u8(in);
	unsigned lines = how & 7;
	size_t at = 0;

	memset(d->resource, 0, sizeof(d->resource));
	d->mem64 = 0;
	for (unsigned i = 0; i < lines; i++) {
		uint64_t start = fuzz_u16(in) * UINT64_C(0x100000000), size = UINT64_C(1) << (fuzz_u8(in) % 50);
		uint64_t flags = (fuzz_u8(in) & 1 ? 0x200 : 0x100) | (how & 8 ? 0x100000 : 0);

		at += (size_t)snprintf(d->resource + at, sizeof(d->resource) - at, "0x%016llx 0x%016llx 0x%016llx\n",
				       (unsigned long long)start, (unsigned long long)(start + size - 1),
				       (unsigned long long)flags);
		if (i < 6 && flags == 0x100200 && size > 1 && size <= UINT64_C(1) << 46)
			d->mem64 += size;
	}
	d->garbled = how & 0x80;
	if (d->garbled)
		fuzz_take(in, d->resource + at, 30);
}

static void make_dev(struct fuzz_in *in, struct made_dev *d)
{
	static const char *const drivers[] = { "../../bus/pci/drivers/vfio-pci", "../mlx5_vfio_pci", "", "nvme", "../pcieport",
					       "pci-stub", "drivers/a_driver_with_a_name_that_is_longer_than_most" };
	static const char *const groups[] = { "../../kernel/iommu_groups/1", "../2", "3", "", "17x", "4294967297" };

	d->there = fuzz_u8(in) != 0xff;
	make_link(in, d->driver, drivers, ARRAY_LEN(drivers));
	make_link(in, d->group, groups, ARRAY_LEN(groups));
	d->nr = group_nr(d->group);
	make_resource(in, d);
}

/* A chain of capabilities at @at: perhaps another one, of twelve bytes, then that of @id with @n pairs of numbers. */
static uint32_t make_chain(struct answer *a, uint32_t at, bool other, uint16_t id, const uint64_t (*pairs)[2], uint32_t n)
{
	struct vfio_info_cap_header h = { .id = 77, .version = 1, .next = at + 12 };

	if (other) {
		memcpy(a->bytes + at, &h, sizeof(h));
		at = h.next;
	}
	h = (struct vfio_info_cap_header){ .id = id, .version = 1 };
	memcpy(a->bytes + at, &h, sizeof(h));
	memcpy(a->bytes + at + 8, &n, sizeof(n));
	memcpy(a->bytes + at + 16, pairs, n * sizeof(*pairs));
	return at + 16 + n * (uint32_t)sizeof(*pairs);
}

/* Nothing that a kernel would say. */
static void spoil(struct fuzz_in *in, struct answer *a)
{
	uint8_t how = fuzz_u8(in);

	if (how & 1)
		fuzz_take(in, a->bytes + 4 * (how >> 4), 24);
	if (how & 2)
		a->len = fuzz_u16(in) * 2u;
	a->later = how & 4 ? fuzz_u16(in) : a->len;
}

static bool ranges_known;
static uint64_t ranges[10][2];
static unsigned nr_ranges;

static void make_iommu(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	struct answer *a = &host.iommu;
	uint64_t at = 0;

	memset(a, 0, sizeof(*a));
	nr_ranges = how & 7;
	for (unsigned i = 0; i < nr_ranges; i++) {
		ranges[i][0] = at + fuzz_u8(in) * UINT64_C(0x1000000);
		ranges[i][1] = ranges[i][0] + fuzz_u8(in) * UINT64_C(0x1000000) + 0xfff;
		at = ranges[i][1] + 2;
	}
	a->iommu.flags = how & 8 ? 0 : VFIO_IOMMU_INFO_CAPS;
	a->iommu.cap_offset = sizeof(a->iommu);
	a->len = a->later = make_chain(a, sizeof(a->iommu), how & 16, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, ranges, nr_ranges);
	if (how & 8)
		nr_ranges = 0;
	ranges_known = !(how & 32);
	if (how & 32)
		spoil(in, a);
}

static void make_host(struct fuzz_in *in)
{
	static const unsigned long requests[] = {
		VFIO_GET_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU, VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA,
		VFIO_GROUP_GET_STATUS, VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD, VFIO_DEVICE_GET_INFO,
		VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_RESET,
	};
	static const int errors[] = { EPERM, ENOMEM, EACCES, EBUSY, ENOENT, EMFILE, ENODEV, EINVAL };
	uint8_t how = fuzz_u8(in), fail = fuzz_u8(in);

	memset(&host, 0, sizeof(host));
	nr_files = 0;
	has_iommu = !(how & 1);
	host.api = how & 2 ? 1 : VFIO_API_VERSION;
	host.has_type1 = !(how & 4);
	host.knows_better = how & 8 ? fuzz_u8(in) : 0;
	host.memlock = how & 16 ? 0x4000 : RLIM_INFINITY;
	if (how & 32)
		host.open_errno = errors[fail & 7];
	if (how & 64)
		host.group_errno = errors[fail & 7];
	if (how & 128) {
		host.fail_req = requests[(fail >> 3) % ARRAY_LEN(requests)];
		host.fail_errno = errors[fail & 7];
		host.fail_after = fuzz_below(in, 4);
	}
	for (unsigned i = 0; i < NR_DEVS; i++)
		make_dev(in, &devs[i]);
	make_iommu(in);
	must(gmem_new(&host.mem) == 0 && gmem_add(host.mem, RAM, RAM_SIZE, false) == 0);
	must(gmem_add(host.mem, MORE, RAM_SIZE, false) == 0);
}

/* ---- what is done with it ---- */

static struct container *container;
static int device = -1;
static bool map_failed; /* then a VM ends */

/* Of the container. */
static bool is_member(int group)
{
	for (unsigned i = 0; container && i < container_nr_groups(container); i++) {
		const struct file *f = file_of(container_group_fd(container, i));

		must(f && f->kind == GROUP && f->joined);
		if (f->group == group)
			return true;
	}
	return false;
}

/* Why the device at index @i, of this /sys, is not admitted; 0: it is, unless a request fails. */
static int refusal(const struct made_dev *d)
{
	char driver[40];

	driver_of(d, driver);
	if (!d->there || !strstr(driver, "vfio") || d->nr < 0)
		return -ENODEV;
	if (!container && host.open_errno)
		return -host.open_errno;
	if (!container && (host.api != VFIO_API_VERSION || !host.has_type1))
		return -EOPNOTSUPP;
	if (is_member(d->nr))
		return 0;
	return host.group_errno ? -host.group_errno : is_viable(d->nr) ? 0 : -EPERM;
}

static void check_lookup(const struct made_dev *d, const struct sysdev *got)
{
	char driver[40];

	driver_of(d, driver);
	must(!strcmp(got->driver, driver) && got->group == d->nr);
	must(d->garbled ? got->mem64 >= d->mem64 : got->mem64 == d->mem64);
}

/* Whoever is in the way is named. */
static void check_blockers(int group, const char *text)
{
	for (unsigned i = 0; i < NR_DEVS; i++) {
		char address[16];

		snprintf(address, sizeof(address), ADDRESS, i);
		if (devs[i].there && devs[i].nr == group && is_in_the_way(&devs[i]))
			must(strstr(text, address));
	}
}

static void admit(struct fuzz_in *in)
{
	unsigned i = fuzz_below(in, NR_DEVS);
	const struct made_dev *d = &devs[i];
	unsigned before = container ? container_nr_groups(container) : 0;
	bool failed = host.failed, member = is_member(d->nr);
	struct err err = { "" };
	struct sysdev got;
	char address[16];
	int want = refusal(d), r;

	snprintf(address, sizeof(address), ADDRESS, i);
	r = container_admit(&container, "vfio0", address, &got, &err);
	if (d->there)
		check_lookup(d, &got);
	failed = host.failed != failed;
	must(failed ? r == -host.fail_errno || r == -EOPNOTSUPP : r == want);
	must(!r == !err.text[0]);
	if (r == -EPERM && !failed && !host.open_errno && !host.group_errno)
		check_blockers(d->nr, err.text);
	must(!r == is_member(d->nr) || (r && member));
	must(!container || container_nr_groups(container) == before + (!r && !member));
}

/* Does all of it lie in one range that the IOMMU translates? */
static bool translated(uint64_t start)
{
	for (unsigned i = 0; i < nr_ranges; i++)
		if (start >= ranges[i][0] && start + RAM_SIZE - 1 <= ranges[i][1])
			return true;
	return !nr_ranges;
}

static void map(void)
{
	bool failed = host.failed, fits = translated(RAM) && translated(MORE);
	struct err err = { "" };
	int r;

	if (!container || !container_nr_groups(container) || map_failed)
		return;
	r = container_map(container, host.mem, &err);
	map_failed = r;
	must(!r == !err.text[0] && (r || host.nr_maps == 2));
	if (host.failed != failed && host.fail_req == VFIO_IOMMU_MAP_DMA)
		must(r == -host.fail_errno);
	else if (ranges_known && host.fail_req != VFIO_IOMMU_GET_INFO)
		must(r == (fits ? 0 : -ERANGE));
}

static void open_device(struct fuzz_in *in)
{
	unsigned i = fuzz_below(in, NR_DEVS);
	bool failed = host.failed;
	struct err err = { "" };
	char address[16];
	int r;

	close_fd(&device);
	if (!container)
		return;
	snprintf(address, sizeof(address), ADDRESS, i);
	r = container_open_device(container, "vfio0", address, &device, &err);
	if (r)
		device = -1;
	must(!r == !err.text[0]);
	if (r == 0)
		must(file_of(device)->kind == DEVICE && file_of(device)->group == devs[i].nr);
	must(!r == (devs[i].there && is_member(devs[i].nr)) || (r && host.failed != failed));
}

static bool region_known;
static uint64_t areas[10][2];
static unsigned nr_areas;

static void make_region(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in), size = fuzz_u8(in);
	struct answer *a = &host.region;

	memset(a, 0, sizeof(*a));
	nr_areas = fuzz_below(in, ARRAY_LEN(areas) + 1);
	for (unsigned i = 0; i < nr_areas; i++) {
		areas[i][0] = fuzz_u16(in) * (how & 64 ? 0x100ull : PAGE);
		areas[i][1] = fuzz_u8(in) * (uint64_t)PAGE;
	}
	a->region.flags = VFIO_REGION_INFO_FLAG_READ | (how & 1 ? 0 : VFIO_REGION_INFO_FLAG_MMAP) |
			  (how & 2 ? 0 : VFIO_REGION_INFO_FLAG_CAPS);
	a->region.size = how & 4 ? fuzz_u64(in) : BIT64(size & 31);
	a->region.offset = how & 8 ? fuzz_u64(in) : (uint64_t)(size >> 5) << 40;
	a->region.cap_offset = sizeof(a->region);
	a->len = a->later = make_chain(a, sizeof(a->region), how & 16, VFIO_REGION_INFO_CAP_SPARSE_MMAP, areas, nr_areas);
	if (how & 2) { /* then it is all of it */
		nr_areas = 1;
		areas[0][0] = 0;
		areas[0][1] = a->region.size;
	}
	if (how & 1)
		nr_areas = 0;
	region_known = !(how & 32);
	if (how & 32)
		spoil(in, a);
}

static void check_region(const struct hostdev_region *r)
{
	must(r->size == host.region.region.size && r->offset == host.region.region.offset);
	must(r->readable && !r->writable);
	must(r->nr_areas == (nr_areas < HOSTDEV_MAX_AREAS ? nr_areas : HOSTDEV_MAX_AREAS));
	for (unsigned i = 0; i < r->nr_areas; i++)
		must(r->areas[i].off == areas[i][0] && r->areas[i].size == areas[i][1]);
}

static void use_region(struct fuzz_in *in, const struct hostdev_region *r)
{
	uint64_t off = fuzz_u8(in) & 1 ? fuzz_u64(in) : fuzz_u16(in);
	unsigned len = 1 + fuzz_below(in, 8);
	bool inside = off <= r->size && len <= r->size - off;
	struct slice cut[4];
	uint64_t buf = 0;
	unsigned n;

	host.reached = r;
	host.short_io = fuzz_u8(in) & 1;
	must(hostdev_read(device, r, off, &buf, len) == (inside && !host.short_io ? 0 : -EIO));
	must(hostdev_write(device, r, off, &buf, len) == (inside && !host.short_io ? 0 : -EIO));
	n = slices_cut(r->areas, r->nr_areas, NULL, 0, r->size, PAGE, cut, ARRAY_LEN(cut));
	for (unsigned i = 0; i < n; i++) {
		void *at = hostdev_map(device, r, cut[i]);

		must(!at == host.short_io);
		if (at)
			hostdev_unmap(at, cut[i]);
	}
	host.reached = NULL;
}

static void look_at_region(struct fuzz_in *in)
{
	struct hostdev_region r = { 0 };
	bool failed = host.failed, fits;
	int ret;

	if (device < 0)
		return;
	make_region(in);
	fits = host.region.region.offset <= INT64_MAX && host.region.region.size <= INT64_MAX - host.region.region.offset;
	ret = hostdev_region(device, HOSTDEV_BAR0, &r);
	if (host.failed != failed)
		must(ret == -host.fail_errno);
	else if (region_known)
		must(ret == (fits ? 0 : -EINVAL));
	if (ret)
		return;
	if (region_known)
		check_region(&r);
	use_region(in, &r);
}

static void look_at_device(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	bool failed = host.failed, resets = false;
	unsigned n;
	int r;

	if (device < 0)
		return;
	host.is_pci = !(how & 1);
	host.resets = how & 2;
	host.signals = how & 4;
	host.nr_regions = how >> 3 & 15;
	host.nr_irqs = fuzz_u16(in);
	r = hostdev_info(device, &resets);
	if (host.failed != failed)
		must(r == -host.fail_errno);
	else
		must(r == (host.is_pci && host.nr_regions > VFIO_PCI_CONFIG_REGION_INDEX ? 0 : -EINVAL));
	must(r || resets == host.resets);
	failed = host.failed;
	n = hostdev_nr_irqs(device, HOSTDEV_MSIX);
	must(n == (host.failed == failed && host.signals ? host.nr_irqs : 0));
	failed = host.failed;
	must(hostdev_reset(device) == (host.failed == failed ? 0 : -host.fail_errno));
}

static void set_irqs_of(struct fuzz_in *in)
{
	static int fds[HOSTDEV_MAX_VECTORS];
	unsigned n = fuzz_u16(in) % (HOSTDEV_MAX_VECTORS + 1);
	bool failed = host.failed;
	int r;

	if (device < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		fds[i] = (int)(7 * i);
	host.fds = fds;
	host.nr_fds = n;
	host.few = fuzz_u8(in) & 1 ? fuzz_u8(in) : HOSTDEV_MAX_VECTORS;
	host.action = VFIO_IRQ_SET_ACTION_TRIGGER;
	r = hostdev_set_irqs(device, (enum hostdev_irq)fuzz_below(in, 5), fds, n);
	/* The kernel's answer 0 means that it was done. */
	must(r == (host.failed != failed ? -host.fail_errno : n > host.few && host.few ? -ENOSPC : 0));
	failed = host.failed;
	host.nr_fds = 1;
	host.few = 1;
	host.action = VFIO_IRQ_SET_ACTION_UNMASK;
	r = hostdev_set_unmask(device, fds[0]);
	must(r == (host.failed != failed ? -host.fail_errno : 0));
}

static void look_at_sys(struct fuzz_in *in)
{
	int group = (int)fuzz_below(in, 5);
	size_t cap = 1 + fuzz_below(in, 200);
	char *buf = malloc(cap), *whole = malloc(1000);

	must(buf && whole);
	must(sysdev_any_iommu(SYS) == has_iommu);
	sysdev_blockers(SYS, group, whole, 1000);
	check_blockers(group, whole);
	sysdev_blockers(SYS, group, buf, cap);
	must(strlen(buf) == (strlen(whole) < cap ? strlen(whole) : cap - 1) && !strncmp(buf, whole, strlen(buf)));
	free(buf);
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	unsigned fds = open_fds();

	make_host(&in);
	map_failed = false;
	for (unsigned steps = 0; fuzz_more(&in) && steps < 40; steps++) {
		switch (fuzz_below(&in, 8)) {
		case 0: case 1: admit(&in); break;
		case 2: map(); break;
		case 3: open_device(&in); break;
		case 4: look_at_region(&in); break;
		case 5: look_at_device(&in); break;
		case 6: set_irqs_of(&in); break;
		case 7: look_at_sys(&in); break;
		}
	}
	close_fd(&device);
	container_free(container);
	container = NULL;
	gmem_free(host.mem);
	must(open_fds() == fds);
	return 0;
}
