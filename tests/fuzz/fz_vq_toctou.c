// SPDX-License-Identifier: BSD-3-Clause
/*
 * vq: guest memory that changes before each single read of it.
 *
 * Covers: what vq.c reads, and how often. A fake of gmem.h hands out an arena, and vq.c, built
 *         here once more, has every one of its reads seen: plain and atomic ones by the compiler's
 *         trace-loads, copies by a macro. Before each of them the bytes become what the input says:
 *         no guest can do worse.
 * Oracle: the model of vq_model.h is given the values that were read, in their order, and has to
 *         want the same places, each read once and whole, and to come to the same result: a chain
 *         that some single sequence of writes would have made.
 */
#include "tests/fuzz/vq_model.h"

#include <errno.h>

#define RAM 0x40000000
#define SIZE 0x2000
#define MAX_READS (8 + 2 * VQ_MAX_SIZE)

static _Alignas(16) char arena[SIZE];
static struct fuzz_in *changes; /* NULL: nobody is watched */

static struct seen {
	gpa_t gpa;
	size_t len;
	char bytes[16];
} seen[MAX_READS];
static unsigned nr_seen, nr_replayed;

/* ---- the fake gmem, as far as vq.c goes ---- */

static bool is_ram(gpa_t gpa, uint64_t len)
{
	return gpa >= RAM && gpa - RAM < SIZE && len <= SIZE - (gpa - RAM);
}

void *gmem_ptr(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	(void)mem;
	return is_ram(gpa, len) ? arena + (gpa - RAM) : NULL;
}

static char *hva(gpa_t gpa)
{
	return arena + (gpa - RAM);
}

/* A read of @len bytes at @p is about to happen. UNTRACED: its own reads are nobody's business. */
static UNTRACED void about_to_read(const void *p, size_t len)
{
	const char *at = p;
	struct seen *s;

	if (at < arena || at >= arena + SIZE || !changes)
		return;
	s = &seen[nr_seen];
	must(nr_seen < MAX_READS && len <= sizeof(s->bytes));
	nr_seen++;
	if (fuzz_u8(changes) & 1)
		fuzz_take(changes, arena + (at - arena), len);
	s->gpa = RAM + (gpa_t)(at - arena);
	s->len = len;
	memcpy(s->bytes, at, len);
}

void __sanitizer_cov_load1(const uint8_t *p);
void __sanitizer_cov_load2(const uint16_t *p);
void __sanitizer_cov_load4(const uint32_t *p);
void __sanitizer_cov_load8(const uint64_t *p);
void __sanitizer_cov_load16(const __int128 *p);

UNTRACED void __sanitizer_cov_load1(const uint8_t *p) { about_to_read(p, 1); }
UNTRACED void __sanitizer_cov_load2(const uint16_t *p) { about_to_read(p, 2); }
UNTRACED void __sanitizer_cov_load4(const uint32_t *p) { about_to_read(p, 4); }
UNTRACED void __sanitizer_cov_load8(const uint64_t *p) { about_to_read(p, 8); }
UNTRACED void __sanitizer_cov_load16(const __int128 *p) { about_to_read(p, 16); }

static void *watched_copy(void *dst, const void *src, size_t len)
{
	struct fuzz_in *in = changes;

	about_to_read(src, len);
	changes = NULL; /* this one is told already */
	memcpy(dst, src, len);
	changes = in;
	return dst;
}

#define memcpy watched_copy
#include "devices/virtio/vq.c"
#undef memcpy

/* ---- the model reads what was seen ---- */

static void replay(gpa_t gpa, void *buf, size_t len)
{
	const struct seen *s = &seen[nr_replayed++];

	must(nr_replayed <= nr_seen);
	must(s->gpa == gpa && s->len == len);
	memcpy(buf, s->bytes, len);
}

static struct vq q;
static struct vq_model m;
static uint16_t popped[VQ_MAX_SIZE];
static unsigned nr_popped;

static void watch(struct fuzz_in *in)
{
	nr_seen = nr_replayed = 0;
	changes = in;
}

/* The model has read what the code under test has, no more and no less. */
static void compared(void)
{
	must(nr_replayed == nr_seen && q.broken == m.broken);
}

static void pop(struct fuzz_in *in)
{
	static struct iovec iov[64];
	struct vq_chain c = { .iov = iov, .cap = 1 + fuzz_below(in, 64) };
	int got, want;

	watch(in);
	got = vq_pop(&q, &c);
	changes = NULL;
	want = model_pop(&m, c.cap);
	must(got == (want < 0 ? -EPROTO : want));
	compared();
	if (got <= 0)
		return;
	model_compare(&m, &c, hva);
	popped[nr_popped++] = c.head;
}

static void push(struct fuzz_in *in)
{
	if (!nr_popped)
		return;
	watch(in);
	vq_push(&q, popped[--nr_popped], fuzz_u8(in));
	vq_publish(&q);
	changes = NULL;
	must(!nr_seen); /* a device reads nothing to say that it is done */
	if (m.broken)
		return;
	m.taken[popped[nr_popped]] = false;
	m.next_used++;
}

static void wants_irq(struct fuzz_in *in)
{
	bool got;

	watch(in);
	got = vq_wants_irq(&q);
	changes = NULL;
	must(got == model_wants_irq(&m));
	compared();
}

static void enable_kick(struct fuzz_in *in)
{
	bool got;

	watch(in);
	got = vq_enable_kick(&q);
	changes = NULL;
	if (m.broken)
		must(!got);
	else
		must(got == (model_read16(&m, m.avail + 2) != m.next_avail));
	compared();
}

static void start(struct fuzz_in *in)
{
	uint8_t flags = fuzz_u8(in);
	struct vq_regs r = { .max = 64, .size = (uint16_t)(1u << (flags & 3)), .desc = RAM, .avail = RAM + 0x100,
			     .used = RAM + 0x200 };

	m = (struct vq_model){ .read = replay, .is_ram = is_ram, .size = r.size, .event_idx = flags & 4,
			       .indirect = flags & 8, .desc = r.desc, .avail = r.avail, .used = r.used };
	nr_popped = 0;
	must(vq_start(&q, NULL, &r, m.event_idx, m.indirect) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	memset(arena, 0, sizeof(arena));
	memset(&q, 0, sizeof(q));
	start(&in);
	fuzz_take(&in, arena, fuzz_u8(&in) * 4); /* what lies there at first */
	while (fuzz_more(&in)) {
		switch (fuzz_below(&in, 5)) {
		case 0: case 1: pop(&in); break;
		case 2: push(&in); break;
		case 3: wants_irq(&in); break;
		case 4: enable_kick(&in); break;
		}
	}
	vq_stop(&q);
	return 0;
}
