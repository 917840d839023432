// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/report.h"

#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "vmm/doctor/files.h"
#include "vmm/doctor/host.h"
#include "vmm/doctor/lines.h"
#include "vmm/doctor/why.h"

static struct config config;
static struct doctor_facts facts;

/* A host as one wishes it, and one network card. */
static void good_host(void)
{
	memset(&config, 0, sizeof(config));
	config.cpus = 1;
	config.memory = 256 * MIB;
	config.nr_devices = 2;
	config.devices[0] = (struct dev_config){ .kind = DEV_RNG, .id = "rng0" };
	config.devices[1] = (struct dev_config){
		.kind = DEV_NET, .id = "net0", .net = { .tap = "tap0", .queues = 1 },
	};
	memset(&facts, 0, sizeof(facts));
	facts.config = &config;
	facts.host = (struct host){
		.release = "6.1.0-56-arm64", .build = "#1 SMP Debian 6.1.192-1 (2026-11-16)", .machine = "aarch64",
		.version = { 6, 1, 192 }, .version_known = true, .cpus = 4, .page_size = 4096,
		.memory = 4 * GIB, .tun.loaded = true, .vhost_net = { .exists = true, .loaded = true },
		.vfio.error = -ENODEV, .net_admin = true, .uring_disabled = -1, .thp = "madvise",
		.iommu.memlock = UINT64_MAX,
	};
	facts.host.taps[1] = (struct tap_facts){
		.given = true, .exists = true, .is_tap = true, .up = true, .allowed = true,
	};
	facts.caps = (struct caps){
		.gicv3 = true, .its = true, .msi_devid = true, .irqfd = true, .resample = true, .ioeventfd = true,
		.signal_msi = true, .max_gsis = 4096, .pages = 5, .nisv = true, .steal_time = true,
	};
	facts.plan_facts = (struct host_facts){
		.max_ipa_bits = 44, .max_cpus = 512, .max_memory = 4 * GIB, .gicv3 = true, .its = true,
	};
	facts.uring = (struct uring_facts){ .features = 0x3fff, .restrictions = true, .quiet = true };
}

static void plan(void)
{
	facts.plan_error = plan_make(&config, &facts.plan_facts, &facts.plan, &facts.plan_text);
}

/* Versions and holes */

static void read_version(const char *release, const char *build, const char *signature, bool known, unsigned major,
			 unsigned minor, unsigned patch)
{
	struct kernel_version v;

	ck_assert_int_eq(kernel_version_read(release, build, signature, &v), known);
	ck_assert_uint_eq(v.major, major);
	ck_assert_uint_eq(v.minor, minor);
	ck_assert_uint_eq(v.patch, patch);
}

START_TEST(test_version_of_distributions_is_kernel_orgs)
{
	read_version("6.1.119", "#1 SMP PREEMPT", "", true, 6, 1, 119);
	read_version("7.1.0-rc3-dirty", "#1 SMP", "", true, 7, 1, 0);
	read_version("6.18.44-custom", "#1 SMP", "", true, 6, 18, 44);
	read_version("6.1.0-28-arm64", "#1 SMP Debian 6.1.119-1 (2024-11-22)", "", true, 6, 1, 119);
	read_version("6.12.95+deb12-cloud-arm64", "#1 SMP Debian 6.12.95-1~bpo12+1 (2026-07-05)", "", true, 6, 12, 95);
	read_version("6.8.0-45-generic", "#45-Ubuntu SMP", "Ubuntu 6.8.0-45.45-generic 6.8.12", true, 6, 8, 12);
	read_version("6.8.0-45-generic", "#45-Ubuntu SMP", "", false, 6, 8, 0);
	read_version("5.14.0-427.el9.aarch64", "#1 SMP", "", false, 5, 14, 0);
	read_version("", "", "", false, 0, 0, 0);
	read_version("six", "Debian what", "Ubuntu ", false, 0, 0, 0);
}
END_TEST

START_TEST(test_version_comparison_is_by_number_not_by_letter)
{
	struct kernel_version a = { 6, 1, 9 }, b = { 6, 1, 10 }, c = { 6, 10, 0 }, d = { 7, 0, 0 };

	ck_assert_int_lt(kernel_version_cmp(a, b), 0);
	ck_assert_int_lt(kernel_version_cmp(b, c), 0);
	ck_assert_int_lt(kernel_version_cmp(c, d), 0);
	ck_assert_int_gt(kernel_version_cmp(d, a), 0);
	ck_assert_int_eq(kernel_version_cmp(b, b), 0);
}
END_TEST

