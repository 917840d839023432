// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/options.h"
#include "vmm/base/clock.h"

#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/app/mac.h"
#include "vmm/base/log.h"

#define MAN_PAGE "vmm/microvm.1"

static struct options o;
static struct err e;

/* "microvm" and the arguments up to NULL. */
static int parse(const char *first, ...)
{
	const char *argv[40] = { "microvm" };
	int argc = 1;
	va_list ap;

	va_start(ap, first);
	for (const char *a = first; a; a = va_arg(ap, const char *))
		argv[argc++] = a;
	va_end(ap);
	options_free(&o);
	memset(&o, 0, sizeof(o));
	memset(&e, 0, sizeof(e));
	return options_parse(&o, argc, argv, &e);
}

#define GOOD(...) \
	do { \
		int _ret = parse("--kernel", "Image", __VA_ARGS__, NULL); \
		ck_assert_msg(!_ret, "%s", e.text); \
	} while (0)
/* Refused, with one line that contains @part. */
#define BAD(part, ...) \
	do { \
		ck_assert_int_lt(parse(__VA_ARGS__, NULL), 0); \
		ck_assert_msg(strstr(e.text, part), "'%s' is not in '%s'", part, e.text); \
		ck_assert(!strchr(e.text, '\n')); \
	} while (0)
#define BAD_NET(part, value) BAD(part, "--kernel", "Image", "--net", value)

START_TEST(test_options_vsock)
{
	char longest[120] = "33,uds=/";
	const struct dev_config *d;

	GOOD("--vsock", "33", "--vsock", "34,uds=/run/v", "--vsock=uds=v,max-conns=1,cid=35,transport=mmio");
	d = &o.config.devices[2];
	ck_assert_ptr_null(d[0].vsock.uds);
	ck_assert_uint_eq(d[0].vsock.max_conns, 0);
	ck_assert_str_eq(d[1].vsock.uds, "/run/v");
	ck_assert_uint_eq(d[1].vsock.max_conns, 256);
	ck_assert_str_eq(d[2].vsock.uds, "v");
	ck_assert_uint_eq(d[2].vsock.cid, 35);
	ck_assert_uint_eq(d[2].vsock.max_conns, 1);
	BAD("--vsock: cid= is not given", "--kernel", "I", "--vsock", "uds=v");
	BAD("--vsock: uds: '' is no file name", "--kernel", "I", "--vsock", "33,uds=");
	BAD("--vsock: uds: '/run/' is no file name", "--kernel", "I", "--vsock", "33,uds=/run/");
	BAD("--vsock: uds= is given twice", "--kernel", "I", "--vsock", "33,uds=a,uds=b");
	GOOD("--vsock", "33,transport=mmio,irq=direct");
	BAD("--vsock: irq=direct is about interrupts of vhost", "--kernel", "I", "--vsock", "33,uds=a,irq=direct");
	BAD("--vsock: max-conns= is for uds=", "--kernel", "I", "--vsock", "33,max-conns=4");
	BAD("--vsock: max-conns: '0'", "--kernel", "I", "--vsock", "33,uds=a,max-conns=0");
	BAD("--vsock: max-conns: '1025'", "--kernel", "I", "--vsock", "33,uds=a,max-conns=1025");
	BAD("--vsock: unknown key 'path'", "--kernel", "I", "--vsock", "33,path=a");
	memset(longest + 8, 'x', 95);
	GOOD("--vsock", longest);
	longest[8 + 95] = 'x';
	BAD("--vsock: uds: more than 96 bytes", "--kernel", "I", "--vsock", longest);
}
END_TEST

START_TEST(test_options_kernel_alone_gives_defaults)
{
	const struct config *c = &o.config;

	ck_assert_int_eq(parse("--kernel", "Image", NULL), 0);
	ck_assert_str_eq(c->kernel, "Image");
	ck_assert_uint_eq(c->nr_initrds, 0);
	ck_assert_str_eq(c->cmdline, "console=ttyAMA0 console=hvc0");
	ck_assert_uint_eq(c->cpus, 1);
	ck_assert_uint_eq(c->memory, 256 * MIB);
	ck_assert_int_eq(c->transport, TRANSPORT_AUTO);
	ck_assert_int_eq(c->irqchip, IRQCHIP_AUTO);
	ck_assert_int_eq(c->console, CONSOLE_STDIO);
	ck_assert_uint_eq(c->timeout_ns, 0);
	ck_assert(!c->watchdog && !c->panic_text);
	ck_assert_uint_eq(c->grace_ns, 10000000000);
	ck_assert_ptr_null(c->result_path);
	ck_assert_int_eq(c->result_fd, -1);
	ck_assert_int_eq(c->log_level, LOG_WARN);
	ck_assert_uint_eq(c->nr_devices, 2);
	ck_assert_str_eq(c->devices[0].id, "console0");
	ck_assert_int_eq(c->devices[0].kind, DEV_CONSOLE);
	ck_assert_str_eq(c->devices[1].id, "rng0");
	ck_assert_int_eq(c->devices[1].kind, DEV_RNG);
}
END_TEST

START_TEST(test_options_every_value_arrives)
{
	const struct config *c = &o.config;

	GOOD("--initrd=rd", "--cmdline", "quiet", "--append=x=y", "--cpus=8", "--memory", "1G", "--rng",
	     "--console=file=log", "--transport", "mmio", "--irqchip", "gicv3", "--timeout=500ms", "--result", "r.json",
	     "--dump-dtb", "d.dtb", "--dry-run", "--watchdog", "--log-level", "debug", "--log", "l", "--log-format=json");
	ck_assert_uint_eq(c->nr_initrds, 1);
	ck_assert_str_eq(c->initrds[0], "rd");
	ck_assert_str_eq(c->cmdline, "console=ttyAMA0 console=hvc0 quiet x=y");
	ck_assert_uint_eq(c->cpus, 8);
	ck_assert_uint_eq(c->memory, GIB);
	ck_assert_int_eq(c->console, CONSOLE_FILE);
	ck_assert_str_eq(c->console_path, "log");
	ck_assert_int_eq(c->transport, TRANSPORT_MMIO);
	ck_assert_int_eq(c->irqchip, IRQCHIP_GICV3);
	ck_assert_uint_eq(c->timeout_ns, 500000000);
	ck_assert_str_eq(c->result_path, "r.json");
	ck_assert_str_eq(c->dump_dtb, "d.dtb");
	ck_assert(c->dry_run && c->watchdog);
	ck_assert_int_eq(c->log_level, LOG_DEBUG);
	ck_assert_str_eq(c->log_file, "l");
	ck_assert(c->log_json);
}
END_TEST

