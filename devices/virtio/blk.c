// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * Each queue has as many requests as it has entries, so one that was taken from the ring always finds one. A request
 * keeps the chain's parts, which point into guest memory: header and status are cut off (blk_req.c), and what is left
 * is the transfer's. It is done in one operation of the ring where the host takes it whole, else in as many as the
 * host wants, from where the last one ended.
 *
 * What a round of the loop has completed is pushed at once and shown to the driver at the round's end, with one
 * interrupt a queue.
 *
 * With O_DIRECT the host wants memory aligned, which is more than drivers promise: a request of other parts goes by way of a
 * buffer of the disk's, in as many pieces as that takes.
 *
 * Of flushes, operations on ranges and such requests one is in the ring at a time, and of a disk whose file system may let
 * them wait (FUSE, NFS) of all requests: each keeps one of the kernel's workers, of which others want some, too. And no
 * transfer is larger than BLK_OP_MAX: what would keep a worker, or the loop, for long comes in turns with the rest.
 *
 * A reset waits for what is under way: an operation on a file cannot be called back, and writes into guest memory
 * until it ends. A disk that takes seconds keeps the vCPU that resets it, and nobody else.
 */
#include "devices/virtio/blk.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "devices/virtio/blk_priv.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

#define CONFIG_LEN 60 /* bytes of struct virtio_blk_config, write zeroes included */
/* Of one discard or write-zeroes request: 2 GiB, so that none takes a file system for long. */
#define MAX_RANGE_SECTORS (1u << 22)
#define MOST_AGAIN 8 /* times that a transfer is tried again where the host says so */
#define F(name) BIT64(VIRTIO_BLK_F_##name)

static struct blk *to_blk(struct vdev *v)
{
	return container_of(v, struct blk, v);
}

/* ---- completion --------------------------------------------------------------------------- */

static void give_back(struct blk_req *req)
{
	req->next = req->queue->free;
	req->queue->free = req;
}

static unsigned index_of(const struct blk_req *req)
{
	return (unsigned)(req->queue - req->queue->blk->queue);
}

static void show_later(struct blk *b, unsigned q)
{
	b->to_show |= BIT32(q);
	loop_later_ask(&b->show);
}

static void show(void *ctx)
{
	struct blk *b = ctx;

	for (unsigned q = 0; q < b->v.nr_queues; q++)
		if (b->to_show & BIT32(q))
			vdev_queue_flush(&b->v, q);
	b->to_show = 0;
}

/* The status, and the used element. */
static void finish(struct blk_req *req, uint8_t status)
{
	struct blk *b = req->queue->blk;
	unsigned q = index_of(req);

	b->requests++;
	b->errors += status != VIRTIO_BLK_S_OK;
	*req->status = status;
	vq_push(&b->v.queues[q].ring, req->head, blk_req_written(req, status));
	give_back(req);
	show_later(b, q);
}

