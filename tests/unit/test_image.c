// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include "arch/arm64/header.h"
#include "arch/arm64/image.h"
#include "arch/arm64/place.h"
#include "vmm/base/checked.h"

#define RAM UINT64_C(0x80000000)
#define RAM_SIZE (32 * MIB)

static struct gmem *mem;
static struct boot_layout got;
static struct err err;

static void setup(void)
{
	ck_assert_int_eq(gmem_new(&mem), 0);
	ck_assert_int_eq(gmem_add(mem, RAM, RAM_SIZE, false), 0);
	err.text[0] = 0;
}

static void teardown(void)
{
	gmem_free(mem);
}

static void put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* An Image of @size bytes that is different everywhere; no PE header. */
static uint8_t *make_image(size_t size, uint64_t text_offset, uint64_t image_size, uint64_t flags)
{
	uint8_t *img = malloc(size);

	for (size_t i = 0; i < size; i++)
		img[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
	memset(img, 0, HEADER_MIN);
	put_le(img + 8, text_offset, 8);
	put_le(img + 16, image_size, 8);
	put_le(img + 24, flags, 8);
	memcpy(img + 56, "ARM\x64", 4);
	return img;
}

/* The header of an EFI kernel: two sections, the second ends at @file_size. */
static void add_pe(uint8_t *img, uint32_t file_size)
{
	uint8_t *pe = img + 64, *s = pe + 24 + 0xa0;

	memcpy(img, "MZ", 2);
	put_le(img + 60, 64, 4);
	memset(pe, 0, 24 + 0xa0 + 80);
	memcpy(pe, "PE\0\0", 4);
	put_le(pe + 4, 0xaa64, 2);
	put_le(pe + 6, 2, 2);
	put_le(pe + 20, 0xa0, 2);
	put_le(s + 16, 0x1000, 4);
	put_le(s + 20, 0x1000, 4);
	put_le(s + 40 + 16, file_size - 0x2000, 4);
	put_le(s + 40 + 20, 0x2000, 4);
}

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	return fd;
}

static uint8_t *gzip(const void *data, size_t len, size_t *ret_len)
{
	size_t cap = compressBound(len) + 64;
	uint8_t *out = malloc(cap);
	z_stream z = { 0 };

	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	z.next_out = out;
	z.avail_out = (uInt)cap;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	*ret_len = z.total_out;
	deflateEnd(&z);
	return out;
}

static int load_files(const void *kernel, size_t kernel_len, const void *initrd, size_t initrd_len, uint64_t ram_size,
		      unsigned pages)
{
	struct boot_files f = { .kernel = { "Image", file_of(kernel, kernel_len) } };
	int rc;

	if (initrd)
		f.initrds[f.nr_initrds++] = (struct boot_file){ "initrd", file_of(initrd, initrd_len) };
	err.text[0] = 0;
	rc = boot_load(&f, mem, ram_size, pages, &got, &err);
	close(f.kernel.fd);
	if (initrd)
		close(f.initrds[0].fd);
	return rc;
}

static int load(const void *kernel, size_t len)
{
	return load_files(kernel, len, NULL, 0, RAM_SIZE, IMAGE_PAGES_ALL);
}

