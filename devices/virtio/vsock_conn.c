// SPDX-License-Identifier: BSD-3-Clause
/*
 * A connection's host side: where its descriptor comes from, what is read and written, how it ends.
 *
 * Descriptors come while the guest runs: from accept, or by the broker. All that is done with one goes by the loop's ring, so
 * no system call of this thread's names it.
 *
 * Two buffers stand between the ends, so nothing that is under way touches the guest's memory, and a reset waits for nothing.
 * From the host a buffer is read, delivered, and read again when it is empty. From the guest bytes go into a ring, which its
 * credit never lets overflow, and are written as they come; what was written becomes credit again.
 *
 * The end. Reads and writes are cancelled, the descriptor is closed; the place is free when that is done, when the broker has
 * answered if it was asked, and when the guest has its RST if it is to have one. A guest that gives no buffers for that keeps
 * places from itself.
 *
 * What is left. A guest that closes does not wait for the reader of what it sent. That goes on for UDS_LINGER ticks from whenever
 * the reader took some of it last, and for UDS_LINGER_MOST in all; what is left then is lost, counted and logged. The reader
 * sees an end like any other: a Unix socket says a reset only to who has sent something that nobody has read.
 *
 * The line. A client has UDS_PATIENCE ticks for it, and the guest as many for its answer; what a client sends behind its line
 * waits in the buffer as data.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "devices/virtio/vsock_uds_priv.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/base/obj.h"

/* ---- the table of ports --------------------------------------------------------------------- */

static uint16_t *bucket_of(struct vsock_uds *d, uint32_t host_port, uint32_t guest_port)
{
	uint32_t h = host_port * 2654435761u ^ guest_port * 2246822519u;

	return &d->buckets[(h ^ h >> 15) & (d->nr_buckets - 1)];
}

struct uds_conn *uds_find(struct vsock_uds *d, uint32_t host_port, uint32_t guest_port)
{
	uint16_t i = *bucket_of(d, host_port, guest_port);

	while (i != UDS_NONE && (d->conns[i].host_port != host_port || d->conns[i].guest_port != guest_port))
		i = d->conns[i].next_known;
	return i != UDS_NONE ? &d->conns[i] : NULL;
}

void uds_know(struct uds_conn *c)
{
	uint16_t *b = bucket_of(c->d, c->host_port, c->guest_port);

	c->next_known = *b;
	*b = uds_index(c);
	c->known = true;
}

void uds_forget(struct uds_conn *c)
{
	uint16_t *at = bucket_of(c->d, c->host_port, c->guest_port);

	if (!c->known)
		return;
	while (*at != uds_index(c))
		at = &c->d->conns[*at].next_known;
	*at = c->next_known;
	c->known = false;
}

/* ---- places --------------------------------------------------------------------------------- */

struct uds_conn *uds_take(struct vsock_uds *d, enum uds_state state)
{
	/* the one more is a client's: the guest's own leave it alone */
	if (d->in_use >= (state == UDS_LINE ? d->nr : d->max))
		return NULL;
	for (unsigned i = 0; i < d->nr; i++) {
		struct uds_conn *c = &d->conns[i];

		if (c->state != UDS_FREE)
			continue;
		c->state = (uint8_t)state;
		c->owed = c->guest_shut = c->host_shut = c->ticks = 0;
		c->host_ended = c->told_end = c->asked_credit = false;
		c->rx_at = c->rx_len = c->tx_at = c->tx_len = c->line_left = 0;
		c->sent = c->got = c->fwd = c->told_fwd = c->guest_alloc = c->guest_fwd = 0;
		d->in_use++;
		c->is_client = state == UDS_LINE;
		d->clients += c->is_client;
		return c;
	}
	return NULL;
}

void uds_set_ticks(struct uds_conn *c, unsigned ticks)
{
	c->ticks = (uint8_t)ticks;
	if (!ticks || c->d->ticking)
		return;
	c->d->ticking = true;
	loop_timer_set(&c->d->timer, UDS_TICK_NS);
}

void uds_settle(struct uds_conn *c)
{
	struct vsock_uds *d = c->d;

	if (c->state != UDS_CLOSING || c->owed || c->fd >= 0 || c->rx.busy || c->tx.busy || c->end.busy || c->ask.busy)
		return;
	uds_forget(c);
	c->state = UDS_FREE;
	d->in_use--;
	d->clients -= c->is_client;
	uds_accept(d);
}

