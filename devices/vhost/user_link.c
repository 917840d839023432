// SPDX-License-Identifier: BSD-3-Clause
/*
 * The end of a connection, and the next one.
 *
 * A process in the sandbox connects to nothing: the broker does it, by the number of the device's path. It is asked by a timer, ten
 * times a second at first, and once a second in the end, until there is a descriptor; then the back end is greeted anew.
 *
 * What becomes of rings that ran is decided when the connection ends. Another back end can go on with them where
 * - it has no state but the rings (a disk), and
 * - it can know which requests the last one had taken and not answered: by the memory that both of them keep it in
 *   (INFLIGHT_SHMFD), or because there were none: all that was available was used; or
 * - what is lost, or done twice, are packets (a network card). That takes back ends which answer in the order of the ring, as those for
 *   cards do, and as QEMU relies on.
 * Otherwise some requests would be lost, or done twice, and nobody would know which: the driver is told that it has to reset the
 * device. In either case a ring goes on where its used index stands, which is the guest's memory and the back end's to check.
 * A signal of the last back end may have been lost with it, and so may a kick that it had read: so both are given once more.
 *
 * Whoever closes the connection promises that he touches the rings no more. One that has not ended may do so all the same:
 * the used index of a ring that was at rest has moved then, and the driver is told.
 *
 * A process in the sandbox closes what came later by its ring: descriptors wait in a bin until that is done.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "devices/vhost/user_priv.h"
#include "vmm/base/cleanup.h"

#define VU_MOST_STILLBORN 32 /* of one that is tried once a second */

/* ---- descriptors --------------------------------------------------------------------------- */

static void empty_bin(struct vu_dev *d)
{
	if (!d->nr_bin || d->end.busy)
		return;
	loop_io_aim(&d->end, d->bin[0]);
	loop_close(&d->end);
}

static void closed(void *ctx, int res)
{
	struct vu_dev *d = ctx;

	(void)res; /* whatever it says, the descriptor is gone */
	memmove(d->bin, d->bin + 1, --d->nr_bin * sizeof(*d->bin));
	empty_bin(d);
	vu_go_on(d);
}

void vu_throw_away(struct vu_dev *d, int fd)
{
	if (fd < 0 || d->nr_bin == ARRAY_LEN(d->bin))
		return;
	d->bin[d->nr_bin++] = fd;
	empty_bin(d);
}

void vu_forget_inflight(struct vu_dev *d)
{
	d->keeps_inflight = false;
	vu_throw_away(d, steal_fd(&d->inflight_fd));
}

/* ---- rings --------------------------------------------------------------------------------- */

static uint16_t index_at(const struct vu_dev *d, gpa_t gpa)
{
	uint16_t le = 0;

	gmem_read(d->mem, gpa + sizeof(le), &le, sizeof(le)); /* behind the flags; checked when the rings started */
	return le16toh(le);
}

/* A ring that stood there; what the guest made available in between only makes us careful. */
static bool may_be_gone_on_with(const struct vu_dev *d, gpa_t avail, uint16_t used)
{
	switch (d->cfg.loss) {
	case VU_LOSES_REQUESTS: return d->keeps_inflight || index_at(d, avail) == used;
	case VU_LOSES_STATE: return false;
	case VU_LOSES_PACKETS: break;
	}
	return true;
}

/* What is in flight is there, and whoever looks at it ends: it is no good. */
static bool is_stillborn(struct vu_dev *d)
{
	return d->phase == VU_STARTING && d->keeps_inflight && ++d->stillborn == VU_MOST_STILLBORN;
}

/*
 * Decided where the connection ends, by @r: may another back end go on? One that we gave up may touch its rings still, and one that
 * has refused them is no example for others.
 */
static bool can_go_on(struct vu_dev *d, int r)
{
	bool gave_up = r != -ECONNRESET && d->begun, refused = d->phase == VU_STOPPING && d->result;

	if (gave_up || refused || is_stillborn(d))
		return false;
	for (unsigned i = 0; i < d->begun; i++) {
		const struct vh_ring *at = &d->rings[i].at;

		d->bases[i] = index_at(d, at->used);
		if (!may_be_gone_on_with(d, at->avail, d->bases[i]))
			return false;
	}
	if (d->begun > d->served)
		d->served = d->begun;
	return true;
}

