/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fdbook - what each of the process's descriptors is
 *
 * What:   a note for each descriptor, made where it is opened: whoever locks the process down
 *         knows what to keep and which calls each may be used in.
 * Not:    ownership: who opened a descriptor closes it, with close_fd(), which strikes it out.
 * Thread: set-up, before there is a second thread; asked at any time.
 */
#ifndef VMM_BASE_FDBOOK_H
#define VMM_BASE_FDBOOK_H

#include <sys/socket.h>
#include <sys/types.h>

#include "vmm/base/types.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

#define FDBOOK_MAX 4096 /* descriptors from here on cannot be noted */
/*
 * RLIMIT_NOFILE of who sends descriptors: the kernel compares it with those that the user has on their way in sockets, in all
 * programs, and refuses more with ETOOMANYREFS (unix(7)).
 */
#define FDS_ON_THEIR_WAY 1024

/* What a descriptor is, one bit each: the standard ones may be several things. */
enum fd_kind {
	FD_LOG = 1 << 0,        /* the log, and standard error */
	FD_OUTFILE = 1 << 1,    /* --result, --dump-dtb */
	FD_OUT = 1 << 2,        /* the console's output: file, pipe, terminal */
	FD_OUT_SOCKET = 1 << 3,
	FD_IN = 1 << 4,         /* the console's input */
	FD_IN_SOCKET = 1 << 5,
	FD_TERMINAL = 1 << 6,
	FD_RING = 1 << 7,       /* the loop's io_uring */
	FD_EVENT = 1 << 8,
	FD_TIMER = 1 << 9,
	FD_SIGNAL = 1 << 10,
	FD_IMAGE = 1 << 11,     /* kernel, initrd */
	FD_KVM = 1 << 12,
	FD_VM = 1 << 13,
	FD_VCPU = 1 << 14,
	FD_KVM_DEVICE = 1 << 15, /* GIC, ITS, KVM's end of VFIO */
	FD_TAP = 1 << 16,
	FD_VHOST = 1 << 17,
	FD_VFIO_CONTAINER = 1 << 18,
	FD_VFIO_GROUP = 1 << 19,
	FD_VFIO_DEVICE = 1 << 20,
	FD_KEEPER = 1 << 21,    /* the pipe to a child, gone before the guest runs */
	FD_DISK = 1 << 22,      /* reached by the loop's ring alone */
	FD_PEER = 1 << 23,      /* a process of ours at the other end; likewise */
	FD_BALLOON = 1 << 24,   /* a balloon's doorbell, and so the sign that there is one */
	FD_BACKEND = 1 << 25,   /* vhost-user's: written by the ring alone */
	FD_MEMORY = 1 << 26,    /* the guest's, for other processes */
};

/* @fd is of @kind and nothing else from now on. Negative ones, and those past the book, are passed over. Returns @fd. */
int fd_note(int fd, enum fd_kind kind);
/* @fd is of @kind as well. */
void fd_note_also(int fd, enum fd_kind kind);
void fd_forget(int fd);
/* Bits of enum fd_kind; 0: not ours. */
uint32_t fd_kinds(int fd);
/* False: there was one whose number was too high to be noted. */
bool fd_book_is_whole(void);
/* One more than the highest that is noted. */
int fd_end(void);
/* From @fd on, the first descriptors in a row that are of any of @kinds: the numbers *@ret_first to *@ret_last. False: none. */
bool fd_run(int fd, uint32_t kinds, int *ret_first, int *ret_last);
/* "vcpu", for one bit. */
const char *fd_kind_name(enum fd_kind kind);
/* An eventfd, O_NONBLOCK and O_CLOEXEC, noted; -EMFILE, -ENFILE, -ENOMEM. */
int fd_event(void);
/*
 * read(2), by the one call that reads once the guest runs. @now: -1 and EAGAIN where it would wait, O_NONBLOCK or not; eventfds alone
 * know how (RWF_NOWAIT of preadv2(2), from Linux 5.8 on). Any thread.
 */
ssize_t fd_read(int fd, void *buf, size_t len, bool now);
/*
 * The other end of the Unix socket @fd can hand over no descriptors. Who receives some without room for them closes them, in the same
 * call, and that takes as long as their maker likes: a TCP socket's with SO_LINGER, for one. Linux 6.16; before, it can.
 */
void fd_takes_none(int fd);
/* The one descriptor that came with a message that was received; -1: none. */
int fd_of_message(const struct msghdr *m);

/*
 * One read takes all that the eventfd @fd holds, and tells how many signals that were; 0: none. More may come at once, from as many
 * CPUs as there are: no loop. It never waits: a process that was lent the eventfd shares its O_NONBLOCK, and may have cleared it.
 * Any thread. (eventfd(2))
 */
static inline uint64_t fd_drain(int fd)
{
	uint64_t count;

	return fd_read(fd, &count, sizeof(count), true) == (ssize_t)sizeof(count) ? count : 0;
}

#endif
