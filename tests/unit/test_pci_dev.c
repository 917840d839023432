/* SPDX-License-Identifier: BSD-3-Clause */
/* pci/dev: configuration space, sizing, capabilities, BARs that move. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "devices/pci/host.h"

#define ECAM 0x3f000000
#define WIN 0x10000000
#define WIN_SIZE 0x100000
#define SIZE0 0x8000
#define SIZE1 0x1000

#define BAR(n) (PCI_BASE_ADDRESS_0 + 4 * (n))

static struct bus *bus;
static struct pci_host *host;
static struct pci_dev dev, other;
static unsigned written, last_off, last_len, reads;

/* A BAR answers with its number. */
static int nr[2] = { 0, 1 };
static uint64_t bar_read(void *ctx, uint64_t off, unsigned len)
{
	(void)len;
	return 0xb0 + (unsigned)*(int *)ctx + (off ? 0x100 : 0);
}
static void bar_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	(void)ctx;
	(void)off;
	(void)len;
	(void)val;
}
static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };

static void cfg_written(struct pci_dev *d, unsigned off, unsigned len)
{
	if (d != &dev)
		return;
	written++;
	last_off = off;
	last_len = len;
	pci_dev_get16(d, 0); /* the lock is free */
}

static void cfg_read(struct pci_dev *d, unsigned off, unsigned len)
{
	(void)off;
	(void)len;
	reads++;
	pci_dev_get16(d, 0);
}

static const struct pci_dev_ops ops = { .cfg_written = cfg_written, .cfg_read = cfg_read };
static const struct pci_ids ids = { .vendor = 0x1af4, .device = 0x1041, .subsys_vendor = 0x1af4,
				    .subsys = 0x1100, .revision = 1, .class_code = 0x020000 };

static void setup(void)
{
	struct pci_host_cfg cfg = { .ecam = ECAM, .mem_base = WIN, .mem_size = WIN_SIZE };

	written = reads = 0;
	ck_assert_int_eq(bus_new(&bus), 0);
	ck_assert_int_eq(pci_host_new(bus, &cfg, &host), 0);
	pci_dev_init(&dev, &ids, &ops);
	pci_dev_set_bar(&dev, 0, SIZE0, &bar_ops, &nr[0]);
	pci_dev_set_bar(&dev, 1, SIZE1, &bar_ops, &nr[1]);
	ck_assert_int_eq(pci_host_add(host, &dev, 1 << 3), 0);
	pci_dev_init(&other, &ids, &ops);
	pci_dev_set_bar(&other, 0, SIZE0, &bar_ops, &nr[0]);
	ck_assert_int_eq(pci_host_add(host, &other, 2 << 3), 0);
}

static void teardown(void)
{
	pci_dev_fini(&dev);
	pci_dev_fini(&other);
	pci_host_free(host);
	bus_free(bus);
}

static uint32_t rd(unsigned off, unsigned len)
{
	return pci_dev_cfg_read(&dev, off, len);
}

static void wr(unsigned off, unsigned len, uint32_t val)
{
	pci_dev_cfg_write(&dev, off, len, val);
}

static void decode(struct pci_dev *d, bool on)
{
	pci_dev_cfg_write(d, PCI_COMMAND, 2, on ? PCI_COMMAND_MEMORY : 0);
}

static bool at(struct pci_dev *d, unsigned bar, gpa_t gpa)
{
	gpa_t got = 0;

	return pci_dev_bar_gpa(d, bar, &got) && got == gpa;
}

static bool nowhere(struct pci_dev *d, unsigned bar)
{
	gpa_t got;

	return !pci_dev_bar_gpa(d, bar, &got);
}

