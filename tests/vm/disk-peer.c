// SPDX-License-Identifier: BSD-3-Clause
/*
 * disk-peer SOCKET FILE: a back end of vhost-user that serves FILE as a disk to one front end after the other.
 *
 * It does requests in any order and a few at a time, and keeps what is in flight in the memory that it gives the front end
 * (INFLIGHT_SHMFD): so it can be killed at any time, and the next one goes on, which is what it is for.
 * On SIGUSR1 it takes requests and answers none any more, and says when it has some.
 *
 * Source: QEMU docs/interop/vhost-user.rst (inflight I/O tracking, split virtqueues); virtio 1.2 s2.7, s5.2.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/vhost/user_msg.h"

#define QUEUES 2
#define OPEN_MOST 16    /* requests at a time, of a queue */
#define EACH_US 200     /* how long one takes */

struct flight_desc {
	uint8_t inflight, padding[5];
	uint16_t next;
	uint64_t counter;
};

struct flight {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct flight_desc desc[];
};

struct queue {
	unsigned size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct flight *flight;
	uint16_t last_avail, open[OPEN_MOST];
	unsigned nr_open;
	uint64_t counter;
	int kick, call;
};

static struct queue queues[QUEUES];
static struct { struct vu_region at; char *hva; } regions[VU_MAX_FDS];
static unsigned nr_regions;
static char *flights;
static size_t flights_size;
static int disk, front = -1;
static off_t disk_size;
static volatile sig_atomic_t holds;
static bool said;

static void die(const char *what)
{
	fprintf(stderr, "disk-peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void on_signal(int signo)
{
	(void)signo;
	holds = 1;
}

static void *at(uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < nr_regions; i++)
		if (gpa >= regions[i].at.gpa && gpa - regions[i].at.gpa <= regions[i].at.size && len <= regions[i].at.size - (gpa - regions[i].at.gpa))
			return regions[i].hva + (gpa - regions[i].at.gpa);
	errno = EFAULT;
	die("an address of the guest's");
	return NULL;
}

/* ---- requests ------------------------------------------------------------------------------ */

static uint8_t move(const struct virtio_blk_outhdr *h, const struct vring_desc *d, off_t *pos)
{
	char *p = at(d->addr, d->len);
	ssize_t n;

	if (*pos + d->len > disk_size)
		return VIRTIO_BLK_S_IOERR;
	n = h->type == VIRTIO_BLK_T_IN ? pread(disk, p, d->len, *pos) : pwrite(disk, p, d->len, *pos);
	*pos += d->len;
	return n == (ssize_t)d->len ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

/* Header, data, status: each of them a descriptor or several. Returns how much was written into the guest's memory. */
static uint32_t do_request(struct queue *q, uint16_t head)
{
	const struct vring_desc *d = &q->desc[head];
	const struct virtio_blk_outhdr *h = at(d->addr, sizeof(*h));
	off_t pos = (off_t)h->sector * 512;
	uint8_t status = VIRTIO_BLK_S_OK;
	uint32_t written = 1;

	for (d = &q->desc[d->next]; d->flags & VRING_DESC_F_NEXT; d = &q->desc[d->next]) {
		if (h->type == VIRTIO_BLK_T_GET_ID)
			snprintf(at(d->addr, d->len), d->len, "disk-peer");
		else
			status |= move(h, d, &pos);
		written += d->flags & VRING_DESC_F_WRITE ? d->len : 0;
	}
	if (h->type == VIRTIO_BLK_T_FLUSH && fdatasync(disk))
		status = VIRTIO_BLK_S_IOERR;
	*(uint8_t *)at(d->addr, 1) = status;
	return written;
}

static void complete(struct queue *q, unsigned i)
{
	uint16_t head = q->open[i], idx = q->used->idx;
	uint64_t one = 1;

	q->used->ring[idx % q->size] = (struct vring_used_elem){ .id = head, .len = do_request(q, head) };
	q->open[i] = q->open[--q->nr_open];
	if (q->flight) {
		q->flight->desc[head].next = q->flight->last_batch_head;
		q->flight->last_batch_head = head;
	}
	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint16_t *)&q->used->idx = (uint16_t)(idx + 1);
	atomic_thread_fence(memory_order_seq_cst);
	if (q->flight) {
		q->flight->desc[head].inflight = 0;
		atomic_thread_fence(memory_order_seq_cst);
		q->flight->used_idx = (uint16_t)(idx + 1);
	}
	if (!(*(volatile uint16_t *)&q->avail->flags & VRING_AVAIL_F_NO_INTERRUPT) && write(q->call, &one, sizeof(one)) < 0 && errno != EAGAIN)
		die("call");
}

static void take(struct queue *q)
{
	while (q->kick >= 0 && q->nr_open < OPEN_MOST && q->last_avail != *(volatile uint16_t *)&q->avail->idx) {
		uint16_t head;

		atomic_thread_fence(memory_order_seq_cst);
		head = q->avail->ring[q->last_avail % q->size];
		if (head >= q->size)
			die("a head");
		if (q->flight) {
			q->flight->desc[head].counter = q->counter++;
			atomic_thread_fence(memory_order_seq_cst);
			q->flight->desc[head].inflight = 1;
		}
		q->last_avail++;
		q->open[q->nr_open++] = head;
	}
}

/* One of the open ones, any. */
static void work(struct queue *q)
{
	take(q);
	if (holds && q->nr_open && !said) {
		said = true;
		fprintf(stderr, "disk-peer: holds %u\n", q->nr_open);
	}
	if (!q->nr_open || holds)
		return;
	usleep(EACH_US);
	complete(q, (unsigned)rand() % q->nr_open);
}

/* What the last one had taken and not answered is open again; how much it had answered, the ring says. */
static void resume(struct queue *q)
{
	struct flight *f = q->flight;
	uint16_t used = q->used->idx;

	if (!f)
		return;
	if (f->used_idx != used)
		f->desc[f->last_batch_head].inflight = 0;
	f->used_idx = used;
	for (unsigned i = 0; i < q->size; i++) {
		if (!f->desc[i].inflight)
			continue;
		if (q->nr_open == OPEN_MOST)
			die("more in flight than ever is");
		q->open[q->nr_open++] = (uint16_t)i;
		if (f->desc[i].counter >= q->counter)
			q->counter = f->desc[i].counter + 1;
	}
	q->last_avail = (uint16_t)(used + q->nr_open);
	fprintf(stderr, "disk-peer: goes on at %u with %u in flight\n", used, q->nr_open);
}

/* ---- messages ------------------------------------------------------------------------------ */

static size_t flight_size(unsigned n)
{
	return sizeof(struct flight) + n * sizeof(struct flight_desc);
}

static void map_flights(int fd, const struct vu_inflight *i)
{
	flights_size = i->size;
	flights = mmap(NULL, i->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)i->offset);
	if (flights == MAP_FAILED)
		die("mmap");
	for (unsigned n = 0; n < QUEUES && n < i->queues; n++)
		queues[n].flight = (struct flight *)(void *)(flights + n * flight_size(i->queue_size));
}

