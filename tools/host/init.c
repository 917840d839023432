/*
 * The first process of the emulated arm64 host: gets the system ready, runs one command, hands back what it
 * said and how it ended, and powers the machine off.
 *
 * Everything it is told stands in /host, which arm64-host puts into the initramfs:
 *   argv      the command's words, each ended by a NUL
 *   env       its environment, likewise
 *   modules   paths of the kernel modules to load, one a line, in order
 *   setup     a shell script to run first (optional)
 *   stdin     where it exists, there is input for the command (optional)
 *   tty       "ROWS COLUMNS": the command gets the terminal hvc0 (optional)
 *   klog      where it exists, the kernel's log is sent home at the end
 *   out       where it exists, what is in /out is sent home as a tar archive at the end
 *
 * The way home is a virtio console device of which each port ends in a file: a write has reached that file when
 * it returns, for QEMU (without KVM) carries it out in the vCPU's own thread. So nothing is lost by powering off
 * at once. The command writes to pipes, not to the ports, since a port can be opened only once, which would
 * break a script's >/dev/stderr; whoever keeps a pipe open after the command has ended is not waited for.
 *
 * Should this process die, the kernel panics, and the machine side sees an end without a status.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* The ports, by the names that arm64-host gives them */
#define PORT_STDIN "host.stdin"
#define PORT_STDOUT "host.stdout"
#define PORT_STDERR "host.stderr"
#define PORT_STATUS "host.status"
#define PORT_KLOG "host.klog"
#define PORT_OUT "host.out"
#define PORTS "/sys/class/virtio-ports"
#define TERMINAL "/dev/hvc0"

#define MAX_WORDS 4096
#define READ_SIZE 32768
/* What a pipe can hold at most; more than that was written after the command had ended */
#define MAX_LEFT (1 << 20)

/* Ends the machine without a status: the message is on the console, which arm64-host shows */
static void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);
}

/* SysRq b: the orderly way down takes a second here, and all that mattered is home. With -no-reboot it ends QEMU. */
static void reset_at_once(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "b", 1) == 1)
		pause();
}

/*
 * The initramfs is the rootfs, which pivot_root refuses to leave. A bind mount of it over itself is a mount like
 * any other, as programs that sandbox themselves find on a user's machine.
 */
static void make_root_a_mount(void)
{
	if (mkdir("/r", 0700) || mount("/", "/r", NULL, MS_BIND, NULL) || chdir("/r") ||
	    mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		give_up("cannot make the root a mount");
	rmdir("/r");
}

static void mount_all(void)
{
	static const struct {
		const char *type, *where, *options;
	} mounts[] = {
		{ "devtmpfs", "/dev", "mode=0755" },
		{ "proc", "/proc", NULL },
		{ "sysfs", "/sys", NULL },
		{ "devpts", "/dev/pts", "mode=0620,ptmxmode=0666" },
		{ "tmpfs", "/dev/shm", "mode=1777" },
		{ "tmpfs", "/run", "mode=0755" },
		{ "tmpfs", "/tmp", "mode=1777" },
		{ "cgroup2", "/sys/fs/cgroup", NULL },
		{ "debugfs", "/sys/kernel/debug", NULL },
		{ "tracefs", "/sys/kernel/tracing", NULL },
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, mounts[i].options))
			fprintf(stderr, "init: mount %s: %s\n", mounts[i].where, strerror(errno));
	}
	mkdir("/out", 0777);
	if (symlink("/proc/self/fd", "/dev/fd") || symlink("/proc/self/fd/0", "/dev/stdin") ||
	    symlink("/proc/self/fd/1", "/dev/stdout") || symlink("/proc/self/fd/2", "/dev/stderr"))
		fprintf(stderr, "init: /dev/fd: %s\n", strerror(errno));
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
		fprintf(stderr, "init: %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void load_modules(void)
{
	char line[256];
	FILE *list = fopen("/host/modules", "re");

	if (!list)
		give_up("/host/modules");
	while (fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = 0;
		load_module(line);
	}
	fclose(list);
}

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0 || ioctl(s, SIOCSIFFLAGS, &ifr))
		fprintf(stderr, "init: lo: %s\n", strerror(errno));
	if (s >= 0)
		close(s);
}

