// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/why.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void __attribute__((format(printf, 3, 4))) because(struct why *w, const char *what, const char *fmt, ...)
{
	va_list ap;

	w->what = what;
	va_start(ap, fmt);
	vsnprintf(w->reason, sizeof(w->reason), fmt, ap);
	va_end(ap);
}

static const char *irqchip(const struct plan *p)
{
	if (p->gicv2)
		return p->v2m ? "gicv2m" : "gicv2";
	return p->its ? "gicv3-its" : "gicv3";
}

void why_irqchip(const struct doctor_facts *f, struct why *ret_w)
{
	const struct plan *p = &f->plan;
	const char *name = irqchip(p), *has = p->gicv2 ? "a GICv2 and no GICv3" : "a GICv3 and no ITS";

	if (f->config->irqchip != IRQCHIP_AUTO)
		because(ret_w, name, "asked for by --irqchip");
	else if (p->its)
		because(ret_w, name, "this host's KVM has a GICv3 and an ITS, the best there is");
	else if (p->v2m)
		because(ret_w, name, "this host's KVM has %s, so a v2m frame takes the messages", has);
	else
		because(ret_w, name, "this host's KVM has %s; no device sends messages", has);
}

void why_transport(const struct doctor_facts *f, unsigned i, struct why *ret_w)
{
	const struct plan_dev *p = &f->plan.devs[i];
	const char *name = p->pci ? "pci" : "mmio";

	if (p->cfg->kind == DEV_VFIO)
		because(ret_w, name, "%s of the host's", p->cfg->vfio.host);
	else if (p->cfg->transport != TRANSPORT_AUTO)
		because(ret_w, name, "asked for by transport=");
	else if (f->config->transport != TRANSPORT_AUTO)
		because(ret_w, name, "asked for by --transport");
	else if (p->pci)
		because(ret_w, name, "a vector for each queue");
	else if (!plan_is_busy(p->cfg->kind))
		because(ret_w, name, "quiet, and found with fewer exits");
	else
		because(ret_w, name, "--irqchip gicv2 takes no messages, which PCI needs");
}

bool why_backend(const struct doctor_facts *f, unsigned i, struct why *ret_w)
{
	const struct dev_config *d = &f->config->devices[i];
	const struct node_facts *n = &f->host.vhost_net;

	if (d->kind == DEV_VHOST_USER || d->kind == DEV_FS) {
		because(ret_w, "vhost-user", "all of the guest's memory is shared with that process");
		return true;
	}
	if (d->kind != DEV_NET)
		return false;
	if (d->net.user)
		because(ret_w, f->host.passt ? "passt" : NULL, f->host.passt ? "asked for by user" :
			"user will fail: no program passt in PATH (as root: apt install passt)");
	else if (d->net.vhost == TRI_OFF)
		because(ret_w, "process", "asked for by vhost=off");
	else if (d->net.iops || d->net.bps)
		because(ret_w, "process", "iops= and bps= are kept by this process");
	else if (!n->error)
		because(ret_w, "vhost", d->net.vhost == TRI_ON ? "asked for by vhost=on" : "/dev/vhost-net can be opened");
	else if (d->net.vhost == TRI_ON)
		because(ret_w, NULL, "vhost=on will fail: /dev/vhost-net: %s", strerror(-n->error));
	else
		because(ret_w, "process", "/dev/vhost-net: %s", strerror(-n->error));
	return true;
}

static bool there(const struct node_facts *n)
{
	return n->exists && (n->loaded || n->loadable);
}

bool why_in_reach(const struct doctor_facts *f, enum hole_area area)
{
	switch (area) {
	case HOLE_ITS:
		return !f->kvm_error && f->caps.its;
	case HOLE_VHOST_NET:
	case HOLE_MACVTAP:
		return there(&f->host.vhost_net);
	case HOLE_VSOCK:
		return there(&f->host.vhost_vsock);
	}
	return true;
}

const char *why_kind(enum dev_kind kind)
{
	static const char *const names[] = {
		[DEV_CONSOLE] = "console", [DEV_RNG] = "rng", [DEV_NET] = "net", [DEV_VFIO] = "vfio",
		[DEV_DISK] = "disk", [DEV_VSOCK] = "vsock", [DEV_VHOST_USER] = "vhost-user", [DEV_FS] = "fs", [DEV_STATUS] = "status",
		[DEV_BALLOON] = "balloon", [DEV_PMEM] = "pmem" };

	return (size_t)kind < ARRAY_LEN(names) ? names[kind] : "other";
}
