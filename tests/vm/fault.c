// SPDX-License-Identifier: BSD-3-Clause
/*
 * fault - runs a command again and again, and each time one more of its system calls fails
 *
 * usage: fault start|run [OPTIONS] -- COMMAND...
 *   start: the calls until the first KVM_RUN. run: those from there to the end, with the payload of tests/guest/bare
 *   --turns N      of each N calls one fails, by one errno, in turns; by default each fails by each errno
 *   --there FILE   one of the command's that holds something: a start that fails leaves it as it was
 *   --absent FILE  one that is not there: a start that fails leaves none, a run leaves one
 *   --tap NAME     is afterwards as it was before, as are the host's mounts
 *   --cgroup DIR   has no process afterwards
 *   --terminal     standard input is one, and is left as it was
 *   --says FILE    where a run leaves what the guest said
 *   --verbose      a line an injection
 *
 * A call that is to fail is exchanged, where it enters the kernel, for one that does nothing; where it leaves, its result
 * is. From then on the command runs by itself. What is exchanged in is ppoll(2) with a bad address, as the filters of
 * system calls let every thread make it, and see what is really made.
 *
 * Left out, because the kernel never refuses them, so that no caller can do anything about it:
 *   futex                        a wait is repeated by the C library, a wake-up that is lost is one for ever
 *   rt_sigprocmask               likewise the C library's: it does not look whether signals are let through again
 *   exit, exit_group, rt_sigreturn  do not return
 *   getpid, gettid, geteuid, set_tid_address  have no errors
 *   tgkill                       of a thread of one's own that lives, by a standard signal
 *   close                        fails after it has closed
 * A start whose last steps fail, when outputs are cut already, leaves them so: the files are not looked at then.
 * and of a run:
 *   KVM_RUN                      of which each error has a meaning of its own
 *   io_uring_enter               is the loop's wait, and what the ring says is in its completions
 *   read, write of an eventfd    fail where there is nothing, or something already; a signal that is lost is lost
 *   what gives the tap back      TUNSETVNETHDRSZ, and TUNSETOFFLOAD of nothing
 *
 * The right ends: the same as without; of a start, 125 or 126 and one line that names the cause, with nothing left
 * behind, or 121 and such a line where it was the loop's wait, which may come before the first KVM_RUN; of a run, a line that names the device which the guest found broken, or its interrupt. What the sandbox could not have
 * is said in any case.
 *
 * Prints what ended otherwise, and the count. Status 0: nothing did.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <asm/ptrace.h>

#define LIMIT_S 60 /* of one run */
#define MAX_FILES 4
#define TEXT 16384

/* The texts are those of the program's C library. */
static const struct { int code; const char *name, *text; } errnos[] = {
	{ EMFILE, "EMFILE", "No file descriptors available" }, { ENOMEM, "ENOMEM", "Out of memory" },
	{ EINTR, "EINTR", "Interrupted system call" }, { EAGAIN, "EAGAIN", "Resource temporarily unavailable" },
	{ EIO, "EIO", "I/O error" },
};
#define NR_ERRNOS (sizeof(errnos) / sizeof(errnos[0]))

struct file {
	const char *path;
	bool absent;
	struct stat st;
};

static struct {
	bool run, terminal, verbose;
	unsigned turns;
	struct file files[MAX_FILES];
	unsigned nr_files;
	const char *tap, *cgroup, *says;
	char **command;
} opt;

/* One time that the command runs. */
static struct {
	unsigned target;         /* the call that fails; 0: none does */
	unsigned error;          /* of errnos[] */
	pid_t pid;
	bool counting;
	bool cut;                /* an output was */
	bool released;           /* nothing more is to be seen */
	bool ended, hangs;
	int status;
	unsigned calls;
	pid_t victim;            /* makes the call that fails */
	struct user_pt_regs regs;
	uint64_t nr, args[6];
	char what[160];          /* the call, for people */
	char err[TEXT];
} now;

static struct { char tap[TEXT], mounts[TEXT]; struct termios modes; } before;
static int terminal_fd = -1, ours_fd = -1;
static unsigned refused, tolerated, bad;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* What there is outside of the command */

static void read_text(const char *path, char text[TEXT])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0, got;

	if (fd < 0)
		die(path);
	while ((got = read(fd, text + n, (size_t)(TEXT - 1 - n))) > 0)
		n += got;
	text[n] = '\0';
	close(fd);
}

