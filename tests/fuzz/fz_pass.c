// SPDX-License-Identifier: BSD-3-Clause
/*
 * pass: a device of the host's that works, and a guest that drives it, well or not.
 *
 * Covers: vfio/pass.c, pass_bar.c, pass_irq.c, slices.c: BARs placed and moved, accesses to them of any offset
 *         and width, MSI-X, MSI and the line programmed, masked and fired, resets of the function, calls of the
 *         host that fail, when the device is made and later, a device that stops to answer.
 * Oracle: a model of the registers: what they read; where each page of a BAR is shown to the guest, and
 *         what an access by us reaches; which kind of interrupts the host's device is asked for, with how many
 *         vectors, and that a refused one is asked for again only when the guest chooses anew; each signal
 *         arrives once with its message, or waits and is pending. The device's own table, pending bits and
 *         BARs are never written. After whatever failed nothing is left: slots, mappings, routes, descriptors.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/irq_check.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "devices/vfio/pass.h"
#include "tests/fake/hostdev.h"
#include "vmm/core/bus.h"

#define ECAM 0x3f000000u
#define WIN 0x40000000u
#define WIN64 UINT64_C(0x100000000)
#define WIN_SIZE 0x10000000u
#define RID RIG_DEVID
#define SPI 20
#define SLOT 100
#define PAGE 0x1000u
#define MSI_CAP 0x50u
#define EXP_CAP 0x70u
#define MSIX_CAP 0xb0u
#define TABLE 0x2000u
#define MAX_VECTORS 8
#define NR_BARS 4 /* the second is the upper half of the first */

static struct rig rig;
static struct fake_hostdev *hd;
static struct loop *loop;
static struct bus *bus;
static struct pci_host *host;
static struct pass *pass;
static unsigned nr_lost;

/* What the device is, and what its registers must say. */
static struct {
	bool messages, pin;
	unsigned msix_vectors, msi_vectors;
	uint32_t pba;
	uint64_t size[NR_BARS];
	struct slice shown[NR_BARS][PASS_BAR_SLICES]; /* by memory slots, where the BAR is mapped */
	unsigned nr_shown[NR_BARS];
	uint8_t config[256];

	uint16_t command;
	uint32_t bar[NR_BARS];
	uint16_t msix_control;
	uint32_t table[MAX_VECTORS][4];
	uint16_t msi_flags, msi_data;
	uint32_t msi_address[2], msi_masks;
	uint8_t line_byte;
} reg;

/* What became of them. */
struct vector {
	bool attached, waiting;
};
static struct vector msix[MAX_VECTORS], msi[MAX_VECTORS];
static int kind;               /* of enum hostdev_irq; -1: none */
static unsigned count;
static int failed_kind;        /* -1: none */
static unsigned failed_count;
static uint64_t injected, lines;
static bool slow[NR_BARS];     /* a slot was refused: it may not be shown where it is now */
static bool command_lost;      /* written while the device did not answer */

/* ---- the device ---- */

static void put16(unsigned off, unsigned v)
{
	hd->config[off] = (uint8_t)v;
	hd->config[off + 1] = (uint8_t)(v >> 8);
}

static void put32(unsigned off, uint32_t v)
{
	memcpy(hd->config + off, &v, sizeof(v));
}

static void make_caps(void)
{
	unsigned order = 0;

	while (1u << order < reg.msi_vectors)
		order++;
	put16(PCI_STATUS, PCI_STATUS_CAP_LIST);
	hd->config[PCI_CAPABILITY_LIST] = MSI_CAP;
	hd->config[MSI_CAP] = PCI_CAP_ID_MSI;
	hd->config[MSI_CAP + 1] = EXP_CAP;
	put16(MSI_CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | order << 1);
	hd->config[EXP_CAP] = PCI_CAP_ID_EXP;
	hd->config[EXP_CAP + 1] = MSIX_CAP;
	put16(EXP_CAP + PCI_EXP_FLAGS, 2);
	hd->config[MSIX_CAP] = PCI_CAP_ID_MSIX;
	put16(MSIX_CAP + PCI_MSIX_FLAGS, reg.msix_vectors - 1);
	put32(MSIX_CAP + PCI_MSIX_TABLE, TABLE);
	put32(MSIX_CAP + PCI_MSIX_PBA, reg.pba);
}

