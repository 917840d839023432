// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/gmem.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fake/sparse.h"

#define BASE UINT64_C(0x80000000)

static long large_page; /* what the host's pages are said to be; 0: as they are */

long __sysconf(int name); /* libc's own name of it */

/* libc's, but for a host of larger pages. */
long sysconf(int name)
{
	return name == _SC_PAGESIZE && large_page ? large_page : __sysconf(name);
}

static struct gmem *one_region(gpa_t gpa, uint64_t size, bool shared)
{
	struct gmem *m;

	ck_assert_int_eq(gmem_new(&m), 0);
	ck_assert_int_eq(gmem_add(m, gpa, size, shared), 0);
	return m;
}

START_TEST(test_gmem_add_gives_zeroed_memory)
{
	struct gmem *m = one_region(BASE, MIB, _i);
	const struct gmem_region *r = gmem_region(m, 0);
	const char *p = gmem_ptr(m, BASE, MIB);

	ck_assert_uint_eq(gmem_nr_regions(m), 1);
	ck_assert_ptr_null(gmem_region(m, 1));
	ck_assert_uint_eq(r->gpa, BASE);
	ck_assert_uint_eq(r->size, MIB);
	ck_assert_ptr_eq(r->hva, p);
	ck_assert_int_eq(r->fd >= 0, _i);
	for (size_t i = 0; i < MIB; i += 4096)
		ck_assert_int_eq(p[i], 0);
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_shared_is_seen_through_fd)
{
	struct gmem *m = one_region(BASE, MIB, true);
	const struct gmem_region *r = gmem_region(m, 0);
	char *other = mmap(NULL, MIB, PROT_READ, MAP_SHARED, r->fd, 0);

	ck_assert_ptr_ne(other, MAP_FAILED);
	ck_assert(fcntl(r->fd, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_eq(gmem_write(m, BASE + 0x5000, "seen", 4), 0);
	ck_assert_mem_eq(other + 0x5000, "seen", 4);
	munmap(other, MIB);
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_hva_follows_gpa_modulo_2m)
{
	struct gmem *m = one_region(BASE + 0x3000, 3 * MIB, _i);

	ck_assert_uint_eq(((uintptr_t)gmem_region(m, 0)->hva - (BASE + 0x3000)) & (2 * MIB - 1), 0);
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_add_bad_arguments_refused)
{
	struct gmem *m = one_region(BASE, MIB, false);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	ck_assert_int_eq(gmem_add(m, 0, 0, false), -EINVAL);
	ck_assert_int_eq(gmem_add(m, 1, page, false), -EINVAL);
	ck_assert_int_eq(gmem_add(m, 0, page + 1, false), -EINVAL);
	ck_assert_int_eq(gmem_add(m, UINT64_MAX - page + 1, 2 * page, false), -EINVAL);
	ck_assert_int_eq(gmem_add(m, BASE, page, false), -EINVAL);
	ck_assert_int_eq(gmem_add(m, BASE - page, 2 * page, false), -EINVAL);
	ck_assert_int_eq(gmem_add(m, BASE + MIB - page, 2 * page, false), -EINVAL);
	ck_assert_int_eq(gmem_add(m, BASE + GIB, UINT64_C(1) << 62, false), -ENOMEM);
	ck_assert_int_eq(gmem_add(m, BASE + GIB, UINT64_C(1) << 63, false), -ENOMEM);
	ck_assert_uint_eq(gmem_nr_regions(m), 1);
	/* neighbours are fine */
	ck_assert_int_eq(gmem_add(m, BASE - page, page, false), 0);
	ck_assert_int_eq(gmem_add(m, BASE + MIB, page, false), 0);
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_add_too_many_enospc)
{
	struct gmem *m;

	ck_assert_int_eq(gmem_new(&m), 0);
	for (unsigned i = 0; i < GMEM_MAX_REGIONS; i++)
		ck_assert_int_eq(gmem_add(m, i * MIB, MIB, i & 1), 0);
	ck_assert_int_eq(gmem_add(m, GIB, MIB, false), -ENOSPC);
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_ptr_edges)
{
	struct gmem *m = one_region(BASE, MIB, false);
	char *hva = gmem_region(m, 0)->hva;

	ck_assert_ptr_eq(gmem_ptr(m, BASE, 1), hva);
	ck_assert_ptr_eq(gmem_ptr(m, BASE + MIB - 1, 1), hva + MIB - 1);
	ck_assert_ptr_eq(gmem_ptr(m, BASE + 5, 0), hva + 5);
	ck_assert_ptr_null(gmem_ptr(m, BASE + MIB, 0));
	ck_assert_ptr_null(gmem_ptr(m, BASE + MIB - 1, 2));
	ck_assert_ptr_null(gmem_ptr(m, BASE - 1, 1));
	ck_assert_ptr_null(gmem_ptr(m, BASE - 1, 2));
	ck_assert_ptr_null(gmem_ptr(m, BASE, MIB + 1));
	ck_assert_ptr_null(gmem_ptr(m, BASE, UINT64_MAX));
	ck_assert_ptr_null(gmem_ptr(m, UINT64_MAX, 2));
	ck_assert_ptr_null(gmem_ptr(m, 0, 0));
	gmem_free(m);
}
END_TEST

/* Two regions side by side in the guest need not be so in this process. */
START_TEST(test_gmem_range_across_regions_refused)
{
	struct gmem *m = one_region(BASE, MIB, false);
	char buf[16] = { 0 };

	ck_assert_int_eq(gmem_add(m, BASE + MIB, MIB, false), 0);
	ck_assert_ptr_nonnull(gmem_ptr(m, BASE + MIB - 8, 8));
	ck_assert_ptr_nonnull(gmem_ptr(m, BASE + MIB, 8));
	ck_assert_ptr_null(gmem_ptr(m, BASE + MIB - 8, 16));
	ck_assert_int_eq(gmem_read(m, BASE + MIB - 8, buf, 16), -EFAULT);
	ck_assert_int_eq(gmem_write(m, BASE + MIB - 8, buf, 16), -EFAULT);
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_read_write_copy)
{
	struct gmem *m = one_region(BASE, MIB, false);
	char buf[6] = "";

	ck_assert_int_eq(gmem_write(m, BASE + MIB - 6, "hello", 6), 0);
	ck_assert_int_eq(gmem_read(m, BASE + MIB - 6, buf, 6), 0);
	ck_assert_str_eq(buf, "hello");
	ck_assert_int_eq(gmem_read(m, BASE + MIB - 5, buf, 6), -EFAULT);
	gmem_free(m);
}
END_TEST

/* The kernel's answer, so that no handler of a sanitizer is in the way. */
static bool readable(const char *p)
{
	int fds[2];
	long n;

	ck_assert_int_eq(pipe(fds), 0);
	n = syscall(SYS_write, fds[1], p, 1);
	ck_assert(n == 1 || errno == EFAULT);
	close(fds[0]);
	close(fds[1]);
	return n == 1;
}

START_TEST(test_gmem_guards_on_both_sides)
{
	struct gmem *m = one_region(BASE + 0x10000, 64 * MIB, _i);
	const char *hva = gmem_region(m, 0)->hva;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	ck_assert(readable(hva) && readable(hva + 64 * MIB - 1));
	ck_assert(!readable(hva - 1) && !readable(hva - page));
	ck_assert(!readable(hva + 64 * MIB) && !readable(hva + 64 * MIB + page - 1));
	gmem_free(m);
}
END_TEST

/* More than this machine has: it costs nothing until it is touched. */
START_TEST(test_gmem_huge_region_costs_nothing)
{
	struct gmem *m = one_region(BASE, 512 / SPARSE * GIB, false);

	ck_assert_int_eq(gmem_write(m, BASE + (512 / SPARSE - 1) * GIB, "x", 1), 0);
	gmem_free(m);
}
END_TEST

static size_t resident(const void *p, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
	unsigned char *vec = calloc(len / page, 1);

	ck_assert_ptr_nonnull(vec);
	ck_assert_int_eq(mincore((void *)(uintptr_t)p, len, vec), 0);
	for (size_t i = 0; i < len / page; i++)
		n += vec[i] & 1;
	free(vec);
	return n;
}

START_TEST(test_gmem_keep_small_touch_costs_one_page)
{
	struct gmem *m = one_region(BASE, 128 * MIB, false);
	char *hva = gmem_region(m, 0)->hva;

	gmem_keep_small(m, BASE, 100);
	gmem_keep_small(m, BASE + 128 * MIB - 10, 10);
	gmem_keep_small(m, BASE + 128 * MIB, 10);
	gmem_keep_small(m, BASE + 64 * MIB - 5, 10);
	ck_assert_int_eq(gmem_write(m, BASE, "image", 5), 0);
	ck_assert_int_eq(gmem_write(m, BASE + 128 * MIB - 1, "x", 1), 0);
	ck_assert_int_eq(gmem_write(m, BASE + 64 * MIB, "x", 1), 0);
	ck_assert_uint_eq(resident(hva, 128 * MIB), 3);
	gmem_free(m);
}
END_TEST

static uint64_t give_back(const struct gmem *m, gpa_t gpa, uint64_t len)
{
	uint64_t n = 1;

	ck_assert_int_eq(gmem_give_back(m, gmem_ptr(m, gpa, len), len, &n), 0);
	return n;
}

START_TEST(test_gmem_given_back_is_gone_and_reads_zero)
{
	struct gmem *m = one_region(BASE, 128 * MIB, false);
	uint64_t page = (uint64_t)getpagesize();
	char *hva = gmem_region(m, 0)->hva;

	memset(hva, 1, 16 * page);
	memset(hva + 128 * MIB - page, 1, page);
	ck_assert_uint_eq(give_back(m, BASE + page, 2 * page), 2 * page);
	for (uint64_t i = 0; i < 4 * page; i++)
		ck_assert_int_eq(hva[i], i / page == 0 || i / page == 3);
	ck_assert_uint_eq(give_back(m, BASE + 128 * MIB - page, page), page);
	ck_assert_int_eq(hva[128 * MIB - 1], 0);
	ck_assert_uint_eq(give_back(m, BASE, 128 * MIB), 128 * MIB);
	ck_assert_uint_eq(resident(hva, 128 * MIB), 0);
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_give_back_leaves_parts_of_pages)
{
	struct gmem *m = one_region(BASE, MIB, false);
	uint64_t page = (uint64_t)getpagesize();
	char *hva = gmem_region(m, 0)->hva;
	unsigned bad = 0;

	memset(hva, 1, MIB);
	ck_assert_uint_eq(give_back(m, BASE, 0), 0);
	ck_assert_uint_eq(give_back(m, BASE, page - 1), 0);
	ck_assert_uint_eq(give_back(m, BASE + 1, page - 1), 0);
	ck_assert_uint_eq(give_back(m, BASE + 1, 2 * page - 2), 0);
	ck_assert_uint_eq(give_back(m, BASE + 1, 2 * page - 1), page);
	for (uint64_t i = 0; i < MIB; i++)
		bad += hva[i] != (i / page != 1); /* an assertion each takes long */
	ck_assert_uint_eq(bad, 0);
	gmem_free(m);
}
END_TEST

/* Where the host's pages are larger than the guest's, one of the guest's is but a part. */
START_TEST(test_gmem_give_back_takes_whole_pages_of_a_large_page_host)
{
	struct gmem *m;
	char *hva;
	unsigned bad = 0;

	large_page = 64 * 1024;
	m = one_region(BASE, MIB, false);
	hva = gmem_region(m, 0)->hva;
	memset(hva, 1, MIB);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(give_back(m, BASE + i * 4096, 4096), 0);
	ck_assert_uint_eq(give_back(m, BASE + 15 * 4096, 18 * 4096), 64 * 1024);
	for (uint64_t i = 0; i < MIB; i++)
		bad += hva[i] != (i / (64 * KIB) != 1);
	ck_assert_uint_eq(bad, 0);
	large_page = 0;
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_give_back_of_what_is_no_memory_refused)
{
	struct gmem *m = one_region(BASE, MIB, false);
	char *hva = gmem_region(m, 0)->hva, own[16] = "mine";
	uint64_t n = 7;

	ck_assert_int_eq(gmem_give_back(m, own, sizeof(own), &n), -EFAULT);
	ck_assert_int_eq(gmem_give_back(m, hva - 4096, 8192, &n), -EFAULT);
	ck_assert_int_eq(gmem_give_back(m, hva + MIB - 4096, 8192, &n), -EFAULT);
	ck_assert_int_eq(gmem_give_back(m, hva, MIB + 1, &n), -EFAULT);
	ck_assert_int_eq(gmem_give_back(m, hva, UINT64_MAX, &n), -EFAULT);
	ck_assert_int_eq(gmem_give_back(m, NULL, 0, &n), -EFAULT);
	ck_assert_int_eq(syscall(SYS_mlock, hva, 4096), 0); /* past the sanitizer, which does not lock */
	ck_assert_int_eq(gmem_give_back(m, hva, 8192, &n), -EINVAL);
	ck_assert_uint_eq(n, 7);
	gmem_free(m);
}
END_TEST

/* What is given back of shared memory is gone for those who share it, too, and its file is that much smaller. */
START_TEST(test_gmem_shared_is_given_back_for_all)
{
	struct gmem *m = one_region(BASE, MIB, true);
	char *other = mmap(NULL, MIB, PROT_READ, MAP_SHARED, gmem_region(m, 0)->fd, 0);
	uint64_t n, page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct stat before, after;

	ck_assert(other != MAP_FAILED);
	memset(gmem_region(m, 0)->hva, 1, MIB);
	ck_assert(!fstat(gmem_region(m, 0)->fd, &before) && other[page] == 1);
	ck_assert_int_eq(gmem_give_back(m, (char *)gmem_region(m, 0)->hva + page, MIB - page, &n), 0);
	ck_assert_uint_eq(n, MIB - page);
	ck_assert(!fstat(gmem_region(m, 0)->fd, &after));
	if (madvise(NULL, page, -1) == 0) { /* an advice that there is not: an emulator of programs answers for the kernel */
		printf("SKIP test_gmem_shared_is_given_back_for_all: no madvise(2) here\n");
	} else {
		ck_assert_int_eq(after.st_blocks, before.st_blocks - (blkcnt_t)(n / 512));
		ck_assert(other[0] == 1 && !other[page] && !other[MIB - 1]);
	}
	munmap(other, MIB);
	gmem_free(m);
}
END_TEST

START_TEST(test_gmem_free_null_is_fine)
{
	gmem_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem");
	TCase *t = tcase_create("gmem");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_gmem_add_gives_zeroed_memory, 0, 2);
	tcase_add_test(t, test_gmem_shared_is_seen_through_fd);
	tcase_add_loop_test(t, test_gmem_hva_follows_gpa_modulo_2m, 0, 2);
	tcase_add_test(t, test_gmem_add_bad_arguments_refused);
	tcase_add_test(t, test_gmem_add_too_many_enospc);
	tcase_add_test(t, test_gmem_ptr_edges);
	tcase_add_test(t, test_gmem_range_across_regions_refused);
	tcase_add_test(t, test_gmem_read_write_copy);
	tcase_add_loop_test(t, test_gmem_guards_on_both_sides, 0, 2);
	tcase_add_test(t, test_gmem_huge_region_costs_nothing);
	tcase_add_test(t, test_gmem_keep_small_touch_costs_one_page);
	tcase_add_test(t, test_gmem_given_back_is_gone_and_reads_zero);
	tcase_add_test(t, test_gmem_give_back_leaves_parts_of_pages);
	tcase_add_test(t, test_gmem_give_back_takes_whole_pages_of_a_large_page_host);
	tcase_add_test(t, test_gmem_give_back_of_what_is_no_memory_refused);
	tcase_add_test(t, test_gmem_shared_is_given_back_for_all);
	tcase_add_test(t, test_gmem_free_null_is_fine);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
