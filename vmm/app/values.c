// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Digits at the start of *@text, which moves on to what follows them. */
static bool take_digits(const char **text, uint64_t *ret_n)
{
	const char *p = *text;
	uint64_t n = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	*text = p;
	*ret_n = n;
	return true;
}

int value_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret_n,
		 struct err *err)
{
	const char *p = text;
	uint64_t n;

	if (!take_digits(&p, &n) || *p || n < min || n > max)
		return err_set(err, -EINVAL, "%s: '%s' is not a number from %" PRIu64 " to %" PRIu64,
			       what, text, min, max);
	*ret_n = n;
	return 0;
}

/* @bare: what a number without a suffix counts, in bytes. */
static int parse_size(const char *what, const char *text, uint64_t bare, uint64_t *ret_bytes, struct err *err)
{
	const struct { const char *suffix; uint64_t unit; } units[] = {
		{ "", bare }, { "K", KIB }, { "M", MIB }, { "G", GIB }, { "T", 1024 * GIB },
	};
	const char *p = text;
	uint64_t n;

	if (!take_digits(&p, &n))
		goto bad;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcasecmp(p, units[i].suffix))
			continue;
		if (__builtin_mul_overflow(n, units[i].unit, &n))
			return err_set(err, -EINVAL, "%s: '%s' is too large", what, text);
		if (!n)
			return err_set(err, -EINVAL, "%s: must be above 0", what);
		*ret_bytes = n;
		return 0;
	}
bad:
	return err_set(err, -EINVAL, "%s: '%s' is not a size (512M, 2G; a bare number is %s)", what, text,
		       bare == MIB ? "MiB" : "bytes");
}

int value_size(const char *what, const char *text, uint64_t *ret_bytes, struct err *err)
{
	return parse_size(what, text, MIB, ret_bytes, err);
}

int value_bytes(const char *what, const char *text, uint64_t *ret_bytes, struct err *err)
{
	return parse_size(what, text, 1, ret_bytes, err);
}

int value_duration_or_0(const char *what, const char *text, uint64_t *ret_ns, struct err *err)
{
	static const struct { const char *suffix; uint64_t unit; } units[] = {
		{ "", 1000000000 }, { "ms", 1000000 }, { "s", 1000000000 },
		{ "m", UINT64_C(60000000000) }, { "h", UINT64_C(3600000000000) },
	};
	const char *p = text;
	uint64_t n;

	if (!take_digits(&p, &n))
		goto bad;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(p, units[i].suffix))
			continue;
		if (__builtin_mul_overflow(n, units[i].unit, &n) || n > INT64_MAX)
			return err_set(err, -EINVAL, "%s: '%s' is too long", what, text);
		*ret_ns = n;
		return 0;
	}
bad:
	return err_set(err, -EINVAL, "%s: '%s' is not a duration (500ms, 60s, 2m; a bare number is seconds)",
		       what, text);
}

int value_duration(const char *what, const char *text, uint64_t *ret_ns, struct err *err)
{
	uint64_t ns;
	int ret = value_duration_or_0(what, text, &ns, err);

	if (!ret && !ns)
		return err_set(err, -EINVAL, "%s: must be above 0", what);
	if (!ret)
		*ret_ns = ns;
	return ret;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int value_mac(const char *what, const char *text, uint8_t ret_mac[6], struct err *err)
{
	static const uint8_t zero[6];
	uint8_t mac[6];

	if (strlen(text) != 17)
		goto bad;
	for (unsigned i = 0; i < 6; i++) {
		int hi = hex_digit(text[i * 3]), lo = hex_digit(text[i * 3 + 1]);

		if (hi < 0 || lo < 0 || (i < 5 && text[i * 3 + 2] != ':'))
			goto bad;
		mac[i] = (uint8_t)(hi << 4 | lo);
	}
	if (mac[0] & 1)
		return err_set(err, -EINVAL, "%s: '%s' is a multicast address (the first byte must be even)",
			       what, text);
	if (!memcmp(mac, zero, sizeof(mac)))
		return err_set(err, -EINVAL, "%s: '%s' is no address", what, text);
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
bad:
	return err_set(err, -EINVAL, "%s: '%s' is not a MAC address (like 02:00:00:00:00:01)", what, text);
}

int value_choice(const char *what, const char *text, const struct choice *choices, int *ret_value,
		 struct err *err)
{
	char list[160] = "";
	size_t len = 0;

	for (const struct choice *c = choices; c->name; c++) {
		if (!strcmp(text, c->name)) {
			*ret_value = c->value;
			return 0;
		}
		if (len < sizeof(list))
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ", " : "",
						c->name);
	}
	return err_set(err, -EINVAL, "%s: '%s' is none of %s", what, text, list);
}

