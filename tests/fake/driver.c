/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/driver.h"

#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "tests/fake/kvm.h"

/* ---- a ring ------------------------------------------------------------------------------- */

static void put(struct gmem *m, gpa_t gpa, const void *p, size_t len)
{
	if (gmem_write(m, gpa, p, len))
		abort();
}

static void put16(struct gmem *m, gpa_t gpa, uint16_t v)
{
	put(m, gpa, &v, sizeof(v));
}

static uint16_t get16(struct gmem *m, gpa_t gpa)
{
	uint16_t v;

	if (gmem_read(m, gpa, &v, sizeof(v)))
		abort();
	return v;
}

gpa_t fake_ring_init(struct fake_ring *r, struct gmem *mem, gpa_t at, uint16_t size)
{
	gpa_t end;
	void *p;

	memset(r, 0, sizeof(*r));
	r->mem = mem;
	r->size = size;
	r->desc = at;
	r->avail = r->desc + 16 * (gpa_t)size;
	r->used = align_up(r->avail + 6 + 2 * (gpa_t)size, 4);
	end = align_up(r->used + 6 + 8 * (gpa_t)size, 16);
	p = gmem_ptr(mem, at, end - at);
	if (!p)
		abort();
	memset(p, 0, end - at);
	return end;
}

struct vq_regs fake_ring_regs(const struct fake_ring *r)
{
	return (struct vq_regs){ .size = r->size, .max = r->size, .ready = true,
				 .desc = r->desc, .avail = r->avail, .used = r->used };
}

void fake_table_desc(struct gmem *mem, gpa_t table, uint16_t i, gpa_t addr, uint32_t len, uint16_t flags,
		     uint16_t next)
{
	struct vring_desc d = { .addr = addr, .len = len, .flags = flags, .next = next };

	put(mem, table + 16 * (gpa_t)i, &d, sizeof(d));
}

void fake_ring_desc(struct fake_ring *r, uint16_t i, gpa_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	fake_table_desc(r->mem, r->desc, i, addr, len, flags, next);
}

void fake_ring_put(struct fake_ring *r, uint16_t head)
{
	put16(r->mem, r->avail + 4 + 2 * (gpa_t)(r->avail_idx & (r->size - 1)), head);
	r->avail_idx++;
}

void fake_ring_show(struct fake_ring *r)
{
	fake_ring_set_avail_idx(r, r->avail_idx);
}

uint16_t fake_ring_add(struct fake_ring *r, const struct fake_part *parts, unsigned n)
{
	uint16_t head = r->next_desc & (r->size - 1);

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = r->next_desc++ & (r->size - 1);
		uint16_t flags = (parts[i].write ? VRING_DESC_F_WRITE : 0) | (i + 1 < n ? VRING_DESC_F_NEXT : 0);

		fake_ring_desc(r, at, parts[i].addr, parts[i].len, flags, r->next_desc & (r->size - 1));
	}
	fake_ring_put(r, head);
	fake_ring_show(r);
	return head;
}

bool fake_ring_used(struct fake_ring *r, uint32_t *ret_id, uint32_t *ret_len)
{
	struct vring_used_elem e;

	if (fake_ring_used_idx(r) == r->used_idx)
		return false;
	if (gmem_read(r->mem, r->used + 4 + 8 * (gpa_t)(r->used_idx & (r->size - 1)), &e, sizeof(e)))
		abort();
	r->used_idx++;
	*ret_id = e.id;
	*ret_len = e.len;
	return true;
}

void fake_ring_set_avail_idx(struct fake_ring *r, uint16_t idx)
{
	put16(r->mem, r->avail + 2, idx);
}

void fake_ring_set_flags(struct fake_ring *r, uint16_t flags)
{
	put16(r->mem, r->avail, flags);
}

void fake_ring_set_used_event(struct fake_ring *r, uint16_t event)
{
	put16(r->mem, r->avail + 4 + 2 * (gpa_t)r->size, event);
}

uint16_t fake_ring_used_flags(const struct fake_ring *r)
{
	return get16(r->mem, r->used);
}

uint16_t fake_ring_avail_event(const struct fake_ring *r)
{
	return get16(r->mem, r->used + 4 + 8 * (gpa_t)r->size);
}

