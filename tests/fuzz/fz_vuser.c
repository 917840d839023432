// SPDX-License-Identifier: BSD-3-Clause
/*
 * vuser: what a back end of vhost-user may say, and when.
 *
 * Covers: user.c, user_run.c, user_msg.c, vuser.c: greetings of any bytes; starts and resets with rings anywhere, answered
 *         well, late, by a refusal, by anything, or not at all; words unasked; the end of the back end at any time; a kernel
 *         that does not send.
 * Oracle: the fake back end of tests/fake/vuser.h, which complains of a message that it should not get. A device has queues
 *         and features that both sides have. Ring addresses that are said lie in memory. A start that is done has started
 *         its rings, and after a reset none runs, where the back end kept the rules; where it did not, or is gone, the device
 *         is dead, whose socket is no longer looked at, says NEEDS_RESET, and is silent: what waits ends, and no poll fires for ever. A greeting that fails
 *         says why in one line and leaves nothing open.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "devices/virtio/vuser.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "tests/fake/vuser.h"

#define RAM 0x40000000ull
#define RAM_SIZE 0x20000ull
#define BLK_CONFIG 60
#define QUEUES 4

static struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct fake_back b;
	int fd, call[QUEUES];
	enum vdev_todo waits; /* for this the driver does */
	bool lied;            /* the back end has broken a rule */
	bool garbled;         /* by bytes that may be half an answer */
	bool doomed;          /* by the answer to a question that is not asked any more */
	bool over;            /* or hung up */
	struct vq_regs want[QUEUES];
} r;

static void queue_irq(void *t, unsigned q)
{
	(void)t, (void)q;
	abort();
}

static void config_irq(void *t)
{
	(void)t;
}

static int call_fd(void *t, unsigned q, int *ret_fd)
{
	(void)t;
	*ret_fd = r.call[q];
	return 0;
}

static const struct vdev_irq irq_ops = { .queue = queue_irq, .config = config_irq, .call_fd = call_fd };

static void say_anything(struct fuzz_in *in, unsigned most)
{
	uint8_t bytes[64];
	unsigned n = 1 + fuzz_below(in, most);

	for (unsigned i = 0; i < n; i++)
		bytes[i] = fuzz_u8(in);
	fake_back_send(&r.b, bytes, n);
}

static void prepare_back_end(struct fuzz_in *in, enum vuser_kind kind)
{
	uint8_t how = fuzz_u8(in);

	if (how & 1)
		r.b.features = fuzz_u64(in);
	if (how & 2)
		r.b.protocol = fuzz_u64(in);
	if (how & 4)
		r.b.queues = fuzz_u8(in);
	for (unsigned i = 0; how & 8 && i < BLK_CONFIG; i++)
		r.b.config[i] = fuzz_u8(in);
	fake_back_prepay(&r.b, kind == VUSER_BLK ? BLK_CONFIG : 0);
}

static void check_new(const struct vuser_cfg *cfg)
{
	uint64_t both = r.b.features | BIT64(VIRTIO_F_VERSION_1);

	must(r.v->nr_queues >= 1 && r.v->nr_queues <= (cfg->kind == VUSER_FS ? 2 : cfg->queues));
	if (r.lied)
		return;
	must(!(r.v->offered & ~both) && (r.b.features & BIT64(VIRTIO_F_VERSION_1)));
	must(cfg->kind == VUSER_FS || vdev_config_read(r.v, 0, 8) == *(uint64_t *)r.b.config);
}

static bool greet(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	struct vuser_cfg cfg = {
		.name = "x", .kind = how & 1 ? VUSER_FS : VUSER_BLK, .loop = r.loop, .mem = r.mem, .fd = r.fd, .tag = "folder",
		.queues = 1 + (how >> 1 & 3),
	};
	struct err err = { "" };

	if (how & 0x80) {
		r.lied = r.garbled = true;
		say_anything(in, 64);
		shutdown(r.b.fd, SHUT_WR);
	} else {
		prepare_back_end(in, cfg.kind);
	}
	if (vuser_new(&cfg, &r.v, &err)) {
		must(!strncmp(err.text, "x: ", 3) && !strchr(err.text, '\n') && fcntl(r.fd, F_GETFD) < 0);
		return false;
	}
	vdev_set_irq(r.v, &irq_ops, NULL);
	if (r.lied)
		r.b.prepaid = 100; /* all that was asked has had its answer */
	fake_back_turn(&r.b);
	r.b.prepaid = 0;
	check_new(&cfg);
	return true;
}

static bool in_ram(uint64_t gpa, uint64_t len)
{
	return gpa >= RAM && gpa - RAM <= RAM_SIZE && len <= RAM_SIZE - (gpa - RAM);
}

/* What the back end was told of each ring that runs. */
static void check_rings(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		const struct fake_back_ring *b = &r.b.ring[q];

		if (b->kick < 0)
			continue;
		must(in_ram(b->addr.desc, 16ull * b->num) && in_ram(b->addr.avail, 6 + 2ull * b->num) &&
		     in_ram(b->addr.used, 6 + 8ull * b->num));
	}
}

static void check_silent(void)
{
	for (unsigned q = 0; q < QUEUES; q++)
		must(r.b.ring[q].kick < 0 && !r.b.ring[q].enabled);
}

static void check_started(void)
{
	for (unsigned q = 0; q < r.v->nr_queues; q++) {
		const struct fake_back_ring *b = &r.b.ring[q];

		must(b->enabled == r.want[q].ready);
		must(!b->enabled || (b->kick >= 0 && b->call >= 0 && b->num == r.want[q].size && b->addr.desc == r.want[q].desc));
	}
}

