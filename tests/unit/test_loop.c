// SPDX-License-Identifier: BSD-3-Clause
/* On the real ring of the kernel that runs the test. */
#include "vmm/core/loop.h"
#include "vmm/core/uring_probe.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/base/clock.h"

#define MS UINT64_C(1000000)

static struct loop *loop;
static struct loop_timer limit;

static void stop(void *ctx)
{
	(void)ctx;
	loop_stop(loop);
}

static void setup(void)
{
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(loop_timer_init(loop, &limit, stop, NULL), 0);
}

static void teardown(void)
{
	loop_timer_fini(&limit);
	loop_free(loop);
	loop = NULL;
}

/* Seals, and runs until somebody stops it, or for @ms. */
static void run_for(uint64_t ms)
{
	loop_timer_set(&limit, ms * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(loop_run(loop), 0);
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * NS_PER_SEC +
	       ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000;
}

static void nonblock(int fd)
{
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

static int new_eventfd(unsigned count)
{
	int fd = eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

static uint64_t take_fd(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* A source that counts, and does what the test wants from within. */
struct src {
	struct loop_poll p;
	int fd;
	unsigned runs, stop_at;
	uint32_t events;
	bool reads; /* a byte, or the eventfd's count, each time */
	void (*then)(struct src *s);
	struct src *other;
};

/* The loop stops when so many sources have run at least once. */
static unsigned started, goal;

static void src_ready(void *ctx, uint32_t events)
{
	struct src *s = ctx;
	char buf[8];

	s->runs++;
	s->events |= events;
	if (s->reads)
		(void)!read(s->fd, buf, s->p.drains ? 8 : 1);
	if (s->then)
		s->then(s);
	if (s->stop_at && s->runs >= s->stop_at)
		loop_stop(loop);
	if (s->runs == 1 && ++started == goal)
		loop_stop(loop);
}

static void src_init(struct src *s, int fd)
{
	s->fd = fd;
	ck_assert_int_eq(loop_poll_init(loop, &s->p, fd, src_ready, s), 0);
}

/* ---- polls ---- */

START_TEST(test_loop_poll_level_runs_until_read)
{
	struct src s = { .reads = true, .stop_at = 4 };
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	nonblock(fds[0]);
	ck_assert_int_eq(write(fds[1], "abcd", 4), 4);
	src_init(&s, fds[0]);
	loop_poll_arm(&s.p, POLLIN);
	run_for(2000);
	ck_assert_uint_eq(s.runs, 4);
	ck_assert_uint_eq(s.events, POLLIN);
	ck_assert_int_eq(read(fds[0], &fds, 1), -1);
}
END_TEST

START_TEST(test_loop_poll_not_armed_never_runs)
{
	struct src s = { 0 };

	src_init(&s, new_eventfd(1));
	run_for(30);
	ck_assert_uint_eq(s.runs, 0);
}
END_TEST

static void disarm_self(struct src *s)
{
	loop_poll_disarm(&s->p);
}

START_TEST(test_loop_poll_disarm_in_callback_is_final)
{
	struct src s = { .then = disarm_self };

	src_init(&s, new_eventfd(1));
	s.p.drains = _i;
	loop_poll_arm(&s.p, POLLIN);
	run_for(50);
	ck_assert_uint_eq(s.runs, 1);
}
END_TEST

static void disarm_other(struct src *s)
{
	loop_poll_disarm(&s->other->p);
	s->other->then = NULL;
}

/* Both are ready in the same round: whoever comes first silences the other. */
START_TEST(test_loop_poll_disarm_of_ready_other_is_final)
{
	struct src a = { .then = disarm_other, .stop_at = 20 }, b = { .then = disarm_other, .stop_at = 20 };

	a.other = &b;
	b.other = &a;
	src_init(&a, new_eventfd(1));
	src_init(&b, new_eventfd(1));
	a.p.drains = b.p.drains = _i;
	loop_poll_arm(&a.p, POLLIN);
	loop_poll_arm(&b.p, POLLIN);
	run_for(50);
	ck_assert_uint_eq(a.runs ? b.runs : a.runs, 0);
	ck_assert_uint_ge(a.runs + b.runs, 1);
}
END_TEST

static void free_self(struct src *s)
{
	loop_poll_disarm(&s->p);
	close(s->fd);
	free(s);
	loop_timer_set(&limit, 20 * MS);
}

static void free_ready(void *ctx, uint32_t events)
{
	(void)events;
	free_self(ctx);
}

START_TEST(test_loop_poll_owner_frees_itself)
{
	struct src *s = calloc(1, sizeof(*s));

	s->fd = new_eventfd(1);
	ck_assert_int_eq(loop_poll_init(loop, &s->p, s->fd, free_ready, s), 0);
	s->p.drains = _i;
	loop_poll_arm(&s->p, POLLIN);
	run_for(1000);
}
END_TEST

static void ask_for_output(struct src *s)
{
	if (s->events & POLLOUT)
		loop_stop(loop);
	loop_poll_arm(&s->p, POLLOUT);
}

START_TEST(test_loop_poll_events_can_change)
{
	struct src s = { .then = ask_for_output };
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	src_init(&s, fds[0]);
	loop_poll_arm(&s.p, POLLIN);
	run_for(1000);
	ck_assert_uint_eq(s.runs, 2);
	ck_assert_uint_eq(s.events, POLLIN | POLLOUT);
}
END_TEST

static void signal_again(struct src *s)
{
	if (s->runs < 100)
		signal_fd(s->fd);
}

START_TEST(test_loop_poll_drains_sees_each_signal)
{
	struct src s = { .reads = true, .then = signal_again, .stop_at = 100 };

	src_init(&s, new_eventfd(1));
	s.p.drains = true;
	loop_poll_arm(&s.p, POLLIN);
	run_for(2000);
	ck_assert_uint_eq(s.runs, 100);
}
END_TEST

static void rearm_other(struct src *s)
{
	loop_poll_disarm(&s->other->p);
	loop_poll_arm(&s->other->p, POLLIN);
	s->then = NULL;
}

/* The report of a signal that was taken in but not told must not be lost with the disarm. */
START_TEST(test_loop_poll_rearmed_before_dispatch_still_told)
{
	struct src a = { .reads = true, .then = rearm_other };
	struct src b = { .reads = true, .stop_at = 1 };

	a.other = &b;
	src_init(&a, new_eventfd(1));
	src_init(&b, new_eventfd(1));
	a.p.drains = true;
	b.p.drains = _i;
	loop_poll_arm(&a.p, POLLIN);
	loop_poll_arm(&b.p, POLLIN);
	run_for(1000);
	ck_assert_uint_eq(a.runs, 1);
	ck_assert_uint_eq(b.runs, 1);
}
END_TEST

START_TEST(test_loop_poll_hangup_told_once_without_spin)
{
	struct src s = { 0 };
	uint64_t cpu;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	close(fds[1]);
	src_init(&s, fds[0]);
	loop_poll_arm(&s.p, POLLIN);
	cpu = cpu_ns();
	run_for(100);
	ck_assert_uint_eq(s.runs, 1);
	ck_assert_uint_eq(s.events, POLLHUP);
	ck_assert_uint_lt(cpu_ns() - cpu, 50 * MS);
}
END_TEST

START_TEST(test_loop_poll_broken_pipe_told_once)
{
	struct src s = { 0 };
	char junk[4096] = { 0 };
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
	while (write(fds[1], junk, sizeof(junk)) > 0)
		;
	close(fds[0]);
	src_init(&s, fds[1]);
	loop_poll_arm(&s.p, POLLIN);
	run_for(60);
	ck_assert_uint_eq(s.runs, 1);
	ck_assert_uint_eq(s.events, POLLERR);
}
END_TEST

START_TEST(test_loop_poll_hangup_with_data_goes_on)
{
	struct src s = { .reads = true };
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], "abc", 3), 3);
	close(fds[1]);
	src_init(&s, fds[0]);
	loop_poll_arm(&s.p, POLLIN);
	run_for(150);
	/* three bytes, and the end */
	ck_assert_uint_eq(s.runs, 4);
}
END_TEST

/* A stop and what follows it, as a shell's user sees it: the modes change to and fro, and then a key is pressed. */
static struct {
	struct loop_timer timer;
	int master, slave;
	unsigned steps;
} tty;

static void tty_step(void *ctx)
{
	struct termios t;

	(void)ctx;
	if (tty.steps++ == 6) {
		ck_assert_int_eq(write(tty.master, "x\n", 2), 2);
		return;
	}
	ck_assert_int_eq(tcgetattr(tty.slave, &t), 0);
	t.c_lflag ^= ICANON;
	ck_assert_int_eq(tcsetattr(tty.slave, TCSANOW, &t), 0);
	loop_timer_set(&tty.timer, 5 * MS);
}

START_TEST(test_loop_poll_of_a_terminal_outlives_its_modes)
{
	struct src s = { .reads = true, .stop_at = 1 };

	tty.steps = 0;
	tty.master = posix_openpt(O_RDWR | O_NOCTTY);
	ck_assert(tty.master >= 0 && !grantpt(tty.master) && !unlockpt(tty.master));
	tty.slave = open(ptsname(tty.master), O_RDWR | O_NOCTTY | O_NONBLOCK);
	ck_assert_int_ge(tty.slave, 0);
	src_init(&s, tty.slave);
	ck_assert_int_eq(loop_timer_init(loop, &tty.timer, tty_step, NULL), 0);
	loop_poll_arm(&s.p, POLLIN);
	loop_timer_set(&tty.timer, 5 * MS);
	run_for(2000);
	ck_assert_uint_eq(s.runs, 1);
	ck_assert_uint_eq(s.events & (POLLNVAL | POLLIN), POLLIN);
	loop_timer_fini(&tty.timer);
	close(tty.slave);
	close(tty.master);
}
END_TEST

START_TEST(test_loop_poll_file_is_always_ready)
{
	struct src s = { .stop_at = 3 };
	char name[] = "/tmp/test_loop.XXXXXX";

	src_init(&s, _i ? open("/dev/null", O_RDONLY) : mkstemp(name));
	unlink(name);
	loop_poll_arm(&s.p, POLLIN);
	run_for(1000);
	ck_assert_uint_eq(s.runs, 3);
}
END_TEST

/* More than the submission queue and more than the completion queue hold. */
START_TEST(test_loop_poll_more_sources_than_queues)
{
	static struct src s[1000];
	int fd = new_eventfd(1);

	for (unsigned i = 0; i < ARRAY_LEN(s); i++) {
		s[i].then = disarm_self;
		src_init(&s[i], fd);
		s[i].p.drains = _i;
		loop_poll_arm(&s[i].p, POLLIN);
	}
	goal = ARRAY_LEN(s);
	run_for(20000);
	for (unsigned i = 0; i < ARRAY_LEN(s); i++)
		ck_assert_uint_eq(s[i].runs, 1);
}
END_TEST

static void signal_all(struct src *s)
{
	signal_fd(s->other->fd);
	if (s->runs < 20)
		loop_poll_arm(&s->p, POLLIN);
	else
		loop_poll_disarm(&s->p);
}

/* One signal completes 900 multishot polls at once: the kernel's queue overflows, nothing is lost for good. */
START_TEST(test_loop_poll_completion_overflow_recovers)
{
	static struct src s[900];
	struct src first = { .then = signal_all };
	int fd = new_eventfd(0);

	src_init(&first, new_eventfd(1));
	for (unsigned i = 0; i < ARRAY_LEN(s); i++) {
		src_init(&s[i], fd);
		s[i].p.drains = true;
		loop_poll_arm(&s[i].p, POLLIN);
	}
	first.other = &s[0];
	loop_poll_arm(&first.p, POLLIN);
	goal = ARRAY_LEN(s) + 1;
	run_for(20000);
	ck_assert_uint_ge(first.runs, 1);
	for (unsigned i = 0; i < ARRAY_LEN(s); i++)
		ck_assert_uint_ge(s[i].runs, 1);
}
END_TEST

START_TEST(test_loop_init_after_seal_ebusy)
{
	struct loop_timer t;
	struct loop_poll p;
	struct loop_io first, io;
	struct loop_later later;

	ck_assert_int_eq(loop_io_init(loop, &first, 0, NULL, NULL), 0);
	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(loop_poll_init(loop, &p, 0, src_ready, NULL), -EBUSY);
	ck_assert_int_eq(loop_io_init(loop, &io, 0, NULL, NULL), -EBUSY);
	ck_assert_int_eq(loop_io_init_like(&first, &io, NULL, NULL), -EBUSY);
	ck_assert_int_eq(loop_later_init(loop, &later, NULL, NULL), -EBUSY);
	ck_assert_int_eq(loop_timer_init(loop, &t, stop, NULL), -EBUSY);
}
END_TEST

START_TEST(test_loop_init_full_enospc)
{
	static struct loop_poll p[LOOP_MAX_FDS];
	unsigned i = 0;
	int r;

	do {
		r = loop_poll_init(loop, &p[i], 0, src_ready, NULL);
	} while (!r && ++i < ARRAY_LEN(p));
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_ge(i, LOOP_MAX_FDS - 8);
	ck_assert_int_eq(loop_seal(loop), 0);
}
END_TEST

START_TEST(test_loop_seal_closed_descriptor_ebadf)
{
	struct src s = { 0 };

	src_init(&s, new_eventfd(0));
	close(s.fd);
	ck_assert_int_eq(loop_seal(loop), -EBADF);
}
END_TEST

START_TEST(test_loop_source_gone_before_seal_is_fine)
{
	struct loop_timer t;
	struct src s = { 0 };

	src_init(&s, new_eventfd(1));
	loop_poll_arm(&s.p, POLLIN);
	loop_poll_fini(&s.p);
	loop_poll_fini(&s.p);
	close(s.fd);
	ck_assert_int_eq(loop_timer_init(loop, &t, stop, NULL), 0);
	loop_timer_set(&t, MS);
	loop_timer_fini(&t);
	loop_timer_fini(&t);
	run_for(20);
	ck_assert_uint_eq(s.runs, 0);
}
END_TEST

START_TEST(test_loop_zeroed_sources_can_be_given_up)
{
	struct loop_poll p = { 0 };
	struct loop_timer t = { 0 };
	struct loop_io io = { 0 };

	loop_poll_disarm(&p);
	loop_poll_fini(&p);
	loop_timer_fini(&t);
	loop_io_cancel(&io);
	loop_free(NULL);
}
END_TEST

static int ring_fd(void)
{
	char path[64], target[64];

	for (int fd = 3; fd < 100; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (strstr(target, "io_uring"))
			return fd;
	}
	return -1;
}

START_TEST(test_loop_sealed_ring_registers_no_more)
{
	int fd = eventfd(0, 0), ring;
	struct io_uring_files_update up = { .fds = (uintptr_t)&fd };

	ck_assert_int_lt(ring_fd(), 0);
	ck_assert_int_eq(loop_seal(loop), 0);
	ring = ring_fd();
	ck_assert_int_ge(ring, 0);
	ck_assert_int_eq(syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES_UPDATE, &up, 1), -1);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(syscall(SYS_io_uring_register, ring, IORING_REGISTER_EVENTFD, &fd, 1), -1);
	ck_assert_int_eq(errno, EACCES);
}
END_TEST

