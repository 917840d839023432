// SPDX-License-Identifier: BSD-3-Clause
/*
 * blk: a guest that asks anything of its disk, and a host that answers in any order.
 *
 * Covers: blk.c and blk_req.c with any features, number of queues, limits, read-only and discard; chains of any layout,
 *         indirect ones and such as no driver makes; operations that end in full, short, by an error, in any order;
 *         resets that wait for them and such that cancel them.
 * Oracle: guest memory and the disk are each written down a second time. Each chain is popped by the model of the ring, and
 *         read by the specification: refused with the status that it names, or under way as one operation, on the disk,
 *         within its end, and never writing where that is read-only. Memory and disk are as the copies have them after each
 *         step, so nothing but a chain's data and status is written, nothing late, and nothing after a reset. Each chain comes
 *         back once, with no more bytes than were written. The ring is broken where the model's is, and the driver is told.
 *         Flushes, operations on ranges, transfers by the buffer and all of a disk that waits are under way one at a time, and
 *         begin in the order in which they were taken; one that waits has another before it that the host has not answered
 *         yet. No more begins than the limits allow, nothing while they have the device wait, no queue is passed over, and all
 *         that was asked ends.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <time.h>

#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "tests/fuzz/vq_model.h"

/* The limits' clock is ours. */
static uint64_t now_ns;

static int fake_time(clockid_t id, struct timespec *ts)
{
	must(id == CLOCK_MONOTONIC);
	*ts = (struct timespec){ .tv_sec = (time_t)(now_ns / 1000000000), .tv_nsec = (long)(now_ns % 1000000000) };
	return 0;
}

/* A MiB of few sectors, so that small transfers take several operations. */
#include "devices/virtio/blk_priv.h"
#undef KIB
#define KIB ((uint64_t)4)
#undef MIB
#define MIB (1024 * KIB)

#define clock_gettime fake_time
#include "devices/virtio/blk.c"
#undef clock_gettime
#include "devices/virtio/blk_req.c"

#define RAM 0x80000000
#define RAM_SIZE 0x8000
#define TABLES 0x1000  /* from RAM on: indirect tables, one for each head */
#define TABLE_PARTS 8
#define DATA 0x3000    /* from here on a driver's buffers; below, nothing that a device may write but used rings */
#define QUEUES 3
#define RING 16
#define SECTORS 64     /* the largest disk */
#define SECTOR 512
#define SURE UINT64_MAX

/* A request under way, by its head. */
struct req {
	bool out;
	bool begun;              /* an operation of it was under way... */
	bool runs;               /* ...and is; else it waits */
	uint64_t nr;             /* it was taken as so many-th */
	unsigned again;          /* times that the host wanted to be asked again */
	bool by_hand;            /* zeros: the host could not do it by itself */
	bool zeroed;             /* zeros: they are there, and have to reach the medium */
	uint32_t type;
	uint64_t off, left;      /* bytes of the disk that are left to do */
	uint64_t from;           /* the byte of the chain where the rest's data is */
	uint64_t done;
	uint64_t len_in;
	bool unmap;
	bool bounced;            /* a part is not aligned as the host wants: one at a time, by a buffer... */
	bool bounces;            /* ...which has what it writes... */
	uint8_t bounce[BLK_OP_MAX]; /* ...this, whatever the driver writes there meanwhile */
	gpa_t status;
	unsigned n;
	struct model_part parts[BLK_QUEUE_SIZE];
};

static struct queue {
	bool ready;
	struct fake_ring ring;
	struct vq_model m;
	struct req req[RING];
	unsigned nr_over;        /* ended, and not shown to the driver */
	unsigned over[RING];     /* the same by their heads */
	uint64_t most[RING];     /* what used.len may be */
	uint16_t busy;           /* descriptors, a bit each */
	uint16_t chain[RING];    /* those of each head */
	unsigned irqs;
	unsigned passed;         /* times that others got something from the limits, and it did not */
} queue[QUEUES];

static struct gmem *mem;
static struct loop *loop;
static struct vdev *dev;
static struct blk *blk;
static struct blk_cfg cfg;
static uint64_t features;
static uint8_t *ram, copy[RAM_SIZE];                             /* guest memory, and as it should be */
static uint8_t disk[SECTORS * SECTOR], disk_copy[SECTORS * SECTOR]; /* the host's file, and as it should be */
static unsigned config_irqs;
static uint64_t begun, moved, start_ns; /* requests that were one, and bytes of the disk that they are to move */
static bool resetting;
static unsigned nr_ended; /* requests, since the operations under way were looked at */

static uint64_t disk_size(void)
{
	return cfg.disk.sectors * SECTOR;
}

static bool limited(void)
{
	return cfg.iops || cfg.bps;
}

static void irq_queue(void *t, unsigned q)
{
	(void)t;
	must(q < QUEUES && queue[q].ready && !resetting);
	queue[q].irqs++;
}

static void irq_config(void *t)
{
	(void)t;
	config_irqs++;
}

static const struct vdev_irq irq = { .queue = irq_queue, .config = irq_config };

/* ---- memory ------------------------------------------------------------------------------- */

