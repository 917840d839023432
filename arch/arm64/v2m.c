// SPDX-License-Identifier: BSD-3-Clause
/*
 * The SPIs of a frame are edges (the guest's driver makes them so), hence a pulse: up and down
 * again. KVM_IRQ_LINE knows no routing table, and may be called on a vCPU thread.
 */
#include "arch/arm64/v2m.h"

#include "vmm/core/bus.h"
#include "vmm/core/gsi.h"
#include "vmm/core/kvm.h"

#define MSI_TYPER 0x008
#define MSI_TYPER_BASE_SHIFT 16
/* All other registers read as 0: MSI_IIDR (0xfcc) too, since drivers have work-arounds by implementer. */

static uint64_t v2m_read(void *ctx, uint64_t off, unsigned len)
{
	const struct v2m *f = ctx;

	if (off == MSI_TYPER && len == 4)
		return (f->spi + FIRST_SPI) << MSI_TYPER_BASE_SHIFT | f->count;
	return 0;
}

/* The register takes an INTID in 32 bits, or in its lower 16 alone. */
static void v2m_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	const struct v2m *f = ctx;
	uint32_t spi = (uint32_t)val - FIRST_SPI;

	if (off != V2M_MSI_SETSPI_NS || (len != 4 && len != 2) || spi - f->spi >= f->count)
		return;
	(void)hyp_irq_line(f->hyp, spi, true);
	(void)hyp_irq_line(f->hyp, spi, false);
}

static const struct bus_ops v2m_ops = { .read = v2m_read, .write = v2m_write };

int v2m_add(struct v2m *f, struct bus *bus, gpa_t gpa)
{
	return bus_add(bus, gpa, V2M_FRAME_SIZE, &v2m_ops, f);
}
