// SPDX-License-Identifier: BSD-3-Clause
/*
 * Set-up waits for each answer in turn, with one limit of time for all of them: the start of a VM is all that waits. The greeting is a
 * row of questions, which the loop works off without waiting where another back end comes later (user_run.c).
 */
#include "devices/vhost/user_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/rights.h"

#define F_VERSION_1 32

static int explain_connect(const char *name, const char *path, int r, struct err *err)
{
	const char *how = r == -ECONNREFUSED ? " (nobody listens any more: start the back end again)" :
			  r == -EAGAIN ? " (it has others to serve: each VM needs a back end of its own)" :
			  r == -EPROTOTYPE ? " (a stream socket is needed)" : "";

	return err_set(err, r, "%s: socket '%s': %s%s", name, path, r == -EAGAIN ? "busy" : strerror(-r), how);
}

int vu_connect(const char *name, const char *path, bool takes_fds, int *ret_fd, struct err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(err, -ENAMETOOLONG, "%s: socket '%s': longer than the %zu bytes that a socket's name may have", name, path,
			       sizeof(a.sun_path) - 1);
	if (stat(path, &st))
		return err_set(err, -errno, "%s: socket '%s': %s%s", name, path, strerror(errno),
			       errno == ENOENT ? " (start the back end first)" : "");
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -ENOTSOCK, "%s: '%s' is no socket", name, path);
	memcpy(a.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "%s: socket: %s", name, strerror(errno));
	if (!takes_fds)
		fd_takes_none(fd);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return explain_connect(name, path, -errno, err);
	/* The loop's ring waits for room by itself; all else says MSG_DONTWAIT. */
	if (fcntl(fd, F_SETFL, 0))
		return err_set(err, -errno, "%s: fcntl: %s", name, strerror(errno));
	*ret_fd = fd_note(steal_fd(&fd), FD_BACKEND);
	return 0;
}

int vu_adopt(const char *name, int fd, struct err *err)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a), size = sizeof(int);
	int type = 0, flags = fcntl(fd, F_GETFL);

	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size))
		return err_set(err, -ENOTSOCK, "%s: fd=%d: not an open socket", name, fd);
	if (fd_kinds(fd))
		return err_set(err, -EBUSY, "%s: fd=%d: used for something else already", name, fd);
	if (getpeername(fd, (struct sockaddr *)&a, &len))
		return err_set(err, -ENOTCONN, "%s: fd=%d: not connected to a back end", name, fd);
	if (type != SOCK_STREAM || a.sun_family != AF_UNIX)
		return err_set(err, -EPROTOTYPE, "%s: fd=%d: not a stream socket of the file system's kind (AF_UNIX)", name, fd);
	fd_takes_none(fd); /* what is in flight is kept for another back end, of which there is none here */
	if (fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return err_set(err, -errno, "%s: fd=%d: fcntl: %s", name, fd, strerror(errno));
	fd_note(fd, FD_BACKEND);
	return 0;
}

/*
 * The kernel's ring reads the structure as it lies here: where the C library's is narrower its gaps are members, and zero.
 */
