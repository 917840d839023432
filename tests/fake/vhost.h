/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake/vhost - the kernel behind ioctl(2): vhost-net descriptors and a tap's queues
 *
 * What:   takes the place of ioctl(2) in the test program that includes it. What the kernel
 *         refuses is refused with the kernel's errno; what it accepts and must never be asked
 *         for is noted as a complaint.
 * Not:    packets. Requests on other descriptors go to the real kernel.
 * Thread: the test's. To be included once in a program, which is why it is not a .c file:
 *         linked with all the others it would replace ioctl(2) for tests of the real thing.
 * Source: Linux drivers/vhost/vhost.c, net.c, drivers/net/tun.c.
 */
#ifndef TESTS_FAKE_VHOST_H
#define TESTS_FAKE_VHOST_H

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/compat.h"
#include "vmm/base/types.h"

#define FAKE_VHOST_MAX 16
#define FAKE_VHOST_LOG 512

struct fake_vhost_ring {
	unsigned num, base;
	bool has_num, has_base, has_addr;
	struct vhost_vring_addr addr;
	int kick, call, err, backend;
	unsigned backends;         /* times one was set */
};

struct fake_vhost_dev {
	int fd;                    /* -1: free */
	uint64_t cid;              /* vhost-vsock */
	bool owned;
	uint64_t acked;
	unsigned nregions;
	struct vhost_memory_region regions[8];
	struct fake_vhost_ring ring[2];
};

static struct {
	uint64_t features;         /* what GET_FEATURES says */
	struct fake_vhost_dev dev[FAKE_VHOST_MAX];
	/* the tap */
	int tap_fd[FAKE_VHOST_MAX], peer_fd[FAKE_VHOST_MAX];
	bool attached[FAKE_VHOST_MAX];
	unsigned nr_queues;
	bool knows_uso;
	unsigned offloads, nr_offload_calls;
	int hdr_size;
	/* every request seen, and one to refuse */
	unsigned long log[FAKE_VHOST_LOG];
	unsigned nr_log;
	unsigned long fail_req;
	int fail_errno;
	unsigned fail_after;       /* let so many pass first */
	const char *complaint;
} fv;

static inline void fake_vhost_reset(void)
{
	memset(&fv, 0, sizeof(fv));
	fv.features = BIT64(15) | BIT64(24) | BIT64(26) | BIT64(27) | BIT64(28) | BIT64(29) | BIT64(32) |
		      BIT64(33) | BIT64(40);
	fv.knows_uso = true;
	fv.hdr_size = 12;
	for (unsigned i = 0; i < FAKE_VHOST_MAX; i++)
		fv.dev[i].fd = -1;
}

static inline int fake_vhost_fd(void)
{
	for (unsigned i = 0; i < FAKE_VHOST_MAX; i++) {
		struct fake_vhost_dev *d = &fv.dev[i];

		if (d->fd >= 0)
			continue;
		memset(d, 0, sizeof(*d));
		d->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		for (unsigned k = 0; k < 2; k++)
			d->ring[k].kick = d->ring[k].call = d->ring[k].err = d->ring[k].backend = -1;
		return d->fd;
	}
	abort();
}

/* The first @n queues of the tap; the other ends, packets with headers, are fv.peer_fd[]. */
static inline void fake_tap_make(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int s[2];

		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s))
			abort();
		fv.tap_fd[i] = s[0];
		fv.peer_fd[i] = s[1];
		fv.attached[i] = true;
	}
	fv.nr_queues = n;
}

static inline void fake_vhost_fail(unsigned long req, int err, unsigned after)
{
	fv.fail_req = req;
	fv.fail_errno = err;
	fv.fail_after = after;
}

static inline struct fake_vhost_dev *fake_vhost_dev(int fd)
{
	for (unsigned i = 0; i < FAKE_VHOST_MAX; i++)
		if (fv.dev[i].fd == fd && fd >= 0)
			return &fv.dev[i];
	return NULL;
}

static inline int fake_tap_queue(int fd)
{
	for (unsigned i = 0; i < fv.nr_queues; i++)
		if (fv.tap_fd[i] == fd)
			return (int)i;
	return -1;
}

static inline unsigned fake_vhost_count(unsigned long req)
{
	unsigned n = 0;

	for (unsigned i = 0; i < fv.nr_log; i++)
		n += fv.log[i] == req;
	return n;
}

