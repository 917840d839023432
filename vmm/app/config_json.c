// SPDX-License-Identifier: BSD-3-Clause
/*
 * Everything is turned into the strings of the command line and goes through the same table,
 * so a key can never mean something else in a file. Arrays of values come in their order.
 */
#include "vmm/app/config_json.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/app/options.h"
#include "vmm/base/cleanup.h"

#define MAX_FILE (1024 * 1024) /* bytes */

/* A scalar as the command line would have it. NULL: no scalar, or no memory. */
static const char *scalar(struct options *o, const json_t *v)
{
	char number[24];

	if (json_is_string(v))
		return options_keep(o, json_string_value(v));
	if (json_is_boolean(v))
		return json_is_true(v) ? "on" : "off";
	if (!json_is_integer(v))
		return NULL;
	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
	return options_keep(o, number);
}

static int bad_value(const char *key, const char *wanted, struct err *err)
{
	return err_set(err, -EINVAL, "%s: must be %s", key, wanted);
}

static int set_flag(struct options *o, const char *key, const json_t *v, struct err *err)
{
	if (!json_is_boolean(v))
		return bad_value(key, "true or false", err);
	return json_is_true(v) ? options_set(o, key, NULL, err) : 0;
}

static int set_text(struct options *o, const char *key, const json_t *v, struct err *err)
{
	const char *text = json_is_boolean(v) ? NULL : scalar(o, v);

	return text ? options_set(o, key, text, err) : bad_value(key, "a string or an integer", err);
}

/* Pairs of an object; an array under a key is that key several times ("fd": [3, 4]). */
static int object_pairs(struct options *o, const char *key, json_t *v, struct devopt *opts, unsigned *ret_n,
			struct err *err)
{
	const char *name;
	unsigned n = 0;
	json_t *value;

	json_object_foreach(v, name, value) {
		size_t count = json_is_array(value) ? json_array_size(value) : 1;
		const char *kept = options_keep(o, name);

		for (size_t i = 0; i < count; i++) {
			const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
			const char *text = scalar(o, item);

			if (!text || !kept)
				return err_set(err, -EINVAL, "%s: %s: must be a string, an integer, true or false",
					       key, name);
			if (n == DEVOPTS_MAX)
				return err_set(err, -E2BIG, "%s: more than %d keys", key, DEVOPTS_MAX);
			opts[n++] = (struct devopt){ .key = kept, .value = text };
		}
	}
	*ret_n = n;
	return 0;
}

static int set_device(struct options *o, const struct option *opt, json_t *v, struct err *err)
{
	struct devopt opts[DEVOPTS_MAX];
	const char *key = opt->name;
	unsigned n = 0;
	int ret;

	if (opt->flags & OPTION_ALONE && json_is_boolean(v))
		return set_flag(o, key, v, err);
	if (json_is_string(v))
		return set_text(o, key, v, err);
	if (!json_is_object(v))
		return bad_value(key, "a string or an object", err);
	ret = object_pairs(o, key, v, opts, &n, err);
	return ret ? ret : options_set_device(o, key, opts, n, err);
}

static int set_one(struct options *o, const struct option *opt, json_t *v, struct err *err)
{
	if (opt->flags & OPTION_FLAG)
		return set_flag(o, opt->name, v, err);
	if (opt->device)
		return set_device(o, opt, v, err);
	return set_text(o, opt->name, v, err);
}

static int set_key(struct options *o, const char *key, json_t *v, struct err *err)
{
	const struct option *opt = options_find(key);
	int ret = 0;

	if (!opt)
		return err_set(err, -EINVAL, "unknown key '%s'", key);
	if (!strcmp(key, "config") || !strcmp(key, "help") || !strcmp(key, "version"))
		return err_set(err, -EINVAL, "%s: only on the command line", key);
	if (!(opt->flags & OPTION_REPEAT) || !json_is_array(v))
		return set_one(o, opt, v, err);
	for (size_t i = 0; i < json_array_size(v) && !ret; i++)
		ret = set_one(o, opt, json_array_get(v, i), err);
	return ret;
}

int config_json_text(struct options *o, const char *name, const char *text, unsigned long len, struct err *err)
{
	json_error_t where;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	struct err inner = { "" };
	const char *key;
	json_t *value;
	int ret = 0;

	if (!root)
		return err_set(err, -EINVAL, "config '%s': line %d: %s", name, where.line, where.text);
	if (!json_is_object(root))
		ret = err_set(&inner, -EINVAL, "must be one object");
	else
		json_object_foreach(root, key, value) {
			ret = set_key(o, key, value, &inner);
			if (ret)
				break;
		}
	json_decref(root);
	return ret ? err_set(err, ret, "config '%s': %s", name, inner.text) : 0;
}

/* The whole of a regular file; *@ret_text is the caller's to free. */
static int read_all(const char *path, char **ret_text, size_t *ret_len, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return err_set(err, -errno, "config '%s': %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "config '%s': not a regular file", path);
	if (st.st_size > MAX_FILE)
		return err_set(err, -EFBIG, "config '%s': larger than %d bytes", path, MAX_FILE);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_set(err, -ENOMEM, "config '%s': out of memory", path);
	n = read(fd, text, (size_t)st.st_size);
	if (n < 0)
		return err_set(err, -errno, "config '%s': %s", path, strerror(errno));
	*ret_text = steal_ptr(text);
	*ret_len = (size_t)n;
	return 0;
}

int config_json_load(struct options *o, const char *path, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int ret = read_all(path, &text, &len, err);

	return ret ? ret : config_json_text(o, path, text, len, err);
}
