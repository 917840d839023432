/* SPDX-License-Identifier: BSD-3-Clause */
/* find: everything that the device tree names is there and works. */
#include "cases.h"
#include "cpu.h"
#include "dt.h"
#include "irq.h"
#include "virtio.h"

enum { RTCDR = 0x00, RTCMR = 0x04, RTCIMSC = 0x10, RTCRIS = 0x14, RTCICR = 0x1c };

#define SGI 1

static volatile unsigned timer_irqs, rtc_irqs, sgi_irqs[MAX_CPUS];

static bool wait_count(volatile unsigned *n, unsigned ms)
{
	uint64_t end = deadline_ms(ms);

	while (!*n)
		if (passed(end))
			return false;
	return true;
}

static void on_timer(void *arg)
{
	(void)arg;
	timer_set(0);
	timer_irqs++;
}

static void try_timer(void)
{
	bool there = timer_init(on_timer, NULL);

	if (there)
		timer_set(1000);
	check(there && wait_count(&timer_irqs, 1000) && timer_irqs == 1, "timer: %u interrupt", timer_irqs);
}

static uint64_t rtc;

static void on_rtc(void *arg)
{
	(void)arg;
	rtc_irqs++;
	wr32(rtc + RTCICR, 1);
}

static void try_rtc(void)
{
	int node = dt_compatible("arm,pl031", -1);
	uint64_t end = deadline_ms(3000);
	struct dt_irq irq;
	uint32_t was;

	if (!check(node >= 0 && dt_interrupt(node, 0, &irq), "rtc: in the tree"))
		return;
	rtc = dt_reg(node, 0, NULL);
	irq_connect(irq.intid, on_rtc, NULL);
	irq_enable(irq.intid, irq.edge, 0);
	was = rd32(rtc + RTCDR);
	wr32(rtc + RTCICR, 1);
	wr32(rtc + RTCMR, was + 1);
	wr32(rtc + RTCIMSC, 1);
	while (rd32(rtc + RTCDR) == was && !passed(end))
		;
	check(rd32(rtc + RTCDR) != was, "rtc: ticks, %u", was);
	check(wait_count(&rtc_irqs, 1000) && rtc_irqs == 1, "rtc: %u alarm", rtc_irqs);
	wr32(rtc + RTCIMSC, 0);
}

static void on_sgi(void *arg)
{
	(void)arg;
	sgi_irqs[this_cpu()]++;
}

static void secondary(void *arg)
{
	(void)arg;
}

static void try_cpus(void)
{
	unsigned up = 1, answered = 0;

	irq_connect(SGI, on_sgi, NULL);
	for (unsigned i = 1; i < cpu_count(); i++)
		up += cpu_start(i, secondary, NULL);
	check(up == cpu_count(), "cpus: %u of %u are up", up, cpu_count());
	for (unsigned i = 0; i < cpu_count(); i++) {
		sgi_send(SGI, i);
		answered += wait_count(&sgi_irqs[i], 1000);
	}
	check(answered == cpu_count(), "cpus: %u of %u took an SGI", answered, cpu_count());
	check(psci(PSCI_VERSION, 0, 0, 0) >= 0x10000, "psci: version %lx", psci(PSCI_VERSION, 0, 0, 0));
}

/* The ITS by itself: a command of its own makes the interrupt. */
static void on_its(void *arg)
{
	++*(volatile unsigned *)arg;
}

static void try_its(void)
{
	static volatile unsigned irqs;
	struct msi m;

	if (gic.msi != MSI_ITS) {
		skip_check("no ITS in the tree", "its");
		return;
	}
	check(msi_alloc(0xfff0, on_its, (void *)&irqs, &m), "its: takes commands");
	its_int(0xfff0, m.data);
	check(wait_count(&irqs, 1000) && irqs == 1, "its: %u interrupt by INT", irqs);
	if (cpu_count() > 1) {
		irq_move(m.intid, 1);
		irqs = 0;
		its_int(0xfff0, m.data);
		check(wait_count(&irqs, 1000) && irqs == 1, "its: %u interrupt on CPU 1 after MOVI", irqs);
	}
	msi_free(&m);
}

