/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slices - which parts of a BAR the guest may touch by itself
 *
 * What:   from the areas that the kernel lets us map, without the pages that hold a register we
 *         answer for (MSI-X table, pending bits): whole host pages, in order.
 * Not:    mapping anything (pass_bar.c).
 * Trust:  areas come from the kernel, holes from the device's configuration space: neither is
 *         believed; what does not lie in the region counts as not there.
 * Thread: pure.
 * Source: Linux include/uapi/linux/vfio.h (sparse mmap areas, MSIX_MAPPABLE).
 */
#ifndef DEVICES_VFIO_SLICES_H
#define DEVICES_VFIO_SLICES_H

#include "vmm/base/types.h"

struct slice {
	uint64_t off, size; /* bytes from the region's start */
};

/*
 * @areas less @holes, within [0, @region_size), by pages of @page bytes (a power of two): a page
 * that an area covers in part or that a hole touches is left out. At most @cap slices go to
 * @ret; those that find no room are left out, too. Returns how many.
 */
unsigned slices_cut(const struct slice *areas, unsigned nr_areas, const struct slice *holes, unsigned nr_holes,
		    uint64_t region_size, uint64_t page, struct slice *ret, unsigned cap);

#endif
