// SPDX-License-Identifier: BSD-3-Clause
/*
 * The filters, asked in the kernel's stead (tests/fake/bpf.h), and held against those that libseccomp makes
 * of the same lists. KVM's own rows belong to arm64 and are looked at by the audit.
 */
#include <check.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/vhost.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fake/bpf.h"
#include "vmm/app/seccomp.h"

static void never(const char *text)
{
	(void)text;
	abort();
}

static uint32_t ask(enum right_threads thread, int nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	const uint64_t args[6] = { a0, a1, a2, a3 };
	unsigned len;
	const struct sock_filter *prog = seccomp_program(thread, &len);

	return bpf_ask(prog, len, nr, args);
}

static bool allows(enum right_threads thread, int nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	return ask(thread, nr, a0, a1, a2, a3) == SECCOMP_RET_ALLOW;
}

static void make(void)
{
	struct err err;

	ck_assert_int_eq(seccomp_make(SECCOMP_ON, never, &err), 0);
}

static void setup(void)
{
	fd_note(2, FD_LOG);
	for (int fd = 10; fd <= 20; fd++)
		fd_note(fd, FD_EVENT);
	fd_note(21, FD_RING);
	fd_note(22, FD_TIMER);
	fd_note(23, FD_VHOST);
	fd_note(24, FD_TAP);
	fd_note(25, FD_OUT_SOCKET);
}

static void teardown(void)
{
	for (int fd = 0; fd < FDBOOK_MAX; fd++)
		fd_forget(fd);
}

static const enum right_threads threads[] = { RIGHT_CPU, RIGHT_LOOP };

START_TEST(test_seccomp_what_no_list_has_is_trapped)
{
	static const int calls[] = {
		SYS_openat, SYS_execve, SYS_execveat, SYS_socket, SYS_connect, SYS_clone, SYS_clone3, SYS_io_uring_setup,
		SYS_io_uring_register, SYS_prctl, SYS_ptrace, SYS_process_vm_writev, SYS_setns, SYS_unshare,
		SYS_mount, SYS_bpf, SYS_userfaultfd, SYS_keyctl, SYS_memfd_create, SYS_pidfd_getfd, SYS_kill, SYS_seccomp,
		SYS_read, SYS_dup3, SYS_eventfd2, SYS_sendmsg, SYS_recvmsg, SYS_fcntl, SYS_unlinkat, SYS_linkat,
	};

	make();
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		ck_assert_uint_eq(ask(threads[_i], calls[i], 0, 0, 0, 0), SECCOMP_RET_TRAP);
}
END_TEST

/* A VM has no balloon where it has devices of the host's, and so never the rows of both. */
static bool is_there(const struct right *r, bool balloon)
{
	return balloon ? r->kinds != FD_VFIO_DEVICE : r->kinds != FD_BALLOON;
}

/* Allowed or refused softly with these arguments, or with some: counted by the lists' rows. */
static unsigned count_calls(enum right_threads thread, bool balloon)
{
	const struct right *const *lists = seccomp_lists();
	bool seen[1024] = { false };
	unsigned n = 0;

	for (; *lists; lists++) {
		for (const struct right *r = *lists; r->threads; r++) {
			if (!(r->threads & thread) || r->test == RIGHT_NO_MEMORY || seen[r->call] || !is_there(r, balloon))
				continue;
			seen[r->call] = true;
			n++;
		}
	}
	return n;
}

START_TEST(test_seccomp_lists_stay_short)
{
	for (int balloon = 0; balloon < 2; balloon++) {
		ck_assert_uint_le(count_calls(RIGHT_CPU, balloon), 9);
		ck_assert_uint_le(count_calls(RIGHT_LOOP, balloon), 20);
	}
}
END_TEST

