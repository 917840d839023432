// SPDX-License-Identifier: BSD-3-Clause
/*
 * attempts - the program, with each thread trying what it may not do
 *
 * Linked around seccomp_arm(), and sandbox_shut(): when a thread has armed its filter it makes, itself, every system call that its
 * filter denies by the table (numbers 0 to 1023 with arguments of zero, and a list of near misses: the right
 * call with a wrong descriptor, request or flag), and the loop's thread submits to its ring what the ring's
 * restrictions deny. SIGSYS is caught and counted. One line a thread goes to the log, then the guest runs as
 * ever. What is not denied as predicted is named. With ATTEMPT=cpu or loop in the environment that thread makes one denied
 * call; with ATTEMPT=none no call is tried, but what the process holds just before its filter is listed.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fake/bpf.h"
#include "vmm/app/sandbox.h"
#include "vmm/app/seccomp.h"
#include "vmm/base/log.h"

int __real_seccomp_arm(enum right_threads thread, int own_fd);
int __wrap_seccomp_arm(enum right_threads thread, int own_fd);
void __real_sandbox_shut(const struct sandbox_cfg *cfg);
void __wrap_sandbox_shut(const struct sandbox_cfg *cfg);
int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);

static struct io_uring *the_ring;
static _Thread_local volatile int trapped;

struct count {
	unsigned denied, wrong;
};

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
	the_ring = ring;
	return __real_io_uring_queue_init_params(entries, ring, p);
}

static void caught(int signo, siginfo_t *si, void *context)
{
	(void)signo, (void)context;
	trapped = si->si_syscall + 1;
}

static uint32_t predict(enum right_threads thread, int own_fd, int nr, const uint64_t args[6])
{
	static struct sock_filter copies[2][FILTER_MAX];
	struct sock_filter *own = copies[thread == RIGHT_LOOP];
	unsigned len;
	const struct sock_filter *prog = seccomp_program(thread, &len);

	(void)own_fd;
	memcpy(own, prog, len * sizeof(*prog));
	return bpf_ask(own, len, nr, args);
}

static void attempt(enum right_threads thread, int own_fd, int nr, const uint64_t a[6], struct count *c)
{
	uint32_t said = predict(thread, own_fd, nr, a);
	long r;

	if (said == SECCOMP_RET_ALLOW)
		return; /* not what this is about */
	trapped = 0;
	errno = 0;
	r = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (said == SECCOMP_RET_TRAP ? trapped == nr + 1 : r == -1 && errno == (int)(said & SECCOMP_RET_DATA)) {
		c->denied++;
		return;
	}
	c->wrong++;
	log_error("attempts: system call %d is not denied as the table says", nr);
}

static void near_misses(enum right_threads thread, int own_fd, struct count *c)
{
	const uint64_t misses[][7] = {
		{ SYS_write, 1000 }, { SYS_write, (uint64_t)own_fd }, { SYS_preadv2, 1000 }, { SYS_preadv2, 1 },
		{ SYS_ioctl, (uint64_t)own_fd, KVM_GET_ONE_REG }, { SYS_ioctl, (uint64_t)own_fd + 1, KVM_RUN },
		{ SYS_ioctl, 0, KVM_CREATE_VM }, { SYS_io_uring_enter, 1000 }, { SYS_io_uring_enter, 0 },
		{ SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1 },
		{ SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0 },
		{ SYS_tgkill, 1, 1, SIGKILL }, { SYS_tgkill, 1, 1, SIGSYS }, { SYS_futex, 0, 0 },
		{ SYS_close, 0 }, { SYS_close, 1000 }, { SYS_timerfd_settime, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(misses); i++)
		attempt(thread, own_fd, (int)misses[i][0], &misses[i][1], c);
}

/* Is a descriptor of this kind in use? */
static bool there_is(enum fd_kind kind)
{
	for (int fd = 0; fd < fd_end(); fd++)
		if (fd_kinds(fd) & (uint32_t)kind)
			return true;
	return false;
}

/* What the ring is to take, by what the VM has: written down a second time. */
static bool is_listed(unsigned op)
{
	switch (op) {
	case IORING_OP_POLL_ADD: case IORING_OP_ASYNC_CANCEL: case IORING_OP_READV: case IORING_OP_WRITEV:
		return true;
	case IORING_OP_FSYNC: case IORING_OP_FALLOCATE:
		return there_is(FD_DISK);
	case IORING_OP_ACCEPT: case IORING_OP_RECVMSG: case IORING_OP_SHUTDOWN: case IORING_OP_CLOSE:
		return there_is(FD_PEER);
	case IORING_OP_SENDMSG:
		return there_is(FD_BACKEND);
	default:
		return false;
	}
}

static void ring_attempt(unsigned op, int fd, unsigned flags, struct count *c)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(the_ring);
	struct io_uring_cqe *cqe;

	if (!sqe)
		return;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)op;
	sqe->fd = fd;
	sqe->flags = (uint8_t)flags;
	io_uring_submit_and_wait(the_ring, 1);
	if (io_uring_peek_cqe(the_ring, &cqe)) {
		c->wrong++;
		log_error("attempts: io_uring has no answer to opcode %u, flags %#x", op, flags);
		return;
	}
	/* some flags are refused for what they are, before the ring's restrictions are asked */
	if (cqe->res == -EACCES || cqe->res == -EINVAL || (is_listed(op) && cqe->res == -EOPNOTSUPP)) {
		c->denied++;
	} else {
		c->wrong++;
		log_error("attempts: io_uring took opcode %u, flags %#x: %d", op, flags, cqe->res);
	}
	io_uring_cqe_seen(the_ring, cqe);
}

