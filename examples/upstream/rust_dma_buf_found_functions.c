// SPDX-License-Identifier: GPL-2.0

#include "../../src/found_functions.c"
