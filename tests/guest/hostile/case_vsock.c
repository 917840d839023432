/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock: packets that no driver sends (virtio 1.2 s5.10.6), and connections whose guest lies about its credit, starves its receive
 * queue, floods and is gone. Somebody in the host gives back what it is sent at ECHO_PORT, to any number; nobody is at QUIET_PORT.
 *
 * With vhost the kernel judges the packets: only that all goes on afterwards is asked then.
 */
#include "hostile.h"

#define ECHO_PORT 7
#define MAX_CONNS 64  /* the harness's max-conns= */
#define HDR sizeof(struct packet)
#define CREDIT 65280u /* what ours gives a connection; more is too much of any */
#define RX_BUFFERS 32
#define RX_SIZE 2048u

/* What comes of a packet: an answer, none, NEEDS_RESET, or nobody knows. */
enum reaction { RST, SILENCE, BREAKS, SURVIVES };

static unsigned taken; /* packets of the receive queue */

static uint8_t *rx_at(unsigned slot)
{
	return buf2 + slot * RX_SIZE;
}

static void give(unsigned slot)
{
	struct vq *rx = &vsock->vq[VS_RX];

	vq_post(rx, slot, rx_at(slot), RX_SIZE, true);
	vq_kick(rx);
}

static bool runs_dry(void)
{
	taken = 0;
	return begin(vsock, RING_INDIRECT);
}

/* With buffers to receive. */
static bool runs(void)
{
	if (!runs_dry())
		return false;
	for (unsigned i = 0; i < RX_BUFFERS; i++)
		give(i);
	return true;
}

/* The next packet that came within @ms, and its buffer is given again. */
static bool receive(struct packet *p, unsigned ms)
{
	struct vq *rx = &vsock->vq[VS_RX];
	uint64_t end = deadline_ms(ms);
	unsigned slot;

	while (rx->used->idx == (uint16_t)taken)
		if (passed(end))
			return false;
	DMB();
	slot = rx->used->ring[taken++ % rx->size].id;
	if (!want(slot < RX_BUFFERS, "id %u of no buffer", slot))
		return false;
	memcpy(p, rx_at(slot), sizeof(*p));
	give(slot);
	return true;
}

/* Up to one of @op. */
static bool receive_op(struct packet *p, uint16_t op)
{
	while (receive(p, 2000))
		if (p->op == op)
			return true;
	return false;
}

/* Behind its header, @more bytes. */
static void send_at(unsigned slot, const struct packet *p, uint32_t more)
{
	struct vq *tx = &vsock->vq[VS_TX];
	uint8_t *at = (uint8_t *)table + slot * 128; /* the header's; data is what lies at buf */

	memcpy(at, p, sizeof(*p));
	vq_part(tx, slot, at, HDR, false);
	if (more)
		vq_part(tx, slot + 1, buf, more, false);
	vq_chain(tx, slot, more ? 2 : 1);
}

static bool send(const struct packet *p, uint32_t more)
{
	send_at(0, p, more);
	return want(uses(&vsock->vq[VS_TX]), "not taken");
}

static void react(enum reaction r)
{
	struct packet p;
	bool came;

	if (vhost)
		r = SURVIVES;
	if (r == BREAKS) {
		want(breaks(vsock), "no NEEDS_RESET");
		return;
	}
	if (r == SURVIVES) {
		wait_us(5000);
		return;
	}
	want(uses(&vsock->vq[VS_TX]), "not taken");
	came = receive(&p, r == RST ? 2000 : 20);
	if (r == RST)
		want(came && p.op == VS_RST, "no RST, but %u", came ? p.op : 0);
	else
		want(!came, "an answer: %u", came ? p.op : 0);
}

/* What a header says that is not so; 0: as it should be. */
struct header_row {
	struct row row;
	uint16_t op;
	enum reaction reaction;
	uint64_t src_xor, dst_xor;
	uint16_t type_xor;
	uint32_t len, more;
	uint32_t flags;
};

