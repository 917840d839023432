// SPDX-License-Identifier: BSD-3-Clause
/* The block device on a disk in memory: what it asks of the host, in which order it may end, and what the driver sees. */
#include "devices/virtio/blk_priv.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "tests/fake/sparse.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"

#define RAM 0x40000000ull
#define RAM_SIZE 0x400000ull
#define HEADERS (RAM + 0x40000)
#define STATUSES (RAM + 0x48000)
#define DATA (RAM + 0x50000)
#define DATA_STEP 0x2000u
#define SLOTS 256u
#define SECTORS 256u       /* of the disk, */
#define MANY_SECTORS 8192u /* or as many, where requests are large */
#define NONE 0xaa /* a status that nobody wrote */
#define F(name) BIT64(VIRTIO_BLK_F_##name)

struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct blk *b;
	unsigned queues;
	struct fake_ring ring[BLK_MAX_QUEUES];
	unsigned irqs, config_irqs;
};

static uint8_t image[MANY_SECTORS * DISK_SECTOR];
static size_t disk_size; /* bytes of it that are the disk's */
static int syncs;
static uint32_t align, block; /* what the host wants of memory, and, where it wants something, of parts */

static void queue_irq(void *t, unsigned q)
{
	(void)q;
	((struct rig *)t)->irqs++;
}

static void config_irq(void *t)
{
	((struct rig *)t)->config_irqs++;
}

static const struct vdev_irq irq_ops = { .queue = queue_irq, .config = config_irq };

static void rig_start(struct rig *r, uint64_t features)
{
	gpa_t at = RAM;

	for (unsigned q = 0; q < r->queues; q++) {
		at = fake_ring_init(&r->ring[q], r->mem, at, BLK_QUEUE_SIZE);
		fake_ring_give(&r->ring[q], r->v, q);
	}
	ck_assert_int_eq(fake_vdev_start(r->v, features), 0);
}

static void rig_init(struct rig *r, struct blk_cfg cfg)
{
	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(loop_new(&r->loop), 0);
	ck_assert_int_eq(gmem_new(&r->mem), 0);
	ck_assert_int_eq(gmem_add(r->mem, RAM, RAM_SIZE, false), 0);
	cfg.name = "disk0";
	cfg.loop = r->loop;
	cfg.mem = r->mem;
	cfg.disk.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	cfg.disk.sectors = cfg.disk.sectors ? cfg.disk.sectors : SECTORS;
	disk_size = cfg.disk.sectors * DISK_SECTOR;
	cfg.disk.block = block = cfg.disk.block ? cfg.disk.block : DISK_SECTOR;
	cfg.disk.best = 4096;
	align = cfg.disk.align ? cfg.disk.align : 1;
	r->queues = cfg.queues = cfg.queues ? cfg.queues : 1;
	ck_assert_int_eq(blk_new(&cfg, &r->v), 0);
	r->b = container_of(r->v, struct blk, v);
	vdev_set_irq(r->v, &irq_ops, r);
	for (unsigned i = 0; i < disk_size; i++)
		image[i] = (uint8_t)(i * 7 + i / 256);
	syncs = 0;
	rig_start(r, r->v->offered);
}

static void rig_fini(struct rig *r)
{
	vdev_free(r->v);
	loop_free(r->loop);
	gmem_free(r->mem);
}

static void kick(struct rig *r, unsigned q)
{
	vdev_notify(r->v, q);
	fake_loop_turn(r->loop);
}

/* ---- requests of the driver's; each has a place for its header, status and data by its slot ---- */

static gpa_t data_at(unsigned slot)
{
	return DATA + slot * DATA_STEP;
}

static void *data_of(struct rig *r, unsigned slot)
{
	return gmem_ptr(r->mem, data_at(slot), DATA_STEP);
}

static void put_header(struct rig *r, unsigned slot, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };
	uint8_t none = NONE;

	ck_assert_int_eq(gmem_write(r->mem, HEADERS + 16 * slot, &h, sizeof(h)), 0);
	ck_assert_int_eq(gmem_write(r->mem, STATUSES + slot, &none, 1), 0);
}

/* In one part each: header, @len bytes of data, status. */
static void add(struct rig *r, unsigned q, unsigned slot, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct fake_part parts[3] = { { HEADERS + 16 * slot, 16, false }, { data_at(slot), len, in }, { STATUSES + slot, 1, true } };

	put_header(r, slot, type, sector);
	if (!len)
		parts[1] = parts[2];
	fake_ring_add(&r->ring[q], parts, len ? 3 : 2);
}

static void put_range(struct rig *r, unsigned slot, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes seg = { .sector = sector, .num_sectors = sectors, .flags = flags };

	memcpy(data_of(r, slot), &seg, sizeof(seg));
}

static uint8_t status_of(struct rig *r, unsigned slot)
{
	uint8_t status;

	ck_assert_int_eq(gmem_read(r->mem, STATUSES + slot, &status, 1), 0);
	return status;
}

static uint32_t used_len(struct rig *r, unsigned q)
{
	uint32_t id, len;

	ck_assert(fake_ring_used(&r->ring[q], &id, &len));
	return len;
}

/* ---- the host's side ---- */

static size_t total(const struct iovec *iov, unsigned n)
{
	size_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* Moves at most @most bytes between the image and the parts; nothing beyond the disk is ever asked for. */
static int move(const struct iovec *iov, unsigned n, uint64_t off, size_t most, bool to_guest)
{
	size_t done = 0;

	ck_assert_uint_le(off + total(iov, n), disk_size);
	for (unsigned i = 0; i < n && done < most; i++) {
		size_t now = iov[i].iov_len < most - done ? iov[i].iov_len : most - done;

		ck_assert(is_aligned((uintptr_t)iov[i].iov_base, align));
		ck_assert(align == 1 || is_aligned(iov[i].iov_len, block));
		if (to_guest)
			memcpy(iov[i].iov_base, image + off + done, now);
		else
			memcpy(image + off + done, iov[i].iov_base, now);
		done += now;
	}
	return (int)done;
}

static void zero(struct fake_io_place at)
{
	ck_assert_uint_le(at.off + at.len, disk_size);
	memset(image + at.off, 0, at.len);
}

/* What is under way in @io is done, as far as @most bytes, or refused by @error. */
static void host_does(struct loop_io *io, size_t most, int error)
{
	const struct iovec *iov;
	unsigned n;
	enum fake_io_op op = fake_loop_io(io, &iov, &n);
	struct fake_io_place at = fake_loop_place(io);
	int res = 0;

	if (error)
		res = error;
	else if (op == FAKE_IO_READV || op == FAKE_IO_WRITEV)
		res = move(iov, n, at.off, most, op == FAKE_IO_READV);
	else if (op == FAKE_IO_SYNC)
		syncs++;
	else
		zero(at);
	ck_assert(fake_loop_complete(io, res));
}

static void host_does_all(struct rig *r)
{
	struct loop_io *io;

	while ((io = fake_loop_busy(r->loop, 0)))
		host_does(io, SIZE_MAX, 0);
	fake_loop_turn(r->loop);
}

static void check_nothing_asked(struct rig *r)
{
	ck_assert_ptr_null(fake_loop_busy(r->loop, 0));
}

/* After a reset. */
static void check_serves_again(struct rig *r)
{
	rig_start(r, r->v->offered);
	add(r, 0, 0, VIRTIO_BLK_T_IN, 0, 512);
	kick(r, 0);
	host_does_all(r);
	ck_assert_uint_eq(status_of(r, 0), VIRTIO_BLK_S_OK);
}

/* ---- tests ---- */

static uint64_t count_of(struct rig *r, const char *name)
{
	struct vdev_count c[VDEV_MAX_COUNTS];
	unsigned n = vdev_counts(r->v, c);

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(c[i].name, name))
			return c[i].n;
	ck_abort_msg("no count of %s", name);
	return 0;
}

