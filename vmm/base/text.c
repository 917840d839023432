// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Bytes that the lead byte announces, 0 for what cannot lead. */
static size_t announced(uint8_t lead)
{
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	if (lead >= 0xf0 && lead <= 0xf4)
		return 4;
	return 0;
}

/* The second byte's range depends on the lead: no overlong form, surrogate or value above U+10FFFF. */
static bool second_fits(uint8_t lead, uint8_t second)
{
	uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

	/* U+0080 to U+009F: terminals take them for escape sequences */
	if (lead == 0xc2)
		low = 0xa0;
	return second >= low && second <= high;
}

size_t text_char(const char *s, size_t len)
{
	const uint8_t *b = (const uint8_t *)s;
	size_t n = len ? announced(b[0]) : 0;

	if (!n || n > len)
		return 0;
	if (n == 1)
		return b[0] >= 0x20 && b[0] != 0x7f;
	if (!second_fits(b[0], b[1]))
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

void text_clean(char *s)
{
	size_t len = strlen(s);
	size_t i = 0;

	while (i < len) {
		size_t n = text_char(s + i, len - i);

		if (!n) {
			s[i] = '?';
			n = 1;
		}
		i += n;
	}
}
