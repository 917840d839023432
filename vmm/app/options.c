// SPDX-License-Identifier: BSD-3-Clause
/*
 * Each argument is looked up in one table. What can be judged alone is judged at once, in the
 * order of the command line; what needs all of it (ids, the guest's command line, transports)
 * in complete(). Strings stay where they were: in argv, or in a list of copies of our own.
 */
#include "vmm/app/options.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/app/config_json.h"
#include "vmm/app/mac.h"
#include "vmm/app/panic_text.h"
#include "vmm/app/values.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/base/obj.h"

#define DEFAULT_CONSOLES "console=ttyAMA0 console=hvc0"
#define DEFAULT_MEMORY (256 * MIB)
#define DEFAULT_GRACE (10 * NS_PER_SEC)

struct option_text {
	struct option_text *next;
	char text[];
};

static const struct choice irqchips[] = {
	{ "auto", IRQCHIP_AUTO }, { "gicv3-its", IRQCHIP_GICV3_ITS }, { "gicv3", IRQCHIP_GICV3 },
	{ "gicv2m", IRQCHIP_GICV2M }, { "gicv2", IRQCHIP_GICV2 }, { NULL, 0 },
};
static const struct choice irq_routings[] = {
	{ "auto", IRQ_ROUTING_AUTO }, { "explicit", IRQ_ROUTING_EXPLICIT }, { "flat", IRQ_ROUTING_FLAT }, { NULL, 0 },
};
static const struct choice log_levels[] = {
	{ "error", LOG_ERROR }, { "warn", LOG_WARN }, { "info", LOG_INFO }, { "debug", LOG_DEBUG }, { NULL, 0 },
};
static const struct choice log_formats[] = {
	{ "text", false }, { "json", true }, { NULL, 0 },
};

static const struct choice seccomp_modes[] = {
	{ "on", SECCOMP_ON }, { "log", SECCOMP_LOG }, { "off", SECCOMP_OFF }, { NULL, 0 },
};

char *options_keep(struct options *o, const char *text)
{
	size_t len = strlen(text);
	struct option_text *t = obj_new(sizeof(*t) + len + 1);

	if (!t)
		return NULL;
	memcpy(t->text, text, len + 1);
	t->next = o->texts;
	o->texts = t;
	return t->text;
}

void options_free(struct options *o)
{
	while (o->texts) {
		struct option_text *t = o->texts;

		o->texts = t->next;
		obj_free(t);
	}
}

/* One function an option */

static int set_path(const char *what, const char **path, const char *value, struct err *err)
{
	if (!*value)
		return err_set(err, -EINVAL, "%s: the file name is empty", what);
	*path = value;
	return 0;
}

static int set_kernel(struct options *o, const char *value, struct err *err)
{
	return set_path("--kernel", &o->config.kernel, value, err);
}

static int set_initrd(struct options *o, const char *value, struct err *err)
{
	struct config *c = &o->config;
	int ret;

	if (c->nr_initrds == CONFIG_MAX_INITRDS)
		return err_set(err, -E2BIG, "--initrd: '%s': more than %d files", value, CONFIG_MAX_INITRDS);
	ret = set_path("--initrd", &c->initrds[c->nr_initrds], value, err);
	if (!ret)
		c->nr_initrds++;
	return ret;
}

static int set_cmdline(struct options *o, const char *value, struct err *err)
{
	size_t used = strlen(o->added);

	if ((size_t)snprintf(o->added + used, sizeof(o->added) - used, "%s%s", used ? " " : "", value) >=
	    sizeof(o->added) - used)
		return err_set(err, -E2BIG, "--cmdline: longer than %zu characters", sizeof(o->config.cmdline) - 1);
	return 0;
}

static int set_cpus(struct options *o, const char *value, struct err *err)
{
	uint64_t n;
	int ret = value_number("--cpus", value, 1, CONFIG_MAX_CPUS, &n, err);

	if (!ret)
		o->config.cpus = (unsigned)n;
	return ret;
}

static int set_memory(struct options *o, const char *value, struct err *err)
{
	uint64_t bytes;
	int ret = value_size("--memory", value, &bytes, err);

	if (ret)
		return ret;
	if (!is_aligned(bytes, 4 * KIB))
		return err_set(err, -EINVAL, "--memory: '%s' is not a multiple of 4K", value);
	o->config.memory = bytes;
	return 0;
}

