/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vuser - virtio devices whose queues another process serves, by vhost-user
 *
 * What:   a block device (device id 2), a file system (26) and a network card (1): features and configuration as the back end has
 *         them, a card's configuration and control queue ours, all other queues the back end's, interrupts and kicks by eventfds
 *         between it and KVM.
 * Not:    what is in a request: the back end's business (qemu-storage-daemon, virtiofsd, ...).
 * End:    a back end that ends is waited for at its path, if it came by one. Another that is the same device takes over. A block
 *         device goes on with it, without the driver's noticing, where the requests in flight are known (INFLIGHT_SHMFD), or
 *         there were none; else, and a file system always, whose back end knew the guest's open files, it has NEEDS_RESET, and
 *         works with the other back end from the driver's reset on. A card goes on always, but for the packets that were in the
 *         back end's hands, and its link is down meanwhile. By fd= there is no path: the device stays dead.
 * Trust:  as vdev.h for the guest, as devices/vhost/user.h for the back end. Its configuration space is read once, and what
 *         the guest reads of it is that copy.
 * Thread: as vdev.h.
 * Source: virtio 1.2 s5.1, s5.2, s5.11; QEMU docs/interop/vhost-user.rst.
 */
#ifndef DEVICES_VIRTIO_VUSER_H
#define DEVICES_VIRTIO_VUSER_H

#include "devices/virtio/vdev.h"
#include "vmm/base/err.h"
#include "vmm/core/broker.h"

enum vuser_kind { VUSER_BLK, VUSER_FS, VUSER_NET };

#define VUSER_MAX_PAIRS 4 /* of a card's queues */
#define VUSER_TAG_MAX 36 /* bytes of a file system's name; one of all these has no NUL */

struct vuser_cfg {
	const char *name;
	enum vuser_kind kind;
	struct loop *loop;
	struct gmem *mem;   /* shared */
	int fd;             /* connected (vu_connect()); taken over, also on failure */
	struct broker *broker; /* connects to others by path @path; NULL: nobody does. It outlives the device, but for its answers. */
	uint32_t path;
	const char *tag;    /* FS: 1 to VUSER_TAG_MAX bytes */
	unsigned queues;    /* BLK: at most so many. NET: so many pairs, 1 to VUSER_MAX_PAIRS. */
	const uint8_t *mac; /* NET: the 6 bytes of the guest's address; borrowed as long as the device lives */
	uint16_t mtu;       /* NET: 0: not offered */
};

/* Before the loop's seal. Waits for the back end, some seconds at most. Errors, with a sentence: those of vu_greet(), vdev_init(). */
int vuser_new(const struct vuser_cfg *cfg, struct vdev **ret_v, struct err *err);

#endif
