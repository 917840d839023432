/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * broker - descriptors that this process may not make, from one that may
 *
 * What:   asks a process of ours, the broker, for a connection to a path that it was started with, by the path's number;
 *         the descriptor comes over a socket between the two. As many may ask as like, each once at a time; answers come in
 *         the order of the questions.
 * Not:    the broker itself (vmm/machine/broker_child.h), which knows the paths and nothing else.
 * Trust:  the broker answers what it was asked, or it is taken for gone: each question then fails, one line says so, and nothing
 *         else comes of it. No byte of a guest's but a port's number reaches it.
 * Thread: set-up; the loop's.
 * Source: unix(7) (SCM_RIGHTS, SOCK_SEQPACKET).
 */
#ifndef VMM_CORE_BROKER_H
#define VMM_CORE_BROKER_H

#include "vmm/core/loop.h"

/* What goes over the socket, a message each. */
struct broker_request {
	uint32_t number; /* of the question */
	uint32_t path;   /* the index among those that the broker was started with */
	uint32_t port;   /* becomes part of a name, where the path says so */
};

struct broker_reply {
	uint32_t number;
	int32_t error;   /* 0: with a descriptor; or a negative errno */
};

/* A question. The asker's, zeroed at first. */
struct broker_ask {
	void (*done)(void *ctx, int res); /* a descriptor, the asker's from here on, or a negative errno */
	void *ctx;
	uint32_t path, port, number;
	bool busy;
	struct broker_ask *next;
};

struct broker {
	const char *name;        /* for a message; borrowed */
	int fd;                  /* its own; -1: none */
	bool gone;
	struct loop_io tx, rx;
	struct broker_ask *first, *last, *unsent; /* in their order; those before `unsent` are at the broker */
	unsigned asked;          /* how many those are */
	uint32_t next_number;
	struct broker_request out;
	struct broker_reply in;
	struct iovec out_iov, in_iov;
	struct msghdr msg;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

/*
 * Before the loop's seal. @fd: the socket, taken over also on failure; not O_NONBLOCK. loop_io_init()'s errors. The loop must have
 * a late source (loop_io_init_late()).
 */
int broker_init(struct broker *b, struct loop *l, int fd, const char *name);
/* Before loop_free(); who still waits is not told. A zeroed @b is fine. */
void broker_fini(struct broker *b);
/*
 * Asks for path @path, with @port. done() comes later, never from here, and always but for broker_fini(). -EBUSY: is asking
 * already; -EPIPE: the broker is gone.
 */
int broker_ask(struct broker *b, struct broker_ask *a, uint32_t path, uint32_t port);

#endif
