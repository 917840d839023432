// SPDX-License-Identifier: BSD-3-Clause
/*
 * vfio_cfg: a PCI device of the host's that says anything of itself, and a guest that does anything to it.
 *
 * Covers: vfio/pcicfg.c, pass.c, pass_bar.c, pass_irq.c, slices.c on a device made of memory: capability
 *         chains of any shape, BARs, MSI, MSI-X and the line, accesses of any offset and width.
 * Oracle: the chain that the guest sees ends, stays inside, and has only kinds that are shown; what is ours
 *         is not written in the device (BARs, ROM, MSI and MSI-X, COMMAND's other bits); accesses reach
 *         the BAR that is there, and inside it (libFuzzer's address sanitizer: BARs are heap blocks); the
 *         interrupt rules after each step; at the end no interrupt, mapping, slot or descriptor is left.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/irq_check.h"

#include <linux/pci_regs.h>

#include "devices/vfio/pass.h"
#include "devices/vfio/pcicfg.h"
#include "tests/fake/hostdev.h"
#include "vmm/base/cleanup.h"

#define ECAM 0x3f000000u
#define WIN 0x40000000u
#define WIN64 UINT64_C(0x100000000)
#define RID RIG_DEVID
#define CFG (ECAM + (RID << 12))

static struct rig rig;
static struct fake_hostdev *hd;
static struct loop *loop;
static struct bus *bus;
static struct pci_host *host;
static struct pass *pass;
static uint8_t was[256]; /* what the device says of itself */

static void lost(void *ctx, const char *text)
{
	(void)ctx;
	must(text && text[0]);
}

static void set_bar(struct fuzz_in *in, unsigned bar)
{
	uint8_t how = fuzz_u8(in);
	uint32_t low = how & 8 && bar < 5 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0;

	if (how & 1)
		return;
	fake_hostdev_set_bar(hd, bar, UINT64_C(0x100) << (how >> 4 & 7), low | (how & 4 ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0));
	if (how & 2)
		hd->region[bar].nr_areas = 0;
}

/* A chain that means something, unless the bytes of the input say otherwise. */
static void make_caps(struct fuzz_in *in)
{
	static const uint8_t ids[] = { PCI_CAP_ID_MSI, PCI_CAP_ID_MSIX, PCI_CAP_ID_EXP, PCI_CAP_ID_VNDR, PCI_CAP_ID_PM,
				       PCI_CAP_ID_AF };
	unsigned n = fuzz_below(in, 8), link = PCI_CAPABILITY_LIST;

	hd->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	for (unsigned i = 0; i < n; i++) {
		unsigned off = (0x40 + fuzz_u8(in)) & 0xfc;

		hd->config[link] = (uint8_t)off;
		fuzz_take(in, hd->config + off, off < 0xf0 ? 12 : 4);
		hd->config[off] = ids[fuzz_below(in, sizeof(ids))];
		link = off + 1;
	}
}

static int make_device(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	int fd = fake_hostdev_new(&hd);

	if (how & 1)
		fuzz_take(in, hd->config, 64);
	hd->config[0] = 0x36;
	hd->config[1] = 0x1b;
	if (!(how & 2))
		hd->config[PCI_HEADER_TYPE] = 0;
	hd->config[PCI_INTERRUPT_PIN] = how >> 2 & 1;
	if (how & 8)
		fuzz_take(in, hd->config + 64, 192);
	make_caps(in);
	for (unsigned bar = 0; bar < 6; bar++) {
		set_bar(in, bar);
		/* its upper half is no BAR */
		if (hd->region[bar].size && hd->config[0x10 + 4 * bar] & PCI_BASE_ADDRESS_MEM_TYPE_64)
			bar++;
	}
	hd->nr_irqs[HOSTDEV_INTX] = how >> 2 & 1;
	hd->nr_irqs[HOSTDEV_MSI] = 1u << fuzz_below(in, 6);
	hd->nr_irqs[HOSTDEV_MSIX] = 1 + fuzz_u8(in);
	hd->nr_irqs[HOSTDEV_ERROR] = hd->nr_irqs[HOSTDEV_REQUEST] = 1;
	hd->resets = how & 16;
	if (how & 32)
		hd->fail_irqs = -ENOSPC;
	memcpy(was, hd->config, sizeof(was));
	return fd;
}

static int set_up(struct fuzz_in *in)
{
	const struct pci_host_cfg cfg = { .ecam = ECAM, .mem_base = WIN, .mem_size = 0x100000,
					  .mem64_base = WIN64, .mem64_size = 0x100000 };
	struct pass_cfg pc = { .name = "vfio0", .rid = RID, .msi = true, .spi = 20, .slot = 100, .lost = lost };
	struct err err = { "" };
	int r;

	rig = rig_new();
	must(loop_new(&loop) == 0 && bus_new(&bus) == 0 && pci_host_new(bus, &cfg, &host) == 0);
	pc.fd = make_device(in);
	pc.loop = loop;
	pc.hyp = rig.hyp;
	pc.space = rig.space;
	pc.host = host;
	pass = NULL;
	r = pass_new(&pc, &pass, &err);
	must((r == 0) == !!pass && (!r || err.text[0]));
	return r;
}

