/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * why - the plan for this host in words, and the reasons for it
 *
 * What:   the interrupt controller, and for each device the transport and who moves its data,
 *         each with a sentence that says why it is so. All reasons stand here.
 * Not:    the decision, which is plan.c's; this must agree with it.
 * Trust:  facts are the host's, the configuration the user's.
 * Thread: pure.
 */
#ifndef VMM_DOCTOR_WHY_H
#define VMM_DOCTOR_WHY_H

#include "vmm/doctor/facts.h"

struct why {
	const char *what;     /* "gicv3-its", "pci", "vhost": as options name it; a GICv3's v2m frame has no name there */
	char reason[160];
};

/* Only where @f->plan_error is 0. */
void why_irqchip(const struct doctor_facts *f, struct why *ret_w);
/* Of device @i of the plan. */
void why_transport(const struct doctor_facts *f, unsigned i, struct why *ret_w);
/* Who moves its data: "vhost", "process". False: nobody need. @ret_w->what NULL: what was asked for will fail. */
bool why_backend(const struct doctor_facts *f, unsigned i, struct why *ret_w);
/* Does this host offer guests the part that a hole is in? Where it does not, the hole is out of reach. */
bool why_in_reach(const struct doctor_facts *f, enum hole_area area);
const char *why_kind(enum dev_kind kind);

#endif
