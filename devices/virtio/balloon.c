// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * Three of the queues bring lists: of page numbers (inflate, deflate), of buffers that are free pages themselves
 * (reporting). A chain may be as long as a guest likes, up to 2^32 - 1 bytes, so it is worked off by shares: what a
 * kick may cost is limited in pages looked at, calls to the host and bytes that go, and where a share ends in the
 * middle of a chain, the place is kept in a struct list and the queue kicks itself, behind whatever else the loop has
 * to do. A chain goes back to the driver when all of it is done, so a driver that waits for it knows that the host has
 * the pages. Page numbers are fetched one by one, each once.
 *
 * Linux lists pages one by one as it finds them, mostly in a row, upwards or down: neighbours are joined to a run, and
 * a run is one call. Also only a run can hold a page of a host whose pages are larger.
 *
 * The fourth queue holds one buffer of the driver's, with statistics; when it comes back to the driver, that is the
 * question for new ones. A guest that does not answer is not asked again.
 *
 * Which queue reports is a matter of dispute: number 4 by the specification, but Linux, and other devices, leave out
 * the numbers of queues whose features are not there. So it is the last one that the driver made ready.
 */
#include "devices/virtio/balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "vmm/base/clock.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/obj.h"

#define QUEUE_SIZE 128
#define QUEUES 5
#define CONFIG_LEN offsetof(struct virtio_balloon_config, free_page_hint_cmd_id)
#define MOST_PAGES 4096      /* of a share: page numbers and chains */
#define MOST_CALLS 256       /* to the host */
#define MOST_BYTES (32 * MIB)
#define MOST_NS (NS_PER_SEC / 50) /* where memory is shared: its file has a lock, which others who have it may hold for long */
#define PIECE (4 * MIB)      /* of a buffer, at most, in one call */
#define MOST_STATS 64        /* entries of an answer that are looked at */

enum role { NOTHING, INFLATE, DEFLATE, STATS, REPORT };

/* A chain, and how far it is done. */
struct list {
	struct vq_chain c;
	struct iovec iov[QUEUE_SIZE];
	bool taken;          /* from the ring, and not given back yet */
	unsigned part;       /* the next byte is byte `off` of this one */
	size_t off;
};

/* What is left of a kick's. */
struct share {
	unsigned pages, calls;
	uint64_t bytes, until_ns;
};

/* Pages side by side. */
struct run {
	char *at;
	uint64_t len;
};

struct balloon {
	struct vdev vdev;
	uint32_t target;     /* pages */
	uint32_t actual;     /* the driver's field, under the vdev's lock */
	uint64_t stats_ns;
	struct loop_timer timer; /* only with stats_ns */
	enum role roles[QUEUES];
	bool asked_for;      /* the driver's buffer for statistics is here */
	uint16_t stats_head;
	struct balloon_counts counts;
	struct list lists[QUEUES];
};

static struct balloon *balloon_of(struct vdev *v)
{
	return container_of(v, struct balloon, vdev);
}

/* Giving back */

static void give_back(struct balloon *b, const void *at, uint64_t len, struct share *s)
{
	uint64_t done = 0;

	if (!len)
		return;
	if (gmem_give_back(b->vdev.mem, at, len, &done))
		b->counts.failed += len;
	b->counts.given_back += done;
	s->calls -= s->calls > 0;
	if (s->until_ns != UINT64_MAX && clock_now_ns() >= s->until_ns)
		s->calls = 0;
	s->bytes -= len < s->bytes ? len : s->bytes;
}

static bool is_left(const struct share *s)
{
	return s->pages && s->calls && s->bytes;
}

/* The page joins the run, or the run goes and the page begins the next. */
static void add_page(struct balloon *b, struct run *run, char *page, struct share *s)
{
	if (run->len && page == run->at + run->len) {
		run->len += BALLOON_PAGE;
		return;
	}
	if (run->len && page + BALLOON_PAGE == run->at) {
		run->at = page;
		run->len += BALLOON_PAGE;
		return;
	}
	give_back(b, run->at, run->len, s);
	*run = (struct run){ .at = page, .len = BALLOON_PAGE };
}

