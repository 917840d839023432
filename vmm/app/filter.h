/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * filter - a seccomp program out of lists of rights
 *
 * What:   one pass: a binary tree of system call numbers, and for each number the tests of its rows, with the
 *         real numbers of the descriptors.
 * Not:    loading it (seccomp.h).
 * Trust:  the lists are ours.
 * Thread: pure, but for the book of descriptors.
 * Source: seccomp(2); Linux Documentation/networking/filter.rst.
 *
 * By hand, because libseccomp takes two million instructions for our two filters, more than all the rest of a start;
 * the unit tests hold each program against the one that libseccomp makes of the same lists.
 */
#ifndef VMM_APP_FILTER_H
#define VMM_APP_FILTER_H

#include <linux/filter.h>
#include <sys/types.h>

#include "vmm/base/rights.h"

#define FILTER_MAX BPF_MAXINSNS
#define FILTER_OWN_FD 0x7ffff00d /* stands for the thread's own vCPU; no descriptor has this number */

struct filter {
	unsigned len;    /* instructions */
	unsigned own_at; /* the one that has FILTER_OWN_FD; 0: none */
	struct sock_filter prog[FILTER_MAX];
};

/*
 * The rows of @thread in @lists (the last one NULL), for this process, @pid. What no row allows returns @denied
 * (SECCOMP_RET_TRAP, SECCOMP_RET_LOG); another architecture's calls kill the process. -E2BIG: too many descriptors
 * for a program, or more than a hundred without neighbours. @f is the caller's and void then.
 */
int filter_make(struct filter *f, const struct right *const lists[], enum right_threads thread, pid_t pid,
		uint32_t denied);

#endif