START_TEST(test_blk_config_says_what_the_disk_is)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .queues = 3, .discard = true });
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 8), SECTORS);
	ck_assert_uint_eq(vdev_config_read(r.v, 12, 4), BLK_QUEUE_SIZE - 2);
	ck_assert_uint_eq(vdev_config_read(r.v, 20, 4), DISK_SECTOR);
	ck_assert_uint_eq(vdev_config_read(r.v, 24, 1), 3); /* 4096 bytes */
	ck_assert_uint_eq(vdev_config_read(r.v, 34, 2), 3);
	ck_assert((r.v->offered & (F(MQ) | F(FLUSH) | F(DISCARD) | F(WRITE_ZEROES) | F(RO))) == (F(MQ) | F(FLUSH) | F(DISCARD) | F(WRITE_ZEROES)));
	rig_fini(&r);
	rig_init(&r, (struct blk_cfg){ .disk.ro = true, .discard = true });
	ck_assert((r.v->offered & (F(MQ) | F(DISCARD) | F(WRITE_ZEROES) | F(RO))) == F(RO));
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_reads_and_writes)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	add(&r, 0, 0, VIRTIO_BLK_T_IN, 3, 1024);
	memset(data_of(&r, 1), 0x5a, 512);
	add(&r, 0, 1, VIRTIO_BLK_T_OUT, SECTORS - 1, 512);
	kick(&r, 0);
	ck_assert_uint_eq(status_of(&r, 0), NONE);
	ck_assert_uint_eq(r.irqs, 0);
	host_does_all(&r);
	ck_assert_uint_eq(r.irqs, 1); /* both, in one round */
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(status_of(&r, 1), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used_len(&r, 0) + used_len(&r, 0), 1025 + 1); /* in whichever order they ended */
	ck_assert_mem_eq(data_of(&r, 0), image + 3 * 512, 1024);
	ck_assert_mem_eq(image + disk_size - 512, data_of(&r, 1), 512);
	ck_assert_uint_eq(count_of(&r, "requests"), 2);
	ck_assert_uint_eq(count_of(&r, "errors"), 0);
	ck_assert_uint_eq(count_of(&r, "bytes_read"), 1024);
	ck_assert_uint_eq(count_of(&r, "bytes_written"), 512);
	rig_fini(&r);
}
END_TEST

