#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""rkmpp.py: frames of FFmpeg's hardware device rkmpp, which MPP allocates, are filled and read
back. FFmpeg's input from a camera takes frames, which are compared with those in FILE.

    rkmpp.py DEVICE WIDTH HEIGHT FILE"""

import ctypes
import sys

from heaps import (
    check, described, held, is_from, nothing_is_held, pattern, read, rockchip_library, same,
    sha256,
)

pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
WIDTH, HEIGHT = 640, 480
ENOMEM = 12


class BufferRef(ctypes.Structure):
    _fields_ = [("buffer", pointer), ("data", pointer), ("size", ctypes.c_size_t)]


class FramesContext(ctypes.Structure):
    _fields_ = [
        ("av_class", pointer),
        ("device_ref", pointer),
        ("device_ctx", pointer),
        ("hwctx", pointer),
        ("free", pointer),
        ("user_opaque", pointer),
        ("pool", pointer),
        ("initial_pool_size", number),
        ("format", number),
        ("sw_format", number),
        ("width", number),
        ("height", number),
    ]


class Frame(ctypes.Structure):
    """The beginning of AVFrame."""

    _fields_ = [
        ("data", pointer * 8),
        ("linesize", number * 8),
        ("extended_data", pointer),
        ("width", number),
        ("height", number),
        ("nb_samples", number),
        ("format", number),
    ]


class Packet(ctypes.Structure):
    """The beginning of AVPacket."""

    _fields_ = [
        ("buf", pointer),
        ("pts", ctypes.c_int64),
        ("dts", ctypes.c_int64),
        ("data", pointer),
        ("size", number),
    ]


class Plane(ctypes.Structure):
    _fields_ = [("object", number), ("offset", ctypes.c_ssize_t), ("pitch", ctypes.c_ssize_t)]


class Layer(ctypes.Structure):
    _fields_ = [("format", ctypes.c_uint32), ("nb_planes", number), ("planes", Plane * 4)]


class Object(ctypes.Structure):
    _fields_ = [
        ("fd", number), ("size", ctypes.c_size_t), ("modifier", ctypes.c_uint64),
    ]


class Descriptor(ctypes.Structure):
    """AVDRMFrameDescriptor"""

    _fields_ = [
        ("nb_objects", number),
        ("objects", Object * 4),
        ("nb_layers", number),
        ("layers", Layer * 4),
    ]


util = rockchip_library("avutil", {
    "av_version_info": (text,),
    "av_get_pix_fmt": (number, text),
    "av_hwdevice_find_type_by_name": (number, text),
    "av_hwdevice_ctx_create": (number, pointer, number, text, pointer, number),
    "av_hwframe_ctx_alloc": (ctypes.POINTER(BufferRef), pointer),
    "av_hwframe_ctx_init": (number, ctypes.POINTER(BufferRef)),
    "av_hwframe_get_buffer":
        (number, ctypes.POINTER(BufferRef), ctypes.POINTER(Frame), number),
    "av_hwframe_transfer_data":
        (number, ctypes.POINTER(Frame), ctypes.POINTER(Frame), number),
    "av_frame_alloc": (ctypes.POINTER(Frame),),
    "av_frame_free": (None, pointer),
    "av_frame_get_buffer": (number, ctypes.POINTER(Frame), number),
    "av_buffer_unref": (None, pointer),
    "av_dict_set": (number, pointer, text, text, number),
    "av_dict_free": (None, pointer),
    "av_log_set_level": (None, number),
})
NV12 = util.av_get_pix_fmt(b"nv12")


def succeeds(returned, what):
    if returned < 0:
        raise ValueError(f"{what}: FFmpeg returned {returned}")


def dictionary(**entries):
    made = pointer()
    for name, value in entries.items():
        succeeds(
            util.av_dict_set(ctypes.byref(made), name.encode(), value.encode(), 0), name
        )
    return made


class Frames:
    """A device and its pool of frames, which are freed at the end of the block."""

    def __init__(self, frames=4, **options):
        device, options = pointer(), dictionary(**options)
        kind = util.av_hwdevice_find_type_by_name(b"rkmpp")
        succeeds(
            util.av_hwdevice_ctx_create(ctypes.byref(device), kind, None, options, 0), "device"
        )
        util.av_dict_free(ctypes.byref(options))
        self.device = device
        self.pool = util.av_hwframe_ctx_alloc(device)
        context = ctypes.cast(self.pool.contents.data, ctypes.POINTER(FramesContext)).contents
        context.format = util.av_get_pix_fmt(b"drm_prime")
        context.sw_format = NV12
        context.width, context.height = WIDTH, HEIGHT
        context.initial_pool_size = frames
        succeeds(util.av_hwframe_ctx_init(self.pool), "pool of frames")
        self.frames = []

    def __enter__(self):
        return self

    def try_to_get(self):
        frame = util.av_frame_alloc()
        returned = util.av_hwframe_get_buffer(self.pool, frame, 0)
        if returned == 0:
            self.frames.append(frame)
        else:
            util.av_frame_free(ctypes.byref(frame))
        return returned, frame

    def get(self):
        returned, frame = self.try_to_get()
        succeeds(returned, "frame")
        return frame, ctypes.cast(frame.contents.data[0], ctypes.POINTER(Descriptor)).contents

    def put(self):
        frame = self.frames.pop()
        util.av_frame_free(ctypes.byref(frame))

    def __exit__(self, *_):
        while self.frames:
            self.put()
        util.av_buffer_unref(ctypes.byref(self.pool))
        util.av_buffer_unref(ctypes.byref(self.device))


def frames_are_from(heap, **options):
    with Frames(**options) as frames:
        inodes = set()
        for _ in range(4):
            _, descriptor = frames.get()
            same((descriptor.nb_objects, descriptor.nb_layers), (1, 1), "objects and layers")
            same(descriptor.layers[0].format.to_bytes(4, "little"), b"NV12", "format")
            is_from(descriptor.objects[0].fd, heap, descriptor.objects[0].size)
            inodes.add(described(descriptor.objects[0].fd)[2])
        same(len(inodes), 4, "buffers of four frames")
        if held().keys() != {heap}:
            raise ValueError(f"heaps that hold buffers: {held()}")
    nothing_is_held()


def pool_is_limited():
    with Frames() as frames:
        for _ in range(4):
            frames.get()
        same(frames.try_to_get()[0], -ENOMEM, "the fifth frame of four")
        frames.put()
        frames.get()


def software_frame():
    frame = util.av_frame_alloc()
    frame.contents.format = NV12
    frame.contents.width, frame.contents.height = WIDTH, HEIGHT
    succeeds(util.av_frame_get_buffer(frame, 0), "frame in memory")
    return frame


def planes(frame):
    """The lines of a frame of NV12 in memory: (address, bytes)."""
    for plane, height in ((0, HEIGHT), (1, HEIGHT // 2)):
        for line in range(height):
            yield frame.contents.data[plane] + line * frame.contents.linesize[plane], WIDTH


def transfers(**options):
    """FFmpeg copies a frame into the buffer of a heap, and out of another mapping of it."""
    content = pattern(WIDTH * HEIGHT * 3 // 2, 5)
    ours, back = software_frame(), software_frame()
    for line, (address, size) in enumerate(planes(ours)):
        ctypes.memmove(address, content[line * WIDTH:], size)
    with Frames(**options) as frames:
        frame, descriptor = frames.get()
        succeeds(util.av_hwframe_transfer_data(frame, ours, 0), "transfer into the buffer")
        size = described(descriptor.objects[0].fd)[0]
        buffer, lines = read(descriptor.objects[0].fd, size), []
        for plane, height in ((0, HEIGHT), (1, HEIGHT // 2)):
            place = descriptor.layers[0].planes[plane]
            for line in range(height):
                start = place.offset + line * place.pitch
                lines.append(buffer[start:start + WIDTH])
        same(sha256(b"".join(lines)), sha256(content), "pixels in the buffer")
        succeeds(util.av_hwframe_transfer_data(back, frame, 0), "transfer out of the buffer")
        returned = b"".join(ctypes.string_at(*line) for line in planes(back))
        same(sha256(returned), sha256(content), "pixels of the frame that comes back")
    for frame in (ours, back):
        util.av_frame_free(ctypes.byref(frame))


def capture(device, width, height, file):
    """FFmpeg's input v4l2 takes the frames that another program has taken."""
    format = rockchip_library("avformat", {
        "av_find_input_format": (pointer, text),
        "avformat_open_input": (number, pointer, text, pointer, pointer),
        "av_read_frame": (number, pointer, ctypes.POINTER(Packet)),
        "avformat_close_input": (None, pointer),
    })
    codec = rockchip_library("avcodec", {
        "av_packet_alloc": (ctypes.POINTER(Packet),),
        "av_packet_unref": (None, ctypes.POINTER(Packet)),
        "av_packet_free": (None, pointer),
    })
    rockchip_library("avdevice", {"avdevice_register_all": (None,)}).avdevice_register_all()
    size = width * height * 3 // 2
    with open(file, "rb") as frames:
        expected = sha256(frames.read(size))
    options = dictionary(video_size=f"{width}x{height}", pixel_format="nv12")
    context, packet = pointer(), codec.av_packet_alloc()
    succeeds(
        format.avformat_open_input(
            ctypes.byref(context), device.encode(), format.av_find_input_format(b"v4l2"),
            ctypes.byref(options),
        ),
        "input",
    )
    for frame in range(8):
        succeeds(format.av_read_frame(context, packet), f"frame {frame}")
        same(packet.contents.size, size, "bytes of a frame")
        seen = sha256(ctypes.string_at(packet.contents.data, size))
        same(seen, expected, f"frame {frame}")
        codec.av_packet_unref(packet)
    codec.av_packet_free(ctypes.byref(packet))
    format.avformat_close_input(ctypes.byref(context))


# Errors only.
util.av_log_set_level(16)
print(util.av_version_info().decode())
for heap, options in {
    "system-uncached-dma32": {},
    "system-uncached": {"dma32": "0"},
    "system-dma32": {"cacheable": "1"},
    "system": {"dma32": "0", "cacheable": "1"},
}.items():
    names = " and ".join(f"{name}={value}" for name, value in options.items())
    check(
        f"FFmpeg: frames of rkmpp {names and 'with ' + names + ' '}are from {heap}",
        lambda: frames_are_from(heap, **options),
    )
check("FFmpeg: its pool refuses a frame beyond its size", pool_is_limited)
check("FFmpeg: a frame is copied into a buffer and back", transfers)
check("FFmpeg: the same with caches", lambda: transfers(cacheable="1"))
device, width, height, file = sys.argv[1:]
check("FFmpeg: v4l2 takes the frames of v4l2-ctl", capture, device, int(width), int(height), file)
