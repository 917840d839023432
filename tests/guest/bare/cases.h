/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases - what a payload can be asked to do: a row of cases.c and a function
 *
 * The function is called on CPU 0 with interrupts on, devices found and none of them touched; when it returns, the
 * results are closed and the VM powers off.
 */
#ifndef TESTS_GUEST_BARE_CASES_H
#define TESTS_GUEST_BARE_CASES_H

#include "bare.h"

struct bare_case {
	const char *name;
	void (*run)(void);
	const char *what;
};

void case_find(void);
void case_start(void);
void case_bars(void);
void case_vectors(void);
void case_storm(void);
void case_bench(void);
void case_edu(void);

#endif
