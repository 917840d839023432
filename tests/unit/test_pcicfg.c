// SPDX-License-Identifier: BSD-3-Clause
/* pcicfg: what the guest sees of a configuration space that is not ours. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "devices/vfio/pcicfg.h"

static uint8_t raw[PCI_CFG_SIZE];
static struct pci_dev dev;
static struct pcicfg c;

static void put16(unsigned off, unsigned v)
{
	raw[off] = (uint8_t)v;
	raw[off + 1] = (uint8_t)(v >> 8);
}

static void put32(unsigned off, uint32_t v)
{
	memcpy(raw + off, &v, sizeof(v));
}

static void cap(unsigned off, unsigned id, unsigned next)
{
	raw[off] = (uint8_t)id;
	raw[off + 1] = (uint8_t)next;
}

/* A PCI Express endpoint: PM, MSI (4 vectors, 64-bit, masks), PCIe, MSI-X (2048 vectors), vendor. */
static void setup(void)
{
	memset(raw, 0, sizeof(raw));
	put16(PCI_VENDOR_ID, 0x1b36);
	put16(PCI_DEVICE_ID, 0x0010);
	put16(PCI_COMMAND, 0x0546);
	put16(PCI_STATUS, PCI_STATUS_CAP_LIST | PCI_STATUS_INTERRUPT);
	put32(PCI_CLASS_REVISION, 0x01080203);
	put16(PCI_SUBSYSTEM_VENDOR_ID, 0x1af4);
	put16(PCI_SUBSYSTEM_ID, 0x1100);
	put32(PCI_BASE_ADDRESS_0, 0xfebf0004);
	put32(PCI_ROM_ADDRESS, 0xfff00001);
	raw[PCI_INTERRUPT_PIN] = 3;
	raw[PCI_INTERRUPT_LINE] = 77;
	raw[PCI_CAPABILITY_LIST] = 0x40;
	cap(0x40, PCI_CAP_ID_PM, 0x50);
	put16(0x44, 0x0103);
	cap(0x50, PCI_CAP_ID_MSI, 0x70);
	put16(0x52, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | 2 << 1 | PCI_MSI_FLAGS_ENABLE);
	put32(0x54, 0xfee00000);
	cap(0x70, PCI_CAP_ID_EXP, 0xb0);
	put16(0x72, 2 | PCI_EXP_TYPE_ENDPOINT << 4);
	cap(0xb0, PCI_CAP_ID_MSIX, 0xc0);
	put16(0xb2, 2047 | PCI_MSIX_FLAGS_ENABLE);
	put32(0xb4, 0x2000 | 4);
	put32(0xb8, 0xc000 | 4);
	cap(0xc0, PCI_CAP_ID_VNDR, 0);
	raw[0xc2] = 16;
	raw[0xc5] = 0xaa;
}

static void teardown(void)
{
}

static int init(bool msi)
{
	struct err err = { "" };

	return pcicfg_init(&c, raw, msi, 256, &dev, NULL, &err);
}

static unsigned cfg16(unsigned off)
{
	return pci_dev_cfg_read(&dev, off, 2);
}

/* The guest's walk: @id's offset, or 0; every link is inside and the walk ends. */
static unsigned find(uint8_t id)
{
	unsigned at = cfg16(PCI_STATUS) & PCI_STATUS_CAP_LIST ? dev.cfg[PCI_CAPABILITY_LIST] : 0, steps = 0;

	for (; at; at = dev.cfg[at + 1]) {
		ck_assert_uint_ge(at, 0x40);
		ck_assert_uint_le(at, 0xfc);
		ck_assert_uint_lt(steps++, 48);
		if (dev.cfg[at] == id)
			return at;
	}
	return 0;
}

START_TEST(test_pcicfg_header_is_ours_but_for_identity)
{
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(cfg16(PCI_VENDOR_ID), 0x1b36);
	ck_assert_uint_eq(cfg16(PCI_DEVICE_ID), 0x0010);
	ck_assert_uint_eq(pci_dev_cfg_read(&dev, PCI_CLASS_REVISION, 4), 0x01080203);
	ck_assert_uint_eq(cfg16(PCI_SUBSYSTEM_ID), 0x1100);
	ck_assert_uint_eq(cfg16(PCI_COMMAND), 0);
	ck_assert_uint_eq(pci_dev_cfg_read(&dev, PCI_BASE_ADDRESS_0, 4), 0);
	ck_assert_uint_eq(pci_dev_cfg_read(&dev, PCI_ROM_ADDRESS, 4), 0);
	pci_dev_cfg_write(&dev, PCI_ROM_ADDRESS, 4, UINT32_MAX);
	ck_assert_uint_eq(pci_dev_cfg_read(&dev, PCI_ROM_ADDRESS, 4), 0);
	ck_assert(c.intx);
	ck_assert_uint_eq(dev.cfg[PCI_INTERRUPT_PIN], 1); /* any pin is A here */
	ck_assert_uint_eq(dev.cfg[PCI_INTERRUPT_LINE], 0);
	/* Of STATUS all but the list's bit is the device's. */
	ck_assert_uint_eq(c.live[PCI_STATUS], 0xef);
	ck_assert_uint_eq(c.live[PCI_STATUS + 1], 0xff);
	ck_assert_uint_eq(c.live[PCI_COMMAND], 0);
	for (unsigned i = PCI_BASE_ADDRESS_0; i < 0x40; i++)
		ck_assert_uint_eq(c.live[i], 0);
}
END_TEST

