// SPDX-License-Identifier: BSD-3-Clause
/* The socket device by Unix sockets: lines, connections both ways, credit, ends, and guests and clients that mean harm. */
#include "tests/unit/vsock_rig.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/log.h"

#define OP(name) VIRTIO_VSOCK_OP_##name
#define CLIENT_FD 1000
#define RING 128

static struct rig r;
static struct virtio_vsock_hdr h;
static const uint8_t *data;

static void start(unsigned max_conns)
{
	rig_init(&r, max_conns);
	ck_assert_int_eq(rig_start(&r, RING, 0), 0);
}

static void give(unsigned n)
{
	while (n--)
		rig_give(&r, SLOT);
}

static void send_op(uint16_t op, uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	struct virtio_vsock_hdr p = rig_hdr(op, guest_port, host_port);

	p.flags = flags;
	rig_put(&r, &p, NULL, 0);
}

static void send_data(uint32_t guest_port, uint32_t host_port, const void *p, uint32_t len)
{
	struct virtio_vsock_hdr w = rig_hdr(OP(RW), guest_port, host_port);

	w.len = len;
	rig_put(&r, &w, p, len);
}

static void expect(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	ck_assert_msg(rig_take(&r, &h, &data), "no packet, op %u wanted", op);
	ck_assert_uint_eq(h.op, op);
	ck_assert_uint_eq(h.src_cid, 2);
	ck_assert_uint_eq(h.dst_cid, CID);
	ck_assert_uint_eq(h.dst_port, guest_port);
	ck_assert_uint_eq(h.src_port, host_port);
	ck_assert_uint_eq(h.type, VIRTIO_VSOCK_TYPE_STREAM);
}

static void expect_nothing(void)
{
	ck_assert_msg(!rig_take(&r, &h, &data), "a packet of op %u", h.op);
}

/* The connection that has descriptor @fd. */
static struct uds_conn *by_fd(int fd)
{
	for (unsigned i = 0; i < r.d->nr; i++)
		if (r.d->conns[i].fd == fd && r.d->conns[i].state != UDS_FREE)
			return &r.d->conns[i];
	return NULL;
}

static struct uds_conn *client(int fd)
{
	struct uds_conn *c;

	ck_assert(fake_loop_complete(&r.d->accept_io, fd));
	c = by_fd(fd);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(fake_loop_io(&c->rx, NULL, NULL), FAKE_IO_READV);
	ck_assert_int_eq(fake_loop_aim(&c->rx), fd);
	return c;
}

static void says(struct uds_conn *c, const char *text)
{
	ck_assert(fake_loop_complete_read(&c->rx, text, strlen(text)));
	rig_turn(&r);
}

/* What is being written goes, all of it; it is @text. */
static void hears(struct uds_conn *c, const char *text)
{
	char buf[200] = "";
	size_t n = fake_loop_peek_write(&c->tx, buf, sizeof(buf) - 1);

	ck_assert_str_eq(buf, text);
	ck_assert(fake_loop_complete(&c->tx, (int)n));
	rig_turn(&r);
}

/* A client's connection to the guest's port 52, all the way. */
static struct uds_conn *open_from_host(int fd)
{
	struct uds_conn *c = client(fd);
	char line[40];

	says(c, "CONNECT 52\n");
	give(1);
	expect(OP(REQUEST), 52, c->host_port);
	send_op(OP(RESPONSE), 52, c->host_port, 0);
	snprintf(line, sizeof(line), "OK %u\n", c->host_port);
	hears(c, line);
	ck_assert_int_eq(c->state, UDS_OPEN);
	return c;
}

/* The broker's answer to what was asked last. */
static void broker_says(int res)
{
	struct broker *b = &r.d->broker;
	struct broker_reply reply = { .error = res < 0 ? res : 0 };
	struct msghdr *msg = fake_loop_msg(&b->rx);

	if (fake_loop_io(&b->tx, NULL, NULL) == FAKE_IO_WRITEV)
		ck_assert(fake_loop_complete(&b->tx, sizeof(struct broker_request)));
	ck_assert_ptr_nonnull(msg);
	ck_assert_ptr_nonnull(b->first);
	reply.number = b->first->number;
	memcpy(msg->msg_iov[0].iov_base, &reply, sizeof(reply));
	if (res >= 0) {
		struct cmsghdr *c = CMSG_FIRSTHDR(msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &res, sizeof(res));
	} else {
		msg->msg_controllen = 0;
	}
	ck_assert(fake_loop_complete(&b->rx, sizeof(reply)));
	rig_turn(&r);
}

