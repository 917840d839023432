// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/rights.h"

/* O_NONBLOCK is for open(2) alone: a FIFO without a reader must not hang us. */
#define OPEN_FLAGS (O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

#define PATIENCE_MS 1000 /* with a reader that is slow */

int outfile_open(struct outfile *f, const char *what, const char *path, struct err *err)
{
	struct stat st;
	int fd;

	*f = (struct outfile){ .path = path, .fd = -1 };
	fd = open(path, OPEN_FLAGS | O_CREAT | O_EXCL, 0666);
	f->created = fd >= 0;
	if (fd < 0 && errno == EEXIST)
		fd = open(path, OPEN_FLAGS);
	if (fd < 0)
		return err_set(err, -errno, "%s: '%s': %s", what, path,
			       errno == ENXIO ? "nothing reads this pipe" : strerror(errno));
	f->fd = fd;
	if (fstat(fd, &st) || fcntl(fd, F_SETFL, 0)) {
		outfile_abandon(f);
		return err_set(err, -errno, "%s: '%s': %s", what, path, strerror(errno));
	}
	fd_note(fd, FD_OUTFILE);
	f->regular = S_ISREG(st.st_mode);
	return 0;
}

int outfile_clear(struct outfile *f)
{
	return f->regular && ftruncate(f->fd, 0) ? -errno : 0;
}

/* A pipe that says it has room has it for so much. */
static bool has_room(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, PATIENCE_MS) != 0;
}

/* All of it, whatever write(2) takes at a time; -EAGAIN: whoever reads does not. Signals have no reader by now. */
static int write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n;

		if (!has_room(fd))
			return -EAGAIN;
		n = write(fd, p, len < PIPE_BUF ? len : PIPE_BUF);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int outfile_put(struct outfile *f, const void *buf, size_t len)
{
	return write_all(f->fd, buf, len);
}

void outfile_abandon(struct outfile *f)
{
	if (f->created && !f->kept)
		unlink(f->path);
	f->created = false;
	close_fd(&f->fd);
}

const struct right outfile_rights[] = {
	{ RIGHT_LOOP, SYS_write, RIGHT_FD, FD_OUTFILE, 0, "the result" },
	{ 0 },
};
