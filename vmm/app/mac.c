// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/mac.h"

#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>

/* FNV-1a, 64 bits, with a last mix so that names that differ in one letter differ everywhere. */
static uint64_t hash_more(uint64_t h, const char *text)
{
	do {
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	} while (*text++);
	return h;
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

void mac_default(const char *tap, uint8_t ret_mac[6])
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	struct utsname host;

	if (!tap && getrandom(&h, sizeof(h), GRND_NONBLOCK) == (ssize_t)sizeof(h)) {
		memcpy(ret_mac, &h, 6);
	} else {
		h = hash_more(h, uname(&host) ? "" : host.nodename);
		h = mix(hash_more(h, tap ? tap : ""));
		memcpy(ret_mac, &h, 6);
	}
	ret_mac[0] = (uint8_t)((ret_mac[0] & ~1u) | 2u);
}
