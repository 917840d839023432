// SPDX-License-Identifier: BSD-3-Clause
/*
 * gsi - theory of operation
 *
 * The kernel has one routing table a VM, and a write replaces it whole. So the whole truth is
 * kept here, an entry a GSI, and each MSI entry knows two messages: "staged", what the
 * device wants, and "live", what the kernel's table holds since the last commit that
 * succeeded. Nothing but commit_locked() changes "live", and it does so after the kernel said
 * yes: when the kernel says no, both sides still agree on the old table, and the difference
 * that remains makes the next commit try again.
 *
 * A batch is what was staged between two commits, by whichever device.
 *
 * Reasons for a commit are counted as they come and go, so that a batch which leads back to
 * where it began costs nothing:
 *   wanting   entries whose staged message is deliverable and not the live one;
 *   leaving   entries that were freed and are still in the kernel's table.
 * A message that became undeliverable is not a reason. Linux zeroes every message when it lets
 * go of a device and writes the same ones when it takes it again; nothing is attached to such
 * an entry meanwhile, so it may stay until somebody else has a reason to commit.
 *
 * An entry with an irqfd attached never leaves the table, whatever is staged: a signal that
 * finds no route is consumed and lost. A freed GSI is handed out again only when the kernel's
 * table no longer has it, so that a signal in flight cannot fire in another device.
 *
 * SPI entries are not stored: GSI n is SPI n, and each commit writes them all.
 *
 * Which way messages go is decided in way_of(), once for a VM. A v2m frame turns each message
 * into an SPI, and an SPI has its GSI in every table; and where the kernel's table is to stay,
 * the loop hands messages to KVM_SIGNAL_MSI, which knows no table. On both ways an entry is a
 * message and a name, its number is no GSI, and it is live as it is staged.
 *
 * Memory: the arrays span all GSIs but are touched only where GSIs are used; GSIs are handed
 * out lowest first, which keeps both these arrays and the kernel's short.
 */
#include "vmm/core/gsi.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/obj.h"
#include "vmm/core/gsi_internal.h"
#include "vmm/core/irq_check.h"
#include "vmm/core/irqfd.h"

/* GICv3 architecture, ITS register map: two frames, and the one register of the second. */
#define ITS_SIZE (128 * KIB)
#define GITS_TRANSLATER 0x10040
/* KVM's ITS: GITS_TYPER.Devbits and ID_bits say 16 each. */
#define ITS_MAX_ID 0xffff

/* Construction */

static bool cfg_ok(const struct gsi_cfg *cfg)
{
	if (cfg->nr_spis > cfg->max_routes)
		return false;
	switch (cfg->model) {
	case MSI_ITS:
		return cfg->doorbell_size == ITS_SIZE;
	case MSI_V2M:
		return cfg->doorbell_size == V2M_FRAME_SIZE && cfg->v2m_count &&
		       range_fits(cfg->v2m_spi, cfg->v2m_count, cfg->nr_spis);
	default:
		return true;
	}
}

static enum msi_way way_of(const struct gsi_cfg *cfg)
{
	switch (cfg->model) {
	case MSI_ITS:
		return cfg->mode == GSI_FLAT ? MSI_BY_SIGNAL : MSI_BY_ROUTE;
	case MSI_V2M:
		return MSI_BY_SPI;
	default:
		return MSI_BY_NOTHING;
	}
}

int gsi_space_new(const struct gsi_cfg *cfg, struct hyp *hyp, struct gsi_space **ret_s)
{
	struct gsi_space *s;

	if (!cfg_ok(cfg))
		return -EINVAL;
	s = obj_new(sizeof(*s) + cfg->max_routes * (sizeof(s->entries[0]) + sizeof(s->scratch[0])));
	if (!s)
		return -ENOMEM;
	s->scratch = (struct hyp_route *)&s->entries[cfg->max_routes];
	pthread_mutex_init(&s->lock, NULL);
	s->cfg = *cfg;
	s->way = way_of(cfg);
	s->hyp = hyp;
	s->top = s->lowest = cfg->nr_spis;
	*ret_s = s;
	return 0;
}

void gsi_space_free(struct gsi_space *s)
{
	if (!s)
		return;
	assert(!s->stats.irqfds && !s->stats.hops);
	pthread_mutex_destroy(&s->lock);
	obj_free(s);
}