static const struct hole *find_hole(const char *cve)
{
	size_t n;
	const struct hole *h = holes_table(&n);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(h[i].cve, cve))
			return &h[i];
	ck_abort_msg("%s is not in the table", cve);
	return NULL;
}

static void judge(const char *cve, unsigned major, unsigned minor, unsigned patch, enum hole_state want)
{
	struct kernel_version v = { major, minor, patch };
	enum hole_state got = hole_judge(find_hole(cve), v, true);

	ck_assert_msg(got == want, "%s in %u.%u.%u: %s", cve, major, minor, patch, hole_state_name(got));
}

START_TEST(test_hole_is_judged_branch_by_branch)
{
	/* the translation cache of the ITS: 6.10 brought it */
	judge("CVE-2026-46316", 6, 1, 50, HOLE_NEVER);
	judge("CVE-2026-46316", 6, 9, 12, HOLE_NEVER);
	judge("CVE-2026-46316", 6, 10, 0, HOLE_OPEN);
	judge("CVE-2026-46316", 6, 12, 92, HOLE_OPEN);
	judge("CVE-2026-46316", 6, 12, 93, HOLE_FIXED);
	judge("CVE-2026-46316", 6, 13, 7, HOLE_OPEN);
	judge("CVE-2026-46316", 6, 18, 34, HOLE_OPEN);
	judge("CVE-2026-46316", 6, 18, 35, HOLE_FIXED);
	judge("CVE-2026-46316", 7, 0, 11, HOLE_OPEN);
	judge("CVE-2026-46316", 7, 0, 12, HOLE_FIXED);
	judge("CVE-2026-46316", 7, 1, 0, HOLE_FIXED);
	judge("CVE-2026-23086", 6, 1, 161, HOLE_OPEN);
	judge("CVE-2026-23086", 6, 1, 162, HOLE_FIXED);
	judge("CVE-2026-46321", 6, 1, 175, HOLE_OPEN);
	judge("CVE-2026-46321", 6, 1, 176, HOLE_FIXED);
	judge("CVE-2026-74684", 6, 12, 104, HOLE_OPEN);
	ck_assert_int_eq(hole_judge(find_hole("CVE-2026-46316"), (struct kernel_version){ 5, 14, 0 }, false),
			 HOLE_UNKNOWN);
}
END_TEST

START_TEST(test_hole_names_the_fix_of_the_own_branch_or_the_next)
{
	const struct hole *h = find_hole("CVE-2026-46316");
	const struct kernel_version *v = hole_fix_for(h, (struct kernel_version){ 6, 12, 5 });

	ck_assert_uint_eq(v->minor, 12);
	v = hole_fix_for(h, (struct kernel_version){ 6, 14, 0 });
	ck_assert_uint_eq(v->minor, 18);
	ck_assert_ptr_null(hole_fix_for(h, (struct kernel_version){ 7, 2, 0 }));
}
END_TEST

START_TEST(test_hole_table_is_in_order)
{
	size_t n;
	const struct hole *h = holes_table(&n);

	ck_assert_uint_gt(n, 8);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_gt(h[i].nr_fixed, 0);
		ck_assert_int_lt(kernel_version_cmp(h[i].since, h[i].fixed[0]), 0);
		for (unsigned k = 1; k < h[i].nr_fixed; k++)
			ck_assert_int_lt(kernel_version_cmp(h[i].fixed[k - 1], h[i].fixed[k]), 0);
		ck_assert_ptr_nonnull(hole_area_without(h[i].area));
	}
}
END_TEST

/* Files */

static char root[] = "/tmp/doctor.XXXXXX";

static void __attribute__((format(printf, 2, 3))) put(const char *path, const char *fmt, ...)
{
	char full[300], *slash = full + strlen(root);
	va_list ap;
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	while ((slash = strchr(slash + 1, '/'))) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
}