static unsigned offload(const char *tap, uint32_t cmd)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_value v = { .cmd = cmd };
	struct ifreq ifr = { .ifr_data = (void *)&v };

	strncpy(ifr.ifr_name, tap, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &ifr))
		die(tap);
	close(fd);
	return v.data;
}

static pid_t ask_tap_state(int out)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(99);
	execl("./tap-state", "tap-state", opt.tap, NULL);
	_exit(99);
}

/* As tap-state says it. False: somebody has it still. */
static bool tap_text(char text[TEXT])
{
	int status, fds[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		die("pipe");
	pid = ask_tap_state(fds[1]);
	close(fds[1]);
	n = read(fds[0], text, TEXT / 2); /* it is one line, by one write */
	close(fds[0]);
	if (waitpid(pid, &status, 0) != pid || status)
		return false;
	snprintf(text + n, TEXT / 2, "checksums %u, segmentation %u\n", offload(opt.tap, ETHTOOL_GTXCSUM),
		 offload(opt.tap, ETHTOOL_GTSO));
	return true;
}

static void note_before(void)
{
	read_text("/proc/self/mounts", before.mounts);
	for (unsigned i = 0; opt.tap && !tap_text(before.tap); i++) {
		if (i == 100)
			die(opt.tap);
		usleep(50000);
	}
	if (opt.terminal && tcgetattr(terminal_fd, &before.modes))
		die("terminal");
}

static void open_terminal(void)
{
	ours_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (ours_fd < 0 || grantpt(ours_fd) || unlockpt(ours_fd))
		die("pty");
	terminal_fd = open(ptsname(ours_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal_fd < 0)
		die("pty");
}

static void lay_file(struct file *f)
{
	FILE *out;

	unlink(f->path);
	if (f->absent)
		return;
	out = fopen(f->path, "we");
	if (!out || fputs("somebody's\n", out) < 0 || fclose(out) || stat(f->path, &f->st))
		die(f->path);
}

static const char *look_at_file(const struct file *f, bool failed)
{
	struct stat st;
	bool there = !stat(f->path, &st);

	if (f->absent)
		return there == !failed ? NULL : failed ? "a new file is left" : "a file is gone";
	if (!there)
		return "a file is gone";
	if (failed && (st.st_ino != f->st.st_ino || st.st_size != f->st.st_size ||
		       st.st_mtim.tv_nsec != f->st.st_mtim.tv_nsec || st.st_mode != f->st.st_mode))
		return "a file has changed";
	return NULL;
}

static const char *look_at_tap(void)
{
	static char text[TEXT];

	for (unsigned i = 0; i < 100; i++) {
		if (tap_text(text))
			return strcmp(text, before.tap) ? "the tap has changed" : NULL;
		usleep(50000);
	}
	return "the tap is held";
}

static const char *look_at_cgroup(void)
{
	static char text[TEXT];
	char path[200];

	snprintf(path, sizeof(path), "%s/cgroup.procs", opt.cgroup);
	read_text(path, text);
	return text[0] ? "a process is left in the cgroup" : NULL;
}

static const char *look_around(bool failed)
{
	static char text[TEXT];
	const char *wrong = NULL;
	struct termios modes = { 0 }; /* compared as a whole */

	for (unsigned i = 0; i < opt.nr_files && !wrong && !now.cut; i++)
		wrong = look_at_file(&opt.files[i], failed);
	if (!wrong && opt.tap)
		wrong = look_at_tap();
	if (!wrong && opt.cgroup)
		wrong = look_at_cgroup();
	if (wrong)
		return wrong;
	read_text("/proc/self/mounts", text);
	if (strcmp(text, before.mounts))
		return "the host's mounts have changed";
	if (opt.terminal && (tcgetattr(terminal_fd, &modes) || memcmp(&modes, &before.modes, sizeof(modes))))
		return "the terminal is not as it was";
	return NULL;
}

/* Calls */

static bool is_request(uint64_t request)
{
	return now.nr == SYS_ioctl && (uint32_t)now.args[1] == (uint32_t)request;
}

static void fd_name(pid_t tid, int fd, char name[80])
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, fd);
	n = readlink(path, name, 79);
	name[n > 0 ? n : 0] = '\0';
}

static bool is_eventfd(pid_t tid)
{
	char name[80];

	fd_name(tid, (int)now.args[0], name);
	return strstr(name, "eventfd");
}

