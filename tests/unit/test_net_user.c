// SPDX-License-Identifier: BSD-3-Clause
/* Packets on the event loop: what reaches the tap, what reaches the guest, and nothing else. */
#include "tests/unit/net_rig.h"

#include <linux/if_ether.h>

#include "vmm/base/clock.h"

#define PACKET_MAX 70000
#define HDR NET_HDR_SIZE
#define MIN_PACKET (HDR + ETH_HLEN)

static uint8_t packet[PACKET_MAX], got[PACKET_MAX];

static struct net_user *user(struct rig *r)
{
	return r->n->pair[0].user;
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + seed * 7 + 1);
}

static void start(struct rig *r, uint64_t without)
{
	rig_init(r, 1, false);
	ck_assert_int_eq(rig_start(r, r->v->offered & ~without, 2), 0);
}

/* ---- receive ---- */

static void add_rx(struct rig *r, gpa_t at, uint32_t len)
{
	const struct fake_part part = { at, len, true };

	fake_ring_add(&r->ring[0], &part, 1);
}

static void receive(struct rig *r, size_t len, unsigned seed)
{
	fill(packet, len, seed);
	memset(packet, 0, HDR);
	ck_assert(fake_loop_complete_read(&user(r)->rx.io, packet, len));
}

static unsigned num_buffers(struct rig *r, gpa_t header)
{
	uint16_t n;

	ck_assert_int_eq(gmem_read(r->mem, header + 10, &n, 2), 0);
	return n;
}

static void check_bytes(struct rig *r, gpa_t at, size_t from, size_t len)
{
	ck_assert_int_eq(gmem_read(r->mem, at, got, len), 0);
	ck_assert(!memcmp(got, packet + from, len));
}

static void check_used(struct fake_ring *ring, uint32_t want_id, uint32_t want_len)
{
	uint32_t id, len;

	ck_assert(fake_ring_used(ring, &id, &len));
	ck_assert_uint_eq(id, want_id);
	ck_assert_uint_eq(len, want_len);
}

static bool reading(struct rig *r)
{
	return fake_loop_io(&user(r)->rx.io, NULL, NULL) == FAKE_IO_READV;
}

START_TEST(test_net_user_rx_merged_buffers)
{
	struct rig r;

	start(&r, BIT64(VIRTIO_RING_F_EVENT_IDX));
	for (unsigned i = 0; i < 4; i++)
		add_rx(&r, BUFFERS + i * 0x1000, 100);
	rig_kick(&r, 0);
	receive(&r, 250, 1);
	check_used(&r.ring[0], 0, 100);
	check_used(&r.ring[0], 1, 100);
	check_used(&r.ring[0], 2, 50);
	ck_assert_uint_eq(num_buffers(&r, BUFFERS), 3);
	check_bytes(&r, BUFFERS + HDR, HDR, 100 - HDR);
	check_bytes(&r, BUFFERS + 0x1000, 100, 100);
	check_bytes(&r, BUFFERS + 0x2000, 200, 50);
	ck_assert_uint_eq(r.irqs[0], 1);
	/* The fourth is still there for the next. */
	receive(&r, 60, 2);
	check_used(&r.ring[0], 3, 60);
	ck_assert_uint_eq(num_buffers(&r, BUFFERS + 0x3000), 1);
	check_bytes(&r, BUFFERS + 0x3000 + HDR, HDR, 60 - HDR);
	ck_assert(!reading(&r));
	rig_fini(&r);
}
END_TEST