static void begin_close(struct uds_conn *c)
{
	if (c->fd < 0 || c->end.busy)
		return; /* a shutdown is under way, and comes back here */
	loop_io_aim(&c->end, c->fd);
	if (!loop_close(&c->end))
		c->fd = -1;
}

void uds_end(struct uds_conn *c, bool rst)
{
	if (c->state == UDS_CLOSING || c->state == UDS_FREE)
		return;
	c->state = UDS_CLOSING;
	c->ticks = 0;
	c->owed = rst ? UDS_SEND_RST : 0;
	loop_io_cancel(&c->rx);
	loop_io_cancel(&c->tx);
	begin_close(c);
	if (rst)
		uds_ready(c);
	else
		uds_forget(c);
	uds_settle(c);
}

/* shutdown(2) or close(2) is done. */
static void end_done(void *ctx, int res)
{
	struct uds_conn *c = ctx;

	(void)res; /* what cannot be shut is closed when the guest is done with it; close(2) has closed in any case */
	if (c->state == UDS_CLOSING) {
		begin_close(c);
		uds_settle(c);
	} else {
		uds_shut(c);
	}
}

/* ---- from the host -------------------------------------------------------------------------- */

void uds_read(struct uds_conn *c)
{
	uint32_t at = c->state == UDS_LINE ? c->rx_len : 0;

	if (c->rx.busy || c->host_ended || c->fd < 0 || (c->state != UDS_LINE && (c->state != UDS_OPEN || c->rx_at < c->rx_len)) ||
	    c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		return;
	c->rx_at = 0;
	c->rx_len = at;
	c->rx_iov = (struct iovec){ .iov_base = c->rx_buf + at, .iov_len = UDS_BUFFER - at };
	loop_io_aim(&c->rx, c->fd);
	if (loop_readv(&c->rx, &c->rx_iov, 1))
		uds_end(c, true);
}

/* The port of "CONNECT PORT\n"; what follows is data. 0: it is not all there; -EPROTO: it will never be. */
static int parse_line(const uint8_t *text, uint32_t len, uint32_t *ret_port, uint32_t *ret_line)
{
	static const char word[] = "CONNECT ";
	const unsigned skip = sizeof(word) - 1;
	uint32_t most = len < UDS_LINE_MAX ? len : UDS_LINE_MAX, end = 0;
	uint64_t port = 0;

	while (end < most && text[end] != '\n')
		end++;
	if (end == most)
		return most == UDS_LINE_MAX ? -EPROTO : 0;
	if (end <= skip || strncasecmp((const char *)text, word, skip) || end - skip > 10)
		return -EPROTO;
	for (uint32_t i = skip; i < end; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EPROTO;
		port = port * 10 + (uint64_t)(text[i] - '0');
	}
	if (port >= UINT32_MAX) /* which stands for any */
		return -EPROTO;
	*ret_port = (uint32_t)port;
	*ret_line = end + 1;
	return 1;
}

static void cut_client(struct uds_conn *c)
{
	c->d->counts.cut++;
	uds_end(c, c->state == UDS_ASKED);
}

/* A number for a client, which no other one at the same port of the guest's has. There are more numbers than places. */
static uint32_t new_port(struct vsock_uds *d, uint32_t guest_port)
{
	uint32_t port;

	do {
		port = UDS_FIRST_PORT + d->next_port++ % UDS_FIRST_PORT;
	} while (uds_find(d, port, guest_port));
	return port;
}

static void read_line(struct uds_conn *c)
{
	uint32_t port, line;
	int r = parse_line(c->rx_buf, c->rx_len, &port, &line);

	if (!r) {
		uds_read(c);
		return;
	}
	if (r < 0 || !c->d->on) {
		cut_client(c);
		return;
	}
	c->rx_at = line;
	c->guest_port = port;
	c->host_port = new_port(c->d, port);
	c->state = UDS_ASKED;
	c->owed = UDS_SEND_REQUEST;
	uds_know(c);
	uds_set_ticks(c, UDS_PATIENCE);
	uds_ready(c);
}

static void rx_done(void *ctx, int res)
{
	struct uds_conn *c = ctx;

	if (c->state != UDS_LINE && c->state != UDS_OPEN) {
		uds_settle(c);
		return;
	}
	if (res > 0)
		c->rx_len += (uint32_t)res;
	if (res == -EINTR || res == -EAGAIN || (c->state == UDS_OPEN && res == -ECANCELED)) {
		uds_read(c);
	} else if (c->state == UDS_LINE) {
		if (res > 0)
			read_line(c);
		else
			cut_client(c);
	} else {
		/* an error is an end as well: what the guest writes finds out whether it was the whole one's */
		c->host_ended = res <= 0;
		uds_ready(c);
	}
}

/* ---- to the host ---------------------------------------------------------------------------- */

static void write_on(struct uds_conn *c)
{
	uint32_t end = UDS_BUFFER - c->tx_at;

	if (c->tx.busy || !c->tx_len || c->fd < 0)
		return;
	c->tx_iov[0] = (struct iovec){ .iov_base = c->tx_buf + c->tx_at, .iov_len = c->tx_len < end ? c->tx_len : end };
	c->tx_iov[1] = (struct iovec){ .iov_base = c->tx_buf, .iov_len = c->tx_len - c->tx_iov[0].iov_len };
	loop_io_aim(&c->tx, c->fd);
	if (loop_writev(&c->tx, c->tx_iov, c->tx_iov[1].iov_len ? 2 : 1))
		uds_end(c, true);
}

/* Room for @n bytes was seen to: where the next byte goes, and how many may lie there together. */
static uint8_t *tx_room(struct uds_conn *c, size_t *ret_n)
{
	uint32_t at = (c->tx_at + c->tx_len) % UDS_BUFFER;

	*ret_n = UDS_BUFFER - at;
	return c->tx_buf + at;
}

static void append(struct uds_conn *c, const void *from, size_t n)
{
	const char *p = from;

	while (n) {
		size_t room, part;
		uint8_t *to = tx_room(c, &room);

		part = n < room ? n : room;
		memcpy(to, p, part);
		c->tx_len += (uint32_t)part;
		p += part;
		n -= part;
	}
}

void uds_put(struct uds_conn *c, const struct vq_chain *chain, size_t skip, uint32_t n)
{
	for (unsigned i = 0; i < chain->n_out && n; i++) {
		size_t off = skip < chain->iov[i].iov_len ? skip : chain->iov[i].iov_len;
		size_t part = chain->iov[i].iov_len - off;

		part = part < n ? part : n;
		append(c, (const char *)chain->iov[i].iov_base + off, part);
		c->got += (uint32_t)part;
		n -= (uint32_t)part;
		skip -= off;
	}
	write_on(c);
}

/* @n bytes have gone. The guest hears of it when it is much to it: a quarter of what it may have under way. */
static void written(struct uds_conn *c, uint32_t n)
{
	uint32_t ours = n < c->line_left ? n : c->line_left;

	c->tx_len -= n;
	c->tx_at = c->tx_len ? (c->tx_at + n) % UDS_BUFFER : 0;
	c->line_left -= ours;
	c->fwd += n - ours;
	if (c->state != UDS_OPEN || c->fwd - c->told_fwd < UDS_CREDIT / 4)
		return;
	c->owed |= UDS_SEND_CREDIT;
	uds_ready(c);
}

/* What is left has so long from now on, and in all so long from when this was said first. */
static void linger(struct uds_conn *c)
{
	if (!c->ticks)
		c->linger_left = UDS_LINGER_MOST;
	uds_set_ticks(c, c->linger_left < UDS_LINGER ? c->linger_left : UDS_LINGER);
}

static void tx_done(void *ctx, int res)
{
	struct uds_conn *c = ctx;

	if (res > 0)
		written(c, (uint32_t)res < c->tx_len ? (uint32_t)res : c->tx_len);
	if (c->state != UDS_OPEN && c->state != UDS_LINGER_ON) {
		uds_settle(c);
		return;
	}
	if (res > 0 && c->ticks) {
		linger(c);
	} else if (res <= 0 && res != -EINTR && res != -EAGAIN && res != -ECANCELED) {
		uds_end(c, c->state == UDS_OPEN);
		return;
	}
	write_on(c);
	uds_shut(c);
}

void uds_accepted(struct uds_conn *c)
{
	char line[24];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	c->d->counts.from_host++;
	c->state = UDS_OPEN;
	uds_set_ticks(c, 0);
	append(c, line, (size_t)n);
	c->line_left = (uint32_t)n;
	write_on(c);
	uds_ready(c);
	uds_read(c);
}

/* ---- half and whole ends -------------------------------------------------------------------- */

#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

void uds_shut(struct uds_conn *c)
{
	uint8_t want = c->guest_shut;

	if (c->state == UDS_LINGER_ON && !c->tx_len)
		uds_end(c, false);
	if (c->state != UDS_OPEN)
		return;
	if (c->tx_len)
		want &= (uint8_t)~VIRTIO_VSOCK_SHUTDOWN_SEND;
	if (want == BOTH) {
		uds_end(c, true);
		return;
	}
	if (c->guest_shut == BOTH && !c->ticks)
		linger(c);
	if (want & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		loop_io_cancel(&c->rx);
		c->rx_at = c->rx_len = 0;
	}
	want &= (uint8_t)~c->host_shut;
	if (!want || c->end.busy || c->fd < 0)
		return;
	c->host_shut |= want;
	loop_io_aim(&c->end, c->fd);
	if (loop_shutdown(&c->end, want & VIRTIO_VSOCK_SHUTDOWN_SEND ? SHUT_WR : SHUT_RD))
		uds_end(c, true);
}

void uds_cut(struct uds_conn *c)
{
	c->d->counts.cut += c->state == UDS_ASKED;
	/* it had said all that it wanted to, and may have been waiting for us: what it said still goes on */
	if (c->state != UDS_OPEN || !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) || !c->tx_len) {
		uds_end(c, false);
		return;
	}
	c->state = UDS_LINGER_ON;
	c->owed = 0;
	uds_forget(c);
	loop_io_cancel(&c->rx);
	linger(c);
}