static void expect(int rc, int code, const char *part)
{
	ck_assert_msg(rc == code, "%d, not %d: %s", rc, code, err.text);
	ck_assert_msg(strstr(err.text, part), "'%s' lacks '%s'", err.text, part);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

static void check_layout(const struct boot_layout *l, uint64_t ram_size)
{
	ck_assert_uint_eq(l->entry, l->kernel);
	ck_assert(range_within(l->kernel, l->kernel_size, RAM, ram_size));
	ck_assert(range_within(l->dtb, l->dtb_max, RAM, ram_size));
	ck_assert(is_aligned(l->dtb, 8));
	ck_assert_uint_eq(l->dtb >> 21, (l->dtb + l->dtb_max - 1) >> 21);
	ck_assert(!ranges_overlap(l->kernel, l->kernel_size, l->dtb, l->dtb_max));
	if (!l->initrd_size)
		return;
	ck_assert(range_within(l->initrd, l->initrd_size, RAM, ram_size));
	ck_assert(is_aligned(l->initrd, 4096));
	ck_assert(!ranges_overlap(l->kernel, l->kernel_size, l->initrd, l->initrd_size));
	ck_assert(!ranges_overlap(l->dtb, l->dtb_max, l->initrd, l->initrd_size));
}

START_TEST(test_image_plain_lands_at_its_offset)
{
	static const uint64_t offsets[] = { 0, 0x80000, 0x1ff000 };

	for (unsigned i = 0; i < 3; i++) {
		size_t size = 3000001;
		uint8_t *img = make_image(size, offsets[i], 5 * MIB, 0xa);

		ck_assert_int_eq(load(img, size), 0);
		check_layout(&got, RAM_SIZE);
		ck_assert_uint_eq(got.kernel, RAM + offsets[i]);
		ck_assert_uint_eq(got.kernel_size, 5 * MIB);
		ck_assert_mem_eq(gmem_ptr(mem, got.kernel, size), img, size);
		free(img);
	}
}
END_TEST

START_TEST(test_image_initrd_is_loaded_apart)
{
	uint8_t *img = make_image(100000, 0, MIB, 0);
	size_t len = 2345678;
	uint8_t *rd = make_image(len, 1, 2, 3);

	ck_assert_int_eq(load_files(img, 100000, rd, len, RAM_SIZE, IMAGE_PAGES_ALL), 0);
	check_layout(&got, RAM_SIZE);
	ck_assert_uint_eq(got.initrd_size, len);
	ck_assert_mem_eq(gmem_ptr(mem, got.initrd, len), rd, len);
	ck_assert_mem_eq(gmem_ptr(mem, got.kernel, 100000), img, 100000);
	free(img);
	free(rd);
}
END_TEST

/* Files of @lens bytes, 0 ends the list, behind a small kernel. */
static int load_several(const size_t *lens, const uint8_t *bytes, uint64_t ram_size)
{
	static const char *const names[] = { "rd0", "rd1", "rd2", "rd3" };
	uint8_t *img = make_image(4096, 0, MIB, 0);
	struct boot_files f = { .kernel = { "Image", file_of(img, 4096) } };
	int rc;

	for (; lens[f.nr_initrds]; f.nr_initrds++)
		f.initrds[f.nr_initrds] = (struct boot_file){ names[f.nr_initrds], file_of(bytes, lens[f.nr_initrds]) };
	memset(gmem_ptr(mem, RAM, RAM_SIZE), 0x5a, RAM_SIZE);
	rc = boot_load(&f, mem, ram_size, IMAGE_PAGES_ALL, &got, &err);
	close(f.kernel.fd);
	for (unsigned i = 0; i < f.nr_initrds; i++)
		close(f.initrds[i].fd);
	free(img);
	return rc;
}

START_TEST(test_image_initrds_follow_one_another)
{
	static const size_t lens[][5] = { { 1, 2, 3, 5 }, { 4, 4097, 8 }, { 7 }, { 300001, 300002, 1, 9 } };
	uint8_t *bytes = make_image(300002, 1, 2, 3);

	bytes[0] = 0x77;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		const uint8_t *rd;
		size_t at = 0, end = 0;

		ck_assert_int_eq(load_several(lens[i], bytes, RAM_SIZE), 0);
		check_layout(&got, RAM_SIZE);
		rd = gmem_ptr(mem, got.initrd, got.initrd_size);
		for (unsigned k = 0; lens[i][k]; k++) {
			for (at = align_up(end, 4); end < at; end++)
				ck_assert_uint_eq(rd[end], 0);
			ck_assert_mem_eq(rd + at, bytes, lens[i][k]);
			end = at + lens[i][k];
		}
		ck_assert_uint_eq(got.initrd_size, end);
		ck_assert_uint_eq(rd[end], 0x5a);
	}
	free(bytes);
}
END_TEST

