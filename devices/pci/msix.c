// SPDX-License-Identifier: BSD-3-Clause
/*
 * pci/msix - theory of operation
 *
 * Register writes change bits in this object and nothing else. Whether KVM agrees with the
 * bits is one comparison a source (source_settled()); msix_sync(), on the loop, makes it so:
 *
 *   1. detach every source that may no longer deliver, or whose vector carries another
 *      message than its route does;
 *   2. if some source is to be attached: stage the messages of all vectors, commit once;
 *   3. attach the sources whose route is live.
 *
 * Where a message makes an SPI (a v2m frame), or is signalled by the loop, 2. has no table to
 * commit; the steps are the same. A message that is written anew names another SPI, and the
 * sources move there.
 *
 * Linux writes the messages of all its vectors under the function mask, before it unmasks
 * the first. So 2. carries all of them in one table, and finds nothing new to commit at the
 * later unmasks. A message alone is no reason for a sync, nor is a vector without a source.
 *
 * A source that is not attached keeps its signals in its eventfd's counter: that counter is
 * the pending bit. It needs no replay, since KVM injects once when it attaches an eventfd
 * with a count. A counter is thrown away where the specifications let a signal go nowhere:
 * while MSI-X is disabled (PCI 3.0 6.8.2), for a source without a vector (virtio 1.2
 * 4.1.5.1.2), and by a device reset.
 *
 * A commit that fails leaves the vectors concerned detached, which is masked in effect; the
 * bits still ask for more, so msix_stale() stays true and the next sync tries again.
 */
#include "devices/pci/msix.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/core/irq_check.h"

#define MSIX_CTRL_ENABLE 0x8000
#define MSIX_CTRL_MASKALL 0x4000
#define MSIX_ENTRY_MASKED 1u /* Vector Control, bit 0; the others are reserved, read as 0 */

#define MSIX_NAME_SIZE 16

struct msix_entry {
	uint32_t addr_lo, addr_hi, data;
	bool masked;
	/* The route and what was staged in it last; the route is made at the first valid message. */
	struct msi_route *route;
	uint64_t staged_addr;
	uint32_t staged_data;
};

struct msix_source {
	struct irqfd irqfd;
	uint16_t vector;
	char name[MSIX_NAME_SIZE];
};

struct msix {
	struct gsi_space *space;
	uint32_t devid;
	unsigned nvec;
	unsigned nsources;
	bool enabled;
	bool maskall;
	bool bus_master;
	char name[MSIX_NAME_SIZE];
	struct msix_entry *entries; /* nvec */
	struct msix_source *sources; /* nsources; those with an eventfd */
};

/* Construction */

static void copy_name(char *to, const char *name)
{
	size_t len = strnlen(name, MSIX_NAME_SIZE - 1);

	memcpy(to, name, len);
	to[len] = '\0';
}

static int init_sources(struct msix *m, unsigned n, struct loop *loop)
{
	char name[24];
	unsigned i;
	int err;

	for (i = 0; i < n; i++) {
		err = irqfd_init_msi(&m->sources[i].irqfd, m->space, loop);
		if (err)
			return err;
		m->sources[i].vector = MSIX_NO_VECTOR;
		m->nsources++;
		irqfd_tell(&m->sources[i].irqfd, m->name, m->sources[i].name);
		snprintf(name, sizeof(name), "source %u", i);
		msix_name_source(m, i, name);
	}
	return 0;
}

int msix_new(const struct msix_cfg *cfg, struct msix **ret_m)
{
	struct msix *m;
	unsigned i;
	int err = -ENOMEM;

	assert(cfg->nvec >= 1 && cfg->nvec <= MSIX_MAX_VECTORS);
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->space = cfg->space;
	m->devid = cfg->devid;
	m->bus_master = true;
	copy_name(m->name, cfg->name);
	m->entries = calloc(cfg->nvec, sizeof(*m->entries));
	m->sources = calloc((size_t)cfg->nsources + 1, sizeof(*m->sources));
	if (!m->entries || !m->sources)
		goto fail;
	m->nvec = cfg->nvec;
	for (i = 0; i < m->nvec; i++)
		m->entries[i].masked = true;
	err = init_sources(m, cfg->nsources, cfg->loop);
	if (err)
		goto fail;
	*ret_m = m;
	return 0;
fail:
	msix_free(m);
	return err;
}

