// SPDX-License-Identifier: BSD-3-Clause
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arm64/layout.h"
#include "vmm/base/checked.h"
#include "vmm/machine/plan.h"

static const struct host_facts big_host = {
	.max_ipa_bits = 44, .max_cpus = 512, .max_memory = 64 * GIB, .gicv3 = true, .its = true, .steal_time = true,
};

static struct config base_config(void)
{
	struct config c = { .cpus = 1, .memory = 256 * MIB };

	return c;
}

static struct dev_config *add(struct config *c, enum dev_kind kind, enum transport t)
{
	struct dev_config *d = &c->devices[c->nr_devices];

	*d = (struct dev_config){ .kind = kind, .transport = t };
	snprintf(d->id, sizeof(d->id), "dev%u", c->nr_devices++);
	return d;
}

static void expect_error(const struct config *c, const struct host_facts *h, int code, const char *part)
{
	struct plan p;
	struct err err = { "" };

	memset(&p, 0x5a, sizeof(p));
	ck_assert_int_eq(plan_make(c, h, &p, &err), code);
	ck_assert_msg(strstr(err.text, part), "'%s' lacks '%s'", err.text, part);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	for (size_t i = 0; i < sizeof(p); i++)
		ck_assert_uint_eq(((unsigned char *)&p)[i], 0x5a);
}

START_TEST(test_plan_cpus_out_of_range_refused)
{
	struct config c = base_config();
	struct host_facts small = big_host;

	small.max_cpus = 8;
	c.cpus = 0;
	expect_error(&c, &big_host, -EINVAL, "--cpus: 1 to 512");
	c.cpus = 513;
	expect_error(&c, &big_host, -EINVAL, "at most 512");
	c.cpus = 9;
	expect_error(&c, &small, -EINVAL, "at most 8");
}
END_TEST

START_TEST(test_plan_cpus_up_to_the_limit_accepted)
{
	static const unsigned counts[] = { 1, 8, 64, 65, 123, 512 };
	struct config c = base_config();
	struct plan p;

	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		c.cpus = counts[i];
		ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
		ck_assert_uint_le(LAYOUT_GICR + counts[i] * LAYOUT_GICR_STEP, LAYOUT_ECAM);
	}
}
END_TEST

START_TEST(test_plan_memory_impossible_refused)
{
	struct config c = base_config();
	struct host_facts narrow = big_host;

	c.memory = 0;
	expect_error(&c, &big_host, -EINVAL, "memory: 0");
	c.memory = 4097;
	expect_error(&c, &big_host, -EINVAL, "multiple of 4 KiB");
	c.memory = big_host.max_memory + 4096;
	expect_error(&c, &big_host, -EFBIG, "--memory: at most 65536M");
	narrow.max_ipa_bits = 36;
	narrow.max_memory = UINT64_MAX;
	c.memory = 62 * GIB + 4096;
	expect_error(&c, &narrow, -EFBIG, "at most 63487M");
	c.memory = UINT64_MAX & ~UINT64_C(4095);
	expect_error(&c, &narrow, -EFBIG, "36 bits");
}
END_TEST

START_TEST(test_plan_ipa_bits_hold_ram_and_are_36_at_least)
{
	static const struct { uint64_t memory; unsigned bits; } t[] = {
		{ 4096, 32 }, { 256 * MIB, 32 }, { 2 * GIB - MIB, 32 }, { 2 * GIB, 33 }, { 6 * GIB - MIB, 33 },
		{ 6 * GIB, 34 }, { 62 * GIB - MIB, 36 }, { (UINT64_C(1) << 40) - 2 * GIB - MIB, 40 },
		{ UINT64_C(1) << 40, 41 }, { (UINT64_C(1) << 52) - 2 * GIB - MIB, 52 },
	};
	unsigned bits;

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		ck_assert_int_eq(plan_ipa_bits(t[i].memory, 0, 0, 52, &bits, NULL), 0);
		ck_assert_uint_eq(bits, t[i].bits < 36 ? 36 : t[i].bits);
		/* A host of few bits gives what it has. */
		ck_assert_int_eq(plan_ipa_bits(t[i].memory, 0, 0, t[i].bits, &bits, NULL), 0);
		ck_assert_uint_eq(bits, t[i].bits);
		ck_assert_int_eq(plan_ipa_bits((UINT64_C(1) << t[i].bits) - 2 * GIB, 0, 0, t[i].bits, &bits, NULL),
				 -EFBIG);
	}
	ck_assert_int_eq(plan_ipa_bits(UINT64_MAX, 0, 0, 64, &bits, NULL), -EFBIG);
	ck_assert_int_eq(plan_ipa_bits(4096, 0, 0, 31, &bits, NULL), -EFBIG);
}
END_TEST

