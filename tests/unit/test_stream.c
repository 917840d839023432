// SPDX-License-Identifier: BSD-3-Clause
/* On the real loop. */
#include "vmm/core/stream.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/core/loop.h"
#include "vmm/core/uring_probe.h"

#define MS UINT64_C(1000000)

static struct loop *loop;
static struct loop_timer limit;
static struct stream *st;

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

/* The ring keeps its files: the far end of a pipe sees that we left only when the loop is gone. */
static void teardown(void)
{
	stream_free(st);
	loop_timer_fini(&limit);
	loop_free(loop);
	st = NULL;
	loop = NULL;
}

static void new_stream(int in, int out, size_t ring)
{
	struct stream_cfg cfg = { .in_fd = in, .out_fd = out, .ring_size = ring };

	signal(SIGPIPE, SIG_IGN); /* as the program does */
	ck_assert_int_eq(stream_new(loop, &cfg, &st), 0);
}

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

static void new_pipe(int fds[2])
{
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
}

/* A thread that reads the far end until it ends, after a while and slowly if wanted. */
struct consumer {
	pthread_t thread;
	int fd;
	unsigned wait_ms;
	size_t chunk;
	size_t total;
	uint32_t sum;      /* of bytes times position, so that order counts */
};

static void *consume(void *arg)
{
	struct consumer *c = arg;
	static _Thread_local unsigned char buf[65536];
	ssize_t n;

	usleep(c->wait_ms * 1000);
	while ((n = read(c->fd, buf, c->chunk ? c->chunk : sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			c->sum = c->sum * 31 + buf[i];
		c->total += (size_t)n;
	}
	return NULL;
}

static void start_consumer(struct consumer *c)
{
	ck_assert_int_eq(pthread_create(&c->thread, NULL, consume, c), 0);
}

static uint32_t sum_of(const unsigned char *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + p[i];
	return sum;
}

/* ---- output ---- */

static const char hello[] = "hello\n";

/* A writer on another thread, as a vCPU is. */
static void *write_hello(void *arg)
{
	(void)arg;
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	return NULL;
}

static void write_from_thread(void)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, write_hello, NULL), 0);
	pthread_join(t, NULL);
}

static void expect(int fd, const char *what)
{
	char buf[256] = "";

	ck_assert_int_eq(read(fd, buf, sizeof(buf) - 1), strlen(what));
	ck_assert_str_eq(buf, what);
}

START_TEST(test_stream_write_on_loop_is_shown_at_once)
{
	int fds[2];

	new_pipe(fds);
	new_stream(-1, fds[1], 0);
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	expect(fds[0], hello);
	ck_assert_uint_eq(stream_room(st), 65536);
}
END_TEST

START_TEST(test_stream_write_of_thread_is_shown_by_loop)
{
	int fds[2];

	new_pipe(fds);
	new_stream(-1, fds[1], 0);
	ck_assert_int_eq(loop_seal(loop), 0);
	write_from_thread();
	ck_assert_uint_eq(stream_room(st), 65536 - 6);
	loop_timer_set(&limit, 20 * MS);
	ck_assert_int_eq(loop_run(loop), 0);
	expect(fds[0], hello);
}
END_TEST

