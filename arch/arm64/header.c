/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/arm64/header.h"
#include "arch/arm64/image.h"
#include "vmm/base/checked.h"

/* The Image header. */
#define OFF_TEXT_OFFSET 8
#define OFF_IMAGE_SIZE 16
#define OFF_FLAGS 24
#define OFF_MAGIC 56
#define OFF_PE 60
#define FLAG_BIG_ENDIAN 1u

/* PE: signature and COFF header, then the optional header, then the sections. */
#define PE_HEAD_SIZE 24
#define PE_NR_SECTIONS 6
#define PE_OPT_SIZE 20
#define PE_SECTION_SIZE 40
#define PE_RAW_SIZE 16
#define PE_RAW_OFFSET 20

/* The EFI zboot wrapper: a program for EFI with a packed Image in it. */
#define OFF_ZBOOT_PAYLOAD 8
#define OFF_ZBOOT_SIZE 12
#define OFF_ZBOOT_TYPE 24

static uint64_t le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

static bool has(const uint8_t *buf, size_t len, size_t off, const char *magic, size_t n)
{
	return range_fits(off, n, len) && !memcmp(buf + off, magic, n);
}

/* How long the sections say that the file is; 0 where there is no (whole) section table. */
static uint64_t pe_file_size(const uint8_t *buf, size_t len)
{
	uint64_t pe = le(buf + OFF_PE, 4), table, end = 0;
	unsigned nr;

	if (!has(buf, len, 0, "MZ", 2) || !has(buf, len, pe, "PE\0\0", 4) || !range_fits(pe, PE_HEAD_SIZE, len))
		return 0;
	nr = (unsigned)le(buf + pe + PE_NR_SECTIONS, 2);
	table = pe + PE_HEAD_SIZE + le(buf + pe + PE_OPT_SIZE, 2);
	if (!range_fits(table, (uint64_t)nr * PE_SECTION_SIZE, len))
		return 0;
	for (unsigned i = 0; i < nr; i++) {
		const uint8_t *s = buf + table + (uint64_t)i * PE_SECTION_SIZE;
		uint64_t size = le(s + PE_RAW_SIZE, 4);

		if (size && le(s + PE_RAW_OFFSET, 4) + size > end)
			end = le(s + PE_RAW_OFFSET, 4) + size;
	}
	return end;
}

int header_parse(const uint8_t *buf, size_t len, struct image_header *ret_h)
{
	static const unsigned pages[] = { 0, IMAGE_PAGES_4K, IMAGE_PAGES_16K, IMAGE_PAGES_64K };
	uint64_t flags;

	if (len < HEADER_MIN || !has(buf, len, OFF_MAGIC, "ARM\x64", 4))
		return -ENOEXEC;
	flags = le(buf + OFF_FLAGS, 8);
	ret_h->text_offset = le(buf + OFF_TEXT_OFFSET, 8);
	ret_h->image_size = le(buf + OFF_IMAGE_SIZE, 8);
	ret_h->big_endian = flags & FLAG_BIG_ENDIAN;
	ret_h->pages = pages[flags >> 1 & 3];
	ret_h->file_size = pe_file_size(buf, len);
	/* Before 3.17 image_size and flags were 0, and text_offset could not be relied upon. */
	if (!ret_h->image_size)
		ret_h->text_offset = 0x80000;
	return 0;
}

static bool is_gzip(const uint8_t *buf, size_t len)
{
	return has(buf, len, 0, "\x1f\x8b", 2);
}

static bool is_zstd(const uint8_t *buf, size_t len)
{
	return has(buf, len, 0, "\x28\xb5\x2f\xfd", 4);
}

static bool is_zboot(const uint8_t *buf, size_t len)
{
	return len >= HEADER_MIN && has(buf, len, 0, "MZ", 2) && has(buf, len, 4, "zimg", 4);
}

/* The names that the kernel's build gives to what we can unpack; zstd22 is zstd at its level 22. */
static enum packing zboot_packing(const uint8_t *buf, size_t len)
{
	if (has(buf, len, OFF_ZBOOT_TYPE, "gzip", 5))
		return PACKED_GZIP;
	if (has(buf, len, OFF_ZBOOT_TYPE, "zstd", 5) || has(buf, len, OFF_ZBOOT_TYPE, "zstd22", 7))
		return PACKED_ZSTD;
	return PACKED_NOT;
}

struct image_packing header_packing(const uint8_t *buf, size_t len, uint64_t size)
{
	if (is_zboot(buf, len))
		return (struct image_packing){
			.how = zboot_packing(buf, len), .zboot = true,
			.off = le(buf + OFF_ZBOOT_PAYLOAD, 4), .len = le(buf + OFF_ZBOOT_SIZE, 4),
		};
	return (struct image_packing){
		.how = is_gzip(buf, len) ? PACKED_GZIP : is_zstd(buf, len) ? PACKED_ZSTD : PACKED_NOT, .len = size,
	};
}