void vu_prepare(struct vu_dev *d)
{
	struct vu_out *o = &d->out;
	size_t len = o->nr_fds * sizeof(int);
	struct cmsghdr *c;

	memset(&d->in, 0, sizeof(d->in));
	d->tx_iov = (struct iovec){ .iov_base = &o->msg, .iov_len = VU_HEAD_SIZE + o->msg.size };
	d->tx_mh = (struct msghdr){ .msg_iov = &d->tx_iov, .msg_iovlen = 1 };
	if (!o->nr_fds)
		return;
	memset(d->tx_control, 0, sizeof(d->tx_control));
	d->tx_mh.msg_control = d->tx_control;
	d->tx_mh.msg_controllen = (__typeof__(d->tx_mh.msg_controllen))CMSG_SPACE(len);
	c = CMSG_FIRSTHDR(&d->tx_mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = (__typeof__(c->cmsg_len))CMSG_LEN(len);
	memcpy(CMSG_DATA(c), o->fds, len);
}

/* ---- the greeting -------------------------------------------------------------------------- */

static const uint8_t greeting[] = {
	VU_GET_FEATURES, VU_GET_PROTOCOL_FEATURES, VU_SET_PROTOCOL_FEATURES, VU_GET_QUEUE_NUM, VU_SET_OWNER, VU_GET_CONFIG,
};

static bool has_protocol(const struct vu_dev *d, unsigned bit)
{
	return d->said.protocol & BIT64(bit);
}

static bool makes_sense(const struct vu_dev *d, unsigned request)
{
	switch (request) {
	case VU_GET_PROTOCOL_FEATURES:
	case VU_SET_PROTOCOL_FEATURES:
		return d->said.features & BIT64(VU_F_PROTOCOL_FEATURES);
	case VU_GET_QUEUE_NUM:
		return has_protocol(d, VU_PROTOCOL_MQ);
	case VU_GET_CONFIG:
		return d->cfg.config_len;
	default:
		return true;
	}
}

static bool is_of_use(const struct vu_dev *d)
{
	return d->said.features & BIT64(F_VERSION_1) && d->said.features & BIT64(VU_F_PROTOCOL_FEATURES) &&
	       (d->said.protocol & d->cfg.need) == d->cfg.need;
}

static void fill_get_config(struct vu_dev *d)
{
	vu_fill(&d->out, VU_GET_CONFIG, (uint32_t)(sizeof(d->out.msg.body.config) - VU_CONFIG_MAX) + d->cfg.config_len);
	d->out.msg.body.config.size = d->cfg.config_len;
}

int vu_greet_fill(struct vu_dev *d)
{
	if (!d->step)
		d->said = (struct vu_said){ 0 };
	while (d->step < ARRAY_LEN(greeting) && !makes_sense(d, greeting[d->step]))
		d->step++;
	if (d->step == ARRAY_LEN(greeting))
		return 0;
	switch (greeting[d->step]) {
	case VU_SET_PROTOCOL_FEATURES:
		vu_fill_u64(&d->out, VU_SET_PROTOCOL_FEATURES, d->said.protocol);
		return 1;
	case VU_GET_CONFIG:
		fill_get_config(d);
		return 1;
	case VU_SET_OWNER:
		if (!is_of_use(d))
			return -ENOTSUP;
		break;
	}
	vu_fill(&d->out, greeting[d->step], 0);
	return 1;
}

/* What we know how to use, and have a use for. */
static uint64_t known_protocol(const struct vu_cfg *c)
{
	uint64_t known = BIT64(VU_PROTOCOL_MQ) | BIT64(VU_PROTOCOL_REPLY_ACK);

	if (c->config_len)
		known |= BIT64(VU_PROTOCOL_CONFIG);
	if (c->mtu)
		known |= BIT64(VU_PROTOCOL_NET_MTU);
	if (c->mac && c->broker)
		known |= BIT64(VU_PROTOCOL_RARP);
	/* another back end may have to go on with what this one had in hand */
	if (c->loss == VU_LOSES_REQUESTS && c->broker)
		known |= BIT64(VU_PROTOCOL_INFLIGHT_SHMFD);
	return known;
}

int vu_greet_hear(struct vu_dev *d)
{
	uint64_t n = d->in.msg.body.u64;

	switch (d->out.msg.request) {
	case VU_GET_FEATURES: d->said.features = n; break;
	case VU_GET_PROTOCOL_FEATURES: d->said.protocol = n & known_protocol(&d->cfg); break;
	case VU_GET_QUEUE_NUM:
		d->said.max_queues = n < VU_MAX_RINGS ? (unsigned)n : VU_MAX_RINGS;
		return n ? 0 : -EPROTO;
	case VU_GET_CONFIG: memcpy(d->said.config, d->in.msg.body.config.data, d->cfg.config_len); break;
	}
	return 0;
}

/* ---- at set-up ----------------------------------------------------------------------------- */

/* Waits for an answer to go on. */
static int wait_for_more(struct vu_dev *d)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };
	uint64_t now = clock_now_ns();
	int r;

	if (now >= d->deadline_ns)
		return -ETIMEDOUT;
	r = poll(&p, 1, (int)((d->deadline_ns - now) / 1000000) + 1);
	return r < 0 && errno != EINTR ? -errno : 0;
}

