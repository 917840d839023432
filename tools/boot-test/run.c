// SPDX-License-Identifier: BSD-3-Clause
/*
 * One boot: the monitor as a child whose standard output is the guest's console. It ends by
 * itself, or is ended: by SIGTERM, of which the first presses the guest's power button and the next ends the VM,
 * after two seconds by SIGKILL. A job that is cancelled ends it too, lest it keeps the tap.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/boot-test/boot_test.h"

#define GRACE_NS UINT64_C(2000000000)
#define REPEAT_NS UINT64_C(100000000)
#define STATUS_NO_KVM 126 /* microvm(1), EXIT STATUS */
#define STATUS_TIMEOUT 124

extern char **environ;

struct boot {
	const struct options *o;
	struct outcome *out;
	struct console *console;
	uint64_t start_ns;
	pid_t pid;
	int console_fd;
	bool settled;  /* the verdict stands */
	bool expected; /* what was expected was seen */
};

static volatile sig_atomic_t running; /* the child's pid, or 0 */

static void cancelled(int signo)
{
	if (running) {
		kill(running, SIGTERM);
		kill(running, SIGHUP); /* that one no guest is asked about */
	}
	signal(signo, SIG_DFL);
	raise(signo);
}

void run_cancellable(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction old;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
			signal(signals[i], cancelled);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void settle(struct boot *b, enum verdict v, const char *what, const char *detail)
{
	if (b->settled)
		return;
	b->settled = true;
	b->out->verdict = v;
	if (!b->expected)
		b->out->boot_ns = now_ns() - b->start_ns;
	snprintf(b->out->why, sizeof(b->out->why), "%s%s", what, detail);
}

static bool check_line(void *ctx, const char *text)
{
	struct boot *b = ctx;

	if (!regexec(&b->o->fail_re, text, 0, NULL, 0)) {
		settle(b, V_FAIL, "the console says: ", text);
		return false;
	}
	if (!b->o->expect || b->expected || regexec(&b->o->expect_re, text, 0, NULL, 0))
		return true;
	b->out->boot_ns = now_ns() - b->start_ns;
	b->expected = true;
	if (!b->o->until_exit)
		settle(b, V_PASS, "as expected", "");
	return !b->settled;
}

static int start(struct boot *b)
{
	posix_spawn_file_actions_t fa;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC))
		return errno;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, fds[1], 1);
	b->start_ns = now_ns();
	r = posix_spawnp(&b->pid, b->o->argv[0], &fa, NULL, b->o->argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	close(fds[1]);
	b->console_fd = fds[0];
	if (r)
		close(fds[0]);
	else
		running = b->pid;
	return r;
}

/* Reads what there is; false at the end of the console. */
static bool read_console(struct boot *b, int timeout_ms)
{
	struct pollfd p = { .fd = b->console_fd, .events = POLLIN };
	char buf[4096];
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return true;
	n = read(b->console_fd, buf, sizeof(buf));
	if (n <= 0)
		return n < 0 && errno == EINTR;
	if (b->o->verbose) {
		fwrite(buf, 1, (size_t)n, stdout);
		fflush(stdout);
	}
	console_feed(b->console, buf, (size_t)n, check_line, b);
	return true;
}

static void follow(struct boot *b)
{
	uint64_t limit = b->start_ns + b->o->timeout_ns;

	while (!b->settled) {
		uint64_t now = now_ns();

		if (now >= limit) {
			settle(b, V_TIMEOUT, "the time ran out", "");
			break;
		}
		if (!read_console(b, (int)((limit - now) / 1000000) + 1))
			break;
	}
}

/* Waits for the child until @limit_ns, or for ever (0), and keeps reading lest it blocks. */
static bool reap(struct boot *b, int *ret_status, uint64_t limit_ns)
{
	for (;;) {
		if (waitpid(b->pid, ret_status, WNOHANG) == b->pid) {
			running = 0;
			return true;
		}
		if (limit_ns && now_ns() >= limit_ns)
			return false;
		if (!read_console(b, 10))
			usleep(2000);
	}
}

/* False: it does not want to. */
static bool terminate(struct boot *b, int *ret_status)
{
	uint64_t limit = now_ns() + GRACE_NS;

	while (now_ns() < limit) {
		kill(b->pid, SIGTERM);
		if (reap(b, ret_status, now_ns() + REPEAT_NS))
			return true;
	}
	return false;
}

static void end(struct boot *b, int *ret_status)
{
	if (b->settled && b->out->verdict == V_TIMEOUT)
		hung_report(b->pid);
	if (b->settled ? terminate(b, ret_status) : reap(b, ret_status, b->start_ns + b->o->timeout_ns))
		return;
	settle(b, V_TIMEOUT, "the time ran out", "");
	kill(b->pid, SIGKILL);
	reap(b, ret_status, 0);
}

static void judge(struct boot *b, int status)
{
	char text[64];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "the monitor died by signal %d", WTERMSIG(status));
	else
		snprintf(text, sizeof(text), "the monitor ended with status %d", WEXITSTATUS(status));
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NO_KVM)
		settle(b, V_SKIP, "this machine has no usable KVM", "");
	else if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_TIMEOUT)
		settle(b, V_TIMEOUT, text, "");
	else if (!WIFEXITED(status) || WEXITSTATUS(status))
		settle(b, V_FAIL, text, "");
	else if (b->o->expect && !b->expected)
		settle(b, V_FAIL, "the guest ended without: ", b->o->expect);
	else
		settle(b, V_PASS, "as expected", "");
}

void run_once(const struct options *o, struct outcome *ret_o, struct console *ret_c)
{
	struct boot b = { .o = o, .out = ret_o, .console = ret_c };
	int status = 0, r;

	memset(ret_o, 0, sizeof(*ret_o));
	memset(ret_c, 0, sizeof(*ret_c));
	r = start(&b);
	if (r) {
		ret_o->verdict = V_FAIL;
		snprintf(ret_o->why, sizeof(ret_o->why), "%s: %s", o->argv[0], strerror(r));
		return;
	}
	follow(&b);
	end(&b, &status);
	while (read_console(&b, 0) && !b.settled)
		continue;
	judge(&b, status);
	close(b.console_fd);
}
