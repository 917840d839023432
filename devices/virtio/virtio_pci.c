/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_pci - the structures of virtio 1.x on PCI
 *
 * Theory of operation. vCPU threads change bits: the vdev's registers under its lock, vectors
 * and MSI-X state under @lock, the ISR atomically, configuration space under the function's
 * lock. After each such change settle() looks whether something outside follows from it:
 * a status write that starts or resets the device, irqfds or routes that no longer match the
 * MSI-X bits, doorbells that are not where BAR 0 is. If so the vCPU hands sync_on_loop() to
 * the loop and waits, holding no lock; the guest finds the change done when its write ends.
 * Whoever comes first does the work of all: sync_on_loop() looks at the state, not at a list.
 *
 * Activation: irqfds, device, doorbells. Reset, in pci_reset(), which the vdev calls when the
 * device is silent and before device_status reads 0: doorbells, vectors, what was signalled
 * late, ISR. MSI-X control and table are PCI state and survive it.
 *
 * Reads. The first page of BAR 0 holds the common and the device structure, whose reads have no
 * side effects, and a copy of their registers, @regs, stands before the guest as a read-only view
 * once it has read there. Every write brings the copy up to date before the writing vCPU goes on.
 * What the device changes by itself - its configuration, NEEDS_RESET - is not copied: a guest that
 * reads the generation, the configuration and the generation again must not see half of a change
 * between two equal ones. The view is taken away before the driver is told, and does not come back.
 *
 * Locks: @regs_lock alone or before all others; @lock, then the function's (pci_dev) or the gsi space's. The vdev's is a leaf,
 * under @regs_lock or none of these.
 *
 * BAR 0: what is read without side effects, the ISR, and what is only written (notifications) share
 * no page. BAR 1: MSI-X table and pending bits.
 */
#include "devices/virtio/virtio_pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#include "devices/pci/host.h"
#include "devices/virtio/virtio_pci_priv.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/irq_check.h"

#define DEVICE_OFF 0x100
#define ISR_OFF 0x2000
#define NOTIFY_OFF 0x6000
#define BAR0_SIZE 0x8000
#define TABLE_OFF 0
#define PBA_OFF 0x8000
#define BAR1_SIZE 0x10000

#define NOTIFY_MULTIPLIER 4
#define VENDOR 0x1af4

#define ISR_QUEUE 1
#define ISR_CONFIG 2

static struct virtio_pci *of_dev(struct pci_dev *d)
{
	return container_of(d, struct virtio_pci, dev);
}

/* ---- interrupts --------------------------------------------------------------------------- */

static void irq_queue(void *ctx, unsigned q)
{
	struct virtio_pci *t = ctx;

	atomic_fetch_or(&t->isr, ISR_QUEUE);
	msix_raise(t->msix, q);
}

static void dev_changed(void *ctx)
{
	struct virtio_pci *t = ctx;

	atomic_store(&t->trapped, true);
	view_detach(&t->view);
	atomic_store(&t->view_at, 0);
}

static void irq_config(void *ctx)
{
	struct virtio_pci *t = ctx;

	atomic_fetch_or(&t->isr, ISR_CONFIG);
	msix_raise(t->msix, t->vdev->nr_queues);
}

static int irq_call_fd(void *ctx, unsigned q, int *ret_fd)
{
	struct virtio_pci *t = ctx;

	*ret_fd = msix_lend(t->msix, q);
	return 0;
}

/* ---- what follows from the bits: on the loop ---------------------------------------------- */

static gpa_t bells_wanted_at(struct virtio_pci *t)
{
	gpa_t bar;

	if (!atomic_load(&t->running) || !pci_dev_bar_gpa(&t->dev, 0, &bar))
		return 0;
	return bar + NOTIFY_OFF;
}

static void detach_doorbells(struct virtio_pci *t)
{
	for (unsigned q = 0; q < t->vdev->nr_queues; q++)
		doorbell_detach(&t->bells[q]);
}

/* Linux writes 16 bits. Another width, or a doorbell that cannot be had, comes as an exit. */
static void attach_doorbells(struct virtio_pci *t, gpa_t at)
{
	struct vq_regs regs;

	for (unsigned q = 0; q < t->vdev->nr_queues; q++)
		if (vdev_queue(t->vdev, q, &regs) && regs.ready)
			doorbell_attach(&t->bells[q], at + NOTIFY_MULTIPLIER * q, 2, -1);
}

