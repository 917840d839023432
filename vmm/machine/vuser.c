// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices that other processes serve. The connection is made while there are paths; what the back end is asked, and how it
 * answers, comes when the process has given up its rights.
 */
#include <errno.h>
#include <string.h>

#include "devices/vhost/user.h"
#include "devices/virtio/vuser.h"
#include "vmm/base/cleanup.h"
#include "vmm/machine/internal.h"

bool vuser_wanted(const struct config *c)
{
	for (unsigned i = 0; i < c->nr_devices; i++)
		if (c->devices[i].kind == DEV_VHOST_USER || c->devices[i].kind == DEV_FS)
			return true;
	return false;
}

int vuser_open(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	int r;

	if (!c->vuser.fd)
		return vu_connect(c->id, c->vuser.socket, &m->devs[i].vuser_fd, err);
	r = vu_adopt(c->id, c->vuser.fd, err);
	if (!r)
		m->devs[i].vuser_fd = c->vuser.fd;
	return r;
}

int vuser_make(struct machine *m, unsigned i, struct err *err)
{
	const struct dev_config *c = &m->cfg->devices[i];
	const struct vuser_cfg cfg = {
		.name = c->id, .kind = c->vuser.kind == VUSER_KIND_FS ? VUSER_FS : VUSER_BLK, .loop = m->loop, .mem = m->mem,
		.fd = steal_fd(&m->devs[i].vuser_fd), .tag = c->vuser.tag, .queues = m->plan.devs[i].queues,
	};

	return vuser_new(&cfg, &m->devs[i].vdev, err);
}
