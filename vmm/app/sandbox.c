// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * The stages run in the order of sandbox_enter(). Each takes away what the later ones no longer
 * need, so a stage that fails costs its own protection alone. Which fail depends on who calls:
 *
 * Root has the rights for all of it, makes the namespaces as root, and only then becomes somebody
 * else; the user namespace comes last, so that root's own namespaces belong to the one outside,
 * where we have no rights at all. Others get the rights from the user namespace, which therefore
 * comes first. Nobody is mapped into it in either case: whatever it is asked for, its answer is
 * "nobody", and nothing can be created in a user's name.
 *
 * There is no process namespace: it would need a fork, and KVM and vhost belong to the process that
 * opened them.
 */
#include "vmm/app/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/compat.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
/* Users that no account has; one of them by chance for each VM. */
#define NOBODYS_UIDS 0x70000000u
#define NOBODYS_COUNT 0x0fff0000u
#define STANDARD_FDS 3
#define CGROUP_TASKS 8 /* beside the vCPUs and vhost's workers: the loop, io_uring's workers */

/* What could not be given up. Want of memory or descriptors is no lack of rights: then the start fails. */
struct missing {
	char text[300];
	int error;
};
static struct missing missing; /* of the last sandbox_enter() */

static void miss(struct missing *m, const char *what)
{
	size_t used = strlen(m->text);

	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		m->error = -errno;
	snprintf(m->text + used, sizeof(m->text) - used, "%s%s (%s)", used ? ", " : "", what, strerror(errno));
}

static void miss_limit(struct missing *m, const char *name)
{
	const int why = errno;
	char what[32];

	snprintf(what, sizeof(what), "--cgroup's %s", name);
	errno = why;
	miss(m, what);
}

/* The kernel's limits of a group that is ours to use. One that has a limit keeps it, if we have room in it. */
static int limit_cgroup(struct missing *m, int dir, const char *path, const char *name, uint64_t need, struct err *err)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
	char text[32] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0) {
		miss_limit(m, name);
		return 0;
	}
	if (!memcmp(text, "max", 3)) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)need);
		if (pwrite(fd, text, strlen(text), 0) < 0)
			miss_limit(m, name);
		return 0;
	}
	if (strtoull(text, NULL, 10) >= need)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return err_set(err, -ENOSPC, "--cgroup: '%s': %s is %s, and this VM needs %llu (each VM is to have a group of its own)",
		       path, name, text, (unsigned long long)need);
}

/* From Linux 6.4 on each has a worker that counts as a thread of ours. */
static unsigned count_vhosts(void)
{
	int first, last;
	unsigned n = 0;

	for (int fd = 0; fd_run(fd, FD_VHOST, &first, &last); fd = last + 1)
		n += (unsigned)(last - first) + 1;
	return n;
}

/* Stage 1, while there are paths: a cgroup that somebody has delegated. */
static int join_cgroup(const struct sandbox_cfg *cfg, struct missing *m, struct err *err)
{
	_cleanup_close_ int dir = open(cfg->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	unsigned workers;
	int r;

	if (dir >= 0)
		fd = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) < 0)
		return err_set(err, -errno, "--cgroup: '%s': %s%s", cfg->cgroup, strerror(errno),
			       errno == EACCES || errno == EPERM ? " (it must be delegated to you)" :
			       errno == ENOENT ? " (the folder of a cgroup v2 is needed)" : "");
	workers = cfg->disks * LOOP_WORKERS_PER_DISK + cfg->files * LOOP_WORKERS_PER_FILE + cfg->back_ends * LOOP_WORKERS_STUCK;
	r = limit_cgroup(m, dir, cfg->cgroup, "pids.max", cfg->cpus + count_vhosts() + workers + CGROUP_TASKS, err);
	return r ? r : limit_cgroup(m, dir, cfg->cgroup, "memory.max", cfg->memory + cfg->memory / 64 + 64 * MIB, err);
}

/* Stage 2: what our parent left open and nobody named. Ours are in the book. */
static void close_strangers(struct missing *m)
{
	int end = fd_end() > STANDARD_FDS ? fd_end() : STANDARD_FDS;

	for (int fd = STANDARD_FDS; fd < end; fd++)
		if (!fd_kinds(fd))
			close(fd);
	if (syscall(SYS_close_range, end, ~0u, 0))
		miss(m, "closing what was inherited");
}

