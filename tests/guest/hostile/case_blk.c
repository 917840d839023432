/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blk: requests that no driver makes (virtio 1.2 s5.2.6), of a disk whose capacity is not the driver's to choose. A row is a header,
 * how much of what follows it, and the status that must come; or NEEDS_RESET where there is no place for one. The harness holds the
 * file to the size that it had.
 */
#include "hostile.h"

enum { T_IN, T_OUT, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP, S_NONE = 0xee };
#define SECTOR 512u
#define ID_SIZE 20
#define F_FLUSH BIT(9)
#define F_DISCARD BIT(13)
#define F_WRITE_ZEROES BIT(14)
#define LARGE (8u << 20) /* RAM's end: not where our own text lies */

/* Sectors by name: what is added to it counts from the disk's end. */
#define END (UINT64_C(1) << 62)

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* s5.2.6.2 */
struct segment {
	uint64_t sector;
	uint32_t nr, flags;
};

static uint64_t capacity(struct vdev *d)
{
	return rd32(d->config) | (uint64_t)rd32(d->config + 4) << 32;
}

static uint64_t at_sector(uint64_t s)
{
	return s >= END - 64 && s <= END + 64 ? capacity(blk) + (s - END) : s;
}

static void put_header(uint32_t type, uint64_t sector)
{
	const struct header h = { type, 0, at_sector(sector) };

	memcpy(buf, &h, sizeof(h));
}

#define STATUS (buf + 256)
#define DATA buf2

static bool runs(uint64_t features)
{
	memset(buf, 0, 4096);
	*STATUS = S_NONE;
	return begin(blk, features);
}

/* The last chain's. */
static void want_status(unsigned status)
{
	want(uses(&blk->vq[0]), "not used");
	want(*STATUS == status, "status %x, not %x", *STATUS, status);
}

/* Header, @len bytes of data, status: in the three parts that a driver makes of them. */
static void request(uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	struct vq *vq = &blk->vq[0];
	unsigned n = 0;

	put_header(type, sector);
	*STATUS = S_NONE;
	vq_part(vq, n++, buf, sizeof(struct header), false);
	if (len)
		vq_part(vq, n++, DATA, len, in);
	vq_part(vq, n++, STATUS, 1, true);
	vq_chain(vq, 0, n);
}

struct request_row {
	struct row row;
	uint32_t type;
	uint64_t sector;
	uint32_t len;
	bool in;            /* the data is the device's to write */
	uint8_t status;
};

