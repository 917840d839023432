/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci/msix - a function's MSI-X table, pending bits, and what its sources are bound to
 *
 * What:   sources (virtqueues, the config change) are bound to vectors; each source has one
 *         eventfd. A vector is deliverable when ENABLE is set, MASKALL clear, its mask bit
 *         clear, its message valid, and the function a bus master (an MSI is a memory write).
 *         Deliverable: the eventfds of all sources bound to it are attached to its message. Not
 *         deliverable: they are detached, and their counters are the pending bits; nothing is
 *         lost, nothing is injected.
 * Not:    configuration space (dev.h).
 * Trust:  offsets, widths, values, vector numbers are the guest's.
 * Thread: the caller holds its device lock for every call except msix_raise(). Register
 *         writes only change bits; msix_sync() makes KVM agree and runs on the loop.
 * Source: PCI Local Bus 3.0 s6.8.2; irq order: commit what is staged, then attach.
 */
#ifndef DEVICES_PCI_MSIX_H
#define DEVICES_PCI_MSIX_H

#include "vmm/core/gsi.h"
#include "vmm/core/irqfd.h"

#define MSIX_NO_VECTOR 0xffff
#define MSIX_ENTRY_SIZE 16
#define MSIX_MAX_VECTORS 256 /* ours; the format allows 2048 */

struct msix;

struct msix_cfg {
	struct gsi_space *space;
	struct loop *loop;     /* before its seal; NULL will do where messages are not signalled */
	const char *name;      /* of the device, for dumps; copied */
	unsigned nvec;         /* 1 to MSIX_MAX_VECTORS */
	unsigned nsources;     /* how many eventfds */
	uint32_t devid;        /* pci_msi_devid() */
};

/* As after power-on: disabled, every vector masked, every source at MSIX_NO_VECTOR. -ENOMEM, and irqfd_init_msi()'s errors. */
int msix_new(const struct msix_cfg *cfg, struct msix **ret_m);
void msix_free(struct msix *m); /* detaches everything, frees the routes; NULL is fine */
/* "rx0", "config": names source @source in dumps; cut at 15 bytes, as is the device's name. */
void msix_name_source(struct msix *m, unsigned source, const char *name);

/* @off: bytes from the table's start. Aligned 4 and 8 bytes; else all ones / ignored. */
uint64_t msix_table_read(const struct msix *m, uint64_t off, unsigned len);
void msix_table_write(struct msix *m, uint64_t off, unsigned len, uint64_t val);
/* As above, read-only. A bit: a source bound to that vector waits; consumes nothing (one poll(2) a source). */
uint64_t msix_pba_read(const struct msix *m, uint64_t off, unsigned len);
/* Message Control as it stands in configuration space: bits 14 and 15 are taken from @ctrl. */
void msix_ctrl_write(struct msix *m, uint16_t ctrl);
/* COMMAND.Bus Master, to be told at creation and after each change; taken as set until then. */
void msix_set_bus_master(struct msix *m, bool on);

/* Stores @vector for @source; one that does not exist is stored as MSIX_NO_VECTOR. Returns what was stored. */
uint16_t msix_bind(struct msix *m, unsigned source, uint16_t vector);
uint16_t msix_vector(const struct msix *m, unsigned source);
/* A device reset: every source to NO_VECTOR, pending signals forgotten. The table and control stay. */
void msix_unbind_all(struct msix *m);

/* True if KVM's side differs from what the bits ask for, so that msix_sync() has work. */
bool msix_stale(const struct msix *m);
/*
 * Loop thread. Detaches what may no longer deliver, commits staged messages in one batch,
 * attaches what may deliver now. On a failed commit the vectors concerned stay detached
 * (masked in effect), the error is returned, msix_stale() stays true and a later call
 * retries. gsi_commit()'s, msi_route_new()'s and irqfd_attach_msi()'s errors.
 */
int msix_sync(struct msix *m);
/* After msix_unbind_all() and its sync, while the device is silent: tells irq_check.h that nothing may be left (V11). */
void msix_check_reset(const struct msix *m);

int msix_fd(const struct msix *m, unsigned source); /* the source's eventfd, borrowed */
/* The same for the kernel to signal (vhost's CALL, VFIO): until the next reset dumps say so. */
int msix_lend(struct msix *m, unsigned source);
void msix_raise(struct msix *m, unsigned source);   /* any thread, no lock */

#endif
