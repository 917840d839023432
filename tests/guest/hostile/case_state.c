/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * state: the status of a device in orders that no driver takes (virtio 1.2 s2.1, s3.1). A row is a list of status writes and
 * what the status must be at its end; both transports.
 */
#include "hostile.h"

#define A ACKNOWLEDGE
#define AD (ACKNOWLEDGE | DRIVER)
#define ADF (ACKNOWLEDGE | DRIVER | FEATURES_OK)
#define ADFO (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
#define END 0x100
#define RINGS 0x101     /* not a status: rings are made and enabled */
#define FEATURES 0x102  /* VERSION_1 is acknowledged */
#define RESETS_A_LINE 10

struct walk_row {
	struct row row;
	uint16_t w[10];
	uint8_t mask, val;
};

static const struct walk_row walk_rows[] = {
	{ { "driver-ok-at-once", OFTEN }, { DRIVER_OK, END }, DRIVER_OK, 0 },
	{ { "all-at-once", 0 }, { 0xff, END }, DRIVER_OK, 0 },
	{ { "driver-ok-without-features-ok", OFTEN }, { A, AD, FEATURES, AD | DRIVER_OK, END }, DRIVER_OK, 0 },
	{ { "features-ok-without-version-1", 0 }, { A, AD, ADF, END }, FEATURES_OK, 0 },
	{ { "driver-before-acknowledge", 0 }, { DRIVER, END }, DRIVER_OK, 0 },
	{ { "bits-taken-back", OFTEN }, { A, AD, FEATURES, ADF, AD, A, END }, AD, AD },
	{ { "driver-ok-taken-back", 0 }, { A, AD, FEATURES, ADF, RINGS, ADFO, ADF, END }, DRIVER_OK, DRIVER_OK },
	{ { "driver-ok-without-queues", OFTEN }, { A, AD, FEATURES, ADF, ADFO, END }, 0, 0 },
	{ { "driver-ok-twice", OFTEN }, { A, AD, FEATURES, ADF, RINGS, ADFO, ADFO, ADFO, END }, NEEDS_RESET | ADFO, ADFO },
	{ { "failed", 0 }, { A, AD | FAILED, END }, FAILED, FAILED },
	{ { "failed-running", OFTEN }, { A, AD, FEATURES, ADF, RINGS, ADFO, ADFO | FAILED, END }, FAILED, FAILED },
	{ { "failed-then-driver-ok", 0 }, { A, AD, FEATURES, ADF, RINGS, ADF | FAILED, ADFO | FAILED, END }, FAILED, FAILED },
	{ { "needs-reset-by-driver", OFTEN }, { A, AD, FEATURES, ADF, RINGS, ADFO, ADFO | NEEDS_RESET, END }, NEEDS_RESET, 0 },
	{ { "unknown-bits", 0 }, { A | 16 | 32, END }, 16 | 32, 0 },
	{ { "reset-after-acknowledge", 0 }, { A, 0, END }, 0xff, 0 },
	{ { "reset-after-driver", 0 }, { A, AD, 0, END }, 0xff, 0 },
	{ { "reset-after-features-ok", 0 }, { A, AD, FEATURES, ADF, 0, END }, 0xff, 0 },
	{ { "reset-after-rings", 0 }, { A, AD, FEATURES, ADF, RINGS, 0, END }, 0xff, 0 },
	{ { "reset-running", OFTEN }, { A, AD, FEATURES, ADF, RINGS, ADFO, 0, END }, 0xff, 0 },
	{ { "reset-reset-reset", 0 }, { 0, 0, 0, 0, A, 0, 0, END }, 0xff, 0 },
	{ { "rings-before-features", 0 }, { A, AD, RINGS, FEATURES, ADF, ADFO, END }, 0, 0 },
	{ { "rings-after-driver-ok", 0 }, { A, AD, FEATURES, ADF, ADFO, RINGS, END }, 0, 0 },
};

