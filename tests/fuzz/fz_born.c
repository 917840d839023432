// SPDX-License-Identifier: BSD-3-Clause
/*
 * born: devices that are made, put on a transport and started while something is not to be had.
 *
 * Covers: the beginnings of net.c (our loop and vhost), rng.c, console.c, blk.c, vsock_uds.c, balloon.c, virtio_mmio.c, virtio_pci.c, msix.c,
 *         vdev.c: sources of the loop, descriptors, requests to vhost and the tap, doorbells, irqfds and tables
 *         of routes, any of which may be refused once, when the device is made or when a driver starts it.
 * Oracle: what cannot be made leaves nothing; what cannot be started says NEEDS_RESET, and blames no guest; a request
 *         to vhost that was refused stops the device, a doorbell that was refused does not; a reset heals it, and
 *         the next start succeeds; its configuration space says what it was made with; in the end no ioeventfd,
 *         irqfd, route, memory slot or descriptor is left.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/irq_check.h"

#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "devices/pci/host.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/blk.h"
#include "devices/virtio/console.h"
#include "devices/virtio/net.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/virtio_mmio.h"
#include "devices/virtio/virtio_pci.h"
#include "devices/virtio/vsock_uds.h"
#include "tests/fake/driver.h"
#include "tests/fake/vhost.h"

#define RAM 0x40000000u
#define RAM_SIZE 0x40000u
#define ECAM 0x3f000000u
#define WIN 0x10000000u
#define MMIO 0x0a000000u
#define RID RIG_DEVID
#define SPI 20
#define SLOT 7
#define MAX_PAIRS 2
#define RING 16

enum kind { NET_LOOP, NET_VHOST, RNG, CONSOLE, BLK, SOCKETS, BALLOON };

static struct rig rig;
static struct loop *loop;
static struct gmem *mem;
static struct bus *bus;
static struct pci_host *host;

static enum kind kind;
static unsigned pairs;
static uint16_t mtu;
static struct vdev *v;
static struct virtio_mmio *mmio;
static struct virtio_pci *pci;
static struct fake_guest guest;

static size_t sink_write(void *ctx, const void *buf, size_t len)
{
	(void)ctx;
	must(buf && len);
	return len;
}

static void sink_event(void *ctx)
{
	(void)ctx;
}

static bool is_net(void)
{
	return kind == NET_LOOP || kind == NET_VHOST;
}

static int make_net(struct err *err)
{
	struct net_cfg cfg = { .name = "net0", .loop = loop, .mem = mem, .mac = { 2, 3, 4, 5, 6, 7 }, .mtu = mtu };

	must(tap_from_fds(fv.tap_fd, pairs, &cfg.tap, err) == 0);
	for (unsigned i = 0; i < NET_MAX_PAIRS; i++)
		cfg.vhost_fds[i] = kind == NET_VHOST && i < pairs ? fake_vhost_fd() : -1;
	return net_new(&cfg, &v, err);
}

/* Descriptors that the device takes over, made before the famine. */
static int given_fds[2];

static void give_fds(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(given_fds); i++)
		given_fds[i] = (kind == BLK && !i) || kind == SOCKETS ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
}

/* Closed by whoever took it. */
static int given_fd(unsigned i)
{
	int fd = given_fds[i];

	given_fds[i] = -1;
	return fd;
}

static int make_blk(void)
{
	const struct blk_cfg cfg = {
		.name = "disk0", .loop = loop, .mem = mem, .queues = pairs, .discard = true, .iops = mtu,
		.disk = { .fd = given_fd(0), .sectors = 64, .block = 512, .best = 4096 },
	};

	return blk_new(&cfg, &v);
}

static int make_sockets(struct err *err)
{
	const struct vsock_uds_cfg cfg = {
		.name = "vsock0", .loop = loop, .mem = mem, .cid = 42, .max_conns = 1 + 4 * pairs, .listen_fd = given_fd(0),
		.broker_fd = given_fd(1),
	};

	return vsock_uds_new(&cfg, &v, err);
}

static int make_balloon(void)
{
	const struct balloon_cfg cfg = {
		.name = "balloon0", .loop = loop, .mem = mem, .size = 4096 * pairs, .oom = true, .reporting = true,
		.stats_ns = mtu * UINT64_C(1000000),
	};

	return balloon_new(&cfg, &v);
}

