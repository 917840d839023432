// SPDX-License-Identifier: BSD-3-Clause
/*
 * Nothing counts: the counter is the time left until end_ns, when it is zero next.
 *
 * A guest that lives starts the counter anew all the time, and that has to be cheap: it moves end_ns and leaves the timer
 * as it is. When the timer fires too early, because of that, it is set again. A vCPU hands the setting of the timer to
 * the loop only where the end came nearer, or no timer is set. The vCPU's clock is the coarse one, which
 * never takes a system call: a period may be short by a tick of the host's, up to 10 ms.
 *
 * With the interrupt pending and RESEN off nothing more can happen, so no timer is set. (The counter goes round all the
 * same, which is seen in WDOGVALUE, and decides when the next end is where RESEN comes on.)
 */
#include "devices/watchdog/sp805.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "vmm/base/clock.h"
#include "vmm/base/obj.h"

enum {
	WDOGLOAD = 0x000, WDOGVALUE = 0x004, WDOGCONTROL = 0x008, WDOGINTCLR = 0x00c, WDOGRIS = 0x010, WDOGMIS = 0x014,
	WDOGLOCK = 0xc00, WDOGPERIPHID0 = 0xfe0,
};

#define INTEN BIT32(0) /* of WDOGCONTROL: counter and interrupt are on... */
#define RESEN BIT32(1) /* ...and the second end counts */
#define UNLOCK 0x1acce551u
#define MIN_PERIOD_NS (NS_PER_SEC / 1000)

