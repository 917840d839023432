// SPDX-License-Identifier: BSD-3-Clause
/*
 * The child keeps few descriptors, under numbers of its own choice: SOCKET, LISTENER, and a folder for each path. What it cannot
 * give up for want of rights it says, and goes on: what is left is a process that does nothing but to answer.
 *
 * It ends by the socket's end, or by SIGTERM, which the kernel sends when the monitor ends: the ring of a process that has ended
 * holds its files for a while longer, the other end of our socket among them. The listener is in that ring too, and would still
 * take connections that nobody serves, so it is shut down before its name goes.
 */
#include "vmm/machine/broker_child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"
#include "vmm/core/broker.h"

enum { SOCKET, LISTENER, FOLDERS }; /* the child's descriptors */

#define NR_FDS(cfg) (FOLDERS + (cfg)->nr_paths)

#ifdef __aarch64__
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#define OUR_ARCH AUDIT_ARCH_X86_64 /* the unit tests' */
#endif

static const struct broker_child_cfg *the_cfg; /* for the signal */

/* ---- what it does --------------------------------------------------------------------------- */

static int name_of(const struct broker_path *p, uint32_t port, char *to, size_t cap)
{
	int n = p->with_port ? snprintf(to, cap, "%s_%u", p->name, port) : snprintf(to, cap, "%s", p->name);

	return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

/* A backlog that is full is no reason to wait. */
static int connect_to(const struct broker_child_cfg *cfg, const struct broker_request *q)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, r;

	if (q->path >= cfg->nr_paths)
		return -EINVAL;
	r = name_of(&cfg->paths[q->path], q->port, a.sun_path, sizeof(a.sun_path));
	if (r)
		return r;
	if (cfg->nr_paths > 1 && fchdir(FOLDERS + (int)q->path))
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!cfg->paths[q->path].takes_fds)
		fd_takes_none(fd);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) || fcntl(fd, F_SETFL, O_RDWR)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* @fd negative: an errno. 0, or what sendmsg(2) says. */
