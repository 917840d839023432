// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/obj.h"

#include <stdint.h>
#include <stdlib.h>

#define ALIGN 16
#define TABLE 8192 /* bytes: from here on an object is a table of which little may be used */
#define TABLE_ALIGN 4096

static struct {
	uint8_t *base;
	size_t whole;      /* bytes */
	size_t size, used; /* of [0, size); tables lie behind, from the end downwards */
} arena;

void obj_arena(void *mem, size_t size)
{
	arena.base = mem;
	arena.whole = arena.size = size & ~(size_t)(TABLE_ALIGN - 1);
	arena.used = 0;
}

void *obj_new(size_t size)
{
	size_t room = arena.size - arena.used;
	size_t align = size < TABLE ? ALIGN : TABLE_ALIGN, need = (size + align - 1) & ~(align - 1);

	if (need < size || need > room)
		return calloc(1, size);
	if (size >= TABLE) {
		arena.size -= need;
		return arena.base + arena.size;
	}
	arena.used += need;
	return arena.base + arena.used - need;
}

void obj_free(void *p)
{
	uintptr_t off = (uintptr_t)p - (uintptr_t)arena.base;

	if (!arena.base || off >= arena.whole)
		free(p);
}
