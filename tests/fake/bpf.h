/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bpf - the kernel's machine for filters of system calls, to ask a filter what it would say
 *
 * What:   classic BPF as seccomp(2) allows it: loads of 32-bit words of struct seccomp_data, jumps,
 *         arithmetic, returns.
 * Not:    packets.
 * Source: seccomp(2); Linux net/core/filter.c, kernel/seccomp.c (seccomp_check_filter).
 */
#ifndef TESTS_FAKE_BPF_H
#define TESTS_FAKE_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>

/* What the @len instructions of @prog return for @data; a program that no kernel would take is KILL_PROCESS. */
uint32_t bpf_run(const struct sock_filter *prog, unsigned len, const struct seccomp_data *data);
/* The same for call @nr of this machine's own architecture, with arguments @args. */
uint32_t bpf_ask(const struct sock_filter *prog, unsigned len, int nr, const uint64_t args[6]);

#endif