static struct uds_conn *open_from_guest(uint32_t guest_port, int fd)
{
	send_op(OP(REQUEST), guest_port, 7, 0);
	ck_assert_uint_eq(r.d->broker.out.port, 7);
	broker_says(fd);
	give(1);
	expect(OP(RESPONSE), guest_port, 7);
	ck_assert_ptr_nonnull(by_fd(fd));
	return by_fd(fd);
}

static void closed(struct uds_conn *c)
{
	ck_assert_int_eq(fake_loop_io(&c->end, NULL, NULL), FAKE_IO_CLOSE);
	ck_assert(fake_loop_complete(&c->end, 0));
	rig_turn(&r);
}

static void fini(void)
{
	rig_fini(&r);
}

/* ---- connections ---- */

START_TEST(test_vsock_uds_from_host)
{
	struct uds_conn *c;

	start(4);
	c = open_from_host(CLIENT_FD);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 8), CID);
	give(2);
	says(c, "hello");
	expect(OP(RW), 52, c->host_port);
	ck_assert_uint_eq(h.len, 5);
	ck_assert(!memcmp(data, "hello", 5));
	ck_assert_uint_eq(h.buf_alloc, UDS_CREDIT);
	/* our line is none of the guest's bytes */
	ck_assert_uint_eq(h.fwd_cnt, 0);
	send_data(52, c->host_port, "world", 5);
	hears(c, "world");
	says(c, "!");
	expect(OP(RW), 52, c->host_port);
	ck_assert_uint_eq(h.fwd_cnt, 5);
	send_op(OP(SHUTDOWN), 52, c->host_port, 3);
	closed(c);
	give(1);
	expect(OP(RST), 52, c->host_port);
	ck_assert_uint_eq(r.d->in_use, 0);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_from_guest)
{
	struct uds_conn *c;

	start(4);
	c = open_from_guest(1234, 900);
	send_data(1234, 7, "abc", 3);
	hears(c, "abc");
	/* the host's end ends: told once, and nothing is read any more */
	give(3);
	ck_assert(fake_loop_complete(&c->rx, 0));
	rig_turn(&r);
	expect(OP(SHUTDOWN), 1234, 7);
	ck_assert_uint_eq(h.flags, 2);
	ck_assert(!c->rx.busy);
	send_data(1234, 7, "de", 2);
	hears(c, "de");
	send_op(OP(SHUTDOWN), 1234, 7, 3);
	closed(c);
	expect(OP(RST), 1234, 7);
	expect_nothing();
	ck_assert_uint_eq(r.d->in_use, 0);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_a_quarter_is_the_guests)
{
	struct uds_conn *c[6];

	start(8);
	for (unsigned i = 0; i < 6; i++)
		c[i] = open_from_host(CLIENT_FD + (int)i);
	ck_assert(!r.d->accept_io.busy);
	open_from_guest(1234, 900);
	open_from_guest(1235, 901);
	send_op(OP(SHUTDOWN), 52, c[0]->host_port, 3);
	closed(c[0]);
	give(1);
	expect(OP(RST), 52, c[0]->host_port);
	ck_assert(r.d->accept_io.busy);
	fini();
}
END_TEST

/* Each answer has a descriptor on its way, and the kernel allows a user so many. */
START_TEST(test_vsock_uds_the_broker_is_asked_little_at_once)
{
	unsigned asked = 0;

	start(8);
	for (unsigned i = 0; i < 6; i++)
		send_op(OP(REQUEST), 1234 + i, 7, 0);
	for (; fake_loop_io(&r.d->broker.tx, NULL, NULL) == FAKE_IO_WRITEV; asked++)
		ck_assert(fake_loop_complete(&r.d->broker.tx, sizeof(struct broker_request)));
	ck_assert_uint_eq(asked, 2);
	for (int i = 0; i < 6; i++)
		broker_says(900 + i);
	give(6);
	for (unsigned i = 0; i < 6; i++)
		expect(OP(RESPONSE), 1234 + i, 7);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_refused)
{
	start(4);
	send_op(OP(REQUEST), 1234, 7, 0);
	broker_says(-ECONNREFUSED);
	give(1);
	expect(OP(RST), 1234, 7);
	ck_assert_uint_eq(r.d->in_use, 0);
	ck_assert_uint_eq(r.d->counts.refused, 1);
	/* a client that the guest does not want */
	struct uds_conn *c = client(CLIENT_FD);

	says(c, "CONNECT 1\n");
	give(1);
	expect(OP(REQUEST), 1, c->host_port);
	send_op(OP(RST), 1, c->host_port, 0);
	closed(c);
	ck_assert_uint_eq(r.d->in_use, 0);
	fini();
}
END_TEST

