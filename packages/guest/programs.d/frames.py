#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""frames.py SIZE: prints the hash of each frame of SIZE bytes on standard input."""

import hashlib
import sys

size = int(sys.argv[1])
while frame := sys.stdin.buffer.read(size):
    if len(frame) != size:
        sys.exit(f"{len(frame)} bytes in place of a frame of {size}")
    print(hashlib.sha256(frame).hexdigest())
