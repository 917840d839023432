/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pass_priv - what pass.c and pass_bar.c share
 *
 * What:   the device's state.
 * Not:    for anyone else.
 * Trust:  `at` and what the registers say are the guest's choice, within pci/host's windows.
 * Thread: the lock is over `irq`; `at` is changed on the loop only.
 */
#ifndef DEVICES_VFIO_PASS_PRIV_H
#define DEVICES_VFIO_PASS_PRIV_H

#include <stdatomic.h>

#include "devices/vfio/hostdev.h"
#include "devices/vfio/pass.h"
#include "devices/vfio/pass_irq.h"
#include "devices/vfio/pcicfg.h"
#include "vmm/core/loop.h"

struct pass_bar {
	struct pass *pass;
	unsigned index;
	struct hostdev_region region;
	struct slice slices[PASS_BAR_SLICES];
	void *maps[PASS_BAR_SLICES];
	bool slotted[PASS_BAR_SLICES]; /* a memory slot shows it to the guest; on the loop */
	unsigned nr_slices;
	_Atomic gpa_t at;              /* where its slots are meant to be; 0: nowhere */
};

struct pass_event {
	struct loop_poll poll;
	int fd; /* eventfd; -1: the device does not tell */
};

/* Aligned, for its pci_dev. */
struct pass {
	struct pci_dev dev;
	bool has_dev;
	const char *name;
	struct loop *loop;
	struct hyp *hyp;
	uint32_t slot;
	int fd;
	bool resets;
	bool checked;                  /* irq_check_on(): a write that changes nothing is looked at all the same */
	struct hostdev_region config;
	struct pcicfg cfg;
	struct pass_bar bars[PCI_NUM_BARS];
	pthread_mutex_t command; /* vCPUs': before the other, held while the device takes its COMMAND register */
	pthread_mutex_t lock;
	struct pass_irq irq;
	struct pass_event request, error;
	void (*lost)(void *ctx, const char *text);
	void *ctx;
};

/* Makes the BARs of @p as @raw, its configuration space, and the kernel say. hostdev_region()'s errors. */
int pass_bars_init(struct pass *p, const uint8_t *raw, struct err *err);
void pass_bars_fini(struct pass *p);
/* Are memory slots elsewhere than the BARs? Any thread. */
bool pass_bars_stale(struct pass *p);
/* Loop: puts them there. */
void pass_bars_sync(struct pass *p);

/* Any thread, no lock held: has the loop do what is to be done, and waits. */
void pass_settle(struct pass *p);

#endif
