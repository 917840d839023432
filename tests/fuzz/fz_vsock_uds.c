// SPDX-License-Identifier: BSD-3-Clause
/*
 * vsock_uds: the socket device by Unix sockets, between a guest, clients and a broker that may do anything.
 *
 * Covers: vsock_uds.c, vsock_conn.c and broker.c: packets of any kind and in any order, credit of any value, buffers of any length,
 *         lines whole and in pieces, reads, writes, shutdowns and closes that end short, late or in error, answers of the broker, its
 *         end, ticks, resets amid all of it, rings of anything.
 * Oracle: a descriptor that was handed over is closed once, and nothing is done with it after that, nor with one that was not;
 *         what a client sends arrives in order, without a gap, and within the credit that the guest gave; what the guest sends
 *         within its own is written in order behind our line; packets are the device's; no more places are used than there are;
 *         when all that is under way has ended after a reset, none is.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vsock_rig.h"

#include <stdio.h>

#define RING 16
#define CONNS 3
#define FDS 512
#define FIRST_FD 5000

static struct rig rig;
static bool broken;
static unsigned next_fd, rx_out;

static struct end {
	bool open;
	size_t line;         /* bytes of a line that its client has sent */
	bool is_client;
	uint32_t read, delivered; /* of the host's bytes: those behind the line */
	uint32_t put, written;    /* of the guest's */
	size_t ours;         /* bytes of our line that were written */
} ends[FDS];

static uint8_t pattern(unsigned fd, uint32_t i)
{
	return (uint8_t)(fd * 7 + i * 31 + i / 251);
}

static struct end *end_of(int fd)
{
	must(fd >= FIRST_FD && fd < FIRST_FD + (int)next_fd);
	return &ends[fd - FIRST_FD];
}

static struct uds_conn *pick(struct fuzz_in *in)
{
	return &rig.d->conns[fuzz_below(in, CONNS + 1)];
}

static void start(struct fuzz_in *in)
{
	broken = false;
	rx_out = 0;
	must(rig_start(&rig, RING, fuzz_u8(in) & 1 ? BIT64(VIRTIO_RING_F_EVENT_IDX) : 0) == 0);
}

