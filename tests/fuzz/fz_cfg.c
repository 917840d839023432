// SPDX-License-Identifier: BSD-3-Clause
/*
 * cfg: command lines and configuration files of any bytes.
 *
 * Covers: vmm/app/options.c, devopts.c, values.c, config_json.c, mac.c, and vmm/machine/plan.c with what
 *         was accepted. The first byte says which: a command line, its arguments ended by newlines, or
 *         a JSON text.
 * Oracle: what is refused has one clean line and leaves nothing: all memory is given back, and a good
 *         command line that follows is taken as if it were the first; what is accepted is in its
 *         ranges, with ids that differ; its plan, where there is one, overlaps nowhere; the same text
 *         gives the same result.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "arch/arm64/layout.h"
#include "vmm/app/config_json.h"
#include "vmm/app/options.h"
#include "vmm/machine/plan.h"

#define MAX_ARGS 40

static struct config good; /* what the good command line gives */

static int parse(struct options *o, int argc, const char *const argv[], struct err *err)
{
	memset(o, 0, sizeof(*o));
	err->text[0] = '\0';
	return options_parse(o, argc, argv, err);
}

static void check_error(const struct err *err)
{
	size_t len = strnlen(err->text, sizeof(err->text));

	must(len && len < sizeof(err->text));
	for (size_t i = 0; i < len; i++)
		must((unsigned char)err->text[i] >= 0x20 && err->text[i] != 0x7f);
}

static void check_net(const struct dev_config *d)
{
	const struct net_options *n = &d->net;

	must(!!n->tap + !!n->nr_fds + n->user == 1 && n->nr_fds <= 16 && n->queues >= 1 && n->queues <= 16);
	must(n->has_mac && !(n->mac[0] & 1));
	must(n->nr_publish <= NET_MAX_PUBLISH && (n->user || (!n->nr_publish && !n->loopback)));
	for (unsigned i = 0; i < n->nr_publish; i++)
		must(n->publish[i].host && n->publish[i].guest);
	must(!n->user || (n->queues == 1 && n->vhost == TRI_OFF && !d->irq_direct));
	if (n->tap)
		must(n->tap[0] && strlen(n->tap) < 16);
}

static void check_config(const struct config *c)
{
	must(c->cpus >= 1 && c->cpus <= CONFIG_MAX_CPUS && c->memory && !(c->memory % 4096));
	must(c->nr_devices <= CONFIG_MAX_DEVICES && strnlen(c->cmdline, sizeof(c->cmdline)) < sizeof(c->cmdline));
	for (unsigned i = 0; i < c->nr_devices; i++) {
		const struct dev_config *d = &c->devices[i];

		must(d->id[0] && strnlen(d->id, sizeof(d->id)) < sizeof(d->id));
		for (unsigned j = 0; j < i; j++)
			must(strcmp(d->id, c->devices[j].id));
		if (d->kind == DEV_NET)
			check_net(d);
	}
}

struct window {
	uint64_t at, size;
};

static void check_apart(const struct window *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		must(w[i].at + w[i].size >= w[i].at);
		for (unsigned j = 0; j < i; j++)
			must(!w[i].size || !w[j].size || w[i].at + w[i].size <= w[j].at || w[j].at + w[j].size <= w[i].at);
	}
}