/* ---- transfers ---- */

struct xfer {
	struct loop_io io;
	struct iovec iov[2];
	char buf[2][8];
	int res, total;
	unsigned runs, stop_at;
	void (*then)(struct xfer *x);
	struct src *src;
};

static void xfer_done(void *ctx, int res)
{
	struct xfer *x = ctx;

	ck_assert(!x->io.busy);
	x->res = res;
	x->runs++;
	if (x->then)
		x->then(x);
	if (x->stop_at && x->runs >= x->stop_at)
		loop_stop(loop);
}

static void xfer_init(struct xfer *x, int fd)
{
	ck_assert_int_eq(loop_io_init(loop, &x->io, fd, xfer_done, x), 0);
	for (unsigned i = 0; i < 2; i++)
		x->iov[i] = (struct iovec){ .iov_base = x->buf[i], .iov_len = 8 };
}

static void stream_pair(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
}

/* The writer's tens follow each other without a gap, however they are cut by the reads. */
static void check_and_read_again(struct xfer *x)
{
	ck_assert_int_gt(x->res, 0);
	for (int i = 0; i < x->res; i++)
		ck_assert_int_eq(x->buf[i / 8][i % 8], '0' + (x->total + i) % 10);
	x->total += x->res;
	if (x->total < 50)
		ck_assert_int_eq(loop_readv(&x->io, x->iov, 2), 0);
	else
		loop_stop(loop);
}

static void *write_slowly(void *arg)
{
	for (unsigned i = 0; i < 5; i++) {
		usleep(2000);
		ck_assert_int_eq(write(*(int *)arg, "0123456789", 10), 10);
	}
	return NULL;
}