/* The next @len bytes of the readable parts. False: there are not so many. */
static bool take(struct list *l, void *buf, size_t len)
{
	char *to = buf;

	while (len && l->part < l->c.n_out) {
		const struct iovec *v = &l->c.iov[l->part];
		size_t n = v->iov_len - l->off < len ? v->iov_len - l->off : len;

		memcpy(to, (const char *)v->iov_base + l->off, n);
		to += n;
		len -= n;
		l->off += n;
		if (l->off == v->iov_len) {
			l->part++;
			l->off = 0;
		}
	}
	return !len;
}

/* The queues. Each: 1 if the chain is done, 0 if the share is, -EPROTO for what no driver may ask. */

static int inflate(struct balloon *b, struct list *l, struct share *s)
{
	struct run run = { 0 };
	int r = 1;
	uint32_t pfn;

	for (;;) {
		char *page;

		if (!is_left(s)) {
			r = 0;
			break;
		}
		if (!take(l, &pfn, sizeof(pfn)))
			break;
		page = gmem_ptr(b->vdev.mem, (gpa_t)pfn << VIRTIO_BALLOON_PFN_SHIFT, BALLOON_PAGE);
		if (!page) {
			r = -EPROTO;
			break;
		}
		s->pages--;
		b->counts.inflated += BALLOON_PAGE;
		add_page(b, &run, page, s);
	}
	give_back(b, run.at, run.len, s); /* which may be one call more than the share has */
	return r;
}

/* Nothing to do: a page that is touched is there again. */
static int deflate(struct balloon *b, struct list *l, struct share *s)
{
	(void)s;
	b->counts.deflated += l->c.len_out / sizeof(uint32_t) * BALLOON_PAGE;
	return 1;
}

/* How much of @len bytes at @at goes in one call: up to a border between huge pages, so that none is broken up. */
static size_t piece(const char *at, size_t len)
{
	size_t to_border = PIECE - ((uintptr_t)at & (2 * MIB - 1));

	return len < to_border ? len : to_border;
}

static int report(struct balloon *b, struct list *l, struct share *s)
{
	while (l->part < l->c.n_out + l->c.n_in) {
		const struct iovec *v = &l->c.iov[l->part];
		const char *at = (const char *)v->iov_base + l->off;
		size_t n = piece(at, v->iov_len - l->off);

		if (!is_left(s))
			return 0;
		if (l->part >= l->c.n_out) { /* what can be written is free; what can be read only is nothing that we know */
			b->counts.reported += n;
			give_back(b, at, n, s);
		}
		l->off += n;
		if (l->off == v->iov_len) {
			l->part++;
			l->off = 0;
		}
	}
	return 1;
}

static const struct {
	const char *name;
	int (*work)(struct balloon *b, struct list *l, struct share *s);
} queues[] = {
	[INFLATE] = { "inflate", inflate }, [DEFLATE] = { "deflate", deflate }, [REPORT] = { "reporting", report },
};

/* The chain that was begun, or the next one: as vq_pop(). */
static int next(struct vq *ring, struct list *l)
{
	int r;

	if (l->taken)
		return 1;
	l->c.iov = l->iov;
	l->c.cap = QUEUE_SIZE;
	r = vq_pop(ring, &l->c);
	l->taken = r > 0;
	l->part = 0;
	l->off = 0;
	return r;
}

static struct share new_share(const struct balloon *b)
{
	bool is_shared = gmem_region(b->vdev.mem, 0)->fd >= 0;

	return (struct share){
		.pages = MOST_PAGES, .calls = MOST_CALLS, .bytes = MOST_BYTES, .until_ns = is_shared ? clock_now_ns() + MOST_NS : UINT64_MAX,
	};
}

static void work(struct balloon *b, unsigned q)
{
	struct share s = new_share(b);
	struct vq *ring = &b->vdev.queues[q].ring;
	struct list *l = &b->lists[q];
	bool more = true;
	int r = 0;

	while (is_left(&s)) {
		r = next(ring, l);
		more = r > 0;
		if (r <= 0)
			break;
		s.pages--;
		r = queues[b->roles[q]].work(b, l, &s);
		if (r <= 0)
			break;
		vq_push(ring, l->c.head, 0);
		l->taken = false;
	}
	vdev_queue_flush(&b->vdev, q);
	if (r < 0)
		vdev_fault(&b->vdev, (int)q, more ? "a page that is no memory" : "broken ring");
	else if (more || vq_enable_kick(ring))
		vdev_notify(&b->vdev, q); /* in the loop's next round, after the others */
}

/* Statistics */

