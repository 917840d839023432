/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * console: output without end and without sense, input with no place to go (virtio 1.2 s5.3), and what is asked of the entropy
 * device (s5.4). What the console prints may be anything: the harness takes lines only that begin as the payload's do.
 */
#include "hostile.h"

struct output_row {
	struct row row;
	uint32_t len;
	uint8_t fill;        /* 0: noise */
	unsigned times;
};

static const struct output_row output_rows[] = {
	{ { "tx-1-byte-often", OFTEN }, 1, 'x', 400 },
	{ { "tx-64k", OFTEN }, BUF_SIZE, 'y', 8 },
	{ { "tx-nul", 0 }, 4096, 1, 4 },
	{ { "tx-noise", OFTEN }, 4096, 0, 8 },
	{ { "tx-escapes", 0 }, 4096, 0x1b, 4 },
	{ { "tx-high-bytes", 0 }, 4096, 0xff, 4 },
	{ { "tx-lines", 0 }, 4096, '\n', 8 },
	{ { "tx-no-line", 0 }, BUF_SIZE, 'z', 4 },
};

static void run_output(const void *row)
{
	const struct output_row *r = row;
	struct vq *vq = &con->vq[CON_TX];

	if (!begin(con, 0))
		return;
	for (unsigned i = 0; i < r->len; i++)
		buf[i] = r->fill ? r->fill : (uint8_t)noise();
	for (unsigned i = 0; i < r->times; i++) {
		vq_post(vq, i % vq->size, buf, r->len, false);
		vq_kick(vq);
		if (!want(uses(vq), "not used after %u", i))
			return;
	}
}

/* Much of RAM, as one line; not where our own text lies. */
static void tx_much_of_ram(void)
{
	struct vq *vq = &con->vq[CON_TX];

	if (!begin(con, 0))
		return;
	vq_post(vq, 0, (void *)(ram_end - (8 << 20)), 4 << 20, false);
	vq_kick(vq);
	wait_us(20000);
}

static void tx_reset_midway(void)
{
	struct vq *vq = &con->vq[CON_TX];

	for (unsigned i = 0; i < 10; i++) {
		if (!begin(con, 0))
			return;
		vq_post(vq, 0, (void *)(ram_end - (8 << 20)), 1 << 20, false);
		vq_kick(vq);
		wait_us(200 * i);
		vdev_set_status(con, 0);
		want(!vdev_status(con), "the status stays");
	}
}

static void rx_no_buffers(void)
{
	if (!begin(con, 0))
		return;
	for (unsigned i = 0; i < 100; i++)
		vq_kick(&con->vq[CON_RX]);
}

struct input_row {
	struct row row;
	uint32_t len;
	unsigned n;
	bool readable;
};

static const struct input_row input_rows[] = {
	{ { "rx-1-byte", OFTEN }, 1, 16 },
	{ { "rx-readable", 0 }, 64, 4, true },
	{ { "rx-huge", 0 }, BUF_SIZE, 4 },
	{ { "rx-full-ring", 0 }, 64, 16 },
};

static void run_input(const void *row)
{
	const struct input_row *r = row;

	if (!begin(con, 0))
		return;
	for (unsigned i = 0; i < r->n; i++) {
		vq_post(&con->vq[CON_RX], i, buf2, r->len, !r->readable);
		vq_kick(&con->vq[CON_RX]);
	}
	want(trip(con), "no round trip");
}

static void tx_writable(void)
{
	struct vq *vq = &con->vq[CON_TX];

	if (!begin(con, 0))
		return;
	memset(buf, 0x33, 64);
	vq_post(vq, 0, buf, 64, true);
	vq_kick(vq);
	want(uses(vq), "not used");
	want(vq->used->ring[0].len == 0 && buf[0] == 0x33, "written to");
}

/* Its size is the monitor's to say. */
static void config_write(void)
{
	for (unsigned i = 0; i < 16; i += 4)
		wr32(con->config + i, ~0u);
	for (unsigned i = 0; i < 16; i++)
		wr8(con->config + i, 0x77);
}

