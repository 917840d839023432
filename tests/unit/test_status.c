// SPDX-License-Identifier: BSD-3-Clause
/* The port for the guest's status: what the driver is told, and what it may write. */
#include "devices/virtio/status.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_console.h>

#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "vmm/base/log.h"

#define RAM 0x80000000
#define DATA (RAM + 0x10000)
#define MULTIPORT BIT64(VIRTIO_CONSOLE_F_MULTIPORT)
enum { RX, TX, CONTROL_RX, CONTROL_TX, NR_QUEUES };

static struct loop *loop;
static struct gmem *mem;
static struct vdev *dev;
static struct fake_ring rings[NR_QUEUES];
static int last;
static unsigned sets, inits;

static void set(void *ctx, unsigned status)
{
	ck_assert_ptr_eq(ctx, &sets);
	last = (int)status;
	sets++;
}

static void irq_queue(void *t, unsigned q)
{
	(void)t, (void)q;
}

static void irq_config(void *t)
{
	(void)t;
}

static const struct vdev_irq irq = { .queue = irq_queue, .config = irq_config };

static void init(void *ctx)
{
	ck_assert_ptr_eq(ctx, &sets);
	inits++;
}

static void make(void)
{
	struct status_cfg cfg = { .name = "status0", .set = set, .init = init, .ctx = &sets };

	last = -1;
	sets = inits = 0;
	log_init(2, LOG_ERROR, LOG_TEXT);
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(gmem_new(&mem), 0);
	ck_assert_int_eq(gmem_add(mem, RAM, 4 * MIB, false), 0);
	cfg.loop = loop;
	cfg.mem = mem;
	ck_assert_int_eq(status_new(&cfg, &dev), 0);
	vdev_set_irq(dev, &irq, NULL);
}

static void drop(void)
{
	vdev_free(dev);
	loop_free(loop);
	gmem_free(mem);
}

static void start(uint64_t features)
{
	for (unsigned q = 0; q < NR_QUEUES; q++) {
		fake_ring_init(&rings[q], mem, RAM + q * 0x4000, 16);
		fake_ring_give(&rings[q], dev, q);
	}
	ck_assert_int_eq(fake_vdev_start(dev, features | BIT64(VIRTIO_F_VERSION_1)), 0);
	fake_loop_turn(loop);
}

static void kick(unsigned q)
{
	vdev_notify(dev, q);
	while (fake_loop_turn(loop))
		continue;
}