START_TEST(test_options_initrds_come_in_their_order_and_are_eight)
{
	const struct config *c = &o.config;

	GOOD("--initrd=a", "--cpus=1", "--initrd", "b", "--initrd=c", "--initrd=d", "--initrd=e", "--initrd=f", "--initrd=g", "--initrd=h");
	ck_assert_uint_eq(c->nr_initrds, CONFIG_MAX_INITRDS);
	ck_assert_str_eq(c->initrds[0], "a");
	ck_assert_str_eq(c->initrds[1], "b");
	ck_assert_str_eq(c->initrds[7], "h");
	BAD("--initrd: 'i': more than 8 files", "--kernel", "Image", "--initrd=a", "--initrd=b", "--initrd=c", "--initrd=d",
	    "--initrd=e", "--initrd=f", "--initrd=g", "--initrd=h", "--initrd=i");
	BAD("--initrd: the file name is empty", "--kernel", "Image", "--initrd=a", "--initrd=");
}
END_TEST

START_TEST(test_options_net_user_needs_no_tap)
{
	const struct net_options *a = &o.config.devices[2].net, *b = &o.config.devices[3].net;

	GOOD("--net", "user", "--net", "id=n,user=on,publish=8080:80,mtu=65520,publish=2222:22,loopback,vhost=auto,queues=1");
	ck_assert(a->user && !a->loopback && !a->tap && !a->nr_fds && a->has_mac);
	ck_assert_int_eq(a->vhost, TRI_OFF);
	ck_assert_uint_eq(a->queues, 1);
	ck_assert_uint_eq(a->nr_publish, 0);
	ck_assert(b->user && b->loopback);
	ck_assert_uint_eq(b->mtu, 65520);
	ck_assert_uint_eq(b->nr_publish, 2);
	ck_assert_uint_eq(b->publish[0].host, 8080);
	ck_assert_uint_eq(b->publish[0].guest, 80);
	ck_assert_uint_eq(b->publish[1].host, 2222);
	ck_assert_uint_eq(b->publish[1].guest, 22);
	ck_assert(memcmp(a->mac, b->mac, 6));
	BAD("net1: the host's port 80 is net0's already", "--kernel", "Image", "--net", "user,publish=80:1", "--net", "user,publish=80:2");
}
END_TEST

START_TEST(test_options_help_and_version_need_nothing_else)
{
	ck_assert_int_eq(parse("--help", NULL), 0);
	ck_assert(o.help);
	ck_assert_int_eq(parse("--version", "--nonsense", NULL), 0);
	ck_assert(o.version);
}
END_TEST

START_TEST(test_options_doctor_needs_no_kernel_and_judges_the_rest)
{
	ck_assert_int_eq(parse("--doctor", NULL), 0);
	ck_assert(o.doctor && !o.json);
	ck_assert_int_eq(parse("--json", "--net", "tap0", "--doctor", NULL), 0);
	ck_assert(o.doctor && o.json);
	ck_assert_uint_eq(o.config.nr_devices, 3);
	BAD("--json: is for --doctor", "--kernel", "Image", "--json");
	BAD("--cpus: '0'", "--doctor", "--cpus", "0");
}
END_TEST

START_TEST(test_options_without_kernel_is_refused)
{
	BAD("--kernel: not given", "--cpus", "2");
	ck_assert_int_lt(parse(NULL), 0);
}
END_TEST

START_TEST(test_options_unknown_and_stray_arguments_are_named)
{
	BAD("--colour: unknown option", "--colour", "red");
	BAD("'Image': not an option", "Image");
	BAD("'-k': not an option", "-k", "Image");
	BAD("'--': not an option", "--");
	BAD("unknown option", "--an-option-of-more-than-thirty-two-characters");
}
END_TEST

START_TEST(test_options_missing_and_needless_values_are_named)
{
	BAD("--cpus: needs a value (N)", "--kernel", "Image", "--cpus");
	BAD("--dry-run: takes no value", "--kernel", "Image", "--dry-run=yes");
	BAD("--kernel: the file name is empty", "--kernel=");
	BAD("the file name is empty", "--kernel", "Image", "--console", "file=");
}
END_TEST

/* Each option that is not repeatable, given twice with the same good value. */
START_TEST(test_options_repeats_are_refused)
{
	static const char *const once[][2] = {
		{ "kernel", "Image" }, { "balloon", NULL }, { "cpus", "1" }, { "memory", "64" }, { "rng", NULL },
		{ "console", "none" }, { "transport", "pci" }, { "irqchip", "auto" }, { "irq-routing", "auto" }, { "irq-check", NULL },
		{ "timeout", "1" }, { "grace", "0" }, { "guest-status", NULL }, { "watchdog", NULL }, { "panic-text", "Oops" }, { "uid", "1000" }, { "gid", "1000" }, { "cgroup", "/" }, { "no-sandbox", NULL }, { "seccomp", "log" },
		{ "result", "a" }, { "config", "/dev/null" }, { "dump-dtb", "a" }, { "dry-run", NULL },
		{ "log-level", "info" }, { "log", "a" }, { "log-format", "text" }, { "doctor", NULL }, { "json", NULL }, { "help", NULL },
		{ "version", NULL },
	};
	size_t n, singles = 0;
	const struct option *t = options_table(&n);

	for (size_t i = 0; i < n; i++)
		singles += !(t[i].flags & OPTION_REPEAT);
	ck_assert_uint_eq(singles, ARRAY_LEN(once));
	for (size_t i = 0; i < ARRAY_LEN(once); i++) {
		char text[64];

		if (!strcmp(once[i][0], "help") || !strcmp(once[i][0], "version") || !strcmp(once[i][0], "config"))
			continue; /* the first ends the parsing; a file is another test's */
		memset(&o, 0, sizeof(o));
		ck_assert_int_eq(options_set(&o, once[i][0], once[i][1], &e), 0);
		ck_assert_int_lt(options_set(&o, once[i][0], once[i][1], &e), 0);
		snprintf(text, sizeof(text), "--%s: given twice", once[i][0]);
		ck_assert_str_eq(e.text, text);
	}
}
END_TEST

