/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor - what this host can do, what it would be given, and why
 *
 * What:   finds out, prints, and says whether a guest could run.
 * Not:    running one; changing anything of the host's: no tap, no module, no file.
 * Trust:  the configuration is the user's, the rest the host's.
 * Thread: the process's only one.
 */
#ifndef VMM_DOCTOR_DOCTOR_H
#define VMM_DOCTOR_DOCTOR_H

#include <stdio.h>

#include "vmm/doctor/facts.h"

/* @json: one object on one line. 0 and the verdict; -ENOMEM. */
int doctor_run(const struct config *c, bool json, FILE *out, enum doctor_verdict *ret_v);

#endif
