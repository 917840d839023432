// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/kvm.h"


#include "vmm/core/kvm.h"
#include "vmm/core/loop.h"
#include "vmm/machine/machine.h"

static struct config least; /* no wishes; all zero, so that it takes no room in the file */

static int probe_vm(struct doctor_facts *f)
{
	unsigned bits;
	struct hyp *h;
	int fd, r;

	r = hyp_open_dev(&fd, &f->kvm_text);
	if (r)
		return r;
	bits = hyp_max_ipa_bits(fd);
	/* 40 is what a VM has that does not ask; a host that can do less says so. */
	r = hyp_new(fd, bits < 40 ? bits : 40, &h, &f->kvm_text);
	if (r)
		return r;
	r = machine_host_facts(h, bits, &f->plan_facts, &f->kvm_text);
	if (!r) {
		caps_probe(h, &f->caps);
		f->plan_facts.gicv2 = f->caps.gicv2; /* which a start asks only where it matters */
	}
	hyp_free(h);
	return r;
}

static int probe_loop(void)
{
	struct loop *l;
	int r = loop_new(&l);

	if (r)
		return r;
	r = loop_seal(l);
	loop_free(l);
	return r;
}

void kvm_probe(struct doctor_facts *f)
{
	struct plan unused;

	uring_probe(&f->uring);
	f->loop_error = probe_loop();
	f->kvm_error = probe_vm(f);
	if (f->kvm_error)
		return;
	f->plan_facts.pci_mem64 = f->host.pci_mem64;
	f->plan_error = plan_make(f->config, &f->plan_facts, &f->plan, &f->plan_text);
	f->plan_facts.pci_mem64 = 0;
	least.cpus = 1;
	least.memory = 64 * MIB;
	f->least_error = plan_make(&least, &f->plan_facts, &unused, &f->least_text);
}
