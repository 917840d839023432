// SPDX-License-Identifier: BSD-3-Clause
/*
 * runs - runs a command again and again and prints how long it took
 *
 * usage: runs COUNT COMMAND [ARGS...]
 *
 * Prints "median min max mean" in microseconds from before the child exists until it was waited
 * for, by CLOCK_MONOTONIC (under a counted clock: instructions). Between runs the machine rests, so that what the
 * kernel clears up later, of namespaces above all, is not part of the next one. The child's standard input
 * and output are /dev/null. Ends with 1 if a run fails.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

#define REST_US 20000

/* Nanoseconds of one run; 0: it failed. */
static uint64_t one_run(char **argv, const posix_spawn_file_actions_t *fa)
{
	uint64_t start = now_ns();
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], fa, NULL, argv, environ) || waitpid(pid, &status, 0) != pid)
		return 0;
	return status ? 0 : now_ns() - start;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[1]) : 0;
	posix_spawn_file_actions_t fa;
	uint64_t *ns;
	double sum = 0;

	if (count < 1)
		return 2;
	ns = calloc((size_t)count, sizeof(*ns));
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	for (int i = 0; i < count; i++) {
		ns[i] = one_run(argv + 2, &fa);
		if (!ns[i]) {
			fprintf(stderr, "runs: run %d of '%s' failed\n", i, argv[2]);
			return 1;
		}
		sum += (double)ns[i];
		usleep(REST_US);
	}
	qsort(ns, (size_t)count, sizeof(*ns), compare);
	printf("%.1f %.1f %.1f %.1f\n", (double)ns[count / 2] / 1e3, (double)ns[0] / 1e3, (double)ns[count - 1] / 1e3, sum / 1e3 / count);
	return 0;
}
