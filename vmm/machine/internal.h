/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * internal - what the files of vmm/machine share
 *
 * What:   struct machine: what was opened, what was made of it, and how it ended.
 * Not:    for anybody outside this folder.
 * Thread: set-up and the loop's, but `stopped` and of `result` how it ended, under stop_lock.
 */
#ifndef VMM_MACHINE_INTERNAL_H
#define VMM_MACHINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "arch/arm64/gic.h"
#include "arch/arm64/image.h"
#include "arch/arm64/v2m.h"
#include "devices/vhost/tap.h"
#include "devices/virtio/blk.h"
#include "devices/virtio/console.h"
#include "devices/virtio/net.h"
#include "devices/virtio/pmem.h"
#include "devices/virtio/virtio_mmio.h"
#include "devices/virtio/virtio_pci.h"
#include "vmm/core/broker.h"
#include "vmm/core/line.h"
#include "vmm/core/loop.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/passt.h"
#include "vmm/machine/plan.h"
#include "vmm/machine/uds.h"

struct cpus;

/* KVM's memory slots, all of them. */
enum {
	SLOT_RAM,
	SLOT_UART,
	SLOT_DEVICES, /* VIRTIO_PCI_SLOTS for each configured device */
	SLOT_PMEM = SLOT_DEVICES + CONFIG_MAX_DEVICES * VIRTIO_PCI_SLOTS, /* one for each */
	SLOT_VFIO = SLOT_PMEM + CONFIG_MAX_DEVICES, /* PASS_SLOTS for each */
};

/* One configured device: what was opened for it, and what was made of it. */
struct mdev {
	struct tap *tap;
	struct passt passt;      /* until its socket is the card's */
	struct uds uds;          /* until its descriptors are the socket device's */
	struct disk disk;
	struct pmem_image image;
	int vuser_fd;            /* until it is the device's */
	unsigned vuser_path;     /* the broker's number for it */
	char tap_down[16];       /* its name, if the interface was down */
	int no_vhost;            /* -errno: why it does without */
	int vhost_fds[NET_MAX_PAIRS]; /* a vsock has one, too */
	struct vdev *vdev;
	struct virtio_mmio *mmio;
	struct virtio_pci *pci;
	struct pass *pass;       /* of the host's: none of the above */
};

/* vmm/machine/power.c */
struct power {
	struct pl061 *gpio;
	struct line line;
	struct loop_timer timer; /* none without a grace */
	bool held;               /* the button is down */
	uint64_t left_ns;        /* of the guest's time, when the timer fires next */
	int signo;               /* what pressed it; 0: nobody did */
};

struct machine {
	const struct config *cfg;
	struct loop *loop;
	int kvm_fd, kernel_fd, initrd_fds[CONFIG_MAX_INITRDS];

	struct hyp *hyp;
	struct gmem *mem;
	struct bus *bus;
	struct cpus *cpus;
	struct gic gic;
	struct v2m v2m;
	struct broker vuser_broker; /* who connects to other back ends of vhost-user */
	int vuser_broker_fd;     /* until it is the broker's */
	struct gsi_space *space;
	struct irq_check *check; /* --irq-check; else NULL */
	struct pci_host *pci;
	struct container *container; /* what devices of the host's reach; NULL: there are none */
	uint64_t pci_mem64;      /* bytes of their 64-bit BARs */
	struct line uart_line, rtc_line, watchdog_line;
	struct pl011 *uart;
	struct pl031 *rtc;
	struct power power;
	struct pvpanic *pvpanic;
	struct sp805 *watchdog;  /* --watchdog; else NULL */
	struct machine_console con;
	struct vdev *hvc;        /* the console among them, or NULL */
	struct vdev *status;     /* --guest-status; else NULL */
	struct vdev *balloon;    /* --balloon; else NULL */

	struct boot_layout boot;
	size_t dtb_len;          /* bytes, at boot.dtb */

	struct loop_timer timeout;
	bool has_timeout;

	pthread_mutex_t stop_lock;
	bool stopped;            /* the reason is settled */
	struct machine_result result;

	/* last, because little of them is used */
	struct plan plan;
	struct mdev devs[CONFIG_MAX_DEVICES];
};

/*
 * vmm/machine/devices.c. Opening (before the VM exists), making (after), and giving back, of
 * device @i. Errors with a sentence that begins with the device's id; what was opened or made
 * until then is given back by mdev_free(), which takes half-made ones.
 */
int mdev_open(struct machine *m, unsigned i, struct err *err);
int mdev_make(struct machine *m, unsigned i, struct err *err);
void mdev_init(struct mdev *d); /* nothing opened yet */
void mdev_free(struct mdev *d);
/* What helps against that error of opening /dev/vhost-net. */
const char *mdev_vhost_remedy(int r);
/* Did device @i change something of the host's that stays when the process ends? */
bool mdev_outlives_us(const struct machine *m, unsigned i);

/* vmm/machine/vfio.c: the same for a device of the host's. */
int vfio_open(struct machine *m, unsigned i, struct err *err);
int vfio_make(struct machine *m, unsigned i, struct err *err);

/* vmm/machine/vuser.c: the same for a device of another process's. */
int vuser_open(struct machine *m, unsigned i, struct err *err);
int vuser_make(struct machine *m, unsigned i, struct err *err);
/* When all of them are open, before the sandbox: who connects to other back ends later. broker_child_start()'s errors. */
int vuser_open_broker(struct machine *m, struct err *err);
/* Before the devices are made. broker_init()'s errors. */
int vuser_make_broker(struct machine *m, struct err *err);
/* Does the guest's memory have to be shared with other processes? */
bool vuser_wanted(const struct config *c);

/* vmm/machine/power.c. Before the loop's seal: pl061_new()'s and loop_timer_init()'s errors. Takes half of it, too. */
int power_new(struct machine *m);
void power_free(struct machine *m);

/*
 * vmm/machine/onlooker.c: --irq-check. Before the space is started; irq_check_new()'s errors. At the end, when no vCPU
 * runs and the loop has returned: takes the devices apart, and writes what was or is wrong into @ret_r.
 */
int onlooker_new(struct machine *m);
void onlooker_end(struct machine *m, struct machine_result *ret_r);

/* vmm/machine/machine.c. Makes the timers; before the loop is sealed. loop_timer_init()'s errors. */
int machine_prepare(struct machine *m);

#endif
