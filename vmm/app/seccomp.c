// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * The lists of rights become one program a class of threads (filter.h). All vCPU threads have one
 * program but for one number: its own vCPU, put in by the thread when it arms itself.
 *
 * A denied call raises SIGSYS on the thread that made it, at once. A vCPU's thread may do little, and
 * may hold locks: it says what it was denied and sends the signal on to the loop's thread, whatever
 * that is doing. There the least is done that has to be, and the process ends with 121.
 */
#include "vmm/app/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/vfio/hostdev.h"
#include "devices/vhost/tap.h"
#include "devices/vhost/vhost.h"
#include "devices/virtio/rng.h"
#include "vmm/app/outfile.h"
#include "vmm/app/result.h"
#include "vmm/app/signals.h"
#include "vmm/app/terminal.h"
#include "vmm/base/compat.h"
#include "vmm/base/log.h"
#include "vmm/core/gmem.h"
#include "vmm/core/kvm.h"
#include "vmm/core/loop.h"
#include "vmm/core/stream.h"
#include "vmm/machine/cpus.h"

#define CLASSES 2

/* What the C library and the kernel do in any thread. */
static const struct right process_rights[] = {
	{ RIGHT_ALL, SYS_futex, RIGHT_FUTEX_PRIVATE, 0, 0, "locks, and waiting for the loop's answer" },
	{ RIGHT_ALL, SYS_rt_sigreturn, RIGHT_FREE, 0, 0, "the end of a signal handler" },
	{ RIGHT_LOOP, SYS_clock_gettime, RIGHT_FREE, 0, 0, "where the vDSO cannot tell the time" },
	{ RIGHT_LOOP, SYS_exit_group, RIGHT_FREE, 0, 0, "the end" },
	{ RIGHT_LOOP, SYS_tgkill, RIGHT_SELF, 0, CPUS_SIGNAL_KICK, "vCPUs are called out of the guest" },
	{ RIGHT_CPU, SYS_tgkill, RIGHT_SELF, 0, SIGSYS, "what was denied is the loop's thread's to tell" },
	{ RIGHT_LOOP, SYS_restart_syscall, RIGHT_FREE, 0, 0, "a wait goes on after SIGSTOP and SIGCONT" },
	{ RIGHT_LOOP, SYS_mmap, RIGHT_MEMORY, 0, 0, "memory for a dump or the result" },
	{ RIGHT_LOOP, SYS_munmap, RIGHT_FREE, 0, 0, "the same, given back" },
	{ RIGHT_LOOP, SYS_brk, RIGHT_NO_MEMORY, 0, 0, "malloc() tries it before mmap(2)" },
	{ RIGHT_LOOP, SYS_mprotect, RIGHT_NO_MEMORY, 0, 0, "malloc() has its first page of books already, and one is enough" },
	{ RIGHT_LOOP, SYS_mremap, RIGHT_NO_MEMORY, 0, 0, "realloc() copies instead" },
	{ RIGHT_LOOP, SYS_madvise, RIGHT_NO_MEMORY, 0, 0, "free() does without" },
	{ RIGHT_LOOP, SYS_close, RIGHT_FD, FD_EVENT | FD_TIMER | FD_TAP | FD_VHOST | FD_VFIO_DEVICE | FD_DISK | FD_PEER | FD_BACKEND | FD_OUTFILE, 0,
	  "devices that are let go at the end; a vhost that failed" },
	{ 0 },
};

static const struct right *const lists[] = {
	process_rights, log_rights, vcpu_rights, hyp_rights, loop_rights, stream_rights, signals_rights,
	terminal_rights, outfile_rights, rng_rights, tap_rights, vh_rights, hostdev_rights, gmem_rights, NULL,
};

/* Without pointers, which each start would have to relocate. */
static const struct { char name[28]; int call; } call_names[] = {
#include "syscall_names.h"
};

static struct filter filters[CLASSES];

static void (*end_now)(const char *text);
static bool made;
static pid_t pid; /* also the number of the loop's thread, which is the first */
static _Thread_local bool is_cpu;
static char what[120];
static atomic_flag told = ATOMIC_FLAG_INIT;

