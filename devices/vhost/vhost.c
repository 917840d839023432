// SPDX-License-Identifier: BSD-3-Clause
/*
 * One vhost descriptor has one owner for life: RESET_OWNER is never called, since the kernel
 * then refuses every later ioctl, and a reset of the device needs no more than the back end
 * taken away and the eventfds unbound.
 */
#include "devices/vhost/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/rights.h"

/*
 * What we pass on. Never bit 27, which makes vhost-net add a header of its own, nor
 * ACCESS_PLATFORM (we serve no IOTLB), LOG_ALL or RING_RESET.
 */
#define FEATURES_KNOWN                                                                           \
	(BIT64(VIRTIO_VSOCK_F_SEQPACKET) | BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) | \
	 BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_F_VERSION_1))
#define VIRTIO_NET_F_MRG_RXBUF 15
#define VIRTIO_VSOCK_F_SEQPACKET 1 /* vhost-net has no such bit to offer */

static int do_ioctl(const struct vh_dev *d, unsigned long req, const void *arg)
{
	if (d->fd < 0) /* closed for good */
		return -EBADF;
	return ioctl(d->fd, req, arg) < 0 ? -errno : 0;
}

int vh_open(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd_note(fd, FD_VHOST);
	return 0;
}

static int init(struct vh_dev *d)
{
	int r = do_ioctl(d, VHOST_SET_OWNER, NULL);

	if (!r)
		r = do_ioctl(d, VHOST_GET_FEATURES, &d->features);
	if (r)
		return r;
	d->features &= FEATURES_KNOWN;
	if (!(d->features & BIT64(VIRTIO_F_VERSION_1)))
		return -ENOTSUP;
	d->err_fd = fd_event();
	return d->err_fd < 0 ? d->err_fd : 0;
}

int vh_init(struct vh_dev *d, int fd, unsigned nr_rings)
{
	int r;

	*d = (struct vh_dev){ .fd = fd, .nr_rings = nr_rings, .err_fd = -1 };
	r = init(d);
	if (r)
		vh_fini(d);
	return r;
}

void vh_fini(struct vh_dev *d)
{
	close_fd(&d->fd);
	close_fd(&d->err_fd);
}

int vh_set_features(struct vh_dev *d, uint64_t features)
{
	features &= d->features;
	return do_ioctl(d, VHOST_SET_FEATURES, &features);
}

int vh_set_mem(struct vh_dev *d, const struct gmem *mem)
{
	union {
		struct vhost_memory head;
		char room[sizeof(struct vhost_memory) +
			  GMEM_MAX_REGIONS * sizeof(struct vhost_memory_region)];
	} table = { .room = { 0 } };
	unsigned n = gmem_nr_regions(mem);

	if (n > GMEM_MAX_REGIONS)
		return -E2BIG;
	table.head.nregions = n;
	for (unsigned i = 0; i < n; i++) {
		const struct gmem_region *g = gmem_region(mem, i);

		table.head.regions[i].guest_phys_addr = g->gpa;
		table.head.regions[i].memory_size = g->size;
		table.head.regions[i].userspace_addr = (uintptr_t)g->hva;
	}
	return do_ioctl(d, VHOST_SET_MEM_TABLE, &table);
}

/* virtio 1.2 s2.7: sizes and alignments of the three areas, event index words included. */
static int ring_addr(const struct gmem *mem, const struct vh_ring *r, struct vhost_vring_addr *ret_a)
{
	void *desc, *avail, *used;

	if (!is_pow2(r->size) || !is_aligned(r->desc, 16) || !is_aligned(r->avail, 2) || !is_aligned(r->used, 4))
		return -EINVAL;
	desc = gmem_ptr(mem, r->desc, 16ul * r->size);
	avail = gmem_ptr(mem, r->avail, 6 + 2ul * r->size);
	used = gmem_ptr(mem, r->used, 6 + 8ul * r->size);
	if (!desc || !avail || !used)
		return -EFAULT;
	*ret_a = (struct vhost_vring_addr){
		.desc_user_addr = (uintptr_t)desc,
		.avail_user_addr = (uintptr_t)avail,
		.used_user_addr = (uintptr_t)used,
		.log_guest_addr = r->used,
	};
	return 0;
}

int vh_ring_check(const struct gmem *mem, const struct vh_ring *r)
{
	struct vhost_vring_addr a;

	return ring_addr(mem, r, &a);
}

static int set_file(const struct vh_dev *d, unsigned long req, unsigned ring, int fd)
{
	struct vhost_vring_file f = { .index = ring, .fd = fd };

	return do_ioctl(d, req, &f);
}

int vh_ring_start(struct vh_dev *d, unsigned ring, const struct gmem *mem, const struct vh_ring *regs,
		  int kick_fd, int call_fd)
{
	struct vhost_vring_state num = { .index = ring, .num = regs->size };
	struct vhost_vring_state base = { .index = ring, .num = 0 };
	struct vhost_vring_addr addr;
	int r = ring_addr(mem, regs, &addr);

	if (r)
		return r;
	addr.index = ring;
	r = do_ioctl(d, VHOST_SET_VRING_NUM, &num);
	if (!r)
		r = do_ioctl(d, VHOST_SET_VRING_BASE, &base);
	if (!r)
		r = do_ioctl(d, VHOST_SET_VRING_ADDR, &addr);
	if (!r)
		r = set_file(d, VHOST_SET_VRING_ERR, ring, d->err_fd);
	/* CALL before KICK, so that nothing completes without a signal. */
	if (!r)
		r = set_file(d, VHOST_SET_VRING_CALL, ring, call_fd);
	if (!r)
		r = set_file(d, VHOST_SET_VRING_KICK, ring, kick_fd);
	return r;
}

void vh_ring_stop(struct vh_dev *d, unsigned ring)
{
	set_file(d, VHOST_SET_VRING_CALL, ring, VHOST_FILE_UNBIND);
	set_file(d, VHOST_SET_VRING_KICK, ring, VHOST_FILE_UNBIND);
}

int vh_net_set_backend(struct vh_dev *d, int tap_fd)
{
	int first = 0;

	for (unsigned ring = 0; ring < d->nr_rings; ring++) {
		int r = set_file(d, VHOST_NET_SET_BACKEND, ring, tap_fd);

		if (r && !first)
			first = r;
		if (r && tap_fd >= 0)
			break;
	}
	if (first && tap_fd >= 0)
		vh_net_set_backend(d, -1);
	return first;
}

int vh_vsock_set_cid(int fd, uint32_t cid)
{
	uint64_t wide = cid;

	return ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &wide) ? -errno : 0;
}

int vh_vsock_set_running(struct vh_dev *d, bool on)
{
	int start = on;

	return do_ioctl(d, VHOST_VSOCK_SET_RUNNING, &start);
}

bool vh_take_error(struct vh_dev *d)
{
	return fd_drain(d->err_fd);
}

const struct right vh_rights[] = {
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_SET_FEATURES, "what the driver acknowledged" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_SET_MEM_TABLE, "guest memory" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_SET_VRING_NUM, "a ring starts" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_SET_VRING_BASE, "a ring starts" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_SET_VRING_ADDR, "a ring starts" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_SET_VRING_ERR, "a ring starts" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_SET_VRING_CALL, "a ring starts or stops" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_SET_VRING_KICK, "a ring starts or stops" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_NET_SET_BACKEND, "the rings get their tap, or lose it" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_VHOST, VHOST_VSOCK_SET_RUNNING, "sockets begin, or end" },
	{ 0 },
};