/* The reader of what is left has taken nothing for too long, or all of it takes too long. */
static void give_up(struct uds_conn *c)
{
	struct vsock_uds *d = c->d;

	uds_end(c, c->state == UDS_OPEN);
	if (!c->tx_len)
		return; /* it was taken in the last moment */
	d->counts.cut++;
	log_guest("%s: the guest has closed its connection from port %u to %u, whose reader is too slow: %u bytes are lost", d->v.name,
		  c->guest_port, c->host_port, c->tx_len);
}

static void time_is_up(struct uds_conn *c)
{
	if (c->state == UDS_LINE || c->state == UDS_ASKED)
		cut_client(c);
	else
		give_up(c);
}

/*
 * The kernel wakes a write that waits when three quarters of what it holds have been taken, but takes some of a new one as
 * soon as there is any room: so a slow reader is seen before.
 */
static void look_at_reader(struct uds_conn *c)
{
	loop_io_cancel(&c->tx); /* and begins again */
}

static void tick_conn(struct uds_conn *c)
{
	bool lingers = c->state == UDS_OPEN || c->state == UDS_LINGER_ON;

	if (!c->ticks)
		return;
	c->linger_left -= lingers;
	if (!--c->ticks)
		time_is_up(c);
	else if (lingers)
		look_at_reader(c);
	if (c->ticks)
		uds_set_ticks(c, c->ticks);
}