static const struct request_row request_rows[] = {
	{ { "read", ON_BLK | OFTEN }, T_IN, 0, SECTOR, true, S_OK },
	{ { "read-nothing", ON_BLK }, T_IN, 0, 0, true, S_OK },
	{ { "read-511", ON_BLK | OFTEN }, T_IN, 0, SECTOR - 1, true, S_IOERR },
	{ { "read-513", ON_BLK }, T_IN, 0, SECTOR + 1, true, S_IOERR },
	{ { "write-1", ON_BLK }, T_OUT, 0, 1, false, S_IOERR },
	{ { "write-511", ON_BLK }, T_OUT, 0, SECTOR - 1, false, S_IOERR },
	{ { "read-last", ON_BLK }, T_IN, END - 1, SECTOR, true, S_OK },
	{ { "read-at-end", ON_BLK }, T_IN, END, SECTOR, true, S_IOERR },
	{ { "read-over-end", ON_BLK }, T_IN, END - 1, 2 * SECTOR, true, S_IOERR },
	{ { "write-at-end", ON_BLK }, T_OUT, END, SECTOR, false, S_IOERR },
	{ { "write-over-end", ON_BLK | OFTEN }, T_OUT, END - 1, 2 * SECTOR, false, S_IOERR },
	{ { "write-nothing-behind-end", ON_BLK }, T_OUT, END + 1, 0, false, S_IOERR },
	{ { "sector-max", ON_BLK | OFTEN }, T_OUT, ~0ull, SECTOR, false, S_IOERR },
	{ { "sector-sign", ON_BLK }, T_IN, 1ull << 63, SECTOR, true, S_IOERR },
	{ { "sector-times-512-is-0", ON_BLK | OFTEN }, T_OUT, 1ull << 55, SECTOR, false, S_IOERR },
	{ { "sector-times-512-wraps", ON_BLK }, T_IN, (1ull << 55) - 1, 2 * SECTOR, true, S_IOERR },
	{ { "sector-31-bits", ON_BLK }, T_IN, 1ull << 31, SECTOR, true, S_IOERR },
	{ { "sector-32-bits", ON_BLK }, T_OUT, 1ull << 32, SECTOR, false, S_IOERR },
	{ { "type-scsi", ON_BLK }, 2, 0, SECTOR, true, S_UNSUPP },
	{ { "type-scsi-out", ON_BLK | OFTEN }, 3, 0, SECTOR, false, S_UNSUPP },
	{ { "type-flush-out", ON_BLK }, 5, 0, 0, false, S_UNSUPP },
	{ { "type-lifetime", ON_BLK }, 10, 0, SECTOR, true, S_UNSUPP },
	{ { "type-secure-erase", ON_BLK }, 14, 0, 16, false, S_UNSUPP },
	{ { "type-barrier", ON_BLK }, 1u << 31, 0, SECTOR, true, S_UNSUPP },
	{ { "type-max", ON_BLK }, ~0u, 0, SECTOR, false, S_UNSUPP },
	{ { "flush", ON_BLK }, T_FLUSH, 0, 0, false, S_OK },
	{ { "flush-with-data", ON_BLK }, T_FLUSH, ~0ull, 4096, false, S_OK },
	{ { "id", ON_BLK }, T_GET_ID, 0, ID_SIZE, true, S_OK },
	{ { "id-short", ON_BLK | OFTEN }, T_GET_ID, 0, ID_SIZE - 1, true, S_IOERR },
	{ { "id-nowhere", ON_BLK }, T_GET_ID, 0, 0, true, S_IOERR },
	{ { "id-long", ON_BLK }, T_GET_ID, ~0ull, 4096, true, S_OK },
	{ { "write-into-writable", ON_BLK }, T_OUT, END - 1, 2 * SECTOR, true, S_OK }, /* of nothing, then */
	{ { "read-into-readable", ON_BLK }, T_IN, END - 1, 2 * SECTOR, false, S_OK },
};

static void run_request(const void *row)
{
	const struct request_row *r = row;

	if (!runs(F_FLUSH))
		return;
	memset(DATA, 0x5a, 8192);
	request(r->type, r->sector, r->len, r->in);
	want_status(r->status);
	for (unsigned i = 4096; i < 8192; i++)
		want(DATA[i] == 0x5a, "byte %u behind the buffer was written", i - 4096);
}

/* What a chain is made of: bytes of it for the device to read, then to write. */
struct shape_row {
	struct row row;
	uint32_t type;
	uint32_t out, in;   /* 0: no such part */
	uint8_t status;     /* S_NONE: NEEDS_RESET */
};