/* A pipe that was empty at the start, O_NONBLOCK as a tap's descriptor is: the request waits in the kernel. */
START_TEST(test_loop_readv_waits_for_data)
{
	struct xfer x = { .then = check_and_read_again };
	pthread_t t;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, _i ? O_NONBLOCK : 0), 0);
	xfer_init(&x, fds[0]);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 2), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, write_slowly, &fds[1]), 0);
	run_for(20000);
	pthread_join(t, NULL);
	ck_assert_int_eq(x.total, 50);
}
END_TEST

START_TEST(test_loop_writev_gathers)
{
	struct xfer x = { .stop_at = 1 };
	char got[32];
	int fds[2];

	stream_pair(fds);
	xfer_init(&x, fds[0]);
	memcpy(x.buf[0], "gather, ", 8);
	memcpy(x.buf[1], "scatter!", 8);
	ck_assert_int_eq(loop_writev(&x.io, x.iov, 2), 0);
	run_for(1000);
	ck_assert_int_eq(x.res, 16);
	ck_assert_int_eq(read(fds[1], got, sizeof(got)), 16);
	ck_assert_mem_eq(got, "gather, scatter!", 16);
}
END_TEST

START_TEST(test_loop_io_second_transfer_ebusy)
{
	struct xfer x = { 0 };
	int fds[2];

	stream_pair(fds);
	xfer_init(&x, fds[0]);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 0), -EINVAL);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 1), 0);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 1), -EBUSY);
	ck_assert_int_eq(loop_writev(&x.io, x.iov, 1), -EBUSY);
	loop_io_cancel(&x.io);
}
END_TEST

START_TEST(test_loop_io_error_is_told)
{
	struct xfer x = { .stop_at = 1 };
	int fds[2];

	stream_pair(fds);
	close(fds[1]);
	xfer_init(&x, fds[0]);
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(loop_writev(&x.io, x.iov, 1), 0);
	run_for(1000);
	ck_assert_int_eq(x.res, -EPIPE);
}
END_TEST

START_TEST(test_loop_cancel_before_submission)
{
	struct xfer x = { 0 };
	int fds[2];

	stream_pair(fds);
	xfer_init(&x, fds[0]);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 1), 0);
	loop_io_cancel(&x.io);
	ck_assert_uint_eq(x.runs, 1);
	ck_assert_int_eq(x.res, -ECANCELED);
	/* and it was not submitted later all the same */
	ck_assert_int_eq(write(fds[1], "stay", 4), 4);
	run_for(20);
	ck_assert_uint_eq(x.runs, 1);
	ck_assert_int_eq(read(fds[0], x.buf, 8), 4);
}
END_TEST

static void cancel_xfer(struct src *s)
{
	struct xfer *x = (struct xfer *)s->other;

	loop_io_cancel(&x->io);
	ck_assert_uint_eq(x->runs, 1);
	ck_assert(!x->io.busy);
	loop_stop(loop);
}

START_TEST(test_loop_cancel_in_flight_is_done_at_return)
{
	struct src s = { .then = cancel_xfer };
	struct xfer x = { 0 };
	int fds[2];

	ck_assert_int_eq(pipe2(fds, _i ? O_NONBLOCK : 0), 0);
	xfer_init(&x, fds[0]);
	src_init(&s, new_eventfd(1));
	s.other = (struct src *)&x;
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 2), 0);
	loop_poll_arm(&s.p, POLLIN);
	run_for(1000);
	ck_assert_uint_eq(s.runs, 1);
	ck_assert_int_eq(x.res, -ECANCELED);
	ck_assert_int_eq(write(fds[1], "mine", 4), 4);
	ck_assert_int_eq(read(fds[0], x.buf, 8), 4);
}
END_TEST

static bool in_cancel;

static void cancel_and_watch(struct src *s)
{
	struct xfer *x = (struct xfer *)s->other;

	ck_assert(!in_cancel);
	in_cancel = true;
	loop_io_cancel(&x->io);
	in_cancel = false;
	s->then = NULL;
}

static void not_in_cancel(struct src *s)
{
	(void)s;
	ck_assert(!in_cancel);
}

/* All others are ready while the cancel waits: they run afterwards, not inside. */
START_TEST(test_loop_cancel_runs_no_other_callback)
{
	static struct src others[80];
	struct src s = { .then = cancel_and_watch, .reads = true };
	struct xfer x = { 0 };
	int fds[2];

	stream_pair(fds);
	xfer_init(&x, fds[0]);
	src_init(&s, new_eventfd(1));
	s.other = (struct src *)&x;
	for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
		others[i] = (struct src){ .reads = true, .then = not_in_cancel };
		src_init(&others[i], new_eventfd(3));
		others[i].p.drains = i & 1;
		loop_poll_arm(&others[i].p, POLLIN);
	}
	loop_poll_arm(&s.p, POLLIN);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 1), 0);
	run_for(150);
	ck_assert_int_eq(x.res, -ECANCELED);
	ck_assert_uint_eq(x.runs, 1);
	for (unsigned i = 0; i < ARRAY_LEN(others); i++)
		ck_assert_uint_ge(others[i].runs, 1);
}
END_TEST

/* The transfer completed in the same round as the callback that cancels it: its result is what is told. */
START_TEST(test_loop_cancel_of_completed_tells_result)
{
	struct src s = { .then = cancel_xfer };
	struct xfer x = { 0 };
	int fds[2];

	stream_pair(fds);
	ck_assert_int_eq(write(fds[1], "early", 5), 5);
	src_init(&s, new_eventfd(1));
	xfer_init(&x, fds[0]);
	s.other = (struct src *)&x;
	loop_poll_arm(&s.p, POLLIN);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 1), 0);
	run_for(1000);
	ck_assert_uint_eq(x.runs, 1);
	ck_assert_int_eq(x.res, 5);
}
END_TEST

START_TEST(test_loop_cancel_after_run_gives_buffers_back)
{
	struct xfer x = { 0 };
	int fds[2];

	stream_pair(fds);
	xfer_init(&x, fds[0]);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 2), 0);
	run_for(10);
	ck_assert(x.io.busy);
	loop_io_cancel(&x.io);
	ck_assert_int_eq(x.res, -ECANCELED);
	ck_assert_uint_eq(x.runs, 1);
}
END_TEST

static void churn(struct src *s)
{
	struct xfer *x = (struct xfer *)s->other;

	if (x->io.busy)
		loop_io_cancel(&x->io);
	ck_assert_int_eq(loop_readv(&x->io, x->iov, 1), 0);
	if (s->runs & 1)
		ck_assert_int_eq(write(*(int *)x->src, "z", 1), 1);
}

/* A new transfer each time: a completion of the old one must never end the new one. */
START_TEST(test_loop_cancel_and_start_again_many_times)
{
	struct src s = { .then = churn, .stop_at = 2000 };
	struct xfer x = { 0 };
	int fds[2];

	stream_pair(fds);
	xfer_init(&x, fds[0]);
	x.src = (struct src *)&fds[1];
	src_init(&s, new_eventfd(1));
	s.other = (struct src *)&x;
	loop_poll_arm(&s.p, POLLIN);
	run_for(20000);
	loop_io_cancel(&x.io);
	ck_assert_uint_eq(s.runs, 2000);
	ck_assert_uint_eq(x.runs, 2000);
}
END_TEST

/* ---- transfers at places of a file ---- */

