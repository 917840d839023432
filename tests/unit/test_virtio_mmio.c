/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_mmio: registers at every offset and width, interrupt status under both policies, doorbells. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "devices/virtio/virtio_mmio.h"
#include "tests/fake/driver.h"
#include "tests/fake/irq.h"
#include "tests/fake/kvm.h"
#include "tests/fake/loop.h"
#include "tests/fake/sparse.h"
#include "vmm/base/log.h"
#include "vmm/core/irq_check.h"

#define RAM 0x40000000
#define BASE 0x0a000000
#define SPI 7
#define QUEUES 3
#define MAX 16
#define V1 BIT64(VIRTIO_F_VERSION_1)
#define OK 15
#define VRING VIRTIO_MMIO_INT_VRING
#define CONFIG VIRTIO_MMIO_INT_CONFIG

static struct device {
	struct vdev v;
	unsigned activations, resets, kicks[QUEUES];
	unsigned vhost; /* queues driven through call_fd */
	int call_fd[QUEUES];
	int late;       /* signal these call fds while being reset, as a back end may */
	int activate_error;
} dev;

static struct loop *loop;
static struct gmem *mem;
static struct bus *bus;
static struct hyp *hyp;
static struct gsi_space *space;
static struct virtio_mmio *mmio;
static struct fake_guest g;
static struct fake_ring rings[QUEUES];

static int dev_activate(struct vdev *v)
{
	struct device *d = container_of(v, struct device, v);

	d->activations++;
	for (unsigned q = 0; q < v->nr_queues; q++) {
		if (!v->queues[q].regs.ready)
			continue;
		if (d->vhost & BIT32(q)) {
			v->vhost_queues |= BIT64(q);
			ck_assert_int_eq(v->irq->call_fd(v->irq_ctx, q, &d->call_fd[q]), 0);
		} else if (vq_start(&v->queues[q].ring, v->mem, &v->queues[q].regs, false, false) < 0) {
			return -EFAULT;
		}
	}
	return d->activate_error;
}

static void dev_reset(struct vdev *v)
{
	struct device *d = container_of(v, struct device, v);

	d->resets++;
	for (unsigned q = 0; q < QUEUES; q++)
		if (d->late & (1 << q))
			eventfd_write(d->call_fd[q], 1);
}

static void dev_kick(struct vdev *v, unsigned q)
{
	container_of(v, struct device, v)->kicks[q]++;
}

static void dev_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	(void)v;
	for (unsigned i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(0xc0 + off + i);
}

static void dev_free(struct vdev *v)
{
	vdev_fini(v);
}

static const struct vdev_ops ops = {
	.kind = "test", .activate = dev_activate, .reset = dev_reset, .kick = dev_kick,
	.config_read = dev_config_read, .free = dev_free,
};

static void make(enum vmmio_irq policy)
{
	struct virtio_mmio_cfg cfg = { .vdev = &dev.v, .bus = bus, .hyp = hyp, .space = space,
				       .gpa = BASE, .spi = SPI, .irq = policy };

	virtio_mmio_free(mmio);
	mmio = NULL;
	ck_assert_int_eq(virtio_mmio_new(&cfg, &mmio), 0);
	fake_guest_mmio(&g, bus, hyp, BASE);
}

/* Whatever these tests do, the invariants of the interrupt code hold. */
static struct irq_check *check;

static void broken_rule(void *ctx, const char *sentence)
{
	(void)ctx;
	ck_abort_msg("%s", sentence);
}

