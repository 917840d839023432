/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_pci: structures, widths, vectors, doorbells that follow BAR 0, the PCI_CFG window. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "devices/pci/host.h"
#include "devices/pci/msix.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/fake/driver.h"
#include "tests/fake/irq.h"
#include "tests/fake/kvm.h"
#include "tests/fake/loop.h"
#include "tests/fake/sparse.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/irq_check.h"

#define RAM 0x40000000
#define ECAM 0x3f000000
#define WIN 0x10000000
#define WIN_SIZE 0x1000000
#define RID (2 << 3)
#define SLOT 7
#define QUEUES 3
#define MAX 16
#define V1 BIT64(VIRTIO_F_VERSION_1)
#define OK 15
#define EVENT 100 /* of vector 0 */

#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)

static struct device {
	struct vdev v;
	unsigned activations, resets, kicks[QUEUES];
	unsigned vhost;
	int call_fd[QUEUES];
	bool late;
	int activate_error;
	uint8_t config[5];
} dev;

static struct loop *loop;
static struct gmem *mem;
static struct bus *bus;
static struct hyp *hyp;
static struct gsi_space *space;
static struct pci_host *host;
static struct virtio_pci *pci;
static struct fake_guest g;
static struct fake_ring rings[QUEUES];
static bool with_views; /* all tests run without and with them */

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
	for (unsigned q = 0; d->late && q < QUEUES; q++)
		v->irq->queue(v->irq_ctx, q);
}

static void dev_kick(struct vdev *v, unsigned q)
{
	container_of(v, struct device, v)->kicks[q]++;
}

static void dev_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	memcpy(buf, container_of(v, struct device, v)->config + off, len);
}

static void dev_config_write(struct vdev *v, unsigned off, const void *buf, unsigned len)
{
	memcpy(container_of(v, struct device, v)->config + off, buf, len);
}

static void dev_free(struct vdev *v)
{
	vdev_fini(v);
}

static const struct vdev_ops ops = {
	.kind = "test", .activate = dev_activate, .reset = dev_reset, .kick = dev_kick,
	.config_read = dev_config_read, .config_write = dev_config_write, .free = dev_free,
};

/* Whatever these tests do, the invariants of the interrupt code hold. */
static struct irq_check *check;

static void broken_rule(void *ctx, const char *sentence)
{
	(void)ctx;
	ck_abort_msg("%s", sentence);
}

static void make_host(void)
{
	struct pci_host_cfg hc = { .ecam = ECAM, .mem_base = WIN, .mem_size = WIN_SIZE };

	log_init(STDERR_FILENO, LOG_ERROR, LOG_TEXT);
	ck_assert_int_eq(loop_new(&loop), 0);
	ck_assert_int_eq(gmem_new(&mem), 0);
	ck_assert_int_eq(gmem_add(mem, RAM, 64 * KIB, false), 0);
	ck_assert_int_eq(bus_new(&bus), 0);
	hyp = fake_kvm_new();
	space = fake_gsi_space(hyp);
	ck_assert_int_eq(irq_check_new(space, broken_rule, NULL, &check), 0);
	ck_assert_int_eq(pci_host_new(bus, &hc, &host), 0);
}

static void setup(void)
{
	struct vdev_cfg vc = { .ops = &ops, .name = "test0", .type = 1, .nr_queues = QUEUES, .queue_size = MAX,
			       .config_len = sizeof(dev.config) };
	struct virtio_pci_cfg pc = { .vdev = &dev.v, .rid = RID };
	gpa_t at = RAM;

	memset(&dev, 0, sizeof(dev));
	pci = NULL;
	make_host();
	vc.loop = loop;
	vc.mem = mem;
	ck_assert_int_eq(vdev_init(&dev.v, &vc), 0);
	for (unsigned q = 0; q < QUEUES; q++)
		at = fake_ring_init(&rings[q], mem, at, MAX);
	pc.host = host;
	pc.hyp = hyp;
	pc.space = space;
	pc.slot = with_views ? SLOT : 0;
	ck_assert_int_eq(virtio_pci_new(&pc, &pci), 0);
	ck_assert(fake_guest_pci(&g, bus, hyp, ECAM, RID));
	fake_guest_map_bars(&g, WIN);
}

static void setup_with_views(void)
{
	with_views = true;
	setup();
}

static void teardown(void)
{
	virtio_pci_free(pci);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	ck_assert_uint_eq(fake_kvm_nr_irqfds(hyp), 0);
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), 0);
	ck_assert_ptr_null(fake_kvm_complaint(hyp));
	vdev_free(&dev.v);
	pci_host_free(host);
	ck_assert_int_eq(gsi_commit(space), 0);
	irq_check_end(space);
	irq_check_free(check);
	gsi_space_free(space);
	hyp_free(hyp);
	bus_free(bus);
	loop_free(loop);
	gmem_free(mem);
}

static uint64_t rd(unsigned off, unsigned len)
{
	return fake_guest_read(&g, g.bar[0] + off, len);
}

static void wr(unsigned off, unsigned len, uint64_t val)
{
	fake_guest_write(&g, g.bar[0] + off, len, val);
}

static void start(void)
{
	ck_assert(fake_guest_start(&g, V1, rings, QUEUES));
}

/* As Linux does: enable and mask all, write entries, unmask all; one vector each, config last. */
static void set_up_vectors(void)
{
	fake_msix_control(&g, true, true);
	for (unsigned v = 0; v < g.nvec; v++)
		fake_msix_entry(&g, v, EVENT + v, true);
	fake_msix_control(&g, true, false);
	for (unsigned q = 0; q < QUEUES; q++)
		ck_assert_uint_eq(fake_guest_bind(&g, q, (uint16_t)q), q);
	ck_assert_uint_eq(fake_guest_bind_config(&g, QUEUES), QUEUES);
	for (unsigned v = 0; v < g.nvec; v++)
		fake_guest_write(&g, g.bar[1] + g.table + 16 * v + 12, 4, 0);
}