START_TEST(test_pcicfg_capabilities_stay_where_they_are)
{
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(find(PCI_CAP_ID_PM), 0);
	ck_assert_uint_eq(find(PCI_CAP_ID_MSI), 0x50);
	ck_assert_uint_eq(find(PCI_CAP_ID_EXP), 0x70);
	ck_assert_uint_eq(find(PCI_CAP_ID_MSIX), 0xb0);
	ck_assert_uint_eq(find(PCI_CAP_ID_VNDR), 0xc0);
	/* Power management is not there, nor can it be written: nothing of it is the device's. */
	for (unsigned i = 0x40; i < 0x48; i++)
		ck_assert_uint_eq(dev.cfg[i] | c.live[i] | dev.wmask[i], 0);
	ck_assert_uint_eq(c.live[0x48], 0xff); /* behind it: the device's own */
	ck_assert_uint_eq(c.live[0xc0] | c.live[0xc1], 0);
	ck_assert_uint_eq(c.live[0xc5], 0xff);
	ck_assert_uint_eq(c.live[0xff], 0xff);
	/* An endpoint on a root bus is an integrated one; the rest of the capability is the device's. */
	ck_assert_uint_eq(dev.cfg[0x72], 2 | PCI_EXP_TYPE_RC_END << 4);
	ck_assert_uint_eq(c.live[0x72], 0);
	ck_assert_uint_eq(c.live[0x70 + PCI_EXP_DEVCTL], 0xff);
}
END_TEST

START_TEST(test_pcicfg_msix_is_ours)
{
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(c.msix_cap, 0xb0);
	ck_assert_uint_eq(c.msix_vectors, 2048);
	ck_assert_uint_eq(c.table_bar, 4);
	ck_assert_uint_eq(c.table.off, 0x2000);
	ck_assert_uint_eq(c.table.size, 2048 * 16);
	ck_assert_uint_eq(c.pba.off, 0xc000);
	ck_assert_uint_eq(c.pba.size, 2048 / 8);
	ck_assert_uint_eq(cfg16(0xb2), 255); /* off, and as many as we show */
	pci_dev_cfg_write(&dev, 0xb2, 2, 0xffff);
	ck_assert_uint_eq(cfg16(0xb2), 0xc0ff);
	pci_dev_cfg_write(&dev, 0xb4, 4, 0);
	ck_assert_uint_eq(pci_dev_cfg_read(&dev, 0xb4, 4), 0x2004);
	for (unsigned i = 0xb0; i < 0xbc; i++)
		ck_assert_uint_eq(c.live[i], 0);
}
END_TEST

START_TEST(test_pcicfg_msi_is_ours)
{
	struct msi_state s;

	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(c.msi_vectors, 4);
	ck_assert(c.msi_wide && c.msi_masks);
	ck_assert_uint_eq(cfg16(0x52), PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | 2 << 1);
	ck_assert_uint_eq(pci_dev_cfg_read(&dev, 0x54, 4), 0);
	pci_dev_cfg_write(&dev, 0x54, 4, 0x30030043);
	pci_dev_cfg_write(&dev, 0x58, 4, 0x12);
	pci_dev_cfg_write(&dev, 0x5c, 4, 0xabcd1230);
	pci_dev_cfg_write(&dev, 0x60, 4, 0x5);
	pci_dev_cfg_write(&dev, 0x64, 4, 0xff); /* pending: read-only */
	pci_dev_cfg_write(&dev, 0x52, 2, PCI_MSI_FLAGS_ENABLE | 1 << 4);
	s = pcicfg_msi(&c, dev.cfg);
	ck_assert(s.enabled);
	ck_assert_uint_eq(s.count, 2);
	ck_assert_uint_eq(s.address, 0x1230030040);
	ck_assert_uint_eq(s.data, 0x1230);
	ck_assert_uint_eq(s.masks, 5);
	ck_assert_uint_eq(pcicfg_msi_pending(&c), 0x64);
	ck_assert_uint_eq(pci_dev_cfg_read(&dev, 0x64, 4), 0);
	/* More than the device has. */
	pci_dev_cfg_write(&dev, 0x52, 2, PCI_MSI_FLAGS_ENABLE | 5 << 4);
	s = pcicfg_msi(&c, dev.cfg);
	ck_assert_uint_eq(s.count, 4);
}
END_TEST

