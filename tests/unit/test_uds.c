// SPDX-License-Identifier: BSD-3-Clause
/* A socket's name and the broker beside it, with real sockets and the real process. */
#include "vmm/machine/uds.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/core/broker.h"

static char folder[40], path[60];
static struct uds u;
static struct err e;

static void setup(void)
{
	snprintf(folder, sizeof(folder), "/tmp/test_uds.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/v", folder);
	u = (struct uds){ -1, -1 };
}

static void teardown(void)
{
	char command[80];

	uds_close(&u);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static struct sockaddr_un address(const char *text)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", text);
	return a;
}

static int listener(const char *text)
{
	struct sockaddr_un a = address(text);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static bool may_connect(void)
{
	struct sockaddr_un a = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool may = !connect(fd, (struct sockaddr *)&a, sizeof(a));

	close(fd);
	return may;
}

/* The name goes soon after the socket to its broker. */
static bool is_gone(void)
{
	for (unsigned i = 0; i < 500 && !access(path, F_OK); i++)
		poll(NULL, 0, 10);
	return access(path, F_OK) != 0;
}

/* As --vsock's, whose process connects to others; as the console's, whose does not. */
static int open_at(const char *at)
{
	const struct uds_cfg cfg = { .id = "vsock0", .key = "uds", .path = at, .with_ports = true };

	return uds_open(&cfg, &u, &e);
}

static int open_plain(const char *at)
{
	const struct uds_cfg cfg = { .id = "--console", .key = "socket", .path = at };

	return uds_open(&cfg, &u, &e);
}

static void opens(void)
{
	ck_assert_msg(!open_at(path), "%s", e.text);
	ck_assert(may_connect());
}

/* Asks the broker; its descriptor, or its error. */
static int ask(uint32_t which, uint32_t port)
{
	const struct broker_request q = { .number = port + 1, .path = which, .port = port };
	struct broker_reply reply = { 0 };
	struct iovec iov = { &reply, sizeof(reply) };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd = -1;

	ck_assert_int_eq(write(u.broker_fd, &q, sizeof(q)), sizeof(q));
	ck_assert_int_eq(recvmsg(u.broker_fd, &m, MSG_CMSG_CLOEXEC), sizeof(reply));
	ck_assert_uint_eq(reply.number, port + 1);
	if (reply.error)
		return reply.error;
	ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

START_TEST(test_uds_name_comes_and_goes)
{
	opens();
	uds_close(&u);
	ck_assert(is_gone());
}
END_TEST

START_TEST(test_uds_broker_connects)
{
	char text[80];
	int l, fd, c;

	opens();
	ck_assert_int_eq(ask(0, 7), -ENOENT);
	snprintf(text, sizeof(text), "%s_4294967295", path);
	l = listener(text);
	fd = ask(0, UINT32_MAX);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	c = accept(l, NULL, NULL);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	ck_assert_int_eq(read(c, text, 1), 1);
	close(c);
	close(fd);
	/* nobody takes them: a full backlog is refused, not waited for */
	for (unsigned i = 0; i < 8 && (fd = ask(0, UINT32_MAX)) >= 0; i++)
		;
	ck_assert_int_eq(fd, -EAGAIN);
	close(l);
	ck_assert_int_eq(ask(0, UINT32_MAX), -ECONNREFUSED);
	ck_assert_int_eq(ask(1, 7), -EINVAL);
}
END_TEST

/* Descriptors on their way are counted for all programs of a user: with too many, a connection fails, and not the broker. */
START_TEST(test_uds_broker_outlives_others_descriptors)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(250 * sizeof(int))] = { 0 };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int s[2], fd, l;
	char text[80];

	opens();
	snprintf(text, sizeof(text), "%s_7", path);
	l = listener(text);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(250 * sizeof(int));
	memset(CMSG_DATA(c), 0, 250 * sizeof(int)); /* standard input, as often as that */
	for (unsigned i = 0; i < 5; i++)
		if (sendmsg(s[0], &m, MSG_DONTWAIT) != 1) {
			printf("SKIP test_uds_broker_outlives_others_descriptors: so many descriptors need root\n");
			goto end;
		}
	ck_assert_int_eq(ask(0, 7), -ETOOMANYREFS);
	close(s[1]);
	close(s[0]);
	s[0] = s[1] = -1;
	/* closed sockets are cleared away a little later */
	for (unsigned i = 0; (fd = ask(0, 7)) == -ETOOMANYREFS && i < 100; i++)
		poll(NULL, 0, 10);
	ck_assert_int_ge(fd, 0);
	close(fd);
end:
	close_fd(&s[0]);
	close_fd(&s[1]);
	close(l);
}
END_TEST