static void rings(struct vdev *d)
{
	for (unsigned q = 0; q < queues_of(d); q++) {
		vq_make(d, q, vdev_queue_max(d, q));
		d->vq[q].vector = NO_VECTOR;
		vdev_queue_enable(d, &d->vq[q]);
	}
}

static void walk(struct vdev *d, const struct walk_row *r)
{
	unsigned got;

	if (!want(vdev_reset(d), "no reset"))
		return;
	for (unsigned i = 0; r->w[i] != END; i++) {
		if (r->w[i] == RINGS)
			rings(d);
		else if (r->w[i] == FEATURES)
			vdev_set_features(d, VERSION_1);
		else
			vdev_set_status(d, r->w[i]);
	}
	got = vdev_status(d);
	want((got & r->mask) == r->val, "device %u: the status is %x", d->id, got);
}

static void run_walk(const void *row)
{
	struct vdev *const all[] = { rng, con, net, blk, vsock, balloon };

	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		if (all[i])
			walk(all[i], row);
}

/* s2.1: all values, from each of the stages. */
static void every_value(void)
{
	static const uint16_t stages[] = { 0, A, AD, ADF };

	for (unsigned s = 0; s < ARRAY_LEN(stages); s++) {
		for (unsigned v = 0; v < 256; v += 1 + v / 16) {
			vdev_set_status(rng, 0);
			vdev_set_features(rng, VERSION_1);
			vdev_set_status(rng, stages[s]);
			vdev_set_status(rng, v);
		}
	}
}

/* Feature words that are not the device's to take, one at a time and all together. */
static void every_feature(void)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t offered = vdev_features(con);

		vdev_set_status(con, 0);
		vdev_set_status(con, AD);
		vdev_set_features(con, VERSION_1 | BIT(bit));
		vdev_set_status(con, ADF);
		want(!(vdev_status(con) & FEATURES_OK) == !(offered & BIT(bit)), "bit %u: FEATURES_OK is %x", bit, vdev_status(con));
	}
}

static void under_load(struct vdev *d)
{
	struct vq *vq = request_queue(d);

	for (unsigned i = 0; i < 30; i++) {
		if (!begin(d, 0))
			return;
		for (unsigned k = 0; k < vq->size; k++)
			vq_post(vq, k, buf, 64, request_flags(d));
		vq_kick(vq);
		vdev_set_status(d, 0);
		want(!vdev_status(d), "the status stays %x", vdev_status(d));
	}
}

static void reset_rng_under_load(void)
{
	under_load(rng);
}

static void reset_console_under_load(void)
{
	under_load(con);
}

static void reset_net_under_load(void)
{
	under_load(net);
}

/*
 * Word resets=N: as a driver that is taken off and put on N times. Each time all is set up, vectors included, and requests are
 * under way at the reset.
 */
static void resets(struct vdev *d)
{
	unsigned n = (unsigned)option_number("resets", 30);

	for (unsigned i = 0; i < n && begin(d, 0); i++) {
		send_request(d);
		if (!want(vdev_reset(d), "reset %u: the status stays %x", i, vdev_status(d)))
			return;
		if (d->pci)
			msix_control(d->pci, 0);
		if (i % RESETS_A_LINE == 0)
			say("@ reset %u\n", i); /* the harness takes silence for a hang */
	}
}

static void resets_rng(void)
{
	resets(rng);
}

static void resets_console(void)
{
	resets(con);
}

static void resets_net(void)
{
	resets(net);
}

static void resets_blk(void)
{
	resets(blk);
}

static void resets_vsock(void)
{
	resets(vsock);
}

static void resets_balloon(void)
{
	resets(balloon);
}

/* Two CPUs: one sets up, one resets. */
static struct vdev *racing;

static void resetter(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		vdev_set_status(racing, 0);
}

static void starter(void *arg)
{
	(void)arg;
	while (!stop_helpers)
		vdev_set_status(racing, ADFO);
}

