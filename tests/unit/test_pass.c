// SPDX-License-Identifier: BSD-3-Clause
/* pass: a device of the host's on the guest's bus, with a fake device and the fake KVM. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <stdio.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "devices/vfio/pass.h"
#include "tests/fake/hostdev.h"
#include "tests/fake/sparse.h"
#include "tests/unit/irq_check.h"
#include "vmm/base/cleanup.h"
#include "vmm/core/bus.h"

#define ECAM 0x3f000000u
#define WIN 0x40000000u
#define WIN64 0x100000000ull
#define RID RIG_DEVID /* devid = rid */
#define SPI 20
#define SLOT 100
#define NVEC 5

#define MSI_CAP 0x50
#define EXP_CAP 0x70
#define MSIX_CAP 0xb0
#define TABLE 0x2000
#define PBA 0x3000

static struct rig rig;
static struct fake_hostdev *hd;
static struct loop *loop;
static struct bus *bus;
static struct pci_host *host;
static struct pass *pass;
static int fd = -1;
static char lost_text[200];

static void lost(void *ctx, const char *text)
{
	(void)ctx;
	snprintf(lost_text, sizeof(lost_text), "%s", text);
}

static void put16(unsigned off, unsigned v)
{
	hd->config[off] = (uint8_t)v;
	hd->config[off + 1] = (uint8_t)(v >> 8);
}

static void put32(unsigned off, uint32_t v)
{
	memcpy(hd->config + off, &v, sizeof(v));
}

/* 16 KiB of 64-bit BAR with the MSI-X table in its third page and the pending bits in the fourth; 256 bytes of another. */
static void make_hardware(void)
{
	close_fd(&fd);
	fd = fake_hostdev_new(&hd);
	put16(PCI_VENDOR_ID, 0x1b36);
	put16(PCI_DEVICE_ID, 0x10);
	put16(PCI_STATUS, PCI_STATUS_CAP_LIST);
	hd->config[PCI_INTERRUPT_PIN] = 1;
	hd->config[PCI_CAPABILITY_LIST] = MSI_CAP;
	hd->config[MSI_CAP] = PCI_CAP_ID_MSI;
	hd->config[MSI_CAP + 1] = EXP_CAP;
	put16(MSI_CAP + 2, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | 1 << 1);
	hd->config[EXP_CAP] = PCI_CAP_ID_EXP;
	hd->config[EXP_CAP + 1] = MSIX_CAP;
	put16(EXP_CAP + 2, 2);
	hd->config[MSIX_CAP] = PCI_CAP_ID_MSIX;
	put16(MSIX_CAP + 2, NVEC - 1);
	put32(MSIX_CAP + 4, TABLE);
	put32(MSIX_CAP + 8, PBA);
	fake_hostdev_set_bar(hd, 0, 0x4000, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	fake_hostdev_set_bar(hd, 2, 0x100, 0);
	hd->nr_irqs[HOSTDEV_INTX] = hd->nr_irqs[HOSTDEV_REQUEST] = 1;
	hd->nr_irqs[HOSTDEV_ERROR] = 1;
	hd->nr_irqs[HOSTDEV_MSI] = 2;
	hd->nr_irqs[HOSTDEV_MSIX] = NVEC;
	hd->resets = true;
}

static int make_pass(bool msi, struct err *err)
{
	struct pass_cfg cfg = {
		.fd = steal_fd(&fd), .name = "vfio0", .loop = loop, .hyp = rig.hyp, .space = rig.space, .host = host, .rid = RID,
		.msi = msi, .spi = SPI, .slot = SLOT, .lost = lost,
	};

	return pass_new(&cfg, &pass, err);
}

static void bring_up(void)
{
	struct err err = { "" };

	ck_assert_msg(make_pass(true, &err) == 0, "%s", err.text);
}

static void setup(void)
{
	const struct pci_host_cfg cfg = { .ecam = ECAM, .mem_base = WIN, .mem_size = 0x10000000,
					  .mem64_base = WIN64, .mem64_size = 0x10000000 };

	rig = rig_new();
	pass = NULL;
	lost_text[0] = '\0';
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(bus_new(&bus), 0);
	ck_assert_int_eq(pci_host_new(bus, &cfg, &host), 0);
	make_hardware();
}

static void teardown(void)
{
	pass_free(pass);
	for (unsigned i = 0; i < FAKE_HOSTDEV_IRQS - 2; i++)
		ck_assert_uint_eq(hd->nr_fds[i], 0);
	ck_assert_uint_eq(hd->maps, 0);
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 0);
	pci_host_free(host);
	bus_free(bus);
	loop_free(loop);
	fake_hostdev_free();
	close_fd(&fd);
	rig_free(&rig);
}

