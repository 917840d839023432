// SPDX-License-Identifier: BSD-3-Clause
/*
 * boot-test - boots a kernel under microvm and tells by its exit status whether it came up
 *
 * For continuous integration: a regular expression that must appear, one that must not, a
 * time limit, boot times over many boots, and JUnit XML.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/boot-test/boot_test.h"

#define EXIT_USAGE 2
#define EXIT_TIMEOUT 124
#define EXIT_SKIP 77

static const char usage_text[] =
	"usage: boot-test [options] -- MICROVM-OPTIONS...\n"
	"Boots a guest under microvm and judges its console.\n"
	"\n"
	"  --timeout DURATION   default 60s (ms, s, m)\n"
	"  --expect RE          pass as soon as a line matches; the guest is ended then\n"
	"  --until-exit         with --expect: let the guest end by itself, with status 0\n"
	"  --fail-on RE         fail as soon as a line matches; default 'Kernel panic|BUG:|Oops|rcu.*stall'\n"
	"  --repeat N           boot N times; prints p50 and p99\n"
	"  --junit FILE         write JUnit XML\n"
	"  --name NAME          what to call it; default 'boot'\n"
	"  --microvm PATH       default: $MICROVM, else the one beside this program, else 'microvm' in PATH\n"
	"  --verbose            pass the console through\n"
	"\n"
	"Without --expect a guest passes that powers off by itself. Exit status: 0 pass, 1 fail,\n"
	"124 timeout, 77 skip (no usable KVM here), 2 usage. Regular expressions are POSIX extended.\n";

static void usage_error(const char *what, const char *value)
{
	fprintf(stderr, "boot-test: %s: '%s' (see boot-test --help)\n", what, value);
	exit(EXIT_USAGE);
}

static uint64_t parse_duration(const char *s)
{
	static const struct { const char *suffix; uint64_t ns; } units[] = {
		{ "ms", 1000000 }, { "s", 1000000000 }, { "m", 60000000000 }, { "", 1000000000 },
	};
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (end != s && v && v <= 1000000 && !strcmp(end, units[i].suffix))
			return v * units[i].ns;
	usage_error("--timeout", s);
	return 0;
}

static unsigned parse_repeat(const char *s)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	if (*end || v < 1 || v > 10000)
		usage_error("--repeat", s);
	return (unsigned)v;
}

static void compile(regex_t *re, const char *option, const char *text)
{
	if (regcomp(re, text, REG_EXTENDED | REG_NOSUB))
		usage_error(option, text);
}

/* The microvm beside this program if there is one. */
static const char *find_microvm(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("/microvm"));
	char *slash;

	if (getenv("MICROVM"))
		return getenv("MICROVM");
	if (n <= 0)
		return "microvm";
	path[n] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash, "/microvm");
	return access(path, X_OK) ? "microvm" : path;
}

static void parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "timeout", 1, NULL, 't' }, { "expect", 1, NULL, 'e' }, { "fail-on", 1, NULL, 'f' },
		{ "repeat", 1, NULL, 'r' }, { "junit", 1, NULL, 'j' }, { "name", 1, NULL, 'n' },
		{ "microvm", 1, NULL, 'm' }, { "until-exit", 0, NULL, 'u' }, { "verbose", 0, NULL, 'v' },
		{ "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	const char *microvm = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
		switch (c) {
		case 't': o->timeout_ns = parse_duration(optarg); break;
		case 'e': o->expect = optarg; break;
		case 'f': o->fail_on = optarg; break;
		case 'r': o->repeat = parse_repeat(optarg); break;
		case 'j': o->junit = optarg; break;
		case 'n': o->name = optarg; break;
		case 'm': microvm = optarg; break;
		case 'u': o->until_exit = true; break;
		case 'v': o->verbose = true; break;
		case 'h': fputs(usage_text, stdout); exit(0);
		default: exit(EXIT_USAGE);
		}
	}
	if (optind == argc)
		usage_error("no options for microvm", "--");
	/* argv[optind - 1] is "--" or an option: its place takes the program. */
	o->argv = argv + optind - 1;
	o->argv[0] = (char *)(microvm ? microvm : find_microvm());
	if (o->expect)
		compile(&o->expect_re, "--expect", o->expect);
	compile(&o->fail_re, "--fail-on", o->fail_on);
}

static int status_of(const struct outcome *r, unsigned n)
{
	unsigned count[4] = { 0 };

	for (unsigned i = 0; i < n; i++)
		count[r[i].verdict]++;
	if (count[V_FAIL])
		return 1;
	if (count[V_TIMEOUT])
		return EXIT_TIMEOUT;
	return count[V_SKIP] ? EXIT_SKIP : 0;
}

int main(int argc, char **argv)
{
	struct options o = {
		.timeout_ns = UINT64_C(60000000000), .repeat = 1, .name = "boot",
		.fail_on = "Kernel panic|BUG:|Oops|rcu.*stall",
	};
	static struct console console;
	struct outcome *r;
	uint64_t *boot_ns;
	unsigned passed = 0;
	int e;

	parse(&o, argc, argv);
	r = calloc(o.repeat, sizeof(*r));
	boot_ns = calloc(o.repeat, sizeof(*boot_ns));
	if (!r || !boot_ns)
		return 1;
	run_cancellable();
	for (unsigned i = 0; i < o.repeat; i++) {
		run_once(&o, &r[i], &console);
		report_outcome(&o, i, &r[i], &console);
		if (r[i].verdict == V_PASS)
			boot_ns[passed++] = r[i].boot_ns;
	}
	report_times(boot_ns, passed);
	if (o.junit && (e = report_junit(&o, r, o.repeat))) {
		fprintf(stderr, "boot-test: %s: %s\n", o.junit, strerror(-e));
		return 1;
	}
	return status_of(r, o.repeat);
}