static void setup(void)
{
	struct vdev_cfg vc = { .ops = &ops, .name = "test0", .type = 42, .nr_queues = QUEUES, .queue_size = MAX,
			       .config_len = 6, .back_end = true };
	gpa_t at = RAM;

	memset(&dev, 0, sizeof(dev));
	mmio = NULL;
	log_init(STDERR_FILENO, LOG_ERROR, LOG_TEXT);
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(gmem_new(&mem), 0);
	ck_assert_int_eq(gmem_add(mem, RAM, 64 * KIB, false), 0);
	ck_assert_int_eq(bus_new(&bus), 0);
	hyp = fake_kvm_new();
	space = fake_gsi_space(hyp);
	ck_assert_int_eq(irq_check_new(space, broken_rule, NULL, &check), 0);
	vc.loop = loop;
	vc.mem = mem;
	ck_assert_int_eq(vdev_init(&dev.v, &vc), 0);
	for (unsigned q = 0; q < QUEUES; q++)
		at = fake_ring_init(&rings[q], mem, at, MAX);
	make(VMMIO_HOP);
}

static void teardown(void)
{
	virtio_mmio_free(mmio);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	ck_assert_uint_eq(fake_kvm_nr_irqfds(hyp), 0);
	ck_assert_ptr_null(fake_kvm_complaint(hyp));
	vdev_free(&dev.v);
	ck_assert_int_eq(gsi_commit(space), 0);
	irq_check_end(space);
	irq_check_free(check);
	gsi_space_free(space);
	hyp_free(hyp);
	bus_free(bus);
	loop_free(loop);
	gmem_free(mem);
}

static uint32_t rd(unsigned off)
{
	return (uint32_t)bus_read(bus, BASE + off, 4);
}

static void wr(unsigned off, uint32_t val)
{
	fake_guest_write(&g, BASE + off, 4, val);
}

static uint64_t spis(void)
{
	fake_kvm_pump(hyp);
	return fake_kvm_spis(hyp, SPI);
}

static void start(void)
{
	ck_assert(fake_guest_start(&g, V1, rings, QUEUES));
}

/* The device uses a buffer of queue @q. */
static void use_buffer(unsigned q)
{
	struct iovec iov[4];
	struct vq_chain c = { .iov = iov, .cap = 4 };

	fake_ring_add(&rings[q], &(struct fake_part){ RAM + 0x8000, 8, true }, 1);
	ck_assert_int_eq(vq_pop(&dev.v.queues[q].ring, &c), 1);
	vq_push(&dev.v.queues[q].ring, c.head, 0);
	vdev_queue_flush(&dev.v, q);
}

/* ---- registers ---------------------------------------------------------------------------- */

START_TEST(test_mmio_identity)
{
	ck_assert_uint_eq(rd(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_VERSION), 2);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_ID), 42);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
	ck_assert_uint_eq(fake_guest_features(&g) & V1, V1);
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES), 0);
}
END_TEST

START_TEST(test_mmio_no_such_queue_has_size_0)
{
	static const unsigned bad[] = { QUEUES, 0xffff, 0x10000, 0x7fffffff, UINT32_MAX };

	ck_assert_uint_eq(fake_guest_queue_max(&g, 0), MAX);
	ck_assert_uint_eq(fake_guest_queue_max(&g, QUEUES - 1), MAX);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_uint_eq(fake_guest_queue_max(&g, bad[i]), 0);
		for (unsigned off = 0; off < 0x100; off += 4)
			if (off != VIRTIO_MMIO_QUEUE_SEL)
				wr(off, 1);
		ck_assert(!fake_guest_queue_ready(&g, bad[i]));
		wr(VIRTIO_MMIO_STATUS, 0);
	}
}
END_TEST

/* Each offset, width and a few values, in three states: nothing breaks, and reads are as wide as asked. */
START_TEST(test_mmio_sweep)
{
	static const uint64_t vals[] = { 0, 1, 0x80, 0xff, 0xffff, UINT32_MAX, UINT64_MAX };
	static const unsigned lens[] = { 1, 2, 4, 8 };

	for (unsigned state = 0; state < 3; state++)
		for (unsigned off = 0; off < VIRTIO_MMIO_SIZE; off += SPARSE)
			for (unsigned l = 0; l < ARRAY_LEN(lens); l++)
				for (unsigned i = 0; i < ARRAY_LEN(vals); i++) {
					uint64_t got;

					fake_guest_set_status(&g, 0);
					if (state == 1)
						fake_guest_set_status(&g, 3);
					if (state == 2)
						start();
					fake_guest_write(&g, BASE + off, lens[l], vals[i] & width_mask(lens[l]));
					got = bus_read(bus, BASE + off, lens[l]);
					ck_assert_uint_eq(got & ~width_mask(lens[l]), 0);
					if (off < 0x100 - 8 && (lens[l] != 4 || off % 4))
						ck_assert_uint_eq(got, 0);
				}
	fake_guest_set_status(&g, 0);
	start();
}
END_TEST

