// SPDX-License-Identifier: BSD-3-Clause
/* The GSI space, printed for people. */
#include "vmm/core/gsi_internal.h"

static void dump_tail(const struct msi_route *r, FILE *out)
{
	if (r->holds)
		fprintf(out, ", %u irqfd%s", r->holds, r->holds == 1 ? "" : "s");
	fputc('\n', out);
}

static void dump_spi(const struct gsi_space *s, uint32_t gsi, FILE *out)
{
	const struct msi_route *r = &s->entries[gsi];

	if (!r->label[0] && !r->holds)
		return;
	fprintf(out, "gsi %u -> SPI %u (INTID %u), %s", gsi, gsi, gsi + 32,
		r->label[0] ? r->label : "unnamed");
	dump_tail(r, out);
}

static const char *dump_note(const struct msi_route *r)
{
	if (r->state == GSI_LEAVING)
		return ", freed, leaves at the next commit";
	if (gsi_route_wants(r))
		return ", staged";
	return r->staged.valid || !r->live.valid ? "" : ", leaves at the next commit";
}

/* "MSI ... -> " what takes it; a GSI before it where the entry has one of its own. */
static void dump_message(const struct gsi_space *s, const struct msi_route *r, const struct gsi_message *msg, FILE *out)
{
	if (!msg->valid) {
		fprintf(out, "nothing, devid 0x%x", r->devid);
		return;
	}
	fprintf(out, "MSI addr 0x%llx data %u devid 0x%x -> ", (unsigned long long)msg->addr, msg->data, r->devid);
	if (s->way == MSI_BY_SPI)
		fprintf(out, "gsi %u -> SPI %u", msg->data - 32, msg->data - 32);
	else
		fputs(s->way == MSI_BY_SIGNAL ? "KVM_SIGNAL_MSI -> ITS" : "ITS", out);
}

static void dump_msi(const struct gsi_space *s, uint32_t gsi, FILE *out)
{
	const struct msi_route *r = &s->entries[gsi];

	if (r->state == GSI_FREE)
		return;
	if (s->way == MSI_BY_ROUTE)
		fprintf(out, "gsi %u -> ", gsi);
	dump_message(s, r, r->staged.valid ? &r->staged : &r->live, out);
	fprintf(out, ", %s, %s%s", r->label, r->masked ? "masked" : "unmasked", dump_note(r));
	dump_tail(r, out);
}

void gsi_dump(struct gsi_space *s, FILE *out)
{
	uint32_t gsi;

	pthread_mutex_lock(&s->lock);
	for (gsi = 0; gsi < s->cfg.nr_spis; gsi++)
		dump_spi(s, gsi, out);
	for (; gsi < s->top; gsi++)
		dump_msi(s, gsi, out);
	fprintf(out, "commits %llu, skipped %llu, failed %llu, irqfds %u, spi routes %u, msi routes %u\n",
		(unsigned long long)s->stats.commits,
		(unsigned long long)s->stats.skipped_commits,
		(unsigned long long)s->stats.failed_commits, s->stats.irqfds, s->stats.spi_routes,
		s->stats.msi_routes);
	pthread_mutex_unlock(&s->lock);
}