START_TEST(test_pci_dev_header)
{
	ck_assert_uint_eq(rd(PCI_VENDOR_ID, 4), 0x10411af4);
	ck_assert_uint_eq(rd(PCI_VENDOR_ID, 2), 0x1af4);
	ck_assert_uint_eq(rd(PCI_DEVICE_ID, 2), 0x1041);
	ck_assert_uint_eq(rd(PCI_DEVICE_ID + 1, 1), 0x10);
	ck_assert_uint_eq(rd(PCI_CLASS_REVISION, 4), 0x02000001);
	ck_assert_uint_eq(rd(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	ck_assert_uint_eq(rd(PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(rd(PCI_INTERRUPT_PIN, 1), 0);
	ck_assert_uint_eq(rd(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, 0);
	ck_assert_uint_eq(rd(PCI_CAPABILITY_LIST, 1), 0);
}
END_TEST

START_TEST(test_pci_dev_sizing)
{
	static const unsigned implemented[PCI_NUM_BARS] = { SIZE0, SIZE1 };

	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		wr(BAR(i), 4, 0x12345678);
		wr(BAR(i), 4, UINT32_MAX);
		ck_assert_uint_eq(rd(BAR(i), 4), implemented[i] ? ~(implemented[i] - 1) : 0);
	}
	wr(PCI_ROM_ADDRESS, 4, UINT32_MAX);
	ck_assert_uint_eq(rd(PCI_ROM_ADDRESS, 4), 0);
}
END_TEST

/* Each offset and width, odd ones included: only masked bits change, reads are as wide as asked. */
START_TEST(test_pci_dev_sweep)
{
	static const unsigned lens[] = { 0, 1, 2, 3, 4, 5, 8 };
	static const uint32_t vals[] = { 0, 1, 0x80, 0xffff, 0xa5a5a5a5, UINT32_MAX };
	uint8_t before[PCI_CFG_SIZE];

	memcpy(before, dev.cfg, sizeof(before));
	for (unsigned off = 0; off < 4096; off++)
		for (unsigned l = 0; l < ARRAY_LEN(lens); l++)
			for (unsigned i = 0; i < ARRAY_LEN(vals); i++) {
				unsigned len = lens[l];
				bool ok = (len == 1 || len == 2 || len == 4) && off % len == 0;

				wr(off, len, vals[i]);
				if (!ok)
					ck_assert_uint_eq(rd(off, len), (uint32_t)width_mask(len));
				else if (off >= PCI_CFG_SIZE)
					ck_assert_uint_eq(rd(off, len), 0);
				else
					ck_assert_uint_eq(rd(off, len) & ~width_mask(len), 0);
			}
	for (unsigned i = 0; i < PCI_CFG_SIZE; i++)
		ck_assert_uint_eq((dev.cfg[i] ^ before[i]) & ~dev.wmask[i], 0);
}
END_TEST

START_TEST(test_pci_dev_read_only_fields)
{
	wr(PCI_VENDOR_ID, 4, 0);
	wr(PCI_STATUS, 2, 0xffff);
	wr(PCI_CLASS_REVISION, 4, 0);
	wr(PCI_HEADER_TYPE, 1, 0xff);
	wr(PCI_COMMAND, 2, 0xffff);
	ck_assert_uint_eq(rd(PCI_VENDOR_ID, 4), 0x10411af4);
	ck_assert_uint_eq(rd(PCI_STATUS, 2), 0);
	ck_assert_uint_eq(rd(PCI_CLASS_REVISION, 4), 0x02000001);
	ck_assert_uint_eq(rd(PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(rd(PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	ck_assert(pci_dev_bus_master(&dev));
}
END_TEST

START_TEST(test_pci_dev_capabilities_chain)
{
	uint8_t body[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, mask[9] = { 0, 0, 0xff };
	int a = pci_dev_add_cap(&dev, 0x09, body, 9, NULL), b = pci_dev_add_cap(&dev, 0x11, body, 9, mask), c;

	ck_assert_int_eq(a, 0x40);
	ck_assert_int_eq(b, 0x4c); /* each on four bytes */
	ck_assert_uint_eq(rd(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, PCI_STATUS_CAP_LIST);
	ck_assert_uint_eq(rd(PCI_CAPABILITY_LIST, 1), 0x40);
	ck_assert_uint_eq(rd(0x40, 2), 0x4c09);
	ck_assert_uint_eq(rd(0x4c, 2), 0x0011);
	ck_assert_uint_eq(rd(0x4e, 1), 1);
	wr(0x4c, 4, UINT32_MAX);
	wr(0x50, 4, UINT32_MAX);
	ck_assert_uint_eq(rd(0x4c, 4), 0x02010011);
	ck_assert_uint_eq(rd(0x50, 4), 0x060504ff);
	do
		c = pci_dev_add_cap(&dev, 0x09, body, 9, NULL);
	while (c > 0);
	ck_assert_int_eq(c, -ENOSPC);
	for (unsigned i = 0, cap = rd(PCI_CAPABILITY_LIST, 1); cap; cap = rd(cap + 1, 1))
		ck_assert_uint_lt(i++, 64);
}
END_TEST

START_TEST(test_pci_dev_written_after_effect)
{
	wr(PCI_INTERRUPT_LINE, 1, 7);
	ck_assert(written == 1 && last_off == PCI_INTERRUPT_LINE && last_len == 1);
	wr(PCI_INTERRUPT_LINE, 2, 7);
	wr(0x3d, 2, 7); /* unaligned */
	wr(256, 4, 7);
	ck_assert_uint_eq(written, 2);
	rd(0, 4);
	ck_assert_uint_eq(reads, 1);
}
END_TEST

/* ---- BARs --------------------------------------------------------------------------------- */

START_TEST(test_pci_dev_bar_follows_decode)
{
	wr(BAR(0), 4, WIN);
	wr(BAR(1), 4, WIN + SIZE0);
	ck_assert(nowhere(&dev, 0));
	ck_assert_uint_eq(bus_read(bus, WIN, 1), 0xff);
	decode(&dev, true);
	ck_assert(at(&dev, 0, WIN) && at(&dev, 1, WIN + SIZE0));
	ck_assert_uint_eq(bus_read(bus, WIN, 2), 0xb0);
	ck_assert_uint_eq(bus_read(bus, WIN + SIZE0 + 4, 2), 0x1b1);
	wr(PCI_COMMAND, 1, PCI_COMMAND_MASTER); /* one byte of it will do */
	ck_assert(nowhere(&dev, 0) && nowhere(&dev, 1));
	ck_assert_uint_eq(bus_read(bus, WIN, 1), 0xff);
	ck_assert_uint_eq(rd(BAR(0), 4), WIN);
	decode(&dev, true);
	ck_assert_uint_eq(bus_read(bus, WIN, 2), 0xb0);
}
END_TEST

START_TEST(test_pci_dev_bar_moves_while_decoded)
{
	decode(&dev, true);
	wr(BAR(0), 4, WIN + 0x10000);
	ck_assert(at(&dev, 0, WIN + 0x10000));
	wr(BAR(0), 4, WIN + 0x20000);
	ck_assert(at(&dev, 0, WIN + 0x20000));
	ck_assert_uint_eq(bus_read(bus, WIN + 0x10000, 1), 0xff);
	wr(BAR(0) + 2, 2, (WIN + 0x30000) >> 16); /* halves */
	ck_assert(at(&dev, 0, WIN + 0x30000));
	wr(BAR(0), 4, UINT32_MAX); /* sizing without switching off */
	ck_assert(nowhere(&dev, 0));
	ck_assert_uint_eq(rd(BAR(0), 4), ~(SIZE0 - 1u));
	wr(BAR(0), 4, WIN + 0x30000);
	ck_assert(at(&dev, 0, WIN + 0x30000));
}
END_TEST

START_TEST(test_pci_dev_bar_on_window_edges)
{
	static const struct { gpa_t gpa; bool ok; } places[] = {
		{ WIN, true }, { WIN + WIN_SIZE - SIZE0, true }, { WIN - SIZE0, false }, { WIN + WIN_SIZE, false },
		{ 0, false }, { 0xffff8000, false }, { 0x40000000, false }, { 0x08000000, false }, { ECAM, false },
	};

	decode(&dev, true);
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		wr(BAR(0), 4, (uint32_t)places[i].gpa);
		ck_assert(places[i].ok ? at(&dev, 0, places[i].gpa) : nowhere(&dev, 0));
		ck_assert_uint_eq(rd(BAR(0), 4), places[i].gpa); /* the register keeps it all the same */
	}
}
END_TEST

START_TEST(test_pci_dev_bar_on_another_waits_until_it_leaves)
{
	unsigned before;

	pci_dev_cfg_write(&other, BAR(0), 4, WIN);
	decode(&other, true);
	wr(BAR(0), 4, WIN);
	decode(&dev, true);
	ck_assert(at(&other, 0, WIN) && nowhere(&dev, 0));
	wr(BAR(1), 4, WIN + SIZE0 - SIZE1); /* its last page */
	ck_assert(nowhere(&dev, 1));
	wr(BAR(1), 4, WIN + SIZE0);
	ck_assert(at(&dev, 1, WIN + SIZE0));

	before = written;
	pci_dev_cfg_write(&other, BAR(0), 4, WIN + 0x40000); /* makes room */
	ck_assert(at(&other, 0, WIN + 0x40000) && at(&dev, 0, WIN));
	ck_assert(written == before + 1 && last_off == PCI_BASE_ADDRESS_0);
}
END_TEST

START_TEST(test_pci_dev_bars_exchange_places)
{
	wr(BAR(0), 4, WIN);
	wr(BAR(1), 4, WIN + SIZE0);
	decode(&dev, true);
	wr(BAR(1), 4, WIN + 0x1000); /* inside BAR 0: nowhere, and BAR 0 stays */
	ck_assert(at(&dev, 0, WIN) && nowhere(&dev, 1));
	wr(BAR(0), 4, WIN + 0x10000);
	ck_assert(at(&dev, 0, WIN + 0x10000) && at(&dev, 1, WIN + 0x1000));
}
END_TEST

/* Random writes by two functions: what is mapped is what the registers say, in the window, apart. */
START_TEST(test_pci_dev_random_moves_keep_order)
{
	struct pci_dev *fns[] = { &dev, &other };

	srand(1);
	for (unsigned i = 0; i < 100000; i++) {
		struct pci_dev *d = fns[rand() & 1];
		struct { gpa_t gpa, size; } m[4];
		unsigned n = 0;

		if (rand() % 8)
			pci_dev_cfg_write(d, BAR(rand() & 1), 4,
					  (uint32_t)(WIN - 0x8000 + 0x1000 * (rand() % 64)));
		else
			decode(d, rand() & 1);
		for (unsigned f = 0; f < 2; f++)
			for (unsigned b = 0; b < 2; b++) {
				if (!pci_dev_bar_gpa(fns[f], b, &m[n].gpa))
					continue;
				m[n].size = fns[f]->bars[b].size;
				ck_assert_uint_eq(m[n].gpa, pci_dev_cfg_read(fns[f], BAR(b), 4));
				ck_assert(m[n].gpa >= WIN && m[n].gpa + m[n].size <= WIN + WIN_SIZE);
				ck_assert(pci_dev_get16(fns[f], PCI_COMMAND) & PCI_COMMAND_MEMORY);
				for (unsigned k = 0; k < n; k++)
					ck_assert(m[k].gpa + m[k].size <= m[n].gpa || m[n].gpa + m[n].size <= m[k].gpa);
				n++;
			}
	}
}
END_TEST

START_TEST(test_pci_dev_fini_leaves_bus)
{
	struct pci_dev third;

	pci_dev_init(&third, &ids, NULL);
	pci_dev_set_bar(&third, 2, 4096, &bar_ops, &nr[0]);
	ck_assert_int_eq(pci_host_add(host, &third, 3 << 3), 0);
	pci_dev_cfg_write(&third, BAR(2), 4, WIN + 0x50000);
	decode(&third, true);
	ck_assert_uint_eq(bus_read(bus, WIN + 0x50000, 2), 0xb0);
	pci_dev_fini(&third);
	ck_assert_uint_eq(bus_read(bus, WIN + 0x50000, 2), 0xffff);
	ck_assert_uint_eq(bus_read(bus, ECAM + (3 << 15), 4), UINT32_MAX);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, test_pci_dev_header);
	tcase_add_test(t, test_pci_dev_sizing);
	tcase_add_test(t, test_pci_dev_sweep);
	tcase_add_test(t, test_pci_dev_read_only_fields);
	tcase_add_test(t, test_pci_dev_capabilities_chain);
	tcase_add_test(t, test_pci_dev_written_after_effect);
	tcase_add_test(t, test_pci_dev_bar_follows_decode);
	tcase_add_test(t, test_pci_dev_bar_moves_while_decoded);
	tcase_add_test(t, test_pci_dev_bar_on_window_edges);
	tcase_add_test(t, test_pci_dev_bar_on_another_waits_until_it_leaves);
	tcase_add_test(t, test_pci_dev_bars_exchange_places);
	tcase_add_test(t, test_pci_dev_random_moves_keep_order);
	tcase_add_test(t, test_pci_dev_fini_leaves_bus);
}

/* Above 4 GiB, in the window for 64-bit BARs; each half is a register of its own. */
START_TEST(test_pci_dev_bar64_moves_by_halves)
{
	const struct pci_host_cfg cfg = { .ecam = 0x50000000, .mem_base = WIN, .mem_size = WIN_SIZE,
					  .mem64_base = 1ull << 32, .mem64_size = 1ull << 32 };
	struct pci_host *h;
	struct pci_dev *d = aligned_alloc(VIEW_SIZE, sizeof(*d));
	gpa_t at = 0;

	ck_assert_int_eq(pci_host_new(bus, &cfg, &h), 0);
	pci_dev_init(d, &ids, NULL);
	pci_dev_set_bar64(d, 2, 1ull << 31, &bar_ops, &nr[1]);
	pci_dev_set_prefetchable(d, 2);
	ck_assert_int_eq(pci_host_add(h, d, 3 << 3), 0);
	for (unsigned i = 2; i < 4; i++)
		pci_dev_cfg_write(d, BAR(i), 4, UINT32_MAX);
	ck_assert_uint_eq(pci_dev_cfg_read(d, BAR(2), 4), 0x8000000c);
	ck_assert_uint_eq(pci_dev_cfg_read(d, BAR(3), 4), UINT32_MAX);
	pci_dev_cfg_write(d, BAR(2), 4, 0x80000000);
	decode(d, true);
	ck_assert(!pci_dev_bar_gpa(d, 2, &at)); /* at the top of everything */
	pci_dev_cfg_write(d, BAR(3), 4, 1);
	ck_assert(pci_dev_bar_gpa(d, 2, &at));
	ck_assert_uint_eq(at, 0x180000000);
	ck_assert_uint_eq(bus_read(bus, 0x1ffffffff, 1), 0xb1);
	pci_dev_cfg_write(d, BAR(2), 4, 0);
	ck_assert(pci_dev_bar_gpa(d, 2, &at));
	ck_assert_uint_eq(at, 0x100000000);
	pci_dev_cfg_write(d, BAR(3), 4, 0);
	ck_assert(!pci_dev_bar_gpa(d, 2, &at));
	pci_dev_fini(d);
	free(d);
	pci_host_free(h);
}
END_TEST

static uint32_t seen;

static void cfg_write(struct pci_dev *d, unsigned off, unsigned len, uint32_t val)
{
	(void)len;
	ck_assert_uint_eq(pci_dev_get16(d, off), 0); /* not yet merged, and not locked */
	seen = val;
}

START_TEST(test_pci_dev_cfg_write_sees_the_value_as_written)
{
	static const struct pci_dev_ops own = { .cfg_write = cfg_write };
	struct pci_dev *d = aligned_alloc(VIEW_SIZE, sizeof(*d));

	pci_dev_init(d, &ids, &own);
	seen = 0;
	pci_dev_cfg_write(d, 0x80, 2, 0xbeef); /* read-only */
	ck_assert_uint_eq(seen, 0xbeef);
	ck_assert_uint_eq(pci_dev_cfg_read(d, 0x80, 2), 0);
	pci_dev_fini(d);
	free(d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci_dev");
	TCase *t = tcase_create("pci_dev");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	add_tests(t);
	tcase_add_test(t, test_pci_dev_bar64_moves_by_halves);
	tcase_add_test(t, test_pci_dev_cfg_write_sees_the_value_as_written);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
