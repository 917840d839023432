// SPDX-License-Identifier: BSD-3-Clause
/*
 * Building a machine, in the order of birth: every path and descriptor is opened first
 * (machine_open()), then the VM and all that belongs to it is made (machine_build()). The
 * interrupt controller wants its own order: all vCPUs, distributor, ITS, INIT, and only
 * after it PMU, GSI table and irqfds.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "arch/arm64/fdt.h"
#include "arch/arm64/layout.h"
#include "devices/panic/pvpanic.h"
#include "devices/pci/host.h"
#include "devices/rtc/pl031.h"
#include "devices/serial/pl011.h"
#include "devices/vfio/container.h"
#include "devices/watchdog/sp805.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/log.h"
#include "vmm/base/obj.h"
#include "vmm/core/bus.h"
#include "vmm/core/gsi.h"
#include "vmm/core/irq_check.h"
#include "vmm/core/kvm.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/internal.h"

static struct machine *machine_alloc(const struct config *c, struct loop *loop)
{
	struct machine *m = obj_new(sizeof(*m));

	if (!m)
		return NULL;
	m->cfg = c;
	m->loop = loop;
	m->kvm_fd = m->kernel_fd = m->vuser_broker_fd = -1;
	for (unsigned i = 0; i < CONFIG_MAX_INITRDS; i++)
		m->initrd_fds[i] = -1;
	m->gic.gic_fd = m->gic.its_fd = -1;
	for (unsigned i = 0; i < c->nr_devices; i++)
		mdev_init(&m->devs[i]);
	pthread_mutex_init(&m->stop_lock, NULL);
	return m;
}

/* Want of memory or descriptors, or what passes, is this process's trouble, not a host without KVM. */
static bool means_no_kvm(int r)
{
	return r && r != -ENOMEM && r != -EMFILE && r != -ENFILE && r != -EINTR && r != -EAGAIN;
}

int machine_open(const struct config *c, struct loop *loop, struct machine **ret_m, bool *ret_no_kvm,
		 struct err *err)
{
	struct machine *m = machine_alloc(c, loop);
	int r;

	*ret_no_kvm = false;
	if (!m)
		return err_set(err, -ENOMEM, "machine: out of memory");
	r = image_open("kernel", c->kernel, &m->kernel_fd, err);
	for (unsigned i = 0; i < c->nr_initrds && !r; i++)
		r = image_open("initrd", c->initrds[i], &m->initrd_fds[i], err);
	/* before the devices: who skips where there is no KVM may have made no tap there either */
	if (!r) {
		r = hyp_open_dev(&m->kvm_fd, err);
		*ret_no_kvm = means_no_kvm(r);
	}
	for (unsigned i = 0; i < c->nr_devices && !r; i++)
		r = mdev_open(m, i, err);
	if (!r)
		r = vuser_open_broker(m, err);
	if (r) {
		machine_free(m);
		return r;
	}
	*ret_m = m;
	return 0;
}

int machine_host_facts(const struct hyp *h, unsigned max_ipa_bits, struct host_facts *ret_f, struct err *err)
{
	struct sysinfo si;
	struct gic_caps caps;
	int r, max_cpus = hyp_max_vcpus(hyp_kvm_fd(h));

	if (max_cpus < 0)
		return err_set(err, max_cpus, "KVM: how many vCPUs it can have: %s", strerror(-max_cpus));
	if (sysinfo(&si))
		return err_set(err, -errno, "host: sysinfo: %s", strerror(errno));
	r = gic_probe(h, &caps);
	if (r)
		return err_set(err, r, "KVM: which interrupt controllers it has: %s", strerror(-r));
	*ret_f = (struct host_facts){
		.max_ipa_bits = max_ipa_bits,
		.max_cpus = (unsigned)max_cpus,
		.max_memory = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit,
		.gicv2 = caps.v2,
		.gicv3 = caps.v3,
		.its = caps.its,
		.steal_time = vcpu_offers_steal_time(h),
	};
	return 0;
}

