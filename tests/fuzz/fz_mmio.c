// SPDX-License-Identifier: BSD-3-Clause
/*
 * mmio: virtio over MMIO, any register, width and order; both ways to interrupt.
 *
 * Covers: virtio_mmio.c, vdev.c, edge lines, doorbells, with queues here and in the kernel.
 * Oracle: vdev_model.h after each step; what the registers read; InterruptStatus against what was
 *         signalled and acknowledged; one doorbell for each queue that runs, none else; the interrupt
 *         rules of irq_check.h (V10: a reason before each interrupt; V11: nothing survives a reset);
 *         at the end nothing is left in the kernel.
 */
#include "tests/fuzz/vdev_model.h"

#include <linux/virtio_mmio.h>
#include <unistd.h>

#include "devices/virtio/virtio_mmio.h"
#include "tests/fake/irq.h"
#include "tests/fake/kvm.h"
#include "tests/fake/loop.h"
#include "vmm/core/bus.h"
#include "vmm/core/irq_check.h"

#define BASE 0x0a000000
#define SPI 7

static struct loop *loop;
static struct gmem *mem;
static struct bus *bus;
static struct hyp *hyp;
static struct gsi_space *space;
static struct irq_check *check;
static struct virtio_mmio *mmio;
static enum vmmio_irq way;
static uint32_t device_sel, driver_sel, queue_sel;
static uint32_t isr; /* what InterruptStatus has to hold, but for what queues in the kernel add */

static void broken_rule(void *ctx, const char *sentence)
{
	(void)ctx;
	fuzz_fail("irq_check", 0, sentence);
}

static void set_up(struct fuzz_in *in)
{
	uint8_t flags = fuzz_u8(in);
	struct virtio_mmio_cfg cfg = { .vdev = &dev.v, .gpa = BASE, .spi = SPI };

	way = flags & 8 ? VMMIO_DIRECT : VMMIO_HOP;
	must(loop_new(&loop) == 0 && gmem_new(&mem) == 0 && bus_new(&bus) == 0);
	must(gmem_add(mem, RAM, RAM_SIZE, false) == 0);
	hyp = fake_kvm_new();
	fake_kvm_set_max_routes(hyp, 128);
	space = fake_gsi_space(hyp);
	must(irq_check_new(space, broken_rule, NULL, &check) == 0);
	dev_make(loop, mem, flags & 7);
	cfg.bus = bus;
	cfg.hyp = hyp;
	cfg.space = space;
	cfg.irq = way;
	must(virtio_mmio_new(&cfg, &mmio) == 0 && loop_seal(loop) == 0);
	device_sel = driver_sel = queue_sel = isr = 0;
}

static void tear_down(void)
{
	virtio_mmio_free(mmio);
	must(!fake_kvm_nr_ioeventfds(hyp) && !fake_kvm_nr_irqfds(hyp) && !fake_kvm_complaint(hyp));
	vdev_free(&dev.v);
	irq_check_end(space);
	irq_check_free(check);
	gsi_space_free(space);
	hyp_free(hyp);
	bus_free(bus);
	loop_free(loop);
	gmem_free(mem);
}

/* Is queue @q the kernel's, and does it run? */
static bool lent(unsigned q)
{
	return mod.active && mod.q[q].ready && dev.vhost & BIT32(q);
}

static uint32_t isr_now(void)
{
	bool told = false;

	for (unsigned q = 0; q < QUEUES; q++)
		told |= lent(q);
	return isr | (way == VMMIO_DIRECT && told ? VIRTIO_MMIO_INT_VRING : 0);
}

static void model_write(uint64_t off, uint32_t val)
{
	struct vq_regs *r = mod_queue(queue_sel);

	switch (off) {
	case 0x014: device_sel = val; break;
	case 0x020: mod_ack(driver_sel, val); break;
	case 0x024: driver_sel = val; break;
	case 0x030: queue_sel = val; break;
	case 0x038: mod_set_size(queue_sel, val); break;
	case 0x044:
		if (r && val <= 1)
			r->ready = val;
		if (!r && !val && queue_sel < QUEUES && mod.q[queue_sel].ready) {
			isr = VIRTIO_MMIO_INT_CONFIG;
			mod_stop();
		}
		break;
	case 0x064: isr &= ~val; break;
	case 0x070:
		if (val <= UINT8_MAX)
			mod_set_status((uint8_t)val);
		if (!val)
			isr = 0;
		break;
	case 0x080: mod_set_addr(queue_sel, VDEV_DESC, false, val); break;
	case 0x084: mod_set_addr(queue_sel, VDEV_DESC, true, val); break;
	case 0x090: mod_set_addr(queue_sel, VDEV_AVAIL, false, val); break;
	case 0x094: mod_set_addr(queue_sel, VDEV_AVAIL, true, val); break;
	case 0x0a0: mod_set_addr(queue_sel, VDEV_USED, false, val); break;
	case 0x0a4: mod_set_addr(queue_sel, VDEV_USED, true, val); break;
	}
}

