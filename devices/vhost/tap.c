// SPDX-License-Identifier: BSD-3-Clause
/*
 * A tap is attached with as few system calls as give good answers: one look whether the
 * interface exists (TUNSETIFF would make it, for root), then open and TUNSETIFF a queue. What
 * is wrong with an interface that TUNSETIFF refused is asked only then.
 *
 * Header size and offloads belong to the interface and outlive us where it is persistent, so
 * both are put back: offloads to none, the header size to what it was. The offloads that the
 * kernel knows can only be found by setting them; nothing is read from the tap meanwhile.
 */
#include "devices/vhost/tap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "vmm/base/cleanup.h"
/* After <net/if.h>: both know struct ifreq, and this order makes the kernel's headers yield. */
#include "vmm/base/compat.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/rights.h"

#define TUN_PATH "/dev/net/tun"
#define OFFLOADS_UNKNOWN (~0u)
#define OFFLOADS_BASE (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO)
#define OFFLOADS_USO (TUN_F_USO4 | TUN_F_USO6)

static_assert(sizeof(((struct tap *)0)->name) == IFNAMSIZ, "interface names");

/* The kernel's dev_valid_name(), and no '%', which TUNSETIFF takes for a pattern. */
static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (; *name; name++)
		if ((unsigned char)*name <= ' ' || (unsigned char)*name >= 0x7f || strchr("/:%", *name))
			return false;
	return true;
}

static int tap_alloc(unsigned n, struct tap **ret_t)
{
	struct tap *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->nr_fds = n;
	t->enabled = n;
	t->offloads = OFFLOADS_UNKNOWN;
	for (unsigned i = 0; i < TAP_MAX_QUEUES; i++)
		t->fds[i] = -1;
	*ret_t = t;
	return 0;
}

void tap_close(struct tap *t)
{
	if (!t)
		return;
	if (t->offloads && t->offloads != OFFLOADS_UNKNOWN)
		tap_set_offload(t, 0);
	for (unsigned i = 0; i < t->nr_fds; i++) {
		if (t->old_hdr_size)
			ioctl(t->fds[i], TUNSETVNETHDRSZ, &t->old_hdr_size);
		close_fd(&t->fds[i]);
	}
	free(t);
}

/* In the network namespace of this process, which /sys need not show. */
static int look_up(struct tap *t, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };
	int r;

	if (fd < 0)
		return err_set(err, -errno, "%s: socket: %s", t->name, strerror(errno));
	memcpy(ifr.ifr_name, t->name, IFNAMSIZ);
	if (!ioctl(fd, SIOCGIFFLAGS, &ifr)) {
		t->up = ifr.ifr_flags & IFF_UP;
		return 0;
	}
	r = -errno;
	if (r != -ENODEV)
		return err_set(err, r, "%s: SIOCGIFFLAGS: %s", t->name, strerror(-r));
	return err_set(err, r, "%s: no such network interface (as root: ip tuntap add %s mode tap%s user $USER && "
		       "ip link set %s up)", t->name, t->name, t->nr_fds > 1 ? " multi_queue" : "", t->name);
}

/* What kind of interface is it? tun's driver names both itself and the mode. */
static bool is_tap(const char *name)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq ifr = { .ifr_data = (void *)&info };

	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	return fd >= 0 && !ioctl(fd, SIOCETHTOOL, &ifr) && !strcmp(info.driver, "tun") &&
	       !strcmp(info.bus_info, "tap");
}

