// SPDX-License-Identifier: BSD-3-Clause
/*
 * A timerfd and a poll. Setting a timer makes the descriptor unreadable until it expires anew,
 * so an expiry that was reported but not yet dispatched when the timer was stopped or set again
 * shows as EAGAIN, and nobody is called.
 */
#include <sys/timerfd.h>
#include <poll.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/fdbook.h"
#include "vmm/core/loop.h"

static void expired(void *ctx, uint32_t events)
{
	struct loop_timer *t = ctx;
	uint64_t times;

	(void)events;
	if (fd_read(t->fd, &times, sizeof(times), false) == sizeof(times))
		t->fired(t->ctx);
}

int loop_timer_init(struct loop *l, struct loop_timer *t, void (*fired)(void *ctx), void *ctx)
{
	_cleanup_close_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = loop_poll_init(l, &t->poll, fd, expired, t);
	if (r < 0)
		return r;
	t->poll.drains = true;
	t->fired = fired;
	t->ctx = ctx;
	t->fd = fd_note(steal_fd(&fd), FD_TIMER);
	return 0;
}

void loop_timer_set(struct loop_timer *t, uint64_t delay_ns)
{
	const struct itimerspec when = {
		.it_value.tv_sec = (time_t)(delay_ns / NS_PER_SEC),
		.it_value.tv_nsec = (long)(delay_ns % NS_PER_SEC),
	};

	timerfd_settime(t->fd, 0, &when, NULL);
	if (delay_ns)
		loop_poll_arm(&t->poll, POLLIN);
}

void loop_timer_fini(struct loop_timer *t)
{
	if (!t->poll.loop)
		return;
	loop_poll_fini(&t->poll);
	close_fd(&t->fd);
}
