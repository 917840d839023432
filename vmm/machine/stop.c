// SPDX-License-Identifier: BSD-3-Clause
/*
 * Why the VM ended. vCPUs, timers, signals and the console's lines call at the same time; the first call decides. But who
 * looks at what the guest prints is behind the guest: a line that says that it crashed may be found when the guest has
 * asked for its reset already, and is the reason for it.
 */
#include <stdio.h>

#include "vmm/machine/internal.h"

void machine_result_panic(struct machine_result *r, const char *text)
{
	switch (r->reason) {
	case STOP_POWEROFF:
	case STOP_RESET:
	case STOP_WATCHDOG:
	case STOP_TIMEOUT:
		r->reason = STOP_PANIC;
		snprintf(r->text, sizeof(r->text), "%s", text);
		break;
	default:
		break;
	}
}

static void settle(struct machine_result *r, enum stop_reason reason, int signo, const char *text)
{
	r->reason = reason;
	r->signo = signo;
	snprintf(r->text, sizeof(r->text), "%s", text ? text : "");
}

void machine_stop(struct machine *m, enum stop_reason reason, int signo, const char *text)
{
	bool first;

	pthread_mutex_lock(&m->stop_lock);
	first = !m->stopped;
	m->stopped = true;
	if (first)
		settle(&m->result, reason, signo, text);
	else if (reason == STOP_PANIC)
		machine_result_panic(&m->result, text);
	pthread_mutex_unlock(&m->stop_lock);
	if (first)
		loop_stop(m->loop);
}
