// SPDX-License-Identifier: GPL-2.0

//! The table of suites. Each guest suite boots its own virtual machine, so suites do not affect
//! each other.

mod alike;
mod beyond;
mod contiguous;
mod debug_nodes;
mod devices;
mod heaps;
mod host;
mod hostile;
mod kernels;
mod module;
mod pools;
mod rkheap;
mod trees;

use alike::{
    Alike,
    SMALL_BLOCKS, //
};

/// A group of tests that runs as one unit.
pub struct Suite {
    pub name: &'static str,
    /// What a pass proves, in one sentence.
    pub promise: &'static str,
    pub environment: Environment,
}

/// Which suites run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// `make test`: suites on Debian's kernels, and suites on the host
    Test,
    /// `make test-wide`: the suites of `make test`, and those that it leaves out on one target
    /// because it runs them on another
    Wide,
    /// `make test-checked`: suites on kernels that are built with checkers
    Checked,
    /// `make test-kernels`: suites on further kernels of Debian
    Kernels,
    /// All parts
    All,
}

/// Where a suite runs.
pub enum Environment {
    /// On the host: `cargo test` of these packages.
    Host { packages: &'static [&'static str] },
    /// In a virtual machine.
    Guest(Guest),
}

/// A suite in a virtual machine.
pub struct Guest {
    /// The targets that the suite runs on, and with them those that run what they run ([`Alike`]).
    pub targets: &'static [&'static str],
    /// Targets on which `make test` leaves the suite out, because it runs it on another one and
    /// these add little.
    pub wide: &'static [&'static str],
    /// Runs only on the kernels that run what the targets run.
    pub only_alike: bool,
    /// What the suite needs and [`Alike`] kernels may lack.
    pub needs: &'static [&'static str],
    /// Options of `qemu/vm`.
    pub options: &'static [&'static str],
    pub command: &'static str,
    pub share: Share,
    pub report: Report,
    /// Seconds until the machine is killed, on a kernel without checkers.
    pub timeout: u32,
    /// No other suite runs at the same time, because this one measures or loads the host.
    pub exclusive: bool,
}

/// What is built for a suite and mounted on the guest's `/share`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Share {
    Nothing,
    /// An empty folder of the host.
    Empty,
    /// One of the kernel's selftests.
    KernelSelftest(&'static str),
    /// Guest programs for another architecture than the kernel's.
    Programs {
        triple: &'static str,
    },
}

/// How a command reports its results.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// KTAP on standard output.
    Ktap,
    /// The exit status, which counts as one test.
    ExitStatus,
}

impl Part {
    /// Returns whether `part` runs as a part of this one.
    pub fn includes(self, part: Part) -> bool {
        self == part || self == Part::All || (self, part) == (Part::Wide, Part::Test)
    }
}

impl Guest {
    /// Returns the memory of the machine in MiB: what the options ask for, or [`USUAL_MEMORY`], and
    /// what is added later.
    pub fn memory(&self) -> u64 {
        let size_of = |option| {
            let size = self.options.windows(2).find(|pair| pair[0] == option)?[1];
            let in_units = |unit| size.strip_suffix(unit)?.parse::<u64>().ok();
            in_units('G').map(|gib| gib * 1024).or(in_units('M'))
        };
        size_of("--mem").unwrap_or(USUAL_MEMORY) + size_of("--hot-add").unwrap_or(0)
    }

    /// Returns the timeout on `target` in seconds.
    pub fn timeout_on(&self, target: &str) -> u32 {
        let checked = match CHECKED.contains(&target) {
            true => CHECKED_TIMEOUT_FACTOR,
            false => 1,
        };
        self.timeout * checked * SLOW_MACHINE
    }
}

impl Suite {
    /// Returns the part that the suite belongs to on `target`.
    pub fn part_on(&self, target: &str) -> Part {
        if CHECKED.contains(&target) {
            Part::Checked
        } else if Alike::is_another(target) {
            Part::Kernels
        } else if self.is_wide_on(target) {
            Part::Wide
        } else {
            Part::Test
        }
    }

    fn is_wide_on(&self, target: &str) -> bool {
        match &self.environment {
            Environment::Host { .. } => false,
            Environment::Guest(guest) => guest.wide.contains(&target),
        }
    }

    /// Returns whether a release needs a recorded run of the suite on `target`: of all that
    /// continuous integration runs in virtual machines.
    pub fn is_released_on(&self, target: &str) -> bool {
        let is_guest = matches!(self.environment, Environment::Guest(_));
        let is_short_cut = self.name.starts_with("short-cut");
        is_guest && self.runs_on(target) && (self.part_on(target) != Part::Kernels || is_short_cut)
    }

    /// Returns whether the suite runs on `target`.
    pub fn runs_on(&self, target: &str) -> bool {
        match &self.environment {
            Environment::Host { .. } => true,
            Environment::Guest(guest) => {
                let alike = Alike::find(target);
                let lacks = |module: &&str| alike.without.contains(module);
                (guest.targets.contains(&alike.runs) || guest.targets.contains(&target))
                    && (!guest.only_alike || alike.runs != target)
                    && !guest.needs.iter().any(lacks)
            }
        }
    }
}

/// Debian's kernels: one for 64-bit machines and one for 32-bit machines.
const STOCK: &[&str] = &["arm64", "armhf"];

/// Debian's kernels, and the kernel with checkers on which suites load the module.
const EVERYWHERE: &[&str] = &["arm64", "armhf", "amd64", "debug-own"];

/// Where only `make test-wide` runs most suites that do not depend on the size of a word.
const ARMHF: &[&str] = &["armhf"];