/* What the guest takes back while the broker still connects. */
START_TEST(test_vsock_uds_reset_while_connecting)
{
	struct uds_conn *c;

	start(4);
	send_op(OP(REQUEST), 1234, 7, 0);
	send_op(OP(RST), 1234, 7, 0);
	ck_assert_uint_eq(r.d->in_use, 1);
	broker_says(901);
	c = &r.d->conns[0];
	ck_assert_int_eq(fake_loop_aim(&c->end), 901);
	closed(c);
	ck_assert_uint_eq(r.d->in_use, 0);
	give(1);
	expect_nothing();
	fini();
}
END_TEST

static const char *const bad_lines[] = {
	"\n", "CONNECT\n", "CONNECT \n", "CONNECT x\n", "CONNECT 5 \n", "CONNECT  5\n", "CONNECT -1\n", "CONNECT 4294967295\n",
	"CONNECT 4294967296\n", "CONNECT 12345678901\n", "GET / HTTP/1.0\r\n", "CONNECT 00000000000000000000000000000000000052\n",
	"CONNECT 52\r\n", "connect52 and no end of line whatever",
};

START_TEST(test_vsock_uds_bad_lines_are_cut)
{
	struct uds_conn *c;

	start(4);
	c = client(CLIENT_FD);
	says(c, bad_lines[_i]);
	closed(c);
	ck_assert_uint_eq(r.d->counts.cut, 1);
	ck_assert_uint_eq(r.d->in_use, 0);
	give(1);
	expect_nothing();
	fini();
}
END_TEST

START_TEST(test_vsock_uds_line_in_pieces_and_data_behind_it)
{
	struct uds_conn *c;

	start(4);
	c = client(CLIENT_FD);
	says(c, "CON");
	says(c, "NECT 5");
	says(c, "2\nearly");
	give(1);
	expect(OP(REQUEST), 52, c->host_port);
	send_op(OP(RESPONSE), 52, c->host_port, 0);
	give(1);
	expect(OP(RW), 52, c->host_port);
	ck_assert_uint_eq(h.len, 5);
	ck_assert(!memcmp(data, "early", 5));
	fini();
}
END_TEST

START_TEST(test_vsock_uds_slow_ones_are_cut)
{
	struct uds_conn *c, *e;
	unsigned ticks = 0;

	start(4);
	c = client(CLIENT_FD);
	while (fake_loop_io(&c->end, NULL, NULL) != FAKE_IO_CLOSE && fake_loop_expire(&r.d->timer))
		ticks++;
	ck_assert_uint_eq(ticks, UDS_PATIENCE);
	closed(c);
	/* and a guest that does not answer: it is told that nobody waits any more */
	e = client(CLIENT_FD + 1);
	says(e, "CONNECT 9\n");
	give(2);
	expect(OP(REQUEST), 9, e->host_port);
	for (ticks = 0; e->state != UDS_CLOSING && fake_loop_expire(&r.d->timer);)
		ticks++;
	ck_assert_uint_eq(ticks, UDS_PATIENCE);
	rig_turn(&r);
	expect(OP(RST), 9, e->host_port);
	closed(e);
	ck_assert_uint_eq(r.d->in_use, 0);
	ck_assert(!fake_loop_timer(&r.d->timer));
	ck_assert_uint_eq(r.d->counts.cut, 2);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_client_without_driver_is_cut)
{
	struct uds_conn *c;

	rig_init(&r, 4);
	c = client(CLIENT_FD);
	says(c, "CONNECT 52\n");
	closed(c);
	ck_assert_uint_eq(r.d->in_use, 0);
	fini();
}
END_TEST

/* ---- credit ---- */