START_TEST(test_mmio_odd_width_writes_nothing)
{
	fake_guest_write(&g, BASE + VIRTIO_MMIO_STATUS, 1, 1);
	fake_guest_write(&g, BASE + VIRTIO_MMIO_STATUS, 2, 1);
	fake_guest_write(&g, BASE + VIRTIO_MMIO_STATUS, 8, 1);
	fake_guest_write(&g, BASE + VIRTIO_MMIO_STATUS - 1, 4, 1 << 8);
	ck_assert_uint_eq(fake_guest_status(&g), 0);
	wr(VIRTIO_MMIO_STATUS, 0x101);
	ck_assert_uint_eq(fake_guest_status(&g), 0);
}
END_TEST

START_TEST(test_mmio_config_any_width)
{
	ck_assert_uint_eq(bus_read(bus, BASE + 0x100, 1), 0xc0);
	ck_assert_uint_eq(bus_read(bus, BASE + 0x101, 1), 0xc1);
	ck_assert_uint_eq(bus_read(bus, BASE + 0x101, 2), 0xc2c1);
	ck_assert_uint_eq(bus_read(bus, BASE + 0x100, 4), 0xc3c2c1c0);
	ck_assert_uint_eq(bus_read(bus, BASE + 0x100, 8), 0xc5c4c3c2c1c0);
	ck_assert_uint_eq(bus_read(bus, BASE + 0x106, 4), 0);
	ck_assert_uint_eq(bus_read(bus, BASE + 0x1f8, 8), 0);
	ck_assert_uint_eq(bus_read(bus, BASE + 0x1fc, 8), UINT64_MAX); /* over the end: nobody's */
}
END_TEST

START_TEST(test_mmio_queue_registers_after_driver_ok_frozen)
{
	struct vq_regs before, after;

	start();
	vdev_queue(&dev.v, 1, &before);
	fake_guest_select(&g, 1);
	for (unsigned off = VIRTIO_MMIO_QUEUE_NUM; off <= VIRTIO_MMIO_QUEUE_USED_HIGH; off += 4)
		if (off != VIRTIO_MMIO_QUEUE_NOTIFY && off != VIRTIO_MMIO_STATUS)
			wr(off, 0x8000);
	vdev_queue(&dev.v, 1, &after);
	ck_assert_mem_eq(&before, &after, sizeof(before));
}
END_TEST

START_TEST(test_mmio_queue_ready_0_before_driver_ok)
{
	fake_guest_queue(&g, 0, &rings[0]);
	fake_guest_enable(&g, 0);
	ck_assert(fake_guest_queue_ready(&g, 0));
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert(!fake_guest_queue_ready(&g, 0));
}
END_TEST

/* A driver that takes leave stops its queues one by one, reads each back, and resets the device only then. */
START_TEST(test_mmio_queue_ready_0_of_a_running_device)
{
	start();
	fake_guest_select(&g, 1);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	for (unsigned q = 0; q < QUEUES; q++)
		ck_assert(!fake_guest_queue_ready(&g, q));
	ck_assert(!dev.v.active && !dev.v.queues[0].ring.started);
	ck_assert_uint_eq(dev.resets, 1);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), CONFIG); /* s2.1.2: of NEEDS_RESET it is told */
	ck_assert_uint_eq(spis(), 1);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	memset(dev.kicks, 0, sizeof(dev.kicks));
	fake_guest_kick(&g, 0);
	fake_loop_turn(loop);
	ck_assert_uint_eq(dev.kicks[0], 0);
	fake_guest_select(&g, 0);
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert(!fake_guest_queue_ready(&g, 0));
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	fake_guest_set_status(&g, 0);
	ck_assert_uint_eq(dev.resets, 1);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0);
	start();
}
END_TEST

