/* SPDX-License-Identifier: BSD-3-Clause */
/* The devices of a boot: how each is started, tried, and brought back; canaries; the other CPUs. */
#include "dt.h"
#include "hostile.h"

#define PATIENCE_MS 3000
#define CANARY 0x6563696e6572656dull
#define CANARY_BYTES 4096
#define NET_F_CTRL_VQ 17
#define NET_F_MQ 22
#define SPARE 65536 /* the largest page of a host's */
#define PV_TIME_ST 0xc5000021

struct vdev *rng, *con, *net, *blk, *vsock, *balloon;
bool vhost;
uint64_t ram_start, ram_end;
uint8_t *buf, *buf2;
struct vq_desc *table;
uint8_t *spare_page;
volatile bool stop_helpers;
bool begun;

static uint8_t *guards[5];
static bool healed[VDEV_MAX]; /* since anybody touched it */
static uint64_t bars[PCI_MAX_FUNCTIONS][6];

static uint8_t *guard(void)
{
	uint64_t *p = bare_alloc(CANARY_BYTES, 4096);

	for (unsigned i = 0; i < CANARY_BYTES / 8; i++)
		p[i] = CANARY;
	return (uint8_t *)p;
}

static bool guards_stand(void)
{
	for (unsigned g = 0; g < ARRAY_LEN(guards); g++)
		for (unsigned i = 0; i < CANARY_BYTES / 8; i++)
			if (((uint64_t *)guards[g])[i] != CANARY)
				return false;
	return true;
}

/* On PCI, if there is one there. */
static struct vdev *find(uint32_t id)
{
	enum vdev_bus bus = vdev_find(VIRTIO_RNG, BUS_PCI, 0) ? BUS_PCI : BUS_MMIO;

	return vdev_find(id, bus, 0);
}

void heal_init(void)
{
	struct vdev *more;
	uint64_t size;
	long records;

	ram_start = dt_reg(dt_typed("memory", -1), 0, &size);
	ram_end = ram_start + size;
	/* The records of stolen time may lie behind it: memory as well, in a page of the largest size (DEN0057). */
	records = psci(PV_TIME_ST, 0, 0, 0);
	if (records > 0 && ((uint64_t)records & ~UINT64_C(0xffff)) == ram_end)
		ram_end += 0x10000;
	guards[0] = guard();
	buf = bare_alloc(BUF_SIZE, 4096);
	guards[1] = guard();
	buf2 = bare_alloc(BUF_SIZE, 4096);
	guards[2] = guard();
	table = bare_alloc(BUF_SIZE, 4096);
	guards[3] = guard();
	spare_page = bare_alloc(SPARE, SPARE);
	guards[4] = guard();
	rng = find(VIRTIO_RNG);
	con = find(VIRTIO_CONSOLE);
	net = find(VIRTIO_NET);
	blk = find(VIRTIO_BLK);
	vsock = find(VIRTIO_VSOCK);
	balloon = find(VIRTIO_BALLOON);
	if (!rng || !con)
		fatal("no rng or no console on this transport");
	for (unsigned i = 0; i < pci_count; i++)
		for (unsigned n = 0; n < 6; n++)
			bars[i][n] = pci_devs[i].bar[n].addr;
	/* Each vector once, so that there are no more messages later than at the start. */
	if (net && vdev_features(net) & BIT(NET_F_CTRL_VQ) && vdev_reset(net))
		vdev_start(net, VERSION_1 | BIT(NET_F_CTRL_VQ) | BIT(NET_F_MQ), 5);
	more = blk ? vdev_find(VIRTIO_BLK, blk->pci ? BUS_PCI : BUS_MMIO, 1) : NULL;
	if (more && vdev_reset(more) && vdev_start(more, VERSION_1, 1))
		vdev_reset(more);
}

unsigned queues_of(const struct vdev *d)
{
	if (d == rng || d == blk)
		return 1;
	return d == vsock ? 3 : d == balloon ? 5 : 2;
}

bool begin(struct vdev *d, uint64_t features)
{
	begun = true;
	healed[d - vdevs] = false;
	return want(vdev_reset(d), "no reset") && want(vdev_start(d, VERSION_1 | features, queues_of(d)), "no start");
}

bool breaks(struct vdev *d)
{
	uint64_t end = deadline_ms(PATIENCE_MS);

	while (!(vdev_status(d) & NEEDS_RESET))
		if (passed(end))
			return false;
	return true;
}

bool uses(struct vq *vq)
{
	return vq_wait_used(vq, PATIENCE_MS);
}

struct vq *request_queue(struct vdev *d)
{
	return &d->vq[d == rng || d == blk ? 0 : 1];
}

uint16_t request_flags(const struct vdev *d)
{
	return d == rng ? DESC_WRITE : 0;
}

void vq_part(struct vq *vq, unsigned slot, const volatile void *at, uint32_t len, bool device_writes)
{
	vq->desc[slot] = (struct vq_desc){ (uint64_t)at, len, device_writes ? DESC_WRITE : 0, 0 };
}

void vq_chain(struct vq *vq, unsigned slot, unsigned n)
{
	for (unsigned i = slot; i + 1 < slot + n; i++) {
		vq->desc[i].flags |= DESC_NEXT;
		vq->desc[i].next = (uint16_t)(i + 1);
	}
	vq->avail->ring[vq->next % vq->size] = (uint16_t)slot;
	DMB();
	vq->avail->idx = ++vq->next;
	vq_kick(vq);
}

