/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * user - the front end of vhost-user: a device's rings served by another process
 *
 * What:   the connection, what both sides can do, the start and the stop of rings; and where a back end ends, another connection
 *         by the same path, to one that goes on with the rings where that can be right.
 * Not:    what the queues are for (devices/virtio/vuser.c); the messages' bytes (user_msg.h); who connects (vmm/core/broker.h).
 * Trust:  the back end is the user's own program and reaches all of the guest's memory; what it says is checked, each
 *         answer has a time and a size, and what breaks a rule ends the connection. Ring addresses come from the guest and
 *         are checked before the back end sees them.
 * Thread: set-up, then the loop.
 * Source: QEMU docs/interop/vhost-user.rst (also: inflight I/O tracking); virtio 1.2 s2.7.
 */
#ifndef DEVICES_VHOST_USER_H
#define DEVICES_VHOST_USER_H

#include <sys/socket.h>

#include "devices/vhost/user_msg.h"
#include "devices/vhost/vhost.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/core/broker.h"
#include "vmm/core/loop.h"

#define VU_MAX_RINGS 8
/*
 * For a back end to do all that a start or a stop asks of it: only the guest's driver waits so long, not the loop. A stop ends what
 * is under way on the back end's disk, which may take its time; a guest that waits longer complains of its CPU.
 */
#define VU_START_PATIENCE_NS (5 * NS_PER_SEC)
#define VU_STOP_PATIENCE_NS (15 * NS_PER_SEC)
/* How often another back end is looked for: at first, and in the end. */
#define VU_RETRY_NS (NS_PER_SEC / 10)
#define VU_RETRY_MOST_NS NS_PER_SEC
/* Descriptors that come while the guest runs, of one device: a connection, and the memory of what is in flight, before and after. */
#define VU_MORE_FDS 3

/* A ring that is to run: its place in guest memory, and the eventfds by which both sides call, borrowed until it has stopped. */
struct vu_ring {
	unsigned index;
	struct vh_ring at;
	int kick_fd, call_fd;
	bool idle;               /* it starts, and is not enabled */
};

/* What is lost where a back end ends: may another one go on with its rings? */
enum vu_loss {
	VU_LOSES_REQUESTS,       /* where it is known which of them are open */
	VU_LOSES_STATE,          /* no: there is more to it than the rings */
	VU_LOSES_PACKETS,        /* always: who sends them reckons with that */
};

/* What the device has to say where back ends come and go. On the loop; but for there(), never from within a function of this header. */
struct vu_ops {
	/* A back end has said what it is: what does it lack to be this device's? NULL: nothing. A sentence's end, static. */
	const char *(*lacks)(void *ctx);
	/* What ran runs no more, or there is no back end any more: the driver has to be told. */
	void (*needs_reset)(void *ctx);
	/* May be NULL. The back end is gone, or another one has begun to serve, where there is anything to serve. */
	void (*there)(void *ctx, bool yes);
	/* Where vu_switch() is called. What that began is over: done, or else the driver is told that the device has to be reset. */
	void (*switched)(void *ctx, bool done);
};

struct vu_cfg {
	const char *name;        /* the device's, for messages; borrowed */
	int fd;                  /* connected; taken over, also on failure */
	uint64_t need;           /* features of the protocol without which it is of no use (bits of VU_PROTOCOL_*) */
	uint32_t config_len;     /* bytes of configuration space, up to VU_CONFIG_MAX; 0: none */
	struct broker *broker;   /* connects to others, by its path @path; NULL: the first back end is the last */
	uint32_t path;
	enum vu_loss loss;
	uint16_t mtu;            /* of a network card, told to a back end that wants to know; 0: not told */
	const uint8_t *mac;      /* of a network card: the 6 bytes by which another back end makes it known; NULL: none */
	const struct vu_ops *ops;
	void *ctx;
};

/* What a back end says of itself. */
struct vu_said {
	uint64_t features;       /* virtio's */
	uint64_t protocol;       /* those of the protocol that both sides have */
	unsigned max_queues;     /* 0: it does not say */
	uint8_t config[VU_CONFIG_MAX];
};

enum vu_phase { VU_QUIET, VU_GREETING, VU_STARTING, VU_SWITCHING, VU_STOPPING };
enum vu_link {
	VU_UP,                   /* connected */
	VU_AWAY,                 /* another back end is waited for */
	VU_OVER,                 /* there is none, and none will come */
};

struct vu_dev {
	struct vu_cfg cfg;
	const struct gmem *mem;
	int fd;                  /* owned; -1: none */
	bool late;               /* it came from the broker */
	enum vu_link link;
	struct vu_said said;     /* by the one that is connected, or was */

	/* what a start tells it */
	uint64_t acked;
	struct vu_ring rings[VU_MAX_RINGS];
	uint16_t bases[VU_MAX_RINGS]; /* where each goes on; of those that were served */
	unsigned nr_rings;
	unsigned served;         /* the first so many may have run with a back end before */
	bool wanted;             /* the driver wants them to run */
	bool switches;           /* vu_switch() is not over */
	int inflight_fd;         /* owned; -1: nobody keeps what is in flight */
	int came_fd;             /* owned; what came with the answer that is looked at */
	struct vu_inflight inflight;
	bool keeps_inflight;     /* the back end of this start keeps it there */
	unsigned stillborn;      /* so many starts in a row ended after they were shown it */