START_TEST(test_plan_steal_time_is_behind_the_guests_ram)
{
	struct config c = base_config();
	struct host_facts none = big_host;
	struct plan p;

	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert_uint_eq(p.ram_usable, c.memory);
	ck_assert_uint_eq(p.steal, p.ram + c.memory);
	ck_assert_uint_eq(p.ram_size, c.memory + 64 * KIB);
	c.memory += 4096;
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert(is_aligned(p.steal, 64 * KIB));
	ck_assert_uint_ge(p.steal, p.ram + p.ram_usable);
	ck_assert_uint_eq(p.steal + p.steal_size, p.ram + p.ram_size);
	none.steal_time = false;
	ck_assert_int_eq(plan_make(&c, &none, &p, NULL), 0);
	ck_assert_uint_eq(p.steal, 0);
	ck_assert_uint_eq(p.ram_usable, p.ram_size);
}
END_TEST

static const struct host_facts no_its_host = {
	.max_ipa_bits = 44, .max_cpus = 512, .max_memory = 64 * GIB, .gicv3 = true,
};
static const struct host_facts v2_host = {
	.max_ipa_bits = 44, .max_cpus = 8, .max_memory = 64 * GIB, .gicv2 = true,
};

START_TEST(test_plan_irqchip_follows_the_host)
{
	struct config c = base_config();
	struct host_facts no_gic = big_host;
	struct plan p;

	no_gic.gicv3 = no_gic.its = false;
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert(p.its && !p.gicv2 && !p.v2m);
	ck_assert_str_eq(plan_irqchip_name(&p), "GICv3 with an ITS");
	ck_assert_int_eq(plan_make(&c, &no_its_host, &p, NULL), 0);
	ck_assert(!p.its && !p.gicv2 && !p.v2m);
	ck_assert_str_eq(plan_irqchip_name(&p), "GICv3");
	ck_assert_int_eq(plan_make(&c, &v2_host, &p, NULL), 0);
	ck_assert(!p.its && p.gicv2 && !p.v2m);
	ck_assert_str_eq(plan_irqchip_name(&p), "GICv2");
	expect_error(&c, &no_gic, -EOPNOTSUPP, "neither a GICv3 nor a GICv2");
}
END_TEST

START_TEST(test_plan_irqchip_asked_for_and_not_there_refused)
{
	struct config c = base_config();
	struct host_facts both = big_host;
	struct plan p;

	both.gicv2 = true;
	c.irqchip = IRQCHIP_GICV3_ITS;
	expect_error(&c, &no_its_host, -EOPNOTSUPP, "no ITS");
	expect_error(&c, &v2_host, -EOPNOTSUPP, "no GICv3");
	c.irqchip = IRQCHIP_GICV3;
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert(!p.its && !p.gicv2 && !p.v2m);
	expect_error(&c, &v2_host, -EOPNOTSUPP, "no GICv3");
	c.irqchip = IRQCHIP_GICV2;
	expect_error(&c, &big_host, -EOPNOTSUPP, "no GICv2");
	ck_assert_int_eq(plan_make(&c, &both, &p, NULL), 0);
	ck_assert(!p.its && p.gicv2 && !p.v2m);
	c.irqchip = IRQCHIP_GICV2M;
	expect_error(&c, &big_host, -EOPNOTSUPP, "no GICv2");
	ck_assert_int_eq(plan_make(&c, &both, &p, NULL), 0);
	ck_assert(!p.its && p.gicv2 && p.v2m);
	ck_assert_str_eq(plan_irqchip_name(&p), "GICv2 with a v2m frame");
}
END_TEST

START_TEST(test_plan_gicv2_has_eight_cpus)
{
	struct config c = base_config();
	struct host_facts both = big_host;
	struct plan p;

	both.gicv2 = true;
	c.cpus = 9;
	ck_assert_int_eq(plan_make(&c, &both, &p, NULL), 0);
	expect_error(&c, &v2_host, -EINVAL, "cpus: 9 is more than a GICv2 can have (--cpus: at most 8)");
	c.irqchip = IRQCHIP_GICV2;
	expect_error(&c, &both, -EINVAL, "at most 8");
	c.cpus = 8;
	ck_assert_int_eq(plan_make(&c, &both, &p, NULL), 0);
}
END_TEST

