// SPDX-License-Identifier: BSD-3-Clause
/*
 * net_rx: packets for a guest, by way of our loop, into whatever buffers it left.
 *
 * Covers: net_user.c's receive half with and without mergeable buffers: buffers of any number and
 *         shape, packets of any size, reads that fail, are called off and done again; pairs of
 *         queues switched by the control queue; resets; limits (net_limit.c).
 * Oracle: a packet that fits arrives once, whole and in order: used lengths add up to it, num_buffers
 *         tells how many buffers, and the bytes in them are the packet's; without mergeable buffers
 *         it is one buffer; what does not fit is counted and leaves the buffers alone; no byte
 *         is written outside of the buffers; with a limit no more arrive than that allows, and nothing is read while it waits.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/net_rig.h"

#include <linux/virtio_net.h>

#include "tests/fuzz/net_clock.h"

#define RXQ 0
#define CTRLQ 4
#define MAX_PARTS 5
#define RING 64
#define BUF_SIZE 0x2000u
#define GUARD 0xee

static struct rig rig;
static bool merges;
static uint64_t dropped;
static struct buffer {
	bool out;
	unsigned n;
	uint32_t len;
	struct { gpa_t gpa; uint32_t len; } part[MAX_PARTS];
} buffers[RING]; /* by head */
static unsigned nr_out;

static struct net_rx *rx(void)
{
	return &rig.n->pair[0].user->rx;
}

static void start(struct fuzz_in *in)
{
	uint8_t flags = fuzz_u8(in);
	uint64_t features = BIT64(VIRTIO_F_VERSION_1) | (flags & 1 ? F(MRG_RXBUF) : 0) |
			    (flags & 2 ? BIT64(VIRTIO_RING_F_EVENT_IDX) : 0) | (flags & 4 ? F(MQ) | F(CTRL_VQ) : 0);

	merges = flags & 1;
	for (unsigned q = 0; q < 5; q++) {
		fake_ring_init(&rig.ring[q], rig.mem, rig.ring[q].desc, RING);
		fake_ring_give(&rig.ring[q], rig.v, q);
	}
	must(fake_vdev_start(rig.v, features) == 0);
	memset(buffers, 0, sizeof(buffers));
	nr_out = 0;
	dropped = rig.n->limit[NET_RX].dropped;
}

static void restart(struct fuzz_in *in)
{
	fake_vdev_reset(rig.v);
	must(fake_loop_io(&rx()->io, NULL, NULL) == FAKE_IO_NONE && !fake_loop_armed(&rx()->poll));
	start(in);
}

static void add_buffer(struct fuzz_in *in)
{
	struct fake_ring *r = &rig.ring[RXQ];
	struct fake_part parts[MAX_PARTS];
	uint16_t head = r->next_desc % RING;
	struct buffer *b = &buffers[head];
	unsigned n = 1 + fuzz_below(in, MAX_PARTS);
	gpa_t at = BUFFERS + (gpa_t)head * BUF_SIZE;

	if (nr_out >= RING / MAX_PARTS)
		return;
	*b = (struct buffer){ .out = true, .n = n };
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = fuzz_u8(in);

		len = len < 0xe0 ? 1 + len : (len - 0xdf) * 48;
		if (i == n - 1 && b->len + len < NET_HDR_SIZE)
			len = NET_HDR_SIZE;
		b->part[i].gpa = at;
		b->part[i].len = len;
		b->len += len;
		parts[i] = (struct fake_part){ .addr = at, .len = len, .write = true };
		at += len;
		*(uint8_t *)gmem_ptr(rig.mem, at++, 1) = GUARD; /* between them, where nobody may write */
	}
	must(fake_ring_add(r, parts, n) == head);
	nr_out++;
}

/* Bytes [@at, ...) of packet @p into the buffer, where they are expected; returns how many the buffer holds. */
static uint32_t compare(const struct buffer *b, const uint8_t *p, uint32_t len)
{
	uint32_t done = 0;

	for (unsigned i = 0; i < b->n && done < len; i++) {
		uint32_t n = b->part[i].len < len - done ? b->part[i].len : len - done;

		must(!memcmp(gmem_ptr(rig.mem, b->part[i].gpa, n), p + done, n));
		done += n;
	}
	for (unsigned i = 0; i < b->n; i++)
		must(*(uint8_t *)gmem_ptr(rig.mem, b->part[i].gpa + b->part[i].len, 1) == GUARD);
	return done;
}

