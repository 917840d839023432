// SPDX-License-Identifier: BSD-3-Clause
/*
 * Running and ending. Whoever calls machine_stop() first, which is in stop.c, decides why the VM ended; the loop
 * then returns, the vCPU threads are kicked out of the guest and waited for, and the result is
 * complete. Building is in build.c.
 */
#include "vmm/machine/machine.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devices/panic/pvpanic.h"
#include "devices/serial/pl011.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/status.h"
#include "devices/vfio/pass.h"
#include "vmm/base/clock.h"
#include "vmm/core/gsi.h"
#include "vmm/core/kvm.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/internal.h"

static void timeout_fired(void *ctx)
{
	machine_stop(ctx, STOP_TIMEOUT, 0, NULL);
}

int machine_prepare(struct machine *m)
{
	if (!m->cfg->timeout_ns)
		return 0;
	m->has_timeout = true;
	return loop_timer_init(m->loop, &m->timeout, timeout_fired, m);
}

int machine_start(struct machine *m, int (*arm)(int vcpu_fd))
{
	return cpus_start(m->cpus, m, m->bus, arm);
}

void machine_settle(struct machine *m)
{
	hyp_settle(m->hyp);
	gic_fini(&m->gic);
}

static_assert(MACHINE_MAX_STATS >= BALLOON_STATS, "room for each statistic");

static void sum_up_balloon(struct vdev *v, struct machine_balloon *b)
{
	struct balloon_counts c = balloon_counts(v);

	*b = (struct machine_balloon){
		.target = c.target, .actual = c.actual, .given_back = c.given_back, .inflated = c.inflated, .deflated = c.deflated,
		.reported = c.reported, .failed = c.failed,
	};
	for (unsigned t = 0; t < BALLOON_STATS; t++) {
		if (!(c.has & BIT32(t)))
			continue;
		b->stats[b->nr_stats].name = balloon_stat_name(t);
		b->stats[b->nr_stats++].n = c.stats[t];
	}
}

static_assert(VDEV_MAX_COUNTS == MACHINE_MAX_COUNTS, "all have their place");

static void sum_up_device(const struct machine *m, unsigned i, struct machine_device *d)
{
	const struct vdev *v = m->devs[i].vdev;
	struct vdev_count c[VDEV_MAX_COUNTS];

	d->id = m->cfg->devices[i].id;
	if (!v)
		return;
	d->ready_ns = v->ready_ns;
	d->faults = v->faults;
	d->nr_counts = vdev_counts(v, c);
	for (unsigned k = 0; k < d->nr_counts; k++)
		d->counts[k] = (struct machine_count){ .name = c[k].name, .n = c[k].n };
}

/* What only the end knows, with everything stopped. */
static void sum_up(struct machine *m)
{
	struct machine_result *r = &m->result;
	struct gsi_stats stats = { 0 };

	if (!r->stuck) /* it may hold the lock */
		gsi_get_stats(m->space, &stats);
	r->commits = stats.commits;
	r->exits = cpus_exits(m->cpus);
	r->pressed = m->power.signo;
	r->crash_loads = pvpanic_crash_loads(m->pvpanic);
	r->uart_dropped = pl011_dropped(m->uart);
	r->has_balloon = m->balloon && !r->stuck;
	if (r->has_balloon)
		sum_up_balloon(m->balloon, &r->balloon);
	for (unsigned i = 0; i < m->plan.nr_devs; i++)
		sum_up_device(m, i, &r->devices[r->nr_devices++]);
}

void machine_run(struct machine *m, struct machine_result *ret_r)
{
	int r;

	m->result.start_ns = clock_now_ns();
	if (m->has_timeout)
		loop_timer_set(&m->timeout, m->cfg->timeout_ns);
	cpus_go(m->cpus);
	m->result.run_ns = clock_now_ns();
	r = loop_run(m->loop);
	if (r) {
		char text[100];

		snprintf(text, sizeof(text), "event loop: %s", strerror(-r));
		machine_stop(m, STOP_FAILED, 0, text);
	}
	m->result.stuck = !cpus_stop(m->cpus);
	if (m->status && !m->result.stuck)
		status_drain(m->status);
	m->result.end_ns = clock_now_ns();
	if (m->cfg->result_path || m->cfg->result_fd >= 0)
		sum_up(m);
	pthread_mutex_lock(&m->stop_lock); /* a stuck vCPU may yet come out, and say why */
	*ret_r = m->result;
	pthread_mutex_unlock(&m->stop_lock);
	if (m->check && !m->result.stuck)
		onlooker_end(m, ret_r);
}

const void *machine_dtb(const struct machine *m, size_t *ret_len)
{
	*ret_len = m->dtb_len;
	return gmem_ptr(m->mem, m->boot.dtb, m->dtb_len);
}

size_t machine_hvc_input(struct machine *m, const uint8_t *buf, size_t len)
{
	return m->hvc ? console_input(m->hvc, buf, len) : 0;
}

size_t machine_uart_input(struct machine *m, const uint8_t *buf, size_t len)
{
	return pl011_input(m->uart, buf, len);
}

void machine_hvc_room(struct machine *m)
{
	if (m->hvc)
		console_output_room(m->hvc);
}

void machine_hvc_resize(struct machine *m, uint16_t cols, uint16_t rows)
{
	if (m->hvc)
		console_resize(m->hvc, cols, rows);
}

/* What vhost did can be seen in its rings: how many buffers it gave back, which is at least as often as it signalled. */
static void dump_vhost(const struct machine *m, struct vdev *v, FILE *out)
{
	struct vq_regs regs;
	uint16_t used;
	char name[16];

	for (unsigned q = 0; v->active && q < v->nr_queues; q++) {
		if (!(v->vhost_queues & BIT64(q)) || !vdev_queue(v, q, &regs) ||
		    gmem_read(m->mem, regs.used + 2, &used, sizeof(used)))
			continue;
		vdev_queue_name(v, q, name, sizeof(name));
		fprintf(out, "%s %s: used index %u, by vhost\n", v->name, name, used);
	}
}

static void dump_counts(const struct vdev *v, FILE *out)
{
	struct vdev_count c[VDEV_MAX_COUNTS];
	unsigned n = vdev_counts(v, c);

	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%s%s %s %llu%s", i ? "" : v->name, i ? "," : ":", c[i].name, (unsigned long long)c[i].n, i + 1 < n ? "" : "\n");
}

void machine_dump(struct machine *m, FILE *out)
{
	gsi_dump(m->space, out);
	for (unsigned i = 0; i < m->plan.nr_devs; i++) {
		const struct plan_dev *p = &m->plan.devs[i];
		struct vdev *v = m->devs[i].vdev;
		struct vdev_state s;

		if (m->devs[i].pass) {
			pass_dump(m->devs[i].pass, out);
			continue;
		}
		s = vdev_state(v);
		fprintf(out, "device %s: %s at %s %#llx, status %#x, features %#llx, faults %llu\n",
			v->name, v->ops->kind, p->pci ? "pci function" : "mmio",
			p->pci ? (unsigned long long)p->rid : (unsigned long long)p->gpa,
			s.status, (unsigned long long)s.acked, (unsigned long long)s.faults);
		dump_counts(v, out);
		dump_vhost(m, v, out);
		if (v->ops->dump)
			v->ops->dump(v, out);
	}
	fprintf(out, "uart: %llu bytes of output dropped\n", (unsigned long long)pl011_dropped(m->uart));
	fprintf(out, "cpus %u, KVM_RUN exits %llu\n", cpus_count(m->cpus),
		(unsigned long long)cpus_exits(m->cpus));
}