static int set_console(struct options *o, const char *value, struct err *err)
{
	struct config *c = &o->config;

	if (!strcmp(value, "stdio"))
		c->console = CONSOLE_STDIO;
	else if (!strcmp(value, "none"))
		c->console = CONSOLE_NONE;
	else if (!strncmp(value, "file=", 5)) {
		c->console = CONSOLE_FILE;
		return set_path("--console: file", &c->console_path, value + 5, err);
	} else if (!strncmp(value, "socket=", 7)) {
		c->console = CONSOLE_SOCKET;
		return set_path("--console: socket", &c->console_path, value + 7, err);
	} else if (!strcmp(value, "pty"))
		c->console = CONSOLE_PTY;
	else
		return err_set(err, -EINVAL, "--console: '%s' is none of stdio, none, pty, file=PATH, socket=PATH", value);
	return 0;
}

static int set_transport(struct options *o, const char *value, struct err *err)
{
	int v, ret = value_choice("--transport", value, devopt_transports, &v, err);

	if (!ret)
		o->config.transport = (enum transport)v;
	return ret;
}

static int set_irqchip(struct options *o, const char *value, struct err *err)
{
	int v, ret = value_choice("--irqchip", value, irqchips, &v, err);

	if (!ret)
		o->config.irqchip = (enum irqchip)v;
	return ret;
}

static int set_irq_routing(struct options *o, const char *value, struct err *err)
{
	int v, ret = value_choice("--irq-routing", value, irq_routings, &v, err);

	if (!ret)
		o->config.irq_routing = (enum irq_routing)v;
	return ret;
}

static int set_timeout(struct options *o, const char *value, struct err *err)
{
	return value_duration("--timeout", value, &o->config.timeout_ns, err);
}

/* "0s" has a meaning here: the power button is not pressed at all. */
static int set_grace(struct options *o, const char *value, struct err *err)
{
	return value_duration_or_0("--grace", value, &o->config.grace_ns, err);
}

static int set_panic_text(struct options *o, const char *value, struct err *err)
{
	int ret = panic_text_check(value, err);

	if (!ret)
		o->config.panic_text = value;
	return ret;
}

static int set_result(struct options *o, const char *value, struct err *err)
{
	uint64_t fd;
	int ret;

	if (strncmp(value, "fd=", 3))
		return set_path("--result", &o->config.result_path, value, err);
	ret = value_number("--result: fd", value + 3, 0, INT_MAX, &fd, err);
	if (!ret)
		o->config.result_fd = (int)fd;
	return ret;
}

static int set_config(struct options *o, const char *value, struct err *err)
{
	int ret = set_path("--config", &o->config_file, value, err);

	return ret ? ret : config_json_load(o, value, err);
}

static int set_dump_dtb(struct options *o, const char *value, struct err *err)
{
	return set_path("--dump-dtb", &o->config.dump_dtb, value, err);
}

static int set_irq_check(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->config.irq_check = true;
	return 0;
}

static int set_watchdog(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->config.watchdog = true;
	return 0;
}

static int set_guest_status(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->config.guest_status = true;
	return 0;
}

static int set_dry_run(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->config.dry_run = true;
	return 0;
}

static int set_log_level(struct options *o, const char *value, struct err *err)
{
	return value_choice("--log-level", value, log_levels, &o->config.log_level, err);
}

static int set_log(struct options *o, const char *value, struct err *err)
{
	return set_path("--log", &o->config.log_file, value, err);
}

static int set_log_format(struct options *o, const char *value, struct err *err)
{
	int v, ret = value_choice("--log-format", value, log_formats, &v, err);

	if (!ret)
		o->config.log_json = v;
	return ret;
}

static int set_rng(struct options *o, const char *value, struct err *err)
{
	(void)o, (void)value, (void)err; /* always there */
	return 0;
}

/* 4294967295 means "none" to the kernel. */
static int set_user(const char *what, const char *value, int64_t *ret_id, struct err *err)
{
	uint64_t n;
	int ret = value_number(what, value, 1, UINT32_MAX - 1, &n, err);

	if (!ret)
		*ret_id = (int64_t)n;
	return ret;
}

static int set_uid(struct options *o, const char *value, struct err *err)
{
	return set_user("--uid", value, &o->uid, err);
}

static int set_gid(struct options *o, const char *value, struct err *err)
{
	return set_user("--gid", value, &o->gid, err);
}

