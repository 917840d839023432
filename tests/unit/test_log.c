// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/types.h"

static int out;
static char got[64 * KIB];

static void log_to_file(enum log_level level, enum log_format format)
{
	char name[] = "/tmp/test_log.XXXXXX";

	out = mkstemp(name);
	ck_assert_int_ge(out, 0);
	unlink(name);
	ck_assert_int_ge(fcntl(out, F_SETFL, O_APPEND), 0);
	log_init(out, level, format);
}

/* All that was logged so far. */
static const char *logged(void)
{
	ssize_t n = pread(out, got, sizeof(got) - 1, 0);

	ck_assert_int_ge(n, 0);
	got[n] = '\0';
	return got;
}

static unsigned lines_of(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

START_TEST(test_log_text_line_has_prefix_and_newline)
{
	log_to_file(LOG_WARN, LOG_TEXT);
	log_warn("net%d: %s", 0, "gone");
	ck_assert_str_eq(logged(), "microvm: net0: gone\n");
}
END_TEST

START_TEST(test_log_level_filters)
{
	log_to_file(LOG_WARN, LOG_TEXT);
	log_info("no");
	log_debug("no");
	log_error("yes");
	ck_assert_str_eq(logged(), "microvm: yes\n");
}
END_TEST

START_TEST(test_log_control_characters_replaced)
{
	log_to_file(LOG_DEBUG, LOG_TEXT);
	log_warn("guest says \033]0;x\007 and\nmicrovm: forged");
	ck_assert_str_eq(logged(), "microvm: guest says ?]0;x? and?microvm: forged\n");
}
END_TEST

START_TEST(test_log_long_line_is_cut_at_1000_bytes)
{
	char big[3000];

	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_to_file(LOG_WARN, LOG_TEXT);
	log_warn("%s", big);
	ck_assert_uint_eq(strlen(logged()), 1000);
	ck_assert_int_eq(got[999], '\n');
}
END_TEST

START_TEST(test_log_cut_leaves_whole_characters)
{
	char big[1200];
	size_t n = 0;

	while (n + 3 < sizeof(big)) {
		memcpy(big + n, "\xe2\x82\xac", 3);
		n += 3;
	}
	big[n] = '\0';
	log_to_file(LOG_WARN, LOG_TEXT);
	log_warn("x%s", big);
	n = strlen(logged());
	ck_assert_uint_le(n, 1000);
	ck_assert_mem_eq(got + n - 4, "\xe2\x82\xac\n", 4);
}
END_TEST

static void check_json(const char *line, const char *level, const char *message)
{
	json_t *o = json_loads(line, 0, NULL);

	ck_assert_ptr_nonnull(o);
	ck_assert_str_eq(json_string_value(json_object_get(o, "level")), level);
	ck_assert(json_real_value(json_object_get(o, "time")) > 1e9);
	if (message)
		ck_assert_str_eq(json_string_value(json_object_get(o, "message")), message);
	json_decref(o);
}

START_TEST(test_log_json_line_parses)
{
	log_to_file(LOG_DEBUG, LOG_JSON);
	log_debug("path \"C:\\%s\"\t%s", "x", "\xc3\xbc\xff");
	check_json(logged(), "debug", "path \"C:\\x\"?\xc3\xbc?");
}
END_TEST

START_TEST(test_log_json_cut_still_parses)
{
	char big[3000];

	memset(big, '"', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_to_file(LOG_WARN, LOG_JSON);
	log_error("%s", big);
	ck_assert_uint_le(strlen(logged()), 1000);
	check_json(got, "error", NULL);
}
END_TEST

START_TEST(test_log_keeps_errno)
{
	log_init(-1, LOG_WARN, LOG_TEXT);
	errno = ENOTTY;
	log_warn("nowhere");
	ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

START_TEST(test_log_limit_ten_then_silence)
{
	log_to_file(LOG_WARN, LOG_TEXT);
	for (int i = 0; i < 1000; i++)
		log_guest("storm %d", i);
	ck_assert_uint_eq(lines_of(logged()), 10);
}
END_TEST

START_TEST(test_log_limit_next_window_says_how_many)
{
	struct log_limit l = { 0 };

	log_to_file(LOG_WARN, LOG_TEXT);
	for (int i = 0; i < 25; i++)
		log_limit_ok(&l);
	ck_assert_uint_eq(l.dropped, 15);
	l.window_ns -= UINT64_C(6000000000);
	ck_assert(log_limit_ok(&l));
	ck_assert_ptr_nonnull(strstr(logged(), "15 more"));
	ck_assert_uint_eq(l.dropped, 0);
}
END_TEST

static void *storm(void *arg)
{
	struct log_limit *l = arg;

	for (int i = 0; i < 2000; i++) {
		if (log_limit_ok(l))
			log_warn("line of a thread");
	}
	return NULL;
}

START_TEST(test_log_threads_lines_stay_whole)
{
	struct log_limit l = { 0 };
	pthread_t t[4];
	unsigned n = 0;

	log_to_file(LOG_WARN, LOG_TEXT);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, storm, &l), 0);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	for (char *s = strtok((char *)(uintptr_t)logged(), "\n"); s; s = strtok(NULL, "\n"), n++)
		ck_assert_str_eq(s, "microvm: line of a thread");
	/* races may let one more in for each thread, no more */
	ck_assert_uint_ge(n, 10);
	ck_assert_uint_le(n, 10 + ARRAY_LEN(t));
}
END_TEST

/* A pipe that is full, and nobody who reads. */
static int stuck_pipe(int fds[2])
{
	static const char page[4096];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(fds[1], page, sizeof(page)) > 0)
		;
	return fcntl(fds[1], F_SETFL, 0);
}

