// SPDX-License-Identifier: BSD-3-Clause
/*
 * msix: the MSI-X table, masks and sources of one function, on every way that messages go.
 *
 * Covers: pci/msix.c, gsi.c, irqfd.c: table and pending bits of any offset and width, control,
 *         binding, resets, signals at any moment, tables that the kernel refuses.
 * Oracle: a model of what each source is bound to, asks for and holds. After each sync a source is
 *         attached where its vector may deliver, else not; the kernel's route is the table's entry,
 *         word for word; each signal is injected once, or waits, or goes where the specification lets
 *         it go; no more routes than vectors. And irq_check.h's invariants after each step.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/irq_check.h"

#include <errno.h>

#define NVEC 4
#define NSOURCES 4
#define EVENTS 16

static struct rig rig;
static struct msix *m;
static enum msi_model model;
static uint32_t table[NVEC][4];
static bool enabled, maskall, bus_master;
static struct { uint16_t vector; bool attached, waiting; } src[NSOURCES];
static uint64_t injected;
static bool refused; /* the last sync was */

static void set_up(struct fuzz_in *in)
{
	struct msix_cfg cfg = { .name = "net0", .nvec = NVEC, .nsources = NSOURCES, .devid = RIG_DEVID };
	uint8_t flags = fuzz_u8(in);

	model = flags & 4 ? MSI_V2M : MSI_ITS;
	rig = rig_of(model, (enum gsi_mode)((flags & 3) % 3));
	cfg.space = rig.space;
	cfg.loop = rig.loop;
	must(msix_new(&cfg, &m) == 0);
	memset(table, 0, sizeof(table));
	for (unsigned i = 0; i < NVEC; i++)
		table[i][3] = 1;
	enabled = maskall = refused = false;
	bus_master = true;
	for (unsigned i = 0; i < NSOURCES; i++) {
		src[i].vector = MSIX_NO_VECTOR;
		src[i].attached = src[i].waiting = false;
	}
	injected = 0;
}

static bool message_good(const uint32_t *e)
{
	uint64_t addr = (uint64_t)e[1] << 32 | e[0];

	if (model == MSI_ITS)
		return addr == FAKE_TRANSLATER && e[2] <= 0xffff;
	return addr == FAKE_SETSPI && e[2] >= FAKE_V2M_INTID && e[2] - FAKE_V2M_INTID < FAKE_V2M_COUNT;
}

static bool wanted(unsigned s)
{
	const uint32_t *e = table[src[s].vector % NVEC];

	return src[s].vector < NVEC && enabled && !maskall && bus_master && !(e[3] & 1) && message_good(e);
}

/* Is the attached source @s where its entry says? */
static void check_route(unsigned s)
{
	const uint32_t *e = table[src[s].vector];
	struct hyp_route r;
	uint32_t gsi;

	must(fake_kvm_attached(rig.hyp, msix_fd(m, s), &gsi));
	if (model == MSI_V2M) {
		must(gsi == e[2] - 32);
		return;
	}
	r = fake_kvm_route(rig.hyp, gsi);
	must(r.kind == HYP_ROUTE_MSI && r.addr == ((uint64_t)e[1] << 32 | e[0]) && r.data == e[2]);
	must(r.devid == RIG_DEVID && r.valid_devid);
}

/* What was signalled has come, all of it, once. */
static void check_injections(void)
{
	rig_deliver(&rig);
	for (unsigned s = 0; s < NSOURCES; s++)
		if (src[s].attached && src[s].waiting) {
			injected++;
			src[s].waiting = false;
		}
	must(fake_kvm_injected(rig.hyp) == injected && !fake_kvm_lost(rig.hyp));
}

static void settle(void)
{
	int r = 0;

	if (msix_stale(m))
		r = msix_sync(m);
	refused = msix_stale(m); /* a commit may fail for the sake of entries that nothing wants */
	must(!refused || r < 0);
	for (unsigned s = 0; s < NSOURCES; s++) {
		uint32_t gsi;

		src[s].attached = refused && gsi_msi_way(rig.space) == MSI_BY_ROUTE ?
			fake_kvm_attached(rig.hyp, msix_fd(m, s), &gsi) : wanted(s);
		must(!src[s].attached || wanted(s));
		if (gsi_msi_way(rig.space) == MSI_BY_SIGNAL)
			continue;
		must(fake_kvm_attached(rig.hyp, msix_fd(m, s), &gsi) == src[s].attached);
		if (src[s].attached)
			check_route(s);
	}
	must(fake_kvm_nr_routes(rig.hyp) <= FAKE_NR_SPIS + NVEC);
	check_injections();
}

