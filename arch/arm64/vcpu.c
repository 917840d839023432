/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Life of a vCPU: CREATE_VCPU, the run mapping, INIT with the features that the VM was asked
 * for once, SVE finalised with every vector length the host has, MPIDR read back. After the
 * interrupt controller's INIT the PMU gets its interrupt and its own INIT. Then KVM_RUN.
 *
 * Stopping: vcpu_kick() sets immediate_exit and the caller sends a signal. A CPU inside
 * KVM_RUN is driven out by the signal, one about to enter is stopped by the flag. Whoever
 * takes the EINTR swaps the flag back to 0: the swap's acquire pairs with the kick's release,
 * so that what the kicker wrote before is seen after.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/arm64/image.h"
#include "arch/arm64/layout.h"
#include "arch/arm64/vcpu.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/fdbook.h"
#include "vmm/base/log.h"
#include "vmm/base/rights.h"
#include "vmm/core/kvm.h"

/* Affinity fields of MPIDR_EL1: Aff3 in bits 39:32, Aff2 to Aff0 in bits 23:0. */
#define MPIDR_AFFINITY UINT64_C(0xff00ffffff)
#define REG_MPIDR ARM64_SYS_REG(3, 0, 0, 0, 5)
#define REG_ID_AA64MMFR0 ARM64_SYS_REG(3, 0, 0, 7, 0)

#define CORE_REG(field) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.field))

static int set_reg(const struct vcpu *c, uint64_t id, uint64_t val)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&val };

	return ioctl(c->fd, KVM_SET_ONE_REG, &reg) ? -errno : 0;
}

static int get_reg(const struct vcpu *c, uint64_t id, uint64_t *ret_val)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)ret_val };

	return ioctl(c->fd, KVM_GET_ONE_REG, &reg) ? -errno : 0;
}

static void add_feature(struct vcpu_features *f, unsigned bit)
{
	f->bits |= BIT32(bit);
}

/* Refused by kernels that lack it: such an access then ends the VM with ENOSYS. */
static void report_undecodable_accesses(const struct hyp *h)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ARM_NISV_TO_USER };

	(void)ioctl(hyp_vm_fd(h), KVM_ENABLE_CAP, &cap);
}

bool vcpu_offers_steal_time(const struct hyp *h)
{
	return hyp_check(h, KVM_CAP_STEAL_TIME) > 0;
}

int vcpu_probe_features(const struct hyp *h, struct vcpu_features *ret_f, struct err *err)
{
	struct kvm_vcpu_init init = { 0 };
	struct vcpu_features f = { 0 };
	int size;

	if (ioctl(hyp_vm_fd(h), KVM_ARM_PREFERRED_TARGET, &init))
		return err_set(err, -errno, "kvm: KVM_ARM_PREFERRED_TARGET: %s", strerror(errno));
	size = ioctl(hyp_kvm_fd(h), KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(err, size < 0 ? -errno : -EIO, "kvm: KVM_GET_VCPU_MMAP_SIZE: %s",
			       size < 0 ? strerror(errno) : "too small");
	f.run_size = (size_t)size;
	f.target = init.target;
	add_feature(&f, KVM_ARM_VCPU_PSCI_0_2);
	f.sve = hyp_check(h, KVM_CAP_ARM_SVE) > 0;
	if (f.sve)
		add_feature(&f, KVM_ARM_VCPU_SVE);
	/* Both or none: KVM refuses half of it. */
	f.pauth = hyp_check(h, KVM_CAP_ARM_PTRAUTH_ADDRESS) > 0 &&
		  hyp_check(h, KVM_CAP_ARM_PTRAUTH_GENERIC) > 0;
	if (f.pauth) {
		add_feature(&f, KVM_ARM_VCPU_PTRAUTH_ADDRESS);
		add_feature(&f, KVM_ARM_VCPU_PTRAUTH_GENERIC);
	}
	f.pmu = hyp_check(h, KVM_CAP_ARM_PMU_V3) > 0;
	if (f.pmu)
		add_feature(&f, KVM_ARM_VCPU_PMU_V3);
	report_undecodable_accesses(h);
	*ret_f = f;
	return 0;
}

static int init_cpu(struct vcpu *c, const struct vcpu_features *f, struct err *err)
{
	struct kvm_vcpu_init init = { .target = f->target };
	int what = KVM_ARM_VCPU_SVE;
	uint64_t mpidr;
	int rc;

	init.features[0] = f->bits;
	if (c->index)
		init.features[0] |= BIT32(KVM_ARM_VCPU_POWER_OFF);
	if (ioctl(c->fd, KVM_ARM_VCPU_INIT, &init))
		return err_set(err, -errno, "cpu%u: KVM_ARM_VCPU_INIT: %s (features 0x%x)", c->index,
			       strerror(errno), (unsigned)init.features[0]);
	if (f->sve && ioctl(c->fd, KVM_ARM_VCPU_FINALIZE, &what))
		return err_set(err, -errno, "cpu%u: KVM_ARM_VCPU_FINALIZE (SVE): %s", c->index, strerror(errno));
	rc = get_reg(c, REG_MPIDR, &mpidr);
	if (rc)
		return err_set(err, rc, "cpu%u: reading MPIDR_EL1: %s", c->index, strerror(-rc));
	c->mpidr = mpidr & MPIDR_AFFINITY;
	return 0;
}

int vcpu_new(const struct hyp *h, unsigned index, const struct vcpu_features *f, struct vcpu *ret_c,
	     struct err *err)
{
	struct vcpu c = { .index = index, .run_size = f->run_size };
	void *run;
	int rc;

	c.fd = ioctl(hyp_vm_fd(h), KVM_CREATE_VCPU, (unsigned long)index);
	if (c.fd < 0)
		return err_set(err, -errno, "cpu%u: KVM_CREATE_VCPU: %s", index, strerror(errno));
	run = mmap(NULL, c.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c.fd, 0);
	if (run == MAP_FAILED) {
		rc = err_set(err, -errno, "cpu%u: mapping the run structure: %s", index, strerror(errno));
		close_fd(&c.fd);
		return rc;
	}
	fd_note(c.fd, FD_VCPU);
	c.run = run;
	rc = init_cpu(&c, f, err);
	if (rc) {
		vcpu_fini(&c);
		return rc;
	}
	*ret_c = c;
	return 0;
}

void vcpu_fini(struct vcpu *c)
{
	if (!c->run)
		return;
	munmap(c->run, c->run_size);
	close_fd(&c->fd);
	c->run = NULL;
}

static int set_attr(struct vcpu *c, uint32_t group, uint64_t attr, void *data)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)data };

	return ioctl(c->fd, KVM_SET_DEVICE_ATTR, &a) ? -errno : 0;
}

