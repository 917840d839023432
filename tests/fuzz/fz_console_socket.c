// SPDX-License-Identifier: BSD-3-Clause
/*
 * console_socket: who connects to the console's socket, at any moment and anyhow.
 *
 * Covers: stream_client.c and the part of stream.c that it works with: output while somebody is there and while nobody is, reads and
 *         writes that end short, late or in error, ends of one way and of both, a next client, a guest that takes nothing.
 * Oracle: a descriptor is closed once, nothing is done with it after that, and there are two at most; what is written is the guest's
 *         output in order, without a gap while a client is there, and from the newest bytes that the ring can hold where there was
 *         none; with nobody there all of it is taken, else as much as there is room for; what was read reaches the guest once, in
 *         order, and nothing is read while some of it lies there; something is always awaited.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <poll.h>

#include "tests/fake/loop.h"
#include "vmm/core/stream_priv.h"

#define RING 64
#define LISTENER 3
#define FIRST_FD 5000
#define FDS 512

static struct loop *loop;
static struct stream *st;
static struct stream_client *c;

static struct model {
	uint64_t written, out;   /* output: bytes taken from the guest; the next one that a client is due */
	uint64_t sent, got;      /* input: bytes read, and those that the guest has */
	size_t room;             /* how much it takes */
	bool there, hung, in_ended;
	bool open[FDS];
	unsigned nr_fds;
} m;

