/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of cases, and the way from start.S to one of them. */
#include "cases.h"

static const struct bare_case cases[] = {
	{ "find", case_find, "finds each device by the device tree, and tries it" },
	{ "start", case_start, "starts each device, has it do one thing, and resets it; once more where that fails: host=" },
	{ "bars", case_bars, "moves BARs while the device runs" },
	{ "vectors", case_vectors, "two queues on one vector, none, and vectors that do not exist" },
	{ "storm", case_storm, "masks, unmasks and retargets a vector while it is signalled: n=, retargets=" },
	{ "edu", case_edu, "MSIs of QEMU's edu device, one by one: n=" },
	{ "bench", case_bench, "what an interrupt costs: n=, host=" },
};

void bare_main(const void *tree)
{
	const char *name;

	bare_init(tree);
	name = option("case");
	for (unsigned i = 0; name && i < ARRAY_LEN(cases); i++) {
		if (!streq(cases[i].name, name))
			continue;
		cases[i].run();
		finish();
	}
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		note("case=%s: %s", cases[i].name, cases[i].what);
	fatal("no such case: %s", name ? name : "(none)");
}
