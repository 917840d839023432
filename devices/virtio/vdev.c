/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vdev - the state of a virtio device that does not depend on its transport
 *
 * Theory of operation. A device is in one of three conditions:
 *
 *   idle     status without DRIVER_OK. Registers may be written, nothing runs.
 *   active   activate() has succeeded. Registers are frozen, rings run on the loop or in the
 *            kernel.
 *   failed   DRIVER_OK stands and activate() failed, a fault came later, or the driver stopped a
 *            queue: NEEDS_RESET.
 *
 * Register functions run on vCPU threads under the lock and change bits only. Two writes of
 * the status register, and one that stops a queue, want more than bits, and vdev_set_status() and
 * vdev_queue_set_ready() say so: the transport then calls vdev_act() on the loop and the writing
 * vCPU waits. Between the write and the act other vCPUs may write the status again:
 *
 * - @resetting is set from the write of 0 until the loop has reset the device. Status keeps
 *   its old value so long (s2.1.2: a driver waits until it reads 0), and all register writes
 *   are ignored, another 0 included: its writer waits behind the first in the loop's queue.
 * - An activation that finds DRIVER_OK gone, or a reset under way, or the device active or
 *   failed already, does nothing.
 * - A stop that finds DRIVER_OK gone, or a reset under way, does nothing. One that finds an
 *   activation waiting ends what that has begun.
 *
 * The lock is a leaf: nothing is called with it held but the device's config_read and
 * config_write.
 */
#include "devices/virtio/vdev.h"
#include "vmm/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "vmm/base/checked.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"
#include "vmm/base/obj.h"

#define STATUS_DRIVER_BITS                                                        \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)

#define COMMON_FEATURES \
	(BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) | BIT64(VIRTIO_RING_F_EVENT_IDX))

/* ---- life --------------------------------------------------------------------------------- */

static void signal_fd(int fd)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so a signal is waiting anyway. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

static void kick_ready(void *ctx, uint32_t events)
{
	struct vdev_queue *vq = ctx;
	struct vdev *v = vq->vdev;

	(void)events;
	fd_drain(vq->kick_fd);
	if (v->active && v->ops->kick)
		v->ops->kick(v, (unsigned)(vq - v->queues));
}

static int queue_init(struct vdev *v, struct vdev_queue *vq, uint16_t max)
{
	vq->vdev = v;
	vq->regs.max = max;
	vq->regs.size = max;
	vq->kick_fd = fd_event();
	if (vq->kick_fd < 0)
		return vq->kick_fd;
	return loop_poll_init(v->loop, &vq->kick_poll, vq->kick_fd, kick_ready, vq);
}

int vdev_init(struct vdev *v, const struct vdev_cfg *cfg)
{
	unsigned q;
	int r;

	if (cfg->nr_queues > VDEV_MAX_QUEUES || !is_pow2(cfg->queue_size) || cfg->queue_size > VQ_MAX_SIZE)
		return -EINVAL;
	v->queues = obj_new(cfg->nr_queues * sizeof(*v->queues));
	if (!v->queues)
		return -ENOMEM;
	v->ops = cfg->ops;
	snprintf(v->name, sizeof(v->name), "%s", cfg->name);
	v->type = cfg->type;
	v->nr_queues = cfg->nr_queues;
	v->config_len = cfg->config_len;
	v->back_end = cfg->back_end;
	v->offered = (cfg->offered | (COMMON_FEATURES & ~cfg->lacks)) & ~BIT64(VIRTIO_F_ACCESS_PLATFORM);
	v->loop = cfg->loop;
	v->mem = cfg->mem;
	pthread_mutex_init(&v->lock, NULL);

	for (q = 0; q < v->nr_queues; q++)
		v->queues[q].kick_fd = -1;
	for (q = 0; q < v->nr_queues; q++) {
		r = queue_init(v, &v->queues[q], cfg->queue_size);
		if (r < 0) {
			vdev_fini(v);
			return r;
		}
	}
	return 0;
}