/* Some of the answer, up to @most bytes. Descriptors that come along are closed by the kernel: there is no room for any. */
static int hear_some(struct vu_dev *d, size_t most)
{
	ssize_t n = recv(d->fd, (char *)&d->in.msg + d->in.have, most, MSG_DONTWAIT);

	if (n == 0)
		return -ECONNRESET;
	if (n < 0 && errno == EAGAIN)
		return wait_for_more(d);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	d->in.have += (size_t)n;
	return 0;
}

/* One question, and the answer where one is due; the caller has filled d->out. */
static int ask(struct vu_dev *d)
{
	size_t more;
	ssize_t n;
	int r;

	vu_prepare(d);
	/* So early there is room in the socket for all that is ever said. */
	n = sendmsg(d->fd, &d->tx_mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n != (ssize_t)d->tx_iov.iov_len)
		return n >= 0 ? -EIO : errno == EPIPE ? -ECONNRESET : -errno;
	if (vu_answer_size(&d->out.msg) < 0)
		return 0;
	while (!(r = vu_check(&d->out.msg, &d->in, &more))) {
		r = hear_some(d, more);
		if (r)
			break;
	}
	return r < 0 ? r : vu_greet_hear(d);
}

static int explain(struct vu_dev *d, int r, struct err *err)
{
	const char *name = d->cfg.name;

	switch (r) {
	case -ETIMEDOUT:
		return err_set(err, r, "%s: the back end does not answer (does it serve another VM, or another protocol?)", name);
	case -ECONNRESET:
		return err_set(err, r, "%s: the back end has closed the connection (see what it says itself)", name);
	case -EPROTO:
		return err_set(err, r, "%s: the back end's answer is not vhost-user's", name);
	case -EREMOTEIO:
		return err_set(err, r, "%s: the back end has no configuration of %u bytes (is it of this kind?)", name, d->cfg.config_len);
	case -ENOTSUP:
		if (!(d->said.features & BIT64(F_VERSION_1)))
			return err_set(err, r, "%s: the back end does not know virtio 1 (a newer one is needed)", name);
		return err_set(err, r, "%s: the back end lacks what is needed of vhost-user%s", name,
			       d->cfg.config_len ? " (a configuration space: is it of this kind?)" : "");
	}
	return err_set(err, r, "%s: vhost-user: %s", name, strerror(-r));
}

int vu_greet(struct vu_dev *d, const struct vu_cfg *cfg, struct err *err)
{
	int r;

	d->cfg = *cfg;
	d->fd = cfg->fd;
	d->inflight_fd = d->came_fd = -1;
	d->one = 1;
	d->deadline_ns = clock_now_ns() + VU_START_PATIENCE_NS;
	for (d->step = 0;; d->step++) {
		r = vu_greet_fill(d);
		if (r > 0)
			r = ask(d) ? : 1;
		if (r <= 0)
			break;
	}
	return r ? explain(d, r, err) : 0;
}

int vu_attach(struct vu_dev *d, struct loop *loop, const struct gmem *mem)
{
	int r;

	for (unsigned i = 0; i < gmem_nr_regions(mem); i++)
		if (gmem_region(mem, i)->fd < 0)
			return -EINVAL;
	d->mem = mem;
	d->in.have = 0;
	r = loop_timer_init(loop, &d->timer, vu_tick, d);
	if (!r && d->cfg.broker) {
		r = vu_link_init(d, loop);
	} else if (!r) {
		r = loop_io_init(loop, &d->rx, d->fd, vu_received, d);
		if (!r)
			r = loop_msg_init(loop, &d->tx, d->fd, vu_sent, d);
	}
	if (!r)
		vu_listen(d);
	return r;
}

void vu_fini(struct vu_dev *d)
{
	d->link = VU_OVER;
	if (d->rx.loop)
		loop_io_cancel(&d->rx);
	if (d->tx.loop)
		loop_io_cancel(&d->tx);
	vu_link_fini(d);
	if (!d->late)
		close_fd(&d->fd);
}
