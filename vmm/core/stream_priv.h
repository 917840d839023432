/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_priv - what the files of a stream share
 *
 * What:   its state, and what each of stream.c (bytes to and from a descriptor that is there from the start) and
 *         stream_client.c (a socket that programs connect to) has of the other.
 * Not:    for anyone else, but tests.
 * Trust:  a client may do anything at any time, and is any program that may open the socket.
 * Thread: the loop's, but for what stands under the lock.
 */
#ifndef VMM_CORE_STREAM_PRIV_H
#define VMM_CORE_STREAM_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "vmm/core/loop.h"
#include "vmm/core/stream.h"

#define HISTORY_SIZE 4096
#define INPUT_SIZE 1024
#define LOOK_NS (NS_PER_SEC / 4) /* how often what does not tell is looked at */

/* Who has connected. */
struct stream_client {
	struct loop_io accept;      /* on the listener */
	struct loop_io in, out, end; /* on the client's */
	struct iovec in_iov, out_iov;
	int fd;          /* -1: nobody is there */
	int next;        /* who is there as soon as the last one is closed; -1: nobody yet */
	bool waits;      /* `in` waits for its end, as nothing is to be read now */
	bool in_ended;   /* it sends no more */
	bool hung;       /* it reads no more; what it sent may still be on its way */
	bool deaf;       /* the listener is of no use any more */
	bool ending;     /* the guest has stopped: what is left is written, nobody else comes */
};

enum out_how {
	OUT_NONE,     /* vanishes */
	OUT_PLAIN,    /* by write(2) at once: /dev/null, and a file amid which is written */
	OUT_FILE,     /* one that appends. It may block, which no poll tells: by the loop's ring */
	OUT_NONBLOCK, /* O_NONBLOCK is set, by the caller or on our own description */
	OUT_SOCKET,
	OUT_CHUNK,    /* may block: at most `chunk` bytes after each POLLOUT */
	OUT_CLIENT,   /* to who has connected, by the loop's ring */
};

struct stream {
	struct loop *loop;
	int kick_fd;
	struct loop_poll kick;

	/* output */
	enum out_how how;
	int out_fd;
	int own_out_fd;          /* our own description, or -1 */
	size_t chunk;
	struct loop_poll out;
	struct loop_io file;     /* in place of that, for a file... */
	struct iovec file_iov;   /* ...to which these bytes are under way */
	bool refused;            /* the ring did not take the last ones, for a reason of its own */
	bool ending;             /* a file: the loop has stopped, nobody is told of room */
	void (*room)(void *ctx);
	void *room_ctx;
	atomic_ullong dropped;

	pthread_mutex_t lock;    /* the rest of the output */
	uint8_t *ring;
	size_t size;             /* power of two */
	size_t head, tail;       /* bytes ever put in and taken out, since it was last empty */
	bool gone;               /* nobody reads any more; written by the loop alone */
	bool absent;             /* nobody reads now, somebody may come; written by the loop alone */
	bool want_room;
	size_t passed;           /* bytes that went through history */
	uint8_t history[HISTORY_SIZE];

	/* input, the loop's */
	int in_fd;
	int own_in_fd;
	bool in_socket;
	bool in_ended;
	struct loop_poll in;
	bool pty;
	struct loop_timer look;  /* of a pseudo-terminal, and of a listener */
	struct stream_client client;
	size_t (*receive)(void *ctx, const uint8_t *buf, size_t len);
	void *receive_ctx;
	size_t in_off, in_len;   /* what is held back of input[] */
	atomic_bool held;
	uint8_t input[INPUT_SIZE];
};

/* stream.c's. The bytes that lie together at the tail, and that so many of them have gone. */
size_t stream_peek(struct stream *s, const uint8_t **ret_p);
void stream_consume(struct stream *s, const uint8_t *p, size_t n);
/* What was read into input[0 .. in_len) is the receiver's. */
void stream_offer(struct stream *s);
void stream_set_absent(struct stream *s, bool absent);
void stream_tell_room(struct stream *s);

/* stream_client.c's. Before the seal; @fd: the listener. loop_io_init()'s errors. */
int client_init(struct stream *s, int fd);
void client_fini(struct stream *s);
/* The next client, if there is room for one. */
void client_accept(struct stream *s);
/* A read, or, where input is held back or has ended, a look at whether the client is still there; unless that is under way. */
void client_read(struct stream *s);
/* A write, unless there is nothing to be written, nobody to read it, or one under way. */
void client_write(struct stream *s);
/* With the loop stopped: writes what there is until @deadline_ns of clock_now_ns(). */
void client_flush(struct stream *s, uint64_t deadline_ns);
/* Milliseconds until then, rounded up, at most a minute at a time; stream.c's. */
int stream_ms_until(uint64_t deadline_ns);

#endif
