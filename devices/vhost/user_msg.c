// SPDX-License-Identifier: BSD-3-Clause
#include "devices/vhost/user_msg.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

static_assert(offsetof(struct vu_msg, body) == VU_HEAD_SIZE, "the wire's header");
static_assert(sizeof(struct vu_addr) == 40 && sizeof(struct vu_region) == 32 && sizeof(struct vu_inflight) == 24,
	      "the wire's bodies");

void vu_fill(struct vu_out *o, enum vu_request request, uint32_t size)
{
	memset(o, 0, sizeof(*o));
	o->msg.request = request;
	o->msg.flags = VU_VERSION;
	o->msg.size = size;
}

void vu_fill_u64(struct vu_out *o, enum vu_request request, uint64_t value)
{
	vu_fill(o, request, sizeof(o->msg.body.u64));
	o->msg.body.u64 = value;
}

void vu_fill_state(struct vu_out *o, enum vu_request request, uint32_t index, uint32_t num)
{
	vu_fill(o, request, sizeof(o->msg.body.state));
	o->msg.body.state = (struct vu_state){ .index = index, .num = num };
}

void vu_fill_fd(struct vu_out *o, enum vu_request request, uint32_t index, int fd)
{
	vu_fill_u64(o, request, index);
	o->fds[o->nr_fds++] = fd;
}

const char *vu_request_name(unsigned request)
{
	static const char *const names[] = {
		[VU_SET_FEATURES] = "SET_FEATURES", [VU_SET_MEM_TABLE] = "SET_MEM_TABLE", [VU_SET_VRING_NUM] = "SET_VRING_NUM",
		[VU_SET_VRING_ADDR] = "SET_VRING_ADDR", [VU_SET_VRING_BASE] = "SET_VRING_BASE",
		[VU_SET_VRING_KICK] = "SET_VRING_KICK", [VU_SET_VRING_CALL] = "SET_VRING_CALL",
		[VU_SET_VRING_ENABLE] = "SET_VRING_ENABLE", [VU_SEND_RARP] = "SEND_RARP", [VU_NET_SET_MTU] = "NET_SET_MTU",
		[VU_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
	};

	return request < ARRAY_LEN(names) && names[request] ? names[request] : "a message";
}

int vu_answer_size(const struct vu_msg *m)
{
	switch (m->request) {
	case VU_GET_FEATURES:
	case VU_GET_PROTOCOL_FEATURES:
	case VU_GET_QUEUE_NUM:
		return sizeof(m->body.u64);
	case VU_GET_VRING_BASE:
		return sizeof(m->body.state);
	case VU_GET_INFLIGHT_FD:
		return sizeof(m->body.inflight);
	case VU_GET_CONFIG:
		return (int)m->size;
	default:
		return m->flags & VU_NEED_REPLY ? (int)sizeof(m->body.u64) : -1;
	}
}

/* The header is whole: is it the answer's? */
static int check_head(const struct vu_msg *m, const struct vu_msg *got)
{
	if (got->request != m->request || (got->flags & VU_VERSION_MASK) != VU_VERSION || !(got->flags & VU_REPLY))
		return -EPROTO;
	if (m->request == VU_GET_CONFIG && !got->size)
		return -EREMOTEIO;
	return got->size == (uint32_t)vu_answer_size(m) ? 0 : -EPROTO;
}

/* Of what names a part, an answer about another part is none. */
static int check_body(const struct vu_msg *m, const struct vu_msg *got)
{
	if (m->request == VU_GET_VRING_BASE && got->body.state.index != m->body.state.index)
		return -EPROTO;
	if (m->request == VU_GET_CONFIG &&
	    (got->body.config.offset != m->body.config.offset || got->body.config.size != m->body.config.size))
		return -EPROTO;
	return 1;
}

int vu_check(const struct vu_msg *m, const struct vu_in *in, size_t *ret_more)
{
	int r;

	if (vu_answer_size(m) < 0 || vu_answer_size(m) > (int)sizeof(in->msg.body))
		return -EPROTO;
	if (in->have < VU_HEAD_SIZE) {
		*ret_more = VU_HEAD_SIZE - in->have;
		return 0;
	}
	r = check_head(m, &in->msg);
	if (r)
		return r;
	*ret_more = VU_HEAD_SIZE + in->msg.size - in->have;
	return *ret_more ? 0 : check_body(m, &in->msg);
}