/* All of the contract that is still to come. */
START_TEST(test_options_irqchip_and_routing_by_name)
{
	GOOD("--irqchip", "gicv2m", "--irq-routing", "flat");
	ck_assert_int_eq(o.config.irqchip, IRQCHIP_GICV2M);
	ck_assert_int_eq(o.config.irq_routing, IRQ_ROUTING_FLAT);
	GOOD("--irqchip", "gicv2", "--irq-routing=explicit");
	ck_assert_int_eq(o.config.irqchip, IRQCHIP_GICV2);
	ck_assert_int_eq(o.config.irq_routing, IRQ_ROUTING_EXPLICIT);
	BAD("--irq-routing: 'x' is none of auto, explicit, flat", "--kernel", "I", "--irq-routing", "x");
	ck_assert(!o.config.irq_check);
	GOOD("--irq-check");
	ck_assert(o.config.irq_check);
	BAD("--irq-check: takes no value", "--kernel", "I", "--irq-check=on");
}
END_TEST

START_TEST(test_options_sandbox_by_name)
{
	GOOD("--cpus", "1");
	ck_assert(!o.no_sandbox && o.seccomp == SECCOMP_ON && o.uid == -1 && o.gid == -1 && !o.cgroup);
	GOOD("--uid", "1000", "--gid=4294967294", "--seccomp", "log", "--cgroup", "/sys/fs/cgroup/x");
	ck_assert(!o.no_sandbox && o.seccomp == SECCOMP_LOG && o.uid == 1000 && o.gid == 4294967294);
	ck_assert_str_eq(o.cgroup, "/sys/fs/cgroup/x");
	GOOD("--no-sandbox");
	ck_assert(o.no_sandbox);
	BAD("--uid: is part of what --no-sandbox leaves out", "--kernel", "I", "--no-sandbox", "--uid", "1000");
	BAD("--gid: is part of what --no-sandbox leaves out", "--kernel", "I", "--no-sandbox", "--gid", "1000");
	BAD("--cgroup: is part of what --no-sandbox leaves out", "--kernel", "I", "--cgroup", "x", "--no-sandbox");
	BAD("--seccomp: is part of what --no-sandbox leaves out", "--kernel", "I", "--no-sandbox", "--seccomp", "log");
	BAD("net0: irq=direct is about interrupts of vhost", "--kernel", "I", "--transport", "mmio", "--net",
	    "t,irq=direct,vhost=off");
	BAD("--uid: ", "--kernel", "I", "--uid", "0");
	BAD("--gid: ", "--kernel", "I", "--gid", "4294967295");
	BAD("--uid: ", "--kernel", "I", "--uid", "root");
	BAD("--seccomp: 'x' is none of on, log, off", "--kernel", "I", "--seccomp", "x");
}
END_TEST

START_TEST(test_options_balloon_alone_or_with_keys)
{
	const struct dev_config *d = &o.config.devices[2];

	GOOD("--balloon");
	ck_assert_int_eq(d->kind, DEV_BALLOON);
	ck_assert_str_eq(d->id, "balloon0");
	ck_assert(!d->balloon.size && !d->balloon.no_oom && !d->balloon.no_reporting && !d->balloon.stats_ns);
	GOOD("--balloon", "--net", "tap0");
	ck_assert_uint_eq(o.config.nr_devices, 4);
	ck_assert_int_eq(o.config.devices[3].kind, DEV_NET);
	GOOD("--balloon", "64");
	ck_assert_uint_eq(d->balloon.size, 64 * MIB);
	GOOD("--balloon=128K");
	ck_assert_uint_eq(d->balloon.size, 128 * KIB);
	GOOD("--balloon", "size=255M,oom=off,reporting=off,stats=100ms,id=air,transport=pci");
	ck_assert_uint_eq(d->balloon.size, 255 * MIB);
	ck_assert(d->balloon.no_oom && d->balloon.no_reporting && d->balloon.stats_ns == NS_PER_SEC / 10);
	ck_assert_str_eq(d->id, "air");
	ck_assert_int_eq(d->transport, TRANSPORT_PCI);
	GOOD("--balloon=oom=on,reporting");
	ck_assert(!d->balloon.no_oom && !d->balloon.no_reporting);
	BAD("--balloon: given twice", "--kernel", "I", "--balloon", "--balloon");
	BAD("--balloon: size= is given twice", "--kernel", "I", "--balloon", "1M,size=2M");
	BAD("--balloon: unknown key 'target' (it knows size, oom, reporting, stats, id, transport)", "--kernel", "I", "--balloon", "target=1");
	BAD("--balloon: size: '6K' is not a multiple of 4K", "--kernel", "I", "--balloon", "6K");
	BAD("--balloon: size", "--kernel", "I", "--balloon", "0");
	BAD("--balloon: size", "--kernel", "I", "--balloon", "x");
	BAD("--balloon: oom: 'maybe' is none of on, off", "--kernel", "I", "--balloon", "oom=maybe");
	BAD("--balloon: reporting: '1' is none of on, off", "--kernel", "I", "--balloon", "reporting=1");
	BAD("--balloon: stats: '99ms' is less than 100ms", "--kernel", "I", "--balloon", "stats=99ms");
	BAD("--balloon: stats needs a value", "--kernel", "I", "--balloon", "1M,stats");
	BAD("an empty part", "--kernel", "I", "--balloon=");
	BAD("balloon0: size=256M is all of the guest's memory or more (less than --memory, 256M)", "--kernel", "I", "--balloon", "256");
	BAD("balloon0: size=1024M", "--kernel", "I", "--balloon", "1G", "--memory", "512M");
	BAD("balloon0: vfio0 pins all of the guest's memory", "--kernel", "I", "--vfio", "0000:01:00.0", "--balloon");
	BAD("b: v pins all of the guest's memory", "--kernel", "I", "--balloon", "id=b", "--vfio", "0000:01:00.0,id=v");
}
END_TEST