static void table_write(uint64_t off, unsigned len, uint64_t val)
{
	msix_table_write(m, off, len, val);
	if ((len != 4 && len != 8) || off % len || off + len > sizeof(table))
		return;
	for (unsigned i = 0; i < len / 4; i++) {
		uint32_t word = (uint32_t)(val >> 32 * i);
		uint64_t w = off / 4 + i;

		table[w / 4][w % 4] = w % 4 == 3 ? word & 1 : word;
	}
}

static void table_read(uint64_t off, unsigned len)
{
	uint64_t want = width_mask(len);

	if ((len == 4 || len == 8) && !(off % len) && off + len <= sizeof(table)) {
		want = 0;
		memcpy(&want, (char *)table + off, len);
	}
	must(msix_table_read(m, off, len) == want);
}

static void pba_read(void)
{
	uint64_t want = 0;

	for (unsigned s = 0; s < NSOURCES; s++)
		if (enabled && src[s].vector < NVEC && !src[s].attached && src[s].waiting)
			want |= BIT64(src[s].vector);
	must(msix_pba_read(m, 0, 8) == want && msix_pba_read(m, 0, 4) == want);
}

static void forget(unsigned s)
{
	if (!src[s].attached)
		src[s].waiting = false;
}

static void control(uint16_t ctrl)
{
	if (ctrl & 0x8000 && !enabled)
		for (unsigned s = 0; s < NSOURCES; s++)
			forget(s);
	enabled = ctrl & 0x8000;
	maskall = ctrl & 0x4000;
	msix_ctrl_write(m, ctrl);
}

static void bind_source(unsigned s, uint16_t vector)
{
	uint16_t want = vector < NVEC ? vector : MSIX_NO_VECTOR;

	if (src[s].vector == MSIX_NO_VECTOR)
		forget(s);
	src[s].vector = want;
	must(msix_bind(m, s, vector) == want && msix_vector(m, s) == want);
}

/* A device that is silent, at its reset. */
static void reset(void)
{
	for (unsigned s = 0; s < NSOURCES; s++) {
		src[s].vector = MSIX_NO_VECTOR;
		forget(s);
	}
	msix_unbind_all(m);
	settle();
	msix_check_reset(m);
}

static void message(struct fuzz_in *in)
{
	unsigned v = fuzz_below(in, NVEC), n = fuzz_below(in, EVENTS);

	table_write(v * 16, 4, model == MSI_ITS ? FAKE_TRANSLATER : FAKE_SETSPI);
	table_write(v * 16 + 4, 4, 0);
	table_write(v * 16 + 8, 4, model == MSI_ITS ? n : FAKE_V2M_INTID + n);
	table_write(v * 16 + 12, 4, fuzz_u8(in) & 1);
}

static void step(struct fuzz_in *in)
{
	unsigned s = fuzz_below(in, NSOURCES);

	switch (fuzz_below(in, 12)) {
	case 0: case 1: message(in); break;
	case 2: table_write(fuzz_u8(in) % (sizeof(table) + 16), fuzz_good_width(in), fuzz_u64(in)); break;
	case 3: table_read(fuzz_u8(in) % (sizeof(table) + 16), fuzz_good_width(in)); return;
	case 4: pba_read(); return;
	case 5: control((uint16_t)(fuzz_u8(in) << 8)); break;
	case 6: control(0x8000); break;
	case 7: bind_source(s, fuzz_below(in, NVEC + 2)); break;
	case 8: reset(); break;
	case 9: case 10:
		msix_raise(m, s);
		src[s].waiting = true;
		check_injections();
		return;
	case 11:
		if (fuzz_u8(in) & 1)
			fake_kvm_fail(rig.hyp, FAKE_SET_ROUTES, 1, -ENOMEM);
		bus_master = !bus_master;
		msix_set_bus_master(m, bus_master);
		break;
	}
	settle();
	for (unsigned i = 0; i < NVEC * 4; i++)
		table_read(i * 4, 4);
	irq_check(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { .p = data, .left = size };

	set_up(&in);
	for (unsigned steps = 0; fuzz_more(&in) && steps < 200; steps++)
		step(&in);
	msix_free(m);
	(void)gsi_commit(rig.space); /* a refusal that still waits for its table */
	rig_free(&rig);
	return 0;
}
