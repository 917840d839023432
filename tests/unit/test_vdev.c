/* SPDX-License-Identifier: BSD-3-Clause */
/* vdev: status machine, features, frozen registers, activation, reset, faults, kicks. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "devices/virtio/vdev.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "vmm/base/log.h"

#define RAM 0x40000000
#define QUEUES 3
#define MAX 16

#define ACK VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRV VIRTIO_CONFIG_S_DRIVER
#define DOK VIRTIO_CONFIG_S_DRIVER_OK
#define FOK VIRTIO_CONFIG_S_FEATURES_OK
#define NEEDS VIRTIO_CONFIG_S_NEEDS_RESET
#define FAILED VIRTIO_CONFIG_S_FAILED
#define OK (ACK | DRV | FOK | DOK)

#define V1 BIT64(VIRTIO_F_VERSION_1)

/* A device that counts what is asked of it. */
static struct device {
	struct vdev v;
	uint8_t config[12];
	unsigned activations, resets, frees;
	unsigned kicks[QUEUES];
	unsigned unsettled; /* so often something is still under way */
	int activate_error;
	uint64_t vhost;
} dev;

static struct loop *loop;
static struct gmem *mem;
static struct fake_ring rings[QUEUES];
static unsigned irqs[QUEUES], config_irqs, transport_resets;
static uint8_t status_at_transport_reset;

static int dev_activate(struct vdev *v)
{
	struct device *d = container_of(v, struct device, v);

	d->activations++;
	v->vhost_queues = d->vhost;
	for (unsigned q = 0; q < v->nr_queues; q++) {
		if (!v->queues[q].regs.ready || (d->vhost & BIT64(q)))
			continue;
		int r = vq_start(&v->queues[q].ring, v->mem, &v->queues[q].regs,
				 vdev_has(v, VIRTIO_RING_F_EVENT_IDX), vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
		if (r < 0)
			return r;
	}
	v->begun = d->activate_error == LOOP_AGAIN;
	return d->activate_error;
}

static bool dev_settle(struct vdev *v)
{
	struct device *d = container_of(v, struct device, v);

	return !d->unsettled || !d->unsettled--;
}

static void dev_reset(struct vdev *v)
{
	container_of(v, struct device, v)->resets++;
}

static void dev_kick(struct vdev *v, unsigned q)
{
	container_of(v, struct device, v)->kicks[q]++;
}

static void dev_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	ck_assert_uint_le(off + len, sizeof(dev.config));
	memcpy(buf, container_of(v, struct device, v)->config + off, len);
}

static void dev_config_write(struct vdev *v, unsigned off, const void *buf, unsigned len)
{
	ck_assert_uint_le(off + len, sizeof(dev.config));
	memcpy(container_of(v, struct device, v)->config + off, buf, len);
}

static void dev_free(struct vdev *v)
{
	container_of(v, struct device, v)->frees++;
	vdev_fini(v);
}

static const struct vdev_ops ops = {
	.kind = "test", .activate = dev_activate, .settle = dev_settle, .reset = dev_reset, .kick = dev_kick,
	.config_read = dev_config_read, .config_write = dev_config_write, .free = dev_free,
};
static const struct vdev_ops ops_ro = {
	.kind = "test", .activate = dev_activate, .reset = dev_reset, .kick = dev_kick,
	.config_read = dev_config_read, .free = dev_free,
};

static void irq_queue(void *t, unsigned q)
{
	(void)t;
	irqs[q]++;
}

static void irq_config(void *t)
{
	(void)t;
	config_irqs++;
}

static void irq_reset(void *t)
{
	(void)t;
	transport_resets++;
	status_at_transport_reset = dev.v.status;
}

static const struct vdev_irq irq = { .queue = irq_queue, .config = irq_config, .reset = irq_reset };

static struct vdev_cfg cfg;

