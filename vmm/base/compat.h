/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * compat - constants of newer kernels that the oldest supported headers (Linux 6.1) lack
 *
 * What:   each is part of the kernel's ABI, so its value never changes; whether the running
 *         kernel knows it is found out by trying, never from here.
 * Not:    constants that 6.1's headers have.
 * Source: include/uapi of the kernel named beside each group.
 */
#ifndef VMM_BASE_COMPAT_H
#define VMM_BASE_COMPAT_H

#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdint.h>

/* if_tun.h, 6.2: UDP segmentation, IPv4 and IPv6; the kernel takes both or neither */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#endif
#ifndef TUN_F_USO6
#define TUN_F_USO6 0x40
#endif

/* virtio_net.h, 6.2 */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#endif
#ifndef VIRTIO_NET_F_GUEST_USO6
#define VIRTIO_NET_F_GUEST_USO6 55
#endif
#ifndef VIRTIO_NET_F_HOST_USO
#define VIRTIO_NET_F_HOST_USO 56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* landlock.h, all of it up to 6.12: files; 6.7: ports; 6.12: names of sockets, and signals */
struct landlock_rules {
	uint64_t fs, net, scoped;
};

/* siginfo.h; glibc has no name for it */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

#endif
