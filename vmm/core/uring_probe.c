// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/core/uring_probe.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const names[] = {
	"single_mmap", "nodrop", "submit_stable", "rw_cur_pos", "cur_personality", "fast_poll", "poll_32bits",
	"sqpoll_nonfixed", "ext_arg", "native_workers", "rsrc_tags", "cqe_skip", "linked_file", "reg_reg_ring",
	"recvsend_bundle", "min_timeout", "rw_attr", "no_iowait",
};

const char *uring_feature_name(unsigned i)
{
	return i < ARRAY_LEN(names) ? names[i] : NULL;
}

static int try_ring(uint32_t flags, uint32_t *ret_features)
{
	struct io_uring_params p = { .flags = flags };
	long fd = syscall(SYS_io_uring_setup, 1, &p);

	if (fd < 0)
		return -errno;
	close((int)fd);
	*ret_features = p.features;
	return 0;
}

void uring_probe(struct uring_facts *ret_f)
{
	struct uring_facts f = { 0 };
	uint32_t unused;

	f.error = try_ring(0, &f.features);
	if (!f.error) {
		f.restrictions = !try_ring(IORING_SETUP_R_DISABLED, &unused);
		f.quiet = !try_ring(IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN |
				    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, &unused);
	}
	*ret_f = f;
}