/* A file of @size bytes that count up, with no name. */
static int new_file(unsigned size)
{
	char name[] = "/tmp/test_loop.XXXXXX";
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	for (unsigned i = 0; i < size; i++) {
		uint8_t byte = (uint8_t)i;

		ck_assert_int_eq(write(fd, &byte, 1), 1);
	}
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* What shares the file of @first. */
static void xfer_init_like(struct xfer *x, const struct xfer *first)
{
	ck_assert_int_eq(loop_io_init_like(&first->io, &x->io, xfer_done, x), 0);
	for (unsigned i = 0; i < 2; i++)
		x->iov[i] = (struct iovec){ .iov_base = x->buf[i], .iov_len = 8 };
}

static unsigned ended;

static void stop_at_goal(struct xfer *x)
{
	(void)x;
	if (++ended == goal)
		loop_stop(loop);
}

static void counts_from(const char *buf, unsigned len, unsigned from)
{
	for (unsigned i = 0; i < len; i++)
		ck_assert_uint_eq((uint8_t)buf[i], (uint8_t)(from + i));
}

START_TEST(test_loop_preadv_reads_at_its_place)
{
	struct xfer x[3] = { { .then = stop_at_goal }, { .then = stop_at_goal }, { .then = stop_at_goal } };
	int fd = new_file(100);

	xfer_init(&x[0], fd);
	xfer_init_like(&x[1], &x[0]);
	xfer_init_like(&x[2], &x[0]);
	ck_assert_int_eq(loop_preadv(&x[0].io, x[0].iov, 2, 48), 0);
	ck_assert_int_eq(loop_preadv(&x[1].io, x[1].iov, 2, 90), 0);
	ck_assert_int_eq(loop_preadv(&x[2].io, x[2].iov, 2, 4096), 0);
	goal = 3;
	run_for(2000);
	ck_assert_int_eq(x[0].res, 16);
	counts_from(x[0].buf[0], 16, 48);
	ck_assert_int_eq(x[1].res, 10);
	counts_from(x[1].buf[0], 10, 90);
	ck_assert_int_eq(x[2].res, 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
}
END_TEST

/* Threads of the kernel's that work for this process. */
static unsigned workers(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	for (struct dirent *e; (e = readdir(d));) {
		char path[300], comm[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		n += fgets(comm, sizeof(comm), f) && !strncmp(comm, "iou-wrk", 7);
		fclose(f);
	}
	closedir(d);
	return n;
}

/* What is in the page cache the loop's thread would read by itself. */
START_TEST(test_loop_io_elsewhere_is_made_by_a_worker)
{
	struct xfer x[2] = { { .then = stop_at_goal }, { .then = stop_at_goal } };
	int fd = new_file(100);

	xfer_init(&x[0], fd);
	if (_i)
		loop_io_elsewhere(&x[0].io);
	xfer_init_like(&x[1], &x[0]);
	ck_assert_int_eq(loop_preadv(&x[1].io, x[1].iov, 2, 48), 0);
	ck_assert_int_eq(loop_preadv(&x[0].io, x[0].iov, 2, 90), 0);
	goal = 2;
	run_for(2000);
	ck_assert_int_eq(x[1].res, 16);
	counts_from(x[1].buf[0], 16, 48);
	ck_assert_int_eq(x[0].res, 10);
	ck_assert_uint_eq(!!workers(), _i);
}
END_TEST

START_TEST(test_loop_pwritev_writes_at_its_place)
{
	struct xfer x[2] = { { .then = stop_at_goal }, { .then = stop_at_goal } };
	int fd = new_file(64);
	char got[65];

	xfer_init(&x[0], fd);
	xfer_init_like(&x[1], &x[0]);
	memcpy(x[0].buf[0], "gather, scatter!", 16);
	memcpy(x[1].buf[0], "DURABLE!", 8);
	ck_assert_int_eq(loop_pwritev(&x[0].io, x[0].iov, 2, 40, 0), 0);
	ck_assert_int_eq(loop_pwritev(&x[1].io, x[1].iov, 1, 8, RWF_DSYNC), 0);
	goal = 2;
	run_for(20000);
	ck_assert_int_eq(x[0].res, 16);
	ck_assert_int_eq(x[1].res, 8);
	ck_assert_int_eq(pread(fd, got, sizeof(got), 0), 64);
	counts_from(got, 8, 0);
	ck_assert_mem_eq(got + 8, "DURABLE!", 8);
	counts_from(got + 16, 24, 16);
	ck_assert_mem_eq(got + 40, "gather, scatter!", 16);
	counts_from(got + 56, 8, 56);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
}
END_TEST

/* One after the other on the same source: nothing of the last one's place stays behind. */
static void read_in_turn(struct xfer *x)
{
	switch (x->runs) {
	case 1:
		ck_assert_int_eq(loop_fdatasync(&x->io), 0);
		break;
	case 2:
		ck_assert_int_eq(x->res, 0);
		ck_assert_int_eq(loop_readv(&x->io, x->iov, 1), 0);
		break;
	case 3:
		counts_from(x->buf[0], 8, 0);
		ck_assert_int_eq(loop_preadv(&x->io, x->iov, 1, 16), 0);
		break;
	case 4:
		counts_from(x->buf[0], 8, 16);
		ck_assert_int_eq(loop_readv(&x->io, x->iov, 1), 0);
		break;
	default:
		counts_from(x->buf[0], 8, 8);
		loop_stop(loop);
	}
}

START_TEST(test_loop_io_does_one_after_the_other)
{
	struct xfer x = { .then = read_in_turn }, sharer;

	xfer_init(&x, new_file(64));
	xfer_init_like(&sharer, &x);
	ck_assert_int_eq(loop_pwritev(&x.io, x.iov, 2, 48, RWF_DSYNC), 0);
	run_for(20000);
	ck_assert_uint_eq(x.runs, 5);
	ck_assert_int_eq(x.res, 8);
}
END_TEST

START_TEST(test_loop_fdatasync_tells_result)
{
	struct xfer x[2] = { { .then = stop_at_goal }, { .then = stop_at_goal } }, sharer;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	xfer_init(&x[0], new_file(8));
	xfer_init_like(&sharer, &x[0]);
	xfer_init(&x[1], fds[1]);
	ck_assert_int_eq(loop_fdatasync(&x[0].io), 0);
	ck_assert_int_eq(loop_fdatasync(&x[1].io), 0);
	goal = 2;
	run_for(20000);
	ck_assert_int_eq(x[0].res, 0);
	ck_assert_int_eq(x[1].res, -EINVAL); /* fsync(2): nothing that can be synchronised */
}
END_TEST

START_TEST(test_loop_fallocate_makes_a_hole)
{
	struct xfer x = { .stop_at = 1 }, sharer;
	int fd = new_file(0);
	struct stat st;
	char got[64];

	ck_assert_int_eq(pwrite(fd, "before", 6, 4096 - 6), 6);
	ck_assert_int_eq(pwrite(fd, "within", 6, 8192 - 6), 6);
	ck_assert_int_eq(pwrite(fd, "behind", 6, 8192), 6);
	xfer_init(&x, fd);
	xfer_init_like(&sharer, &x);
	ck_assert_int_eq(loop_fallocate(&x.io, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096), 0);
	run_for(20000);
	ck_assert_int_eq(x.res, 0);
	ck_assert_int_eq(pread(fd, got, 6, 4096 - 6), 6);
	ck_assert_mem_eq(got, "before", 6);
	ck_assert_int_eq(pread(fd, got, 12, 8192 - 6), 12);
	ck_assert_mem_eq(got, "\0\0\0\0\0\0behind", 12);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 8192 + 6);
}
END_TEST

START_TEST(test_loop_fallocate_error_is_told)
{
	struct xfer x = { .stop_at = 1 }, sharer;

	xfer_init(&x, open("/proc/self/exe", O_RDONLY));
	xfer_init_like(&sharer, &x);
	ck_assert_int_eq(loop_fallocate(&x.io, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
	run_for(20000);
	ck_assert_int_eq(x.res, -EBADF);
}
END_TEST

/* A machine without disks has no use for these, so its ring does not know them. */
START_TEST(test_loop_without_shared_files_denies_disk_operations)
{
	struct xfer x[2] = { { .then = stop_at_goal }, { .then = stop_at_goal } };
	int fd = new_file(8);

	xfer_init(&x[0], fd);
	xfer_init(&x[1], fd);
	ck_assert_int_eq(loop_fdatasync(&x[0].io), 0);
	ck_assert_int_eq(loop_fallocate(&x[1].io, 0, 0, 4096), 0);
	goal = 2;
	run_for(2000);
	ck_assert_int_eq(x[0].res, -EACCES);
	ck_assert_int_eq(x[1].res, -EACCES);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 8);
}
END_TEST

/* ---- messages ---- */

struct message {
	struct loop_io io;
	struct msghdr h;
	struct iovec iov;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	int res;
};

static void sent(void *ctx, int res)
{
	struct message *m = ctx;

	m->res = res;
	loop_stop(loop);
}

/* "word", and descriptor @fd. */
static void make_message(struct message *m, int fd)
{
	static char word[4] = { 'w', 'o', 'r', 'd' };
	struct cmsghdr *c;

	memset(m, 0, sizeof(*m));
	m->iov = (struct iovec){ .iov_base = word, .iov_len = sizeof(word) };
	m->h = (struct msghdr){ .msg_iov = &m->iov, .msg_iovlen = 1, .msg_control = m->control, .msg_controllen = sizeof(m->control) };
	c = CMSG_FIRSTHDR(&m->h);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
}

START_TEST(test_loop_message_brings_its_descriptor)
{
	int s[2], fd = new_eventfd(5), got = -1;
	char word[5] = "", room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = word, .iov_len = 4 };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	uint64_t count = 0;
	struct message m;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	make_message(&m, fd);
	ck_assert_int_eq(loop_msg_init(loop, &m.io, s[0], sent, &m), 0);
	ck_assert_int_eq(loop_sendmsg(&m.io, &m.h), 0);
	ck_assert_int_eq(loop_sendmsg(&m.io, &m.h), -EBUSY);
	run_for(20000);
	ck_assert_int_eq(m.res, 4);
	ck_assert_int_eq(recvmsg(s[1], &h, MSG_DONTWAIT), 4);
	ck_assert_str_eq(word, "word");
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&h)), sizeof(got));
	ck_assert_int_eq(read(got, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, 5);
	close(got);
	close(fd);
}
END_TEST

