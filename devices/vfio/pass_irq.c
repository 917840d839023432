// SPDX-License-Identifier: BSD-3-Clause
/*
 * pass_irq - theory of operation
 *
 * One kind at a time: the kernel refuses a second one, so the old is switched off first. MSI-X goes
 * before MSI where a guest enables both, and the line is there whenever neither is: a device with a
 * pin that has lost its messages still interrupts.
 *
 * Messages. All vectors are asked for at once when the guest enables the kind: the host can add none
 * later without losing some meanwhile. From then on the host's device is left alone: a mask of the
 * guest's detaches the vector's irqfd and leaves the eventfd with the kernel's driver, whose signals
 * stay in its counter; that is the pending bit, and what the next attach injects (devices/pci/msix.c).
 * A plain MSI capability is put into entries of the same table: its n-th vector sends data + n.
 *
 * The line. VFIO masks it when it fires and signals; KVM asserts the SPI until the guest's end of
 * interrupt, then signals the second eventfd, which VFIO takes as its unmask; a device that still
 * asserts fires again. The irqfd is attached before VFIO may signal. COMMAND.Interrupt Disable is
 * the device's own and passed on.
 *
 * Order: KVM's side first (what is no longer wanted is detached), then the old kind off, then the new
 * one on. A signal that comes before its irqfd is there waits in the counter.
 */
#include "devices/vfio/pass_irq.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"

/* Making and giving back */

static int new_vectors(const struct pass_irq_cfg *cfg, unsigned n, const char *stem, struct msix **ret_m)
{
	struct msix_cfg mc = {
		.space = cfg->space, .loop = cfg->loop, .name = cfg->name, .nvec = n, .nsources = n,
		.devid = cfg->devid,
	};
	char name[16];
	int r = msix_new(&mc, ret_m);

	if (r)
		return r;
	msix_set_bus_master(*ret_m, false);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s%u", stem, i);
		msix_name_source(*ret_m, i, name);
		msix_bind(*ret_m, i, (uint16_t)i);
	}
	return 0;
}

static int new_line(struct pass_irq *q, const struct pass_irq_cfg *cfg)
{
	char label[32];
	int r;

	snprintf(label, sizeof(label), "%s intx", cfg->name);
	r = resample_line_init(&q->line, cfg->space, cfg->spi, label);
	q->has_line = !r;
	return r;
}

int pass_irq_init(struct pass_irq *q, const struct pass_irq_cfg *cfg)
{
	const struct pcicfg *p = cfg->pcicfg;
	int r = 0;

	*q = (struct pass_irq){ .fd = cfg->fd, .name = cfg->name };
	if (p->msix_cap) {
		q->msix_vectors = p->msix_vectors < MSIX_MAX_VECTORS ? p->msix_vectors : MSIX_MAX_VECTORS;
		r = new_vectors(cfg, q->msix_vectors, "v", &q->msix);
	}
	if (!r && p->msi_cap) {
		q->msi_vectors = p->msi_vectors;
		r = new_vectors(cfg, q->msi_vectors, "msi", &q->msi);
	}
	if (!r && p->intx)
		r = new_line(q, cfg);
	if (r)
		pass_irq_fini(q);
	return r;
}

static enum hostdev_irq host_kind(enum pass_kind kind)
{
	return kind == PASS_MSIX ? HOSTDEV_MSIX : kind == PASS_MSI ? HOSTDEV_MSI : HOSTDEV_INTX;
}

static void leave(struct pass_irq *q)
{
	if (q->kind == PASS_NONE)
		return;
	/* It fails only for what is off already. */
	(void)hostdev_set_irqs(q->fd, host_kind(q->kind), NULL, 0);
	if (q->kind == PASS_INTX)
		resample_line_detach(&q->line);
	q->kind = PASS_NONE;
	q->count = 0;
}

void pass_irq_fini(struct pass_irq *q)
{
	leave(q);
	msix_free(q->msix);
	msix_free(q->msi);
	q->msix = q->msi = NULL;
	if (q->has_line)
		resample_line_fini(&q->line);
	q->has_line = false;
}

/* Registers */

/* What failed is tried again once the guest has switched it off: also where there is no line to go back to. */
static void chosen_anew(struct pass_irq *q, enum pass_kind kind, bool on)
{
	if (!on && q->failed == kind)
		q->failed = PASS_NONE;
}

void pass_irq_msix_control(struct pass_irq *q, uint16_t control)
{
	if (!q->msix)
		return;
	msix_ctrl_write(q->msix, control);
	q->msix_on = control & PCI_MSIX_FLAGS_ENABLE;
	chosen_anew(q, PASS_MSIX, q->msix_on);
}

