// SPDX-License-Identifier: BSD-3-Clause
/* Packets by a stream socket: whole frames both ways, whatever is cut where, and the link's end. */
#include "tests/unit/net_rig.h"

#include <linux/if_ether.h>
#include <sys/socket.h>

#include "vmm/base/clock.h"

#define HDR NET_HDR_SIZE
#define LEN NET_STREAM_LEN
#define MAX NET_STREAM_FRAME_MAX

static struct rig r;
static int peer;
static uint8_t wire[4 * MAX], got[4 * MAX];

static struct net_stream *stream(void)
{
	return r.n->stream;
}

static void start(uint64_t without)
{
	rig_init_stream(&r, &peer);
	ck_assert_int_eq(rig_start(&r, r.v->offered & ~without, 2), 0);
}

static void fini(void)
{
	rig_fini(&r);
	close(peer);
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + seed * 7 + (i >> 8) + 1);
}

/* A frame of @len bytes as it is on the wire; how many bytes that is. */
static size_t put_frame(uint8_t *to, uint32_t len, unsigned seed)
{
	to[0] = (uint8_t)(len >> 24);
	to[1] = (uint8_t)(len >> 16);
	to[2] = (uint8_t)(len >> 8);
	to[3] = (uint8_t)len;
	fill(to + LEN, len, seed);
	return LEN + len;
}

static bool link_is_up(void)
{
	return vdev_config_read(r.v, offsetof(struct virtio_net_config, status), 2) & VIRTIO_NET_S_LINK_UP;
}

static bool reading(void)
{
	return fake_loop_io(&stream()->rx_io, NULL, NULL) == FAKE_IO_READV;
}

static bool writing(void)
{
	return fake_loop_io(&stream()->tx_io, NULL, NULL) == FAKE_IO_WRITEV;
}

static void comes(const uint8_t *p, size_t len)
{
	ck_assert(fake_loop_complete_read(&stream()->rx_io, p, len));
}

static void add_rx(gpa_t at, uint32_t len)
{
	const struct fake_part part = { at, len, true };

	fake_ring_add(&r.ring[0], &part, 1);
}

/* The next used buffer holds all of a frame of @len bytes made of @seed; it was put at @at. */
static void check_frame(gpa_t at, uint32_t len, unsigned seed)
{
	static uint8_t want[MAX];
	uint32_t id, used;
	uint16_t n;

	ck_assert(fake_ring_used(&r.ring[0], &id, &used));
	ck_assert_uint_eq(used, HDR + len);
	fill(want, len, seed);
	ck_assert_int_eq(gmem_read(r.mem, at, got, HDR + len), 0);
	memcpy(&n, got + offsetof(struct virtio_net_hdr_v1, num_buffers), 2);
	ck_assert_uint_eq(n, 1);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_uint_eq(got[i], 0);
	ck_assert(!memcmp(got + HDR, want, len));
}

/* ---- receive ---- */

START_TEST(test_net_stream_offers_nothing_of_a_tap)
{
	const uint64_t tap = F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4) | F(GUEST_TSO4) | F(GUEST_UFO) | F(CTRL_VQ) | F(MQ) | F(MTU);

	rig_init_stream(&r, &peer);
	ck_assert_uint_eq(r.v->offered & tap, 0);
	ck_assert_uint_eq(r.v->offered & (F(MAC) | F(STATUS) | F(MRG_RXBUF)), F(MAC) | F(STATUS) | F(MRG_RXBUF));
	ck_assert_uint_eq(r.v->nr_queues, 2);
	ck_assert(link_is_up());
	fini();
}
END_TEST

START_TEST(test_net_stream_rx_frames_cut_at_any_byte)
{
	size_t len, cut = (size_t)_i;

	start(0);
	add_rx(BUFFERS, 2000);
	add_rx(BUFFERS + 0x1000, 2000);
	add_rx(BUFFERS + 0x2000, 2000);
	rig_kick(&r, 0);
	len = put_frame(wire, 60, 1);
	len += put_frame(wire + len, 14, 2);
	len += put_frame(wire + len, 100, 3);
	ck_assert_uint_gt(len, cut);
	comes(wire, cut);
	comes(wire + cut, len - cut);
	check_frame(BUFFERS, 60, 1);
	check_frame(BUFFERS + 0x1000, 14, 2);
	check_frame(BUFFERS + 0x2000, 100, 3);
	ck_assert(reading() && link_is_up());
	fini();
}
END_TEST

