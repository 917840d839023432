/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gsi - the VM's GSI space: who owns which GSI, and the whole routing table
 *
 * What:   GSI n is SPI n for every SPI, for ever; the rest are handed out for MSI messages.
 *         Keeps a shadow of the full table; changes are staged and committed in batches by
 *         one KVM_SET_GSI_ROUTING.
 * Not:    eventfds (irqfd.h), masks and vectors (devices/pci/msix.h).
 * Trust:  addresses and data of messages come from the guest; a message that cannot be
 *         delivered is "not valid", never an error for the guest.
 * Thread: any; one mutex, never held while waiting for another thread. Commits are made by
 *         the loop, or at set-up before the guest runs.
 * Source: KVM api.rst 4.52 (KVM_SET_GSI_ROUTING); Linux virt/kvm/irqchip.c.
 *
 * Without an MSI route there is no commit: the kernel's default table (GSI n = SPI n) is
 * right. The first commit replaces it and therefore carries every SPI, so SPIs are the same
 * GSIs before and after.
 */
#ifndef VMM_CORE_GSI_H
#define VMM_CORE_GSI_H

#include <stdatomic.h>
#include <stdio.h>

#include "vmm/base/types.h"

struct hyp;
struct irqfd;
struct gsi_space;

/* What takes a device's messages. */
enum msi_model { MSI_NONE, MSI_ITS, MSI_V2M };

/* Whose the kernel's routing table is. */
enum gsi_mode {
	GSI_AUTO,     /* the kernel's own until the first message needs a route */
	GSI_EXPLICIT, /* ours from gsi_space_start() on */
	GSI_FLAT,     /* the kernel's own for ever: KVM_SET_GSI_ROUTING is never called */
};

/* How a message becomes an interrupt: one answer for all messages of a VM. */
enum msi_way {
	MSI_BY_NOTHING, /* nothing takes messages */
	MSI_BY_ROUTE,   /* an irqfd on a GSI of its own, which our table maps to the message */
	MSI_BY_SPI,     /* an irqfd on the SPI that the message names, with either table */
	MSI_BY_SIGNAL,  /* the loop reads the eventfd and hands the message to KVM_SIGNAL_MSI */
};

/* GICv2m: the one register that a message is written to, from the frame's start. */
#define V2M_MSI_SETSPI_NS 0x40
#define V2M_FRAME_SIZE (4 * KIB)

struct gsi_cfg {
	uint32_t nr_spis;       /* as fixed at the interrupt controller's INIT */
	uint32_t max_routes;    /* hyp_max_routes() */
	enum msi_model model;
	enum gsi_mode mode;
	gpa_t doorbell;         /* the ITS (GITS_TRANSLATER is in its second half), or the v2m frame */
	uint64_t doorbell_size; /* bytes: 128 KiB, or V2M_FRAME_SIZE */
	uint32_t v2m_spi, v2m_count; /* MSI_V2M: the frame's SPIs (INTID - 32), which nobody else uses */
	bool need_devid;        /* hyp_needs_devid(), asked after the ITS was created */
};

/* -ENOMEM; -EINVAL: nr_spis above max_routes, not the doorbell's size, a frame of SPIs that are not there. @hyp is borrowed. */
int gsi_space_new(const struct gsi_cfg *cfg, struct hyp *hyp, struct gsi_space **ret_s);
/* Every irqfd is detached. Routes that are left go with it. NULL is fine. */
void gsi_space_free(struct gsi_space *s);
/*
 * Once, after the interrupt controller's INIT; before it every commit and attach is -EAGAIN.
 * With GSI_EXPLICIT the first commit, with hyp_set_routes()'s errors; else no ioctl, and 0.
 */
int gsi_space_start(struct gsi_space *s);
/* Pure: follows from the configuration. */
enum msi_way gsi_msi_way(const struct gsi_space *s);

/*
 * Ends a batch: commits all that is staged, in one table; 0 and no ioctl where nothing is. A
 * reason to commit is a deliverable message that is not live, or a freed route; a message that
 * became undeliverable waits for such a reason. An entry that an irqfd is attached to stays in
 * the table in any case. On failure the kernel keeps the last good table, what was staged stays
 * staged (not live), and a later commit retries. -EAGAIN before start, or hyp_set_routes()'s
 * errors.
 */
int gsi_commit(struct gsi_space *s);

/*
 * Would a write of @data to @addr by device @devid make an interrupt? For MSI_ITS: @addr is
 * GITS_TRANSLATER (GICv3 architecture, ITS register map), and both ids fit into 16 bits. For
 * MSI_V2M: @addr is MSI_SETSPI_NS, and @data the INTID of an SPI of the frame's. Pure.
 */
