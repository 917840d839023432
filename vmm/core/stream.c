// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * Output. Writers append to the ring under the lock; one that finds it empty sees to it that it
 * is drained: on the loop's thread at once, elsewhere by the kick eventfd. Only the loop's thread
 * (or stream_flush(), later) takes out, so the bytes between tail and head stay put while they
 * are written without the lock. When the consumer takes no more, POLLOUT is armed until the ring
 * is empty. A short stream_write() leaves `want_room`; when a quarter of the ring is free again
 * the listener is called, from the loop only, never from inside stream_write(). What leaves the
 * ring goes through `history`, shown or lost, as does what never came into it since nobody reads.
 *
 * How a descriptor is kept from blocking (enum out_how): the caller's open file description may
 * be shared with a shell, so O_NONBLOCK is never set on it. A pipe or terminal is opened once
 * more by /proc/self/fd, which gives a description of our own. Sockets have MSG_DONTWAIT. Where
 * none of this works (a terminal of another user, no /proc) one small write follows each POLLOUT:
 * what poll promises room for, a pipe's PIPE_BUF or a few bytes of a terminal. The master of a
 * pseudo-terminal is not opened again: that would make another one.
 *
 * A regular file says at all times that it has room, and may let a write wait all the same: for a server, for another process,
 * until pages are clean. What lies together at the tail goes to the ring, whose workers wait, one transfer at a time; its end
 * begins the next. Meanwhile writers append until the ring buffer is full, as with any slow consumer. What the ring refuses for
 * a reason of its own (no worker can be made, the file is O_NONBLOCK, the end of the loop has cancelled it) it is asked for once
 * more; then write(2) does it.
 *
 * The ring moves a file's position without write(2)'s lock. Who writes by the same description meanwhile, our log on standard
 * error for one, would overwrite or be overwritten. So a file that is at its end is set to append, as make(1) does with its
 * own output: for those who go on at the end nothing else changes. A file that is amid its bytes stays with write(2).
 *
 * A pseudo-terminal that nobody has open says POLLHUP, at once and always. Then nothing is polled, and a timer looks from
 * time to time whether that still is so (`absent`). A socket's client is stream_client.c's.
 *
 * Input. A read of at most one buffer follows each POLLIN, and goes to the receiver. While it
 * holds something back nothing is polled, so a flood waits in the kernel. `held` is set before
 * the receiver is asked and cleared after it took all: a stream_resume_input() that comes while
 * it is being asked is then never missed.
 */
#include "vmm/core/stream_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/obj.h"
#include "vmm/base/rights.h"

#define RING_DEFAULT (64 * KIB)
/* Writes of one callback: the ring's end, its start, and what came meanwhile; a writer without end does not hold up the loop. */
#define TURNS 4
/* Bytes that a terminal which says POLLOUT takes without blocking, newlines' returns included. */
#define TTY_CHUNK 16

static void kick(struct stream *s)
{
	const uint64_t one = 1;
	/* Fails only where the counter is full: signalled already. */
	ssize_t n = write(s->kick_fd, &one, sizeof(one));

	(void)n;
}

/* ---- output -------------------------------------------------------------------------------- */

static size_t used_locked(const struct stream *s)
{
	return s->head - s->tail;
}

static void remember_locked(struct stream *s, const uint8_t *p, size_t len)
{
	if (len > HISTORY_SIZE) {
		p += len - HISTORY_SIZE;
		s->passed += len - HISTORY_SIZE;
		len = HISTORY_SIZE;
	}
	while (len) {
		size_t at = s->passed % HISTORY_SIZE;
		size_t n = len < HISTORY_SIZE - at ? len : HISTORY_SIZE - at;

		memcpy(s->history + at, p, n);
		s->passed += n;
		p += n;
		len -= n;
	}
}

