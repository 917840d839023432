/* SPDX-License-Identifier: BSD-3-Clause */
/* edu: QEMU's device of that name, handed on by the host: interrupts by its plain MSI capability, n= of them, and how long they take. */
#include "cases.h"
#include "pci.h"

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8

#define ID 0x00
#define IRQ_STATUS 0x24
#define IRQ_RAISE 0x60
#define IRQ_ACK 0x64

#define PCI_CAP_MSI 0x05
#define MSI_CONTROL 2
#define MSI_ENABLE 1u
#define MSI_WIDE 0x80u
#define MSI_ADDRESS 4

#define MAX_SAMPLES 1000

static volatile unsigned got;
static volatile uint64_t got_at;
static uint64_t samples[MAX_SAMPLES];

static void count(void *arg)
{
	(void)arg;
	got_at = ticks();
	got++;
}

static struct pci_dev *find(void)
{
	for (unsigned i = 0; i < pci_count; i++)
		if (pci_devs[i].vendor == EDU_VENDOR && pci_devs[i].device == EDU_DEVICE)
			return &pci_devs[i];
	return NULL;
}

static void enable(const struct pci_dev *d, unsigned cap, bool on)
{
	uint16_t control = rd16(d->cfg + cap + MSI_CONTROL);

	wr16(d->cfg + cap + MSI_CONTROL, (uint16_t)(on ? control | MSI_ENABLE : control & ~MSI_ENABLE));
}

static void program(const struct pci_dev *d, unsigned cap, const struct msi *m)
{
	bool wide = rd16(d->cfg + cap + MSI_CONTROL) & MSI_WIDE;

	wr32(d->cfg + cap + MSI_ADDRESS, (uint32_t)m->addr);
	if (wide)
		wr32(d->cfg + cap + MSI_ADDRESS + 4, (uint32_t)(m->addr >> 32));
	wr16(d->cfg + cap + (wide ? 12 : 8), (uint16_t)m->data);
	enable(d, cap, true);
}

/* Raises it once; true if one interrupt came, and no other. */
static bool raise(uint64_t regs, unsigned ms)
{
	unsigned before = got;
	uint64_t end = deadline_ms(ms);

	wr32(regs + IRQ_RAISE, 1);
	while (got == before && !passed(end))
		;
	wr32(regs + IRQ_ACK, 1);
	return got == before + 1;
}

static unsigned raise_all(uint64_t regs, unsigned n)
{
	unsigned i = 0;
	uint64_t start;

	for (start = ticks(); i < n && raise(regs, 10000); start = ticks())
		samples[i++ % MAX_SAMPLES] = got_at - start;
	return i;
}

void case_edu(void)
{
	unsigned n = (unsigned)option_number("n", 1000), cap, done;
	struct pci_dev *d = find();
	uint64_t regs;
	struct msi m;

	if (!check(d && d->bar[0].size, "edu is on the bus"))
		return;
	regs = d->bar[0].addr;
	check((rd32(regs + ID) & 0xff) == 0xed, "it answers: 0x%x", rd32(regs + ID));
	cap = pci_cap(d, PCI_CAP_MSI, 0);
	if (!check(cap && msi_alloc(d->devid, count, NULL, &m), "it has MSI, and a message is to be had"))
		return;
	program(d, cap, &m);
	done = raise_all(regs, n);
	if (check(n && done == n, "%u raised by MSI, %u received", n, done))
		note("figure: edu on pci: request to handler %lu ns",
		     (unsigned long)median_ns(samples, n < MAX_SAMPLES ? n : MAX_SAMPLES));

	enable(d, cap, false);
	got = 0;
	check(!raise(regs, 20) && !got, "MSI off: silent");
	enable(d, cap, true);
	check(raise(regs, 10000), "MSI on: it interrupts again");
	wr16(d->cfg + PCI_COMMAND, PCI_COMMAND_MEM);
	got = 0;
	check(!raise(regs, 20) && !got, "no bus master: silent");
	wr16(d->cfg + PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	got = 0;
	check(raise(regs, 10000), "bus master: it interrupts again");
}
