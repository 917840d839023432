/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net: packets with headers that are none, frames of all lengths, receive buffers that do not do, commands (virtio 1.2 s5.1.6).
 * A row is a frame to send; what becomes of it is the host's affair, but it is given back, and the card goes on.
 */
#include "hostile.h"

enum { H_CSUM = 1, H_DATA_VALID = 2, H_RSC = 4 };
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_UDP = 3, GSO_TCPV6 = 4, GSO_UDP_L4 = 5, GSO_ECN = 0x80 };
enum { F_CSUM = 0, F_GUEST_CSUM = 1, F_GUEST_TSO4 = 7, F_HOST_TSO4 = 11, F_HOST_UFO = 14, F_MRG_RXBUF = 15, F_CTRL_VQ = 17, F_MQ = 22 };

#define OFFLOADS (BIT(F_CSUM) | BIT(F_GUEST_CSUM) | BIT(F_HOST_TSO4) | BIT(12) | BIT(13) | BIT(F_HOST_UFO) | BIT(F_MRG_RXBUF))

/* struct virtio_net_hdr_v1 */
struct header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

struct frame_row {
	struct row row;
	struct header h;
	uint32_t len;        /* behind the header */
	uint16_t protocol;   /* EtherType */
	uint8_t ip_protocol;
};

#define IP4 0x0800
#define IP6 0x86dd
#define TCP 6
#define UDP 17

