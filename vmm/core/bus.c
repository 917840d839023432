// SPDX-License-Identifier: BSD-3-Clause
/*
 * The ranges stand in a sorted array under a mutex that is held for a look-up only: the
 * handler runs after it was dropped, so it may add and remove ranges itself (a BAR that the
 * guest moves). A plain mutex, because an uncontended one costs two atomic operations and
 * nothing but FUTEX_WAIT and FUTEX_WAKE of a vCPU thread.
 */
#include "vmm/core/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/obj.h"

/* Devices of a full machine: each virtio-mmio slot, each PCI function with up to six BARs, and some that are always there. */
#define BUS_MAX_RANGES 512

struct bus_range {
	gpa_t gpa;
	uint64_t size;
	const struct bus_ops *ops;
	void *ctx;
};

struct bus {
	pthread_mutex_t lock;
	unsigned nr;
	struct bus_range ranges[BUS_MAX_RANGES]; /* sorted by gpa, none overlaps */
};

int bus_new(struct bus **ret_b)
{
	struct bus *b = obj_new(sizeof(*b));

	if (!b)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
	*ret_b = b;
	return 0;
}

void bus_free(struct bus *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	obj_free(b);
}

/* Index of the first range that starts above @gpa. */
static unsigned above_locked(const struct bus *b, gpa_t gpa)
{
	unsigned low = 0, high = b->nr;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (b->ranges[mid].gpa > gpa)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static int insert_locked(struct bus *b, const struct bus_range *n)
{
	unsigned at = above_locked(b, n->gpa);
	const struct bus_range *before = at ? &b->ranges[at - 1] : NULL;
	const struct bus_range *after = at < b->nr ? &b->ranges[at] : NULL;

	if (before && ranges_overlap(before->gpa, before->size, n->gpa, n->size))
		return -EEXIST;
	if (after && ranges_overlap(after->gpa, after->size, n->gpa, n->size))
		return -EEXIST;
	if (b->nr == BUS_MAX_RANGES)
		return -ENOSPC;
	memmove(&b->ranges[at + 1], &b->ranges[at], (b->nr - at) * sizeof(b->ranges[0]));
	b->ranges[at] = *n;
	b->nr++;
	return 0;
}

int bus_add(struct bus *b, gpa_t gpa, uint64_t size, const struct bus_ops *ops, void *ctx)
{
	struct bus_range n = { .gpa = gpa, .size = size, .ops = ops, .ctx = ctx };
	int r;

	if (!size || !range_fits(gpa, size, UINT64_MAX))
		return -EINVAL;
	pthread_mutex_lock(&b->lock);
	r = insert_locked(b, &n);
	pthread_mutex_unlock(&b->lock);
	return r;
}

int bus_del(struct bus *b, gpa_t gpa, void *ctx)
{
	int r = -ENOENT;
	unsigned at;

	pthread_mutex_lock(&b->lock);
	at = above_locked(b, gpa);
	if (at && b->ranges[at - 1].gpa == gpa && b->ranges[at - 1].ctx == ctx) {
		memmove(&b->ranges[at - 1], &b->ranges[at], (b->nr - at) * sizeof(b->ranges[0]));
		b->nr--;
		r = 0;
	}
	pthread_mutex_unlock(&b->lock);
	return r;
}

static bool len_is_good(unsigned len)
{
	return len == 1 || len == 2 || len == 4 || len == 8;
}

/* Copies the range that holds the whole access; false where none does. */
static bool look_up(struct bus *b, gpa_t gpa, unsigned len, struct bus_range *ret_r)
{
	bool found = false;
	unsigned at;

	if (!len_is_good(len))
		return false;
	pthread_mutex_lock(&b->lock);
	at = above_locked(b, gpa);
	if (at && range_within(gpa, len, b->ranges[at - 1].gpa, b->ranges[at - 1].size)) {
		*ret_r = b->ranges[at - 1];
		found = true;
	}
	pthread_mutex_unlock(&b->lock);
	return found;
}

uint64_t bus_read(struct bus *b, gpa_t gpa, unsigned len)
{
	struct bus_range r;

	if (!look_up(b, gpa, len, &r))
		return width_mask(len);
	return r.ops->read(r.ctx, gpa - r.gpa, len) & width_mask(len);
}

void bus_write(struct bus *b, gpa_t gpa, unsigned len, uint64_t val)
{
	struct bus_range r;

	if (look_up(b, gpa, len, &r))
		r.ops->write(r.ctx, gpa - r.gpa, len, val & width_mask(len));
}
