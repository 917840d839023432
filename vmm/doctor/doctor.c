// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/doctor/doctor.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/doctor/host.h"
#include "vmm/doctor/kvm.h"
#include "vmm/doctor/report.h"

static struct doctor_facts facts; /* too large for a stack, and needed once */

int doctor_run(const struct config *c, bool json, FILE *out, enum doctor_verdict *ret_v)
{
	char *line;

	facts.config = c;
	host_probe("", c, &facts.host);
	kvm_probe(&facts);
	if (json) {
		line = report_json(&facts);
		if (!line)
			return -ENOMEM;
		fprintf(out, "%s\n", line);
		free(line);
	} else {
		report_text(&facts, out);
	}
	*ret_v = doctor_verdict(&facts);
	return 0;
}
