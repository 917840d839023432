// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/config_json.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/app/options.h"

static struct options o;
static struct err e;
static char path[] = "/tmp/test_config_json.XXXXXX";

static void make_file(void)
{
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
}

static void remove_file(void)
{
	options_free(&o);
	unlink(path);
}

/* The command line "--config FILE @more" with @json in the file. */
static int load(const char *json, const char *more)
{
	const char *argv[] = { "microvm", "--config", path, more };
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(json, f);
	fclose(f);
	options_free(&o);
	memset(&o, 0, sizeof(o));
	return options_parse(&o, more ? 4 : 3, argv, &e);
}

#define GOOD(json) \
	do { \
		int _ret = load(json, NULL); \
		ck_assert_msg(!_ret, "%s", e.text); \
	} while (0)
#define BAD(json, part) \
	do { \
		ck_assert_int_lt(load(json, NULL), 0); \
		ck_assert_msg(strstr(e.text, part), "'%s' is not in '%s'", part, e.text); \
		ck_assert_msg(strstr(e.text, path), "the file is not in '%s'", e.text); \
	} while (0)

START_TEST(test_config_json_has_the_options_of_the_command_line)
{
	const struct config *c = &o.config;

	GOOD("{\"kernel\": \"Image\", \"cpus\": 4, \"memory\": \"1G\", \"cmdline\": [\"a\", \"b\"], \"dry-run\": true,"
	     "\"rng\": true, \"timeout\": 3, \"net\": [\"tap0,queues=2\", {\"tap\": \"tap1\", \"queues\": 3, \"vhost\": false},"
	     "{\"fd\": [5, \"6:7\"]}]}");
	ck_assert_str_eq(c->kernel, "Image");
	ck_assert_uint_eq(c->cpus, 4);
	ck_assert_uint_eq(c->memory, GIB);
	ck_assert_str_eq(c->cmdline, "console=ttyAMA0 console=hvc0 a b");
	ck_assert(c->dry_run);
	ck_assert_uint_eq(c->timeout_ns, 3000000000);
	ck_assert_uint_eq(c->nr_devices, 5);
	ck_assert_str_eq(c->devices[2].net.tap, "tap0");
	ck_assert_uint_eq(c->devices[2].net.queues, 2);
	ck_assert_str_eq(c->devices[3].net.tap, "tap1");
	ck_assert_uint_eq(c->devices[3].net.queues, 3);
	ck_assert_int_eq(c->devices[3].net.vhost, TRI_OFF);
	ck_assert_uint_eq(c->devices[4].net.nr_fds, 3);
	GOOD("{\"kernel\": \"I\", \"net\": {\"tap\": \"tap0\", \"iops\": 2000, \"bps\": \"64M\"}}");
	ck_assert_uint_eq(c->devices[2].net.iops, 2000);
	ck_assert_uint_eq(c->devices[2].net.bps, 64 * MIB);
}
END_TEST

START_TEST(test_config_json_balloon_is_true_text_or_object)
{
	GOOD("{\"kernel\": \"I\", \"balloon\": true}");
	ck_assert_int_eq(o.config.devices[2].kind, DEV_BALLOON);
	GOOD("{\"kernel\": \"I\", \"balloon\": false}");
	ck_assert_uint_eq(o.config.nr_devices, 2);
	GOOD("{\"kernel\": \"I\", \"balloon\": \"64M,oom=off\"}");
	ck_assert(o.config.devices[2].balloon.size == 64 * MIB && o.config.devices[2].balloon.no_oom);
	GOOD("{\"kernel\": \"I\", \"balloon\": {\"size\": 32, \"reporting\": false}}");
	ck_assert(o.config.devices[2].balloon.size == 32 * MIB && o.config.devices[2].balloon.no_reporting);
}
END_TEST

START_TEST(test_config_json_commas_in_object_values_are_plain)
{
	GOOD("{\"kernel\": \"a,b\", \"console\": \"file=x,y\"}");
	ck_assert_str_eq(o.config.console_path, "x,y");
	GOOD("{\"kernel\": \"I\", \"console\": \"socket=/run/x,y\"}");
	ck_assert_int_eq(o.config.console, CONSOLE_SOCKET);
	ck_assert_str_eq(o.config.console_path, "/run/x,y");
	BAD("{\"kernel\": \"I\", \"net\": {\"tap\": \"a,queues=2\", \"mac\": \"1,2\"}}", "mac: '1,2' is not a MAC");
}
END_TEST

