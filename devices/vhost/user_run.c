// SPDX-License-Identifier: BSD-3-Clause
/*
 * Rows of questions, while the guest runs.
 *
 * A phase is a row of questions, each made when the one before it has been answered: the loop never waits for a back end,
 * only the driver does, in its write of the status register, which is asked about again and again (LOOP_AGAIN). A start
 * is features, a card's MTU, memory table and the memory of what is in flight, then for each ring NUM, BASE, ADDR, CALL, KICK and
 * ENABLE; a switch is ENABLE for each; a stop is GET_VRING_BASE for each, after whose answer the back end no longer touches the ring.
 * A start or a switch that the back end refuses goes on with a stop of what had begun. One limit of time holds for each phase; a back
 * end that does not keep it is not spoken to any more. Where another back end comes (user_link.c), a greeting is a phase before the
 * start, and no driver waits for either.
 *
 * Every question has an answer: by REPLY_ACK, or by a GET_FEATURES behind it, since messages are worked off in their
 * order. So at most one message with descriptors is in the socket. That is also what the kernel wants: of descriptors on
 * their way it allows as many as the process may have open, which by then is hardly any. With other senders of the same
 * user it can be none for a moment, and then the question waits.
 *
 * Sending and receiving are the ring's: it passes descriptors, takes sockets that came later, and a read that is always under
 * way finds the back end's end. It has no room for descriptors but where one was asked for, so the kernel closes what else comes.
 *
 * The back end is told guest addresses where the protocol has "user addresses": any numbers do that fit the memory table,
 * and ours would tell it where this process has its memory.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "devices/vhost/user_priv.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"

/* Of a start, before the rings. */
enum { STEP_FEATURES, STEP_MTU, STEP_MEMORY, STEP_GET_INFLIGHT, STEP_SET_INFLIGHT, HEAD_STEPS };

#define RING_STEPS 6
#define KICK_STEP 4 /* of a ring: from here on it may run */

static void go_on(struct vu_dev *d);

/* ---- the questions ------------------------------------------------------------------------- */

static void fill_mem_table(struct vu_dev *d)
{
	unsigned n = gmem_nr_regions(d->mem);
	struct vu_out *o = &d->out;

	vu_fill(o, VU_SET_MEM_TABLE, (uint32_t)(2 * sizeof(uint32_t) + n * sizeof(struct vu_region)));
	o->msg.body.mem.nr = n;
	for (unsigned i = 0; i < n; i++) {
		const struct gmem_region *g = gmem_region(d->mem, i);

		o->msg.body.mem.regions[i] = (struct vu_region){ .gpa = g->gpa, .size = g->size, .user = g->gpa };
		o->fds[o->nr_fds++] = g->fd;
	}
}

/* A back end makes that memory anew for each life of the rings, for as many as there may be. */
static void fill_get_inflight(struct vu_dev *d)
{
	struct vu_inflight f = { 0 };

	for (unsigned i = 0; i < d->nr_rings; i++) {
		const struct vu_ring *r = &d->rings[i];

		if (r->index >= f.queues)
			f.queues = (uint16_t)(r->index + 1);
		if (r->at.size > f.queue_size)
			f.queue_size = r->at.size;
	}
	vu_fill(&d->out, VU_GET_INFLIGHT_FD, sizeof(f));
	d->out.msg.body.inflight = f;
}

static void fill_set_inflight(struct vu_dev *d)
{
	vu_fill(&d->out, VU_SET_INFLIGHT_FD, sizeof(d->inflight));
	d->out.msg.body.inflight = d->inflight;
	d->out.fds[d->out.nr_fds++] = d->inflight_fd;
}

static void fill_addr(struct vu_out *o, const struct vu_ring *r)
{
	vu_fill(o, VU_SET_VRING_ADDR, sizeof(o->msg.body.addr));
	o->msg.body.addr = (struct vu_addr){
		.index = r->index, .desc = r->at.desc, .used = r->at.used, .avail = r->at.avail,
	};
}

