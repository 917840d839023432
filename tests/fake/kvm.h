/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake/kvm - vmm/core/kvm.h without a kernel, with the kernel's bad manners
 *
 * What:   linked instead of vmm/core/kvm.c. A VM with an interrupt controller of which only
 *         the wires are modelled: routing table, irqfds, SPI levels, MSIs by device id and
 *         event. Keeps a log of all calls, and fails any of them on demand.
 *
 * What it shares with the kernel, because programs trip over it:
 *   - INIT installs GSI n = SPI n, whatever table was there before, without an error;
 *   - a new table replaces the old one whole; a bad entry refuses all of it (-EINVAL);
 *   - routes to nowhere (an SPI that does not exist, an address that is no doorbell, no
 *     device id) are accepted and their interrupts lost;
 *   - a signal on an attached eventfd whose GSI has no route is consumed and lost;
 *   - attach: any GSI is accepted, routed or not; -EAGAIN before INIT; -EBUSY for an eventfd
 *     that is attached already, whatever its descriptor; a count that waits injects once and
 *     is not consumed;
 *   - detach: 0 even where nothing matched; the count is zero afterwards;
 *   - an irqfd raises an SPI and never lowers it.
 *
 * When:   the kernel takes a signal the moment it is given. The fake takes it at the next
 *         fake_kvm_pump(), or before any call that could tell the difference; with
 *         fake_kvm_start_thread() a thread pumps all the time.
 * Thread: any; one mutex.
 */
#ifndef TESTS_FAKE_KVM_H
#define TESTS_FAKE_KVM_H

#include "vmm/core/kvm.h"

#define FAKE_KVM_MAX_GSI 4096
#define FAKE_KVM_MAX_PIN 988
#define FAKE_ITS_BASE 0x8080000 /* where fake_kvm_new() puts the ITS */
#define FAKE_ITS_SIZE 0x20000
#define FAKE_TRANSLATER (FAKE_ITS_BASE + 0x10040)

/* A VM with an ITS that wants device ids, not yet INITed. hyp_free() ends it. */
struct hyp *fake_kvm_new(void);
/* The interrupt controller's CTRL_INIT with @nr_spis SPIs. */
void fake_kvm_init(struct hyp *h, uint32_t nr_spis);
/* False: a VM without ITS. */
void fake_kvm_set_its(struct hyp *h, bool has_its);
void fake_kvm_set_max_routes(struct hyp *h, unsigned max);
/* hyp_check(@cap) answers @value. At most 32 of them; the rest is 0. */
void fake_kvm_set_cap(struct hyp *h, long cap, int value);
/* For all VMs to come: hyp_open_dev() answers @open_err (0: works); the host's limits. */
void fake_kvm_host(int open_err, unsigned max_ipa_bits, unsigned max_vcpus);

/* Takes what was signalled on attached eventfds, and injects. Returns how many eventfds had a signal. */
unsigned fake_kvm_pump(struct hyp *h);
void fake_kvm_start_thread(struct hyp *h);
void fake_kvm_stop_thread(struct hyp *h);

enum fake_op {
	FAKE_SET_MEMORY,
	FAKE_SET_ROUTES,
	FAKE_IRQFD_ATTACH,
	FAKE_IRQFD_DETACH,
	FAKE_IOEVENTFD_ATTACH,
	FAKE_IOEVENTFD_DETACH,
	FAKE_IRQ_LINE,
	FAKE_SIGNAL_MSI,
	FAKE_INIT,
	FAKE_NR_OPS
};

/* The @nth call of @op from now on (1: the next) returns @err, once, and does nothing. */
void fake_kvm_fail(struct hyp *h, enum fake_op op, unsigned nth, int err);

struct fake_call {
	enum fake_op op;
	int result;
	int fd;          /* irqfds and ioeventfds */
	uint32_t n;      /* routes in a table; GSI; SPI; memory slot; ioeventfd's length; MSI's data */
	uint64_t value;  /* line level; address */
	int64_t match;   /* ioeventfds; an irqfd's resample descriptor */
};

/* The log, oldest first; only the newest 65,536 calls are kept. */
unsigned fake_kvm_calls(struct hyp *h); /* how many are kept */
struct fake_call fake_kvm_call(struct hyp *h, unsigned i);
/* How often @op was called, failed calls included. */
uint64_t fake_kvm_count(struct hyp *h, enum fake_op op);
void fake_kvm_forget_calls(struct hyp *h); /* log and counts */

/* The table as the kernel has it. Entry @gsi; kind HYP_ROUTE_NONE: unrouted. */
struct hyp_route fake_kvm_route(struct hyp *h, uint32_t gsi);
unsigned fake_kvm_nr_routes(struct hyp *h);
unsigned fake_kvm_nr_irqfds(struct hyp *h);
/* Is the eventfd behind @fd attached, and where? */
bool fake_kvm_attached(struct hyp *h, int fd, uint32_t *ret_gsi);

/* Injections so far. */
uint64_t fake_kvm_injected(struct hyp *h);                /* that reached the guest */
uint64_t fake_kvm_lost(struct hyp *h);                    /* consumed and lost */
uint64_t fake_kvm_msis(struct hyp *h, uint32_t devid, uint32_t event); /* devid, event below 256 */
uint64_t fake_kvm_spis(struct hyp *h, uint32_t spi);      /* rising edges by KVM_IRQ_LINE, and each signal of an irqfd */
bool fake_kvm_spi_level(struct hyp *h, uint32_t spi);

/*
 * Calls @fn for each interrupt at the moment it reaches the guest, as if a vCPU ran at once:
 * it may ask the devices, and nothing of this header. NULL: no more.
 */
void fake_kvm_on_inject(struct hyp *h, void (*fn)(void *ctx), void *ctx);

/* ioeventfds: a guest's write. True: taken by an eventfd; false: an MMIO exit. */
bool fake_kvm_guest_write(struct hyp *h, gpa_t gpa, unsigned len, uint64_t value);
/* A guest's read of 1, 2, 4 or 8 bytes. True: a read-only memory slot answers; false: an MMIO exit. */
bool fake_kvm_guest_read(struct hyp *h, gpa_t gpa, unsigned len, uint64_t *ret_value);
unsigned fake_kvm_nr_ioeventfds(struct hyp *h);
unsigned fake_kvm_nr_slots(struct hyp *h);
/* Where memory slot @slot is, and the memory behind it. False: nowhere. */
bool fake_kvm_slot(struct hyp *h, uint32_t slot, gpa_t *ret_gpa, uint64_t *ret_size, void **ret_hva);

/*
 * What the kernel swallows and the program must never ask for: the first such thing since
 * the VM was made, as a sentence; NULL: nothing. A table before INIT; a table with two GSIs
 * for one SPI; a table that takes the route from an attached irqfd; an attach to a GSI
 * without a route; a detach that matches nothing; an eventfd that was closed while attached.
 */
const char *fake_kvm_complaint(struct hyp *h);

#endif
