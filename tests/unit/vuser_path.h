/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vuser_path - back ends of a rig's device that end, and others that come by its path
 *
 * Thread: the test's.
 */
#ifndef TESTS_UNIT_VUSER_PATH_H
#define TESTS_UNIT_VUSER_PATH_H

#include <fcntl.h>

#include "tests/unit/vuser_rig.h"

/* The next back end, like the first one; nobody is connected to it yet. */
static inline void new_back_end(struct rig *r, int *ret_fd)
{
	uint64_t protocol = r->b.protocol;

	fake_back_fini(&r->b);
	fake_back_init(&r->b, ret_fd);
	set_up_back_end(r);
	r->b.protocol = protocol;
	r->b.later = true;
}

/* The broker answers by @fd, or by an error. False: it was not asked. */
static inline bool broker_answers(struct rig *r, int fd)
{
	struct broker_reply reply = { .error = fd < 0 ? fd : 0 };
	struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct broker_request q;

	fake_loop_turn(r->loop);
	if (recv(r->broker_fd, &q, sizeof(q), MSG_DONTWAIT) != sizeof(q))
		return false;
	ck_assert_uint_eq(q.path, PATH);
	r->asked++;
	reply.number = q.number;
	if (fd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
	}
	ck_assert_int_eq(sendmsg(r->broker_fd, &m, 0), sizeof(reply));
	return true;
}

static inline void turns(struct rig *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fake_loop_turn(r->loop);
		fake_back_turn(&r->b);
	}
}

/* It dies; the device notices. */
static inline void ends(struct rig *r)
{
	fake_back_hang_up(&r->b);
	turns(r, 3);
}

/* It is there, and is connected to; what follows is up to turns(). */
static inline void connects(struct rig *r, int fd)
{
	ck_assert_uint_ge(fake_loop_expire_all(r->loop), 1);
	ck_assert(broker_answers(r, fd));
	close(fd);
}

static inline void comes_back(struct rig *r)
{
	int fd;

	new_back_end(r, &fd);
	connects(r, fd);
	turns(r, 100);
	ck_assert_msg(!r->b.complaint, "%s", r->b.complaint);
}

/* So many requests were made, and so many of them answered. */
static inline void requests(struct rig *r, unsigned q, uint16_t made, uint16_t answered)
{
	fake_ring_set_avail_idx(&r->ring[q], made);
	ck_assert_int_eq(gmem_write(r->mem, r->ring[q].used + 2, &answered, sizeof(answered)), 0);
}

static inline bool goes_on(struct rig *r)
{
	return !has_to_be_reset(r) && !r->config_irqs;
}

/* As after a start, but for where the rings go on. */
static inline void check_goes_on(struct rig *r, unsigned queues, const uint16_t *bases)
{
	ck_assert(goes_on(r));
	ck_assert(r->b.owned && r->b.nr_regions == 1 && r->b.region_size[0] == RAM_SIZE);
	ck_assert_uint_eq(r->b.acked, (r->v->acked & r->b.features) | BIT64(VU_F_PROTOCOL_FEATURES));
	for (unsigned q = 0; q < queues; q++) {
		ck_assert(r->b.ring[q].enabled && r->b.ring[q].num == 16 && r->b.ring[q].addr.used == r->ring[q].used);
		ck_assert_uint_eq(r->b.ring[q].base, bases[q]);
		/* each side looks once more: a signal may have died with the last one */
		ck_assert_uint_ge(fd_drain(r->call[q]), 1);
		ck_assert_uint_ge(fd_drain(r->b.ring[q].kick), 1);
		ck_assert(same_file(r->b.ring[q].call, r->call[q]) && same_file(vdev_kick_fd(r->v, q), r->b.ring[q].kick));
	}
}

#endif