static int make_vm(struct machine *m, bool *ret_no_kvm, struct err *err)
{
	unsigned bits, max_bits = hyp_max_ipa_bits(m->kvm_fd);
	uint64_t pmem[CONFIG_MAX_DEVICES];
	struct host_facts facts;
	int r;

	for (unsigned i = 0; i < m->cfg->nr_devices; i++)
		pmem[i] = m->devs[i].image.size;
	r = plan_ipa_bits(m->cfg->memory, m->pci_mem64, plan_pmem(pmem, m->cfg->nr_devices), max_bits, &bits, err);
	if (r)
		return r;
	r = hyp_new(steal_fd(&m->kvm_fd), bits, &m->hyp, err);
	*ret_no_kvm = means_no_kvm(r);
	if (r)
		return r;
	r = machine_host_facts(m->hyp, max_bits, &facts, err);
	if (r)
		return r;
	if (m->cfg->irqchip == IRQCHIP_GICV2 || m->cfg->irqchip == IRQCHIP_GICV2M)
		facts.gicv2 = gic_offers_v2(m->hyp);
	facts.pci_mem64 = m->pci_mem64;
	facts.pmem = pmem;
	return plan_make(m->cfg, &facts, &m->plan, err);
}

static int make_memory(struct machine *m, struct err *err)
{
	uint64_t size = align_up(m->plan.ram_size, (uint64_t)sysconf(_SC_PAGESIZE));
	const struct gmem_region *ram;
	int r = gmem_new(&m->mem);

	if (!r)
		r = gmem_add(m->mem, m->plan.ram, size, vuser_wanted(m->cfg));
	if (!r) {
		ram = gmem_region(m->mem, 0);
		r = hyp_set_memory(m->hyp, SLOT_RAM, ram->gpa, ram->size, ram->hva, false);
	}
	return r ? err_set(err, r, "memory: %llu MiB: %s%s", (unsigned long long)(size / MIB), strerror(-r),
			   r == -EFBIG ? " (vhost-user shares it as a file: see ulimit -f)" : "") : 0;
}

static const enum gsi_mode gsi_modes[] = {
	[IRQ_ROUTING_AUTO] = GSI_AUTO, [IRQ_ROUTING_EXPLICIT] = GSI_EXPLICIT, [IRQ_ROUTING_FLAT] = GSI_FLAT,
};

static int make_gsis(struct machine *m, struct err *err)
{
	const struct plan *p = &m->plan;
	struct gsi_cfg cfg = {
		.nr_spis = p->nr_irqs - FIRST_SPI,
		.max_routes = hyp_max_routes(m->hyp),
		.model = p->its ? MSI_ITS : p->v2m ? MSI_V2M : MSI_NONE,
		.mode = gsi_modes[m->cfg->irq_routing],
		.doorbell = p->its ? LAYOUT_ITS : LAYOUT_V2M,
		.doorbell_size = p->its ? LAYOUT_ITS_SIZE : V2M_FRAME_SIZE,
		.v2m_spi = p->v2m_spi, .v2m_count = p->v2m_count,
		.need_devid = hyp_needs_devid(m->hyp),
	};
	int r = gsi_space_new(&cfg, m->hyp, &m->space);

	if (!r && m->cfg->irq_check)
		r = onlooker_new(m);
	if (!r)
		r = gsi_space_start(m->space);
	return r ? err_set(err, r, "interrupts: GSI table: %s", strerror(-r)) : 0;
}

static int make_interrupts(struct machine *m, struct err *err)
{
	struct gic_cfg gic = {
		.v2 = m->plan.gicv2,
		.gicd = LAYOUT_GICD, .gicr = LAYOUT_GICR, .its = LAYOUT_ITS, .gicc = LAYOUT_GICC,
		.nr_cpus = m->cfg->cpus, .nr_irqs = m->plan.nr_irqs, .has_its = m->plan.its,
		.ipa_bits = m->plan.ipa_bits,
	};
	int r = gic_new(m->hyp, &gic, &m->gic, err);

	return r ? r : make_gsis(m, err);
}

/* A vCPU's thread. */
static void panicked(void *ctx)
{
	machine_stop(ctx, STOP_PANIC, 0, "pvpanic");
}

static void hangs(void *ctx)
{
	machine_stop(ctx, STOP_WATCHDOG, 0, NULL);
}

static int make_watchdog(struct machine *m)
{
	const struct sp805_cfg cfg = {
		.bus = m->bus, .loop = m->loop, .gpa = LAYOUT_WATCHDOG, .line = &m->watchdog_line, .bites = hangs, .ctx = m,
	};

	line_init(&m->watchdog_line, m->space, LAYOUT_SPI_WATCHDOG, "watchdog");
	return sp805_new(&cfg, &m->watchdog);
}

