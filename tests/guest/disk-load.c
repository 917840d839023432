/*
 * disk-load PATH BYTES DEPTH SECONDS random|in-turn: reads of BYTES each past the page cache, DEPTH of them at a time.
 *
 * Each of DEPTH processes reads again and again until the time is over: at places that look random, or one behind the other
 * in a share of its own. Says "disk-load: N reads in M us"; ends with 0 where none failed.
 */
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/time_types.h>
#include <stddef.h>

#include "start.h"

#define MAX_DEPTH 256
#define MAX_BYTES (16ul << 20)
#define SIGCHLD 17
#define CLOCK_MONOTONIC 1

struct tally {
	unsigned long reads, failed;
};

static struct tally *tallies; /* shared by all processes */
static unsigned long bytes, blocks, depth, stop_us;

static void die(const char *what)
{
	say("disk-load: ");
	say(what);
	say("\n");
	sys3(__NR_exit_group, 1, 0, 0);
}

static unsigned long now_us(void)
{
	struct __kernel_timespec t;

	sys3(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0);
	return (unsigned long)t.tv_sec * 1000000 + (unsigned long)t.tv_nsec / 1000;
}

static void *memory(unsigned long size, int flags)
{
	long p = sys6(__NR_mmap, 0, (long)size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (p < 0)
		die("no memory");
	return (void *)p;
}

static unsigned long next_block(unsigned long i, int random)
{
	static unsigned long x, turn;

	if (!random)
		return blocks / depth * i + turn++ % (blocks / depth);
	x = x ? x : 88172645463325252ul + i;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % blocks;
}

static void read_on(long fd, unsigned long i, int random)
{
	void *buf = memory(bytes, MAP_PRIVATE | MAP_POPULATE);

	while (now_us() < stop_us) {
		unsigned long at = next_block(i, random) * bytes;

		if (sys6(__NR_pread64, fd, (long)buf, (long)bytes, (long)at, 0, 0) == (long)bytes)
			tallies[i].reads++;
		else
			tallies[i].failed++;
	}
	sys3(__NR_exit_group, 0, 0, 0);
}

static void start_c_args(const char *const *argv)
{
	unsigned long size = 0, reads = 0, failed = 0, start, end;
	long fd = sys6(__NR_openat, AT_FDCWD, (long)argv[1], O_RDONLY | O_DIRECT, 0, 0, 0);

	bytes = to_number(argv[2]);
	depth = to_number(argv[3]);
	if (fd < 0 || sys3(__NR_ioctl, fd, BLKGETSIZE64, (long)&size))
		die("no such block device");
	if (!bytes || bytes > MAX_BYTES || !depth || depth > MAX_DEPTH || size / bytes < depth)
		die("BYTES or DEPTH does not do");
	blocks = size / bytes;
	tallies = memory(MAX_DEPTH * sizeof(*tallies), MAP_SHARED | MAP_POPULATE);
	start = now_us();
	stop_us = start + to_number(argv[4]) * 1000000;
	for (unsigned long i = 0; i < depth; i++) {
		long pid = sys6(__NR_clone, SIGCHLD, 0, 0, 0, 0, 0);

		if (!pid)
			read_on(fd, i, argv[5][0] == 'r');
		if (pid < 0)
			die("no more processes");
	}
	for (unsigned long i = 0; i < depth; i++)
		sys6(__NR_wait4, -1, 0, 0, 0, 0, 0);
	end = now_us();
	for (unsigned long i = 0; i < depth; i++) {
		reads += tallies[i].reads;
		failed += tallies[i].failed;
	}
	say("disk-load: ");
	say_number(reads);
	say(" reads in ");
	say_number(end - start);
	say(" us\n");
	if (failed)
		die("some failed");
	sys3(__NR_exit_group, 0, 0, 0);
}

void start_c(const unsigned long *stack)
{
	if (stack[0] != 6)
		die("usage: disk-load PATH BYTES DEPTH SECONDS random|in-turn");
	start_c_args((const char *const *)(stack + 1));
	for (;;)
		;
}
