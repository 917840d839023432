// SPDX-License-Identifier: BSD-3-Clause
/*
 * passt is started as early as anything with a path is opened, and asked for an answer when the VM is built: what it
 * has to do at its start, it does meanwhile. It stays in the foreground, for a process that detaches itself would have no
 * parent that can tell how it ended.
 *
 * What it has to say goes to its system's log anyhow, and to a file of ours without a name, of a size that does not grow:
 * where it fails its last line is ours, else it is nobody's, for it mentions what is no trouble (a host without IPv6).
 */
#include "vmm/machine/passt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/log.h"
#include "vmm/base/text.h"

#define USUAL_PATH "/usr/local/bin:/usr/bin:/bin"
#define ITS_FD 3            /* the number of its end */
#define ANSWER_MS 3000      /* more than a start takes; who has no IPv4 waits as long */
#define END_MS 1000         /* for an end that is under way */
#define PORT_MS 500         /* for a passt that was there before, to end with its VM */
#define STEP_MS 10
#define SPEC_MAX (NET_MAX_PUBLISH * 12)
#define SAID_MAX 4096       /* bytes of what it says that are kept */

static bool is_program(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

bool passt_find(char *ret_path, size_t cap)
{
	const char *p = getenv("PATH");

	for (p = p ? p : USUAL_PATH; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL) {
		int len = (int)strcspn(p, ":");
		int n = snprintf(ret_path, cap, "%.*s/passt", len ? len : 1, len ? p : ".");

		if (n > 0 && (size_t)n < cap && is_program(ret_path))
			return true;
	}
	return false;
}

/* "8080:80,2222:22", or "none". */
static void list_ports(const struct net_options *o, char *to, size_t cap)
{
	size_t at = 0;

	snprintf(to, cap, "none");
	for (unsigned i = 0; i < o->nr_publish; i++)
		at += (size_t)snprintf(to + at, cap - at, "%s%u:%u", i ? "," : "", o->publish[i].host, o->publish[i].guest);
}

static void wait_a_step(void)
{
	poll(NULL, 0, STEP_MS);
}

/* passt goes on with what it could have of a port, IPv6 alone, and says nothing; so whoever it would be in the way of is told here. */
static int check_port(const char *id, unsigned port, struct err *err)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1, r = -1;

	if (fd < 0 && errno == EAFNOSUPPORT)
		return 0;
	if (fd < 0)
		return err_set(err, -errno, "%s: socket: %s", id, strerror(errno));
	/* as passt does: connections of a listener before it, that are closed, are not in the way */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	for (int ms = 0; ms < PORT_MS && (r = bind(fd, (struct sockaddr *)&any, sizeof(any))) && errno == EADDRINUSE; ms += STEP_MS)
		wait_a_step();
	if (!r)
		return 0;
	return err_set(err, -errno, "%s: publish=: the host's port %u: %s%s", id, port, strerror(errno),
		       errno == EACCES ? " (low ports are root's; see sysctl net.ipv4.ip_unprivileged_port_start)" :
		       errno == EADDRINUSE ? " (another program has it; choose another one)" : "");
}