START_TEST(test_mmio_features_refused)
{
	ck_assert(!fake_guest_negotiate(&g, V1 | BIT64(3)));
	fake_guest_set_status(&g, 0);
	ck_assert(!fake_guest_negotiate(&g, 0));
	fake_guest_set_status(&g, 0);
	ck_assert(fake_guest_negotiate(&g, fake_guest_features(&g)));
}
END_TEST

/* ---- interrupts --------------------------------------------------------------------------- */

START_TEST(test_mmio_line_open_only_while_running)
{
	vdev_config_changed(&dev.v);
	ck_assert_uint_eq(spis(), 0);
	start();
	vdev_config_changed(&dev.v);
	ck_assert_uint_eq(spis(), 1);
	fake_guest_set_status(&g, 0);
	vdev_config_changed(&dev.v);
	ck_assert_uint_eq(spis(), 1);
}
END_TEST

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Descriptors to signal are for back ends: a device that has none pays for none. */
START_TEST(test_mmio_without_back_end_no_descriptors)
{
	struct virtio_mmio_cfg cfg = { .vdev = &dev.v, .bus = bus, .hyp = hyp, .space = space,
				       .gpa = BASE + 0x1000, .spi = 8, .irq = VMMIO_HOP };
	unsigned before = open_fds();
	struct virtio_mmio *other;

	dev.v.back_end = false;
	ck_assert_int_eq(virtio_mmio_new(&cfg, &other), 0);
	ck_assert_uint_eq(open_fds(), before);
	virtio_mmio_free(other);
	dev.v.back_end = true;
	ck_assert_int_eq(virtio_mmio_new(&cfg, &other), 0);
	ck_assert_uint_eq(open_fds(), before + QUEUES);
	virtio_mmio_free(other);
}
END_TEST

START_TEST(test_mmio_used_buffer_sets_bit_and_pulses)
{
	start();
	use_buffer(1);
	ck_assert_uint_eq(fake_guest_isr(&g), VRING);
	ck_assert_uint_eq(spis(), 1);
	ck_assert_uint_eq(fake_guest_isr(&g), VRING); /* a read clears nothing */
	fake_guest_ack_isr(&g, VRING);
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
}
END_TEST

START_TEST(test_mmio_ack_clears_only_what_it_names)
{
	start();
	use_buffer(0);
	vdev_config_changed(&dev.v);
	ck_assert_uint_eq(fake_guest_isr(&g), VRING | CONFIG);
	fake_guest_ack_isr(&g, VRING);
	ck_assert_uint_eq(fake_guest_isr(&g), CONFIG);
	fake_guest_ack_isr(&g, 0);
	fake_guest_ack_isr(&g, ~(uint32_t)CONFIG);
	ck_assert_uint_eq(fake_guest_isr(&g), CONFIG);
	fake_guest_ack_isr(&g, UINT32_MAX);
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
}
END_TEST

/* The guest's handler: read, acknowledge what was read. Nothing that comes between is lost. */
START_TEST(test_mmio_bit_between_read_and_ack_survives)
{
	uint32_t seen;
	uint64_t before;

	start();
	use_buffer(0);
	seen = fake_guest_isr(&g);
	before = spis();
	vdev_config_changed(&dev.v);
	fake_guest_ack_isr(&g, seen);
	ck_assert_uint_eq(fake_guest_isr(&g), CONFIG);
	ck_assert_uint_eq(spis(), before + 1);
}
END_TEST

