// SPDX-License-Identifier: BSD-3-Clause
/*
 * vuser: what a back end of vhost-user may say, and when.
 *
 * Covers: user.c, user_run.c, user_link.c, user_msg.c, vuser.c, vuser_net.c, net_ctrl.c: greetings of any bytes; starts and resets
 *         with rings anywhere, answered well, late, by a refusal, by anything, or not at all; words unasked; the end of the back end at any time; a
 *         kernel that does not send; other back ends in its place, the same, with other features, or without sense, while
 *         the guest goes on with its rings; a broker that connects to nobody, or ends; commands to a card, one behind the other.
 * Oracle: the fake back end of tests/fake/vuser.h, which complains of a message that it should not get. A device has queues
 *         and features that both sides have. Ring addresses that are said lie in memory. A start that is done has started
 *         its rings, and after a reset none runs, where the back end kept the rules; where it did not, or is gone, the device
 *         is dead, whose socket is no longer looked at, says NEEDS_RESET, and is silent: what waits ends, and nothing happens for ever.
 *         A greeting that fails says why in one line and leaves nothing open. Another back end that lacks what the guest was
 *         shown is not told of any memory. It begins a ring where that was new, or where its used index stands; and none where
 *         requests may have been in the last one's hands that nobody knows, of which the driver is told. A card
 *         begins anyway; its link is down where nobody is there, and those of its rings are enabled that the last command said which was
 *         done. In the end no descriptor is left.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
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
#define OURS (BIT64(VIRTIO_NET_F_MAC) | BIT64(VIRTIO_NET_F_STATUS) | BIT64(VIRTIO_NET_F_MTU) | BIT64(VIRTIO_NET_F_CTRL_VQ))
#define QUEUES 5 /* of a card two pairs, and the control queue */
#define CTRL 4
#define NO_ANSWER 0xee
#define COMMANDS (RAM + RAM_SIZE - 0x200) /* and their answers */
#define PATH 5 /* its number */
#define MQ_AT 34 /* bytes; where a disk's configuration has its number of queues */

static struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct fake_back b;
	int fd, call[QUEUES];
	struct broker broker;
	int broker_fd;        /* its own end; -1: the device has no path */
	enum vuser_kind kind;
	struct fake_back first; /* what the guest was shown */
	bool first_lied;      /* which is not known then */
	bool misfit;          /* the back end that is there lacks some of that */
	bool unknown;         /* which requests were in the hands of one that has ended */
	enum vdev_todo waits; /* for this the driver does */
	bool lied;            /* the back end has broken a rule */
	bool garbled;         /* by bytes that may be half an answer */
	bool doomed;          /* by the answer to a question that is not asked any more */
	bool over;            /* or hung up */
	bool unsendable;      /* as the kernel does, by an error that does not pass */
	struct vq_regs want[QUEUES];
	/* a card */
	unsigned pairs;
	struct fake_ring ctrl;
	unsigned on;          /* pairs, by the commands that were done */
	uint8_t asked[256];   /* pairs, by all commands of this life */
	unsigned nr_asked, nr_answered;
	bool untidy;          /* rings of any address: what they say means nothing */
} r;

static void queue_irq(void *t, unsigned q)
{
	(void)t;
	must(r.kind == VUSER_NET && q == CTRL);
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

static void give_path(struct vuser_cfg *cfg)
{
	int s[2];

	must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
	must(!broker_init(&r.broker, r.loop, s[0], "vhost-user"));
	r.broker_fd = s[1];
	cfg->broker = &r.broker;
	cfg->path = PATH;
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
	r.b.pairs = kind == VUSER_NET;
	fake_back_prepay(&r.b, kind == VUSER_BLK ? BLK_CONFIG : 0);
}

static void check_new(const struct vuser_cfg *cfg)
{
	uint64_t both = r.b.features | BIT64(VIRTIO_F_VERSION_1);

	if (cfg->kind == VUSER_NET) {
		must(r.v->nr_queues == 2 * cfg->queues + (cfg->queues > 1) && vdev_config_read(r.v, 0, 6) == 0x030201005452);
		must(cfg->queues == 1 || r.lied || (r.b.features & BIT64(VIRTIO_NET_F_MQ) && r.b.queues >= cfg->queues));
		must(r.lied || !(r.v->offered & ~OURS & ~both));
		return;
	}
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
		.name = "x", .kind = how & 0x20 ? VUSER_NET : how & 1 ? VUSER_FS : VUSER_BLK, .loop = r.loop, .mem = r.mem, .fd = r.fd,
		.tag = "folder", .queues = 1 + (how >> 1 & (how & 0x20 ? 1 : 3)), .mtu = how & 8 ? 1400 : 0,
		.mac = (const uint8_t *)"\x52\x54\x00\x01\x02\x03",
	};
	struct err err = { "" };

	r.kind = cfg.kind;
	r.pairs = cfg.queues;
	if (r.kind == VUSER_NET)
		r.b.features |= BIT64(VIRTIO_NET_F_MQ) | BIT64(VIRTIO_NET_F_MTU) | BIT64(VIRTIO_NET_F_MRG_RXBUF);
	if (how & 16)
		r.b.protocol |= BIT64(VU_PROTOCOL_RARP) | BIT64(VU_PROTOCOL_NET_MTU);
	if (how & 0x40)
		give_path(&cfg);
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
	r.first = r.b;
	r.first_lied = r.lied;
	check_new(&cfg);
	return true;
}

