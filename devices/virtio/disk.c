// SPDX-License-Identifier: BSD-3-Clause
#include "devices/virtio/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"

#define LOCK_TRIES 20 /* 0.4 s */
#define BEST_MAX (64 * KIB) /* a file system that names more means whole stripes, not what it writes at once */

static int may_wait(const struct disk_cfg *c, int fd, int flags, struct err *err)
{
	return fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) ? err_set(err, -errno, "%s: fcntl: %s", c->name, strerror(errno)) : 0;
}

static const char *open_remedy(const struct disk_cfg *c, int error)
{
	if (error == EINVAL && c->direct)
		return " (its file system cannot do direct)";
	if (!c->ro && (error == EROFS || error == EACCES))
		return " (read-only would be: ro)";
	return "";
}

/*
 * O_NONBLOCK is for open(2) alone: a FIFO would wait for its other end. Left in place io_uring would take it by its
 * word, and give up a transfer that has to wait, or make it in our thread.
 */
static int open_path(const struct disk_cfg *c, int *ret_fd, struct err *err)
{
	int flags = (c->ro ? O_RDONLY : O_RDWR) | (c->direct ? O_DIRECT : 0) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = open(c->path, flags);

	if (fd < 0 && errno == EISDIR)
		return err_set(err, -EISDIR, "%s: '%s' is a directory, and a file or block device is needed", c->name, c->path);
	if (fd < 0 && errno == ENXIO)
		return err_set(err, -EINVAL, "%s: '%s' is neither a file nor a block device", c->name, c->path);
	if (fd < 0)
		return err_set(err, -errno, "%s: open '%s': %s%s", c->name, c->path, strerror(errno), open_remedy(c, errno));
	*ret_fd = fd;
	return may_wait(c, fd, c->direct ? O_DIRECT : 0, err);
}

static int check_fd(const struct disk_cfg *c, struct err *err)
{
	int flags = fcntl(c->fd, F_GETFL), mode = flags & O_ACCMODE;

	/* what is in the book is ours: nobody handed it down */
	if (flags < 0 || fd_kinds(c->fd))
		return err_set(err, -EBADF, "%s: fd=%d: not an open descriptor of yours", c->name, c->fd);
	if (mode == O_WRONLY || flags & O_PATH || (mode == O_RDONLY && !c->ro))
		return err_set(err, -EBADF, "%s: fd=%d: not open for %s", c->name, c->fd,
			       c->ro || mode == O_WRONLY ? "reading" : "writing (read-only would be: ro)");
	if (flags & O_APPEND && !c->ro) /* pwrite(2): all would be written at the end */
		return err_set(err, -EINVAL, "%s: fd=%d: open for appending, and a disk is written at any place", c->name, c->fd);
	if (c->direct && !(flags & O_DIRECT))
		return err_set(err, -EINVAL, "%s: fd=%d: direct is decided by whoever opened it", c->name, c->fd);
	return may_wait(c, c->fd, flags, err);
}

static int size_of(int fd, const struct stat *st, uint64_t *ret_bytes)
{
	if (S_ISBLK(st->st_mode))
		return ioctl(fd, BLKGETSIZE64, ret_bytes) ? -errno : 0;
	*ret_bytes = (uint64_t)st->st_size;
	return 0;
}

/* What O_DIRECT wants: devices and many file systems tell from Linux 6.1 on, the others are tried. */
static void find_direct(struct disk *d)
{
	static _Alignas(DISK_ALIGN_MAX) uint8_t sector[DISK_SECTOR];
	struct statx stx;

	if (!syscall(SYS_statx, d->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) && stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_offset_align) {
		d->block = stx.stx_dio_offset_align > DISK_SECTOR ? stx.stx_dio_offset_align : DISK_SECTOR;
		d->align = stx.stx_dio_mem_align ? stx.stx_dio_mem_align : DISK_SECTOR;
		return;
	}
	d->block = d->align = pread(d->fd, sector, sizeof(sector), DISK_SECTOR) < 0 ? 4096 : DISK_SECTOR;
}

static void find_alignment(struct disk *d, const struct stat *st, bool direct)
{
	unsigned physical = (unsigned)st->st_blksize;
	int logical = DISK_SECTOR;

	d->block = DISK_SECTOR;
	d->align = 1;
	if (direct)
		find_direct(d);
	if (S_ISBLK(st->st_mode)) {
		if (direct && !ioctl(d->fd, BLKSSZGET, &logical) && logical > DISK_SECTOR)
			d->block = (uint32_t)logical;
		if (ioctl(d->fd, BLKPBSZGET, &physical))
			physical = d->block;
	}
	d->best = is_pow2(physical) && physical >= d->block ? physical : d->block;
	if (d->best > BEST_MAX)
		d->best = BEST_MAX;
}

