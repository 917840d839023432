// SPDX-License-Identifier: BSD-3-Clause
/* Packed kernels: the streams alone, then within an EFI zboot kernel and as a file of their own. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "arch/arm64/header.h"
#include "arch/arm64/image.h"
#include "arch/arm64/unpack.h"

#define RAM UINT64_C(0x80000000)
#define RAM_SIZE (32 * MIB)
#define PAYLOAD_AT 0x3100 /* in the zboot kernels made here */

static const enum packing packings[] = { PACKED_GZIP, PACKED_ZSTD };

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

/* An Image of @size bytes that is different everywhere and takes @image_size in memory. */
static uint8_t *make_image(size_t size, uint64_t image_size)
{
	uint8_t *img = malloc(size);

	for (size_t i = 0; i < size; i++)
		img[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
	memset(img, 0, HEADER_MIN);
	put_le(img + 16, image_size, 8);
	memcpy(img + 56, "ARM\x64", 4);
	return img;
}

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	return fd;
}

static size_t gzip(const void *data, size_t len, uint8_t *out, size_t cap)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)cap };

	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

/* As the command does it out of a pipe: with a checksum, the length not known beforehand. */
static size_t zstd(const void *data, size_t len, uint8_t *out, size_t cap)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_inBuffer from = { data, len, 0 };
	ZSTD_outBuffer to = { out, cap, 0 };

	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, 3);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	ck_assert(!ZSTD_isError(ZSTD_compressStream2(c, &to, &from, ZSTD_e_flush)));
	ck_assert_uint_eq(ZSTD_compressStream2(c, &to, &from, ZSTD_e_end), 0);
	ZSTD_freeCCtx(c);
	return to.pos;
}

static uint8_t *pack(enum packing how, const void *data, size_t len, size_t *ret_len)
{
	size_t cap = ZSTD_compressBound(len) + compressBound(len) + 64;
	uint8_t *out = malloc(cap);

	*ret_len = how == PACKED_ZSTD ? zstd(data, len, out, cap) : gzip(data, len, out, cap);
	return out;
}

/* All of @packed, in pieces of at most @piece bytes, into @out of @cap. */
static int unpack_all(enum packing how, const uint8_t *packed, size_t len, uint8_t *out, size_t cap, size_t piece,
		      uint64_t *ret_len)
{
	int fd = file_of(packed, len), rc = 0;
	struct unpack *u;
	uint64_t n = piece;

	*ret_len = 0;
	ck_assert_int_eq(unpack_new(how, fd, 0, len, &u), 0);
	while (!rc && n == piece && *ret_len < cap) {
		uint64_t room = cap - *ret_len < piece ? cap - *ret_len : piece;

		n = 0;
		rc = unpack_read(u, out + *ret_len, room, &n);
		*ret_len += n;
	}
	unpack_free(u);
	close(fd);
	return rc;
}

START_TEST(test_unpack_pieces_of_any_length)
{
	static const size_t sizes[] = { 1, 4095, 131072, 131073, 1000000 }, pieces[] = { 1000, 4096, 131072, 2000000 };

	for (unsigned h = 0; h < 2; h++)
		for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
			for (unsigned k = 0; k < ARRAY_LEN(pieces); k++) {
				uint8_t *data = malloc(sizes[i]), *out = malloc(sizes[i] + 100), *packed;
				size_t len;
				uint64_t n;

				for (size_t b = 0; b < sizes[i]; b++)
					data[b] = (uint8_t)(b * b >> 3);
				packed = pack(packings[h], data, sizes[i], &len);
				ck_assert_int_eq(unpack_all(packings[h], packed, len, out, sizes[i] + 100, pieces[k], &n), 0);
				ck_assert_uint_eq(n, sizes[i]);
				ck_assert_mem_eq(out, data, n);
				free(data);
				free(out);
				free(packed);
			}
}
END_TEST