START_TEST(test_image_initrds_that_do_not_fit_are_named)
{
	static const size_t lens[] = { 2 * MIB, 2 * MIB, MIB, 0 }, one[] = { 5 * MIB, 0 };
	uint8_t *bytes = calloc(5, MIB);

	expect(load_several(lens, bytes, 6 * MIB), -EFBIG, "'rd0' with the 2 behind it (5 MiB)");
	expect(load_several(one, bytes, 6 * MIB), -EFBIG, "'rd0' (5 MiB)");
	ck_assert_int_eq(load_several(lens, bytes, 7 * MIB), 0);
	free(bytes);
}
END_TEST

/* A size of file is a signed 64-bit number: a few of them are more than an unsigned one holds. */
START_TEST(test_image_initrds_of_any_size_are_summed_up)
{
	uint8_t *img = make_image(4096, 0, MIB, 0);
	struct boot_files f = { .kernel = { "Image", file_of(img, 4096) }, .nr_initrds = BOOT_MAX_INITRDS };
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, INT64_MAX & ~4095ll), 0);
	for (unsigned i = 0; i < BOOT_MAX_INITRDS; i++)
		f.initrds[i] = (struct boot_file){ "vast", fd };
	expect(boot_load(&f, mem, RAM_SIZE, IMAGE_PAGES_ALL, &got, &err), -EFBIG, "'vast' and those before it");
	f.nr_initrds = 2;
	expect(boot_load(&f, mem, RAM_SIZE, IMAGE_PAGES_ALL, &got, &err), -EFBIG, "'vast' with the 1 behind it");
	close(fd);
	close(f.kernel.fd);
	free(img);
}
END_TEST

START_TEST(test_image_second_initrd_that_cannot_be_read_is_named)
{
	uint8_t *img = make_image(4096, 0, MIB, 0);
	struct boot_files f = { .kernel = { "Image", file_of(img, 4096) }, .nr_initrds = 2 };
	char path[64];

	f.initrds[0] = (struct boot_file){ "good", file_of(img, 99) };
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f.initrds[0].fd);
	f.initrds[1] = (struct boot_file){ "bad", open(path, O_WRONLY) };
	ck_assert_int_ge(f.initrds[1].fd, 0);
	expect(boot_load(&f, mem, RAM_SIZE, IMAGE_PAGES_ALL, &got, &err), -EBADF, "initrd: reading 'bad'");
	close(f.initrds[1].fd);
	close(f.initrds[0].fd);
	close(f.kernel.fd);
	free(img);
}
END_TEST

START_TEST(test_image_old_header_keeps_room_behind)
{
	uint8_t *img = make_image(MIB, 0x12345, 0, 0);

	ck_assert_int_eq(load(img, MIB), 0);
	check_layout(&got, RAM_SIZE);
	ck_assert_uint_eq(got.kernel, RAM + 0x80000);
	ck_assert_uint_ge(got.kernel_size, 2 * MIB);
	free(img);
}
END_TEST

START_TEST(test_image_truncated_at_any_page_named)
{
	size_t size = 300 * KIB;
	uint8_t *img = make_image(size, 0, MIB, 0);

	add_pe(img, (uint32_t)size);
	ck_assert_int_eq(load(img, size), 0);
	for (size_t cut = 4096; cut < size; cut += 4096)
		expect(load(img, cut), -ENOEXEC, "truncated");
	expect(load(img, size - 1), -ENOEXEC, "truncated");
	expect(load(img, 30), -ENOEXEC, "too short");
	free(img);
}
END_TEST