/* CALL before KICK, with which it begins, so that nothing completes without a signal. */
static void fill_ring_step(struct vu_dev *d, unsigned ring, unsigned step)
{
	const struct vu_ring *r = &d->rings[ring];

	switch (step) {
	case 0: vu_fill_state(&d->out, VU_SET_VRING_NUM, r->index, r->at.size); break;
	case 1: vu_fill_state(&d->out, VU_SET_VRING_BASE, r->index, ring < d->served ? d->bases[ring] : 0); break;
	case 2: fill_addr(&d->out, r); break;
	case 3: vu_fill_fd(&d->out, VU_SET_VRING_CALL, r->index, r->call_fd); break;
	case KICK_STEP: vu_fill_fd(&d->out, VU_SET_VRING_KICK, r->index, r->kick_fd); break;
	default: vu_fill_state(&d->out, VU_SET_VRING_ENABLE, r->index, !r->idle); break;
	}
}

static bool asks_for_inflight(const struct vu_dev *d)
{
	return d->said.protocol & BIT64(VU_PROTOCOL_INFLIGHT_SHMFD) && d->inflight_fd < 0 && d->nr_rings;
}

/* First closes what there is to be closed: so that has a bound. Nothing is read until then. */
static bool waits_for_bin(const struct vu_dev *d)
{
	return d->phase == VU_STARTING && d->step == STEP_GET_INFLIGHT && d->nr_bin && asks_for_inflight(d);
}

static bool tells_mtu(const struct vu_dev *d)
{
	return d->said.protocol & BIT64(VU_PROTOCOL_NET_MTU) && d->acked & d->said.features & BIT64(VIRTIO_NET_F_MTU);
}

/* A network learns where a card is from what the card sends, and the guest need not have anything to send. */
static void fill_rarp(struct vu_dev *d)
{
	vu_fill(&d->out, VU_SEND_RARP, sizeof(d->out.msg.body.u64));
	memcpy(d->out.msg.body.bytes, d->cfg.mac, 6);
}

static void skip_steps(struct vu_dev *d)
{
	if (d->step == STEP_MTU && !tells_mtu(d))
		d->step++;
	if (d->step == STEP_GET_INFLIGHT && !asks_for_inflight(d))
		d->step++;
	if (d->step == STEP_SET_INFLIGHT && d->inflight_fd < 0)
		d->step++;
}

static bool fill_start(struct vu_dev *d)
{
	unsigned at;

	skip_steps(d);
	at = d->step - HEAD_STEPS;
	switch (d->step) {
	case STEP_FEATURES: vu_fill_u64(&d->out, VU_SET_FEATURES, (d->acked & d->said.features) | BIT64(VU_F_PROTOCOL_FEATURES)); return true;
	case STEP_MTU: vu_fill_u64(&d->out, VU_NET_SET_MTU, d->cfg.mtu); return true;
	case STEP_MEMORY: fill_mem_table(d); return true;
	case STEP_GET_INFLIGHT: fill_get_inflight(d); return true;
	case STEP_SET_INFLIGHT:
		fill_set_inflight(d);
		d->keeps_inflight = true;
		return true;
	}
	if (at == d->nr_rings * RING_STEPS && !d->awaited && d->said.protocol & BIT64(VU_PROTOCOL_RARP)) {
		fill_rarp(d);
		return true;
	}
	if (at >= d->nr_rings * RING_STEPS)
		return false;
	fill_ring_step(d, at / RING_STEPS, at % RING_STEPS);
	d->begun = at / RING_STEPS + (at % RING_STEPS >= KICK_STEP);
	return true;
}

static bool fill_switch(struct vu_dev *d)
{
	if (d->step == d->nr_rings)
		return false;
	vu_fill_state(&d->out, VU_SET_VRING_ENABLE, d->rings[d->step].index, !d->rings[d->step].idle);
	return true;
}

static bool fill_stop(struct vu_dev *d)
{
	if (d->step == d->begun)
		return false;
	vu_fill_state(&d->out, VU_GET_VRING_BASE, d->rings[d->step].index, 0);
	return true;
}

