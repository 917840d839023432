/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_pci_common - the common configuration structure of virtio on PCI (s4.1.4.3)
 *
 * An access counts only if it is as wide as its field; 64-bit fields are also two halves
 * (s4.1.3.1). Anything else writes nothing and, as an exit, reads as all ones.
 */
#include "devices/virtio/virtio_pci_priv.h"

#include <string.h>

#include <linux/virtio_pci.h>

#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)

static const struct { uint8_t off, len; } fields[] = {
	{ COMMON(device_feature_select), 4 }, { COMMON(device_feature), 4 },
	{ COMMON(guest_feature_select), 4 },  { COMMON(guest_feature), 4 },
	{ COMMON(msix_config), 2 },           { COMMON(num_queues), 2 },
	{ COMMON(device_status), 1 },         { COMMON(config_generation), 1 },
	{ COMMON(queue_select), 2 },          { COMMON(queue_size), 2 },
	{ COMMON(queue_msix_vector), 2 },     { COMMON(queue_enable), 2 },
	{ COMMON(queue_notify_off), 2 },      { COMMON(queue_desc_lo), 8 },
	{ COMMON(queue_avail_lo), 8 },        { COMMON(queue_used_lo), 8 },
};

/*
 * The field that an access of @len bytes at @off is wide enough for, and not wider (s4.1.3.1):
 * its offset, with *@ret_high for the upper half of a 64-bit one. -1: no such access.
 */
static int common_field(uint64_t off, unsigned len, bool *ret_high)
{
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
		bool wide = fields[i].len == 8;

		*ret_high = wide && len == 4 && off == fields[i].off + 4u;
		if ((off == fields[i].off && (len == fields[i].len || (wide && len == 4))) || *ret_high)
			return fields[i].off;
	}
	return -1;
}

/* Of the selected queue: which there may not be; it then reads as one of size 0. */
static uint64_t queue_field_read(struct virtio_pci *t, int field)
{
	unsigned q = atomic_load(&t->queue_sel);
	struct vq_regs regs;
	bool exists = vdev_queue(t->vdev, q, &regs);
	uint16_t vector = MSIX_NO_VECTOR;

	switch (field) {
	case COMMON(queue_size):
		return regs.size;
	case COMMON(queue_msix_vector):
		if (exists) {
			pthread_mutex_lock(&t->lock);
			vector = msix_vector(t->msix, q);
			pthread_mutex_unlock(&t->lock);
		}
		return vector;
	case COMMON(queue_enable):
		return regs.ready;
	case COMMON(queue_notify_off):
		return exists ? q : 0;
	case COMMON(queue_desc_lo):
		return regs.desc;
	case COMMON(queue_avail_lo):
		return regs.avail;
	default:
		return regs.used;
	}
}

static uint64_t common_field_read(struct virtio_pci *t, int field)
{
	struct vdev *v = t->vdev;
	uint16_t vector;

	switch (field) {
	case COMMON(device_feature_select):
		return atomic_load(&t->device_sel);
	case COMMON(device_feature):
		return vdev_features(v, atomic_load(&t->device_sel));
	case COMMON(guest_feature_select):
		return atomic_load(&t->driver_sel);
	case COMMON(guest_feature):
		return vdev_acked(v, atomic_load(&t->driver_sel));
	case COMMON(msix_config):
		pthread_mutex_lock(&t->lock);
		vector = msix_vector(t->msix, v->nr_queues);
		pthread_mutex_unlock(&t->lock);
		return vector;
	case COMMON(num_queues):
		return v->nr_queues;
	case COMMON(device_status):
		return vdev_status(v);
	case COMMON(config_generation):
		return vdev_config_gen(v) & 0xff;
	case COMMON(queue_select):
		return atomic_load(&t->queue_sel);
	default:
		return queue_field_read(t, field);
	}
}

uint64_t vpci_common_read(struct virtio_pci *t, uint64_t off, unsigned len)
{
	bool high;
	int field = common_field(off, len, &high);

	if (field < 0)
		return width_mask(len);
	return (common_field_read(t, field) >> (high ? 32 : 0)) & width_mask(len);
}

void vpci_common_show(struct virtio_pci *t, uint8_t *dst)
{
	uint8_t now[VPCI_COMMON_LEN];

	for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
		uint64_t val = common_field_read(t, fields[i].off);

		memcpy(now + fields[i].off, &val, fields[i].len);
	}
	view_store(dst, now, sizeof(now));
}

static void bind_vector(struct virtio_pci *t, unsigned source, uint16_t vector)
{
	pthread_mutex_lock(&t->lock);
	msix_bind(t->msix, source, vector);
	pthread_mutex_unlock(&t->lock);
	vpci_settle(t, VDEV_NOTHING);
}

static void set_queue_addr(struct virtio_pci *t, enum vdev_area area, unsigned len, bool high, uint64_t val)
{
	unsigned q = atomic_load(&t->queue_sel);

	vdev_queue_set_addr(t->vdev, q, area, high, (uint32_t)val);
	if (len == 8)
		vdev_queue_set_addr(t->vdev, q, area, true, (uint32_t)(val >> 32));
}

void vpci_common_write(struct virtio_pci *t, uint64_t off, unsigned len, uint64_t val)
{
	unsigned q = atomic_load(&t->queue_sel);
	struct vdev *v = t->vdev;
	bool high;

	switch (common_field(off, len, &high)) {
	case COMMON(device_feature_select):
		atomic_store(&t->device_sel, (uint32_t)val);
		break;
	case COMMON(guest_feature_select):
		atomic_store(&t->driver_sel, (uint32_t)val);
		break;
	case COMMON(guest_feature):
		vdev_ack_features(v, atomic_load(&t->driver_sel), (uint32_t)val);
		break;
	case COMMON(msix_config):
		bind_vector(t, v->nr_queues, (uint16_t)val);
		break;
	case COMMON(device_status):
		vpci_settle(t, vdev_set_status(v, (uint8_t)val));
		break;
	case COMMON(queue_select):
		atomic_store(&t->queue_sel, (uint16_t)val);
		break;
	case COMMON(queue_size):
		vdev_queue_set_size(v, q, (uint16_t)val);
		break;
	case COMMON(queue_msix_vector):
		if (q < v->nr_queues)
			bind_vector(t, q, (uint16_t)val);
		break;
	case COMMON(queue_enable):
		if ((uint16_t)val == 1) /* "the driver MUST NOT write a 0" */
			vdev_queue_set_ready(v, q, true);
		break;
	case COMMON(queue_desc_lo):
		set_queue_addr(t, VDEV_DESC, len, high, val);
		break;
	case COMMON(queue_avail_lo):
		set_queue_addr(t, VDEV_AVAIL, len, high, val);
		break;
	case COMMON(queue_used_lo):
		set_queue_addr(t, VDEV_USED, len, high, val);
		break;
	}
}
