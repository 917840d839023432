// SPDX-License-Identifier: BSD-3-Clause
/*
 * hostile - boots the payload of tests/guest/hostile under a monitor, and looks at the monitor after each case
 *
 * usage: hostile [--peer] [--slab] [--verbose] [--log FILE] [--ram MIB] [--disk FILE]... --words WORDS -- COMMAND...
 *
 * The argument "@" of COMMAND stands for the payload's command line: WORDS and what we add (the payload's main.c says
 * what there is). The payload says "@ ready" and sleeps; the monitor must then be as it was before the first case:
 * quick, idle, with its memory, descriptors, threads, irqfds and routes, a log that hardly grew, files that are not
 * its own untouched, those of its disks as long as they were, and nothing in the host kernel's log. "@ idle" asks for a look at the
 * time that the monitor takes, amid a case. Where a case ends the monitor, the next boot goes on behind
 * it; cases that are to end it get a boot of their own. --slab: the host kernel's own memory has not grown either, where
 * nothing else runs. --peer: another monitor, of which only is seen whether it lives, is idle, and what the guest says.
 *
 * Prints a line a failed case (each with --verbose), then the count. Status 0: no case failed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS 100         /* the dump, on a machine of the speed below */
#define ANSWER_TRIES 4
#define CALIBRATION_NS 10e6   /* what calibrate() takes there */
#define RSS_GROWTH 256        /* KiB */
#define SLAB_GROWTH 256       /* KiB: what is kept for each CPU was given back, so thousands of small things would be more */
#define LOG_GROWTH 4096       /* bytes a case */
#define IDLE_WINDOW_MS 60
#define IDLE_SHARE 100        /* the window's part that may be used: a hundredth */
#define IDLE_TRIES 8
#define SETTLE_MS 1000
#define HANG_MS 40000
#define MAX_ALONE 64
#define CANARY "canary"
#define MAX_DISKS 4
#define KERNELS_WORKER "iou-wrk-" /* of io_uring, which come and go: up to a limit that the monitor sets */
#define MOST_WORKERS 10

/* Of the monitor, between two cases. */
struct state {
	long rss;             /* KiB outside the guest's RAM */
	unsigned fds, threads;
	long irqfds, routes;
	long slab;            /* KiB of the host's kernel; 0: not looked at */
};

static struct {
	bool peer, slab, verbose;
	const char *log, *words;
	const char *disk[MAX_DISKS];
	off_t disk_size[MAX_DISKS];
	unsigned nr_disks;
	long ram;             /* KiB */
	char **command;
	double factor;        /* how much slower this machine is */
} opt = { .factor = 1 };

static pid_t pid, worker;     /* the monitor, and its vhost's thread; 0: none */
static int in_fd, out_fd, kmsg_fd = -1;
static struct state base;
static bool have_base;
static off_t log_seen;
static unsigned passed, failed, skipped, boots;
static unsigned ended, wedged; /* of the failed: the monitor did not outlive it; a device did not come back */
static char case_name[128], guest_why[256];
static unsigned case_nr;
static bool case_open;
static double case_ms, look_ms; /* when the case began, and our looking */
static struct { char name[128]; int status; } alone[MAX_ALONE];
static unsigned nr_alone;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l }, NULL);
}

static void die(const char *what)
{
	perror(what);
	if (pid)
		kill(pid, SIGKILL);
	exit(2);
}

/* A fixed piece of work, against what it takes where 100 ms are 100 ms. */
static void calibrate(void)
{
	double start = now_ms();

	for (volatile unsigned i = 0; i < 5000000; i++)
		;
	opt.factor = (now_ms() - start) * 1e6 / CALIBRATION_NS;
	if (opt.factor < 1)
		opt.factor = 1;
}

/* Results */

static void conclude(const char *verdict, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void conclude(const char *verdict, const char *fmt, ...)
{
	va_list ap;
	bool bad = !strcmp(verdict, "FAIL");

	if (!case_open)
		return;
	case_open = false;
	if (look_ms < case_ms)
		look_ms = now_ms();
	*(bad ? &failed : &passed) += 1;
	wedged += bad && (strstr(guest_why, "wedged") || strstr(guest_why, "heal") || strstr(guest_why, "no reset"));
	if (!bad && !opt.verbose)
		return;
	printf("%s %s", verdict, case_name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" (%.0f ms)\n", look_ms - case_ms);
	fflush(stdout);
}

/* What the monitor looks like */

static unsigned entries(const char *what)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	d = opendir(path);
	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

/* Of the threads, what the kernel made in the monitor's name. */
static unsigned workers(void)
{
	char path[300], name[32];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid, e->d_name);
		f = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		n += fgets(name, sizeof(name), f) && !strncmp(name, KERNELS_WORKER, strlen(KERNELS_WORKER));
		fclose(f);
	}
	if (d)
		closedir(d);
	return n;
}