void msix_free(struct msix *m)
{
	unsigned i;

	if (!m)
		return;
	/* Detached before any route goes: sources share vectors. */
	for (i = 0; i < m->nsources; i++)
		irqfd_fini(&m->sources[i].irqfd);
	for (i = 0; i < m->nvec; i++)
		msi_route_free(m->entries[i].route);
	free(m->sources);
	free(m->entries);
	free(m);
}

void msix_name_source(struct msix *m, unsigned source, const char *name)
{
	assert(source < m->nsources);
	copy_name(m->sources[source].name, name);
}

/* What the bits ask for */

static uint64_t entry_addr(const struct msix_entry *e)
{
	return (uint64_t)e->addr_hi << 32 | e->addr_lo;
}

static bool entry_valid(const struct msix *m, const struct msix_entry *e)
{
	return gsi_msi_deliverable(m->space, m->devid, entry_addr(e), e->data);
}

static bool deliverable(const struct msix *m, const struct msix_entry *e)
{
	return m->enabled && !m->maskall && m->bus_master && !e->masked && entry_valid(m, e);
}

/* Does the route carry what the guest wrote last? */
static bool in_step(const struct msix_entry *e)
{
	return e->route && e->staged_addr == entry_addr(e) && e->staged_data == e->data;
}

/* The entry of @s; NULL: it has no vector. */
static struct msix_entry *source_entry(const struct msix *m, const struct msix_source *s)
{
	return s->vector == MSIX_NO_VECTOR ? NULL : &m->entries[s->vector];
}

static bool source_wanted(const struct msix *m, const struct msix_source *s)
{
	const struct msix_entry *e = source_entry(m, s);

	return e && deliverable(m, e);
}

/* For an attached source: may it stay as it is? */
static bool attachment_right(const struct msix *m, const struct msix_source *s)
{
	const struct msix_entry *e = source_entry(m, s);

	return e && deliverable(m, e) && in_step(e) && irqfd_at_msi(&s->irqfd, e->route);
}

static bool source_settled(const struct msix *m, const struct msix_source *s)
{
	return s->irqfd.attached ? attachment_right(m, s) : !source_wanted(m, s);
}

bool msix_stale(const struct msix *m)
{
	unsigned i;

	for (i = 0; i < m->nsources; i++)
		if (!source_settled(m, &m->sources[i]))
			return true;
	return false;
}

/* Registers */

static bool access_ok(uint64_t off, unsigned len, uint64_t size)
{
	return (len == 4 || len == 8) && is_aligned(off, len) && range_fits(off, len, size);
}

/* One of the four words of an entry. */
static uint32_t entry_read(const struct msix_entry *e, unsigned word)
{
	switch (word) {
	case 0:
		return e->addr_lo;
	case 1:
		return e->addr_hi;
	case 2:
		return e->data;
	default:
		return e->masked ? MSIX_ENTRY_MASKED : 0;
	}
}

static void entry_write(struct msix_entry *e, unsigned word, uint32_t val)
{
	switch (word) {
	case 0:
		e->addr_lo = val;
		break;
	case 1:
		e->addr_hi = val;
		break;
	case 2:
		e->data = val;
		break;
	default:
		e->masked = val & MSIX_ENTRY_MASKED;
		break;
	}
}

uint64_t msix_table_read(const struct msix *m, uint64_t off, unsigned len)
{
	const struct msix_entry *e;
	unsigned word;
	uint64_t val;

	if (!access_ok(off, len, (uint64_t)m->nvec * MSIX_ENTRY_SIZE))
		return width_mask(len);
	e = &m->entries[off / MSIX_ENTRY_SIZE];
	word = (unsigned)(off % MSIX_ENTRY_SIZE / 4);
	val = entry_read(e, word);
	if (len == 8)
		val |= (uint64_t)entry_read(e, word + 1) << 32;
	return val;
}