static bool is_left_out(pid_t tid)
{
	switch (now.nr) {
	case SYS_futex:
	case SYS_rt_sigprocmask:
	case SYS_exit:
	case SYS_exit_group:
	case SYS_rt_sigreturn:
	case SYS_getpid:
	case SYS_gettid:
	case SYS_geteuid:
	case SYS_set_tid_address:
	case SYS_tgkill:
	case SYS_close:
		return true;
	case SYS_io_uring_enter:
		return opt.run;
	case SYS_preadv2:
	case SYS_write:
		return opt.run && is_eventfd(tid);
	default:
		return opt.run && (is_request(KVM_RUN) || is_request(TUNSETVNETHDRSZ) ||
				   (is_request(TUNSETOFFLOAD) && !now.args[2]));
	}
}

/*
 * A step of the sandbox: without it there is a line, whatever else happens. The first of the bounding set has another way,
 * and so has pivot_root(2), which the kernel's first root does not allow.
 */
static bool must_be_said(void)
{
	if (now.victim != now.pid) /* the process that connects; the keeper makes none of these */
		return now.nr == SYS_chroot || now.nr == SYS_chdir || now.nr == SYS_prlimit64 ||
		       (now.nr == SYS_prctl && now.args[0] == PR_CAPBSET_DROP);
	switch (now.nr) {
	case SYS_unshare:
	case SYS_mount:
	case SYS_umount2:
	case SYS_chdir:
	case SYS_setgroups:
	case SYS_setresuid:
	case SYS_setresgid:
	case SYS_capset:
	case SYS_close_range:
	case SYS_seccomp:
	case SYS_landlock_create_ruleset:
	case SYS_landlock_restrict_self:
		return true;
	case SYS_prctl:
		return now.args[0] != PR_CAPBSET_DROP || now.args[1];
	case SYS_prlimit64: /* or else it only asks */
		return now.args[2];
	default:
		return strstr(now.what, "/sys/fs/cgroup/"); /* a limit of the group's */
	}
}

static void describe(pid_t tid)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)now.nr), fd[80];

	fd_name(tid, (int)now.args[0], fd);
	if (now.nr == SYS_ioctl)
		snprintf(now.what, sizeof(now.what), "ioctl 0x%x of %s", (unsigned)now.args[1], fd);
	else
		snprintf(now.what, sizeof(now.what), "%s 0x%lx 0x%lx %s", name ? name : "?", (unsigned long)now.args[0],
			 (unsigned long)now.args[1], fd);
	free(name);
}

static void set_regs(pid_t tid, struct user_pt_regs *regs)
{
	struct iovec iov = { .iov_base = regs, .iov_len = sizeof(*regs) };

	if (ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov))
		die("registers");
}

static void exchange(pid_t tid)
{
	struct iovec iov = { .iov_base = &now.regs, .iov_len = sizeof(now.regs) };
	int call = SYS_ppoll;
	struct user_pt_regs regs;

	describe(tid);
	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov))
		die("registers");
	regs = now.regs;
	regs.regs[0] = regs.regs[1] = 0;
	regs.regs[2] = 1; /* where no time limit can be */
	set_regs(tid, &regs);
	iov = (struct iovec){ .iov_base = &call, .iov_len = sizeof(call) };
	if (ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &iov))
		die("system call");
	now.victim = tid;
}

static void on_entry(pid_t tid, const struct __ptrace_syscall_info *info)
{
	now.nr = info->entry.nr;
	memcpy(now.args, info->entry.args, sizeof(now.args));
	if (is_request(KVM_RUN)) {
		now.counting = opt.run;
		now.released = !opt.run;
		return;
	}
	now.cut |= now.nr == SYS_ftruncate;
	if (now.counting && !is_left_out(tid) && ++now.calls == now.target)
		exchange(tid);
}

static void on_exit_of(pid_t tid)
{
	if (tid != now.victim)
		return;
	now.regs.regs[0] = (uint64_t)-errnos[now.error].code;
	set_regs(tid, &now.regs);
	now.released = true;
}

static void on_call(pid_t tid)
{
	struct __ptrace_syscall_info info;

	if (now.released || ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY && !now.victim)
		on_entry(tid, &info);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		on_exit_of(tid);
}

/* One run */