START_TEST(test_stream_shared_description_stays_blocking)
{
	int fds[2], in[2];

	new_pipe(fds);
	new_pipe(in);
	new_stream(in[0], fds[1], 0);
	ck_assert_int_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(in[0], F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(test_stream_bad_arguments_refused)
{
	struct stream_cfg cfg = { .in_fd = -1, .out_fd = -1, .ring_size = 1000 };

	ck_assert_int_eq(stream_new(loop, &cfg, &st), -EINVAL);
	cfg.ring_size = 0;
	cfg.out_fd = 999;
	ck_assert_int_eq(stream_new(loop, &cfg, &st), -EBADF);
	cfg.out_fd = -1;
	cfg.in_fd = 999;
	ck_assert_int_eq(stream_new(loop, &cfg, &st), -EBADF);
}
END_TEST

START_TEST(test_stream_listener_after_the_seal_is_refused)
{
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct stream_cfg cfg = { .in_fd = l, .out_fd = l, .listens = true };

	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(stream_new(loop, &cfg, &st), -EBUSY);
	close(l);
}
END_TEST

START_TEST(test_stream_without_output_takes_all)
{
	static char big[200000];
	char tail[8] = "";

	memset(big, 'a', sizeof(big));
	memcpy(big + sizeof(big) - 4, "end!", 4);
	new_stream(-1, -1, 0);
	ck_assert_uint_eq(stream_write(st, big, sizeof(big)), sizeof(big));
	ck_assert_uint_eq(stream_dropped(st), 0);
	ck_assert_uint_eq(stream_tail(st, tail, 4), 4);
	ck_assert_str_eq(tail, "end!");
	stream_flush(st, MS);
}
END_TEST

START_TEST(test_stream_null_is_written_plainly)
{
	static char big[300000];
	int fd = open("/dev/null", O_WRONLY);

	memset(big, 'f', sizeof(big));
	new_stream(-1, fd, 0);
	ck_assert_uint_eq(stream_write(st, big, sizeof(big)), sizeof(big));
	ck_assert_uint_eq(stream_room(st), 65536);
}
END_TEST

/* A full disk loses what is at hand; what comes later is tried again. */
START_TEST(test_stream_full_disk_drops_and_goes_on)
{
	int fd = open("/dev/full", O_WRONLY);

	new_stream(-1, fd, 0);
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	run_for(20);
	ck_assert_uint_eq(stream_dropped(st), 6);
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	ck_assert_uint_eq(stream_room(st), 65536 - 6);
}
END_TEST

/* Nobody reads: the ring fills, further bytes find no room, nothing blocks and nothing spins. */
START_TEST(test_stream_stopped_consumer_blocks_nobody)
{
	static char junk[1000];
	size_t taken = 0, n;
	uint64_t cpu;
	int fds[2];

	if (_i)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	else
		new_pipe(fds);
	new_stream(-1, fds[1], 4096);
	do {
		n = stream_write(st, junk, sizeof(junk));
		taken += n;
	} while (n == sizeof(junk));
	ck_assert_uint_ge(taken, 4096);
	ck_assert_uint_eq(stream_room(st), 0);
	ck_assert_uint_eq(stream_write(st, junk, sizeof(junk)), 0);
	cpu = cpu_ns();
	run_for(100);
	ck_assert_uint_lt(cpu_ns() - cpu, 50 * MS);
	ck_assert_uint_eq(stream_dropped(st), 0);
	ck_assert_uint_eq(stream_write(st, junk, 1), 0);
}
END_TEST

/* The reader is gone: no SIGPIPE, all is taken and counted, the room is back. */
START_TEST(test_stream_gone_consumer_takes_all)
{
	int fds[2];

	if (_i)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	else
		new_pipe(fds);
	new_stream(-1, fds[1], 4096);
	close(fds[0]);
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	ck_assert_uint_eq(stream_dropped(st), 12);
	ck_assert_uint_eq(stream_room(st), 4096);
	run_for(20);
}
END_TEST

START_TEST(test_stream_consumer_leaves_while_waited_for)
{
	static char junk[4096];
	uint64_t cpu;
	int fds[2];

	new_pipe(fds);
	new_stream(-1, fds[1], 4096);
	while (stream_write(st, junk, sizeof(junk)) == sizeof(junk))
		;
	close(fds[0]);
	cpu = cpu_ns();
	run_for(60);
	ck_assert_uint_lt(cpu_ns() - cpu, 40 * MS);
	ck_assert_uint_eq(stream_room(st), 4096);
	ck_assert_uint_ge(stream_dropped(st), 4096);
	ck_assert_uint_eq(stream_write(st, junk, sizeof(junk)), sizeof(junk));
}
END_TEST

/* A device that writes a long text as fast as there is room, and a slow reader. */
struct device {
	unsigned char *text;
	size_t len, at;
	unsigned rooms;
};

static void push(void *ctx)
{
	struct device *d = ctx;

	d->rooms++;
	while (d->at < d->len) {
		size_t want = d->len - d->at < 777 ? d->len - d->at : 777;
		size_t n = stream_write(st, d->text + d->at, want);

		d->at += n;
		if (n < want)
			return;
	}
	loop_stop(loop);
}

static void fill(struct device *d, size_t len)
{
	d->len = len;
	d->text = malloc(len);
	for (size_t i = 0; i < len; i++)
		d->text[i] = (unsigned char)(i * 7 + i / 251);
}

static void check_all_came(struct device *d, struct consumer *c, int fd)
{
	stream_flush(st, 10000 * MS);
	teardown();
	close(fd);
	pthread_join(c->thread, NULL);
	ck_assert_uint_eq(c->total, d->len);
	ck_assert_uint_eq(c->sum, sum_of(d->text, d->len, 0));
	free(d->text);
}

START_TEST(test_stream_backpressure_loses_nothing)
{
	struct consumer c = { .wait_ms = 20, .chunk = 1000 };
	struct device d = { 0 };
	int fds[2];

	if (_i == 1)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	else
		new_pipe(fds);
	/* root's pipe may not be opened again by another: one small write follows each POLLOUT */
	if (_i == 2 && geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	c.fd = fds[0];
	fill(&d, 2000000);
	new_stream(-1, fds[1], 8192);
	stream_on_room(st, push, &d);
	start_consumer(&c);
	push(&d);
	ck_assert_uint_lt(d.at, d.len);
	run_for(30000);
	/* how often depends on how the consumer is scheduled; that it happened does not */
	ck_assert_uint_gt(d.rooms, 0);
	check_all_came(&d, &c, fds[1]);
}
END_TEST

/* ---- a file; tests/unit/test_stream_file.c has one that hangs ---- */

static int new_file(void)
{
	char name[] = "/tmp/test_stream.XXXXXX";
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	return fd;
}

/* The file holds @before bytes of something and then just these. */
static void file_has(int fd, size_t before, const void *what, size_t len)
{
	unsigned char *got = malloc(len);

	ck_assert_int_eq(lseek(fd, 0, SEEK_END), before + len);
	ck_assert_int_eq(pread(fd, got, len, (off_t)before), len);
	ck_assert(!memcmp(got, what, len));
	free(got);
}

static atomic_uint file_rooms;

static void count_file_room(void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&file_rooms, 1);
}

/* Whoever writes to it is done when the bytes are in the ring buffer: the file is the kernel's workers' business. */
START_TEST(test_stream_file_is_written_by_nobody_who_prints)
{
	static char big[300000];
	int fd = new_file();

	memset(big, 'f', sizeof(big));
	new_stream(-1, fd, 0);
	stream_on_room(st, count_file_room, NULL);
	ck_assert_uint_eq(stream_write(st, big, sizeof(big)), 65536);
	ck_assert_uint_eq(stream_write(st, big, 1), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
	run_for(200);
	ck_assert_uint_eq(atomic_load(&file_rooms), 1);
	ck_assert_uint_eq(stream_room(st), 65536);
	file_has(fd, 0, big, 65536);
	ck_assert_uint_eq(stream_dropped(st), 0);
	close(fd);
}
END_TEST

static const char old_text[] = "what was there";

/* 0: a new one; 1: at its end; 2: '>>'; 3: O_NONBLOCK, for which the ring may refuse to wait. */
START_TEST(test_stream_file_gets_all_in_order)
{
	struct device d = { 0 };
	int fd = new_file();

	if (_i == 1 || _i == 2)
		ck_assert_int_eq(write(fd, old_text, sizeof(old_text)), sizeof(old_text));
	if (_i == 2)
		ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, _i == 2 ? O_APPEND : _i == 3 ? O_NONBLOCK : 0), 0);
	fill(&d, 2000000);
	new_stream(-1, fd, 8192);
	stream_on_room(st, push, &d);
	push(&d);
	ck_assert_uint_lt(d.at, d.len);
	run_for(30000);
	stream_flush(st, 10000 * MS);
	ck_assert_uint_gt(d.rooms, 1);
	ck_assert_uint_eq(stream_dropped(st), 0);
	file_has(fd, _i == 1 || _i == 2 ? sizeof(old_text) : 0, d.text, d.len);
	free(d.text);
	close(fd);
}
END_TEST

/* The place is the caller's, who may write there too: at once, as ever. */
START_TEST(test_stream_file_amid_what_is_there)
{
	static const char want[] = "what hello hello\n";
	int fd = new_file();

	ck_assert_int_eq(write(fd, old_text, sizeof(old_text)), sizeof(old_text));
	ck_assert_int_eq(lseek(fd, 5, SEEK_SET), 5);
	new_stream(-1, fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_APPEND, 0);
	ck_assert_uint_eq(stream_write(st, "hello ", 6), 6);
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	file_has(fd, 0, want, strlen(want));
	close(fd);
}
END_TEST

/* The loop ends at whatever moment of a transfer: the flush writes what is left, and nothing twice. */
START_TEST(test_stream_file_is_flushed)
{
	struct device d = { 0 };
	int fd = new_file();

	fill(&d, 60000);
	new_stream(-1, fd, 0);
	ck_assert_int_eq(loop_seal(loop), 0);
	loop_timer_set(&limit, _i ? (uint64_t)_i * 20000 : 1);
	ck_assert_uint_eq(stream_write(st, d.text, 30000), 30000);
	ck_assert_int_eq(loop_run(loop), 0);
	ck_assert_uint_eq(stream_write(st, d.text + 30000, 20000), 20000);
	stream_flush(st, 10000 * MS);
	ck_assert_uint_eq(stream_write(st, d.text + 50000, 10000), 10000);
	stream_flush(st, 10000 * MS);
	ck_assert_uint_eq(stream_dropped(st), 0);
	file_has(fd, 0, d.text, d.len);
	free(d.text);
	close(fd);
}
END_TEST

/* As with ulimit -f: what fits is there, the rest is lost; no signal ends us, and what comes later is tried again. */
START_TEST(test_stream_file_that_may_not_grow)
{
	const struct rlimit most = { .rlim_cur = 8192, .rlim_max = RLIM_INFINITY };
	struct device d = { 0 };
	int fd = new_file();
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ); /* as the program does */
	sigprocmask(SIG_BLOCK, &set, NULL);
	fill(&d, 20000);
	new_stream(-1, fd, 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &most), 0);
	ck_assert_uint_eq(stream_write(st, d.text, d.len), d.len);
	run_for(100);
	file_has(fd, 0, d.text, 8192);
	ck_assert_uint_eq(stream_dropped(st), d.len - 8192);
	ck_assert_uint_eq(stream_room(st), 65536);
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	stream_flush(st, 10000 * MS);
	ck_assert_uint_eq(stream_dropped(st), d.len - 8192 + 6);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_uint_eq(stream_write(st, hello, 6), 6);
	stream_flush(st, 10000 * MS);
	file_has(fd, 0, hello, 6);
	free(d.text);
	close(fd);
}
END_TEST

