/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passt - the process that is a network to a card, without root
 *
 * What:   finds passt, starts it with one end of a socket, and waits until it answers. It hands the guest an address by
 *         DHCP, and makes of the guest's connections connections of its own, as the user that we were started as.
 * Not:    the frames (devices/virtio/net_stream.c).
 * Trust:  what PATH leads to is the user's, as any program that he calls. Of what it sends only whether there is anything
 *         is looked at here.
 * Thread: set-up, before there is a second thread. Started before the sandbox, of which it is no part.
 * Life:   it ends when its socket is closed: with the card, or with this process, however that ends.
 * Source: passt(1) of Debian 12 (--fd, --tcp-ports); RFC 826 (ARP), RFC 5227 s2.1.1 (a probe).
 */
#ifndef VMM_MACHINE_PASST_H
#define VMM_MACHINE_PASST_H

#include "vmm/base/err.h"
#include "vmm/machine/config.h"

struct passt {
	int pid;
	int fd;   /* our end, blocking, noted; -1: there is none */
	int said; /* what it says at its start; -1 later */
};

/* The file that PATH (the environment's, or where that is not set a usual one) leads to, in @ret_path. False: none. */
bool passt_find(char *ret_path, size_t cap);
/*
 * @id, for messages: "net0". -ENOENT: not found; -EADDRINUSE: a port that is to be published cannot be had; -EMFILE,
 * -ENFILE, -EAGAIN, -ENOMEM.
 */
int passt_start(const char *id, const struct net_options *o, struct passt *ret_p, struct err *err);
/*
 * Waits until it is there, by asking who has an address that nobody has, in the name of @o's MAC address. -ECHILD: it has
 * ended, and the error says with which words. Where it does not answer for some seconds (a host without IPv4) that is no error.
 */
int passt_greet(const char *id, const struct net_options *o, struct passt *p, struct err *err);
/* What is still @p's own. Idempotent. */
void passt_close(struct passt *p);

#endif
