/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake/vuser - plays a back end of vhost-user
 *
 * What:   takes messages from its end of a socket, keeps what they say, answers; complains of what a front end must not say.
 *         The answers of the first greeting are put into the socket beforehand, since set-up waits for them.
 * Not:    serving a ring.
 * Thread: the test's.
 */
#ifndef TESTS_FAKE_VUSER_H
#define TESTS_FAKE_VUSER_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/vhost/user_msg.h"

#define FAKE_RINGS 8

struct fake_back_ring {
	uint32_t num, base;
	struct vu_addr addr;
	int kick, call;      /* copies of the front end's; -1: none */
	bool enabled;
};

struct fake_back {
	int fd;              /* ours */
	uint64_t features, protocol, queues;
	uint8_t config[VU_CONFIG_MAX];
	unsigned prepaid;    /* so many questions are answered already */
	unsigned refuse;     /* this request is answered by 1; 0: none */
	unsigned mute;       /* and this one not at all */
	bool pairs;          /* @queues are pairs: a card's */
	bool later;          /* it is greeted while the guest runs: it answers then */
	enum { FAKE_INFLIGHT_WELL, FAKE_INFLIGHT_NO_FILE, FAKE_INFLIGHT_NO_SIZE } inflight_how;

	unsigned messages;
	uint64_t said_protocol, acked;
	bool owned;
	uint32_t config_len; /* that was asked for */
	struct vu_inflight inflight; /* as it was asked for, or set */
	ino_t inflight_file; /* that was set; 0: none */
	unsigned nr_regions;
	struct vu_region regions[VU_MAX_FDS];
	off_t region_size[VU_MAX_FDS]; /* of their files */
	int seals;           /* of the first one's */
	struct fake_back_ring ring[FAKE_RINGS];
	uint64_t mtu;        /* that was told, 0: none */
	uint8_t rarp[6];     /* that was to be sent */
	unsigned rarps;
	const char *complaint; /* the first; NULL: none */
};

static inline void fake_back_complain(struct fake_back *b, const char *what)
{
	if (!b->complaint)
		b->complaint = what;
}

/* *@ret_fd is the front end's. */
static inline void fake_back_init(struct fake_back *b, int *ret_fd)
{
	int s[2];

	memset(b, 0, sizeof(*b));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s))
		abort();
	b->fd = s[0];
	*ret_fd = s[1];
	for (unsigned i = 0; i < FAKE_RINGS; i++)
		b->ring[i].kick = b->ring[i].call = -1;
	b->features = BIT64(32) | BIT64(30) | BIT64(29) | BIT64(28);
	b->protocol = BIT64(VU_PROTOCOL_MQ) | BIT64(VU_PROTOCOL_REPLY_ACK) | BIT64(VU_PROTOCOL_CONFIG) | BIT64(5) | BIT64(15);
	b->queues = 2;
}

static inline void fake_back_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void fake_back_hang_up(struct fake_back *b)
{
	fake_back_close_fd(&b->fd);
}

static inline void fake_back_fini(struct fake_back *b)
{
	fake_back_hang_up(b);
	for (unsigned i = 0; i < FAKE_RINGS; i++) {
		fake_back_close_fd(&b->ring[i].kick);
		fake_back_close_fd(&b->ring[i].call);
	}
}

