// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/pciaddr.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* @n hexadecimal digits or more, up to @max, then @end: the rest, or NULL. */
static const char *hex(const char *p, unsigned n, unsigned max, char end, unsigned long *ret)
{
	char *stop;
	size_t len = strspn(p, "0123456789abcdefABCDEF");

	if (len < n || len > max)
		return NULL;
	*ret = strtoul(p, &stop, 16);
	return *stop == end ? stop + (end != '\0') : NULL;
}

int pciaddr_parse(const char *text, char ret_address[PCIADDR_SIZE])
{
	unsigned long domain = 0, bus, slot, fn;
	const char *p = text;

	if (strlen(text) > strlen("00:00.0"))
		p = hex(p, 4, 8, ':', &domain);
	p = p ? hex(p, 2, 2, ':', &bus) : NULL;
	p = p ? hex(p, 2, 2, '.', &slot) : NULL;
	p = p ? hex(p, 1, 1, '\0', &fn) : NULL;
	if (!p || slot > 31 || fn > 7)
		return -EINVAL;
	snprintf(ret_address, PCIADDR_SIZE, "%04lx:%02lx:%02lx.%lx", domain, bus, slot, fn);
	return 0;
}
