// SPDX-License-Identifier: BSD-3-Clause
/*
 * audit - what the filters of system calls allow, as a table and asked number by number
 *
 * usage: audit [--filters FILE]
 *
 * Makes the filters of a VM that has one of everything (with a balloon there are no devices of the host's, so this is
 * asked apart), prints each row of the lists (threads, call, what the
 * arguments are held against, reason), then asks both programs, instruction by instruction, for every number from
 * 0 to 1023 and prints what is ever allowed, and the counts; and the same of the process that connects for sockets. The output is compared with a reviewed file
 * (tests/audit/expected). With --filters: nothing but the two programs of the smallest VM, to a file, for the
 * bench's yardstick. An arm64 program: the numbers are arm64's.
 */
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fake/bpf.h"
#include "vmm/app/seccomp.h"
#include "vmm/machine/broker_child.h"

#define BROKER_MOST_CALLS 14
#define SMALL 16 /* values that rows of the broker's ask for are less than this, but for one */
#define VALUES (SMALL + 1)

static const struct {
	enum right_threads thread;
	const char *name;
	unsigned most_calls;
} classes[] = {
	{ RIGHT_CPU, "vcpu", 9 },
	{ RIGHT_LOOP, "loop", 20 },
};

static void never(const char *text)
{
	(void)text;
	abort();
}

static void note_range(int from, int n, enum fd_kind kind)
{
	for (int fd = from; fd < from + n; fd++)
		fd_note(fd, kind);
}

/* Numbers that nothing here really opens. */
static void note_smallest(void)
{
	fd_note(0, FD_IN);
	fd_note(1, FD_OUT);
	fd_note(2, FD_LOG);
	note_range(103, 2, FD_EVENT);
	note_range(105, 3, FD_TIMER);
	fd_note(108, FD_SIGNAL);
	fd_note(109, FD_VM);
	fd_note(110, FD_VCPU);
	note_range(111, 8, FD_EVENT);
	fd_note(119, FD_RING);
}

static void note_everything(void)
{
	static const enum fd_kind kinds[] = {
		FD_OUTFILE, FD_OUT_SOCKET, FD_IN_SOCKET, FD_TERMINAL, FD_TAP, FD_VHOST, FD_VFIO_CONTAINER, FD_VFIO_GROUP,
		FD_VFIO_DEVICE, FD_BACKEND,
	};

	note_smallest();
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
		fd_note(120 + (int)i, kinds[i]);
}

static const char *call_name(int call)
{
	const char *name = seccomp_call_name(call);

	return name ? name : "?";
}

static void print_kinds(uint32_t kinds)
{
	for (unsigned bit = 0; bit < 32; bit++)
		if (kinds & BIT32(bit)) {
			kinds &= ~BIT32(bit);
			printf("%s%s", fd_kind_name((enum fd_kind)BIT32(bit)), kinds ? ", " : "");
		}
}

static void print_test(const struct right *r)
{
	switch (r->test) {
	case RIGHT_FREE:
		printf("-");
		break;
	case RIGHT_FD:
		print_kinds(r->kinds);
		break;
	case RIGHT_FD_NO_ADDRESS:
		print_kinds(r->kinds);
		printf(", no address");
		break;
	case RIGHT_FD_REQUEST:
		print_kinds(r->kinds);
		printf(", request %#llx", (unsigned long long)r->value);
		break;
	case RIGHT_OWN_REQUEST:
		printf("its own vCPU, request %#llx", (unsigned long long)r->value);
		break;
	case RIGHT_FUTEX_PRIVATE:
		printf("private");
		break;
	case RIGHT_SELF:
		printf("this process, signal %llu", (unsigned long long)r->value);
		break;
	case RIGHT_MEMORY:
		printf("anonymous, not executable");
		break;
	case RIGHT_ADVICE:
		printf("advice %llu, where there is a %s", (unsigned long long)r->value, fd_kind_name((enum fd_kind)r->kinds));
		break;
	case RIGHT_NO_MEMORY:
		printf("answered with ENOMEM");
		break;
	}
}

