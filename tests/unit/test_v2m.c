// SPDX-License-Identifier: BSD-3-Clause
#include "arch/arm64/v2m.h"

#include <check.h>
#include <errno.h>

#include "tests/unit/irq_check.h"
#include "vmm/core/bus.h"

#define FRAME UINT64_C(0x30040000)
#define TYPER (FRAME + 8)
#define SETSPI (FRAME + V2M_MSI_SETSPI_NS)

static struct hyp *h;
static struct bus *bus;
static struct v2m frame;

static void set_up(void)
{
	h = fake_kvm_new();
	fake_kvm_init(h, 160);
	frame = (struct v2m){ .hyp = h, .spi = 96, .count = 64 };
	ck_assert_int_eq(bus_new(&bus), 0);
	ck_assert_int_eq(v2m_add(&frame, bus, FRAME), 0);
}

static void tear_down(void)
{
	bus_free(bus);
	hyp_free(h);
}

START_TEST(test_v2m_registers_tell_the_frame)
{
	ck_assert_uint_eq(bus_read(bus, TYPER, 4), 128 << 16 | 64);
	ck_assert_uint_eq(bus_read(bus, FRAME + 0xfcc, 4), 0);
	ck_assert_uint_eq(bus_read(bus, SETSPI, 4), 0);
	for (gpa_t off = 0; off < V2M_FRAME_SIZE; off += 4)
		if (off != 8)
			ck_assert_uint_eq(bus_read(bus, FRAME + off, 4), 0);
	ck_assert_uint_eq(bus_read(bus, TYPER, 2), 0);
	ck_assert_uint_eq(bus_read(bus, TYPER, 8), 0);
	ck_assert_int_eq(v2m_add(&frame, bus, FRAME), -EEXIST);
}
END_TEST

START_TEST(test_v2m_write_pulses_the_spi)
{
	for (uint32_t spi = 96; spi < 160; spi++) {
		bus_write(bus, SETSPI, 4, spi + 32);
		bus_write(bus, SETSPI, 2, spi + 32);
		ck_assert_uint_eq(fake_kvm_spis(h, spi), 2);
		ck_assert(!fake_kvm_spi_level(h, spi));
	}
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_IRQ_LINE), 64 * 4);
}
END_TEST

START_TEST(test_v2m_write_outside_the_frame_is_nothing)
{
	static const uint32_t bad[] = { 0, 15, 31, 32, 64, 96, 127, 192, 1019, 8192, UINT32_MAX, 128 | 0x10000 };

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		bus_write(bus, SETSPI, 4, bad[i]);
	bus_write(bus, SETSPI, 1, 128);
	bus_write(bus, SETSPI, 8, 128);
	bus_write(bus, SETSPI + 4, 4, 128);
	bus_write(bus, TYPER, 4, 128);
	for (gpa_t off = 0; off < V2M_FRAME_SIZE; off += 2)
		if (off != V2M_MSI_SETSPI_NS)
			bus_write(bus, FRAME + off, 2, 128);
	ck_assert_uint_eq(fake_kvm_count(h, FAKE_IRQ_LINE), 0);
	ck_assert_uint_eq(bus_read(bus, TYPER, 4), 128 << 16 | 64);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("v2m");
	TCase *t = tcase_create("v2m");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, test_v2m_registers_tell_the_frame);
	tcase_add_test(t, test_v2m_write_pulses_the_spi);
	tcase_add_test(t, test_v2m_write_outside_the_frame_is_nothing);
	suite_add_tcase(s, t);
	return run_suite(s);
}
