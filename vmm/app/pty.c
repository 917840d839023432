// SPDX-License-Identifier: BSD-3-Clause
/*
 * The other end is opened once, to be set raw and closed: modes stay, and from then on the master tells by POLLHUP that nobody
 * has it open.
 */
#include "vmm/app/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"

/* The other end, whatever /dev/pts is here. */
static int open_other(int master)
{
	return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static int make_raw(int master)
{
	_cleanup_close_ int other = open_other(master);
	struct termios t;

	if (other < 0 || tcgetattr(other, &t))
		return -errno;
	cfmakeraw(&t);
	return tcsetattr(other, TCSANOW, &t) ? -errno : 0;
}

int pty_open(struct pty *ret_p, struct err *err)
{
	_cleanup_close_ int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int number, unlocked = 0, r;

	if (fd < 0)
		return err_set(err, -errno, "--console: pty: open '/dev/ptmx': %s", strerror(errno));
	r = ioctl(fd, TIOCGPTN, &number) || ioctl(fd, TIOCSPTLCK, &unlocked) ? -errno : make_raw(fd);
	if (r)
		return err_set(err, r, "--console: pty: %s", strerror(-r));
	snprintf(ret_p->name, sizeof(ret_p->name), "/dev/pts/%d", number);
	ret_p->fd = fd_note(steal_fd(&fd), FD_OUT);
	return 0;
}
