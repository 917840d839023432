// SPDX-License-Identifier: BSD-3-Clause
/*
 * stages - the program, whose sandbox goes as far as a stage: what that stage costs is the difference from the one before
 *
 * usage: STAGES=N stages OPTIONS...       the program's own
 *
 * Linked in front of the program's sandbox.c, whose stages these are, and around its seccomp.c. N is one of the list
 * below, whose order is the program's; 0 does none of it.
 */
#define sandbox_enter whole_sandbox_enter
#define sandbox_shut whole_sandbox_shut
#include "vmm/app/sandbox.c"
#undef sandbox_enter
#undef sandbox_shut

#include <stdlib.h>

#include "vmm/app/seccomp.h"

enum stage {
	STAGE_CGROUP = 1, STAGE_STRANGERS, STAGE_NAMESPACES, STAGE_ROOT, STAGE_USER, STAGE_LANDLOCK, STAGE_CAPABILITIES,
	STAGE_LIMITS, STAGE_FILTERS_MADE, STAGE_FILTERS_ARMED,
};

int sandbox_enter(const struct sandbox_cfg *cfg, struct err *err);
void sandbox_shut(const struct sandbox_cfg *cfg);
int __real_seccomp_make(enum seccomp_mode mode, void (*denied_now)(const char *text), struct err *err);
int __wrap_seccomp_make(enum seccomp_mode mode, void (*denied_now)(const char *text), struct err *err);
int __real_seccomp_arm(enum right_threads thread, int own_fd);
int __wrap_seccomp_arm(enum right_threads thread, int own_fd);

static bool reaches(enum stage s)
{
	const char *n = getenv("STAGES");

	return n && atoi(n) >= (int)s;
}

/* As root; what could not be had would be cheaper than it is. */
int sandbox_enter(const struct sandbox_cfg *cfg, struct err *err)
{
	struct missing m = { "", 0 };

	if (reaches(STAGE_CGROUP) && cfg->cgroup && join_cgroup(cfg, &m, err))
		return -EINVAL;
	if (reaches(STAGE_STRANGERS))
		close_strangers(&m);
	if (reaches(STAGE_NAMESPACES))
		leave_namespaces(NAMESPACES, &m);
	if (reaches(STAGE_ROOT))
		empty_root(&m);
	if (reaches(STAGE_USER) && become(cfg, &m, err))
		return -EINVAL;
	if (reaches(STAGE_USER))
		leave_namespaces(CLONE_NEWUSER, &m);
	if (reaches(STAGE_LANDLOCK)) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		deny_files(&m);
	}
	if (reaches(STAGE_CAPABILITIES))
		drop_capabilities(&m);
	if (reaches(STAGE_LIMITS))
		hide(&m);
	return m.text[0] ? err_set(err, -EPERM, "sandbox: could not have: %s", m.text) : 0;
}

void sandbox_shut(const struct sandbox_cfg *cfg)
{
	if (reaches(STAGE_LIMITS))
		whole_sandbox_shut(cfg);
}

int __wrap_seccomp_make(enum seccomp_mode mode, void (*denied_now)(const char *text), struct err *err)
{
	return reaches(STAGE_FILTERS_MADE) ? __real_seccomp_make(mode, denied_now, err) : 0;
}

int __wrap_seccomp_arm(enum right_threads thread, int own_fd)
{
	return reaches(STAGE_FILTERS_ARMED) ? __real_seccomp_arm(thread, own_fd) : 0;
}
