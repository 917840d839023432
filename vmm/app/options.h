/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options - the command line, turned into a struct config
 *
 * What:   one table of options, which is the parser's, the usage text and, by a test, the man
 *         page's. Devices' key=value parts are in devopts.h, --config in config_json.h.
 * Not:    whether files, taps or the host's abilities are there (vmm/machine).
 * Trust:  any bytes.
 * Thread: set-up.
 */
#ifndef VMM_APP_OPTIONS_H
#define VMM_APP_OPTIONS_H

#include <stdio.h>

#include "vmm/app/devopts.h"
#include "vmm/app/seccomp.h"
#include "vmm/base/err.h"
#include "vmm/machine/config.h"

#ifndef MICROVM_VERSION
#define MICROVM_VERSION "unknown"
#endif

struct option_text; /* strings that the configuration refers to */

/* What was asked for. Zeroed memory to begin with (static, or = { 0 }). */
struct options {
	bool help, version;
	bool doctor, json;        /* --doctor: the configuration is judged, not run; no kernel is needed */

	/* what the process gives up (sandbox.h, seccomp.h) */
	bool no_sandbox;
	enum seccomp_mode seccomp;
	int64_t uid, gid;         /* -1: not given */
	const char *cgroup;

	/* the parser's own */
	const char *config_file;
	uint64_t seen;            /* bit i: table entry i was given */
	struct option_text *texts;

	struct config config;
	char added[2048];         /* the parser's: --cmdline texts, joined by spaces */
};

enum option_flags {
	OPTION_REPEAT = 1, /* may be given more than once */
	OPTION_FLAG = 2,   /* takes no value */
	OPTION_ALONE = 4,  /* a device that may stand without a value: one that began with -- would be the next option */
};

struct option {
	const char *name;  /* without dashes */
	const char *arg;   /* of its value; NULL for flags */
	const char *help;
	unsigned flags;
	/* @value: NULL for flags; kept by reference. */
	int (*set)(struct options *o, const char *value, struct err *err);
	const struct devopt_kind *device; /* instead of @set: a device option */
};

/* The table; *@ret_n entries. */
const struct option *options_table(size_t *ret_n);

/*
 * Parses and completes: defaults, ids, the command line of the guest. --help and --version end
 * the parsing. @argv must live as long as @o. -EINVAL, -EOPNOTSUPP, -ENOMEM with a sentence.
 */
int options_parse(struct options *o, int argc, const char *const argv[], struct err *err);
/* Gives back what options_parse() allocated; @o->config is void after it. For tests: the program keeps it to its end. */
void options_free(struct options *o);

/* For config_json.c: one option by name, as if it stood on the command line. @value may be NULL. */
int options_set(struct options *o, const char *name, const char *value, struct err *err);
/* The same for a device option as pairs. */
int options_set_device(struct options *o, const char *name, const struct devopt *opts, unsigned n,
		       struct err *err);
/* The table's entry, or NULL. */
const struct option *options_find(const char *name);
/* A copy of @text that lives as long as @o, or NULL. */
char *options_keep(struct options *o, const char *text);

/* What --help prints, made of the tables. Errors are left in @out (ferror()). */
void options_usage(FILE *out);

#endif
