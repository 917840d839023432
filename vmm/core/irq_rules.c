// SPDX-License-Identifier: BSD-3-Clause
/*
 * The rules are written from KVM's side and from the specifications, and share no code with what
 * they judge: what a deliverable message is, for instance, is said here once more.
 */
#include "vmm/core/irq_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/gsi_internal.h"

/* Not those of the code that is looked at. */
#define GITS_TRANSLATER_OFF 0x10040
#define V2M_SETSPI_OFF 0x40
#define SPI_INTID 32

/* The record */

int irq_record_new(const struct gsi_cfg *cfg, struct irq_record *ret_r)
{
	struct irq_record r = { .cfg = *cfg, .nr_routes = cfg->nr_spis };

	r.table = calloc(cfg->max_routes, sizeof(*r.table));
	r.seen = calloc(cfg->max_routes, 1);
	r.fds = calloc(IRQ_RECORD_FDS, sizeof(*r.fds));
	if (!r.table || !r.seen || !r.fds) {
		irq_record_free(&r);
		return -ENOMEM;
	}
	for (uint32_t gsi = 0; gsi < cfg->nr_spis; gsi++)
		r.table[gsi] = (struct hyp_route){ .gsi = gsi, .kind = HYP_ROUTE_SPI, .pin = gsi };
	*ret_r = r;
	return 0;
}

void irq_record_free(struct irq_record *r)
{
	free(r->table);
	free(r->seen);
	free(r->fds);
	r->table = NULL;
	r->seen = NULL;
	r->fds = NULL;
}

void irq_record_table(struct irq_record *r, const struct hyp_route *routes, unsigned n)
{
	memset(r->table, 0, r->cfg.max_routes * sizeof(*r->table));
	r->nr_routes = 0;
	r->ours = true;
	for (unsigned i = 0; i < n; i++) {
		if (routes[i].kind == HYP_ROUTE_NONE || routes[i].gsi >= r->cfg.max_routes)
			continue;
		r->table[routes[i].gsi] = routes[i];
		r->nr_routes++;
	}
}

int irq_record_attach(struct irq_record *r, int fd, uint32_t gsi)
{
	if (r->nr_fds == IRQ_RECORD_FDS)
		return -ENOSPC;
	r->fds[r->nr_fds++] = (struct irq_told_fd){ .fd = fd, .gsi = gsi };
	return 0;
}

void irq_record_detach(struct irq_record *r, int fd, uint32_t gsi)
{
	for (unsigned i = 0; i < r->nr_fds; i++)
		if (r->fds[i].fd == fd && r->fds[i].gsi == gsi) {
			r->fds[i] = r->fds[--r->nr_fds];
			return;
		}
}

const struct irq_told_fd *irq_record_find(const struct irq_record *r, int fd)
{
	for (unsigned i = 0; i < r->nr_fds; i++)
		if (r->fds[i].fd == fd)
			return &r->fds[i];
	return NULL;
}

static bool has_route(const struct irq_record *r, uint32_t gsi)
{
	return gsi < r->cfg.max_routes && r->table[gsi].kind != HYP_ROUTE_NONE;
}

static bool same_route(const struct hyp_route *a, const struct hyp_route *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == HYP_ROUTE_SPI)
		return a->pin == b->pin;
	return a->kind == HYP_ROUTE_NONE || (a->addr == b->addr && a->data == b->data && a->devid == b->devid &&
					     a->valid_devid == b->valid_devid);
}

/* Would a write of this message make an interrupt? */
static bool deliverable(const struct gsi_cfg *cfg, uint64_t addr, uint32_t data, uint32_t devid)
{
	switch (cfg->model) {
	case MSI_ITS:
		return addr == cfg->doorbell + GITS_TRANSLATER_OFF && data < 0x10000 && devid < 0x10000;
	case MSI_V2M:
		return addr == cfg->doorbell + V2M_SETSPI_OFF && data >= SPI_INTID + cfg->v2m_spi &&
		       data < SPI_INTID + cfg->v2m_spi + cfg->v2m_count;
	default:
		return false;
	}
}

static bool known_devid(const struct irq_record *r, uint32_t devid)
{
	for (unsigned i = 0; i < r->nr_devids; i++)
		if (r->devids[i] == devid)
			return true;
	return !r->nr_devids;
}

/* Tables */

