// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/console_mux.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/loop.h"

#define SEC UINT64_C(1000000000)

static struct console_mux *mux;
static struct machine_console con;
static struct loop *loop;
static int in[2], out[2];
static char seen[512 * 1024];
static size_t seen_len;

/* The guest, as the mux's owner sees it */
static char hvc_got[8192], uart_got[8192];
static size_t hvc_len, uart_len, hvc_space, uart_space;
static unsigned rooms, ends, helps;

static size_t take(char *got, size_t *len, size_t *space, const uint8_t *buf, size_t n)
{
	if (n > *space)
		n = *space;
	memcpy(got + *len, buf, n);
	*len += n;
	*space -= n;
	return n;
}

static size_t hvc_input(void *ctx, const uint8_t *buf, size_t len)
{
	(void)ctx;
	return take(hvc_got, &hvc_len, &hvc_space, buf, len);
}

static size_t uart_input(void *ctx, const uint8_t *buf, size_t len)
{
	(void)ctx;
	return take(uart_got, &uart_len, &uart_space, buf, len);
}

static void on_room(void *ctx)
{
	(void)ctx;
	rooms++;
}

static void on_end(void *ctx)
{
	(void)ctx;
	ends++;
}

static void on_help(void *ctx)
{
	(void)ctx;
	helps++;
}

static const struct console_mux_ops ops = {
	.hvc_input = hvc_input, .uart_input = uart_input, .hvc_room = on_room, .end = on_end, .help = on_help,
};

static int open_at(int in_fd, int out_fd, bool keys)
{
	const struct stream_cfg io = { .in_fd = in_fd, .out_fd = out_fd };

	return console_mux_open(mux, loop, &io, keys, &ops, NULL);
}

static void open_mux(bool keys)
{
	seen_len = hvc_len = uart_len = hvc_space = uart_space = 0;
	rooms = ends = helps = 0;
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	mux = console_mux_get();
	console_mux_sinks(mux, &con);
	ck_assert_int_eq(open_at(in[0], out[1], keys), 0);
}

static void open_plain(void)
{
	open_mux(false);
}

static void open_keys(void)
{
	open_mux(true);
}

static void close_mux(void)
{
	console_mux_close(mux);
	loop_free(loop);
}

static size_t hvc(const char *s)
{
	return con.hvc.write(con.hvc.ctx, s, strlen(s));
}

/* As Linux' hvc driver does it: sixteen bytes at a time. */
static void hvc_slowly(const char *s)
{
	for (size_t len = strlen(s), n; len; s += n, len -= n) {
		n = len < 16 ? len : 16;
		ck_assert_uint_eq(con.hvc.write(con.hvc.ctx, s, n), n);
	}
}

static void uart(const char *s)
{
	for (; *s; s++)
		con.uart.write(con.uart.ctx, s, 1);
}

/* All that was shown since the start. */
static const char *shown(void)
{
	ssize_t n;

	while ((n = read(out[0], seen + seen_len, sizeof(seen) - 1 - seen_len)) > 0)
		seen_len += (size_t)n;
	seen[seen_len] = '\0';
	return seen;
}

static void tick(void)
{
	fake_loop_expire(console_mux_tick(mux));
}

static uint64_t tick_set(void)
{
	return fake_loop_timer(console_mux_tick(mux));
}

static void type(const char *s)
{
	ck_assert_int_eq(write(in[1], s, strlen(s)), (int)strlen(s));
	fake_loop_turn(loop);
}

#define LOG3 "[    0.1] one\r\n[    0.2] two\r\n[    0.3] three\r\n"

/* Output */

START_TEST(test_mux_uart_alone_is_shown_unchanged)
{
	uart("boot\r\n\x01\x80~ # ");
	ck_assert_str_eq(shown(), "boot\r\n\x01\x80~ # ");
	ck_assert_uint_eq(tick_set(), 0);
}
END_TEST

START_TEST(test_mux_hvc_alone_is_shown_at_once)
{
	ck_assert_uint_eq(hvc("login: "), 7);
	ck_assert_str_eq(shown(), "login: ");
	ck_assert_uint_eq(tick_set(), 0);
}
END_TEST

START_TEST(test_mux_replay_is_left_out)
{
	uart(LOG3);
	hvc_slowly(LOG3 "[    0.4] four\r\n");
	uart("[    0.4] four\r\n");
	hvc_slowly("# ");
	ck_assert_str_eq(shown(), LOG3 "[    0.4] four\r\n# ");
}
END_TEST

