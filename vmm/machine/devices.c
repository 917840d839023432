// SPDX-License-Identifier: BSD-3-Clause
/*
 * The static table of devices: how each kind is opened and made. A new kind is a row here,
 * an option in vmm/app, and a file in devices/.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devices/vhost/vhost.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/status.h"
#include "devices/virtio/vsock.h"
#include "devices/virtio/vsock_uds.h"
#include "devices/vfio/pass.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/core/kvm.h"
#include "vmm/machine/internal.h"

static int open_tap(const struct net_options *o, struct tap **ret_t, struct err *err)
{
	if (o->nr_fds)
		return tap_from_fds(o->fds, o->nr_fds, ret_t, err);
	return tap_open(o->tap, o->queues, ret_t, err);
}

/* One descriptor a queue pair; all or none. */
static int open_vhost(struct mdev *d, unsigned pairs)
{
	for (unsigned i = 0; i < pairs; i++) {
		int r = vh_open("/dev/vhost-net", &d->vhost_fds[i]);

		if (!r)
			continue;
		while (i-- > 0)
			close_fd(&d->vhost_fds[i]);
		return r;
	}
	return 0;
}

const char *mdev_vhost_remedy(int r)
{
	if (r == -EMFILE)
		return "more are allowed by: ulimit -n";
	return r == -EACCES || r == -EPERM ? "run as root, or ask for access to it" : "load the module vhost_net";
}

static int net_open(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	struct mdev *d = &m->devs[i];
	int r;

	if (c->net.user)
		return passt_start(c->id, &c->net, &d->passt, err);
	r = open_tap(&c->net, &d->tap, err);
	if (r)
		return r;
	if (!d->tap->up)
		snprintf(d->tap_down, sizeof(d->tap_down), "%s", d->tap->name);
	if (c->net.vhost == TRI_OFF || c->net.iops || c->net.bps)
		return 0;
	r = open_vhost(d, d->tap->nr_fds);
	if (!r)
		return 0;
	/* Want of descriptors is no lack of vhost: what follows would want more. */
	if (c->net.vhost == TRI_ON || r == -EMFILE || r == -ENFILE)
		return err_set(err, r, "%s: open '/dev/vhost-net': %s (%s, or use vhost=off)", c->id, strerror(-r),
			       mdev_vhost_remedy(r));
	d->no_vhost = r;
	return 0;
}

static int net_make(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	struct mdev *d = &m->devs[i];
	struct net_cfg cfg = {
		.name = c->id,
		.loop = m->loop,
		.mem = m->mem,
		.mtu = c->net.mtu,
		.iops = c->net.iops, .bps = c->net.bps,
		.peer = "passt",
	};

	if (c->net.user && passt_greet(c->id, &c->net, &d->passt, err))
		return -ECHILD;
	cfg.tap = steal_ptr(d->tap);
	cfg.stream_fd = steal_fd(&d->passt.fd);
	memcpy(cfg.mac, c->net.mac, sizeof(cfg.mac));
	for (unsigned k = 0; k < NET_MAX_PAIRS; k++)
		cfg.vhost_fds[k] = steal_fd(&d->vhost_fds[k]);
	return net_new(&cfg, &d->vdev, err);
}

static int disk_open_it(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	const struct disk_cfg cfg = {
		.name = c->id, .path = c->disk.path, .fd = c->disk.fd, .ro = c->disk.ro, .direct = c->disk.direct,
	};

	int r = disk_open(&cfg, &m->devs[i].disk, err);

	for (unsigned k = 0; !r && k < i; k++)
		if (m->cfg->devices[k].kind == DEV_DISK && disk_same(&m->devs[k].disk, &m->devs[i].disk))
			r = err_set(err, -EBUSY, "%s: is %s's disk already (ro may be shared)", c->id, m->cfg->devices[k].id);
	return r;
}

static int disk_make(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	struct mdev *d = &m->devs[i];
	const struct blk_cfg cfg = {
		.name = c->id, .loop = m->loop, .mem = m->mem, .disk = d->disk, .queues = m->plan.devs[i].queues,
		.discard = c->disk.discard, .iops = c->disk.iops, .bps = c->disk.bps,
	};
	int r;

	d->disk.fd = -1; /* taken over */
	r = blk_new(&cfg, &d->vdev);
	return r ? err_set(err, r, "%s: %s", cfg.name, strerror(-r)) : 0;
}

