// SPDX-License-Identifier: BSD-3-Clause
/*
 * The power button: a pin of a PL061 that is gpio-keys' KEY_POWER to the guest.
 *
 * A press holds the pin for HOLD_NS and lets go of it. Linux' gpio-keys looks at the pin some milliseconds
 * after the edge, when it no longer bounces, and sees no key where it is up again by then; who takes a
 * long press for another wish (logind: five seconds) must not see that. A guest that is still booting hears
 * nothing of it, so the button is pressed anew, as somebody at a machine would, until the guest obeys or the time of
 * --grace is over, which counts from the first press. One timer counts all of it.
 */
#include <errno.h>
#include <string.h>

#include "arch/arm64/layout.h"
#include "devices/gpio/pl061.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/machine/internal.h"

#define HOLD_NS (NS_PER_SEC / 2)
#define PAUSE_NS (2 * NS_PER_SEC - HOLD_NS)

/* The button goes down or up, for as long as that lasts or there is time left. */
static void move(struct power *p, bool held)
{
	uint64_t ns = held ? HOLD_NS : PAUSE_NS;

	if (ns > p->left_ns)
		ns = p->left_ns;
	p->left_ns -= ns;
	p->held = held;
	loop_timer_set(&p->timer, ns);
	pl061_set_input(p->gpio, LAYOUT_GPIO_POWER, held);
}

static void fired(void *ctx)
{
	struct machine *m = ctx;
	struct power *p = &m->power;

	if (p->left_ns)
		move(p, !p->held);
	else
		machine_stop(m, STOP_GRACE, p->signo, NULL);
}

int power_new(struct machine *m)
{
	struct power *p = &m->power;
	int r;

	line_init(&p->line, m->space, LAYOUT_SPI_GPIO, "power");
	r = pl061_new(m->bus, LAYOUT_GPIO, &p->line, &p->gpio);
	/* without a grace nobody presses the button */
	if (!r && m->cfg->grace_ns)
		r = loop_timer_init(m->loop, &p->timer, fired, m);
	return r;
}

void power_free(struct machine *m)
{
	loop_timer_fini(&m->power.timer);
	pl061_free(m->power.gpio);
}

void machine_press_power(struct machine *m, int signo)
{
	struct power *p = &m->power;

	if (!m->cfg->grace_ns || p->signo) {
		machine_stop(m, STOP_SIGNAL, signo, NULL);
		return;
	}
	log_info("signal %d presses the power button; the next one ends the VM, as does the end of --grace", signo);
	p->signo = signo;
	p->left_ns = m->cfg->grace_ns;
	move(p, true);
}
