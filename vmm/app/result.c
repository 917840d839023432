// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/app/result.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/app/options.h"
#include "vmm/base/log.h"
#include "vmm/base/text.h"

int result_status(const struct machine_result *r)
{
	switch (r->reason) {
	case STOP_POWEROFF: return r->has_guest_status ? r->guest_status : 0;
	case STOP_RESET:
	case STOP_WATCHDOG: return EXIT_RESET;
	case STOP_PANIC: return EXIT_PANIC;
	case STOP_TIMEOUT: return EXIT_TIMEOUT;
	case STOP_SIGNAL:
	case STOP_GRACE: return EXIT_SIGNAL + r->signo;
	case STOP_USER: return EXIT_SIGNAL + SIGINT;
	case STOP_FAILED: return EXIT_MONITOR_FAILED;
	}
	return EXIT_MONITOR_FAILED;
}

const char *result_reason(enum stop_reason reason)
{
	static const char *const names[] = {
		[STOP_POWEROFF] = "poweroff", [STOP_RESET] = "reset", [STOP_PANIC] = "panic", [STOP_WATCHDOG] = "watchdog",
		[STOP_TIMEOUT] = "timeout", [STOP_SIGNAL] = "signal", [STOP_GRACE] = "grace", [STOP_USER] = "user",
		[STOP_FAILED] = "failed",
	};

	return (size_t)reason < ARRAY_LEN(names) ? names[reason] : "failed";
}

/* UTF-8 out of any bytes: what is no character, or one of C1, becomes U+FFFD. Also cuts a sequence off at the front. */
static json_t *text_value(const char *bytes, size_t len)
{
	char *text = malloc(len * 3 + 1);
	size_t at = 0;
	json_t *v;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len;) {
		size_t n = (unsigned char)bytes[i] < 0x80 ? 1 : text_char(bytes + i, len - i);

		if (n) {
			memcpy(text + at, bytes + i, n);
			at += n;
			i += n;
		} else {
			memcpy(text + at, "\xef\xbf\xbd", 3);
			at += 3;
			i++;
		}
	}
	v = json_stringn_nocheck(text, at);
	free(text);
	return v;
}

static uint64_t since_us(uint64_t begin_ns, uint64_t t_ns)
{
	return t_ns > begin_ns ? (t_ns - begin_ns) / 1000 : 0;
}

/* Without memory for a part there is none of it: half an object would pass for a whole one. */
static void add(json_t **o, const char *key, json_t *value)
{
	if (!json_object_set_new(*o, key, value))
		return;
	json_decref(*o);
	*o = NULL;
}

static void add_number(json_t **o, const char *key, uint64_t n)
{
	add(o, key, json_integer((json_int_t)n));
}

/* By its id; without what never was. */
static void add_device(json_t **devices, const struct result *r, const struct machine_device *d)
{
	json_t *o = json_object();

	if (d->ready_ns)
		add_number(&o, "ready_us", since_us(r->begin_ns, d->ready_ns));
	add_number(&o, "faults", d->faults);
	for (unsigned i = 0; i < d->nr_counts; i++)
		add_number(&o, d->counts[i].name, d->counts[i].n);
	add(devices, d->id, o);
}

static void add_devices(json_t **o, const struct result *r)
{
	json_t *devices = json_object();

	for (unsigned i = 0; i < r->run->nr_devices; i++)
		add_device(&devices, r, &r->run->devices[i]);
	add(o, "devices", devices);
}

static void add_balloon(json_t **o, const struct machine_balloon *b)
{
	json_t *balloon = json_object(), *stats = json_object();

	add_number(&balloon, "target", b->target);
	add_number(&balloon, "actual", b->actual);
	add_number(&balloon, "inflated", b->inflated);
	add_number(&balloon, "deflated", b->deflated);
	add_number(&balloon, "reported", b->reported);
	add_number(&balloon, "given_back", b->given_back);
	add_number(&balloon, "failed", b->failed);
	for (unsigned i = 0; i < b->nr_stats; i++)
		add_number(&stats, b->stats[i].name, b->stats[i].n);
	add(&balloon, "guest", stats);
	add(o, "balloon", balloon);
}

static void add_run(json_t **o, const struct result *r)
{
	const struct machine_result *run = r->run;
	json_t *phases = json_object();

	if (run->reason == STOP_SIGNAL || run->reason == STOP_GRACE)
		add_number(o, "signal", (uint64_t)run->signo);
	if (run->reason == STOP_PANIC)
		add(o, "panic", text_value(run->text, strlen(run->text)));
	if (run->crash_loads)
		add_number(o, "crash_kernels", run->crash_loads);
	if (run->has_guest_status)
		add_number(o, "guest_status", (uint64_t)run->guest_status);
	if (run->pressed)
		add_number(o, "power_button", (uint64_t)run->pressed);
	add_number(&phases, "built", since_us(r->begin_ns, run->start_ns));
	if (run->run_ns)
		add_number(&phases, "first_instruction", since_us(r->begin_ns, run->run_ns));
	if (r->first_output_ns)
		add_number(&phases, "first_output", since_us(r->begin_ns, r->first_output_ns));
	if (run->init_ns)
		add_number(&phases, "init", since_us(r->begin_ns, run->init_ns));
	add_number(&phases, "end", since_us(r->begin_ns, run->end_ns));
	add(o, "phases_us", phases);
	add_devices(o, r);
	if (run->has_balloon)
		add_balloon(o, &run->balloon);
	add_number(o, "kvm_run_exits", run->exits);
	add_number(o, "routing_commits", run->commits);
	add_number(o, "uart_dropped", run->uart_dropped);
}

void result_put_denied(int fd, const char *text)
{
	const char *const parts[] = {
		"{\"version\":\"" MICROVM_VERSION "\",\"reason\":\"failed\",\"status\":121,\"error\":\"", text, "\"}\n", NULL,
	};

	log_put(fd, parts);
}

char *result_json(const struct result *r)
{
	char *text, *line = NULL;
	json_t *o;

	/* The keys are ours, and jansson would open a file for a better one. */
	json_object_seed(1);
	o = json_object();

	add(&o, "version", json_string(MICROVM_VERSION));
	add(&o, "reason", json_string(r->run ? result_reason(r->run->reason) : r->reason));
	add_number(&o, "status", (uint64_t)r->status);
	if (r->error)
		add(&o, "error", text_value(r->error, strlen(r->error)));
	if (r->run) {
		add_run(&o, r);
		add(&o, "console_tail", text_value(r->tail, r->tail_len));
	}
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (text) {
		size_t len = strlen(text);

		line = realloc(text, len + 2);
		if (line)
			memcpy(line + len, "\n", 2);
		else
			free(text);
	}
	return line;
}