/* A console in the middle of output is no console whose other queue breaks. */
static void rx_breaks_tx_busy(void)
{
	if (!begin(con, 0))
		return;
	vq_post(&con->vq[CON_TX], 0, (void *)(ram_end - (8 << 20)), 1 << 20, false);
	vq_kick(&con->vq[CON_TX]);
	con->vq[CON_RX].avail->idx = 0x8000;
	vq_kick(&con->vq[CON_RX]);
	wait_us(5000);
}

static void uart_garbage(void)
{
	uint64_t uart = uart_regs();

	for (unsigned off = 4; off < 0x1000; off += 4) {
		if (off == 0x2c || off == 0x30 || off == 0x38)
			continue;
		wr32(uart + off, ~0u);
		rd32(uart + off);
	}
	for (unsigned i = 0; i < 3; i++) {
		wr32(uart + 0x2c, 0);
		wr32(uart + 0x30, i);
		hear_again();
	}
	wr32(uart + 0x44, ~0u);
}

/* An interrupt that nobody takes back: all masked in, transmitting. */
static void uart_interrupt_storm(void)
{
	uint64_t uart = uart_regs();

	irqs_off();
	for (unsigned i = 0; i < 300; i++) {
		wr32(uart + 0x38, i & 1 ? 0x7ff : 0);
		wr32(uart, ' ');
	}
	hear_again();
	wr32(uart + 0x44, ~0u);
	irqs_on();
}

/* The entropy device */

struct ask_row {
	struct row row;
	uint32_t len;
	unsigned n;
	unsigned parts;
};

static const struct ask_row ask_rows[] = {
	{ { "rng-1-byte", 0 }, 1, 64, 1 },
	{ { "rng-64k", OFTEN }, BUF_SIZE, 32, 1 },
	{ { "rng-1-byte-parts", 0 }, 1, 1, 32 },
	{ { "rng-large-parts", 0 }, 4096, 1, 16 },
	{ { "rng-flood", OFTEN }, 256, 2000, 1 },
};

static void run_ask(const void *row)
{
	const struct ask_row *r = row;
	struct vq *vq = &rng->vq[0];

	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < r->n; i++) {
		for (unsigned k = 0; k < r->parts; k++)
			vq->desc[k] = (struct vq_desc){ (uint64_t)buf, r->len, DESC_WRITE | (k + 1 < r->parts ? DESC_NEXT : 0), (uint16_t)(k + 1) };
		vq->avail->ring[vq->next % vq->size] = 0;
		DMB();
		vq->avail->idx = ++vq->next;
		vq_kick(vq);
		if (!want(uses(vq), "not used after %u", i))
			return;
		want(vq->used->ring[(vq->next - 1) % vq->size].len <= (uint64_t)r->len * r->parts, "more than was asked for");
	}
}

/* s5.4: it says how much it wrote, and has written that. */
static void rng_writes_what_it_says(void)
{
	struct vq *vq = &rng->vq[0];
	uint32_t len;

	if (!begin(rng, 0))
		return;
	memset(buf, 0, 4096);
	vq_post(vq, 0, buf, 4096, true);
	vq_kick(vq);
	if (!want(uses(vq), "not used"))
		return;
	len = vq->used->ring[0].len;
	want(len >= 1 && len <= 4096, "length %u", len);
	for (uint32_t i = len; i < 4096; i++)
		want(!buf[i], "byte %u was written, and length is %u", i, len);
}

static const struct fn_row fn_rows[] = {
	{ { "tx-much-of-ram", OFTEN }, tx_much_of_ram },
	{ { "tx-reset-midway", OFTEN }, tx_reset_midway },
	{ { "tx-writable", 0 }, tx_writable },
	{ { "rx-no-buffers", 0 }, rx_no_buffers },
	{ { "rx-breaks-tx-busy", OFTEN }, rx_breaks_tx_busy },
	{ { "config-write", 0 }, config_write },
	{ { "uart-garbage", OFTEN }, uart_garbage },
	{ { "uart-interrupt-storm", 0 }, uart_interrupt_storm },
	{ { "rng-writes-what-it-says", OFTEN }, rng_writes_what_it_says },
};

const struct family console_tables[] = {
	FAMILY(output_rows, run_output), FAMILY(input_rows, run_input), FAMILY(ask_rows, run_ask), FAMILY(fn_rows, run_fn), { 0 },
};
