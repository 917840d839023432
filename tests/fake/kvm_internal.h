/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake/kvm_internal - what kvm.c and kvm_irq.c share
 */
#ifndef TESTS_FAKE_KVM_INTERNAL_H
#define TESTS_FAKE_KVM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/fake/kvm.h"

#define MAX_IRQFDS 1024
#define MAX_IOEVENTFDS 256
#define MAX_SLOTS 32
#define MAX_CAPS 32
#define MAX_FAILS 64
#define LOG_SIZE 65536
#define MSI_IDS 256 /* device ids and events that are counted one by one */

struct fake_irqfd {
	int fd;      /* as the caller named it */
	int dup;     /* ours */
	long id;     /* the eventfd's */
	uint32_t gsi;
	uint64_t residue;
};

struct fake_ioeventfd {
	int fd;
	gpa_t gpa;
	unsigned len;
	int64_t match;
};

struct fake_slot {
	uint32_t slot;
	gpa_t gpa;
	uint64_t size;
	char *hva;
	bool readonly;
};

struct hyp {
	pthread_mutex_t lock;
	int kvm_fd, vm_fd;
	bool inited, has_its;
	uint32_t nr_spis;
	unsigned max_routes;
	struct { long cap; int value; } caps[MAX_CAPS];
	unsigned nr_caps;

	struct hyp_route table[FAKE_KVM_MAX_GSI]; /* by GSI */
	unsigned table_end; /* one more than the highest GSI in it */
	unsigned nr_routes;
	struct hyp_route next[FAKE_KVM_MAX_GSI]; /* one that is being looked at */
	struct fake_irqfd irqfds[MAX_IRQFDS];
	unsigned nr_irqfds;
	struct fake_ioeventfd ioeventfds[MAX_IOEVENTFDS];
	unsigned nr_ioeventfds;
	struct fake_slot slots[MAX_SLOTS];
	unsigned nr_slots;

	uint64_t injected, lost;
	void (*on_inject)(void *ctx);
	void *on_inject_ctx;
	uint64_t msis[MSI_IDS][MSI_IDS];
	uint64_t spis[FAKE_KVM_MAX_PIN];
	bool levels[FAKE_KVM_MAX_PIN];

	struct fake_call *log; /* log_size entries, at most LOG_SIZE: then the newest replace the oldest */
	unsigned log_size;
	uint64_t logged;
	uint64_t counts[FAKE_NR_OPS];
	struct { enum fake_op op; unsigned nth; int err; } fails[MAX_FAILS];
	unsigned nr_fails;
	const char *complaint;
	const struct hyp_watch *watch;
	void *watch_ctx;

	pthread_t thread;
	atomic_bool thread_stop;
	bool thread_runs;
};

/* All under h->lock. */
void fake_complain(struct hyp *h, const char *what);
int fake_log_call(struct hyp *h, struct fake_call call); /* returns the call's result */
/* 0, or the error that this call of @op is to return. Counts, so asked once a call. */
int fake_failure(struct hyp *h, enum fake_op op);

#endif
