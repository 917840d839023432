// SPDX-License-Identifier: BSD-3-Clause
/*
 * net_tx: what a guest sends, by way of our loop.
 *
 * Covers: net_user.c's transmit half with any features, headers, sizes and splits of a frame; writes
 *         that end short, late, in error and in any order; kicks, resets with frames under way; limits (net_limit.c).
 * Oracle: a frame that is written is one that may be: its length is the chain's, its body the guest's
 *         bytes, its header what the driver acknowledged and nothing else (checked here once more,
 *         field by field); each chain comes back exactly once; at most NET_TX_DEPTH are under way; a
 *         frame that may go is not dropped; with a limit no more begin than that allows, whatever the guest does.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/net_rig.h"

#include <linux/virtio_net.h>

#include "tests/fuzz/net_clock.h"

#define TXQ 1
#define MAX_PARTS 6
#define RING 16

static struct rig rig;
static uint64_t features;

/* A chain of the driver's, by its head. */
static struct frame {
	bool out;
	uint32_t len;
	uint8_t bytes[4096];
} frames[RING];
static uint64_t sent, returned, dropped;

static const uint64_t choices[] = {
	0, F(CSUM), F(CSUM) | F(HOST_TSO4), F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_UFO) | F(HOST_USO),
};

static bool acked(unsigned bit)
{
	return features & BIT64(bit);
}

static bool segments_ok(const struct virtio_net_hdr_v1 *h, const uint8_t *frame, uint32_t len)
{
	unsigned type = frame[12] << 8 | frame[13], gso = h->gso_type & 0x7f;

	if (type == 0x8100 || type == 0x88a8)
		type = len < 18 ? 0 : frame[16] << 8 | frame[17];
	if (!h->gso_size || len / h->gso_size > (h->gso_type == 5 ? 128 : 2048))
		return false;
	if (!(h->flags & 1) || (h->gso_type & 0x80 && !acked(VIRTIO_NET_F_HOST_ECN)))
		return false;
	if (gso == 1)
		return type == 0x800 && acked(VIRTIO_NET_F_HOST_TSO4);
	if (gso == 4)
		return type == 0x86dd && acked(VIRTIO_NET_F_HOST_TSO6);
	if (h->gso_type & 0x80 || (type != 0x800 && type != 0x86dd))
		return false;
	return gso == 3 ? acked(VIRTIO_NET_F_HOST_UFO) : gso == 5 && acked(56 /* HOST_USO */);
}

/* May this packet be sent? Then @f becomes what the tap has to be given. */
static bool clean(struct frame *f)
{
	struct virtio_net_hdr_v1 h;
	uint32_t len = f->len - NET_HDR_SIZE;

	if (f->len < NET_HDR_SIZE + 14)
		return false;
	memcpy(&h, f->bytes, sizeof(h));
	h.num_buffers = 0;
	h.flags &= 1;
	if (h.flags && (!acked(VIRTIO_NET_F_CSUM) || h.csum_start + h.csum_offset + 2u > len))
		return false;
	if (!h.flags)
		h.csum_start = h.csum_offset = 0;
	if (h.gso_type && (h.hdr_len > len || !segments_ok(&h, f->bytes + NET_HDR_SIZE, len)))
		return false;
	if (!h.gso_type)
		h.hdr_len = h.gso_size = 0;
	memcpy(f->bytes, &h, sizeof(h));
	return true;
}

static void look_at_used(void)
{
	uint32_t id, len;

	while (fake_ring_used(&rig.ring[TXQ], &id, &len)) {
		must(id < RING && frames[id].out && len == 0);
		frames[id].out = false;
		returned++;
	}
}

static unsigned under_way(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NET_TX_DEPTH; i++)
		n += rig.n->pair[0].user->tx[i].busy;
	return n;
}

/* Everything that is being written is a frame of the driver's, cleaned. */
static void look_at_writes(void)
{
	static uint8_t buf[sizeof(frames[0].bytes)];

	for (unsigned i = 0; i < NET_TX_DEPTH; i++) {
		struct net_tx_slot *s = &rig.n->pair[0].user->tx[i];
		struct frame *f = &frames[s->head % RING];

		must(s->busy == (fake_loop_io(&s->io, NULL, NULL) == FAKE_IO_WRITEV));
		if (!s->busy)
			continue;
		must(s->head < RING && f->out);
		must(fake_loop_peek_write(&s->io, buf, sizeof(buf)) == f->len && s->len == f->len);
		must(!memcmp(buf, f->bytes, f->len));
	}
}

/* What is under way has passed as well. */
static void look_at_limit(void)
{
	uint64_t frames_were = limit_frames, bytes_were = limit_bytes;

	for (unsigned i = 0; i < NET_TX_DEPTH; i++)
		if (rig.n->pair[0].user->tx[i].busy)
			limit_passed(rig.n->pair[0].user->tx[i].len - NET_HDR_SIZE);
	limit_look(1, NET_MAX_PACKET); /* a ring of anything has any length in it */
	limit_frames = frames_were;
	limit_bytes = bytes_were;
}