static const struct frame_row frame_rows[] = {
	{ { "frame-0", ON_NET | OFTEN }, { 0 }, 0 },
	{ { "frame-1", ON_NET }, { 0 }, 1 },
	{ { "frame-13", ON_NET | OFTEN }, { 0 }, 13, 0 },
	{ { "frame-14", ON_NET }, { 0 }, 14, IP4 },
	{ { "frame-1514", ON_NET }, { 0 }, 1514, IP4, UDP },
	{ { "frame-9000", ON_NET }, { 0 }, 9000, IP4, UDP },
	{ { "frame-65535", ON_NET | OFTEN }, { 0 }, 65523, IP4, UDP },
	{ { "header-ones", ON_NET | OFTEN }, { 0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff }, 100, IP4, TCP },
	{ { "flags-unknown", ON_NET }, { 0xf8 }, 100, IP4, TCP },
	{ { "flags-data-valid", ON_NET }, { H_DATA_VALID | H_RSC }, 100, IP4, TCP },
	{ { "csum-start-over", ON_NET | OFTEN }, { H_CSUM, .csum_start = 200, .csum_offset = 0 }, 100, IP4, TCP },
	{ { "csum-start-max", ON_NET }, { H_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff }, 100, IP4, TCP },
	{ { "csum-offset-over", ON_NET }, { H_CSUM, .csum_start = 34, .csum_offset = 65 }, 100, IP4, TCP },
	{ { "csum-offset-last", ON_NET }, { H_CSUM, .csum_start = 34, .csum_offset = 64 }, 100, IP4, TCP },
	{ { "csum-offset-straddles", ON_NET }, { H_CSUM, .csum_start = 98, .csum_offset = 1 }, 100, IP4, TCP },
	{ { "csum-wraps", ON_NET }, { H_CSUM, .csum_start = 0xfff0, .csum_offset = 0x20 }, 100, IP4, UDP },
	{ { "csum-start-0", ON_NET }, { H_CSUM, .csum_start = 0, .csum_offset = 0 }, 100, IP4, UDP },
	{ { "gso-unknown", ON_NET | OFTEN }, { H_CSUM, 2, 54, 1000, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-max", ON_NET }, { H_CSUM, 0x7f, 54, 1000, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-size-0", ON_NET | OFTEN }, { H_CSUM, GSO_TCPV4, 54, 0, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-size-1", ON_NET }, { H_CSUM, GSO_TCPV4, 54, 1, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-size-max", ON_NET }, { H_CSUM, GSO_TCPV4, 54, 0xffff, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-without-csum", ON_NET }, { 0, GSO_TCPV4, 54, 1000, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-protocol-0", ON_NET | OFTEN }, { H_CSUM, GSO_TCPV4, 54, 1000, 34, 16 }, 3000, 0, TCP },
	{ { "gso-protocol-other", ON_NET }, { H_CSUM, GSO_TCPV4, 54, 1000, 34, 16 }, 3000, IP6, TCP },
	{ { "gso-arp", ON_NET }, { H_CSUM, GSO_TCPV4, 54, 1000, 34, 16 }, 3000, 0x0806 },
	{ { "gso-6", ON_NET }, { H_CSUM, GSO_TCPV6, 74, 1000, 54, 16 }, 3000, IP6, TCP },
	{ { "gso-ecn", ON_NET }, { H_CSUM, GSO_TCPV4 | GSO_ECN, 54, 1000, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-ecn-alone", ON_NET }, { H_CSUM, GSO_ECN, 54, 1000, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-udp", ON_NET }, { H_CSUM, GSO_UDP, 42, 1000, 34, 6 }, 3000, IP4, UDP },
	{ { "gso-udp-l4", ON_NET }, { H_CSUM, GSO_UDP_L4, 42, 1000, 34, 6 }, 3000, IP4, UDP },
	{ { "gso-hdr-len-over", ON_NET | OFTEN }, { H_CSUM, GSO_TCPV4, 0xffff, 1000, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-hdr-len-0", ON_NET }, { H_CSUM, GSO_TCPV4, 0, 1000, 34, 16 }, 3000, IP4, TCP },
	{ { "gso-short", ON_NET | OFTEN }, { H_CSUM, GSO_TCPV4, 14, 1000, 34, 16 }, 20, IP4, TCP },
	{ { "gso-headers-only", ON_NET }, { H_CSUM, GSO_TCPV4, 54, 1000, 34, 16 }, 54, IP4, TCP },
	{ { "gso-64k", ON_NET }, { H_CSUM, GSO_TCPV4, 54, 1, 34, 16 }, 65523, IP4, TCP },
};

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Header and frame at buf: broadcast, from us, with an IP header that may be believed. */
static void make_frame(const struct frame_row *r)
{
	uint8_t *f = buf + NET_HEADER;

	memset(buf, 0, 128);
	memcpy(buf, &r->h, sizeof(r->h));
	memset(f, 0xff, 6);
	for (unsigned i = 0; i < 6; i++)
		f[6 + i] = vdev_config8(net, i);
	put16(f + 12, r->protocol);
	if (r->protocol == IP4) {
		f[14] = 0x45;
		put16(f + 16, r->len > 14 ? r->len - 14 : 0);
		f[22] = 64;
		f[23] = r->ip_protocol;
		f[14 + 20 + 12] = 0x50;
	} else if (r->protocol == IP6) {
		f[14] = 0x60;
		f[20] = r->ip_protocol;
		f[14 + 40 + 12] = 0x50;
	}
}

/* vhost of Linux 6.1 keeps a frame whose header makes no sense to it, and those behind it, until a reset. */
static bool given_back(struct vq *vq, const char *how)
{
	if (!vhost)
		return want(uses(vq), "%s: not used", how);
	wait_us(3000);
	return vq->used->idx == vq->next;
}

/* Sent in one buffer, and cut inside the header. */
static void send_frame(const struct frame_row *r)
{
	struct vq *vq = &net->vq[NET_TX];
	uint32_t total = NET_HEADER + r->len;

	vq_post(vq, 0, buf, total, false);
	vq_kick(vq);
	if (!given_back(vq, "in one part") || r->len < 16)
		return;
	vq->desc[2] = (struct vq_desc){ (uint64_t)buf + 5, 16, DESC_NEXT, 3 };
	vq->desc[3] = (struct vq_desc){ (uint64_t)buf + 21, total - 21, 0, 0 };
	vq_post(vq, 1, buf, 5, false);
	vq->desc[1].flags = DESC_NEXT;
	vq->desc[1].next = 2;
	vq_kick(vq);
	given_back(vq, "in three parts");
}

static void run_frame(const void *row)
{
	const struct frame_row *r = row;
	static const uint64_t features[] = { 0, OFFLOADS };

	for (unsigned i = 0; i < ARRAY_LEN(features); i++) {
		if (!begin(net, features[i]))
			return;
		make_frame(r);
		send_frame(r);
		if (!vhost)
			want(trip(net), "features %lx: no round trip", (unsigned long)features[i]);
	}
}

/* Fewer bytes than a header. */
static void short_header(void)
{
	struct vq *vq = &net->vq[NET_TX];

	for (uint32_t len = 1; len <= NET_HEADER + 13; len++) {
		if (!begin(net, 0))
			return;
		memset(buf, 0, 64);
		vq_post(vq, 0, buf, len, false);
		vq_kick(vq);
		if (!vhost)
			want(uses(vq), "%u bytes: not used", len);
	}
	wait_us(2000);
}

static void too_long(void)
{
	struct vq *vq = &net->vq[NET_TX];

	if (!begin(net, 0))
		return;
	for (unsigned i = 0; i < 8; i++)
		vq->desc[i] = (struct vq_desc){ (uint64_t)buf, BUF_SIZE, i < 7 ? DESC_NEXT : 0, (uint16_t)(i + 1) };
	vq->avail->ring[0] = 0;
	DMB();
	vq->avail->idx = vq->next = 1;
	vq_kick(vq);
	if (!vhost)
		want(uses(vq), "not used");
	wait_us(2000);
}

/* A frame that the host answers, into buffers that are not such. */
static void ask(void)
{
	struct vq *vq = &net->vq[NET_TX];

	net_arp(net, buf);
	vq_post(vq, 0, buf, NET_HEADER + NET_FRAME, false);
	vq_kick(vq);
	want(uses(vq), "not sent");
	wait_us(5000);
}

struct buffer_row {
	struct row row;
	uint32_t len;
	unsigned n;          /* buffers */
	bool readable;
	uint64_t features;
};

static const struct buffer_row buffer_rows[] = {
	{ { "rx-none", ON_NET | OFTEN }, 0, 0 },
	{ { "rx-1-byte", ON_NET | OFTEN }, 1, 4 },
	{ { "rx-11-bytes", ON_NET }, 11, 4 },
	{ { "rx-header-only", ON_NET }, 12, 8 },
	{ { "rx-short", ON_NET | OFTEN }, 40, 4 },
	{ { "rx-readable", ON_NET }, 2048, 4, true },
	{ { "rx-mergeable-1", ON_NET }, 1, 32, false, BIT(F_MRG_RXBUF) },
	{ { "rx-mergeable-13", ON_NET | OFTEN }, 13, 32, false, BIT(F_MRG_RXBUF) },
	{ { "rx-mergeable-starved", ON_NET }, 16, 2, false, BIT(F_MRG_RXBUF) },
	{ { "rx-huge", ON_NET }, BUF_SIZE, 4 },
};

static void run_buffer(const void *row)
{
	const struct buffer_row *r = row;
	struct vq *vq = &net->vq[NET_RX];

	if (!begin(net, r->features))
		return;
	for (unsigned i = 0; i < r->n; i++)
		vq_post(vq, i, buf2, r->len, !r->readable);
	vq_kick(vq);
	for (unsigned i = 0; i < 3; i++)
		ask();
}

/* Packets wait in the tap while there is no buffer, and come when there is one. */
static void starved_then_fed(void)
{
	if (!begin(net, 0))
		return;
	for (unsigned i = 0; i < 20; i++)
		ask();
	want(trip(net), "no round trip");
}

static void send_storm(void)
{
	struct vq *vq = &net->vq[NET_TX];

	if (!begin(net, 0))
		return;
	net_arp(net, buf);
	for (unsigned i = 0; i < 1000; i++) {
		if ((uint16_t)(vq->next - vq->used->idx) >= vq->size && !want(uses(vq), "stuck after %u", i))
			return;
		vq_post(vq, i % vq->size, buf, NET_HEADER + NET_FRAME, false);
		vq_kick(vq);
	}
	want(uses(vq), "not used");
}

static void short_storm(void)
{
	struct vq *vq = &net->vq[NET_TX];

	if (!begin(net, 0))
		return;
	memset(buf, 0, 64);
	for (unsigned i = 0; i < 1000; i++) {
		if ((uint16_t)(vq->next - vq->used->idx) >= vq->size && !want(uses(vq), "stuck after %u", i))
			return;
		vq_post(vq, i % vq->size, buf, NET_HEADER + 1 + i % 13, false);
		if (i % 16 == 0)
			vq_kick(vq);
	}
	vq_kick(vq);
	want(uses(vq), "not used");
}

/* Header bytes change while the packet is checked. */
static void header_racer(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		memset(buf, 0xff, NET_HEADER);
		memset(buf, 0, NET_HEADER);
		buf[NET_HEADER + 12] = (uint8_t)noise();
	}
}

static void header_race(void)
{
	struct vq *vq = &net->vq[NET_TX];

	if (!begin(net, OFFLOADS))
		return;
	net_arp(net, buf);
	if (!helper_start(1, header_racer, NULL))
		return;
	for (unsigned i = 0; i < 200; i++) {
		vq_post(vq, i % vq->size, buf, NET_HEADER + NET_FRAME, false);
		vq_kick(vq);
		if (!want(uses(vq), "packet %u: not used", i))
			break;
	}
	helper_join(1);
}

/* One half of a pair alone. */
static void half_a_pair(void)
{
	if (!want(vdev_reset(net), "no reset"))
		return;
	want(vdev_start(net, VERSION_1, 1), "no start");
	vq_post(&net->vq[0], 0, buf2, 2048, true);
	vq_kick(&net->vq[0]);
	wait_us(2000);
}

/* Feature combinations that contradict each other (s5.1.3.1). */
static void features_alone(void)
{
	for (unsigned bit = 0; bit < 24; bit++) {
		if (!begin(net, BIT(bit)))
			return;
		ask();
	}
}

/* s5.1.6.5: commands by their bytes; there is a control queue where the card has several pairs. */
struct command_row {
	struct row row;
	uint32_t len;
	uint8_t bytes[4];
	uint8_t ack;          /* 0: taken, 1: refused */
};

static const struct command_row command_rows[] = {
	{ { "ctrl-pairs-1", ON_CTRL | OFTEN }, 4, { 4, 0, 1, 0 }, 0 },
	{ { "ctrl-pairs-0", ON_CTRL | OFTEN }, 4, { 4, 0, 0, 0 }, 1 },
	{ { "ctrl-pairs-over", ON_CTRL }, 4, { 4, 0, 3, 0 }, 1 },
	{ { "ctrl-pairs-max", ON_CTRL | OFTEN }, 4, { 4, 0, 0xff, 0xff }, 1 },
	{ { "ctrl-pairs-high-byte", ON_CTRL }, 4, { 4, 0, 1, 1 }, 1 },
	{ { "ctrl-pairs-2", ON_CTRL }, 4, { 4, 0, 2, 0 }, 0 },
	{ { "ctrl-class-unknown", ON_CTRL }, 4, { 0x77, 0, 1, 0 }, 1 },
	{ { "ctrl-command-unknown", ON_CTRL }, 4, { 4, 9, 1, 0 }, 1 },
	{ { "ctrl-rss", ON_CTRL }, 4, { 4, 1, 0xff, 0xff }, 1 },
	{ { "ctrl-short", ON_CTRL | OFTEN }, 1, { 4 }, 1 },
	{ { "ctrl-3-bytes", ON_CTRL }, 3, { 4, 0, 1 }, 1 },
};

#define CTRL 4 /* behind two pairs */

static bool start_with_control(void)
{
	return want(vdev_reset(net), "no reset") && want(vdev_start(net, VERSION_1 | BIT(F_CTRL_VQ) | BIT(F_MQ), CTRL + 1), "no start");
}

static void run_command(const void *row)
{
	const struct command_row *r = row;
	struct vq *vq = &net->vq[CTRL];

	if (!start_with_control())
		return;
	memcpy(buf, r->bytes, 4);
	buf2[0] = 0x55;
	vq->desc[1] = (struct vq_desc){ (uint64_t)buf2, 1, DESC_WRITE, 0 };
	vq_post(vq, 0, buf, r->len, false);
	vq->desc[0].flags = DESC_NEXT;
	vq->desc[0].next = 1;
	vq_kick(vq);
	if (want(uses(vq), "not used"))
		want(buf2[0] == r->ack, "the answer is %x", buf2[0]);
}

static void control_without_answer(void)
{
	struct vq *vq = &net->vq[CTRL];

	if (!start_with_control())
		return;
	vq_post(vq, 0, buf, 4, false);
	vq_post(vq, 1, buf, 4, true);
	vq_kick(vq);
	want(uses(vq), "not used");
}

static void control_storm(void)
{
	static const uint8_t command[] = { 4, 0, 1, 0, 4, 0, 2, 0 };
	struct vq *vq = &net->vq[CTRL];

	if (!start_with_control())
		return;
	memcpy(buf, command, sizeof(command));
	for (unsigned i = 0; i < 40; i++) {
		vq_post(vq, i % vq->size, buf + i % 2 * 4, 4, false);
		vq_kick(vq);
	}
	want(uses(vq), "not used");
}

static const struct fn_row fn_rows[] = {
	{ { "short-header", ON_NET | OFTEN }, short_header },
	{ { "too-long", ON_NET | OFTEN }, too_long },
	{ { "starved-then-fed", ON_NET | OFTEN }, starved_then_fed },
	{ { "send-storm", ON_NET }, send_storm },
	{ { "short-storm", ON_NET }, short_storm },
	{ { "header-race", ON_NET | ON_CPUS | OFTEN }, header_race },
	{ { "half-a-pair", ON_NET }, half_a_pair },
	{ { "features-alone", ON_NET }, features_alone },
	{ { "ctrl-without-answer", ON_CTRL }, control_without_answer },
	{ { "ctrl-storm", ON_CTRL }, control_storm },
};

const struct family net_tables[] = {
	FAMILY(frame_rows, run_frame), FAMILY(buffer_rows, run_buffer), FAMILY(command_rows, run_command), FAMILY(fn_rows, run_fn), { 0 },
};
