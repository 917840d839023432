// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* After <net/if.h>: both know struct ifreq, and this order makes the kernel's headers yield. */
#include <linux/if_tun.h>

#include "vmm/base/cleanup.h"
#include "vmm/doctor/files.h"
#include "vmm/machine/passt.h"

#define SYS_NET "/sys/class/net/%s/"

/* The kernel */

static void probe_kernel(const char *root, struct host *h)
{
	struct utsname u;
	char signature[128];

	if (uname(&u))
		return;
	snprintf(h->release, sizeof(h->release), "%s", u.release);
	snprintf(h->build, sizeof(h->build), "%s", u.version);
	snprintf(h->machine, sizeof(h->machine), "%s", u.machine);
	file_line(root, signature, sizeof(signature), "/proc/version_signature");
	h->version_known = kernel_version_read(h->release, h->build, signature, &h->version);
}

/* Firmware says who made the machine; a VM's says so. */
static void probe_inside(const char *root, struct host *h)
{
	static const char *const vendors[] = { "QEMU", "KVM", "Amazon EC2", "Google", "VMware", "Apple Virt", "Parallels" };
	char vendor[64], product[64];

	file_line(root, vendor, sizeof(vendor), "/sys/class/dmi/id/sys_vendor");
	file_line(root, product, sizeof(product), "/sys/class/dmi/id/product_name");
	for (size_t i = 0; i < ARRAY_LEN(vendors); i++)
		if ((strstr(vendor, vendors[i]) || strstr(product, vendors[i])) && !strstr(product, ".metal")) {
			snprintf(h->inside, sizeof(h->inside), "%s", vendors[i]);
			return;
		}
	/* A device tree's root names the board: QEMU's is "linux,dummy-virt", as other monitors'. */
	if (file_line(root, product, sizeof(product), "/proc/device-tree/compatible") && strstr(product, "dummy-virt"))
		snprintf(h->inside, sizeof(h->inside), "%s", product);
}

/* kvm-arm.mode=nvhe, protected, nested, none */
static void probe_mode(const char *root, struct host *h)
{
	static const char key[] = "kvm-arm.mode=";
	char line[2048];
	const char *mode;

	if (!file_line(root, line, sizeof(line), "/proc/cmdline"))
		return;
	mode = strstr(line, key);
	if (!mode)
		return;
	mode += strlen(key);
	snprintf(h->kvm_mode, sizeof(h->kvm_mode), "%.*s", (int)strcspn(mode, " "), mode);
}

static void probe_memory(const char *root, struct host *h)
{
	char text[8192], *open, *close;

	file_read(root, text, sizeof(text), "/proc/meminfo");
	h->memory = field_number(text, "MemTotal", 10) * KIB;
	h->swap = field_number(text, "SwapTotal", 10) * KIB;
	h->huge = (struct hugepage_facts){
		.known = strstr(text, "HugePages_Total:"),
		.size = field_number(text, "Hugepagesize", 10) * KIB,
		.total = field_number(text, "HugePages_Total", 10),
		.free = field_number(text, "HugePages_Free", 10),
	};
	/* "always [madvise] never" */
	file_line(root, text, sizeof(text), "/sys/kernel/mm/transparent_hugepage/enabled");
	open = strchr(text, '[');
	close = open ? strchr(open, ']') : NULL;
	if (close)
		snprintf(h->thp, sizeof(h->thp), "%.*s", (int)(close - open - 1), open + 1);
}

/* Nodes and their drivers */

/* depmod's list of nodes that load a module: "vhost_net vhost-net c10:238" */
static bool node_loads(const char *root, const char *release, const char *node)
{
	char text[16384], want[48];

	snprintf(want, sizeof(want), " %s c", node);
	return file_read(root, text, sizeof(text), "/lib/modules/%s/modules.devname", release) && strstr(text, want);
}

/* @node below /dev, @driver as /proc/misc has it. */
static void probe_node(const char *root, const char *misc, const struct host *h, const char *node, const char *driver,
		       struct node_facts *n)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/dev/%s", root, node);
	n->exists = !access(path, F_OK);
	n->loaded = misc_has(misc, driver);
	n->loadable = !n->loaded && node_loads(root, h->release, node);
	if (!n->exists)
		n->error = -ENOENT;
	else if (access(path, R_OK | W_OK))
		n->error = -errno;
	else if (!n->loaded && !n->loadable)
		n->error = -ENODEV;
	if (n->error || !n->loaded)
		return;
	/* Permissions are not all of it: a container may be denied the device. */
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		n->error = -errno;
	else
		close(fd);
}

static void probe_nodes(const char *root, struct host *h)
{
	char misc[4096];

	file_read(root, misc, sizeof(misc), "/proc/misc");
	probe_node(root, misc, h, "net/tun", "tun", &h->tun);
	probe_node(root, misc, h, "vhost-net", "vhost-net", &h->vhost_net);
	probe_node(root, misc, h, "vhost-vsock", "vhost-vsock", &h->vhost_vsock);
	probe_node(root, misc, h, "vfio/vfio", "vfio", &h->vfio);
}

/* Rights */

static bool has_capability(const char *root, unsigned cap)
{
	char text[4096];

	return file_read(root, text, sizeof(text), "/proc/self/status") &&
	       field_number(text, "CapEff", 16) & BIT64(cap);
}