static int set_cgroup(struct options *o, const char *value, struct err *err)
{
	return set_path("--cgroup", &o->cgroup, value, err);
}

static int set_no_sandbox(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->no_sandbox = true;
	return 0;
}

static int set_seccomp(struct options *o, const char *value, struct err *err)
{
	int v, ret = value_choice("--seccomp", value, seccomp_modes, &v, err);

	if (!ret)
		o->seccomp = (enum seccomp_mode)v;
	return ret;
}

static int set_doctor(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->doctor = true;
	return 0;
}

static int set_json(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->json = true;
	return 0;
}

static int set_help(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->help = true;
	return 0;
}

static int set_version(struct options *o, const char *value, struct err *err)
{
	(void)value, (void)err;
	o->version = true;
	return 0;
}

/* In the order of the usage text. */
static const struct option table[] = {
	{ "kernel", "FILE", "arm64 Image, plain or packed, or EFI zboot kernel; the one option that is required", 0, set_kernel, NULL },
	{ "initrd", "FILE", "initial RAM disk; repeatable: up to 8 files, one behind the other", OPTION_REPEAT, set_initrd, NULL },
	{ "cmdline", "TEXT", "added to the kernel's command line (" DEFAULT_CONSOLES "); repeatable",
	  OPTION_REPEAT, set_cmdline, NULL },
	{ "append", "TEXT", "the same as --cmdline", OPTION_REPEAT, set_cmdline, NULL },
	{ "cpus", "N", "virtual CPUs (default 1)", 0, set_cpus, NULL },
	{ "memory", "SIZE", "RAM, as 512M or 2G; a bare number is MiB (default 256M)", 0, set_memory, NULL },
	{ "disk", "FILE[,KEY=VALUE...]", "disk in a file or on a block device; repeatable", OPTION_REPEAT, NULL, &devopt_disk },
	{ "pmem", "FILE,ro[,KEY=VALUE...]", "an image in memory, which VMs share; repeatable", OPTION_REPEAT, NULL, &devopt_pmem },
	{ "net", "TAP|user[,KEY=VALUE...]", "network card on a tap, or by passt; repeatable", OPTION_REPEAT, NULL, &devopt_net },
	{ "vsock", "CID[,KEY=VALUE...]", "sockets between guest and host", OPTION_REPEAT, NULL, &devopt_vsock },
	{ "fs", "TAG[,KEY=VALUE...]", "a folder of the host's, served by virtiofsd or its like; repeatable", OPTION_REPEAT, NULL, &devopt_fs },
	{ "vhost-user", "KIND[,KEY=VALUE...]", "a device that another process serves: blk, net or fs; repeatable", OPTION_REPEAT,
	  NULL, &devopt_vhost_user },
	{ "vfio", "SSSS:BB:DD.F[,KEY=VALUE...]", "a PCI device of the host's, bound to vfio-pci; repeatable", OPTION_REPEAT,
	  NULL, &devopt_vfio },
	{ "balloon", "[SIZE][,KEY=VALUE...]", "memory that the guest does not need goes back to the host", OPTION_ALONE, NULL,
	  &devopt_balloon },
	{ "rng", NULL, "entropy device; always there", OPTION_FLAG, set_rng, NULL },
	{ "console", "stdio|none|pty|file=PATH|socket=PATH", "where the guest's console goes (default stdio)", 0, set_console, NULL },
	{ "transport", "auto|pci|mmio", "how the guest finds its devices (default auto)", 0, set_transport, NULL },
	{ "irqchip", "auto|gicv3-its|gicv3|gicv2m|gicv2", "interrupt controller (default auto: the best that the host has)",
	  0, set_irqchip, NULL },
	{ "irq-routing", "auto|explicit|flat", "the kernel's table of interrupts: ours when needed, at once, or never", 0,
	  set_irq_routing, NULL },
	{ "irq-check", NULL, "check the wiring of interrupts after every change; end with 121 where it is wrong", OPTION_FLAG,
	  set_irq_check, NULL },
	{ "watchdog", NULL, "a watchdog for the guest, /dev/watchdog; end with 122 where it bites",
	  OPTION_FLAG, set_watchdog, NULL },
	{ "guest-status", NULL, "a port by which the guest gives the exit status, 0 to 120", OPTION_FLAG, set_guest_status, NULL },
	{ "timeout", "DURATION", "end the VM after 500ms, 60s, 2m; a bare number is seconds", 0, set_timeout, NULL },
	{ "grace", "DURATION", "for the guest to power off at SIGTERM or SIGINT (default 10s)", 0, set_grace, NULL },
	{ "panic-text", "RE", "a line of the console that this matches is a panic: end with 123", 0, set_panic_text, NULL },
	{ "result", "FILE|fd=N", "write one JSON object at the end", 0, set_result, NULL },
	{ "config", "FILE", "read options from a JSON file", 0, set_config, NULL },
	{ "dump-dtb", "FILE", "write the device tree", 0, set_dump_dtb, NULL },
	{ "dry-run", NULL, "plan, check, write what is asked for, and stop", OPTION_FLAG, set_dry_run, NULL },
	{ "uid", "N", "as root: the user to end as (default: one that nobody has)", 0, set_uid, NULL },
	{ "gid", "N", "as root: the group (default: the user's number)", 0, set_gid, NULL },
	{ "cgroup", "PATH", "join a cgroup v2 that is delegated to the caller, and limit it", 0, set_cgroup, NULL },
	{ "no-sandbox", NULL, "keep all rights: for debugging, and for guests that are trusted", OPTION_FLAG, set_no_sandbox, NULL },
	{ "seccomp", "on|log|off", "deny system calls that are not needed (default), only log them, or neither", 0,
	  set_seccomp, NULL },
	{ "log-level", "error|warn|info|debug", "how much to log (default warn)", 0, set_log_level, NULL },
	{ "log", "FILE", "append the log to a file (default: stderr)", 0, set_log, NULL },
	{ "log-format", "text|json", "form of the log's lines (default text)", 0, set_log_format, NULL },
	{ "doctor", NULL, "print what this host can do, what the options would get and why, and stop", OPTION_FLAG,
	  set_doctor, NULL },
	{ "json", NULL, "with --doctor: as one JSON object", OPTION_FLAG, set_json, NULL },
	{ "help", NULL, "print this", OPTION_FLAG, set_help, NULL },
	{ "version", NULL, "print the version", OPTION_FLAG, set_version, NULL },
};