/* Writers on several threads; each byte arrives once. */
static void *write_bytes(void *arg)
{
	size_t sent = 0;

	while (sent < 100000) {
		char c = *(char *)arg;
		size_t n = stream_write(st, &c, 1);

		sent += n;
		if (!n)
			sched_yield();
	}
	return NULL;
}

static atomic_int writers;

static void *write_then_stop(void *arg)
{
	write_bytes(arg);
	if (atomic_fetch_sub(&writers, 1) == 1)
		loop_stop(loop);
	return NULL;
}

START_TEST(test_stream_writers_on_threads)
{
	struct consumer c = { 0 };
	char names[] = "abc";
	pthread_t t[3];
	int fds[2];

	new_pipe(fds);
	c.fd = fds[0];
	new_stream(-1, fds[1], 4096);
	start_consumer(&c);
	loop_timer_set(&limit, 50000 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	atomic_store(&writers, 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, write_then_stop, &names[i]), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	stream_flush(st, 5000 * MS);
	teardown();
	close(fds[1]);
	pthread_join(c.thread, NULL);
	ck_assert_uint_eq(c.total, 300000);
}
END_TEST

static void *write_beside(void *arg)
{
	for (unsigned i = 0; i < 20000; i++)
		ck_assert_int_eq(write(*(int *)arg, "log\n", 4), 4);
	return NULL;
}

/* Two threads of ours print, and somebody else writes by the same description, as 2>&1 has it: nobody overwrites. */
START_TEST(test_stream_file_that_others_write_to)
{
	char names[] = "ab", c;
	unsigned seen[256] = { 0 };
	int fd = new_file();
	pthread_t t[3];

	new_stream(-1, fd, 4096);
	loop_timer_set(&limit, 50000 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	atomic_store(&writers, 2);
	ck_assert_int_eq(pthread_create(&t[2], NULL, write_beside, &fd), 0);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, write_then_stop, &names[i]), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	stream_flush(st, 10000 * MS);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 200000 + 80000);
	for (off_t at = 0; pread(fd, &c, 1, at) == 1; at++)
		seen[(unsigned char)c]++;
	ck_assert_uint_eq(seen['a'], 100000);
	ck_assert_uint_eq(seen['b'], 100000);
	ck_assert_uint_eq(seen['l'], 20000);
	close(fd);
}
END_TEST

START_TEST(test_stream_flush_gives_up_in_time)
{
	static char junk[4096];
	uint64_t from;
	int fds[2];

	new_pipe(fds);
	new_stream(-1, fds[1], 4096);
	while (stream_write(st, junk, sizeof(junk)) == sizeof(junk))
		;
	from = clock_now_ns();
	stream_flush(st, 50 * MS);
	ck_assert_uint_ge(clock_now_ns() - from, 50 * MS);
	ck_assert_uint_lt(clock_now_ns() - from, 5000 * MS);
	ck_assert_uint_ge(stream_dropped(st), 4096);
}
END_TEST

START_TEST(test_stream_tail_is_the_end_of_what_was_written)
{
	char buf[8192], want[8192];
	int fd = open("/dev/null", O_WRONLY);

	new_stream(-1, fd, 0);
	ck_assert_uint_eq(stream_tail(st, buf, sizeof(buf)), 0);
	stream_write(st, "abc", 3);
	ck_assert_uint_eq(stream_tail(st, buf, sizeof(buf)), 3);
	ck_assert_mem_eq(buf, "abc", 3);
	ck_assert_uint_eq(stream_tail(st, buf, 2), 2);
	ck_assert_mem_eq(buf, "bc", 2);
	for (unsigned i = 0; i < sizeof(want); i++)
		want[i] = (char)(i % 253);
	for (unsigned i = 0; i < sizeof(want); i += 64)
		stream_write(st, want + i, 64);
	ck_assert_uint_eq(stream_tail(st, buf, sizeof(buf)), 4096);
	ck_assert_mem_eq(buf, want + sizeof(want) - 4096, 4096);
}
END_TEST

/* The last that was written, of all this many bytes. */
static void tail_is(const void *what, size_t len)
{
	char tail[4096];

	ck_assert_uint_eq(stream_tail(st, tail, sizeof(tail)), len);
	ck_assert_mem_eq(tail, what, len);
}

/* A reader that goes, as head(1) does, and then the guest panics; 0: into an empty ring, 1: into a full one. */
START_TEST(test_stream_tail_has_what_a_reader_that_left_did_not_read)
{
	static char junk[4096];
	int fds[2];

	new_pipe(fds);
	new_stream(-1, fds[1], 4096);
	if (_i) {
		memset(junk, 'j', sizeof(junk));
		while (stream_write(st, junk, sizeof(junk)) == sizeof(junk))
			;
		ck_assert_uint_eq(stream_room(st), 0);
		close(fds[0]);
		run_for(60);
		tail_is(junk, 4096);
	} else {
		ck_assert_uint_eq(stream_write(st, hello, 6), 6);
		close(fds[0]);
		ck_assert_uint_eq(stream_write(st, "read by nobody\n", 15), 15);
		tail_is("hello\nread by nobody\n", 21);
	}
	ck_assert_uint_eq(stream_write(st, "a pa", 4), 4);
	ck_assert_uint_eq(stream_write(st, "nic\n", 4), 4);
	stream_flush(st, MS);
	if (_i) {
		memcpy(junk + 4088, "a panic\n", 8);
		tail_is(junk, 4096);
		ck_assert_uint_ge(stream_dropped(st), 4096 + 8);
	} else {
		tail_is("hello\nread by nobody\na panic\n", 29);
		ck_assert_uint_eq(stream_dropped(st), 15 + 8);
	}
}
END_TEST