static void start(struct fuzz_in *in)
{
	features = choices[fuzz_below(in, ARRAY_LEN(choices))] | BIT64(VIRTIO_F_VERSION_1);
	for (unsigned q = 0; q < 2; q++) {
		fake_ring_init(&rig.ring[q], rig.mem, rig.ring[q].desc, RING);
		fake_ring_give(&rig.ring[q], rig.v, q);
	}
	must(fake_vdev_start(rig.v, features) == 0);
	memset(frames, 0, sizeof(frames));
	sent = returned = 0;
	dropped = rig.n->limit[NET_TX].dropped;
}

static void restart(struct fuzz_in *in)
{
	for (unsigned i = 0; i < NET_TX_DEPTH; i++)
		if (rig.n->pair[0].user->tx[i].busy)
			limit_passed(rig.n->pair[0].user->tx[i].len - NET_HDR_SIZE);
	fake_vdev_reset(rig.v);
	must(!under_way());
	start(in);
}

/* The header of a frame, mostly of one that means something. */
static void make_frame(struct fuzz_in *in, struct frame *f)
{
	struct virtio_net_hdr_v1 h = { 0 };
	uint8_t kind = fuzz_u8(in), *eth = f->bytes + NET_HDR_SIZE;
	static const uint8_t gso[] = { 0, 1, 4, 3, 5, 0x81, 0x84, 0x83 };

	f->len = kind & 0x80 ? fuzz_u16(in) % sizeof(f->bytes) : NET_HDR_SIZE + 14 + fuzz_u8(in);
	memset(f->bytes, 0x5a, sizeof(f->bytes));
	h.flags = kind >> 3 & 1;
	h.gso_type = gso[kind & 7];
	h.gso_size = 100;
	if (kind & 0x10)
		fuzz_take(in, &h, sizeof(h));
	memcpy(f->bytes, &h, sizeof(h));
	eth[12] = kind & 0x20 ? 0x08 : 0x86;
	eth[13] = kind & 0x20 ? 0x00 : 0xdd;
	if (kind & 0x40)
		fuzz_take(in, eth + 12, 6);
}

static void send_frame(struct fuzz_in *in)
{
	struct fake_ring *r = &rig.ring[TXQ];
	struct fake_part parts[MAX_PARTS];
	uint16_t head = r->next_desc % RING;
	struct frame *f = &frames[head];
	unsigned n = 0;
	uint32_t at = 0;
	gpa_t gpa = BUFFERS + head * 0x1000;

	/* One descriptor for each of a chain's parts, and all of them free. */
	if (rig_needs_reset(&rig) || sent - returned >= RING / MAX_PARTS)
		return;
	make_frame(in, f);
	if (!f->len)
		return;
	while (at < f->len) {
		uint32_t len = n + 1 < MAX_PARTS ? 1 + fuzz_u8(in) : f->len - at;

		len = len < f->len - at ? len : f->len - at;
		parts[n++] = (struct fake_part){ .addr = gpa + at, .len = len };
		at += len;
	}
	must(gmem_write(rig.mem, gpa, f->bytes, f->len) == 0);
	must(fake_ring_add(r, parts, n) == head);
	f->out = true;
	sent++;
	dropped += !clean(f);
}

static void complete(struct fuzz_in *in)
{
	struct net_tx_slot *s = &rig.n->pair[0].user->tx[fuzz_below(in, NET_TX_DEPTH)];
	uint8_t how = fuzz_u8(in);
	int res = (int)s->len;

	if (!s->busy)
		return;
	if (how & 1)
		res = how & 2 ? -(how >> 2) - 1 : (int)(how >> 2);
	dropped += res != (int)s->len;
	limit_passed(s->len - NET_HDR_SIZE);
	must(fake_loop_complete(&s->io, res));
}

/* A whole ring of anything: it breaks, or it does not. */
static void scribble(struct fuzz_in *in)
{
	struct fake_ring *r = &rig.ring[TXQ];
	uint16_t head = fuzz_below(in, RING);

	fake_ring_desc(r, head, BUFFERS + fuzz_u16(in), fuzz_u32(in), fuzz_below(in, 8), fuzz_u8(in));
	fake_ring_put(r, fuzz_u8(in) % (RING + 1));
	fake_ring_show(r);
	rig_kick(&rig, TXQ);
	restart(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	rig_init_limited(&rig, 1, 1, 1);
	limit_init(rig.n, NET_TX, data, size);
	start(&in);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 8)) {
		case 0: case 1: case 2: send_frame(&in); break;
		case 3:
			if (limit_is_on())
				limit_time(fuzz_u8(&in));
			rig_kick(&rig, TXQ);
			break;
		case 4: case 5: complete(&in); break;
		case 6: restart(&in); break;
		case 7: scribble(&in); break;
		}
		look_at_used();
		look_at_writes();
		look_at_limit();
	}
	if (!rig_needs_reset(&rig)) {
		/* what waits goes now, all of it */
		rig_kick(&rig, TXQ);
		for (unsigned i = 0; i < NET_TX_DEPTH * 8; i++) {
			struct net_tx_slot *s = &rig.n->pair[0].user->tx[i % NET_TX_DEPTH];

			limit_time(10000);
			fake_loop_complete(&s->io, (int)s->len);
		}
		rig_kick(&rig, TXQ);
		look_at_used();
		must(returned == sent && rig.n->limit[NET_TX].dropped == dropped);
	}
	rig_fini(&rig);
	return 0;
}
