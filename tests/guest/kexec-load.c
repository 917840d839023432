/*
 * kexec-load KERNEL INITRD CMDLINE: replace the running kernel by another, by kexec_file_load(2) and reboot(2).
 * Devices are shut down as for a reboot. Comes back only if it failed, with status 1.
 */
#include <linux/fcntl.h>
#include <linux/reboot.h>

#include "start.h"

static long fail(const char *what)
{
	say("kexec-load: ");
	say(what);
	say(" failed\n");
	return 1;
}

static long replace_kernel(const char *const *argv)
{
	long kernel, initrd, r;

	kernel = sys6(__NR_openat, AT_FDCWD, (long)argv[1], O_RDONLY, 0, 0, 0);
	if (kernel < 0)
		return fail(argv[1]);
	initrd = sys6(__NR_openat, AT_FDCWD, (long)argv[2], O_RDONLY, 0, 0, 0);
	if (initrd < 0)
		return fail(argv[2]);
	/* the length of the command line counts its NUL */
	r = sys6(__NR_kexec_file_load, kernel, initrd, (long)length(argv[3]) + 1, (long)argv[3], 0, 0);
	if (r < 0)
		return fail("kexec_file_load");
	sys6(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, 0, 0, 0);
	return fail("reboot");
}

void start_c(const unsigned long *stack)
{
	const char *const *argv = (const char *const *)(stack + 1);
	long status = 1;

	if (stack[0] == 4)
		status = replace_kernel(argv);
	else
		fail("three arguments: that");
	for (;;)
		sys3(__NR_exit, status, 0, 0);
}