/* A reader that is stopped: what the flush has no time for, round the ring's end, is remembered behind what was read. */
START_TEST(test_stream_tail_has_what_was_not_flushed)
{
	struct device d = { 0 };
	size_t n, taken = 0;
	int fds[2];

	fill(&d, 1000000);
	new_pipe(fds);
	new_stream(-1, fds[1], 4096);
	do {
		n = stream_write(st, d.text + taken, 1001);
		taken += n;
	} while (n == 1001);
	ck_assert_uint_gt(taken, 4096);
	ck_assert_int_eq(read(fds[0], d.text, 1000), 1000);
	stream_flush(st, MS);
	ck_assert_uint_gt(stream_dropped(st), 0);
	tail_is(d.text + taken - 4096, 4096);
	free(d.text);
}
END_TEST

/* A full disk, too, and once each: not again when what comes later is tried. */
START_TEST(test_stream_tail_has_what_found_no_room)
{
	int fd = open("/dev/full", O_WRONLY);

	new_stream(-1, fd, 0);
	ck_assert_uint_eq(stream_write(st, "one\n", 4), 4);
	run_for(20);
	ck_assert_uint_eq(stream_write(st, "two\n", 4), 4);
	stream_flush(st, 100 * MS);
	tail_is("one\ntwo\n", 8);
	ck_assert_uint_eq(stream_dropped(st), 8);
}
END_TEST

/* ---- terminals ---- */

static int open_pty(int *ret_slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios raw;

	ck_assert_int_ge(master, 0);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	*ret_slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(*ret_slave, 0);
	ck_assert_int_eq(tcgetattr(*ret_slave, &raw), 0);
	cfmakeraw(&raw);
	ck_assert_int_eq(tcsetattr(*ret_slave, TCSANOW, &raw), 0);
	return master;
}

/* 0: our output is the terminal; 1: we are the master (which must not be opened again). */
START_TEST(test_stream_terminal_backpressure_loses_nothing)
{
	struct consumer c = { .wait_ms = 20 };
	struct device d = { 0 };
	int slave, master = open_pty(&slave);
	int out = _i ? master : slave;

	c.fd = _i ? slave : master;
	fill(&d, _i ? 20000 : 300000);
	new_stream(-1, out, 4096);
	ck_assert_int_eq(fcntl(out, F_GETFL) & O_NONBLOCK, 0);
	stream_on_room(st, push, &d);
	start_consumer(&c);
	push(&d);
	run_for(30000);
	check_all_came(&d, &c, out);
}
END_TEST

START_TEST(test_stream_stopped_terminal_blocks_nobody)
{
	int slave, master = open_pty(&slave);
	struct device d = { 0 };

	fill(&d, 300000);
	new_stream(-1, _i ? master : slave, 4096);
	stream_on_room(st, push, &d);
	push(&d);
	run_for(200);
	ck_assert_uint_lt(d.at, d.len);
	ck_assert_uint_lt(stream_room(st), 4096);
	free(d.text);
}
END_TEST

/* ---- a pseudo-terminal of ours ---- */

/* As pty_open() leaves it. */
static int our_pty(char name[32])
{
	int slave, master = open_pty(&slave);

	ck_assert_int_eq(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	snprintf(name, 32, "%s", ptsname(master));
	close(slave);
	return master;
}

static void new_pty_stream(int master)
{
	struct stream_cfg cfg = { .in_fd = master, .out_fd = master, .ring_size = 4096, .pty = true };

	ck_assert_int_eq(stream_new(loop, &cfg, &st), 0);
}

static size_t take_none(void *ctx, const uint8_t *buf, size_t len)
{
	(void)ctx, (void)buf, (void)len;
	return 0;
}

/* Nobody is there: all vanishes, nobody waits, and it costs nothing to speak of; the last of it is remembered. */
START_TEST(test_stream_pty_nobody_there)
{
	char name[32], tail[8];
	int master = our_pty(name);
	uint64_t cpu;

	new_pty_stream(master);
	stream_on_input(st, take_none, NULL);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_uint_eq(stream_write(st, "0123456789", 10), 10);
	cpu = cpu_ns();
	run_for(1000);
	ck_assert_uint_lt(cpu_ns() - cpu, 100 * MS);
	ck_assert_uint_eq(stream_write(st, "the last", 8), 8);
	ck_assert_uint_eq(stream_tail(st, tail, 8), 8);
	ck_assert(!memcmp(tail, "the last", 8));
	ck_assert_uint_eq(stream_dropped(st), 0);
	close(master);
}
END_TEST

static struct visitor {
	char name[32], said[64];
	size_t len;
	struct loop_timer timer;
	int fd;
	unsigned step;
	char got[64];
	size_t got_len;
} visitor;

static size_t take_typed(void *ctx, const uint8_t *buf, size_t len)
{
	(void)ctx;
	ck_assert_uint_le(visitor.got_len + len, sizeof(visitor.got));
	memcpy(visitor.got + visitor.got_len, buf, len);
	visitor.got_len += len;
	return len;
}

/* Comes, is spoken to, types, goes; and once more. */
static void visit(void *ctx)
{
	ssize_t n;

	(void)ctx;
	switch (visitor.step++ % 4) {
	case 0:
		visitor.fd = open(visitor.name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
		ck_assert_int_ge(visitor.fd, 0);
		break;
	case 1:
		ck_assert_uint_eq(stream_write(st, "hello", 5), 5);
		ck_assert_int_eq(write(visitor.fd, "typed", 5), 5);
		break;
	case 2:
		n = read(visitor.fd, visitor.said + visitor.len, sizeof(visitor.said) - visitor.len);
		visitor.len += n > 0 ? (size_t)n : 0;
		close(visitor.fd);
		break;
	case 3:
		ck_assert_uint_eq(stream_write(st, "lost", 4), 4);
		break;
	}
	if (visitor.step == 8)
		loop_stop(loop);
	else
		loop_timer_set(&visitor.timer, 600 * MS);
}

START_TEST(test_stream_pty_visitors_come_and_go)
{
	int master;

	memset(&visitor, 0, sizeof(visitor));
	master = our_pty(visitor.name);
	new_pty_stream(master);
	stream_on_input(st, take_typed, NULL);
	ck_assert_int_eq(loop_timer_init(loop, &visitor.timer, visit, NULL), 0);
	loop_timer_set(&visitor.timer, 100 * MS);
	run_for(20000);
	ck_assert_uint_eq(visitor.step, 8);
	ck_assert_uint_eq(visitor.len, 10);
	ck_assert(!memcmp(visitor.said, "hellohello", 10));
	ck_assert_uint_eq(visitor.got_len, 10);
	ck_assert(!memcmp(visitor.got, "typedtyped", 10));
	loop_timer_fini(&visitor.timer);
	close(master);
}
END_TEST

/* ---- clients of a socket ---- */

/* Clients are a thread of their own, that does what a test says and then ends the loop. */
static struct {
	int listener;
	struct sockaddr_un at;
	socklen_t at_len;
	pthread_t thread;
	char got[65536];       /* what the receiver took */
	size_t got_len;
	atomic_size_t room;    /* and how much it takes */
	atomic_uint rooms;     /* calls of the listener for room */
} clients;

static size_t take_of_client(void *ctx, const uint8_t *buf, size_t len)
{
	size_t n = atomic_load(&clients.room);

	(void)ctx;
	n = n < len ? n : len;
	ck_assert_uint_le(clients.got_len + n, sizeof(clients.got));
	memcpy(clients.got + clients.got_len, buf, n);
	clients.got_len += n;
	atomic_fetch_sub(&clients.room, n);
	return n;
}

static void count_room(void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&clients.rooms, 1);
}

static void new_listening_stream(size_t ring)
{
	struct stream_cfg cfg = { .ring_size = ring, .listens = true };

	signal(SIGPIPE, SIG_IGN);
	memset(&clients, 0, sizeof(clients));
	atomic_store(&clients.room, sizeof(clients.got));
	clients.at = (struct sockaddr_un){ .sun_family = AF_UNIX }; /* the kernel gives it a name */
	clients.at_len = sizeof(clients.at);
	clients.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(clients.listener, (struct sockaddr *)&clients.at, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(clients.listener, 8), 0);
	ck_assert_int_eq(getsockname(clients.listener, (struct sockaddr *)&clients.at, &clients.at_len), 0);
	cfg.in_fd = cfg.out_fd = clients.listener;
	ck_assert_int_eq(stream_new(loop, &cfg, &st), 0);
	stream_on_room(st, count_room, NULL);
	stream_on_input(st, take_of_client, NULL);
}

static int client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&clients.at, clients.at_len), 0);
	return fd;
}