static long rss_kib(void)
{
	char path[64], line[256];
	bool guest = false;
	long sum = 0, n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Size: %ld", &n) == 1)
			guest = n >= opt.ram && n < opt.ram + 1024;
		else if (sscanf(line, "Rss: %ld", &n) == 1 && !guest)
			sum += n;
	}
	if (f)
		fclose(f);
	return sum;
}

static uint64_t task_ns(const char *path)
{
	unsigned long long ns = 0;
	FILE *f = fopen(path, "r");

	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return;
	fputs(text, f);
	fclose(f);
}

/* What the host's kernel only keeps for later is given back: caches, and free objects that SLUB holds for each CPU. */
static void settle_host(void)
{
	char path[300];
	struct dirent *e;
	DIR *d;

	put("/proc/sys/vm/drop_caches", "3");
	d = opendir("/sys/kernel/slab");
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", e->d_name);
		if (e->d_name[0] != '.')
			put(path, "1");
	}
	if (d)
		closedir(d);
}

/* Twice, since what RCU frees comes a moment later. */
static long slab_kib(void)
{
	char line[256];
	long n = 0;
	FILE *f;

	settle_host();
	sleep_ms(SETTLE_MS);
	settle_host();
	f = fopen("/proc/meminfo", "r");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "SUnreclaim: %ld", &n) != 1)
		;
	if (f)
		fclose(f);
	return n;
}

/* All that its threads ran, and its vhost's. */
static uint64_t ran_ns(void)
{
	char path[300];
	uint64_t sum = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, e->d_name);
		if (e->d_name[0] != '.')
			sum += task_ns(path);
	}
	if (d)
		closedir(d);
	if (worker) {
		snprintf(path, sizeof(path), "/proc/%d/schedstat", worker);
		sum += task_ns(path);
	}
	return sum;
}

/* Before Linux 6.4 vhost's thread is the kernel's: vhost-PID. */
static void find_worker(void)
{
	char want[32], path[300], name[32];
	struct dirent *e;
	DIR *d = opendir("/proc");
	FILE *f;

	worker = 0;
	snprintf(want, sizeof(want), "vhost-%d", pid);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fscanf(f, "%31s", name) == 1 && !strcmp(name, want))
			worker = atoi(e->d_name);
		fclose(f);
	}
	if (d)
		closedir(d);
}

static bool is_idle(double *ret_share)
{
	for (unsigned i = 0; i < IDLE_TRIES; i++) {
		uint64_t before = ran_ns();
		double start = now_ms();

		sleep_ms(IDLE_WINDOW_MS);
		*ret_share = (double)(ran_ns() - before) / 1e6 / (now_ms() - start);
		if (*ret_share * IDLE_SHARE < 1)
			return true;
	}
	return false;
}

static off_t log_size(void)
{
	struct stat st;

	return stat(opt.log, &st) ? 0 : st.st_size;
}

static long number_behind(const char *text, const char *what)
{
	const char *p = strstr(text, what);

	return p ? strtol(p + strlen(what), NULL, 10) : -1;
}