/* PCI_MOVING before the question: whoever moves the BAR from then on sees a difference, and asks again. */
static void place_doorbells(struct virtio_pci *t)
{
	gpa_t old = atomic_exchange(&t->bells_at, PCI_MOVING), at = bells_wanted_at(t);

	if (at != old) {
		/* All leave before one comes: old and new places may overlap. */
		detach_doorbells(t);
		if (at)
			attach_doorbells(t, at);
	}
	atomic_store(&t->bells_at, at);
}

/* The registers as they are now, for the guest to read. vCPU or loop, no lock held. */
static void show_regs(struct virtio_pci *t)
{
	pthread_mutex_lock(&t->regs_lock);
	vpci_common_show(t, t->regs);
	for (unsigned off = 0; off < t->vdev->config_len; off += 4) {
		uint32_t val = (uint32_t)vdev_config_read(t->vdev, off, 4);

		view_store(t->regs + DEVICE_OFF + off, &val, sizeof(val));
	}
	pthread_mutex_unlock(&t->regs_lock);
}

static gpa_t view_wanted_at(struct virtio_pci *t)
{
	gpa_t bar;

	if (!atomic_load(&t->looked_at) || atomic_load(&t->trapped) || !pci_dev_bar_gpa(&t->dev, 0, &bar))
		return 0;
	return bar;
}

/* As place_doorbells(). While it moves writers bring the copy up to date; what was written before is in it. */
static void place_view(struct virtio_pci *t)
{
	gpa_t old = atomic_exchange(&t->view_at, PCI_MOVING), at = view_wanted_at(t);

	if (at != old) {
		view_detach(&t->view);
		if (at) {
			show_regs(t);
			(void)view_attach(&t->view, at); /* else reads stay exits */
		}
	}
	atomic_store(&t->view_at, at);
}

/* On failure the vectors concerned stay masked, and the next sync tries again. */
static void sync_msix(struct virtio_pci *t)
{
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (msix_stale(t->msix) || t->checked)
		r = msix_sync(t->msix);
	pthread_mutex_unlock(&t->lock);
	if (r < 0)
		log_guest("%s: interrupts: %s; some stay masked until the guest changes one", t->vdev->name, strerror(-r));
}

static void pci_reset(void *ctx)
{
	struct virtio_pci *t = ctx;

	atomic_store(&t->running, false);
	detach_doorbells(t);
	atomic_store(&t->bells_at, 0);
	pthread_mutex_lock(&t->lock);
	msix_unbind_all(t->msix);
	(void)msix_sync(t->msix); /* detaching does not fail, and empties the eventfds */
	if (!t->vdev->ops->lends_kicks) /* another process may signal at any time, and is none of ours to check */
		msix_check_reset(t->msix);
	pthread_mutex_unlock(&t->lock);
	atomic_store(&t->isr, 0);
}

static const struct vdev_irq pci_irq = {
	.queue = irq_queue,
	.config = irq_config,
	.changed = dev_changed,
	.call_fd = irq_call_fd,
	.reset = pci_reset,
};

struct sync {
	struct virtio_pci *t;
	enum vdev_todo todo;
};

static int sync_on_loop(void *ctx)
{
	const struct sync *s = ctx;
	struct virtio_pci *t = s->t;
	int r = 0;

	if (s->todo == VDEV_RESET)
		r = vdev_act(t->vdev, VDEV_RESET);
	if (r == LOOP_AGAIN)
		return r;
	sync_msix(t);
	if (s->todo == VDEV_ACTIVATE) {
		r = vdev_act(t->vdev, VDEV_ACTIVATE);
		atomic_store(&t->running, t->vdev->active);
	}
	place_doorbells(t);
	place_view(t);
	return r;
}

static bool msix_is_stale(struct virtio_pci *t)
{
	bool stale;

	pthread_mutex_lock(&t->lock);
	stale = msix_stale(t->msix);
	pthread_mutex_unlock(&t->lock);
	return stale;
}

void vpci_settle(struct virtio_pci *t, enum vdev_todo todo)
{
	struct sync s = { .t = t, .todo = todo };

	if (todo != VDEV_NOTHING || t->checked || msix_is_stale(t) || bells_wanted_at(t) != atomic_load(&t->bells_at) ||
	    view_wanted_at(t) != atomic_load(&t->view_at))
		loop_call(t->vdev->loop, sync_on_loop, &s);
}

