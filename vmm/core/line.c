// SPDX-License-Identifier: BSD-3-Clause
/*
 * line - theory of operation
 *
 * Level: the wire is KVM's, the wish is ours. Two threads may wish at the same time and
 * reach KVM in the other order, so whoever set the wire looks again afterwards, and goes on
 * until what it told KVM is what is wished. The last call is then always the right one.
 *
 * Edge: up and down again. A distributor that was told "edge", as the device tree says of these
 * lines, latches the way up; for one that a guest told "level" the line does not stay up. Two
 * threads that pulse at once may have their ioctls mixed: each way up still comes after what its
 * thread did before. No two devices share a line.
 *
 * Resampled: KVM keeps the line up from the signal to the guest's end of interrupt, which it tells
 * by the second eventfd. Its detach lowers the line.
 */
#include "vmm/core/line.h"

#include <errno.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/core/gsi.h"
#include "vmm/core/irq_check.h"
#include "vmm/core/kvm.h"

void line_init(struct line *l, struct gsi_space *space, uint32_t spi, const char *label)
{
	l->hyp = gsi_hyp(space);
	l->spi = spi;
	atomic_init(&l->level, false);
	gsi_label_spi(space, spi, label);
	l->told = gsi_spi_line(space, spi, false);
}

void line_set(struct line *l, bool level)
{
	if (atomic_exchange(&l->level, level) == level)
		return;
	if (l->told) {
		atomic_store_explicit(&l->told->high, level, memory_order_relaxed);
		atomic_fetch_add_explicit(&l->told->raised, level, memory_order_relaxed);
	}
	do {
		level = atomic_load(&l->level);
		(void)hyp_irq_line(l->hyp, l->spi, level);
	} while (atomic_load(&l->level) != level);
}

void edge_line_init(struct edge_line *l, struct gsi_space *space, uint32_t spi, const char *label)
{
	*l = (struct edge_line){ .hyp = gsi_hyp(space), .space = space, .spi = spi };
	gsi_label_spi(space, spi, label);
	l->told = gsi_spi_line(space, spi, true);
}

void edge_line_open(struct edge_line *l)
{
	atomic_store(&l->open, true);
}

void edge_line_shut(struct edge_line *l)
{
	atomic_store(&l->open, false);
}

void edge_line_reason(struct edge_line *l)
{
	atomic_fetch_add(&l->reasons, 1);
}

void edge_line_pulse(struct edge_line *l)
{
	uint64_t pulses;

	if (!atomic_load(&l->open))
		return;
	pulses = atomic_fetch_add(&l->pulses, 1) + 1;
	/* In this order: whoever pulsed up to now had given its reason before. */
	if (l->has_status)
		irq_check_pulse(l->space, l->spi, atomic_load(&l->reasons), pulses);
	if (l->told)
		atomic_fetch_add_explicit(&l->told->raised, 1, memory_order_relaxed);
	(void)hyp_irq_line(l->hyp, l->spi, true);
	(void)hyp_irq_line(l->hyp, l->spi, false);
}

uint32_t edge_line_gsi(const struct edge_line *l)
{
	return l->spi;
}

int resample_line_init(struct resample_line *l, struct gsi_space *space, uint32_t spi, const char *label)
{
	int err;

	l->eoi_fd = fd_event();
	if (l->eoi_fd < 0)
		return l->eoi_fd;
	err = irqfd_init(&l->irqfd, space);
	if (err) {
		close_fd(&l->eoi_fd);
		return err;
	}
	l->irqfd.resample_fd = l->eoi_fd;
	l->irqfd.lent = true;
	l->spi = l->irqfd.gsi = spi;
	gsi_label_spi(space, spi, label);
	irqfd_tell(&l->irqfd, NULL, NULL);
	return 0;
}

void resample_line_fini(struct resample_line *l)
{
	irqfd_fini(&l->irqfd);
	close_fd(&l->eoi_fd);
}

int resample_line_attach(struct resample_line *l)
{
	return irqfd_attach(&l->irqfd, l->spi);
}

void resample_line_detach(struct resample_line *l)
{
	irqfd_detach(&l->irqfd);
	(void)irqfd_take(&l->irqfd);
}