static void print_rows(enum right_threads thread, const char *name)
{
	const struct right *const *lists = seccomp_lists();

	for (; *lists; lists++)
		for (const struct right *r = *lists; r->threads; r++) {
			if (!(r->threads & thread))
				continue;
			printf("%s | %s | ", name, call_name(r->call));
			print_test(r);
			printf(" | %s\n", r->why);
		}
}

/* Does the lists' row, or anything near it, let @nr through? Asked of the program alone. */
static bool ever_allowed(enum right_threads thread, int nr)
{
	static const uint64_t seconds[] = {
		0, 128, KVM_RUN, KVM_SET_VCPU_EVENTS, KVM_IRQ_LINE, KVM_SET_GSI_ROUTING, KVM_IRQFD,
	};
	static const uint64_t thirds[] = { 0, 3, 31, 19, 23, 4 };
	unsigned len;
	const struct sock_filter *prog = seccomp_program(thread, &len);

	for (int fd = -1; fd < 130; fd++)
		for (unsigned k = 0; k < ARRAY_LEN(seconds); k++)
			for (unsigned l = 0; l < ARRAY_LEN(thirds); l++) {
				const uint64_t args[6] = {
					fd < 0 ? (uint64_t)getpid() : fd == 0 ? FILTER_OWN_FD : (uint64_t)fd - (fd == 129 ? 129 : 0),
					seconds[k], thirds[l], 0x20,
				};
				uint32_t said = bpf_ask(prog, len, nr, args);

				if (said == SECCOMP_RET_ALLOW)
					return true;
			}
	return false;
}

static unsigned count_requests(enum right_threads thread)
{
	const struct right *const *lists = seccomp_lists();
	unsigned n = 0;

	for (; *lists; lists++)
		for (const struct right *r = *lists; r->threads; r++)
			n += r->threads & thread && r->call == SYS_ioctl;
	return n;
}

/* Rows whose call takes a descriptor, and those of them that say which. */
static void count_pins(unsigned *ret_rows, unsigned *ret_pinned)
{
	static const int takes_fd[] = {
		SYS_preadv2, SYS_write, SYS_close, SYS_ioctl, SYS_io_uring_enter, SYS_timerfd_settime, SYS_recvfrom, SYS_sendto,
		SYS_pread64, SYS_pwrite64, SYS_fcntl, SYS_ftruncate, SYS_lseek, SYS_fstat, SYS_writev, SYS_readv,
	};
	const struct right *const *lists = seccomp_lists();

	*ret_rows = *ret_pinned = 0;
	for (; *lists; lists++)
		for (const struct right *r = *lists; r->threads; r++)
			for (unsigned i = 0; i < ARRAY_LEN(takes_fd); i++) {
				if (r->call != takes_fd[i])
					continue;
				++*ret_rows;
				*ret_pinned += r->kinds || r->test == RIGHT_OWN_REQUEST;
			}
}

/* How many are too many? */
static unsigned print_calls(unsigned class, const char *where)
{
	unsigned n = 0;

	printf("\n%s may make%s:", classes[class].name, where);
	for (int nr = 0; nr < 1024; nr++)
		if (ever_allowed(classes[class].thread, nr)) {
			printf(" %s", call_name(nr));
			n++;
		}
	printf("\n%s: %u system calls", classes[class].name, n);
	return n > classes[class].most_calls;
}

/* The process that connects for sockets: one class of its own, whose list stands beside its code. */

static void print_broker_rows(void)
{
	for (const struct broker_right *r = broker_rights; r->why[0]; r++) {
		printf("broker | %s | ", call_name(r->call));
		if (r->arg < 0)
			printf("-");
		else
			printf("argument %d is %u", r->arg, r->value);
		printf(" | %s\n", r->why);
	}
}

static uint64_t value_at(unsigned i)
{
	return i < SMALL ? i : SO_PASSRIGHTS;
}

