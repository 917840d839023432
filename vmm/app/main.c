// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the command line to the exit status.
 *
 * Order: parse; log; block signals; open what is named; the sandbox, from which no path leads
 * anywhere; build the VM; the loop's ring; take the terminal; make the filters of system calls and
 * the vCPU threads; write what was asked for (device tree); arm; run. Nothing of the user's is
 * changed before all that can fail has been tried: files are opened without being cut.
 *
 * Way out: the guest has stopped; what it printed is written out; the terminal is restored;
 * machine_let_go() lets go of taps and vhost in their order, so that the tap is as it was; then
 * result and error line, and _exit(): what is left, the VM and its memory above all, the kernel
 * takes back quicker than we could give it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/app/console_mux.h"
#include "vmm/app/keeper.h"
#include "vmm/app/keys.h"
#include "vmm/app/options.h"
#include "vmm/app/outfile.h"
#include "vmm/app/result.h"
#include "vmm/app/sandbox.h"
#include "vmm/app/seccomp.h"
#include "vmm/app/signals.h"
#include "vmm/app/terminal.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/libc.h"
#include "vmm/base/log.h"
#include "vmm/base/obj.h"
#include "vmm/core/uring_probe.h"
#include "vmm/doctor/doctor.h"

#define FLUSH_NS NS_PER_SEC /* how long a slow reader of the console may keep us at the end */
#define TAIL_BYTES 4096

struct app {
	struct loop *loop;
	struct machine *machine;
	struct console_mux *mux;
	struct signals signals;
	struct outfile result, console, dtb;
	bool has_result;
	struct keeper keeper;
	bool has_terminal; /* standard input is one, and ours to read */
	int terminal; /* -1: none */
	int log_fd;
	uint64_t begin_ns;
	struct options options;
};

/*
 * All zero, so that they take no room in the file, and no memory where they are not touched. Together with all other
 * variables less than 2 MiB: in more the kernel may find room for a huge page, and clear it at the first touch.
 */
static struct app the_app;
static _Alignas(4096) uint8_t the_arena[3 * MIB / 2];

/* What the loop tells us */

static void on_end(void *ctx, int signo)
{
	struct app *a = ctx;

	machine_stop(a->machine, STOP_SIGNAL, signo, NULL);
}

static void log_lines(char *text)
{
	char *next;

	for (char *line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		log_always("%s", line);
	}
}

/* A dump is many lines: for them the terminal is put back, or each would start where the last ended. */
static void on_dump(void *ctx)
{
	struct app *a = ctx;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	machine_dump(a->machine, out);
	fclose(out);
	terminal_restore();
	if (text)
		log_lines(text);
	terminal_resume();
	free(text);
}

static void on_resize(void *ctx)
{
	struct app *a = ctx;
	uint16_t cols, rows;

	if (a->options.config.console == CONSOLE_STDIO &&
	    (terminal_size(STDOUT_FILENO, &cols, &rows) || (a->has_terminal && terminal_size(STDIN_FILENO, &cols, &rows))))
		machine_hvc_resize(a->machine, cols, rows);
}

static void on_stop(void *ctx)
{
	(void)ctx;
	terminal_restore();
}

static void on_cont(void *ctx)
{
	terminal_resume();
	on_resize(ctx);
}

static const struct signals_ops signals_ops = {
	.end = on_end, .dump = on_dump, .resize = on_resize, .stop = on_stop, .cont = on_cont,
};

static size_t to_hvc(void *ctx, const uint8_t *buf, size_t len)
{
	return machine_hvc_input(((struct app *)ctx)->machine, buf, len);
}

static size_t to_uart(void *ctx, const uint8_t *buf, size_t len)
{
	return machine_uart_input(((struct app *)ctx)->machine, buf, len);
}

static void hvc_room(void *ctx)
{
	machine_hvc_room(((struct app *)ctx)->machine);
}

static void on_user_end(void *ctx)
{
	machine_stop(((struct app *)ctx)->machine, STOP_USER, 0, NULL);
}

static void on_help(void *ctx)
{
	(void)ctx;
	if (write(STDERR_FILENO, keys_help, strlen(keys_help)) < 0)
		return; /* nobody is looking */
}

static const struct console_mux_ops mux_ops = {
	.hvc_input = to_hvc, .uart_input = to_uart, .hvc_room = hvc_room, .end = on_user_end, .help = on_help,
};

/* Start */

/* A file that we open must not become standard output by accident. */
static void fill_standard_fds(void)
{
	struct pollfd fds[3] = { { .fd = 0 }, { .fd = 1 }, { .fd = 2 } };

	if (poll(fds, 3, 0) <= 0)
		return;
	for (int i = 0; i < 3; i++)
		if (fds[i].revents & POLLNVAL && open("/dev/null", O_RDWR) != i)
			return;
}

