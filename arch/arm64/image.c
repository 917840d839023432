/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plain Image is read straight to its place: a look at the first 4 KiB says where that is. A
 * packed one (gzip, zstd, either within an EFI zboot kernel) is unpacked: the first 4 KiB into a buffer, for
 * the same look, the rest straight into guest memory, never beyond its end. The place of kernel depends on its
 * header alone, so what only the unpacked length decides (device tree, initrd) is placed again afterwards.
 *
 * Files are read, not mapped: one that shrinks meanwhile is a short read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/arm64/header.h"
#include "arch/arm64/image.h"
#include "arch/arm64/place.h"
#include "arch/arm64/unpack.h"
#include "vmm/base/checked.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"

static const char *file_problem(const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return st->st_size ? NULL : "is empty";
	case S_IFDIR:
		return "is a directory";
	case S_IFIFO:
		return "is a FIFO, and a regular file is needed";
	default:
		return "is a device, and a regular file is needed";
	}
}

/* O_NONBLOCK: opening a FIFO would wait for a writer. */
int image_open(const char *what, const char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *problem;
	struct stat st;

	if (fd < 0 && errno == ENXIO)
		return err_set(err, -EINVAL, "%s: '%s' is a socket or device, and a regular file is needed", what,
			       path);
	if (fd < 0 || fstat(fd, &st))
		return err_set(err, -errno, "%s: open '%s': %s", what, path, strerror(errno));
	problem = file_problem(&st);
	if (problem)
		return err_set(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL, "%s: '%s' %s", what, path, problem);
	*ret_fd = fd_note(steal_fd(&fd), FD_IMAGE);
	return 0;
}

static int read_error(const char *what, const char *name, int rc, struct err *err)
{
	return err_set(err, rc, "%s: reading '%s': %s", what, name, strerror(-rc));
}

/* All of @len bytes, else an error. */
static int read_all(const char *what, const char *name, int fd, void *buf, uint64_t len, struct err *err)
{
	uint64_t got = 0;
	int rc = unpack_read_plain(fd, buf, len, 0, &got);

	if (rc)
		return read_error(what, name, rc, err);
	if (got < len)
		return err_set(err, -EIO, "%s: '%s' became shorter while it was read", what, name);
	return 0;
}

#define INITRD_ALIGN 4 /* where an archive may begin behind another */

/* Everything that loading one kernel and its initrds needs to know. */
struct load {
	const struct boot_files *f;
	struct gmem *mem;
	gpa_t ram;
	uint64_t ram_size;
	unsigned page_sizes;
	uint64_t kernel_file;                   /* bytes */
	uint64_t initrd_files[BOOT_MAX_INITRDS];
	uint64_t initrds;                       /* bytes, from the first to the end of the last */
	struct image_packing packing;
	struct image_header head;
	struct boot_layout layout;
	struct err *err;
};

static unsigned long long mib(uint64_t bytes)
{
	return (bytes >> 20) + !!(bytes & (MIB - 1));
}

static int initrds_too_large(const struct load *l, uint64_t kernel_size)
{
	unsigned more = l->f->nr_initrds - 1;
	char with[40] = "";

	if (more)
		snprintf(with, sizeof(with), " with the %u behind it", more);
	return err_set(l->err, -EFBIG,
		       "initrd: '%s'%s (%llu MiB) does not fit behind the kernel (%llu MiB) in %llu MiB of memory "
		       "(give more with --memory)",
		       l->f->initrds[0].name, with, mib(l->initrds), mib(kernel_size), mib(l->ram_size));
}

static int place(struct load *l, uint64_t kernel_size)
{
	const struct place_need need = {
		.ram = l->ram, .ram_size = l->ram_size, .text_offset = l->head.text_offset,
		.kernel_size = kernel_size, .initrd_size = l->initrds,
	};
	int rc = place_all(&need, &l->layout);

	if (rc == -E2BIG && l->initrds)
		return initrds_too_large(l, kernel_size);
	if (rc)
		return err_set(l->err, -EFBIG,
			       "kernel: '%s' takes %llu MiB, which %llu MiB of memory cannot hold "
			       "(give more with --memory)",
			       l->f->kernel.name, mib(kernel_size), mib(l->ram_size));
	return 0;
}

/* What the kernel occupies once it runs. Old headers do not say: as much again for its BSS. */
static uint64_t claimed_size(const struct load *l, uint64_t file_size)
{
	uint64_t size = l->head.image_size ? l->head.image_size : 2 * file_size;

	return size > file_size ? size : file_size;
}