START_TEST(test_seccomp_descriptors_are_pinned)
{
	make();
	for (int fd = 0; fd < 64; fd++) {
		bool event = fd >= 10 && fd <= 20;

		ck_assert_int_eq(allows(threads[_i], SYS_write, (uint64_t)fd, 0, 8, 0), event || fd == 2);
		ck_assert_int_eq(allows(threads[_i], SYS_preadv2, (uint64_t)fd, 0, 8, 0),
				 event || (fd == 22 && threads[_i] == RIGHT_LOOP));
		ck_assert_int_eq(allows(threads[_i], SYS_io_uring_enter, (uint64_t)fd, 0, 0, 0),
				 fd == 21 && threads[_i] == RIGHT_LOOP);
	}
	/* the kernel would take these for 10 and 2 */
	ck_assert(!allows(threads[_i], SYS_write, BIT64(32) | 10, 0, 8, 0));
	ck_assert(!allows(threads[_i], SYS_write, (uint64_t)-1, 0, 8, 0));
	ck_assert(!allows(threads[_i], SYS_write, BIT64(63) | 2, 0, 8, 0));
}
END_TEST

START_TEST(test_seccomp_runs_cover_any_set_of_descriptors)
{
	/* not those which are really opened here */
	srand((unsigned)_i);
	for (int fd = 100; fd < 400; fd++)
		fd_note(fd, rand() % 3 ? FD_EVENT : FD_VHOST);
	make();
	for (int fd = 100; fd < 410; fd++) {
		ck_assert_int_eq(allows(RIGHT_CPU, SYS_write, (uint64_t)fd, 0, 8, 0), (fd_kinds(fd) & FD_EVENT) != 0);
		ck_assert_int_eq(allows(RIGHT_LOOP, SYS_ioctl, (uint64_t)fd, VHOST_SET_VRING_KICK, 0, 0),
				 (fd_kinds(fd) & FD_VHOST) != 0);
	}
}
END_TEST

/* What libseccomp makes of the lists. */

static void add_fds(scmp_filter_ctx ctx, const struct right *r)
{
	for (int fd = 0; fd < fd_end(); fd++) {
		if (!(fd_kinds(fd) & r->kinds))
			continue;
		if (r->test == RIGHT_FD)
			ck_assert_int_eq(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 1,
							  SCMP_A0(SCMP_CMP_EQ, (uint64_t)fd)), 0);
		else if (r->test == RIGHT_FD_NO_ADDRESS)
			ck_assert_int_eq(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 2,
							  SCMP_A0(SCMP_CMP_EQ, (uint64_t)fd), SCMP_A4(SCMP_CMP_EQ, 0)), 0);
		else
			ck_assert_int_eq(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 2,
							  SCMP_A0(SCMP_CMP_EQ, (uint64_t)fd),
							  SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, r->value & UINT32_MAX)), 0);
	}
}

static bool has_balloon(void)
{
	int first, last;

	return fd_run(0, FD_BALLOON, &first, &last);
}

/*
 * libseccomp does not let what is allowed with some advice stand beside an error for all: here the error is for all other
 * advice, each bit of the lower half by itself.
 */
static int add_no_memory(scmp_filter_ctx ctx, int call)
{
	int r = 0;

	if (call != SYS_madvise || !has_balloon())
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOMEM), call, 0);
	for (unsigned bit = 0; bit < 32 && !r; bit++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOMEM), call, 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, BIT32(bit), ~(uint64_t)MADV_DONTNEED & BIT32(bit)));
	return r;
}

static int add_row(scmp_filter_ctx ctx, const struct right *r)
{
	switch (r->test) {
	case RIGHT_FREE:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 0);
	case RIGHT_FD:
	case RIGHT_FD_NO_ADDRESS:
	case RIGHT_FD_REQUEST:
		add_fds(ctx, r);
		return 0;
	case RIGHT_OWN_REQUEST:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 2, SCMP_A0(SCMP_CMP_EQ, FILTER_OWN_FD),
					SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, r->value & UINT32_MAX));
	case RIGHT_FUTEX_PRIVATE:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX - 3, 128));
	case RIGHT_SELF:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 2, SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid()),
					SCMP_A2(SCMP_CMP_EQ, r->value));
	case RIGHT_MEMORY:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 2, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
					SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
	case RIGHT_ADVICE:
		return has_balloon() ? seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->call, 1,
							SCMP_A2(SCMP_CMP_MASKED_EQ, UINT32_MAX, r->value)) : 0;
	case RIGHT_NO_MEMORY:
		return add_no_memory(ctx, r->call);
	}
	return -1;
}

