/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream - bytes between a guest's console device and the outside
 *
 * What:   a bounded output ring that the loop drains into a descriptor, and input from a
 *         descriptor as far as the device has room; or both with who connects to a socket.
 * Not:    terminal modes and key sequences (vmm/app/terminal.h), what is shown of which
 *         device (vmm/app/console_mux.h).
 * Trust:  output bytes are the guest's and pass unchanged; input is the user's. A consumer
 *         that is slow, stopped or gone never blocks a vCPU nor grows memory.
 * Signals: SIGPIPE is blocked or ignored by the program: a reader that leaves is told by EPIPE.
 * Thread: stream_write() any; the rest on the loop.
 * Source: open(2) of /proc/self/fd (a description of our own), pipe(7), tty_ioctl(4).
 */
#ifndef VMM_CORE_STREAM_H
#define VMM_CORE_STREAM_H

#include "vmm/base/rights.h"
#include "vmm/base/types.h"

struct loop;
struct stream;

struct stream_cfg {
	int in_fd;  /* -1: none. Borrowed; open until stream_free(). */
	/*
	 * -1: output vanishes. Likewise. Never set to O_NONBLOCK in place: the description may be shared. A regular file that is at
	 * its end is set to O_APPEND in place, and stays so: all who write by that description then write behind each other. One
	 * that is neither at its end nor appends is the exception to what is said above: where it blocks, the loop does.
	 */
	int out_fd;
	size_t ring_size; /* bytes of output kept, power of two; 0: 64 KiB */
	/*
	 * Both are the master of a pseudo-terminal, of the caller's making, O_NONBLOCK, whose other end was open once. While
	 * nobody has that open, output vanishes and is no loss; who comes is seen within a quarter of a second.
	 */
	bool pty;
	/*
	 * Both are a listening Unix socket, not O_NONBLOCK, noted, on which one client at a time is served; others wait. While none
	 * is there the newest bytes stay in the ring, for the next one, and those that they take the place of are no loss.
	 */
	bool listens;
};

/* Descriptors that come while the guest runs, where it listens: a client's, and of one that is to follow it. */
#define STREAM_CLIENTS 2

/*
 * Before the loop's seal, and before a sandbox hides /proc: pipes and terminals are opened once
 * more there. With an output, SIGPIPE is ignored from here on in the whole process.
 * -EINVAL: ring_size; -EBADF: no such descriptor; -EMFILE, -ENOMEM, loop_poll_init()'s errors.
 */
int stream_new(struct loop *l, const struct stream_cfg *cfg, struct stream **ret_s);
/*
 * Before loop_free(), with the loop not running. What was not flushed is lost. A write to a file that is under way is waited
 * for, as late as the file wills. NULL is fine.
 */
void stream_free(struct stream *s);

/*
 * Takes as much of @len bytes as fits and returns that count; never blocks. A consumer that is
 * gone for good takes everything. Never calls the room listener itself.
 */
size_t stream_write(struct stream *s, const void *buf, size_t len);
/* Room in the output ring, in bytes. Any thread. For tests. */
size_t stream_room(struct stream *s);
/* Called on the loop when there is room worth it after a short stream_write(). One listener; set before the first write. */
void stream_on_room(struct stream *s, void (*room)(void *ctx), void *ctx);

/*
 * Input: @receive is given bytes on the loop and returns how many it took; after a short
 * take, reading stops until stream_resume_input(), and the rest is offered again then. One
 * receiver. End of file and errors end the input for good.
 */
void stream_on_input(struct stream *s, size_t (*receive)(void *ctx, const uint8_t *buf, size_t len), void *ctx);
void stream_resume_input(struct stream *s); /* any thread; cheap where nothing is held back */

/* Writes out what is left, waiting at most @timeout_ns. At the end, with the loop stopped; for a file it must have been sealed. */
void stream_flush(struct stream *s, uint64_t timeout_ns);
/*
 * Bytes that were taken and then lost: the consumer was gone, or the flush ran out of time. What
 * a short stream_write() left is the caller's to count, who alone knows whether it tries again.
 */
uint64_t stream_dropped(const struct stream *s);
/*
 * Copies the last bytes that the guest wrote (at most @cap, and at most 4 KiB) into @buf; returns how many. Those that were lost are
 * among them; those that are still to be written are not, so it is asked after stream_flush(). For the result file.
 */
size_t stream_tail(struct stream *s, char *buf, size_t cap);

/* For the filters of system calls. */
extern const struct right stream_rights[];

#endif