static int make_platform(struct machine *m)
{
	struct pci_host_cfg pci = {
		.ecam = LAYOUT_ECAM, .mem_base = LAYOUT_PCI_MEM, .mem_size = LAYOUT_PCI_MEM_SIZE,
		.mem64_base = m->plan.pci_mem64, .mem64_size = m->plan.pci_mem64_size,
	};
	int r;

	line_init(&m->uart_line, m->space, LAYOUT_SPI_UART, "uart");
	line_init(&m->rtc_line, m->space, LAYOUT_SPI_RTC, "rtc");
	r = pl011_new(m->bus, LAYOUT_UART, &m->uart_line, &m->con.uart, &m->uart);
	if (!r)
		r = pl011_set_view(m->uart, m->loop, m->hyp, SLOT_UART);
	if (!r)
		r = pl031_new(m->bus, m->loop, LAYOUT_RTC, &m->rtc_line, &m->rtc);
	if (!r)
		r = power_new(m);
	if (!r)
		r = pvpanic_new(m->bus, LAYOUT_PVPANIC, panicked, m, &m->pvpanic);
	if (!r && m->cfg->watchdog)
		r = make_watchdog(m);
	m->v2m = (struct v2m){ .hyp = m->hyp, .spi = m->plan.v2m_spi, .count = m->plan.v2m_count };
	if (!r && m->plan.v2m)
		r = v2m_add(&m->v2m, m->bus, LAYOUT_V2M);
	if (!r && m->plan.has_pci)
		r = pci_host_new(m->bus, &pci, &m->pci);
	return r;
}

static int make_devices(struct machine *m, struct err *err)
{
	int r = make_platform(m);

	if (r)
		return err_set(err, r, "platform devices: %s", strerror(-r));
	r = vuser_make_broker(m, err);
	for (unsigned i = 0; i < m->plan.nr_devs && !r; i++)
		r = mdev_make(m, i, err);
	return r;
}

static int make_dtb(struct machine *m, struct err *err)
{
	struct fdt_vmmio vmmio[CONFIG_MAX_DEVICES];
	struct fdt_intx intx[CONFIG_MAX_DEVICES];
	uint64_t *mpidr = obj_new(m->cfg->cpus * sizeof(*mpidr)); /* on the stack it could be 4 KiB */
	struct { uint8_t rng[64]; uint64_t kaslr; } seed;
	struct fdt_desc d = {
		.cmdline = m->cfg->cmdline,
		.initrd = m->boot.initrd, .initrd_size = m->boot.initrd_size,
		.ram = m->plan.ram, .ram_size = m->plan.ram_usable,
		.mpidr = mpidr, .nr_cpus = m->cfg->cpus,
		.pmu = cpus_features(m->cpus)->pmu,
		.watchdog = m->cfg->watchdog,
		.gicv2 = m->plan.gicv2, .has_its = m->plan.its,
		.gicd = LAYOUT_GICD, .gicr = LAYOUT_GICR, .its = LAYOUT_ITS, .gicc = LAYOUT_GICC,
		.v2m = LAYOUT_V2M, .v2m_spi = m->plan.v2m_spi, .v2m_count = m->plan.v2m_count,
		.has_pci = m->plan.has_pci, .msi_devid_base = pci_msi_devid(0),
		.ecam = LAYOUT_ECAM, .pci_mem = LAYOUT_PCI_MEM, .pci_mem_size = LAYOUT_PCI_MEM_SIZE,
		.pci_mem64 = m->plan.pci_mem64, .pci_mem64_size = m->plan.pci_mem64_size,
		.vmmio = vmmio, .intx = intx,
		.rng_seed = seed.rng, .rng_seed_len = sizeof(seed.rng),
	};
	int r = -ENOSPC;

	if (!mpidr)
		return err_set(err, -ENOMEM, "device tree: out of memory");
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		obj_free(mpidr);
		return err_set(err, -EIO, "device tree: getrandom: %s", strerror(errno));
	}
	d.kaslr_seed = seed.kaslr;
	for (unsigned i = 0; i < m->cfg->cpus; i++)
		mpidr[i] = cpus_get(m->cpus, i)->mpidr;
	for (unsigned i = 0; i < m->plan.nr_devs; i++) {
		const struct plan_dev *p = &m->plan.devs[i];

		if (!p->pci)
			vmmio[d.nr_vmmio++] = (struct fdt_vmmio){ .gpa = p->gpa, .spi = p->spi };
		else if (p->cfg->kind == DEV_VFIO)
			intx[d.nr_intx++] = (struct fdt_intx){ .rid = p->rid, .spi = p->spi };
	}
	/* libfdt clears the whole buffer first: a small one spares page faults, and most trees are small. */
	for (size_t cap = 4 * KIB; r == -ENOSPC && cap <= m->boot.dtb_max; cap *= 2)
		r = fdt_build(&d, gmem_ptr(m->mem, m->boot.dtb, cap), cap, &m->dtb_len);
	obj_free(mpidr);
	return r ? err_set(err, r, "device tree: %s", strerror(-r)) : 0;
}