/* Reads exactly that; what is there in a while, or it fails. */
static void client_sees(int fd, const char *what, size_t len)
{
	struct timeval limit_of = { .tv_sec = 20 };
	char buf[8192];
	size_t done = 0;

	ck_assert_uint_le(len, sizeof(buf));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit_of, sizeof(limit_of));
	while (done < len) {
		ssize_t n = read(fd, buf + done, len - done);

		ck_assert_msg(n > 0, "%zd, %s", n, strerror(errno));
		done += (size_t)n;
	}
	ck_assert(!memcmp(buf, what, len));
}

static bool client_has_something(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

static void run_with_arg(void *(*script)(void *arg), void *arg)
{
	ck_assert_int_eq(pthread_create(&clients.thread, NULL, script, arg), 0);
	run_for(40000);
	pthread_join(clients.thread, NULL);
	close(clients.listener);
}

static void run_with(void *(*script)(void *arg))
{
	run_with_arg(script, NULL);
}

/* What was read a moment ago may still be in our ring. */
static void say(const char *text)
{
	size_t len = strlen(text), done = 0;

	for (unsigned i = 0; i < 2000 && done < len; i++) {
		done += stream_write(st, text + done, len - done);
		if (done < len)
			usleep(10000);
	}
	ck_assert_uint_eq(done, len);
}

static void wait_for_room_told(unsigned n)
{
	for (unsigned i = 0; i < 2000 && atomic_load(&clients.rooms) < n; i++)
		usleep(10000);
	ck_assert_uint_ge(atomic_load(&clients.rooms), n);
}

/* It is not told that its client has gone, so what is said then may still be that one's. */
static void say_when_gone(const char *text)
{
	usleep(300000);
	say(text);
}

static char numbered[10000];

static void number(void)
{
	for (size_t i = 0; i < sizeof(numbered); i++)
		numbered[i] = (char)('0' + (i * 7 + i / 10) % 10);
}

static void *late_client(void *arg)
{
	int fd;

	if (arg) {
		for (size_t i = 0; i < sizeof(numbered); i += 100)
			ck_assert_uint_eq(stream_write(st, numbered + i, 100), 100);
	} else {
		ck_assert_uint_eq(stream_write(st, numbered, sizeof(numbered)), sizeof(numbered));
	}
	fd = client();
	client_sees(fd, numbered + sizeof(numbered) - 4096, 4096);
	say("and now");
	client_sees(fd, "and now", 7);
	ck_assert(!client_has_something(fd, 50));
	close(fd);
	loop_stop(loop);
	return NULL;
}

/* Nobody is there: nobody waits, and the newest bytes are who comes' first; in one piece or in many. */
START_TEST(test_stream_client_reads_first_what_nobody_was_there_for)
{
	number();
	new_listening_stream(4096);
	run_with_arg(late_client, _i ? &clients : NULL);
	ck_assert_uint_eq(stream_dropped(st), 0);
}
END_TEST

static void *one_after_the_other(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 3; i++) {
		int fd = client();

		if (i)
			client_sees(fd, "between", 7);
		say("hello");
		client_sees(fd, "hello", 5);
		ck_assert_int_eq(write(fd, "typed", 5), 5);
		close(fd);
		say_when_gone("between");
	}
	loop_stop(loop);
	return NULL;
}

START_TEST(test_stream_clients_come_and_go)
{
	new_listening_stream(4096);
	run_with(one_after_the_other);
	ck_assert_uint_eq(clients.got_len, 15);
	ck_assert(!memcmp(clients.got, "typedtypedtyped", 15));
}
END_TEST

static void *two_at_a_time(void *arg)
{
	int first = client(), second;

	(void)arg;
	say("one");
	client_sees(first, "one", 3);
	second = client();
	ck_assert_int_eq(write(second, "b", 1), 1);
	say("more");
	client_sees(first, "more", 4);
	ck_assert(!client_has_something(second, 100));
	ck_assert_int_eq(write(first, "a", 1), 1);
	usleep(50000);
	close(first);
	say_when_gone("two");
	client_sees(second, "two", 3);
	close(second);
	loop_stop(loop);
	return NULL;
}

