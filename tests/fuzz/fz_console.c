// SPDX-License-Identifier: BSD-3-Clause
/*
 * console: virtio-console's two queues against any driver and any consumer.
 *
 * Covers: virtio/console.c: chains of any shape both ways, a sink that takes little or nothing, input
 *         without buffers, sizes of the window, rings that break, resets.
 * Oracle: what the sink was given is what the guest wrote, byte for byte and in order, no chain comes
 *         back before all of it is out; input arrives in order, once, and only where there is a
 *         buffer; used lengths add up to it; a sink that is full is not called again before it has room.
 */
#include "tests/fuzz/fuzz.h"

#include <linux/virtio_console.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "devices/virtio/console.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"

#define RAM 0x80000000
#define DATA (RAM + 0x4000)
#define RING 16
#define STREAM 0x10000
enum { RX, TX };

static struct loop *loop;
static struct gmem *mem;
static struct vdev *con;
static struct fake_ring rings[2];
static bool broken; /* the driver has been rude: only crashes count until the reset */

/* Output: a byte is its place in the stream. */
static uint32_t written, shown; /* by the guest; by the sink */
static uint32_t due[RING];      /* by head: what has to be shown before the chain comes back */
static unsigned tx_out;
static size_t space;
static unsigned rooms;

/* Input, likewise. */
static uint32_t given, arrived;
static struct { gpa_t gpa; uint32_t len; } rx_buf[RING];
static unsigned rx_out;

static UNTRACED uint8_t byte_at(uint32_t n)
{
	return (uint8_t)(n ^ n >> 8);
}

static UNTRACED size_t sink_write(void *ctx, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	must(ctx == &space && len);
	if (len > space)
		len = space;
	space -= len;
	for (size_t i = 0; i < len && !broken; i++)
		must(p[i] == byte_at(shown++));
	return len;
}

static void sink_room(void *ctx)
{
	(void)ctx;
	rooms++;
}

static void sink_closed(void *ctx)
{
	(void)ctx;
}

static void irq_queue(void *t, unsigned q)
{
	(void)t;
	must(q < 2);
}

static void irq_config(void *t)
{
	(void)t;
}

static const struct vdev_irq irq = { .queue = irq_queue, .config = irq_config };

static void set_up(void)
{
	static const struct console_sink sink = {
		.write = sink_write, .input_room = sink_room, .closed = sink_closed, .ctx = &space,
	};
	struct console_cfg cfg = { .name = "console0", .sink = &sink };

	must(loop_new(&loop) == 0 && gmem_new(&mem) == 0 && gmem_add(mem, RAM, 0x20000, false) == 0);
	cfg.loop = loop;
	cfg.mem = mem;
	must(console_new(&cfg, &con) == 0 && loop_seal(loop) == 0);
	vdev_set_irq(con, &irq, NULL);
	space = 0;
}

static void start(struct fuzz_in *in)
{
	uint8_t flags = fuzz_u8(in);

	fake_vdev_reset(con);
	must(!con->active);
	written = shown = given = arrived = 0;
	tx_out = rx_out = 0;
	broken = false;
	for (unsigned q = 0; q < 2; q++) {
		fake_ring_init(&rings[q], mem, RAM + 0x1000 * q, RING);
		if (!(flags & 1u << q) || flags & 4)
			fake_ring_give(&rings[q], con, q);
	}
	must(fake_vdev_start(con, flags & 8 ? BIT64(VIRTIO_RING_F_EVENT_IDX) : BIT64(VIRTIO_CONSOLE_F_SIZE)) == 0);
	must(con->active);
}

static UNTRACED void look_at_used(void)
{
	uint32_t id, len;

	if (broken)
		return;
	while (fake_ring_used(&rings[TX], &id, &len)) {
		must(id < RING && len == 0 && due[id] <= shown && due[id]);
		due[id] = 0;
		tx_out--;
	}
	while (fake_ring_used(&rings[RX], &id, &len)) {
		must(id < RING && rx_buf[id].len && len <= rx_buf[id].len);
		for (uint32_t i = 0; i < len; i++)
			must(*(uint8_t *)gmem_ptr(mem, rx_buf[id].gpa + i, 1) == byte_at(arrived++));
		rx_buf[id].len = 0;
		rx_out--;
	}
	must(arrived == given);
}