static_assert(ARRAY_LEN(table) <= 64, "struct options.seen has 64 bits");

const struct option *options_table(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(table);
	return table;
}

const struct option *options_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

/* The entry, if it may be given now; it counts as given from here on. */
static int admit(struct options *o, const char *name, const struct option **ret_opt, struct err *err)
{
	const struct option *opt = options_find(name);
	uint64_t bit;

	if (!opt)
		return err_set(err, -EINVAL, "--%s: unknown option (see --help)", name);
	bit = BIT64(opt - table);
	if (!(opt->flags & OPTION_REPEAT) && (o->seen & bit))
		return err_set(err, -EINVAL, "--%s: given twice", name);
	o->seen |= bit;
	*ret_opt = opt;
	return 0;
}

static int add_device(struct options *o, const struct devopt_kind *kind, const struct devopt *opts, unsigned n,
		      struct err *err)
{
	struct config *c = &o->config;
	int ret;

	if (c->nr_devices == CONFIG_MAX_DEVICES)
		return err_set(err, -E2BIG, "--%s: more than %d devices", kind->option, CONFIG_MAX_DEVICES);
	ret = devopts_apply(kind, opts, n, &c->devices[c->nr_devices], err);
	if (!ret)
		c->nr_devices++;
	return ret;
}

static int set_device_text(struct options *o, const struct devopt_kind *kind, const char *value, struct err *err)
{
	struct devopt opts[DEVOPTS_MAX];
	char *text;
	unsigned n;
	int ret;

	if (!value)
		return add_device(o, kind, NULL, 0, err);
	text = options_keep(o, value);
	if (!text)
		return err_set(err, -ENOMEM, "--%s: out of memory", kind->option);
	ret = devopts_split(kind, text, opts, DEVOPTS_MAX, &n, err);
	return ret ? ret : add_device(o, kind, opts, n, err);
}

static int apply(struct options *o, const struct option *opt, const char *value, struct err *err)
{
	if (opt->flags & OPTION_FLAG && value)
		return err_set(err, -EINVAL, "--%s: takes no value", opt->name);
	if (!(opt->flags & (OPTION_FLAG | OPTION_ALONE)) && !value)
		return err_set(err, -EINVAL, "--%s: needs a value (%s)", opt->name, opt->arg);
	return opt->device ? set_device_text(o, opt->device, value, err) : opt->set(o, value, err);
}