START_TEST(test_image_gzip_is_inflated_in_place)
{
	static const size_t sizes[] = { 64, 4095, 4096, 4097, 131072, 5000000 };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		uint8_t *img = make_image(sizes[i], 0x80000, 6 * MIB, 0), *gz;
		size_t gz_len;

		gz = gzip(img, sizes[i], &gz_len);
		ck_assert_int_eq(load(gz, gz_len), 0);
		check_layout(&got, RAM_SIZE);
		ck_assert_uint_eq(got.kernel, RAM + 0x80000);
		ck_assert_mem_eq(gmem_ptr(mem, got.kernel, sizes[i]), img, sizes[i]);
		free(img);
		free(gz);
	}
}
END_TEST

START_TEST(test_image_gzip_truncated_or_corrupt_named)
{
	size_t size = 600 * KIB, gz_len;
	uint8_t *img = make_image(size, 0, MIB, 0), *gz;

	srand(3);
	for (size_t i = 64; i < size; i++)
		img[i] = (uint8_t)rand();
	gz = gzip(img, size, &gz_len);
	for (size_t cut = 4096; cut < gz_len; cut += 4096)
		expect(load(gz, cut), -ENOEXEC, "truncated");
	expect(load(gz, gz_len - 1), -ENOEXEC, "truncated");
	expect(load(gz, 5), -ENOEXEC, "truncated");
	gz[gz_len - 6] ^= 1;
	expect(load(gz, gz_len), -ENOEXEC, "corrupt");
	gz[gz_len - 6] ^= 1;
	add_pe(img, (uint32_t)size + 4096);
	free(gz);
	gz = gzip(img, size, &gz_len);
	expect(load(gz, gz_len), -ENOEXEC, "truncated");
	free(img);
	free(gz);
}
END_TEST

START_TEST(test_image_gzip_bomb_stops_at_the_end_of_memory)
{
	size_t size = 40 * MIB, gz_len;
	uint8_t *img = make_image(size, 0, MIB, 0), *gz;

	memset(img + 64, 0, size - 64);
	gz = gzip(img, size, &gz_len);
	ck_assert_uint_lt(gz_len, 100000);
	expect(load(gz, gz_len), -EFBIG, "--memory");
	free(gz);
	/* as long as memory, to the byte: inflates, but leaves no room for the device tree */
	gz = gzip(img, RAM_SIZE, &gz_len);
	expect(load(gz, gz_len), -EFBIG, "--memory");
	free(gz);
	gz = gzip(img, 31 * MIB, &gz_len);
	ck_assert_int_eq(load(gz, gz_len), 0);
	check_layout(&got, RAM_SIZE);
	free(img);
	free(gz);
}
END_TEST

START_TEST(test_image_too_large_says_so)
{
	uint8_t *img = make_image(100000, 0, 33 * MIB, 0);

	expect(load(img, 100000), -EFBIG, "33 MiB");
	put_le(img + 16, UINT64_MAX, 8);
	expect(load(img, 100000), -EFBIG, "--memory");
	put_le(img + 16, 4 * MIB, 8);
	expect(load_files(img, 100000, NULL, 0, MIB, IMAGE_PAGES_ALL), -EFBIG, "1 MiB of memory");
	expect(load_files(img, 100000, img, 100000, 4 * MIB + 200000, IMAGE_PAGES_ALL), -EFBIG, "initrd: ");
	expect(load_files(img, 100000, NULL, 0, 4096, IMAGE_PAGES_ALL), -EFBIG, "--memory");
	put_le(img + 8, UINT64_MAX, 8);
	expect(load(img, 100000), -ENOEXEC, "corrupt");
	free(img);
}
END_TEST

START_TEST(test_image_file_larger_than_claimed_counts)
{
	size_t size = 3 * MIB;
	uint8_t *img = make_image(size, 0, 4096, 0);

	ck_assert_int_eq(load(img, size), 0);
	ck_assert_uint_eq(got.kernel_size, size);
	check_layout(&got, RAM_SIZE);
	free(img);
}
END_TEST