/* ---- BARs --------------------------------------------------------------------------------- */

/* Reads of what is only written, or not there, or not that wide, are all ones. */
static uint64_t bar0_read(void *ctx, uint64_t off, unsigned len)
{
	struct virtio_pci *t = ctx;

	if (off < VIEW_SIZE && t->view.hyp && !atomic_load(&t->looked_at)) {
		atomic_store(&t->looked_at, true);
		vpci_settle(t, VDEV_NOTHING);
	}
	if (off < DEVICE_OFF)
		return vpci_common_read(t, off, len);
	if (off == ISR_OFF && len == 1)
		return atomic_exchange(&t->isr, 0);
	if (off < ISR_OFF && t->vdev->config_len)
		return vdev_config_read(t->vdev, off - DEVICE_OFF, len);
	return width_mask(len);
}

static void bar0_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct virtio_pci *t = ctx;

	if (off >= NOTIFY_OFF) {
		if (is_aligned(off, NOTIFY_MULTIPLIER))
			vdev_notify(t->vdev, (unsigned)(off - NOTIFY_OFF) / NOTIFY_MULTIPLIER);
		return;
	}
	if (off < DEVICE_OFF)
		vpci_common_write(t, off, len, val);
	else if (off < ISR_OFF)
		vdev_config_write(t->vdev, off - DEVICE_OFF, len, val);
	if (atomic_load(&t->view_at))
		show_regs(t);
}

static uint64_t bar1_read(void *ctx, uint64_t off, unsigned len)
{
	struct virtio_pci *t = ctx;
	uint64_t val;

	pthread_mutex_lock(&t->lock);
	val = off < PBA_OFF ? msix_table_read(t->msix, off - TABLE_OFF, len) :
			      msix_pba_read(t->msix, off - PBA_OFF, len);
	pthread_mutex_unlock(&t->lock);
	return val;
}

static void bar1_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct virtio_pci *t = ctx;

	if (off >= PBA_OFF)
		return;
	pthread_mutex_lock(&t->lock);
	msix_table_write(t->msix, off - TABLE_OFF, len, val);
	pthread_mutex_unlock(&t->lock);
	vpci_settle(t, VDEV_NOTHING);
}

static const struct bus_ops bar0_ops = { .read = bar0_read, .write = bar0_write };
static const struct bus_ops bar1_ops = { .read = bar1_read, .write = bar1_write };

/* ---- configuration space ------------------------------------------------------------------ */

#define WINDOW_DATA offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)

/*
 * The PCI_CFG window (s4.1.4.9): the BAR that it points into, or NULL where it points nowhere.
 * It works whether or not the BAR is mapped.
 */
static const struct pci_bar *window_target(struct virtio_pci *t, struct virtio_pci_cfg_cap *ret_cap)
{
	const struct pci_bar *bar;
	uint32_t len;

	pci_dev_peek(&t->dev, t->window_cap, ret_cap, sizeof(*ret_cap));
	if (ret_cap->cap.bar >= PCI_NUM_BARS)
		return NULL;
	bar = &t->dev.bars[ret_cap->cap.bar];
	len = ret_cap->cap.length;
	if ((len != 1 && len != 2 && len != 4) || !is_aligned(ret_cap->cap.offset, len))
		return NULL;
	return range_fits(ret_cap->cap.offset, len, bar->size) ? bar : NULL;
}

static bool touches_window(const struct virtio_pci *t, unsigned off, unsigned len)
{
	return ranges_overlap(off, len, t->window_cap + WINDOW_DATA, 4);
}

static void cfg_read(struct pci_dev *d, unsigned off, unsigned len)
{
	struct virtio_pci *t = of_dev(d);
	struct virtio_pci_cfg_cap cap;
	const struct pci_bar *bar;
	uint32_t val = UINT32_MAX;
	unsigned n = 4;

	if (!touches_window(t, off, len))
		return;
	bar = window_target(t, &cap);
	if (bar) {
		n = cap.cap.length;
		val = (uint32_t)bar->ops->read(bar->ctx, cap.cap.offset, n);
	}
	pci_dev_poke(d, t->window_cap + WINDOW_DATA, &val, n);
}