struct packet packet_to(uint32_t port, uint16_t op)
{
	return (struct packet){ .src_cid = rd32(vsock->config), .dst_cid = HOST_CID, .src_port = 1024, .dst_port = port,
				.type = VS_STREAM, .op = op, .buf_alloc = BUF_SIZE };
}

/* The first sector. */
static void send_blk(struct vq *vq)
{
	memset(buf, 0, 16);
	vq_part(vq, 0, buf, 16, false);
	vq_part(vq, 1, buf + 512, 512, true);
	vq_part(vq, 2, buf + 1024, 1, true);
	vq_chain(vq, 0, 3);
}

static void send_vsock(struct vdev *d)
{
	struct packet p = packet_to(QUIET_PORT, VS_REQUEST);

	vq_post(&d->vq[VS_RX], 0, buf2, 4096, true);
	vq_kick(&d->vq[VS_RX]);
	memcpy(buf, &p, sizeof(p));
	vq_post(&d->vq[VS_TX], 0, buf, sizeof(p), false);
}

/* It goes, and is taken back. */
static void send_balloon(struct vdev *d)
{
	uint32_t pfn = (uint32_t)((uint64_t)spare_page >> 12);

	memcpy(buf, &pfn, sizeof(pfn));
	vq_post(&d->vq[0], 0, buf, sizeof(pfn), false);
	vq_kick(&d->vq[0]);
	vq_post(&d->vq[1], 0, buf, sizeof(pfn), false);
}

void send_request(struct vdev *d)
{
	struct vq *vq = request_queue(d);

	if (d == blk) {
		send_blk(vq);
		return;
	}
	if (d == vsock) {
		send_vsock(d);
	} else if (d == balloon) {
		send_balloon(d);
	} else if (d == net) {
		vq_post(&d->vq[NET_RX], 0, buf2, 2048, true);
		vq_kick(&d->vq[NET_RX]);
		net_arp(d, buf);
		vq_post(vq, 0, buf, NET_HEADER + NET_FRAME, false);
	} else {
		buf[0] = '\n';
		vq_post(vq, 0, buf, d == rng ? 64 : 1, d == rng);
	}
	vq_kick(vq);
}

bool trip(struct vdev *d)
{
	send_request(d);
	return uses(request_queue(d)) && ((d != net && d != vsock && d != balloon) || uses(&d->vq[0]));
}

static void heal_pci(struct vdev *d)
{
	struct pci_dev *p = d->pci;

	for (unsigned n = 0; n < 6; n++)
		p->bar[n].addr = bars[p - pci_devs][n];
	wr16(p->cfg + PCI_COMMAND, 0);
	for (unsigned n = 0; n < 6; n++)
		if (p->bar[n].size)
			pci_bar_write(p, n, p->bar[n].addr);
	wr16(p->cfg + PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	msix_control(p, MSIX_ENABLE);
	for (unsigned v = 0; v < VDEV_MAX_VECTORS && v < p->nr_vectors; v++) {
		if (!d->vector[v].msi.intid)
			continue;
		msix_write(p, v, &d->vector[v].msi);
		msix_mask(p, v, false);
	}
}

bool heals(struct vdev *d)
{
	if (d->pci)
		heal_pci(d);
	healed[d - vdevs] = vdev_reset(d) && vdev_start(d, VERSION_1, queues_of(d)) && trip(d) && vdev_reset(d);
	return healed[d - vdevs];
}

void soil(void)
{
	memset(healed, 0, sizeof(healed));
}

/* @wedged where the device does not come back. */
static const char *heal_one(struct vdev *d, const char *wedged)
{
	return !d || healed[d - vdevs] || heals(d) ? NULL : wedged;
}

const char *heal_all(void)
{
	const char *w = heal_one(rng, "the rng is wedged");

	if (!w)
		w = heal_one(con, "the console is wedged");
	if (!w)
		w = heal_one(net, "the net is wedged");
	if (!w)
		w = heal_one(blk, "the disk is wedged");
	if (!w)
		w = heal_one(vsock, "the socket device is wedged");
	if (!w)
		w = heal_one(balloon, "the balloon is wedged");
	return w || guards_stand() ? w : "a canary is gone";
}

/* Other CPUs */

struct helper {
	void (*fn)(void *arg);
	void *arg;
};

static struct helper helpers[MAX_CPUS];

static void help(void *arg)
{
	struct helper *h = arg;

	h->fn(h->arg);
	cpu_off();
}

bool helper_start(unsigned n, void (*fn)(void *arg), void *arg)
{
	stop_helpers = false;
	helpers[n] = (struct helper){ fn, arg };
	return want(cpu_start(n, help, &helpers[n]), "CPU %u does not start", n);
}

bool helper_join(unsigned n)
{
	uint64_t end = deadline_ms(PATIENCE_MS);

	stop_helpers = true;
	while (!cpu_is_off(n))
		if (passed(end))
			return want(false, "CPU %u does not stop", n);
	return true;
}

/* Accesses */

uint64_t any_read(uint64_t at, unsigned width)
{
	switch (width) {
	case 1: return rd8(at);
	case 2: return rd16(at);
	case 4: return rd32(at);
	default: return rd64(at);
	}
}

void any_write(uint64_t at, unsigned width, uint64_t val)
{
	switch (width) {
	case 1: wr8(at, (uint8_t)val); break;
	case 2: wr16(at, (uint16_t)val); break;
	case 4: wr32(at, (uint32_t)val); break;
	default: wr64(at, val); break;
	}
}

uint32_t noise(void)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}
