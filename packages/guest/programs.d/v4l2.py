#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""v4l2.py DEVICE FILE HEAP...: a camera fills buffers of the heaps (V4L2_MEMORY_DMABUF) with the
frame that another program has written to FILE."""

import ctypes
import fcntl
import os
import sys

from heaps import (
    allocate, check, is_from, nothing_is_held, read, same, sha256, write,
)

CAPTURE, DMABUF, BUFFERS, FRAMES = 1, 4, 4, 8
G_FMT, REQBUFS, QBUF, DQBUF, STREAMON, STREAMOFF = (
    0xC0D05604, 0xC0145608, 0xC058560F, 0xC0585611, 0x40045612, 0x40045613,
)


class Buffer(ctypes.Structure):
    """struct v4l2_buffer"""

    _fields_ = [
        ("index", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("bytesused", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("field", ctypes.c_uint32),
        ("timestamp", ctypes.c_int64 * 2),
        ("timecode", ctypes.c_uint8 * 16),
        ("sequence", ctypes.c_uint32),
        ("memory", ctypes.c_uint32),
        ("descriptor", ctypes.c_int64),
        ("length", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 2),
    ]


class Format(ctypes.Structure):
    """struct v4l2_format for a video, of which sizeimage is read."""

    _fields_ = [
        ("type", ctypes.c_uint64),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("pixelformat", ctypes.c_uint32),
        ("field", ctypes.c_uint32),
        ("bytesperline", ctypes.c_uint32),
        ("sizeimage", ctypes.c_uint32),
        ("rest", ctypes.c_uint8 * 176),
    ]


def number(value):
    return ctypes.c_uint32(value)


def take_frames(device, heap, expected):
    camera = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    format = Format(type=CAPTURE)
    fcntl.ioctl(camera, G_FMT, format)
    size = format.sizeimage
    same(size, len(expected), "bytes of a frame")
    request = (ctypes.c_uint32 * 5)(BUFFERS, CAPTURE, DMABUF)
    fcntl.ioctl(camera, REQBUFS, request)
    same(request[0], BUFFERS, "buffers of the queue")
    buffers = []
    for index in range(BUFFERS):
        descriptor = allocate(heap, size)
        is_from(descriptor, heap, size)
        # What the camera does not write is seen.
        write(descriptor, b"\xa5" * size)
        buffers.append(descriptor)
        queue(camera, index, descriptor, size)
    fcntl.ioctl(camera, STREAMON, number(CAPTURE))
    for frame in range(FRAMES):
        filled = Buffer(type=CAPTURE, memory=DMABUF)
        fcntl.ioctl(camera, DQBUF, filled)
        descriptor = buffers[filled.index]
        same(filled.bytesused, size, f"bytes of frame {frame}")
        same(sha256(read(descriptor, size)), sha256(expected), f"frame {frame}")
        write(descriptor, b"\xa5" * size)
        queue(camera, filled.index, descriptor, size)
    fcntl.ioctl(camera, STREAMOFF, number(CAPTURE))
    for descriptor in buffers:
        os.close(descriptor)
    os.close(camera)
    nothing_is_held()


def queue(camera, index, descriptor, size):
    fcntl.ioctl(
        camera, QBUF,
        Buffer(index=index, type=CAPTURE, memory=DMABUF, descriptor=descriptor, length=size),
    )


device, file, *heaps = sys.argv[1:]
with open(file, "rb") as frames:
    expected = frames.read(640 * 480 * 3 // 2)
name = open(f"/sys/class/video4linux/{os.path.basename(device)}/name").read().strip()
for heap in heaps:
    check(f"V4L2: {name} fills buffers of {heap}", take_frames, device, heap, expected)