/* Overlapping parts make chains that together are longer than 32 bits can count. */
START_TEST(test_net_user_rx_lengths_beyond_32_bits)
{
	const gpa_t more = RAM + GIB;
	const uint32_t part_len = 32 * MIB;
	struct fake_part parts[128];
	struct rig r;

	start(&r, 0);
	ck_assert_int_eq(gmem_add(r.mem, more, part_len, false), 0);
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		parts[i] = (struct fake_part){ more, part_len, true };
	parts[127].len--;
	add_rx(&r, BUFFERS, HDR);
	fake_ring_add(&r.ring[0], parts, ARRAY_LEN(parts)); /* 2^32 - 1 bytes */
	rig_kick(&r, 0);
	receive(&r, 100, 6);
	check_used(&r.ring[0], 0, HDR);
	check_used(&r.ring[0], 1, 100 - HDR);
	ck_assert_uint_eq(num_buffers(&r, BUFFERS), 2);
	check_bytes(&r, more, HDR, 100 - HDR);
	ck_assert_uint_eq(user(&r)->rx.room, 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_rx_single_buffer_without_mrg)
{
	struct rig r;

	start(&r, F(MRG_RXBUF));
	add_rx(&r, BUFFERS, 2000);
	add_rx(&r, BUFFERS + 0x1000, 2000);
	rig_kick(&r, 0);
	ck_assert_uint_eq(user(&r)->rx.nr_chains, 1);
	receive(&r, 2000, 3);
	check_used(&r.ring[0], 0, 2000);
	ck_assert_uint_eq(num_buffers(&r, BUFFERS), 1);
	receive(&r, 20, 4);
	check_used(&r.ring[0], 1, 20);
	rig_fini(&r);
}
END_TEST

/* The header may be cut anywhere. */
START_TEST(test_net_user_rx_header_split_over_parts)
{
	const struct fake_part parts[] = { { BUFFERS, (uint32_t)_i, true },
					   { BUFFERS + 0x1000, 1, true },
					   { BUFFERS + 0x2000, 200, true } };
	struct rig r;
	uint8_t all[201 + HDR];
	size_t n = (size_t)_i;

	start(&r, 0);
	fake_ring_add(&r.ring[0], parts, 3);
	rig_kick(&r, 0);
	receive(&r, 100, 5);
	check_used(&r.ring[0], 0, 100);
	ck_assert_int_eq(gmem_read(r.mem, BUFFERS, all, n), 0);
	ck_assert_int_eq(gmem_read(r.mem, BUFFERS + 0x1000, all + n, 1), 0);
	ck_assert_int_eq(gmem_read(r.mem, BUFFERS + 0x2000, all + n + 1, 200), 0);
	packet[10] = 1;
	ck_assert(!memcmp(all, packet, 100));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_rx_too_large_dropped_buffers_kept)
{
	struct rig r;

	start(&r, 0);
	add_rx(&r, BUFFERS, 100);
	add_rx(&r, BUFFERS + 0x1000, 100);
	rig_kick(&r, 0);
	receive(&r, 201, 6);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 0);
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 1);
	receive(&r, 200, 7);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 2);
	ck_assert_uint_eq(num_buffers(&r, BUFFERS), 2);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_rx_largest_packet)
{
	struct rig r;

	start(&r, 0);
	for (unsigned i = 0; i < 64; i++)
		add_rx(&r, BUFFERS + i * 0x1000, 1600);
	rig_kick(&r, 0);
	ck_assert_uint_lt(user(&r)->rx.nr_chains, 64);
	receive(&r, NET_MAX_PACKET, 8);
	ck_assert_uint_eq(num_buffers(&r, BUFFERS), 41);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 41);
	receive(&r, 11, 8);
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 1);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 41);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_rx_without_buffers_waits_for_kick)
{
	struct rig r;

	start(&r, BIT64(VIRTIO_RING_F_EVENT_IDX));
	ck_assert(!reading(&r));
	ck_assert_uint_eq(fake_ring_used_flags(&r.ring[0]), 0);
	add_rx(&r, BUFFERS, 100);
	rig_kick(&r, 0);
	ck_assert(reading(&r));
	/* Still short of the largest packet: more kicks, please... */
	ck_assert_uint_eq(fake_ring_used_flags(&r.ring[0]), 0);
	add_rx(&r, BUFFERS + 0x10000, 0x10000);
	rig_kick(&r, 0);
	ck_assert_uint_eq(user(&r)->rx.nr_chains, 2);
	/* ...and now enough. */
	ck_assert_uint_eq(fake_ring_used_flags(&r.ring[0]), VRING_USED_F_NO_NOTIFY);
	receive(&r, 5000, 9);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 2);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_rx_packet_that_beats_the_refill)
{
	struct rig r;

	start(&r, 0);
	add_rx(&r, BUFFERS, 100);
	rig_kick(&r, 0);
	add_rx(&r, BUFFERS + 0x1000, 100);
	fake_loop_cancel_result(&user(&r)->rx.io, 60);
	rig_kick(&r, 0);
	check_used(&r.ring[0], 0, 60);
	ck_assert(reading(&r));
	receive(&r, 100, 1);
	check_used(&r.ring[0], 1, 100);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_rx_eagain_polls)
{
	struct rig r;

	start(&r, 0);
	add_rx(&r, BUFFERS, 100);
	rig_kick(&r, 0);
	ck_assert(fake_loop_complete(&user(&r)->rx.io, -EAGAIN));
	ck_assert(!reading(&r));
	ck_assert_uint_eq(fake_loop_armed(&user(&r)->rx.poll), POLLIN);
	ck_assert(fake_loop_fire(&user(&r)->rx.poll, POLLIN));
	ck_assert(reading(&r));
	ck_assert(fake_loop_complete(&user(&r)->rx.io, -EAGAIN));
	/* A refill starts it as well, and takes the poll away. */
	add_rx(&r, BUFFERS, 100);
	rig_kick(&r, 0);
	ck_assert(reading(&r));
	ck_assert_uint_eq(fake_loop_armed(&user(&r)->rx.poll), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_rx_tap_gone_stops_until_reset)
{
	struct rig r;

	start(&r, 0);
	add_rx(&r, BUFFERS, 100);
	rig_kick(&r, 0);
	ck_assert(fake_loop_complete(&user(&r)->rx.io, _i ? 0 : -EBADFD));
	ck_assert(!reading(&r));
	rig_kick(&r, 0);
	ck_assert(!reading(&r));
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	add_rx(&r, BUFFERS, 100);
	rig_kick(&r, 0);
	ck_assert(reading(&r));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_rx_bad_buffer_needs_reset)
{
	static const struct fake_part bad[][2] = {
		{ { BUFFERS, 100, false }, { BUFFERS, 100, true } },
		{ { BUFFERS, 4, true }, { BUFFERS, 7, true } },
		{ { BUFFERS, 100, true }, { RAM + RAM_SIZE, 100, true } },
	};
	struct rig r;

	start(&r, 0);
	add_rx(&r, BUFFERS, 100);
	fake_ring_add(&r.ring[0], bad[_i], 2);
	rig_kick(&r, 0);
	ck_assert(rig_needs_reset(&r));
	rig_kick(&r, 0);
	ck_assert_uint_eq(r.v->faults, 1);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	add_rx(&r, BUFFERS, 100);
	rig_kick(&r, 0);
	receive(&r, 100, 2);
	check_used(&r.ring[0], 0, 100);
	rig_fini(&r);
}
END_TEST

/* Buffers of many kinds go round and round; nothing is lost, doubled or mixed up. */
START_TEST(test_net_user_rx_long_run)
{
	enum { N = 64, SLOT = 0x2000 };
	struct { uint32_t len; } buf[NET_QUEUE_SIZE] = { { 0 } };
	struct rig r;
	unsigned out = 0, seed = 12345;

	start(&r, _i ? BIT64(VIRTIO_RING_F_EVENT_IDX) : 0);
	for (unsigned round = 0; round < 3000; round++) {
		uint32_t id, len;
		size_t size, at = 0;

		seed = seed * 1103515245 + 12345;
		while (out < N) {
			uint32_t l = 64 + (seed >> 8) % 3000 + out;
			uint16_t head = r.ring[0].next_desc % NET_QUEUE_SIZE;

			buf[head].len = l;
			add_rx(&r, BUFFERS + (head % N) * SLOT, l);
			out++;
		}
		rig_kick(&r, 0);
		ck_assert(reading(&r));
		size = MIN_PACKET + (seed >> 4) % 9000;
		receive(&r, size, round);
		while (fake_ring_used(&r.ring[0], &id, &len)) {
			ck_assert_uint_le(len, buf[id].len);
			check_bytes(&r, BUFFERS + (id % N) * SLOT + (at ? 0 : HDR), at ? at : HDR, at ? len : len - HDR);
			at += len;
			out--;
		}
		ck_assert_uint_eq(at, size);
	}
	ck_assert_uint_eq(r.n->limit[NET_RX].dropped, 0);
	ck_assert(!rig_needs_reset(&r));
	rig_fini(&r);
}
END_TEST

/* ---- transmit ---- */

static void ethertype(uint8_t *p, unsigned proto)
{
	p[HDR + 12] = (uint8_t)(proto >> 8);
	p[HDR + 13] = (uint8_t)proto;
}

static void make_packet(size_t len, unsigned seed)
{
	fill(packet, len, seed);
	memset(packet, 0, HDR);
	ethertype(packet, ETH_P_IP);
}

/* One descriptor with the packet at @at; returns its head. */
static uint16_t add_tx(struct rig *r, gpa_t at, uint32_t len)
{
	const struct fake_part part = { at, len, false };

	ck_assert_int_eq(gmem_write(r->mem, at, packet, len), 0);
	return fake_ring_add(&r->ring[1], &part, 1);
}

static struct loop_io *tx_io(struct rig *r, unsigned i)
{
	return &user(r)->tx[i].io;
}

static size_t written(struct rig *r, unsigned i)
{
	return fake_loop_peek_write(tx_io(r, i), got, sizeof(got));
}

static unsigned writing(struct rig *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NET_TX_DEPTH; i++)
		n += fake_loop_io(tx_io(r, i), NULL, NULL) == FAKE_IO_WRITEV;
	return n;
}

