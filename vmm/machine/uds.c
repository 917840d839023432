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

#define BACKLOG 128
#define LEAVE_MS 500 /* for a VM that was there before, whose end is under way */
#define STEP_MS 10

static int new_socket(int more)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | more, 0);
}

/* Does anybody listen there? -ECONNREFUSED: nobody; -ENOENT: it is gone; 0: somebody does. */
static int knock(const struct sockaddr_un *a)
{
	_cleanup_close_ int fd = new_socket(SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno == EAGAIN)
		return 0; /* or more wait there than it has room for */
	return -errno;
}

/* What stands at the path gives way, or is left as it is. */
static int make_way(const char *id, const struct sockaddr_un *a, struct err *err)
{
	struct stat st;
	int r = 0;

	for (int ms = 0; ms < LEAVE_MS; ms += STEP_MS) {
		if (lstat(a->sun_path, &st))
			return errno == ENOENT ? 0 : err_set(err, -errno, "%s: uds='%s': %s", id, a->sun_path, strerror(errno));
		if (!S_ISSOCK(st.st_mode))
			return err_set(err, -EEXIST, "%s: uds='%s': there is a %s, which is left as it is (choose another name)", id,
				       a->sun_path, S_ISDIR(st.st_mode) ? "folder" : S_ISREG(st.st_mode) ? "file" : "something else");
		r = knock(a);
		if (r)
			break;
		poll(NULL, 0, STEP_MS);
	}
	if (!r)
		return err_set(err, -EADDRINUSE, "%s: uds='%s': another program listens on it (each VM needs a name of its own)", id,
			       a->sun_path);
	if (r != -ECONNREFUSED && r != -ENOENT)
		return err_set(err, r, "%s: uds='%s': %s", id, a->sun_path, strerror(-r));
	if (unlink(a->sun_path) && errno != ENOENT)
		return err_set(err, -errno, "%s: uds='%s': a socket that nobody listens on cannot be removed: %s", id, a->sun_path,
			       strerror(errno));
	return 0;
}

/* The folder that a path's name is in, and that name. */
static int open_folder(const char *id, const char *path, const char **ret_name, int *ret_fd, struct err *err)
{
	char folder[UDS_PATH_MAX + 2];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	*ret_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0)
		return err_set(err, -errno, "%s: uds='%s': the folder: %s", id, path, strerror(errno));
	*ret_name = name;
	return 0;
}

static int bind_to(const char *id, const struct sockaddr_un *a, int *ret_fd, struct stat *ret_st, struct err *err)
{
	_cleanup_close_ int fd = new_socket(0);
	int r;

	if (fd < 0)
		return err_set(err, -errno, "%s: socket: %s", id, strerror(errno));
	if (bind(fd, (const struct sockaddr *)a, sizeof(*a)))
		return err_set(err, -errno, "%s: uds='%s': %s", id, a->sun_path, strerror(errno));
	if (listen(fd, BACKLOG) || lstat(a->sun_path, ret_st)) {
		r = err_set(err, -errno, "%s: uds='%s': %s", id, a->sun_path, strerror(errno));
		unlink(a->sun_path);
		return r;
	}
	*ret_fd = fd_note(steal_fd(&fd), FD_PEER);
	return 0;
}

int uds_open(const char *id, const char *path, struct uds *ret_u, struct err *err)
{
	_cleanup_close_ int dir = -1, fd = -1;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct broker_child_cfg cfg = { .id = id, .nr_paths = 1 };
	struct stat st;
	int r;

	if (strlen(path) > UDS_PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "%s: uds='%s': more than %d bytes", id, path, UDS_PATH_MAX);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	r = open_folder(id, path, &cfg.paths[0].name, &dir, err);
	if (!r)
		r = make_way(id, &a, err);
	if (!r)
		r = bind_to(id, &a, &fd, &st, err);
	if (r)
		return r;
	cfg.paths[0].dir_fd = dir;
	cfg.paths[0].with_port = true;
	cfg.listen_fd = fd;
	cfg.dev = st.st_dev;
	cfg.ino = st.st_ino;
	r = broker_child_start(&cfg, &ret_u->broker_fd, err);
	if (r) {
		unlink(path);
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
