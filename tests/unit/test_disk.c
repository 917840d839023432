// SPDX-License-Identifier: BSD-3-Clause
/* What may be a disk, on real files of a directory of our own: what is refused and by which sentence, size, alignment, locks. */
#include "devices/virtio/disk.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/fdbook.h"

#define NOBODY 65534

static char dir[] = "/tmp/test_disk.XXXXXX";

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0);
	ck_assert_int_eq(chdir(dir), 0);
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void teardown(void)
{
	nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS);
}

/* A file of @size zeros, a hole. */
static void make(const char *name, off_t size)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
}

static int nr_open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static struct disk_cfg path_cfg(const char *path)
{
	return (struct disk_cfg){ .name = "disk0", .path = path, .fd = -1 };
}

static struct disk_cfg fd_cfg(int fd)
{
	ck_assert_int_ge(fd, 0);
	return (struct disk_cfg){ .name = "disk0", .fd = fd };
}

static struct disk_cfg ro(struct disk_cfg c)
{
	c.ro = true;
	return c;
}

static struct disk_cfg direct(struct disk_cfg c)
{
	c.direct = true;
	return c;
}

/* By exactly this sentence; nothing is left open, and an inherited descriptor is closed. */
static void refused(struct disk_cfg c, int code, const char *text)
{
	struct disk d = { .fd = -7 };
	int after = nr_open_fds() - (fcntl(c.fd, F_GETFD) >= 0);
	struct err e = { "" };
	int r = disk_open(&c, &d, &e);

	ck_assert_msg(r == code, "%d (%s), not %d", r, e.text, code);
	ck_assert_str_eq(e.text, text);
	ck_assert_int_eq(d.fd, -7);
	ck_assert_int_eq(nr_open_fds(), after);
}

static struct disk accepted(struct disk_cfg c)
{
	struct disk d = { .fd = -7 };
	struct err e = { "" };

	ck_assert_msg(!disk_open(&c, &d, &e), "%s", e.text);
	ck_assert_int_ge(d.fd, 0);
	ck_assert(d.ro == c.ro);
	return d;
}

/* ---- what is no disk ---- */

START_TEST(test_disk_missing_refused)
{
	refused(path_cfg("none.img"), -ENOENT, "disk0: open 'none.img': No such file or directory");
	refused(ro(path_cfg("none.img")), -ENOENT, "disk0: open 'none.img': No such file or directory");
	ck_assert_int_eq(access("none.img", F_OK), -1);
}
END_TEST

START_TEST(test_disk_directory_refused)
{
	const char *path = "disk0: '.' is a directory, and a file or block device is needed";
	char text[96];
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	refused(path_cfg("."), -EISDIR, path);
	refused(ro(path_cfg(".")), -EISDIR, path);
	snprintf(text, sizeof(text), "disk0: 'fd=%d' is a directory, and a file or block device is needed", fd);
	refused(ro(fd_cfg(fd)), -EISDIR, text);
}
END_TEST

/* The opening does not wait for somebody at the FIFO's other end, and nothing is read. */
START_TEST(test_disk_neither_file_nor_device_refused)
{
	ck_assert_int_eq(mkfifo("fifo", 0644), 0);
	refused(path_cfg("fifo"), -EINVAL, "disk0: 'fifo' is neither a file nor a block device");
	refused(ro(path_cfg("fifo")), -EINVAL, "disk0: 'fifo' is neither a file nor a block device");
	refused(path_cfg("/dev/null"), -EINVAL, "disk0: '/dev/null' is neither a file nor a block device");
	refused(ro(path_cfg("/dev/null")), -EINVAL, "disk0: '/dev/null' is neither a file nor a block device");
	ck_assert_int_eq(mknod("socket", S_IFSOCK | 0644, 0), 0);
	refused(path_cfg("socket"), -EINVAL, "disk0: 'socket' is neither a file nor a block device");
}
END_TEST

START_TEST(test_disk_empty_refused)
{
	make("empty", 0);
	refused(path_cfg("empty"), -EINVAL, "disk0: 'empty' is empty (give it a size: truncate -s 1G)");
	refused(ro(path_cfg("empty")), -EINVAL, "disk0: 'empty' is empty (give it a size: truncate -s 1G)");
}
END_TEST