static void setup(void)
{
	memset(&dev, 0, sizeof(dev));
	memset(irqs, 0, sizeof(irqs));
	config_irqs = transport_resets = 0;
	log_init(STDERR_FILENO, LOG_ERROR, LOG_TEXT);
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(gmem_new(&mem), 0);
	ck_assert_int_eq(gmem_add(mem, RAM, 64 * KIB, false), 0);
	cfg = (struct vdev_cfg){ .ops = &ops, .name = "test0", .type = 42, .nr_queues = QUEUES, .queue_size = MAX,
				 .config_len = sizeof(dev.config), .offered = 0x5, .loop = loop, .mem = mem };
	ck_assert_int_eq(vdev_init(&dev.v, &cfg), 0);
	vdev_set_irq(&dev.v, &irq, &dev);
}

static void teardown(void)
{
	if (!dev.frees)
		vdev_free(&dev.v);
	ck_assert_uint_eq(dev.frees, 1);
	loop_free(loop);
	gmem_free(mem);
}

/* Writes the status and does what follows, as a transport would. */
static void put_status(uint8_t s)
{
	enum vdev_todo todo = vdev_set_status(&dev.v, s);

	if (todo != VDEV_NOTHING)
		vdev_act(&dev.v, todo);
}

static void give_rings(unsigned n)
{
	gpa_t at = RAM;

	for (unsigned q = 0; q < n; q++) {
		at = fake_ring_init(&rings[q], mem, at, MAX);
		fake_ring_give(&rings[q], &dev.v, q);
	}
}

static void ack(uint64_t features)
{
	vdev_ack_features(&dev.v, 0, (uint32_t)features);
	vdev_ack_features(&dev.v, 1, (uint32_t)(features >> 32));
}

static void start(unsigned n)
{
	give_rings(n);
	ck_assert_int_eq(fake_vdev_start(&dev.v, 0), 0);
	ck_assert_uint_eq(vdev_status(&dev.v), OK);
	ck_assert(dev.v.active);
}

/* Brings the device into the state whose status is @s. */
static void reach(uint8_t s)
{
	fake_vdev_reset(&dev.v);
	give_rings(1);
	ack(V1);
	for (unsigned i = 0; i < 4; i++) {
		static const uint8_t order[] = { ACK, DRV, FOK, DOK };

		if (s & order[i])
			put_status(vdev_status(&dev.v) | order[i]);
	}
	if (s & NEEDS)
		vdev_fault(&dev.v, -1, "test");
	if (s & FAILED)
		put_status(vdev_status(&dev.v) | FAILED);
	ck_assert_uint_eq(vdev_status(&dev.v), s);
}

/* ---- status ------------------------------------------------------------------------------- */

static const uint8_t states[] = {
	0, ACK, ACK | DRV, ACK | DRV | FOK, OK, OK | NEEDS, OK | FAILED, OK | NEEDS | FAILED,
	FAILED, ACK | FAILED, ACK | DRV | FAILED, ACK | DRV | FOK | FAILED, ACK | DRV | NEEDS,
};

/* What s3.1.1 and s2.1 allow, written another way than the code under test does. */
static uint8_t expected(uint8_t s, uint8_t w)
{
	uint8_t n = s;

	if (!w)
		return 0;
	w &= OK | FAILED;
	if ((s & (OK | FAILED)) & ~w)
		return s;
	if (w & FAILED)
		return s | FAILED;
	if (s & (FAILED | NEEDS))
		return s;
	if (w & ACK)
		n |= ACK;
	if ((w & DRV) && (n & ACK))
		n |= DRV;
	if ((w & FOK) && (n & DRV))
		n |= FOK;
	if ((w & DOK) && (n & FOK))
		n |= DOK;
	return n;
}

START_TEST(test_vdev_status_walk_all_values_from_each_state)
{
	uint8_t s = states[_i];

	for (unsigned w = 0; w < 256; w++) {
		unsigned before;

		reach(s);
		before = dev.activations;
		put_status((uint8_t)w);
		ck_assert_msg(vdev_status(&dev.v) == expected(s, (uint8_t)w), "%02x written %02x: %02x, not %02x", s, w,
			      vdev_status(&dev.v), expected(s, (uint8_t)w));
		ck_assert_uint_eq(dev.activations - before, (expected(s, (uint8_t)w) & ~s & DOK) ? 1 : 0);
		ck_assert(dev.v.active == !!(vdev_status(&dev.v) & DOK));
	}
}
END_TEST