/* Does page @page of BAR @bar hold something that is ours to answer? */
static bool page_is_ours(unsigned bar, unsigned page)
{
	return reg.messages && bar == 0 && (page == TABLE / PAGE || page == reg.pba / PAGE);
}

/* The runs of whole pages in area @a that the guest may have. */
static void show_area(unsigned bar, struct slice a)
{
	struct slice *s = NULL;

	for (unsigned page = 0; page < reg.size[bar] / PAGE; page++) {
		bool whole = a.off <= page * PAGE && (page + 1) * PAGE <= a.off + a.size;

		if (!whole || page_is_ours(bar, page)) {
			s = NULL;
			continue;
		}
		if (!s) {
			s = &reg.shown[bar][reg.nr_shown[bar]++];
			*s = (struct slice){ page * PAGE, 0 };
		}
		s->size += PAGE;
	}
}

static void make_bar(struct fuzz_in *in, unsigned bar, uint64_t size, uint32_t low)
{
	struct hostdev_region *r = &hd->region[bar];
	uint8_t how = fuzz_u8(in);

	fake_hostdev_set_bar(hd, bar, size, low);
	reg.size[bar] = size;
	reg.bar[bar] = low;
	if (how & 1) { /* two pieces of it may be mapped, or one */
		r->areas[0] = (struct slice){ 0, (how >> 1 & 7) * 0x800 };
		r->areas[1] = (struct slice){ r->areas[0].size, (how >> 4 & 7) * 0x800 };
		r->nr_areas = how >> 7 ? 1 : 2;
	}
	for (unsigned i = 0; i < r->nr_areas; i++)
		if (r->areas[i].off + r->areas[i].size <= size)
			show_area(bar, r->areas[i]);
}

