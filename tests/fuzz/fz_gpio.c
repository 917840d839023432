// SPDX-License-Identifier: BSD-3-Clause
/*
 * gpio: the PL061, its registers and its pins.
 *
 * Covers: gpio/pl061.c: all offsets and widths, pins that are driven meanwhile, as inputs and as outputs.
 * Oracle: a model that goes pin by pin: what a read of the data gives by its address, which edges and
 *         levels are an interrupt; the wire is up exactly where one is and is let through.
 */
#include "tests/fuzz/fuzz.h"

#include "devices/gpio/pl061.h"

#define BASE UINT64_C(0x9020000)

static struct bus *bus;
static struct pl061 *gpio;
static struct line wire;

struct pin {
	bool in, data, dir, is, ibe, iev, ie, afsel, seen;
};
static struct pin pins[PL061_PINS];

/* Instead of vmm/core/line.c: the wire. */
void line_set(struct line *l, bool level)
{
	l->level = level;
}

static bool raw(const struct pin *p)
{
	if (!p->is)
		return p->seen;
	return !p->dir && p->in == p->iev;
}

static bool pin_reg(const struct pin *p, uint64_t off, unsigned nr)
{
	switch (off) {
	case 0x400: return p->dir;
	case 0x404: return p->is;
	case 0x408: return p->ibe;
	case 0x40c: return p->iev;
	case 0x410: return p->ie;
	case 0x414: return raw(p);
	case 0x418: return raw(p) && p->ie;
	case 0x420: return p->afsel;
	}
	return off < 0x400 && off >> (nr + 2) & 1 && (p->dir ? p->data : p->in);
}

static uint32_t model_read(uint64_t off)
{
	static const uint8_t ids[8] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };
	uint32_t val = 0;

	if (off >= 0xfe0)
		return ids[(off - 0xfe0) / 4];
	for (unsigned i = 0; i < PL061_PINS; i++)
		val |= (uint32_t)pin_reg(&pins[i], off, i) << i;
	return val;
}

static void model_write(uint64_t off, uint64_t val)
{
	for (unsigned i = 0; i < PL061_PINS; i++) {
		struct pin *p = &pins[i];
		bool bit = val >> i & 1;

		if (off < 0x400 && off >> (i + 2) & 1)
			p->data = bit;
		switch (off) {
		case 0x400: p->dir = bit; break;
		case 0x404: p->is = bit; break;
		case 0x408: p->ibe = bit; break;
		case 0x40c: p->iev = bit; break;
		case 0x410: p->ie = bit; break;
		case 0x41c: p->seen &= !bit; break;
		case 0x420: p->afsel = bit; break;
		}
	}
}

static void write_at(uint64_t off, unsigned len, uint64_t val)
{
	bus_write(bus, BASE + off, len, val);
	if (off % 4 == 0 && off + len <= PL061_SIZE)
		model_write(off, val & width_mask(len));
}

static void read_at(uint64_t off, unsigned len)
{
	if (off + len <= PL061_SIZE)
		must(bus_read(bus, BASE + off, len) ==
		     ((uint64_t)model_read(off & ~UINT64_C(3)) >> off % 4 * 8 & width_mask(len)));
}

static void drive(unsigned nr, bool level)
{
	struct pin *p = &pins[nr];
	bool was = p->in;

	pl061_set_input(gpio, nr, level);
	p->in = level;
	if (was != level && !p->dir && !p->is && (p->ibe || p->iev == level))
		p->seen = true;
}

static void look(void)
{
	bool up = false;

	for (unsigned i = 0; i < PL061_PINS; i++)
		up |= raw(&pins[i]) && pins[i].ie;
	must(wire.level == up);
	read_at(0x414, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	memset(pins, 0, sizeof(pins));
	wire.level = false;
	must(bus_new(&bus) == 0 && pl061_new(bus, BASE, &wire, &gpio) == 0);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 6)) {
		case 0: write_at(0x400 + fuzz_below(&in, 9) * 4, 4, fuzz_u8(&in)); break;
		case 1: write_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in), fuzz_u64(&in)); break;
		case 2: read_at(fuzz_below(&in, 256) * 4, 4); break;
		case 3: read_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in)); break;
		case 4: drive(fuzz_below(&in, PL061_PINS), true); break;
		case 5: drive(fuzz_below(&in, PL061_PINS), false); break;
		}
		look();
	}
	pl061_free(gpio);
	bus_free(bus);
	return 0;
}