	/* where it is (user_run.c) */
	enum vu_phase phase;
	unsigned step;           /* of the phase */
	unsigned begun;          /* the first so many rings may run there */
	bool barrier;            /* the question under way only waits for the one before it */
	bool awaited;            /* the driver waits for this start */
	int result;              /* of it */
	uint64_t deadline_ns;    /* CLOCK_MONOTONIC, of the phase */
	struct vu_out out;       /* the question under way */
	struct vu_in in;         /* and its answer */
	bool unsent;             /* the kernel had no room for it */
	bool waits;              /* it is asked when the bin is empty */
	bool early;              /* something of an answer is there, and we do not know yet that the question is gone */
	bool takes_fd;           /* the read under way has room for a descriptor */
	struct loop_io tx, rx;
	struct iovec tx_iov, rx_iov;
	struct msghdr tx_mh, rx_mh;
	_Alignas(struct cmsghdr) char tx_control[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
	_Alignas(struct cmsghdr) char rx_control[CMSG_SPACE(sizeof(int))];

	/* back ends that come and go (user_link.c) */
	struct broker_ask ask;
	struct loop_timer timer;
	uint64_t delay_ns, up_ns; /* to the next try; since when it is connected (CLOCK_MONOTONIC) */
	int told;                /* why the last try came to nothing, if that has been said */
	bool was_reset;          /* the last one hung up on us */
	unsigned returns;        /* so often another one was taken */
	struct loop_io end, poke;
	int bin[VU_MORE_FDS + 1]; /* to be closed, the first one just now */
	unsigned nr_bin;
	unsigned poked;          /* the first so many eventfds of the rings have their signal */
	uint64_t one;
	struct iovec poke_iov;
	struct log_limit log;    /* of what a guest or a back end may cause again and again */
};

/*
 * Connects to the socket @path, a file's name, without waiting; who listens may hand over descriptors where @takes_fds. Errors,
 * with a sentence that begins with @name: -ENOENT, -ENOTSOCK, -ECONNREFUSED (nobody listens any more), -EAGAIN (too many wait
 * already), -ENAMETOOLONG, -EPROTOTYPE, -EACCES.
 */
int vu_connect(const char *name, const char *path, bool takes_fds, int *ret_fd, struct err *err);
/* An inherited descriptor: -ENOTSOCK, -ENOTCONN, -EPROTOTYPE, with a sentence; @fd stays the caller's on failure. */
int vu_adopt(const char *name, int fd, struct err *err);
/*
 * Asks what the back end can, which stands in @d->said then, and tells it that it has an owner; waits for answers, some seconds in
 * all. Errors, with a sentence: -ETIMEDOUT, -ECONNRESET, -EPROTO, -ENOTSUP (no virtio 1, or less than @cfg->need), -EREMOTEIO (not
 * so much of a configuration). vu_fini() in any case.
 */
int vu_greet(struct vu_dev *d, const struct vu_cfg *cfg, struct err *err);
/*
 * Before the loop's seal, once, after vu_greet(). @mem: shared with a descriptor a region, borrowed.
 * -EINVAL: memory that has no descriptor; loop_io_init()'s and loop_timer_init()'s errors.
 */
int vu_attach(struct vu_dev *d, struct loop *loop, const struct gmem *mem);
/* Closes, as far as a sealed process may. The rings' end is the back end's business then. Again, and for a zeroed one with fd -1, is fine. */
void vu_fini(struct vu_dev *d);

/* user_run.c, on the loop. */

/*
 * Begins to start @n rings (up to VU_MAX_RINGS) with the features that the driver has acknowledged, those of the back end's
 * among them. Nothing is under way. -EINVAL, -EFAULT: the driver's mistakes (virtio 1.2 s2.7), nothing is said;
 * -ENOTCONN: there is no back end, and none will come. Then vu_result() until it is not LOOP_AGAIN. Where another back end is
 * waited for the start has ended at once: the rings run when there is one.
 */
int vu_start(struct vu_dev *d, uint64_t acked, const struct vu_ring *rings, unsigned n);
/*
 * Of the start: LOOP_AGAIN while it is under way; 0; -EIO: the back end refused something, and what had begun has stopped;
 * -ETOOMANYREFS: the kernel passed no descriptors on, which other programs of this user may be the cause of, and likewise;
 * -ENOTCONN, -ETIMEDOUT: the connection is over, and no other back end can go on with what had begun.
 */
int vu_result(struct vu_dev *d);
/*
 * Of rings that were started: those of an index below @enabled are enabled, and all others idle. True: that has been done, or is told
 * to the back end that is waited for; else @cfg->ops->switched() follows, and until then there is no other switch.
 */
bool vu_switch(struct vu_dev *d, unsigned enabled);
/* False: the rings are being stopped, or have to be reset: there is nothing to be switched. */
bool vu_may_switch(const struct vu_dev *d);
/* Stops what runs, or is about to. True: nothing is under way, and nothing runs. Asked until then; bounded in time. */
bool vu_settle(struct vu_dev *d);
/* For a reset that cannot wait: what runs runs on until the process ends, and no more is said. */
void vu_let_go(struct vu_dev *d);

#endif
