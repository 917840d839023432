// SPDX-License-Identifier: BSD-3-Clause
/*
 * balloon: lists, reports and statistics of any shape, in memory that changes before each single read of it.
 *
 * Covers: virtio/balloon.c, built here once more with its copies watched: lists cut in any way, numbers of any page, parts of any
 *         length, one kick's share and what is left of it, questions for statistics, a host that does not take what it is given,
 *         queues of any set, resets amid a list, rings of anything.
 * Oracle: a number is read once, in the list's order, and a page goes if it was in what was read, and no other; a number that is no
 *         memory stops the device, and what was good before it has gone. What is reported goes if it may be written, and nothing beside
 *         it. Chains come back once, in order, and their length is 0; after a reset nothing of the old ones is done. A kick does no
 *         more than its share. The counts are the model's. What the host wants is not written by the driver.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "devices/virtio/balloon.h"
#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "vmm/core/gmem.h"

/* A number whose upper bits were lost would name it. */
#define RAM 0x80000000u
#define PAGES 80u
#define RAM_SIZE (PAGES * 4096)
#define LISTS (RAM + 0x8000)   /* rings lie before them */
#define RING 16
#define NR_QUEUES 5
#define TARGET 7
#define MOST_PARTS 4
#define A_KICK_CALLS 257
#define A_KICK_PAGES 4096
#define ALL_ROUNDS 1000

enum what { NO_ROLE, INFLATES, DEFLATES, ASKS, REPORTS };

struct posted {
	uint16_t head;
	unsigned n;
	struct fake_part parts[MOST_PARTS];
};

static struct loop *loop;
static struct gmem *mem;
static struct vdev *balloon;
static struct fake_ring rings[NR_QUEUES];
static enum what roles[NR_QUEUES];
static bool made[NR_QUEUES];
static struct posted posted[NR_QUEUES][RING]; /* not given back yet, the oldest first */
static unsigned nr_out[NR_QUEUES];
static unsigned descs[NR_QUEUES];          /* that they have */
static bool rude;      /* the driver has scribbled on a ring: only that nothing else goes counts until the reset */

/* What goes on in a kick. */
static struct fuzz_in *input;
static unsigned kicked = NR_QUEUES;
static unsigned changes, refusals;  /* reads that are changed; the call that fails, counted down to 0 */
static unsigned calls, numbers;
static bool named[PAGES], gone[PAGES];
static bool bad_number, asked;

/* How far a list, or an answer, is read: byte @read_at of the chain that is the @reading-th of those that are out. */
static unsigned reading;
static uint64_t read_at;
static uint8_t item[16];
static unsigned item_len;

/* The model's counts. */
static uint64_t inflated, reported, failed, given; /* bytes */
static uint64_t answer[16];
static uint32_t has;
static unsigned entries;

static UNTRACED void all_pages(bool *set, bool to)
{
	for (unsigned i = 0; i < PAGES; i++)
		set[i] = to;
}

static char *hva(gpa_t gpa)
{
	return (char *)gmem_ptr(mem, RAM, RAM_SIZE) + (gpa - RAM);
}

static uint64_t readable_len(const struct posted *p)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < p->n && !p->parts[i].write; i++)
		len += p->parts[i].len;
	return len;
}

static const char *readable_byte(const struct posted *p, uint64_t n)
{
	for (unsigned i = 0; i < p->n && !p->parts[i].write; i++) {
		if (n < p->parts[i].len)
			return hva(p->parts[i].addr) + n;
		n -= p->parts[i].len;
	}
	return NULL;
}

/* @len bytes at @at are what is to be read next. A number that is not whole is left at the end of its chain. */
static void must_be_next(unsigned q, const char *at, size_t len)
{
	while (reading < nr_out[q] && read_at == readable_len(&posted[q][reading])) {
		reading++;
		read_at = item_len = 0;
	}
	must(reading < nr_out[q]);
	must(readable_byte(&posted[q][reading], read_at) == at && readable_byte(&posted[q][reading], read_at + len - 1) == at + len - 1);
	read_at += len;
}

static void number_read(uint32_t pfn)
{
	uint64_t at = (uint64_t)pfn << 12;

	must(!bad_number);
	numbers++;
	if (at < RAM || at >= RAM + RAM_SIZE) {
		bad_number = true;
		return;
	}
	named[(at - RAM) / 4096] = true;
	inflated += 4096;
}

static void stat_read(const uint8_t *p)
{
	struct virtio_balloon_stat st;

	must(++entries <= 64);
	memcpy(&st, p, sizeof(st));
	if (st.tag >= BALLOON_STATS)
		return;
	has |= BIT32(st.tag);
	answer[st.tag] = st.val;
}

