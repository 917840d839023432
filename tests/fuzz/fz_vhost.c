// SPDX-License-Identifier: BSD-3-Clause
/*
 * vhost: what of a driver's queue registers reaches the kernel.
 *
 * Covers: net.c, net_vhost.c, vhost.c, tap.c: any addresses, sizes, features and number of ready
 *         queues, over two regions of memory; a control queue that switches pairs; kernels that
 *         refuse a request; errors of a ring; resets and starts again.
 * Oracle: the fake kernel of tests/fake/vhost.h, which complains of any request it should not see;
 *         each ring that has a back end lies inside one region, where the guest's address is, and
 *         has the size that was written; only offered features are passed on; a device that cannot
 *         be started runs no ring and says NEEDS_RESET; after a reset no ring has anything left.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/net_rig.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#define PAIRS 2
#define CTRLQ (2 * PAIRS)
#define MORE 0x80000000ull
#define MORE_SIZE 0x10000ull

/* Those that may be refused at a start; the first are no part of a reset. */
#define NR_HARMLESS 6
static const unsigned long requests[] = {
	VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND, TUNSETOFFLOAD,
};

static struct rig rig;
static struct vq_regs want[2 * PAIRS + 1];

static gpa_t any_gpa(struct fuzz_in *in, gpa_t good)
{
	switch (fuzz_below(in, 8)) {
	case 0: return RAM + RAM_SIZE - 0x2000 + fuzz_u16(in) % 0x3000;
	case 1: return MORE + MORE_SIZE - 0x1000 + fuzz_u16(in) % 0x2000;
	case 2: return fuzz_u64(in);
	case 3: return MORE + fuzz_u16(in);
	default: return good;
	}
}

static bool in_ram(gpa_t gpa, uint64_t len)
{
	return (gpa >= RAM && gpa - RAM < RAM_SIZE && len <= RAM_SIZE - (gpa - RAM)) ||
	       (gpa >= MORE && gpa - MORE < MORE_SIZE && len <= MORE_SIZE - (gpa - MORE));
}

static bool startable(const struct vq_regs *r)
{
	return !(r->desc % 16) && !(r->avail % 2) && !(r->used % 4) && in_ram(r->desc, 16ul * r->size) &&
	       in_ram(r->avail, 6 + 2ul * r->size) && in_ram(r->used, 6 + 8ul * r->size);
}

/* Of a pair whose back end the kernel did not take away, all is closed. */
static const struct fake_vhost_ring *ring_of(unsigned q)
{
	static const struct fake_vhost_ring none = { .kick = -1, .call = -1, .backend = -1 };
	const struct fake_vhost_dev *d = fake_vhost_dev(rig.n->pair[q / 2].vh.fd);

	return d ? &d->ring[q % 2] : &none;
}

static bool some_closed(void)
{
	for (unsigned p = 0; p < PAIRS; p++)
		if (rig.n->pair[p].vh.fd < 0)
			return true;
	return false;
}

static bool at(uint64_t hva, gpa_t gpa)
{
	return hva == (uintptr_t)gmem_ptr(rig.mem, gpa, 1);
}

static void give_queue(struct fuzz_in *in, unsigned q)
{
	struct fake_ring r = rig.ring[q];
	uint8_t how = fuzz_u8(in);

	r.size = (uint16_t)(how & 0x80 ? fuzz_u16(in) : 1u << (how & 7));
	fake_ring_init(&rig.ring[q], rig.mem, rig.ring[q].desc, NET_QUEUE_SIZE);
	r.desc = any_gpa(in, rig.ring[q].desc);
	r.avail = any_gpa(in, rig.ring[q].avail);
	r.used = any_gpa(in, rig.ring[q].used);
	if (how & 0x40)
		return; /* never set up */
	fake_ring_give(&r, rig.v, q);
	must(vdev_queue(rig.v, q, &want[q]));
	must(is_pow2(want[q].size) && want[q].size <= NET_QUEUE_SIZE && want[q].ready);
	must(want[q].desc == r.desc && want[q].avail == r.avail && want[q].used == r.used);
}

static void check_idle(void)
{
	for (unsigned q = 0; q < 2 * PAIRS; q++)
		must(ring_of(q)->backend < 0 && ring_of(q)->call < 0 && ring_of(q)->kick < 0);
	for (unsigned p = 0; p < PAIRS; p++)
		must(!rig.n->pair[p].on && !rig.n->pair[p].ready);
	must(!fv.offloads && !rig.v->vhost_queues);
}

