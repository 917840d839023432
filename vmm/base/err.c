// SPDX-License-Identifier: BSD-3-Clause
#include "vmm/base/err.h"

#include <stdarg.h>
#include <stdio.h>

#include "vmm/base/text.h"

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	text_clean(e->text);
	return code;
}
