// SPDX-License-Identifier: BSD-3-Clause
/*
 * irq_check - theory of operation
 *
 * Two sides are compared that know nothing of each other. One is the record: every call for
 * routes, irqfds, lines and messages passes here with KVM's answer, and what KVM took is written
 * down. The other is what the program believes: the shadow table with its holds, and the MSI-X
 * bits of each source, handed in raw.
 *
 * Each call is judged by itself when it is made; the two sides are compared when a change is
 * whole, since in the middle of one they differ by right: a GSI is held before the attach, and
 * released after the detach.
 *
 * The record is under a mutex that is taken last: also under the space's lock, as commits are made
 * there. Only the first broken rule is told; what follows from it would only confuse.
 */
#include "vmm/core/irq_check.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "vmm/core/gsi_internal.h"
#include "vmm/core/irq_rules.h"

struct irq_check {
	struct gsi_space *space; /* borrowed */
	pthread_mutex_t lock;
	struct irq_record rec;
	bool is_broken;
	struct err verdict;
	void (*broken)(void *ctx, const char *sentence);
	void *ctx;
};

/* Ends what began with taking the lock; @ret and @why are the rules'. */
static void judge(struct irq_check *c, int ret, const struct err *why)
{
	bool first = ret && !c->is_broken;

	if (first) {
		c->is_broken = true;
		c->verdict = *why;
	}
	pthread_mutex_unlock(&c->lock);
	if (first)
		c->broken(c->ctx, c->verdict.text);
}

/* What KVM is told */

static void told_routes(void *ctx, const struct hyp_route *routes, unsigned n, int result)
{
	struct irq_check *c = ctx;
	struct err why;
	int ret;

	pthread_mutex_lock(&c->lock);
	ret = irq_v8_table(&c->rec, n, &why);
	if (!ret)
		ret = irq_v4_table(&c->rec, c->space->started, routes, n, &why);
	if (!ret)
		ret = irq_v1_table(&c->rec, routes, n, &why);
	if (!ret)
		ret = irq_v2_table(&c->rec, routes, n, &why);
	if (!result) {
		irq_record_table(&c->rec, routes, n);
		if (!ret)
			ret = irq_v3_table(&c->rec, &why);
	}
	judge(c, ret, &why);
}

static void told_attach(void *ctx, int fd, uint32_t gsi, int resample_fd, int result)
{
	struct irq_check *c = ctx;
	struct err why;
	int ret;

	(void)resample_fd;
	pthread_mutex_lock(&c->lock);
	ret = irq_v8_irqfd(&c->rec, fd, gsi, &why);
	if (!ret)
		ret = irq_v3_attach(&c->rec, fd, gsi, result, &why);
	if (!result && irq_record_attach(&c->rec, fd, gsi) && !ret)
		ret = err_set(&why, -EPROTO, "V3: more than %d irqfds", IRQ_RECORD_FDS);
	judge(c, ret, &why);
}

static void told_detach(void *ctx, int fd, uint32_t gsi, int result)
{
	struct irq_check *c = ctx;
	struct err why;
	int ret;

	pthread_mutex_lock(&c->lock);
	ret = irq_v8_irqfd(&c->rec, fd, gsi, &why);
	if (!ret)
		ret = irq_v3_detach(&c->rec, fd, gsi, result, &why);
	if (!result)
		irq_record_detach(&c->rec, fd, gsi);
	judge(c, ret, &why);
}

static void told_line(void *ctx, uint32_t spi, bool level, int result)
{
	struct irq_check *c = ctx;
	struct err why;

	(void)level, (void)result;
	pthread_mutex_lock(&c->lock);
	judge(c, irq_v8_line(&c->rec, spi, &why), &why);
}

static void told_message(void *ctx, const struct hyp_route *msi, int result)
{
	struct irq_check *c = ctx;
	struct err why;

	(void)result;
	pthread_mutex_lock(&c->lock);
	judge(c, irq_v2_message(&c->rec, msi, &why), &why);
}

static const struct hyp_watch watch = {
	.set_routes = told_routes,
	.irqfd_attach = told_attach,
	.irqfd_detach = told_detach,
	.irq_line = told_line,
	.signal_msi = told_message,
};

