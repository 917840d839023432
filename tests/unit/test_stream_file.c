// SPDX-License-Identifier: BSD-3-Clause
/* A file that hangs, or answers as the test says: on the fake loop, whose transfers end when they are told to. */
#include "vmm/core/stream.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/loop.h"
#include "vmm/base/clock.h"

#define MS UINT64_C(1000000)
#define RING 4096

static struct loop *loop;
static struct stream *st;
static int fd;
static unsigned rooms;
static char text[2 * RING]; /* what the guest says */

static void on_room(void *ctx)
{
	(void)ctx;
	rooms++;
}

static void setup(void)
{
	char name[] = "/tmp/test_stream_file.XXXXXX";
	struct stream_cfg cfg = { .in_fd = -1, .ring_size = RING };

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7 + i / 251);
	fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	unlink(name);
	cfg.out_fd = fd;
	rooms = 0;
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(stream_new(loop, &cfg, &st), 0);
	stream_on_room(st, on_room, NULL);
}

static void teardown(void)
{
	stream_free(st);
	loop_free(loop);
	close(fd);
}

/* The transfer under way is of these bytes of text[]. */
static struct loop_io *under_way(size_t at, size_t len)
{
	struct loop_io *io = fake_loop_busy(loop, 0);
	char buf[RING];

	ck_assert_ptr_nonnull(io);
	ck_assert_ptr_null(fake_loop_busy(loop, 1));
	ck_assert_uint_eq(fake_loop_place(io).off, UINT64_MAX);
	ck_assert_uint_eq(fake_loop_peek_write(io, buf, sizeof(buf)), len);
	ck_assert_mem_eq(buf, text + at, len);
	return io;
}

static void none_under_way(void)
{
	ck_assert_ptr_null(fake_loop_busy(loop, 0));
}

static size_t file_size(void)
{
	return (size_t)lseek(fd, 0, SEEK_END);
}

static void file_is(size_t at, size_t len)
{
	char buf[sizeof(text)];

	ck_assert_uint_eq(file_size(), len);
	ck_assert_int_eq(pread(fd, buf, len, 0), len);
	ck_assert_mem_eq(buf, text + at, len);
}

/* It hangs: nobody waits, nothing is written on the thread that prints, and there is room for so much and no more. */
START_TEST(test_stream_file_that_hangs_holds_up_nobody)
{
	struct loop_io *io;

	ck_assert_uint_eq(loop_file_count(loop), 1);
	ck_assert_uint_eq(stream_write(st, text, 100), 100);
	io = under_way(0, 100);
	for (size_t at = 100; at < RING; at += 111)
		ck_assert_uint_eq(stream_write(st, text + at, 111), at + 111 <= RING ? 111 : RING - at);
	ck_assert_uint_eq(stream_write(st, text, 1), 0);
	ck_assert_uint_eq(stream_room(st), 0);
	/* what is under way stays as it was, and alone */
	ck_assert_ptr_eq(under_way(0, 100), io);
	ck_assert_uint_eq(file_size(), 0);
	ck_assert_uint_eq(rooms, 0);
	/* it goes on again: too little room to speak of, then enough */
	ck_assert(fake_loop_complete(io, 100));
	ck_assert_uint_eq(rooms, 0);
	ck_assert(fake_loop_complete(under_way(100, RING - 100), 1000));
	ck_assert_uint_eq(rooms, 1);
	ck_assert(fake_loop_complete(under_way(1100, RING - 1100), RING - 1100));
	none_under_way();
	ck_assert_uint_eq(stream_dropped(st), 0);
}
END_TEST

/* Round the ring's end, with writers in between and ends of all lengths. */
START_TEST(test_stream_file_keeps_the_order)
{
	size_t put = 0, done = 0;
	struct loop_io *io;

	while (done < sizeof(text)) {
		size_t want = sizeof(text) - put < 700 ? sizeof(text) - put : 700, len;
		char buf[RING];

		put += stream_write(st, text + put, want);
		io = fake_loop_busy(loop, 0);
		ck_assert_ptr_nonnull(io);
		len = fake_loop_peek_write(io, buf, sizeof(buf));
		ck_assert_mem_eq(buf, text + done, len);
		len = len > 500 ? len - len / 3 : len;
		put += stream_write(st, text + put, sizeof(text) - put < 90 ? sizeof(text) - put : 90);
		ck_assert(fake_loop_complete(io, (int)len));
		done += len;
	}
	ck_assert_uint_eq(put, done);
	none_under_way();
}
END_TEST

/* A full disk, a file at its limit: what is at hand is lost, and what comes later is tried. A descriptor for reading alone is none. */
START_TEST(test_stream_file_error_loses_what_is_at_hand)
{
	static const int errors[] = { -ENOSPC, -EFBIG, -EIO, 0, -EBADF };
	bool for_good = errors[_i] == -EBADF;
	char tail[RING];

	ck_assert_uint_eq(stream_write(st, text, 100), 100);
	ck_assert_uint_eq(stream_write(st, text + 100, RING), RING - 100);
	ck_assert(fake_loop_complete(under_way(0, 100), errors[_i]));
	none_under_way();
	ck_assert_uint_eq(stream_dropped(st), RING);
	ck_assert_uint_eq(stream_tail(st, tail, sizeof(tail)), RING);
	ck_assert_mem_eq(tail, text, RING);
	ck_assert_uint_eq(rooms, 1);
	ck_assert_uint_eq(stream_write(st, text, 50), 50);
	if (for_good) {
		none_under_way();
		ck_assert_uint_eq(stream_dropped(st), RING + 50);
		return;
	}
	ck_assert(fake_loop_complete(under_way(0, 50), 50));
	ck_assert_uint_eq(stream_dropped(st), RING);
}
END_TEST

