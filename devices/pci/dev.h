/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci/dev - one PCI function: configuration space, BARs, capabilities
 *
 * What:   256 bytes of type-0 configuration space with a write mask, BAR sizing and moves,
 *         a capability list. The Interrupt Pin register is 0, unless an owner pokes it. On hosts with 4 KiB
 *         pages the guest reads it without exits, through a view, from its first read on.
 * Not:    the bus (host.h), MSI-X behaviour (msix.h).
 * Trust:  every offset, width and value is the guest's. A BAR takes effect only wholly
 *         inside the host's memory window and clear of every other BAR.
 * Thread: configuration accesses from any vCPU, under the function's lock.
 * Source: PCI Local Bus 3.0 s6.1, s6.2.5, s6.7.
 */
#ifndef DEVICES_PCI_DEV_H
#define DEVICES_PCI_DEV_H

#include <pthread.h>
#include <stdatomic.h>

#include "vmm/core/bus.h"
#include "vmm/core/view.h"

#define PCI_NUM_BARS 6
#define PCI_CFG_SIZE 256 /* bytes of configuration space; the rest of the 4 KiB reads as 0 */

struct pci_dev;
struct pci_host;

struct pci_bar {
	uint64_t size;          /* bytes, a power of two >= 16; 0: not implemented, or another's upper half */
	bool wide;              /* 64-bit: its register and the next one */
	const struct bus_ops *ops;
	void *ctx;
	gpa_t gpa;              /* where it is mapped now */
	bool mapped;
	struct pci_bar *next;   /* the host's list of what is mapped */
};

struct pci_dev_ops {
	/*
	 * After a configuration write to [@off, @off + @len) took effect; not under the lock, on
	 * the writer's thread. Sees capability writes (MSI-X control) and BAR or COMMAND changes.
	 * Also called, for the BARs, where another function made room and a BAR of this one came
	 * to be mapped. May be NULL.
	 */
	void (*cfg_written)(struct pci_dev *d, unsigned off, unsigned len);
	/*
	 * Before a configuration write of @val, as the guest wrote it, to [@off, @off + @len) takes
	 * effect; not under the lock. May be NULL.
	 */
	void (*cfg_write)(struct pci_dev *d, unsigned off, unsigned len, uint32_t val);
	/*
	 * Before a configuration read of [@off, @off + @len), not under the lock: may refresh cfg[]
	 * by pci_dev_poke() (PCI_CFG window). May be NULL. All else that a read returns stands in
	 * cfg[] already. Reads through the view do not come here: see pci_dev_trap_reads().
	 */
	void (*cfg_read)(struct pci_dev *d, unsigned off, unsigned len);
};

/* Aligned to VIEW_SIZE, and so is whatever holds one. */
struct pci_dev {
	uint8_t cfg[VIEW_SIZE] __attribute__((aligned(VIEW_SIZE))); /* what the guest may read; 0 from PCI_CFG_SIZE on */
	const struct pci_dev_ops *ops;
	struct pci_host *host;  /* set by pci_host_add() */
	uint16_t rid;           /* bus << 8 | device << 3 | function */
	pthread_mutex_t lock;
	struct view view;       /* of cfg[], on the loop */
	struct loop *loop;
	atomic_bool view_due;   /* to be attached at the next read */
	bool trapped;           /* never to be attached (again); on the loop */
	uint8_t wmask[PCI_CFG_SIZE]; /* bits that the guest may change */
	struct pci_bar bars[PCI_NUM_BARS];
	unsigned cap_end;       /* where the next capability goes */
	unsigned last_cap;      /* offset of the last one's id, 0: none */
};

struct pci_ids {
	uint16_t vendor, device, subsys_vendor, subsys;
	uint8_t revision;
	uint32_t class_code; /* 24 bits: base class, subclass, interface */
};

/* @ops: borrowed, or NULL. */
void pci_dev_init(struct pci_dev *d, const struct pci_ids *ids, const struct pci_dev_ops *ops);
/* Unmaps its BARs and leaves the host. */
void pci_dev_fini(struct pci_dev *d);
/* A 32-bit non-prefetchable memory BAR. @bar 0 to 5; @size a power of two >= 16. Before pci_host_add(). */
void pci_dev_set_bar(struct pci_dev *d, unsigned bar, uint64_t size, const struct bus_ops *ops, void *ctx);
/*
 * A 64-bit memory BAR: @bar 0 to 4, and its upper half at the next. @size up to 2^62. A device that is
 * handed on may have prefetchable ones, of either width.
 */
void pci_dev_set_bar64(struct pci_dev *d, unsigned bar, uint64_t size, const struct bus_ops *ops, void *ctx);
void pci_dev_set_prefetchable(struct pci_dev *d, unsigned bar);
/* Lets the guest read cfg[] through memory slot @slot of @hyp. Before the guest runs; all borrowed. */
void pci_dev_set_view(struct pci_dev *d, struct loop *loop, struct hyp *hyp, uint32_t slot);
/*
 * From return on every configuration read is an exit, for good: for who needs cfg_read. Any thread,
 * no lock held.
 */
void pci_dev_trap_reads(struct pci_dev *d);
/*
 * Appends a capability: id, next, then @len bytes of @body (without these two); @wmask of the
 * same length, or NULL for read-only. Returns its offset; -ENOSPC.
 */
int pci_dev_add_cap(struct pci_dev *d, uint8_t id, const void *body, size_t len, const uint8_t *wmask);

/* @off below 4096; @len 1, 2 or 4, naturally aligned (anything else reads all ones and writes nothing). Any vCPU, no lock held. */
uint32_t pci_dev_cfg_read(struct pci_dev *d, unsigned off, unsigned len);
void pci_dev_cfg_write(struct pci_dev *d, unsigned off, unsigned len, uint32_t val);

/* For the function's owner, any thread; these take the lock. [@off, ...) lies inside PCI_CFG_SIZE. */
uint16_t pci_dev_get16(struct pci_dev *d, unsigned off);
void pci_dev_peek(struct pci_dev *d, unsigned off, void *buf, size_t len);
void pci_dev_poke(struct pci_dev *d, unsigned off, const void *buf, size_t len); /* whatever the write mask says */
/* COMMAND.Bus Master: without it a function may not send MSIs or touch memory. */
bool pci_dev_bus_master(struct pci_dev *d);
/* Is @bar mapped, and where? */
bool pci_dev_bar_gpa(struct pci_dev *d, unsigned bar, gpa_t *ret_gpa);

/* For owners that follow a BAR on the loop: it is on its way. No place, as it is odd. */
#define PCI_MOVING 1

/* host.c's side: maps what can be mapped now, as another function made room, and asks the owner to settle. */
void pci_dev_retry_bars(struct pci_dev *d);

#endif
