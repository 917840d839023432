/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bare - what a payload without a kernel stands on: types, registers, text, results, memory, time
 *
 * Everything is mapped one to one, so an address is a pointer; memory of bare_alloc() is never given back.
 * check() and finish() give results as TAP; a payload may have its own.
 */
#ifndef TESTS_GUEST_LIB_BARE_H
#define TESTS_GUEST_LIB_BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (UINT64_C(1) << (n))

/* Rings and tables in memory are there before the device hears of them. */
#define DSB() __asm__ volatile("dsb sy" ::: "memory")
#define DMB() __asm__ volatile("dmb sy" ::: "memory")
#define ISB() __asm__ volatile("isb" ::: "memory")

/*
 * Registers: rd8(address), wr8(address, value) and so on to 64; all memory that was written before a write is seen
 * before it. One plain instruction each: a compiler's post-indexed store is one that KVM cannot decode.
 */
#define BARE_ACCESSORS(bits, ldr, str, reg)						\
	static inline uint##bits##_t rd##bits(uint64_t a)				\
	{										\
		uint##bits##_t v;							\
											\
		__asm__ volatile(ldr " %" reg "0, [%1]" : "=r"(v) : "r"(a) : "memory");	\
		return v;								\
	}										\
	static inline void wr##bits(uint64_t a, uint##bits##_t v)			\
	{										\
		DSB();									\
		__asm__ volatile(str " %" reg "0, [%1]" :: "r"(v), "r"(a) : "memory");	\
	}

BARE_ACCESSORS(8, "ldrb", "strb", "w")
BARE_ACCESSORS(16, "ldrh", "strh", "w")
BARE_ACCESSORS(32, "ldr", "str", "w")
BARE_ACCESSORS(64, "ldr", "str", "x")

/* sysreg: the name in quotes, or S<op0>_<op1>_C.. */
#define SYSREG_READ(name) ({ uint64_t v_; __asm__ volatile("mrs %0, " name : "=r"(v_) :: "memory"); v_; })
#define SYSREG_WRITE(name, v) __asm__ volatile("msr " name ", %0" :: "r"((uint64_t)(v)) : "memory")

void *memset(void *to, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
bool streq(const char *a, const char *b);

/* A payload's own: what start.S calls on the first CPU. */
void bare_main(const void *tree);
/* All of the library, in order: UART, CPUs, interrupts (on, then), PCI, devices found and none of them touched. */
void bare_init(const void *tree);

/* The UART that the tree names; before it nothing is said. */
void uart_init(void);
uint64_t uart_regs(void);
/* From now on lines go to @sink, where it is one, and not to the UART. */
void say_to(void (*sink)(const char *line, unsigned len));
/* Text: %s %d %u %x, with l for 64 bits, and a width with zeros (%08x); ends no line by itself. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_list(const char *fmt, __builtin_va_list ap) __attribute__((format(printf, 1, 0)));

/* Results: one line each, counted. check() returns what it was given. */
bool check(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void skip_check(const char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line that is no result. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The closing line, and PSCI SYSTEM_OFF. */
void finish(void) __attribute__((noreturn));
/* "fatal: " and the text; SYSTEM_OFF without a closing line, which is how a test knows. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Zeroed; @align a power of two. Fatal where there is no more. */
void *bare_alloc(size_t size, size_t align);

/* The word KEY=... of the command line, or NULL; what follows = up to the next blank is copied to a static place. */
const char *option(const char *key);
unsigned long option_number(const char *key, unsigned long otherwise);

/* Time, by the virtual counter. */
uint64_t ticks(void);
uint64_t ticks_to_ns(uint64_t t);
/* Of @n > 0 spans in ticks, which it sorts; in nanoseconds. */
uint64_t median_ns(uint64_t *spans, unsigned n);
uint64_t deadline_ms(unsigned ms);
bool passed(uint64_t deadline);
void wait_us(unsigned us);

#endif