/* Nothing of ours is left but its end of the socket, and the file for what it says. Signals are as for any program. */
static _Noreturn void become(const char *path, const char *const argv[], int fd, int said)
{
	int null = open("/dev/null", O_RDWR);
	static const int defaults[] = { SIGCHLD, SIGPIPE, SIGHUP, SIGINT, SIGTERM };
	sigset_t none;

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		signal(defaults[i], SIG_DFL); /* what is ignored stays so in a program that is executed */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid(); /* the terminal's signals are for us */
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0); /* where closing the socket should not be enough */
	if (dup2(said, 2) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		_exit(127);
	/* a descriptor of that number already would keep its flag */
	if (fd == ITS_FD ? fcntl(fd, F_SETFD, 0) : dup2(fd, ITS_FD) < 0)
		_exit(127);
	syscall(SYS_close_range, ITS_FD + 1, ~0u, 0);
	execv(path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

static int spawn(const char *path, const struct net_options *o, int fd, int said)
{
	char ports[SPEC_MAX], number[12], mtu[12];
	const char *argv[20];
	unsigned n = 0;
	int pid;

	list_ports(o, ports, sizeof(ports));
	snprintf(number, sizeof(number), "%d", ITS_FD);
	argv[n++] = "passt";
	argv[n++] = "--foreground";
	argv[n++] = "--quiet";
	argv[n++] = "--stderr";
	argv[n++] = "--fd";
	argv[n++] = number;
	argv[n++] = "--tcp-ports";
	argv[n++] = ports;
	/* else each TCP port's number is one of UDP as well */
	argv[n++] = "--udp-ports";
	argv[n++] = "none";
	if (!o->loopback)
		argv[n++] = "--no-map-gw";
	if (o->mtu) {
		snprintf(mtu, sizeof(mtu), "%u", o->mtu);
		argv[n++] = "--mtu";
		argv[n++] = mtu;
	}
	argv[n] = NULL;
	pid = fork();
	if (!pid)
		become(path, argv, fd, said);
	return pid < 0 ? -errno : pid;
}

/* A file of SAID_MAX bytes for ever. */
static int make_said(void)
{
	_cleanup_close_ int fd = memfd_create("passt", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, SAID_MAX) || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		return -errno;
	return fd_note(steal_fd(&fd), FD_PEER);
}

int passt_start(const char *id, const struct net_options *o, struct passt *ret_p, struct err *err)
{
	_cleanup_close_ int ours = -1, its = -1, said = -1;
	char path[PATH_MAX];
	int s[2], pid;

	for (unsigned i = 0; i < o->nr_publish; i++)
		if (check_port(id, o->publish[i].host, err))
			return -EADDRINUSE;
	if (!passt_find(path, sizeof(path)))
		return err_set(err, -ENOENT, "%s: no program passt in PATH, which --net user needs (as root: apt install passt; or "
			       "--net with a tap)", id);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s))
		return err_set(err, -errno, "%s: socketpair: %s", id, strerror(errno));
	ours = fd_note(s[0], FD_PEER);
	fd_takes_none(ours);
	its = s[1];
	said = make_said();
	if (said < 0)
		return err_set(err, said, "%s: memfd_create: %s", id, strerror(-said));
	pid = spawn(path, o, its, said);
	if (pid < 0)
		return err_set(err, pid, "%s: starting '%s': %s", id, path, strerror(-pid));
	*ret_p = (struct passt){ .pid = pid, .fd = steal_fd(&ours), .said = steal_fd(&said) };
	return 0;
}

/* Who has 192.0.2.1? Nobody: it is for documentation (RFC 5737). passt answers for all addresses but the guest's. */
static bool ask(int fd, const uint8_t mac[6])
{
	static const uint8_t frame[4 + 42] = {
		0, 0, 0, 42,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 8, 6,
		0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1,
	};
	uint8_t buf[sizeof(frame)];

	memcpy(buf, frame, sizeof(buf));
	memcpy(buf + 4 + 6, mac, 6);
	memcpy(buf + 4 + 14 + 8, mac, 6);
	return send(fd, buf, sizeof(buf), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(buf);
}

/* What it said last, without its newline; of its system's log, which it may not find, it says more than is of use. */
static void last_line(int fd, char *to, size_t cap)
{
	char text[SAID_MAX + 1];
	ssize_t n = pread(fd, text, SAID_MAX, 0);
	char *save, *line;

	to[0] = '\0';
	text[n > 0 ? n : 0] = '\0';
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strstr(line, "to syslog"))
			snprintf(to, cap, ": %s", line);
	text_clean(to);
}

/* False: it lives, or nobody tells us, for SIGCHLD is ignored. */
static bool wait_for_end(int pid, int *ret_status)
{
	int got = 0;

	for (int ms = 0; ms < END_MS && !(got = waitpid(pid, ret_status, WNOHANG)); ms += STEP_MS)
		wait_a_step();
	return got == pid;
}

static int ended(const char *id, struct passt *p, struct err *err)
{
	char said[120];
	int status = 0;
	bool is_over;

	close_fd(&p->fd);
	is_over = wait_for_end(p->pid, &status);
	last_line(p->said, said, sizeof(said));
	passt_close(p);
	if (!is_over)
		return err_set(err, -ECHILD, "%s: passt closed its socket%s", id, said);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(err, -ECHILD, "%s: passt could not be executed", id);
	if (WIFEXITED(status))
		return err_set(err, -ECHILD, "%s: passt ended with status %d%s", id, WEXITSTATUS(status), said);
	return err_set(err, -ECHILD, "%s: passt was ended by signal %d%s", id, WTERMSIG(status), said);
}

/* The answer stays where it is: the card drops it, as it does what comes before there is a driver. */
int passt_greet(const char *id, const struct net_options *o, struct passt *p, struct err *err)
{
	struct pollfd pfd = { .fd = p->fd, .events = POLLIN };
	uint8_t byte;
	int r;

	if (!ask(p->fd, o->mac))
		return ended(id, p, err);
	do {
		r = poll(&pfd, 1, ANSWER_MS);
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		log_info("%s: passt has not answered yet", id);
	if (r > 0 && recv(p->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
		return ended(id, p, err);
	close_fd(&p->said);
	return 0;
}

void passt_close(struct passt *p)
{
	close_fd(&p->fd);
	close_fd(&p->said);
}