static int reply_with(const struct broker_request *q, int fd)
{
	struct broker_reply reply = { .number = q->number, .error = fd < 0 ? fd : 0 };
	struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
	}
	do {
		n = sendmsg(SOCKET, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n == sizeof(reply) ? 0 : n < 0 ? -errno : -EIO;
}

/* Descriptors on their way are counted for all programs of a user: where there are too many, it is one connection that fails. */
static bool answer(const struct broker_child_cfg *cfg, const struct broker_request *q)
{
	int fd = connect_to(cfg, q), r = reply_with(q, fd);

	if (fd >= 0)
		close(fd);
	if (fd >= 0 && (r == -ETOOMANYREFS || r == -ENOMEM || r == -ENOBUFS))
		r = reply_with(q, r);
	return !r;
}

/* Only a name that still is the listener's. */
static void take_name_away(const struct broker_child_cfg *cfg)
{
	struct stat st;

	if (cfg->listen_fd < 0)
		return;
	shutdown(LISTENER, SHUT_RDWR);
	if ((cfg->nr_paths == 1 || !fchdir(FOLDERS)) && !fstatat(AT_FDCWD, cfg->paths[0].name, &st, AT_SYMLINK_NOFOLLOW) &&
	    st.st_dev == cfg->dev && st.st_ino == cfg->ino)
		unlinkat(AT_FDCWD, cfg->paths[0].name, 0);
}

static void terminated(int signo)
{
	(void)signo;
	take_name_away(the_cfg);
	_exit(0);
}

static void serve(const struct broker_child_cfg *cfg)
{
	struct broker_request q;
	ssize_t n;

	for (;;) {
		n = recv(SOCKET, &q, sizeof(q), MSG_TRUNC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(q) || cfg->only_name || !answer(cfg, &q))
			break;
	}
}

/* ---- what it gives up ----------------------------------------------------------------------- */

#define ANY (-1)

enum missing { NO_NAMESPACES, NO_ROOT, NO_CAPABILITIES_GONE, NO_LIMITS };

const struct broker_right broker_rights[] = {
	{ SYS_recvfrom, 0, SOCKET, "a question" },
	{ SYS_sendmsg, 0, SOCKET, "its answer, with a descriptor" },
	{ SYS_socket, 0, AF_UNIX, "one end of a connection" },
	{ SYS_setsockopt, 2, SO_PASSRIGHTS, "whose other end hands over no descriptors" },
	{ SYS_connect, ANY, 0, "to a name in its folder" },
	{ SYS_close, ANY, 0, "the end that was handed over" },
	{ SYS_fcntl, 1, F_SETFL, "the end waits, as the asker wants it" },
	{ SYS_fchdir, ANY, 0, "into the folder, where there are several" },
	{ SYS_shutdown, 0, LISTENER, "at the end: no more clients" },
	{ SYS_newfstatat, ANY, 0, "at the end: is the name still ours?" },
	{ SYS_unlinkat, ANY, 0, "at the end: the name goes" },
	{ SYS_rt_sigreturn, ANY, 0, "the end of a signal handler" },
	{ SYS_restart_syscall, ANY, 0, "a wait goes on after SIGSTOP and SIGCONT" },
	{ SYS_exit_group, ANY, 0, "the end" },
	{ .why = "" },
};

#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(at))
#define IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), yes, no)

static unsigned add(struct sock_filter *to, const struct sock_filter *from, unsigned n)
{
	memcpy(to, from, n * sizeof(*from));
	return n;
}

/* An argument is held against the lower half of it, which is all that an int is. The number is loaded before each row. */
unsigned broker_child_filter(struct sock_filter prog[BROKER_FILTER_MAX])
{
	const struct sock_filter head[] = { LOAD(offsetof(struct seccomp_data, arch)), IF(OUR_ARCH, 1, 0), DENY, LOAD(offsetof(struct seccomp_data, nr)) };
	const struct sock_filter tail = DENY;
	unsigned n = add(prog, head, ARRAY_LEN(head));

	static_assert(ARRAY_LEN(head) + 5 * (ARRAY_LEN(broker_rights) - 1) + 1 <= BROKER_FILTER_MAX, "room for all");
	for (const struct broker_right *r = broker_rights; r->why[0]; r++) {
		const struct sock_filter always[] = { IF(r->call, 0, 1), ALLOW };
		const struct sock_filter with[] = {
			IF(r->call, 0, 4), LOAD(offsetof(struct seccomp_data, args) + sizeof(uint64_t) * (unsigned)(r->arg < 0 ? 0 : r->arg)),
			IF(r->value, 0, 1), ALLOW, DENY,
		};

		n += r->arg == ANY ? add(prog + n, always, ARRAY_LEN(always)) : add(prog + n, with, ARRAY_LEN(with));
	}
	return n + add(prog + n, &tail, 1);
}

static bool arm(void)
{
	struct sock_filter prog[BROKER_FILTER_MAX];
	const struct sock_fprog p = { .len = (unsigned short)broker_child_filter(prog), .filter = prog };

	return !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
}

/* The kernel says EINVAL behind the last one that it knows. False: some can still be had. */
static bool drop_bounding_set(void)
{
	int cap = 0;

	while (!prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
		cap++;
	return errno == EINVAL;
}

/* False: it keeps some. */
static bool drop_capabilities(bool root)
{
	bool bounded = drop_bounding_set();
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	/* root's own way into folders and sockets of others, which the monitor had when it made its name there */
	data[0].effective = data[0].permitted = root ? BIT32(CAP_DAC_OVERRIDE) : 0;
	if (!syscall(SYS_capset, &head, data))
		return bounded;
	data[0].effective = data[0].permitted = 0;
	return root && !syscall(SYS_capset, &head, data) && bounded;
}

static bool limit(int what, rlim_t value)
{
	const struct rlimit l = { .rlim_cur = value, .rlim_max = value };

	return !prlimit(0, what, &l, NULL);
}

/* Names of sockets that are no files are the network's; a folder is a root of one's own in a user namespace as well. */
static bool leave_namespaces(bool root)
{
	const int spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

	return !unshare(root ? spaces : spaces | CLONE_NEWUSER) || (root && !unshare(spaces | CLONE_NEWUSER));
}

/* What it could not have, as bits of a byte, is told to the process that made it. False: it would not be safe to go on. */
static bool narrow(const struct broker_child_cfg *cfg)
{
	bool root = !geteuid();
	uint8_t missing = 0;

	if (fchdir(FOLDERS))
		return false;
	if (!leave_namespaces(root))
		missing |= (uint8_t)BIT32(NO_NAMESPACES);
	if (cfg->nr_paths == 1 && (chroot(".") || chdir("/")))
		missing |= (uint8_t)BIT32(NO_ROOT);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return false;
	if (!drop_capabilities(root))
		missing |= (uint8_t)BIT32(NO_CAPABILITIES_GONE);
	if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NPROC, 0) || !limit(RLIMIT_FSIZE, 0) || !limit(RLIMIT_NOFILE, FDS_ON_THEIR_WAY))
		missing |= (uint8_t)BIT32(NO_LIMITS);
	/* last, since a change of rights takes it back */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0))
		return false;
	return send(SOCKET, &missing, sizeof(missing), MSG_NOSIGNAL) == sizeof(missing) && arm();
}

