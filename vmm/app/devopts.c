// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/devopts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/clock.h"
#include "vmm/base/pciaddr.h"

const struct choice devopt_transports[] = {
	{ "auto", TRANSPORT_AUTO }, { "pci", TRANSPORT_PCI }, { "mmio", TRANSPORT_MMIO }, { NULL, 0 },
};

static const struct choice tristates[] = {
	{ "auto", TRI_AUTO }, { "on", TRI_ON }, { "off", TRI_OFF }, { NULL, 0 },
};
static const struct choice irqs[] = {
	{ "hop", false }, { "direct", true }, { NULL, 0 },
};

/* 1 to 15 of A-Z a-z 0-9 _ and -. */
static bool id_ok(const char *id)
{
	size_t len = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

	return len >= 1 && len <= 15 && !id[len];
}

static const struct choice booleans[] = {
	{ "on", true }, { "off", false }, { NULL, 0 },
};

static int set_bool(bool *ret_v, const char *what, const char *value, struct err *err)
{
	int v, ret = value_choice(what, value, booleans, &v, err);

	if (!ret)
		*ret_v = v;
	return ret;
}

/* What every device has */

static int set_id(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	if (!id_ok(value))
		return err_set(err, -EINVAL, "%s: an id is 1 to 15 letters, digits, _ and -", what);
	snprintf(d->id, sizeof(d->id), "%s", value);
	return 0;
}

static int set_transport(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	int v, ret = value_choice(what, value, devopt_transports, &v, err);

	if (!ret)
		d->transport = (enum transport)v;
	return ret;
}

const struct devopt_key devopt_common[] = {
	{ "id", "NAME", "its name in messages (default: net0, net1, ...)", .set = set_id },
	{ "transport", "auto|pci|mmio", "how the guest finds it (default: as --transport)", .set = set_transport },
	{ .name = NULL },
};

/* net */

static int set_tap(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	size_t len = strlen(value);

	/* what the kernel takes as an interface name; '%' would be a pattern to it */
	if (!len || len > 15 || strpbrk(value, "/%: \t\n") || !strcmp(value, ".") || !strcmp(value, ".."))
		return err_set(err, -EINVAL, "%s: '%s' is no interface name", what, value);
	d->net.tap = value;
	return 0;
}

/* The number in the first @len characters of @text. */
static int number_of(const char *what, const char *text, size_t len, uint64_t least, uint64_t most, uint64_t *ret_n, struct err *err)
{
	char number[24]; /* longer than any that counts */

	if (len >= sizeof(number))
		return err_set(err, -EINVAL, "%s: '%s' is no number from %llu to %llu", what, text,
			       (unsigned long long)least, (unsigned long long)most);
	snprintf(number, sizeof(number), "%.*s", (int)len, text);
	return value_number(what, number, least, most, ret_n, err);
}

/* One descriptor, or several by colons: one a queue pair. */
static int set_fds(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	struct net_options *net = &d->net;
	const char *p = value;

	for (;;) {
		size_t len = strcspn(p, ":");
		uint64_t fd;
		int ret;

		if (net->nr_fds == ARRAY_LEN(net->fds))
			return err_set(err, -EINVAL, "%s: more than %zu descriptors", what, ARRAY_LEN(net->fds));
		ret = number_of(what, p, len, 3, INT_MAX, &fd, err);
		if (ret)
			return ret;
		for (unsigned i = 0; i < net->nr_fds; i++)
			if (net->fds[i] == (int)fd)
				return err_set(err, -EINVAL, "%s: descriptor %d is given twice", what, (int)fd);
		net->fds[net->nr_fds++] = (int)fd;
		if (!p[len])
			return 0;
		p += len + 1;
	}
}

static int set_vhost(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	int v, ret = value_choice(what, value, tristates, &v, err);

	if (!ret)
		d->net.vhost = (enum tristate)v;
	return ret;
}

static int set_queues(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	uint64_t n;
	int ret = value_number(what, value, 1, ARRAY_LEN(d->net.fds), &n, err);

	if (!ret)
		d->net.queues = (unsigned)n;
	return ret;
}

static int set_mac(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	int ret = value_mac(what, value, d->net.mac, err);

	if (!ret)
		d->net.has_mac = true;
	return ret;
}

static int set_mtu(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	uint64_t n;
	int ret = value_number(what, value, 68, 65535, &n, err); /* virtio 1.2 s5.1.4.1 */

	if (!ret)
		d->net.mtu = (uint16_t)n;
	return ret;
}

