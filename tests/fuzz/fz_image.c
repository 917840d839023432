// SPDX-License-Identifier: BSD-3-Clause
/*
 * image: kernel and initrd files of any bytes, and where they go.
 *
 * Covers: arch/arm64/image.c, unpack.c, header.c and place.c: plain Images, those packed with gzip and zstd, either
 *         within an EFI zboot kernel, headers of any content, PE section tables, names for what is no kernel, files
 *         and memories of any size.
 * Oracle: what is loaded lies in the usable part of memory, in pieces that do not overlap and stand as
 *         booting.rst wants them; the bytes there are the files'; what is refused has one line that names
 *         the file; either way no byte behind the usable part was written.
 */
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "arch/arm64/header.h"
#include "arch/arm64/image.h"
#include "arch/arm64/place.h"

#define RAM UINT64_C(0x80000000)
#define RAM_SIZE (8 * MIB)
#define GUARD 0xa7
#define GUARD_SIZE 0x10000

static struct gmem *mem;
static uint8_t file[64 * 1024];
static size_t file_len;

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	return fd;
}

/* The input's header at the front of a file that is different everywhere; cut or not. */
static void make_kernel(struct fuzz_in *in, uint64_t usable)
{
	static const uint8_t magic[4] = { 'A', 'R', 'M', 0x64 };
	uint8_t how = fuzz_u8(in);
	uint32_t pe = 64;

	file_len = how & 1 ? fuzz_u16(in) : 4096 + fuzz_u8(in) * 16u;
	for (size_t i = 0; i < file_len; i++)
		file[i] = (uint8_t)(i * 7 + (i >> 8) * 13);
	memset(file, 0, 4096);
	fuzz_take(in, file, 64);
	if (how & 2)
		memcpy(file + 56, magic, sizeof(magic));
	if (how & 4) {
		/* sizes that a kernel may have */
		memset(file + 8, 0, 24);
		file[9] = fuzz_u8(in);
		file[10] = fuzz_u8(in) & 0x1f;
		file[17] = fuzz_u8(in);
		file[18] = fuzz_u8(in);
		file[24] = fuzz_u8(in);
	}
	if (how & 32) {
		/* one that leaves little behind it */
		uint64_t left = usable - (BOOT_DTB_MAX + fuzz_u16(in) * 4u);

		memcpy(file + 16, &left, sizeof(left));
		memset(file + 8, 0, 8);
	}
	if (how & 8) {
		file[0] = 'M';
		file[1] = 'Z';
		memcpy(file + 60, &pe, sizeof(pe));
		fuzz_take(in, file + 64, 320);
	}
	if (how & 16)
		fuzz_take(in, file, in->left > 4096 ? 4096 : in->left);
}