/* One chain of one part to queue @q. */
static void put(unsigned q, const void *data, uint32_t len)
{
	ck_assert_int_eq(gmem_write(mem, DATA, data, len), 0);
	fake_ring_add(&rings[q], (const struct fake_part[]){ { DATA, len, false } }, 1);
	kick(q);
	ck_assert(fake_ring_used(&rings[q], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
}

static void message(uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control m = { htole32(id), htole16(event), htole16(value) };

	put(CONTROL_TX, &m, sizeof(m));
}

static void text(const char *t)
{
	put(TX, t, (uint32_t)strlen(t));
}

static void offer(uint32_t len)
{
	fake_ring_add(&rings[CONTROL_RX], (const struct fake_part[]){ { DATA + 0x1000, len, true } }, 1);
}

static void expect(uint16_t event, const char *behind)
{
	struct { struct virtio_console_control m; char text[32]; } got = { 0 };
	uint32_t id, len;

	ck_assert(fake_ring_used(&rings[CONTROL_RX], &id, &len));
	ck_assert_uint_eq(len, sizeof(got.m) + strlen(behind));
	ck_assert_int_eq(gmem_read(mem, DATA + 0x1000 + 0x100 * id, &got, len), 0);
	ck_assert_uint_eq(le32toh(got.m.id), 0);
	ck_assert_uint_eq(le16toh(got.m.event), event);
	ck_assert_uint_eq(le16toh(got.m.value), 1);
	ck_assert_str_eq(got.text, behind);
}

static void open_port(void)
{
	start(MULTIPORT);
	for (uint32_t i = 0; i < 16; i++)
		fake_ring_add(&rings[CONTROL_RX], (const struct fake_part[]){ { DATA + 0x1000 + 0x100 * i, 0x100, true } }, 1);
	message(UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(VIRTIO_CONSOLE_PORT_ADD, "");
	message(0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(VIRTIO_CONSOLE_PORT_NAME, "microvm.status");
	expect(VIRTIO_CONSOLE_PORT_OPEN, "");
	message(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert(!fake_ring_used(&rings[CONTROL_RX], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
}

START_TEST(test_status_driver_learns_of_one_named_open_port)
{
	ck_assert_uint_eq(vdev_config_read(dev, offsetof(struct virtio_console_config, max_nr_ports), 4), 1);
	ck_assert_uint_eq(vdev_config_read(dev, 0, 4), 0);
	open_port();
	text("42\n");
	ck_assert_uint_eq(sets, 1);
	ck_assert_int_eq(last, 42);
}
END_TEST

START_TEST(test_status_lines_that_are_numbers_count)
{
	static const struct { const char *text; int status; } t[] = {
		{ "0\n", 0 }, { "120\n", 120 }, { "007\r\n", 7 }, { "1\n2\n3\n", 3 }, { "\n\n5\n\n", 5 }, { "x\n9\n", 9 },
		{ "121\n", -1 }, { "-1\n", -1 }, { " 1\n", -1 }, { "1 \n", -1 }, { "1234\n", -1 }, { "0001\n", -1 }, { "\n", -1 },
		{ "\r\n", -1 }, { "1x\n", -1 }, { "x1\n", -1 }, { "999999999999999999999999\n", -1 }, { "7", -1 }, { "1.5\n", -1 },
	};

	open_port();
	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		message(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
		last = -1;
		text(t[i].text);
		ck_assert_msg(last == t[i].status, "'%s' gave %d", t[i].text, last);
	}
}
END_TEST

START_TEST(test_status_line_init_is_told)
{
	static const char *const none[] = { "ini\n", "initt\n", "init1\n", "1init\n", "iinit\n", "in1t\n", " init\n", "INIT\n", "init" };

	open_port();
	for (unsigned i = 0; i < ARRAY_LEN(none); i++) {
		message(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
		text(none[i]);
		ck_assert_msg(!inits && !sets, "'%s' was taken", none[i]);
	}
	text("\n");
	text("in");
	text("it\r\n7\n");
	ck_assert_uint_eq(inits, 2);
	ck_assert_int_eq(last, 7);
}
END_TEST

START_TEST(test_status_line_comes_in_pieces_and_opening_forgets_it)
{
	open_port();
	text("1");
	text("2");
	text("\n");
	ck_assert_int_eq(last, 12);
	text("9");
	message(1, VIRTIO_CONSOLE_PORT_OPEN, 1); /* another port */
	text("9");
	message(0, VIRTIO_CONSOLE_PORT_OPEN, 0);
	text("5\n");
	ck_assert_int_eq(last, 5);
}
END_TEST

START_TEST(test_status_long_chains_are_looked_at_in_part)
{
	char buf[1000];

	open_port();
	memset(buf, '\n', sizeof(buf));
	buf[STATUS_CHAIN_BYTES - 2] = '6';
	buf[STATUS_CHAIN_BYTES] = '7';
	put(TX, buf, sizeof(buf));
	ck_assert_int_eq(last, 6);
	ck_assert_uint_eq(sets, 1);
}
END_TEST

START_TEST(test_status_messages_wait_for_a_buffer_and_do_not_pile_up)
{
	start(MULTIPORT);
	for (int i = 0; i < 1000; i++) {
		message(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
		message(0, VIRTIO_CONSOLE_PORT_READY, 1);
	}
	for (uint32_t i = 0; i < 8; i++)
		fake_ring_add(&rings[CONTROL_RX], (const struct fake_part[]){ { DATA + 0x1000 + 0x100 * i, 0x100, true } }, 1);
	kick(CONTROL_RX);
	expect(VIRTIO_CONSOLE_PORT_ADD, "");
	expect(VIRTIO_CONSOLE_PORT_NAME, "microvm.status");
	expect(VIRTIO_CONSOLE_PORT_OPEN, "");
	ck_assert(!fake_ring_used(&rings[CONTROL_RX], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
}
END_TEST

START_TEST(test_status_other_messages_are_nothing)
{
	open_port();
	for (unsigned event = 0; event < 300; event++) {
		message(1, (uint16_t)event, event != VIRTIO_CONSOLE_DEVICE_READY);
		if (event != VIRTIO_CONSOLE_DEVICE_READY && event != VIRTIO_CONSOLE_PORT_READY)
			message(0, (uint16_t)event, 1);
	}
	put(CONTROL_TX, "\0\0\0\0\0\0\1", 7); /* too short */
	ck_assert(!fake_ring_used(&rings[CONTROL_RX], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
	ck_assert_uint_eq(sets, 0);
	ck_assert(!(vdev_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET));
}
END_TEST

START_TEST(test_status_buffer_too_small_is_a_fault_that_a_reset_heals)
{
	start(MULTIPORT);
	offer(7);
	message(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	ck_assert(vdev_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fake_vdev_reset(dev);
	open_port();
	text("3\n");
	ck_assert_int_eq(last, 3);
}
END_TEST

START_TEST(test_status_bad_chains_are_faults)
{
	for (unsigned q = TX; q < NR_QUEUES; q++) {
		if (q == CONTROL_RX)
			continue;
		start(MULTIPORT);
		fake_ring_add(&rings[q], (const struct fake_part[]){ { 0x1000, 4, false } }, 1);
		kick(q);
		ck_assert(vdev_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET);
		fake_vdev_reset(dev);
	}
}
END_TEST

START_TEST(test_status_driver_without_multiport_has_a_mute_console)
{
	start(0);
	text("5\n");
	ck_assert_uint_eq(sets, 0);
	fake_ring_add(&rings[CONTROL_TX], (const struct fake_part[]){ { DATA, 8, false } }, 1);
	kick(CONTROL_TX);
	ck_assert(!fake_ring_used(&rings[CONTROL_TX], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
}
END_TEST

START_TEST(test_status_survives_its_device)
{
	open_port();
	text("8\n4");
	fake_vdev_reset(dev);
	ck_assert_int_eq(last, 8);
	open_port();
	text("\n");
	ck_assert_int_eq(last, 8);
}
END_TEST

/* The kick has not been seen: the guest powered off, or reset the device, right behind it. */
START_TEST(test_status_what_was_written_last_counts)
{
	open_port();
	ck_assert_int_eq(gmem_write(mem, DATA, "11\n22\n", 6), 0);
	fake_ring_add(&rings[TX], (const struct fake_part[]){ { DATA, 3, false } }, 1);
	ck_assert_uint_eq(sets, 0);
	status_drain(dev);
	ck_assert_int_eq(last, 11);
	fake_ring_add(&rings[TX], (const struct fake_part[]){ { DATA + 3, 3, false } }, 1);
	fake_vdev_reset(dev);
	ck_assert_int_eq(last, 22);
	ck_assert_uint_eq(sets, 2);
	status_drain(dev);
	start(MULTIPORT);
	fake_ring_add(&rings[TX], (const struct fake_part[]){ { 0x1000, 3, false } }, 1);
	status_drain(dev);
	fake_vdev_reset(dev);
	ck_assert_uint_eq(sets, 2);
}
END_TEST

START_TEST(test_status_a_full_ring_is_taken_in_turns)
{
	open_port();
	ck_assert_int_eq(gmem_write(mem, DATA, "1\n", 2), 0);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 16; i++)
			fake_ring_add(&rings[TX], (const struct fake_part[]){ { DATA, 2, false } }, 1);
		kick(TX);
		for (unsigned i = 0; i < 16; i++)
			ck_assert(fake_ring_used(&rings[TX], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
	}
	ck_assert_uint_eq(sets, 640);
}
END_TEST

START_TEST(test_status_no_descriptor_is_an_error)
{
	struct status_cfg cfg = { .name = "status0", .loop = loop, .mem = mem, .set = set };
	struct vdev *second = NULL;

	fake_loop_fail_init(loop, 2, -ENOSPC);
	ck_assert_int_eq(status_new(&cfg, &second), -ENOSPC);
	ck_assert_ptr_null(second);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("status");
	TCase *tc = tcase_create("status");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, make, drop);
	tcase_add_test(tc, test_status_driver_learns_of_one_named_open_port);
	tcase_add_test(tc, test_status_lines_that_are_numbers_count);
	tcase_add_test(tc, test_status_line_init_is_told);
	tcase_add_test(tc, test_status_line_comes_in_pieces_and_opening_forgets_it);
	tcase_add_test(tc, test_status_long_chains_are_looked_at_in_part);
	tcase_add_test(tc, test_status_messages_wait_for_a_buffer_and_do_not_pile_up);
	tcase_add_test(tc, test_status_other_messages_are_nothing);
	tcase_add_test(tc, test_status_buffer_too_small_is_a_fault_that_a_reset_heals);
	tcase_add_test(tc, test_status_bad_chains_are_faults);
	tcase_add_test(tc, test_status_driver_without_multiport_has_a_mute_console);
	tcase_add_test(tc, test_status_survives_its_device);
	tcase_add_test(tc, test_status_what_was_written_last_counts);
	tcase_add_test(tc, test_status_a_full_ring_is_taken_in_turns);
	tcase_add_test(tc, test_status_no_descriptor_is_an_error);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
