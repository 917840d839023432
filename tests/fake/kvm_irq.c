// SPDX-License-Identifier: BSD-3-Clause
/*
 * fake/kvm_irq - theory of operation
 *
 * The kernel zeroes an attached eventfd's counter inside each signal, under the eventfd's
 * own lock; here one read(2) does that later. Whoever detaches, attaches or replaces the
 * table pumps first, so that a signal meets the routes and attachments of its own time: the
 * outcome is that of a kernel which was quick.
 *
 * An irqfd keeps a duplicate of its descriptor, as the kernel keeps the eventfd's context,
 * and knows the eventfd by its id in /proc/self/fdinfo, which all duplicates share.
 *
 * "residue": the count that an attach found. The kernel injects once and leaves it in place
 * until the next signal takes it along.
 */
#include "tests/fake/kvm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/checked.h"

/* Injection */

static bool deliver_msi(struct hyp *h, const struct hyp_route *r)
{
	if (!h->has_its || !r->valid_devid ||
	    !range_within(r->addr, 4, FAKE_ITS_BASE, FAKE_ITS_SIZE) || r->data > 0xffff || r->devid > 0xffff)
		return false;
	if (r->devid < MSI_IDS && r->data < MSI_IDS)
		h->msis[r->devid][r->data]++;
	return true;
}

static bool deliver_spi(struct hyp *h, uint32_t pin)
{
	if (pin >= h->nr_spis)
		return false;
	h->spis[pin]++;
	h->levels[pin] = true; /* and nobody lowers it */
	return true;
}

static const struct hyp_route *route_of(const struct hyp *h, uint32_t gsi)
{
	static const struct hyp_route none;

	return gsi < h->table_end ? &h->table[gsi] : &none;
}

static void inject(struct hyp *h, uint32_t gsi)
{
	const struct hyp_route *r = route_of(h, gsi);
	bool done = false;

	if (r->kind == HYP_ROUTE_SPI)
		done = deliver_spi(h, r->pin);
	else if (r->kind == HYP_ROUTE_MSI)
		done = deliver_msi(h, r);
	if (done)
		h->injected++;
	else
		h->lost++;
	if (done && h->on_inject)
		h->on_inject(h->on_inject_ctx);
}

void fake_kvm_on_inject(struct hyp *h, void (*fn)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&h->lock);
	h->on_inject = fn;
	h->on_inject_ctx = ctx;
	pthread_mutex_unlock(&h->lock);
}

static uint64_t read_count(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void write_count(int fd, uint64_t n)
{
	if (n && write(fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		abort();
}

/* The id of the eventfd behind @fd; -EBADF, -EINVAL. */
static long eventfd_id(int fd)
{
	char path[64], line[128];
	long id = -EINVAL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -EBADF;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "eventfd-id: %ld", &id) == 1)
			break;
	}
	fclose(f);
	return id;
}

static unsigned pump_one(struct hyp *h, struct fake_irqfd *f)
{
	const uint64_t n = read_count(f->dup);

	if (n <= f->residue) {
		write_count(f->dup, n);
		return 0;
	}
	f->residue = 0;
	inject(h, f->gsi);
	return 1;
}

static unsigned pump_locked(struct hyp *h)
{
	unsigned i, n = 0;

	for (i = 0; i < h->nr_irqfds; i++)
		n += pump_one(h, &h->irqfds[i]);
	return n;
}

unsigned fake_kvm_pump(struct hyp *h)
{
	unsigned n;

	pthread_mutex_lock(&h->lock);
	n = pump_locked(h);
	pthread_mutex_unlock(&h->lock);
	return n;
}

static void *pump_thread(void *arg)
{
	struct hyp *h = arg;

	while (!atomic_load(&h->thread_stop))
		if (!fake_kvm_pump(h))
			sched_yield();
	return NULL;
}

void fake_kvm_start_thread(struct hyp *h)
{
	atomic_store(&h->thread_stop, false);
	if (pthread_create(&h->thread, NULL, pump_thread, h))
		abort();
	h->thread_runs = true;
}

