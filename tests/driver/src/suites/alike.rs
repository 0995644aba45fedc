// SPDX-License-Identifier: GPL-2.0

//! Kernels that run what another one runs. Suites name the other one alone.

/// What a target runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike<'a> {
    /// The target that suites name.
    pub runs: &'a str,
    /// What the kernel of that target has and this kernel has not: modules, or [`SMALL_BLOCKS`]. A
    /// suite that needs one is left out; a single test that needs one is skipped and counted.
    pub without: &'a [&'a str],
}

/// Areas that are no multiples of 32 MiB. With pages of 16 KiB a block of pages has that size.
pub const SMALL_BLOCKS: &str = "blocks of up to 4 MiB";

/// Further kernels of Debian, and one with checkers.
const KERNELS: &[(&str, Alike<'static>)] = &[
    ("rt-arm64", all_of("arm64")),
    (
        "arm64-16k",
        Alike {
            runs: "arm64",
            without: &[SMALL_BLOCKS],
        },
    ),
    (
        "cloud-arm64",
        Alike {
            runs: "arm64",
            without: &["vgem", "vivid", "9p"],
        },
    ),
    ("deb14-arm64", all_of("arm64")),
    ("rt-amd64", all_of("amd64")),
    ("debug-rt", all_of("debug-own")),
];

const fn all_of(target: &str) -> Alike<'_> {
    Alike {
        runs: target,
        without: &[],
    }
}

impl Alike<'_> {
    /// Returns what `target` runs: itself, if it is no further kernel. `ROW@PACKAGE`, the machine
    /// of a row with the kernel of another package, runs what the row runs.
    pub fn find(target: &str) -> Alike<'_> {
        let row = target.split_once('@').map_or(target, |(row, _)| row);
        KERNELS
            .iter()
            .find(|(name, _)| *name == row)
            .map_or(all_of(row), |(_, alike)| *alike)
    }

    /// Returns whether `target` runs what another one runs.
    pub fn is_another(target: &str) -> bool {
        Alike::find(target).runs != target
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        all,
        Environment,
        Part,
        CHECKED, //
    };
    use super::*;

    #[test]
    fn another_kernel_runs_what_the_named_one_runs() {
        for (target, alike) in KERNELS {
            assert!(!Alike::is_another(alike.runs), "{}", alike.runs);
            for suite in all() {
                let Environment::Guest(guest) = &suite.environment else {
                    continue;
                };
                let lacks = guest.needs.iter().any(|name| alike.without.contains(name));
                assert!(
                    !suite.runs_on(alike.runs) || lacks || suite.runs_on(target),
                    "{target} {}",
                    suite.name
                );
                assert!(!lacks || !suite.runs_on(target), "{target} {}", suite.name);
            }
        }
    }

    #[test]
    fn further_kernels_are_in_a_part_of_their_own() {
        for suite in all() {
            for target in ["rt-arm64", "deb14-arm64", "rt-amd64", "arm64@linux-image-x"] {
                let guest = matches!(suite.environment, Environment::Guest(_));
                let part = suite.part_on(target);
                assert!(!guest || part == Part::Kernels, "{target} {}", suite.name);
            }
        }
    }

    #[test]
    fn a_kernel_that_is_not_listed_runs_what_its_row_runs() {
        assert_eq!(
            Alike::find("cloud-arm64@linux-image-x"),
            Alike::find("cloud-arm64")
        );
        assert_eq!(Alike::find("armhf@linux-image-x").runs, "armhf");
        assert_eq!(Alike::find("armhf").runs, "armhf");
    }

    #[test]
    fn each_further_kernel_of_debian_has_a_short_cut() {
        for (target, _) in KERNELS
            .iter()
            .filter(|(target, _)| !CHECKED.contains(target))
        {
            assert_eq!(
                all()
                    .filter(|suite| suite.name.starts_with("short-cut") && suite.runs_on(target))
                    .count(),
                1,
                "{target}"
            );
        }
    }
}
