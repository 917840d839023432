/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config - what the user asked for, checked for form but not yet for possibility
 *
 * What:   plain data, filled by vmm/app/options.c, read by plan.c and build.c. Strings are
 *         borrowed and live as long as the VM.
 * Not:    how it is written on a command line (vmm/app); what follows from it (plan.h).
 * Trust:  the user's wishes: each value is inside its range here, and may still be more than
 *         the host can do.
 * Thread: set-up; const after.
 */
#ifndef VMM_MACHINE_CONFIG_H
#define VMM_MACHINE_CONFIG_H

#include "vmm/base/pciaddr.h"
#include "vmm/base/types.h"

#define CONFIG_MAX_DEVICES 64
#define CONFIG_MAX_CPUS 512
#define CONFIG_MAX_INITRDS 8

enum dev_kind {
	DEV_CONSOLE, DEV_RNG, DEV_NET, DEV_VFIO, DEV_DISK, DEV_VSOCK, DEV_VHOST_USER, DEV_FS, DEV_STATUS, DEV_BALLOON, DEV_PMEM,
	DEV_KINDS,
};
enum transport { TRANSPORT_AUTO, TRANSPORT_PCI, TRANSPORT_MMIO };
enum irqchip { IRQCHIP_AUTO, IRQCHIP_GICV3_ITS, IRQCHIP_GICV3, IRQCHIP_GICV2M, IRQCHIP_GICV2 };
enum irq_routing { IRQ_ROUTING_AUTO, IRQ_ROUTING_EXPLICIT, IRQ_ROUTING_FLAT };
enum tristate { TRI_AUTO, TRI_ON, TRI_OFF };
enum console_kind { CONSOLE_STDIO, CONSOLE_NONE, CONSOLE_FILE, CONSOLE_PTY, CONSOLE_SOCKET };

#define NET_MAX_PUBLISH 16

struct net_options {
	const char *tap;      /* interface name, or NULL with fds or user */
	int fds[16]; unsigned nr_fds; /* inherited descriptors */
	enum tristate vhost;
	unsigned queues;      /* pairs, 1 to 16 */
	bool has_mac; uint8_t mac[6];
	uint16_t mtu;         /* 0: not given */
	bool user;            /* by a process of the user's, passt; then */
	bool loopback;        /* the gateway's address leads to the host's own loopback */
	struct { uint16_t host, guest; } publish[NET_MAX_PUBLISH]; unsigned nr_publish; /* TCP ports */
	uint64_t iops, bps;   /* 0: no limit; with one, packets pass this process */
};

#define VSOCK_MAX_UDS 96
#define VSOCK_MAX_CONNS 1024
#define VSOCK_DEFAULT_CONNS 256
#define VSOCK_MORE_CONNS 2             /* that may be open beyond what was asked for: a client, and one that is refused next */
#define VSOCK_CONN_MEMORY (128 * KIB)  /* bytes of buffers for each, at most */

struct vsock_options {
	uint32_t cid;         /* the guest's */
	const char *uds;      /* a path: by Unix sockets of the host's; NULL: by the kernel */
	unsigned max_conns;   /* with uds; 0: not given */
};

#define VUSER_NET_MAX_PAIRS 4

/* A back end by vhost-user: another process, which shares the guest's memory. */
struct vuser_options {
	enum { VUSER_KIND_NONE, VUSER_KIND_BLK, VUSER_KIND_FS, VUSER_KIND_NET } kind; /* NET: with queues, mac and mtu in net */
	const char *socket;   /* path, or NULL and */
	int fd;               /* an inherited descriptor; 0: not given */
	const char *tag;      /* fs: its name in the guest */
};

struct disk_options {
	const char *path;     /* or NULL and */
	int fd;               /* an inherited descriptor, -1: not given */
	bool ro, direct, discard;
	uint64_t iops, bps;   /* 0: no limit */
};

struct pmem_options {
	const char *path;     /* of an image, which is read, or NULL and */
	int fd;               /* an inherited descriptor of one */
	bool ro;              /* said: it is never written */
};

struct vfio_options {
	char host[PCIADDR_SIZE]; /* the host's PCI address as sysfs writes it, "0000:00:02.0" */
};

struct balloon_options {
	uint64_t size;        /* bytes that the guest is to give, a multiple of 4 KiB, less than its memory */
	bool no_oom;          /* it may not take them back when it is out of memory */
	bool no_reporting;    /* it does not report free pages */
	uint64_t stats_ns;    /* between two questions for statistics; 0: none */
};

struct dev_config {
	enum dev_kind kind;
	char id[16];          /* "net0", or what id= said; unique */
	enum transport transport;
	bool irq_direct;      /* irq=direct: interrupts of vhost, over mmio only */
	struct net_options net; /* DEV_NET; of DEV_VHOST_USER a part */
	struct vfio_options vfio; /* DEV_VFIO */
	struct disk_options disk; /* DEV_DISK */
	struct vsock_options vsock; /* DEV_VSOCK */
	struct balloon_options balloon; /* DEV_BALLOON: at most one, and none beside DEV_VFIO */
	struct vuser_options vuser; /* DEV_VHOST_USER, DEV_FS */
	struct pmem_options pmem; /* DEV_PMEM */
};

/* A back end by a path: another one may come there. */
static inline bool config_may_reconnect(const struct dev_config *d)
{
	return (d->kind == DEV_VHOST_USER || d->kind == DEV_FS) && d->vuser.socket;
}

struct config {
	const char *kernel;          /* path */
	const char *initrds[CONFIG_MAX_INITRDS]; unsigned nr_initrds; /* paths */
	unsigned cpus;
	uint64_t memory;             /* bytes, multiple of 4 KiB (rounded up to the host's page at build) */
	enum transport transport;
	enum irqchip irqchip;
	enum irq_routing irq_routing;
	bool irq_check;              /* look on while interrupts are wired */
	enum console_kind console;
	const char *console_path; /* of a file or socket */
	uint64_t timeout_ns;         /* 0: none */
	uint64_t grace_ns;           /* to obey the power button; 0: it is not pressed */
	const char *result_path; int result_fd; /* NULL and -1: none */
	bool watchdog;
	bool guest_status;           /* a port for it, the last device */
	const char *panic_text;      /* an extended regular expression, checked; NULL: none */
	const char *dump_dtb;
	bool dry_run;
	/* log */
	int log_level; const char *log_file; bool log_json;

	char cmdline[2048];          /* complete: default and what was added */
	unsigned nr_devices;
	struct dev_config devices[CONFIG_MAX_DEVICES]; /* in command line order; console and rng first */
};

#endif