START_TEST(test_stream_second_client_waits_for_the_first)
{
	new_listening_stream(4096);
	run_with(two_at_a_time);
	ck_assert_uint_eq(clients.got_len, 2);
	ck_assert(!memcmp(clients.got, "ab", 2));
}
END_TEST

/* As a guest that is told of room: it waits for that, and is not lied to. */
static void *does_not_read(void *arg)
{
	size_t all = 0, n;
	int fd = client();

	(void)arg;
	say("a");
	client_sees(fd, "a", 1);
	/* a socket's buffer, and our ring */
	for (unsigned full = 0; full < 20; full = n || stream_room(st) ? 0 : full + 1) {
		n = stream_write(st, numbered, 1000);
		all += n;
		ck_assert_uint_lt(all, 4 * MIB);
		usleep(n ? 100 : 10000);
	}
	ck_assert_uint_eq(stream_write(st, "x", 1), 0);
	/* it goes: there is room at once, for anything */
	n = atomic_load(&clients.rooms);
	close(fd);
	wait_for_room_told((unsigned)n + 1);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(stream_write(st, numbered, 1000), 1000);
	fd = client();
	client_sees(fd, numbered + 904, 96);
	client_sees(fd, numbered, 1000);
	close(fd);
	loop_stop(loop);
	return NULL;
}

START_TEST(test_stream_client_that_does_not_read_holds_up_nobody_else)
{
	uint64_t cpu = cpu_ns();

	number();
	new_listening_stream(4096);
	run_with(does_not_read);
	ck_assert_uint_lt(cpu_ns() - cpu, 20 * NS_PER_SEC);
	ck_assert_uint_eq(stream_dropped(st), 0);
}
END_TEST

static void *half_closes(void *arg)
{
	int fd = client(), next;

	(void)arg;
	ck_assert_int_eq(write(fd, "bye", 3), 3);
	shutdown(fd, SHUT_WR);
	usleep(700000); /* longer than it takes to look again */
	say("still there");
	client_sees(fd, "still there", 11);
	next = client();
	ck_assert(!client_has_something(next, 300));
	close(fd);
	say_when_gone("next");
	client_sees(next, "next", 4);
	close(next);
	loop_stop(loop);
	return NULL;
}

/* It sends no more and reads on. */
START_TEST(test_stream_client_that_ended_its_own_way_is_written_to)
{
	uint64_t cpu = cpu_ns();

	new_listening_stream(4096);
	run_with(half_closes);
	ck_assert_uint_lt(cpu_ns() - cpu, NS_PER_SEC);
	ck_assert_uint_eq(clients.got_len, 3);
}
END_TEST

static void take_more(size_t n)
{
	atomic_fetch_add(&clients.room, n);
	stream_resume_input(st);
}

static void *sends_and_goes(void *arg)
{
	int fd = client();

	(void)arg;
	ck_assert_int_eq(write(fd, numbered, sizeof(numbered)), sizeof(numbered));
	close(fd);
	usleep(300000);
	for (unsigned i = 0; i < 100; i++) {
		take_more(100);
		usleep(3000);
	}
	/* another one's comes behind it */
	fd = client();
	ck_assert_int_eq(write(fd, "!", 1), 1);
	take_more(1);
	say("hello");
	client_sees(fd, "hello", 5);
	usleep(100000);
	close(fd);
	loop_stop(loop);
	return NULL;
}

/* A script that has gone before the guest took the first byte of it. */
START_TEST(test_stream_client_has_sent_what_it_sent)
{
	number();
	new_listening_stream(4096);
	atomic_store(&clients.room, 0);
	run_with(sends_and_goes);
	ck_assert_uint_eq(clients.got_len, sizeof(numbered) + 1);
	ck_assert(!memcmp(clients.got, numbered, sizeof(numbered)));
	ck_assert_int_eq(clients.got[sizeof(numbered)], '!');
}
END_TEST

static void *deaf_guest(void *arg)
{
	int fd = client();

	(void)arg;
	ck_assert_int_eq(write(fd, numbered, sizeof(numbered)), sizeof(numbered));
	usleep(100000);
	close(fd);
	say_when_gone("kept");
	fd = client();
	client_sees(fd, "kept", 4);
	ck_assert_int_eq(write(fd, "second", 6), 6);
	usleep(300000);
	/* the guest hears again: what was ours already, then who is there */
	take_more(sizeof(numbered));
	usleep(300000);
	close(fd);
	loop_stop(loop);
	return NULL;
}

/* A guest that takes nothing keeps nobody from its console. */
START_TEST(test_stream_client_is_followed_though_the_guest_is_deaf)
{
	number();
	new_listening_stream(4096);
	atomic_store(&clients.room, 0);
	run_with(deaf_guest);
	ck_assert_uint_gt(clients.got_len, 6);
	ck_assert_uint_lt(clients.got_len, sizeof(numbered));
	ck_assert(!memcmp(clients.got, numbered, clients.got_len - 6));
	ck_assert(!memcmp(clients.got + clients.got_len - 6, "second", 6));
}
END_TEST

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int i = 0; i < 1000; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void *very_many(void *arg)
{
	unsigned before;
	char c = 0;
	int fd;

	(void)arg;
	fd = client();
	say("a");
	client_sees(fd, "a", 1);
	before = open_fds() - 2;
	close(fd);
	for (unsigned i = 0; i < 300; i++) {
		fd = client();
		if (i % 3)
			ck_assert_int_eq(write(fd, numbered, i), i);
		if (i % 2)
			say("some");
		if (i % 5 == 1)
			shutdown(fd, SHUT_RD);
		if (i % 7 == 1)
			usleep(1000);
		close(fd);
	}
	fd = client();
	say("the end");
	while (read(fd, &c, 1) == 1 && c != 'd')
		;
	ck_assert_int_eq(c, 'd');
	close(fd);
	for (unsigned i = 0; i < 500 && open_fds() > before; i++)
		usleep(10000);
	ck_assert_uint_le(open_fds(), before);
	loop_stop(loop);
	return NULL;
}

START_TEST(test_stream_many_clients_leave_nothing)
{
	number();
	new_listening_stream(4096);
	run_with(very_many);
}
END_TEST

static void *stays(void *arg)
{
	int *fd = arg;

	*fd = client();
	say("a");
	client_sees(*fd, "a", 1);
	loop_stop(loop);
	return NULL;
}