START_TEST(test_options_devices_of_other_processes)
{
	const struct dev_config *d = o.config.devices;

	GOOD("--vhost-user", "blk,socket=/run/a", "--fs", "folder,socket=/run/b,transport=mmio", "--vhost-user=fs,fd=7,tag=t,id=x",
	     "--fs=tag=u,fd=8");
	ck_assert(d[2].kind == DEV_VHOST_USER && d[2].vuser.kind == VUSER_KIND_BLK && !d[2].vuser.fd && !d[2].vuser.tag);
	ck_assert_str_eq(d[2].vuser.socket, "/run/a");
	ck_assert_str_eq(d[2].id, "vhost-user0");
	ck_assert(d[3].kind == DEV_FS && d[3].vuser.kind == VUSER_KIND_FS && d[3].transport == TRANSPORT_MMIO);
	ck_assert_str_eq(d[3].vuser.tag, "folder");
	ck_assert_str_eq(d[3].id, "fs0");
	ck_assert(d[4].kind == DEV_VHOST_USER && d[4].vuser.kind == VUSER_KIND_FS && d[4].vuser.fd == 7 && !d[4].vuser.socket);
	ck_assert_str_eq(d[4].id, "x");
	ck_assert_str_eq(d[5].id, "fs1");
	BAD("--vhost-user: kind= is not given", "--kernel", "I", "--vhost-user", "socket=/s");
	BAD("--vhost-user: kind: 'scsi' is none of blk, net, fs", "--kernel", "I", "--vhost-user", "scsi,socket=/s");
	BAD("--vhost-user: neither socket= nor fd= is given", "--kernel", "I", "--vhost-user", "blk");
	BAD("--vhost-user: socket= and fd= exclude each other", "--kernel", "I", "--vhost-user", "blk,socket=/s,fd=5");
	BAD("--vhost-user: tag= is not given", "--kernel", "I", "--vhost-user", "fs,socket=/s");
	BAD("--vhost-user: tag= is for fs", "--kernel", "I", "--vhost-user", "blk,socket=/s,tag=t");
	BAD("--vhost-user: socket= is given twice", "--kernel", "I", "--vhost-user", "blk,socket=/s,socket=/t");
	BAD("--vhost-user: socket: the file name is empty", "--kernel", "I", "--vhost-user", "blk,socket=");
	BAD("--vhost-user: socket needs a value", "--kernel", "I", "--vhost-user", "blk,socket");
	BAD("--vhost-user: fd: '2' is not a number from 3", "--kernel", "I", "--vhost-user", "blk,fd=2");
	BAD("--vhost-user: unknown key 'vhost'", "--kernel", "I", "--vhost-user", "net,socket=/s,vhost=on");
	BAD("--vhost-user: queues= is for net", "--kernel", "I", "--vhost-user", "blk,socket=/s,queues=2");
	BAD("--vhost-user: mtu= is for net", "--kernel", "I", "--vhost-user", "fs,tag=t,socket=/s,mtu=1400");
	BAD("--vhost-user: mac= is for net", "--kernel", "I", "--vhost-user", "blk,mac=52:54:00:00:00:01,socket=/s");
	BAD("--fs: tag= is not given", "--kernel", "I", "--fs", "socket=/s");
	BAD("--fs: tag: a tag is 1 to 36 bytes", "--kernel", "I", "--fs", "1234567890123456789012345678901234567,fd=3");
	BAD("--fs: tag: a tag is 1 to 36 bytes", "--kernel", "I", "--fs", "tag=,fd=3");
	GOOD("--fs", "123456789012345678901234567890123456,fd=3");
	BAD("--fs: unknown key 'kind'", "--kernel", "I", "--fs", "t,socket=/s,kind=fs");
	BAD("--fs: id=a is taken", "--kernel", "I", "--fs", "t,fd=3,id=a", "--fs", "u,fd=4,id=a");
}
END_TEST

START_TEST(test_options_of_later_versions_are_refused_by_name)
{
	GOOD("--console", "pty");
	ck_assert_int_eq(o.config.console, CONSOLE_PTY);
	BAD("is none of", "--kernel", "I", "--console", "pty=/dev/pts/3");
	GOOD("--console", "socket=/run/vm 1,x");
	ck_assert_int_eq(o.config.console, CONSOLE_SOCKET);
	ck_assert_str_eq(o.config.console_path, "/run/vm 1,x");
	BAD("--console: socket: the file name is empty", "--kernel", "I", "--console", "socket=");
	BAD("is none of", "--kernel", "I", "--console", "socket");
}
END_TEST

START_TEST(test_options_pmem)
{
	const struct dev_config *d;

	GOOD("--pmem", "root.img,ro", "--pmem", "path=b,ro=on,id=tools");
	d = &o.config.devices[2];
	ck_assert_int_eq(d->kind, DEV_PMEM);
	ck_assert_str_eq(d->id, "pmem0");
	ck_assert_str_eq(d->pmem.path, "root.img");
	ck_assert(d->pmem.ro);
	ck_assert_str_eq(d[1].id, "tools");
	BAD("--pmem: ro is not given", "--kernel", "I", "--pmem", "a");
	ck_assert_int_eq(parse("--kernel", "I", "--pmem", "a,ro=off", NULL), -EOPNOTSUPP);
	GOOD("--pmem", "fd=5,ro");
	ck_assert_int_eq(o.config.devices[2].pmem.fd, 5);
	BAD("--pmem: path= and fd= exclude each other", "--kernel", "I", "--pmem", "a,ro,fd=5");
	BAD("--pmem: neither a file nor fd= is given", "--kernel", "I", "--pmem", "ro=on");
	BAD("--pmem: path: the file name is empty", "--kernel", "I", "--pmem", "path=,ro");
	BAD("--pmem: unknown key 'discard'", "--kernel", "I", "--pmem", "a,ro,discard");
}
END_TEST

