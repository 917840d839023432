// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/result.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/app/outfile.h"

START_TEST(test_result_status_is_the_documented_table)
{
	static const struct { enum stop_reason reason; int signo, status; const char *name; } table[] = {
		{ STOP_POWEROFF, 0, 0, "poweroff" }, { STOP_RESET, 0, 122, "reset" }, { STOP_PANIC, 0, 123, "panic" },
		{ STOP_WATCHDOG, 0, 122, "watchdog" }, { STOP_TIMEOUT, 0, 124, "timeout" }, { STOP_SIGNAL, 15, 143, "signal" },
		{ STOP_SIGNAL, 2, 130, "signal" }, { STOP_GRACE, 15, 143, "grace" },
		{ STOP_USER, 0, 130, "user" }, { STOP_FAILED, 0, 121, "failed" },
	};

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct machine_result r = { .reason = table[i].reason, .signo = table[i].signo };

		ck_assert_int_eq(result_status(&r), table[i].status);
		ck_assert_str_eq(result_reason(table[i].reason), table[i].name);
	}
	ck_assert_int_eq(EXIT_NO_START, 125);
	ck_assert_int_eq(EXIT_NO_KVM, 126);
}
END_TEST

/* One line that parses; the caller's to release. */
static json_t *object_of(const struct result *r)
{
	char *line = result_json(r);
	json_t *o;

	ck_assert_ptr_nonnull(line);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(o);
	free(line);
	return o;
}

static json_int_t number(const json_t *o, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(o, key)), "%s", key);
	return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	ck_assert_msg(json_is_string(json_object_get(o, key)), "%s", key);
	return json_string_value(json_object_get(o, key));
}

START_TEST(test_result_of_a_run_has_phases_and_tail)
{
	struct machine_result run = {
		.reason = STOP_SIGNAL, .signo = 15, .exits = 77,
		.start_ns = 5003000, .run_ns = 5004000, .end_ns = 6005000, .commits = 3, .uart_dropped = 4,
		.nr_devices = 2, .devices = { { .id = "console0", .ready_ns = 5900000, .faults = 1 },
					     { .id = "net\"0", .counts = { { "rx_packets", 12 } }, .nr_counts = 1 } },
	};
	struct result r = { .run = &run, .status = 143, .begin_ns = 5000000, .tail = "a\r\nb\"", .tail_len = 5,
			    .first_output_ns = 5800000 };
	json_t *o = object_of(&r), *phases = json_object_get(o, "phases_us"), *devices = json_object_get(o, "devices");

	ck_assert_str_eq(text(o, "reason"), "signal");
	ck_assert_int_eq(number(o, "status"), 143);
	ck_assert_int_eq(number(o, "signal"), 15);
	ck_assert_int_eq(number(o, "kvm_run_exits"), 77);
	ck_assert_int_eq(number(phases, "built"), 3);
	ck_assert_int_eq(number(phases, "first_instruction"), 4);
	ck_assert_int_eq(number(phases, "first_output"), 800);
	ck_assert_int_eq(number(phases, "end"), 1005);
	ck_assert_int_eq(number(json_object_get(devices, "console0"), "ready_us"), 900);
	ck_assert_int_eq(number(json_object_get(devices, "console0"), "faults"), 1);
	ck_assert_ptr_null(json_object_get(json_object_get(devices, "net\"0"), "ready_us"));
	ck_assert_int_eq(number(json_object_get(devices, "net\"0"), "rx_packets"), 12);
	ck_assert_int_eq(number(o, "routing_commits"), 3);
	ck_assert_int_eq(number(o, "uart_dropped"), 4);
	ck_assert_str_eq(text(o, "console_tail"), "a\r\nb\"");
	ck_assert_ptr_null(json_object_get(o, "error"));
	json_decref(o);
}
END_TEST