START_TEST(test_vsock_uds_guest_beyond_its_credit)
{
	static uint8_t buf[4096];
	struct uds_conn *c;
	uint32_t left = UDS_CREDIT;

	start(4);
	c = open_from_guest(1234, 900);
	for (; left >= sizeof(buf); left -= sizeof(buf))
		send_data(1234, 7, buf, sizeof(buf));
	send_data(1234, 7, buf, left);
	ck_assert_uint_eq(c->tx_len, UDS_CREDIT);
	ck_assert_int_eq(c->state, UDS_OPEN);
	send_data(1234, 7, buf, 1);
	ck_assert_uint_eq(r.d->counts.overdrawn, 1);
	closed(c);
	give(1);
	expect(OP(RST), 1234, 7);
	ck_assert_uint_eq(r.d->in_use, 0);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_credit_comes_back)
{
	static uint8_t buf[4096];
	struct uds_conn *c;

	start(4);
	c = open_from_guest(1234, 900);
	for (unsigned i = 0; i < 5; i++)
		send_data(1234, 7, buf, sizeof(buf));
	give(1);
	expect_nothing();
	/* short writes: the rest follows, from behind */
	ck_assert(fake_loop_complete(&c->tx, 100));
	ck_assert_uint_eq(c->tx_len, 5 * sizeof(buf) - 100);
	ck_assert(fake_loop_complete(&c->tx, (int)(5 * sizeof(buf) - 100)));
	rig_turn(&r);
	expect(OP(CREDIT_UPDATE), 1234, 7);
	ck_assert_uint_eq(h.fwd_cnt, 5 * sizeof(buf));
	send_op(OP(CREDIT_REQUEST), 1234, 7, 0);
	give(1);
	expect(OP(CREDIT_UPDATE), 1234, 7);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_guest_credit_is_kept)
{
	static char big[5000];
	struct uds_conn *c;
	struct virtio_vsock_hdr u;

	start(4);
	memset(big, 'x', sizeof(big));
	c = open_from_guest(1234, 900);
	u = rig_hdr(OP(CREDIT_UPDATE), 1234, 7);
	u.buf_alloc = 3000;
	rig_put(&r, &u, NULL, 0);
	ck_assert(fake_loop_complete_read(&c->rx, big, sizeof(big)));
	give(4);
	expect(OP(RW), 1234, 7);
	ck_assert_uint_eq(h.len, 3000);
	expect(OP(CREDIT_REQUEST), 1234, 7);
	expect_nothing();
	ck_assert(!c->rx.busy); /* nothing more is read meanwhile */
	u.fwd_cnt = 1000;
	rig_put(&r, &u, NULL, 0);
	expect(OP(RW), 1234, 7);
	ck_assert_uint_eq(h.len, 1000);
	/* a guest that says nonsense gets nothing, and does no harm */
	u.fwd_cnt = 0x80000000;
	rig_put(&r, &u, NULL, 0);
	expect(OP(CREDIT_REQUEST), 1234, 7);
	expect_nothing();
	fini();
}
END_TEST

/* ---- ends ---- */

START_TEST(test_vsock_uds_half_close_by_the_guest)
{
	struct uds_conn *c;

	start(4);
	c = open_from_guest(1234, 900);
	send_data(1234, 7, "last", 4);
	send_op(OP(SHUTDOWN), 1234, 7, 2);
	/* not before what was said is written */
	ck_assert(!c->end.busy);
	hears(c, "last");
	ck_assert_int_eq(fake_loop_io(&c->end, NULL, NULL), FAKE_IO_SHUTDOWN);
	ck_assert_int_eq(fake_loop_place(&c->end).flags, SHUT_WR);
	ck_assert(fake_loop_complete(&c->end, 0));
	/* the other way goes on */
	give(2);
	says(c, "answer");
	expect(OP(RW), 1234, 7);
	ck_assert_uint_eq(h.len, 6);
	send_data(1234, 7, "more", 4);
	closed(c);
	expect(OP(RST), 1234, 7);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_guest_reads_no_more)
{
	struct uds_conn *c;

	start(4);
	c = open_from_guest(1234, 900);
	send_op(OP(SHUTDOWN), 1234, 7, 1);
	ck_assert(!c->rx.busy);
	ck_assert_int_eq(fake_loop_io(&c->end, NULL, NULL), FAKE_IO_SHUTDOWN);
	ck_assert_int_eq(fake_loop_place(&c->end).flags, SHUT_RD);
	/* a close while that is under way comes after it */
	send_op(OP(SHUTDOWN), 1234, 7, 2);
	ck_assert(fake_loop_complete(&c->end, 0));
	closed(c);
	give(1);
	expect(OP(RST), 1234, 7);
	ck_assert_uint_eq(r.d->in_use, 0);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_host_that_does_not_read)
{
	struct uds_conn *c;

	start(4);
	c = open_from_guest(1234, 900);
	send_data(1234, 7, "stays", 5);
	send_op(OP(SHUTDOWN), 1234, 7, 3);
	give(1);
	expect_nothing();
	/* the guest does not wait; what it said goes on, for a time */
	send_op(OP(RST), 1234, 7, 0);
	ck_assert_int_eq(c->state, UDS_LINGER_ON);
	ck_assert_int_eq(fake_loop_place(&c->end).flags, SHUT_RD);
	ck_assert(fake_loop_complete(&c->end, 0));
	/* its ports are free for another one */
	ck_assert_ptr_null(uds_find(r.d, 7, 1234));
	if (_i) {
		hears(c, "stays");
	} else {
		while (c->state == UDS_LINGER_ON && fake_loop_expire(&r.d->timer))
			;
	}
	ck_assert_uint_eq(r.d->counts.cut, !_i);
	closed(c);
	ck_assert_uint_eq(r.d->in_use, 0);
	expect_nothing();
	fini();
}
END_TEST