static void make_root(void)
{
	good_host();
	strcpy(root, "/tmp/doctor.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void drop_root(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(test_files_numbers_and_fields)
{
	static const char status[] = "Name:\tx\nCapEff:\t0000000000001000\nNoNewPrivs:\t1\n";

	put("/a", "0x1001\n");
	put("/b", "-1\n");
	put("/c", "none");
	ck_assert_int_eq(file_number(root, 7, "/%c", 'a'), 0x1001);
	ck_assert_int_eq(file_number(root, 7, "/b"), -1);
	ck_assert_int_eq(file_number(root, 7, "/c"), 7);
	ck_assert_int_eq(file_number(root, 7, "/nothere"), 7);
	ck_assert_uint_eq(field_number(status, "CapEff", 16), 0x1000);
	ck_assert_uint_eq(field_number(status, "Cap", 16), 0);
	ck_assert(misc_has("232 kvm\n 10 vhost-net\n200 tun", "tun"));
	ck_assert(misc_has("232 kvm\n 10 vhost-net\n200 tun\n", "vhost-net"));
	ck_assert(!misc_has("232 kvm\n 10 vhost-net\n", "vhost"));
	ck_assert(!misc_has("", "kvm"));
}
END_TEST

START_TEST(test_host_with_everything_is_read)
{
	struct host h;

	put("/proc/misc", "200 tun\n238 vhost-net\n");
	put("/dev/net/tun", "x");
	put("/dev/vhost-net", "x");
	put("/proc/meminfo", "MemTotal:  1000 kB\nSwapTotal: 5 kB\nHugePages_Total: 8\nHugePages_Free: 3\nHugepagesize: 2048 kB\n");
	put("/proc/cmdline", "quiet kvm-arm.mode=protected root=/dev/vda\n");
	put("/proc/self/status", "CapEff:\t0000000000005000\n");
	put("/proc/sys/kernel/io_uring_disabled", "1\n");
	put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	put("/sys/class/dmi/id/sys_vendor", "QEMU\n");
	put("/sys/class/iommu/smmu3.0x9050000/x", " ");
	put("/sys/kernel/iommu_groups/0/x", " ");
	put("/sys/kernel/iommu_groups/1/x", " ");
	put("/sys/bus/pci/drivers/vfio-pci/0000:00:02.0", " ");
	put("/sys/bus/pci/drivers/vfio-pci/bind", " ");
	host_probe(root, &config, &h);
	ck_assert_uint_eq(h.memory, 1000 * KIB);
	ck_assert_uint_eq(h.huge.free, 3);
	ck_assert_str_eq(h.kvm_mode, "protected");
	ck_assert_str_eq(h.thp, "madvise");
	ck_assert_str_eq(h.inside, "QEMU");
	ck_assert_int_eq(h.uring_disabled, 1);
	ck_assert_int_eq(h.tun.error, 0);
	ck_assert_int_eq(h.vhost_net.error, 0);
	ck_assert_int_eq(h.vhost_vsock.error, -ENOENT);
	ck_assert(h.net_admin && h.iommu.memlock_free);
	ck_assert_uint_eq(h.iommu.units, 1);
	ck_assert_uint_eq(h.iommu.groups, 2);
	ck_assert_str_eq(h.iommu.names, "smmu3.0x9050000");
	ck_assert(h.iommu.vfio_pci);
	ck_assert_uint_eq(h.iommu.bound, 1);
	ck_assert(h.taps[1].given && !h.taps[1].exists);
	ck_assert(!h.taps[0].given);
}
END_TEST

START_TEST(test_host_without_files_is_known_to_be_without)
{
	struct host h;

	host_probe(root, &config, &h);
	ck_assert_uint_eq(h.memory, 0);
	ck_assert(!h.huge.known && !h.net_admin);
	ck_assert_int_eq(h.uring_disabled, -1);
	ck_assert_int_eq(h.tun.error, -ENOENT);
	ck_assert_str_eq(h.thp, "");
}
END_TEST

/*
 * A node whose module is not loaded is never opened: that would load it. The node is a socket here, which
 * cannot be opened, so that an attempt shows.
 */
START_TEST(test_host_node_of_an_absent_driver_is_not_opened)
{
	struct sockaddr_un node = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char path[160];
	struct utsname u;
	struct host h;

	put("/proc/misc", "232 kvm\n");
	put("/dev/x", " ");
	snprintf(node.sun_path, sizeof(node.sun_path), "%s/dev/vhost-net", root);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&node, sizeof(node)), 0);
	host_probe(root, &config, &h);
	ck_assert_int_eq(h.vhost_net.error, -ENODEV);
	uname(&u);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.devname", u.release);
	put(path, "tun net/tun c10:200\nvhost_net vhost-net c10:238\n");
	host_probe(root, &config, &h);
	ck_assert_int_eq(h.vhost_net.error, 0);
	ck_assert(h.vhost_net.loadable && !h.vhost_net.loaded);
	put("/proc/misc", "232 kvm\n238 vhost-net\n");
	host_probe(root, &config, &h);
	ck_assert_int_eq(h.vhost_net.error, -ENXIO);
	close(fd);
}
END_TEST

