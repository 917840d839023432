// SPDX-License-Identifier: BSD-3-Clause
/*
 * routing - counts what a program hands to KVM_SET_GSI_ROUTING
 *
 * usage: LD_PRELOAD=./routing.so ROUTING=FILE COMMAND [ARGS...]
 *
 * After each table FILE holds "COMMITS BYTES ENTRIES": how many were handed over so far, how large they were
 * together, and the entries of this one. For programs that call ioctl() of a shared C library.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long commits, bytes;

/* In one write over the last line, and never a shorter one: who reads meanwhile sees a whole line. */
static void tell(unsigned entries)
{
	const char *path = getenv("ROUTING");
	char line[64];
	int len = snprintf(line, sizeof(line), "%llu %llu %-8u\n", commits, bytes, entries);
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;

	/* A count that is short of one is worse than none. */
	if (fd < 0 || pwrite(fd, line, (size_t)len, 0) != len)
		abort();
	close(fd);
}

static void count(const struct kvm_irq_routing *table)
{
	pthread_mutex_lock(&lock);
	commits++;
	bytes += sizeof(*table) + table->nr * sizeof(table->entries[0]);
	tell(table->nr);
	pthread_mutex_unlock(&lock);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == KVM_SET_GSI_ROUTING)
		count(arg);
	return (int)syscall(SYS_ioctl, fd, request, arg);
}