/* A connection that the guest has closed with @len bytes under way; @gone: and has not waited for their reader. */
static struct uds_conn *left_behind(uint32_t len, bool gone)
{
	static uint8_t buf[4096];
	struct uds_conn *c;

	for (uint32_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 7);
	start(4);
	c = open_from_guest(1234, 900);
	send_data(1234, 7, buf, len);
	send_op(OP(SHUTDOWN), 1234, 7, 3);
	ck_assert(fake_loop_complete(&c->end, 0));
	if (gone)
		send_op(OP(RST), 1234, 7, 0);
	ck_assert_int_eq(c->state, gone ? UDS_LINGER_ON : UDS_OPEN);
	return c;
}

/* Seconds, until the connection is closed or @most have gone by. */
static unsigned ticks_of(struct uds_conn *c, unsigned most)
{
	unsigned ticks = 0;

	while (ticks < most && c->state != UDS_CLOSING && fake_loop_expire(&r.d->timer))
		ticks++;
	return ticks;
}

/* 20 times as long as one that takes nothing has. */
START_TEST(test_vsock_uds_reader_that_goes_on_gets_all)
{
	struct uds_conn *c = left_behind(2000, _i);
	uint8_t buf[2000];
	unsigned had = 0;

	while (had < 2000) {
		ck_assert_uint_eq(ticks_of(c, UDS_LINGER - 1), UDS_LINGER - 1);
		ck_assert_uint_eq(fake_loop_peek_write(&c->tx, buf, sizeof(buf)), 2000 - had);
		ck_assert_uint_eq(buf[0], (uint8_t)(had * 7));
		ck_assert(fake_loop_complete(&c->tx, 100));
		had += 100;
	}
	closed(c);
	give(1);
	if (!_i)
		expect(OP(RST), 1234, 7);
	expect_nothing();
	ck_assert_uint_eq(r.d->in_use, 0);
	ck_assert_uint_eq(r.d->counts.cut, 0);
	fini();
}
END_TEST

/* But no place is held for ever by a byte now and then, nor longer by a guest that gives up meanwhile. */
START_TEST(test_vsock_uds_reader_that_crawls_is_cut)
{
	struct uds_conn *c = left_behind(4000, false);
	unsigned ticks = 0;

	while (c->state != UDS_CLOSING && ticks_of(c, 1)) {
		if (++ticks == 100 && _i)
			send_op(OP(RST), 1234, 7, 0);
		fake_loop_complete(&c->tx, 1);
	}
	ck_assert_uint_eq(ticks, UDS_LINGER_MOST);
	ck_assert_uint_eq(r.d->counts.cut, 1);
	closed(c);
	ck_assert(!fake_loop_timer(&r.d->timer));
	fini();
}
END_TEST

/* The kernel would call a write that waits when the reader is three quarters further, but takes some of a new one now. */
START_TEST(test_vsock_uds_reader_is_looked_at_each_second)
{
	struct uds_conn *c = left_behind(2000, _i);

	ck_assert_uint_eq(ticks_of(c, UDS_LINGER - 2), UDS_LINGER - 2);
	fake_loop_cancel_result(&c->tx, 500); /* it had just been done */
	ck_assert_uint_eq(ticks_of(c, UDS_LINGER), UDS_LINGER);
	ck_assert_uint_eq(fake_loop_peek_write(&c->tx, NULL, 0), 1500);
	ck_assert_uint_eq(ticks_of(c, UDS_LINGER), 1);
	ck_assert_uint_eq(r.d->counts.cut, 1);
	fini();
}
END_TEST