static const struct header_row header_rows[] = {
	{ { "cid-foreign", ON_VSOCK | OFTEN }, VS_REQUEST, SILENCE, 7, 0, 0 },
	{ { "cid-hosts", ON_VSOCK | OFTEN }, VS_REQUEST, SILENCE, 33 ^ HOST_CID, 0, 0 },
	{ { "cid-0", ON_VSOCK }, VS_RW, SILENCE, 33, 0, 0 },
	{ { "cid-any", ON_VSOCK }, VS_REQUEST, SILENCE, 33 ^ 0xffffffff, 0, 0 },
	{ { "cid-upper-half", ON_VSOCK | OFTEN }, VS_REQUEST, SILENCE, 1ull << 32, 0, 0 },
	{ { "cid-to-hypervisor", ON_VSOCK }, VS_REQUEST, SILENCE, 0, HOST_CID, 0 },
	{ { "cid-to-itself", ON_VSOCK }, VS_REQUEST, SILENCE, 0, HOST_CID ^ 33, 0 },
	{ { "cid-to-another-guest", ON_VSOCK | OFTEN }, VS_REQUEST, SILENCE, 0, HOST_CID ^ 34, 0 },
	{ { "cid-to-upper-half", ON_VSOCK }, VS_REQUEST, SILENCE, 0, 1ull << 63, 0 },
	{ { "type-0", ON_VSOCK }, VS_REQUEST, RST, 0, 0, VS_STREAM },
	{ { "type-seqpacket", ON_VSOCK }, VS_REQUEST, RST, 0, 0, VS_STREAM ^ 2 },
	{ { "type-max", ON_VSOCK | OFTEN }, VS_REQUEST, RST, 0, 0, 0xffff ^ VS_STREAM },
	{ { "op-0", ON_VSOCK }, 0, RST, 0, 0, 0 },
	{ { "op-8", ON_VSOCK | OFTEN }, 8, RST, 0, 0, 0 },
	{ { "op-max", ON_VSOCK }, 0xffff, RST, 0, 0, 0 },
	{ { "op-256-and-request", ON_VSOCK }, 256 | VS_REQUEST, RST, 0, 0, 0 },
	{ { "request-nobody", ON_VSOCK }, VS_REQUEST, RST, 0, 0, 0 },
	{ { "response-unasked", ON_VSOCK }, VS_RESPONSE, RST, 0, 0, 0 },
	{ { "rst-unasked", ON_VSOCK | OFTEN }, VS_RST, SILENCE, 0, 0, 0 },
	{ { "shutdown-unasked", ON_VSOCK }, VS_SHUTDOWN, RST, 0, 0, 0, 0, 0, 3 },
	{ { "rw-unasked", ON_VSOCK | OFTEN }, VS_RW, RST, 0, 0, 0, 64, 64 },
	{ { "rw-empty", ON_VSOCK }, VS_RW, RST, 0, 0, 0, 0, 0 },
	{ { "credit-unasked", ON_VSOCK }, VS_CREDIT_UPDATE, RST, 0, 0, 0 },
	{ { "credit-request-unasked", ON_VSOCK }, VS_CREDIT_REQUEST, RST, 0, 0, 0 },
	{ { "request-with-data", ON_VSOCK }, VS_REQUEST, RST, 0, 0, 0, 64, 64 },
	{ { "len-1-of-0", ON_VSOCK | OFTEN }, VS_RW, BREAKS, 0, 0, 0, 1, 0 },
	{ { "len-65-of-64", ON_VSOCK }, VS_RW, BREAKS, 0, 0, 0, 65, 64 },
	{ { "len-max", ON_VSOCK | OFTEN }, VS_RW, BREAKS, 0, 0, 0, ~0u, 64 },
	{ { "len-sign", ON_VSOCK }, VS_RW, BREAKS, 0, 0, 0, 1u << 31, 64 },
	{ { "len-plus-header-wraps", ON_VSOCK }, VS_RW, BREAKS, 0, 0, 0, ~0u - 43, 64 },
	{ { "len-max-foreign", ON_VSOCK }, VS_RW, BREAKS, 7, 0, 0, ~0u, 64 },
	{ { "len-less-than-there-is", ON_VSOCK }, VS_RW, RST, 0, 0, 0, 1, 64 },
	{ { "flags-all", ON_VSOCK }, VS_REQUEST, RST, 0, 0, 0, 0, 0, ~0u },
};

