/*
 * init-tiny: the smallest useful init of a guest.
 *
 * It says "init: up" and ends the guest, so a run of it measures the kernel and the monitor and next to
 * nothing else. No C library, no file system mounted, no memory allocated.
 *
 * The kernel hands "key=value" words of its command line that it does not know to init as environment, so
 * the options need no /proc:
 *
 *   tiny=poweroff (default) | reboot | halt      reboot(2) with that command
 *   tiny=panic           sysrq's crash, the only one to mount /proc
 *   tiny=exit            init ends, which the kernel answers with a panic
 *   tiny=hang            waits for ever, idle
 *   tiny=spin            waits for ever, busy
 *   tiny=sleep:SECONDS   waits, then powers off
 *   tiny=watchdog:N      opens the watchdog with two seconds, keeps it quiet for N seconds, then hangs
 *   tiny=button          powers off when the power button is pressed; says "init: button" when it listens
 *   tiny=ping:A.B.C.D    one ICMP echo through eth0, then powers off; says "init: pong N", the answer being
 *                        to the N-th request, or "init: no pong"
 *   ip4=A.B.C.D/LEN      eth0's own address, with ping and hang; else, with ping, the pinged one plus one, in a /24
 */
#include <linux/fcntl.h>
#include <linux/icmp.h>
#include <linux/if.h>
#include <linux/in.h>
#include <linux/input.h>
#include <linux/poll.h>
#include <linux/reboot.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <linux/time_types.h>
#include <linux/watchdog.h>

#include "start.h"

#define PING_TRIES 50
#define PING_WAIT_NS 200000000L
#define SOCK_RAW_TYPE 3

/* What follows prefix in s, or NULL. */
static const char *after(const char *s, const char *prefix)
{
	while (*prefix) {
		if (*s++ != *prefix++)
			return 0;
	}
	return s;
}

static const char *option(const char *const *env, const char *key)
{
	const char *value;

	for (; *env; env++) {
		value = after(*env, key);
		if (value)
			return value;
	}
	return 0;
}

static const char *number(const char *s, unsigned int *ret_n)
{
	unsigned int n = 0;

	while (*s >= '0' && *s <= '9')
		n = n * 10 + (unsigned int)(*s++ - '0');
	*ret_n = n;
	return s;
}

/* An address in host byte order; *ret_end is what follows it. */
static unsigned int address(const char *s, const char **ret_end)
{
	unsigned int ip = 0, byte;
	int i;

	for (i = 0; i < 4; i++) {
		s = number(s, &byte);
		ip = ip << 8 | (byte & 255);
		if (i < 3 && *s == '.')
			s++;
	}
	*ret_end = s;
	return ip;
}

static void set_address(struct sockaddr_in *sin, unsigned int ip)
{
	memset(sin, 0, sizeof(*sin));
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = __builtin_bswap32(ip);
}

static long interface_up(long fd, unsigned int ip, unsigned int mask)
{
	struct ifreq ifr;
	long r;

	memset(&ifr, 0, sizeof(ifr));
	memcpy(ifr.ifr_name, "eth0", 5);
	set_address((struct sockaddr_in *)(void *)&ifr.ifr_addr, ip);
	r = sys3(__NR_ioctl, fd, SIOCSIFADDR, (long)&ifr);
	if (r < 0)
		return r;
	set_address((struct sockaddr_in *)(void *)&ifr.ifr_netmask, mask);
	r = sys3(__NR_ioctl, fd, SIOCSIFNETMASK, (long)&ifr);
	if (r < 0)
		return r;
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	return sys3(__NR_ioctl, fd, SIOCSIFFLAGS, (long)&ifr);
}

static unsigned short checksum(const unsigned short *p, int halves)
{
	unsigned int sum = 0;

	while (halves--)
		sum += *p++;
	sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned short)~(sum + (sum >> 16));
}

/* One echo request and the wait for its reply: 1 if it came. */
static int ping_once(long fd, unsigned int ip, unsigned short seq)
{
	struct __kernel_timespec wait = { .tv_nsec = PING_WAIT_NS };
	struct icmphdr request = { .type = ICMP_ECHO };
	struct pollfd pfd = { .fd = (int)fd, .events = POLLIN };
	unsigned char reply[128];
	struct sockaddr_in to;
	long n;

	request.un.echo.id = 0x6d76;
	request.un.echo.sequence = __builtin_bswap16(seq);
	request.checksum = checksum((const unsigned short *)(const void *)&request, sizeof(request) / 2);
	set_address(&to, ip);
	memset(reply, 0, sizeof(reply));
	sys6(__NR_sendto, fd, (long)&request, sizeof(request), 0, (long)&to, sizeof(to));
	while (sys6(__NR_ppoll, (long)&pfd, 1, (long)&wait, 0, 0, 0) > 0) {
		n = sys3(__NR_read, fd, (long)reply, sizeof(reply));
		/* an IPv4 header of 20 bytes comes before the ICMP one */
		if (n >= 28 && reply[20] == ICMP_ECHOREPLY && reply[24] == 0x76 && reply[25] == 0x6d)
			return 1;
	}
	return 0;
}

