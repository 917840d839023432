/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices get their places in the order of the command line: the n-th virtio-mmio device the
 * n-th window and SPI, the n-th PCI device the n-th function. A device that is added at the
 * end of the line moves none of the others.
 *
 * Messages (MSI) want an ITS or a v2m frame. The frame is ours, so it can stand beside a GICv2 as
 * well as beside a GICv3 without an ITS, where Linux looks for one too. It is made where a PCI
 * device needs it, and its SPIs lie behind those of all other devices.
 *
 * Steal time needs memory that KVM can write and the guest's system leaves alone. It comes out
 * of the end of RAM, so that it costs no memory slot; the device tree does not mention it.
 */
#include <assert.h>
#include <errno.h>

#include "arch/arm64/gic.h"
#include "arch/arm64/layout.h"
#include "devices/panic/pvpanic.h"
#include "devices/pci/host.h"
#include "devices/virtio/virtio_mmio.h"
#include "devices/watchdog/sp805.h"
#include "vmm/core/kvm.h"
#include "vmm/machine/plan.h"

#define MIN_IPA_BITS 32    /* the least that KVM makes */
/*
 * With up to 34 bits KVM saves a level of the second stage's tables, and joins up to 16 tables for
 * it, each entry of which it looks at when the VM ends: for a short life that costs more.
 */
#define BEST_IPA_BITS 36
#define PAGE (4 * KIB)
#define STEAL_RECORD 64    /* bytes a CPU: Arm DEN0057, s3.2.2 */
#define BEHIND_RAM (2 * PLAN_STEAL_SIZE) /* at most: the records, and what aligns them */
#define MIN_PCI_MEM64 (16 * MIB)
#define PCI_SLOTS 32       /* of a bus; 0 stays free, as host bridges sit there elsewhere */
#define PCI_FUNCTIONS 8    /* of a slot */
#define MAX_DISK_QUEUES 4
#define PMEM_STEP (512 * MIB) /* of images: the largest section that Linux keeps books of memory by */

static_assert(CONFIG_MAX_CPUS == LAYOUT_MAX_CPUS, "one limit");
static_assert(LAYOUT_GICR + LAYOUT_MAX_CPUS * LAYOUT_GICR_STEP <= LAYOUT_ECAM, "redistributors end below the ECAM");
static_assert(LAYOUT_MAX_CPUS * STEAL_RECORD <= PLAN_STEAL_SIZE, "steal time records fit");
static_assert(FIRST_SPI + LAYOUT_SPI_VMMIO + CONFIG_MAX_DEVICES <= GIC_MAX_IRQS, "an SPI for every device");
static_assert(LAYOUT_SPI_VMMIO + CONFIG_MAX_DEVICES <= LAYOUT_SPI_V2M, "the frame's SPIs are nobody else's");
static_assert(LAYOUT_V2M + 64 * KIB <= LAYOUT_GICR && LAYOUT_ITS + LAYOUT_ITS_SIZE <= LAYOUT_V2M, "the GIC's windows");
static_assert(CONFIG_MAX_DEVICES <= (PCI_SLOTS - 1) * PCI_FUNCTIONS, "a function for every device");
static_assert(VIRTIO_MMIO_SIZE == LAYOUT_VMMIO_SIZE && LAYOUT_VMMIO_SIZE <= LAYOUT_VMMIO_STEP, "what the tree says");
static_assert(SP805_HZ == LAYOUT_CLOCK_HZ, "what the tree says");
static_assert(PVPANIC_SIZE == LAYOUT_PVPANIC_SIZE, "what the tree says");
static_assert(PCI_ECAM_SIZE == LAYOUT_ECAM_SIZE, "what the tree says");
static_assert(LAYOUT_VMMIO + CONFIG_MAX_DEVICES * LAYOUT_VMMIO_STEP <= LAYOUT_GICD, "a window for every device");

static unsigned long long mib(uint64_t bytes)
{
	return bytes >> 20;
}

/* The smallest power of two that holds @bytes of BARs, each a power of two, at places that suit it. */
static uint64_t window_size(uint64_t bytes)
{
	uint64_t size = MIN_PCI_MEM64;

	while (size < bytes)
		size *= 2;
	return size;
}

/* Behind RAM, which lies below 2^63 as does the window. */
static gpa_t window_at(uint64_t memory, uint64_t size)
{
	gpa_t end = LAYOUT_RAM + memory + BEHIND_RAM;

	return align_up(end > LAYOUT_PCI_MEM64_MIN ? end : LAYOUT_PCI_MEM64_MIN, size);
}