/* A packet that came: whose it is, what is in it. */
static void look_at(const struct virtio_vsock_hdr *h, const uint8_t *data)
{
	struct uds_conn *c = uds_find(rig.d, h->src_port, h->dst_port);

	must(h->src_cid == 2 && h->dst_cid == CID && h->op > 0 && h->op <= VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	must(h->op == VIRTIO_VSOCK_OP_RW || !h->len);
	if (h->op != VIRTIO_VSOCK_OP_RW)
		return;
	must(h->len && h->buf_alloc == UDS_CREDIT);
	/* it may have ended since, by what came behind it */
	if (!c || c->fd < 0 || c->state != UDS_OPEN)
		return;
	struct end *e = end_of(c->fd);

	for (uint32_t i = 0; i < h->len; i++)
		must(data[i] == pattern((unsigned)c->fd, e->delivered + i));
	e->delivered += h->len;
	must(e->delivered <= e->read);
	must(e->delivered - c->guest_fwd <= c->guest_alloc);
}

static void take_all(void)
{
	struct virtio_vsock_hdr h;
	const uint8_t *data;
	uint32_t id, len;

	while (!broken && rig_take(&rig, &h, &data)) {
		rx_out--;
		look_at(&h, data);
	}
	while (!broken && fake_ring_used(&rig.ring[1], &id, &len))
		must(!len);
}

static void look(void)
{
	unsigned used = 0, open = 0, held = 0;

	take_all();
	for (unsigned i = 0; i < rig.d->nr; i++) {
		struct uds_conn *c = &rig.d->conns[i];

		used += c->state != UDS_FREE;
		if (c->fd >= 0 || fake_loop_io(&c->end, NULL, NULL) == FAKE_IO_CLOSE)
			held++;
		must(c->tx_len <= UDS_BUFFER && c->got - c->fwd <= UDS_CREDIT);
	}
	for (unsigned i = 0; i < next_fd; i++)
		open += ends[i].open;
	must(used == rig.d->in_use && used <= CONNS + 1 && open == held);
}

static int new_fd(bool is_client)
{
	ends[next_fd] = (struct end){ .open = true, .is_client = is_client };
	return FIRST_FD + (int)next_fd++;
}

static void give(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	if (broken || rx_out >= RING - 1)
		return;
	rx_out++;
	rig_give(&rig, HDR + 1 + (how & 1 ? (uint32_t)how * 16 : how));
}

/* A packet of the guest's, mostly one that makes sense. Its data is what comes next in its connection. */
static void packet(struct fuzz_in *in)
{
	static uint8_t data[4096];
	struct virtio_vsock_hdr h = rig_hdr(fuzz_below(in, 10), fuzz_below(in, 4), 7);
	struct uds_conn *c = pick(in);
	uint8_t how = fuzz_u8(in);
	uint32_t len = 0, got, put = 0;
	struct end *e = NULL;

	if (broken)
		return;
	if (how & 1 && c->known) {
		h.src_port = c->guest_port;
		h.dst_port = c->host_port;
	}
	h.flags = fuzz_below(in, 8);
	h.buf_alloc = how & 2 ? fuzz_u8(in) : 65536;
	h.fwd_cnt = how & 4 ? fuzz_u32(in) : how & 1 ? c->sent : 0;
	if (how & 8 && !fuzz_below(in, 4))
		h.src_cid = fuzz_u32(in);
	if (how & 16 && !fuzz_below(in, 4))
		h.type = fuzz_u8(in);
	if (h.op == VIRTIO_VSOCK_OP_RW)
		len = how & 32 ? fuzz_u16(in) % sizeof(data) : fuzz_u8(in);
	h.len = len;
	c = uds_find(rig.d, h.dst_port, h.src_port);
	if (c && c->fd >= 0)
		e = end_of(c->fd);
	for (uint32_t i = 0; i < len; i++)
		data[i] = pattern(c && c->fd >= 0 ? (unsigned)c->fd + 3 : 0, (e ? e->put : 0) + i);
	got = c ? c->got : 0;
	if (e && c->state == UDS_OPEN)
		put = UDS_CREDIT - (e->put - e->written);
	rig_put(&rig, &h, data, len);
	if (!e || h.op != VIRTIO_VSOCK_OP_RW || c->state != UDS_OPEN || c->got == got)
		return;
	must(c->got - got == len && len <= put);
	e->put += len;
}

static void accept_one(struct fuzz_in *in)
{
	static const int errors[] = { -EMFILE, -ECONNABORTED, -EINTR };
	unsigned how = fuzz_below(in, 8);

	if (next_fd == FDS || fake_loop_io(&rig.d->accept_io, NULL, NULL) == FAKE_IO_NONE)
		return;
	must(fake_loop_complete(&rig.d->accept_io, how < ARRAY_LEN(errors) ? errors[how] : new_fd(true)));
}

/* What a client sends: a line, good or bad, in pieces, and what comes behind it; or its end. */
static void read_some(struct fuzz_in *in)
{
	static const char lines[][24] = { "CONNECT 1\n", "CONNECT 2\n", "CONNECT 4294967294\n", "CONNECT x\n" };
	struct uds_conn *c = pick(in);
	uint8_t how = fuzz_u8(in), buf[512];
	const struct iovec *iov;
	size_t len, at = 0;
	struct end *e;
	unsigned n;

	if (fake_loop_io(&c->rx, &iov, &n) == FAKE_IO_NONE)
		return;
	e = end_of(fake_loop_aim(&c->rx));
	must(e->open);
	if (how < 16) {
		must(fake_loop_complete(&c->rx, how & 1 ? 0 : how & 2 ? -ECONNRESET : -EINTR));
		return;
	}
	len = 1 + (how & 1 ? fuzz_u16(in) % sizeof(buf) : how % 20u);
	len = len < sizeof(buf) ? len : sizeof(buf);
	len = len < iov->iov_len ? len : iov->iov_len;
	if (e->is_client && c->state == UDS_LINE) {
		const char *line = lines[(unsigned)(c->fd + how) % 3 ? (unsigned)c->fd % 3 : 3];
		size_t all = strlen(line);

		/* a line that is another's end is one more kind of garbage */
		while (at < len && e->line < all)
			buf[at++] = (uint8_t)line[e->line++];
	}
	for (; at < len; at++)
		buf[at] = pattern((unsigned)fake_loop_aim(&c->rx), e->read++);
	must(fake_loop_complete_read(&c->rx, buf, len));
}

static void write_some(struct fuzz_in *in)
{
	static uint8_t got[UDS_BUFFER];
	struct uds_conn *c = pick(in);
	uint8_t how = fuzz_u8(in);
	size_t len, done, at = 0;
	struct end *e;
	char line[24];

	if (fake_loop_io(&c->tx, NULL, NULL) != FAKE_IO_WRITEV)
		return;
	e = end_of(fake_loop_aim(&c->tx));
	must(e->open);
	len = fake_loop_peek_write(&c->tx, got, sizeof(got));
	must(len && len <= sizeof(got));
	done = how & 1 ? len : 1 + fuzz_u16(in) % len;
	snprintf(line, sizeof(line), "OK %u\n", c->host_port);
	while (e->is_client && e->ours < strlen(line) && at < done)
		must(got[at++] == line[e->ours++]);
	for (; at < done; at++)
		must(got[at] == pattern((unsigned)fake_loop_aim(&c->tx) + 3, e->written++));
	must(fake_loop_complete(&c->tx, how > 250 ? -EPIPE : (int)done));
}

static void end_some(struct uds_conn *c)
{
	enum fake_io_op op = fake_loop_io(&c->end, NULL, NULL);
	struct end *e;

	if (op == FAKE_IO_NONE)
		return;
	e = end_of(fake_loop_aim(&c->end));
	must(e->open);
	e->open = op != FAKE_IO_CLOSE;
	must(fake_loop_complete(&c->end, 0));
}

static void broker_says(struct fuzz_in *in, bool well)
{
	struct broker *b = &rig.d->broker;
	struct msghdr *msg = fake_loop_msg(&b->rx);
	struct broker_reply reply = { 0 };
	uint8_t how = well ? 0 : fuzz_u8(in);

	if (fake_loop_io(&b->tx, NULL, NULL) == FAKE_IO_WRITEV)
		must(fake_loop_complete(&b->tx, how == 255 ? -EPIPE : (int)sizeof(struct broker_request)));
	msg = fake_loop_msg(&b->rx);
	if (!msg || (how == 254 && !fake_loop_complete(&b->rx, 0)) || how == 254 || !b->first || b->first == b->unsent || next_fd == FDS)
		return;
	reply.number = b->first->number + (how == 253);
	reply.error = how & 1 ? -ECONNREFUSED : 0;
	memcpy(msg->msg_iov[0].iov_base, &reply, sizeof(reply));
	msg->msg_controllen = 0;
	if (!reply.error && how != 252 && how != 253) {
		struct cmsghdr *c = (struct cmsghdr *)msg->msg_control;
		int fd = new_fd(false);

		msg->msg_controllen = CMSG_SPACE(sizeof(fd));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	must(fake_loop_complete(&b->rx, sizeof(reply)));
}

/* Of what was under way: it ends, and nothing is left but clients that have not said what they want. */
static void settle(struct fuzz_in *in)
{
	unsigned lines = 0;

	for (unsigned i = 0; i < 4 * CONNS && rig.d->broker.first; i++)
		broker_says(in, true);
	for (unsigned i = 0; i < rig.d->nr; i++) {
		end_some(&rig.d->conns[i]);
		end_some(&rig.d->conns[i]);
		lines += rig.d->conns[i].state == UDS_LINE;
	}
	must(rig.d->in_use == lines);
}

static void restart(struct fuzz_in *in)
{
	fake_vdev_reset(rig.v);
	if (fuzz_u8(in) & 1)
		settle(in);
	start(in);
}

static void scribble(struct fuzz_in *in)
{
	struct fake_ring *r = &rig.ring[fuzz_u8(in) & 1];

	broken = true;
	fake_ring_desc(r, (uint16_t)fuzz_below(in, RING), RX_AT + fuzz_u16(in), fuzz_u16(in), fuzz_below(in, 2) ? 4 : 3, fuzz_u8(in));
	fake_ring_put(r, (uint16_t)(RING + fuzz_u8(in)));
	fake_ring_show(r);
	vdev_notify(rig.v, r == &rig.ring[1]);
	rig_turn(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct fuzz_in in = { .p = input, .left = size };

	next_fd = 0;
	rig_init(&rig, CONNS);
	start(&in);
	for (unsigned steps = 0; fuzz_more(&in) && steps < 300; steps++) {
		switch (fuzz_below(&in, 16)) {
		case 0: case 1: give(&in); break;
		case 2: case 3: case 4: packet(&in); break;
		case 5: accept_one(&in); break;
		case 6: case 7: read_some(&in); break;
		case 8: case 9: write_some(&in); break;
		case 10: case 11: end_some(pick(&in)); break;
		case 12: broker_says(&in, false); break;
		case 13: fake_loop_expire(&rig.d->timer); break;
		case 14: restart(&in); break;
		default: broken ? restart(&in) : scribble(&in);
		}
		rig_turn(&rig);
		look();
	}
	fake_vdev_reset(rig.v);
	settle(&in);
	rig_fini(&rig);
	return 0;
}
