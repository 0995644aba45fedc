// SPDX-License-Identifier: GPL-2.0

//! The table of suites. Each guest suite is one virtual machine, so that none sees what another left.

pub struct Suite {
    pub name: &'static str,
    /// What holds when it passes, in a line.
    pub promise: &'static str,
    pub place: Place,
}

pub enum Place {
    /// `cargo test` of these packages.
    Host {
        packages: &'static [&'static str],
    },
    Guest(Guest),
}

pub struct Guest {
    /// The targets that it runs on.
    pub targets: &'static [&'static str],
    /// Options of `qemu/vm`.
    pub options: &'static [&'static str],
    pub command: &'static str,
    pub share: Share,
    pub report: Report,
    /// When it is given up, in seconds.
    pub limit: u32,
    /// Nothing else runs at the same time: it measures, or puts the machine under pressure.
    pub alone: bool,
}

/// What is built for a suite and put into the guest's `/share`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Share {
    Nothing,
    /// One of the kernel's own selftests.
    KernelSelftest(&'static str),
    /// Guest programs for another architecture than the kernel's.
    Programs {
        triple: &'static str,
    },
}

/// How a command says what came of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// KTAP on its standard output.
    Ktap,
    /// Its exit status alone: one test.
    ExitStatus,
}

impl Guest {
    /// When it is given up on `target`, in seconds.
    pub fn limit_on(&self, target: &str) -> u32 {
        if CHECKED.contains(&target) {
            self.limit * SLOWER
        } else {
            self.limit
        }
    }
}

impl Suite {
    /// Whether it runs on `target` although not everything is asked for.
    pub fn is_everyday_on(&self, target: &str) -> bool {
        !CHECKED.contains(&target) || EVERYDAY.contains(&self.name)
    }

    pub fn runs_on(&self, target: &str) -> bool {
        match &self.place {
            Place::Host { .. } => true,
            Place::Guest(guest) => guest.targets.contains(&target),
        }
    }
}

/// Debian's kernels, one for 64-bit and one for 32-bit machines.
const STOCK: &[&str] = &["arm64", "armhf"];

/// The same where there are enough CPUs and memory.
const LARGE: &[&str] = &["arm64"];

/// The same and the checked kernel where the heaps go through the kernel's own dma-heap core, from which they cannot be
/// taken back: for suites that find the module loaded.
const LOADED: &[&str] = &["arm64", "armhf", "debug"];

/// The same and the checked kernel without that core: for suites that load and unload the module.
const LOADED_BY_TESTS: &[&str] = &["arm64", "armhf", "debug-own"];

/// Every checker on, with the kernel's dma-heap core and without. Booting and looking for leaks takes most of the time
/// there, so that suites of one program share a machine: `NAME-checked`.
const CHECKED: &[&str] = &["debug", "debug-own"];

/// What runs there every day; the others repeat what runs on Debian's kernels, and take twice as long as all that together.
const EVERYDAY: &[&str] = &["kunit", "faults", "faults-vmap", "fuzz-checked"];

/// How much longer a suite may take there.
const SLOWER: u32 = 4;

/// A kernel that clears all memory by itself would hide that a heap does not.
const MEMORY_NOT_CLEARED: &[&str] = &["--append", "init_on_alloc=0"];

/// What is reported of the driver vivid with any heap, the kernel's own too: that it takes longer segments than it says, and
/// that the CPU's access has another direction than its mapping, as the dma-buf core hands on what a program says.
const VIVID: &str = "vivid vivid.0: (mapping sg segment longer|device driver syncs)";

/// What may be reported of the kernel's exporter udmabuf: it maps a buffer once and syncs it in whatever direction a program
/// says.
const UDMABUF: &str = "misc udmabuf: device driver syncs";

/// For programs that load the module themselves.
const OWN_MODULE: &[&str] = &["--no-module", "--append", "init_on_alloc=0"];

/// The guest tests of these groups, on a machine that has exactly the heaps that the module is to make there; on all of
/// them, or on one of each kind: the others' names stand for the same memory.
macro_rules! heap_tests {
    ($groups:literal) => {
        concat!(
            "heap-tests --expect system,system-dma32,system-uncached,system-uncached-dma32,",
            "cma,cma-dma32,cma-uncached,cma-uncached-dma32,default_cma_region,rk-dma-heap-cma ",
            "heaps/as-expected ",
            $groups
        )
    };
    ($groups:literal, of_each_kind) => {
        concat!(
            heap_tests!($groups),
            " --heaps system,system-uncached,cma,cma-uncached,rk-dma-heap-cma"
        )
    };
}