static bool is_ram(gpa_t gpa, uint64_t len)
{
	return gpa >= RAM && gpa - RAM < RAM_SIZE && len <= RAM_SIZE - (gpa - RAM);
}

static void read_copy(gpa_t gpa, void *buf, size_t len)
{
	must(is_ram(gpa, len));
	memcpy(buf, copy + (gpa - RAM), len);
}

/* The driver's. */
static void put(gpa_t gpa, const void *buf, size_t len)
{
	must(is_ram(gpa, len));
	memcpy(ram + (gpa - RAM), buf, len);
	memcpy(copy + (gpa - RAM), buf, len);
}

/* What the driver wrote into its rings and tables. */
static void copy_rings(void)
{
	memcpy(copy, ram, DATA);
}

/* Bytes [@from, @from + @len) of the chain. */
static UNTRACED void move_data(const struct req *r, uint64_t from, uint64_t len, uint8_t *buf, bool in)
{
	for (unsigned i = 0; i < r->n && len; i++) {
		const struct model_part *p = &r->parts[i];
		uint8_t *at = copy + (p->gpa - RAM) + from;
		uint64_t now;

		if (from >= p->len) {
			from -= p->len;
			continue;
		}
		now = p->len - from < len ? p->len - from : len;
		memcpy(in ? at : buf, in ? buf : at, now);
		buf += now;
		len -= now;
		from = 0;
	}
	must(!len);
}

/* ---- the model of a request --------------------------------------------------------------- */

static bool is_read(const struct req *r)
{
	return r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID;
}

/* Bytes from the first writable one on that were written in a row. */
static uint64_t written(const struct req *r, int status)
{
	if (r->len_in == 1)
		return 1;
	if (r->type == VIRTIO_BLK_T_GET_ID && status == VIRTIO_BLK_S_OK)
		return r->len_in == BLK_ID_SIZE + 1 ? r->len_in : BLK_ID_SIZE;
	if (r->type != VIRTIO_BLK_T_IN)
		return 0;
	return status == VIRTIO_BLK_S_OK ? r->len_in : r->done;
}

static void req_over(struct queue *k, unsigned head, uint8_t status)
{
	struct req *r = &k->req[head];
	uint8_t *is = &ram[r->status - RAM], *was = &copy[r->status - RAM];
	uint64_t most = written(r, status);

	r->out = false;
	nr_ended++;
	if (k->m.broken) { /* whether the driver still has it is open */
		must(*is == *was || *is == status);
		*was = *is;
		return;
	}
	*was = status;
	if (!k->over[head] || most > k->most[head])
		k->most[head] = most;
	k->over[head]++;
	k->nr_over++;
	k->m.taken[head] = false;
	k->m.next_used++;
}

static bool on_disk(uint64_t sector, uint64_t len)
{
	return !(len % SECTOR) && sector <= cfg.disk.sectors && len / SECTOR <= cfg.disk.sectors - sector;
}

/* s5.2.6.2, where several segments were not offered. */
static int range_status(struct req *r)
{
	struct virtio_blk_discard_write_zeroes seg;

	if (r->left != sizeof(seg))
		return VIRTIO_BLK_S_IOERR;
	move_data(r, r->from, sizeof(seg), (uint8_t *)&seg, false);
	if (seg.flags > VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP || (seg.flags && r->type == VIRTIO_BLK_T_DISCARD))
		return VIRTIO_BLK_S_UNSUPP;
	if (!on_disk(seg.sector, (uint64_t)seg.num_sectors * SECTOR))
		return VIRTIO_BLK_S_IOERR;
	r->unmap = seg.flags && cfg.discard;
	r->off = seg.sector * SECTOR;
	r->left = (uint64_t)seg.num_sectors * SECTOR;
	return r->left ? -1 : VIRTIO_BLK_S_OK;
}

