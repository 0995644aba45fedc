#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""tar_to_cpio.py ARCHIVE.tar [NAME=FILE[:MODE]]...: writes the archive and these files to standard
output, in the kernel's initramfs format. Needs no permission to own files of other users."""

import io
import pathlib
import shutil
import stat
import sys
import tarfile

out = sys.stdout.buffer
inode = 0


def header(name, mode, uid, gid, links, time, size, device, number):
    encoded = name.encode("utf-8", "surrogateescape") + b"\0"
    fields = (number, mode, uid, gid, links, time, size, 0, 0, *device, len(encoded), 0)
    out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)
    out.write(bytes(-(110 + len(encoded)) % 4))


def entry(name, mode, uid=0, gid=0, time=0, device=(0, 0), content=None, size=0):
    global inode
    inode += 1
    header(name, mode, uid, gid, 1, time, size, device, inode)
    if content:
        shutil.copyfileobj(content, out, 1 << 20)
        out.write(bytes(-size % 4))


FILE_TYPES = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


def add_member(archive, member):
    name = member.name.removeprefix("./") or "."
    own = dict(uid=member.uid, gid=member.gid, time=int(member.mtime))
    if member.isreg() or member.islnk():
        # A hard link becomes a separate file.
        content = archive.extractfile(member)
        size = archive.getmember(member.linkname).size if member.islnk() else member.size
        entry(name, stat.S_IFREG | member.mode, content=content, size=size, **own)
    elif member.issym():
        target = member.linkname.encode("utf-8", "surrogateescape")
        entry(name, stat.S_IFLNK | 0o777, content=io.BytesIO(target), size=len(target), **own)
    elif member.type in FILE_TYPES:
        device = (member.devmajor, member.devminor)
        entry(name, FILE_TYPES[member.type] | member.mode, device=device, **own)


folders = {"."}
with tarfile.open(sys.argv[1]) as archive:
    for member in archive:
        add_member(archive, member)
        folders.add(member.name.removeprefix("./"))
for argument in sys.argv[2:]:
    name, _, file = argument.partition("=")
    file, _, mode = file.partition(":")
    for parent in reversed(pathlib.PurePath(name).parents):
        if str(parent) not in folders:
            folders.add(str(parent))
            entry(str(parent), stat.S_IFDIR | 0o755)
    with open(file, "rb") as content:
        size = content.seek(0, 2)
        content.seek(0)
        entry(name, stat.S_IFREG | int(mode or "644", 8), content=content, size=size)
header("TRAILER!!!", 0, 0, 0, 1, 0, 0, (0, 0), 0)
out.write(bytes(-out.tell() % 512) if out.seekable() else b"")
