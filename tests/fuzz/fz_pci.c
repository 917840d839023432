// SPDX-License-Identifier: BSD-3-Clause
/*
 * pci: virtio over PCI, by configuration space, BARs that move, and the PCI_CFG window.
 *
 * Covers: virtio_pci.c and virtio_pci_common.c, vdev.c, the function in pci/dev.c, with and without
 *         views, with queues here and in the kernel.
 * Oracle: vdev_model.h after each step; each field of the common structure, by an exit and, where
 *         there is one, through the view; bits of configuration space that are read-only stay as
 *         they are; a doorbell for each queue that runs, where BAR 0 is now; the ISR against what was
 *         signalled; the interrupt rules of irq_check.h; at the end nothing is left in the kernel.
 */
#include "tests/fuzz/vdev_model.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <unistd.h>

#include "devices/pci/host.h"
#include "devices/virtio/virtio_pci_priv.h"
#include "tests/fake/driver.h"
#include "tests/fake/irq.h"
#include "tests/fake/kvm.h"
#include "tests/fake/loop.h"
#include "vmm/core/irq_check.h"

#define ECAM 0x3f000000
#define WIN 0x10000000
#define WIN_SIZE 0x100000
#define RID (2 << 3)
#define CFG (ECAM + ((gpa_t)RID << 12))
#define BAR0_SIZE 0x8000
#define BAR1_SIZE 0x10000
#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)

static struct loop *loop;
static struct gmem *mem;
static struct bus *bus;
static struct hyp *hyp;
static struct gsi_space *space;
static struct irq_check *check;
static struct pci_host *host;
static struct virtio_pci *pci;
static struct fake_guest g;
static uint8_t cfg_want[256], cfg_mask[256];
static uint32_t device_sel, driver_sel, isr;
static uint16_t queue_sel, vectors[QUEUES + 1];

static void broken_rule(void *ctx, const char *sentence)
{
	(void)ctx;
	fuzz_fail("irq_check", 0, sentence);
}

static void mask32(unsigned off, uint32_t mask)
{
	memcpy(cfg_mask + off, &mask, sizeof(mask));
}

/* What a driver may change in configuration space. */
static void note_config(void)
{
	memset(cfg_mask, 0, sizeof(cfg_mask));
	mask32(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	mask32(PCI_CACHE_LINE_SIZE, 0xff);
	mask32(PCI_INTERRUPT_LINE, 0xff);
	mask32(PCI_BASE_ADDRESS_0, ~(BAR0_SIZE - 1u));
	mask32(PCI_BASE_ADDRESS_1, ~(BAR1_SIZE - 1u));
	mask32(g.msix, 0xc0000000);
	mask32(g.window + offsetof(struct virtio_pci_cap, bar), 0xff);
	mask32(g.window + offsetof(struct virtio_pci_cap, offset), UINT32_MAX);
	mask32(g.window + offsetof(struct virtio_pci_cap, length), UINT32_MAX);
	mask32(g.window + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), UINT32_MAX);
	for (unsigned i = 0; i < 256; i += 4) {
		uint32_t val = (uint32_t)bus_read(bus, CFG + i, 4);

		memcpy(cfg_want + i, &val, 4);
	}
}

static void set_up(struct fuzz_in *in)
{
	const struct pci_host_cfg hc = { .ecam = ECAM, .mem_base = WIN, .mem_size = WIN_SIZE };
	struct virtio_pci_cfg cfg = { .vdev = &dev.v, .rid = RID };
	uint8_t flags = fuzz_u8(in);

	must(loop_new(&loop) == 0 && gmem_new(&mem) == 0 && bus_new(&bus) == 0);
	must(gmem_add(mem, RAM, RAM_SIZE, false) == 0);
	hyp = fake_kvm_new();
	fake_kvm_set_max_routes(hyp, 128);
	space = fake_gsi_space(hyp);
	must(irq_check_new(space, broken_rule, NULL, &check) == 0);
	irq_check_devid(check, RID);
	must(pci_host_new(bus, &hc, &host) == 0);
	dev_make(loop, mem, flags & 7);
	cfg.host = host;
	cfg.hyp = hyp;
	cfg.space = space;
	cfg.slot = flags & 8 ? 7 : 0;
	must(virtio_pci_new(&cfg, &pci) == 0 && loop_seal(loop) == 0);
	must(fake_guest_pci(&g, bus, hyp, ECAM, RID));
	note_config();
	device_sel = driver_sel = isr = queue_sel = 0;
	memset(vectors, 0xff, sizeof(vectors));
}

