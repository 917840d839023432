// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/machine/uds.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/machine/broker_child.h"

static_assert(UDS_PATH_MAX + BROKER_PORT_ROOM < sizeof(((struct sockaddr_un *)0)->sun_path), "a port fits behind it");
static_assert(UDS_PLAIN_MAX < sizeof(((struct sockaddr_un *)0)->sun_path), "and nothing else");

#define BACKLOG 128
#define LEAVE_MS 500 /* for a VM that was there before, whose end is under way */
#define STEP_MS 10

/* @r with a sentence about the path. */
static int refuse(const struct uds_cfg *cfg, int r, const char *why, struct err *err)
{
	return err_set(err, r, "%s: %s='%s': %s", cfg->id, cfg->key, cfg->path, why);
}

/*
 * Does anybody have it? -ECONNREFUSED: nobody; -ENOENT: it is gone; 0: somebody does. Asked by a socket of another type, which
 * unix(7) refuses: a connection would be one of theirs to serve.
 */
static int knock(const struct sockaddr_un *a)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno == EPROTOTYPE)
		return 0;
	return -errno;
}

static const char *kind_of(const struct stat *st)
{
	return S_ISDIR(st->st_mode) ? "there is a folder, which is left as it is (choose another name)" :
	       S_ISREG(st->st_mode) ? "there is a file, which is left as it is (choose another name)" :
	       "there is something else, which is left as it is (choose another name)";
}

/* What stands at the path gives way, or is left as it is. */
static int make_way(const struct uds_cfg *cfg, const struct sockaddr_un *a, struct err *err)
{
	struct stat st;
	int r = 0;

	for (int ms = 0; ms < LEAVE_MS; ms += STEP_MS) {
		if (lstat(a->sun_path, &st))
			return errno == ENOENT ? 0 : refuse(cfg, -errno, strerror(errno), err);
		if (!S_ISSOCK(st.st_mode))
			return refuse(cfg, -EEXIST, kind_of(&st), err);
		r = knock(a);
		if (r)
			break;
		poll(NULL, 0, STEP_MS);
	}
	if (!r)
		return refuse(cfg, -EADDRINUSE, "another program listens on it (each VM needs a name of its own)", err);
	if (r != -ECONNREFUSED && r != -ENOENT)
		return refuse(cfg, r, strerror(-r), err);
	if (unlink(a->sun_path) && errno != ENOENT)
		return err_set(err, -errno, "%s: %s='%s': a socket that nobody listens on cannot be removed: %s", cfg->id, cfg->key,
			       cfg->path, strerror(errno));
	return 0;
}

/* The folder that a path's name is in, and that name. */
static int open_folder(const struct uds_cfg *cfg, const char **ret_name, int *ret_fd, struct err *err)
{
	char folder[UDS_PLAIN_MAX + 2];
	const char *slash = strrchr(cfg->path, '/'), *name = slash ? slash + 1 : cfg->path;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - cfg->path) + 1 : 1, slash ? cfg->path : ".");
	*ret_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0)
		return err_set(err, -errno, "%s: %s='%s': the folder: %s", cfg->id, cfg->key, cfg->path, strerror(errno));
	*ret_name = name;
	return 0;
}

static int bind_to(const struct uds_cfg *cfg, const struct sockaddr_un *a, int *ret_fd, struct stat *ret_st, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return err_set(err, -errno, "%s: socket: %s", cfg->id, strerror(errno));
	fd_takes_none(fd); /* nor do the clients' ends that it gives */
	if (bind(fd, (const struct sockaddr *)a, sizeof(*a)))
		return refuse(cfg, -errno, strerror(errno), err);
	if (listen(fd, BACKLOG) || lstat(a->sun_path, ret_st)) {
		r = refuse(cfg, -errno, strerror(errno), err);
		unlink(a->sun_path);
		return r;
	}
	*ret_fd = fd_note(steal_fd(&fd), FD_PEER);
	return 0;
}

int uds_open(const struct uds_cfg *cfg, struct uds *ret_u, struct err *err)
{
	_cleanup_close_ int dir = -1, fd = -1;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct broker_child_cfg child = { .id = cfg->id, .nr_paths = 1, .only_name = !cfg->with_ports };
	int r, most = cfg->with_ports ? UDS_PATH_MAX : UDS_PLAIN_MAX;
	struct stat st;

	if (strlen(cfg->path) > (size_t)most)
		return err_set(err, -ENAMETOOLONG, "%s: %s='%s': more than %d bytes", cfg->id, cfg->key, cfg->path, most);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", cfg->path);
	r = open_folder(cfg, &child.paths[0].name, &dir, err);
	if (!r)
		r = make_way(cfg, &a, err);
	if (!r)
		r = bind_to(cfg, &a, &fd, &st, err);
	if (r)
		return r;
	child.paths[0].dir_fd = dir;
	child.paths[0].with_port = cfg->with_ports;
	child.listen_fd = fd;
	child.dev = st.st_dev;
	child.ino = st.st_ino;
	r = broker_child_start(&child, &ret_u->broker_fd, err);
	if (r) {
		unlink(cfg->path);
		return r;
	}
	ret_u->listen_fd = steal_fd(&fd);
	return 0;
}

void uds_close(struct uds *u)
{
	close_fd(&u->listen_fd);
	close_fd(&u->broker_fd);
}
