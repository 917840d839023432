// SPDX-License-Identifier: BSD-3-Clause
/*
 * A guest maps registers as device memory, which on processors without forced write-back at
 * stage 2 means that its reads pass by the caches. So what is stored here is written back to
 * memory at once. KVM does the same for the whole page when it maps it.
 */
#include "vmm/core/view.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/core/kvm.h"

void view_init(struct view *v, struct hyp *hyp, uint32_t slot, void *page)
{
	*v = (struct view){ .hyp = hyp, .slot = slot, .page = page };
}

int view_attach(struct view *v, gpa_t gpa)
{
	int r;

	if (!v->hyp || sysconf(_SC_PAGESIZE) != VIEW_SIZE)
		return -ENOTSUP;
	if (v->attached && v->gpa == gpa)
		return 0;
	view_detach(v);
	r = hyp_set_memory(v->hyp, v->slot, gpa, VIEW_SIZE, v->page, true);
	if (r < 0)
		return r;
	v->gpa = gpa;
	v->attached = true;
	return 0;
}

void view_detach(struct view *v)
{
	if (!v->attached)
		return;
	hyp_set_memory(v->hyp, v->slot, v->gpa, 0, NULL, false);
	v->attached = false;
}

#ifdef __aarch64__
static void write_back(const char *p, size_t len)
{
	uint64_t ctr, line;

	__asm__("mrs %0, ctr_el0" : "=r"(ctr));
	line = UINT64_C(4) << (ctr >> 16 & 15); /* DminLine: words, as a power of two */
	for (uintptr_t a = (uintptr_t)p & ~(line - 1); a < (uintptr_t)p + len; a += line)
		__asm__ volatile("dc cvac, %0" : : "r"(a) : "memory");
	__asm__ volatile("dsb sy" : : : "memory");
}
#else
static void write_back(const char *p, size_t len)
{
	(void)p;
	(void)len;
}
#endif

/* Of [@p, @p + @len): how many bytes the next store takes. */
static size_t unit(const char *p, size_t len)
{
	for (size_t n = 4; n > 1; n /= 2)
		if (len >= n && is_aligned((uintptr_t)p, n))
			return n;
	return 1;
}

void view_store(void *dst, const void *src, size_t len)
{
	const char *s = src;
	char *d = dst;
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		uint32_t val = 0;

		n = unit(d + i, len - i);
		memcpy(&val, s + i, n);
		if (n == 4)
			__atomic_store_n((uint32_t *)(void *)(d + i), val, __ATOMIC_RELAXED);
		else if (n == 2)
			__atomic_store_n((uint16_t *)(void *)(d + i), (uint16_t)val, __ATOMIC_RELAXED);
		else
			__atomic_store_n(d + i, (char)val, __ATOMIC_RELAXED);
	}
	write_back(d, len);
}
