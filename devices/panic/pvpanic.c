// SPDX-License-Identifier: BSD-3-Clause
/* No state but a counter, so no lock. */
#include "devices/panic/pvpanic.h"

#include <errno.h>
#include <stdatomic.h>

#include <misc/pvpanic.h>

#include "vmm/base/obj.h"

#define EVENTS (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED)

struct pvpanic {
	struct bus *bus;
	gpa_t gpa;
	void (*panicked)(void *ctx);
	void *ctx;
	_Atomic uint64_t crash_loads;
};

static uint64_t pvpanic_read(void *ctx, uint64_t off, unsigned len)
{
	(void)ctx, (void)len;
	return off ? 0 : EVENTS;
}

static void pvpanic_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct pvpanic *p = ctx;

	(void)len;
	if (off)
		return;
	if (val & PVPANIC_CRASH_LOADED)
		atomic_fetch_add_explicit(&p->crash_loads, 1, memory_order_relaxed);
	if (val & PVPANIC_PANICKED)
		p->panicked(p->ctx);
}

uint64_t pvpanic_crash_loads(const struct pvpanic *p)
{
	return atomic_load_explicit(&p->crash_loads, memory_order_relaxed);
}

static const struct bus_ops pvpanic_ops = { .read = pvpanic_read, .write = pvpanic_write };

int pvpanic_new(struct bus *bus, gpa_t gpa, void (*panicked)(void *ctx), void *ctx, struct pvpanic **ret_p)
{
	struct pvpanic *p = obj_new(sizeof(*p));
	int rc;

	if (!p)
		return -ENOMEM;
	*p = (struct pvpanic){ .bus = bus, .gpa = gpa, .panicked = panicked, .ctx = ctx };
	rc = bus_add(bus, gpa, PVPANIC_SIZE, &pvpanic_ops, p);
	if (rc) {
		obj_free(p);
		return rc;
	}
	*ret_p = p;
	return 0;
}

void pvpanic_free(struct pvpanic *p)
{
	if (!p)
		return;
	bus_del(p->bus, p->gpa, p);
	obj_free(p);
}
