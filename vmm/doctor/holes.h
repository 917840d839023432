/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * holes - known holes of the host's kernel in the parts that a guest speaks to
 *
 * What:   a table of published holes in KVM's interrupt controller, vhost and taps, and which
 *         kernels have them; a kernel's version, read from what it says of itself.
 * Not:    a complete list; nothing is tried out. A distribution's kernel may have a fix
 *         without the version that says so.
 * Trust:  the strings are the host's.
 * Thread: pure.
 * Source: the kernel's own CVE records: introduced in, fixed in, for each stable branch.
 */
#ifndef VMM_DOCTOR_HOLES_H
#define VMM_DOCTOR_HOLES_H

#include "vmm/base/types.h"

/* major.minor.patch of kernel.org. All 0: not known. */
struct kernel_version {
	unsigned major, minor, patch;
};

/*
 * The version of kernel.org that a kernel is made of. @release and @build are uname's release
 * and version, @signature is the content of /proc/version_signature or "". Debian's release
 * ("6.1.0-28-arm64") is the name of an ABI; the version stands in the build ("... Debian
 * 6.1.119-1 ..."), Ubuntu's at the end of the signature. False where the version says nothing
 * of the fixes that are in it (Red Hat's); *@ret_v is then what the release begins with.
 */
bool kernel_version_read(const char *release, const char *build, const char *signature, struct kernel_version *ret_v);
/* Below 0, 0, above 0: @a is older than, the same as, newer than @b. */
int kernel_version_cmp(struct kernel_version a, struct kernel_version b);

/* Which part of the host it is in, and so what does without it. */
enum hole_area { HOLE_ITS, HOLE_VHOST_NET, HOLE_MACVTAP, HOLE_VSOCK };

enum hole_state {
	HOLE_FIXED,    /* has the fix */
	HOLE_NEVER,    /* older than what brought the hole */
	HOLE_OPEN,     /* has the hole */
	HOLE_UNKNOWN,  /* the version does not tell */
};

#define HOLE_MAX_FIXES 8

struct hole {
	const char *cve;
	enum hole_area area;
	const char *what;               /* what a guest can do with it */
	struct kernel_version since;    /* the first that has it */
	/* the first without it on each branch; oldest first; later branches never had it */
	struct kernel_version fixed[HOLE_MAX_FIXES];
	unsigned nr_fixed;
};

/* The table; *@ret_n entries. */
const struct hole *holes_table(size_t *ret_n);
/* @known: what kernel_version_read() said of @v. */
enum hole_state hole_judge(const struct hole *h, struct kernel_version v, bool known);
/* The version that closes it for who runs @v: of the same branch, else the next that has it; NULL: none is known. */
const struct kernel_version *hole_fix_for(const struct hole *h, struct kernel_version v);
/* "ITS", for people and machines. */
const char *hole_area_name(enum hole_area area);
/* "fixed", for people and machines. Static, as are the other two. */
const char *hole_state_name(enum hole_state state);
/* How to do without that part: "--irqchip gicv3". */
const char *hole_area_without(enum hole_area area);

#endif
