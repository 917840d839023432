/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * user - the front end of vhost-user: a device's rings served by another process
 *
 * What:   the connection, what both sides can do, and the start and the stop of rings.
 * Not:    what the queues are for (devices/virtio/vuser.c); the messages' bytes (user_msg.h); a second connection where
 *         the first one ended. All that a new one would have to be told stands in struct vu_dev.
 * Trust:  the back end is the user's own program and reaches all of the guest's memory; what it says is checked, each
 *         answer has a time and a size, and what breaks a rule ends the connection. Ring addresses come from the guest and
 *         are checked before the back end sees them.
 * Thread: set-up, then the loop.
 * Source: QEMU docs/interop/vhost-user.rst; virtio 1.2 s2.7.
 */
#ifndef DEVICES_VHOST_USER_H
#define DEVICES_VHOST_USER_H

#include <sys/socket.h>

#include "devices/vhost/user_msg.h"
#include "devices/vhost/vhost.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

#define VU_MAX_RINGS 8
/*
 * For a back end to do all that a start or a stop asks of it: only the guest's driver waits so long, not the loop. A stop ends what
 * is under way on the back end's disk, which may take its time; a guest that waits longer complains of its CPU.
 */
#define VU_START_PATIENCE_NS (5 * NS_PER_SEC)
#define VU_STOP_PATIENCE_NS (15 * NS_PER_SEC)

/* A ring that is to run: its place in guest memory, and the eventfds by which both sides call, borrowed until it has stopped. */
struct vu_ring {
	unsigned index;
	struct vh_ring at;
	int kick_fd, call_fd;
};

enum vu_phase { VU_QUIET, VU_STARTING, VU_STOPPING };

struct vu_dev {
	const char *name;        /* the device's, for messages; borrowed */
	int fd;                  /* owned, connected; -1: none */
	bool gone;               /* nothing more is said to this back end */
	uint64_t features;       /* virtio's, of the back end */
	uint64_t protocol;       /* those of the protocol that both sides have */
	unsigned max_queues;     /* that the back end has; 0: it does not say */

	/* what a start tells it, and would tell another one */
	const struct gmem *mem;
	uint64_t acked;
	struct vu_ring rings[VU_MAX_RINGS];
	unsigned nr_rings;

	/* where it is (user_run.c) */
	enum vu_phase phase;
	unsigned step;           /* of the phase */
	unsigned begun;          /* the first so many rings may run there */
	bool barrier;            /* the question under way only waits for the one before it */
	int result;              /* of the last start */
	uint64_t deadline_ns;    /* CLOCK_MONOTONIC, of the phase */
	struct vu_out out;       /* the question under way */
	struct vu_in in;         /* and its answer */
	bool unsent;             /* the kernel had no room for it */
	struct loop_poll poll;
	struct loop_io send;
	struct iovec iov;
	struct msghdr mh;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
	void (*lost)(void *ctx, const char *why);
	void *ctx;
	struct log_limit log;    /* of refusals, which a guest may ask for again and again */
};

/*
 * Connects to the socket @path, a file's name, without waiting. Errors, with a sentence that begins with @name: -ENOENT,
 * -ENOTSOCK, -ECONNREFUSED (nobody listens any more), -EAGAIN (too many wait already), -ENAMETOOLONG, -EPROTOTYPE, -EACCES.
 */
int vu_connect(const char *name, const char *path, int *ret_fd, struct err *err);
/* An inherited descriptor: -ENOTSOCK, -ENOTCONN, -EPROTOTYPE, with a sentence; @fd stays the caller's on failure. */
int vu_adopt(const char *name, int fd, struct err *err);
/*
 * Takes @fd over (also on failure), asks what the back end can and tells it that it has an owner; waits for answers, some
 * seconds in all. @need: features of the protocol without which it is of no use (bits of VU_PROTOCOL_*). Errors, with a
 * sentence: -ETIMEDOUT, -ECONNRESET, -EPROTO, -ENOTSUP (no virtio 1, or less than @need). vu_fini() in any case.
 */
int vu_greet(struct vu_dev *d, const char *name, int fd, uint64_t need, struct err *err);
/*
 * The first @len bytes (up to VU_CONFIG_MAX) of the configuration space; waits as vu_greet() does. -EREMOTEIO: the back end
 * has not so many; the errors of vu_greet().
 */
int vu_get_config(struct vu_dev *d, void *buf, uint32_t len, struct err *err);
/*
 * Before the loop's seal, once, after vu_greet(). @mem: shared with a descriptor a region, borrowed; @lost(@ctx, why) is
 * called on the loop where the back end ends, or breaks a rule: once, and never from within a function of this header.
 * -EINVAL: memory that has no descriptor; loop_poll_init()'s errors.
 */
int vu_attach(struct vu_dev *d, struct loop *loop, const struct gmem *mem, void (*lost)(void *ctx, const char *why), void *ctx);
/* Closes. The rings' end is the back end's business then. Again, and for a zeroed one with fd -1, is fine. */
void vu_fini(struct vu_dev *d);

/* user_run.c, on the loop. */

/*
 * Begins to start @n rings (up to VU_MAX_RINGS) with the features that the driver has acknowledged, those of the back end's
 * among them. Nothing is under way. -EINVAL, -EFAULT: the driver's mistakes (virtio 1.2 s2.7), nothing is said;
 * -ENOTCONN: there is no back end any more. Then vu_result() until it is not LOOP_AGAIN.
 */
int vu_start(struct vu_dev *d, uint64_t acked, const struct vu_ring *rings, unsigned n);
/*
 * Of the start: LOOP_AGAIN while it is under way; 0; -EIO: the back end refused something, and what had begun has stopped;
 * -ETOOMANYREFS: the kernel passed no descriptors on, which other programs of this user may be the cause of, and likewise;
 * -ENOTCONN, -ETIMEDOUT: the connection is over.
 */
int vu_result(struct vu_dev *d);
/* Stops what runs, or is about to. True: nothing is under way, and nothing runs. Asked until then; bounded in time. */
bool vu_settle(struct vu_dev *d);
/* For a reset that cannot wait: what runs runs on until the process ends, and no more is said. */
void vu_let_go(struct vu_dev *d);

/* user.c, for user_run.c: makes d->mh of the question in d->out, and room for its answer. */
void vu_prepare(struct vu_dev *d);

/* For the filters of system calls. */
extern const struct right vu_rights[];

#endif