/* The frame's SPIs: behind everybody else's, at least one a vector, all of them there. */
START_TEST(test_plan_v2m_frame_for_pci_without_its)
{
	static const struct host_facts *const hosts[] = { &no_its_host, &v2_host };
	struct config c = base_config();
	struct plan p;

	add(&c, DEV_RNG, TRANSPORT_AUTO);
	add(&c, DEV_NET, TRANSPORT_AUTO)->net.queues = 1;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		ck_assert_int_eq(plan_make(&c, hosts[i], &p, NULL), 0);
		ck_assert(!p.its && p.v2m && p.has_pci);
		ck_assert(!p.devs[0].pci && p.devs[1].pci);
		ck_assert_uint_eq(p.v2m_spi, LAYOUT_SPI_V2M);
		ck_assert_uint_eq(p.v2m_count, 32);
		ck_assert_uint_eq(p.nr_irqs, 32 + LAYOUT_SPI_V2M + 32);
	}
	ck_assert_str_eq(plan_irqchip_name(&p), "GICv2 with a v2m frame");
	c.devices[1].net.queues = 16;
	ck_assert_int_eq(plan_make(&c, &no_its_host, &p, NULL), 0);
	ck_assert_str_eq(plan_irqchip_name(&p), "GICv3 with a v2m frame");
	ck_assert_uint_eq(p.v2m_count, 64);
	for (unsigned i = 2; i < CONFIG_MAX_DEVICES; i++)
		add(&c, DEV_NET, TRANSPORT_PCI)->net.queues = 16;
	ck_assert_int_eq(plan_make(&c, &v2_host, &p, NULL), 0);
	ck_assert_uint_eq(p.nr_irqs, 992);
	ck_assert_uint_eq(p.v2m_spi + p.v2m_count + 32, 992);
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert(!p.v2m && !p.v2m_count);
}
END_TEST

START_TEST(test_plan_transport_auto_follows_the_irqchip)
{
	struct config c = base_config();
	struct plan p;

	add(&c, DEV_CONSOLE, TRANSPORT_AUTO);
	add(&c, DEV_RNG, TRANSPORT_AUTO);
	add(&c, DEV_NET, TRANSPORT_AUTO);
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert(!p.devs[0].pci && !p.devs[1].pci && p.devs[2].pci && p.has_pci);
	ck_assert_uint_eq(p.devs[2].rid, 8);
	c.irqchip = IRQCHIP_GICV2;
	ck_assert_int_eq(plan_make(&c, &v2_host, &p, NULL), 0);
	ck_assert(!p.devs[0].pci && !p.devs[1].pci && !p.devs[2].pci && !p.has_pci);
	ck_assert_uint_eq(p.devs[2].spi, LAYOUT_SPI_VMMIO + 2);
	ck_assert_uint_eq(p.nr_irqs, 64);
	c.transport = TRANSPORT_PCI;
	expect_error(&c, &v2_host, -EOPNOTSUPP, "dev0: transport=pci sends its interrupts as messages");
	c.irqchip = IRQCHIP_AUTO;
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert(p.devs[0].pci && p.devs[1].pci && p.devs[2].pci);
	c.devices[2].transport = TRANSPORT_MMIO;
	ck_assert_int_eq(plan_make(&c, &v2_host, &p, NULL), 0);
	ck_assert(p.devs[0].pci && p.devs[1].pci && !p.devs[2].pci);
}
END_TEST

/* A disk of another process's has as many queues as one of ours. */
START_TEST(test_plan_devices_of_other_processes)
{
	struct config c = base_config();
	unsigned at = c.nr_devices;
	struct plan p;

	c.cpus = 3;
	add(&c, DEV_VHOST_USER, TRANSPORT_AUTO)->vuser.kind = VUSER_KIND_BLK;
	add(&c, DEV_VHOST_USER, TRANSPORT_AUTO)->vuser.kind = VUSER_KIND_FS;
	add(&c, DEV_FS, TRANSPORT_MMIO)->vuser.kind = VUSER_KIND_FS;
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert(p.devs[at].pci && p.devs[at].queues == 3);
	ck_assert(p.devs[at + 1].pci && !p.devs[at + 1].queues);
	ck_assert(!p.devs[at + 2].pci);
}
END_TEST

