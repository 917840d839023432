// SPDX-License-Identifier: BSD-3-Clause
/*
 * uart: the PL011, register by register, with input that comes at any time.
 *
 * Covers: serial/pl011.c: all offsets and widths, FIFO on and off, triggers, a sink without room, the
 *         view before the first input and its end.
 * Oracle: a model of the registers and of the FIFO: each read, the wire and what was sent out are as it
 *         says; each byte of input is read once, in order, or was refused; the receiver is told once of
 *         new room; as long as there is a view it shows what a read would give.
 */
#include "tests/fuzz/fuzz.h"

#include "devices/serial/pl011.h"
#include "tests/fake/kvm.h"
#include "tests/fake/loop.h"

#define BASE UINT64_C(0x9000000)
#define RX 0x10u
#define TX 0x20u
#define RT 0x40u

static struct bus *bus;
static struct hyp *hyp;
static struct loop *loop;
static struct pl011 *uart;
static struct line wire;

static struct {
	uint32_t regs[0x50 / 4]; /* as they are written, by number */
	uint32_t ris;
	uint8_t fifo[32];
	unsigned count;
	bool starved;
	unsigned rooms;          /* to be told */
	int out;                 /* the byte that was sent last; -1: none */
	uint64_t dropped;
} want;
static bool room;
static unsigned rooms;
static int out;

/* Instead of vmm/core/line.c: the wire as such. */
void line_set(struct line *l, bool level)
{
	l->level = level;
}

static size_t sink_write(void *ctx, const void *buf, size_t len)
{
	(void)ctx;
	must(len == 1);
	if (room)
		out = *(const uint8_t *)buf;
	return room;
}

static void sink_room(void *ctx)
{
	(void)ctx;
	rooms++;
	(void)bus_read(bus, BASE + 0x18, 4); /* may be called: no lock is held */
}

static const struct console_sink sink = { .write = sink_write, .input_room = sink_room };

static uint32_t *reg(unsigned off)
{
	return &want.regs[off / 4];
}

static bool fifo_on(void)
{
	return *reg(0x2c) & 0x10;
}

static unsigned trigger(void)
{
	static const unsigned eighths[] = { 1, 2, 4, 6, 7, 4, 4, 4 };

	return fifo_on() ? 4 * eighths[*reg(0x34) >> 3 & 7] : 1;
}

static bool listens(void)
{
	return (*reg(0x30) & 0x201) == 0x201;
}

/* What is read next of DR. */
static uint32_t pop(void)
{
	uint32_t c = want.fifo[0];

	if (!want.count)
		return 0;
	memmove(want.fifo, want.fifo + 1, --want.count);
	if (want.count < trigger())
		want.ris &= ~RX;
	if (!want.count)
		want.ris &= ~RT;
	return c;
}

static uint32_t model_read(uint64_t off)
{
	static const uint8_t ids[8] = { 0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	switch (off) {
	case 0x00: return pop();
	case 0x18: return 0x87 | (want.count ? 0 : 0x10) | (want.count >= (fifo_on() ? 32 : 1) ? 0x40 : 0);
	case 0x20: case 0x24: case 0x28: case 0x2c: case 0x30: case 0x34: case 0x38: case 0x48: return *reg((unsigned)off);
	case 0x3c: return want.ris;
	case 0x40: return want.ris & *reg(0x38);
	default: return off >= 0xfe0 ? ids[(off - 0xfe0) / 4] : 0;
	}
}

static void model_write(uint64_t off, uint32_t val)
{
	static const struct { unsigned off; uint32_t mask; } masks[] = {
		{ 0x20, 0xff }, { 0x24, 0xffff }, { 0x28, 0x3f }, { 0x2c, 0xff }, { 0x30, 0xff87 }, { 0x34, 0x3f },
		{ 0x38, 0x7ff }, { 0x48, 7 },
	};
	bool was = fifo_on();

	if (off == 0x00) {
		want.ris |= TX;
		if (room)
			want.out = (uint8_t)val;
		else
			want.dropped++;
	}
	if (off == 0x44)
		want.ris &= ~val;
	for (unsigned i = 0; i < ARRAY_LEN(masks); i++)
		if (off == masks[i].off)
			*reg(masks[i].off) = val & masks[i].mask;
	if (fifo_on() != was) {
		want.count = 0;
		want.ris &= ~(RX | RT);
	}
}

static void tell_room(void)
{
	if (!want.starved || want.count || !listens())
		return;
	want.starved = false;
	want.rooms++;
}

static void input(struct fuzz_in *in)
{
	uint8_t buf[64];
	size_t len = fuzz_below(in, sizeof(buf)), n = 0;

	fuzz_take(in, buf, len);
	while (n < len && listens() && want.count < (fifo_on() ? 32 : 1))
		want.fifo[want.count++] = buf[n++];
	if (n)
		want.ris |= RT | (want.count >= trigger() ? RX : 0);
	want.starved = n < len;
	must(pl011_input(uart, buf, len) == n);
	must(!fake_kvm_nr_slots(hyp)); /* no view of a UART that has had input */
}

static void read_at(uint64_t off, unsigned len)
{
	uint64_t got, seen, val;

	if (off + len > PL011_SIZE)
		return;
	/* The guest's own read, where it can. */
	if (fake_kvm_guest_read(hyp, BASE + off, len, &seen) && off % 4 == 0 && len <= 4)
		must(seen == (model_read(off) & width_mask(len)));
	got = bus_read(bus, BASE + off, len);
	val = off % 4 && off < 4 ? 0 : (uint64_t)model_read(off & ~UINT64_C(3)) >> off % 4 * 8;
	must(got == (val & width_mask(len)));
	tell_room();
}

static void write_at(uint64_t off, unsigned len, uint64_t val)
{
	bus_write(bus, BASE + off, len, val);
	if (off % 4 || off + len > PL011_SIZE)
		return;
	model_write(off, (uint32_t)(val & width_mask(len)));
	tell_room();
}

static void look(void)
{
	must(wire.level == !!(want.ris & *reg(0x38)));
	must(rooms == want.rooms && out == want.out && pl011_dropped(uart) == want.dropped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	memset(&want, 0, sizeof(want));
	*reg(0x30) = 0x300;
	*reg(0x34) = 0x12;
	out = want.out = -1;
	rooms = 0;
	wire.level = false;
	hyp = fake_kvm_new();
	must(bus_new(&bus) == 0 && loop_new(&loop) == 0 && pl011_new(bus, BASE, &wire, &sink, &uart) == 0);
	if (fuzz_u8(&in) & 1)
		must(pl011_set_view(uart, loop, hyp, 5) == 0);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 7)) {
		case 0: write_at(fuzz_below(&in, 20) * 4, 4, fuzz_u16(&in)); break;
		case 1: write_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in), fuzz_u64(&in)); break;
		case 2: read_at(fuzz_below(&in, 20) * 4, 4); break;
		case 3: read_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in)); break;
		case 4: input(&in); break;
		case 5: room = fuzz_u8(&in) & 1; break;
		case 6: write_at(0x30, 4, 0x301); break;
		}
		look();
	}
	pl011_free(uart);
	must(!fake_kvm_nr_slots(hyp) && !fake_kvm_complaint(hyp));
	loop_free(loop);
	bus_free(bus);
	hyp_free(hyp);
	return 0;
}