/* What stands before and behind the range is not looked at, nor what follows the stream within it. */
START_TEST(test_unpack_range_of_a_file)
{
	for (unsigned h = 0; h < 2; h++) {
		uint8_t *img = make_image(50000, MIB), *out = malloc(60000), *file = malloc(200000), *packed;
		size_t len;
		struct unpack *u;
		uint64_t n;
		int fd;

		packed = pack(packings[h], img, 50000, &len);
		memset(file, 0xee, 200000);
		memcpy(file + 777, packed, len);
		fd = file_of(file, 200000);
		ck_assert_int_eq(unpack_new(packings[h], fd, 777, len + 33, &u), 0);
		ck_assert_int_eq(unpack_read(u, out, 60000, &n), 0);
		ck_assert_uint_eq(n, 50000);
		ck_assert_mem_eq(out, img, n);
		ck_assert_int_eq(unpack_read(u, out, 60000, &n), 0);
		ck_assert_uint_eq(n, 0);
		unpack_free(u);
		/* the range ends too soon, the file does not */
		ck_assert_int_eq(unpack_new(packings[h], fd, 777, len - 1, &u), 0);
		ck_assert_int_eq(unpack_read(u, out, 60000, &n), -ENODATA);
		unpack_free(u);
		close(fd);
		free(img);
		free(out);
		free(file);
		free(packed);
	}
}
END_TEST

START_TEST(test_unpack_cut_at_any_byte_is_seen)
{
	uint8_t data[3000], out[3000], *packed;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i >> 2);
	for (unsigned h = 0; h < 2; h++) {
		size_t len;
		uint64_t n;

		packed = pack(packings[h], data, sizeof(data), &len);
		for (size_t cut = 0; cut < len; cut++) {
			int rc = unpack_all(packings[h], packed, cut, out, sizeof(out) + 0, 100000, &n);

			/* all bytes may be there, and only the end's mark is missing: then the next read says so */
			ck_assert_msg(rc == -ENODATA || (!rc && n == sizeof(data)), "%u: cut at %zu of %zu: %d", h, cut, len, rc);
		}
		free(packed);
	}
}
END_TEST

START_TEST(test_unpack_damage_never_goes_unseen)
{
	uint8_t data[3000], out[4000], *packed;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i >> 2);
	for (unsigned h = 0; h < 2; h++) {
		size_t len;
		uint64_t n;

		packed = pack(packings[h], data, sizeof(data), &len);
		for (size_t i = 0; i < len; i++) {
			int rc;

			packed[i] ^= (uint8_t)(1 + i % 255);
			rc = unpack_all(packings[h], packed, len, out, sizeof(out), 100000, &n);
			ck_assert(rc == -EBADMSG || rc == -ENODATA || rc == -E2BIG || (!rc && n == sizeof(data)));
			ck_assert(rc || !memcmp(data, out, sizeof(data))); /* a byte that says nothing: gzip's time */
			packed[i] ^= (uint8_t)(1 + i % 255);
		}
		free(packed);
	}
}
END_TEST

/* Older formats, and frames without contents, are zstd's, and no kernel's. */
START_TEST(test_unpack_other_zstd_frames_are_refused)
{
	static const uint32_t magics[] = { 0xfd2fb51e, 0xfd2fb522, 0xfd2fb523, 0xfd2fb524, 0xfd2fb525, 0xfd2fb526,
					   0xfd2fb527, 0x184d2a50, 0x184d2a5f, 0xec30a437 };
	uint8_t data[100] = { 0 }, out[100];
	uint64_t n;

	for (unsigned i = 0; i < ARRAY_LEN(magics); i++) {
		put_le(data, magics[i], 4);
		ck_assert_int_eq(unpack_all(PACKED_ZSTD, data, sizeof(data), out, sizeof(out), 100, &n), -EBADMSG);
	}
}
END_TEST

START_TEST(test_unpack_window_is_limited)
{
	/* a frame header with nothing but a window's size of 2^(10 + n / 8) */
	uint8_t data[6] = { 0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3 }, out[10];
	uint64_t n;

	ck_assert_int_eq(unpack_all(PACKED_ZSTD, data, sizeof(data), out, sizeof(out), 100, &n), -ENODATA);
	for (unsigned log = 18; log < 32; log++) {
		data[5] = (uint8_t)(log << 3);
		ck_assert_int_eq(unpack_all(PACKED_ZSTD, data, sizeof(data), out, sizeof(out), 100, &n), -E2BIG);
	}
}
END_TEST

/* ---- as kernels ---- */