/* The question of this step: 1; 0: the phase has no more; -ENOTSUP: a greeting's end. */
static int fill(struct vu_dev *d)
{
	if (d->barrier) {
		vu_fill(&d->out, VU_GET_FEATURES, 0);
		return 1;
	}
	if (d->phase == VU_GREETING)
		return vu_greet_fill(d);
	if (d->phase == VU_STARTING ? !fill_start(d) : d->phase == VU_SWITCHING ? !fill_switch(d) : !fill_stop(d))
		return 0;
	if (vu_answer_size(&d->out.msg) < 0 && d->said.protocol & BIT64(VU_PROTOCOL_REPLY_ACK))
		d->out.msg.flags |= VU_NEED_REPLY;
	return 1;
}

/* ---- the end of a phase -------------------------------------------------------------------- */

static void started(struct vu_dev *d)
{
	d->served = d->nr_rings;
	d->stillborn = 0;
	if (!d->awaited)
		vu_poke(d);
	vu_say_there(d, true);
	if (d->switches)
		vu_begin(d, VU_SWITCHING);
}

void vu_end_switch(struct vu_dev *d, bool done)
{
	if (!d->switches)
		return;
	d->switches = false;
	d->cfg.ops->switched(d->cfg.ctx, done);
}

static void stopped(struct vu_dev *d)
{
	bool tell = d->wanted && d->result && !d->awaited;

	d->begun = 0;
	d->wanted = false;
	if (tell)
		d->cfg.ops->needs_reset(d->cfg.ctx);
}

static void end_phase(struct vu_dev *d)
{
	enum vu_phase phase = d->phase;

	d->phase = VU_QUIET;
	d->in.have = 0;
	loop_timer_set(&d->timer, 0);
	switch (phase) {
	case VU_GREETING: vu_welcome(d); break;
	case VU_STARTING: started(d); break;
	case VU_SWITCHING: vu_end_switch(d, true); break;
	case VU_STOPPING: stopped(d); break;
	case VU_QUIET: break;
	}
	vu_listen(d);
}

void vu_begin(struct vu_dev *d, enum vu_phase phase)
{
	d->phase = phase;
	d->step = 0;
	d->barrier = false;
	d->deadline_ns = clock_now_ns() + (phase == VU_STOPPING ? VU_STOP_PATIENCE_NS : VU_START_PATIENCE_NS);
	loop_timer_set(&d->timer, VU_RETRY_NS); /* where no driver asks how far it is */
	go_on(d);
}

/* ---- question and answer ------------------------------------------------------------------- */

void vu_listen(struct vu_dev *d)
{
	size_t more = VU_HEAD_SIZE - d->in.have;

	if (d->rx.busy || d->link != VU_UP)
		return;
	if (d->in.have >= VU_HEAD_SIZE)
		more = VU_HEAD_SIZE + d->in.msg.size - d->in.have;
	d->rx_iov = (struct iovec){ .iov_base = (char *)&d->in.msg + d->in.have, .iov_len = more };
	d->takes_fd = d->phase == VU_STARTING && d->out.msg.request == VU_GET_INFLIGHT_FD && !d->in.have;
	if (!d->takes_fd) {
		loop_readv(&d->rx, &d->rx_iov, 1);
		return;
	}
	d->rx_mh = (struct msghdr){
		.msg_iov = &d->rx_iov, .msg_iovlen = 1, .msg_control = d->rx_control, .msg_controllen = CMSG_LEN(sizeof(int)), /* for one */
	};
	loop_recvmsg(&d->rx, &d->rx_mh, MSG_CMSG_CLOEXEC);
}

static void submit(struct vu_dev *d)
{
	vu_prepare(d);
	d->unsent = loop_sendmsg(&d->tx, &d->tx_mh) != 0;
	vu_listen(d);
}