static int set_irq(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	int v, ret = value_choice(what, value, irqs, &v, err);

	if (!ret)
		d->irq_direct = v;
	return ret;
}

static int set_net_iops(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return value_number(what, value, 1, 1000000000, &d->net.iops, err);
}

static int set_net_bps(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return value_bytes(what, value, &d->net.bps, err);
}

static int set_user(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return set_bool(&d->net.user, what, value, err);
}

static int set_loopback(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return set_bool(&d->net.loopback, what, value, err);
}

/* HOST:GUEST */
static int set_publish(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	struct net_options *net = &d->net;
	uint64_t host, guest;
	size_t len = strcspn(value, ":");
	int ret;

	if (!value[len])
		return err_set(err, -EINVAL, "%s: '%s' is not HOST:GUEST, two ports", what, value);
	if (net->nr_publish == NET_MAX_PUBLISH)
		return err_set(err, -EINVAL, "%s: more than %d", what, NET_MAX_PUBLISH);
	ret = number_of(what, value, len, 1, UINT16_MAX, &host, err);
	if (!ret)
		ret = value_number(what, value + len + 1, 1, UINT16_MAX, &guest, err);
	if (ret)
		return ret;
	for (unsigned i = 0; i < net->nr_publish; i++)
		if (net->publish[i].host == host)
			return err_set(err, -EINVAL, "%s: the host's port %u is given twice", what, (unsigned)host);
	net->publish[net->nr_publish].host = (uint16_t)host;
	net->publish[net->nr_publish++].guest = (uint16_t)guest;
	return 0;
}

/* What is about a tap has no meaning without one. */
static int check_user_net(struct dev_config *d, const char *what, struct err *err)
{
	struct net_options *net = &d->net;
	const char *vain = net->tap ? "tap=" : net->nr_fds ? "fd=" : net->vhost == TRI_ON ? "vhost=on" :
			   net->queues > 1 ? "queues= above 1" : d->irq_direct ? "irq=direct" : NULL;

	if (vain)
		return err_set(err, -EINVAL, "%s: user and %s exclude each other", what, vain);
	net->vhost = TRI_OFF;
	net->queues = 1;
	return 0;
}

static int check_net(struct dev_config *d, const char *what, struct err *err)
{
	struct net_options *net = &d->net;

	if (net->user)
		return check_user_net(d, what, err);
	if (net->nr_publish || net->loopback)
		return err_set(err, -EINVAL, "%s: %s is for user", what, net->loopback ? "loopback" : "publish=");
	if ((net->iops || net->bps) && net->vhost == TRI_ON)
		return err_set(err, -EINVAL, "%s: vhost=on and %s exclude each other: its packets do not pass this process (use vhost=off)",
			       what, net->iops ? "iops=" : "bps=");
	if (!net->tap && !net->nr_fds)
		return err_set(err, -EINVAL, "%s: none of tap=, fd= and user is given", what);
	if (net->tap && net->nr_fds)
		return err_set(err, -EINVAL, "%s: tap= and fd= exclude each other", what);
	if (net->nr_fds && net->queues && net->queues != net->nr_fds)
		return err_set(err, -EINVAL, "%s: queues=%u, but %u descriptors (one a queue pair)", what,
			       net->queues, net->nr_fds);
	if (!net->queues)
		net->queues = net->nr_fds ? net->nr_fds : 1;
	return 0;
}

static const struct devopt_key net_keys[] = {
	{ "tap", "NAME", "an existing tap interface", .set = set_tap },
	{ "fd", "N[:M...]", "inherited descriptors of a tap, one a queue pair; repeatable", .repeat = true,
	  .set = set_fds },
	{ "vhost", "auto|on|off", "packets in the kernel where it can (default), must, or must not",
	  .bare_on = true, .set = set_vhost },
	{ "queues", "N", "pairs of queues, 1 to 16 (default 1; a tap with multi_queue beyond)", .set = set_queues },
	{ "mac", "ADDR", "the guest's address (default: from the host's and the tap's name)", .set = set_mac },
	{ "mtu", "N", "told to the guest, 68 to 65535", .set = set_mtu },
	{ "iops", "N", "at most so many frames a second each way, by this process: without vhost", .set = set_net_iops },
	{ "bps", "SIZE", "at most so many bytes a second each way (K, M, G), likewise", .set = set_net_bps },
	{ "irq", "hop|direct", "over mmio: how interrupts of vhost reach the guest (default hop)", .set = set_irq },
	{ "user", "on|off", "no tap: connections by the program passt, without root; also as the first word", .bare_on = true, .set = set_user },
	{ "publish", "HOST:GUEST", "with user: a TCP port of the host's that leads to one of the guest's; repeatable", .repeat = true,
	  .set = set_publish },
	{ "loopback", "on|off", "with user: the gateway's address leads to the host's loopback (default off)", .bare_on = true,
	  .set = set_loopback },
	{ .name = NULL },
};