/* s5.2.6: no assumption on how the parts are cut. */
START_TEST(test_blk_parts_may_be_cut_anywhere)
{
	struct rig r;
	const gpa_t h = HEADERS, d = data_at(0);
	const struct fake_part parts[] = {
		{ h, 1, false }, { h + 1, 14, false }, { h + 15, 1, false },
		{ d, 1, true }, { d + 1, 510, true }, { d + 511, 514, true }, /* the last byte is the status */
	};
	const struct fake_part out[] = { { h + 16, 16 + 0, false }, { d + 0x1000, 511, false }, { d + 0x11ff, 1, false }, { STATUSES + 1, 1, true } };

	rig_init(&r, (struct blk_cfg){ .disk.align = _i ? 512 : 1 });
	put_header(&r, 0, VIRTIO_BLK_T_IN, 9);
	put_header(&r, 1, VIRTIO_BLK_T_OUT, 20);
	memset((uint8_t *)data_of(&r, 0) + 0x1000, 0x33, 512);
	fake_ring_add(&r.ring[0], parts, ARRAY_LEN(parts));
	fake_ring_add(&r.ring[0], out, ARRAY_LEN(out));
	kick(&r, 0);
	host_does_all(&r);
	ck_assert_mem_eq(data_of(&r, 0), image + 9 * 512, 1024);
	ck_assert_uint_eq(((uint8_t *)data_of(&r, 0))[1024], VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(status_of(&r, 1), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(image[20 * 512], 0x33);
	ck_assert_uint_eq(image[20 * 512 + 511], 0x33);
	rig_fini(&r);
}
END_TEST

static const struct { uint32_t type; uint64_t sector; uint32_t len; } refused[] = {
	{ VIRTIO_BLK_T_IN, SECTORS, 512 }, { VIRTIO_BLK_T_OUT, SECTORS, 512 },
	{ VIRTIO_BLK_T_IN, SECTORS - 1, 1024 }, { VIRTIO_BLK_T_OUT, SECTORS - 1, 1024 },
	{ VIRTIO_BLK_T_IN, UINT64_MAX, 512 }, { VIRTIO_BLK_T_OUT, UINT64_MAX / 512, 512 },
	{ VIRTIO_BLK_T_OUT, UINT64_MAX / 512 + 1, 512 }, { VIRTIO_BLK_T_IN, 1ull << 55, 512 },
	{ VIRTIO_BLK_T_IN, 0, 511 }, { VIRTIO_BLK_T_OUT, 0, 513 }, { VIRTIO_BLK_T_IN, SECTORS + 1, 0 },
};

/* O_DIRECT: parts that are not aligned go by the disk's buffer, one request at a time, in pieces; others pass by. */
START_TEST(test_blk_direct_parts_not_aligned)
{
	const uint32_t len = 96 * KIB;
	const struct fake_part out[] = { { HEADERS, 16, false }, { data_at(0) + 16, 3, false }, { data_at(0) + 19, len - 3, false }, { STATUSES, 1, true } };
	struct rig r;
	uint8_t *data;

	rig_init(&r, (struct blk_cfg){ .disk.align = 512 });
	data = gmem_ptr(r.mem, data_at(0) + 16, len);
	for (unsigned i = 0; i < len; i++)
		data[i] = (uint8_t)(i / 3);
	put_header(&r, 0, VIRTIO_BLK_T_OUT, 5);
	fake_ring_add(&r.ring[0], out, ARRAY_LEN(out));
	put_header(&r, 1, VIRTIO_BLK_T_IN, 1);
	fake_ring_add(&r.ring[0], (struct fake_part[]){ { HEADERS + 16, 16, false }, { data_at(0) + len + 514, 512, true }, { STATUSES + 1, 1, true } }, 3);
	add(&r, 0, 2, VIRTIO_BLK_T_FLUSH, 0, 0);
	kick(&r, 0);
	ck_assert_ptr_null(fake_loop_busy(r.loop, 1)); /* one at a time, the flush too */
	host_does(fake_loop_busy(r.loop, 0), 32 * KIB, 0); /* short: the others have their turn */
	host_does(fake_loop_busy(r.loop, 0), 0, -EINTR);
	host_does(fake_loop_busy(r.loop, 0), 0, -EIO);
	ck_assert_uint_eq(status_of(&r, 1), VIRTIO_BLK_S_IOERR);
	host_does(fake_loop_busy(r.loop, 0), 0, 0);
	ck_assert_uint_eq(status_of(&r, 2), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(syncs, 1);
	ck_assert_uint_eq(status_of(&r, 0), NONE);
	host_does(fake_loop_busy(r.loop, 0), SIZE_MAX, 0);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(image + 5 * 512, data, len);
	check_nothing_asked(&r);
	rig_fini(&r);
}
END_TEST

/* Where blocks are larger than what memory is aligned to, each part is to be whole blocks. */
START_TEST(test_blk_direct_parts_no_blocks)
{
	const struct fake_part parts[] = { { HEADERS, 16, false }, { data_at(0) + 512, 3584, true }, { data_at(4), 4096, true },
					   { data_at(8), 512, true }, { STATUSES, 1, true } };
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .disk.align = 4, .disk.block = 4096 });
	put_header(&r, 0, VIRTIO_BLK_T_IN, 16);
	fake_ring_add(&r.ring[0], parts, ARRAY_LEN(parts));
	kick(&r, 0);
	host_does_all(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(gmem_ptr(r.mem, data_at(0) + 512, 3584), image + 16 * 512, 3584);
	ck_assert_mem_eq(data_of(&r, 8), image + 16 * 512 + 7680, 512);
	rig_fini(&r);
}
END_TEST

/* A file system that may let them wait has one request at a time, and so one of the kernel's threads. */
START_TEST(test_blk_of_a_file_system_that_waits)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .disk.waits = true });
	for (unsigned i = 0; i < 4; i++)
		add(&r, 0, i, i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 8 * i, 512);
	kick(&r, 0);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_ptr_null(fake_loop_busy(r.loop, 1));
		host_does(fake_loop_busy(r.loop, 0), SIZE_MAX, 0);
		ck_assert_uint_eq(status_of(&r, i), VIRTIO_BLK_S_OK);
	}
	check_nothing_asked(&r);
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_beyond_the_end_is_refused_and_nothing_touched)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	add(&r, 0, 0, refused[_i].type, refused[_i].sector, refused[_i].len);
	kick(&r, 0);
	check_nothing_asked(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_le(used_len(&r, 0), 1);
	ck_assert(!(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET));
	rig_fini(&r);
}
END_TEST

/* Part by part each would fit. */
START_TEST(test_blk_parts_are_counted_together)
{
	const struct fake_part parts[] = {
		{ HEADERS, 16, false }, { data_at(0), 512, false }, { data_at(0), 512, false }, { STATUSES, 1, true },
	};
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	put_header(&r, 0, VIRTIO_BLK_T_OUT, SECTORS - 1);
	fake_ring_add(&r.ring[0], parts, 4);
	kick(&r, 0);
	check_nothing_asked(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_IOERR);
	rig_fini(&r);
}
END_TEST