static int make_device(struct err *err)
{
	static const struct console_sink sink = { .write = sink_write, .input_room = sink_event, .closed = sink_event };
	const struct console_cfg cc = { .name = "console0", .loop = loop, .mem = mem, .sink = &sink };

	switch (kind) {
	case NET_LOOP: case NET_VHOST: return make_net(err);
	case RNG: return rng_new("rng0", loop, mem, &v);
	case CONSOLE: return console_new(&cc, &v);
	case BLK: return make_blk();
	case SOCKETS: return make_sockets(err);
	default: return make_balloon();
	}
}

static int make_transport(uint8_t how)
{
	const struct virtio_mmio_cfg mc = { .vdev = v, .bus = bus, .hyp = rig.hyp, .space = rig.space, .gpa = MMIO, .spi = SPI,
					    .irq = how & 2 ? VMMIO_DIRECT : VMMIO_HOP };
	const struct virtio_pci_cfg pc = { .vdev = v, .host = host, .hyp = rig.hyp, .space = rig.space, .rid = RID,
					   .slot = how & 4 ? SLOT : 0 };

	return how & 1 ? virtio_mmio_new(&mc, &mmio) : virtio_pci_new(&pc, &pci);
}

/* What is not to be had while the device is made. */
static bool famine_is_due;
static unsigned spare;

static void begin_need(struct fuzz_in *in)
{
	static const unsigned long requests[] = { VHOST_SET_OWNER, VHOST_GET_FEATURES };
	uint8_t what = fuzz_u8(in);

	famine_is_due = false;
	switch (what & 7) {
	case 1: case 2:
		fake_loop_fail_init(loop, what >> 3, -ENOSPC);
		break;
	case 3: case 4:
		famine_is_due = true;
		spare = what >> 3;
		rig_look_away(&rig); /* who looks on needs descriptors, too */
		break;
	case 5:
		fake_vhost_fail(requests[what >> 3 & 1], ENOMEM, what >> 4 & 1);
		break;
	}
}

static int with_famine(int (*fn)(uint8_t how, struct err *err), uint8_t how, struct err *err)
{
	struct famine f;
	int r;

	if (!famine_is_due)
		return fn(how, err);
	famine_begin(&f, spare);
	r = fn(how, err);
	famine_end(&f);
	return r;
}

static int make(uint8_t how, struct err *err)
{
	int r = make_device(err);

	must(!is_net() || mtu != 67 || r < 0);
	must(!r == !!v && (!r || !is_net() || err->text[0]));
	if (r)
		return r;
	r = make_transport(how);
	must(!r == (mmio || pci));
	return r;
}

static void check_config(void)
{
	must(kind != BLK || vdev_config_read(v, 0, 8) == 64);
	must(kind != SOCKETS || vdev_config_read(v, 0, 8) == 42);
	must(kind != BALLOON || vdev_config_read(v, 0, 8) == pairs);
	if (!is_net())
		return;
	must(vdev_config_read(v, 0, 4) == 0x05040302 && vdev_config_read(v, 4, 2) == 0x0706);
	must(vdev_config_read(v, offsetof(struct virtio_net_config, max_virtqueue_pairs), 2) == pairs);
	must(vdev_config_read(v, offsetof(struct virtio_net_config, mtu), 2) == mtu);
}

static void bring_vectors_up(void)
{
	fake_msix_control(&guest, true, false);
	for (unsigned i = 0; i < guest.nvec; i++)
		fake_msix_entry(&guest, i, i, false);
	for (unsigned q = 0; q < v->nr_queues; q++)
		(void)fake_guest_bind(&guest, q, (uint16_t)q);
	(void)fake_guest_bind_config(&guest, (uint16_t)v->nr_queues);
}

static bool start(void)
{
	struct fake_ring rings[VDEV_MAX_QUEUES];
	gpa_t at = RAM;

	for (unsigned q = 0; q < v->nr_queues; q++)
		at = fake_ring_init(&rings[q], mem, at, RING);
	fake_guest_set_status(&guest, 0);
	if (pci)
		bring_vectors_up();
	return fake_guest_start(&guest, fake_guest_features(&guest), rings, v->nr_queues);
}

