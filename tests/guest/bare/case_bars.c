/* SPDX-License-Identifier: BSD-3-Clause */
/* bars: BARs move under a device that runs, and its doorbells, registers and MSI-X table go along. */
#include "cases.h"
#include "virtio.h"

#define MOVES 20

static uint8_t bytes[64];

/* A request from kick to interrupt. */
static bool request(struct vdev *d)
{
	vq_post(&d->vq[0], 0, bytes, sizeof(bytes), true);
	vq_kick(&d->vq[0]);
	return vq_wait(&d->vq[0], 2000);
}

/* What capabilities and the doorbell say, after a move. */
static void follow(struct vdev *d, unsigned bar, uint64_t from)
{
	uint64_t to = d->pci->bar[bar].addr, size = d->pci->bar[bar].size;

	if (d->regs - from < size)
		d->regs += to - from;
	for (unsigned q = 0; q < d->nr_vqs; q++)
		if (d->vq[q].notify - from < size)
			d->vq[q].notify += to - from;
	if (d->isr - from < size)
		d->isr += to - from;
	if (d->config - from < size)
		d->config += to - from;
}

static void move(struct vdev *d, unsigned bar, uint64_t to)
{
	uint64_t from = d->pci->bar[bar].addr;

	pci_bar_move(d->pci, bar, to);
	follow(d, bar, from);
}

/* Each BAR to a new place and back, a request after each move. */
static void there_and_back(struct vdev *d, unsigned bar)
{
	uint64_t home = d->pci->bar[bar].addr, away = pci_window_take(d->pci->bar[bar].size);
	unsigned moves = 0;

	while (moves < MOVES) {
		move(d, bar, moves % 2 ? home : away);
		if (pci_bar_read(d->pci, bar) != d->pci->bar[bar].addr || !request(d))
			break;
		moves++;
	}
	check(moves == MOVES, "BAR %u: %u moves, each with a request after it", bar, moves);
	if (d->pci->bar[bar].addr == home)
		check(rd32(away) == ~0u, "BAR %u: nothing is left where it was", bar);
}

/* A request is under way while its doorbell's BAR is gone. */
static void move_under_way(struct vdev *d, unsigned bar)
{
	uint64_t home = d->pci->bar[bar].addr, away = pci_window_take(d->pci->bar[bar].size);
	unsigned done = 0;

	for (unsigned i = 0; i < MOVES; i++) {
		vq_post(&d->vq[0], 0, bytes, sizeof(bytes), true);
		vq_kick(&d->vq[0]);
		move(d, bar, i % 2 ? home : away);
		done += vq_wait(&d->vq[0], 2000);
	}
	check(done == MOVES, "BAR %u: %u of %u requests done that were under way during a move", bar, done, MOVES);
}

/* Two BARs of the device change places, by way of decoding off. */
static void swap(struct vdev *d, unsigned a, unsigned b)
{
	uint64_t at_a = d->pci->bar[a].addr, at_b = d->pci->bar[b].addr;
	uint64_t align = d->pci->bar[a].size > d->pci->bar[b].size ? d->pci->bar[a].size : d->pci->bar[b].size;

	/* both places must do for both */
	move(d, a, pci_window_take(align));
	move(d, b, pci_window_take(align));
	at_a = d->pci->bar[a].addr;
	at_b = d->pci->bar[b].addr;
	pci_decode(d->pci, false);
	pci_bar_write(d->pci, a, at_b);
	pci_bar_write(d->pci, b, at_a);
	d->pci->bar[a].addr = at_b;
	d->pci->bar[b].addr = at_a;
	pci_bar_move(d->pci, a, at_b);
	/* both at once: what one left must not be taken for the other */
	d->regs = d->isr = d->config = 0;
	check(vdev_reset(d) && vdev_start(d, VERSION_1, 1) && request(d), "BARs %u and %u changed places", a, b);
}

static void sized_again(struct vdev *d, unsigned bar)
{
	uint64_t at = d->pci->bar[bar].addr, ones;

	pci_decode(d->pci, false);
	pci_bar_write(d->pci, bar, ~UINT64_C(0));
	ones = pci_bar_read(d->pci, bar) | (d->pci->bar[bar].wide ? 0 : ~UINT64_C(0) << 32);
	pci_bar_write(d->pci, bar, at);
	pci_decode(d->pci, true);
	check(~ones + 1 == d->pci->bar[bar].size && request(d), "BAR %u: sized again, %lu bytes", bar,
	      (unsigned long)d->pci->bar[bar].size);
}

/* Without decoding nothing answers; a request that was made is done all the same. */
static void decode_off(struct vdev *d)
{
	vq_post(&d->vq[0], 0, bytes, sizeof(bytes), true);
	vq_kick(&d->vq[0]);
	pci_decode(d->pci, false);
	check(rd32(d->regs) == ~0u && rd32(d->pci->msix_table) == ~0u, "decoding off: nothing answers");
	check(vq_wait(&d->vq[0], 2000), "decoding off: the request is done, and says so");
	pci_decode(d->pci, true);
	check(request(d), "decoding on again: a request");
}

void case_bars(void)
{
	struct vdev *d = vdev_find(VIRTIO_RNG, BUS_PCI, 0);
	unsigned first = 6;

	if (!check(d && vdev_reset(d) && vdev_start(d, VERSION_1, 1) && request(d), "rng on pci: works"))
		return;
	for (unsigned n = 0; n < 6; n++) {
		if (!d->pci->bar[n].size)
			continue;
		sized_again(d, n);
		there_and_back(d, n);
		move_under_way(d, n);
		if (first < 6)
			swap(d, first, n);
		first = n;
	}
	decode_off(d);
}
