// SPDX-License-Identifier: BSD-3-Clause
/*
 * with-tap - runs a command with an attached tap as an inherited descriptor
 *
 * usage: with-tap TAP FD COMMAND [ARGS...]
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd;

	if (argc < 4)
		return 2;
	fd = open("/dev/net/tun", O_RDWR);
	strncpy(ifr.ifr_name, argv[1], IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) || dup2(fd, atoi(argv[2])) < 0) {
		perror(argv[1]);
		return 1;
	}
	if (fd != atoi(argv[2]))
		close(fd);
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 127;
}
