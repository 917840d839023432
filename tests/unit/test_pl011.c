// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/serial/pl011.h"
#include "tests/fake/kvm.h"
#include "vmm/core/loop.h"

#define BASE UINT64_C(0x9000000)
#define DR 0x00
#define FR 0x18
#define LCR_H 0x2c
#define CR 0x30
#define IFLS 0x34
#define IMSC 0x38
#define RIS 0x3c
#define MIS 0x40
#define ICR 0x44

#define FR_RXFE 0x10u
#define FR_TXFF 0x20u
#define FR_RXFF 0x40u
#define FR_TXFE 0x80u
#define FR_BUSY 0x08u

#define RX 0x10u
#define TX 0x20u
#define RT 0x40u

static struct bus *bus;
static struct pl011 *uart;
static struct line wire;
static char out[64];
static size_t out_len, out_room;
static unsigned rooms;

/* Instead of vmm/core/line.c: the wire as such. */
void line_set(struct line *l, bool level)
{
	l->level = level;
}

static size_t sink_write(void *ctx, const void *buf, size_t len)
{
	(void)ctx;
	ck_assert_uint_eq(len, 1);
	if (out_len >= out_room)
		return 0;
	out[out_len++] = *(const char *)buf;
	return 1;
}

static void sink_room(void *ctx)
{
	(void)ctx;
	rooms++;
	/* must be callable from here: no lock is held */
	(void)bus_read(bus, BASE + FR, 4);
}

static const struct console_sink sink = { .write = sink_write, .input_room = sink_room };

static uint32_t rd(uint64_t off)
{
	return (uint32_t)bus_read(bus, BASE + off, 4);
}

static void wr(uint64_t off, uint32_t val)
{
	bus_write(bus, BASE + off, 4, val);
}

static void setup(void)
{
	ck_assert_int_eq(bus_new(&bus), 0);
	ck_assert_int_eq(pl011_new(bus, BASE, &wire, &sink, &uart), 0);
	out_len = 0;
	out_room = sizeof(out);
	rooms = 0;
	wire.level = false;
}

static void teardown(void)
{
	pl011_free(uart);
	bus_free(bus);
}

/* As amba-pl011 opens the port. */
static void open_port(void)
{
	wr(LCR_H, 0x70);
	wr(CR, 0x301);
}

static size_t put(const char *text)
{
	return pl011_input(uart, (const uint8_t *)text, strlen(text));
}

