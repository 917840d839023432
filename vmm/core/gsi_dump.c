// SPDX-License-Identifier: BSD-3-Clause
/*
 * The GSI space, printed for people: one line an interrupt, from what raises it to the guest.
 *
 * Signals are counted where this program sends them. What the kernel sends (vhost, VFIO) goes from
 * its code into KVM's without passing here, and no counter of it exists; so it is said to be the
 * kernel's, and not guessed.
 */
#include "vmm/core/gsi_internal.h"
#include "vmm/core/irqfd.h"

#define NUMBER_SIZE 28

/* "4,210" */
static const char *grouped(uint64_t n, char buf[static NUMBER_SIZE])
{
	char *p = buf + NUMBER_SIZE - 1;
	unsigned digits = 0;

	*p = '\0';
	do {
		if (digits && digits % 3 == 0)
			*--p = ',';
		*--p = (char)('0' + n % 10);
		digits++;
		n /= 10;
	} while (n);
	return p;
}

static void number(FILE *out, const char *before, uint64_t n, const char *after)
{
	char buf[NUMBER_SIZE];

	fprintf(out, "%s%s%s", before, grouped(n, buf), after);
}

/* Routes */

static const char *route_note(const struct msi_route *r)
{
	if (r->state == GSI_LEAVING)
		return ", freed, leaves at the next commit";
	if (gsi_route_wants(r))
		return ", staged";
	return r->staged.valid || !r->live.valid ? "" : ", leaves at the next commit";
}

static void dump_spi(uint32_t spi, FILE *out)
{
	fprintf(out, "GSI %u -> SPI %u (INTID %u)", spi, spi, spi + FIRST_SPI);
}

/* From the GSI, or what stands for it, to what takes the message. */
static void dump_message(const struct gsi_space *s, const struct msi_route *r, FILE *out)
{
	const struct gsi_message *msg = r->staged.valid ? &r->staged : &r->live;

	if (s->way == MSI_BY_ROUTE)
		fprintf(out, "GSI %u -> ", (unsigned)(r - s->entries));
	if (!msg->valid) {
		fprintf(out, "no message, devid 0x%x", r->devid);
		return;
	}
	if (s->way == MSI_BY_SIGNAL)
		fputs("this program -> KVM_SIGNAL_MSI -> ", out);
	fprintf(out, "MSI 0x%08llx data %u devid 0x%x -> ", (unsigned long long)msg->addr, msg->data, r->devid);
	if (s->way == MSI_BY_SPI)
		dump_spi(msg->data - FIRST_SPI, out);
	else
		fputs("ITS", out);
}

/* What no irqfd that is told of has shown. */

static void dump_line(const struct gsi_spi_line *l, FILE *out)
{
	uint64_t raised = atomic_load(&l->raised);

	if (l->edge)
		number(out, "edge, ", raised, raised == 1 ? " signal" : " signals");
	else
		number(out, atomic_load(&l->high) ? "level, high, raised " : "level, low, raised ", raised, " times");
}

static void dump_other_spi(const struct gsi_space *s, uint32_t spi, FILE *out)
{
	const struct msi_route *r = &s->entries[spi];
	const struct gsi_spi_line *l = &r->line;

	if (r->shown || !(r->label[0] || r->holds))
		return;
	fputs(r->label[0] ? r->label : "unnamed", out);
	if (l->used) {
		fprintf(out, " -> KVM_IRQ_LINE -> SPI %u (INTID %u), ", spi, spi + FIRST_SPI);
		dump_line(l, out);
	} else {
		fputs(" -> ", out);
		dump_spi(spi, out);
	}
	if (r->holds)
		fprintf(out, ", %u irqfd%s", r->holds, r->holds == 1 ? "" : "s");
	fputc('\n', out);
}

static void dump_other_msi(const struct gsi_space *s, uint32_t n, FILE *out)
{
	const struct msi_route *r = &s->entries[n];

	if (r->state == GSI_FREE || r->shown)
		return;
	fprintf(out, "%s, no source -> ", r->label);
	dump_message(s, r, out);
	fputs(route_note(r), out);
	if (r->holds)
		fprintf(out, ", %u irqfd%s", r->holds, r->holds == 1 ? "" : "s");
	fputc('\n', out);
}

/* Ways */

static void dump_signals(struct irqfd *f, FILE *out)
{
	uint64_t n = atomic_load(&f->signals);

	if (!f->lent)
		number(out, ", ", n, n == 1 ? " signal" : " signals");
	else if (n)
		number(out, ", ", n, n == 1 ? " signal of ours, others from the kernel" : " signals of ours, others from the kernel");
	else
		fputs(", signals from the kernel", out);
	if (!f->attached && irqfd_pending(f))
		fputs(", one waits", out);
}

static void dump_way_to_spi(struct gsi_space *s, struct irqfd *f, FILE *out)
{
	s->entries[f->gsi].shown = true;
	dump_spi(f->gsi, out);
	fprintf(out, ", %s, %s", f->resample_fd >= 0 ? "level until its EOI" : "edge", f->attached ? "attached" : "detached");
}

static void dump_way_to_msi(struct gsi_space *s, struct irqfd *f, FILE *out)
{
	if (!f->route) {
		fputs("no vector", out);
		return;
	}
	s->entries[f->route - s->entries].shown = true;
	dump_message(s, f->route, out);
	fprintf(out, ", %s%s", f->attached ? "unmasked" : "masked", route_note(f->route));
}

static void dump_way(struct gsi_space *s, struct irqfd *f, FILE *out)
{
	if (f->owner)
		fprintf(out, "%s %s", f->owner, f->name);
	else
		fputs(s->entries[f->gsi].label, out);
	fprintf(out, " -> eventfd %d -> ", f->fd);
	if (f->by_message)
		dump_way_to_msi(s, f, out);
	else
		dump_way_to_spi(s, f, out);
	dump_signals(f, out);
	fputc('\n', out);
}

static void dump_counters(const struct gsi_stats *st, FILE *out)
{
	fprintf(out, "commits %llu, skipped %llu, failed %llu, irqfds %u, spi routes %u, msi routes %u",
		(unsigned long long)st->commits, (unsigned long long)st->skipped_commits,
		(unsigned long long)st->failed_commits, st->irqfds, st->spi_routes, st->msi_routes);
	number(out, ", table bytes ", st->table_bytes, "\n");
	if (st->commits) {
		number(out, "ns a commit: last ", st->last_commit_ns, "");
		number(out, ", mean ", st->commit_ns / st->commits, "");
		number(out, ", most ", st->max_commit_ns, "\n");
	}
	number(out, "masks ", st->masks, "");
	number(out, ", unmasks ", st->unmasks, "");
	number(out, ", replays ", st->replays, "");
	if (st->signals) {
		number(out, ", KVM_SIGNAL_MSI ", st->signals, "");
		number(out, ", of them in vain ", st->failed_signals, "");
	}
	fputc('\n', out);
}

void gsi_dump(struct gsi_space *s, FILE *out)
{
	uint32_t gsi;

	pthread_mutex_lock(&s->lock);
	for (gsi = 0; gsi < s->top; gsi++)
		s->entries[gsi].shown = false;
	for (struct irqfd *f = s->irqfds; f; f = f->next)
		dump_way(s, f, out);
	for (gsi = 0; gsi < s->cfg.nr_spis; gsi++)
		dump_other_spi(s, gsi, out);
	for (; gsi < s->top; gsi++)
		dump_other_msi(s, gsi, out);
	dump_counters(&s->stats, out);
	pthread_mutex_unlock(&s->lock);
}
