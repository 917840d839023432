// SPDX-License-Identifier: BSD-3-Clause
/*
 * status: the control queues of a port, and what is written to it.
 *
 * Covers: virtio/status.c: control messages of any kind and length, buffers for the answers of any size, lines in any pieces,
 *         drivers without multiport, rings that break, resets with something in the ring, the last look at the end.
 * Oracle: a second reader of the lines says which status holds; the answers are the ones that are due, in their order, whole,
 *         and no more of them; nothing but the answers' buffers is written.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include <linux/virtio_config.h>
#include <linux/virtio_console.h>

#include "devices/virtio/status.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"

#define RAM 0x80000000
#define DATA (RAM + 0x10000)
#define ANSWERS (RAM + 0x20000)
#define RING 16
enum { RX, TX, CONTROL_RX, CONTROL_TX, NR_QUEUES };

static struct loop *loop;
static struct gmem *mem;
static struct vdev *dev;
static struct fake_ring rings[NR_QUEUES];
static bool multiport;
static bool broken;        /* the driver has been rude: only crashes count until the reset */
static unsigned out[NR_QUEUES]; /* chains that the device has */

/* What is written, and what of it waits in the ring. */
static int last, want;
static unsigned inits, want_inits;
static char waiting[RING * STATUS_CHAIN_BYTES + 64];
static size_t nr_waiting;
static char line[8];       /* its beginning */
static size_t line_len;

static bool add, name_and_open; /* asked for, and not yet answered */
static unsigned next_due;  /* of name and open */

static void set(void *ctx, unsigned status)
{
	must(!ctx && status <= STATUS_MAX);
	last = (int)status;
}

static void init(void *ctx)
{
	must(!ctx);
	inits++;
}

static void irq_any(void *t, unsigned q)
{
	(void)t, (void)q;
}

static void irq_config(void *t)
{
	(void)t;
}

static const struct vdev_irq irq = { .queue = irq_any, .config = irq_config };

/* A whole line that is one to three digits and not too large, or "init", a carriage return aside. */
static void read_line(void)
{
	char text[9], *end;
	size_t n = 0;
	long number;

	for (size_t i = 0; i < line_len && i < sizeof(line); i++)
		if (line[i] != '\r')
			text[n++] = line[i];
	text[n] = '\0';
	want_inits += !strcmp(text, "init");
	if (!n || n > 3 || strspn(text, "0123456789") != n)
		return;
	number = strtol(text, &end, 10);
	if (!*end && number <= STATUS_MAX)
		want = (int)number;
}

static void read_waiting(void)
{
	for (size_t i = 0; i < nr_waiting; i++) {
		char c = waiting[i];

		if (c == '\n') {
			read_line();
			line_len = 0;
		} else if (c != '\r' && line_len < sizeof(line)) {
			line[line_len++] = c;
		}
	}
	nr_waiting = 0;
}

static void start(bool with_multiport)
{
	for (unsigned q = 0; q < NR_QUEUES; q++) {
		fake_ring_init(&rings[q], mem, RAM + q * 0x4000, RING);
		fake_ring_give(&rings[q], dev, q);
		out[q] = 0;
	}
	multiport = with_multiport;
	must(fake_vdev_start(dev, (multiport ? BIT64(VIRTIO_CONSOLE_F_MULTIPORT) : 0) | BIT64(VIRTIO_F_VERSION_1)) == 0);
	broken = add = name_and_open = false;
	next_due = 0;
	fake_loop_turn(loop);
}

static void reset(void)
{
	if (multiport && !broken)
		read_waiting();
	nr_waiting = line_len = 0;
	fake_vdev_reset(dev);
	must(broken || last == want);
	want = last;
}

static void turn(unsigned q)
{
	vdev_notify(dev, q);
	while (fake_loop_turn(loop))
		continue;
	if (q == TX && multiport && !broken)
		read_waiting();
	if (q == TX)
		nr_waiting = 0;
	broken |= !!(vdev_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET);
	for (unsigned i = 0; i < NR_QUEUES; i++)
		while (i != CONTROL_RX && fake_ring_used(&rings[i], &(uint32_t){ 0 }, &(uint32_t){ 0 }))
			out[i]--;
}

/* What was asked is answered, as long as there are buffers. */
static void take_answers(void)
{
	uint32_t id, len;

	while (fake_ring_used(&rings[CONTROL_RX], &id, &len) && !broken) {
		struct { struct virtio_console_control m; char text[32]; } got;

		memset(&got, 0, sizeof(got));
		out[CONTROL_RX]--;
		must(id < RING && len >= sizeof(got.m) && len <= sizeof(got));
		must(gmem_read(mem, ANSWERS + id * 0x100, &got, len) == 0);
		must(!got.m.id && got.m.value == 1);
		if (add) {
			must(got.m.event == VIRTIO_CONSOLE_PORT_ADD && len == sizeof(got.m));
			add = false;
			continue;
		}
		must(name_and_open);
		must(got.m.event == (next_due ? VIRTIO_CONSOLE_PORT_OPEN : VIRTIO_CONSOLE_PORT_NAME));
		must(len == sizeof(got.m) + (next_due ? 0 : strlen(STATUS_PORT)) && !strcmp(got.text, next_due ? "" : STATUS_PORT));
		name_and_open = !next_due;
		next_due = !next_due;
	}
	must(broken || !multiport || !out[CONTROL_RX] || (!add && !name_and_open));
}