START_TEST(test_net_user_tx_frame_reaches_the_tap)
{
	struct rig r;

	start(&r, BIT64(VIRTIO_RING_F_EVENT_IDX));
	make_packet(1000, 1);
	add_tx(&r, BUFFERS, 1000);
	rig_kick(&r, 1);
	ck_assert_uint_eq(written(&r, 0), 1000);
	ck_assert(!memcmp(got, packet, 1000));
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[1]), 0);
	ck_assert(fake_loop_complete(tx_io(&r, 0), 1000));
	check_used(&r.ring[1], 0, 0);
	ck_assert_uint_eq(r.irqs[1], 1);
	ck_assert_uint_eq(r.n->limit[NET_TX].dropped, 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_tx_any_layout_same_frame)
{
	struct fake_part parts[100];
	struct rig r;

	start(&r, 0);
	make_packet(100, 2);
	ck_assert_int_eq(gmem_write(r.mem, BUFFERS, packet, 100), 0);
	for (uint32_t size = 1; size <= 100; size++) {
		unsigned n = 0;

		for (uint32_t at = 0; at < 100; at += size)
			parts[n++] = (struct fake_part){ BUFFERS + at, size < 100 - at ? size : 100 - at, false };
		fake_ring_add(&r.ring[1], parts, n);
		rig_kick(&r, 1);
		ck_assert_uint_eq(written(&r, 0), 100);
		ck_assert(!memcmp(got, packet, 100));
		ck_assert(fake_loop_complete(tx_io(&r, 0), 100));
	}
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[1]), 100);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_tx_short_and_long_frames_dropped)
{
	uint32_t lens[MIN_PACKET + 2], n = 0;
	struct rig r;

	start(&r, 0);
	make_packet(NET_MAX_PACKET + 1, 3);
	for (uint32_t len = 1; len < MIN_PACKET; len++)
		lens[n++] = len;
	lens[n++] = NET_MAX_PACKET + 1;
	for (unsigned i = 0; i < n; i++) {
		uint16_t head = add_tx(&r, BUFFERS, lens[i]);

		rig_kick(&r, 1);
		ck_assert_uint_eq(writing(&r), 0);
		check_used(&r.ring[1], head, 0);
	}
	ck_assert_uint_eq(r.n->limit[NET_TX].dropped, n);
	ck_assert(!rig_needs_reset(&r));
	add_tx(&r, BUFFERS, MIN_PACKET);
	add_tx(&r, BUFFERS, NET_MAX_PACKET);
	rig_kick(&r, 1);
	ck_assert_uint_eq(writing(&r), 2);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_tx_writable_only_dropped)
{
	const struct fake_part part = { BUFFERS, 1000, true };
	struct rig r;

	start(&r, 0);
	fake_ring_add(&r.ring[1], &part, 1);
	rig_kick(&r, 1);
	check_used(&r.ring[1], 0, 0);
	ck_assert_uint_eq(r.n->limit[NET_TX].dropped, 1);
	rig_fini(&r);
}
END_TEST

#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6
#define UFO VIRTIO_NET_HDR_GSO_UDP
#define USO VIRTIO_NET_HDR_GSO_UDP_L4
#define ECN VIRTIO_NET_HDR_GSO_ECN