START_TEST(test_vdev_features_not_offered_refused)
{
	put_status(ACK | DRV);
	ack(V1 | BIT64(1));
	put_status(ACK | DRV | FOK);
	ck_assert_uint_eq(vdev_status(&dev.v), ACK | DRV);
	put_status(ACK | DRV | FOK | DOK);
	ck_assert_uint_eq(vdev_status(&dev.v), ACK | DRV);
	ck_assert_uint_eq(dev.activations, 0);
	ack(V1 | BIT64(0)); /* it may try again with less */
	put_status(ACK | DRV | FOK);
	ck_assert_uint_eq(vdev_status(&dev.v), ACK | DRV | FOK);
}
END_TEST

START_TEST(test_vdev_legacy_driver_refused)
{
	put_status(ACK | DRV);
	ack(0x5);
	put_status(ACK | DRV | FOK);
	ck_assert_uint_eq(vdev_status(&dev.v), ACK | DRV);
}
END_TEST

START_TEST(test_vdev_features_offered)
{
	uint64_t f = vdev_features(&dev.v, 0) | (uint64_t)vdev_features(&dev.v, 1) << 32;

	ck_assert_uint_eq(f, 0x5 | V1 | BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_RING_F_INDIRECT_DESC));
	ck_assert_uint_eq(vdev_features(&dev.v, 2), 0);
	ck_assert_uint_eq(vdev_features(&dev.v, UINT32_MAX), 0);
	vdev_ack_features(&dev.v, 2, 7);
	vdev_ack_features(&dev.v, UINT32_MAX, 7);
	ck_assert_uint_eq(vdev_acked(&dev.v, 0), 0);
	ck_assert_uint_eq(vdev_acked(&dev.v, 1), 0);
	ck_assert_uint_eq(vdev_acked(&dev.v, 2), 0);
}
END_TEST

START_TEST(test_vdev_features_frozen_after_features_ok)
{
	put_status(ACK | DRV);
	ack(V1);
	put_status(ACK | DRV | FOK);
	ack(V1 | 0x5);
	ck_assert_uint_eq(vdev_acked(&dev.v, 0), 0);
	ck_assert(!vdev_has(&dev.v, 0));
	put_status(0);
	ck_assert_uint_eq(vdev_acked(&dev.v, 1), 0); /* cleared, not kept from the last driver */
	ack(V1 | 0x5);
	ck_assert(vdev_has(&dev.v, 0) && vdev_has(&dev.v, 2) && vdev_has(&dev.v, VIRTIO_F_VERSION_1));
}
END_TEST

/* ---- queue registers ---------------------------------------------------------------------- */

static void scribble(unsigned q)
{
	vdev_queue_set_size(&dev.v, q, 4);
	for (unsigned a = 0; a < 3; a++) {
		vdev_queue_set_addr(&dev.v, q, (enum vdev_area)a, false, 0xdead0000);
		vdev_queue_set_addr(&dev.v, q, (enum vdev_area)a, true, 0xbeef);
	}
}

START_TEST(test_vdev_queue_registers_frozen_from_driver_ok_to_reset)
{
	struct vq_regs before, after;

	start(2);
	for (unsigned q = 0; q < QUEUES; q++) {
		vdev_queue(&dev.v, q, &before);
		scribble(q);
		vdev_queue_set_ready(&dev.v, q, !before.ready);
		vdev_queue(&dev.v, q, &after);
		ck_assert_mem_eq(&before, &after, sizeof(before));
	}
	put_status(0);
	vdev_queue(&dev.v, 0, &after);
	ck_assert(!after.ready && after.size == MAX && !after.desc && !after.avail && !after.used);
	scribble(0);
	vdev_queue(&dev.v, 0, &after);
	ck_assert(after.size == 4 && after.desc == 0xbeefdead0000 && after.used == after.desc && after.avail == after.desc);
}
END_TEST