static void on_stop(pid_t tid, int status)
{
	int sig = WSTOPSIG(status);

	if (sig == (SIGTRAP | 0x80))
		on_call(tid);
	/* a new thread's or child's first stop, or an event */
	if (sig == (SIGTRAP | 0x80) || sig == SIGSTOP || status >> 16)
		sig = 0;
	ptrace(now.released ? PTRACE_DETACH : PTRACE_SYSCALL, tid, 0, sig);
}

static void on_alarm(int signo)
{
	(void)signo;
}

/* Until neither the command nor anything that it has made is left. */
static void follow(void)
{
	int status;
	pid_t tid;

	alarm(LIMIT_S);
	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid < 0) {
			now.hangs = true;
			kill(-now.pid, SIGKILL);
			alarm(1);
		} else if (WIFSTOPPED(status)) {
			on_stop(tid, status);
		} else if (tid == now.pid) {
			now.status = status;
			now.ended = true;
		}
	}
	alarm(0);
}

static void become_command(int out, int err)
{
	int in = opt.terminal ? terminal_fd : open("/dev/null", O_RDONLY);

	if (setpgid(0, 0) || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(99);
	if (ptrace(PTRACE_TRACEME, 0, 0, 0))
		_exit(99);
	execv(opt.command[0], opt.command);
	_exit(99);
}

static void start_command(int out, int err)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			     PTRACE_O_EXITKILL;
	int status;

	now.pid = fork();
	if (!now.pid)
		become_command(out, err);
	if (now.pid < 0 || waitpid(now.pid, &status, 0) != now.pid || !WIFSTOPPED(status))
		die(opt.command[0]);
	if (ptrace(PTRACE_SETOPTIONS, now.pid, 0, options) || ptrace(PTRACE_SYSCALL, now.pid, 0, 0))
		die("ptrace");
}

static int new_text(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		die(path);
	return fd;
}

static void run_once(unsigned target, unsigned error)
{
	int out = new_text("fault.out"), err = new_text("fault.err");

	memset(&now, 0, sizeof(now));
	now.target = target;
	now.error = error;
	now.counting = !opt.run;
	for (unsigned i = 0; i < opt.nr_files; i++)
		lay_file(&opt.files[i]);
	start_command(out, err);
	follow();
	close(out);
	close(err);
	read_text("fault.err", now.err);
}

/* What is right */