/* No SIGPIPE. */
START_TEST(test_loop_message_to_nobody_is_an_error)
{
	struct message m;
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	close(s[1]);
	make_message(&m, s[0]);
	ck_assert_int_eq(loop_msg_init(loop, &m.io, s[0], sent, &m), 0);
	ck_assert_int_eq(loop_sendmsg(&m.io, &m.h), 0);
	run_for(20000);
	ck_assert_int_eq(m.res, -EPIPE);
}
END_TEST

/* The ring takes them only where somebody said that he would send some. */
START_TEST(test_loop_without_senders_denies_messages)
{
	struct message m;
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	make_message(&m, s[0]);
	ck_assert_int_eq(loop_io_init(loop, &m.io, s[0], sent, &m), 0);
	ck_assert_int_eq(loop_sendmsg(&m.io, &m.h), 0);
	run_for(20000);
	ck_assert_int_eq(m.res, -EACCES);
}
END_TEST

START_TEST(test_loop_place_second_transfer_ebusy)
{
	struct xfer x = { 0 };

	xfer_init(&x, new_file(64));
	ck_assert_int_eq(loop_preadv(&x.io, x.iov, 0, 0), -EINVAL);
	ck_assert_int_eq(loop_preadv(&x.io, x.iov, 1, 0), 0);
	ck_assert_int_eq(loop_preadv(&x.io, x.iov, 1, 0), -EBUSY);
	ck_assert_int_eq(loop_pwritev(&x.io, x.iov, 1, 0, 0), -EBUSY);
	ck_assert_int_eq(loop_fdatasync(&x.io), -EBUSY);
	ck_assert_int_eq(loop_fallocate(&x.io, 0, 0, 8), -EBUSY);
	loop_io_cancel(&x.io);
	ck_assert_int_eq(x.res, -ECANCELED);
}
END_TEST

/* More than a chunk of slots, the ring's queues, and the table of descriptors hold. Each has its place and its answer. */
START_TEST(test_loop_many_transfers_share_a_file)
{
	static struct xfer x[2500];
	int fd = new_file(ARRAY_LEN(x) + 8);
	unsigned bad = 0;

	xfer_init(&x[0], fd);
	for (unsigned i = 1; i < ARRAY_LEN(x); i++)
		xfer_init_like(&x[i], &x[0]);
	for (unsigned i = 0; i < ARRAY_LEN(x); i++) {
		x[i].then = stop_at_goal;
		ck_assert_int_eq(loop_preadv(&x[i].io, x[i].iov, 1, i), 0);
	}
	goal = ARRAY_LEN(x);
	run_for(20000);
	for (unsigned i = 0; i < ARRAY_LEN(x); i++)
		bad += x[i].runs != 1 || x[i].res != 8 || (uint8_t)x[i].buf[0][0] != (uint8_t)i || (uint8_t)x[i].buf[0][7] != (uint8_t)(i + 7);
	ck_assert_uint_eq(bad, 0);
}
END_TEST

START_TEST(test_loop_init_like_full_enospc)
{
	static struct xfer first;
	static struct loop_io io;
	unsigned n = 1;
	int r;

	xfer_init(&first, new_file(8));
	do {
		r = loop_io_init_like(&first.io, &io, xfer_done, NULL);
	} while (!r && ++n <= LOOP_MAX_SOURCES);
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_ge(n, LOOP_MAX_SOURCES - 8);
	ck_assert_int_eq(loop_seal(loop), 0);
}
END_TEST

/* ---- later ---- */

struct after {
	struct loop_later later;
	unsigned runs, seen; /* sources that had run, at its first run */
};

static struct after after;

static void after_run(void *ctx)
{
	struct after *a = ctx;

	if (!a->runs++)
		a->seen = started;
}

static void ask_twice(struct src *s)
{
	(void)s;
	loop_later_ask(&after.later);
	loop_later_ask(&after.later);
}

/* The first source asks already, and still all that is ready in its round comes before. */
START_TEST(test_loop_later_runs_once_after_all_of_the_round)
{
	static struct src s[30];

	ck_assert_int_eq(loop_later_init(loop, &after.later, after_run, &after), 0);
	for (unsigned i = 0; i < ARRAY_LEN(s); i++) {
		s[i] = (struct src){ .reads = true, .then = ask_twice };
		src_init(&s[i], new_eventfd(1));
		s[i].p.drains = true;
		loop_poll_arm(&s[i].p, POLLIN);
	}
	run_for(50);
	ck_assert_uint_eq(started, ARRAY_LEN(s));
	ck_assert_uint_eq(after.runs, 1);
	ck_assert_uint_eq(after.seen, ARRAY_LEN(s));
}
END_TEST

static void ask_and_signal(struct src *s)
{
	ck_assert_uint_eq(after.runs, s->runs - 1);
	loop_later_ask(&after.later);
	signal_fd(s->fd);
}

/* Each round that asks has its own. */
START_TEST(test_loop_later_runs_in_each_round_that_asks)
{
	struct src s = { .reads = true, .then = ask_and_signal, .stop_at = 10 };

	ck_assert_int_eq(loop_later_init(loop, &after.later, after_run, &after), 0);
	src_init(&s, new_eventfd(1));
	s.p.drains = true;
	loop_poll_arm(&s.p, POLLIN);
	run_for(2000);
	ck_assert_uint_eq(s.runs, 10);
	ck_assert_uint_eq(after.runs, 10);
}
END_TEST

START_TEST(test_loop_later_not_asked_never_runs)
{
	struct src s = { .reads = true };

	ck_assert_int_eq(loop_later_init(loop, &after.later, after_run, &after), 0);
	src_init(&s, new_eventfd(1));
	s.p.drains = true;
	loop_poll_arm(&s.p, POLLIN);
	run_for(30);
	ck_assert_uint_eq(s.runs, 1);
	ck_assert_uint_eq(after.runs, 0);
}
END_TEST

static struct xfer read_then_write;

static void write_what_was_read(void *ctx)
{
	struct xfer *x = ctx;

	ck_assert_int_eq(loop_pwritev(&x->io, x->iov, 1, 32, 0), 0);
}

static void ask_once(struct xfer *x)
{
	if (x->runs == 1)
		loop_later_ask(&after.later);
	else
		loop_stop(loop);
}

/* It may start what its round's callbacks might have started. */
START_TEST(test_loop_later_may_start_transfers)
{
	struct xfer *x = &read_then_write;
	char got[8];
	int fd = new_file(64);

	ck_assert_int_eq(loop_later_init(loop, &after.later, write_what_was_read, x), 0);
	xfer_init(x, fd);
	x->then = ask_once;
	ck_assert_int_eq(loop_preadv(&x->io, x->iov, 1, 8), 0);
	run_for(2000);
	ck_assert_uint_eq(x->runs, 2);
	ck_assert_int_eq(pread(fd, got, 8, 32), 8);
	counts_from(got, 8, 8);
}
END_TEST

/* ---- timers ---- */

struct tick {
	struct loop_timer t;
	unsigned runs, again;
	uint64_t at;
	struct tick *stops;
};

static void tick(void *ctx)
{
	struct tick *k = ctx;

	k->runs++;
	k->at = clock_now_ns();
	if (k->stops)
		loop_timer_set(&k->stops->t, 0);
	if (k->runs < k->again)
		loop_timer_set(&k->t, MS);
}

START_TEST(test_loop_timer_fires_once_not_early)
{
	struct tick k = { 0 };
	uint64_t from;

	ck_assert_int_eq(loop_timer_init(loop, &k.t, tick, &k), 0);
	from = clock_now_ns();
	loop_timer_set(&k.t, 20 * MS);
	run_for(100);
	ck_assert_uint_eq(k.runs, 1);
	ck_assert_uint_ge(k.at - from, 20 * MS);
	loop_timer_fini(&k.t);
}
END_TEST

START_TEST(test_loop_timer_can_be_set_from_within)
{
	struct tick k = { .again = 5 };

	ck_assert_int_eq(loop_timer_init(loop, &k.t, tick, &k), 0);
	loop_timer_set(&k.t, MS);
	run_for(200);
	ck_assert_uint_eq(k.runs, 5);
	loop_timer_fini(&k.t);
}
END_TEST

