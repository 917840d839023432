/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text - strings that come from elsewhere, made fit to be shown
 *
 * What:   replaces what would break a line or steer a terminal.
 * Not:    escaping for a format: JSON has its own (vmm/app/result.c).
 * Trust:  the bytes may be anything a guest or a file name holds.
 * Thread: pure.
 */
#ifndef VMM_BASE_TEXT_H
#define VMM_BASE_TEXT_H

#include <stddef.h>

/*
 * Length in bytes (1 to 4) of the well-formed UTF-8 character at @s, of which @len bytes can
 * be read; 0 where there is none, or where it is a control character (C0, DEL, C1).
 * Source: RFC 3629 section 4.
 */
size_t text_char(const char *s, size_t len);

/* Replaces each byte of the NUL-terminated @s that is not part of a printable character by '?'. */
void text_clean(char *s);

#endif
