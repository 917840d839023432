// SPDX-License-Identifier: BSD-3-Clause
/* An image in memory: what the guest sees of the file, what it is told, and that a flush is no promise. */
#include "devices/virtio/pmem.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fake/driver.h"
#include "tests/fake/loop.h"
#include "vmm/base/fdbook.h"

#define RAM 0x40000000ull
#define RAM_SIZE 0x20000ull
#define BUFFERS (RAM + 0x8000)
#define START 0x1e0000000ull

/* ---- the image ---- */

static char path[64];

static void make_image(size_t bytes)
{
	char block[512];
	int fd;

	snprintf(path, sizeof(path), "/tmp/test_pmem.XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	memset(block, 0xa5, sizeof(block));
	for (size_t i = 0; i < bytes / sizeof(block); i++)
		ck_assert_int_eq(write(fd, block, sizeof(block)), sizeof(block));
	close(fd);
}

START_TEST(test_pmem_image_is_mapped)
{
	struct pmem_image i;
	struct err err = { "" };
	const uint8_t *p;

	make_image(5 * 4096 + 512);
	ck_assert_msg(pmem_open("pmem0", path, -1, &i, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(i.size, PMEM_ALIGN);
	ck_assert_ptr_null(i.hva);
	ck_assert_uint_eq(fd_kinds(i.file.fd), FD_IMAGE);
	ck_assert_int_eq(pmem_map(&i, START + 3 * 4096), 0);
	ck_assert_uint_eq((uintptr_t)i.hva % PMEM_ALIGN, 3 * 4096);
	p = i.hva;
	for (size_t at = 0; at < PMEM_ALIGN; at += 512)
		ck_assert_uint_eq(p[at], at < 5 * 4096 + 512 ? 0xa5 : 0);
	pmem_close(&i);
	ck_assert_ptr_null(i.hva);
	unlink(path);
}
END_TEST

/* One page cache: what another writes into the file is here, too. Nobody of ours may. */
START_TEST(test_pmem_image_is_the_files)
{
	const struct disk_cfg writer = { .name = "disk0", .path = path, .fd = -1 };
	struct disk d = { .fd = -1 };
	struct pmem_image a, b;
	struct err err = { "" };
	int fd;

	make_image(PMEM_ALIGN);
	ck_assert_int_eq(pmem_open("pmem0", path, -1, &a, &err), 0);
	ck_assert_int_eq(pmem_open("pmem1", NULL, open(path, O_RDONLY | O_CLOEXEC), &b, &err), 0);
	ck_assert_int_eq(disk_open(&writer, &d, &err), -EBUSY);
	ck_assert_int_eq(pmem_map(&a, START), 0);
	ck_assert_int_eq(pmem_map(&b, START), 0);
	fd = open(path, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, "new", 3, 4096), 3);
	close(fd);
	ck_assert(!memcmp((char *)a.hva + 4096, "new", 3) && !memcmp((char *)b.hva + 4096, "new", 3));
	ck_assert_int_eq(mprotect(a.hva, 4096, PROT_READ | PROT_WRITE), -1); /* not even by mistake */
	ck_assert_int_eq(errno, EACCES);
	pmem_close(&a);
	pmem_close(&b);
	unlink(path);
}
END_TEST

START_TEST(test_pmem_bad_images_are_refused)
{
	struct pmem_image i;
	struct err err = { "" };

	ck_assert_int_eq(pmem_open("pmem0", "/tmp/there-is/none", -1, &i, &err), -ENOENT);
	ck_assert(strstr(err.text, "pmem0: open '/tmp/there-is/none'"));
	ck_assert_int_eq(pmem_open("pmem0", "/tmp", -1, &i, &err), -EISDIR);
	ck_assert_int_eq(pmem_open("pmem0", "/dev/null", -1, &i, &err), -EINVAL);
	make_image(0);
	ck_assert_int_eq(pmem_open("pmem0", path, -1, &i, &err), -EINVAL);
	ck_assert(strstr(err.text, "is empty"));
	ck_assert_int_eq(pmem_open("pmem0", NULL, open(path, O_RDWR | O_CLOEXEC), &i, &err), -EBADF);
	ck_assert(strstr(err.text, "not open for reading alone"));
	ck_assert_int_eq(pmem_open("pmem0", NULL, 999, &i, &err), -EBADF);
	ck_assert_int_eq(truncate(path, 1000), 0);
	ck_assert_int_eq(pmem_open("pmem0", path, -1, &i, &err), -EINVAL);
	ck_assert(strstr(err.text, "no multiple of 512"));
	unlink(path);
}
END_TEST

/* ---- the device ---- */

struct rig {
	struct gmem *mem;
	struct loop *loop;
	struct vdev *v;
	struct fake_ring ring;
	unsigned irqs;
};

static void queue_irq(void *t, unsigned q)
{
	ck_assert_uint_eq(q, 0);
	((struct rig *)t)->irqs++;
}

static void config_irq(void *t)
{
	(void)t;
}

static const struct vdev_irq irq_ops = { .queue = queue_irq, .config = config_irq };

static void start(struct rig *r)
{
	fake_ring_init(&r->ring, r->mem, RAM, 64);
	fake_ring_give(&r->ring, r->v, 0);
	ck_assert_int_eq(fake_vdev_start(r->v, r->v->offered), 0);
}

static void rig_init(struct rig *r)
{
	struct pmem_cfg cfg = { .name = "pmem0", .start = START, .size = 4 * PMEM_ALIGN };

	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(loop_new(&r->loop), 0);
	ck_assert_int_eq(gmem_new(&r->mem), 0);
	ck_assert_int_eq(gmem_add(r->mem, RAM, RAM_SIZE, false), 0);
	cfg.loop = r->loop;
	cfg.mem = r->mem;
	ck_assert_int_eq(pmem_new(&cfg, &r->v), 0);
	vdev_set_irq(r->v, &irq_ops, r);
	start(r);
}

static void rig_fini(struct rig *r)
{
	vdev_free(r->v);
	loop_free(r->loop);
	gmem_free(r->mem);
}

static void kick(struct rig *r)
{
	vdev_notify(r->v, 0);
	fake_loop_turn(r->loop);
}

static void check_used(struct rig *r, uint32_t want_len)
{
	uint32_t id, len;

	ck_assert(fake_ring_used(&r->ring, &id, &len));
	ck_assert_uint_eq(len, want_len);
}

/* s5.19.4 */
START_TEST(test_pmem_says_where_it_is)
{
	struct loop *l;
	struct vdev *v;
	struct rig r;

	rig_init(&r);
	ck_assert_uint_eq(r.v->type, VIRTIO_ID_PMEM);
	ck_assert_uint_eq(r.v->nr_queues, 1);
	ck_assert_uint_eq(vdev_config_read(r.v, 0, 4), START & UINT32_MAX);
	ck_assert_uint_eq(vdev_config_read(r.v, 4, 4), START >> 32);
	ck_assert_uint_eq(vdev_config_read(r.v, 8, 4), 4 * PMEM_ALIGN);
	ck_assert_uint_eq(vdev_config_read(r.v, 12, 4), 0);
	ck_assert_uint_eq(vdev_config_read(r.v, 16, 4), 0);
	ck_assert_int_eq(loop_new(&l), 0);
	fake_loop_fail_init(l, 0, -ENOSPC);
	ck_assert_int_eq(pmem_new(&(struct pmem_cfg){ .name = "p", .loop = l, .mem = r.mem }, &v), -ENOSPC);
	loop_free(l);
	rig_fini(&r);
}
END_TEST

/* s5.19.6: nothing that was written is kept, so no flush succeeds. */
START_TEST(test_pmem_flush_is_refused)
{
	const struct fake_part parts[] = { { BUFFERS, 4, false }, { BUFFERS + 64, 4, true } };
	struct rig r;

	rig_init(&r);
	memset(gmem_ptr(r.mem, BUFFERS, 128), 0, 128);
	fake_ring_add(&r.ring, parts, 2);
	kick(&r);
	check_used(&r, 4);
	ck_assert_uint_eq(le32toh(*(uint32_t *)gmem_ptr(r.mem, BUFFERS + 64, 4)), 1);
	ck_assert_uint_eq(r.irqs, 1);
	ck_assert_uint_eq(vdev_state(r.v).faults, 0);
	rig_fini(&r);
}
END_TEST

/* Of any shape: as much of an answer as there is room for, and nothing behind it. */
START_TEST(test_pmem_requests_of_other_shapes)
{
	static const struct { uint32_t room[3]; uint32_t written; } t[] = {
		{ { 0 }, 0 }, { { 1 }, 1 }, { { 3 }, 3 }, { { 1, 2, 8 }, 4 }, { { 100 }, 4 },
	};
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		struct fake_part parts[4] = { { BUFFERS, 4, false } };
		const uint8_t *p = memset(gmem_ptr(r.mem, BUFFERS + 64, 128), 0xff, 128);
		unsigned n = 1;
		gpa_t at = BUFFERS + 64;

		for (unsigned k = 0; k < 3 && t[i].room[k]; at += t[i].room[k++])
			parts[n++] = (struct fake_part){ at, t[i].room[k], true };
		fake_ring_add(&r.ring, parts, n);
		kick(&r);
		check_used(&r, t[i].written);
		for (unsigned k = 0; k < 128; k++)
			ck_assert_uint_eq(p[k], k >= t[i].written ? 0xff : k == 0);
	}
	ck_assert_uint_eq(vdev_state(r.v).faults, 0);
	rig_fini(&r);
}
END_TEST

START_TEST(test_pmem_broken_ring_stops_it_and_a_reset_heals)
{
	const struct fake_part parts[] = { { BUFFERS, 4, false }, { BUFFERS + 64, 4, true } };
	struct rig r;

	rig_init(&r);
	fake_ring_desc(&r.ring, 0, RAM + RAM_SIZE - 2, 4, 0, 0);
	fake_ring_put(&r.ring, 0);
	fake_ring_show(&r.ring);
	kick(&r);
	ck_assert_uint_eq(vdev_state(r.v).faults, 1);
	ck_assert(vdev_state(r.v).status & VIRTIO_CONFIG_S_NEEDS_RESET);
	kick(&r);
	fake_vdev_reset(r.v);
	start(&r);
	fake_ring_add(&r.ring, parts, 2);
	kick(&r);
	check_used(&r, 4);
	rig_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pmem");
	TCase *t = tcase_create("pmem");
	SRunner *run;
	int failed;

	tcase_add_test(t, test_pmem_image_is_mapped);
	tcase_add_test(t, test_pmem_image_is_the_files);
	tcase_add_test(t, test_pmem_bad_images_are_refused);
	tcase_add_test(t, test_pmem_says_where_it_is);
	tcase_add_test(t, test_pmem_flush_is_refused);
	tcase_add_test(t, test_pmem_requests_of_other_shapes);
	tcase_add_test(t, test_pmem_broken_ring_stops_it_and_a_reset_heals);
	suite_add_tcase(s, t);
	run = srunner_create(s);
	srunner_run_all(run, CK_ENV);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed ? 1 : 0;
}