START_TEST(test_net_stream_rx_merged_buffers)
{
	uint32_t id, used;
	uint16_t n;

	start(0);
	for (unsigned i = 0; i < 4; i++)
		add_rx(BUFFERS + i * 0x1000, 100);
	comes(wire, put_frame(wire, 250 - HDR, 1));
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(fake_ring_used(&r.ring[0], &id, &used));
		ck_assert_uint_eq(id, i);
		ck_assert_uint_eq(used, i < 2 ? 100 : 50);
		ck_assert_int_eq(gmem_read(r.mem, BUFFERS + i * 0x1000, got + 100 * i, used), 0);
	}
	ck_assert(!memcmp(got + HDR, wire + LEN, 250 - HDR));
	memcpy(&n, got + 10, 2);
	ck_assert_uint_eq(n, 3);
	ck_assert(!fake_ring_used(&r.ring[0], &id, &used));
	fini();
}
END_TEST

/* The header may be cut anywhere. */
START_TEST(test_net_stream_rx_header_split_over_parts)
{
	const struct fake_part parts[] = { { BUFFERS, (uint32_t)_i, true }, { BUFFERS + 0x1000, 1, true }, { BUFFERS + 0x2000, 200, true } };
	uint8_t want[HDR + 80] = { [10] = 1 };
	size_t n = (size_t)_i;
	uint32_t id, used;

	start(0);
	fake_ring_add(&r.ring[0], parts, 3);
	comes(wire, put_frame(wire, 80, 5));
	ck_assert(fake_ring_used(&r.ring[0], &id, &used) && used == HDR + 80);
	ck_assert_int_eq(gmem_read(r.mem, BUFFERS, got, n), 0);
	ck_assert_int_eq(gmem_read(r.mem, BUFFERS + 0x1000, got + n, 1), 0);
	ck_assert_int_eq(gmem_read(r.mem, BUFFERS + 0x2000, got + n + 1, 200), 0);
	fill(want + HDR, 80, 5);
	ck_assert(!memcmp(got, want, sizeof(want)));
	fini();
}
END_TEST

START_TEST(test_net_stream_rx_too_large_for_one_buffer_is_dropped_without_mrg)
{
	start(F(MRG_RXBUF));
	add_rx(BUFFERS, 100);
	add_rx(BUFFERS + 0x1000, 100);
	comes(wire, put_frame(wire, 101 - HDR, 1));
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 0);
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 1);
	comes(wire, put_frame(wire, 100 - HDR, 2));
	check_frame(BUFFERS, 100 - HDR, 2);
	fini();
}
END_TEST

/* All buffers of the ring together are too few: nothing would ever change that. */
START_TEST(test_net_stream_rx_too_large_for_the_ring_is_dropped)
{
	start(0);
	for (unsigned i = 0; i < NET_QUEUE_SIZE; i++)
		add_rx(BUFFERS + i * 16, 12);
	comes(wire, put_frame(wire, NET_QUEUE_SIZE * 12, 1));
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 1);
	comes(wire, put_frame(wire, NET_QUEUE_SIZE * 12 - HDR, 1));
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), NET_QUEUE_SIZE);
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 1);
	fini();
}
END_TEST