void fake_kvm_stop_thread(struct hyp *h)
{
	if (!h->thread_runs)
		return;
	atomic_store(&h->thread_stop, true);
	pthread_join(h->thread, NULL);
	h->thread_runs = false;
}

/* The interrupt controller's INIT, and the routing table */

void fake_kvm_init(struct hyp *h, uint32_t nr_spis)
{
	uint32_t i;

	if (nr_spis > FAKE_KVM_MAX_PIN)
		abort();
	pthread_mutex_lock(&h->lock);
	h->inited = true;
	h->nr_spis = nr_spis;
	memset(h->table, 0, sizeof(h->table));
	h->table_end = h->nr_routes = nr_spis;
	for (i = 0; i < nr_spis; i++)
		h->table[i] = (struct hyp_route){ .gsi = i, .kind = HYP_ROUTE_SPI, .pin = i };
	fake_log_call(h, (struct fake_call){ .op = FAKE_INIT, .n = nr_spis });
	pthread_mutex_unlock(&h->lock);
}

/* Fills h->next, by GSI. The kernel's checks and no others. */
static int build_table(struct hyp *h, const struct hyp_route *routes, unsigned n, unsigned *ret_end,
		       unsigned *ret_used)
{
	unsigned i, used = 0, end = 0;

	for (i = 0; i < n; i++) {
		const struct hyp_route *r = &routes[i];

		if (r->kind == HYP_ROUTE_NONE)
			continue;
		if (r->kind > HYP_ROUTE_MSI || r->gsi >= h->max_routes || h->next[r->gsi].kind)
			return -EINVAL;
		if (r->kind == HYP_ROUTE_SPI && r->pin >= FAKE_KVM_MAX_PIN)
			return -EINVAL;
		h->next[r->gsi] = *r;
		end = r->gsi >= end ? r->gsi + 1 : end;
		used++;
	}
	*ret_end = end;
	*ret_used = used;
	return 0;
}

/* What the kernel does not mind. */
static void judge_table(struct hyp *h)
{
	bool seen[FAKE_KVM_MAX_PIN] = { false };
	unsigned i;

	if (!h->inited)
		fake_complain(h, "a routing table before INIT");
	for (i = 0; i < h->table_end; i++) {
		if (h->table[i].kind != HYP_ROUTE_SPI)
			continue;
		if (seen[h->table[i].pin])
			fake_complain(h, "two GSIs for one SPI");
		seen[h->table[i].pin] = true;
	}
	for (i = 0; i < h->nr_irqfds; i++)
		if (!route_of(h, h->irqfds[i].gsi)->kind)
			fake_complain(h, "a route was taken from an attached irqfd");
}

static int set_routes_locked(struct hyp *h, const struct hyp_route *routes, unsigned n)
{
	unsigned end, used;
	int err;

	err = build_table(h, routes, n, &end, &used);
	if (!err) {
		memcpy(h->table, h->next, sizeof(h->table[0]) * end);
		h->table_end = end;
		h->nr_routes = used;
		judge_table(h);
	}
	memset(h->next, 0, err ? sizeof(h->next) : sizeof(h->next[0]) * end);
	return err;
}

int hyp_set_routes(struct hyp *h, const struct hyp_route *routes, unsigned n)
{
	int err;

	pthread_mutex_lock(&h->lock);
	pump_locked(h);
	err = fake_failure(h, FAKE_SET_ROUTES);
	if (!err)
		err = set_routes_locked(h, routes, n);
	fake_log_call(h, (struct fake_call){ .op = FAKE_SET_ROUTES, .result = err, .n = n });
	pthread_mutex_unlock(&h->lock);
	if (h->watch)
		h->watch->set_routes(h->watch_ctx, routes, n, err);
	return err;
}

struct hyp_route fake_kvm_route(struct hyp *h, uint32_t gsi)
{
	struct hyp_route r;

	pthread_mutex_lock(&h->lock);
	r = *route_of(h, gsi);
	pthread_mutex_unlock(&h->lock);
	return r;
}

unsigned fake_kvm_nr_routes(struct hyp *h)
{
	unsigned n;

	pthread_mutex_lock(&h->lock);
	n = h->nr_routes;
	pthread_mutex_unlock(&h->lock);
	return n;
}

