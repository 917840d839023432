// SPDX-License-Identifier: BSD-3-Clause
/* The terminal on a pseudo-terminal, the signals on a signalfd; each test is a process of its own. */
#include "vmm/app/terminal.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/fake/loop.h"
#include "vmm/app/keys.h"
#include "vmm/app/signals.h"

/* What a child ends with that could not take a right away, as under qemu-user. */
#define NO_SECCOMP 97

static int master, slave;

static void open_pty(void)
{
	struct winsize ws = { .ws_row = 24, .ws_col = 80 };

	ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, &ws), 0);
}

static bool is_raw(void)
{
	struct termios t;

	ck_assert_int_eq(tcgetattr(slave, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO | ISIG)) && !(t.c_oflag & OPOST) && !(t.c_iflag & (ICRNL | IXON));
}

START_TEST(test_terminal_raw_and_restored)
{
	struct termios before, after;

	tcgetattr(slave, &before);
	ck_assert(terminal_usable(slave));
	ck_assert(!is_raw());
	ck_assert_int_eq(terminal_raw(slave), 0);
	ck_assert(is_raw());
	terminal_restore();
	tcgetattr(slave, &after);
	ck_assert(before.c_iflag == after.c_iflag && before.c_oflag == after.c_oflag);
	ck_assert(before.c_cflag == after.c_cflag && before.c_lflag == after.c_lflag);
	ck_assert_mem_eq(before.c_cc, after.c_cc, sizeof(before.c_cc));
	terminal_resume();
	ck_assert(is_raw());
	terminal_resume();
	terminal_restore();
	terminal_restore();
	ck_assert(!is_raw());
}
END_TEST

START_TEST(test_terminal_that_is_none)
{
	uint16_t cols = 7, rows = 7;
	int null = open("/dev/null", O_RDWR);

	ck_assert(!terminal_usable(null));
	ck_assert_int_eq(terminal_raw(null), -ENOTTY);
	ck_assert(!terminal_size(null, &cols, &rows));
	ck_assert_int_eq(cols + rows, 14);
	terminal_restore();
	terminal_resume();
	close(null);
}
END_TEST

START_TEST(test_terminal_size_is_read)
{
	struct winsize none = { 0 };
	uint16_t cols, rows;

	ck_assert(terminal_is(slave));
	ck_assert(terminal_size(slave, &cols, &rows));
	ck_assert_int_eq(cols, 80);
	ck_assert_int_eq(rows, 24);
	ck_assert_int_eq(ioctl(master, TIOCSWINSZ, &none), 0);
	ck_assert(!terminal_size(slave, &cols, &rows));
}
END_TEST

/* Runs @body in a child for whom the pseudo-terminal is raw; its wait status. */
static int in_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
		if (terminal_raw(slave))
			_exit(99);
		body();
		_exit(98);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static int fatal_signo;

static void raise_it(void)
{
	raise(fatal_signo);
}

static void abort_it(void)
{
	abort();
}

static void *write_to_nowhere(void *arg)
{
	*(volatile char *)arg = 1;
	return NULL;
}

static void segfault_in_a_thread(void)
{
	void *hole = (void *)(uintptr_t)16;
	pthread_t t;

	pthread_create(&t, NULL, write_to_nowhere, hole);
	pthread_join(t, NULL);
}

static void *crash_without_the_right_to_terminals(void *arg)
{
	struct sock_filter prog[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { .len = 4, .filter = prog };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
		_exit(NO_SECCOMP);
	raise(fatal_signo);
	return arg;
}

static void crash_in_a_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, crash_without_the_right_to_terminals, NULL);
	pthread_join(t, NULL);
}

START_TEST(test_terminal_is_restored_where_a_thread_without_rights_crashes)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP };

	for (unsigned i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		int status;

		fatal_signo = fatal[i];
		status = in_child(crash_in_a_thread);
		if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SECCOMP) {
			printf("SKIP test_terminal_is_restored_where_a_thread_without_rights_crashes: no seccomp(2) here\n");
			return;
		}
		ck_assert(WIFSIGNALED(status));
		ck_assert_int_eq(WTERMSIG(status), fatal[i]);
		ck_assert(!is_raw());
	}
}
END_TEST

START_TEST(test_terminal_is_restored_by_a_fatal_signal_which_still_kills)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };
	int status;

	for (unsigned i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		fatal_signo = fatal[i];
		status = in_child(raise_it);
		ck_assert(WIFSIGNALED(status));
		ck_assert_int_eq(WTERMSIG(status), fatal[i]);
		ck_assert(!is_raw());
	}
	status = in_child(abort_it);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	ck_assert(!is_raw());
	status = in_child(segfault_in_a_thread);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	ck_assert(!is_raw());
}
END_TEST

