// SPDX-License-Identifier: BSD-3-Clause
/*
 * net_stream: frames by a stream socket, from a peer that may send anything, and from a driver that may do anything.
 *
 * Covers: net_stream.c: frames of any length cut at any byte, lengths that no frame has, a peer that ends or fails; buffers of
 *         any number and shape, with and without mergeable ones; packets with any header and in any parts; writes that end short
 *         or in error; resets with transfers under way; a limit (net_limit.c) to the guest.
 * Oracle: what arrives is the peer's frames, whole and in their order, each once or counted as dropped, in buffers that were
 *         given and nowhere else; what is written is the driver's frames that may be sent, each behind its length, without a gap
 *         wherever a write was cut and whatever was reset meanwhile; each chain comes back once; the link is down from the first
 *         length that is none, and from the end of the peer, until the end, and was up before; no more frames arrive than the
 *         limit allows, and none is lost by it.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/net_rig.h"

#include <linux/virtio_net.h>

#include "tests/fuzz/net_clock.h"

#define RXQ 0
#define TXQ 1
#define RING 16
#define PARTS 4
#define BUF_SIZE 0x4000u
#define TX_BASE (RAM + 0x80000)
#define GUARD 0xee
#define MAX_IN (1u << 20)
#define MAX_FRAMES 4096

static struct rig rig;
static int peer;
static bool merges, broken, down;

/* From the peer: all bytes, how many were handed over, and the frames in them. */
static uint8_t in_bytes[MAX_IN + 2 * NET_STREAM_FRAME_MAX];
static size_t in_len, in_given;
static struct { size_t at; uint32_t len; } frames[MAX_FRAMES];
static unsigned nr_frames, next_frame;
static uint64_t delivered;
static size_t bad_at; /* where the length begins that is none; SIZE_MAX: nowhere */

static struct buffer {
	bool out;
	unsigned n;
	uint32_t len;
	struct { gpa_t gpa; uint32_t len; } part[PARTS];
} buffers[RING]; /* by head */
static unsigned nr_out;

/* To the peer: what it must get. */
static uint8_t out_bytes[MAX_IN];
static size_t out_len, out_given;
static unsigned tx_heads, tx_back;

static struct net_stream *stream(void)
{
	return rig.n->stream;
}

static bool reading(void)
{
	return fake_loop_io(&stream()->rx_io, NULL, NULL) != FAKE_IO_NONE;
}

static bool writing(void)
{
	return fake_loop_io(&stream()->tx_io, NULL, NULL) != FAKE_IO_NONE;
}

static void start(struct fuzz_in *in)
{
	uint8_t flags = fuzz_u8(in);

	merges = flags & 1;
	broken = false;
	for (unsigned q = 0; q < 2; q++) {
		fake_ring_init(&rig.ring[q], rig.mem, rig.ring[q].desc, RING);
		fake_ring_give(&rig.ring[q], rig.v, q);
	}
	memset(buffers, 0, sizeof(buffers));
	nr_out = tx_heads = tx_back = 0;
	must(fake_vdev_start(rig.v, BIT64(VIRTIO_F_VERSION_1) | F(STATUS) | (merges ? F(MRG_RXBUF) : 0) |
			     (flags & 2 ? BIT64(VIRTIO_RING_F_EVENT_IDX) : 0)) == 0);
}

/* The first @len bytes of a buffer. */
static void gather(const struct buffer *b, uint8_t *to, uint32_t len)
{
	for (unsigned i = 0; i < b->n && len; i++) {
		uint32_t n = b->part[i].len < len ? b->part[i].len : len;

		memcpy(to, gmem_ptr(rig.mem, b->part[i].gpa, n), n);
		to += n;
		len -= n;
	}
	must(!len);
}

static void take_buffer(uint32_t id, uint32_t len)
{
	must(id < RING && buffers[id].out && len && len <= buffers[id].len);
	for (unsigned i = 0; i < buffers[id].n; i++)
		must(*(uint8_t *)gmem_ptr(rig.mem, buffers[id].part[i].gpa + buffers[id].part[i].len, 1) == GUARD);
	buffers[id].out = false;
	nr_out--;
}

/* One frame out of the used ring, whose first element is taken: it is one of those that come next. Its number is in it. */
static void take_frame(uint32_t id, uint32_t used)
{
	static uint8_t got[NET_MAX_PACKET];
	uint32_t total = used;
	unsigned n, number;

	take_buffer(id, used);
	gather(&buffers[id], got, used < NET_HDR_SIZE ? NET_HDR_SIZE : used);
	n = got[10] | (unsigned)got[11] << 8;
	must(n >= 1 && n <= (merges ? RING : 1));
	for (unsigned i = 0; i < 10; i++)
		must(!got[i]);
	while (--n) {
		must(fake_ring_used(&rig.ring[RXQ], &id, &used));
		take_buffer(id, used);
		must(total + used <= sizeof(got));
		gather(&buffers[id], got + total, used);
		total += used;
	}
	must(total >= NET_HDR_SIZE + 14);
	number = got[NET_HDR_SIZE] | (unsigned)got[NET_HDR_SIZE + 1] << 8;
	must(number >= next_frame && number < nr_frames && frames[number].len == total - NET_HDR_SIZE);
	must(!memcmp(got + NET_HDR_SIZE, in_bytes + frames[number].at, frames[number].len));
	next_frame = number + 1;
	limit_passed(frames[number].len);
	delivered++;
}

