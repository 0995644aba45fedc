#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""rga.py: librga is given a buffer, on a kernel without its driver. It must say so, and leave the
buffer as it is."""

import os
import subprocess
import sys

from heaps import (
    allocate, check, nothing_is_held, pattern, read, rockchip_library, same, sha256, write,
)

SIZE = 640 * 480 * 4


def give_to_librga():
    data = pattern(SIZE, 1)
    descriptor = allocate("system-uncached-dma32", SIZE)
    write(descriptor, data)
    # importbuffer_fd(int, int) of C++
    handle = rockchip_library("rga")._Z15importbuffer_fdii(descriptor, SIZE)
    same(handle, 0, "handle")
    same(sha256(read(descriptor, SIZE)), sha256(data), "bytes")
    os.close(descriptor)
    nothing_is_held()


def says_what_is_missing():
    run = subprocess.run(
        [sys.executable, __file__, "give_to_librga"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=(3,),
    )
    print(run.stdout)
    same(run.returncode, 0, "exit status")
    if "failed to open" not in run.stdout or "No such file or directory" not in run.stdout:
        raise ValueError(f"librga says: {run.stdout}")


if sys.argv[1:]:
    globals()[sys.argv[1]]()
else:
    check(
        "librga: without its driver it refuses a buffer, says why, and leaves it as it is",
        says_what_is_missing,
    )
