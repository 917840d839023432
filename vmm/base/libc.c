// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the distribution's static libraries, built for glibc, want of the C library and musl does
 * not have: the checking forms of a few functions (Linux Standard Base 5.0, libc), which stop the
 * program where a buffer is smaller than what it is said to be.
 *
 * Only for the program, which is linked with musl; the tests are linked with glibc.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called by libraries' objects only: no header declares them. */
__attribute__((format(printf, 5, 6)))
int __snprintf_chk(char *s, size_t max, int flag, size_t room, const char *format, ...);
__attribute__((format(printf, 5, 0)))
int __vsnprintf_chk(char *s, size_t max, int flag, size_t room, const char *format, va_list ap);
char *__strncpy_chk(char *dst, const char *src, size_t n, size_t room);

int __vsnprintf_chk(char *s, size_t max, int flag, size_t room, const char *format, va_list ap)
{
	(void)flag;
	if (room < max)
		abort();
	return vsnprintf(s, max, format, ap);
}

int __snprintf_chk(char *s, size_t max, int flag, size_t room, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vsnprintf_chk(s, max, flag, room, format, ap);
	va_end(ap);
	return n;
}

char *__strncpy_chk(char *dst, const char *src, size_t n, size_t room)
{
	if (room < n)
		abort();
	return strncpy(dst, src, n);
}
