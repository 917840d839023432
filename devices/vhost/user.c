// SPDX-License-Identifier: BSD-3-Clause
/*
 * Set-up waits for each answer in turn, with one limit of time for all of them: the start of a VM is all that waits.
 */
#include "devices/vhost/user.h"

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

/* What we know how to use. */
#define PROTOCOL_KNOWN (BIT64(VU_PROTOCOL_MQ) | BIT64(VU_PROTOCOL_REPLY_ACK) | BIT64(VU_PROTOCOL_CONFIG))
#define F_VERSION_1 32

static int explain_connect(const char *name, const char *path, int r, struct err *err)
{
	const char *how = r == -ECONNREFUSED ? " (nobody listens any more: start the back end again)" :
			  r == -EAGAIN ? " (it has others to serve: each VM needs a back end of its own)" :
			  r == -EPROTOTYPE ? " (a stream socket is needed)" : "";

	return err_set(err, r, "%s: socket '%s': %s%s", name, path, r == -EAGAIN ? "busy" : strerror(-r), how);
}

int vu_connect(const char *name, const char *path, int *ret_fd, struct err *err)
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
	d->iov = (struct iovec){ .iov_base = &o->msg, .iov_len = VU_HEAD_SIZE + o->msg.size };
	d->mh = (struct msghdr){ .msg_iov = &d->iov, .msg_iovlen = 1 };
	if (!o->nr_fds)
		return;
	memset(d->control, 0, sizeof(d->control));
	d->mh.msg_control = d->control;
	d->mh.msg_controllen = (__typeof__(d->mh.msg_controllen))CMSG_SPACE(len);
	c = CMSG_FIRSTHDR(&d->mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = (__typeof__(c->cmsg_len))CMSG_LEN(len);
	memcpy(CMSG_DATA(c), o->fds, len);
}

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

/* One question, and the answer where one is due; the caller has filled d->out. */
static int ask(struct vu_dev *d)
{
	ssize_t n;
	int r = 0;

	vu_prepare(d);
	/* So early there is room in the socket for all that is ever said. */
	n = sendmsg(d->fd, &d->mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n != (ssize_t)d->iov.iov_len)
		return n >= 0 ? -EIO : errno == EPIPE ? -ECONNRESET : -errno;
	if (vu_answer_size(&d->out.msg) < 0)
		return 0;
	while (!(r = vu_take(d->fd, &d->out.msg, &d->in))) {
		r = wait_for_more(d);
		if (r)
			break;
	}
	return r < 0 ? r : 0;
}

static int ask_u64(struct vu_dev *d, enum vu_request request, uint64_t *ret_v)
{
	int r;

	vu_fill(&d->out, request, 0);
	r = ask(d);
	if (!r)
		*ret_v = d->in.msg.body.u64;
	return r;
}

static int explain(struct vu_dev *d, int r, struct err *err)
{
	switch (r) {
	case -ETIMEDOUT:
		return err_set(err, r, "%s: the back end does not answer (does it serve another VM, or another protocol?)", d->name);
	case -ECONNRESET:
		return err_set(err, r, "%s: the back end has closed the connection (see what it says itself)", d->name);
	case -EPROTO:
		return err_set(err, r, "%s: the back end's answer is not vhost-user's", d->name);
	}
	return err_set(err, r, "%s: vhost-user: %s", d->name, strerror(-r));
}

static int learn(struct vu_dev *d)
{
	uint64_t n = 0;
	int r = ask_u64(d, VU_GET_FEATURES, &d->features);

	if (r || !(d->features & BIT64(VU_F_PROTOCOL_FEATURES)))
		return r;
	r = ask_u64(d, VU_GET_PROTOCOL_FEATURES, &d->protocol);
	if (r)
		return r;
	d->protocol &= PROTOCOL_KNOWN;
	vu_fill_u64(&d->out, VU_SET_PROTOCOL_FEATURES, d->protocol);
	r = ask(d);
	if (!r && d->protocol & BIT64(VU_PROTOCOL_MQ)) {
		r = ask_u64(d, VU_GET_QUEUE_NUM, &n);
		d->max_queues = n < VU_MAX_RINGS ? (unsigned)n : VU_MAX_RINGS;
		if (!r && !n)
			r = -EPROTO;
	}
	return r;
}

int vu_greet(struct vu_dev *d, const char *name, int fd, uint64_t need, struct err *err)
{
	int r;

	d->name = name;
	d->fd = fd;
	d->deadline_ns = clock_now_ns() + VU_START_PATIENCE_NS;
	r = learn(d);
	if (r)
		return explain(d, r, err);
	if (!(d->features & BIT64(F_VERSION_1)))
		return err_set(err, -ENOTSUP, "%s: the back end does not know virtio 1 (a newer one is needed)", name);
	if (!(d->features & BIT64(VU_F_PROTOCOL_FEATURES)) || (d->protocol & need) != need)
		return err_set(err, -ENOTSUP, "%s: the back end lacks what is needed of vhost-user%s", name,
			       need & BIT64(VU_PROTOCOL_CONFIG) ? " (a configuration space: is it of this kind?)" : "");
	vu_fill(&d->out, VU_SET_OWNER, 0);
	r = ask(d);
	return r ? explain(d, r, err) : 0;
}

int vu_get_config(struct vu_dev *d, void *buf, uint32_t len, struct err *err)
{
	int r;

	vu_fill(&d->out, VU_GET_CONFIG, (uint32_t)(sizeof(d->out.msg.body.config) - VU_CONFIG_MAX) + len);
	d->out.msg.body.config.size = len;
	r = ask(d);
	if (r == -EREMOTEIO)
		return err_set(err, r, "%s: the back end has no configuration of %u bytes (is it of this kind?)", d->name, len);
	if (r)
		return explain(d, r, err);
	memcpy(buf, d->in.msg.body.config.data, len);
	return 0;
}

void vu_fini(struct vu_dev *d)
{
	d->gone = true;
	if (d->send.loop)
		loop_io_cancel(&d->send);
	loop_poll_fini(&d->poll);
	close_fd(&d->fd);
}

const struct right vu_rights[] = {
	{ RIGHT_LOOP, SYS_recvfrom, RIGHT_FD, FD_BACKEND, 0, "what a back end by vhost-user answers" },
	{ 0 },
};