static void go_on(struct vu_dev *d)
{
	int r;

	d->waits = waits_for_bin(d);
	if (d->waits)
		return;
	r = fill(d);
	if (r > 0)
		submit(d);
	else if (!r)
		end_phase(d);
	else
		vu_turn_away(d, r, "it lacks what is needed of vhost-user");
}

void vu_go_on(struct vu_dev *d)
{
	if (d->link == VU_UP && d->waits)
		go_on(d);
}

static void next_step(struct vu_dev *d)
{
	d->barrier = false;
	d->step++;
	go_on(d);
}

/* The back end says no to a step of a start, or of a switch. */
static void refused(struct vu_dev *d)
{
	log_limited(&d->log, "%s: the back end refuses vhost-user's %s (has it room for the memory and rings that it was shown?)", d->cfg.name,
		    vu_request_name(d->out.msg.request));
	d->result = -EIO;
	vu_end_switch(d, false);
	vu_begin(d, VU_STOPPING);
}

/* Without a size, or a file: the back end keeps no such memory after all. */
static void take_inflight(struct vu_dev *d)
{
	if (!d->in.msg.body.inflight.size || d->came_fd < 0) {
		vu_throw_away(d, steal_fd(&d->came_fd));
		return;
	}
	d->inflight_fd = steal_fd(&d->came_fd);
	d->inflight = d->out.msg.body.inflight;
	d->inflight.size = d->in.msg.body.inflight.size;
	d->inflight.offset = d->in.msg.body.inflight.offset;
}

static void answered(struct vu_dev *d)
{
	int r = 0;

	/* a network that is not told where the card is learns it from what the card sends */
	if (d->out.msg.flags & VU_NEED_REPLY && d->in.msg.body.u64 && d->out.msg.request != VU_SEND_RARP) {
		refused(d);
		return;
	}
	if (d->phase == VU_GREETING && !d->barrier)
		r = vu_greet_hear(d);
	else if (d->out.msg.request == VU_GET_INFLIGHT_FD)
		take_inflight(d);
	if (r)
		vu_drop(d, r);
	else
		next_step(d);
}

/* What has come is held against the question. */
static void digest(struct vu_dev *d)
{
	size_t more;
	int r = vu_check(&d->out.msg, &d->in, &more);

	if (r > 0)
		answered(d);
	else if (r < 0)
		vu_drop(d, r);
	else
		vu_listen(d);
}

/* The kernel had no room for the question: vu_look_after() tries again. */
static bool passes(int res)
{
	return res == -EAGAIN || res == -EINTR || res == -ETOOMANYREFS || res == -ENOMEM || res == -ENOBUFS;
}

void vu_sent(void *ctx, int res)
{
	struct vu_dev *d = ctx;

	if (d->link != VU_UP || d->phase == VU_QUIET)
		return;
	if (passes(res) && !d->early) {
		d->unsent = true;
		return;
	}
	if (res != (int)d->tx_iov.iov_len) {
		vu_drop(d, res == -EPIPE ? -ECONNRESET : res < 0 && !passes(res) ? res : -EPROTO);
		return;
	}
	if (d->early) {
		d->early = false;
		digest(d);
	} else if (vu_answer_size(&d->out.msg) < 0) {
		d->barrier = true;
		go_on(d);
	}
}

/* Unasked, a back end has nothing to say. */
static bool is_due(const struct vu_dev *d)
{
	return d->phase != VU_QUIET && !d->unsent && vu_answer_size(&d->out.msg) >= 0;
}

static void heard(struct vu_dev *d, size_t n)
{
	if (!is_due(d)) {
		vu_drop(d, -EPROTO);
		return;
	}
	d->in.have += n;
	d->early = d->tx.busy; /* it is looked at when we know that the question is gone */
	if (!d->early)
		digest(d);
}