static unsigned class_of(enum right_threads thread)
{
	return thread == RIGHT_LOOP;
}

const char *seccomp_call_name(int call)
{
	for (size_t i = 0; i < ARRAY_LEN(call_names); i++)
		if (call_names[i].call == call)
			return call_names[i].name;
	return NULL;
}

const struct right *const *seccomp_lists(void)
{
	return lists;
}

/* Being denied */

static size_t put(char *to, size_t at, size_t cap, const char *text)
{
	while (*text && at + 1 < cap)
		to[at++] = *text++;
	to[at] = '\0';
	return at;
}

/* stdio is not for signal handlers. */
static size_t put_number(char *to, size_t at, size_t cap, unsigned n)
{
	char digits[12];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do {
		digits[--i] = (char)('0' + n % 10);
	} while (n /= 10);
	return put(to, at, cap, digits + i);
}

static void describe(char *to, size_t cap, int call)
{
	const char *name = seccomp_call_name(call);
	size_t at = put(to, 0, cap, is_cpu ? "seccomp: a vCPU's thread" : "seccomp: the event loop's thread");

	at = put(to, at, cap, " was denied system call ");
	at = put_number(to, at, cap, (unsigned)call);
	at = put(to, at, cap, " (");
	at = put(to, at, cap, name ? name : "unknown");
	put(to, at, cap, ")");
}

static void denied(int signo, siginfo_t *si, void *context)
{
	(void)signo, (void)context;
	if (si->si_code == SYS_SECCOMP && !atomic_flag_test_and_set(&told))
		describe(what, sizeof(what), si->si_syscall);
	if (is_cpu) {
		syscall(SYS_tgkill, pid, pid, SIGSYS);
		for (;;)
			pause();
	}
	end_now(what);
	_exit(EXIT_MONITOR_FAILED);
}

static int explain(int r, struct err *err)
{
	return err_set(err, r, "seccomp: making the filters: %s%s", strerror(-r),
		       r == -E2BIG ? " (fewer devices, or fewer queues=)" : "");
}

/* The C library's heap wants mprotect(2) for its own books, a page at a time: it gets the first one now. */
static int begin_heap(void)
{
	void *volatile p = malloc(1);

	free(p);
	return p ? 0 : -ENOMEM;
}

int seccomp_make(enum seccomp_mode mode, void (*denied_now)(const char *text), struct err *err)
{
	struct sigaction sa = { .sa_sigaction = denied, .sa_flags = SA_SIGINFO };
	uint32_t denied_call = mode == SECCOMP_LOG ? SECCOMP_RET_LOG : SECCOMP_RET_TRAP;
	int r;

	if (mode == SECCOMP_OFF)
		return 0;
	if (!fd_book_is_whole())
		return explain(-E2BIG, err);
	pid = getpid();
	r = begin_heap();
	if (!r)
		r = filter_make(&filters[class_of(RIGHT_CPU)], lists, RIGHT_CPU, pid, denied_call);
	if (!r)
		r = filter_make(&filters[class_of(RIGHT_LOOP)], lists, RIGHT_LOOP, pid, denied_call);
	if (!r && sigaction(SIGSYS, &sa, NULL))
		r = -errno;
	if (r)
		return explain(r, err);
	end_now = denied_now;
	made = true;
	return 0;
}

/* Arming */

static int arm(struct filter *f)
{
	struct sock_fprog p = { .len = (unsigned short)f->len, .filter = f->prog };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) ? -errno : 0;
}

int seccomp_arm(enum right_threads thread, int own_fd)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* vCPUs arm at the same time */
	struct filter *f = &filters[class_of(thread)];
	int r;

	if (!made)
		return 0;
	is_cpu = thread == RIGHT_CPU;
	pthread_mutex_lock(&lock);
	if (f->own_at)
		f->prog[f->own_at].k = (uint32_t)own_fd;
	r = arm(f);
	pthread_mutex_unlock(&lock);
	return r;
}

const struct sock_filter *seccomp_program(enum right_threads thread, unsigned *ret_len)
{
	*ret_len = filters[class_of(thread)].len;
	return filters[class_of(thread)].prog;
}