START_TEST(test_vdev_queue_registers_frozen_while_ready)
{
	struct vq_regs before, after;

	give_rings(1);
	vdev_queue(&dev.v, 0, &before);
	scribble(0);
	vdev_queue(&dev.v, 0, &after);
	ck_assert_mem_eq(&before, &after, sizeof(before));
	vdev_queue_set_ready(&dev.v, 0, false);
	scribble(0);
	vdev_queue(&dev.v, 0, &after);
	ck_assert(!after.ready && after.size == 4);
}
END_TEST

START_TEST(test_vdev_queue_size_of_no_use_ignored)
{
	static const uint16_t bad[] = { 0, 3, 5, 15, 17, 32, 0x8000, 0xffff };
	struct vq_regs r;

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		vdev_queue_set_size(&dev.v, 0, bad[i]);
		vdev_queue(&dev.v, 0, &r);
		ck_assert_uint_eq(r.size, MAX);
	}
}
END_TEST

START_TEST(test_vdev_queue_out_of_range_ignored)
{
	static const unsigned bad[] = { QUEUES, VDEV_MAX_QUEUES, 0xffff, 0x7fffffff, UINT32_MAX };
	struct vq_regs r = { .size = 1 };

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		scribble(bad[i]);
		vdev_queue_set_ready(&dev.v, bad[i], true);
		vdev_notify(&dev.v, bad[i]);
		ck_assert(!vdev_queue(&dev.v, bad[i], &r));
		ck_assert_uint_eq(r.size, 0);
	}
}
END_TEST

/* ---- activation and reset ----------------------------------------------------------------- */

START_TEST(test_vdev_second_driver_ok_no_second_activation)
{
	start(1);
	put_status(OK);
	put_status(OK);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_ACTIVATE), 0); /* a late one of another vCPU */
	ck_assert_uint_eq(dev.activations, 1);
}
END_TEST

START_TEST(test_vdev_activation_fails_needs_reset_and_heals)
{
	dev.activate_error = -EMFILE;
	give_rings(1);
	ck_assert_int_eq(fake_vdev_start(&dev.v, 0), -EMFILE);
	ck_assert_uint_eq(vdev_status(&dev.v), OK | NEEDS);
	ck_assert_uint_eq(config_irqs, 1);
	ck_assert_uint_eq(dev.resets, 1);
	ck_assert(!dev.v.active && !dev.v.queues[0].ring.started);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_ACTIVATE), 0);
	ck_assert_uint_eq(dev.activations, 1);

	dev.activate_error = 0;
	put_status(0);
	ck_assert_uint_eq(dev.resets, 1); /* it was stopped already */
	ck_assert_uint_eq(transport_resets, 1);
	start(1);
}
END_TEST

/* Rings nowhere, straddling, odd: refused at activation, none of them fatal. */
START_TEST(test_vdev_bad_ring_needs_reset)
{
	static const gpa_t bad[] = { 0, RAM + 64 * KIB - 16, RAM + 8, UINT64_MAX - 15, 0x08000000 };

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		give_rings(1);
		vdev_queue_set_ready(&dev.v, 0, false);
		vdev_queue_set_addr(&dev.v, 0, VDEV_DESC, false, (uint32_t)bad[i]);
		vdev_queue_set_addr(&dev.v, 0, VDEV_DESC, true, (uint32_t)(bad[i] >> 32));
		vdev_queue_set_ready(&dev.v, 0, true);
		ck_assert_int_lt(fake_vdev_start(&dev.v, 0), 0);
		ck_assert_uint_eq(vdev_status(&dev.v), OK | NEEDS);
		put_status(0);
		ck_assert_uint_eq(vdev_status(&dev.v), 0);
	}
	start(1);
}
END_TEST

START_TEST(test_vdev_reset_from_each_state)
{
	for (unsigned i = 0; i < ARRAY_LEN(states); i++) {
		unsigned resets = dev.resets;
		bool active;

		reach(states[i]);
		active = dev.v.active;
		resets = dev.resets;
		transport_resets = 0;
		put_status(0);
		ck_assert_uint_eq(vdev_status(&dev.v), 0);
		ck_assert_uint_eq(dev.resets - resets, active ? 1 : 0);
		ck_assert_uint_eq(transport_resets, 1);
		ck_assert_uint_eq(status_at_transport_reset, states[i]); /* not 0 before all is over */
		ck_assert(!dev.v.active);
		start(1);
	}
}
END_TEST