static void put_tap(const char *flags, const char *tun_flags, const char *owner, const char *carrier)
{
	put("/sys/class/net/tap0/flags", "%s\n", flags);
	put("/sys/class/net/tap0/tun_flags", "%s\n", tun_flags);
	put("/sys/class/net/tap0/owner", "%s\n", owner);
	put("/sys/class/net/tap0/group", "-1\n");
	put("/sys/class/net/tap0/carrier", "%s\n", carrier);
}

START_TEST(test_host_taps_rights_are_those_of_the_kernel)
{
	struct host h;
	char me[16];

	snprintf(me, sizeof(me), "%u", geteuid());
	put_tap("0x1003", "0x5002", me, "0");
	host_probe(root, &config, &h);
	ck_assert(h.taps[1].exists && h.taps[1].is_tap && h.taps[1].up && h.taps[1].allowed);
	ck_assert(!h.taps[1].multi_queue && !h.taps[1].in_use);
	put_tap("0x1002", "0x5102", "4000000", "1");
	host_probe(root, &config, &h);
	ck_assert(h.taps[1].multi_queue && !h.taps[1].up && !h.taps[1].allowed);
	put("/proc/self/status", "CapEff:\t0000000000001000\n");
	host_probe(root, &config, &h);
	ck_assert(h.taps[1].allowed);
	put_tap("0x1003", "0x5002", "-1", "1");
	host_probe(root, &config, &h);
	ck_assert(h.taps[1].allowed && h.taps[1].in_use);
	put("/sys/class/net/tap0/tun_flags", "0x1\n");
	host_probe(root, &config, &h);
	ck_assert(!h.taps[1].is_tap);
}
END_TEST

/* Reports */

static char *text(void)
{
	static char *buf;
	size_t len;
	FILE *f;

	free(buf);
	f = open_memstream(&buf, &len);
	ck_assert_ptr_nonnull(f);
	report_text(&facts, f);
	fclose(f);
	return buf;
}

static void says(const char *part)
{
	const char *all = text();

	ck_assert_msg(strstr(all, part), "'%s' is not in:\n%s", part, all);
}

static json_t *parsed(void)
{
	char *line = report_json(&facts);
	json_error_t e;
	json_t *o;

	ck_assert_ptr_nonnull(line);
	ck_assert_ptr_null(strchr(line, '\n'));
	o = json_loads(line, JSON_REJECT_DUPLICATES, &e);
	ck_assert_msg(o, "%s: %s", e.text, line);
	free(line);
	return o;
}

START_TEST(test_report_of_a_good_host)
{
	plan();
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_GOOD);
	says("A guest can run here with these options.");
	says("GICv3 with an ITS: this host's KVM has a GICv3 and an ITS");
	says("pci: a vector for each queue");
	says("packets by vhost-net: /dev/vhost-net can be opened");
	says("4K 64K");
	says("made of Linux              6.1.192");
	ck_assert_ptr_null(strstr(text(), "What would help"));
}
END_TEST

START_TEST(test_report_without_kvm_says_why_and_spares_the_rest)
{
	facts.kvm_error = -EACCES;
	err_set(&facts.kvm_text, -EACCES, "/dev/kvm: Permission denied (run as root)");
	memset(&facts.caps, 0, sizeof(facts.caps));
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_NO_GUEST);
	says("! usable                     no: /dev/kvm: Permission denied (run as root)");
	says("nothing, without KVM");
	says("No guest can run here.");
	ck_assert_ptr_null(strstr(text(), "GICv3"));
}
END_TEST