START_TEST(test_options_bad_values_name_the_choices)
{
	BAD("--cpus: '0' is not a number from 1 to 512", "--cpus=0");
	BAD("--cpus: '513'", "--cpus=513");
	BAD("--cpus: '2x'", "--cpus=2x");
	BAD("--cpus: '-1'", "--cpus=-1");
	BAD("--cpus: ''", "--cpus=");
	BAD("--cpus: '18446744073709551617'", "--cpus=18446744073709551617");
	BAD("--memory: must be above 0", "--memory=0");
	BAD("--memory: must be above 0", "--memory=0G");
	BAD("--memory: 'lots' is not a size", "--memory=lots");
	BAD("--memory: '1.5G' is not a size", "--memory=1.5G");
	BAD("--memory: '1KB' is not a size", "--memory=1KB");
	BAD("--memory: '99999999999999T' is too large", "--memory=99999999999999T");
	BAD("--memory: '5K' is not a multiple of 4K", "--memory=5K");
	BAD("--transport: 'isa' is none of auto, pci, mmio", "--transport=isa");
	BAD("--irqchip: 'pic' is none of auto, gicv3-its, gicv3, gicv2m, gicv2", "--irqchip=pic");
	BAD("--console: 'tty' is none of stdio, none, pty, file=PATH, socket=PATH", "--console=tty");
	BAD("--log-level: 'all' is none of error, warn, info, debug", "--log-level=all");
	BAD("--log-format: 'xml' is none of text, json", "--log-format=xml");
	BAD("--timeout: 'soon' is not a duration", "--timeout=soon");
	BAD("--timeout: must be above 0", "--timeout=0s");
	BAD("--timeout: '9999999999999h' is too long", "--timeout=9999999999999h");
	BAD("--grace: 'never' is not a duration", "--grace=never");
	BAD("--grace: '-1' is not a duration", "--grace=-1");
	BAD("--panic-text: '(': ", "--kernel", "I", "--panic-text", "(");
	BAD("--panic-text: 'x*' matches every line", "--panic-text=x*");
	BAD("--result: fd: 'x' is not a number", "--result=fd=x");
}
END_TEST

START_TEST(test_options_sizes_and_durations_have_units)
{
	static const struct { const char *text; uint64_t value; } sizes[] = {
		{ "64", 64 * MIB }, { "64M", 64 * MIB }, { "65536k", 64 * MIB }, { "2g", 2 * GIB }, { "1T", 1024 * GIB },
	}, times[] = {
		{ "5", 5000000000 }, { "5s", 5000000000 }, { "7ms", 7000000 }, { "2m", 120000000000 },
		{ "1h", 3600000000000 },
	};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		GOOD("--memory", sizes[i].text);
		ck_assert_uint_eq(o.config.memory, sizes[i].value);
	}
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		GOOD("--timeout", times[i].text);
		ck_assert_uint_eq(o.config.timeout_ns, times[i].value);
	}
	GOOD("--grace", "250ms");
	ck_assert_uint_eq(o.config.grace_ns, 250000000);
	GOOD("--grace", "0s");
	ck_assert_uint_eq(o.config.grace_ns, 0);
	GOOD("--panic-text", "Kernel panic|Oops");
	ck_assert_str_eq(o.config.panic_text, "Kernel panic|Oops");
	GOOD("--result", "fd=9");
	ck_assert_int_eq(o.config.result_fd, 9);
}
END_TEST

START_TEST(test_options_cmdline_adds_up_and_own_console_replaces_ours)
{
	char longest[2048 + 1];

	GOOD("--cmdline", "a", "--cmdline=b");
	ck_assert_str_eq(o.config.cmdline, "console=ttyAMA0 console=hvc0 a b");
	GOOD("--cmdline", "quiet console=ttyAMA0");
	ck_assert_str_eq(o.config.cmdline, "quiet console=ttyAMA0");
	GOOD("--cmdline", "console=hvc0", "--cmdline", "x");
	ck_assert_str_eq(o.config.cmdline, "console=hvc0 x");
	GOOD("--cmdline", "netconsole=1");
	ck_assert_str_eq(o.config.cmdline, "console=ttyAMA0 console=hvc0 netconsole=1");

	memset(longest, 'x', sizeof(longest));
	longest[2047 - 29] = '\0'; /* "console=ttyAMA0 console=hvc0 " */
	GOOD("--cmdline", longest);
	ck_assert_uint_eq(strlen(o.config.cmdline), 2047);
	memset(longest, 'x', sizeof(longest));
	longest[2047 - 28] = '\0';
	BAD("longer than 2047", "--kernel", "I", "--cmdline", longest);
	longest[2047 - 28] = 'x';
	longest[2048] = '\0';
	BAD("longer than 2047", "--kernel", "I", "--cmdline", longest);
}
END_TEST

START_TEST(test_options_net_keys_arrive)
{
	const struct dev_config *d = &o.config.devices[2];
	static const uint8_t mac[6] = { 2, 0, 0, 0xab, 0xcd, 0xef };

	GOOD("--net", "tap0,vhost=on,queues=4,mac=02:00:00:aB:cd:EF,mtu=9000,id=lan,transport=mmio,irq=direct");
	ck_assert_uint_eq(o.config.nr_devices, 3);
	ck_assert_int_eq(d->kind, DEV_NET);
	ck_assert_str_eq(d->id, "lan");
	ck_assert_int_eq(d->transport, TRANSPORT_MMIO);
	ck_assert_str_eq(d->net.tap, "tap0");
	ck_assert_int_eq(d->net.vhost, TRI_ON);
	ck_assert_uint_eq(d->net.queues, 4);
	ck_assert_mem_eq(d->net.mac, mac, 6);
	ck_assert_uint_eq(d->net.mtu, 9000);
	ck_assert(d->irq_direct);
	GOOD("--net", "tap=tap1,vhost=off");
	ck_assert_int_eq(d->net.vhost, TRI_OFF);
	ck_assert_uint_eq(d->net.iops | d->net.bps, 0);
	GOOD("--net", "tap1,iops=1000,bps=3M");
	ck_assert_uint_eq(d->net.iops, 1000);
	ck_assert_uint_eq(d->net.bps, 3 * MIB);
	GOOD("--net", "user,bps=500");
	ck_assert_uint_eq(d->net.bps, 500);
	GOOD("--net", "tap=tap1,vhost");
	ck_assert_str_eq(d->net.tap, "tap1");
	ck_assert_int_eq(d->net.vhost, TRI_ON);
	ck_assert_uint_eq(d->net.queues, 1);
}
END_TEST