static unsigned by_libseccomp(enum right_threads thread, struct sock_filter *prog, size_t size)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	const struct right *const *lists = seccomp_lists();
	FILE *f = tmpfile();
	ssize_t n;

	for (; *lists; lists++)
		for (const struct right *r = *lists; r->threads; r++)
			if (r->threads & thread)
				ck_assert_int_eq(add_row(ctx, r), 0);
	ck_assert_int_eq(seccomp_export_bpf(ctx, fileno(f)), 0);
	n = pread(fileno(f), prog, size, 0);
	seccomp_release(ctx);
	fclose(f);
	ck_assert_int_gt(n, 0);
	return (unsigned)((size_t)n / sizeof(*prog));
}

static bool has_row(int call)
{
	const struct right *const *lists = seccomp_lists();

	for (; *lists; lists++)
		for (const struct right *r = *lists; r->threads; r++)
			if (r->call == call)
				return true;
	return false;
}

/* Every number, and for those with a row arguments around each border that a row draws. */
static void agree(enum right_threads thread)
{
	static const uint64_t seconds[] = {
		0, 1, 128, 129, 131, 132, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_KICK, VHOST_SET_OWNER,
		UINT64_C(0xffffffff00000000) | VHOST_SET_MEM_TABLE, BIT64(32) | 128,
	};
	static const uint64_t thirds[] = {
		0, SIGSTOP, SIGSYS, SIGKILL, PROT_READ, PROT_EXEC, BIT64(32) | SIGSTOP, MADV_DONTNEED, MADV_WILLNEED,
		BIT64(32) | MADV_DONTNEED,
	};
	static struct sock_filter other[8192];
	uint64_t firsts[45];
	unsigned len, mine_len, n = 0;
	const struct sock_filter *mine;

	make();
	len = by_libseccomp(thread, other, sizeof(other));
	mine = seccomp_program(thread, &mine_len);
	for (uint64_t fd = 0; fd < 40; fd++)
		firsts[n++] = fd;
	firsts[n++] = FILTER_OWN_FD;
	firsts[n++] = (uint64_t)getpid();
	firsts[n++] = BIT64(32) | 10;
	firsts[n++] = UINT64_MAX;
	firsts[n++] = BIT64(32) | (uint64_t)getpid();
	for (int nr = 0; nr < 1024; nr++)
		for (unsigned i = 0; i < (has_row(nr) ? n : 1); i++)
			for (size_t k = 0; k < ARRAY_LEN(seconds); k++)
				for (size_t l = 0; l < ARRAY_LEN(thirds); l++) {
					const uint64_t args[6] = {
						firsts[i], seconds[k], thirds[l], l % 2 ? MAP_ANONYMOUS : 0, l / 2 * BIT64(31),
					};

					ck_assert_uint_eq(bpf_ask(mine, mine_len, nr, args), bpf_ask(other, len, nr, args));
				}
}

START_TEST(test_seccomp_agrees_with_libseccomp)
{
	agree(threads[_i]);
}
END_TEST

START_TEST(test_seccomp_agrees_with_libseccomp_on_a_balloon)
{
	fd_note_also(12, FD_BALLOON);
	agree(threads[_i]);
}
END_TEST

