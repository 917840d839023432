// SPDX-License-Identifier: BSD-3-Clause
/*
 * Both data queues run in the kernel from SET_RUNNING 1 to SET_RUNNING 0; in between nothing of a packet passes this
 * process. The event queue tells a driver of a migration, which there is none of: its buffers are left where they are.
 */
#include "devices/virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "devices/vhost/vhost.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/log.h"
#include "vmm/base/obj.h"

#define VHOST_PATH "/dev/vhost-vsock"
#define QUEUE_SIZE 128
#define DATA_QUEUES 2 /* receive and transmit; then the event queue */
#define QUEUES 3

struct vsock {
	struct vdev v;
	bool has_vdev;
	bool running;
	uint32_t cid;
	struct vh_dev vh;
	struct loop_poll err_poll;
};

static struct vsock *to_vsock(struct vdev *v)
{
	return container_of(v, struct vsock, v);
}

static int start_ring(struct vsock *s, unsigned q)
{
	struct vdev *v = &s->v;
	const struct vq_regs *regs = &v->queues[q].regs;
	const struct vh_ring vr = { .size = regs->size, .desc = regs->desc, .avail = regs->avail, .used = regs->used };
	int call_fd, r;

	if (!regs->ready)
		return -EINVAL; /* the kernel runs both or none */
	r = v->irq->call_fd(v->irq_ctx, q, &call_fd);
	if (r)
		return r;
	v->vhost_queues |= BIT64(q);
	return vh_ring_start(&s->vh, q, v->mem, &vr, vdev_kick_fd(v, q), call_fd);
}

static int vsock_activate(struct vdev *v)
{
	struct vsock *s = to_vsock(v);
	int r = vh_set_features(&s->vh, v->acked);

	if (!r)
		r = vh_set_mem(&s->vh, v->mem);
	for (unsigned q = 0; !r && q < DATA_QUEUES; q++)
		r = start_ring(s, q);
	if (!r)
		r = vh_vsock_set_running(&s->vh, true);
	if (r)
		return r;
	s->running = true;
	loop_poll_arm(&s->err_poll, POLLIN);
	return 0;
}

static void vsock_reset(struct vdev *v)
{
	struct vsock *s = to_vsock(v);

	/* Refused only where a ring is no longer accessible, which cannot be; but it would write to memory used anew. */
	if (s->running && vh_vsock_set_running(&s->vh, false)) {
		log_error("%s: vhost-vsock cannot be stopped; it is closed for good", v->name);
		close_fd(&s->vh.fd);
	}
	s->running = false;
	for (unsigned q = 0; q < DATA_QUEUES; q++)
		vh_ring_stop(&s->vh, q);
	loop_poll_disarm(&s->err_poll);
	vh_take_error(&s->vh);
}

static void ring_error(void *ctx, uint32_t events)
{
	struct vsock *s = ctx;

	(void)events;
	if (vh_take_error(&s->vh))
		vdev_fault(&s->v, -1, "vhost found a ring broken");
}

static void vsock_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	const struct virtio_vsock_config c = { .guest_cid = htole64(to_vsock(v)->cid) };

	memcpy(buf, (const char *)&c + off, len);
}

static void vsock_free(struct vdev *v)
{
	struct vsock *s = to_vsock(v);

	loop_poll_fini(&s->err_poll);
	vh_fini(&s->vh);
	if (s->has_vdev)
		vdev_fini(v);
	obj_free(s);
}

static void vsock_queue_name(unsigned q, unsigned nr_queues, char *buf, size_t cap)
{
	static const char *const names[] = { "rx", "tx", "event" };

	(void)nr_queues;
	snprintf(buf, cap, "%s", names[q]);
}

static const struct vdev_ops vsock_ops = {
	.kind = "vsock",
	.queue_name = vsock_queue_name,
	.activate = vsock_activate,
	.reset = vsock_reset,
	.config_read = vsock_config_read,
	.free = vsock_free,
};

static int init(struct vsock *s, const struct vsock_cfg *cfg)
{
	struct vdev_cfg vc = {
		.ops = &vsock_ops,
		.name = cfg->name,
		.type = VIRTIO_ID_VSOCK,
		.nr_queues = QUEUES,
		.queue_size = QUEUE_SIZE,
		.config_len = sizeof(struct virtio_vsock_config),
		.back_end = true,
		.loop = cfg->loop,
		.mem = cfg->mem,
	};
	int r = vh_init(&s->vh, cfg->vhost_fd, DATA_QUEUES);

	if (r)
		return r;
	vc.offered = s->vh.features & BIT64(VIRTIO_VSOCK_F_SEQPACKET);
	r = vdev_init(&s->v, &vc);
	if (r)
		return r;
	s->has_vdev = true;
	r = loop_poll_init(cfg->loop, &s->err_poll, s->vh.err_fd, ring_error, s);
	s->err_poll.drains = true;
	return r;
}

int vsock_open(const char *name, uint32_t cid, int *ret_fd, struct err *err)
{
	int fd, r = vh_open(VHOST_PATH, &fd);

	if (r)
		return err_set(err, r, "%s: open '" VHOST_PATH "': %s (%s)", name, strerror(-r),
			       r == -EACCES || r == -EPERM ? "run as root, or ask for access to it" : "load the module vhost_vsock");
	r = vh_vsock_set_cid(fd, cid);
	if (!r) {
		*ret_fd = fd;
		return 0;
	}
	close_fd(&fd);
	if (r == -EADDRINUSE)
		return err_set(err, r, "%s: CID %u is another VM's (each needs one of its own, %u or above)", name, cid, VSOCK_CID_MIN);
	return err_set(err, r, "%s: CID %u: %s", name, cid, strerror(-r));
}

int vsock_new(const struct vsock_cfg *cfg, struct vdev **ret_v, struct err *err)
{
	struct vsock *s = obj_new(sizeof(*s));
	int fd = cfg->vhost_fd, r;

	if (!s) {
		close_fd(&fd);
		return err_set(err, -ENOMEM, "%s: %s", cfg->name, strerror(ENOMEM));
	}
	s->cid = cfg->cid;
	r = init(s, cfg);
	if (r) {
		vsock_free(&s->v);
		return err_set(err, r, "%s: vhost-vsock: %s", cfg->name, strerror(-r));
	}
	*ret_v = &s->v;
	return 0;
}
