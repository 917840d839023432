// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices that other processes serve. The connection is made while there are paths; what the back end is asked, and how it
 * answers, comes when the process has given up its rights. For connections to others, where it ends, a broker is started, one for
 * all such devices: it knows their paths, and is told which by the path's number.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "devices/vhost/user.h"
#include "devices/virtio/vuser.h"
#include "vmm/base/cleanup.h"
#include "vmm/machine/broker_child.h"
#include "vmm/machine/internal.h"

bool vuser_wanted(const struct config *c)
{
	for (unsigned i = 0; i < c->nr_devices; i++)
		if (c->devices[i].kind == DEV_VHOST_USER || c->devices[i].kind == DEV_FS)
			return true;
	return false;
}

/* The memory of what is in flight comes so. */
static bool takes_fds(const struct dev_config *c)
{
	return c->vuser.kind == VUSER_KIND_BLK && config_may_reconnect(c);
}

int vuser_open(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	int fd = c->vuser.fd, r;

	r = fd ? vu_adopt(c->id, fd, err) : vu_connect(c->id, c->vuser.socket, takes_fds(c), &fd, err);
	if (r)
		return r;
	m->devs[i].vuser_fd = fd;
	return 0;
}

static_assert(VUSER_MAX_PAIRS == VUSER_NET_MAX_PAIRS, "one limit");

#define NAME_ROOM sizeof(((struct sockaddr_un *)0)->sun_path)

static_assert(BROKER_MAX_PATHS >= CONFIG_MAX_DEVICES, "a path for each");

/* Past all links. A back end may have taken its name away when it was connected to: then past those of the folder. */
static bool real_name(const char *socket, char path[PATH_MAX])
{
	const char *slash = strrchr(socket, '/'), *name = slash ? slash + 1 : socket;
	char folder[PATH_MAX];
	size_t n;

	if (realpath(socket, path))
		return true;
	if (errno != ENOENT)
		return false;
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(name - socket) : 1, slash ? socket : ".");
	if (!realpath(folder, path))
		return false;
	n = strlen(path);
	errno = ENAMETOOLONG;
	return snprintf(path + n, PATH_MAX - n, "%s%s", n > 1 ? "/" : "", name) < (int)(PATH_MAX - n);
}

/* The folder of a socket, and its name there. */
static int open_folder(const char *id, const char *socket, char name[NAME_ROOM], int *ret_fd, struct err *err)
{
	char path[PATH_MAX], *slash;

	if (!real_name(socket, path))
		return err_set(err, -errno, "%s: socket '%s': %s", id, socket, strerror(errno));
	slash = strrchr(path, '/'); /* it is absolute */
	if (snprintf(name, NAME_ROOM, "%s", slash + 1) >= (int)NAME_ROOM)
		return err_set(err, -ENAMETOOLONG, "%s: socket '%s': the name is too long for a socket", id, path);
	slash[slash == path] = '\0';
	*ret_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0)
		return err_set(err, -errno, "%s: socket '%s': the folder: %s", id, socket, strerror(errno));
	return 0;
}

int vuser_open_broker(struct machine *m, struct err *err)
{
	struct broker_child_cfg cfg = { .listen_fd = -1 };
	char names[CONFIG_MAX_DEVICES][NAME_ROOM];
	int fds[CONFIG_MAX_DEVICES], r = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < m->cfg->nr_devices && !r; i++) {
		const struct dev_config *c = &m->cfg->devices[i];

		if (!config_may_reconnect(c))
			continue;
		r = open_folder(c->id, c->vuser.socket, names[n], &fds[n], err);
		if (r)
			break;
		if (!n)
			cfg.id = c->id;
		cfg.paths[n] = (struct broker_path){ .dir_fd = fds[n], .name = names[n], .takes_fds = takes_fds(c) };
		m->devs[i].vuser_path = n++;
	}
	cfg.nr_paths = n;
	if (!r && n)
		r = broker_child_start(&cfg, &m->vuser_broker_fd, err);
	while (n)
		close_fd(&fds[--n]);
	return r;
}

unsigned machine_more_fds(const struct config *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->nr_devices; i++)
		n += config_may_reconnect(&c->devices[i]) ? VU_MORE_FDS : 0;
	return n;
}

int vuser_make_broker(struct machine *m, struct err *err)
{
	int r;

	if (m->vuser_broker_fd < 0)
		return 0;
	r = broker_init(&m->vuser_broker, m->loop, steal_fd(&m->vuser_broker_fd), "vhost-user");
	return r ? err_set(err, r, "vhost-user: the process that connects for it: %s", strerror(-r)) : 0;
}

int vuser_make(struct machine *m, unsigned i, struct err *err)
{
	static const enum vuser_kind kinds[] = {
		[VUSER_KIND_BLK] = VUSER_BLK, [VUSER_KIND_FS] = VUSER_FS, [VUSER_KIND_NET] = VUSER_NET,
	};
	const struct dev_config *c = &m->cfg->devices[i];
	const struct vuser_cfg cfg = {
		.name = c->id, .kind = kinds[c->vuser.kind], .loop = m->loop, .mem = m->mem,
		.fd = steal_fd(&m->devs[i].vuser_fd), .tag = c->vuser.tag, .mac = c->net.mac, .mtu = c->net.mtu,
		.queues = c->vuser.kind == VUSER_KIND_NET ? c->net.queues : m->plan.devs[i].queues,
		.broker = config_may_reconnect(c) ? &m->vuser_broker : NULL, .path = m->devs[i].vuser_path,
	};

	return vuser_new(&cfg, &m->devs[i].vdev, err);
}