void vdev_fini(struct vdev *v)
{
	for (unsigned q = 0; q < v->nr_queues; q++) {
		loop_poll_fini(&v->queues[q].kick_poll);
		close_fd(&v->queues[q].kick_fd);
	}
	v->nr_queues = 0;
	obj_free(v->queues);
	v->queues = NULL;
	pthread_mutex_destroy(&v->lock);
}

void vdev_free(struct vdev *v)
{
	if (!v)
		return;
	if (v->active || v->begun)
		vdev_reset_now(v);
	v->ops->free(v);
}

void vdev_set_irq(struct vdev *v, const struct vdev_irq *irq, void *ctx)
{
	v->irq = irq;
	v->irq_ctx = ctx;
}

static void say_changed(struct vdev *v)
{
	if (v->irq && v->irq->changed)
		v->irq->changed(v->irq_ctx);
}

static void raise_config(struct vdev *v)
{
	if (v->irq)
		v->irq->config(v->irq_ctx);
}

/* ---- status ------------------------------------------------------------------------------- */

uint8_t vdev_status(struct vdev *v)
{
	uint8_t s;

	pthread_mutex_lock(&v->lock);
	s = v->status;
	pthread_mutex_unlock(&v->lock);
	return s;
}

struct vdev_state vdev_state(struct vdev *v)
{
	struct vdev_state s;

	pthread_mutex_lock(&v->lock);
	s = (struct vdev_state){ .status = v->status, .acked = v->acked, .faults = v->faults };
	pthread_mutex_unlock(&v->lock);
	return s;
}

static bool features_acceptable(const struct vdev *v)
{
	return !(v->acked & ~v->offered) && (v->acked & BIT64(VIRTIO_F_VERSION_1));
}

/* Adds those of @want whose predecessors in s3.1.1 stand. */
static uint8_t status_with(const struct vdev *v, uint8_t want)
{
	static const uint8_t order[] = { VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
					 VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK };
	uint8_t s = v->status;

	if (want & VIRTIO_CONFIG_S_FAILED)
		return s | VIRTIO_CONFIG_S_FAILED;
	if (s & (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET))
		return s;
	for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
		if (s & order[i])
			continue;
		if (!(want & order[i]))
			break;
		if (order[i] == VIRTIO_CONFIG_S_FEATURES_OK && !features_acceptable(v))
			break;
		s |= order[i];
	}
	return s;
}

static enum vdev_todo set_status_locked(struct vdev *v, uint8_t status)
{
	uint8_t old = v->status;

	if (v->resetting)
		return status ? VDEV_NOTHING : VDEV_RESET; /* the second 0 waits for the first */
	if (!status) {
		v->resetting = true;
		return VDEV_RESET;
	}
	/* NEEDS_RESET is ours: a driver that has not seen it yet does not clear it. */
	if (old & STATUS_DRIVER_BITS & ~status)
		return VDEV_NOTHING;
	v->status = status_with(v, status & STATUS_DRIVER_BITS);
	return (v->status & ~old) & VIRTIO_CONFIG_S_DRIVER_OK ? VDEV_ACTIVATE : VDEV_NOTHING;
}

enum vdev_todo vdev_set_status(struct vdev *v, uint8_t status)
{
	enum vdev_todo todo;

	pthread_mutex_lock(&v->lock);
	todo = set_status_locked(v, status);
	pthread_mutex_unlock(&v->lock);
	return todo;
}

static bool kicks_are_ours(const struct vdev *v, unsigned q)
{
	return v->queues[q].regs.ready && !(v->vhost_queues & BIT64(q));
}

/*
 * Kicks that came before DRIVER_OK reached nobody: each ready queue is looked at once. Another process finds them in the eventfd,
 * where they have stayed.
 */