START_TEST(test_options_net_descriptors_set_the_queues)
{
	const struct net_options *n = &o.config.devices[2].net;

	GOOD("--net", "fd=5:7,fd=6");
	ck_assert_ptr_null(n->tap);
	ck_assert_uint_eq(n->nr_fds, 3);
	ck_assert_int_eq(n->fds[0], 5);
	ck_assert_int_eq(n->fds[1], 7);
	ck_assert_int_eq(n->fds[2], 6);
	ck_assert_uint_eq(n->queues, 3);
	BAD_NET("queues=2, but 1 descriptors", "fd=5,queues=2");
	BAD_NET("fd: '2' is not a number from 3", "fd=2");
	BAD_NET("fd: '' is not a number", "fd=4:");
	BAD_NET("descriptor 4 is given twice", "fd=4:4");
	BAD_NET("more than 16 descriptors", "fd=3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19");
}
END_TEST

START_TEST(test_options_net_bad_keys_and_values_are_named)
{
	BAD_NET("--net: unknown key 'speed' (it knows tap, fd, vhost, queues, mac, mtu, iops, bps, irq, user, publish, loopback, id, transport)",
		"tap0,speed=9");
	BAD_NET("--net: queues= is given twice", "tap0,queues=1,queues=2");
	BAD_NET("--net: queues needs a value (queues=N)", "tap0,queues");
	BAD_NET("--net: an empty part", "tap0,");
	BAD_NET("--net: an empty part", "");
	BAD_NET("--net: none of tap=, fd= and user is given", "vhost=on");
	BAD_NET("--net: none of tap=, fd= and user is given", "user=off");
	BAD_NET("--net: tap= and fd= exclude", "tap0,fd=4");
	BAD_NET("--net: tap: '' is no interface name", "tap=");
	BAD_NET("is no interface name", "sixteen-letters!");
	BAD_NET("is no interface name", "tap%d");
	BAD_NET("is no interface name", "a/b");
	BAD_NET("--net: user and vhost=on exclude each other", "user,vhost=on");
	BAD_NET("--net: iops: '0' is not a number from 1 to 1000000000", "tap0,iops=0");
	BAD_NET("--net: bps: must be above 0", "tap0,bps=0");
	BAD_NET("--net: vhost=on and iops= exclude each other: its packets do not pass this process (use vhost=off)", "tap0,vhost=on,iops=9");
	BAD_NET("--net: vhost=on and bps= exclude each other", "tap0,bps=1M,vhost");
	BAD("net0: irq=direct is about interrupts of vhost", "--kernel", "Image", "--net", "tap0,bps=1M,transport=mmio,irq=direct");
	BAD_NET("--net: user and queues= above 1 exclude each other", "user,queues=2");
	BAD_NET("--net: user and irq=direct exclude each other", "user,irq=direct");
	BAD_NET("--net: user and fd= exclude each other", "user,fd=4");
	BAD_NET("--net: user and tap= exclude each other", "tap0,user");
	BAD_NET("--net: publish= is for user", "tap0,publish=1:1");
	BAD_NET("--net: loopback is for user", "tap0,loopback");
	BAD_NET("--net: publish: '80' is not HOST:GUEST", "user,publish=80");
	BAD_NET("--net: publish: '0' is not a number from 1 to 65535", "user,publish=0:80");
	BAD_NET("--net: publish: '65536' is not a number", "user,publish=80:65536");
	BAD_NET("--net: publish: '' is not a number", "user,publish=80:");
	BAD_NET("--net: publish: '80:1' is not a number", "user,publish=80:80:1");
	BAD_NET("--net: publish: '9999999999999999999999' is not a number", "user,publish=9999999999999999999999:1");
	BAD_NET("--net: publish: '000000080800' is not a number from 1 to 65535", "user,publish=000000080800:1");
	BAD_NET("--net: publish: '000000000000000000000000000080:1' is no number", "user,publish=000000000000000000000000000080:1");
	BAD_NET("--net: fd: '00000000003x' is not a number from 3", "fd=00000000003x:4");
	BAD_NET("--net: publish: the host's port 80 is given twice", "user,publish=80:80,publish=80:81");
	BAD_NET("--net: publish: more than 16", "user,publish=1:1,publish=2:1,publish=3:1,publish=4:1,publish=5:1,publish=6:1,"
		"publish=7:1,publish=8:1,publish=9:1,publish=10:1,publish=11:1,publish=12:1,publish=13:1,publish=14:1,publish=15:1,"
		"publish=16:1,publish=17:1");
	BAD_NET("queues: '0' is not a number from 1 to 16", "tap0,queues=0");
	BAD_NET("queues: '17'", "tap0,queues=17");
	BAD_NET("mtu: '67' is not a number from 68 to 65535", "tap0,mtu=67");
	BAD_NET("vhost: 'maybe' is none of auto, on, off", "tap0,vhost=maybe");
	BAD_NET("irq: 'x' is none of hop, direct", "tap0,irq=x");
	BAD_NET("irq=direct is for transport=mmio", "tap0,irq=direct,transport=pci");
	BAD_NET("mac: '02:00:00:00:00' is not a MAC", "tap0,mac=02:00:00:00:00");
	BAD_NET("is not a MAC", "tap0,mac=02-00-00-00-00-01");
	BAD_NET("is not a MAC", "tap0,mac=02:00:00:00:00:0g");
	BAD_NET("multicast", "tap0,mac=03:00:00:00:00:01");
	BAD_NET("is no address", "tap0,mac=00:00:00:00:00:00");
	BAD_NET("an id is 1 to 15", "tap0,id=");
	BAD_NET("an id is 1 to 15", "tap0,id=a.b");
	BAD_NET("an id is 1 to 15", "tap0,id=sixteen-letters-");
	BAD_NET("id=rng0 is taken", "tap0,id=rng0");
}
END_TEST