static uint64_t msis(unsigned vec)
{
	fake_kvm_pump(hyp);
	return fake_kvm_msis(hyp, RID, EVENT + vec);
}

static void use_buffer(unsigned q)
{
	struct iovec iov[4];
	struct vq_chain c = { .iov = iov, .cap = 4 };

	fake_ring_add(&rings[q], &(struct fake_part){ RAM + 0x8000, 8, true }, 1);
	ck_assert_int_eq(vq_pop(&dev.v.queues[q].ring, &c), 1);
	vq_push(&dev.v.queues[q].ring, c.head, 0);
	vdev_queue_flush(&dev.v, q);
}

/* ---- identity and layout ------------------------------------------------------------------ */

START_TEST(test_vpci_identity)
{
	ck_assert_uint_eq(fake_cfg_read(&g, PCI_VENDOR_ID, 4), 0x10411af4);
	ck_assert_uint_ge(fake_cfg_read(&g, PCI_REVISION_ID, 1), 1);
	ck_assert_uint_eq(fake_cfg_read(&g, PCI_CLASS_DEVICE, 2), 0x0200);
	ck_assert_uint_eq(fake_cfg_read(&g, PCI_SUBSYSTEM_VENDOR_ID, 2), 0x1af4);
	ck_assert_uint_ge(fake_cfg_read(&g, PCI_SUBSYSTEM_ID, 2), 0x40);
	ck_assert_uint_eq(fake_cfg_read(&g, PCI_INTERRUPT_PIN, 1), 0);
}
END_TEST

START_TEST(test_vpci_structures_apart)
{
	/* what has side effects shares no page */
	struct { unsigned off, len; } s[] = { { g.common, 56 }, { g.isr, 1 }, { g.notify, g.notify_len } };

	ck_assert_uint_eq(g.device_len, sizeof(dev.config));
	ck_assert_uint_eq(g.notify_len, QUEUES * g.notify_mult);
	ck_assert_uint_eq(g.nvec, QUEUES + 1);
	ck_assert_uint_eq(g.common % 4, 0);
	ck_assert_uint_ge(g.device, g.common + 56);
	ck_assert_uint_le(g.device + g.device_len, g.isr);
	for (unsigned i = 0; i < ARRAY_LEN(s); i++)
		for (unsigned j = 0; j < i; j++)
			ck_assert_uint_ne(s[i].off / 4096, s[j].off / 4096);
	ck_assert_uint_ne(g.table / 4096, g.pba / 4096);
	ck_assert_uint_eq(fake_cfg_read(&g, g.msix + 4, 4) & 7, 1);
	ck_assert_uint_eq(fake_cfg_read(&g, g.msix + 8, 4) & 7, 1);
	ck_assert_uint_eq(fake_cfg_read(&g, PCI_BASE_ADDRESS_0, 4) & 15, 0);
	ck_assert_uint_eq(rd(g.common + COMMON(num_queues), 2), QUEUES);
	for (unsigned q = 0; q < QUEUES; q++) {
		fake_guest_select(&g, q);
		ck_assert_uint_eq(rd(g.common + COMMON(queue_notify_off), 2), q);
	}
}
END_TEST

/* ---- common configuration ----------------------------------------------------------------- */

/* Each offset and width of both BARs, some values, idle and running: nothing breaks. */
START_TEST(test_vpci_sweep)
{
	static const uint64_t vals[] = { 0, 1, 0xff, 0x8000, UINT32_MAX, UINT64_MAX };
	static const unsigned lens[] = { 1, 2, 4, 8 };
	unsigned pages[] = { g.common, g.isr, g.device, g.notify };

	for (unsigned running = 0; running < 2; running++)
		for (unsigned p = 0; p < ARRAY_LEN(pages); p++)
			for (unsigned off = pages[p]; off < pages[p] + 80; off += SPARSE)
				for (unsigned l = 0; l < 4; l++)
					for (unsigned i = 0; i < ARRAY_LEN(vals); i++) {
						fake_guest_set_status(&g, 0);
						if (running)
							start();
						wr(off, lens[l], vals[i] & width_mask(lens[l]));
						ck_assert_uint_eq(rd(off, lens[l]) & ~width_mask(lens[l]), 0);
					}
	for (unsigned off = 0; off < 0x10000; off += SPARSE)
		for (unsigned l = 0; l < 4; l++) {
			fake_guest_write(&g, g.bar[1] + off, lens[l], vals[off % 6] & width_mask(lens[l]));
			ck_assert_uint_eq(fake_guest_read(&g, g.bar[1] + off, lens[l]) & ~width_mask(lens[l]), 0);
		}
	for (unsigned off = 0; off < 0x8000; off += SPARSE)
		for (unsigned l = 0; l < 4; l++)
			rd(off, lens[l]);
	fake_guest_set_status(&g, 0);
	start();
}
END_TEST

START_TEST(test_vpci_wrong_width_all_ones_and_ignored)
{
	uint64_t ones = with_views ? 0 : UINT64_MAX; /* through a view there is just what is there */

	wr(g.common + COMMON(device_status), 2, 1);
	wr(g.common + COMMON(device_status), 4, 1);
	wr(g.common + COMMON(device_status) - 1, 2, 1 << 8);
	ck_assert_uint_eq(fake_guest_status(&g), 0);
	ck_assert_uint_eq(rd(g.common + COMMON(device_status), 2), ones & 0xffff);
	ck_assert_uint_eq(rd(g.common + COMMON(queue_select), 1), ones & 0xff);
	if (!with_views) {
		ck_assert_uint_eq(rd(g.common + COMMON(queue_select), 4), UINT32_MAX);
		ck_assert_uint_eq(rd(g.common, 8), UINT64_MAX);
		ck_assert_uint_eq(rd(g.common + 1, 4), UINT32_MAX);
	}
	ck_assert_uint_eq(rd(g.common + 56, 4), ones & UINT32_MAX); /* queue_notify_data, queue_reset: not offered */
	ck_assert_uint_eq(rd(g.isr, 2), 0xffff);
	ck_assert_uint_eq(rd(g.notify, 2), 0xffff);
}
END_TEST

