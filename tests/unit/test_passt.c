// SPDX-License-Identifier: BSD-3-Clause
/* How passt is found, started and asked, with a script in its place. */
#include "vmm/machine/passt.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"

static char dir[] = "/tmp/microvm-passt-XXXXXX", path[64], args[64];
static struct passt p;
static struct err err;
static const struct net_options plain = { .user = true, .mac = { 2, 3, 4, 5, 6, 7 } };

static void setup(void)
{
	char all[PATH_MAX];

	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/passt", dir);
	snprintf(args, sizeof(args), "%s/args", dir);
	snprintf(all, sizeof(all), "/nowhere:%s:/usr/bin:/bin", dir);
	setenv("PATH", all, 1);
	setenv("ARGS", args, 1);
	p = (struct passt){ .fd = -1, .said = -1 };
}

static void teardown(void)
{
	passt_close(&p);
	unlink(path);
	unlink(args);
	rmdir(dir);
}

static void script(const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fprintf(f, "#!/bin/sh\n%s\n", text);
	fclose(f);
	ck_assert_int_eq(chmod(path, 0755), 0);
}

static void start(const struct net_options *o)
{
	int r = passt_start("net0", o, &p, &err);

	ck_assert_msg(!r, "%s", err.text);
	ck_assert(fd_kinds(p.fd) == FD_PEER);
}