/* SIGUSR1, and the time until its last line is there; negative: it did not come. */
static double dump(struct state *s)
{
	double start = now_ms(), took = -1;
	off_t from = log_size();
	char text[16384];
	ssize_t n = 0;
	int fd = open(opt.log, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(opt.log);
	kill(pid, SIGUSR1);
	while (now_ms() - start < ANSWER_MS * opt.factor * 10) {
		n = pread(fd, text, sizeof(text) - 1, from);
		text[n > 0 ? n : 0] = '\0';
		if (strstr(text, "KVM_RUN exits") && text[strlen(text) - 1] == '\n') {
			took = now_ms() - start;
			break;
		}
		sleep_ms(1);
	}
	close(fd);
	s->irqfds = number_behind(text, "irqfds ");
	s->routes = number_behind(text, "msi routes ");
	log_seen = log_size();
	return took;
}

/* A line of the host kernel's log that is nobody's wish. */
static bool klog_alarm(char *ret_line, size_t cap)
{
	static const char *const alarms[] = {
		"WARNING", "BUG", "Oops", "nobody cared", "Call trace", "hung task", "KASAN", "stall",
	};
	char rec[8192];
	bool bad = false;
	ssize_t n;

	while (kmsg_fd >= 0 && ((n = read(kmsg_fd, rec, sizeof(rec) - 1)) > 0 || errno == EPIPE)) {
		rec[n > 0 ? n : 0] = '\0';
		for (unsigned i = 0; !bad && i < sizeof(alarms) / sizeof(alarms[0]); i++) {
			if (!strstr(rec, alarms[i]))
				continue;
			bad = true;
			snprintf(ret_line, cap, "%.150s", strchr(rec, ';') ? strchr(rec, ';') + 1 : rec);
		}
	}
	return bad;
}

static bool canary_stands(void)
{
	char text[sizeof(CANARY)] = "";
	FILE *f = fopen(CANARY, "r");
	bool good = f && fread(text, 1, sizeof(text), f) == sizeof(CANARY) - 1 && !strcmp(text, CANARY);

	if (f)
		fclose(f);
	return good;
}

static bool disks_are_as_long(char *why, size_t cap)
{
	struct stat st;

	for (unsigned i = 0; i < opt.nr_disks; i++)
		if (stat(opt.disk[i], &st) || st.st_size != opt.disk_size[i])
			return snprintf(why, cap, "%s has %ld bytes, not %ld", opt.disk[i], (long)st.st_size, (long)opt.disk_size[i]), false;
	return true;
}

/* Looks at all of it, and says in a sentence what was seen; false: what is wrong. */
static bool look(char *why, size_t cap)
{
	struct state s = { 0 };
	off_t grown = log_size() - log_seen;
	double took = -1, share = 0;
	unsigned kernels;

	if (klog_alarm(why, cap))
		return false;
	if (!canary_stands())
		return snprintf(why, cap, "the canary file is not as it was"), false;
	if (!disks_are_as_long(why, cap))
		return false;
	if (!is_idle(&share))
		return snprintf(why, cap, "idle, it takes %.1f %% of a CPU", share * 100), false;
	if (opt.peer)
		return true;
	if (have_base && grown > LOG_GROWTH)
		return snprintf(why, cap, "the log grew by %ld bytes", (long)grown), false;
	/* the machine may be busier than it was: a monitor that is slow is so each time */
	for (unsigned i = 0; i < ANSWER_TRIES; i++) {
		took = dump(&s);
		if (took >= 0 && took <= ANSWER_MS * opt.factor)
			break;
		calibrate();
	}
	if (took < 0 || took > ANSWER_MS * opt.factor)
		return snprintf(why, cap, "its dump took %.0f ms (%.0f allowed)", took, ANSWER_MS * opt.factor), false;
	s.rss = rss_kib();
	s.fds = entries("fd");
	kernels = workers();
	s.threads = entries("task") - kernels;
	if (kernels > MOST_WORKERS)
		return snprintf(why, cap, "%u workers of io_uring", kernels), false;
	s.slab = opt.slab ? slab_kib() : 0;
	if (!have_base) {
		base = s;
		have_base = true;
	}
	if (s.rss > base.rss + RSS_GROWTH)
		return snprintf(why, cap, "memory grew from %ld to %ld KiB", base.rss, s.rss), false;
	if (s.fds != base.fds || s.threads != base.threads)
		return snprintf(why, cap, "%u fds, %u threads; were %u, %u", s.fds, s.threads, base.fds, base.threads), false;
	if (s.irqfds != base.irqfds || s.routes != base.routes)
		return snprintf(why, cap, "irqfds %ld, routes %ld; were %ld, %ld", s.irqfds, s.routes, base.irqfds,
				base.routes), false;
	if (s.slab > base.slab + SLAB_GROWTH)
		return snprintf(why, cap, "the host's slab grew from %ld to %ld KiB", base.slab, s.slab), false;
	snprintf(why, cap, "%u fds, %u threads, %ld irqfds, %ld routes as before, memory %+ld KiB", s.fds, s.threads, s.irqfds,
		 s.routes, s.rss - base.rss);
	if (opt.slab)
		snprintf(why + strlen(why), cap - strlen(why), ", the host's slab %+ld KiB", s.slab - base.slab);
	return true;
}

/* Boots */

static void start(const char *more)
{
	char words[512];
	int to[2], back[2];
	unsigned n = 0;
	char *argv[128];

	snprintf(words, sizeof(words), "%s %s", more, opt.words); /* the first of a kind counts */
	for (char **a = opt.command; *a && n < 127; a++)
		argv[n++] = strcmp(*a, "@") ? *a : words;
	argv[n] = NULL;
	if (pipe2(to, O_CLOEXEC) || pipe2(back, O_CLOEXEC))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		dup2(to[0], 0);
		dup2(back[1], 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(to[0]);
	close(back[1]);
	in_fd = to[1];
	out_fd = back[0];
	have_base = false;
	case_open = false;
	log_seen = opt.log ? log_size() : 0;
	boots++;
}

/* Its status as a shell gives it. */
static int end(void)
{
	int status;

	close(in_fd);
	close(out_fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	pid = 0;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void at_ready(void)
{
	char why[256] = "";
	bool good;

	if (!have_base && !opt.peer)
		find_worker();
	look_ms = now_ms();
	good = look(why, sizeof(why));
	if (opt.peer)
		have_base = true;
	if (!case_open && !good) {
		snprintf(case_name, sizeof(case_name), "boot");
		case_open = true;
		snprintf(guest_why, sizeof(guest_why), "before the first case: ");
	}
	if (guest_why[0] || !good)
		conclude("FAIL", ": %s%s%s", guest_why, guest_why[0] && !good ? "; " : "", good ? "" : why);
	else
		conclude("ok", ": %s", why);
	guest_why[0] = '\0';
	if (write(in_fd, "n", 1) != 1)
		return;
}

static void at_idle(void)
{
	double share = 0;

	if (!is_idle(&share) && !guest_why[0])
		snprintf(guest_why, sizeof(guest_why), "meanwhile it takes %.1f %% of a CPU", share * 100);
	if (write(in_fd, "n", 1) != 1)
		return;
}

/* True: the payload is through. */
static bool take_line(char *line)
{
	int status;

	if (strncmp(line, "@ ", 2)) {
		if (!strncmp(line, "fatal: ", 7) || strstr(line, " fatal: "))
			snprintf(guest_why, sizeof(guest_why), "%.200s", line);
		else if (!strncmp(line, "registers: ", 11))
			puts(line);
		return false;
	}
	line += 2;
	if (sscanf(line, "case %u %127s", &case_nr, case_name) == 2) {
		case_open = true;
		case_ms = now_ms();
		guest_why[0] = '\0';
	} else if (!strncmp(line, "FAIL ", 5)) {
		char *why = strstr(line, ": ");

		snprintf(guest_why, sizeof(guest_why), "%.200s", why ? why + 2 : line);
	} else if (!strncmp(line, "skip ", 5)) {
		skipped++;
	} else if (!strcmp(line, "ready")) {
		at_ready();
	} else if (!strcmp(line, "idle")) {
		at_idle();
	} else if (nr_alone < MAX_ALONE && sscanf(line, "alone %127s %d", alone[nr_alone].name, &status) == 2) {
		alone[nr_alone++].status = status;
	}
	return !strcmp(line, "end");
}

/* Until the payload or the monitor ends. True: it was the payload. */
static bool follow(bool *ret_hangs)
{
	static char buf[65536];
	size_t len = 0;
	bool through = false;

	*ret_hangs = false;
	while (!through) {
		struct pollfd p = { .fd = out_fd, .events = POLLIN };
		char *line = buf, *nl;
		ssize_t n;

		if (poll(&p, 1, HANG_MS) <= 0) {
			*ret_hangs = true;
			return false;
		}
		n = read(out_fd, buf + len, sizeof(buf) - len - 1);
		if (n <= 0)
			break;
		len += (size_t)n;
		buf[len] = '\0';
		for (; (nl = memchr(line, '\n', len - (size_t)(line - buf))); line = nl + 1) {
			*nl = '\0';
			if (nl > line && nl[-1] == '\r')
				nl[-1] = '\0';
			through |= take_line(!strncmp(line, "> ", 2) ? line + 2 : line);
		}
		len -= (size_t)(line - buf);
		memmove(buf, line, len);
		if (len == sizeof(buf) - 1)
			len = 0; /* a line without an end is no line of the payload's */
	}
	return through;
}

/* What is left of output, which must not block the monitor's end. */
static void drain(void)
{
	char rest[4096];
	struct pollfd p = { .fd = out_fd, .events = POLLIN };

	while (poll(&p, 1, HANG_MS / 4) > 0 && read(out_fd, rest, sizeof(rest)) > 0)
		;
}

static int finish(bool hangs)
{
	if (hangs)
		kill(pid, SIGKILL);
	else
		drain();
	return end();
}

/* All cases but those that end the VM; each boot goes on where the one before ended. */
static void run_all(void)
{
	unsigned next = 0;
	char more[32];

	for (;;) {
		bool hangs, through, closed;
		int status;

		snprintf(more, sizeof(more), "from=%u", next);
		guest_why[0] = '\0';
		start(more);
		through = follow(&hangs);
		closed = !case_open;
		status = finish(hangs);
		if (through && status == 0)
			return;
		if (closed) {
			snprintf(case_name, sizeof(case_name), "%s", through ? "end" : "boot");
			case_open = true;
		}
		ended++;
		conclude("FAIL", ": the monitor %s, status %d%s%s", hangs ? "hangs" : "ended", status,
			 guest_why[0] ? ": " : "", guest_why);
		if (through || (closed && !have_base))
			return;
		next = case_nr + 1;
	}
}

static void run_alone(unsigned i)
{
	char more[200];
	bool hangs;
	int status;

	snprintf(more, sizeof(more), "alone=1 case=%s", alone[i].name);
	guest_why[0] = '\0';
	case_nr = 0;
	start(more);
	follow(&hangs);
	snprintf(case_name, sizeof(case_name), "%s", alone[i].name);
	case_open = true;
	status = finish(hangs);
	/* another monitor's status is its own */
	if (hangs || guest_why[0] || (status != alone[i].status && !opt.peer)) {
		ended++;
		conclude("FAIL", ": %s, status %d, not %d%s%s", hangs ? "hangs" : "ended", status, alone[i].status,
			 guest_why[0] ? ": " : "", guest_why);
	} else {
		conclude("ok", " ");
	}
}

static void parse(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--peer"))
			opt.peer = true;
		else if (!strcmp(argv[i], "--slab"))
			opt.slab = true;
		else if (!strcmp(argv[i], "--verbose"))
			opt.verbose = true;
		else if (!strcmp(argv[i], "--log"))
			opt.log = argv[++i];
		else if (!strcmp(argv[i], "--ram"))
			opt.ram = atol(argv[++i]) * 1024;
		else if (!strcmp(argv[i], "--words"))
			opt.words = argv[++i];
		else if (!strcmp(argv[i], "--disk") && opt.nr_disks < MAX_DISKS)
			opt.disk[opt.nr_disks++] = argv[++i];
	}
	if (i + 1 >= argc || !opt.words || (!opt.log && !opt.peer)) {
		fprintf(stderr, "usage: hostile [--peer] [--slab] [--verbose] [--log FILE] [--ram MIB] [--disk FILE]... --words WORDS -- COMMAND...\n");
		exit(2);
	}
	opt.command = argv + i + 1;
}

static void set_up(void)
{
	FILE *f = fopen(CANARY, "w");
	struct stat st;
	int fd;

	if (!f || fputs(CANARY, f) < 0 || fclose(f))
		die(CANARY);
	if (opt.log) {
		fd = open(opt.log, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0)
			die(opt.log);
		close(fd);
	}
	for (unsigned i = 0; i < opt.nr_disks; i++) {
		if (stat(opt.disk[i], &st))
			die(opt.disk[i]);
		opt.disk_size[i] = st.st_size;
	}
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg_fd >= 0)
		lseek(kmsg_fd, 0, SEEK_END);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	double started = now_ms();

	parse(argc, argv);
	calibrate();
	set_up();
	run_all();
	for (unsigned i = 0; i < nr_alone; i++)
		run_alone(i);
	unlink(CANARY);
	printf("%u cases passed, %u failed (%u ended the monitor, %u wedged a device), %u not for this VM; ", passed, failed,
	       ended, wedged, skipped);
	printf("%u boots, %.0f s; this machine's factor is %.1f\n", boots, (now_ms() - started) / 1e3, opt.factor);
	return failed || !passed;
}
