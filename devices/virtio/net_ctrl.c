// SPDX-License-Identifier: BSD-3-Clause
#include "devices/virtio/net_ctrl.h"

#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>

struct command {
	uint8_t class;
	uint8_t cmd;
	uint16_t data;
} __attribute__((packed));

/* Copies the first @len readable bytes, each once; false if there are fewer. */
static bool fetch(const struct vq_chain *c, void *buf, size_t len)
{
	size_t got = 0;

	for (unsigned i = 0; i < c->n_out && got < len; i++) {
		size_t part = c->iov[i].iov_len < len - got ? c->iov[i].iov_len : len - got;

		memcpy((char *)buf + got, c->iov[i].iov_base, part);
		got += part;
	}
	return got == len;
}

unsigned net_ctrl_pairs(const struct vdev *v, const struct vq_chain *c, unsigned max)
{
	struct command m;

	if (!fetch(c, &m, sizeof(m)) || m.class != VIRTIO_NET_CTRL_MQ ||
	    m.cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || !vdev_has(v, VIRTIO_NET_F_MQ))
		return 0;
	if (m.data < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || m.data > max)
		return 0;
	for (unsigned q = 0; q < 2u * m.data; q++)
		if (!v->queues[q].regs.ready)
			return 0;
	return m.data;
}

uint8_t *net_ctrl_ack(const struct vq_chain *c)
{
	return c->n_in ? c->iov[c->n_out].iov_base : NULL;
}

void net_queue_name(unsigned q, unsigned nr_queues, char *buf, size_t cap)
{
	if (nr_queues % 2 && q == nr_queues - 1)
		snprintf(buf, cap, "ctrl");
	else
		snprintf(buf, cap, "%s%u", q % 2 ? "tx" : "rx", q / 2);
}