START_TEST(test_plan_irq_direct_over_pci_refused)
{
	struct config c = base_config();
	struct plan p;

	add(&c, DEV_NET, TRANSPORT_AUTO)->irq_direct = true;
	expect_error(&c, &big_host, -EINVAL, "dev0: irq=direct");
	c.devices[0].transport = TRANSPORT_MMIO;
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
}
END_TEST

START_TEST(test_plan_devices_too_many_refused)
{
	struct config c = base_config();

	c.nr_devices = CONFIG_MAX_DEVICES + 1;
	expect_error(&c, &big_host, -EINVAL, "at most 64");
}
END_TEST

START_TEST(test_plan_device_added_last_moves_no_other)
{
	struct config c = base_config();
	struct plan before, after;

	for (int i = 0; i < 40; i++)
		add(&c, DEV_NET, i % 3 ? TRANSPORT_PCI : TRANSPORT_MMIO);
	ck_assert_int_eq(plan_make(&c, &big_host, &before, NULL), 0);
	add(&c, DEV_NET, TRANSPORT_MMIO);
	add(&c, DEV_NET, TRANSPORT_PCI);
	ck_assert_int_eq(plan_make(&c, &big_host, &after, NULL), 0);
	ck_assert_mem_eq(before.devs, after.devs, 40 * sizeof(before.devs[0]));
}
END_TEST

struct window {
	uint64_t at, size;
};

static void check_no_overlap(const struct config *c, const struct plan *p)
{
	struct window w[CONFIG_MAX_DEVICES + 11] = {
		{ LAYOUT_UART, 4 * KIB }, { LAYOUT_RTC, 4 * KIB }, { LAYOUT_GICD, LAYOUT_GICD_SIZE },
		{ LAYOUT_ITS, LAYOUT_ITS_SIZE }, { LAYOUT_GICC, LAYOUT_GICC_SIZE }, { LAYOUT_V2M, 4 * KIB }, { LAYOUT_GICR, c->cpus * LAYOUT_GICR_STEP },
		{ LAYOUT_ECAM, LAYOUT_ECAM_SIZE }, { LAYOUT_PCI_MEM, LAYOUT_PCI_MEM_SIZE },
		{ p->ram, p->ram_usable }, { p->steal, p->steal_size },
	};
	unsigned n = 11;

	for (unsigned i = 0; i < p->nr_devs; i++)
		if (!p->devs[i].pci)
			w[n++] = (struct window){ p->devs[i].gpa, LAYOUT_VMMIO_SIZE };
	for (unsigned i = 0; i < n; i++) {
		ck_assert_uint_le(w[i].at + w[i].size, UINT64_C(1) << p->ipa_bits);
		/* where the host's IOMMU maps the MSI doorbell */
		ck_assert(!ranges_overlap(w[i].at, w[i].size, 0x08000000, 0x100000));
		for (unsigned j = 0; j < i; j++)
			ck_assert(!ranges_overlap(w[i].at, w[i].size, w[j].at, w[j].size));
	}
}

static void check_numbers_unique(const struct plan *p)
{
	for (unsigned i = 0; i < p->nr_devs; i++) {
		const struct plan_dev *d = &p->devs[i];

		if (d->pci)
			ck_assert(d->rid >= 8 && d->rid < 256);
		else
			ck_assert(d->spi > LAYOUT_SPI_RTC && d->spi + 32 < p->nr_irqs &&
				  (!p->v2m || d->spi < p->v2m_spi));
		for (unsigned j = 0; j < i; j++) {
			if (p->devs[j].pci != d->pci)
				continue;
			ck_assert(d->pci ? p->devs[j].rid != d->rid : p->devs[j].spi != d->spi);
		}
	}
	ck_assert(p->nr_irqs >= 64 && p->nr_irqs <= 992 && p->nr_irqs % 32 == 0);
	ck_assert(!p->v2m || 32 + p->v2m_spi + p->v2m_count <= p->nr_irqs);
	ck_assert(p->its || p->v2m || !p->has_pci);
}

static struct config random_config(void)
{
	struct config c = base_config();
	unsigned n = (unsigned)rand() % (CONFIG_MAX_DEVICES + 1);

	c.cpus = 1 + (unsigned)rand() % (rand() % 2 ? 512 : 8);
	c.memory = (1 + (uint64_t)rand() % (16 * GIB / 4096)) * 4096;
	c.transport = (enum transport)(rand() % 3);
	c.irqchip = (enum irqchip)(rand() % 5);
	for (unsigned i = 0; i < n; i++)
		add(&c, (enum dev_kind)(rand() % 3), (enum transport)(rand() % 3));
	return c;
}