void vu_received(void *ctx, int res)
{
	struct vu_dev *d = ctx;
	int fd = res > 0 && d->takes_fd ? fd_of_message(&d->rx_mh) : -1;

	if (d->link != VU_UP) {
		vu_throw_away(d, fd);
		return;
	}
	if (fd >= 0) {
		vu_throw_away(d, steal_fd(&d->came_fd));
		d->came_fd = fd;
	}
	if (fd >= 0 && d->out.msg.request != VU_GET_INFLIGHT_FD)
		vu_drop(d, -EPROTO); /* room was made for the answer to a question that was never sent */
	else if (res > 0)
		heard(d, (size_t)res);
	else if (res == -EINTR || res == -ENOMEM || res == -EAGAIN)
		vu_listen(d);
	else
		vu_drop(d, res ? res : -ECONNRESET);
}

/* ---- for the device ------------------------------------------------------------------------ */

int vu_start(struct vu_dev *d, uint64_t acked, const struct vu_ring *rings, unsigned n)
{
	if (n > VU_MAX_RINGS)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		int r = vh_ring_check(d->mem, &rings[i].at);

		if (r)
			return r;
	}
	if (d->link == VU_OVER)
		return -ENOTCONN;
	vu_forget_inflight(d); /* of a start that failed */
	memcpy(d->rings, rings, n * sizeof(*rings));
	d->nr_rings = n;
	d->acked = acked;
	d->result = 0;
	d->begun = d->served = d->stillborn = 0;
	d->wanted = true;
	d->switches = false;
	d->awaited = d->link == VU_UP && d->phase == VU_QUIET;
	if (d->awaited)
		vu_begin(d, VU_STARTING);
	return 0;
}

/* Of descriptors there were too many on their way, all the time: a driver is told, and else there is another try later. */
static void never_sent(struct vu_dev *d)
{
	if (!d->awaited) {
		vu_drop(d, -ETOOMANYREFS);
		return;
	}
	d->result = -ETOOMANYREFS;
	vu_begin(d, VU_STOPPING); /* which sends no descriptors */
}

void vu_look_after(struct vu_dev *d)
{
	if (d->phase == VU_QUIET)
		return;
	if (clock_now_ns() < d->deadline_ns) {
		if (d->unsent && !d->tx.busy)
			submit(d);
	} else if (d->phase == VU_STARTING && d->unsent && !d->tx.busy) {
		never_sent(d);
	} else {
		vu_drop(d, -ETIMEDOUT);
	}
}

int vu_result(struct vu_dev *d)
{
	vu_look_after(d);
	if (d->awaited && d->phase != VU_QUIET)
		return LOOP_AGAIN;
	d->awaited = false;
	return d->result;
}

bool vu_switch(struct vu_dev *d, unsigned enabled)
{
	for (unsigned i = 0; i < d->nr_rings; i++)
		d->rings[i].idle = d->rings[i].index >= enabled;
	d->switches = d->wanted && d->link == VU_UP && (d->phase == VU_STARTING || (d->phase == VU_QUIET && d->begun));
	if (d->switches && d->phase == VU_QUIET)
		vu_begin(d, VU_SWITCHING);
	return !d->switches;
}

bool vu_may_switch(const struct vu_dev *d)
{
	return d->wanted && d->phase != VU_STOPPING;
}

/* What the driver has begun, and a reset has to wait for. */
static bool is_under_way(const struct vu_dev *d)
{
	return d->phase == VU_STARTING || d->phase == VU_SWITCHING || d->phase == VU_STOPPING;
}

bool vu_settle(struct vu_dev *d)
{
	d->wanted = d->switches = false; /* first: nobody has to be told */
	vu_look_after(d);
	if (d->phase == VU_QUIET && d->begun)
		vu_begin(d, VU_STOPPING);
	if (is_under_way(d))
		return false;
	vu_stop_poking(d);
	vu_forget_inflight(d);
	d->awaited = false;
	d->nr_rings = d->served = 0;
	return true;
}

void vu_let_go(struct vu_dev *d)
{
	d->wanted = d->switches = false;
	vu_stop_poking(d);
	if (!is_under_way(d) && !d->begun)
		return;
	d->link = VU_OVER;
	d->phase = VU_QUIET;
	d->begun = 0;
	d->result = -ENOTCONN;
}
