/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * files - small files of /proc and /sys
 *
 * What:   reads of one line, one number, one listing.
 * Not:    anything that waits or writes.
 * Trust:  the host's. Paths are made of our own text and of interface names that were checked.
 * Thread: any.
 */
#ifndef VMM_DOCTOR_FILES_H
#define VMM_DOCTOR_FILES_H

#include "vmm/base/types.h"

/* Reads the file at @root followed by the formatted path into @buf, NUL-terminated. False: it cannot be read. */
bool file_read(const char *root, char *buf, size_t cap, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Its first line, without the newline; else "". */
bool file_line(const char *root, char *buf, size_t cap, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Its first number, decimal or with 0x; @otherwise where there is none. */
long long file_number(const char *root, long long otherwise, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Does @text have a line that begins with @word after blanks and a number, as in /proc/misc? */
bool misc_has(const char *text, const char *word);
/* The number after "@key:" at the start of a line, in base @base; 0 where there is none. */
uint64_t field_number(const char *text, const char *key, int base);

#endif
