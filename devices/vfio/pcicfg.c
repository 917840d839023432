// SPDX-License-Identifier: BSD-3-Clause
/*
 * pcicfg - theory of operation
 *
 * Capabilities stay where the device has them, as drivers may look at fixed places; only the chain is
 * made new. Each is in one of three states: shown and the device's (PCI Express, vendor), shown and
 * ours (MSI, MSI-X: the guest programs our tables, the kernel programs the device's), or hidden, and
 * then its bytes read 0. Power management is hidden: a device in D3 does not decode its BARs, and the
 * guest touches them without us. What lies in no capability is the device's own business and is handed
 * through.
 *
 * A hidden capability of a kind whose length is not known here ends at the next one.
 *
 * The function sits on our root bus, where an endpoint is an integrated one; its device type says so,
 * or a guest looks for the link that is not there.
 */
#include "devices/vfio/pcicfg.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "vmm/base/checked.h"

#define CAPS_START 0x40
#define MAX_CAPS ((PCI_CFG_SIZE - CAPS_START) / 4)
#define EXP_V1_SIZE 0x14 /* of an endpoint */
#define EXP_V2_SIZE 0x3c
#define MSIX_CAP_SIZE 12

struct cap {
	uint8_t off, id;
	unsigned len; /* bytes, the id among them; 0: not known */
	bool shown;
};

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static unsigned msi_len(uint16_t flags)
{
	return 10u + (flags & PCI_MSI_FLAGS_64BIT ? 4 : 0) + (flags & PCI_MSI_FLAGS_MASKBIT ? 10 : 0);
}