const struct devopt_kind devopt_net = {
	.option = "net", .first_key = "tap", .first_word = "user", .kind = DEV_NET, .keys = net_keys, .check = check_net,
};

/* disk */

static int file_name(const char **ret_path, const char *what, const char *value, struct err *err)
{
	if (!*value)
		return err_set(err, -EINVAL, "%s: the file name is empty", what);
	*ret_path = value;
	return 0;
}

static int file_fd(int *ret_fd, const char *what, const char *value, struct err *err)
{
	uint64_t fd;
	int ret = value_number(what, value, 3, INT_MAX, &fd, err);

	if (!ret)
		*ret_fd = (int)fd;
	return ret;
}

static int check_file(const char *path, int fd, const char *what, struct err *err)
{
	if (!path && fd < 3)
		return err_set(err, -EINVAL, "%s: neither a file nor fd= is given", what);
	if (path && fd >= 3)
		return err_set(err, -EINVAL, "%s: path= and fd= exclude each other", what);
	return 0;
}

static int set_path(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return file_name(&d->disk.path, what, value, err);
}

static int set_disk_fd(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return file_fd(&d->disk.fd, what, value, err);
}

static int set_ro(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return set_bool(&d->disk.ro, what, value, err);
}

static int set_direct(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return set_bool(&d->disk.direct, what, value, err);
}

static int set_discard(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return set_bool(&d->disk.discard, what, value, err);
}

static int set_iops(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return value_number(what, value, 1, 1000000000, &d->disk.iops, err);
}

/* Bytes: a bare number is not MiB here, where nobody means that. */
static int set_bps(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return value_bytes(what, value, &d->disk.bps, err);
}

static int check_disk(struct dev_config *d, const char *what, struct err *err)
{
	if (d->disk.ro && d->disk.discard)
		return err_set(err, -EINVAL, "%s: ro and discard exclude each other", what);
	return check_file(d->disk.path, d->disk.fd, what, err);
}

static const struct devopt_key disk_keys[] = {
	{ "path", "FILE", "a file or a block device", .set = set_path },
	{ "fd", "N", "an inherited descriptor of one", .set = set_disk_fd },
	{ "ro", "on|off", "read-only; may be shared", .bare_on = true, .set = set_ro },
	{ "direct", "on|off", "past the host's page cache (default off)", .bare_on = true, .set = set_direct },
	{ "discard", "on|off", "what the guest discards goes back to the host (default off)", .bare_on = true, .set = set_discard },
	{ "iops", "N", "at most so many requests a second", .set = set_iops },
	{ "bps", "SIZE", "at most so many bytes a second (K, M, G)", .set = set_bps },
	{ .name = NULL },
};

const struct devopt_kind devopt_disk = {
	.option = "disk", .first_key = "path", .kind = DEV_DISK, .keys = disk_keys, .check = check_disk,
};

/* pmem */

static int set_pmem_path(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return file_name(&d->pmem.path, what, value, err);
}

static int set_pmem_fd(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return file_fd(&d->pmem.fd, what, value, err);
}

static int set_pmem_ro(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	return set_bool(&d->pmem.ro, what, value, err);
}

static int check_pmem(struct dev_config *d, const char *what, struct err *err)
{
	if (!d->pmem.ro)
		return err_set(err, -EOPNOTSUPP, "%s: ro is not given, and an image in memory that is written this version does not have "
			       "(what is written: --disk)", what);
	return check_file(d->pmem.path, d->pmem.fd, what, err);
}

static const struct devopt_key pmem_keys[] = {
	{ "path", "FILE", "a file or a block device", .set = set_pmem_path },
	{ "fd", "N", "an inherited descriptor of one", .set = set_pmem_fd },
	{ "ro", "on|off", "read-only: has to be given", .bare_on = true, .set = set_pmem_ro },
	{ .name = NULL },
};