static uint32_t rd(unsigned off, unsigned len)
{
	return (uint32_t)bus_read(bus, ECAM + (RID << 12) + off, len);
}

static void wr(unsigned off, unsigned len, uint32_t val)
{
	bus_write(bus, ECAM + (RID << 12) + off, len, val);
}

#define ON (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static void place(void)
{
	wr(PCI_BASE_ADDRESS_0, 4, (uint32_t)WIN64);
	wr(PCI_BASE_ADDRESS_1, 4, (uint32_t)(WIN64 >> 32));
	wr(PCI_BASE_ADDRESS_2, 4, WIN);
	wr(PCI_COMMAND, 2, ON);
}

static void vector(unsigned v, bool masked)
{
	gpa_t at = WIN64 + TABLE + v * 16;

	bus_write(bus, at, 8, FAKE_TRANSLATER);
	bus_write(bus, at + 8, 4, v + 3);
	bus_write(bus, at + 12, 4, masked);
}

static void msix_up(void)
{
	place();
	wr(MSIX_CAP + 2, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned v = 0; v < NVEC; v++)
		vector(v, false);
	wr(MSIX_CAP + 2, 2, PCI_MSIX_FLAGS_ENABLE);
}

static uint64_t arrived(unsigned event)
{
	rig_deliver(&rig);
	return fake_kvm_msis(rig.hyp, RID, event);
}

static unsigned slots_at(gpa_t from, uint64_t size)
{
	unsigned n = 0;

	/* Where the last call for each slot put it. */
	for (uint32_t slot = SLOT; slot < SLOT + PASS_SLOTS; slot++) {
		struct fake_call last = { 0 };
		bool any = false;

		for (unsigned i = 0; i < fake_kvm_calls(rig.hyp); i++) {
			struct fake_call call = fake_kvm_call(rig.hyp, i);

			if (call.op == FAKE_SET_MEMORY && call.n == slot) {
				last = call;
				any = true;
			}
		}
		n += any && last.value >= from && last.value < from + size;
	}
	return n;
}

/* Bringing up */

START_TEST(test_pass_starts_reset_and_silent)
{
	bring_up();
	ck_assert_uint_eq(hd->nr_resets, 1);
	/* The device decodes, and is no bus master; its line is ready, with an unmask. */
	ck_assert_uint_eq(hd->config[PCI_COMMAND], PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_INTX], 1);
	ck_assert_int_ge(hd->unmask, 0);
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 0);
	ck_assert_uint_eq(rd(PCI_COMMAND, 2), 0);
	ck_assert_uint_eq(rd(PCI_VENDOR_ID, 4), 0x00101b36);
	pass_free(pass);
	pass = NULL;
	ck_assert_uint_eq(hd->nr_resets, 2);
	ck_assert_uint_eq(hd->config[PCI_COMMAND], 0);
}
END_TEST

START_TEST(test_pass_refuses_what_cannot_be)
{
	struct err err = { "" };

	put32(MSIX_CAP + 4, 0x4000); /* the table begins where the BAR ends */
	ck_assert_int_eq(make_pass(true, &err), -EIO);
	ck_assert_ptr_nonnull(strstr(err.text, "vfio0: its MSI-X table lies outside"));

	make_hardware();
	put32(MSIX_CAP + 8, 0x3ff8 | 1); /* pending bits in a BAR that is not there */
	ck_assert_int_eq(make_pass(true, &err), -EIO);

	make_hardware();
	hd->region[0].size = 0x3000;
	ck_assert_int_eq(make_pass(true, &err), -EIO);
	ck_assert_ptr_nonnull(strstr(err.text, "0x3000"));

	make_hardware();
	hd->config[PCI_HEADER_TYPE] = 1;
	ck_assert_int_eq(make_pass(true, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "vfio0: it is a bridge"));

	make_hardware();
	hd->dead = true;
	ck_assert_int_eq(make_pass(true, &err), -ENODEV);

	make_hardware();
	hd->config[PCI_INTERRUPT_PIN] = 0;
	ck_assert_int_eq(make_pass(false, &err), -EOPNOTSUPP);
	ck_assert_ptr_null(pass);
	make_hardware();
}
END_TEST