/* The status that it ends with at once, or -1. */
static int early_status(struct req *r, uint64_t sector)
{
	uint8_t id[BLK_ID_SIZE] = "disk0";

	switch (r->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		if (!on_disk(sector, r->left) || (cfg.disk.ro && r->type == VIRTIO_BLK_T_OUT))
			return VIRTIO_BLK_S_IOERR;
		r->off = sector * SECTOR;
		return r->left ? -1 : VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_FLUSH:
		r->left = 0;
		return -1;
	case VIRTIO_BLK_T_GET_ID:
		if (r->left < BLK_ID_SIZE)
			return VIRTIO_BLK_S_IOERR;
		move_data(r, r->from, BLK_ID_SIZE, id, true);
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
		return cfg.discard && !cfg.disk.ro ? range_status(r) : VIRTIO_BLK_S_UNSUPP;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return cfg.disk.ro ? VIRTIO_BLK_S_IOERR : range_status(r);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* Does a part of the @len bytes from @from on begin or end where O_DIRECT may not? */
static UNTRACED bool is_odd(const struct req *r, uint64_t from, uint64_t len)
{
	for (unsigned i = 0; i < r->n && len; i++) {
		const struct model_part *p = &r->parts[i];
		uint64_t now;

		if (from >= p->len) {
			from -= p->len;
			continue;
		}
		now = p->len - from < len ? p->len - from : len;
		if ((p->gpa + from) % cfg.disk.align || now % cfg.disk.align || now % cfg.disk.block)
			return true;
		len -= now;
		from = 0;
	}
	return false;
}

/* What was moved before has to be paid for by now, but for a tenth of a second's; a ns of each request may be cut off. */
static void check_bps(void)
{
	uint64_t ms = (now_ns - start_ns) / 1000000 + 1;

	must(!cfg.bps || moved <= cfg.bps / 10 + 1 + cfg.bps * ms / 1000 + begun);
}

/* The chain that the model has just popped. */
static void req_taken(struct queue *k)
{
	unsigned head = k->m.head;
	struct req *r = &k->req[head];
	struct virtio_blk_outhdr h;
	const struct model_part *last = &k->m.parts[k->m.n - 1];
	uint64_t sum[2] = { 0, 0 };
	int status;

	for (unsigned i = 0; i < k->m.n; i++)
		sum[k->m.parts[i].in] += k->m.parts[i].len;
	if (sum[false] < sizeof(h) || !sum[true]) {
		k->m.broken = true;
		return;
	}
	check_bps();
	begun++;
	*r = (struct req){ .out = true, .nr = begun, .n = k->m.n, .len_in = sum[true], .status = last->gpa + last->len - 1 };
	memcpy(r->parts, k->m.parts, k->m.n * sizeof(*r->parts));
	move_data(r, 0, sizeof(h), (uint8_t *)&h, false);
	r->type = h.type;
	r->from = is_read(r) ? sum[false] : sizeof(h);
	r->left = is_read(r) ? sum[true] - 1 : sum[false] - sizeof(h);
	status = early_status(r, h.sector);
	if (status < 0 && (r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_OUT) && cfg.disk.align > 1)
		r->bounced = is_odd(r, r->from, r->left);
	if (status >= 0)
		req_over(k, head, (uint8_t)status);
	else if (r->type != VIRTIO_BLK_T_DISCARD && r->type != VIRTIO_BLK_T_FLUSH)
		moved += r->left;
}

/* ---- what is under way -------------------------------------------------------------------- */

static struct queue *queue_of(const struct loop_io *io, unsigned *ret_head)
{
	const struct blk_req *br = container_of(io, struct blk_req, io);

	*ret_head = br->head;
	must(br->head < RING);
	return &queue[br->queue - blk->queue];
}

static UNTRACED uint64_t iov_sum(const struct iovec *iov, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

static bool is_write(enum fake_io_op op)
{
	return op == FAKE_IO_WRITEV || op == FAKE_IO_ALLOCATE;
}

/* Of bytes that are moved, as many as one operation may have. */
static uint64_t now_of(const struct req *r)
{
	return r->left < BLK_OP_MAX ? r->left : BLK_OP_MAX;
}

static void check_write_zeroes(const struct req *r, enum fake_io_op op, uint64_t len, int mode)
{
	const int zero = FALLOC_FL_KEEP_SIZE | (r->unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);

	if (op == FAKE_IO_WRITEV)
		must(r->by_hand && len == now_of(r));
	else
		must(op == FAKE_IO_ALLOCATE && len == r->left && mode == zero);
}

/* It was copied when it began: before whatever else has ended meanwhile, and may have been told in the same place. */
static void check_bounce(struct req *r, const struct iovec *iov)
{
	move_data(r, r->from, iov->iov_len, r->bounce, false);
	must(nr_ended || !memcmp(r->bounce, iov->iov_base, iov->iov_len));
	memcpy(r->bounce, iov->iov_base, iov->iov_len);
	r->bounces = true;
}

/* It is what the request wants, and may be. */
static void check_operation(struct req *r, const struct loop_io *io)
{
	const struct iovec *iov = NULL;
	unsigned n = 0;
	enum fake_io_op op = fake_loop_io(io, &iov, &n);
	struct fake_io_place at = fake_loop_place(io);
	uint64_t len = op == FAKE_IO_ALLOCATE ? at.len : op == FAKE_IO_SYNC ? 0 : iov_sum(iov, n);

	must(r->out && at.off == (op == FAKE_IO_SYNC ? 0 : r->off));
	must(at.off <= disk_size() && len <= disk_size() - at.off);
	must(!cfg.disk.ro || !is_write(op));
	for (unsigned i = 0; r->type <= VIRTIO_BLK_T_OUT && i < n; i++)
		must(!((uintptr_t)iov[i].iov_base % cfg.disk.align) && (cfg.disk.align == 1 || r->left % cfg.disk.block || !(iov[i].iov_len % cfg.disk.block)));
	must(op != FAKE_IO_WRITEV || at.flags == (features & F(FLUSH) ? 0 : RWF_DSYNC));
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		must(op == FAKE_IO_READV && len == now_of(r));
		break;
	case VIRTIO_BLK_T_OUT:
		must(op == FAKE_IO_WRITEV && len == now_of(r));
		if (r->bounced && !r->bounces)
			check_bounce(r, iov);
		break;
	case VIRTIO_BLK_T_FLUSH:
		must(op == FAKE_IO_SYNC);
		break;
	case VIRTIO_BLK_T_DISCARD:
		must(op == FAKE_IO_ALLOCATE && len == r->left && at.mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE));
		break;
	default:
		must(r->type == VIRTIO_BLK_T_WRITE_ZEROES);
		if (r->zeroed)
			must(op == FAKE_IO_SYNC);
		else
			check_write_zeroes(r, op, len, at.mode);
	}
}

static UNTRACED unsigned nr_under_way(void)
{
	unsigned n = 0;

	while (fake_loop_busy(loop, n))
		n++;
	return n;
}

/* A flush, on a range, or by the buffer: one at a time. */
static bool is_slow(const struct req *r)
{
	return r->bounced || cfg.disk.waits || r->type == VIRTIO_BLK_T_FLUSH || r->type == VIRTIO_BLK_T_DISCARD || (r->type == VIRTIO_BLK_T_WRITE_ZEROES && !r->by_hand);
}

/* @r has begun: none that was taken before it waits still. */
static void check_order(const struct req *r)
{
	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned h = 0; h < RING; h++)
			must(!queue[q].req[h].out || queue[q].req[h].begun || queue[q].req[h].nr > r->nr);
}

