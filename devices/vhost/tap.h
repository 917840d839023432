/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap - a Linux tap interface as a packet source and sink
 *
 * What:   attaches to an existing interface by name, or takes a descriptor; header size;
 *         offloads.
 * Not:    creating or configuring interfaces: what does not exist is an error.
 * Trust:  names and descriptors are the user's, the rest is the host's; nothing of the guest
 *         but the offloads that it acknowledged, as TUN_F_* bits.
 * Thread: set-up and the loop.
 * Source: Linux Documentation/networking/tuntap.rst, drivers/net/tun.c.
 */
#ifndef DEVICES_VHOST_TAP_H
#define DEVICES_VHOST_TAP_H

#include "vmm/base/err.h"
#include "vmm/base/rights.h"
#include "vmm/base/types.h"

#define TAP_MAX_QUEUES 16
#define TAP_HDR_SIZE 12    /* bytes of struct virtio_net_hdr_v1 before each frame, both ways */

struct tap {
	char name[16];     /* interface */
	bool up;           /* was administratively up when it was opened */
	unsigned nr_fds;   /* queue pairs */
	unsigned enabled;  /* the first so many are attached */
	int fds[TAP_MAX_QUEUES]; /* owned; O_NONBLOCK */
	int old_hdr_size;  /* bytes, put back at the end; 0: was right */
	unsigned offloads; /* TUN_F_* last set; ~0: whatever the interface came with */
	unsigned can_offload; /* TUN_F_* that this kernel takes, found by trying */
};

/*
 * Opens @pairs queues (1 to TAP_MAX_QUEUES) of the tap interface @name. Errors, each with a
 * sentence in @err: -EINVAL: bad name, not a tap, or its multi_queue flag unlike @pairs > 1;
 * -ENODEV: does not exist (looked up first: TUNSETIFF as root would create it); -EBUSY;
 * -EPERM; whatever opening /dev/net/tun says; -ENOMEM.
 */
int tap_open(const char *name, unsigned pairs, struct tap **ret_t, struct err *err);
/*
 * Takes over the @n descriptors @fds (also on failure), all queues of one interface. -EINVAL:
 * one is not a tap with IFF_VNET_HDR and IFF_NO_PI, or they do not belong together; -ENOMEM.
 */
int tap_from_fds(const int *fds, unsigned n, struct tap **ret_t, struct err *err);
/* Turns offloads off, puts the header size back, closes; NULL is fine. */
void tap_close(struct tap *t);
/* @tun_f: TUN_F_*, for the whole interface. -EINVAL: a combination that the kernel refuses. */
int tap_set_offload(struct tap *t, unsigned tun_f);
/*
 * Multi-queue: enables the first @pairs queues (1 to nr_fds), disables the others
 * (TUNSETQUEUE). On failure those before the one that failed are as asked.
 */
int tap_enable_queues(struct tap *t, unsigned pairs);

/* For the filters of system calls. */
extern const struct right tap_rights[];

#endif