static int make_device(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	int fd = fake_hostdev_new(&hd);

	memset(&reg, 0, sizeof(reg));
	reg.messages = !(how & 1);
	reg.pin = !(how & 2);
	reg.msix_vectors = 1 + (how >> 2 & 7);
	reg.msi_vectors = 1u << (how >> 5 & 3);
	reg.pba = how & 128 ? 0x800 : 0x3000;
	put16(PCI_VENDOR_ID, 0x1b36);
	put16(PCI_DEVICE_ID, 0x10);
	hd->config[PCI_INTERRUPT_PIN] = reg.pin;
	make_caps();
	make_bar(in, 0, 4 * PAGE, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	make_bar(in, 2, 0x100, 0);
	make_bar(in, 3, PAGE, 0);
	hd->nr_irqs[HOSTDEV_INTX] = reg.pin;
	hd->nr_irqs[HOSTDEV_MSI] = reg.msi_vectors;
	hd->nr_irqs[HOSTDEV_MSIX] = reg.msix_vectors;
	hd->nr_irqs[HOSTDEV_ERROR] = hd->nr_irqs[HOSTDEV_REQUEST] = 1;
	hd->resets = true;
	memset(hd->bar[0] + TABLE, 0xee, PAGE);
	memset(hd->bar[0] + reg.pba, 0xee, 8);
	for (unsigned v = 0; v < MAX_VECTORS; v++)
		reg.table[v][3] = 1;
	memcpy(reg.config, hd->config, sizeof(reg.config));
	return fd;
}

/* ---- the model ---- */

static bool is_on(uint16_t bit)
{
	return reg.command & bit;
}

/* Where BAR @bar is; 0: nowhere. They are never placed over one another here. */
static gpa_t place_of(unsigned bar)
{
	gpa_t at = (reg.bar[bar] & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK) | (bar == 0 ? (gpa_t)reg.bar[1] << 32 : 0);
	bool low = at >= WIN && at < WIN + WIN_SIZE, high = at >= WIN64 && at < WIN64 + WIN_SIZE;

	return reg.size[bar] && is_on(PCI_COMMAND_MEMORY) && (low || high) ? at : 0;
}

static bool delivers(uint64_t address, uint32_t data)
{
	return address == FAKE_TRANSLATER && data <= 0xffff;
}

static uint64_t msix_address(unsigned v)
{
	return (uint64_t)reg.table[v][1] << 32 | reg.table[v][0];
}

static bool msix_wanted(unsigned v)
{
	return reg.msix_control & PCI_MSIX_FLAGS_ENABLE && !(reg.msix_control & PCI_MSIX_FLAGS_MASKALL) &&
	       is_on(PCI_COMMAND_MASTER) && !(reg.table[v][3] & 1) && delivers(msix_address(v), reg.table[v][2]);
}

static uint64_t msi_address(void)
{
	return (uint64_t)reg.msi_address[1] << 32 | reg.msi_address[0];
}

static unsigned msi_count(void)
{
	unsigned n = 1u << ((reg.msi_flags & PCI_MSI_FLAGS_QSIZE) >> 4);

	return n < reg.msi_vectors ? n : reg.msi_vectors;
}

/* The vectors share a message, and differ in its low bits. */
static uint32_t msi_data(unsigned v)
{
	return (reg.msi_data & ~(msi_count() - 1)) | v;
}

static bool msi_wanted(unsigned v)
{
	return reg.msi_flags & PCI_MSI_FLAGS_ENABLE && is_on(PCI_COMMAND_MASTER) && v < msi_count() &&
	       !(reg.msi_masks & BIT32(v)) && delivers(msi_address(), msi_data(v));
}

static int wanted_kind(unsigned *ret_count)
{
	if (reg.msix_control & PCI_MSIX_FLAGS_ENABLE) {
		*ret_count = reg.msix_vectors;
		return HOSTDEV_MSIX;
	}
	if (reg.msi_flags & PCI_MSI_FLAGS_ENABLE) {
		*ret_count = msi_count();
		return HOSTDEV_MSI;
	}
	*ret_count = reg.pin;
	return reg.pin ? HOSTDEV_INTX : -1;
}

/* A copy of what the fake was told to refuse: it is used up by the calls that the model expects. */
static int fail_call;
static unsigned fail_after;

static bool call_fails(void)
{
	if (!fail_call || fail_after--)
		return false;
	fail_call = 0;
	return true;
}

/* The host's device is asked for what the guest has chosen, unless that was refused before. */
static void choose(void)
{
	unsigned n;
	int want = wanted_kind(&n);
	bool refused;

	if ((want == kind && n == count) || (want >= 0 && want == failed_kind && n == failed_count))
		return;
	refused = (want >= 0 && call_fails()) || (want == HOSTDEV_INTX && call_fails());
	kind = refused ? -1 : want;
	count = refused ? 0 : n;
	failed_kind = refused ? want : -1;
	failed_count = n;
}

static void forget_all(struct vector *v)
{
	memset(v, 0, MAX_VECTORS * sizeof(*v));
}

/* ---- looking ---- */

static uint32_t cfg_read(unsigned off, unsigned len)
{
	return (uint32_t)bus_read(bus, ECAM + (RID << 12) + off, len);
}

static void cfg_write(unsigned off, unsigned len, uint32_t val)
{
	bus_write(bus, ECAM + (RID << 12) + off, len, val);
}

static void check_registers(void)
{
	must(cfg_read(PCI_COMMAND, 2) == reg.command);
	for (unsigned i = 0; i < NR_BARS; i++)
		must(cfg_read(PCI_BASE_ADDRESS_0 + 4 * i, 4) == reg.bar[i]);
	must(cfg_read(PCI_INTERRUPT_LINE, 1) == reg.line_byte);
	if (!reg.messages)
		return;
	must(cfg_read(MSIX_CAP + PCI_MSIX_FLAGS, 2) == reg.msix_control);
	must(cfg_read(MSI_CAP + PCI_MSI_FLAGS, 2) == reg.msi_flags);
	must(cfg_read(MSI_CAP + PCI_MSI_ADDRESS_LO, 4) == reg.msi_address[0]);
	must(cfg_read(MSI_CAP + PCI_MSI_ADDRESS_HI, 4) == reg.msi_address[1]);
	must(cfg_read(MSI_CAP + PCI_MSI_DATA_64, 2) == reg.msi_data);
	must(cfg_read(MSI_CAP + PCI_MSI_MASK_64, 4) == reg.msi_masks);
}

/* What is ours is never written there; of COMMAND some bits are. */
static UNTRACED void check_device(void)
{
	const uint8_t *is = hd->config, *was = reg.config;
	uint16_t passed = PCI_COMMAND_MEMORY | (reg.command & (PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE));

	must(!memcmp(is, was, PCI_COMMAND));
	must(!memcmp(is + PCI_CLASS_REVISION, was + PCI_CLASS_REVISION, 0x40 - PCI_CLASS_REVISION));
	must(command_lost || (is[PCI_COMMAND] | is[PCI_COMMAND + 1] << 8) == passed);
	must(!reg.messages || (!memcmp(is + MSI_CAP, was + MSI_CAP, 24) && !memcmp(is + MSIX_CAP, was + MSIX_CAP, 12)));
	for (unsigned i = 0; reg.messages && i < 16 * reg.msix_vectors; i++)
		must(hd->bar[0][TABLE + i] == 0xee);
	for (unsigned i = 0; reg.messages && i < 8; i++)
		must(hd->bar[0][reg.pba + i] == 0xee);
}

static void check_slots(void)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_BARS; i++)
		for (unsigned k = 0; k < reg.nr_shown[i]; k++) {
			const struct slice *s = &reg.shown[i][k];
			uint64_t size;
			gpa_t gpa;
			void *hva;
			bool there = fake_kvm_slot(rig.hyp, SLOT + i * PASS_BAR_SLICES + k, &gpa, &size, &hva);

			must(there == !!place_of(i) || (slow[i] && !there));
			must(!there || (gpa == place_of(i) + s->off && size == s->size && hva == hd->bar[i] + s->off));
			nr += there;
		}
	must(fake_kvm_nr_slots(rig.hyp) == nr);
}

