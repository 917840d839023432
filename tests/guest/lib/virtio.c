/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices, their registers by both transports (virtio 1.2 s4.1, s4.2), rings (s2.7), interrupts. */
#include "virtio.h"

#include "cpu.h"
#include "dt.h"
#include "virtio_regs.h"

struct vdev vdevs[VDEV_MAX];
unsigned vdev_count;

/* Interrupts */

/* Handlers may run on two CPUs at once, where an interrupt has just moved: seen only goes forward. */
void vq_look(struct vq *vq)
{
	uint16_t was = vq->seen, now = vq->used->idx;

	__atomic_fetch_add(&vq->irqs, 1, __ATOMIC_RELAXED);
	while ((int16_t)(now - was) > 0 &&
	       !__atomic_compare_exchange_n(&vq->seen, &was, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

void vdev_line_interrupt(void *arg)
{
	struct vdev *d = arg;
	uint32_t isr = rd32(d->regs + MMIO_ISR);

	d->irqs++;
	wr32(d->regs + MMIO_ACK, isr);
	if (isr & ISR_CONFIG)
		d->config_irqs++;
	for (unsigned q = 0; isr & ISR_QUEUE && q < d->nr_vqs; q++)
		vq_look(&d->vq[q]);
}

static void vector_interrupt(void *arg)
{
	struct vdev_vector *v = arg;
	struct vdev *d = v->dev;

	v->irqs++;
	d->irqs++;
	if (d->config_vector == v->nr)
		d->config_irqs++;
	for (unsigned q = 0; q < d->nr_vqs; q++)
		if (d->vq[q].vector == v->nr)
			vq_look(&d->vq[q]);
}

bool vdev_connect(struct vdev *d, unsigned v)
{
	struct vdev_vector *vec = &d->vector[v];

	if (vec->msi.intid)
		return true;
	vec->dev = d;
	vec->nr = v;
	if (v >= d->pci->nr_vectors || !msi_alloc(d->pci->devid, vector_interrupt, vec, &vec->msi))
		return false;
	msix_write(d->pci, v, &vec->msi);
	msix_mask(d->pci, v, false);
	return true;
}

static bool connect_all(struct vdev *d)
{
	if (!d->pci) {
		irq_connect(d->intid, vdev_line_interrupt, d);
		irq_enable(d->intid, d->edge, 0);
		return true;
	}
	msix_control(d->pci, MSIX_ENABLE);
	if (d->config_vector != NO_VECTOR && !vdev_connect(d, d->config_vector))
		return false;
	for (unsigned q = 0; q < d->nr_vqs; q++)
		if (d->vq[q].vector != NO_VECTOR && !vdev_connect(d, d->vq[q].vector))
			return false;
	return true;
}

/* Finding devices */

static void add_mmio(int node)
{
	struct vdev *d = &vdevs[vdev_count];
	uint64_t regs = dt_reg(node, 0, NULL);
	struct dt_irq irq;

	if (rd32(regs + MMIO_MAGIC) != MMIO_MAGIC_VALUE || rd32(regs + MMIO_VERSION) != 2 ||
	    !rd32(regs + MMIO_DEVICE_ID) || vdev_count == VDEV_MAX || !dt_interrupt(node, 0, &irq))
		return;
	d->id = rd32(regs + MMIO_DEVICE_ID);
	d->regs = regs;
	d->config = regs + MMIO_CONFIG;
	d->intid = irq.intid;
	d->edge = irq.edge;
	vdev_count++;
}

/* The structures that the vendor capabilities name; called again after BARs have moved. */
static void find_structures(struct vdev *d)
{
	struct pci_dev *p = d->pci;

	for (unsigned c = pci_cap(p, PCI_CAP_VENDOR, 0); c; c = pci_cap(p, PCI_CAP_VENDOR, c)) {
		uint64_t at = p->bar[rd8(p->cfg + c + 4) % 6].addr + rd32(p->cfg + c + 8);

		switch (rd8(p->cfg + c + 3)) {
		case CAP_COMMON: d->regs = at; break;
		case CAP_ISR: d->isr = at; break;
		case CAP_DEVICE: d->config = at; break;
		case CAP_NOTIFY:
			d->notify = at;
			d->notify_multiplier = rd32(p->cfg + c + 16);
			break;
		}
	}
}

void vdev_scan(void)
{
	for (int node = dt_compatible("virtio,mmio", -1); node >= 0; node = dt_compatible("virtio,mmio", node))
		add_mmio(node);
	for (unsigned i = 0; i < pci_count && vdev_count < VDEV_MAX; i++) {
		if (pci_devs[i].vendor != 0x1af4 || pci_devs[i].device < 0x1040)
			continue;
		vdevs[vdev_count].id = pci_devs[i].device - 0x1040u;
		vdevs[vdev_count].pci = &pci_devs[i];
		find_structures(&vdevs[vdev_count++]);
	}
}

struct vdev *vdev_find(uint32_t id, enum vdev_bus bus, unsigned nth)
{
	for (unsigned i = 0; i < vdev_count; i++) {
		struct vdev *d = &vdevs[i];

		if (d->id == id && (bus == BUS_ANY || (bus == BUS_PCI) == !!d->pci) && !nth--)
			return d;
	}
	return NULL;
}

const char *vdev_bus_name(const struct vdev *d)
{
	if (!d->pci)
		return "mmio";
	return gic.msi == MSI_ITS ? "pci, ITS" : "pci, v2m";
}

/* Registers */

unsigned vdev_status(const struct vdev *d)
{
	return d->pci ? rd8(d->regs + PCI_STATUS) : rd32(d->regs + MMIO_STATUS);
}

void vdev_set_status(struct vdev *d, unsigned status)
{
	if (d->pci)
		wr8(d->regs + PCI_STATUS, (uint8_t)status);
	else
		wr32(d->regs + MMIO_STATUS, status);
}

uint64_t vdev_features(struct vdev *d)
{
	uint64_t v = 0;

	for (uint32_t half = 0; half < 2; half++) {
		wr32(d->regs + (d->pci ? PCI_FEATURES_SEL : MMIO_FEATURES_SEL), half);
		v |= (uint64_t)rd32(d->regs + (d->pci ? PCI_FEATURES : MMIO_FEATURES)) << 32 * half;
	}
	return v;
}

void vdev_set_features(struct vdev *d, uint64_t features)
{
	for (uint32_t half = 0; half < 2; half++) {
		wr32(d->regs + (d->pci ? PCI_DRIVER_FEATURES_SEL : MMIO_DRIVER_FEATURES_SEL), half);
		wr32(d->regs + (d->pci ? PCI_DRIVER_FEATURES : MMIO_DRIVER_FEATURES), (uint32_t)(features >> 32 * half));
	}
}

static void select_queue(struct vdev *d, unsigned q)
{
	if (d->pci)
		wr16(d->regs + PCI_QUEUE_SEL, (uint16_t)q);
	else
		wr32(d->regs + MMIO_QUEUE_SEL, q);
}

unsigned vdev_queue_max(struct vdev *d, unsigned q)
{
	select_queue(d, q);
	return d->pci ? rd16(d->regs + PCI_QUEUE_SIZE) : rd32(d->regs + MMIO_QUEUE_MAX);
}

static void write_address(uint64_t reg, volatile void *at)
{
	wr32(reg, (uint32_t)(uint64_t)at);
	wr32(reg + 4, (uint32_t)((uint64_t)at >> 32));
}

static bool enable_pci(struct vdev *d, struct vq *vq)
{
	bool taken;

	wr16(d->regs + PCI_QUEUE_SIZE, (uint16_t)vq->size);
	write_address(d->regs + PCI_QUEUE_DESC, vq->desc);
	write_address(d->regs + PCI_QUEUE_AVAIL, vq->avail);
	write_address(d->regs + PCI_QUEUE_USED, vq->used);
	wr16(d->regs + PCI_QUEUE_VECTOR, vq->vector);
	taken = rd16(d->regs + PCI_QUEUE_VECTOR) == vq->vector;
	vq->notify = d->notify + (uint64_t)rd16(d->regs + PCI_QUEUE_NOTIFY_OFF) * d->notify_multiplier;
	wr16(d->regs + PCI_QUEUE_ENABLE, 1);
	return taken;
}

bool vdev_queue_enable(struct vdev *d, struct vq *vq)
{
	select_queue(d, vq->index);
	if (d->pci)
		return enable_pci(d, vq);
	wr32(d->regs + MMIO_QUEUE_NUM, vq->size);
	write_address(d->regs + MMIO_DESC, vq->desc);
	write_address(d->regs + MMIO_AVAIL, vq->avail);
	write_address(d->regs + MMIO_USED, vq->used);
	wr32(d->regs + MMIO_QUEUE_READY, 1);
	return true;
}

uint8_t vdev_config8(const struct vdev *d, unsigned off)
{
	return rd8(d->config + off);
}

/* Starting */

bool vdev_reset(struct vdev *d)
{
	uint64_t end = deadline_ms(2000);
	unsigned last = d->pci && d->pci->nr_vectors ? d->pci->nr_vectors - 1 : 0;

	if (d->pci)
		find_structures(d);
	vdev_set_status(d, 0);
	while (vdev_status(d) && !passed(end))
		;
	d->nr_vqs = 0;
	d->config_vector = NO_VECTOR;
	for (unsigned q = 0; q < VDEV_MAX_VQS; q++)
		d->vq[q].vector = (uint16_t)(q < last ? q : last);
	return !vdev_status(d);
}

void vq_make(struct vdev *d, unsigned q, unsigned size)
{
	struct vq *vq = &d->vq[q];

	vq->dev = d;
	vq->index = q;
	vq->size = size < VQ_MAX ? size : VQ_MAX;
	if (!vq->desc) {
		vq->desc = bare_alloc(16 * VQ_MAX, 4096);
		vq->avail = bare_alloc(6 + 2 * VQ_MAX, 64);
		vq->used = bare_alloc(6 + 8 * VQ_MAX, 64);
	}
	memset((void *)vq->desc, 0, 16 * VQ_MAX);
	memset((void *)vq->avail, 0, 6 + 2 * VQ_MAX);
	memset((void *)vq->used, 0, 6 + 8 * VQ_MAX);
	vq->next = vq->seen = 0;
	vq->irqs = 0;
}

static bool start_queues(struct vdev *d, unsigned queues)
{
	for (unsigned q = 0; q < queues; q++) {
		unsigned max = vdev_queue_max(d, q);

		if (!max) {
			note("queue %u is not there", q);
			return false;
		}
		vq_make(d, q, max);
	}
	d->nr_vqs = queues;
	if (!connect_all(d)) {
		note("no messages for the vectors");
		return false;
	}
	if (d->pci)
		wr16(d->regs + PCI_CONFIG_VECTOR, d->config_vector);
	for (unsigned q = 0; q < queues; q++) {
		if (vdev_queue_enable(d, &d->vq[q]))
			continue;
		note("queue %u does not take vector %u", q, d->vq[q].vector);
		return false;
	}
	return true;
}

bool vdev_start(struct vdev *d, uint64_t features, unsigned queues)
{
	vdev_set_status(d, ACKNOWLEDGE);
	vdev_set_status(d, ACKNOWLEDGE | DRIVER);
	vdev_set_features(d, vdev_features(d) & features);
	vdev_set_status(d, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	if (!(vdev_status(d) & FEATURES_OK)) {
		note("FEATURES_OK did not stay");
		return false;
	}
	if (!start_queues(d, queues))
		return false;
	vdev_set_status(d, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	return true;
}

/* Rings */

void vq_post(struct vq *vq, unsigned slot, const void *buf, uint32_t len, bool device_writes)
{
	vq->desc[slot].addr = (uint64_t)buf;
	vq->desc[slot].len = len;
	vq->desc[slot].flags = device_writes ? DESC_WRITE : 0;
	vq->avail->ring[vq->next % vq->size] = (uint16_t)slot;
	DMB();
	vq->avail->idx = ++vq->next;
}

void vq_kick(struct vq *vq)
{
	if (vq->dev->pci)
		wr16(vq->notify, (uint16_t)vq->index);
	else
		wr32(vq->dev->regs + MMIO_NOTIFY, vq->index);
}

bool vq_wait(struct vq *vq, unsigned ms)
{
	uint64_t end = deadline_ms(ms);

	while (vq->seen != vq->next)
		if (passed(end))
			return false;
	return true;
}

bool vq_wait_used(struct vq *vq, unsigned ms)
{
	uint64_t end = deadline_ms(ms);

	while (vq->used->idx != vq->next)
		if (passed(end))
			return false;
	return true;
}

/* The network */

static void host_address(uint8_t *ip)
{
	const char *s = option("host");

	for (unsigned i = 0; i < 4; i++) {
		ip[i] = 0;
		for (; s && *s >= '0' && *s <= '9'; s++)
			ip[i] = (uint8_t)(ip[i] * 10 + *s - '0');
		if (s && *s == '.')
			s++;
	}
}

void net_arp(struct vdev *d, uint8_t *packet)
{
	static const uint8_t arp[] = { 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1 };
	uint8_t *frame = packet + NET_HEADER, *own = frame + 6;

	memset(packet, 0, NET_HEADER + NET_FRAME);
	memset(frame, 0xff, 6);
	for (unsigned i = 0; i < 6; i++)
		own[i] = vdev_config8(d, i);
	memcpy(frame + 12, arp, sizeof(arp));
	memcpy(frame + 22, own, 6);
	host_address(frame + 28);
	frame[31]++;
	host_address(frame + 38);
}
