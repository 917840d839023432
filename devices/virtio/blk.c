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

static int begin(struct blk_req *req)
{
	const struct blk *b = req->queue->blk;

	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		return loop_preadv(&req->io, req->iov, req->n, req->off);
	case VIRTIO_BLK_T_OUT:
		return loop_pwritev(&req->io, req->iov, req->n, req->off, b->through ? RWF_DSYNC : 0);
	case VIRTIO_BLK_T_FLUSH:
		return loop_fdatasync(&req->io);
	case VIRTIO_BLK_T_DISCARD:
		return loop_fallocate(&req->io, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, req->off, req->left);
	default: /* write zeroes */
		if (req->by_hand)
			return loop_pwritev(&req->io, req->iov, blk_req_zeros(req), req->off, b->through ? RWF_DSYNC : 0);
		return loop_fallocate(&req->io, (req->unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE,
				      req->off, req->left);
	}
}

static bool moves_bytes(const struct blk_req *req)
{
	return req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_OUT || req->by_hand;
}

static void go_on(struct blk_req *req)
{
	int r = begin(req);

	if (r)
		fail(req, r);
	else
		req->queue->blk->under_way++;
}

/* Not every file system can zero a range: then zeros are written. */
static bool may_do_by_hand(const struct blk_req *req, int res)
{
	return req->type == VIRTIO_BLK_T_WRITE_ZEROES && !req->by_hand && (res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL);
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
	if (res == -EINTR) {
		go_on(req);
	} else if (may_do_by_hand(req, res)) {
		req->by_hand = true;
		go_on(req);
	} else if (res < 0) {
		fail(req, res);
	} else if (!moves_bytes(req)) {
		finish(req, VIRTIO_BLK_S_OK);
	} else if (!res) {
		fail(req, -EIO); /* the file has become shorter */
	} else if (blk_req_advance(req, (uint32_t)res)) {
		go_on(req);
	} else {
		finish(req, VIRTIO_BLK_S_OK);
	}
}

/* ---- queues ------------------------------------------------------------------------------- */

/* A request that was taken from the ring and whose turn it is. */
static void execute(struct blk_req *req)
{
	struct blk *b = req->queue->blk;
	const struct blk_limits limits = {
		.sectors = b->disk.sectors, .ro = b->disk.ro, .discard = b->discard, .max_range = MAX_RANGE_SECTORS,
	};
	int status = blk_req_check(req, &limits);

	if (status >= 0)
		finish(req, (uint8_t)status);
	else if (req->type == VIRTIO_BLK_T_GET_ID)
		finish(req, blk_req_put_id(req, b->v.name));
	else
		go_on(req);
}

/* 0, or the nanoseconds until the next request may begin. */
static uint64_t due_in(struct blk *b, const struct blk_req *req)
{
	uint64_t now, wait, other;

	if (!b->iops.per_second && !b->bps.per_second)
		return 0;
	now = clock_now_ns();
	other = bucket_take(&b->bps, 0, now);
	wait = other ? other : bucket_take(&b->iops, 1, now);
	if (!wait)
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
	int r = vq_pop(ring, &c);

	if (r <= 0)
		return r;
	if (!blk_req_parse(req, &c))
		return -EPROTO;
	wait = due_in(b, req);
	if (wait) {
		vq_unpop(ring, 1);
		loop_timer_set(&b->again, wait);
		return -EAGAIN;
	}
	b->queue[q].free = req->next;
	execute(req);
	return 1;
}

static void serve(struct blk *b, unsigned q)
{
	struct vdev_queue *vq = &b->v.queues[q];
	unsigned left = vq->ring.size;
	int r = 1;

	if (vq->ring.broken || b->settling)
		return;
	for (; left && (r = take(b, q)) > 0; left--)
		;
	if (r == -EPROTO)
		vdev_fault(&b->v, (int)q, "broken request queue");
	else if (r >= 0 && vq_enable_kick(&vq->ring))
		vdev_notify(&b->v, q); /* more came in: in the loop's next round, after the others */
}

static void blk_kick(struct vdev *v, unsigned q)
{
	serve(to_blk(v), q);
}

static void serve_again(void *ctx)
{
	struct blk *b = ctx;

	for (unsigned q = 0; b->v.active && q < b->v.nr_queues; q++)
		if (b->v.queues[q].regs.ready)
			serve(b, q);
}

/* ---- life --------------------------------------------------------------------------------- */

static int blk_activate(struct vdev *v)
{
	struct blk *b = to_blk(v);
	int r = 0;

	b->settling = false;
	b->through = !vdev_has(v, VIRTIO_BLK_F_FLUSH);
	for (unsigned q = 0; q < v->nr_queues && !r; q++)
		if (v->queues[q].regs.ready)
			r = vq_start(&v->queues[q].ring, v->mem, &v->queues[q].regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
				     vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
	return r;
}

static bool blk_settle(struct vdev *v)
{
	struct blk *b = to_blk(v);

	b->settling = true;
	return !b->under_way;
}

static void blk_reset(struct vdev *v)
{
	struct blk *b = to_blk(v);

	b->settling = true;
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

static void blk_free(struct vdev *v)
{
	struct blk *b = to_blk(v);

	loop_timer_fini(&b->again);
	for (unsigned q = 0; q < BLK_MAX_QUEUES; q++)
		if (b->queue[q].reqs)
			munmap(b->queue[q].reqs, BLK_QUEUE_SIZE * sizeof(struct blk_req));
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
	.free = blk_free,
};

/* Zeroed pages, of which those are touched that are used: the request that was given back last is the next. */
static int init_queue(struct blk *b, unsigned q)
{
	struct blk_queue *queue = &b->queue[q];
	void *mem = mmap(NULL, BLK_QUEUE_SIZE * sizeof(*queue->reqs), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (mem == MAP_FAILED)
		return -errno;
	queue->blk = b;
	queue->reqs = mem;
	for (unsigned i = BLK_QUEUE_SIZE; i-- > 0;) {
		struct blk_req *req = &queue->reqs[i];

		r = loop_io_init_like(&b->file, &req->io, ended, req);
		if (r)
			return r;
		req->queue = queue;
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
	if (!r)
		r = loop_io_init(cfg->loop, &b->file, b->disk.fd, no_transfer, b);
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