START_TEST(test_vpci_addresses_whole_and_in_halves)
{
	static const size_t fields[] = { COMMON(queue_desc_lo), COMMON(queue_avail_lo), COMMON(queue_used_lo) };

	fake_guest_select(&g, 1);
	for (unsigned i = 0; i < 3; i++) {
		unsigned f = g.common + (unsigned)fields[i];

		wr(f, 8, 0x1122334455667788);
		ck_assert_uint_eq(rd(f, 8), 0x1122334455667788);
		wr(f + 4, 4, 0xaabbccdd);
		ck_assert_uint_eq(rd(f, 4), 0x55667788);
		ck_assert_uint_eq(rd(f + 4, 4), 0xaabbccdd);
		wr(f, 4, 0);
		wr(f, 2, 0xffff);
		wr(f + 2, 4, 0xffff);
		wr(f + 4, 8, 0xffff);
		ck_assert_uint_eq(rd(f, 8), 0xaabbccdd00000000);
	}
	fake_guest_select(&g, 0);
	ck_assert_uint_eq(rd(g.common + COMMON(queue_desc_lo), 8), 0);
}
END_TEST

START_TEST(test_vpci_no_such_queue)
{
	static const uint16_t bad[] = { QUEUES, QUEUES + 1, 0x7fff, 0xffff };

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		fake_guest_select(&g, bad[i]);
		ck_assert_uint_eq(rd(g.common + COMMON(queue_select), 2), bad[i]);
		for (unsigned off = COMMON(queue_size); off < 56; off += 2) {
			wr(g.common + off, 2, 1);
			wr(g.common + off, 4, 1);
			wr(g.common + off, 8, 1);
		}
		ck_assert_uint_eq(rd(g.common + COMMON(queue_size), 2), 0);
		ck_assert_uint_eq(rd(g.common + COMMON(queue_enable), 2), 0);
		ck_assert_uint_eq(rd(g.common + COMMON(queue_desc_lo), 8), 0);
		ck_assert_uint_eq(fake_guest_bind(&g, bad[i], 0), MSIX_NO_VECTOR);
	}
	start();
}
END_TEST

START_TEST(test_vpci_queue_enable_only_by_1)
{
	fake_guest_select(&g, 0);
	wr(g.common + COMMON(queue_enable), 2, 2);
	wr(g.common + COMMON(queue_enable), 2, 0xffff);
	ck_assert(!fake_guest_queue_ready(&g, 0));
	fake_guest_enable(&g, 0);
	wr(g.common + COMMON(queue_enable), 2, 0);
	ck_assert(fake_guest_queue_ready(&g, 0));
	fake_guest_set_status(&g, 0);
	ck_assert(!fake_guest_queue_ready(&g, 0));
}
END_TEST

START_TEST(test_vpci_queue_registers_after_driver_ok_frozen)
{
	struct vq_regs before, after;

	start();
	vdev_queue(&dev.v, 1, &before);
	fake_guest_select(&g, 1);
	wr(g.common + COMMON(queue_size), 2, 0x8000);
	wr(g.common + COMMON(queue_size), 2, 2);
	for (unsigned off = COMMON(queue_desc_lo); off < 56; off += 8)
		wr(g.common + off, 8, UINT64_MAX);
	vdev_queue(&dev.v, 1, &after);
	ck_assert_mem_eq(&before, &after, sizeof(before));
}
END_TEST

START_TEST(test_vpci_features)
{
	ck_assert_uint_eq(fake_guest_features(&g) & V1, V1);
	wr(g.common + COMMON(device_feature_select), 4, 77);
	ck_assert_uint_eq(rd(g.common + COMMON(device_feature_select), 4), 77);
	ck_assert_uint_eq(rd(g.common + COMMON(device_feature), 4), 0);
	ck_assert(!fake_guest_negotiate(&g, V1 | 8));
	fake_guest_set_status(&g, 0);
	fake_guest_ack(&g, V1);
	ck_assert_uint_eq(rd(g.common + COMMON(guest_feature_select), 4), 1);
	ck_assert_uint_eq(rd(g.common + COMMON(guest_feature), 4), 1);
}
END_TEST

START_TEST(test_vpci_device_config)
{
	uint8_t gen = (uint8_t)rd(g.common + COMMON(config_generation), 1);

	wr(g.device, 4, 0x44332211);
	wr(g.device + 4, 1, 0x55);
	wr(g.device + 4, 2, 0xffff); /* over the end */
	ck_assert_uint_eq(rd(g.device, 8), 0x5544332211);
	ck_assert_uint_eq(rd(g.device + 1, 2), 0x3322);
	ck_assert_uint_eq(rd(g.device + 5, 4), 0);
	vdev_config_changed(&dev.v);
	ck_assert_uint_eq(rd(g.common + COMMON(config_generation), 1), (uint8_t)(gen + 1));
}
END_TEST

/* ---- ISR and vectors ---------------------------------------------------------------------- */

START_TEST(test_vpci_isr_clears_on_read)
{
	start();
	use_buffer(0);
	ck_assert_uint_eq(fake_guest_isr(&g), 1);
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
	vdev_config_changed(&dev.v);
	use_buffer(0);
	ck_assert_uint_eq(fake_guest_isr(&g), 3);
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
}
END_TEST

