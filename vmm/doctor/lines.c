// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/lines.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arch/arm64/image.h"

struct list {
	const struct doctor_facts *f;
	struct line *lines;
	unsigned n;
	const char *section;
};

static struct line *add(struct list *l, const char *key, const char *label, enum line_type type, enum line_mark mark)
{
	struct line *line = &l->lines[l->n++];

	assert(l->n <= LINES_MAX);
	*line = (struct line){ .section = l->section, .key = key, .label = label, .type = type, .mark = mark };
	return line;
}

static void __attribute__((format(printf, 2, 3))) say(struct line *line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line->text, sizeof(line->text), fmt, ap);
	va_end(ap);
}

static void __attribute__((format(printf, 2, 3))) remedy(struct line *line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line->remedy, sizeof(line->remedy), fmt, ap);
	va_end(ap);
}

static struct line *add_bool(struct list *l, const char *key, const char *label, bool yes, enum line_mark if_not)
{
	struct line *line = add(l, key, label, LINE_BOOL, yes ? MARK_GOOD : if_not);

	line->yes = yes;
	say(line, "%s", yes ? "yes" : "no");
	return line;
}

static struct line *add_number(struct list *l, const char *key, const char *label, uint64_t n)
{
	struct line *line = add(l, key, label, LINE_NUMBER, MARK_PLAIN);

	line->number = n;
	say(line, "%llu", (unsigned long long)n);
	return line;
}

static struct line *add_text(struct list *l, const char *key, const char *label, const char *text)
{
	struct line *line = add(l, key, label, *text ? LINE_TEXT : LINE_NULL, MARK_PLAIN);

	say(line, "%s", text);
	return line;
}

/* A size as people write it: the largest unit that leaves it whole or above ten. */
static void say_size(struct line *line, uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned u = 0;

	while (u < ARRAY_LEN(units) - 1 && bytes >= 1024 && (bytes % 1024 == 0 || bytes >= 10 * 1024)) {
		bytes /= 1024;
		u++;
	}
	say(line, "%llu %s", (unsigned long long)bytes, units[u]);
}

static void host_lines(struct list *l)
{
	const struct host *h = &l->f->host;
	struct line *line;
	char version[32] = "";

	l->section = "host";
	add_text(l, "release", "kernel", h->release);
	if (h->version.major)
		snprintf(version, sizeof(version), "%u.%u.%u", h->version.major, h->version.minor, h->version.patch);
	line = add_text(l, "version", "made of Linux", version);
	if (!h->version_known)
		say(line, "not told (a distribution's own numbers)");
	add_text(l, "build", NULL, h->build);
	line = add_text(l, "machine", "machine", h->machine);
	if (strcmp(h->machine, "aarch64")) {
		line->mark = MARK_BAD;
		remedy(line, "guests are arm64: an arm64 host is needed");
	}
	add_number(l, "cpus", "CPUs", h->cpus);
	say_size(add_number(l, "page_size", "page size", h->page_size), h->page_size);
	say_size(add_number(l, "memory", "memory", h->memory), h->memory);
	say_size(add_number(l, "swap", "swap", h->swap), h->swap);
	line = add_text(l, "inside", "itself inside a VM", h->inside);
	if (!h->inside[0])
		say(line, "not that it shows");
	add_text(l, "kvm_mode", h->kvm_mode[0] ? "kvm-arm.mode" : NULL, h->kvm_mode);
}

/* Without a VM its facts are null, and people are spared them. */
static void blank(struct line *line, bool known)
{
	if (known)
		return;
	line->type = LINE_NULL;
	line->label = NULL;
	line->mark = MARK_PLAIN;
	line->remedy[0] = '\0';
}

static void say_pages(struct line *line, unsigned pages)
{
	say(line, "%s%s%s", pages & IMAGE_PAGES_4K ? "4K " : "", pages & IMAGE_PAGES_16K ? "16K " : "",
	    pages & IMAGE_PAGES_64K ? "64K " : "");
	line->text[strcspn(line->text, " ") ? strlen(line->text) - 1 : 0] = '\0';
}

