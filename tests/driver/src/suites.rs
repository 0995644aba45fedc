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
    /// The targets that it runs on; none means all.
    pub targets: &'static [&'static str],
    /// Options of `qemu/vm`.
    pub options: &'static [&'static str],
    pub command: &'static str,
    pub share: Share,
    pub report: Report,
    /// When it is given up, in seconds.
    pub limit: u32,
}

/// What is built for a suite and put into the guest's `/share`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Share {
    Nothing,
    /// One of the kernel's own selftests.
    KernelSelftest(&'static str),
    /// Guest programs for another architecture than the kernel's.
    Programs {
        package: &'static str,
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

impl Suite {
    pub fn runs_on(&self, target: &str) -> bool {
        match &self.place {
            Place::Host { .. } => true,
            Place::Guest(guest) => guest.targets.is_empty() || guest.targets.contains(&target),
        }
    }
}

/// A kernel that clears all memory by itself would hide that a heap does not.
const MEMORY_NOT_CLEARED: &[&str] = &["--append", "init_on_alloc=0"];

/// For programs that load the module themselves.
const OWN_MODULE: &[&str] = &["--no-module", "--append", "init_on_alloc=0"];

/// The guest tests of these groups, on a machine that has exactly the heaps that the module is to make there.
macro_rules! heap_tests {
    ($groups:literal) => {
        concat!(
            "heap-tests --expect system,system-dma32,system-uncached,system-uncached-dma32 ",
            "heaps/as-expected ",
            $groups
        )
    };
}

const GUEST: Guest = Guest {
    targets: &[],
    options: MEMORY_NOT_CLEARED,
    command: "",
    share: Share::Nothing,
    report: Report::Ktap,
    limit: 120,
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "programs",
        promise: "the runner, the test driver and what the guest tests share decide rightly; the sources keep the rules",
        place: Place::Host {
            packages: &["vm-runner", "test-driver", "guest-support", "pool-tests"],
        },
    },
    Suite {
        name: "demo",
        promise: "what `make run` shows works",
        place: Place::Guest(Guest {
            command: "heap-demo && rmmod rk_dma_heap && ! ls /dev/dma_heap",
            report: Report::ExitStatus,
            ..GUEST
        }),
    },
    Suite {
        name: "selftest",
        promise: "the kernel's own dmabuf-heaps selftest passes on every heap",
        place: Place::Guest(Guest {
            command: "modprobe vgem && /share/dmabuf-heap",
            share: Share::KernelSelftest("dmabuf-heaps"),
            ..GUEST
        }),
    },
    Suite {
        name: "ioctl",
        promise: "nodes, sysfs and the allocation ioctl are as the kernel's own, in every error too",
        place: Place::Guest(Guest {
            command: heap_tests!("/node/ /ioctl/ /limit/"),
            ..GUEST
        }),
    },
    Suite {
        name: "programs-32-bit",
        promise: "32-bit programs get the same answers from a 64-bit kernel",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            command: "/share/heap-tests system/ioctl/ system/limit/ system/buffer/ system/mmap/ system/share/",
            share: Share::Programs {
                package: "heap-tests",
                triple: "armv7-unknown-linux-gnueabihf",
            },
            ..GUEST
        }),
    },
    Suite {
        name: "buffers",
        promise: "descriptors, mappings and sharing between processes; every page in its place",
        place: Place::Guest(Guest {
            command: heap_tests!("/buffer/ /mmap/ /share/"),
            ..GUEST
        }),
    },
    Suite {
        name: "importers",
        promise: "drivers of the kernel attach to buffers, map them for DMA and for the CPU, and may be their last holder",
        place: Place::Guest(Guest {
            command: heap_tests!("/import/"),
            ..GUEST
        }),
    },
    Suite {
        name: "endurance",
        promise: "ten thousand rounds lose no memory; processes at the same time do not meet",
        place: Place::Guest(Guest {
            command: heap_tests!("/endure/"),
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "module",
        promise: "loads and unloads a hundred times and leaves nothing; stays while it is needed; refuses bad parameters",
        place: Place::Guest(Guest {
            options: &["--no-module"],
            command: "module-tests",
            ..GUEST
        }),
    },
    Suite {
        name: "pools",
        promise: "pools keep to their bounds; figures, tracepoints and cgroup charges are true; page tables say cached or write-combined; caches are looked after where needed and nowhere else",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: OWN_MODULE,
            command: "pool-tests client/ bounds/ totals/ tracepoints/ accounting/ mapping-types/ maintenance/ coherence/",
            limit: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "pressure",
        promise: "pools give way before anybody is killed; unloading gives all back; a thousand kills lose no memory",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: OWN_MODULE,
            command: "pool-tests pressure/ unload/ killed/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "reuse",
        promise: "memory is always zeroed, by whatever way one looks; after 30 s of everything on four CPUs all counters are zero",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--smp", "4"],
            command: "pool-tests zeroing/ stress/",
            limit: 360,
            ..GUEST
        }),
    },
    Suite {
        name: "low-memory",
        promise: "with 6 GiB of RAM, dma32 buffers lie below 4 GiB also when that is scarce, and others above",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "6G"],
            command: "pool-tests dma32/",
            limit: 180,
            ..GUEST
        }),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

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