START_TEST(test_vpci_vectors_deliver)
{
	set_up_vectors();
	start();
	use_buffer(1);
	ck_assert(msis(0) == 0 && msis(1) == 1 && msis(2) == 0 && msis(3) == 0);
	vdev_config_changed(&dev.v);
	ck_assert(msis(3) == 1 && msis(1) == 1);
}
END_TEST

START_TEST(test_vpci_back_end_signals_without_us)
{
	dev.vhost = 5;
	set_up_vectors();
	start();
	eventfd_write(dev.call_fd[2], 1);
	ck_assert(msis(2) == 1 && msis(0) == 0);
	ck_assert_uint_eq(fake_loop_turn(loop), 0);
}
END_TEST

START_TEST(test_vpci_masked_vector_pends)
{
	gpa_t control = g.bar[1] + g.table + 16 + 12;

	set_up_vectors();
	start();
	fake_guest_write(&g, control, 4, 1);
	use_buffer(1);
	use_buffer(1);
	ck_assert_uint_eq(msis(1), 0);
	ck_assert_uint_eq(fake_guest_read(&g, g.bar[1] + g.pba, 8), 1 << 1);
	fake_guest_write(&g, control, 4, 0);
	ck_assert_uint_eq(msis(1), 1);
	ck_assert_uint_eq(fake_guest_read(&g, g.bar[1] + g.pba, 8), 0);
}
END_TEST

START_TEST(test_vpci_no_bus_master_no_message)
{
	set_up_vectors();
	start();
	fake_cfg_write(&g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	use_buffer(0);
	ck_assert_uint_eq(msis(0), 0);
	fake_cfg_write(&g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ck_assert_uint_eq(msis(0), 1);
}
END_TEST

START_TEST(test_vpci_vector_out_of_range_refused)
{
	static const uint16_t bad[] = { QUEUES + 1, 0x7ff, 0x800, 0xfffe, 0xffff };

	set_up_vectors();
	start();
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_uint_eq(fake_guest_bind(&g, 0, bad[i]), MSIX_NO_VECTOR);
		ck_assert_uint_eq(fake_guest_bind_config(&g, bad[i]), MSIX_NO_VECTOR);
		use_buffer(0); /* goes nowhere */
		vdev_config_changed(&dev.v);
	}
	fake_kvm_pump(hyp);
	for (unsigned v = 0; v < g.nvec; v++)
		ck_assert_uint_eq(msis(v), 0);
}
END_TEST

START_TEST(test_vpci_shared_vector)
{
	set_up_vectors();
	for (unsigned q = 0; q < QUEUES; q++)
		fake_guest_bind(&g, q, 1);
	start();
	use_buffer(0);
	ck_assert_uint_eq(msis(1), 1);
	use_buffer(2);
	ck_assert_uint_eq(msis(1), 2);
}
END_TEST

/* A reset unbinds vectors and forgets signals; the table and its control are PCI state and stay. */
START_TEST(test_vpci_reset_clears_vectors_and_isr)
{
	set_up_vectors();
	dev.late = true;
	start();
	fake_guest_write(&g, g.bar[1] + g.table + 12, 4, 1); /* mask: its signals pend */
	use_buffer(0);
	fake_guest_set_status(&g, 0);
	dev.late = false;
	ck_assert_uint_eq(fake_guest_isr(&g), 0);
	ck_assert_uint_eq(fake_guest_read(&g, g.bar[1] + g.pba, 8), 0);
	ck_assert_uint_eq(rd(g.common + COMMON(msix_config), 2), MSIX_NO_VECTOR);
	fake_guest_select(&g, 0);
	ck_assert_uint_eq(rd(g.common + COMMON(queue_msix_vector), 2), MSIX_NO_VECTOR);
	ck_assert_uint_eq(fake_cfg_read(&g, g.msix + 2, 2) & 0xc000, 0x8000);
	ck_assert_uint_eq(fake_guest_read(&g, g.bar[1] + g.table + 8, 4), EVENT);
	ck_assert_uint_eq(fake_kvm_nr_irqfds(hyp), 0);

	uint64_t before = msis(0) + msis(1) + msis(2);
	set_up_vectors();
	start();
	ck_assert_uint_eq(msis(0) + msis(1) + msis(2), before);
	use_buffer(0);
	ck_assert_uint_eq(msis(0) + msis(1) + msis(2), before + 1);
}
END_TEST

START_TEST(test_vpci_routes_fail_masked_until_next_sync)
{
	fake_kvm_fail(hyp, FAKE_SET_ROUTES, 1, -ENOMEM);
	fake_msix_control(&g, true, false);
	fake_msix_entry(&g, 0, EVENT, false);
	fake_guest_bind(&g, 0, 0); /* the commit fails */
	start();                   /* and is tried again */
	use_buffer(0);
	ck_assert_uint_eq(msis(0), 1);
}
END_TEST

/* What Linux does at unbind: zero messages while enabled, NO_VECTOR, mask, disable. */
START_TEST(test_vpci_unbind_as_linux_does)
{
	for (unsigned life = 0; life < 5; life++) {
		set_up_vectors();
		start();
		use_buffer(1);
		fake_guest_set_status(&g, 0);
		for (unsigned v = 0; v < g.nvec; v++) {
			gpa_t e = g.bar[1] + g.table + 16 * v;

			fake_guest_write(&g, e + 12, 4, 1);
			for (unsigned w = 0; w < 12; w += 4)
				fake_guest_write(&g, e + w, 4, 0);
		}
		fake_guest_bind_config(&g, MSIX_NO_VECTOR);
		fake_msix_control(&g, false, false);
		ck_assert_uint_eq(msis(1), life + 1);
		for (unsigned q = 0; q < QUEUES; q++)
			fake_ring_init(&rings[q], mem, rings[q].desc, MAX);
	}
}
END_TEST

/* ---- doorbells ---------------------------------------------------------------------------- */

static bool bell_at(gpa_t bar, unsigned q)
{
	return fake_kvm_guest_write(hyp, bar + g.notify + g.notify_mult * q, 2, q);
}

START_TEST(test_vpci_doorbells_while_running)
{
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	start();
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), QUEUES);
	fake_loop_turn(loop);
	memset(dev.kicks, 0, sizeof(dev.kicks));
	ck_assert(bell_at(g.bar[0], 1));
	wr(g.notify + 2 * g.notify_mult, 4, 2); /* another width: an exit */
	wr(g.notify + QUEUES * g.notify_mult, 2, QUEUES);
	wr(g.notify + 1, 2, 0);
	fake_loop_turn(loop);
	ck_assert(!dev.kicks[0] && dev.kicks[1] == 1 && dev.kicks[2] == 1);
	fake_guest_set_status(&g, 0);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
}
END_TEST

