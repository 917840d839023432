/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dt - a reader of the device tree that the monitor hands over
 *
 * A node is its offset in the structure block, negative for none. Cells are big-endian in the tree and in
 * host order here. Buses are taken to map their children's addresses one to one.
 */
#ifndef TESTS_GUEST_LIB_DT_H
#define TESTS_GUEST_LIB_DT_H

#include "bare.h"

struct dt_irq {
	unsigned intid;
	bool edge;
};

/* False: no device tree there. */
bool dt_init(const void *blob);
int dt_path(const char *path);                      /* "/chosen", "/cpus/cpu@0": exact names */
int dt_compatible(const char *compat, int after);   /* the next node behind @after that says so; -1: the first */
int dt_typed(const char *device_type, int after);   /* the same by device_type */
int dt_phandle(uint32_t phandle);
int dt_parent(int node);
bool dt_is(int node, const char *compat);
const void *dt_prop(int node, const char *name, unsigned *ret_len); /* NULL: none */
/* The n-th cell of a property; @otherwise where there is none. */
uint32_t dt_cell(int node, const char *name, unsigned n, uint32_t otherwise);
uint64_t dt_cells(int node, const char *name, unsigned n, unsigned cells);
/* The n-th address of reg, and its size; 0: none. */
uint64_t dt_reg(int node, unsigned n, uint64_t *ret_size);
/* The n-th interrupt of a node, by the GIC's binding. */
bool dt_interrupt(int node, unsigned n, struct dt_irq *ret_irq);

#endif
