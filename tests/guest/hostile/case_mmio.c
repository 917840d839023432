/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mmio: the registers of virtio over MMIO (virtio 1.2 s4.2). A row writes up to six registers in some stage of a driver's start
 * and says what one of them must read afterwards.
 */
#include "hostile.h"

enum stage { AFTER_RESET, AFTER_DRIVER, AFTER_FEATURES, RUNNING };

struct step {
	uint16_t reg;
	uint32_t val;
};

struct reg_row {
	struct row row;
	enum stage stage;
	struct step w[6];        /* in order, until reg 0, which is read-only */
	uint16_t reg;            /* then this one ... */
	uint32_t mask, val;      /* ... reads so; mask 0: anything */
};

#define ALL_STATUS (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

static const struct reg_row reg_rows[] = {
	{ { "queue-sel-out", ON_MMIO | OFTEN }, AFTER_FEATURES, { { MMIO_QUEUE_SEL, 1 } }, MMIO_QUEUE_MAX, ~0u, 0 },
	{ { "queue-sel-huge", ON_MMIO }, AFTER_FEATURES, { { MMIO_QUEUE_SEL, ~0u } }, MMIO_QUEUE_MAX, ~0u, 0 },
	{ { "queue-sel-sign", ON_MMIO }, AFTER_FEATURES, { { MMIO_QUEUE_SEL, 1u << 31 } }, MMIO_QUEUE_READY, ~0u, 0 },
	{ { "queue-out-ready", ON_MMIO | OFTEN }, AFTER_FEATURES,
	  { { MMIO_QUEUE_SEL, 0xffff }, { MMIO_QUEUE_NUM, 8 }, { MMIO_DESC, ~0u }, { MMIO_QUEUE_READY, 1 } }, MMIO_QUEUE_READY, ~0u, 0 },
	{ { "queue-num-0", ON_MMIO }, AFTER_FEATURES, { { MMIO_QUEUE_NUM, 0 }, { MMIO_QUEUE_READY, 1 } }, 0 },
	{ { "queue-num-3", ON_MMIO }, AFTER_FEATURES, { { MMIO_QUEUE_NUM, 3 }, { MMIO_QUEUE_READY, 1 } }, 0 },
	{ { "queue-num-huge", ON_MMIO | OFTEN }, AFTER_FEATURES, { { MMIO_QUEUE_NUM, ~0u }, { MMIO_QUEUE_READY, 1 } }, 0 },
	{ { "queue-num-65536", ON_MMIO }, AFTER_FEATURES, { { MMIO_QUEUE_NUM, 65536 }, { MMIO_QUEUE_READY, 1 } }, 0 },
	{ { "queue-num-running", ON_MMIO | OFTEN }, RUNNING, { { MMIO_QUEUE_NUM, 2 } }, MMIO_QUEUE_READY, 1, 1 },
	{ { "queue-desc-running", ON_MMIO }, RUNNING, { { MMIO_DESC, 0 }, { MMIO_DESC + 4, ~0u } }, MMIO_STATUS, ALL_STATUS, ALL_STATUS },
	{ { "queue-used-running", ON_MMIO }, RUNNING, { { MMIO_USED, 0xfffffffc }, { MMIO_USED + 4, ~0u } }, MMIO_STATUS, NEEDS_RESET, 0 },
	{ { "queue-unready-running", ON_MMIO | OFTEN }, RUNNING, { { MMIO_QUEUE_READY, 0 } }, MMIO_QUEUE_READY, ~0u, 0 },
	{ { "queue-ready-2", ON_MMIO }, AFTER_FEATURES, { { MMIO_QUEUE_READY, 2 } }, 0 },
	{ { "queue-ready-early", ON_MMIO }, AFTER_RESET, { { MMIO_QUEUE_READY, 1 } }, 0 },
	{ { "queue-reset-not-offered", ON_MMIO }, RUNNING, { { MMIO_QUEUE_RESET, 1 } }, MMIO_QUEUE_READY, 1, 1 },
	{ { "queue-max-is-read-only", ON_MMIO }, AFTER_FEATURES, { { MMIO_QUEUE_MAX, 4096 } }, 0 },
	{ { "notify-out", ON_MMIO | OFTEN }, RUNNING, { { MMIO_NOTIFY, 1 }, { MMIO_NOTIFY, ~0u }, { MMIO_NOTIFY, 1u << 31 } }, MMIO_STATUS, NEEDS_RESET, 0 },
	{ { "notify-idle", ON_MMIO }, AFTER_RESET, { { MMIO_NOTIFY, 0 }, { MMIO_NOTIFY, 5 } }, MMIO_STATUS, ~0u, 0 },
	{ { "notify-upper-half", ON_MMIO }, RUNNING, { { MMIO_NOTIFY, 0x10000 } }, MMIO_STATUS, NEEDS_RESET, 0 },
	{ { "ack-nothing", ON_MMIO }, RUNNING, { { MMIO_ACK, ~0u }, { MMIO_ACK, 0 } }, MMIO_ISR, ~0u, 0 },
	{ { "isr-is-read-only", ON_MMIO }, RUNNING, { { MMIO_ISR, ~0u } }, MMIO_ISR, ~1u, 0 },
	{ { "features-sel-2", ON_MMIO }, AFTER_DRIVER, { { MMIO_FEATURES_SEL, 2 } }, MMIO_FEATURES, ~0u, 0 },
	{ { "features-sel-huge", ON_MMIO | OFTEN }, AFTER_DRIVER, { { MMIO_FEATURES_SEL, ~0u } }, MMIO_FEATURES, ~0u, 0 },
	{ { "features-not-offered", ON_MMIO | OFTEN }, AFTER_DRIVER,
	  { { MMIO_DRIVER_FEATURES_SEL, 0 }, { MMIO_DRIVER_FEATURES, ~0u }, { MMIO_DRIVER_FEATURES_SEL, 1 },
	    { MMIO_DRIVER_FEATURES, ~0u }, { MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK } }, MMIO_STATUS, FEATURES_OK, 0 },
	{ { "features-none", ON_MMIO }, AFTER_DRIVER,
	  { { MMIO_DRIVER_FEATURES_SEL, 1 }, { MMIO_DRIVER_FEATURES, 0 }, { MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK } },
	  MMIO_STATUS, FEATURES_OK, 0 },
	{ { "features-after-ok", ON_MMIO | OFTEN }, AFTER_FEATURES,
	  { { MMIO_DRIVER_FEATURES_SEL, 0 }, { MMIO_DRIVER_FEATURES, ~0u } }, MMIO_STATUS, FEATURES_OK, FEATURES_OK },
	{ { "features-running", ON_MMIO }, RUNNING,
	  { { MMIO_DRIVER_FEATURES_SEL, 1 }, { MMIO_DRIVER_FEATURES, 0 } }, MMIO_STATUS, NEEDS_RESET | DRIVER_OK, DRIVER_OK },
	{ { "driver-sel-huge", ON_MMIO }, AFTER_DRIVER,
	  { { MMIO_DRIVER_FEATURES_SEL, ~0u }, { MMIO_DRIVER_FEATURES, ~0u } }, MMIO_STATUS, ~0u, ACKNOWLEDGE | DRIVER },
	{ { "shm-sel", ON_MMIO }, AFTER_RESET, { { MMIO_SHM_SEL, ~0u } }, MMIO_SHM_LEN, ~0u, ~0u },
	{ { "magic-is-read-only", ON_MMIO }, AFTER_RESET, { { MMIO_VERSION, 1 }, { MMIO_DEVICE_ID, 2 }, { MMIO_VENDOR_ID, 0 } }, MMIO_VERSION, ~0u, 2 },
	{ { "generation-is-read-only", ON_MMIO }, AFTER_RESET, { { MMIO_GENERATION, ~0u } }, MMIO_GENERATION, ~0u, 0 },
	{ { "legacy-registers", ON_MMIO }, AFTER_RESET,
	  { { 0x028, 4096 }, { 0x03c, 4096 }, { 0x040, 1 }, { 0x03c, 0 }, { 0x028, 0 } }, MMIO_STATUS, ~0u, 0 },
};