void msix_table_write(struct msix *m, uint64_t off, unsigned len, uint64_t val)
{
	struct msix_entry *e;
	unsigned word;

	if (!access_ok(off, len, (uint64_t)m->nvec * MSIX_ENTRY_SIZE))
		return;
	e = &m->entries[off / MSIX_ENTRY_SIZE];
	word = (unsigned)(off % MSIX_ENTRY_SIZE / 4);
	/* The mask bit is in the last word: it is looked at by the next sync, with all the rest in place. */
	entry_write(e, word, (uint32_t)val);
	if (len == 8)
		entry_write(e, word + 1, (uint32_t)(val >> 32));
}

static bool source_pending(const struct msix_source *s)
{
	return !s->irqfd.attached && irqfd_pending(&s->irqfd);
}

uint64_t msix_pba_read(const struct msix *m, uint64_t off, unsigned len)
{
	const uint64_t size = (m->nvec + 63) / 64 * 8;
	uint64_t first, bits = 0;
	unsigned i;

	if (!access_ok(off, len, size))
		return width_mask(len);
	if (!m->enabled)
		return 0;
	first = off * 8;
	for (i = 0; i < m->nsources; i++) {
		const struct msix_source *s = &m->sources[i];

		if (s->vector != MSIX_NO_VECTOR && s->vector >= first &&
		    s->vector - first < len * 8 && source_pending(s))
			bits |= BIT64(s->vector - first);
	}
	return bits;
}

/* A signal of a source that is not attached. */
static void forget_signal(struct msix *m, unsigned source)
{
	/* What is attached holds nothing: KVM takes each signal as it comes. */
	if (!m->sources[source].irqfd.attached)
		(void)irqfd_take(&m->sources[source].irqfd);
}

void msix_ctrl_write(struct msix *m, uint16_t ctrl)
{
	const bool enable = ctrl & MSIX_CTRL_ENABLE;
	unsigned i;

	/* What was signalled while MSI-X was off went nowhere, nor does a pending bit outlive it. */
	if (enable && !m->enabled)
		for (i = 0; i < m->nsources; i++)
			forget_signal(m, i);
	m->enabled = enable;
	m->maskall = ctrl & MSIX_CTRL_MASKALL;
}

void msix_set_bus_master(struct msix *m, bool on)
{
	m->bus_master = on;
}

/* Sources */

uint16_t msix_bind(struct msix *m, unsigned source, uint16_t vector)
{
	struct msix_source *s;

	assert(source < m->nsources);
	s = &m->sources[source];
	if (vector >= m->nvec)
		vector = MSIX_NO_VECTOR;
	/* From one vector to another a waiting signal follows; from nowhere there is none. */
	if (s->vector == MSIX_NO_VECTOR)
		forget_signal(m, source);
	s->vector = vector;
	return vector;
}

uint16_t msix_vector(const struct msix *m, unsigned source)
{
	assert(source < m->nsources);
	return m->sources[source].vector;
}

void msix_unbind_all(struct msix *m)
{
	unsigned i;

	for (i = 0; i < m->nsources; i++) {
		m->sources[i].vector = MSIX_NO_VECTOR;
		m->sources[i].irqfd.lent = false;
		forget_signal(m, i);
	}
}

int msix_fd(const struct msix *m, unsigned source)
{
	assert(source < m->nsources);
	return m->sources[source].irqfd.fd;
}

int msix_lend(struct msix *m, unsigned source)
{
	assert(source < m->nsources);
	m->sources[source].irqfd.lent = true;
	return msix_fd(m, source);
}

void msix_raise(struct msix *m, unsigned source)
{
	assert(source < m->nsources);
	irqfd_raise(&m->sources[source].irqfd);
}

/* Making KVM agree */

