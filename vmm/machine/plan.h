/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan - where everything goes, decided before anything is made
 *
 * What:   a pure function from the configuration and what the host can do to addresses,
 *         SPIs, PCI functions and the interrupt model. The same input gives the same plan.
 * Not:    opening or creating anything; the addresses themselves (arch/arm64/layout.h).
 * Trust:  the configuration is the user's, the facts are the host's; every sum is checked.
 * Thread: pure.
 * Source: KVM api.rst 4.1 (IPA size); Arm DEN0057 (steal time records).
 */
#ifndef VMM_MACHINE_PLAN_H
#define VMM_MACHINE_PLAN_H

#include "vmm/base/err.h"
#include "vmm/machine/config.h"

struct host_facts {
	unsigned max_ipa_bits, max_cpus;
	uint64_t max_memory;  /* RAM plus swap, bytes */
	bool gicv3, its;
	bool gicv2;           /* asked only where it can matter: no GICv3, or a GICv2 is wanted */
	bool steal_time;
	uint64_t pci_mem64;   /* bytes of 64-bit BARs that devices of the host's bring along */
	const uint64_t *pmem; /* bytes of each configured device's image, 0 where it is none; NULL: there are none */
};

struct plan_dev {
	const struct dev_config *cfg;
	bool pci;
	uint16_t rid;         /* pci */
	gpa_t gpa;            /* mmio */
	unsigned queues;      /* disks */
	gpa_t mem;            /* pmem: its image */
	uint32_t spi;         /* mmio; the host's devices: for their line */
};

struct plan {
	unsigned ipa_bits;
	gpa_t ram; uint64_t ram_size; /* what the VM maps */
	uint64_t ram_usable;  /* what of it, from the start, the guest's system may use */
	gpa_t steal; uint64_t steal_size; /* behind ram_usable, the end of RAM; 0: no steal time */
	bool gicv2;           /* else GICv3 */
	bool its;
	bool v2m;             /* a v2m frame: messages without an ITS */
	uint32_t v2m_spi, v2m_count; /* its SPIs */
	unsigned nr_irqs;     /* INTIDs, for the distributor: 64 to 992 */
	bool has_pci;
	gpa_t pci_mem64; uint64_t pci_mem64_size; /* window for 64-bit BARs, behind RAM; size 0: none */
	unsigned nr_devs;
	struct plan_dev devs[CONFIG_MAX_DEVICES];
};

/* All the steal time records of a VM: one 64-byte record a CPU, in one page of the largest size that guests have. */
#define PLAN_STEAL_SIZE (64 * KIB)

/* Is a device of this kind worth vectors of its own? Then it is on PCI by default. */
bool plan_is_busy(enum dev_kind kind);
/* "GICv3 with an ITS": what the plan chose, for people. */
const char *plan_irqchip_name(const struct plan *p);

/*
 * The IPA size that @memory bytes of RAM, @pci_mem64 bytes of 64-bit BARs and @pmem bytes of images (plan_pmem()) need; known
 * before the VM exists. -EFBIG beyond @max_ipa_bits.
 */
int plan_ipa_bits(uint64_t memory, uint64_t pci_mem64, uint64_t pmem, unsigned max_ipa_bits, unsigned *ret_bits, struct err *err);
/* What @n images of these @sizes, as host_facts.pmem, take of the guest's addresses. UINT64_MAX: more than there are. */
uint64_t plan_pmem(const uint64_t *sizes, unsigned n);
/* Everything else. -EINVAL, -EOPNOTSUPP (with a sentence): too many CPUs or devices, an interrupt model or transport the host lacks. */
int plan_make(const struct config *c, const struct host_facts *h, struct plan *ret_p, struct err *err);

#endif