/* Does the loop have to look at the receive queue, without a kick of the driver's? */
static bool rx_is_notified(void)
{
	struct pollfd p = { .fd = vdev_kick_fd(r.v, 0), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

START_TEST(test_net_stream_rx_waits_for_buffers)
{
	size_t len = 0;

	start(_i ? BIT64(VIRTIO_RING_F_EVENT_IDX) : 0);
	len += put_frame(wire, 500, 1);
	len += put_frame(wire + len, 600, 2);
	comes(wire, len);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 0);
	ck_assert(stream()->stalled && reading());
	ck_assert(!rx_is_notified());
	/* the first of two that it takes */
	add_rx(BUFFERS, 300);
	rig_kick(&r, 0);
	ck_assert(stream()->stalled);
	/* a buffer that is not enough is no reason to look again before the driver says so; and it will */
	ck_assert(!rx_is_notified());
	if (_i) /* without the event index */
		ck_assert_uint_eq(fake_ring_used_flags(&r.ring[0]), 0);
	else
		ck_assert_uint_eq(fake_ring_avail_event(&r.ring[0]), 1);
	add_rx(BUFFERS + 300, 212);
	rig_kick(&r, 0);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 2);
	ck_assert(stream()->stalled);
	/* what comes meanwhile stands behind */
	comes(wire, put_frame(wire, 700, 3));
	r.ring[0].used_idx = 2;
	add_rx(BUFFERS + 0x1000, 2000);
	add_rx(BUFFERS + 0x2000, 2000);
	rig_kick(&r, 0);
	check_frame(BUFFERS + 0x1000, 600, 2);
	check_frame(BUFFERS + 0x2000, 700, 3);
	ck_assert(!stream()->stalled && !r.n->limit[NET_RX].dropped);
	if (_i) /* who does not wait wants no kicks */
		ck_assert_uint_eq(fake_ring_used_flags(&r.ring[0]), VRING_USED_F_NO_NOTIFY);
	fini();
}
END_TEST

START_TEST(test_net_stream_rx_buffer_is_all_that_is_kept)
{
	size_t total = 0;

	start(0);
	while (reading()) {
		const struct iovec *iov;
		unsigned n;

		ck_assert_int_eq(fake_loop_io(&stream()->rx_io, &iov, &n), FAKE_IO_READV);
		ck_assert_uint_le(iov->iov_len, NET_STREAM_BUFFER - total);
		if (!(total % 1004))
			put_frame(wire, 1000, 1);
		n = iov->iov_len < 251 ? (unsigned)iov->iov_len : 251;
		comes(wire + total % 1004, n);
		total += n;
	}
	ck_assert_uint_eq(total, NET_STREAM_BUFFER);
	/* and it goes on */
	add_rx(BUFFERS, 2000);
	rig_kick(&r, 0);
	check_frame(BUFFERS, 1000, 1);
	ck_assert(reading());
	fini();
}
END_TEST

START_TEST(test_net_stream_rx_largest_frame)
{
	start(0);
	add_rx(BUFFERS, HDR + MAX);
	comes(wire, put_frame(wire, MAX, 1));
	check_frame(BUFFERS, MAX, 1);
	ck_assert(link_is_up());
	fini();
}
END_TEST

START_TEST(test_net_stream_rx_lengths_of_no_frame_end_the_link)
{
	static const uint32_t lens[] = { 0, 1, 13, MAX + 1, 0x20000, 0x7fffffff, 0x80000000, 0xffffffff };
	size_t len;

	start(0);
	add_rx(BUFFERS, 2000);
	len = put_frame(wire, 60, 1);
	for (unsigned i = 0; i < 4; i++)
		wire[len++] = (uint8_t)(lens[_i] >> (24 - 8 * i));
	comes(wire, len);
	check_frame(BUFFERS, 60, 1);
	ck_assert(!link_is_up() && !reading());
	ck_assert_uint_eq(r.config_irqs, 1);
	ck_assert(!rig_needs_reset(&r));
	fini();
}
END_TEST

/* The peer has closed (0), or the socket failed; then there is nothing but frames dropped, across resets as well. */
START_TEST(test_net_stream_end_of_the_peer_ends_the_link)
{
	const struct fake_part out = { BUFFERS, 100, false };
	uint32_t id, used;

	start(0);
	ck_assert(fake_loop_complete(&stream()->rx_io, _i ? -ECONNRESET : 0));
	ck_assert(!link_is_up() && !reading());
	ck_assert_uint_eq(r.config_irqs, 1);
	for (unsigned life = 0; life < 2; life++) {
		for (unsigned i = 0; i < 3; i++)
			fake_ring_add(&r.ring[1], &out, 1);
		add_rx(BUFFERS + 0x1000, 2000);
		rig_kick(&r, 1);
		rig_kick(&r, 0);
		for (unsigned i = 0; i < 3; i++)
			ck_assert(fake_ring_used(&r.ring[1], &id, &used) && !used);
		ck_assert(!writing() && !reading());
		ck_assert_uint_eq(r.n->limit[NET_TX].dropped, 3 * (life + 1));
		fake_vdev_reset(r.v);
		ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
		ck_assert(!link_is_up());
	}
	ck_assert_uint_eq(r.config_irqs, 1);
	fini();
}
END_TEST