/* And where there is one: can this one? */
static bool can_be_gone_on_with(struct vu_dev *d)
{
	bool keeps = d->inflight_fd >= 0;

	if (keeps && !(d->said.protocol & BIT64(VU_PROTOCOL_INFLIGHT_SHMFD))) {
		if (d->served)
			return false;
		vu_forget_inflight(d); /* nothing was in flight yet */
	}
	for (unsigned i = 0; i < d->served; i++) {
		uint16_t used = index_at(d, d->rings[i].at.used);

		if (!keeps && used != d->bases[i])
			return false;
		d->bases[i] = used;
	}
	return true;
}

/* The eventfd of @i: of each ring, the one by which the back end calls, then the one by which the guest kicks. */
static void poke_next(struct vu_dev *d)
{
	const struct vu_ring *r = &d->rings[d->poked / 2];

	if (d->poked == 2 * d->nr_rings)
		return;
	loop_io_aim(&d->poke, d->poked % 2 ? r->kick_fd : r->call_fd);
	d->poke_iov = (struct iovec){ .iov_base = &d->one, .iov_len = sizeof(d->one) };
	loop_writev(&d->poke, &d->poke_iov, 1);
}

/* -EAGAIN: its counter is full, so a signal is there anyway. */
static void poked(void *ctx, int res)
{
	struct vu_dev *d = ctx;

	if (res == -ECANCELED || d->link != VU_UP || !d->wanted)
		return;
	d->poked++;
	poke_next(d);
}

void vu_poke(struct vu_dev *d)
{
	d->poked = 0;
	poke_next(d);
}

void vu_stop_poking(struct vu_dev *d)
{
	if (d->poke.loop)
		loop_io_cancel(&d->poke);
}

