/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rights - the system calls that a thread may make once the guest runs
 *
 * What:   the form of a list, which stands beside the code that makes the calls; vmm/app/seccomp.c
 *         makes the filters of all lists. What no list has is denied.
 * Not:    set-up, which is over by then.
 * Source: seccomp(2).
 */
#ifndef VMM_BASE_RIGHTS_H
#define VMM_BASE_RIGHTS_H

#include "vmm/base/fdbook.h"

/* Threads, by what they do. */
enum right_threads {
	RIGHT_CPU = 1 << 0,  /* each vCPU's */
	RIGHT_LOOP = 1 << 1, /* the event loop's, the process's first */
	RIGHT_ALL = RIGHT_CPU | RIGHT_LOOP,
};

/* What the arguments are held against. */
enum right_test {
	RIGHT_FREE,          /* nothing in them is worth a test: addresses, lengths, flags without power */
	RIGHT_FD,            /* the first is a descriptor of `kinds` */
	RIGHT_FD_NO_ADDRESS, /* the first is one, and the fifth is NULL: sendto(2) to its peer alone */
	RIGHT_FD_REQUEST,    /* the first is one, and the second is `value` */
	RIGHT_OWN_REQUEST,   /* the first is this thread's own vCPU, the second `value` */
	RIGHT_FUTEX_PRIVATE, /* the second is a futex operation on memory that no other process has */
	RIGHT_SELF,          /* the first is this process, the second one of its threads' or its own number, the third `value` */
	RIGHT_MEMORY,        /* mmap(2) of new memory, not executable */
	RIGHT_ADVICE,        /* madvise(2) with `value`, where there is a descriptor of `kinds` at all */
	RIGHT_NO_MEMORY,     /* what no row of the call allows is denied with ENOMEM instead of the end: the C library then does without */
};

struct right {
	enum right_threads threads; /* 0 ends a list */
	int call;                   /* SYS_ number */
	enum right_test test;
	uint32_t kinds;             /* of enum fd_kind */
	uint64_t value;
	char why[80];               /* no pointer, which each start would have to relocate */
};

#endif