START_TEST(test_plan_random_configs_never_overlap_and_repeat)
{
	unsigned good = 0;

	srand(1);
	for (int i = 0; i < 300; i++) {
		struct config c = random_config();
		struct host_facts h = big_host;
		struct plan p, again;
		int rc;

		h.gicv2 = rand() % 2;
		h.gicv3 = !h.gicv2 || rand() % 2;
		h.its = h.gicv3 && rand() % 4;
		h.steal_time = rand() % 2;
		rc = plan_make(&c, &h, &p, NULL);
		ck_assert_int_eq(plan_make(&c, &h, &again, NULL), rc);
		if (rc) {
			ck_assert(rc == -EOPNOTSUPP || (h.gicv2 && c.cpus > 8 && rc == -EINVAL));
			continue;
		}
		ck_assert_mem_eq(&p, &again, sizeof(p));
		check_no_overlap(&c, &p);
		check_numbers_unique(&p);
		good++;
	}
	ck_assert_uint_gt(good, 80);
}
END_TEST

/* On PCI whatever is asked for, with an SPI each, and moved by no device behind them. */
START_TEST(test_plan_vfio_has_a_function_and_a_line)
{
	struct host_facts no_msis = big_host;
	struct config c = base_config();
	struct plan p;

	add(&c, DEV_CONSOLE, TRANSPORT_AUTO);
	add(&c, DEV_VFIO, TRANSPORT_AUTO);
	add(&c, DEV_NET, TRANSPORT_MMIO);
	add(&c, DEV_VFIO, TRANSPORT_PCI);
	c.transport = TRANSPORT_MMIO;
	ck_assert_int_eq(plan_make(&c, &big_host, &p, NULL), 0);
	ck_assert(p.has_pci && p.devs[1].pci && p.devs[3].pci && !p.devs[2].pci);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(p.devs[i].spi, LAYOUT_SPI_VMMIO + i);
	ck_assert_uint_eq(p.devs[2].gpa, LAYOUT_VMMIO + LAYOUT_VMMIO_STEP);
	ck_assert_uint_eq(p.devs[1].rid, 1 << 3);
	ck_assert_uint_eq(p.devs[3].rid, 2 << 3);
	ck_assert_uint_eq(p.pci_mem64_size, 0);
	ck_assert_uint_ge(p.nr_irqs, 32 + LAYOUT_SPI_VMMIO + 4);
	/* Where nothing takes messages it has its line. */
	no_msis.gicv2 = true;
	c.irqchip = IRQCHIP_GICV2;
	ck_assert_int_eq(plan_make(&c, &no_msis, &p, NULL), 0);
	ck_assert(p.devs[1].pci && !p.its && !p.v2m);
}
END_TEST

START_TEST(test_plan_window_for_64_bit_bars)
{
	static const struct { uint64_t memory, bars, at, size; unsigned bits; } t[] = {
		{ 256 * MIB, 16 * KIB, 4 * GIB, 16 * MIB, 36 },
		{ 8 * GIB, 16 * KIB, 10 * GIB + 16 * MIB, 16 * MIB, 36 }, /* the steal time records lie before it */
		{ 256 * MIB, 16 * GIB + 32 * MIB, 32 * GIB, 32 * GIB, 36 },
		{ 31 * GIB, 64 * GIB, 64 * GIB, 64 * GIB, 37 },
	};
	struct host_facts h = big_host;
	struct config c = base_config();
	struct plan p;
	unsigned bits;

	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		c.memory = t[i].memory;
		h.pci_mem64 = t[i].bars;
		ck_assert_int_eq(plan_make(&c, &h, &p, NULL), 0);
		ck_assert_uint_eq(p.pci_mem64, t[i].at);
		ck_assert_uint_eq(p.pci_mem64_size, t[i].size);
		ck_assert_uint_eq(p.ipa_bits, t[i].bits);
		ck_assert(is_aligned(p.pci_mem64, p.pci_mem64_size));
		ck_assert(!ranges_overlap(p.pci_mem64, p.pci_mem64_size, p.ram, p.ram_size));
	}
	c.memory = 256 * MIB;
	h.max_ipa_bits = 36;
	h.pci_mem64 = 64 * GIB;
	expect_error(&c, &h, -EFBIG, "BARs of 65536 MiB");
	h.pci_mem64 = UINT64_MAX;
	expect_error(&c, &h, -EFBIG, "BARs of");
	ck_assert_int_eq(plan_ipa_bits(60 * GIB, 8 * GIB, 0, 36, &bits, NULL), -EFBIG);
	ck_assert_int_eq(plan_ipa_bits(50 * GIB, 8 * GIB, 0, 36, &bits, NULL), 0);
	ck_assert_uint_eq(bits, 36);
}
END_TEST