static void take_signals(void)
{
	sigset_t term;

	setsid(); /* the terminal's signals are the monitor's */
	signal(SIGTERM, terminated);
	sigfillset(&term);
	sigdelset(&term, SIGTERM);
	sigprocmask(SIG_SETMASK, &term, NULL);
}

/* The descriptors get their numbers by way of ones that are in nobody's way. */
static bool take_fds(const struct broker_child_cfg *cfg, int fd)
{
	int high[FOLDERS + BROKER_MAX_PATHS];

	for (unsigned i = 0; i < NR_FDS(cfg); i++) {
		int from = i == SOCKET ? fd : i == LISTENER ? cfg->listen_fd : cfg->paths[i - FOLDERS].dir_fd;

		high[i] = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, (int)NR_FDS(cfg));
		if (from >= 0 && high[i] < 0)
			return false;
	}
	for (unsigned i = 0; i < NR_FDS(cfg); i++) {
		if (high[i] < 0)
			close((int)i);
		else if (dup2(high[i], (int)i) < 0)
			return false;
	}
	return !syscall(SYS_close_range, NR_FDS(cfg), ~0u, 0);
}

static _Noreturn void child(const struct broker_child_cfg *cfg, int fd)
{
	int why = 0;

	the_cfg = cfg;
	prctl(PR_SET_NAME, "microvm-broker", 0, 0, 0);
	if (!take_fds(cfg, fd))
		_exit(errno);
	take_signals();
	if (narrow(cfg))
		serve(cfg);
	else
		why = errno;
	take_name_away(cfg);
	_exit(why);
}

static const char *task_of(const struct broker_child_cfg *cfg)
{
	return cfg->only_name ? "keeps its name" : "connects for it";
}

/* Of a child that ends: the errno that was its status. */
static const char *why_it_ended(int pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return "it is not known why";
	return WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "by a signal";
}

/* Waits for what narrow() tells, which a process that ends instead does not. */
static int hear(const struct broker_child_cfg *cfg, int pid, int fd, struct err *err)
{
	uint8_t missing;
	ssize_t n;

	do
		n = recv(fd, &missing, sizeof(missing), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(err, -errno, "%s: the process that %s: recv: %s", cfg->id, task_of(cfg), strerror(errno));
	if (n != sizeof(missing))
		return err_set(err, -ECHILD, "%s: the process that %s could not give up its rights, and has ended: %s", cfg->id, task_of(cfg),
			       why_it_ended(pid));
	if (missing)
		log_warn("%s: the process that %s could not have:%s%s%s%s (it goes on without)", cfg->id, task_of(cfg),
			 missing & BIT32(NO_NAMESPACES) ? " [namespaces]" : "", missing & BIT32(NO_ROOT) ? " [a root of its own]" : "",
			 missing & BIT32(NO_CAPABILITIES_GONE) ? " [no capabilities]" : "", missing & BIT32(NO_LIMITS) ? " [limits]" : "");
	return 0;
}

int broker_child_start(const struct broker_child_cfg *cfg, int *ret_fd, struct err *err)
{
	_cleanup_close_ int ours = -1, its = -1;
	char name[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int s[2], pid, r;

	for (unsigned i = 0; i < cfg->nr_paths; i++)
		if (name_of(&cfg->paths[i], UINT32_MAX, name, sizeof(name)))
			return err_set(err, -ENAMETOOLONG, "%s: '%s': the name is too long for a socket", cfg->id, cfg->paths[i].name);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s))
		return err_set(err, -errno, "%s: socketpair: %s", cfg->id, strerror(errno));
	ours = fd_note(s[0], FD_PEER);
	its = s[1];
	pid = fork();
	if (pid < 0)
		return err_set(err, -errno, "%s: a process that %s: fork: %s", cfg->id, task_of(cfg), strerror(errno));
	if (!pid)
		child(cfg, its);
	close_fd(&its);
	r = hear(cfg, pid, ours, err);
	if (r)
		return r;
	*ret_fd = steal_fd(&ours);
	return 0;
}
