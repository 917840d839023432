/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake/driver - plays the guest's virtio driver
 *
 * What:   a split ring seen from the driver (fake_ring), and a device behind a transport
 *         (fake_guest): probe, status walk, queue set-up, vectors, kicks.
 * Not:    polite by necessity: each step is a function of its own, and every field of a ring
 *         can be set to anything.
 * Thread: the test's. Accesses go the way of a guest's: ioeventfds and read-only memory slots of
 *         the fake KVM first, then the bus.
 */
#ifndef TESTS_FAKE_DRIVER_H
#define TESTS_FAKE_DRIVER_H

#include "devices/virtio/vdev.h"
#include "vmm/core/bus.h"
#include "vmm/core/kvm.h"

/* ---- a ring ------------------------------------------------------------------------------- */

struct fake_ring {
	struct gmem *mem;
	uint16_t size;
	gpa_t desc, avail, used;
	uint16_t next_desc;  /* the next descriptor that fake_ring_add() fills, modulo size */
	uint16_t avail_idx;  /* published */
	uint16_t used_idx;   /* taken */
};

struct fake_part {
	gpa_t addr;
	uint32_t len;
	bool write;
};

/* Lays the three areas out from @at (a multiple of 16) and zeroes them. Returns the first address behind. */
gpa_t fake_ring_init(struct fake_ring *r, struct gmem *mem, gpa_t at, uint16_t size);
struct vq_regs fake_ring_regs(const struct fake_ring *r); /* ready, max = size */

/* Any descriptor of the table, and of an indirect table at @table. */
void fake_ring_desc(struct fake_ring *r, uint16_t i, gpa_t addr, uint32_t len, uint16_t flags, uint16_t next);
void fake_table_desc(struct gmem *mem, gpa_t table, uint16_t i, gpa_t addr, uint32_t len, uint16_t flags,
		     uint16_t next);
/* Puts @head into the available ring; _show() makes all that were put visible. */
void fake_ring_put(struct fake_ring *r, uint16_t head);
void fake_ring_show(struct fake_ring *r);
/* A chain of @n descriptors, put and shown; returns its head. */
uint16_t fake_ring_add(struct fake_ring *r, const struct fake_part *parts, unsigned n);
/* Takes the next used element; false: none. */
bool fake_ring_used(struct fake_ring *r, uint32_t *ret_id, uint32_t *ret_len);

void fake_ring_set_avail_idx(struct fake_ring *r, uint16_t idx);
void fake_ring_set_flags(struct fake_ring *r, uint16_t flags);      /* available ring: no interrupt */
void fake_ring_set_used_event(struct fake_ring *r, uint16_t event);
uint16_t fake_ring_used_flags(const struct fake_ring *r);           /* used ring: no notify */
uint16_t fake_ring_avail_event(const struct fake_ring *r);
uint16_t fake_ring_used_idx(const struct fake_ring *r);

/* Without a transport: writes the ring into queue @q of @v, not yet ready... */
void fake_ring_give(const struct fake_ring *r, struct vdev *v, unsigned q);
/* ...and walks the status to DRIVER_OK with @features (VERSION_1 is added). What vdev_act() says. */
int fake_vdev_start(struct vdev *v, uint64_t features);
void fake_vdev_reset(struct vdev *v);

/* ---- a device behind a transport ---------------------------------------------------------- */

struct fake_guest {
	struct bus *bus;
	struct hyp *hyp;   /* the fake */
	bool pci;
	gpa_t base;        /* mmio: the register block */
	gpa_t ecam;        /* pci */
	uint16_t rid;
	gpa_t bar[2];      /* pci: where fake_guest_map_bars() put them */
	unsigned common, isr, device, notify; /* offsets in BAR 0, from the capabilities */
	unsigned notify_mult, notify_len, device_len;
	unsigned window;   /* offset of the PCI_CFG capability */
	unsigned msix;     /* offset of the MSI-X capability */
	unsigned nvec, table, pba;
};

void fake_guest_mmio(struct fake_guest *g, struct bus *bus, struct hyp *hyp, gpa_t base);
/* Reads the capabilities; true if all that s4.1 asks for is there. */
bool fake_guest_pci(struct fake_guest *g, struct bus *bus, struct hyp *hyp, gpa_t ecam, uint16_t rid);

uint64_t fake_guest_read(struct fake_guest *g, gpa_t gpa, unsigned len);
void fake_guest_write(struct fake_guest *g, gpa_t gpa, unsigned len, uint64_t val);

uint32_t fake_cfg_read(struct fake_guest *g, unsigned off, unsigned len);
void fake_cfg_write(struct fake_guest *g, unsigned off, unsigned len, uint32_t val);
/* Sizes BARs 0 and 1, puts them at @at and behind, switches decoding and bus mastering on. */
void fake_guest_map_bars(struct fake_guest *g, gpa_t at);

uint8_t fake_guest_status(struct fake_guest *g);
void fake_guest_set_status(struct fake_guest *g, uint8_t status);
uint64_t fake_guest_features(struct fake_guest *g);
void fake_guest_ack(struct fake_guest *g, uint64_t features);
void fake_guest_select(struct fake_guest *g, unsigned q);
/* Selects @q, writes size and addresses; _enable() makes it ready. */
void fake_guest_queue(struct fake_guest *g, unsigned q, const struct fake_ring *r);
void fake_guest_enable(struct fake_guest *g, unsigned q);
uint16_t fake_guest_queue_max(struct fake_guest *g, unsigned q); /* 0: no such queue */
bool fake_guest_queue_ready(struct fake_guest *g, unsigned q);
void fake_guest_kick(struct fake_guest *g, unsigned q);
/* InterruptStatus, or the ISR byte (which the read clears). */
uint32_t fake_guest_isr(struct fake_guest *g);
void fake_guest_ack_isr(struct fake_guest *g, uint32_t bits); /* mmio */

/* ACKNOWLEDGE, DRIVER, features, FEATURES_OK; false where the device refuses. */
bool fake_guest_negotiate(struct fake_guest *g, uint64_t features);
/* All of it with one ring for each of @n queues. */
bool fake_guest_start(struct fake_guest *g, uint64_t features, const struct fake_ring *rings, unsigned n);

/* MSI-X. Entry @vec: message @event for the fake ITS, masked or not. */
void fake_msix_control(struct fake_guest *g, bool enable, bool maskall);
void fake_msix_entry(struct fake_guest *g, unsigned vec, uint32_t event, bool masked);
uint16_t fake_guest_bind(struct fake_guest *g, unsigned q, uint16_t vec); /* returns the read-back */
uint16_t fake_guest_bind_config(struct fake_guest *g, uint16_t vec);

#endif