static void stopper(void *arg)
{
	(void)arg;
	while (!stop_helpers) {
		wr32(racing->regs + MMIO_QUEUE_SEL, 0);
		wr32(racing->regs + MMIO_QUEUE_READY, 0);
	}
}

static void race(struct vdev *d, void (*other)(void *arg))
{
	racing = d;
	vdev_reset(d);
	if (!helper_start(1, other, NULL))
		return;
	for (unsigned i = 0; i < 60; i++) {
		vdev_set_status(d, A);
		vdev_set_status(d, AD);
		vdev_set_features(d, VERSION_1);
		vdev_set_status(d, ADF);
		rings(d);
		vdev_set_status(d, ADFO);
		vq_kick(&d->vq[0]);
	}
	helper_join(1);
}

static void reset_race(void)
{
	race(rng, resetter);
	race(con, resetter);
}

static void reset_race_net(void)
{
	race(net, resetter);
}

static void start_race(void)
{
	race(rng, starter);
	if (net)
		race(net, starter);
}

static void stop_race(void)
{
	race(rng, stopper);
	race(con, stopper);
	if (net)
		race(net, stopper);
	if (blk)
		race(blk, stopper);
}

static void reset_by_three(void)
{
	racing = net ? net : con;
	if (!begin(racing, 0) || !helper_start(1, resetter, NULL) || !helper_start(2, resetter, NULL))
		return;
	for (unsigned i = 0; i < 60; i++)
		vdev_set_status(racing, 0);
	helper_join(1);
	helper_join(2);
}

/* NEEDS_RESET does not go by anything but a reset. */
static void needs_reset_stays(void)
{
	struct vq *vq = &rng->vq[0];

	if (!begin(rng, 0))
		return;
	vq->avail->idx = 0x8000;
	vq_kick(vq);
	if (!want(breaks(rng), "no NEEDS_RESET"))
		return;
	vdev_set_status(rng, ADFO);
	vdev_set_status(rng, ADFO | NEEDS_RESET);
	vq->avail->idx = 0;
	vq_kick(vq);
	want(vdev_status(rng) & NEEDS_RESET, "NEEDS_RESET is gone");
}

static void kick_before_setup(void)
{
	for (unsigned i = 0; i < vdev_count; i++) {
		struct vdev *d = &vdevs[i];

		vdev_reset(d);
		for (unsigned q = 0; q < 8; q++) {
			if (d->pci)
				wr16(d->notify + q * d->notify_multiplier, (uint16_t)q);
			else
				wr32(d->regs + MMIO_NOTIFY, q);
		}
	}
}

static const struct fn_row fn_rows[] = {
	{ { "every-value", 0 }, every_value },
	{ { "every-feature", OFTEN }, every_feature },
	{ { "reset-rng-under-load", 0 }, reset_rng_under_load },
	{ { "reset-console-under-load", OFTEN }, reset_console_under_load },
	{ { "reset-net-under-load", ON_NET }, reset_net_under_load },
	{ { "resets-rng", 0 }, resets_rng },
	{ { "resets-console", 0 }, resets_console },
	{ { "resets-net", ON_NET }, resets_net },
	{ { "resets-blk", ON_BLK }, resets_blk },
	{ { "resets-vsock", ON_VSOCK }, resets_vsock },
	{ { "resets-balloon", ON_BALLOON }, resets_balloon },
	{ { "reset-race", ON_CPUS | OFTEN }, reset_race },
	{ { "reset-race-net", ON_CPUS | ON_NET }, reset_race_net },
	{ { "start-race", ON_CPUS }, start_race },
	{ { "stop-race", ON_CPUS | ON_MMIO | OFTEN }, stop_race },
	{ { "reset-by-three", ON_CPUS }, reset_by_three },
	{ { "needs-reset-stays", OFTEN }, needs_reset_stays },
	{ { "kick-before-setup", OFTEN }, kick_before_setup },
};

const struct family state_tables[] = { FAMILY(walk_rows, run_walk), FAMILY(fn_rows, run_fn), { 0 } };
