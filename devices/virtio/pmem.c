// SPDX-License-Identifier: BSD-3-Clause
/*
 * A flush says that what was written is kept. Here nothing is: a write to the slot goes nowhere, so
 * the answer is an error, and a guest that thinks it can write learns of it where it asks.
 */
#include "devices/virtio/pmem.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pmem.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/obj.h"

#define QUEUE_SIZE 64 /* entries, also the most parts that a request may have */
#define FAILED 1      /* struct virtio_pmem_resp (s5.19.6) */

/* ---- the image ------------------------------------------------------------------------------ */

int pmem_open(const char *name, const char *path, int fd, struct pmem_image *ret_i, struct err *err)
{
	const struct disk_cfg cfg = { .name = name, .path = path, .fd = fd, .ro = true };
	struct pmem_image i = { .file = { .fd = -1 } };
	uint64_t bytes;
	int r;

	if (!path && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY) /* one that can be written could be mapped so */
		return err_set(err, -EBADF, "%s: fd=%d: not open for reading alone, and an image is not written", name, fd);
	r = disk_open(&cfg, &i.file, err);
	if (r)
		return r;
	if (i.file.sectors > SIZE_MAX / 4 / DISK_SECTOR) {
		disk_close(&i.file);
		return err_set(err, -EFBIG, "%s: the image is too large to be mapped", name);
	}
	fd_note(i.file.fd, FD_IMAGE); /* kept for its lock, and used in no call */
	bytes = i.file.sectors * DISK_SECTOR;
	i.size = align_up(bytes, PMEM_ALIGN);
	*ret_i = i;
	return 0;
}

int pmem_map(struct pmem_image *i, gpa_t gpa)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), bytes = align_up(i->file.sectors * DISK_SECTOR, page);
	char *base, *hva;

	i->total = (size_t)(i->size + PMEM_ALIGN);
	base = mmap(NULL, i->total, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	i->base = base;
	hva = base + ((gpa - (uintptr_t)base) & (PMEM_ALIGN - 1));
	if (mmap(hva, (size_t)bytes, PROT_READ, MAP_SHARED | MAP_FIXED, i->file.fd, 0) == MAP_FAILED)
		return -errno;
	i->hva = hva;
	return 0;
}

void pmem_close(struct pmem_image *i)
{
	if (i->base)
		munmap(i->base, i->total);
	i->base = i->hva = NULL;
	disk_close(&i->file);
}

/* ---- the device ----------------------------------------------------------------------------- */

struct pmem {
	struct vdev v;
	struct virtio_pmem_config config;
};

static int pmem_activate(struct vdev *v)
{
	if (!v->queues[0].regs.ready)
		return 0;
	return vq_start(&v->queues[0].ring, v->mem, &v->queues[0].regs, vdev_has(v, VIRTIO_RING_F_EVENT_IDX),
			vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC));
}

/* Nothing is ever under way: vdev stops the ring. */
static void pmem_reset(struct vdev *v)
{
	(void)v;
}

/* A request of its shape, whatever its type, gets an error; of another shape, as much of one as there is room for. */
static uint32_t answer(const struct vq_chain *c)
{
	const struct virtio_pmem_resp resp = { .ret = htole32(FAILED) };
	uint32_t want = c->len_in < sizeof(resp) ? c->len_in : (uint32_t)sizeof(resp), done = 0;

	for (unsigned i = c->n_out; done < want; i++) {
		uint32_t len = want - done;

		if (c->iov[i].iov_len < len)
			len = (uint32_t)c->iov[i].iov_len;
		memcpy(c->iov[i].iov_base, (const char *)&resp + done, len);
		done += len;
	}
	return want;
}

static void pmem_kick(struct vdev *v, unsigned q)
{
	struct vq *ring = &v->queues[q].ring;
	struct iovec iov[QUEUE_SIZE];
	struct vq_chain c = { .iov = iov, .cap = QUEUE_SIZE };
	int r = 0;

	if (ring->broken)
		return;
	for (unsigned left = ring->size; left && (r = vq_pop(ring, &c)) > 0; left--)
		vq_push(ring, c.head, answer(&c));
	vdev_queue_flush(v, q);
	if (r < 0)
		vdev_fault(v, (int)q, "broken request queue");
	else if (vq_enable_kick(ring))
		vdev_notify(v, q); /* more came in: in the loop's next round, after the others */
}

static void pmem_config_read(struct vdev *v, unsigned off, void *buf, unsigned len)
{
	memcpy(buf, (const char *)&((struct pmem *)v)->config + off, len);
}

static void pmem_free(struct vdev *v)
{
	vdev_fini(v);
	obj_free(v);
}

static const struct vdev_ops pmem_ops = {
	.kind = "pmem",
	.activate = pmem_activate,
	.reset = pmem_reset,
	.kick = pmem_kick,
	.config_read = pmem_config_read,
	.free = pmem_free,
};

int pmem_new(const struct pmem_cfg *cfg, struct vdev **ret_v)
{
	const struct vdev_cfg vcfg = {
		.ops = &pmem_ops,
		.name = cfg->name,
		.type = VIRTIO_ID_PMEM,
		.nr_queues = 1,
		.queue_size = QUEUE_SIZE,
		.config_len = sizeof(struct virtio_pmem_config),
		.loop = cfg->loop,
		.mem = cfg->mem,
	};
	struct pmem *p = obj_new(sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->config = (struct virtio_pmem_config){ .start = htole64(cfg->start), .size = htole64(cfg->size) };
	r = vdev_init(&p->v, &vcfg);
	if (r) {
		obj_free(p);
		return r;
	}
	*ret_v = &p->v;
	return 0;
}
