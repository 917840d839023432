/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * irqfd - an eventfd that KVM turns into an interrupt on a GSI
 *
 * What:   owns one eventfd; attached, KVM consumes its signals and injects; detached, its
 *         counter remembers them and the next attach injects once. Attached to a message
 *         (irqfd_attach_msi()) it goes the way that gsi_msi_way() says, and where that is
 *         MSI_BY_SIGNAL the loop takes KVM's part.
 * Not:    routes (gsi.h): a GSI must be live before anything is attached to it.
 * Trust:  the eventfd is also written by vhost, in the kernel; nothing of the guest gets here.
 * Thread: attach and detach on the loop or at set-up; irqfd_raise() any. Two threads may not
 *         change one irqfd at a time: its device's lock sees to that. System calls on vCPU
 *         threads: read(2), write(2), poll(2) of the eventfd. An attach after a signal while
 *         detached: one poll(2) on the loop.
 * Source: KVM api.rst 4.75 (KVM_IRQFD); Linux virt/kvm/eventfd.c.
 */
#ifndef VMM_CORE_IRQFD_H
#define VMM_CORE_IRQFD_H

#include <stdatomic.h>

#include "vmm/core/loop.h"

struct gsi_space;
struct msi_route;

struct irqfd {
	struct gsi_space *space;
	int fd;
	int resample_fd;        /* signalled at the guest's end of interrupt, on a level SPI; -1: none. Borrowed, of line.h. */
	bool attached;
	uint32_t gsi;           /* attached, but not by the loop */
	struct msi_route *hop;  /* attached by the loop: to this message */
	struct loop_poll poll;  /* only where messages are signalled */

	/* For people. */
	const char *owner, *name;  /* "net0", "rx0"; NULL: the SPI's own */
	struct irqfd *next;        /* told of in this order */
	bool told;
	bool by_message;           /* of irqfd_init_msi(); else on an SPI, f->gsi */
	bool lent;                 /* the kernel signals it too, past us */
	bool masked;               /* it was attached, and a mask took it away */
	bool was_attached;         /* once, in this life of its device */
	const struct msi_route *route; /* the message that it is meant to make; NULL: none */
	_Atomic uint64_t signals;  /* of ours */
	uint64_t seen;             /* of them, when it was detached */
};

/* Makes the eventfd (EFD_NONBLOCK | EFD_CLOEXEC). -EMFILE, -ENOMEM. */
int irqfd_init(struct irqfd *f, struct gsi_space *space);
/* The same for irqfd_attach_msi(). Before @loop's seal; loop_poll_init()'s errors too. @loop: not looked at unless messages are signalled. */
int irqfd_init_msi(struct irqfd *f, struct gsi_space *space, struct loop *loop);
void irqfd_fini(struct irqfd *f); /* detaches, closes */
/* Attached there already: 0. Attached elsewhere: moves. -EAGAIN before start, -EINVAL where @gsi is not live, KVM's errors. */
int irqfd_attach(struct irqfd *f, uint32_t gsi);
/* To the interrupt that @r's live message makes, whatever the way there; moves as above. -EINVAL: @r is not live. */
int irqfd_attach_msi(struct irqfd *f, struct msi_route *r);
/* Is it attached to what @r's message makes? */
bool irqfd_at_msi(const struct irqfd *f, const struct msi_route *r);
/* Idempotent. After return nothing is injected, and later signals stay in the counter. */
void irqfd_detach(struct irqfd *f);
/* Detached only: forgets what was signalled, and tells whether anything was. */
bool irqfd_take(struct irqfd *f);
/* Detached only: is a signal waiting? Consumes nothing. */
bool irqfd_pending(const struct irqfd *f);
/*
 * Dumps tell of it from now on, as "@owner @name", or by the name of SPI f->gsi where @owner is NULL. @f does not move any
 * more, and the strings live as long as it. Set-up or loop.
 */
void irqfd_tell(struct irqfd *f, const char *owner, const char *name);
/* For the dump: the message that it is meant to make, attached or not (NULL: none), and whether a mask is why not. Loop. */
void irqfd_note(struct irqfd *f, const struct msi_route *r, bool masked);
/* Signals it, as a device would. Any thread. */
void irqfd_raise(struct irqfd *f);

#endif