START_TEST(test_pass_short_of_descriptors)
{
	struct err err = { "" };
	struct famine famine;
	unsigned left = 0;
	int r;

	rig_look_away(&rig); /* who looks on needs descriptors, too */
	do {
		famine_begin(&famine, left);
		r = make_pass(true, &err);
		famine_end(&famine);
		if (r) {
			ck_assert_int_eq(r, -EMFILE);
			make_hardware();
		}
		left++;
	} while (r);
	ck_assert_uint_gt(left, 10);
}
END_TEST

/* BARs */

START_TEST(test_pass_bar_is_mapped_without_the_tables_pages)
{
	bring_up();
	place();
	/* Two pages before the table; the one with it and the one with the pending bits are trapped. */
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 1);
	ck_assert_uint_eq(slots_at(WIN64, 0x1000), 1);
	/* What is trapped of the BAR, and a BAR smaller than a page, are reached by us. */
	hd->bar[0][TABLE + 0x800] = 0x5a;
	ck_assert_uint_eq(bus_read(bus, WIN64 + TABLE + 0x800, 1), 0x5a);
	bus_write(bus, WIN + 0x10, 4, 0x12345678);
	ck_assert_uint_eq(hd->bar[2][0x11], 0x56);
	ck_assert_uint_eq(bus_read(bus, WIN + 0x10, 8), 0x12345678);
	/* The device's own table is never touched, and its pending bits are ours. */
	memset(hd->bar[0] + TABLE, 0xee, 16 * NVEC);
	memset(hd->bar[0] + PBA, 0xee, 8);
	ck_assert_uint_eq(bus_read(bus, WIN64 + TABLE + 12, 4), 1);
	bus_write(bus, WIN64 + TABLE, 4, 0x1234);
	ck_assert_uint_eq(bus_read(bus, WIN64 + TABLE, 4), 0x1234);
	ck_assert_uint_eq(hd->bar[0][TABLE], 0xee);
	ck_assert_uint_eq(bus_read(bus, WIN64 + PBA, 8), 0);
	bus_write(bus, WIN64 + PBA, 8, 0);
	ck_assert_uint_eq(hd->bar[0][PBA], 0xee);
	hd->dead = true;
	ck_assert_uint_eq(bus_read(bus, WIN + 0x10, 4), UINT32_MAX);
	bus_write(bus, WIN + 0x10, 4, 0);
}
END_TEST

/* Of the device's own table not a word, by an access across its edge either. */
START_TEST(test_pass_bar_access_across_the_tables_edge)
{
	static const unsigned edges[] = { TABLE, TABLE + 16 * NVEC, PBA, PBA + 8 };

	bring_up();
	place();
	for (unsigned i = 0; i < ARRAY_LEN(edges); i++) {
		memset(hd->bar[0] + edges[i] - 4, 0xee, 8);
		ck_assert_uint_eq(bus_read(bus, WIN64 + edges[i] - 4, 8), UINT64_MAX);
		bus_write(bus, WIN64 + edges[i] - 4, 8, 0);
		ck_assert_uint_eq(hd->bar[0][edges[i] - 1], 0xee);
		ck_assert_uint_eq(hd->bar[0][edges[i]], 0xee);
	}
}
END_TEST