static void check_kind(void)
{
	for (int k = HOSTDEV_INTX; k <= HOSTDEV_MSIX; k++)
		must(hd->nr_fds[k] == (k == kind ? count : 0));
	must(kind != HOSTDEV_INTX || hd->unmask >= 0);
}

static void check_vector(int of, unsigned v, bool attached, uint64_t address, uint32_t data)
{
	struct hyp_route r;
	uint32_t gsi;

	if (of != kind || v >= count)
		return;
	must(fake_kvm_attached(rig.hyp, hd->fds[of][v], &gsi) == attached);
	if (!attached)
		return;
	r = fake_kvm_route(rig.hyp, gsi);
	must(r.kind == HYP_ROUTE_MSI && r.addr == address && r.data == data && r.devid == RID && r.valid_devid);
}

static void arrive(struct vector *v)
{
	injected += v->attached && v->waiting;
	v->waiting &= !v->attached;
}

static void check_vectors(void)
{
	unsigned nr = kind == HOSTDEV_INTX;

	for (unsigned v = 0; reg.messages && v < reg.msix_vectors; v++) {
		msix[v].attached = msix_wanted(v);
		arrive(&msix[v]);
		nr += msix[v].attached;
		check_vector(HOSTDEV_MSIX, v, msix[v].attached, msix_address(v), reg.table[v][2]);
	}
	for (unsigned v = 0; reg.messages && v < reg.msi_vectors; v++) {
		msi[v].attached = msi_wanted(v);
		arrive(&msi[v]);
		nr += msi[v].attached;
		check_vector(HOSTDEV_MSI, v, msi[v].attached, msi_address(), msi_data(v));
	}
	rig_deliver(&rig);
	must(fake_kvm_nr_irqfds(rig.hyp) == nr);
	must(fake_kvm_injected(rig.hyp) == injected && !fake_kvm_lost(rig.hyp) && fake_kvm_spis(rig.hyp, SPI) == lines);
}

static void check_pending(void)
{
	gpa_t at = place_of(0);
	uint32_t want = 0;

	if (!reg.messages)
		return;
	for (unsigned v = 0; v < reg.msi_vectors; v++)
		want |= (uint32_t)(reg.msi_flags & PCI_MSI_FLAGS_ENABLE && msi[v].waiting) << v;
	must(cfg_read(MSI_CAP + PCI_MSI_MASK_64 + 4, 4) == want);
	if (!at)
		return;
	want = 0;
	for (unsigned v = 0; v < reg.msix_vectors; v++)
		want |= (uint32_t)(reg.msix_control & PCI_MSIX_FLAGS_ENABLE && msix[v].waiting) << v;
	must(bus_read(bus, at + reg.pba, 8) == want && bus_read(bus, at + reg.pba, 4) == want);
}