static const struct header_case {
	const char *what;
	struct virtio_net_hdr_v1 h;
	unsigned proto;
	uint64_t without; /* features not acknowledged */
	bool ok;
} header_cases[] = {
	{ "plain", { 0 }, ETH_P_IP, 0, true },
	{ "plain, odd protocol", { 0 }, 0, 0, true },
	{ "checksum", { .flags = CSUM, .csum_start = 34, .csum_offset = 16 }, ETH_P_IP, 0, true },
	{ "checksum unasked", { .flags = CSUM, .csum_start = 34, .csum_offset = 16 }, ETH_P_IP, F(CSUM), false },
	{ "checksum at the end", { .flags = CSUM, .csum_start = 482, .csum_offset = 4 }, ETH_P_IP, 0, true },
	{ "checksum beyond", { .flags = CSUM, .csum_start = 483, .csum_offset = 4 }, ETH_P_IP, 0, false },
	{ "checksum wraps", { .flags = CSUM, .csum_start = 0xffff, .csum_offset = 0xffff }, ETH_P_IP, 0, false },
	{ "TSO4", { CSUM, TCP4, 54, 400, { { 34, 16 } }, 0 }, ETH_P_IP, 0, true },
	{ "TSO4, VLAN", { CSUM, TCP4, 58, 400, { { 38, 16 } }, 0 }, ETH_P_8021Q, 0, true },
	{ "TSO4 with ECN", { CSUM, TCP4 | ECN, 54, 400, { { 34, 16 } }, 0 }, ETH_P_IP, 0, true },
	{ "TSO4, ECN unasked", { CSUM, TCP4 | ECN, 54, 400, { { 34, 16 } }, 0 }, ETH_P_IP, F(HOST_ECN), false },
	{ "TSO4 unasked", { CSUM, TCP4, 54, 400, { { 34, 16 } }, 0 }, ETH_P_IP, F(HOST_TSO4), false },
	{ "TSO4, protocol 0", { CSUM, TCP4, 54, 400, { { 34, 16 } }, 0 }, 0, 0, false },
	{ "TSO4, IPv6", { CSUM, TCP4, 54, 400, { { 34, 16 } }, 0 }, ETH_P_IPV6, 0, false },
	{ "TSO4, size 0", { CSUM, TCP4, 54, 0, { { 34, 16 } }, 0 }, ETH_P_IP, 0, false },
	{ "TSO4, no checksum", { 0, TCP4, 54, 400, { { 34, 16 } }, 0 }, ETH_P_IP, 0, false },
	{ "TSO4, long header", { CSUM, TCP4, 489, 400, { { 34, 16 } }, 0 }, ETH_P_IP, 0, false },
	{ "TSO6", { CSUM, TCP6, 74, 400, { { 54, 16 } }, 0 }, ETH_P_IPV6, 0, true },
	{ "TSO6 unasked", { CSUM, TCP6, 74, 400, { { 54, 16 } }, 0 }, ETH_P_IPV6, F(HOST_TSO6), false },
	{ "TSO6, IPv4", { CSUM, TCP6, 74, 400, { { 54, 16 } }, 0 }, ETH_P_IP, 0, false },
	{ "UFO", { CSUM, UFO, 42, 400, { { 34, 6 } }, 0 }, ETH_P_IP, 0, true },
	{ "UFO unasked", { CSUM, UFO, 42, 400, { { 34, 6 } }, 0 }, ETH_P_IP, F(HOST_UFO), false },
	{ "UFO with ECN", { CSUM, UFO | ECN, 42, 400, { { 34, 6 } }, 0 }, ETH_P_IP, 0, false },
	{ "USO", { CSUM, USO, 42, 400, { { 34, 6 } }, 0 }, ETH_P_IPV6, 0, true },
	{ "USO unasked", { CSUM, USO, 42, 400, { { 34, 6 } }, 0 }, ETH_P_IPV6, F(HOST_USO), false },
	{ "USO, 122 segments", { CSUM, USO, 42, 4, { { 34, 6 } }, 0 }, ETH_P_IPV6, 0, true },
	{ "USO, 162 segments", { CSUM, USO, 42, 3, { { 34, 6 } }, 0 }, ETH_P_IPV6, 0, false },
	{ "USO, ARP", { CSUM, USO, 42, 400, { { 34, 6 } }, 0 }, ETH_P_ARP, 0, false },
	{ "unknown kind 2", { CSUM, 2, 42, 400, { { 34, 6 } }, 0 }, ETH_P_IP, 0, false },
	{ "unknown kind 6", { CSUM, 6, 42, 400, { { 34, 6 } }, 0 }, ETH_P_IP, 0, false },
	{ "ECN alone", { CSUM, ECN, 42, 400, { { 34, 6 } }, 0 }, ETH_P_IP, 0, false },
};

START_TEST(test_net_user_tx_header_checked)
{
	const struct header_case *c = &header_cases[_i];
	struct rig r;

	start(&r, c->without);
	make_packet(500, 4);
	memcpy(packet, &c->h, HDR);
	ethertype(packet, c->proto);
	packet[HDR + 16] = ETH_P_IP >> 8;
	packet[HDR + 17] = ETH_P_IP & 0xff;
	add_tx(&r, BUFFERS, 500);
	rig_kick(&r, 1);
	ck_assert_msg(writing(&r) == c->ok, "%s", c->what);
	ck_assert_uint_eq(r.n->limit[NET_TX].dropped, !c->ok);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[1]), !c->ok);
	if (c->ok) {
		ck_assert_uint_eq(written(&r, 0), 500);
		ck_assert(!memcmp(got, packet, 500));
	}
	rig_fini(&r);
}
END_TEST

/* Tens of thousands would be cut within one writev(2) of ours. */
START_TEST(test_net_user_tx_segments_are_bounded)
{
	struct virtio_net_hdr_v1 h = { CSUM, TCP4, 54, _i ? 3 : 2, { { 34, 16 } }, 0 }; /* 1,662 and 2,494 */
	struct rig r;

	start(&r, 0);
	make_packet(5000, 4);
	memcpy(packet, &h, HDR);
	ethertype(packet, ETH_P_IP);
	add_tx(&r, BUFFERS, 5000);
	rig_kick(&r, 1);
	ck_assert_uint_eq(writing(&r), (unsigned)_i);
	ck_assert_uint_eq(r.n->limit[NET_TX].dropped, !_i);
	rig_fini(&r);
}
END_TEST