static uint64_t ms_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

START_TEST(test_log_nobody_reads_does_not_block)
{
	struct log_limit l = { 0 };
	uint64_t begin = ms_now();
	int fds[2];
	ssize_t n;

	ck_assert_int_eq(stuck_pipe(fds), 0);
	log_init(fds[1], LOG_WARN, _i ? LOG_JSON : LOG_TEXT);
	log_limited(&l, "a guest's");
	ck_assert_uint_lt(ms_now() - begin, 400); /* not even patience */
	for (int i = 0; i < 100; i++)
		log_warn("ours");
	ck_assert_uint_lt(ms_now() - begin, 5000);
	while ((n = read(fds[0], got, sizeof(got))) > 0)
		;
	log_warn("again");
	n = read(fds[0], got, sizeof(got) - 1);
	ck_assert_int_gt(n, 0);
	got[n] = '\0';
	ck_assert_uint_eq(lines_of(got), 1);
	ck_assert_ptr_nonnull(strstr(got, "again"));
	/* What a guest caused meanwhile is counted. */
	l.window_ns = 1;
	log_limited(&l, "next");
	n = read(fds[0], got, sizeof(got) - 1);
	ck_assert_int_gt(n, 0);
	got[n] = '\0';
	ck_assert_ptr_nonnull(strstr(got, "1 more lines like the next were left out"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_log_text_line_has_prefix_and_newline);
	tcase_add_test(t, test_log_level_filters);
	tcase_add_test(t, test_log_control_characters_replaced);
	tcase_add_test(t, test_log_long_line_is_cut_at_1000_bytes);
	tcase_add_test(t, test_log_cut_leaves_whole_characters);
	tcase_add_test(t, test_log_json_line_parses);
	tcase_add_test(t, test_log_json_cut_still_parses);
	tcase_add_test(t, test_log_keeps_errno);
	tcase_add_test(t, test_log_limit_ten_then_silence);
	tcase_add_test(t, test_log_limit_next_window_says_how_many);
	tcase_add_test(t, test_log_threads_lines_stay_whole);
	tcase_add_loop_test(t, test_log_nobody_reads_does_not_block, 0, 2);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