START_TEST(test_loop_timer_stopped_never_fires)
{
	struct tick k = { 0 };

	ck_assert_int_eq(loop_timer_init(loop, &k.t, tick, &k), 0);
	loop_timer_set(&k.t, MS);
	usleep(3000);
	loop_timer_set(&k.t, 0);
	run_for(30);
	ck_assert_uint_eq(k.runs, 0);
	loop_timer_fini(&k.t);
}
END_TEST

/* Both expired before the loop looked: the first stops the second. */
START_TEST(test_loop_timer_stopped_after_expiry_never_fires)
{
	struct tick a = { 0 }, b = { .stops = &a };

	a.stops = &b;
	ck_assert_int_eq(loop_timer_init(loop, &a.t, tick, &a), 0);
	ck_assert_int_eq(loop_timer_init(loop, &b.t, tick, &b), 0);
	loop_timer_set(&a.t, MS);
	loop_timer_set(&b.t, MS);
	usleep(3000);
	run_for(30);
	ck_assert_uint_eq(a.runs + b.runs, 1);
	loop_timer_fini(&a.t);
	loop_timer_fini(&b.t);
}
END_TEST

/* ---- calls, stopping, idling ---- */

static pthread_t loop_thread;
static atomic_int called;

static int add(void *ctx)
{
	if (loop_thread)
		ck_assert(pthread_equal(loop_thread, pthread_self()));
	atomic_fetch_add(&called, 1);
	return *(int *)ctx + 1;
}

static void *call_once(void *arg)
{
	int n = 41;

	(void)arg;
	return (void *)(intptr_t)loop_call(loop, add, &n);
}

static void *call_once_and_stop(void *arg)
{
	void *r = call_once(arg);

	loop_stop(loop);
	return r;
}

static void *call_often(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		if (loop_call(loop, add, &i) != i + 1)
			return loop;
	}
	if (atomic_fetch_sub((atomic_int *)arg, 1) == 1)
		loop_stop(loop);
	return NULL;
}

START_TEST(test_loop_call_before_seal_is_plain)
{
	int n = 1;

	ck_assert(loop_is_here(loop));
	ck_assert_int_eq(loop_call(loop, add, &n), 2);
}
END_TEST

START_TEST(test_loop_calls_of_threads_run_on_loop)
{
	atomic_int left = 4;
	pthread_t t[4];

	loop_thread = pthread_self();
	loop_timer_set(&limit, 60000 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, call_often, &left), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		void *bad;

		pthread_join(t[i], &bad);
		ck_assert_ptr_null(bad);
	}
	ck_assert_int_eq(atomic_load(&called), 8000);
}
END_TEST

static void call_self(struct src *s)
{
	int n = 5;

	ck_assert(loop_is_here(loop));
	ck_assert_int_eq(loop_call(loop, add, &n), 6);
	(void)s;
}

START_TEST(test_loop_call_from_callback_is_plain)
{
	struct src s = { .then = call_self, .stop_at = 1 };

	src_init(&s, new_eventfd(1));
	loop_poll_arm(&s.p, POLLIN);
	run_for(1000);
	ck_assert_int_eq(atomic_load(&called), 1);
}
END_TEST

/* Asked @left times, and then no more. */
static int not_yet(void *ctx)
{
	unsigned *left = ctx;

	return --*left ? LOOP_AGAIN : 7;
}

static void *call_not_yet(void *arg)
{
	int r = loop_call(loop, not_yet, arg);

	loop_stop(loop);
	return (void *)(intptr_t)r;
}

/* Nothing else happens in the loop, and the caller sleeps on until the function is through. */
START_TEST(test_loop_call_that_waits_is_asked_again)
{
	unsigned left = 20;
	pthread_t t;
	void *r;

	loop_timer_set(&limit, 20000 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, call_not_yet, &left), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	pthread_join(t, &r);
	ck_assert_int_eq((intptr_t)r, 7);
	ck_assert_uint_eq(left, 0);
}
END_TEST

static int never(void *ctx)
{
	atomic_fetch_add((atomic_uint *)ctx, 1);
	return LOOP_AGAIN;
}

static void *call_never(void *arg)
{
	return (void *)(intptr_t)loop_call(loop, never, arg);
}

START_TEST(test_loop_call_that_waits_is_canceled_at_the_end)
{
	atomic_uint asked = 0;
	pthread_t t;
	void *r;

	loop_timer_set(&limit, 50 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, call_never, &asked), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	pthread_join(t, &r);
	ck_assert_int_eq((intptr_t)r, -ECANCELED);
	ck_assert_uint_le(atomic_load(&asked), 60); /* it does not spin */
}
END_TEST

/* Between the seal and the run a thread may be quicker than the loop: it waits, nothing runs beside the loop's thread. */
START_TEST(test_loop_call_waits_for_run)
{
	pthread_t t;
	void *r;

	loop_thread = pthread_self();
	loop_timer_set(&limit, 20000 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, call_once_and_stop, NULL), 0);
	usleep(10000);
	ck_assert_int_eq(atomic_load(&called), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	pthread_join(t, &r);
	ck_assert_int_eq((intptr_t)r, 42);
}
END_TEST

START_TEST(test_loop_call_after_end_canceled)
{
	int n = 1;
	pthread_t t;
	void *r;

	run_for(5);
	ck_assert_int_eq(pthread_create(&t, NULL, call_once, NULL), 0);
	pthread_join(t, &r);
	ck_assert_int_eq((intptr_t)r, -ECANCELED);
	/* the loop's own thread goes on by itself: tear-down resets devices by the same functions */
	ck_assert_int_eq(loop_call(loop, add, &n), 2);
}
END_TEST

/* A caller that waits for a loop which never got to run. */
START_TEST(test_loop_call_waiting_when_stopped_canceled)
{
	pthread_t t;
	void *r;

	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, call_once, NULL), 0);
	usleep(20000);
	loop_stop(loop);
	ck_assert_int_eq(loop_run(loop), 0);
	pthread_join(t, &r);
	ck_assert_int_eq((intptr_t)r, -ECANCELED);
	ck_assert_int_eq(atomic_load(&called), 0);
}
END_TEST

/* Callers pile up while the loop is busy in one callback, which stops it: each gets an answer. */
static void *caller(void *arg)
{
	int n = 1, r;

	do {
		r = loop_call(loop, add, &n);
	} while (r == 2);
	*(int *)arg = r;
	return NULL;
}

START_TEST(test_loop_stop_ends_all_callers)
{
	int res[6] = { 0 };
	pthread_t t[6];

	loop_thread = pthread_self();
	loop_timer_set(&limit, 30 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, caller, &res[i]), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		pthread_join(t[i], NULL);
		ck_assert_int_eq(res[i], -ECANCELED);
	}
}
END_TEST

START_TEST(test_loop_stop_before_run_ends_it)
{
	loop_stop(loop);
	loop_stop(loop);
	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(loop_run(loop), 0);
}
END_TEST

static void on_alarm(int sig)
{
	(void)sig;
	loop_stop(loop);
}

START_TEST(test_loop_stop_from_signal_handler)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval it = { .it_value.tv_usec = 20000 };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	run_for(20000);
	/* much earlier than the limit */
	ck_assert_uint_lt(cpu_ns(), 10000 * MS);
}
END_TEST

static atomic_int interrupts;

static void count_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&interrupts, 1);
}