/* One operation for each request that does not wait, and none besides. Who waits does so for another. */
static UNTRACED void check_operations(void)
{
	unsigned n = 0, slow = 0, waiting = 0, head;
	struct loop_io *io;
	uint32_t seen[QUEUES] = { 0 };
	const struct req *first = NULL;

	for (; (io = fake_loop_busy(loop, n)); n++) {
		struct queue *k = queue_of(io, &head);
		struct req *r = &k->req[head];

		must(!(seen[k - queue] & BIT32(head)));
		seen[k - queue] |= BIT32(head);
		check_operation(r, io);
		slow += is_slow(r);
		if (is_slow(r) && !r->begun)
			first = r;
		r->begun = true;
	}
	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned h = 0; h < RING; h++) {
			struct req *r = &queue[q].req[h];

			r->runs = seen[q] & BIT32(h);
			if (!r->out || r->runs)
				continue;
			must((!r->begun || r->bounced || cfg.disk.waits) && is_slow(r) && !resetting);
			waiting++;
		}
	nr_ended = 0;
	must(slow <= 1 && (!waiting || slow));
	if (first)
		check_order(first);
}

/* A reset: who waits has nobody to tell. */
static void forget_waiting(void)
{
	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned h = 0; h < RING; h++)
			queue[q].req[h].out &= queue[q].req[h].runs;
}

/* ---- the host ----------------------------------------------------------------------------- */

/* At most @most bytes between the file and what the program gave for it. */
static UNTRACED int host_moves(const struct iovec *iov, unsigned n, uint64_t off, uint64_t most, bool in)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < n && done < most; i++) {
		uint64_t now = iov[i].iov_len < most - done ? iov[i].iov_len : most - done;

		memcpy(in ? (uint8_t *)iov[i].iov_base : disk + off + done, in ? disk + off + done : (uint8_t *)iov[i].iov_base, now);
		done += now;
	}
	return (int)done;
}

static int host_does(const struct loop_io *io, uint64_t most)
{
	const struct iovec *iov;
	unsigned n;
	enum fake_io_op op = fake_loop_io(io, &iov, &n);
	struct fake_io_place at = fake_loop_place(io);

	if (op == FAKE_IO_READV || op == FAKE_IO_WRITEV)
		return host_moves(iov, n, at.off, most, op == FAKE_IO_READV);
	if (op == FAKE_IO_ALLOCATE)
		memset(disk + at.off, 0, at.len);
	return 0;
}

/* The same to the copies: @len bytes of the request's are through. */
static void req_moved(struct req *r, uint64_t len)
{
	if (r->bounces)
		memcpy(disk_copy + r->off, r->bounce, len);
	else if (r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_OUT)
		move_data(r, r->from, len, disk_copy + r->off, r->type == VIRTIO_BLK_T_IN);
	else
		memset(disk_copy + r->off, 0, len);
	r->from += len;
	r->off += len;
	r->left -= len;
	r->done += len;
}

static bool may_be_refused(const struct req *r, int res)
{
	return r->type == VIRTIO_BLK_T_WRITE_ZEROES && !r->by_hand && !r->zeroed && (res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL);
}

