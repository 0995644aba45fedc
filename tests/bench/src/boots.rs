// SPDX-License-Identifier: GPL-2.0

//! The machines that are booted, and what is measured in each.

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

/// A machine. Each is booted once, so that none sees what another measurement has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// The kernel's own heaps.
    InTree,
    /// The module, with its parameters as they come.
    Ours,
    /// The module without records of other exporters' buffers, and without default names.
    Untracked,
    /// With much memory, for many and large buffers.
    InTreeLarge,
    OursLarge,
    /// With four CPUs, in the host's time.
    InTreeCpus,
    OursCpus,
}

/// Seconds after which a machine is given up. They take less than a minute where nothing else runs.
const LIMIT: &str = "900";

const ALL: &[&str] = &[
    "module",
    "allocations",
    "contiguous",
    "cycles",
    "frames",
    "mappings",
    "importers",
    "fragmentation",
];

impl Boot {
    pub const ALL: [Boot; 7] = [
        Boot::InTree,
        Boot::Ours,
        Boot::InTreeLarge,
        Boot::OursLarge,
        Boot::Untracked,
        Boot::InTreeCpus,
        Boot::OursCpus,
    ];

    /// Options of `qemu/vm`.
    fn options(self) -> &'static [&'static str] {
        match self {
            Boot::InTree | Boot::Ours | Boot::Untracked => &["--icount"],
            Boot::InTreeLarge | Boot::OursLarge => {
                &["--icount", "--mem", "2560M", "--append", "cma=1G"]
            }
            Boot::InTreeCpus | Boot::OursCpus => &["--smp", "4"],
        }
    }

    /// What the guest runs.
    fn command(self) -> String {
        let side = match self {
            Boot::InTree | Boot::InTreeLarge | Boot::InTreeCpus => "in-tree",
            Boot::Ours | Boot::Untracked | Boot::OursLarge | Boot::OursCpus => "ours",
        };
        let parts = match self {
            Boot::InTree | Boot::Ours => ALL,
            Boot::Untracked => &["allocations"],
            Boot::InTreeLarge | Boot::OursLarge => &["kernel-memory", "growth"],
            Boot::InTreeCpus | Boot::OursCpus => &["throughput"],
        };
        let parameters = match self {
            Boot::Untracked => "--module-args 'track_all=0 default_names=0' ",
            _ => "",
        };
        format!("bench-guest --side {side} {parameters}{}", parts.join(" "))
    }

    /// Whether what it measures depends on what else the host does.
    fn is_alone(self) -> bool {
        matches!(self, Boot::InTreeCpus | Boot::OursCpus)
    }

    pub fn name(self) -> &'static str {
        match self {
            Boot::InTree => "in-tree",
            Boot::Ours => "ours",
            Boot::Untracked => "untracked",
            Boot::InTreeLarge => "in-tree, large",
            Boot::OursLarge => "ours, large",
            Boot::InTreeCpus => "in-tree, 4 CPUs",
            Boot::OursCpus => "ours, 4 CPUs",
        }
    }
}

/// Boots all machines, `jobs` at once where that does no harm.
pub fn measure(project: &Path, jobs: usize) -> Result<Measured> {
    let (alone, together): (Vec<Boot>, Vec<Boot>) =
        Boot::ALL.into_iter().partition(|boot| boot.is_alone());
    let mut measured = Measured::default();
    for (boots, jobs) in [(together, jobs.max(1)), (alone, 1)] {
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
                // The others take no further one.
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
                .context("a thread of the benchmark has panicked")?
        })
    })?;
    Ok(done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Boots one machine and reads its figures, telling on standard error how far it is.
fn run(project: &Path, boot: Boot) -> Result<Figures> {
    let start = Instant::now();
    let name = boot.name();
    let say = |what: String| {
        eprintln!(
            "  {name:<16} {what}, {:.0} s",
            start.elapsed().as_secs_f64()
        )
    };
    say("is booted".into());
    let mut vm = Command::new(project.join("qemu/vm"))
        .current_dir(project)
        .args(["--target", "bench", "--no-module", "--timeout", LIMIT])
        .args(boot.options())
        .arg("--")
        .arg(boot.command())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run qemu/vm")?;
    let stdout = vm.stdout.take().context("qemu/vm has no output")?;
    let mut figures = Figures::default();
    let mut told = String::new();
    for line in BufReader::new(stdout).lines() {
        let measured = figures.add_line(&line?)?;
        if measured != told {
            say(format!("{} figures, {measured}", figures.len()));
            told = measured;
        }
    }
    let status = vm.wait()?;
    ensure!(
        status.success(),
        "qemu/vm failed: {status}; its messages are above"
    );
    ensure!(!figures.is_empty(), "the guest measured nothing");
    say(format!("done, {} figures", figures.len()));
    Ok(figures)
}