/* Life */

int irq_check_new(struct gsi_space *s, void (*broken)(void *ctx, const char *sentence), void *ctx, struct irq_check **ret_c)
{
	struct irq_check *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	r = irq_record_new(&s->cfg, &c->rec);
	if (r) {
		free(c);
		return r;
	}
	pthread_mutex_init(&c->lock, NULL);
	c->space = s;
	c->broken = broken;
	c->ctx = ctx;
	s->check = c;
	hyp_set_watch(s->hyp, &watch, c);
	*ret_c = c;
	return 0;
}

void irq_check_free(struct irq_check *c)
{
	if (!c)
		return;
	hyp_set_watch(c->space->hyp, NULL, NULL);
	c->space->check = NULL;
	irq_record_free(&c->rec);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void irq_check_devid(struct irq_check *c, uint32_t devid)
{
	pthread_mutex_lock(&c->lock);
	if (c->rec.nr_devids < IRQ_RECORD_DEVIDS)
		c->rec.devids[c->rec.nr_devids++] = devid;
	pthread_mutex_unlock(&c->lock);
}

const char *irq_check_verdict(struct irq_check *c)
{
	bool is_broken;

	pthread_mutex_lock(&c->lock);
	is_broken = c->is_broken;
	pthread_mutex_unlock(&c->lock);
	return is_broken ? c->verdict.text : NULL; /* written once */
}

bool irq_check_on(const struct gsi_space *s)
{
	return s->check;
}

/* What the program believes */

static bool is_closed(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) == 1 && p.revents & POLLNVAL;
}

static int closed_while_attached(const struct irq_record *r, struct err *why)
{
	for (unsigned i = 0; i < r->nr_fds; i++)
		if (is_closed(r->fds[i].fd))
			return err_set(why, -EPROTO, "V3: eventfd %d was closed while attached to GSI %u", r->fds[i].fd,
				       r->fds[i].gsi);
	return 0;
}

void irq_check_state(struct gsi_space *s)
{
	struct irq_check *c = s->check;
	struct err why;
	int ret;

	if (!c)
		return;
	pthread_mutex_lock(&s->lock);
	pthread_mutex_lock(&c->lock);
	ret = irq_v3_shadow(&c->rec, s, &why);
	if (!ret)
		ret = irq_v9_shadow(&c->rec, s, &why);
	if (!ret)
		ret = closed_while_attached(&c->rec, &why);
	judge(c, ret, &why);
	pthread_mutex_unlock(&s->lock);
}

void irq_check_source(struct gsi_space *s, const struct irq_source *src, bool settled)
{
	struct irq_check *c = s->check;
	struct err why;
	int ret;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	ret = irq_v5_source(&c->rec, src, &why);
	if (!ret && settled)
		ret = irq_v6_source(&c->rec, src, &why);
	judge(c, ret, &why);
}

void irq_check_pulse(struct gsi_space *s, uint32_t spi, uint64_t reasons, uint64_t pulses)
{
	struct irq_check *c = s->check;
	struct err why;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	judge(c, irq_v10_pulse(reasons, pulses, spi, &why), &why);
}

void irq_check_direct(struct gsi_space *s, const char *device, int fd, bool told)
{
	struct irq_check *c = s->check;
	struct err why;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	judge(c, irq_v10_direct(device, fd, told, &why), &why);
}

void irq_check_silent(struct gsi_space *s, const char *device, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct irq_check *c = s->check;
	struct err why;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	judge(c, irq_v11_silent(&c->rec, device, fd, poll(&p, 1, 0) == 1, &why), &why);
}

void irq_check_status(struct gsi_space *s, const char *device, uint32_t bits)
{
	struct irq_check *c = s->check;
	struct err why;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	judge(c, irq_v11_status(device, bits, &why), &why);
}

void irq_check_end(struct gsi_space *s)
{
	struct irq_check *c = s->check;
	struct err why;

	if (!c)
		return;
	pthread_mutex_lock(&s->lock);
	pthread_mutex_lock(&c->lock);
	judge(c, irq_v7_end(&c->rec, s, &why), &why);
	pthread_mutex_unlock(&s->lock);
}