START_TEST(test_disk_not_whole_sectors_refused)
{
	make("small", 1);
	make("odd", 1025);
	refused(path_cfg("small"), -EINVAL, "disk0: 'small' has 1 bytes, no multiple of 512 (rounded up by: truncate -s %512)");
	refused(ro(path_cfg("odd")), -EINVAL, "disk0: 'odd' has 1025 bytes, no multiple of 512 (rounded up by: truncate -s %512)");
}
END_TEST

/* Root may write anything, so somebody else tries. */
static void be_nobody(void)
{
	if (!geteuid())
		ck_assert_int_eq(seteuid(NOBODY), 0);
}

static void be_root_again(void)
{
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
}

START_TEST(test_disk_not_writable_refused_with_remedy)
{
	struct disk d;

	make("shown", 512);
	ck_assert_int_eq(chmod("shown", 0444), 0);
	be_nobody();
	refused(path_cfg("shown"), -EACCES, "disk0: open 'shown': Permission denied (read-only would be: ro)");
	d = accepted(ro(path_cfg("shown")));
	disk_close(&d);
	be_root_again();
}
END_TEST

START_TEST(test_disk_not_readable_refused)
{
	make("hidden", 512);
	ck_assert_int_eq(chmod("hidden", 0), 0);
	be_nobody();
	refused(ro(path_cfg("hidden")), -EACCES, "disk0: open 'hidden': Permission denied");
	be_root_again();
}
END_TEST

/* Memory never lets who asks wait; of what is not known it is taken that it does. */
START_TEST(test_disk_file_systems_that_wait)
{
	int fd = memfd_create("disk", 0);
	struct disk d;

	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	d = accepted((struct disk_cfg){ .name = "disk0", .fd = fd });
	ck_assert(!d.waits);
	disk_close(&d);
}
END_TEST

/* ---- inherited descriptors ---- */

START_TEST(test_disk_fd_closed_refused)
{
	struct disk_cfg c = { .name = "disk0", .fd = 199 };

	ck_assert_int_lt(fcntl(199, F_GETFD), 0);
	refused(c, -EBADF, "disk0: fd=199: not an open descriptor of yours");
}
END_TEST

/* It stays open: it is another's. */
START_TEST(test_disk_fd_that_is_ours_refused)
{
	struct disk_cfg c;
	struct disk d;
	struct err e;
	int fd;

	make("disk", 512);
	fd = fd_note(open("disk", O_RDWR), FD_OUTFILE);
	c = fd_cfg(fd);
	ck_assert_int_eq(disk_open(&c, &d, &e), -EBADF);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	ck_assert_uint_eq(fd_kinds(fd), FD_OUTFILE);
	fd_forget(fd);
	close(fd);
}
END_TEST

/* The descriptor @flags give of "disk", by a sentence that begins with its number. */
static void fd_refused(int flags, struct disk_cfg how, int code, const char *why)
{
	int fd = open("disk", flags);
	struct disk_cfg c = fd_cfg(fd);
	char text[128];

	c.ro = how.ro;
	c.direct = how.direct;
	snprintf(text, sizeof(text), "disk0: fd=%d: %s", fd, why);
	refused(c, code, text);
}

START_TEST(test_disk_fd_in_wrong_mode_refused)
{
	const struct disk_cfg plain = { 0 };

	make("disk", 512);
	fd_refused(O_RDONLY, plain, -EBADF, "not open for writing (read-only would be: ro)");
	fd_refused(O_WRONLY, plain, -EBADF, "not open for reading");
	fd_refused(O_WRONLY, ro(plain), -EBADF, "not open for reading");
	fd_refused(O_PATH, ro(plain), -EBADF, "not open for reading");
	fd_refused(O_RDWR, direct(plain), -EINVAL, "direct is decided by whoever opened it");
}
END_TEST

/* pwrite(2): with O_APPEND Linux writes at the end, wherever it was to go. */
START_TEST(test_disk_fd_that_appends_refused)
{
	struct disk d;

	make("disk", 512);
	fd_refused(O_RDWR | O_APPEND, (struct disk_cfg){ 0 }, -EINVAL, "open for appending, and a disk is written at any place");
	d = accepted(ro(fd_cfg(open("disk", O_RDONLY | O_APPEND))));
	disk_close(&d);
}
END_TEST