START_TEST(test_net_stream_interrupted_transfers_go_on)
{
	const struct fake_part out = { BUFFERS, 100, false };

	start(0);
	ck_assert(fake_loop_complete(&stream()->rx_io, _i ? -EINTR : -ECANCELED));
	ck_assert(reading() && link_is_up());
	fake_ring_add(&r.ring[1], &out, 1);
	rig_kick(&r, 1);
	ck_assert(fake_loop_complete(&stream()->tx_io, _i ? -EINTR : -ECANCELED));
	ck_assert_uint_eq(fake_loop_peek_write(&stream()->tx_io, got, sizeof(got)), LEN + 100 - HDR);
	ck_assert(link_is_up());
	fini();
}
END_TEST

START_TEST(test_net_stream_rx_without_a_driver_is_dropped)
{
	size_t len;

	rig_init_stream(&r, &peer);
	len = put_frame(wire, 60, 1);
	comes(wire, len + put_frame(wire + len, 61, 1) - 7);
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 1);
	/* the driver's first frame is the one whose end comes with it there */
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	add_rx(BUFFERS, 2000);
	comes(wire + 2 * len + 1 - 7, 7);
	check_frame(BUFFERS, 61, 1);
	fini();
}
END_TEST

START_TEST(test_net_stream_rx_bad_buffer_needs_reset)
{
	static const struct fake_part bad[][2] = {
		{ { BUFFERS, 100, false }, { BUFFERS, 100, true } },
		{ { BUFFERS, 4, true }, { BUFFERS, 7, true } },
		{ { BUFFERS, 100, true }, { RAM + RAM_SIZE, 100, true } },
	};

	start(0);
	add_rx(BUFFERS, 30);
	fake_ring_add(&r.ring[0], bad[_i], 2);
	comes(wire, put_frame(wire, 60, 1));
	ck_assert(rig_needs_reset(&r) && link_is_up());
	comes(wire, put_frame(wire, 60, 1));
	ck_assert_uint_eq(r.v->faults, 1);
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 2);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	add_rx(BUFFERS, 100);
	comes(wire, put_frame(wire, 60, 2));
	check_frame(BUFFERS, 60, 2);
	fini();
}
END_TEST

/* ---- transmit ---- */

/* A packet of @len bytes of frame at @at, its header of zeroes. */
static void add_tx(gpa_t at, uint32_t len, unsigned seed)
{
	const struct fake_part part = { at, HDR + len, false };

	memset(got, 0, HDR);
	fill(got + HDR, len, seed);
	ck_assert_int_eq(gmem_write(r.mem, at, got, HDR + len), 0);
	fake_ring_add(&r.ring[1], &part, 1);
}

START_TEST(test_net_stream_tx_frames_have_their_length)
{
	const struct fake_part parts[] = { { BUFFERS, 5, false }, { BUFFERS + 5, 9, false }, { BUFFERS + 14, 58, false } };
	size_t len = put_frame(wire, 60, 1);
	uint32_t id, used;

	start(0);
	memset(got, 0, HDR);
	fill(got + HDR, 60, 1);
	ck_assert_int_eq(gmem_write(r.mem, BUFFERS, got, HDR + 60), 0);
	fake_ring_add(&r.ring[1], parts, 3);
	add_tx(BUFFERS + 0x1000, 1000, 2);
	len += put_frame(wire + len, 1000, 2);
	rig_kick(&r, 1);
	ck_assert_uint_eq(fake_loop_peek_write(&stream()->tx_io, got, sizeof(got)), len);
	ck_assert(!memcmp(got, wire, len));
	/* the driver has its buffers back at once: the copy is what is sent */
	ck_assert(fake_ring_used(&r.ring[1], &id, &used) && id == 0 && !used);
	ck_assert(fake_ring_used(&r.ring[1], &id, &used) && id == 3 && !used);
	ck_assert_uint_eq(r.irqs[1], 1);
	ck_assert(fake_loop_complete(&stream()->tx_io, (int)len));
	ck_assert(!writing());
	fini();
}
END_TEST