const struct devopt_kind devopt_pmem = {
	.option = "pmem", .first_key = "path", .kind = DEV_PMEM, .keys = pmem_keys, .check = check_pmem,
};

/* vfio */

static int set_host(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	if (pciaddr_parse(value, d->vfio.host))
		return err_set(err, -EINVAL, "%s: '%s' is no PCI address (SSSS:BB:DD.F, as lspci -D prints it)", what, value);
	return 0;
}

static int check_vfio(struct dev_config *d, const char *what, struct err *err)
{
	if (!d->vfio.host[0])
		return err_set(err, -EINVAL, "%s: host= is not given", what);
	if (d->transport == TRANSPORT_MMIO)
		return err_set(err, -EINVAL, "%s: transport=mmio cannot be: a device of the host's is on pci", what);
	return 0;
}

static const struct devopt_key vfio_keys[] = {
	{ "host", "SSSS:BB:DD.F", "its PCI address on the host, where it is bound to vfio-pci", .set = set_host },
	{ .name = NULL },
};

const struct devopt_kind devopt_vfio = {
	.option = "vfio", .first_key = "host", .kind = DEV_VFIO, .keys = vfio_keys, .check = check_vfio,
};

/* vsock */

static int set_cid(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	uint64_t n;
	int ret = value_number(what, value, 3, UINT32_MAX - 1, &n, err); /* virtio 1.2 s5.10.4 */

	if (!ret)
		d->vsock.cid = (uint32_t)n;
	return ret;
}

static int set_uds(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	size_t len = strlen(value);

	if (!len || value[len - 1] == '/')
		return err_set(err, -EINVAL, "%s: '%s' is no file name", what, value);
	if (len > VSOCK_MAX_UDS)
		return err_set(err, -ENAMETOOLONG, "%s: more than %d bytes, which with a port behind them are no address (a shorter path)",
			       what, VSOCK_MAX_UDS);
	d->vsock.uds = value;
	return 0;
}

static int set_max_conns(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	uint64_t n;
	int ret = value_number(what, value, 1, VSOCK_MAX_CONNS, &n, err);

	if (!ret)
		d->vsock.max_conns = (unsigned)n;
	return ret;
}

static int check_vsock(struct dev_config *d, const char *what, struct err *err)
{
	if (!d->vsock.cid)
		return err_set(err, -EINVAL, "%s: cid= is not given", what);
	if (d->vsock.max_conns && !d->vsock.uds)
		return err_set(err, -EINVAL, "%s: max-conns= is for uds=", what);
	if (d->vsock.uds && d->irq_direct)
		return err_set(err, -EINVAL, "%s: irq=direct is about interrupts of vhost, and uds= is without it", what);
	if (d->vsock.uds && !d->vsock.max_conns)
		d->vsock.max_conns = VSOCK_DEFAULT_CONNS;
	return 0;
}

static const struct devopt_key vsock_keys[] = {
	{ "cid", "N", "the guest's context id, 3 to 4294967294; no other VM's, but with uds", .set = set_cid },
	{ "uds", "PATH", "by Unix sockets: PATH for clients, PATH_PORT for the guest's (default: by the kernel)", .set = set_uds },
	{ "irq", "hop|direct", "over mmio: how interrupts of vhost reach the guest (default hop)", .set = set_irq },
	{ "max-conns", "N", "with uds: connections at a time, 1 to 1024 (default 256); clients: 3/4, then wait", .set = set_max_conns },
	{ .name = NULL },
};

const struct devopt_kind devopt_vsock = {
	.option = "vsock", .first_key = "cid", .kind = DEV_VSOCK, .keys = vsock_keys, .check = check_vsock,
};

/* balloon */

static int set_size(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	uint64_t bytes;
	int ret = value_size(what, value, &bytes, err);

	if (ret)
		return ret;
	if (!is_aligned(bytes, 4 * KIB))
		return err_set(err, -EINVAL, "%s: '%s' is not a multiple of 4K", what, value);
	d->balloon.size = bytes;
	return 0;
}

static int set_oom(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	bool on = true;
	int ret = set_bool(&on, what, value, err);

	d->balloon.no_oom = !on;
	return ret;
}

static int set_reporting(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	bool on = true;
	int ret = set_bool(&on, what, value, err);

	d->balloon.no_reporting = !on;
	return ret;
}