static void unmap_flights(void)
{
	if (flights)
		munmap(flights, flights_size);
	flights = NULL;
	for (unsigned n = 0; n < QUEUES; n++)
		queues[n].flight = NULL;
}

static int make_flights(struct vu_inflight *i)
{
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	i->size = i->queues * flight_size(i->queue_size);
	i->offset = 0;
	if (fd < 0 || ftruncate(fd, (off_t)i->size))
		die("memfd");
	map_flights(fd, i);
	for (unsigned n = 0; n < QUEUES && n < i->queues; n++) {
		queues[n].flight->version = 1;
		queues[n].flight->desc_num = i->queue_size;
	}
	unmap_flights();
	return fd;
}

static void set_memory(const struct vu_msg *m, int *fds)
{
	for (unsigned i = 0; i < nr_regions; i++)
		munmap(regions[i].hva, regions[i].at.size);
	nr_regions = m->body.mem.nr;
	for (unsigned i = 0; i < nr_regions; i++) {
		regions[i].at = m->body.mem.regions[i];
		regions[i].hva = mmap(NULL, regions[i].at.size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], (off_t)regions[i].at.offset);
		if (regions[i].hva == MAP_FAILED)
			die("mmap");
	}
}

static int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void stop(struct queue *q)
{
	while (q->nr_open)
		complete(q, 0);
	drop_fd(&q->kick);
	drop_fd(&q->call);
}

static struct queue *queue_of(uint32_t index)
{
	if (index >= QUEUES)
		die("a ring that there is not");
	return &queues[index];
}

static void set_addr(const struct vu_addr *a)
{
	struct queue *q = queue_of(a->index);

	q->desc = at(a->desc, 16ul * q->size); /* the front end's addresses are the guest's */
	q->avail = at(a->avail, 4 + 2ul * q->size);
	q->used = at(a->used, 4 + 8ul * q->size);
}

static void fill_config(struct vu_msg *m)
{
	struct virtio_blk_config c = {
		.capacity = htole64((uint64_t)disk_size / 512), .seg_max = htole32(64), .blk_size = htole32(512), .num_queues = htole16(QUEUES),
	};

	memset(m->body.config.data, 0, sizeof(m->body.config.data));
	memcpy(m->body.config.data, &c, sizeof(c));
}