void pass_irq_msi(struct pass_irq *q, struct msi_state s)
{
	if (!q->msi)
		return;
	for (unsigned i = 0; i < q->msi_vectors; i++) {
		uint32_t data = (uint32_t)((s.data & ~(s.count - 1)) | i);
		uint64_t masked = i >= s.count || (s.masks & BIT32(i));

		if (i >= s.count)
			data = 0;
		msix_table_write(q->msi, i * MSIX_ENTRY_SIZE, 8, i < s.count ? s.address : 0);
		msix_table_write(q->msi, i * MSIX_ENTRY_SIZE + 8, 8, data | masked << 32);
	}
	msix_ctrl_write(q->msi, s.enabled ? PCI_MSIX_FLAGS_ENABLE : 0);
	q->msi_on = s.enabled;
	chosen_anew(q, PASS_MSI, s.enabled);
	q->msi_count = s.count;
}

void pass_irq_bus_master(struct pass_irq *q, bool on)
{
	if (q->msix)
		msix_set_bus_master(q->msix, on);
	if (q->msi)
		msix_set_bus_master(q->msi, on);
}

void pass_irq_reset(struct pass_irq *q)
{
	for (unsigned i = 0; i < q->msix_vectors; i++) {
		msix_table_write(q->msix, i * MSIX_ENTRY_SIZE, 8, 0);
		msix_table_write(q->msix, i * MSIX_ENTRY_SIZE + 8, 8, UINT64_C(1) << 32);
	}
	pass_irq_msix_control(q, 0);
	pass_irq_msi(q, (struct msi_state){ .count = 1 });
	pass_irq_bus_master(q, false);
}

uint32_t pass_irq_msi_pending(const struct pass_irq *q)
{
	return q->msi ? (uint32_t)msix_pba_read(q->msi, 0, 8) : 0;
}

/* Agreeing */

static enum pass_kind wanted(const struct pass_irq *q, unsigned *ret_count)
{
	if (q->msix_on) {
		*ret_count = q->msix_vectors;
		return PASS_MSIX;
	}
	if (q->msi_on) {
		*ret_count = q->msi_count;
		return PASS_MSI;
	}
	*ret_count = q->has_line;
	return q->has_line ? PASS_INTX : PASS_NONE;
}

static bool kind_settled(const struct pass_irq *q)
{
	unsigned count;
	enum pass_kind kind = wanted(q, &count);

	if (kind == q->kind && count == q->count)
		return true;
	return kind != PASS_NONE && kind == q->failed && count == q->failed_count;
}

bool pass_irq_stale(const struct pass_irq *q)
{
	return !kind_settled(q) || (q->msix && msix_stale(q->msix)) || (q->msi && msix_stale(q->msi));
}

static int enter_line(struct pass_irq *q)
{
	int r = resample_line_attach(&q->line);

	if (!r)
		r = hostdev_set_irqs(q->fd, HOSTDEV_INTX, &q->line.irqfd.fd, 1);
	if (!r) {
		r = hostdev_set_unmask(q->fd, q->line.eoi_fd);
		if (r)
			(void)hostdev_set_irqs(q->fd, HOSTDEV_INTX, NULL, 0);
	}
	if (r)
		resample_line_detach(&q->line);
	return r;
}

static int enter_messages(struct pass_irq *q, struct msix *m, enum pass_kind kind, unsigned n)
{
	int fds[HOSTDEV_MAX_VECTORS];

	for (unsigned i = 0; i < n; i++)
		fds[i] = msix_lend(m, i);
	return hostdev_set_irqs(q->fd, host_kind(kind), fds, n);
}

static const char *kind_name(enum pass_kind kind)
{
	return kind == PASS_MSIX ? "MSI-X" : kind == PASS_MSI ? "MSI" : "INTx";
}

static int change_kind(struct pass_irq *q)
{
	unsigned n;
	enum pass_kind kind = wanted(q, &n);
	int r = 0;

	leave(q);
	if (kind == PASS_INTX)
		r = enter_line(q);
	else if (kind != PASS_NONE)
		r = enter_messages(q, kind == PASS_MSIX ? q->msix : q->msi, kind, n);
	q->failed = r ? kind : PASS_NONE;
	q->failed_count = n;
	if (r) {
		log_guest("%s: the host gives it no %s of %u vectors: %s", q->name, kind_name(kind), n, strerror(-r));
		return r;
	}
	q->kind = kind;
	q->count = n;
	return 0;
}

int pass_irq_sync(struct pass_irq *q)
{
	int r = q->msix ? msix_sync(q->msix) : 0, one;

	one = q->msi ? msix_sync(q->msi) : 0;
	r = r ? r : one;
	one = kind_settled(q) ? 0 : change_kind(q);
	return r ? r : one;
}