START_TEST(test_mux_replay_of_part_of_the_log_is_left_out)
{
	uart(LOG3);
	hvc_slowly("[    0.2] two\r\n[    0.3] three\r\nnew\r\n");
	ck_assert_str_eq(shown(), LOG3 "new\r\n");
}
END_TEST

START_TEST(test_mux_lines_of_programs_in_the_uart_do_not_disturb)
{
	uart("[    0.1] one\r\nLoading, please wait...\r\n[    0.2] two\r\nStarting: [    0.3] three\r\n[    0.4] four\r\n");
	hvc_slowly("[    0.1] one\r\n[    0.2] two\r\n[    0.3] three\r\n[    0.4] four\r\n$ ");
	ck_assert_str_eq(shown(), "[    0.1] one\r\nLoading, please wait...\r\n[    0.2] two\r\n"
				  "Starting: [    0.3] three\r\n[    0.4] four\r\n[    0.3] three\r\n$ ");
}
END_TEST

START_TEST(test_mux_other_text_is_shown_and_ends_the_comparison)
{
	uart(LOG3);
	for (int i = 0; i < 8; i++)
		hvc_slowly("other\r\n");
	hvc_slowly("[    0.1] one\r\n");
	ck_assert_str_eq(shown(), LOG3 "other\r\nother\r\nother\r\nother\r\nother\r\nother\r\nother\r\nother\r\n"
				  "[    0.1] one\r\n");
}
END_TEST

/* Each line that is not found is a search of the whole text: a known one now and then buys no more of them. */
START_TEST(test_mux_many_other_lines_end_the_comparison)
{
	char line[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), "k%d\n", i);
		uart(line);
	}
	for (int i = 0; i < 100; i++) {
		hvc("o\no\no\no\no\n");
		snprintf(line, sizeof(line), "k%d\n", i);
		hvc(line);
	}
	hvc("k990\n");
	ck_assert_str_eq(strrchr(shown(), 'k'), "k990\n");
}
END_TEST

START_TEST(test_mux_prompt_is_not_held)
{
	uart(LOG3);
	hvc_slowly("[    0.1] one\r\n~ # ");
	ck_assert_str_eq(shown(), LOG3 "~ # ");
	ck_assert_uint_eq(tick_set(), 0);
	hvc_slowly("ls\r\n");
	ck_assert_str_eq(shown(), LOG3 "~ # ls\r\n");
}
END_TEST

START_TEST(test_mux_prompt_like_a_shown_line_is_held_two_ticks_at_most)
{
	uart(LOG3 "# echo\r\n");
	hvc_slowly("# ");
	ck_assert_str_eq(shown(), LOG3 "# echo\r\n");
	ck_assert_uint_gt(tick_set(), 0);
	ck_assert_uint_le(tick_set(), SEC / 20);
	tick();
	ck_assert_uint_gt(tick_set(), 0);
	tick();
	ck_assert_str_eq(shown(), LOG3 "# echo\r\n# ");
	ck_assert_uint_eq(tick_set(), 0);
	/* the rest of that line is not held again, and the comparison goes on with the next */
	hvc_slowly("echo\r\n[    0.1] one\r\n");
	ck_assert_str_eq(shown(), LOG3 "# echo\r\n# echo\r\n");
}
END_TEST

START_TEST(test_mux_tick_leaves_a_line_that_has_just_begun)
{
	uart(LOG3);
	hvc_slowly("[    0.1");
	tick();
	hvc_slowly("] one\r\n[   ");
	tick();
	ck_assert_str_eq(shown(), LOG3);
	hvc_slowly(" 0.2] two\r\n");
	tick();
	ck_assert_uint_eq(tick_set(), 0);
	ck_assert_str_eq(shown(), LOG3);
}
END_TEST

START_TEST(test_mux_hvc_starts_a_line_of_its_own)
{
	uart(LOG3 "half a li");
	hvc_slowly("[    0.1] one\r\nhello\r\n");
	uart("ne\r\n");
	ck_assert_str_eq(shown(), LOG3 "half a li\r\nhello\r\n");
}
END_TEST

START_TEST(test_mux_uart_is_back_when_hvc_is_let_go)
{
	uart(LOG3);
	hvc_slowly(LOG3 "sh# ");
	uart("dropped");
	con.hvc.closed(con.hvc.ctx);
	uart("[    0.1] one\r\n[    0.2] second kernel\r\n");
	hvc_slowly("[    0.1] one\r\n[    0.2] second kernel\r\n# ");
	ck_assert_str_eq(shown(), LOG3 "sh# \r\n[    0.1] one\r\n[    0.2] second kernel\r\n# ");
}
END_TEST

