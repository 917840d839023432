/* SPDX-License-Identifier: BSD-3-Clause */
/* vectors: fewer than queues, none at all, and numbers that do not exist. */
#include "cases.h"
#include "virtio.h"

static uint8_t rx[2048], tx[NET_HEADER + NET_FRAME], bytes[64];

/* One frame out, and its answer in. */
static bool ask(struct vdev *d)
{
	vq_post(&d->vq[NET_RX], 0, rx, sizeof(rx), true);
	vq_kick(&d->vq[NET_RX]);
	net_arp(d, tx);
	vq_post(&d->vq[NET_TX], 0, tx, sizeof(tx), false);
	vq_kick(&d->vq[NET_TX]);
	return vq_wait_used(&d->vq[NET_TX], 2000) && vq_wait_used(&d->vq[NET_RX], 2000);
}

static bool start(struct vdev *d, uint16_t rx_vector, uint16_t tx_vector)
{
	if (!vdev_reset(d))
		return false;
	d->vq[NET_RX].vector = rx_vector;
	d->vq[NET_TX].vector = tx_vector;
	d->irqs = 0;
	for (unsigned v = 0; v < VDEV_MAX_VECTORS; v++)
		d->vector[v].irqs = 0;
	return vdev_start(d, VERSION_1 | BIT(5), 2);
}

/* Time for an interrupt that must not come. */
static unsigned irqs_after(const struct vdev *d)
{
	wait_us(20000);
	return d->irqs;
}

static void shared(struct vdev *d)
{
	bool good = start(d, 1, 1);

	for (unsigned i = 0; good && i < 20; i++)
		good = ask(d) && vq_wait(&d->vq[NET_TX], 2000) && vq_wait(&d->vq[NET_RX], 2000);
	check(good && d->irqs == d->vector[1].irqs, "two queues on vector 1: %u interrupts, %u of them there", d->irqs,
	      d->vector[1].irqs);
}

/* While the shared vector is masked both are pending in one bit, and one unmask brings both. */
static void shared_masked(struct vdev *d)
{
	bool good = start(d, 1, 1);
	unsigned before;

	msix_mask(d->pci, 1, true);
	before = d->irqs;
	good = good && ask(d);
	check(good && irqs_after(d) == before && msix_pending(d->pci, 1), "vector 1 masked: pending, not delivered");
	msix_mask(d->pci, 1, false);
	good = vq_wait(&d->vq[NET_TX], 2000) && vq_wait(&d->vq[NET_RX], 2000);
	check(good && !msix_pending(d->pci, 1), "vector 1 unmasked: both queues told");
}

static void one_silent(struct vdev *d)
{
	bool good = start(d, 0, NO_VECTOR) && ask(d) && vq_wait(&d->vq[NET_RX], 2000);

	check(good && irqs_after(d) == d->vector[0].irqs && d->vq[NET_TX].seen == 0, "tx without a vector: done, silent");
}

static void all_silent(struct vdev *d)
{
	bool good = start(d, NO_VECTOR, NO_VECTOR);

	for (unsigned i = 0; good && i < 20; i++)
		good = ask(d);
	check(good && irqs_after(d) == 0, "no vectors at all: 20 frames each way, polled");
}

/* A vector behind the last reads back as NO_VECTOR; the queue works without. */
static void beyond(struct vdev *d, uint16_t vector)
{
	uint64_t reg = d->regs + 0x1a;

	if (!check(start(d, 0, 1) && ask(d), "net on pci: works"))
		return;
	wr16(d->regs + 0x16, NET_TX);
	wr16(reg, vector);
	check(rd16(reg) == NO_VECTOR, "vector 0x%x of %u is refused", vector, d->pci->nr_vectors);
	check(ask(d), "and the queue goes on");
}

/* A queue that changes its vector while the device runs. */
static void rebound(struct vdev *d)
{
	bool good = start(d, 0, 1) && vdev_connect(d, 0) && ask(d);
	uint32_t before[2];

	wr16(d->regs + 0x16, NET_TX);
	wr16(d->regs + 0x1a, 0);
	before[0] = d->vector[0].irqs;
	before[1] = d->vector[1].irqs;
	d->vq[NET_TX].vector = 0;
	good = good && ask(d) && vq_wait(&d->vq[NET_TX], 2000) && vq_wait(&d->vq[NET_RX], 2000);
	check(good && d->vector[1].irqs == before[1] && d->vector[0].irqs > before[0], "tx moved from vector 1 to 0");
}

static void rng_silent(void)
{
	struct vdev *d = vdev_find(VIRTIO_RNG, BUS_PCI, 0);
	bool good = d && vdev_reset(d);

	if (!d) {
		skip_check("no rng on pci", "rng without a vector");
		return;
	}
	d->vq[0].vector = NO_VECTOR;
	good = good && vdev_start(d, VERSION_1, 1);
	vq_post(&d->vq[0], 0, bytes, sizeof(bytes), true);
	vq_kick(&d->vq[0]);
	check(good && vq_wait_used(&d->vq[0], 2000) && irqs_after(d) == 0, "rng without a vector: done, silent");
}

void case_vectors(void)
{
	struct vdev *d = vdev_find(VIRTIO_NET, BUS_PCI, 0);

	if (!check(d && d->pci->nr_vectors >= 2 && option("host"), "there is a net on pci with vectors, and a host="))
		return;
	shared(d);
	shared_masked(d);
	one_silent(d);
	all_silent(d);
	rebound(d);
	beyond(d, (uint16_t)d->pci->nr_vectors);
	beyond(d, 0xfffe);
	rng_silent();
}