static void tear_down(void)
{
	pass_free(pass);
	for (unsigned i = 0; i < HOSTDEV_ERROR; i++) /* the others end with the descriptor */
		must(!hd->nr_fds[i]);
	must(!hd->maps && !fake_kvm_nr_slots(rig.hyp));
	pci_host_free(host);
	bus_free(bus);
	loop_free(loop);
	fake_hostdev_free();
	rig_free(&rig);
}

static uint32_t cfg_read(unsigned off, unsigned len)
{
	return (uint32_t)bus_read(bus, CFG + off, len);
}

static void cfg_write(unsigned off, unsigned len, uint32_t val)
{
	bus_write(bus, CFG + off, len, val);
}

/* Returns the offset of capability @id; 0: not there. */
static unsigned check_chain(uint8_t id)
{
	unsigned found = 0, n = 0;
	bool seen[64] = { false };

	if (!(cfg_read(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	for (unsigned at = cfg_read(PCI_CAPABILITY_LIST, 1); at; at = cfg_read(at + 1, 1)) {
		uint8_t kind = (uint8_t)cfg_read(at, 1);

		must(at >= 0x40 && at % 4 == 0 && !seen[at / 4] && ++n <= 48);
		must(kind == PCI_CAP_ID_MSI || kind == PCI_CAP_ID_MSIX || kind == PCI_CAP_ID_EXP || kind == PCI_CAP_ID_VNDR);
		seen[at / 4] = true;
		if (kind == id)
			found = at;
	}
	return found;
}

static void check_device(void)
{
	unsigned msi = check_chain(PCI_CAP_ID_MSI), msix = check_chain(PCI_CAP_ID_MSIX);

	must(!memcmp(hd->config, was, PCI_COMMAND));
	must(!memcmp(hd->config + PCI_CACHE_LINE_SIZE, was + PCI_CACHE_LINE_SIZE, 64 - PCI_CACHE_LINE_SIZE));
	if (msi)
		must(!memcmp(hd->config + msi, was + msi, 10));
	if (msix)
		must(!memcmp(hd->config + msix, was + msix, 12));
	must(!fake_kvm_complaint(rig.hyp));
}

static void place_bar(struct fuzz_in *in)
{
	unsigned off = PCI_BASE_ADDRESS_0 + 4 * fuzz_below(in, 6);
	bool wide = fuzz_u8(in) & 1;

	cfg_write(off, 4, (wide ? 0 : WIN) + fuzz_u8(in) * 0x1000u);
	if (wide)
		cfg_write(off + 4, 4, WIN64 >> 32);
	cfg_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void bar_access(struct fuzz_in *in)
{
	gpa_t at = (fuzz_u8(in) & 1 ? WIN64 : WIN) + (fuzz_u32(in) & 0xfffff);
	unsigned len = fuzz_good_width(in);

	if (fuzz_u8(in) & 1)
		bus_write(bus, at, len, fuzz_u8(in) & 1 ? FAKE_TRANSLATER : fuzz_u16(in));
	else
		(void)bus_read(bus, at, len);
}

/* What a driver does to have messages. */
static void want_messages(struct fuzz_in *in)
{
	unsigned msi = check_chain(PCI_CAP_ID_MSI), msix = check_chain(PCI_CAP_ID_MSIX);
	uint16_t flags = fuzz_u16(in);

	if (msi && flags & 1) {
		cfg_write(msi + 4, 4, FAKE_TRANSLATER);
		cfg_write(msi + 8, 2, cfg_read(msi + 2, 2) & PCI_MSI_FLAGS_64BIT ? 0 : fuzz_u8(in));
		cfg_write(msi + 12, 2, fuzz_u8(in));
		cfg_write(msi + 2, 2, flags);
	} else if (msix) {
		gpa_t table = WIN + (cfg_read(msix + 4, 4) & ~7u & 0xffff) + 16 * (gpa_t)fuzz_below(in, 4);

		bus_write(bus, table, 8, FAKE_TRANSLATER);
		bus_write(bus, table + 8, 4, fuzz_u8(in));
		bus_write(bus, table + 12, 4, fuzz_u8(in) & 1);
		cfg_write(msix + 2, 2, flags);
	}
}

static void step(struct fuzz_in *in)
{
	switch (fuzz_below(in, 8)) {
	case 0: cfg_write(fuzz_u16(in) & 0xfff, fuzz_good_width(in), fuzz_u32(in)); break;
	case 1: (void)cfg_read(fuzz_u16(in) & 0xfff, fuzz_good_width(in)); break;
	case 2: place_bar(in); break;
	case 3: case 4: bar_access(in); break;
	case 5: want_messages(in); break;
	case 6:
		fake_hostdev_fire(hd, (enum hostdev_irq)fuzz_below(in, 5), fuzz_below(in, 8));
		rig_deliver(&rig);
		fake_loop_turn(loop);
		break;
	case 7: cfg_write(PCI_COMMAND, 2, fuzz_u16(in)); break;
	}
	check_device();
	irq_check(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	if (set_up(&in) == 0) {
		check_device();
		for (unsigned steps = 0; fuzz_more(&in) && steps < 100; steps++)
			step(&in);
	}
	tear_down();
	return 0;
}