int options_set(struct options *o, const char *name, const char *value, struct err *err)
{
	const struct option *opt;
	int ret = admit(o, name, &opt, err);

	return ret ? ret : apply(o, opt, value, err);
}

int options_set_device(struct options *o, const char *name, const struct devopt *opts, unsigned n,
		       struct err *err)
{
	const struct option *opt;
	int ret = admit(o, name, &opt, err);

	return ret ? ret : add_device(o, opt->device, opts, n, err);
}

/* Completion */

static void add_fixed_device(struct config *c, enum dev_kind kind, const char *id)
{
	struct dev_config *d = &c->devices[c->nr_devices++];

	d->kind = kind;
	snprintf(d->id, sizeof(d->id), "%s", id);
}

static void set_defaults(struct options *o)
{
	struct config *c = &o->config;

	c->cpus = 1;
	c->memory = DEFAULT_MEMORY;
	c->log_level = LOG_WARN;
	c->grace_ns = DEFAULT_GRACE;
	c->result_fd = -1;
	o->uid = o->gid = -1;
	add_fixed_device(c, DEV_CONSOLE, "console0");
	add_fixed_device(c, DEV_RNG, "rng0");
}

static bool id_taken(const struct config *c, const char *id, unsigned except)
{
	for (unsigned i = 0; i < c->nr_devices; i++)
		if (i != except && !strcmp(c->devices[i].id, id))
			return true;
	return false;
}

/* What devices of a kind are called; NULL: they have their name already. */
static const char *stem_of(enum dev_kind kind)
{
	static const char *const stems[] = {
		[DEV_NET] = "net", [DEV_VFIO] = "vfio", [DEV_DISK] = "disk", [DEV_VSOCK] = "vsock",
		[DEV_VHOST_USER] = "vhost-user", [DEV_FS] = "fs", [DEV_BALLOON] = "balloon", [DEV_PMEM] = "pmem",
	};

	return kind < ARRAY_LEN(stems) ? stems[kind] : NULL;
}

/* disk0, disk1, ..., net0, ... by position; a number that id= took is passed over. */
static int complete_ids(struct config *c, struct err *err)
{
	unsigned numbers[DEV_KINDS] = { 0 };

	for (unsigned i = 0; i < c->nr_devices; i++)
		if (stem_of(c->devices[i].kind) && c->devices[i].id[0] && id_taken(c, c->devices[i].id, i))
			return err_set(err, -EINVAL, "--%s: id=%s is taken by another device",
				       stem_of(c->devices[i].kind), c->devices[i].id);
	for (unsigned i = 0; i < c->nr_devices; i++) {
		struct dev_config *d = &c->devices[i];
		unsigned *next = &numbers[d->kind];

		if (!stem_of(d->kind))
			continue;
		if (d->id[0]) {
			++*next;
			continue;
		}
		do {
			snprintf(d->id, sizeof(d->id), "%s%u", stem_of(d->kind), (*next)++);
		} while (id_taken(c, d->id, i));
	}
	return 0;
}

/* A word of @text that begins with @prefix. */
static bool has_word(const char *text, const char *prefix)
{
	const char *p = text;

	while ((p = strstr(p, prefix))) {
		if (p == text || p[-1] == ' ')
			return true;
		p++;
	}
	return false;
}

/* Who names a console has said where the output goes: ours would only take /dev/console from it. */
static int complete_cmdline(struct options *o, struct err *err)
{
	const char *consoles = has_word(o->added, "console=") ? "" : DEFAULT_CONSOLES;
	struct config *c = &o->config;

	if ((size_t)snprintf(c->cmdline, sizeof(c->cmdline), "%s%s%s", consoles,
			     *consoles && *o->added ? " " : "", o->added) >= sizeof(c->cmdline))
		return err_set(err, -E2BIG, "--cmdline: longer than %zu characters with the default '%s'",
			       sizeof(c->cmdline) - 1, consoles);
	return 0;
}

static bool is_net(const struct dev_config *d)
{
	return d->kind == DEV_NET || d->vuser.kind == VUSER_KIND_NET;
}