/* Whatever the driver acknowledged. */
START_TEST(test_blk_read_only_is_not_written)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD };
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .disk.ro = true });
	fake_vdev_reset(r.v);
	rig_start(&r, 0);
	add(&r, 0, 0, types[_i], 0, types[_i] == VIRTIO_BLK_T_OUT ? 512 : 16);
	kick(&r, 0);
	check_nothing_asked(&r);
	ck_assert_uint_ne(status_of(&r, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_ne(status_of(&r, 0), NONE);
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_unknown_types_are_unsupported)
{
	static const uint32_t types[] = { 2, 3, 5, 7, 9, 10, 12, 14, 16, 0x80000000, UINT32_MAX };
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		add(&r, 0, i, types[i], 0, 512);
	kick(&r, 0);
	check_nothing_asked(&r);
	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		ck_assert_uint_eq(status_of(&r, i), VIRTIO_BLK_S_UNSUPP);
	rig_fini(&r);
}
END_TEST

/* From where the last one ended, to the last byte, and each byte once. */
START_TEST(test_blk_short_transfers_go_on)
{
	const struct fake_part parts[] = {
		{ HEADERS, 16, false }, { data_at(0), 700, !_i }, { data_at(0) + 700, 1348, !_i }, { STATUSES, 1, true },
	};
	static const unsigned steps[] = { 1, 699, 1, 600, 747 };
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	for (unsigned i = 0; _i && i < 2048; i++)
		((uint8_t *)data_of(&r, 0))[i] = (uint8_t)(i * 3);
	put_header(&r, 0, _i ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 5);
	fake_ring_add(&r.ring[0], parts, 4);
	kick(&r, 0);
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		ck_assert_uint_eq(status_of(&r, 0), NONE);
		host_does(fake_loop_busy(r.loop, 0), steps[i], 0);
	}
	fake_loop_turn(r.loop);
	check_nothing_asked(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(data_of(&r, 0), image + 5 * 512, 2048);
	rig_fini(&r);
}
END_TEST

/* The file was cut under us; a disk that is broken or full: that request, and no other. */
START_TEST(test_blk_errors_are_the_requests_own)
{
	static const int errors[] = { -EIO, -ENOSPC, -EDQUOT, -ENODEV, -ECANCELED, 0 };
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	add(&r, 0, 0, VIRTIO_BLK_T_IN, 0, 1024);
	add(&r, 0, 1, VIRTIO_BLK_T_OUT, 8, 512);
	add(&r, 0, 2, VIRTIO_BLK_T_IN, 16, 512);
	kick(&r, 0);
	host_does(fake_loop_busy(r.loop, 0), 512, 0);
	ck_assert(fake_loop_complete(fake_loop_busy(r.loop, 0), errors[_i]));
	ck_assert(fake_loop_complete(fake_loop_busy(r.loop, 0), errors[_i]));
	host_does_all(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(status_of(&r, 1), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(status_of(&r, 2), VIRTIO_BLK_S_OK);
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_interrupted_is_done_again)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	add(&r, 0, 0, VIRTIO_BLK_T_FLUSH, 0, 0);
	kick(&r, 0);
	for (unsigned i = 0; i < 3; i++)
		host_does(fake_loop_busy(r.loop, 0), 0, -EINTR);
	host_does_all(&r);
	ck_assert_int_eq(syncs, 1);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	rig_fini(&r);
}
END_TEST

/* So do some devices; but not for ever. */
START_TEST(test_blk_asked_to_come_again)
{
	struct rig r;
	unsigned times = 0;

	rig_init(&r, (struct blk_cfg){ 0 });
	add(&r, 0, 0, VIRTIO_BLK_T_IN, 0, 512);
	add(&r, 0, 1, VIRTIO_BLK_T_IN, 1, 512);
	kick(&r, 0);
	for (unsigned i = 0; i < 3; i++)
		host_does(fake_loop_busy(r.loop, 0), 0, -EAGAIN);
	host_does(fake_loop_busy(r.loop, 0), SIZE_MAX, 0);
	for (; fake_loop_busy(r.loop, 0); times++)
		host_does(fake_loop_busy(r.loop, 0), 0, -EAGAIN);
	ck_assert_uint_ge(times, 4);
	ck_assert_uint_le(times, 20);
	ck_assert(status_of(&r, 0) + status_of(&r, 1) == VIRTIO_BLK_S_OK + VIRTIO_BLK_S_IOERR);
	rig_fini(&r);
}
END_TEST

/* Of a flush each keeps a thread of the kernel's: one at a time, in their order, and transfers pass by. */
START_TEST(test_blk_slow_ones_take_turns)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .discard = true });
	for (unsigned i = 0; i < 4; i++) {
		put_range(&r, i, 8 * i, 8, 0);
		add(&r, 0, i, i % 2 ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_FLUSH, 0, i % 2 ? 16 : 0);
	}
	add(&r, 0, 4, VIRTIO_BLK_T_IN, 100, 512);
	kick(&r, 0);
	ck_assert_ptr_nonnull(fake_loop_busy(r.loop, 1));
	ck_assert_ptr_null(fake_loop_busy(r.loop, 2));
	for (unsigned i = 0; i < 4; i++) {
		struct loop_io *io = fake_loop_busy(r.loop, 0);

		if (fake_loop_io(io, NULL, NULL) == FAKE_IO_READV)
			io = fake_loop_busy(r.loop, 1);
		ck_assert_int_eq(fake_loop_io(io, NULL, NULL), i % 2 ? FAKE_IO_ALLOCATE : FAKE_IO_SYNC);
		host_does(io, 0, i == 2 ? -EIO : 0);
		ck_assert_uint_eq(status_of(&r, i), i == 2 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
	}
	host_does_all(&r);
	ck_assert_uint_eq(status_of(&r, 4), VIRTIO_BLK_S_OK);
	/* those that wait are forgotten by a reset */
	for (unsigned i = 0; i < 4; i++)
		add(&r, 0, i, VIRTIO_BLK_T_FLUSH, 0, 0);
	kick(&r, 0);
	vdev_set_status(r.v, 0);
	ck_assert_int_eq(vdev_act(r.v, VDEV_RESET), LOOP_AGAIN);
	host_does(fake_loop_busy(r.loop, 0), 0, 0);
	check_nothing_asked(&r);
	ck_assert_int_eq(vdev_act(r.v, VDEV_RESET), 0);
	rig_start(&r, r.v->offered);
	add(&r, 0, 0, VIRTIO_BLK_T_FLUSH, 0, 0);
	kick(&r, 0);
	host_does_all(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	rig_fini(&r);
}
END_TEST

/* What the host has in its cache is copied in the call that submits it. */
START_TEST(test_blk_operations_are_bounded)
{
	struct fake_part parts[100] = { { HEADERS, 16, false } };
	struct rig r;
	const struct iovec *iov;
	unsigned n, ops = 0;

	rig_init(&r, (struct blk_cfg){ 0 });
	r.b->disk.sectors = 1u << 24;
	for (unsigned i = 1; i < 99; i++)
		parts[i] = (struct fake_part){ DATA, 0x18000, true };
	parts[99] = (struct fake_part){ STATUSES, 1, true };
	put_header(&r, 0, VIRTIO_BLK_T_IN, 0);
	fake_ring_add(&r.ring[0], parts, 100);
	kick(&r, 0);
	for (; fake_loop_busy(r.loop, 0); ops++) {
		fake_loop_io(fake_loop_busy(r.loop, 0), &iov, &n);
		ck_assert_uint_le(total(iov, n), BLK_OP_MAX);
		ck_assert_uint_eq(fake_loop_place(fake_loop_busy(r.loop, 0)).off, (uint64_t)ops * BLK_OP_MAX);
		fake_loop_complete(fake_loop_busy(r.loop, 0), (int)total(iov, n));
	}
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(ops, (98u * 0x18000 + BLK_OP_MAX - 1) / BLK_OP_MAX);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used_len(&r, 0), 98u * 0x18000 + 1);
	rig_fini(&r);
}
END_TEST

