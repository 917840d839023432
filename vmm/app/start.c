// SPDX-License-Identifier: BSD-3-Clause
/* The start, step by step. Why in this order, main.c tells. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "vmm/app/app.h"
#include "vmm/app/panic_text.h"
#include "vmm/app/result.h"
#include "vmm/app/sandbox.h"
#include "vmm/app/seccomp.h"
#include "vmm/app/terminal.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"
#include "vmm/core/uring_probe.h"

/* O_NONBLOCK is for open(2) alone: a FIFO without a reader must not hang us. */
static int open_log(const char *path)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);

	if (fd < 0 || fcntl(fd, F_SETFL, O_APPEND))
		return -errno;
	return steal_fd(&fd);
}

int app_start_log(struct app *a, struct err *err)
{
	const struct config *c = &a->options.config;

	if (c->log_file) {
		int fd = open_log(c->log_file);

		if (fd < 0)
			return err_set(err, fd, "--log: '%s': %s", c->log_file,
				       fd == -ENXIO ? "nothing reads this pipe" : strerror(-fd));
		a->log_fd = fd;
	}
	fd_note(STDERR_FILENO, FD_LOG); /* errors and the list of keys go there in any case */
	log_init(a->log_fd, (enum log_level)c->log_level, c->log_json ? LOG_JSON : LOG_TEXT);
	return 0;
}

static int open_result(struct app *a, struct err *err)
{
	const struct config *c = &a->options.config;
	int flags;

	if (c->result_path) {
		int ret = outfile_open(&a->result, "--result", c->result_path, err);

		a->has_result = !ret;
		return ret;
	}
	if (c->result_fd < 0)
		return 0;
	flags = fcntl(c->result_fd, F_GETFL);
	/* what is in the book by now, standard error aside, is ours: nobody handed it down */
	if (fd_kinds(c->result_fd) & ~(uint32_t)FD_LOG || (c->result_fd == a->log_fd && a->log_fd != STDERR_FILENO))
		flags = -1;
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return err_set(err, -EBADF, "--result: fd=%d: not a descriptor that is open for writing", c->result_fd);
	fd_note_also(c->result_fd, FD_OUTFILE);
	a->result.fd = c->result_fd; /* not cut: it may be shared and hold something */
	a->has_result = true;
	return 0;
}

static int refuse_ring(int ret, struct err *err)
{
	if (ret == -EPERM || ret == -ENOSYS)
		return err_set(err, ret, "io_uring: %s (see sysctl kernel.io_uring_disabled, or the container's seccomp profile)",
			       strerror(-ret));
	return err_set(err, ret, "io_uring: %s%s", strerror(-ret),
		       ret == -EINVAL ? " (Linux 5.13 or newer is needed)" : "");
}

static int write_dtb(struct app *a, struct err *err)
{
	size_t len;
	const void *dtb = machine_dtb(a->machine, &len);
	int ret = outfile_clear(&a->dtb);

	if (!ret)
		ret = outfile_put(&a->dtb, dtb, len);
	if (ret)
		return err_set(err, ret, "--dump-dtb: '%s': %s", a->dtb.path, strerror(-ret));
	close_fd(&a->dtb.fd);
	return 0;
}

/* The user's terminal, a pipe, or nothing: a terminal that is not ours to read would stop us. */
static int open_mux(struct app *a, struct err *err)
{
	enum console_kind kind = a->options.config.console;
	struct stream_cfg io = { .in_fd = -1, .out_fd = -1, .pty = kind == CONSOLE_PTY, .listens = kind == CONSOLE_SOCKET };
	bool tty = false;
	int ret;

	if (kind == CONSOLE_STDIO) {
		tty = terminal_is(STDIN_FILENO);
		(void)terminal_is(STDOUT_FILENO); /* for its size */
		io.in_fd = !tty || terminal_usable(STDIN_FILENO) ? STDIN_FILENO : -1;
		io.out_fd = STDOUT_FILENO;
	} else if (kind == CONSOLE_FILE) {
		/* it is still to be cut */
		if (a->console.regular && fcntl(a->console.fd, F_SETFL, O_APPEND))
			return err_set(err, -errno, "--console: '%s': %s", a->console.path, strerror(errno));
		io.out_fd = a->console.fd;
	} else if (kind == CONSOLE_PTY) {
		io.in_fd = io.out_fd = a->pty.fd;
	} else if (kind == CONSOLE_SOCKET) {
		io.in_fd = io.out_fd = a->socket.listen_fd;
	}
	tty = tty && io.in_fd >= 0;
	a->terminal = tty ? io.in_fd : -1;
	ret = console_mux_open(a->mux, a->loop, &io, tty, &app_mux_ops, a);
	return ret ? err_set(err, ret, "console: %s", strerror(-ret)) : 0;
}

