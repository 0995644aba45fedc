#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""camera.py WIDTH HEIGHT FRAMES: takes frames of libcamera's first camera. Prints the exporter of
each buffer, and then the hash of each frame."""

import mmap
import selectors
import sys

import libcamera

from heaps import described, sha256

width, height, wanted = map(int, sys.argv[1:])


def plane_bytes(buffer, length):
    first = buffer.planes[0]
    size = sum(plane.length for plane in buffer.planes)
    if size != length:
        sys.exit(f"{size} bytes in place of a frame of {length}")
    with mmap.mmap(first.fd, first.offset + size, prot=mmap.PROT_READ) as mapping:
        return mapping[first.offset:first.offset + size]


manager = libcamera.CameraManager.singleton()
camera = manager.cameras[0]
print(manager.version, camera.id, file=sys.stderr)
camera.acquire()
config = camera.generate_configuration([libcamera.StreamRole.Viewfinder])
stream_config = config.at(0)
stream_config.size = libcamera.Size(width, height)
stream_config.buffer_count = 4
config.validate()
camera.configure(config)
stream = stream_config.stream
allocator = libcamera.FrameBufferAllocator(camera)
allocator.allocate(stream)
requests = []
for buffer in allocator.buffers(stream):
    print(described(buffer.planes[0].fd)[1])
    request = camera.create_request()
    request.add_buffer(stream, buffer)
    requests.append(request)
camera.start()
# One at a time, so that the order is that of the camera.
selector = selectors.DefaultSelector()
selector.register(manager.event_fd, selectors.EVENT_READ)
for frame in range(wanted):
    request = requests[frame % len(requests)]
    if frame >= len(requests):
        request.reuse()
    camera.queue_request(request)
    if not selector.select(timeout=30):
        sys.exit(f"frame {frame} did not come")
    (ready,) = manager.get_ready_requests()
    data = plane_bytes(ready.buffers[stream], width * height * 3 // 2)
    print(sha256(data))
camera.stop()
camera.release()
