// SPDX-License-Identifier: BSD-3-Clause
/*
 * Each region is one reservation of address space, PROT_NONE at first: a guard page, the
 * region, and what is left of an alignment gap with at least one more guard page. The gap
 * makes HVA and GPA equal modulo 2 MiB, so that a huge page of the host can back a block of
 * the guest's second-stage table. Nothing is touched here: a page costs memory when the guest
 * or the loader first writes it.
 *
 * Huge pages are asked for where a region has many of them. For a small payload that is the
 * wrong trade in the few blocks that hold it (2 MiB are zeroed for one page):
 * gmem_keep_small() takes those blocks out again.
 */
#include "vmm/core/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "vmm/base/checked.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/obj.h"

#define HUGE_BLOCK (2 * MIB)
#define HUGE_WORTH (64 * MIB)

/* The reservation around a region, for munmap(). */
struct gmem_map {
	void *base;
	size_t size;
};

struct gmem {
	unsigned nr;
	struct gmem_region regions[GMEM_MAX_REGIONS];
	struct gmem_map maps[GMEM_MAX_REGIONS];
};

int gmem_new(struct gmem **ret_m)
{
	struct gmem *m = obj_new(sizeof(*m));

	if (!m)
		return -ENOMEM;
	*ret_m = m;
	return 0;
}

void gmem_free(struct gmem *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->nr; i++) {
		munmap(m->maps[i].base, m->maps[i].size);
		close_fd(&m->regions[i].fd);
	}
	obj_free(m);
}

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static int check_new(const struct gmem *m, gpa_t gpa, uint64_t size)
{
	uint64_t page = page_size();

	if (!size || !is_aligned(gpa | size, page) || !range_fits(gpa, size, UINT64_MAX))
		return -EINVAL;
	/* room for the guards and the gap */
	if (size > SIZE_MAX / 2)
		return -ENOMEM;
	for (unsigned i = 0; i < m->nr; i++) {
		if (ranges_overlap(gpa, size, m->regions[i].gpa, m->regions[i].size))
			return -EINVAL;
	}
	return m->nr < GMEM_MAX_REGIONS ? 0 : -ENOSPC;
}

/* Sealed at its size: who else has it cannot cut it, which would end us by SIGBUS. */
static int make_memfd(uint64_t size, int *ret_fd)
{
	_cleanup_close_ int fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = fd_note(steal_fd(&fd), FD_MEMORY);
	return 0;
}

/* The first address from @from on that equals @gpa modulo the huge block. */
static char *align_like(char *from, gpa_t gpa)
{
	return from + ((gpa - (uintptr_t)from) & (HUGE_BLOCK - 1));
}

/* Makes @size bytes at @hva, inside a PROT_NONE reservation, usable. */
static int open_up(void *hva, size_t size, int fd)
{
	int flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;

	if (fd < 0)
		return mprotect(hva, size, PROT_READ | PROT_WRITE) < 0 ? -errno : 0;
	return mmap(hva, size, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED ? -errno : 0;
}

static int map_region(struct gmem_region *reg, struct gmem_map *map)
{
	uint64_t page = page_size();
	size_t total = (size_t)(reg->size + 2 * page + HUGE_BLOCK);
	char *base, *hva;
	int r;

	base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	hva = align_like(base + page, reg->gpa);
	r = open_up(hva, (size_t)reg->size, reg->fd);
	if (r < 0) {
		munmap(base, total);
		return r;
	}
	/* Advice: a kernel without huge pages refuses it. */
	if (reg->size >= HUGE_WORTH)
		madvise(hva, (size_t)reg->size, MADV_HUGEPAGE);
	reg->hva = hva;
	*map = (struct gmem_map){ .base = base, .size = total };
	return 0;
}

int gmem_add(struct gmem *m, gpa_t gpa, uint64_t size, bool shared)
{
	struct gmem_region reg = { .gpa = gpa, .size = size, .fd = -1 };
	_cleanup_close_ int fd = -1;
	int r = check_new(m, gpa, size);

	if (r < 0)
		return r;
	if (shared) {
		r = make_memfd(size, &fd);
		if (r < 0)
			return r;
	}
	reg.fd = fd;
	r = map_region(&reg, &m->maps[m->nr]);
	if (r < 0)
		return r;
	reg.fd = steal_fd(&fd);
	m->regions[m->nr++] = reg;
	return 0;
}

unsigned gmem_nr_regions(const struct gmem *m)
{
	return m->nr;
}

const struct gmem_region *gmem_region(const struct gmem *m, unsigned i)
{
	return i < m->nr ? &m->regions[i] : NULL;
}

static const struct gmem_region *find(const struct gmem *m, gpa_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < m->nr; i++) {
		const struct gmem_region *r = &m->regions[i];

		/* strictly below the end, so that an empty range at the end belongs to nobody */
		if (range_within(gpa, len, r->gpa, r->size) && gpa - r->gpa < r->size)
			return r;
	}
	return NULL;
}

