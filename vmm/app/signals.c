// SPDX-License-Identifier: BSD-3-Clause
/*
 * All of it is blocked before the first thread and read from one signalfd. Blocking SIGPIPE is
 * as good as ignoring it (a write returns EPIPE) and costs no call of its own. A signal that
 * our parent had set to be ignored (nohup, a shell's '&') is reported by a signalfd all the
 * same, because blocked signals are not discarded; so its disposition is asked for when one
 * arrives.
 */
#include "vmm/app/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

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

static bool is_ignored(int signo)
{
	struct sigaction sa;

	return !sigaction(signo, NULL, &sa) && sa.sa_handler == SIG_IGN;
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
		if (is_ignored(signo))
			break;
		s->ops->stop(s->ctx);
		kill(getpid(), SIGSTOP);
		break; /* SIGCONT follows */
	case SIGCONT:
		s->ops->cont(s->ctx);
		break;
	default:
		if (!is_ignored(signo))
			s->ops->end(s->ctx, signo);
	}
}

static void ready(void *ctx, uint32_t events)
{
	struct signals *s = ctx;
	struct signalfd_siginfo si[8];
	ssize_t n;

	(void)events;
	while ((n = read(s->fd, si, sizeof(si))) > 0)
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
	s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fd < 0)
		return -errno;
	ret = loop_poll_init(l, &s->poll, s->fd, ready, s);
	if (ret) {
		close(s->fd);
		s->fd = -1;
		return ret;
	}
	s->poll.drains = true;
	loop_poll_arm(&s->poll, POLLIN);
	return 0;
}
