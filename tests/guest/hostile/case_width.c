/* SPDX-License-Identifier: BSD-3-Clause */
#include "hostile.h"

const struct family width_tables[] = { { 0 } };
