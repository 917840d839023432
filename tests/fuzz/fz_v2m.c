// SPDX-License-Identifier: BSD-3-Clause
/*
 * v2m: a GICv2m frame that the guest's CPUs write to.
 *
 * Covers: arch/arm64/v2m.c, with any frame, offset, width and value.
 * Oracle: an SPI is pulsed where the frame's one register was written with the INTID of an SPI of the
 *         frame, that SPI alone, up and down again; else no call is made; registers read as the
 *         binding says.
 */
#include "tests/fuzz/fuzz.h"

#include "arch/arm64/v2m.h"
#include "tests/fake/kvm.h"
#include "vmm/core/bus.h"
#include "vmm/core/gsi.h"

#define FRAME UINT64_C(0x30040000)
#define NR_SPIS 256

static struct hyp *hyp;
static struct bus *bus;
static struct v2m frame;

static UNTRACED void write_at(uint64_t off, unsigned len, uint64_t val)
{
	uint64_t before = fake_kvm_count(hyp, FAKE_IRQ_LINE), pulses[NR_SPIS];
	uint64_t v = val & width_mask(len);
	bool hit = off == 0x40 && (len == 2 || len == 4) && v >= frame.spi + 32 && v - frame.spi - 32 < frame.count;

	for (uint32_t i = 0; i < NR_SPIS; i++)
		pulses[i] = fake_kvm_spis(hyp, i);
	bus_write(bus, FRAME + off, len, val);
	must(fake_kvm_count(hyp, FAKE_IRQ_LINE) == before + (hit ? 2 : 0));
	for (uint32_t i = 0; i < NR_SPIS; i++) {
		must(fake_kvm_spis(hyp, i) == pulses[i] + (hit && i == v - 32));
		must(!fake_kvm_spi_level(hyp, i));
	}
}

static void read_at(uint64_t off, unsigned len)
{
	uint64_t want = off == 8 && len == 4 ? (frame.spi + 32) << 16 | frame.count : 0;

	if (off + len <= V2M_FRAME_SIZE)
		must(bus_read(bus, FRAME + off, len) == want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	hyp = fake_kvm_new();
	fake_kvm_init(hyp, NR_SPIS);
	frame = (struct v2m){ .hyp = hyp, .spi = fuzz_u8(&in) };
	frame.count = 1 + fuzz_u8(&in) % (NR_SPIS - frame.spi);
	must(bus_new(&bus) == 0 && v2m_add(&frame, bus, FRAME) == 0);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 4)) {
		case 0: write_at(0x40, fuzz_good_width(&in), fuzz_u16(&in) & 0x1ff); break;
		case 1: write_at(0x40, fuzz_good_width(&in), fuzz_u64(&in)); break;
		case 2: write_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in), fuzz_u16(&in) & 0x1ff); break;
		case 3: read_at(fuzz_u16(&in) & 0xfff, fuzz_good_width(&in)); break;
		}
	}
	must(!fake_kvm_complaint(hyp));
	bus_free(bus);
	hyp_free(hyp);
	return 0;
}