START_TEST(test_net_stream_tx_short_write_goes_on_at_any_byte)
{
	size_t len = put_frame(wire, 30, 1), done = (size_t)_i;

	start(0);
	add_tx(BUFFERS, 30, 1);
	add_tx(BUFFERS + 0x1000, 20, 2);
	len += put_frame(wire + len, 20, 2);
	rig_kick(&r, 1);
	ck_assert(fake_loop_complete(&stream()->tx_io, (int)done));
	/* another one joins behind */
	add_tx(BUFFERS + 0x2000, 40, 3);
	rig_kick(&r, 1);
	ck_assert_uint_eq(fake_loop_peek_write(&stream()->tx_io, got, sizeof(got)), len - done);
	ck_assert(!memcmp(got, wire + done, len - done));
	ck_assert(fake_loop_complete(&stream()->tx_io, (int)(len - done)));
	len = put_frame(wire, 40, 3);
	ck_assert_uint_eq(fake_loop_peek_write(&stream()->tx_io, got, sizeof(got)), len);
	ck_assert(!memcmp(got, wire, len));
	fini();
}
END_TEST

/* A peer that reads nothing: the buffer fills up, then the ring; nothing is lost. */
START_TEST(test_net_stream_tx_waits_for_the_peer)
{
	const unsigned n = 200;
	size_t sent = 0, want = 0;

	start(0);
	for (unsigned i = 0; i < n; i++) {
		add_tx(BUFFERS, 1500, 7);
		rig_kick(&r, 1);
	}
	ck_assert_uint_lt(fake_ring_used_idx(&r.ring[1]), n);
	ck_assert_uint_gt(fake_ring_used_idx(&r.ring[1]), 30);
	want = n * (LEN + 1500);
	put_frame(wire, 1500, 7);
	while (writing()) {
		size_t len = fake_loop_peek_write(&stream()->tx_io, got, sizeof(got));

		ck_assert_uint_le(len, NET_STREAM_BUFFER);
		for (size_t i = 0; i < len; i++, sent++)
			ck_assert_uint_eq(got[i], wire[sent % (LEN + 1500)]);
		ck_assert(fake_loop_complete(&stream()->tx_io, (int)len));
		fake_loop_turn(r.loop);
	}
	ck_assert_uint_eq(sent, want);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[1]), n);
	fini();
}
END_TEST

START_TEST(test_net_stream_tx_what_is_no_frame_is_dropped)
{
	static const struct { uint32_t len; uint8_t flags, gso; } bad[] = {
		{ HDR - 1, 0, 0 }, { HDR, 0, 0 }, { HDR + 13, 0, 0 }, { HDR + MAX + 1, 0, 0 },
		{ HDR + 60, VIRTIO_NET_HDR_F_NEEDS_CSUM, 0 }, { HDR + 60, 0, VIRTIO_NET_HDR_GSO_TCPV4 },
		{ HDR + 60, 0, VIRTIO_NET_HDR_GSO_UDP_L4 }, { HDR + 60, 0, 0xff },
	};
	uint32_t id, used;

	start(0);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		const uint8_t h[2] = { bad[i].flags, bad[i].gso };
		const struct fake_part part = { BUFFERS, bad[i].len, false };

		ck_assert_int_eq(gmem_write(r.mem, BUFFERS, h, 2), 0);
		fake_ring_add(&r.ring[1], &part, 1);
		rig_kick(&r, 1);
		ck_assert(!writing());
		ck_assert(fake_ring_used(&r.ring[1], &id, &used) && !used);
		ck_assert_uint_eq(r.n->limit[NET_TX].dropped, i + 1);
	}
	add_tx(BUFFERS, MAX, 1);
	rig_kick(&r, 1);
	ck_assert_uint_eq(fake_loop_peek_write(&stream()->tx_io, got, sizeof(got)), LEN + MAX);
	ck_assert(!rig_needs_reset(&r));
	fini();
}
END_TEST

START_TEST(test_net_stream_tx_broken_ring_needs_reset)
{
	start(0);
	fake_ring_desc(&r.ring[1], 0, BUFFERS, 100, VRING_DESC_F_NEXT, 0);
	fake_ring_put(&r.ring[1], 0);
	fake_ring_show(&r.ring[1]);
	rig_kick(&r, 1);
	ck_assert(rig_needs_reset(&r) && link_is_up() && reading());
	fini();
}
END_TEST

