/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trouble - what is wrong with what a device names on the host
 *
 * What:   a tap that is not there or another's, a device of the host's that is not ready to be
 *         handed on: a sentence with the remedy, and whether a start would fail. The verdict.
 * Not:    all that can go wrong: opening and attaching are not tried.
 * Trust:  facts are the host's, names the user's.
 * Thread: pure.
 */
#ifndef VMM_DOCTOR_TROUBLE_H
#define VMM_DOCTOR_TROUBLE_H

#include "vmm/doctor/facts.h"

enum trouble {
	TROUBLE_NONE,
	TROUBLE_SMALL,  /* a guest runs, and misses something */
	TROUBLE_FATAL,
};

#define TROUBLE_TEXT 400

/* Of device @i of the configuration. @text: TROUBLE_TEXT bytes, written where there is trouble. */
enum trouble trouble_of(const struct doctor_facts *f, unsigned i, char *text);

#endif