/* An EFI zboot kernel of @len packed bytes; @word is how it calls their packing. */
static uint8_t *make_zboot(const char *word, const uint8_t *packed, size_t len, size_t *ret_len)
{
	uint8_t *z = calloc(1, PAYLOAD_AT + len + 100);

	memcpy(z, "MZ\0\0zimg", 8);
	put_le(z + 8, PAYLOAD_AT, 4);
	put_le(z + 12, len, 4);
	strcpy((char *)z + 24, word);
	put_le(z + 56, 0x818223cd, 4);
	put_le(z + 60, 64, 4);
	memcpy(z + 64, "PE\0\0\x64\xaa", 6);
	memcpy(z + PAYLOAD_AT, packed, len);
	*ret_len = PAYLOAD_AT + len + 100;
	return z;
}

static uint8_t *zboot_of(const char *word, const void *data, size_t len, size_t *ret_len)
{
	size_t packed_len;
	uint8_t *packed = pack(*word == 'g' ? PACKED_GZIP : PACKED_ZSTD, data, len, &packed_len);
	uint8_t *z = make_zboot(word, packed, packed_len, ret_len);

	free(packed);
	return z;
}

static int load(const void *kernel, size_t len)
{
	struct boot_files f = { .kernel = { "Image", file_of(kernel, len) } };
	int rc;

	err.text[0] = 0;
	rc = boot_load(&f, mem, RAM_SIZE, IMAGE_PAGES_ALL, &got, &err);
	close(f.kernel.fd);
	return rc;
}

static void expect(int rc, int code, const char *part)
{
	ck_assert_msg(rc == code, "%d, not %d: %s", rc, code, err.text);
	ck_assert_msg(strstr(err.text, part), "'%s' lacks '%s'", err.text, part);
	ck_assert_ptr_null(strchr(err.text, '\n'));
}

START_TEST(test_unpack_zboot_kernels_are_loaded)
{
	static const char *const words[] = { "gzip", "zstd", "zstd22" };
	static const size_t sizes[] = { 64, 4096, 4097, 3000000 };

	for (unsigned w = 0; w < ARRAY_LEN(words); w++)
		for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
			uint8_t *img = make_image(sizes[i], 4 * MIB), *z;
			size_t len;

			z = zboot_of(words[w], img, sizes[i], &len);
			ck_assert_msg(!load(z, len), "%s", err.text);
			ck_assert_uint_eq(got.kernel_size, 4 * MIB);
			ck_assert_mem_eq(gmem_ptr(mem, got.kernel, sizes[i]), img, sizes[i]);
			free(img);
			free(z);
		}
}
END_TEST

START_TEST(test_unpack_zstd_file_is_loaded)
{
	uint8_t *img = make_image(500000, MIB), *packed;
	size_t len;

	packed = pack(PACKED_ZSTD, img, 500000, &len);
	ck_assert_msg(!load(packed, len), "%s", err.text);
	ck_assert_mem_eq(gmem_ptr(mem, got.kernel, 500000), img, 500000);
	expect(load(packed, len - 1), -ENOEXEC, "truncated: its zstd data has no end");
	packed[len - 1] ^= 1;
	expect(load(packed, len), -ENOEXEC, "corrupt: its zstd data");
	free(packed);
	free(img);
}
END_TEST

START_TEST(test_unpack_zboot_truncated_anywhere_is_named)
{
	static const char *const words[] = { "gzip", "zstd22" };

	for (unsigned w = 0; w < ARRAY_LEN(words); w++) {
		uint8_t *img = make_image(300000, MIB), *z;
		size_t len;

		srand(7);
		for (size_t i = 64; i < 300000; i++)
			img[i] = (uint8_t)rand();
		z = zboot_of(words[w], img, 300000, &len);
		for (size_t cut = 64; cut < len - 100; cut += cut < 256 ? 1 : 4001)
			expect(load(z, cut), -ENOEXEC, "truncated");
		expect(load(z, len - 101), -ENOEXEC, "truncated");
		expect(load(z, 63), -ENOEXEC, "too short");
		/* the packed data itself, all of which the header counts */
		put_le(z + 12, len - PAYLOAD_AT - 101, 4);
		expect(load(z, len), -ENOEXEC, "has no end");
		free(z);
		free(img);
	}
}
END_TEST