START_TEST(test_vpci_doorbells_follow_bar)
{
	gpa_t to = WIN + 0x100000;

	start();
	fake_cfg_write(&g, PCI_BASE_ADDRESS_0, 4, (uint32_t)to);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), QUEUES);
	for (unsigned q = 0; q < QUEUES; q++)
		ck_assert(bell_at(to, q) && !bell_at(g.bar[0], q));
	fake_cfg_write(&g, PCI_BASE_ADDRESS_0, 4, 0x40000000); /* on RAM: nowhere */
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	fake_cfg_write(&g, PCI_BASE_ADDRESS_0, 4, (uint32_t)g.bar[1] & ~0x7fffu); /* on BAR 1 */
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	fake_cfg_write(&g, PCI_BASE_ADDRESS_0, 4, (uint32_t)g.bar[0]);
	ck_assert(bell_at(g.bar[0], 0));
	ck_assert_uint_eq(fake_guest_status(&g), OK);
}
END_TEST

START_TEST(test_vpci_decode_off_no_hits_no_doorbells)
{
	start();
	fake_cfg_write(&g, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	ck_assert_uint_eq(rd(g.common, 4), UINT32_MAX);
	ck_assert_uint_eq(fake_guest_read(&g, g.bar[1], 4), UINT32_MAX);
	fake_cfg_write(&g, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), QUEUES);
	ck_assert_uint_eq(fake_guest_status(&g), OK);
}
END_TEST

START_TEST(test_vpci_doorbell_refused_kicks_exit)
{
	fake_kvm_fail(hyp, FAKE_IOEVENTFD_ATTACH, 2, -ENOSPC);
	start();
	fake_loop_turn(loop);
	memset(dev.kicks, 0, sizeof(dev.kicks));
	for (unsigned q = 0; q < QUEUES; q++)
		fake_guest_kick(&g, q);
	fake_loop_turn(loop);
	ck_assert(dev.kicks[0] == 1 && dev.kicks[1] == 1 && dev.kicks[2] == 1);
}
END_TEST

/* ---- the PCI_CFG window ------------------------------------------------------------------- */

static void point(unsigned bar, uint32_t off, uint32_t len)
{
	fake_cfg_write(&g, g.window + 4, 1, bar);
	fake_cfg_write(&g, g.window + 8, 4, off);
	fake_cfg_write(&g, g.window + 12, 4, len);
}

static uint32_t window_read(unsigned bar, uint32_t off, uint32_t len)
{
	point(bar, off, len);
	return fake_cfg_read(&g, g.window + 16, len == 1 || len == 2 ? len : 4);
}

static void window_write(unsigned bar, uint32_t off, uint32_t len, uint32_t val)
{
	point(bar, off, len);
	fake_cfg_write(&g, g.window + 16, len == 1 || len == 2 ? len : 4, val);
}

START_TEST(test_vpci_window_works_without_decode)
{
	fake_cfg_write(&g, PCI_COMMAND, 2, 0);
	ck_assert_uint_eq(window_read(0, g.common + COMMON(num_queues), 2), QUEUES);
	window_write(0, g.common + COMMON(device_status), 1, 1);
	ck_assert_uint_eq(window_read(0, g.common + COMMON(device_status), 1), 1);
	window_write(1, g.table + 8, 4, 0x12345678);
	ck_assert_uint_eq(window_read(1, g.table + 8, 4), 0x12345678);
	window_write(0, g.common + COMMON(device_status), 1, 0);
	ck_assert_uint_eq(dev.v.status, 0);
}
END_TEST