static uint32_t ask_broker(int nr, unsigned arg, uint64_t value)
{
	static struct sock_filter prog[BROKER_FILTER_MAX];
	static unsigned len;
	uint64_t args[6];

	if (!len)
		len = broker_child_filter(prog);
	for (unsigned i = 0; i < ARRAY_LEN(args); i++)
		args[i] = i == arg ? value : 0x7fffffff;
	return bpf_ask(prog, len, nr, args);
}

/* Is @nr let through for any such value of any one argument, the others being none of a row's? */
static bool broker_allows(int nr)
{
	for (unsigned arg = 0; arg < 6; arg++)
		for (unsigned i = 0; i < VALUES; i++)
			if (ask_broker(nr, arg, value_at(i)) == SECCOMP_RET_ALLOW)
				return true;
	return false;
}

/* A row's argument and no other, and no more of the call than that; all else ends the process. */
static unsigned broker_wrong(void)
{
	unsigned bad = 0;

	for (const struct broker_right *r = broker_rights; r->why[0]; r++)
		for (unsigned arg = 0; arg < 6; arg++)
			for (unsigned i = 0; i < VALUES; i++) {
				bool right = r->arg < 0 || (r->arg == (int)arg && r->value == value_at(i));

				bad += ask_broker(r->call, arg, value_at(i)) != (right ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS);
			}
	return bad;
}

static unsigned audit_broker(void)
{
	unsigned n = 0, bad = broker_wrong();

	printf("\nbroker may make:");
	for (int nr = 0; nr < 1024; nr++)
		if (broker_allows(nr)) {
			printf(" %s", call_name(nr));
			n++;
		}
	printf("\nbroker: %u system calls, %u answers that no row gives\n", n, bad);
	return bad + (n > BROKER_MOST_CALLS);
}

/* The same VM with a balloon, and without what excludes it. */
static unsigned audit_balloon(void)
{
	unsigned bad = 0;
	struct err err;

	for (int fd = 0; fd < fd_end(); fd++)
		if (fd_kinds(fd) & (FD_VFIO_CONTAINER | FD_VFIO_GROUP | FD_VFIO_DEVICE))
			fd_forget(fd);
	fd_note_also(111, FD_BALLOON);
	if (seccomp_make(SECCOMP_ON, never, &err))
		return 1;
	for (unsigned c = 0; c < ARRAY_LEN(classes); c++) {
		bad += print_calls(c, " where there is a balloon");
		printf("\n");
	}
	return bad;
}

static int audit(void)
{
	unsigned rows, pinned, bad = 0;

	printf("thread | system call | arguments | why\n");
	for (unsigned c = 0; c < ARRAY_LEN(classes); c++)
		print_rows(classes[c].thread, classes[c].name);
	print_broker_rows();
	for (unsigned c = 0; c < ARRAY_LEN(classes); c++) {
		bad += print_calls(c, "");
		printf(", %u ioctl requests\n", count_requests(classes[c].thread));
	}
	bad += audit_balloon();
	bad += audit_broker();
	count_pins(&rows, &pinned);
	printf("rows about descriptors: %u, pinned to their numbers: %u\n", rows, pinned);
	return bad || pinned != rows;
}

static int write_filters(const char *path)
{
	FILE *out = fopen(path, "we");

	for (unsigned c = 0; out && c < ARRAY_LEN(classes); c++) {
		unsigned len;
		const struct sock_filter *prog = seccomp_program(classes[c].thread, &len);

		fwrite(&len, sizeof(len), 1, out);
		fwrite(prog, sizeof(*prog), len, out);
	}
	return !out || fclose(out);
}

int main(int argc, char *argv[])
{
	bool only_filters = argc == 3 && !strcmp(argv[1], "--filters");
	struct err err;

	if (argc != 1 && !only_filters)
		return 2;
	if (only_filters)
		note_smallest();
	else
		note_everything();
	if (seccomp_make(SECCOMP_ON, never, &err)) {
		fprintf(stderr, "audit: %s\n", err.text);
		return 2;
	}
	return only_filters ? write_filters(argv[2]) : audit();
}