static const uint8_t ids[8] = { 0x05, 0x18, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

struct sp805 {
	struct sp805_cfg cfg;
	struct loop_timer timer;
	pthread_mutex_t lock;
	/* what the guest sees */
	struct {
		uint32_t load, control, ris;
		uint32_t value;  /* while the counter is off */
		bool locked;
		uint64_t end_ns; /* CLOCK_MONOTONIC: while it is on, its next zero; or, with nothing to come, one of the past */
	} s;
	bool bitten;
	uint64_t timer_ns;       /* what the timer is set to; 0: it is not */
};

static uint64_t coarse_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint64_t period_ns(const struct sp805 *w)
{
	uint64_t ns = (uint64_t)w->s.load * NS_PER_SEC / SP805_HZ;

	return ns < MIN_PERIOD_NS ? MIN_PERIOD_NS : ns;
}

/* From @now_ns to the counter's next zero. */
static uint64_t left_ns(const struct sp805 *w, uint64_t now_ns)
{
	uint64_t period = period_ns(w);

	return w->s.end_ns > now_ns ? w->s.end_ns - now_ns : period - (now_ns - w->s.end_ns) % period;
}

static uint32_t value_locked(const struct sp805 *w)
{
	uint64_t ticks;

	if (!(w->s.control & INTEN))
		return w->s.value;
	ticks = left_ns(w, coarse_ns()) * (SP805_HZ / 1000000) / 1000;
	return ticks < w->s.load ? (uint32_t)ticks : w->s.load;
}

static void update_line_locked(struct sp805 *w)
{
	line_set(w->cfg.line, w->s.ris & w->s.control & INTEN);
}

/* Is there an end of a period that changes anything? */
static bool awaits_locked(const struct sp805 *w)
{
	return w->s.control & INTEN && !w->bitten && (!w->s.ris || w->s.control & RESEN);
}

/* Loop. */
static int set_timer(void *ctx)
{
	struct sp805 *w = ctx;
	uint64_t now = clock_now_ns(), delay = 0;

	pthread_mutex_lock(&w->lock);
	if (awaits_locked(w)) {
		delay = w->s.end_ns > now ? w->s.end_ns - now : 1;
		w->timer_ns = now + delay;
	}
	pthread_mutex_unlock(&w->lock);
	if (delay)
		loop_timer_set(&w->timer, delay);
	return 0;
}

/*
 * The counter is zero. True: for the second time, and that counts. Where we come late, because this process was stopped or
 * had no CPU, the guest still has a whole period from here to answer the interrupt.
 */
static bool zero_locked(struct sp805 *w, uint64_t now_ns)
{
	w->s.end_ns = now_ns + period_ns(w);
	if (!w->s.ris) {
		w->s.ris = 1;
		update_line_locked(w);
		return false;
	}
	w->bitten = true;
	return true;
}

/* Loop. */
static void fired(void *ctx)
{
	struct sp805 *w = ctx;
	uint64_t now = clock_now_ns();
	bool bites;

	pthread_mutex_lock(&w->lock);
	w->timer_ns = 0;
	bites = awaits_locked(w) && w->s.end_ns <= now && zero_locked(w, now);
	pthread_mutex_unlock(&w->lock);
	if (bites)
		w->cfg.bites(w->cfg.ctx);
	else
		set_timer(w);
}

static uint32_t read_reg_locked(const struct sp805 *w, uint64_t reg)
{
	switch (reg) {
	case WDOGLOAD:    return w->s.load;
	case WDOGVALUE:   return value_locked(w);
	case WDOGCONTROL: return w->s.control;
	case WDOGRIS:     return w->s.ris;
	case WDOGMIS:     return w->s.ris & w->s.control & INTEN;
	case WDOGLOCK:    return w->s.locked;
	default:          break;
	}
	return reg >= WDOGPERIPHID0 ? ids[(reg - WDOGPERIPHID0) / 4] : 0;
}

static uint64_t sp805_read(void *ctx, uint64_t off, unsigned len)
{
	struct sp805 *w = ctx;
	uint32_t val;

	pthread_mutex_lock(&w->lock);
	val = read_reg_locked(w, off & ~UINT64_C(3));
	pthread_mutex_unlock(&w->lock);
	return (val >> (off & 3) * 8) & width_mask(len);
}

static void restart_locked(struct sp805 *w)
{
	w->s.value = w->s.load;
	w->s.end_ns = coarse_ns() + period_ns(w);
}

static void write_control_locked(struct sp805 *w, uint32_t val)
{
	uint32_t old = w->s.control;
	uint64_t now;

	if (old & INTEN && !(val & INTEN))
		w->s.value = value_locked(w);
	w->s.control = val & (INTEN | RESEN);
	if (val & INTEN && !(old & INTEN)) {
		restart_locked(w);
	} else if (val & RESEN && !(old & RESEN)) {
		now = coarse_ns();
		w->s.end_ns = now + left_ns(w, now); /* it may have gone round meanwhile */
	}
}

static void write_reg_locked(struct sp805 *w, uint64_t reg, uint32_t val)
{
	if (reg == WDOGLOCK)
		w->s.locked = val != UNLOCK;
	if (w->s.locked)
		return;
	switch (reg) {
	case WDOGLOAD:
		w->s.load = val;
		restart_locked(w);
		break;
	case WDOGCONTROL:
		write_control_locked(w, val);
		break;
	case WDOGINTCLR:
		w->s.ris = 0;
		restart_locked(w);
		break;
	default:
		return;
	}
	update_line_locked(w);
}

static void sp805_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct sp805 *w = ctx;
	bool nearer;

	if (off & 3)
		return;
	pthread_mutex_lock(&w->lock);
	write_reg_locked(w, off, (uint32_t)(val & width_mask(len)));
	nearer = awaits_locked(w) && (!w->timer_ns || w->s.end_ns < w->timer_ns);
	pthread_mutex_unlock(&w->lock);
	if (nearer)
		loop_call(w->cfg.loop, set_timer, w);
}

static const struct bus_ops sp805_ops = { .read = sp805_read, .write = sp805_write };

int sp805_new(const struct sp805_cfg *cfg, struct sp805 **ret_w)
{
	struct sp805 *w = obj_new(sizeof(*w));
	int rc;

	if (!w)
		return -ENOMEM;
	w->cfg = *cfg;
	w->s.load = w->s.value = UINT32_MAX;
	pthread_mutex_init(&w->lock, NULL);
	rc = loop_timer_init(cfg->loop, &w->timer, fired, w);
	if (!rc) {
		rc = bus_add(cfg->bus, cfg->gpa, SP805_SIZE, &sp805_ops, w);
		if (rc)
			loop_timer_fini(&w->timer);
	}
	if (rc) {
		pthread_mutex_destroy(&w->lock);
		obj_free(w);
		return rc;
	}
	*ret_w = w;
	return 0;
}

void sp805_free(struct sp805 *w)
{
	if (!w)
		return;
	bus_del(w->cfg.bus, w->cfg.gpa, w);
	loop_timer_fini(&w->timer);
	pthread_mutex_destroy(&w->lock);
	obj_free(w);
}