START_TEST(test_result_tells_what_a_balloon_did)
{
	struct machine_result run = {
		.reason = STOP_POWEROFF, .has_balloon = true,
		.balloon = { .target = 1, .actual = 2, .given_back = 3, .inflated = 4, .deflated = 5, .reported = 6, .failed = 7,
			     .stats = { { "free_memory", 8 } }, .nr_stats = 1 },
	};
	struct result r = { .run = &run };
	json_t *o = object_of(&r), *b = json_object_get(o, "balloon");

	ck_assert_int_eq(number(b, "target"), 1);
	ck_assert_int_eq(number(b, "actual"), 2);
	ck_assert_int_eq(number(b, "given_back"), 3);
	ck_assert_int_eq(number(b, "inflated"), 4);
	ck_assert_int_eq(number(b, "deflated"), 5);
	ck_assert_int_eq(number(b, "reported"), 6);
	ck_assert_int_eq(number(b, "failed"), 7);
	ck_assert_int_eq(number(json_object_get(b, "guest"), "free_memory"), 8);
	json_decref(o);
	run.has_balloon = false;
	o = object_of(&r);
	ck_assert_ptr_null(json_object_get(o, "balloon"));
	json_decref(o);
}
END_TEST

START_TEST(test_result_tells_who_obeyed_the_power_button)
{
	struct machine_result run = { .reason = STOP_POWEROFF, .pressed = 15 };
	struct result r = { .run = &run };
	json_t *o = object_of(&r);

	ck_assert_str_eq(text(o, "reason"), "poweroff");
	ck_assert_int_eq(number(o, "power_button"), 15);
	ck_assert_ptr_null(json_object_get(o, "signal"));
	json_decref(o);
	run.reason = STOP_GRACE;
	run.signo = 15;
	o = object_of(&r);
	ck_assert_str_eq(text(o, "reason"), "grace");
	ck_assert_int_eq(number(o, "signal"), 15);
	ck_assert_int_eq(number(o, "power_button"), 15);
	json_decref(o);
	run.pressed = 0;
	o = object_of(&r);
	ck_assert_ptr_null(json_object_get(o, "power_button"));
	json_decref(o);
}
END_TEST

START_TEST(test_result_guests_own_status_is_of_a_poweroff)
{
	struct machine_result run = { .reason = STOP_POWEROFF, .has_guest_status = true, .guest_status = 42 };
	struct result r = { .run = &run, .status = 42 };
	json_t *o = object_of(&r);

	ck_assert_int_eq(result_status(&run), 42);
	ck_assert_int_eq(number(o, "guest_status"), 42);
	ck_assert_ptr_null(json_object_get(json_object_get(o, "phases_us"), "init"));
	json_decref(o);
	run.init_ns = 5000000;
	o = object_of(&r);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(o, "phases_us"), "init")), 5000);
	json_decref(o);
	run.reason = STOP_RESET;
	ck_assert_int_eq(result_status(&run), 122);
	run = (struct machine_result){ .reason = STOP_POWEROFF };
	o = object_of(&r);
	ck_assert_ptr_null(json_object_get(o, "guest_status"));
	json_decref(o);
}
END_TEST

START_TEST(test_result_tells_what_reported_a_panic)
{
	struct machine_result run = { .reason = STOP_PANIC, .text = "a \"line\"\x1b\xff", .crash_loads = 2 };
	struct result r = { .run = &run, .status = 123 };
	json_t *o = object_of(&r);

	ck_assert_str_eq(text(o, "reason"), "panic");
	ck_assert_str_eq(text(o, "panic"), "a \"line\"\x1b\xef\xbf\xbd");
	ck_assert_int_eq(number(o, "crash_kernels"), 2);
	json_decref(o);
	run = (struct machine_result){ .reason = STOP_POWEROFF };
	o = object_of(&r);
	ck_assert(!json_object_get(o, "panic") && !json_object_get(o, "crash_kernels"));
	json_decref(o);
}
END_TEST

START_TEST(test_result_without_a_run_has_reason_and_error)
{
	struct result r = { .reason = "no-kvm", .error = "/dev/kvm: gone", .status = 126 };
	json_t *o = object_of(&r);

	ck_assert_str_eq(text(o, "reason"), "no-kvm");
	ck_assert_str_eq(text(o, "error"), "/dev/kvm: gone");
	ck_assert_int_eq(number(o, "status"), 126);
	ck_assert_ptr_null(json_object_get(o, "console_tail"));
	json_decref(o);
}
END_TEST