/* One thing is refused at the start. Returns whether the device cannot run without it. */
static bool refuse(struct fuzz_in *in)
{
	static const unsigned long requests[] = {
		VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
		VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND,
	};
	uint8_t what = fuzz_u8(in);
	unsigned nth = 1 + (what >> 3 & 3);

	switch (what & 7) {
	case 0: case 3: fake_kvm_fail(rig.hyp, FAKE_IOEVENTFD_ATTACH, nth, -ENOSPC); return false;
	case 1: fake_kvm_fail(rig.hyp, FAKE_IRQFD_ATTACH, nth, -ENOMEM); return false;
	case 2: fake_kvm_fail(rig.hyp, FAKE_SET_ROUTES, nth & 1 ? 1 : 2, -ENOMEM); return false;
	case 4:
		fake_vhost_fail(TUNSETOFFLOAD, EBADFD, 0); /* the interface is gone; EINVAL would be the driver's */
		return false;
	default:
		if (kind != NET_VHOST)
			return false;
		fake_vhost_fail(requests[what >> 3 & 7], EIO, 0);
		return true;
	}
}

static void check_status(void)
{
	const struct vdev_state s = vdev_state(v);

	must(s.status == fake_guest_status(&guest));
	must(!s.faults);
	must(!fake_kvm_complaint(rig.hyp) && !fv.complaint);
	irq_check(&rig);
}

static void live(struct fuzz_in *in)
{
	bool fatal, started = false;

	if (pci) {
		must(fake_guest_pci(&guest, bus, rig.hyp, ECAM, RID));
		fake_guest_map_bars(&guest, WIN);
	} else {
		fake_guest_mmio(&guest, bus, rig.hyp, MMIO);
	}
	check_config();
	fatal = refuse(in);
	must(!start() || !fatal);
	must(!fatal || fake_guest_status(&guest) & VIRTIO_CONFIG_S_NEEDS_RESET);
	check_status();
	fv.fail_req = 0;
	fv.fail_errno = 0;
	/* What was refused once, or is still to be, is refused no more after so many starts. */
	for (unsigned i = 0; i < 4; i++) {
		started = start();
		check_status();
		for (unsigned q = 0; q < v->nr_queues; q++)
			fake_guest_kick(&guest, q);
		fake_loop_turn(loop);
		rig_deliver(&rig);
	}
	must(started && fake_guest_status(&guest) == 0xf);
	fake_guest_set_status(&guest, 0);
	must(!v->active);
	check_status();
}

static void set_up(struct fuzz_in *in)
{
	const struct pci_host_cfg hc = { .ecam = ECAM, .mem_base = WIN, .mem_size = 0x1000000 };
	static const uint16_t mtus[] = { 0, 1500, 68, 67 };
	uint8_t what = fuzz_u8(in);

	fake_vhost_reset();
	kind = what >> 6 ? (enum kind)(CONSOLE + (what >> 6)) : (enum kind)(what & 3);
	pairs = 1 + (what >> 2) % MAX_PAIRS;
	mtu = mtus[what >> 4 & 3];
	rig = rig_new();
	if (is_net())
		fake_tap_make(pairs);
	must(loop_new(&loop) == 0 && gmem_new(&mem) == 0 && gmem_add(mem, RAM, RAM_SIZE, false) == 0);
	must(bus_new(&bus) == 0 && pci_host_new(bus, &hc, &host) == 0);
	give_fds();
	v = NULL;
	mmio = NULL;
	pci = NULL;
}

static void tear_down(void)
{
	virtio_mmio_free(mmio);
	virtio_pci_free(pci);
	if (v)
		vdev_free(v);
	must(!fake_kvm_nr_ioeventfds(rig.hyp) && !fake_kvm_nr_slots(rig.hyp) && !fake_kvm_nr_irqfds(rig.hyp));
	for (unsigned i = 0; i < fv.nr_queues; i++)
		close(fv.peer_fd[i]);
	pci_host_free(host);
	bus_free(bus);
	loop_free(loop);
	gmem_free(mem);
	(void)gsi_commit(rig.space); /* a refusal that still waits for its table */
	rig_free(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	struct err err = { "" };
	uint8_t how;

	set_up(&in);
	how = fuzz_u8(&in);
	begin_need(&in);
	if (with_famine(make, how, &err) == 0)
		live(&in);
	tear_down();
	return 0;
}
