/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake/hostdev - devices/vfio/hostdev.h without VFIO: one device made of memory
 *
 * What:   linked instead of devices/vfio/hostdev.c. Configuration space and BARs are bytes of the
 *         test's; what is asked for interrupts is recorded; a function-level reset is counted.
 *
 * What it shares with the kernel: a second kind of interrupts while one is on is -EINVAL; switching off
 * what is off is -EINVAL; reads and writes outside of a region fail; the line is masked when it fires,
 * and until the unmask eventfd was signalled.
 * Thread: one.
 */
#ifndef TESTS_FAKE_HOSTDEV_H
#define TESTS_FAKE_HOSTDEV_H

#include "devices/vfio/hostdev.h"

#define FAKE_HOSTDEV_IRQS 5

struct fake_hostdev {
	uint8_t config[256];
	uint8_t *bar[6];                     /* hostdev_region.size bytes each, or NULL */
	struct hostdev_region region[6];
	unsigned nr_irqs[FAKE_HOSTDEV_IRQS];
	bool resets;
	bool dead;                           /* answers nothing any more */
	int fail_irqs;                       /* what the next hostdev_set_irqs() with descriptors returns; 0: works */
	int fail_call;                       /* what a call returns, once, that is no transfer and switches nothing off; 0: works */
	unsigned fail_after;                 /* let so many pass first */

	/* what was done to it */
	int fds[FAKE_HOSTDEV_IRQS][HOSTDEV_MAX_VECTORS];
	unsigned nr_fds[FAKE_HOSTDEV_IRQS];
	unsigned set_calls;                  /* hostdev_set_irqs() */
	int unmask;                          /* -1: none */
	bool line_masked;
	unsigned nr_resets, maps, config_writes;
};

/* The one device; as new, without BARs and interrupts. Returns a descriptor for it, which is the caller's. */
int fake_hostdev_new(struct fake_hostdev **ret_d);
/* A BAR of @size bytes, all of which may be mapped. */
void fake_hostdev_set_bar(struct fake_hostdev *d, unsigned bar, uint64_t size, uint32_t low);
void fake_hostdev_free(void);
/* The device interrupts: the eventfd is signalled. False where nobody listens, or the line is masked. */
bool fake_hostdev_fire(struct fake_hostdev *d, enum hostdev_irq irq, unsigned vector);

#endif
