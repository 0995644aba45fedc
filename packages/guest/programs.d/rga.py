#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""rga.py: librga is given a buffer, on a kernel without its driver. It must say so, and leave the
buffer as it is."""

import ctypes
import os
import sys

from heaps import (
    allocate, check, nothing_is_held, output_of, pattern, read, rockchip_library, same, sha256,
    write,
)

SIZE = 640 * 480 * 4


def give_to_librga():
    data = pattern(SIZE, 1)
    descriptor = allocate("system-uncached-dma32", SIZE)
    write(descriptor, data)
    # importbuffer_fd(int, int) of C++
    name, number = "_Z15importbuffer_fdii", ctypes.c_int
    librga = rockchip_library("rga", {name: (number, number, number)})
    handle = librga[name](descriptor, SIZE)
    same(handle, 0, "handle")
    same(sha256(read(descriptor, SIZE)), sha256(data), "bytes")
    os.close(descriptor)
    nothing_is_held()


def says_what_is_missing():
    output = output_of("give_to_librga")
    if "failed to open" not in output or "No such file or directory" not in output:
        raise ValueError(f"librga says: {output}")


if sys.argv[1:]:
    globals()[sys.argv[1]]()
else:
    check(
        "librga: without its driver it refuses a buffer, says why, and leaves it as it is",
        says_what_is_missing,
    )
