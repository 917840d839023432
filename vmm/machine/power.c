// SPDX-License-Identifier: BSD-3-Clause
/*
 * The power button: a pin of a PL061 that is gpio-keys' KEY_POWER to the guest.
 *
 * A press holds the pin for HOLD_NS and lets go of it. Linux' gpio-keys looks at the pin some milliseconds
 * after the edge, when it no longer bounces, and sees no key where it is up again by then; who takes a
 * long press for another wish (logind: five seconds) must not see that. From the press on the guest has
 * the time of --grace to power off; one timer counts both.
 */
#include <errno.h>
#include <string.h>

#include "arch/arm64/layout.h"
#include "devices/gpio/pl061.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/machine/internal.h"

#define HOLD_NS (NS_PER_SEC / 2)

/* The end of the press, or of the guest's time. */
static void fired(void *ctx)
{
	struct machine *m = ctx;
	struct power *p = &m->power;
	uint64_t grace = m->cfg->grace_ns;

	if (p->held) {
		p->held = false;
		pl061_set_input(p->gpio, LAYOUT_GPIO_POWER, false);
		if (grace > HOLD_NS) {
			loop_timer_set(&p->timer, grace - HOLD_NS);
			return;
		}
	}
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
	uint64_t grace = m->cfg->grace_ns;

	if (!grace || p->signo) {
		machine_stop(m, STOP_SIGNAL, signo, NULL);
		return;
	}
	log_info("signal %d presses the power button; the next one ends the VM, as does the end of --grace", signo);
	p->signo = signo;
	p->held = true;
	loop_timer_set(&p->timer, grace < HOLD_NS ? grace : HOLD_NS);
	pl061_set_input(p->gpio, LAYOUT_GPIO_POWER, true);
}