START_TEST(test_mux_held_line_is_shown_at_the_end)
{
	uart(LOG3);
	hvc_slowly("[    0.1]");
	console_mux_flush(mux, SEC);
	ck_assert_str_eq(shown(), LOG3 "[    0.1]");
}
END_TEST

START_TEST(test_mux_tail_is_what_was_shown_last)
{
	char tail[8];

	uart(LOG3);
	hvc_slowly(LOG3 "the end");
	console_mux_flush(mux, SEC);
	ck_assert_uint_eq(console_mux_tail(mux, tail, sizeof(tail)), 8);
	ck_assert_mem_eq(tail, "\nthe end", 8);
}
END_TEST

/* A long log: more than is kept. The older part is lost to the comparison, the newer is not. */
START_TEST(test_mux_long_log_keeps_the_newer_half)
{
	char line[80];

	for (int i = 0; i < 3000; i++) {
		snprintf(line, sizeof(line), "[%5d] a line of the log that is not short at all\r\n", i);
		uart(line);
		shown();
	}
	seen_len = 0;
	for (int i = 2000; i < 3000; i++) {
		snprintf(line, sizeof(line), "[%5d] a line of the log that is not short at all\r\n", i);
		hvc_slowly(line);
	}
	ck_assert_str_eq(shown(), "");
}
END_TEST

START_TEST(test_mux_lines_beyond_a_log_line_are_passed)
{
	static char lng[3000];

	memset(lng, 'x', sizeof(lng) - 3);
	strcpy(lng + sizeof(lng) - 3, "\r\n");
	uart(lng);
	uart(LOG3);
	hvc_slowly(lng);
	hvc_slowly(LOG3 "$");
	shown();
	ck_assert_uint_eq(seen_len, 2 * strlen(lng) + strlen(LOG3) + 1);
	ck_assert_str_eq(seen + 2 * strlen(lng) + strlen(LOG3), "$");
}
END_TEST

/* Without a reader, hvc0 has to wait; nothing is lost or doubled when it goes on. */
START_TEST(test_mux_slow_reader_stops_hvc_and_nothing_is_lost)
{
	static char want[512 * 1024], text[300 * 1024];
	size_t at = 0, len = 0, rounds = 0;

	uart(LOG3);
	strcpy(want, LOG3);
	for (int i = 0; len < sizeof(text) - 64; i++) {
		char *line = text + len;

		len += (size_t)sprintf(line, "[    0.3] thr%s%d\r\n", i & 1 ? "ee " : "", i);
	}
	strcat(want, text);
	while (at < len) {
		size_t n = len - at < 16 ? len - at : 16;
		size_t took = con.hvc.write(con.hvc.ctx, text + at, n);

		ck_assert_uint_le(took, n);
		at += took;
		if (took < n) {
			unsigned before = rooms;

			ck_assert_uint_lt(rounds++, 1000);
			while (rooms == before) {
				shown();
				ck_assert_uint_gt(fake_loop_turn(loop), 0);
			}
		}
	}
	ck_assert_uint_gt(rounds, 0);
	do
		shown();
	while (fake_loop_turn(loop));
	console_mux_flush(mux, SEC);
	shown();
	ck_assert_uint_eq(seen_len, strlen(want));
	ck_assert_int_eq(memcmp(seen, want, seen_len), 0);
}
END_TEST

static void *print_uart(void *arg)
{
	for (int i = 0; i < 2000; i++)
		uart(arg);
	return NULL;
}

/* For the thread sanitizer: a vCPU prints while the loop's thread takes over, reads and ends. */
START_TEST(test_mux_uart_from_another_thread)
{
	char text[] = "from a vCPU\r\n";
	pthread_t t;

	fake_loop_set_here(loop, true);
	ck_assert_int_eq(pthread_create(&t, NULL, print_uart, text), 0);
	for (int i = 0; i < 200; i++) {
		hvc_slowly(i & 1 ? "from a vCPU\r\n" : "from the loop\r\n");
		shown();
		if (i % 50 == 49)
			con.hvc.closed(con.hvc.ctx);
	}
	pthread_join(t, NULL);
	ck_assert_ptr_nonnull(strstr(shown(), "from"));
}
END_TEST

/* Input */

