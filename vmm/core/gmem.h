/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gmem - guest memory: the only place that turns a guest address into a pointer
 *
 * What:   up to GMEM_MAX_REGIONS ranges of guest RAM, each backed by one mapping.
 * Not:    MMIO (bus.h), rings (devices/virtio/vq.h).
 * Trust:  every GPA and length may be hostile; a range is good only if it lies wholly
 *         inside one region. Contents change under us at any time: copy, check, use.
 * Thread: regions are added before any other thread exists; look-ups are lock-free after.
 * Source: mmap(2), madvise(2); KVM api.rst, KVM_SET_USER_MEMORY_REGION (alignment for huge pages).
 */
#ifndef VMM_CORE_GMEM_H
#define VMM_CORE_GMEM_H

#include "vmm/base/err.h"
#include "vmm/base/rights.h"
#include "vmm/base/types.h"

#define GMEM_MAX_REGIONS 8

struct gmem;

struct gmem_region {
	gpa_t gpa;
	uint64_t size; /* bytes */
	void *hva;
	int fd;        /* memfd where shared, else -1; owned by gmem */
};

/* -ENOMEM. */
int gmem_new(struct gmem **ret_m);
void gmem_free(struct gmem *m); /* unmaps; NULL is fine */

/*
 * Maps @size bytes (multiple of the page) of zeroed memory at @gpa: private, MAP_NORESERVE,
 * advised for transparent huge pages where it is large enough to pay, with a PROT_NONE
 * guard page on each side; @shared: backed by a memfd, for other processes, whose size is sealed (huge pages are then the
 * host's choice: /sys/kernel/mm/transparent_hugepage/shmem_enabled).
 * -EINVAL: overlap, alignment, wrap; -ENOSPC: too many regions; -ENOMEM; and of a shared one memfd_create(2)'s and
 * ftruncate(2)'s: -EMFILE, -ENFILE, -EFBIG (above the limit of a file's size).
 */
int gmem_add(struct gmem *m, gpa_t gpa, uint64_t size, bool shared);

/* Borrowed; @i below gmem_nr_regions(). In the order they were added. */
unsigned gmem_nr_regions(const struct gmem *m);
const struct gmem_region *gmem_region(const struct gmem *m, unsigned i);

/* HVA of [@gpa, @gpa + @len), or NULL unless it lies wholly inside one region (a @len of 0 too: its address must be inside). */
void *gmem_ptr(const struct gmem *m, gpa_t gpa, uint64_t len);

/* Copies; -EFAULT unless the guest range lies wholly inside one region. */
int gmem_read(const struct gmem *m, gpa_t gpa, void *dst, size_t len);
int gmem_write(const struct gmem *m, gpa_t gpa, const void *src, size_t len);

/*
 * Advises small pages for the 2 MiB blocks around [@gpa, @gpa + @len), before they are first
 * touched. For the loader of a small payload (well below 2 MiB): the first write to a block
 * would otherwise zero a whole huge page. Advice only; what is no RAM is ignored.
 */
void gmem_keep_small(const struct gmem *m, gpa_t gpa, uint64_t len);

/*
 * Gives the host's pages that lie wholly inside the @len bytes at @at, a pointer of gmem_ptr()'s or inside one, back to the
 * host: they read as zeros from then on, and cost memory again when they are next written. What is less than a page at
 * either end stays as it is. *@ret_len: bytes given back, 0 where no page is whole. Any thread that has the right.
 * Of a shared region they are gone from all who share it. -EFAULT: not wholly inside one region; madvise(2)'s errors (-EINVAL:
 * the memory is locked).
 */
int gmem_give_back(const struct gmem *m, const void *at, uint64_t len, uint64_t *ret_len);

/* For the filters of system calls. */
extern const struct right gmem_rights[];

#endif