static void tear_down(void)
{
	virtio_pci_free(pci);
	must(!fake_kvm_nr_ioeventfds(hyp) && !fake_kvm_nr_irqfds(hyp) && !fake_kvm_nr_slots(hyp));
	must(!fake_kvm_complaint(hyp));
	vdev_free(&dev.v);
	pci_host_free(host);
	must(gsi_commit(space) == 0);
	irq_check_end(space);
	irq_check_free(check);
	gsi_space_free(space);
	hyp_free(hyp);
	bus_free(bus);
	loop_free(loop);
	gmem_free(mem);
}

/* ---- the common structure, once more ------------------------------------------------------ */

static void mod_addr(enum vdev_area area, unsigned len, bool high, uint64_t val)
{
	mod_set_addr(queue_sel, area, high, (uint32_t)val);
	if (len == 8)
		mod_set_addr(queue_sel, area, true, (uint32_t)(val >> 32));
}

static void common_write(uint64_t off, unsigned len, uint64_t val)
{
	uint16_t vector = (uint16_t)val > QUEUES ? MSIX_NO_VECTOR : (uint16_t)val;
	bool high = off % 8 == 4;

	switch (off << 4 | len) {
	case 0x004: device_sel = (uint32_t)val; break;
	case 0x084: driver_sel = (uint32_t)val; break;
	case 0x0c4: mod_ack(driver_sel, (uint32_t)val); break;
	case 0x102: vectors[QUEUES] = vector; break;
	case 0x141:
		mod_set_status((uint8_t)val);
		if (val & 0xff)
			break;
		isr = 0;
		memset(vectors, 0xff, sizeof(vectors));
		break;
	case 0x162: queue_sel = (uint16_t)val; break;
	case 0x182: mod_set_size(queue_sel, val & 0xffff); break;
	case 0x1a2:
		if (queue_sel < QUEUES)
			vectors[queue_sel] = vector;
		break;
	case 0x1c2:
		if (mod_queue(queue_sel) && (val & 0xffff) == 1)
			mod.q[queue_sel].ready = true;
		break;
	case 0x204: case 0x208: case 0x244: mod_addr(VDEV_DESC, len, high, val); break;
	case 0x284: case 0x288: case 0x2c4: mod_addr(VDEV_AVAIL, len, high, val); break;
	case 0x304: case 0x308: case 0x344: mod_addr(VDEV_USED, len, high, val); break;
	}
}

static uint64_t common_read(uint64_t off, unsigned len)
{
	static const struct vq_regs none;
	const struct vq_regs *r = queue_sel < QUEUES ? &mod.q[queue_sel] : &none;

	switch (off << 4 | len) {
	case 0x004: return device_sel;
	case 0x044: return device_sel > 1 ? 0 : (uint32_t)(mod.offered >> 32 * device_sel);
	case 0x084: return driver_sel;
	case 0x0c4: return driver_sel > 1 ? 0 : (uint32_t)(mod.acked >> 32 * driver_sel);
	case 0x102: return vectors[QUEUES];
	case 0x122: return QUEUES;
	case 0x141: return mod.status;
	case 0x151: return mod.gen & 0xff;
	case 0x162: return queue_sel;
	case 0x182: return r->size;
	case 0x1a2: return r == &none ? MSIX_NO_VECTOR : vectors[queue_sel];
	case 0x1c2: return r->ready;
	case 0x1e2: return r == &none ? 0 : queue_sel;
	case 0x208: return r->desc;
	case 0x204: return (uint32_t)r->desc;
	case 0x244: return r->desc >> 32;
	case 0x288: return r->avail;
	case 0x284: return (uint32_t)r->avail;
	case 0x2c4: return r->avail >> 32;
	case 0x308: return r->used;
	case 0x304: return (uint32_t)r->used;
	case 0x344: return r->used >> 32;
	default: return width_mask(len);
	}
}

/* ---- accesses ----------------------------------------------------------------------------- */