/*
 * Stage 3: namespaces of our own, with nothing in them. Before the empty root, which is made in them,
 * and before the first thread, which a user namespace does not allow.
 */
static bool leave_namespaces(int flags, struct missing *m)
{
	if (!unshare(flags))
		return true;
	miss(m, flags & CLONE_NEWUSER ? "user namespace" : "namespaces");
	return false;
}

/*
 * Stage 4: a root directory with nothing in it, a file system that cannot be written. /dev is where it
 * is put first, since that is there: a device of it is open. A root that is the kernel's first one
 * (rootfs) cannot be exchanged; the new one is moved on top of it, and we into it.
 */
static void empty_root(struct missing *m)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("empty", "/dev", "tmpfs", flags, "mode=0555,nr_blocks=1,nr_inodes=2") || chdir("/dev")) {
		miss(m, "empty root");
		return;
	}
	if (!syscall(SYS_pivot_root, ".", ".")) {
		if (umount2(".", MNT_DETACH) || chdir("/"))
			miss(m, "empty root");
		return;
	}
	if (mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		miss(m, "empty root");
}

/* Stage 5, root only: another user, without groups. The permitted capabilities stay, for the next stage. */
static int become(const struct sandbox_cfg *cfg, struct missing *m, struct err *err)
{
	uint32_t r = 0;
	uid_t uid;
	gid_t gid;

	if (cfg->uid < 0 && getrandom(&r, sizeof(r), 0) != sizeof(r))
		r = (uint32_t)getpid();
	uid = cfg->uid >= 0 ? (uid_t)cfg->uid : NOBODYS_UIDS + r % NOBODYS_COUNT;
	gid = cfg->gid >= 0 ? (gid_t)cfg->gid : uid;

	/* By themselves: the C library would call every other thread, of which there is none. */
	if (!prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) && !syscall(SYS_setgroups, 0, NULL) &&
	    !syscall(SYS_setresgid, gid, gid, gid) && !syscall(SYS_setresuid, uid, uid, uid))
		return 0;
	if (cfg->uid >= 0 || cfg->gid >= 0)
		return err_set(err, -errno, "--uid, --gid: becoming user %u, group %u: %s", uid, gid, strerror(errno));
	miss(m, "another user"); /* this root is not all of root, as in some containers */
	return 0;
}

/* Others cannot choose. */
static int check_user(const struct sandbox_cfg *cfg, struct err *err)
{
	if ((cfg->uid >= 0 && cfg->uid != geteuid()) || (cfg->gid >= 0 && cfg->gid != getegid()))
		return err_set(err, -EPERM, "--uid, --gid: only root may become another user");
	return 0;
}

/*
 * Stage 6: Landlock, as much of it as this kernel has: no file is opened, made or executed, no port bound or
 * connected to, no socket's name reached, no signal sent outside. What is open stays usable. Where the root
 * could not be emptied this still stands.
 */
static void deny_files(struct missing *m)
{
	static const uint64_t fs[] = { 0, BIT64(13) - 1, BIT64(14) - 1, BIT64(15) - 1, BIT64(15) - 1, BIT64(16) - 1 };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_rules rules = {
		.fs = abi > 0 ? fs[abi < 5 ? abi : 5] : 0,
		.net = abi >= 4 ? 3 : 0,
		.scoped = abi >= 6 ? 3 : 0,
	};
	size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8; /* older kernels take a shorter structure */
	_cleanup_close_ int fd = -1;

	if (abi > 0)
		fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0))
		miss(m, "Landlock");
}

static bool set_capabilities(uint64_t effective, uint64_t permitted)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)effective, .permitted = (uint32_t)permitted },
		{ .effective = (uint32_t)(effective >> 32), .permitted = (uint32_t)(permitted >> 32) },
	};

	return !syscall(SYS_capset, &head, data);
}