/* After each write that may have changed something; tables that the kernel refused are tried again with the next access. */
static void look(uint64_t refusals)
{
	if (rig_stats(&rig).failed_commits != refusals)
		cfg_write(PCI_INTERRUPT_LINE, 1, reg.line_byte);
	choose();
	check_kind();
	check_vectors();
	check_pending();
	check_registers();
	check_slots();
	check_device();
	irq_check(&rig);
}

/* ---- what the guest does ---- */

static gpa_t last_place[NR_BARS];

/* BARs may have moved; @refused: a slot for them was. */
static void moved(bool refused)
{
	for (unsigned i = 0; i < NR_BARS; i++) {
		if (place_of(i) != last_place[i])
			slow[i] = refused;
		last_place[i] = place_of(i);
	}
}

static void write_bar(unsigned i, uint32_t val)
{
	const uint32_t mask = i == 1 ? UINT32_MAX : (uint32_t)~(reg.size[i] - 1);

	cfg_write(PCI_BASE_ADDRESS_0 + 4 * i, 4, val);
	reg.bar[i] = (reg.bar[i] & ~mask) | (val & mask);
	moved(false);
}

/* To a place of its own, in either window, or anywhere outside of both; the halves of the wide one in any order. */
static void place_bar(struct fuzz_in *in)
{
	static const uint8_t bars[] = { 0, 2, 3 };
	unsigned i = bars[fuzz_below(in, sizeof(bars))];
	uint8_t how = fuzz_u8(in);
	uint32_t at = WIN + (i << 24) + fuzz_u8(in) * 0x10000u;

	if (how & 2)
		at = how & 4 ? UINT32_MAX : 0x80000000;
	if (i)
		return write_bar(i, at);
	if (how & 8)
		write_bar(1, how & 1);
	write_bar(0, how & 1 ? at - WIN : at);
	if (!(how & 8))
		write_bar(1, how & 1);
}

static bool shows_when_on(void)
{
	const uint16_t command = reg.command;
	bool shows = false;

	reg.command |= PCI_COMMAND_MEMORY;
	for (unsigned i = 0; i < NR_BARS; i++)
		shows |= reg.nr_shown[i] && place_of(i);
	reg.command = command;
	return shows;
}

static void write_command(struct fuzz_in *in)
{
	uint16_t bits = fuzz_u16(in);
	bool refused = bits & 0x8000 && bits & PCI_COMMAND_MEMORY && !is_on(PCI_COMMAND_MEMORY) && shows_when_on();

	if (refused)
		fake_kvm_fail(rig.hyp, FAKE_SET_MEMORY, 1, -EEXIST);
	cfg_write(PCI_COMMAND, 2, bits);
	reg.command = bits & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	command_lost = hd->dead;
	moved(refused);
}

/* At any width of a register that contains it, the rest being read-only. */
static void write_msix_control(uint16_t val)
{
	const uint16_t mask = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;

	cfg_write(val & 1 ? MSIX_CAP : MSIX_CAP + PCI_MSIX_FLAGS, val & 1 ? 4 : 2, val & 1 ? (uint32_t)val << 16 : val);
	if (!reg.messages)
		return;
	if (val & mask & ~reg.msix_control & PCI_MSIX_FLAGS_ENABLE)
		forget_all(msix);
	reg.msix_control = (reg.msix_control & ~mask) | (val & mask);
	if (!(val & PCI_MSIX_FLAGS_ENABLE) && failed_kind == HOSTDEV_MSIX)
		failed_kind = -1;
}

static void write_msi(unsigned off, unsigned len, uint32_t val)
{
	const uint16_t mask = PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE;
	const uint64_t refusals = rig_stats(&rig).failed_commits;

	cfg_write(MSI_CAP + off, len, val);
	if (!reg.messages)
		return;
	switch (off) {
	case PCI_MSI_FLAGS:
		if (val & ~reg.msi_flags & PCI_MSI_FLAGS_ENABLE)
			forget_all(msi);
		reg.msi_flags = (uint16_t)((reg.msi_flags & ~mask) | (val & mask));
		break;
	case PCI_MSI_ADDRESS_LO: reg.msi_address[0] = val & ~3u; break;
	case PCI_MSI_ADDRESS_HI: reg.msi_address[1] = val; break;
	case PCI_MSI_DATA_64: reg.msi_data = (uint16_t)val; break;
	case PCI_MSI_MASK_64: reg.msi_masks = val; break;
	}
	if (!(reg.msi_flags & PCI_MSI_FLAGS_ENABLE) && failed_kind == HOSTDEV_MSI)
		failed_kind = -1;
	look(refusals);
}