/* s5.2.6.2: without flush there is no later: what is completed is on the medium. */
START_TEST(test_blk_without_flush_writes_go_through)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	for (unsigned life = 0; life < 2; life++) {
		add(&r, 0, 0, VIRTIO_BLK_T_OUT, 0, 512);
		kick(&r, 0);
		ck_assert_int_eq(fake_loop_place(fake_loop_busy(r.loop, 0)).flags, life ? RWF_DSYNC : 0);
		host_does_all(&r);
		fake_vdev_reset(r.v);
		rig_start(&r, r.v->offered & ~F(FLUSH));
	}
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_discard_and_zeroes_ask_for_their_range)
{
	const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, zero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
	const struct { uint32_t type, flags; bool discard; int mode; } cases[] = {
		{ VIRTIO_BLK_T_DISCARD, 0, true, hole }, { VIRTIO_BLK_T_WRITE_ZEROES, 0, true, zero },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 1, true, hole }, { VIRTIO_BLK_T_WRITE_ZEROES, 1, false, zero },
	};
	struct fake_io_place at;
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .discard = cases[_i].discard });
	put_range(&r, 0, 10, 6, cases[_i].flags);
	add(&r, 0, 0, cases[_i].type, 99, 16);
	kick(&r, 0);
	at = fake_loop_place(fake_loop_busy(r.loop, 0));
	ck_assert_int_eq(at.mode, cases[_i].mode);
	ck_assert_uint_eq(at.off, 10 * 512);
	ck_assert_uint_eq(at.len, 6 * 512);
	host_does_all(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_bad_ranges_are_refused)
{
	static const struct { uint64_t sector; uint32_t sectors, flags, len; uint8_t status; } cases[] = {
		{ SECTORS, 1, 0, 16, VIRTIO_BLK_S_IOERR }, { SECTORS - 1, 2, 0, 16, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX, 1, 0, 16, VIRTIO_BLK_S_IOERR }, { UINT64_MAX / 512 + 1, 1, 0, 16, VIRTIO_BLK_S_IOERR },
		{ 0, UINT32_MAX, 0, 16, VIRTIO_BLK_S_IOERR }, { 0, 1, 0, 15, VIRTIO_BLK_S_IOERR },
		{ 0, 1, 0, 32, VIRTIO_BLK_S_IOERR }, { 0, 1, 2, 16, VIRTIO_BLK_S_UNSUPP },
		{ 0, 1, 0x80000001, 16, VIRTIO_BLK_S_UNSUPP }, { 5, 0, 0, 16, VIRTIO_BLK_S_OK },
	};
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .discard = true });
	for (unsigned k = 0; k < 2; k++) {
		put_range(&r, k, cases[_i].sector, cases[_i].sectors, cases[_i].flags);
		add(&r, 0, k, k ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES, 0, cases[_i].len);
	}
	kick(&r, 0);
	check_nothing_asked(&r);
	ck_assert_uint_eq(status_of(&r, 0), cases[_i].status);
	ck_assert_uint_eq(status_of(&r, 1), cases[_i].status);
	rig_fini(&r);
}
END_TEST

/* A file system that cannot zero a range gets zeros, in as many writes as it likes. */
START_TEST(test_blk_zeroes_by_hand)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	put_range(&r, 0, 4, 250, 0);
	add(&r, 0, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16);
	kick(&r, 0);
	host_does(fake_loop_busy(r.loop, 0), 0, -EOPNOTSUPP);
	for (unsigned i = 0; status_of(&r, 0) == NONE; i++) {
		ck_assert_uint_lt(i, 100);
		host_does(fake_loop_busy(r.loop, 0), 3333, 0);
	}
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < disk_size; i++)
		ck_assert_uint_eq(image[i], i >= 4 * 512 && i < 254 * 512 ? 0 : (uint8_t)(i * 7 + i / 256));
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_discard_that_cannot_be_is_unsupported)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .discard = true });
	put_range(&r, 0, 0, 1, 0);
	add(&r, 0, 0, VIRTIO_BLK_T_DISCARD, 0, 16);
	kick(&r, 0);
	host_does(fake_loop_busy(r.loop, 0), 0, -EOPNOTSUPP);
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_UNSUPP);
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_id_is_its_name_and_no_byte_more)
{
	static const uint32_t lens[] = { 20, 32, 19 };
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		memset(data_of(&r, i), 0x77, 64);
		add(&r, 0, i, VIRTIO_BLK_T_GET_ID, 0, lens[i]);
	}
	kick(&r, 0);
	check_nothing_asked(&r);
	ck_assert_mem_eq(data_of(&r, 0), "disk0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x77", 21);
	ck_assert_uint_eq(used_len(&r, 0), 21);
	ck_assert_uint_eq(((uint8_t *)data_of(&r, 1))[20], 0x77);
	ck_assert_uint_eq(used_len(&r, 0), 20);
	ck_assert_uint_eq(status_of(&r, 2), VIRTIO_BLK_S_IOERR);
	rig_fini(&r);
}
END_TEST

/* Room that the request has no use for was not written: it is not to be told as if it were (s2.7.8.2). */
START_TEST(test_blk_spare_room_is_not_told_as_written)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES };
	const struct virtio_blk_discard_write_zeroes seg = { .sector = 8, .num_sectors = 1 };
	const bool range = types[_i] == VIRTIO_BLK_T_DISCARD || types[_i] == VIRTIO_BLK_T_WRITE_ZEROES;
	const struct fake_part parts[] = {
		{ HEADERS, 16, false }, { data_at(1), range ? sizeof(seg) : 512, false }, { data_at(0), 64, true }, { STATUSES, 1, true },
	};
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .discard = true });
	put_header(&r, 0, types[_i], 0);
	memcpy(data_of(&r, 1), &seg, sizeof(seg));
	memset(data_of(&r, 0), 0x77, 64);
	fake_ring_add(&r.ring[0], parts, ARRAY_LEN(parts));
	kick(&r, 0);
	host_does_all(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(((uint8_t *)data_of(&r, 0))[0], 0x77);
	ck_assert_uint_eq(used_len(&r, 0), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_chains_without_header_or_status_break_the_ring)
{
	static const struct fake_part bad[][2] = {
		{ { HEADERS, 16, false }, { 0 } }, { { STATUSES, 1, true }, { 0 } }, { { HEADERS, 15, false }, { STATUSES, 1, true } },
	};
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	put_header(&r, 0, VIRTIO_BLK_T_IN, 0);
	fake_ring_add(&r.ring[0], bad[_i], bad[_i][1].len ? 2 : 1);
	kick(&r, 0);
	check_nothing_asked(&r);
	ck_assert(vdev_status(r.v) & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(r.config_irqs, 1);
	fake_vdev_reset(r.v);
	check_serves_again(&r);
	rig_fini(&r);
}
END_TEST

/* It writes into guest memory until it ends; and what ends then tells nobody. */
START_TEST(test_blk_reset_waits_for_what_is_under_way)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	add(&r, 0, 0, VIRTIO_BLK_T_IN, 0, 512);
	add(&r, 0, 1, VIRTIO_BLK_T_OUT, 1, 512);
	kick(&r, 0);
	ck_assert_int_eq(vdev_set_status(r.v, 0), VDEV_RESET);
	for (unsigned i = 2; i > 0; i--) {
		ck_assert_int_eq(vdev_act(r.v, VDEV_RESET), LOOP_AGAIN);
		ck_assert_uint_ne(vdev_status(r.v), 0);
		/* nothing new begins meanwhile */
		add(&r, 0, 2 + i, VIRTIO_BLK_T_IN, 0, 512);
		kick(&r, 0);
		ck_assert_ptr_null(fake_loop_busy(r.loop, i));
		host_does(fake_loop_busy(r.loop, 0), SIZE_MAX, 0);
	}
	ck_assert_int_eq(vdev_act(r.v, VDEV_RESET), 0);
	ck_assert_uint_eq(vdev_status(r.v), 0);
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 0);
	ck_assert_uint_eq(status_of(&r, 0), NONE);
	ck_assert_uint_eq(r.irqs, 0);
	check_serves_again(&r);
	rig_fini(&r);
}
END_TEST