static bool in_ram(uint64_t gpa, uint64_t len)
{
	return gpa >= RAM && gpa - RAM <= RAM_SIZE && len <= RAM_SIZE - (gpa - RAM);
}

static uint16_t index_at(gpa_t ring)
{
	uint16_t idx = 0;

	gmem_read(r.mem, ring + 2, &idx, sizeof(idx));
	return idx;
}

/* What the back end was told of each ring that runs. */
static void check_rings(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		const struct fake_back_ring *b = &r.b.ring[q];

		if (b->kick < 0)
			continue;
		must(!r.unknown && (!b->base || r.lied || b->base == index_at(b->addr.used)));
		must(in_ram(b->addr.desc, 16ull * b->num) && in_ram(b->addr.avail, 6 + 2ull * b->num) &&
		     in_ram(b->addr.used, 6 + 8ull * b->num));
	}
}

static void check_silent(void)
{
	for (unsigned q = 0; q < QUEUES; q++)
		must(r.b.ring[q].kick < 0 && !r.b.ring[q].enabled);
}

static unsigned lent(void)
{
	if (r.kind != VUSER_NET)
		return r.v->nr_queues;
	return vdev_has(r.v, VIRTIO_NET_F_MQ) ? 2 * r.pairs : 2;
}

static void check_started(void)
{
	for (unsigned q = 0; q < r.v->nr_queues; q++) {
		const struct fake_back_ring *b = &r.b.ring[q];
		bool runs = r.want[q].ready && q < lent();

		must((b->kick >= 0) == runs);
		must(b->enabled ? runs : !runs || r.kind == VUSER_NET);
		if (r.kind == VUSER_NET && runs && !r.untidy && r.nr_asked == r.nr_answered)
			must(b->enabled == (q < 2 * r.on));
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
	if (r.waits == VDEV_RESET) {
		must(!vdev_status(r.v) && !r.v->active && !r.v->begun);
		r.unknown = false;
	}
	if (r.waits == VDEV_ACTIVATE)
		must(result || r.v->active || (vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET));
	if (!r.lied && !r.over && r.waits == VDEV_RESET)
		check_silent();
	if (!r.lied && !r.over && r.waits == VDEV_ACTIVATE && r.v->active && !r.b.later)
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

/* A command to a card, of any size and number; its answer has a place, or not. */
static void command(struct fuzz_in *in)
{
	unsigned n = r.nr_asked % 64;
	uint8_t how = fuzz_u8(in), pairs = how & 7, none = NO_ANSWER;
	const uint8_t bytes[4] = { VIRTIO_NET_CTRL_MQ, how & 8 ? 1 : VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs, 0 };
	const struct fake_part parts[] = { { COMMANDS + 4 * n, how & 16 ? 3 : 4, false }, { COMMANDS + 0x100 + n, 1, true } };

	if (r.kind != VUSER_NET || r.pairs < 2 || !r.ctrl.size || r.nr_asked == ARRAY_LEN(r.asked) ||
	    (!r.untidy && (r.nr_asked - r.nr_answered >= r.ctrl.size / 2u || r.nr_asked - r.nr_answered >= 64)))
		return;
	gmem_write(r.mem, parts[0].addr, bytes, sizeof(bytes));
	gmem_write(r.mem, parts[1].addr, &none, 1);
	fake_ring_add(&r.ctrl, parts, how & 32 ? 1 : 2);
	r.asked[r.nr_asked++] = how & 24 ? 0 : pairs;
	vdev_notify(r.v, CTRL);
}

/* A pair can be used if its queues were set up. */
static bool are_ready(unsigned pairs)
{
	for (unsigned q = 0; q < 2 * pairs; q++)
		if (!r.want[q].ready)
			return false;
	return true;
}

/* Answers in their order, and no good one to a bad command. */
static void check_answers(void)
{
	uint16_t answered;

	if (r.kind != VUSER_NET || r.pairs < 2 || r.untidy || !r.ctrl.size)
		return;
	answered = fake_ring_used_idx(&r.ctrl);
	must((uint16_t)(answered - r.nr_answered) <= r.nr_asked - r.nr_answered);
	for (; (uint16_t)r.nr_answered != answered; r.nr_answered++) {
		uint8_t ack = 0, pairs = r.asked[r.nr_answered];

		gmem_read(r.mem, COMMANDS + 0x100 + r.nr_answered % 64, &ack, 1);
		must(ack == VIRTIO_NET_OK || ack == VIRTIO_NET_ERR || ack == NO_ANSWER);
		must(ack != VIRTIO_NET_OK || (pairs >= 1 && pairs <= r.pairs && are_ready(pairs)));
		if (ack != VIRTIO_NET_ERR && pairs >= 1 && pairs <= r.pairs && are_ready(pairs))
			r.on = pairs; /* as well where the answer had no place */
	}
}

static bool takes_commands(void)
{
	return r.kind == VUSER_NET && r.pairs > 1 && r.want[CTRL].ready && vdev_has(r.v, VIRTIO_NET_F_MQ) && vdev_has(r.v, VIRTIO_NET_F_CTRL_VQ);
}

static void check_link(void)
{
	must(r.kind != VUSER_NET || r.b.fd >= 0 || !(vdev_config_read(r.v, 6, 2) & VIRTIO_NET_S_LINK_UP));
}

static void start(struct fuzz_in *in)
{
	gpa_t at = RAM + 0x100;

	if (r.waits != VDEV_NOTHING || vdev_status(r.v))
		return;
	r.on = 1;
	r.nr_asked = r.nr_answered = 0;
	r.untidy = false;
	for (unsigned q = 0; q < r.v->nr_queues; q++) {
		struct fake_ring ring;

		at = fake_ring_init(&ring, r.mem, at, (uint16_t)(1u << fuzz_below(in, 9)));
		r.ctrl = ring; /* the last one */
		ring.desc = any_gpa(in, ring.desc);
		ring.used = any_gpa(in, ring.used);
		r.untidy |= ring.desc != r.ctrl.desc || ring.used != r.ctrl.used || ring.size < 4;
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

/* The guest makes requests available; where nobody is there it may also write what a back end does. */
static void move(struct fuzz_in *in)
{
	unsigned q = fuzz_below(in, r.v->nr_queues);
	uint16_t avail = fuzz_u8(in) & 3, used = fuzz_u8(in) & 3;

	r.untidy |= r.kind == VUSER_NET && q == CTRL;
	gmem_write(r.mem, r.want[q].avail + 2, &avail, sizeof(avail));
	if (r.b.fd < 0)
		gmem_write(r.mem, r.want[q].used + 2, &used, sizeof(used));
}

/* The device has ended the connection. */
static bool is_hung_up(void)
{
	struct pollfd p = { .fd = r.b.fd };

	return r.b.fd < 0 || (poll(&p, 1, 0) == 1 && p.revents & POLLHUP);
}

/* The back end ends. */
static void hang_up(void)
{
	if (r.b.fd < 0)
		return;
	for (unsigned q = 0; q < QUEUES; q++)
		if (r.kind != VUSER_NET && r.b.ring[q].kick >= 0 && !r.lied && !is_hung_up() &&
		    (r.kind == VUSER_FS || (!r.b.inflight_file && index_at(r.b.ring[q].addr.avail) != index_at(r.b.ring[q].addr.used))))
			r.unknown = true;
	fake_back_fini(&r.b);
	r.over = true;
	/* an answer of its may still be there, in two pieces, and then the next question is not sent */
	for (unsigned i = 0; i < 4; i++)
		fake_loop_turn(r.loop);
}

/* Another one at the path, like the first, or not. */
static int another(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	int fd;

	fake_back_init(&r.b, &fd);
	r.b.features = r.first.features;
	r.b.protocol = r.first.protocol;
	r.b.queues = r.first.queues;
	memcpy(r.b.config, r.first.config, sizeof(r.b.config));
	r.b.later = true;
	if (how & 1)
		r.b.features ^= BIT64(fuzz_u8(in) & 63);
	if (how & 2)
		r.b.protocol ^= BIT64(fuzz_u8(in) & 15);
	if (how & 4)
		r.b.queues = fuzz_u8(in) & 3;
	if (how & 8)
		r.b.config[fuzz_below(in, BLK_CONFIG)] ^= 1;
	if (how & 16)
		r.b.inflight_how = fuzz_below(in, 3);
	r.b.pairs = r.first.pairs;
	r.misfit = r.v->offered & ~(r.kind == VUSER_NET ? OURS : 0) & ~r.b.features || !(r.b.features & BIT64(VU_F_PROTOCOL_FEATURES)) ||
		   (r.kind == VUSER_BLK && !r.first_lied && (memcmp(r.b.config, r.first.config, MQ_AT) ||
					    memcmp(r.b.config + MQ_AT + 2, r.first.config + MQ_AT + 2, BLK_CONFIG - MQ_AT - 2)));
	return fd;
}

/* The broker is asked by a timer; it answers by a connection, or an error. */
static void come_back(struct fuzz_in *in)
{
	struct broker_reply reply = { .error = -ECONNREFUSED };
	struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct broker_request q;
	int fd = -1;

	fake_loop_expire_all(r.loop);
	fake_loop_turn(r.loop);
	if (recv(r.broker_fd, &q, sizeof(q), MSG_DONTWAIT) != sizeof(q))
		return;
	must(q.path == PATH);
	reply.number = q.number;
	if (fuzz_u8(in) & 3) {
		hang_up();
		fd = another(in);
		reply.error = 0;
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
		r.lied = r.garbled = r.doomed = false;
		r.over = r.unsendable;
	}
	must(sendmsg(r.broker_fd, &m, 0) == sizeof(reply));
	fake_back_close_fd(&fd);
	fake_loop_turn(r.loop);
}

/* An answer of the right form to anything, by its number. */
static void answer_wrongly(struct fuzz_in *in)
{
	uint8_t request = fuzz_u8(in) & 31;

	r.lied = true;
	r.doomed |= request == VU_SET_OWNER;
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

	switch (fuzz_below(in, 16)) {
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

		r.unsendable = e == -EPIPE || e == -EINVAL;
		r.over |= r.unsendable;
		fake_loop_refuse_messages(r.loop, e);
		break;
	}
	case 11: move(in); break;
	case 12: r.kind == VUSER_NET ? command(in) : move(in); break;
	case 13: hang_up(); break;
	case 14: case 15: come_back(in); break;
	}
	if (r.b.complaint)
		fuzz_fail(__FILE__, __LINE__, r.b.complaint);
	check_rings();
	check_answers();
	check_link();
	must(!r.misfit || !r.b.nr_regions);
	must(!r.unknown || r.waits != VDEV_NOTHING || !(vdev_status(r.v) & VIRTIO_CONFIG_S_DRIVER_OK) ||
	     vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* One that keeps the rules, and is what the guest was shown, does all that is asked of it. */
static void work_on(void)
{
	bool good = !r.lied && !r.first_lied && !memcmp(r.b.config, r.first.config, BLK_CONFIG) && !r.over && !r.misfit && r.waits == VDEV_NOTHING && !r.b.refuse && !r.b.mute;

	for (unsigned i = 0; i < 100; i++) {
		fake_back_turn(&r.b);
		if (!(i % 10))
			fake_loop_expire_all(r.loop);
		fake_loop_turn(r.loop);
	}
	check_answers();
	if (good && !r.over && vdev_status(r.v) & VIRTIO_CONFIG_S_DRIVER_OK && !(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET) &&
	    r.b.queues >= (r.b.pairs ? r.pairs : r.v->nr_queues) && r.b.protocol == r.first.protocol) {
		must(!takes_commands() || r.untidy || r.nr_answered == r.nr_asked);
		check_started();
	}
}

/* The back end ends: so does all that waits, and nothing fires for ever. */
static void end(void)
{
	unsigned fired = 0;

	fake_loop_refuse_messages(r.loop, 0);
	for (unsigned i = 0; r.doomed && !r.garbled && i < 64; i++)
		fake_loop_turn(r.loop);
	must(!r.doomed || r.garbled || r.broker_fd >= 0 || !fake_loop_busy(r.loop, 0));
	must(!r.doomed || r.garbled || r.broker_fd < 0 || is_hung_up());
	work_on();
	hang_up();
	if (r.broker_fd >= 0)
		fake_back_close_fd(&r.broker_fd);
	for (unsigned i = 0; i < 8; i++) {
		fake_loop_expire_all(r.loop);
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
	int lowest = dup(0), after;

	close(lowest);
	memset(&r, 0, sizeof(r));
	r.broker_fd = -1;
	must(!loop_new(&r.loop) && !gmem_new(&r.mem) && !gmem_add(r.mem, RAM, RAM_SIZE, true));
	for (unsigned q = 0; q < QUEUES; q++)
		r.call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake_loop_serve(r.loop);
	fake_back_init(&r.b, &r.fd);
	if (greet(&in)) {
		while (fuzz_more(&in))
			step(&in);
		end();
		vdev_free(r.v);
	}
	fake_back_fini(&r.b);
	broker_fini(&r.broker);
	fake_back_close_fd(&r.broker_fd);
	loop_free(r.loop);
	gmem_free(r.mem);
	for (unsigned q = 0; q < QUEUES; q++)
		close(r.call[q]);
	after = dup(0);
	close(after);
	must(after == lowest);
	return 0;
}
