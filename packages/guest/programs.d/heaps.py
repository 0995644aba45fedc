#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Results of the tests of programs, and dma-bufs as any program sees them. As a program: fails if
the heaps hold a buffer."""

import ctypes
import fcntl
import glob
import hashlib
import mmap
import os
import struct
import subprocess
import sys
import time

# The first eight are those that MPP opens.
SYSTEM_AND_CMA = [
    name + cached + limit
    for name in ("system", "cma")
    for cached in ("", "-uncached")
    for limit in ("", "-dma32")
]
HEAPS = SYSTEM_AND_CMA + ["default_cma_region", "reserved", "rk-dma-heap-cma"]

# _IOWR('H', 0, struct dma_heap_allocation_data): length, descriptor, its flags, flags of the heap.
DMA_HEAP_IOCTL_ALLOC, ALLOCATION = 0xC0184800, "QLLQ"
# _IOW('b', 0, struct dma_buf_sync), and the bits of its member.
DMA_BUF_IOCTL_SYNC, READ, WRITE, END = 0x40086200, 1, 2, 4

# The host reads this descriptor's other end.
results = os.fdopen(3, "w", buffering=1)


def check(what, function, *arguments):
    """The function must neither fail nor say that anything is different."""
    try:
        function(*arguments)
    except Exception as error:
        lines = f"{type(error).__name__}: {error}".replace("\n", "\n  | ")
        print(f"not ok {what}\n  | {lines}", file=results)
    else:
        print(f"ok {what}", file=results)


def same(seen, expected, what):
    if seen != expected:
        raise ValueError(f"{what}: {seen!r} instead of {expected!r}")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def pattern(size, seed):
    """Bytes of which no two pages are the same."""
    block = hashlib.sha512(str(seed).encode()).digest()
    pages = (
        struct.pack("<QQ", seed, page) + (block * 64)[16:] for page in range(size // 4096 + 1)
    )
    return b"".join(pages)[:size]


def rockchip_library(name, prototypes):
    """One of Rockchip's libraries, with its functions: {name: (result, argument, ...)}."""
    (path,) = glob.glob(f"/opt/rockchip/lib{name}-*.so*")
    library = ctypes.CDLL(path)
    for function, (result, *arguments) in prototypes.items():
        function = getattr(library, function)
        function.restype, function.argtypes = result, arguments
    return library


def output_of(part, **environment):
    """Runs a part of the program in a process of its own, and returns what it prints."""
    run = subprocess.run(
        [sys.executable, sys.argv[0], part], env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=(3,),
    )
    print(run.stdout)
    same(run.returncode, 0, f"exit status of {part}")
    return run.stdout


def allocate(heap, size):
    """A buffer of the heap: its descriptor."""
    node = os.open(f"/dev/dma_heap/{heap}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = bytearray(struct.pack("=" + ALLOCATION, size, 0, os.O_RDWR | os.O_CLOEXEC, 0))
        fcntl.ioctl(node, DMA_HEAP_IOCTL_ALLOC, data)
    finally:
        os.close(node)
    return struct.unpack("=" + ALLOCATION, data)[1]


def described(descriptor):
    """What the kernel says of a dma-buf: its size, its exporter, and its inode."""
    with open(f"/proc/self/fdinfo/{descriptor}") as lines:
        fields = dict(line.rstrip("\n").split(":", 1) for line in lines)
    if "exp_name" not in fields:
        raise ValueError(f"descriptor {descriptor} is not a dma-buf: {fields}")
    return int(fields["size"]), fields["exp_name"].strip(), os.fstat(descriptor).st_ino


def is_from(descriptor, heap, size):
    """The dma-buf comes from the heap and has the size, in whole pages."""
    seen_size, seen_heap, _ = described(descriptor)
    same(seen_heap, heap, "heap")
    same(seen_size, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, f"size of a buffer of {heap}")


def sync(descriptor, flags):
    fcntl.ioctl(descriptor, DMA_BUF_IOCTL_SYNC, struct.pack("=Q", flags))


def read(descriptor, size):
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapping:
        sync(descriptor, READ)
        data = mapping[:size]
        sync(descriptor, READ | END)
    return data


def write(descriptor, data):
    with mmap.mmap(descriptor, len(data)) as mapping:
        sync(descriptor, WRITE)
        mapping[:] = data
        sync(descriptor, WRITE | END)


def held():
    """The heaps that hold buffers, and how many: {name: buffers}."""
    with open("/proc/rk_dma_heap/heaps") as lines:
        rows = [line.split() for line in lines]
    return {row[0]: int(row[1]) for row in rows[1:] if row[1] != "0"}


def nothing_is_held():
    """Buffers are given back in the background."""
    end = time.monotonic() + 10
    while held() and time.monotonic() < end:
        time.sleep(0.1)
    same(held(), {}, "buffers of the heaps")


if __name__ == "__main__":
    nothing_is_held()
