// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the command line to the exit status.
 *
 * Order: parse; log; block signals; open what is named; the sandbox, from which no path leads
 * anywhere; build the VM; the loop's ring; take the terminal; make the filters of system calls and
 * the vCPU threads; write what was asked for (device tree); arm; run. Nothing of the user's is
 * changed before all that can fail has been tried: files are opened without being cut.
 *
 * Way out: the guest has stopped, or KVM does not let go of it; what it printed is written out; the terminal is restored;
 * machine_let_go() lets go of taps and vhost in their order, so that the tap is as it was; then
 * result and error line, and _exit(): what is left, the VM and its memory above all, the kernel
 * takes back quicker than we could give it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/app/app.h"
#include "vmm/app/panic_text.h"
#include "vmm/app/result.h"
#include "vmm/app/terminal.h"
#include "vmm/base/clock.h"
#include "vmm/base/libc.h"
#include "vmm/base/log.h"
#include "vmm/base/obj.h"
#include "vmm/doctor/doctor.h"

#define FLUSH_NS NS_PER_SEC /* how long a slow reader of the console may keep us at the end */
#define TAIL_BYTES 4096

/*
 * All zero, so that they take no room in the file, and no memory where they are not touched. Together with all other
 * variables less than 2 MiB: in more the kernel may find room for a huge page, and clear it at the first touch.
 */
static struct app the_app;
static _Alignas(4096) uint8_t the_arena[3 * MIB / 2];

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
	keeper_end(&a->keeper, 0, NULL);
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
	struct err err;

	if (keeper_end(&a->keeper, KEEP_DTB, &err))
		return give_up(a, EXIT_NO_START, &err);
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
	case STOP_PANIC:
		log_warn("the guest panicked (%s)", run->text);
		break;
	case STOP_WATCHDOG:
		log_warn("the guest did not start its watchdog anew in time");
		break;
	case STOP_GRACE:
		log_warn("the guest did not obey the power button within --grace");
		break;
	default:
		log_info("ended: %s", result_reason(run->reason));
	}
}

/* A line that was not looked at may have been the one. */
static void say_passed(const struct app *a)
{
	uint64_t passed = a->panic_text ? panic_text_passed(a->panic_text) : 0;

	if (passed)
		log_warn("--panic-text: %llu bytes of the console were too many to be looked at", (unsigned long long)passed);
}

static int run(struct app *a)
{
	struct machine_result run = { 0 };
	static char tail[TAIL_BYTES];
	struct result r = { .run = &run, .begin_ns = a->begin_ns, .tail = tail };

	machine_run(a->machine, &run);
	a->ended = &run;
	if (a->panic_text && !run.stuck)
		panic_text_drain(a->panic_text);
	r.status = result_status(&run);
	console_mux_flush(a->mux, FLUSH_NS);
	terminal_restore();
	if (run.stuck)
		log_warn("a vCPU does not come out of KVM, to which the guest gave much work; taps stay as they are");
	else
		machine_let_go(a->machine);
	if (run.reason == STOP_FAILED) {
		r.error = run.text;
		say_error(a, run.text);
	} else {
		log_reason(&run);
	}
	say_passed(a);
	r.first_output_ns = a->first_output.ns;
	if (a->has_result)
		r.tail_len = console_mux_tail(a->mux, tail, sizeof(tail));
	write_result(a, &r, false);
	return r.status;
}

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

static int end_of_output(int failed)
{
	if (failed)
		log_error("standard output: %s", strerror(errno));
	return failed ? EXIT_NO_START : 0;
}

static int print(bool usage)
{
	if (usage)
		options_usage(stdout);
	else
		puts("microvm " MICROVM_VERSION);
	return end_of_output(fflush(stdout));
}

static int doctor(const struct options *o)
{
	static const int statuses[] = {
		[DOCTOR_GOOD] = 0, [DOCTOR_REFUSED] = EXIT_NO_START, [DOCTOR_NO_GUEST] = EXIT_NO_KVM,
	};
	enum doctor_verdict verdict;
	int ret = doctor_run(&o->config, o->json, stdout, &verdict);

	return ret || end_of_output(fflush(stdout)) ? EXIT_NO_START : statuses[verdict];
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
	a->result.fd = a->console.fd = a->dtb.fd = a->pty.fd = a->socket.listen_fd = a->socket.broker_fd = -1;
	fill_standard_fds();
	ret = libc_protect_relro();
	if (ret) {
		err_set(&err, ret, "start: mprotect: %s", strerror(-ret));
		status = EXIT_NO_START;
	} else if (options_parse(&a->options, argc, (const char *const *)argv, &err) ||
	    (!only_prints(&a->options) && app_start_log(a, &err)))
		status = EXIT_NO_START;
	else if (only_prints(&a->options))
		return a->options.doctor ? doctor(&a->options) : print(a->options.help);
	if (!status)
		status = app_start(a, &err);
	if (!status && !a->options.config.dry_run)
		status = app_shut(a, &err);
	if (status)
		return give_up(a, status, &err);
	return a->options.config.dry_run ? end_dry_run(a) : run(a);
}

int main(int argc, char *argv[])
{
	_exit(app(&the_app, argc, argv));
}