static void start_kicks(struct vdev *v)
{
	for (unsigned q = 0; q < v->nr_queues; q++)
		if (kicks_are_ours(v, q))
			loop_poll_arm(&v->queues[q].kick_poll, POLLIN);
	for (unsigned q = 0; q < v->nr_queues; q++) {
		if (!v->queues[q].regs.ready || v->ops->lends_kicks)
			continue;
		if (v->vhost_queues & BIT64(q))
			signal_fd(v->queues[q].kick_fd);
		else if (v->active && v->ops->kick)
			v->ops->kick(v, q);
	}
}

static void stop_queues(struct vdev *v)
{
	for (unsigned q = 0; q < v->nr_queues; q++) {
		loop_poll_disarm(&v->queues[q].kick_poll);
		vq_stop(&v->queues[q].ring);
	}
	v->vhost_queues = 0;
}

static bool may_activate(struct vdev *v)
{
	bool ok;

	pthread_mutex_lock(&v->lock);
	ok = (v->status & VIRTIO_CONFIG_S_DRIVER_OK) && !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET) &&
	     !v->resetting && !v->active;
	pthread_mutex_unlock(&v->lock);
	return ok;
}

/* What the rings' addresses and sizes are refused with; all else is the host's. */
static bool is_the_drivers(int r)
{
	return r == -EINVAL || r == -EFAULT;
}

static void fault_start(struct vdev *v, int r)
{
	if (is_the_drivers(r)) {
		vdev_fault(v, -1, "cannot be started as the driver set it up");
		return;
	}
	vdev_lost(v);
	log_limited(&v->log, "%s: cannot be started: %s; stopped until the guest resets the device", v->name, strerror(-r));
}

static int do_activate(struct vdev *v)
{
	int r;

	if (!may_activate(v))
		return 0;
	r = v->ops->activate(v);
	if (r == LOOP_AGAIN)
		return r;
	v->begun = false;
	if (r < 0) {
		v->ops->reset(v);
		stop_queues(v);
		fault_start(v, r);
		return r;
	}
	v->active = true;
	if (!v->ready_ns)
		v->ready_ns = clock_now_ns();
	start_kicks(v);
	return 0;
}

static void clear_registers_locked(struct vdev *v)
{
	for (unsigned q = 0; q < v->nr_queues; q++) {
		uint16_t max = v->queues[q].regs.max;

		v->queues[q].regs = (struct vq_regs){ .size = max, .max = max };
	}
	v->acked = 0;
	v->status = 0;
	v->resetting = false;
}

static void stop_device(struct vdev *v)
{
	if (v->active || v->begun)
		v->ops->reset(v);
	v->active = v->begun = false;
	stop_queues(v);
	if (v->irq && v->irq->reset)
		v->irq->reset(v->irq_ctx);
	/* Only now, without doorbells, is a drained kick the last of this life. */
	for (unsigned q = 0; q < v->nr_queues; q++)
		fd_drain(v->queues[q].kick_fd);
}

void vdev_reset_now(struct vdev *v)
{
	stop_device(v);
	pthread_mutex_lock(&v->lock);
	clear_registers_locked(v);
	pthread_mutex_unlock(&v->lock);
}

static bool is_settled(struct vdev *v)
{
	return !(v->active || v->begun) || !v->ops->settle || v->ops->settle(v);
}

static int do_reset(struct vdev *v)
{
	if (!is_settled(v))
		return LOOP_AGAIN;
	vdev_reset_now(v);
	return 0;
}

static bool has_ready_locked(const struct vdev *v)
{
	for (unsigned q = 0; q < v->nr_queues; q++)
		if (v->queues[q].regs.ready)
			return true;
	return false;
}

/* Who stops a second queue finds that all is done. */
static bool may_stop(struct vdev *v)
{
	bool ok;

	pthread_mutex_lock(&v->lock);
	ok = (v->status & VIRTIO_CONFIG_S_DRIVER_OK) && !v->resetting && has_ready_locked(v);
	pthread_mutex_unlock(&v->lock);
	return ok;
}