static int refused(const struct tap *t, int r, struct err *err)
{
	const char *mq = t->nr_fds > 1 ? " multi_queue" : "";

	if (r == -EPERM)
		return err_set(err, r, "%s: TUNSETIFF: %s (run as root, or: ip tuntap add %s mode tap%s user $USER)",
			       t->name, strerror(-r), t->name, mq);
	if (r == -EBUSY)
		return err_set(err, r, "%s: TUNSETIFF: %s (another program has it open; each VM needs a tap of its own)",
			       t->name, strerror(-r));
	if (r != -EINVAL)
		return err_set(err, r, "%s: TUNSETIFF: %s", t->name, strerror(-r));
	if (!is_tap(t->name))
		return err_set(err, r, "%s: not a tap interface (make one: ip tuntap add NAME mode tap%s user $USER)",
			       t->name, mq);
	if (t->nr_fds > 1)
		return err_set(err, r, "%s: made without multi_queue, which queues=%u needs (queues=1, or: "
			       "ip tuntap add NAME mode tap multi_queue user $USER)", t->name, t->nr_fds);
	return err_set(err, r, "%s: made with multi_queue, which queues=1 cannot use (queues=2 or more, or: "
		       "ip tuntap add NAME mode tap user $USER)", t->name);
}

static int attach(struct tap *t, unsigned i, struct err *err)
{
	short mq = t->nr_fds > 1 ? IFF_MULTI_QUEUE : 0;
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | mq) };
	int r;

	t->fds[i] = open(TUN_PATH, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (t->fds[i] < 0) {
		r = -errno;
		return err_set(err, r, "%s: open '" TUN_PATH "': %s%s", t->name, strerror(-r),
			       r == -ENOENT || r == -ENODEV ? " (load the module tun)" :
			       r == -EACCES || r == -EPERM ? " (run as root, or ask for access to it)" : "");
	}
	fd_note(t->fds[i], FD_TAP);
	memcpy(ifr.ifr_name, t->name, IFNAMSIZ);
	return ioctl(t->fds[i], TUNSETIFF, &ifr) ? refused(t, -errno, err) : 0;
}

/* virtio 1 headers are 12 bytes. A persistent tap keeps the size that its last user set. */
static int set_hdr_size(struct tap *t, struct err *err)
{
	int size = TAP_HDR_SIZE, old;

	if (ioctl(t->fds[0], TUNGETVNETHDRSZ, &old))
		return err_set(err, -errno, "%s: TUNGETVNETHDRSZ: %s", t->name, strerror(errno));
	if (old != size)
		t->old_hdr_size = old; /* before the first is set: the second may be refused */
	/* Of the interface for a tap, of each queue for its cousin macvtap: hence all. */
	for (unsigned i = 0; i < t->nr_fds; i++)
		if (ioctl(t->fds[i], TUNSETVNETHDRSZ, &size))
			return err_set(err, -errno, "%s: TUNSETVNETHDRSZ: %s", t->name, strerror(errno));
	return 0;
}

/* The kernel refuses what it does not know as a whole and then changes nothing. */
static void probe_offloads(struct tap *t)
{
	t->can_offload = OFFLOADS_BASE;
	if (ioctl(t->fds[0], TUNSETOFFLOAD, (unsigned long)(OFFLOADS_BASE | OFFLOADS_USO)))
		return;
	t->can_offload |= OFFLOADS_USO;
	t->offloads = t->can_offload;
	tap_set_offload(t, 0);
}

static int finish(struct tap *t, struct tap **ret_t, struct err *err)
{
	int r = set_hdr_size(t, err);

	if (r) {
		tap_close(t);
		return r;
	}
	probe_offloads(t);
	*ret_t = t;
	return 0;
}

int tap_open(const char *name, unsigned pairs, struct tap **ret_t, struct err *err)
{
	struct tap *t;
	int r;

	if (!name_ok(name))
		return err_set(err, -EINVAL, "'%s': not a name of a network interface (1 to 15 characters, "
			       "no space, '/', ':' or '%%')", name);
	if (!pairs || pairs > TAP_MAX_QUEUES)
		return err_set(err, -EINVAL, "%s: queues=%u: 1 to %d", name, pairs, TAP_MAX_QUEUES);
	r = tap_alloc(pairs, &t);
	if (r)
		return err_set(err, r, "%s: %s", name, strerror(-r));
	memcpy(t->name, name, strlen(name));
	r = look_up(t, err);
	for (unsigned i = 0; !r && i < pairs; i++)
		r = attach(t, i, err);
	if (r) {
		tap_close(t);
		return r;
	}
	return finish(t, ret_t, err);
}

