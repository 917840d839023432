// SPDX-License-Identifier: BSD-3-Clause
/* What the loop tells us: signals, keys, and bytes of the user's for the guest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/app/app.h"
#include "vmm/app/keys.h"
#include "vmm/app/terminal.h"
#include "vmm/base/log.h"

static void on_press(void *ctx, int signo)
{
	machine_press_power(((struct app *)ctx)->machine, signo);
}

static void on_end(void *ctx, int signo)
{
	struct app *a = ctx;

	machine_stop(a->machine, STOP_SIGNAL, signo, NULL);
}

static void log_lines(char *text)
{
	char *next;

	for (char *line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		log_always("%s", line);
	}
}

/* A dump is many lines: for them the terminal is put back, or each would start where the last ended. */
static void on_dump(void *ctx)
{
	struct app *a = ctx;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	machine_dump(a->machine, out);
	fclose(out);
	terminal_restore();
	if (text)
		log_lines(text);
	terminal_resume();
	free(text);
}

void app_panic_line(void *ctx, const char *line)
{
	struct app *a = ctx;

	if (a->ended)
		machine_result_panic(a->ended, line);
	else
		machine_stop(a->machine, STOP_PANIC, 0, line);
}

void app_resize(struct app *a)
{
	uint16_t cols, rows;

	if (a->options.config.console == CONSOLE_STDIO &&
	    (terminal_size(STDOUT_FILENO, &cols, &rows) || (a->has_terminal && terminal_size(STDIN_FILENO, &cols, &rows))))
		machine_hvc_resize(a->machine, cols, rows);
}

static void on_resize(void *ctx)
{
	app_resize(ctx);
}

static void on_stop(void *ctx)
{
	(void)ctx;
	terminal_restore();
}

static void on_cont(void *ctx)
{
	terminal_resume();
	app_resize(ctx);
}

const struct signals_ops app_signals_ops = {
	.press = on_press, .end = on_end, .dump = on_dump, .resize = on_resize, .stop = on_stop, .cont = on_cont,
};

static size_t to_hvc(void *ctx, const uint8_t *buf, size_t len)
{
	return machine_hvc_input(((struct app *)ctx)->machine, buf, len);
}

static size_t to_uart(void *ctx, const uint8_t *buf, size_t len)
{
	return machine_uart_input(((struct app *)ctx)->machine, buf, len);
}

static void hvc_room(void *ctx)
{
	machine_hvc_room(((struct app *)ctx)->machine);
}

static void on_user_end(void *ctx)
{
	machine_stop(((struct app *)ctx)->machine, STOP_USER, 0, NULL);
}

static void on_help(void *ctx)
{
	const char *const parts[] = { keys_help, NULL };

	(void)ctx;
	log_put(STDERR_FILENO, parts);
}

const struct console_mux_ops app_mux_ops = {
	.hvc_input = to_hvc, .uart_input = to_uart, .hvc_room = hvc_room, .end = on_user_end, .help = on_help,
};
