// SPDX-License-Identifier: BSD-3-Clause
/*
 * tap: interfaces of any kind and descriptors of any kind, taken, used and given back.
 *
 * Covers: vhost/tap.c, built here once more on a made-up kernel: names as a user types them, interfaces that
 *         are not there, are no taps, belong to others or are busy, descriptors that are no taps or do not
 *         belong together; offloads and queues as a driver asks for them; requests that fail.
 * Oracle: a model of the kernel's tun says which of them can be had, and with which errno not; no interface
 *         is ever made; what was taken has headers of 12 bytes and no offloads, and its attached queues are
 *         the first so many; whatever happens, the interface has its own header size again in the end, no
 *         offloads that we set, and no descriptor is left.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/vhost/tap.h"
#include "tests/unit/irq_check.h"
#include "vmm/base/compat.h"

#define NAME "tap0"
#define NR_FDS (TAP_MAX_QUEUES + 2)
#define NEED (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define USO (TUN_F_USO4 | TUN_F_USO6)

enum kind { IF_NONE, IF_TAP, IF_TUN, IF_OTHER };

static struct queue {
	int fd;
	bool is_tap, attached;
	char name[IFNAMSIZ];
	short flags;
} queues[NR_FDS];
static unsigned nr_queues;

static struct {
	enum kind kind;            /* of the interface NAME */
	bool multi, up, ours, busy, knows_uso;
	unsigned room;             /* queues */
	int hdr_size, first_hdr_size;
	unsigned offloads, first_offloads;
	bool offloads_set;         /* by us, to anything */
	int socket_errno, open_errno;
	unsigned long fail_req;    /* fails, once, after so many */
	unsigned fail_after;
	int fail_errno;
	bool failed;
} tun;

static int fails(int error)
{
	errno = error;
	return -1;
}

static struct queue *queue_of(int fd)
{
	for (unsigned i = 0; i < nr_queues; i++)
		if (queues[i].fd == fd)
			return &queues[i];
	return NULL;
}

static unsigned nr_attached(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr_queues; i++)
		n += queues[i].attached;
	return n;
}

static struct queue *new_queue(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct queue *q = queue_of(fd); /* of a number that was closed */

	must(fd >= 0 && (q || nr_queues < NR_FDS));
	q = q ? q : &queues[nr_queues++];
	*q = (struct queue){ .fd = fd };
	return q;
}

static int tun_socket(int domain, int type, int protocol)
{
	must(domain == AF_UNIX && type == (SOCK_DGRAM | SOCK_CLOEXEC) && !protocol);
	return tun.socket_errno ? fails(tun.socket_errno) : eventfd(0, EFD_CLOEXEC);
}

static int tun_open(const char *path, int flags)
{
	must(!strcmp(path, "/dev/net/tun") && flags == (O_RDWR | O_CLOEXEC | O_NONBLOCK));
	return tun.open_errno ? fails(tun.open_errno) : new_queue()->fd;
}

static bool is_named(const struct ifreq *ifr)
{
	return tun.kind != IF_NONE && !strncmp(ifr->ifr_name, NAME, IFNAMSIZ);
}

static int socket_request(unsigned long req, struct ifreq *ifr)
{
	struct ethtool_drvinfo *info;

	must(req == SIOCGIFFLAGS || req == SIOCETHTOOL);
	if (!is_named(ifr))
		return ENODEV;
	if (req == SIOCGIFFLAGS) {
		ifr->ifr_flags = tun.up ? IFF_UP : 0;
		return 0;
	}
	info = (void *)ifr->ifr_data;
	must(info->cmd == ETHTOOL_GDRVINFO);
	strcpy(info->driver, tun.kind == IF_OTHER ? "veth" : "tun");
	strcpy(info->bus_info, tun.kind == IF_TAP ? "tap" : "tun");
	return 0;
}

/* Why a queue cannot be attached to the interface; 0: it can. */
static int attach_error(bool multi)
{
	if (tun.kind != IF_TAP || tun.multi != multi)
		return EINVAL;
	if (!tun.ours)
		return EPERM;
	if (!multi && (tun.busy || nr_attached()))
		return EBUSY;
	return nr_attached() < tun.room ? 0 : E2BIG;
}

static int set_if(struct queue *q, const struct ifreq *ifr)
{
	bool multi = ifr->ifr_flags & IFF_MULTI_QUEUE;
	int error = attach_error(multi);

	must(is_named(ifr)); /* or it would be made */
	must((ifr->ifr_flags & ~IFF_MULTI_QUEUE) == NEED && !q->is_tap);
	if (error)
		return error;
	q->is_tap = q->attached = true;
	strcpy(q->name, NAME);
	q->flags = ifr->ifr_flags;
	return 0;
}

static int set_offload(unsigned tun_f)
{
	if (tun_f & ~(0x1fu | (tun.knows_uso ? USO : 0)) || ((tun_f & USO) && (tun_f & USO) != USO) ||
	    ((tun_f & ~TUN_F_CSUM) && !(tun_f & TUN_F_CSUM)) ||
	    ((tun_f & TUN_F_TSO_ECN) && !(tun_f & (TUN_F_TSO4 | TUN_F_TSO6))))
		return EINVAL;
	tun.offloads = tun_f;
	tun.offloads_set = true;
	return 0;
}