/* The bytes that lie together at the tail. */
size_t stream_peek(struct stream *s, const uint8_t **ret_p)
{
	size_t at, len;

	pthread_mutex_lock(&s->lock);
	/* an empty ring starts over, so that little output touches little memory */
	if (!used_locked(s))
		s->head = s->tail = 0;
	at = s->tail & (s->size - 1);
	len = used_locked(s);
	pthread_mutex_unlock(&s->lock);
	*ret_p = s->ring + at;
	return len < s->size - at ? len : s->size - at;
}

void stream_consume(struct stream *s, const uint8_t *p, size_t n)
{
	pthread_mutex_lock(&s->lock);
	remember_locked(s, p, n);
	s->tail += n;
	pthread_mutex_unlock(&s->lock);
}

/* What is in the ring will not be shown, but remembered. */
static void lose(struct stream *s, bool for_good)
{
	size_t at, len, end;

	pthread_mutex_lock(&s->lock);
	at = s->tail & (s->size - 1);
	len = used_locked(s);
	end = len < s->size - at ? len : s->size - at;
	remember_locked(s, s->ring + at, end);
	remember_locked(s, s->ring, len - end);
	atomic_fetch_add_explicit(&s->dropped, len, memory_order_relaxed);
	s->tail = s->head;
	s->gone |= for_good;
	pthread_mutex_unlock(&s->lock);
}

