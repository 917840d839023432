// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * All jumps go forward. The rows of a system call are blocks of a few instructions, each of which
 * ends with a return; a test that fails jumps behind the block, to the next one. Descriptors are the
 * exception, since there may be hundreds: theirs is a chain of returns.
 *
 * The tree of numbers is put around the blocks from inside out: a part is made first, then the
 * comparison that leaps over it is put in front of it, which moves the part as a whole. The kernel
 * walks a program once for each of its numbers when it takes it, and turns it into machine code:
 * short programs make short starts.
 */
#include "vmm/app/filter.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_CALLS 64 /* different system calls of one filter */
#define FUTEX_OPS 3  /* WAIT, WAKE and REQUEUE differ in these bits */
#define FUTEX_PRIVATE 128
#define TO_END UINT8_MAX /* a jump that land() has not seen yet */

#ifdef __aarch64__
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#define OUR_ARCH AUDIT_ARCH_X86_64 /* the unit tests' */
#endif

struct making {
	struct filter *f;
	const struct right *const *lists;
	enum right_threads thread;
	pid_t pid;
	uint32_t denied;
	bool full;
	bool far;          /* a block is longer than a conditional jump: descriptors without neighbours, more than a hundred */
	unsigned nr_calls;
	int calls[MAX_CALLS];
};

static void emit(struct making *m, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (m->f->len == FILTER_MAX) {
		m->full = true;
		return;
	}
	m->f->prog[m->f->len++] = (struct sock_filter){ .code = code, .k = k, .jt = jt, .jf = jf };
}

static void ret(struct making *m, uint32_t what)
{
	emit(m, BPF_RET | BPF_K, what, 0, 0);
}

/*
 * A jump to the end of the block that is being made, taken where the comparison fails. The end is not known yet;
 * land() puts it in.
 */
static void want(struct making *m, uint16_t compare, uint32_t value)
{
	emit(m, BPF_JMP | compare | BPF_K, value, 0, TO_END);
}

/* The jumps of the block since @from to its end lead here, to the next instruction. */
static void land(struct making *m, unsigned from)
{
	for (unsigned at = from; at < m->f->len; at++) {
		struct sock_filter *i = &m->f->prog[at];

		if (BPF_CLASS(i->code) != BPF_JMP || i->jf != TO_END)
			continue;
		i->jf = (uint8_t)(m->f->len - at - 1);
		m->far |= m->f->len - at - 1 >= TO_END;
	}
}

/* The half of an argument: 0 the lower one. Little-endian, as all our machines are. */
static void load_arg(struct making *m, unsigned arg, unsigned half)
{
	emit(m, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offsetof(struct seccomp_data, args) + 8 * arg + 4 * half), 0, 0);
}

/* All 64 bits: nothing hides in the upper half. */
static void want_whole_arg(struct making *m, unsigned arg, uint32_t value)
{
	load_arg(m, arg, 1);
	want(m, BPF_JEQ, 0);
	load_arg(m, arg, 0);
	want(m, BPF_JEQ, value);
}

/*
 * The first argument is one of the descriptors of @kinds: allowed. There may be hundreds, more than a
 * conditional jump can leap over, so none of them does: what is no descriptor at all returns here.
 */
static void allow_fds(struct making *m, uint32_t kinds)
{
	int first, last;

	load_arg(m, 0, 1);
	emit(m, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
	ret(m, m->denied);
	load_arg(m, 0, 0);
	for (int fd = 0; fd_run(fd, kinds, &first, &last); fd = last + 1) {
		if (first == last) {
			emit(m, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)first, 0, 1);
		} else {
			emit(m, BPF_JMP | BPF_JGE | BPF_K, (uint32_t)first, 0, 2);
			emit(m, BPF_JMP | BPF_JGT | BPF_K, (uint32_t)last, 1, 0);
		}
		ret(m, SECCOMP_RET_ALLOW);
	}
}

/* Rows of one call that differ in their value alone are one block: allowed if argument @arg is any of the values. */
static void any_value(struct making *m, const struct right *like, unsigned arg)
{
	unsigned n = 0, at;

	load_arg(m, arg, 0);
	at = m->f->len;
	for (unsigned i = 0; m->lists[i]; i++) {
		for (const struct right *r = m->lists[i]; r->threads; r++) {
			if (!(r->threads & m->thread) || r->call != like->call || r->test != like->test ||
			    r->kinds != like->kinds)
				continue;
			want(m, BPF_JEQ, (uint32_t)r->value);
			n++;
		}
	}
	/* each but the last goes on to the next one instead of the end, and to what follows where it holds */
	for (unsigned k = 0; k < n && !m->full; k++) {
		m->f->prog[at + k].jt = (uint8_t)(n - k - 1);
		if (k + 1 < n)
			m->f->prog[at + k].jf = 0;
	}
}

/* Is @r the first of those that any_value() takes together? */
static bool is_first(const struct making *m, const struct right *like)
{
	for (unsigned i = 0; m->lists[i]; i++)
		for (const struct right *r = m->lists[i]; r->threads; r++)
			if (r->threads & m->thread && r->call == like->call && r->test == like->test && r->kinds == like->kinds)
				return r == like;
	return false;
}