static int v1_entry(struct irq_record *r, const struct hyp_route *e, struct err *why)
{
	if (e->gsi >= r->cfg.max_routes)
		return err_set(why, -EPROTO, "V1: a route for GSI %u, the last is %u", e->gsi, r->cfg.max_routes - 1);
	if (r->seen[e->gsi]++)
		return err_set(why, -EPROTO, "V1: GSI %u has two routes", e->gsi);
	if (e->kind == HYP_ROUTE_SPI && (e->pin != e->gsi || e->pin >= r->cfg.nr_spis))
		return err_set(why, -EPROTO, "V1: GSI %u is routed to SPI %u", e->gsi, e->pin);
	if (e->kind == HYP_ROUTE_MSI && e->gsi < r->cfg.nr_spis)
		return err_set(why, -EPROTO, "V1: GSI %u is an SPI's, and is routed to a message", e->gsi);
	return 0;
}

int irq_v1_table(struct irq_record *r, const struct hyp_route *routes, unsigned n, struct err *why)
{
	unsigned spis = 0;
	int ret;

	memset(r->seen, 0, r->cfg.max_routes);
	for (unsigned i = 0; i < n; i++) {
		if (routes[i].kind == HYP_ROUTE_NONE)
			continue;
		ret = v1_entry(r, &routes[i], why);
		if (ret)
			return ret;
		spis += routes[i].kind == HYP_ROUTE_SPI;
	}
	if (spis != r->cfg.nr_spis)
		return err_set(why, -EPROTO, "V1: a table with %u of %u SPIs", spis, r->cfg.nr_spis);
	return 0;
}

int irq_v2_message(const struct irq_record *r, const struct hyp_route *msi, struct err *why)
{
	if (!deliverable(&r->cfg, msi->addr, msi->data, msi->devid))
		return err_set(why, -EPROTO, "V2: message %#llx data %u devid %#x reaches nobody",
			       (unsigned long long)msi->addr, msi->data, msi->devid);
	if (msi->valid_devid != r->cfg.need_devid)
		return err_set(why, -EPROTO, "V2: message %#llx data %u %s a device id", (unsigned long long)msi->addr,
			       msi->data, msi->valid_devid ? "carries" : "lacks");
	if (!known_devid(r, msi->devid))
		return err_set(why, -EPROTO, "V2: device id %#x is no function's", msi->devid);
	return 0;
}

int irq_v2_table(const struct irq_record *r, const struct hyp_route *routes, unsigned n, struct err *why)
{
	int ret = 0;

	for (unsigned i = 0; i < n && !ret; i++) {
		if (routes[i].kind != HYP_ROUTE_MSI)
			continue;
		/* Anything else than an ITS takes such a route, and never delivers by it. */
		if (r->cfg.model != MSI_ITS)
			return err_set(why, -EPROTO, "V2: GSI %u is routed to a message, and there is no ITS",
				       routes[i].gsi);
		ret = irq_v2_message(r, &routes[i], why);
	}
	return ret;
}

int irq_v3_table(const struct irq_record *r, struct err *why)
{
	for (unsigned i = 0; i < r->nr_fds; i++)
		if (!has_route(r, r->fds[i].gsi))
			return err_set(why, -EPROTO, "V3: a table without GSI %u, where eventfd %d is attached",
				       r->fds[i].gsi, r->fds[i].fd);
	return 0;
}

static bool same_table(const struct irq_record *r, const struct hyp_route *routes, unsigned n)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < n; i++) {
		if (routes[i].kind == HYP_ROUTE_NONE)
			continue;
		if (routes[i].gsi >= r->cfg.max_routes || !same_route(&routes[i], &r->table[routes[i].gsi]))
			return false;
		nr++;
	}
	return nr == r->nr_routes;
}

int irq_v4_table(const struct irq_record *r, bool started, const struct hyp_route *routes, unsigned n, struct err *why)
{
	if (!started)
		return err_set(why, -EPROTO, "V4: a table before start");
	if (r->cfg.mode == GSI_FLAT)
		return err_set(why, -EPROTO, "V4: a table in flat mode");
	if (r->ours && same_table(r, routes, n))
		return err_set(why, -EPROTO, "V4: a table that changes nothing");
	return 0;
}

/* irqfds and lines */

int irq_v3_attach(const struct irq_record *r, int fd, uint32_t gsi, int result, struct err *why)
{
	if (irq_record_find(r, fd) || result == -EBUSY)
		return err_set(why, -EPROTO, "V3: eventfd %d is attached a second time", fd);
	if (result == -EBADF)
		return err_set(why, -EPROTO, "V3: eventfd %d is not open", fd);
	if (!has_route(r, gsi))
		return err_set(why, -EPROTO, "V3: eventfd %d is attached to GSI %u, which has no route", fd, gsi);
	return 0;
}

