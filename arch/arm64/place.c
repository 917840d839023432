/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "arch/arm64/place.h"
#include "vmm/base/checked.h"

#define CHUNK (2 * MIB)
#define PAGE (64 * KIB) /* the largest that a guest uses */
#define INITRD_WINDOW (32 * GIB)

/* Everything here is an offset from the start of RAM. */
static uint64_t dtb_offset(gpa_t ram, uint64_t kernel_end)
{
	gpa_t at = align_up(ram + kernel_end, PAGE);

	if (align_down(at, CHUNK) != align_down(at + BOOT_DTB_MAX - 1, CHUNK))
		at = align_up(at, CHUNK);
	return at - ram;
}

int place_all(const struct place_need *n, struct boot_layout *ret_l)
{
	uint64_t base = align_up(n->ram, CHUNK) - n->ram;
	uint64_t kernel, dtb, initrd;

	/* Nothing above wraps: RAM ends 2 GiB or more below the top of the 64-bit space. */
	if (base > n->ram_size || n->text_offset > n->ram_size - base)
		return -EFBIG;
	kernel = base + n->text_offset;
	if (!range_fits(kernel, n->kernel_size, n->ram_size))
		return -EFBIG;
	dtb = dtb_offset(n->ram, kernel + n->kernel_size);
	if (!range_fits(dtb, BOOT_DTB_MAX, n->ram_size))
		return -E2BIG;
	initrd = align_up(dtb + BOOT_DTB_MAX, PAGE);
	if (n->initrd_size && !range_fits(initrd, n->initrd_size, n->ram_size))
		return -E2BIG;
	if (n->initrd_size && initrd + n->initrd_size > INITRD_WINDOW - GIB)
		return -E2BIG;
	ret_l->entry = ret_l->kernel = n->ram + kernel;
	ret_l->kernel_size = n->kernel_size;
	ret_l->dtb = n->ram + dtb;
	ret_l->dtb_max = BOOT_DTB_MAX;
	ret_l->initrd = n->initrd_size ? n->ram + initrd : 0;
	ret_l->initrd_size = n->initrd_size;
	return 0;
}