static int do_stop(struct vdev *v)
{
	if (!may_stop(v))
		return 0;
	if (!is_settled(v))
		return LOOP_AGAIN;
	stop_device(v);
	pthread_mutex_lock(&v->lock);
	for (unsigned q = 0; q < v->nr_queues; q++)
		v->queues[q].regs.ready = false;
	v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	pthread_mutex_unlock(&v->lock);
	return 1;
}

int vdev_act(struct vdev *v, enum vdev_todo todo)
{
	switch (todo) {
	case VDEV_ACTIVATE:
		return do_activate(v);
	case VDEV_RESET:
		return do_reset(v);
	case VDEV_STOP:
		return do_stop(v);
	case VDEV_NOTHING:
		break;
	}
	return 0;
}

/* ---- features and queues ------------------------------------------------------------------ */

static uint32_t half(uint64_t v, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(v >> (32 * sel));
}

static uint64_t with_half(uint64_t v, bool high, uint32_t bits)
{
	return high ? (v & UINT32_MAX) | (uint64_t)bits << 32 : (v & ~(uint64_t)UINT32_MAX) | bits;
}

uint32_t vdev_features(struct vdev *v, uint32_t sel)
{
	return half(v->offered, sel); /* does not change */
}

uint32_t vdev_acked(struct vdev *v, uint32_t sel)
{
	uint32_t bits;

	pthread_mutex_lock(&v->lock);
	bits = half(v->acked, sel);
	pthread_mutex_unlock(&v->lock);
	return bits;
}