START_TEST(test_options_net_ids_are_unique_and_in_order)
{
	GOOD("--net", "a", "--net", "b,id=net2", "--net", "c", "--net", "d");
	ck_assert_str_eq(o.config.devices[2].id, "net0");
	ck_assert_str_eq(o.config.devices[3].id, "net2");
	ck_assert_str_eq(o.config.devices[4].id, "net3");
	ck_assert_str_eq(o.config.devices[5].id, "net4");
	BAD("id=x is taken", "--kernel", "I", "--net", "a,id=x", "--net", "b,id=x");
	BAD("net1: tap a is net0's already", "--kernel", "I", "--net", "a", "--net", "a");
	BAD("net1: descriptor 9 is net0's already", "--kernel", "I", "--net", "fd=9", "--net", "fd=9");
	BAD("net1: mac= is net0's already", "--kernel", "I", "--net", "a,mac=02:00:00:00:00:01", "--net",
	    "b,mac=02:00:00:00:00:01");
}
END_TEST

START_TEST(test_options_guest_status_is_the_last_device)
{
	const struct config *c = &o.config;

	GOOD("--guest-status", "--net", "tap0");
	ck_assert_uint_eq(c->nr_devices, 4);
	ck_assert_int_eq(c->devices[3].kind, DEV_STATUS);
	ck_assert_str_eq(c->devices[3].id, "status0");
	BAD("--guest-status: id=status0 is taken", "--kernel", "I", "--guest-status", "--net", "tap0,id=status0");
}
END_TEST

START_TEST(test_options_vfio)
{
	const struct dev_config *d = o.config.devices + 2;

	GOOD("--vfio", "0000:0A:1f.3", "--net", "tap0", "--vfio=host=10:00.0,id=disk,transport=pci", "--vfio", "0001:00:00.0");
	ck_assert_int_eq(d[0].kind, DEV_VFIO);
	ck_assert_str_eq(d[0].vfio.host, "0000:0a:1f.3");
	ck_assert_str_eq(d[0].id, "vfio0");
	ck_assert_str_eq(d[1].id, "net0");
	ck_assert_str_eq(d[2].vfio.host, "0000:10:00.0");
	ck_assert_str_eq(d[2].id, "disk");
	ck_assert_str_eq(d[3].id, "vfio2");
	BAD("'eth0' is no PCI address", "--kernel", "Image", "--vfio", "eth0");
	BAD("host= is not given", "--kernel", "Image", "--vfio", "id=a");
	BAD("transport=mmio cannot be", "--kernel", "Image", "--vfio", "00:01.0,transport=mmio");
	BAD("unknown key 'queues'", "--kernel", "Image", "--vfio", "00:01.0,queues=2");
	BAD("--vfio: id=net0 is taken", "--kernel", "Image", "--vfio", "00:01.0,id=net0", "--net", "tap0,id=net0");
	BAD("vfio1: 0000:00:01.0 is vfio0's already", "--kernel", "Image", "--vfio", "00:01.0", "--vfio", "0000:00:01.0");
}
END_TEST

START_TEST(test_options_too_many_devices_are_refused)
{
	char name[CONFIG_MAX_DEVICES][16];
	const char *argv[3 + 2 * CONFIG_MAX_DEVICES] = { "microvm", "--kernel=I" };
	int argc = 2;

	for (int i = 0; i < CONFIG_MAX_DEVICES - 1; i++) { /* the console and rng are there already */
		snprintf(name[i], sizeof(name[i]), "tap%d", i);
		argv[argc++] = "--net";
		argv[argc++] = name[i];
	}
	memset(&o, 0, sizeof(o));
	ck_assert_int_lt(options_parse(&o, argc, argv, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.text, "more than 64 devices"));
	options_free(&o);
	memset(&o, 0, sizeof(o));
	ck_assert_int_eq(options_parse(&o, argc - 2, argv, &e), 0);
	ck_assert_uint_eq(o.config.nr_devices, CONFIG_MAX_DEVICES);
}
END_TEST

START_TEST(test_options_default_mac_is_stable_local_and_unicast)
{
	uint8_t a[6], b[6], c[6];

	mac_default("tap0", a);
	mac_default("tap0", b);
	mac_default("tap1", c);
	ck_assert_mem_eq(a, b, 6);
	ck_assert_mem_ne(a, c, 6);
	ck_assert_int_eq(a[0] & 3, 2);
	mac_default(NULL, b);
	mac_default(NULL, c);
	ck_assert_int_eq(b[0] & 3, 2);
	ck_assert_mem_ne(b, c, 6);
	GOOD("--net", "tap0");
	ck_assert(o.config.devices[2].net.has_mac);
	ck_assert_mem_eq(o.config.devices[2].net.mac, a, 6);
}
END_TEST