/* Finds the device of the port with this name: its number depends on what else the machine has */
static int find_port(const char *name, char *ret_path, size_t size)
{
	char file[512], found[64];
	struct dirent *entry;
	DIR *dir = opendir(PORTS);
	int rc = -ENOENT;

	while (rc && dir && (entry = readdir(dir))) {
		FILE *f;

		snprintf(file, sizeof(file), PORTS "/%s/name", entry->d_name);
		f = fopen(file, "re");
		if (f && fscanf(f, "%63s", found) == 1 && !strcmp(found, name)) {
			snprintf(ret_path, size, "/dev/%s", entry->d_name);
			rc = 0;
		}
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return rc;
}

/* Ports and their names appear a moment after their driver was loaded */
static int open_port(const char *name, int flags)
{
	char path[300];

	for (int tries = 0; tries < 1000; tries++) {
		int fd;

		if (!find_port(name, path, sizeof(path))) {
			fd = open(path, flags | O_CLOEXEC);
			if (fd >= 0)
				return fd;
		}
		usleep(5000);
	}
	return -1;
}

/* The same for a device file */
static int open_terminal(void)
{
	int fd = -1;

	for (int tries = 0; fd < 0 && tries < 1000; tries++) {
		fd = open(TERMINAL, O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			usleep(5000);
	}
	return fd;
}

/* Cuts a file of NUL-ended words into a NULL-ended list; both live until the end */
static char **read_words(const char *path)
{
	struct stat st;
	char *text, **words = calloc(MAX_WORDS + 1, sizeof(*words));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	if (fd < 0 || fstat(fd, &st) || !words)
		give_up(path);
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text || read(fd, text, (size_t)st.st_size) != st.st_size)
		give_up(path);
	close(fd);
	for (char *p = text; p < text + st.st_size && n < MAX_WORDS; p += strlen(p) + 1)
		words[n++] = p;
	return words;
}

/* Returns 1 and the size where the command is to have a terminal, else 0 */
static int wants_terminal(struct winsize *ret_size)
{
	unsigned int rows = 24, columns = 80;
	FILE *f = fopen("/host/tty", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%u %u", &rows, &columns) == 2)
		*ret_size = (struct winsize){ .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
	fclose(f);
	return 1;
}

static void __attribute__((noreturn)) run_child(char **argv, char **env, const int fds[3])
{
	static const int defaults[] = { SIGPIPE, SIGCHLD, SIGINT, SIGTERM };

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		signal(defaults[i], SIG_DFL);
	setsid();
	for (int i = 0; i < 3; i++)
		dup2(fds[i], i);
	if (isatty(0))
		ioctl(0, TIOCSCTTY, 0);
	if (chdir("/root"))
		_exit(127);
	environ = env;
	execvp(argv[0], argv);
	fprintf(stderr, "arm64-host: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static pid_t start_child(char **argv, char **env, const int fds[3])
{
	pid_t pid = fork();

	if (pid < 0)
		give_up("fork");
	if (pid == 0)
		run_child(argv, env, fds);
	return pid;
}

/* The exit status as a shell tells it */
static int shell_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reaps all that ended; returns 1 and the status once pid is among them, else 0 */
static int reap(pid_t pid, int options, int *ret_status)
{
	pid_t ended;
	int status, found = 0;

	while ((ended = waitpid(-1, &status, options)) > 0) {
		if (ended == pid) {
			*ret_status = shell_status(status);
			found = 1;
			break;
		}
	}
	return found;
}

static int run_and_wait(char **argv, char **env, const int fds[3])
{
	int status = 127;

	reap(start_child(argv, env, fds), 0, &status);
	return status;
}

static void write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

/* Moves some of what is in a pipe to a port; returns 0 where there is nothing more now, or ever */
static int pump(int from, int to)
{
	static char buffer[READ_SIZE];
	ssize_t n = read(from, buffer, sizeof(buffer));

	if (n > 0)
		write_all(to, buffer, (size_t)n);
	return n > 0;
}

static int child_event[2];

static void on_child(int sig)
{
	int saved = errno;

	(void)sig;
	if (write(child_event[1], "", 1) < 0)
		errno = saved;
	errno = saved;
}

/* Carries the two pipes to their ports until pid has ended, and then what is left in them */
static int pump_until_end(pid_t pid, struct pollfd pipes[2], const int ports[2])
{
	struct pollfd p[3] = { pipes[0], pipes[1], { .fd = child_event[0], .events = POLLIN } };
	int status = 0;
	char c[64];

	for (;;) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			give_up("poll");
		for (int i = 0; i < 2; i++) {
			if (p[i].fd >= 0 && p[i].revents && !pump(p[i].fd, ports[i]) && !(p[i].revents & POLLIN))
				p[i].fd = -1;
		}
		if (read(child_event[0], c, sizeof(c)) > 0 && reap(pid, WNOHANG, &status))
			break;
	}
	for (int i = 0; i < 2; i++) {
		for (int n = 0; n < MAX_LEFT / READ_SIZE && p[i].fd >= 0 && pump(p[i].fd, ports[i]); n++)
			;
	}
	return status;
}

static int open_input(void)
{
	return access("/host/stdin", F_OK) ? open("/dev/null", O_RDONLY | O_CLOEXEC) : open_port(PORT_STDIN, O_RDONLY);
}

static int run_piped(char **argv, char **env)
{
	int in = open_input(), out[2], err[2], fds[3];
	const int ports[2] = { open_port(PORT_STDOUT, O_WRONLY), open_port(PORT_STDERR, O_WRONLY) };
	struct pollfd pipes[2];
	pid_t pid;

	if (in < 0 || ports[0] < 0 || ports[1] < 0 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) ||
	    pipe2(child_event, O_CLOEXEC | O_NONBLOCK))
		give_up("no way to hand the command's output on");
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	signal(SIGCHLD, on_child);
	fds[0] = in;
	fds[1] = out[1];
	fds[2] = err[1];
	pid = start_child(argv, env, fds);
	close(in);
	close(out[1]);
	close(err[1]);
	pipes[0] = (struct pollfd){ .fd = out[0], .events = POLLIN };
	pipes[1] = (struct pollfd){ .fd = err[0], .events = POLLIN };
	return pump_until_end(pid, pipes, ports);
}

static int run_on_terminal(char **argv, char **env, const struct winsize *size)
{
	int tty = open_terminal();
	int fds[3] = { tty, tty, tty };

	if (tty < 0)
		give_up(TERMINAL);
	ioctl(tty, TIOCSWINSZ, size);
	return run_and_wait(argv, env, fds);
}

/* The kernel's log, as dmesg -r shows it */
static void send_klog(void)
{
	int size = klogctl(10, NULL, 0), port = open_port(PORT_KLOG, O_WRONLY);
	char *log = size > 0 ? malloc((size_t)size) : NULL;

	if (!log || port < 0)
		return;
	size = klogctl(3, log, size);
	if (size > 0)
		write_all(port, log, (size_t)size);
	close(port);
	free(log);
}

static void send_out(char **env)
{
	char *argv[] = { "busybox", "tar", "-C", "/out", "-cf", "-", ".", NULL };
	int port = open_port(PORT_OUT, O_WRONLY);
	int fds[3] = { port, port, STDERR_FILENO };

	signal(SIGCHLD, SIG_DFL);
	if (port < 0 || run_and_wait(argv, env, fds))
		fprintf(stderr, "init: /out could not be sent\n");
}

static void run_setup(char **env)
{
	char *argv[] = { "sh", "-e", "/host/setup", NULL };
	const int fds[3] = { 0, 1, 2 };
	int status;

	if (access("/host/setup", F_OK))
		return;
	status = run_and_wait(argv, env, fds);
	if (status) {
		errno = ECHILD;
		give_up("/host/setup failed");
	}
}

int main(void)
{
	struct winsize size = { 24, 80, 0, 0 };
	char **argv, **env, text[32];
	int status, port;

	make_root_a_mount();
	mount_all();
	load_modules();
	loopback_up();
	sethostname("arm64-host", strlen("arm64-host"));
	umask(022);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	argv = read_words("/host/argv");
	env = read_words("/host/env");
	environ = env;
	run_setup(env);
	status = wants_terminal(&size) ? run_on_terminal(argv, env, &size) : run_piped(argv, env);
	if (!access("/host/out", F_OK))
		send_out(env);
	if (!access("/host/klog", F_OK))
		send_klog();
	port = open_port(PORT_STATUS, O_WRONLY);
	write_all(port, text, (size_t)snprintf(text, sizeof(text), "exit %d\n", status));
	sync();
	reset_at_once();
	reboot(RB_POWER_OFF);
	return 0;
}