/* Between a write of 0 and the loop's reset the old status stands and nothing can be changed. */
START_TEST(test_vdev_writes_during_reset_ignored)
{
	struct vq_regs r;

	start(1);
	ck_assert_int_eq(vdev_set_status(&dev.v, 0), VDEV_RESET);
	ck_assert_uint_eq(vdev_status(&dev.v), OK);
	ck_assert_int_eq(vdev_set_status(&dev.v, OK), VDEV_NOTHING);
	ck_assert_int_eq(vdev_set_status(&dev.v, ACK), VDEV_NOTHING);
	ck_assert_int_eq(vdev_set_status(&dev.v, 0), VDEV_RESET);
	ack(0x5);
	vdev_queue_set_ready(&dev.v, 1, true);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_ACTIVATE), 0);
	ck_assert_uint_eq(dev.activations, 1);
	vdev_act(&dev.v, VDEV_RESET);
	vdev_act(&dev.v, VDEV_RESET);
	ck_assert_uint_eq(dev.resets, 1);
	ck_assert_uint_eq(vdev_status(&dev.v), 0);
	vdev_queue(&dev.v, 1, &r);
	ck_assert(!r.ready && vdev_acked(&dev.v, 0) == 0);
}
END_TEST

START_TEST(test_vdev_reset_overtakes_activation)
{
	give_rings(1);
	ack(V1);
	put_status(ACK | DRV);
	put_status(ACK | DRV | FOK);
	ck_assert_int_eq(vdev_set_status(&dev.v, OK), VDEV_ACTIVATE);
	ck_assert_int_eq(vdev_set_status(&dev.v, 0), VDEV_RESET);
	vdev_act(&dev.v, VDEV_RESET);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_ACTIVATE), 0);
	ck_assert_uint_eq(dev.activations, 0);
	ck_assert_uint_eq(vdev_status(&dev.v), 0);
}
END_TEST

/* The loop gets the activation first, but knows of the reset already. */
START_TEST(test_vdev_activation_before_a_waiting_reset_skipped)
{
	give_rings(1);
	ack(V1);
	put_status(ACK | DRV);
	put_status(ACK | DRV | FOK);
	ck_assert_int_eq(vdev_set_status(&dev.v, OK), VDEV_ACTIVATE);
	ck_assert_int_eq(vdev_set_status(&dev.v, 0), VDEV_RESET);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_ACTIVATE), 0);
	ck_assert_uint_eq(dev.activations, 0);
	vdev_act(&dev.v, VDEV_RESET);
	start(1);
}
END_TEST

/* What is under way is waited for; a reset that was quicker leaves nothing to stop. */
START_TEST(test_vdev_stopped_queue_waits)
{
	start(1);
	dev.unsettled = 2;
	ck_assert_int_eq(vdev_queue_set_ready(&dev.v, 0, false), VDEV_STOP);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_STOP), LOOP_AGAIN);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_STOP), LOOP_AGAIN);
	ck_assert(dev.v.active);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_STOP), 1);
	ck_assert(!dev.v.active);
	ck_assert_uint_eq(dev.resets, 1);
	ck_assert_uint_eq(vdev_status(&dev.v), OK | NEEDS);
	ck_assert_int_eq(vdev_queue_set_ready(&dev.v, 0, false), VDEV_NOTHING);

	put_status(0);
	start(1);
	ck_assert_int_eq(vdev_queue_set_ready(&dev.v, 0, false), VDEV_STOP);
	put_status(0);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_STOP), 0);
	ck_assert_uint_eq(dev.resets, 2);
	ck_assert_uint_eq(vdev_status(&dev.v), 0);
}
END_TEST

