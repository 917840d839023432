// SPDX-License-Identifier: BSD-3-Clause
/*
 * Starting and stopping rings, while the guest runs.
 *
 * A phase is a row of questions, each made when the one before it has been answered: the loop never waits for a back end,
 * only the driver does, in its write of the status register, which is asked about again and again (LOOP_AGAIN). A start
 * is features and memory table, then for each ring NUM, BASE, ADDR, CALL, KICK and ENABLE; a stop is GET_VRING_BASE for
 * each, after whose answer the back end no longer touches the ring. A start that the back end refuses goes on with a stop
 * of what had begun. One limit of time holds for each phase; a back end that does not keep it is not spoken to any more.
 *
 * Every question has an answer: by REPLY_ACK, or by a GET_FEATURES behind it, since messages are worked off in their
 * order. So at most one message with descriptors is in the socket. That is also what the kernel wants: of descriptors on
 * their way it allows as many as the process may have open, which by then is hardly any. With other senders of the same
 * user it can be none for a moment, and then the question waits.
 *
 * Sending is the ring's, which the loop's thread has at hand without sendmsg(2); receiving is recv(2).
 *
 * The back end is told guest addresses where the protocol has "user addresses": any numbers do that fit the memory table,
 * and ours would tell it where this process has its memory.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "devices/vhost/user.h"
#include "vmm/base/log.h"

#define HEAD_STEPS 2 /* of a start, before the rings */
#define RING_STEPS 6
#define KICK_STEP 4 /* of a ring: from here on it may run */
#define NEWS (POLLIN | POLLRDHUP)

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

static void fill_addr(struct vu_out *o, const struct vu_ring *r)
{
	vu_fill(o, VU_SET_VRING_ADDR, sizeof(o->msg.body.addr));
	o->msg.body.addr = (struct vu_addr){
		.index = r->index, .desc = r->at.desc, .used = r->at.used, .avail = r->at.avail,
	};
}

/* CALL before KICK, with which it begins, so that nothing completes without a signal. */
static void fill_ring_step(struct vu_dev *d, const struct vu_ring *r, unsigned step)
{
	switch (step) {
	case 0: vu_fill_state(&d->out, VU_SET_VRING_NUM, r->index, r->at.size); break;
	case 1: vu_fill_state(&d->out, VU_SET_VRING_BASE, r->index, 0); break;
	case 2: fill_addr(&d->out, r); break;
	case 3: vu_fill_fd(&d->out, VU_SET_VRING_CALL, r->index, r->call_fd); break;
	case KICK_STEP: vu_fill_fd(&d->out, VU_SET_VRING_KICK, r->index, r->kick_fd); break;
	default: vu_fill_state(&d->out, VU_SET_VRING_ENABLE, r->index, 1); break;
	}
}

static bool fill_start(struct vu_dev *d)
{
	unsigned at = d->step - HEAD_STEPS;

	if (d->step == 0)
		vu_fill_u64(&d->out, VU_SET_FEATURES, d->acked);
	else if (d->step == 1)
		fill_mem_table(d);
	else if (at < d->nr_rings * RING_STEPS)
		fill_ring_step(d, &d->rings[at / RING_STEPS], at % RING_STEPS);
	else
		return false;
	if (d->step >= HEAD_STEPS)
		d->begun = at / RING_STEPS + (at % RING_STEPS >= KICK_STEP);
	return true;
}

static bool fill_stop(struct vu_dev *d)
{
	if (d->step == d->begun)
		return false;
	vu_fill_state(&d->out, VU_GET_VRING_BASE, d->rings[d->step].index, 0);
	return true;
}

