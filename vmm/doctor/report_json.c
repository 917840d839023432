// SPDX-License-Identifier: BSD-3-Clause
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/text.h"
#include "vmm/doctor/lines.h"
#include "vmm/doctor/report.h"
#include "vmm/doctor/trouble.h"
#include "vmm/doctor/why.h"

/* Any bytes; what is no UTF-8 text becomes '?'. */
static json_t *text_value(const char *text)
{
	char *copy = text ? strdup(text) : NULL;
	json_t *v;

	if (!copy)
		return json_null();
	text_clean(copy);
	v = json_string(copy);
	free(copy);
	return v;
}

static json_t *value(const struct line *l)
{
	switch (l->type) {
	case LINE_NULL:
		break;
	case LINE_BOOL:
		return json_boolean(l->yes);
	case LINE_NUMBER:
		return json_integer((json_int_t)l->number);
	case LINE_TEXT:
		return text_value(l->text);
	}
	return json_null();
}

static void set_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, text_value(text));
}

static json_t *advice_value(const struct line *l)
{
	json_t *o = json_object();

	set_text(o, "section", l->section);
	set_text(o, "key", l->key);
	set_text(o, "remedy", l->remedy);
	return o;
}

static void add_lines(json_t *o, json_t *advice, const struct doctor_facts *f)
{
	struct line lines[LINES_MAX];
	unsigned n = doctor_lines(f, lines);

	for (unsigned i = 0; i < n; i++) {
		json_t *section = json_object_get(o, lines[i].section);

		if (!section) {
			section = json_object();
			json_object_set_new(o, lines[i].section, section);
		}
		json_object_set_new(section, lines[i].key, value(&lines[i]));
		if (lines[i].remedy[0] && lines[i].mark >= MARK_LACK)
			json_array_append_new(advice, advice_value(&lines[i]));
	}
}

static json_t *version_value(struct kernel_version v)
{
	char text[40];

	snprintf(text, sizeof(text), "%u.%u.%u", v.major, v.minor, v.patch);
	return json_string(text);
}

static json_t *hole_value(const struct doctor_facts *f, const struct hole *h)
{
	enum hole_state state = hole_judge(h, f->host.version, f->host.version_known);
	json_t *o = json_object(), *fixed = json_array();

	for (unsigned k = 0; k < h->nr_fixed; k++)
		json_array_append_new(fixed, version_value(h->fixed[k]));
	set_text(o, "id", h->cve);
	set_text(o, "area", hole_area_name(h->area));
	set_text(o, "state", hole_state_name(state));
	json_object_set_new(o, "in_reach", json_boolean(why_in_reach(f, h->area)));
	set_text(o, "what", h->what);
	json_object_set_new(o, "since", version_value(h->since));
	json_object_set_new(o, "fixed_in", fixed);
	set_text(o, "without", hole_area_without(h->area));
	return o;
}

static json_t *holes_value(const struct doctor_facts *f)
{
	json_t *all = json_array();
	size_t n;
	const struct hole *h = holes_table(&n);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(all, hole_value(f, &h[i]));
	return all;
}

static json_t *device_value(const struct doctor_facts *f, unsigned i)
{
	const struct plan_dev *p = &f->plan.devs[i];
	struct why t, b = { 0 };
	json_t *o = json_object();
	char text[TROUBLE_TEXT];

	why_transport(f, i, &t);
	set_text(o, "id", p->cfg->id);
	set_text(o, "kind", why_kind(p->cfg->kind));
	set_text(o, "transport", t.what);
	set_text(o, "transport_reason", t.reason);
	why_backend(f, i, &b);
	set_text(o, "backend", b.what);
	set_text(o, "backend_reason", b.reason[0] ? b.reason : NULL);
	set_text(o, "trouble", trouble_of(f, i, text) ? text : NULL);
	return o;
}

static json_t *plan_value(const struct doctor_facts *f)
{
	json_t *o = json_object(), *devices = json_array();
	bool good = !f->kvm_error && !f->plan_error;
	const char *error = f->kvm_error ? f->kvm_text.text : f->plan_error ? f->plan_text.text : NULL;
	struct why w = { 0 };

	if (good)
		why_irqchip(f, &w);
	set_text(o, "error", error);
	set_text(o, "irqchip", w.what);
	set_text(o, "irqchip_reason", good ? w.reason : NULL);
	json_object_set_new(o, "v2m", good ? json_boolean(f->plan.v2m) : json_null());
	json_object_set_new(o, "ipa_bits", good ? json_integer(f->plan.ipa_bits) : json_null());
	for (unsigned i = 0; good && i < f->plan.nr_devs; i++)
		json_array_append_new(devices, device_value(f, i));
	json_object_set_new(o, "devices", devices);
	return o;
}

char *report_json(const struct doctor_facts *f)
{
	json_t *o = json_object(), *advice = json_array();
	char *text;

	set_text(o, "version", MICROVM_VERSION);
	set_text(o, "verdict", doctor_verdict_name(doctor_verdict(f)));
	add_lines(o, advice, f);
	json_object_set_new(o, "plan", plan_value(f));
	json_object_set_new(o, "holes", holes_value(f));
	json_object_set_new(o, "advice", advice);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}
