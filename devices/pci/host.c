/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci/host - finds the function behind an ECAM address, and keeps BARs apart
 *
 * The functions are a table by requester id, filled before the guest runs and read without a
 * lock. The list of mapped BARs has a lock of its own, a leaf but for the bus's; it is what
 * keeps two functions, written on two vCPUs, from taking the same place.
 */
#include "devices/pci/host.h"

#include <errno.h>
#include <stdlib.h>

#include <linux/pci_regs.h>

#include "vmm/base/checked.h"

struct pci_host {
	struct bus *bus;
	struct pci_host_cfg cfg;
	struct pci_dev *fns[PCI_MAX_FUNCTIONS]; /* by rid */
	pthread_mutex_t lock;                   /* of mapped */
	struct pci_bar *mapped;
};

/* Bits 27:20 bus (ours is 0, the window ends there), 19:15 device, 14:12 function, 11:0 register. */
static struct pci_dev *fn_at(const struct pci_host *h, uint64_t off)
{
	return off < PCI_ECAM_SIZE ? h->fns[off >> 12] : NULL;
}

static uint64_t ecam_read(void *ctx, uint64_t off, unsigned len)
{
	struct pci_dev *d = fn_at(ctx, off);

	if (!d || len > 4)
		return width_mask(len);
	return pci_dev_cfg_read(d, off & 0xfff, len);
}

static void ecam_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct pci_dev *d = fn_at(ctx, off);

	if (d && len <= 4)
		pci_dev_cfg_write(d, off & 0xfff, len, (uint32_t)val);
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

int pci_host_new(struct bus *bus, const struct pci_host_cfg *cfg, struct pci_host **ret_h)
{
	struct pci_host *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->bus = bus;
	h->cfg = *cfg;
	pthread_mutex_init(&h->lock, NULL);
	r = bus_add(bus, cfg->ecam, PCI_ECAM_SIZE, &ecam_ops, h);
	if (r < 0) {
		pthread_mutex_destroy(&h->lock);
		free(h);
		return r;
	}
	*ret_h = h;
	return 0;
}

void pci_host_free(struct pci_host *h)
{
	if (!h)
		return;
	bus_del(h->bus, h->cfg.ecam, h);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

gpa_t pci_host_cfg_gpa(const struct pci_host *h, uint16_t rid)
{
	return h->cfg.ecam + ((uint64_t)rid << 12);
}

/* A guest looks at functions 1 to 7 of a slot only if function 0 says that there are some. */
static void mark_multifunction(struct pci_host *h, uint16_t rid)
{
	unsigned first = rid & ~7u;
	struct pci_dev *fn0 = h->fns[first];

	for (unsigned f = 1; fn0 && f < 8; f++)
		if (h->fns[first + f])
			fn0->cfg[PCI_HEADER_TYPE] |= 0x80;
}

int pci_host_add(struct pci_host *h, struct pci_dev *d, uint16_t rid)
{
	if (rid >= PCI_MAX_FUNCTIONS)
		return -EINVAL;
	if (h->fns[rid])
		return -EEXIST;
	d->host = h;
	d->rid = rid;
	h->fns[rid] = d;
	mark_multifunction(h, rid);
	return 0;
}

void pci_host_del(struct pci_host *h, struct pci_dev *d)
{
	if (h->fns[d->rid] == d)
		h->fns[d->rid] = NULL;
	d->host = NULL;
}

static int map_locked(struct pci_host *h, struct pci_bar *bar, gpa_t gpa)
{
	int r;

	for (const struct pci_bar *b = h->mapped; b; b = b->next)
		if (ranges_overlap(gpa, bar->size, b->gpa, b->size))
			return -EEXIST;
	r = bus_add(h->bus, gpa, bar->size, bar->ops, bar->ctx);
	if (r < 0)
		return r;
	bar->gpa = gpa;
	bar->mapped = true;
	bar->next = h->mapped;
	h->mapped = bar;
	return 0;
}

int pci_host_map_bar(struct pci_host *h, struct pci_bar *bar, gpa_t gpa)
{
	int r;

	if (!range_within(gpa, bar->size, h->cfg.mem_base, h->cfg.mem_size) &&
	    !range_within(gpa, bar->size, h->cfg.mem64_base, h->cfg.mem64_size))
		return -EINVAL;
	pthread_mutex_lock(&h->lock);
	r = map_locked(h, bar, gpa);
	pthread_mutex_unlock(&h->lock);
	return r;
}

void pci_host_unmap_bar(struct pci_host *h, struct pci_bar *bar)
{
	pthread_mutex_lock(&h->lock);
	for (struct pci_bar **p = &h->mapped; bar->mapped && *p; p = &(*p)->next) {
		if (*p != bar)
			continue;
		*p = bar->next;
		bus_del(h->bus, bar->gpa, bar->ctx);
		bar->mapped = false;
		break;
	}
	pthread_mutex_unlock(&h->lock);
}

void pci_host_bar_left(struct pci_host *h, struct pci_dev *d)
{
	for (unsigned rid = 0; rid < PCI_MAX_FUNCTIONS; rid++)
		if (h->fns[rid] && h->fns[rid] != d)
			pci_dev_retry_bars(h->fns[rid]);
}
