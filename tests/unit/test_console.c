// SPDX-License-Identifier: BSD-3-Clause
/* The virtio console: both queues against a driver that is polite, slow, and hostile. */
#include "devices/virtio/console.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "vmm/base/log.h"

#define RAM 0x80000000
#define DATA (RAM + 0x10000)
#define EVENT_IDX BIT64(VIRTIO_RING_F_EVENT_IDX)
enum { RX, TX };

static struct loop *loop;
static struct gmem *mem;
static struct vdev *con;
static struct fake_ring rings[2];
static unsigned irqs[2], config_irqs;

/* The sink */
static char got[1 << 20];
static size_t got_len, space;
static unsigned input_rooms, closes, writes;

static size_t sink_write(void *ctx, const void *buf, size_t len)
{
	ck_assert_ptr_eq(ctx, &space);
	writes++;
	if (len > space)
		len = space;
	if (len > sizeof(got) - got_len)
		got_len = 0;
	memcpy(got + got_len, buf, len);
	got_len += len;
	space -= len;
	return len;
}

static void sink_room(void *ctx)
{
	(void)ctx;
	input_rooms++;
}

static void sink_closed(void *ctx)
{
	(void)ctx;
	closes++;
}

static void irq_queue(void *t, unsigned q)
{
	(void)t;
	irqs[q]++;
}

static void irq_config(void *t)
{
	(void)t;
	config_irqs++;
}

static const struct vdev_irq irq = { .queue = irq_queue, .config = irq_config };

static void make(void)
{
	static const struct console_sink sink = {
		.write = sink_write, .input_room = sink_room, .closed = sink_closed, .ctx = &space,
	};
	struct console_cfg cfg = { .name = "console0", .sink = &sink };

	got_len = 0;
	space = sizeof(got);
	input_rooms = closes = writes = irqs[RX] = irqs[TX] = config_irqs = 0;
	log_init(2, LOG_ERROR, LOG_TEXT);
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(gmem_new(&mem), 0);
	ck_assert_int_eq(gmem_add(mem, RAM, 4 * MIB, false), 0);
	cfg.loop = loop;
	cfg.mem = mem;
	ck_assert_int_eq(console_new(&cfg, &con), 0);
	vdev_set_irq(con, &irq, NULL);
}

static void drop(void)
{
	vdev_free(con);
	loop_free(loop);
	gmem_free(mem);
}

static void start(uint64_t features)
{
	fake_ring_init(&rings[RX], mem, RAM, 16);
	fake_ring_init(&rings[TX], mem, RAM + 0x4000, 16);
	fake_ring_give(&rings[RX], con, RX);
	fake_ring_give(&rings[TX], con, TX);
	ck_assert_int_eq(fake_vdev_start(con, features | BIT64(VIRTIO_F_VERSION_1)), 0);
}

/* A chain of one part with @text, at @at. */
static uint16_t send_at(gpa_t at, const char *text)
{
	struct fake_part part = { at, (uint32_t)strlen(text), false };

	ck_assert_int_eq(gmem_write(mem, at, text, strlen(text)), 0);
	return fake_ring_add(&rings[TX], &part, 1);
}

static uint16_t buffer_at(gpa_t at, uint32_t len)
{
	struct fake_part part = { at, len, true };

	return fake_ring_add(&rings[RX], &part, 1);
}

static void kick(unsigned q)
{
	vdev_notify(con, q);
	fake_loop_turn(loop);
}

static size_t input(const char *text)
{
	return console_input(con, (const uint8_t *)text, strlen(text));
}

/* The used ring's next element must be @id, @len. */
#define USED(q, id, n) \
	do { \
		uint32_t _id = 0, _len = 0; \
		ck_assert(fake_ring_used(&rings[q], &_id, &_len)); \
		ck_assert_uint_eq(_id, (id)); \
		ck_assert_uint_eq(_len, (n)); \
	} while (0)
#define NONE_USED(q) \
	do { \
		uint32_t _id, _len; \
		ck_assert(!fake_ring_used(&rings[q], &_id, &_len)); \
	} while (0)
#define GOT(text) \
	do { \
		ck_assert_uint_eq(got_len, strlen(text)); \
		ck_assert_mem_eq(got, text, got_len); \
	} while (0)