static int check_fd(struct tap *t, unsigned i, struct err *err)
{
	const short need = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq ifr = { 0 };
	int fl;

	for (unsigned k = 0; k < i; k++)
		if (t->fds[k] == t->fds[i])
			return err_set(err, -EINVAL, "fd=%d: given twice", steal_fd(&t->fds[i]));
	if (ioctl(t->fds[i], TUNGETIFF, &ifr))
		return err_set(err, -EINVAL, "fd=%d: not a tap: TUNGETIFF: %s", t->fds[i], strerror(errno));
	if ((ifr.ifr_flags & need) != need)
		return err_set(err, -EINVAL, "fd=%d: must be a tap opened with IFF_VNET_HDR and IFF_NO_PI", t->fds[i]);
	if (t->nr_fds > 1 && !(ifr.ifr_flags & IFF_MULTI_QUEUE))
		return err_set(err, -EINVAL, "fd=%d: several queues need a tap opened with IFF_MULTI_QUEUE", t->fds[i]);
	if (i && memcmp(t->name, ifr.ifr_name, IFNAMSIZ))
		return err_set(err, -EINVAL, "fd=%d: a queue of %.16s, the first one of %.16s", t->fds[i],
			       ifr.ifr_name, t->name);
	memcpy(t->name, ifr.ifr_name, IFNAMSIZ);
	t->name[IFNAMSIZ - 1] = '\0';
	fl = fcntl(t->fds[i], F_GETFL);
	if (fl < 0 || fcntl(t->fds[i], F_SETFL, fl | O_NONBLOCK) || fcntl(t->fds[i], F_SETFD, FD_CLOEXEC))
		return err_set(err, -errno, "fd=%d: fcntl: %s", t->fds[i], strerror(errno));
	fd_note(t->fds[i], FD_TAP);
	return 0;
}

static void close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = fds[i];

		close_fd(&fd);
	}
}

int tap_from_fds(const int *fds, unsigned n, struct tap **ret_t, struct err *err)
{
	struct tap *t;
	int r = 0;

	if (!n || n > TAP_MAX_QUEUES || tap_alloc(n, &t)) {
		close_all(fds, n);
		return err_set(err, n && n <= TAP_MAX_QUEUES ? -ENOMEM : -EINVAL,
			       "fd=: 1 to %d descriptors", TAP_MAX_QUEUES);
	}
	t->up = true;
	memcpy(t->fds, fds, n * sizeof(*fds));
	for (unsigned i = 0; !r && i < n; i++)
		r = check_fd(t, i, err);
	if (r) {
		tap_close(t);
		return r;
	}
	return finish(t, ret_t, err);
}

int tap_set_offload(struct tap *t, unsigned tun_f)
{
	if (t->offloads == tun_f)
		return 0;
	/* The first queue is never detached, and a detached one could not be asked. */
	if (ioctl(t->fds[0], TUNSETOFFLOAD, (unsigned long)tun_f))
		return -errno;
	t->offloads = tun_f;
	return 0;
}

static int set_queue(int fd, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	return ioctl(fd, TUNSETQUEUE, &ifr) ? -errno : 0;
}

int tap_enable_queues(struct tap *t, unsigned pairs)
{
	int r;

	if (!pairs || pairs > t->nr_fds)
		return -EINVAL;
	/* Attached from the front, detached from the back: the kernel swaps the last one in. */
	for (; t->enabled < pairs; t->enabled++) {
		r = set_queue(t->fds[t->enabled], true);
		if (r)
			return r;
	}
	for (; t->enabled > pairs; t->enabled--) {
		r = set_queue(t->fds[t->enabled - 1], false);
		if (r)
			return r;
	}
	return 0;
}

const struct right tap_rights[] = {
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_TAP, TUNSETOFFLOAD, "what the driver acknowledged" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_TAP, TUNSETQUEUE, "queue pairs that the driver uses" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_TAP, TUNSETVNETHDRSZ, "put back at the end" },
	{ 0 },
};