/* Each question is work for the guest, too. */
static int set_stats(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	uint64_t ns;
	int ret = value_duration(what, value, &ns, err);

	if (ret)
		return ret;
	if (ns < NS_PER_SEC / 10)
		return err_set(err, -EINVAL, "%s: '%s' is less than 100ms", what, value);
	d->balloon.stats_ns = ns;
	return 0;
}

static const struct devopt_key balloon_keys[] = {
	{ "size", "SIZE", "what the guest gives from the start, as 64M; a bare number is MiB (default nothing)", .set = set_size },
	{ "oom", "on|off", "the guest may take it back when it is out of memory (default on)", .bare_on = true, .set = set_oom },
	{ "reporting", "on|off", "the guest reports free pages, which go back to the host (default on)", .bare_on = true,
	  .set = set_reporting },
	{ "stats", "DURATION", "ask the guest for its statistics this often, 100ms or more (default never)", .set = set_stats },
	{ .name = NULL },
};

const struct devopt_kind devopt_balloon = {
	.option = "balloon", .first_key = "size", .kind = DEV_BALLOON, .keys = balloon_keys,
};

/* vhost-user, fs */

static int set_kind(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	static const struct choice kinds[] = {
		{ "blk", VUSER_KIND_BLK }, { "net", VUSER_KIND_NET }, { "fs", VUSER_KIND_FS }, { NULL, 0 },
	};
	int v, ret = value_choice(what, value, kinds, &v, err);

	if (!ret)
		d->vuser.kind = (__typeof__(d->vuser.kind))v;
	return ret;
}

static int set_socket(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	if (!*value)
		return err_set(err, -EINVAL, "%s: the file name is empty", what);
	d->vuser.socket = value;
	return 0;
}

static int set_vuser_fd(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	uint64_t fd;
	int ret = value_number(what, value, 3, INT_MAX, &fd, err);

	if (!ret)
		d->vuser.fd = (int)fd;
	return ret;
}

static int set_tag(struct dev_config *d, const char *what, const char *value, struct err *err)
{
	size_t len = strlen(value);

	if (!len || len > 36) /* virtio 1.2 s5.11.4 */
		return err_set(err, -EINVAL, "%s: a tag is 1 to 36 bytes", what);
	d->vuser.tag = value;
	return 0;
}

/* What is about a card has no meaning without one. */
static int check_vuser_net(struct dev_config *d, const char *what, struct err *err)
{
	struct net_options *net = &d->net;
	const char *vain = net->queues ? "queues=" : net->has_mac ? "mac=" : net->mtu ? "mtu=" : NULL;

	if (d->vuser.kind != VUSER_KIND_NET)
		return vain ? err_set(err, -EINVAL, "%s: %s is for net", what, vain) : 0;
	if (net->queues > VUSER_NET_MAX_PAIRS)
		return err_set(err, -EINVAL, "%s: queues=%u, but a card by vhost-user has at most %d pairs", what, net->queues,
			       VUSER_NET_MAX_PAIRS);
	if (!net->queues)
		net->queues = 1;
	return 0;
}

static int check_vuser(struct dev_config *d, const char *what, struct err *err)
{
	const struct vuser_options *o = &d->vuser;

	if (o->kind == VUSER_KIND_NONE)
		return err_set(err, -EINVAL, "%s: kind= is not given", what);
	if (!o->socket && !o->fd)
		return err_set(err, -EINVAL, "%s: neither socket= nor fd= is given (where its back end listens)", what);
	if (o->socket && o->fd)
		return err_set(err, -EINVAL, "%s: socket= and fd= exclude each other", what);
	if (o->kind == VUSER_KIND_FS && !o->tag)
		return err_set(err, -EINVAL, "%s: tag= is not given (the file system's name in the guest)", what);
	if (o->kind != VUSER_KIND_FS && o->tag)
		return err_set(err, -EINVAL, "%s: tag= is for fs", what);
	return check_vuser_net(d, what, err);
}

static int check_fs(struct dev_config *d, const char *what, struct err *err)
{
	d->vuser.kind = VUSER_KIND_FS;
	return check_vuser(d, what, err);
}

#define VUSER_KEYS                                                                 \
	{ "socket", "PATH", "where the back end listens", .set = set_socket },     \
	{ "fd", "N", "an inherited descriptor, connected to it", .set = set_vuser_fd }