/* In the background of its session a process leaves the terminal alone. */
START_TEST(test_terminal_in_the_background_is_not_ours)
{
	pid_t session = fork();
	int status;

	if (!session) {
		pid_t job;

		setsid();
		if (ioctl(slave, TIOCSCTTY, 0) || !terminal_usable(slave))
			_exit(1);
		job = fork();
		if (!job) {
			setpgid(0, 0);
			_exit(terminal_usable(slave) ? 2 : 0);
		}
		waitpid(job, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
	}
	ck_assert_int_eq(waitpid(session, &status, 0), session);
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* Signals */

static int pressed, ended, dumps, resizes, stops, conts;

static void on_press(void *ctx, int signo)
{
	(void)ctx;
	pressed = signo;
}

static void on_end(void *ctx, int signo)
{
	(void)ctx;
	ended = signo;
}

static void on_dump(void *ctx) { (void)ctx; dumps++; }
static void on_resize(void *ctx) { (void)ctx; resizes++; }
static void on_stop(void *ctx) { (void)ctx; stops++; }
static void on_cont(void *ctx) { (void)ctx; conts++; }

static const struct signals_ops ops = {
	.press = on_press, .end = on_end, .dump = on_dump, .resize = on_resize, .stop = on_stop, .cont = on_cont,
};

static struct loop *loop;
static struct signals sigs;

static void open_signals(void)
{
	ck_assert_int_eq(loop_new(&loop), 0);
	signals_block();
	ck_assert_int_eq(signals_open(&sigs, loop, &ops, NULL), 0);
}

START_TEST(test_signals_that_press_and_that_end)
{
	static const int press[] = { SIGTERM, SIGINT }, end[] = { SIGHUP, SIGQUIT };

	open_signals();
	for (unsigned i = 0; i < 2; i++) {
		kill(getpid(), press[i]);
		fake_loop_turn(loop);
		ck_assert_int_eq(pressed, press[i]);
		ck_assert_int_eq(ended, 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		kill(getpid(), end[i]);
		fake_loop_turn(loop);
		ck_assert_int_eq(ended, end[i]);
		ck_assert_int_eq(pressed, SIGINT);
	}
}
END_TEST

START_TEST(test_signals_before_open_are_not_lost)
{
	signals_block();
	kill(getpid(), SIGTERM);
	open_signals();
	fake_loop_turn(loop);
	ck_assert_int_eq(pressed, SIGTERM);
}
END_TEST

START_TEST(test_signals_that_the_parent_ignores_stay_ignored)
{
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	open_signals();
	kill(getpid(), SIGHUP);
	kill(getpid(), SIGINT);
	kill(getpid(), SIGTSTP);
	fake_loop_turn(loop);
	ck_assert_int_eq(pressed + ended + stops, 0);
}
END_TEST

START_TEST(test_signals_others_have_their_calls)
{
	open_signals();
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGWINCH);
	kill(getpid(), SIGCONT);
	fake_loop_turn(loop);
	ck_assert_int_eq(dumps, 1);
	ck_assert_int_eq(resizes, 1);
	ck_assert_int_eq(conts, 1);
	ck_assert_int_eq(ended, 0);
}
END_TEST

START_TEST(test_signals_pipe_without_reader_is_an_error_not_the_end)
{
	int p[2];

	signals_block();
	ck_assert_int_eq(pipe(p), 0);
	close(p[0]);
	ck_assert_int_lt(write(p[1], "x", 1), 0);
	ck_assert_int_eq(errno, EPIPE);
}
END_TEST

START_TEST(test_signals_stop_stops_and_cont_goes_on)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		open_signals();
		kill(getpid(), SIGTSTP);
		fake_loop_turn(loop); /* stops in here */
		fake_loop_turn(loop);
		_exit(stops == 1 && conts == 1 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(WIFSTOPPED(status));
	kill(pid, SIGCONT);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

START_TEST(test_signals_open_fails_clean)
{
	ck_assert_int_eq(loop_new(&loop), 0);
	fake_loop_fail_init(loop, 0, -ENOSPC);
	ck_assert_int_eq(signals_open(&sigs, loop, &ops, NULL), -ENOSPC);
	ck_assert_int_eq(sigs.fd, -1);
}
END_TEST

/* Keys */

START_TEST(test_keys_are_found_across_reads)
{
	struct keys k = { 0 };
	uint8_t out[8];
	size_t used, n;

	ck_assert_int_eq(keys_scan(&k, (const uint8_t *)"ab\x01", 3, &used, out, &n), KEY_NONE);
	ck_assert(used == 3 && n == 2 && !memcmp(out, "ab", 2));
	ck_assert_int_eq(keys_scan(&k, (const uint8_t *)"xyz", 3, &used, out, &n), KEY_END);
	ck_assert(used == 1 && n == 0);
	ck_assert_int_eq(keys_scan(&k, (const uint8_t *)"\x01?q", 3, &used, out, &n), KEY_HELP);
	ck_assert_int_eq(used, 2);
	ck_assert_int_eq(keys_scan(&k, (const uint8_t *)"\x01\x01\x01q\x01X", 6, &used, out, &n), KEY_END);
	ck_assert(n == 1 && out[0] == 1);
	ck_assert_ptr_nonnull(strstr(keys_help, "Ctrl-A x"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("terminal");
	TCase *t = tcase_create("terminal"), *g = tcase_create("signals");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, open_pty, NULL);
	tcase_add_test(t, test_terminal_raw_and_restored);
	tcase_add_test(t, test_terminal_that_is_none);
	tcase_add_test(t, test_terminal_size_is_read);
	tcase_add_test(t, test_terminal_is_restored_by_a_fatal_signal_which_still_kills);
	tcase_add_test(t, test_terminal_is_restored_where_a_thread_without_rights_crashes);
	tcase_add_test(t, test_terminal_in_the_background_is_not_ours);
	tcase_add_test(g, test_signals_that_press_and_that_end);
	tcase_add_test(g, test_signals_before_open_are_not_lost);
	tcase_add_test(g, test_signals_that_the_parent_ignores_stay_ignored);
	tcase_add_test(g, test_signals_others_have_their_calls);
	tcase_add_test(g, test_signals_pipe_without_reader_is_an_error_not_the_end);
	tcase_add_test(g, test_signals_stop_stops_and_cont_goes_on);
	tcase_add_test(g, test_signals_open_fails_clean);
	tcase_add_test(g, test_keys_are_found_across_reads);
	suite_add_tcase(s, t);
	suite_add_tcase(s, g);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