static void try_rng(struct vdev *d)
{
	uint8_t *bytes = bare_alloc(16, 16);
	unsigned set = 0;
	bool done;

	if (!check(vdev_reset(d) && vdev_start(d, VERSION_1, 1), "rng on %s: starts", vdev_bus_name(d)))
		return;
	vq_post(&d->vq[0], 0, bytes, 16, true);
	vq_kick(&d->vq[0]);
	done = vq_wait(&d->vq[0], 2000);
	for (unsigned i = 0; i < 16; i++)
		set += bytes[i] != 0;
	check(done && set, "rng on %s: request done, %u interrupt", vdev_bus_name(d), d->irqs);
}

/* An ARP request is answered: both directions, each with its interrupt. */
static void try_net(struct vdev *d)
{
	uint8_t *tx = bare_alloc(NET_HEADER + NET_FRAME, 64), *rx = bare_alloc(2048, 64);
	uint64_t end;

	if (!check(vdev_reset(d) && vdev_start(d, VERSION_1 | BIT(5), 2), "net on %s: starts", vdev_bus_name(d)))
		return;
	vq_post(&d->vq[NET_RX], 0, rx, 2048, true);
	vq_kick(&d->vq[NET_RX]);
	net_arp(d, tx);
	vq_post(&d->vq[NET_TX], 0, tx, NET_HEADER + NET_FRAME, false);
	vq_kick(&d->vq[NET_TX]);
	check(vq_wait(&d->vq[NET_TX], 2000), "net on %s: a frame went out", vdev_bus_name(d));
	if (!option("host")) {
		skip_check("no host= to ask", "net on %s: an answer", vdev_bus_name(d));
		return;
	}
	for (end = deadline_ms(2000); d->vq[NET_RX].seen != 1 && !passed(end);)
		;
	check(d->vq[NET_RX].seen == 1, "net on %s: a frame came in", vdev_bus_name(d));
}

static struct vq *console_tx;

static void console_line(const char *line, unsigned len)
{
	vq_post(console_tx, 0, line, len, false);
	vq_kick(console_tx);
	vq_wait(console_tx, 2000);
}

/*
 * Queue 1 is the transmitter's. A console that has spoken is the only one that is shown: all further lines go there.
 * A device that loses one loses all results, and the case fails.
 */
static void try_console(struct vdev *d)
{
	bool good = vdev_reset(d) && vdev_start(d, VERSION_1, 2);

	check(good, "console on %s: starts", vdev_bus_name(d));
	if (!good)
		return;
	console_tx = &d->vq[1];
	say_to(console_line);
	note("by virtio-console from here on");
	check(console_tx->irqs && console_tx->seen == console_tx->next, "console on %s: wrote, %u interrupts",
	      vdev_bus_name(d), console_tx->irqs);
}

void case_find(void)
{
	static const char *const models[] = { "no messages", "ITS", "v2m" };

	note("GICv%u with %u INTIDs, %s; %u CPUs, %u PCI functions, %u virtio devices", gic.version, gic.nr_intids,
	     models[gic.msi], cpu_count(), pci_count, vdev_count);
	check(gic.version == option_number("gic", gic.version), "gic: version %u", gic.version);
	check(!option("msi") || streq(option("msi"), models[gic.msi]), "gic: %s", models[gic.msi]);
	try_timer();
	try_rtc();
	try_cpus();
	try_its();
	check(vdev_count, "virtio: %u devices", vdev_count);
	for (unsigned i = 0; i < vdev_count; i++) {
		switch (vdevs[i].id) {
		case VIRTIO_RNG: try_rng(&vdevs[i]); break;
		case VIRTIO_NET: try_net(&vdevs[i]); break;
		case VIRTIO_CONSOLE: try_console(&vdevs[i]); break;
		}
	}
}