START_TEST(test_seccomp_memory_is_given_back_by_a_balloon_alone)
{
	make();
	ck_assert_uint_eq(ask(RIGHT_LOOP, SYS_madvise, 0x1000, 0x1000, MADV_DONTNEED, 0), SECCOMP_RET_ERRNO | ENOMEM);
	fd_note_also(12, FD_BALLOON);
	make();
	ck_assert(allows(RIGHT_LOOP, SYS_madvise, 0x1000, 0x1000, MADV_DONTNEED, 0));
	ck_assert(!allows(RIGHT_CPU, SYS_madvise, 0x1000, 0x1000, MADV_DONTNEED, 0));
	ck_assert(allows(RIGHT_LOOP, SYS_madvise, 0x1000, 0x1000, MADV_REMOVE, 0)); /* where it is shared */
	for (uint64_t advice = 0; advice < 128; advice++)
		if (advice != MADV_DONTNEED && advice != MADV_REMOVE)
			ck_assert_uint_eq(ask(RIGHT_LOOP, SYS_madvise, 0x1000, 0x1000, advice, 0), SECCOMP_RET_ERRNO | ENOMEM);
	ck_assert(allows(RIGHT_LOOP, SYS_write, 12, 0, 8, 0)); /* it is an eventfd as well */
}
END_TEST

START_TEST(test_seccomp_requests_are_pinned)
{
	make();
	ck_assert(allows(RIGHT_LOOP, SYS_ioctl, 23, VHOST_SET_MEM_TABLE, 0, 0));
	/* as the C library may pass it, sign-extended */
	ck_assert(allows(RIGHT_LOOP, SYS_ioctl, 23, UINT64_C(0xffffffff00000000) | VHOST_SET_MEM_TABLE, 0, 0));
	ck_assert(!allows(RIGHT_LOOP, SYS_ioctl, 24, VHOST_SET_MEM_TABLE, 0, 0));
	ck_assert(!allows(RIGHT_LOOP, SYS_ioctl, 23, VHOST_SET_OWNER, 0, 0));
	ck_assert(!allows(RIGHT_LOOP, SYS_ioctl, 23, VHOST_RESET_OWNER, 0, 0));
	ck_assert(!allows(RIGHT_CPU, SYS_ioctl, 23, VHOST_SET_MEM_TABLE, 0, 0));
	for (unsigned nr = 0; nr < 0x10000; nr++)
		ck_assert(!allows(RIGHT_CPU, SYS_ioctl, 23, nr, 0, 0));
}
END_TEST

START_TEST(test_seccomp_memory_is_new_and_not_executable)
{
	const uint64_t anon = MAP_PRIVATE | MAP_ANONYMOUS;

	make();
	ck_assert(allows(RIGHT_LOOP, SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, anon));
	ck_assert(!allows(RIGHT_LOOP, SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, anon));
	ck_assert(!allows(RIGHT_LOOP, SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, anon));
	ck_assert(!allows(RIGHT_LOOP, SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED));
	ck_assert(!allows(RIGHT_CPU, SYS_mmap, 0, 4096, PROT_READ, anon));
	ck_assert_uint_eq(ask(RIGHT_LOOP, SYS_brk, 0, 0, 0, 0), SECCOMP_RET_ERRNO | ENOMEM);
	ck_assert_uint_eq(ask(RIGHT_LOOP, SYS_mprotect, 0, 4096, PROT_EXEC, 0), SECCOMP_RET_ERRNO | ENOMEM);
	ck_assert_uint_eq(ask(RIGHT_CPU, SYS_mprotect, 0, 4096, PROT_EXEC, 0), SECCOMP_RET_TRAP);
}
END_TEST

START_TEST(test_seccomp_signals_stay_inside)
{
	make();
	ck_assert(allows(RIGHT_LOOP, SYS_tgkill, (uint64_t)getpid(), 1, SIGSTOP, 0));
	ck_assert(allows(RIGHT_CPU, SYS_tgkill, (uint64_t)getpid(), 1, SIGSYS, 0));
	ck_assert(!allows(RIGHT_CPU, SYS_tgkill, (uint64_t)getpid(), 1, SIGKILL, 0));
	ck_assert(!allows(RIGHT_LOOP, SYS_tgkill, (uint64_t)getppid(), 1, SIGSTOP, 0));
}
END_TEST