static const struct app *running; /* for denied(), which has no context */

/* A thread is the attacker's, or has a bug: no lock, no memory, no more than has to be. */
static void denied(const char *text)
{
	terminal_restore();
	log_stderr(text);
	if (running->log_fd != STDERR_FILENO)
		log_last(text);
	if (running->has_result)
		result_put_denied(running->result.fd, text);
}

static atomic_bool cpu_unarmed;

static int arm_cpu(int vcpu_fd)
{
	int ret = seccomp_arm(RIGHT_CPU, vcpu_fd);

	if (ret)
		atomic_store(&cpu_unarmed, true);
	return ret;
}

/* All descriptors are there; from here on only threads come. */
static int start_cpus(struct app *a, struct err *err)
{
	const struct config *c = &a->options.config;
	int ret;

	machine_settle(a->machine);
	running = a;
	if (!a->options.no_sandbox && seccomp_make(a->options.seccomp, denied, err))
		return -EINVAL;
	ret = machine_start(a->machine, arm_cpu);
	if (ret && atomic_load(&cpu_unarmed))
		return err_set(err, ret, "seccomp: arming the filter of a vCPU's thread: %s", strerror(-ret));
	return ret ? err_set(err, ret, "cpus: starting %u threads: %s", c->cpus, strerror(-ret)) : 0;
}

static int attach(struct app *a, struct err *err)
{
	int ret = signals_open(&a->signals, a->loop, &app_signals_ops, a);

	if (ret)
		return err_set(err, ret, "signals: %s", strerror(-ret));
	ret = loop_seal(a->loop);
	if (ret)
		return refuse_ring(ret, err);
	a->has_terminal = a->terminal >= 0;
	if (a->has_terminal)
		ret = terminal_raw(a->terminal);
	if (ret)
		return err_set(err, ret, "terminal: %s", strerror(-ret));
	app_resize(a);
	return start_cpus(a, err);
}

/* What changes files of the user's. Behind it only a byte to the keeper and this thread's filter can fail. */
static int write_files(struct app *a, struct err *err)
{
	const struct config *c = &a->options.config;
	int ret;

	if (c->dump_dtb && write_dtb(a, err))
		return EXIT_NO_START;
	ret = outfile_clear(&a->result);
	if (ret)
		err_set(err, ret, "--result: '%s': %s", a->result.path, strerror(-ret));
	if (!ret && !c->dry_run && c->console == CONSOLE_FILE) {
		ret = outfile_clear(&a->console);
		if (ret)
			err_set(err, ret, "--console: '%s': %s", a->console.path, strerror(-ret));
	}
	return ret ? EXIT_NO_START : 0;
}

static int open_socket(struct app *a, struct err *err)
{
	const struct uds_cfg cfg = { .id = "--console", .key = "socket", .path = a->options.config.console_path };

	return uds_open(&cfg, &a->socket, err);
}

/* Everything that has a path. */
static int open_paths(struct app *a, bool *ret_no_kvm, struct err *err)
{
	const struct config *c = &a->options.config;
	int ret = open_result(a, err);

	if (!ret)
		ret = machine_open(c, a->loop, &a->machine, ret_no_kvm, err);
	if (!ret && c->console == CONSOLE_FILE)
		ret = outfile_open(&a->console, "--console", c->console_path, err);
	if (!ret && !c->dry_run && c->console == CONSOLE_PTY)
		ret = pty_open(&a->pty, err);
	if (!ret && c->console == CONSOLE_SOCKET)
		ret = open_socket(a, err);
	if (!ret && c->dump_dtb)
		ret = outfile_open(&a->dtb, "--dump-dtb", c->dump_dtb, err);
	if (!ret && !c->dry_run)
		ret = open_mux(a, err);
	return ret;
}

/* The guest's consoles, and who looks on at them. */
static int make_sinks(struct app *a, struct machine_console *ret_con, struct err *err)
{
	const char *text = a->options.config.panic_text;
	int ret;

	console_mux_sinks(a->mux, ret_con);
	if (a->options.config.result_path || a->options.config.result_fd >= 0)
		first_output_watch(&a->first_output, a->loop, ret_con);
	if (!text)
		return 0;
	ret = panic_text_new(text, a->loop, app_panic_line, a, &a->panic_text);
	if (ret)
		return err_set(err, ret, "--panic-text: %s", strerror(-ret));
	panic_text_watch(a->panic_text, ret_con);
	return 0;
}