void *gmem_ptr(const struct gmem *m, gpa_t gpa, uint64_t len)
{
	const struct gmem_region *r = find(m, gpa, len);

	return r ? (char *)r->hva + (gpa - r->gpa) : NULL;
}

int gmem_read(const struct gmem *m, gpa_t gpa, void *dst, size_t len)
{
	const void *src = gmem_ptr(m, gpa, len);

	if (!src)
		return -EFAULT;
	memcpy(dst, src, len);
	return 0;
}

int gmem_write(const struct gmem *m, gpa_t gpa, const void *src, size_t len)
{
	void *dst = gmem_ptr(m, gpa, len);

	if (!dst)
		return -EFAULT;
	memcpy(dst, src, len);
	return 0;
}

void gmem_keep_small(const struct gmem *m, gpa_t gpa, uint64_t len)
{
	const struct gmem_region *r = find(m, gpa, len);
	uint64_t start, end;

	if (!r)
		return;
	start = align_down(gpa, HUGE_BLOCK);
	end = align_up(gpa + len, HUGE_BLOCK);
	if (start < r->gpa)
		start = r->gpa;
	if (end > r->gpa + r->size)
		end = r->gpa + r->size;
	madvise((char *)r->hva + (start - r->gpa), (size_t)(end - start), MADV_NOHUGEPAGE);
}

static const struct gmem_region *find_hva(const struct gmem *m, uintptr_t at, uint64_t len)
{
	for (unsigned i = 0; i < m->nr; i++)
		if (range_within(at, len, (uintptr_t)m->regions[i].hva, m->regions[i].size))
			return &m->regions[i];
	return NULL;
}

/* A region begins and ends at pages of the host's, so the pages inside of a part of it are its own. */
int gmem_give_back(const struct gmem *m, const void *at, uint64_t len, uint64_t *ret_len)
{
	const struct gmem_region *r = find_hva(m, (uintptr_t)at, len);
	uint64_t page = page_size(), start, end;

	if (!r)
		return -EFAULT;
	start = align_up((uintptr_t)at, page);
	end = align_down((uintptr_t)at + len, page);
	if (start >= end) {
		*ret_len = 0;
		return 0;
	}
	/* to a memfd's pages, dropping our view of them would do nothing */
	if (madvise((char *)r->hva + (start - (uintptr_t)r->hva), (size_t)(end - start), r->fd < 0 ? MADV_DONTNEED : MADV_REMOVE))
		return -errno;
	*ret_len = end - start;
	return 0;
}

const struct right gmem_rights[] = {
	{ RIGHT_LOOP, SYS_madvise, RIGHT_ADVICE, FD_BALLOON, MADV_DONTNEED, "memory that the guest gives back" },
	{ RIGHT_LOOP, SYS_madvise, RIGHT_ADVICE, FD_BALLOON, MADV_REMOVE, "the same, of what other processes share" },
	{ 0 },
};