static void check_plan(const struct config *c, uint64_t facts)
{
	struct host_facts h = { .max_ipa_bits = facts & 1 ? 48 : 36, .max_cpus = 512, .max_memory = UINT64_C(1) << 46,
				.gicv3 = facts & 2, .its = facts & 4, .gicv2 = facts & 8, .steal_time = facts & 16,
				.pci_mem64 = facts & 32 ? facts << 16 & 0xffffff0000 : 0 };
	uint64_t images[CONFIG_MAX_DEVICES] = { 0 };
	struct window w[2 * CONFIG_MAX_DEVICES + 8] = { { LAYOUT_UART, 0x1000 }, { LAYOUT_RTC, 0x1000 } };
	bool spis[1024] = { [LAYOUT_SPI_UART] = true, [LAYOUT_SPI_RTC] = true };
	struct err err = { "" };
	struct plan p;
	unsigned n = 2;

	for (unsigned i = 0; i < c->nr_devices; i++)
		images[i] = c->devices[i].kind == DEV_PMEM ? 2 * MIB + (facts >> 8 << i % 40 & 0xffffffe00000) : 0;
	h.pmem = images;
	if (plan_make(c, &h, &p, &err)) {
		check_error(&err);
		return;
	}
	must(p.ipa_bits <= h.max_ipa_bits && p.nr_irqs >= 64 && p.nr_irqs <= 992 && p.nr_irqs % 32 == 0);
	must(p.ram_usable <= p.ram_size && p.ram_usable >= c->memory - PLAN_STEAL_SIZE);
	w[n++] = (struct window){ LAYOUT_GICD, LAYOUT_ECAM + LAYOUT_ECAM_SIZE - LAYOUT_GICD };
	w[n++] = (struct window){ LAYOUT_PCI_MEM, LAYOUT_PCI_MEM_SIZE };
	w[n++] = (struct window){ p.ram, p.ram_size };
	w[n++] = (struct window){ p.pci_mem64, p.pci_mem64_size };
	for (unsigned i = 0; i < p.nr_devs; i++) {
		const struct plan_dev *d = &p.devs[i];

		for (unsigned j = 0; j < i; j++)
			must(!d->pci || !p.devs[j].pci || d->rid != p.devs[j].rid);
		if (!d->pci)
			w[n++] = (struct window){ d->gpa, LAYOUT_VMMIO_SIZE };
		w[n++] = (struct window){ d->mem, images[i] };
		must(!images[i] || d->mem + images[i] <= BIT64(p.ipa_bits));
		if (d->pci && d->cfg->kind != DEV_VFIO)
			continue;
		must(d->spi + 32 < p.nr_irqs && !spis[d->spi] && (!p.v2m || d->spi < p.v2m_spi));
		spis[d->spi] = true;
	}
	must(!p.v2m || p.v2m_spi + p.v2m_count + 32 <= p.nr_irqs);
	for (unsigned i = 0; i < n; i++)
		must(!w[i].size || w[i].at + w[i].size - 1 < UINT64_C(1) << p.ipa_bits);
	check_apart(w, n);
}

/* Those that open a file, or anything by its descriptor, are not for here. */
static bool opens_files(const char *arg)
{
	return strstr(arg, "config");
}

static int parse_lines(char *text, struct options *o, struct err *err)
{
	const char *argv[MAX_ARGS] = { "microvm" };
	int argc = 1;

	for (char *line = strtok(text, "\n"); line && argc < MAX_ARGS; line = strtok(NULL, "\n"))
		if (!opens_files(line))
			argv[argc++] = line;
	return parse(o, argc, argv, err);
}

static int parse_json(const char *text, size_t len, struct options *o, struct err *err)
{
	memset(o, 0, sizeof(*o));
	err->text[0] = '\0';
	return config_json_text(o, "FILE", text, len, err);
}

static int parse_any(bool json, const char *text, size_t len, struct options *o, struct err *err, char **ret_copy)
{
	char *copy = malloc(len + 1);

	must(copy);
	memcpy(copy, text, len);
	copy[len] = '\0';
	*ret_copy = copy;
	return json ? parse_json(copy, len, o, err) : parse_lines(copy, o, err);
}

/* The good one, now and as ever. */
static void check_no_trace(void)
{
	static const char *const argv[] = { "microvm", "--kernel", "Image", "--net", "tap0,queues=2", "--cpus", "3" };
	static struct options o;
	struct err err;

	must(parse(&o, ARRAY_LEN(argv), argv, &err) == 0);
	if (!good.kernel)
		good = o.config;
	must(o.config.cpus == 3 && o.config.memory == good.memory && o.config.nr_devices == good.nr_devices);
	must(!strcmp(o.config.cmdline, good.cmdline) && o.config.log_level == good.log_level);
	must(!memcmp(o.config.devices[2].net.mac, good.devices[2].net.mac, 6) && o.config.transport == good.transport);
	options_free(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct options o, again;
	struct err err, err2;
	char *copy, *copy2;
	bool json;
	int r;

	if (size < 2)
		return 0;
	json = data[0] & 1;
	r = parse_any(json, (const char *)data + 1, size - 1, &o, &err, &copy);
	if (r)
		check_error(&err);
	else if (!o.help && !o.version && !o.doctor && !json)
		check_config(&o.config);
	if (!r && !json && o.config.kernel)
		check_plan(&o.config, size * UINT64_C(0x9e3779b97f4a7c15) >> 20);
	must(parse_any(json, (const char *)data + 1, size - 1, &again, &err2, &copy2) == r);
	must(!r || !strcmp(err.text, err2.text));
	must(r || (o.config.cpus == again.config.cpus && !strcmp(o.config.cmdline, again.config.cmdline) &&
		   o.config.nr_devices == again.config.nr_devices && o.seen == again.seen));
	options_free(&o);
	options_free(&again);
	free(copy);
	free(copy2);
	check_no_trace();
	return 0;
}
