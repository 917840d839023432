/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * irq - interrupts: GICv3 or GICv2, whichever the tree names, with their message-signalled ones by ITS or v2m frame
 *
 * An interrupt is known by its INTID: 0 to 15 SGI, to 31 PPI, to 1019 SPI, from 8192 LPI.
 */
#ifndef TESTS_GUEST_LIB_IRQ_H
#define TESTS_GUEST_LIB_IRQ_H

#include "bare.h"

#define LPI_BASE 8192
#define NR_LPIS 1024 /* what this library hands out */
#define NO_INTID 0

enum msi_model { MSI_NONE, MSI_ITS, MSI_V2M };

struct gic {
	unsigned version;    /* 2 or 3 */
	int node;
	uint64_t dist, cpu;  /* cpu: version 2 only */
	unsigned nr_intids;  /* without LPIs */
	enum msi_model msi;
	uint64_t its, v2m;
	unsigned v2m_first, v2m_count; /* INTIDs */
};

/* A message, and the interrupt that it becomes. */
struct msi {
	uint64_t addr;
	uint32_t data, devid;
	unsigned intid;
};

extern struct gic gic;
/* What all CPUs' LPI tables share: a byte an LPI, its priority and bit 0, enabled. its_inv() makes a change seen. */
extern uint8_t *lpi_config;

/* Distributor, this CPU's part, and the ITS or v2m frame. Fatal without a GIC. */
void irq_init(void);
void irq_init_cpu(void);
/* Takes all that is pending on this CPU. */
void irq_dispatch(void);
/* How many interrupts came that had no handler. */
unsigned irq_strays(void);

/* @fn runs with interrupts off. A PPI's or SGI's handler is the same on each CPU. */
void irq_connect(unsigned intid, void (*fn)(void *arg), void *arg);
/* SPI or PPI; PPIs of the calling CPU only. LPIs are enabled by msi_alloc(). */
void irq_enable(unsigned intid, bool edge, unsigned cpu);
void irq_disable(unsigned intid);
/* To another CPU: SPIs and LPIs. */
void irq_move(unsigned intid, unsigned cpu);
void sgi_send(unsigned intid, unsigned cpu);

/* A message for device @devid to CPU 0. False: no messages here, or no more of them. */
bool msi_alloc(uint32_t devid, void (*fn)(void *arg), void *arg, struct msi *ret_msi);
void msi_free(const struct msi *m);
/* Maps all messages anew, where somebody has upset the ITS. */
void msi_remap(void);
/* Where somebody has upset the GICv3: distributor, this CPU, which is the first, and messages as they were. */
void irq_restore(void);

/* gic_v3.c */
bool gicv3_init(int node);
void gicv3_init_cpu(void);
uint64_t gicv3_redist(unsigned cpu); /* its address; 0: none */
/* gic_v2.c */
bool gicv2_init(int node);
void gicv2_init_cpu(void);
/* its.c: the ITS below the GIC's node. Events are below ITS_EVENTS for each device. */
#define ITS_EVENTS 32
bool its_init(int gic_node);
/* Everything as its_init() left it, with the devices mapped that were; CPUs and events are not. */
void its_enable(void);
bool its_map_cpu(unsigned cpu);
/* How a command names a redistributor. */
uint64_t its_rdbase(unsigned cpu);
void its_map_event(uint32_t devid, uint32_t event, unsigned lpi, unsigned cpu);
void its_move_event(uint32_t devid, uint32_t event, unsigned cpu);
void its_discard_event(uint32_t devid, uint32_t event);
/* INV: makes the redistributor read the LPI's configuration byte again. */
void its_inv(uint32_t devid, uint32_t event);
/* INT: as if the device had sent the message. */
void its_int(uint32_t devid, uint32_t event);
/* Any command; false if the ITS does not take it within a second. */
bool its_command(uint64_t a, uint64_t b, uint64_t c, uint64_t d);

#endif