static void add_row(struct making *m, const struct right *r)
{
	unsigned from = m->f->len;

	switch (r->test) {
	case RIGHT_FREE:
		break;
	case RIGHT_FD:
		return; /* all of a call's together, at its end */
	case RIGHT_FD_REQUEST: /* the kernel looks at the request's lower half alone; the C library fills the upper as it likes */
		if (!is_first(m, r))
			return;
		any_value(m, r, 1);
		allow_fds(m, r->kinds);
		land(m, from);
		return;
	case RIGHT_FD_NO_ADDRESS:
		want_whole_arg(m, 4, 0);
		allow_fds(m, r->kinds);
		land(m, from);
		return;
	case RIGHT_OWN_REQUEST:
		if (!is_first(m, r))
			return;
		any_value(m, r, 1);
		want_whole_arg(m, 0, FILTER_OWN_FD);
		m->f->own_at = m->f->len - 1;
		break;
	case RIGHT_FUTEX_PRIVATE:
		load_arg(m, 1, 0);
		emit(m, BPF_ALU | BPF_AND | BPF_K, ~(uint32_t)FUTEX_OPS, 0, 0);
		want(m, BPF_JEQ, FUTEX_PRIVATE);
		break;
	case RIGHT_SELF:
		if (!is_first(m, r))
			return;
		want_whole_arg(m, 0, (uint32_t)m->pid);
		load_arg(m, 2, 1);
		want(m, BPF_JEQ, 0);
		any_value(m, r, 2);
		break;
	case RIGHT_MEMORY:
		load_arg(m, 2, 0);
		emit(m, BPF_ALU | BPF_AND | BPF_K, PROT_EXEC, 0, 0);
		want(m, BPF_JEQ, 0);
		load_arg(m, 3, 0);
		want(m, BPF_JSET, MAP_ANONYMOUS);
		break;
	case RIGHT_ADVICE:
		if (!is_first(m, r))
			return;
		any_value(m, r, 2);
		break;
	case RIGHT_NO_MEMORY:
		return; /* the last word, after all other rows */
	}
	ret(m, SECCOMP_RET_ALLOW);
	land(m, from);
}

/* Only a row about descriptors, or one that is there for the sake of some, names kinds of them. */
static bool has_fds(const struct right *r)
{
	int first, last;

	return !r->kinds || fd_run(0, r->kinds, &first, &last);
}

static void add_call(struct making *m, int call)
{
	uint32_t kinds = 0;
	bool no_memory = false;

	for (unsigned i = 0; m->lists[i]; i++) {
		for (const struct right *r = m->lists[i]; r->threads; r++) {
			if (!(r->threads & m->thread) || r->call != call || !has_fds(r))
				continue;
			kinds |= r->test == RIGHT_FD ? r->kinds : 0;
			no_memory |= r->test == RIGHT_NO_MEMORY;
			add_row(m, r);
		}
	}
	if (kinds)
		allow_fds(m, kinds);
	if (no_memory)
		ret(m, SECCOMP_RET_ERRNO | ENOMEM);
	ret(m, m->denied);
}

/* A conditional jump over what has been emitted since @at, put in front of it; a second one where it is too far. */
static void put_before(struct making *m, unsigned at, uint16_t compare, uint32_t k, bool when)
{
	unsigned over = m->f->len - at, n = over > UINT8_MAX ? 2 : 1;
	struct sock_filter *p = &m->f->prog[at];

	if (m->full || m->f->len + n > FILTER_MAX) {
		m->full = true;
		return;
	}
	memmove(p + n, p, over * sizeof(*p));
	m->f->len += n;
	if (m->f->own_at >= at)
		m->f->own_at += n;
	if (n == 1) {
		*p = (struct sock_filter){ .code = BPF_JMP | compare | BPF_K, .k = k,
					   .jt = when ? (uint8_t)over : 0, .jf = when ? 0 : (uint8_t)over };
		return;
	}
	p[0] = (struct sock_filter){ .code = BPF_JMP | compare | BPF_K, .k = k, .jt = when ? 0 : 1, .jf = when ? 1 : 0 };
	p[1] = (struct sock_filter){ .code = BPF_JMP | BPF_JA, .k = over };
}

static void add_tree(struct making *m, unsigned from, unsigned to)
{
	unsigned middle = (from + to) / 2, at = m->f->len;

	if (to - from == 1) {
		add_call(m, m->calls[from]);
		/* another number is denied by the block's last instruction */
		m->f->len--;
		put_before(m, at, BPF_JEQ, (uint32_t)m->calls[from], false);
		ret(m, m->denied);
		return;
	}
	add_tree(m, from, middle);
	put_before(m, at, BPF_JGE, (uint32_t)m->calls[middle], true);
	add_tree(m, middle, to);
}

/* The numbers that have a row, in order. */
static void note_call(struct making *m, int call)
{
	unsigned at = 0;

	while (at < m->nr_calls && m->calls[at] < call)
		at++;
	if (at < m->nr_calls && m->calls[at] == call)
		return;
	assert(m->nr_calls < MAX_CALLS);
	for (unsigned i = m->nr_calls++; i > at; i--)
		m->calls[i] = m->calls[i - 1];
	m->calls[at] = call;
}

int filter_make(struct filter *f, const struct right *const lists[], enum right_threads thread, pid_t pid,
		uint32_t denied)
{
	struct making m = {
		.f = f, .lists = lists, .thread = thread, .pid = pid, .denied = denied,
	};

	f->len = 0;
	f->own_at = 0;
	for (unsigned i = 0; lists[i]; i++)
		for (const struct right *r = lists[i]; r->threads; r++)
			if (r->threads & thread && has_fds(r))
				note_call(&m, r->call);
	emit(&m, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	emit(&m, BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0);
	ret(&m, SECCOMP_RET_KILL_PROCESS);
	emit(&m, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	if (m.nr_calls)
		add_tree(&m, 0, m.nr_calls);
	else
		ret(&m, denied);
	return m.full || m.far ? -E2BIG : 0;
}
