/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libc - what the program's C library, musl, leaves to the program
 *
 * What:   protection of relocated constants in a static PIE.
 * Not:    for tests: they are linked with glibc, which does it by itself.
 * Trust:  the program's own headers only.
 * Thread: main(), before any other.
 * Source: System V ABI, PT_GNU_RELRO; musl 1.2.3 (rcrt1.o relocates and protects nothing).
 */
#ifndef VMM_BASE_LIBC_H
#define VMM_BASE_LIBC_H

/* Makes the segment of relocated constants, tables of functions above all, read-only. mprotect(2)'s errors. */
int libc_protect_relro(void);

#endif