/* A start that waits for its back end is given up, and what it had begun is ended. */
START_TEST(test_vdev_stopped_while_it_starts)
{
	dev.activate_error = LOOP_AGAIN;
	give_rings(1);
	ack(V1);
	put_status(ACK | DRV);
	put_status(ACK | DRV | FOK);
	ck_assert_int_eq(vdev_set_status(&dev.v, OK), VDEV_ACTIVATE);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_ACTIVATE), LOOP_AGAIN);
	ck_assert_int_eq(vdev_queue_set_ready(&dev.v, 0, false), VDEV_STOP);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_STOP), 1);
	ck_assert_uint_eq(dev.resets, 1);
	ck_assert_int_eq(vdev_act(&dev.v, VDEV_ACTIVATE), 0);
	ck_assert_uint_eq(dev.activations, 1);
	dev.activate_error = 0;
	put_status(0);
	ck_assert_uint_eq(dev.resets, 1);
	start(1);
}
END_TEST

START_TEST(test_vdev_free_resets_an_active_device)
{
	start(1);
	vdev_free(&dev.v);
	ck_assert_uint_eq(dev.resets, 1);
	ck_assert_uint_eq(dev.frees, 1);
	vdev_free(NULL);
}
END_TEST

/* ---- kicks -------------------------------------------------------------------------------- */

static bool signalled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

START_TEST(test_vdev_kicks_reach_ready_queues)
{
	vdev_notify(&dev.v, 0); /* before any set-up */
	start(2);
	ck_assert(dev.kicks[0] == 1 && dev.kicks[1] == 1 && dev.kicks[2] == 0);
	fake_loop_turn(loop);
	dev.kicks[0] = dev.kicks[1] = 0;
	for (unsigned i = 0; i < 100; i++)
		vdev_notify(&dev.v, 1);
	vdev_notify(&dev.v, 2); /* not ready */
	fake_loop_turn(loop);
	fake_loop_turn(loop);
	ck_assert(dev.kicks[0] == 0 && dev.kicks[1] == 1 && dev.kicks[2] == 0);
}
END_TEST

START_TEST(test_vdev_kicks_end_with_reset)
{
	start(1);
	dev.kicks[0] = 0;
	vdev_notify(&dev.v, 0);
	put_status(0);
	ck_assert(!signalled(vdev_kick_fd(&dev.v, 0)));
	vdev_notify(&dev.v, 0);
	ck_assert_uint_eq(fake_loop_turn(loop), 0);
	ck_assert_uint_eq(dev.kicks[0], 0);
}
END_TEST

/* Other CPUs kick as fast as we can read: as good as a descriptor that is always readable. */
START_TEST(test_vdev_kicks_without_end_do_not_hold_up_the_loop)
{
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);

	start(2);
	ck_assert_int_ge(dup2(fd, vdev_kick_fd(&dev.v, 0)), 0);
	close(fd);
	dev.kicks[0] = 0;
	ck_assert(fake_loop_fire(&dev.v.queues[0].kick_poll, POLLIN));
	ck_assert_uint_eq(dev.kicks[0], 1);
	put_status(0);
	ck_assert_uint_eq(vdev_status(&dev.v), 0);
}
END_TEST

START_TEST(test_vdev_vhost_queues_kicked_in_the_kernel)
{
	dev.vhost = 1;
	start(2);
	ck_assert(signalled(vdev_kick_fd(&dev.v, 0))); /* the early kick, for the kernel to find */
	ck_assert_uint_eq(fake_loop_armed(&dev.v.queues[0].kick_poll), 0);
	ck_assert_uint_ne(fake_loop_armed(&dev.v.queues[1].kick_poll), 0);
	ck_assert(dev.kicks[0] == 0 && dev.kicks[1] == 1);
	put_status(0);
	ck_assert(!signalled(vdev_kick_fd(&dev.v, 0)));
	ck_assert_uint_eq(dev.v.vhost_queues, 0);
}
END_TEST

/* ---- interrupts and faults ---------------------------------------------------------------- */

