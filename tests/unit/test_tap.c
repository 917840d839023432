// SPDX-License-Identifier: BSD-3-Clause
/*
 * The tap against the real /dev/net/tun, in a network namespace of its own. Where that cannot
 * be had (no right, no module), only what needs no tap is tested, and the output says so.
 */
#include "devices/vhost/tap.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/compat.h"

#define PLAIN (IFF_TAP | IFF_NO_PI)
#define OWNER 4242

static int attach(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* As 'ip tuntap add' does. */
static void make(const char *name, int flags, unsigned owner)
{
	int fd = attach(name, flags);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	if (owner)
		ck_assert_int_eq(ioctl(fd, TUNSETOWNER, owner), 0);
	close(fd);
}

static void set_up(const char *name)
{
	int s = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ck_assert_int_eq(ioctl(s, SIOCGIFFLAGS, &ifr), 0);
	ifr.ifr_flags |= IFF_UP;
	ck_assert_int_eq(ioctl(s, SIOCSIFFLAGS, &ifr), 0);
	close(s);
}

static bool exists(const char *name)
{
	return if_nametoindex(name) != 0;
}

static int hdr_size(int fd)
{
	int size = 0;

	ck_assert_int_eq(ioctl(fd, TUNGETVNETHDRSZ, &size), 0);
	return size;
}

static int nr_open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void refused(const char *name, unsigned pairs, int code, const char *text)
{
	struct tap *t = (void *)1;
	int before = nr_open_fds();
	struct err e = { "" };
	int r = tap_open(name, pairs, &t, &e);

	ck_assert_msg(r == code, "%s: %d (%s)", name, r, e.text);
	ck_assert_ptr_eq(t, (void *)1);
	ck_assert_msg(strstr(e.text, text), "'%s' lacks '%s'", e.text, text);
	ck_assert_int_eq(nr_open_fds(), before);
}

/* ---- no tap needed ---- */

START_TEST(test_tap_open_bad_name_refused)
{
	static const char *const names[] = { "", ".", "..", "a/b", "a b", "a:1", "tap%d", "a\nb", "\x80x",
					     "sixteen_letters_" };

	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		refused(names[i], 1, -EINVAL, "not a name of a network interface");
}
END_TEST

START_TEST(test_tap_open_bad_queues_refused)
{
	refused("tap0", 0, -EINVAL, "queues=0");
	refused("tap0", 17, -EINVAL, "queues=17");
}
END_TEST

START_TEST(test_tap_open_missing_refused_and_not_made)
{
	refused("nosuchtap", 1, -ENODEV, "ip tuntap add nosuchtap mode tap user $USER");
	refused("nosuchtap", 2, -ENODEV, "mode tap multi_queue user $USER");
	ck_assert(!exists("nosuchtap"));
}
END_TEST

START_TEST(test_tap_from_fds_no_tap_refused_and_closed)
{
	int fds[2], none[1] = { -1 }, before = nr_open_fds();
	struct err e = { "" };
	struct tap *t;

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(tap_from_fds(fds, 2, &t, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "not a tap"), "%s", e.text);
	ck_assert_int_eq(nr_open_fds(), before);
	ck_assert_int_eq(tap_from_fds(none, 1, &t, &e), -EINVAL);
	ck_assert_int_eq(tap_from_fds(fds, 0, &t, &e), -EINVAL);
}
END_TEST

START_TEST(test_tap_close_null_is_fine)
{
	tap_close(NULL);
}
END_TEST

/* ---- with taps ---- */

START_TEST(test_tap_open_persistent_attached)
{
	struct tap *t = NULL;
	struct err e;

	make("tap0", PLAIN, 0);
	ck_assert_int_eq(tap_open("tap0", 1, &t, &e), 0);
	ck_assert_str_eq(t->name, "tap0");
	ck_assert_uint_eq(t->nr_fds, 1);
	ck_assert(!t->up);
	ck_assert_int_eq(hdr_size(t->fds[0]), TAP_HDR_SIZE);
	ck_assert(fcntl(t->fds[0], F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(t->fds[0], F_GETFD) & FD_CLOEXEC);
	ck_assert(t->can_offload & TUN_F_UFO);
	tap_close(t);
	ck_assert(exists("tap0"));
	set_up("tap0");
	ck_assert_int_eq(tap_open("tap0", 1, &t, &e), 0);
	ck_assert(t->up);
	tap_close(t);
}
END_TEST

START_TEST(test_tap_close_puts_header_size_back)
{
	int fd, size = 20;
	struct tap *t;

	make("tap0", PLAIN | IFF_VNET_HDR, 0);
	ck_assert_int_eq(tap_open("tap0", 1, &t, NULL), 0);
	tap_close(t);
	fd = attach("tap0", PLAIN | IFF_VNET_HDR);
	ck_assert_int_eq(hdr_size(fd), 10);
	ck_assert_int_eq(ioctl(fd, TUNSETVNETHDRSZ, &size), 0);
	close(fd);
	ck_assert_int_eq(tap_open("tap0", 1, &t, NULL), 0);
	ck_assert_int_eq(hdr_size(t->fds[0]), TAP_HDR_SIZE);
	tap_close(t);
	fd = attach("tap0", PLAIN | IFF_VNET_HDR);
	ck_assert_int_eq(hdr_size(fd), 20);
	close(fd);
}
END_TEST

START_TEST(test_tap_open_busy_refused)
{
	int fd;

	make("tap0", PLAIN, 0);
	fd = attach("tap0", PLAIN);
	refused("tap0", 1, -EBUSY, "another program has it open");
	close(fd);
}
END_TEST

START_TEST(test_tap_open_not_a_tap_refused)
{
	make("tun0", IFF_TUN | IFF_NO_PI, 0);
	refused("tun0", 1, -EINVAL, "tun0: not a tap interface");
	refused("lo", 1, -EINVAL, "lo: not a tap interface");
}
END_TEST

START_TEST(test_tap_open_multi_queue_flag_unlike_refused)
{
	make("tap0", PLAIN, 0);
	refused("tap0", 2, -EINVAL, "made without multi_queue, which queues=2 needs");
	make("tap1", PLAIN | IFF_MULTI_QUEUE, 0);
	refused("tap1", 1, -EINVAL, "made with multi_queue, which queues=1 cannot use");
}
END_TEST

static void drop_capabilities(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	ck_assert_int_eq(syscall(SYS_capset, &h, none), 0);
}

START_TEST(test_tap_open_no_permission_refused)
{
	struct err e = { "" };
	struct tap *t;
	int r;

	make("tap0", PLAIN, OWNER);
	drop_capabilities();
	r = tap_open("tap0", 1, &t, &e);
	ck_assert_msg(r == -EPERM || r == -EACCES, "%d", r);
	ck_assert_msg(strstr(e.text, "run as root"), "%s", e.text);
	if (r == -EPERM)
		ck_assert_str_eq(e.text, "tap0: TUNSETIFF: Operation not permitted (run as root, or: "
				 "ip tuntap add tap0 mode tap user $USER)");
}
END_TEST

START_TEST(test_tap_queues_attached_and_detached)
{
	struct tap *t;

	make("tap0", PLAIN | IFF_MULTI_QUEUE, 0);
	ck_assert_int_eq(tap_open("tap0", 4, &t, NULL), 0);
	ck_assert_uint_eq(t->enabled, 4);
	ck_assert_int_eq(tap_enable_queues(t, 1), 0);
	ck_assert_uint_eq(t->enabled, 1);
	ck_assert_int_eq(tap_set_offload(t, TUN_F_CSUM), 0);
	ck_assert_int_eq(tap_enable_queues(t, 3), 0);
	ck_assert_int_eq(tap_enable_queues(t, 3), 0);
	ck_assert_int_eq(tap_enable_queues(t, 0), -EINVAL);
	ck_assert_int_eq(tap_enable_queues(t, 5), -EINVAL);
	ck_assert_int_eq(tap_enable_queues(t, 4), 0);
	tap_close(t);
}
END_TEST

START_TEST(test_tap_offload_known_and_refused)
{
	struct tap *t;

	make("tap0", PLAIN, 0);
	ck_assert_int_eq(tap_open("tap0", 1, &t, NULL), 0);
	ck_assert_int_eq(tap_set_offload(t, t->can_offload), 0);
	ck_assert_uint_eq(t->offloads, t->can_offload);
	ck_assert_int_eq(tap_set_offload(t, 1u << 30), -EINVAL);
	ck_assert_int_eq(tap_set_offload(t, TUN_F_TSO4), -EINVAL);
	ck_assert_uint_eq(t->offloads, t->can_offload);
	ck_assert_int_eq(tap_set_offload(t, 0), 0);
	tap_close(t);
}
END_TEST

START_TEST(test_tap_from_fds_good_taken_over)
{
	int fds[2] = { attach("tap7", PLAIN | IFF_VNET_HDR | IFF_MULTI_QUEUE),
		       attach("tap7", PLAIN | IFF_VNET_HDR | IFF_MULTI_QUEUE) };
	struct err e = { "" };
	struct tap *t;

	ck_assert_msg(!tap_from_fds(fds, 2, &t, &e), "%s", e.text);
	ck_assert_str_eq(t->name, "tap7");
	ck_assert(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	ck_assert_int_eq(hdr_size(fds[1]), TAP_HDR_SIZE);
	tap_close(t);
	ck_assert(!exists("tap7"));
}
END_TEST

static void fds_refused(int a, int b, const char *text)
{
	int fds[2] = { a, b };
	struct err e = { "" };
	struct tap *t;

	ck_assert_int_ge(a, 0);
	ck_assert_msg(tap_from_fds(fds, b < 0 ? 1 : 2, &t, &e) == -EINVAL, "taken, though %s", text);
	ck_assert_msg(strstr(e.text, text), "'%s' lacks '%s'", e.text, text);
	ck_assert_int_lt(fcntl(a, F_GETFD), 0);
}

START_TEST(test_tap_from_fds_wrong_kind_refused)
{
	const int good = PLAIN | IFF_VNET_HDR | IFF_MULTI_QUEUE;
	int twice = attach("tap3", good);

	fds_refused(attach("tun3", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR), -1, "must be a tap");
	fds_refused(attach("tap2", PLAIN), -1, "IFF_VNET_HDR");
	fds_refused(open("/dev/net/tun", O_RDWR), -1, "TUNGETIFF");
	fds_refused(twice, twice, "given twice");
	fds_refused(attach("tap8", good), attach("tap9", good), "the first one of tap8");
	fds_refused(attach("tap6", PLAIN | IFF_VNET_HDR), attach("tap4", good), "IFF_MULTI_QUEUE");
}
END_TEST

static bool have_taps(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	fd = attach("probe", PLAIN);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Each test has a process, and so a network namespace, of its own. */
static void own_namespace(void)
{
	ck_assert(have_taps());
}

static bool taps_here(void)
{
	pid_t pid = fork();
	int status = 1;

	if (!pid)
		_exit(have_taps() ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && !status;
}

int main(void)
{
	Suite *s = suite_create("tap");
	TCase *plain = tcase_create("plain"), *real = tcase_create("real");
	SRunner *run;
	int failed;

	tcase_add_test(plain, test_tap_open_bad_name_refused);
	tcase_add_test(plain, test_tap_open_bad_queues_refused);
	tcase_add_test(plain, test_tap_open_missing_refused_and_not_made);
	tcase_add_test(plain, test_tap_from_fds_no_tap_refused_and_closed);
	tcase_add_test(plain, test_tap_close_null_is_fine);
	suite_add_tcase(s, plain);
	tcase_add_checked_fixture(real, own_namespace, NULL);
	tcase_add_test(real, test_tap_open_persistent_attached);
	tcase_add_test(real, test_tap_close_puts_header_size_back);
	tcase_add_test(real, test_tap_open_busy_refused);
	tcase_add_test(real, test_tap_open_not_a_tap_refused);
	tcase_add_test(real, test_tap_open_multi_queue_flag_unlike_refused);
	tcase_add_test(real, test_tap_open_no_permission_refused);
	tcase_add_test(real, test_tap_queues_attached_and_detached);
	tcase_add_test(real, test_tap_offload_known_and_refused);
	tcase_add_test(real, test_tap_from_fds_good_taken_over);
	tcase_add_test(real, test_tap_from_fds_wrong_kind_refused);
	if (taps_here())
		suite_add_tcase(s, real);
	else
		printf("SKIP: no taps can be made here (needs root and /dev/net/tun)\n");
	run = srunner_create(s);
	srunner_run_all(run, CK_ENV);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed ? 1 : 0;
}