enum msi_way gsi_msi_way(const struct gsi_space *s)
{
	return s->way;
}

struct hyp *gsi_hyp(const struct gsi_space *s)
{
	return s->hyp;
}

/* Messages */

bool gsi_msi_deliverable(const struct gsi_space *s, uint32_t devid, uint64_t addr, uint32_t data)
{
	const struct gsi_cfg *cfg = &s->cfg;

	/*
	 * KVM would take any address in the ITS's two frames; the architecture has one register
	 * there that makes an interrupt.
	 */
	if (cfg->model == MSI_ITS)
		return addr == cfg->doorbell + GITS_TRANSLATER && data <= ITS_MAX_ID && devid <= ITS_MAX_ID;
	/* Any SPI of the frame's, but no other: those are devices'. */
	return cfg->model == MSI_V2M && addr == cfg->doorbell + V2M_MSI_SETSPI_NS &&
	       data - FIRST_SPI - cfg->v2m_spi < cfg->v2m_count;
}

static bool route_live_locked(const struct msi_route *r)
{
	return r->staged.valid && gsi_same_message(&r->staged, &r->live);
}

static void stage_locked(struct msi_route *r, const struct gsi_message *msg)
{
	r->space->wanting -= gsi_route_wants(r);
	r->staged = *msg;
	if (r->space->way != MSI_BY_ROUTE)
		r->live = *msg;
	r->space->wanting += gsi_route_wants(r);
}

/* Commit */

/* What the next table holds for @r; not valid: nothing. */
static struct gsi_message next_message(const struct msi_route *r)
{
	if (r->staged.valid || !r->holds)
		return r->staged;
	return r->live; /* an irqfd hangs on it: it may not leave */
}

static unsigned build_table(struct gsi_space *s)
{
	unsigned n = 0;
	uint32_t gsi;

	for (gsi = 0; gsi < s->cfg.nr_spis; gsi++)
		s->scratch[n++] = (struct hyp_route){ .gsi = gsi, .kind = HYP_ROUTE_SPI, .pin = gsi };
	for (; gsi < s->top && s->way == MSI_BY_ROUTE; gsi++) {
		const struct gsi_message msg = next_message(&s->entries[gsi]);

		if (msg.valid)
			s->scratch[n++] = (struct hyp_route){
				.gsi = gsi,
				.kind = HYP_ROUTE_MSI,
				.valid_devid = s->cfg.need_devid,
				.addr = msg.addr,
				.data = msg.data,
				.devid = s->entries[gsi].devid,
			};
	}
	return n;
}

/* The entry's number, which is its GSI where it has one of its own. */
static uint32_t number_of(const struct msi_route *r)
{
	return (uint32_t)(r - r->space->entries);
}

static void forget_gsi(struct gsi_space *s, uint32_t gsi)
{
	s->entries[gsi] = (struct msi_route){ 0 };
	if (gsi < s->lowest)
		s->lowest = gsi;
}

static unsigned count_spis(const struct hyp_route *routes, unsigned n)
{
	unsigned spis = 0;

	for (unsigned i = 0; i < n; i++)
		spis += routes[i].kind == HYP_ROUTE_SPI;
	return spis;
}

/* The kernel took the table that build_table() made: so does the shadow. */
static void table_taken(struct gsi_space *s, unsigned n)
{
	uint32_t gsi;

	s->ours = true;
	for (gsi = s->cfg.nr_spis; gsi < s->top && s->way == MSI_BY_ROUTE; gsi++) {
		struct msi_route *r = &s->entries[gsi];

		r->live = next_message(r);
		if (r->state == GSI_LEAVING)
			forget_gsi(s, gsi);
	}
	s->wanting = 0;
	s->leaving = 0;
	s->stats.commits++;
	s->stats.spi_routes = count_spis(s->scratch, n);
	s->stats.msi_routes = n - s->stats.spi_routes;
}

static void count_ns(struct gsi_stats *st, uint64_t ns)
{
	st->commit_ns += ns;
	st->last_commit_ns = ns;
	if (ns > st->max_commit_ns)
		st->max_commit_ns = ns;
}