static size_t gzip(uint8_t *out, size_t cap, int level)
{
	z_stream z = { .next_in = file, .avail_in = (uInt)file_len, .next_out = out, .avail_out = (uInt)cap };

	must(deflateInit2(&z, level, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	must(deflate(&z, Z_FINISH) == Z_STREAM_END);
	must(deflateEnd(&z) == Z_OK);
	return z.total_out;
}

#define ZBOOT_PAYLOAD 256

/* An EFI zboot kernel around the @len bytes at @packed + ZBOOT_PAYLOAD; how long it is. */
static size_t zboot(uint8_t *packed, size_t len, bool zst, uint8_t how, struct fuzz_in *in)
{
	static const char *const words[] = { "gzip", "zstd", "zstd22" };
	uint32_t at = ZBOOT_PAYLOAD, size = (uint32_t)len;

	memset(packed, 0, ZBOOT_PAYLOAD);
	memcpy(packed, "MZ\0\0zimg", 8);
	memcpy(packed + 8, &at, sizeof(at));
	memcpy(packed + 12, &size, sizeof(size));
	strcpy((char *)packed + 24, words[zst ? 1 + (how >> 3 & 1) : 0]);
	if (how & 4)
		fuzz_take(in, packed + 8, 24);
	return ZBOOT_PAYLOAD + len;
}

/* What is at @file, packed as @how says into @packed; how long it is. */
static size_t pack(uint8_t *packed, size_t cap, int level, uint8_t how, struct fuzz_in *in)
{
	uint8_t *to = packed + (how & 2 ? ZBOOT_PAYLOAD : 0);
	size_t len;

	cap -= (size_t)(to - packed);
	if (how & 1) {
		len = ZSTD_compress(to, cap, file, file_len, level - 3);
		must(!ZSTD_isError(len));
	} else {
		len = gzip(to, cap, level);
	}
	return how & 2 ? zboot(packed, len, how & 1, how, in) : len;
}

static bool apart(gpa_t a, uint64_t alen, gpa_t b, uint64_t blen)
{
	return a + alen <= b || b + blen <= a;
}

static bool inside(gpa_t at, uint64_t len, uint64_t ram_size)
{
	return at >= RAM && len <= ram_size && at - RAM <= ram_size - len;
}

/* A second initrd may stand behind the first, from a multiple of 4 on. */
static void check_initrds(const struct boot_layout *l, const uint8_t *data, size_t first, size_t second)
{
	const uint8_t *rd = gmem_ptr(mem, l->initrd, l->initrd_size);
	size_t begin = (first + 3) / 4 * 4;

	must(l->initrd_size == (second ? begin + second : first) && !memcmp(rd, data, first));
	for (size_t i = first; i < begin && second; i++)
		must(!rd[i]);
	must(!second || !memcmp(rd + begin, data, second));
}

static void check_layout(const struct boot_layout *l, uint64_t ram_size, uint64_t initrd_size)
{
	uint64_t text_offset = 0;

	memcpy(&text_offset, file + 8, 8);
	must(inside(l->kernel, l->kernel_size, ram_size) && inside(l->dtb, l->dtb_max, ram_size));
	must(l->entry == l->kernel && l->kernel_size >= file_len && l->dtb_max == BOOT_DTB_MAX);
	must(l->kernel % (2 * MIB) == text_offset % (2 * MIB) || !memcmp(file + 16, "\0\0\0\0\0\0\0", 8));
	must(!(l->dtb % 8) && l->dtb / (2 * MIB) == (l->dtb + l->dtb_max - 1) / (2 * MIB));
	must(apart(l->kernel, l->kernel_size, l->dtb, l->dtb_max) && l->initrd_size == initrd_size);
	if (!initrd_size)
		return;
	must(inside(l->initrd, initrd_size, ram_size));
	must(apart(l->initrd, initrd_size, l->kernel, l->kernel_size) && apart(l->initrd, initrd_size, l->dtb, l->dtb_max));
}

static void check_error(int r, const struct err *err)
{
	size_t len = strnlen(err->text, sizeof(err->text));

	must(r == -ENOEXEC || r == -EFBIG || r == -EIO);
	must(len && len < sizeof(err->text) && (strstr(err->text, "a-kernel") || strstr(err->text, "an-initrd")));
	for (size_t i = 0; i < len; i++)
		must(isprint((unsigned char)err->text[i]));
}

static UNTRACED bool guard_whole(uint64_t from)
{
	const uint8_t *p = gmem_ptr(mem, RAM + from, GUARD_SIZE);

	for (unsigned i = 0; i < GUARD_SIZE; i++)
		if (p[i] != GUARD)
			return false;
	return true;
}

/* Names for anything: each is a line that ends in its buffer. */
static void describe(const uint8_t *data, size_t size)
{
	char text[160], small[8];
	struct image_header h;

	header_describe(data, size, text, sizeof(text));
	must(strnlen(text, sizeof(text)) < sizeof(text) && text[0]);
	header_describe(data, size, small, sizeof(small));
	must(strnlen(small, sizeof(small)) < sizeof(small));
	(void)header_parse(data, size, &h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t packed[80 * 1024];
	struct fuzz_in in = { .p = data, .left = size };
	uint8_t how = fuzz_u8(&in);
	uint64_t usable = RAM_SIZE - GUARD_SIZE - fuzz_u8(&in) * 0x4000ull;
	uint8_t wrap = 0;
	size_t initrd_len = how & 1 ? fuzz_u16(&in) + 1 : 0, second = initrd_len && how & 0x80 ? initrd_len / 3 + 1 : 0, len;
	struct boot_files f = { .kernel.name = "a-kernel" };
	struct boot_layout l;
	struct err err = { "" };
	int r;

	describe(data, size);
	make_kernel(&in, usable);
	if (how & 2) {
		wrap = fuzz_u8(&in);
		len = pack(packed, sizeof(packed), how >> 4 & 7, wrap, &in);
		if (how & 4)
			len = len * fuzz_u8(&in) / 256; /* cut */
		if (how & 8 && len)
			packed[fuzz_u16(&in) % len] ^= fuzz_u8(&in);
		f.kernel.fd = file_of(packed, len);
	} else {
		f.kernel.fd = file_of(file, file_len);
	}
	if (initrd_len)
		f.initrds[f.nr_initrds++] = (struct boot_file){ "an-initrd", file_of(packed, initrd_len) };
	if (second)
		f.initrds[f.nr_initrds++] = (struct boot_file){ "an-initrd", file_of(packed, second) };
	must(gmem_new(&mem) == 0 && gmem_add(mem, RAM, RAM_SIZE, false) == 0);
	memset(gmem_ptr(mem, RAM + usable, GUARD_SIZE), GUARD, GUARD_SIZE);
	r = boot_load(&f, mem, usable, IMAGE_PAGES_ALL & (how | 1), &l, &err);
	must(guard_whole(usable));
	if (r) {
		check_error(r, &err);
	} else {
		if ((how & 10) != 10 && !(wrap & 4)) {
			check_layout(&l, usable, l.initrd_size);
			must(!memcmp(gmem_ptr(mem, l.kernel, file_len), file, file_len));
		}
		must(!!initrd_len == !!l.initrd_size);
		if (initrd_len)
			check_initrds(&l, packed, initrd_len, second);
	}
	gmem_free(mem);
	close(f.kernel.fd);
	for (unsigned i = 0; i < f.nr_initrds; i++)
		close(f.initrds[i].fd);
	return 0;
}