START_TEST(test_net_stream_tx_failure_ends_the_link)
{
	start(0);
	add_tx(BUFFERS, 60, 1);
	rig_kick(&r, 1);
	ck_assert(fake_loop_complete(&stream()->tx_io, _i ? -EPIPE : 0));
	ck_assert(!writing() && !link_is_up());
	/* what was read before is of no use any more */
	comes(wire, put_frame(wire, 60, 1));
	ck_assert(!reading());
	fini();
}
END_TEST

/* A frame that is half out, and one that is half in, are finished after the reset. */
START_TEST(test_net_stream_reset_keeps_the_place_in_the_stream)
{
	size_t len, out;

	start(0);
	add_tx(BUFFERS, 500, 1);
	rig_kick(&r, 1);
	ck_assert(fake_loop_complete(&stream()->tx_io, 100));
	len = put_frame(wire, 300, 2);
	comes(wire, 200);
	fake_vdev_reset(r.v);
	out = put_frame(wire + len, 500, 1);
	ck_assert_uint_eq(fake_loop_peek_write(&stream()->tx_io, got, sizeof(got)), out - 100);
	ck_assert(!memcmp(got, wire + len + 100, out - 100));
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	add_rx(BUFFERS, 2000);
	add_rx(BUFFERS + 0x1000, 2000);
	comes(wire + 200, len - 200);
	check_frame(BUFFERS, 300, 2);
	ck_assert(fake_loop_complete(&stream()->tx_io, (int)(out - 100)));
	comes(wire, put_frame(wire, 77, 9));
	check_frame(BUFFERS + 0x1000, 77, 9);
	fini();
}
END_TEST

/* A reset of a card that waits for buffers with all of its own full: it reads again. */
START_TEST(test_net_stream_reset_empties_what_was_stalled)
{
	start(0);
	memset(wire, 0, sizeof(wire));
	while (reading())
		comes(wire, put_frame(wire, 65000, 1));
	fake_vdev_reset(r.v);
	ck_assert(reading() && !stream()->stalled);
	ck_assert_uint_gt(r.n->limit[NET_RX].dropped, 0);
	fini();
}
END_TEST

/* ---- with a peer ---- */

/* What io_uring would do: transfers that can be done now, in parts of odd lengths. */
static bool move(unsigned seed)
{
	const struct iovec *iov;
	bool moved = false;
	unsigned n;
	ssize_t res;

	if (fake_loop_io(&stream()->rx_io, &iov, &n) != FAKE_IO_NONE) {
		res = recv(stream()->fd, iov->iov_base, seed % 3 ? iov->iov_len : 1 + seed % iov->iov_len, MSG_DONTWAIT);
		if (res >= 0 || errno != EAGAIN)
			moved = fake_loop_complete(&stream()->rx_io, res < 0 ? -errno : (int)res);
	}
	if (fake_loop_io(&stream()->tx_io, &iov, &n) != FAKE_IO_NONE) {
		res = send(stream()->fd, iov->iov_base, seed % 5 ? iov->iov_len : 1 + seed % iov->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (res >= 0 || errno != EAGAIN)
			moved = fake_loop_complete(&stream()->tx_io, res < 0 ? -errno : (int)res) || moved;
	}
	return moved;
}

/* Frames go out and come back, by a peer that hands back what it reads; then it is gone. */
START_TEST(test_net_stream_peer_that_echoes)
{
	enum { N = 4000 };
	unsigned sent = 0, back = 0, seed = 1, idle = 0;
	uint32_t id, used, lens[N];

	start(0);
	for (unsigned i = 0; i < 64; i++)
		add_rx(BUFFERS + i * 0x1000, 0x1000);
	while (back < N && idle < 1000) {
		static uint8_t hand[100000];
		static size_t held;
		ssize_t res;

		seed = seed * 1103515245 + 12345;
		while (sent < N && sent - back < 40) {
			lens[sent] = ETH_HLEN + (seed >> 8) % 3000;
			add_tx(BUFFERS + 0x80000 + (gpa_t)(sent % 64) * 0x1000, lens[sent], sent);
			sent++;
			rig_kick(&r, 1);
		}
		idle = move(seed >> 4) ? 0 : idle + 1;
		res = recv(peer, hand + held, sizeof(hand) - held, MSG_DONTWAIT);
		held += res > 0 ? (size_t)res : 0;
		res = send(peer, hand, held, MSG_DONTWAIT);
		if (res > 0) {
			memmove(hand, hand + res, held - (size_t)res);
			held -= (size_t)res;
		}
		while (fake_ring_used(&r.ring[0], &id, &used)) {
			static uint8_t want[4000];
			gpa_t at = BUFFERS + (back % 64) * 0x1000;

			ck_assert_uint_eq(used, HDR + lens[back]);
			ck_assert_int_eq(gmem_read(r.mem, at, got, used), 0);
			fill(want, lens[back], back);
			ck_assert(!memcmp(got + HDR, want, lens[back]));
			back++;
			add_rx(at, 0x1000);
			rig_kick(&r, 0);
		}
	}
	ck_assert_uint_eq(back, N);
	close(peer);
	peer = -1;
	ck_assert(move(1));
	ck_assert(!link_is_up());
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped + r.n->limit[NET_TX].dropped, 0);
	fini();
}
END_TEST

