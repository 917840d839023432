// SPDX-License-Identifier: BSD-3-Clause
/*
 * The modes as they were are kept in a static, with a flag that says whether they have to be
 * put back. Whoever clears the flag does it: the normal way out, a stop (SIGTSTP), or the
 * handler of a fatal signal. The handlers are installed only when a terminal was really changed;
 * a guest without one pays nothing.
 *
 * A vCPU's thread may not touch the terminal. One that crashes hands over to the loop's thread,
 * by a signal that is not its own: that one does by now what it always did.
 */
#include "vmm/app/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/base/rights.h"
#include "vmm/base/types.h"

/* SIGSYS is a filter of somebody's; our own has a handler of its own (seccomp.c). */
static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };

static struct {
	struct termios before, raw;
	int fd;
	pid_t pid;
	pid_t own_group;    /* a shell sets it before we begin */
	bool known;         /* the above is valid, handlers installed */
	atomic_bool is_raw;
	atomic_int crash;   /* the signal of a thread that handed over */
} term;
static _Thread_local bool is_loop;

static uint8_t handler_stack[16 * 1024];

/* A terminal that is not ours to control (tcgetpgrp fails) has no foreground to respect. */
static bool in_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == (term.known ? term.own_group : getpgrp());
}

bool terminal_is(int fd)
{
	if (!isatty(fd))
		return false;
	fd_note_also(fd, FD_TERMINAL);
	return true;
}

bool terminal_usable(int fd)
{
	return terminal_is(fd) && in_foreground(fd);
}

void terminal_restore(void)
{
	int saved = errno;

	if (atomic_exchange(&term.is_raw, false))
		tcsetattr(term.fd, TCSANOW, &term.before);
	errno = saved;
}

/* The loop's thread has the number of the process. */
static void signal_loop(int signo)
{
	syscall(SYS_tgkill, term.pid, term.pid, signo);
}

/* SA_RESETHAND made the next one deadly; it is pending until this returns. */
static void fatal(int signo)
{
	int crash;

	if (!is_loop) {
		atomic_store(&term.crash, signo);
		signal_loop(signo == SIGTRAP ? SIGABRT : SIGTRAP);
		for (;;)
			pause();
	}
	crash = atomic_load(&term.crash);
	terminal_restore();
	signal_loop(crash ? crash : signo);
}

/* The stack serves the thread that calls; others use their own. */
static int install_handlers(void)
{
	stack_t stack = { .ss_sp = handler_stack, .ss_size = sizeof(handler_stack) };
	struct sigaction sa = { .sa_handler = fatal, .sa_flags = (int)(SA_RESETHAND | SA_ONSTACK) };

	if (sigaltstack(&stack, NULL))
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++)
		if (sigaction(fatal_signals[i], &sa, NULL))
			return -errno;
	return 0;
}

int terminal_raw(int fd)
{
	int ret;

	if (tcgetattr(fd, &term.before))
		return -errno;
	ret = install_handlers();
	if (ret)
		return ret;
	term.raw = term.before;
	cfmakeraw(&term.raw);
	term.raw.c_cc[VMIN] = 1;
	term.raw.c_cc[VTIME] = 0;
	term.fd = fd;
	term.own_group = getpgrp();
	term.pid = getpid();
	term.known = true;
	is_loop = true;
	atomic_store(&term.is_raw, true); /* first, so that a signal in between restores */
	if (tcsetattr(fd, TCSANOW, &term.raw)) {
		ret = -errno;
		atomic_store(&term.is_raw, false);
		return ret;
	}
	return 0;
}

void terminal_resume(void)
{
	if (!term.known || atomic_load(&term.is_raw) || !in_foreground(term.fd))
		return;
	atomic_store(&term.is_raw, true);
	tcsetattr(term.fd, TCSANOW, &term.raw);
}

bool terminal_size(int fd, uint16_t *ret_cols, uint16_t *ret_rows)
{
	struct winsize ws;

	if (!(fd_kinds(fd) & FD_TERMINAL) || ioctl(fd, TIOCGWINSZ, &ws) || !ws.ws_col || !ws.ws_row)
		return false;
	*ret_cols = ws.ws_col;
	*ret_rows = ws.ws_row;
	return true;
}

const struct right terminal_rights[] = {
	{ RIGHT_LOOP, SYS_tgkill, RIGHT_SELF, 0, SIGSEGV, "a fatal signal does what it always did, once the terminal is back" },
	{ RIGHT_LOOP, SYS_tgkill, RIGHT_SELF, 0, SIGBUS, "the same" },
	{ RIGHT_LOOP, SYS_tgkill, RIGHT_SELF, 0, SIGILL, "the same" },
	{ RIGHT_LOOP, SYS_tgkill, RIGHT_SELF, 0, SIGFPE, "the same" },
	{ RIGHT_LOOP, SYS_tgkill, RIGHT_SELF, 0, SIGABRT, "the same" },
	{ RIGHT_LOOP, SYS_tgkill, RIGHT_SELF, 0, SIGTRAP, "the same" },
	{ RIGHT_CPU, SYS_tgkill, RIGHT_SELF, 0, SIGTRAP, "its own fatal signal is the loop's thread's to end with" },
	{ RIGHT_CPU, SYS_tgkill, RIGHT_SELF, 0, SIGABRT, "the same, where that was SIGTRAP" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_TERMINAL, TCSETS, "raw mode, and back" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_TERMINAL, TIOCGPGRP, "is it ours again, after a stop?" },
	{ RIGHT_LOOP, SYS_ioctl, RIGHT_FD_REQUEST, FD_TERMINAL, TIOCGWINSZ, "its size" },
	{ 0 },
};