START_TEST(test_report_without_its_falls_back_and_says_so)
{
	facts.caps.its = facts.caps.msi_devid = facts.plan_facts.its = false;
	plan();
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_GOOD);
	says("GICv3 with a v2m frame: this host's KVM has a GICv3 and no ITS, so a v2m frame");
	says("  ITS                        no: messages become wired");
	config.devices[1].transport = TRANSPORT_MMIO;
	plan();
	says("GICv3: this host's KVM has a GICv3 and no ITS; no device sends messages");
	says("mmio: asked for by transport=");
}
END_TEST

START_TEST(test_report_of_a_host_with_a_gicv2)
{
	facts.caps.its = facts.caps.msi_devid = facts.plan_facts.its = false;
	facts.caps.gicv3 = facts.plan_facts.gicv3 = false;
	facts.caps.gicv2 = facts.plan_facts.gicv2 = true;
	plan();
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_GOOD);
	says("GICv2 with a v2m frame: this host's KVM has a GICv2 and no GICv3");
	says("pci: a vector for each queue");
	config.irqchip = IRQCHIP_GICV2;
	plan();
	says("GICv2: asked for by --irqchip");
	says("mmio: --irqchip gicv2 takes no messages");
	config.irqchip = IRQCHIP_GICV3;
	plan();
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_REFUSED);
}
END_TEST

START_TEST(test_report_of_options_that_are_refused)
{
	facts.caps.its = facts.plan_facts.its = false;
	config.irqchip = IRQCHIP_GICV3_ITS;
	plan();
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_REFUSED);
	says("! refused: irqchip: ");
	says("Guests can run here, but not with these options.");
	facts.least_error = -EOPNOTSUPP;
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_NO_GUEST);
}
END_TEST

START_TEST(test_report_of_missing_vhost_names_the_remedy)
{
	plan();
	facts.host.vhost_net = (struct node_facts){ .exists = true, .error = -ENODEV };
	says("- /dev/vhost-net             no: its driver is not there");
	says("modprobe vhost_net");
	says("packets by this process: /dev/vhost-net: No such device");
	facts.host.vhost_net = (struct node_facts){ .exists = true, .loaded = true, .error = -EACCES };
	says("ask for access to /dev/vhost-net");
	config.devices[1].net.vhost = TRI_ON;
	says("vhost=on will fail");
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_REFUSED);
	facts.host.vhost_net = (struct node_facts){ .exists = true, .loadable = true };
	says("the first use loads the module");
	says("asked for by vhost=on");
	config.devices[1].net.vhost = TRI_AUTO;
	config.devices[1].net.bps = 1000;
	says("packets by this process: iops= and bps= are kept by this process");
}
END_TEST

START_TEST(test_report_of_a_user_network_names_passt)
{
	config.devices[1].net = (struct net_options){ .user = true, .vhost = TRI_OFF, .queues = 1 };
	facts.host.taps[1] = (struct tap_facts){ .given = false };
	plan();
	says("user will fail: no program passt in PATH");
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_REFUSED);
	facts.host.passt = true;
	says("packets by passt: asked for by user");
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_GOOD);
}
END_TEST

START_TEST(test_report_of_a_tap_that_will_not_do)
{
	struct tap_facts *t = &facts.host.taps[1];

	plan();
	t->up = false;
	says("- " "                           tap0 is down; no packets until: ip link set tap0 up");
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_GOOD);
	t->in_use = true;
	says("tap0 is in use by another process");
	t->multi_queue = true;
	says("tap0 was made with multi_queue");
	t->allowed = false;
	says("tap0 belongs to another user");
	t->is_tap = false;
	says("tap0 is not a tap");
	t->exists = false;
	says("!                            tap0 does not exist (ip tuntap add tap0 mode tap user $USER)");
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_REFUSED);
}
END_TEST

