// SPDX-License-Identifier: BSD-3-Clause
/*
 * BARs of a device that is handed on. A BAR is always on the bus, with handlers that reach the device
 * by pread(2) and pwrite(2); the pages of it that may be mapped are in memory slots on top, which KVM
 * looks at first. So whatever is not mapped works, and slower: BARs smaller than a page, the pages
 * around the MSI-X table, a slot that KVM refused because another function has its place just now.
 *
 * The guest's COMMAND.Memory decides about slots and handlers alone. The device itself decodes from
 * start to end: an access to a mapping of a device that does not would end the VM.
 *
 * Our own code never touches a mapping: a device that vanishes would make that a SIGBUS.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#include "devices/vfio/pass_priv.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/kvm.h"

/* Accesses that come to us */

/* In part, too: an access across the edge is none to the table, and none to the device's. */
static bool touches(const struct pass_bar *b, unsigned bar, struct slice s, uint64_t off, unsigned len)
{
	return b->index == bar && b->pass->irq.msix && ranges_overlap(off, len, s.off, s.size);
}

static bool in_table(const struct pass_bar *b, uint64_t off, unsigned len)
{
	return touches(b, b->pass->cfg.table_bar, b->pass->cfg.table, off, len);
}

static bool in_pba(const struct pass_bar *b, uint64_t off, unsigned len)
{
	return touches(b, b->pass->cfg.pba_bar, b->pass->cfg.pba, off, len);
}

static uint64_t bar_read(void *ctx, uint64_t off, unsigned len)
{
	struct pass_bar *b = ctx;
	struct pass *p = b->pass;
	uint64_t val = 0;

	if (in_table(b, off, len) || in_pba(b, off, len)) {
		pthread_mutex_lock(&p->lock);
		val = in_table(b, off, len) ? msix_table_read(p->irq.msix, off - p->cfg.table.off, len) :
					      msix_pba_read(p->irq.msix, off - p->cfg.pba.off, len);
		pthread_mutex_unlock(&p->lock);
		return val;
	}
	return hostdev_read(p->fd, &b->region, off, &val, len) ? width_mask(len) : val;
}

static void bar_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct pass_bar *b = ctx;
	struct pass *p = b->pass;

	if (in_table(b, off, len)) {
		pthread_mutex_lock(&p->lock);
		msix_table_write(p->irq.msix, off - p->cfg.table.off, len, val);
		pthread_mutex_unlock(&p->lock);
		pass_settle(p);
		return;
	}
	if (!in_pba(b, off, len)) /* a device that does not answer takes nothing */
		(void)hostdev_write(p->fd, &b->region, off, &val, len);
}

static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };

/* Making */

static void map_slices(struct pass *p, struct pass_bar *b)
{
	struct slice holes[2], cut[PASS_BAR_SLICES];
	unsigned nr_holes = 0, n;

	if (p->cfg.msix_cap && p->cfg.table_bar == b->index)
		holes[nr_holes++] = p->cfg.table;
	if (p->cfg.msix_cap && p->cfg.pba_bar == b->index)
		holes[nr_holes++] = p->cfg.pba;
	n = slices_cut(b->region.areas, b->region.nr_areas, holes, nr_holes, b->region.size,
		       (uint64_t)sysconf(_SC_PAGESIZE), cut, PASS_BAR_SLICES);
	for (unsigned i = 0; i < n; i++) {
		void *map = hostdev_map(p->fd, &b->region, cut[i]);

		if (!map)
			continue;
		b->slices[b->nr_slices] = cut[i];
		b->maps[b->nr_slices++] = map;
	}
}