/* What the operation's end makes of the request. */
static void req_goes_on(struct queue *k, unsigned head, enum fake_io_op op, int res)
{
	struct req *r = &k->req[head];
	bool moves = op == FAKE_IO_READV || op == FAKE_IO_WRITEV;

	if (resetting && r->bounced && op == FAKE_IO_READV)
		res = -ECANCELED; /* what is in the disk's buffer stays there */
	if (res > 0 || (!moves && !res))
		req_moved(r, moves ? (uint64_t)res : r->left);
	r->bounces = false;
	if (resetting)
		r->out = false;
	else if (res >= 0 && op == FAKE_IO_ALLOCATE && r->type == VIRTIO_BLK_T_WRITE_ZEROES && !(features & F(FLUSH)))
		r->zeroed = true;
	else if (may_be_refused(r, res))
		r->by_hand = true;
	else if (res < 0 && res != -EINTR && !(res == -EAGAIN && r->again++ < MOST_AGAIN))
		req_over(k, head, res == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
	else if (moves && !res)
		req_over(k, head, VIRTIO_BLK_S_IOERR); /* the file has become shorter */
	else if (res >= 0 && !r->left)
		req_over(k, head, VIRTIO_BLK_S_OK);
}

/* In full, in part, or not at all. */
static int host_answers(struct fuzz_in *in, const struct loop_io *io)
{
	static const int errors[] = { -EIO, -EINTR, -EOPNOTSUPP, -EINVAL, -ENOSYS, -ENOSPC, -EAGAIN, -ECANCELED };
	uint8_t how = fuzz_u8(in);
	enum fake_io_op op = fake_loop_io(io, NULL, NULL);

	if ((how & 3) == 1 && (op == FAKE_IO_READV || op == FAKE_IO_WRITEV))
		return host_does(io, how & 4 || cfg.disk.align > 1 ? (uint64_t)(how >> 3) * SECTOR : how >> 3);
	if ((how & 3) == 2)
		return errors[(how >> 2) % ARRAY_LEN(errors)];
	return host_does(io, SURE);
}

static void complete(struct fuzz_in *in)
{
	unsigned n = nr_under_way(), head;
	enum fake_io_op op;
	struct loop_io *io;
	struct queue *k;
	int res;

	if (!n)
		return;
	io = fake_loop_busy(loop, fuzz_below(in, n));
	op = fake_loop_io(io, NULL, NULL);
	k = queue_of(io, &head);
	res = host_answers(in, io);
	/* one that is busy may stay so */
	for (bool busy = res == -EAGAIN && fuzz_u8(in) & 1; ; ) {
		must(fake_loop_complete(io, res));
		req_goes_on(k, head, op, res);
		check_operations();
		if (!busy || fake_loop_io(io, NULL, NULL) == FAKE_IO_NONE)
			break;
	}
}

/* ---- rounds ------------------------------------------------------------------------------- */

/* The model takes what the device took, and breaks where that broke. */
static void catch_up(struct queue *k)
{
	const struct vq *ring = &dev->queues[k - queue].ring;

	while (!k->m.broken && (ring->broken || ring->next_avail != k->m.next_avail)) {
		int r = model_pop(&k->m, BLK_QUEUE_SIZE);

		must(r);
		if (r > 0)
			req_taken(k);
	}
	must(k->m.broken == ring->broken);
}

static void look_at_used(struct queue *k)
{
	unsigned n = 0;
	uint32_t id, len;

	for (; fake_ring_used(&k->ring, &id, &len); n++) {
		must(id < RING && k->over[id] && len <= k->most[id]);
		k->over[id]--;
		k->nr_over--;
		k->busy &= (uint16_t)~k->chain[id];
		k->chain[id] = 0;
	}
	must(k->m.broken || !k->nr_over); /* all of a round is shown at its end */
	must(k->m.broken || k->irqs == model_wants_irq(&k->m));
	must(k->irqs <= 1);
	k->irqs = 0;
}

static UNTRACED void check_memory(void)
{
	for (unsigned q = 0; q < QUEUES; q++)
		if (queue[q].ready)
			must(!memcmp(ram + (queue[q].ring.desc - RAM), copy + (queue[q].ring.desc - RAM),
				     queue[q].ring.used - queue[q].ring.desc));
	must(!memcmp(ram + TABLES, copy + TABLES, RAM_SIZE - TABLES));
	must(!memcmp(disk, disk_copy, sizeof(disk)));
}

static void check_rate(void)
{
	uint64_t s = (now_ns - start_ns) / 1000000000 + 1;

	must(!cfg.iops || begun <= cfg.iops / 10 + 2 + cfg.iops * s);
}

static void look(void)
{
	bool broken = false;

	for (unsigned q = 0; q < QUEUES; q++)
		broken |= queue[q].m.broken;
	must(broken == !!(vdev_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET));
	must(config_irqs == broken);
	check_operations();
	check_memory();
	check_rate();
}

/* Queue @first on: what one writes another may read. */
static void catch_up_from(unsigned first)
{
	for (unsigned i = 0; i < cfg.queues; i++) {
		struct queue *k = &queue[(first + i) % cfg.queues];

		if (k->ready)
			catch_up(k);
	}
}

static void end_round(void)
{
	fake_loop_turn(loop);
	catch_up_from(0);
	for (unsigned q = 0; q < QUEUES; q++)
		if (queue[q].ready)
			look_at_used(&queue[q]);
}

/* Requests that were taken. */
static UNTRACED unsigned nr_taken(void)
{
	unsigned n = 0;

	for (unsigned q = 0; q < QUEUES; q++)
		n += queue[q].m.next_avail + queue[q].m.broken;
	return n;
}

/* While the limits have it wait, nothing begins. */
static void turn(void)
{
	bool halted = limited() && fake_loop_timer(&blk->again);
	unsigned n = nr_taken();

	end_round();
	must(!halted || nr_taken() == n);
}

static bool waits(const struct queue *k)
{
	return k->ready && !k->m.broken && model_read16(&k->m, k->m.avail + 2) != k->m.next_avail;
}

static void kick(unsigned q)
{
	vdev_notify(dev, q);
	turn();
	must(!waits(&queue[q]) || fake_loop_timer(&blk->again));
}

/* The limits let some begin: none that wants to is passed over for ever. */
static void expire(void)
{
	uint16_t had[QUEUES];
	bool wanted[QUEUES];
	unsigned n = nr_taken(), first = blk->turn; /* which one is first is open */

	for (unsigned q = 0; q < QUEUES; q++) {
		had[q] = queue[q].m.next_avail;
		wanted[q] = waits(&queue[q]);
	}
	must(fake_loop_expire(&blk->again));
	catch_up_from(first);
	end_round();
	for (unsigned q = 0; q < QUEUES; q++) {
		struct queue *k = &queue[q];

		must(!waits(k) || fake_loop_timer(&blk->again));
		if (!wanted[q] || k->m.broken || had[q] != k->m.next_avail)
			k->passed = 0;
		else if (nr_taken() != n)
			must(++k->passed < cfg.queues);
	}
}

/* Time goes on, as far as the device wants to know, or by any, and the timer is late. */
static void pass_time(struct fuzz_in *in)
{
	uint64_t wait = limited() ? fake_loop_timer(&blk->again) : 0;

	if (!wait || fuzz_u8(in) & 1) {
		now_ns += (uint64_t)fuzz_u8(in) << 22;
		return;
	}
	now_ns += wait;
	expire();
}

/* ---- the driver --------------------------------------------------------------------------- */

static void start(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	unsigned size = RING >> (how & 3);

	features = (how & 4 ? 0 : F(FLUSH)) | (how & 8 ? BIT64(VIRTIO_RING_F_EVENT_IDX) : 0) |
		   (how & 16 ? BIT64(VIRTIO_RING_F_INDIRECT_DESC) : 0);
	memset(queue, 0, sizeof(queue));
	memset(ram, 0, RAM_SIZE);
	for (unsigned q = 0; q < cfg.queues; q++) {
		struct queue *k = &queue[q];

		k->ready = !(how & 32) || !q;
		fake_ring_init(&k->ring, mem, RAM + 0x400 * q, (uint16_t)size);
		k->m = (struct vq_model){ .read = read_copy, .is_ram = is_ram, .size = (uint16_t)size, .event_idx = how & 8,
					  .indirect = how & 16, .desc = k->ring.desc, .avail = k->ring.avail, .used = k->ring.used };
		if (k->ready)
			fake_ring_give(&k->ring, dev, q);
	}
	memcpy(copy, ram, RAM_SIZE);
	config_irqs = 0;
	resetting = false;
	must(fake_vdev_start(dev, features) == 0);
}

/* The driver waits until all has ended, and kicks meanwhile: nothing begins. */
static void reset_patiently(struct fuzz_in *in)
{
	must(vdev_set_status(dev, 0) == VDEV_RESET);
	for (unsigned n = nr_under_way(); vdev_act(dev, VDEV_RESET) == LOOP_AGAIN; n--) {
		must(n);
		resetting = true;
		forget_waiting();
		vdev_notify(dev, fuzz_below(in, cfg.queues));
		fake_loop_turn(loop);
		complete(in);
		check_operations();
		check_memory();
	}
}

/* Some of what is called back was done already. */
static void reset_at_once(struct fuzz_in *in)
{
	uint8_t late = fuzz_u8(in);
	struct loop_io *io;
	unsigned head;

	resetting = true;
	forget_waiting();
	for (unsigned n = 0; n < 8 && (io = fake_loop_busy(loop, n)); n++) {
		struct queue *k = queue_of(io, &head);
		enum fake_io_op op = fake_loop_io(io, NULL, NULL);
		int res;

		if (!(late & BIT32(n)))
			continue;
		res = host_does(io, SURE);
		fake_loop_cancel_result(io, res);
		req_goes_on(k, head, op, res);
	}
	vdev_reset_now(dev);
}

static void restart(struct fuzz_in *in)
{
	if (fuzz_u8(in) & 1)
		reset_at_once(in);
	else
		reset_patiently(in);
	must(!fake_loop_busy(loop, 0) && !vdev_status(dev));
	must(!limited() || !fake_loop_timer(&blk->again));
	resetting = true;
	fake_loop_turn(loop);
	check_memory();
	start(in);
}

/* A place for @len bytes among the buffers. */
static gpa_t place(struct fuzz_in *in, uint32_t len)
{
	return RAM + DATA + (fuzz_u8(in) * 0x50u) % (RAM_SIZE - DATA - len + 1);
}

/* Cuts @len bytes at @at into one to four parts. */
static unsigned split(struct fuzz_in *in, struct fake_part *parts, gpa_t at, uint32_t len, bool write)
{
	unsigned n = 0, cuts = fuzz_below(in, 4);

	for (; len && n < cuts; n++) {
		uint32_t now = 1 + fuzz_u8(in) * (n ? 8u : 1u);

		now = now < len ? now : len;
		parts[n] = (struct fake_part){ .addr = at, .len = now, .write = write };
		at += now;
		len -= now;
	}
	if (len)
		parts[n++] = (struct fake_part){ .addr = at, .len = len, .write = write };
	return n;
}

/* Free descriptors for @n parts, in any order; false: there are too few. */
static bool offer_chain(struct queue *k, const struct fake_part *parts, unsigned n)
{
	uint16_t at[TABLE_PARTS], mask = 0;
	unsigned found = 0;

	for (uint16_t i = 0; i < k->ring.size && found < n; i++)
		if (!(k->busy & BIT32(i))) {
			at[found++] = i;
			mask |= (uint16_t)BIT32(i);
		}
	if (found < n)
		return false;
	for (unsigned i = 0; i < n; i++)
		fake_ring_desc(&k->ring, at[i], parts[i].addr, parts[i].len,
			       (parts[i].write ? VRING_DESC_F_WRITE : 0) | (i + 1 < n ? VRING_DESC_F_NEXT : 0), i + 1 < n ? at[i + 1] : 0);
	k->busy |= mask;
	k->chain[at[0]] = mask;
	fake_ring_put(&k->ring, at[0]);
	fake_ring_show(&k->ring);
	return true;
}

static void offer_table(struct queue *k, const struct fake_part *parts, unsigned n)
{
	for (uint16_t i = 0; i < k->ring.size; i++) {
		gpa_t table = RAM + TABLES + (gpa_t)(((unsigned)(k - queue) * RING + i) * TABLE_PARTS * 16);

		if (k->busy & BIT32(i))
			continue;
		for (uint16_t p = 0; p < n; p++)
			fake_table_desc(mem, table, p, parts[p].addr, parts[p].len,
					(parts[p].write ? VRING_DESC_F_WRITE : 0) | (p + 1u < n ? VRING_DESC_F_NEXT : 0), p + 1);
		fake_ring_desc(&k->ring, i, table, 16 * n, VRING_DESC_F_INDIRECT, 0);
		k->busy |= (uint16_t)BIT32(i);
		k->chain[i] = (uint16_t)BIT32(i);
		fake_ring_put(&k->ring, i);
		fake_ring_show(&k->ring);
		return;
	}
}

static uint32_t any_type(struct fuzz_in *in, unsigned which)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID,
					  VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_OUT };

	return which < ARRAY_LEN(types) ? types[which] : fuzz_u8(in) & 1 ? fuzz_u32(in) : fuzz_below(in, 16);
}