static uint64_t bar0_want(uint64_t off, unsigned len)
{
	uint64_t val = isr;

	if (off < 0x100)
		return common_read(off, len);
	if (off == 0x2000 && len == 1) {
		isr = 0;
		return val;
	}
	return off < 0x2000 ? mod_config(off - 0x100, len) : width_mask(len);
}

static void bar0_written(uint64_t off, unsigned len, uint64_t val)
{
	if (off < 0x100)
		common_write(off, len, val & width_mask(len));
}

static void bar0_write(uint64_t off, unsigned len, uint64_t val)
{
	gpa_t at;

	if (!pci_dev_bar_gpa(&pci->dev, 0, &at) || off + len > BAR0_SIZE)
		return;
	if (!fake_kvm_guest_write(hyp, at + off, len, val))
		bus_write(bus, at + off, len, val);
	bar0_written(off, len, val);
}

/* Twice: by an exit, and as the guest itself would see it. An access that is no field's is all ones in the first only. */
static void bar0_read(uint64_t off, unsigned len)
{
	uint64_t want, seen;
	gpa_t at;

	if (!pci_dev_bar_gpa(&pci->dev, 0, &at) || off + len > BAR0_SIZE)
		return;
	want = bar0_want(off, len);
	must(bus_read(bus, at + off, len) == want);
	if (off >= 0x100 || want != width_mask(len))
		if (off < VIEW_SIZE && off + len <= VIEW_SIZE && fake_kvm_guest_read(hyp, at + off, len, &seen))
			must(seen == want);
}

static void bar1_access(struct fuzz_in *in)
{
	uint64_t off = fuzz_u8(in) % 72, val = fuzz_u32(in);
	gpa_t at;

	if (!pci_dev_bar_gpa(&pci->dev, 1, &at))
		return;
	if (off >= 64)
		(void)bus_read(bus, at + 0x8000 + off - 64, fuzz_good_width(in));
	else
		bus_write(bus, at + off, fuzz_good_width(in), off % 16 < 8 && val & 1 ? FAKE_TRANSLATER : val & 0xff);
}

static void cfg_write(unsigned off, unsigned len, uint32_t val)
{
	unsigned data = g.window + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);

	bus_write(bus, CFG + off, len, val);
	if (len > 4 || off % len || off + len > 256)
		return;
	for (unsigned i = 0; i < len; i++) {
		uint8_t mask = cfg_mask[off + i], byte = (uint8_t)(val >> 8 * i);

		cfg_want[off + i] = (cfg_want[off + i] & ~mask) | (byte & mask);
	}
	/* In the window: what was written went to the register behind it, too. */
	if (off < data + 4 && off + len > data) {
		struct virtio_pci_cfg_cap cap;
		uint32_t n;

		memcpy(&cap, cfg_want + g.window, sizeof(cap));
		n = cap.cap.length;
		memcpy(&val, cap.pci_cfg_data, sizeof(val));
		if (cap.cap.bar == 0 && (n == 1 || n == 2 || n == 4) && !(cap.cap.offset % n) &&
		    (uint64_t)cap.cap.offset + n <= BAR0_SIZE)
			bar0_written(cap.cap.offset, n, val);
	}
}

static void window_point(uint8_t bar, uint32_t off, uint32_t len)
{
	cfg_write(g.window + offsetof(struct virtio_pci_cap, bar), 1, bar);
	cfg_write(g.window + offsetof(struct virtio_pci_cap, offset), 4, off);
	cfg_write(g.window + offsetof(struct virtio_pci_cap, length), 4, len);
}

static void window_access(struct fuzz_in *in)
{
	unsigned data = g.window + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), len = 1u << fuzz_below(in, 3);
	uint32_t off = fuzz_u8(in) & 0x3f, val = any_reg(in), got;

	if (off == 0x3f)
		off = 0x2000;
	off = off / len * len;
	window_point(0, off, len);
	if (fuzz_u8(in) & 1) {
		cfg_write(data, 4, val);
		return;
	}
	val = (uint32_t)bar0_want(off, len);
	got = (uint32_t)bus_read(bus, CFG + data, 4);
	must((got & width_mask(len)) == val);
	memcpy(cfg_want + data, &got, 4);
}

/* ---- steps -------------------------------------------------------------------------------- */