/* By what a card's address is made that is not given: a name that no other card has on this host, so far as there is one. */
static const char *mac_name(const struct dev_config *d)
{
	if (d->kind != DEV_NET)
		return d->vuser.socket;
	return d->net.user ? d->id : d->net.tap; /* the other end of user is nobody else's */
}

static int same_net(const struct config *c, unsigned i, struct err *err)
{
	const struct net_options *a = &c->devices[i].net;

	for (unsigned j = 0; j < i; j++) {
		const struct net_options *b = &c->devices[j].net;

		if (!is_net(&c->devices[j]))
			continue;
		if (a->tap && b->tap && !strcmp(a->tap, b->tap))
			return err_set(err, -EINVAL, "%s: tap %s is %s's already", c->devices[i].id, a->tap,
				       c->devices[j].id);
		for (unsigned k = 0; k < a->nr_fds; k++)
			for (unsigned l = 0; l < b->nr_fds; l++)
				if (a->fds[k] == b->fds[l])
					return err_set(err, -EINVAL, "%s: descriptor %d is %s's already",
						       c->devices[i].id, a->fds[k], c->devices[j].id);
		for (unsigned k = 0; k < a->nr_publish; k++)
			for (unsigned l = 0; l < b->nr_publish; l++)
				if (a->publish[k].host == b->publish[l].host)
					return err_set(err, -EINVAL, "%s: the host's port %u is %s's already", c->devices[i].id,
						       a->publish[k].host, c->devices[j].id);
		if (a->has_mac && b->has_mac && !memcmp(a->mac, b->mac, sizeof(a->mac)))
			return err_set(err, -EINVAL, "%s: mac= is %s's already", c->devices[i].id,
				       c->devices[j].id);
	}
	return 0;
}

static int complete_nets(struct config *c, struct err *err)
{
	for (unsigned i = 0; i < c->nr_devices; i++) {
		struct dev_config *d = &c->devices[i];
		enum transport t = d->transport != TRANSPORT_AUTO ? d->transport : c->transport;
		int ret;

		if (!is_net(d))
			continue;
		ret = same_net(c, i, err);
		if (ret)
			return ret;
		if (d->irq_direct && t == TRANSPORT_PCI)
			return err_set(err, -EINVAL, "%s: irq=direct is for transport=mmio", d->id);
		if (d->irq_direct && (d->net.vhost == TRI_OFF || d->net.iops || d->net.bps))
			return err_set(err, -EINVAL, "%s: irq=direct is about interrupts of vhost, and %s", d->id,
				       d->net.vhost == TRI_OFF ? "vhost=off" : "a card with iops= or bps= is not vhost's");
		if (!d->net.has_mac)
			mac_default(mac_name(d), d->net.mac);
		d->net.has_mac = true;
	}
	return 0;
}

static int complete_vfios(const struct config *c, struct err *err)
{
	for (unsigned i = 0; i < c->nr_devices; i++)
		for (unsigned j = 0; j < i && c->devices[i].kind == DEV_VFIO; j++)
			if (c->devices[j].kind == DEV_VFIO && !strcmp(c->devices[i].vfio.host, c->devices[j].vfio.host))
				return err_set(err, -EINVAL, "%s: %s is %s's already", c->devices[i].id,
					       c->devices[i].vfio.host, c->devices[j].id);
	return 0;
}

static int complete_balloon(const struct config *c, struct err *err)
{
	const struct dev_config *balloon = NULL, *vfio = NULL;

	for (unsigned i = 0; i < c->nr_devices; i++) {
		balloon = c->devices[i].kind == DEV_BALLOON ? &c->devices[i] : balloon;
		vfio = c->devices[i].kind == DEV_VFIO ? &c->devices[i] : vfio;
	}
	if (!balloon)
		return 0;
	if (vfio)
		return err_set(err, -EINVAL, "%s: %s pins all of the guest's memory, and none can go back to the host (leave out --balloon or --vfio)",
			       balloon->id, vfio->id);
	if (balloon->balloon.size >= c->memory)
		return err_set(err, -EINVAL, "%s: size=%lluM is all of the guest's memory or more (less than --memory, %lluM)",
			       balloon->id, (unsigned long long)(balloon->balloon.size / MIB), (unsigned long long)(c->memory / MIB));
	return 0;
}

