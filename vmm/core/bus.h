/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bus - who answers a guest's access to an address that is not RAM
 *
 * What:   a table of address ranges, each with a read and a write function.
 * Not:    doorbells (doorbell.h): the kernel takes those before they get here.
 * Trust:  address, length and value are the guest's. The bus hands on only accesses that
 *         lie wholly inside a range, with a length of 1, 2, 4 or 8 bytes.
 * Thread: accesses from any vCPU thread, also while ranges come and go. A handler may still
 *         run shortly after bus_del() returned: devices live until the VM ends.
 */
#ifndef VMM_CORE_BUS_H
#define VMM_CORE_BUS_H

#include "vmm/base/types.h"

struct bus;

/* @off: bytes from the range's start; @len: 1, 2, 4 or 8; values are little-endian numbers of @len bytes. */
struct bus_ops {
	uint64_t (*read)(void *ctx, uint64_t off, unsigned len);
	void (*write)(void *ctx, uint64_t off, unsigned len, uint64_t val);
};

/* -ENOMEM. */
int bus_new(struct bus **ret_b);
/* With no vCPU thread left. NULL is fine. */
void bus_free(struct bus *b);

/* @ops, @ctx: borrowed until bus_free(). -EINVAL: empty or wrapping; -EEXIST: overlaps another range; -ENOSPC: the table (sized at start) is full. */
int bus_add(struct bus *b, gpa_t gpa, uint64_t size, const struct bus_ops *ops, void *ctx);
/* Removes the range that starts at @gpa with @ctx; -ENOENT. */
int bus_del(struct bus *b, gpa_t gpa, void *ctx);

/* Reads what nobody owns, or what straddles an end, as all ones; writes there vanish. */
uint64_t bus_read(struct bus *b, gpa_t gpa, unsigned len);
void bus_write(struct bus *b, gpa_t gpa, unsigned len, uint64_t val);

#endif
