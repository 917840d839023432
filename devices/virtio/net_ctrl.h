/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_ctrl - a network card's queues, and the commands of the one that controls them
 *
 * What:   what is the same whoever moves the packets: the queues' names, and the one command that our cards know, how many queue
 *         pairs are to be used.
 * Not:    what becomes of the pairs (net.c, vuser_net.c).
 * Trust:  the command is the guest's: copied once, then looked at.
 * Thread: the loop.
 * Source: virtio 1.2 s5.1.2, s5.1.6.5.
 */
#ifndef DEVICES_VIRTIO_NET_CTRL_H
#define DEVICES_VIRTIO_NET_CTRL_H

#include "devices/virtio/vdev.h"

/* The pairs that the command in @c wants, of those of @v, each with its queues ready, up to @max; 0: it is no such command. */
unsigned net_ctrl_pairs(const struct vdev *v, const struct vq_chain *c, unsigned max);
/* Where the answer to it goes: in the guest's memory, one byte; NULL: it has no room for one. */
uint8_t *net_ctrl_ack(const struct vq_chain *c);
/* For struct vdev_ops: receive and transmit queues in pairs; the control queue, where there is one, is the last. */
void net_queue_name(unsigned q, unsigned nr_queues, char *buf, size_t cap);

#endif