/* The ring has its reasons. It is asked once more, then the file is written without it, and the next bytes are its again. */
START_TEST(test_stream_file_that_the_ring_refuses)
{
	static const int refusals[] = { -ECANCELED, -EAGAIN, -EINTR };

	ck_assert_uint_eq(stream_write(st, text, 100), 100);
	ck_assert_uint_eq(stream_write(st, text + 100, 100), 100);
	ck_assert(fake_loop_complete(under_way(0, 100), refusals[_i]));
	ck_assert_uint_eq(file_size(), 0);
	ck_assert(fake_loop_complete(under_way(0, 200), refusals[_i]));
	file_is(0, 200);
	none_under_way();
	ck_assert_uint_eq(stream_write(st, text + 200, 10), 10);
	ck_assert(fake_loop_complete(under_way(200, 10), refusals[_i]));
	ck_assert(fake_loop_complete(under_way(200, 10), 7));
	ck_assert(fake_loop_complete(under_way(207, 3), refusals[_i]));
	ck_assert(fake_loop_complete(under_way(207, 3), 3));
	file_is(0, 200);
	none_under_way();
	ck_assert_uint_eq(stream_dropped(st), 0);
}
END_TEST

/* At the end all is written, by one transfer after another, and nobody is asked for more. */
START_TEST(test_stream_file_is_flushed_by_the_ring)
{
	ck_assert_uint_eq(stream_write(st, text, 100), 100);
	ck_assert_uint_eq(stream_write(st, text + 100, RING), RING - 100);
	under_way(0, 100);
	fake_loop_serve(loop);
	stream_flush(st, 10000 * MS);
	file_is(0, RING);
	none_under_way();
	ck_assert_uint_eq(rooms, 0);
	ck_assert_uint_eq(stream_write(st, text + RING, 100), 100);
	stream_flush(st, 10000 * MS);
	file_is(0, RING + 100);
	ck_assert_uint_eq(stream_dropped(st), 0);
}
END_TEST

/* The flush has its time. What is under way then keeps its bytes to itself, whenever it ends. */
START_TEST(test_stream_file_that_hangs_at_the_end)
{
	uint64_t begin = clock_now_ns();
	struct loop_io *io;
	char tail[4000];

	ck_assert_uint_eq(stream_write(st, text, 100), 100);
	ck_assert_uint_eq(stream_write(st, text + 100, 200), 200);
	stream_flush(st, 30 * MS);
	ck_assert_uint_eq(stream_tail(st, tail, sizeof(tail)), 300);
	ck_assert_mem_eq(tail, text, 300);
	ck_assert_uint_ge(clock_now_ns() - begin, 30 * MS);
	ck_assert_uint_lt(clock_now_ns() - begin, 10000 * MS);
	ck_assert_uint_eq(stream_dropped(st), 300);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(stream_write(st, text + 4000, 2000), 2000);
	ck_assert_uint_eq(stream_dropped(st), 6300);
	io = under_way(0, 100);
	stream_flush(st, 0);
	ck_assert_uint_eq(stream_dropped(st), 6300);
	if (_i)
		ck_assert(fake_loop_complete(io, 100));
	/* else stream_free() ends it, and begins no other */
	ck_assert_uint_eq(stream_room(st), RING);
	/* the last words are known, and no end of it says them again */
	ck_assert_uint_eq(stream_tail(st, tail, sizeof(tail)), sizeof(tail));
	ck_assert_mem_eq(tail, text + 4000, 2000);
	ck_assert_mem_eq(tail + 2000, text + 4000, 2000);
}
END_TEST

/* Amid a transfer, with more behind it */
START_TEST(test_stream_file_is_freed_when_the_transfer_has_ended)
{
	ck_assert_uint_eq(stream_write(st, text, 100), 100);
	ck_assert_uint_eq(stream_write(st, text + 100, 100), 100);
	if (_i)
		fake_loop_cancel_result(under_way(0, 100), 100);
	stream_free(st);
	st = NULL;
	none_under_way();
	ck_assert_uint_eq(rooms, 0);
}
END_TEST

START_TEST(test_stream_file_without_a_source_is_refused)
{
	struct stream_cfg cfg = { .in_fd = -1, .out_fd = fd };
	struct stream *other;

	fake_loop_fail_init(loop, 0, -ENOSPC);
	ck_assert_int_eq(stream_new(loop, &cfg, &other), -ENOSPC);
	ck_assert_uint_eq(loop_file_count(loop), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream_file");
	TCase *t = tcase_create("stream_file");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_stream_file_that_hangs_holds_up_nobody);
	tcase_add_test(t, test_stream_file_keeps_the_order);
	tcase_add_loop_test(t, test_stream_file_error_loses_what_is_at_hand, 0, 5);
	tcase_add_loop_test(t, test_stream_file_that_the_ring_refuses, 0, 3);
	tcase_add_test(t, test_stream_file_is_flushed_by_the_ring);
	tcase_add_loop_test(t, test_stream_file_that_hangs_at_the_end, 0, 2);
	tcase_add_loop_test(t, test_stream_file_is_freed_when_the_transfer_has_ended, 0, 2);
	tcase_add_test(t, test_stream_file_without_a_source_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
