// SPDX-License-Identifier: BSD-3-Clause
/* What a monitor that was too slow is doing: its threads, as /proc shows them, and its own account of the interrupts. */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/boot-test/boot_test.h"

#define DUMP_US 500000 /* how long the account may take */

/* The value of "KEY:\tvalue" in a status file, or "?". */
static void status_value(const char *path, const char *key, char *buf, size_t cap)
{
	FILE *f = fopen(path, "re");
	char line[256];
	size_t len = strlen(key);

	snprintf(buf, cap, "?");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, len) && line[len] == ':') {
			line[strcspn(line, "\n")] = '\0';
			snprintf(buf, cap, "%s", line + len + 1 + strspn(line + len + 1, "\t "));
		}
	if (f)
		fclose(f);
}

/* The file's lines, behind a mark; nothing where it may not be read. */
static void print_file(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		printf("boot-test:     %s", line);
	if (f)
		fclose(f);
}

static void print_thread(const char *task)
{
	char path[320], name[32], state[32], switches[32], forced[32];

	snprintf(path, sizeof(path), "%s/status", task);
	status_value(path, "Name", name, sizeof(name));
	status_value(path, "State", state, sizeof(state));
	status_value(path, "voluntary_ctxt_switches", switches, sizeof(switches));
	status_value(path, "nonvoluntary_ctxt_switches", forced, sizeof(forced));
	printf("boot-test: thread %s: %s, slept %s times, interrupted %s times\n", name, state, switches, forced);
	snprintf(path, sizeof(path), "%s/stack", task);
	print_file(path);
}

/* Microvm reads SIGUSR1 from a descriptor, so it blocks it; anything else might end by it. */
static bool takes_usr1(pid_t pid)
{
	char path[64], blocked[32];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	status_value(path, "SigBlk", blocked, sizeof(blocked));
	return strtoull(blocked, NULL, 16) & 1ull << (SIGUSR1 - 1);
}

void hung_report(pid_t pid)
{
	char path[300];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.') {
			snprintf(path, sizeof(path), "/proc/%d/task/%s", (int)pid, e->d_name);
			print_thread(path);
		}
	if (dir)
		closedir(dir);
	fflush(stdout);
	if (takes_usr1(pid) && !kill(pid, SIGUSR1))
		usleep(DUMP_US);
}
