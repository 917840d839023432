// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/first_output.h"

#include "vmm/base/clock.h"
#include "vmm/core/loop.h"
#include "vmm/machine/machine.h"

/* Loop. */
static int stamp(void *ctx)
{
	struct first_output *f = ctx;

	f->ns = clock_now_ns();
	return 0;
}

/* A vCPU waits for the loop, once in the VM's life. */
static void look(struct first_output *f, size_t len)
{
	if (len && !atomic_load_explicit(&f->seen, memory_order_relaxed) && !atomic_exchange(&f->seen, true))
		loop_call(f->loop, stamp, f);
}

static size_t uart_write(void *ctx, const void *buf, size_t len)
{
	struct first_output *f = ctx;

	look(f, len);
	return f->uart.write(f->uart.ctx, buf, len);
}

static size_t hvc_write(void *ctx, const void *buf, size_t len)
{
	struct first_output *f = ctx;

	look(f, len);
	return f->hvc.write(f->hvc.ctx, buf, len);
}

static void uart_room(void *ctx)
{
	struct first_output *f = ctx;

	f->uart.input_room(f->uart.ctx);
}

static void hvc_room(void *ctx)
{
	struct first_output *f = ctx;

	f->hvc.input_room(f->hvc.ctx);
}

static void hvc_closed(void *ctx)
{
	struct first_output *f = ctx;

	if (f->hvc.closed)
		f->hvc.closed(f->hvc.ctx);
}

void first_output_watch(struct first_output *f, struct loop *l, struct machine_console *con)
{
	f->loop = l;
	f->uart = con->uart;
	f->hvc = con->hvc;
	con->uart = (struct console_sink){ .write = uart_write, .input_room = uart_room, .ctx = f };
	con->hvc = (struct console_sink){ .write = hvc_write, .input_room = hvc_room, .closed = hvc_closed, .ctx = f };
}
