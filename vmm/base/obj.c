// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/obj.h"

#include <stdint.h>
#include <stdlib.h>

#define ALIGN 16

static struct {
	uint8_t *base;
	size_t size, used;
} arena;

void obj_arena(void *mem, size_t size)
{
	arena.base = mem;
	arena.size = size;
	arena.used = 0;
}

void *obj_new(size_t size)
{
	size_t room = arena.size - arena.used, need = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	void *p = arena.base + arena.used;

	if (need < size || need > room)
		return calloc(1, size);
	arena.used += need;
	return p;
}

void obj_free(void *p)
{
	uintptr_t off = (uintptr_t)p - (uintptr_t)arena.base;

	if (!arena.base || off >= arena.size)
		free(p);
}