static inline void fake_back_send(struct fake_back *b, const void *p, size_t len)
{
	if (b->fd >= 0 && send(b->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EPIPE && errno != ECONNRESET)
		abort();
}

static inline void fake_back_answer(struct fake_back *b, uint32_t request, const void *body, uint32_t size)
{
	struct vu_msg m = { .request = request, .flags = VU_VERSION | VU_REPLY, .size = size };

	if (size)
		memcpy(m.body.bytes, body, size);
	fake_back_send(b, &m, VU_HEAD_SIZE + size);
}

static inline void fake_back_answer_u64(struct fake_back *b, uint32_t request, uint64_t v)
{
	fake_back_answer(b, request, &v, sizeof(v));
}

/* The configuration's first @len bytes, as an answer; 0: it cannot be had. */
static inline void fake_back_answer_config(struct fake_back *b, uint32_t len)
{
	struct vu_msg m = { .body.config = { .size = len } };

	memcpy(m.body.config.data, b->config, len);
	fake_back_answer(b, VU_GET_CONFIG, m.body.bytes, len ? 12 + len : 0);
}

/* All that set-up asks, beforehand. @config: bytes of it that will be asked for; 0: none. */
static inline void fake_back_prepay(struct fake_back *b, uint32_t config)
{
	fake_back_answer_u64(b, VU_GET_FEATURES, b->features);
	b->prepaid++;
	if (b->features & BIT64(VU_F_PROTOCOL_FEATURES)) {
		fake_back_answer_u64(b, VU_GET_PROTOCOL_FEATURES, b->protocol);
		b->prepaid++;
	}
	if (b->features & BIT64(VU_F_PROTOCOL_FEATURES) && b->protocol & BIT64(VU_PROTOCOL_MQ)) {
		fake_back_answer_u64(b, VU_GET_QUEUE_NUM, b->queues);
		b->prepaid++;
	}
	if (config) {
		fake_back_answer_config(b, config);
		b->prepaid++;
	}
}

static inline unsigned fake_back_due_fds(const struct vu_msg *m)
{
	if (m->request == VU_SET_INFLIGHT_FD)
		return 1;
	if (m->request == VU_SET_MEM_TABLE)
		return m->body.mem.nr;
	return m->request == VU_SET_VRING_KICK || m->request == VU_SET_VRING_CALL;
}

static inline void fake_back_mem_table(struct fake_back *b, const struct vu_msg *m, int *fds)
{
	if (m->body.mem.nr > VU_MAX_FDS || m->size != 8 + 32 * m->body.mem.nr || m->body.mem.padding) {
		fake_back_complain(b, "a memory table of another size");
		return;
	}
	b->nr_regions = m->body.mem.nr;
	memcpy(b->regions, m->body.mem.regions, sizeof(b->regions));
	for (unsigned i = 0; i < b->nr_regions; i++)
		b->region_size[i] = lseek(fds[i], 0, SEEK_END);
	b->seals = b->nr_regions ? fcntl(fds[0], F_GET_SEALS) : 0;
}

#define FAKE_INFLIGHT_SIZE 0x3000

/* Memory for what is in flight, made and forgotten: the front end keeps it. */
static inline void fake_back_answer_inflight(struct fake_back *b)
{
	struct vu_msg m = { .request = VU_GET_INFLIGHT_FD, .flags = VU_VERSION | VU_REPLY, .size = sizeof(m.body.inflight) };
	int fd = b->inflight_how == FAKE_INFLIGHT_NO_FILE ? -1 : memfd_create("inflight", MFD_CLOEXEC);
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &m, .iov_len = VU_HEAD_SIZE + m.size };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };

	m.body.inflight = (struct vu_inflight){ .size = b->inflight_how == FAKE_INFLIGHT_NO_SIZE ? 0 : FAKE_INFLIGHT_SIZE, .offset = 0x1000 };
	*CMSG_FIRSTHDR(&h) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), &fd, sizeof(fd));
	if (fd < 0)
		h.msg_controllen = 0;
	if (b->fd >= 0 && sendmsg(b->fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EPIPE && errno != ECONNRESET)
		abort();
	fake_back_close_fd(&fd);
}

static inline void fake_back_set_inflight(struct fake_back *b, const struct vu_msg *m, int fd)
{
	struct stat st;

	for (unsigned i = 0; i < FAKE_RINGS; i++)
		if (b->ring[i].kick >= 0)
			fake_back_complain(b, "memory for what is in flight after a ring has begun");
	b->inflight = m->body.inflight;
	b->inflight_file = fstat(fd, &st) ? 0 : st.st_ino;
	if (b->inflight.size != FAKE_INFLIGHT_SIZE || b->inflight.offset != 0x1000)
		fake_back_complain(b, "memory for what is in flight of another size");
}

/* The ring that @m is about. */
static inline struct fake_back_ring *fake_back_ring_of(struct fake_back *b, uint32_t index)
{
	static struct fake_back_ring none;

	if (index < FAKE_RINGS && (index < (b->pairs ? 2 : 1) * b->queues || !(b->protocol & BIT64(VU_PROTOCOL_MQ))))
		return &b->ring[index];
	fake_back_complain(b, "a ring that there is not");
	return &none;
}

static inline void fake_back_take_fd(int *slot, int *fd)
{
	fake_back_close_fd(slot);
	fcntl(*fd, F_SETFL, O_RDWR); /* which is ours to say as much as the front end's */
	*slot = *fd;
	*fd = -1;
}

static inline void fake_back_ring_message(struct fake_back *b, const struct vu_msg *m, int *fds)
{
	struct fake_back_ring *r = fake_back_ring_of(b, m->body.state.index);

	switch (m->request) {
	case VU_SET_VRING_NUM: r->num = m->body.state.num; break;
	case VU_SET_VRING_BASE: r->base = m->body.state.num; break;
	case VU_SET_VRING_ADDR: r->addr = m->body.addr; break;
	case VU_SET_VRING_CALL: fake_back_take_fd(&r->call, &fds[0]); break; /* at any time; the last counts */
	case VU_SET_VRING_KICK:
		if (r->call < 0 || !r->num || !b->nr_regions)
			fake_back_complain(b, "a kick before what it needs");
		if (r->kick >= 0)
			fake_back_complain(b, "a kick for a ring that runs");
		fake_back_take_fd(&r->kick, &fds[0]);
		break;
	case VU_SET_VRING_ENABLE: r->enabled = m->body.state.num; break;
	case VU_GET_VRING_BASE:
		r->enabled = false;
		fake_back_close_fd(&r->kick);
		fake_back_close_fd(&r->call);
		break;
	}
}