START_TEST(test_mmio_hop_back_end_signal_sets_bit_first)
{
	dev.vhost = 3;
	start();
	ck_assert_uint_eq(fake_kvm_nr_irqfds(hyp), 0);
	ck_assert_int_ne(dev.call_fd[0], dev.call_fd[1]);
	eventfd_write(dev.call_fd[1], 1);
	ck_assert_uint_eq(spis(), 0); /* the kernel knows nothing of it */
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
	ck_assert_uint_eq(fake_loop_turn(loop), 2 - 1);
	ck_assert_uint_eq(fake_guest_isr(&g), VRING);
	ck_assert_uint_eq(spis(), 1);
	fake_guest_ack_isr(&g, VRING);
	fake_loop_turn(loop);
	ck_assert_uint_eq(fake_guest_isr(&g), 0); /* drained */
	vdev_config_changed(&dev.v);
	ck_assert_uint_eq(fake_guest_isr(&g), CONFIG); /* exact, unlike the other policy */
}
END_TEST

/* As fast as they can be read: as good as a descriptor that is always readable. */
START_TEST(test_mmio_hop_signals_without_end_do_not_hold_up_the_loop)
{
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);

	/* Its signals do not end at a reset either. */
	irq_check_free(check);
	check = NULL;
	dev.vhost = 1;
	start();
	ck_assert_int_ge(dup2(fd, dev.call_fd[0]), 0);
	close(fd);
	ck_assert_uint_eq(fake_loop_fire_fd(loop, dev.call_fd[0], POLLIN), 1);
	ck_assert_uint_eq(fake_guest_isr(&g), VRING);
	fake_guest_set_status(&g, 0);
	ck_assert_uint_eq(fake_guest_status(&g), 0);
}
END_TEST

START_TEST(test_mmio_hop_late_signal_of_previous_life_forgotten)
{
	dev.vhost = 3;
	dev.late = 3;
	start();
	eventfd_write(dev.call_fd[0], 1);
	fake_guest_set_status(&g, 0);
	ck_assert_uint_eq(fake_loop_turn(loop), 0);
	dev.late = 0;
	start();
	fake_loop_turn(loop);
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
	ck_assert_uint_eq(spis(), 0);
}
END_TEST

START_TEST(test_mmio_direct_reports_vring_whenever_running)
{
	uint64_t before;

	make(VMMIO_DIRECT);
	dev.vhost = 3;
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
	start();
	ck_assert_uint_eq(fake_kvm_nr_irqfds(hyp), 2); /* both on the SPI */
	ck_assert_uint_eq(fake_guest_isr(&g), VRING);
	eventfd_write(dev.call_fd[0], 1);
	ck_assert_uint_eq(spis(), 1);
	fake_guest_ack_isr(&g, VRING);
	ck_assert_uint_eq(fake_guest_isr(&g), VRING);
	before = spis();
	vdev_config_changed(&dev.v); /* both: neither hides the other */
	ck_assert_uint_eq(fake_guest_isr(&g), VRING | CONFIG);
	ck_assert_uint_eq(spis(), before + 1);
	fake_guest_ack_isr(&g, VRING | CONFIG);
	ck_assert_uint_eq(fake_guest_isr(&g), VRING);
	fake_guest_set_status(&g, 0);
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
}
END_TEST

/* A device without back ends answers exactly, whatever the policy. */
START_TEST(test_mmio_direct_without_back_end_exact)
{
	make(VMMIO_DIRECT);
	start();
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
	use_buffer(0);
	ck_assert_uint_eq(fake_guest_isr(&g), VRING);
	fake_guest_ack_isr(&g, VRING);
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
}
END_TEST

START_TEST(test_mmio_direct_late_signal_of_previous_life_forgotten)
{
	uint64_t before;

	make(VMMIO_DIRECT);
	dev.vhost = 3;
	dev.late = 3;
	start();
	fake_guest_set_status(&g, 0);
	before = spis();
	eventfd_write(dev.call_fd[0], 1); /* even later */
	dev.late = 0;
	fake_guest_set_status(&g, 0);
	start();
	ck_assert_uint_eq(spis(), before);
}
END_TEST