/* All that was read up to now is delivered, dropped, or waits behind one that waits. */
static unsigned whole_frames(void)
{
	unsigned whole = 0;

	while (whole < nr_frames && frames[whole].at + frames[whole].len <= in_given)
		whole++;
	return whole;
}

static void look(void)
{
	uint64_t whole = whole_frames();
	bool bad = bad_at < in_given && in_given - bad_at >= NET_STREAM_LEN;
	uint32_t id, used;

	while (fake_ring_used(&rig.ring[RXQ], &id, &used)) {
		must(id < RING && buffers[id].out);
		take_frame(id, used);
	}
	must(delivered + rig.n->limit[NET_RX].dropped <= whole);
	must(stream()->stalled || stream()->down || limit->waiting || delivered + rig.n->limit[NET_RX].dropped == whole);
	must(!!(vdev_config_read(rig.v, 6, 2) & VIRTIO_NET_S_LINK_UP) == !stream()->down);
	must(stream()->down == rig.n->link_down && (!stream()->down || down || bad));
	must(!bad || stream()->down || stream()->stalled || limit->waiting);
	limit_look(1, NET_STREAM_FRAME_MAX);
	while (fake_ring_used(&rig.ring[TXQ], &id, &used)) {
		must(!used);
		tx_back++;
	}
	must(tx_back <= tx_heads);
}

static void add_buffer(struct fuzz_in *in)
{
	struct fake_ring *r = &rig.ring[RXQ];
	struct fake_part parts[PARTS];
	uint16_t head = r->next_desc % RING;
	struct buffer *b = &buffers[head];
	unsigned n = 1 + fuzz_below(in, PARTS);
	gpa_t at = BUFFERS + (gpa_t)head * BUF_SIZE;

	if (nr_out >= RING / PARTS || broken)
		return;
	*b = (struct buffer){ .out = true, .n = n };
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = fuzz_u8(in);

		len = len < 0xe0 ? 1 + len : (len - 0xdf) * 120;
		if (i == n - 1 && b->len + len < NET_HDR_SIZE)
			len = NET_HDR_SIZE;
		b->part[i].gpa = at;
		b->part[i].len = len;
		b->len += len;
		parts[i] = (struct fake_part){ .addr = at, .len = len, .write = true };
		at += len;
		*(uint8_t *)gmem_ptr(rig.mem, at++, 1) = GUARD;
	}
	must(fake_ring_add(r, parts, n) == head);
	nr_out++;
}

