/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench: what an interrupt costs a guest with one CPU, by the counter: medians of n, in nanoseconds
 *
 * A request is the smallest there is: one frame to the network, 8 bytes from the entropy device. "request" is from
 * the kick to the handler's first instruction; "pending" from the store that unmasks a vector that waits to the
 * handler, so that the device's own work is not in it. Between kick and interrupt the CPU sleeps, as a kernel does.
 */
#include "cases.h"
#include "cpu.h"
#include "virtio.h"

#define MAX_N 1000
#define WATCHDOG_US 500000 /* a lost interrupt ends the sleep */
#define POLL_US 200

static uint64_t samples[MAX_N], handled_at;
static unsigned n;
static struct vq *queue;
static struct msi other;
static uint8_t buffer[128];

static void on_message(void *arg)
{
	(void)arg;
	if (!handled_at)
		handled_at = ticks();
	vq_look(queue);
}

static void on_timer(void *arg)
{
	(void)arg;
	timer_set(0);
}

/* Interrupts are off but here: none comes between the look at what is waited for and the sleep. */
static void doze(void)
{
	sleep_once();
	irqs_on();
	ISB();
	irqs_off();
}

static void post(const struct vdev *d)
{
	if (d->id == VIRTIO_NET)
		vq_post(queue, 0, buffer, NET_HEADER + NET_FRAME, false);
	else
		vq_post(queue, 0, buffer, 8, true);
}

static bool request(const struct vdev *d, uint64_t *ret_ticks)
{
	uint64_t start;

	post(d);
	handled_at = 0;
	timer_set(WATCHDOG_US);
	start = ticks();
	vq_kick(queue);
	while (queue->seen != queue->next && SYSREG_READ("cntv_ctl_el0") & 1)
		doze();
	timer_set(0);
	*ret_ticks = handled_at - start;
	return queue->seen == queue->next;
}

static void figure_request(const struct vdev *d, const char *name)
{
	unsigned i;

	for (i = 0; i < n && request(d, &samples[i]); i++)
		;
	if (check(i == n, "%s on %s: %u requests", name, vdev_bus_name(d), i))
		note("figure: %s on %s: request to handler %lu ns", name, vdev_bus_name(d), (unsigned long)median_ns(samples, n));
}

/* What one of the stores below takes. */
static void figure_store(struct vdev *d, const char *name, const char *what, void (*before)(struct vdev *d),
			 void (*store)(struct vdev *d))
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t start;

		before(d);
		start = ticks();
		store(d);
		samples[i] = ticks() - start;
	}
	note("figure: %s on %s: %s %lu ns", name, vdev_bus_name(d), what, (unsigned long)median_ns(samples, n));
}

static void mask(struct vdev *d)
{
	msix_mask(d->pci, queue->vector, true);
}

static void unmask(struct vdev *d)
{
	msix_mask(d->pci, queue->vector, false);
}

static void retarget(struct vdev *d)
{
	static bool away;
	const struct msi *m;

	away = !away;
	m = away ? &other : &d->vector[queue->vector].msi;
	mask(d);
	msix_write(d->pci, queue->vector, m);
	unmask(d);
}

static void nothing(struct vdev *d)
{
	(void)d;
}

/* Masked until the device is done, which is waited for asleep. */
static bool pending(struct vdev *d, uint64_t *ret_ticks)
{
	unsigned naps = WATCHDOG_US / POLL_US;
	uint64_t start;

	mask(d);
	post(d);
	vq_kick(queue);
	/* used, and some time for the signal behind it */
	for (unsigned after = 0; naps && after < 2; naps--) {
		timer_set(POLL_US);
		doze();
		after += queue->used->idx == queue->next;
	}
	handled_at = 0;
	timer_set(WATCHDOG_US);
	start = ticks();
	unmask(d);
	while (queue->seen != queue->next && SYSREG_READ("cntv_ctl_el0") & 1) {
		irqs_on();
		ISB();
		irqs_off();
	}
	timer_set(0);
	*ret_ticks = handled_at - start;
	return queue->seen == queue->next;
}

static void figure_pending(struct vdev *d, const char *name)
{
	unsigned i;

	for (i = 0; i < n && pending(d, &samples[i]); i++)
		;
	if (check(i == n, "%s on %s: %u pending interrupts", name, vdev_bus_name(d), i))
		note("figure: %s on %s: unmask of a pending vector to handler %lu ns", name, vdev_bus_name(d),
		     (unsigned long)median_ns(samples, n));
}

static void on_line(void *arg)
{
	struct vdev *d = arg;

	if (!handled_at)
		handled_at = ticks();
	vdev_line_interrupt(d);
}

static void bench_device(struct vdev *d)
{
	const char *name = d->id == VIRTIO_NET ? "net" : "rng";
	bool good = vdev_reset(d) && vdev_start(d, VERSION_1, d->id == VIRTIO_NET ? 2 : 1);

	if (!check(good, "%s on %s: starts", name, vdev_bus_name(d)))
		return;
	queue = &d->vq[d->id == VIRTIO_NET ? NET_TX : 0];
	if (d->id == VIRTIO_NET)
		net_arp(d, buffer);
	if (d->pci)
		irq_connect(d->vector[queue->vector].msi.intid, on_message, NULL);
	else
		irq_connect(d->intid, on_line, d);
	figure_request(d, name);
	if (!d->pci || !check(msi_alloc(d->pci->devid, on_message, NULL, &other), "another message"))
		return;
	figure_store(d, name, "mask", unmask, mask);
	figure_store(d, name, "unmask", mask, unmask);
	figure_store(d, name, "retarget", nothing, retarget);
	msix_write(d->pci, queue->vector, &d->vector[queue->vector].msi);
	figure_pending(d, name);
	msi_free(&other);
	vdev_reset(d);
}

void case_bench(void)
{
	n = (unsigned)option_number("n", 200);
	if (n < 1 || n > MAX_N)
		n = MAX_N;
	check(timer_init(on_timer, NULL), "timer");
	irqs_off();
	for (unsigned i = 0; i < vdev_count; i++)
		if (vdevs[i].id == VIRTIO_NET || vdevs[i].id == VIRTIO_RNG)
			bench_device(&vdevs[i]);
}
