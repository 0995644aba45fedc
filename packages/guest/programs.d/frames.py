#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""frames.py SIZE: prints the hash of each frame of SIZE bytes on standard input."""

import sys

from heaps import sha256

size = int(sys.argv[1])
while frame := sys.stdin.buffer.read(size):
    if len(frame) != size:
        sys.exit(f"{len(frame)} bytes in place of a frame of {size}")
    print(sha256(frame))
