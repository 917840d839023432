// SPDX-License-Identifier: BSD-3-Clause
/*
 * pass - theory of operation
 *
 * Configuration space. pci_dev's copy is what the guest reads; bits that are the device's (pcicfg.h)
 * are fetched into it before each read and written to the device as the guest writes them. COMMAND is
 * ours: of it Bus Master and Interrupt Disable are passed on, and Memory is always on in the device
 * (pass_bar.c says why). What a write changed is worked out afterwards, in cfg_written().
 *
 * vCPU threads change registers and hand to the loop what needs a control call: memory slots, irqfds,
 * routes, VFIO_DEVICE_SET_IRQS. They wait there with no lock held; whoever comes first does the work
 * of all, as in virtio-pci.
 *
 * Resets. VFIO resets the device when it is opened and closed; we ask once more, so that nothing of an
 * earlier owner is looked at, and nothing of ours is left when memory is unpinned. A guest resets by
 * the PCI Express capability: the kernel does it, keeping the host's interrupts as they are, and here
 * the registers go back to what a reset leaves.
 *
 * The end of the device. The kernel signals one eventfd when the host wants it back (unbind, hot
 * unplug) and waits until we close it, another when it has broken down. Either ends the VM.
 *
 * Locks: @lock, then the pci_dev's or the gsi space's. Registers are read under @lock, so that of two
 * CPUs that write one the last one's bits are the device's too.
 */
#include "devices/vfio/pass.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <string.h>

#include "devices/vfio/pass_priv.h"
#include "vmm/base/checked.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"
#include "vmm/core/irq_check.h"

static struct pass *of_dev(struct pci_dev *d)
{
	return container_of(d, struct pass, dev);
}

/* The loop's part */

static int sync_on_loop(void *ctx)
{
	struct pass *p = ctx;
	int r;

	pass_bars_sync(p);
	pthread_mutex_lock(&p->lock);
	r = p->checked || pass_irq_stale(&p->irq) ? pass_irq_sync(&p->irq) : 0;
	pthread_mutex_unlock(&p->lock);
	if (r)
		log_guest("%s: interrupts: %s", p->name, strerror(-r));
	return r;
}

void pass_settle(struct pass *p)
{
	bool stale;

	pthread_mutex_lock(&p->lock);
	stale = pass_irq_stale(&p->irq);
	pthread_mutex_unlock(&p->lock);
	if (stale || p->checked || pass_bars_stale(p))
		loop_call(p->loop, sync_on_loop, p);
}

/* Configuration space */

static bool all_live(const struct pass *p, unsigned off, unsigned len)
{
	for (unsigned i = off; i < off + len; i++)
		if (!p->cfg.live[i])
			return false;
	return true;
}

static bool any_live(const struct pass *p, unsigned off, unsigned len)
{
	for (unsigned i = off; i < off + len; i++)
		if (p->cfg.live[i])
			return true;
	return false;
}

static void refresh_live(struct pass *p, unsigned off, unsigned len)
{
	uint8_t dev[4], now[4];

	if (hostdev_read(p->fd, &p->config, off, dev, len))
		memset(dev, 0xff, len);
	pci_dev_peek(&p->dev, off, now, len);
	for (unsigned i = 0; i < len; i++)
		now[i] = (uint8_t)((now[i] & ~p->cfg.live[off + i]) | (dev[i] & p->cfg.live[off + i]));
	/* Bytes that are ours alone are not put back: another vCPU may be writing them. */
	for (unsigned i = 0; i < len; i++)
		if (p->cfg.live[off + i])
			pci_dev_poke(&p->dev, off + i, &now[i], 1);
}

static void refresh_msi_pending(struct pass *p)
{
	uint32_t bits;

	pthread_mutex_lock(&p->lock);
	bits = pass_irq_msi_pending(&p->irq);
	pthread_mutex_unlock(&p->lock);
	pci_dev_poke(&p->dev, pcicfg_msi_pending(&p->cfg), &bits, sizeof(bits));
}