static void window_write(struct virtio_pci *t)
{
	struct virtio_pci_cfg_cap cap;
	const struct pci_bar *bar = window_target(t, &cap);
	uint32_t val;

	if (!bar)
		return;
	memcpy(&val, cap.pci_cfg_data, sizeof(val));
	bar->ops->write(bar->ctx, cap.cap.offset, cap.cap.length, val & width_mask(cap.cap.length));
}

/* Configuration space is the truth; read under the lock, so that the last writer's bits win. */
static void take_msix_control(struct virtio_pci *t)
{
	pthread_mutex_lock(&t->lock);
	msix_set_bus_master(t->msix, pci_dev_bus_master(&t->dev));
	msix_ctrl_write(t->msix, pci_dev_get16(&t->dev, t->msix_cap + PCI_MSIX_FLAGS));
	pthread_mutex_unlock(&t->lock);
}

static void cfg_written(struct pci_dev *d, unsigned off, unsigned len)
{
	struct virtio_pci *t = of_dev(d);

	/* The window opens: from now on reading its data has effects. */
	if (!atomic_load(&t->windowed) && ranges_overlap(off, len, t->window_cap, sizeof(struct virtio_pci_cfg_cap))) {
		pci_dev_trap_reads(d);
		atomic_store(&t->windowed, true);
	}
	if (touches_window(t, off, len))
		window_write(t);
	if (ranges_overlap(off, len, PCI_COMMAND, 2) || ranges_overlap(off, len, t->msix_cap + PCI_MSIX_FLAGS, 2))
		take_msix_control(t);
	vpci_settle(t, VDEV_NOTHING);
}

static const struct pci_dev_ops dev_ops = { .cfg_written = cfg_written, .cfg_read = cfg_read };

/* ---- life --------------------------------------------------------------------------------- */

/* Appends one of the vendor capabilities of s4.1.4, @len bytes of @cap; its first two are pci/dev's. */
static int add_structure(struct virtio_pci *t, void *cap, size_t len, const void *wmask)
{
	((struct virtio_pci_cap *)cap)->cap_len = (uint8_t)len;
	return pci_dev_add_cap(&t->dev, PCI_CAP_ID_VNDR, (uint8_t *)cap + 2, len - 2,
			       wmask ? (const uint8_t *)wmask + 2 : NULL);
}

static int add_plain(struct virtio_pci *t, uint8_t type, uint32_t off, uint32_t len)
{
	struct virtio_pci_cap cap = { .cfg_type = type, .offset = off, .length = len };

	return add_structure(t, &cap, sizeof(cap), NULL);
}

static int add_notify(struct virtio_pci *t)
{
	struct virtio_pci_notify_cap cap = {
		.cap = { .cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG,
			 .offset = NOTIFY_OFF,
			 .length = t->vdev->nr_queues * NOTIFY_MULTIPLIER },
		.notify_off_multiplier = NOTIFY_MULTIPLIER,
	};

	return add_structure(t, &cap, sizeof(cap), NULL);
}

static int add_window(struct virtio_pci *t)
{
	struct virtio_pci_cfg_cap cap = { .cap = { .cfg_type = VIRTIO_PCI_CAP_PCI_CFG } };
	struct virtio_pci_cfg_cap wmask = {
		.cap = { .bar = 0xff, .offset = UINT32_MAX, .length = UINT32_MAX },
	};
	int off;

	/* It points nowhere yet. */
	memset(cap.pci_cfg_data, 0xff, sizeof(cap.pci_cfg_data));
	memset(wmask.pci_cfg_data, 0xff, sizeof(wmask.pci_cfg_data));
	off = add_structure(t, &cap, sizeof(cap), &wmask);
	t->window_cap = off < 0 ? 0 : (unsigned)off;
	return off;
}

static int add_msix(struct virtio_pci *t)
{
	uint16_t control = (uint16_t)t->vdev->nr_queues; /* vectors, minus one */
	uint32_t table = TABLE_OFF | 1, pba = PBA_OFF | 1; /* in BAR 1 */
	uint8_t body[10], wmask[10] = { [1] = 0xc0 };
	int off;

	memcpy(body, &control, 2);
	memcpy(body + 2, &table, 4);
	memcpy(body + 6, &pba, 4);
	off = pci_dev_add_cap(&t->dev, PCI_CAP_ID_MSIX, body, sizeof(body), wmask);
	t->msix_cap = off < 0 ? 0 : (unsigned)off;
	return off;
}

