/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config_json - --config FILE: the options of the command line as a JSON object
 *
 * What:   the names and values of the command line without dashes. Flags are true or false,
 *         values strings or integers; what may be repeated is one value or an array of them; a
 *         device is its text ("tap0,queues=2") or an object ({"tap": "tap0", "queues": 2}).
 * Not:    what the options mean: they go through options.h one by one.
 * Trust:  any bytes; at most 1 MiB.
 * Thread: set-up.
 */
#ifndef VMM_APP_CONFIG_JSON_H
#define VMM_APP_CONFIG_JSON_H

#include "vmm/base/err.h"

struct options;

/* Applies @path to @o. -EINVAL, -errno of the file, -ENOMEM, with a sentence that names file and key. */
int config_json_load(struct options *o, const char *path, struct err *err);
/* The same for @len bytes of text; @name for messages. */
int config_json_text(struct options *o, const char *name, const char *text, unsigned long len, struct err *err);

#endif
