// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fake/hostdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/checked.h"

#define BAR_OFFSET(i) ((uint64_t)(i) << 40) /* as the kernel spreads regions over a file */

static struct fake_hostdev dev;

int fake_hostdev_new(struct fake_hostdev **ret_d)
{
	fake_hostdev_free();
	memset(&dev, 0, sizeof(dev));
	dev.unmask = -1;
	*ret_d = &dev;
	return eventfd(0, EFD_CLOEXEC);
}

void fake_hostdev_free(void)
{
	for (unsigned i = 0; i < 6; i++) {
		free(dev.bar[i]);
		dev.bar[i] = NULL;
	}
}

void fake_hostdev_set_bar(struct fake_hostdev *d, unsigned bar, uint64_t size, uint32_t low)
{
	d->bar[bar] = calloc(1, size);
	d->region[bar] = (struct hostdev_region){
		.size = size, .offset = BAR_OFFSET(bar), .readable = true, .writable = true,
		.areas = { { 0, size } }, .nr_areas = 1,
	};
	memcpy(d->config + 0x10 + 4 * bar, &low, sizeof(low));
}

bool fake_hostdev_fire(struct fake_hostdev *d, enum hostdev_irq irq, unsigned vector)
{
	uint64_t n;

	if (irq == HOSTDEV_INTX && d->line_masked && d->unmask >= 0 && read(d->unmask, &n, sizeof(n)) == sizeof(n))
		d->line_masked = false;
	if (vector >= d->nr_fds[irq] || (irq == HOSTDEV_INTX && d->line_masked))
		return false;
	if (irq == HOSTDEV_INTX)
		d->line_masked = true;
	return eventfd_write(d->fds[irq][vector], 1) == 0;
}

/* What this call is to return instead of what it does. */
static int failure(void)
{
	int err = dev.fail_call;

	if (!err || dev.fail_after--)
		return 0;
	dev.fail_call = 0;
	return err;
}

int hostdev_info(int fd, bool *ret_resets)
{
	int err = failure();

	(void)fd;
	if (err)
		return err;
	if (dev.dead)
		return -ENODEV;
	*ret_resets = dev.resets;
	return 0;
}

int hostdev_region(int fd, unsigned index, struct hostdev_region *ret_r)
{
	int err = failure();

	(void)fd;
	if (err)
		return err;
	if (index == HOSTDEV_CONFIG)
		*ret_r = (struct hostdev_region){ .size = 4096, .offset = BAR_OFFSET(7), .readable = true, .writable = true };
	else
		*ret_r = index < 6 ? dev.region[index] : (struct hostdev_region){ 0 };
	return 0;
}

unsigned hostdev_nr_irqs(int fd, enum hostdev_irq irq)
{
	(void)fd;
	return dev.nr_irqs[irq];
}

static bool other_kind_on(enum hostdev_irq irq)
{
	for (unsigned i = HOSTDEV_INTX; i <= HOSTDEV_MSIX && irq <= HOSTDEV_MSIX; i++)
		if (i != irq && dev.nr_fds[i])
			return true;
	return false;
}

int hostdev_set_irqs(int fd, enum hostdev_irq irq, const int *fds, unsigned n)
{
	int err = n ? dev.fail_irqs : 0;

	(void)fd;
	dev.set_calls++;
	if (err) {
		dev.fail_irqs = 0;
		return err;
	}
	err = n ? failure() : 0;
	if (err)
		return err;
	if (n > dev.nr_irqs[irq] || other_kind_on(irq) || (!n && !dev.nr_fds[irq]))
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		dev.fds[irq][i] = fds[i];
	dev.nr_fds[irq] = n;
	if (irq == HOSTDEV_INTX) {
		dev.unmask = -1;
		dev.line_masked = false;
	}
	return 0;
}

int hostdev_set_unmask(int fd, int unmask)
{
	int err = failure();
	uint64_t n;

	(void)fd;
	if (err)
		return err;
	if (!dev.nr_fds[HOSTDEV_INTX])
		return -EINVAL;
	dev.unmask = unmask;
	if (read(unmask, &n, sizeof(n)) == sizeof(n)) /* signalled before: the kernel takes it at once */
		dev.line_masked = false;
	return 0;
}

static uint8_t *bytes_at(const struct hostdev_region *r, uint64_t off, size_t len)
{
	unsigned index = (unsigned)(r->offset >> 40);

	if (dev.dead || !range_fits(off, len, r->size))
		return NULL;
	if (index == 7)
		return range_fits(off, len, sizeof(dev.config)) ? dev.config + off : NULL;
	return dev.bar[index] + off;
}

int hostdev_read(int fd, const struct hostdev_region *r, uint64_t off, void *buf, size_t len)
{
	const uint8_t *p = bytes_at(r, off, len);

	(void)fd;
	if (!p)
		return -EIO;
	memcpy(buf, p, len);
	return 0;
}

int hostdev_write(int fd, const struct hostdev_region *r, uint64_t off, const void *buf, size_t len)
{
	uint8_t *p = bytes_at(r, off, len);

	(void)fd;
	if (!p)
		return -EIO;
	dev.config_writes += r->offset == BAR_OFFSET(7);
	memcpy(p, buf, len);
	return 0;
}

void *hostdev_map(int fd, const struct hostdev_region *r, struct slice s)
{
	(void)fd;
	if (failure())
		return NULL;
	dev.maps++;
	return bytes_at(r, s.off, s.size);
}

void hostdev_unmap(void *p, struct slice s)
{
	(void)p;
	(void)s;
	dev.maps--;
}

int hostdev_reset(int fd)
{
	int err = failure();

	(void)fd;
	dev.nr_resets++;
	return err ? err : dev.dead ? -EIO : 0;
}
