/* SPDX-License-Identifier: BSD-3-Clause */
/* flood: nothing that is wrong, but more of it than anybody wants. The other devices work meanwhile, the monitor's size stays. */
#include "gic_regs.h"
#include "hostile.h"

static uint64_t bell(const struct vdev *d, unsigned q)
{
	return d->pci ? d->notify + q * d->notify_multiplier : d->regs + MMIO_NOTIFY;
}

static void ring_bell(const struct vdev *d, unsigned q)
{
	if (d->pci)
		wr16(bell(d, q), (uint16_t)q);
	else
		wr32(bell(d, q), q);
}

static bool begin_all(void)
{
	return begin(rng, 0) && begin(con, 0) && (!net || begin(net, 0));
}

static void kick_all(void *arg)
{
	for (unsigned i = 0; i < 2000 && !(arg && stop_helpers); i++)
		for (unsigned d = 0; d < vdev_count; d++)
			for (unsigned q = 0; q < queues_of(&vdevs[d]); q++)
				ring_bell(&vdevs[d], q);
}

static void kicks(void)
{
	if (begin_all())
		kick_all(NULL);
	want(trip(rng), "no round trip");
}

static void kicks_from_all(void)
{
	if (!begin_all() || !helper_start(1, kick_all, (void *)1) || !helper_start(2, kick_all, (void *)1))
		return;
	for (unsigned i = 0; i < 50; i++)
		want(trip(rng), "no round trip");
	helper_join(1);
	helper_join(2);
}

/* Kicks of queues that are broken. */
static void kicks_of_broken(void)
{
	if (!begin(rng, 0))
		return;
	rng->vq[0].avail->idx = 0x8000;
	for (unsigned i = 0; i < 2000; i++)
		ring_bell(rng, 0);
	want(breaks(rng), "no NEEDS_RESET");
}

static void serial(void)
{
	uint64_t uart = uart_regs();

	for (unsigned i = 0; i < 8000; i++)
		wr32(uart, i % 64 ? 'u' : '\n');
}

static void serial_from_all_helper(void *arg)
{
	uint64_t uart = uart_regs();

	(void)arg;
	for (unsigned i = 0; i < 2000; i++)
		wr32(uart, i % 64 ? 'v' : '\n');
}

static void serial_from_all(void)
{
	if (!helper_start(1, serial_from_all_helper, NULL) || !helper_start(2, serial_from_all_helper, NULL))
		return;
	serial_from_all_helper(NULL);
	helper_join(1);
	helper_join(2);
	say("\n");
}

/* Each fault wants a line in the log. */
static void log_lines(void)
{
	for (unsigned i = 0; i < 100; i++) {
		if (!begin(rng, 0))
			return;
		rng->vq[0].avail->idx = 0x8000;
		vq_kick(&rng->vq[0]);
		if (!want(breaks(rng), "no NEEDS_RESET"))
			return;
	}
}

static void resets(void)
{
	for (unsigned i = 0; i < 300; i++)
		for (unsigned d = 0; d < vdev_count; d++)
			vdev_set_status(&vdevs[d], 0);
}

static void starts(void)
{
	for (unsigned i = 0; i < 40; i++)
		if (!begin_all())
			return;
}

static void memory(void)
{
	for (uint64_t at = ram_start + (32 << 20); at < ram_end - 0x20000; at += 4096)
		*(volatile uint64_t *)at = at;
}

static void config_reads(void)
{
	for (unsigned i = 0; i < 3000; i++)
		rd32((net ? net : con)->config + (i & 4));
}

static void ecam_scans(void)
{
	uint64_t ecam = pci_devs[0].cfg & ~UINT64_C(0xfffff);

	for (unsigned i = 0; i < 10; i++)
		for (uint64_t at = ecam; at < ecam + 0x100000; at += 0x1000)
			rd32(at);
}

static void reader(void *arg)
{
	for (unsigned i = 0; !stop_helpers; i++)
		rd32((uint64_t)arg + (i & 0x3c));
}

static void registers_from_all(void)
{
	if (!helper_start(1, reader, (void *)rng->regs) || !helper_start(2, reader, (void *)con->regs))
		return;
	for (unsigned i = 0; i < 10; i++)
		want(heals(rng), "the rng is wedged meanwhile");
	helper_join(1);
	helper_join(2);
}

static void messages(void)
{
	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 1000; i++)
		its_int(rng->pci->devid, rng->vector[0].msi.data);
}

static void requests(void)
{
	struct vq *vq = &rng->vq[0];

	if (!begin(rng, 0))
		return;
	for (unsigned i = 0; i < 3000; i++) {
		if ((uint16_t)(vq->next - vq->used->idx) >= vq->size && !want(uses(vq), "stuck after %u", i))
			return;
		vq_post(vq, i % vq->size, buf, 256, true);
		vq_kick(vq);
	}
	want(uses(vq), "not used");
}

static void hypercalls(void)
{
	for (unsigned i = 0; i < 5000; i++)
		psci(0x84000000, 0, 0, 0);
}

static void timers(void)
{
	for (unsigned i = 0; i < 2000; i++)
		timer_set(1 + i % 3);
	timer_set(0);
}

static const struct fn_row fn_rows[] = {
	{ { "kicks", OFTEN }, kicks },
	{ { "kicks-from-all", ON_CPUS | OFTEN }, kicks_from_all },
	{ { "kicks-of-broken", 0 }, kicks_of_broken },
	{ { "serial", OFTEN }, serial },
	{ { "serial-from-all", ON_CPUS }, serial_from_all },
	{ { "log-lines", OFTEN }, log_lines },
	{ { "resets", OFTEN }, resets },
	{ { "starts", 0 }, starts },
	{ { "memory", OFTEN }, memory },
	{ { "config-reads", 0 }, config_reads },
	{ { "ecam-scans", ON_PCI }, ecam_scans },
	{ { "registers-from-all", ON_CPUS }, registers_from_all },
	{ { "messages", ON_PCI | ON_ITS | OFTEN }, messages },
	{ { "requests", 0 }, requests },
	{ { "hypercalls", 0 }, hypercalls },
	{ { "timers", 0 }, timers },
};

const struct family flood_tables[] = { FAMILY(fn_rows, run_fn), { 0 } };