START_TEST(test_disk_fd_taken_over)
{
	struct disk d;
	int fd;

	make("disk", 4 * 512);
	fd = open("disk", O_RDWR);
	d = accepted(fd_cfg(fd));
	ck_assert_int_eq(d.fd, fd);
	ck_assert_uint_eq(d.sectors, 4);
	ck_assert_uint_eq(fd_kinds(fd), FD_DISK);
	disk_close(&d);
	ck_assert_int_eq(d.fd, -1);
	ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
	ck_assert_uint_eq(fd_kinds(fd), 0);
	disk_close(&d);
}
END_TEST

/* More rights than are needed do no harm. */
START_TEST(test_disk_fd_writable_for_ro_is_fine)
{
	struct disk d;

	make("disk", 512);
	d = accepted(ro(fd_cfg(open("disk", O_RDWR))));
	disk_close(&d);
}
END_TEST

/* ---- locks ---- */

#define ALONE "disk0: 'disk' is in use (each disk of each VM needs a file of its own; ro may be shared)"
#define SHARED "disk0: 'disk' is written by another VM (what is shared must be ro for all)"

START_TEST(test_disk_second_writer_refused)
{
	struct disk d;

	make("disk", 512);
	d = accepted(path_cfg("disk"));
	refused(path_cfg("disk"), -EBUSY, ALONE);
	refused(ro(path_cfg("disk")), -EBUSY, SHARED);
	disk_close(&d);
	d = accepted(path_cfg("disk"));
	disk_close(&d);
}
END_TEST

START_TEST(test_disk_ro_is_shared_but_not_with_a_writer)
{
	struct disk a, b;

	make("disk", 512);
	a = accepted(ro(path_cfg("disk")));
	b = accepted(ro(path_cfg("disk")));
	refused(path_cfg("disk"), -EBUSY, ALONE);
	disk_close(&a);
	refused(path_cfg("disk"), -EBUSY, ALONE);
	disk_close(&b);
	a = accepted(path_cfg("disk"));
	disk_close(&a);
}
END_TEST