START_TEST(test_report_of_a_device_that_cannot_be_handed_on)
{
	struct pass_facts *p = &facts.host.passed[1];

	config.devices[1] = (struct dev_config){ .kind = DEV_VFIO, .id = "vfio0", .vfio.host = "0000:00:02.0" };
	facts.host.taps[1].given = false;
	facts.host.vfio.error = 0;
	facts.host.iommu.memlock = MIB;
	*p = (struct pass_facts){ .given = true, .exists = true, .dev = { .driver = "vfio-pci", .group = 3 } };
	plan();
	says("vfio0                      pci: 0000:00:02.0 of the host's");
	says("and the limit is 1024 KiB (ulimit -l 262144)");
	facts.host.iommu.memlock_free = true;
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_GOOD);
	p->error = -EACCES;
	says("/dev/vfio/3: Permission denied");
	facts.host.vfio.error = -ENODEV;
	says("/dev/vfio/vfio: No such device");
	strcpy(p->blockers, "0000:00:03.0 (nvme)");
	says("its IOMMU group 3 goes as a whole, and the host still uses 0000:00:03.0 (nvme)");
	p->dev.group = -1;
	says("is behind no IOMMU");
	strcpy(p->dev.driver, "nvme");
	says("0000:00:02.0 belongs to nvme (as root: cd /sys/bus/pci; echo vfio-pci >devices/0000:00:02.0/driver_override; ");
	p->exists = false;
	says("this host has no PCI device 0000:00:02.0");
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_REFUSED);
}
END_TEST

START_TEST(test_report_of_denied_io_uring)
{
	plan();
	facts.uring = (struct uring_facts){ .error = -EPERM };
	facts.loop_error = -EPERM;
	ck_assert_int_eq(doctor_verdict(&facts), DOCTOR_NO_GUEST);
	says("seccomp profile");
	facts.host.uring_disabled = 2;
	says("! io_uring                   no: denied by kernel.io_uring_disabled=2");
	says("sysctl kernel.io_uring_disabled=0");
	facts.uring.error = -ENOSYS;
	says("CONFIG_IO_URING");
}
END_TEST

START_TEST(test_report_of_open_holes_names_version_and_way_out)
{
	plan();
	facts.host.version = (struct kernel_version){ 6, 12, 50 };
	says("CVE-2026-46316");
	says("fixed in 6.12.93; does without: --irqchip gicv3");
	says("fixed in 6.12.93; does without: --net TAP,vhost=off");
	ck_assert_ptr_null(strstr(text(), "CVE-2026-23086")); /* no vhost-vsock there */
	facts.caps.its = false;
	ck_assert_ptr_null(strstr(text(), "--irqchip gicv3"));
	facts.host.version = (struct kernel_version){ 9, 0, 0 };
	ck_assert_ptr_null(strstr(text(), "CVE-"));
	facts.host.version_known = false;
	says("this kernel's version does not tell");
}
END_TEST

static void same_keys(json_t *a, json_t *b)
{
	const char *key;
	json_t *v;

	ck_assert_uint_eq(json_object_size(a), json_object_size(b));
	json_object_foreach(a, key, v) {
		ck_assert_msg(json_object_get(b, key), "%s is missing", key);
		if (json_is_object(v))
			same_keys(v, json_object_get(b, key));
	}
}

static const char *string_at(json_t *o, const char *section, const char *key)
{
	return json_string_value(json_object_get(json_object_get(o, section), key));
}

START_TEST(test_report_json_has_the_same_keys_on_every_host)
{
	json_t *good, *bad;

	plan();
	good = parsed();
	ck_assert_str_eq(json_string_value(json_object_get(good, "verdict")), "good");
	ck_assert_str_eq(string_at(good, "plan", "irqchip"), "gicv3-its");
	ck_assert_str_eq(string_at(good, "host", "version"), "6.1.192");
	ck_assert(json_is_true(json_object_get(json_object_get(good, "kvm"), "msi_devid")));
	memset(&facts, 0, sizeof(facts));
	facts.config = &config;
	facts.kvm_error = facts.loop_error = facts.uring.error = -ENOENT;
	bad = parsed();
	same_keys(good, bad);
	ck_assert_str_eq(json_string_value(json_object_get(bad, "verdict")), "no-guest");
	ck_assert(json_is_null(json_object_get(json_object_get(bad, "kvm"), "its")));
	ck_assert(json_is_null(json_object_get(json_object_get(bad, "plan"), "irqchip")));
	json_decref(good);
	json_decref(bad);
}
END_TEST

