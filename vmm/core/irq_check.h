/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * irq_check - the interrupt code is watched while it works
 *
 * What:   keeps its own record of what KVM was told about routes, irqfds and lines, and holds the
 *         rules of irq_rules.h (V1 to V11) against it after every change. The first rule that is
 *         broken is told to the owner, in a sentence.
 * Not:    repairing anything; what a guest sees of an interrupt that KVM has injected.
 * Trust:  nobody's word: KVM's side is taken from the calls themselves (hyp_set_watch()), the
 *         guest's from the registers that it wrote.
 * Thread: any. Its mutex is the last of all. More system calls than without: poll(2) of eventfds, on
 *         the thread that made the change.
 * Source: the rules, in irq_rules.h.
 *
 * Every function that takes a space does nothing where that space is not checked.
 */
#ifndef VMM_CORE_IRQ_CHECK_H
#define VMM_CORE_IRQ_CHECK_H

#include "vmm/base/types.h"

struct gsi_space;
struct irq_check;

/*
 * Watches @s and its VM from now on, until irq_check_free(): before gsi_space_start() and before
 * the first irqfd. @broken is called once, at the first broken rule, on the thread that broke
 * it, maybe under the space's lock: it may call nothing of the interrupt code. -ENOMEM.
 */
int irq_check_new(struct gsi_space *s, void (*broken)(void *ctx, const char *sentence), void *ctx, struct irq_check **ret_c);
/* Before the space and the VM. NULL is fine. */
void irq_check_free(struct irq_check *c);
/* The device tree gives some function the id @devid. Without any, V2 does not look at ids. */
void irq_check_devid(struct irq_check *c, uint32_t devid);
/* The first broken rule; NULL: none. */
const char *irq_check_verdict(struct irq_check *c);

bool irq_check_on(const struct gsi_space *s);
/* After a commit, an attach or a detach: the program's tables against the record (V3, V9). No lock of the space held. */
void irq_check_state(struct gsi_space *s);

/* A source of an MSI-X function: what its registers ask for, and how things stand. */
struct irq_source {
	const char *device, *name; /* "net0", "rx0" */
	int fd;
	bool bound;                /* to a vector; else no message */
	bool enabled, function_masked, bus_master, entry_masked;
	uint64_t addr;             /* the vector's entry */
	uint32_t data;
	uint32_t devid;            /* the function's */
	bool hopping;              /* the loop takes its signals (MSI_BY_SIGNAL)... */
	bool strays;               /* ...and would make another message of them than the vector's */
	bool pending;              /* its vector's bit, as the guest would read it */
};

/* After a sync (V5, V6). @settled: it reported no error, so what may deliver is attached. */
void irq_check_source(struct gsi_space *s, const struct irq_source *src, bool settled);
/* An edge line is about to be raised: the @pulses-th time, with @reasons given for it so far (V10). */
void irq_check_pulse(struct gsi_space *s, uint32_t spi, uint64_t reasons, uint64_t pulses);
/* @fd raises a line without anybody's help: does the status register say so (@told)? (V10) */
void irq_check_direct(struct gsi_space *s, const char *device, int fd, bool told);
/* A device was reset: eventfd @fd of its is attached to nothing, and holds no signal (V11). */
void irq_check_silent(struct gsi_space *s, const char *device, int fd);
/* The same for its status register, which holds @bits. */
void irq_check_status(struct gsi_space *s, const char *device, uint32_t bits);
/* All devices are gone, and what they freed was committed (V7). */
void irq_check_end(struct gsi_space *s);

#endif