/* Locks of processes would end with any close of the file in them, and begin anew in a child. */
START_TEST(test_disk_lock_is_the_descriptors_not_the_process)
{
	struct disk d;
	int status;
	pid_t pid;

	make("disk", 512);
	d = accepted(path_cfg("disk"));
	close(open("disk", O_RDWR));
	pid = fork();
	if (!pid) {
		struct disk_cfg c = path_cfg("disk");
		struct disk mine;

		_exit(disk_open(&c, &mine, NULL) == -EBUSY ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	refused(path_cfg("disk"), -EBUSY, ALONE);
	disk_close(&d);
}
END_TEST

/* ---- sizes and alignment ---- */

START_TEST(test_disk_size_in_sectors)
{
	static const struct { const char *name; off_t size; uint64_t sectors; } sizes[] = {
		{ "one", 512, 1 }, { "odd", 3 * 512, 3 }, { "mebibyte", 1 << 20, 2048 },
		{ "beyond-32-bits", ((off_t)1 << 41) + 512, (UINT64_C(1) << 32) + 1 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct disk d;

		make(sizes[i].name, sizes[i].size);
		d = accepted(path_cfg(sizes[i].name));
		ck_assert_uint_eq(d.sectors, sizes[i].sectors);
		ck_assert_uint_eq(fd_kinds(d.fd), FD_DISK);
		ck_assert_int_eq(fcntl(d.fd, F_GETFD), FD_CLOEXEC);
		disk_close(&d);
	}
}
END_TEST

START_TEST(test_disk_through_a_link)
{
	struct disk d;

	make("disk", 2 * 512);
	ck_assert_int_eq(symlink("disk", "link"), 0);
	d = accepted(path_cfg("link"));
	ck_assert_uint_eq(d.sectors, 2);
	refused(path_cfg("disk"), -EBUSY, ALONE);
	disk_close(&d);
}
END_TEST

static bool is_alignment(const struct disk *d)
{
	return is_pow2(d->block) && d->block >= DISK_SECTOR && is_pow2(d->best) && d->best >= d->block && d->best <= 64 * KIB;
}

/* Through the page cache any sector will do, whatever the file system writes at once. */
START_TEST(test_disk_cached_block_is_a_sector)
{
	struct stat st;
	struct disk d;

	make("disk", 1 << 20);
	d = accepted(path_cfg("disk"));
	ck_assert_uint_eq(d.block, DISK_SECTOR);
	ck_assert(is_alignment(&d));
	ck_assert_int_eq(fstat(d.fd, &st), 0);
	if (is_pow2((uint64_t)st.st_blksize) && (uint64_t)st.st_blksize <= 64 * KIB)
		ck_assert_int_eq(d.best, st.st_blksize);
	disk_close(&d);
}
END_TEST

static bool has_direct(void)
{
	int fd = open("probe", O_RDWR | O_CREAT | O_DIRECT, 0644);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* What it says is enough is enough. */
START_TEST(test_disk_direct_block_can_be_read_and_written)
{
	void *buf = aligned_alloc(64 * KIB, 64 * KIB);
	struct disk d;

	if (!has_direct()) {
		free(buf);
		return;
	}
	make("disk", 64 * KIB);
	d = accepted(direct(path_cfg("disk")));
	ck_assert(is_alignment(&d));
	ck_assert(fcntl(d.fd, F_GETFL) & O_DIRECT);
	memset(buf, 0x5a, d.block);
	ck_assert_int_eq(pwrite(d.fd, buf, d.block, d.block), d.block);
	memset(buf, 0, d.block);
	ck_assert_int_eq(pread(d.fd, buf, d.block, d.block), d.block);
	ck_assert_int_eq(*(char *)buf, 0x5a);
	disk_close(&d);
	free(buf);
}
END_TEST

/* The last block would be half a one. */
START_TEST(test_disk_direct_not_whole_blocks_refused)
{
	unsigned block;
	struct disk d;

	if (!has_direct())
		return;
	make("whole", 64 * KIB);
	d = accepted(direct(path_cfg("whole")));
	block = d.block;
	disk_close(&d);
	make("half", block + block / 2);
	if (block == DISK_SECTOR)
		refused(direct(path_cfg("half")), -EINVAL,
			"disk0: 'half' has 768 bytes, no multiple of 512 (rounded up by: truncate -s %512)");
	else if (block == 4096)
		refused(direct(path_cfg("half")), -EINVAL,
			"disk0: 'half' has 6144 bytes, no multiple of 4096 (rounded up by: truncate -s %4096)");
}
END_TEST

/* procfs has no direct transfers on any kernel. */
START_TEST(test_disk_direct_where_there_is_none_refused)
{
	refused(ro(direct(path_cfg("/proc/self/limits"))), -EINVAL,
		"disk0: open '/proc/self/limits': Invalid argument (its file system cannot do direct)");
}
END_TEST

static void add_refusals(TCase *t)
{
	tcase_add_test(t, test_disk_missing_refused);
	tcase_add_test(t, test_disk_directory_refused);
	tcase_add_test(t, test_disk_neither_file_nor_device_refused);
	tcase_add_test(t, test_disk_empty_refused);
	tcase_add_test(t, test_disk_not_whole_sectors_refused);
	tcase_add_test(t, test_disk_not_writable_refused_with_remedy);
	tcase_add_test(t, test_disk_not_readable_refused);
	tcase_add_test(t, test_disk_file_systems_that_wait);
	tcase_add_test(t, test_disk_fd_closed_refused);
	tcase_add_test(t, test_disk_fd_that_is_ours_refused);
	tcase_add_test(t, test_disk_fd_in_wrong_mode_refused);
	tcase_add_test(t, test_disk_fd_that_appends_refused);
	tcase_add_test(t, test_disk_second_writer_refused);
	tcase_add_test(t, test_disk_ro_is_shared_but_not_with_a_writer);
	tcase_add_test(t, test_disk_lock_is_the_descriptors_not_the_process);
	tcase_add_test(t, test_disk_direct_not_whole_blocks_refused);
	tcase_add_test(t, test_disk_direct_where_there_is_none_refused);
}

static void add_rest(TCase *t)
{
	tcase_add_test(t, test_disk_fd_taken_over);
	tcase_add_test(t, test_disk_fd_writable_for_ro_is_fine);
	tcase_add_test(t, test_disk_size_in_sectors);
	tcase_add_test(t, test_disk_through_a_link);
	tcase_add_test(t, test_disk_cached_block_is_a_sector);
	tcase_add_test(t, test_disk_direct_block_can_be_read_and_written);
}

int main(void)
{
	Suite *s = suite_create("disk");
	TCase *t = tcase_create("disk");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	add_refusals(t);
	add_rest(t);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
