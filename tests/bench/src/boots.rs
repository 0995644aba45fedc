// SPDX-License-Identifier: GPL-2.0

//! The virtual machines and the measurements that run in each of them.

use crate::figures::{
    Figures,
    Measured, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use std::io::{
    BufRead,
    BufReader, //
};
use std::path::Path;
use std::process::{
    Command,
    Stdio, //
};
use std::sync::atomic::{
    AtomicUsize,
    Ordering, //
};
use std::sync::Mutex;
use std::time::Instant;

/// A virtual machine. Each is booted once, so that measurements do not affect each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// The in-tree heaps.
    InTree,
    /// The module with default parameters.
    Ours,
    /// The module without tracking of other exporters' buffers and without default names.
    Untracked,
    /// The module with a reserve of contiguous memory, and without ranges that are kept.
    OursReserve,
    /// The same without a reserve.
    OursNoReserve,
    /// With more memory, for many and large buffers.
    InTreeLarge,
    OursLarge,
    /// With four CPUs; measures host time.
    InTreeCpus,
    OursCpus,
}

/// Timeout of a machine, in seconds. On an idle host a machine takes less than a minute.
const TIMEOUT: &str = "900";

const ALL_PARTS: &[&str] = &[
    "module",
    "allocations",
    "contiguous",
    "cycles",
    "frames",
    "mappings",
    "importers",
    "kernel-mappings",
    "fragmentation",
];

impl Boot {
    pub const ALL: [Boot; 9] = [
        Boot::InTree,
        Boot::Ours,
        Boot::InTreeLarge,
        Boot::OursLarge,
        Boot::Untracked,
        Boot::OursReserve,
        Boot::OursNoReserve,
        Boot::InTreeCpus,
        Boot::OursCpus,
    ];

    /// Returns the options for `qemu/vm`.
    fn options(self) -> &'static [&'static str] {
        match self {
            Boot::InTree | Boot::Ours | Boot::Untracked => &["--icount"],
            Boot::OursReserve | Boot::OursNoReserve => &["--icount", "--mem", "1G"],
            Boot::InTreeLarge | Boot::OursLarge => {
                &["--icount", "--mem", "2560M", "--append", "cma=1G"]
            }
            Boot::InTreeCpus | Boot::OursCpus => &["--smp", "4"],
        }
    }

    /// Returns the command line that the guest runs.
    fn command(self) -> String {
        let side = match self {
            Boot::InTree | Boot::InTreeLarge | Boot::InTreeCpus => "in-tree",
            Boot::Ours
            | Boot::Untracked
            | Boot::OursReserve
            | Boot::OursNoReserve
            | Boot::OursLarge
            | Boot::OursCpus => "ours",
        };
        let parts = match self {
            Boot::InTree | Boot::Ours => ALL_PARTS,
            Boot::Untracked => &["allocations"],
            Boot::OursReserve => &["reserve", "latency"],
            Boot::OursNoReserve => &["latency"],
            Boot::InTreeLarge | Boot::OursLarge => &["kernel-memory", "growth"],
            Boot::InTreeCpus | Boot::OursCpus => &["throughput"],
        };
        let parameters = match self {
            Boot::Untracked => "--module-args 'track_all=0 default_names=0' ",
            Boot::OursReserve => "--module-args 'contig_reserve_mib=192 keep_ranges=0' ",
            Boot::OursNoReserve => "--module-args keep_ranges=0 ",
            _ => "",
        };
        format!("bench-guest --side {side} {parameters}{}", parts.join(" "))
    }

    /// Returns whether the figures depend on the load of the host.
    fn needs_idle_host(self) -> bool {
        matches!(self, Boot::InTreeCpus | Boot::OursCpus)
    }

    /// Returns whether the guest reads files of the host.
    fn needs_share(self) -> bool {
        matches!(self, Boot::OursReserve | Boot::OursNoReserve)
    }

    pub fn name(self) -> &'static str {
        match self {
            Boot::InTree => "in-tree",
            Boot::Ours => "ours",
            Boot::Untracked => "untracked",
            Boot::OursReserve => "ours, reserve",
            Boot::OursNoReserve => "ours, no reserve",
            Boot::InTreeLarge => "in-tree, large",
            Boot::OursLarge => "ours, large",
            Boot::InTreeCpus => "in-tree, 4 CPUs",
            Boot::OursCpus => "ours, 4 CPUs",
        }
    }
}

/// Boots all machines. At most `jobs` machines that count instructions run in parallel.
pub fn measure(project: &Path, jobs: usize) -> Result<Measured> {
    let (serial, parallel): (Vec<Boot>, Vec<Boot>) = Boot::ALL
        .into_iter()
        .partition(|boot| boot.needs_idle_host());
    let mut measured = Measured::default();
    for (boots, jobs) in [(parallel, jobs.max(1)), (serial, 1)] {
        for (boot, figures) in run_all(project, &boots, jobs)? {
            measured.insert(boot, figures);
        }
    }
    Ok(measured)
}

fn run_all(project: &Path, boots: &[Boot], jobs: usize) -> Result<Vec<(Boot, Figures)>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some(&boot) = boots.get(next.fetch_add(1, Ordering::Relaxed)) {
            let figures = run(project, boot).with_context(|| format!("machine '{}'", boot.name()));
            if figures.is_err() {
                // Prevent the other threads from starting another machine.
                next.store(boots.len(), Ordering::Relaxed);
            }
            let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            done.push((boot, figures?));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .ok()
                .context("a thread of the benchmark panicked")?
        })
    })?;
    Ok(done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Boots one machine and reads its figures. Reports progress on standard error.
fn run(project: &Path, boot: Boot) -> Result<Figures> {
    let start = Instant::now();
    let name = boot.name();
    let print_progress = |what: String| {
        eprintln!(
            "  {name:<16} {what}, {:.0} s",
            start.elapsed().as_secs_f64()
        )
    };
    print_progress("booting".into());
    let mut command = Command::new(project.join("qemu/vm"));
    command
        .current_dir(project)
        .args(["--target", "bench", "--no-module", "--timeout", TIMEOUT])
        .args(boot.options());
    if boot.needs_share() {
        let folder = project
            .join("build/bench-share")
            .join(name.replace([',', ' '], "-"));
        std::fs::create_dir_all(&folder)?;
        command.arg("--share").arg(folder);
    }
    let mut vm = command
        .arg("--")
        .arg(boot.command())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run qemu/vm")?;
    let stdout = vm.stdout.take().context("qemu/vm has no output")?;
    let mut figures = Figures::default();
    let mut last_reported = String::new();
    for line in BufReader::new(stdout).lines() {
        let figure = figures.add_line(&line?)?;
        if figure != last_reported {
            print_progress(format!("{} figures, {figure}", figures.len()));
            last_reported = figure;
        }
    }
    let status = vm.wait()?;
    ensure!(
        status.success(),
        "qemu/vm failed with {status}: see its messages above"
    );
    ensure!(!figures.is_empty(), "the guest printed no figures");
    print_progress(format!("done, {} figures", figures.len()));
    Ok(figures)
}