static bool in_group(gid_t group)
{
	gid_t groups[256];
	int n = getgroups(ARRAY_LEN(groups), groups);

	if (getegid() == group)
		return true;
	for (int i = 0; i < n; i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* The kernel's tun_not_capable(): an owner and a group that are set must both be ours. */
static bool may_attach(const char *root, const char *name, bool net_admin)
{
	long long owner = file_number(root, -1, SYS_NET "owner", name);
	long long group = file_number(root, -1, SYS_NET "group", name);

	return net_admin || ((owner < 0 || geteuid() == (uid_t)owner) && (group < 0 || in_group((gid_t)group)));
}

static void probe_tap(const char *root, const char *name, bool net_admin, struct tap_facts *t)
{
	long long flags = file_number(root, -1, SYS_NET "flags", name);
	long long tun = file_number(root, 0, SYS_NET "tun_flags", name);

	t->given = true;
	t->exists = flags >= 0;
	if (!t->exists)
		return;
	t->up = flags & IFF_UP;
	t->is_tap = tun & IFF_TAP;
	t->multi_queue = tun & IFF_MULTI_QUEUE;
	t->allowed = may_attach(root, name, net_admin);
	/* A tap has a carrier while a process has it open; a queue more is welcome with multi_queue. */
	t->in_use = !t->multi_queue && file_number(root, 0, SYS_NET "carrier", name) == 1;
}

static void probe_net(const char *root, const struct config *c, struct host *h)
{
	char path[PATH_MAX];

	h->net_admin = has_capability(root, CAP_NET_ADMIN);
	for (unsigned i = 0; i < c->nr_devices; i++)
		if (c->devices[i].kind == DEV_NET && c->devices[i].net.user)
			h->passt = passt_find(path, sizeof(path));
		else if (c->devices[i].kind == DEV_NET && c->devices[i].net.tap && !strchr(c->devices[i].net.tap, '/'))
			probe_tap(root, c->devices[i].net.tap, h->net_admin, &h->taps[i]);
}

/* IOMMU and VFIO */

/* How many entries a folder has, but for hidden ones; their names by commas where @names is given. */
static unsigned count_entries(const char *root, const char *path, const char *like, char *names, size_t cap)
{
	char full[PATH_MAX];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(full, sizeof(full), "%s%s", root, path);
	d = opendir(full);
	if (!d)
		return 0;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || (like && !strstr(e->d_name, like)))
			continue;
		if (names) {
			size_t used = strlen(names);

			snprintf(names + used, cap - used, "%s%s", used ? "," : "", e->d_name);
		}
		n++;
	}
	closedir(d);
	return n;
}

static void probe_iommu(const char *root, struct host *h)
{
	struct iommu_facts *i = &h->iommu;
	struct rlimit limit = { 0 };
	char yes[8], path[PATH_MAX];

	i->units = count_entries(root, "/sys/class/iommu", NULL, i->names, sizeof(i->names));
	i->groups = count_entries(root, "/sys/kernel/iommu_groups", NULL, NULL, 0);
	snprintf(path, sizeof(path), "%s/sys/bus/pci/drivers/vfio-pci", root);
	i->vfio_pci = !access(path, F_OK);
	/* devices are links named by their addresses: 0000:00:01.0 */
	i->bound = count_entries(root, "/sys/bus/pci/drivers/vfio-pci", ":", NULL, 0);
	file_line(root, yes, sizeof(yes), "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
	i->noiommu = yes[0] == 'Y' || yes[0] == '1';
	getrlimit(RLIMIT_MEMLOCK, &limit);
	i->memlock = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
	i->memlock_free = has_capability(root, CAP_IPC_LOCK);
}

static void probe_passed(const char *root, const char *address, struct pass_facts *p)
{
	char sys[PATH_MAX], node[PATH_MAX];

	snprintf(sys, sizeof(sys), "%s/sys", root);
	p->given = true;
	p->exists = !sysdev_lookup(sys, address, &p->dev);
	if (!p->exists || p->dev.group < 0)
		return;
	/* Not opened: a group has one user at a time. */
	snprintf(node, sizeof(node), "%s/dev/vfio/%d", root, p->dev.group);
	p->error = access(node, R_OK | W_OK) ? -errno : 0;
	sysdev_blockers(sys, p->dev.group, p->blockers, sizeof(p->blockers));
}

static void probe_passthrough(const char *root, const struct config *c, struct host *h)
{
	for (unsigned i = 0; i < c->nr_devices; i++)
		if (c->devices[i].kind == DEV_VFIO) {
			probe_passed(root, c->devices[i].vfio.host, &h->passed[i]);
			h->pci_mem64 += h->passed[i].dev.mem64;
		}
}

void host_probe(const char *root, const struct config *c, struct host *ret_h)
{
	struct host *h = ret_h;

	*h = (struct host){
		.cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN),
		.page_size = (unsigned)sysconf(_SC_PAGESIZE),
	};
	probe_kernel(root, h);
	probe_inside(root, h);
	probe_mode(root, h);
	probe_memory(root, h);
	probe_nodes(root, h);
	probe_net(root, c, h);
	probe_iommu(root, h);
	probe_passthrough(root, c, h);
	h->uring_disabled = (int)file_number(root, -1, "/proc/sys/kernel/io_uring_disabled");
}