static int commit_locked(struct gsi_space *s)
{
	uint64_t begin;
	unsigned n;
	int err;

	if (!s->wanting && !s->leaving && (s->cfg.mode != GSI_EXPLICIT || s->ours)) {
		s->stats.skipped_commits++;
		return 0;
	}
	/* Before its INIT the interrupt controller would take the table, and then overwrite it. */
	if (!s->started)
		return -EAGAIN;
	assert(s->cfg.mode != GSI_FLAT);
	n = build_table(s);
	s->stats.table_bytes += hyp_table_bytes(n);
	begin = clock_now_ns();
	err = hyp_set_routes(s->hyp, s->scratch, n);
	if (err)
		s->stats.failed_commits++;
	else
		table_taken(s, n);
	if (!err)
		count_ns(&s->stats, clock_now_ns() - begin);
	return err;
}

int gsi_commit(struct gsi_space *s)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = commit_locked(s);
	pthread_mutex_unlock(&s->lock);
	irq_check_state(s);
	return err;
}

int gsi_space_start(struct gsi_space *s)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	s->started = true;
	if (s->cfg.mode == GSI_EXPLICIT)
		err = commit_locked(s);
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* Routes */

static void set_label(struct msi_route *r, const char *label)
{
	size_t len = strnlen(label, GSI_LABEL_SIZE - 1);

	memcpy(r->label, label, len);
	r->label[len] = '\0';
}

static int take_gsi(struct gsi_space *s, uint32_t *ret_gsi)
{
	uint32_t gsi;

	for (gsi = s->lowest; gsi < s->cfg.max_routes; gsi++)
		if (s->entries[gsi].state == GSI_FREE)
			break;
	s->lowest = gsi;
	if (gsi == s->cfg.max_routes)
		return -ENOSPC;
	s->lowest++;
	if (gsi >= s->top)
		s->top = gsi + 1;
	*ret_gsi = gsi;
	return 0;
}

