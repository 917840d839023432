/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * line - one SPI, as a wire
 *
 * What:   level lines held by KVM_IRQ_LINE (PL011, PL031, PL061, SP805); edge lines pulsed by it
 *         (virtio-mmio), or by a back end's irqfd on the SPI's own GSI; level lines that the
 *         kernel raises and lowers by irqfds with resampling (VFIO's INTx).
 * Not:    messages (gsi.h); more than one device on a line.
 * Trust:  the guest decides how often a device changes its line: each change is one ioctl, each pulse two.
 * Thread: line_set() and edge_line_pulse() any; open, shut and attach on the loop or at set-up.
 * Source: KVM api.rst 4.25 (KVM_IRQ_LINE), GICv3 architecture 1.2 (INTID types).
 */
#ifndef VMM_CORE_LINE_H
#define VMM_CORE_LINE_H

#include <stdatomic.h>

#include "vmm/core/irqfd.h"

struct gsi_spi_line;
struct hyp;

/* A level line: the wire follows the device. */
struct line {
	struct hyp *hyp;
	uint32_t spi; /* SPI number: INTID - 32 */
	atomic_bool level;
	struct gsi_spi_line *told; /* the dump's; borrowed of the space */
};

/* @space: borrowed. @label names the SPI in dumps; copied. */
void line_init(struct line *l, struct gsi_space *space, uint32_t spi, const char *label);
/* No ioctl where the level stays. */
void line_set(struct line *l, bool level);

/*
 * An edge line. We pulse it by KVM_IRQ_LINE, which costs no descriptor and no detour through a
 * kernel thread; a back end in the kernel joins by irqfd_attach(f, edge_line_gsi()).
 */
struct edge_line {
	struct hyp *hyp;
	struct gsi_space *space;
	uint32_t spi;
	bool has_status;           /* set by who gives a reason before each pulse */
	atomic_bool open;
	_Atomic uint64_t reasons;
	_Atomic uint64_t pulses;
	struct gsi_spi_line *told; /* the dump's; borrowed of the space */
};

/* As line_init(). Shut at first. */
void edge_line_init(struct edge_line *l, struct gsi_space *space, uint32_t spi, const char *label);
void edge_line_open(struct edge_line *l);   /* before the first pulse: at activation */
void edge_line_shut(struct edge_line *l);   /* pulses of a shut line are nothing; one that another thread has begun still comes */
/* The device's status register now says why; before each pulse, where has_status was set. Any thread. */
void edge_line_reason(struct edge_line *l);
void edge_line_pulse(struct edge_line *l);  /* any thread; two ioctls */
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

/* As line_init(); -EMFILE, -ENOMEM. */
int resample_line_init(struct resample_line *l, struct gsi_space *space, uint32_t spi, const char *label);
void resample_line_fini(struct resample_line *l);
int resample_line_attach(struct resample_line *l);  /* irqfd_attach()'s errors */
void resample_line_detach(struct resample_line *l); /* lowers it, and forgets what was signalled meanwhile */

#endif
