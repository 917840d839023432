/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * obj - memory for what is made once, at set-up
 *
 * What:   zeroed objects out of a static arena, small ones side by side and large tables, of which
 *         a start uses the beginning, apart from them, so that it touches few pages and asks the
 *         kernel for none; beyond the arena, calloc().
 * Not:    for what comes and goes: what is freed does not return to the arena.
 * Trust:  sizes are the program's own.
 * Thread: set-up; obj_free() also after the guest's end.
 * Source: none.
 */
#ifndef VMM_BASE_OBJ_H
#define VMM_BASE_OBJ_H

#include <stddef.h>

/*
 * The arena: @size bytes of zeroed memory, of which whole 4 KiB are used; aligned to as much, the
 * caller's for ever. Without it everything is calloc()'s, as in tests.
 */
void obj_arena(void *mem, size_t size);

/* @size zeroed bytes, 16-byte aligned; NULL: out of memory. */
void *obj_new(size_t size);
void obj_free(void *p); /* NULL is fine */

#endif
