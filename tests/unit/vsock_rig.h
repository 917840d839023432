/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock_rig - a socket device by Unix sockets on a fake loop, with a fake driver; nothing of the host is real
 *
 * What:   descriptors are numbers of the test's: what is done with one is a transfer of the fake loop, which the test ends.
 * Thread: the test's. Included once in a program.
 */
#ifndef TESTS_UNIT_VSOCK_RIG_H
#define TESTS_UNIT_VSOCK_RIG_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/vsock_uds_priv.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"

#define RAM 0x40000000ull
#define RAM_SIZE 0x400000ull
#define RX_AT (RAM + 0x100000)
#define TX_AT (RAM + 0x200000)
#define SLOT 0x2000u /* bytes of guest memory for a buffer or a packet */
#define CID 42
#define HDR ((uint32_t)sizeof(struct virtio_vsock_hdr))

struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct vsock_uds *d;
	struct fake_ring ring[3];
	unsigned irqs, config_irqs, rx_given, tx_given;
};

static void rig_irq(void *t, unsigned q)
{
	(void)q;
	((struct rig *)t)->irqs++;
}

static void rig_config_irq(void *t)
{
	((struct rig *)t)->config_irqs++;
}

static const struct vdev_irq rig_irq_ops = { .queue = rig_irq, .config = rig_config_irq };

static void rig_init(struct rig *r, unsigned max_conns)
{
	struct vsock_uds_cfg cfg = { .name = "vsock0", .cid = CID, .max_conns = max_conns };
	struct err e;

	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(loop_new(&r->loop), 0);
	ck_assert_int_eq(gmem_new(&r->mem), 0);
	ck_assert_int_eq(gmem_add(r->mem, RAM, RAM_SIZE, false), 0);
	cfg.loop = r->loop;
	cfg.mem = r->mem;
	cfg.listen_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	cfg.broker_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ck_assert_msg(!vsock_uds_new(&cfg, &r->v, &e), "%s", e.text);
	r->d = container_of(r->v, struct vsock_uds, v);
	vdev_set_irq(r->v, &rig_irq_ops, r);
}

static int rig_start(struct rig *r, uint16_t size, uint64_t features)
{
	gpa_t at = RAM;

	for (unsigned q = 0; q < 3; q++) {
		at = fake_ring_init(&r->ring[q], r->mem, at, size);
		fake_ring_give(&r->ring[q], r->v, q);
	}
	r->rx_given = r->tx_given = 0;
	return fake_vdev_start(r->v, features);
}

static void rig_fini(struct rig *r)
{
	vdev_free(r->v);
	loop_free(r->loop);
	gmem_free(r->mem);
}

static void rig_turn(struct rig *r)
{
	for (unsigned i = 0; i < 20 && fake_loop_turn(r->loop); i++)
		;
}

/* A buffer to receive of @len bytes, up to SLOT. */
static void rig_give(struct rig *r, uint32_t len)
{
	unsigned n = r->rx_given++ % r->ring[0].size;
	const struct fake_part part = { RX_AT + n * SLOT, len, true };

	fake_ring_add(&r->ring[0], &part, 1);
	vdev_notify(r->v, 0);
	rig_turn(r);
}

/* The next packet for the guest; its data is at @ret_data. False: there is none. */
static bool rig_take(struct rig *r, struct virtio_vsock_hdr *ret_h, const uint8_t **ret_data)
{
	uint32_t id, len;
	const uint8_t *p;

	if (!fake_ring_used(&r->ring[0], &id, &len))
		return false;
	ck_assert(len >= HDR && len <= SLOT);
	p = gmem_ptr(r->mem, RX_AT + id * SLOT, len);
	memcpy(ret_h, p, HDR);
	ck_assert(ret_h->len == len - HDR);
	*ret_data = p + HDR;
	return true;
}

/* A packet of the guest's; the ports as the guest sees them. */
static struct virtio_vsock_hdr rig_hdr(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return (struct virtio_vsock_hdr){
		.src_cid = CID, .dst_cid = UDS_HOST_CID, .src_port = guest_port, .dst_port = host_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .buf_alloc = 65536,
	};
}

static void rig_put(struct rig *r, const struct virtio_vsock_hdr *h, const void *data, uint32_t len)
{
	unsigned n = r->tx_given++ % r->ring[1].size;
	const struct fake_part part = { TX_AT + n * SLOT, HDR + len, false };
	uint8_t *p = gmem_ptr(r->mem, part.addr, HDR + len);

	memcpy(p, h, HDR);
	if (len)
		memcpy(p + HDR, data, len);
	fake_ring_add(&r->ring[1], &part, 1);
	vdev_notify(r->v, 1);
	rig_turn(r);
}

#endif