static bool reach(struct vdev *d, enum stage s)
{
	if (s == RUNNING)
		return begin(d, 0);
	if (!want(vdev_reset(d), "no reset"))
		return false;
	if (s >= AFTER_DRIVER)
		vdev_set_status(d, ACKNOWLEDGE | DRIVER);
	if (s >= AFTER_FEATURES) {
		vdev_set_features(d, VERSION_1);
		vdev_set_status(d, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	}
	return true;
}

static void run_reg(const void *row)
{
	const struct reg_row *r = row;
	struct vdev *d = rng;
	uint32_t got;

	if (!reach(d, r->stage))
		return;
	for (unsigned i = 0; i < ARRAY_LEN(r->w) && r->w[i].reg; i++)
		wr32(d->regs + r->w[i].reg, r->w[i].val);
	if (!r->mask)
		return;
	got = rd32(d->regs + r->reg);
	want((got & r->mask) == r->val, "register %x reads %x", r->reg, got);
	if (r->stage == RUNNING && r->w[0].reg != MMIO_QUEUE_READY)
		want(trip(d), "no round trip");
}

/* Registers that there are not: reads and writes of all values that bits can make. */
static void reserved(void)
{
	static const uint16_t regs[] = { 0x018, 0x01c, 0x028, 0x02c, 0x03c, 0x040, 0x048, 0x04c, 0x054, 0x058, 0x05c, 0x068, 0x06c,
					 0x074, 0x078, 0x07c, 0x088, 0x08c, 0x098, 0x09c, 0x0a8, 0x0c4, 0x0e0, 0x0f8 };

	for (unsigned i = 0; i < ARRAY_LEN(regs); i++) {
		wr32(rng->regs + regs[i], ~0u);
		wr32(rng->regs + regs[i], 0);
		rd32(rng->regs + regs[i]);
	}
	want(rd32(rng->regs + MMIO_STATUS) == 0, "the status is %x", rd32(rng->regs + MMIO_STATUS));
}

static void config_beyond(void)
{
	struct vdev *d = net ? net : con;

	for (uint64_t off = 0; off < 0x100; off += 4) {
		wr32(d->config + off, ~0u);
		rd32(d->config + off);
	}
	for (uint64_t off = 0xf8; off < 0x108; off++)
		rd8(d->config + off);
	want(rd32(d->regs + MMIO_MAGIC) == MMIO_MAGIC_VALUE, "the magic value is gone");
}

static void config_is_read_only(void)
{
	uint8_t mac[6];

	for (unsigned i = 0; i < 6; i++) {
		mac[i] = vdev_config8(net, i);
		wr8(net->config + i, 0xee);
		want(vdev_config8(net, i) == mac[i], "byte %u of the MAC address changed", i);
	}
}

static void behind_the_window(void)
{
	for (uint64_t at = rng->regs + 0x200; at < rng->regs + 0x1000; at += 0x40) {
		wr32(at, ~0u);
		rd32(at);
	}
}

static void every_register(void)
{
	for (unsigned off = 4; off < 0x100; off += 4) {
		if (off == MMIO_STATUS)
			continue;
		wr32(rng->regs + off, noise());
		rd32(rng->regs + off);
	}
}

static void random_run(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t reg = rng->regs + (noise() & 0xfc);

		if (noise() & 1)
			wr32(reg, noise() & 1 ? noise() : noise() & 15);
		else
			rd32(reg);
	}
}

static const struct fn_row fn_rows[] = {
	{ { "reserved", ON_MMIO | OFTEN }, reserved },
	{ { "config-beyond", ON_MMIO | OFTEN }, config_beyond },
	{ { "config-is-read-only", ON_NET | ON_MMIO }, config_is_read_only },
	{ { "behind-the-window", ON_MMIO }, behind_the_window },
	{ { "every-register", ON_MMIO }, every_register },
	{ { "random", ON_MMIO }, random_run },
};

const struct family mmio_tables[] = { FAMILY(reg_rows, run_reg), FAMILY(fn_rows, run_fn), { 0 } };