static void add_to_item(const void *from, size_t len)
{
	size_t whole = roles[kicked] == ASKS ? sizeof(struct virtio_balloon_stat) : sizeof(uint32_t);
	uint32_t pfn;

	must(item_len + len <= whole);
	memcpy(item + item_len, from, len);
	item_len += (unsigned)len;
	if (item_len < whole)
		return;
	item_len = 0;
	memcpy(&pfn, item, sizeof(pfn));
	if (roles[kicked] == ASKS)
		stat_read(item);
	else
		number_read(pfn);
}

static void *watched_copy(void *dst, const void *src, size_t len)
{
	const char *at = src, *ram = hva(RAM);

	if (at < ram || at >= ram + RAM_SIZE)
		return memcpy(dst, src, len);
	must(kicked < NR_QUEUES && (roles[kicked] == INFLATES || roles[kicked] == ASKS));
	if (changes) {
		changes--;
		fuzz_take(input, hva(RAM) + (at - ram), len);
	}
	memcpy(dst, src, len);
	if (rude)
		return dst;
	must_be_next(kicked, at, len);
	add_to_item(dst, len);
	return dst;
}

/* Instead of the host. */
static int watched_give_back(const struct gmem *m, const void *at, uint64_t len, uint64_t *ret_len)
{
	const char *ram = hva(RAM), *from = at;
	uint64_t first, end;

	must(m == mem && len && from >= ram && from < ram + RAM_SIZE && len <= (uint64_t)(ram + RAM_SIZE - from));
	must(kicked < NR_QUEUES && (roles[kicked] == INFLATES || roles[kicked] == REPORTS));
	calls++;
	if (refusals && !--refusals) {
		failed += len;
		first = (uint64_t)(from - ram) / 4096;
		for (end = first + len / 4096; roles[kicked] == INFLATES && first < end; first++)
			gone[first] = true; /* as far as the device can see to it */
		return -EINVAL;
	}
	first = align_up((uint64_t)(from - ram), 4096);
	end = align_down((uint64_t)(from - ram) + len, 4096);
	*ret_len = end > first ? end - first : 0;
	rude |= first < LISTS - RAM; /* a ring */
	given += *ret_len;
	if (end > first)
		memset(hva(RAM) + first, 0, end - first);
	for (uint64_t p = first; p < end; p += 4096)
		gone[p / 4096] = true;
	return 0;
}

#define memcpy watched_copy
#define gmem_give_back watched_give_back
#include "devices/virtio/balloon.c"
#undef memcpy
#undef gmem_give_back

