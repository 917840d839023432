// SPDX-License-Identifier: BSD-3-Clause
/*
 * rng: the entropy device and requests of any shape.
 *
 * Covers: virtio/rng.c over a ring that is whatever the input says, indirect tables included; a host
 *         that has no random bytes to give.
 * Oracle: a used element is of a chain that was given and says no more than 256 and no more than what
 *         can be written there; nothing is written outside of the writable parts and the used ring
 *         (getrandom(2) here gives one known byte, and each place it may be in is known); without
 *         the host's bytes the device stops, and gives back nothing.
 */
#include "tests/fuzz/fuzz.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/random.h>

#include "devices/virtio/rng.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"

#define RAM 0x80000000
#define RAM_SIZE 0x3000
#define RING 16
#define RANDOM 0xa5

static struct loop *loop;
static struct gmem *mem;
static struct vdev *rng;
static struct fake_ring ring;
static bool dry;
static uint8_t writable[RAM_SIZE]; /* 1: some chain lets the device write there */
static uint32_t room[RING];        /* by head */
static unsigned nr_descs;          /* filled since all were free */

/* Chains may be any mixture of what was written: only the device's own limit is left. */
static void any_room(void)
{
	for (unsigned h = 0; h < RING; h++)
		room[h] = 256;
}

/* Instead of the host's. */
ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
	must(flags == GRND_NONBLOCK && len <= 256);
	if (dry)
		return -1;
	memset(buf, RANDOM, len);
	return (ssize_t)len;
}

static void irq_queue(void *t, unsigned q)
{
	(void)t;
	must(q == 0);
}

static void irq_config(void *t)
{
	(void)t;
}

static const struct vdev_irq irq = { .queue = irq_queue, .config = irq_config };

static void start(struct fuzz_in *in)
{
	fake_vdev_reset(rng);
	memset(gmem_ptr(mem, RAM, RAM_SIZE), 0, RAM_SIZE);
	memset(writable, 0, sizeof(writable));
	memset(room, 0, sizeof(room));
	nr_descs = 0;
	fake_ring_init(&ring, mem, RAM, RING);
	fake_ring_give(&ring, rng, 0);
	must(fake_vdev_start(rng, fuzz_u8(in) & 1 ? BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) : 0) == 0);
}

static UNTRACED void note(gpa_t at, uint32_t len, bool write)
{
	for (uint32_t i = 0; write && i < len && at + i < RAM + RAM_SIZE; i++)
		if (at + i >= RAM)
			writable[at + i - RAM] = 1;
}

/* A chain of 1 to 4 parts; most lie in memory, all of them writable ones last unless the input says else. */
static void ask(struct fuzz_in *in)
{
	unsigned n = 1 + fuzz_below(in, 4);
	uint16_t head = ring.next_desc % RING;
	struct fake_part parts[4];
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		uint8_t how = fuzz_u8(in);

		parts[i].addr = RAM + 0x1000 + (how & 1 ? fuzz_u16(in) : (gpa_t)0x200 * fuzz_below(in, 16));
		parts[i].len = how & 2 ? fuzz_u32(in) & 0x7ff : 1 + fuzz_u8(in);
		parts[i].write = !(how & 4);
		note(parts[i].addr, parts[i].len, parts[i].write);
		sum += parts[i].write ? parts[i].len : 0;
	}
	fake_ring_add(&ring, parts, n);
	room[head] = sum > 256 ? 256 : (uint32_t)sum;
	nr_descs += n;
	if (nr_descs > RING)
		any_room();
}

/* Any descriptor, and an indirect table of any. */
static void scribble(struct fuzz_in *in)
{
	gpa_t addr = RAM + 0x1000 + fuzz_u16(in) % 0x2000;
	uint32_t len = fuzz_u16(in);
	uint16_t i = fuzz_below(in, RING), flags = fuzz_below(in, 8);

	note(addr, len, true);
	any_room();
	nr_descs = RING + 1;
	if (flags & VRING_DESC_F_INDIRECT) {
		/* what stands there is a table of parts that may be anywhere */
		fake_table_desc(mem, RAM + 0x800, fuzz_below(in, 4), addr, len, fuzz_below(in, 4), fuzz_below(in, 5));
		addr = RAM + 0x800;
		len = 16 * fuzz_below(in, 6);
	}
	fake_ring_desc(&ring, i, addr, len, flags, fuzz_below(in, RING + 1));
	fake_ring_put(&ring, i);
	fake_ring_show(&ring);
}

static UNTRACED void look(void)
{
	const uint8_t *ram = gmem_ptr(mem, RAM, RAM_SIZE);
	uint32_t id, len;

	while (fake_ring_used(&ring, &id, &len)) {
		must(id < RING && len <= room[id]);
		must(!dry || !len); /* what asks for nothing is given that */
	}
	if (nr_descs <= RING && ring.used_idx == ring.avail_idx)
		nr_descs = 0;
	for (unsigned i = 0x1000; i < RAM_SIZE; i++)
		must(writable[i] || !ram[i]);
}

static void kick(void)
{
	vdev_notify(rng, 0);
	fake_loop_turn(loop);
	look();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	dry = false;
	must(loop_new(&loop) == 0 && gmem_new(&mem) == 0 && gmem_add(mem, RAM, RAM_SIZE, false) == 0);
	must(rng_new("rng0", loop, mem, &rng) == 0 && loop_seal(loop) == 0);
	vdev_set_irq(rng, &irq, NULL);
	start(&in);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 6)) {
		case 0: case 1: ask(&in); break;
		case 2: scribble(&in); break;
		case 3: kick(); break;
		case 4: dry = fuzz_u8(&in) & 1; break;
		case 5: start(&in); break;
		}
	}
	vdev_free(rng);
	loop_free(loop);
	gmem_free(mem);
	return 0;
}
