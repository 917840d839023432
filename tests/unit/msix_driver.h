/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * msix_driver - what a Linux guest does to an MSI-X function, in its order
 *
 * What:   probe and unbind of a virtio-pci driver: which registers it writes, and when its
 *         writes have to have taken effect. Every register write is followed by what the
 *         transport does: a sync where the object says that there is work.
 */
#ifndef TESTS_UNIT_MSIX_DRIVER_H
#define TESTS_UNIT_MSIX_DRIVER_H

#include "tests/unit/irq_check.h"

#define CTRL_ENABLE 0x8000
#define CTRL_MASKALL 0x4000

static inline struct msix *msix_make(struct rig *r, unsigned nvec, unsigned nsources)
{
	const struct msix_cfg cfg = { .space = r->space, .loop = r->loop, .name = "net0", .nvec = nvec,
				      .nsources = nsources, .devid = RIG_DEVID };
	struct msix *m = NULL;

	ck_assert_int_eq(msix_new(&cfg, &m), 0);
	return m;
}

static inline void settle(struct msix *m)
{
	if (msix_stale(m))
		ck_assert_int_eq(msix_sync(m), 0);
	ck_assert(!msix_stale(m));
}

static inline void set_ctrl(struct msix *m, uint16_t ctrl)
{
	msix_ctrl_write(m, ctrl);
	settle(m);
}

static inline void set_mask(struct msix *m, unsigned vector, bool masked)
{
	msix_table_write(m, vector * 16 + 12, 4, masked);
	settle(m);
}

static inline void set_message(struct msix *m, unsigned vector, uint64_t addr, uint32_t data)
{
	msix_table_write(m, vector * 16, 4, (uint32_t)addr);
	settle(m);
	msix_table_write(m, vector * 16 + 4, 4, addr >> 32);
	settle(m);
	msix_table_write(m, vector * 16 + 8, 4, data);
	settle(m);
}

static inline void set_vector(struct msix *m, unsigned source, uint16_t vector)
{
	ck_assert_uint_eq(msix_bind(m, source, vector), vector);
	ck_assert_uint_eq(msix_vector(m, source), vector);
	settle(m);
}

/* Source n goes to vector n; the last source is the configuration's, with vector 0 in Linux's order. */
static inline void linux_probe_at(struct msix *m, unsigned nvec, uint64_t addr, uint32_t data)
{
	unsigned v;

	set_ctrl(m, 0);
	set_ctrl(m, CTRL_ENABLE | CTRL_MASKALL);
	for (v = 0; v < nvec; v++)
		set_message(m, v, addr, data + v);
	for (v = 0; v < nvec; v++)
		set_mask(m, v, true);
	set_ctrl(m, CTRL_ENABLE);
	/* The configuration's vector is unmasked before it is bound, a queue's the other way round. */
	set_mask(m, 0, false);
	set_vector(m, nvec - 1, 0);
	for (v = 1; v < nvec; v++) {
		set_vector(m, v - 1, (uint16_t)v);
		set_mask(m, v, false);
	}
}

static inline void linux_probe(struct msix *m, unsigned nvec)
{
	linux_probe_at(m, nvec, FAKE_TRANSLATER, 0);
}

static inline void linux_unbind(struct msix *m, unsigned nvec)
{
	unsigned v;

	msix_unbind_all(m); /* status = 0 */
	settle(m);
	for (v = 0; v < nvec; v++) {
		set_mask(m, v, true);
		set_message(m, v, 0, 0);
		ck_assert_uint_eq(msix_bind(m, v, MSIX_NO_VECTOR), MSIX_NO_VECTOR);
		settle(m);
	}
	set_ctrl(m, CTRL_ENABLE | CTRL_MASKALL);
	set_ctrl(m, 0);
}

/* Two vectors and two sources, all bound and unmasked: source n at vector n, which sends event n. */
static inline struct msix *msix_ready(struct rig *r)
{
	struct msix *m = msix_make(r, 2, 2);
	unsigned v;

	set_ctrl(m, CTRL_ENABLE);
	for (v = 0; v < 2; v++)
		set_message(m, v, FAKE_TRANSLATER, v);
	for (v = 0; v < 2; v++) {
		set_vector(m, v, (uint16_t)v);
		set_mask(m, v, false);
	}
	return m;
}

static inline uint64_t events(struct rig *r, uint32_t event)
{
	rig_deliver(r);
	return fake_kvm_msis(r->hyp, RIG_DEVID, event);
}

#endif
