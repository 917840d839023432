// SPDX-License-Identifier: BSD-3-Clause
/*
 * pmem: the image's device and requests of any shape.
 *
 * Covers: virtio/pmem.c over a ring that is whatever the input says, indirect tables included.
 * Oracle: a used element is of a chain that was given and says no more than an answer's four bytes, and no more than
 *         what can be written there; an answer is an error; nothing else is written but the used ring; its configuration
 *         space says what it was made with; what is broken stops it until a reset.
 */
#include "tests/fuzz/fuzz.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "devices/virtio/pmem.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"

#define RAM 0x80000000
#define RAM_SIZE 0x3000
#define RING 16
#define DIRT 0xa5

static struct loop *loop;
static struct gmem *mem;
static struct vdev *pmem;
static struct fake_ring ring;
static uint8_t writable[RAM_SIZE]; /* 1: some chain lets the device write there */
static uint64_t start_at, size_of;

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
	fake_vdev_reset(pmem);
	memset(gmem_ptr(mem, RAM, RAM_SIZE), 0, 0x1000);
	memset(gmem_ptr(mem, RAM + 0x1000, RAM_SIZE - 0x1000), DIRT, RAM_SIZE - 0x1000);
	memset(writable, 0, sizeof(writable));
	fake_ring_init(&ring, mem, RAM, RING);
	fake_ring_give(&ring, pmem, 0);
	must(fake_vdev_start(pmem, fuzz_u8(in) & 1 ? BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) : 0) == 0);
}

static UNTRACED void note(gpa_t at, uint32_t len)
{
	for (uint32_t i = 0; i < len && at + i < RAM + RAM_SIZE; i++)
		if (at + i >= RAM)
			writable[at + i - RAM] = 1;
}

/* A chain of 1 to 4 parts, most of them in memory. */
static void ask(struct fuzz_in *in)
{
	unsigned n = 1 + fuzz_below(in, 4);
	struct fake_part parts[4];

	for (unsigned i = 0; i < n; i++) {
		uint8_t how = fuzz_u8(in);

		parts[i].addr = RAM + 0x1000 + (how & 1 ? fuzz_u16(in) : (gpa_t)0x200 * fuzz_below(in, 16));
		parts[i].len = how & 2 ? fuzz_u32(in) & 0x7ff : 1 + fuzz_below(in, 8);
		parts[i].write = how & 4;
		if (parts[i].write)
			note(parts[i].addr, parts[i].len);
	}
	fake_ring_add(&ring, parts, n);
}

/* Any descriptor, and an indirect table of any. */
static void scribble(struct fuzz_in *in)
{
	gpa_t addr = RAM + 0x1000 + fuzz_u16(in) % 0x2000;
	uint32_t len = fuzz_u16(in);
	uint16_t i = fuzz_below(in, RING), flags = fuzz_below(in, 8);

	note(addr, len);
	if (flags & VRING_DESC_F_INDIRECT) {
		fake_table_desc(mem, RAM + 0x800, fuzz_below(in, 4), addr, len, fuzz_below(in, 4), fuzz_below(in, 5));
		addr = RAM + 0x800;
		len = 16 * fuzz_below(in, 6);
	}
	fake_ring_desc(&ring, i, addr, len, flags, fuzz_below(in, RING + 1));
	fake_ring_put(&ring, i);
	fake_ring_show(&ring);
}

/* Whatever was written is a part of the one answer that there is. */
static UNTRACED void look(void)
{
	const uint8_t *ram = gmem_ptr(mem, RAM, RAM_SIZE);
	uint32_t id, len;

	while (fake_ring_used(&ring, &id, &len))
		must(id < RING && len <= 4);
	for (unsigned i = 0x1000; i < RAM_SIZE; i++)
		must(ram[i] == DIRT || (writable[i] && ram[i] <= 1));
}

static void kick(void)
{
	bool broken = vdev_state(pmem).status & VIRTIO_CONFIG_S_NEEDS_RESET;
	uint64_t faults = vdev_state(pmem).faults;

	vdev_notify(pmem, 0);
	fake_loop_turn(loop);
	must(!broken || vdev_state(pmem).faults == faults);
	look();
}

static void read_config(struct fuzz_in *in)
{
	const uint64_t all[2] = { start_at, size_of };
	unsigned off = fuzz_below(in, 20), len = 1u << fuzz_below(in, 4);
	uint64_t want = 0, got = vdev_config_read(pmem, off, len);

	for (unsigned i = 0; i < len && off + i < sizeof(all); i++)
		want |= (uint64_t)((const uint8_t *)all)[off + i] << 8 * i;
	must(got == want || off + len > sizeof(all));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	struct pmem_cfg cfg = { .name = "pmem0" };

	must(loop_new(&loop) == 0 && gmem_new(&mem) == 0 && gmem_add(mem, RAM, RAM_SIZE, false) == 0);
	cfg.loop = loop;
	cfg.mem = mem;
	cfg.start = start_at = fuzz_u64(&in);
	cfg.size = size_of = fuzz_u64(&in);
	must(pmem_new(&cfg, &pmem) == 0 && loop_seal(loop) == 0);
	vdev_set_irq(pmem, &irq, NULL);
	start(&in);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 6)) {
		case 0: case 1: ask(&in); break;
		case 2: scribble(&in); break;
		case 3: kick(); break;
		case 4: read_config(&in); break;
		case 5: start(&in); break;
		}
	}
	vdev_free(pmem);
	loop_free(loop);
	gmem_free(mem);
	return 0;
}