START_TEST(test_vdev_flush_interrupts_once)
{
	struct iovec iov[4];
	struct vq_chain c = { .iov = iov, .cap = 4 };

	start(2);
	fake_ring_add(&rings[1], &(struct fake_part){ RAM + 0x8000, 8, true }, 1);
	ck_assert_int_eq(vq_pop(&dev.v.queues[1].ring, &c), 1);
	vq_push(&dev.v.queues[1].ring, c.head, 8);
	vdev_queue_flush(&dev.v, 1);
	vdev_queue_flush(&dev.v, 1);
	vdev_queue_flush(&dev.v, 2); /* not started */
	ck_assert(irqs[1] == 1 && irqs[0] == 0 && irqs[2] == 0);
	ck_assert_uint_eq(fake_ring_used_idx(&rings[1]), 1);
}
END_TEST

START_TEST(test_vdev_fault_breaks_queue_until_reset)
{
	struct vq_chain c = { 0 };

	start(2);
	vdev_fault(&dev.v, 1, "test");
	vdev_fault(&dev.v, 1, "test");
	ck_assert_uint_eq(vdev_status(&dev.v), OK | NEEDS);
	ck_assert_uint_eq(config_irqs, 1); /* told once */
	ck_assert_uint_eq(dev.v.faults, 2);
	ck_assert_int_eq(vq_pop(&dev.v.queues[1].ring, &c), -EPROTO);
	ck_assert_int_eq(vq_pop(&dev.v.queues[0].ring, &c), 0); /* the other one lives */
	put_status(OK); /* does not clear NEEDS_RESET */
	ck_assert_uint_eq(vdev_status(&dev.v), OK | NEEDS);
	put_status(0);
	start(2);
	ck_assert_int_eq(vq_pop(&dev.v.queues[1].ring, &c), 0);
}
END_TEST

START_TEST(test_vdev_fault_without_driver_silent)
{
	vdev_fault(&dev.v, -1, "test");
	ck_assert_uint_eq(vdev_status(&dev.v), 0);
	ck_assert_uint_eq(config_irqs, 0);
}
END_TEST

START_TEST(test_vdev_no_transport_no_interrupt)
{
	vdev_set_irq(&dev.v, NULL, NULL);
	start(1);
	vdev_config_changed(&dev.v);
	vdev_fault(&dev.v, 0, "test");
	put_status(0);
	ck_assert_uint_eq(config_irqs, 0);
}
END_TEST

/* ---- configuration space ------------------------------------------------------------------ */

START_TEST(test_vdev_config_any_offset_and_length)
{
	static const uint64_t offs[] = { 12, 13, 0xff, 0x100, UINT32_MAX, UINT64_MAX - 7, UINT64_MAX, 1ULL << 32 };
	static const unsigned lens[] = { 1, 2, 4, 8 };

	for (unsigned i = 0; i < sizeof(dev.config); i++)
		dev.config[i] = (uint8_t)(0x11 * (i + 1));
	ck_assert_uint_eq(vdev_config_read(&dev.v, 0, 4), 0x44332211);
	ck_assert_uint_eq(vdev_config_read(&dev.v, 3, 1), 0x44);
	ck_assert_uint_eq(vdev_config_read(&dev.v, 0, 8), 0x8877665544332211);
	ck_assert_uint_eq(vdev_config_read(&dev.v, 11, 8), 0xcc); /* beyond the end: 0 */
	for (unsigned i = 0; i < ARRAY_LEN(offs); i++)
		for (unsigned j = 0; j < ARRAY_LEN(lens); j++) {
			ck_assert_uint_eq(vdev_config_read(&dev.v, offs[i], lens[j]), 0);
			vdev_config_write(&dev.v, offs[i], lens[j], UINT64_MAX);
		}
	vdev_config_write(&dev.v, 11, 2, UINT64_MAX); /* half inside: not at all */
	ck_assert_uint_eq(dev.config[11], 0xcc);
	vdev_config_write(&dev.v, 10, 2, 0x0201);
	ck_assert(dev.config[10] == 1 && dev.config[11] == 2);
}
END_TEST

START_TEST(test_vdev_config_read_only)
{
	dev.v.ops = &ops_ro;
	vdev_config_write(&dev.v, 0, 4, UINT32_MAX);
	ck_assert_uint_eq(dev.config[0], 0);
}
END_TEST

