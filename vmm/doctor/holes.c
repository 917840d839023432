// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/holes.h"

#include <stdlib.h>
#include <string.h>

#define V(a, b, c) { a, b, c }
#define FIXED(...) .fixed = { __VA_ARGS__ }, .nr_fixed = sizeof((struct kernel_version[]){ __VA_ARGS__ }) / \
						       sizeof(struct kernel_version)

/* By area, then by year. */
static const struct hole table[] = {
	{ "CVE-2024-26598", HOLE_ITS, "use after free: an interrupt races with a command that discards it", V(5, 3, 0),
	  FIXED(V(5, 4, 269), V(5, 10, 209), V(5, 15, 148), V(6, 1, 75), V(6, 6, 14), V(6, 7, 2)) },
	{ "CVE-2026-46316", HOLE_ITS, "use after free in the translation cache; a way out of the guest is public",
	  V(6, 10, 0), FIXED(V(6, 12, 93), V(6, 18, 35), V(7, 0, 12)) },
	{ "CVE-2026-72288", HOLE_ITS, "an interrupt that moves while its LPIs are turned off", V(4, 8, 0),
	  FIXED(V(6, 18, 40), V(7, 1, 5)) },
	{ "CVE-2026-74568", HOLE_ITS, "an LPI that is released and registered again at once", V(6, 17, 0),
	  FIXED(V(7, 1, 8)) },
	{ "CVE-2024-41091", HOLE_VHOST_NET, "a frame that is too short reads past its end in the host", V(4, 20, 0),
	  FIXED(V(5, 4, 281), V(5, 10, 223), V(5, 15, 164), V(6, 1, 102), V(6, 6, 43), V(6, 9, 12), V(6, 10, 2)) },
	{ "CVE-2026-46321", HOLE_VHOST_NET, "each short frame loses host memory, without end", V(4, 20, 0),
	  FIXED(V(5, 10, 259), V(5, 15, 210), V(6, 1, 176), V(6, 6, 143), V(6, 12, 93), V(6, 18, 35), V(7, 0, 12)) },
	{ "CVE-2026-46322", HOLE_VHOST_NET, "frames that come while memory is short lose more of it", V(4, 20, 0),
	  FIXED(V(5, 10, 259), V(5, 15, 210), V(6, 1, 176), V(6, 6, 143), V(6, 12, 93), V(6, 18, 35), V(7, 0, 12)) },
	{ "CVE-2024-41090", HOLE_MACVTAP, "a frame that is too short reads past its end in the host", V(4, 20, 0),
	  FIXED(V(5, 4, 281), V(5, 10, 223), V(5, 15, 164), V(6, 1, 102), V(6, 6, 43), V(6, 9, 12), V(6, 10, 2)) },
	{ "CVE-2026-46320", HOLE_MACVTAP, "each frame that is refused loses host memory, without end", V(4, 20, 0),
	  FIXED(V(5, 10, 259), V(5, 15, 210), V(6, 1, 176), V(6, 6, 143), V(6, 12, 94), V(6, 18, 36), V(7, 0, 12)) },
	{ "CVE-2026-74684", HOLE_MACVTAP, "a header without a protocol stops the host's kernel", V(5, 12, 0),
	  FIXED(V(6, 12, 105), V(6, 18, 45), V(7, 1, 9)) },
	{ "CVE-2026-23086", HOLE_VSOCK, "a guest that promises room and does not read fills host memory", V(4, 8, 0),
	  FIXED(V(6, 1, 162), V(6, 6, 122), V(6, 12, 68), V(6, 18, 8)) },
};

static const struct {
	const char *name, *without;
} areas[] = {
	[HOLE_ITS] = { "its", "--irqchip gicv3" },
	[HOLE_VHOST_NET] = { "vhost-net", "--net TAP,vhost=off" },
	[HOLE_MACVTAP] = { "macvtap", "a tap instead of a macvtap, or vhost=off" },
	[HOLE_VSOCK] = { "vhost-vsock", "no --vsock, or one with uds=" },
};

static const char *const states[] = {
	[HOLE_FIXED] = "fixed", [HOLE_NEVER] = "never-had-it", [HOLE_OPEN] = "open", [HOLE_UNKNOWN] = "unknown",
};

const struct hole *holes_table(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(table);
	return table;
}

const char *hole_area_name(enum hole_area area)
{
	return areas[area].name;
}

const char *hole_area_without(enum hole_area area)
{
	return areas[area].without;
}

const char *hole_state_name(enum hole_state state)
{
	return states[state];
}

int kernel_version_cmp(struct kernel_version a, struct kernel_version b)
{
	if (a.major != b.major)
		return a.major < b.major ? -1 : 1;
	if (a.minor != b.minor)
		return a.minor < b.minor ? -1 : 1;
	return a.patch < b.patch ? -1 : a.patch > b.patch;
}

/* "6.1", "6.1.119" at the start of @s, whatever follows. */
static bool read_numbers(const char *s, struct kernel_version *ret_v)
{
	unsigned long n[3] = { 0 };
	unsigned i = 0;

	for (; i < ARRAY_LEN(n) && *s >= '0' && *s <= '9'; i++) {
		char *end;

		n[i] = strtoul(s, &end, 10);
		s = end + (*end == '.');
	}
	if (i < 2 || !n[0])
		return false;
	*ret_v = (struct kernel_version){ (unsigned)n[0], (unsigned)n[1], (unsigned)n[2] };
	return true;
}

/* The last word of Ubuntu's "Ubuntu 6.8.0-45.45-generic 6.8.12". */
static bool read_signature(const char *s, struct kernel_version *ret_v)
{
	const char *last = strrchr(s, ' ');

	return !strncmp(s, "Ubuntu ", 7) && last && read_numbers(last + 1, ret_v);
}

bool kernel_version_read(const char *release, const char *build, const char *signature, struct kernel_version *ret_v)
{
	const char *debian = strstr(build, "Debian ");
	struct kernel_version v = { 0 };
	bool whole;

	if ((debian && read_numbers(debian + 7, &v)) || read_signature(signature, &v)) {
		*ret_v = v;
		return true;
	}
	whole = read_numbers(release, &v) && !strstr(release, ".el") && !strstr(build, "Ubuntu");
	*ret_v = v;
	return whole;
}

static bool same_branch(struct kernel_version a, struct kernel_version b)
{
	return a.major == b.major && a.minor == b.minor;
}

const struct kernel_version *hole_fix_for(const struct hole *h, struct kernel_version v)
{
	for (unsigned i = 0; i < h->nr_fixed; i++)
		if (same_branch(h->fixed[i], v) || kernel_version_cmp(h->fixed[i], v) > 0)
			return &h->fixed[i];
	return NULL;
}

enum hole_state hole_judge(const struct hole *h, struct kernel_version v, bool known)
{
	const struct kernel_version *fix;

	if (!known)
		return HOLE_UNKNOWN;
	if (kernel_version_cmp(v, h->since) < 0)
		return HOLE_NEVER;
	fix = hole_fix_for(h, v);
	return !fix || kernel_version_cmp(v, *fix) >= 0 ? HOLE_FIXED : HOLE_OPEN;
}