static void program_msi(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	if (how & 1)
		write_msi(PCI_MSI_ADDRESS_LO, 4, how & 2 ? fuzz_u32(in) : FAKE_TRANSLATER);
	if (how & 4)
		write_msi(PCI_MSI_ADDRESS_HI, 4, how & 2);
	if (how & 8)
		write_msi(PCI_MSI_DATA_64, 2, fuzz_u8(in));
	if (how & 16)
		write_msi(PCI_MSI_MASK_64, 4, fuzz_u8(in));
	if (how & 32)
		write_msi(PCI_MSI_FLAGS, 2, (how & 64 ? PCI_MSI_FLAGS_ENABLE : 0) | (uint32_t)fuzz_below(in, 8) << 4);
}

static bool in_table(unsigned bar, uint64_t off)
{
	return reg.messages && bar == 0 && off >= TABLE && off < TABLE + 16 * reg.msix_vectors;
}

static bool in_pba(unsigned bar, uint64_t off)
{
	return reg.messages && bar == 0 && off >= reg.pba && off < reg.pba + 8;
}

static bool fits_table(uint64_t off, unsigned len)
{
	return (len == 4 || len == 8) && off % len == 0 && off + len <= 16 * reg.msix_vectors;
}

static void bar_write(unsigned bar, uint64_t off, unsigned len, uint64_t val)
{
	bool ours = in_table(bar, off) || in_table(bar, off + len - 1) || in_pba(bar, off) || in_pba(bar, off + len - 1);
	const uint64_t refusals = rig_stats(&rig).failed_commits;
	uint8_t bytes[8];

	memcpy(bytes, hd->bar[bar] + off, len);
	bus_write(bus, place_of(bar) + off, len, val);
	if (in_table(bar, off) && fits_table(off - TABLE, len))
		for (unsigned i = 0; i < len / 4; i++) {
			uint64_t w = (off - TABLE) / 4 + i;
			uint32_t word = (uint32_t)(val >> 32 * i);

			reg.table[w / 4][w % 4] = w % 4 == 3 ? word & 1 : word;
		}
	if (!ours && !hd->dead)
		memcpy(bytes, &val, len);
	must(!memcmp(hd->bar[bar] + off, bytes, len));
	look(refusals);
}

static void bar_read(unsigned bar, uint64_t off, unsigned len)
{
	bool ours = in_table(bar, off) || in_table(bar, off + len - 1) || in_pba(bar, off) || in_pba(bar, off + len - 1);
	uint64_t want = width_mask(len);

	if (in_pba(bar, off))
		return; /* looked at after each step */
	if (in_table(bar, off) && fits_table(off - TABLE, len)) {
		want = 0;
		memcpy(&want, (const uint8_t *)reg.table + (off - TABLE), len);
	} else if (!ours && !hd->dead) {
		want = 0;
		memcpy(&want, hd->bar[bar] + off, len);
	}
	must(bus_read(bus, place_of(bar) + off, len) == want);
}

static void bar_access(struct fuzz_in *in)
{
	static const uint8_t bars[] = { 0, 0, 2, 3 };
	uint8_t how = fuzz_u8(in);
	unsigned bar = bars[how & 3], len = 1u << (how >> 2 & 3);
	uint64_t off = fuzz_u16(in) % reg.size[bar];

	if (how & 16) /* near to what is ours */
		off = (how & 32 ? TABLE : reg.pba) - 8 + (off & 0xff);
	if (!place_of(bar) || off + len > reg.size[bar])
		return;
	if (how & 64)
		bar_read(bar, off, len);
	else
		bar_write(bar, off, len, how & 128 ? fuzz_u64(in) : fuzz_u8(in));
}

static void program_vector(struct fuzz_in *in)
{
	unsigned v = fuzz_below(in, MAX_VECTORS);
	uint64_t at = TABLE + 16 * v;

	if (!place_of(0) || v >= reg.msix_vectors || !reg.messages)
		return;
	bar_write(0, at, 8, FAKE_TRANSLATER);
	bar_write(0, at + 8, 4, fuzz_u8(in));
	bar_write(0, at + 12, 4, fuzz_u8(in) & 1);
}