START_TEST(test_pass_bar_moves_with_its_slots)
{
	bring_up();
	place();
	wr(PCI_COMMAND, 2, 0);
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 0);
	ck_assert_uint_eq(hd->config[PCI_COMMAND], PCI_COMMAND_MEMORY); /* the device goes on decoding */
	wr(PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	wr(PCI_BASE_ADDRESS_1, 4, UINT32_MAX);
	ck_assert_uint_eq(rd(PCI_BASE_ADDRESS_0, 4), 0xffffc00c);
	ck_assert_uint_eq(rd(PCI_BASE_ADDRESS_1, 4), 0xffffffff);
	wr(PCI_BASE_ADDRESS_1, 4, 0);
	wr(PCI_BASE_ADDRESS_0, 4, WIN + 0x100000);
	wr(PCI_COMMAND, 2, ON);
	ck_assert_uint_eq(slots_at(WIN + 0x100000, 0x1000), 1);
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 1);
	/* Onto RAM, say: nowhere. */
	wr(PCI_BASE_ADDRESS_0, 4, 0x80000000);
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 0);
	/* A slot that cannot be had: the BAR works all the same. */
	fake_kvm_fail(rig.hyp, FAKE_SET_MEMORY, 1, -EEXIST);
	wr(PCI_BASE_ADDRESS_0, 4, WIN + 0x200000);
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 0);
	hd->bar[0][4] = 7;
	ck_assert_uint_eq(bus_read(bus, WIN + 0x200004, 1), 7);
	wr(PCI_BASE_ADDRESS_0, 4, WIN + 0x300000);
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 1);
	/* Where another was in the way the next write tries again; what the host cannot do is not asked for ever. */
	for (unsigned i = 0; i < 2; i++) {
		fake_kvm_fail(rig.hyp, FAKE_SET_MEMORY, 2, i ? -EINVAL : -EEXIST);
		wr(PCI_BASE_ADDRESS_0, 4, WIN + 0x400000 + 0x100000 * i);
		ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 0);
		wr(PCI_INTERRUPT_LINE, 1, 5);
		ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), !i);
	}
}
END_TEST

/* Configuration space */

START_TEST(test_pass_config_bits_of_the_device)
{
	bring_up();
	/* Live: read there each time, written there as they are written. */
	hd->config[PCI_STATUS] = PCI_STATUS_INTERRUPT;
	ck_assert_uint_eq(rd(PCI_STATUS, 2), PCI_STATUS_INTERRUPT | PCI_STATUS_CAP_LIST);
	put32(EXP_CAP + PCI_EXP_DEVSTA, 0xabcd);
	ck_assert_uint_eq(rd(EXP_CAP + PCI_EXP_DEVSTA, 2), 0xabcd);
	wr(EXP_CAP + PCI_EXP_DEVCTL, 4, 0x00071234);
	ck_assert_uint_eq(hd->config[EXP_CAP + PCI_EXP_DEVCTL], 0x34);
	ck_assert_uint_eq(hd->config[EXP_CAP + PCI_EXP_DEVSTA], 7);
	/* Half of a word is ours: only the other half goes out. */
	put32(MSIX_CAP + 12, 0);
	wr(PCI_COMMAND, 4, 0xf9000000u | ON | PCI_COMMAND_IO | PCI_COMMAND_SERR);
	ck_assert_uint_eq(hd->config[PCI_STATUS + 1], 0xf9);
	ck_assert_uint_eq(hd->config[PCI_COMMAND] | hd->config[PCI_COMMAND + 1] << 8, ON);
	ck_assert_uint_eq(rd(PCI_COMMAND, 2), ON);
	wr(PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	ck_assert_uint_eq(hd->config[PCI_COMMAND + 1] << 8 | hd->config[PCI_COMMAND],
			  PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY);
	/* Ours: never written to the device. */
	wr(MSIX_CAP + 2, 2, PCI_MSIX_FLAGS_MASKALL);
	ck_assert_uint_eq(hd->config[MSIX_CAP + 3], 0);
	ck_assert_uint_eq(rd(MSIX_CAP + 2, 2), PCI_MSIX_FLAGS_MASKALL | (NVEC - 1));
	ck_assert_uint_eq(rd(0x100, 4), 0);
	hd->dead = true;
	ck_assert_uint_eq(rd(EXP_CAP + PCI_EXP_DEVSTA, 2), 0xffff);
}
END_TEST

START_TEST(test_pass_function_reset_by_the_guest)
{
	bring_up();
	msix_up();
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], NVEC);
	wr(EXP_CAP + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
	ck_assert_uint_eq(hd->config[EXP_CAP + PCI_EXP_DEVCTL + 1], PCI_EXP_DEVCTL_BCR_FLR >> 8);
	ck_assert_uint_eq(rd(PCI_COMMAND, 2), 0);
	ck_assert_uint_eq(rd(PCI_BASE_ADDRESS_0, 4), PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	ck_assert_uint_eq(rd(MSIX_CAP + 2, 2), NVEC - 1);
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 0);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], 0);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_INTX], 1);
	place();
	ck_assert_uint_eq(bus_read(bus, WIN64 + TABLE + 16, 8), 0);
	ck_assert_uint_eq(bus_read(bus, WIN64 + TABLE + 28, 4), 1);
	msix_up();
	ck_assert(fake_hostdev_fire(hd, HOSTDEV_MSIX, 2));
	ck_assert_uint_eq(arrived(5), 1);
}
END_TEST

