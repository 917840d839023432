// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"

static bool __attribute__((format(printf, 4, 0))) read_path(const char *root, char *buf, size_t cap, const char *fmt,
							    va_list ap)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	size_t used = 0;
	ssize_t n;
	int len = snprintf(path, sizeof(path), "%s", root);

	buf[0] = '\0';
	if (len < 0 || (size_t)len >= sizeof(path))
		return false;
	if (vsnprintf(path + len, sizeof(path) - (size_t)len, fmt, ap) >= (int)sizeof(path) - len)
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return false;
	while (used < cap - 1 && (n = read(fd, buf + used, cap - 1 - used)) > 0)
		used += (size_t)n;
	buf[used] = '\0';
	return used > 0;
}

bool file_read(const char *root, char *buf, size_t cap, const char *fmt, ...)
{
	va_list ap;
	bool good;

	va_start(ap, fmt);
	good = read_path(root, buf, cap, fmt, ap);
	va_end(ap);
	return good;
}

bool file_line(const char *root, char *buf, size_t cap, const char *fmt, ...)
{
	va_list ap;
	bool good;

	va_start(ap, fmt);
	good = read_path(root, buf, cap, fmt, ap);
	va_end(ap);
	buf[strcspn(buf, "\n")] = '\0';
	return good;
}

long long file_number(const char *root, long long otherwise, const char *fmt, ...)
{
	char buf[64], *end;
	long long n;
	va_list ap;
	bool good;

	va_start(ap, fmt);
	good = read_path(root, buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (!good)
		return otherwise;
	n = strtoll(buf, &end, 0);
	return end == buf ? otherwise : n;
}

static const char *next_line(const char *line)
{
	line = strchr(line, '\n');
	return line ? line + 1 : NULL;
}

bool misc_has(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *line = text; line; line = next_line(line)) {
		const char *name = line + strspn(line, " 0123456789");

		if (!strncmp(name, word, len) && (name[len] == '\n' || !name[len]))
			return true;
	}
	return false;
}

uint64_t field_number(const char *text, const char *key, int base)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = next_line(line))
		if (!strncmp(line, key, len) && line[len] == ':')
			return strtoull(line + len + 1, NULL, base);
	return 0;
}