static void map_bars(struct fuzz_in *in)
{
	uint32_t at = WIN + (fuzz_u8(in) & 15) * BAR1_SIZE;

	cfg_write(PCI_BASE_ADDRESS_0, 4, at);
	cfg_write(PCI_BASE_ADDRESS_1, 4, at + BAR1_SIZE * (fuzz_u8(in) & 3));
	cfg_write(PCI_COMMAND, 2, fuzz_u8(in) & 7);
}

static void set_up_queue(struct fuzz_in *in)
{
	unsigned q = fuzz_below(in, QUEUES + 1);

	bar0_write(COMMON(queue_select), 2, q);
	bar0_write(COMMON(queue_size), 2, fuzz_below(in, 4) ? 8 : fuzz_u16(in));
	for (unsigned reg = 0; reg < 3; reg++)
		bar0_write(COMMON(queue_desc_lo) + 8 * reg, 8, fuzz_u8(in) & 3 ? RAM + 0x1000 * q + 0x400 * reg : any_reg(in));
	bar0_write(COMMON(queue_msix_vector), 2, fuzz_below(in, 5));
	bar0_write(COMMON(queue_enable), 2, 1);
}

static void walk_status(struct fuzz_in *in)
{
	static const uint8_t steps[] = { 1, 3, 11, 15 };
	unsigned n = 1 + fuzz_below(in, 4);

	for (unsigned i = 0; i < n; i++) {
		bar0_write(COMMON(guest_feature_select), 4, i & 1);
		bar0_write(COMMON(guest_feature), 4, i & 1 ? 1 : 0x35);
		bar0_write(COMMON(device_status), 1, steps[i]);
	}
}

static void use(unsigned q)
{
	const uint64_t one = 1;

	if (!mod.active || !mod.q[q].ready)
		return;
	if (dev.vhost & BIT32(q)) {
		must(write(dev.call_fd[q], &one, sizeof(one)) == sizeof(one));
	} else {
		dev.v.irq->queue(dev.v.irq_ctx, q);
		isr |= 1;
	}
	fake_kvm_pump(hyp);
}

static void step(struct fuzz_in *in)
{
	unsigned len = fuzz_good_width(in);

	switch (fuzz_below(in, 12)) {
	case 0: bar0_write(fuzz_below(in, 56), len, any_reg(in)); break;
	case 1: bar0_write(fuzz_u16(in) & (BAR0_SIZE - 1), len, fuzz_u64(in)); break;
	case 2: bar0_read(fuzz_below(in, 60), len); break;
	case 3: bar0_read(fuzz_u16(in) & (BAR0_SIZE - 1), len); break;
	case 4: bar1_access(in); break;
	case 5: cfg_write(fuzz_u16(in) & 0x1ff, len, fuzz_u32(in)); break;
	case 6: window_access(in); break;
	case 7: map_bars(in); break;
	case 8: set_up_queue(in); break;
	case 9: walk_status(in); break;
	case 10: use(fuzz_below(in, QUEUES)); break;
	case 11:
		if (mod.active && fuzz_u8(in) & 1)
			dev_breaks(fuzz_below(in, QUEUES));
		else
			dev_changes(in);
		break;
	}
}

static void look_at_config(void)
{
	unsigned data = g.window + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);

	for (unsigned off = 0; off < 256; off += 4) {
		uint32_t want;

		memcpy(&want, cfg_want + off, 4);
		if (off != data)
			must((uint32_t)bus_read(bus, CFG + off, 4) == want);
	}
}

/* What holds after each step. */
static void look(unsigned config_irqs)
{
	unsigned bells = 0;
	gpa_t at;

	if (mod.config_irqs != config_irqs)
		isr |= 2;
	fake_loop_turn(loop);
	mod_compare();
	if (mod.active && pci_dev_bar_gpa(&pci->dev, 0, &at))
		for (unsigned q = 0; q < QUEUES; q++) {
			must(fake_kvm_guest_write(hyp, at + 0x6000 + 4 * q, 2, q) == mod.q[q].ready);
			bells += mod.q[q].ready;
		}
	must(fake_kvm_nr_ioeventfds(hyp) == bells && pci->isr == isr);
	must(!fake_kvm_complaint(hyp) && !irq_check_verdict(check));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	set_up(&in);
	for (unsigned steps = 0; fuzz_more(&in) && steps < 200; steps++) {
		unsigned config_irqs = mod.config_irqs;

		step(&in);
		look(config_irqs);
	}
	look_at_config();
	tear_down();
	return 0;
}