/* The packet that was just read, with num_buffers filled in; NULL: it is not to arrive. */
static void look_at_used(uint8_t *packet, uint32_t total)
{
	uint32_t id, len, done = 0;
	uint16_t n = 0;

	if (packet)
		n = (uint16_t)(fake_ring_used_idx(&rig.ring[RXQ]) - rig.ring[RXQ].used_idx);
	if (packet)
		memcpy(packet + offsetof(struct virtio_net_hdr_v1, num_buffers), &n, sizeof(n));
	while (fake_ring_used(&rig.ring[RXQ], &id, &len)) {
		must(packet && id < RING && buffers[id].out);
		must(len && len <= buffers[id].len);
		must(compare(&buffers[id], packet + done, len) == len);
		buffers[id].out = false;
		nr_out--;
		done += len;
	}
	must(!packet || (done == total && n && (merges || n == 1)));
}

static UNTRACED void receive(struct fuzz_in *in)
{
	static uint8_t packet[NET_MAX_PACKET + 64];
	uint8_t how = fuzz_u8(in);
	uint32_t len = how & 1 ? fuzz_u16(in) % sizeof(packet) : NET_HDR_SIZE + fuzz_u8(in) * 4u;
	uint64_t room = rx()->room;
	bool fits;

	if (fake_loop_io(&rx()->io, NULL, NULL) == FAKE_IO_NONE)
		return;
	for (uint32_t i = 0; i < len; i++)
		packet[i] = (uint8_t)(i + how);
	/* As the kernel: a packet that is longer than all there is to read into is cut. */
	if (len > room + 1)
		len = (uint32_t)room + 1;
	fits = len >= NET_HDR_SIZE && len <= room && len <= NET_MAX_PACKET;
	must(fake_loop_complete_read(&rx()->io, packet, len));
	if (len)
		dropped += !fits;
	if (fits)
		limit_passed(len - NET_HDR_SIZE);
	must(rig.n->limit[NET_RX].dropped == dropped);
	look_at_used(fits ? packet : NULL, len);
}

static void fail_read(struct fuzz_in *in)
{
	static const int errors[] = { -EAGAIN, -EAGAIN, -EINTR, -EIO, -EBADFD };

	fake_loop_complete(&rx()->io, errors[fuzz_below(in, ARRAY_LEN(errors))]);
	look_at_used(NULL, 0);
}

static void set_pairs(struct fuzz_in *in)
{
	uint8_t cmd[4] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, fuzz_u8(in) & 3, 0 };
	const struct fake_part parts[] = { { RAM + 0xf0000, 4, false }, { RAM + 0xf0010, 1, true } };
	uint32_t id, len;

	if (rig.n->ctrl != CTRLQ)
		return;
	must(gmem_write(rig.mem, parts[0].addr, cmd, sizeof(cmd)) == 0);
	fake_ring_add(&rig.ring[CTRLQ], parts, 2);
	rig_kick(&rig, CTRLQ);
	must(fake_ring_used(&rig.ring[CTRLQ], &id, &len) && len == 1);
	must(*(uint8_t *)gmem_ptr(rig.mem, parts[1].addr, 1) == !(cmd[2] && cmd[2] <= rig.pairs));
	must(rig.n->pairs_on >= 1 && rig.n->pairs_on <= rig.pairs);
}

/* A buffer of anything: the device stops, or it does not, and is reset. */
static void scribble(struct fuzz_in *in)
{
	struct fake_ring *r = &rig.ring[RXQ];

	fake_ring_desc(r, fuzz_below(in, RING), BUFFERS + fuzz_u16(in), fuzz_u32(in), fuzz_below(in, 8), fuzz_u8(in));
	fake_ring_put(r, fuzz_u8(in) % (RING + 1));
	fake_ring_show(r);
	rig_kick(&rig, RXQ);
	restart(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	rig_init_limited(&rig, 2, 1, 1);
	limit_init(rig.n, NET_RX, data, size);
	start(&in);
	for (unsigned steps = 0; fuzz_more(&in) && steps < 200; steps++) {
		switch (fuzz_below(&in, 10)) {
		case 0: case 1: add_buffer(&in); break;
		case 2:
			if (limit_is_on())
				limit_time(fuzz_u8(&in));
			rig_kick(&rig, RXQ);
			break;
		case 3: case 4: case 5: receive(&in); break;
		case 6: fail_read(&in); break;
		case 7: set_pairs(&in); break;
		case 8: fake_loop_fire(&rx()->poll, POLLIN); break;
		case 9:
			if (fuzz_u8(&in) & 1)
				restart(&in);
			else
				scribble(&in);
			break;
		}
		must(!rig_needs_reset(&rig));
		must(!limit->waiting || fake_loop_io(&rx()->io, NULL, NULL) == FAKE_IO_NONE);
		limit_look(2, NET_MAX_PACKET);
	}
	rig_fini(&rig);
	return 0;
}
