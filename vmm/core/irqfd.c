// SPDX-License-Identifier: BSD-3-Clause
/*
 * irqfd - theory of operation
 *
 * One eventfd, in one of two states. Attached: KVM takes the counter to zero inside each
 * signal and injects; nobody else ever sees the descriptor readable. Detached: the counter
 * collects, and is what the next attach finds; KVM then injects once.
 *
 * Nothing is lost in between. A signal before KVM unhooks the eventfd was injected, one
 * after it is in the counter; KVM's detach waits for an injection that is under way, so
 * none follows its return. The count that KVM zeroes at detach is what an attach found and
 * has already injected.
 *
 * Where messages are signalled, "attached" means that the loop polls the eventfd, takes each
 * count and calls KVM_SIGNAL_MSI. The same holds: a signal that the loop has not taken when
 * the poll ends is in the counter, and a poll of an eventfd with a count reports at once. Poll
 * and detach both run on the loop, so nothing is injected after a detach.
 *
 * The GSI is held (gsi_hold()) before the attach and released after the detach, so that its
 * route stands for as long as a signal can look for it.
 */
#include "vmm/core/irqfd.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/core/gsi.h"
#include "vmm/core/irq_check.h"
#include "vmm/core/kvm.h"

int irqfd_init(struct irqfd *f, struct gsi_space *space)
{
	int fd = fd_event();

	if (fd < 0)
		return fd;
	*f = (struct irqfd){ .space = space, .fd = fd, .resample_fd = -1 };
	return 0;
}

static void hop(void *ctx, uint32_t events)
{
	struct irqfd *f = ctx;

	(void)events;
	/* What cannot be delivered now never will: KVM's own irqfds do not keep it either. */
	if (fd_drain(f->fd))
		(void)msi_route_signal(f->hop);
}

int irqfd_init_msi(struct irqfd *f, struct gsi_space *space, struct loop *loop)
{
	int err = irqfd_init(f, space);

	if (err)
		return err;
	f->by_message = true;
	if (gsi_msi_way(space) != MSI_BY_SIGNAL)
		return 0;
	err = loop_poll_init(loop, &f->poll, f->fd, hop, f);
	if (err)
		close_fd(&f->fd);
	f->poll.drains = true;
	return err;
}

void irqfd_fini(struct irqfd *f)
{
	irqfd_detach(f);
	if (f->told)
		gsi_forget_irqfd(f->space, f);
	loop_poll_fini(&f->poll);
	close_fd(&f->fd);
}

void irqfd_tell(struct irqfd *f, const char *owner, const char *name)
{
	f->owner = owner;
	f->name = name;
	f->told = true;
	gsi_tell_irqfd(f->space, f);
}

void irqfd_note(struct irqfd *f, const struct msi_route *r, bool masked)
{
	if (masked && !f->masked && f->was_attached) {
		gsi_count(f->space, GSI_MASKED);
		f->masked = true;
	} else if (!masked && f->masked && f->attached) {
		gsi_count(f->space, GSI_UNMASKED);
		f->masked = false;
	}
	/* Without a message what was masked is not coming back, and its next life is a new one. */
	if (!r)
		f->masked = f->was_attached = false;
	f->route = r;
}

/*
 * Will KVM replay a signal? Where nothing can have been signalled since the detach, nobody has to
 * be asked.
 */
static void count_replay(struct irqfd *f)
{
	if (f->lent ? !f->was_attached : atomic_load(&f->signals) == f->seen)
		return;
	if (irqfd_pending(f))
		gsi_count(f->space, GSI_REPLAYED);
}

static void note_detached(struct irqfd *f)
{
	f->seen = atomic_load(&f->signals);
	f->was_attached = true;
}

int irqfd_attach(struct irqfd *f, uint32_t gsi)
{
	int err;

	if (f->attached && !f->hop && f->gsi == gsi)
		return 0;
	irqfd_detach(f);
	err = gsi_hold(f->space, gsi);
	if (err)
		return err;
	count_replay(f);
	err = hyp_irqfd_attach(gsi_hyp(f->space), f->fd, gsi, f->resample_fd);
	if (err) {
		gsi_release(f->space, gsi);
		return err;
	}
	f->attached = true;
	f->gsi = gsi;
	irq_check_state(f->space);
	return 0;
}

static int attach_hop(struct irqfd *f, struct msi_route *r)
{
	int err;

	if (f->hop == r)
		return 0;
	irqfd_detach(f);
	err = msi_route_hold(r);
	if (err)
		return err;
	count_replay(f);
	f->attached = true;
	f->hop = r;
	loop_poll_arm(&f->poll, POLLIN);
	return 0;
}

int irqfd_attach_msi(struct irqfd *f, struct msi_route *r)
{
	if (!msi_route_live(r))
		return -EINVAL;
	if (gsi_msi_way(f->space) == MSI_BY_SIGNAL)
		return attach_hop(f, r);
	return irqfd_attach(f, msi_route_gsi(r));
}

bool irqfd_at_msi(const struct irqfd *f, const struct msi_route *r)
{
	if (!f->attached)
		return false;
	return gsi_msi_way(f->space) == MSI_BY_SIGNAL ? f->hop == r : f->gsi == msi_route_gsi(r);
}

static void detach_hop(struct irqfd *f)
{
	loop_poll_disarm(&f->poll);
	msi_route_release(f->hop);
	f->hop = NULL;
	f->attached = false;
	note_detached(f);
}

void irqfd_detach(struct irqfd *f)
{
	if (!f->attached)
		return;
	if (f->hop) {
		detach_hop(f);
		return;
	}
	/* It fails only for what is not an eventfd, and this one is. */
	(void)hyp_irqfd_detach(gsi_hyp(f->space), f->fd, f->gsi);
	f->attached = false;
	note_detached(f);
	gsi_release(f->space, f->gsi);
	irq_check_state(f->space);
}

bool irqfd_take(struct irqfd *f)
{
	assert(!f->attached);
	return fd_drain(f->fd);
}

bool irqfd_pending(const struct irqfd *f)
{
	struct pollfd p = { .fd = f->fd, .events = POLLIN };

	assert(!f->attached);
	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

void irqfd_raise(struct irqfd *f)
{
	const uint64_t one = 1;
	ssize_t n;

	atomic_fetch_add_explicit(&f->signals, 1, memory_order_relaxed);
	/* EAGAIN, the only error, says that 2^64 - 2 signals wait already: one of them is enough. */
	n = write(f->fd, &one, sizeof(one));
	(void)n;
}
