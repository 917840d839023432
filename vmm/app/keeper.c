// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"

/* Nothing of the VM's is left open in the child but its pipe, as descriptor 0. */
static void child(int fd, const char *const paths[], unsigned n)
{
	unsigned char keep = 0;
	ssize_t got;

	if (dup2(fd, 0) < 0 || syscall(SYS_close_range, 1, ~0u, 0))
		_exit(1);
	do {
		got = read(0, &keep, 1);
	} while (got < 0 && errno == EINTR);
	if (got < 0) /* not known: a VM that runs has its files */
		_exit(1);
	for (unsigned i = 0; i < n; i++)
		if (paths[i] && !(keep & BIT32(i)))
			unlink(paths[i]);
	_exit(0);
}

int keeper_new(struct keeper *k, const char *const paths[], unsigned n)
{
	_cleanup_close_ int in = -1;
	int fds[2], pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	in = fds[0];
	pid = fork();
	if (pid < 0) {
		close(fds[1]);
		return -errno;
	}
	if (!pid)
		child(in, paths, n);
	*k = (struct keeper){ .pid = pid, .fd = fd_note(fds[1], FD_KEEPER) };
	return 0;
}

/* A child that is gone takes nothing back. */
static int tell(int fd, unsigned keep)
{
	const unsigned char told = (unsigned char)keep;
	ssize_t n;

	do {
		n = write(fd, &told, 1);
	} while (n < 0 && errno == EINTR);
	return n < 0 && errno != EPIPE ? -errno : 0;
}

int keeper_end(struct keeper *k, unsigned keep, struct err *err)
{
	int r;

	if (!k->pid)
		return 0;
	r = keep ? tell(k->fd, keep) : 0;
	close_fd(&k->fd);
	while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
		;
	k->pid = 0;
	return r ? err_set(err, r, "sandbox: the child that looks after new files: %s", strerror(-r)) : 0;
}