static int start_log(struct app *a, struct err *err)
{
	const struct config *c = &a->options.config;

	if (c->log_file) {
		a->log_fd = open(c->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
		if (a->log_fd < 0) {
			a->log_fd = STDERR_FILENO;
			return err_set(err, -errno, "--log: '%s': %s", c->log_file, strerror(errno));
		}
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
	return err_set(err, ret, "io_uring: %s%s", strerror(-ret), ret == -EINVAL ? " (Linux 5.10 or newer is needed)" : "");
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
	int in = -1, out = -1;
	bool tty = false;
	int ret;

	if (kind == CONSOLE_STDIO) {
		tty = terminal_is(STDIN_FILENO);
		(void)terminal_is(STDOUT_FILENO); /* for its size */
		in = !tty || terminal_usable(STDIN_FILENO) ? STDIN_FILENO : -1;
		out = STDOUT_FILENO;
	} else if (kind == CONSOLE_FILE) {
		out = a->console.fd;
	}
	tty = tty && in >= 0;
	a->terminal = tty ? in : -1;
	ret = console_mux_open(a->mux, a->loop, in, out, tty, &mux_ops, a);
	return ret ? err_set(err, ret, "console: %s", strerror(-ret)) : 0;
}

/* A thread is the attacker's, or has a bug: no lock, no memory, no more than has to be. */
static void denied(const char *text)
{
	struct app *a = &the_app;

	terminal_restore();
	log_stderr(text);
	if (a->has_result)
		result_put_denied(a->result.fd, text);
}

static int arm_cpu(int vcpu_fd)
{
	return seccomp_arm(RIGHT_CPU, vcpu_fd);
}

/* All descriptors are there; from here on only threads come. */
static int start_cpus(struct app *a, struct err *err)
{
	const struct config *c = &a->options.config;
	int ret;

	machine_settle(a->machine);
	if (!a->options.no_sandbox && seccomp_make(a->options.seccomp, denied, err))
		return -EINVAL;
	ret = machine_start(a->machine, arm_cpu);
	return ret ? err_set(err, ret, "cpus: starting %u threads: %s", c->cpus, strerror(-ret)) : 0;
}

static int attach(struct app *a, struct err *err)
{
	int ret = signals_open(&a->signals, a->loop, &signals_ops, a);

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
	on_resize(a);
	return start_cpus(a, err);
}

/* What changes files of the user's, when nothing else is left that can fail. */
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

/* Everything that has a path. */
static int open_paths(struct app *a, bool *ret_no_kvm, struct err *err)
{
	const struct config *c = &a->options.config;
	int ret = open_result(a, err);

	if (!ret)
		ret = machine_open(c, a->loop, &a->machine, ret_no_kvm, err);
	if (!ret && c->console == CONSOLE_FILE)
		ret = outfile_open(&a->console, "--console", c->console_file, err);
	if (!ret && c->dump_dtb)
		ret = outfile_open(&a->dtb, "--dump-dtb", c->dump_dtb, err);
	if (!ret && !c->dry_run)
		ret = open_mux(a, err);
	return ret;
}

/* Files that we made and that a failing start must take back, though no path leads to them any more. */
enum { KEEP_CONSOLE = 1, KEEP_DTB = 2 };

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

static bool has_vfio(const struct config *c)
{
	for (unsigned i = 0; i < c->nr_devices; i++)
		if (c->devices[i].kind == DEV_VFIO)
			return true;
	return false;
}

static int enter_sandbox(struct app *a, struct err *err)
{
	const struct options *o = &a->options;
	struct sandbox_cfg cfg = {
		.cgroup = o->cgroup, .uid = o->uid, .gid = o->gid,
		.memory = o->config.memory, .cpus = o->config.cpus, .pins_memory = has_vfio(&o->config),
	};
	int ret;

	if (o->no_sandbox) {
		log_warn("--no-sandbox: this process keeps all its rights; for guests that are trusted only");
		return 0;
	}
	if (o->seccomp != SECCOMP_ON)
		log_warn("--seccomp %s: system calls are not denied; for debugging only",
			 o->seccomp == SECCOMP_LOG ? "log" : "off");
	ret = keep_files(a, err);
	return ret ? ret : sandbox_enter(&cfg, err);
}

/* Whether there would be a ring, where none is made. */
static int check_ring(struct err *err)
{
	struct uring_facts f;

	uring_probe(&f);
	return f.error ? refuse_ring(f.error, err) : 0;
}

/* All that can fail before the guest runs; 0, or the exit status. */
static int start(struct app *a, struct err *err)
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
	console_mux_sinks(a->mux, &con);
	if (open_paths(a, &no_kvm, err))
		return no_kvm ? EXIT_NO_KVM : EXIT_NO_START;
	if (enter_sandbox(a, err))
		return EXIT_NO_START;
	if (machine_build(a->machine, &con, &no_kvm, err))
		return no_kvm ? EXIT_NO_KVM : EXIT_NO_START;
	if (c->dry_run ? check_ring(err) : attach(a, err))
		return EXIT_NO_START;
	return write_files(a, err);
}

/* The last of the start: what fails here fails before the guest's first instruction. */
static int shut(struct app *a, struct err *err)
{
	int ret;

	keeper_end(&a->keeper, KEEP_CONSOLE | KEEP_DTB);
	if (a->options.no_sandbox)
		return 0;
	sandbox_shut();
	ret = seccomp_arm(RIGHT_LOOP, -1);
	if (ret)
		err_set(err, ret, "seccomp: arming the filter of the event loop: %s", strerror(-ret));
	return ret ? EXIT_NO_START : 0;
}

/* End */

/* One line on stderr, wherever the log goes. */
static void say_error(struct app *a, const char *text)
{
	log_error("%s", text);
	if (a->log_fd != STDERR_FILENO)
		log_stderr(text);
}

/* @keep: an existing file is left alone, because this VM never ran. */
static void write_result(struct app *a, const struct result *r, bool keep)
{
	char *line;
	int ret;

	if (!a->has_result || (keep && a->result.regular && !a->result.created))
		return;
	line = result_json(r);
	ret = line ? outfile_put(&a->result, line, strlen(line)) : -ENOMEM;
	if (ret)
		log_error("--result: %s", strerror(-ret));
}

static int give_up(struct app *a, int status, const struct err *err)
{
	struct result r = {
		.reason = status == EXIT_NO_KVM ? "no-kvm" : "no-start",
		.error = err->text, .status = status, .begin_ns = a->begin_ns,
	};

	terminal_restore();
	keeper_end(&a->keeper, 0);
	outfile_abandon(&a->console);
	outfile_abandon(&a->dtb);
	machine_free(a->machine);
	say_error(a, err->text);
	write_result(a, &r, true);
	return status;
}

static int end_dry_run(struct app *a)
{
	struct result r = { .reason = "dry-run", .begin_ns = a->begin_ns };

	keeper_end(&a->keeper, KEEP_DTB);
	outfile_abandon(&a->console);
	machine_free(a->machine);
	write_result(a, &r, false);
	return 0;
}

static void log_reason(const struct machine_result *run)
{
	switch (run->reason) {
	case STOP_TIMEOUT:
		log_warn("--timeout ran out");
		break;
	case STOP_SIGNAL:
		log_info("ended by signal %d", run->signo);
		break;
	default:
		log_info("ended: %s", result_reason(run->reason));
	}
}

static int run(struct app *a)
{
	struct machine_result run = { 0 };
	static char tail[TAIL_BYTES];
	struct result r = { .run = &run, .begin_ns = a->begin_ns, .tail = tail };

	machine_run(a->machine, &run);
	r.status = result_status(&run);
	console_mux_flush(a->mux, FLUSH_NS);
	terminal_restore();
	machine_let_go(a->machine);
	if (run.reason == STOP_FAILED) {
		r.error = run.text;
		say_error(a, run.text);
	} else {
		log_reason(&run);
	}
	if (a->has_result)
		r.tail_len = console_mux_tail(a->mux, tail, sizeof(tail));
	write_result(a, &r, false);
	return r.status;
}

static int print(bool usage)
{
	if (usage)
		options_usage(stdout);
	else
		puts("microvm " MICROVM_VERSION);
	return fflush(stdout) ? EXIT_NO_START : 0;
}

static int doctor(const struct options *o)
{
	static const int statuses[] = {
		[DOCTOR_GOOD] = 0, [DOCTOR_REFUSED] = EXIT_NO_START, [DOCTOR_NO_GUEST] = EXIT_NO_KVM,
	};
	enum doctor_verdict verdict;
	int ret = doctor_run(&o->config, o->json, stdout, &verdict);

	return ret || fflush(stdout) ? EXIT_NO_START : statuses[verdict];
}

/* What is printed needs neither log nor result. */
static bool only_prints(const struct options *o)
{
	return o->help || o->version || o->doctor;
}

static int app(struct app *a, int argc, char *argv[])
{
	struct err err = { "" };
	int status = 0, ret;

	a->begin_ns = clock_now_ns();
	obj_arena(the_arena, sizeof(the_arena));
	a->log_fd = STDERR_FILENO;
	a->result.fd = a->console.fd = a->dtb.fd = -1;
	fill_standard_fds();
	ret = libc_protect_relro();
	if (ret) {
		err_set(&err, ret, "start: mprotect: %s", strerror(-ret));
		status = EXIT_NO_START;
	} else if (options_parse(&a->options, argc, (const char *const *)argv, &err) ||
	    (!only_prints(&a->options) && start_log(a, &err)))
		status = EXIT_NO_START;
	else if (only_prints(&a->options))
		return a->options.doctor ? doctor(&a->options) : print(a->options.help);
	if (!status)
		status = start(a, &err);
	if (!status && !a->options.config.dry_run)
		status = shut(a, &err);
	if (status)
		return give_up(a, status, &err);
	return a->options.config.dry_run ? end_dry_run(a) : run(a);
}

int main(int argc, char *argv[])
{
	_exit(app(&the_app, argc, argv));
}