/* Vectors that a driver left masked are not masked for the next one. */
START_TEST(test_pass_function_reset_clears_the_msi_message)
{
	bring_up();
	place();
	wr(MSI_CAP + PCI_MSI_ADDRESS_LO, 4, (uint32_t)FAKE_TRANSLATER);
	wr(MSI_CAP + PCI_MSI_ADDRESS_HI, 4, 1);
	wr(MSI_CAP + PCI_MSI_DATA_64, 2, 0x11);
	wr(MSI_CAP + PCI_MSI_MASK_64, 4, 1);
	wr(MSI_CAP + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	wr(EXP_CAP + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
	for (unsigned off = PCI_MSI_ADDRESS_LO; off <= PCI_MSI_MASK_64 + 4; off += 4)
		ck_assert_uint_eq(rd(MSI_CAP + off, 4), 0);
	ck_assert_uint_eq(rd(MSI_CAP + PCI_MSI_FLAGS, 2), PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | 1 << 1);
}
END_TEST

/* Interrupts */

START_TEST(test_pass_msix_all_vectors_at_once)
{
	bring_up();
	place();
	fake_kvm_forget_calls(rig.hyp);
	hd->set_calls = 0;
	msix_up();
	/* The line off, MSI-X on, and nothing else was asked of the host; one table. */
	ck_assert_uint_eq(hd->set_calls, 2);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_INTX], 0);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], NVEC);
	ck_assert_uint_eq(fake_kvm_count(rig.hyp, FAKE_SET_ROUTES), 1);
	for (unsigned v = 0; v < NVEC; v++) {
		ck_assert(fake_hostdev_fire(hd, HOSTDEV_MSIX, v));
		ck_assert_uint_eq(arrived(v + 3), 1);
	}
	irq_check(&rig);
	wr(MSIX_CAP + 2, 2, 0);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], 0);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_INTX], 1);
	ck_assert_int_ge(hd->unmask, 0);
	irq_check(&rig);
}
END_TEST

/* A mask is KVM's affair alone; what fires meanwhile is pending, and comes once. */
START_TEST(test_pass_msix_mask_keeps_and_replays)
{
	bring_up();
	msix_up();
	hd->set_calls = 0;
	vector(1, true);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(fake_hostdev_fire(hd, HOSTDEV_MSIX, 1));
	ck_assert_uint_eq(arrived(4), 0);
	ck_assert_uint_eq(bus_read(bus, WIN64 + PBA, 8), 2);
	bus_write(bus, WIN64 + TABLE + 16 + 12, 4, 0);
	ck_assert_uint_eq(arrived(4), 1);
	ck_assert_uint_eq(bus_read(bus, WIN64 + PBA, 8), 0);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY); /* no bus master */
	ck_assert(fake_hostdev_fire(hd, HOSTDEV_MSIX, 1));
	ck_assert_uint_eq(arrived(4), 1);
	wr(PCI_COMMAND, 2, ON);
	ck_assert_uint_eq(arrived(4), 2);
	ck_assert_uint_eq(hd->set_calls, 0);
	irq_check(&rig);
}
END_TEST