static bool needs_reset(void)
{
	return vdev_status(balloon) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void irq_queue(void *t, unsigned q)
{
	(void)t;
	must(q < NR_QUEUES);
}

static void irq_config(void *t)
{
	(void)t;
}

static const struct vdev_irq irq = { .queue = irq_queue, .config = irq_config };

/* s5.5.2, and what drivers make of it: the last queue that is there reports. */
static void model_roles(uint64_t features)
{
	bool with_stats = features & BIT64(VIRTIO_BALLOON_F_STATS_VQ);

	memset(roles, 0, sizeof(roles));
	roles[0] = INFLATES;
	roles[1] = DEFLATES;
	if (with_stats)
		roles[2] = ASKS;
	for (unsigned q = NR_QUEUES; features & BIT64(VIRTIO_BALLOON_F_REPORTING) && q-- > 2u + with_stats;)
		if (made[q]) {
			roles[q] = REPORTS;
			break;
		}
}

/* What it counted of a list that nobody waits for any more, or out of a ring of anything. */
static void take_counts(void)
{
	struct balloon_counts c = balloon_counts(balloon);

	inflated = c.inflated;
	reported = c.reported;
	failed = c.failed;
	given = c.given_back;
	has = c.has;
	for (unsigned t = 0; t < BALLOON_STATS; t++)
		answer[t] = c.stats[t];
}

static void start(struct fuzz_in *in)
{
	static const uint64_t sets[] = {
		BIT64(VIRTIO_BALLOON_F_REPORTING) | BIT64(VIRTIO_BALLOON_F_STATS_VQ), BIT64(VIRTIO_BALLOON_F_REPORTING),
		BIT64(VIRTIO_BALLOON_F_STATS_VQ) | BIT64(VIRTIO_RING_F_INDIRECT_DESC), BIT64(VIRTIO_RING_F_EVENT_IDX),
	};
	uint8_t how = fuzz_u8(in);
	uint64_t features = sets[how & 3];

	fake_vdev_reset(balloon);
	must(!balloon->active && vdev_config_read(balloon, 4, 4) == 0);
	kicked = NR_QUEUES;
	while (fake_loop_turn(loop)) /* kicks that nobody has heard; nothing comes of them */
		;
	take_counts();
	rude = bad_number = asked = false;
	memset(nr_out, 0, sizeof(nr_out));
	memset(descs, 0, sizeof(descs));
	reading = item_len = entries = 0;
	read_at = 0;
	for (unsigned q = 0; q < NR_QUEUES; q++) {
		made[q] = !(how >> 2 & 1u << q);
		fake_ring_init(&rings[q], mem, RAM + 0x1000 * q, RING);
		if (made[q])
			fake_ring_give(&rings[q], balloon, q);
	}
	model_roles(features);
	must(fake_vdev_start(balloon, features) == 0);
}

/* The oldest of @q has come back: all of it was done. */
static void came_back(unsigned q)
{
	const struct posted *p = &posted[q][0];

	if (roles[q] == REPORTS)
		for (unsigned i = 0; i < p->n; i++)
			reported += p->parts[i].write ? p->parts[i].len : 0;
	if (roles[q] == INFLATES) {
		must(reading || read_at == readable_len(p));
		if (reading)
			reading--;
		else
			read_at = item_len = 0;
	}
	descs[q] -= p->n;
	memmove(posted[q], posted[q] + 1, --nr_out[q] * sizeof(posted[q][0]));
}

static void look_at_used(unsigned q)
{
	uint32_t id, len;

	while (!rude && made[q] && fake_ring_used(&rings[q], &id, &len)) {
		must(roles[q] != NO_ROLE && nr_out[q] && id == posted[q][0].head && !len);
		came_back(q);
	}
}

static UNTRACED bool is_in_a_part(unsigned q, uint32_t page)
{
	for (unsigned c = 0; c < nr_out[q]; c++)
		for (unsigned k = 0; k < posted[q][c].n; k++) {
			const struct fake_part *p = &posted[q][c].parts[k];

			if (p->write && p->addr <= page && p->addr + p->len >= page + 4096)
				return true;
		}
	return false;
}

static UNTRACED void look_at_pages(unsigned q)
{
	for (unsigned i = 0; i < PAGES; i++)
		must(roles[q] == INFLATES ? gone[i] == named[i] : !gone[i] || is_in_a_part(q, RAM + i * 4096));
}

static void look_at_counts(void)
{
	struct balloon_counts c = balloon_counts(balloon);

	if (rude)
		return;
	must(c.inflated == inflated && c.failed == failed && c.given_back == given && c.target == TARGET * 4096);
	for (unsigned q = 0; q < NR_QUEUES; q++)
		must(roles[q] != REPORTS || nr_out[q] || c.reported == reported);
	must(c.has == has);
	for (unsigned t = 0; t < BALLOON_STATS; t++)
		must(!(has & BIT32(t)) || c.stats[t] == answer[t]);
}

/* A round of the loop, which has one kick in it. False: nothing was left to do. */
static bool turn(void)
{
	bool more;

	all_pages(named, false);
	all_pages(gone, false);
	calls = numbers = 0;
	more = fake_loop_turn(loop);
	must(calls <= A_KICK_CALLS && numbers <= A_KICK_PAGES);
	if (!rude)
		look_at_pages(kicked);
	look_at_used(kicked);
	return more;
}

/* @rounds: so many at most; what is left then is forgotten by a reset. */
static void kick(struct fuzz_in *in, unsigned rounds)
{
	unsigned q = fuzz_below(in, NR_QUEUES);
	uint8_t how = fuzz_u8(in);
	bool all = rounds == ALL_ROUNDS, second = roles[q] == ASKS && nr_out[q] > 1 && made[q];

	input = in;
	changes = how & 7;
	refusals = how >> 3 & 3;
	kicked = q;
	reading = item_len = 0; /* what was posted before is done, or stays where it is */
	read_at = 0;
	if (roles[q] == ASKS && nr_out[q] && !asked && made[q]) {
		asked = true;
		has = 0; /* of the last answer */
		entries = 0;
	}
	vdev_notify(balloon, q);
	while (rounds-- && turn())
		;
	kicked = NR_QUEUES;
	if (rude || !all)
		return;
	must(needs_reset() || !(bad_number || second));
	must(!needs_reset() || bad_number || asked);
	must(!made[q] || roles[q] == NO_ROLE || roles[q] == ASKS || needs_reset() || !nr_out[q]);
}

static void post(unsigned q, const struct posted *p)
{
	if (rude || descs[q] + p->n > RING)
		return;
	posted[q][nr_out[q]] = *p;
	posted[q][nr_out[q]++].head = fake_ring_add(&rings[q], p->parts, p->n);
	descs[q] += p->n;
}

/* Numbers of pages: in a row, up or down, the same, of no page; of one whose upper bits are not there. */
static UNTRACED void put_numbers(gpa_t at, uint32_t len, uint32_t first, int step)
{
	for (uint32_t i = 0; i + 4 <= len; i += 4, first += (uint32_t)step)
		memcpy(hva(at + i), &first, sizeof(first));
}

static void post_some(struct fuzz_in *in)
{
	static const uint32_t firsts[] = { RAM >> 12, (RAM >> 12) + 8, (RAM >> 12) + 40, 0x180008, 0, UINT32_MAX - 3 };
	unsigned q = fuzz_below(in, NR_QUEUES);
	struct posted p = { .n = 1 + fuzz_below(in, MOST_PARTS) };
	uint8_t how = fuzz_u8(in);
	unsigned writable = roles[q] == REPORTS ? 0 : p.n; /* from this one on */

	if (how & 1)
		writable = fuzz_below(in, MOST_PARTS + 1);
	for (unsigned i = 0; i < p.n; i++) {
		uint32_t room = RAM_SIZE - (LISTS - RAM), off = fuzz_u16(in) * (how & 2 ? 4096u : 1u) % room;
		uint32_t len = how & 4 ? fuzz_u16(in) : fuzz_u8(in);

		len = 1 + len % (room - off);
		p.parts[i] = (struct fake_part){ LISTS + off, len, i >= writable };
		if (how & 8 && !p.parts[i].write)
			put_numbers(LISTS + off, len, firsts[fuzz_below(in, ARRAY_LEN(firsts))] + fuzz_below(in, 32),
				    (int)fuzz_below(in, 4) - 1);
	}
	if (how & 16 && !p.parts[0].write)
		fuzz_take(in, hva(p.parts[0].addr), p.parts[0].len < 40 ? p.parts[0].len : 40);
	post(q, &p);
}

static void scribble(struct fuzz_in *in)
{
	unsigned q = fuzz_below(in, NR_QUEUES);

	rude = true;
	fake_ring_desc(&rings[q], (uint16_t)fuzz_below(in, RING), RAM + fuzz_u32(in) % (RAM_SIZE + 8192), fuzz_u32(in) & 0xfffff,
		       (uint16_t)fuzz_below(in, 8), (uint16_t)fuzz_below(in, RING + 1));
	fake_ring_put(&rings[q], (uint16_t)fuzz_below(in, RING + 1));
	if (fuzz_u8(in) & 1)
		fake_ring_show(&rings[q]);
	else
		fake_ring_set_avail_idx(&rings[q], fuzz_u16(in));
}

/* The question: the answer before it goes back. */
static void ask(void)
{
	struct balloon *b = balloon_of(balloon);
	unsigned before = nr_out[2];

	if (!fake_loop_timer(&b->timer) || !fake_loop_expire(&b->timer))
		return;
	look_at_used(2);
	must(rude || needs_reset() || !asked || nr_out[2] + 1 == before);
	asked = asked && nr_out[2] == before;
}

static void touch_config(struct fuzz_in *in)
{
	unsigned off = fuzz_below(in, 12), len = fuzz_good_width(in);

	vdev_config_write(balloon, off, len, fuzz_u32(in));
	(void)vdev_config_read(balloon, off, len);
	must(vdev_config_read(balloon, 0, 4) == TARGET);
}

static void step(struct fuzz_in *in)
{
	switch (fuzz_below(in, 9)) {
	case 0: case 1: case 2: post_some(in); break;
	case 3: case 4: kick(in, ALL_ROUNDS); break;
	case 5: ask(); break;
	case 6: touch_config(in); break;
	case 7:
		if (fuzz_u8(in) & 1)
			kick(in, 1);
		start(in);
		break;
	case 8: scribble(in); break;
	}
	look_at_counts();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	struct balloon_cfg cfg = {
		.name = "balloon0", .size = TARGET * 4096, .oom = true, .reporting = true, .stats_ns = 1000000000,
	};

	must(loop_new(&loop) == 0 && gmem_new(&mem) == 0 && gmem_add(mem, RAM, RAM_SIZE, false) == 0);
	cfg.loop = loop;
	cfg.mem = mem;
	must(balloon_new(&cfg, &balloon) == 0 && loop_seal(loop) == 0);
	vdev_set_irq(balloon, &irq, NULL);
	start(&in);
	for (unsigned steps = 0; fuzz_more(&in) && steps < 200; steps++)
		step(&in);
	vdev_free(balloon);
	loop_free(loop);
	gmem_free(mem);
	return 0;
}