/* Each in a section of its own, behind RAM and the window of BARs, in the order of the line. */
START_TEST(test_plan_images)
{
	struct config c = base_config();
	struct host_facts h = big_host;
	uint64_t sizes[4] = { 0, 2 * MIB, 0, 600 * MIB };
	unsigned bits;
	struct plan p;

	add(&c, DEV_NET, TRANSPORT_PCI);
	add(&c, DEV_PMEM, TRANSPORT_AUTO);
	add(&c, DEV_RNG, TRANSPORT_AUTO);
	add(&c, DEV_PMEM, TRANSPORT_PCI);
	h.pmem = sizes;
	ck_assert_int_eq(plan_make(&c, &h, &p, NULL), 0);
	ck_assert_uint_eq(p.devs[1].mem, align_up(p.ram + p.ram_size, 512 * MIB));
	ck_assert_uint_eq(p.devs[3].mem, p.devs[1].mem + 512 * MIB);
	ck_assert_uint_eq(p.devs[0].mem | p.devs[2].mem, 0);
	ck_assert(!p.devs[1].pci && p.devs[3].pci);
	ck_assert_uint_eq(p.ipa_bits, 36);
	h.pci_mem64 = 16 * GIB;
	ck_assert_int_eq(plan_make(&c, &h, &p, NULL), 0);
	ck_assert_uint_eq(p.devs[1].mem, p.pci_mem64 + p.pci_mem64_size);
	h.pci_mem64 = 0;
	sizes[3] = 100 * GIB;
	ck_assert_int_eq(plan_make(&c, &h, &p, NULL), 0);
	ck_assert_uint_eq(p.ipa_bits, 37);
	ck_assert_uint_le(p.devs[3].mem + sizes[3], UINT64_C(1) << 37);
	h.max_ipa_bits = 36;
	expect_error(&c, &h, -EFBIG, "pmem: images of 102912 MiB");
	h.max_ipa_bits = 52;
	sizes[1] = sizes[3] = UINT64_MAX;
	expect_error(&c, &h, -EFBIG, "pmem: images of");
	ck_assert_uint_eq(plan_pmem(NULL, 4), 0);
	ck_assert_uint_eq(plan_pmem(sizes, 1), 0);
	ck_assert_int_eq(plan_ipa_bits(60 * GIB, 0, 2 * GIB, 36, &bits, NULL), -EFBIG);
	ck_assert_int_eq(plan_ipa_bits(59 * GIB, 0, 2 * GIB, 36, &bits, NULL), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("plan");
	TCase *tc = tcase_create("plan");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_plan_cpus_out_of_range_refused);
	tcase_add_test(tc, test_plan_cpus_up_to_the_limit_accepted);
	tcase_add_test(tc, test_plan_memory_impossible_refused);
	tcase_add_test(tc, test_plan_ipa_bits_hold_ram_and_are_36_at_least);
	tcase_add_test(tc, test_plan_images);
	tcase_add_test(tc, test_plan_vfio_has_a_function_and_a_line);
	tcase_add_test(tc, test_plan_window_for_64_bit_bars);
	tcase_add_test(tc, test_plan_steal_time_is_behind_the_guests_ram);
	tcase_add_test(tc, test_plan_irqchip_follows_the_host);
	tcase_add_test(tc, test_plan_irqchip_asked_for_and_not_there_refused);
	tcase_add_test(tc, test_plan_gicv2_has_eight_cpus);
	tcase_add_test(tc, test_plan_v2m_frame_for_pci_without_its);
	tcase_add_test(tc, test_plan_transport_auto_follows_the_irqchip);
	tcase_add_test(tc, test_plan_devices_of_other_processes);
	tcase_add_test(tc, test_plan_irq_direct_over_pci_refused);
	tcase_add_test(tc, test_plan_devices_too_many_refused);
	tcase_add_test(tc, test_plan_device_added_last_moves_no_other);
	tcase_add_test(tc, test_plan_random_configs_never_overlap_and_repeat);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