START_TEST(test_vpci_window_out_of_range_all_ones)
{
	static const struct { unsigned bar; uint32_t off, len; } bad[] = {
		{ 2, 0, 4 }, { 5, 0, 1 }, { 6, 0, 4 }, { 0xff, 0, 4 }, { 0, 0x8000, 1 }, { 0, 0x7ffe, 4 },
		{ 0, UINT32_MAX, 1 }, { 0, 0xfffffffc, 4 }, { 0, 1, 2 }, { 0, 2, 4 }, { 0, 0, 0 }, { 0, 0, 3 },
		{ 0, 0, 8 }, { 0, 0, UINT32_MAX }, { 1, 0x10000, 4 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		point(bad[i].bar, bad[i].off, bad[i].len);
		fake_cfg_write(&g, g.window + 16, 4, 0);
		ck_assert_uint_eq(fake_cfg_read(&g, g.window + 16, 4), UINT32_MAX);
	}
	start();
}
END_TEST

START_TEST(test_vpci_window_kicks_and_starts)
{
	ck_assert(fake_guest_negotiate(&g, V1));
	fake_guest_queue(&g, 0, &rings[0]);
	fake_guest_enable(&g, 0);
	window_write(0, g.common + COMMON(device_status), 1, OK);
	ck_assert(dev.v.active);
	fake_loop_turn(loop);
	memset(dev.kicks, 0, sizeof(dev.kicks));
	window_write(0, g.notify, 2, 0);
	fake_loop_turn(loop);
	ck_assert_uint_eq(dev.kicks[0], 1);
}
END_TEST

/* ---- life --------------------------------------------------------------------------------- */

START_TEST(test_vpci_reset_in_each_state)
{
	static const uint8_t walk[] = { 1, 3, 11, 15 };

	set_up_vectors();
	for (unsigned n = 0; n <= 4; n++) {
		fake_guest_ack(&g, V1);
		fake_guest_queue(&g, 0, &rings[0]);
		fake_guest_enable(&g, 0);
		for (unsigned i = 0; i < n; i++)
			fake_guest_set_status(&g, walk[i]);
		fake_guest_set_status(&g, 0);
		ck_assert_uint_eq(fake_guest_status(&g), 0);
		ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
		ck_assert_uint_eq(fake_guest_queue_max(&g, 0), MAX);
	}
	ck_assert_uint_eq(dev.resets, 1);
	start();
}
END_TEST

START_TEST(test_vpci_activation_fails_config_vector)
{
	set_up_vectors();
	dev.activate_error = -EMFILE;
	ck_assert(!fake_guest_start(&g, V1, rings, 1));
	ck_assert_uint_eq(fake_guest_status(&g), OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(msis(3), 1);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), 0);
	dev.activate_error = 0;
	fake_guest_set_status(&g, 0);
	start();
}
END_TEST

START_TEST(test_vpci_double_driver_ok)
{
	start();
	fake_guest_set_status(&g, OK);
	ck_assert_uint_eq(dev.activations, 1);
	ck_assert_uint_eq(fake_kvm_nr_ioeventfds(hyp), QUEUES);
}
END_TEST

START_TEST(test_vpci_new_on_taken_rid_fails_clean)
{
	static struct device second;
	struct vdev_cfg vc = { .ops = &ops, .name = "test1", .type = 4, .nr_queues = 1, .queue_size = MAX,
			       .loop = loop, .mem = mem };
	struct virtio_pci_cfg pc = { .vdev = &second.v, .host = host, .hyp = hyp, .space = space, .rid = RID };
	struct virtio_pci *t = NULL;
	struct fake_guest g2;

	memset(&second, 0, sizeof(second));
	ck_assert_int_eq(vdev_init(&second.v, &vc), 0);
	ck_assert_int_eq(virtio_pci_new(&pc, &t), -EEXIST);
	ck_assert_ptr_null(t);
	pc.rid = RID + 8;
	ck_assert_int_eq(virtio_pci_new(&pc, &t), 0);
	ck_assert(fake_guest_pci(&g2, bus, hyp, ECAM, RID + 8));
	ck_assert_uint_eq(g2.device_len, 0); /* no configuration, no structure */
	ck_assert_uint_eq(fake_cfg_read(&g2, PCI_DEVICE_ID, 2), 0x1044);
	virtio_pci_free(t);
	vdev_free(&second.v);
	virtio_pci_free(NULL);
}
END_TEST

/* Random accesses to everything that is there, then the driver's ordinary work. */
START_TEST(test_vpci_random_accesses_then_heals)
{
	static const unsigned lens[] = { 1, 2, 4, 8 };

	srand((unsigned)_i);
	for (unsigned n = 0; n < 60000; n++) {
		unsigned len = lens[rand() & 3], off = (unsigned)rand() % 128;
		uint64_t val = rand() & 1 ? (uint64_t)(rand() & 15) : (uint64_t)rand() << 32 | (uint64_t)rand();

		val &= width_mask(len);
		switch (rand() % 8) {
		case 0:
		case 1:
			fake_cfg_write(&g, 0x40 + off, len & 7, (uint32_t)val);
			break;
		case 2:
			fake_cfg_write(&g, off % 0x40, len & 7, rand() & 1 ? (uint32_t)val : (uint32_t)(WIN + (val << 12)));
			break;
		case 3:
			fake_guest_write(&g, g.bar[1] + off, len, rand() & 1 ? val : FAKE_TRANSLATER);
			break;
		default:
			wr((unsigned[]){ g.common, g.common, g.device, g.notify }[rand() & 3] + off, len, val);
		}
		if (n % 64 == 0) {
			fake_loop_turn(loop);
			fake_kvm_pump(hyp);
		}
		if (n % 256 == 0) { /* otherwise decoding is off most of the time */
			fake_guest_map_bars(&g, WIN);
			fake_guest_ack(&g, V1);
		}
	}
	fake_msix_control(&g, false, false);
	fake_guest_map_bars(&g, WIN);
	fake_guest_set_status(&g, 0);
	ck_assert_uint_eq(fake_guest_status(&g), 0);
	set_up_vectors();
	start();
	use_buffer(1);
	ck_assert_uint_ge(msis(1), 1);
}
END_TEST

/* A vCPU masks and unmasks while the device signals: exactly nothing is lost. */
static void *signaller(void *arg)
{
	for (unsigned i = 0; i < 2000; i++)
		dev.v.irq->queue(dev.v.irq_ctx, 1);
	return arg;
}

START_TEST(test_vpci_mask_under_signals)
{
	gpa_t control = g.bar[1] + g.table + 16 + 12;
	pthread_t th;

	set_up_vectors();
	start();
	fake_kvm_start_thread(hyp);
	pthread_create(&th, NULL, signaller, NULL);
	for (unsigned i = 0; i < 200; i++) {
		fake_guest_write(&g, control, 4, 1);
		fake_guest_isr(&g);
		fake_guest_write(&g, control, 4, 0);
	}
	pthread_join(th, NULL);
	fake_kvm_stop_thread(hyp);
	ck_assert_uint_ge(msis(1), 1);
	ck_assert_uint_eq(fake_kvm_lost(hyp), 0);
}
END_TEST

