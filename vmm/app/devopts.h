/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devopts - the key=value options of one device
 *
 * What:   "tap0,vhost=on,queues=2" or the same as a JSON object, turned into a dev_config by
 *         a table of keys. A new device is a new table.
 * Not:    whether tap0 exists: that is found when it is opened.
 * Trust:  text from the command line or a configuration file; any bytes.
 * Thread: set-up.
 */
#ifndef VMM_APP_DEVOPTS_H
#define VMM_APP_DEVOPTS_H

#include "vmm/app/values.h"
#include "vmm/base/err.h"
#include "vmm/machine/config.h"

#define DEVOPTS_MAX 64 /* keys in one device option, repeats counted */

/* One key and its value, as written. */
struct devopt {
	const char *key;   /* never NULL */
	const char *value; /* NULL: the key stood alone */
};

/* A key that a kind of device knows. A table of them ends with a NULL name. */
struct devopt_key {
	const char *name, *arg, *help; /* for usage and man page: "queues", "N", "..." */
	bool repeat;  /* may be given more than once */
	bool bare_on; /* "key" alone means "key=on" */
	/* @what: "--net: queues=9", for messages; @value is kept by reference. */
	int (*set)(struct dev_config *d, const char *what, const char *value, struct err *err);
};

/* A kind of device: how its option is called, what it knows. */
struct devopt_kind {
	const char *option;            /* "net", the name without dashes; also the stem of default ids */
	const char *first_key;         /* what a first word without '=' is the value of... */
	const char *first_word;        /* ...but for this, which is a key; or NULL */
	enum dev_kind kind;
	const struct devopt_key *keys; /* without "id" and "transport", which every device has */
	/* After all keys: what must hold between them. */
	int (*check)(struct dev_config *d, const char *what, struct err *err);
};

extern const struct devopt_kind devopt_balloon, devopt_disk, devopt_fs, devopt_net, devopt_pmem, devopt_vfio, devopt_vhost_user, devopt_vsock;
extern const struct devopt_key devopt_common[];
extern const struct choice devopt_transports[]; /* enum transport; --transport's too */

/*
 * Cuts @text at its commas, in place, into at most @cap pairs that point into it.
 * -EINVAL: empty parts, too many.
 */
int devopts_split(const struct devopt_kind *kind, char *text, struct devopt *opts, unsigned cap,
		  unsigned *ret_n, struct err *err);
/*
 * Fills @d, which must be zeroed, from @n pairs, whose strings it goes on referring to. The
 * id stays empty where none is given. -EINVAL: an unknown or repeated key, a bad value.
 */
int devopts_apply(const struct devopt_kind *kind, const struct devopt *opts, unsigned n,
		  struct dev_config *d, struct err *err);

#endif