START_TEST(test_result_tail_of_any_bytes_is_valid_text)
{
	/* a cut character, NUL, a lone byte, a good one, an overlong one, a cut one at the end */
	static const char tail[] = "\xa9x\0\xffy\xc3\xa9\xc0\x80\xe2\x82";
	struct machine_result run = { .reason = STOP_POWEROFF };
	struct result r = { .run = &run, .tail = tail, .tail_len = sizeof(tail) - 1 };
	char *line = result_json(&r);
	json_t *o = json_loads(line, JSON_ALLOW_NUL, NULL);
	const json_t *v = json_object_get(o, "console_tail");
	static const char want[] = "\xef\xbf\xbdx\0\xef\xbf\xbdy\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd";

	ck_assert_uint_eq(json_string_length(v), sizeof(want) - 1);
	ck_assert_mem_eq(json_string_value(v), want, sizeof(want) - 1);
	json_decref(o);
	free(line);
}
END_TEST

/* outfile */

static char path[] = "/tmp/test_result.XXXXXX";

static void put(const char *content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_eq(write(fd, content, strlen(content)), (int)strlen(content));
	close(fd);
}

static const char *get(void)
{
	static char buf[100];
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	ck_assert_int_ge(n, 0);
	buf[n] = '\0';
	close(fd);
	return buf;
}

START_TEST(test_outfile_abandoned_leaves_an_existing_file_alone)
{
	struct outfile f;
	struct err e;

	put("precious");
	ck_assert_int_eq(outfile_open(&f, "--result", path, &e), 0);
	ck_assert(!f.created && f.regular);
	ck_assert_str_eq(get(), "precious");
	outfile_abandon(&f);
	ck_assert_str_eq(get(), "precious");
}
END_TEST

START_TEST(test_outfile_abandoned_removes_only_what_it_made)
{
	struct outfile f;
	struct err e;

	unlink(path);
	ck_assert_int_eq(outfile_open(&f, "--result", path, &e), 0);
	ck_assert(f.created);
	outfile_abandon(&f);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(test_outfile_put_replaces_all_of_it)
{
	struct outfile f;
	struct err e;

	put("something longer");
	ck_assert_int_eq(outfile_open(&f, "--result", path, &e), 0);
	ck_assert_int_eq(outfile_clear(&f), 0);
	ck_assert_int_eq(outfile_put(&f, "new", 3), 0);
	ck_assert_str_eq(get(), "new");
	close(f.fd);
}
END_TEST

START_TEST(test_outfile_what_cannot_be_written_is_named)
{
	struct outfile f;
	struct err e;

	ck_assert_int_eq(outfile_open(&f, "--result", "/nonexistent/x", &e), -ENOENT);
	ck_assert_str_eq(e.text, "--result: '/nonexistent/x': No such file or directory");
	ck_assert_int_eq(outfile_open(&f, "--result", "/tmp", &e), -EISDIR);
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(outfile_open(&f, "--result", path, &e), -ENXIO);
	ck_assert_ptr_nonnull(strstr(e.text, "nothing reads this pipe"));
}
END_TEST

static void make_file(void)
{
	close(mkstemp(path));
}

static void remove_file(void)
{
	unlink(path);
}

int main(void)
{
	Suite *s = suite_create("result");
	TCase *t = tcase_create("result");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, make_file, remove_file);
	tcase_add_test(t, test_result_status_is_the_documented_table);
	tcase_add_test(t, test_result_of_a_run_has_phases_and_tail);
	tcase_add_test(t, test_result_tells_what_a_balloon_did);
	tcase_add_test(t, test_result_tells_who_obeyed_the_power_button);
	tcase_add_test(t, test_result_guests_own_status_is_of_a_poweroff);
	tcase_add_test(t, test_result_tells_what_reported_a_panic);
	tcase_add_test(t, test_result_without_a_run_has_reason_and_error);
	tcase_add_test(t, test_result_tail_of_any_bytes_is_valid_text);
	tcase_add_test(t, test_outfile_abandoned_leaves_an_existing_file_alone);
	tcase_add_test(t, test_outfile_abandoned_removes_only_what_it_made);
	tcase_add_test(t, test_outfile_put_replaces_all_of_it);
	tcase_add_test(t, test_outfile_what_cannot_be_written_is_named);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
