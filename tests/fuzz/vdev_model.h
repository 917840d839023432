/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vdev_model - a virtio device that does nothing, and its registers written down a second time
 *
 * What:   what the harnesses of both transports drive: a device of three queues whose back end is
 *         this process or "the kernel", as the input says; and from the specification what status,
 *         features and queue registers have to be after each write.
 * Source: virtio 1.2 s2.1, s2.2, s3.1.
 */
#ifndef TESTS_FUZZ_VDEV_MODEL_H
#define TESTS_FUZZ_VDEV_MODEL_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "devices/virtio/vdev.h"
#include "tests/fuzz/fuzz.h"

#define RAM 0x40000000
#define RAM_SIZE 0x10000
#define QUEUES 3
#define QUEUE_MAX 16
#define CONFIG_LEN 5

static struct device {
	struct vdev v;
	unsigned vhost;              /* bit q: queue q is the kernel's */
	int call_fd[QUEUES];
	uint8_t config[CONFIG_LEN];
} dev;

static struct vdev_model {
	uint8_t status;
	uint64_t offered, acked;
	struct vq_regs q[QUEUES];
	bool active;
	uint32_t gen;
	unsigned config_irqs;        /* times the driver was to be told */
} mod;

/* ---- the device --------------------------------------------------------------------------- */

static int dev_activate(struct vdev *v)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		if (!v->queues[q].regs.ready)
			continue;
		if (vq_start(&v->queues[q].ring, v->mem, &v->queues[q].regs, false, false) < 0)
			return -1;
		if (!(dev.vhost & BIT32(q)))
			continue;
		vq_stop(&v->queues[q].ring);
		v->vhost_queues |= BIT64(q);
		if (v->irq->call_fd(v->irq_ctx, q, &dev.call_fd[q]))
			return -1;
	}
	return 0;
}

static void dev_reset(struct vdev *v)
{
	must(v == &dev.v);
}

static void dev_kick(struct vdev *v, unsigned q)
{
	must(v->active && q < QUEUES && v->queues[q].regs.ready && !(v->vhost_queues & BIT64(q)));
}

static void dev_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	must(v == &dev.v && off < CONFIG_LEN && len <= CONFIG_LEN - off);
	memcpy(buf, dev.config + off, len);
}

static void dev_config_write(struct vdev *v, unsigned off, const void *buf, unsigned len)
{
	must(v == &dev.v && off < CONFIG_LEN && len <= CONFIG_LEN - off);
	memcpy(dev.config + off, buf, len);
}

static void dev_free(struct vdev *v)
{
	vdev_fini(v);
}

static const struct vdev_ops dev_ops = {
	.kind = "test", .activate = dev_activate, .reset = dev_reset, .kick = dev_kick,
	.config_read = dev_config_read, .config_write = dev_config_write, .free = dev_free,
};

static inline void dev_make(struct loop *loop, struct gmem *mem, unsigned vhost)
{
	const struct vdev_cfg vc = { .ops = &dev_ops, .name = "test0", .type = 1, .nr_queues = QUEUES,
				     .queue_size = QUEUE_MAX, .config_len = CONFIG_LEN, .back_end = true,
				     .offered = 0x35, .loop = loop, .mem = mem };

	memset(&dev, 0, sizeof(dev));
	dev.vhost = vhost;
	must(vdev_init(&dev.v, &vc) == 0);
	mod = (struct vdev_model){ .offered = 0x35 | BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_RING_F_EVENT_IDX) |
					      BIT64(VIRTIO_RING_F_INDIRECT_DESC) };
	for (unsigned q = 0; q < QUEUES; q++)
		mod.q[q] = (struct vq_regs){ .size = QUEUE_MAX, .max = QUEUE_MAX };
}

/* ---- the model ---------------------------------------------------------------------------- */

static inline bool mod_area_ok(gpa_t gpa, uint64_t align, uint64_t len)
{
	return !(gpa % align) && gpa >= RAM && gpa - RAM < RAM_SIZE && len <= RAM_SIZE - (gpa - RAM);
}

static inline bool mod_startable(void)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		const struct vq_regs *r = &mod.q[i];
		uint64_t n = r->size;

		if (r->ready && !(mod_area_ok(r->desc, 16, 16 * n) && mod_area_ok(r->avail, 2, 6 + 2 * n) &&
				  mod_area_ok(r->used, 4, 6 + 8 * n)))
			return false;
	}
	return true;
}

static inline void mod_reset(void)
{
	mod.status = 0;
	mod.acked = 0;
	mod.active = false;
	for (unsigned q = 0; q < QUEUES; q++)
		mod.q[q] = (struct vq_regs){ .size = QUEUE_MAX, .max = QUEUE_MAX };
}

