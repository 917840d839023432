// SPDX-License-Identifier: BSD-3-Clause
/*
 * Both libraries take what input there is and give what output fits, so one loop serves: refill where
 * the input is used up, one step, until the output is full or the stream has ended. They get their
 * memory from malloc(), which hands large pieces to the kernel and back.
 *
 * zstd is asked for the format of RFC 8878 alone: the library knows older ones, by decoders that
 * nobody has looked at for long, and would choose them by the first bytes of a frame.
 */
#include "arch/arm64/unpack.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define READ_MAX (1 * GIB)    /* of one read, or one step: read(2) stops below 2 GiB, zlib counts in 32 bits */
#define BUFFER (128 * KIB)
#define WINDOW_GZIP (15 + 16) /* zlib: the largest window, gzip framing with its checksum */
#define WINDOW_LOG_ZSTD 27    /* 128 MiB: what zstd -22 --ultra asks for, as a kernel's build calls it */

struct unpack {
	enum packing how;
	int fd;
	uint64_t pos, left;    /* of the range: where the next read begins, and how much is left behind there */
	bool at_end;           /* of the range, or of the file */
	bool begun;            /* zstd: its first bytes are those of the format */
	bool finished;         /* the stream has ended, and what checksum it has was right */
	const uint8_t *next;   /* of the input */
	size_t avail;
	z_stream z;
	ZSTD_DStream *zstd;
	uint8_t in[BUFFER];
};

const char *unpack_name(enum packing how)
{
	return how == PACKED_ZSTD ? "zstd" : "gzip";
}

int unpack_read_plain(int fd, void *buf, uint64_t len, uint64_t off, uint64_t *ret_len)
{
	uint64_t done = 0;

	while (done < len) {
		uint64_t want = len - done < READ_MAX ? len - done : READ_MAX;
		ssize_t n = pread(fd, (uint8_t *)buf + done, want, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (uint64_t)n;
	}
	*ret_len = done;
	return 0;
}

static int start(struct unpack *u)
{
	if (u->how == PACKED_GZIP)
		return inflateInit2(&u->z, WINDOW_GZIP) == Z_OK ? 0 : -ENOMEM;
	u->zstd = ZSTD_createDStream();
	if (!u->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_ZSTD)))
		return -ENOMEM;
	return 0;
}

int unpack_new(enum packing how, int fd, uint64_t off, uint64_t len, struct unpack **ret_u)
{
	struct unpack *u = malloc(sizeof(*u)); /* not cleared: most of it is the buffer */
	int rc;

	if (!u)
		return -ENOMEM;
	memset(u, 0, offsetof(struct unpack, in));
	u->how = how;
	u->fd = fd;
	u->pos = off;
	u->left = len;
	rc = start(u);
	if (rc) {
		unpack_free(u);
		return rc;
	}
	*ret_u = u;
	return 0;
}

void unpack_free(struct unpack *u)
{
	if (!u)
		return;
	if (u->how == PACKED_GZIP)
		inflateEnd(&u->z);
	ZSTD_freeDStream(u->zstd);
	free(u);
}

static int refill(struct unpack *u)
{
	uint64_t want = u->left < BUFFER ? u->left : BUFFER, got = 0;
	int rc = unpack_read_plain(u->fd, u->in, want, u->pos, &got);

	if (rc)
		return rc;
	u->pos += got;
	u->left -= got;
	u->at_end = !got;
	u->next = u->in;
	u->avail = got;
	return 0;
}

static int step_gzip(struct unpack *u, uint8_t *out, size_t len, size_t *ret_len)
{
	int rc;

	u->z.next_in = (Bytef *)(uintptr_t)u->next;
	u->z.avail_in = (uInt)u->avail;
	u->z.next_out = out;
	u->z.avail_out = (uInt)len;
	rc = inflate(&u->z, Z_NO_FLUSH);
	u->next = u->z.next_in;
	u->avail = u->z.avail_in;
	*ret_len = len - u->z.avail_out;
	u->finished = rc == Z_STREAM_END;
	if (rc == Z_MEM_ERROR)
		return -ENOMEM;
	/* Z_BUF_ERROR: neither input nor output, which is no error of the data */
	return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR ? 0 : -EBADMSG;
}

static int zstd_error(size_t code)
{
	switch (ZSTD_getErrorCode(code)) {
	case ZSTD_error_memory_allocation:
		return -ENOMEM;
	case ZSTD_error_frameParameter_windowTooLarge:
		return -E2BIG;
	default:
		return -EBADMSG;
	}
}

/* The first input is the whole range, or long. */
static int begin_zstd(struct unpack *u)
{
	static const uint8_t magic[] = { 0x28, 0xb5, 0x2f, 0xfd };

	if (u->avail < sizeof(magic))
		return -ENODATA;
	u->begun = !memcmp(u->next, magic, sizeof(magic));
	return u->begun ? 0 : -EBADMSG;
}

static int step_zstd(struct unpack *u, uint8_t *out, size_t len, size_t *ret_len)
{
	ZSTD_inBuffer from = { .src = u->next, .size = u->avail };
	ZSTD_outBuffer to = { .dst = out, .size = len };
	int begin = u->begun ? 0 : begin_zstd(u);
	size_t rc;

	if (begin)
		return begin;
	/* without input it may still hold output, and gives it */
	rc = ZSTD_decompressStream(u->zstd, &to, &from);
	if (ZSTD_isError(rc))
		return zstd_error(rc);
	u->next += from.pos;
	u->avail -= from.pos;
	*ret_len = to.pos;
	u->finished = !rc;
	return 0;
}

/* At most @len bytes, at least 1 of them wanted. */
static int step(struct unpack *u, uint8_t *out, uint64_t len, uint64_t *ret_len)
{
	int rc = u->avail || u->at_end ? 0 : refill(u);
	size_t want = len < READ_MAX ? len : READ_MAX, n = 0;

	if (rc)
		return rc;
	rc = u->how == PACKED_ZSTD ? step_zstd(u, out, want, &n) : step_gzip(u, out, want, &n);
	if (rc)
		return rc;
	*ret_len = n;
	return u->at_end && !n && !u->finished ? -ENODATA : 0;
}

int unpack_read(struct unpack *u, uint8_t *out, uint64_t len, uint64_t *ret_len)
{
	uint64_t done = 0, n;

	while (done < len && !u->finished) {
		int rc = step(u, out + done, len - done, &n);

		if (rc)
			return rc;
		done += n;
	}
	*ret_len = done;
	return 0;
}