static inline bool fake_vhost_mapped(const struct fake_vhost_dev *d, uint64_t hva, uint64_t len)
{
	for (unsigned i = 0; i < d->nregions; i++)
		if (hva >= d->regions[i].userspace_addr &&
		    hva + len <= d->regions[i].userspace_addr + d->regions[i].memory_size)
			return true;
	return false;
}

static inline int fake_vhost_set_backend(struct fake_vhost_dev *d, const struct vhost_vring_file *f)
{
	struct fake_vhost_ring *r = &d->ring[f->index];
	int q = fake_tap_queue(f->fd);

	/* Checked for -1 too. */
	if (!r->has_addr || !fake_vhost_mapped(d, r->addr.desc_user_addr, 16ul * r->num) ||
	    !fake_vhost_mapped(d, r->addr.avail_user_addr, 6 + 2ul * r->num) ||
	    !fake_vhost_mapped(d, r->addr.used_user_addr, 6 + 8ul * r->num))
		return EFAULT;
	if (f->fd >= 0 && q < 0)
		return ENOTSOCK;
	if (f->fd >= 0 && !fv.attached[q])
		return EINVAL; /* polling it is POLLERR */
	if (f->fd >= 0 && (r->call < 0 || r->kick < 0))
		fv.complaint = "back end before CALL or KICK";
	r->backend = f->fd;
	r->backends += f->fd >= 0;
	return 0;
}

static inline int fake_vhost_ring_call(struct fake_vhost_dev *d, unsigned long req, void *arg)
{
	const struct vhost_vring_state *s = arg;
	const struct vhost_vring_file *f = arg;
	const struct vhost_vring_addr *a = arg;
	struct fake_vhost_ring *r;

	if (s->index >= 2)
		return ENOBUFS;
	r = &d->ring[s->index];
	switch (req) {
	case VHOST_SET_VRING_NUM:
		if (r->backend >= 0)
			return EBUSY;
		if (!is_pow2(s->num) || s->num > 32768)
			return EINVAL;
		r->num = s->num;
		r->has_num = true;
		return 0;
	case VHOST_SET_VRING_BASE:
		if (r->backend >= 0)
			return EBUSY;
		r->base = s->num;
		r->has_base = true;
		return 0;
	case VHOST_SET_VRING_ADDR:
		if (a->flags)
			return EOPNOTSUPP;
		if ((a->used_user_addr & 3) || (a->avail_user_addr & 1) || (a->desc_user_addr & 15))
			return EINVAL;
		if (!r->has_num || !r->has_base)
			fv.complaint = "ADDR before NUM and BASE";
		r->addr = *a;
		r->has_addr = true;
		return 0;
	case VHOST_SET_VRING_KICK:
		if (f->fd >= 0 && r->call < 0)
			fv.complaint = "KICK before CALL";
		if (f->fd < 0 && r->call >= 0)
			fv.complaint = "KICK taken away before CALL";
		r->kick = f->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		if (f->fd < 0 && r->backend >= 0)
			fv.complaint = "CALL taken away before the back end";
		r->call = f->fd;
		return 0;
	case VHOST_SET_VRING_ERR:
		r->err = f->fd;
		return 0;
	case VHOST_NET_SET_BACKEND:
		return fake_vhost_set_backend(d, f);
	default:
		return ENOTTY;
	}
}

static inline int fake_vsock_cid(struct fake_vhost_dev *d, uint64_t cid)
{
	if (cid <= 2 || cid >= UINT32_MAX)
		return EINVAL;
	for (unsigned i = 0; i < FAKE_VHOST_MAX; i++)
		if (fv.dev[i].fd >= 0 && &fv.dev[i] != d && fv.dev[i].cid == cid)
			return EADDRINUSE;
	d->cid = cid;
	return 0;
}

/* Both rings, or none. */
static inline int fake_vsock_run(struct fake_vhost_dev *d, bool on)
{
	for (unsigned i = 0; on && i < 2; i++) {
		if (!d->ring[i].has_addr)
			return EFAULT;
		if (d->ring[i].call < 0 || d->ring[i].kick < 0 || !d->cid)
			fv.complaint = "running before CALL, KICK or CID";
	}
	for (unsigned i = 0; i < 2; i++)
		d->ring[i].backend = on ? 0 : -1;
	return 0;
}

