/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kvm - the seam between this program and the kernel's KVM interface
 *
 * What:   one "hyp": /dev/kvm and a VM. Each function is one ioctl with plain arguments.
 * Not:    policy. Who calls what, when, and in which order is decided above
 *         (gsi, irqfd, doorbell, arch/). CPU and interrupt controller set-up use
 *         hyp_vm_fd() in arch/.
 * Trust:  arguments have been checked by the caller; the kernel checks again.
 * Thread: any, as the kernel serialises; hyp_set_routes() only under the gsi space's lock.
 * Source: Linux Documentation/virt/kvm/api.rst.
 *
 * Tests link tests/fake/kvm.c instead, which has the kernel's bad manners.
 */
#ifndef VMM_CORE_KVM_H
#define VMM_CORE_KVM_H

#include "vmm/base/err.h"
#include "vmm/base/rights.h"
#include "vmm/base/types.h"

struct hyp;

#define FIRST_SPI 32 /* INTID of SPI 0: GICv3 architecture 2.2 */

/*
 * Opens /dev/kvm and checks the API version. 0 and the descriptor, which is the caller's
 * until hyp_new() takes it. -ENOENT, -EACCES, -ENODEV (wrong version): all mean "no usable
 * KVM on this host".
 */
int hyp_open_dev(int *ret_fd, struct err *err);

/*
 * Makes a VM whose guest physical addresses have @ipa_bits bits (KVM_CREATE_VM). Takes
 * @kvm_fd in any case. -EINVAL if the host cannot do that many bits, -ENOMEM, -EMFILE.
 */
int hyp_new(int kvm_fd, unsigned ipa_bits, struct hyp **ret_h, struct err *err);
/* Closes /dev/kvm and the VM; vCPUs and devices made of it are closed by their owners. NULL is fine. */
void hyp_free(struct hyp *h);

/* Closes /dev/kvm: no more vCPUs, no more questions of what it can do. */
void hyp_settle(struct hyp *h);

int hyp_kvm_fd(const struct hyp *h); /* borrowed */
int hyp_vm_fd(const struct hyp *h);  /* borrowed */

/* The largest IPA size of this host in bits (KVM_CAP_ARM_VM_IPA_SIZE; 40 where it is absent). */
unsigned hyp_max_ipa_bits(int kvm_fd);
/* How many vCPUs a VM may have, more than 0 (KVM_CAP_MAX_VCPUS, api.rst 4.4); ioctl(2)'s errors, negative. @kvm_fd: borrowed. Any thread. */
int hyp_max_vcpus(int kvm_fd);
/* The value of any KVM_CAP_x on the VM; 0 where it is unknown. */
int hyp_check(const struct hyp *h, long cap);
/* KVM_CAP_IRQ_ROUTING: one more than the largest GSI. */
unsigned hyp_max_routes(const struct hyp *h);
/* KVM_CAP_MSI_DEVID: meaningful only after the ITS was created. */
bool hyp_needs_devid(const struct hyp *h);

/*
 * Maps [@hva, @hva + @size) at @gpa as memory slot @slot (KVM_SET_USER_MEMORY_REGION);
 * @readonly: guest writes come out as MMIO exits. @size 0 deletes the slot. All multiples
 * of the host's page. -EEXIST overlap, -EINVAL alignment, -ENOMEM.
 */
int hyp_set_memory(struct hyp *h, uint32_t slot, gpa_t gpa, uint64_t size, void *hva, bool readonly);

enum hyp_route_kind { HYP_ROUTE_NONE, HYP_ROUTE_SPI, HYP_ROUTE_MSI };

struct hyp_route {
	uint32_t gsi;
	uint8_t kind;       /* enum hyp_route_kind */
	bool valid_devid;   /* KVM_MSI_VALID_DEVID; MSI only */
	uint32_t pin;       /* SPI number (INTID - 32); SPI only */
	uint32_t data;      /* MSI only, as are the next two */
	uint32_t devid;
	uint64_t addr;
};

