// SPDX-License-Identifier: BSD-3-Clause
#include "devices/vfio/slices.h"

#include "vmm/base/checked.h"

/* The whole pages of @s inside the region; size 0: none. */
static struct slice whole_pages(struct slice s, uint64_t region_size, uint64_t page)
{
	uint64_t start, end;

	if (!range_fits(s.off, s.size, region_size) || s.off > UINT64_MAX - page)
		return (struct slice){ 0, 0 };
	start = align_up(s.off, page);
	end = align_down(s.off + s.size, page);
	return end > start ? (struct slice){ start, end - start } : (struct slice){ 0, 0 };
}

/*
 * The first hole, widened to pages, that ends behind @at: its pages, or [@end, @end) where there is
 * none. A hole that leaves the region is cut at its end: what it names there does not exist.
 */
static struct slice next_hole(const struct slice *holes, unsigned n, uint64_t at, uint64_t end, uint64_t page)
{
	struct slice next = { end, 0 };

	for (unsigned i = 0; i < n; i++) {
		uint64_t start, stop;

		if (!holes[i].size || holes[i].off >= end)
			continue;
		start = align_down(holes[i].off, page);
		stop = holes[i].size > end - holes[i].off ? end : align_up(holes[i].off + holes[i].size, page);
		if (stop <= at || start >= next.off)
			continue;
		next = (struct slice){ start, stop - start };
	}
	return next;
}

static unsigned cut_one(struct slice area, const struct slice *holes, unsigned nr_holes, uint64_t page,
			struct slice *ret, unsigned cap)
{
	const uint64_t end = area.off + area.size;
	uint64_t at = area.off;
	unsigned n = 0;

	while (at < end && n < cap) {
		struct slice hole = next_hole(holes, nr_holes, at, end, page);

		if (hole.off > at)
			ret[n++] = (struct slice){ at, hole.off - at };
		at = hole.size ? hole.off + hole.size : end;
	}
	return n;
}

unsigned slices_cut(const struct slice *areas, unsigned nr_areas, const struct slice *holes, unsigned nr_holes,
		    uint64_t region_size, uint64_t page, struct slice *ret, unsigned cap)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr_areas; i++) {
		struct slice area = whole_pages(areas[i], region_size, page);

		n += cut_one(area, holes, nr_holes, page, ret + n, cap - n);
	}
	return n;
}