START_TEST(test_mux_typed_goes_to_the_uart_then_to_hvc)
{
	uart_space = hvc_space = 100;
	type("early");
	ck_assert_uint_eq(uart_len, 5);
	hvc("hello\r\n");
	type("late");
	ck_assert_uint_eq(uart_len, 5);
	ck_assert_uint_eq(hvc_len, 4);
	ck_assert_mem_eq(hvc_got, "late", 4);
	con.hvc.closed(con.hvc.ctx);
	type("!");
	ck_assert_uint_eq(uart_len, 6);
}
END_TEST

START_TEST(test_mux_typed_goes_to_hvc_where_the_uart_is_shut)
{
	hvc_space = 100;
	type("x");
	ck_assert_uint_eq(hvc_len, 1);
}
END_TEST

START_TEST(test_mux_typed_waits_for_room_and_arrives_in_order)
{
	hvc("# ");
	type("abc");
	ck_assert_uint_eq(hvc_len, 0);
	hvc_space = 2;
	con.hvc.input_room(con.hvc.ctx);
	fake_loop_turn(loop);
	ck_assert_mem_eq(hvc_got, "ab", 2);
	hvc_space = 100;
	type("d");
	ck_assert_uint_eq(hvc_len, 4);
	ck_assert_mem_eq(hvc_got, "abcd", 4);
	con.hvc.input_room(con.hvc.ctx);
	ck_assert_uint_eq(fake_loop_turn(loop), 0); /* nothing waits: no bell */
}
END_TEST

START_TEST(test_mux_keys_work_while_the_guest_is_deaf)
{
	static char flood[512];

	memset(flood, 'z', sizeof(flood) - 1);
	for (int i = 0; i < 40; i++)
		type(flood);
	type("\x01h");
	ck_assert_uint_eq(helps, 1);
	type("\x01");
	type("x");
	ck_assert_uint_eq(ends, 1);
	hvc_space = sizeof(hvc_got);
	hvc("# ");
	fake_loop_turn(loop);
	ck_assert_uint_eq(hvc_len, 4096);
}
END_TEST

START_TEST(test_mux_typed_ctrl_a_twice_is_one)
{
	hvc_space = 100;
	type("a\x01\x01" "b\x01zc");
	ck_assert_uint_eq(hvc_len, 4);
	ck_assert_mem_eq(hvc_got, "a\x01" "bc", 4);
	ck_assert_uint_eq(ends + helps, 0);
}
END_TEST

START_TEST(test_mux_piped_input_is_not_searched_for_keys_and_waits_for_a_prompt)
{
	hvc_space = uart_space = 100;
	type("ls \x01x\n");
	ck_assert_uint_gt(tick_set(), 0);
	hvc("booting\r\n");
	for (int i = 0; i < 20; i++) {
		tick();
		fake_loop_turn(loop);
	}
	ck_assert_uint_eq(hvc_len + uart_len, 0);
	hvc("# ");
	tick();
	ck_assert_uint_eq(hvc_len, 0);
	tick();
	tick();
	fake_loop_turn(loop);
	ck_assert_uint_eq(hvc_len, 6);
	ck_assert_mem_eq(hvc_got, "ls \x01x\n", 6);
	ck_assert_uint_eq(ends, 0);
	ck_assert_uint_eq(tick_set(), 0);
	type("more");
	ck_assert_uint_eq(hvc_len, 10);
}
END_TEST

START_TEST(test_mux_piped_input_goes_in_after_a_quiet_while)
{
	hvc_space = 100;
	hvc("ready\r\n");
	type("x");
	for (int i = 0; i < 100; i++)
		tick();
	fake_loop_turn(loop);
	ck_assert_uint_eq(hvc_len, 0);
	for (int i = 0; i < 40; i++)
		tick();
	fake_loop_turn(loop);
	ck_assert_uint_eq(hvc_len, 1);
}
END_TEST

START_TEST(test_mux_piped_input_stays_outside_while_the_guest_is_deaf)
{
	static char flood[40000];

	ck_assert_int_gt(fcntl(in[1], F_SETPIPE_SZ, 1 << 17), 0);
	memset(flood, 'f', sizeof(flood) - 1);
	hvc("# ");
	type(flood);
	for (int i = 0; i < 4; i++)
		tick();
	for (int i = 0; i < 30; i++) {
		hvc_len = 0;
		hvc_space = 100;
		con.hvc.input_room(con.hvc.ctx);
		fake_loop_turn(loop);
	}
	for (int i = 0, total = 0; total < 20000 && i < 1000; i++, total += (int)hvc_len) {
		hvc_len = 0;
		hvc_space = 4096;
		con.hvc.input_room(con.hvc.ctx);
		fake_loop_turn(loop);
		ck_assert_uint_gt(hvc_len, 0);
	}
}
END_TEST