const char *balloon_stat_name(unsigned t)
{
	static const char *const names[BALLOON_STATS] = {
		[VIRTIO_BALLOON_S_SWAP_IN] = "swapped_in", [VIRTIO_BALLOON_S_SWAP_OUT] = "swapped_out",
		[VIRTIO_BALLOON_S_MAJFLT] = "major_faults", [VIRTIO_BALLOON_S_MINFLT] = "minor_faults",
		[VIRTIO_BALLOON_S_MEMFREE] = "free_memory", [VIRTIO_BALLOON_S_MEMTOT] = "total_memory",
		[VIRTIO_BALLOON_S_AVAIL] = "available_memory", [VIRTIO_BALLOON_S_CACHES] = "disk_caches",
		[VIRTIO_BALLOON_S_HTLB_PGALLOC] = "huge_pages_given", [VIRTIO_BALLOON_S_HTLB_PGFAIL] = "huge_pages_refused",
	};

	return t < BALLOON_STATS ? names[t] : NULL;
}

static void read_stats(struct balloon *b, struct list *l)
{
	struct virtio_balloon_stat st;

	b->counts.stats_read++;
	b->counts.has = 0;
	for (unsigned i = 0; i < MOST_STATS && take(l, &st, sizeof(st)); i++) {
		if (st.tag >= BALLOON_STATS)
			continue;
		b->counts.has |= BIT32(st.tag);
		b->counts.stats[st.tag] = st.val;
	}
}

static void take_stats(struct balloon *b, unsigned q)
{
	struct vq *ring = &b->vdev.queues[q].ring;
	struct list *l = &b->lists[q];
	int r;

	while ((r = next(ring, l)) > 0) {
		l->taken = false; /* its head is kept apart */
		if (b->asked_for)
			break;
		read_stats(b, l);
		b->stats_head = l->c.head;
		b->asked_for = true;
		loop_timer_set(&b->timer, b->stats_ns);
	}
	if (r)
		vdev_fault(&b->vdev, (int)q, r > 0 ? "a second buffer of statistics" : "broken ring"); /* s5.5.6.3.1 */
	else if (vq_enable_kick(ring))
		vdev_notify(&b->vdev, q);
}

static void ask_for_stats(void *ctx)
{
	struct balloon *b = ctx;

	for (unsigned q = 0; q < QUEUES && b->asked_for; q++) {
		if (b->roles[q] != STATS)
			continue;
		vq_push(&b->vdev.queues[q].ring, b->stats_head, 0);
		vdev_queue_flush(&b->vdev, q);
		b->asked_for = false;
	}
}

/* The device */

static void give_roles(struct balloon *b)
{
	const struct vdev *v = &b->vdev;
	bool stats = vdev_has(v, VIRTIO_BALLOON_F_STATS_VQ);
	unsigned last = QUEUES - 1;

	memset(b->roles, 0, sizeof(b->roles));
	b->roles[0] = INFLATE;
	b->roles[1] = DEFLATE;
	if (stats)
		b->roles[2] = STATS;
	if (!vdev_has(v, VIRTIO_BALLOON_F_REPORTING))
		return;
	while (last >= (stats ? 3 : 2) && !v->queues[last].regs.ready)
		last--;
	if (b->roles[last] == NOTHING)
		b->roles[last] = REPORT;
}

static int balloon_activate(struct vdev *v)
{
	struct balloon *b = balloon_of(v);

	give_roles(b);
	for (unsigned q = 0; q < QUEUES; q++) {
		int r = 0;

		if (b->roles[q] != NOTHING && v->queues[q].regs.ready)
			r = vq_start(&v->queues[q].ring, v->mem, &v->queues[q].regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
				     vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
		if (r)
			return r;
	}
	return 0;
}

/* Nothing is under way between two calls of the loop's but what the lists remember. */
static void balloon_reset(struct vdev *v)
{
	struct balloon *b = balloon_of(v);

	if (b->stats_ns)
		loop_timer_set(&b->timer, 0);
	b->asked_for = false;
	for (unsigned q = 0; q < QUEUES; q++)
		b->lists[q].taken = false;
	pthread_mutex_lock(&v->lock);
	b->actual = 0;
	pthread_mutex_unlock(&v->lock);
}

static void balloon_kick(struct vdev *v, unsigned q)
{
	struct balloon *b = balloon_of(v);

	if (v->queues[q].ring.broken)
		return;
	if (b->roles[q] == STATS)
		take_stats(b, q);
	else if (b->roles[q] != NOTHING)
		work(b, q);
}

static void balloon_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	struct balloon *b = balloon_of(v);
	const struct virtio_balloon_config c = { .num_pages = b->target, .actual = b->actual };

	memcpy(buf, (const char *)&c + off, len);
}