START_TEST(test_net_stream_that_cannot_be_made_closes_its_socket)
{
	struct net_cfg cfg = { .name = "net0", .peer = "peer" };
	struct err e;
	int s[2];

	rig_init_bare(&r, 1);
	close(fv.tap_fd[0]);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	cfg.loop = r.loop;
	cfg.mem = r.mem;
	cfg.stream_fd = s[0];
	for (unsigned i = 0; i < NET_MAX_PAIRS; i++)
		cfg.vhost_fds[i] = -1;
	fake_loop_fail_init(r.loop, (unsigned)_i, -ENOSPC);
	ck_assert_int_eq(net_new(&cfg, &r.v, &e), -ENOSPC);
	ck_assert_int_eq(recv(s[1], got, 1, MSG_DONTWAIT), 0);
	r.v = NULL;
	close(s[1]);
	rig_fini(&r);
}
END_TEST

/* ---- limits ---- */

#define FEW 10 /* frames of 100 bytes a second: two or three of them at once */
static const struct { uint64_t iops, bps; } few[] = { { FEW, 0 }, { 0, 100 * FEW } };

static void start_limited(uint64_t iops, uint64_t bps)
{
	rig_init_stream_limited(&r, &peer, iops, bps);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
}

static unsigned used(unsigned q)
{
	uint32_t id, len;
	unsigned n = 0;

	while (fake_ring_used(&r.ring[q], &id, &len))
		n++;
	return n;
}

/* Kicks do not help, time does. */
static unsigned time_passes(unsigned way)
{
	rig_kick(&r, way);
	ck_assert_uint_eq(used(way), 0);
	ck_assert_uint_gt(fake_loop_timer(&r.n->limit[way].again), 0);
	ck_assert_uint_le(fake_loop_timer(&r.n->limit[way].again), NS_PER_SEC / 5);
	usleep(110000);
	ck_assert(fake_loop_expire(&r.n->limit[way].again));
	return used(way);
}

START_TEST(test_net_stream_rx_limit_keeps_frames_in_the_buffer)
{
	uint64_t begin = clock_now_ns();
	unsigned n, more;
	size_t len = 0;

	start_limited(few[_i].iops, few[_i].bps);
	for (unsigned i = 0; i < 60; i++) {
		add_rx(BUFFERS + 0x1000 * i, 0x1000);
		len += put_frame(wire + len, 100, i);
	}
	comes(wire, len);
	n = used(NET_RX);
	ck_assert_uint_ge(n, 2);
	for (unsigned turn = 0; turn < 5; turn++) {
		/* the peer is read on, as far as there is room */
		ck_assert(reading());
		more = time_passes(NET_RX);
		ck_assert_uint_ge(more, 1);
		n += more;
		ck_assert_uint_le(n, 4 + (clock_now_ns() - begin) * FEW / NS_PER_SEC);
	}
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 0);
	/* without a driver all of it is dropped, at once */
	fake_vdev_reset(r.v);
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 60 - n);
	ck_assert(!fake_loop_expire(&r.n->limit[NET_RX].again));
	fini();
}
END_TEST