uint64_t plan_pmem(const uint64_t *sizes, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; sizes && i < n; i++) {
		uint64_t size = sizes[i] > BIT64(62) ? BIT64(62) : align_up(sizes[i], PMEM_STEP);

		sum = sum > UINT64_MAX - size ? UINT64_MAX : sum + size;
	}
	return sum;
}

/* The end of RAM, and of the window behind it. */
static gpa_t end_of(uint64_t memory, uint64_t pci_mem64)
{
	uint64_t size = window_size(pci_mem64);

	return pci_mem64 ? window_at(memory, size) + size : LAYOUT_RAM + memory + BEHIND_RAM;
}

static int check_pmem(uint64_t at, uint64_t pmem, uint64_t limit, unsigned max_ipa_bits, struct err *err)
{
	return at > limit || pmem > limit - at ? err_set(err, -EFBIG,
		"pmem: images of %llu MiB behind what ends at %llu MiB are more than this host's guest addresses of %u bits can hold",
		mib(pmem), mib(at), max_ipa_bits) : 0;
}

int plan_ipa_bits(uint64_t memory, uint64_t pci_mem64, uint64_t pmem, unsigned max_ipa_bits, unsigned *ret_bits, struct err *err)
{
	unsigned max = max_ipa_bits < 63 ? max_ipa_bits : 63;
	uint64_t limit = BIT64(max), top;
	unsigned bits = MIN_IPA_BITS;
	int r;

	if (limit <= LAYOUT_RAM + BEHIND_RAM || memory > limit - LAYOUT_RAM - BEHIND_RAM)
		return err_set(err, -EFBIG,
			       "memory: %llu MiB is more than this host's guest addresses of %u bits can hold "
			       "(--memory: at most %lluM)",
			       mib(memory), max_ipa_bits, limit <= LAYOUT_RAM + BEHIND_RAM ? 0 : mib(limit - LAYOUT_RAM - BEHIND_RAM));
	if (pci_mem64 > limit / 4 || (pci_mem64 && window_at(memory, window_size(pci_mem64)) > limit - window_size(pci_mem64)))
		return err_set(err, -EFBIG,
			       "vfio: BARs of %llu MiB behind %llu MiB of memory are more than this host's guest addresses of "
			       "%u bits can hold", mib(pci_mem64), mib(memory), max_ipa_bits);
	top = end_of(memory, pci_mem64);
	if (pmem) {
		gpa_t at = align_up(top, PMEM_STEP);

		r = check_pmem(at, pmem, limit, max_ipa_bits, err);
		if (r)
			return r;
		top = at + pmem;
	}
	while (BIT64(bits) < top)
		bits++;
	if (bits < BEST_IPA_BITS)
		bits = max < BEST_IPA_BITS ? max : BEST_IPA_BITS;
	*ret_bits = bits;
	return 0;
}

static int plan_memory(const struct config *c, const struct host_facts *h, struct plan *p, struct err *err)
{
	if (!c->memory)
		return err_set(err, -EINVAL, "memory: 0 is too little (--memory 256M, for instance)");
	if (c->memory % PAGE)
		return err_set(err, -EINVAL, "memory: %llu bytes is not a multiple of 4 KiB (--memory)",
			       (unsigned long long)c->memory);
	if (c->memory > h->max_memory)
		return err_set(err, -EFBIG,
			       "memory: %llu MiB is more than this host's memory and swap together (--memory: at most %lluM)",
			       mib(c->memory), mib(h->max_memory));
	p->ram = LAYOUT_RAM;
	p->ram_size = p->ram_usable = c->memory;
	/*
	 * Behind the guest's memory, and with it the last that is mapped: no huge page can back it. KVM
	 * reads a record before it writes it, and would get the huge zero page, only to split it.
	 */
	if (h->steal_time) {
		p->steal_size = PLAN_STEAL_SIZE;
		p->steal = align_up(p->ram + p->ram_size, PLAN_STEAL_SIZE);
		p->ram_size = p->steal + p->steal_size - p->ram;
	}
	if (h->pci_mem64 && h->pci_mem64 < BIT64(62)) {
		p->pci_mem64_size = window_size(h->pci_mem64);
		p->pci_mem64 = window_at(c->memory, p->pci_mem64_size);
	}
	return plan_ipa_bits(c->memory, h->pci_mem64, plan_pmem(h->pmem, c->nr_devices), h->max_ipa_bits, &p->ipa_bits, err);
}

