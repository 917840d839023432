/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pty - a pseudo-terminal for the guest's console
 *
 * What:   makes one, raw, whose other end any program of the user's may open and close: screen(1), picocom(1), socat(1).
 * Not:    moving the bytes (vmm/core/stream.h); the user's own terminal (terminal.h).
 * Trust:  who may open its name is the same user; what they send is the guest's input.
 * Thread: set-up.
 * Source: pty(7), posix_openpt(3), ioctl_tty(2) (TIOCGPTPEER).
 */
#ifndef VMM_APP_PTY_H
#define VMM_APP_PTY_H

#include "vmm/base/err.h"

struct pty {
	int fd;        /* the master, O_NONBLOCK, noted; -1: none */
	char name[32]; /* of the other end: "/dev/pts/5" */
};

/* Before a sandbox hides /dev; the process's end closes it. With a sentence: what open(2) of /dev/ptmx says, and ioctl(2). */
int pty_open(struct pty *ret_p, struct err *err);

#endif
