// SPDX-License-Identifier: BSD-3-Clause
/*
 * Questions wait in one list, in their order. The one at `unsent` is the next to be written; a write is under way for one
 * message at a time, and few are unanswered at any time: each answer has a descriptor on its way, of which the kernel allows a user
 * so many. The broker answers in the same order, so the answer that comes is the first one's, or none at all.
 */
#include "vmm/core/broker.h"

#include <errno.h>
#include <string.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"

#define MOST_ASKED 2

static void end_first(struct broker *b, int res)
{
	struct broker_ask *a = b->first;

	b->first = a->next;
	if (b->unsent == a)
		b->unsent = a->next;
	else
		b->asked--;
	a->busy = false;
	a->done(a->ctx, res);
}

/* Once. Each question ends; done() may ask again, and is refused. */
static void lost(struct broker *b, const char *why)
{
	if (b->gone)
		return;
	b->gone = true;
	log_warn("%s: the process that connects for it %s; there are no new connections from here on", b->name, why);
	while (b->first)
		end_first(b, -EPIPE);
}

static void send_next(struct broker *b)
{
	struct broker_ask *a = b->unsent;

	if (!a || b->tx.busy || b->gone || b->asked == MOST_ASKED)
		return;
	b->out = (struct broker_request){ .number = a->number, .path = a->path, .port = a->port };
	b->out_iov = (struct iovec){ .iov_base = &b->out, .iov_len = sizeof(b->out) };
	if (loop_writev(&b->tx, &b->out_iov, 1)) {
		lost(b, "cannot be written to");
		return;
	}
	b->unsent = a->next;
	b->asked++;
}

static void sent(void *ctx, int res)
{
	struct broker *b = ctx;

	if (res == -ECANCELED)
		return;
	if (res != sizeof(b->out))
		lost(b, "is gone");
	send_next(b);
}

static void receive(struct broker *b)
{
	b->in_iov = (struct iovec){ .iov_base = &b->in, .iov_len = sizeof(b->in) };
	b->msg = (struct msghdr){
		.msg_iov = &b->in_iov, .msg_iovlen = 1, .msg_control = b->control, .msg_controllen = sizeof(b->control),
	};
	if (loop_recvmsg(&b->rx, &b->msg, MSG_CMSG_CLOEXEC))
		lost(b, "cannot be read from");
}

static void received(void *ctx, int res)
{
	struct broker *b = ctx;
	int fd;

	if (res == -ECANCELED || b->gone)
		return;
	if (res == -EINTR || res == -ENOMEM) {
		receive(b);
		return;
	}
	if (res <= 0) {
		lost(b, "is gone");
		return;
	}
	fd = fd_of_message(&b->msg);
	if (res != sizeof(b->in) || !b->first || b->first == b->unsent || b->in.number != b->first->number ||
	    b->in.error > 0 || (b->in.error && fd >= 0)) {
		lost(b, "says what it was not asked");
		return;
	}
	/* without one: this process has no room for more descriptors */
	end_first(b, b->in.error ? b->in.error : fd >= 0 ? fd : -EMFILE);
	send_next(b);
	receive(b);
}

int broker_init(struct broker *b, struct loop *l, int fd, const char *name)
{
	int r;

	*b = (struct broker){ .fd = fd, .name = name };
	r = loop_io_init(l, &b->tx, fd, sent, b);
	if (!r)
		r = loop_io_init(l, &b->rx, fd, received, b);
	if (r) {
		close_fd(&b->fd);
		return r;
	}
	receive(b);
	return 0;
}

void broker_fini(struct broker *b)
{
	if (!b->name)
		return;
	b->gone = true;
	loop_io_cancel(&b->tx);
	loop_io_cancel(&b->rx);
	close_fd(&b->fd);
	b->name = NULL;
}

int broker_ask(struct broker *b, struct broker_ask *a, uint32_t path, uint32_t port)
{
	if (b->gone)
		return -EPIPE;
	if (a->busy)
		return -EBUSY;
	a->path = path;
	a->port = port;
	a->number = b->next_number++;
	a->next = NULL;
	a->busy = true;
	if (b->first)
		b->last->next = a;
	else
		b->first = a;
	b->last = a;
	if (!b->unsent)
		b->unsent = a;
	send_next(b);
	return 0;
}