START_TEST(test_net_stream_tx_limit_makes_frames_wait_in_the_ring)
{
	uint64_t begin = clock_now_ns();
	unsigned n, more;

	start_limited(few[_i].iops, few[_i].bps);
	for (unsigned i = 0; i < 100; i++)
		add_tx(BUFFERS + 0x100 * i, 100, i);
	rig_kick(&r, 1);
	n = used(NET_TX);
	ck_assert_uint_ge(n, 2);
	for (unsigned turn = 0; turn < 5; turn++) {
		ck_assert_uint_eq(fake_loop_peek_write(&stream()->tx_io, got, sizeof(got)) % (LEN + 100), 0);
		fake_loop_complete(&stream()->tx_io, (int)fake_loop_peek_write(&stream()->tx_io, got, sizeof(got)));
		more = time_passes(NET_TX);
		ck_assert_uint_ge(more, 1);
		n += more;
		ck_assert_uint_le(n, 4 + (clock_now_ns() - begin) * FEW / NS_PER_SEC);
	}
	ck_assert_uint_eq(r.n->limit[NET_TX].dropped, 0);
	/* a link that is down has nothing to wait for */
	ck_assert(fake_loop_complete(&stream()->rx_io, 0));
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(r.n->limit[NET_TX].dropped, 100 - n);
	ck_assert_uint_eq(used(NET_TX), 100 - n);
	fini();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net_stream");
	TCase *t = tcase_create("rx");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_net_stream_offers_nothing_of_a_tap);
	tcase_add_loop_test(t, test_net_stream_rx_frames_cut_at_any_byte, 1, 3 * LEN + 174);
	tcase_add_test(t, test_net_stream_rx_merged_buffers);
	tcase_add_loop_test(t, test_net_stream_rx_header_split_over_parts, 1, 13);
	tcase_add_test(t, test_net_stream_rx_too_large_for_one_buffer_is_dropped_without_mrg);
	tcase_add_test(t, test_net_stream_rx_too_large_for_the_ring_is_dropped);
	tcase_add_loop_test(t, test_net_stream_rx_waits_for_buffers, 0, 2);
	tcase_add_test(t, test_net_stream_rx_buffer_is_all_that_is_kept);
	tcase_add_test(t, test_net_stream_rx_largest_frame);
	tcase_add_loop_test(t, test_net_stream_rx_lengths_of_no_frame_end_the_link, 0, 8);
	tcase_add_loop_test(t, test_net_stream_end_of_the_peer_ends_the_link, 0, 2);
	tcase_add_loop_test(t, test_net_stream_interrupted_transfers_go_on, 0, 2);
	tcase_add_test(t, test_net_stream_rx_without_a_driver_is_dropped);
	tcase_add_loop_test(t, test_net_stream_rx_bad_buffer_needs_reset, 0, 3);
	suite_add_tcase(s, t);
	t = tcase_create("tx");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_net_stream_tx_frames_have_their_length);
	tcase_add_loop_test(t, test_net_stream_tx_short_write_goes_on_at_any_byte, 1, 58);
	tcase_add_test(t, test_net_stream_tx_waits_for_the_peer);
	tcase_add_test(t, test_net_stream_tx_what_is_no_frame_is_dropped);
	tcase_add_test(t, test_net_stream_tx_broken_ring_needs_reset);
	tcase_add_loop_test(t, test_net_stream_tx_failure_ends_the_link, 0, 2);
	tcase_add_test(t, test_net_stream_reset_keeps_the_place_in_the_stream);
	tcase_add_test(t, test_net_stream_reset_empties_what_was_stalled);
	tcase_add_test(t, test_net_stream_peer_that_echoes);
	tcase_add_loop_test(t, test_net_stream_that_cannot_be_made_closes_its_socket, 0, 4);
	tcase_add_loop_test(t, test_net_stream_rx_limit_keeps_frames_in_the_buffer, 0, ARRAY_LEN(few));
	tcase_add_loop_test(t, test_net_stream_tx_limit_makes_frames_wait_in_the_ring, 0, ARRAY_LEN(few));
	suite_add_tcase(s, t);
	return rig_run_suite(s);
}