static void tick(void *ctx)
{
	struct vsock_uds *d = ctx;

	d->ticking = false;
	for (unsigned i = 0; i < d->nr; i++)
		tick_conn(&d->conns[i]);
	if (d->accept_later) {
		d->accept_later = false;
		uds_accept(d);
	}
}

/* ---- where descriptors come from ------------------------------------------------------------ */

void uds_accept(struct vsock_uds *d)
{
	if (d->accept_io.busy || d->deaf || d->ending || d->accept_later || d->in_use >= d->max || d->clients >= d->max - d->max / 4)
		return;
	d->deaf = loop_accept(&d->accept_io) != 0;
}

/* Want of descriptors or memory passes; anything else does not. */
static void accept_failed(struct vsock_uds *d, int res)
{
	if (res == -EMFILE || res == -ENFILE || res == -ENOMEM || res == -ENOBUFS) {
		log_limited(&d->log, "%s: a client cannot be taken now: %s", d->v.name, strerror(-res));
		d->accept_later = true;
		if (!d->ticking)
			loop_timer_set(&d->timer, UDS_TICK_NS);
		d->ticking = true;
	} else if (res != -EINTR && res != -ECONNABORTED && res != -EAGAIN && res != -EPROTO) {
		d->deaf = true;
		log_warn("%s: clients cannot be taken any more: %s", d->v.name, strerror(-res));
	}
}