static void run_header(const void *row)
{
	const struct header_row *r = row;
	struct packet p = packet_to(QUIET_PORT, r->op);

	if (!runs())
		return;
	p.src_cid ^= r->src_xor;
	p.dst_cid ^= r->dst_xor;
	p.type ^= r->type_xor;
	p.len = r->len;
	p.flags = r->flags;
	send_at(0, &p, r->more);
	react(r->reaction);
}

/* A packet, and the buffer for its answer, of other sizes than they should have. */
struct size_row {
	struct row row;
	uint32_t tx;        /* bytes that are sent */
	unsigned parts;     /* in so many, of a byte but the last */
	bool writable;
	uint32_t rx;
	bool readable;
	enum reaction reaction;
};

static const struct size_row size_rows[] = {
	{ { "header-43", ON_VSOCK | OFTEN }, HDR - 1, 1, false, 4096, false, BREAKS },
	{ { "header-1", ON_VSOCK }, 1, 1, false, 4096, false, BREAKS },
	{ { "header-in-44-parts", ON_VSOCK | OFTEN }, HDR, HDR, false, 4096, false, SURVIVES },
	{ { "header-in-2-parts", ON_VSOCK }, HDR, 2, false, 4096, false, SURVIVES },
	{ { "tx-writable", ON_VSOCK }, HDR, 1, true, 4096, false, BREAKS },
	{ { "rx-43", ON_VSOCK }, HDR, 1, false, HDR - 1, false, BREAKS },
	{ { "rx-44", ON_VSOCK | OFTEN }, HDR, 1, false, HDR, false, BREAKS },
	{ { "rx-1", ON_VSOCK }, HDR, 1, false, 1, false, BREAKS },
	{ { "rx-45", ON_VSOCK }, HDR, 1, false, HDR + 1, false, SURVIVES },
	{ { "rx-readable", ON_VSOCK }, HDR, 1, false, 4096, true, BREAKS },
};

static void run_size(const void *row)
{
	const struct size_row *r = row;
	struct packet p = packet_to(QUIET_PORT, VS_REQUEST);
	struct vq *rx = &vsock->vq[VS_RX], *tx = &vsock->vq[VS_TX];

	if (!runs_dry())
		return;
	vq_post(rx, 0, buf2, r->rx, !r->readable);
	vq_kick(rx);
	memcpy(buf, &p, sizeof(p));
	for (unsigned i = 0; i < r->parts; i++)
		vq_part(tx, i, buf + i, i + 1 < r->parts ? 1 : r->tx - i, r->writable);
	vq_chain(tx, 0, r->parts);
	if (r->reaction != SURVIVES || vhost) {
		react(vhost ? SURVIVES : r->reaction);
		return;
	}
	want(uses(rx), "no answer");
	memcpy(&p, buf2, sizeof(p));
	want(p.op == VS_RST && rx->used->ring[0].len == HDR, "op %u, %u bytes", p.op, rx->used->ring[0].len);
}

/* Connections */

static struct packet ours; /* the connection's, as the guest sends it */
static uint32_t next_port = 5000; /* vhost's connections outlive a reset: each has a number of its own */

/* The next packet for one of ours from port @first on: vhost's older connections may still have something to say. */
static bool receive_from(struct packet *p, uint32_t first)
{
	while (receive(p, 3000))
		if (p->dst_port >= first)
			return true;
	return false;
}

/* Up to the host's RESPONSE; false: it was refused. */
static bool connects(uint32_t alloc)
{
	struct packet p = { 0 };

	ours = packet_to(ECHO_PORT, VS_REQUEST);
	ours.src_port = next_port++;
	ours.buf_alloc = alloc;
	return send(&ours, 0) && want(receive_from(&p, ours.src_port) && p.op == VS_RESPONSE, "no RESPONSE, but %u (is the host's end there?)", p.op);
}

static bool send_data(uint32_t len)
{
	ours.op = VS_RW;
	ours.len = len;
	return send(&ours, len);
}

