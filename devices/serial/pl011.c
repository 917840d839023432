/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output leaves at once, so the transmit FIFO is always empty and BUSY never set. The transmit
 * interrupt is raised by each write of DR, as the FIFO passes its trigger level on the way to
 * empty; not before the first one, as in hardware.
 *
 * Input fills the receive FIFO. RXRIS follows its level against the trigger; RTRIS ("some data
 * and a pause") is raised with any input, as there is no baud rate to measure a pause by. Both
 * go when the guest has read enough, or clears them.
 *
 * Linux' driver asks for room in FR before each character, so half of all exits of output were
 * reads. With an empty receive FIFO no read has a side effect, DR's included, and only writes
 * change anything: a copy of the registers stands before the guest then, as a read-only view,
 * which each write brings up to date. It is attached at the first read, so that a UART that nobody
 * uses costs no memory slot, and taken away for good before the first byte of input comes.
 *
 * One lock guards the registers, and the line is set under it, so that the wire cannot be left
 * behind the registers by two CPUs at once. The sink is called without it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "devices/serial/pl011.h"
#include "vmm/base/obj.h"
#include "vmm/core/loop.h"
#include "vmm/core/view.h"

enum {
	UARTDR = 0x00, UARTRSR = 0x04, UARTFR = 0x18, UARTILPR = 0x20, UARTIBRD = 0x24, UARTFBRD = 0x28,
	UARTLCR_H = 0x2c, UARTCR = 0x30, UARTIFLS = 0x34, UARTIMSC = 0x38, UARTRIS = 0x3c, UARTMIS = 0x40,
	UARTICR = 0x44, UARTDMACR = 0x48, UARTPERIPHID0 = 0xfe0,
};

#define FR_CTS  BIT32(0)
#define FR_DSR  BIT32(1)
#define FR_DCD  BIT32(2)
#define FR_RXFE BIT32(4)
#define FR_RXFF BIT32(6)
#define FR_TXFE BIT32(7)

#define LCR_H_FEN BIT32(4)
#define CR_UARTEN BIT32(0)
#define CR_TXE    BIT32(8)
#define CR_RXE    BIT32(9)

#define INT_RX  BIT32(4)
#define INT_TX  BIT32(5)
#define INT_RT  BIT32(6)
#define INT_ALL 0x7ffu

#define FIFO_SIZE 32 /* r1p5, as the identification says */

/* UARTPeriphID0-3, UARTPCellID0-3: PL011 r1p5. */
static const uint8_t ids[8] = { 0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

struct pl011 {
	struct bus *bus;
	gpa_t gpa;
	struct line *line;
	const struct console_sink *sink;
	pthread_mutex_t lock;
	/* what the guest sees */
	struct {
		uint32_t ilpr, ibrd, fbrd, lcr_h, cr, ifls, imsc, ris, dmacr;
		uint8_t fifo[FIFO_SIZE];
		unsigned head, count;
	} s;
	bool starved;  /* input was refused: say when there is room */
	_Atomic uint64_t dropped;

	struct view view;     /* on the loop */
	struct loop *loop;
	uint8_t *copy;        /* VIEW_SIZE bytes, untouched until then; NULL: no view */
	bool shown;           /* the copy is kept up to date */
	atomic_bool view_due; /* to be attached at the next read */
	bool trapped;         /* never to be attached (again); on the loop */
};

static unsigned fifo_depth(const struct pl011 *u)
{
	return u->s.lcr_h & LCR_H_FEN ? FIFO_SIZE : 1;
}

/* UARTIFLS.RXIFLSEL: 1/8, 1/4, 1/2, 3/4, 7/8; reserved values as the reset's 1/2. */
static unsigned rx_trigger(const struct pl011 *u)
{
	static const uint8_t level[8] = { 4, 8, 16, 24, 28, 16, 16, 16 };

	return u->s.lcr_h & LCR_H_FEN ? level[u->s.ifls >> 3 & 7] : 1;
}

static void update_line_locked(struct pl011 *u)
{
	line_set(u->line, u->s.ris & u->s.imsc);
}

static bool receiver_on(const struct pl011 *u)
{
	return (u->s.cr & (CR_UARTEN | CR_RXE)) == (CR_UARTEN | CR_RXE);
}

static uint32_t read_dr_locked(struct pl011 *u)
{
	uint32_t c;

	if (!u->s.count)
		return 0;
	c = u->s.fifo[u->s.head];
	u->s.head = (u->s.head + 1) % FIFO_SIZE;
	u->s.count--;
	if (u->s.count < rx_trigger(u))
		u->s.ris &= ~INT_RX;
	if (!u->s.count)
		u->s.ris &= ~INT_RT;
	update_line_locked(u);
	return c;
}

static uint32_t flags_locked(const struct pl011 *u)
{
	uint32_t fr = FR_TXFE | FR_CTS | FR_DSR | FR_DCD;

	if (!u->s.count)
		fr |= FR_RXFE;
	if (u->s.count >= fifo_depth(u))
		fr |= FR_RXFF;
	return fr;
}

static uint32_t read_reg_locked(struct pl011 *u, uint64_t reg)
{
	switch (reg) {
	case UARTDR:    return read_dr_locked(u);
	case UARTFR:    return flags_locked(u);
	case UARTILPR:  return u->s.ilpr;
	case UARTIBRD:  return u->s.ibrd;
	case UARTFBRD:  return u->s.fbrd;
	case UARTLCR_H: return u->s.lcr_h;
	case UARTCR:    return u->s.cr;
	case UARTIFLS:  return u->s.ifls;
	case UARTIMSC:  return u->s.imsc;
	case UARTRIS:   return u->s.ris;
	case UARTMIS:   return u->s.ris & u->s.imsc;
	case UARTDMACR: return u->s.dmacr;
	default:        break;
	}
	return reg >= UARTPERIPHID0 ? ids[(reg - UARTPERIPHID0) / 4] : 0;
}

/* Nothing is read from the FIFO, as it is empty while this matters. */
static void show_locked(struct pl011 *u)
{
	for (unsigned reg = UARTFR; u->shown && reg <= UARTDMACR; reg += 4) {
		uint32_t val = read_reg_locked(u, reg), old;

		memcpy(&old, u->copy + reg, sizeof(old));
		if (val != old)
			view_store(u->copy + reg, &val, sizeof(val));
	}
}

static int attach_view(void *ctx)
{
	struct pl011 *u = ctx;

	if (u->trapped)
		return 0;
	memset(u->copy, 0, VIEW_SIZE);
	for (unsigned reg = UARTPERIPHID0; reg < VIEW_SIZE; reg += 4)
		u->copy[reg] = ids[(reg - UARTPERIPHID0) / 4];
	pthread_mutex_lock(&u->lock);
	u->shown = true;
	show_locked(u);
	pthread_mutex_unlock(&u->lock);
	return view_attach(&u->view, u->gpa);
}

/* True once after input was refused, when there is room for it again. */
static bool take_room_locked(struct pl011 *u)
{
	bool room = u->starved && !u->s.count && receiver_on(u);

	if (room)
		u->starved = false;
	return room;
}

static void say_room(struct pl011 *u, bool room)
{
	if (room && u->sink->input_room)
		u->sink->input_room(u->sink->ctx);
}

/* Registers are 32 bits wide; a narrow access takes the bytes that it names. Only DR's first byte holds a character. */
static uint64_t pl011_read(void *ctx, uint64_t off, unsigned len)
{
	struct pl011 *u = ctx;
	uint32_t val;
	bool room;

	/* Whether it could be had or not, this read is answered here. */
	if (atomic_load(&u->view_due) && atomic_exchange(&u->view_due, false))
		loop_call(u->loop, attach_view, u);
	if (off > UARTDR && off < UARTRSR)
		return 0;
	pthread_mutex_lock(&u->lock);
	val = read_reg_locked(u, off & ~UINT64_C(3));
	room = take_room_locked(u);
	pthread_mutex_unlock(&u->lock);
	say_room(u, room);
	return (val >> (off & 3) * 8) & width_mask(len);
}

/* FEN off leaves a holding register of one byte: what was in the FIFO behind it is gone. */
static void write_lcr_h_locked(struct pl011 *u, uint32_t val)
{
	bool was = u->s.lcr_h & LCR_H_FEN;

	u->s.lcr_h = val & 0xff;
	if (was != !!(val & LCR_H_FEN)) {
		u->s.count = 0;
		u->s.ris &= ~(INT_RX | INT_RT);
	}
}

static void write_reg_locked(struct pl011 *u, uint64_t reg, uint32_t val)
{
	switch (reg) {
	case UARTDR:    u->s.ris |= INT_TX; break;
	case UARTILPR:  u->s.ilpr = val & 0xff; break;
	case UARTIBRD:  u->s.ibrd = val & 0xffff; break;
	case UARTFBRD:  u->s.fbrd = val & 0x3f; break;
	case UARTLCR_H: write_lcr_h_locked(u, val); break;
	case UARTCR:    u->s.cr = val & 0xff87; break;
	case UARTIFLS:  u->s.ifls = val & 0x3f; break;
	case UARTIMSC:  u->s.imsc = val & INT_ALL; break;
	case UARTICR:   u->s.ris &= ~val; break;
	case UARTDMACR: u->s.dmacr = val & 7; break;
	default:        return;
	}
	update_line_locked(u);
}

static void transmit(struct pl011 *u, uint8_t c)
{
	if (!u->sink->write || u->sink->write(u->sink->ctx, &c, 1) != 1)
		atomic_fetch_add_explicit(&u->dropped, 1, memory_order_relaxed);
}

/* Early consoles write without switching the transmitter on; they are heard all the same. */
static void pl011_write(void *ctx, uint64_t off, unsigned len, uint64_t val)
{
	struct pl011 *u = ctx;
	bool room;

	if (off & 3)
		return;
	if (off == UARTDR)
		transmit(u, (uint8_t)val);
	pthread_mutex_lock(&u->lock);
	write_reg_locked(u, off, (uint32_t)(val & width_mask(len)));
	show_locked(u);
	room = take_room_locked(u);
	pthread_mutex_unlock(&u->lock);
	say_room(u, room);
}

size_t pl011_input(struct pl011 *u, const uint8_t *buf, size_t len)
{
	size_t n = 0;

	u->trapped = true;
	view_detach(&u->view);
	pthread_mutex_lock(&u->lock);
	if (receiver_on(u))
		for (; n < len && u->s.count < fifo_depth(u); n++)
			u->s.fifo[(u->s.head + u->s.count++) % FIFO_SIZE] = buf[n];
	if (n) {
		u->s.ris |= INT_RT;
		if (u->s.count >= rx_trigger(u))
			u->s.ris |= INT_RX;
		update_line_locked(u);
	}
	u->starved = n < len;
	pthread_mutex_unlock(&u->lock);
	return n;
}

uint64_t pl011_dropped(const struct pl011 *u)
{
	return atomic_load_explicit(&u->dropped, memory_order_relaxed);
}

static const struct bus_ops pl011_ops = { .read = pl011_read, .write = pl011_write };

int pl011_new(struct bus *bus, gpa_t gpa, struct line *line, const struct console_sink *sink, struct pl011 **ret_u)
{
	struct pl011 *u = obj_new(sizeof(*u));
	int rc;

	if (!u)
		return -ENOMEM;
	u->bus = bus;
	u->gpa = gpa;
	u->line = line;
	u->sink = sink;
	pthread_mutex_init(&u->lock, NULL);
	/* The reset values that are not 0. */
	u->s.cr = CR_TXE | CR_RXE;
	u->s.ifls = 0x12;
	rc = bus_add(bus, gpa, PL011_SIZE, &pl011_ops, u);
	if (rc) {
		pthread_mutex_destroy(&u->lock);
		obj_free(u);
		return rc;
	}
	*ret_u = u;
	return 0;
}

int pl011_set_view(struct pl011 *u, struct loop *loop, struct hyp *hyp, uint32_t slot)
{
	/* A VM has one; untouched until it is shown. */
	static _Alignas(VIEW_SIZE) uint8_t copy[VIEW_SIZE];

	u->copy = copy;
	view_init(&u->view, hyp, slot, u->copy);
	u->loop = loop;
	atomic_store(&u->view_due, true);
	return 0;
}

void pl011_free(struct pl011 *u)
{
	if (!u)
		return;
	view_detach(&u->view);
	bus_del(u->bus, u->gpa, u);
	pthread_mutex_destroy(&u->lock);
	obj_free(u);
}