static bool needs_reset(void)
{
	return vdev_status(con) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

START_TEST(test_console_offers_one_port_with_a_size)
{
	ck_assert_uint_eq(con->type, 3);
	ck_assert_uint_eq(con->nr_queues, 2);
	ck_assert_uint_eq(vdev_features(con, 0) & 0xffffff, 1); /* SIZE; not MULTIPORT, not EMERG_WRITE */
	ck_assert_uint_eq(vdev_config_read(con, 0, 4), 0);
	ck_assert_uint_eq(vdev_config_read(con, 4, 8), 0);
}
END_TEST

START_TEST(test_console_output_reaches_the_sink_in_order)
{
	uint16_t a, b;

	start(EVENT_IDX);
	a = send_at(DATA, "hello, ");
	b = send_at(DATA + 64, "world\n");
	kick(TX);
	GOT("hello, world\n");
	USED(TX, a, 0);
	USED(TX, b, 0);
	NONE_USED(TX);
	ck_assert_uint_gt(irqs[TX], 0);
}
END_TEST

START_TEST(test_console_output_before_driver_ok_is_not_lost)
{
	fake_ring_init(&rings[RX], mem, RAM, 16);
	fake_ring_init(&rings[TX], mem, RAM + 0x4000, 16);
	fake_ring_give(&rings[RX], con, RX);
	fake_ring_give(&rings[TX], con, TX);
	send_at(DATA, "early");
	ck_assert_int_eq(fake_vdev_start(con, 0), 0);
	fake_loop_turn(loop);
	GOT("early");
}
END_TEST

START_TEST(test_console_output_of_many_parts)
{
	struct fake_part parts[3] = { { DATA, 2, false }, { DATA + 100, 3, false }, { DATA + 50, 1, false } };

	start(0);
	gmem_write(mem, DATA, "ab", 2);
	gmem_write(mem, DATA + 100, "cde", 3);
	gmem_write(mem, DATA + 50, "f", 1);
	fake_ring_add(&rings[TX], parts, 3);
	kick(TX);
	GOT("abcdef");
}
END_TEST

/* A sink that takes one byte at a time: the chain is held, and finished byte by byte. */
START_TEST(test_console_slow_sink_holds_the_chain)
{
	struct fake_part parts[2] = { { DATA, 3, false }, { DATA + 8, 3, false } };
	uint16_t head, next;

	start(0);
	gmem_write(mem, DATA, "abc", 3);
	gmem_write(mem, DATA + 8, "def", 3);
	space = 0;
	head = fake_ring_add(&rings[TX], parts, 2);
	next = send_at(DATA + 64, "ghi");
	kick(TX);
	for (int i = 0; i < 6; i++) {
		NONE_USED(TX);
		space = 1;
		console_output_room(con);
	}
	GOT("abcdef");
	USED(TX, head, 0);
	NONE_USED(TX);
	kick(TX); /* without room a kick changes nothing */
	NONE_USED(TX);
	space = 100;
	console_output_room(con);
	GOT("abcdefghi");
	USED(TX, next, 0);
}
END_TEST

START_TEST(test_console_reset_while_a_chain_is_held)
{
	start(0);
	space = 2;
	send_at(DATA, "abcdef");
	kick(TX);
	fake_vdev_reset(con);
	ck_assert_uint_eq(closes, 1);
	space = 100;
	console_output_room(con);
	GOT("ab");
	start(0);
	send_at(DATA, "new");
	kick(TX);
	GOT("abnew");
}
END_TEST

/* A guest that fills the ring again and again is cut into turns that kick themselves. */
START_TEST(test_console_endless_output_takes_turns)
{
	struct fake_part big[8];

	start(0);
	for (int i = 0; i < 8; i++)
		big[i] = (struct fake_part){ DATA, 0x8000, false };
	for (int i = 0; i < 2; i++)
		fake_ring_add(&rings[TX], big, 8); /* a turn each */
	space = SIZE_MAX;
	writes = 0;
	kick(TX);
	ck_assert_uint_le(writes, 8); /* one chain: the turn's bytes were used up */
	ck_assert(fake_ring_used(&rings[TX], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
	NONE_USED(TX);
	ck_assert_uint_gt(fake_loop_turn(loop), 0);
	ck_assert(fake_ring_used(&rings[TX], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
}
END_TEST

/* A single chain may be as long as many turns. */
START_TEST(test_console_endless_chain_takes_turns)
{
	struct fake_part parts[16];
	size_t total = 0, before;
	unsigned turns = 0;

	start(EVENT_IDX);
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		parts[i] = (struct fake_part){ RAM + 2 * MIB, (uint32_t)(2 * MIB - i), false };
	fake_ring_add(&rings[TX], parts, ARRAY_LEN(parts));
	vdev_notify(con, TX);
	do {
		before = space = 64 * MIB;
		ck_assert_uint_le(fake_loop_turn(loop), 1);
		ck_assert_uint_le(before - space, 256 * KIB);
		total += before - space;
		turns++;
	} while (space != before && turns < 1000);
	ck_assert_uint_eq(total, 32 * MIB - 120);
	USED(TX, 0, 0);
	NONE_USED(TX);
}
END_TEST

START_TEST(test_console_output_kicks_are_off_while_it_works)
{
	start(0);
	space = 0;
	send_at(DATA, "x");
	kick(TX);
	ck_assert_uint_eq(fake_ring_used_flags(&rings[TX]), VRING_USED_F_NO_NOTIFY);
	space = 1;
	console_output_room(con);
	fake_loop_turn(loop);
	ck_assert_uint_eq(fake_ring_used_flags(&rings[TX]), 0);
}
END_TEST

START_TEST(test_console_writable_output_chain_is_given_back)
{
	struct fake_part part = { DATA, 64, true };
	uint16_t head;

	start(0);
	head = fake_ring_add(&rings[TX], &part, 1);
	kick(TX);
	USED(TX, head, 0);
	ck_assert_uint_eq(got_len, 0);
	ck_assert(!needs_reset());
}
END_TEST

START_TEST(test_console_bad_output_chain_needs_reset_and_heals)
{
	struct fake_part part = { 0x10, 64, false };

	start(0);
	fake_ring_add(&rings[TX], &part, 1);
	kick(TX);
	ck_assert(needs_reset());
	ck_assert_uint_eq(config_irqs, 1);
	ck_assert_uint_eq(con->faults, 1);
	console_output_room(con);
	kick(TX);
	ck_assert_uint_eq(con->faults, 1);
	fake_vdev_reset(con);
	start(0);
	send_at(DATA, "healed");
	kick(TX);
	GOT("healed");
}
END_TEST

START_TEST(test_console_input_fills_the_buffers)
{
	uint16_t a, b;
	char back[8];

	start(EVENT_IDX);
	a = buffer_at(DATA, 4);
	b = buffer_at(DATA + 64, 100);
	kick(RX);
	ck_assert_uint_eq(input("abcdef"), 6);
	USED(RX, a, 4);
	USED(RX, b, 2);
	ck_assert_int_eq(gmem_read(mem, DATA, back, 4), 0);
	ck_assert_int_eq(gmem_read(mem, DATA + 64, back + 4, 2), 0);
	ck_assert_mem_eq(back, "abcdef", 6);
	ck_assert_uint_gt(irqs[RX], 0);
	ck_assert_uint_eq(input_rooms, 0);
}
END_TEST

START_TEST(test_console_input_without_buffers_tells_when_there_are)
{
	start(0);
	ck_assert_uint_eq(fake_ring_used_flags(&rings[RX]), VRING_USED_F_NO_NOTIFY);
	buffer_at(DATA, 2);
	ck_assert_uint_eq(input("abc"), 2);
	ck_assert_uint_eq(fake_ring_used_flags(&rings[RX]), 0); /* now we want to know */
	ck_assert_uint_eq(input_rooms, 0);
	buffer_at(DATA, 2);
	kick(RX);
	ck_assert_uint_eq(input_rooms, 1);
	kick(RX);
	ck_assert_uint_eq(input_rooms, 1);
	ck_assert_uint_eq(input("c"), 1);
}
END_TEST

START_TEST(test_console_input_before_the_driver_tells_at_its_start)
{
	ck_assert_uint_eq(input("x"), 0);
	start(0);
	ck_assert_uint_eq(input_rooms, 1);
	ck_assert_uint_eq(input(""), 0);
	fake_vdev_reset(con);
	ck_assert_uint_eq(input("x"), 0);
}
END_TEST

START_TEST(test_console_readable_and_empty_input_chains_are_given_back)
{
	struct fake_part readable = { DATA, 16, false };

	start(0);
	for (int i = 0; i < 15; i++)
		fake_ring_add(&rings[RX], &readable, 1);
	buffer_at(DATA, 4);
	ck_assert_uint_eq(input("ab"), 2);
	for (uint16_t i = 0; i < 15; i++)
		USED(RX, i, 0);
	USED(RX, 15, 2);
	ck_assert(!needs_reset());
}
END_TEST

START_TEST(test_console_bad_input_chain_needs_reset)
{
	start(0);
	buffer_at(0x10, 4);
	ck_assert_uint_eq(input("ab"), 0);
	ck_assert(needs_reset());
	ck_assert_uint_eq(input("ab"), 0);
	ck_assert_uint_eq(con->faults, 1);
}
END_TEST

START_TEST(test_console_queue_in_no_memory_is_refused)
{
	fake_ring_init(&rings[RX], mem, RAM, 16);
	rings[RX].used = 0x1000;
	fake_ring_give(&rings[RX], con, RX);
	ck_assert_int_lt(fake_vdev_start(con, 0), 0);
	ck_assert(needs_reset());
	ck_assert_uint_eq(input("x"), 0);
	console_output_room(con);
	fake_vdev_reset(con);
	start(0);
	send_at(DATA, "ok");
	kick(TX);
	GOT("ok");
}
END_TEST

START_TEST(test_console_queues_that_are_not_ready_do_nothing)
{
	ck_assert_int_eq(fake_vdev_start(con, 0), 0);
	kick(RX);
	kick(TX);
	console_output_room(con);
	ck_assert_uint_eq(input("x"), 0);
	ck_assert(!needs_reset());
}
END_TEST

START_TEST(test_console_size_is_told_once_it_changes)
{
	console_resize(con, 80, 25);
	ck_assert_uint_eq(config_irqs, 0); /* nobody listens yet */
	ck_assert_uint_eq(vdev_config_read(con, 0, 2), 80);
	ck_assert_uint_eq(vdev_config_read(con, 2, 2), 25);
	start(BIT64(0));
	console_resize(con, 132, 50);
	ck_assert_uint_eq(config_irqs, 1);
	console_resize(con, 132, 50);
	ck_assert_uint_eq(config_irqs, 1);
	ck_assert_uint_eq(vdev_config_read(con, 0, 4), 132 | 50 << 16);
	vdev_config_write(con, 0, 4, 0); /* read-only */
	ck_assert_uint_eq(vdev_config_read(con, 0, 4), 132 | 50 << 16);
}
END_TEST

START_TEST(test_console_new_fails_clean)
{
	static const struct console_sink sink = { .write = sink_write, .input_room = sink_room };
	struct console_cfg cfg = { .name = "c", .loop = loop, .mem = mem, .sink = &sink };
	struct vdev *v;

	for (unsigned n = 0; n < 2; n++) {
		fake_loop_fail_init(loop, n, -ENOSPC);
		ck_assert_int_eq(console_new(&cfg, &v), -ENOSPC);
	}
	fake_loop_fail_init(loop, 99, 0);
	ck_assert_int_eq(console_new(&cfg, &v), 0);
	vdev_free(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("console");
	TCase *t = tcase_create("console");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, make, drop);
	tcase_add_test(t, test_console_offers_one_port_with_a_size);
	tcase_add_test(t, test_console_output_reaches_the_sink_in_order);
	tcase_add_test(t, test_console_output_before_driver_ok_is_not_lost);
	tcase_add_test(t, test_console_output_of_many_parts);
	tcase_add_test(t, test_console_slow_sink_holds_the_chain);
	tcase_add_test(t, test_console_reset_while_a_chain_is_held);
	tcase_add_test(t, test_console_endless_output_takes_turns);
	tcase_add_test(t, test_console_endless_chain_takes_turns);
	tcase_add_test(t, test_console_output_kicks_are_off_while_it_works);
	tcase_add_test(t, test_console_writable_output_chain_is_given_back);
	tcase_add_test(t, test_console_bad_output_chain_needs_reset_and_heals);
	tcase_add_test(t, test_console_input_fills_the_buffers);
	tcase_add_test(t, test_console_input_without_buffers_tells_when_there_are);
	tcase_add_test(t, test_console_input_before_the_driver_tells_at_its_start);
	tcase_add_test(t, test_console_readable_and_empty_input_chains_are_given_back);
	tcase_add_test(t, test_console_bad_input_chain_needs_reset);
	tcase_add_test(t, test_console_queue_in_no_memory_is_refused);
	tcase_add_test(t, test_console_queues_that_are_not_ready_do_nothing);
	tcase_add_test(t, test_console_size_is_told_once_it_changes);
	tcase_add_test(t, test_console_new_fails_clean);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
