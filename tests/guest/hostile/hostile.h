/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hostile - what the cases of a guest that means harm stand on
 *
 * A case is a row of a family's table. Rows begin with a struct row; a family has a function that runs one of them, so
 * a case that differs from others in numbers only is those numbers. What a case asks for is want(): the first
 * that is not so makes it FAIL. After each case the devices are reset, once, and each does a good round trip, in
 * heal.c; then the payload is silent until the harness has looked at the monitor and sends a byte.
 */
#ifndef TESTS_GUEST_HOSTILE_HOSTILE_H
#define TESTS_GUEST_HOSTILE_HOSTILE_H

#include "cpu.h"
#include "irq.h"
#include "virtio.h"
#include "virtio_regs.h"

/* What a case needs, or what becomes of the VM. Without what it needs it is left out. */
enum {
	ON_MMIO = 1,     /* a device over MMIO */
	ON_PCI = 2,      /* a device on PCI */
	ON_NET = 4,
	ON_ITS = 8,
	ON_CPUS = 16,    /* three of them */
	ON_USER = 32,    /* packets moved by the monitor, not by vhost */
	ON_CTRL = 64,    /* a net device with a control queue */
	ON_BLK = 128,
	ON_VSOCK = 2048,
	ON_UDS = 4096,   /* sockets by the monitor, not by vhost */
	ON_BALLOON = 8192,
	ENDS_OFF = 256,  /* the VM powers off, and that is right; such a case has a boot of its own */
	ENDS_RESET = 512,
	OFTEN = 1024,    /* belongs to the subset */
};

struct row {
	const char *name;
	unsigned needs;
};

/* The plainest row. */
struct fn_row {
	struct row row;
	void (*fn)(void);
};

struct family {
	const char *name;
	const void *rows;
	size_t size;
	unsigned nr;
	void (*run)(const void *row);
};

#define FAMILY(table, fn) { .rows = table, .size = sizeof((table)[0]), .nr = ARRAY_LEN(table), .run = fn }

/* Families may have several tables; each case_*.c ends with its own, and an end marked by rows == NULL. */
extern const struct family vq_tables[], mmio_tables[], pci_tables[], msix_tables[], state_tables[], net_tables[],
	console_tables[], blk_tables[], vsock_tables[], balloon_tables[], width_tables[], cpu_tables[], gic_tables[], flood_tables[];

/* Returns what it was given. */
bool want(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void run_fn(const void *row);

/* The devices of this boot, all on one transport; NULL: not there. */
extern struct vdev *rng, *con, *net, *blk, *vsock, *balloon;
extern bool vhost; /* net's packets, and those of sockets, are moved by the host's kernel */
extern uint64_t ram_start, ram_end;
#define CON_RX 0
#define CON_TX 1

/* Buffers between canaries, which are looked at after each case. */
#define BUF_SIZE 65536
extern uint8_t *buf, *buf2;
extern struct vq_desc *table; /* for indirect descriptors; BUF_SIZE bytes */

#define RING_INDIRECT BIT(28)
#define RING_EVENT_IDX BIT(29)

/* A chain: descriptors @slot and on, which are written already but for their links, offered and kicked. */
void vq_chain(struct vq *vq, unsigned slot, unsigned n);
/* Fills one of them. */
void vq_part(struct vq *vq, unsigned slot, const volatile void *at, uint32_t len, bool device_writes);

/* Reset and start with all queues that the library has; want()ed. */
bool begin(struct vdev *d, uint64_t features);
unsigned queues_of(const struct vdev *d);
/* Does the device say NEEDS_RESET, within the time that a busy machine takes? */
bool breaks(struct vdev *d);
/* Has the device used all that was posted? */
bool uses(struct vq *vq);
/* The queue that carries requests of @d, and the direction of its buffers. */
struct vq *request_queue(struct vdev *d);
uint16_t request_flags(const struct vdev *d);
/* Requests whose answers make a round trip; does not wait for them. */
void send_request(struct vdev *d);
/* A round trip on a device that runs. */
bool trip(struct vdev *d);
/* Reset, and a good round trip. False: wedged. */
bool heals(struct vdev *d);
/* Nobody knows what the steps do to the devices: heal_all() has to look at each. begin() says so of one, and sets begun. */
void soil(void);
extern bool begun;
/* All devices that were touched, and what was upset of PCI. NULL: all is well; else what is not. */
const char *heal_all(void);
void heal_init(void);
/* While things are as they are, the harness looks whether the monitor is idle. */
void look_idle(void);
/* The UART, whose registers a case wrote. */
void hear_again(void);

/* Another CPU does @fn(@arg), and is off afterwards: joined. */
bool helper_start(unsigned n, void (*fn)(void *arg), void *arg);
bool helper_join(unsigned n);
/* Set by helper_join()'s caller, looked at by what a helper does. */
extern volatile bool stop_helpers;

/* Accesses of @width bytes, which may be unaligned. They may be answered by an exception, which is caught. */
uint64_t any_read(uint64_t at, unsigned width);
void any_write(uint64_t at, unsigned width, uint64_t val);

/* The page that a round trip of the balloon's gives away; nothing else is in it. */
extern uint8_t *spare_page;

/* Sockets (s5.10.6): a packet's header, and what a round trip asks of nobody: to be connected to QUIET_PORT. */
struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));
enum { VS_RX, VS_TX, VS_EVENT };
enum { VS_REQUEST = 1, VS_RESPONSE, VS_RST, VS_SHUTDOWN, VS_RW, VS_CREDIT_UPDATE, VS_CREDIT_REQUEST };
#define VS_STREAM 1
#define HOST_CID 2
#define QUIET_PORT 9
/* A packet from this guest to the host's @port; cid in configuration space. */
struct packet packet_to(uint32_t port, uint16_t op);

/* A number that differs each time, and is the same in each run. */
uint32_t noise(void);

#endif