static void controller_lines(struct list *l)
{
	const struct caps *c = &l->f->caps;
	bool known = !l->f->kvm_error;
	struct line *line;

	blank(add_bool(l, "gicv3", "GICv3", c->gicv3, MARK_PLAIN), known);
	line = add_bool(l, "its", "ITS", c->its, MARK_PLAIN);
	if (!c->its)
		say(line, "no: messages become wired interrupts, by a v2m frame");
	blank(line, known);
	blank(add_bool(l, "gicv2", "GICv2", c->gicv2, MARK_PLAIN), known);
	line = add_bool(l, "msi_devid", "MSIs carry device ids", c->msi_devid, MARK_PLAIN);
	if (!c->its)
		say(line, "no (without an ITS)");
	blank(line, known);
	blank(add_number(l, "irq_routing", "largest GSI table", c->max_gsis), known);
	blank(add_bool(l, "irqfd", "irqfd", c->irqfd, MARK_BAD), known);
	blank(add_bool(l, "irqfd_resample", "irqfd with resample", c->resample, MARK_LACK), known);
	blank(add_bool(l, "ioeventfd", "ioeventfd", c->ioeventfd, MARK_BAD), known);
	blank(add_bool(l, "signal_msi", "signalled MSIs", c->signal_msi, MARK_PLAIN), known);
}

static void cpu_lines(struct list *l)
{
	const struct caps *c = &l->f->caps;
	bool known = !l->f->kvm_error;
	struct line *line;

	blank(add_number(l, "max_vcpus", "CPUs of a VM", l->f->plan_facts.max_cpus), known);
	line = add_number(l, "ipa_bits", "guest addresses", l->f->plan_facts.max_ipa_bits);
	say(line, "%u bits", l->f->plan_facts.max_ipa_bits);
	blank(line, known);
	line = add(l, "guest_pages", "pages of a guest", c->pages ? LINE_TEXT : LINE_NULL, MARK_PLAIN);
	say_pages(line, c->pages);
	blank(line, known && c->pages);
	blank(add_bool(l, "sve", "SVE", c->sve, MARK_PLAIN), known);
	blank(add_bool(l, "pmu", "PMU", c->pmu, MARK_PLAIN), known);
	blank(add_bool(l, "pointer_authentication", "pointer authentication", c->pauth, MARK_PLAIN), known);
	blank(add_bool(l, "steal_time", "steal time", c->steal_time, MARK_PLAIN), known);
	blank(add_bool(l, "nested", "nested guests", c->nested, MARK_PLAIN), known);
	blank(add_bool(l, "aarch32", "32-bit guests", c->aarch32, MARK_PLAIN), known);
	blank(add_bool(l, "nisv_reported", "odd accesses reported", c->nisv, MARK_LACK), known);
}

static void kvm_lines(struct list *l)
{
	const struct doctor_facts *f = l->f;
	struct line *line;

	l->section = "kvm";
	line = add_bool(l, "usable", "usable", !f->kvm_error, MARK_BAD);
	if (f->kvm_error)
		say(line, "no: %.100s", f->kvm_text.text);
	line = add_number(l, "api_version", "API version", 12); /* another is an error of its own */
	blank(line, !f->kvm_error);
	controller_lines(l);
	cpu_lines(l);
}

/* @module: what modprobe is to be told. */
static struct line *add_node(struct list *l, const char *key, const char *path, const struct node_facts *n,
			     enum line_mark if_not, const char *module)
{
	struct line *line = add_bool(l, key, path, !n->error, if_not);

	if (!n->error && !n->loaded)
		say(line, "yes (the first use loads the module)");
	else if (n->error == -ENODEV || n->error == -ENOENT)
		remedy(line, "modprobe %s, or a kernel with it", module);
	else if (n->error)
		remedy(line, "run as root, or ask for access to %s", path);
	if (n->error)
		say(line, "no: %s", n->error == -ENODEV ? "its driver is not there" : strerror(-n->error));
	return line;
}

static void net_lines(struct list *l)
{
	const struct host *h = &l->f->host;
	struct line *line;

	l->section = "net";
	add_node(l, "tun", "/dev/net/tun", &h->tun, MARK_LACK, "tun");
	add_node(l, "vhost_net", "/dev/vhost-net", &h->vhost_net, MARK_LACK, "vhost_net");
	add_node(l, "vhost_vsock", "/dev/vhost-vsock", &h->vhost_vsock, MARK_PLAIN, "vhost_vsock")->remedy[0] = '\0';
	line = add_bool(l, "net_admin", "may make taps", h->net_admin, MARK_PLAIN);
	if (!h->net_admin)
		say(line, "no: uses those that were made for this user");
}