static const struct shape_row shape_rows[] = {
	{ { "header-1", ON_BLK }, T_IN, 1, 513, S_NONE },
	{ { "header-15", ON_BLK | OFTEN }, T_IN, 15, 513, S_NONE },
	{ { "header-17", ON_BLK }, T_OUT, 17, 1, S_IOERR },
	{ { "header-missing", ON_BLK }, T_IN, 0, 513, S_NONE },
	{ { "header-long", ON_BLK }, T_IN, 4096, 513, S_OK },
	{ { "status-missing", ON_BLK | OFTEN }, T_OUT, 16 + SECTOR, 0, S_NONE },
	{ { "status-missing-flush", ON_BLK }, T_FLUSH, 16, 0, S_NONE },
	{ { "status-512", ON_BLK | OFTEN }, T_FLUSH, 16, SECTOR, S_OK },
	{ { "status-64k", ON_BLK }, T_FLUSH, 16, BUF_SIZE, S_OK },
	{ { "read-without-room", ON_BLK }, T_IN, 16 + SECTOR, 1, S_OK },
	{ { "read-two-less-one", ON_BLK }, T_IN, 16, 2 * SECTOR, S_IOERR },
	{ { "segment-1", ON_BLK }, T_WRITE_ZEROES, 17, 1, S_IOERR },
	{ { "segment-15", ON_BLK }, T_WRITE_ZEROES, 31, 1, S_IOERR },
	{ { "segment-17", ON_BLK | OFTEN }, T_WRITE_ZEROES, 33, 1, S_IOERR },
	{ { "segments-2", ON_BLK }, T_WRITE_ZEROES, 48, 1, S_IOERR },
	{ { "segments-4000", ON_BLK }, T_WRITE_ZEROES, 16 + 64000, 1, S_IOERR },
	{ { "segment-missing", ON_BLK }, T_WRITE_ZEROES, 16, 1, S_IOERR },
	{ { "segment-writable", ON_BLK }, T_WRITE_ZEROES, 16, 17, S_IOERR },
	{ { "discard-7-of-16", ON_BLK }, T_DISCARD, 23, 1, S_IOERR },
	{ { "discards-2", ON_BLK }, T_DISCARD, 48, 1, S_IOERR },
};

/* The status is the chain's last byte. */
static void run_shape(const void *row)
{
	const struct shape_row *r = row;
	struct vq *vq = &blk->vq[0];
	unsigned n = 0;

	if (!runs(F_FLUSH | F_DISCARD | F_WRITE_ZEROES))
		return;
	memset(buf2, 0, BUF_SIZE);
	memset(buf, 0, BUF_SIZE);
	put_header(r->type, 0);
	if (r->out)
		vq_part(vq, n++, buf, r->out, false);
	if (r->in) {
		buf2[r->in - 1] = S_NONE;
		vq_part(vq, n++, buf2, r->in, true);
	}
	vq_chain(vq, 0, n);
	if (r->status == S_NONE) {
		want(breaks(blk), "no NEEDS_RESET");
		want(!vq->used->idx, "used all the same");
	} else {
		want(uses(vq), "not used");
		want(buf2[r->in - 1] == r->status, "status %x, not %x", buf2[r->in - 1], r->status);
	}
}

struct range_row {
	struct row row;
	uint32_t type;
	uint64_t sector;
	uint32_t nr, flags;
	uint8_t status;
};

static const struct range_row range_rows[] = {
	{ { "zeroes", ON_BLK | OFTEN }, T_WRITE_ZEROES, 8, 8, 0, S_OK },
	{ { "zeroes-unmap", ON_BLK }, T_WRITE_ZEROES, 8, 8, 1, S_OK },
	{ { "zeroes-none", ON_BLK }, T_WRITE_ZEROES, 8, 0, 0, S_OK },
	{ { "zeroes-last", ON_BLK }, T_WRITE_ZEROES, END - 1, 1, 0, S_OK },
	{ { "zeroes-over-end", ON_BLK | OFTEN }, T_WRITE_ZEROES, END - 1, 2, 0, S_IOERR },
	{ { "zeroes-at-end", ON_BLK }, T_WRITE_ZEROES, END, 1, 0, S_IOERR },
	{ { "zeroes-behind-end", ON_BLK }, T_WRITE_ZEROES, END + 8, 0, 0, S_IOERR },
	{ { "zeroes-2-tib", ON_BLK }, T_WRITE_ZEROES, 0, ~0u, 0, S_IOERR },
	{ { "zeroes-sector-max", ON_BLK | OFTEN }, T_WRITE_ZEROES, ~0ull, 1, 0, S_IOERR },
	{ { "zeroes-times-512-is-0", ON_BLK }, T_WRITE_ZEROES, 1ull << 55, 8, 0, S_IOERR },
	{ { "zeroes-sum-wraps", ON_BLK }, T_WRITE_ZEROES, (1ull << 55) - 1, ~0u, 0, S_IOERR },
	{ { "zeroes-flag-unknown", ON_BLK }, T_WRITE_ZEROES, 8, 8, 2, S_UNSUPP },
	{ { "zeroes-flags-all", ON_BLK }, T_WRITE_ZEROES, 8, 8, ~0u, S_UNSUPP },
	{ { "discard", ON_BLK }, T_DISCARD, 8, 8, 0, S_OK },
	{ { "discard-odd", ON_BLK }, T_DISCARD, 3, 1, 0, S_OK },
	{ { "discard-unmap", ON_BLK }, T_DISCARD, 8, 8, 1, S_UNSUPP },
	{ { "discard-all", ON_BLK }, T_DISCARD, 0, ~0u, 0, S_IOERR },
	{ { "discard-over-end", ON_BLK | OFTEN }, T_DISCARD, END - 8, 16, 0, S_IOERR },
	{ { "discard-sector-max", ON_BLK }, T_DISCARD, ~0ull - 7, 16, 0, S_IOERR },
};

