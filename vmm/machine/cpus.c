// SPDX-License-Identifier: BSD-3-Clause
/*
 * Theory of operation
 *
 * A vCPU thread does nothing but KVM_RUN and what its exits ask for. Who wants it out sets
 * its immediate_exit byte and then sends CPUS_SIGNAL_KICK: the byte ends a KVM_RUN that is about
 * to start, the signal one that is under way. The handler is empty; what counts is EINTR.
 *
 * Threads are made before the last of what may fail or changes something of the user's, and stand at
 * a gate, a mutex that the starter holds, until they are let go.
 *
 * A thread that is through says so and sleeps until the process ends, which follows at once: an
 * exit and a join of its own would only make that later. After cpus_stop() no thread touches
 * anything, unless it says that one is still in KVM: a guest can give the kernel minutes of work in one
 * exit (a full command queue of its ITS), which no signal interrupts.
 */
#include "vmm/machine/cpus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/obj.h"
#include "vmm/core/bus.h"
#include "vmm/core/kvm.h"
#include "vmm/machine/internal.h"

#define PATIENCE_S 3 /* with a vCPU that does not come out of KVM */
#define CPU_STACK_SIZE (128 * 1024) /* bytes; the deepest MMIO handler needs a few KiB */

struct cpu {
	struct vcpu vcpu;
	struct cpus *all;
	pthread_t thread;
	bool started;
	atomic_int tid;      /* 0: the thread has not begun */
	atomic_bool leaving; /* its thread does not enter the guest again */
};

struct cpus {
	struct machine *machine;
	struct bus *bus;
	struct vcpu_features features;
	atomic_bool stopping;
	pthread_mutex_t gate;
	bool gate_shut;      /* the starter's */
	int (*arm)(int vcpu_fd); /* each thread's last act before the guest; NULL: none */
	pid_t pid;
	pthread_mutex_t lock;
	pthread_cond_t through; /* also: armed */
	unsigned running;    /* threads that are not through; under lock */
	unsigned armed;      /* threads that have tried; under lock, as is the next */
	int arm_error;
	unsigned nr;
	struct cpu cpu[];
};

static void empty_handler(int signo)
{
	(void)signo;
}

int cpus_new(const struct hyp *h, unsigned n, bool has_device_memory, struct cpus **ret_c, struct err *err)
{
	struct cpus *c = obj_new(sizeof(*c) + n * sizeof(c->cpu[0]));
	pthread_condattr_t monotonic;
	int r;

	if (!c)
		return err_set(err, -ENOMEM, "cpus: out of memory");
	pthread_mutex_init(&c->gate, NULL);
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->through, &monotonic);
	r = vcpu_probe_features(h, &c->features, err);
	for (unsigned i = 0; i < n && !r; i++) {
		c->cpu[i].all = c;
		r = vcpu_new(h, i, &c->features, &c->cpu[i].vcpu, err);
		c->cpu[i].vcpu.has_device_memory = has_device_memory;
		if (!r)
			c->nr++;
	}
	if (r) {
		cpus_free(c);
		return r;
	}
	*ret_c = c;
	return 0;
}

void cpus_free(struct cpus *c)
{
	if (!c)
		return;
	cpus_stop(c);
	for (unsigned i = 0; i < c->nr; i++)
		vcpu_fini(&c->cpu[i].vcpu);
	obj_free(c);
}

int cpus_late_init(struct cpus *c, gpa_t steal_gpa, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < c->nr && !r; i++)
		r = vcpu_late_init(&c->cpu[i].vcpu, &c->features,
				   steal_gpa ? steal_gpa + i * VCPU_STEAL_SIZE : 0, err);
	return r;
}

int cpus_set_entry(struct cpus *c, gpa_t entry, gpa_t dtb, struct err *err)
{
	return vcpu_set_entry(&c->cpu[0].vcpu, entry, dtb, err);
}

const struct vcpu_features *cpus_features(const struct cpus *c)
{
	return &c->features;
}

struct vcpu *cpus_get(struct cpus *c, unsigned i)
{
	return &c->cpu[i].vcpu;
}

unsigned cpus_count(const struct cpus *c)
{
	return c->nr;
}

static void be_through(struct cpu *cpu)
{
	struct cpus *all = cpu->all;

	if (atomic_exchange(&cpu->leaving, true))
		return;
	pthread_mutex_lock(&all->lock);
	if (!--all->running)
		pthread_cond_signal(&all->through);
	pthread_mutex_unlock(&all->lock);
}

/* The vCPU's last exit ends the VM. Through already: who stops the others need not wait for this one. */
static bool leave(struct cpu *cpu, enum stop_reason reason, const char *text)
{
	be_through(cpu);
	machine_stop(cpu->all->machine, reason, 0, text);
	return false;
}

