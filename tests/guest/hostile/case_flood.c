/* SPDX-License-Identifier: BSD-3-Clause */
#include "hostile.h"

const struct family flood_tables[] = { { 0 } };
