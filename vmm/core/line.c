// SPDX-License-Identifier: BSD-3-Clause
/*
 * line - theory of operation
 *
 * Level: the wire is KVM's, the wish is ours. Two threads may wish at the same time and
 * reach KVM in the other order, so whoever set the wire looks again afterwards, and goes on
 * until what it told KVM is what is wished. The last call is then always the right one.
 *
 * Edge: KVM's irqfd raises an SPI and never lowers it, which is a pulse to a distributor
 * that was told "edge" and a storm to one that was told "level". The device tree says edge
 * for these lines, and no two devices share one.
 *
 * Resampled: KVM keeps the line up from the signal to the guest's end of interrupt, which it tells
 * by the second eventfd. Its detach lowers the line.
 */
#include "vmm/core/line.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "vmm/base/cleanup.h"
#include "vmm/core/gsi.h"
#include "vmm/core/irq_check.h"
#include "vmm/core/kvm.h"

void line_init(struct line *l, struct gsi_space *space, uint32_t spi, const char *label)
{
	l->hyp = gsi_hyp(space);
	l->spi = spi;
	atomic_init(&l->level, false);
	gsi_label_spi(space, spi, label);
	l->told = gsi_level_line(space, spi);
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

int edge_line_init(struct edge_line *l, struct gsi_space *space, uint32_t spi, const char *label)
{
	int err;

	*l = (struct edge_line){ 0 };
	err = irqfd_init(&l->irqfd, space);
	if (err)
		return err;
	l->spi = l->irqfd.gsi = spi;
	gsi_label_spi(space, spi, label);
	irqfd_tell(&l->irqfd, NULL, NULL);
	return 0;
}

void edge_line_fini(struct edge_line *l)
{
	irqfd_fini(&l->irqfd);
}

int edge_line_attach(struct edge_line *l)
{
	return irqfd_attach(&l->irqfd, l->spi);
}

void edge_line_detach(struct edge_line *l)
{
	irqfd_detach(&l->irqfd);
	(void)irqfd_take(&l->irqfd);
}

void edge_line_reason(struct edge_line *l)
{
	atomic_fetch_add(&l->reasons, 1);
}

void edge_line_pulse(struct edge_line *l)
{
	uint64_t pulses = atomic_fetch_add(&l->pulses, 1) + 1;

	/* In this order: whoever pulsed up to now had given its reason before. */
	if (l->has_status)
		irq_check_pulse(l->irqfd.space, l->spi, atomic_load(&l->reasons), pulses);
	irqfd_raise(&l->irqfd);
}

uint32_t edge_line_gsi(const struct edge_line *l)
{
	return l->spi;
}

int resample_line_init(struct resample_line *l, struct gsi_space *space, uint32_t spi, const char *label)
{
	int err;

	l->eoi_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->eoi_fd < 0)
		return -errno;
	err = irqfd_init(&l->irqfd, space);
	if (err) {
		close_fd(&l->eoi_fd);
		return err;
	}
	l->irqfd.resample_fd = l->eoi_fd;
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