/* True while the vCPU shall go on. */
static bool handle_exit(struct cpus *all, struct cpu *cpu, const struct vcpu_exit *x)
{
	switch (x->kind) {
	case VCPU_AGAIN:
	case VCPU_NO_SYNDROME: /* vcpu_run() has answered it */
		break;
	case VCPU_MMIO_READ:
		vcpu_mmio_done(&cpu->vcpu, bus_read(all->bus, x->gpa, x->len));
		break;
	case VCPU_MMIO_WRITE:
		bus_write(all->bus, x->gpa, x->len, x->val);
		break;
	case VCPU_POWEROFF:
		return leave(cpu, STOP_POWEROFF, NULL);
	case VCPU_RESET:
		return leave(cpu, STOP_RESET, NULL);
	case VCPU_CRASH:
		return leave(cpu, STOP_PANIC, "KVM");
	case VCPU_FAILED:
		return leave(cpu, STOP_FAILED, x->text);
	}
	return true;
}

/* Before any guest's instruction: who starts the threads waits until all have done it. */
static void arm_self(struct cpu *cpu)
{
	struct cpus *all = cpu->all;
	int r = all->arm ? all->arm(cpu->vcpu.fd) : 0;

	pthread_mutex_lock(&all->lock);
	all->armed++;
	if (r)
		all->arm_error = r;
	pthread_cond_signal(&all->through);
	pthread_mutex_unlock(&all->lock);
}

static int wait_until_armed(struct cpus *c)
{
	int r;

	pthread_mutex_lock(&c->lock);
	while (c->armed < c->nr)
		pthread_cond_wait(&c->through, &c->lock);
	r = c->arm_error;
	pthread_mutex_unlock(&c->lock);
	return r;
}

static void *cpu_thread(void *arg)
{
	struct cpu *cpu = arg;
	struct cpus *all = cpu->all;
	struct vcpu_exit x;
	bool go_on = true;

	atomic_store(&cpu->tid, (int)syscall(SYS_gettid));
	arm_self(cpu);
	pthread_mutex_lock(&all->gate);
	pthread_mutex_unlock(&all->gate);
	while (go_on && !atomic_load(&all->stopping)) {
		vcpu_run(&cpu->vcpu, &x);
		go_on = handle_exit(all, cpu, &x);
	}
	be_through(cpu);
	for (;;)
		pause();
	return NULL;
}

static int start_thread(struct cpu *cpu, const pthread_attr_t *attr)
{
	struct cpus *all = cpu->all;
	int r;

	pthread_mutex_lock(&all->lock);
	r = pthread_create(&cpu->thread, attr, cpu_thread, cpu);
	cpu->started = !r;
	all->running += !r;
	pthread_mutex_unlock(&all->lock);
	return -r;
}

int cpus_start(struct cpus *c, struct machine *m, struct bus *bus, int (*arm)(int vcpu_fd))
{
	struct sigaction sa = { .sa_handler = empty_handler };
	pthread_attr_t attr;
	int r;

	c->machine = m;
	c->bus = bus;
	c->arm = arm;
	c->pid = getpid();
	if (sigaction(CPUS_SIGNAL_KICK, &sa, NULL))
		return -errno;
	r = -pthread_attr_init(&attr);
	if (r)
		return r;
	pthread_attr_setstacksize(&attr, CPU_STACK_SIZE);
	pthread_mutex_lock(&c->gate);
	c->gate_shut = true;
	/* The secondaries first: they sleep in KVM_RUN until the guest's CPU_ON. */
	for (unsigned i = c->nr; i-- > 0 && !r;)
		r = start_thread(&c->cpu[i], &attr);
	pthread_attr_destroy(&attr);
	if (!r)
		r = wait_until_armed(c);
	if (r)
		cpus_stop(c);
	return r;
}

void cpus_go(struct cpus *c)
{
	if (c->gate_shut)
		pthread_mutex_unlock(&c->gate);
	c->gate_shut = false;
}

/* False: one does not come out of KVM. */
static bool wait_until_through(struct cpus *c)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&c->lock);
	while (c->running && !r)
		r = pthread_cond_timedwait(&c->through, &c->lock, &until);
	r = !c->running;
	pthread_mutex_unlock(&c->lock);
	return r;
}

bool cpus_stop(struct cpus *c)
{
	atomic_store(&c->stopping, true);
	cpus_go(c);
	for (unsigned i = 0; i < c->nr; i++) {
		int tid = atomic_load(&c->cpu[i].tid);

		/* a thread that has not begun will find that all is stopping */
		if (!c->cpu[i].started || !tid || atomic_load(&c->cpu[i].leaving))
			continue;
		vcpu_kick(&c->cpu[i].vcpu);
		syscall(SYS_tgkill, c->pid, tid, CPUS_SIGNAL_KICK);
	}
	return wait_until_through(c);
}

uint64_t cpus_exits(const struct cpus *c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < c->nr; i++)
		sum += atomic_load_explicit(&c->cpu[i].vcpu.exits, memory_order_relaxed);
	return sum;
}