void vu_say_there(struct vu_dev *d, bool yes)
{
	if (d->cfg.ops->there)
		d->cfg.ops->there(d->cfg.ctx, yes);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void say_lost(struct vu_dev *d, int r, enum vu_phase phase, bool void_rings)
{
	const char *why = r == -ECONNRESET ? "has closed the connection" : r == -EPROTO ? "has broken the rules of vhost-user" :
			  r == -ETIMEDOUT ? phase == VU_STOPPING ? "does not stop, and is given up" : "does not answer, and is given up" :
			  strerror(-r);

	log_limited(&d->log, "%s: its back end by vhost-user %s; %s", d->cfg.name, why,
		    d->link == VU_OVER ? "the device is dead, and the guest runs on" :
		    void_rings ? "the guest has to reset the device, and another one is waited for" : "another one is waited for");
}

static void try_later(struct vu_dev *d)
{
	d->link = VU_AWAY;
	loop_timer_set(&d->timer, d->delay_ns);
	d->delay_ns = d->delay_ns * 2 < VU_RETRY_MOST_NS ? d->delay_ns * 2 : VU_RETRY_MOST_NS;
}

static void hang_up(struct vu_dev *d)
{
	d->phase = VU_QUIET;
	d->begun = 0;
	d->unsent = d->waits = d->early = false;
	d->link = d->cfg.broker ? VU_AWAY : VU_OVER;
	loop_io_cancel(&d->rx);
	loop_io_cancel(&d->tx);
	if (!d->cfg.broker)
		return;
	vu_stop_poking(d);
	if (!d->late)
		fd_forget(d->fd);
	vu_throw_away(d, steal_fd(&d->fd));
	vu_throw_away(d, steal_fd(&d->came_fd));
	d->late = true;
	if (clock_now_ns() - d->up_ns >= VU_RETRY_MOST_NS)
		d->delay_ns = VU_RETRY_NS;
	try_later(d);
}

void vu_drop(struct vu_dev *d, int r)
{
	bool keeps = d->cfg.broker && can_go_on(d, r), was_wanted = d->wanted, was_awaited = d->awaited;
	enum vu_phase phase = d->phase;

	if (phase == VU_GREETING) {
		vu_turn_away(d, r, r == -EPROTO ? "its answer is not vhost-user's" : r == -EREMOTEIO ? "it has no such configuration" : strerror(-r));
		return;
	}
	hang_up(d);
	d->wanted = was_wanted && keeps;
	d->awaited = false;
	d->result = d->wanted ? 0 : r == -ETIMEDOUT ? r : -ENOTCONN;
	if (!keeps)
		d->served = 0;
	say_lost(d, r, phase, was_wanted && !keeps);
	vu_end_switch(d, d->wanted);
	vu_say_there(d, false);
	if (!was_awaited && was_wanted && !keeps)
		d->cfg.ops->needs_reset(d->cfg.ctx);
}

/* ---- the next one -------------------------------------------------------------------------- */

/* Again and again it is the same: it is said once. */
static bool is_news(struct vu_dev *d, int r)
{
	bool news = d->told != r;

	d->told = r;
	return news;
}

void vu_turn_away(struct vu_dev *d, int r, const char *why)
{
	/* who ends may listen for a moment longer than he speaks: then it is he, and no other one */
	bool passes = r == -ECONNRESET && !d->was_reset;

	hang_up(d);
	d->was_reset = r == -ECONNRESET;
	if (!passes && is_news(d, r))
		log_limited(&d->log, "%s: another back end is at its socket, and is not taken: %s (start one like the first)", d->cfg.name, why);
}

void vu_welcome(struct vu_dev *d)
{
	const char *lacks = d->cfg.ops->lacks(d->cfg.ctx);
	bool goes_on;

	if (lacks) {
		vu_turn_away(d, -ENODEV, lacks);
		return;
	}
	d->told = 0;
	d->was_reset = false;
	d->returns++;
	goes_on = d->wanted && can_be_gone_on_with(d);
	log_limited(&d->log, "%s: another back end is there%s", d->cfg.name, !d->wanted ? "" : goes_on ? ", and goes on" :
		    ", and cannot go on where the last one was; the guest has to reset the device");
	if (goes_on) {
		vu_begin(d, VU_STARTING);
		return;
	}
	vu_say_there(d, true);
	if (d->wanted) {
		d->wanted = false;
		d->served = 0;
		d->cfg.ops->needs_reset(d->cfg.ctx);
	}
}

static void connected(void *ctx, int res)
{
	struct vu_dev *d = ctx;

	if (d->link == VU_OVER) {
		vu_throw_away(d, res);
		return;
	}
	if (res < 0) {
		if (res != -ENOENT && res != -ECONNREFUSED && res != -EAGAIN && res != -EPIPE && is_news(d, res))
			log_limited(&d->log, "%s: another back end cannot be connected to: %s", d->cfg.name, strerror(-res));
		try_later(d);
		return;
	}
	d->fd = res;
	d->link = VU_UP;
	d->up_ns = clock_now_ns();
	d->in.have = 0;
	loop_io_aim(&d->rx, d->fd);
	loop_io_aim(&d->tx, d->fd);
	vu_begin(d, VU_GREETING);
}

/* Without a broker nobody can connect: the broker has said so. */
static void look_for_another(struct vu_dev *d)
{
	bool was_wanted = d->wanted;

	if (d->nr_bin) {
		try_later(d);
		return;
	}
	d->ask.done = connected;
	d->ask.ctx = d;
	if (!broker_ask(d->cfg.broker, &d->ask, d->cfg.path, 0))
		return;
	d->link = VU_OVER;
	d->wanted = false;
	if (was_wanted)
		d->cfg.ops->needs_reset(d->cfg.ctx);
}

void vu_tick(void *ctx)
{
	struct vu_dev *d = ctx;

	if (d->link == VU_AWAY && !d->ask.busy)
		look_for_another(d);
	if (d->link != VU_UP || d->phase == VU_QUIET)
		return;
	vu_look_after(d);
	if (d->phase != VU_QUIET)
		loop_timer_set(&d->timer, VU_RETRY_NS);
}

/* ---- life ---------------------------------------------------------------------------------- */

int vu_link_init(struct vu_dev *d, struct loop *loop)
{
	int r = loop_io_init_late(loop, &d->rx, vu_received, d);

	if (!r)
		r = loop_msg_init_late(loop, &d->tx, vu_sent, d);
	if (!r)
		r = loop_io_init_late(loop, &d->end, closed, d);
	if (!r)
		r = loop_io_init_late(loop, &d->poke, poked, d);
	if (r)
		return r;
	loop_may_stick(loop);
	loop_io_aim(&d->rx, d->fd);
	loop_io_aim(&d->tx, d->fd);
	d->delay_ns = VU_RETRY_NS;
	d->up_ns = clock_now_ns();
	return 0;
}

/* What came later is closed with the process, where its ring has stopped: it may close that in no other way. */
void vu_link_fini(struct vu_dev *d)
{
	vu_stop_poking(d);
	loop_timer_fini(&d->timer);
	if (!d->end.loop)
		return;
	vu_forget_inflight(d);
	vu_throw_away(d, steal_fd(&d->came_fd));
	if (d->late)
		vu_throw_away(d, steal_fd(&d->fd));
	while (d->end.busy)
		loop_io_cancel(&d->end);
}
