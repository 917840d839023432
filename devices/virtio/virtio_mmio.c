/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_mmio - registers, interrupt status and doorbells of one device on MMIO
 *
 * Theory of operation. The selectors and InterruptStatus are atomics, everything else that
 * the driver writes belongs to the vdev and its lock. A write of Status that starts or resets
 * the device, or of QueueReady that stops it, goes to the loop and the vCPU waits for it.
 *
 * The line is an edge, so the order is always: InterruptStatus bit first, then the pulse. An
 * ACK clears the bits it names and no other; a bit that is set after the driver has read the
 * register has a pulse of its own behind it, and the interrupt controller latches that.
 *
 * Activation: line, device (which asks for call eventfds), doorbells. Reset, in the order of
 * mmio_reset(), which the vdev calls when the device is silent and before Status reads 0:
 * doorbells; the call eventfds are no longer listened to, and emptied; the line; the bits. A stop
 * is the same, and then the line opens again for one configuration interrupt, of NEEDS_RESET.
 *
 * Accesses: registers answer 32-bit aligned accesses, configuration space any. The
 * specification asks this of drivers (s4.2.2.2) and leaves open what a device makes of
 * anything else: here a read yields 0 and a write nothing, as for registers that are unused,
 * or written where they can only be read, or the reverse.
 */
#include "devices/virtio/virtio_mmio.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/obj.h"
#include "vmm/core/bus.h"
#include "vmm/core/doorbell.h"
#include "vmm/core/irq_check.h"
#include "vmm/core/line.h"

#define MAGIC 0x74726976  /* "virt" */
#define VENDOR 0x4d56554d /* "MUVM" */
/* Not in the oldest supported headers (virtio 1.2 s4.2.2). */
#define QUEUE_RESET 0x0c0

/* How a back end reaches the driver; for devices that have one. */
struct mmio_queue {
	struct virtio_mmio *t;
	struct doorbell bell;
	/* VMMIO_HOP */
	int call_fd;
	struct loop_poll call_poll;
	/* VMMIO_DIRECT */
	char name[16];
	struct irqfd irqfd;
	bool has_irqfd;
};

struct virtio_mmio {
	struct virtio_mmio_cfg cfg;
	struct vdev *vdev;
	struct edge_line line;
	bool on_bus;
	_Atomic uint32_t status_bits; /* InterruptStatus */
	atomic_bool direct;           /* some queue's interrupts pass by status_bits */
	_Atomic uint32_t device_sel, driver_sel, queue_sel;
	unsigned nr_queues;
	struct mmio_queue queues[];
};

/* ---- interrupts --------------------------------------------------------------------------- */

static void give_reason(struct virtio_mmio *t, uint32_t bits)
{
	atomic_fetch_or(&t->status_bits, bits);
	edge_line_reason(&t->line);
}

static void raise_bits(struct virtio_mmio *t, uint32_t bits)
{
	give_reason(t, bits);
	edge_line_pulse(&t->line);
}

static void irq_queue(void *ctx, unsigned q)
{
	(void)q;
	raise_bits(ctx, VIRTIO_MMIO_INT_VRING);
}

static void irq_config(void *ctx)
{
	raise_bits(ctx, VIRTIO_MMIO_INT_CONFIG);
}

static void call_ready(void *ctx, uint32_t events)
{
	struct mmio_queue *mq = ctx;

	(void)events;
	fd_drain(mq->call_fd);
	raise_bits(mq->t, VIRTIO_MMIO_INT_VRING);
}

/* Nobody tells us of the used buffers of such a queue: then there may always be some. */
static bool always_told(struct virtio_mmio *t)
{
	return atomic_load(&t->direct);
}

static int irq_call_fd(void *ctx, unsigned q, int *ret_fd)
{
	struct virtio_mmio *t = ctx;
	struct mmio_queue *mq = &t->queues[q];
	int r;

	if (t->cfg.irq == VMMIO_HOP) {
		loop_poll_arm(&mq->call_poll, POLLIN);
		*ret_fd = mq->call_fd;
		return 0;
	}
	r = irqfd_attach(&mq->irqfd, edge_line_gsi(&t->line));
	if (r < 0)
		return r;
	atomic_store(&t->direct, true);
	mq->irqfd.lent = true;
	irq_check_direct(t->cfg.space, t->vdev->name, mq->irqfd.fd, always_told(t));
	*ret_fd = mq->irqfd.fd;
	return 0;
}