static void run_range(const void *row)
{
	const struct range_row *r = row;
	const struct segment seg = { at_sector(r->sector), r->nr, r->flags };

	if (!runs(F_FLUSH | F_DISCARD | F_WRITE_ZEROES))
		return;
	memcpy(DATA, &seg, sizeof(seg));
	request(r->type, 0, sizeof(seg), false);
	want_status(r->status);
}

/* More than one request */

/* What a write beyond the end would have changed of what lies before it. */
static void over_end_changes_nothing(void)
{
	if (!runs(F_FLUSH))
		return;
	memset(DATA, 0x11, SECTOR);
	request(T_OUT, END - 1, SECTOR, false);
	want_status(S_OK);
	memset(DATA, 0x22, 2 * SECTOR);
	request(T_OUT, END - 1, 2 * SECTOR, false);
	want_status(S_IOERR);
	request(T_IN, END - 1, SECTOR, true);
	want_status(S_OK);
	for (unsigned i = 0; i < SECTOR; i++)
		want(DATA[i] == 0x11, "byte %u of the last sector is %x", i, DATA[i]);
}

/* Each part ends before the disk does, and all of them do not. */
static void parts_over_end(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(0))
		return;
	put_header(T_OUT, END - 4);
	vq_part(vq, 0, buf, 16, false);
	for (unsigned i = 1; i <= 8; i++)
		vq_part(vq, i, DATA + SECTOR * i, SECTOR, false);
	vq_part(vq, 9, STATUS, 1, true);
	vq_chain(vq, 0, 10);
	want_status(S_IOERR);
}

/* s2.7.4: how it is cut into parts has no meaning. */
static void header_in_16_parts(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(0))
		return;
	put_header(T_IN, 0);
	for (unsigned i = 0; i < 16; i++)
		vq_part(vq, i, buf + i, 1, false);
	vq_part(vq, 16, DATA, 1, true);
	vq_part(vq, 17, DATA + 1, SECTOR, true); /* of which the last is the status */
	vq_chain(vq, 0, 18);
	want(uses(vq), "not used");
	want(DATA[SECTOR] == S_OK, "status %x", DATA[SECTOR]);
}

static void data_by_the_byte(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(0))
		return;
	put_header(T_IN, 0);
	vq_part(vq, 0, buf, 16, false);
	for (unsigned i = 1; i < 61; i++)
		vq_part(vq, i, DATA + i, 1, true);
	vq_part(vq, 61, DATA + 4096, SECTOR - 60, true);
	vq_part(vq, 62, STATUS, 1, true);
	vq_chain(vq, 0, 63);
	want_status(S_OK);
}

