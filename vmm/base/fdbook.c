// SPDX-License-Identifier: BSD-3-Clause
/* The process has one table of descriptors, hence one book: a word each, touched as far as there are any. */
#include "vmm/base/fdbook.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static uint32_t book[FDBOOK_MAX];
static int end;
static bool overflown;

int fd_note(int fd, enum fd_kind kind)
{
	overflown |= fd >= FDBOOK_MAX;
	if (fd < 0 || fd >= FDBOOK_MAX)
		return fd;
	book[fd] = kind;
	if (fd >= end)
		end = fd + 1;
	return fd;
}

void fd_note_also(int fd, enum fd_kind kind)
{
	fd_note(fd, fd_kinds(fd) | kind);
}

void fd_forget(int fd)
{
	if (fd >= 0 && fd < end)
		book[fd] = 0;
}

uint32_t fd_kinds(int fd)
{
	return fd >= 0 && fd < end ? book[fd] : 0;
}

bool fd_book_is_whole(void)
{
	return !overflown;
}

int fd_end(void)
{
	return end;
}

bool fd_run(int fd, uint32_t kinds, int *ret_first, int *ret_last)
{
	while (fd < end && !(book[fd] & kinds))
		fd++;
	if (fd >= end)
		return false;
	*ret_first = fd;
	while (fd < end && book[fd] & kinds)
		fd++;
	*ret_last = fd - 1;
	return true;
}

const char *fd_kind_name(enum fd_kind kind)
{
	static const char *const names[] = {
		"log", "outfile", "console output", "console output socket", "console input", "console input socket",
		"terminal", "io_uring", "eventfd", "timerfd", "signalfd", "image", "/dev/kvm", "VM", "vCPU", "KVM device",
		"tap", "vhost", "VFIO container", "VFIO group", "VFIO device", "keeper", "disk", "peer",
		"balloon", "vhost-user", "guest memory",
	};
	unsigned bit = (unsigned)__builtin_ctz((unsigned)kind | BIT32(31));

	return bit < ARRAY_LEN(names) ? names[bit] : "none";
}

int fd_event(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd < 0 ? -errno : fd_note(fd, FD_EVENT);
}

/* Not every C library knows the call; -1: no offset, in halves. */
ssize_t fd_read(int fd, void *buf, size_t len, bool now)
{
	const struct iovec iov = { .iov_base = buf, .iov_len = len };

	return syscall(SYS_preadv2, fd, &iov, 1L, -1L, -1L, now ? (long)RWF_NOWAIT : 0L);
}

void fd_takes_none(int fd)
{
	const int no = 0;

	setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
}

int fd_of_message(const struct msghdr *m)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(m);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}