#define USE_IMAGE "; use Image or Image.gz"

/* The first match counts. */
static const struct kind {
	size_t off, len;
	const char *magic, *text;
} kinds[] = {
	{ 0x202, 4, "HdrS", "an x86 kernel (bzImage), not one for arm64" },
	{ 56, 4, "RSC\x05", "a RISC-V kernel, not one for arm64" },
	{ 0x24, 4, "\x18\x28\x6f\x01", "a 32-bit Arm kernel (zImage), not one for arm64" },
	{ 0, 6, "\xfd" "7zXZ\0", "compressed with xz, which is not supported" USE_IMAGE },
	{ 0, 4, "\x02\x21\x4c\x18", "compressed with lz4, which is not supported" USE_IMAGE },
	{ 0, 4, "\x04\x22\x4d\x18", "compressed with lz4, which is not supported" USE_IMAGE },
	{ 0, 3, "BZh", "compressed with bzip2, which is not supported" USE_IMAGE },
	{ 0, 3, "\x5d\0\0", "compressed with lzma, which is not supported" USE_IMAGE },
	{ 0, 4, "\x89LZO", "compressed with lzop, which is not supported" USE_IMAGE },
	{ 0, 4, "PK\3\4", "a zip archive, not a kernel" },
	{ 0, 4, "\xd0\x0d\xfe\xed", "a device tree or FIT image, not a kernel" },
	{ 0, 4, "\x27\x05\x19\x56", "a U-Boot uImage, which is not supported" USE_IMAGE },
	{ 0, 8, "ANDROID!", "an Android boot image, which is not supported" USE_IMAGE },
	{ 0, 5, "07070", "a cpio archive, as an initrd is (give it with --initrd)" },
	{ 0, 7, "!<arch>", "a package or library (ar), not a kernel" },
	{ 0, 4, "QFI\xfb", "a disk image (qcow2), not a kernel" },
	{ 0, 4, "hsqs", "a squashfs, not a kernel" },
	{ 0x438, 2, "\x53\xef", "a file system (ext4), not a kernel" },
	{ 257, 5, "ustar", "a tar archive, not a kernel" },
	{ 0, 2, "#!", "a script, not a kernel" },
};

static const char *elf_kind(const uint8_t *buf, size_t len)
{
	unsigned machine = len >= 20 ? (unsigned)le(buf + 18, 2) : 0;

	switch (machine) {
	case 183:
		return "an ELF file for arm64 (vmlinux?); use arch/arm64/boot/Image of the same build";
	case 62:
		return "an ELF file for x86-64, not an arm64 Image";
	default:
		return "an ELF file, not an arm64 Image";
	}
}

/* The zboot header's field is a NUL-terminated word such as "gzip". One that we know is here where it was packed once more. */
static void describe_zboot(const uint8_t *buf, size_t len, char *ret_text, size_t cap)
{
	char word[9] = "";

	if (zboot_packing(buf, len) != PACKED_NOT) {
		snprintf(ret_text, cap, "an EFI zboot kernel; give that one");
		return;
	}
	for (size_t i = 0; i < sizeof(word) - 1 && OFF_ZBOOT_TYPE + i < len; i++) {
		uint8_t c = buf[OFF_ZBOOT_TYPE + i];

		if (!isalnum(c))
			break;
		word[i] = (char)c;
	}
	snprintf(ret_text, cap, "an EFI zboot kernel with %s, which is not supported; unpack it first, or use one with gzip or zstd",
		 word[0] ? word : "an unnamed compression");
}

static const char *plain_kind(const uint8_t *buf, size_t len)
{
	size_t n = len < HEADER_MIN ? len : HEADER_MIN, zeros = 0, printable = 0;

	for (size_t i = 0; i < n; i++) {
		zeros += !buf[i];
		printable += isprint(buf[i]) || isspace(buf[i]);
	}
	if (printable == n)
		return "a text file, not a kernel";
	if (len < HEADER_MIN)
		return "too short to be a kernel";
	if (zeros == n)
		return "full of zeros, not a kernel";
	return "not an arm64 Image (it has no Image header)";
}

void header_describe(const uint8_t *buf, size_t len, char *ret_text, size_t cap)
{
	const char *text = NULL;

	if (is_zboot(buf, len)) {
		describe_zboot(buf, len, ret_text, cap);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds) && !text; i++)
		if (has(buf, len, kinds[i].off, kinds[i].magic, kinds[i].len))
			text = kinds[i].text;
	if (!text && has(buf, len, 0, "\x7f" "ELF", 4))
		text = elf_kind(buf, len);
	if (!text && len >= HEADER_MIN && has(buf, len, 0, "MZ", 2))
		text = "an EFI program, not an arm64 Image (a unified kernel image holds one)";
	if (!text && (is_gzip(buf, len) || is_zstd(buf, len)))
		text = "compressed once more; unpack it first";
	snprintf(ret_text, cap, "%s", text ? text : plain_kind(buf, len));
}
