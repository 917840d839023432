/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sparse - how long walks are where each step is emulated
 *
 * The Makefile sets SPARSE to a prime for tests that run as arm64: sweeps take each SPARSE-th offset, storms and random walks that
 * share of their rounds. The same tests take every step with the sanitizers.
 */
#ifndef TESTS_FAKE_SPARSE_H
#define TESTS_FAKE_SPARSE_H

#ifndef SPARSE
#define SPARSE 1
#endif

#endif
