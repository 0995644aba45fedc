#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""mpp.py: Rockchip's MPP allocates, limits, imports, shares and syncs buffers. It also leaks one on
purpose, to see that its report of leaks reports."""

import ctypes
import os
import random
import socket
import sys

from heaps import (
    HEAPS, SYSTEM_AND_CMA, allocate, check, described, held, is_from, nothing_is_held, output_of,
    pattern, read, rockchip_library, same, sha256, write,
)

INTERNAL, EXTERNAL = 0, 1
# Types of memory: by DRM, and by heaps. MPP takes heaps for both if there are any.
DRM, DMA_HEAP = 3, 4
CONTIGUOUS, CACHED, DMA32 = 1 << 0, 1 << 1, 1 << 5
ALL_FLAGS = range(64)
CALLER = b"test"
# MPP writes to the log of the system; with the first also to standard error. The others are its
# reports of buffers and of memory.
REPORT = {"mpp_syslog_perror": "1", "mpp_buffer_debug": "0x20", "mpp_mem_debug": "1"}


class Info(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("size", ctypes.c_size_t),
        ("pointer", ctypes.c_void_p),
        ("handle", ctypes.c_void_p),
        ("descriptor", ctypes.c_int),
        ("index", ctypes.c_int),
    ]


def library():
    pointer, size, number, text = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p,
    )
    return rockchip_library("rockchip_mpp", {
        "mpp_buffer_group_get": (number, ctypes.POINTER(pointer), number, number, text, text),
        "mpp_buffer_group_put": (number, pointer),
        "mpp_buffer_group_clear": (number, pointer),
        "mpp_buffer_group_usage": (size, pointer),
        "mpp_buffer_group_unused": (number, pointer),
        "mpp_buffer_group_limit_config": (number, pointer, size, number),
        "mpp_buffer_get_with_tag":
            (number, pointer, ctypes.POINTER(pointer), size, text, text),
        "mpp_buffer_import_with_tag":
            (number, pointer, ctypes.POINTER(Info), ctypes.POINTER(pointer), text, text),
        "mpp_buffer_inc_ref_with_caller": (number, pointer, text),
        "mpp_buffer_put_with_caller": (number, pointer, text),
        "mpp_buffer_get_fd_with_caller": (number, pointer, text),
        "mpp_buffer_get_ptr_with_caller": (pointer, pointer, text),
        "mpp_buffer_get_size_with_caller": (size, pointer, text),
        "mpp_buffer_info_get_with_caller": (number, pointer, ctypes.POINTER(Info), text),
        "mpp_buffer_read_with_caller": (number, pointer, size, text, size, text),
        "mpp_buffer_write_with_caller": (number, pointer, size, text, size, text),
        "mpp_buffer_sync_begin_f": (number, pointer, number, text),
        "mpp_buffer_sync_end_f": (number, pointer, number, text),
        "mpp_buffer_sync_partial_begin_f":
            (number, pointer, number, ctypes.c_uint, ctypes.c_uint, text),
        "mpp_buffer_sync_partial_end_f":
            (number, pointer, number, ctypes.c_uint, ctypes.c_uint, text),
        "mpp_buffer_total_now": (ctypes.c_uint,),
        "mpp_buffer_total_max": (ctypes.c_uint,),
    })


def succeeds(returned, what):
    same(returned, 0, what)


def is_refused(returned, what):
    if returned == 0:
        raise ValueError(f"{what} was not refused")


class Buffer:
    def __init__(self, handle):
        self.handle = handle

    @property
    def descriptor(self):
        return mpp.mpp_buffer_get_fd_with_caller(self.handle, CALLER)

    @property
    def size(self):
        return mpp.mpp_buffer_get_size_with_caller(self.handle, CALLER)

    def read(self, offset, size):
        data = ctypes.create_string_buffer(size)
        succeeds(
            mpp.mpp_buffer_read_with_caller(self.handle, offset, data, size, CALLER), "read"
        )
        return data.raw

    def try_to_write(self, offset, data):
        return mpp.mpp_buffer_write_with_caller(self.handle, offset, data, len(data), CALLER)

    def write(self, offset, data):
        succeeds(self.try_to_write(offset, data), "write")

    def begin(self, read_only):
        succeeds(mpp.mpp_buffer_sync_begin_f(self.handle, read_only, CALLER), "begin of a sync")

    def end(self, read_only):
        succeeds(mpp.mpp_buffer_sync_end_f(self.handle, read_only, CALLER), "end of a sync")

    def put(self):
        succeeds(mpp.mpp_buffer_put_with_caller(self.handle, CALLER), "put of a buffer")


class Group:
    """A group of buffers, which is given back at the end of the block."""

    def __init__(self, flags=CACHED, mode=INTERNAL, type=DMA_HEAP):
        self.handle = ctypes.c_void_p()
        self.type = type
        succeeds(
            mpp.mpp_buffer_group_get(
                self.handle, type | flags << 16, mode, b"test", CALLER
            ),
            "group",
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        succeeds(mpp.mpp_buffer_group_put(self.handle), "put of a group")

    def try_to_get(self, size):
        buffer = ctypes.c_void_p()
        returned = mpp.mpp_buffer_get_with_tag(self.handle, buffer, size, b"test", CALLER)
        return returned, Buffer(buffer)

    def get(self, size):
        returned, buffer = self.try_to_get(size)
        succeeds(returned, f"a buffer of {size} bytes")
        return buffer

    def try_to_import(self, descriptor, size):
        info, buffer = Info(self.type, size, None, None, descriptor, 0), ctypes.c_void_p()
        returned = mpp.mpp_buffer_import_with_tag(self.handle, info, buffer, b"test", CALLER)
        return returned, Buffer(buffer)

    def limit(self, size, count):
        succeeds(mpp.mpp_buffer_group_limit_config(self.handle, size, count), "limit")

    @property
    def usage(self):
        return mpp.mpp_buffer_group_usage(self.handle)


def heap_for(flags):
    return (
        ("cma" if flags & CONTIGUOUS else "system")
        + ("" if flags & CACHED else "-uncached")
        + ("-dma32" if flags & DMA32 else "")
    )


def flags_reach(heap):
    seen = 0
    for flags in ALL_FLAGS:
        if heap_for(flags) != heap:
            continue
        size = 70000 + 4096 * flags
        with Group(flags) as group:
            buffer = group.get(size)
            is_from(buffer.descriptor, heap, size)
            same(held(), {heap: 1}, "buffers that the module counts")
            same(sha256(buffer.read(0, size)), sha256(bytes(size)), "a new buffer")
            data = pattern(size, flags)
            buffer.begin(0)
            buffer.write(0, data)
            buffer.end(0)
            same(sha256(read(buffer.descriptor, size)), sha256(data), "bytes, mapped again")
            buffer.put()
        nothing_is_held()
        seen += 1
    same(seen, 8, "combinations of flags")


def type_drm():
    for flags in (0, CACHED, CONTIGUOUS | DMA32):
        with Group(flags, type=DRM) as group:
            buffer = group.get(1 << 20)
            is_from(buffer.descriptor, heap_for(flags), 1 << 20)
            buffer.put()


def reuse():
    with Group() as group:
        first = group.get(1 << 20)
        inode = described(first.descriptor)[2]
        first.put()
        second = group.get(1 << 19)
        same(described(second.descriptor)[2], inode, "the buffer for a smaller size")
        same(group.usage, 1 << 20, "usage")
        second.put()
        third = group.get(1 << 21)
        same(held(), {"system": 1}, "buffers after a larger size")
        same(group.usage, 1 << 21, "usage after a larger size")
        third.put()
        succeeds(mpp.mpp_buffer_group_clear(group.handle), "clear")
        nothing_is_held()


def references():
    with Group() as group:
        buffer = group.get(4096)
        succeeds(mpp.mpp_buffer_inc_ref_with_caller(buffer.handle, CALLER), "reference")
        buffer.put()
        same(held(), {"system": 1}, "buffers after one of two puts")
        buffer.put()


def limit_of_count():
    with Group() as group:
        group.limit(1 << 20, 3)
        buffers = [group.get(1 << 16) for _ in range(3)]
        is_refused(group.try_to_get(1 << 16)[0], "the fourth of three buffers")
        same(held(), {"system": 3}, "buffers of a full group")
        buffers.pop().put()
        buffers.append(group.get(1 << 16))
        for buffer in buffers:
            buffer.put()


def limit_of_size():
    with Group() as group:
        group.limit(1 << 20, 3)
        is_refused(group.try_to_get((1 << 20) + 1)[0], "a buffer above the limit")
        same(held(), {}, "buffers after the refusal")
        group.get(1 << 20).put()


def too_large():
    """More than the heap allows: MPP must say so, and stay usable."""
    with Group() as group:
        is_refused(group.try_to_get(1 << 34)[0], "a buffer of 16 GiB")
        group.get(1 << 16).put()


def imports():
    for seed, heap in enumerate(HEAPS):
        size = 300000
        data = pattern(size, seed)
        descriptor = allocate(heap, size)
        write(descriptor, data)
        with Group(mode=EXTERNAL) as group:
            returned, buffer = group.try_to_import(descriptor, size)
            succeeds(returned, f"import of a buffer of {heap}")
            inode = described(descriptor)[2]
            os.close(descriptor)
            same(described(buffer.descriptor)[2], inode, "imported buffer")
            is_from(buffer.descriptor, heap, size)
            same(held(), {heap: 1}, "buffers while MPP alone holds it")
            same(sha256(buffer.read(0, size)), sha256(data), f"bytes of {heap}")
            buffer.put()
            again = group.get(size)
            same(described(again.descriptor)[2], inode, "the buffer of an external group")
            is_refused(group.try_to_get(size)[0], "a second buffer of an external group")
            again.put()
        nothing_is_held()


def import_into_internal():
    descriptor = allocate("system", 4096)
    with Group() as group:
        is_refused(group.try_to_import(descriptor, 4096)[0], "an import into an internal group")
    os.close(descriptor)


def another_process():
    """The other process compares all bytes, writes half of them, and holds the buffer longest."""
    size = 1 << 20
    before, after = pattern(size, 1), pattern(size // 2, 2)
    for flags in (CACHED, 0, CONTIGUOUS):
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            ours.close()
            status = 1
            try:
                _, (descriptor, *_), _, _ = socket.recv_fds(theirs, 1, 1)
                if read(descriptor, size) == before:
                    write(descriptor, after)
                    theirs.send(b"w")
                    theirs.recv(1)
                    # MPP has put its buffer by now.
                    if read(descriptor, size) == after + before[size // 2:]:
                        status = 0
            finally:
                os._exit(status)
        theirs.close()
        with Group(flags) as group:
            buffer = group.get(size)
            buffer.begin(0)
            buffer.write(0, before)
            buffer.end(0)
            socket.send_fds(ours, [b"b"], [buffer.descriptor])
            same(ours.recv(1), b"w", "answer of the other process")
            buffer.begin(1)
            same(
                sha256(buffer.read(0, size)),
                sha256(after + before[size // 2:]),
                "bytes that the other process has written",
            )
            buffer.end(1)
            buffer.put()
        same(held(), {heap_for(flags): 1}, "buffers that the other process holds")
        ours.send(b"p")
        same(os.waitpid(child, 0)[1], 0, "status of the other process")
        ours.close()
        nothing_is_held()


def whole_sync():
    size = 1 << 20
    for flags in (CACHED, CACHED | DMA32, CACHED | CONTIGUOUS, 0, CONTIGUOUS):
        with Group(flags) as group:
            buffer = group.get(size)
            for turn in range(8):
                data = pattern(size, 10 * turn + flags)
                buffer.begin(0)
                buffer.write(0, data)
                buffer.end(0)
                buffer.begin(1)
                same(sha256(buffer.read(0, size)), sha256(data), "bytes")
                buffer.end(1)
            buffer.put()


def partial_sync():
    """MPP asks for a part of the buffer first. Mainline has no such call; then it syncs all."""
    size = 1 << 20
    with Group(CACHED) as group:
        buffer = group.get(size)
        expected = bytearray(size)
        for turn in range(16):
            offset, length = turn * 61441, 4096 + turn * 777
            part = pattern(length, turn)
            begin, end = (
                getattr(mpp, f"mpp_buffer_sync_partial_{name}_f") for name in ("begin", "end")
            )
            succeeds(begin(buffer.handle, 0, offset, length, CALLER), "begin of a partial sync")
            buffer.write(offset, part)
            succeeds(end(buffer.handle, 0, offset, length, CALLER), "end of a partial sync")
            expected[offset:offset + length] = part
        same(sha256(read(buffer.descriptor, size)), sha256(expected), "bytes")
        buffer.put()


def writes_at_offsets():
    size = 200000
    random.seed(1)
    with Group(0) as group:
        buffer = group.get(size)
        expected = bytearray(size)
        for turn in range(200):
            offset = random.randrange(size)
            part = pattern(random.randrange(1, size - offset + 1), turn)
            buffer.write(offset, part)
            expected[offset:offset + len(part)] = part
            same(buffer.read(offset, len(part)), part, "a part")
        same(sha256(buffer.read(0, size)), sha256(expected), "bytes")
        is_refused(buffer.try_to_write(size - 1, b"12"), "a write beyond the end")
        pointer = mpp.mpp_buffer_get_ptr_with_caller(buffer.handle, CALLER)
        same(sha256(ctypes.string_at(pointer, size)), sha256(expected), "bytes by the pointer")
        info = Info()
        succeeds(mpp.mpp_buffer_info_get_with_caller(buffer.handle, info, CALLER), "info")
        same((info.size, info.pointer), (size, pointer), "size and pointer of the info")
        buffer.put()


def many():
    """Buffers of all heaps at once, of random sizes, given back in another order."""
    random.seed(2)
    groups = [Group(flags) for flags in (0, CACHED, DMA32, CACHED | DMA32)]
    groups += [Group(flags | CONTIGUOUS) for flags in (0, CACHED, DMA32, CACHED | DMA32)]
    buffers = []
    for seed in range(200):
        buffer = random.choice(groups).get(random.randrange(1, 200000))
        data = pattern(buffer.size, seed)
        buffer.write(0, data)
        buffers.append((buffer, sha256(data)))
    same(sum(held().values()), 200, "buffers")
    same(sorted(held()), sorted(SYSTEM_AND_CMA), "heaps that hold buffers")
    random.shuffle(buffers)
    for buffer, expected in buffers:
        same(sha256(buffer.read(0, buffer.size)), expected, "bytes of one of 200 buffers")
        buffer.put()
    for group in groups:
        group.__exit__()
    nothing_is_held()


def total():
    same(mpp.mpp_buffer_total_now(), 0, "MPP's own sum of its buffers")
    if mpp.mpp_buffer_total_max() == 0:
        raise ValueError("MPP's own largest sum is 0")


def work():
    for heap in SYSTEM_AND_CMA:
        check(f"MPP: 8 combinations of flags reach {heap}", flags_reach, heap)
    check("MPP: groups of type DRM take heaps as well", type_drm)
    check("MPP: a group uses a buffer again", reuse)
    check("MPP: a buffer with two references", references)
    check("MPP: a group refuses a buffer beyond its count", limit_of_count)
    check("MPP: a group refuses a buffer beyond its size", limit_of_size)
    check("MPP: a buffer that the heap refuses", too_large)
    check(f"MPP: buffers of {len(HEAPS)} heaps are imported", imports)
    check("MPP: an internal group refuses an import", import_into_internal)
    check("MPP: another process reads and writes a buffer, and keeps it", another_process)
    check("MPP: syncs of whole buffers", whole_sync)
    check("MPP: syncs of parts", partial_sync)
    check("MPP: reads and writes at offsets", writes_at_offsets)
    check("MPP: 200 buffers of all heaps at once", many)
    check("MPP: its own sum is 0 at the end", total)


def leak():
    Group().get(1 << 16)


def leaks_in(part):
    """Runs a part in a process of its own, and returns what MPP says of leaks at its end."""
    return [line for line in output_of(part, **REPORT).splitlines() if "leak" in line.lower()]


def no_leaks():
    same(leaks_in("work"), [], "what MPP says of leaks")


def a_leak():
    if not leaks_in("leak"):
        raise ValueError("MPP did not report a leak that was made")


if sys.argv[1:]:
    mpp = library()
    globals()[sys.argv[1]]()
else:
    check("MPP: its report at the end names no leak", no_leaks)
    check("MPP: its report at the end names a leak that was made", a_leak)