int irq_v3_detach(const struct irq_record *r, int fd, uint32_t gsi, int result, struct err *why)
{
	const struct irq_told_fd *told = irq_record_find(r, fd);

	if (result)
		return err_set(why, -EPROTO, "V3: eventfd %d cannot be detached from GSI %u", fd, gsi);
	if (!told)
		return err_set(why, -EPROTO, "V3: eventfd %d is detached from GSI %u, and was attached nowhere", fd, gsi);
	if (told->gsi != gsi)
		return err_set(why, -EPROTO, "V3: eventfd %d is detached from GSI %u, and is attached to GSI %u", fd, gsi,
			       told->gsi);
	return 0;
}

int irq_v8_table(const struct irq_record *r, unsigned n, struct err *why)
{
	return n <= r->cfg.max_routes ? 0 : err_set(why, -EPROTO, "V8: a table of %u routes", n);
}

int irq_v8_irqfd(const struct irq_record *r, int fd, uint32_t gsi, struct err *why)
{
	if (fd < 0 || gsi >= r->cfg.max_routes)
		return err_set(why, -EPROTO, "V8: an irqfd of descriptor %d on GSI %u", fd, gsi);
	return 0;
}

int irq_v8_line(const struct irq_record *r, uint32_t spi, struct err *why)
{
	return spi < r->cfg.nr_spis ? 0 : err_set(why, -EPROTO, "V8: the line of SPI %u of %u", spi, r->cfg.nr_spis);
}

/* The program's own tables */

static unsigned count_fds(const struct irq_record *r, uint32_t gsi)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->nr_fds; i++)
		n += r->fds[i].gsi == gsi;
	return n;
}

int irq_v3_shadow(const struct irq_record *r, const struct gsi_space *s, struct err *why)
{
	if (s->stats.irqfds != r->nr_fds)
		return err_set(why, -EPROTO, "V3: %u irqfds are counted, and KVM has %u", s->stats.irqfds, r->nr_fds);
	for (uint32_t gsi = 0; gsi < s->top; gsi++) {
		/* What the loop signals is held too, and is no irqfd. */
		if (gsi >= s->cfg.nr_spis && s->way != MSI_BY_ROUTE)
			break;
		if (s->entries[gsi].holds && s->entries[gsi].holds != count_fds(r, gsi))
			return err_set(why, -EPROTO, "V3: GSI %u is held by %u irqfds, and KVM has %u", gsi,
				       s->entries[gsi].holds, count_fds(r, gsi));
	}
	return 0;
}

static int v9_entry(const struct irq_record *r, const struct gsi_space *s, uint32_t gsi, struct err *why)
{
	const struct msi_route *e = &s->entries[gsi];
	const struct hyp_route *k = &r->table[gsi];
	bool live = s->way == MSI_BY_ROUTE && e->live.valid;

	if (live != (k->kind == HYP_ROUTE_MSI))
		return err_set(why, -EPROTO, "V9: GSI %u %s in the kernel's table, and %s in the shadow", gsi,
			       live ? "is not" : "is", live ? "is" : "is not");
	if (live && (k->addr != e->live.addr || k->data != e->live.data || k->devid != e->devid))
		return err_set(why, -EPROTO, "V9: GSI %u carries data %u devid %#x, and the shadow says data %u devid %#x",
			       gsi, k->data, k->devid, e->live.data, e->devid);
	return 0;
}

int irq_v9_shadow(const struct irq_record *r, const struct gsi_space *s, struct err *why)
{
	unsigned live = 0;
	int ret;

	for (uint32_t gsi = s->cfg.nr_spis; gsi < s->top; gsi++) {
		ret = v9_entry(r, s, gsi, why);
		if (ret)
			return ret;
		live += r->table[gsi].kind == HYP_ROUTE_MSI;
	}
	if (live != r->nr_routes - r->cfg.nr_spis)
		return err_set(why, -EPROTO, "V9: the kernel's table has %u messages, and the shadow %u",
			       r->nr_routes - r->cfg.nr_spis, live);
	return 0;
}

