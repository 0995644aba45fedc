// SPDX-License-Identifier: GPL-2.0

//! What a suite is, and which there are. Each guest suite is one virtual machine, so that none sees
//! what another left.

mod contiguous;
mod debug_nodes;
mod heaps;
mod host;
mod hostile;
mod module;
mod pools;
mod rkheap;

pub struct Suite {
    pub name: &'static str,
    /// What holds when it passes, in a line.
    pub promise: &'static str,
    pub place: Place,
}

/// Which suites run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The suites of `make test`: those on Debian's kernels, and those on this machine.
    Test,
    /// The suites of `make test-checked`: those on kernels that are built with checkers.
    Checked,
    /// Both.
    All,
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
    /// The part that it belongs to on `target`.
    pub fn part_on(&self, target: &str) -> Part {
        if CHECKED.contains(&target) {
            Part::Checked
        } else {
            Part::Test
        }
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

/// The same and the checked kernel where the heaps go through the kernel's own dma-heap core, from
/// which they cannot be taken back: for suites that find the module loaded.
const LOADED: &[&str] = &["arm64", "armhf", "debug"];

/// The same and the checked kernel without that core: for suites that load and unload the module.
const LOADED_BY_TESTS: &[&str] = &["arm64", "armhf", "debug-own"];

/// Every checker on, with the kernel's dma-heap core and without. Booting and looking for leaks
/// takes most of the time there, so that suites of one program share a machine: those called
/// `-checked`, `-of-each-kind` and `-in-one`.
const CHECKED: &[&str] = &["debug", "debug-own"];

/// How much longer a suite may take there.
const SLOWER: u32 = 4;

/// A kernel that clears all memory by itself would hide that a heap does not.
const MEMORY_NOT_CLEARED: &[&str] = &["--append", "init_on_alloc=0"];

/// What is reported of the driver vivid with any heap, the kernel's own too: that it takes longer
/// segments than it says, and that the CPU's access has another direction than its mapping, as the
/// dma-buf core hands on what a program says.
const VIVID: &str = "vivid vivid.0: (mapping sg segment longer|device driver syncs)";

/// For programs that load the module themselves.
const OWN_MODULE: &[&str] = &["--no-module", "--append", "init_on_alloc=0"];

pub const GUEST: Guest = Guest {
    targets: LOADED,
    options: MEMORY_NOT_CLEARED,
    command: "",
    share: Share::Nothing,
    report: Report::Ktap,
    limit: 240,
    alone: false,
};

/// All suites, in the order in which they are listed and begun.
pub fn all() -> impl Iterator<Item = &'static Suite> {
    [
        host::SUITES,
        heaps::SUITES,
        module::SUITES,
        hostile::SUITES,
        debug_nodes::SUITES,
        pools::SUITES,
        contiguous::SUITES,
        rkheap::SUITES,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn make_test_needs_no_kernel_that_is_built() {
        for suite in all() {
            let guest = matches!(suite.place, Place::Guest(_));
            for target in CHECKED {
                assert!(
                    !guest || suite.part_on(target) == Part::Checked,
                    "{}",
                    suite.name
                );
            }
            for target in STOCK {
                assert!(suite.part_on(target) == Part::Test, "{}", suite.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_file_names() {
        let mut names: Vec<_> = all().map(|suite| suite.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().count());
        assert!(names.iter().all(|name| name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
    }
}