START_TEST(test_pass_msi_vectors_share_a_message)
{
	bring_up();
	place();
	wr(MSI_CAP + PCI_MSI_ADDRESS_LO, 4, (uint32_t)FAKE_TRANSLATER);
	wr(MSI_CAP + PCI_MSI_DATA_64, 2, 0x11); /* its low bit is the device's to change */
	wr(MSI_CAP + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | 1 << 4);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSI], 2);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_INTX], 0);
	for (unsigned v = 0; v < 2; v++) {
		ck_assert(fake_hostdev_fire(hd, HOSTDEV_MSI, v));
		ck_assert_uint_eq(arrived(0x10 + v), 1);
	}
	wr(MSI_CAP + PCI_MSI_MASK_64, 4, 2);
	ck_assert(fake_hostdev_fire(hd, HOSTDEV_MSI, 1));
	ck_assert_uint_eq(arrived(0x11), 1);
	ck_assert_uint_eq(rd(MSI_CAP + PCI_MSI_MASK_64 + 4, 4), 2);
	wr(MSI_CAP + PCI_MSI_MASK_64, 4, 0);
	ck_assert_uint_eq(arrived(0x11), 2);
	ck_assert_uint_eq(rd(MSI_CAP + PCI_MSI_MASK_64 + 4, 4), 0);
	/* One vector instead of two: asked for anew. */
	wr(MSI_CAP + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSI], 1);
	irq_check(&rig);
	/* MSI-X goes before it, and gives it back. */
	wr(MSIX_CAP + 2, 2, PCI_MSIX_FLAGS_ENABLE);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSI], 0);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], NVEC);
	wr(MSIX_CAP + 2, 2, 0);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSI], 1);
	irq_check(&rig);
}
END_TEST

START_TEST(test_pass_line_is_asserted_again_after_its_end)
{
	bring_up();
	ck_assert(fake_hostdev_fire(hd, HOSTDEV_INTX, 0));
	rig_deliver(&rig);
	ck_assert_uint_eq(fake_kvm_spis(rig.hyp, SPI), 1);
	/* Masked until the guest's end of interrupt, which KVM tells by the second eventfd. */
	ck_assert(!fake_hostdev_fire(hd, HOSTDEV_INTX, 0));
	ck_assert_int_eq(eventfd_write(hd->unmask, 1), 0);
	ck_assert(fake_hostdev_fire(hd, HOSTDEV_INTX, 0));
	rig_deliver(&rig);
	ck_assert_uint_eq(fake_kvm_spis(rig.hyp, SPI), 2);
}
END_TEST

/* The host cannot give it: said, not tried with each access, and tried again when the guest chooses anew. */
START_TEST(test_pass_vectors_that_the_host_has_not)
{
	bring_up();
	place();
	hd->fail_irqs = -ENOSPC;
	wr(MSIX_CAP + 2, 2, PCI_MSIX_FLAGS_ENABLE);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], 0);
	hd->set_calls = 0;
	vector(0, false);
	vector(0, true);
	ck_assert_uint_eq(hd->set_calls, 0);
	wr(MSIX_CAP + 2, 2, 0);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_INTX], 1);
	wr(MSIX_CAP + 2, 2, PCI_MSIX_FLAGS_ENABLE);
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], NVEC);
	irq_check(&rig);
}
END_TEST

START_TEST(test_pass_line_that_the_host_shares)
{
	struct err err = { "" };

	hd->nr_irqs[HOSTDEV_REQUEST] = hd->nr_irqs[HOSTDEV_ERROR] = 0;
	hd->fail_irqs = -EBUSY;
	bring_up(); /* there are messages */
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_INTX], 0);
	pass_free(pass);
	pass = NULL;
	make_hardware();
	hd->nr_irqs[HOSTDEV_REQUEST] = hd->nr_irqs[HOSTDEV_ERROR] = 0;
	hd->fail_irqs = -EBUSY;
	ck_assert_int_eq(make_pass(false, &err), -EBUSY);
	ck_assert_ptr_nonnull(strstr(err.text, "its interrupt line cannot be had"));
	make_hardware();
}
END_TEST

START_TEST(test_pass_without_messages_has_its_line)
{
	struct err err = { "" };

	ck_assert_int_eq(make_pass(false, &err), 0);
	place();
	ck_assert_uint_eq(fake_kvm_nr_slots(rig.hyp), 1); /* all four pages in one: nobody's table is in them */
	ck_assert(fake_hostdev_fire(hd, HOSTDEV_INTX, 0));
	rig_deliver(&rig);
	ck_assert_uint_eq(fake_kvm_spis(rig.hyp, SPI), 1);
}
END_TEST