static unsigned count_lines(void)
{
	unsigned n = 0;

	for (const char *p = now.err; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

static bool lines_are_ours(void)
{
	for (const char *p = now.err; *p; p = strchr(p, '\n') + 1)
		if (strncmp(p, "microvm: ", 9) || !strchr(p, '\n'))
			return false;
	return true;
}

/* The C library calls every want of a thread EAGAIN, and of memory ENOMEM. */
static bool names_the_cause(void)
{
	bool thread = now.nr == SYS_clone || now.nr == SYS_mmap || now.nr == SYS_mprotect;

	if (now.nr == SYS_seccomp && !strstr(now.err, "seccomp: "))
		return false;
	if (now.nr == SYS_connect && errnos[now.error].code == EAGAIN) /* unix(7): its backlog is full */
		return strstr(now.err, "busy");
	return strstr(now.err, errnos[now.error].text) || strstr(now.err, "ut of memory") ||
	       (thread && strstr(now.err, "Resource temporarily unavailable"));
}

static const char *judge_refusal(int status)
{
	if (!lines_are_ours() || count_lines() != 1)
		return "not one line";
	if (!names_the_cause())
		return "the cause is not named, or another object";
	if (status == 126 && (errnos[now.error].code != EIO || (!strstr(now.err, "kvm") && !strstr(now.err, "KVM"))))
		return "126 where this host may have a KVM";
	return look_around(!now.cut && status != 121);
}

static bool guest_passed(void)
{
	static char text[TEXT];

	read_text(opt.says, text);
	return strstr(text, "bare: passed") || strstr(now.err, "--result: "); /* it cannot be known */
}

static bool had_to_try_again(void)
{
	static char text[TEXT];

	if (!opt.run)
		return false;
	read_text(opt.says, text);
	return strstr(text, "again: device ");
}

static const char *judge_good_end(bool *ret_refused)
{
	bool passed = !opt.run || guest_passed();

	if (!lines_are_ours())
		return "a line that is not ours";
	if (strstr(now.err, "as the driver set it up"))
		return "the guest is blamed";
	if ((!passed || had_to_try_again()) && !strstr(now.err, "0: ") && !strstr(now.err, "INTID "))
		return "the guest was let down, and no line says which device";
	if (!opt.run && now.victim && must_be_said() && !now.err[0])
		return "a protection is missing, and no line says so";
	*ret_refused = !passed;
	return look_around(false);
}

static bool was_the_loops_wait(void)
{
	return now.nr == SYS_io_uring_enter && now.args[2];
}

/* NULL, or what is wrong. */
static const char *judge(bool *ret_refused)
{
	int status = WIFEXITED(now.status) ? WEXITSTATUS(now.status) : -1;

	*ret_refused = false;
	if (now.hangs)
		return now.ended ? "a process is left, or it hangs" : "it hangs";
	if (!status)
		return judge_good_end(ret_refused);
	if (opt.run || (status != 125 && status != 126 && !(status == 121 && was_the_loops_wait())))
		return "status";
	*ret_refused = true;
	return judge_refusal(status);
}

static void tell(const char *how, unsigned k, const char *code)
{
	printf("%s: call %u (%s) %s: ", how, k, now.what, code);
	if (WIFSIGNALED(now.status))
		printf("signal %d: ", WTERMSIG(now.status));
	else
		printf("status %d: ", WEXITSTATUS(now.status));
	printf("%s%s", now.err, now.err[0] ? "" : "\n");
	fflush(stdout);
}

static void inject(unsigned k, unsigned e)
{
	const char *wrong;
	bool was_refused;

	run_once(k, e);
	/* of a run, which is not the same each time */
	if (!now.victim)
		return;
	wrong = judge(&was_refused);
	bad += !!wrong;
	if (wrong)
		note_before(); /* so that the next does not pay for it */
	refused += !wrong && was_refused;
	tolerated += !wrong && !was_refused;
	if (wrong || opt.verbose)
		tell(wrong ? wrong : was_refused ? "refused" : "tolerated", k, errnos[e].name);
}

static unsigned count_calls(void)
{
	bool was_refused;
	const char *wrong;

	run_once(0, 0);
	wrong = judge(&was_refused);
	if (!wrong && !was_refused && !now.err[0])
		return now.calls;
	printf("without a fault: %s, status %x: %s", wrong, (unsigned)now.status, now.err);
	exit(2);
}

static const char *value(char **argv, int *i)
{
	if (!argv[*i + 1])
		die("usage");
	return argv[++*i];
}

static void add_file(const char *path, bool absent)
{
	if (opt.nr_files == MAX_FILES)
		die("too many files");
	opt.files[opt.nr_files++] = (struct file){ .path = path, .absent = absent };
}

static void parse(char **argv)
{
	int i = 1;

	opt.run = argv[i] && !strcmp(argv[i], "run");
	for (i = 2; argv[1] && argv[i] && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--turns"))
			opt.turns = (unsigned)atoi(value(argv, &i));
		else if (!strcmp(argv[i], "--there"))
			add_file(value(argv, &i), false);
		else if (!strcmp(argv[i], "--absent"))
			add_file(value(argv, &i), true);
		else if (!strcmp(argv[i], "--tap"))
			opt.tap = value(argv, &i);
		else if (!strcmp(argv[i], "--says"))
			opt.says = value(argv, &i);
		else if (!strcmp(argv[i], "--cgroup"))
			opt.cgroup = value(argv, &i);
		else if (!strcmp(argv[i], "--terminal"))
			opt.terminal = true;
		else if (!strcmp(argv[i], "--verbose"))
			opt.verbose = true;
		else
			die(argv[i]);
	}
	if (!argv[1] || !argv[i] || !argv[i + 1])
		die("usage");
	opt.command = argv + i + 1;
}

/* Each stop is two switches from one process to the other, which from CPU to CPU takes an emulated host ten times as long. */
static void stay_on_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("affinity");
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	unsigned calls;

	(void)argc;
	parse(argv);
	sigaction(SIGALRM, &sa, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	stay_on_one_cpu();
	if (opt.terminal)
		open_terminal();
	note_before();
	calls = count_calls();
	for (unsigned k = 1; k <= calls; k++)
		for (unsigned e = 0; e < NR_ERRNOS; e++)
			if (!opt.turns || (k % opt.turns == 0 && k / opt.turns % NR_ERRNOS == e))
				inject(k, e);
	printf("%u calls, %u injections: %u refused, %u tolerated, %u bad\n", calls, refused + tolerated + bad, refused,
	       tolerated, bad);
	return bad ? 1 : 0;
}