uint16_t fake_ring_used_idx(const struct fake_ring *r)
{
	return get16(r->mem, r->used + 2);
}

static void give_area(struct vdev *v, unsigned q, enum vdev_area area, gpa_t gpa)
{
	vdev_queue_set_addr(v, q, area, false, (uint32_t)gpa);
	vdev_queue_set_addr(v, q, area, true, (uint32_t)(gpa >> 32));
}

void fake_ring_give(const struct fake_ring *r, struct vdev *v, unsigned q)
{
	vdev_queue_set_size(v, q, r->size);
	give_area(v, q, VDEV_DESC, r->desc);
	give_area(v, q, VDEV_AVAIL, r->avail);
	give_area(v, q, VDEV_USED, r->used);
	vdev_queue_set_ready(v, q, true);
}

struct act {
	struct vdev *v;
	enum vdev_todo todo;
};

static int act(void *ctx)
{
	struct act *a = ctx;

	return vdev_act(a->v, a->todo);
}

static int set_status(struct vdev *v, uint8_t status)
{
	struct act a = { .v = v, .todo = vdev_set_status(v, status) };

	return a.todo == VDEV_NOTHING ? 0 : loop_call(v->loop, act, &a);
}

int fake_vdev_start(struct vdev *v, uint64_t features)
{
	features |= BIT64(VIRTIO_F_VERSION_1);
	set_status(v, 1);
	set_status(v, 3);
	vdev_ack_features(v, 0, (uint32_t)features);
	vdev_ack_features(v, 1, (uint32_t)(features >> 32));
	set_status(v, 11);
	return set_status(v, 15);
}

void fake_vdev_reset(struct vdev *v)
{
	set_status(v, 0);
}

/* ---- accesses ----------------------------------------------------------------------------- */

uint64_t fake_guest_read(struct fake_guest *g, gpa_t gpa, unsigned len)
{
	uint64_t val;

	return fake_kvm_guest_read(g->hyp, gpa, len, &val) ? val : bus_read(g->bus, gpa, len);
}

void fake_guest_write(struct fake_guest *g, gpa_t gpa, unsigned len, uint64_t val)
{
	if (!fake_kvm_guest_write(g->hyp, gpa, len, val))
		bus_write(g->bus, gpa, len, val);
}

static uint32_t reg(struct fake_guest *g, unsigned off)
{
	return (uint32_t)fake_guest_read(g, g->base + off, 4);
}

static void set_reg(struct fake_guest *g, unsigned off, uint32_t val)
{
	fake_guest_write(g, g->base + off, 4, val);
}

#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)

static uint64_t common(struct fake_guest *g, size_t field, unsigned len)
{
	return fake_guest_read(g, g->bar[0] + g->common + field, len);
}

static void set_common(struct fake_guest *g, size_t field, unsigned len, uint64_t val)
{
	fake_guest_write(g, g->bar[0] + g->common + field, len, val);
}

static void set_common64(struct fake_guest *g, size_t field, uint64_t val)
{
	set_common(g, field, 4, val & UINT32_MAX);
	set_common(g, field + 4, 4, val >> 32);
}

/* ---- probing ------------------------------------------------------------------------------ */

void fake_guest_mmio(struct fake_guest *g, struct bus *bus, struct hyp *hyp, gpa_t base)
{
	*g = (struct fake_guest){ .bus = bus, .hyp = hyp, .base = base };
}

uint32_t fake_cfg_read(struct fake_guest *g, unsigned off, unsigned len)
{
	return (uint32_t)fake_guest_read(g, g->ecam + ((gpa_t)g->rid << 12) + off, len);
}

void fake_cfg_write(struct fake_guest *g, unsigned off, unsigned len, uint32_t val)
{
	fake_guest_write(g, g->ecam + ((gpa_t)g->rid << 12) + off, len, val);
}

