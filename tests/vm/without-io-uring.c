// SPDX-License-Identifier: BSD-3-Clause
/*
 * without-io-uring - runs a command where io_uring_setup(2) is denied, as many sandboxes do
 *
 * usage: without-io-uring COMMAND [ARGS...]
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (argc < 2)
		return 2;
	if (!ctx || seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0) || seccomp_load(ctx)) {
		fputs("without-io-uring: no filter\n", stderr);
		return 1;
	}
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 127;
}