/* Does what @m says, and makes the answer of it; -1: none but a receipt; else its size. */
static int obey(struct vu_msg *m, int *fds, int *ret_fd)
{
	switch (m->request) {
	case VU_GET_FEATURES:
		m->body.u64 = BIT64(32) | BIT64(VU_F_PROTOCOL_FEATURES) | BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_BLK_SIZE) |
			      BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_MQ);
		return sizeof(m->body.u64);
	case VU_GET_PROTOCOL_FEATURES:
		m->body.u64 = BIT64(VU_PROTOCOL_MQ) | BIT64(VU_PROTOCOL_REPLY_ACK) | BIT64(VU_PROTOCOL_CONFIG) | BIT64(VU_PROTOCOL_INFLIGHT_SHMFD);
		return sizeof(m->body.u64);
	case VU_GET_QUEUE_NUM:
		m->body.u64 = QUEUES;
		return sizeof(m->body.u64);
	case VU_GET_CONFIG: fill_config(m); return (int)m->size;
	case VU_GET_INFLIGHT_FD: {
		struct vu_inflight i = m->body.inflight;

		*ret_fd = make_flights(&i);
		m->body.inflight = i;
		return sizeof(i);
	}
	case VU_SET_INFLIGHT_FD: {
		struct vu_inflight i = m->body.inflight;

		unmap_flights();
		map_flights(fds[0], &i);
		break;
	}
	case VU_SET_MEM_TABLE: set_memory(m, fds); break;
	case VU_SET_VRING_NUM: queue_of(m->body.state.index)->size = m->body.state.num; break;
	case VU_SET_VRING_BASE: queue_of(m->body.state.index)->last_avail = (uint16_t)m->body.state.num; break;
	case VU_SET_VRING_ADDR: {
		struct vu_addr a = m->body.addr;

		set_addr(&a);
		break;
	}
	case VU_SET_VRING_CALL: queue_of((uint32_t)m->body.u64 & 255)->call = take_fd(&fds[0]); break;
	case VU_SET_VRING_KICK:
		queue_of((uint32_t)m->body.u64 & 255)->kick = take_fd(&fds[0]);
		resume(queue_of((uint32_t)m->body.u64 & 255));
		break;
	case VU_GET_VRING_BASE:
		stop(queue_of(m->body.state.index));
		m->body.state.num = queues[m->body.state.index].last_avail;
		return sizeof(m->body.state);
	}
	return -1;
}

static void answer(struct vu_msg *m, int size, int fd)
{
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = m, .iov_len = VU_HEAD_SIZE + (size_t)size };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	m->size = (uint32_t)size;
	m->flags = VU_VERSION | VU_REPLY;
	if (fd >= 0) {
		struct cmsghdr *c = (struct cmsghdr *)room;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		h.msg_control = room;
		h.msg_controllen = sizeof(room);
	}
	if (sendmsg(front, &h, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		die("sendmsg");
}

/* One message; false: the front end has hung up. */
static bool serve(void)
{
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
	int fds[VU_MAX_FDS], size, made = -1;
	struct vu_msg m = { 0 };
	struct iovec iov = { .iov_base = &m, .iov_len = VU_HEAD_SIZE };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *c;
	bool receipt;

	if (recvmsg(front, &h, MSG_WAITALL | MSG_CMSG_CLOEXEC) != VU_HEAD_SIZE)
		return false;
	memset(fds, 0xff, sizeof(fds));
	c = CMSG_FIRSTHDR(&h);
	if (c)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	if (m.size > sizeof(m.body) || (m.size && recv(front, m.body.bytes, m.size, MSG_WAITALL) != (ssize_t)m.size))
		return false;
	receipt = m.flags & VU_NEED_REPLY;
	size = obey(&m, fds, &made);
	if (size < 0 && receipt) {
		m.body.u64 = 0;
		size = sizeof(m.body.u64);
	}
	if (size >= 0)
		answer(&m, size, made);
	drop_fd(&made);
	for (unsigned i = 0; i < VU_MAX_FDS; i++)
		drop_fd(&fds[i]);
	return true;
}

static void hang_up(void)
{
	for (unsigned n = 0; n < QUEUES; n++) {
		queues[n].nr_open = 0;
		drop_fd(&queues[n].kick);
		drop_fd(&queues[n].call);
	}
	unmap_flights();
	drop_fd(&front);
}

static void kicked(struct queue *q)
{
	uint64_t n;

	if (read(q->kick, &n, sizeof(n)) < 0 && errno != EAGAIN)
		die("kick");
}

static void loop_once(int listener)
{
	struct pollfd p[1 + QUEUES] = { { .fd = front >= 0 ? front : listener, .events = POLLIN } };
	bool busy = false;

	for (unsigned n = 0; n < QUEUES; n++) {
		p[1 + n] = (struct pollfd){ .fd = queues[n].kick, .events = POLLIN };
		busy |= queues[n].nr_open && !holds;
	}
	if (poll(p, 1 + QUEUES, busy ? 0 : 100) < 0 && errno != EINTR)
		die("poll");
	for (unsigned n = 0; n < QUEUES; n++) {
		if (queues[n].kick >= 0 && p[1 + n].revents & POLLIN)
			kicked(&queues[n]);
		if (queues[n].kick >= 0)
			work(&queues[n]);
	}
	if (!p[0].revents)
		return;
	if (front < 0)
		front = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	else if (!serve())
		hang_up();
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 3) {
		fprintf(stderr, "usage: disk-peer SOCKET FILE\n");
		return 2;
	}
	signal(SIGUSR1, on_signal);
	disk = open(argv[2], O_RDWR | O_CLOEXEC);
	if (disk < 0)
		die(argv[2]);
	disk_size = lseek(disk, 0, SEEK_END);
	for (unsigned n = 0; n < QUEUES; n++)
		queues[n].kick = queues[n].call = -1;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", argv[1]);
	unlink(argv[1]);
	if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1))
		die(argv[1]);
	for (;;)
		loop_once(listener);
}