static inline int fake_vhost_call(struct fake_vhost_dev *d, unsigned long req, void *arg)
{
	const struct vhost_memory *m = arg;

	switch (req) {
	case VHOST_SET_OWNER:
		if (d->owned)
			return EBUSY;
		d->owned = true;
		return 0;
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = fv.features;
		return 0;
	case VHOST_SET_FEATURES:
		if (*(uint64_t *)arg & ~fv.features)
			return EOPNOTSUPP;
		if (d->ring[0].backend >= 0 || d->ring[1].backend >= 0)
			fv.complaint = "features after the back end";
		d->acked = *(uint64_t *)arg;
		return 0;
	case VHOST_VSOCK_SET_GUEST_CID:
		return fake_vsock_cid(d, *(uint64_t *)arg);
	case VHOST_RESET_OWNER:
		fv.complaint = "RESET_OWNER";
		d->owned = false;
		return 0;
	}
	if (!d->owned)
		return EPERM;
	if (req == VHOST_VSOCK_SET_RUNNING)
		return fake_vsock_run(d, *(int *)arg);
	if (req != VHOST_SET_MEM_TABLE)
		return fake_vhost_ring_call(d, req, arg);
	if (m->padding)
		return EOPNOTSUPP;
	if (m->nregions > ARRAY_LEN(d->regions))
		return E2BIG;
	d->nregions = m->nregions;
	memcpy(d->regions, m->regions, m->nregions * sizeof(*m->regions));
	return 0;
}

static inline int fake_tap_call(unsigned q, unsigned long req, void *arg)
{
	const unsigned uso = TUN_F_USO4 | TUN_F_USO6;
	unsigned tun_f = (unsigned)(uintptr_t)arg;
	struct ifreq *ifr = arg;
	bool on;

	switch (req) {
	case TUNSETOFFLOAD:
		if (!fv.attached[q])
			return EBADFD;
		fv.nr_offload_calls++;
		if (tun_f & ~(0x1fu | uso) || (!fv.knows_uso && (tun_f & uso)) ||
		    ((tun_f & uso) && (tun_f & uso) != uso) || ((tun_f & 0x7e) && !(tun_f & TUN_F_CSUM)) ||
		    ((tun_f & TUN_F_TSO_ECN) && !(tun_f & (TUN_F_TSO4 | TUN_F_TSO6))))
			return EINVAL;
		fv.offloads = tun_f;
		return 0;
	case TUNSETQUEUE:
		on = ifr->ifr_flags & IFF_ATTACH_QUEUE;
		if (on == fv.attached[q])
			return EINVAL;
		fv.attached[q] = on;
		return 0;
	case TUNGETIFF:
		memset(ifr, 0, sizeof(*ifr));
		strcpy(ifr->ifr_name, "tap0");
		ifr->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
		if (fv.nr_queues > 1)
			ifr->ifr_flags |= IFF_MULTI_QUEUE;
		return 0;
	case TUNGETVNETHDRSZ:
		*(int *)arg = fv.hdr_size;
		return 0;
	case TUNSETVNETHDRSZ:
		if (*(int *)arg < 10)
			return EINVAL;
		fv.hdr_size = *(int *)arg;
		return 0;
	default:
		return ENOTTY;
	}
}

static inline int fake_vhost_refused(unsigned long req)
{
	if (fv.nr_log < FAKE_VHOST_LOG)
		fv.log[fv.nr_log++] = req;
	if (!fv.fail_errno || fv.fail_req != req || fv.fail_after-- > 0)
		return 0;
	fv.fail_req = 0;
	return fv.fail_errno;
}

int ioctl(int fd, unsigned long req, ...)
{
	struct fake_vhost_dev *d = fake_vhost_dev(fd);
	int q = fake_tap_queue(fd), err;
	va_list ap;
	void *arg;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!d && q < 0)
		return (int)syscall(SYS_ioctl, fd, req, arg);
	err = fake_vhost_refused(req);
	if (!err)
		err = d ? fake_vhost_call(d, req, arg) : fake_tap_call((unsigned)q, req, arg);
	if (!err)
		return 0;
	errno = err;
	return -1;
}

#endif
