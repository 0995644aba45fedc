// SPDX-License-Identifier: GPL-2.0

//! Suites of ranges of RAM: contiguous memory where the default area has no place, or where there
//! is none.

use super::{
    Environment,
    Guest,
    Share,
    Suite,
    GUEST, //
};

/// The files in `/tmp` must be large enough for most of memory.
const BEYOND: &str = "mount -o remount,size=95% /tmp && contiguous-tests --tree configured beyond/";

pub const SUITES: &[Suite] = &[
    Suite {
        name: "beyond-no-area",
        promise: "without any area (cma=0) the heaps of the default area and of Rockchip have \
                  memory, as many frames as RAM permits, also between pages of files; nobody is \
                  killed, requests that cannot be served fail soon, and the limit is kept",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "1G", "--append", "cma=0 init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      no-area/ killed/ device-pins/ beyond/",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-no-area-checked",
        promise: "ranges of RAM are taken, given back, refused and interrupted with every checker",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            options: &["--mem", "1G", "--append", "cma=0 init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      beyond/heaps beyond/too-large beyond/page-array beyond/returned \
                      beyond/frames-after-files beyond/killed beyond/pinned beyond/unload \
                      beyond/off",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-small-area",
        promise:
            "with Debian's area of 64 MiB, 512 MiB of frames fit, also between pages of files, \
                  and those for 32-bit devices are below 4 GiB; so are the others as long as the \
                  kernel can spare low memory",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "4G", "--append", "init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      low-memory/ beyond/",
            timeout: 900,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-added",
        promise:
            "RAM that is added while frames are taken serves the heaps, and their limit grows \
                  with it",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &[
                "--mem",
                "1G",
                "--hot-add",
                "512M",
                "--append",
                "cma=0 init_on_alloc=0",
            ],
            command: "contiguous-tests --tree configured added-memory/",
            needs: &["virtio_mem"],
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-small",
        promise:
            "a 32-bit machine with 128 MiB beside its programs, and an area of 16 MiB, has 48 MiB \
             of contiguous memory",
        environment: Environment::Guest(Guest {
            targets: &["armhf"],
            options: &[
                "--mem",
                "152M",
                "--append",
                "cma=16M init_on_alloc=0",
                "--module-args",
                "contig_max_percent=50",
            ],
            command: "export CONTIG_MAX_PERCENT=50; contiguous-tests --tree configured \
                      beyond/too-large beyond/frames-below-4-gib beyond/little-memory",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-small-no-area",
        promise: "a 32-bit machine with 128 MiB beside its programs, and no area, has the heaps",
        environment: Environment::Guest(Guest {
            targets: &["armhf"],
            options: &["--mem", "152M", "--append", "cma=0 init_on_alloc=0"],
            command: "contiguous-tests --tree configured beyond/heaps beyond/too-large \
                      beyond/page-array beyond/returned",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-highmem",
        promise: "high memory serves the heaps of contiguous memory too",
        environment: Environment::Guest(Guest {
            targets: &["armhf"],
            options: &["--mem", "1G", "--append", "cma=16M init_on_alloc=0"],
            command: BEYOND,
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-amd64",
        promise: "the heaps have memory beyond their area where the kernel has a registry of \
                  heaps, also while blocks of memory are isolated, removed and added",
        environment: Environment::Guest(Guest {
            targets: &["amd64"],
            options: &["--append", "cma=16M init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      beyond/heaps beyond/too-large beyond/page-array beyond/returned \
                      beyond/frames beyond/limit beyond/killed killed/waiting \
                      beyond/pinned beyond/isolated beyond/little-memory",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "contig-reserve",
        promise:
            "a reserve of contiguous memory is filled to its mark, serves all heaps without a \
                  search, also beside files that fill memory, is filled again, and is given back \
                  to whoever needs it: requests, processes, 0, unloading",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "1G", "--append", "cma=16M init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      contig-reserve/",
            share: Share::Empty,
            timeout: 900,
            ..GUEST
        }),
    },
    Suite {
        name: "contig-reserve-4g",
        promise: "the reserve serves 32-bit devices on a machine that has memory above 4 GiB, and \
                  gives way to heaps of low memory while other memory is free",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "4G", "--append", "cma=0 init_on_alloc=0"],
            command: "contiguous-tests --tree configured contig-reserve/filled \
                      contig-reserve/used contig-reserve/limit contig-reserve/system-heap \
                      contig-reserve/low-memory contig-reserve/bit-by-bit",
            timeout: 900,
            ..GUEST
        }),
    },
    Suite {
        name: "contig-reserve-checked",
        promise: "the reserve is filled, used and given back with every checker",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            options: &["--mem", "1G", "--append", "cma=0 init_on_alloc=0"],
            // Files that fill memory show what the reserve leaves alone, not what it does wrong,
            // and take minutes with these checkers.
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      contig-reserve/filled contig-reserve/refused contig-reserve/used \
                      contig-reserve/zeroed-again contig-reserve/all-of-it \
                      contig-reserve/limit contig-reserve/system-heap \
                      contig-reserve/meanwhile contig-reserve/under-pressure \
                      contig-reserve/off contig-reserve/unload",
            timeout: 900,
            ..GUEST
        }),
    },
];