static void close_images(struct machine *m)
{
	close_fd(&m->kernel_fd);
	for (unsigned i = 0; i < m->cfg->nr_initrds; i++)
		close_fd(&m->initrd_fds[i]);
}

static_assert(CONFIG_MAX_INITRDS == BOOT_MAX_INITRDS, "each initrd of the configuration is loaded");

static int load(struct machine *m, struct err *err)
{
	struct boot_files files = {
		.kernel = { m->cfg->kernel, m->kernel_fd }, .nr_initrds = m->cfg->nr_initrds,
	};
	int r;

	for (unsigned i = 0; i < files.nr_initrds; i++)
		files.initrds[i] = (struct boot_file){ m->cfg->initrds[i], m->initrd_fds[i] };
	r = boot_load(&files, m->mem, m->plan.ram_usable, vcpu_page_sizes(cpus_get(m->cpus, 0)), &m->boot, err);
	if (r)
		return r;
	close_images(m);
	r = make_dtb(m, err);
	if (r)
		return r;
	return cpus_set_entry(m->cpus, m->boot.entry, m->boot.dtb, err);
}

/* Last, so that what ends in an error says that alone. */
static void say_what_is_odd(const struct machine *m)
{
	if (m->cfg->irqchip == IRQCHIP_AUTO && !m->plan.its)
		log_warn("interrupts: this host's KVM has no ITS; %s instead", plan_irqchip_name(&m->plan));
	else
		log_info("interrupts: %s", plan_irqchip_name(&m->plan));
	for (unsigned i = 0; i < m->plan.nr_devs; i++) {
		const struct mdev *d = &m->devs[i];
		const char *id = m->cfg->devices[i].id;

		if (d->tap_down[0])
			log_warn("%s: %s is down; no packets until: ip link set %s up", id, d->tap_down, d->tap_down);
		if (d->no_vhost)
			log_warn("%s: open '/dev/vhost-net': %s; packets take the slower way through this process "
				 "(%s, or use vhost=off)", id, strerror(-d->no_vhost), mdev_vhost_remedy(d->no_vhost));
	}
}

int machine_build(struct machine *m, const struct machine_console *con, bool *ret_no_kvm, struct err *err)
{
	int r;

	*ret_no_kvm = false;
	m->con = *con;
	r = make_vm(m, ret_no_kvm, err);
	if (!r)
		r = make_memory(m, err);
	if (!r)
		r = cpus_new(m->hyp, m->cfg->cpus, m->container, &m->cpus, err);
	if (!r)
		r = make_interrupts(m, err);
	if (!r)
		r = cpus_late_init(m->cpus, m->plan.steal, err);
	if (!r && bus_new(&m->bus))
		r = err_set(err, -ENOMEM, "bus: out of memory");
	if (!r)
		r = make_devices(m, err);
	if (!r)
		r = load(m, err);
	if (!r && (r = machine_prepare(m)))
		err_set(err, r, "--timeout: %s", strerror(-r));
	if (!r)
		say_what_is_odd(m);
	return r;
}

void machine_let_go(struct machine *m)
{
	for (unsigned i = 0; i < m->plan.nr_devs; i++)
		if (mdev_outlives_us(m, i))
			mdev_free(&m->devs[i]);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	cpus_free(m->cpus);
	broker_fini(&m->vuser_broker);
	close_fd(&m->vuser_broker_fd);
	for (unsigned i = 0; i < m->cfg->nr_devices; i++) {
		mdev_free(&m->devs[i]);
		pmem_close(&m->devs[i].image); /* the VM's memory, as RAM is: a device may be taken apart before */
	}
	container_free(m->container);
	pl011_free(m->uart);
	pl031_free(m->rtc);
	power_free(m);
	pvpanic_free(m->pvpanic);
	sp805_free(m->watchdog);
	pci_host_free(m->pci);
	bus_free(m->bus);
	irq_check_free(m->check);
	gsi_space_free(m->space);
	gic_fini(&m->gic);
	hyp_free(m->hyp);
	gmem_free(m->mem);
	if (m->has_timeout)
		loop_timer_fini(&m->timeout);
	close_fd(&m->kvm_fd);
	close_images(m);
	pthread_mutex_destroy(&m->stop_lock);
	obj_free(m);
}
