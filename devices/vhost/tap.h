/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap - a Linux tap interface as a packet source and sink
 *
 * What:   attaches to an existing interface by name, or takes a descriptor; header size;
 *         offloads.
 * Not:    creating or configuring interfaces: what does not exist is an error.
 * Thread: set-up and the loop.
 * Source: Linux Documentation/networking/tuntap.rst, drivers/net/tun.c.
 */
#ifndef DEVICES_VHOST_TAP_H
#define DEVICES_VHOST_TAP_H

#include "vmm/base/err.h"
#include "vmm/base/types.h"

struct tap {
	char name[16];     /* interface, "" where only a descriptor is known */
	unsigned nr_fds;   /* queue pairs */
	int fds[16];       /* owned; O_NONBLOCK */
	unsigned offloads; /* TUN_F_* last set */
	unsigned can_offload; /* TUN_F_* that this kernel takes, found by trying */
};

/*
 * Opens @pairs queues of the tap interface @name. Errors, each with a sentence in @err: does
 * not exist (looked up first: TUNSETIFF as root would create it), busy, no permission, not a
 * tap, its multi_queue flag unlike @pairs > 1.
 */
int tap_open(const char *name, unsigned pairs, struct tap **ret_t, struct err *err);
/* Takes over the @n descriptors @fds (also on failure); checks that each is a tap with IFF_VNET_HDR and IFF_NO_PI. */
int tap_from_fds(const int *fds, unsigned n, struct tap **ret_t, struct err *err);
void tap_close(struct tap *t); /* turns offloads off, closes; NULL is fine */
/* @tun_f: TUN_F_* for every queue. */
int tap_set_offload(struct tap *t, unsigned tun_f);
/* Multi-queue: enables the first @pairs queues, disables the others (TUNSETQUEUE). */
int tap_enable_queues(struct tap *t, unsigned pairs);

#endif