/* The bit that resets, at any width. */
static void write_devctl(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint16_t val = (uint16_t)(how << 8);

	switch (how & 3) {
	case 0: cfg_write(EXP_CAP + PCI_EXP_DEVCTL, 2, val); break;
	case 1: cfg_write(EXP_CAP + PCI_EXP_DEVCTL, 4, val); break;
	default: cfg_write(EXP_CAP + PCI_EXP_DEVCTL + 1, 1, how); break;
	}
	if (!(val & PCI_EXP_DEVCTL_BCR_FLR))
		return;
	reg.line_byte = 0;
	reg.command = reg.msi_data = 0;
	reg.msix_control &= PCI_MSIX_FLAGS_QSIZE;
	reg.msi_flags &= ~(PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	reg.msi_address[0] = reg.msi_address[1] = reg.msi_masks = 0;
	for (unsigned i = 0; i < NR_BARS; i++)
		reg.bar[i] &= i == 1 ? 0 : (uint32_t)reg.size[i] - 1;
	for (unsigned v = 0; v < MAX_VECTORS; v++) {
		memset(reg.table[v], 0, sizeof(reg.table[v]));
		reg.table[v][3] = 1;
	}
	if (failed_kind == HOSTDEV_MSIX || failed_kind == HOSTDEV_MSI)
		failed_kind = -1;
	command_lost = hd->dead;
	moved(false);
}

/* ---- what the device and the host do ---- */

static bool line_masked;
static uint64_t refused_tables; /* so far, the one to come included */

static void fire(struct fuzz_in *in)
{
	int k = (int)fuzz_below(in, 3);
	unsigned v = fuzz_below(in, MAX_VECTORS);
	bool heard = fake_hostdev_fire(hd, (enum hostdev_irq)k, v);

	must(heard == (k == kind && v < count && !(k == HOSTDEV_INTX && line_masked)));
	if (!heard)
		return;
	if (k == HOSTDEV_MSIX)
		msix[v].waiting = true;
	if (k == HOSTDEV_MSI)
		msi[v].waiting = true;
	if (k != HOSTDEV_INTX)
		return;
	line_masked = true;
	injected++;
	lines++;
}

static void end_of_interrupt(void)
{
	if (kind == HOSTDEV_INTX && line_masked) {
		must(eventfd_write(hd->unmask, 1) == 0);
		line_masked = false;
	}
}

static void trouble(struct fuzz_in *in)
{
	unsigned before = nr_lost;
	uint8_t how = fuzz_u8(in);

	switch (how & 3) {
	case 0:
		hd->dead = how & 4;
		break;
	case 1:
		fail_call = hd->fail_call = -ENOSPC;
		fail_after = hd->fail_after = how >> 2 & 3;
		break;
	case 2:
		if (rig_stats(&rig).failed_commits < refused_tables)
			break; /* the last one is still to come */
		fake_kvm_fail(rig.hyp, FAKE_SET_ROUTES, 1, -ENOMEM);
		refused_tables++;
		break;
	default:
		must(fake_hostdev_fire(hd, how & 4 ? HOSTDEV_ERROR : HOSTDEV_REQUEST, 0));
		fake_loop_turn(loop);
		must(nr_lost == before + 1);
	}
}

static void dump(void)
{
	static const char *const kinds[] = { "no interrupts", "INTx", "MSI", "MSI-X" };
	unsigned long long mapped = 0, whole = 0;
	uint64_t size;
	char text[200] = "", want[200];
	FILE *f = fmemopen(text, sizeof(text), "w");
	gpa_t gpa;
	void *hva;

	must(f);
	pass_dump(pass, f);
	fclose(f);
	for (unsigned i = 0; i < NR_BARS; i++) {
		whole += reg.size[i];
		for (unsigned k = 0; k < reg.nr_shown[i]; k++)
			if (fake_kvm_slot(rig.hyp, SLOT + i * PASS_BAR_SLICES + k, &gpa, &size, &hva))
				mapped += size;
	}
	snprintf(want, sizeof(want), "device vfio0: vfio at pci function %#x, %s of %u vectors, %llu of %llu bytes of BARs "
		 "mapped\n", RID, kinds[kind + 1], count, mapped, whole);
	must(!strcmp(text, want));
}

static void step(struct fuzz_in *in)
{
	const uint64_t refusals = rig_stats(&rig).failed_commits;
	const int before = kind;

	switch (fuzz_below(in, 16)) {
	case 0: case 1: place_bar(in); break;
	case 2: write_command(in); break;
	case 3: write_msix_control(fuzz_u16(in)); break;
	case 4: write_msix_control(PCI_MSIX_FLAGS_ENABLE); break;
	case 5: program_msi(in); break;
	case 6: program_vector(in); break;
	case 7: case 8: bar_access(in); break;
	case 9: write_devctl(in); break;
	case 10: case 11: case 12: fire(in); break;
	case 13: end_of_interrupt(); break;
	case 14: trouble(in); break;
	case 15:
		dump();
		reg.line_byte = fuzz_u8(in);
		cfg_write(PCI_INTERRUPT_LINE, 1, reg.line_byte);
		break;
	}
	look(refusals);
	if (kind != before)
		line_masked = false;
}

/* ---- beginning and end ---- */

static void lost(void *ctx, const char *text)
{
	must(ctx == &rig && text && text[0]);
	nr_lost++;
}

/* Something that making the device needs is not to be had, or half of it. */
static int make_in_need(struct fuzz_in *in, struct pass_cfg *pc, struct err *err)
{
	uint8_t what = fuzz_u8(in), after = what >> 3;
	struct famine famine;
	int r;

	switch (what & 7) {
	case 0: hd->dead = true; break;
	case 1: pc->rid = 0x100; break;
	case 2: fake_loop_fail_init(loop, after % 4, -ENOSPC); break;
	case 3: hd->region[2].size = 0x180; break;
	case 4: put32(MSIX_CAP + PCI_MSIX_TABLE, 0x4000); break;
	case 5:
		rig_look_away(&rig);
		famine_begin(&famine, after);
		r = pass_new(pc, &pass, err);
		famine_end(&famine);
		return r;
	default:
		hd->fail_call = -EMFILE;
		hd->fail_after = after % 16;
	}
	return pass_new(pc, &pass, err);
}

static bool set_up(struct fuzz_in *in)
{
	const struct pci_host_cfg cfg = { .ecam = ECAM, .mem_base = WIN, .mem_size = WIN_SIZE,
					  .mem64_base = WIN64, .mem64_size = WIN_SIZE };
	struct pass_cfg pc = { .name = "vfio0", .rid = RID, .spi = SPI, .slot = SLOT, .lost = lost, .ctx = &rig };
	bool in_need = fuzz_u8(in) == 0xff;
	struct err err = { "" };
	int r;

	rig = rig_new();
	must(loop_new(&loop) == 0 && bus_new(&bus) == 0 && pci_host_new(bus, &cfg, &host) == 0);
	pc.fd = make_device(in);
	pc.loop = loop;
	pc.hyp = rig.hyp;
	pc.space = rig.space;
	pc.host = host;
	pc.msi = reg.messages;
	pass = NULL;
	forget_all(msix);
	forget_all(msi);
	memset(slow, 0, sizeof(slow));
	memset(last_place, 0, sizeof(last_place));
	injected = lines = nr_lost = 0;
	refused_tables = 0;
	fail_call = 0;
	line_masked = command_lost = false;
	r = in_need ? make_in_need(in, &pc, &err) : pass_new(&pc, &pass, &err);
	must(!r == !!pass && !r == !err.text[0]);
	must(in_need || !r == (reg.messages || reg.pin));
	reg.msix_control = (uint16_t)(reg.msix_vectors - 1);
	reg.msi_flags = (uint16_t)(hd->config[MSI_CAP + PCI_MSI_FLAGS] | hd->config[MSI_CAP + PCI_MSI_FLAGS + 1] << 8);
	kind = reg.pin ? HOSTDEV_INTX : -1;
	count = reg.pin;
	failed_kind = -1;
	return !r && !in_need;
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
	(void)gsi_commit(rig.space); /* a refusal that still waits for its table */
	rig_free(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	if (set_up(&in)) {
		look(0);
		for (unsigned steps = 0; fuzz_more(&in) && steps < 100; steps++)
			step(&in);
	}
	tear_down();
	return 0;
}
