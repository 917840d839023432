/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop_priv - what the files of the event loop share
 *
 * What:   slots, and the functions of loop_ring.c, which makes ring and slots agree. How they work
 *         together is told in loop.c.
 * Not:    for anyone but vmm/core/loop*.c.
 * Trust:  completions name a slot and a generation; both are checked.
 * Thread: the loop's, or before the seal.
 * Source: io_uring_enter(2).
 */
#ifndef VMM_CORE_LOOP_PRIV_H
#define VMM_CORE_LOOP_PRIV_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "vmm/core/calls.h"
#include "vmm/core/loop.h"

/* A round submits in steps of this. Completions that find no room wait in the kernel. */
#define SQ_ENTRIES 64
#define CQ_ENTRIES 512
#define AGAIN_NS 5000000 /* how often a call that has to wait is asked again, at least */

#define CHUNK 1024 /* slots; the first chunk is enough for a machine without disks */
#define NO_FILE UINT16_MAX
#define HERE UINT64_MAX /* a place: the file's own position */

enum slot_kind { SLOT_POLL, SLOT_IO, SLOT_LATER };
enum { LIST_READY, LIST_DIRTY, NR_LISTS };

struct slot {
	void *owner;             /* struct loop_poll, loop_io or loop_later; good while something is wanted */
	union {
		const struct iovec *iov; /* transfer */
		struct msghdr *msg;      /* recvmsg(2)'s */
		const struct msghdr *out; /* sendmsg(2)'s */
	};
	uint64_t off, len;       /* transfer: its place; fallocate(2)'s length */
	uint32_t gen;
	uint32_t cancel_gen;
	uint32_t want;           /* poll: events, 0 for none; transfer: number of iovecs, 1 where it has none, 0 for none */
	int32_t flags;           /* transfer: RWF_*, MSG_*, SHUT_*, or fallocate(2)'s mode */
	int32_t fd;              /* late transfer: its descriptor, -1: none */
	uint32_t events;         /* poll: taken in, not yet dispatched */
	int32_t res;             /* transfer: its result, where `done` */
	uint16_t file;           /* index of its descriptor; NO_FILE: a late transfer's, or nothing is read or written */
	uint16_t next[NR_LISTS];
	bool listed[NR_LISTS];
	uint8_t kind;            /* enum slot_kind */
	uint8_t op;              /* transfer: IORING_OP_* */
	uint8_t errors;          /* poll: since it last brought news */
	bool of_disk;            /* others share its file */
	bool elsewhere;          /* never tried by the loop's thread */
	bool in_kernel;          /* a request of this generation is submitted */
	bool cancel;             /* the request of cancel_gen must be cancelled */
	bool done;               /* transfer: completed, not yet dispatched */
};

struct list {
	uint16_t first, last;
	bool used;
};

struct loop {
	struct io_uring ring;    /* from the seal on */
	bool has_ring;
	atomic_bool sealed;
	atomic_bool stopping;
	pthread_t thread;        /* set before `sealed` */

	struct calls calls;
	int wake_fd;
	struct loop_poll wake;

	struct list lists[NR_LISTS];
	unsigned nr_disks;       /* files that may be synchronised and allocated: the ring has to allow it */
	unsigned nr_regular;     /* files that are no disks and may keep a worker waiting */
	unsigned nr_stick;       /* closes that may never end */
	bool elsewhere;          /* some transfers are for the kernel's threads alone */
	bool takes_late;         /* descriptors that are not registered, and what makes and ends them */
	bool sends;              /* and there are sockets to which messages go, with descriptors */
	unsigned nr_files;
	int files[LOOP_MAX_FDS]; /* for the seal; -1: a hole in the table */
	unsigned nr;
	struct slot *chunks[LOOP_MAX_SOURCES / CHUNK]; /* beyond the first, objects of their own */
	struct slot first_chunk[CHUNK];                /* from nr on not initialised */
};

static inline struct slot *slot(const struct loop *l, unsigned i)
{
	return &l->chunks[i / CHUNK][i % CHUNK];
}

/* Slot @i comes to the end of list @which, once. */
void lring_put_on(struct loop *l, unsigned which, unsigned i);
/* For a request that is prepared otherwise. */
void lring_finish_sqe(struct io_uring_sqe *sqe, uint64_t tag);
/* The caller has seen to room in the submission queue. */
void lring_submit_cancel(struct loop *l, unsigned i, uint32_t gen);
/* Turns what is wanted into submissions, as far as the queue has room. True: some had to wait. */
bool lring_sync(struct loop *l);
/* The request in the kernel is given up: its completion will be dropped. */
void lring_give_up(struct loop *l, unsigned i);
/* Submits what is prepared, waits for @wait completions, takes in what there is. 0, or an errno that ends the loop. */
int lring_enter(struct loop *l, unsigned wait);
/* The same, waiting for one, but no longer than AGAIN_NS. */
int lring_enter_a_little(struct loop *l);
/* Runs the callback of transfer @i, if it has ended. */
void lring_dispatch_io(struct loop *l, unsigned i);
/* Runs the callbacks of all that was taken in. */
void lring_dispatch(struct loop *l);

#endif