/* Those that are known to say so at once where they would have to wait (RWF_NOWAIT); FUSE and NFS, for two, are not. */
static bool may_wait_inside(int fd, const struct stat *st)
{
	static const unsigned long known[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC, RAMFS_MAGIC };
	struct statfs fs;

	if (S_ISBLK(st->st_mode))
		return false;
	if (fstatfs(fd, &fs))
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(known); i++)
		if ((unsigned long)fs.f_type == known[i])
			return false;
	return true;
}

/*
 * Of the open file description: it holds in whatever process has it, and ends with the last of them. Of a VM that was
 * killed the kernel may take a while to let go.
 */
static int lock(int fd, bool ro)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	struct flock l = { .l_type = ro ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
		if (!fcntl(fd, F_OFD_SETLK, &l))
			return 0;
		if (errno != EAGAIN && errno != EACCES)
			break;
		nanosleep(&pause, NULL);
	}
	return errno == EAGAIN || errno == EACCES ? -EBUSY : errno == ENOLCK || errno == EOPNOTSUPP ? 0 : -errno;
}

static int check_size(const struct disk_cfg *c, const char *what, uint64_t bytes, uint32_t block, struct err *err)
{
	if (!bytes)
		return err_set(err, -EINVAL, "%s: '%s' is empty (give it a size: truncate -s 1G)", c->name, what);
	if (bytes % block)
		return err_set(err, -EINVAL, "%s: '%s' has %llu bytes, no multiple of %u (rounded up by: truncate -s %%%u)", c->name,
			       what, (unsigned long long)bytes, block, block);
	return 0;
}

static int examine(const struct disk_cfg *c, struct disk *d, const char *what, struct err *err)
{
	struct stat st;
	uint64_t bytes;
	int r;

	if (fstat(d->fd, &st))
		return err_set(err, -errno, "%s: '%s': %s", c->name, what, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "%s: '%s' is a directory, and a file or block device is needed", c->name, what);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -EINVAL, "%s: '%s' is neither a file nor a block device", c->name, what);
	r = size_of(d->fd, &st, &bytes);
	if (r)
		return err_set(err, r, "%s: size of '%s': %s", c->name, what, strerror(-r));
	d->dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	d->ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
	d->waits = may_wait_inside(d->fd, &st);
	find_alignment(d, &st, fcntl(d->fd, F_GETFL) & O_DIRECT);
	if (!is_pow2(d->block) || d->block > BEST_MAX || !is_pow2(d->align) || d->align > DISK_ALIGN_MAX)
		return err_set(err, -EINVAL, "%s: '%s' wants blocks of %u bytes for direct, in memory aligned to %u (without direct it can be used)",
			       c->name, what, d->block, d->align);
	r = check_size(c, what, bytes, d->block, err);
	if (r)
		return r;
	d->sectors = bytes / DISK_SECTOR;
	r = lock(d->fd, c->ro);
	return r ? err_set(err, r, "%s: '%s' is %s", c->name, what,
			   r != -EBUSY ? strerror(-r) : c->ro ? "written by another VM (what is shared must be ro for all)" :
			   "in use (each disk of each VM needs a file of its own; ro may be shared)") : 0;
}

int disk_open(const struct disk_cfg *cfg, struct disk *ret_d, struct err *err)
{
	/* one that is ours already stays its owner's */
	struct disk d = { .fd = cfg->path || fd_kinds(cfg->fd) ? -1 : cfg->fd, .ro = cfg->ro };
	char what[24];
	int r;

	snprintf(what, sizeof(what), "fd=%d", cfg->fd);
	r = cfg->path ? open_path(cfg, &d.fd, err) : check_fd(cfg, err);
	if (!r)
		r = examine(cfg, &d, cfg->path ? cfg->path : what, err);
	if (r) {
		disk_close(&d);
		return r;
	}
	fd_note(d.fd, FD_DISK);
	*ret_d = d;
	return 0;
}

bool disk_same(const struct disk *a, const struct disk *b)
{
	return a->dev == b->dev && a->ino == b->ino && (!a->ro || !b->ro);
}

void disk_close(struct disk *d)
{
	close_fd(&d->fd);
}