/// Where only `make test-wide` runs suites that do not depend on the architecture.
const BESIDE_ARM64: &[&str] = &["armhf", "amd64"];

/// Targets of suites that expect a loaded module: Debian's kernels, and the kernel with checkers
/// that has the dma-heap core. That core cannot remove a heap, so the module cannot be unloaded
/// there.
const MODULE_LOADED: &[&str] = &["arm64", "armhf", "debug"];

/// Targets of suites that load and unload the module: Debian's kernels, and the kernel with
/// checkers that has no dma-heap core.
const MODULE_LOADED_BY_TEST: &[&str] = &["arm64", "armhf", "debug-own"];

/// Kernels with every checker: `debug` has the kernel's dma-heap core, `debug-own` has not, and
/// `debug-rt` is `debug-own` with real-time preemption.
/// Booting and the search for leaks take most of the time there, so suites of one program share a
/// machine. Their names end in `-checked`, `-of-each-kind` or `-in-one`.
const CHECKED: &[&str] = &["debug", "debug-own", "debug-rt"];

/// Factor of all timeouts: how many times slower than usual a machine may be. They are for suites
/// that hang.
const SLOW_MACHINE: u32 = 3;

/// The memory of a machine in MiB, where neither the options nor a small target state another.
pub const USUAL_MEMORY: u64 = 1024;

/// Factor of all timeouts on [`CHECKED`].
const CHECKED_TIMEOUT_FACTOR: u32 = 4;

/// The kernel does not zero allocated memory: it would hide a heap that does not zero its own.
const NO_INIT_ON_ALLOC: &[&str] = &["--append", "init_on_alloc=0"];

/// [`NO_INIT_ON_ALLOC`], for programs that load the module themselves.
const NO_MODULE: &[&str] = &["--no-module", "--append", "init_on_alloc=0"];

/// Reports that the driver vivid causes with every heap, including the kernel's own. It maps
/// segments that are longer than its device claims to support. Its CPU access has another direction
/// than its mapping, because the dma-buf core passes on the direction that a program requests.
const VIVID_REPORT: &str = "vivid vivid.0: (mapping sg segment longer|device driver syncs)";

/// The defaults of a suite in a virtual machine.
pub const GUEST: Guest = Guest {
    targets: MODULE_LOADED,
    wide: &[],
    only_alike: false,
    needs: &[],
    options: NO_INIT_ON_ALLOC,
    command: "",
    share: Share::Nothing,
    report: Report::Ktap,
    timeout: 240,
    exclusive: false,
};

/// Returns all suites, in the order in which they are listed and started.
pub fn all() -> impl Iterator<Item = &'static Suite> {
    [
        host::SUITES,
        heaps::SUITES,
        module::SUITES,
        hostile::SUITES,
        debug_nodes::SUITES,
        pools::SUITES,
        devices::SUITES,
        trees::SUITES,
        contiguous::SUITES,
        beyond::SUITES,
        rkheap::SUITES,
        kernels::SUITES,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn make_test_needs_no_kernel_build() {
        for suite in all() {
            let guest = matches!(suite.environment, Environment::Guest(_));
            for target in CHECKED {
                assert!(
                    !guest || suite.part_on(target) == Part::Checked,
                    "{}",
                    suite.name
                );
            }
            for target in STOCK {
                assert!(Part::Wide.includes(suite.part_on(target)), "{}", suite.name);
            }
        }
    }

    #[test]
    fn make_test_runs_each_suite_of_debians_kernels() {
        for suite in all() {
            let Environment::Guest(guest) = &suite.environment else {
                continue;
            };
            let stock: Vec<_> = guest
                .targets
                .iter()
                .filter(|target| Part::Wide.includes(suite.part_on(target)))
                .collect();
            assert!(
                stock.is_empty()
                    || stock
                        .iter()
                        .any(|target| suite.part_on(target) == Part::Test),
                "{}",
                suite.name
            );
        }
    }

    #[test]
    fn a_release_needs_all_but_the_further_kernels_other_suites() {
        let needed = |target| {
            all()
                .filter(move |suite| suite.is_released_on(target))
                .count()
        };
        for target in ["rt-arm64", "arm64-16k", "cloud-arm64", "rt-amd64"] {
            assert_eq!(needed(target), 1, "{target}");
        }
        for target in ["arm64", "armhf", "amd64", "debug", "debug-own"] {
            let runs = |suite: &&Suite| {
                matches!(suite.environment, Environment::Guest(_)) && suite.runs_on(target)
            };
            assert_eq!(needed(target), all().filter(runs).count(), "{target}");
            assert!(needed(target) > 1, "{target}");
        }
    }

    #[test]
    fn memory_is_what_the_options_say() {
        let memory = |options| Guest { options, ..GUEST }.memory();
        assert_eq!(memory(&["--smp", "8", "--mem", "16G"]), 16 << 10);
        assert_eq!(memory(&["--mem", "1500M", "--hot-add", "512M"]), 2012);
        assert_eq!(memory(NO_MODULE), USUAL_MEMORY);
        for suite in all() {
            if let Environment::Guest(guest) = &suite.environment {
                for pair in guest.options.windows(2) {
                    if ["--mem", "--hot-add"].contains(&pair[0]) {
                        let units = ['G', 'M'];
                        assert!(pair[1].ends_with(units), "{}: {pair:?}", suite.name);
                    }
                }
            }
        }
    }

    #[test]
    fn names_are_unique_and_valid_file_names() {
        let mut names: Vec<_> = all().map(|suite| suite.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().count());
        assert!(names.iter().all(|name| name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
    }
}