static int plan_cpus(const struct config *c, const struct host_facts *h, const struct plan *p, struct err *err)
{
	unsigned max = h->max_cpus < LAYOUT_MAX_CPUS ? h->max_cpus : LAYOUT_MAX_CPUS;

	if (p->gicv2 && c->cpus > LAYOUT_MAX_CPUS_V2)
		return err_set(err, -EINVAL, "cpus: %u is more than a GICv2 can have (--cpus: at most %u)", c->cpus,
			       LAYOUT_MAX_CPUS_V2);
	if (!c->cpus)
		return err_set(err, -EINVAL, "cpus: 0 is too few (--cpus: 1 to %u)", max);
	if (c->cpus > max)
		return err_set(err, -EINVAL, "cpus: %u is more than %s can have (--cpus: at most %u)", c->cpus,
			       max < LAYOUT_MAX_CPUS ? "a VM on this host" : "a VM", max);
	return 0;
}

static int plan_irqchip(const struct config *c, const struct host_facts *h, struct plan *p, struct err *err)
{
	bool v2 = c->irqchip == IRQCHIP_GICV2 || c->irqchip == IRQCHIP_GICV2M;

	if (v2 && !h->gicv2)
		return err_set(err, -EOPNOTSUPP,
			       "irqchip: this host's KVM has no GICv2 for guests (--irqchip auto takes what there is)");
	if (c->irqchip != IRQCHIP_AUTO && !v2 && !h->gicv3)
		return err_set(err, -EOPNOTSUPP,
			       "irqchip: this host's KVM has no GICv3 (--irqchip auto takes what there is)");
	if (c->irqchip == IRQCHIP_GICV3_ITS && !h->its)
		return err_set(err, -EOPNOTSUPP,
			       "irqchip: this host's KVM has no ITS (--irqchip auto or gicv3 does without)");
	if (!h->gicv3 && !h->gicv2)
		return err_set(err, -EOPNOTSUPP, "irqchip: this host's KVM has neither a GICv3 nor a GICv2");
	p->gicv2 = v2 || !h->gicv3;
	p->its = !p->gicv2 && h->its && c->irqchip != IRQCHIP_GICV3;
	return 0;
}

/* Can devices send messages? Whoever asks for a plain GICv2 gets no frame. */
static bool has_msis(const struct config *c, const struct plan *p)
{
	return p->its || c->irqchip != IRQCHIP_GICV2;
}

const char *plan_irqchip_name(const struct plan *p)
{
	if (p->its)
		return "GICv3 with an ITS";
	if (p->gicv2)
		return p->v2m ? "GICv2 with a v2m frame" : "GICv2";
	return p->v2m ? "GICv3 with a v2m frame" : "GICv3";
}

/* A queue for each CPU, as far as one loop has use for them. */
static unsigned disk_queues(const struct config *c)
{
	return c->cpus < MAX_DISK_QUEUES ? c->cpus : MAX_DISK_QUEUES;
}

static bool has_disk_queues(const struct dev_config *d)
{
	return d->kind == DEV_DISK || (d->kind == DEV_VHOST_USER && d->vuser.kind == VUSER_KIND_BLK);
}

/* How many vectors a device on PCI may use. */
static unsigned max_vectors(const struct config *c, const struct dev_config *d)
{
	unsigned pairs = d->net.nr_fds ? d->net.nr_fds : d->net.queues;

	/* Not known yet; what it has more of stays masked. */
	if (d->kind == DEV_VFIO)
		return 32;
	/* A vector a queue, the control queue and the configuration. */
	if (d->kind == DEV_NET || d->vuser.kind == VUSER_KIND_NET)
		return 2 * pairs + 2;
	if (d->kind == DEV_STATUS) /* two of the port, two of control, and the configuration */
		return 5;
	if (d->kind == DEV_BALLOON) /* five queues and the configuration */
		return 6;
	return has_disk_queues(d) ? disk_queues(c) + 1 : 4;
}

/* Devices that find the frame used up make do with fewer vectors, or with none. */
static void plan_v2m(const struct config *c, struct plan *p)
{
	unsigned vectors = 0;

	for (unsigned i = 0; i < p->nr_devs; i++)
		if (p->devs[i].pci)
			vectors += max_vectors(c, p->devs[i].cfg);
	p->v2m = !p->its && has_msis(c, p) && (p->has_pci || c->irqchip == IRQCHIP_GICV2M);
	if (!p->v2m)
		return;
	p->v2m_spi = LAYOUT_SPI_V2M;
	p->v2m_count = (unsigned)align_up(vectors ? vectors : 1, 32);
	if (p->v2m_count > GIC_MAX_IRQS - FIRST_SPI - LAYOUT_SPI_V2M)
		p->v2m_count = GIC_MAX_IRQS - FIRST_SPI - LAYOUT_SPI_V2M;
	p->nr_irqs = FIRST_SPI + LAYOUT_SPI_V2M + p->v2m_count;
}