bool gsi_msi_deliverable(const struct gsi_space *s, uint32_t devid, uint64_t addr, uint32_t data);

struct msi_route;

/*
 * Takes a GSI for a device's vector. @label names it in dumps ("net0 rx0"; copied, cut at 31
 * bytes). -ENOSPC: all taken; -EOPNOTSUPP: the model is MSI_NONE. The entry joins the table
 * when a valid message is staged. Where messages go another way than MSI_BY_ROUTE, a route is
 * the message alone, and as many of them can be had.
 */
int msi_route_new(struct gsi_space *s, uint32_t devid, const char *label, struct msi_route **ret_r);
/* The caller has detached every irqfd. The entry leaves at the next commit; its GSI is not handed out before that. NULL is fine. */
void msi_route_free(struct msi_route *r);
/*
 * Sets the message that the route shall carry; no ioctl. Same message again: nothing is
 * staged. -EINVAL: not deliverable under the model (the entry is then dropped at the next
 * commit). Live at once where no table is needed: detach what hangs on it before.
 */
int msi_route_stage(struct msi_route *r, uint64_t addr, uint32_t data);
/* The staged message is deliverable, and committed as it stands. */
bool msi_route_live(const struct msi_route *r);
/* Its live message is this one: for irq_check.h. */
bool msi_route_makes(const struct msi_route *r, uint64_t addr, uint32_t data);
/* What an irqfd is attached to for it: its own GSI; for MSI_BY_SPI the SPI that the live message names (0: none is live). */
uint32_t msi_route_gsi(const struct msi_route *r);
/*
 * Loop; MSI_BY_SIGNAL, live. Injects the message once, whatever the table holds. 1; 0 where the
 * guest has not mapped it; hyp_signal_msi()'s errors.
 */
int msi_route_signal(struct msi_route *r);
/* Names an SPI in dumps ("uart", "console0"). */
void gsi_label_spi(struct gsi_space *s, uint32_t spi, const char *label);

/* irqfd's side: -EAGAIN before start, -EINVAL where @gsi is not live. Counts attachments for V3 and the dump. */
int gsi_hold(struct gsi_space *s, uint32_t gsi);
void gsi_release(struct gsi_space *s, uint32_t gsi);
/* The same for what waits on the loop to call msi_route_signal(). */
int msi_route_hold(struct msi_route *r);
void msi_route_release(struct msi_route *r);
struct hyp *gsi_hyp(const struct gsi_space *s);
enum gsi_event { GSI_MASKED, GSI_UNMASKED, GSI_REPLAYED };
void gsi_count(struct gsi_space *s, enum gsi_event e);
/* The dump tells of @f, last of all; no more. @f belongs to irqfd.c. */
void gsi_tell_irqfd(struct gsi_space *s, struct irqfd *f);
void gsi_forget_irqfd(struct gsi_space *s, struct irqfd *f);

/* What the dump tells of a line that is moved by KVM_IRQ_LINE. */
struct gsi_spi_line {
	_Atomic uint64_t raised;
	atomic_bool high;
	bool used, edge;
};
/* Lives as long as @s; NULL: there is no such SPI. */
struct gsi_spi_line *gsi_spi_line(struct gsi_space *s, uint32_t spi, bool edge);

struct gsi_stats {
	uint64_t commits;         /* KVM_SET_GSI_ROUTING calls that succeeded */
	uint64_t failed_commits;
	uint64_t skipped_commits; /* batches with nothing to change */
	uint64_t table_bytes;     /* of all tables that were handed to the kernel, those that it refused too */
	uint32_t spi_routes;      /* in the last table of ours; 0: the kernel's is in force */
	uint32_t msi_routes;      /* in the committed table */
	uint32_t irqfds;          /* attached now */
	uint32_t hops;            /* eventfds that the loop reads now, to signal a message */
	uint64_t signals;         /* KVM_SIGNAL_MSI calls */
	uint64_t failed_signals;  /* of them, those that reached nobody */
	uint64_t masks, unmasks;  /* that took an attached source away, and brought it back */
	uint64_t replays;         /* attaches that found a signal waiting */
	uint64_t commit_ns, last_commit_ns, max_commit_ns; /* of KVM_SET_GSI_ROUTING, where it succeeded; the first: all together */
};
/* For tests; people have the dump. */
void gsi_get_stats(struct gsi_space *s, struct gsi_stats *ret_stats);
/*
 * Prints the way of every interrupt, a line each: what raises it, the eventfd, the GSI, and what that is in the guest; then
 * GSIs that nothing we know of hangs on; then the counters. For SIGUSR1. Loop.
 */
void gsi_dump(struct gsi_space *s, FILE *out);

#endif
