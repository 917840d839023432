// SPDX-License-Identifier: BSD-3-Clause
/*
 * GPIODATA is 256 words long: bits 9 to 2 of the address say which pins an access is about. Of
 * the others a read gives 0 and a write changes nothing.
 *
 * A pin that senses an edge keeps what it saw in GPIORIS until GPIOIC clears it; one that senses a level
 * shows there what is on the pin now, and cannot be cleared. An output senses nothing: what drives
 * it is the guest itself.
 *
 * One lock guards the registers, and the line is set under it, as in the PL011.
 */
#include "devices/gpio/pl061.h"

#include <errno.h>
#include <pthread.h>

#include "vmm/base/obj.h"

enum {
	GPIODATA = 0x000, GPIODIR = 0x400, GPIOIS = 0x404, GPIOIBE = 0x408, GPIOIEV = 0x40c, GPIOIE = 0x410,
	GPIORIS = 0x414, GPIOMIS = 0x418, GPIOIC = 0x41c, GPIOAFSEL = 0x420, GPIOPERIPHID0 = 0xfe0,
};

static const uint8_t ids[8] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

struct pl061 {
	struct bus *bus;
	gpa_t gpa;
	struct line *line;
	pthread_mutex_t lock;
	/* what the guest sees, a bit a pin */
	struct {
		uint8_t data, dir, is, ibe, iev, ie, afsel;
		uint8_t latched; /* edges that were seen */
		uint8_t in;      /* what is driven from outside */
	} s;
};

static uint8_t raw_locked(const struct pl061 *g)
{
	uint8_t level = (g->s.in ^ (uint8_t)~g->s.iev) & (uint8_t)~g->s.dir;

	return (g->s.is & level) | ((uint8_t)~g->s.is & g->s.latched);
}

static void update_line_locked(struct pl061 *g)
{
	line_set(g->line, raw_locked(g) & g->s.ie);
}

static uint32_t read_reg_locked(const struct pl061 *g, uint64_t reg)
{
	switch (reg) {
	case GPIODIR:   return g->s.dir;
	case GPIOIS:    return g->s.is;
	case GPIOIBE:   return g->s.ibe;
	case GPIOIEV:   return g->s.iev;
	case GPIOIE:    return g->s.ie;
	case GPIORIS:   return raw_locked(g);
	case GPIOMIS:   return raw_locked(g) & g->s.ie;
	case GPIOAFSEL: return g->s.afsel;
	default:        break;
	}
	if (reg < GPIODIR)
		return ((g->s.data & g->s.dir) | (g->s.in & ~g->s.dir)) & reg >> 2 & 0xff;
	return reg >= GPIOPERIPHID0 ? ids[(reg - GPIOPERIPHID0) / 4] : 0;
}

/* Registers are 32 bits wide, 8 of them used; a narrow access takes the bytes that it names. */
static uint64_t pl061_read(void *ctx, uint64_t off, unsigned len)
{
	struct pl061 *g = ctx;
	uint32_t val;

	pthread_mutex_lock(&g->lock);
	val = read_reg_locked(g, off & ~UINT64_C(3));
	pthread_mutex_unlock(&g->lock);
	return (val >> (off & 3) * 8) & width_mask(len);
}

static void write_reg_locked(struct pl061 *g, uint64_t reg, uint8_t val)
{
	uint8_t mask = (uint8_t)(reg >> 2);

	switch (reg) {
	case GPIODIR:   g->s.dir = val; break;
	case GPIOIS:    g->s.is = val; break;
	case GPIOIBE:   g->s.ibe = val; break;
	case GPIOIEV:   g->s.iev = val; break;
	case GPIOIE:    g->s.ie = val; break;
	case GPIOIC:    g->s.latched &= (uint8_t)~val; break;
	case GPIOAFSEL: g->s.afsel = val; break;
	default:
		if (reg < GPIODIR)
			g->s.data = (g->s.data & (uint8_t)~mask) | (val & mask);
		return;
	}
	update_line_locked(g);
}

static void pl061_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct pl061 *g = ctx;

	(void)len;
	if (off & 3)
		return;
	pthread_mutex_lock(&g->lock);
	write_reg_locked(g, off, (uint8_t)(val & 0xff));
	pthread_mutex_unlock(&g->lock);
}

void pl061_set_input(struct pl061 *g, unsigned pin, bool level)
{
	uint8_t bit = (uint8_t)(1u << pin), changed, wanted;

	pthread_mutex_lock(&g->lock);
	changed = (uint8_t)((level ? bit : 0) ^ (g->s.in & bit));
	g->s.in ^= changed;
	/* both edges, or the one of GPIOIEV */
	wanted = g->s.ibe | (uint8_t)~(g->s.iev ^ g->s.in);
	g->s.latched |= changed & wanted & (uint8_t)~g->s.is & (uint8_t)~g->s.dir;
	update_line_locked(g);
	pthread_mutex_unlock(&g->lock);
}

static const struct bus_ops pl061_ops = { .read = pl061_read, .write = pl061_write };

int pl061_new(struct bus *bus, gpa_t gpa, struct line *line, struct pl061 **ret_g)
{
	struct pl061 *g = obj_new(sizeof(*g));
	int rc;

	if (!g)
		return -ENOMEM;
	g->bus = bus;
	g->gpa = gpa;
	g->line = line;
	pthread_mutex_init(&g->lock, NULL);
	rc = bus_add(bus, gpa, PL061_SIZE, &pl061_ops, g);
	if (rc) {
		pthread_mutex_destroy(&g->lock);
		obj_free(g);
		return rc;
	}
	*ret_g = g;
	return 0;
}

void pl061_free(struct pl061 *g)
{
	if (!g)
		return;
	bus_del(g->bus, g->gpa, g);
	pthread_mutex_destroy(&g->lock);
	obj_free(g);
}