static int not_a_kernel(const struct load *l, const uint8_t *buf, size_t len)
{
	const struct image_packing *p = &l->packing;
	char text[160], within[40] = "";

	header_describe(buf, len, text, sizeof(text));
	if (p->how != PACKED_NOT)
		snprintf(within, sizeof(within), "%s of what is ", p->zboot ? "an EFI zboot kernel" :
			 p->how == PACKED_ZSTD ? "a zstd" : "a gzip");
	return err_set(l->err, -ENOEXEC, "kernel: '%s' is %s%s", l->f->kernel.name, within, text);
}

static const char *pages_name(unsigned pages)
{
	return pages == IMAGE_PAGES_64K ? "64 KiB" : pages == IMAGE_PAGES_16K ? "16 KiB" : "4 KiB";
}

static int check_header(const struct load *l)
{
	const struct image_header *h = &l->head;

	if (h->big_endian)
		return err_set(l->err, -ENOEXEC, "kernel: '%s' is big-endian, and only little-endian kernels run here",
			       l->f->kernel.name);
	if (h->text_offset >= 2 * MIB)
		return err_set(l->err, -ENOEXEC, "kernel: '%s' is corrupt: its header asks for the offset 0x%llx",
			       l->f->kernel.name, (unsigned long long)h->text_offset);
	if (h->pages && !(h->pages & l->page_sizes))
		return err_set(l->err, -ENOEXEC, "kernel: '%s' is built for pages of %s, which this host's CPU cannot do",
			       l->f->kernel.name, pages_name(h->pages));
	return 0;
}

static int check_whole(const struct load *l, uint64_t size)
{
	if (size >= l->head.file_size)
		return 0;
	return err_set(l->err, -ENOEXEC, "kernel: '%s' is truncated: %llu bytes of %llu", l->f->kernel.name,
		       (unsigned long long)size, (unsigned long long)l->head.file_size);
}

static int load_plain(struct load *l, const uint8_t *peek, uint64_t peek_len)
{
	void *to;
	int rc;

	if (header_parse(peek, peek_len, &l->head))
		return not_a_kernel(l, peek, peek_len);
	rc = check_header(l);
	if (!rc)
		rc = check_whole(l, l->kernel_file);
	if (!rc)
		rc = place(l, claimed_size(l, l->kernel_file));
	if (rc)
		return rc;
	/* A kernel that does not fill a huge page is not worth zeroing one; the device tree lies behind it. */
	if (l->layout.kernel_size < 2 * MIB)
		gmem_keep_small(l->mem, l->layout.kernel, l->layout.dtb + l->layout.dtb_max - l->layout.kernel);
	to = gmem_ptr(l->mem, l->layout.kernel, l->kernel_file);
	if (!to)
		return err_set(l->err, -EFAULT, "kernel: no memory at its place");
	return read_all("kernel", l->f->kernel.name, l->f->kernel.fd, to, l->kernel_file, l->err);
}

static int unpack_error(const struct load *l, int rc)
{
	const char *name = l->f->kernel.name, *how = unpack_name(l->packing.how);

	if (rc == -ENODATA)
		return err_set(l->err, -ENOEXEC, "kernel: '%s' is truncated: its %s data has no end", name, how);
	if (rc == -EBADMSG)
		return err_set(l->err, -ENOEXEC, "kernel: '%s' is corrupt: its %s data cannot be unpacked", name, how);
	if (rc == -E2BIG)
		return err_set(l->err, -ENOEXEC, "kernel: '%s': its %s data wants more than 128 MiB to be unpacked", name, how);
	return read_error("kernel", name, rc, l->err);
}

/* Everything behind the first @have bytes, which are at the kernel's place already. */
static int unpack_rest(struct load *l, struct unpack *u, uint64_t have, uint64_t *ret_size)
{
	uint64_t room = l->ram + l->ram_size - l->layout.kernel, n, extra;
	uint8_t *to = gmem_ptr(l->mem, l->layout.kernel, room), beyond;
	int rc;

	if (!to)
		return err_set(l->err, -EFAULT, "kernel: no memory at its place");
	rc = unpack_read(u, to + have, room - have, &n);
	if (rc)
		return unpack_error(l, rc);
	rc = unpack_read(u, &beyond, 1, &extra);
	if (rc)
		return unpack_error(l, rc);
	if (extra)
		return err_set(l->err, -EFBIG,
			       "kernel: '%s' unpacks to more than %llu MiB of memory can hold (give more with --memory)",
			       l->f->kernel.name, mib(l->ram_size));
	*ret_size = have + n;
	return 0;
}