/*
 * Network cards, disks, file systems and sockets have queues enough to be worth vectors of their own; console and rng are
 * quiet, and over MMIO the guest probes them with fewer exits.
 */
bool plan_is_busy(enum dev_kind kind)
{
	return kind == DEV_NET || kind == DEV_DISK || kind == DEV_VSOCK || kind == DEV_VHOST_USER || kind == DEV_FS;
}

static enum transport auto_transport(enum dev_kind kind, bool msis)
{
	return plan_is_busy(kind) && msis ? TRANSPORT_PCI : TRANSPORT_MMIO;
}

static int choose_transport(const struct config *c, const struct dev_config *d, bool msis, enum transport *ret_t,
			    struct err *err)
{
	enum transport t = d->transport != TRANSPORT_AUTO ? d->transport : c->transport;

	if (d->kind == DEV_VFIO) { /* which has a line where nothing takes messages */
		*ret_t = TRANSPORT_PCI;
		return 0;
	}
	if (t == TRANSPORT_AUTO)
		t = auto_transport(d->kind, msis);
	if (t == TRANSPORT_PCI && !msis)
		return err_set(err, -EOPNOTSUPP,
			       "%s: transport=pci sends its interrupts as messages, which --irqchip gicv2 does not take "
			       "(gicv2m does, or transport=mmio)", d->id);
	if (t == TRANSPORT_PCI && d->irq_direct)
		return err_set(err, -EINVAL, "%s: irq=direct is for transport=mmio, and this device is on pci", d->id);
	*ret_t = t;
	return 0;
}

/* Slots 1 to 31 first, then second functions, and so on. */
static uint16_t nth_rid(unsigned n)
{
	unsigned slot = 1 + n % (PCI_SLOTS - 1);

	return (uint16_t)(slot * PCI_FUNCTIONS + n / (PCI_SLOTS - 1));
}

/* Behind all else, as plan_ipa_bits() has checked. */
static void plan_images(const struct config *c, const struct host_facts *h, struct plan *p)
{
	gpa_t at = align_up(end_of(c->memory, h->pci_mem64), PMEM_STEP);

	for (unsigned i = 0; h->pmem && i < c->nr_devices; i++) {
		if (!h->pmem[i])
			continue;
		p->devs[i].mem = at;
		at += align_up(h->pmem[i], PMEM_STEP);
	}
}

static int plan_devices(const struct config *c, const struct host_facts *h, struct plan *p, struct err *err)
{
	unsigned nr_pci = 0, nr_mmio = 0, nr_spis = 0;

	if (c->nr_devices > CONFIG_MAX_DEVICES)
		return err_set(err, -EINVAL, "devices: %u are too many (at most %u)", c->nr_devices, CONFIG_MAX_DEVICES);
	for (unsigned i = 0; i < c->nr_devices; i++) {
		struct plan_dev *d = &p->devs[i];
		enum transport t = TRANSPORT_AUTO;
		int rc = choose_transport(c, &c->devices[i], has_msis(c, p), &t, err);

		if (rc)
			return rc;
		d->cfg = &c->devices[i];
		d->queues = has_disk_queues(d->cfg) ? disk_queues(c) : 0;
		d->pci = t == TRANSPORT_PCI;
		if (d->pci) {
			d->rid = nth_rid(nr_pci++);
		} else {
			d->gpa = LAYOUT_VMMIO + nr_mmio++ * LAYOUT_VMMIO_STEP;
		}
		if (!d->pci || d->cfg->kind == DEV_VFIO)
			d->spi = LAYOUT_SPI_VMMIO + nr_spis++;
	}
	plan_images(c, h, p);
	p->nr_devs = c->nr_devices;
	p->has_pci = nr_pci > 0;
	p->nr_irqs = (unsigned)align_up(FIRST_SPI + LAYOUT_SPI_VMMIO + nr_spis, 32);
	if (p->nr_irqs < GIC_MIN_IRQS)
		p->nr_irqs = GIC_MIN_IRQS;
	plan_v2m(c, p);
	return 0;
}

int plan_make(const struct config *c, const struct host_facts *h, struct plan *ret_p, struct err *err)
{
	struct plan p = { 0 };
	int rc;

	rc = plan_irqchip(c, h, &p, err);
	if (!rc)
		rc = plan_cpus(c, h, &p, err);
	if (!rc)
		rc = plan_memory(c, h, &p, err);
	if (!rc)
		rc = plan_devices(c, h, &p, err);
	if (!rc)
		*ret_p = p;
	return rc;
}
