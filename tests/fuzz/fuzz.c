// SPDX-License-Identifier: BSD-3-Clause
/*
 * Linked into every harness. The rigs of tests/unit assert by Check, which would write a pipe for
 * each assertion and unwind to a suite that is not there: its two functions are replaced.
 */
#include "tests/fuzz/fuzz.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/log.h"

const char *__asan_default_options(void);
int LLVMFuzzerInitialize(int *argc, char ***argv);

_Noreturn void fuzz_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: must hold: %s\n", file, line, what);
	abort();
}

void _mark_point(const char *file, int line)
{
	(void)file, (void)line;
}

void _ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: %s: ", file, line, expr);
	va_start(ap, msg);
	if (msg)
		vfprintf(stderr, msg, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

/* What is freed is kept from use for a while: within an input is enough. */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:detect_stack_use_after_return=0";
}

/* What guests may cause to be logged is limited by time, which is no help here. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_init(STDERR_FILENO, LOG_ERROR, LOG_TEXT);
	return 0;
}