static void say_op(uint16_t op)
{
	ours.op = op;
	ours.len = 0;
	send(&ours, 0);
}

/* Bytes that come back, until nothing does; @end: what else came last. */
static uint32_t count_back(unsigned ms, uint16_t *end)
{
	uint32_t n = 0;
	struct packet p;

	*end = 0;
	while (receive(&p, ms)) {
		if (p.op == VS_RW)
			n += p.len;
		else
			*end = p.op;
	}
	return n;
}

static void echo(void)
{
	uint16_t end;

	if (!runs() || !connects(1 << 20) || !send_data(10000))
		return;
	want(count_back(300, &end) == 10000, "not all came back");
}

/* What a guest says of its credit, and what it may then be sent of 1000 bytes (s5.10.6.3). */
struct credit_row {
	struct row row;
	uint32_t alloc, fwd; /* with the data */
	uint32_t least, most; /* that may come back */
};

static const struct credit_row credit_rows[] = {
	{ { "credit-0", ON_VSOCK | OFTEN }, 0, 0, 0, 0 },
	{ { "credit-1", ON_VSOCK }, 1, 0, 1, 1 },
	{ { "credit-max", ON_VSOCK | OFTEN }, ~0u, 0, 1000, 1000 },
	{ { "credit-sign", ON_VSOCK }, 1u << 31, 0, 1000, 1000 },
	{ { "fwd-backwards", ON_VSOCK | OFTEN }, 65536, ~0u, 0, 1000 },
	{ { "fwd-ahead", ON_VSOCK }, 65536, 5000, 0, 1000 },
	{ { "fwd-half-way", ON_VSOCK }, 65536, 1u << 31, 0, 1000 },
	{ { "fwd-and-credit-max", ON_VSOCK }, ~0u, ~0u, 0, 1000 },
};

static void run_credit(const void *row)
{
	const struct credit_row *r = row;
	uint16_t end;
	uint32_t n;

	if (!runs() || !connects(r->alloc))
		return;
	ours.fwd_cnt = r->fwd;
	if (!send_data(1000))
		return;
	n = count_back(100, &end);
	if (!vhost)
		want(n >= r->least && n <= r->most, "%u bytes came back", n);
}

/* An open connection, and a packet that does not fit. */
struct open_row {
	struct row row;
	uint16_t op;
	uint32_t len, flags;
	enum reaction reaction;
	uint16_t then;      /* another one behind it, 0: none */
};

static const struct open_row open_rows[] = {
	{ { "open-request-again", ON_VSOCK | OFTEN }, VS_REQUEST, 0, 0, RST },
	{ { "open-response", ON_VSOCK }, VS_RESPONSE, 0, 0, RST },
	{ { "open-op-0", ON_VSOCK }, 0, 0, 0, RST },
	{ { "open-op-unknown", ON_VSOCK | OFTEN }, 77, 0, 0, RST },
	{ { "open-overdrawn", ON_VSOCK | OFTEN }, VS_RW, CREDIT + 1, 0, RST },
	{ { "open-rw-empty", ON_VSOCK }, VS_RW, 0, 0, SILENCE },
	{ { "open-shutdown-nothing", ON_VSOCK }, VS_SHUTDOWN, 0, 0, SILENCE },
	{ { "open-shutdown-flags-unknown", ON_VSOCK }, VS_SHUTDOWN, 0, ~3u, SILENCE },
	{ { "open-shutdown-all", ON_VSOCK }, VS_SHUTDOWN, 0, ~0u, RST },
	{ { "open-rw-after-shutdown", ON_VSOCK | OFTEN }, VS_SHUTDOWN, 0, 2, SURVIVES, VS_RW },
	{ { "open-shutdown-twice", ON_VSOCK }, VS_SHUTDOWN, 0, 1, SURVIVES, VS_SHUTDOWN },
	{ { "open-rst-rst", ON_VSOCK }, VS_RST, 0, 0, SILENCE, VS_RST },
	{ { "open-rst-rw", ON_VSOCK }, VS_RST, 0, 0, SURVIVES, VS_RW },
	{ { "open-rst-request", ON_VSOCK }, VS_RST, 0, 0, SURVIVES, VS_REQUEST },
};