START_TEST(test_pcicfg_msi_of_32_bits_without_masks)
{
	struct msi_state s;

	put16(0x52, 0);
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(c.msi_vectors, 1);
	ck_assert_uint_eq(pcicfg_msi_pending(&c), 0);
	pci_dev_cfg_write(&dev, 0x54, 4, UINT32_MAX);
	pci_dev_cfg_write(&dev, 0x58, 2, 0x77);
	s = pcicfg_msi(&c, dev.cfg);
	ck_assert_uint_eq(s.address, 0xfffffffc);
	ck_assert_uint_eq(s.data, 0x77);
	ck_assert_uint_eq(s.masks, 0);
	ck_assert_uint_eq(c.live[0x5a], 0xff); /* ten bytes long */
}
END_TEST

START_TEST(test_pcicfg_without_messages_hides_them)
{
	ck_assert_int_eq(init(false), 0);
	ck_assert_uint_eq(find(PCI_CAP_ID_MSI) | find(PCI_CAP_ID_MSIX) | c.msi_cap | c.msix_cap, 0);
	ck_assert_uint_eq(find(PCI_CAP_ID_EXP), 0x70);
	for (unsigned i = 0x50; i < 0x68; i++)
		ck_assert_uint_eq(dev.cfg[i] | c.live[i] | dev.wmask[i], 0);
}
END_TEST

START_TEST(test_pcicfg_unsound_chains)
{
	/* It bites its tail. */
	cap(0xc0, PCI_CAP_ID_VNDR, 0x40);
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(find(0xee), 0);
	/* Into the header. */
	raw[PCI_CAPABILITY_LIST] = 0x10;
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(cfg16(PCI_STATUS) & PCI_STATUS_CAP_LIST, 0);
	/* MSI-X in a BAR that there cannot be; a capability that does not fit; a second of a kind; two in one place. */
	setup();
	put32(0xb4, 7);
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(find(PCI_CAP_ID_MSIX) | c.msix_cap, 0);
	setup();
	cap(0xc0, PCI_CAP_ID_VNDR, 0xf8);
	cap(0xf8, PCI_CAP_ID_MSIX, 0xf0);
	cap(0xf0, PCI_CAP_ID_MSI, 0);
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(find(PCI_CAP_ID_MSIX), 0xb0);
	ck_assert_uint_eq(find(PCI_CAP_ID_MSI), 0x50);
	setup();
	cap(0xb0, PCI_CAP_ID_MSIX, 0xb4);
	cap(0xb4, PCI_CAP_ID_VNDR, 0);
	raw[0xb6] = 8;
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(find(PCI_CAP_ID_VNDR), 0);
	ck_assert_uint_eq(c.msix_cap, 0xb0);
	/* One of an unknown kind ends where the next begins. */
	setup();
	cap(0x40, 0x7f, 0x50);
	ck_assert_int_eq(init(true), 0);
	for (unsigned i = 0x40; i < 0x50; i++)
		ck_assert_uint_eq(c.live[i] | dev.cfg[i], 0);
}
END_TEST

START_TEST(test_pcicfg_what_is_no_endpoint)
{
	raw[PCI_HEADER_TYPE] = 1;
	ck_assert_int_eq(init(true), -EINVAL);
	raw[PCI_HEADER_TYPE] = 0x80; /* one of several functions: alone here */
	ck_assert_int_eq(init(true), 0);
	ck_assert_uint_eq(dev.cfg[PCI_HEADER_TYPE], 0);
	memset(raw, 0xff, sizeof(raw));
	ck_assert_int_eq(init(true), -EINVAL);
}
END_TEST

/* Whatever a device says: the chain ends, no bit is both ours and the device's, and no table is too large. */
START_TEST(test_pcicfg_random_bytes)
{
	srandom(3);
	for (unsigned n = 0; n < 10000; n++) { /* a fuzzer goes on from here */
		for (unsigned i = 0; i < sizeof(raw); i++)
			raw[i] = (uint8_t)(random() % 3 ? random() & 0x1f : random());
		raw[PCI_HEADER_TYPE] = 0;
		raw[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
		raw[PCI_CAPABILITY_LIST] = (uint8_t)random();
		if (init(random() & 1))
			continue;
		find(0xee);
		for (unsigned i = 0; i < PCI_CFG_SIZE; i++)
			ck_assert(!(c.live[i] & dev.wmask[i]));
		ck_assert_uint_le(c.msix_vectors, 2048);
		ck_assert_uint_le(c.msi_vectors, 32);
		ck_assert(c.table_bar < 6 && c.pba_bar < 6);
		if (c.msi_cap)
			ck_assert_uint_le(pcicfg_msi(&c, dev.cfg).count, 32);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pcicfg");
	TCase *t = tcase_create("pcicfg");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_pcicfg_header_is_ours_but_for_identity);
	tcase_add_test(t, test_pcicfg_capabilities_stay_where_they_are);
	tcase_add_test(t, test_pcicfg_msix_is_ours);
	tcase_add_test(t, test_pcicfg_msi_is_ours);
	tcase_add_test(t, test_pcicfg_msi_of_32_bits_without_masks);
	tcase_add_test(t, test_pcicfg_without_messages_hides_them);
	tcase_add_test(t, test_pcicfg_unsound_chains);
	tcase_add_test(t, test_pcicfg_what_is_no_endpoint);
	tcase_add_test(t, test_pcicfg_random_bytes);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
