/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci/dev - configuration space of one function
 *
 * Theory of operation. cfg[] is what a read returns, wmask[] which of its bits a write
 * changes; sizing a BAR needs nothing more, as the address bits below its size are not in the
 * mask and stay 0.
 *
 * Where BARs are mapped follows from cfg[] after each write that may matter: a BAR that is
 * decoded (COMMAND.MEM) and stands elsewhere than it is mapped is unmapped, then whatever is
 * wanted and not mapped is offered to the host, which refuses what lies outside its window or
 * on another BAR. A refused BAR is nowhere; the register keeps what the guest wrote. While a
 * guest rearranges several functions one may claim a place before its old owner has left it,
 * so when a BAR goes away, those that were refused are tried again.
 *
 * Reads. cfg[] is a page of its own, which the first read of the guest's puts before the guest
 * as a read-only view: most functions of most machines are looked at a few hundred times in a
 * row, and those that nobody looks at cost no memory slot. Writes go on to come as exits, and the
 * view shows what they did before the writer goes on. A function whose reads begin to have side
 * effects asks for exits again, and stays with them.
 *
 * Locks: the function's, then the host's, then the bus's. Never two functions' at a time, and
 * none while ops are called.
 */
#include "devices/pci/dev.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "devices/pci/host.h"
#include "vmm/base/checked.h"
#include "vmm/core/loop.h"

#define FIRST_CAP 0x40
#define BARS_END (PCI_BASE_ADDRESS_0 + 4 * PCI_NUM_BARS)

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static uint16_t get16(const struct pci_dev *d, unsigned off)
{
	uint16_t v;

	memcpy(&v, d->cfg + off, sizeof(v));
	return v;
}

static uint32_t get32(const struct pci_dev *d, unsigned off)
{
	uint32_t v;

	memcpy(&v, d->cfg + off, sizeof(v));
	return v;
}