/* ---- views -------------------------------------------------------------------------------- */

/* Is @gpa read without an exit? Then @ret_val is what the guest sees. */
static bool seen(gpa_t gpa, unsigned len, uint64_t *ret_val)
{
	return fake_kvm_guest_read(hyp, gpa, len, ret_val);
}

static const gpa_t config = ECAM + (RID << 12);

START_TEST(test_vpci_views_from_the_first_read_on)
{
	uint64_t val;

	/* fake_guest_pci() has read the configuration space, nobody BAR 0 */
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), with_views);
	ck_assert_int_eq(seen(config, 4, &val), with_views);
	ck_assert(!seen(g.bar[0], 4, &val));
	ck_assert_uint_eq(rd(g.common + COMMON(num_queues), 2), QUEUES);
	ck_assert_uint_eq(fake_kvm_nr_slots(hyp), 2 * with_views);
	ck_assert_int_eq(seen(g.bar[0], 4, &val), with_views);
	ck_assert(!seen(g.bar[0] + g.isr, 1, &val));
	ck_assert(!seen(g.bar[0] + g.notify, 2, &val));
	ck_assert(!seen(g.bar[1] + g.table, 4, &val));
}
END_TEST

/* Nothing but registers is in the pages: zeroes elsewhere. */
START_TEST(test_vpci_views_hold_registers_only)
{
	uint64_t val = 0;

	rd(g.common, 4);
	for (unsigned off = 0; with_views && off < VIEW_SIZE; off += 4) {
		ck_assert(seen(config + off, 4, &val));
		if (off >= PCI_CFG_SIZE)
			ck_assert_uint_eq(val, 0);
		ck_assert(seen(g.bar[0] + off, 4, &val));
		if (off >= g.device + align_up(g.device_len, 4) || (off >= g.common + 56 && off < g.device))
			ck_assert_uint_eq(val, 0);
	}
}
END_TEST

/* All registers that the bus would give, after each write of a whole life: the views agree. */
static void check_views(void)
{
	static const struct { unsigned off, len; } f[] = {
		{ COMMON(device_feature_select), 4 }, { COMMON(device_feature), 4 },
		{ COMMON(guest_feature_select), 4 },  { COMMON(guest_feature), 4 },
		{ COMMON(msix_config), 2 },           { COMMON(num_queues), 2 },
		{ COMMON(device_status), 1 },         { COMMON(config_generation), 1 },
		{ COMMON(queue_select), 2 },          { COMMON(queue_size), 2 },
		{ COMMON(queue_msix_vector), 2 },     { COMMON(queue_enable), 2 },
		{ COMMON(queue_notify_off), 2 },      { COMMON(queue_desc_lo), 8 },
		{ COMMON(queue_avail_lo), 8 },        { COMMON(queue_used_lo), 8 },
	};
	uint64_t val;

	for (unsigned i = 0; i < ARRAY_LEN(f); i++) {
		ck_assert_int_eq(seen(g.bar[0] + g.common + f[i].off, f[i].len, &val), with_views);
		if (with_views)
			ck_assert_uint_eq(val, bus_read(bus, g.bar[0] + g.common + f[i].off, f[i].len));
	}
	for (unsigned i = 0; i < g.device_len && with_views; i++) {
		ck_assert(seen(g.bar[0] + g.device + i, 1, &val));
		ck_assert_uint_eq(val, bus_read(bus, g.bar[0] + g.device + i, 1));
	}
	for (unsigned i = 0; i < PCI_CFG_SIZE && with_views; i += 4) {
		ck_assert(seen(config + i, 4, &val));
		ck_assert_uint_eq(val, bus_read(bus, config + i, 4));
	}
}

START_TEST(test_vpci_views_follow_each_write)
{
	rd(g.common, 4);
	check_views();
	set_up_vectors();
	check_views();
	for (unsigned i = 0; i < 3; i++) {
		wr(g.common + COMMON(device_feature_select), 4, i);
		wr(g.common + COMMON(guest_feature_select), 4, i);
		check_views();
	}
	ck_assert(fake_guest_negotiate(&g, V1));
	check_views();
	for (unsigned q = 0; q < QUEUES; q++) {
		fake_guest_queue(&g, q, &rings[q]);
		check_views();
		fake_guest_enable(&g, q);
		check_views();
	}
	fake_guest_set_status(&g, OK);
	check_views();
	wr(g.device, 4, 0xa5a5a5a5);
	check_views();
	ck_assert_uint_eq(rd(g.device, 4), 0xa5a5a5a5);
	fake_guest_set_status(&g, 0);
	check_views();
	ck_assert_uint_eq(fake_guest_status(&g), 0);
}
END_TEST