/* A VLAN frame that ends before the protocol has none. */
START_TEST(test_net_user_tx_cut_vlan_tag_has_no_protocol)
{
	struct rig r;

	start(&r, 0);
	make_packet(MIN_PACKET + 3, 4);
	memcpy(packet, &(struct virtio_net_hdr_v1){ CSUM, TCP4, 10, 400, { { 2, 2 } }, 0 }, HDR);
	ethertype(packet, ETH_P_8021Q);
	add_tx(&r, BUFFERS, MIN_PACKET + 3);
	rig_kick(&r, 1);
	ck_assert_uint_eq(writing(&r), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_tx_stray_header_fields_cleared)
{
	const struct virtio_net_hdr_v1 stray = { 0xfe, 0, 9, 9, { { 9, 9 } }, 9 };
	struct rig r;

	start(&r, 0);
	make_packet(500, 5);
	memcpy(packet, &stray, HDR);
	add_tx(&r, BUFFERS, 500);
	rig_kick(&r, 1);
	ck_assert_uint_eq(written(&r, 0), 500);
	memset(packet, 0, HDR);
	ck_assert(!memcmp(got, packet, 500));
	rig_fini(&r);
}
END_TEST

/* Between the check and the write the guest may write what it likes. */
START_TEST(test_net_user_tx_header_not_read_again)
{
	uint8_t evil[NET_TX_COPY];
	struct rig r;

	start(&r, 0);
	make_packet(500, 6);
	add_tx(&r, BUFFERS, 500);
	rig_kick(&r, 1);
	memset(evil, 0xff, sizeof(evil));
	ck_assert_int_eq(gmem_write(r.mem, BUFFERS, evil, sizeof(evil)), 0);
	written(&r, 0);
	ck_assert(!memcmp(got, packet, 500));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_tx_many_bounded_and_in_order)
{
	struct rig r;
	unsigned next = 0;

	start(&r, _i ? BIT64(VIRTIO_RING_F_EVENT_IDX) : 0);
	for (unsigned i = 0; i < 100; i++) {
		make_packet(100, i);
		add_tx(&r, BUFFERS + i * 128, 100);
	}
	rig_kick(&r, 1);
	ck_assert_uint_eq(writing(&r), NET_TX_DEPTH);
	while (next < 100) {
		make_packet(100, next);
		ck_assert_uint_eq(written(&r, next % NET_TX_DEPTH), 100);
		ck_assert(!memcmp(got, packet, 100));
		ck_assert(fake_loop_complete(tx_io(&r, next % NET_TX_DEPTH), 100));
		next++;
	}
	for (unsigned i = 0; i < 100; i++)
		check_used(&r.ring[1], i, 0);
	ck_assert_uint_eq(writing(&r), 0);
	ck_assert_uint_ge(r.irqs[1], 1);
	/* In batches, not one by one, and kicks are wanted again. */
	ck_assert_uint_lt(r.irqs[1], 30);
	ck_assert_uint_eq(fake_ring_used_flags(&r.ring[1]), 0);
	if (!_i)
		ck_assert_uint_eq(fake_ring_avail_event(&r.ring[1]), 100);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_tx_failed_write_dropped)
{
	static const int res[] = { -EIO, -EINVAL, -EAGAIN, 0, 50 };
	struct rig r;

	start(&r, 0);
	make_packet(100, 1);
	for (unsigned i = 0; i < ARRAY_LEN(res); i++) {
		uint16_t head = add_tx(&r, BUFFERS, 100);

		rig_kick(&r, 1);
		ck_assert(fake_loop_complete(tx_io(&r, 0), res[i]));
		check_used(&r.ring[1], head, 0);
		ck_assert_uint_eq(r.n->limit[NET_TX].dropped, i + 1);
	}
	ck_assert(!rig_needs_reset(&r));
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_tx_ring_of_rubbish_ends)
{
	struct rig r;

	start(&r, 0);
	make_packet(5, 1);
	for (unsigned i = 0; i < NET_QUEUE_SIZE; i++)
		add_tx(&r, BUFFERS, 5);
	rig_kick(&r, 1);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[1]), NET_QUEUE_SIZE);
	/* It kicked itself for what might have come; once. */
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(fake_loop_turn(r.loop), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_tx_broken_ring_needs_reset_and_heals)
{
	struct rig r;

	start(&r, 0);
	make_packet(100, 1);
	add_tx(&r, BUFFERS, 100);
	rig_kick(&r, 1);
	fake_ring_set_avail_idx(&r.ring[1], NET_QUEUE_SIZE + 9);
	rig_kick(&r, 1);
	ck_assert(rig_needs_reset(&r));
	ck_assert(fake_loop_complete(tx_io(&r, 0), 100));
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[1]), 0);
	rig_kick(&r, 1);
	ck_assert_uint_eq(r.v->faults, 1);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	add_tx(&r, BUFFERS, 100);
	rig_kick(&r, 1);
	ck_assert_uint_eq(writing(&r), 1);
	rig_fini(&r);
}
END_TEST

/* ---- reset and pairs ---- */

START_TEST(test_net_user_reset_with_all_under_way)
{
	struct rig r;

	start(&r, 0);
	for (unsigned life = 0; life < 50; life++) {
		make_packet(100, life);
		for (unsigned i = 0; i < 20; i++) {
			add_rx(&r, BUFFERS + i * 128, 100);
			add_tx(&r, BUFFERS + 0x8000 + i * 128, 100);
		}
		rig_kick(&r, 0);
		rig_kick(&r, 1);
		ck_assert(reading(&r));
		ck_assert_uint_eq(writing(&r), NET_TX_DEPTH);
		/* Some were just done when they were called off. */
		if (life % 2) {
			fake_loop_cancel_result(&user(&r)->rx.io, 60);
			fake_loop_cancel_result(tx_io(&r, 3), 100);
		}
		fake_vdev_reset(r.v);
		ck_assert(!reading(&r));
		ck_assert_uint_eq(writing(&r), 0);
		ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 0);
		ck_assert_uint_eq(fake_ring_used_idx(&r.ring[1]), 0);
		ck_assert_uint_eq(user(&r)->tx_busy, 0);
		ck_assert_uint_eq(user(&r)->rx.nr_chains, 0);
		ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	}
	ck_assert_uint_eq(r.irqs[0] + r.irqs[1], 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_end_with_all_under_way)
{
	struct rig r;

	start(&r, 0);
	make_packet(100, 1);
	add_rx(&r, BUFFERS, 100);
	add_tx(&r, BUFFERS + 0x8000, 100);
	rig_kick(&r, 0);
	rig_kick(&r, 1);
	rig_fini(&r);
}
END_TEST