/* ---- doorbells ---------------------------------------------------------------------------- */

START_TEST(test_mmio_doorbells_while_running)
{
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	start();
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), QUEUES);
	memset(dev.kicks, 0, sizeof(dev.kicks));
	ck_assert(fake_kvm_guest_write(hyp, BASE + VIRTIO_MMIO_QUEUE_NOTIFY, 4, 1));
	ck_assert(!fake_kvm_guest_write(hyp, BASE + VIRTIO_MMIO_QUEUE_NOTIFY, 4, QUEUES)); /* an exit */
	ck_assert(!fake_kvm_guest_write(hyp, BASE + VIRTIO_MMIO_QUEUE_NOTIFY, 2, 1));
	fake_loop_turn(loop);
	ck_assert(!dev.kicks[0] && dev.kicks[1] == 1 && !dev.kicks[2]);
	bus_write(bus, BASE + VIRTIO_MMIO_QUEUE_NOTIFY, 4, 2); /* a kick that came as an exit */
	fake_loop_turn(loop);
	ck_assert_uint_eq(dev.kicks[2], 1);
	fake_guest_set_status(&g, 0);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
}
END_TEST

START_TEST(test_mmio_doorbell_refused_kicks_exit)
{
	fake_kvm_fail(hyp, FAKE_IOEVENTFD_ATTACH, 1, -ENOSPC);
	start();
	fake_loop_turn(loop);
	memset(dev.kicks, 0, sizeof(dev.kicks));
	for (unsigned q = 0; q < QUEUES; q++)
		fake_guest_kick(&g, q);
	fake_loop_turn(loop);
	ck_assert(dev.kicks[0] == 1 && dev.kicks[1] == 1 && dev.kicks[2] == 1);
}
END_TEST

START_TEST(test_mmio_only_ready_queues_have_doorbells)
{
	ck_assert(fake_guest_start(&g, V1, rings, 1));
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 1);
}
END_TEST

/* ---- life --------------------------------------------------------------------------------- */

START_TEST(test_mmio_kick_before_setup_harmless)
{
	for (unsigned q = 0; q < 5; q++)
		fake_guest_kick(&g, q);
	fake_loop_turn(loop);
	ck_assert(!dev.kicks[0] && !dev.kicks[1]);
	start();
	ck_assert_uint_eq(dev.kicks[0], 1);
}
END_TEST

