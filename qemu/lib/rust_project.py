#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Adds the module to the kernel's rust-project.json. Reads standard input, writes standard output.

The kernel's script finds the crate of an external module only if Kbuild is in the same folder as
the root file.
Arguments: the module's root file, its generated bindings, the Debian root of the paths in /usr.
"""

import json
import sys

root_file, bindings, debian_root = sys.argv[1:]
project = json.load(sys.stdin)
crates = project["crates"]


def outside(path):
    return debian_root + path if path.startswith("/usr/") else path


for crate in crates:
    crate["root_module"] = outside(crate["root_module"])
project["sysroot"] = debian_root + project["sysroot"]

numbers = {crate["display_name"]: number for number, crate in enumerate(crates)}
crates.append({
    "display_name": "rk_dma_heap",
    "root_module": root_file,
    "is_workspace_member": True,
    "edition": "2021",
    "cfg": crates[numbers["kernel"]]["cfg"],
    "env": {"RUST_MODFILE": "This is only for rust-analyzer", "RK_DMA_HEAP_BINDINGS": bindings},
    "deps": [
        {"crate": numbers[name], "name": name}
        for name in (
            "core",
            "macros",
            "build_error",
            "pin_init",
            "ffi",
            "zerocopy",
            "zerocopy_derive",
            "kernel",
        )
        if name in numbers
    ],
})
json.dump(project, sys.stdout, indent=4)