/*
 * Every opcode that is not on the ring's list, of a registered file and of any; those on it with what may not be asked of them: a file
 * that is not registered, or a worker, where nothing comes late, and what changes the order or the place of an operation.
 */
static void ring_attempts(struct count *c)
{
	static const unsigned flags[] = { IOSQE_ASYNC, IOSQE_BUFFER_SELECT, IOSQE_IO_DRAIN, IOSQE_CQE_SKIP_SUCCESS };

	for (unsigned op = 0; op <= IORING_OP_LAST + 3; op++) {
		if (!is_listed(op)) {
			ring_attempt(op, 0, IOSQE_FIXED_FILE, c);
			ring_attempt(op, -100, 0, c); /* AT_FDCWD */
			continue;
		}
		if (!there_is(FD_PEER))
			ring_attempt(op, 2, 0, c);
		/* what comes late may be closed by a worker; of this one nothing would come back */
		for (unsigned i = there_is(FD_PEER) ? 1 : 0; i < ARRAY_LEN(flags); i++)
			ring_attempt(op, 0, IOSQE_FIXED_FILE | flags[i], c);
	}
}

/* "tap", or all that it is */
static void name_of(uint32_t kinds, char *name, size_t size)
{
	size_t len = 0;

	snprintf(name, size, "nobody knows what");
	for (unsigned bit = 0; bit < 32; bit++)
		if (kinds & BIT32(bit) && len < size)
			len += (size_t)snprintf(name + len, size - len, "%s%s", len ? " and " : "",
						fd_kind_name((enum fd_kind)BIT32(bit)));
}

static unsigned open_ones(int from, uint32_t kinds)
{
	unsigned n = 0;

	for (int fd = from; fd < FDBOOK_MAX; fd++)
		n += fcntl(fd, F_GETFD) >= 0 && fd_kinds(fd) == kinds;
	return n;
}

/* What is open, each kind where its first one stands, and whether others may look into us. */
static void tell_lockdown(void)
{
	uint32_t told[64];
	unsigned nr_told = 0;
	char name[100];

	for (int fd = 0; fd < FDBOOK_MAX && nr_told < ARRAY_LEN(told); fd++) {
		uint32_t kinds = fd_kinds(fd);
		bool again = fcntl(fd, F_GETFD) < 0;

		for (unsigned i = 0; i < nr_told; i++)
			again |= told[i] == kinds;
		if (again)
			continue;
		told[nr_told++] = kinds;
		name_of(kinds, name, sizeof(name));
		log_always("lockdown: %u open: %s", open_ones(fd, kinds), name);
	}
	log_always("lockdown: dumpable %d", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
}

/* With all of the sandbox's stages behind it, and before no descriptor can be had any more */
void __wrap_sandbox_shut(const struct sandbox_cfg *cfg)
{
	const char *who = getenv("ATTEMPT");

	if (who && !strcmp(who, "none"))
		log_always("lockdown: Landlock ABI %ld: the root directory: %s",
			   syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION),
			   open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 ? strerror(errno) : "can be opened");
	__real_sandbox_shut(cfg);
}

/* ATTEMPT=cpu or loop: that thread makes one call, and meets what the program has for that. */
static int one_attempt(const char *who, enum right_threads thread, int own_fd)
{
	int r;

	if (thread == RIGHT_LOOP && !strcmp(who, "none"))
		tell_lockdown();
	r = __real_seccomp_arm(thread, own_fd);
	if (!r && !strcmp(who, thread == RIGHT_LOOP ? "loop" : "cpu"))
		syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
	return r;
}

int __wrap_seccomp_arm(enum right_threads thread, int own_fd)
{
	const char *who = getenv("ATTEMPT");
	struct sigaction sa = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };
	const uint64_t none[6] = { 0 };
	struct count c = { 0 };
	pid_t tid = (pid_t)syscall(SYS_gettid);
	int r;

	if (who)
		return one_attempt(who, thread, own_fd);
	/* the ring is the loop's thread's alone: before its filter it can wait on it, which the filter allows as well */
	if (thread == RIGHT_LOOP)
		ring_attempts(&c);
	if (thread == RIGHT_LOOP)
		log_always("attempts: ring: %u denied, %u not", c.denied, c.wrong);
	c = (struct count){ 0 };
	sigaction(SIGSYS, &sa, NULL);
	r = __real_seccomp_arm(thread, own_fd);
	if (r)
		return r;
	for (int nr = 0; nr < 1024; nr++)
		attempt(thread, own_fd, nr, none, &c);
	near_misses(thread, own_fd, &c);
	log_always("attempts: %s %d: %u denied, %u not", thread == RIGHT_LOOP ? "loop" : "cpu", (int)tid, c.denied, c.wrong);
	return 0;
}