static void detach_wrong(struct msix *m)
{
	unsigned i;

	for (i = 0; i < m->nsources; i++) {
		struct msix_source *s = &m->sources[i];

		if (s->irqfd.attached && !attachment_right(m, s))
			irqfd_detach(&s->irqfd);
	}
}

static int stage_entry(struct msix *m, struct msix_entry *e)
{
	int err;

	if (!e->route) {
		if (!entry_valid(m, e))
			return 0;
		err = msi_route_new(m->space, m->devid, m->name, &e->route);
		if (err)
			return err;
	}
	e->staged_addr = entry_addr(e);
	e->staged_data = e->data;
	/* -EINVAL is the guest's own affair: the vector is not deliverable. */
	(void)msi_route_stage(e->route, e->staged_addr, e->staged_data);
	return 0;
}

static int stage_all(struct msix *m)
{
	unsigned i;
	int err = 0;

	for (i = 0; i < m->nvec; i++) {
		int one = stage_entry(m, &m->entries[i]);

		err = err ? err : one;
	}
	return err;
}

/* Attaches @s if its route made it into the table; else it waits for a later sync. */
static int attach_source(const struct msix *m, struct msix_source *s)
{
	const struct msix_entry *e = source_entry(m, s);

	if (s->irqfd.attached || !source_wanted(m, s) || !e->route || !msi_route_live(e->route))
		return 0;
	return irqfd_attach_msi(&s->irqfd, e->route);
}

static int attach_all(struct msix *m)
{
	unsigned i;
	int err = 0;

	for (i = 0; i < m->nsources; i++) {
		int one = attach_source(m, &m->sources[i]);

		err = err ? err : one;
	}
	return err;
}

/* For the dump: where each source goes, or would go. */
static void note_all(struct msix *m)
{
	unsigned i;

	for (i = 0; i < m->nsources; i++) {
		struct msix_source *s = &m->sources[i];
		const struct msix_entry *e = source_entry(m, s);

		irqfd_note(&s->irqfd, e ? e->route : NULL, e && !deliverable(m, e));
	}
}

static void check_source(const struct msix *m, const struct msix_source *s, bool settled)
{
	const struct msix_entry *e = source_entry(m, s);
	struct irq_source src = {
		.device = m->name, .name = s->name, .fd = s->irqfd.fd, .devid = m->devid,
		.bound = e, .enabled = m->enabled, .function_masked = m->maskall, .bus_master = m->bus_master,
		.hopping = s->irqfd.hop,
	};

	if (e) {
		src.entry_masked = msix_table_read(m, (uint64_t)s->vector * MSIX_ENTRY_SIZE + 12, 4) & MSIX_ENTRY_MASKED;
		src.addr = entry_addr(e);
		src.data = e->data;
		src.strays = s->irqfd.hop && !msi_route_makes(s->irqfd.hop, src.addr, src.data);
		src.pending = msix_pba_read(m, s->vector / 64 * 8, 8) & BIT64(s->vector % 64);
	}
	irq_check_source(m->space, &src, settled);
}

static void check_all(const struct msix *m, bool settled)
{
	unsigned i;

	for (i = 0; irq_check_on(m->space) && i < m->nsources; i++)
		check_source(m, &m->sources[i], settled);
}

void msix_check_reset(const struct msix *m)
{
	unsigned i;

	/* What the loop did not take yet stays in the eventfd until its source is bound again, and is forgotten then. */
	if (gsi_msi_way(m->space) == MSI_BY_SIGNAL)
		return;
	for (i = 0; irq_check_on(m->space) && i < m->nsources; i++)
		irq_check_silent(m->space, m->name, m->sources[i].irqfd.fd);
}

int msix_sync(struct msix *m)
{
	int err = 0, one;

	detach_wrong(m);
	if (msix_stale(m)) {
		err = stage_all(m);
		one = gsi_commit(m->space);
		err = err ? err : one;
		one = attach_all(m);
		err = err ? err : one;
	}
	note_all(m);
	check_all(m, !err);
	return err;
}