/* After a reset; only where somebody looks on. */
static void check_silent(struct virtio_mmio *t)
{
	irq_check_status(t->cfg.space, t->vdev->name, atomic_load(&t->status_bits));
	/* another process may signal at any time, and is none of ours to check */
	for (unsigned q = 0; !t->vdev->ops->lends_kicks && q < t->nr_queues; q++) {
		const struct mmio_queue *mq = &t->queues[q];

		irq_check_silent(t->cfg.space, t->vdev->name, mq->has_irqfd ? mq->irqfd.fd : mq->call_fd);
	}
}

static void mmio_reset(void *ctx)
{
	struct virtio_mmio *t = ctx;

	for (unsigned q = 0; q < t->nr_queues; q++) {
		struct mmio_queue *mq = &t->queues[q];

		doorbell_detach(&mq->bell);
		if (mq->call_fd >= 0) {
			loop_poll_disarm(&mq->call_poll);
			fd_drain(mq->call_fd);
		}
		if (mq->has_irqfd) {
			irqfd_detach(&mq->irqfd);
			irqfd_take(&mq->irqfd);
		}
	}
	edge_line_shut(&t->line);
	atomic_store(&t->direct, false);
	atomic_store(&t->status_bits, 0);
	check_silent(t);
}

static const struct vdev_irq mmio_irq = {
	.queue = irq_queue,
	.config = irq_config,
	.call_fd = irq_call_fd,
	.reset = mmio_reset,
};

static uint32_t interrupt_status(struct virtio_mmio *t)
{
	uint32_t bits = atomic_load(&t->status_bits);

	if (always_told(t) && (vdev_status(t->vdev) & VIRTIO_CONFIG_S_DRIVER_OK))
		bits |= VIRTIO_MMIO_INT_VRING;
	return bits;
}

/* ---- status and stop: on the loop --------------------------------------------------------- */

struct act {
	struct virtio_mmio *t;
	enum vdev_todo todo;
};

static void attach_doorbells(struct virtio_mmio *t)
{
	struct vq_regs regs;

	/* Where one cannot be had, its kicks come as exits. */
	for (unsigned q = 0; q < t->nr_queues; q++)
		if (vdev_queue(t->vdev, q, &regs) && regs.ready)
			doorbell_attach(&t->queues[q].bell, t->cfg.gpa + VIRTIO_MMIO_QUEUE_NOTIFY, 4, q);
}

static int act_on_loop(void *ctx)
{
	const struct act *a = ctx;
	struct virtio_mmio *t = a->t;
	int r;

	if (a->todo == VDEV_ACTIVATE)
		edge_line_open(&t->line);
	r = vdev_act(t->vdev, a->todo);
	if (r == 0 && a->todo == VDEV_ACTIVATE && t->vdev->active)
		attach_doorbells(t);
	if (r <= 0)
		return r;
	edge_line_open(&t->line); /* stopped: of NEEDS_RESET, and of nothing else, the driver still hears */
	irq_config(t);
	return 0;
}

static void act(struct virtio_mmio *t, enum vdev_todo todo)
{
	struct act a = { .t = t, .todo = todo };

	if (todo != VDEV_NOTHING)
		loop_call(t->vdev->loop, act_on_loop, &a);
}

/* ---- registers ---------------------------------------------------------------------------- */

static uint32_t reg_read(struct virtio_mmio *t, uint64_t off)
{
	struct vdev *v = t->vdev;
	struct vq_regs regs;

	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return v->type;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return vdev_features(v, atomic_load(&t->device_sel));
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		vdev_queue(v, atomic_load(&t->queue_sel), &regs);
		return regs.max;
	case VIRTIO_MMIO_QUEUE_READY:
		vdev_queue(v, atomic_load(&t->queue_sel), &regs);
		return regs.ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return interrupt_status(t);
	case VIRTIO_MMIO_STATUS:
		return vdev_status(v);
	case VIRTIO_MMIO_SHM_LEN_LOW: /* no such region, whatever SHMSel says */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return vdev_config_gen(v);
	case QUEUE_RESET: /* RING_RESET is not offered */
	default:
		return 0;
	}
}

/* Writes of the selected queue's registers. */
static void queue_reg_write(struct virtio_mmio *t, uint64_t off, uint32_t val)
{
	unsigned q = atomic_load(&t->queue_sel);
	struct vdev *v = t->vdev;

	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		if (val <= UINT16_MAX)
			vdev_queue_set_size(v, q, (uint16_t)val);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (val <= 1)
			act(t, vdev_queue_set_ready(v, q, val));
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		vdev_queue_set_addr(v, q, VDEV_DESC, off == VIRTIO_MMIO_QUEUE_DESC_HIGH, val);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		vdev_queue_set_addr(v, q, VDEV_AVAIL, off == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, val);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		vdev_queue_set_addr(v, q, VDEV_USED, off == VIRTIO_MMIO_QUEUE_USED_HIGH, val);
		break;
	}
}

