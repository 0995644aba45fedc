#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""board_regions.py TREE.dtb...: checks properties of the regions in a device tree that no schema
can express.

A region's numbers must have the number of cells that its parent states, and the parent must state
the same as the root. The base and size of a reusable region must be aligned for the kernel's
contiguous areas. Regions must not overlap. A region that rk_dma_heap refers to must have the right
properties. Prints one line per mistake; the exit status is 1 if there is one.
"""

import sys

import libfdt

# The larger one of the page block sizes of Debian's arm64 and armhf kernels.
AREA_ALIGNMENT = 4 << 20


class Tree:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.blob = libfdt.FdtRo(file.read())

    def children(self, node):
        child = self.blob.first_subnode(node, libfdt.QUIET_NOTFOUND)
        while child >= 0:
            yield child
            child = self.blob.next_subnode(child, libfdt.QUIET_NOTFOUND)

    def get(self, node, name):
        """Returns the property as bytes, or None."""
        value = self.blob.getprop(node, name, libfdt.QUIET_NOTFOUND)
        return None if isinstance(value, int) else bytes(value)

    def number(self, node, name):
        value = self.get(node, name)
        return None if value is None else int.from_bytes(value, "big")

    def strings(self, node, name):
        return (self.get(node, name) or b"").decode().split("\0")[:-1]

    def name(self, node):
        return self.blob.get_name(node)


def check_region(tree, node, address_cells, size_cells):
    """Yields the mistakes in a region."""
    name = tree.name(node)
    reg, size = tree.get(node, "reg"), tree.get(node, "size")
    if (reg is None) == (size is None):
        yield f"{name}: needs either reg or size"
    if reg is not None and len(reg) != 4 * (address_cells + size_cells):
        yield f"{name}: reg has {len(reg) // 4} cells, not {address_cells + size_cells}"
    if size is not None and len(size) != 4 * size_cells:
        yield f"{name}: size has {len(size) // 4} cells, not {size_cells}"
    alignment = tree.get(node, "alignment")
    if alignment is not None and len(alignment) != 4 * size_cells:
        yield f"{name}: alignment has {len(alignment) // 4} cells, not {size_cells}"
    ranges = tree.get(node, "alloc-ranges")
    if ranges is not None and len(ranges) % (4 * (address_cells + size_cells)):
            cells = address_cells + size_cells
            yield f"{name}: alloc-ranges has {len(ranges) // 4} cells, not a multiple of {cells}"
    if tree.get(node, "reusable") is not None:
        if reg is not None:
            numbers = (reg[: 4 * address_cells], reg[4 * address_cells :])
        else:
            numbers = (size or b"",)
        if any(int.from_bytes(number, "big") % AREA_ALIGNMENT for number in numbers):
            mib = AREA_ALIGNMENT >> 20
            yield f"{name}: is reusable, so base and size must be multiples of {mib} MiB"


def check_user(tree, node):
    """Yields the mistakes in a node for rk_dma_heap."""
    name = tree.name(node)
    (binding,) = (
        entry for entry in tree.strings(node, "compatible") if entry.startswith("rk-dma-heap,")
    )
    try:
        region = tree.blob.node_offset_by_phandle(tree.number(node, "memory-region") or 0)
    except libfdt.FdtException:
        yield f"{name}: memory-region points nowhere"
        return
    no_map, reusable = (tree.get(region, word) is not None for word in ("no-map", "reusable"))
    if binding == "rk-dma-heap,carveout":
        if not no_map or reusable:
            yield f"{name}: {tree.name(region)} must be no-map and not reusable"
    elif binding == "rk-dma-heap,cma":
        if not reusable or "shared-dma-pool" not in tree.strings(region, "compatible"):
            yield f"{name}: {tree.name(region)} must be a reusable shared-dma-pool"
    else:
        yield f"{name}: the module does not know {binding}"


def check(path):
    """Yields the mistakes in a tree."""
    tree = Tree(path)
    reserved = tree.blob.path_offset("/reserved-memory", libfdt.QUIET_NOTFOUND)
    if reserved < 0:
        yield "/reserved-memory is missing"
        return
    cells = [tree.number(reserved, f"#{word}-cells") for word in ("address", "size")]
    if cells != [tree.number(0, f"#{word}-cells") for word in ("address", "size")]:
        yield "/reserved-memory has other #address-cells and #size-cells than the root"
        return
    taken = []
    for node in tree.children(reserved):
        mistakes = list(check_region(tree, node, *cells))
        yield from mistakes
        reg = tree.get(node, "reg")
        if reg is None or mistakes:
            continue
        split = 4 * cells[0]
        base, size = (int.from_bytes(part, "big") for part in (reg[:split], reg[split:]))
        for name, other, length in taken:
            if base < other + length and other < base + size:
                yield f"{tree.name(node)}: overlaps {name}"
        taken.append((tree.name(node), base, size))
    for node in tree.children(0):
        if any(entry.startswith("rk-dma-heap,") for entry in tree.strings(node, "compatible")):
            yield from check_user(tree, node)


failed = False
for path in sys.argv[1:]:
    for mistake in check(path):
        print(f"{path}: {mistake}")
        failed = True
sys.exit(failed)