/* A failing start must take back the files that we made, though no path leads to them any more. */
static int keep_files(struct app *a, struct err *err)
{
	const char *paths[] = { a->console.created ? a->console.path : NULL, a->dtb.created ? a->dtb.path : NULL };
	int ret;

	if (!paths[0] && !paths[1])
		return 0;
	ret = keeper_new(&a->keeper, paths, ARRAY_LEN(paths));
	if (ret)
		return err_set(err, ret, "sandbox: a child that looks after new files: %s", strerror(-ret));
	a->console.kept = a->dtb.kept = true;
	return 0;
}

static unsigned count_kind(const struct config *c, enum dev_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->nr_devices; i++)
		n += c->devices[i].kind == kind;
	return n;
}

/* Connections of socket devices by Unix sockets, with those that are on their way. */
static unsigned count_conns(const struct config *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->nr_devices; i++)
		n += c->devices[i].vsock.uds ? c->devices[i].vsock.max_conns + VSOCK_MORE_CONNS : 0;
	return n;
}

static struct sandbox_cfg sandbox_wants(const struct app *a)
{
	const struct options *o = &a->options;
	const struct config *c = &o->config;
	unsigned conns = count_conns(c), clients = c->console == CONSOLE_SOCKET ? STREAM_CLIENTS : 0;

	return (struct sandbox_cfg){
		.cgroup = o->cgroup, .uid = o->uid, .gid = o->gid, .memory = c->memory + conns * VSOCK_CONN_MEMORY, .cpus = c->cpus,
		.disks = count_kind(c, DEV_DISK), .files = loop_file_count(a->loop),
		.back_ends = count_kind(c, DEV_VHOST_USER) + count_kind(c, DEV_FS), .conns = conns + clients + machine_more_fds(c),
		.pins_memory = count_kind(c, DEV_VFIO),
	};
}

static int enter_sandbox(struct app *a, struct err *err)
{
	const struct sandbox_cfg cfg = sandbox_wants(a);
	int ret;

	if (a->options.no_sandbox)
		return 0;
	ret = keep_files(a, err);
	return ret ? ret : sandbox_enter(&cfg, err);
}

/* At the end of a start, so that what ends in an error says that alone. */
static void say_where_it_is(const struct app *a)
{
	if (a->pty.fd >= 0)
		log_always("console: %s", a->pty.name);
}

static void say_what_is_kept(const struct options *o)
{
	if (o->no_sandbox)
		log_warn("--no-sandbox: this process keeps all its rights; for guests that are trusted only");
	if (o->seccomp != SECCOMP_ON)
		log_warn("--seccomp %s: system calls are not denied; for debugging only",
			 o->seccomp == SECCOMP_LOG ? "log" : "off");
	if (*sandbox_missing())
		log_warn("sandbox: could not have: %s", sandbox_missing());
}

/* Whether there would be a ring, where none is made. */
static int check_ring(struct err *err)
{
	struct uring_facts f;

	uring_probe(&f);
	return f.error ? refuse_ring(f.error, err) : 0;
}

int app_start(struct app *a, struct err *err)
{
	const struct config *c = &a->options.config;
	struct machine_console con;
	bool no_kvm = false;
	int ret;

	signals_block();
	ret = loop_new(&a->loop);
	if (ret) {
		err_set(err, ret, "event loop: %s", strerror(-ret));
		return EXIT_NO_START;
	}
	a->mux = console_mux_get();
	if (make_sinks(a, &con, err))
		return EXIT_NO_START;
	if (open_paths(a, &no_kvm, err))
		return no_kvm ? EXIT_NO_KVM : EXIT_NO_START;
	if (enter_sandbox(a, err))
		return EXIT_NO_START;
	if (machine_build(a->machine, &con, &no_kvm, err))
		return no_kvm ? EXIT_NO_KVM : EXIT_NO_START;
	if (c->dry_run ? check_ring(err) : attach(a, err))
		return EXIT_NO_START;
	say_what_is_kept(&a->options);
	say_where_it_is(a);
	return write_files(a, err);
}

int app_shut(struct app *a, struct err *err)
{
	const struct sandbox_cfg cfg = sandbox_wants(a);
	int ret;

	if (keeper_end(&a->keeper, KEEP_CONSOLE | KEEP_DTB, err))
		return EXIT_NO_START;
	if (a->options.no_sandbox)
		return 0;
	sandbox_shut(&cfg);
	ret = seccomp_arm(RIGHT_LOOP, -1);
	if (ret)
		err_set(err, ret, "seccomp: arming the filter of the event loop: %s", strerror(-ret));
	return ret ? EXIT_NO_START : 0;
}