/* One had ended in the round in which the reset came, another is still under way: the driver hears of neither. */
START_TEST(test_blk_reset_that_waits_tells_nothing)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	add(&r, 0, 0, VIRTIO_BLK_T_IN, 0, 512);
	add(&r, 0, 1, VIRTIO_BLK_T_IN, 1, 512);
	kick(&r, 0);
	host_does(fake_loop_busy(r.loop, 0), SIZE_MAX, 0);
	ck_assert_int_eq(vdev_set_status(r.v, 0), VDEV_RESET);
	ck_assert_int_eq(vdev_act(r.v, VDEV_RESET), LOOP_AGAIN);
	fake_loop_turn(r.loop);
	ck_assert_uint_eq(fake_ring_used_idx(&r.ring[0]), 0);
	ck_assert_uint_eq(r.irqs, 0);
	host_does_all(&r);
	ck_assert_int_eq(vdev_act(r.v, VDEV_RESET), 0);
	ck_assert_uint_eq(r.irqs, 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_freed_while_under_way)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	for (unsigned i = 0; i < 40; i++)
		add(&r, 0, i, VIRTIO_BLK_T_IN, i, 512);
	kick(&r, 0);
	rig_fini(&r);
}
END_TEST

/* As many as there are entries, then again: no request is lost, none is too many. */
START_TEST(test_blk_a_full_ring)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < 42; i++)
			add(&r, 0, i, VIRTIO_BLK_T_IN, i, 512);
		kick(&r, 0);
		ck_assert_ptr_nonnull(fake_loop_busy(r.loop, 41));
		host_does_all(&r);
		for (unsigned i = 0; i < 42; i++) {
			ck_assert_uint_eq(status_of(&r, i), VIRTIO_BLK_S_OK);
			ck_assert_uint_eq(used_len(&r, 0), 513);
		}
	}
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_limits_make_requests_wait_in_the_ring)
{
	struct rig r;
	uint64_t wait;
	unsigned begun = 0;

	rig_init(&r, (struct blk_cfg){ .iops = _i ? 0 : 1000, .bps = _i ? 512000 : 0 });
	for (unsigned turn = 0; turn < 10; turn++) {
		for (unsigned i = 0; i < 40; i++)
			add(&r, 0, i, VIRTIO_BLK_T_IN, i, 512);
		kick(&r, 0);
		while (fake_loop_busy(r.loop, 0)) {
			host_does(fake_loop_busy(r.loop, 0), SIZE_MAX, 0);
			begun++;
		}
		fake_loop_turn(r.loop);
		if (fake_loop_timer(&r.b->again))
			break;
	}
	wait = fake_loop_timer(&r.b->again);
	ck_assert_uint_ge(begun, 90);
	ck_assert_uint_gt(wait, 0);
	ck_assert_uint_le(wait, NS_PER_SEC / 5);
	usleep(20000);
	ck_assert(fake_loop_expire(&r.b->again));
	ck_assert_ptr_nonnull(fake_loop_busy(r.loop, 0));
	host_does_all(&r);
	rig_fini(&r);
}
END_TEST

/* What is refused has moved nothing, however long it says to be. */
START_TEST(test_blk_refused_requests_cost_no_bytes)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .bps = 1000 });
	for (unsigned i = 0; i < 20; i++)
		add(&r, 0, i, VIRTIO_BLK_T_OUT, SECTORS, DATA_STEP);
	add(&r, 0, 20, VIRTIO_BLK_T_IN, 0, 512);
	kick(&r, 0);
	host_does_all(&r);
	ck_assert_uint_eq(status_of(&r, 19), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(status_of(&r, 20), VIRTIO_BLK_S_OK);
	rig_fini(&r);
}
END_TEST

/* Of two queues that are never empty each has its share. */
START_TEST(test_blk_limits_are_shared_by_all_queues)
{
	unsigned begun[2] = { 0 };
	struct rig r;

	rig_init(&r, (struct blk_cfg){ .queues = 2, .iops = 500 });
	for (unsigned turn = 0; turn < 60; turn++) {
		for (unsigned q = 0; q < 2; q++) {
			uint32_t id, len;

			for (unsigned i = 0; turn == 0 && i < 30; i++)
				add(&r, q, 40 * q + i, VIRTIO_BLK_T_IN, i, 512);
			while (fake_ring_used(&r.ring[q], &id, &len)) {
				begun[q] += turn > 20;
				add(&r, q, 40 * q + begun[q] % 30, VIRTIO_BLK_T_IN, 1, 512);
			}
			kick(&r, q);
		}
		host_does_all(&r);
		usleep(2500);
		fake_loop_expire(&r.b->again);
		host_does_all(&r);
	}
	/* whatever the clock did meanwhile, neither was passed over */
	ck_assert_uint_ge(begun[0] + begun[1], 30);
	ck_assert_uint_ge(4 * begun[0], begun[0] + begun[1]);
	ck_assert_uint_ge(4 * begun[1], begun[0] + begun[1]);
	rig_fini(&r);
}
END_TEST

START_TEST(test_blk_zeroes_without_flush_reach_the_medium)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	fake_vdev_reset(r.v);
	rig_start(&r, r.v->offered & ~F(FLUSH));
	put_range(&r, 0, 0, 8, 0);
	add(&r, 0, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16);
	kick(&r, 0);
	host_does(fake_loop_busy(r.loop, 0), 0, 0);
	ck_assert_uint_eq(status_of(&r, 0), NONE);
	ck_assert_int_eq(fake_loop_io(fake_loop_busy(r.loop, 0), NULL, NULL), FAKE_IO_SYNC);
	host_does_all(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_OK);
	rig_fini(&r);
}
END_TEST

/* They are there, but the host cannot say so of the medium: zeros by hand would not mend that. */
START_TEST(test_blk_zeroes_that_cannot_be_synced_fail)
{
	struct rig r;

	rig_init(&r, (struct blk_cfg){ 0 });
	fake_vdev_reset(r.v);
	rig_start(&r, r.v->offered & ~F(FLUSH));
	put_range(&r, 0, 0, 8, 0);
	add(&r, 0, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16);
	kick(&r, 0);
	host_does(fake_loop_busy(r.loop, 0), 0, 0);
	host_does(fake_loop_busy(r.loop, 0), 0, -EINVAL);
	check_nothing_asked(&r);
	ck_assert_uint_eq(status_of(&r, 0), VIRTIO_BLK_S_IOERR);
	rig_fini(&r);
}
END_TEST

/* ---- a hundred thousand operations beside a shadow of the disk ---- */