int irq_v7_end(const struct irq_record *r, const struct gsi_space *s, struct err *why)
{
	if (r->nr_fds)
		return err_set(why, -EPROTO, "V7: eventfd %d is still attached to GSI %u", r->fds[0].fd, r->fds[0].gsi);
	if (r->nr_routes != r->cfg.nr_spis)
		return err_set(why, -EPROTO, "V7: %u routes are left of devices that are gone",
			       r->nr_routes - r->cfg.nr_spis);
	for (uint32_t gsi = s->cfg.nr_spis; gsi < s->top; gsi++)
		if (s->entries[gsi].state != GSI_FREE)
			return err_set(why, -EPROTO, "V7: GSI %u (%s) was not freed", gsi, s->entries[gsi].label);
	return 0;
}

/* Devices */

bool irq_may_deliver(const struct gsi_cfg *cfg, const struct irq_source *src)
{
	return src->bound && src->enabled && !src->function_masked && src->bus_master && !src->entry_masked &&
	       deliverable(cfg, src->addr, src->data, src->devid);
}

/* Why it may not, in the order in which a guest would look. */
static const char *reason(const struct irq_source *src)
{
	if (!src->bound)
		return "has no vector";
	if (!src->enabled)
		return "has MSI-X switched off";
	if (src->function_masked || src->entry_masked)
		return "is masked";
	return src->bus_master ? "has a message that reaches nobody" : "is no bus master";
}

/* Does an irqfd on @gsi send the message of @src? */
static bool sends(const struct irq_record *r, uint32_t gsi, const struct irq_source *src)
{
	const struct hyp_route *k = &r->table[gsi];

	if (r->cfg.model == MSI_V2M)
		return k->kind == HYP_ROUTE_SPI && k->pin == src->data - SPI_INTID;
	return k->kind == HYP_ROUTE_MSI && k->addr == src->addr && k->data == src->data && k->devid == src->devid;
}

int irq_v5_source(const struct irq_record *r, const struct irq_source *src, struct err *why)
{
	const struct irq_told_fd *told = irq_record_find(r, src->fd);

	if (!told && !src->hopping)
		return 0;
	if (!irq_may_deliver(&r->cfg, src))
		return err_set(why, -EPROTO, "V5: %s %s %s, and its eventfd %d is attached", src->device, src->name,
			       reason(src), src->fd);
	if (src->strays)
		return err_set(why, -EPROTO, "V5: %s %s has data %u, and the loop would signal another message", src->device,
			       src->name, src->data);
	if (told && (told->gsi >= r->cfg.max_routes || !sends(r, told->gsi, src)))
		return err_set(why, -EPROTO, "V5: %s %s has data %u, and eventfd %d is attached to GSI %u, which sends another",
			       src->device, src->name, src->data, src->fd, told->gsi);
	return 0;
}

int irq_v6_source(const struct irq_record *r, const struct irq_source *src, struct err *why)
{
	if (!irq_may_deliver(&r->cfg, src))
		return 0;
	if (!src->hopping && !irq_record_find(r, src->fd))
		return err_set(why, -EPROTO, "V6: %s %s may deliver, and its eventfd %d is attached to nothing", src->device,
			       src->name, src->fd);
	if (src->pending)
		return err_set(why, -EPROTO, "V6: %s %s may deliver, and is pending", src->device, src->name);
	return 0;
}

int irq_v10_pulse(uint64_t reasons, uint64_t pulses, uint32_t spi, struct err *why)
{
	if (reasons < pulses)
		return err_set(why, -EPROTO, "V10: SPI %u is raised before the status register says why", spi);
	return 0;
}

int irq_v10_direct(const char *device, int fd, bool told, struct err *why)
{
	if (!told)
		return err_set(why, -EPROTO, "V10: eventfd %d interrupts for %s, whose status register says nothing of it", fd,
			       device);
	return 0;
}

int irq_v11_silent(const struct irq_record *r, const char *device, int fd, bool waiting, struct err *why)
{
	const struct irq_told_fd *told = irq_record_find(r, fd);

	if (told)
		return err_set(why, -EPROTO, "V11: %s was reset, and its eventfd %d is attached to GSI %u", device, fd,
			       told->gsi);
	if (waiting)
		return err_set(why, -EPROTO, "V11: %s was reset, and its eventfd %d still holds a signal", device, fd);
	return 0;
}

int irq_v11_status(const char *device, uint32_t bits, struct err *why)
{
	return bits ? err_set(why, -EPROTO, "V11: %s was reset, and its status register says %#x", device, bits) : 0;
}