static uint8_t out_at(uint64_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

static uint8_t in_at(uint64_t i)
{
	return (uint8_t)(i * 7 + i / 253 + 1);
}

static size_t take(void *ctx, const uint8_t *buf, size_t len)
{
	size_t n = len < m.room ? len : m.room;

	(void)ctx;
	must(len && m.got + len == m.sent);
	for (size_t i = 0; i < n; i++)
		must(buf[i] == in_at(m.got + i));
	m.got += n;
	m.room -= n;
	return n;
}

static bool reads(void)
{
	return m.there && !m.hung;
}

/* Where nobody reads, only so much is kept. */
static void forget(void)
{
	if (!reads() && m.written - m.out > RING)
		m.out = m.written - RING;
}

static void room(void *ctx)
{
	(void)ctx;
	must(!reads() || m.written - m.out <= RING - RING / 4);
}

static void say(struct fuzz_in *in)
{
	uint8_t buf[3 * RING];
	size_t len = fuzz_below(in, sizeof(buf) + 1), want = len, n;

	for (size_t i = 0; i < len; i++)
		buf[i] = out_at(m.written + i);
	if (reads() && len > RING - (m.written - m.out))
		want = RING - (m.written - m.out);
	fake_loop_set_here(loop, !(fuzz_u8(in) & 1));
	n = stream_write(st, buf, len);
	fake_loop_set_here(loop, true);
	must(n == want);
	m.written += n;
	forget();
	fake_loop_turn(loop);
}

static bool *of(int fd)
{
	must(fd >= FIRST_FD && fd < FIRST_FD + (int)m.nr_fds);
	return &m.open[fd - FIRST_FD];
}

static void accept_one(struct fuzz_in *in)
{
	static const int errors[] = { -EMFILE, -ENFILE, -ECONNABORTED, -EINVAL };
	unsigned how = fuzz_below(in, 32);

	if (m.nr_fds == FDS || fake_loop_io(&c->accept, NULL, NULL) == FAKE_IO_NONE)
		return;
	if (how < ARRAY_LEN(errors)) {
		must(fake_loop_complete(&c->accept, errors[how]));
		return;
	}
	m.open[m.nr_fds++] = true;
	if (m.there) {
		must(m.hung);
		m.there = false;
	} else if (fake_loop_io(&c->end, NULL, NULL) == FAKE_IO_NONE) {
		m.there = true;
		m.hung = m.in_ended = false;
	}
	must(fake_loop_complete(&c->accept, FIRST_FD + (int)m.nr_fds - 1));
}

/* It is told that the client reads no more; a write under way may have moved some bytes before. */
static void model_hangup(struct fuzz_in *in, bool at_once)
{
	uint8_t buf[RING];
	size_t len;

	if (at_once && !m.hung && (len = fake_loop_peek_write(&c->out, buf, sizeof(buf)))) {
		unsigned n = fuzz_below(in, (unsigned)len + 1);

		if (n)
			fake_loop_cancel_result(&c->out, (int)n);
		m.out += n;
	}
	m.hung = true;
	if (m.in_ended)
		m.there = false;
	forget();
}

static void read_some(struct fuzz_in *in)
{
	uint8_t buf[64], how = fuzz_u8(in);
	size_t len = 1 + fuzz_below(in, sizeof(buf));

	must(*of(fake_loop_aim(&c->in)) && m.got == m.sent && !m.in_ended);
	if (how < 16) {
		static const int ends[] = { 0, 0, -ECONNRESET, -EINTR, -EAGAIN };
		int res = ends[how % ARRAY_LEN(ends)];

		if (!res || res == -ECONNRESET) {
			m.in_ended = true;
			if (res || m.hung)
				model_hangup(in, true);
		}
		must(fake_loop_complete(&c->in, res));
		return;
	}
	for (size_t i = 0; i < len; i++)
		buf[i] = in_at(m.sent + i);
	m.sent += len;
	must(fake_loop_complete_read(&c->in, buf, len));
}

static void client_ends(struct fuzz_in *in)
{
	static const int told[] = { POLLHUP, POLLHUP | POLLRDHUP, POLLERR, POLLRDHUP, 0, -ENOMEM, -EINTR };
	int res = told[fuzz_below(in, ARRAY_LEN(told))];

	must(*of(fake_loop_aim(&c->in)) && (m.in_ended || m.got < m.sent));
	if (res == -ENOMEM || (res > 0 && res & (POLLHUP | POLLERR)))
		model_hangup(in, true);
	must(fake_loop_complete(&c->in, res));
}

static void client_does(struct fuzz_in *in)
{
	if (fake_loop_io(&c->in, NULL, NULL) == FAKE_IO_READV)
		read_some(in);
	else if (fake_loop_io(&c->in, NULL, NULL) == FAKE_IO_AWAIT)
		client_ends(in);
}

static void client_reads(struct fuzz_in *in)
{
	static const int errors[] = { -EPIPE, -ECONNRESET, -EAGAIN, -EINTR };
	size_t len, n;
	uint8_t buf[RING], how = fuzz_u8(in);

	if (fake_loop_io(&c->out, NULL, NULL) != FAKE_IO_WRITEV)
		return;
	must(*of(fake_loop_aim(&c->out)) && reads());
	len = fake_loop_peek_write(&c->out, buf, sizeof(buf));
	must(len && len <= m.written - m.out);
	if (how < ARRAY_LEN(errors)) {
		if (how < 2)
			model_hangup(in, false);
		must(fake_loop_complete(&c->out, errors[how]));
		return;
	}
	n = how & 1 ? len : 1 + how % len;
	for (size_t i = 0; i < n; i++)
		must(buf[i] == out_at(m.out + i));
	m.out += n;
	must(fake_loop_complete(&c->out, (int)n));
}

static void close_one(void)
{
	if (fake_loop_io(&c->end, NULL, NULL) == FAKE_IO_NONE)
		return;
	must(*of(fake_loop_aim(&c->end)) && !m.there);
	*of(fake_loop_aim(&c->end)) = false;
	if (c->next >= 0) {
		m.there = true;
		m.hung = m.in_ended = false;
	}
	must(fake_loop_complete(&c->end, 0));
}

/* What is waited for may turn out to have happened just then. */
static void guest_takes(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	m.room = how & 1 ? 1u << 20 : how;
	if (how > 200 && m.got < m.sent && m.room >= m.sent - m.got && !m.in_ended &&
	    fake_loop_io(&c->in, NULL, NULL) == FAKE_IO_AWAIT) {
		model_hangup(in, true);
		fake_loop_cancel_result(&c->in, POLLHUP);
	}
	stream_resume_input(st);
	fake_loop_turn(loop);
}

static void look(void)
{
	enum fake_io_op op = fake_loop_io(&c->in, NULL, NULL);
	bool accepts = fake_loop_io(&c->accept, NULL, NULL) != FAKE_IO_NONE, closes = fake_loop_io(&c->end, NULL, NULL) != FAKE_IO_NONE;
	unsigned open = 0;

	for (unsigned i = 0; i < m.nr_fds; i++)
		open += m.open[i];
	must(open == (unsigned)m.there + closes + (c->next >= 0) && open <= STREAM_CLIENTS);
	must(op != FAKE_IO_READV || m.got == m.sent);
	must((fake_loop_io(&c->out, NULL, NULL) != FAKE_IO_NONE) == (reads() && m.out < m.written));
	/* a next one, by who comes or by a look at it; and the end of this one */
	must(reads() || closes || accepts || c->deaf || fake_loop_timer(&st->look));
	must(!m.there || op != FAKE_IO_NONE || fake_loop_timer(&st->look) || (m.hung && m.got < m.sent));
}

static void end(void)
{
	char tail[RING];
	size_t n;

	if (!reads()) {
		/* the newest, where nobody came for them */
		stream_flush(st, 0);
		n = stream_tail(st, tail, sizeof(tail));
		must(n >= m.written - m.out);
		for (size_t i = 0; i < m.written - m.out; i++)
			must((uint8_t)tail[n - 1 - i] == out_at(m.written - 1 - i));
		must(stream_dropped(st) == 0);
	}
	/* by numbers that nobody has: it would close them */
	c->fd = c->next = -1;
	stream_free(st);
	loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct stream_cfg cfg = { .in_fd = LISTENER, .out_fd = LISTENER, .ring_size = RING, .listens = true };
	struct fuzz_in in = { .p = data, .left = size };

	m = (struct model){ .room = 1u << 20 };
	must(loop_new(&loop) == 0 && stream_new(loop, &cfg, &st) == 0);
	c = &st->client;
	stream_on_room(st, room, NULL);
	stream_on_input(st, take, NULL);
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 12)) {
		case 0: case 1: say(&in); break;
		case 2: case 3: accept_one(&in); break;
		case 4: case 5: case 6: client_does(&in); break;
		case 7: case 8: client_reads(&in); break;
		case 9: close_one(); break;
		case 10: guest_takes(&in); break;
		case 11: fake_loop_expire(&st->look); break;
		}
		look();
	}
	end();
	return 0;
}