/* A chain of up to four parts of the stream, and now and then a buffer behind them that nobody needs. */
static void print(struct fuzz_in *in)
{
	unsigned n = 1 + fuzz_below(in, 4), k = 0;
	struct fake_part parts[5];
	uint16_t head = rings[TX].next_desc % RING;
	gpa_t at = DATA + 0x1000 * (gpa_t)head;

	if (broken || tx_out >= RING / 5)
		return;
	for (; k < n; k++) {
		uint32_t len = 1 + fuzz_u8(in);

		parts[k] = (struct fake_part){ .addr = at, .len = len };
		for (uint32_t i = 0; i < len; i++)
			*(uint8_t *)gmem_ptr(mem, at + i, 1) = byte_at(written++);
		at += len;
	}
	if (fuzz_u8(in) & 1)
		parts[k++] = (struct fake_part){ .addr = at, .len = 8, .write = true };
	must(fake_ring_add(&rings[TX], parts, k) == head);
	due[head] = written;
	tx_out++;
}

static void add_buffer(struct fuzz_in *in)
{
	uint16_t head = rings[RX].next_desc % RING;
	struct fake_part part = { .addr = DATA + 0x10000 + 0x100 * (gpa_t)head, .len = 1 + fuzz_u8(in) % 0xff, .write = true };

	if (broken || rx_out == RING)
		return;
	must(fake_ring_add(&rings[RX], &part, 1) == head);
	rx_buf[head].gpa = part.addr;
	rx_buf[head].len = part.len;
	rx_out++;
}

static void type(struct fuzz_in *in)
{
	uint8_t buf[256];
	size_t len = fuzz_u8(in), took;

	for (size_t i = 0; i < len; i++)
		buf[i] = byte_at(given + (uint32_t)i);
	took = console_input(con, buf, len);
	must(took <= len);
	given += (uint32_t)took;
}

static void be_rude(struct fuzz_in *in)
{
	unsigned q = fuzz_u8(in) & 1;

	broken = true;
	fake_ring_desc(&rings[q], fuzz_below(in, RING), RAM + fuzz_u32(in) % 0x24000, fuzz_u32(in), fuzz_below(in, 8),
		       fuzz_below(in, RING + 1));
	fake_ring_put(&rings[q], fuzz_below(in, RING + 1));
	if (fuzz_u8(in) & 1)
		fake_ring_show(&rings[q]);
	else
		fake_ring_set_avail_idx(&rings[q], fuzz_u16(in));
}

static void kick(unsigned q)
{
	vdev_notify(con, q);
	fake_loop_turn(loop);
}

static void step(struct fuzz_in *in)
{
	switch (fuzz_below(in, 9)) {
	case 0: print(in); break;
	case 1: kick(TX); break;
	case 2: add_buffer(in); break;
	case 3: kick(RX); break;
	case 4: type(in); break;
	case 5:
		space = fuzz_u16(in) & 0x7ff;
		console_output_room(con);
		break;
	case 6:
		console_resize(con, fuzz_u8(in), fuzz_u8(in));
		(void)vdev_config_read(con, fuzz_u8(in) & 15, fuzz_good_width(in));
		break;
	case 7: be_rude(in); break;
	case 8: start(in); break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	set_up();
	start(&in);
	while (fuzz_more(&in)) {
		step(&in);
		look_at_used();
	}
	space = SIZE_MAX;
	console_output_room(con);
	for (unsigned i = 0; i < RING; i++)
		kick(TX);
	look_at_used();
	must(broken || !con->queues[TX].regs.ready || shown == written);
	vdev_free(con);
	loop_free(loop);
	gmem_free(mem);
	return 0;
}