static void say_pong(unsigned int n)
{
	char text[] = "init: pong ..\n";

	text[11] = (char)(n >= 10 ? '0' + n / 10 : ' ');
	text[12] = (char)('0' + n % 10);
	say(text);
}

/* A socket for pings, eth0 being up as @own; negative: there is none. */
static long open_eth0(unsigned int own, unsigned int len)
{
	long fd = sys3(__NR_socket, AF_INET, SOCK_RAW_TYPE, IPPROTO_ICMP);

	if (len < 1 || len > 32)
		len = 24;
	if (fd < 0 || interface_up(fd, own, ~0u << (32 - len)) < 0) {
		say("init: no eth0\n");
		return -1;
	}
	return fd;
}

static unsigned int own_address(const char *ip4, unsigned int *ret_len)
{
	unsigned int own = address(ip4, &ip4);

	if (*ip4 == '/')
		number(ip4 + 1, ret_len);
	return own;
}

static void ping(const char *target, const char *ip4)
{
	unsigned int ip, own, len = 24, i;
	const char *end;
	long fd;

	ip = address(target, &end);
	own = ip4 ? own_address(ip4, &len) : ip + 1;
	fd = open_eth0(own, len);
	if (fd < 0)
		return;
	for (i = 1; i <= PING_TRIES; i++) {
		if (ping_once(fd, ip, (unsigned short)i)) {
			say_pong(i);
			return;
		}
	}
	say("init: no pong\n");
}

static void sleep_for(long seconds)
{
	struct __kernel_timespec time = { .tv_sec = seconds };

	sys3(__NR_nanosleep, (long)&time, 0, 0);
}

/* For ever; with an address the kernel answers pings meanwhile. */
static void hang(const char *ip4)
{
	unsigned int own, len = 24;

	if (ip4) {
		own = own_address(ip4, &len);
		open_eth0(own, len);
	}
	for (;;)
		sleep_for(1000000);
}

static void mount_dev(void)
{
	sys3(__NR_mkdirat, AT_FDCWD, (long)"/dev", 0755);
	sys6(__NR_mount, (long)"dev", (long)"/dev", (long)"devtmpfs", 0, 0, 0);
}

/* The first event device is the power button, as there is no other; devtmpfs names it. */
static void wait_for_button(void)
{
	struct input_event event;
	long fd;

	mount_dev();
	fd = sys3(__NR_openat, AT_FDCWD, (long)"/dev/input/event0", O_RDONLY);
	say(fd < 0 ? "init: no button\n" : "init: button\n");
	while (sys3(__NR_read, fd, (long)&event, sizeof(event)) == sizeof(event)) {
		if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
			return;
	}
}

static void guard(unsigned int seconds)
{
	int timeout = 2;
	long fd;

	mount_dev();
	fd = sys3(__NR_openat, AT_FDCWD, (long)"/dev/watchdog", O_WRONLY);
	if (fd < 0 || sys3(__NR_ioctl, fd, WDIOC_SETTIMEOUT, (long)&timeout) < 0)
		return;
	while (seconds--) {
		sleep_for(1);
		sys3(__NR_ioctl, fd, WDIOC_KEEPALIVE, 0);
	}
	say("init: hangs\n");
	hang(0);
}

static void crash(void)
{
	long fd;

	sys3(__NR_mkdirat, AT_FDCWD, (long)"/proc", 0755);
	sys6(__NR_mount, (long)"proc", (long)"/proc", (long)"proc", 0, 0, 0);
	fd = sys3(__NR_openat, AT_FDCWD, (long)"/proc/sysrq-trigger", O_WRONLY);
	sys3(__NR_write, fd, (long)"c", 1);
	/* without sysrq, the end of init has to do */
	sys3(__NR_exit, 1, 0, 0);
}

static void reboot(unsigned int command)
{
	sys3(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command);
}

static void act(const char *what, const char *ip4)
{
	unsigned int seconds;
	const char *arg;

	if (after(what, "reboot"))
		reboot(LINUX_REBOOT_CMD_RESTART);
	else if (after(what, "halt"))
		reboot(LINUX_REBOOT_CMD_HALT);
	else if (after(what, "panic"))
		crash();
	else if (after(what, "exit"))
		sys3(__NR_exit, 0, 0, 0);
	else if (after(what, "hang"))
		hang(ip4);
	else if ((arg = after(what, "watchdog:"))) {
		number(arg, &seconds);
		guard(seconds);
	} else if (after(what, "button"))
		wait_for_button();
	else if (after(what, "spin"))
		for (;;)
			__asm__ volatile("" ::: "memory");
	else if ((arg = after(what, "sleep:"))) {
		number(arg, &seconds);
		sleep_for((long)seconds);
	} else if ((arg = after(what, "ping:")))
		ping(arg, ip4);
}

void start_c(const unsigned long *stack)
{
	const char *const *env = (const char *const *)(stack + stack[0] + 2);
	const char *what = option(env, "tiny=");

	say("init: up\n");
	if (what)
		act(what, option(env, "ip4="));
	reboot(LINUX_REBOOT_CMD_POWER_OFF);
	for (;;)
		sleep_for(1000000);
}