static void accept_done(void *ctx, int res)
{
	struct vsock_uds *d = ctx;
	struct uds_conn *c;

	if (res < 0) {
		if (!d->ending && res != -ECANCELED)
			accept_failed(d, res);
		uds_accept(d);
		return;
	}
	c = uds_take(d, UDS_LINE); /* there is one: see in_use where it was asked for */
	c->fd = res;
	if (d->ending) {
		uds_end(c, false);
		return;
	}
	uds_set_ticks(c, UDS_PATIENCE);
	uds_read(c);
	uds_accept(d);
}

static void connected(void *ctx, int res)
{
	struct uds_conn *c = ctx;

	c->fd = res < 0 ? -1 : res;
	if (c->state == UDS_CLOSING) {
		begin_close(c);
		uds_settle(c);
		return;
	}
	if (res < 0) {
		c->d->counts.refused++;
		uds_end(c, true);
		return;
	}
	c->d->counts.from_guest++;
	c->state = UDS_OPEN;
	c->owed |= UDS_SEND_RESPONSE;
	uds_ready(c);
	uds_read(c);
}

void uds_connect(struct uds_conn *c)
{
	c->ask.done = connected;
	c->ask.ctx = c;
	if (!broker_ask(&c->d->broker, &c->ask, 0, c->host_port))
		return;
	c->d->counts.refused++;
	uds_end(c, true);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int init_conn(struct vsock_uds *d, struct loop *l, unsigned i)
{
	struct uds_conn *c = &d->conns[i];
	int r;

	c->d = d;
	c->fd = -1;
	c->rx_buf = d->buffers + i * VSOCK_UDS_BUFFERS;
	c->tx_buf = c->rx_buf + UDS_BUFFER;
	r = loop_io_init_late(l, &c->rx, rx_done, c);
	if (!r)
		r = loop_io_init_late(l, &c->tx, tx_done, c);
	return r ? r : loop_io_init_late(l, &c->end, end_done, c);
}

int uds_conns_init(struct vsock_uds *d, struct loop *l)
{
	void *p;
	int r;

	d->nr = d->max + 1;
	for (d->nr_buckets = 1; d->nr_buckets < d->nr; d->nr_buckets *= 2)
		;
	d->conns = obj_new(d->nr * sizeof(*d->conns));
	d->buckets = obj_new(d->nr_buckets * sizeof(*d->buckets));
	if (!d->conns || !d->buckets)
		return -ENOMEM;
	memset(d->buckets, 0xff, d->nr_buckets * sizeof(*d->buckets));
	p = mmap(NULL, d->nr * VSOCK_UDS_BUFFERS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	/* one connection costs its own pages; advice, which a kernel without huge ones refuses */
	madvise(p, d->nr * VSOCK_UDS_BUFFERS, MADV_NOHUGEPAGE);
	d->buffers = p;
	d->buffers_size = d->nr * VSOCK_UDS_BUFFERS;
	r = loop_timer_init(l, &d->timer, tick, d);
	if (!r)
		r = loop_io_init(l, &d->accept_io, d->listen_fd, accept_done, d);
	for (unsigned i = 0; i < d->nr && !r; i++)
		r = init_conn(d, l, i);
	return r;
}

void uds_conns_fini(struct vsock_uds *d)
{
	d->ending = true;
	loop_io_cancel(&d->accept_io);
	for (unsigned i = 0; d->conns && i < d->nr; i++) {
		uds_end(&d->conns[i], false);
		loop_io_cancel(&d->conns[i].end);
	}
	loop_timer_fini(&d->timer);
	if (d->buffers)
		munmap(d->buffers, d->buffers_size);
	obj_free(d->conns);
	obj_free(d->buckets);
}