START_TEST(test_mmio_activation_fails_config_interrupt)
{
	dev.activate_error = -EMFILE;
	ck_assert(!fake_guest_start(&g, V1, rings, 1));
	ck_assert_uint_eq(fake_guest_status(&g), OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(fake_guest_isr(&g), CONFIG);
	ck_assert_uint_eq(spis(), 1);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	dev.activate_error = 0;
	fake_guest_select(&g, 0);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert(!fake_guest_queue_ready(&g, 0)); /* a stop is read back of it as well */
	fake_guest_set_status(&g, 0);
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
	start();
}
END_TEST

START_TEST(test_mmio_many_lives)
{
	dev.vhost = 1;
	for (unsigned i = 0; i < 200; i++) {
		if (i % 50 == 0)
			make(i % 100 ? VMMIO_DIRECT : VMMIO_HOP);
		start();
		fake_guest_kick(&g, i % QUEUES);
		eventfd_write(dev.call_fd[0], 1);
		if (i & 1)
			fake_loop_turn(loop);
		fake_guest_set_status(&g, 0);
		ck_assert_uint_eq(fake_kvm_nr_irqfds(hyp) + fake_kvm_nr_ioeventfds(hyp), 0);
		ck_assert_uint_eq(fake_guest_isr(&g), 0);
	}
}
END_TEST

START_TEST(test_mmio_new_fails_clean)
{
	struct virtio_mmio_cfg cfg = { .vdev = &dev.v, .bus = bus, .hyp = hyp, .space = space,
				       .gpa = BASE + 0x100, .spi = 8, .irq = VMMIO_HOP };
	struct virtio_mmio *other = NULL;

	ck_assert_int_eq(virtio_mmio_new(&cfg, &other), -EEXIST); /* on the first one's registers */
	cfg.gpa = BASE + 0x1000;
	for (unsigned n = 0; n < QUEUES; n++) {
		fake_loop_fail_init(loop, n, -ENOSPC);
		ck_assert_int_eq(virtio_mmio_new(&cfg, &other), -ENOSPC);
	}
	ck_assert_ptr_null(other);
	virtio_mmio_free(NULL);
}
END_TEST

/* Two vCPUs and a device that interrupts: no bit is lost (and the thread sanitizer is content). */
static void *handler(void *arg)
{
	unsigned *seen = arg;

	for (unsigned i = 0; i < 20000; i++) {
		uint32_t bits = fake_guest_isr(&g);

		*seen |= bits;
		fake_guest_ack_isr(&g, bits);
		fake_guest_status(&g);
	}
	return NULL;
}

START_TEST(test_mmio_status_under_threads)
{
	unsigned seen[2] = { 0, 0 };
	pthread_t th[2];

	start();
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&th[i], NULL, handler, &seen[i]);
	for (unsigned i = 0; i < 5000; i++)
		vdev_config_changed(&dev.v);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(th[i], NULL);
	seen[0] |= seen[1] | fake_guest_isr(&g);
	ck_assert_uint_eq(seen[0], CONFIG);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, test_mmio_identity);
	tcase_add_test(t, test_mmio_no_such_queue_has_size_0);
	tcase_add_test(t, test_mmio_sweep);
	tcase_add_test(t, test_mmio_odd_width_writes_nothing);
	tcase_add_test(t, test_mmio_config_any_width);
	tcase_add_test(t, test_mmio_queue_registers_after_driver_ok_frozen);
	tcase_add_test(t, test_mmio_queue_ready_0_before_driver_ok);
	tcase_add_test(t, test_mmio_queue_ready_0_of_a_running_device);
	tcase_add_test(t, test_mmio_features_refused);
	tcase_add_test(t, test_mmio_line_open_only_while_running);
	tcase_add_test(t, test_mmio_used_buffer_sets_bit_and_pulses);
	tcase_add_test(t, test_mmio_ack_clears_only_what_it_names);
	tcase_add_test(t, test_mmio_bit_between_read_and_ack_survives);
	tcase_add_test(t, test_mmio_hop_back_end_signal_sets_bit_first);
	tcase_add_test(t, test_mmio_hop_signals_without_end_do_not_hold_up_the_loop);
	tcase_add_test(t, test_mmio_hop_late_signal_of_previous_life_forgotten);
	tcase_add_test(t, test_mmio_direct_reports_vring_whenever_running);
	tcase_add_test(t, test_mmio_direct_without_back_end_exact);
	tcase_add_test(t, test_mmio_direct_late_signal_of_previous_life_forgotten);
	tcase_add_test(t, test_mmio_doorbells_while_running);
	tcase_add_test(t, test_mmio_doorbell_refused_kicks_exit);
	tcase_add_test(t, test_mmio_only_ready_queues_have_doorbells);
	tcase_add_test(t, test_mmio_kick_before_setup_harmless);
	tcase_add_test(t, test_mmio_without_back_end_no_descriptors);
	tcase_add_test(t, test_mmio_activation_fails_config_interrupt);
	tcase_add_test(t, test_mmio_many_lives);
	tcase_add_test(t, test_mmio_new_fails_clean);
	tcase_add_test(t, test_mmio_status_under_threads);
}

int main(void)
{
	Suite *s = suite_create("virtio_mmio");
	TCase *t = tcase_create("virtio_mmio");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	add_tests(t);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