/* The question of this step; false: the phase has no more. */
static bool fill(struct vu_dev *d)
{
	if (d->barrier) {
		vu_fill(&d->out, VU_GET_FEATURES, 0);
		return true;
	}
	if (d->phase == VU_STARTING ? !fill_start(d) : !fill_stop(d))
		return false;
	if (vu_answer_size(&d->out.msg) < 0 && d->protocol & BIT64(VU_PROTOCOL_REPLY_ACK))
		d->out.msg.flags |= VU_NEED_REPLY;
	return true;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void part(struct vu_dev *d, int r)
{
	d->gone = true;
	d->phase = VU_QUIET;
	d->begun = 0;
	d->result = r;
	loop_poll_disarm(&d->poll);
}

/* Found on the loop, in a callback of its: somebody has to be told. */
static void lose(struct vu_dev *d, int r)
{
	bool closed = r == -ECONNRESET || r == -EPIPE;

	if (d->gone)
		return;
	part(d, r == -ETIMEDOUT ? r : -ENOTCONN);
	d->lost(d->ctx, closed ? "has closed the connection" : r == -EPROTO ? "has broken the rules of vhost-user" : strerror(-r));
}

static void end_phase(struct vu_dev *d)
{
	if (d->phase == VU_STOPPING)
		d->begun = 0;
	d->phase = VU_QUIET;
}

static void begin(struct vu_dev *d, enum vu_phase phase)
{
	d->phase = phase;
	d->step = 0;
	d->barrier = false;
	d->deadline_ns = clock_now_ns() + (phase == VU_STARTING ? VU_START_PATIENCE_NS : VU_STOP_PATIENCE_NS);
	go_on(d);
}

/* ---- question and answer ------------------------------------------------------------------- */

static void submit(struct vu_dev *d)
{
	vu_prepare(d);
	/* One that was given up may still be there: it is asked again when that is over. */
	d->unsent = loop_sendmsg(&d->send, &d->mh) != 0;
}

static void go_on(struct vu_dev *d)
{
	if (fill(d))
		submit(d);
	else
		end_phase(d);
}

static void next_step(struct vu_dev *d)
{
	d->barrier = false;
	d->step++;
	go_on(d);
}

static void sent(void *ctx, int res)
{
	struct vu_dev *d = ctx;

	if (d->gone || d->phase == VU_QUIET)
		return;
	loop_poll_arm(&d->poll, NEWS);
	if (res == -EAGAIN || res == -EINTR || res == -ETOOMANYREFS || res == -ENOMEM || res == -ENOBUFS) {
		d->unsent = true; /* vu_result() and vu_settle() try again */
		return;
	}
	if (res != (int)d->iov.iov_len) {
		lose(d, res < 0 ? res : -EPROTO);
		return;
	}
	if (vu_answer_size(&d->out.msg) >= 0)
		return;
	d->barrier = true;
	go_on(d);
}

/* The back end says no to a step of a start. */
static void refused(struct vu_dev *d)
{
	log_limited(&d->log, "%s: the back end refuses vhost-user's %s (has it room for the memory and rings that it was shown?)", d->name,
		    vu_request_name(d->out.msg.request));
	d->result = -EIO;
	begin(d, VU_STOPPING);
}

static void answered(struct vu_dev *d)
{
	bool is_ack = d->out.msg.flags & VU_NEED_REPLY;

	if (is_ack && d->in.msg.body.u64)
		refused(d);
	else
		next_step(d);
}

/* Unasked, a back end has nothing to say. */
static int take_nothing(struct vu_dev *d)
{
	uint8_t byte;
	ssize_t n = recv(d->fd, &byte, 1, MSG_DONTWAIT);

	return n > 0 ? -EPROTO : n == 0 ? -ECONNRESET : errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* Something to read, or the end. */
static void ready(void *ctx, uint32_t events)
{
	struct vu_dev *d = ctx;
	bool over = events & (POLLHUP | POLLERR | POLLRDHUP);
	int r;

	if (d->send.busy && !over) {
		loop_poll_arm(&d->poll, POLLRDHUP); /* the answer is looked at when we know that the question is gone */
		return;
	}
	if (d->phase != VU_QUIET && !d->unsent && !d->send.busy && vu_answer_size(&d->out.msg) >= 0)
		r = vu_take(d->fd, &d->out.msg, &d->in);
	else
		r = take_nothing(d);
	if (r > 0)
		answered(d);
	else if (r < 0 || over)
		lose(d, r < 0 ? r : -ECONNRESET);
}

/* ---- for the device ------------------------------------------------------------------------ */

int vu_attach(struct vu_dev *d, struct loop *loop, const struct gmem *mem, void (*lost)(void *ctx, const char *why), void *ctx)
{
	int r;

	for (unsigned i = 0; i < gmem_nr_regions(mem); i++)
		if (gmem_region(mem, i)->fd < 0)
			return -EINVAL;
	d->mem = mem;
	d->lost = lost;
	d->ctx = ctx;
	r = loop_poll_init(loop, &d->poll, d->fd, ready, d);
	if (!r)
		r = loop_msg_init(loop, &d->send, d->fd, sent, d);
	if (!r)
		loop_poll_arm(&d->poll, NEWS);
	return r;
}

int vu_start(struct vu_dev *d, uint64_t acked, const struct vu_ring *rings, unsigned n)
{
	if (n > VU_MAX_RINGS)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		int r = vh_ring_check(d->mem, &rings[i].at);

		if (r)
			return r;
	}
	if (d->gone)
		return -ENOTCONN;
	memcpy(d->rings, rings, n * sizeof(*rings));
	d->nr_rings = n;
	d->acked = (acked & d->features) | BIT64(VU_F_PROTOCOL_FEATURES);
	d->result = 0;
	d->begun = 0;
	begin(d, VU_STARTING);
	return 0;
}

/* What is under way goes on, or is late. */
static void look_after(struct vu_dev *d)
{
	if (d->phase == VU_QUIET)
		return;
	if (clock_now_ns() >= d->deadline_ns && d->phase == VU_STARTING && d->unsent && !d->send.busy) {
		d->result = -ETOOMANYREFS;
		begin(d, VU_STOPPING); /* which sends no descriptors */
		return;
	}
	if (clock_now_ns() >= d->deadline_ns) {
		if (d->phase == VU_STOPPING) /* of a start the caller says it */
			log_warn("%s: the back end does not stop; it is given up", d->name);
		part(d, -ETIMEDOUT);
		return;
	}
	if (d->unsent && !d->send.busy)
		submit(d);
}

int vu_result(struct vu_dev *d)
{
	look_after(d);
	return d->phase == VU_QUIET ? d->result : LOOP_AGAIN;
}

bool vu_settle(struct vu_dev *d)
{
	look_after(d);
	if (d->phase == VU_QUIET && d->begun)
		begin(d, VU_STOPPING);
	return d->phase == VU_QUIET;
}

void vu_let_go(struct vu_dev *d)
{
	if (d->phase != VU_QUIET || d->begun)
		part(d, -ENOTCONN);
}