START_TEST(test_options_cards_of_other_processes)
{
	const struct dev_config *d = o.config.devices;
	uint8_t a[6];

	GOOD("--vhost-user", "net,socket=/run/a", "--vhost-user", "net,socket=/run/b,queues=4,mtu=1400,mac=52:54:00:00:00:01", "--vhost-user=net,fd=7",
	     "--vhost-user=net,fd=8");
	ck_assert(d[2].kind == DEV_VHOST_USER && d[2].vuser.kind == VUSER_KIND_NET && d[2].net.queues == 1 && !d[2].net.mtu);
	mac_default("/run/a", a);
	ck_assert_mem_eq(d[2].net.mac, a, 6);
	ck_assert(d[3].net.queues == 4 && d[3].net.mtu == 1400);
	ck_assert_mem_eq(d[3].net.mac, "\x52\x54\0\0\0\1", 6);
	ck_assert_mem_ne(d[4].net.mac, d[5].net.mac, 6);
	BAD("--vhost-user: queues=5, but a card by vhost-user has at most 4 pairs", "--kernel", "I", "--vhost-user", "net,socket=/s,queues=5");
	BAD("--vhost-user: queues", "--kernel", "I", "--vhost-user", "net,socket=/s,queues=0");
	BAD("--vhost-user: mtu", "--kernel", "I", "--vhost-user", "net,socket=/s,mtu=67");
	BAD("--vhost-user: mac", "--kernel", "I", "--vhost-user", "net,socket=/s,mac=1");
	BAD("--vhost-user: tag= is for fs", "--kernel", "I", "--vhost-user", "net,socket=/s,tag=t");
	BAD("--vhost-user: neither socket= nor fd= is given", "--kernel", "I", "--vhost-user", "net,queues=2");
	BAD("vhost-user0: mac= is net0's already", "--kernel", "I", "--net", "t,mac=52:54:00:00:00:01", "--vhost-user",
	    "net,socket=/s,mac=52:54:00:00:00:01");
}
END_TEST

/* The man page */

static char page[64 * 1024];

static void read_page(void)
{
	FILE *f = fopen(MAN_PAGE, "r");
	size_t n;

	ck_assert_msg(f, "%s: run from the top of the tree", MAN_PAGE);
	n = fread(page, 1, sizeof(page) - 1, f);
	fclose(f);
	page[n] = '\0';
}

/* "--dry-run" as the page has it: dashes of names are plain, the first two escaped. */
static void heading(char *buf, size_t cap, const struct option *opt)
{
	snprintf(buf, cap, "\n.TP\n.B \\-\\-%s%s%s\n", opt->name, opt->arg ? " " : "", opt->arg ? opt->arg : "");
}

static void check_keys(const struct devopt_key *k)
{
	char line[128];

	for (; k->name; k++) {
		snprintf(line, sizeof(line), "\n.TP\n.B %s=%s\n", k->name, k->arg);
		ck_assert_msg(strstr(page, line), "the man page lacks: %s", line);
	}
}

START_TEST(test_options_man_page_has_every_option)
{
	size_t n;
	const struct option *t = options_table(&n);
	char line[128];

	read_page();
	for (size_t i = 0; i < n; i++) {
		heading(line, sizeof(line), &t[i]);
		ck_assert_msg(strstr(page, line), "man page: %s", line);
		if (t[i].device) {
			check_keys(t[i].device->keys);
			check_keys(devopt_common);
		}
	}
}
END_TEST

START_TEST(test_options_man_page_has_no_other_option)
{
	static const char start[] = "\n.B \\-\\-";

	read_page();
	for (char *p = strstr(page, start); p; p = strstr(p + 1, start)) {
		char name[40] = "";
		const struct option *opt;

		sscanf(p + sizeof(start) - 1, "%39[a-z0-9-]", name);
		opt = options_find(name);
		ck_assert_msg(opt, "the man page has --%s", name);
	}
}
END_TEST

START_TEST(test_options_usage_names_every_option_in_short_lines)
{
	char *text = NULL;
	size_t len, n;
	const struct option *t = options_table(&n);
	FILE *f = open_memstream(&text, &len);
	char word[48];

	options_usage(f);
	fclose(f);
	for (size_t i = 0; i < n; i++) {
		snprintf(word, sizeof(word), "\n  --%s ", t[i].name);
		ck_assert_msg(strstr(text, word), "usage: %s", t[i].name);
	}
	for (char *p = text; *p; p = strchr(p, '\n') + 1)
		ck_assert_int_le(strchr(p, '\n') - p, 120);
	free(text);
}
END_TEST

static void forget(void)
{
	options_free(&o);
}

int main(void)
{
	Suite *s = suite_create("options");
	TCase *t = tcase_create("options");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, NULL, forget);
	tcase_add_test(t, test_options_vsock);
	tcase_add_test(t, test_options_kernel_alone_gives_defaults);
	tcase_add_test(t, test_options_every_value_arrives);
	tcase_add_test(t, test_options_initrds_come_in_their_order_and_are_eight);
	tcase_add_test(t, test_options_net_user_needs_no_tap);
	tcase_add_test(t, test_options_help_and_version_need_nothing_else);
	tcase_add_test(t, test_options_doctor_needs_no_kernel_and_judges_the_rest);
	tcase_add_test(t, test_options_without_kernel_is_refused);
	tcase_add_test(t, test_options_unknown_and_stray_arguments_are_named);
	tcase_add_test(t, test_options_missing_and_needless_values_are_named);
	tcase_add_test(t, test_options_repeats_are_refused);
	tcase_add_test(t, test_options_irqchip_and_routing_by_name);
	tcase_add_test(t, test_options_sandbox_by_name);
	tcase_add_test(t, test_options_balloon_alone_or_with_keys);
	tcase_add_test(t, test_options_devices_of_other_processes);
	tcase_add_test(t, test_options_cards_of_other_processes);
	tcase_add_test(t, test_options_of_later_versions_are_refused_by_name);
	tcase_add_test(t, test_options_pmem);
	tcase_add_test(t, test_options_bad_values_name_the_choices);
	tcase_add_test(t, test_options_sizes_and_durations_have_units);
	tcase_add_test(t, test_options_cmdline_adds_up_and_own_console_replaces_ours);
	tcase_add_test(t, test_options_net_keys_arrive);
	tcase_add_test(t, test_options_net_descriptors_set_the_queues);
	tcase_add_test(t, test_options_net_bad_keys_and_values_are_named);
	tcase_add_test(t, test_options_net_ids_are_unique_and_in_order);
	tcase_add_test(t, test_options_guest_status_is_the_last_device);
	tcase_add_test(t, test_options_vfio);
	tcase_add_test(t, test_options_too_many_devices_are_refused);
	tcase_add_test(t, test_options_default_mac_is_stable_local_and_unicast);
	tcase_add_test(t, test_options_man_page_has_every_option);
	tcase_add_test(t, test_options_man_page_has_no_other_option);
	tcase_add_test(t, test_options_usage_names_every_option_in_short_lines);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
