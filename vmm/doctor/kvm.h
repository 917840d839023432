/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kvm - what KVM and io_uring of this host do for us, by asking them
 *
 * What:   one VM without memory, made and thrown away; a loop, made, sealed and thrown away;
 *         the plan for the configuration.
 * Not:    files of the host (host.h).
 * Trust:  the host's.
 * Thread: one.
 */
#ifndef VMM_DOCTOR_KVM_H
#define VMM_DOCTOR_KVM_H

#include "vmm/doctor/facts.h"

/* Fills what struct doctor_facts has from kvm_error on; @f->config is set. */
void kvm_probe(struct doctor_facts *f);

#endif
