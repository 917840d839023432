/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doorbell - a guest write to one address becomes a signal on an eventfd (ioeventfd)
 *
 * What:   one attached place per doorbell, moved when a BAR moves.
 * Not:    who reads the eventfd (a device on the loop, or vhost).
 * Trust:  the guest chooses when it writes and, by a BAR, where: only addresses that bus.h could
 *         map get here.
 * Thread: the loop, or set-up.
 * Source: KVM api.rst, KVM_IOEVENTFD.
 */
#ifndef VMM_CORE_DOORBELL_H
#define VMM_CORE_DOORBELL_H

#include "vmm/base/types.h"

struct hyp;

struct doorbell {
	struct hyp *hyp;
	int fd;        /* eventfd, borrowed */
	bool attached;
	gpa_t gpa;
	unsigned len;  /* bytes of the write: 1, 2, 4 or 8 */
	int64_t match; /* value, or -1 for any */
};

/* @hyp, @fd: borrowed. */
void doorbell_init(struct doorbell *d, struct hyp *hyp, int fd);
/* Attached elsewhere: moves. Attached there already: 0, no ioctl. Errors of hyp_ioeventfd_attach(); then detached. */
int doorbell_attach(struct doorbell *d, gpa_t gpa, unsigned len, int64_t match);
void doorbell_detach(struct doorbell *d); /* idempotent */

#endif