/* Bytes of the capability at @p, of which two are there for certain and @left altogether; 0: not known. */
static unsigned cap_len(const uint8_t *p, unsigned left)
{
	switch (p[PCI_CAP_LIST_ID]) {
	case PCI_CAP_ID_MSI:
		return left >= 4 ? msi_len(get16(p + PCI_MSI_FLAGS)) : 10;
	case PCI_CAP_ID_MSIX:
		return MSIX_CAP_SIZE;
	case PCI_CAP_ID_EXP:
		return left >= 4 && (get16(p + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_VERS) >= 2 ? EXP_V2_SIZE : EXP_V1_SIZE;
	case PCI_CAP_ID_VNDR:
		return left >= 3 && p[2] >= 3 ? p[2] : 3;
	case PCI_CAP_ID_PM:
	case PCI_CAP_ID_VPD:
		return 8;
	case PCI_CAP_ID_AF:
		return 6;
	default:
		return 0;
	}
}

/* Both tables in a BAR that there can be; @p has room for the capability. */
static bool msix_sound(const uint8_t *p)
{
	return (p[PCI_MSIX_TABLE] & PCI_MSIX_TABLE_BIR) < PCI_NUM_BARS && (p[PCI_MSIX_PBA] & PCI_MSIX_PBA_BIR) < PCI_NUM_BARS;
}

static bool cap_shown(const uint8_t *p, bool msi)
{
	switch (p[PCI_CAP_LIST_ID]) {
	case PCI_CAP_ID_MSI:
		return msi;
	case PCI_CAP_ID_MSIX:
		return msi && msix_sound(p);
	case PCI_CAP_ID_EXP:
	case PCI_CAP_ID_VNDR:
		return true;
	default:
		return false;
	}
}

/* Follows the chain as far as it is sound. */
static unsigned read_chain(const uint8_t *raw, bool msi, struct cap *caps)
{
	uint8_t at = get16(raw + PCI_STATUS) & PCI_STATUS_CAP_LIST ? raw[PCI_CAPABILITY_LIST] & ~3u : 0;
	unsigned n = 0;

	while (at >= CAPS_START && n < MAX_CAPS) {
		const uint8_t *p = raw + at;
		unsigned left = PCI_CFG_SIZE - at;
		struct cap *c = &caps[n];

		for (unsigned i = 0; i < n; i++)
			if (caps[i].off == at)
				return n;
		*c = (struct cap){ .off = at, .id = p[PCI_CAP_LIST_ID], .len = cap_len(p, left) };
		c->shown = c->len && c->len <= left && cap_shown(p, msi);
		n++;
		at = p[PCI_CAP_LIST_NEXT] & ~3u;
	}
	return n;
}

/* Where a hidden capability ends. */
static unsigned hidden_end(const struct cap *caps, unsigned n, const struct cap *c)
{
	unsigned end = PCI_CFG_SIZE;

	if (c->len)
		return c->off + c->len < PCI_CFG_SIZE ? c->off + c->len : PCI_CFG_SIZE;
	for (unsigned i = 0; i < n; i++)
		if (caps[i].off > c->off && caps[i].off < end)
			end = caps[i].off;
	return end;
}

static void show_msi(struct pcicfg *c, struct pci_dev *d, const struct cap *cap)
{
	uint8_t *cfg = d->cfg + cap->off, *wmask = d->wmask + cap->off;
	uint16_t flags = get16(cfg + PCI_MSI_FLAGS);
	unsigned order = (flags & PCI_MSI_FLAGS_QMASK) >> 1;
	unsigned data;

	c->msi_cap = cap->off;
	c->msi_len = cap->len;
	c->msi_vectors = 1u << (order < 5 ? order : 5);
	c->msi_wide = flags & PCI_MSI_FLAGS_64BIT;
	c->msi_masks = flags & PCI_MSI_FLAGS_MASKBIT;
	flags &= (uint16_t)~(PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	memset(cfg + 2, 0, cap->len - 2);
	memcpy(cfg + PCI_MSI_FLAGS, &flags, sizeof(flags));
	wmask[PCI_MSI_FLAGS] = PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE;
	memcpy(wmask + PCI_MSI_ADDRESS_LO, (const uint8_t[]){ 0xfc, 0xff, 0xff, 0xff }, 4);
	if (c->msi_wide)
		memset(wmask + PCI_MSI_ADDRESS_HI, 0xff, 4);
	data = c->msi_wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32;
	memset(wmask + data, 0xff, 2);
	if (c->msi_masks)
		memset(wmask + data + 4, 0xff, 4);
}

static void show_msix(struct pcicfg *c, struct pci_dev *d, const struct cap *cap, unsigned max_vectors)
{
	uint8_t *cfg = d->cfg + cap->off;
	uint16_t flags = get16(cfg + PCI_MSIX_FLAGS);
	uint32_t table = get32(cfg + PCI_MSIX_TABLE), pba = get32(cfg + PCI_MSIX_PBA);
	unsigned n = (flags & PCI_MSIX_FLAGS_QSIZE) + 1u;

	c->msix_cap = cap->off;
	c->msix_vectors = n;
	c->table_bar = table & PCI_MSIX_TABLE_BIR;
	c->table = (struct slice){ table & PCI_MSIX_TABLE_OFFSET, n * (uint64_t)PCI_MSIX_ENTRY_SIZE };
	c->pba_bar = pba & PCI_MSIX_PBA_BIR;
	c->pba = (struct slice){ pba & PCI_MSIX_PBA_OFFSET, (n + 63) / 64 * UINT64_C(8) };
	flags = (uint16_t)((n < max_vectors ? n : max_vectors) - 1);
	memcpy(cfg + PCI_MSIX_FLAGS, &flags, sizeof(flags));
	d->wmask[cap->off + PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
}

static void show_exp(struct pcicfg *c, struct pci_dev *d, const struct cap *cap)
{
	uint8_t *flags = d->cfg + cap->off + PCI_EXP_FLAGS;
	unsigned type = (*flags & PCI_EXP_FLAGS_TYPE) >> 4;

	c->exp_cap = cap->off;
	memset(c->live + cap->off + 2, 0xff, cap->len - 2);
	c->live[cap->off + PCI_EXP_FLAGS] = 0;
	if (type == PCI_EXP_TYPE_ENDPOINT || type == PCI_EXP_TYPE_LEG_END)
		*flags = (uint8_t)((*flags & ~PCI_EXP_FLAGS_TYPE) | PCI_EXP_TYPE_RC_END << 4);
}

static void show_cap(struct pcicfg *c, struct pci_dev *d, const struct cap *cap, const uint8_t *raw, unsigned max_vectors)
{
	memset(c->live + cap->off, 0, cap->len);
	memcpy(d->cfg + cap->off, raw + cap->off, cap->len);
	switch (cap->id) {
	case PCI_CAP_ID_MSI:
		show_msi(c, d, cap);
		break;
	case PCI_CAP_ID_MSIX:
		show_msix(c, d, cap, max_vectors);
		break;
	case PCI_CAP_ID_EXP:
		show_exp(c, d, cap);
		break;
	default:
		memset(c->live + cap->off + 2, 0xff, cap->len - 2);
	}
}

/* Two of a kind, where the second would take the place of the first in our state. */
static bool is_second(const struct cap *caps, unsigned i)
{
	if (caps[i].id == PCI_CAP_ID_VNDR)
		return false;
	for (unsigned j = 0; j < i; j++)
		if (caps[j].id == caps[i].id && caps[j].shown)
			return true;
	return false;
}

static bool overlaps_shown(const struct cap *caps, unsigned i)
{
	for (unsigned j = 0; j < i; j++)
		if (caps[j].shown && ranges_overlap(caps[j].off, caps[j].len, caps[i].off, caps[i].len))
			return true;
	return false;
}

static void lay_chain(struct pcicfg *c, struct pci_dev *d, const uint8_t *raw, bool msi, unsigned max_vectors)
{
	struct cap caps[MAX_CAPS];
	unsigned n = read_chain(raw, msi, caps);
	uint8_t *link = &d->cfg[PCI_CAPABILITY_LIST];

	for (unsigned i = 0; i < n; i++) {
		caps[i].shown = caps[i].shown && !is_second(caps, i) && !overlaps_shown(caps, i);
		if (!caps[i].shown)
			memset(c->live + caps[i].off, 0, hidden_end(caps, n, &caps[i]) - caps[i].off);
	}
	for (unsigned i = 0; i < n; i++) {
		if (!caps[i].shown)
			continue;
		show_cap(c, d, &caps[i], raw, max_vectors);
		*link = caps[i].off;
		link = &d->cfg[caps[i].off + PCI_CAP_LIST_NEXT];
		d->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	}
	*link = 0;
}

static int check_header(const uint8_t *raw, struct err *err)
{
	if (get16(raw + PCI_VENDOR_ID) == 0xffff)
		return err_set(err, -EINVAL, "the device does not answer (is it powered off, or broken?)");
	if ((raw[PCI_HEADER_TYPE] & 0x7f) != PCI_HEADER_TYPE_NORMAL)
		return err_set(err, -EINVAL, "it is a bridge, and only endpoints can be handed to a guest");
	return 0;
}

int pcicfg_init(struct pcicfg *c, const uint8_t raw[PCI_CFG_SIZE], bool msi, unsigned max_vectors,
		struct pci_dev *d, const struct pci_dev_ops *ops, struct err *err)
{
	struct pci_ids ids = {
		.vendor = get16(raw + PCI_VENDOR_ID), .device = get16(raw + PCI_DEVICE_ID),
		.subsys_vendor = get16(raw + PCI_SUBSYSTEM_VENDOR_ID), .subsys = get16(raw + PCI_SUBSYSTEM_ID),
		.revision = raw[PCI_REVISION_ID], .class_code = get32(raw + PCI_CLASS_REVISION) >> 8,
	};
	int r = check_header(raw, err);

	if (r)
		return r;
	memset(c, 0, sizeof(*c));
	pci_dev_init(d, &ids, ops);
	memset(c->live + CAPS_START, 0xff, PCI_CFG_SIZE - CAPS_START);
	c->live[PCI_STATUS] = 0xff & ~PCI_STATUS_CAP_LIST; /* INTx pending, errors */
	c->live[PCI_STATUS + 1] = 0xff;
	c->intx = raw[PCI_INTERRUPT_PIN] >= 1 && raw[PCI_INTERRUPT_PIN] <= 4;
	d->cfg[PCI_INTERRUPT_PIN] = c->intx;
	d->cfg[PCI_MIN_GNT] = raw[PCI_MIN_GNT];
	d->cfg[PCI_MAX_LAT] = raw[PCI_MAX_LAT];
	lay_chain(c, d, raw, msi, max_vectors);
	return 0;
}

static unsigned msi_data(const struct pcicfg *c)
{
	return c->msi_cap + (c->msi_wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32);
}

struct msi_state pcicfg_msi(const struct pcicfg *c, const uint8_t *cfg)
{
	const uint8_t *p = cfg + c->msi_cap;
	uint16_t flags = get16(p + PCI_MSI_FLAGS);
	unsigned count = 1u << ((flags & PCI_MSI_FLAGS_QSIZE) >> 4);
	struct msi_state s = {
		.enabled = flags & PCI_MSI_FLAGS_ENABLE,
		.count = count < c->msi_vectors ? count : c->msi_vectors,
		.address = get32(p + PCI_MSI_ADDRESS_LO),
		.data = get16(cfg + msi_data(c)),
	};

	if (c->msi_wide)
		s.address |= (uint64_t)get32(p + PCI_MSI_ADDRESS_HI) << 32;
	if (c->msi_masks)
		s.masks = get32(cfg + msi_data(c) + 4);
	return s;
}

unsigned pcicfg_msi_pending(const struct pcicfg *c)
{
	return c->msi_cap && c->msi_masks ? msi_data(c) + 8 : 0;
}
