/* SPDX-License-Identifier: BSD-3-Clause */
#include "hostile.h"

const struct family console_tables[] = { { 0 } };