START_TEST(test_loop_signals_interrupt_nothing)
{
	struct sigaction sa = { .sa_handler = count_signal };
	struct itimerval it = { .it_value.tv_usec = 1000, .it_interval.tv_usec = 1000 };
	atomic_int left = 1;
	pthread_t t;
	void *bad;

	loop_timer_set(&limit, 60000 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	ck_assert_int_eq(pthread_create(&t, NULL, call_often, &left), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	pthread_join(t, &bad);
	ck_assert_ptr_null(bad);
}
END_TEST

START_TEST(test_loop_idle_costs_no_cpu)
{
	struct src s = { 0 };
	uint64_t cpu;

	src_init(&s, new_eventfd(0));
	loop_poll_arm(&s.p, POLLIN);
	cpu = cpu_ns();
	run_for(300);
	ck_assert_uint_lt(cpu_ns() - cpu, 100 * MS);
	ck_assert_uint_eq(take_fd(s.fd), 0);
}
END_TEST

/* A TCP socket with bytes that nobody reads, and whose close waits @seconds for them. */
static int lingering_socket(int seconds)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger l = { .l_onoff = 1, .l_linger = seconds };
	int server = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	static const char bytes[65536];

	ck_assert_int_eq(bind(server, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(server, 1), 0);
	ck_assert_int_eq(getsockname(server, (struct sockaddr *)&a, &(socklen_t){ sizeof(a) }), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_ge(accept(server, NULL, NULL), 0);
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	return fd;
}

/* ---- descriptors that come late ---- */

static struct late {
	struct loop_io accept, rx, tx, end, pass;
	int fd, passed, results;
	char text[16];
	struct iovec in, out;
	struct msghdr msg;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
} late;

static void closed(void *ctx, int res)
{
	(void)ctx;
	ck_assert_int_eq(res, 0);
}

/* Whatever a descriptor's close waits for, the loop goes on. */
START_TEST(test_loop_late_close_that_waits)
{
	struct loop_io end;
	uint64_t t0;

	ck_assert_int_eq(loop_io_init_late(loop, &end, closed, NULL), 0);
	loop_may_stick(loop);
	loop_io_aim(&end, lingering_socket(5));
	ck_assert_int_eq(loop_close(&end), 0);
	t0 = clock_now_ns();
	run_for(300);
	ck_assert_uint_lt(clock_now_ns() - t0, 3000 * MS);
}
END_TEST

static void late_closed(void *ctx, int res)
{
	(void)ctx;
	/* the first time it was a shutdown */
	ck_assert_int_eq(res, 0);
	if (!late.results++) {
		ck_assert_int_eq(loop_close(&late.end), 0);
		return;
	}
	loop_stop(loop);
}

static void late_written(void *ctx, int res)
{
	(void)ctx;
	ck_assert_int_eq(res, 2);
	loop_io_aim(&late.end, late.fd);
	ck_assert_int_eq(loop_shutdown(&late.end, SHUT_WR), 0);
}

static void late_read(void *ctx, int res)
{
	(void)ctx;
	ck_assert_int_eq(res, 5);
	ck_assert(!memcmp(late.text, "hello", 5));
	late.out = (struct iovec){ (void *)(uintptr_t)"ok", 2 };
	loop_io_aim(&late.tx, late.fd);
	ck_assert_int_eq(loop_writev(&late.tx, &late.out, 1), 0);
}

static void late_accepted(void *ctx, int res)
{
	(void)ctx;
	ck_assert_int_ge(res, 0);
	ck_assert_int_eq(fcntl(res, F_GETFD), FD_CLOEXEC);
	late.fd = res;
	late.in = (struct iovec){ late.text, sizeof(late.text) };
	loop_io_aim(&late.rx, res);
	ck_assert_int_eq(loop_readv(&late.rx, &late.in, 1), 0);
}

static void late_passed(void *ctx, int res)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(&late.msg);

	(void)ctx;
	ck_assert_int_eq(res, 1);
	ck_assert_ptr_nonnull(c);
	memcpy(&late.passed, CMSG_DATA(c), sizeof(int));
}

static void pass_fd(int over, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)"x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(over, &m, 0), 1);
}

START_TEST(test_loop_late_descriptors)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX }; /* the kernel gives it a name */
	socklen_t len = sizeof(a);
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), s[2];
	struct iovec in;
	char text[8];

	late = (struct late){ .fd = -1, .passed = -1 };
	ck_assert_int_eq(bind(l, (struct sockaddr *)&a, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(l, 1), 0);
	ck_assert_int_eq(getsockname(l, (struct sockaddr *)&a, &len), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	ck_assert_int_eq(loop_io_init(loop, &late.accept, l, late_accepted, NULL), 0);
	ck_assert_int_eq(loop_io_init(loop, &late.pass, s[0], late_passed, NULL), 0);
	ck_assert_int_eq(loop_io_init_late(loop, &late.rx, late_read, NULL), 0);
	ck_assert_int_eq(loop_io_init_late(loop, &late.tx, late_written, NULL), 0);
	ck_assert_int_eq(loop_io_init_late(loop, &late.end, late_closed, NULL), 0);
	in = (struct iovec){ text, sizeof(text) };
	late.msg = (struct msghdr){ .msg_iov = &in, .msg_iovlen = 1, .msg_control = late.control, .msg_controllen = sizeof(late.control) };
	ck_assert_int_eq(loop_accept(&late.accept), 0);
	ck_assert_int_eq(loop_recvmsg(&late.pass, &late.msg, MSG_CMSG_CLOEXEC), 0);
	pass_fd(s[1], c);
	ck_assert_int_eq(connect(c, (struct sockaddr *)&a, len), 0);
	ck_assert_int_eq(write(c, "hello", 5), 5);
	run_for(5000);
	ck_assert_int_eq(late.results, 2);
	ck_assert_int_eq(fcntl(late.fd, F_GETFD), -1);
	ck_assert_int_ge(late.passed, 0);
	ck_assert_int_eq(fcntl(late.passed, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(read(c, text, sizeof(text)), 2);
	ck_assert_int_eq(read(c, text, sizeof(text)), 0);
	close(late.passed);
	close(l);
	close(c);
	close(s[0]);
	close(s[1]);
}
END_TEST

static struct ending {
	struct loop_io io;
	int theirs;
	unsigned told;
	struct loop_timer timer;
} ending;

static void end_more(void *ctx)
{
	(void)ctx;
	if (!ending.told) {
		ck_assert_int_eq(shutdown(ending.theirs, SHUT_WR), 0);
		return;
	}
	close(ending.theirs);
	ck_assert_int_eq(loop_await_end(&ending.io), 0);
}

static void end_told(void *ctx, int res)
{
	(void)ctx;
	ck_assert_int_gt(res, 0);
	if (ending.told++) {
		ck_assert_int_ne(res & POLLHUP, 0);
		loop_stop(loop);
		return;
	}
	ck_assert_int_eq(res & (POLLHUP | POLLERR | POLLIN), 0);
	ck_assert_int_ne(res & POLLRDHUP, 0);
	loop_timer_set(&ending.timer, 10 * MS);
}

/* Bytes that are there to be read are no end. */
START_TEST(test_loop_late_end_of_one_way_and_of_both)
{
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	ending = (struct ending){ .theirs = s[1] };
	ck_assert_int_eq(write(s[1], "unread", 6), 6);
	ck_assert_int_eq(loop_io_init_late(loop, &ending.io, end_told, NULL), 0);
	ck_assert_int_eq(loop_timer_init(loop, &ending.timer, end_more, NULL), 0);
	loop_timer_set(&ending.timer, 50 * MS);
	loop_io_aim(&ending.io, s[0]);
	ck_assert_int_eq(loop_await_end(&ending.io), 0);
	ck_assert_int_eq(loop_await_end(&ending.io), -EBUSY);
	run_for(5000);
	ck_assert_uint_eq(ending.told, 2);
	loop_timer_fini(&ending.timer);
	close(s[0]);
}
END_TEST

/* With the loop at its end, too: what can be done at once is, and what cannot is cancelled. */
START_TEST(test_loop_try_is_done_at_return)
{
	struct xfer x = { 0 }, y = { 0 };
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	xfer_init(&x, s[0]);
	xfer_init(&y, s[0]);
	memcpy(x.buf[0], "12345678", 8);
	if (_i) {
		run_for(10);
	} else {
		ck_assert_int_eq(loop_seal(loop), 0);
	}
	loop_io_try(&x.io);
	ck_assert_uint_eq(x.runs, 0);
	ck_assert_int_eq(loop_writev(&x.io, x.iov, 1), 0);
	ck_assert_int_eq(loop_readv(&y.io, y.iov, 1), 0);
	loop_io_try(&x.io);
	ck_assert_uint_eq(x.runs, 1);
	ck_assert_int_eq(x.res, 8);
	loop_io_try(&y.io);
	ck_assert_uint_eq(y.runs, 1);
	ck_assert_int_eq(y.res, -ECANCELED);
	ck_assert_int_eq(read(s[1], y.buf[0], 8), 8);
	ck_assert_int_eq(write(s[1], "x", 1), 1);
	ck_assert_int_eq(loop_readv(&y.io, y.iov, 1), 0);
	loop_io_try(&y.io);
	ck_assert_int_eq(y.res, 1);
	close(s[0]);
	close(s[1]);
}
END_TEST

static void *write_late(void *arg)
{
	usleep(50000);
	ck_assert_int_eq(write(*(int *)arg, "late", 4), 4);
	return NULL;
}

static void stop_waiting(struct xfer *x)
{
	(void)x;
	ck_abort_msg("another's callback");
}

/* With the loop at its end, too: as long as it takes, but no longer than it may; nothing is cancelled, and nobody else is called. */
START_TEST(test_loop_wait_has_its_time)
{
	struct xfer x = { 0 }, y = { .then = stop_waiting };
	uint64_t cpu, begin;
	int s[2], ready[2];
	pthread_t t;

	stream_pair(s);
	stream_pair(ready);
	xfer_init(&x, s[0]);
	xfer_init(&y, ready[0]);
	if (_i) {
		run_for(10);
	} else {
		ck_assert_int_eq(loop_seal(loop), 0);
	}
	loop_io_wait(&x.io, UINT64_MAX);
	ck_assert_uint_eq(x.runs, 0);
	ck_assert_int_eq(write(ready[1], "y", 1), 1);
	ck_assert_int_eq(loop_readv(&y.io, y.iov, 1), 0);
	ck_assert_int_eq(loop_readv(&x.io, x.iov, 1), 0);
	begin = clock_now_ns();
	cpu = cpu_ns();
	loop_io_wait(&x.io, begin + 40 * MS);
	ck_assert_uint_eq(x.runs, 0);
	ck_assert(x.io.busy);
	ck_assert_uint_ge(clock_now_ns() - begin, 40 * MS);
	ck_assert_uint_lt(cpu_ns() - cpu, 20 * MS);
	ck_assert_int_eq(pthread_create(&t, NULL, write_late, &s[1]), 0);
	loop_io_wait(&x.io, UINT64_MAX);
	ck_assert_uint_eq(x.runs, 1);
	ck_assert_int_eq(x.res, 4);
	pthread_join(t, NULL);
	y.then = NULL;
	loop_io_wait(&y.io, UINT64_MAX);
	ck_assert_int_eq(y.res, 1);
}
END_TEST

static void late_refused(void *ctx, int res)
{
	(void)ctx;
	late.results = res;
	loop_stop(loop);
}

/* Where nothing is late the ring does not know these operations. */
START_TEST(test_loop_accept_without_late_ones_is_refused)
{
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	late = (struct late){ 0 };
	ck_assert_int_eq(loop_io_init(loop, &late.accept, l, late_refused, NULL), 0);
	ck_assert_int_eq(loop_accept(&late.accept), 0);
	run_for(5000);
	ck_assert_int_eq(late.results, -EACCES);
	close(l);
}
END_TEST

static void add_polls(TCase *t)
{
	tcase_add_test(t, test_loop_poll_level_runs_until_read);
	tcase_add_test(t, test_loop_poll_not_armed_never_runs);
	tcase_add_loop_test(t, test_loop_poll_disarm_in_callback_is_final, 0, 2);
	tcase_add_loop_test(t, test_loop_poll_disarm_of_ready_other_is_final, 0, 2);
	tcase_add_loop_test(t, test_loop_poll_owner_frees_itself, 0, 2);
	tcase_add_test(t, test_loop_poll_events_can_change);
	tcase_add_test(t, test_loop_poll_drains_sees_each_signal);
	tcase_add_loop_test(t, test_loop_poll_rearmed_before_dispatch_still_told, 0, 2);
	tcase_add_test(t, test_loop_poll_hangup_told_once_without_spin);
	tcase_add_test(t, test_loop_poll_broken_pipe_told_once);
	tcase_add_test(t, test_loop_poll_hangup_with_data_goes_on);
	tcase_add_test(t, test_loop_poll_of_a_terminal_outlives_its_modes);
	tcase_add_loop_test(t, test_loop_poll_file_is_always_ready, 0, 2);
	tcase_add_loop_test(t, test_loop_poll_more_sources_than_queues, 0, 2);
	tcase_add_test(t, test_loop_poll_completion_overflow_recovers);
	tcase_add_test(t, test_loop_init_after_seal_ebusy);
	tcase_add_test(t, test_loop_init_full_enospc);
	tcase_add_test(t, test_loop_seal_closed_descriptor_ebadf);
	tcase_add_test(t, test_loop_source_gone_before_seal_is_fine);
	tcase_add_test(t, test_loop_zeroed_sources_can_be_given_up);
	tcase_add_test(t, test_loop_sealed_ring_registers_no_more);
}

static void add_transfers(TCase *t)
{
	tcase_add_loop_test(t, test_loop_readv_waits_for_data, 0, 2);
	tcase_add_test(t, test_loop_writev_gathers);
	tcase_add_test(t, test_loop_io_second_transfer_ebusy);
	tcase_add_test(t, test_loop_io_error_is_told);
	tcase_add_test(t, test_loop_cancel_before_submission);
	tcase_add_loop_test(t, test_loop_cancel_in_flight_is_done_at_return, 0, 2);
	tcase_add_test(t, test_loop_cancel_runs_no_other_callback);
	tcase_add_test(t, test_loop_cancel_of_completed_tells_result);
	tcase_add_test(t, test_loop_cancel_after_run_gives_buffers_back);
	tcase_add_test(t, test_loop_cancel_and_start_again_many_times);
}

static void add_places(TCase *t)
{
	tcase_add_test(t, test_loop_preadv_reads_at_its_place);
	tcase_add_loop_test(t, test_loop_io_elsewhere_is_made_by_a_worker, 0, 2);
	tcase_add_test(t, test_loop_pwritev_writes_at_its_place);
	tcase_add_test(t, test_loop_io_does_one_after_the_other);
	tcase_add_test(t, test_loop_fdatasync_tells_result);
	tcase_add_test(t, test_loop_fallocate_makes_a_hole);
	tcase_add_test(t, test_loop_fallocate_error_is_told);
	tcase_add_test(t, test_loop_without_shared_files_denies_disk_operations);
	tcase_add_test(t, test_loop_message_brings_its_descriptor);
	tcase_add_test(t, test_loop_message_to_nobody_is_an_error);
	tcase_add_test(t, test_loop_without_senders_denies_messages);
	tcase_add_test(t, test_loop_place_second_transfer_ebusy);
	tcase_add_test(t, test_loop_many_transfers_share_a_file);
	tcase_add_test(t, test_loop_init_like_full_enospc);
	tcase_add_test(t, test_loop_later_runs_once_after_all_of_the_round);
	tcase_add_test(t, test_loop_later_runs_in_each_round_that_asks);
	tcase_add_test(t, test_loop_later_not_asked_never_runs);
	tcase_add_test(t, test_loop_later_may_start_transfers);
}

static void add_rest(TCase *t)
{
	tcase_add_test(t, test_loop_late_descriptors);
	tcase_add_test(t, test_loop_late_close_that_waits);
	tcase_add_test(t, test_loop_late_end_of_one_way_and_of_both);
	tcase_add_loop_test(t, test_loop_try_is_done_at_return, 0, 2);
	tcase_add_loop_test(t, test_loop_wait_has_its_time, 0, 2);
	tcase_add_test(t, test_loop_accept_without_late_ones_is_refused);
	tcase_add_test(t, test_loop_timer_fires_once_not_early);
	tcase_add_test(t, test_loop_timer_can_be_set_from_within);
	tcase_add_test(t, test_loop_timer_stopped_never_fires);
	tcase_add_test(t, test_loop_timer_stopped_after_expiry_never_fires);
	tcase_add_test(t, test_loop_call_before_seal_is_plain);
	tcase_add_test(t, test_loop_calls_of_threads_run_on_loop);
	tcase_add_test(t, test_loop_call_from_callback_is_plain);
	tcase_add_test(t, test_loop_call_waits_for_run);
	tcase_add_test(t, test_loop_call_that_waits_is_asked_again);
	tcase_add_test(t, test_loop_call_that_waits_is_canceled_at_the_end);
	tcase_add_test(t, test_loop_call_after_end_canceled);
	tcase_add_test(t, test_loop_call_waiting_when_stopped_canceled);
	tcase_add_test(t, test_loop_stop_ends_all_callers);
	tcase_add_test(t, test_loop_stop_before_run_ends_it);
	tcase_add_test(t, test_loop_stop_from_signal_handler);
	tcase_add_test(t, test_loop_signals_interrupt_nothing);
	tcase_add_test(t, test_loop_idle_costs_no_cpu);
}

static bool ring_is_denied(void)
{
	struct uring_facts f;

	uring_probe(&f);
	return f.error == -EPERM || f.error == -ENOSYS;
}

int main(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	add_polls(t);
	add_transfers(t);
	add_places(t);
	add_rest(t);
	if (ring_is_denied()) {
		puts("skip: io_uring is denied here\n100%: Checks: 0, Failures: 0, Errors: 0");
		return EXIT_SUCCESS;
	}
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