START_TEST(test_report_json_of_odd_bytes_is_still_json)
{
	json_t *o;

	config.devices[1].net.tap = "t\xff\"\x1b";
	facts.host.taps[1].exists = false;
	strcpy(facts.host.inside, "QE\xffMU\n\"");
	err_set(&facts.plan_text, -EINVAL, "a \"quoted\" \\ name");
	plan();
	o = parsed();
	ck_assert_str_eq(string_at(o, "host", "inside"), "QE?MU?\"");
	json_decref(o);
	facts.plan_error = -EINVAL;
	o = parsed();
	ck_assert_str_eq(string_at(o, "plan", "error"), "a \"quoted\" \\ name");
	json_decref(o);
}
END_TEST

START_TEST(test_report_json_names_devices_and_advice)
{
	json_t *o, *dev;

	facts.host.vhost_net = (struct node_facts){ .error = -ENOENT };
	plan();
	o = parsed();
	dev = json_array_get(json_object_get(json_object_get(o, "plan"), "devices"), 1);
	ck_assert_str_eq(json_string_value(json_object_get(dev, "id")), "net0");
	ck_assert_str_eq(json_string_value(json_object_get(dev, "backend")), "process");
	ck_assert(json_is_null(json_object_get(dev, "trouble")));
	dev = json_array_get(json_object_get(o, "advice"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(dev, "key")), "vhost_net");
	ck_assert_uint_gt(json_array_size(json_object_get(o, "holes")), 8);
	json_decref(o);
}
END_TEST

/* For machines each fact once; for people no line without its text. */
START_TEST(test_lines_keys_are_unique)
{
	struct line lines[LINES_MAX];
	unsigned n = doctor_lines(&facts, lines);

	ck_assert_uint_le(n, LINES_MAX);
	for (unsigned i = 0; i < n; i++) {
		ck_assert_msg(!lines[i].label || lines[i].text[0], "%s has no text", lines[i].key);
		for (unsigned k = 0; k < i; k++)
			ck_assert(strcmp(lines[i].section, lines[k].section) || strcmp(lines[i].key, lines[k].key));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("doctor");
	TCase *pure = tcase_create("pure"), *files = tcase_create("files");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(pure, good_host, NULL);
	tcase_add_test(pure, test_version_of_distributions_is_kernel_orgs);
	tcase_add_test(pure, test_version_comparison_is_by_number_not_by_letter);
	tcase_add_test(pure, test_hole_is_judged_branch_by_branch);
	tcase_add_test(pure, test_hole_names_the_fix_of_the_own_branch_or_the_next);
	tcase_add_test(pure, test_hole_table_is_in_order);
	tcase_add_test(pure, test_report_of_a_good_host);
	tcase_add_test(pure, test_report_without_kvm_says_why_and_spares_the_rest);
	tcase_add_test(pure, test_report_without_its_falls_back_and_says_so);
	tcase_add_test(pure, test_report_of_a_host_with_a_gicv2);
	tcase_add_test(pure, test_report_of_options_that_are_refused);
	tcase_add_test(pure, test_report_of_missing_vhost_names_the_remedy);
	tcase_add_test(pure, test_report_of_a_user_network_names_passt);
	tcase_add_test(pure, test_report_of_a_tap_that_will_not_do);
	tcase_add_test(pure, test_report_of_a_device_that_cannot_be_handed_on);
	tcase_add_test(pure, test_report_of_denied_io_uring);
	tcase_add_test(pure, test_report_of_open_holes_names_version_and_way_out);
	tcase_add_test(pure, test_report_json_has_the_same_keys_on_every_host);
	tcase_add_test(pure, test_report_json_of_odd_bytes_is_still_json);
	tcase_add_test(pure, test_report_json_names_devices_and_advice);
	tcase_add_test(pure, test_lines_keys_are_unique);
	tcase_add_checked_fixture(files, make_root, drop_root);
	tcase_add_test(files, test_files_numbers_and_fields);
	tcase_add_test(files, test_host_with_everything_is_read);
	tcase_add_test(files, test_host_without_files_is_known_to_be_without);
	tcase_add_test(files, test_host_node_of_an_absent_driver_is_not_opened);
	tcase_add_test(files, test_host_taps_rights_are_those_of_the_kernel);
	suite_add_tcase(s, pure);
	suite_add_tcase(s, files);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
