/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * user_msg - the messages of vhost-user: their form, and what may answer them
 *
 * What:   the bytes on the wire; filling a message; holding an answer against the question, as far as it has come.
 * Not:    which messages, and when (user.h); reading and writing.
 * Trust:  the back end is another process: an answer is taken only where it names the question, has the one size that
 *         fits it and says that it is an answer.
 * Thread: pure.
 * Source: QEMU docs/interop/vhost-user.rst (message format, front-end message types).
 *
 * Names: the prefix is vu_; vhost_ belongs to the kernel's headers.
 */
#ifndef DEVICES_VHOST_USER_MSG_H
#define DEVICES_VHOST_USER_MSG_H

#include "vmm/base/types.h"

enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_SET_MEM_TABLE = 5,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SEND_RARP = 19,
	VU_NET_SET_MTU = 20,
	VU_GET_CONFIG = 24,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
};

#define VU_VERSION 0x1u
#define VU_VERSION_MASK 0x3u
#define VU_REPLY BIT32(2)
#define VU_NEED_REPLY BIT32(3)

#define VU_F_PROTOCOL_FEATURES 30 /* of the virtio features */
#define VU_PROTOCOL_MQ 0
#define VU_PROTOCOL_RARP 2
#define VU_PROTOCOL_REPLY_ACK 3
#define VU_PROTOCOL_NET_MTU 4
#define VU_PROTOCOL_CONFIG 9
#define VU_PROTOCOL_INFLIGHT_SHMFD 12

#define VU_MAX_FDS 8        /* of a message, and regions of a memory table */
#define VU_CONFIG_MAX 256   /* bytes of configuration space in a message */
#define VU_HEAD_SIZE 12u    /* bytes */

struct vu_state {
	uint32_t index, num;
};

struct vu_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct vu_region {
	uint64_t gpa, size, user, offset;
};

/* Memory in which a back end keeps what it has in hand; where in a file, and for which rings. */
struct vu_inflight {
	uint64_t size, offset;
	uint16_t queues, queue_size;
	uint32_t padding;
};

/* As on the wire. All little-endian, as are we. */
struct vu_msg {
	uint32_t request, flags;
	uint32_t size; /* bytes of body */
	union {
		uint64_t u64;
		struct vu_state state;
		struct vu_addr addr;
		struct vu_inflight inflight;
		struct {
			uint32_t nr, padding;
			struct vu_region regions[VU_MAX_FDS];
		} mem;
		struct {
			uint32_t offset, size, flags;
			uint8_t data[VU_CONFIG_MAX];
		} config;
		uint8_t bytes[12 + VU_CONFIG_MAX];
	} __attribute__((packed)) body;
} __attribute__((packed));

/* A question: the message and the descriptors that go with it, which stay their owner's. */
struct vu_out {
	struct vu_msg msg;
	int fds[VU_MAX_FDS];
	unsigned nr_fds;
};

/* An answer, as far as it has come. */
struct vu_in {
	struct vu_msg msg;
	size_t have; /* bytes */
};

/* A message with @size bytes of body, all zero, and no descriptor. */
void vu_fill(struct vu_out *o, enum vu_request request, uint32_t size);
/* Body: a u64; a vring's index and a number. */
void vu_fill_u64(struct vu_out *o, enum vu_request request, uint64_t value);
void vu_fill_state(struct vu_out *o, enum vu_request request, uint32_t index, uint32_t num);
/* KICK or CALL of vring @index, 0 to 255, by @fd. */
void vu_fill_fd(struct vu_out *o, enum vu_request request, uint32_t index, int fd);
/* "SET_MEM_TABLE", for messages; "a message" for what we never send while the guest runs. */
const char *vu_request_name(unsigned request);
/* Bytes of body that the answer to @m has to have; -1: none is due. */
int vu_answer_size(const struct vu_msg *m);
/*
 * Is @in the answer to @m? 1: it is, and whole; 0: it is so far, and *@ret_more bytes, no less than one, are to be read behind what
 * there is, but none after those; -EPROTO: it is no answer to @m; -EREMOTEIO: the back end says that it cannot give the configuration.
 */
int vu_check(const struct vu_msg *m, const struct vu_in *in, size_t *ret_more);

#endif