static void act(void)
{
	int result;

	if (r.waits == VDEV_NOTHING)
		return;
	result = vdev_act(r.v, r.waits);
	if (result == LOOP_AGAIN)
		return;
	if (r.waits == VDEV_RESET)
		must(!vdev_status(r.v) && !r.v->active && !r.v->begun);
	else
		must(result || r.v->active || (vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET));
	if (!r.lied && !r.over && r.waits == VDEV_RESET)
		check_silent();
	if (!r.lied && !r.over && r.waits == VDEV_ACTIVATE && r.v->active)
		check_started();
	r.waits = VDEV_NOTHING;
}

static gpa_t any_gpa(struct fuzz_in *in, gpa_t good)
{
	switch (fuzz_below(in, 8)) {
	case 0: return RAM + RAM_SIZE - 0x100 + fuzz_u8(in);
	case 1: return fuzz_u64(in);
	default: return good;
	}
}

static void start(struct fuzz_in *in)
{
	gpa_t at = RAM + 0x100;

	if (r.waits != VDEV_NOTHING || vdev_status(r.v))
		return;
	for (unsigned q = 0; q < r.v->nr_queues; q++) {
		struct fake_ring ring;

		at = fake_ring_init(&ring, r.mem, at, (uint16_t)(1u << fuzz_below(in, 9)));
		ring.desc = any_gpa(in, ring.desc);
		ring.used = any_gpa(in, ring.used);
		if (fuzz_u8(in) != 0xff)
			fake_ring_give(&ring, r.v, q);
		must(vdev_queue(r.v, q, &r.want[q]));
	}
	if (fake_vdev_start(r.v, fuzz_u8(in) & 1 ? r.v->offered : fuzz_u64(in) & r.v->offered) == LOOP_AGAIN)
		r.waits = VDEV_ACTIVATE;
}

static void reset(void)
{
	if (r.waits == VDEV_RESET)
		return;
	must(vdev_set_status(r.v, 0) == VDEV_RESET);
	r.waits = VDEV_RESET;
	act();
}

/* An answer of the right form to anything, by its number. */
static void answer_wrongly(struct fuzz_in *in)
{
	uint8_t request = fuzz_u8(in) & 31;

	r.lied = true;
	r.doomed |= request == VU_SET_OWNER || request == VU_GET_QUEUE_NUM;
	if (request == VU_GET_VRING_BASE) {
		struct vu_state s = { .index = fuzz_u8(in), .num = fuzz_u8(in) };

		fake_back_answer(&r.b, request, &s, sizeof(s));
	} else {
		fake_back_answer_u64(&r.b, request, fuzz_u8(in));
	}
}

static void step(struct fuzz_in *in)
{
	static const int errors[] = { 0, 0, -ETOOMANYREFS, -EAGAIN, -EPIPE, -EINVAL };

	switch (fuzz_below(in, 11)) {
	case 0: start(in); break;
	case 1: case 2: fake_back_turn(&r.b); break;
	case 3: case 4: fake_loop_turn(r.loop); break;
	case 5: act(); break;
	case 6: reset(); break;
	case 7:
		r.lied = r.garbled = true;
		say_anything(in, 32);
		break;
	case 8: answer_wrongly(in); break;
	case 9:
		if (fuzz_u8(in) & 1)
			r.b.refuse = fuzz_u8(in) & 31;
		else
			r.b.mute = fuzz_u8(in) & 31;
		break;
	case 10: {
		int e = errors[fuzz_below(in, ARRAY_LEN(errors))];

		r.over |= e == -EPIPE || e == -EINVAL;
		fake_loop_refuse_messages(r.loop, e);
		break;
	}
	}
	if (r.b.complaint)
		fuzz_fail(__FILE__, __LINE__, r.b.complaint);
	check_rings();
}

/* The back end ends: so does all that waits, and nothing fires for ever. */
static void end(void)
{
	unsigned fired = 0;

	fake_loop_refuse_messages(r.loop, 0);
	for (unsigned i = 0; r.doomed && !r.garbled && i < 64; i++)
		fake_loop_turn(r.loop);
	must(!r.doomed || r.garbled || !fake_loop_fire_fd(r.loop, r.fd, POLLIN));
	fake_back_hang_up(&r.b);
	r.over = true;
	for (unsigned i = 0; i < 8; i++) {
		fired = fake_loop_turn(r.loop);
		act();
	}
	must(!fired && r.waits == VDEV_NOTHING);
	must(!vdev_status(r.v) || !(vdev_status(r.v) & VIRTIO_CONFIG_S_DRIVER_OK) ||
	     vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	reset();
	must(r.waits == VDEV_NOTHING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	memset(&r, 0, sizeof(r));
	must(!loop_new(&r.loop) && !gmem_new(&r.mem) && !gmem_add(r.mem, RAM, RAM_SIZE, true));
	for (unsigned q = 0; q < QUEUES; q++)
		r.call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake_back_init(&r.b, &r.fd);
	if (greet(&in)) {
		while (fuzz_more(&in))
			step(&in);
		end();
		vdev_free(r.v);
	}
	fake_back_fini(&r.b);
	loop_free(r.loop);
	gmem_free(r.mem);
	for (unsigned q = 0; q < QUEUES; q++)
		close(r.call[q]);
	return 0;
}