static void run_open(const void *row)
{
	const struct open_row *r = row;

	if (!runs() || !connects(65536))
		return;
	ours.op = r->op;
	ours.len = r->len;
	ours.flags = r->flags;
	if (!send(&ours, r->len))
		return;
	if (r->then)
		say_op(r->then);
	react(r->reaction);
}

/* Floods */

/* More than there are places: each is answered, with no more of them connected than may be. */
static void requests(void)
{
	unsigned open = 0, refused = 0;
	const uint32_t first = next_port;
	struct packet p, last = { 0 };

	if (!runs())
		return;
	for (unsigned i = 0; i < MAX_CONNS + 20; i++) {
		struct packet q = packet_to(ECHO_PORT, VS_REQUEST);

		q.src_port = next_port++;
		if (!send(&q, 0))
			return;
		while (open + refused <= i && receive_from(&p, first)) {
			open += p.op == VS_RESPONSE;
			refused += p.op == VS_RST;
			last = p;
		}
	}
	want(open + refused == MAX_CONNS + 20, "%u answers", open + refused);
	if (!vhost)
		want(open == MAX_CONNS && last.op == VS_RST, "%u are connected, of %u", open, MAX_CONNS);
}

/* The same without looking at the answers, and no buffers for them. */
static void requests_unheard(void)
{
	struct vq *tx = &vsock->vq[VS_TX];

	if (!runs_dry())
		return;
	for (unsigned i = 0; i < 500; i++) {
		struct packet q = packet_to(i & 1 ? ECHO_PORT : QUIET_PORT, VS_REQUEST);

		if ((uint16_t)(tx->next - tx->used->idx) >= tx->size)
			break; /* its answers wait: who sends more holds up itself */
		q.src_port = next_port++;
		send_at(i % tx->size, &q, 0);
	}
	look_idle();
}

static void storm(uint16_t op, uint32_t port, unsigned n)
{
	struct vq *tx = &vsock->vq[VS_TX];

	for (unsigned i = 0; i < n; i++) {
		struct packet q = packet_to(port, op);
		uint64_t end = deadline_ms(2000);

		q.src_port = 300 + i % 50;
		while ((uint16_t)(tx->next - tx->used->idx) >= tx->size && !passed(end)) {
			struct packet p;

			receive(&p, 0);
		}
		if (!want((uint16_t)(tx->next - tx->used->idx) < tx->size, "stuck after %u", i))
			return;
		send_at(i % tx->size, &q, 0);
	}
	look_idle();
}

static void storm_of_rst(void)
{
	if (runs())
		storm(VS_RST, ECHO_PORT, 500);
}

static void storm_of_strays(void)
{
	if (runs())
		storm(VS_RW, QUIET_PORT, 300);
}

static void storm_of_connects(void)
{
	struct packet p;

	if (!runs())
		return;
	for (unsigned i = 0; i < 40; i++) {
		ours = packet_to(ECHO_PORT, VS_REQUEST);
		ours.src_port = 400 + i % 3;
		send(&ours, 0);
		if (i & 1)
			receive(&p, 3000);
		say_op(VS_RST);
	}
}

static void storm_of_credit_requests(void)
{
	struct packet p;

	if (!runs() || !connects(65536))
		return;
	for (unsigned i = 0; i < 200; i++)
		say_op(i & 1 ? VS_CREDIT_REQUEST : VS_CREDIT_UPDATE);
	want(receive_op(&p, VS_CREDIT_UPDATE), "never an answer");
}

/* The host has much for it, and it gives two buffers: what waits costs nobody's time. Then it gives more. */
static void rx_starved(void)
{
	struct packet p;
	uint32_t n = 0;

	if (!runs_dry())
		return;
	give(0);
	give(1);
	if (!connects(~0u))
		return;
	for (unsigned i = 0; i < 15; i++)
		if (!send_data(4000))
			return;
	wait_us(50000);
	look_idle();
	while (n < 60000 && receive(&p, 500))
		n += p.op == VS_RW ? p.len : 0;
	if (!vhost)
		want(n == 60000, "%u bytes of 60000 came back", n);
}

