// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/trouble.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm/doctor/why.h"

static enum trouble __attribute__((format(printf, 2, 3))) fatal(char *text, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, TROUBLE_TEXT, fmt, ap);
	va_end(ap);
	return TROUBLE_FATAL;
}

static enum trouble of_tap(const struct doctor_facts *f, unsigned i, char *text)
{
	const struct tap_facts *t = &f->host.taps[i];
	const struct net_options *o = &f->config->devices[i].net;
	const char *how = o->queues > 1 ? " multi_queue" : "";

	if (!t->exists)
		return fatal(text, "%s does not exist (ip tuntap add %s mode tap%s user $USER)", o->tap, o->tap, how);
	if (!t->is_tap)
		return fatal(text, "%s is not a tap", o->tap);
	if (!t->allowed)
		return fatal(text, "%s belongs to another user (run as root, or: ip tuntap add %s mode tap%s user $USER)",
			     o->tap, o->tap, how);
	if (f->host.tun.error)
		return fatal(text, "/dev/net/tun: %s", strerror(-f->host.tun.error));
	if (t->multi_queue != (o->queues > 1))
		return fatal(text, "%s was made %s multi_queue, which is for queues= above 1", o->tap,
			     t->multi_queue ? "with" : "without");
	if (t->in_use)
		return fatal(text, "%s is in use by another process", o->tap);
	if (t->up)
		return TROUBLE_NONE;
	fatal(text, "%s is down; no packets until: ip link set %s up", o->tap, o->tap);
	return TROUBLE_SMALL;
}

static enum trouble of_group(const struct doctor_facts *f, const struct pass_facts *p, char *text)
{
	const struct iommu_facts *i = &f->host.iommu;
	uint64_t locked = f->plan_error ? f->config->memory : f->plan.ram_size;

	if (p->blockers[0])
		return fatal(text, "its IOMMU group %d goes as a whole, and the host still uses %s", p->dev.group, p->blockers);
	if (f->host.vfio.error)
		return fatal(text, "/dev/vfio/vfio: %s (modprobe vfio-pci, or ask for access to it)",
			     strerror(-f->host.vfio.error));
	if (p->error)
		return fatal(text, "/dev/vfio/%d: %s (run as root, or as root: chown $USER /dev/vfio/%d)", p->dev.group,
			     strerror(-p->error), p->dev.group);
	if (!i->memlock_free && i->memlock < locked)
		return fatal(text, "the guest's memory must be locked for it, and the limit is %llu KiB (ulimit -l %llu)",
			     (unsigned long long)(i->memlock / KIB), (unsigned long long)(locked / KIB));
	return TROUBLE_NONE;
}

static enum trouble of_passed(const struct doctor_facts *f, unsigned i, char *text)
{
	const struct pass_facts *p = &f->host.passed[i];
	const char *a = f->config->devices[i].vfio.host;

	if (!p->exists)
		return fatal(text, "this host has no PCI device %s (lspci -D lists them)", a);
	if (!sysdev_is_vfio(p->dev.driver))
		return fatal(text, "%s belongs to %s (as root: cd /sys/bus/pci; echo vfio-pci >devices/%s/driver_override; "
			     "echo %s >devices/%s/driver/unbind; echo %s >drivers_probe)", a,
			     p->dev.driver[0] ? p->dev.driver : "no driver", a, a, a, a);
	if (p->dev.group < 0)
		return fatal(text, "%s is behind no IOMMU, and without one it cannot be handed on", a);
	return of_group(f, p, text);
}

enum trouble trouble_of(const struct doctor_facts *f, unsigned i, char *text)
{
	if (f->host.taps[i].given)
		return of_tap(f, i, text);
	return f->host.passed[i].given ? of_passed(f, i, text) : TROUBLE_NONE;
}

/* What a start would not survive. */
static bool device_fails(const struct doctor_facts *f, unsigned i)
{
	char unused[TROUBLE_TEXT];
	struct why w;

	return trouble_of(f, i, unused) == TROUBLE_FATAL || (why_backend(f, i, &w) && !w.what);
}

enum doctor_verdict doctor_verdict(const struct doctor_facts *f)
{
	if (f->kvm_error || f->loop_error || f->least_error || !f->caps.irqfd || !f->caps.ioeventfd)
		return DOCTOR_NO_GUEST;
	for (unsigned i = 0; i < f->config->nr_devices; i++)
		if (device_fails(f, i))
			return DOCTOR_REFUSED;
	return f->plan_error ? DOCTOR_REFUSED : DOCTOR_GOOD;
}

const char *doctor_verdict_name(enum doctor_verdict v)
{
	static const char *const names[] = {
		[DOCTOR_GOOD] = "good", [DOCTOR_REFUSED] = "refused", [DOCTOR_NO_GUEST] = "no-guest",
	};

	return names[v];
}
