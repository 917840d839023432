// SPDX-License-Identifier: BSD-3-Clause
/*
 * tap-state - prints what a persistent tap keeps for whoever attaches next and only an attached descriptor can ask for
 *
 * usage: tap-state TAP [HEADER-SIZE]      with a size: sets it first
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Attaching with other flags would change the tap's. */
static int flags_of(const char *name)
{
	char path[64];
	unsigned flags = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%.15s/tun_flags", name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%x", &flags) != 1) {
		perror(path);
		exit(1);
	}
	fclose(f);
	return (int)(flags & (IFF_TAP | IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE));
}

static void must(int ret, const char *what)
{
	if (ret >= 0)
		return;
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	int fd, size, swapped, sndbuf;
	struct ifreq ifr = { 0 };

	if (argc < 2)
		return 2;
	ifr.ifr_flags = (short)flags_of(argv[1]);
	strncpy(ifr.ifr_name, argv[1], IFNAMSIZ - 1);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	must(fd, "/dev/net/tun");
	must(ioctl(fd, TUNSETIFF, &ifr), argv[1]);
	if (argc > 2) {
		size = atoi(argv[2]);
		must(ioctl(fd, TUNSETVNETHDRSZ, &size), "TUNSETVNETHDRSZ");
	}
	must(ioctl(fd, TUNGETVNETHDRSZ, &size), "TUNGETVNETHDRSZ");
	must(ioctl(fd, TUNGETVNETLE, &swapped), "TUNGETVNETLE");
	must(ioctl(fd, TUNGETSNDBUF, &sndbuf), "TUNGETSNDBUF");
	printf("header %d, little endian %d, send buffer %d\n", size, swapped, sndbuf);
	return 0;
}
