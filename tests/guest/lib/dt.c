/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A flattened tree is a list of tokens; it is walked from the start for each question, which is quick enough
 * for the few that a payload asks.
 */
#include "dt.h"

enum { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9 };

static const uint8_t *structs;
static const char *strings;

static uint32_t be32(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

bool dt_init(const void *blob)
{
	const uint8_t *b = blob;

	if (!b || be32(b) != 0xd00dfeed)
		return false;
	structs = b + be32(b + 8);
	strings = (const char *)b + be32(b + 12);
	return true;
}

/* The offset behind the token at @off. */
static int skip_token(int off)
{
	const uint8_t *p = structs + off;

	switch (be32(p)) {
	case BEGIN_NODE:
		return off + 4 + (int)((strlen((const char *)p + 4) + 4) & ~3u);
	case PROP:
		return off + 12 + (int)((be32(p + 4) + 3) & ~3u);
	default:
		return off + 4;
	}
}

static uint32_t token(int off)
{
	return be32(structs + off);
}

/* The next node behind @node, or the first; -1: no more. */
static int next_node(int node)
{
	int off = node < 0 ? 0 : skip_token(node);

	while (token(off) != BEGIN_NODE && token(off) != END)
		off = skip_token(off);
	return token(off) == END ? -1 : off;
}

int dt_parent(int node)
{
	int stack[16], depth = 0;

	for (int off = 0; off <= node; off = skip_token(off)) {
		if (off == node)
			return depth ? stack[depth - 1] : -1;
		if (token(off) == BEGIN_NODE && depth < (int)ARRAY_LEN(stack))
			stack[depth++] = off;
		else if (token(off) == END_NODE)
			depth--;
	}
	return -1;
}

const void *dt_prop(int node, const char *name, unsigned *ret_len)
{
	if (node < 0)
		return NULL;
	for (int off = skip_token(node); token(off) == PROP || token(off) == NOP; off = skip_token(off)) {
		if (token(off) == NOP || !streq(strings + be32(structs + off + 8), name))
			continue;
		if (ret_len)
			*ret_len = be32(structs + off + 4);
		return structs + off + 12;
	}
	return NULL;
}

/* Is @want one of the strings of property @name? */
static bool has_string(int node, const char *name, const char *want)
{
	unsigned len = 0;
	const char *s = dt_prop(node, name, &len), *end = s + len;

	for (; s && s < end; s += strlen(s) + 1)
		if (streq(s, want))
			return true;
	return false;
}

bool dt_is(int node, const char *compat)
{
	return has_string(node, "compatible", compat);
}

static int find_string(const char *name, const char *want, int after)
{
	int node = after;

	do
		node = next_node(node);
	while (node >= 0 && !has_string(node, name, want));
	return node;
}

int dt_compatible(const char *compat, int after)
{
	return find_string("compatible", compat, after);
}

int dt_typed(const char *device_type, int after)
{
	return find_string("device_type", device_type, after);
}

int dt_phandle(uint32_t phandle)
{
	int node = -1;

	do
		node = next_node(node);
	while (node >= 0 && dt_cell(node, "phandle", 0, 0) != phandle);
	return node;
}

/* The child of @node whose name is the @len bytes at @name. */
static int child(int node, const char *name, size_t len)
{
	int depth = 0;

	for (int off = skip_token(node); depth >= 0 && token(off) != END; off = skip_token(off)) {
		if (token(off) == END_NODE)
			depth--;
		if (token(off) != BEGIN_NODE)
			continue;
		if (!depth++ && !memcmp(structs + off + 4, name, len) && !structs[off + 4 + len])
			return off;
	}
	return -1;
}

int dt_path(const char *path)
{
	int node = next_node(-1);
	size_t len;

	while (node >= 0 && *path) {
		path += *path == '/';
		for (len = 0; path[len] && path[len] != '/'; len++)
			;
		if (len)
			node = child(node, path, len);
		path += len;
	}
	return node;
}

uint32_t dt_cell(int node, const char *name, unsigned n, uint32_t otherwise)
{
	unsigned len;
	const uint8_t *p = dt_prop(node, name, &len);

	return p && len >= 4 * (n + 1) ? be32(p + 4 * n) : otherwise;
}

uint64_t dt_cells(int node, const char *name, unsigned n, unsigned cells)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < cells; i++)
		v = v << 32 | dt_cell(node, name, n + i, 0);
	return v;
}

uint64_t dt_reg(int node, unsigned n, uint64_t *ret_size)
{
	int parent = dt_parent(node);
	unsigned ac = dt_cell(parent, "#address-cells", 0, 2), sc = dt_cell(parent, "#size-cells", 0, 1);

	if (node < 0)
		return 0;
	if (ret_size)
		*ret_size = dt_cells(node, "reg", n * (ac + sc) + ac, sc);
	return dt_cells(node, "reg", n * (ac + sc), ac);
}

bool dt_interrupt(int node, unsigned n, struct dt_irq *ret_irq)
{
	uint32_t kind = dt_cell(node, "interrupts", 3 * n, 2), flags = dt_cell(node, "interrupts", 3 * n + 2, 0);

	if (kind > 1)
		return false;
	ret_irq->intid = dt_cell(node, "interrupts", 3 * n + 1, 0) + (kind ? 16 : 32);
	ret_irq->edge = (flags & 15) <= 2;
	return true;
}