START_TEST(test_vpci_view_follows_bar)
{
	gpa_t old = g.bar[0], new = WIN + 0x100000;
	uint64_t val;

	start();
	fake_cfg_write(&g, PCI_BASE_ADDRESS_0, 4, (uint32_t)new);
	g.bar[0] = new;
	ck_assert(!seen(old, 4, &val));
	check_views();
	fake_cfg_write(&g, PCI_COMMAND, 2, 0);
	ck_assert(!seen(new, 4, &val));
	ck_assert_uint_eq(rd(g.common, 4), UINT32_MAX);
	fake_cfg_write(&g, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	check_views();
}
END_TEST

/* Its data is read with side effects, so configuration space goes back to exits, for good. */
START_TEST(test_vpci_view_gone_before_window_opens)
{
	uint64_t val;

	ck_assert_uint_eq(fake_cfg_read(&g, g.window + 16, 4), UINT32_MAX);
	ck_assert_int_eq(seen(config, 4, &val), with_views);
	fake_cfg_write(&g, g.window + 4, 1, 0);
	ck_assert(!seen(config, 4, &val));
	ck_assert_uint_eq(window_read(0, g.common + COMMON(num_queues), 2), QUEUES);
	wr(g.common + COMMON(queue_select), 2, 1);
	ck_assert_uint_eq(window_read(0, g.common + COMMON(queue_select), 2), 1);
	ck_assert(!seen(config, 4, &val));
	ck_assert_uint_eq(fake_cfg_read(&g, PCI_VENDOR_ID, 4), 0x10411af4);
}
END_TEST

/* What the device changes by itself is read by exits, the generation among it. */
START_TEST(test_vpci_view_gone_when_the_device_speaks)
{
	uint64_t val;
	uint8_t gen;

	start();
	gen = (uint8_t)rd(g.common + COMMON(config_generation), 1);
	ck_assert_int_eq(seen(g.bar[0], 4, &val), with_views);
	dev.config[0] ^= 0xff;
	vdev_config_changed(&dev.v);
	ck_assert(!seen(g.bar[0], 4, &val));
	ck_assert_uint_ne(rd(g.common + COMMON(config_generation), 1), gen);
	ck_assert_uint_eq(rd(g.device, 1), dev.config[0]);
	fake_guest_set_status(&g, 0);
	ck_assert(!seen(g.bar[0], 4, &val));
	ck_assert_uint_eq(fake_guest_status(&g), 0);
}
END_TEST

START_TEST(test_vpci_view_shows_needs_reset)
{
	start();
	rd(g.common, 4);
	vdev_fault(&dev.v, 1, "test");
	ck_assert_uint_eq(fake_guest_status(&g), OK | VIRTIO_CONFIG_S_NEEDS_RESET);
}
END_TEST

START_TEST(test_vpci_view_refused_reads_exit)
{
	fake_kvm_fail(hyp, FAKE_SET_MEMORY, 1, -ENOMEM);
	ck_assert_uint_eq(rd(g.common + COMMON(num_queues), 2), QUEUES);
	start();
	ck_assert_uint_eq(fake_guest_status(&g), OK);
}
END_TEST

static void add_views(TCase *t)
{
	tcase_add_test(t, test_vpci_views_from_the_first_read_on);
	tcase_add_test(t, test_vpci_views_hold_registers_only);
	tcase_add_test(t, test_vpci_views_follow_each_write);
	tcase_add_test(t, test_vpci_view_follows_bar);
	tcase_add_test(t, test_vpci_view_gone_before_window_opens);
	tcase_add_test(t, test_vpci_view_gone_when_the_device_speaks);
	tcase_add_test(t, test_vpci_view_shows_needs_reset);
	tcase_add_test(t, test_vpci_view_refused_reads_exit);
}

static void add_structures(TCase *t)
{
	tcase_add_test(t, test_vpci_identity);
	tcase_add_test(t, test_vpci_structures_apart);
	tcase_add_test(t, test_vpci_sweep);
	tcase_add_test(t, test_vpci_wrong_width_all_ones_and_ignored);
	tcase_add_test(t, test_vpci_addresses_whole_and_in_halves);
	tcase_add_test(t, test_vpci_no_such_queue);
	tcase_add_test(t, test_vpci_queue_enable_only_by_1);
	tcase_add_test(t, test_vpci_queue_registers_after_driver_ok_frozen);
	tcase_add_test(t, test_vpci_features);
	tcase_add_test(t, test_vpci_device_config);
	tcase_add_test(t, test_vpci_window_works_without_decode);
	tcase_add_test(t, test_vpci_window_out_of_range_all_ones);
	tcase_add_test(t, test_vpci_window_kicks_and_starts);
}

static void add_interrupts(TCase *t)
{
	tcase_add_test(t, test_vpci_isr_clears_on_read);
	tcase_add_test(t, test_vpci_vectors_deliver);
	tcase_add_test(t, test_vpci_back_end_signals_without_us);
	tcase_add_test(t, test_vpci_masked_vector_pends);
	tcase_add_test(t, test_vpci_no_bus_master_no_message);
	tcase_add_test(t, test_vpci_vector_out_of_range_refused);
	tcase_add_test(t, test_vpci_shared_vector);
	tcase_add_test(t, test_vpci_reset_clears_vectors_and_isr);
	tcase_add_test(t, test_vpci_routes_fail_masked_until_next_sync);
	tcase_add_test(t, test_vpci_unbind_as_linux_does);
	tcase_add_test(t, test_vpci_mask_under_signals);
}

static void add_life(TCase *t)
{
	tcase_add_test(t, test_vpci_doorbells_while_running);
	tcase_add_test(t, test_vpci_doorbells_follow_bar);
	tcase_add_test(t, test_vpci_decode_off_no_hits_no_doorbells);
	tcase_add_test(t, test_vpci_doorbell_refused_kicks_exit);
	tcase_add_test(t, test_vpci_reset_in_each_state);
	tcase_add_test(t, test_vpci_activation_fails_config_vector);
	tcase_add_test(t, test_vpci_double_driver_ok);
	tcase_add_test(t, test_vpci_new_on_taken_rid_fails_clean);
	tcase_add_loop_test(t, test_vpci_random_accesses_then_heals, 1, 4);
}

int main(void)
{
	void (*const groups[])(TCase *) = { add_structures, add_interrupts, add_life, add_views };
	Suite *s = suite_create("virtio_pci");
	SRunner *sr;
	int failed;

	for (unsigned i = 0; i < 2 * ARRAY_LEN(groups); i++) {
		bool views = i >= ARRAY_LEN(groups);
		TCase *t = tcase_create(views ? "with views" : "without views");

		tcase_add_checked_fixture(t, views ? setup_with_views : setup, teardown);
		tcase_set_timeout(t, 120);
		groups[i % ARRAY_LEN(groups)](t);
		suite_add_tcase(s, t);
	}
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
