/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * machine - a VM: built from a plan, run, stopped
 *
 * What:   opens what the configuration names, makes the VM, its memory, interrupt controller
 *         and devices, loads the kernel, runs vCPU threads beside the loop, ends.
 * Not:    options, exit statuses, the terminal (vmm/app).
 * Trust:  the configuration is the user's; what the guest does decides how it ends, never that
 *         the process does.
 * Thread: the caller's thread becomes the loop's in machine_run(); all others as they say.
 */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include <stdio.h>

#include "vmm/base/err.h"
#include "vmm/core/sink.h"
#include "vmm/machine/config.h"

struct machine;
struct hyp;
struct loop;
struct host_facts;

/* Why the VM ended. */
enum stop_reason {
	STOP_POWEROFF,   /* the guest powered off */
	STOP_RESET,      /* the guest asked for a reset */
	STOP_PANIC,      /* the guest reported a crash; text says by what */
	STOP_WATCHDOG,   /* --watchdog: the guest did not start it anew in time */
	STOP_TIMEOUT,    /* --timeout ran out */
	STOP_SIGNAL,     /* a signal ended it */
	STOP_GRACE,      /* it had --grace to obey the power button, and did not */
	STOP_USER,       /* Ctrl-A x */
	STOP_FAILED,     /* the monitor failed; text says why */
};

#define MACHINE_MAX_STATS 10

#define MACHINE_MAX_COUNTS 6
struct machine_count {
	const char *name;        /* "bytes_read" */
	uint64_t n;
};

/* How a device got on. */
struct machine_device {
	const char *id;          /* the configuration's */
	uint64_t ready_ns;       /* CLOCK_MONOTONIC: its driver was ready, the first time; 0: never, or it is the host's */
	uint64_t faults;         /* of the guest, in its queues */
	struct machine_count counts[MACHINE_MAX_COUNTS]; unsigned nr_counts;
};

/* What a balloon did, in bytes; see devices/virtio/balloon.h. */
struct machine_balloon {
	uint64_t target, actual, given_back, inflated, deflated, reported, failed;
	struct { const char *name; uint64_t n; } stats[MACHINE_MAX_STATS]; unsigned nr_stats; /* the guest's last answer */
};

struct machine_result {
	enum stop_reason reason;
	int signo;               /* STOP_SIGNAL, STOP_GRACE */
	int pressed;             /* the signal that pressed the power button; 0: none */
	char text[200];          /* STOP_FAILED, STOP_PANIC */
	bool has_guest_status;
	int guest_status;        /* 0 to 120: what the guest gave as its own */
	bool stuck;              /* a vCPU is still in KVM: nothing of the machine may be let go */
	uint64_t crash_loads;    /* panics that a crash kernel was to take care of */
	uint64_t exits;          /* KVM_RUN returns, all vCPUs */
	uint64_t commits;        /* tables of interrupts that KVM was given */
	uint64_t uart_dropped;   /* bytes */
	uint64_t start_ns, run_ns, end_ns; /* CLOCK_MONOTONIC: built, vCPUs let go, ended */
	uint64_t init_ns;        /* CLOCK_MONOTONIC: the guest said so, the first time; 0: it did not */
	bool has_balloon;
	struct machine_balloon balloon;
	unsigned nr_devices;
	struct machine_device devices[CONFIG_MAX_DEVICES];
};

/* What the machine's console devices speak to; borrowed, from vmm/app. */
struct machine_console {
	struct console_sink uart, hvc;
};

/*
 * First half, before the VM exists: opens kernel, initrd, taps, vhost, /dev/kvm. @c, @loop:
 * borrowed until machine_free(). Errors are those of whatever could not be opened, with a
 * sentence; *@ret_no_kvm is then true where KVM is the reason.
 */
int machine_open(const struct config *c, struct loop *loop, struct machine **ret_m, bool *ret_no_kvm, struct err *err);
/*
 * Second half, before the loop's seal: VM, memory, vCPUs, GIC, devices, kernel, device tree.
 * Errors as above; machine_free() takes what is half built.
 */
int machine_build(struct machine *m, const struct machine_console *con, bool *ret_no_kvm, struct err *err);
/* After machine_run() or without it, before loop_free(). NULL is fine. Guest memory is unmapped. */
void machine_free(struct machine *m);
/*
 * For a process that ends next: undoes what would outlive it, the settings of taps. The rest is
 * left to the kernel, which tears a VM down quicker in one piece. Once; no machine_free() after it.
 */
void machine_let_go(struct machine *m);

/*
 * What the plan (plan.h) wants to know of the host, asked of any VM; @max_ipa_bits: hyp_max_ipa_bits(). Errors, with a sentence:
 * those of hyp_max_vcpus(), sysinfo(2), gic_probe().
 */
int machine_host_facts(const struct hyp *h, unsigned max_ipa_bits, struct host_facts *ret_f, struct err *err);

/* So many descriptors may come while the guest runs, for devices whose back ends may be others. */
unsigned machine_more_fds(const struct config *c);

/* The device tree as built: @ret_len bytes, borrowed. */
const void *machine_dtb(const struct machine *m, size_t *ret_len);
/*
 * After the loop's seal: makes the vCPUs' threads, which wait for machine_run(). @arm: cpus_start()'s. -EAGAIN,
 * -ENOMEM: none is left.
 */
int machine_start(struct machine *m, int (*arm)(int vcpu_fd));
/* What only set-up needed is closed: /dev/kvm, the interrupt controller's handles. The last step before the filters are made. */
void machine_settle(struct machine *m);
/* The guest runs, and the loop, until something ends the VM. */
void machine_run(struct machine *m, struct machine_result *ret_r);
/*
 * Any thread (not a signal handler): the first call decides the reason; STOP_PANIC is heard after it too, as by
 * machine_result_panic(). @text: copied; NULL where it is not STOP_PANIC and there is none.
 */
void machine_stop(struct machine *m, enum stop_reason reason, int signo, const char *text);

/*
 * After machine_run(): @text, which is copied, is what the guest had printed last, and says that it crashed. It is the reason
 * then, unless somebody else ended the VM (a signal, a key) or we failed.
 */
void machine_result_panic(struct machine_result *r, const char *text);

/*
 * Loop: presses the power button for signal @signo. The guest has config.grace_ns to power off, then the VM ends by itself
 * (STOP_GRACE); pressed once more, or without a grace, it ends now (STOP_SIGNAL).
 */
void machine_press_power(struct machine *m, int signo);

/* Loop: input for the console devices; returns what was taken. */
size_t machine_hvc_input(struct machine *m, const uint8_t *buf, size_t len);
size_t machine_uart_input(struct machine *m, const uint8_t *buf, size_t len);
/* Loop: hvc's sink has room again. */
void machine_hvc_room(struct machine *m);
/* Loop: the terminal's size in characters. */
void machine_hvc_resize(struct machine *m, uint16_t cols, uint16_t rows);

/* The GSI table, counters, devices: for SIGUSR1. Loop. */
void machine_dump(struct machine *m, FILE *out);

#endif