/* Mostly on the disk, often across its end. */
static uint64_t any_sector(struct fuzz_in *in, bool wild)
{
	return wild ? fuzz_u64(in) : fuzz_u8(in) % (cfg.disk.sectors + 2);
}

static uint32_t any_len(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	return how & 0x80 ? how & 0x7f : (how & 0x0f) * SECTOR;
}

/* The readable bytes at @at: a header, and what goes with it; how many. */
static uint32_t write_out(struct fuzz_in *in, gpa_t at, uint32_t type, bool wild, uint32_t len)
{
	struct virtio_blk_outhdr h = { .type = type };
	struct virtio_blk_discard_write_zeroes seg = { 0 };
	uint8_t data[0x0f * SECTOR];

	if (type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES) {
		seg.sector = any_sector(in, wild);
		seg.num_sectors = wild ? fuzz_u32(in) : fuzz_below(in, 8);
		seg.flags = wild ? fuzz_u32(in) : fuzz_below(in, 4) == 3;
		put(at + sizeof(h), &seg, sizeof(seg));
		len = wild ? len : sizeof(seg);
	} else {
		h.sector = any_sector(in, wild);
		memset(data, fuzz_u8(in), len);
		put(at + sizeof(h), data, len);
	}
	put(at, &h, sizeof(h));
	return sizeof(h) + len;
}