static void note_vendor_cap(struct fake_guest *g, unsigned cap)
{
	unsigned off = fake_cfg_read(g, cap + 8, 4), len = fake_cfg_read(g, cap + 12, 4);

	switch (fake_cfg_read(g, cap + 3, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		g->common = len >= 56 ? off : UINT32_MAX;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		g->notify = off;
		g->notify_len = len;
		g->notify_mult = fake_cfg_read(g, cap + 16, 4);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		g->isr = len ? off : UINT32_MAX;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		g->device = off;
		g->device_len = len;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		g->window = cap;
		break;
	}
}

bool fake_guest_pci(struct fake_guest *g, struct bus *bus, struct hyp *hyp, gpa_t ecam, uint16_t rid)
{
	unsigned cap, steps = 0;

	*g = (struct fake_guest){ .bus = bus, .hyp = hyp, .pci = true, .ecam = ecam, .rid = rid };
	g->common = g->notify = g->isr = UINT32_MAX;
	if (!(fake_cfg_read(g, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return false;
	for (cap = fake_cfg_read(g, PCI_CAPABILITY_LIST, 1); cap; cap = fake_cfg_read(g, cap + 1, 1)) {
		if (++steps > 48 || cap < 0x40 || cap % 4)
			return false;
		switch (fake_cfg_read(g, cap, 1)) {
		case PCI_CAP_ID_VNDR:
			note_vendor_cap(g, cap);
			break;
		case PCI_CAP_ID_MSIX:
			g->msix = cap;
			g->nvec = (fake_cfg_read(g, cap + 2, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
			g->table = fake_cfg_read(g, cap + 4, 4) & ~7u;
			g->pba = fake_cfg_read(g, cap + 8, 4) & ~7u;
			break;
		}
	}
	return g->common != UINT32_MAX && g->notify != UINT32_MAX && g->isr != UINT32_MAX && g->window && g->msix;
}

void fake_guest_map_bars(struct fake_guest *g, gpa_t at)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned r = PCI_BASE_ADDRESS_0 + 4 * i;
		uint32_t size;

		fake_cfg_write(g, r, 4, UINT32_MAX);
		size = ~(fake_cfg_read(g, r, 4) & ~15u) + 1;
		at = align_up(at, size);
		g->bar[i] = at;
		fake_cfg_write(g, r, 4, (uint32_t)at);
		at += size;
	}
	fake_cfg_write(g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* ---- the device --------------------------------------------------------------------------- */

uint8_t fake_guest_status(struct fake_guest *g)
{
	return (uint8_t)(g->pci ? common(g, COMMON(device_status), 1) : reg(g, VIRTIO_MMIO_STATUS));
}

void fake_guest_set_status(struct fake_guest *g, uint8_t status)
{
	if (g->pci)
		set_common(g, COMMON(device_status), 1, status);
	else
		set_reg(g, VIRTIO_MMIO_STATUS, status);
}

static uint64_t feature_half(struct fake_guest *g, unsigned sel)
{
	if (g->pci) {
		set_common(g, COMMON(device_feature_select), 4, sel);
		return common(g, COMMON(device_feature), 4);
	}
	set_reg(g, VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
	return reg(g, VIRTIO_MMIO_DEVICE_FEATURES);
}

uint64_t fake_guest_features(struct fake_guest *g)
{
	return feature_half(g, 0) | feature_half(g, 1) << 32;
}

void fake_guest_ack(struct fake_guest *g, uint64_t features)
{
	for (unsigned sel = 0; sel < 2; sel++) {
		uint32_t bits = (uint32_t)(features >> (32 * sel));

		if (g->pci) {
			set_common(g, COMMON(guest_feature_select), 4, sel);
			set_common(g, COMMON(guest_feature), 4, bits);
		} else {
			set_reg(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
			set_reg(g, VIRTIO_MMIO_DRIVER_FEATURES, bits);
		}
	}
}

void fake_guest_select(struct fake_guest *g, unsigned q)
{
	if (g->pci)
		set_common(g, COMMON(queue_select), 2, q);
	else
		set_reg(g, VIRTIO_MMIO_QUEUE_SEL, q);
}

void fake_guest_queue(struct fake_guest *g, unsigned q, const struct fake_ring *r)
{
	fake_guest_select(g, q);
	if (g->pci) {
		set_common(g, COMMON(queue_size), 2, r->size);
		set_common64(g, COMMON(queue_desc_lo), r->desc);
		set_common64(g, COMMON(queue_avail_lo), r->avail);
		set_common64(g, COMMON(queue_used_lo), r->used);
		return;
	}
	set_reg(g, VIRTIO_MMIO_QUEUE_NUM, r->size);
	set_reg(g, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)r->desc);
	set_reg(g, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(r->desc >> 32));
	set_reg(g, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)r->avail);
	set_reg(g, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(r->avail >> 32));
	set_reg(g, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)r->used);
	set_reg(g, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(r->used >> 32));
}

void fake_guest_enable(struct fake_guest *g, unsigned q)
{
	fake_guest_select(g, q);
	if (g->pci)
		set_common(g, COMMON(queue_enable), 2, 1);
	else
		set_reg(g, VIRTIO_MMIO_QUEUE_READY, 1);
}

uint16_t fake_guest_queue_max(struct fake_guest *g, unsigned q)
{
	fake_guest_select(g, q);
	return (uint16_t)(g->pci ? common(g, COMMON(queue_size), 2) : reg(g, VIRTIO_MMIO_QUEUE_NUM_MAX));
}

bool fake_guest_queue_ready(struct fake_guest *g, unsigned q)
{
	fake_guest_select(g, q);
	return g->pci ? common(g, COMMON(queue_enable), 2) : reg(g, VIRTIO_MMIO_QUEUE_READY);
}

void fake_guest_kick(struct fake_guest *g, unsigned q)
{
	if (g->pci)
		fake_guest_write(g, g->bar[0] + g->notify + (gpa_t)g->notify_mult * q, 2, q);
	else
		set_reg(g, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

uint32_t fake_guest_isr(struct fake_guest *g)
{
	return g->pci ? (uint32_t)fake_guest_read(g, g->bar[0] + g->isr, 1) :
			reg(g, VIRTIO_MMIO_INTERRUPT_STATUS);
}

void fake_guest_ack_isr(struct fake_guest *g, uint32_t bits)
{
	set_reg(g, VIRTIO_MMIO_INTERRUPT_ACK, bits);
}

bool fake_guest_negotiate(struct fake_guest *g, uint64_t features)
{
	fake_guest_set_status(g, 1);
	fake_guest_set_status(g, 3);
	fake_guest_ack(g, features);
	fake_guest_set_status(g, 11);
	return fake_guest_status(g) == 11;
}

bool fake_guest_start(struct fake_guest *g, uint64_t features, const struct fake_ring *rings, unsigned n)
{
	if (!fake_guest_negotiate(g, features))
		return false;
	for (unsigned q = 0; q < n; q++) {
		fake_guest_queue(g, q, &rings[q]);
		fake_guest_enable(g, q);
	}
	fake_guest_set_status(g, 15);
	return fake_guest_status(g) == 15;
}

/* ---- MSI-X -------------------------------------------------------------------------------- */

void fake_msix_control(struct fake_guest *g, bool enable, bool maskall)
{
	uint32_t ctrl = (enable ? PCI_MSIX_FLAGS_ENABLE : 0) | (maskall ? PCI_MSIX_FLAGS_MASKALL : 0);

	fake_cfg_write(g, g->msix + PCI_MSIX_FLAGS, 2, ctrl);
}

void fake_msix_entry(struct fake_guest *g, unsigned vec, uint32_t event, bool masked)
{
	gpa_t e = g->bar[1] + g->table + 16 * (gpa_t)vec;

	fake_guest_write(g, e + 12, 4, 1);
	fake_guest_write(g, e, 4, (uint32_t)FAKE_TRANSLATER);
	fake_guest_write(g, e + 4, 4, (uint64_t)FAKE_TRANSLATER >> 32);
	fake_guest_write(g, e + 8, 4, event);
	if (!masked)
		fake_guest_write(g, e + 12, 4, 0);
}

uint16_t fake_guest_bind(struct fake_guest *g, unsigned q, uint16_t vec)
{
	fake_guest_select(g, q);
	set_common(g, COMMON(queue_msix_vector), 2, vec);
	return (uint16_t)common(g, COMMON(queue_msix_vector), 2);
}

uint16_t fake_guest_bind_config(struct fake_guest *g, uint16_t vec)
{
	set_common(g, COMMON(msix_config), 2, vec);
	return (uint16_t)common(g, COMMON(msix_config), 2);
}