static void fail(struct blk_req *req, int error)
{
	struct blk *b = req->queue->blk;

	log_limited(&b->log, "%s: %s at sector %llu: %s", b->v.name, blk_req_name(req), (unsigned long long)(req->off / DISK_SECTOR),
		    strerror(-error));
	finish(req, error == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
}

/* ---- operations --------------------------------------------------------------------------- */

static int begin_bounced(struct blk *b, struct blk_req *req)
{
	b->bounce_iov = (struct iovec){ .iov_base = b->bounce, .iov_len = req->left < BLK_OP_MAX ? (size_t)req->left : BLK_OP_MAX };
	if (req->type == VIRTIO_BLK_T_IN)
		return loop_preadv(&req->io, &b->bounce_iov, 1, req->off);
	blk_req_copy(req, b->bounce, b->bounce_iov.iov_len);
	return loop_pwritev(&req->io, &b->bounce_iov, 1, req->off, b->through ? RWF_DSYNC : 0);
}

static int begin(struct blk_req *req)
{
	struct blk *b = req->queue->blk;

	if (req->sync)
		return loop_fdatasync(&req->io);
	if (req->bounced)
		return begin_bounced(b, req);
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		return loop_preadv(&req->io, req->iov, blk_req_window(req), req->off);
	case VIRTIO_BLK_T_OUT:
		return loop_pwritev(&req->io, req->iov, blk_req_window(req), req->off, b->through ? RWF_DSYNC : 0);
	case VIRTIO_BLK_T_FLUSH:
		return loop_fdatasync(&req->io);
	case VIRTIO_BLK_T_DISCARD:
		return loop_fallocate(&req->io, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, req->off, req->left);
	default: /* write zeroes */
		if (req->by_hand) {
			blk_req_zeros(req);
			return loop_pwritev(&req->io, req->iov, req->n, req->off, b->through ? RWF_DSYNC : 0);
		}
		return loop_fallocate(&req->io, (req->unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE,
				      req->off, req->left);
	}
}

static bool moves_bytes(const struct blk_req *req)
{
	return req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_OUT || req->by_hand;
}

static bool takes_turns(const struct blk_req *req)
{
	return !moves_bytes(req) || req->bounced || req->queue->blk->disk.waits;
}

static void next_slow(struct blk *b, const struct blk_req *req);

static void begin_or_fail(struct blk_req *req)
{
	struct blk *b = req->queue->blk;
	int r = begin(req);

	if (!r) {
		b->under_way++;
		return;
	}
	next_slow(b, req);
	fail(req, r);
}

static void go_on(struct blk_req *req)
{
	struct blk *b = req->queue->blk;

	if (takes_turns(req) && b->slow && b->slow != req) {
		req->next = NULL;
		*b->slow_end = req;
		b->slow_end = &req->next;
		return;
	}
	if (takes_turns(req))
		b->slow = req;
	begin_or_fail(req);
}

/* @req is through, or goes on as a transfer: the next one of its kind may begin. */
static void next_slow(struct blk *b, const struct blk_req *req)
{
	struct blk_req *next = b->slow_first;

	if (b->slow != req)
		return;
	b->slow = NULL;
	if (!next)
		return;
	b->slow_first = next->next;
	if (!b->slow_first)
		b->slow_end = &b->slow_first;
	go_on(next);
}

/* Not every file system can zero a range: then zeros are written. */
static bool may_do_by_hand(const struct blk_req *req, int res)
{
	return req->type == VIRTIO_BLK_T_WRITE_ZEROES && !req->by_hand && !req->sync &&
	       (res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL);
}

/* The host wants to be asked again: at once, and so often. */
static bool may_ask_again(struct blk_req *req, int res)
{
	return res == -EINTR || (res == -EAGAIN && req->again++ < MOST_AGAIN);
}

static void transferred(struct blk_req *req, int res)
{
	struct blk *b = req->queue->blk;

	*(req->type == VIRTIO_BLK_T_IN ? &b->bytes_read : &b->bytes_written) += (uint32_t)res;
	if (req->bounced && req->type == VIRTIO_BLK_T_IN)
		blk_req_copy(req, b->bounce, (size_t)res);
	if (res && blk_req_advance(req, (uint32_t)res)) {
		next_slow(b, req); /* who waits has his turn before the next piece */
		go_on(req);
		return;
	}
	next_slow(b, req);
	if (res)
		finish(req, VIRTIO_BLK_S_OK);
	else
		fail(req, -EIO); /* the file has become shorter */
}

/* A range is zeroed. To a driver that knows no flush it is not done before it is on the medium. */
static bool wants_sync(const struct blk_req *req)
{
	return req->type == VIRTIO_BLK_T_WRITE_ZEROES && req->queue->blk->through && !req->sync;
}

static void ended(void *ctx, int res)
{
	struct blk_req *req = ctx;
	struct blk *b = req->queue->blk;

	b->under_way--;
	if (b->settling) {
		give_back(req); /* the driver has given up its ring */
		return;
	}
	if (may_ask_again(req, res)) {
		if (req->cut)
			blk_req_advance(req, 0);
		go_on(req);
		return;
	}
	if (may_do_by_hand(req, res)) {
		req->by_hand = true;
		next_slow(b, req);
		go_on(req);
	} else if (res < 0) {
		next_slow(b, req);
		fail(req, res);
	} else if (moves_bytes(req)) {
		transferred(req, res);
	} else if (wants_sync(req)) {
		req->sync = true;
		go_on(req);
	} else {
		next_slow(b, req);
		finish(req, VIRTIO_BLK_S_OK);
	}
}

/* ---- queues ------------------------------------------------------------------------------- */

static int check(struct blk_req *req)
{
	const struct blk *b = req->queue->blk;
	const struct blk_limits limits = {
		.sectors = b->disk.sectors, .ro = b->disk.ro, .discard = b->discard, .max_range = MAX_RANGE_SECTORS,
	};

	return blk_req_check(req, &limits);
}

/* A request that was taken from the ring and whose turn it is; @status: what check() says of it. */
static void execute(struct blk_req *req, int status)
{
	struct blk *b = req->queue->blk;

	if (status >= 0) {
		finish(req, (uint8_t)status);
	} else if (req->type == VIRTIO_BLK_T_GET_ID) {
		finish(req, blk_req_put_id(req, b->v.name));
	} else {
		req->bounced = b->bounce && moves_bytes(req) && !blk_req_is_aligned(req, b->disk.align, b->disk.block);
		go_on(req);
	}
}

/* 0, or the nanoseconds until the next request may begin. @status: check()'s; what ends at once moves no bytes. */
static uint64_t due_in(struct blk *b, const struct blk_req *req, int status)
{
	uint64_t now, wait, other;

	if (!b->iops.per_second && !b->bps.per_second)
		return 0;
	now = clock_now_ns();
	other = bucket_take(&b->bps, 0, now);
	wait = other ? other : bucket_take(&b->iops, 1, now);
	/* a discard moves nothing; zeros may have to be written */
	if (!wait && status < 0 && req->type != VIRTIO_BLK_T_DISCARD)
		bucket_charge(&b->bps, req->left, now);
	return wait;
}

/* Takes the next request. 1; 0: none; -EPROTO: broken; -EAGAIN: it is not its turn yet. */
static int take(struct blk *b, unsigned q)
{
	struct vq *ring = &b->v.queues[q].ring;
	struct blk_req *req = b->queue[q].free;
	/* Without one, all that the ring can hold is out: more is a broken ring. */
	struct vq_chain c = { .iov = req ? req->parts : NULL, .cap = req ? BLK_QUEUE_SIZE : 0 };
	uint64_t wait;
	int status, r = vq_pop(ring, &c);

	if (r <= 0)
		return r;
	if (!blk_req_parse(req, &c))
		return -EPROTO;
	status = check(req);
	wait = due_in(b, req, status);
	if (wait) {
		vq_unpop(ring, 1);
		b->waiting = true;
		loop_timer_set(&b->again, wait);
		return -EAGAIN;
	}
	b->queue[q].free = req->next;
	execute(req, status);
	return 1;
}

static void serve(struct blk *b, unsigned q)
{
	struct vdev_queue *vq = &b->v.queues[q];
	unsigned size = vq->ring.size, left = size;
	int r = 1;

	if (vq->ring.broken || b->settling || b->waiting)
		return;
	for (; left && (r = take(b, q)) > 0; left--)
		;
	if (r == -EAGAIN) /* who has had some leaves the next turn to the one behind, or the first would have them all */
		b->turn = left < size ? (q + 1) % b->v.nr_queues : q;
	else if (r == -EPROTO)
		vdev_fault(&b->v, (int)q, "broken request queue");
	else if (vq_enable_kick(&vq->ring))
		vdev_notify(&b->v, q); /* more came in: in the loop's next round, after the others */
}

static void blk_kick(struct vdev *v, unsigned q)
{
	serve(to_blk(v), q);
}

static void serve_again(void *ctx)
{
	struct blk *b = ctx;
	unsigned first = b->turn;

	b->waiting = false;
	if (!b->v.active)
		return;
	for (unsigned i = 0; i < b->v.nr_queues && !b->waiting; i++) {
		unsigned q = (first + i) % b->v.nr_queues;

		if (b->v.queues[q].regs.ready)
			serve(b, q);
	}
}

/* ---- life --------------------------------------------------------------------------------- */

static int blk_activate(struct vdev *v)
{
	struct blk *b = to_blk(v);
	int r = 0;

	b->settling = b->waiting = false;
	b->slow = b->slow_first = NULL;
	b->slow_end = &b->slow_first;
	b->through = !vdev_has(v, VIRTIO_BLK_F_FLUSH);
	for (unsigned q = 0; q < v->nr_queues && !r; q++)
		if (v->queues[q].regs.ready)
			r = vq_start(&v->queues[q].ring, v->mem, &v->queues[q].regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
				     vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
	return r;
}

/* What waits for its turn has nobody to tell any more. */
static void drop_waiting(struct blk *b)
{
	while (b->slow_first) {
		struct blk_req *req = b->slow_first;

		b->slow_first = req->next;
		give_back(req);
	}
	b->slow_end = &b->slow_first;
}

static bool blk_settle(struct vdev *v)
{
	struct blk *b = to_blk(v);

	b->settling = true;
	b->to_show = 0; /* what has ended is not told either, once the reset waits */
	drop_waiting(b);
	return !b->under_way;
}

static void blk_reset(struct vdev *v)
{
	struct blk *b = to_blk(v);

	b->settling = true;
	drop_waiting(b);
	for (unsigned q = 0; b->under_way && q < v->nr_queues; q++)
		for (unsigned i = 0; i < BLK_QUEUE_SIZE; i++)
			loop_io_cancel(&b->queue[q].reqs[i].io);
	if (b->again.poll.loop)
		loop_timer_set(&b->again, 0);
	b->to_show = 0;
}

static void blk_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	const struct blk *b = to_blk(v);
	struct virtio_blk_config c = {
		.capacity = htole64(b->disk.sectors),
		.seg_max = htole32(BLK_QUEUE_SIZE - 2), /* header and status are parts, too */
		.blk_size = htole32(b->disk.block),
		.physical_block_exp = (uint8_t)__builtin_ctz(b->disk.best / b->disk.block),
		.min_io_size = htole16((uint16_t)(b->disk.best / b->disk.block)),
		.num_queues = htole16((uint16_t)v->nr_queues),
		.max_discard_sectors = htole32(MAX_RANGE_SECTORS),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(b->disk.best / DISK_SECTOR),
		.max_write_zeroes_sectors = htole32(MAX_RANGE_SECTORS),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = b->discard,
	};

	memcpy(buf, (const char *)&c + off, len);
}

static unsigned blk_counts(const struct vdev *v, struct vdev_count c[VDEV_MAX_COUNTS])
{
	const struct blk *b = container_of(v, const struct blk, v);

	c[0] = (struct vdev_count){ "requests", b->requests };
	c[1] = (struct vdev_count){ "errors", b->errors };
	c[2] = (struct vdev_count){ "bytes_read", b->bytes_read };
	c[3] = (struct vdev_count){ "bytes_written", b->bytes_written };
	return 4;
}

static void blk_free(struct vdev *v)
{
	struct blk *b = to_blk(v);

	loop_timer_fini(&b->again);
	for (unsigned q = 0; q < BLK_MAX_QUEUES; q++) {
		free(b->queue[q].reqs);
		if (b->queue[q].parts)
			munmap(b->queue[q].parts, BLK_QUEUE_SIZE * sizeof(*b->queue[q].parts));
	}
	free(b->bounce);
	if (b->has_vdev)
		vdev_fini(v);
	disk_close(&b->disk);
	free(b);
}

static const struct vdev_ops blk_ops = {
	.kind = "block",
	.activate = blk_activate,
	.settle = blk_settle,
	.reset = blk_reset,
	.kick = blk_kick,
	.config_read = blk_config_read,
	.counts = blk_counts,
	.free = blk_free,
};

/* The parts are pages of which those are touched that are used: the request that was given back last is the next. */
static int init_queue(struct blk *b, unsigned q)
{
	struct blk_queue *queue = &b->queue[q];
	void *parts = mmap(NULL, BLK_QUEUE_SIZE * sizeof(*queue->parts), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (parts == MAP_FAILED)
		return -errno;
	queue->blk = b;
	queue->parts = parts;
	queue->reqs = calloc(BLK_QUEUE_SIZE, sizeof(*queue->reqs));
	if (!queue->reqs)
		return -ENOMEM;
	for (unsigned i = BLK_QUEUE_SIZE; i-- > 0;) {
		struct blk_req *req = &queue->reqs[i];

		r = loop_io_init_like(&b->file, &req->io, ended, req);
		if (r)
			return r;
		req->queue = queue;
		req->parts = queue->parts[i];
		give_back(req);
	}
	return 0;
}

static void no_transfer(void *ctx, int res)
{
	(void)ctx, (void)res;
}

static int init(struct blk *b, const struct blk_cfg *cfg)
{
	const struct vdev_cfg vc = {
		.ops = &blk_ops,
		.name = cfg->name,
		.type = VIRTIO_ID_BLOCK,
		.nr_queues = cfg->queues,
		.queue_size = BLK_QUEUE_SIZE,
		.config_len = CONFIG_LEN,
		.offered = F(SEG_MAX) | F(BLK_SIZE) | F(TOPOLOGY) | F(FLUSH) | (cfg->queues > 1 ? F(MQ) : 0) |
			   (cfg->disk.ro ? F(RO) : F(WRITE_ZEROES) | (cfg->discard ? F(DISCARD) : 0)),
		.loop = cfg->loop,
		.mem = cfg->mem,
	};
	int r = vdev_init(&b->v, &vc);

	if (r)
		return r;
	b->has_vdev = true;
	bucket_init(&b->iops, cfg->iops, cfg->iops / 10 + 1);
	bucket_init(&b->bps, cfg->bps, cfg->bps / 10 + 1);
	r = loop_later_init(cfg->loop, &b->show, show, b);
	if (!r && (cfg->iops || cfg->bps))
		r = loop_timer_init(cfg->loop, &b->again, serve_again, b);
	if (!r && b->disk.align > 1)
		r = -posix_memalign((void **)&b->bounce, DISK_ALIGN_MAX, BLK_OP_MAX);
	if (!r)
		r = loop_io_init(cfg->loop, &b->file, b->disk.fd, no_transfer, b);
	if (!r && b->disk.waits)
		loop_io_elsewhere(&b->file);
	for (unsigned q = 0; !r && q < cfg->queues; q++)
		r = init_queue(b, q);
	return r;
}

int blk_new(const struct blk_cfg *cfg, struct vdev **ret_v)
{
	struct blk *b = calloc(1, sizeof(*b));
	int r = -ENOMEM;

	if (!b) {
		struct disk d = cfg->disk;

		disk_close(&d);
		return r;
	}
	b->disk = cfg->disk;
	b->discard = cfg->discard && !cfg->disk.ro;
	r = init(b, cfg);
	if (r) {
		blk_free(&b->v);
		return r;
	}
	*ret_v = &b->v;
	return 0;
}