static int load_unpacked(struct load *l, struct unpack *u)
{
	uint8_t peek[HEADER_PEEK];
	uint64_t len, size = 0;
	int rc = unpack_read(u, peek, sizeof(peek), &len);

	if (rc)
		return unpack_error(l, rc);
	if (header_parse(peek, len, &l->head))
		return not_a_kernel(l, peek, len);
	rc = check_header(l);
	if (!rc)
		rc = place(l, claimed_size(l, len));
	if (rc)
		return rc;
	rc = gmem_write(l->mem, l->layout.kernel, peek, len);
	if (rc)
		return err_set(l->err, rc, "kernel: no memory at its place");
	rc = unpack_rest(l, u, len, &size);
	if (!rc)
		rc = check_whole(l, size);
	return rc ? rc : place(l, claimed_size(l, size));
}

static int load_packed(struct load *l)
{
	const struct image_packing *p = &l->packing;
	struct unpack *u = NULL;
	int rc;

	if (!range_fits(p->off, p->len, l->kernel_file))
		return err_set(l->err, -ENOEXEC, "kernel: '%s' is truncated: %llu bytes of %llu", l->f->kernel.name,
			       (unsigned long long)l->kernel_file, (unsigned long long)(p->off + p->len));
	rc = unpack_new(p->how, l->f->kernel.fd, p->off, p->len, &u);
	if (rc)
		return unpack_error(l, rc);
	rc = load_unpacked(l, u);
	unpack_free(u);
	return rc;
}

static int load_kernel(struct load *l)
{
	uint8_t peek[HEADER_PEEK];
	uint64_t want = l->kernel_file < sizeof(peek) ? l->kernel_file : sizeof(peek), len = 0;
	int rc = unpack_read_plain(l->f->kernel.fd, peek, want, 0, &len);

	if (rc)
		return read_error("kernel", l->f->kernel.name, rc, l->err);
	l->packing = header_packing(peek, len, l->kernel_file);
	return l->packing.how == PACKED_NOT ? load_plain(l, peek, len) : load_packed(l);
}

/* Between two are zeroes, as the kernel wants them. */
static int load_initrds(struct load *l)
{
	uint8_t *to = l->initrds ? gmem_ptr(l->mem, l->layout.initrd, l->initrds) : NULL;
	uint64_t at = 0;

	if (l->initrds && !to)
		return err_set(l->err, -EFAULT, "initrd: no memory at its place");
	for (unsigned i = 0; i < l->f->nr_initrds; i++) {
		const struct boot_file *f = &l->f->initrds[i];
		uint64_t begin = align_up(at, INITRD_ALIGN);
		int rc;

		memset(to + at, 0, begin - at);
		rc = read_all("initrd", f->name, f->fd, to + begin, l->initrd_files[i], l->err);
		if (rc)
			return rc;
		at = begin + l->initrd_files[i];
	}
	return 0;
}

static int file_size(const char *what, const char *name, int fd, uint64_t *ret_size, struct err *err)
{
	off_t end = lseek(fd, 0, SEEK_END); /* nobody reads from where it stands */

	if (end < 0)
		return read_error(what, name, -errno, err);
	*ret_size = (uint64_t)end;
	return 0;
}

/* Files of any size: the sum may be past 64 bits. */
static int measure_initrds(struct load *l)
{
	for (unsigned i = 0; i < l->f->nr_initrds; i++) {
		const struct boot_file *f = &l->f->initrds[i];
		int rc = file_size("initrd", f->name, f->fd, &l->initrd_files[i], l->err);

		if (rc)
			return rc;
		if (l->initrds > UINT64_MAX - INITRD_ALIGN ||
		    __builtin_add_overflow(align_up(l->initrds, INITRD_ALIGN), l->initrd_files[i], &l->initrds))
			return err_set(l->err, -EFBIG, "initrd: '%s' and those before it are more than any memory holds", f->name);
	}
	return 0;
}

int boot_load(const struct boot_files *f, struct gmem *mem, uint64_t ram_size, unsigned page_sizes,
	      struct boot_layout *ret_l, struct err *err)
{
	const struct gmem_region *r = gmem_region(mem, 0);
	struct load l = {
		.f = f, .mem = mem, .ram = r->gpa, .page_sizes = page_sizes, .err = err,
		.ram_size = ram_size < r->size ? ram_size : r->size,
	};
	int rc = file_size("kernel", f->kernel.name, f->kernel.fd, &l.kernel_file, err);

	if (!rc)
		rc = measure_initrds(&l);
	if (!rc)
		rc = load_kernel(&l);
	if (!rc)
		rc = load_initrds(&l);
	if (!rc)
		*ret_l = l.layout;
	return rc;
}
