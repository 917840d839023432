/* SPDX-License-Identifier: BSD-3-Clause */
#include "hostile.h"

const struct family cpu_tables[] = { { 0 } };