static void expect(int r, int code, const char *part)
{
	ck_assert_msg(r == code, "%d, not %d: %s", r, code, err.text);
	ck_assert_msg(strstr(err.text, part), "'%s' lacks '%s'", err.text, part);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

/* What the script wrote into $ARGS. */
static const char *said(void)
{
	static char text[2000];
	int fd = open(args, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	close(fd);
	return text;
}

static int status_of(void)
{
	int status;

	ck_assert_int_eq(waitpid(p.pid, &status, 0), p.pid);
	return status;
}

START_TEST(test_passt_not_found_says_what_to_do)
{
	char found[PATH_MAX];

	expect(passt_start("net0", &plain, &p, &err), -ENOENT, "net0: no program passt in PATH");
	/* what is there, and is no program */
	mkdir(path, 0755);
	ck_assert(!passt_find(found, sizeof(found)));
	rmdir(path);
	script("");
	chmod(path, 0644);
	ck_assert(!passt_find(found, sizeof(found)));
	chmod(path, 0755);
	ck_assert(passt_find(found, sizeof(found)));
	ck_assert_str_eq(found, path);
	ck_assert(!passt_find(found, 10));
	setenv("PATH", "", 1);
	ck_assert(!passt_find(found, sizeof(found)));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert(passt_find(found, sizeof(found))); /* an empty part is the folder that one is in */
	setenv("PATH", ":::", 1);
	ck_assert(passt_find(found, sizeof(found)));
	unsetenv("PATH");
	(void)passt_find(found, sizeof(found));
}
END_TEST

START_TEST(test_passt_is_asked_and_answers)
{
	static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 };
	uint8_t buf[46];

	/* the question comes back: it is a frame of its length, by the card's address */
	script("head -c 46 <&3 >&3; cat <&3 >/dev/null");
	start(&plain);
	ck_assert_int_eq(passt_greet("net0", &plain, &p, &err), 0);
	ck_assert_int_eq(recv(p.fd, buf, sizeof(buf), MSG_WAITALL), 46);
	ck_assert(!memcmp(buf, "\0\0\0\x2a\xff\xff\xff\xff\xff\xff", 10) && !memcmp(buf + 10, mac, 6));
	ck_assert(!memcmp(buf + 16, "\x08\x06\0\1\x08\0\6\4\0\1", 10) && !memcmp(buf + 26, mac, 6));
	/* and with the socket it ends */
	close_fd(&p.fd);
	ck_assert_int_eq(status_of(), 0);
}
END_TEST

START_TEST(test_passt_arguments)
{
	struct net_options o = plain;

	script("echo \"$@\" >$ARGS; exit 3");
	start(&o);
	status_of();
	ck_assert_ptr_nonnull(strstr(said(), "--foreground --quiet --stderr --fd 3 --tcp-ports none --udp-ports none --no-map-gw"));
	ck_assert_ptr_null(strstr(said(), "--runas")); /* root of a user namespace has nobody else to be */
	ck_assert_ptr_null(strstr(said(), "--mtu"));
	passt_close(&p);
	o.loopback = true;
	o.mtu = 1400;
	for (unsigned i = 0; i < NET_MAX_PUBLISH; i++) {
		o.publish[i].host = (uint16_t)(50001 + i);
		o.publish[i].guest = 65535;
	}
	o.nr_publish = NET_MAX_PUBLISH;
	start(&o);
	status_of();
	ck_assert_ptr_nonnull(strstr(said(), "--tcp-ports 50001:65535,50002:65535,"));
	ck_assert_ptr_nonnull(strstr(said(), ",50016:65535 --udp-ports none --mtu 1400"));
	ck_assert_ptr_null(strstr(said(), "map-gw"));
}
END_TEST

/* Descriptors that others left open, signals that we block, our terminal: none of it is its. */
START_TEST(test_passt_gets_its_socket_alone)
{
	sigset_t all;
	int stray = open("/dev/null", O_RDONLY);

	ck_assert_int_ge(stray, 3);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	/* the shell's own are 10 and up; its own mask changes while it waits for others */
	script("one=$(readlink /proc/$$/fd/1); { echo $one; for f in 0 3 4 5 6 7 8 9; do readlink /proc/$$/fd/$f || echo none; done; grep SigBlk /proc/self/status;"
	       " read -r pid name state parent group session rest </proc/$$/stat; [ $session = $$ ] && echo leads; } >$ARGS 2>/dev/null");
	start(&plain);
	status_of();
	ck_assert_msg(strstr(said(), "/dev/null\n/dev/null\nsocket:") == said(), "%s", said());
	ck_assert_msg(strstr(said(), "]\nnone\nnone\nnone\nnone\nnone\nnone\nSigBlk:\t0000000000000000\nleads"), "%s", said());
	close(stray);
}
END_TEST

START_TEST(test_passt_that_fails_is_told)
{
	static const struct { const char *script, *part; } bad[] = {
		{ "exit 3", "net0: passt ended with status 3" },
		{ "echo first >&2; printf 'it is \\033 dark\\nFailed to send 9 bytes to syslog\\n' >&2; exit 1", "passt ended with status 1: it is ? dark" },
		{ "head -c 9000 /dev/zero | tr '\\0' x >&2; exit 2", "passt ended with status 2: xxxxxxxxxxxxxx" },
		{ "head -c 46 <&3 >/dev/null; exit 0", "net0: passt ended with status 0" },
		{ "kill -9 $$", "net0: passt was ended by signal 9" },
		{ "exit 127", "net0: passt could not be executed" },
	};

	script(bad[_i].script);
	start(&plain);
	expect(passt_greet("net0", &plain, &p, &err), -ECHILD, bad[_i].part);
	ck_assert_int_eq(p.fd, -1);
	ck_assert_int_eq(waitpid(p.pid, NULL, 0), -1); /* it was waited for */
}
END_TEST

/* Nobody waits for ever for a program that is in the place of passt. */
START_TEST(test_passt_that_closes_its_socket_and_lives_is_told)
{
	script("exec 3<&-; echo tired >&2; sleep 100");
	start(&plain);
	expect(passt_greet("net0", &plain, &p, &err), -ECHILD, "net0: passt closed its socket: tired");
	ck_assert_int_eq(p.fd, -1);
	ck_assert_int_eq(kill(p.pid, SIGKILL), 0);
	status_of();
}
END_TEST

START_TEST(test_passt_whose_end_nobody_tells_is_told)
{
	signal(SIGCHLD, SIG_IGN);
	script("exit 3");
	start(&plain);
	expect(passt_greet("net0", &plain, &p, &err), -ECHILD, "net0: passt closed its socket");
}
END_TEST

START_TEST(test_passt_without_an_answer_is_no_error)
{
	script("cat <&3 >/dev/null");
	start(&plain);
	ck_assert_int_eq(passt_greet("net0", &plain, &p, &err), 0);
	close_fd(&p.fd);
	ck_assert_int_eq(status_of(), 0);
}
END_TEST

START_TEST(test_passt_port_that_another_has_is_named)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct net_options o = plain;
	socklen_t len = sizeof(a);
	char part[60];
	int s = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(s, 1), 0);
	ck_assert_int_eq(getsockname(s, (struct sockaddr *)&a, &len), 0);
	o.publish[0].host = ntohs(a.sin_port);
	o.publish[0].guest = 80;
	o.nr_publish = 1;
	script("exit 0");
	snprintf(part, sizeof(part), "host's port %u: Address already in use", o.publish[0].host);
	expect(passt_start("net0", &o, &p, &err), -EADDRINUSE, part);
	close(s);
	start(&o);
	status_of();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("passt");
	TCase *t = tcase_create("passt");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_passt_not_found_says_what_to_do);
	tcase_add_test(t, test_passt_is_asked_and_answers);
	tcase_add_test(t, test_passt_arguments);
	tcase_add_test(t, test_passt_gets_its_socket_alone);
	tcase_add_loop_test(t, test_passt_that_fails_is_told, 0, 6);
	tcase_add_test(t, test_passt_that_closes_its_socket_and_lives_is_told);
	tcase_add_test(t, test_passt_whose_end_nobody_tells_is_told);
	tcase_add_test(t, test_passt_without_an_answer_is_no_error);
	tcase_add_test(t, test_passt_port_that_another_has_is_named);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