START_TEST(test_uds_broker_ends_at_a_message_that_is_none)
{
	char byte;

	opens();
	ck_assert_int_eq(write(u.broker_fd, "x", 1), 1);
	ck_assert_int_eq(read(u.broker_fd, &byte, 1), 0);
	ck_assert(is_gone());
}
END_TEST

START_TEST(test_uds_stale_socket_gives_way)
{
	close(listener(path));
	ck_assert(!may_connect());
	opens();
}
END_TEST

START_TEST(test_uds_in_use_is_left_alone)
{
	int l = listener(path);
	struct stat before, after;

	ck_assert_int_eq(stat(path, &before), 0);
	ck_assert_int_eq(open_at(path), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(e.text, "another program listens on it"));
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	/* and it has not been knocked at: that would be a client of theirs */
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 0), 0);
	close(l);
}
END_TEST

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

/* Who closes a descriptor that came waits as long as its owner has arranged for: so none may come. */
START_TEST(test_uds_clients_hand_over_no_descriptors)
{
	struct sockaddr_un a = address(path);
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	char x = 0;
	struct iovec iov = { &x, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), is;

	if (getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &is, &(socklen_t){ sizeof(is) })) {
		printf("SKIP test_uds_clients_hand_over_no_descriptors: no SO_PASSRIGHTS here (Linux 6.16)\n");
		close(fd);
		return;
	}
	ck_assert_msg(!open_at(path), "%s", e.text);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	ck_assert_int_eq(sendmsg(fd, &m, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	close(fd);
}
END_TEST

START_TEST(test_uds_other_files_are_left_alone)
{
	switch (_i) {
	case 0:
		ck_assert_int_eq(mkdir(path, 0700), 0);
		break;
	case 1:
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		break;
	case 2:
		ck_assert_int_eq(symlink("elsewhere", path), 0);
		break;
	case 3:
		ck_assert_int_eq(mkfifo(path, 0600), 0);
		break;
	}
	ck_assert_int_eq(open_at(path), -EEXIST);
	ck_assert_ptr_nonnull(strstr(e.text, "left as it is"));
	ck_assert_int_eq(u.listen_fd, -1);
}
END_TEST

/* Whoever took the name meanwhile keeps it. */
START_TEST(test_uds_new_owner_keeps_the_name)
{
	int l;

	opens();
	ck_assert_int_eq(unlink(path), 0);
	l = listener(path);
	uds_close(&u);
	poll(NULL, 0, 300);
	ck_assert(may_connect());
	close(l);
}
END_TEST

START_TEST(test_uds_no_folder)
{
	ck_assert_int_eq(open_at("/nowhere/at/all"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "vsock0: uds='/nowhere/at/all': the folder: "));
}
END_TEST

/* Its process is asked for nothing; it looks after the name all the same. */
START_TEST(test_uds_plain_name_has_nobody_to_ask)
{
	char byte;

	ck_assert_msg(!open_plain(path), "%s", e.text);
	ck_assert(may_connect());
	if (_i) {
		const struct broker_request q = { .number = 1 };

		ck_assert_int_eq(write(u.broker_fd, &q, sizeof(q)), sizeof(q));
		ck_assert_int_eq(read(u.broker_fd, &byte, 1), 0);
	} else {
		uds_close(&u);
	}
	ck_assert(is_gone());
}
END_TEST

/* An address's last byte is used; with a port there is less of it. */
START_TEST(test_uds_longest_path)
{
	char at[UDS_PLAIN_MAX + 2] = "";

	memset(at, 'n', UDS_PLAIN_MAX);
	memcpy(at, path, strlen(path));
	ck_assert_int_eq(open_at(at), -ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(e.text, "more than 96 bytes"));
	ck_assert_msg(!open_plain(at), "%s", e.text);
	uds_close(&u);
	strcat(at, "n");
	ck_assert_int_eq(open_plain(at), -ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(e.text, "--console: socket='/tmp/"));
	ck_assert_ptr_nonnull(strstr(e.text, "more than 107 bytes"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("uds");
	TCase *t = tcase_create("uds");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_uds_name_comes_and_goes);
	tcase_add_test(t, test_uds_broker_connects);
	tcase_add_test(t, test_uds_broker_outlives_others_descriptors);
	tcase_add_test(t, test_uds_broker_ends_at_a_message_that_is_none);
	tcase_add_test(t, test_uds_stale_socket_gives_way);
	tcase_add_test(t, test_uds_in_use_is_left_alone);
	tcase_add_test(t, test_uds_clients_hand_over_no_descriptors);
	tcase_add_loop_test(t, test_uds_other_files_are_left_alone, 0, 4);
	tcase_add_test(t, test_uds_new_owner_keeps_the_name);
	tcase_add_test(t, test_uds_no_folder);
	tcase_add_loop_test(t, test_uds_plain_name_has_nobody_to_ask, 0, 2);
	tcase_add_test(t, test_uds_longest_path);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