static int set_queue_request(struct queue *q, short flags)
{
	bool on = flags & IFF_ATTACH_QUEUE;

	must(flags == IFF_ATTACH_QUEUE || flags == IFF_DETACH_QUEUE);
	if (!(q->flags & IFF_MULTI_QUEUE) || q->attached == on)
		return EINVAL;
	q->attached = on;
	return 0;
}

static int queue_request(struct queue *q, unsigned long req, void *arg)
{
	struct ifreq *ifr = arg;

	if (req == TUNSETIFF)
		return set_if(q, ifr);
	if (!q->is_tap)
		return ENOTTY;
	switch (req) {
	case TUNGETIFF:
		memset(ifr, 0, sizeof(*ifr));
		memcpy(ifr->ifr_name, q->name, IFNAMSIZ);
		ifr->ifr_flags = q->flags;
		return 0;
	case TUNGETVNETHDRSZ:
		*(int *)arg = tun.hdr_size;
		return 0;
	case TUNSETVNETHDRSZ:
		must(*(int *)arg >= 10);
		tun.hdr_size = *(int *)arg;
		return 0;
	case TUNSETOFFLOAD:
		return q->attached ? set_offload((unsigned)(uintptr_t)arg) : EBADFD;
	case TUNSETQUEUE:
		return set_queue_request(q, ifr->ifr_flags);
	}
	must(false);
}

static int tun_ioctl(int fd, unsigned long req, ...)
{
	struct queue *q = queue_of(fd);
	va_list ap;
	void *arg;
	int error;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (req == tun.fail_req && !tun.failed && !tun.fail_after--) {
		tun.failed = true;
		return fails(tun.fail_errno);
	}
	if (req == SIOCGIFFLAGS || req == SIOCETHTOOL)
		error = socket_request(req, arg);
	else
		error = q ? queue_request(q, req, arg) : EBADF;
	return error ? fails(error) : 0;
}

#define socket tun_socket
#define open tun_open
#define ioctl tun_ioctl
#include "devices/vhost/tap.c"

static void make_tun(struct fuzz_in *in)
{
	static const unsigned long requests[] = { SIOCGIFFLAGS, SIOCETHTOOL, TUNSETIFF, TUNGETIFF, TUNGETVNETHDRSZ,
						  TUNSETVNETHDRSZ, TUNSETOFFLOAD, TUNSETQUEUE };
	static const int errors[] = { EPERM, EBUSY, EIO, ENOENT, EACCES, EMFILE, ENODEV, EINVAL };
	static const enum kind kinds[] = { IF_TAP, IF_TAP, IF_TAP, IF_TUN, IF_OTHER, IF_NONE, IF_TAP, IF_TAP };
	uint8_t how = fuzz_u8(in), fail = fuzz_u8(in);

	memset(&tun, 0, sizeof(tun));
	nr_queues = 0;
	tun.kind = kinds[how & 7];
	tun.multi = how & 8;
	tun.up = how & 16;
	tun.busy = how & 32;
	tun.knows_uso = how & 64;
	tun.ours = !(how & 128);
	how = fuzz_u8(in);
	tun.hdr_size = tun.first_hdr_size = how & 1 ? 10 : TAP_HDR_SIZE;
	tun.offloads = tun.first_offloads = how & 2 ? TUN_F_CSUM : 0;
	tun.room = how & 4 ? fuzz_below(in, TAP_MAX_QUEUES + 1) : 256;
	if (how & 8)
		tun.socket_errno = errors[fail & 7];
	if (how & 16)
		tun.open_errno = errors[fail & 7];
	if (how & 32) {
		tun.fail_req = requests[fail >> 3 & 7];
		tun.fail_errno = errors[fail & 7];
		tun.fail_after = fuzz_below(in, 20);
	}
}

/* What the kernel takes for a name, and no pattern. */
static bool is_name(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '/' || name[i] == ':' || name[i] == '%')
			return false;
	return len && len < IFNAMSIZ && strcmp(name, ".") && strcmp(name, "..");
}

static int open_error(const char *name, unsigned pairs)
{
	int error = 0;

	if (!is_name(name) || !pairs || pairs > TAP_MAX_QUEUES)
		return EINVAL;
	if (tun.socket_errno)
		return tun.socket_errno;
	if (strcmp(name, NAME) || tun.kind == IF_NONE)
		return ENODEV;
	if (tun.open_errno)
		return tun.open_errno;
	error = attach_error(pairs > 1);
	return error ? error : pairs > tun.room ? E2BIG : 0;
}

static struct tap *by_name(struct fuzz_in *in, struct err *err)
{
	unsigned pairs = fuzz_below(in, TAP_MAX_QUEUES + 2);
	char name[24] = NAME;
	struct tap *t = NULL;
	int want, r;