START_TEST(test_seccomp_futexes_are_private)
{
	make();
	ck_assert(allows(RIGHT_CPU, SYS_futex, 0, 128, 0, 0));
	ck_assert(allows(RIGHT_CPU, SYS_futex, 0, 129, 0, 0));
	ck_assert(!allows(RIGHT_CPU, SYS_futex, 0, 0, 0, 0));
	ck_assert(!allows(RIGHT_CPU, SYS_futex, 0, 128 + 13, 0, 0));
}
END_TEST

START_TEST(test_seccomp_other_architectures_are_killed)
{
	struct seccomp_data d = { .nr = SYS_write, .arch = AUDIT_ARCH_ARM, .args = { 2 } };
	unsigned len;
	const struct sock_filter *prog;

	make();
	prog = seccomp_program(RIGHT_LOOP, &len);
	ck_assert_uint_ne(bpf_run(prog, len, &d), SECCOMP_RET_ALLOW);
	ck_assert_uint_ne(bpf_run(prog, len, &d), SECCOMP_RET_TRAP);
}
END_TEST

START_TEST(test_seccomp_log_mode_denies_nothing)
{
	struct err err;

	ck_assert_int_eq(seccomp_make(SECCOMP_LOG, never, &err), 0);
	ck_assert_uint_eq(ask(threads[_i], SYS_openat, 0, 0, 0, 0), SECCOMP_RET_LOG);
}
END_TEST

START_TEST(test_seccomp_too_many_descriptors_is_an_error)
{
	struct err err;

	fd_note(FDBOOK_MAX, FD_EVENT);
	ck_assert_int_eq(seccomp_make(SECCOMP_ON, never, &err), -E2BIG);
	ck_assert_str_eq(err.text, "seccomp: making the filters: Argument list too long (fewer devices, or fewer queues=)");
}
END_TEST

/* Descriptors without neighbours, more than a conditional jump leaps over */
START_TEST(test_seccomp_too_scattered_descriptors_are_an_error)
{
	struct err err;

	for (int fd = 200; fd < 500; fd += 2)
		fd_note(fd, FD_VHOST);
	ck_assert_int_eq(seccomp_make(SECCOMP_ON, never, &err), -E2BIG);
}
END_TEST

START_TEST(test_seccomp_names_calls)
{
	ck_assert_str_eq(seccomp_call_name(SYS_openat), "openat");
	ck_assert_str_eq(seccomp_call_name(SYS_io_uring_enter), "io_uring_enter");
	ck_assert_ptr_null(seccomp_call_name(1000));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("seccomp");
	TCase *t = tcase_create("seccomp");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, test_seccomp_what_no_list_has_is_trapped, 0, 2);
	tcase_add_test(t, test_seccomp_lists_stay_short);
	tcase_add_loop_test(t, test_seccomp_descriptors_are_pinned, 0, 2);
	tcase_add_loop_test(t, test_seccomp_runs_cover_any_set_of_descriptors, 0, 3);
	tcase_add_loop_test(t, test_seccomp_agrees_with_libseccomp, 0, 2);
	tcase_add_loop_test(t, test_seccomp_agrees_with_libseccomp_on_a_balloon, 0, 2);
	tcase_add_test(t, test_seccomp_memory_is_given_back_by_a_balloon_alone);
	tcase_add_test(t, test_seccomp_requests_are_pinned);
	tcase_add_test(t, test_seccomp_memory_is_new_and_not_executable);
	tcase_add_test(t, test_seccomp_signals_stay_inside);
	tcase_add_test(t, test_seccomp_futexes_are_private);
	tcase_add_test(t, test_seccomp_other_architectures_are_killed);
	tcase_add_loop_test(t, test_seccomp_log_mode_denies_nothing, 0, 2);
	tcase_add_test(t, test_seccomp_too_many_descriptors_is_an_error);
	tcase_add_test(t, test_seccomp_too_scattered_descriptors_are_an_error);
	tcase_add_test(t, test_seccomp_names_calls);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