#define OPS (100000 / SPARSE)
#define SMALL 48u         /* slots of requests of at most SMALL_LEN sectors */
#define SMALL_LEN 8u
#define BIG SMALL         /* the slot of one larger than BLK_OP_MAX: its data lies where that of the slots behind it would */
#define BIG_LEN (BLK_OP_MAX / DISK_SECTOR + 1024u)
#define PARTS 5u          /* of a request, at most: each slot has as many descriptors of its own */
#define BUSY_SECTORS 256u /* the disk's first ones, where every other request is */

_Static_assert(BIG_LEN * DISK_SECTOR <= (SLOTS - BIG) * DATA_STEP, "room for its data");
_Static_assert((BIG / 2 + 1) * PARTS <= BLK_QUEUE_SIZE, "descriptors");

enum { NOBODYS, READ, WRITTEN };

static uint8_t shadow[sizeof(image)];
static uint8_t claimed[MANY_SECTORS]; /* by what is under way */
static struct flying {
	bool out, failed;  /* failed: the host has said so */
	bool by_hand;      /* the host cannot zero the range */
	uint32_t type, sector, len;
	int error;         /* what becomes of it... */
	unsigned before;   /* ...after so many operations that move a part */
	size_t done;       /* bytes that the host has moved or zeroed */
} flying[SMALL + 1];
static unsigned nr_flying;
static struct { unsigned ended, eio, enospc, reads, large; } seen; /* reads: those that failed */

static unsigned rnd(unsigned n)
{
	return (unsigned)random() % n;
}

static void fill(uint8_t *data, size_t len)
{
	uint64_t x = (uint64_t)random() << 32 | (uint64_t)random() | 1;

	for (size_t i = 0; i < len; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(data + i, &x, sizeof(x));
	}
}

/* A tenth has EIO; what a file system without room, or one without holes, says is for those that may hear it. */
static int random_error(uint32_t type)
{
	unsigned n = rnd(100);

	if (n < 10)
		return -EIO;
	if (n < 15 && (type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_WRITE_ZEROES))
		return -ENOSPC;
	return n < 15 && type == VIRTIO_BLK_T_DISCARD ? -EOPNOTSUPP : 0;
}

static bool is_range(uint32_t type)
{
	return type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
}

/* What a file system never has under way at the same time has no defined outcome. */
static bool may_claim(uint32_t sector, uint32_t len)
{
	return !memchr(claimed + sector, READ, len) && !memchr(claimed + sector, WRITTEN, len);
}

/* Its data may be cut anywhere, and twice. */
static void add_cut(struct rig *r, unsigned slot, const struct flying *f)
{
	struct fake_part parts[PARTS] = { { HEADERS + 16 * slot, 16, false } };
	uint32_t left = is_range(f->type) ? 16 : f->len * DISK_SECTOR, at = 0;
	unsigned n = 1;

	while (left) {
		uint32_t now = n < PARTS - 2 ? 1 + rnd(left) : left;

		parts[n++] = (struct fake_part){ data_at(slot) + at, now, f->type == VIRTIO_BLK_T_IN };
		at += now;
		left -= now;
	}
	parts[n++] = (struct fake_part){ STATUSES + slot, 1, true };
	put_header(r, slot, f->type, f->sector);
	r->ring[slot % 2].next_desc = (uint16_t)(slot / 2 * PARTS);
	fake_ring_add(&r->ring[slot % 2], parts, n);
}

static void add_random(struct rig *r, unsigned slot, uint32_t type, uint32_t sector, uint32_t len)
{
	struct flying *f = &flying[slot];

	if (f->out || !may_claim(sector, len))
		return;
	*f = (struct flying){
		.out = true, .by_hand = type == VIRTIO_BLK_T_WRITE_ZEROES && !rnd(4), .type = type, .sector = sector, .len = len,
		.error = random_error(type), .before = rnd(3),
	};
	nr_flying++;
	memset(claimed + sector, type == VIRTIO_BLK_T_IN ? READ : WRITTEN, len);
	if (is_range(type))
		put_range(r, slot, sector, len, type == VIRTIO_BLK_T_WRITE_ZEROES ? rnd(2) : 0);
	else
		fill(data_of(r, slot), len * DISK_SECTOR);
	add_cut(r, slot, f);
}

static void add_small(struct rig *r)
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_IN, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_OUT,
		VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
	};
	uint32_t type = types[rnd(ARRAY_LEN(types))], len = type == VIRTIO_BLK_T_FLUSH ? 0 : 1 + rnd(SMALL_LEN);

	add_random(r, rnd(SMALL), type, rnd((rnd(2) ? BUSY_SECTORS : MANY_SECTORS) - SMALL_LEN), len);
}

static void add_big(struct rig *r)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD };
	uint32_t len = BIG_LEN - rnd(1024);

	add_random(r, BIG, types[rnd(ARRAY_LEN(types))], rnd(MANY_SECTORS - len), len);
}

static struct flying *flying_of(struct rig *r, struct loop_io *io)
{
	const struct blk_req *req = container_of(io, struct blk_req, io);
	const uint8_t *first = gmem_ptr(r->mem, STATUSES, ARRAY_LEN(flying));
	size_t slot = (size_t)(req->status - first);

	ck_assert_uint_lt(slot, ARRAY_LEN(flying));
	ck_assert(flying[slot].out && !flying[slot].failed); /* what has failed is not tried again */
	return &flying[slot];
}

/* What the host refuses an operation of @all bytes with; 0: it does something. */
static int refusal(struct flying *f, enum fake_io_op op, size_t all)
{
	bool moves = op == FAKE_IO_READV || op == FAKE_IO_WRITEV;

	if (!rnd(20))
		return -EINTR;
	if (f->by_hand && op == FAKE_IO_ALLOCATE)
		return -EOPNOTSUPP;
	if (!f->error || (moves && all > 1 && f->before--))
		return 0;
	f->failed = true;
	return f->error;
}

/* One of those under way: all of it, a part, or an error. */
static void host_does_one(struct rig *r, struct loop_io *io)
{
	struct flying *f = flying_of(r, io);
	const struct iovec *iov;
	unsigned n;
	enum fake_io_op op = fake_loop_io(io, &iov, &n);
	bool moves = op == FAKE_IO_READV || op == FAKE_IO_WRITEV;
	size_t all = moves ? total(iov, n) : fake_loop_place(io).len, most = all;
	int error = refusal(f, op, all);

	ck_assert(!moves || all <= BLK_OP_MAX);
	seen.large += moves && all == BLK_OP_MAX;
	if (moves && f->error && !error)
		most = 1 + rnd((unsigned)all - 1); /* something is left for the error */
	else if (moves && !rnd(3))
		most = 1 + rnd((unsigned)all);
	f->done += error ? 0 : most;
	host_does(io, most, error);
}