static void check_ring(unsigned q)
{
	const struct fake_vhost_ring *r = ring_of(q);
	const struct vq_regs *w = &want[q];

	if (r->backend < 0)
		return;
	must(w->ready && startable(w) && r->num == w->size && r->base == 0);
	must(at(r->addr.desc_user_addr, w->desc) && at(r->addr.avail_user_addr, w->avail) &&
	     at(r->addr.used_user_addr, w->used));
	must(r->kick == vdev_kick_fd(rig.v, q) && r->call == rig.call[q] && r->backend == fv.tap_fd[q / 2]);
	must(!(fake_vhost_dev(rig.n->pair[q / 2].vh.fd)->acked & ~(rig.v->acked & fv.features)));
}

/* After any step. */
static void look(void)
{
	must(!fv.complaint);
	for (unsigned q = 0; q < 2 * PAIRS; q++)
		check_ring(q);
	if (!rig.v->active)
		check_idle();
}

/* Whether the device can be started with @features, as the queues stand. */
static bool all_startable(uint64_t features)
{
	unsigned ctrl = features & F(MQ) ? CTRLQ : 2;
	bool good = true;

	for (unsigned q = 0; q < ctrl; q++)
		good &= !want[q].ready || !want[q ^ 1].ready || startable(&want[q]);
	return good && (!(features & F(CTRL_VQ)) || !want[ctrl].ready || startable(&want[ctrl]));
}

/*
 * The kernel refuses one of the requests. What a reset asks for it never refuses, so those come
 * in only where a start gets that far.
 */
static bool refuse_one(struct fuzz_in *in, bool good)
{
	unsigned i = fuzz_below(in, ARRAY_LEN(requests)), after = fuzz_below(in, 8);

	if (i >= NR_HARMLESS && !good)
		return false;
	fake_vhost_fail(requests[i], EIO, i < NR_HARMLESS ? after : 0);
	return true;
}

static void start(struct fuzz_in *in)
{
	uint8_t flags = fuzz_u8(in);
	uint64_t features = flags & 1 ? rig.v->offered : fuzz_u64(in) & rig.v->offered;
	bool good, failing = some_closed();
	int r;

	fake_vdev_reset(rig.v);
	check_idle();
	memset(want, 0, sizeof(want));
	for (unsigned q = 0; q <= CTRLQ; q++)
		give_queue(in, q);
	good = all_startable(features);
	if (flags & 4)
		failing |= refuse_one(in, good);
	r = fake_vdev_start(rig.v, features);
	fv.fail_req = 0;
	must(good || r < 0);
	must(!good || failing || r == 0);
	must(r == 0 ? rig.v->active : !rig.v->active && rig_needs_reset(&rig));
}

static void set_pairs(struct fuzz_in *in)
{
	const gpa_t cmd = RAM + 0xf0000;
	uint8_t bytes[4];
	const struct fake_part parts[] = { { cmd, 4, false }, { cmd + 16, 1, true } };
	struct fake_ring r = rig.ring[CTRLQ];

	/* Only where the control queue is an ordinary one. */
	if (!rig.v->active || rig.n->ctrl != CTRLQ || want[CTRLQ].desc != r.desc || want[CTRLQ].avail != r.avail ||
	    want[CTRLQ].used != r.used || want[CTRLQ].size < 2)
		return;
	bytes[0] = VIRTIO_NET_CTRL_MQ;
	bytes[1] = fuzz_u8(in) & 1;
	bytes[2] = fuzz_u8(in) & 3;
	bytes[3] = 0;
	must(gmem_write(rig.mem, cmd, bytes, sizeof(bytes)) == 0);
	if (fuzz_u8(in) & 1)
		fake_vhost_fail(VHOST_NET_SET_BACKEND, EIO, fuzz_below(in, 4));
	rig.ring[CTRLQ].size = want[CTRLQ].size;
	fake_ring_add(&rig.ring[CTRLQ], parts, 2);
	rig_kick(&rig, CTRLQ);
	fv.fail_req = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	const uint64_t one = 1;

	rig_init(&rig, PAIRS, true);
	must(gmem_add(rig.mem, MORE, MORE_SIZE, false) == 0);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 5)) {
		case 0: case 1: start(&in); break;
		case 2: set_pairs(&in); break;
		case 3:
			/* the kernel found a ring broken */
			must(write(rig.n->pair[fuzz_below(&in, PAIRS)].vh.err_fd, &one, sizeof(one)) > 0);
			fake_loop_turn(rig.loop);
			break;
		case 4: fake_vdev_reset(rig.v); break;
		}
		look();
	}
	rig_fini(&rig);
	return 0;
}
