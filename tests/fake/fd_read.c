// SPDX-License-Identifier: BSD-3-Clause
/* Where an emulator of programs has no preadv2(2), it is poll(2) and read(2): nobody else is at the descriptor in a test. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

ssize_t __real_fd_read(int fd, void *buf, size_t len, bool now);
ssize_t __wrap_fd_read(int fd, void *buf, size_t len, bool now);

ssize_t __wrap_fd_read(int fd, void *buf, size_t len, bool now)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n = __real_fd_read(fd, buf, len, now);

	if (n >= 0 || errno != ENOSYS)
		return n;
	if (now && poll(&p, 1, 0) != 1) {
		errno = EAGAIN;
		return -1;
	}
	return read(fd, buf, len);
}