/* The peer's next frame, or a length that is none. Each frame's bytes are its number's. */
static UNTRACED void peer_sends(struct fuzz_in *in, bool garbage)
{
	uint32_t len = fuzz_u8(in) & 1 ? fuzz_u16(in) : 14 + fuzz_u8(in);
	uint8_t *p = in_bytes + in_len;

	if (in_len > MAX_IN || nr_frames == MAX_FRAMES || bad_at != SIZE_MAX)
		return;
	if (garbage)
		len = fuzz_u32(in);
	p[0] = (uint8_t)(len >> 24);
	p[1] = (uint8_t)(len >> 16);
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	if (len < 14 || len > NET_STREAM_FRAME_MAX) {
		bad_at = in_len;
		in_len += NET_STREAM_LEN + 100;
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		p[NET_STREAM_LEN + i] = (uint8_t)(i + nr_frames * 7);
	p[NET_STREAM_LEN] = (uint8_t)nr_frames;
	p[NET_STREAM_LEN + 1] = (uint8_t)(nr_frames >> 8);
	frames[nr_frames].at = in_len + NET_STREAM_LEN;
	frames[nr_frames++].len = len;
	in_len += NET_STREAM_LEN + len;
}

static void hand_over(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	size_t left = in_len - in_given, len = how & 1 ? fuzz_u16(in) : how;
	const struct iovec *iov;
	unsigned n;

	if (fake_loop_io(&stream()->rx_io, &iov, &n) == FAKE_IO_NONE)
		return;
	len = len < left ? len : left;
	len = len < iov->iov_len ? len : iov->iov_len;
	if (!len)
		return;
	in_given += len;
	must(fake_loop_complete_read(&stream()->rx_io, in_bytes + in_given - len, len));
}

static void peer_ends(struct fuzz_in *in)
{
	static const int errors[] = { 0, -ECONNRESET, -EPIPE, -EINTR, -EINTR };
	int res = errors[fuzz_below(in, ARRAY_LEN(errors))];

	if (fuzz_u8(in) & 1 ? !fake_loop_complete(&stream()->tx_io, res) : !fake_loop_complete(&stream()->rx_io, res))
		return;
	down = down || res != -EINTR;
	must(stream()->down || !down);
}

/* A packet of any header and in any parts, and whether it is to be sent. */
static void transmit(struct fuzz_in *in)
{
	unsigned n = 1 + fuzz_below(in, 3), flags = fuzz_u8(in);
	uint32_t len = fuzz_u8(in) & 1 ? fuzz_u16(in) % 3000 : fuzz_u8(in), cut = len;
	gpa_t at = TX_BASE + (gpa_t)(tx_heads % RING) * BUF_SIZE;
	struct fake_part parts[3];
	uint8_t *p = gmem_ptr(rig.mem, at, BUF_SIZE);
	bool sent;

	if (tx_heads - tx_back >= RING / 3 || broken || !len || out_len > MAX_IN - 4000)
		return;
	/* what would wait in the ring goes with a reset */
	if (NET_STREAM_BUFFER - stream()->tx_len < NET_STREAM_LEN + NET_STREAM_FRAME_MAX)
		return;
	n = n < len ? n : 1;
	memset(p, 0, NET_HDR_SIZE);
	for (uint32_t i = 0; i < len; i++)
		p[i] = i < NET_HDR_SIZE ? 0 : (uint8_t)(i * 3 + tx_heads);
	p[0] = flags & 1 ? fuzz_u8(in) : 0;
	p[1] = flags & 2 ? fuzz_u8(in) : 0;
	sent = len >= NET_HDR_SIZE + 14 && !(p[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !p[1];
	for (unsigned i = 0; i < n; i++) {
		uint32_t part = i == n - 1 ? cut : 1 + fuzz_u8(in) % (cut - (n - 1 - i));

		parts[i] = (struct fake_part){ .addr = at, .len = part, .write = false };
		at += part;
		cut -= part;
	}
	if (sent && !stream()->down) {
		const uint8_t head[4] = { 0, 0, (uint8_t)((len - NET_HDR_SIZE) >> 8), (uint8_t)(len - NET_HDR_SIZE) };

		memcpy(out_bytes + out_len, head, 4);
		memcpy(out_bytes + out_len + 4, p + NET_HDR_SIZE, len - NET_HDR_SIZE);
		out_len += 4 + len - NET_HDR_SIZE;
	}
	fake_ring_add(&rig.ring[TXQ], parts, n);
	tx_heads++;
	rig_kick(&rig, TXQ);
}

/* The peer takes some of what is written. */
static void written(struct fuzz_in *in)
{
	static uint8_t got[NET_STREAM_BUFFER];
	size_t len, done;

	if (!writing())
		return;
	len = fake_loop_peek_write(&stream()->tx_io, got, sizeof(got));
	must(len && len <= sizeof(got) && len <= out_len - out_given);
	must(!memcmp(got, out_bytes + out_given, len));
	done = fuzz_u8(in) & 1 ? len : 1 + fuzz_u16(in) % len;
	out_given += done;
	must(fake_loop_complete(&stream()->tx_io, (int)done));
}

static void restart(struct fuzz_in *in)
{
	if (!broken)
		look();
	fake_vdev_reset(rig.v);
	must(stream()->down || (reading() && !stream()->stalled));
	if (broken) {
		/* who knows what became of them */
		next_frame = whole_frames();
		delivered = next_frame - rig.n->limit[NET_RX].dropped;
	} else {
		look();
	}
	start(in);
}

/* A ring of anything. What its driver gave may be lost; the stream is not. */
static void scribble(struct fuzz_in *in)
{
	unsigned q = fuzz_u8(in) & 1;
	struct fake_ring *r = &rig.ring[q];

	look();
	fake_ring_desc(r, fuzz_below(in, RING), BUFFERS + fuzz_u16(in), fuzz_u16(in), fuzz_below(in, 2) ? 4 : 3, fuzz_u8(in));
	fake_ring_put(r, RING + fuzz_u8(in));
	fake_ring_show(r);
	rig_kick(&rig, q);
	broken = true;
}

static void begin(void)
{
	in_len = in_given = out_len = out_given = 0;
	nr_frames = next_frame = 0;
	delivered = 0;
	bad_at = SIZE_MAX;
	down = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	begin();
	rig_init_stream_limited(&rig, &peer, 1, 1);
	limit_init(rig.n, NET_RX, data, size);
	start(&in);
	for (unsigned steps = 0; fuzz_more(&in) && steps < 300; steps++) {
		switch (fuzz_below(&in, 14)) {
		case 0: case 1: add_buffer(&in); break;
		case 2:
			if (limit_is_on())
				limit_time(fuzz_u8(&in));
			rig_kick(&rig, RXQ);
			break;
		case 3: case 4: peer_sends(&in, false); break;
		case 5: case 6: case 7: hand_over(&in); break;
		case 8: case 9: transmit(&in); break;
		case 10: written(&in); break;
		case 11: restart(&in); break;
		case 12: broken ? restart(&in) : scribble(&in); break;
		default: fuzz_u8(&in) & 1 ? peer_sends(&in, true) : peer_ends(&in);
		}
		if (!broken)
			look();
		fake_loop_turn(rig.loop);
	}
	rig_fini(&rig);
	close(peer);
	return 0;
}
