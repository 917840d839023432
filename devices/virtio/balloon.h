/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * balloon - virtio memory balloon (device id 5): memory that the guest gives back to the host
 *
 * What:   a target that stands from the start; inflating, deflating, deflating when the guest is out of memory; free
 *         pages that the guest reports; statistics that it is asked for. What is given back is the host's at once.
 * Not:    free page hints and page poison, so a guest that poisons its free pages does not report them; a target that
 *         changes while the guest runs. The host's khugepaged may fill holes of less than 2 MiB again.
 * Trust:  a page is looked up in the guest's memory, and only whole pages of the host's inside one region go. A guest
 *         that gives away what it uses reads zeros there, as after the balloon's pages. One kick does a limited share,
 *         after which the other sources of the loop have their turn; a list of any length costs no memory.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.5.
 */
#ifndef DEVICES_VIRTIO_BALLOON_H
#define DEVICES_VIRTIO_BALLOON_H

#include <stdio.h>

#include "devices/virtio/vdev.h"

#define BALLOON_PAGE (4 * KIB) /* of the device's numbers, whatever the pages of guest and host */
#define BALLOON_STATS 10       /* statistics that we know, by their tags (s5.5.6.4) */

struct balloon_cfg {
	const char *name;
	struct loop *loop;
	struct gmem *mem;
	uint64_t size;       /* bytes that the guest is to give, a multiple of BALLOON_PAGE; less than 16 TiB */
	bool oom;            /* the guest may take them back when it is out of memory */
	bool reporting;      /* the guest reports its free pages */
	uint64_t stats_ns;   /* between two questions for its statistics; 0: none is asked */
};

/* Counts since the start, in bytes but for the statistics. */
struct balloon_counts {
	uint64_t target;     /* what was asked for */
	uint64_t actual;     /* what the driver says to have in the balloon */
	uint64_t inflated;   /* put into the balloon, and... */
	uint64_t deflated;   /* ...taken out of it again */
	uint64_t reported;   /* named as free */
	uint64_t given_back; /* of both what the host got: whole pages of its own */
	uint64_t failed;     /* what it did not take; memory that is locked, for instance */
	uint64_t stats_read; /* answers with statistics */
	uint32_t has;        /* bit t: stats[t] was in the last one */
	uint64_t stats[BALLOON_STATS]; /* as the guest said: bytes, or how often */
};

/* Before the loop's seal; all borrowed. -EINVAL: the size; -ENOMEM, or the errors of vdev_init() and loop_timer_init(). vdev_free() frees it. */
int balloon_new(const struct balloon_cfg *cfg, struct vdev **ret_v);
/* Loop, or when it has ended. @v: balloon_new()'s. */
struct balloon_counts balloon_counts(struct vdev *v);
/* "free_memory": what result and dump call the statistic of tag @t; NULL: unknown. */
const char *balloon_stat_name(unsigned t);

#endif