/*
 * Replaces the whole table by @n routes (KVM_SET_GSI_ROUTING); entries of kind NONE are
 * left out. All or nothing. -EINVAL: duplicate or too large GSI, too many; -ENOMEM.
 * Allocates nothing in this process: the buffer is sized at hyp_new().
 */
int hyp_set_routes(struct hyp *h, const struct hyp_route *routes, unsigned n);
/* Bytes of a table of @n routes as the kernel is handed it: struct kvm_irq_routing and its entries. Pure. */
#define HYP_TABLE_SIZE 8
#define HYP_ROUTE_SIZE 48
static inline uint64_t hyp_table_bytes(unsigned n)
{
	return HYP_TABLE_SIZE + (uint64_t)n * HYP_ROUTE_SIZE;
}

/*
 * KVM_IRQFD. Attaches eventfd @fd to @gsi; @resample_fd is an eventfd or -1.
 * -EBUSY: the eventfd is attached already; -EAGAIN: the interrupt controller is not
 * initialised; -EBADF, -EINVAL: not an eventfd. Detach of what is not attached is 0.
 */
int hyp_irqfd_attach(struct hyp *h, int fd, uint32_t gsi, int resample_fd);
int hyp_irqfd_detach(struct hyp *h, int fd, uint32_t gsi);

/*
 * KVM_IOEVENTFD: a guest write of @len bytes (1, 2, 4, 8) at @gpa signals @fd; with
 * @match >= 0 only if the value equals it. -EEXIST: the place is taken. Detach repeats the
 * same arguments; -ENOENT where they differ.
 */
int hyp_ioeventfd_attach(struct hyp *h, int fd, gpa_t gpa, unsigned len, int64_t match);
int hyp_ioeventfd_detach(struct hyp *h, int fd, gpa_t gpa, unsigned len, int64_t match);

/*
 * KVM_SIGNAL_MSI: a write of @data to @addr by device @devid (unless not @valid_devid), now.
 * Independent of the routing table. 1: delivered; 0: the guest has not mapped it; -ENODEV: no
 * ITS; -EINVAL: the address is no doorbell, or it wants a device id; -EBUSY: switched off.
 */
int hyp_signal_msi(struct hyp *h, uint64_t addr, uint32_t data, bool valid_devid, uint32_t devid);

/*
 * Tells KVM of VFIO group @group_fd (KVM_DEV_VFIO_GROUP_ADD): drivers of devices look for their VM when
 * they are opened, so before that. Once more is fine; the group stays the caller's. -ENODEV: a kernel
 * whose KVM knows nothing of VFIO; it goes without.
 */
int hyp_join_vfio(struct hyp *h, int group_fd);

/*
 * KVM_IRQ_LINE for SPI @spi (INTID - 32). Independent of the routing table. -EINVAL: no such SPI; -ENXIO: no interrupt
 * controller. A failure is logged, within a limit: no caller can do more about it.
 */
int hyp_irq_line(struct hyp *h, uint32_t spi, bool level);

/* Who looks on: each function is called after the call of its name, by the same thread, with what was asked and answered. */
struct hyp_watch {
	void (*set_routes)(void *ctx, const struct hyp_route *routes, unsigned n, int result);
	void (*irqfd_attach)(void *ctx, int fd, uint32_t gsi, int resample_fd, int result);
	void (*irqfd_detach)(void *ctx, int fd, uint32_t gsi, int result);
	void (*irq_line)(void *ctx, uint32_t spi, bool level, int result);
	void (*signal_msi)(void *ctx, const struct hyp_route *msi, int result);
};

/* Once, at set-up; both are borrowed. For irq_check.h, which trusts nobody's word on what KVM was told. */
void hyp_set_watch(struct hyp *h, const struct hyp_watch *watch, void *ctx);

/* For the filters of system calls. */
extern const struct right hyp_rights[];

#endif