START_TEST(test_image_wrong_endian_or_pages_refused)
{
	uint8_t *img = make_image(65536, 0, MIB, 1);

	expect(load(img, 65536), -ENOEXEC, "big-endian");
	put_le(img + 24, 2 << 1, 8);
	ck_assert_int_eq(load(img, 65536), 0);
	expect(load_files(img, 65536, NULL, 0, RAM_SIZE, IMAGE_PAGES_4K | IMAGE_PAGES_64K), -ENOEXEC,
	       "pages of 16 KiB");
	put_le(img + 24, 3 << 1, 8);
	expect(load_files(img, 65536, NULL, 0, RAM_SIZE, IMAGE_PAGES_4K), -ENOEXEC, "pages of 64 KiB");
	put_le(img + 24, 1 << 1, 8);
	ck_assert_int_eq(load_files(img, 65536, NULL, 0, RAM_SIZE, IMAGE_PAGES_4K), 0);
	free(img);
}
END_TEST

static void expect_kind(size_t off, const char *magic, size_t len, const char *part)
{
	uint8_t buf[HEADER_PEEK], *gz;
	size_t gz_len;

	memset(buf, 0x81, sizeof(buf));
	memcpy(buf + off, magic, len);
	expect(load(buf, sizeof(buf)), -ENOEXEC, part);
	gz = gzip(buf, sizeof(buf), &gz_len);
	expect(load(gz, gz_len), -ENOEXEC, part);
	free(gz);
}

START_TEST(test_image_others_are_named)
{
	char zboot[64] = "MZ\0\0zimg";

	memcpy(zboot + 24, "lz4", 4);
	expect_kind(0, zboot, sizeof(zboot), "EFI zboot kernel with lz4");
	memcpy(zboot + 24, "\n\1\2\3", 4);
	expect_kind(0, zboot, sizeof(zboot), "with an unnamed compression");
	expect_kind(0x202, "HdrS", 4, "an x86 kernel (bzImage)");
	expect_kind(56, "RSC\x05", 4, "RISC-V");
	expect_kind(0, "\x7f" "ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\xb7", 20, "vmlinux");
	expect_kind(0, "\x7f" "ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\x3e", 20, "x86-64");
	expect_kind(0, "\xfd" "7zXZ\0", 6, "xz");
	expect_kind(0, "\x02\x21\x4c\x18", 4, "lz4");
	expect_kind(0, "BZh9", 4, "bzip2");
	expect_kind(0, "MZ", 2, "EFI program");
	expect_kind(0, "\xd0\x0d\xfe\xed", 4, "device tree");
	expect_kind(0, "070701", 6, "--initrd");
	expect_kind(0, "#!/bin/sh", 9, "script");
	expect_kind(0, "\x81", 1, "no Image header");
	expect(load("hello, this is no kernel\n", 25), -ENOEXEC, "text file");
	expect(load("\1\2\3", 3), -ENOEXEC, "too short");
}
END_TEST

START_TEST(test_image_gzip_of_gzip_named)
{
	uint8_t buf[1000] = { 0 }, *one, *two;
	size_t len;

	one = gzip(buf, sizeof(buf), &len);
	two = gzip(one, len, &len);
	expect(load(two, len), -ENOEXEC, "a gzip of what is compressed once more");
	free(one);
	free(two);
}
END_TEST

START_TEST(test_image_patched_headers_never_leave_memory)
{
	size_t size = 8192;
	uint8_t *img = make_image(size, 0, MIB, 0);
	uint8_t keep[512];
	unsigned good = 0;

	add_pe(img, (uint32_t)size);
	memcpy(keep, img, sizeof(keep));
	srand(5);
	for (int i = 0; i < 3000; i++) {
		int n = 1 + rand() % 3, rc;

		memcpy(img, keep, sizeof(keep));
		while (n--)
			img[rand() % (rand() % 2 ? 64 : 350)] = (uint8_t)rand();
		rc = load(img, size);
		if (!rc) {
			check_layout(&got, RAM_SIZE);
			good++;
		} else {
			ck_assert(rc == -ENOEXEC || rc == -EFBIG);
			ck_assert_str_ne(err.text, "");
		}
	}
	ck_assert_uint_gt(good, 100);
	free(img);
}
END_TEST