/* 126 parts, as many as are told to be room for, of 64 KiB each in the same place: as much as the disk has, nearly. */
static void chain_huge(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(RING_INDIRECT))
		return;
	put_header(T_IN, 0);
	table[0] = (struct vq_desc){ (uint64_t)buf, 16, DESC_NEXT, 1 };
	for (unsigned i = 1; i <= 126; i++)
		table[i] = (struct vq_desc){ (uint64_t)DATA, BUF_SIZE, DESC_WRITE | DESC_NEXT, (uint16_t)(i + 1) };
	table[127] = (struct vq_desc){ (uint64_t)STATUS, 1, DESC_WRITE, 0 };
	vq->desc[0] = (struct vq_desc){ (uint64_t)table, 128 * 16, DESC_INDIRECT, 0 };
	vq_chain(vq, 0, 1);
	want_status(S_OK);
}

static void chain_of_129(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(RING_INDIRECT))
		return;
	put_header(T_IN, 0);
	table[0] = (struct vq_desc){ (uint64_t)buf, 16, DESC_NEXT, 1 };
	for (unsigned i = 1; i <= 127; i++)
		table[i] = (struct vq_desc){ (uint64_t)DATA, SECTOR, DESC_WRITE | DESC_NEXT, (uint16_t)(i + 1) };
	table[128] = (struct vq_desc){ (uint64_t)STATUS, 1, DESC_WRITE, 0 };
	vq->desc[0] = (struct vq_desc){ (uint64_t)table, 129 * 16, DESC_INDIRECT, 0 };
	vq_chain(vq, 0, 1);
	want(breaks(blk), "no NEEDS_RESET");
}

/* The status lies in the header that it answers; the data in the ring that it comes by. */
static void places_overlap(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(0))
		return;
	put_header(T_IN, 0);
	vq_part(vq, 0, buf, 16, false);
	vq_part(vq, 1, buf + 8, SECTOR, true);
	vq_part(vq, 2, buf, 1, true);
	vq_chain(vq, 0, 3);
	want(uses(vq), "not used");
	want(!buf[0], "status %x", buf[0]);
	for (unsigned i = 0; i < 3; i++) {
		volatile void *const rings[] = { vq->desc, vq->avail, vq->used };

		if (!runs(0))
			return;
		put_header(T_IN, 0);
		vq_part(vq, 0, buf, 16, false);
		vq_part(vq, 1, rings[i], SECTOR, true);
		vq_part(vq, 2, STATUS, 1, true);
		vq_chain(vq, 0, 3);
		wait_us(5000);
		for (unsigned k = 0; k < 8; k++)
			vq_kick(vq);
		want(heals(blk), "a reset does not heal");
	}
}

/* Read-only is the device's word, whether or not the driver took the feature (s5.2.5.2). */
static void read_only(void)
{
	struct vdev *rw = blk, *ro = vdev_find(VIRTIO_BLK, rng->pci ? BUS_PCI : BUS_MMIO, 1);
	static const uint32_t types[] = { T_OUT, T_WRITE_ZEROES, T_DISCARD };

	if (!want(ro, "there is no second disk"))
		return;
	blk = ro;
	for (unsigned i = 0; i < ARRAY_LEN(types) && runs(0); i++) {
		const struct segment seg = { 0, 8, 0 };

		memcpy(DATA, &seg, sizeof(seg));
		request(types[i], 0, types[i] == T_OUT ? SECTOR : sizeof(seg), false);
		want(uses(&blk->vq[0]) && (*STATUS == S_IOERR || *STATUS == S_UNSUPP), "type %u: status %x", types[i], *STATUS);
	}
	want(heals(ro), "the read-only disk is wedged");
	blk = rw;
}

/* All of configuration space is the device's (s5.2.4), but for a bit of a feature that is not offered. */
static void config_write(void)
{
	uint64_t sectors = capacity(blk);

	for (unsigned i = 0; i < 64; i += 4)
		wr32(blk->config + i, ~0u);
	for (unsigned i = 0; i < 64; i++)
		wr8(blk->config + i, 0);
	want(capacity(blk) == sectors, "it has %lu sectors now", (unsigned long)capacity(blk));
}