static void cfg_read(struct pci_dev *d, unsigned off, unsigned len)
{
	struct pass *p = of_dev(d);
	unsigned pending = pcicfg_msi_pending(&p->cfg);

	if (any_live(p, off, len))
		refresh_live(p, off, len);
	if (pending && ranges_overlap(off, len, pending, 4))
		refresh_msi_pending(p);
}

/* In one piece where all of it is the device's, else by halves. */
static void write_live(struct pass *p, unsigned off, unsigned len, uint32_t val)
{
	if (all_live(p, off, len)) {
		(void)hostdev_write(p->fd, &p->config, off, &val, len);
	} else if (len > 1) {
		write_live(p, off, len / 2, val);
		write_live(p, off + len / 2, len / 2, val >> (len / 2 * 8));
	}
}

static void write_command(struct pass *p, uint16_t guest)
{
	uint16_t cmd = PCI_COMMAND_MEMORY | (guest & (PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE));

	if (hostdev_write(p->fd, &p->config, PCI_COMMAND, &cmd, sizeof(cmd)))
		log_guest("%s: the device does not take its COMMAND register", p->name);
}

/* What the guest's bit just did to the device, done to our registers. */
static void after_reset(struct pass *p)
{
	static const uint8_t zero[PCI_NUM_BARS * 4];

	pci_dev_poke(&p->dev, PCI_INTERRUPT_LINE, zero, 1);
	if (p->cfg.msix_cap) {
		uint16_t flags = pci_dev_get16(&p->dev, p->cfg.msix_cap + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE;

		pci_dev_poke(&p->dev, p->cfg.msix_cap + PCI_MSIX_FLAGS, &flags, sizeof(flags));
	}
	if (p->cfg.msi_cap) {
		pci_dev_poke(&p->dev, p->cfg.msi_cap + PCI_MSI_ADDRESS_LO, zero, p->cfg.msi_len - PCI_MSI_ADDRESS_LO);
		pci_dev_cfg_write(&p->dev, p->cfg.msi_cap + PCI_MSI_FLAGS, 2, 0);
	}
	pthread_mutex_lock(&p->lock);
	pass_irq_reset(&p->irq);
	pthread_mutex_unlock(&p->lock);
	pci_dev_cfg_write(&p->dev, PCI_COMMAND, 2, 0);
	for (unsigned i = 0; i < PCI_NUM_BARS; i++)
		pci_dev_cfg_write(&p->dev, PCI_BASE_ADDRESS_0 + 4 * i, 4, 0);
	pass_settle(p);
}

/* Does the write of @val at @off set the bit that resets a function? */
static bool asks_for_reset(const struct pass *p, unsigned off, unsigned len, uint32_t val)
{
	const unsigned byte = p->cfg.exp_cap + PCI_EXP_DEVCTL + 1;

	if (!p->cfg.exp_cap || byte < off || byte >= off + len)
		return false;
	return val >> ((byte - off) * 8) & (PCI_EXP_DEVCTL_BCR_FLR >> 8);
}

static void cfg_write(struct pci_dev *d, unsigned off, unsigned len, uint32_t val)
{
	struct pass *p = of_dev(d);

	write_live(p, off, len, val);
	if (asks_for_reset(p, off, len, val))
		after_reset(p);
}

static void take_command(struct pass *p)
{
	uint16_t cmd;

	/* The device may be in a reset, and the write last as long as that: the loop does not wait for it. */
	pthread_mutex_lock(&p->command);
	cmd = pci_dev_get16(&p->dev, PCI_COMMAND);
	write_command(p, cmd);
	pthread_mutex_lock(&p->lock);
	pass_irq_bus_master(&p->irq, cmd & PCI_COMMAND_MASTER);
	pthread_mutex_unlock(&p->lock);
	pthread_mutex_unlock(&p->command);
}

static void take_msix(struct pass *p)
{
	pthread_mutex_lock(&p->lock);
	pass_irq_msix_control(&p->irq, pci_dev_get16(&p->dev, p->cfg.msix_cap + PCI_MSIX_FLAGS));
	pthread_mutex_unlock(&p->lock);
}

static void take_msi(struct pass *p)
{
	uint8_t cfg[PCI_CFG_SIZE];
	struct msi_state s;

	pthread_mutex_lock(&p->lock);
	pci_dev_peek(&p->dev, 0, cfg, sizeof(cfg));
	s = pcicfg_msi(&p->cfg, cfg);
	pass_irq_msi(&p->irq, s);
	pthread_mutex_unlock(&p->lock);
}

static void cfg_written(struct pci_dev *d, unsigned off, unsigned len)
{
	struct pass *p = of_dev(d);

	if (ranges_overlap(off, len, PCI_COMMAND, 2))
		take_command(p);
	if (p->cfg.msix_cap && ranges_overlap(off, len, p->cfg.msix_cap + PCI_MSIX_FLAGS, 2))
		take_msix(p);
	if (p->cfg.msi_cap && ranges_overlap(off, len, p->cfg.msi_cap, 24))
		take_msi(p);
	pass_settle(p);
}

static const struct pci_dev_ops dev_ops = {
	.cfg_written = cfg_written, .cfg_write = cfg_write, .cfg_read = cfg_read,
};

/* What the host says */

static void requested(void *ctx, uint32_t events)
{
	struct pass *p = ctx;
	char text[160];

	(void)events;
	if (!fd_drain(p->request.fd))
		return;
	snprintf(text, sizeof(text), "%s: the host takes the device back (it was unbound from vfio-pci, or unplugged)",
		 p->name);
	p->lost(p->ctx, text);
}

static void broke(void *ctx, uint32_t events)
{
	struct pass *p = ctx;
	char text[160];

	(void)events;
	if (!fd_drain(p->error.fd))
		return;
	snprintf(text, sizeof(text), "%s: the device has reported an error that it does not recover from", p->name);
	p->lost(p->ctx, text);
}

static int watch(struct pass *p, struct pass_event *e, enum hostdev_irq irq, void (*ready)(void *ctx, uint32_t events))
{
	int r;

	if (!hostdev_nr_irqs(p->fd, irq))
		return 0;
	e->fd = fd_event();
	if (e->fd < 0)
		return e->fd;
	r = loop_poll_init(p->loop, &e->poll, e->fd, ready, p);
	if (r)
		return r;
	e->poll.drains = true;
	loop_poll_arm(&e->poll, POLLIN);
	return hostdev_set_irqs(p->fd, irq, &e->fd, 1);
}

static void unwatch(struct pass_event *e)
{
	loop_poll_disarm(&e->poll);
	loop_poll_fini(&e->poll);
	close_fd(&e->fd);
}

/* Life */

static int reset(struct pass *p)
{
	int r = p->resets ? hostdev_reset(p->fd) : 0;

	if (!p->resets)
		log_info("%s: the device cannot be reset by itself", p->name);
	if (r)
		log_warn("%s: the device's reset failed: %s", p->name, strerror(-r));
	return r;
}

/* A device that was asleep or has left its BARs off decodes them from here on. */
static int wake(struct pass *p, uint8_t *raw, struct err *err)
{
	int r = hostdev_info(p->fd, &p->resets);

	if (!r)
		r = hostdev_region(p->fd, HOSTDEV_CONFIG, &p->config);
	if (!r && p->config.size < PCI_CFG_SIZE)
		r = -EINVAL;
	if (r)
		return err_set(err, r, "%s: VFIO tells too little of it: %s", p->name, strerror(-r));
	(void)reset(p);
	write_command(p, 0);
	r = hostdev_read(p->fd, &p->config, 0, raw, PCI_CFG_SIZE);
	return r ? err_set(err, r, "%s: its configuration space cannot be read", p->name) : 0;
}

static int make_function(struct pass *p, const struct pass_cfg *cfg, const uint8_t *raw, struct err *err)
{
	struct err why = { "" };
	int r = pcicfg_init(&p->cfg, raw, cfg->msi, MSIX_MAX_VECTORS, &p->dev, &dev_ops, &why);

	if (r)
		return err_set(err, r, "%s: %s", p->name, why.text);
	p->has_dev = true;
	if (!p->cfg.msix_cap && !p->cfg.msi_cap && !p->cfg.intx && !cfg->msi)
		return err_set(err, -EOPNOTSUPP, "%s: the device interrupts by messages only, and this VM's interrupt "
			       "controller takes none", p->name);
	return pass_bars_init(p, raw, err);
}

static int make_interrupts(struct pass *p, const struct pass_cfg *cfg, struct err *err)
{
	struct pass_irq_cfg ic = {
		.fd = p->fd, .name = p->name, .space = cfg->space, .loop = cfg->loop, .pcicfg = &p->cfg,
		.devid = pci_msi_devid(cfg->rid), .spi = cfg->spi,
	};
	int r = pass_irq_init(&p->irq, &ic);

	if (!r)
		r = watch(p, &p->request, HOSTDEV_REQUEST, requested);
	if (!r)
		r = watch(p, &p->error, HOSTDEV_ERROR, broke);
	if (r)
		return err_set(err, r, "%s: interrupts: %s", p->name, strerror(-r));
	/* Its line, if it has one. A host that cannot give it has said so, and there may be messages. */
	r = pass_irq_sync(&p->irq);
	if (r && !p->cfg.msix_cap && !p->cfg.msi_cap)
		return err_set(err, r, "%s: its interrupt line cannot be had (does the host share it?): %s", p->name,
			       strerror(-r));
	return 0;
}

int pass_new(const struct pass_cfg *cfg, struct pass **ret_p, struct err *err)
{
	_cleanup_close_ int fd = cfg->fd;
	struct pass *p = aligned_alloc(VIEW_SIZE, sizeof(*p));
	uint8_t raw[PCI_CFG_SIZE];
	int r;

	if (!p)
		return err_set(err, -ENOMEM, "%s: out of memory", cfg->name);
	memset(p, 0, sizeof(*p));
	p->name = cfg->name;
	p->loop = cfg->loop;
	p->hyp = cfg->hyp;
	p->slot = cfg->slot;
	p->checked = irq_check_on(cfg->space);
	p->fd = steal_fd(&fd);
	p->request.fd = p->error.fd = -1;
	p->lost = cfg->lost;
	p->ctx = cfg->ctx;
	pthread_mutex_init(&p->command, NULL);
	pthread_mutex_init(&p->lock, NULL);
	r = wake(p, raw, err);
	if (!r)
		r = make_function(p, cfg, raw, err);
	if (!r)
		r = make_interrupts(p, cfg, err);
	if (!r && (r = pci_host_add(cfg->host, &p->dev, cfg->rid)))
		err_set(err, r, "%s: adding it to the bus: %s", p->name, strerror(-r));
	if (r) {
		pass_free(p);
		return r;
	}
	*ret_p = p;
	return 0;
}

void pass_free(struct pass *p)
{
	uint16_t off = 0;

	if (!p)
		return;
	if (p->has_dev)
		pci_dev_fini(&p->dev);
	if (p->config.size)
		(void)hostdev_write(p->fd, &p->config, PCI_COMMAND, &off, sizeof(off));
	pass_irq_fini(&p->irq);
	pass_bars_fini(p);
	if (p->config.size)
		(void)reset(p);
	unwatch(&p->request);
	unwatch(&p->error);
	close_fd(&p->fd);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->command);
	free(p);
}

void pass_dump(struct pass *p, FILE *out)
{
	static const char *const kinds[] = {
		[PASS_NONE] = "no interrupts", [PASS_INTX] = "INTx", [PASS_MSI] = "MSI", [PASS_MSIX] = "MSI-X",
	};
	uint64_t mapped = 0, size = 0;
	enum pass_kind kind;
	unsigned n;

	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		size += p->bars[i].region.size;
		for (unsigned k = 0; k < p->bars[i].nr_slices; k++)
			mapped += p->bars[i].slotted[k] ? p->bars[i].slices[k].size : 0;
	}
	pthread_mutex_lock(&p->lock);
	kind = p->irq.kind;
	n = p->irq.count;
	pthread_mutex_unlock(&p->lock);
	fprintf(out, "device %s: vfio at pci function %#x, %s of %u vectors, %llu of %llu bytes of BARs mapped\n", p->name,
		p->dev.rid, kinds[kind], n, (unsigned long long)mapped, (unsigned long long)size);
}
