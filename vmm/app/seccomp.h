/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seccomp - the filters: which system calls a thread may still make
 *
 * What:   one filter for the event loop's thread and one for the vCPUs', made of the lists of rights that
 *         stand beside the code; and what happens when a call is denied.
 * Not:    the lists (vmm/base/rights.h says their form); the programs (filter.h); namespaces and the
 *         like (sandbox.h).
 * Trust:  a thread that is filtered may be the attacker's: nothing it does changes a filter.
 * Thread: seccomp_make() before there is a second thread; each thread arms itself.
 * Source: seccomp(2).
 */
#ifndef VMM_APP_SECCOMP_H
#define VMM_APP_SECCOMP_H

#include "vmm/app/filter.h"
#include "vmm/base/err.h"

enum seccomp_mode { SECCOMP_ON, SECCOMP_LOG, SECCOMP_OFF };

/*
 * Makes both filters. All descriptors that will ever be used are in the book by now. SECCOMP_LOG: what would be
 * denied is logged by the kernel and done. -ENOMEM; -E2BIG: more descriptors than the book or a filter
 * takes. @denied_now: called on the first thread, in the handler of a
 * signal, when any thread has made a call that it may not make; the process ends with 121 when it returns.
 */
int seccomp_make(enum seccomp_mode mode, void (*denied_now)(const char *text), struct err *err);
/*
 * The calling thread is filtered from here on; it has no_new_privs. @own_fd: the vCPU's descriptor; the loop has
 * none, -1. Nothing happens where seccomp_make() was not called. seccomp(2)'s errors.
 */
int seccomp_arm(enum right_threads thread, int own_fd);

/* For the audit: the filter of @thread, in static memory, and its length; all lists, the last one NULL. */
const struct sock_filter *seccomp_program(enum right_threads thread, unsigned *ret_len);
const struct right *const *seccomp_lists(void);
/* "openat"; NULL: no such number. */
const char *seccomp_call_name(int call);

#endif
