/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * irq_rules - what must hold between the interrupt code and KVM, rule by rule
 *
 * What:   the invariants V1 to V11 as functions of a record of what KVM was told:
 *           V1  a table has every SPI, one GSI a pin, one entry a GSI, none beyond the last
 *           V2  an MSI entry carries the device id flag iff the ITS wants it, a device id that
 *               the device tree gives, and a message that can be delivered
 *           V3  no irqfd is on a GSI without a route, none twice; each attach has one detach
 *           V4  no table before start, none in flat mode, none that changes nothing
 *           V5  what may not deliver is not attached; what is attached carries its message
 *           V6  what may deliver is attached, and nothing of it is pending
 *           V7  all freed: SPIs only, and no irqfd
 *           V8  no call with an argument out of range, whatever the guest wrote
 *           V9  the kernel's table is what the shadow says, also after a failed commit
 *           V10 an interrupt has its reason in the status register before it is raised
 *           V11 after a reset nothing is attached, and nothing signalled waits
 * Not:    when they are asked (irq_check.h).
 * Trust:  arguments may be anything; that is the point.
 * Thread: pure; the caller keeps record and space still.
 * Source: Linux virt/kvm/irqchip.c and eventfd.c for what KVM takes without complaint; GICv3
 *         architecture (GITS_TRANSLATER); Arm BSA (GICv2m); PCI Local Bus 3.0 s6.8.2.
 *
 * Each returns 0, or -EPROTO with a sentence in @why that begins with the rule's name.
 */
#ifndef VMM_CORE_IRQ_RULES_H
#define VMM_CORE_IRQ_RULES_H

#include "vmm/base/err.h"
#include "vmm/core/gsi.h"
#include "vmm/core/irq_check.h"
#include "vmm/core/kvm.h"

#define IRQ_RECORD_FDS 8192   /* irqfds at a time: more than descriptors of devices */
#define IRQ_RECORD_DEVIDS 256

struct irq_told_fd {
	int fd;
	uint32_t gsi;
};

/* What KVM was told, and took. Made by irq_record_new(). */
struct irq_record {
	struct gsi_cfg cfg;
	bool ours;                 /* a table of the program's has replaced the kernel's own */
	unsigned nr_routes;
	struct hyp_route *table;   /* by GSI; cfg.max_routes */
	uint8_t *seen;             /* by GSI: V1's notes */
	unsigned nr_fds;
	struct irq_told_fd *fds;   /* IRQ_RECORD_FDS */
	unsigned nr_devids;
	uint32_t devids[IRQ_RECORD_DEVIDS];
};

/* The kernel's own table, GSI n = SPI n. -ENOMEM. */
int irq_record_new(const struct gsi_cfg *cfg, struct irq_record *ret_r);
void irq_record_free(struct irq_record *r); /* again is fine */
/* KVM took a table; an attach; a detach. Rules are asked first. -ENOSPC: more irqfds than fit. */
void irq_record_table(struct irq_record *r, const struct hyp_route *routes, unsigned n);
int irq_record_attach(struct irq_record *r, int fd, uint32_t gsi);
void irq_record_detach(struct irq_record *r, int fd, uint32_t gsi);
/* What @fd is attached to; NULL: nothing. */
const struct irq_told_fd *irq_record_find(const struct irq_record *r, int fd);

/* Of a table that was asked for, before it is recorded. */
int irq_v1_table(struct irq_record *r, const struct hyp_route *routes, unsigned n, struct err *why);
int irq_v2_table(const struct irq_record *r, const struct hyp_route *routes, unsigned n, struct err *why);
int irq_v4_table(const struct irq_record *r, bool started, const struct hyp_route *routes, unsigned n, struct err *why);
int irq_v8_table(const struct irq_record *r, unsigned n, struct err *why);
/* Of the recorded table: every irqfd still has a route. */
int irq_v3_table(const struct irq_record *r, struct err *why);

/* Of an attach or a detach that was asked for, and answered @result, before it is recorded. */
int irq_v3_attach(const struct irq_record *r, int fd, uint32_t gsi, int result, struct err *why);
int irq_v3_detach(const struct irq_record *r, int fd, uint32_t gsi, int result, struct err *why);
int irq_v8_irqfd(const struct irq_record *r, int fd, uint32_t gsi, struct err *why);
int irq_v8_line(const struct irq_record *r, uint32_t spi, struct err *why);
/* Of a message that was handed to KVM_SIGNAL_MSI. */
int irq_v2_message(const struct irq_record *r, const struct hyp_route *msi, struct err *why);

/* Of the program's own tables; under the space's lock. */
int irq_v3_shadow(const struct irq_record *r, const struct gsi_space *s, struct err *why);
int irq_v9_shadow(const struct irq_record *r, const struct gsi_space *s, struct err *why);
int irq_v7_end(const struct irq_record *r, const struct gsi_space *s, struct err *why);

/* Of devices. */
bool irq_may_deliver(const struct gsi_cfg *cfg, const struct irq_source *src);
int irq_v5_source(const struct irq_record *r, const struct irq_source *src, struct err *why);
int irq_v6_source(const struct irq_record *r, const struct irq_source *src, struct err *why);
int irq_v10_pulse(uint64_t reasons, uint64_t pulses, uint32_t spi, struct err *why);
int irq_v10_direct(const char *device, int fd, bool told, struct err *why);
int irq_v11_status(const char *device, uint32_t bits, struct err *why);
int irq_v11_silent(const struct irq_record *r, const char *device, int fd, bool waiting, struct err *why);

#endif
