/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * storm: the vector of a network card's transmitter is masked, unmasked and given other messages, while CPU 1 sends
 * and the device signals as fast as it can.
 *
 * Nothing is lost: CPU 1 has at most WINDOW frames under way, and takes more only when an interrupt has told it that
 * some are used. So the last signal of each burst counts: were it lost, no other would come, and the storm stands
 * still, which is looked for after each unmask. Nothing is late: the handler of a masked vector, or of a message that
 * is no longer the vector's, must not run from the store's completion on. That is looked at for LATE_US, and each fourth
 * time for LONG_US, in which the frames under way are done and would be told of.
 *
 * A CPU that has nothing to do sleeps, since the host has others to run, vhost among them; the handler wakes it.
 */
#include "cases.h"
#include "cpu.h"
#include "virtio.h"

#define WINDOW 3
#define LATE_US 20
#define LONG_US 500
#define STALL_MS 5000
#define WAKE 1 /* an SGI */

struct target {
	struct msi msi;
	volatile uint32_t irqs;
};

static struct vdev *net;
static struct vq *tx;
static struct target targets[2];
static unsigned vector;
static volatile bool stop, stopped;
static volatile uint32_t sent;
static uint8_t frame[NET_HEADER + NET_FRAME];
static unsigned late;
static volatile bool asleep[2];
static uint32_t told;       /* signals() when goes_on() began to wait */
static uint64_t stalled_at;

/* Interrupts are off from the look to the sleep, and whoever changes something afterwards wakes us. */
static void sleep_until(bool (*ready)(void))
{
	irqs_off();
	for (;;) {
		asleep[this_cpu()] = true;
		DSB();
		if (ready())
			break;
		sleep_once();
		irqs_on();
		ISB();
		irqs_off();
	}
	asleep[this_cpu()] = false;
	irqs_on();
}

static void on_wake(void *arg)
{
	(void)arg;
}

static void on_timer(void *arg)
{
	(void)arg;
	timer_set(0);
}

static void on_signal(void *arg)
{
	struct target *t = arg;

	__atomic_fetch_add(&t->irqs, 1, __ATOMIC_RELAXED);
	vq_look(tx);
	DMB();
	if (asleep[!this_cpu()])
		sgi_send(WAKE, !this_cpu());
}

/* The window varies, so that a burst is sometimes one frame. */
static bool may_send(void)
{
	return stop || (uint16_t)(tx->next - tx->seen) <= sent % WINDOW;
}

/* CPU 1. */
static void sender(void *arg)
{
	(void)arg;
	for (;;) {
		sleep_until(may_send);
		if (stop)
			break;
		vq_post(tx, tx->next % tx->size, frame, sizeof(frame), false);
		vq_kick(tx);
		sent++;
	}
	stopped = true;
}

/* CPU 0 takes the interrupts itself: one that was pending is taken before the instruction behind the store. */
static void watch_silence(unsigned turn, const struct target *t)
{
	uint32_t before = t->irqs;

	wait_us(turn / 2 % 4 ? LATE_US : LONG_US);
	late += t->irqs != before;
}

static uint32_t signals(void)
{
	return targets[0].irqs + targets[1].irqs;
}

static bool told_or_late(void)
{
	return signals() != told || passed(stalled_at);
}

/* Some more frames have been told of. */
static bool goes_on(void)
{
	told = signals();
	stalled_at = deadline_ms(STALL_MS);
	timer_set(STALL_MS * 1000);
	sleep_until(told_or_late);
	timer_set(0);
	return signals() != told;
}

/* By the entry's mask and the function's in turn. */
static void set_mask(unsigned turn, bool masked)
{
	if (turn % 2)
		msix_control(net->pci, MSIX_ENABLE | (masked ? MSIX_MASKALL : 0));
	else
		msix_mask(net->pci, vector, masked);
	ISB();
}

/* Between two masks the storm gets ahead: by one interrupt at least, then by a time that varies. */
static unsigned mask_turns(unsigned n)
{
	unsigned i;

	for (i = 0; i < n && goes_on(); i++) {
		wait_us(i % 16 * 5);
		set_mask(i, true);
		watch_silence(i, &targets[0]);
		set_mask(i, false);
	}
	return i;
}

/* To the other message and back; each second time without a mask around it, where the device must see to that. */
static unsigned retarget_turns(unsigned n)
{
	unsigned i;

	for (i = 0; i < n && goes_on(); i++) {
		const struct target *old = &targets[i % 2];

		if (i / 2 % 2)
			set_mask(0, true);
		msix_write(net->pci, vector, &targets[(i + 1) % 2].msi);
		ISB();
		watch_silence(i, old);
		if (i / 2 % 2)
			set_mask(0, false);
	}
	if (i % 2)
		msix_write(net->pci, vector, &targets[0].msi);
	return i;
}

/* The other way to another CPU: the message stays, the ITS or the distributor sends it elsewhere. */
static unsigned move_turns(unsigned n)
{
	unsigned i;

	for (i = 0; i < n && goes_on(); i++)
		irq_move(targets[0].msi.intid, (i + 1) % 2);
	irq_move(targets[0].msi.intid, 0);
	return i;
}

static bool start(void)
{
	net = vdev_find(VIRTIO_NET, BUS_PCI, 0);
	if (!check(net && cpu_count() > 1 && vdev_reset(net), "there is a net on pci, and a second CPU"))
		return false;
	if (!check(vdev_start(net, VERSION_1, 2), "net on %s: starts", vdev_bus_name(net)))
		return false;
	tx = &net->vq[NET_TX];
	vector = tx->vector;
	net_arp(net, frame);
	for (unsigned i = 0; i < 2; i++)
		if (!check(msi_alloc(net->pci->devid, on_signal, &targets[i], &targets[i].msi), "message %u", i))
			return false;
	msix_write(net->pci, vector, &targets[0].msi);
	irq_connect(WAKE, on_wake, NULL);
	return check(timer_init(on_timer, NULL) && cpu_start(1, sender, NULL), "timer; CPU 1 sends");
}

/* CPU 1 stops; then all frames are used, and an interrupt has told so. */
static void settle(void)
{
	uint64_t end = deadline_ms(STALL_MS);

	stop = true;
	sgi_send(WAKE, 1);
	while (!stopped && !passed(end))
		;
	check(stopped && vq_wait(tx, STALL_MS), "at the end all %u frames were told of", sent);
}

void case_storm(void)
{
	unsigned n = (unsigned)option_number("n", 1000), retargets = (unsigned)option_number("retargets", 100), done;

	if (!start())
		return;
	done = mask_turns(n);
	check(done == n, "%u of %u masks and unmasks, none lost a signal", done, n);
	check(!late, "%u interrupts after a mask was in place", late);
	late = 0;
	done = retarget_turns(retargets);
	check(done == retargets, "%u of %u retargets, none lost a signal", done, retargets);
	check(!late, "%u interrupts of a message that was no longer the vector's", late);
	check(!retargets || targets[1].irqs, "the other message made %u interrupts", targets[1].irqs);
	done = move_turns(retargets);
	check(done == retargets, "%u of %u moves to the other CPU, none lost a signal", done, retargets);
	settle();
	note("%u frames, %u and %u interrupts", sent, targets[0].irqs, targets[1].irqs);
}