/* As many as the ring holds, which a reset does not wait for. s2.4: after it, memory is the driver's. */
static void reset_in_flight_of(uint32_t type, uint32_t len)
{
	struct vq *vq = &blk->vq[0];
	uint8_t *data = (uint8_t *)(ram_end - LARGE);

	for (unsigned round = 0; round < 8; round++) {
		if (!runs(F_FLUSH))
			return;
		put_header(type, round * 64);
		for (unsigned i = 0; i + 3 <= vq->size; i += 3) {
			vq_part(vq, i, buf, 16, false);
			vq_part(vq, i + 1, data + i / 3 * 65536, len, type == T_IN);
			vq_part(vq, i + 2, STATUS, 1, true);
			vq_chain(vq, i, 3);
		}
		wait_us(100 * round);
		vdev_set_status(blk, 0);
		if (!want(!vdev_status(blk), "the status stays"))
			return;
		if (type != T_IN)
			continue;
		memset(data, 0x77, 65536 * 21);
		wait_us(3000);
		for (unsigned i = 0; i < 65536 * 21; i += 64)
			want(data[i] == 0x77, "byte %x was written after the reset", i);
	}
}

static void reset_reads(void)
{
	reset_in_flight_of(T_IN, 65536);
}

static void reset_writes(void)
{
	reset_in_flight_of(T_OUT, 65536);
}

static void reset_flushes(void)
{
	reset_in_flight_of(T_FLUSH, 512);
}

/* Another CPU resets while this one asks. */
static void resetter(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		vdev_set_status(blk, 0);
}

static void reset_race(void)
{
	for (unsigned i = 0; i < 10; i++) {
		if (!runs(F_FLUSH) || !helper_start(1, resetter, NULL))
			return;
		for (unsigned k = 0; k < 20; k++)
			request(k & 1 ? T_OUT : T_IN, k, 4096, !(k & 1));
		helper_join(1);
	}
}

/* What is fetched is checked, and what is checked is used: the size of the file tells. */
static void header_racer(void *arg)
{
	volatile struct header *h = arg;

	while (!stop_helpers) {
		h->sector = 0;
		h->type = T_OUT;
		h->sector = capacity(blk);
		h->type = T_WRITE_ZEROES;
		h->sector = 1ull << 55;
	}
}

static void desc_racer(void *arg)
{
	volatile struct vq_desc *d = arg;

	while (!stop_helpers) {
		d[1].len = SECTOR;
		d[2].flags = DESC_WRITE;
		d[1].len = ~0u;
		d[1].addr ^= 1ull << 40;
		d[1].len = 2 * SECTOR;
		d[2].flags = 0;
		d[1].addr ^= 1ull << 40;
	}
}

static void segment_racer(void *arg)
{
	volatile struct segment *s = arg;

	while (!stop_helpers) {
		s->sector = 0;
		s->nr = 8;
		s->sector = capacity(blk) - 8;
		s->nr = ~0u;
		s->flags ^= 2;
	}
}

static void race(void (*racer)(void *arg), volatile void *at, uint32_t type, uint64_t sector, uint32_t len)
{
	for (unsigned i = 0; i < 10; i++) {
		if (!runs(F_FLUSH | F_DISCARD | F_WRITE_ZEROES))
			return;
		if (!helper_start(1, racer, (void *)at))
			return;
		for (unsigned k = 0; k < 10; k++) {
			request(type, sector, len, false);
			wait_us(50);
		}
		if (!helper_join(1))
			return;
	}
}

static void toctou_header(void)
{
	race(header_racer, buf, T_OUT, END - 1, SECTOR);
}

static void toctou_desc(void)
{
	race(desc_racer, blk->vq[0].desc, T_OUT, END - 1, SECTOR);
}

static void toctou_segment(void)
{
	race(segment_racer, DATA, T_WRITE_ZEROES, 0, sizeof(struct segment));
}

