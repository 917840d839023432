// SPDX-License-Identifier: BSD-3-Clause
/* A request of the block device, from the chain to its parts. No call to the host. */
#include <endian.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "devices/virtio/blk_priv.h"
#include "vmm/base/checked.h"

#define ZEROS (64 * KIB)

/* Never written, so that it takes no room in the file, nor memory but the kernel's page of zeros. Aligned for O_DIRECT. */
static _Alignas(DISK_ALIGN_MAX) uint8_t zeros[ZEROS];

/* Copies @len bytes off the front of @n parts at @*iov, each once, and moves it on; false: there are fewer. */
static bool cut_front(struct iovec **iov, unsigned *n, void *buf, size_t len)
{
	uint8_t *to = buf;

	while (len) {
		struct iovec *part = *iov;
		size_t now;

		if (!*n)
			return false;
		now = part->iov_len < len ? part->iov_len : len;
		memcpy(to, part->iov_base, now);
		to += now;
		len -= now;
		part->iov_base = (char *)part->iov_base + now;
		part->iov_len -= now;
		if (!part->iov_len) {
			++*iov;
			--*n;
		}
	}
	return true;
}

/* The last writable byte, wherever the parts end (s5.2.6: "status" is the last). */
static uint8_t *cut_status(struct iovec *iov, unsigned *n)
{
	struct iovec *last = &iov[*n - 1];

	if (!--last->iov_len)
		--*n;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static bool to_guest(const struct blk_req *req)
{
	return req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_GET_ID;
}

bool blk_req_parse(struct blk_req *req, const struct vq_chain *c)
{
	struct virtio_blk_outhdr h;
	struct iovec *out = req->parts, *in = req->parts + c->n_out;
	unsigned n_out = c->n_out, n_in = c->n_in;

	if (!n_in || !cut_front(&out, &n_out, &h, sizeof(h)))
		return false;
	req->status = cut_status(in, &n_in);
	req->head = c->head;
	req->type = le32toh(h.type);
	req->len_in = c->len_in;
	req->unmap = req->by_hand = req->sync = req->bounced = false;
	req->again = 0;
	req->cut = 0;
	req->iov = to_guest(req) ? in : out;
	req->n = to_guest(req) ? n_in : n_out;
	req->left = to_guest(req) ? c->len_in - 1 : c->len_out - sizeof(h);
	/* one that is beyond all files is beyond this one, too */
	req->off = le64toh(h.sector) > UINT64_MAX / DISK_SECTOR ? UINT64_MAX : le64toh(h.sector) * DISK_SECTOR;
	return true;
}

/* Whole sectors, all on the disk: held against its size in all, not part by part. */
static bool range_ok(const struct blk_req *req, const struct blk_limits *l)
{
	return !(req->left % DISK_SECTOR) && range_fits(req->off, req->left, l->sectors * DISK_SECTOR);
}

/* s5.2.6.2. Several segments in one request were not offered. */
static int check_range(struct blk_req *req, const struct blk_limits *l)
{
	struct virtio_blk_discard_write_zeroes seg;
	bool discard = req->type == VIRTIO_BLK_T_DISCARD;
	uint32_t flags, sectors;

	if (req->left != sizeof(seg) || !cut_front(&req->iov, &req->n, &seg, sizeof(seg)))
		return VIRTIO_BLK_S_IOERR;
	flags = le32toh(seg.flags);
	sectors = le32toh(seg.num_sectors);
	if (flags & ~(uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP || (discard && flags))
		return VIRTIO_BLK_S_UNSUPP;
	if (sectors > l->max_range || le64toh(seg.sector) > l->sectors)
		return VIRTIO_BLK_S_IOERR;
	req->unmap = flags && l->discard;
	req->off = le64toh(seg.sector) * DISK_SECTOR;
	req->left = (uint64_t)sectors * DISK_SECTOR;
	if (!range_ok(req, l))
		return VIRTIO_BLK_S_IOERR;
	return req->left ? -1 : VIRTIO_BLK_S_OK;
}

int blk_req_check(struct blk_req *req, const struct blk_limits *l)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		if (!range_ok(req, l) || (req->type == VIRTIO_BLK_T_OUT && l->ro))
			return VIRTIO_BLK_S_IOERR;
		return req->left ? -1 : VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_FLUSH:
	case VIRTIO_BLK_T_GET_ID:
		return -1;
	case VIRTIO_BLK_T_DISCARD:
		if (!l->discard)
			return VIRTIO_BLK_S_UNSUPP;
		return check_range(req, l);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return l->ro ? VIRTIO_BLK_S_IOERR : check_range(req, l);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

unsigned blk_req_window(struct blk_req *req)
{
	size_t room = BLK_OP_MAX;
	unsigned n = 0;

	for (; n < req->n && room; n++) {
		struct iovec *part = &req->iov[n];

		if (part->iov_len > room) {
			req->cut_at = n;
			req->cut = part->iov_len - room;
			part->iov_len = room;
		}
		room -= part->iov_len;
	}
	return n;
}

bool blk_req_advance(struct blk_req *req, uint32_t done)
{
	if (req->cut)
		req->iov[req->cut_at].iov_len += req->cut;
	req->cut = 0;
	req->off += done;
	req->left -= done;
	while (done && req->n && done >= req->iov->iov_len) {
		done -= (uint32_t)req->iov->iov_len;
		req->iov++;
		req->n--;
	}
	if (done && req->n) {
		req->iov->iov_base = (char *)req->iov->iov_base + done;
		req->iov->iov_len -= done;
	}
	return req->left;
}

bool blk_req_is_aligned(const struct blk_req *req, uint32_t align, uint32_t block)
{
	uintptr_t at = 0, len = 0;

	for (unsigned i = 0; i < req->n; i++) {
		at |= (uintptr_t)req->iov[i].iov_base;
		len |= req->iov[i].iov_len;
	}
	return is_aligned(at | len, align) && is_aligned(len, block);
}

void blk_req_copy(struct blk_req *req, uint8_t *buf, size_t len)
{
	for (unsigned i = 0; i < req->n && len; i++) {
		size_t now = req->iov[i].iov_len < len ? req->iov[i].iov_len : len;

		if (to_guest(req))
			memcpy(req->iov[i].iov_base, buf, now);
		else
			memcpy(buf, req->iov[i].iov_base, now);
		buf += now;
		len -= now;
	}
}

void blk_req_zeros(struct blk_req *req)
{
	uint64_t left = req->left;
	unsigned n = 0;

	req->iov = req->parts;
	for (; left && n < BLK_OP_MAX / ZEROS; n++) {
		size_t now = left < ZEROS ? (size_t)left : ZEROS;

		req->parts[n] = (struct iovec){ .iov_base = zeros, .iov_len = now };
		left -= now;
	}
	req->n = n;
}

uint8_t blk_req_put_id(struct blk_req *req, const char *id)
{
	uint8_t text[BLK_ID_SIZE] = { 0 };
	size_t len = strnlen(id, sizeof(text)), done = 0;

	if (req->left < sizeof(text))
		return VIRTIO_BLK_S_IOERR;
	memcpy(text, id, len);
	for (unsigned i = 0; i < req->n && done < sizeof(text); i++) {
		size_t now = req->iov[i].iov_len < sizeof(text) - done ? req->iov[i].iov_len : sizeof(text) - done;

		memcpy(req->iov[i].iov_base, text + done, now);
		done += now;
	}
	if (req->left > sizeof(text))
		req->len_in = sizeof(text); /* what follows was not written */
	return VIRTIO_BLK_S_OK;
}

uint32_t blk_req_written(const struct blk_req *req, uint8_t status)
{
	if (req->len_in == 1)
		return 1;
	return status == VIRTIO_BLK_S_OK && to_guest(req) ? req->len_in : 0;
}

const char *blk_req_name(const struct blk_req *req)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		return "read";
	case VIRTIO_BLK_T_OUT:
		return "write";
	case VIRTIO_BLK_T_FLUSH:
		return "flush";
	case VIRTIO_BLK_T_DISCARD:
		return "discard";
	default:
		return "write of zeroes";
	}
}
