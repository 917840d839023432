/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * facts - what was found out about this host, as plain data
 *
 * What:   filled by host.c (files below /proc, /sys and /dev) and kvm.c (KVM, io_uring and the
 *         plan); read by lines.c, why.c and the reports, which are pure.
 * Not:    judgement: what is bad about it, and the remedy, is in lines.c.
 * Trust:  strings are the host's or the user's; they are cleaned when they are shown.
 * Thread: one.
 */
#ifndef VMM_DOCTOR_FACTS_H
#define VMM_DOCTOR_FACTS_H

#include "arch/arm64/caps.h"
#include "devices/vfio/sysdev.h"
#include "vmm/base/err.h"
#include "vmm/core/uring_probe.h"
#include "vmm/doctor/holes.h"
#include "vmm/machine/config.h"
#include "vmm/machine/plan.h"

/* A device node and the driver behind it. Opening it may load the driver, so that is not tried. */
struct node_facts {
	bool exists;          /* the node */
	bool loaded;          /* the driver is in the kernel */
	bool loadable;        /* the driver is a module that opening the node would load */
	int error;            /* 0: can be opened; -EACCES, -ENOENT (no node), -ENODEV (no driver), ... */
};

/* The tap of a configured card. All but @given false where it does not exist. */
struct tap_facts {
	bool given;           /* a name; not for inherited descriptors */
	bool exists, is_tap, multi_queue, up;
	bool allowed;         /* TUNSETIFF would let us */
	bool in_use;          /* another process has it, as far as its carrier tells */
};

/* A device of the host's that is to be handed on. */
struct pass_facts {
	bool given, exists;
	struct sysdev dev;
	int error;            /* of the group's node: 0, -EACCES, -ENOENT */
	char blockers[96];    /* what the host still uses of its group, "" where nothing */
};

struct hugepage_facts {
	bool known;
	uint64_t size;        /* bytes of the default size */
	uint64_t total, free; /* pages */
};

struct iommu_facts {
	unsigned units, groups;
	char names[96];       /* of units, by commas */
	bool vfio_pci;        /* its driver is there */
	unsigned bound;       /* devices that are bound to it */
	bool noiommu;         /* vfio's unsafe mode is on */
	uint64_t memlock;     /* RLIMIT_MEMLOCK, bytes; UINT64_MAX: none */
	bool memlock_free;    /* CAP_IPC_LOCK: the limit does not count */
};

struct host {
	char release[65], build[65], machine[65]; /* uname(2) */
	struct kernel_version version;
	bool version_known;   /* @version tells which fixes are in it */
	char inside[64];      /* the hypervisor that this host runs on, "" where none was seen */
	char kvm_mode[24];    /* kvm-arm.mode= of its command line, or "" */
	unsigned cpus, page_size; /* online; bytes */
	uint64_t memory, swap; /* bytes */
	struct node_facts tun, vhost_net, vhost_vsock, vfio;
	bool net_admin;       /* CAP_NET_ADMIN */
	struct tap_facts taps[CONFIG_MAX_DEVICES]; /* by device of the configuration, */
	bool passt;           /* the program, where a card wants it */
	struct pass_facts passed[CONFIG_MAX_DEVICES]; /* as these are */
	uint64_t pci_mem64;   /* bytes of 64-bit BARs of all that are handed on */
	struct hugepage_facts huge;
	char thp[16];         /* always, madvise, never; "" where there are none */
	int uring_disabled;   /* sysctl kernel.io_uring_disabled; -1: there is none */
	struct iommu_facts iommu;
};

/* How far a guest gets. */
enum doctor_verdict {
	DOCTOR_GOOD,
	DOCTOR_REFUSED,       /* guests can run, but not as the options want it */
	DOCTOR_NO_GUEST,
};

struct doctor_facts {
	const struct config *config;
	struct host host;
	int kvm_error;        /* 0: there is a VM, and what follows is filled */
	struct err kvm_text;
	struct caps caps;
	struct host_facts plan_facts;
	struct uring_facts uring;
	int loop_error;       /* 0: the event loop came up */
	int plan_error;       /* 0: @plan is what this host would give; else @plan_text */
	struct err plan_text;
	struct plan plan;
	int least_error;      /* the plan for a guest without any wishes */
	struct err least_text;
};

/* trouble.c */
enum doctor_verdict doctor_verdict(const struct doctor_facts *f);
/* "good", "refused", "no-guest". */
const char *doctor_verdict_name(enum doctor_verdict v);

#endif
