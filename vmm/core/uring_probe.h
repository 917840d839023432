/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uring_probe - what this kernel's io_uring can do, and whether we may use it
 *
 * What:   one small ring is made and closed again; its answer is kept.
 * Not:    the ring that the program runs on (loop.h), which asks for what it needs by trying.
 * Trust:  the host's.
 * Thread: any.
 * Source: io_uring_setup(2).
 */
#ifndef VMM_CORE_URING_PROBE_H
#define VMM_CORE_URING_PROBE_H

#include "vmm/base/types.h"

struct uring_facts {
	int error;           /* 0, or why there is no ring: -EPERM denied, -ENOSYS absent, ... */
	uint32_t features;   /* IORING_FEAT_* */
	bool restrictions;   /* a ring that starts disabled, which is what they need */
	bool quiet;          /* work is done when we ask for it: DEFER_TASKRUN and what goes with it */
};

void uring_probe(struct uring_facts *ret_f);
/* The name of bit @i of the features in lower case, "fast_poll"; NULL where it has none here. */
const char *uring_feature_name(unsigned i);

#endif
