// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the distribution's static libraries, built for glibc, want of the C library and musl does
 * not have: the checking forms of a few functions (Linux Standard Base 5.0, libc), which stop the
 * program where a buffer is smaller than what it is said to be. And what glibc does and musl does
 * not: a static PIE relocates itself, and has to protect what it has relocated. And open()
 * without the fcntl() by which musl makes sure that O_CLOEXEC was obeyed, as no kernel before
 * Linux 2.6.23 did. And a failed assertion's text by calls that are allowed.
 *
 * Only for the program, which is linked with musl; the tests are linked with glibc.
 */
#include "vmm/base/libc.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/log.h"

extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden"))); /* the linker's */

/* Called by libraries' objects only: no header declares them. */
__attribute__((format(printf, 5, 6)))
int __snprintf_chk(char *s, size_t max, int flag, size_t room, const char *format, ...);
__attribute__((format(printf, 5, 0)))
int __vsnprintf_chk(char *s, size_t max, int flag, size_t room, const char *format, va_list ap);
char *__strncpy_chk(char *dst, const char *src, size_t n, size_t room);
_Noreturn void __assert_fail(const char *what, const char *file, int line, const char *function);

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

/* musl's says it by writev(2), which our filters of system calls deny: nobody would learn of it. */
_Noreturn void __assert_fail(const char *what, const char *file, int line, const char *function)
{
	char text[300];

	(void)function;
	snprintf(text, sizeof(text), "assertion failed: %s (%s:%d)", what, file, line);
	log_stderr(text);
	abort();
}

int libc_protect_relro(void)
{
	uintptr_t base = (uintptr_t)&__ehdr_start, page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(base + __ehdr_start.e_phoff);

	for (unsigned i = 0; i < __ehdr_start.e_phnum; i++) {
		uintptr_t start = (base + ph[i].p_vaddr) & ~(page - 1);
		uintptr_t end = (base + ph[i].p_vaddr + ph[i].p_memsz) & ~(page - 1);

		if (ph[i].p_type == PT_GNU_RELRO && mprotect((void *)start, end - start, PROT_READ))
			return -errno;
	}
	return 0;
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