START_TEST(test_config_json_one_device_needs_no_array)
{
	GOOD("{\"kernel\": \"I\", \"net\": {\"tap\": \"t\"}, \"append\": \"x\", \"dry-run\": false}");
	ck_assert_uint_eq(o.config.nr_devices, 3);
	ck_assert(!o.config.dry_run);
}
END_TEST

START_TEST(test_config_json_and_command_line_together_are_a_repeat)
{
	ck_assert_int_lt(load("{\"kernel\": \"I\"}", "--kernel=J"), 0);
	ck_assert_str_eq(e.text, "--kernel: given twice");
	ck_assert_int_eq(load("{\"kernel\": \"I\", \"net\": \"a\"}", "--net=b"), 0);
	ck_assert_str_eq(o.config.devices[2].net.tap, "a");
	ck_assert_str_eq(o.config.devices[3].net.tap, "b");
	ck_assert_int_lt(load("{\"kernel\": \"I\"}", "--config=x"), 0);
	ck_assert_str_eq(e.text, "--config: given twice");
}
END_TEST

START_TEST(test_config_json_bad_content_is_named)
{
	BAD("", "line 1");
	BAD("{\"kernel\": \n}", "line 2");
	BAD("[]", "must be one object");
	BAD("{\"kernel\": \"I\", \"kernel\": \"J\"}", "line 1");
	BAD("{\"colour\": 1}", "unknown key 'colour'");
	BAD("{\"config\": \"x\"}", "config: only on the command line");
	BAD("{\"help\": true}", "help: only on the command line");
	BAD("{\"pmem\": \"x\"}", "--pmem: ro is not given");
	BAD("{\"balloon\": \"x\"}", "--balloon: size");
	BAD("{\"balloon\": 4}", "balloon: must be a string or an object");
	BAD("{\"net\": true}", "net: must be a string or an object");
	BAD("{\"cpus\": true}", "cpus: must be a string or an integer");
	BAD("{\"cpus\": 1.5}", "cpus: must be a string or an integer");
	BAD("{\"cpus\": null}", "cpus: must be a string or an integer");
	BAD("{\"cpus\": [1]}", "cpus: must be a string or an integer");
	BAD("{\"cpus\": 0}", "--cpus: '0' is not a number");
	BAD("{\"dry-run\": \"yes\"}", "dry-run: must be true or false");
	BAD("{\"net\": 4}", "net: must be a string or an object");
	BAD("{\"net\": [[]]}", "net: must be a string or an object");
	BAD("{\"net\": {\"tap\": {}}}", "net: tap: must be");
	BAD("{\"net\": {\"tap\": \"a\", \"speed\": 1}}", "--net: unknown key 'speed'");
	BAD("{\"net\": {\"tap\": [\"a\", \"b\"]}}", "--net: tap= is given twice");
	BAD("{\"net\": {}}", "none of tap=, fd= and user");
}
END_TEST

START_TEST(test_config_json_files_that_are_none_are_named)
{
	static struct options fresh;
	const char *argv[] = { "microvm", "--config", "/nonexistent/x" };

	ck_assert_int_eq(options_parse(&fresh, 3, argv, &e), -ENOENT);
	ck_assert_str_eq(e.text, "config '/nonexistent/x': No such file or directory");
	ck_assert_int_lt(config_json_load(&fresh, "/tmp", &e), 0);
	ck_assert_ptr_nonnull(strstr(e.text, "not a regular file"));
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_lt(config_json_load(&fresh, path, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.text, "not a regular file"));
	unlink(path);
	ck_assert_int_lt(load("", NULL), 0);
	ck_assert_int_eq(truncate(path, 1024 * 1024 + 1), 0);
	ck_assert_int_eq(config_json_load(&fresh, path, &e), -EFBIG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config_json");
	TCase *t = tcase_create("config_json");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, make_file, remove_file);
	tcase_add_test(t, test_config_json_has_the_options_of_the_command_line);
	tcase_add_test(t, test_config_json_balloon_is_true_text_or_object);
	tcase_add_test(t, test_config_json_commas_in_object_values_are_plain);
	tcase_add_test(t, test_config_json_one_device_needs_no_array);
	tcase_add_test(t, test_config_json_and_command_line_together_are_a_repeat);
	tcase_add_test(t, test_config_json_bad_content_is_named);
	tcase_add_test(t, test_config_json_files_that_are_none_are_named);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