int msi_route_new(struct gsi_space *s, uint32_t devid, const char *label, struct msi_route **ret_r)
{
	struct msi_route *r;
	uint32_t gsi;
	int err;

	if (s->cfg.model == MSI_NONE)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&s->lock);
	err = take_gsi(s, &gsi);
	if (!err) {
		r = &s->entries[gsi];
		r->space = s;
		r->devid = devid;
		r->state = GSI_TAKEN;
		set_label(r, label);
		*ret_r = r;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

void msi_route_free(struct msi_route *r)
{
	struct gsi_space *s;

	if (!r)
		return;
	s = r->space;
	pthread_mutex_lock(&s->lock);
	assert(r->state == GSI_TAKEN && !r->holds);
	stage_locked(r, &(struct gsi_message){ 0 });
	if (r->live.valid) {
		r->state = GSI_LEAVING;
		s->leaving++;
	} else {
		forget_gsi(s, number_of(r));
	}
	pthread_mutex_unlock(&s->lock);
}

int msi_route_stage(struct msi_route *r, uint64_t addr, uint32_t data)
{
	struct gsi_message msg = { .addr = addr, .data = data };

	msg.valid = gsi_msi_deliverable(r->space, r->devid, addr, data);
	pthread_mutex_lock(&r->space->lock);
	stage_locked(r, &msg);
	pthread_mutex_unlock(&r->space->lock);
	return msg.valid ? 0 : -EINVAL;
}

bool msi_route_live(const struct msi_route *r)
{
	bool live;

	pthread_mutex_lock(&r->space->lock);
	live = route_live_locked(r);
	pthread_mutex_unlock(&r->space->lock);
	return live;
}

bool msi_route_makes(const struct msi_route *r, uint64_t addr, uint32_t data)
{
	const struct gsi_message m = { .addr = addr, .data = data, .valid = true };
	bool same;

	pthread_mutex_lock(&r->space->lock);
	same = gsi_same_message(&r->live, &m);
	pthread_mutex_unlock(&r->space->lock);
	return same;
}

uint32_t msi_route_gsi(const struct msi_route *r)
{
	uint32_t gsi = number_of(r);

	if (r->space->way != MSI_BY_SPI)
		return gsi;
	pthread_mutex_lock(&r->space->lock);
	gsi = r->live.valid ? r->live.data - FIRST_SPI : 0;
	pthread_mutex_unlock(&r->space->lock);
	return gsi;
}

int msi_route_signal(struct msi_route *r)
{
	struct gsi_space *s = r->space;
	struct gsi_message msg;
	int ret;

	/* Only the loop changes what is live while something hangs on it, and this is the loop. */
	pthread_mutex_lock(&s->lock);
	assert(s->way == MSI_BY_SIGNAL);
	msg = r->live;
	pthread_mutex_unlock(&s->lock);
	ret = msg.valid ? hyp_signal_msi(s->hyp, msg.addr, msg.data, s->cfg.need_devid, r->devid) : -EINVAL;
	pthread_mutex_lock(&s->lock);
	s->stats.signals++;
	s->stats.failed_signals += ret <= 0;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

void gsi_label_spi(struct gsi_space *s, uint32_t spi, const char *label)
{
	if (spi >= s->cfg.nr_spis)
		return;
	pthread_mutex_lock(&s->lock);
	set_label(&s->entries[spi], label);
	pthread_mutex_unlock(&s->lock);
}

/* Attachments */

static int hold_locked(struct gsi_space *s, uint32_t gsi)
{
	if (!s->started)
		return -EAGAIN;
	if (gsi >= s->cfg.nr_spis &&
	    (s->way != MSI_BY_ROUTE || gsi >= s->top || !route_live_locked(&s->entries[gsi])))
		return -EINVAL;
	s->entries[gsi].holds++;
	s->stats.irqfds++;
	return 0;
}

int gsi_hold(struct gsi_space *s, uint32_t gsi)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = hold_locked(s, gsi);
	pthread_mutex_unlock(&s->lock);
	return err;
}

void gsi_release(struct gsi_space *s, uint32_t gsi)
{
	pthread_mutex_lock(&s->lock);
	assert(gsi < s->top && s->entries[gsi].holds);
	s->entries[gsi].holds--;
	s->stats.irqfds--;
	pthread_mutex_unlock(&s->lock);
}

int msi_route_hold(struct msi_route *r)
{
	struct gsi_space *s = r->space;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (!s->started)
		err = -EAGAIN;
	else if (s->way != MSI_BY_SIGNAL || !route_live_locked(r))
		err = -EINVAL;
	if (!err) {
		r->holds++;
		s->stats.hops++;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

void msi_route_release(struct msi_route *r)
{
	struct gsi_space *s = r->space;

	pthread_mutex_lock(&s->lock);
	assert(r->holds);
	r->holds--;
	s->stats.hops--;
	pthread_mutex_unlock(&s->lock);
}

/* For people */

void gsi_count(struct gsi_space *s, enum gsi_event e)
{
	pthread_mutex_lock(&s->lock);
	s->stats.masks += e == GSI_MASKED;
	s->stats.unmasks += e == GSI_UNMASKED;
	s->stats.replays += e == GSI_REPLAYED;
	pthread_mutex_unlock(&s->lock);
}

void gsi_tell_irqfd(struct gsi_space *s, struct irqfd *f)
{
	struct irqfd **p;

	pthread_mutex_lock(&s->lock);
	for (p = &s->irqfds; *p; p = &(*p)->next)
		;
	*p = f;
	pthread_mutex_unlock(&s->lock);
}

void gsi_forget_irqfd(struct gsi_space *s, struct irqfd *f)
{
	struct irqfd **p;

	pthread_mutex_lock(&s->lock);
	for (p = &s->irqfds; *p && *p != f; p = &(*p)->next)
		;
	if (*p)
		*p = f->next;
	pthread_mutex_unlock(&s->lock);
}

struct gsi_spi_line *gsi_spi_line(struct gsi_space *s, uint32_t spi, bool edge)
{
	struct gsi_spi_line *l;

	if (spi >= s->cfg.nr_spis)
		return NULL;
	l = &s->entries[spi].line;
	l->used = true;
	l->edge = edge;
	return l;
}

void gsi_get_stats(struct gsi_space *s, struct gsi_stats *ret_stats)
{
	pthread_mutex_lock(&s->lock);
	*ret_stats = s->stats;
	pthread_mutex_unlock(&s->lock);
}
