#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""display.py USER: libdrm shows buffers of the heaps, for USER. Root compares the pixels with the
memory of the display."""

import ctypes
import errno
import glob
import mmap
import os
import pwd
import sys

from heaps import (
    HEAPS, allocate, check, described, nothing_is_held, pattern, same, sha256, write,
)

WIDTH, HEIGHT = 640, 480
PITCH = WIDTH * 4
SIZE = PITCH * HEIGHT
XRGB8888 = int.from_bytes(b"XR24", "little")
pointer, number, u32 = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32


class Resources(ctypes.Structure):
    _fields_ = [
        ("count_fbs", number),
        ("fbs", ctypes.POINTER(u32)),
        ("count_crtcs", number),
        ("crtcs", ctypes.POINTER(u32)),
        ("count_connectors", number),
        ("connectors", ctypes.POINTER(u32)),
    ]


class Mode(ctypes.Structure):
    _fields_ = [
        ("clock", u32),
        ("hdisplay", ctypes.c_uint16),
        ("horizontal", ctypes.c_uint16 * 4),
        ("vdisplay", ctypes.c_uint16),
        ("vertical", ctypes.c_uint16 * 4),
        ("rest", u32 * 3),
        ("name", ctypes.c_char * 32),
    ]


class Connector(ctypes.Structure):
    _fields_ = [
        ("connector_id", u32),
        ("encoder_id", u32),
        ("connector_type", u32),
        ("connector_type_id", u32),
        ("connection", number),
        ("width", u32),
        ("height", u32),
        ("subpixel", number),
        ("count_modes", number),
        ("modes", ctypes.POINTER(Mode)),
    ]


class Clip(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint16) for name in ("x1", "y1", "x2", "y2")]


def succeeds(returned, what):
    """Functions of libdrm return an error, or -1 and set errno."""
    if returned:
        error = ctypes.get_errno() if returned == -1 else -returned
        raise OSError(error, f"{what}: {os.strerror(error)}")


def memory_of_display():
    """What the display shows, as root maps it from the bus."""
    for device in glob.glob("/sys/bus/pci/devices/*"):
        with open(f"{device}/vendor") as vendor, open(f"{device}/device") as kind:
            if (vendor.read().strip(), kind.read().strip()) == ("0x1234", "0x1111"):
                descriptor = os.open(f"{device}/resource0", os.O_RDWR)
                return mmap.mmap(descriptor, SIZE)
    raise ValueError("there is no such display")


class Display:
    def __init__(self):
        (path,) = (
            f"/dev/dri/{os.path.basename(card)}"
            for card in glob.glob("/sys/class/drm/card[0-9]*")
            if "bochs" in os.path.basename(os.path.realpath(f"{card}/device/driver"))
        )
        self.card = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.drm = drm = ctypes.CDLL("libdrm.so.2", use_errno=True)
        drm.drmModeGetResources.restype = ctypes.POINTER(Resources)
        drm.drmModeGetConnector.restype = ctypes.POINTER(Connector)
        found = drm.drmModeGetResources(self.card).contents
        self.crtc, self.connector = found.crtcs[0], found.connectors[0]
        connector = drm.drmModeGetConnector(self.card, self.connector).contents
        modes = [connector.modes[mode] for mode in range(connector.count_modes)]
        self.mode = next(
            mode for mode in modes if (mode.hdisplay, mode.vdisplay) == (WIDTH, HEIGHT)
        )

    def show(self, descriptor):
        """Returns what forgets the buffer again."""
        drm, card = self.drm, self.card
        handle, framebuffer, again = u32(), u32(), number()
        succeeds(drm.drmPrimeFDToHandle(card, descriptor, ctypes.byref(handle)), "import")
        # O_CLOEXEC | O_RDWR
        succeeds(
            drm.drmPrimeHandleToFD(card, handle, 0o2000002, ctypes.byref(again)), "export"
        )
        same(described(again.value)[1:], described(descriptor)[1:], "the buffer, exported")
        os.close(again.value)
        four = u32 * 4
        succeeds(
            drm.drmModeAddFB2(
                card, WIDTH, HEIGHT, XRGB8888, four(handle.value), four(PITCH), four(),
                ctypes.byref(framebuffer), 0,
            ),
            "framebuffer",
        )
        succeeds(
            drm.drmModeSetCrtc(
                card, self.crtc, framebuffer, 0, 0, ctypes.byref(u32(self.connector)), 1,
                ctypes.byref(self.mode),
            ),
            "display",
        )

        def forget():
            succeeds(drm.drmModeRmFB(card, framebuffer), "removal of the framebuffer")
            succeeds(drm.drmCloseBufferHandle(card, handle), "removal of the handle")

        return framebuffer, forget

    def update(self, framebuffer, lines):
        clip = Clip(0, lines.start, WIDTH, lines.stop)
        succeeds(
            self.drm.drmModeDirtyFB(self.card, framebuffer, ctypes.byref(clip), 1), "update"
        )


def shown(display, heap, seed, ask):
    """The user's part. `ask` sends pixels to root, who compares them."""
    pixels = bytearray(pattern(SIZE, seed))
    descriptor = allocate(heap, SIZE)
    try:
        write(descriptor, pixels)
        framebuffer, forget = display.show(descriptor)
        ask(pixels, "pixels")
        lines = range(100, 200)
        pixels[100 * PITCH:200 * PITCH] = pattern(100 * PITCH, seed + 1000)
        write(descriptor, pixels)
        display.update(framebuffer, lines)
        ask(pixels, "pixels after an update")
        forget()
    finally:
        os.close(descriptor)
    nothing_is_held()


def refused(display, heap):
    """The display snoops the caches of the CPU, as devices on QEMU's bus do."""
    descriptor, handle = allocate(heap, SIZE), u32()
    try:
        returned = display.drm.drmPrimeFDToHandle(
            display.card, descriptor, ctypes.byref(handle)
        )
        same((returned, ctypes.get_errno()), (-1, errno.EOPNOTSUPP), "import")
    finally:
        os.close(descriptor)
    nothing_is_held()


def become(name):
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def work(questions, answers):
    def ask(pixels, what):
        os.write(questions, sha256(pixels).encode())
        same(os.read(answers, 64).decode(), sha256(pixels), what)

    become(sys.argv[1])
    display = Display()
    for seed, heap in enumerate(HEAPS):
        if "uncached" in heap:
            check(
                f"DRM: a display that snoops caches is refused a buffer of {heap}",
                refused, display, heap,
            )
        else:
            check(f"DRM: a display shows a buffer of {heap}", shown, display, heap, seed, ask)


screen = memory_of_display()
questions, to_root = os.pipe()
from_root, answers = os.pipe()
child = os.fork()
if child == 0:
    os.close(questions)
    os.close(answers)
    try:
        work(to_root, from_root)
    except Exception as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
os.close(to_root)
os.close(from_root)
while os.read(questions, 64):
    os.write(answers, sha256(screen[:]).encode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
