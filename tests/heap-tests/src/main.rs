// SPDX-License-Identifier: GPL-2.0

//! Tests every heap in `/dev/dma_heap` with valid and invalid uses by programs.

mod buffers;
mod capacity;
mod endurance;
mod footprint;
mod huge_mappings;
mod import_client;
mod import_kernel_mappings;
mod import_mappings;
mod import_vgem;
mod import_vivid;
mod ioctl_argument;
mod ioctl_fields;
mod limits;
mod mappings;
mod nodes;
mod protections;
mod sharing;

use anyhow::{
    ensure,
    Result, //
};
use clap::Parser;
use guest_support::heap;
use guest_support::ktap::{
    Options,
    Tests, //
};
use std::process::ExitCode;
use std::time::Duration;

/// Test every heap in /dev/dma_heap and report in KTAP
#[derive(Parser)]
struct Arguments {
    /// The exact set of heaps that must exist besides those named after areas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    expect: Vec<String>,

    /// Test only these heaps
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    heaps: Vec<String>,

    /// Also test this node, which may be in another folder
    #[arg(long, value_name = "PATH")]
    node: Vec<String>,

    #[command(flatten)]
    options: Options,
}

/// A test of one heap, which is passed by name.
struct Case {
    name: &'static str,
    limit: Option<Duration>,
    run: fn(&str) -> Result<()>,
}

impl Case {
    const fn new(name: &'static str, run: fn(&str) -> Result<()>) -> Self {
        Case {
            name,
            limit: None,
            run,
        }
    }

    /// Sets the time limit of a long test.
    const fn within(mut self, seconds: u64) -> Self {
        self.limit = Some(Duration::from_secs(seconds));
        self
    }
}

const GROUPS: &[(&str, &[Case])] = &[
    ("node", nodes::CASES),
    ("ioctl", ioctl_fields::CASES),
    ("ioctl", ioctl_argument::CASES),
    ("limit", limits::CASES),
    ("buffer", buffers::CASES),
    ("mmap", mappings::CASES),
    ("mmap", huge_mappings::CASES),
    ("mmap", protections::CASES),
    ("share", sharing::CASES),
    ("import", import_client::CASES),
    ("import", import_kernel_mappings::CASES),
    ("import", import_mappings::CASES),
    ("import", import_vgem::CASES),
    ("import", import_vivid::CASES),
];

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let found = heap::names()?;
    let mut tests = Tests::default();
    if !arguments.expect.is_empty() {
        let (mut expected, found) = (arguments.expect, found.clone());
        expected.extend(capacity::named_after_areas(&expected)?);
        expected.sort();
        tests.add("heaps/as-expected", move || {
            ensure!(
                found == expected,
                "{}: found {found:?}, expected {expected:?}",
                heap::HEAP_DIRECTORY
            );
            Ok(())
        });
    }
    import_vivid::add_controls(&mut tests);
    if !found.is_empty() {
        endurance::add(&mut tests, &found);
    }
    let heaps = match arguments.heaps.as_slice() {
        [] => &found,
        _ => &arguments.heaps,
    };
    for heap in heaps.iter().chain(&arguments.node) {
        for (group, cases) in GROUPS {
            for case in *cases {
                let (run, heap) = (case.run, heap.clone());
                let name = format!("{heap}/{group}/{}", case.name);
                match case.limit {
                    Some(limit) => tests.add_within(limit, name, move || run(&heap)),
                    None => tests.add(name, move || run(&heap)),
                }
            }
        }
    }
    Ok(tests.run(&arguments.options))
}