START_TEST(test_vdev_config_change_generation_and_interrupt)
{
	uint32_t gen = vdev_config_gen(&dev.v);

	vdev_config_changed(&dev.v);
	ck_assert_uint_eq(config_irqs, 0); /* nobody runs */
	start(1);
	vdev_config_changed(&dev.v);
	ck_assert_uint_eq(config_irqs, 1);
	ck_assert_uint_eq(vdev_config_gen(&dev.v), gen + 2);
}
END_TEST

/* ---- construction ------------------------------------------------------------------------- */

START_TEST(test_vdev_init_fails_clean)
{
	struct device *d = calloc(1, sizeof(*d));

	for (unsigned n = 0; n < QUEUES; n++) {
		fake_loop_fail_init(loop, n, -ENOSPC);
		ck_assert_int_eq(vdev_init(&d->v, &cfg), -ENOSPC);
		memset(d, 0, sizeof(*d));
	}
	cfg.nr_queues = VDEV_MAX_QUEUES + 1;
	ck_assert_int_eq(vdev_init(&d->v, &cfg), -EINVAL);
	cfg.nr_queues = 1;
	cfg.queue_size = 3;
	ck_assert_int_eq(vdev_init(&d->v, &cfg), -EINVAL);
	cfg.queue_size = 2 * VQ_MAX_SIZE;
	ck_assert_int_eq(vdev_init(&d->v, &cfg), -EINVAL);
	free(d);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, test_vdev_status_walk_all_values_from_each_state, 0, ARRAY_LEN(states));
	tcase_add_test(t, test_vdev_features_not_offered_refused);
	tcase_add_test(t, test_vdev_legacy_driver_refused);
	tcase_add_test(t, test_vdev_features_offered);
	tcase_add_test(t, test_vdev_features_frozen_after_features_ok);
	tcase_add_test(t, test_vdev_queue_registers_frozen_from_driver_ok_to_reset);
	tcase_add_test(t, test_vdev_queue_registers_frozen_while_ready);
	tcase_add_test(t, test_vdev_queue_size_of_no_use_ignored);
	tcase_add_test(t, test_vdev_queue_out_of_range_ignored);
	tcase_add_test(t, test_vdev_second_driver_ok_no_second_activation);
	tcase_add_test(t, test_vdev_activation_fails_needs_reset_and_heals);
	tcase_add_test(t, test_vdev_bad_ring_needs_reset);
	tcase_add_test(t, test_vdev_reset_from_each_state);
	tcase_add_test(t, test_vdev_writes_during_reset_ignored);
	tcase_add_test(t, test_vdev_reset_overtakes_activation);
	tcase_add_test(t, test_vdev_activation_before_a_waiting_reset_skipped);
	tcase_add_test(t, test_vdev_stopped_queue_waits);
	tcase_add_test(t, test_vdev_stopped_while_it_starts);
	tcase_add_test(t, test_vdev_free_resets_an_active_device);
	tcase_add_test(t, test_vdev_kicks_reach_ready_queues);
	tcase_add_test(t, test_vdev_kicks_end_with_reset);
	tcase_add_test(t, test_vdev_kicks_without_end_do_not_hold_up_the_loop);
	tcase_add_test(t, test_vdev_vhost_queues_kicked_in_the_kernel);
	tcase_add_test(t, test_vdev_flush_interrupts_once);
	tcase_add_test(t, test_vdev_fault_breaks_queue_until_reset);
	tcase_add_test(t, test_vdev_fault_without_driver_silent);
	tcase_add_test(t, test_vdev_no_transport_no_interrupt);
	tcase_add_test(t, test_vdev_config_any_offset_and_length);
	tcase_add_test(t, test_vdev_config_read_only);
	tcase_add_test(t, test_vdev_config_change_generation_and_interrupt);
	tcase_add_test(t, test_vdev_init_fails_clean);
}

int main(void)
{
	Suite *s = suite_create("vdev");
	TCase *t = tcase_create("vdev");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	add_tests(t);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