/* At the end what is left is written, as far as it is read in time. */
START_TEST(test_stream_client_is_flushed)
{
	static char all[256 * 1024];
	uint64_t begin;
	char tail[8];
	int fd;

	memset(all, 'y', sizeof(all));
	new_listening_stream(512 * 1024);
	run_with_arg(stays, &fd);
	if (_i) {
		ck_assert_uint_eq(stream_write(st, all, sizeof(all)), sizeof(all));
		ck_assert_uint_eq(stream_write(st, all, sizeof(all)), sizeof(all));
		begin = clock_now_ns();
		stream_flush(st, 100 * MS);
		ck_assert_uint_lt(clock_now_ns() - begin, 20 * NS_PER_SEC);
		ck_assert_uint_gt(stream_dropped(st), 0);
	} else {
		say("last words");
		stream_flush(st, NS_PER_SEC);
		client_sees(fd, "last words", 10);
		ck_assert_uint_eq(stream_dropped(st), 0);
		ck_assert_uint_eq(stream_tail(st, tail, 5), 5);
		ck_assert(!memcmp(tail, "words", 5));
	}
	close(fd);
}
END_TEST

static void *comes_and_goes(void *arg)
{
	if (arg)
		close(client());
	say_when_gone("for nobody");
	loop_stop(loop);
	return NULL;
}

/* With nobody there the end waits for nobody, and it is known what was said. */
START_TEST(test_stream_without_a_client_the_end_is_at_once)
{
	char tail[16];

	new_listening_stream(4096);
	run_with_arg(comes_and_goes, _i ? &clients : NULL);
	stream_flush(st, 20 * NS_PER_SEC);
	ck_assert_uint_eq(stream_tail(st, tail, sizeof(tail)), 10);
	ck_assert(!memcmp(tail, "for nobody", 10));
	ck_assert_uint_eq(stream_dropped(st), 0);
}
END_TEST

static void *listener_ends(void *arg)
{
	int fd;

	(void)arg;
	shutdown(clients.listener, SHUT_RDWR);
	usleep(400000);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&clients.at, clients.at_len), -1);
	close(fd);
	for (unsigned i = 0; i < 100; i++)
		say("0123456789");
	loop_stop(loop);
	return NULL;
}

START_TEST(test_stream_listener_that_was_shut_is_left_alone)
{
	uint64_t cpu = cpu_ns();

	new_listening_stream(4096);
	run_with(listener_ends);
	ck_assert_uint_lt(cpu_ns() - cpu, NS_PER_SEC / 2);
}
END_TEST

/* ---- input ---- */

struct taker {
	char got[4096];
	size_t len, room, stop_at;
	unsigned calls;
};

static size_t take(void *ctx, const uint8_t *buf, size_t len)
{
	struct taker *k = ctx;
	size_t n = len < k->room ? len : k->room;

	k->calls++;
	if (k->len + n > sizeof(k->got))
		k->len = 0;
	memcpy(k->got + k->len, buf, n);
	k->len += n;
	k->room -= n;
	if (k->stop_at && k->len >= k->stop_at)
		loop_stop(loop);
	return n;
}

START_TEST(test_stream_input_reaches_receiver)
{
	struct taker k = { .room = 4096, .stop_at = 5 };
	int fds[2];

	if (_i)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	else
		new_pipe(fds);
	new_stream(fds[0], -1, 0);
	stream_on_input(st, take, &k);
	ck_assert_int_eq(write(fds[1], "keys!", 5), 5);
	run_for(2000);
	ck_assert_mem_eq(k.got, "keys!", 5);
}
END_TEST

START_TEST(test_stream_input_without_receiver_waits)
{
	int fds[2];
	char c;

	new_pipe(fds);
	new_stream(fds[0], -1, 0);
	ck_assert_int_eq(write(fds[1], "k", 1), 1);
	run_for(20);
	ck_assert_int_eq(read(fds[0], &c, 1), 1);
}
END_TEST

static void *flood(void *arg)
{
	static char junk[65536];
	int fd = *(int *)arg;

	signal(SIGPIPE, SIG_IGN);
	while (write(fd, junk, sizeof(junk)) > 0)
		;
	return NULL;
}

/* A receiver without room: the flood waits in the kernel, and costs no CPU. */
START_TEST(test_stream_input_flood_is_held_back)
{
	struct taker k = { .room = 100 };
	uint64_t cpu;
	pthread_t t;
	int fds[2];

	new_pipe(fds);
	new_stream(fds[0], -1, 0);
	stream_on_input(st, take, &k);
	ck_assert_int_eq(pthread_create(&t, NULL, flood, &fds[1]), 0);
	usleep(20000);
	cpu = cpu_ns();
	run_for(100);
	ck_assert_uint_lt(cpu_ns() - cpu, 50 * MS);
	ck_assert_uint_eq(k.len, 100);
	ck_assert_uint_eq(k.calls, 1);
	/* let the flooder go */
	teardown();
	close(fds[0]);
	pthread_join(t, NULL);
}
END_TEST

/* A small FIFO that another thread empties, as a guest does; it resumes after each emptying. */
static atomic_size_t fifo_used, fifo_total;
static uint32_t fifo_sum;

static size_t fifo_take(void *ctx, const uint8_t *buf, size_t len)
{
	size_t room = 16 - atomic_load(&fifo_used);
	size_t n = len < room ? len : room;

	(void)ctx;
	fifo_sum = sum_of(buf, n, fifo_sum);
	atomic_fetch_add(&fifo_used, n);
	if (atomic_fetch_add(&fifo_total, n) + n == 50000)
		loop_stop(loop);
	return n;
}

static void *fifo_guest(void *arg)
{
	while (atomic_load(&fifo_total) < 50000) {
		if (!atomic_exchange(&fifo_used, 0))
			sched_yield();
		stream_resume_input(arg);
	}
	return NULL;
}

static void *feed(void *arg)
{
	struct device d = { 0 };

	fill(&d, 50000);
	while (d.at < d.len) {
		ssize_t n = write(*(int *)arg, d.text + d.at, d.len - d.at < 997 ? d.len - d.at : 997);

		ck_assert_int_gt(n, 0);
		d.at += (size_t)n;
	}
	free(d.text);
	return NULL;
}

START_TEST(test_stream_input_resumed_by_thread_loses_nothing)
{
	struct device d = { 0 };
	pthread_t guest, feeder;
	int fds[2];

	new_pipe(fds);
	new_stream(fds[0], -1, 0);
	stream_on_input(st, fifo_take, NULL);
	loop_timer_set(&limit, 50000 * MS);
	ck_assert_int_eq(loop_seal(loop), 0);
	ck_assert_int_eq(pthread_create(&feeder, NULL, feed, &fds[1]), 0);
	ck_assert_int_eq(pthread_create(&guest, NULL, fifo_guest, st), 0);
	ck_assert_int_eq(loop_run(loop), 0);
	ck_assert_uint_eq(atomic_load(&fifo_total), 50000);
	pthread_join(guest, NULL);
	pthread_join(feeder, NULL);
	fill(&d, 50000);
	ck_assert_uint_eq(fifo_sum, sum_of(d.text, d.len, 0));
	free(d.text);
}
END_TEST

