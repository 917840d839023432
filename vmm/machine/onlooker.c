// SPDX-License-Identifier: BSD-3-Clause
/*
 * --irq-check in a machine. What the check needs to know of the machine is which device ids the
 * device tree gives: the tree maps a function to the base and its requester id, and that sum is
 * made here once more, apart from the one that a device's routes carry.
 *
 * A broken rule ends the VM as any failure of the monitor does. At the end the devices are taken
 * apart, which a VM without the check leaves to the kernel, to see that nothing of them is left.
 */
#include <stdio.h>
#include <string.h>

#include "devices/pci/host.h"
#include "vmm/core/gsi.h"
#include "vmm/core/irq_check.h"
#include "vmm/machine/internal.h"

static void rule_broken(void *ctx, const char *sentence)
{
	char text[sizeof(((struct machine_result *)0)->text)];

	snprintf(text, sizeof(text), "--irq-check: %s", sentence);
	machine_stop(ctx, STOP_FAILED, 0, text);
}

int onlooker_new(struct machine *m)
{
	int r = irq_check_new(m->space, rule_broken, m, &m->check);

	for (unsigned i = 0; !r && i < m->plan.nr_devs; i++)
		if (m->plan.devs[i].pci)
			irq_check_devid(m->check, pci_msi_devid(0) + m->plan.devs[i].rid);
	return r;
}

static void take_apart(struct machine *m)
{
	m->hvc = NULL;
	for (unsigned i = 0; i < m->plan.nr_devs; i++) {
		mdev_free(&m->devs[i]);
		mdev_init(&m->devs[i]);
	}
	(void)gsi_commit(m->space);
}

void onlooker_end(struct machine *m, struct machine_result *ret_r)
{
	const char *verdict;

	take_apart(m);
	irq_check_end(m->space);
	verdict = irq_check_verdict(m->check);
	if (!verdict)
		return;
	/* Also where the guest had ended by then. */
	ret_r->reason = STOP_FAILED;
	snprintf(ret_r->text, sizeof(ret_r->text), "--irq-check: %s", verdict);
}