START_TEST(test_pass_the_host_takes_it_back)
{
	bring_up();
	ck_assert(fake_hostdev_fire(hd, HOSTDEV_REQUEST, 0));
	fake_loop_turn(loop);
	ck_assert_ptr_nonnull(strstr(lost_text, "vfio0: the host takes the device back"));
	ck_assert(fake_hostdev_fire(hd, HOSTDEV_ERROR, 0));
	fake_loop_turn(loop);
	ck_assert_ptr_nonnull(strstr(lost_text, "vfio0: the device has reported an error"));
}
END_TEST

START_TEST(test_pass_dump_names_kind_and_bars)
{
	char text[300] = "";
	FILE *f;

	bring_up();
	msix_up();
	f = fmemopen(text, sizeof(text), "w");
	pass_dump(pass, f);
	fclose(f);
	ck_assert_str_eq(text, "device vfio0: vfio at pci function 0x8, MSI-X of 5 vectors, 8192 of 16640 bytes of BARs mapped\n");
}
END_TEST

/* Any access to any register: nothing breaks, and all invariants hold afterwards. */
START_TEST(test_pass_random_accesses)
{
	static const unsigned widths[] = { 1, 2, 4, 8 };

	bring_up();
	msix_up();
	srandom(11);
	for (unsigned n = 0; n < 20000 / SPARSE; n++) {
		unsigned len = widths[random() % 4];
		uint64_t val = (uint64_t)random() << 32 | (uint64_t)random();
		gpa_t at = WIN64 + TABLE + (uint64_t)random() % 0x100;

		switch (random() % 6) {
		case 0:
			wr((unsigned)random() % 256 & ~(len - 1), len, (uint32_t)val);
			break;
		case 1:
			rd((unsigned)random() % 256, len);
			break;
		case 2:
			msix_up();
			break;
		case 3:
			fake_hostdev_fire(hd, (enum hostdev_irq)(random() % 3), (unsigned)random() % NVEC);
			break;
		case 4:
			bus_read(bus, at, len);
			break;
		default:
			bus_write(bus, at, len, random() & 1 ? val : FAKE_TRANSLATER);
		}
		rig_deliver(&rig);
	}
	irq_check(&rig);
}
END_TEST

/* A function without a pin, as a VF is, has no line to go back to in between. */
START_TEST(test_pass_without_a_line_msix_is_tried_again)
{
	hd->config[PCI_INTERRUPT_PIN] = 0;
	hd->nr_irqs[HOSTDEV_INTX] = 0;
	bring_up();
	place();
	hd->fail_irqs = -ENOSPC;
	msix_up();
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], 0);
	wr(MSIX_CAP + 2, 2, 0);
	wr(EXP_CAP + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
	msix_up();
	ck_assert_uint_eq(hd->nr_fds[HOSTDEV_MSIX], NVEC);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pass");
	TCase *t = tcase_create("pass");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_pass_starts_reset_and_silent);
	tcase_add_test(t, test_pass_refuses_what_cannot_be);
	tcase_add_test(t, test_pass_short_of_descriptors);
	tcase_add_test(t, test_pass_bar_is_mapped_without_the_tables_pages);
	tcase_add_test(t, test_pass_bar_access_across_the_tables_edge);
	tcase_add_test(t, test_pass_bar_moves_with_its_slots);
	tcase_add_test(t, test_pass_config_bits_of_the_device);
	tcase_add_test(t, test_pass_function_reset_by_the_guest);
	tcase_add_test(t, test_pass_function_reset_clears_the_msi_message);
	tcase_add_test(t, test_pass_msix_all_vectors_at_once);
	tcase_add_test(t, test_pass_msix_mask_keeps_and_replays);
	tcase_add_test(t, test_pass_msi_vectors_share_a_message);
	tcase_add_test(t, test_pass_line_is_asserted_again_after_its_end);
	tcase_add_test(t, test_pass_vectors_that_the_host_has_not);
	tcase_add_test(t, test_pass_line_that_the_host_shares);
	tcase_add_test(t, test_pass_without_messages_has_its_line);
	tcase_add_test(t, test_pass_the_host_takes_it_back);
	tcase_add_test(t, test_pass_dump_names_kind_and_bars);
	tcase_add_test(t, test_pass_random_accesses);
	tcase_add_test(t, test_pass_without_a_line_msix_is_tried_again);
	suite_add_tcase(s, t);
	return run_suite(s);
}
