/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * view - a page of registers that the guest reads without an exit; its writes still come as exits
 *
 * What:   one page of the program's memory, mapped read-only into the guest (a read-only memory
 *         slot), moved and taken away like a doorbell. For registers whose reads have no side
 *         effect: the owner stores every change into the page before whoever caused it goes on.
 * Not:    what the bytes mean; who answers where no view is attached (bus.h). It is a short cut
 *         only: attaching may fail, and then reads come as exits as before.
 * Trust:  the guest reads the whole page at any time and at any width, so a page holds nothing
 *         but registers, and zeroes where there are none.
 * Thread: attach and detach on the loop, or in set-up; the stores on any thread.
 * Source: KVM api.rst, KVM_SET_USER_MEMORY_REGION (KVM_MEM_READONLY); Arm ARM B2.8 (mismatched attributes).
 *
 * Hosts with pages above 4 KiB have no views: other registers would share the page.
 */
#ifndef VMM_CORE_VIEW_H
#define VMM_CORE_VIEW_H

#include "vmm/base/types.h"

#define VIEW_SIZE 4096 /* bytes; a page starts at a multiple of it */

struct hyp;

struct view {
	struct hyp *hyp;
	uint32_t slot; /* KVM's memory slot, nobody else's */
	void *page;
	bool attached;
	gpa_t gpa;
};

/* @page: VIEW_SIZE bytes, borrowed, aligned to as much. @hyp NULL: it never attaches. */
void view_init(struct view *v, struct hyp *hyp, uint32_t slot, void *page);
/*
 * At @gpa, a multiple of VIEW_SIZE. Attached elsewhere: moves. Attached there already: 0, no ioctl.
 * -ENOTSUP: not on this host; else the errors of hyp_set_memory(); then detached.
 */
int view_attach(struct view *v, gpa_t gpa);
void view_detach(struct view *v); /* idempotent; a zeroed @v is fine */

/*
 * Stores @len bytes at @dst, which lies in a view's page: what is aligned to 2 or 4 bytes in units
 * of these, so that no guest sees half a register. Visible also to a guest that maps the page as
 * device memory.
 */
void view_store(void *dst, const void *src, size_t len);

#endif