START_TEST(test_pl011_ids_are_those_of_r1p5)
{
	static const uint8_t ids[] = { 0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(rd(0xfe0 + 4 * i), ids[i]);
}
END_TEST

START_TEST(test_pl011_write_before_open_is_heard)
{
	bus_write(bus, BASE + DR, 1, 'a');
	bus_write(bus, BASE + DR, 2, 'b');
	wr(DR, 'c');
	bus_write(bus, BASE + DR, 8, 'd');
	ck_assert_mem_eq(out, "abcd", 4);
	ck_assert_uint_eq(out_len, 4);
	ck_assert_uint_eq(rd(FR) & (FR_TXFF | FR_BUSY | FR_TXFE), FR_TXFE);
}
END_TEST

START_TEST(test_pl011_sink_full_drops_and_counts)
{
	out_room = 2;
	for (int i = 0; i < 5; i++)
		wr(DR, 'x');
	ck_assert_uint_eq(pl011_dropped(uart), 3);
	ck_assert_uint_eq(rd(FR) & FR_TXFF, 0);
}
END_TEST

START_TEST(test_pl011_transmit_interrupt_follows_mask_and_clear)
{
	open_port();
	ck_assert_uint_eq(rd(RIS), 0);
	wr(DR, 'x');
	ck_assert_uint_eq(rd(RIS), TX);
	ck_assert_uint_eq(rd(MIS), 0);
	ck_assert(!wire.level);
	wr(IMSC, TX);
	ck_assert_uint_eq(rd(MIS), TX);
	ck_assert(wire.level);
	wr(ICR, TX);
	ck_assert(!wire.level);
	wr(DR, 'y');
	ck_assert(wire.level);
	wr(IMSC, 0);
	ck_assert(!wire.level);
}
END_TEST

START_TEST(test_pl011_input_to_a_closed_port_waits)
{
	ck_assert_uint_eq(put("abc"), 0);
	ck_assert_uint_eq(rd(DR), 0);
	ck_assert_uint_eq(rooms, 0);
	open_port();
	ck_assert_uint_eq(rooms, 1);
	ck_assert_uint_eq(put("abc"), 3);
	ck_assert_uint_eq(rd(FR) & FR_RXFE, 0);
	ck_assert_uint_eq(rd(DR), 'a');
	ck_assert_uint_eq(rd(DR), 'b');
	ck_assert_uint_eq(rd(DR), 'c');
	ck_assert_uint_eq(rd(FR) & FR_RXFE, FR_RXFE);
	ck_assert_uint_eq(rd(DR), 0);
	ck_assert_uint_eq(rooms, 1);
}
END_TEST

START_TEST(test_pl011_receive_interrupts_follow_the_fifo)
{
	open_port();
	wr(IMSC, RX | RT);
	ck_assert_uint_eq(put("0123456789abcde"), 15);
	ck_assert_uint_eq(rd(MIS), RT);
	ck_assert(wire.level);
	ck_assert_uint_eq(put("f"), 1);
	ck_assert_uint_eq(rd(MIS), RX | RT);
	(void)rd(DR);
	ck_assert_uint_eq(rd(MIS), RT);
	wr(ICR, RT);
	ck_assert(!wire.level);
	ck_assert_uint_eq(put("g"), 1);
	for (int i = 0; i < 16; i++) {
		ck_assert(wire.level);
		(void)rd(DR);
	}
	ck_assert_uint_eq(rd(RIS), 0);
	ck_assert(!wire.level);
}
END_TEST

START_TEST(test_pl011_fifo_full_takes_no_more_and_says_when_empty)
{
	uint8_t buf[40];

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i + 1);
	open_port();
	ck_assert_uint_eq(pl011_input(uart, buf, sizeof(buf)), 32);
	ck_assert_uint_eq(rd(FR) & FR_RXFF, FR_RXFF);
	ck_assert_uint_eq(pl011_input(uart, buf, 1), 0);
	for (unsigned i = 0; i < 32; i++) {
		ck_assert_uint_eq(rooms, 0);
		ck_assert_uint_eq(rd(DR), i + 1);
	}
	ck_assert_uint_eq(rooms, 1);
	ck_assert_uint_eq(pl011_input(uart, buf + 32, 8), 8);
	for (unsigned i = 32; i < 40; i++)
		ck_assert_uint_eq(rd(DR), i + 1);
	ck_assert_uint_eq(rooms, 1);
}
END_TEST

START_TEST(test_pl011_fifo_off_holds_one_byte)
{
	open_port();
	ck_assert_uint_eq(put("abc"), 3);
	wr(LCR_H, 0x60);
	ck_assert_uint_eq(rd(FR) & FR_RXFE, FR_RXFE);
	ck_assert_uint_eq(put("xyz"), 1);
	ck_assert_uint_eq(rd(RIS) & (RX | RT), RX | RT);
	ck_assert_uint_eq(rd(FR) & FR_RXFF, FR_RXFF);
	ck_assert_uint_eq(rd(DR), 'x');
	ck_assert_uint_eq(rooms, 1);
}
END_TEST

START_TEST(test_pl011_narrow_reads_take_their_bytes_only)
{
	open_port();
	put("q");
	wr(IFLS, 0x3f);
	ck_assert_uint_eq(bus_read(bus, BASE + DR + 1, 1), 0);
	ck_assert_uint_eq(bus_read(bus, BASE + DR + 2, 2), 0);
	ck_assert_uint_eq(bus_read(bus, BASE + CR + 1, 1), 0x03);
	ck_assert_uint_eq(bus_read(bus, BASE + CR, 1), 0x01);
	ck_assert_uint_eq(bus_read(bus, BASE + DR, 1), 'q');
}
END_TEST

