// SPDX-License-Identifier: BSD-3-Clause
/*
 * rtc: the PL031 and a host's clock that goes as the input says.
 *
 * Covers: rtc/pl031.c: all offsets and widths, the counter across 2^32, alarms in the past and in the
 *         far future, a clock that is set while an alarm is awaited. It is built here once more, with
 *         another clock: the fuzzer needs the true one, at any moment.
 * Oracle: a model of counter, match and interrupt; an alarm that is awaited has a timer which fires
 *         not later than the host's clock gets there, and none is left where none is awaited; when
 *         the match comes the interrupt is there, once.
 */
#include "tests/fuzz/fuzz.h"

#include <time.h>

#include "vmm/base/clock.h"

static uint64_t now_ns; /* the host's date */

static int host_date(clockid_t id, struct timespec *ts)
{
	must(id == CLOCK_REALTIME_COARSE);
	*ts = (struct timespec){ .tv_sec = (time_t)(now_ns / NS_PER_SEC), .tv_nsec = (long)(now_ns % NS_PER_SEC) };
	return 0;
}

#define clock_gettime host_date
#include "devices/rtc/pl031.c"
#undef clock_gettime
#include "tests/fake/one_timer.h"

#define BASE UINT64_C(0x9010000)

static struct bus *bus;
static struct pl031 *rtc;
static struct line wire;

static struct {
	uint32_t offset, mr, lr, imsc, ris;
	bool armed;
} want;

static uint32_t counter(void)
{
	return (uint32_t)(now_ns / NS_PER_SEC) + want.offset;
}

/* The alarm is looked at: when it was set, or when the timer fired (@late: it may have been missed). */
static void model_alarm(bool late)
{
	uint32_t left = want.mr - counter();

	if (!want.armed || (left && !(late && left >= 0x80000000)))
		return;
	want.armed = false;
	want.ris = 1;
}

static uint32_t model_read(uint64_t off)
{
	static const uint8_t ids[8] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	switch (off) {
	case 0x00: return counter();
	case 0x04: return want.mr;
	case 0x08: return want.lr;
	case 0x0c: return 1;
	case 0x10: return want.imsc;
	case 0x14: return want.ris;
	case 0x18: return want.ris & want.imsc;
	default: return off >= 0xfe0 ? ids[(off - 0xfe0) / 4] : 0;
	}
}

static void write_at(uint64_t off, unsigned len, uint64_t val)
{
	uint32_t v = (uint32_t)(val & width_mask(len));

	bus_write(bus, BASE + off, len, val);
	if (off % 4 || off + len > PL031_SIZE)
		return;
	switch (off) {
	case 0x04:
		want.mr = v;
		want.armed = true;
		model_alarm(false);
		break;
	case 0x08:
		want.offset += v - counter();
		want.lr = v;
		must(counter() == v);
		model_alarm(false);
		break;
	case 0x10: want.imsc = v & 1; break;
	case 0x1c: want.ris &= ~v; break;
	}
}

static void read_at(uint64_t off, unsigned len)
{
	if (off + len <= PL031_SIZE)
		must(bus_read(bus, BASE + off, len) ==
		     ((uint64_t)model_read(off & ~UINT64_C(3)) >> off % 4 * 8 & width_mask(len)));
}

/* Time passes; a timer that is due fires. */
static void pass(uint64_t ns)
{
	if (one_timer_pass(&now_ns, &ns))
		model_alarm(true);
}

static void look(void)
{
	uint32_t left = want.mr - counter();

	must(wire.level == !!(want.ris & want.imsc));
	must(!!one_timer.delay_ns == want.armed);
	read_at(0x14, 4);
	if (want.armed && left && left < 0x80000000) /* set forward over it: late, by as much */
		must(one_timer.delay_ns <= (uint64_t)left * NS_PER_SEC + 86400 * NS_PER_SEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	memset(&want, 0, sizeof(want));
	wire.level = false;
	one_timer_reset();
	now_ns = (uint64_t)fuzz_u32(&in) * NS_PER_SEC + fuzz_u32(&in) % NS_PER_SEC;
	must(bus_new(&bus) == 0 && pl031_new(bus, NULL, BASE, &wire, &rtc) == 0);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 7)) {
		case 0: write_at(fuzz_below(&in, 8) * 4, 4, fuzz_u32(&in)); break;
		case 1: write_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in), fuzz_u64(&in)); break;
		case 2: read_at(fuzz_below(&in, 8) * 4, 4); break;
		case 3: read_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in)); break;
		case 4: write_at(0x04, 4, counter() + (uint32_t)(int8_t)fuzz_u8(&in)); break;
		case 5: pass((uint64_t)fuzz_u8(&in) * NS_PER_SEC / 16); break;
		case 6: now_ns += (uint64_t)fuzz_u8(&in) * NS_PER_SEC; break; /* the host's date is set, to a later one */
		}
		look();
	}
	pl031_free(rtc);
	must(!one_timer.t);
	bus_free(bus);
	return 0;
}