/* What the host wants is not the driver's to write. */
static void balloon_config_write(struct vdev *v, unsigned off, const void *buf, unsigned len)
{
	struct balloon *b = balloon_of(v);
	struct virtio_balloon_config c = { .actual = b->actual };

	memcpy((char *)&c + off, buf, len);
	b->actual = c.actual;
}

static void balloon_queue_name(unsigned q, unsigned nr_queues, char *buf, size_t cap)
{
	static const char *const names[QUEUES] = { "inflate", "deflate", "stats", "free3", "free4" };

	snprintf(buf, cap, "%s", q < nr_queues && q < QUEUES ? names[q] : "none");
}

struct balloon_counts balloon_counts(struct vdev *v)
{
	struct balloon *b = balloon_of(v);
	struct balloon_counts c = b->counts;

	c.target = b->target * BALLOON_PAGE;
	pthread_mutex_lock(&v->lock);
	c.actual = b->actual * BALLOON_PAGE;
	pthread_mutex_unlock(&v->lock);
	return c;
}

static void balloon_dump(struct vdev *v, FILE *out)
{
	struct balloon_counts c = balloon_counts(v);

	fprintf(out, "%s: target %llu KiB, in it %llu KiB; inflated %llu KiB, deflated %llu KiB, reported %llu KiB, given back %llu KiB, "
		"failed %llu KiB\n", v->name, (unsigned long long)(c.target / KIB), (unsigned long long)(c.actual / KIB),
		(unsigned long long)(c.inflated / KIB), (unsigned long long)(c.deflated / KIB),
		(unsigned long long)(c.reported / KIB), (unsigned long long)(c.given_back / KIB),
		(unsigned long long)(c.failed / KIB));
	if (!c.stats_read)
		return;
	fprintf(out, "%s: statistics, answer %llu:", v->name, (unsigned long long)c.stats_read);
	for (unsigned t = 0; t < BALLOON_STATS; t++)
		if (c.has & BIT32(t))
			fprintf(out, " %s %llu", balloon_stat_name(t), (unsigned long long)c.stats[t]);
	fprintf(out, "\n");
}

static void balloon_free(struct vdev *v)
{
	struct balloon *b = balloon_of(v);

	loop_timer_fini(&b->timer);
	vdev_fini(v);
	obj_free(b);
}

static const struct vdev_ops balloon_ops = {
	.kind = "balloon",
	.queue_name = balloon_queue_name,
	.activate = balloon_activate,
	.reset = balloon_reset,
	.kick = balloon_kick,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.dump = balloon_dump,
	.free = balloon_free,
};

int balloon_new(const struct balloon_cfg *cfg, struct vdev **ret_v)
{
	const struct vdev_cfg vc = {
		.ops = &balloon_ops, .name = cfg->name, .type = VIRTIO_ID_BALLOON, .nr_queues = QUEUES, .queue_size = QUEUE_SIZE,
		.config_len = CONFIG_LEN, .loop = cfg->loop, .mem = cfg->mem,
		.offered = (cfg->oom ? BIT64(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) : 0) |
			   (cfg->reporting ? BIT64(VIRTIO_BALLOON_F_REPORTING) : 0) |
			   (cfg->stats_ns ? BIT64(VIRTIO_BALLOON_F_STATS_VQ) : 0),
	};
	struct balloon *b;
	int r;

	if (!is_aligned(cfg->size, BALLOON_PAGE) || cfg->size / BALLOON_PAGE > UINT32_MAX)
		return -EINVAL;
	b = obj_new(sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->target = (uint32_t)(cfg->size / BALLOON_PAGE);
	b->stats_ns = cfg->stats_ns;
	r = vdev_init(&b->vdev, &vc);
	if (r) {
		obj_free(b);
		return r;
	}
	if (cfg->stats_ns)
		r = loop_timer_init(cfg->loop, &b->timer, ask_for_stats, b);
	if (r) {
		balloon_free(&b->vdev);
		return r;
	}
	fd_note_also(vdev_kick_fd(&b->vdev, 0), FD_BALLOON);
	*ret_v = &b->vdev;
	return 0;
}
