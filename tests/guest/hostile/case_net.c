/* SPDX-License-Identifier: BSD-3-Clause */
#include "hostile.h"

const struct family net_tables[] = { { 0 } };