/* Two words are said of the same connection by two CPUs: one of the packet, one of its header. */
static void header_racer(void *arg)
{
	volatile struct packet *p = arg;

	while (!stop_helpers) {
		p->len = 64;
		p->op = VS_RW;
		p->len = ~0u;
		p->src_cid ^= 1;
		p->op = (uint16_t)noise();
		p->src_cid ^= 1;
		p->buf_alloc = noise();
		p->fwd_cnt = noise();
	}
}

static void toctou_header(void)
{
	for (unsigned i = 0; i < 5; i++) {
		if (!runs() || !connects(65536) || !helper_start(1, header_racer, table))
			return;
		for (unsigned k = 0; k < 30; k++) {
			ours.op = VS_RW;
			ours.len = 64;
			send_at(0, &ours, 64);
			wait_us(50);
		}
		if (!helper_join(1))
			return;
	}
}

/* Connections end with the driver that they were known to. */
static void reset_with(unsigned conns, uint32_t data)
{
	if (!runs())
		return;
	for (unsigned i = 0; i < conns; i++) {
		if (!connects(65536))
			return;
		for (unsigned k = 0; k < data; k += 4096)
			send_data(4096);
	}
	want(vdev_reset(vsock), "no reset");
}

static void reset_open(void)
{
	reset_with(20, 0);
}

static void reset_busy(void)
{
	for (unsigned i = 0; i < 5; i++)
		reset_with(5, 16384);
}

/* The answers of what asks for connections come behind the reset. */
static void reset_asking(void)
{
	struct vq *tx = &vsock->vq[VS_TX];

	for (unsigned round = 0; round < 10; round++) {
		if (!runs())
			return;
		for (unsigned i = 0; i < 30; i++) {
			struct packet q = packet_to(ECHO_PORT, VS_REQUEST);

			q.src_port = next_port++;
			send_at(i % tx->size, &q, 0);
		}
		wait_us(100 * round);
		if (!want(vdev_reset(vsock), "no reset"))
			return;
	}
}

static void event_queue(void)
{
	struct vq *ev = &vsock->vq[VS_EVENT];

	if (!runs())
		return;
	for (unsigned i = 0; i < 100; i++) {
		vq_post(ev, i % ev->size, buf, i & 1 ? 8 : BUF_SIZE, i & 2);
		vq_kick(ev);
	}
	ev->avail->idx = 0x8000;
	vq_kick(ev);
	echo();
}

static void config_write(void)
{
	for (unsigned i = 0; i < 8; i++)
		wr8(vsock->config + i, 0xff);
	want(rd32(vsock->config) == 33 && !rd32(vsock->config + 4), "the CID is %x", rd32(vsock->config));
}

static const struct fn_row fn_rows[] = {
	{ { "echo", ON_VSOCK | OFTEN }, echo },
	{ { "requests", ON_VSOCK | OFTEN }, requests },
	{ { "requests-unheard", ON_VSOCK | OFTEN }, requests_unheard },
	{ { "storm-of-rst", ON_VSOCK }, storm_of_rst },
	{ { "storm-of-strays", ON_VSOCK }, storm_of_strays },
	{ { "storm-of-connects", ON_VSOCK }, storm_of_connects },
	{ { "storm-of-credit-requests", ON_VSOCK }, storm_of_credit_requests },
	{ { "rx-starved", ON_VSOCK | OFTEN }, rx_starved },
	{ { "toctou-header", ON_VSOCK | ON_CPUS | OFTEN }, toctou_header },
	{ { "reset-open", ON_VSOCK | OFTEN }, reset_open },
	{ { "reset-busy", ON_VSOCK }, reset_busy },
	{ { "reset-asking", ON_VSOCK }, reset_asking },
	{ { "event-queue", ON_VSOCK }, event_queue },
	{ { "config-write", ON_VSOCK }, config_write },
};

const struct family vsock_tables[] = {
	FAMILY(header_rows, run_header), FAMILY(size_rows, run_size), FAMILY(credit_rows, run_credit), FAMILY(open_rows, run_open),
	FAMILY(fn_rows, run_fn), { 0 },
};