START_TEST(test_pl011_random_accesses_stay_inside)
{
	uint8_t buf[50] = { 1 };

	srand(7);
	for (int i = 0; i < 30000; i++) {
		uint64_t off = (uint64_t)(rand() % (rand() % 4 ? 0x50 : PL011_SIZE));
		unsigned len = 1u << rand() % 4;

		out_len = 0;
		if (rand() % 2)
			bus_write(bus, BASE + off, len, (uint64_t)rand() << 20 ^ (uint64_t)rand());
		else
			(void)bus_read(bus, BASE + off, len);
		if (i % 5 == 0)
			ck_assert_uint_le(pl011_input(uart, buf, (size_t)rand() % sizeof(buf)), 32);
		ck_assert(wire.level == !!rd(MIS));
	}
}
END_TEST

/* What the guest finds in the view and what the bus says, for all but DR. */
static void check_view(struct hyp *hyp)
{
	uint64_t val;

	for (unsigned off = 4; off < PL011_SIZE; off += 4) {
		ck_assert(fake_kvm_guest_read(hyp, BASE + off, 4, &val));
		ck_assert_uint_eq(val, rd(off));
	}
	ck_assert(fake_kvm_guest_read(hyp, BASE + DR, 4, &val));
	ck_assert_uint_eq(val, 0);
}

START_TEST(test_pl011_view_until_input)
{
	struct hyp *hyp = fake_kvm_new();
	struct loop *loop;
	uint64_t val;

	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(pl011_set_view(uart, loop, hyp, 3), 0);
	wr(DR, 'a');
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), 0); /* nobody has read */
	rd(FR);
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), 1);
	check_view(hyp);
	open_port();
	wr(IMSC, TX | RX | RT);
	check_view(hyp);
	wr(DR, 'b');
	ck_assert_uint_eq(rd(MIS), TX);
	check_view(hyp);
	wr(ICR, TX);
	for (unsigned off = 4; off < 0x50; off += 4)
		wr(off, 0xa5a5a5a5u << (off % 5));
	check_view(hyp);
	open_port();
	ck_assert_uint_eq(put("x"), 1);
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), 0);
	ck_assert_uint_eq(rd(FR) & FR_RXFE, 0);
	ck_assert_uint_eq(rd(DR), 'x');
	ck_assert(!fake_kvm_guest_read(hyp, BASE + FR, 4, &val)); /* for good */
	pl011_free(uart);
	uart = NULL;
	hyp_free(hyp);
	loop_free(loop);
}
END_TEST

START_TEST(test_pl011_view_goes_with_it)
{
	struct hyp *hyp = fake_kvm_new();
	struct loop *loop;

	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(pl011_set_view(uart, loop, hyp, 3), 0);
	rd(FR);
	pl011_free(uart);
	uart = NULL;
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), 0);
	hyp_free(hyp);
	loop_free(loop);
}
END_TEST

START_TEST(test_pl011_place_taken_is_an_error)
{
	struct pl011 *second = NULL;

	ck_assert_int_eq(pl011_new(bus, BASE, &wire, &sink, &second), -EEXIST);
	ck_assert_ptr_null(second);
	pl011_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pl011");
	TCase *tc = tcase_create("pl011");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_pl011_ids_are_those_of_r1p5);
	tcase_add_test(tc, test_pl011_write_before_open_is_heard);
	tcase_add_test(tc, test_pl011_sink_full_drops_and_counts);
	tcase_add_test(tc, test_pl011_transmit_interrupt_follows_mask_and_clear);
	tcase_add_test(tc, test_pl011_input_to_a_closed_port_waits);
	tcase_add_test(tc, test_pl011_receive_interrupts_follow_the_fifo);
	tcase_add_test(tc, test_pl011_fifo_full_takes_no_more_and_says_when_empty);
	tcase_add_test(tc, test_pl011_fifo_off_holds_one_byte);
	tcase_add_test(tc, test_pl011_narrow_reads_take_their_bytes_only);
	tcase_add_test(tc, test_pl011_random_accesses_stay_inside);
	tcase_add_test(tc, test_pl011_view_until_input);
	tcase_add_test(tc, test_pl011_view_goes_with_it);
	tcase_add_test(tc, test_pl011_place_taken_is_an_error);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
