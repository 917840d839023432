/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * host - what the host's files say
 *
 * What:   kernel, memory, device nodes, taps, IOMMU. Nothing is created, loaded or changed: a
 *         node is opened only where its driver is in the kernel already.
 * Not:    KVM itself (kvm.h); io_uring (vmm/core/uring_probe.h).
 * Trust:  the host's; numbers that cannot be read are 0.
 * Thread: one.
 * Source: proc(5), sysfs; Linux Documentation/networking/tuntap.rst for who may have a tap.
 */
#ifndef VMM_DOCTOR_HOST_H
#define VMM_DOCTOR_HOST_H

#include "vmm/doctor/facts.h"

/* @root is put before each path: "" but for tests. */
void host_probe(const char *root, const struct config *c, struct host *ret_h);

#endif