/* A message; its answers are taken before the next one, lest two of a kind become one. */
static void message(struct fuzz_in *in)
{
	static const uint8_t events[] = { 0, 0, 3, 3, 6, 1, 2, 4, 5, 7 };
	struct virtio_console_control m = { .id = fuzz_below(in, 4) / 3, .event = events[fuzz_below(in, sizeof(events))] };
	uint32_t len = fuzz_below(in, 8) ? sizeof(m) : fuzz_below(in, 16) + 1;

	m.value = fuzz_below(in, 4) != 0;
	if (out[CONTROL_TX] == RING || (next_due && m.event == VIRTIO_CONSOLE_PORT_READY))
		return;
	must(gmem_write(mem, DATA, &m, sizeof(m)) == 0);
	fake_ring_add(&rings[CONTROL_TX], (const struct fake_part[]){ { DATA, len, false } }, 1);
	out[CONTROL_TX]++;
	if (multiport && len >= sizeof(m)) {
		add |= m.event == VIRTIO_CONSOLE_DEVICE_READY && m.value;
		name_and_open |= m.event == VIRTIO_CONSOLE_PORT_READY && m.value && !m.id;
	}
	/* what was written before is read before, as both are the loop's to look at */
	turn(TX);
	turn(CONTROL_TX);
	if (multiport && !broken && len >= sizeof(m) && m.event == VIRTIO_CONSOLE_PORT_OPEN && !m.id)
		line_len = 0;
}

static void print(struct fuzz_in *in)
{
	static const char letters[] = "0123456789\n\n\r-x ";
	uint32_t len = fuzz_below(in, 100) + 1, cut = fuzz_below(in, 100);
	gpa_t at = DATA + 0x1000 + rings[TX].avail_idx % RING * 0x100;
	char text[100];

	if (out[TX] >= RING / 2)
		return;
	for (uint32_t i = 0; i < len; i++) {
		uint8_t c = fuzz_u8(in);

		text[i] = c < 240 ? letters[c % 16] : "init"[c % 4];
	}
	must(gmem_write(mem, at, text, len) == 0);
	if (cut && cut < len)
		fake_ring_add(&rings[TX], (const struct fake_part[]){ { at, cut, false }, { at + cut, len - cut, false } }, 2);
	else
		fake_ring_add(&rings[TX], (const struct fake_part[]){ { at, len, false } }, 1);
	out[TX]++;
	if (len > STATUS_CHAIN_BYTES)
		len = STATUS_CHAIN_BYTES;
	must(nr_waiting + len <= sizeof(waiting));
	memcpy(waiting + nr_waiting, text, len);
	nr_waiting += len;
}

static void offer(struct fuzz_in *in)
{
	uint32_t len = fuzz_below(in, 8) ? 0x100 : fuzz_below(in, 32) + 1;
	uint16_t i = rings[CONTROL_RX].next_desc % RING;

	if (out[CONTROL_RX] == RING)
		return;
	broken |= len < 22 && multiport; /* it may be too small for what is due */
	fake_ring_add(&rings[CONTROL_RX], (const struct fake_part[]){ { ANSWERS + i * 0x100, len, true } }, 1);
	out[CONTROL_RX]++;
	turn(CONTROL_RX);
}

static void be_rude(struct fuzz_in *in)
{
	struct fake_ring *r = &rings[fuzz_below(in, NR_QUEUES)];
	uint16_t i = fuzz_u8(in) % RING;

	broken = true;
	fake_ring_desc(r, i, fuzz_below(in, 2) ? RAM + fuzz_u16(in) : fuzz_u64(in), fuzz_u32(in), fuzz_u8(in) & 7, fuzz_u8(in));
	fake_ring_put(r, i);
	fake_ring_show(r);
	turn(fuzz_below(in, NR_QUEUES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct status_cfg cfg = { .name = "status0", .set = set, .init = init };
	struct fuzz_in in = { .p = data, .left = size };

	last = want = -1;
	inits = want_inits = 0;
	nr_waiting = line_len = 0;
	must(loop_new(&loop) == 0 && gmem_new(&mem) == 0 && gmem_add(mem, RAM, MIB, false) == 0);
	cfg.loop = loop;
	cfg.mem = mem;
	must(status_new(&cfg, &dev) == 0);
	vdev_set_irq(dev, &irq, NULL);
	start(fuzz_below(&in, 8) != 7);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 8)) {
		case 0: message(&in); break;
		case 1: case 2: print(&in); break;
		case 3: turn(fuzz_below(&in, NR_QUEUES)); break;
		case 4: offer(&in); break;
		case 5: turn(TX); status_drain(dev); break;
		case 6: be_rude(&in); break;
		case 7: reset(); start(fuzz_below(&in, 8) != 7); break;
		}
		take_answers();
		must(broken || nr_waiting || (last == want && inits == want_inits));
		want = broken ? last : want;
		want_inits = broken ? inits : want_inits;
	}
	vdev_free(dev);
	loop_free(loop);
	gmem_free(mem);
	return 0;
}