static ssize_t put(struct stream *s, const uint8_t *p, size_t n)
{
	ssize_t r;

	if (n > s->chunk)
		n = s->chunk;
	do {
		if (s->how == OUT_SOCKET)
			r = send(s->out_fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			r = write(s->out_fd, p, n);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* The ring's own answers, not the file's: nothing was written. */
static bool is_refused(int res)
{
	return res == -ECANCELED || res == -EAGAIN || res == -EINTR;
}

static bool is_for_good(ssize_t error)
{
	return error == -EPIPE || error == -ECONNRESET || error == -ENOTCONN ||
	       error == -EBADF || error == -ENXIO;
}

/*
 * One step of output: 1 and more may follow, 0 the ring is empty, -EAGAIN the consumer is
 * slow. Any other error loses what is in the ring; a full disk may have room for what comes
 * later, a closed pipe has not.
 */
static int step(struct stream *s)
{
	const uint8_t *p;
	size_t len = stream_peek(s, &p);
	ssize_t n;

	if (!len)
		return 0;
	n = put(s, p, len);
	if (n == -EAGAIN)
		return -EAGAIN;
	if (n < 0)
		lose(s, is_for_good(n));
	else
		stream_consume(s, p, (size_t)n);
	return 1;
}

/* A transfer of what lies together at the tail, unless that is nothing, or one is under way. */
static void file_write(struct stream *s)
{
	const uint8_t *p;
	size_t n;

	if (s->file.busy || s->gone)
		return;
	n = stream_peek(s, &p);
	if (!n)
		return;
	s->file_iov = (struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	loop_writev(&s->file, &s->file_iov, 1);
}

static void file_done(void *ctx, int res)
{
	struct stream *s = ctx;
	bool refused = is_refused(res);

	if (s->gone)
		return; /* given up, and counted as lost */
	if (res > 0)
		stream_consume(s, s->file_iov.iov_base, (size_t)res);
	else if (!refused)
		lose(s, is_for_good(res));
	else if (s->refused)
		step(s);
	s->refused = refused && !s->refused;
	file_write(s);
	if (!s->ending)
		stream_tell_room(s);
}

/* Writes what may be written now. @ready: POLLOUT was seen. */
static void drain(struct stream *s, bool ready)
{
	unsigned turns = s->how == OUT_CHUNK ? ready : TURNS;
	int r = 1;

	if (s->how == OUT_CLIENT) {
		client_write(s);
		return;
	}
	if (s->how == OUT_FILE) {
		file_write(s);
		return;
	}
	for (; turns && r > 0; turns--)
		r = step(s);
	if (r)
		loop_poll_arm(&s->out, POLLOUT);
	else
		loop_poll_disarm(&s->out);
}

static bool room_is_due(struct stream *s)
{
	bool due;

	pthread_mutex_lock(&s->lock);
	due = s->want_room && (s->absent || s->size - used_locked(s) >= s->size / 4);
	pthread_mutex_unlock(&s->lock);
	return due;
}

void stream_tell_room(struct stream *s)
{
	if (!room_is_due(s))
		return;
	pthread_mutex_lock(&s->lock);
	s->want_room = false;
	pthread_mutex_unlock(&s->lock);
	if (s->room)
		s->room(s->room_ctx);
}

void stream_set_absent(struct stream *s, bool absent)
{
	pthread_mutex_lock(&s->lock);
	s->absent = absent;
	pthread_mutex_unlock(&s->lock);
}

/* Nobody has the other end open any more. What they did not read counts as shown. */
static void leave(struct stream *s)
{
	const uint8_t *p;
	size_t len;

	stream_set_absent(s, true);
	while ((len = stream_peek(s, &p)))
		stream_consume(s, p, len);
	loop_poll_disarm(&s->out);
	loop_poll_disarm(&s->in);
	loop_timer_set(&s->look, LOOK_NS);
	stream_tell_room(s);
}

/* Of a pseudo-terminal either is said at once, and one of them always. */
static void look(void *ctx)
{
	struct stream *s = ctx;

	if (s->pty) {
		loop_poll_arm(&s->in, POLLIN | POLLOUT);
		return;
	}
	client_accept(s);
	client_read(s);
}

static void out_ready(void *ctx, uint32_t events)
{
	struct stream *s = ctx;

	if (s->pty && events & POLLHUP) {
		leave(s);
		return;
	}
	/* Errors too: the write says which one it is, and with nobody left to read it returns at once. */
	drain(s, true);
	stream_tell_room(s);
}

/* With nobody there the newest bytes stay, as many as there is room for. Returns how many of @len that leaves out at the front. */
static size_t make_room_locked(struct stream *s, size_t len)
{
	size_t skip = len > s->size ? len - s->size : 0;
	size_t room = s->size - used_locked(s);

	if (len - skip > room)
		s->tail += len - skip - room;
	return skip;
}

/* Copies in what fits; tells whether somebody has to see to it that it is written: the ring was empty before. */
static size_t append(struct stream *s, const uint8_t *p, size_t len, bool *ret_first)
{
	size_t at, n, end, skip = 0;

	pthread_mutex_lock(&s->lock);
	if (s->gone || (s->absent && s->pty) || s->how == OUT_NONE) {
		if (s->gone)
			atomic_fetch_add_explicit(&s->dropped, len, memory_order_relaxed);
		remember_locked(s, p, len);
		pthread_mutex_unlock(&s->lock);
		*ret_first = false;
		return len;
	}
	if (s->absent)
		skip = make_room_locked(s, len);
	p += skip;
	len -= skip;
	*ret_first = len && !used_locked(s) && !s->absent;
	n = s->size - used_locked(s);
	if (n < len)
		s->want_room = true;
	else
		n = len;
	at = s->head & (s->size - 1);
	end = n < s->size - at ? n : s->size - at;
	memcpy(s->ring + at, p, end);
	memcpy(s->ring, p + end, n - end);
	s->head += n;
	pthread_mutex_unlock(&s->lock);
	return n + skip;
}

size_t stream_write(struct stream *s, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	size_t taken = 0;
	bool first;

	do {
		taken += append(s, p + taken, len - taken, &first);
		if (!first)
			break;
		if (!loop_is_here(s->loop)) {
			kick(s);
			break;
		}
		drain(s, false);
	} while (taken < len);
	/* Room that somebody waits for, made here: the listener is called from the loop. */
	if (first && room_is_due(s))
		kick(s);
	return taken;
}

size_t stream_room(struct stream *s)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->size - used_locked(s);
	pthread_mutex_unlock(&s->lock);
	return n;
}

void stream_on_room(struct stream *s, void (*room)(void *ctx), void *ctx)
{
	s->room = room;
	s->room_ctx = ctx;
}

uint64_t stream_dropped(const struct stream *s)
{
	return atomic_load_explicit(&s->dropped, memory_order_relaxed);
}

size_t stream_tail(struct stream *s, char *buf, size_t cap)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->passed < HISTORY_SIZE ? s->passed : HISTORY_SIZE;
	if (n > cap)
		n = cap;
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)s->history[(s->passed - n + i) % HISTORY_SIZE];
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* Milliseconds until @deadline, rounded up, at most a minute at a time. */
int stream_ms_until(uint64_t deadline)
{
	uint64_t now = clock_now_ns();
	uint64_t ms = now < deadline ? (deadline - now + 999999) / 1000000 : 0;

	return ms < 60000 ? (int)ms : 60000;
}

static void flush_fd(struct stream *s, uint64_t deadline)
{
	struct pollfd pfd = { .fd = s->out_fd, .events = POLLOUT };
	int r = s->how == OUT_CHUNK ? -EAGAIN : 1;
	const uint8_t *p;

	while (r && stream_peek(s, &p)) {
		if (r == -EAGAIN) {
			int ms = stream_ms_until(deadline);

			if (poll(&pfd, 1, ms) <= 0 && stream_ms_until(deadline) == 0)
				break;
			if (!pfd.revents)
				continue;
		}
		r = step(s);
		if (r > 0 && s->how == OUT_CHUNK)
			r = -EAGAIN;
	}
}

/* The end of each transfer begins the next. One that does not end in time stays under way: its bytes stay where they are. */
static void flush_file(struct stream *s, uint64_t deadline)
{
	s->ending = true;
	file_write(s);
	while (s->file.busy && stream_ms_until(deadline))
		loop_io_wait(&s->file, deadline);
}

void stream_flush(struct stream *s, uint64_t timeout_ns)
{
	uint64_t now = clock_now_ns();
	uint64_t deadline = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;

	if (s->how == OUT_NONE)
		return;
	if (s->how == OUT_CLIENT)
		client_flush(s, deadline);
	else if (s->how == OUT_FILE)
		flush_file(s, deadline);
	else
		flush_fd(s, deadline);
	lose(s, s->file.busy);
}

/* ---- input --------------------------------------------------------------------------------- */

static void end_input(struct stream *s)
{
	s->in_ended = true;
	loop_poll_disarm(&s->in);
}

/* Offers what is held back; reading goes on once all is taken. */
void stream_offer(struct stream *s)
{
	size_t len = s->in_len - s->in_off;
	size_t n;

	atomic_store(&s->held, true);
	n = s->receive(s->receive_ctx, s->input + s->in_off, len);
	s->in_off += n < len ? n : len;
	if (s->in_off == s->in_len)
		atomic_store(&s->held, false);
	if (s->how == OUT_CLIENT)
		client_read(s);
	else if (s->in_off < s->in_len)
		loop_poll_disarm(&s->in);
	else if (!s->in_ended && !s->absent)
		loop_poll_arm(&s->in, POLLIN);
}

/* True: there is something to be read. */
static bool is_there(struct stream *s, uint32_t events)
{
	if (events & POLLHUP && !(events & POLLIN)) {
		leave(s);
		return false;
	}
	if (s->absent) {
		stream_set_absent(s, false);
		if (s->in_off < s->in_len) /* what the last one typed is still to be taken */
			loop_poll_disarm(&s->in);
		else
			loop_poll_arm(&s->in, POLLIN);
	}
	return events & POLLIN;
}

static void in_ready(void *ctx, uint32_t events)
{
	struct stream *s = ctx;
	ssize_t n;

	if (s->pty && !is_there(s, events))
		return;
	if (!(events & POLLIN)) {
		end_input(s);
		return;
	}
	if (s->in_socket)
		n = recv(s->in_fd, s->input, sizeof(s->input), MSG_DONTWAIT);
	else
		n = fd_read(s->in_fd, s->input, sizeof(s->input), false);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 && s->pty) {
		leave(s);
		return;
	}
	if (n <= 0) {
		end_input(s);
		return;
	}
	s->in_off = 0;
	s->in_len = (size_t)n;
	stream_offer(s);
}

void stream_on_input(struct stream *s, size_t (*receive)(void *ctx, const uint8_t *buf, size_t len), void *ctx)
{
	s->receive = receive;
	s->receive_ctx = ctx;
	if (s->pty || s->how == OUT_CLIENT)
		look(s);
	else if (s->in_fd >= 0 && !s->in_ended)
		loop_poll_arm(&s->in, POLLIN);
}

void stream_resume_input(struct stream *s)
{
	if (atomic_load(&s->held) && atomic_exchange(&s->held, false))
		kick(s);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void kicked(void *ctx, uint32_t events)
{
	struct stream *s = ctx;

	(void)events;
	if (!fd_drain(s->kick_fd))
		return;
	if (s->how != OUT_NONE)
		drain(s, false);
	stream_tell_room(s);
	if (s->in_off < s->in_len)
		stream_offer(s);
}

static bool is_dev(const struct stat *st, unsigned maj, unsigned min)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(maj, min);
}

/* Pipes and terminals, but no pseudo-terminal's master (device 5, 2). */
static bool can_open_again(int fd, const struct stat *st)
{
	if (S_ISFIFO(st->st_mode))
		return true;
	return S_ISCHR(st->st_mode) && !is_dev(st, 5, 2) && isatty(fd);
}

/* A description of our own of what @fd is, or -1. */
static int open_again(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* What is written to a file goes to its end, from here on at the latest; false: its position is amid what is there. */
static bool appends(int fd, off_t size, int flags)
{
	return flags & O_APPEND || (lseek(fd, 0, SEEK_CUR) == size && !fcntl(fd, F_SETFL, flags | O_APPEND));
}

static int choose_out(struct stream *s, int fd)
{
	struct stat st;
	int flags;

	if (fstat(fd, &st) < 0)
		return -errno;
	flags = fcntl(fd, F_GETFL);
	fd_note_also(fd, S_ISSOCK(st.st_mode) ? FD_OUT_SOCKET : FD_OUT);
	s->out_fd = fd;
	s->chunk = SIZE_MAX / 2;
	if (S_ISSOCK(st.st_mode)) {
		s->how = OUT_SOCKET;
	} else if (S_ISREG(st.st_mode)) {
		s->how = appends(fd, st.st_size, flags) ? OUT_FILE : OUT_PLAIN;
	} else if (is_dev(&st, 1, 3)) {
		s->how = OUT_PLAIN;
	} else if (flags >= 0 && (flags & O_NONBLOCK)) {
		s->how = OUT_NONBLOCK;
	} else if (can_open_again(fd, &st) && (s->own_out_fd = fd_note(open_again(fd, O_WRONLY), FD_OUT)) >= 0) {
		s->how = OUT_NONBLOCK;
		s->out_fd = s->own_out_fd;
	} else {
		s->how = OUT_CHUNK;
		s->chunk = S_ISCHR(st.st_mode) ? TTY_CHUNK : PIPE_BUF;
	}
	return 0;
}

static int choose_in(struct stream *s, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	s->in_fd = fd;
	s->in_socket = S_ISSOCK(st.st_mode);
	fd_note_also(fd, s->in_socket ? FD_IN_SOCKET : FD_IN);
	/* Another reader of the same input may be quicker after a POLLIN: then a read must not wait. */
	if (can_open_again(fd, &st)) {
		s->own_in_fd = fd_note(open_again(fd, O_RDONLY), FD_IN);
		if (s->own_in_fd >= 0)
			s->in_fd = s->own_in_fd;
	}
	return 0;
}

static int init_ring(struct stream *s)
{
	s->ring = obj_new(s->size);
	return s->ring ? 0 : -ENOMEM;
}

static int init_out(struct stream *s, int fd)
{
	int r;

	if (fd < 0)
		return 0;
	r = choose_out(s, fd);
	if (r < 0)
		return r;
	r = init_ring(s);
	if (r < 0)
		return r;
	if (s->how == OUT_FILE)
		return loop_file_init(s->loop, &s->file, s->out_fd, file_done, s);
	return loop_poll_init(s->loop, &s->out, s->out_fd, out_ready, s);
}

static int init_in(struct stream *s, int fd)
{
	int r;

	if (fd < 0)
		return 0;
	r = choose_in(s, fd);
	if (r < 0)
		return r;
	return loop_poll_init(s->loop, &s->in, s->in_fd, in_ready, s);
}

static int init_listener(struct stream *s, int fd)
{
	int r = init_ring(s);

	s->how = OUT_CLIENT;
	return r ? r : client_init(s, fd);
}

static int init_kick(struct stream *s)
{
	int r;

	s->kick_fd = fd_event();
	if (s->kick_fd < 0)
		return s->kick_fd;
	r = loop_poll_init(s->loop, &s->kick, s->kick_fd, kicked, s);
	if (r < 0)
		return r;
	s->kick.drains = true;
	loop_poll_arm(&s->kick, POLLIN);
	return 0;
}

int stream_new(struct loop *l, const struct stream_cfg *cfg, struct stream **ret_s)
{
	struct stream *s;
	int r;

	if (cfg->ring_size && !is_pow2(cfg->ring_size))
		return -EINVAL;
	s = obj_new(sizeof(*s));
	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	s->loop = l;
	s->size = cfg->ring_size ? cfg->ring_size : RING_DEFAULT;
	s->kick_fd = s->in_fd = s->own_in_fd = s->out_fd = s->own_out_fd = -1;
	s->client.fd = s->client.next = -1;
	if (cfg->listens) {
		r = init_listener(s, cfg->in_fd);
	} else {
		r = init_out(s, cfg->out_fd);
		if (!r)
			r = init_in(s, cfg->in_fd);
	}
	if (!r)
		r = init_kick(s);
	s->pty = !r && cfg->pty;
	s->absent = s->pty || cfg->listens;
	if (!r && s->absent)
		r = loop_timer_init(l, &s->look, look, s);
	if (r) {
		stream_free(s);
		return r;
	}
	*ret_s = s;
	return 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	loop_poll_fini(&s->out);
	loop_poll_fini(&s->in);
	loop_poll_fini(&s->kick);
	loop_timer_fini(&s->look);
	s->gone = true; /* the end of a transfer begins no other */
	loop_io_cancel(&s->file);
	if (s->how == OUT_CLIENT)
		client_fini(s);
	close_fd(&s->own_out_fd);
	close_fd(&s->own_in_fd);
	close_fd(&s->kick_fd);
	pthread_mutex_destroy(&s->lock);
	obj_free(s->ring);
	obj_free(s);
}

const struct right stream_rights[] = {
	{ RIGHT_LOOP, SYS_preadv2, RIGHT_FD, FD_IN, 0, "the console's input" },
	{ RIGHT_LOOP, SYS_write, RIGHT_FD, FD_OUT, 0, "the console's output" },
	{ RIGHT_LOOP, SYS_recvfrom, RIGHT_FD, FD_IN_SOCKET, 0, "the console's input, from a socket" },
	{ RIGHT_LOOP, SYS_sendto, RIGHT_FD_NO_ADDRESS, FD_OUT_SOCKET, 0, "the console's output, to a socket" },
	{ 0 },
};