/* Takes BAR @i, whose register reads @low; *@ret_wide: the next one is its upper half. */
static int init_bar(struct pass *p, unsigned i, uint32_t low, bool *ret_wide, struct err *err)
{
	struct pass_bar *b = &p->bars[i];
	bool wide = (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 && i + 1 < PCI_NUM_BARS;
	int r;

	*ret_wide = false;
	if (low & PCI_BASE_ADDRESS_SPACE_IO) /* there is no I/O space on this bus */
		return 0;
	r = hostdev_region(p->fd, HOSTDEV_BAR0 + i, &b->region);
	if (r)
		return err_set(err, r, "%s: BAR %u: %s", p->name, i, strerror(-r));
	if (!b->region.size)
		return 0;
	if (!is_pow2(b->region.size) || b->region.size < 16 || b->region.size > (wide ? BIT64(62) : 2 * GIB))
		return err_set(err, -EIO, "%s: BAR %u: a size of %#llx cannot be", p->name, i,
			       (unsigned long long)b->region.size);
	if (wide)
		pci_dev_set_bar64(&p->dev, i, b->region.size, &bar_ops, b);
	else
		pci_dev_set_bar(&p->dev, i, b->region.size, &bar_ops, b);
	if (low & PCI_BASE_ADDRESS_MEM_PREFETCH)
		pci_dev_set_prefetchable(&p->dev, i);
	map_slices(p, b);
	*ret_wide = wide;
	return 0;
}

static bool inside(const struct pass *p, unsigned bar, struct slice s)
{
	return range_fits(s.off, s.size, p->bars[bar].region.size);
}

int pass_bars_init(struct pass *p, const uint8_t *raw, struct err *err)
{
	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		p->bars[i].pass = p;
		p->bars[i].index = i;
	}
	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		uint32_t low;
		bool wide;
		int r;

		memcpy(&low, raw + PCI_BASE_ADDRESS_0 + 4 * i, sizeof(low));
		r = init_bar(p, i, low, &wide, err);
		if (r)
			return r;
		i += wide;
	}
	if (p->cfg.msix_cap && (!inside(p, p->cfg.table_bar, p->cfg.table) || !inside(p, p->cfg.pba_bar, p->cfg.pba)))
		return err_set(err, -EIO, "%s: its MSI-X table lies outside of its BARs", p->name);
	return 0;
}

void pass_bars_fini(struct pass *p)
{
	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		struct pass_bar *b = &p->bars[i];

		for (unsigned k = 0; k < b->nr_slices; k++) {
			if (b->slotted[k])
				(void)hyp_set_memory(p->hyp, p->slot + i * PASS_BAR_SLICES + k, 0, 0, NULL, false);
			hostdev_unmap(b->maps[k], b->slices[k]);
		}
		b->nr_slices = 0;
	}
}

/* Moving */

static gpa_t wanted_at(struct pass *p, unsigned i)
{
	gpa_t at;

	return p->bars[i].nr_slices && pci_dev_bar_gpa(&p->dev, i, &at) ? at : 0;
}

bool pass_bars_stale(struct pass *p)
{
	for (unsigned i = 0; i < PCI_NUM_BARS; i++)
		if (wanted_at(p, i) != atomic_load(&p->bars[i].at))
			return true;
	return false;
}

static void leave_slots(struct pass *p, struct pass_bar *b)
{
	for (unsigned k = 0; k < b->nr_slices; k++) {
		if (b->slotted[k])
			(void)hyp_set_memory(p->hyp, p->slot + b->index * PASS_BAR_SLICES + k, 0, 0, NULL, false);
		b->slotted[k] = false;
	}
}

/* False: something is in the way. What the host cannot map at all is reached the slow way, and not tried again. */
static bool take_slots(struct pass *p, struct pass_bar *b, gpa_t at)
{
	bool free = true;

	for (unsigned k = 0; k < b->nr_slices; k++) {
		int r = hyp_set_memory(p->hyp, p->slot + b->index * PASS_BAR_SLICES + k, at + b->slices[k].off,
				       b->slices[k].size, b->maps[k], false);

		b->slotted[k] = !r;
		free &= r != -EEXIST;
		if (r)
			log_guest("%s: BAR %u at %#llx is reached the slow way: %s", p->name, b->index,
				  (unsigned long long)at, strerror(-r));
	}
	return free;
}

/*
 * PCI_MOVING before the question: whoever moves a BAR from then on sees a difference, and asks again. It stays where
 * another function was in the way, so that whatever is written next, or that one's leaving, tries again.
 */
void pass_bars_sync(struct pass *p)
{
	gpa_t old[PCI_NUM_BARS], want[PCI_NUM_BARS];

	/* All that leave, then all that come: two may change places. */
	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		old[i] = atomic_exchange(&p->bars[i].at, PCI_MOVING);
		want[i] = wanted_at(p, i);
		if (want[i] != old[i])
			leave_slots(p, &p->bars[i]);
	}
	for (unsigned i = 0; i < PCI_NUM_BARS; i++)
		if (want[i] == old[i] || !want[i] || take_slots(p, &p->bars[i], want[i]))
			atomic_store(&p->bars[i].at, want[i]);
}
