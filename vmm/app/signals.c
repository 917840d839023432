// SPDX-License-Identifier: BSD-3-Clause
/*
 * All of it is blocked before the first thread and read from one signalfd. Blocking SIGPIPE is
 * as good as ignoring it (a write returns EPIPE) and costs no call of its own. A signal that
 * our parent had set to be ignored (nohup, a shell's '&') is reported by a signalfd all the
 * same, because blocked signals are not discarded; so its disposition is asked for at the start.
 */
#include "vmm/app/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/rights.h"

static void handled(sigset_t *set)
{
	static const int list[] = {
		SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGWINCH, SIGTSTP, SIGCONT,
	};

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_LEN(list); i++)
		sigaddset(set, list[i]);
}

void signals_block(void)
{
	sigset_t set;

	handled(&set);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static bool is_ignored(const struct signals *s, int signo)
{
	return s->ignored & BIT64(signo);
}

static uint64_t ask_ignored(void)
{
	static const int list[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP };
	struct sigaction sa;
	uint64_t ignored = 0;

	for (size_t i = 0; i < ARRAY_LEN(list); i++)
		if (!sigaction(list[i], NULL, &sa) && sa.sa_handler == SIG_IGN)
			ignored |= BIT64(list[i]);
	return ignored;
}

static void dispatch(struct signals *s, int signo)
{
	switch (signo) {
	case SIGUSR1:
		s->ops->dump(s->ctx);
		break;
	case SIGWINCH:
		s->ops->resize(s->ctx);
		break;
	case SIGTSTP:
		if (is_ignored(s, signo))
			break;
		s->ops->stop(s->ctx);
		syscall(SYS_tgkill, s->pid, s->pid, SIGSTOP);
		break; /* SIGCONT follows */
	case SIGCONT:
		s->ops->cont(s->ctx);
		break;
	case SIGTERM:
	case SIGINT:
		if (!is_ignored(s, signo))
			s->ops->press(s->ctx, signo);
		break;
	default:
		if (!is_ignored(s, signo))
			s->ops->end(s->ctx, signo);
	}
}

static void ready(void *ctx, uint32_t events)
{
	struct signals *s = ctx;
	struct signalfd_siginfo si[8];
	ssize_t n;

	(void)events;
	while ((n = fd_read(s->fd, si, sizeof(si), false)) > 0)
		for (size_t i = 0; i < (size_t)n / sizeof(si[0]); i++)
			dispatch(s, (int)si[i].ssi_signo);
}

int signals_open(struct signals *s, struct loop *l, const struct signals_ops *ops, void *ctx)
{
	sigset_t set;
	int ret;

	handled(&set);
	s->ops = ops;
	s->ctx = ctx;
	s->pid = getpid();
	s->ignored = ask_ignored();
	s->fd = fd_note(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), FD_SIGNAL);
	if (s->fd < 0)
		return -errno;
	ret = loop_poll_init(l, &s->poll, s->fd, ready, s);
	if (ret) {
		close_fd(&s->fd);
		return ret;
	}
	s->poll.drains = true;
	loop_poll_arm(&s->poll, POLLIN);
	return 0;
}

const struct right signals_rights[] = {
	{ RIGHT_LOOP, SYS_preadv2, RIGHT_FD, FD_SIGNAL, 0, "which signal came" },
	{ RIGHT_LOOP, SYS_tgkill, RIGHT_SELF, 0, SIGSTOP, "Ctrl-Z, after the terminal was put back" },
	{ 0 },
};