static void control_pairs(struct rig *r, uint8_t n)
{
	const uint8_t cmd[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, n, 0 };
	const struct fake_part parts[] = { { BUFFERS, 4, false }, { BUFFERS + 64, 1, true } };
	uint8_t ack = 0xff;

	ck_assert_int_eq(gmem_write(r->mem, BUFFERS, cmd, sizeof(cmd)), 0);
	fake_ring_add(&r->ring[4], parts, 2);
	rig_kick(r, 4);
	ck_assert_int_eq(gmem_read(r->mem, BUFFERS + 64, &ack, 1), 0);
	ck_assert_uint_eq(ack, VIRTIO_NET_OK);
}

START_TEST(test_net_user_pair_off_reads_nothing_and_keeps_its_place)
{
	const struct fake_part part = { BUFFERS + 0x1000, 100, true };
	struct net_rx *rx;
	struct rig r;

	rig_init(&r, 2, false);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 5), 0);
	rx = &r.n->pair[1].user->rx;
	for (unsigned i = 0; i < 3; i++)
		fake_ring_add(&r.ring[2], &part, 1);
	rig_kick(&r, 2);
	ck_assert(!rx->io.busy);
	control_pairs(&r, 2);
	ck_assert(rx->io.busy);
	ck_assert(fake_loop_complete(&rx->io, 60));
	check_used(&r.ring[2], 0, 60);
	control_pairs(&r, 1);
	ck_assert(!rx->io.busy);
	rig_kick(&r, 2);
	ck_assert(!rx->io.busy);
	control_pairs(&r, 2);
	ck_assert(fake_loop_complete(&rx->io, 70));
	check_used(&r.ring[2], 1, 70);
	ck_assert(fake_loop_complete(&rx->io, 80));
	check_used(&r.ring[2], 2, 80);
	rig_fini(&r);
}
END_TEST

/* ---- limits ---- */

/* 88 bytes of frame in each; about as many frames by either limit. */
#define FEW 100
static const struct { uint64_t iops, bps; } few[] = { { FEW, 0 }, { 0, FEW * 88 }, { FEW, FEW * 88 } };

static uint64_t begun_ns;

static void start_limited(struct rig *r, unsigned pairs, uint64_t iops, uint64_t bps)
{
	rig_init_limited(r, pairs, iops, bps);
	begun_ns = clock_now_ns();
	ck_assert_int_eq(rig_start(r, r->v->offered, pairs > 1 ? 2 * pairs + 1 : 2), 0);
}

/* No more of FEW a second than a tenth of a second's worth at once, and what the time that has passed since allows. */
static void check_rate(unsigned passed)
{
	ck_assert_uint_le(passed, FEW / 10 + 2 + (clock_now_ns() - begun_ns) * FEW / NS_PER_SEC);
}

static void check_waits(struct rig *r, unsigned way)
{
	uint64_t wait = fake_loop_timer(&r->n->limit[way].again);

	ck_assert(r->n->limit[way].waiting);
	ck_assert_uint_gt(wait, 0);
	ck_assert_uint_le(wait, NS_PER_SEC / 5);
}

static unsigned tx_all_that_passes(struct rig *r)
{
	unsigned passed = 0;
	uint32_t id, len;

	for (unsigned i = 0; i < NET_TX_DEPTH; i++)
		while (fake_loop_complete(tx_io(r, i), 100))
			passed++;
	while (fake_ring_used(&r->ring[1], &id, &len))
		;
	fake_loop_turn(r->loop);
	return passed;
}

START_TEST(test_net_user_tx_limit_makes_frames_wait_in_the_ring)
{
	unsigned passed, more;
	struct rig r;

	start_limited(&r, 1, few[_i].iops, few[_i].bps);
	make_packet(100, 1);
	for (unsigned i = 0; i < 250; i++)
		add_tx(&r, BUFFERS + 128 * i, 100);
	rig_kick(&r, 1);
	passed = tx_all_that_passes(&r);
	ck_assert_uint_ge(passed, FEW / 10);
	check_rate(passed);
	for (unsigned turn = 0; passed < 40; turn++) {
		check_waits(&r, NET_TX);
		/* a kick is no way around it */
		rig_kick(&r, 1);
		ck_assert_uint_eq(writing(&r), 0);
		usleep(12000);
		ck_assert(fake_loop_expire(&r.n->limit[NET_TX].again));
		more = tx_all_that_passes(&r);
		ck_assert_uint_gt(more, 0);
		passed += more;
		check_rate(passed);
	}
	ck_assert_uint_eq(r.n->limit[NET_TX].dropped, 0);
	/* the other way has its own */
	ck_assert(!r.n->limit[NET_RX].waiting);
	rig_fini(&r);
}
END_TEST

static unsigned rx_all_that_passes(struct rig *r)
{
	unsigned passed = 0;

	while (reading(r)) {
		receive(r, 100, 1);
		passed++;
	}
	return passed;
}