static int vsock_open_it(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];

	if (c->vsock.uds) {
		const struct uds_cfg uds = { .id = c->id, .key = "uds", .path = c->vsock.uds, .with_ports = true };

		return uds_open(&uds, &m->devs[i].uds, err);
	}
	return vsock_open(c->id, c->vsock.cid, &m->devs[i].vhost_fds[0], err);
}

static_assert(VSOCK_MAX_CONNS == VSOCK_UDS_MAX_CONNS && VSOCK_MAX_UDS == UDS_PATH_MAX &&
	      VSOCK_MORE_CONNS == VSOCK_UDS_MORE_FDS && VSOCK_CONN_MEMORY == VSOCK_UDS_BUFFERS, "the same limits");

static int uds_make(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	const struct vsock_uds_cfg cfg = {
		.name = c->id, .loop = m->loop, .mem = m->mem, .cid = c->vsock.cid, .max_conns = c->vsock.max_conns,
		.listen_fd = steal_fd(&m->devs[i].uds.listen_fd), .broker_fd = steal_fd(&m->devs[i].uds.broker_fd),
	};

	return vsock_uds_new(&cfg, &m->devs[i].vdev, err);
}

static int vsock_make(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	const struct vsock_cfg cfg = {
		.name = c->id, .loop = m->loop, .mem = m->mem, .cid = c->vsock.cid,
		.vhost_fd = steal_fd(&m->devs[i].vhost_fds[0]),
	};

	return c->vsock.uds ? uds_make(m, i, err) : vsock_new(&cfg, &m->devs[i].vdev, err);
}

static int pmem_open_it(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];

	return pmem_open(c->id, c->pmem.path, c->pmem.fd, &m->devs[i].image, err);
}

static int pmem_make(struct machine *m, unsigned i, struct err *err)
{
	struct mdev *d = &m->devs[i];
	const struct pmem_cfg cfg = {
		.name = m->cfg->devices[i].id, .loop = m->loop, .mem = m->mem, .start = m->plan.devs[i].mem, .size = d->image.size,
	};
	int r = pmem_map(&d->image, cfg.start);

	if (!r)
		r = hyp_set_memory(m->hyp, SLOT_PMEM + i, cfg.start, cfg.size, d->image.hva, true);
	if (!r)
		r = pmem_new(&cfg, &d->vdev);
	return r ? err_set(err, r, "%s: %s", cfg.name, strerror(-r)) : 0;
}

static int console_make(struct machine *m, unsigned i, struct err *err)
{
	struct console_cfg cfg = {
		.name = m->cfg->devices[i].id,
		.loop = m->loop,
		.mem = m->mem,
		.sink = &m->con.hvc,
	};
	int r = console_new(&cfg, &m->devs[i].vdev);

	if (r)
		return err_set(err, r, "%s: %s", cfg.name, strerror(-r));
	m->hvc = m->devs[i].vdev;
	return 0;
}

static int rng_make(struct machine *m, unsigned i, struct err *err)
{
	const char *id = m->cfg->devices[i].id;
	int r = rng_new(id, m->loop, m->mem, &m->devs[i].vdev);

	return r ? err_set(err, r, "%s: %s", id, strerror(-r)) : 0;
}

static void take_status(void *ctx, unsigned status)
{
	struct machine *m = ctx;

	m->result.has_guest_status = true;
	m->result.guest_status = (int)status;
}

static void take_init(void *ctx)
{
	struct machine *m = ctx;

	if (!m->result.init_ns)
		m->result.init_ns = clock_now_ns();
}

static int status_make(struct machine *m, unsigned i, struct err *err)
{
	const struct status_cfg cfg = {
		.name = m->cfg->devices[i].id, .loop = m->loop, .mem = m->mem, .set = take_status, .init = take_init, .ctx = m,
	};
	int r = status_new(&cfg, &m->devs[i].vdev);

	if (r)
		return err_set(err, r, "%s: %s", cfg.name, strerror(-r));
	m->status = m->devs[i].vdev;
	return 0;
}

static int balloon_make(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	const struct balloon_cfg cfg = {
		.name = c->id, .loop = m->loop, .mem = m->mem, .size = c->balloon.size,
		.oom = !c->balloon.no_oom, .reporting = !c->balloon.no_reporting, .stats_ns = c->balloon.stats_ns,
	};
	int r = balloon_new(&cfg, &m->devs[i].vdev);

	if (r)
		return err_set(err, r, "%s: %s", cfg.name, strerror(-r));
	m->balloon = m->devs[i].vdev;
	return 0;
}

