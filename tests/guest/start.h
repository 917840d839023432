/*
 * start.h: what the C programs of this folder have instead of a C library: the entry point, system calls,
 * the memory functions that the compiler may call by itself, say() and numbers.
 *
 * To be included once in a program, which defines start_c(). arm64 only.
 */
#ifndef TESTS_GUEST_START_H
#define TESTS_GUEST_START_H

#include <asm/unistd.h>

/* The program. stack points at argc, argv[], NULL, envp[], NULL as the kernel left them. It never returns. */
void start_c(const unsigned long *stack);

/* The kernel enters with argc at sp; C wants a frame of its own below it. */
__asm__(".globl _start\n"
	"_start:\n"
	"	mov	x29, xzr\n"
	"	mov	x30, xzr\n"
	"	mov	x0, sp\n"
	"	and	sp, x0, #-16\n"
	"	bl	start_c\n");

/* A system call by its number, with up to six arguments: its result, or a negative errno. */
static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

static inline long sys3(long nr, long a, long b, long c)
{
	return sys6(nr, a, b, c, 0, 0, 0);
}

void *memset(void *to, int value, unsigned long n);
void *memcpy(void *to, const void *from, unsigned long n);

void *memset(void *to, int value, unsigned long n)
{
	volatile unsigned char *p = to;

	while (n--)
		*p++ = (unsigned char)value;
	return to;
}

void *memcpy(void *to, const void *from, unsigned long n)
{
	volatile unsigned char *p = to;
	const unsigned char *q = from;

	while (n--)
		*p++ = *q++;
	return to;
}

static inline unsigned long length(const char *s)
{
	unsigned long n = 0;

	while (s[n])
		n++;
	return n;
}

static inline void say(const char *s)
{
	sys3(__NR_write, 1, (long)s, (long)length(s));
}

static inline void say_number(unsigned long n)
{
	char buf[24];
	unsigned i = sizeof(buf) - 1;

	buf[i] = '\0';
	do {
		buf[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	say(buf + i);
}

static inline unsigned long to_number(const char *s)
{
	unsigned long n = 0;

	while (*s >= '0' && *s <= '9')
		n = n * 10 + (unsigned long)(*s++ - '0');
	return n;
}

#endif