/* @f's sectors, and some on both sides, but for those that are being written. */
static void check_around(const struct flying *f)
{
	uint32_t from = f->sector < SMALL_LEN ? 0 : f->sector - SMALL_LEN, to = f->sector + f->len + SMALL_LEN;

	for (uint32_t i = from; i < to && i < MANY_SECTORS; i++)
		if (claimed[i] != WRITTEN)
			ck_assert_mem_eq(image + i * DISK_SECTOR, shadow + i * DISK_SECTOR, DISK_SECTOR);
}

static void check_status(const struct flying *f, uint8_t status)
{
	uint8_t want = f->error == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : f->error ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;

	ck_assert_uint_eq(status, want);
	if (!f->error)
		ck_assert_uint_eq(f->done, f->len * DISK_SECTOR);
	seen.ended++;
	seen.eio += f->error == -EIO;
	seen.enospc += f->error == -ENOSPC;
	seen.reads += f->error && f->type == VIRTIO_BLK_T_IN;
}

/* The host knows how far it came: nothing is ever taken over from the image. */
static void check_ended(struct rig *r, unsigned slot)
{
	struct flying *f = &flying[slot];
	uint8_t *at = shadow + f->sector * DISK_SECTOR, status = status_of(r, slot);

	if (status == NONE)
		return;
	check_status(f, status);
	f->out = false;
	nr_flying--;
	memset(claimed + f->sector, NOBODYS, f->len);
	if (f->type == VIRTIO_BLK_T_IN)
		ck_assert_mem_eq(data_of(r, slot), at, f->done);
	else if (f->type == VIRTIO_BLK_T_OUT)
		memcpy(at, data_of(r, slot), f->done);
	else
		memset(at, 0, f->done);
	check_around(f);
}

/* What was put is begun, some of what is under way goes on, and what has ended is looked at. */
static void take_turn(struct rig *r)
{
	unsigned busy = 0, told = 0, ended = seen.ended;
	uint32_t id, len;

	kick(r, 0);
	kick(r, 1);
	while (fake_loop_busy(r->loop, busy))
		busy++;
	for (unsigned i = 1 + rnd(6); i && busy; i--) {
		host_does_one(r, fake_loop_busy(r->loop, rnd(busy)));
		for (busy = 0; fake_loop_busy(r->loop, busy); busy++)
			;
	}
	fake_loop_turn(r->loop);
	for (unsigned q = 0; q < 2; q++)
		while (fake_ring_used(&r->ring[q], &id, &len))
			told++;
	for (unsigned slot = 0; slot < ARRAY_LEN(flying); slot++)
		if (flying[slot].out)
			check_ended(r, slot);
	ck_assert_uint_eq(seen.ended - ended, told);
}

static void check_whole(struct rig *r)
{
	while (nr_flying)
		take_turn(r);
	ck_assert_mem_eq(shadow, image, sizeof(image));
}

START_TEST(test_blk_beside_a_shadow)
{
	struct rig r;

	srandom(1);
	rig_init(&r, (struct blk_cfg){ .queues = 2, .discard = true, .disk.sectors = MANY_SECTORS });
	memcpy(shadow, image, sizeof(shadow));
	for (unsigned turn = 0; seen.ended < OPS; turn++) {
		if (turn % 256 == 0) {
			check_whole(&r);
			add_big(&r);
		}
		for (unsigned i = 1 + rnd(8); i; i--)
			add_small(&r);
		take_turn(&r);
	}
	check_whole(&r);
	ck_assert_uint_gt(seen.eio, OPS / 12);
	ck_assert_uint_gt(seen.enospc, OPS / 60);
	ck_assert_uint_gt(seen.reads, OPS / 40);
	ck_assert_uint_gt(seen.large, OPS / 2000);
	rig_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("blk");
	TCase *t = tcase_create("blk");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_blk_config_says_what_the_disk_is);
	tcase_add_test(t, test_blk_reads_and_writes);
	tcase_add_loop_test(t, test_blk_parts_may_be_cut_anywhere, 0, 2);
	tcase_add_test(t, test_blk_direct_parts_not_aligned);
	tcase_add_test(t, test_blk_direct_parts_no_blocks);
	tcase_add_test(t, test_blk_of_a_file_system_that_waits);
	tcase_add_loop_test(t, test_blk_beyond_the_end_is_refused_and_nothing_touched, 0, ARRAY_LEN(refused));
	tcase_add_test(t, test_blk_parts_are_counted_together);
	tcase_add_loop_test(t, test_blk_read_only_is_not_written, 0, 3);
	tcase_add_test(t, test_blk_unknown_types_are_unsupported);
	tcase_add_loop_test(t, test_blk_short_transfers_go_on, 0, 2);
	tcase_add_loop_test(t, test_blk_errors_are_the_requests_own, 0, 6);
	tcase_add_test(t, test_blk_interrupted_is_done_again);
	tcase_add_test(t, test_blk_asked_to_come_again);
	tcase_add_test(t, test_blk_slow_ones_take_turns);
	tcase_add_test(t, test_blk_operations_are_bounded);
	tcase_add_test(t, test_blk_limits_are_shared_by_all_queues);
	tcase_add_test(t, test_blk_refused_requests_cost_no_bytes);
	tcase_add_test(t, test_blk_zeroes_without_flush_reach_the_medium);
	tcase_add_test(t, test_blk_zeroes_that_cannot_be_synced_fail);
	tcase_add_test(t, test_blk_without_flush_writes_go_through);
	tcase_add_loop_test(t, test_blk_discard_and_zeroes_ask_for_their_range, 0, 4);
	tcase_add_loop_test(t, test_blk_bad_ranges_are_refused, 0, 10);
	tcase_add_test(t, test_blk_zeroes_by_hand);
	tcase_add_test(t, test_blk_discard_that_cannot_be_is_unsupported);
	tcase_add_test(t, test_blk_id_is_its_name_and_no_byte_more);
	tcase_add_loop_test(t, test_blk_spare_room_is_not_told_as_written, 0, 4);
	tcase_add_loop_test(t, test_blk_chains_without_header_or_status_break_the_ring, 0, 3);
	tcase_add_test(t, test_blk_reset_waits_for_what_is_under_way);
	tcase_add_test(t, test_blk_reset_that_waits_tells_nothing);
	tcase_add_test(t, test_blk_freed_while_under_way);
	tcase_add_test(t, test_blk_a_full_ring);
	tcase_add_loop_test(t, test_blk_limits_make_requests_wait_in_the_ring, 0, 2);
	tcase_add_test(t, test_blk_beside_a_shadow);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