START_TEST(test_net_user_rx_limit_leaves_frames_with_the_host)
{
	unsigned passed, more;
	struct rig r;

	start_limited(&r, 1, few[_i].iops, few[_i].bps);
	for (unsigned i = 0; i < 250; i++)
		add_rx(&r, BUFFERS + 2048 * (i % 100), 1600);
	rig_kick(&r, 0);
	passed = rx_all_that_passes(&r);
	ck_assert_uint_ge(passed, FEW / 10);
	check_rate(passed);
	for (unsigned turn = 0; passed < 40; turn++) {
		check_waits(&r, NET_RX);
		add_rx(&r, BUFFERS, 1600);
		rig_kick(&r, 0);
		ck_assert(!reading(&r));
		usleep(12000);
		ck_assert(fake_loop_expire(&r.n->limit[NET_RX].again));
		more = rx_all_that_passes(&r);
		ck_assert_uint_gt(more, 0);
		passed += more;
		check_rate(passed);
	}
	ck_assert(!r.n->limit[NET_TX].waiting);
	rig_fini(&r);
}
END_TEST

/* A frame that is larger than all that may come at once passes, and is paid for: here in a minute, over resets. */
START_TEST(test_net_user_limit_outlives_a_reset)
{
	struct rig r;

	start_limited(&r, 1, 0, 1000);
	make_packet(60000, 1);
	add_tx(&r, BUFFERS, 60000);
	add_tx(&r, BUFFERS, 100);
	add_rx(&r, BUFFERS + 0x20000, 65000);
	add_rx(&r, BUFFERS + 0x40000, 65000);
	rig_kick(&r, 1);
	rig_kick(&r, 0);
	ck_assert_uint_eq(writing(&r), 1);
	receive(&r, 60000, 1);
	ck_assert(fake_loop_complete(tx_io(&r, 0), 60000));
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned way = NET_RX; way <= NET_TX; way++) {
			uint64_t wait = fake_loop_timer(&r.n->limit[way].again);

			ck_assert_uint_gt(wait, 30 * NS_PER_SEC);
			ck_assert_uint_le(wait, 60 * NS_PER_SEC);
		}
		ck_assert_uint_eq(writing(&r), 0);
		ck_assert(!reading(&r));
		fake_vdev_reset(r.v);
		for (unsigned way = NET_RX; way <= NET_TX; way++) {
			ck_assert(!r.n->limit[way].waiting);
			ck_assert(!fake_loop_expire(&r.n->limit[way].again));
		}
		ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
		make_packet(100, 1);
		add_tx(&r, BUFFERS, 100);
		add_rx(&r, BUFFERS + 0x20000, 65000);
		rig_kick(&r, 1);
		rig_kick(&r, 0);
	}
	rig_fini(&r);
}
END_TEST

/* Of two pairs that are never idle each has its share, and both together no more than one would. */
START_TEST(test_net_user_limit_is_shared_by_all_pairs)
{
	const struct fake_part part = { BUFFERS + 0x1000, 100, false };
	unsigned passed[2] = { 0 };
	struct rig r;

	start_limited(&r, 2, FEW, 0);
	control_pairs(&r, 2);
	make_packet(100, 1);
	ck_assert_int_eq(gmem_write(r.mem, part.addr, packet, 100), 0);
	for (unsigned turn = 0; turn < 40; turn++) {
		for (unsigned p = 0; p < 2; p++) {
			for (unsigned i = 0; !turn && i < 200; i++)
				fake_ring_add(&r.ring[2 * p + 1], &part, 1);
			rig_kick(&r, 2 * p + 1);
		}
		for (struct loop_io *io; (io = fake_loop_busy(r.loop, 0)); ) {
			passed[io >= &r.n->pair[1].user->tx[0].io && io <= &r.n->pair[1].user->tx[NET_TX_DEPTH - 1].io]++;
			fake_loop_complete(io, 100);
		}
		check_rate(passed[0] + passed[1]);
		usleep(12000);
		fake_loop_expire(&r.n->limit[NET_TX].again);
	}
	ck_assert_uint_ge(passed[0] + passed[1], 30);
	ck_assert_uint_ge(5 * passed[0], passed[0] + passed[1]);
	ck_assert_uint_ge(5 * passed[1], passed[0] + passed[1]);
	rig_fini(&r);
}
END_TEST

/* A ring that breaks while its frames wait, and one that was switched off. */
START_TEST(test_net_user_limit_and_rings_that_are_gone)
{
	struct rig r;

	start_limited(&r, 1, FEW, 0);
	make_packet(100, 1);
	for (unsigned i = 0; i < 200; i++)
		add_tx(&r, BUFFERS + 128 * i, 100);
	rig_kick(&r, 1);
	tx_all_that_passes(&r);
	check_waits(&r, NET_TX);
	fake_ring_put(&r.ring[1], NET_QUEUE_SIZE);
	r.n->v.queues[1].ring.broken = true;
	usleep(12000);
	ck_assert(fake_loop_expire(&r.n->limit[NET_TX].again));
	ck_assert_uint_eq(writing(&r), 0);
	ck_assert(!r.n->limit[NET_TX].waiting);
	rig_fini(&r);
}
END_TEST

START_TEST(test_net_user_limits_that_cannot_be_had)
{
	struct net_cfg cfg;
	struct rig r;
	struct err e;

	rig_init_bare(&r, 1);
	cfg = rig_cfg(&r, false);
	cfg.iops = 1;
	fake_loop_fail_init(r.loop, (unsigned)_i, -ENOSPC);
	ck_assert_int_eq(net_new(&cfg, &r.v, &e), -ENOSPC);
	r.v = NULL;
	rig_fini(&r);
}
END_TEST

/* ---- rubbish ---- */