/* Stage 7: capabilities. The bounding set first, which takes one of them to empty. */
static void drop_capabilities(struct missing *m)
{
	bool may_drop = prctl(PR_CAPBSET_DROP, 0, 0, 0, 0) == 0;
	int cap = 1;

	/* root without a user namespace: still permitted, no longer in effect */
	if (!may_drop)
		may_drop = set_capabilities(BIT64(CAP_SETPCAP), BIT64(CAP_SETPCAP)) && !prctl(PR_CAPBSET_DROP, 0, 0, 0, 0);
	while (may_drop && !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
		cap++;
	if (!may_drop || errno != EINVAL) /* which says that there are no more */
		miss(m, "bounding set of capabilities");
	/* The ambient set is part of the permitted one. */
	if (!set_capabilities(0, 0))
		miss(m, "capabilities");
}

static int limit(int what, rlim_t value)
{
	const struct rlimit l = { .rlim_cur = value, .rlim_max = value };

	return prlimit(0, what, &l, NULL); /* not setrlimit(), which in this C library brings a lock into every thread's start */
}

/* Stage 8: nobody looks into us, and our memory goes to no file: it is the guest's. */
static void hide(struct missing *m)
{
	if (limit(RLIMIT_CORE, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		miss(m, "no core dumps, no tracing");
}

static int leave_as_root(const struct sandbox_cfg *cfg, struct missing *m, struct err *err)
{
	int r;

	/* Pinned memory is counted against a limit that capabilities lift until now. */
	if (cfg->pins_memory)
		limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
	if (leave_namespaces(NAMESPACES, m))
		empty_root(m);
	r = become(cfg, m, err);
	if (!r)
		leave_namespaces(CLONE_NEWUSER, m);
	return r;
}

static int leave_as_user(const struct sandbox_cfg *cfg, struct missing *m, struct err *err)
{
	int r = check_user(cfg, err);

	if (!r && leave_namespaces(CLONE_NEWUSER | NAMESPACES, m))
		empty_root(m);
	return r;
}

int sandbox_enter(const struct sandbox_cfg *cfg, struct err *err)
{
	struct missing *m = &missing;
	int r = cfg->cgroup ? join_cgroup(cfg, m, err) : 0;

	if (!r && !fd_book_is_whole())
		r = err_set(err, -E2BIG, "sandbox: descriptors with numbers above %d are not provided for", FDBOOK_MAX - 1);
	if (r)
		return r;
	close_strangers(m);
	/* No program that is executed gives rights; Landlock and seccomp ask for this first. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(err, -errno, "sandbox: no new privileges: %s", strerror(errno));
	r = geteuid() ? leave_as_user(cfg, m, err) : leave_as_root(cfg, m, err);
	if (r)
		return r;
	deny_files(m);
	drop_capabilities(m);
	hide(m);
	return m->error ? err_set(err, m->error, "sandbox: %s%s", m->text,
				  m->error == -ENOMEM ? "" : " (more are allowed by: ulimit -n)") : 0;
}

const char *sandbox_missing(void)
{
	return missing.text;
}

/* poll(2) takes no more descriptors than this allows, and is given one. Connections come behind what is there, or in its holes. */
static rlim_t most_fds(const struct sandbox_cfg *cfg)
{
	rlim_t least = cfg->back_ends ? FDS_ON_THEIR_WAY : STANDARD_FDS;
	rlim_t conns = cfg->conns ? (rlim_t)fd_end() + cfg->conns : 0, want = conns > least ? conns : least;
	struct rlimit now = { .rlim_max = RLIM_INFINITY };

	if (prlimit(0, RLIMIT_NOFILE, NULL, &now) || want <= now.rlim_max)
		return want;
	if (conns <= now.rlim_max)
		return now.rlim_max;
	log_warn("this process may have %llu descriptors, which are less than connections may want (more are allowed by: ulimit -Hn)",
		 (unsigned long long)now.rlim_max);
	return now.rlim_max;
}

void sandbox_shut(const struct sandbox_cfg *cfg)
{
	/* The kernel makes its workers for slow transfers in our name; clone(2) is denied to us by the filters all the same. */
	int r = cfg->disks || cfg->files || cfg->conns ? 0 : limit(RLIMIT_NPROC, 0);

	if (r || limit(RLIMIT_NOFILE, most_fds(cfg)))
		log_warn("sandbox: could not have: limits of processes and descriptors (%s)", strerror(errno));
}