/* What was lost is said, and of what was taken in the last moment it is nothing. */
START_TEST(test_vsock_uds_what_is_lost_is_said)
{
	static const int taken[] = { -ECANCELED, 500, 2000 };
	static const char *const wants[] = { "1234 to 7, whose reader is too slow: 2000 bytes are lost\n", ": 1500 bytes", "" };
	struct uds_conn *c = left_behind(2000, true);
	char text[300] = "";
	int fd = memfd_create("log", MFD_CLOEXEC);

	log_init(fd, LOG_WARN, LOG_TEXT);
	ticks_of(c, UDS_LINGER - 1);
	fake_loop_cancel_result(&c->tx, taken[_i]);
	ck_assert_uint_eq(ticks_of(c, 1), 1);
	ck_assert_int_eq(c->state, UDS_CLOSING);
	log_init(STDERR_FILENO, LOG_WARN, LOG_TEXT);
	ck_assert_int_ge(pread(fd, text, sizeof(text) - 1, 0), 0);
	ck_assert_msg(*wants[_i] ? strstr(text, "vsock0: ") && strstr(text, wants[_i]) : !*text, "%s", text);
	ck_assert_uint_eq(r.d->counts.cut, _i < 2);
	close(fd);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_host_gone)
{
	struct uds_conn *c;

	start(4);
	c = open_from_guest(1234, 900);
	send_data(1234, 7, "x", 1);
	ck_assert(fake_loop_complete(&c->tx, -EPIPE));
	closed(c);
	give(1);
	expect(OP(RST), 1234, 7);
	ck_assert_uint_eq(r.d->in_use, 0);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_reset_closes_all_and_begins_anew)
{
	struct uds_conn *c, *e;

	start(4);
	c = open_from_guest(1234, 900);
	e = open_from_host(CLIENT_FD);
	send_op(OP(REQUEST), 77, 7, 0);
	fake_vdev_reset(r.v);
	ck_assert(!c->rx.busy && !e->rx.busy);
	closed(c);
	closed(e);
	ck_assert_uint_eq(r.d->in_use, 1);
	broker_says(-ENOENT);
	ck_assert_uint_eq(r.d->in_use, 0);
	ck_assert_int_eq(rig_start(&r, RING, BIT64(VIRTIO_RING_F_EVENT_IDX)), 0);
	open_from_guest(1234, 902);
	give(1);
	expect_nothing();
	fini();
}
END_TEST

/* ---- guests that mean harm ---- */

START_TEST(test_vsock_uds_no_room)
{
	start(2);
	open_from_guest(1, 900);
	open_from_guest(2, 901);
	send_op(OP(REQUEST), 3, 7, 0);
	give(1);
	expect(OP(RST), 3, 7);
	/* a client that was on its way is taken; the next one waits */
	client(CLIENT_FD);
	ck_assert_uint_eq(r.d->in_use, 3);
	ck_assert(!r.d->accept_io.busy);
	send_op(OP(RST), 1, 7, 0);
	send_op(OP(RST), 2, 7, 0);
	closed(by_fd(900) ? by_fd(900) : &r.d->conns[0]);
	closed(&r.d->conns[1]);
	ck_assert(r.d->accept_io.busy);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_foreign_packets_vanish)
{
	struct virtio_vsock_hdr p;

	start(4);
	p = rig_hdr(OP(REQUEST), 1, 2);
	p.src_cid = CID + 1;
	rig_put(&r, &p, NULL, 0);
	p = rig_hdr(OP(REQUEST), 1, 2);
	p.src_cid |= BIT64(32);
	rig_put(&r, &p, NULL, 0);
	p = rig_hdr(OP(REQUEST), 1, 2);
	p.dst_cid = 3;
	rig_put(&r, &p, NULL, 0);
	ck_assert_uint_eq(r.d->counts.foreign, 3);
	/* and another type is refused, with its own word */
	p = rig_hdr(OP(REQUEST), 1, 2);
	p.type = 2;
	rig_put(&r, &p, NULL, 0);
	give(2);
	ck_assert(rig_take(&r, &h, &data));
	ck_assert_uint_eq(h.op, OP(RST));
	ck_assert_uint_eq(h.type, 2);
	expect_nothing();
	ck_assert_uint_eq(r.d->in_use, 0);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_out_of_turn_is_reset)
{
	start(4);
	open_from_guest(1234, 900);
	send_op((uint16_t)_i, 1234, 7, 0);
	closed(&r.d->conns[0]);
	give(1);
	expect(OP(RST), 1234, 7);
	fini();
}
END_TEST