START_TEST(test_unpack_zboot_hostile_fields_are_refused)
{
	static const uint32_t v[] = { 0, 1, 63, 0x7fffffff, 0x80000000, 0xffffffff };
	uint8_t *img = make_image(100000, MIB), *z;
	size_t len;

	z = zboot_of("zstd22", img, 100000, &len);
	for (unsigned a = 0; a < ARRAY_LEN(v); a++) {
		put_le(z + 8, v[a], 4);
		ck_assert_int_eq(load(z, len), -ENOEXEC);
		for (unsigned b = 0; b < ARRAY_LEN(v); b++) {
			put_le(z + 12, v[b], 4);
			ck_assert_int_eq(load(z, len), -ENOEXEC);
			ck_assert(strstr(err.text, "truncated") || strstr(err.text, "corrupt"));
		}
	}
	free(z);
	free(img);
}
END_TEST

START_TEST(test_unpack_zboot_of_other_packings_is_named)
{
	static const char *const words[] = { "lz4", "lzma", "lzo", "xzkern", "zstd2", "gzi", "gzipp" };
	uint8_t junk[100] = { 1, 2, 3 };
	char part[80];
	size_t len;

	for (unsigned w = 0; w < ARRAY_LEN(words); w++) {
		uint8_t *z = make_zboot(words[w], junk, sizeof(junk), &len);

		snprintf(part, sizeof(part), "an EFI zboot kernel with %s, which is not supported; unpack it first", words[w]);
		expect(load(z, len), -ENOEXEC, part);
		free(z);
	}
}
END_TEST

START_TEST(test_unpack_what_zboot_holds_is_named)
{
	uint8_t *img = make_image(5000, MIB), *z, *packed;
	size_t len, packed_len;

	memcpy(img + 56, "RSC\x05", 4);
	z = zboot_of("gzip", img, 5000, &len);
	expect(load(z, len), -ENOEXEC, "an EFI zboot kernel of what is a RISC-V kernel");
	free(z);
	memcpy(img + 56, "ARM\x64", 4);
	z = zboot_of("zstd", img, 5000, &len);
	packed = pack(PACKED_GZIP, z, len, &packed_len);
	expect(load(packed, packed_len), -ENOEXEC, "a gzip of what is an EFI zboot kernel");
	free(packed);
	packed = pack(PACKED_ZSTD, z, len, &packed_len);
	expect(load(packed, packed_len), -ENOEXEC, "a zstd of what is an EFI zboot kernel");
	free(packed);
	free(z);
	packed = pack(PACKED_ZSTD, img, 5000, &packed_len);
	z = zboot_of("gzip", packed, packed_len, &len);
	expect(load(z, len), -ENOEXEC, "an EFI zboot kernel of what is compressed once more");
	free(packed);
	free(z);
	free(img);
}
END_TEST

START_TEST(test_unpack_bomb_stops_at_the_end_of_memory)
{
	static const char *const words[] = { "gzip", "zstd22" };
	size_t size = 200 * MIB, len;
	uint8_t *img = calloc(1, size), *z;

	memcpy(img + 56, "ARM\x64", 4);
	put_le(img + 16, MIB, 8);
	for (unsigned w = 0; w < ARRAY_LEN(words); w++) {
		z = zboot_of(words[w], img, size, &len);
		ck_assert_uint_lt(len, 300000);
		expect(load(z, len), -EFBIG, "unpacks to more than 32 MiB of memory can hold");
		free(z);
	}
	free(img);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("unpack");
	TCase *tc = tcase_create("unpack");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_unpack_pieces_of_any_length);
	tcase_add_test(tc, test_unpack_range_of_a_file);
	tcase_add_test(tc, test_unpack_cut_at_any_byte_is_seen);
	tcase_add_test(tc, test_unpack_damage_never_goes_unseen);
	tcase_add_test(tc, test_unpack_other_zstd_frames_are_refused);
	tcase_add_test(tc, test_unpack_window_is_limited);
	tcase_add_test(tc, test_unpack_zboot_kernels_are_loaded);
	tcase_add_test(tc, test_unpack_zstd_file_is_loaded);
	tcase_add_test(tc, test_unpack_zboot_truncated_anywhere_is_named);
	tcase_add_test(tc, test_unpack_zboot_hostile_fields_are_refused);
	tcase_add_test(tc, test_unpack_zboot_of_other_packings_is_named);
	tcase_add_test(tc, test_unpack_what_zboot_holds_is_named);
	tcase_add_test(tc, test_unpack_bomb_stops_at_the_end_of_memory);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