static int add_caps(struct virtio_pci *t)
{
	int r;

	r = add_plain(t, VIRTIO_PCI_CAP_COMMON_CFG, 0, VPCI_COMMON_LEN);
	if (r >= 0)
		r = add_notify(t);
	if (r >= 0)
		r = add_plain(t, VIRTIO_PCI_CAP_ISR_CFG, ISR_OFF, 1);
	if (r >= 0 && t->vdev->config_len)
		r = add_plain(t, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_OFF, t->vdev->config_len);
	if (r >= 0)
		r = add_window(t);
	if (r >= 0)
		r = add_msix(t);
	return r;
}

static uint32_t class_code(uint16_t type)
{
	switch (type) {
	case VIRTIO_ID_NET:
		return 0x020000; /* network, Ethernet */
	case VIRTIO_ID_BLOCK:
		return 0x018000; /* mass storage, other */
	case VIRTIO_ID_CONSOLE:
		return 0x078000; /* communication, other */
	default:
		return 0xff0000; /* fits no class */
	}
}

static void init_function(struct virtio_pci *t)
{
	uint16_t id = (uint16_t)(0x1040 + t->vdev->type);
	struct pci_ids ids = {
		.vendor = VENDOR,
		.device = id,
		.subsys_vendor = VENDOR,
		.subsys = id, /* 0x40 or more: no legacy driver takes it (s4.1.2.1) */
		.revision = 1,
		.class_code = class_code(t->vdev->type),
	};

	pci_dev_init(&t->dev, &ids, &dev_ops);
	pci_dev_set_bar(&t->dev, 0, BAR0_SIZE, &bar0_ops, t);
	pci_dev_set_bar(&t->dev, 1, BAR1_SIZE, &bar1_ops, t);
}

static void init_views(struct virtio_pci *t, const struct virtio_pci_cfg *cfg)
{
	if (!cfg->slot || t->vdev->config_len > VIEW_SIZE - DEVICE_OFF)
		return;
	pci_dev_set_view(&t->dev, t->vdev->loop, cfg->hyp, cfg->slot);
	view_init(&t->view, cfg->hyp, cfg->slot + 1, t->regs);
}

static int init_msix(struct virtio_pci *t, const struct virtio_pci_cfg *cfg)
{
	struct msix_cfg mc = {
		.space = cfg->space,
		.loop = t->vdev->loop,
		.name = t->vdev->name,
		.nvec = t->vdev->nr_queues + 1,
		.nsources = t->vdev->nr_queues + 1,
		.devid = pci_msi_devid(cfg->rid),
	};
	char name[16];
	int r;

	r = msix_new(&mc, &t->msix);
	if (r < 0)
		return r;
	msix_set_bus_master(t->msix, false);
	for (unsigned q = 0; q < t->vdev->nr_queues; q++) {
		vdev_queue_name(t->vdev, q, name, sizeof(name));
		msix_name_source(t->msix, q, name);
	}
	msix_name_source(t->msix, t->vdev->nr_queues, "config");
	return 0;
}

int virtio_pci_new(const struct virtio_pci_cfg *cfg, struct virtio_pci **ret_t)
{
	struct virtio_pci *t = aligned_alloc(VIEW_SIZE, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->vdev = cfg->vdev;
	t->checked = irq_check_on(cfg->space);
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->regs_lock, NULL);
	init_function(t);
	init_views(t, cfg);
	for (unsigned q = 0; q < t->vdev->nr_queues; q++)
		doorbell_init(&t->bells[q], cfg->hyp, vdev_kick_fd(t->vdev, q));
	r = init_msix(t, cfg);
	if (r >= 0)
		r = add_caps(t);
	if (r >= 0)
		r = pci_host_add(cfg->host, &t->dev, cfg->rid);
	if (r < 0) {
		virtio_pci_free(t);
		return r;
	}
	vdev_set_irq(t->vdev, &pci_irq, t);
	*ret_t = t;
	return 0;
}

void virtio_pci_free(struct virtio_pci *t)
{
	if (!t)
		return;
	pci_dev_fini(&t->dev);
	view_detach(&t->view);
	if (t->vdev->active)
		vdev_reset_now(t->vdev);
	vdev_set_irq(t->vdev, NULL, NULL);
	msix_free(t->msix);
	pthread_mutex_destroy(&t->regs_lock);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