static inline void fake_back_set_mtu(struct fake_back *b, uint64_t mtu)
{
	if (!(b->said_protocol & BIT64(VU_PROTOCOL_NET_MTU)) || !(b->acked & BIT64(3)))
		fake_back_complain(b, "an MTU that nobody wants to know");
	b->mtu = mtu;
}

static inline void fake_back_send_rarp(struct fake_back *b, const struct vu_msg *m)
{
	if (!(b->said_protocol & BIT64(VU_PROTOCOL_RARP)) || m->size != 8 || m->body.u64 >> 48)
		fake_back_complain(b, "a RARP that nobody knows");
	memcpy(b->rarp, m->body.bytes, sizeof(b->rarp));
	b->rarps++;
}

/* What @m says is kept; its descriptors that are not taken are closed by the caller. */
static inline void fake_back_keep(struct fake_back *b, const struct vu_msg *m, int *fds)
{
	switch (m->request) {
	case VU_GET_FEATURES: case VU_GET_PROTOCOL_FEATURES: case VU_GET_QUEUE_NUM: break;
	case VU_GET_CONFIG: b->config_len = m->body.config.size; break;
	case VU_GET_INFLIGHT_FD: b->inflight = m->body.inflight; break;
	case VU_SET_INFLIGHT_FD: fake_back_set_inflight(b, m, fds[0]); break;
	case VU_SET_PROTOCOL_FEATURES: b->said_protocol = m->body.u64; break;
	case VU_SET_OWNER: b->owned = true; break;
	case VU_SET_FEATURES: b->acked = m->body.u64; break;
	case VU_NET_SET_MTU: fake_back_set_mtu(b, m->body.u64); break;
	case VU_SEND_RARP: fake_back_send_rarp(b, m); break;
	case VU_SET_MEM_TABLE: fake_back_mem_table(b, m, fds); break;
	case VU_SET_VRING_NUM: case VU_SET_VRING_BASE: case VU_SET_VRING_ADDR: case VU_SET_VRING_CALL: case VU_SET_VRING_KICK:
	case VU_SET_VRING_ENABLE: case VU_GET_VRING_BASE:
		fake_back_ring_message(b, m, fds);
		break;
	default:
		fake_back_complain(b, "an unknown request");
	}
}

static inline void fake_back_reply(struct fake_back *b, const struct vu_msg *m)
{
	const struct vu_state base = { .index = m->body.state.index, .num = 7 };

	if (vu_answer_size(m) < 0)
		return;
	if (b->prepaid) {
		b->prepaid--;
		return;
	}
	if (m->request == b->mute)
		return;
	if (m->request == VU_GET_VRING_BASE)
		fake_back_answer(b, m->request, &base, sizeof(base));
	else if (m->request == VU_GET_FEATURES)
		fake_back_answer_u64(b, m->request, b->features);
	else if (m->flags & VU_NEED_REPLY)
		fake_back_answer_u64(b, m->request, m->request == b->refuse);
	else if (m->request == VU_GET_INFLIGHT_FD)
		fake_back_answer_inflight(b);
	else if (b->later && m->request == VU_GET_PROTOCOL_FEATURES)
		fake_back_answer_u64(b, m->request, b->protocol);
	else if (b->later && m->request == VU_GET_QUEUE_NUM)
		fake_back_answer_u64(b, m->request, b->queues);
	else if (b->later && m->request == VU_GET_CONFIG)
		fake_back_answer_config(b, m->request == b->refuse ? 0 : b->config_len);
	else
		fake_back_complain(b, "a question of set-up, later");
}

/* Takes one message; false: there is none. */
static inline bool fake_back_take(struct fake_back *b, struct vu_msg *m)
{
	char room[CMSG_SPACE(16 * sizeof(int))];
	struct iovec iov = { .iov_base = m, .iov_len = VU_HEAD_SIZE };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	int fds[16] = { 0 };
	unsigned n = 0;
	struct cmsghdr *c;

	if (b->fd < 0 || recvmsg(b->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != VU_HEAD_SIZE)
		return false;
	c = CMSG_FIRSTHDR(&h);
	if (c) {
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	if (m->size > sizeof(m->body) || (m->size && recv(b->fd, m->body.bytes, m->size, MSG_DONTWAIT) != (ssize_t)m->size))
		abort(); /* messages come whole */
	b->messages++;
	if ((m->flags & ~VU_NEED_REPLY) != VU_VERSION)
		fake_back_complain(b, "flags");
	if (n != fake_back_due_fds(m))
		fake_back_complain(b, "another number of descriptors");
	else
		fake_back_keep(b, m, fds);
	for (unsigned i = 0; i < n; i++)
		fake_back_close_fd(&fds[i]);
	return true;
}

/* Takes and answers all that has come; returns how many messages. */
static inline unsigned fake_back_turn(struct fake_back *b)
{
	struct vu_msg m;
	unsigned n = 0;

	for (; fake_back_take(b, &m); n++)
		fake_back_reply(b, &m);
	return n;
}

#endif