void pci_dev_init(struct pci_dev *d, const struct pci_ids *ids, const struct pci_dev_ops *ops)
{
	memset(d, 0, sizeof(*d));
	d->ops = ops;
	d->cap_end = FIRST_CAP;
	pthread_mutex_init(&d->lock, NULL);

	put16(d->cfg + PCI_VENDOR_ID, ids->vendor);
	put16(d->cfg + PCI_DEVICE_ID, ids->device);
	put32(d->cfg + PCI_CLASS_REVISION, ids->class_code << 8 | ids->revision);
	put16(d->cfg + PCI_SUBSYSTEM_VENDOR_ID, ids->subsys_vendor);
	put16(d->cfg + PCI_SUBSYSTEM_ID, ids->subsys);

	put16(d->wmask + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	d->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
	d->wmask[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_dev_fini(struct pci_dev *d)
{
	view_detach(&d->view);
	if (d->host) {
		for (unsigned i = 0; i < PCI_NUM_BARS; i++)
			pci_host_unmap_bar(d->host, &d->bars[i]);
		pci_host_del(d->host, d);
	}
	pthread_mutex_destroy(&d->lock);
}

void pci_dev_set_bar(struct pci_dev *d, unsigned bar, uint64_t size, const struct bus_ops *ops, void *ctx)
{
	assert(bar < PCI_NUM_BARS && is_pow2(size) && size >= 16 && size <= 2 * GIB);
	d->bars[bar].size = size;
	d->bars[bar].ops = ops;
	d->bars[bar].ctx = ctx;
	put32(d->wmask + PCI_BASE_ADDRESS_0 + 4 * bar, (uint32_t)~(size - 1));
}

void pci_dev_set_bar64(struct pci_dev *d, unsigned bar, uint64_t size, const struct bus_ops *ops, void *ctx)
{
	const uint64_t mask = ~(size - 1);

	assert(bar + 1 < PCI_NUM_BARS && is_pow2(size) && size >= 16 && size <= BIT64(62));
	d->bars[bar] = (struct pci_bar){ .size = size, .wide = true, .ops = ops, .ctx = ctx };
	d->cfg[PCI_BASE_ADDRESS_0 + 4 * bar] |= PCI_BASE_ADDRESS_MEM_TYPE_64;
	put32(d->wmask + PCI_BASE_ADDRESS_0 + 4 * bar, (uint32_t)mask);
	put32(d->wmask + PCI_BASE_ADDRESS_0 + 4 * (bar + 1), (uint32_t)(mask >> 32));
}

void pci_dev_set_prefetchable(struct pci_dev *d, unsigned bar)
{
	d->cfg[PCI_BASE_ADDRESS_0 + 4 * bar] |= PCI_BASE_ADDRESS_MEM_PREFETCH;
}

int pci_dev_add_cap(struct pci_dev *d, uint8_t id, const void *body, size_t len, const uint8_t *wmask)
{
	unsigned off = d->cap_end;

	if (!range_fits(off, 2 + len, PCI_CFG_SIZE))
		return -ENOSPC;
	d->cfg[off + PCI_CAP_LIST_ID] = id;
	d->cfg[off + PCI_CAP_LIST_NEXT] = 0;
	memcpy(d->cfg + off + 2, body, len);
	if (wmask)
		memcpy(d->wmask + off + 2, wmask, len);

	d->cfg[d->last_cap ? d->last_cap + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST] = (uint8_t)off;
	d->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	d->last_cap = off;
	d->cap_end = (unsigned)align_up(off + 2 + len, 4);
	return (int)off;
}

void pci_dev_set_view(struct pci_dev *d, struct loop *loop, struct hyp *hyp, uint32_t slot)
{
	view_init(&d->view, hyp, slot, d->cfg);
	d->loop = loop;
	atomic_store(&d->view_due, true);
}

static int attach_view(void *ctx)
{
	struct pci_dev *d = ctx;

	return d->trapped || !d->host ? 0 : view_attach(&d->view, pci_host_cfg_gpa(d->host, d->rid));
}

static int trap_reads(void *ctx)
{
	struct pci_dev *d = ctx;

	d->trapped = true;
	view_detach(&d->view);
	return 0;
}

void pci_dev_trap_reads(struct pci_dev *d)
{
	if (d->loop)
		loop_call(d->loop, trap_reads, d);
}

static bool access_ok(unsigned off, unsigned len)
{
	return (len == 1 || len == 2 || len == 4) && is_aligned(off, len);
}

uint32_t pci_dev_cfg_read(struct pci_dev *d, unsigned off, unsigned len)
{
	uint32_t val = 0;

	/* Whether it could be had or not, this read is answered here. */
	if (atomic_load(&d->view_due) && atomic_exchange(&d->view_due, false))
		loop_call(d->loop, attach_view, d);
	if (!access_ok(off, len))
		return (uint32_t)width_mask(len);
	if (!range_fits(off, len, PCI_CFG_SIZE))
		return 0;
	if (d->ops && d->ops->cfg_read)
		d->ops->cfg_read(d, off, len);
	pci_dev_peek(d, off, &val, len);
	return val;
}

/* The address in the register, or the pair of them. */
static gpa_t bar_address(const struct pci_dev *d, unsigned bar)
{
	const unsigned off = PCI_BASE_ADDRESS_0 + 4 * bar;
	gpa_t at = get32(d, off) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;

	return d->bars[bar].wide ? at | (gpa_t)get32(d, off + 4) << 32 : at;
}

/* Is @bar wanted at another place than it has, or at none? */
static bool misplaced(const struct pci_dev *d, unsigned bar)
{
	bool decode = get16(d, PCI_COMMAND) & PCI_COMMAND_MEMORY;

	return d->bars[bar].mapped && (!decode || d->bars[bar].gpa != bar_address(d, bar));
}

/* First all that leave, then all that come: a function may exchange two of its own BARs. */
static void place_bars_locked(struct pci_dev *d, bool *ret_left)
{
	bool decode = get16(d, PCI_COMMAND) & PCI_COMMAND_MEMORY;
	unsigned i;

	*ret_left = false;
	if (!d->host)
		return;
	for (i = 0; i < PCI_NUM_BARS; i++) {
		if (!misplaced(d, i))
			continue;
		pci_host_unmap_bar(d->host, &d->bars[i]);
		*ret_left = true;
	}
	for (i = 0; i < PCI_NUM_BARS; i++) {
		struct pci_bar *b = &d->bars[i];

		if (decode && b->size && !b->mapped)
			(void)pci_host_map_bar(d->host, b, bar_address(d, i)); /* taken: when that one leaves */
	}
}

static void merge_locked(struct pci_dev *d, unsigned off, unsigned len, uint32_t val)
{
	uint32_t old = 0, mask = 0;

	memcpy(&old, d->cfg + off, len);
	memcpy(&mask, d->wmask + off, len);
	val = (old & ~mask) | (val & mask);
	view_store(d->cfg + off, &val, len);
}

void pci_dev_cfg_write(struct pci_dev *d, unsigned off, unsigned len, uint32_t val)
{
	bool left = false;

	if (!access_ok(off, len) || !range_fits(off, len, PCI_CFG_SIZE))
		return;
	if (d->ops && d->ops->cfg_write)
		d->ops->cfg_write(d, off, len, val);
	pthread_mutex_lock(&d->lock);
	merge_locked(d, off, len, val);
	if (ranges_overlap(off, len, PCI_COMMAND, 2) ||
	    ranges_overlap(off, len, PCI_BASE_ADDRESS_0, BARS_END - PCI_BASE_ADDRESS_0))
		place_bars_locked(d, &left);
	pthread_mutex_unlock(&d->lock);

	if (d->ops && d->ops->cfg_written)
		d->ops->cfg_written(d, off, len);
	if (left) /* after cfg_written(): its doorbells are gone from there, too */
		pci_host_bar_left(d->host, d);
}

void pci_dev_retry_bars(struct pci_dev *d)
{
	bool left;

	pthread_mutex_lock(&d->lock);
	place_bars_locked(d, &left);
	pthread_mutex_unlock(&d->lock);
	/* whether or not one came: what its owner has there may have been in the other's way */
	if (d->ops && d->ops->cfg_written)
		d->ops->cfg_written(d, PCI_BASE_ADDRESS_0, BARS_END - PCI_BASE_ADDRESS_0);
}

void pci_dev_peek(struct pci_dev *d, unsigned off, void *buf, size_t len)
{
	assert(range_fits(off, len, PCI_CFG_SIZE));
	pthread_mutex_lock(&d->lock);
	memcpy(buf, d->cfg + off, len);
	pthread_mutex_unlock(&d->lock);
}

void pci_dev_poke(struct pci_dev *d, unsigned off, const void *buf, size_t len)
{
	assert(range_fits(off, len, PCI_CFG_SIZE));
	pthread_mutex_lock(&d->lock);
	view_store(d->cfg + off, buf, len);
	pthread_mutex_unlock(&d->lock);
}

uint16_t pci_dev_get16(struct pci_dev *d, unsigned off)
{
	uint16_t v;

	pci_dev_peek(d, off, &v, sizeof(v));
	return v;
}

bool pci_dev_bus_master(struct pci_dev *d)
{
	return pci_dev_get16(d, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

bool pci_dev_bar_gpa(struct pci_dev *d, unsigned bar, gpa_t *ret_gpa)
{
	bool mapped;

	pthread_mutex_lock(&d->lock);
	mapped = d->bars[bar].mapped;
	if (mapped)
		*ret_gpa = d->bars[bar].gpa;
	pthread_mutex_unlock(&d->lock);
	return mapped;
}