/* s3.1.1: one bit after the other, none back. */
static inline void mod_set_status(uint8_t val)
{
	const uint8_t all = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |
			    VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED;
	bool was_ok = mod.status & VIRTIO_CONFIG_S_DRIVER_OK;

	if (!val) {
		mod_reset();
		return;
	}
	if (mod.status & all & ~val)
		return;
	if (val & VIRTIO_CONFIG_S_FAILED)
		mod.status |= VIRTIO_CONFIG_S_FAILED;
	if (mod.status & (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET))
		return;
	if (val & VIRTIO_CONFIG_S_ACKNOWLEDGE)
		mod.status |= VIRTIO_CONFIG_S_ACKNOWLEDGE;
	if (mod.status & VIRTIO_CONFIG_S_ACKNOWLEDGE && val & VIRTIO_CONFIG_S_DRIVER)
		mod.status |= VIRTIO_CONFIG_S_DRIVER;
	if (mod.status & VIRTIO_CONFIG_S_DRIVER && val & VIRTIO_CONFIG_S_FEATURES_OK &&
	    !(mod.acked & ~mod.offered) && mod.acked & BIT64(VIRTIO_F_VERSION_1))
		mod.status |= VIRTIO_CONFIG_S_FEATURES_OK;
	if (mod.status & VIRTIO_CONFIG_S_FEATURES_OK && val & VIRTIO_CONFIG_S_DRIVER_OK)
		mod.status |= VIRTIO_CONFIG_S_DRIVER_OK;
	if (was_ok || !(mod.status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	mod.active = mod_startable();
	if (!mod.active) {
		mod.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
		mod.config_irqs++;
	}
}

static inline void mod_ack(uint32_t sel, uint32_t bits)
{
	if (mod.status & VIRTIO_CONFIG_S_FEATURES_OK || sel > 1)
		return;
	mod.acked = sel ? (uint64_t)bits << 32 | (uint32_t)mod.acked : (mod.acked >> 32 << 32 | bits);
}

/* The registers of queue @q where they may be written; else NULL. */
static inline struct vq_regs *mod_queue(uint64_t q)
{
	return q < QUEUES && !(mod.status & VIRTIO_CONFIG_S_DRIVER_OK) ? &mod.q[q] : NULL;
}

/* s4.2.2.2: a queue that the driver stops, and the device with it */
static inline void mod_stop(void)
{
	mod.active = false;
	mod.config_irqs += !(mod.status & VIRTIO_CONFIG_S_NEEDS_RESET);
	mod.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	for (unsigned q = 0; q < QUEUES; q++)
		mod.q[q].ready = false;
}

static inline void mod_set_size(uint64_t q, uint64_t size)
{
	struct vq_regs *r = mod_queue(q);

	if (r && !r->ready && size && size <= QUEUE_MAX && !(size & (size - 1)))
		r->size = (uint16_t)size;
}

static inline void mod_set_addr(uint64_t q, enum vdev_area area, bool high, uint32_t bits)
{
	struct vq_regs *r = mod_queue(q);
	gpa_t *a;

	if (!r || r->ready)
		return;
	a = area == VDEV_DESC ? &r->desc : area == VDEV_AVAIL ? &r->avail : &r->used;
	*a = high ? (uint64_t)bits << 32 | (uint32_t)*a : (*a >> 32 << 32 | bits);
}

/* The device under test is as the model has it. */
static inline void mod_compare(void)
{
	struct vq_regs r;

	must(vdev_status(&dev.v) == mod.status);
	must(dev.v.active == mod.active && dev.v.acked == mod.acked && dev.v.offered == mod.offered);
	must(!dev.v.active || !(dev.v.acked & ~dev.v.offered));
	for (unsigned q = 0; q < QUEUES; q++) {
		must(vdev_queue(&dev.v, q, &r));
		must(r.size == mod.q[q].size && r.max == QUEUE_MAX && r.ready == mod.q[q].ready);
		must(r.desc == mod.q[q].desc && r.avail == mod.q[q].avail && r.used == mod.q[q].used);
	}
}

/* What the device does by itself. */
static inline void dev_breaks(unsigned q)
{
	vdev_fault(&dev.v, (int)q, "as the input says");
	mod.config_irqs += mod.status & VIRTIO_CONFIG_S_DRIVER_OK && !(mod.status & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (mod.status)
		mod.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
}

static inline void dev_changes(struct fuzz_in *in)
{
	dev.config[fuzz_below(in, CONFIG_LEN)] = fuzz_u8(in);
	vdev_config_changed(&dev.v);
	mod.config_irqs += mod.status & VIRTIO_CONFIG_S_DRIVER_OK ? 1 : 0;
	mod.gen++;
}

/* The bytes of the configuration space, zeros behind it. */
static inline uint64_t mod_config(uint64_t off, unsigned len)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < len && off + i < CONFIG_LEN; i++)
		val |= (uint64_t)dev.config[off + i] << 8 * i;
	return val;
}

/* Values that registers of addresses are written with. */
static inline uint32_t any_reg(struct fuzz_in *in)
{
	switch (fuzz_below(in, 4)) {
	case 0: return fuzz_u8(in);
	case 1: return RAM + (uint32_t)fuzz_u16(in);
	case 2: return RAM + (uint32_t)fuzz_u8(in) * 16;
	default: return fuzz_u32(in);
	}
}

#endif
