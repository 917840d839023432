/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpus - the vCPU threads
 *
 * What:   one thread a vCPU around vcpu_run(): MMIO goes to the bus, an end of the VM to
 *         machine_stop().
 * Not:    what an exit means (arch/arm64/vcpu.h).
 * Trust:  the guest decides what its threads run into; nothing it does ends them early.
 * Thread: start and stop on the loop's thread.
 * Source: KVM api.rst 4.10 (KVM_RUN), 5 (immediate_exit); Arm DEN0022 (PSCI).
 */
#ifndef VMM_MACHINE_CPUS_H
#define VMM_MACHINE_CPUS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "arch/arm64/vcpu.h"
#include "vmm/base/err.h"

struct bus;
struct cpus;
struct hyp;
struct machine;

/* Calls a vCPU out of the guest. A real-time signal would be refused where too many signals wait (RLIMIT_SIGPENDING). */
#define CPUS_SIGNAL_KICK SIGURG

/*
 * Creates @n vCPUs (KVM_CREATE_VCPU, INIT); no threads yet. Every vCPU before the interrupt
 * controller. @has_device_memory: the guest reaches memory of devices of the host's. @h borrowed. -ENOMEM, and the errors of vcpu_probe_features() and vcpu_new().
 */
int cpus_new(const struct hyp *h, unsigned n, bool has_device_memory, struct cpus **ret_c, struct err *err);
/* Stops the threads where they run, then closes the vCPUs; NULL is fine. */
void cpus_free(struct cpus *c);

/* After the interrupt controller's INIT. @steal_gpa: VCPU_STEAL_SIZE bytes a vCPU, 0: none. vcpu_late_init()'s errors. */
int cpus_late_init(struct cpus *c, gpa_t steal_gpa, struct err *err);
/* Where vCPU 0 starts, and the device tree's GPA; the others wait for PSCI CPU_ON. vcpu_set_entry()'s errors. */
int cpus_set_entry(struct cpus *c, gpa_t entry, gpa_t dtb, struct err *err);
/* Borrowed, as is what cpus_get() returns; @i below cpus_count(). */
const struct vcpu_features *cpus_features(const struct cpus *c);
struct vcpu *cpus_get(struct cpus *c, unsigned i);
unsigned cpus_count(const struct cpus *c);

/*
 * Makes the threads, which wait for cpus_go(). @arm: what each does before that, with its vCPU's descriptor; NULL:
 * nothing. Returns when all have done it. -EAGAIN, -ENOMEM: there is no thread; @arm's errors: none enters the guest.
 */
int cpus_start(struct cpus *c, struct machine *m, struct bus *bus, int (*arm)(int vcpu_fd));

/* They enter the guest. The same thread as cpus_start()'s; again is fine. */
void cpus_go(struct cpus *c);
/*
 * Kicks every thread out of the guest and waits until each has said that it is through; they sleep until the
 * process ends. Idempotent. The loop must answer no more calls (loop_stop()). False: after three seconds one is still
 * in KVM, and may come out at any time: what it touches must stay.
 */
bool cpus_stop(struct cpus *c);

/* KVM_RUN returns of all vCPUs; exact once stopped. */
uint64_t cpus_exits(const struct cpus *c);

#endif