/* Behind all others, whose places stay what they are without it. */
static int complete_status(struct config *c, struct err *err)
{
	if (!c->guest_status)
		return 0;
	if (c->nr_devices == CONFIG_MAX_DEVICES)
		return err_set(err, -E2BIG, "--guest-status: more than %d devices", CONFIG_MAX_DEVICES);
	if (id_taken(c, "status0", CONFIG_MAX_DEVICES))
		return err_set(err, -EINVAL, "--guest-status: id=status0 is taken by another device");
	add_fixed_device(c, DEV_STATUS, "status0");
	return 0;
}

/* What has no effect is refused. */
static int complete_rights(const struct options *o, struct err *err)
{
	const char *vain = o->uid >= 0 ? "uid" : o->gid >= 0 ? "gid" : o->cgroup ? "cgroup" : o->seccomp != SECCOMP_ON ? "seccomp" : NULL;

	if (o->no_sandbox && vain)
		return err_set(err, -EINVAL, "--%s: is part of what --no-sandbox leaves out (give one of them)", vain);
	return 0;
}

static int complete(struct options *o, struct err *err)
{
	int ret;

	if (o->json && !o->doctor)
		return err_set(err, -EINVAL, "--json: is for --doctor");
	if (!o->config.kernel && !o->doctor)
		return err_set(err, -EINVAL, "--kernel: not given (microvm --kernel Image --net tap0; see --help)");
	ret = complete_rights(o, err);
	if (!ret)
		ret = complete_ids(&o->config, err);
	if (!ret)
		ret = complete_status(&o->config, err);
	if (!ret)
		ret = complete_cmdline(o, err);
	if (!ret)
		ret = complete_nets(&o->config, err);
	if (!ret)
		ret = complete_balloon(&o->config, err);
	return ret ? ret : complete_vfios(&o->config, err);
}

/* One argument, or two; returns how many it used. */
static int parse_one(struct options *o, int left, const char *const argv[], struct err *err)
{
	const char *arg = argv[0], *eq;
	const struct option *opt;
	int ret, used = 1;
	char name[32];
	size_t len;

	if (strncmp(arg, "--", 2) || !arg[2])
		return err_set(err, -EINVAL, "'%s': not an option (they begin with --; see --help)", arg);
	arg += 2;
	eq = strchr(arg, '=');
	len = eq ? (size_t)(eq - arg) : strlen(arg);
	if (len >= sizeof(name))
		return err_set(err, -EINVAL, "'--%.60s': unknown option (see --help)", arg);
	snprintf(name, sizeof(name), "%.*s", (int)len, arg);
	ret = admit(o, name, &opt, err);
	if (ret)
		return ret;
	if (!eq && !(opt->flags & OPTION_FLAG) && left > 1)
		used = opt->flags & OPTION_ALONE && !strncmp(argv[1], "--", 2) ? 1 : 2;
	ret = apply(o, opt, eq ? eq + 1 : used == 2 ? argv[1] : NULL, err);
	return ret ? ret : used;
}

int options_parse(struct options *o, int argc, const char *const argv[], struct err *err)
{
	set_defaults(o);
	for (int i = 1; i < argc;) {
		int used = parse_one(o, argc - i, argv + i, err);

		if (used < 0)
			return used;
		if (o->help || o->version)
			return 0;
		i += used;
	}
	return complete(o, err);
}

static void usage_keys(FILE *out, const struct devopt_key *k)
{
	char head[64];

	for (; k->name; k++) {
		snprintf(head, sizeof(head), "%s=%s", k->name, k->arg);
		fprintf(out, "      %-28s %s\n", head, k->help);
	}
}

void options_usage(FILE *out)
{
	char head[64];

	fputs("usage: microvm --kernel FILE [options]\n", out);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct option *opt = &table[i];

		snprintf(head, sizeof(head), "--%s%s%s", opt->name, opt->arg ? " " : "", opt->arg ? opt->arg : "");
		fprintf(out, "  %-32s %s\n", head, opt->help);
		if (opt->device) {
			usage_keys(out, opt->device->keys);
			usage_keys(out, devopt_common);
		}
	}
	fputs("On a terminal: Ctrl-A x ends the VM, Ctrl-A h lists the keys.\n"
	      "Exit status: 0 power-off, 1 to 120 the guest's own, 122 reset or watchdog, 123 panic, 124 timeout,\n"
	      "125 could not start, 126 no usable KVM, 121 the monitor failed, 128+n ended by signal n.\n", out);
}