/* Without a stream */

START_TEST(test_mux_before_open_and_with_no_descriptors)
{
	struct machine_console c;
	char tail[16];

	mux = console_mux_get();
	console_mux_sinks(mux, &c);
	ck_assert_uint_eq(c.uart.write(c.uart.ctx, "lost", 4), 4);
	ck_assert_uint_eq(c.hvc.write(c.hvc.ctx, "lost", 4), 4);
	c.hvc.input_room(c.hvc.ctx);
	c.hvc.closed(c.hvc.ctx);
	ck_assert_uint_eq(console_mux_tail(mux, tail, sizeof(tail)), 0);

	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(open_at(-1, -1, false), 0);
	ck_assert_uint_eq(c.hvc.write(c.hvc.ctx, "kept", 4), 4);
	ck_assert_uint_eq(console_mux_tail(mux, tail, sizeof(tail)), 4);
	ck_assert_mem_eq(tail, "kept", 4);
	close_mux();
}
END_TEST

START_TEST(test_mux_open_failures_leave_nothing)
{
	mux = console_mux_get();
	for (unsigned n = 0;; n++) {
		int ret;

		ck_assert_int_eq(loop_new(&loop), 0);
		ck_assert_int_eq(pipe(in), 0);
		ck_assert_int_eq(pipe(out), 0);
		fake_loop_fail_init(loop, n, -ENOSPC);
		ret = open_at(in[0], out[1], true);
		close_mux();
		if (!ret)
			break;
		ck_assert_int_eq(ret, -ENOSPC);
		ck_assert_uint_lt(n, 20);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("console_mux");
	TCase *t = tcase_create("output"), *k = tcase_create("keys"), *p = tcase_create("pipe"), *x = tcase_create("life");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, open_plain, close_mux);
	tcase_add_test(t, test_mux_uart_alone_is_shown_unchanged);
	tcase_add_test(t, test_mux_hvc_alone_is_shown_at_once);
	tcase_add_test(t, test_mux_replay_is_left_out);
	tcase_add_test(t, test_mux_replay_of_part_of_the_log_is_left_out);
	tcase_add_test(t, test_mux_lines_of_programs_in_the_uart_do_not_disturb);
	tcase_add_test(t, test_mux_other_text_is_shown_and_ends_the_comparison);
	tcase_add_test(t, test_mux_many_other_lines_end_the_comparison);
	tcase_add_test(t, test_mux_prompt_is_not_held);
	tcase_add_test(t, test_mux_prompt_like_a_shown_line_is_held_two_ticks_at_most);
	tcase_add_test(t, test_mux_tick_leaves_a_line_that_has_just_begun);
	tcase_add_test(t, test_mux_hvc_starts_a_line_of_its_own);
	tcase_add_test(t, test_mux_uart_is_back_when_hvc_is_let_go);
	tcase_add_test(t, test_mux_held_line_is_shown_at_the_end);
	tcase_add_test(t, test_mux_tail_is_what_was_shown_last);
	tcase_add_test(t, test_mux_long_log_keeps_the_newer_half);
	tcase_add_test(t, test_mux_lines_beyond_a_log_line_are_passed);
	tcase_add_test(t, test_mux_slow_reader_stops_hvc_and_nothing_is_lost);
	tcase_add_test(t, test_mux_uart_from_another_thread);
	tcase_add_checked_fixture(k, open_keys, close_mux);
	tcase_add_test(k, test_mux_typed_goes_to_the_uart_then_to_hvc);
	tcase_add_test(k, test_mux_typed_goes_to_hvc_where_the_uart_is_shut);
	tcase_add_test(k, test_mux_typed_waits_for_room_and_arrives_in_order);
	tcase_add_test(k, test_mux_keys_work_while_the_guest_is_deaf);
	tcase_add_test(k, test_mux_typed_ctrl_a_twice_is_one);
	tcase_add_checked_fixture(p, open_plain, close_mux);
	tcase_add_test(p, test_mux_piped_input_is_not_searched_for_keys_and_waits_for_a_prompt);
	tcase_add_test(p, test_mux_piped_input_goes_in_after_a_quiet_while);
	tcase_add_test(p, test_mux_piped_input_stays_outside_while_the_guest_is_deaf);
	tcase_add_test(x, test_mux_before_open_and_with_no_descriptors);
	tcase_add_test(x, test_mux_open_failures_leave_nothing);
	suite_add_tcase(s, t);
	suite_add_tcase(s, k);
	suite_add_tcase(s, p);
	suite_add_tcase(s, x);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