static void vfio_lines(struct list *l)
{
	const struct iommu_facts *i = &l->f->host.iommu;
	struct line *line;

	l->section = "vfio";
	line = add_number(l, "iommus", "IOMMUs", i->units);
	if (i->units)
		say(line, "%u (%s), %u groups", i->units, i->names, i->groups);
	else
		say(line, "none: no device can be passed through safely");
	add_number(l, "groups", NULL, i->groups);
	add_node(l, "container", "/dev/vfio/vfio", &l->f->host.vfio, MARK_PLAIN, "vfio-pci");
	if (!i->units)
		l->lines[l->n - 1].remedy[0] = '\0';
	add_bool(l, "vfio_pci", "vfio-pci", i->vfio_pci, MARK_PLAIN);
	add_number(l, "bound", "devices bound to it", i->bound);
	line = add_bool(l, "noiommu", i->noiommu ? "unsafe mode" : NULL, i->noiommu, MARK_PLAIN);
	if (i->noiommu)
		line->mark = MARK_LACK;
	line = add_number(l, "memlock", "memory that may be locked", i->memlock);
	if (i->memlock == UINT64_MAX)
		line->type = LINE_NULL;
	if (i->memlock == UINT64_MAX || i->memlock_free)
		say(line, "no limit");
	else
		say_size(line, i->memlock);
	add_bool(l, "memlock_unlimited", NULL, i->memlock == UINT64_MAX || i->memlock_free, MARK_PLAIN);
}

static void say_why_no_ring(struct line *line, const struct doctor_facts *f)
{
	int r = f->uring.error ? f->uring.error : f->loop_error;

	if (f->host.uring_disabled > 0 && r == -EPERM) {
		say(line, "no: denied by kernel.io_uring_disabled=%d", f->host.uring_disabled);
		remedy(line, "sysctl kernel.io_uring_disabled=%s", f->host.uring_disabled == 1 ?
		       "0, or join the group of kernel.io_uring_group" : "0");
		return;
	}
	say(line, "no: %s", strerror(-r));
	if (r == -EPERM)
		remedy(line, "something denies it, often a container's seccomp profile");
	else if (r == -ENOSYS || r == -EINVAL)
		remedy(line, "a kernel of 5.13 or newer that has CONFIG_IO_URING");
	else if (r == -ENOMEM)
		remedy(line, "raise the limit of locked memory: ulimit -l");
}

static void uring_lines(struct list *l)
{
	const struct uring_facts *u = &l->f->uring;
	struct line *line;
	size_t used = 0;

	l->section = "io_uring";
	line = add_bool(l, "usable", "io_uring", !u->error && !l->f->loop_error, MARK_BAD);
	if (!line->yes)
		say_why_no_ring(line, l->f);
	add_bool(l, "denied", NULL, u->error == -EPERM, MARK_PLAIN);
	line = add_number(l, "disabled_sysctl", NULL, (uint64_t)l->f->host.uring_disabled);
	if (l->f->host.uring_disabled < 0)
		line->type = LINE_NULL;
	add_bool(l, "restrictions", u->error ? NULL : "can be restricted", u->restrictions, MARK_BAD);
	add_bool(l, "deferred_work", u->error ? NULL : "work when asked for", u->quiet, MARK_PLAIN);
	add_number(l, "features", NULL, u->features);
	line = add(l, "feature_names", NULL, LINE_TEXT, MARK_PLAIN);
	for (unsigned i = 0; i < 32 && used < sizeof(line->text); i++)
		if (u->features & BIT32(i) && uring_feature_name(i))
			used += (size_t)snprintf(line->text + used, sizeof(line->text) - used, "%s%s",
						 used ? " " : "", uring_feature_name(i));
}

static void memory_lines(struct list *l)
{
	const struct host *h = &l->f->host;
	struct line *line;

	l->section = "memory";
	line = add_text(l, "transparent_hugepages", "transparent huge pages", h->thp);
	if (!strcmp(h->thp, "never"))
		remedy(line, "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled makes large guests faster");
	if (!strcmp(h->thp, "never"))
		line->mark = MARK_LACK;
	if (!h->thp[0])
		say(line, "none");
	line = add_number(l, "hugepages", "huge pages set aside", h->huge.total);
	say(line, "%llu of %llu KiB, %llu free (guests do not use them)", (unsigned long long)h->huge.total,
	    (unsigned long long)(h->huge.size / KIB), (unsigned long long)h->huge.free);
	blank(line, h->huge.known);
	blank(add_number(l, "hugepages_free", NULL, h->huge.free), h->huge.known);
	blank(add_number(l, "hugepage_size", NULL, h->huge.size), h->huge.known);
}

unsigned doctor_lines(const struct doctor_facts *f, struct line *lines)
{
	struct list l = { .f = f, .lines = lines };

	host_lines(&l);
	kvm_lines(&l);
	net_lines(&l);
	vfio_lines(&l);
	uring_lines(&l);
	memory_lines(&l);
	return l.n;
}