START_TEST(test_image_header_says_what_the_format_says)
{
	uint8_t *img = make_image(HEADER_PEEK, 0x80000, 0x1234567, 0xa);
	struct image_header h;

	ck_assert_int_eq(header_parse(img, HEADER_PEEK, &h), 0);
	ck_assert_uint_eq(h.text_offset, 0x80000);
	ck_assert_uint_eq(h.image_size, 0x1234567);
	ck_assert_uint_eq(h.pages, IMAGE_PAGES_4K);
	ck_assert(!h.big_endian);
	ck_assert_uint_eq(h.file_size, 0);
	add_pe(img, 0x765000);
	ck_assert_int_eq(header_parse(img, HEADER_PEEK, &h), 0);
	ck_assert_uint_eq(h.file_size, 0x765000);
	/* sections, or the PE header itself, beyond what was read: not known */
	put_le(img + 64 + 6, 0xffff, 2);
	ck_assert_int_eq(header_parse(img, HEADER_PEEK, &h), 0);
	ck_assert_uint_eq(h.file_size, 0);
	put_le(img + 60, UINT32_MAX, 4);
	ck_assert_int_eq(header_parse(img, HEADER_PEEK, &h), 0);
	ck_assert_uint_eq(h.file_size, 0);
	ck_assert_int_eq(header_parse(img, 63, &h), -ENOEXEC);
	free(img);
}
END_TEST

START_TEST(test_image_places_never_overlap)
{
	struct place_need n = { .ram = RAM };
	unsigned good = 0;

	srand(11);
	for (int i = 0; i < 30000; i++) {
		struct boot_layout l;
		int rc;

		n.ram_size = ((uint64_t)rand() % (1 << (rand() % 18)) + 1) * 4096;
		n.text_offset = rand() % 2 ? 0 : (uint64_t)rand() % (2 * MIB);
		n.kernel_size = 1 + (uint64_t)rand() % (1u << (rand() % 31));
		n.initrd_size = rand() % 3 ? (uint64_t)rand() % (1u << (rand() % 31)) : 0;
		rc = place_all(&n, &l);
		if (rc) {
			ck_assert(rc == -EFBIG || rc == -E2BIG);
			/* nothing is refused that plainly fits */
			ck_assert_uint_gt(n.text_offset + n.kernel_size + n.initrd_size + 4 * MIB, n.ram_size);
			continue;
		}
		check_layout(&l, n.ram_size);
		ck_assert_uint_eq(l.initrd_size, n.initrd_size);
		good++;
	}
	ck_assert_uint_gt(good, 3000);
}
END_TEST

START_TEST(test_image_place_hostile_sizes_refused)
{
	static const uint64_t v[] = { 1, 2 * MIB - 1, UINT64_MAX, UINT64_MAX - RAM, UINT64_MAX - 2 * MIB, INT64_MAX };
	struct boot_layout l;

	for (unsigned a = 0; a < ARRAY_LEN(v); a++)
		for (unsigned b = 0; b < ARRAY_LEN(v); b++)
			for (unsigned c = 0; c < ARRAY_LEN(v); c++) {
				struct place_need n = { RAM, RAM_SIZE, v[a], v[b], v[c] };

				if (!place_all(&n, &l))
					check_layout(&l, RAM_SIZE);
				else
					ck_assert(a > 1 || b > 1 || c > 1);
			}
}
END_TEST