/* irqfds */

static struct fake_irqfd *find_irqfd(struct hyp *h, long id)
{
	unsigned i;

	for (i = 0; i < h->nr_irqfds; i++)
		if (h->irqfds[i].id == id)
			return &h->irqfds[i];
	return NULL;
}

static int attach_locked(struct hyp *h, int fd, uint32_t gsi)
{
	const long id = eventfd_id(fd);
	struct fake_irqfd *f;

	if (!h->inited)
		return -EAGAIN;
	if (id < 0)
		return (int)id;
	if (find_irqfd(h, id))
		return -EBUSY;
	if (h->nr_irqfds == MAX_IRQFDS)
		return -ENOMEM;
	if (!route_of(h, gsi)->kind)
		fake_complain(h, "an irqfd on a GSI without a route");
	f = &h->irqfds[h->nr_irqfds++];
	*f = (struct fake_irqfd){ .fd = fd, .id = id, .gsi = gsi };
	f->dup = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (f->dup < 0)
		abort();
	f->residue = read_count(f->dup);
	if (f->residue) {
		write_count(f->dup, f->residue);
		inject(h, gsi);
	}
	return 0;
}

int hyp_irqfd_attach(struct hyp *h, int fd, uint32_t gsi, int resample_fd)
{
	int err;

	pthread_mutex_lock(&h->lock);
	pump_locked(h);
	err = fake_failure(h, FAKE_IRQFD_ATTACH);
	if (!err && resample_fd != -1 && eventfd_id(resample_fd) < 0)
		err = (int)eventfd_id(resample_fd);
	if (!err)
		err = attach_locked(h, fd, gsi);
	fake_log_call(h, (struct fake_call){ .op = FAKE_IRQFD_ATTACH, .result = err, .fd = fd, .n = gsi,
					     .match = resample_fd });
	pthread_mutex_unlock(&h->lock);
	if (h->watch)
		h->watch->irqfd_attach(h->watch_ctx, fd, gsi, resample_fd, err);
	return err;
}

static int detach_locked(struct hyp *h, int fd, uint32_t gsi)
{
	const long id = eventfd_id(fd);
	struct fake_irqfd *f;

	if (id < 0)
		return (int)id;
	f = find_irqfd(h, id);
	if (!f || f->gsi != gsi) {
		fake_complain(h, "a detach that matches nothing");
		return 0;
	}
	/* One read: what was signalled before it is injected, what comes after it stays in the counter. */
	if (read_count(f->dup) > f->residue)
		inject(h, f->gsi);
	close(f->dup);
	*f = h->irqfds[--h->nr_irqfds];
	return 0;
}

int hyp_irqfd_detach(struct hyp *h, int fd, uint32_t gsi)
{
	int err;

	pthread_mutex_lock(&h->lock);
	err = fake_failure(h, FAKE_IRQFD_DETACH);
	if (!err)
		err = detach_locked(h, fd, gsi);
	fake_log_call(h, (struct fake_call){ .op = FAKE_IRQFD_DETACH, .result = err, .fd = fd, .n = gsi });
	pthread_mutex_unlock(&h->lock);
	if (h->watch)
		h->watch->irqfd_detach(h->watch_ctx, fd, gsi, err);
	return err;
}

void hyp_set_watch(struct hyp *h, const struct hyp_watch *watch, void *ctx)
{
	h->watch = watch;
	h->watch_ctx = ctx;
}

unsigned fake_kvm_nr_irqfds(struct hyp *h)
{
	unsigned n;

	pthread_mutex_lock(&h->lock);
	n = h->nr_irqfds;
	pthread_mutex_unlock(&h->lock);
	return n;
}

bool fake_kvm_attached(struct hyp *h, int fd, uint32_t *ret_gsi)
{
	const long id = eventfd_id(fd);
	struct fake_irqfd *f;

	pthread_mutex_lock(&h->lock);
	f = id < 0 ? NULL : find_irqfd(h, id);
	if (f && ret_gsi)
		*ret_gsi = f->gsi;
	pthread_mutex_unlock(&h->lock);
	return f;
}