static void ask(struct fuzz_in *in)
{
	struct queue *k = &queue[fuzz_below(in, cfg.queues)];
	uint8_t how = fuzz_u8(in);
	uint32_t type = any_type(in, how & 7), len = any_len(in), len_out, len_in;
	bool reads = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	/* @how says, too: data that the request has no use for; a header that is short; no status */
	bool spare = how & 0x20, shrt = (how & 0xc0) == 0x40, mute = (how & 0xc0) == 0xc0;
	struct fake_part parts[TABLE_PARTS];
	gpa_t at = place(in, sizeof(struct virtio_blk_outhdr) + 0x10 * SECTOR);
	unsigned n;

	len_out = write_out(in, at, type, how & 8, reads && !spare ? 0 : len);
	len_in = mute ? 0 : reads || spare ? len + 1 : 1;
	n = split(in, parts, at, shrt ? fuzz_below(in, 16) : len_out, false);
	n += split(in, parts + n, place(in, len_in), len_in, true);
	if (!n || !k->ready)
		return;
	if (how & 16 && features & BIT64(VIRTIO_RING_F_INDIRECT_DESC))
		offer_table(k, parts, n);
	else
		offer_chain(k, parts, n);
	copy_rings();
}

/* What no driver does: any descriptor, any head, any index. */
static void scribble(struct fuzz_in *in)
{
	struct queue *k = &queue[fuzz_below(in, cfg.queues)];
	uint8_t how = fuzz_u8(in);
	gpa_t at = how & 8 ? fuzz_u32(in) | (gpa_t)1 << 31 : RAM + DATA + fuzz_u16(in) % (RAM_SIZE - DATA);
	uint16_t i = fuzz_below(in, RING);

	if (!k->ready)
		return;
	/* nothing below DATA is the device's to write, but the used rings */
	if (at < RAM + DATA)
		at = RAM + RAM_SIZE;
	if (how & 4)
		fake_table_desc(mem, RAM + TABLES + 16 * (gpa_t)i, 0, at, fuzz_u16(in), how & 3, fuzz_below(in, 8));
	else if (i < k->ring.size)
		fake_ring_desc(&k->ring, i, at, fuzz_u16(in), how & 3, fuzz_below(in, RING));
	if (how & 16 && i < k->ring.size)
		fake_ring_desc(&k->ring, i, RAM + TABLES + 16 * fuzz_below(in, 8), 16 * fuzz_below(in, 9), VRING_DESC_F_INDIRECT, 0);
	if (how & 32)
		fake_ring_put(&k->ring, fuzz_u8(in) % (RING + 1));
	if (how & 64)
		fake_ring_set_used_event(&k->ring, fuzz_u8(in));
	if (how & 128)
		fake_ring_set_flags(&k->ring, fuzz_u8(in) & 1);
	fake_ring_show(&k->ring);
	copy_rings();
}