static void expect_open(const char *path, int code, const char *part)
{
	int fd = -4711;
	int rc = image_open("kernel", path, &fd, &err);

	expect(rc, code, part);
	ck_assert_ptr_nonnull(strstr(err.text, path));
	ck_assert_int_eq(fd, -4711);
}

START_TEST(test_image_open_names_what_is_no_file)
{
	char dir[] = "/tmp/microvm-image-XXXXXX", path[64];
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	ck_assert_ptr_nonnull(mkdtemp(dir));
	expect_open(dir, -EISDIR, "is a directory");
	snprintf(path, sizeof(path), "%s/x", dir);
	expect_open(path, -ENOENT, "No such file");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	expect_open(path, -EINVAL, "is empty");
	if (geteuid()) {
		chmod(path, 0);
		expect_open(path, -EACCES, "Permission denied");
	}
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	expect_open(path, -EINVAL, "is a FIFO");
	unlink(path);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&sun, sizeof(sun)), 0);
	expect_open(path, -EINVAL, "socket");
	close(s);
	unlink(path);
	rmdir(dir);
	expect_open("/dev/null", -EINVAL, "is a device");
}
END_TEST

START_TEST(test_image_file_is_read_from_its_start)
{
	uint8_t *img = make_image(65536, 0, MIB, 0);
	struct boot_files f = { .kernel = { "Image", file_of(img, 65536) } };

	ck_assert_int_ge(lseek(f.kernel.fd, 1000, SEEK_SET), 0);
	ck_assert_int_eq(boot_load(&f, mem, RAM_SIZE, IMAGE_PAGES_ALL, &got, &err), 0);
	ck_assert_mem_eq(gmem_ptr(mem, got.kernel, 65536), img, 65536);
	close(f.kernel.fd);
	free(img);
}
END_TEST

START_TEST(test_image_unreadable_descriptor_is_an_error)
{
	struct boot_files f = { .kernel = { "Image", open("/tmp", O_RDONLY | O_DIRECTORY) } };

	expect(boot_load(&f, mem, RAM_SIZE, IMAGE_PAGES_ALL, &got, &err), -EISDIR, "reading 'Image'");
	close(f.kernel.fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image");
	TCase *tc = tcase_create("image");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_image_plain_lands_at_its_offset);
	tcase_add_test(tc, test_image_initrd_is_loaded_apart);
	tcase_add_test(tc, test_image_initrds_follow_one_another);
	tcase_add_test(tc, test_image_initrds_that_do_not_fit_are_named);
	tcase_add_test(tc, test_image_initrds_of_any_size_are_summed_up);
	tcase_add_test(tc, test_image_second_initrd_that_cannot_be_read_is_named);
	tcase_add_test(tc, test_image_old_header_keeps_room_behind);
	tcase_add_test(tc, test_image_truncated_at_any_page_named);
	tcase_add_test(tc, test_image_gzip_is_inflated_in_place);
	tcase_add_test(tc, test_image_gzip_truncated_or_corrupt_named);
	tcase_add_test(tc, test_image_gzip_bomb_stops_at_the_end_of_memory);
	tcase_add_test(tc, test_image_too_large_says_so);
	tcase_add_test(tc, test_image_file_larger_than_claimed_counts);
	tcase_add_test(tc, test_image_wrong_endian_or_pages_refused);
	tcase_add_test(tc, test_image_others_are_named);
	tcase_add_test(tc, test_image_gzip_of_gzip_named);
	tcase_add_test(tc, test_image_patched_headers_never_leave_memory);
	tcase_add_test(tc, test_image_header_says_what_the_format_says);
	tcase_add_test(tc, test_image_places_never_overlap);
	tcase_add_test(tc, test_image_place_hostile_sizes_refused);
	tcase_add_test(tc, test_image_open_names_what_is_no_file);
	tcase_add_test(tc, test_image_file_is_read_from_its_start);
	tcase_add_test(tc, test_image_unreadable_descriptor_is_an_error);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