static const struct devopt_key vhost_user_keys[] = {
	{ "kind", "blk|net|fs", "what it is", .set = set_kind },
	VUSER_KEYS,
	{ "queues", "N", "net: pairs of queues, 1 to 4 (default 1), which the back end has to have", .set = set_queues },
	{ "mac", "ADDR", "net: the guest's address (default: from the host's and the socket's name)", .set = set_mac },
	{ "mtu", "N", "net: told to the guest, 68 to 65535", .set = set_mtu },
	{ "tag", "NAME", "fs: the file system's name in the guest", .set = set_tag },
	{ .name = NULL },
};

static const struct devopt_key fs_keys[] = {
	{ "tag", "NAME", "its name in the guest, 1 to 36 bytes", .set = set_tag },
	VUSER_KEYS,
	{ .name = NULL },
};

const struct devopt_kind devopt_vhost_user = {
	.option = "vhost-user", .first_key = "kind", .kind = DEV_VHOST_USER, .keys = vhost_user_keys, .check = check_vuser,
};

const struct devopt_kind devopt_fs = {
	.option = "fs", .first_key = "tag", .kind = DEV_FS, .keys = fs_keys, .check = check_fs,
};

/* All devices */

int devopts_split(const struct devopt_kind *kind, char *text, struct devopt *opts, unsigned cap,
		  unsigned *ret_n, struct err *err)
{
	unsigned n = 0;
	char *next;

	for (char *p = text; p; p = next) {
		char *eq;

		next = strchr(p, ',');
		if (next)
			*next++ = '\0';
		if (!*p)
			return err_set(err, -EINVAL, "--%s: an empty part between commas", kind->option);
		if (n == cap)
			return err_set(err, -EINVAL, "--%s: more than %u parts", kind->option, cap);
		eq = strchr(p, '=');
		if (eq) {
			*eq = '\0';
			opts[n++] = (struct devopt){ .key = p, .value = eq + 1 };
		} else if (!n && kind->first_key && !(kind->first_word && !strcmp(p, kind->first_word))) {
			opts[n++] = (struct devopt){ .key = kind->first_key, .value = p };
		} else {
			opts[n++] = (struct devopt){ .key = p };
		}
	}
	*ret_n = n;
	return 0;
}

static const struct devopt_key *find_key(const struct devopt_kind *kind, const char *name)
{
	for (const struct devopt_key *k = kind->keys; k->name; k++)
		if (!strcmp(k->name, name))
			return k;
	for (const struct devopt_key *k = devopt_common; k->name; k++)
		if (!strcmp(k->name, name))
			return k;
	return NULL;
}

static int unknown_key(const struct devopt_kind *kind, const char *name, struct err *err)
{
	char list[200];
	size_t len = 0;

	for (const struct devopt_key *k = kind->keys; k->name && len < sizeof(list); k++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s, ", k->name);
	return err_set(err, -EINVAL, "--%s: unknown key '%s' (it knows %sid, transport)", kind->option, name, list);
}

static bool is_repeat(const struct devopt *opts, unsigned i)
{
	for (unsigned j = 0; j < i; j++)
		if (!strcmp(opts[j].key, opts[i].key))
			return true;
	return false;
}

static int apply_one(const struct devopt_kind *kind, const struct devopt *opts, unsigned i,
		     struct dev_config *d, struct err *err)
{
	const struct devopt_key *k = find_key(kind, opts[i].key);
	const char *value = opts[i].value;
	char what[64];

	if (!k)
		return unknown_key(kind, opts[i].key, err);
	if (!k->repeat && is_repeat(opts, i))
		return err_set(err, -EINVAL, "--%s: %s= is given twice", kind->option, k->name);
	if (!value && !k->bare_on)
		return err_set(err, -EINVAL, "--%s: %s needs a value (%s=%s)", kind->option, k->name, k->name, k->arg);
	if (!value)
		value = "on";
	snprintf(what, sizeof(what), "--%s: %s", kind->option, k->name);
	return k->set(d, what, value, err);
}

int devopts_apply(const struct devopt_kind *kind, const struct devopt *opts, unsigned n,
		  struct dev_config *d, struct err *err)
{
	char what[32];

	d->kind = kind->kind;
	for (unsigned i = 0; i < n; i++) {
		int ret = apply_one(kind, opts, i, d, err);

		if (ret)
			return ret;
	}
	snprintf(what, sizeof(what), "--%s", kind->option);
	return kind->check ? kind->check(d, what, err) : 0;
}
