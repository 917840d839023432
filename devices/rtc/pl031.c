/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The counter is not kept: it is the host's CLOCK_REALTIME in seconds plus an offset, which a
 * write of RTCLR changes. It cannot be stopped, as RTCCR's start bit cannot be cleared.
 *
 * The alarm: a write of RTCMR or RTCLR computes how long until counter and match register are
 * equal, and sets a timer, which belongs to the loop: the vCPU hands the setting over and
 * holds no lock meanwhile. The timer is monotonic and the host's clock may be set: when it
 * fires, the counter is asked again, and the timer set again if it came too early. (A host's
 * clock that is set forward over the alarm makes it late by as much.)
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "devices/rtc/pl031.h"
#include "vmm/base/clock.h"
#include "vmm/base/obj.h"

enum {
	RTCDR = 0x00, RTCMR = 0x04, RTCLR = 0x08, RTCCR = 0x0c, RTCIMSC = 0x10, RTCRIS = 0x14, RTCMIS = 0x18,
	RTCICR = 0x1c, RTCPERIPHID0 = 0xfe0,
};

static const uint8_t ids[8] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

struct pl031 {
	struct bus *bus;
	struct loop *loop;
	gpa_t gpa;
	struct line *line;
	struct loop_timer timer;
	pthread_mutex_t lock;
	/* what the guest sees */
	struct {
		uint32_t offset; /* to the host's clock, modulo 2^32 */
		uint32_t mr, lr, imsc, ris;
		bool armed;      /* RTCMR was written, and has not matched since */
	} s;
};

static uint32_t counter_locked(const struct pl031 *r, uint32_t *ret_ns)
{
	struct timespec ts;

	/* coarse: it never takes a system call, and counts seconds */
	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	if (ret_ns)
		*ret_ns = (uint32_t)ts.tv_nsec;
	return (uint32_t)ts.tv_sec + r->s.offset;
}

static void update_line_locked(struct pl031 *r)
{
	line_set(r->line, r->s.ris & r->s.imsc);
}

/*
 * Raises the interrupt where counter and match register have met; else returns the time until
 * they do, in ns; 0: no timer is needed. @passed: the counter was equal or earlier when the
 * timer was set, so that "later" now means that it has gone past.
 */
static uint64_t check_alarm_locked(struct pl031 *r, bool passed)
{
	uint32_t ns, delta;

	if (!r->s.armed)
		return 0;
	delta = r->s.mr - counter_locked(r, &ns);
	if (delta && !(passed && delta >> 31))
		return delta * NS_PER_SEC - ns;
	r->s.armed = false;
	r->s.ris = 1;
	update_line_locked(r);
	return 0;
}

/* Loop. */
static void alarm_fired(void *ctx)
{
	struct pl031 *r = ctx;
	uint64_t delay;

	pthread_mutex_lock(&r->lock);
	delay = check_alarm_locked(r, true);
	pthread_mutex_unlock(&r->lock);
	loop_timer_set(&r->timer, delay);
}

/* Loop. */
static int set_alarm(void *ctx)
{
	struct pl031 *r = ctx;
	uint64_t delay;

	pthread_mutex_lock(&r->lock);
	delay = check_alarm_locked(r, false);
	pthread_mutex_unlock(&r->lock);
	loop_timer_set(&r->timer, delay);
	return 0;
}

static uint32_t read_reg_locked(const struct pl031 *r, uint64_t reg)
{
	switch (reg) {
	case RTCDR:   return counter_locked(r, NULL);
	case RTCMR:   return r->s.mr;
	case RTCLR:   return r->s.lr;
	case RTCCR:   return 1;
	case RTCIMSC: return r->s.imsc;
	case RTCRIS:  return r->s.ris;
	case RTCMIS:  return r->s.ris & r->s.imsc;
	default:      break;
	}
	return reg >= RTCPERIPHID0 ? ids[(reg - RTCPERIPHID0) / 4] : 0;
}

static uint64_t pl031_read(void *ctx, uint64_t off, unsigned len)
{
	struct pl031 *r = ctx;
	uint32_t val;

	pthread_mutex_lock(&r->lock);
	val = read_reg_locked(r, off & ~UINT64_C(3));
	pthread_mutex_unlock(&r->lock);
	return (val >> (off & 3) * 8) & width_mask(len);
}

/* True if the alarm has to be set anew. */
static bool write_reg_locked(struct pl031 *r, uint64_t reg, uint32_t val)
{
	switch (reg) {
	case RTCMR:
		r->s.mr = val;
		r->s.armed = true;
		return true;
	case RTCLR:
		r->s.offset += val - counter_locked(r, NULL);
		r->s.lr = val;
		return r->s.armed;
	case RTCIMSC:
		r->s.imsc = val & 1;
		break;
	case RTCICR:
		r->s.ris &= ~val;
		break;
	default:
		return false;
	}
	update_line_locked(r);
	return false;
}

static void pl031_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct pl031 *r = ctx;
	bool alarm;

	if (off & 3)
		return;
	pthread_mutex_lock(&r->lock);
	alarm = write_reg_locked(r, off, (uint32_t)(val & width_mask(len)));
	pthread_mutex_unlock(&r->lock);
	if (alarm)
		loop_call(r->loop, set_alarm, r);
}

static const struct bus_ops pl031_ops = { .read = pl031_read, .write = pl031_write };

int pl031_new(struct bus *bus, struct loop *loop, gpa_t gpa, struct line *line, struct pl031 **ret_r)
{
	struct pl031 *r = obj_new(sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->bus = bus;
	r->loop = loop;
	r->gpa = gpa;
	r->line = line;
	pthread_mutex_init(&r->lock, NULL);
	rc = loop_timer_init(loop, &r->timer, alarm_fired, r);
	if (!rc) {
		rc = bus_add(bus, gpa, PL031_SIZE, &pl031_ops, r);
		if (rc)
			loop_timer_fini(&r->timer);
	}
	if (rc) {
		pthread_mutex_destroy(&r->lock);
		obj_free(r);
		return rc;
	}
	*ret_r = r;
	return 0;
}

void pl031_free(struct pl031 *r)
{
	if (!r)
		return;
	bus_del(r->bus, r->gpa, r);
	loop_timer_fini(&r->timer);
	pthread_mutex_destroy(&r->lock);
	obj_free(r);
}
