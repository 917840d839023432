/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gsi_internal - what the files of the GSI space share
 *
 * What:   the shadow table (theory of operation: gsi.c), read by the dump in gsi_dump.c.
 * Not:    for anybody else: gsi.h.
 * Trust:  messages are the guest's, and valid only where the model could deliver them.
 * Thread: everything under the space's lock. Only gsi.c changes anything.
 * Source: as gsi.h.
 */
#ifndef VMM_CORE_GSI_INTERNAL_H
#define VMM_CORE_GSI_INTERNAL_H

#include <pthread.h>

#include "vmm/core/gsi.h"
#include "vmm/core/kvm.h"

#define GSI_LABEL_SIZE 32

/* What a write of @data to @addr would be. */
struct gsi_message {
	uint64_t addr;
	uint32_t data;
	bool valid; /* deliverable; else the other two mean nothing */
};

enum gsi_state {
	GSI_FREE, /* all zero: also every SPI, which nobody can allocate or free */
	GSI_TAKEN,
	GSI_LEAVING, /* freed, and still in the kernel's table */
};

struct msi_route {
	struct gsi_space *space;
	struct gsi_message staged;
	struct gsi_message live; /* in the kernel's table; where messages need no table, as staged */
	uint32_t devid;
	uint32_t holds; /* irqfds attached; SPIs too */
	uint8_t state;  /* enum gsi_state */
	bool shown;     /* a dump has told of it */
	struct gsi_spi_line line; /* SPIs */
	char label[GSI_LABEL_SIZE];
};

struct gsi_space {
	struct gsi_cfg cfg;
	struct hyp *hyp; /* borrowed */
	struct irq_check *check; /* who looks on; NULL: nobody */
	pthread_mutex_t lock;
	enum msi_way way; /* of all messages */
	bool started;
	bool ours;        /* the kernel's table is one that we committed */
	uint32_t top;     /* one more than the highest GSI ever taken */
	uint32_t lowest;  /* no GSI below is free */
	uint32_t wanting; /* reasons for a commit, see gsi.c */
	uint32_t leaving;
	struct gsi_stats stats;
	struct irqfd *irqfds; /* those that dumps tell of */
	struct hyp_route *scratch; /* the table as it is built; max_routes, behind entries */
	struct msi_route entries[]; /* by GSI; max_routes */
};

static inline bool gsi_same_message(const struct gsi_message *a, const struct gsi_message *b)
{
	return a->valid == b->valid && (!a->valid || (a->addr == b->addr && a->data == b->data));
}

/* Is the staged message one that only a commit can make live? */
static inline bool gsi_route_wants(const struct msi_route *r)
{
	return r->staged.valid && !gsi_same_message(&r->staged, &r->live);
}

#endif
