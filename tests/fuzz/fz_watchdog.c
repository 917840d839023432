// SPDX-License-Identifier: BSD-3-Clause
/*
 * watchdog: the SP805 and a clock that goes as the input says.
 *
 * Covers: watchdog/sp805.c: all offsets and widths, the counter on and off, the lock, ends of periods that come late.
 *         It is built here once more, with another clock.
 * Oracle: a model that looks at the counter in steps of time, with no timer: the interrupt is there when a period has ended,
 *         the bite when a second one has, never before, and never more than a tick of the coarse clock early; no timer
 *         is left where nothing can come.
 */
#include <time.h>

#include "tests/fuzz/fuzz.h"

static uint64_t host_ns;

#define TICK_NS UINT64_C(4000000) /* of the coarse clock */

static int host_clock(clockid_t id, struct timespec *ts)
{
	uint64_t ns = id == CLOCK_MONOTONIC_COARSE ? host_ns / TICK_NS * TICK_NS : host_ns;

	*ts = (struct timespec){ .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
	return 0;
}

#define clock_gettime host_clock
#include "devices/watchdog/sp805.c"
#undef clock_gettime
#include "tests/fake/one_timer.h"

#define BASE UINT64_C(0x9040000)

static struct bus *bus;
static struct sp805 *dog;
static struct line wire;
static unsigned bites;

/* What the guest wrote. The end of the period lies between these two, as far as the coarse clock tells. */
static struct {
	uint32_t load, control;
	bool ris, locked;
	uint64_t early_ns, late_ns;
} want;

static void bite(void *ctx)
{
	(void)ctx;
	bites++;
}

static uint64_t period(void)
{
	uint64_t ns = (uint64_t)want.load * 125 / 3;

	return ns < 1000000 ? 1000000 : ns;
}

static void model_restart(void)
{
	want.late_ns = host_ns + period();
	want.early_ns = want.late_ns - TICK_NS;
}

static void model_write(uint64_t off, uint32_t v)
{
	uint32_t was = want.control;

	if (off == 0xc00)
		want.locked = v != 0x1acce551;
	if (want.locked)
		return;
	switch (off) {
	case 0x00:
		want.load = v;
		model_restart();
		break;
	case 0x08:
		want.control = v & 3;
		if (v & 1 && !(was & 1))
			model_restart();
		else if (v & 2 && !(was & 2) && want.late_ns <= host_ns + TICK_NS)
			want.early_ns = host_ns - TICK_NS, want.late_ns = host_ns + period(); /* somewhere in its round */
		break;
	case 0x0c:
		want.ris = false;
		model_restart();
		break;
	}
}

static void write_at(uint64_t off, unsigned len, uint64_t val)
{
	bus_write(bus, BASE + off, len, val);
	if (off % 4 == 0 && off + len <= SP805_SIZE)
		model_write(off, (uint32_t)(val & width_mask(len)));
}

static uint32_t rd(uint64_t off)
{
	return (uint32_t)bus_read(bus, BASE + off, 4);
}

/* What may have ended by now, and what must have. */
static void look(void)
{
	bool on = want.control & 1;
	uint32_t ris = rd(0x10);

	must(rd(0x00) == want.load && rd(0x08) == want.control && rd(0xc00) == want.locked);
	must(wire.level == (ris && on) && rd(0x14) == (ris && on));
	must(rd(0x04) <= (on ? want.load : UINT32_MAX));
	if (ris && !want.ris) {
		must(on && want.early_ns <= host_ns);
		want.ris = true;
		/* the guest has a whole period to answer, however late the interrupt came */
		want.early_ns = host_ns + period() - TICK_NS;
		want.late_ns = host_ns + period();
	}
	must(ris == want.ris);
	if (!want.ris && on)
		must(one_timer.delay_ns && host_ns <= want.late_ns);
	if (want.ris && want.control == 3 && !bites)
		must(one_timer.delay_ns && host_ns <= want.late_ns);
	if (bites)
		must(bites == 1 && want.ris && want.early_ns <= host_ns);
}

/* Time passes; a timer that is due fires. */
static void pass(uint64_t ns)
{
	for (unsigned n = 0; ns && n < 16 && !bites; n++)
		if (one_timer_pass(&host_ns, &ns))
			look();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sp805_cfg cfg = { .gpa = BASE, .line = &wire, .bites = bite };
	struct fuzz_in in = { .p = data, .left = size };

	memset(&want, 0, sizeof(want));
	want.load = UINT32_MAX;
	wire.level = false;
	one_timer_reset();
	bites = 0;
	host_ns = NS_PER_SEC + fuzz_u32(&in);
	must(bus_new(&bus) == 0);
	cfg.bus = bus;
	must(sp805_new(&cfg, &dog) == 0);
	while (fuzz_more(&in) && !bites) {
		switch (fuzz_below(&in, 8)) {
		case 0: write_at(0x00, 4, (uint64_t)fuzz_u8(&in) * 1000000); break;
		case 1: write_at(0x08, 4, fuzz_u8(&in)); break;
		case 2: write_at(0x0c, 4, 0); break;
		case 3: write_at(0xc00, 4, fuzz_below(&in, 2) ? 0x1acce551 : 0); break;
		case 4: write_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in), fuzz_u64(&in)); break;
		case 5: (void)bus_read(bus, BASE + (fuzz_u16(&in) & 0xfff), fuzz_good_width(&in)); break;
		case 6: pass((uint64_t)fuzz_u8(&in) * NS_PER_SEC / 64); break;
		case 7: pass(fuzz_u8(&in) * UINT64_C(100000)); break;
		}
		look();
	}
	sp805_free(dog);
	must(!one_timer.t);
	bus_free(bus);
	return 0;
}
