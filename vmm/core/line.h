/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * line - one SPI, as a wire
 *
 * What:   level lines held by KVM_IRQ_LINE (PL011, PL031); edge lines raised by an irqfd on
 *         the SPI's own GSI (virtio-mmio); level lines that the kernel raises and lowers by
 *         irqfds with resampling (VFIO's INTx).
 * Not:    messages (gsi.h); more than one device on a line.
 * Trust:  the guest decides how often a device changes its line: each change is one ioctl at most.
 * Thread: line_set() and edge_line_pulse() any; attach on the loop or at set-up.
 * Source: KVM api.rst 4.25 (KVM_IRQ_LINE), GICv3 architecture 1.2 (INTID types).
 */
#ifndef VMM_CORE_LINE_H
#define VMM_CORE_LINE_H

#include <stdatomic.h>

#include "vmm/core/irqfd.h"

struct gsi_level;
struct hyp;

/* A level line: the wire follows the device. */
struct line {
	struct hyp *hyp;
	uint32_t spi; /* SPI number: INTID - 32 */
	atomic_bool level;
	struct gsi_level *told; /* the dump's; borrowed of the space */
};

/* @space: borrowed. @label names the SPI in dumps; copied. */
void line_init(struct line *l, struct gsi_space *space, uint32_t spi, const char *label);
/* No ioctl where the level stays. */
void line_set(struct line *l, bool level);

/* An edge line: an irqfd whose GSI is the SPI; more eventfds may join it by irqfd_attach(f, edge_line_gsi()). */
struct edge_line {
	struct irqfd irqfd;
	uint32_t spi;
	bool has_status;           /* set by who gives a reason before each pulse */
	_Atomic uint64_t reasons;
	_Atomic uint64_t pulses;
};

/* As line_init(); irqfd_init()'s errors. */
int edge_line_init(struct edge_line *l, struct gsi_space *space, uint32_t spi, const char *label);
void edge_line_fini(struct edge_line *l);
int edge_line_attach(struct edge_line *l);   /* before the first pulse: at activation; irqfd_attach()'s errors */
void edge_line_detach(struct edge_line *l);  /* and forget what was signalled meanwhile */
/* The device's status register now says why; before each pulse, where has_status was set. Any thread. */
void edge_line_reason(struct edge_line *l);
void edge_line_pulse(struct edge_line *l);   /* any thread */
uint32_t edge_line_gsi(const struct edge_line *l);

/*
 * A level line whose source is in the kernel (VFIO): a signal on irqfd.fd asserts it; at the guest's
 * end of interrupt KVM lowers it and signals @eoi_fd, and whoever waits there asserts it again if
 * the source still does.
 */
struct resample_line {
	struct irqfd irqfd;
	int eoi_fd; /* eventfd */
	uint32_t spi;
};

/* As edge_line_init(). */
int resample_line_init(struct resample_line *l, struct gsi_space *space, uint32_t spi, const char *label);
void resample_line_fini(struct resample_line *l);
int resample_line_attach(struct resample_line *l);  /* irqfd_attach()'s errors */
void resample_line_detach(struct resample_line *l); /* lowers it, and forgets what was signalled meanwhile */

#endif