static void reg_write(struct virtio_mmio *t, uint64_t off, uint32_t val)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		atomic_store(&t->device_sel, val);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		vdev_ack_features(t->vdev, atomic_load(&t->driver_sel), val);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		atomic_store(&t->driver_sel, val);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		atomic_store(&t->queue_sel, val);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		vdev_notify(t->vdev, val);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		atomic_fetch_and(&t->status_bits, ~val);
		break;
	case VIRTIO_MMIO_STATUS:
		if (val <= UINT8_MAX)
			act(t, vdev_set_status(t->vdev, (uint8_t)val));
		break;
	default:
		queue_reg_write(t, off, val);
		break;
	}
}

static uint64_t mmio_read(void *ctx, uint64_t off, unsigned len)
{
	struct virtio_mmio *t = ctx;

	if (off >= VIRTIO_MMIO_CONFIG)
		return vdev_config_read(t->vdev, off - VIRTIO_MMIO_CONFIG, len);
	return len == 4 && is_aligned(off, 4) ? reg_read(t, off) : 0;
}

static void mmio_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct virtio_mmio *t = ctx;

	if (off >= VIRTIO_MMIO_CONFIG)
		vdev_config_write(t->vdev, off - VIRTIO_MMIO_CONFIG, len, val);
	else if (len == 4 && is_aligned(off, 4))
		reg_write(t, off, (uint32_t)val);
}

static const struct bus_ops mmio_ops = { .read = mmio_read, .write = mmio_write };

/* ---- life --------------------------------------------------------------------------------- */

static int queue_init(struct virtio_mmio *t, unsigned q)
{
	struct mmio_queue *mq = &t->queues[q];
	int r;

	doorbell_init(&mq->bell, t->cfg.hyp, vdev_kick_fd(t->vdev, q));
	if (!t->vdev->back_end)
		return 0;
	if (t->cfg.irq == VMMIO_DIRECT) {
		r = irqfd_init(&mq->irqfd, t->cfg.space);
		mq->has_irqfd = r == 0;
		if (r)
			return r;
		mq->irqfd.gsi = t->cfg.spi;
		vdev_queue_name(t->vdev, q, mq->name, sizeof(mq->name));
		irqfd_tell(&mq->irqfd, t->vdev->name, mq->name);
		return 0;
	}
	mq->call_fd = fd_event();
	if (mq->call_fd < 0)
		return mq->call_fd;
	return loop_poll_init(t->vdev->loop, &mq->call_poll, mq->call_fd, call_ready, mq);
}

static int mmio_init(struct virtio_mmio *t)
{
	int r;

	edge_line_init(&t->line, t->cfg.space, t->cfg.spi, t->vdev->name);
	t->line.has_status = true;
	for (unsigned q = 0; q < t->nr_queues; q++) {
		r = queue_init(t, q);
		if (r < 0)
			return r;
	}
	r = bus_add(t->cfg.bus, t->cfg.gpa, VIRTIO_MMIO_SIZE, &mmio_ops, t);
	t->on_bus = r == 0;
	return r;
}

int virtio_mmio_new(const struct virtio_mmio_cfg *cfg, struct virtio_mmio **ret_t)
{
	unsigned nr = cfg->vdev->nr_queues;
	struct virtio_mmio *t = obj_new(sizeof(*t) + nr * sizeof(t->queues[0]));
	int r;

	if (!t)
		return -ENOMEM;
	t->cfg = *cfg;
	t->vdev = cfg->vdev;
	t->nr_queues = nr;
	for (unsigned q = 0; q < nr; q++) {
		t->queues[q].t = t;
		t->queues[q].call_fd = -1;
	}
	r = mmio_init(t);
	if (r < 0) {
		virtio_mmio_free(t);
		return r;
	}
	vdev_set_irq(t->vdev, &mmio_irq, t);
	*ret_t = t;
	return 0;
}

void virtio_mmio_free(struct virtio_mmio *t)
{
	if (!t)
		return;
	if (t->on_bus)
		bus_del(t->cfg.bus, t->cfg.gpa, t);
	if (t->vdev->active)
		vdev_reset_now(t->vdev);
	vdev_set_irq(t->vdev, NULL, NULL);
	for (unsigned q = 0; q < t->nr_queues; q++) {
		loop_poll_fini(&t->queues[q].call_poll);
		close_fd(&t->queues[q].call_fd);
		if (t->queues[q].has_irqfd)
			irqfd_fini(&t->queues[q].irqfd);
	}
	obj_free(t);
}
