// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/bucket.h"

#include "vmm/base/clock.h"

#define MOST_NS (3600 * NS_PER_SEC) /* of one taking: an hour is as good as never */

static uint64_t cost_ns(const struct bucket *b, uint64_t n)
{
	uint64_t ns;

	if (__builtin_mul_overflow(n, NS_PER_SEC, &ns))
		return MOST_NS;
	ns /= b->per_second;
	return ns < MOST_NS ? ns : MOST_NS;
}

void bucket_init(struct bucket *b, uint64_t per_second, uint64_t burst)
{
	*b = (struct bucket){ .per_second = per_second };
	if (per_second)
		b->burst_ns = cost_ns(b, burst);
}

uint64_t bucket_take(struct bucket *b, uint64_t n, uint64_t now_ns)
{
	uint64_t cost;

	if (!b->per_second)
		return 0;
	cost = cost_ns(b, n);
	if (b->paid_ns < now_ns)
		b->paid_ns = now_ns;
	/* a full bucket takes anything */
	if (b->paid_ns > now_ns && b->paid_ns - now_ns + cost > b->burst_ns)
		return b->paid_ns - now_ns + (cost < b->burst_ns ? cost : b->burst_ns) - b->burst_ns;
	b->paid_ns += cost;
	return 0;
}

void bucket_charge(struct bucket *b, uint64_t n, uint64_t now_ns)
{
	if (!b->per_second)
		return;
	if (b->paid_ns < now_ns)
		b->paid_ns = now_ns;
	b->paid_ns += cost_ns(b, n);
}