START_TEST(test_stream_input_end_stops_for_good)
{
	struct taker k = { .room = 4096 };
	uint64_t cpu;
	int fds[2];

	switch (_i) {
	case 0:
		new_pipe(fds);
		break;
	case 1:
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		break;
	case 2:
		fds[0] = open("/dev/null", O_RDONLY);
		fds[1] = dup(fds[0]);
		break;
	default:
		/* reads give EISDIR */
		fds[0] = open("/", O_RDONLY | O_DIRECTORY);
		fds[1] = dup(fds[0]);
		break;
	}
	if (_i < 2)
		ck_assert_int_eq(write(fds[1], "bye", 3), 3);
	close(fds[1]);
	new_stream(fds[0], -1, 0);
	stream_on_input(st, take, &k);
	cpu = cpu_ns();
	run_for(100);
	ck_assert_uint_lt(cpu_ns() - cpu, 50 * MS);
	ck_assert_uint_eq(k.len, _i < 2 ? 3 : 0);
}
END_TEST

START_TEST(test_stream_input_file_is_read_to_the_end)
{
	struct taker k = { .room = 4000 };
	char name[] = "/tmp/test_stream.XXXXXX", text[3000];
	int fd = mkstemp(name);

	unlink(name);
	memset(text, 't', sizeof(text));
	ck_assert_int_eq(write(fd, text, sizeof(text)), sizeof(text));
	lseek(fd, 0, SEEK_SET);
	new_stream(fd, -1, 0);
	stream_on_input(st, take, &k);
	run_for(50);
	ck_assert_uint_eq(k.len, sizeof(text));
}
END_TEST

START_TEST(test_stream_terminal_hangup_ends_input)
{
	struct taker k = { .room = 4096 };
	int slave, master = open_pty(&slave);
	uint64_t cpu;

	new_stream(slave, -1, 0);
	stream_on_input(st, take, &k);
	ck_assert_int_eq(write(master, "x", 1), 1);
	close(master);
	cpu = cpu_ns();
	run_for(100);
	ck_assert_uint_lt(cpu_ns() - cpu, 50 * MS);
}
END_TEST

static void add_output(TCase *t)
{
	tcase_add_test(t, test_stream_write_on_loop_is_shown_at_once);
	tcase_add_test(t, test_stream_write_of_thread_is_shown_by_loop);
	tcase_add_test(t, test_stream_shared_description_stays_blocking);
	tcase_add_test(t, test_stream_bad_arguments_refused);
	tcase_add_test(t, test_stream_listener_after_the_seal_is_refused);
	tcase_add_test(t, test_stream_without_output_takes_all);
	tcase_add_test(t, test_stream_null_is_written_plainly);
	tcase_add_test(t, test_stream_file_is_written_by_nobody_who_prints);
	tcase_add_loop_test(t, test_stream_file_gets_all_in_order, 0, 4);
	tcase_add_test(t, test_stream_file_amid_what_is_there);
	tcase_add_loop_test(t, test_stream_file_is_flushed, 0, 10);
	tcase_add_test(t, test_stream_file_that_may_not_grow);
	tcase_add_test(t, test_stream_file_that_others_write_to);
	tcase_add_test(t, test_stream_full_disk_drops_and_goes_on);
	tcase_add_loop_test(t, test_stream_stopped_consumer_blocks_nobody, 0, 2);
	tcase_add_loop_test(t, test_stream_gone_consumer_takes_all, 0, 2);
	tcase_add_test(t, test_stream_consumer_leaves_while_waited_for);
	tcase_add_loop_test(t, test_stream_backpressure_loses_nothing, 0, 3);
	tcase_add_test(t, test_stream_writers_on_threads);
	tcase_add_test(t, test_stream_flush_gives_up_in_time);
	tcase_add_test(t, test_stream_tail_is_the_end_of_what_was_written);
	tcase_add_loop_test(t, test_stream_tail_has_what_a_reader_that_left_did_not_read, 0, 2);
	tcase_add_test(t, test_stream_tail_has_what_was_not_flushed);
	tcase_add_test(t, test_stream_tail_has_what_found_no_room);
	tcase_add_loop_test(t, test_stream_terminal_backpressure_loses_nothing, 0, 2);
	tcase_add_test(t, test_stream_pty_nobody_there);
	tcase_add_test(t, test_stream_pty_visitors_come_and_go);
	tcase_add_loop_test(t, test_stream_stopped_terminal_blocks_nobody, 0, 2);
}

static void add_input(TCase *t)
{
	tcase_add_loop_test(t, test_stream_input_reaches_receiver, 0, 2);
	tcase_add_test(t, test_stream_input_without_receiver_waits);
	tcase_add_test(t, test_stream_input_flood_is_held_back);
	tcase_add_test(t, test_stream_input_resumed_by_thread_loses_nothing);
	tcase_add_loop_test(t, test_stream_input_end_stops_for_good, 0, 4);
	tcase_add_test(t, test_stream_input_file_is_read_to_the_end);
	tcase_add_test(t, test_stream_terminal_hangup_ends_input);
}

static void add_clients(TCase *t)
{
	tcase_add_loop_test(t, test_stream_client_reads_first_what_nobody_was_there_for, 0, 2);
	tcase_add_test(t, test_stream_clients_come_and_go);
	tcase_add_test(t, test_stream_second_client_waits_for_the_first);
	tcase_add_test(t, test_stream_client_that_does_not_read_holds_up_nobody_else);
	tcase_add_test(t, test_stream_client_that_ended_its_own_way_is_written_to);
	tcase_add_test(t, test_stream_client_has_sent_what_it_sent);
	tcase_add_test(t, test_stream_client_is_followed_though_the_guest_is_deaf);
	tcase_add_test(t, test_stream_many_clients_leave_nothing);
	tcase_add_loop_test(t, test_stream_client_is_flushed, 0, 2);
	tcase_add_loop_test(t, test_stream_without_a_client_the_end_is_at_once, 0, 2);
	tcase_add_test(t, test_stream_listener_that_was_shut_is_left_alone);
}

static bool ring_is_denied(void)
{
	struct uring_facts f;

	uring_probe(&f);
	return f.error == -EPERM || f.error == -ENOSYS;
}

int main(void)
{
	Suite *s = suite_create("stream");
	TCase *t = tcase_create("stream");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	add_output(t);
	add_input(t);
	add_clients(t);
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