static const struct {
	int (*open)(struct machine *m, unsigned i, struct err *err); /* NULL: nothing to open */
	int (*make)(struct machine *m, unsigned i, struct err *err);
	bool outlives_us; /* has settings in the host that only mdev_free() takes back */
} kinds[] = {
	[DEV_CONSOLE] = { NULL, console_make, false },
	[DEV_RNG] = { NULL, rng_make, false },
	[DEV_NET] = { net_open, net_make, true },
	[DEV_VFIO] = { vfio_open, vfio_make, true },
	[DEV_DISK] = { disk_open_it, disk_make, false },
	[DEV_VSOCK] = { vsock_open_it, vsock_make, false },
	[DEV_VHOST_USER] = { vuser_open, vuser_make, false },
	[DEV_FS] = { vuser_open, vuser_make, false },
	[DEV_STATUS] = { NULL, status_make, false },
	[DEV_BALLOON] = { NULL, balloon_make, false },
	[DEV_PMEM] = { pmem_open_it, pmem_make, false },
};

int mdev_open(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];

	return kinds[c->kind].open ? kinds[c->kind].open(m, i, err) : 0;
}

static int make_transport(struct machine *m, unsigned i)
{
	const struct plan_dev *p = &m->plan.devs[i];
	struct mdev *d = &m->devs[i];

	if (p->pci) {
		struct virtio_pci_cfg cfg = {
			.vdev = d->vdev, .host = m->pci, .hyp = m->hyp, .space = m->space, .rid = p->rid,
			.slot = SLOT_DEVICES + i * VIRTIO_PCI_SLOTS,
		};

		return virtio_pci_new(&cfg, &d->pci);
	}
	struct virtio_mmio_cfg cfg = {
		.vdev = d->vdev, .bus = m->bus, .hyp = m->hyp, .space = m->space,
		.gpa = p->gpa, .spi = p->spi,
		.irq = p->cfg->irq_direct ? VMMIO_DIRECT : VMMIO_HOP,
	};

	return virtio_mmio_new(&cfg, &d->mmio);
}

/* Limits that a machine of many queues meets, wherever in a device it meets them. */
static int explain(const char *id, int r, struct err *err)
{
	if (r == -EMFILE)
		return err_set(err, r, "%s: %s (more are allowed by: ulimit -n)", id, strerror(-r));
	if (r == -ENOSPC)
		return err_set(err, r, "%s: the devices before it and its queues are too many for one event loop "
			       "(fewer devices, fewer --cpus for disks, or fewer queues= for cards)", id);
	return r;
}

int mdev_make(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	int r = kinds[c->kind].make(m, i, err);

	if (r || m->devs[i].pass)
		return explain(c->id, r, err);
	r = make_transport(m, i);
	if (r)
		err_set(err, r, "%s: virtio transport: %s", c->id, strerror(-r));
	return explain(c->id, r, err);
}

bool mdev_outlives_us(const struct machine *m, unsigned i)
{
	return kinds[m->cfg->devices[i].kind].outlives_us;
}

void mdev_init(struct mdev *d)
{
	*d = (struct mdev){
		.disk = { .fd = -1 }, .image = { .file = { .fd = -1 } }, .vuser_fd = -1, .passt = { .fd = -1, .said = -1 }, .uds = { .listen_fd = -1, .broker_fd = -1 },
	};
	for (unsigned k = 0; k < NET_MAX_PAIRS; k++)
		d->vhost_fds[k] = -1;
}

void mdev_free(struct mdev *d)
{
	/* The device stops first: its back end still speaks through the transport. */
	if (d->vdev)
		vdev_reset_now(d->vdev);
	virtio_pci_free(d->pci);
	virtio_mmio_free(d->mmio);
	vdev_free(d->vdev);
	pass_free(d->pass);
	tap_close(d->tap);
	passt_close(&d->passt);
	uds_close(&d->uds);
	disk_close(&d->disk);
	close_fd(&d->vuser_fd);
	for (unsigned k = 0; k < NET_MAX_PAIRS; k++)
		close_fd(&d->vhost_fds[k]);
}