static uint32_t rnd(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

static void random_chain(struct rig *r, unsigned q, uint32_t *s)
{
	struct fake_part parts[6];
	unsigned n = 1 + rnd(s) % 6;

	for (unsigned i = 0; i < n; i++) {
		parts[i].addr = RAM + rnd(s) % RAM_SIZE;
		parts[i].len = 1 + rnd(s) % (rnd(s) % 8 ? 300 : 70000);
		/* Now and then one that reaches out of memory, or of the wrong direction. */
		parts[i].write = rnd(s) % 64 ? !q : q;
	}
	fake_ring_add(&r->ring[q], parts, n);
}

static void random_step(struct rig *r, uint32_t *s)
{
	struct net_user *u = user(r);
	struct net_tx_slot *t = &u->tx[rnd(s) % NET_TX_DEPTH];

	switch (rnd(s) % 8) {
	case 0:
	case 1:
	case 2:
		random_chain(r, rnd(s) % 2, s);
		break;
	case 3:
		rig_kick(r, rnd(s) % 2);
		break;
	case 4:
		fake_loop_complete_read(&u->rx.io, packet, rnd(s) % NET_MAX_PACKET);
		break;
	case 5:
		if (t->io.busy)
			fake_loop_peek_write(&t->io, got, sizeof(got));
		fake_loop_complete(&t->io, rnd(s) % 4 ? (int)t->len : -EIO);
		break;
	case 6:
		if (!(rnd(s) % 64))
			fake_ring_set_avail_idx(&r->ring[rnd(s) % 2], (uint16_t)rnd(s));
		break;
	default:
		if (rig_needs_reset(r) || !(rnd(s) % 512)) {
			fake_vdev_reset(r->v);
			rig_start(r, ((uint64_t)rnd(s) << 32 | rnd(s)) & r->v->offered, 2);
		}
	}
}

/* Received packets land on rings and descriptors too: memory is small enough for that. */
START_TEST(test_net_user_random_rings_survive)
{
	uint32_t s = 0x9e3779b9u * (uint32_t)(_i + 1);
	struct rig r;

	start(&r, 0);
	for (unsigned i = 0; i < 20000; i++)
		random_step(&r, &s);
	fake_vdev_reset(r.v);
	ck_assert_int_eq(rig_start(&r, r.v->offered, 2), 0);
	make_packet(100, 1);
	add_tx(&r, BUFFERS, 100);
	rig_kick(&r, 1);
	ck_assert_uint_eq(writing(&r), 1);
	rig_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net_user");
	TCase *rx = tcase_create("rx"), *tx = tcase_create("tx"), *life = tcase_create("life"), *limit = tcase_create("limit");

	tcase_set_timeout(life, 60);
	tcase_add_test(rx, test_net_user_rx_merged_buffers);
	tcase_add_test(rx, test_net_user_rx_lengths_beyond_32_bits);
	tcase_add_test(rx, test_net_user_rx_single_buffer_without_mrg);
	tcase_add_loop_test(rx, test_net_user_rx_header_split_over_parts, 1, 13);
	tcase_add_test(rx, test_net_user_rx_too_large_dropped_buffers_kept);
	tcase_add_test(rx, test_net_user_rx_largest_packet);
	tcase_add_test(rx, test_net_user_rx_without_buffers_waits_for_kick);
	tcase_add_test(rx, test_net_user_rx_packet_that_beats_the_refill);
	tcase_add_test(rx, test_net_user_rx_eagain_polls);
	tcase_add_loop_test(rx, test_net_user_rx_tap_gone_stops_until_reset, 0, 2);
	tcase_add_loop_test(rx, test_net_user_rx_bad_buffer_needs_reset, 0, 3);
	tcase_add_loop_test(rx, test_net_user_rx_long_run, 0, 2);
	suite_add_tcase(s, rx);
	tcase_add_test(tx, test_net_user_tx_frame_reaches_the_tap);
	tcase_add_test(tx, test_net_user_tx_any_layout_same_frame);
	tcase_add_test(tx, test_net_user_tx_short_and_long_frames_dropped);
	tcase_add_test(tx, test_net_user_tx_writable_only_dropped);
	tcase_add_loop_test(tx, test_net_user_tx_header_checked, 0, ARRAY_LEN(header_cases));
	tcase_add_test(tx, test_net_user_tx_cut_vlan_tag_has_no_protocol);
	tcase_add_loop_test(tx, test_net_user_tx_segments_are_bounded, 0, 2);
	tcase_add_test(tx, test_net_user_tx_stray_header_fields_cleared);
	tcase_add_test(tx, test_net_user_tx_header_not_read_again);
	tcase_add_loop_test(tx, test_net_user_tx_many_bounded_and_in_order, 0, 2);
	tcase_add_test(tx, test_net_user_tx_failed_write_dropped);
	tcase_add_test(tx, test_net_user_tx_ring_of_rubbish_ends);
	tcase_add_test(tx, test_net_user_tx_broken_ring_needs_reset_and_heals);
	suite_add_tcase(s, tx);
	tcase_add_test(life, test_net_user_reset_with_all_under_way);
	tcase_add_test(life, test_net_user_end_with_all_under_way);
	tcase_add_test(life, test_net_user_pair_off_reads_nothing_and_keeps_its_place);
	tcase_add_loop_test(life, test_net_user_random_rings_survive, 0, 4);
	suite_add_tcase(s, life);
	tcase_set_timeout(limit, 60);
	tcase_add_loop_test(limit, test_net_user_tx_limit_makes_frames_wait_in_the_ring, 0, ARRAY_LEN(few));
	tcase_add_loop_test(limit, test_net_user_rx_limit_leaves_frames_with_the_host, 0, ARRAY_LEN(few));
	tcase_add_test(limit, test_net_user_limit_outlives_a_reset);
	tcase_add_test(limit, test_net_user_limit_is_shared_by_all_pairs);
	tcase_add_test(limit, test_net_user_limit_and_rings_that_are_gone);
	tcase_add_loop_test(limit, test_net_user_limits_that_cannot_be_had, 0, 4);
	suite_add_tcase(s, limit);
	return rig_run_suite(s);
}