static int init_pmu(struct vcpu *c, struct err *err)
{
	int intid = LAYOUT_PPI_PMU + 16;
	int rc;

	rc = set_attr(c, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, &intid);
	if (!rc)
		rc = set_attr(c, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, NULL);
	if (rc)
		return err_set(err, rc, "cpu%u: PMU: %s", c->index, strerror(-rc));
	return 0;
}

int vcpu_late_init(struct vcpu *c, const struct vcpu_features *f, gpa_t steal_gpa, struct err *err)
{
	uint64_t ipa = steal_gpa;
	int rc = 0;

	if (f->pmu)
		rc = init_pmu(c, err);
	if (rc || !steal_gpa)
		return rc;
	rc = set_attr(c, KVM_ARM_VCPU_PVTIME_CTRL, KVM_ARM_VCPU_PVTIME_IPA, &ipa);
	if (rc)
		return err_set(err, rc, "cpu%u: steal time: %s", c->index, strerror(-rc));
	return 0;
}

/* INIT has left EL1h with DAIF masked, and X1 to X3 zero, as booting.rst wants them. */
int vcpu_set_entry(struct vcpu *c, gpa_t entry, gpa_t dtb, struct err *err)
{
	int rc;

	rc = set_reg(c, CORE_REG(pc), entry);
	if (!rc)
		rc = set_reg(c, CORE_REG(regs[0]), dtb);
	if (rc)
		return err_set(err, rc, "cpu%u: setting the entry point: %s", c->index, strerror(-rc));
	return 0;
}

/* ID_AA64MMFR0_EL1: TGran4 and TGran64 say "no" by 15, TGran16 by 0. */
unsigned vcpu_page_sizes(const struct vcpu *c)
{
	unsigned sizes = 0;
	uint64_t mmfr0;

	if (get_reg(c, REG_ID_AA64MMFR0, &mmfr0))
		return IMAGE_PAGES_ALL;
	if ((mmfr0 >> 28 & 0xf) != 0xf)
		sizes |= IMAGE_PAGES_4K;
	if ((mmfr0 >> 20 & 0xf) != 0)
		sizes |= IMAGE_PAGES_16K;
	if ((mmfr0 >> 24 & 0xf) != 0xf)
		sizes |= IMAGE_PAGES_64K;
	return sizes;
}

/* The faulting address is still the vCPU's last fault: KVM fills FAR_EL1 from it. */
static void inject_external_abort(struct vcpu *c, struct vcpu_exit *x)
{
	struct kvm_vcpu_events ev = { .exception.ext_dabt_pending = 1 };

	x->kind = VCPU_AGAIN;
	if (!ioctl(c->fd, KVM_SET_VCPU_EVENTS, &ev))
		return;
	exit_decode_errno(c->run, errno, x);
}

/*
 * An atomic or unaligned access to a device's memory faults in a way that KVM hands to us, for good. Any process of the
 * guest's that was given the device may cause it: it is that one's fault, as without KVM.
 */
static void answer_device_fault(struct vcpu *c, struct vcpu_exit *x)
{
	log_guest("cpu%u: an access to a device's memory that the device cannot take; the guest gets an external abort", c->index);
	inject_external_abort(c, x);
}

void vcpu_run(struct vcpu *c, struct vcpu_exit *ret_x)
{
	int rc = ioctl(c->fd, KVM_RUN, 0);

	/* no other thread counts */
	atomic_store_explicit(&c->exits, atomic_load_explicit(&c->exits, memory_order_relaxed) + 1, memory_order_relaxed);
	if (rc) {
		int errnum = errno;

		if (errnum == EINTR)
			__atomic_exchange_n(&c->run->immediate_exit, 0, __ATOMIC_ACQ_REL);
		exit_decode_errno(c->run, errnum, ret_x);
		if (errnum == EFAULT && c->has_device_memory)
			answer_device_fault(c, ret_x);
		return;
	}
	exit_decode(c->run, ret_x);
	if (ret_x->kind == VCPU_NO_SYNDROME)
		inject_external_abort(c, ret_x);
}

void vcpu_mmio_done(struct vcpu *c, uint64_t val)
{
	memcpy(c->run->mmio.data, &val, sizeof(c->run->mmio.data));
}

void vcpu_kick(struct vcpu *c)
{
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_RELEASE);
}

const struct right vcpu_rights[] = {
	{ RIGHT_CPU, SYS_ioctl, RIGHT_OWN_REQUEST, FD_VCPU, KVM_RUN, "the guest runs" },
	{ RIGHT_CPU, SYS_ioctl, RIGHT_OWN_REQUEST, FD_VCPU, KVM_SET_VCPU_EVENTS, "an external abort answers an access without syndrome" },
	{ 0 },
};