static uint32_t model_read(uint64_t off)
{
	bool exists = queue_sel < QUEUES;

	switch (off) {
	case 0x000: return 0x74726976;
	case 0x004: return 2;
	case 0x008: return 1;
	case 0x00c: return 0x4d56554d;
	case 0x010: return device_sel > 1 ? 0 : (uint32_t)(mod.offered >> 32 * device_sel);
	case 0x034: return exists ? QUEUE_MAX : 0;
	case 0x044: return exists && mod.q[queue_sel].ready;
	case 0x060: return isr_now();
	case 0x070: return mod.status;
	case 0x0b0: case 0x0b4: case 0x0b8: case 0x0bc: return UINT32_MAX;
	case 0x0fc: return mod.gen;
	default: return 0;
	}
}

static void write_at(uint64_t off, unsigned len, uint64_t val)
{
	if (!fake_kvm_guest_write(hyp, BASE + off, len, val))
		bus_write(bus, BASE + off, len, val);
	if (off < 0x100 && len == 4 && !(off % 4))
		model_write(off, (uint32_t)val);
}

static void read_at(uint64_t off, unsigned len)
{
	uint64_t got = bus_read(bus, BASE + off, len), want = 0;

	if (len != 1 && len != 2 && len != 4 && len != 8)
		return;
	if (off + len > VIRTIO_MMIO_SIZE)
		want = width_mask(len);
	else if (off >= 0x100)
		want = mod_config(off - 0x100, len);
	else if (len == 4 && !(off % 4))
		want = model_read(off);
	/* Of a device that could not be started, queues in the kernel may have been told already. */
	if (off == 0x060 && way == VMMIO_DIRECT && !mod.active)
		got = want = 0;
	must(got == want);
}

/* A whole queue, as a driver sets it up; good unless the input says otherwise. */
static void set_up_queue(struct fuzz_in *in)
{
	unsigned q = fuzz_below(in, QUEUES + 1);

	write_at(0x030, 4, q);
	write_at(0x038, 4, fuzz_below(in, 4) ? 8 : fuzz_u32(in));
	for (unsigned reg = 0; reg < 3; reg++)
		write_at(0x080 + 0x10 * reg, 4, fuzz_u8(in) & 3 ? RAM + 0x1000 * q + 0x400 * reg : any_reg(in));
	write_at(0x044, 4, 1);
}

static void walk_status(struct fuzz_in *in)
{
	static const uint8_t steps[] = { 1, 3, 11, 15 };
	unsigned n = 1 + fuzz_below(in, 4);

	for (unsigned i = 0; i < n; i++) {
		write_at(0x024, 4, i & 1);
		write_at(0x020, 4, i & 1 ? 1 : 0x35);
		write_at(0x070, 4, steps[i]);
	}
}

/* Used buffers in a queue, by whoever has it. */
static void use(unsigned q)
{
	const uint64_t one = 1;

	if (!mod.active || !mod.q[q].ready)
		return;
	if (!lent(q)) {
		dev.v.irq->queue(dev.v.irq_ctx, q);
	} else {
		must(write(dev.call_fd[q], &one, sizeof(one)) == sizeof(one));
		fake_kvm_pump(hyp);
		fake_loop_turn(loop);
	}
	if (!lent(q) || way == VMMIO_HOP)
		isr |= VIRTIO_MMIO_INT_VRING;
}

static void step(struct fuzz_in *in)
{
	uint64_t off;
	unsigned len;

	switch (fuzz_below(in, 10)) {
	case 0: case 1: write_at(fuzz_below(in, 64) * 4, 4, any_reg(in)); break;
	case 2:
		off = fuzz_u16(in) % (VIRTIO_MMIO_SIZE + 8);
		len = fuzz_width(in);
		/* the model looks at whole registers only */
		if (off >= 0x100)
			write_at(off, fuzz_good_width(in), fuzz_u64(in));
		else
			write_at(off, len, fuzz_u64(in));
		break;
	case 3: read_at(fuzz_below(in, 64) * 4, 4); break;
	case 4: read_at(fuzz_u16(in) % (VIRTIO_MMIO_SIZE + 8), fuzz_width(in)); break;
	case 5: set_up_queue(in); break;
	case 6: walk_status(in); break;
	case 7: use(fuzz_below(in, QUEUES)); break;
	case 8:
		if (mod.active)
			dev_breaks(fuzz_below(in, QUEUES));
		break;
	case 9: dev_changes(in); break;
	}
}

/* What holds after each step. */
static void look(unsigned config_irqs)
{
	unsigned bells = 0;

	if (mod.config_irqs != config_irqs)
		isr |= VIRTIO_MMIO_INT_CONFIG;
	fake_loop_turn(loop); /* kicks */
	mod_compare();
	for (unsigned q = 0; q < QUEUES; q++)
		bells += mod.active && mod.q[q].ready;
	must(fake_kvm_nr_ioeventfds(hyp) == bells);
	read_at(0x060, 4);
	must(!fake_kvm_complaint(hyp) && !irq_check_verdict(check));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	set_up(&in);
	for (unsigned steps = 0; fuzz_more(&in) && steps < 256; steps++) {
		unsigned config_irqs = mod.config_irqs;

		step(&in);
		look(config_irqs);
	}
	tear_down();
	return 0;
}