/* The driver may write its buffers at any time. */
static void poke(struct fuzz_in *in)
{
	uint8_t buf[16];

	fuzz_take(in, buf, sizeof(buf));
	put(place(in, sizeof(buf)), buf, sizeof(buf));
}

/* ---- a story ------------------------------------------------------------------------------ */

static UNTRACED void fill_disk(void)
{
	for (unsigned i = 0; i < sizeof(disk); i++)
		disk[i] = disk_copy[i] = (uint8_t)(i / SECTOR + i * 3 + 1);
}

static void make(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in), rates = fuzz_u8(in);
	uint32_t block = how & 16 ? 4096 : SECTOR;
	struct disk d = { .fd = open("/dev/null", O_RDWR | O_CLOEXEC), .ro = how & 4, .block = block, .best = how & 32 ? 65536 : block,
			  .align = how & 128 ? SECTOR : 1, .waits = rates & 128 };

	d.sectors = (1 + fuzz_below(in, SECTORS / (block / SECTOR))) * (block / SECTOR);
	now_ns = start_ns = 1000000000;
	begun = moved = 0;
	must(d.fd >= 0 && loop_new(&loop) == 0 && gmem_new(&mem) == 0 && gmem_add(mem, RAM, RAM_SIZE, false) == 0);
	ram = gmem_ptr(mem, RAM, RAM_SIZE);
	cfg = (struct blk_cfg){ .name = "disk0", .loop = loop, .mem = mem, .disk = d, .queues = 1 + (how & 3) % QUEUES,
				.discard = how & 8, .iops = how & 64 ? rates & 15 : 0, .bps = how & 64 ? (uint64_t)(rates >> 4) << 10 : 0 };
	must(blk_new(&cfg, &dev) == 0 && loop_seal(loop) == 0);
	blk = to_blk(dev);
	vdev_set_irq(dev, &irq, NULL);
	fill_disk();
	must(vdev_config_read(dev, 0, 8) == cfg.disk.sectors);
	must(!!(dev->offered & F(RO)) == cfg.disk.ro && !!(dev->offered & F(DISCARD)) == (cfg.discard && !cfg.disk.ro));
}

/* Whatever was asked ends, if the host answers and time goes on. */
static void see_all_end(void)
{
	struct fuzz_in nothing = { .p = disk }; /* at its end */
	bool left = true;

	for (unsigned i = 0; left; i++) {
		must(i < 1000);
		left = false;
		for (unsigned q = 0; q < cfg.queues; q++) {
			if (queue[q].ready)
				kick(q);
			left |= waits(&queue[q]);
		}
		check_operations();
		while (nr_under_way())
			complete(&nothing);
		pass_time(&nothing);
		look();
	}
	turn();
	look();
	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned h = 0; h < RING; h++)
			must(!queue[q].req[h].out);
}

static void unmake(struct fuzz_in *in)
{
	int fd = cfg.disk.fd;

	if (fuzz_u8(in) & 1)
		see_all_end();
	resetting = true;
	for (unsigned q = 0; q < QUEUES; q++)
		memset(queue[q].req, 0, sizeof(queue[q].req));
	vdev_free(dev);
	must(!fake_loop_busy(loop, 0) && fcntl(fd, F_GETFD) < 0);
	check_memory();
	loop_free(loop);
	gmem_free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };
	uint8_t last = size ? data[size - 1] : 1;
	struct fuzz_in end = { .p = &last, .left = 1 };

	make(&in);
	start(&in);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 10)) {
		case 0: case 1: case 2: ask(&in); break;
		case 3: scribble(&in); break;
		case 4: kick(fuzz_below(&in, cfg.queues)); break;
		case 5: case 6: complete(&in); break;
		case 7: turn(); break;
		case 8: fuzz_u8(&in) & 1 ? pass_time(&in) : poke(&in); break;
		case 9: restart(&in); break;
		}
		look();
	}
	unmake(&end);
	return 0;
}