const char *fake_kvm_complaint(struct hyp *h)
{
	const char *what;
	unsigned i;

	pthread_mutex_lock(&h->lock);
	for (i = 0; i < h->nr_irqfds; i++)
		if (eventfd_id(h->irqfds[i].fd) != h->irqfds[i].id)
			fake_complain(h, "an eventfd was closed while attached");
	what = h->complaint;
	pthread_mutex_unlock(&h->lock);
	return what;
}

/* Lines and messages */

int hyp_irq_line(struct hyp *h, uint32_t spi, bool level)
{
	int err;

	pthread_mutex_lock(&h->lock);
	err = fake_failure(h, FAKE_IRQ_LINE);
	if (!err && !h->inited)
		err = -EBUSY;
	if (!err && spi >= h->nr_spis)
		err = -EINVAL;
	if (!err) {
		/* An edge is latched each time it is told of, also where an irqfd left the line up. */
		h->spis[spi] += level;
		h->injected += level;
		h->levels[spi] = level;
		if (level && h->on_inject)
			h->on_inject(h->on_inject_ctx);
	}
	fake_log_call(h, (struct fake_call){ .op = FAKE_IRQ_LINE, .result = err, .n = spi, .value = level });
	pthread_mutex_unlock(&h->lock);
	if (h->watch)
		h->watch->irq_line(h->watch_ctx, spi, level, err);
	return err;
}

/* The guest has mapped every event; where it has an ITS. */
static int signal_locked(struct hyp *h, const struct hyp_route *msi)
{
	if (!h->inited || !h->has_its)
		return -ENODEV;
	if (!deliver_msi(h, msi))
		return -EINVAL;
	h->injected++;
	if (h->on_inject)
		h->on_inject(h->on_inject_ctx);
	return 1;
}

int hyp_signal_msi(struct hyp *h, uint64_t addr, uint32_t data, bool valid_devid, uint32_t devid)
{
	const struct hyp_route msi = { .kind = HYP_ROUTE_MSI, .addr = addr, .data = data, .valid_devid = valid_devid,
				       .devid = devid };
	int r;

	pthread_mutex_lock(&h->lock);
	r = fake_failure(h, FAKE_SIGNAL_MSI);
	if (!r)
		r = signal_locked(h, &msi);
	fake_log_call(h, (struct fake_call){ .op = FAKE_SIGNAL_MSI, .result = r, .n = data, .value = addr });
	pthread_mutex_unlock(&h->lock);
	if (h->watch)
		h->watch->signal_msi(h->watch_ctx, &msi, r);
	return r;
}

/* What arrived */

uint64_t fake_kvm_injected(struct hyp *h)
{
	uint64_t n;

	pthread_mutex_lock(&h->lock);
	n = h->injected;
	pthread_mutex_unlock(&h->lock);
	return n;
}

uint64_t fake_kvm_lost(struct hyp *h)
{
	uint64_t n;

	pthread_mutex_lock(&h->lock);
	n = h->lost;
	pthread_mutex_unlock(&h->lock);
	return n;
}

uint64_t fake_kvm_msis(struct hyp *h, uint32_t devid, uint32_t event)
{
	uint64_t n;

	if (devid >= MSI_IDS || event >= MSI_IDS)
		abort();
	pthread_mutex_lock(&h->lock);
	n = h->msis[devid][event];
	pthread_mutex_unlock(&h->lock);
	return n;
}

uint64_t fake_kvm_spis(struct hyp *h, uint32_t spi)
{
	uint64_t n;

	if (spi >= FAKE_KVM_MAX_PIN)
		abort();
	pthread_mutex_lock(&h->lock);
	n = h->spis[spi];
	pthread_mutex_unlock(&h->lock);
	return n;
}

bool fake_kvm_spi_level(struct hyp *h, uint32_t spi)
{
	bool level;

	if (spi >= FAKE_KVM_MAX_PIN)
		abort();
	pthread_mutex_lock(&h->lock);
	level = h->levels[spi];
	pthread_mutex_unlock(&h->lock);
	return level;
}