/* The same place of memory for all, and of the disk: in what order they end is nobody's promise. */
static void flood(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(F_FLUSH))
		return;
	put_header(T_OUT, 0);
	for (unsigned i = 0; i < 1000; i++) {
		unsigned slot = i * 3 % 63;

		if ((uint16_t)(vq->next - vq->used->idx) >= 20 && !want(uses(vq), "stuck after %u", i))
			return;
		vq_part(vq, slot, buf, 16, false);
		vq_part(vq, slot + 1, DATA, 4096, false);
		vq_part(vq, slot + 2, STATUS, 1, true);
		vq_chain(vq, slot, 3);
	}
	want(uses(vq), "not used");
}

/* Of what takes a worker of the kernel's one at a time; the ring is full of it. */
static void flood_of_flushes(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(F_FLUSH | F_WRITE_ZEROES))
		return;
	for (unsigned i = 0; i + 2 <= vq->size; i += 2) {
		put_header(T_FLUSH, 0);
		vq_part(vq, i, buf, 16, false);
		vq_part(vq, i + 1, STATUS, 1, true);
		vq_chain(vq, i, 2);
	}
	want(uses(vq), "not used");
}

/* Errors are limited in what they write to the log. */
static void flood_of_errors(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(0))
		return;
	for (unsigned i = 0; i < 500; i++) {
		request(i & 1 ? T_OUT : ~0u, END, SECTOR, false);
		if (!want(uses(vq), "stuck after %u", i))
			return;
	}
}

/* The same head as often as the ring is long: as long as the first is under way, the second is a fault of the driver's. */
static void head_twice(void)
{
	struct vq *vq = &blk->vq[0];

	if (!runs(0))
		return;
	put_header(T_IN, 0);
	vq_part(vq, 0, buf, 16, false);
	vq_part(vq, 1, (void *)(ram_end - LARGE), 4 << 20, true);
	vq_part(vq, 2, STATUS, 1, true);
	vq->desc[0].flags = DESC_NEXT;
	vq->desc[1].flags |= DESC_NEXT;
	vq->desc[0].next = 1;
	vq->desc[1].next = 2;
	for (unsigned i = 0; i < vq->size; i++)
		vq->avail->ring[i] = 0;
	DMB();
	vq->avail->idx = vq->next = (uint16_t)vq->size;
	vq_kick(vq);
	wait_us(5000);
}

static const struct fn_row fn_rows[] = {
	{ { "over-end-changes-nothing", ON_BLK | OFTEN }, over_end_changes_nothing },
	{ { "parts-over-end", ON_BLK | OFTEN }, parts_over_end },
	{ { "header-in-16-parts", ON_BLK }, header_in_16_parts },
	{ { "data-by-the-byte", ON_BLK }, data_by_the_byte },
	{ { "chain-huge", ON_BLK | OFTEN }, chain_huge },
	{ { "chain-of-129", ON_BLK }, chain_of_129 },
	{ { "places-overlap", ON_BLK | OFTEN }, places_overlap },
	{ { "read-only", ON_BLK | OFTEN }, read_only },
	{ { "config-write", ON_BLK }, config_write },
	{ { "reset-reads", ON_BLK | OFTEN }, reset_reads },
	{ { "reset-writes", ON_BLK }, reset_writes },
	{ { "reset-flushes", ON_BLK }, reset_flushes },
	{ { "reset-race", ON_BLK | ON_CPUS }, reset_race },
	{ { "toctou-header", ON_BLK | ON_CPUS | OFTEN }, toctou_header },
	{ { "toctou-desc", ON_BLK | ON_CPUS }, toctou_desc },
	{ { "toctou-segment", ON_BLK | ON_CPUS }, toctou_segment },
	{ { "flood", ON_BLK }, flood },
	{ { "flood-of-flushes", ON_BLK }, flood_of_flushes },
	{ { "flood-of-errors", ON_BLK }, flood_of_errors },
	{ { "head-twice", ON_BLK }, head_twice },
};

const struct family blk_tables[] = {
	FAMILY(request_rows, run_request), FAMILY(shape_rows, run_shape), FAMILY(range_rows, run_range), FAMILY(fn_rows, run_fn), { 0 },
};