void vdev_ack_features(struct vdev *v, uint32_t sel, uint32_t bits)
{
	pthread_mutex_lock(&v->lock);
	if (sel <= 1 && !v->resetting && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
		v->acked = with_half(v->acked, sel, bits);
	pthread_mutex_unlock(&v->lock);
}

bool vdev_has(const struct vdev *v, unsigned feature_bit)
{
	return v->acked & BIT64(feature_bit);
}

bool vdev_queue(struct vdev *v, unsigned q, struct vq_regs *ret_regs)
{
	*ret_regs = (struct vq_regs){ 0 };
	if (q >= v->nr_queues)
		return false;
	pthread_mutex_lock(&v->lock);
	*ret_regs = v->queues[q].regs;
	pthread_mutex_unlock(&v->lock);
	return true;
}

/* The registers of queue @q if they may be written now, with the lock held; else NULL. */
static struct vq_regs *writable_locked(struct vdev *v, unsigned q)
{
	if (v->resetting || (v->status & VIRTIO_CONFIG_S_DRIVER_OK) || q >= v->nr_queues)
		return NULL;
	return &v->queues[q].regs;
}

void vdev_queue_set_size(struct vdev *v, unsigned q, uint16_t size)
{
	struct vq_regs *r;

	pthread_mutex_lock(&v->lock);
	r = writable_locked(v, q);
	if (r && !r->ready && is_pow2(size) && size <= r->max)
		r->size = size;
	pthread_mutex_unlock(&v->lock);
}

void vdev_queue_set_addr(struct vdev *v, unsigned q, enum vdev_area area, bool high, uint32_t bits)
{
	struct vq_regs *r;

	pthread_mutex_lock(&v->lock);
	r = writable_locked(v, q);
	if (r && !r->ready) {
		gpa_t *addr = area == VDEV_DESC ? &r->desc : area == VDEV_AVAIL ? &r->avail : &r->used;

		*addr = with_half(*addr, high, bits);
	}
	pthread_mutex_unlock(&v->lock);
}

static bool stops_locked(const struct vdev *v, unsigned q, bool ready)
{
	return !ready && !v->resetting && (v->status & VIRTIO_CONFIG_S_DRIVER_OK) && q < v->nr_queues && v->queues[q].regs.ready;
}

enum vdev_todo vdev_queue_set_ready(struct vdev *v, unsigned q, bool ready)
{
	struct vq_regs *r;
	bool stops;

	pthread_mutex_lock(&v->lock);
	r = writable_locked(v, q);
	if (r)
		r->ready = ready;
	stops = stops_locked(v, q, ready);
	pthread_mutex_unlock(&v->lock);
	return stops ? VDEV_STOP : VDEV_NOTHING;
}

void vdev_queue_name(const struct vdev *v, unsigned q, char *buf, size_t cap)
{
	if (v->ops->queue_name)
		v->ops->queue_name(q, v->nr_queues, buf, cap);
	else
		snprintf(buf, cap, "q%u", q);
}

unsigned vdev_counts(const struct vdev *v, struct vdev_count c[VDEV_MAX_COUNTS])
{
	return v->ops->counts ? v->ops->counts(v, c) : 0;
}

int vdev_kick_fd(const struct vdev *v, unsigned q)
{
	return v->queues[q].kick_fd;
}

void vdev_notify(struct vdev *v, unsigned q)
{
	if (q < v->nr_queues)
		signal_fd(v->queues[q].kick_fd);
}

/* ---- configuration space ------------------------------------------------------------------ */

uint64_t vdev_config_read(struct vdev *v, uint64_t off, unsigned len)
{
	uint64_t val = 0;
	unsigned n;

	if (off >= v->config_len || len > sizeof(val))
		return 0;
	n = len;
	if (n > v->config_len - off)
		n = (unsigned)(v->config_len - off);
	pthread_mutex_lock(&v->lock);
	v->ops->config_read(v, (unsigned)off, &val, n);
	pthread_mutex_unlock(&v->lock);
	return val;
}

void vdev_config_write(struct vdev *v, uint64_t off, unsigned len, uint64_t val)
{
	if (!v->ops->config_write || len > sizeof(val) || !range_fits(off, len, v->config_len))
		return;
	pthread_mutex_lock(&v->lock);
	v->ops->config_write(v, (unsigned)off, &val, len);
	pthread_mutex_unlock(&v->lock);
}

uint32_t vdev_config_gen(struct vdev *v)
{
	uint32_t gen;

	pthread_mutex_lock(&v->lock);
	gen = v->config_gen;
	pthread_mutex_unlock(&v->lock);
	return gen;
}

void vdev_config_changed(struct vdev *v)
{
	bool running;

	pthread_mutex_lock(&v->lock);
	v->config_gen++;
	running = v->status & VIRTIO_CONFIG_S_DRIVER_OK;
	pthread_mutex_unlock(&v->lock);
	say_changed(v);
	if (running)
		raise_config(v);
}

/* ---- for devices -------------------------------------------------------------------------- */

void vdev_queue_flush(struct vdev *v, unsigned q)
{
	struct vq *ring = &v->queues[q].ring;

	vq_publish(ring);
	if (vq_wants_irq(ring) && v->irq)
		v->irq->queue(v->irq_ctx, q);
}

/* Whether the driver has to be told: one that runs, and does not know yet (s2.1.2). */
static bool want_reset(struct vdev *v, unsigned faults)
{
	bool tell;

	pthread_mutex_lock(&v->lock);
	v->faults += faults;
	tell = (v->status & VIRTIO_CONFIG_S_DRIVER_OK) && !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (v->status)
		v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	pthread_mutex_unlock(&v->lock);
	say_changed(v);
	return tell;
}

void vdev_lost(struct vdev *v)
{
	if (want_reset(v, 0))
		raise_config(v);
}

void vdev_fault(struct vdev *v, int q, const char *why)
{
	bool tell = want_reset(v, 1);

	if (q >= 0)
		v->queues[q].ring.broken = true;
	if (tell)
		raise_config(v);
	if (q >= 0)
		log_limited(&v->log, "%s: queue %d: %s; stopped until the guest resets the device", v->name, q, why);
	else
		log_limited(&v->log, "%s: %s; stopped until the guest resets the device", v->name, why);
}
