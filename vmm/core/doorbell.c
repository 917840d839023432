// SPDX-License-Identifier: BSD-3-Clause
/*
 * KVM keeps no name for an ioeventfd: detaching repeats the attaching call's arguments, so
 * they are kept here, and nowhere else.
 */
#include "vmm/core/doorbell.h"

#include "vmm/core/kvm.h"

void doorbell_init(struct doorbell *d, struct hyp *hyp, int fd)
{
	*d = (struct doorbell){ .hyp = hyp, .fd = fd };
}

int doorbell_attach(struct doorbell *d, gpa_t gpa, unsigned len, int64_t match)
{
	int r;

	if (d->attached && d->gpa == gpa && d->len == len && d->match == match)
		return 0;
	doorbell_detach(d);
	r = hyp_ioeventfd_attach(d->hyp, d->fd, gpa, len, match);
	if (r < 0)
		return r;
	d->gpa = gpa;
	d->len = len;
	d->match = match;
	d->attached = true;
	return 0;
}

void doorbell_detach(struct doorbell *d)
{
	if (!d->attached)
		return;
	hyp_ioeventfd_detach(d->hyp, d->fd, d->gpa, d->len, d->match);
	d->attached = false;
}