/// What comes of a device tree, or of kernel arguments; `contiguous-tests` knows it by the same name. All these machines
/// have 1 GiB, so that the overlays' addresses are memory on every target.
macro_rules! tree {
    ($name:literal, $promise:literal, [$($option:literal),*]) => {
        tree!($name, $promise, [$($option),*], STOCK)
    };
    ($name:literal, $promise:literal, [$($option:literal),*], $targets:expr) => {
        Suite {
            name: concat!("tree-", $name),
            promise: $promise,
            place: Place::Guest(Guest {
                targets: $targets,
                options: &["--mem", "1G", $($option),*],
                command: concat!("contiguous-tests --tree ", $name, " tree/ placement/carveout"),
                ..GUEST
            }),
        }
    };
}

pub const GUEST: Guest = Guest {
    targets: LOADED,
    options: MEMORY_NOT_CLEARED,
    command: "",
    share: Share::Nothing,
    report: Report::Ktap,
    limit: 240,
    alone: false,
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "programs",
        promise: "the runner, the test driver and what the guest tests share decide rightly; the sources keep the rules",
        place: Place::Host {
            packages: &["vm-runner", "test-driver", "guest-support", "pool-tests", "fuzz"],
        },
    },
    Suite {
        name: "decisions",
        promise: "what the module decides without the kernel is right for whatever comes in",
        place: Place::Host {
            packages: &["decisions"],
        },
    },
    Suite {
        name: "demo",
        promise: "what `make run` shows works",
        place: Place::Guest(Guest {
            targets: STOCK,
            command: "heap-demo && rmmod rk_dma_heap && ! ls /dev/dma_heap",
            report: Report::ExitStatus,
            ..GUEST
        }),
    },
    Suite {
        name: "selftest",
        promise: "the kernel's own dmabuf-heaps selftest passes on every heap",
        place: Place::Guest(Guest {
            // It wants 32 buffers of 1 MiB from each heap at a time, more than a small machine has.
            options: &["--mem", "1G", "--append", "init_on_alloc=0 cma=48M"],
            command: "modprobe vgem && /share/dmabuf-heap",
            share: Share::KernelSelftest("dmabuf-heaps"),
            ..GUEST
        }),
    },
    Suite {
        name: "ioctl",
        promise: "nodes, sysfs and the allocation ioctl are as the kernel's own, in every error too",
        place: Place::Guest(Guest {
            targets: STOCK,
            command: heap_tests!("--node /dev/rk_dma_heap/rk-dma-heap-cma /node/ /ioctl/ /limit/"),
            ..GUEST
        }),
    },
    Suite {
        name: "programs-32-bit",
        promise: "32-bit programs get the same answers from a 64-bit kernel",
        place: Place::Guest(Guest {
            targets: &["arm64", "debug"],
            command: "/share/heap-tests system/ioctl/ system/limit/ system/buffer/ system/mmap/ system/share/",
            share: Share::Programs {
                triple: "armv7-unknown-linux-gnueabihf",
            },
            ..GUEST
        }),
    },
    Suite {
        name: "buffers",
        promise: "descriptors, mappings and sharing between processes; every page in its place",
        place: Place::Guest(Guest {
            targets: STOCK,
            command: heap_tests!("/buffer/ /mmap/ /share/"),
            ..GUEST
        }),
    },
    Suite {
        name: "importers",
        promise: "drivers of the kernel attach to buffers, map them for DMA and for the CPU, and may be their last holder",
        place: Place::Guest(Guest {
            targets: &["arm64", "armhf"],
            command: heap_tests!("/import/", of_each_kind),
            ..GUEST
        }),
    },
    Suite {
        name: "importers-checked",
        promise: "the same with every checker on; of vivid's mappings there are reports",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &["--append", "init_on_alloc=0", "--expect-report", VIVID],
            command: heap_tests!("/import/", of_each_kind),
            ..GUEST
        }),
    },
    Suite {
        name: "programs-area",
        promise: "a heap over a device's own area is a heap like any other",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: &["--mem", "1G", "--dtb", "device-cma", "--append", "init_on_alloc=0"],
            command: "heap-tests npu-pool@4c000000/",
            ..GUEST
        }),
    },
    Suite {
        name: "programs-area-checked",
        promise: "the same with every checker on; of vivid's mappings there are reports",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &["--mem", "1G", "--dtb", "device-cma", "--append", "init_on_alloc=0", "--expect-report", VIVID],
            command: "heap-tests npu-pool@4c000000/",
            ..GUEST
        }),
    },
    Suite {
        name: "programs-carveout",
        promise: "so is one over a region that the kernel keeps out of",
        place: Place::Guest(Guest {
            options: &["--mem", "1G", "--dtb", "no-map", "--append", "init_on_alloc=0"],
            command: "heap-tests frames@4e000000/",
            ..GUEST
        }),
    },
    Suite {
        name: "endurance",
        promise: "ten thousand rounds lose no memory; processes at the same time do not meet",
        place: Place::Guest(Guest {
            targets: STOCK,
            command: heap_tests!("/endure/"),
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "heaps-checked",
        promise: "ioctl, buffers and endurance with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug"],
            command: heap_tests!("--node /dev/rk_dma_heap/rk-dma-heap-cma /node/ /ioctl/ /limit/ /buffer/ /mmap/ /share/ /endure/", of_each_kind),
            ..GUEST
        }),
    },
    Suite {
        name: "module",
        promise: "loads and unloads a hundred times and leaves nothing; stays while it is needed; refuses bad parameters",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: &["--no-module"],
            command: "module-tests",
            ..GUEST
        }),
    },
    Suite {
        name: "module-checked",
        promise: "the same with every checker on; of vivid's mappings there are reports",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            options: &["--no-module", "--expect-report", VIVID],
            command: "module-tests",
            ..GUEST
        }),
    },
    Suite {
        name: "beside",
        promise: "on a kernel that has heaps itself, the module adds those that are missing, and stays",
        place: Place::Guest(Guest {
            targets: &["amd64", "debug"],
            options: &["--no-module", "--append", "cma=32M"],
            // A kernel's own heap may be a module.
            command: "modprobe system_heap; module-tests",
            ..GUEST
        }),
    },
    Suite {
        name: "beside-programs",
        promise: "the kernel's own heap and the module's beside it answer alike, in every error too",
        place: Place::Guest(Guest {
            targets: &["amd64"],
            options: &["--append", "cma=32M init_on_alloc=0"],
            command: "heap-tests --expect system,system-dma32,cma,cma-dma32,default_cma_region,rk-dma-heap-cma \
                      heaps/as-expected /node/ /ioctl/ dma32/limit/ region/limit/ rk-dma-heap-cma/limit/ /buffer/ /mmap/ /share/",
            ..GUEST
        }),
    },
    Suite {
        name: "kunit",
        promise: "the tests inside the module pass, and the examples in its documentation",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &[],
            // What the kernel keeps for each suite is a list of its own; here they become parts of one.
            command: "cd /sys/kernel/debug/kunit && set -- rk_dma_heap_* && echo 'KTAP version 1' && echo \"1..$#\" && n=0 && \
                      for suite; do n=$((n + 1)); sed -E \"1,/^1\\.\\./d; s/^(not )?ok [0-9]+ /\\1ok $n /\" $suite/results; done",
            ..GUEST
        }),
    },
    Suite {
        name: "faults",
        promise: "each allocation that an operation makes may fail: the error is right, nothing is lost, and the next attempt succeeds",
        place: Place::Guest(Guest {
            targets: &["debug"],
            // It gives up for good when its own allocations fail.
            options: &["--append", "dma_debug=off"],
            command: "fault-tests open/ allocate/ mmap/ name/ attach/ map/ cpu-access/ interface/ read write exhausted/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "faults-vmap",
        promise: "so may those that a mapping for the kernel needs, though the kernel warns of that",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &["--append", "dma_debug=off", "--expect-report", "dma_buf_vmap"],
            command: "fault-tests kernel-mapping/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "faults-loading",
        promise: "so may those that the module makes while it is loaded",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            options: &["--no-module", "--append", "dma_debug=off kunit.enable=0 kmemleak=off"],
            command: "fault-tests load/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "debug-nodes",
        promise: "the debug nodes are exact about every dma-buf in the system, whoever exported it; names; who may see what",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: OWN_MODULE,
            command: "debug-node-tests size/ peak/ dev/ sgt/ buffers/ names/ advanced/ access/",
            ..GUEST
        }),
    },
    Suite {
        name: "debug-stress",
        promise: "they stay whole and exact while eight threads allocate, map, attach and free",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: OWN_MODULE,
            command: "debug-node-tests stress/",
            alone: true,
            ..GUEST
        }),
    },
    Suite {
        name: "debug-nodes-checked",
        promise: "debug-nodes and debug-stress with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            options: OWN_MODULE,
            command: "debug-node-tests --stress 10 size/ peak/ dev/ sgt/ buffers/ names/ advanced/ access/ stress/",
            ..GUEST
        }),
    },
    Suite {
        name: "debug-cost",
        promise: "a line of theirs costs no more than 3,000 instructions, with 10,000 buffers too",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: &["--no-module", "--icount", "--smp", "1"],
            command: "debug-node-tests cost/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "pools",
        promise: "pools keep to their bounds; figures, tracepoints and cgroup charges are true",
        place: Place::Guest(Guest {
            targets: LARGE,
            options: OWN_MODULE,
            command: "pool-tests client/ undeclared/ bounds/ totals/ tracepoints/ accounting/",
            limit: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "caches",
        promise: "page tables say cached or write-combined; for devices that do not snoop, caches are looked after where needed and nowhere else",
        place: Place::Guest(Guest {
            targets: LOADED_BY_TESTS,
            options: &["--no-module", "--mem", "1G", "--dtb", "rockchip-cma", "--append", "init_on_alloc=0"],
            command: "pool-tests mapping-types/ maintenance/ coherence/",
            limit: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "pressure",
        promise: "pools give way before anybody is killed; unloading gives all back; a thousand kills lose no memory",
        place: Place::Guest(Guest {
            targets: LARGE,
            options: OWN_MODULE,
            command: "pool-tests pressure/ unload/ killed/",
            limit: 300,
            alone: true,
            ..GUEST
        }),
    },
    Suite {
        name: "reuse",
        promise: "memory is always zeroed, by whatever way one looks; after 30 s of everything on four CPUs all counters are zero",
        place: Place::Guest(Guest {
            targets: LARGE,
            options: &["--no-module", "--append", "init_on_alloc=0", "--smp", "4"],
            command: "pool-tests zeroing/ stress/",
            limit: 360,
            alone: true,
            ..GUEST
        }),
    },
    Suite {
        name: "pools-checked",
        promise: "pools, pressure and reuse with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            options: OWN_MODULE,
            command: "pool-tests --stress-seconds 10 client/ bounds/ totals/ tracepoints/ accounting/ pressure/ unload/ \
                      killed/ zeroing/ stress/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "fuzz",
        promise: "whatever root and an ordinary user call from eight processes at once: memory is zero and keeps what was written, errors are those that may come, nobody hangs, nothing is left",
        place: Place::Guest(Guest {
            targets: &["arm64", "armhf"],
            // The seed is fixed, so that a run can be compared with the one before; `make fuzz` takes others.
            command: "fuzz --seed 1 --seconds 30",
            limit: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "fuzz-checked",
        promise: "the same for three minutes, with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &["--append", "init_on_alloc=0", "--allow-report", UDMABUF],
            command: "fuzz --seed 2 --seconds 180 --hang 60",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "low-memory",
        promise: "with 6 GiB of RAM, dma32 buffers lie below 4 GiB also when that is scarce, and others above",
        place: Place::Guest(Guest {
            targets: &["arm64", "debug-own"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "6G"],
            command: "pool-tests dma32/",
            limit: 180,
            ..GUEST
        }),
    },
    tree!("configured", "without node and argument the kernel's configuration makes the default area", ["--dtb", "none"]),
    tree!("argument", "cma=SIZE@ADDRESS makes the default area", ["--dtb", "none", "--append", "cma=32M@0x4d000000"]),
    tree!("highmem", "an area in high memory works like any other", ["--dtb", "none", "--append", "cma=32M@0x78000000"], &["armhf"]),
    tree!("memmap", "memmap= sets nothing aside on arm64", ["--dtb", "none", "--append", "memmap=64M$0x50000000"], &["arm64"]),
    tree!("default-cma", "a node makes the default area", ["--dtb", "default-cma"], LOADED_BY_TESTS),
    tree!("default-cma-and-argument", "with both, the argument wins", ["--dtb", "default-cma", "--append", "cma=32M@0x4d000000"]),
    tree!("device-cma", "a device's own area is a heap, and leaves the default area alone", ["--dtb", "device-cma"]),
    tree!("no-map", "a region that opted in is a carveout heap, packed; another one is not touched", ["--dtb", "no-map"]),
    tree!("all-regions", "all kinds of regions at once, each with its heap", ["--dtb", "all-regions"], LOADED_BY_TESTS),
    tree!("broken-alignment", "a crooked region is told, and the rest works", ["--dtb", "broken-alignment"], &["arm64"]),
    tree!("broken-alignment-8m", "a crooked region is told, and the rest works", ["--dtb", "broken-alignment-8m"], &["armhf"]),
    tree!("broken-size", "so are empty ones", ["--dtb", "broken-size"], LOADED_BY_TESTS),
    tree!("broken-overlap", "so are overlapping ones", ["--dtb", "broken-overlap"], LOADED_BY_TESTS),
    tree!("broken-kind", "so are those of the wrong kind", ["--dtb", "broken-kind"], LOADED_BY_TESTS),
    tree!("broken-nowhere", "so are nodes that point nowhere", ["--dtb", "broken-nowhere"], LOADED_BY_TESTS),
    tree!("broken-many", "more regions than the kernel takes", ["--dtb", "broken-many"], &["arm64"]),
    tree!("many-regions", "as many areas as a 32-bit kernel can have are all heaps", ["--dtb", "many-regions"], &["armhf"]),
    Suite {
        name: "contiguous",
        promise: "the Rockchip heap packs its area to the last page; drivers get buffers and page arrays through the kernel interface and may be unloaded with them; mappings are there when they are made",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: &["--mem", "1G", "--dtb", "rockchip-cma", "--append", "init_on_alloc=0"],
            command: "contiguous-tests --tree rockchip-cma tree/ placement/ interface/ rust/ unloading/ faults/",
            ..GUEST
        }),
    },
    Suite {
        name: "replay",
        promise: "a camera's session fits into its area without a gap; whatever comes and goes, each allocation lies where first fit says",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: &["--mem", "1G", "--dtb", "rockchip-cma", "--append", "init_on_alloc=0"],
            command: "contiguous-tests --tree rockchip-cma replay/",
            limit: 400,
            ..GUEST
        }),
    },
    Suite {
        name: "contiguous-checked",
        promise: "contiguous and replay with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            options: &["--mem", "1G", "--dtb", "rockchip-cma", "--append", "init_on_alloc=0"],
            command: "contiguous-tests --tree rockchip-cma tree/ placement/ interface/ rust/ unloading/ faults/ replay/",
            limit: 400,
            ..GUEST
        }),
    },
    Suite {
        name: "warnings",
        promise: "drivers that free wrongly, or want pages where there are none, are refused with one warning",
        place: Place::Guest(Guest {
            targets: LOADED_BY_TESTS,
            options: &["--mem", "1G", "--dtb", "rockchip-cma", "--expect-report", "rk_dma_heap_(free|alloc)_contig_pages|allocation_free_wrongly|rockchip_allocate"],
            command: "contiguous-tests --tree rockchip-cma warnings/",
            ..GUEST
        }),
    },
    Suite {
        name: "migration",
        promise: "what the kernel keeps in an area moves out when the heap needs it",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: &["--mem", "384M", "--dtb", "none", "--append", "cma=96M"],
            command: "mount -o remount,size=90% /tmp && contiguous-tests --tree configured migration/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "migration-checked",
        promise: "the same with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            // The checkers keep much memory for themselves.
            options: &["--mem", "512M", "--dtb", "none", "--append", "cma=96M"],
            command: "mount -o remount,size=90% /tmp && contiguous-tests --tree configured migration/",
            limit: 300,
            ..GUEST
        }),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_every_day_is_there() {
        for name in EVERYDAY {
            let suite = SUITES.iter().find(|suite| suite.name == *name);
            assert!(suite.is_some_and(|suite| suite.runs_on("debug")), "{name}");
        }
    }

    #[test]
    fn names_are_unique_and_file_names() {
        let mut names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SUITES.len());
        assert!(names.iter().all(|name| name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
    }
}
