// SPDX-License-Identifier: BSD-3-Clause
#include "devices/vfio/sysdev.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NR_BARS 6
#define IORESOURCE_MEM 0x200ull     /* linux/ioport.h; the same in every kernel since 2.6 */
#define IORESOURCE_MEM_64 0x100000ull
#define MAX_BAR64 (1ull << 46)      /* a size that only a broken table says */

/* The last part of what the link @dir/@name points to; "" where there is none. */
static void link_name(const char *dir, const char *name, char *buf, size_t cap)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *last;
	size_t len;
	ssize_t n;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	last = strrchr(target, '/');
	last = last ? last + 1 : target;
	len = strnlen(last, cap - 1);
	memcpy(buf, last, len);
	buf[len] = '\0';
}

/* The number that is all of @name; -1: none, or more than a group has. */
static int group_of(const char *name)
{
	char *end;
	long nr = strtol(name, &end, 10);

	return isdigit((unsigned char)*name) && !*end && nr <= INT_MAX ? (int)nr : -1;
}

/* A line a resource: first and last address, flags. The BARs are the first six. */
static uint64_t mem64_of(const char *dir)
{
	unsigned long long start, end, flags;
	char path[PATH_MAX];
	uint64_t sum = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/resource", dir);
	f = fopen(path, "re");
	if (!f)
		return 0;
	for (unsigned i = 0; i < NR_BARS && fscanf(f, "%llx %llx %llx", &start, &end, &flags) == 3; i++)
		if ((flags & IORESOURCE_MEM) && (flags & IORESOURCE_MEM_64) && end > start && end - start < MAX_BAR64)
			sum += end - start + 1;
	fclose(f);
	return sum;
}

int sysdev_lookup(const char *sys, const char *address, struct sysdev *ret_d)
{
	char dir[200], group[16];
	struct stat st;

	if (snprintf(dir, sizeof(dir), "%s/bus/pci/devices/%s", sys, address) >= (int)sizeof(dir) || stat(dir, &st))
		return -ENODEV;
	*ret_d = (struct sysdev){ .mem64 = mem64_of(dir) };
	link_name(dir, "driver", ret_d->driver, sizeof(ret_d->driver));
	link_name(dir, "iommu_group", group, sizeof(group));
	ret_d->group = group_of(group);
	return 0;
}

bool sysdev_any_iommu(const char *sys)
{
	char dir[200];
	struct dirent *e;
	bool any = false;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/class/iommu", sys);
	d = opendir(dir);
	while (d && !any && (e = readdir(d)))
		any = e->d_name[0] != '.';
	if (d)
		closedir(d);
	return any;
}

bool sysdev_is_vfio(const char *driver)
{
	/* vfio-pci itself, and those for one device each: mlx5_vfio_pci, nvgrace_gpu_vfio_pci, ... */
	return strstr(driver, "vfio");
}

/* Drivers that a group is viable with (vfio.rst); a device without a driver is in nobody's way. */
static bool blocks(const char *driver)
{
	return *driver && !sysdev_is_vfio(driver) && strcmp(driver, "pci-stub") && strcmp(driver, "pcieport");
}

void sysdev_blockers(const char *sys, int group, char *buf, size_t cap)
{
	char dir[200], dev[600], driver[40];
	size_t used = 0;
	struct dirent *e;
	DIR *d;

	buf[0] = '\0';
	snprintf(dir, sizeof(dir), "%s/kernel/iommu_groups/%d/devices", sys, group);
	d = opendir(dir);
	if (!d)
		return;
	while ((e = readdir(d)) && used < cap) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(dev, sizeof(dev), "%s/%s", dir, e->d_name);
		link_name(dev, "driver", driver, sizeof(driver));
		if (blocks(driver))
			used += (size_t)snprintf(buf + used, cap - used, "%s%s (%s)", used ? ", " : "", e->d_name, driver);
	}
	closedir(d);
}