	if (fuzz_u8(in) & 1)
		fuzz_take(in, name, fuzz_below(in, sizeof(name)));
	want = open_error(name, pairs);
	r = tap_open(name, pairs, &t, err);
	must(!r == !!t && (want ? r == -want || tun.failed : !r || tun.failed));
	must(!t || (t->up == tun.up && t->nr_fds == pairs));
	return t;
}

/* Descriptors that somebody else opened: queues of NAME, most of the time. */
static unsigned make_fds(struct fuzz_in *in, int fds[NR_FDS], bool *ret_fit)
{
	unsigned n = fuzz_below(in, NR_FDS + 1);

	*ret_fit = n && n <= TAP_MAX_QUEUES;
	for (unsigned i = 0; i < n; i++) {
		struct queue *q = new_queue();
		uint8_t odd = fuzz_u8(in);

		*q = (struct queue){ .fd = q->fd, .is_tap = true, .attached = true, .name = NAME,
				     .flags = NEED | (n > 1 ? IFF_MULTI_QUEUE : 0) };
		fds[i] = q->fd;
		if (odd == 1)
			q->is_tap = false;
		if (odd == 2)
			q->flags &= (short)~fuzz_u16(in);
		if (odd == 3)
			strcpy(q->name, "tap1");
		*ret_fit &= q->is_tap && (q->flags & NEED) == NEED && (n == 1 || q->flags & IFF_MULTI_QUEUE) &&
			    (!i || !strcmp(q->name, queue_of(fds[0])->name));
	}
	return n;
}

static struct tap *by_fds(struct fuzz_in *in, struct err *err)
{
	int fds[NR_FDS], again = -1;
	bool fits;
	unsigned n = make_fds(in, fds, &fits), twice = fuzz_u8(in);
	struct tap *t = NULL;
	int r;

	if (twice < n && twice) {
		again = fds[twice];
		fds[twice] = fds[twice - 1];
		fits = false;
	}
	r = tap_from_fds(fds, n, &t, err);
	must(!r == !!t && (fits ? !r || tun.failed : r == -EINVAL || tun.failed));
	must(!t || (t->up && t->nr_fds == n));
	if (again >= 0)
		close(again);
	return t;
}

static void check_taken(const struct tap *t)
{
	must(tun.hdr_size == TAP_HDR_SIZE && t->enabled >= 1 && t->enabled <= t->nr_fds && nr_attached() == t->enabled);
	for (unsigned i = 0; i < t->nr_fds; i++)
		must(queue_of(t->fds[i])->attached == (i < t->enabled) && fcntl(t->fds[i], F_GETFD) == FD_CLOEXEC);
	must(t->offloads == OFFLOADS_UNKNOWN || t->offloads == tun.offloads);
}

static void check_offloads(struct tap *t, unsigned tun_f)
{
	const unsigned before = tun.offloads;
	bool failed = tun.failed;
	int r = tap_set_offload(t, tun_f);

	if (tun.failed != failed)
		must(r == -tun.fail_errno);
	else
		must(r == 0 || r == -EINVAL);
	must(tun.offloads == (r ? before : tun_f));
	/* None, and all of what it says that it can, is never refused. */
	must(!r || tun.failed || (tun_f && tun_f != t->can_offload));
}

static void check_queues(struct tap *t, unsigned pairs)
{
	bool failed = tun.failed;
	int r = tap_enable_queues(t, pairs);

	if (tun.failed != failed)
		must(r == -tun.fail_errno);
	else
		must(r == (pairs && pairs <= t->nr_fds ? 0 : -EINVAL));
	must(r || t->enabled == pairs);
}

static void use(struct fuzz_in *in, struct tap *t)
{
	if (!tun.failed) {
		must(t->can_offload == (OFFLOADS_BASE | (tun.knows_uso ? USO : 0)));
		must(tun.offloads == (tun.knows_uso ? 0 : tun.first_offloads));
	}
	check_taken(t);
	for (unsigned steps = 0; fuzz_more(in) && steps < 40; steps++) {
		uint8_t what = fuzz_u8(in);

		if (what & 1)
			check_queues(t, fuzz_below(in, TAP_MAX_QUEUES + 2));
		else
			check_offloads(t, what & 2 ? t->can_offload : fuzz_u8(in));
		check_taken(t);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	unsigned fds = open_fds();
	struct err err = { "" };
	struct tap *t;

	make_tun(&in);
	t = fuzz_u8(&in) & 1 ? by_fds(&in, &err) : by_name(&in, &err);
	must(!t == !!err.text[0]);
	if (t)
		use(&in, t);
	tap_close(t);
	must(open_fds() == fds);
	/* Unless the request that failed was the one to put it back. */
	must(tun.hdr_size == tun.first_hdr_size || (t && tun.failed && tun.fail_req == TUNSETVNETHDRSZ));
	must(tun.offloads == (tun.offloads_set ? 0 : tun.first_offloads) ||
	     (t && tun.failed && tun.fail_req == TUNSETOFFLOAD));
	return 0;
}