/* Answers to what nobody knows are bounded, and none is lost: the transmit queue waits. */
START_TEST(test_vsock_uds_strays_without_end)
{
	uint32_t id, len;
	unsigned taken = 0, answers = 0;

	start(4);
	for (unsigned i = 0; i < RING - 1; i++)
		send_op(OP(RW), i, i, 0);
	while (fake_ring_used(&r.ring[1], &id, &len))
		taken++;
	ck_assert_uint_eq(taken, UDS_STRAYS);
	for (unsigned i = 0; i < RING - 1; i++) {
		give(1);
		while (rig_take(&r, &h, &data)) {
			ck_assert_uint_eq(h.op, OP(RST));
			ck_assert_uint_eq(h.dst_port, answers++);
		}
	}
	ck_assert_uint_eq(answers, RING - 1);
	/* RST without end is not answered at all */
	for (unsigned i = 0; i < 20; i++)
		send_op(OP(RST), i, i, 0);
	give(1);
	expect_nothing();
	fini();
}
END_TEST

/* No control packet is lost where the receive queue is dry. */
START_TEST(test_vsock_uds_dry_receive_queue)
{
	unsigned seen = 0;

	start(40);
	for (uint32_t i = 0; i < 40; i++) {
		send_op(OP(REQUEST), 100 + i, 7, 0);
		broker_says(i & 1 ? (int)(900 + i) : -ENOENT);
	}
	for (uint32_t i = 0; i < 40; i++) {
		give(1);
		ck_assert(rig_take(&r, &h, &data));
		ck_assert_uint_eq(h.op, h.dst_port & 1 ? OP(RESPONSE) : OP(RST));
		seen++;
	}
	ck_assert_uint_eq(seen, 40);
	ck_assert_uint_eq(r.d->in_use, 20);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_bad_packets_need_reset)
{
	const struct fake_part parts[] = {
		{ TX_AT, HDR - 1, false }, { TX_AT, HDR + 3, false }, { TX_AT, HDR, true },
	};
	struct virtio_vsock_hdr p = rig_hdr(OP(RW), 1, 2);

	start(4);
	p.len = _i == 1 ? 4 : 0;
	memcpy(gmem_ptr(r.mem, TX_AT, HDR), &p, HDR);
	fake_ring_add(&r.ring[1], &parts[_i], 1);
	vdev_notify(r.v, 1);
	rig_turn(&r);
	ck_assert(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, RING, 0), 0);
	open_from_guest(1234, 900);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_bad_buffer_needs_reset)
{
	start(4);
	rig_give(&r, HDR);
	send_op(OP(RW), 1, 2, 0);
	rig_turn(&r);
	ck_assert(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_half_set_up_needs_reset)
{
	rig_init(&r, 4);
	fake_ring_init(&r.ring[0], r.mem, RAM, RING);
	fake_ring_give(&r.ring[0], r.v, 0);
	ck_assert_int_lt(fake_vdev_start(r.v, 0), 0);
	ck_assert(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fini();
}
END_TEST

/* ---- the host's trouble ---- */

START_TEST(test_vsock_uds_accept_without_descriptors_tries_later)
{
	start(4);
	ck_assert(fake_loop_complete(&r.d->accept_io, -EMFILE));
	ck_assert(!r.d->accept_io.busy);
	ck_assert(fake_loop_expire(&r.d->timer));
	ck_assert(r.d->accept_io.busy);
	ck_assert(fake_loop_complete(&r.d->accept_io, -ECONNABORTED));
	ck_assert(r.d->accept_io.busy);
	ck_assert(fake_loop_complete(&r.d->accept_io, -EINVAL));
	ck_assert(!r.d->accept_io.busy && r.d->deaf);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_broker_gone)
{
	start(4);
	send_op(OP(REQUEST), 1, 7, 0);
	send_op(OP(REQUEST), 2, 7, 0);
	ck_assert(fake_loop_complete(&r.d->broker.rx, 0));
	give(3);
	expect(OP(RST), 1, 7);
	expect(OP(RST), 2, 7);
	send_op(OP(REQUEST), 3, 7, 0);
	expect(OP(RST), 3, 7);
	ck_assert_uint_eq(r.d->in_use, 0);
	/* clients go on */
	open_from_host(CLIENT_FD);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_broker_that_lies)
{
	struct broker_reply reply = { .number = 12345 };
	struct msghdr *msg;

	start(4);
	send_op(OP(REQUEST), 1, 7, 0);
	msg = fake_loop_msg(&r.d->broker.rx);
	memcpy(msg->msg_iov[0].iov_base, &reply, sizeof(reply));
	msg->msg_controllen = 0;
	ck_assert(fake_loop_complete(&r.d->broker.rx, sizeof(reply)));
	ck_assert(r.d->broker.gone);
	give(1);
	expect(OP(RST), 1, 7);
	fini();
}
END_TEST

START_TEST(test_vsock_uds_not_made_where_the_loop_refuses)
{
	struct vsock_uds_cfg cfg = { .name = "vsock0", .cid = CID, .max_conns = 3 };
	struct vdev *v;
	struct err e;

	ck_assert_int_eq(loop_new(&cfg.loop), 0);
	ck_assert_int_eq(gmem_new(&cfg.mem), 0);
	cfg.listen_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	cfg.broker_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	fake_loop_fail_init(cfg.loop, (unsigned)_i, -ENOSPC);
	ck_assert_int_eq(vsock_uds_new(&cfg, &v, &e), -ENOSPC);
	ck_assert_int_eq(fcntl(cfg.listen_fd, F_GETFD), -1);
	ck_assert_int_eq(fcntl(cfg.broker_fd, F_GETFD), -1);
	loop_free(cfg.loop);
	gmem_free(cfg.mem);
}
END_TEST

START_TEST(test_vsock_uds_dump)
{
	char text[400] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	start(4);
	open_from_guest(1, 900);
	r.v->ops->dump(r.v, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "vsock0: connections 1 of 4; "));
	fini();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vsock_uds");
	TCase *t = tcase_create("vsock_uds");
	SRunner *sr;
	int failed;

	tcase_add_test(t, test_vsock_uds_from_host);
	tcase_add_test(t, test_vsock_uds_from_guest);
	tcase_add_test(t, test_vsock_uds_refused);
	tcase_add_test(t, test_vsock_uds_a_quarter_is_the_guests);
	tcase_add_test(t, test_vsock_uds_the_broker_is_asked_little_at_once);
	tcase_add_test(t, test_vsock_uds_reset_while_connecting);
	tcase_add_loop_test(t, test_vsock_uds_bad_lines_are_cut, 0, (int)ARRAY_LEN(bad_lines));
	tcase_add_test(t, test_vsock_uds_line_in_pieces_and_data_behind_it);
	tcase_add_test(t, test_vsock_uds_slow_ones_are_cut);
	tcase_add_test(t, test_vsock_uds_client_without_driver_is_cut);
	tcase_add_test(t, test_vsock_uds_guest_beyond_its_credit);
	tcase_add_test(t, test_vsock_uds_credit_comes_back);
	tcase_add_test(t, test_vsock_uds_guest_credit_is_kept);
	tcase_add_test(t, test_vsock_uds_half_close_by_the_guest);
	tcase_add_test(t, test_vsock_uds_guest_reads_no_more);
	tcase_add_loop_test(t, test_vsock_uds_host_that_does_not_read, 0, 2);
	tcase_add_loop_test(t, test_vsock_uds_reader_that_goes_on_gets_all, 0, 2);
	tcase_add_loop_test(t, test_vsock_uds_reader_that_crawls_is_cut, 0, 2);
	tcase_add_loop_test(t, test_vsock_uds_reader_is_looked_at_each_second, 0, 2);
	tcase_add_loop_test(t, test_vsock_uds_what_is_lost_is_said, 0, 3);
	tcase_add_test(t, test_vsock_uds_host_gone);
	tcase_add_test(t, test_vsock_uds_reset_closes_all_and_begins_anew);
	tcase_add_test(t, test_vsock_uds_no_room);
	tcase_add_test(t, test_vsock_uds_foreign_packets_vanish);
	tcase_add_loop_test(t, test_vsock_uds_out_of_turn_is_reset, OP(INVALID), OP(RESPONSE) + 1);
	tcase_add_test(t, test_vsock_uds_strays_without_end);
	tcase_add_test(t, test_vsock_uds_dry_receive_queue);
	tcase_add_loop_test(t, test_vsock_uds_bad_packets_need_reset, 0, 3);
	tcase_add_test(t, test_vsock_uds_bad_buffer_needs_reset);
	tcase_add_test(t, test_vsock_uds_half_set_up_needs_reset);
	tcase_add_test(t, test_vsock_uds_accept_without_descriptors_tries_later);
	tcase_add_test(t, test_vsock_uds_broker_gone);
	tcase_add_test(t, test_vsock_uds_broker_that_lies);
	tcase_add_loop_test(t, test_vsock_uds_not_made_where_the_loop_refuses, 0, 20);
	tcase_add_test(t, test_vsock_uds_dump);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
